/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "server/watch/ring.h"

/* What was pushed last is found from any revision at or above the floor, in order; what gave way
 * raises the floor. */
static void keeps_the_newest_in_order(void **state)
{
    struct change_ring r;
    (void)state;
    ring_init(&r, 4096, 10);
    assert_int_equal(ring_floor(&r), 10);
    for (mu_rev rev = 11; rev < 2000; rev++) {
        char key[64];
        int n = snprintf(key, sizeof(key), "key-%llu-%.*s", (unsigned long long)rev,
                         (int)(rev % 40), "0123456789012345678901234567890123456789");
        ring_push(&r, rev, slice_of(key, (size_t)n));
        struct ring_iter it;
        struct slice got;
        mu_rev expect = ring_floor(&r) + 1;
        size_t count = 0;
        ring_begin(&r, 0, &it);
        while (ring_next(&r, &it, &got)) {
            char want[32];
            snprintf(want, sizeof(want), "key-%llu-", (unsigned long long)expect);
            assert_memory_equal(got.p, want, strlen(want));
            expect++;
            count++;
        }
        assert_int_equal(expect, rev + 1);
        assert_int_equal(count, ring_count(&r));
    }
    assert_true(ring_floor(&r) > 1900);
    ring_fini(&r);
}

static void starts_where_asked(void **state)
{
    struct change_ring r;
    struct ring_iter it;
    struct slice got;
    (void)state;
    ring_init(&r, 4096, 0);
    ring_push(&r, 1, SLICE_LIT("a"));
    ring_push(&r, 2, SLICE_LIT("b"));
    ring_push(&r, 2, SLICE_LIT("c"));
    ring_push(&r, 3, SLICE_LIT("d"));
    ring_begin(&r, 2, &it);
    assert_true(ring_next(&r, &it, &got) && slice_eq(got, SLICE_LIT("b")));
    assert_true(ring_next(&r, &it, &got) && slice_eq(got, SLICE_LIT("c")));
    assert_true(ring_next(&r, &it, &got) && slice_eq(got, SLICE_LIT("d")));
    assert_false(ring_next(&r, &it, &got));
    ring_fini(&r);
}

/* A key that would fill the ring empties it: the floor says that nothing is known any more. */
static void too_long_a_key_raises_the_floor(void **state)
{
    struct change_ring r;
    uint8_t big[2048] = {0};
    (void)state;
    ring_init(&r, 4096, 0);
    ring_push(&r, 1, SLICE_LIT("a"));
    ring_push(&r, 2, slice_of(big, sizeof(big)));
    assert_int_equal(ring_floor(&r), 2);
    assert_int_equal(ring_count(&r), 0);
    ring_push(&r, 3, SLICE_LIT("b"));
    assert_int_equal(ring_count(&r), 1);
    ring_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_newest_in_order),
        cmocka_unit_test(starts_where_asked),
        cmocka_unit_test(too_long_a_key_raises_the_floor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
