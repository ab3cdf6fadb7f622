/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/err.h"
#include "base/text.h"

static void test_u64(void **state)
{
    (void)state;
    uint64_t v = 77;
    assert_int_equal(text_u64(SLICE_LIT("0"), 10, &v), 0);
    assert_true(v == 0);
    assert_int_equal(text_u64(SLICE_LIT("18446744073709551615"), UINT64_MAX, &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(text_u64(SLICE_LIT("18446744073709551616"), UINT64_MAX, &v), MU_E_RANGE);
    assert_int_equal(text_u64(SLICE_LIT("99999999999999999999999"), UINT64_MAX, &v), MU_E_RANGE);
    assert_int_equal(text_u64(SLICE_LIT("11"), 10, &v), MU_E_RANGE);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x1", "1.0", "1e3", "a"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(text_u64(slice_str(bad[i]), UINT64_MAX, &v), MU_E_BAD_REQUEST);
    }
    assert_true(v == UINT64_MAX); /* written on success only */
}

static void test_hex64(void **state)
{
    (void)state;
    uint64_t v = 0;
    assert_int_equal(text_hex64(SLICE_LIT("00000000000004d2"), &v), 0);
    assert_true(v == 1234);
    assert_int_equal(text_hex64(SLICE_LIT("FfffFFFFffffffff"), &v), 0);
    assert_true(v == UINT64_MAX);
    static const char *const bad[] = {"", "00000000000000000", "g", "0x1", "1 ", "-1", "@", "`"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(text_hex64(slice_str(bad[i]), &v), MU_E_BAD_REQUEST);
    }
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"0", 0},          {"0s", 0},        {"500ms", 500},    {"15s", 15000},       {"15", 15000},
        {"2m", 120000},    {"1h", 3600000},  {"7d", 604800000}, {"1.5s", 1500},       {"0.25", 250},
        {"1.5h", 5400000}, {"1.005s", 1005}, {"1.9ms", 1},      {"100d", 8640000000},
    };
    for (size_t i = 0; i < N_ELEMENTS(good); i++) {
        int64_t ms = -1;
        assert_int_equal(text_duration_ms(slice_str(good[i].text), INT64_MAX, &ms), 0);
        assert_true(ms == good[i].ms);
    }
    static const char *const bad[] = {"",     "s",   "-1s", "1 s",   "1S",      "1w",
                                      "1.s",  ".5s", "1.",  "1..5s", "1.2345s", "1s ",
                                      "1s2m", "1ns", "+1",  "1.5.5"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        int64_t ms = -1;
        assert_int_equal(text_duration_ms(slice_str(bad[i]), INT64_MAX, &ms), MU_E_BAD_REQUEST);
        assert_true(ms == -1);
    }
}

static void test_durations_are_bounded(void **state)
{
    (void)state;
    int64_t ms = -1;
    assert_int_equal(text_duration_ms(SLICE_LIT("10m"), 600000, &ms), 0);
    assert_true(ms == 600000);
    assert_int_equal(text_duration_ms(SLICE_LIT("10.001m"), 600000, &ms), MU_E_RANGE);
    assert_int_equal(text_duration_ms(SLICE_LIT("600001ms"), 600000, &ms), MU_E_RANGE);
    assert_int_equal(text_duration_ms(SLICE_LIT("0.9d"), 600000, &ms), MU_E_RANGE);
    assert_int_equal(text_duration_ms(SLICE_LIT("99999999999999999999d"), INT64_MAX, &ms),
                     MU_E_RANGE);
    assert_int_equal(text_duration_ms(SLICE_LIT("9223372036854775807d"), INT64_MAX, &ms),
                     MU_E_RANGE);
    assert_int_equal(text_duration_ms(SLICE_LIT("9223372036854775807ms"), INT64_MAX, &ms), 0);
    assert_true(ms == INT64_MAX);
    assert_int_equal(text_duration_ms(SLICE_LIT("0"), 0, &ms), 0);
}

