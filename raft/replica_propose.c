/* SPDX-License-Identifier: Apache-2.0 */
/* Proposals: from the queue into the log (leader) or to the leader (elsewhere), and back with an
 * outcome.
 *
 * Leader: queue -> one SUBMIT per turn -> by_index -> applied: the entry at its index has its term:
 * done with the machine's result; another term: NOT_LEADER, as then it can never be applied. Lost
 * leadership decides nothing; the deadline does: UNKNOWN_OUTCOME. Elsewhere: queue -> FORWARD ->
 * by_seq -> FORWARD_RESULT. A refusal NOT_LEADER goes back into the queue, as nothing happened. A
 * session or leader lost while outstanding: UNKNOWN_OUTCOME, never sent again. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "raft/replica_impl.h"

enum { FORWARD_BYTES = 1 << 20, FORWARD_ITEMS = 4096, RESULT_BYTES = 1 << 20 };

static void finish(struct replica *r, struct replica_proposal *p, int code, struct slice result)
{
    if (p->seq != 0) {
        r->forwarded_bytes -= p->len;
    }
    mem_free(p->data);
    p->data = NULL;
    p->done(p, code, result);
}

static void finish_chain(struct replica *r, struct replica_proposal *p, int code)
{
    for (struct replica_proposal *next; p != NULL; p = next) {
        next = p->hash_next;
        finish(r, p, code, (struct slice){0});
    }
}

/* Answered in the turn, never inside the call. */
static void fail_later(struct replica *r, struct replica_proposal *p, int code)
{
    p->index = (mu_index)(int64_t)code;
    proposals_push(&r->failed, p);
    replica_touch(r);
}

void replica_propose(struct replica *r, struct replica_proposal *p)
{
    uint64_t bound = r->o.queue_bytes != 0 ? r->o.queue_bytes : 64ULL << 20;
    p->next = p->hash_next = NULL;
    p->index = p->term = p->seq = 0;
    if (r->is_closing) {
        fail_later(r, p, MU_E_NO_LEADER);
    } else if (p->len > MESSAGE_ENTRY_MAX) {
        fail_later(r, p, MU_E_TOO_LARGE);
    } else if (p->is_local_only && !replica_is_leader(r)) {
        fail_later(r, p, MU_E_NOT_LEADER);
    } else if (r->queued_bytes + r->forwarded_bytes + p->len > bound) {
        fail_later(r, p, MU_E_OVERLOADED);
    } else {
        r->queued_bytes += p->len;
        proposals_push(&r->queue, p);
        replica_touch(r);
    }
}

static struct replica_proposal *dequeue(struct replica *r)
{
    struct replica_proposal *p = proposals_pop(&r->queue);
    if (p != NULL) {
        r->queued_bytes -= p->len;
    }
    return p;
}

/* --- leader: into the log --- */

/* When no next segment can be made, what the log still has room for is left to entries that must
 * come: those of other leaders, no-ops. */
static int has_disk(const struct replica *r)
{
    return wal_space_ok(r->wal);
}

static size_t collect(struct replica *r, struct proposals *batch)
{
    mu_index open = node_last(r->node) - node_commit(r->node);
    size_t room = open < REPLICA_INFLIGHT ? (size_t)(REPLICA_INFLIGHT - open) : 0, n = 0;
    while (n < room && r->queue.head != NULL &&
           (r->uncommitted_bytes < REPLICA_UNCOMMITTED_BYTES || r->uncommitted_bytes == 0)) {
        struct replica_proposal *p = dequeue(r);
        r->m.stamp(r->m.arg, p->data, p->len);
        r->submit_entries[n++] =
            (struct wal_entry){.kind = WAL_COMMAND, .data = slice_of(p->data, p->len)};
        r->uncommitted_bytes += p->len;
        proposals_push(batch, p);
    }
    return n;
}

static void submit(struct replica *r)
{
    struct proposals batch;
    mu_index first = 0;
    if (!has_disk(r)) {
        struct replica_proposal *p;
        while ((p = dequeue(r)) != NULL) {
            finish(r, p, MU_E_DISK_FULL, (struct slice){0});
        }
        return;
    }
    proposals_init(&batch);
    size_t n = collect(r, &batch);
    if (n == 0) {
        return;
    }
    int rc = node_submit(r->node, r->submit_entries, n, &first, clock_mono_ms());
    MU_INVARIANT(rc == 0);
    mu_term term = r->submit_entries[0].term;
    struct replica_proposal *p;
    while ((p = proposals_pop(&batch)) != NULL) {
        mem_free(p->data); /* the log has its copy */
        p->data = NULL;
        p->index = first++;
        p->term = term;
        table_put(&r->by_index, p);
    }
}

