/* SPDX-License-Identifier: Apache-2.0 */
/* A replica's life and its turn.
 *
 * Time: the uv timer only wakes the loop; the node's time-out fires in the check phase, after the
 * sockets were read. So a process that was stopped for a while first hears what its leader sent
 * meanwhile, and starts no election that nobody needs. */
#include "raft/replica.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "raft/replica_impl.h"

enum { TURNS_AT_ONCE = 3, IDLE_MS = 1000 };

void replica_fatal(struct replica *r, int exit_code, const char *why)
{
    r->m.fatal(r->m.arg, exit_code, why);
    err_invariant_failed(why, __FILE__, __LINE__); /* fatal does not return */
}

void replica_touch(struct replica *r)
{
    r->is_dirty = 1;
}

mu_node_id replica_leader(const struct replica *r)
{
    return r->is_damaged || !r->is_started ? 0 : node_leader(r->node);
}

int replica_is_ready_leader(const struct replica *r)
{
    return replica_is_leader(r) && node_commit(r->node) >= node_noop(r->node);
}

static enum replica_role current_role(const struct replica *r)
{
    if (r->is_damaged) {
        return REPLICA_DAMAGED;
    }
    switch (node_state(r->node)) {
    case NODE_LEADER:
        return REPLICA_LEADER;
    case NODE_CANDIDATE:
        return REPLICA_CANDIDATE;
    default:
        return REPLICA_FOLLOWER;
    }
}

/* --- the turn --- */

static void new_role(struct replica *r, enum replica_role role, mu_node_id leader)
{
    mu_term term = node_term(r->node);
    if (role != REPLICA_LEADER || term != r->told_term) {
        for (size_t i = 0; i < r->n_peers; i++) {
            r->peers[i].sent_commit = 0;
            r->peers[i].acked_round = 0;
        }
    }
    if (role == REPLICA_LEADER && term != r->told_term) {
        r->n_elections++;
    }
    if (role != REPLICA_LEADER) {
        sending_stop_all(r);
    }
    r->told_role = role;
    r->told_term = term;
    r->told_leader = leader;
    propose_role(r);
    if (role == REPLICA_LEADER) {
        peers_tell_members(r);
    }
    r->m.role_changed(r->m.arg, role, term, leader);
}

static void tell_role(struct replica *r)
{
    enum replica_role role = current_role(r);
    mu_node_id leader = replica_leader(r);
    if (role != r->told_role || leader != r->told_leader || node_term(r->node) != r->told_term) {
        new_role(r, role, leader);
    }
    if (role == REPLICA_LEADER && r->ready_term != r->told_term &&
        r->applied >= node_noop(r->node)) {
        r->ready_term = r->told_term;
        r->m.leader_ready(r->m.arg, r->told_term);
    }
}

static size_t read_batch(struct replica *r, mu_index limit)
{
    struct err e = {0};
    mu_index left = limit - r->applied;
    size_t n = left < REPLICA_APPLY_MAX ? (size_t)left : REPLICA_APPLY_MAX;
    n = wal_read(r->wal, r->applied + 1, n, REPLICA_APPLY_BYTES, r->read_entries, &e);
    if (n == 0) {
        replica_fatal(r, REPLICA_EXIT_CORRUPT,
                      e.text[0] != 0 ? e.text : "a committed entry is not in the log");
    }
    for (size_t i = 0; i < n; i++) {
        const struct wal_entry *w = &r->read_entries[i];
        r->apply_entries[i] = (struct replica_entry){.index = r->applied + 1 + i,
                                                     .term = w->term,
                                                     .kind = (enum replica_entry_kind)w->kind,
                                                     .data = w->data};
        if (w->kind == WAL_CHANGE) {
            return i + 1; /* the engine is told before the next one is looked at */
        }
    }
    return n;
}

/* The machine's callbacks may propose and read, which only queues: the borrowed bodies stay. */
static void after_apply(struct replica *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        r->bytes_since_snapshot += r->apply_entries[i].data.len + 32;
        propose_applied(r, &r->apply_entries[i]);
    }
    const struct replica_entry *e = &r->apply_entries[n - 1];
    if (e->kind == REPLICA_CHANGE) {
        uint8_t *copy = mem_dup(e->data.p, e->data.len); /* the step may use the wal */
        struct wal_entry w = {
            .term = e->term, .kind = WAL_CHANGE, .data = slice_of(copy, e->data.len)};
        node_applied(r->node, e->index, &w, clock_mono_ms());
        mem_free(copy);
    }
}