static void test_durations_print_and_parse_back(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {{0, "0s"},
                {1, "1ms"},
                {500, "500ms"},
                {1000, "1s"},
                {1500, "1500ms"},
                {15000, "15s"},
                {90000, "90s"},
                {120000, "2m"},
                {3600000, "1h"},
                {86400000, "1d"},
                {INT64_MAX, "9223372036854775807ms"}};
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        char out[24];
        int64_t ms = -1;
        text_format_duration(rows[i].ms, out);
        assert_string_equal(out, rows[i].text);
        assert_int_equal(text_duration_ms(slice_str(out), INT64_MAX, &ms), 0);
        assert_true(ms == rows[i].ms);
    }
}

static void test_bool(void **state)
{
    (void)state;
    int v = 7;
    assert_int_equal(text_bool(SLICE_LIT("true"), &v), 0);
    assert_int_equal(v, 1);
    assert_int_equal(text_bool(SLICE_LIT("0"), &v), 0);
    assert_int_equal(v, 0);
    assert_int_equal(text_bool(SLICE_LIT("1"), &v), 0);
    assert_int_equal(text_bool(SLICE_LIT("false"), &v), 0);
    assert_int_equal(text_bool(SLICE_LIT("True"), &v), MU_E_BAD_REQUEST);
    assert_int_equal(text_bool(SLICE_LIT("yes"), &v), MU_E_BAD_REQUEST);
    assert_int_equal(text_bool(SLICE_LIT(""), &v), MU_E_BAD_REQUEST);
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "plain ascii, long enough for eight at a time",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "1234567\xc3\xa9",
        "\xc2\x80",
    };
    static const char *const bad[] = {
        "\x80",             /* a continuation alone */
        "\xc3",             /* cut short */
        "\xc3(",            /* not continued */
        "\xc0\x80",         /* overlong NUL */
        "\xc1\xbf",         /* overlong */
        "\xe0\x9f\xbf",     /* overlong */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80",     /* surrogate */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
        "12345678\xe2\x82",
        "\xe2\x82(",
        "\xf0\x9f\x98",
    };
    for (size_t i = 0; i < N_ELEMENTS(good); i++) {
        assert_true(text_is_utf8(slice_str(good[i])));
    }
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_false(text_is_utf8(slice_str(bad[i])));
    }
    assert_true(text_is_utf8((struct slice){0}));
}

static void test_names(void **state)
{
    (void)state;
    assert_true(text_is_name(SLICE_LIT("web-1"), 512));
    assert_true(text_is_name(SLICE_LIT("caf\xc3\xa9 au lait"), 512));
    assert_true(text_is_name(SLICE_LIT("abc"), 3));
    assert_false(text_is_name(SLICE_LIT("abcd"), 3));
    assert_false(text_is_name(SLICE_LIT(""), 512));
    assert_false(text_is_name(SLICE_LIT("a\nb"), 512));
    assert_false(text_is_name(SLICE_LIT("a\0b"), 512));
    assert_false(text_is_name(SLICE_LIT("a\x7f"), 512));
    assert_false(text_is_name(SLICE_LIT("a\xff"), 512));
}

