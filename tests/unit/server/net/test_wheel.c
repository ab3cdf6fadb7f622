/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/net/wheel.h"

struct alarm {
    struct worker_timer t;
    int64_t due;
    struct wheel *wheel;
    int64_t *now;
    int n_fired;
    struct alarm *stops; /* stopped when this one fires */
    int restarts;        /* how often it starts itself anew */
};

static void on_fire(struct worker_timer *t)
{
    struct alarm *a = CONTAINER_OF(t, struct alarm, t);
    a->n_fired++;
    assert_true(*a->now >= a->due); /* never early */
    if (a->stops != NULL) {
        wheel_stop(&a->stops->t);
    }
    if (a->restarts > 0) {
        a->restarts--;
        a->due = *a->now + 5;
        wheel_start(a->wheel, t, *a->now, 5);
    }
}

static void start(struct alarm *a, struct wheel *w, int64_t *now, int64_t delay)
{
    a->wheel = w;
    a->now = now;
    a->due = *now + delay;
    a->t.fire = on_fire;
    wheel_start(w, &a->t, *now, delay);
}

/* Sleep as the worker does: from one moment that wheel_next names to the next. Returns how often it
 * woke. */
static int sleep_until(struct wheel *w, int64_t *now, int64_t end)
{
    int n = 0;
    for (int64_t next = wheel_next(w); next >= 0 && next <= end; next = wheel_next(w)) {
        assert_true(next > *now || next >= w->tick * WHEEL_TICK_MS);
        *now = next > *now ? next : *now;
        wheel_run(w, *now);
        n++;
    }
    *now = end;
    return n;
}

static void fires_in_time_and_never_early(void **state)
{
    (void)state;
    struct wheel w;
    int64_t now = 123456;
    struct alarm a[200] = {0};
    wheel_init(&w, now);
    for (int i = 0; i < 200; i++) {
        start(&a[i], &w, &now, i * i * 7); /* up to 277 s: many turns of the wheel */
    }
    for (int i = 0; i < 200; i++) {
        if (a[i].due > now) {
            sleep_until(&w, &now, a[i].due - 1);
            assert_int_equal(a[i].n_fired, 0);
        }
        sleep_until(&w, &now, a[i].due + 2 * WHEEL_TICK_MS);
        assert_int_equal(a[i].n_fired, 1);
    }
    sleep_until(&w, &now, now + 20000);
    assert_int_equal(wheel_next(&w), -1);
}

static void a_lone_far_timer_wakes_rarely(void **state)
{
    (void)state;
    struct wheel w;
    int64_t now = 5;
    struct alarm a = {0};
    wheel_init(&w, now);
    start(&a, &w, &now, 300000);
    assert_in_range(sleep_until(&w, &now, 300050), 1, 35);
    assert_int_equal(a.n_fired, 1);
}

static void stopping_and_restarting_from_fire(void **state)
{
    (void)state;
    struct wheel w;
    int64_t now = 0;
    struct alarm a[4] = {0};
    wheel_init(&w, now);
    for (int i = 0; i < 4; i++) {
        start(&a[i], &w, &now, 50); /* one slot: the list is being walked while it changes */
    }
    a[3].stops = &a[2];
    a[2].stops = &a[3]; /* whichever is first stops the other */
    a[0].restarts = 3;
    wheel_stop(&a[1].t);
    wheel_stop(&a[1].t);
    sleep_until(&w, &now, 1000);
    assert_int_equal(a[0].n_fired, 4);
    assert_int_equal(a[1].n_fired, 0);
    assert_int_equal(a[2].n_fired + a[3].n_fired, 1);
}

static void no_delay_means_the_next_tick(void **state)
{
    (void)state;
    struct wheel w;
    int64_t now = 100;
    struct alarm a = {0};
    wheel_init(&w, now);
    start(&a, &w, &now, 0); /* this very tick has been looked at already */
    sleep_until(&w, &now, 120);
    assert_int_equal(a.n_fired, 1);
}

static void a_restart_moves_the_moment(void **state)
{
    (void)state;
    struct wheel w;
    int64_t now = 0;
    struct alarm a = {0};
    wheel_init(&w, now);
    start(&a, &w, &now, 50);
    now = 40;
    wheel_run(&w, now);
    start(&a, &w, &now, 500);
    sleep_until(&w, &now, 539);
    assert_int_equal(a.n_fired, 0);
    sleep_until(&w, &now, 570);
    assert_int_equal(a.n_fired, 1);
}

static void a_long_pause_misses_nothing(void **state)
{
    (void)state;
    struct wheel w;
    int64_t now = 0;
    struct alarm a[50] = {0};
    wheel_init(&w, now);
    for (int i = 0; i < 50; i++) {
        start(&a[i], &w, &now, i * 1000);
    }
    now = 10000000; /* the machine slept */
    wheel_run(&w, now);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(a[i].n_fired, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_in_time_and_never_early),
        cmocka_unit_test(a_lone_far_timer_wakes_rarely),
        cmocka_unit_test(stopping_and_restarting_from_fire),
        cmocka_unit_test(no_delay_means_the_next_tick),
        cmocka_unit_test(a_restart_moves_the_moment),
        cmocka_unit_test(a_long_pause_misses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
