/* SPDX-License-Identifier: Apache-2.0 */
/* The guards of the node, one by one: what the engine would do is in the comment, what must happen
 * in the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "raft/node.h"
#include "tests/sim/memwal.h"

enum { SENT_MAX = 64 };

/* One node; what it sends is kept. */
struct bench {
    struct memdisk disk;
    struct wal *wal;
    struct node *node;
    mu_term term;
    mu_node_id vote;
    int n_votes, n_sent;
    struct {
        mu_node_id to;
        struct message m;
    } sent[SENT_MAX];
    int64_t now;
};

static void op_save_vote(void *arg, mu_term term, mu_node_id vote)
{
    struct bench *b = arg;
    b->term = term;
    b->vote = vote;
    b->n_votes++;
}

static void op_send(void *arg, mu_node_id to, const struct message *m)
{
    struct bench *b = arg;
    b->sent[b->n_sent % SENT_MAX].to = to;
    b->sent[b->n_sent++ % SENT_MAX].m = *m;
}

static void op_need_snapshot(void *arg, mu_node_id to, mu_index index)
{
    (void)arg;
    (void)to;
    (void)index;
}

static void op_nothing(void *arg)
{
    (void)arg;
}

static void op_fatal(void *arg, const char *why)
{
    (void)arg;
    fail_msg("%s", why);
}

static const struct node_ops ops = {op_save_vote, op_send, op_need_snapshot, op_nothing, op_nothing,
                                    op_fatal,     NULL};

static void flush(struct bench *b)
{
    struct wal_op *op = wal_take(b->wal);
    if (op != NULL) {
        wal_execute(op, NULL);
        mu_index durable = wal_done(b->wal, op);
        node_persisted(b->node, durable, b->now);
    }
}

/* `terms` of the entries after the first one, which is the configuration of n voters with ids 1..n;
 * this node is 1. */
static void open_bench(struct bench *b, int n, mu_term term, const mu_term *terms, size_t n_terms)
{
    struct conf c = {.n = (size_t)n};
    struct buf conf;
    memset(b, 0, sizeof(*b));
    buf_init(&conf);
    for (int i = 0; i < n; i++) {
        c.members[i].id = (mu_node_id)i + 1;
        c.members[i].is_voter = 1;
        snprintf(c.members[i].name, sizeof(c.members[i].name), "n%d", i + 1);
        snprintf(c.members[i].address, sizeof(c.members[i].address), "h%d:1", i + 1);
    }
    conf_encode(&conf, &c);
    memdisk_init(&b->disk);
    b->wal = memwal_open(&b->disk);
    wal_append(b->wal, 1, &(struct wal_entry){1, WAL_CHANGE, buf_slice(&conf)}, 1);
    for (size_t i = 0; i < n_terms; i++) {
        wal_append(b->wal, 2 + i, &(struct wal_entry){terms[i], WAL_COMMAND, SLICE_LIT("x")}, 1);
    }
    struct wal_op *op = wal_take(b->wal);
    wal_execute(op, NULL);
    wal_done(b->wal, op);
    buf_fini(&conf);
    b->now = 1000;
    b->term = term;
    struct node_options o = {.id = 1,
                             .name = "n1",
                             .wal = b->wal,
                             .ops = &ops,
                             .arg = b,
                             .election_ms = 100,
                             .heartbeat_ms = 20,
                             .max_inflight = 1024,
                             .seed = 7};
    const char *off = getenv("NODE_GUARDS_OFF"); /* a control: then a test must fail */
    o.guards_off = off != NULL ? (unsigned)strtoul(off, NULL, 0) : 0;
    b->node = node_new(&o);
    node_start(b->node, term, 0, NULL, b->now);
}

static void close_bench(struct bench *b)
{
    node_free(b->node);
    wal_close(b->wal);
    memdisk_fini(&b->disk);
}

static const struct message *last_sent(struct bench *b)
{
    assert_true(b->n_sent > 0);
    return &b->sent[(b->n_sent - 1) % SENT_MAX].m;
}

static void append(struct bench *b, mu_node_id from, mu_term term, mu_index prev, mu_term prev_term,
                   mu_index commit, mu_term entry_term, size_t n)
{
    struct wal_entry e[16];
    for (size_t i = 0; i < n; i++) {
        e[i] = (struct wal_entry){entry_term, WAL_COMMAND, SLICE_LIT("y")};
    }
    struct message m = {
        .type = MESSAGE_APPEND,
        .term = term,
        .append = {.prev = prev, .prev_term = prev_term, .commit = commit, .n = n, .entries = e}};
    node_receive(b->node, from, &m, b->now);
}