static void apply_committed(struct replica *r)
{
    mu_index limit = node_can_apply(r->node);
    int64_t now;
    if (limit <= r->applied || ((now = r->apply_hold) != 0 && clock_mono_ms() < now)) {
        return;
    }
    size_t n = read_batch(r, limit);
    int rc = r->m.apply(r->m.arg, r->apply_entries, n);
    if (rc != 0) {
        MU_INVARIANT(rc == MU_E_DISK_FULL);
        r->apply_hold = clock_mono_ms() + REPLICA_APPLY_RETRY_MS;
        return;
    }
    r->apply_hold = 0;
    r->applied += n;
    r->applied_term = r->apply_entries[n - 1].term;
    after_apply(r, n);
    if (r->applied < limit) {
        replica_touch(r);
    }
}

static void turn_once(struct replica *r)
{
    receiving_step(r);
    tell_role(r);
    propose_turn(r);
    if (!r->is_damaged) {
        writer_kick(r->writer);
        apply_committed(r);
        tell_role(r);
    }
    gate_turn(r);
    if (!r->is_damaged) {
        peers_send_hints(r);
        snapshot_turn(r);
        sending_turn(r);
    }
    members_turn(r);
    propose_flush_results(r);
    writer_kick(r->writer);
}

/* --- time --- */

static void sweep(struct replica *r, int64_t now)
{
    if (now - r->swept_at >= REPLICA_SWEEP_MS) {
        r->swept_at = now;
        propose_sweep(r, now);
        gate_sweep(r, now);
        receiving_turn(r, now);
        replica_touch(r);
    }
}

static int has_waiting(const struct replica *r)
{
    return r->queue.head != NULL || r->by_index.n > 0 || r->by_seq.n > 0 ||
           r->new_reads.head != NULL || r->round_reads.head != NULL ||
           r->asked_reads.head != NULL || r->settled_reads.head != NULL || r->apply_hold != 0 ||
           r->is_damaged || r->receiving.state != RECEIVING_NONE || members_is_busy(r);
}

static void on_timer(uv_timer_t *t)
{
    struct replica *r = t->data;
    r->is_tick_due = 1;
    r->armed_at = 0;
    replica_touch(r);
}

static void arm(struct replica *r)
{
    int64_t now = clock_mono_ms(), at = r->is_damaged ? now + IDLE_MS : node_deadline(r->node);
    if (has_waiting(r) && at > now + REPLICA_SWEEP_MS) {
        at = now + REPLICA_SWEEP_MS;
    }
    if (at > now + IDLE_MS) {
        at = now + IDLE_MS;
    }
    if (r->armed_at == 0 || at < r->armed_at) {
        uv_update_time(r->o.loop);
        uv_timer_start(&r->timer, on_timer, at > now ? (uint64_t)(at - now) : 0, 0);
        r->armed_at = at;
    }
}

static void on_check(uv_check_t *c)
{
    struct replica *r = c->data;
    if (!r->is_tick_due || r->is_closing) {
        return;
    }
    r->is_tick_due = 0;
    int64_t now = clock_mono_ms();
    if (!r->is_damaged) {
        node_tick(r->node, now);
    }
    sweep(r, now);
}

static void on_idle(uv_idle_t *i)
{
    (void)i; /* its being active keeps the loop from sleeping */
}

static void on_prepare(uv_prepare_t *p)
{
    struct replica *r = p->data;
    if (r->is_closing) {
        return;
    }
    for (int i = 0; i < TURNS_AT_ONCE && r->is_dirty; i++) {
        r->is_dirty = 0;
        turn_once(r);
    }
    if (r->transport != NULL) {
        transport_flush(r->transport);
    }
    if (r->is_dirty || r->is_tick_due) {
        uv_idle_start(&r->idle, on_idle);
    } else {
        uv_idle_stop(&r->idle);
    }
    arm(r);
}

/* --- life --- */

