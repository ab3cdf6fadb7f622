/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "client/pick.h"

enum { N = 8, KEYS = 40000 };

static uint64_t next_random(uint64_t *x)
{
    *x += UINT64_C(0x9e3779b97f4a7c15);
    return pick_hash("seeded", *x);
}

static void fill(struct pick_item *v, const uint32_t *weights)
{
    char name[32];
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "10.0.0.%d:8080", i);
        v[i] = (struct pick_item){weights[i], pick_hash(name, 0)};
    }
}

static const uint32_t weights[N] = {1, 1, 2, 4, 8, 16, 1, 7}; /* 40 in all */

/* Each item's share is its weight's, within 15 percent. */
static void shares(const size_t *n)
{
    for (int i = 0; i < N; i++) {
        double want = (double)KEYS * weights[i] / 40;
        assert_true((double)n[i] > want * 0.85 && (double)n[i] < want * 1.15);
    }
}

static void weighted_follows_the_weights(void **state)
{
    (void)state;
    struct pick_item v[N];
    size_t n[N] = {0};
    uint64_t x = 42;
    fill(v, weights);
    for (int k = 0; k < KEYS; k++) {
        n[pick_weighted(v, N, next_random(&x))]++;
    }
    shares(n);
    /* The ends of the range are the ends of the list. */
    assert_int_equal(pick_weighted(v, N, 0), 0);
    assert_int_equal(pick_weighted(v, N, UINT64_MAX), N - 1);
}

static uint64_t key(int k)
{
    char text[32];
    snprintf(text, sizeof(text), "user-%d", k);
    return pick_hash(text, 0);
}

static void rendezvous_follows_the_weights(void **state)
{
    (void)state;
    struct pick_item v[N];
    size_t n[N] = {0};
    fill(v, weights);
    for (int k = 0; k < KEYS; k++) {
        n[pick_rendezvous(v, N, key(k))]++;
    }
    shares(n);
}

static void only_the_share_of_what_went_moves(void **state)
{
    (void)state;
    struct pick_item v[N], less[N];
    fill(v, weights);
    for (int gone = 0; gone < N; gone++) {
        size_t n = 0;
        for (int i = 0; i < N; i++) {
            if (i != gone) {
                less[n++] = v[i];
            }
        }
        for (int k = 0; k < 2000; k++) {
            size_t before = pick_rendezvous(v, N, key(k));
            size_t after = pick_rendezvous(less, n, key(k));
            if (before != (size_t)gone) {
                assert_true(less[after].hash == v[before].hash);
            }
        }
    }
}

static void the_order_does_not_matter(void **state)
{
    (void)state;
    struct pick_item v[N], turned[N];
    fill(v, weights);
    for (int i = 0; i < N; i++) {
        turned[i] = v[(i + 3) % N];
    }
    for (int k = 0; k < 2000; k++) {
        assert_true(v[pick_rendezvous(v, N, key(k))].hash ==
                    turned[pick_rendezvous(turned, N, key(k))].hash);
    }
}

/* Clients of different versions must agree: these never change. */
static void hashes_are_frozen(void **state)
{
    (void)state;
    struct pick_item v[N];
    static const size_t want[] = {5, 7, 4, 0, 7, 1, 5, 1, 3, 5, 7, 6, 3, 4, 4, 5};
    fill(v, weights);
    for (size_t k = 0; k < N_ELEMENTS(want); k++) {
        assert_int_equal(pick_rendezvous(v, N, key((int)k)), want[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weighted_follows_the_weights),
        cmocka_unit_test(rendezvous_follows_the_weights),
        cmocka_unit_test(only_the_share_of_what_went_moves),
        cmocka_unit_test(the_order_does_not_matter),
        cmocka_unit_test(hashes_are_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
