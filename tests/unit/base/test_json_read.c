/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "base/json_read.h"
#include "base/mem.h"

static struct json_t *parse(const char *text)
{
    struct json_t *doc = NULL;
    struct err e = {0};
    assert_int_equal(jr_parse(slice_str(text), &doc, &e), 0);
    return doc;
}

static void refuse(const char *text, const char *because)
{
    struct json_t *doc = NULL;
    struct err e = {0};
    assert_int_equal(jr_parse(slice_str(text), &doc, &e), MU_E_BAD_REQUEST);
    assert_null(doc);
    if (strstr(e.text, because) == NULL) {
        fail_msg("\"%s\" does not mention \"%s\"", e.text, because);
    }
}

static void test_malformed_documents_are_refused(void **state)
{
    (void)state;
    refuse("", "empty");
    refuse("{", "line 1");
    refuse("{\"a\":1}x", "line 1, column 8");
    refuse("{\n\"a\" 1}", "line 2");
    refuse("{\"a\":1,\"a\":2}", "duplicate");
    refuse("{\"a\":\"\\u0000\"}", "");
    refuse("{\"a\":\"\xff\"}", "");
    refuse("3", "");
    refuse("{\"a\":99999999999999999999}", "");
    refuse("{\"a\":01}", "");
    refuse("{\"a\":1e999}", "");
    refuse("{'a':1}", "");
    refuse("[1,]", "");
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    char text[80];
    memset(text, '[', 32);
    memset(text + 32, ']', 32);
    text[64] = '\0';
    jr_free(parse(text));
    memset(text, '[', 33);
    memset(text + 33, ']', 33);
    text[66] = '\0';
    refuse(text, "deeper");
    jr_free(parse("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"]"));
    refuse("\"\\", "");
}

static void test_members_of_each_kind(void **state)
{
    (void)state;
    struct json_t *doc = parse(
        "{\"s\":\"x\",\"i\":-5,\"n\":1.5,\"b\":true,\"d\":\"15s\",\"e\":2.5,\"a\":[1,2],\"o\":{},"
        "\"z\":null}");
    struct err e = {0};
    struct jr r;
    jr_begin(&r, doc, &e);
    unit_slice_is(jr_str(&r, "s", 1), "x");
    assert_true(jr_int(&r, "i", 0, -10, 10) == -5);
    assert_true(jr_num(&r, "n", 0, 0, 2) == 1.5);
    assert_int_equal(jr_bool(&r, "b", 0), 1);
    assert_true(jr_duration(&r, "d", 0, 0, 60000) == 15000);
    assert_true(jr_duration(&r, "e", 0, 0, 60000) == 2500);
    assert_int_equal(jr_arr_len(jr_arr(&r, "a", 2)), 2);
    assert_non_null(jr_obj(&r, "o"));
    assert_int_equal(jr_has(&r, "s"), 1);
    assert_int_equal(jr_has(&r, "z"), 0); /* null counts as absent */
    assert_int_equal(jr_end(&r), 0);
    jr_free(doc);
}

static void test_absent_members_give_defaults(void **state)
{
    (void)state;
    struct json_t *doc = parse("{}");
    struct err e = {0};
    struct jr r;
    jr_begin(&r, doc, &e);
    assert_int_equal(jr_str(&r, "s", 0).len, 0);
    assert_true(jr_int(&r, "i", 7, 0, 1) == 7);
    assert_true(jr_num(&r, "n", 2.5, 0, 1) == 2.5);
    assert_int_equal(jr_bool(&r, "b", 1), 1);
    assert_true(jr_duration(&r, "d", 99, 0, 1) == 99);
    assert_null(jr_arr(&r, "a", 2));
    assert_null(jr_obj(&r, "o"));
    assert_int_equal(jr_end(&r), 0);
    jr_str(&r, "name", 1);
    assert_int_equal(jr_end(&r), MU_E_BAD_REQUEST);
    assert_string_equal(e.text, "\"name\" is missing");
    jr_free(doc);
}

/* One reader per row: the member "m" has a value of the wrong kind or outside its bounds. */
static void test_wrong_values_name_the_member(void **state)
{
    (void)state;
    static const struct {
        const char *doc;
        char kind;
        const char *says;
    } rows[] = {
        {"{\"m\":1}", 's', "\"m\" must be a string"},
        {"{\"m\":\"1\"}", 'i', "\"m\" must be a whole number from 0 to 9"},
        {"{\"m\":1.0}", 'i', "whole number"},
        {"{\"m\":10}", 'i', "whole number"},
        {"{\"m\":-1}", 'i', "whole number"},
        {"{\"m\":\"1\"}", 'n', "\"m\" must be a number from 0 to 9"},
        {"{\"m\":9.1}", 'n', "must be a number"},
        {"{\"m\":1}", 'b', "\"m\" must be true or false"},
        {"{\"m\":\"true\"}", 'b', "true or false"},
        {"{\"m\":\"soon\"}", 'd', "\"m\" must be a duration from 1s to 1m"},
        {"{\"m\":\"2m\"}", 'd', "duration"},
        {"{\"m\":0.5}", 'd', "duration"},
        {"{\"m\":-1}", 'd', "duration"},
        {"{\"m\":1e300}", 'd', "duration"},
        {"{\"m\":true}", 'd', "duration"},
        {"{\"m\":{}}", 'a', "\"m\" must be an array"},
        {"{\"m\":[1,2,3]}", 'a', "\"m\" may have at most 2 items"},
        {"{\"m\":[]}", 'o', "\"m\" must be an object"},
    };
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct json_t *doc = parse(rows[i].doc);
        struct err e = {0};
        struct jr r;
        jr_begin(&r, doc, &e);
        switch (rows[i].kind) {
        case 's':
            jr_str(&r, "m", 0);
            break;
        case 'i':
            jr_int(&r, "m", 0, 0, 9);
            break;
        case 'n':
            jr_num(&r, "m", 0, 0, 9);
            break;
        case 'b':
            jr_bool(&r, "m", 0);
            break;
        case 'd':
            assert_true(jr_duration(&r, "m", 1000, 1000, 60000) == 1000);
            break;
        case 'a':
            assert_null(jr_arr(&r, "m", 2));
            break;
        default:
            assert_null(jr_obj(&r, "m"));
            break;
        }
        assert_int_equal(jr_end(&r), MU_E_BAD_REQUEST);
        if (strstr(e.text, rows[i].says) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", e.text, rows[i].says);
        }
        jr_free(doc);
    }
}

