/* SPDX-License-Identifier: Apache-2.0 */
/* Links that go silent: what a leader without followers may say, and what becomes of what it had
 * taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "raft/message.h"
#include "tests/unit/raft/fake_transport.h"
#include "tests/unit/raft/replica_kit.h"

static struct kit_node *old_leader;

static int has_other_leader(struct kit *k)
{
    for (int i = 0; i < k->n; i++) {
        struct replica_status s;
        if (&k->nodes[i] != old_leader && k->nodes[i].role == REPLICA_LEADER) {
            replica_status(k->nodes[i].replica, &s);
            return s.is_ready;
        }
    }
    return 0;
}

static struct kit_node *other_leader(struct kit *k)
{
    for (int i = 0; i < k->n; i++) {
        if (&k->nodes[i] != old_leader && k->nodes[i].role == REPLICA_LEADER) {
            return &k->nodes[i];
        }
    }
    return NULL;
}

static void start_cut(struct kit *k)
{
    kit_open(k, 3);
    k->options.election_ms = 150;
    k->options.heartbeat_ms = 30;
    for (int i = 0; i < 3; i++) {
        kit_start(k, i);
    }
    old_leader = kit_wait_leader(k);
    assert_int_equal(kit_put(k, old_leader, "first."), 0);
    kit_wait_equal(k);
}

/* Reads asked of a leader that is cut off never succeed: others may have written since. Repeated,
 * as much depends on timing. */
static void test_no_stale_read(void **state)
{
    struct kit k;
    (void)state;
    start_cut(&k);
    for (int round = 0; round < 4; round++) {
        struct kit_call reads[40];
        old_leader = kit_wait_leader(&k);
        fake_isolate(replica_id_of(old_leader->name), 1);
        for (int i = 0; i < 40; i++) {
            kit_read(old_leader, &reads[i], 0, 1200);
            kit_run(&k, 15);
        }
        kit_until(&k, has_other_leader, 5000, "another leader");
        assert_int_equal(kit_put(&k, other_leader(&k), "newer."), 0);
        for (int i = 0; i < 40; i++) {
            assert_int_not_equal(kit_await(&k, &reads[i]), 0);
        }
        fake_mend();
        kit_wait_equal(&k);
    }
    kit_close(&k);
}

static void ignore(void *arg, int code, const char *why)
{
    (void)arg;
    (void)code;
    (void)why;
}

static int leads_first(struct kit *k)
{
    return kit_leader(k) == &k->nodes[0];
}

/* The same, when the question of the old leader still reaches the others: they have moved on, and
 * do not confirm it. Node 0 is slow to notice that it is alone, so it believes long enough. */
static void test_no_confirmation_for_an_old_leader(void **state)
{
    struct kit k;
    struct kit_call rd;
    (void)state;
    kit_open(&k, 3);
    for (int i = 0; i < 3; i++) {
        k.options.election_ms = i == 0 ? 3000 : 150;
        k.options.heartbeat_ms = 30;
        kit_start(&k, i);
    }
    kit_wait_leader(&k);
    kit_wait_equal(&k);
    replica_transfer(kit_leader(&k)->replica, k.members[0].id, ignore, NULL);
    kit_until(&k, leads_first, 5000, "the slow one to lead");
    old_leader = &k.nodes[0];
    assert_int_equal(kit_put(&k, old_leader, "first."), 0);
    kit_wait_equal(&k);
    fake_only(k.members[0].id, MESSAGE_CONFIRM, MESSAGE_CONFIRM_ACK);
    kit_until(&k, has_other_leader, 5000, "another leader");
    assert_int_equal(kit_put(&k, other_leader(&k), "newer."), 0);
    assert_int_equal(old_leader->role, REPLICA_LEADER); /* it still believes */
    kit_read(old_leader, &rd, 0, 400);
    assert_int_not_equal(kit_await(&k, &rd), 0);
    fake_mend();
    kit_wait_equal(&k);
    kit_close(&k);
}

/* What a cut-off leader had taken and another leader overwrote is told as certainly not applied;
 * what nobody decided as unknown. */
