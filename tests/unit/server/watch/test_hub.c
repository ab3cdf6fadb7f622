/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "server/watch/hub.h"

/* Both mailboxes are run by hand: the "threads" take turns. */
struct world {
    struct mailbox core, worker;
    struct hub *hub;
};

struct watcher {
    struct sub sub;
    struct key_range ranges[4];
    int fired;
};

static void no_wake(void *arg)
{
    (void)arg;
}

static void on_fired(struct sub *s)
{
    CONTAINER_OF(s, struct watcher, sub)->fired++;
}

static int setup(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    mailbox_init(&w->core, no_wake, NULL);
    mailbox_init(&w->worker, no_wake, NULL);
    w->hub = hub_new(&w->core, 10);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    mailbox_run(&w->core);
    hub_free(w->hub);
    mailbox_run(&w->worker);
    mailbox_fini(&w->core);
    mailbox_fini(&w->worker);
    mem_free(w);
    return 0;
}

static void turn(struct world *w)
{
    while (mailbox_run(&w->core) + mailbox_run(&w->worker) > 0) {
    }
}

static void watch(struct world *w, struct watcher *x, const char *key, int is_prefix, mu_rev next)
{
    *x = (struct watcher){.ranges = {{slice_str(key), is_prefix}}};
    x->sub = (struct sub){.reply = &w->worker,
                          .fired = on_fired,
                          .next_rev = next,
                          .ranges = x->ranges,
                          .n_ranges = 1};
    hub_arm(w->hub, &x->sub);
    turn(w);
}

static void publish(struct world *w, mu_rev rev, const char *key)
{
    struct change c = {.rev = rev, .key = slice_str(key)};
    struct change_set set = {&c, 1, NULL, 0};
    hub_publish(w->hub, &set, rev);
    turn(w);
}

/* Exact keys and prefixes are woken by what they cover, once, and by nothing else. */
static void wakes_who_could_see_a_difference(void **state)
{
    struct world *w = *state;
    struct watcher exact, prefix, other, everything;
    watch(w, &exact, "Ca/b", 0, 11);
    watch(w, &prefix, "Ca/", 1, 11);
    watch(w, &other, "Ca/bc", 0, 11);
    watch(w, &everything, "", 1, 11);
    publish(w, 11, "Cz");
    assert_int_equal(exact.fired + prefix.fired + other.fired, 0);
    assert_int_equal(everything.fired, 1);
    publish(w, 12, "Ca/b");
    assert_int_equal(exact.fired, 1);
    assert_int_equal(prefix.fired, 1);
    assert_int_equal(other.fired, 0);
    publish(w, 13, "Ca/b");
    assert_int_equal(exact.fired, 1);
    assert_int_equal(hub_count(w->hub), 1);
    publish(w, 14, "Ca/bc");
    assert_int_equal(other.fired, 1);
    assert_int_equal(hub_count(w->hub), 0);
}

/* Armed after the change: the ring knows whether it mattered. */
static void late_arm_is_judged_by_what_changed(void **state)
{
    struct world *w = *state;
    struct watcher touched, untouched, ancient;
    publish(w, 11, "Ca");
    publish(w, 12, "Cb");
    watch(w, &touched, "Ca", 0, 11);
    watch(w, &untouched, "Ca", 0, 12);
    watch(w, &ancient, "Cz", 0, 5);
    assert_int_equal(touched.fired, 1);
    assert_int_equal(untouched.fired, 0);
    assert_int_equal(ancient.fired, 1); /* before what the hub remembers: rather look */
    publish(w, 13, "Ca");
    assert_int_equal(untouched.fired, 1);
}

/* One firing for each arm, whichever of cancel and change comes first, and nothing touches the sub
 * after it. */
static void cancel_gives_the_sub_back_once(void **state)
{
    struct world *w = *state;
    for (int order = 0; order < 3; order++) {
        struct watcher *x = mem_zalloc(sizeof(*x));
        struct change c = {.rev = 20 + (mu_rev)order, .key = SLICE_LIT("Ck")};
        struct change_set set = {&c, 1, NULL, 0};
        watch(w, x, "Ck", 0, 20 + (mu_rev)order);
        if (order == 0) { /* cancel alone */
            hub_cancel(w->hub, &x->sub);
        } else if (order == 1) { /* fired, on its way, then cancelled */
            hub_publish(w->hub, &set, c.rev);
            hub_cancel(w->hub, &x->sub);
        } else { /* cancel on its way, then fired */
            hub_cancel(w->hub, &x->sub);
            hub_publish(w->hub, &set, c.rev);
        }
        mailbox_run(&w->worker);
        mailbox_run(&w->core);
        mailbox_run(&w->worker);
        assert_int_equal(x->fired, 1);
        assert_true(x->sub.is_cancelled);
        mem_free(x);
        turn(w);
    }
    assert_int_equal(hub_count(w->hub), 0);
}

/* Several ranges in one sub, also twice the same, are one firing. */
static void many_ranges_fire_once(void **state)
{
    struct world *w = *state;
    struct watcher x = {
        .ranges = {
            {SLICE_LIT("Ca"), 0}, {SLICE_LIT("C"), 1}, {SLICE_LIT("Ca"), 0}, {SLICE_LIT("Cb"), 0}}};
    x.sub = (struct sub){
        .reply = &w->worker, .fired = on_fired, .next_rev = 11, .ranges = x.ranges, .n_ranges = 4};
    hub_arm(w->hub, &x.sub);
    turn(w);
    publish(w, 11, "Ca");
    assert_int_equal(x.fired, 1);
    assert_int_equal(hub_count(w->hub), 0);
    hub_arm(w->hub, &x.sub);
    turn(w);
    assert_int_equal(x.fired, 2); /* still at revision 11: it has not looked yet */
}

static void fire_all_and_reset(void **state)
{
    struct world *w = *state;
    struct watcher a, b;
    watch(w, &a, "Ca", 0, 11);
    watch(w, &b, "Cb", 1, 11);
    hub_fire_all(w->hub);
    turn(w);
    assert_int_equal(a.fired + b.fired, 2);
    watch(w, &a, "Ca", 0, 11);
    hub_reset(w->hub, 100);
    turn(w);
    assert_int_equal(a.fired, 1);
    watch(w, &b, "Cb", 1, 50);
    assert_int_equal(b.fired, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wakes_who_could_see_a_difference, setup, teardown),
        cmocka_unit_test_setup_teardown(late_arm_is_judged_by_what_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(cancel_gives_the_sub_back_once, setup, teardown),
        cmocka_unit_test_setup_teardown(many_ranges_fire_once, setup, teardown),
        cmocka_unit_test_setup_teardown(fire_all_and_reset, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