static void test_unknown_members_are_refused_by_name(void **state)
{
    (void)state;
    struct json_t *doc = parse("{\"prot\":1}");
    struct err e = {0};
    struct jr r;
    jr_begin(&r, doc, &e);
    jr_int(&r, "port", 0, 0, 1);
    assert_int_equal(jr_end(&r), MU_E_BAD_REQUEST);
    assert_string_equal(e.text, "unknown member \"prot\"; did you mean \"port\"?");
    jr_free(doc);
    doc = parse("{\"somethingelse\":1}");
    e = (struct err){0};
    jr_begin(&r, doc, &e);
    jr_int(&r, "port", 0, 0, 1);
    assert_int_equal(jr_end(&r), MU_E_BAD_REQUEST);
    assert_string_equal(e.text, "unknown member \"somethingelse\"");
    jr_free(doc);
}

/* A misspelt member is usually the missing one; its name says more. */
static void test_unknown_beats_missing(void **state)
{
    (void)state;
    struct json_t *doc = parse("{\"adress\":\"10.0.0.7\"}");
    struct err e = {0};
    struct jr r;
    jr_begin(&r, doc, &e);
    jr_str(&r, "address", 1);
    assert_int_equal(jr_end(&r), MU_E_BAD_REQUEST);
    assert_string_equal(e.text, "unknown member \"adress\"; did you mean \"address\"?");
    jr_free(doc);
}