static void test_overwritten_is_certain(void **state)
{
    struct kit k;
    struct kit_call lost, open;
    (void)state;
    start_cut(&k);
    fake_isolate(replica_id_of(old_leader->name), 1);
    kit_propose(old_leader, &open, "nobody hears this either.", 50);
    kit_propose(old_leader, &lost, "nobody hears this.", 20000);
    assert_int_equal(kit_await(&k, &open), MU_E_UNKNOWN_OUTCOME);
    kit_until(&k, has_other_leader, 5000, "another leader");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(kit_put(&k, other_leader(&k), "this counts."), 0);
    }
    assert_false(lost.is_done);
    fake_mend();
    assert_int_equal(kit_await(&k, &lost), MU_E_NOT_LEADER);
    kit_wait_equal(&k);
    assert_int_equal(k.nodes[0].state->n_commands, 6);
    kit_close(&k);
}

/* A session to the leader that breaks while a proposal is out: nobody knows, and it is not sent
 * twice. */
static void test_broken_forward_is_unknown(void **state)
{
    struct kit k;
    struct kit_call c;
    (void)state;
    start_cut(&k);
    struct kit_node *f = kit_follower(&k);
    mu_node_id from = replica_id_of(f->name), to = replica_id_of(old_leader->name);
    fake_cut(to, from, 1); /* the answer is lost, the proposal is not */
    kit_propose(f, &c, "once.", 10000);
    kit_run(&k, 60);
    fake_reset(from, to);
    assert_int_equal(kit_await(&k, &c), MU_E_UNKNOWN_OUTCOME);
    fake_mend();
    kit_wait_leader(&k);
    assert_int_equal(kit_put(&k, f, "later."), 0);
    kit_wait_equal(&k);
    assert_int_equal(f->state->n_commands, 3); /* first, once, later */
    kit_close(&k);
}

/* Without a known leader a proposal waits for one. */
static void test_waits_for_a_leader(void **state)
{
    struct kit k;
    struct kit_call c, rd;
    (void)state;
    start_cut(&k);
    struct kit_node *f = kit_follower(&k);
    kit_stop(&k, old_leader->i);
    kit_run(&k, 10);
    kit_propose(f, &c, "wait.", 5000);
    kit_read(f, &rd, 0, 5000);
    assert_int_equal(kit_await(&k, &rd), 0);
    int code = kit_await(&k, &c);
    assert_true(code == 0 || code == MU_E_UNKNOWN_OUTCOME);
    kit_propose(f, &c, "now.", 5000);
    assert_int_equal(kit_await(&k, &c), 0);
    kit_close(&k);
}

/* Heard by one and hearing the other: a node that only half hears does not keep the others from
 * their leader. */
static void test_one_way_cut(void **state)
{
    struct kit k;
    (void)state;
    start_cut(&k);
    struct kit_node *f = kit_follower(&k);
    fake_cut(replica_id_of(old_leader->name), replica_id_of(f->name),
             1); /* it does not hear the leader */
    kit_run(&k, 1500);
    struct kit_node *l = kit_wait_leader(&k);
    uint64_t before = 0;
    struct replica_status s;
    replica_status(l->replica, &s);
    before = s.term;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(kit_put(&k, l, "steady."), 0);
    }
    replica_status(l->replica, &s);
    assert_true(s.term <= before + 1);
    fake_mend();
    kit_wait_equal(&k);
    kit_close(&k);
}

/* A commit becomes visible on followers without waiting for a heartbeat. */
static void test_prompt_followers(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 3);
    k.options.election_ms = 3000;
    k.options.heartbeat_ms = 1000;
    for (int i = 0; i < 3; i++) {
        kit_start(&k, i);
    }
    struct kit_node *l = kit_wait_leader(&k);
    kit_wait_equal(&k);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(kit_put(&k, l, "quick."), 0);
        int64_t t0 = clock_mono_ms();
        kit_wait_equal(&k);
        assert_true(clock_mono_ms() - t0 < 300);
    }
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_stale_read),
        cmocka_unit_test(test_no_confirmation_for_an_old_leader),
        cmocka_unit_test(test_overwritten_is_certain),
        cmocka_unit_test(test_broken_forward_is_unknown),
        cmocka_unit_test(test_waits_for_a_leader),
        cmocka_unit_test(test_one_way_cut),
        cmocka_unit_test(test_prompt_followers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