int replica_open(const struct replica_options *o, const struct replica_machine *m,
                 struct replica **out, struct err *e)
{
    struct replica *r = mem_zalloc(sizeof(*r));
    r->o = *o;
    r->m = *m;
    r->data_dir = mem_strdup(o->data_dir);
    r->name = mem_strdup(o->name);
    r->peer_listen = o->peer_listen != NULL ? mem_strdup(o->peer_listen) : NULL;
    r->self = replica_id_of(o->name);
    r->run = rnd_u64();
    r->transfer_id = rnd_u64();
    r->leader_heard_at = -1;
    r->told_role = REPLICA_FOLLOWER;
    proposals_init(&r->queue);
    proposals_init(&r->failed);
    table_init(&r->by_index, 0);
    table_init(&r->by_seq, 1);
    reads_init(&r->new_reads);
    reads_init(&r->round_reads);
    reads_init(&r->asked_reads);
    reads_init(&r->settled_reads);
    buf_init(&r->forward_items);
    buf_init(&r->result);
    r->read_entries = mem_alloc(REPLICA_APPLY_MAX * sizeof(*r->read_entries));
    r->apply_entries = mem_alloc(REPLICA_APPLY_MAX * sizeof(*r->apply_entries));
    r->submit_entries = mem_alloc(REPLICA_INFLIGHT * sizeof(*r->submit_entries));
    r->parts = mem_alloc((REPLICA_APPLY_MAX + 2) * sizeof(*r->parts));
    r->heads = mem_alloc(REPLICA_APPLY_MAX * MESSAGE_ENTRY_HEAD);
    int rc = replica_open_log(r, e);
    if (rc != 0) {
        return rc; /* the process ends with the message */
    }
    r->is_open = 1;
    *out = r;
    return 0;
}

struct node_base replica_base(const struct replica_position *p)
{
    return (struct node_base){
        .index = p->index, .term = p->term, .conf_index = p->conf_index, .conf = p->conf};
}

void replica_start_node(struct replica *r)
{
    struct replica_position pos = {0};
    r->m.position(r->m.arg, &pos);
    struct node_base base = replica_base(&pos);
    r->is_started = 1;
    r->applied = pos.index;
    r->applied_term = pos.term;
    node_start(r->node, r->vote.term, r->vote.vote, pos.index > 0 ? &base : NULL, clock_mono_ms());
}

/* --- the log writer's answers --- */

static void on_written(uv_poll_t *p, int status, int events)
{
    struct replica *r = p->data;
    (void)status, (void)events;
    wake_clear(&r->written);
    struct err e = {0};
    mu_index durable = 0;
    int rc;
    while (!r->is_closing && (rc = writer_poll(r->writer, &durable, &e)) != 0) {
        if (rc < 0) { /* after a failed write or sync nothing known about the file is true */
            replica_fatal(r, REPLICA_EXIT_SYNC, e.text);
        }
        if (!r->is_damaged) {
            node_persisted(r->node, durable, clock_mono_ms());
        }
        replica_touch(r);
    }
}

static void wake(void *arg)
{
    struct replica *r = arg;
    wake_send(&r->written);
}

static int start_writer(struct replica *r, struct err *e)
{
    struct writer_options w = {.wal = r->wal, .wake = wake, .arg = r};
    wake_init(&r->written);
    uv_poll_init(r->o.loop, &r->written_poll, r->written.fd);
    uv_poll_start(&r->written_poll, UV_READABLE, on_written);
    r->written_poll.data = r;
    r->n_handles++;
    return writer_start(&w, &r->writer, e);
}

static void start_handles(struct replica *r)
{
    uv_prepare_init(r->o.loop, &r->prepare);
    uv_check_init(r->o.loop, &r->check);
    uv_idle_init(r->o.loop, &r->idle);
    uv_timer_init(r->o.loop, &r->timer);
    r->n_handles += 4;
    r->prepare.data = r->check.data = r->idle.data = r->timer.data = r;
    uv_prepare_start(&r->prepare, on_prepare);
    uv_check_start(&r->check, on_check);
}

int replica_start(struct replica *r, struct err *e)
{
    start_handles(r);
    int rc = start_writer(r, e);
    if (rc != 0 || (rc = peers_open(r, e)) != 0) {
        return rc;
    }
    if (!r->is_damaged) {
        replica_start_node(r);
        peers_refresh(r);
    }
    r->told_role =
        r->is_damaged ? REPLICA_FOLLOWER : REPLICA_CANDIDATE; /* so that the first turn tells */
    replica_touch(r);
    arm(r);
    return 0;
}