/* Let it win: pre-vote, then the vote of node 2. */
static void elect(struct bench *b)
{
    b->now += 500;
    node_tick(b->node, b->now);
    struct message yes = {.type = MESSAGE_VOTE_RESULT,
                          .term = node_term(b->node) + 1,
                          .vote_result = {.is_granted = 1, .is_pre = 1}};
    node_receive(b->node, 2, &yes, b->now);
    yes.term = node_term(b->node);
    yes.vote_result.is_pre = 0;
    node_receive(b->node, 2, &yes, b->now);
    assert_int_equal(node_state(b->node), NODE_LEADER);
}

/* G1. The engine rejects an APPEND from below its snapshot, and lets its commit index fall. */
static void test_append_below_commit(void **state)
{
    static const mu_term terms[] = {2, 2, 2, 2};
    struct bench b;
    (void)state;
    open_bench(&b, 3, 2, terms, 4);
    append(&b, 2, 2, 5, 2, 5, 2, 0);
    assert_int_equal(node_commit(b.node), 5);
    append(&b, 2, 2, 1, 1, 2, 2, 2); /* an old one, late: entries 2 and 3, commit 2 */
    assert_int_equal(node_commit(b.node), 5);
    assert_int_equal(last_sent(&b)->append_result.rejected, 0);
    assert_int_equal(last_sent(&b)->append_result.last, 5);
    append(&b, 2, 2, 3, 2, 5, 2, 4); /* overlaps: 4..7 */
    assert_int_equal(node_last(b.node), 7);
    close_bench(&b);
}

/* G2. The engine goes back behind what it knows to match. */
static void test_late_rejection(void **state)
{
    static const mu_term terms[] = {2, 2, 2, 2};
    struct bench b;
    (void)state;
    open_bench(&b, 3, 2, terms, 4);
    elect(&b);
    flush(&b);
    struct message ok = {.type = MESSAGE_APPEND_RESULT,
                         .term = node_term(b.node),
                         .append_result = {.last = node_last(b.node)}};
    node_receive(b.node, 2, &ok, b.now);
    assert_int_equal(node_match(b.node, 2), node_last(b.node));
    int before = b.n_sent;
    struct message late = {.type = MESSAGE_APPEND_RESULT,
                           .term = node_term(b.node),
                           .append_result = {.rejected = 5, .last = 2}};
    node_receive(b.node, 2, &late, b.now);
    assert_int_equal(b.n_sent, before); /* nothing is sent again */
    assert_int_equal(node_match(b.node, 2), node_last(b.node));
    close_bench(&b);
}

/* G3. The engine answers with the asker's term, who then never learns that its own is old. */
static void test_refused_pre_vote_names_our_term(void **state)
{
    static const mu_term terms[] = {2, 2};
    struct bench b;
    (void)state;
    open_bench(&b, 3, 9, terms, 2);
    struct message ask = {
        .type = MESSAGE_VOTE, .term = 4, .vote = {.last = 1, .last_term = 1, .is_pre = 1}};
    node_receive(b.node, 2, &ask, b.now);
    assert_int_equal(last_sent(&b)->type, MESSAGE_VOTE_RESULT);
    assert_false(last_sent(&b)->vote_result.is_granted);
    assert_int_equal(last_sent(&b)->term, 9);
    close_bench(&b);
}

/* G4. The engine steps back one entry per round trip. */
static void test_rejection_skips_a_term(void **state)
{
    static const mu_term terms[] = {2, 3, 3, 3, 3, 3, 3};
    struct bench b;
    (void)state;
    open_bench(&b, 3, 3, terms, 7); /* 2: term 2, 3..8: term 3 */
    append(&b, 2, 5, 8, 4, 1, 5, 1);
    assert_int_equal(last_sent(&b)->append_result.rejected, 8);
    assert_int_equal(last_sent(&b)->append_result.last, 2);
    close_bench(&b);
}

/* G5. After a time-out there is always a pause. */
static void test_deadline_is_ahead(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, 3, 1, NULL, 0);
    for (int i = 0; i < 200; i++) {
        b.now = node_deadline(b.node);
        node_tick(b.node, b.now);
        assert_true(node_deadline(b.node) > b.now);
    }
    close_bench(&b);
}

/* G7. With nothing uncommitted the engine adds no entry of its own: an index of an earlier term
 * would be all there is to confirm. */
