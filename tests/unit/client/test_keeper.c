/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "client/include/muster.h"
#include "client/mem.h"
#include "tests/unit/client/fakestore.h"

enum { WAIT_MS = 20000 };

static struct muster *open_at(const char *url)
{
    struct muster_options o;
    struct muster *m = NULL;
    muster_options_init(&o);
    o.endpoints = url;
    o.request_timeout_ms = 1000;
    o.breaker_min_requests = 100000;
    assert_int_equal(muster_open(&o, &m, NULL), MUSTER_OK);
    return m;
}

static muster_status enrol(struct muster *m, const char *id, int64_t ttl_ms)
{
    struct muster_instance i;
    struct muster_error e;
    muster_instance_init(&i);
    i.service = "web";
    i.address = "10.0.0.1";
    i.port = 80;
    i.id = id;
    i.ttl_ms = ttl_ms;
    return muster_register(m, &i, &e);
}

/* Until get() is at least `want`. */
static void reaches(struct fakestore *f, int (*get)(struct fakestore *f), int want)
{
    int got = 0;
    for (int64_t end = clock_mono_ms() + WAIT_MS; clock_mono_ms() < end; usleep(2000)) {
        got = get(f);
        if (got >= want) {
            return;
        }
    }
    assert_int_equal(got, want);
}

static int beats(struct fakestore *f)
{
    return fake_beats(f, NULL);
}

static void one_beat_for_all(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f));
    int last = 0;
    assert_int_equal(enrol(m, "long", 60000), MUSTER_OK);
    assert_int_equal(enrol(m, "a", 1000), MUSTER_OK);
    assert_int_equal(enrol(m, NULL, 2000), MUSTER_OK);
    int64_t before = clock_mono_ms();
    reaches(f, beats, 5);
    int64_t took = clock_mono_ms() - before;
    assert_true(took >= 4 * 266 - 50 &&
                took < 4 * 334 + 1500); /* a third of the shortest, less a fifth */
    fake_beats(f, &last);
    assert_int_equal(last, 3);
    muster_close(m);
    assert_int_equal(fake_deregistrations(f), 3);
    fake_stop(f);
}

static void what_is_lost_is_registered_again(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f));
    int last = 0;
    assert_int_equal(enrol(m, "a", 1000), MUSTER_OK);
    assert_int_equal(enrol(m, "b", 1000), MUSTER_OK);
    fake_lose_leases(f);
    reaches(f, fake_registrations, 4);
    int n = beats(f);
    reaches(f, beats, n + 2);
    fake_beats(f, &last);
    assert_int_equal(last, 2);
    assert_int_equal(fake_registrations(f), 4);
    muster_close(m);
    fake_stop(f);
}

static void an_outage_is_outlived(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f));
    assert_int_equal(enrol(m, "a", 1000), MUSTER_OK);
    fake_down(f, true);
    usleep(1500 * 1000);
    int n = beats(f);
    fake_lose_leases(f);
    fake_down(f, false);
    reaches(f, beats, n + 1);
    reaches(f, fake_registrations, 2);
    muster_close(m);
    fake_stop(f);
}

static void deregistered_ones_are_left_alone(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f));
    struct muster_error e;
    int last = 0;
    assert_int_equal(enrol(m, "a", 1000), MUSTER_OK);
    assert_int_equal(enrol(m, "b", 1000), MUSTER_OK);
    assert_int_equal(enrol(m, "b", 1000), MUSTER_OK); /* anew: kept once */
    assert_int_equal(muster_deregister(m, "web", NULL, NULL, "a", &e), MUSTER_OK);
    assert_int_equal(fake_deregistrations(f), 1);
    reaches(f, beats, 2);
    fake_beats(f, &last);
    assert_int_equal(last, 1);
    fake_lose_leases(f);
    reaches(f, fake_registrations, 4);
    muster_close(m);
    assert_int_equal(fake_registrations(f), 4); /* a did not come back */
    assert_int_equal(fake_deregistrations(f), 2);
    fake_stop(f);
}

static void refusals(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f));
    struct muster_error e;
    assert_int_equal(enrol(m, "a", 10), MUSTER_INVALID);
    assert_int_equal(muster_deregister(m, NULL, NULL, NULL, "a", &e), MUSTER_INVALID);
    fake_down(f, true);
    assert_int_equal(enrol(m, "a", 1000), MUSTER_UNKNOWN);
    muster_close(m);
    assert_int_equal(fake_deregistrations(f), 0);
    fake_stop(f);
}

static void no_memory(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    bool was_pending = false;
    for (long n = 1; !was_pending; n++) {
        struct muster *m = open_at(fake_url(f));
        cmem_fail_at(n);
        muster_status rc = enrol(m, "a", 1000);
        was_pending = cmem_fail_pending();
        cmem_fail_at(0);
        assert_true(rc == MUSTER_OK || rc == MUSTER_NO_MEMORY || rc == MUSTER_UNKNOWN);
        assert_true(!was_pending || rc == MUSTER_OK);
        muster_close(m);
    }
    fake_stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_beat_for_all),
        cmocka_unit_test(what_is_lost_is_registered_again),
        cmocka_unit_test(an_outage_is_outlived),
        cmocka_unit_test(deregistered_ones_are_left_alone),
        cmocka_unit_test(refusals),
        cmocka_unit_test(no_memory),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
