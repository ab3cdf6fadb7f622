/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <math.h>
#include <stdlib.h>

#include "client/json.h"
#include "client/mem.h"

static struct cjson_doc *parse(const char *text)
{
    struct cjson_doc *d = NULL;
    assert_int_equal(cjson_parse(text, strlen(text), &d), MUSTER_OK);
    return d;
}

static void every_kind(void **state)
{
    (void)state;
    struct cjson_doc *d = parse(" {\"s\":\"a\\\"\\u00e9\\ud83d\\ude00\\n\",\"i\":-12,\"r\":2.5e1,"
                                "\"t\":true,\"f\":false,\"n\":null,\"a\":[1,[],{}],\"e\":\"\"}\n");
    const struct cjson *o = cjson_root(d);
    double v = 0;
    size_t len = 9;
    assert_int_equal(cjson_count(o), 8);
    assert_string_equal(cjson_text(cjson_get(o, "s")), "a\"\xc3\xa9\xf0\x9f\x98\x80\n");
    assert_int_equal(cjson_int(cjson_get(o, "i")), -12);
    assert_true(cjson_number(cjson_get(o, "r"), &v) && v == 25);
    assert_true(cjson_number(cjson_get(o, "i"), &v) && v == -12);
    assert_int_equal(cjson_int(cjson_get(o, "r")), 0);
    assert_true(cjson_is_true(cjson_get(o, "t")) && cjson_is_false(cjson_get(o, "f")));
    assert_true(!cjson_is_true(cjson_get(o, "n")) && !cjson_is_false(cjson_get(o, "none")));
    assert_string_equal(cjson_bytes(cjson_get(o, "e"), &len), "");
    assert_int_equal(len, 0);
    const struct cjson *a = cjson_get(o, "a");
    assert_true(cjson_is_array(a) && cjson_count(a) == 3);
    assert_int_equal(cjson_int(cjson_first(a)), 1);
    assert_true(cjson_is_array(cjson_next(cjson_first(a))));
    assert_null(cjson_next(cjson_next(cjson_next(cjson_first(a)))));
    assert_string_equal(cjson_name(cjson_next(cjson_first(o))), "i");
    assert_string_equal(cjson_name(cjson_first(a)), "");
    cjson_free(d);
}

/* What is not there answers like something empty: callers ask without looking first. */
static void nothing_there(void **state)
{
    (void)state;
    size_t len = 7;
    double v = 7;
    assert_null(cjson_root(NULL));
    assert_null(cjson_get(NULL, "a"));
    assert_null(cjson_first(NULL));
    assert_null(cjson_next(NULL));
    assert_null(cjson_text(NULL));
    assert_null(cjson_bytes(NULL, &len));
    assert_true(cjson_count(NULL) == 0 && cjson_int(NULL) == 0 && len == 0);
    assert_true(!cjson_is_array(NULL) && !cjson_number(NULL, &v) && v == 7);
    cjson_free(NULL);
}

static void a_nul_is_no_end_of_text(void **state)
{
    (void)state;
    struct cjson_doc *d = parse("[\"a\\u0000b\"]");
    size_t len = 0;
    const struct cjson *v = cjson_first(cjson_root(d));
    assert_null(cjson_text(v));
    assert_memory_equal(cjson_bytes(v, &len), "a\0b", 4);
    assert_int_equal(len, 3);
    cjson_free(d);
}

static void numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double want;
    } is[] = {{"0", 0},
              {"-0", 0},
              {"9223372036854775807", 9223372036854775807.0},
              {"1.5", 1.5},
              {"1e3", 1000},
              {"25E-1", 2.5},
              {"0.0e99999", 0},
              {"-1.25", -1.25},
              {"18446744073709551616", 18446744073709551616.0},
              {"1e-99999", 0},
              {"1e-99999999999999999999", 0},
              {"0.10000000000000000000000000000001e1", 1},
              {"100000000000000000000000000000e-29", 1}};
    for (size_t i = 0; i < N_ELEMENTS(is); i++) {
        struct cjson_doc *d = parse(is[i].text);
        double v = 7;
        assert_true(cjson_number(cjson_root(d), &v));
        assert_true(fabs(v - is[i].want) <= fabs(is[i].want) * 1e-12);
        cjson_free(d);
    }
    struct cjson_doc *d =
        parse("9223372036854775808"); /* over the bound of an integer: no integer */
    assert_int_equal(cjson_int(cjson_root(d)), 0);
    cjson_free(d);
}

