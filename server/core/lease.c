/* SPDX-License-Identifier: Apache-2.0 */
/* Leases in the leader: deadlines on a timing wheel, in memory only. A keep-alive moves a deadline
 * and is no log entry.
 *
 *   made / revived ---ttl---> LEASE_OVERDUE proposed ---applied---> overdue ---remove_after--->
 * LEASE_END proposed ---> gone (plain leases: LEASE_END at once)       | keep-alive: LEASE_REVIVE
 * proposed <-+
 *
 * Why a lease never ends early:
 *  - a step names the generation it saw, and apply skips it when that moved;
 *  - while a step is under way, keep-alives of that lease are refused, so none is acknowledged in
 * vain;
 *  - steps are proposed only while this node leads and are never forwarded, so a deposed leader
 * cannot end what its successor keeps alive; an old step that still commits does so before the
 * successor is ready;
 *  - a new leader gives every lease its full time again (or what a checkpoint left of a long one);
 *  - a keep-alive is acknowledged only after a majority has confirmed, later, that this node still
 * led: so no successor had begun to count before it;
 *  - the wheel's clock never jumps: a process that was stopped for a while does not punish those
 * who could not reach it. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "server/core/core_impl.h"

#define HASH_FUNCTION(keyptr, keylen, hashv) \
    ((hashv) = (unsigned)(*(const uint64_t *)(keyptr)*0x9E3779B97F4A7C15ULL >> 32))
#include <uthash.h>

enum {
    SLOT_MS = 50,
    SLOTS = 1024,
    PAUSE_MAX_MS = 500, /* the wheel's clock advances at most this much per turn */
    CONFIRM_MS = 2000,  /* a majority must have confirmed a forwarded keep-alive by then */
    RETRY_MS = 500,     /* a step that could not be proposed is tried again */
    CHECKPOINT_EVERY_MS = 60000,
    CHECKPOINT_TTL_MS =
        120000, /* shorter leases are not checkpointed: their full time is short enough */
};

struct lease {
    UT_hash_handle hh;
    struct lease *next, **prev; /* in its slot */
    struct lease_row row;
    int64_t deadline; /* on the wheel's clock; INT64_MAX = none */
    int is_pending;   /* a step is proposed */
};

struct leases {
    struct core *core;
    struct lease *table;
    size_t n;
    struct lease *slots[SLOTS];
    int64_t wheel_now, last_mono, slot_done;
    int64_t next_checkpoint;
    int is_leading;
    uv_timer_t timer;
    struct forward *forwards; /* keep-alives asked of the leader */
    uint64_t next_seq;
};

/* --- wheel --- */

static void wheel_remove(struct lease *l)
{
    if (l->prev != NULL) {
        *l->prev = l->next;
        if (l->next != NULL) {
            l->next->prev = l->prev;
        }
        l->prev = NULL;
    }
}

static void wheel_insert(struct leases *ls, struct lease *l)
{
    wheel_remove(l);
    if (l->deadline == INT64_MAX) {
        return;
    }
    int64_t at = l->deadline / SLOT_MS + 1; /* the slot that ends after the deadline: never early */
    if (at <= ls->slot_done) {
        at = ls->slot_done + 1;
    }
    struct lease **head = &ls->slots[at % SLOTS];
    l->next = *head;
    l->prev = head;
    if (l->next != NULL) {
        l->next->prev = &l->next;
    }
    *head = l;
}

static void deadline_set(struct leases *ls, struct lease *l, int64_t span_ms)
{
    int64_t was = l->deadline;
    l->deadline = span_ms == INT64_MAX ? INT64_MAX : ls->wheel_now + span_ms;
    /* A later deadline is found out when the old slot comes up: keep-alives cost no list work. */
    if (l->prev == NULL || l->deadline < was || l->deadline == INT64_MAX) {
        wheel_insert(ls, l);
    }
}

static int64_t overdue_span(const struct lease_row *r)
{
    return r->remove_after_ms == REMOVE_NEVER ? INT64_MAX : r->remove_after_ms;
}