void propose_applied(struct replica *r, const struct replica_entry *e)
{
    r->uncommitted_bytes -= e->data.len < r->uncommitted_bytes ? e->data.len : r->uncommitted_bytes;
    if (r->by_index.n == 0) {
        return;
    }
    struct replica_proposal *p = table_take(&r->by_index, e->index);
    for (struct replica_proposal *next; p != NULL; p = next) {
        next = p->hash_next;
        if (p->term == e->term) {
            buf_clear(&r->result);
            r->m.result(r->m.arg, e->index, &r->result);
            MU_INVARIANT(r->result.len <= REPLICA_RESULT_MAX);
            finish(r, p, 0, buf_slice(&r->result));
        } else {
            finish(r, p, MU_E_NOT_LEADER, (struct slice){0});
        }
    }
}

/* --- elsewhere: to the leader --- */

static void refuse_local_only(struct replica *r)
{
    struct proposals keep;
    struct replica_proposal *p;
    proposals_init(&keep);
    while ((p = proposals_pop(&r->queue)) != NULL) {
        if (p->is_local_only) {
            r->queued_bytes -= p->len;
            finish(r, p, MU_E_NOT_LEADER, (struct slice){0});
        } else {
            proposals_push(&keep, p);
        }
    }
    /* what the callbacks queued meanwhile comes after */
    if (keep.head != NULL) {
        r->queue.head = keep.head;
        r->queue.tail = keep.tail;
        r->queue.n = keep.n;
    }
}

static size_t fill_forward(struct replica *r, int64_t now)
{
    size_t n = 0;
    buf_clear(&r->forward_items);
    while (r->queue.head != NULL && n < FORWARD_ITEMS && r->forward_items.len < FORWARD_BYTES) {
        struct replica_proposal *p = dequeue(r);
        if (p->is_local_only) {
            fail_later(r, p, MU_E_NOT_LEADER);
            continue;
        }
        int64_t wait = p->deadline_at - now;
        p->seq = ++r->seq;
        struct message_forward_item i = {.seq = p->seq, .data = slice_of(p->data, p->len)};
        i.wait_ms = wait <= 0 ? 1 : wait > 3600 * 1000 ? 3600 * 1000 : (uint32_t)wait;
        message_put_forward(&r->forward_items, &i);
        r->forwarded_bytes += p->len;
        table_put(&r->by_seq, p);
        n++;
    }
    return n;
}

static void forward(struct replica *r)
{
    int64_t now = clock_mono_ms();
    mu_node_id leader = replica_leader(r);
    while (r->queue.head != NULL && leader != 0 && now >= r->forward_hold && r->transport != NULL &&
           transport_is_up(r->transport, leader) &&
           transport_queued(r->transport, leader) < REPLICA_PEER_QUEUE / 2) {
        r->forwarded_to = leader;
        size_t n = fill_forward(r, now);
        struct message m = {.type = MESSAGE_FORWARD,
                            .term = node_term(r->node),
                            .forward = {.run = r->run, .n = n}};
        if (n > 0 && peers_send(r, leader, &m, buf_slice(&r->forward_items)) != 0) {
            propose_session_lost(r, leader);
            return;
        }
    }
}

/* Refused by one that does not lead: nothing happened, so it may be sent again when a leader is
 * known. */
static void requeue(struct replica *r, struct replica_proposal *p)
{
    r->forwarded_bytes -= p->len;
    r->queued_bytes += p->len;
    p->seq = 0;
    r->forward_hold = clock_mono_ms() + REPLICA_HOLD_MS;
    proposals_push(&r->queue, p);
}

void propose_result(struct replica *r, const struct message *m)
{
    struct slice items = m->forward.items;
    struct message_result_item i;
    if (m->forward.run != r->run) {
        return; /* meant for an earlier process of this name */
    }
    while (message_next_result(&items, &i)) {
        struct replica_proposal *p = table_take(&r->by_seq, i.seq);
        if (p != NULL && i.code == MU_E_NOT_LEADER) {
            requeue(r, p);
        } else if (p != NULL) {
            finish(r, p, i.code, i.data);
        }
    }
}

void propose_session_lost(struct replica *r, mu_node_id peer)
{
    if (peer == r->forwarded_to) {
        finish_chain(r, table_expire(&r->by_seq, INT64_MAX), MU_E_UNKNOWN_OUTCOME);
        r->forwarded_to = 0;
    }
}

/* --- leader: what others forward --- */

struct forwarded {
    struct replica_proposal p;
    struct replica *r;
    mu_node_id from;
    uint64_t run, seq;
};

