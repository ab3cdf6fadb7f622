/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/err.h"
#include "server/consul/text.h"

static void durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns; /* UINT64_MAX: refused */
    } rows[] = {
        {"10s", 10000000000U},
        {"1m30s", 90000000000U},
        {"0", 0},
        {"0s", 0},
        {"60000ms", 60000000000U},
        {"0.5s", 500000000},
        {"1.5h", 5400000000000U},
        {"300us", 300000},
        {"5ns", 5},
        {".5s", 500000000},
        {"1.s", 1000000000},
        {"1", UINT64_MAX},
        {"", UINT64_MAX},
        {"s", UINT64_MAX},
        {"-1s", UINT64_MAX},
        {"1x", UINT64_MAX},
        {"1s2", UINT64_MAX},
        {" 1s", UINT64_MAX},
        {"1d", UINT64_MAX},
        {".s", UINT64_MAX},
        {"99999999999999999999s", UINT64_MAX},
        {"3000000h", UINT64_MAX},
        {"1.5.5s", UINT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        uint64_t ns = UINT64_MAX;
        int rc = consul_text_duration(slice_str(rows[i].text), &ns);
        if (rc != (rows[i].ns == UINT64_MAX ? MU_E_BAD_REQUEST : 0) || ns != rows[i].ns) {
            fail_msg("\"%s\" gives %d, %llu", rows[i].text, rc, (unsigned long long)ns);
        }
    }
}

static void decoding(void **state)
{
    uint8_t mem[16];
    struct slice s;
    (void)state;
    assert_int_equal(0, consul_text_decode(SLICE_LIT("a%2fb%00%FF+"), mem, &s));
    assert_true(slice_eq(s, slice_of("a/b\0\xff+", 6)));
    assert_int_equal(0, consul_text_decode(SLICE_LIT(""), mem, &s));
    assert_int_equal(0, s.len);
    static const char *const bad[] = {"%", "%4", "a%zz", "%4g"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(MU_E_BAD_REQUEST, consul_text_decode(slice_str(bad[i]), mem, &s));
    }
}

static void cleaning(void **state)
{
    static const struct {
        const char *path, *clean; /* NULL: it is clean */
    } rows[] = {
        {"/v1/kv/a/b", NULL},        {"/v1/kv/", NULL},          {"/v1/kv//a", "/v1/kv/a"},
        {"/v1/kv/a//", "/v1/kv/a/"}, {"/v1/kv/./a", "/v1/kv/a"}, {"/v1/kv/a/../b", "/v1/kv/b"},
        {"/v1/kv/..", "/v1/"},       {"/v1/../../..", "/"},      {"/v1/kv/a/.", "/v1/kv/a/"},
        {"/v1/kv/...", NULL},        {"/v1/kv/.a/b..", NULL},    {"//", "/"},
    };
    struct buf b;
    (void)state;
    buf_init(&b);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        const char *want = rows[i].clean != NULL ? rows[i].clean : rows[i].path;
        buf_clear(&b);
        int is_clean = consul_text_clean(slice_str(rows[i].path), &b);
        if (is_clean != (rows[i].clean == NULL) || !slice_eq(buf_slice(&b), slice_str(want))) {
            fail_msg("%s gives %d %.*s", rows[i].path, is_clean, SLICE_FMT(buf_slice(&b)));
        }
    }
    buf_fini(&b);
}

static void base64(void **state)
{
    static const struct {
        const char *text, *bytes; /* NULL: refused */
        size_t at;
    } rows[] = {
        {"", "", 0},           {"aGVsbG8=", "hello", 8}, {"aGVsbG8h", "hello!", 8},
        {"YQ==", "a", 4},      {"YWI=", "ab", 4},        {"+/+/", "\xfb\xff\xbf", 4},
        {"YQ=", NULL, 3},      {"YQ", NULL, 2},          {"Y===", NULL, 1},
        {"YQ==YQ==", NULL, 2}, {"Y Q=", NULL, 1},        {"YQ=a", NULL, 3},
        {"=", NULL, 0},        {"aGV-", NULL, 3},
    };
    uint8_t mem[16];
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct slice out = {0};
        size_t at = 99;
        int rc = consul_text_base64(slice_str(rows[i].text), mem, &out, &at);
        int is_right = rows[i].bytes == NULL ? rc == MU_E_BAD_REQUEST
                                             : rc == 0 && slice_eq(out, slice_str(rows[i].bytes));
        if (!is_right || at != rows[i].at) {
            fail_msg("\"%s\" gives %d at %zu", rows[i].text, rc, at);
        }
    }
}

static void indenting(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    consul_text_indent(&b, SLICE_LIT("[{\"a\":1,\"b{\\\"\":[],\"c\":{}},[2,\"x,:]\"]]"));
    assert_true(slice_eq(buf_slice(&b), SLICE_LIT("[\n"
                                                  "    {\n"
                                                  "        \"a\": 1,\n"
                                                  "        \"b{\\\"\": [],\n"
                                                  "        \"c\": {}\n"
                                                  "    },\n"
                                                  "    [\n"
                                                  "        2,\n"
                                                  "        \"x,:]\"\n"
                                                  "    ]\n"
                                                  "]\n")));
    buf_clear(&b);
    consul_text_indent(&b, SLICE_LIT("true"));
    assert_true(slice_eq(buf_slice(&b), SLICE_LIT("true\n")));
    buf_fini(&b);
}

static void durations_are_written(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {
        {0, "0s"},
        {5, "5ns"},
        {1500, "1.5\xc2\xb5s"},
        {250000000, "250ms"},
        {1500000000, "1.5s"},
        {10000000000U, "10s"},
        {90000000000U, "1m30s"},
        {3600000000000U, "1h0m0s"},
        {7322000000001U, "2h2m2.000000001s"},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct buf b = {0};
        uint64_t ns = 1;
        consul_text_put_duration(&b, rows[i].ns);
        assert_true(slice_eq(buf_slice(&b), slice_str(rows[i].text)));
        assert_int_equal(consul_text_duration(buf_slice(&b), &ns), 0);
        assert_true(ns == rows[i].ns);
        buf_fini(&b);
    }
}

static void truths(void **state)
{
    static const struct {
        const char *text;
        int truth; /* -1: refused */
    } rows[] = {{"1", 1},     {"t", 1}, {"T", 1},  {"true", 1},  {"TRUE", 1},  {"True", 1},
                {"0", 0},     {"f", 0}, {"F", 0},  {"false", 0}, {"FALSE", 0}, {"False", 0},
                {"tRUE", -1}, {"", -1}, {"2", -1}, {"yes", -1},  {"true ", -1}};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        int is = -1;
        int rc = consul_text_bool(slice_str(rows[i].text), &is);
        assert_int_equal(rc, rows[i].truth < 0 ? MU_E_BAD_REQUEST : 0);
        assert_int_equal(is, rows[i].truth);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations), cmocka_unit_test(durations_are_written),
        cmocka_unit_test(decoding),  cmocka_unit_test(cleaning),
        cmocka_unit_test(base64),    cmocka_unit_test(indenting),
        cmocka_unit_test(truths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
