/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <time.h>

#include "base/clock.h"

static void test_monotonic_never_goes_back(void **state)
{
    (void)state;
    int64_t last = clock_mono_us();
    for (int i = 0; i < 10000; i++) {
        int64_t now = clock_mono_us();
        assert_true(now >= last);
        last = now;
    }
    int64_t ms = clock_mono_ms();
    assert_true(ms >= last / 1000 && ms - last / 1000 < 60000);
}

static void test_wall_is_unix_time(void **state)
{
    (void)state;
    int64_t before = (int64_t)time(NULL) * 1000;
    int64_t now = clock_wall_ms();
    /* time() may lag behind the precise clock by one tick. */
    assert_true(now >= before - 1000 && now < before + 60000);
}

static void test_random_fills_exactly(void **state)
{
    (void)state;
    uint8_t out[1003];
    memset(out, 0xee, sizeof(out));
    rnd_bytes(out + 1, 1001);
    assert_int_equal(out[0], 0xee);
    assert_int_equal(out[1002], 0xee);
    size_t n_same = 0;
    for (size_t i = 1; i < 1001; i++) {
        n_same += out[i] == out[i + 1];
    }
    assert_true(n_same < 50); /* about 4 of 1000 */
    rnd_bytes(NULL, 0);
}

static void test_random_does_not_repeat(void **state)
{
    (void)state;
    uint64_t seen[512];
    for (size_t i = 0; i < 512; i++) {
        seen[i] = rnd_u64();
        for (size_t j = 0; j < i; j++) {
            assert_true(seen[i] != seen[j]);
        }
    }
}

static void test_below_stays_below_and_reaches_all(void **state)
{
    (void)state;
    unsigned count[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t v = rnd_below(7);
        assert_true(v < 7);
        count[v]++;
    }
    for (int i = 0; i < 7; i++) {
        assert_true(count[i] > 700 && count[i] < 1300);
    }
    assert_true(rnd_below(1) == 0);
    assert_true(rnd_below(UINT64_MAX) < UINT64_MAX);
}

static void below_nothing(void *arg)
{
    (void)arg;
    rnd_below(0);
}

static void test_below_zero_aborts(void **state)
{
    (void)state;
    assert_true(unit_aborts(below_nothing, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic_never_goes_back),
        cmocka_unit_test(test_wall_is_unix_time),
        cmocka_unit_test(test_random_fills_exactly),
        cmocka_unit_test(test_random_does_not_repeat),
        cmocka_unit_test(test_below_stays_below_and_reaches_all),
        cmocka_unit_test(test_below_zero_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
