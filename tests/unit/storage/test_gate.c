/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include <pthread.h>
#include <sched.h>

#include "storage/gate.h"

struct shared {
    struct gate gate;
    atomic_int must_stop;
    atomic_int n_passes;
    long a, b; /* equal whenever somebody is inside; plain, so that a race is a race */
};

static void *pass(void *arg)
{
    struct shared *s = arg;
    while (!atomic_load(&s->must_stop)) {
        gate_enter(&s->gate);
        MU_INVARIANT(s->a == s->b);
        gate_enter(&s->gate); /* nested, also while it is closing */
        MU_INVARIANT(s->a == s->b);
        gate_leave(&s->gate);
        gate_leave(&s->gate);
        atomic_fetch_add(&s->n_passes, 1);
    }
    return NULL;
}

static void test_the_owner_is_alone(void **state)
{
    struct shared s = {.a = 0};
    pthread_t threads[4];
    (void)state;
    gate_init(&s.gate);
    for (size_t i = 0; i < N_ELEMENTS(threads); i++) {
        assert_int_equal(0, pthread_create(&threads[i], NULL, pass, &s));
    }
    for (int i = 0; i < 600; i++) {
        if (i % 3 == 0 && !gate_try_close(&s.gate)) {
            continue;
        }
        if (i % 3 != 0) {
            gate_close(&s.gate);
        }
        s.a++;
        sched_yield();
        s.b++;
        gate_open(&s.gate);
    }
    while (atomic_load(&s.n_passes) < 100) {
        sched_yield();
    }
    atomic_store(&s.must_stop, 1);
    for (size_t i = 0; i < N_ELEMENTS(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(s.a == s.b && s.a >= 400);
    gate_fini(&s.gate);
}

static void *enter_once(void *arg)
{
    struct shared *s = arg;
    gate_enter(&s->gate);
    atomic_fetch_add(&s->n_passes, 1);
    gate_leave(&s->gate);
    return NULL;
}

/* To be inside of another gate does not open this one. */
static void *enter_from_another(void *arg)
{
    struct gate other;
    gate_init(&other);
    gate_enter(&other);
    (void)enter_once(arg);
    gate_leave(&other);
    gate_fini(&other);
    return NULL;
}

static void test_closed_is_closed(void **state)
{
    struct shared s = {.a = 0};
    pthread_t x, y;
    (void)state;
    gate_init(&s.gate);
    gate_close(&s.gate);
    assert_int_equal(0, pthread_create(&x, NULL, enter_once, &s));
    assert_int_equal(0, pthread_create(&y, NULL, enter_from_another, &s));
    for (int i = 0; i < 2000; i++) {
        sched_yield();
        assert_int_equal(0, atomic_load(&s.n_passes));
    }
    gate_open(&s.gate);
    pthread_join(x, NULL);
    pthread_join(y, NULL);
    assert_int_equal(2, atomic_load(&s.n_passes));
    gate_fini(&s.gate);
}

static void *stay(void *arg)
{
    struct shared *s = arg;
    gate_enter(&s->gate);
    atomic_store(&s->n_passes, 1);
    while (!atomic_load(&s->must_stop)) {
        sched_yield();
    }
    gate_leave(&s->gate);
    return NULL;
}

static void test_a_busy_gate_is_left_alone(void **state)
{
    struct shared s = {.a = 0};
    pthread_t t;
    (void)state;
    gate_init(&s.gate);
    assert_int_equal(0, pthread_create(&t, NULL, stay, &s));
    while (!atomic_load(&s.n_passes)) {
        sched_yield();
    }
    assert_int_equal(0, gate_try_close(&s.gate));
    gate_enter(&s.gate); /* still open for others */
    gate_leave(&s.gate);
    atomic_store(&s.must_stop, 1);
    pthread_join(t, NULL);
    assert_int_equal(1, gate_try_close(&s.gate));
    gate_open(&s.gate);
    gate_fini(&s.gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_owner_is_alone),
        cmocka_unit_test(test_closed_is_closed),
        cmocka_unit_test(test_a_busy_gate_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
