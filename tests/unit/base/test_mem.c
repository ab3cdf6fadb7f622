/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/mem.h"

static void test_zero_bytes_give_a_pointer(void **state)
{
    (void)state;
    void *p = mem_alloc(0);
    void *q = mem_zalloc(0);
    assert_non_null(p);
    assert_non_null(q);
    p = mem_realloc(p, 0);
    assert_non_null(p);
    mem_free(p);
    mem_free(q);
    mem_free(NULL);
}

static void test_zalloc_clears(void **state)
{
    (void)state;
    unsigned char *p = mem_zalloc(100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(p[i], 0);
    }
    mem_free(p);
}

static void test_realloc_keeps_contents(void **state)
{
    (void)state;
    char *p = mem_strdup("hello");
    p = mem_realloc(p, 1000);
    assert_string_equal(p, "hello");
    mem_free(p);
}

static void test_copies_are_whole(void **state)
{
    (void)state;
    char *p = mem_dup("a\0b", 3);
    assert_memory_equal(p, "a\0b", 3);
    mem_free(p);
    p = mem_dup(NULL, 0);
    assert_non_null(p);
    mem_free(p);
    p = mem_slice_str(slice_of("abcdef", 3));
    assert_string_equal(p, "abc");
    mem_free(p);
    p = mem_slice_str((struct slice){0});
    assert_string_equal(p, "");
    mem_free(p);
}

static void take_everything(void *arg)
{
    const size_t *size = arg;
    const struct rlimit small = {256u << 20, 256u << 20};
    setrlimit(RLIMIT_AS, &small);
    mem_free(mem_alloc(*size));
}

static void test_no_memory_ends_the_process(void **state)
{
    (void)state;
#ifndef UNIT_SANITIZED
    size_t size = (size_t)1 << 40;
    assert_true(unit_aborts(take_everything, &size));
#else
    (void)take_everything;
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_bytes_give_a_pointer),  cmocka_unit_test(test_zalloc_clears),
        cmocka_unit_test(test_realloc_keeps_contents),     cmocka_unit_test(test_copies_are_whole),
        cmocka_unit_test(test_no_memory_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
