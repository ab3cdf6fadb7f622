/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/err.h"

static void test_set_records_code_and_sentence(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, MU_E_NOT_FOUND, "no key %d", 7), MU_E_NOT_FOUND);
    assert_int_equal(e.code, MU_E_NOT_FOUND);
    assert_string_equal(e.text, "no key 7");
    assert_int_equal(err_set(NULL, MU_E_IO, "nobody listens"), MU_E_IO);
}

static void test_set_may_quote_its_own_text(void **state)
{
    (void)state;
    struct err e = {0};
    err_set(&e, MU_E_IO, "inner");
    err_set(&e, MU_E_CORRUPT, "outer (%s)", e.text);
    assert_string_equal(e.text, "outer (inner)");
}

static void test_long_sentences_are_cut(void **state)
{
    (void)state;
    struct err e = {0};
    char line[1000];
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    err_set(&e, MU_E_IO, "%s", line);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    err_wrap(&e, "%s", line);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_int_equal(e.code, MU_E_IO);
}

static void test_wrap_puts_context_before(void **state)
{
    (void)state;
    struct err e = {0};
    err_set(&e, MU_E_DISK_FULL, "map full");
    assert_int_equal(err_wrap(&e, "opening %s", "store"), MU_E_DISK_FULL);
    assert_string_equal(e.text, "opening store: map full");
}

static void test_unknown_codes_have_words(void **state)
{
    (void)state;
    assert_string_equal(err_name(-9999), "UNKNOWN");
    assert_int_equal(err_http_status(-9999), 500);
    assert_string_equal(err_name(MU_E_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(err_title(MU_E_NOT_FOUND), "not found");
    assert_int_equal(err_http_status(MU_E_NOT_FOUND), 404);
}

/* The list as released: a number is never given to another name. New codes are added at the end of
 * both. */
static void test_numbers_are_frozen(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *name;
    } frozen[] = {
        {-1, "BAD_REQUEST"},
        {-2, "NOT_FOUND"},
        {-3, "METHOD_NOT_ALLOWED"},
        {-4, "NOT_ACCEPTABLE"},
        {-5, "TIMEOUT"},
        {-6, "CONFLICT"},
        {-7, "COMPACTED"},
        {-8, "LENGTH_REQUIRED"},
        {-9, "REVISION_MISMATCH"},
        {-10, "EXISTS"},
        {-11, "TOO_LARGE"},
        {-12, "URI_TOO_LONG"},
        {-13, "UNSUPPORTED_TYPE"},
        {-14, "EXPECTATION_FAILED"},
        {-15, "TOO_MANY"},
        {-16, "HEADERS_TOO_LARGE"},
        {-17, "INTERNAL"},
        {-18, "NOT_IMPLEMENTED"},
        {-19, "NO_LEADER"},
        {-20, "OVERLOADED"},
        {-21, "UNKNOWN_OUTCOME"},
        {-22, "DRAINING"},
        {-23, "VERSION_NOT_SUPPORTED"},
        {-24, "DISK_FULL"},
        {-25, "FUTURE_REVISION"},
        {-40, "IO"},
        {-41, "CORRUPT"},
        {-42, "FORMAT"},
        {-43, "NOT_LEADER"},
        {-44, "RANGE"},
        {-45, "NO_LEASE"},
        {-46, "CLOSED"},
        {-47, "NO_SESSION"},
        {-48, "DENIED"},
        {-49, "UNAUTHORIZED"},
    };
    for (size_t i = 0; i < N_ELEMENTS(frozen); i++) {
        assert_string_equal(err_name(frozen[i].code), frozen[i].name);
    }
    size_t n = 0;
#define X(name, number, status, title) n += (number) < 0 && (status) >= 400 && (status) < 600;
    MU_ERR_LIST(X)
#undef X
    assert_int_equal(n, N_ELEMENTS(frozen));
}

static void break_it(void *arg)
{
    MU_INVARIANT(arg != NULL);
}

static void test_invariant_aborts_only_when_broken(void **state)
{
    (void)state;
    int x = 0;
    assert_true(unit_aborts(break_it, NULL));
    assert_false(unit_aborts(break_it, &x));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_records_code_and_sentence),
        cmocka_unit_test(test_set_may_quote_its_own_text),
        cmocka_unit_test(test_long_sentences_are_cut),
        cmocka_unit_test(test_wrap_puts_context_before),
        cmocka_unit_test(test_unknown_codes_have_words),
        cmocka_unit_test(test_numbers_are_frozen),
        cmocka_unit_test(test_invariant_aborts_only_when_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