static void flush_results(struct replica *r, struct peer *p)
{
    struct message m = {.type = MESSAGE_FORWARD_RESULT,
                        .forward = {.run = p->results_run, .n = p->n_results}};
    if (p->n_results == 0) {
        return;
    }
    m.term = node_term(r->node);
    peers_send(r, p->m.id, &m,
               buf_slice(&p->results)); /* lost with the session: the other side knows */
    buf_clear(&p->results);
    p->n_results = 0;
}

static void forwarded_done(struct replica_proposal *p, int code, struct slice result)
{
    struct forwarded *f = CONTAINER_OF(p, struct forwarded, p);
    struct peer *peer = peers_find(f->r, f->from);
    if (peer != NULL && !f->r->is_closing) {
        if (peer->results_run !=
            f->run) { /* its process is a new one: nobody waits for the old results */
            buf_clear(&peer->results);
            peer->n_results = 0;
            peer->results_run = f->run;
        }
        if (peer->results.len + result.len > RESULT_BYTES) {
            flush_results(f->r, peer);
        }
        message_put_result(&peer->results, &(struct message_result_item){
                                               .seq = f->seq, .code = code, .data = result});
        peer->n_results++;
        replica_touch(f->r);
    }
    mem_free(f);
}

void propose_forwarded(struct replica *r, mu_node_id from, const struct message *m)
{
    struct slice items = m->forward.items;
    struct message_forward_item i;
    int64_t now = clock_mono_ms();
    while (message_next_forward(&items, &i)) {
        struct forwarded *f = mem_zalloc(sizeof(*f));
        f->r = r;
        f->from = from;
        f->run = m->forward.run;
        f->seq = i.seq;
        f->p.done = forwarded_done;
        f->p.is_local_only = 1; /* never passed on a second time */
        f->p.data = mem_dup(i.data.p, i.data.len);
        f->p.len = i.data.len;
        f->p.deadline_at = now + i.wait_ms;
        replica_propose(r, &f->p);
    }
}

void propose_flush_results(struct replica *r)
{
    for (size_t i = 0; i < r->n_peers; i++) {
        flush_results(r, &r->peers[i]);
    }
}

/* --- turn, time, end --- */

static void answer_failed(struct replica *r)
{
    struct replica_proposal *p;
    size_t n = r->failed.n; /* callbacks may add more: those in the next turn */
    while (n-- > 0 && (p = proposals_pop(&r->failed)) != NULL) {
        finish(r, p, (int)(int64_t)p->index, (struct slice){0});
    }
}

void propose_turn(struct replica *r)
{
    answer_failed(r);
    if (r->queue.head == NULL || r->is_damaged) {
        return;
    }
    if (replica_is_leader(r) && r->transfer.is_running && r->transfer.to != 0) {
        return; /* the heir must catch up */
    }
    if (node_can_submit(r->node)) {
        submit(r);
    } else if (!replica_is_leader(r)) {
        forward(r);
    }
}

void propose_role(struct replica *r)
{
    if (replica_leader(r) != r->forwarded_to && r->forwarded_to != 0) {
        propose_session_lost(r, r->forwarded_to);
    }
    if (!replica_is_leader(r)) {
        r->uncommitted_bytes = 0;
        refuse_local_only(r);
    }
}

void propose_sweep(struct replica *r, int64_t now)
{
    struct proposals keep, late;
    struct replica_proposal *p;
    proposals_init(&keep);
    proposals_init(&late);
    while ((p = proposals_pop(&r->queue)) != NULL) {
        if (p->deadline_at <= now) {
            r->queued_bytes -= p->len;
            proposals_push(&late, p);
        } else {
            proposals_push(&keep, p);
        }
    }
    if (keep.head != NULL) {
        r->queue = keep;
    }
    int code = replica_leader(r) != 0 ? MU_E_OVERLOADED : MU_E_NO_LEADER;
    while ((p = proposals_pop(&late)) != NULL) {
        finish(r, p, code, (struct slice){0});
    }
    finish_chain(r, table_expire(&r->by_index, now), MU_E_UNKNOWN_OUTCOME);
    finish_chain(r, table_expire(&r->by_seq, now), MU_E_UNKNOWN_OUTCOME);
}

void propose_close(struct replica *r)
{
    struct replica_proposal *p;
    while (r->failed.head != NULL) {
        answer_failed(r);
    }
    while ((p = dequeue(r)) != NULL) {
        finish(r, p, MU_E_NO_LEADER, (struct slice){0});
    }
    finish_chain(r, table_expire(&r->by_index, INT64_MAX), MU_E_UNKNOWN_OUTCOME);
    finish_chain(r, table_expire(&r->by_seq, INT64_MAX), MU_E_UNKNOWN_OUTCOME);
    while (r->failed.head != NULL) {
        answer_failed(r);
    }
}
