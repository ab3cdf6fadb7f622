/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/mem.h"

static void test_empty_takes_no_memory(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_null(b.p);
    assert_int_equal(buf_slice(&b).len, 0);
    buf_append(&b, NULL, 0);
    assert_null(b.p);
    buf_fini(&b);
    buf_fini(&b);
}

static void test_appends_in_order(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_append(&b, "ab", 2);
    buf_append_str(&b, "cd");
    buf_append_slice(&b, SLICE_LIT("ef"));
    buf_append_byte(&b, 'g');
    buf_append_u64(&b, 0);
    buf_append_u64(&b, UINT64_MAX);
    buf_printf(&b, "-%d-", 42);
    unit_slice_is(buf_slice(&b), "abcdefg018446744073709551615-42-");
    buf_fini(&b);
}

static void test_printf_grows_as_needed(void **state)
{
    (void)state;
    struct buf b;
    char text[5000];
    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    buf_init(&b);
    buf_printf(&b, "%s", text);
    assert_int_equal(b.len, sizeof(text) - 1);
    buf_printf(&b, "%.127s", text); /* exactly one byte too long for the first try */
    buf_printf(&b, "%.128s", text);
    assert_int_equal(b.len, sizeof(text) - 1 + 127 + 128);
    buf_fini(&b);
}

static void test_reserve_leaves_length(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    uint8_t *p = buf_reserve(&b, 1000);
    assert_int_equal(b.len, 0);
    assert_true(b.cap >= 1000);
    memset(p, 1, 1000);
    b.len += 1000;
    assert_ptr_equal(buf_reserve(&b, 0), b.p + 1000);
    buf_fini(&b);
}

static void test_consume_drops_the_front(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_consume(&b, 0);
    buf_append_str(&b, "hello world");
    buf_consume(&b, 6);
    unit_slice_is(buf_slice(&b), "world");
    buf_consume(&b, 5);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void consume_too_much(void *arg)
{
    buf_consume(arg, 6);
}

static void reserve_everything(void *arg)
{
    buf_reserve(arg, SIZE_MAX - 2);
}

static void test_misuse_aborts(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_append_str(&b, "hello");
    assert_true(unit_aborts(consume_too_much, &b));
    assert_true(unit_aborts(reserve_everything, &b));
    buf_fini(&b);
}

static void test_take_gives_the_memory(void **state)
{
    (void)state;
    struct buf b;
    size_t len = 9;
    buf_init(&b);
    uint8_t *p = buf_take(&b, &len);
    assert_non_null(p);
    assert_int_equal(len, 0);
    mem_free(p);
    buf_append_str(&b, "mine");
    p = buf_take(&b, &len);
    assert_int_equal(len, 4);
    assert_memory_equal(p, "mine", 4);
    assert_null(b.p);
    assert_int_equal(b.len, 0);
    mem_free(p);
}

static void test_clear_keeps_memory(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_append_str(&b, "x");
    const uint8_t *was = b.p;
    buf_clear(&b);
    buf_append_str(&b, "y");
    assert_ptr_equal(b.p, was);
    unit_slice_is(buf_slice(&b), "y");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_takes_no_memory),
        cmocka_unit_test(test_appends_in_order),
        cmocka_unit_test(test_printf_grows_as_needed),
        cmocka_unit_test(test_reserve_leaves_length),
        cmocka_unit_test(test_consume_drops_the_front),
        cmocka_unit_test(test_misuse_aborts),
        cmocka_unit_test(test_take_gives_the_memory),
        cmocka_unit_test(test_clear_keeps_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
