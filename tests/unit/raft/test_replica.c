/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/unit/raft/replica_kit.h"

/* A single node leads at once, in a term of its own, and keeps what it acknowledged. */
static void test_single(void **state)
{
    struct kit k;
    struct kit_call c;
    (void)state;
    kit_open(&k, 1);
    kit_start(&k, 0);
    struct kit_node *n = kit_wait_leader(&k);
    for (int i = 0; i < 20; i++) {
        kit_propose(n, &c, "value.", 1000);
        assert_int_equal(kit_await(&k, &c), 0);
        assert_int_equal(c.result, i + 1);
    }
    kit_read(n, &c, 0, 1000);
    assert_int_equal(kit_await(&k, &c), 0);
    mu_term term = n->ready_term;
    uint64_t hash = n->state->hash;
    kit_stop(&k, 0);
    kit_start(&k, 0);
    kit_wait_leader(&k);
    assert_true(n->ready_term > term); /* G9 */
    assert_int_equal(n->state->hash, hash);
    assert_int_equal(kit_put(&k, n, "after."), 0);
    assert_int_equal(n->state->n_commands, 21);
    kit_close(&k);
}

static void start_three(struct kit *k)
{
    kit_open(k, 3);
    for (int i = 0; i < 3; i++) {
        kit_start(k, i);
    }
}

/* Writes through the leader and through a follower, with results; all apply the same. */
static void test_replicates(void **state)
{
    struct kit k;
    struct kit_call c[100];
    (void)state;
    start_three(&k);
    struct kit_node *l = kit_wait_leader(&k);
    struct kit_node *f = kit_follower(&k);
    for (int i = 0; i < 100; i++) {
        kit_propose(i % 2 != 0 ? l : f, &c[i], "a value.", 5000);
    }
    uint64_t seen = 0;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(kit_await(&k, &c[i]), 0);
        assert_in_range(c[i].result, 1, 100);
        seen += c[i].result;
    }
    assert_int_equal(seen, 100 * 101 / 2); /* each result is one command's own */
    kit_wait_equal(&k);
    assert_int_equal(f->state->n_commands, 100);
    kit_close(&k);
}

/* A leader that is gone: another one leads within a second, with all that was acknowledged; the old
 * one comes back as follower. */
static void test_fail_over(void **state)
{
    struct kit k;
    (void)state;
    start_three(&k);
    struct kit_node *l = kit_wait_leader(&k);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kit_put(&k, l, "before."), 0);
    }
    int old = l->i;
    kit_stop(&k, old);
    int64_t t0 = clock_mono_ms();
    l = kit_wait_leader(&k);
    assert_true(clock_mono_ms() - t0 < 3000);
    assert_int_not_equal(l->i, old);
    assert_int_equal(l->state->n_commands, 20);
    assert_int_equal(kit_put(&k, kit_follower(&k), "between."), 0);
    kit_start(&k, old);
    kit_wait_equal(&k);
    assert_int_equal(k.nodes[old].state->n_commands, 21);
    kit_close(&k);
}

/* After all were stopped and started, what was acknowledged is there. */
static void test_restart_all(void **state)
{
    struct kit k;
    (void)state;
    start_three(&k);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(kit_put(&k, kit_wait_leader(&k), "kept."), 0);
    }
    for (int i = 0; i < 3; i++) {
        kit_stop(&k, i);
    }
    for (int i = 0; i < 3; i++) {
        kit_start(&k, i);
    }
    kit_wait_leader(&k);
    kit_wait_equal(&k);
    assert_int_equal(k.nodes[0].state->n_commands, 50);
    kit_close(&k);
}

/* Reads through the gate, on leader and followers, see what was acknowledged before them. */
static void test_reads(void **state)
{
    struct kit k;
    struct kit_call c;
    (void)state;
    start_three(&k);
    struct kit_node *l = kit_wait_leader(&k);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(kit_put(&k, l, "write."), 0);
        struct kit_node *n = &k.nodes[i % 3];
        kit_read(n, &c, i % 5 == 0, 3000);
        assert_int_equal(kit_await(&k, &c), 0);
        assert_int_equal(n->state->n_commands, i + 1);
    }
    kit_close(&k);
}

/* Without a majority: writes and reads end at their deadlines with what is known, and a later
 * majority goes on. */
