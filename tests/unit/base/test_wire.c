/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/err.h"
#include "base/wire.h"

static void put_all(struct buf *b)
{
    wire_put_u8(b, 0xab);
    wire_put_u16(b, 0x1234);
    wire_put_u32(b, 0xdeadbeef);
    wire_put_u64(b, UINT64_C(0x0102030405060708));
    wire_put_f64(b, -1.5);
    wire_put_u64_be(b, UINT64_C(0x0102030405060708));
    wire_put_u32_be(b, 0x01020304);
    wire_put_bytes(b, SLICE_LIT("xyz"));
}

static void test_bytes_are_as_documented(void **state)
{
    (void)state;
    static const uint8_t want[] = {
        0xab, 0x34, 0x12, 0xef, 0xbe, 0xad, 0xde, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0,   0,   0,
        0xf8, 0xbf, 1,    2,    3,    4,    5,    6, 7, 8, 1, 2, 3, 4, 3, 0, 0, 0, 'x', 'y', 'z',
    };
    struct buf b;
    buf_init(&b);
    put_all(&b);
    assert_int_equal(b.len, sizeof(want));
    assert_memory_equal(b.p, want, sizeof(want));
    buf_fini(&b);
}

static void test_reads_back_what_was_put(void **state)
{
    (void)state;
    struct buf b;
    struct wire_reader r;
    buf_init(&b);
    put_all(&b);
    wire_read_init(&r, buf_slice(&b));
    assert_int_equal(wire_u8(&r), 0xab);
    assert_int_equal(wire_u16(&r), 0x1234);
    assert_int_equal(wire_u32(&r), 0xdeadbeef);
    assert_true(wire_u64(&r) == UINT64_C(0x0102030405060708));
    assert_true(wire_f64(&r) == -1.5);
    assert_true(wire_u64_be(&r) == UINT64_C(0x0102030405060708));
    assert_int_equal(wire_u32_be(&r), 0x01020304);
    unit_slice_is(wire_bytes(&r, 3), "xyz");
    assert_int_equal(wire_read_end(&r), 0);
    buf_fini(&b);
}

/* Every proper prefix fails at the end, and reads beyond the end give zeros. */
static void test_every_cut_is_noticed(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    put_all(&b);
    for (size_t n = 0; n < b.len; n++) {
        struct wire_reader r;
        wire_read_init(&r, slice_of(b.p, n));
        wire_u8(&r);
        wire_u16(&r);
        wire_u32(&r);
        wire_u64(&r);
        wire_f64(&r);
        wire_u64_be(&r);
        wire_u32_be(&r);
        wire_bytes(&r, 3);
        assert_int_equal(wire_read_end(&r), MU_E_FORMAT);
        assert_int_equal(wire_u32(&r), 0);
        assert_int_equal(wire_raw(&r, 0).len, 0);
    }
    buf_fini(&b);
}

static void test_leftover_is_an_error(void **state)
{
    (void)state;
    struct wire_reader r;
    wire_read_init(&r, SLICE_LIT("ab"));
    wire_u8(&r);
    assert_int_equal(wire_read_end(&r), MU_E_FORMAT);
}

static void test_lengths_are_bounded(void **state)
{
    (void)state;
    struct wire_reader r;
    wire_read_init(&r, SLICE_LIT("\x04\0\0\0abcd"));
    assert_int_equal(wire_bytes(&r, 3).len, 0);
    assert_int_equal(r.failed, 1);
    wire_read_init(&r, SLICE_LIT("\xff\xff\xff\xff"));
    assert_int_equal(wire_bytes(&r, SIZE_MAX).len, 0);
    assert_int_equal(wire_read_end(&r), MU_E_FORMAT);
}

static void test_empty_input(void **state)
{
    (void)state;
    struct wire_reader r;
    wire_read_init(&r, (struct slice){0});
    assert_int_equal(wire_raw(&r, 0).len, 0);
    assert_int_equal(wire_read_end(&r), 0);
    wire_u8(&r);
    assert_int_equal(wire_read_end(&r), MU_E_FORMAT);
}

static void test_fixed_places(void **state)
{
    (void)state;
    uint8_t at[9] = {0};
    wire_set_u32(at + 1, 0x11223344);
    assert_int_equal(at[1], 0x44);
    assert_int_equal(wire_get_u32(at + 1), 0x11223344);
    wire_set_u64(at + 1, UINT64_C(0x8877665544332211));
    assert_true(wire_get_u64(at + 1) == UINT64_C(0x8877665544332211));
    wire_set_u64_be(at + 1, UINT64_C(0x8877665544332211));
    assert_int_equal(at[1], 0x88);
    assert_true(wire_get_u64_be(at + 1) == UINT64_C(0x8877665544332211));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_as_documented),
        cmocka_unit_test(test_reads_back_what_was_put),
        cmocka_unit_test(test_every_cut_is_noticed),
        cmocka_unit_test(test_leftover_is_an_error),
        cmocka_unit_test(test_lengths_are_bounded),
        cmocka_unit_test(test_empty_input),
        cmocka_unit_test(test_fixed_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