static void wheel_clock(struct leases *ls)
{
    int64_t mono = clock_mono_ms();
    int64_t span = mono - ls->last_mono;
    ls->last_mono = mono;
    ls->wheel_now += span < 0 ? 0 : span > PAUSE_MAX_MS ? PAUSE_MAX_MS : span;
}

/* --- table --- */

static struct lease *lease_find(struct leases *ls, mu_lease_id id)
{
    struct lease *l = NULL;
    HASH_FIND(hh, ls->table, &id, sizeof(id), l);
    return l;
}

static void lease_drop(struct leases *ls, struct lease *l)
{
    wheel_remove(l);
    HASH_DEL(ls->table, l);
    ls->n--;
    mem_free(l);
}

static int64_t lease_fresh_span(const struct lease_row *r)
{
    return r->is_overdue ? overdue_span(r) : r->ttl_ms == 0 ? INT64_MAX : r->ttl_ms;
}

/* Make what is in memory like the row; a lease that is new here gets `span` from now. */
static void lease_take_row(struct leases *ls, const struct lease_row *row, int64_t span)
{
    struct lease *l = lease_find(ls, row->id);
    if (l == NULL) {
        l = mem_zalloc(sizeof(*l));
        l->row.id = row->id;
        HASH_ADD(hh, ls->table, row.id, sizeof(l->row.id), l);
        ls->n++;
    }
    l->row = *row;
    l->is_pending = 0;
    deadline_set(ls, l, span);
}

/* Read the row again after something was applied. */
static void lease_reload(struct leases *ls, mu_lease_id id)
{
    struct lease_row row;
    struct view *v = view_open(ls->core->store);
    int rc = view_lease(v, id, &row);
    view_close(v);
    struct lease *l = lease_find(ls, id);
    if (rc == 0) {
        lease_take_row(ls, &row, lease_fresh_span(&row));
    } else if (l != NULL) {
        lease_drop(ls, l);
    }
}

/* --- steps --- */

static enum command_type step_due(const struct lease *l)
{
    return l->row.is_owned && !l->row.is_overdue && l->row.remove_after_ms != 0 ? CMD_LEASE_OVERDUE
                                                                                : CMD_LEASE_END;
}

struct step_batch {
    struct leases *leases;
    size_t n;
    mu_lease_id ids[COMMAND_LEASES_MAX];
};

static void steps_done(struct core *c, void *arg, int code, const struct command_result *r)
{
    struct step_batch *b = arg;
    (void)r;
    if (c->is_stopping) {
        mem_free(b);
        return;
    }
    /* Applied steps were seen by leases_applied already. The others wait a little and are tried
     * again while we lead. */
    for (size_t i = 0; code != 0 && i < b->n; i++) {
        struct lease *l = lease_find(b->leases, b->ids[i]);
        if (l != NULL && l->is_pending) {
            l->is_pending = 0;
            deadline_set(b->leases, l, RETRY_MS);
        }
    }
    mem_free(b);
}

static void steps_propose(struct leases *ls, enum command_type type, struct lease **due, size_t n)
{
    struct command cmd = {.type = type};
    struct step_batch *b = mem_zalloc(sizeof(*b));
    struct lease_step *steps = mem_alloc(n * sizeof(*steps));
    cmd.u.lease_steps = (struct cmd_lease_steps){.n = n, .items = steps};
    b->leases = ls;
    b->n = n;
    for (size_t i = 0; i < n; i++) {
        steps[i] = (struct lease_step){.id = due[i]->row.id, .generation = due[i]->row.generation};
        b->ids[i] = due[i]->row.id;
        due[i]->is_pending = 1;
        due[i]->deadline = INT64_MAX;
        wheel_remove(due[i]);
    }
    core_propose_own(ls->core, &cmd, 1, steps_done, b);
    mem_free(steps);
}

struct due_list {
    struct lease *items[COMMAND_LEASES_MAX];
    size_t n;
};

static void due_add(struct leases *ls, struct due_list *d, enum command_type type, struct lease *l)
{
    d->items[d->n++] = l;
    if (d->n == COMMAND_LEASES_MAX) {
        steps_propose(ls, type, d->items, d->n);
        d->n = 0;
    }
}

