/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wake.h"

#include <poll.h>
#include <pthread.h>

#include "tests/unit/unit.h"

static int is_readable(const struct wake *w, int wait_ms)
{
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    return poll(&p, 1, wait_ms) == 1;
}

static void test_many_sends_are_one_wake(void **state)
{
    (void)state;
    struct wake w;
    wake_init(&w);
    assert_false(is_readable(&w, 0));
    wake_clear(&w); /* nothing there: returns at once */
    wake_send(&w);
    wake_send(&w);
    assert_true(is_readable(&w, 0));
    wake_clear(&w);
    assert_false(is_readable(&w, 0));
    wake_fini(&w);
}

static void *send_from_thread(void *arg)
{
    wake_send(arg);
    return NULL;
}

static void test_a_sleeper_is_woken_by_another_thread(void **state)
{
    (void)state;
    struct wake w;
    wake_init(&w);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, send_from_thread, &w), 0);
    assert_true(is_readable(&w, 60000));
    pthread_join(t, NULL);
    wake_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_sends_are_one_wake),
        cmocka_unit_test(test_a_sleeper_is_woken_by_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