static void test_times_print_and_parse_back(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {INT64_C(951782400123), "2000-02-29T00:00:00.123Z"},
        {INT64_C(1735689599999), "2024-12-31T23:59:59.999Z"},
        {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
        {INT64_C(-62167219200000), "0000-01-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        char out[32];
        int64_t ms = 5;
        text_format_time(rows[i].ms, out);
        assert_string_equal(out, rows[i].text);
        assert_int_equal(text_parse_time(slice_str(out), &ms), 0);
        assert_true(ms == rows[i].ms);
    }
    char out[32];
    text_format_time(INT64_MAX, out);
    assert_string_equal(out, "9999-12-31T23:59:59.999Z");
    text_format_time(INT64_MIN, out);
    assert_string_equal(out, "0000-01-01T00:00:00.000Z");
}

static void test_times_are_read_strictly(void **state)
{
    (void)state;
    int64_t ms = 0;
    assert_int_equal(text_parse_time(SLICE_LIT("2024-01-02T03:04:05Z"), &ms), 0);
    assert_true(ms == INT64_C(1704164645000));
    assert_int_equal(text_parse_time(SLICE_LIT("2024-01-02T03:04:05.5Z"), &ms), 0);
    assert_true(ms == INT64_C(1704164645500));
    assert_int_equal(text_parse_time(SLICE_LIT("2024-01-02T03:04:05.123456789Z"), &ms), 0);
    assert_true(ms == INT64_C(1704164645123));
    static const char *const bad[] = {
        "",
        "2024",
        "2024-01-02",
        "2024-01-02T03:04:05",
        "2024-01-02 03:04:05Z",
        "2024-1-2T3:4:5Z",
        " 2024-01-02T03:04:05Z",
        "2024-01-02T03:04:05Z ",
        "2024-01-02T03:04:05+00:00",
        "2024-01-02T03:04:05.Z",
        "2024-01-02T03:04:05.1234567890Z",
        "2024-01-02T03:04:5Z",
        "-024-01-02T03:04:05Z",
        "2024-01-02T03:04:05.12",
        "2024-01-02T03:04:05.-1Z",
    };
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(text_parse_time(slice_str(bad[i]), &ms), MU_E_BAD_REQUEST);
    }
    static const char *const absent[] = {
        "2024-13-01T00:00:00Z", "2024-00-01T00:00:00Z", "2024-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2024-01-00T00:00:00Z",
        "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:60Z",
    };
    for (size_t i = 0; i < N_ELEMENTS(absent); i++) {
        assert_int_equal(text_parse_time(slice_str(absent[i]), &ms), MU_E_RANGE);
    }
}

static void test_percent_decoding_happens_once(void **state)
{
    (void)state;
    char out[16];
    size_t n = 0;
    assert_int_equal(text_percent_decode(SLICE_LIT("a%2Fb+c%2525"), out, sizeof(out), &n), 0);
    unit_slice_is(slice_of(out, n), "a/b+c%25");
    assert_int_equal(text_percent_decode(SLICE_LIT(""), out, 0, &n), 0);
    assert_int_equal(n, 0);
    static const char *const bad[] = {"%", "%1", "a%", "%zz", "%2", "%00", "a%0", "%+1"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(text_percent_decode(slice_str(bad[i]), out, sizeof(out), &n),
                         MU_E_BAD_REQUEST);
    }
    assert_int_equal(text_percent_decode(SLICE_LIT("a\0b"), out, sizeof(out), &n),
                     MU_E_BAD_REQUEST);
    assert_int_equal(text_percent_decode(SLICE_LIT("abcd"), out, 3, &n), MU_E_RANGE);
    assert_int_equal(text_percent_decode(SLICE_LIT("abc"), out, 3, &n), 0);
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"address", "port", "weight", "enabled", "ttl"};
    assert_string_equal(text_nearest("adress", names, 5), "address");
    assert_string_equal(text_nearest("Port", names, 5), "port");
    assert_string_equal(text_nearest("enable", names, 5), "enabled");
    assert_string_equal(text_nearest("tll", names, 5), "ttl");
    assert_null(text_nearest("zone", names, 0));
    assert_null(text_nearest("completely-different", names, 5));
    assert_null(text_nearest("", names, 5));
    char word[200];
    memset(word, 'a', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    assert_null(text_nearest(word, names, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_hex64),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_durations_are_bounded),
        cmocka_unit_test(test_durations_print_and_parse_back),
        cmocka_unit_test(test_bool),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_times_print_and_parse_back),
        cmocka_unit_test(test_times_are_read_strictly),
        cmocka_unit_test(test_percent_decoding_happens_once),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