static void slot_run(struct leases *ls, int64_t at, struct due_list *overdue, struct due_list *end)
{
    struct lease *l = ls->slots[at % SLOTS];
    while (l != NULL) {
        struct lease *next = l->next;
        if (l->deadline > ls->wheel_now || l->is_pending) {
            wheel_insert(ls, l);
        } else if (step_due(l) == CMD_LEASE_OVERDUE) {
            wheel_remove(l);
            due_add(ls, overdue, CMD_LEASE_OVERDUE, l);
        } else {
            wheel_remove(l);
            due_add(ls, end, CMD_LEASE_END, l);
        }
        l = next;
    }
}

static void checkpoint(struct leases *ls)
{
    struct command cmd = {.type = CMD_LEASE_CHECKPOINT};
    struct lease_step *steps = mem_alloc(COMMAND_LEASES_MAX * sizeof(*steps));
    struct lease *l, *tmp;
    size_t n = 0;
    HASH_ITER(hh, ls->table, l, tmp)
    {
        if (l->row.ttl_ms < CHECKPOINT_TTL_MS || l->is_pending || l->row.is_overdue ||
            l->deadline == INT64_MAX) {
            continue;
        }
        int64_t left = l->deadline - ls->wheel_now;
        if (left >= l->row.ttl_ms - CHECKPOINT_EVERY_MS || left >= l->row.remaining_ms ||
            left <= 0) {
            continue;
        }
        l->row.remaining_ms = left;
        steps[n++] = (struct lease_step){
            .id = l->row.id, .generation = l->row.generation, .remaining_ms = left};
        if (n == COMMAND_LEASES_MAX) {
            break; /* the others at the next turn */
        }
    }
    cmd.u.lease_steps = (struct cmd_lease_steps){.n = n, .items = steps};
    if (n > 0) {
        core_propose_own(ls->core, &cmd, 1, NULL, NULL);
    }
    mem_free(steps);
}

static void leases_expire_forwards(struct leases *ls);

static void on_timer(uv_timer_t *t)
{
    struct leases *ls = t->data;
    wheel_clock(ls);
    leases_expire_forwards(ls);
    if (!ls->is_leading) {
        return;
    }
    struct due_list *overdue = mem_zalloc(2 * sizeof(*overdue));
    struct due_list *end = overdue + 1;
    while (ls->slot_done < ls->wheel_now / SLOT_MS) {
        ls->slot_done++;
        slot_run(ls, ls->slot_done, overdue, end);
    }
    if (overdue->n > 0) {
        steps_propose(ls, CMD_LEASE_OVERDUE, overdue->items, overdue->n);
    }
    if (end->n > 0) {
        steps_propose(ls, CMD_LEASE_END, end->items, end->n);
    }
    mem_free(overdue);
    if (ls->wheel_now >= ls->next_checkpoint) {
        ls->next_checkpoint = ls->wheel_now + CHECKPOINT_EVERY_MS;
        checkpoint(ls);
    }
}

/* --- what is applied --- */

static void reload_steps(struct leases *ls, const struct store_entry *e)
{
    struct command cmd;
    if (command_decode(e->data, &cmd) == 0) {
        for (size_t i = 0; i < cmd.u.lease_steps.n; i++) {
            lease_reload(ls, command_lease_step(&cmd.u.lease_steps, i).id);
        }
    }
}

void leases_applied(struct leases *ls, const struct store_entry *e, const struct command_result *r)
{
    if (!ls->is_leading) {
        return;
    }
    switch ((enum command_type)e->data.p[1]) {
    case CMD_LEASE_OVERDUE:
    case CMD_LEASE_END:
    case CMD_LEASE_REVIVE:
        reload_steps(ls, e);
        return;
    case CMD_LEASE_CHECKPOINT: /* changes no deadline */
    case CMD_TXN:              /* leases_changed */
        return;
    default:
        if (r->lease != 0) {
            wheel_clock(ls);
            lease_reload(ls, r->lease);
        }
        return;
    }
}