static void test_leader_starts_with_its_own_entry(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, 3, 1, NULL, 0);
    elect(&b);
    assert_int_equal(node_noop(b.node), 2);
    assert_int_equal(wal_term(b.wal, 2), node_term(b.node));
    assert_true(node_commit(b.node) < node_noop(b.node)); /* not ready yet */
    flush(&b);
    struct message ok = {
        .type = MESSAGE_APPEND_RESULT, .term = node_term(b.node), .append_result = {.last = 2}};
    node_receive(b.node, 2, &ok, b.now);
    assert_int_equal(node_commit(b.node), 2);
    close_bench(&b);
}

/* A leader does not commit what only others have on disk but not a majority, nor count itself
 * before its own write. */
static void test_own_write_counts_when_durable(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, 3, 1, NULL, 0);
    elect(&b);
    struct message ok = {
        .type = MESSAGE_APPEND_RESULT, .term = node_term(b.node), .append_result = {.last = 2}};
    node_receive(b.node, 2, &ok, b.now);
    assert_int_equal(node_commit(b.node), 1);
    flush(&b);
    assert_int_equal(node_commit(b.node), 2);
    assert_int_equal(node_can_apply(b.node), 2);
    close_bench(&b);
}

/* G9. The engine leads again in its old term. */
static void test_sole_voter_takes_a_new_term(void **state)
{
    static const mu_term terms[] = {4, 4};
    struct bench b;
    (void)state;
    open_bench(&b, 1, 4, terms, 2);
    assert_int_equal(node_state(b.node), NODE_LEADER);
    assert_int_equal(node_term(b.node), 5);
    assert_int_equal(b.term, 5); /* saved */
    assert_int_equal(b.vote, 1);
    struct message now = {
        .type = MESSAGE_TIMEOUT_NOW, .term = 5, .timeout_now = {.last = 3, .last_term = 4}};
    node_receive(b.node, 2, &now, b.now);
    assert_int_equal(node_term(b.node), 5);
    close_bench(&b);
}

/* The engine answers an APPEND of an old term with a number it never set; from index 0 that reads
 * as an acceptance. */
static void test_stale_append_is_refused(void **state)
{
    static const mu_term terms[] = {2};
    struct bench b;
    (void)state;
    open_bench(&b, 3, 7, terms, 1);
    append(&b, 2, 3, 0, 0, 0, 3, 1);
    assert_int_equal(last_sent(&b)->type, MESSAGE_APPEND_RESULT);
    assert_int_equal(last_sent(&b)->term, 7);
    assert_int_not_equal(last_sent(&b)->append_result.rejected, 0);
    assert_int_equal(last_sent(&b)->append_result.last, 0);
    close_bench(&b);
}

/* The hint of how far is committed: only from the leader followed, in its term, up to what is known
 * to match. */
static void test_commit_hint(void **state)
{
    static const mu_term terms[] = {2, 2, 2, 2};
    struct bench b;
    (void)state;
    open_bench(&b, 3, 2, terms, 4);
    append(&b, 2, 2, 3, 2, 1, 2, 0); /* matches up to 3 */
    struct message hint = {.type = MESSAGE_COMMIT, .term = 2, .commit = {.index = 5}};
    node_receive(b.node, 3, &hint, b.now);
    assert_int_equal(node_commit(b.node), 1);
    hint.term = 3;
    node_receive(b.node, 2, &hint, b.now);
    assert_int_equal(node_commit(b.node), 1);
    hint.term = 2;
    node_receive(b.node, 2, &hint, b.now);
    assert_int_equal(node_commit(b.node), 3);
    close_bench(&b);
}

/* What is durable is all that is ever acknowledged. */
static void test_ack_after_durable(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, 3, 2, NULL, 0);
    append(&b, 2, 2, 1, 1, 1, 2, 3);
    for (int i = 0; i < b.n_sent; i++) {
        assert_true(b.sent[i].m.type != MESSAGE_APPEND_RESULT ||
                    b.sent[i].m.append_result.last <= 1);
    }
    flush(&b);
    assert_int_equal(last_sent(&b)->append_result.last, 4);
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_below_commit),
        cmocka_unit_test(test_late_rejection),
        cmocka_unit_test(test_refused_pre_vote_names_our_term),
        cmocka_unit_test(test_rejection_skips_a_term),
        cmocka_unit_test(test_deadline_is_ahead),
        cmocka_unit_test(test_leader_starts_with_its_own_entry),
        cmocka_unit_test(test_own_write_counts_when_durable),
        cmocka_unit_test(test_sole_voter_takes_a_new_term),
        cmocka_unit_test(test_stale_append_is_refused),
        cmocka_unit_test(test_commit_hint),
        cmocka_unit_test(test_ack_after_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
