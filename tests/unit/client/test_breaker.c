/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "client/breaker.h"

static const struct breaker_conf conf = {
    .window_ms = 1000, .open_ms = 500, .min_requests = 4, .failure_percent = 50};

/* One step at a time: what is done then, and what must be true after it. */
struct step {
    int64_t at;
    char what; /* '+' ok, '-' failed, '?' may we, 'x' give up */
    int answer;
    enum breaker_state state;
};

static void run(const struct step *v, size_t n)
{
    struct breaker b;
    breaker_init(&b);
    for (size_t i = 0; i < n; i++) {
        switch (v[i].what) {
        case '?':
            assert_int_equal(breaker_may(&b, &conf, v[i].at), v[i].answer);
            break;
        case 'x':
            breaker_give_up(&b);
            break;
        default:
            breaker_report(&b, &conf, v[i].at, v[i].what == '+');
        }
        assert_int_equal(b.state, v[i].state);
    }
}

static void few_failures_do_not_open_it(void **state)
{
    (void)state;
    static const struct step v[] = {{0, '-', 0, BREAKER_CLOSED},
                                    {1, '-', 0, BREAKER_CLOSED},
                                    {2, '-', 0, BREAKER_CLOSED},
                                    {3, '?', 1, BREAKER_CLOSED}};
    run(v, N_ELEMENTS(v));
}

static void half_of_enough_requests_open_it(void **state)
{
    (void)state;
    static const struct step v[] = {{0, '+', 0, BREAKER_CLOSED}, {1, '+', 0, BREAKER_CLOSED},
                                    {2, '-', 0, BREAKER_CLOSED}, {3, '-', 0, BREAKER_OPEN},
                                    {4, '?', 0, BREAKER_OPEN},   {502, '?', 0, BREAKER_OPEN}};
    run(v, N_ELEMENTS(v));
}

static void less_than_half_keep_it_closed(void **state)
{
    (void)state;
    static const struct step v[] = {{0, '+', 0, BREAKER_CLOSED}, {1, '+', 0, BREAKER_CLOSED},
                                    {2, '+', 0, BREAKER_CLOSED}, {3, '-', 0, BREAKER_CLOSED},
                                    {4, '-', 0, BREAKER_CLOSED}, {5, '?', 1, BREAKER_CLOSED}};
    run(v, N_ELEMENTS(v));
}

static void what_left_the_window_does_not_count(void **state)
{
    (void)state;
    static const struct step v[] = {{0, '-', 0, BREAKER_CLOSED},
                                    {50, '-', 0, BREAKER_CLOSED},
                                    {99, '-', 0, BREAKER_CLOSED},
                                    {1100, '-', 0, BREAKER_CLOSED},
                                    {1101, '?', 1, BREAKER_CLOSED}};
    run(v, N_ELEMENTS(v));
}

static void one_probe_decides(void **state)
{
    (void)state;
    static const struct step v[] = {{0, '-', 0, BREAKER_CLOSED},
                                    {0, '-', 0, BREAKER_CLOSED},
                                    {0, '-', 0, BREAKER_CLOSED},
                                    {0, '-', 0, BREAKER_OPEN},
                                    {499, '?', 0, BREAKER_OPEN},
                                    {500, '?', 1, BREAKER_HALF},
                                    {501, '?', 0, BREAKER_HALF}, /* there is a probe already */
                                    {510, '-', 0, BREAKER_OPEN},
                                    {1009, '?', 0, BREAKER_OPEN},
                                    {1010, '?', 1, BREAKER_HALF},
                                    {1020, '+', 0, BREAKER_CLOSED},
                                    {1021, '?', 1, BREAKER_CLOSED},
                                    /* and nothing is left of before */
                                    {1022, '-', 0, BREAKER_CLOSED}};
    run(v, N_ELEMENTS(v));
}

static void a_probe_without_outcome_makes_room_for_another(void **state)
{
    (void)state;
    static const struct step v[] = {{0, '-', 0, BREAKER_CLOSED}, {0, '-', 0, BREAKER_CLOSED},
                                    {0, '-', 0, BREAKER_CLOSED}, {0, '-', 0, BREAKER_OPEN},
                                    {500, '?', 1, BREAKER_HALF}, {501, 'x', 0, BREAKER_HALF},
                                    {502, '?', 1, BREAKER_HALF}};
    run(v, N_ELEMENTS(v));
}

static void a_late_answer_does_not_close_an_open_one(void **state)
{
    (void)state;
    static const struct step v[] = {{0, '-', 0, BREAKER_CLOSED}, {0, '-', 0, BREAKER_CLOSED},
                                    {0, '-', 0, BREAKER_CLOSED}, {0, '-', 0, BREAKER_OPEN},
                                    {1, '+', 0, BREAKER_OPEN},   {2, '?', 0, BREAKER_OPEN}};
    run(v, N_ELEMENTS(v));
}

static void it_says_when_to_ask_again(void **state)
{
    (void)state;
    struct breaker b;
    breaker_init(&b);
    assert_int_equal(breaker_retry_at(&b, &conf, 7), 7);
    for (int i = 0; i < 4; i++) {
        breaker_report(&b, &conf, 100, false);
    }
    assert_int_equal(breaker_retry_at(&b, &conf, 100), 600);
    assert_int_equal(breaker_retry_at(&b, &conf, 900), 900);
    assert_true(breaker_may(&b, &conf, 600));
    assert_true(breaker_retry_at(&b, &conf, 600) > 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_failures_do_not_open_it),
        cmocka_unit_test(half_of_enough_requests_open_it),
        cmocka_unit_test(less_than_half_keep_it_closed),
        cmocka_unit_test(what_left_the_window_does_not_count),
        cmocka_unit_test(one_probe_decides),
        cmocka_unit_test(a_probe_without_outcome_makes_room_for_another),
        cmocka_unit_test(a_late_answer_does_not_close_an_open_one),
        cmocka_unit_test(it_says_when_to_ask_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