static void what_is_no_json(void **state)
{
    (void)state;
    static const char *const no[] = {"",
                                     " ",
                                     "{",
                                     "}",
                                     "[",
                                     "[1,]",
                                     "[,1]",
                                     "{\"a\"}",
                                     "{\"a\":}",
                                     "{a:1}",
                                     "{\"a\":1,}",
                                     "\"a",
                                     "\"\\x\"",
                                     "\"\\u12g4\"",
                                     "\"\t\"",
                                     "\"\\ud800\"",
                                     "\"\\udc00\"",
                                     "\"\\ud800\\u0041\"",
                                     "\"\\",
                                     "tru",
                                     "nulll",
                                     "01",
                                     "+1",
                                     ".5",
                                     "1.",
                                     "1e",
                                     "1e+",
                                     "-",
                                     "[1] 2",
                                     "[1}",
                                     "\"\xff\"",
                                     "{\"a\\u0000b\":1}",
                                     "NaN",
                                     "[1 2]",
                                     "{\"a\" 1}"};
    for (size_t i = 0; i < N_ELEMENTS(no); i++) {
        struct cjson_doc *d = NULL;
        assert_int_equal(cjson_parse(no[i], strlen(no[i]), &d), MUSTER_INVALID);
        assert_null(d);
    }
}

/* Each shorter piece of a text is none, and not one byte behind it is read. */
static void cuts(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":[true,false,null,-1.5e2,\"\\ud83d\\ude00\\n\"],\"b\":{\"c\":12}}";
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        struct cjson_doc *d = NULL;
        char *piece = malloc(len + 1);
        memcpy(piece + 1, text, len); /* up to the end of its room */
        assert_int_equal(cjson_parse(piece + 1, len, &d), MUSTER_INVALID);
        free(piece);
    }
}

static char *deep(unsigned n)
{
    char *text = calloc(1, 2 * (size_t)n + 1);
    memset(text, '[', n);
    memset(text + n, ']', n);
    return text;
}

static void bounds(void **state)
{
    (void)state;
    struct cjson_doc *d = NULL;
    char *text = deep(CJSON_DEPTH_MAX);
    cjson_free(parse(text));
    free(text);
    text = deep(CJSON_DEPTH_MAX + 1);
    assert_int_equal(cjson_parse(text, strlen(text), &d), MUSTER_INVALID);
    free(text);
    size_t len = 2 * (size_t)CJSON_VALUES_MAX + 1;
    text = malloc(len);
    for (size_t i = 0; i < len; i++) {
        text[i] = i % 2 != 0 ? '1' : ',';
    }
    text[0] = '[';
    text[len - 1] = ']';
    assert_int_equal(cjson_parse(text, len, &d), MUSTER_INVALID); /* one array too many */
    text[len - 3] = ']';
    assert_int_equal(cjson_parse(text, len - 2, &d), MUSTER_OK);
    assert_int_equal(cjson_count(cjson_root(d)), CJSON_VALUES_MAX - 1);
    cjson_free(d);
    free(text);
}

static void no_memory(void **state)
{
    (void)state;
    struct cjson_doc *d = NULL;
    cmem_fail_at(1);
    assert_int_equal(cjson_parse("[]", 2, &d), MUSTER_NO_MEMORY);
    assert_int_equal(cmem_fail_pending(), 0);
    assert_null(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind),
        cmocka_unit_test(nothing_there),
        cmocka_unit_test(a_nul_is_no_end_of_text),
        cmocka_unit_test(numbers),
        cmocka_unit_test(what_is_no_json),
        cmocka_unit_test(cuts),
        cmocka_unit_test(bounds),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
