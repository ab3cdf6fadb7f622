/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "client/cbuf.h"
#include "client/mem.h"

static void percent(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {{"plain-_.~1", "plain-_.~1"},
                {"a/b c", "a%2Fb%20c"},
                {"..", "%2E%2E"},
                {".", "%2E"},
                {"...", "..."},
                {"\xc3\xa9?&#%", "%C3%A9%3F%26%23%25"}};
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct cbuf b;
        cbuf_init(&b, 100);
        cbuf_percent(&b, rows[i].in);
        char *got = cbuf_take(&b);
        assert_string_equal(got, rows[i].out);
        cmem_free(got);
    }
}

static void json(void **state)
{
    (void)state;
    struct cbuf b;
    cbuf_init(&b, 100);
    cbuf_json(&b, "a\"b\\c\n\x01\xc3\xa9");
    assert_string_equal(b.p, "\"a\\\"b\\\\c\\u000a\\u0001\xc3\xa9\"");
    cbuf_fini(&b);
}

static void the_bound_is_exact_and_sticks(void **state)
{
    (void)state;
    struct cbuf b;
    cbuf_init(&b, 4);
    cbuf_str(&b, "1234");
    assert_false(cbuf_failed(&b));
    cbuf_str(&b, "5");
    assert_true(b.is_over);
    cbuf_str(&b, "");
    assert_int_equal(b.len, 4);
    assert_null(cbuf_take(&b));
    cbuf_init(&b, 4);
    cbuf_append(&b, "x", SIZE_MAX);
    assert_true(b.is_over);
}

static void no_memory_sticks(void **state)
{
    (void)state;
    struct cbuf b;
    cbuf_init(&b, 1000);
    cmem_fail_at(1);
    cbuf_str(&b, "a");
    assert_true(b.no_memory);
    cbuf_str(&b, "b");
    assert_null(cbuf_take(&b));
    char *empty = cbuf_take(&b);
    assert_string_equal(empty, "");
    cmem_free(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percent),
        cmocka_unit_test(json),
        cmocka_unit_test(the_bound_is_exact_and_sticks),
        cmocka_unit_test(no_memory_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