static void test_minority(void **state)
{
    struct kit k;
    struct kit_call w, w2, rd, local;
    (void)state;
    start_three(&k);
    struct kit_node *l = kit_wait_leader(&k);
    assert_int_equal(kit_put(&k, l, "first."), 0);
    kit_wait_equal(&k);
    int gone[2], n = 0;
    for (int i = 0; i < 3; i++) {
        if (i != l->i) {
            gone[n++] = i;
        }
    }
    kit_stop(&k, gone[0]);
    kit_stop(&k, gone[1]);
    kit_propose(l, &w, "may be.", 1500);
    kit_read(l, &rd, 0, 600);
    assert_int_not_equal(kit_await(&k, &rd), 0);
    assert_int_equal(kit_await(&k, &w), MU_E_UNKNOWN_OUTCOME);
    assert_int_not_equal(l->role, REPLICA_LEADER); /* it has noticed */
    kit_propose(l, &w2, "not at all.", 300);
    assert_int_equal(kit_await(&k, &w2), MU_E_NO_LEADER);
    kit_propose_local(l, &local, "only while leading.", 300);
    assert_int_equal(kit_await(&k, &local), MU_E_NOT_LEADER);
    kit_start(&k, gone[0]);
    kit_wait_leader(&k);
    assert_int_equal(kit_put(&k, l, "again."), 0);
    kit_wait_equal(&k);
    kit_close(&k);
}

/* A message of the server's own, and leadership handed over on request. */
static int answered;
static void on_answer(void *arg, int code, const char *why)
{
    (void)why;
    *(int *)arg = code;
    answered = 1;
}

static int is_answered(struct kit *k)
{
    (void)k;
    return answered;
}

static int has_message(struct kit *k)
{
    return k->nodes[0].n_messages + k->nodes[1].n_messages + k->nodes[2].n_messages > 0;
}

static void test_transfer(void **state)
{
    struct kit k;
    int code = 1;
    (void)state;
    start_three(&k);
    struct kit_node *l = kit_wait_leader(&k);
    struct kit_node *to = kit_follower(&k);
    replica_send(l->replica, replica_id_of(to->name), 7, SLICE_LIT("hello"));
    kit_until(&k, has_message, 2000, "a message");
    assert_string_equal(to->last_message, "7:hello");
    assert_int_equal(kit_put(&k, l, "x."), 0);
    answered = 0;
    int64_t t0 = clock_mono_ms();
    replica_transfer(l->replica, replica_id_of(to->name), on_answer, &code);
    assert_false(answered);
    kit_until(&k, is_answered, 3000, "the end of the transfer");
    assert_int_equal(code, 0);
    struct kit_node *now = kit_wait_leader(&k);
    assert_ptr_equal(now, to);
    assert_true(clock_mono_ms() - t0 < 500);
    assert_int_equal(kit_put(&k, l, "through the new one."), 0);
    kit_close(&k);
}

/* A full queue refuses at once, and what was taken is still answered. */
static void test_overload(void **state)
{
    static struct kit_call c[100];
    struct kit k;
    int taken = 0;
    (void)state;
    kit_open(&k, 1);
    k.options.queue_bytes = 50 * 8;
    kit_start(&k, 0);
    struct kit_node *l = kit_wait_leader(&k);
    for (int i = 0; i < 100; i++) {
        kit_propose(l, &c[i], "7 bytes", 5000);
    }
    for (int i = 0; i < 100; i++) {
        int code = kit_await(&k, &c[i]);
        assert_true(code == 0 || code == MU_E_OVERLOADED);
        taken += code == 0;
    }
    assert_int_equal(taken, 50);
    kit_close(&k);
}

/* A store that is full for a while: what is committed waits, and is applied once when there is
 * room. */
static void test_store_full(void **state)
{
    struct kit k;
    struct kit_call c;
    (void)state;
    kit_open(&k, 1);
    kit_start(&k, 0);
    struct kit_node *l = kit_wait_leader(&k);
    l->is_disk_full = 1;
    kit_propose(l, &c, "waits.", 5000);
    kit_run(&k, 600);
    assert_false(c.is_done);
    l->is_disk_full = 0;
    assert_int_equal(kit_await(&k, &c), 0);
    assert_int_equal(l->state->n_commands, 1);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),     cmocka_unit_test(test_replicates),
        cmocka_unit_test(test_fail_over),  cmocka_unit_test(test_restart_all),
        cmocka_unit_test(test_reads),      cmocka_unit_test(test_minority),
        cmocka_unit_test(test_transfer),   cmocka_unit_test(test_overload),
        cmocka_unit_test(test_store_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
