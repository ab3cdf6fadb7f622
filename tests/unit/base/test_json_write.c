/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json_read.h"
#include "base/json_write.h"

struct fixture {
    struct buf b;
    struct jw w;
};

static int setup(void **state)
{
    static struct fixture f;
    buf_init(&f.b);
    jw_init(&f.w, &f.b);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    buf_fini(&f->b);
    return 0;
}

static void expect(struct fixture *f, const char *text)
{
    unit_slice_is(buf_slice(&f->b), text);
    buf_clear(&f->b);
    jw_init(&f->w, &f->b);
}

static void test_nesting_and_commas(void **state)
{
    struct fixture *f = *state;
    struct jw *w = &f->w;
    jw_obj(w);
    jw_key(w, "a");
    jw_arr(w);
    jw_u64(w, 1);
    jw_obj(w);
    jw_end(w);
    jw_arr(w);
    jw_end(w);
    jw_null(w);
    jw_end(w);
    jw_key_slice(w, SLICE_LIT("b"));
    jw_bool(w, 1);
    jw_key(w, "c");
    jw_obj(w);
    jw_key(w, "d");
    jw_bool(w, 0);
    jw_end(w);
    jw_end(w);
    assert_int_equal(w->depth, 0);
    expect(f, "{\"a\":[1,{},[],null],\"b\":true,\"c\":{\"d\":false}}");
}

static void test_strings_are_escaped(void **state)
{
    struct fixture *f = *state;
    jw_str(&f->w, "a\"b\\c\n\r\t\x01\x1f\x7f/");
    expect(f, "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f\\u007f/\"");
    jw_slice(&f->w, SLICE_LIT("nul\0inside"));
    expect(f, "\"nul\\u0000inside\"");
    jw_str(&f->w, "");
    expect(f, "\"\"");
    jw_slice(&f->w, (struct slice){0});
    expect(f, "\"\"");
    jw_str(&f->w, "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    expect(f, "\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"");
}

static void test_broken_utf8_is_replaced(void **state)
{
    struct fixture *f = *state;
    jw_str(&f->w, "a\xff"
                  "b");
    expect(f, "\"a\xef\xbf\xbd"
              "b\"");
    jw_str(&f->w, "\xe2\x82");
    expect(f, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    jw_str(&f->w, "\xed\xa0\x80");
    expect(f, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    jw_str(&f->w, "\xc3\"");
    expect(f, "\"\xef\xbf\xbd\\\"\"");
}

/* Strings are looked at eight bytes at a time; a byte must be seen wherever it stands, and no
 * neighbour may hide it. */
static void test_each_byte_at_each_place(void **state)
{
    struct fixture *f = *state;
    static const uint8_t fillers[] = {'a', ' ', '~', '!', '#', '[', ']'};
    for (unsigned c = 0; c < 0x100; c++) {
        for (size_t at = 0; at < 17; at++) {
            uint8_t text[17];
            struct slice got;
            struct json_t *doc = NULL;
            struct err e = {0};
            memset(text, fillers[(c + at) % N_ELEMENTS(fillers)], sizeof(text));
            text[at] = (uint8_t)c;
            jw_arr(&f->w);
            jw_slice(&f->w, slice_of(text, sizeof(text)));
            jw_end(&f->w);
            int must_grow = c < 0x20 || c == '"' || c == '\\' || c >= 0x7f;
            assert_int_equal(f->b.len > sizeof(text) + 4, must_grow);
            if (c != 0) { /* the reader refuses it */
                assert_int_equal(jr_parse(buf_slice(&f->b), &doc, &e), 0);
                assert_int_equal(jr_is_str(jr_arr_at(doc, 0), &got), 1);
                assert_int_equal(slice_eq(got, slice_of(text, sizeof(text))), c < 0x80);
                jr_free(doc);
            }
            buf_clear(&f->b);
            jw_init(&f->w, &f->b);
        }
    }
}

static void test_whole_numbers(void **state)
{
    struct fixture *f = *state;
    jw_u64(&f->w, UINT64_MAX);
    expect(f, "18446744073709551615");
    jw_i64(&f->w, INT64_MIN);
    expect(f, "-9223372036854775808");
    jw_i64(&f->w, INT64_MAX);
    expect(f, "9223372036854775807");
    jw_i64(&f->w, 0);
    expect(f, "0");
}

static void test_doubles(void **state)
{
    struct fixture *f = *state;
    static const struct {
        double v;
        const char *text;
    } rows[] = {
        {0, "0"},
        {1, "1"},
        {-3, "-3"},
        {1000000, "1000000"},
        {0.1, "0.1"},
        {1.5, "1.5"},
        {0.3, "0.3"},
        {-0.0, "-0"},
        {5e-324, "5e-324"},
        {1e300, "1e+300"},
        {1.0 / 3, "0.3333333333333333"},
        {0.1 + 0.2, "0.30000000000000004"},
        {NAN, "null"},
        {INFINITY, "null"},
        {123456789012345.0, "123456789012345"},
    };
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        jw_f64(&f->w, rows[i].v);
        expect(f, rows[i].text);
    }
}

static void test_doubles_read_back_equal(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2000; i++) {
        double v;
        uint64_t bits = rnd_u64();
        memcpy(&v, &bits, sizeof(v));
        if (!isfinite(v)) {
            continue;
        }
        jw_f64(&f->w, v);
        buf_append_byte(&f->b, 0);
        assert_true(strtod((const char *)f->b.p, NULL) == v);
        buf_clear(&f->b);
    }
}