void leases_changed(struct leases *ls, const struct change_set *c)
{
    if (!ls->is_leading || c->n_leases == 0) {
        return;
    }
    wheel_clock(ls);
    for (size_t i = 0; i < c->n_leases; i++) {
        lease_reload(ls, c->leases[i]);
    }
}

/* --- keep-alives --- */

/* One request to keep leases alive, from a worker of this node or from another node. */
struct keepalive_job {
    struct leases *leases;
    struct replica_read confirm;
    mu_term term;                 /* in which this node led when it moved the deadlines */
    struct core_keepalive *local; /* NULL: from another node */
    mu_node_id from;
    uint64_t seq;
    int code;            /* of the confirmation */
    size_t n, n_waiting; /* for the confirmation, and for a command for each of these leases */
    mu_lease_id *ids;
    int64_t *ttl_ms, *remaining_ms;
    uint8_t *memory; /* of ids and answers, when from another node */
};

struct revive {
    struct leases *leases;
    struct keepalive_job *job;
    size_t at;
};

static void job_answer(struct leases *ls, struct keepalive_job *j, int code)
{
    if (j->local != NULL) {
        if (code != 0) {
            j->local->q.code =
                err_set(&j->local->q.err, code,
                        "the cluster has no leader now; the leases may not have been refreshed");
        }
        core_reply(&j->local->q);
    } else {
        struct buf b;
        buf_init(&b);
        wire_put_u64(&b, j->seq);
        wire_put_u32(&b, (uint32_t)(int32_t)code);
        wire_put_u32(&b, (uint32_t)j->n);
        for (size_t i = 0; code == 0 && i < j->n; i++) {
            wire_put_u64(&b, (uint64_t)j->ttl_ms[i]);
            wire_put_u64(&b, (uint64_t)j->remaining_ms[i]);
        }
        replica_send(ls->core->replica, j->from, CORE_MSG_KEEPALIVE_REPLY, buf_slice(&b));
        buf_fini(&b);
    }
    mem_free(j->memory);
    mem_free(j);
}

static void job_step(struct leases *ls, struct keepalive_job *j)
{
    if (--j->n_waiting == 0) {
        job_answer(ls, j, j->code);
    }
}

static void revive_done(struct core *c, void *arg, int code, const struct command_result *r)
{
    struct revive *v = arg;
    struct leases *ls = v->leases;
    struct keepalive_job *j = v->job;
    struct lease *l = code == 0 ? lease_find(ls, j->ids[v->at]) : NULL;
    (void)r;
    (void)c;
    j->ttl_ms[v->at] = l != NULL && !l->row.is_overdue ? l->row.ttl_ms : -1;
    mem_free(v);
    job_step(ls, j);
}

/* The answer has to wait: the lease is overdue, or a checkpoint has shortened what a next leader
 * would give it. */
static void revive_propose(struct leases *ls, struct keepalive_job *j, size_t at, struct lease *l)
{
    struct command cmd = {.type = CMD_LEASE_REVIVE};
    struct lease_step s = {.id = l->row.id, .generation = l->row.generation};
    struct revive *v = mem_zalloc(sizeof(*v));
    cmd.u.lease_steps = (struct cmd_lease_steps){.n = 1, .items = &s};
    *v = (struct revive){.leases = ls, .job = j, .at = at};
    j->n_waiting++;
    core_propose_own(ls->core, &cmd, 1, revive_done, v);
}

static void keep_one(struct leases *ls, struct keepalive_job *j, size_t i, struct view *v,
                     int is_query)
{
    struct lease_row row;
    struct lease *l = lease_find(ls, j->ids[i]);
    j->ttl_ms[i] = -1;
    j->remaining_ms[i] = 0;
    if (l == NULL) {
        return;
    }
    if (view_lease(v, j->ids[i], &row) != 0) {
        lease_drop(ls, l); /* ended by something that told us no lease id, e.g. its instance was
                              deregistered */
        return;
    }
    if (is_query) {
        int64_t left = l->deadline == INT64_MAX ? 0 : l->deadline - ls->wheel_now;
        j->ttl_ms[i] = l->row.ttl_ms;
        j->remaining_ms[i] = l->row.is_overdue || left < 0 ? 0 : left;
        return;
    }
    if (l->is_pending) {
        return; /* its end is under way: nothing is promised */
    }
    if (l->row.is_overdue || l->row.remaining_ms < l->row.ttl_ms) {
        revive_propose(ls, j, i, l);
        return;
    }
    deadline_set(ls, l, lease_fresh_span(&l->row));
    j->ttl_ms[i] = l->row.ttl_ms;
    j->remaining_ms[i] = l->row.ttl_ms;
}