static void test_first_error_sticks(void **state)
{
    (void)state;
    struct json_t *doc = parse("{\"a\":1,\"b\":2,\"c\":3}");
    struct err e = {0};
    struct jr r;
    jr_begin(&r, doc, &e);
    jr_str(&r, "a", 0);
    jr_bool(&r, "b", 0);
    assert_int_equal(jr_end(&r), MU_E_BAD_REQUEST);
    assert_string_equal(e.text, "\"a\" must be a string");
    jr_free(doc);
}

static void test_only_objects_are_read(void **state)
{
    (void)state;
    struct json_t *doc = parse("[1]");
    struct err e = {0};
    struct jr r;
    jr_begin(&r, doc, &e);
    assert_int_equal(jr_has(&r, "a"), 0);
    assert_int_equal(jr_end(&r), MU_E_BAD_REQUEST);
    assert_string_equal(e.text, "a JSON object is expected");
    struct slice s;
    assert_int_equal(jr_is_str(jr_arr_at(doc, 0), &s), 0);
    assert_null(jr_arr_at(doc, 1));
    jr_free(doc);
}

static int collect(void *arg, struct slice key, struct slice value)
{
    char *out = arg;
    strncat(out, (const char *)key.p, key.len);
    strcat(out, "=");
    strncat(out, value.p != NULL ? (const char *)value.p : "", value.len);
    strcat(out, ";");
    return slice_eq(key, SLICE_LIT("stop")) ? MU_E_CLOSED : 0;
}

static void test_each_str_walks_in_order(void **state)
{
    (void)state;
    char out[100] = "";
    struct err e = {0};
    struct json_t *doc = parse("{\"z\":\"1\",\"a\":\"2\",\"m\":\"\"}");
    assert_int_equal(jr_each_str(doc, collect, out, &e), 0);
    assert_string_equal(out, "z=1;a=2;m=;");
    jr_free(doc);
    out[0] = '\0';
    doc = parse("{\"stop\":\"1\",\"a\":\"2\"}");
    assert_int_equal(jr_each_str(doc, collect, out, &e), MU_E_CLOSED);
    assert_string_equal(out, "stop=1;");
    jr_free(doc);
    doc = parse("{\"a\":2}");
    assert_int_equal(jr_each_str(doc, collect, out, &e), MU_E_BAD_REQUEST);
    assert_string_equal(e.text, "the value of \"a\" must be a string");
    jr_free(doc);
}

static void test_null_is_told_from_absent(void **state)
{
    (void)state;
    char out[100] = "";
    struct err e = {0};
    struct jr r;
    struct json_t *doc = parse("{\"a\":null,\"b\":\"x\"}");
    jr_begin(&r, doc, &e);
    assert_true(jr_is_null(&r, "a"));
    assert_false(jr_is_null(&r, "b"));
    assert_false(jr_is_null(&r, "c"));
    assert_false(jr_has(&r, "a"));
    assert_true(jr_obj_has(doc, SLICE_LIT("a")));
    assert_true(jr_obj_has(doc, SLICE_LIT("b")));
    assert_false(jr_obj_has(doc, SLICE_LIT("c")));
    assert_int_equal(jr_each_str(doc, collect, out, &e), 0);
    assert_string_equal(out, "a=;b=x;");
    assert_int_equal(jr_end(&r), 0);
    jr_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malformed_documents_are_refused),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_members_of_each_kind),
        cmocka_unit_test(test_absent_members_give_defaults),
        cmocka_unit_test(test_wrong_values_name_the_member),
        cmocka_unit_test(test_unknown_members_are_refused_by_name),
        cmocka_unit_test(test_unknown_beats_missing),
        cmocka_unit_test(test_first_error_sticks),
        cmocka_unit_test(test_only_objects_are_read),
        cmocka_unit_test(test_each_str_walks_in_order),
        cmocka_unit_test(test_null_is_told_from_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