static void test_base64(void **state)
{
    struct fixture *f = *state;
    /* RFC 4648 section 10 */
    static const char *const rows[][2] = {
        {"", "\"\""},
        {"f", "\"Zg==\""},
        {"fo", "\"Zm8=\""},
        {"foo", "\"Zm9v\""},
        {"foob", "\"Zm9vYg==\""},
        {"fooba", "\"Zm9vYmE=\""},
        {"foobar", "\"Zm9vYmFy\""},
    };
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        jw_base64(&f->w, slice_str(rows[i][0]));
        expect(f, rows[i][1]);
    }
    jw_base64(&f->w, SLICE_LIT("\xff\xfe\xfd"));
    expect(f, "\"//79\"");
}

static void value_without_key(void *arg)
{
    struct jw *w = arg;
    jw_obj(w);
    jw_u64(w, 1);
}

static void key_in_array(void *arg)
{
    struct jw *w = arg;
    jw_arr(w);
    jw_key(w, "a");
}

static void end_after_key(void *arg)
{
    struct jw *w = arg;
    jw_obj(w);
    jw_key(w, "a");
    jw_end(w);
}

static void end_of_nothing(void *arg)
{
    jw_end(arg);
}

static void too_deep(void *arg)
{
    for (int i = 0; i < 64; i++) {
        jw_arr(arg);
    }
}

static void test_misuse_aborts(void **state)
{
    struct fixture *f = *state;
    assert_true(unit_aborts(value_without_key, &f->w));
    assert_true(unit_aborts(key_in_array, &f->w));
    assert_true(unit_aborts(end_after_key, &f->w));
    assert_true(unit_aborts(end_of_nothing, &f->w));
    assert_true(unit_aborts(too_deep, &f->w));
    for (int i = 0; i < 63; i++) {
        jw_arr(&f->w);
    }
    for (int i = 0; i < 63; i++) {
        jw_end(&f->w);
    }
    assert_int_equal(f->b.len, 126);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nesting_and_commas, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strings_are_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_utf8_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_byte_at_each_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whole_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_doubles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_doubles_read_back_equal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_base64, setup, teardown),
        cmocka_unit_test_setup_teardown(test_misuse_aborts, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