static void free_replica(struct replica *r)
{
    node_free(r->node);
    wal_close(r->wal);
    vote_close(r->vote_file);
    for (size_t i = 0; i < r->n_peers; i++) {
        buf_fini(&r->peers[i].results);
    }
    table_fini(&r->by_index);
    table_fini(&r->by_seq);
    buf_fini(&r->forward_items);
    buf_fini(&r->result);
    message_scratch_fini(&r->scratch);
    mem_free(r->read_entries);
    mem_free(r->apply_entries);
    mem_free(r->submit_entries);
    mem_free(r->parts);
    mem_free(r->heads);
    mem_free(r->data_dir);
    mem_free(r->name);
    mem_free(r->peer_listen);
    mem_free(r);
}

void replica_handle_closed(struct replica *r)
{
    if (--r->n_handles == 0) {
        void (*cb)(void *) = r->closed_cb;
        void *arg = r->closed_arg;
        free_replica(r);
        cb(arg);
    }
}

static void on_handle_closed(uv_handle_t *h)
{
    replica_handle_closed(h->data);
}

static void on_transport_closed(void *arg)
{
    replica_handle_closed(arg);
}

void replica_close(struct replica *r, void (*closed_cb)(void *arg), void *arg)
{
    struct err e = {0};
    MU_INVARIANT(!r->is_closing);
    r->is_closing = 1;
    r->closed_cb = closed_cb;
    r->closed_arg = arg;
    propose_close(r);
    gate_fail_all(r);
    members_close(r);
    sending_stop_all(r);
    receiving_close(r);
    if (writer_stop(r->writer, &e) != 0) {
        replica_fatal(r, REPLICA_EXIT_SYNC, e.text);
    }
    uv_close((uv_handle_t *)&r->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&r->check, on_handle_closed);
    uv_close((uv_handle_t *)&r->idle, on_handle_closed);
    uv_close((uv_handle_t *)&r->timer, on_handle_closed);
    uv_close((uv_handle_t *)&r->written_poll, on_handle_closed); /* polls no more from here on */
    wake_fini(&r->written);
    if (r->transport != NULL) {
        r->n_handles++;
        transport_close(r->transport, on_transport_closed, r);
    }
}

/* --- status --- */

static void member_status(const struct replica *r, const struct replica_member *m, int64_t now,
                          struct replica_member_status *out)
{
    const struct peer *p = peers_find((struct replica *)(uintptr_t)r, m->id);
    out->m = *m;
    out->is_self = m->id == r->self;
    out->is_leader = m->id == replica_leader(r);
    out->is_reachable = out->is_self || (p != NULL && p->is_up);
    out->match = out->is_self ? node_last(r->node) : node_match(r->node, m->id);
    out->last_heard_ms = out->is_self ? 0 : p != NULL && p->heard_at >= 0 ? now - p->heard_at : -1;
}

void replica_status(const struct replica *r, struct replica_status *out)
{
    int64_t now = clock_mono_ms();
    const struct conf *c =
        r->is_started && node_conf(r->node)->n > 0 ? node_conf(r->node) : &r->initial;
    memset(out, 0, sizeof(*out));
    out->role = current_role(r);
    out->self = r->self;
    out->leader = replica_leader(r);
    out->term = r->is_started ? node_term(r->node) : r->vote.term;
    out->first = wal_first(r->wal);
    out->last = wal_last(r->wal);
    out->durable = wal_durable(r->wal);
    out->commit = node_commit(r->node);
    out->applied = r->applied;
    out->snapshot_index = r->snapshot_index;
    out->leader_age_ms = out->role == REPLICA_LEADER ? 0
                         : r->leader_heard_at < 0    ? -1
                                                     : now - r->leader_heard_at;
    out->is_ready = out->role == REPLICA_LEADER ? r->ready_term == out->term : out->leader != 0;
    out->log_bytes = wal_bytes(r->wal);
    out->queued_bytes = r->queued_bytes + r->forwarded_bytes;
    if (r->writer != NULL) {
        struct writer_stats w;
        writer_stats(r->writer, &w);
        out->n_syncs = w.n_ops;
        out->sync_us_total = w.us_total;
    }
    out->n_elections = r->n_elections;
    members_status(r, out->operation, sizeof(out->operation));
    out->n_members = c->n;
    for (size_t i = 0; i < c->n; i++) {
        member_status(r, &c->members[i], now, &out->members[i]);
    }
}