static void confirmed(struct replica_read *rd, int code)
{
    struct keepalive_job *j = CONTAINER_OF(rd, struct keepalive_job, confirm);
    const struct core *c = j->leases->core;
    int leads = j->leases->is_leading && c->term == j->term; /* the gate may have asked another */
    j->code = code == 0 && leads ? 0 : MU_E_NO_LEADER;
    job_step(j->leases, j);
}

static void job_run(struct leases *ls, struct keepalive_job *j, int is_query)
{
    struct view *v = view_open(ls->core->store);
    wheel_clock(ls);
    j->n_waiting = 1;
    for (size_t i = 0; i < j->n; i++) {
        keep_one(ls, j, i, v, is_query);
    }
    view_close(v);
    j->leases = ls;
    j->term = ls->core->term;
    j->confirm.done = confirmed;
    j->confirm.deadline_at =
        j->local != NULL ? j->local->deadline_at : clock_mono_ms() + CONFIRM_MS;
    replica_read(ls->core->replica, &j->confirm);
}

/* --- forwarding to the leader --- */

struct forward {
    struct forward *next;
    struct core_keepalive *k;
    uint64_t seq;
    int64_t deadline_at;
};

static void forward_fail(struct forward *f, int code)
{
    f->k->q.code = err_set(&f->k->q.err, code,
                           "the leader did not answer; the leases may not have been refreshed");
    core_reply(&f->k->q);
    mem_free(f);
}

static void leases_expire_forwards(struct leases *ls)
{
    int64_t now = clock_mono_ms();
    struct forward **at = &ls->forwards;
    while (*at != NULL) {
        struct forward *f = *at;
        if (f->deadline_at <= now) {
            *at = f->next;
            forward_fail(f, MU_E_NO_LEADER);
        } else {
            at = &f->next;
        }
    }
}

static void forward_send(struct leases *ls, struct core_keepalive *k, int64_t deadline_at)
{
    struct forward *f = mem_zalloc(sizeof(*f));
    struct buf b;
    *f = (struct forward){
        .next = ls->forwards, .k = k, .seq = ++ls->next_seq, .deadline_at = deadline_at};
    ls->forwards = f;
    buf_init(&b);
    wire_put_u64(&b, f->seq);
    wire_put_u8(&b, (uint8_t)k->is_query);
    wire_put_u32(&b, (uint32_t)k->n);
    for (size_t i = 0; i < k->n; i++) {
        wire_put_u64(&b, k->ids[i]);
    }
    replica_send(ls->core->replica, ls->core->leader, CORE_MSG_KEEPALIVE, buf_slice(&b));
    buf_fini(&b);
}

void leases_keepalive(struct leases *ls, struct core_keepalive *k, int64_t deadline_at)
{
    if (!ls->is_leading && ls->core->leader != 0 && ls->core->role != REPLICA_LEADER) {
        forward_send(ls, k, deadline_at);
        return;
    }
    struct keepalive_job *j = mem_zalloc(sizeof(*j));
    j->local = k;
    if (!ls->is_leading) {
        job_answer(ls, j, MU_E_NO_LEADER);
        return;
    }
    j->n = k->n;
    j->ids = k->ids;
    j->ttl_ms = k->out_ttl_ms;
    j->remaining_ms = k->out_remaining_ms;
    job_run(ls, j, k->is_query);
}

