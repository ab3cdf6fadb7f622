/* SPDX-License-Identifier: Apache-2.0 */
/* Names as file names, contents in JSON: exact both ways. */
#include "tests/unit/unit.h"

#include <jansson.h>

#include "base/mem.h"
#include "tools/musterctl/config.h"

static void coded_is(const char *name, const char *file)
{
    struct buf b, back;
    buf_init(&b);
    buf_init(&back);
    ctl_filename_encode(&b, name);
    unit_slice_is(buf_slice(&b), file);
    buf_append_byte(&b, '\0');
    assert_int_equal(ctl_filename_decode(&back, (const char *)b.p), 0);
    unit_slice_is(buf_slice(&back), name);
    buf_fini(&b);
    buf_fini(&back);
}

static void test_names_as_file_names(void **state)
{
    (void)state;
    coded_is("db.yaml", "db.yaml");
    coded_is("a b-c_é中", "a b-c_é中");
    coded_is(".", "%2E");
    coded_is("..", "%2E.");
    coded_is(".git", "%2Egit");
    coded_is("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd");
    coded_is("50%", "50%25");
    coded_is("%2F", "%252F");
    coded_is("a~b\\c:d*e?f\"g<h>i|j", "a%7Eb%5Cc%3Ad%2Ae%3Ff%22g%3Ch%3Ei%7Cj");
}

static void test_file_names_of_others(void **state)
{
    (void)state;
    static const char *const none[] = {"",    ".x",  "a%2", "a%zz", "%00",
                                       "%61", "%2f", "a/b", "x~0",  "a%41"};
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < N_ELEMENTS(none); i++) {
        assert_int_equal(ctl_filename_decode(&b, none[i]), -1);
    }
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

/* Long names are cut, at no half character or escape, and stay different. */
static void test_long_names(void **state)
{
    (void)state;
    char name[4097];
    for (size_t shift = 0; shift < 8; shift++) {
        int is_escaped = shift >= 4;
        struct buf a, b;
        size_t len = shift;
        memset(name, 'a', shift);
        while (len + 2 < 900) {
            memcpy(name + len, is_escaped ? "/x" : "é", 2);
            len += 2;
        }
        name[len] = '\0';
        buf_init(&a);
        buf_init(&b);
        ctl_filename_encode(&a, name);
        name[len - 1] = 'z';
        ctl_filename_encode(&b, name);
        assert_true(a.len <= CTL_FILENAME_MAX && b.len <= CTL_FILENAME_MAX);
        assert_false(slice_eq(buf_slice(&a), buf_slice(&b)));
        const uint8_t *tilde = memchr(a.p, '~', a.len);
        assert_non_null(tilde);
        assert_true(tilde[-1] != '%' && tilde[-2] != '%');
        assert_true(is_escaped || tilde[-1] == 0xa9);
        buf_append_byte(&a, '\0');
        assert_int_equal(ctl_filename_decode(&b, (const char *)a.p), -1);
        buf_fini(&a);
        buf_fini(&b);
    }
    /* Exactly as long as may be. */
    memset(name, 'x', CTL_FILENAME_MAX);
    name[CTL_FILENAME_MAX] = '\0';
    coded_is(name, name);
}

static void round_trip(const void *p, size_t len, const char *member)
{
    json_t *o = json_object();
    struct buf b;
    buf_init(&b);
    ctl_json_set_content(o, slice_of(p, len));
    assert_non_null(json_object_get(o, member));
    assert_int_equal(json_object_size(o), 1);
    assert_int_equal(ctl_json_get_content(o, &b), 0);
    assert_true(slice_eq(buf_slice(&b), slice_of(p, len)));
    buf_fini(&b);
    json_decref(o);
}

/* The search for the beginning of a character ran out of the buffer. */
static void test_long_names_that_are_no_text(void **state)
{
    char name[400];
    struct buf b;
    (void)state;
    memset(name, 0x80, sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    buf_init(&b);
    ctl_filename_encode(&b, name);
    assert_in_range(b.len, 100, CTL_FILENAME_MAX);
    buf_fini(&b);
}

static void test_contents_in_json(void **state)
{
    (void)state;
    uint8_t all[256];
    for (size_t i = 0; i < sizeof(all); i++) {
        all[i] = (uint8_t)(255 - i);
    }
    round_trip("", 0, "content");
    round_trip("é\n", 3, "content");
    round_trip("a\0b", 3, "content_base64");
    for (size_t len = 1; len <= sizeof(all); len++) {
        round_trip(all, len, "content_base64");
    }
}

static void test_wrong_base64(void **state)
{
    (void)state;
    static const char *const wrong[] = {"a",    "abc",  "a===",  "=aaa",
                                        "aa=a", "ab*=", "aaaa=", "aa==aaaa"};
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < N_ELEMENTS(wrong); i++) {
        json_t *o = json_pack("{s:s}", "content_base64", wrong[i]);
        assert_int_equal(ctl_json_get_content(o, &b), -1);
        json_decref(o);
    }
    json_t *none = json_object();
    assert_int_equal(ctl_json_get_content(none, &b), -1);
    json_decref(none);
    buf_fini(&b);
}

static void test_types_by_ending(void **state)
{
    (void)state;
    assert_string_equal(ctl_content_type_of("x/y.json"), "application/json");
    assert_string_equal(ctl_content_type_of("a.yml"), "application/yaml");
    assert_null(ctl_content_type_of(".json"));
    assert_null(ctl_content_type_of("a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_as_file_names),
        cmocka_unit_test(test_file_names_of_others),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_long_names_that_are_no_text),
        cmocka_unit_test(test_contents_in_json),
        cmocka_unit_test(test_wrong_base64),
        cmocka_unit_test(test_types_by_ending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