static void on_keepalive(struct leases *ls, mu_node_id from, struct slice body)
{
    struct wire_reader r;
    wire_read_init(&r, body);
    uint64_t seq = wire_u64(&r);
    int is_query = wire_u8(&r);
    uint32_t n = wire_u32(&r);
    if (r.failed || n > COMMAND_LEASES_MAX || r.left != n * sizeof(uint64_t)) {
        log_warn("core", "malformed keep-alive from a member", LOG_U64("from", from));
        return;
    }
    struct keepalive_job *j = mem_zalloc(sizeof(*j));
    j->from = from;
    j->seq = seq;
    if (!ls->is_leading) {
        job_answer(ls, j, MU_E_NOT_LEADER);
        return;
    }
    j->n = n;
    j->memory = mem_zalloc((size_t)n * 3 * sizeof(uint64_t));
    j->ids = (mu_lease_id *)(void *)j->memory;
    j->ttl_ms = (int64_t *)(void *)(j->memory + n * sizeof(uint64_t));
    j->remaining_ms = j->ttl_ms + n;
    for (uint32_t i = 0; i < n; i++) {
        j->ids[i] = wire_u64(&r);
    }
    job_run(ls, j, is_query);
}

static struct forward *forward_take(struct leases *ls, uint64_t seq)
{
    for (struct forward **at = &ls->forwards; *at != NULL; at = &(*at)->next) {
        if ((*at)->seq == seq) {
            struct forward *f = *at;
            *at = f->next;
            return f;
        }
    }
    return NULL;
}

static void on_reply(struct leases *ls, struct slice body)
{
    struct wire_reader r;
    wire_read_init(&r, body);
    uint64_t seq = wire_u64(&r);
    int code = (int)(int32_t)wire_u32(&r);
    uint32_t n = wire_u32(&r);
    struct forward *f = r.failed ? NULL : forward_take(ls, seq);
    if (f == NULL) {
        return; /* too late */
    }
    if (code != 0 || n != f->k->n || r.left != (size_t)n * 16) {
        forward_fail(f, MU_E_NO_LEADER);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        f->k->out_ttl_ms[i] = (int64_t)wire_u64(&r);
        f->k->out_remaining_ms[i] = (int64_t)wire_u64(&r);
    }
    core_reply(&f->k->q);
    mem_free(f);
}

void leases_message(struct leases *ls, mu_node_id from, uint8_t type, struct slice body)
{
    if (type == CORE_MSG_KEEPALIVE) {
        on_keepalive(ls, from, body);
    } else {
        on_reply(ls, body);
    }
}

/* --- leading --- */

static int load_one(void *arg, const struct lease_row *row)
{
    struct leases *ls = arg;
    int is_checked = !row->is_overdue && row->remaining_ms < row->ttl_ms;
    lease_take_row(ls, row, is_checked ? row->remaining_ms : lease_fresh_span(row));
    return 0;
}

void leases_lead(struct leases *ls)
{
    leases_follow(ls);
    wheel_clock(ls);
    ls->slot_done = ls->wheel_now / SLOT_MS;
    ls->next_checkpoint = ls->wheel_now + CHECKPOINT_EVERY_MS;
    ls->is_leading = 1;
    int rc = store_leases(ls->core->store, load_one, ls);
    MU_INVARIANT(rc == 0);
    log_info("core", "leases taken over with their full time", LOG_U64("leases", ls->n));
}

void leases_follow(struct leases *ls)
{
    struct lease *l, *tmp;
    ls->is_leading = 0;
    HASH_ITER(hh, ls->table, l, tmp)
    {
        lease_drop(ls, l);
    }
}

struct leases *leases_new(struct core *c)
{
    struct leases *ls = mem_zalloc(sizeof(*ls));
    ls->core = c;
    ls->last_mono = clock_mono_ms();
    uv_timer_init(&c->loop, &ls->timer);
    ls->timer.data = ls;
    uv_timer_start(&ls->timer, on_timer, SLOT_MS, SLOT_MS);
    return ls;
}

void leases_stop(struct leases *ls)
{
    leases_follow(ls);
    uv_close((uv_handle_t *)&ls->timer, NULL);
    while (ls->forwards != NULL) {
        struct forward *f = ls->forwards;
        ls->forwards = f->next;
        forward_fail(f, MU_E_CLOSED);
    }
}

void leases_free(struct leases *ls)
{
    mem_free(ls);
}

size_t leases_count(const struct leases *ls)
{
    return ls->n;
}
