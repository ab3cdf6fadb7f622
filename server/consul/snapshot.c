/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots (https://developer.hashicorp.com/consul/api-docs/snapshot), in Consul's own format.
 *
 * Saving: gate -> one view, written to a temporary file and packed into another (pool) -> streamed.
 *
 * Restoring:
 *   read and checked (pool) -> gate -> PLAN a batch (pool) -> propose it -> gate -> PLAN ...
 *                               ^        |  nothing left: answer
 *                               +- wait -+  (for locks that are delayed)
 * What was proposed and is not known to be done is planned again: it is done, or it is missing. A
 * node that goes down, and a leader that does not come, end it with how far it came. */
#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/consul/archive.h"
#include "server/consul/consul_impl.h"
#include "server/consul/export.h"
#include "server/consul/restore.h"
#include "server/consul/spool.h"
#include "storage/command/command.h"

enum { PIECE = 64 * 1024, STEP_MS = 100 };

/* One at a time on a node: each takes disk and a thread of the pool. 0, or it was answered. */
static int take_turn(struct consul_call *k)
{
    int expected = 0;
    if (atomic_compare_exchange_strong(&k->c->is_snapshotting, &expected, 1)) {
        return 0;
    }
    consul_text(k->r, 500,
                "this node saves or restores another snapshot; try again when it is done");
    return -1;
}

static void give_turn(struct consul *c)
{
    atomic_store(&c->is_snapshotting, 0);
}

/* --- saving --- */

struct saving {
    struct consul_read *g;
    struct core_read gate;
    uv_work_t work;
    struct spool *file;
    struct slice left; /* to be sent */
    int is_closing;
    uint64_t index;
    int code;
    struct err err;
};

static int write_state(struct saving *s, struct spool *state, struct archive_meta *meta)
{
    struct view *v = view_open(core_store(s->g->c->core));
    struct core_glance look;
    core_glance(s->g->c->core, &look);
    s->index = view_revision(v);
    meta->version = 1;
    meta->term = look.term;
    meta->index = view_applied(v) > s->index ? view_applied(v) : s->index;
    (void)snprintf(meta->id, sizeof(meta->id), "%llu-%llu-%lld", (unsigned long long)meta->term,
                   (unsigned long long)meta->index, (long long)clock_wall_ms());
    int rc = export_write(v, s->g->c->datacenter, spool_put, state, &s->err);
    view_close(v);
    return rc;
}

static void save_work(uv_work_t *w)
{
    struct saving *s = CONTAINER_OF(w, struct saving, work);
    const char *dir = s->g->c->data_dir;
    struct archive_meta meta = {0};
    struct spool *state = NULL;
    struct slice bytes;
    int rc = spool_open(dir, &state, &s->err);
    rc = rc != 0 ? rc : write_state(s, state, &meta);
    rc = rc != 0 ? rc : spool_map(state, &bytes, &s->err);
    rc = rc != 0 ? rc : spool_open(dir, &s->file, &s->err);
    rc = rc != 0 ? rc : archive_write(&meta, bytes, spool_put, s->file, &s->err);
    rc = rc != 0 ? rc : spool_map(s->file, &s->left, &s->err);
    spool_close(state);
    if (rc != 0) {
        spool_close(s->file);
    }
    s->code = rc;
}

/* The file goes with a pause where it is large, or just being written out: not on this thread. */
static void close_work(uv_work_t *w)
{
    struct saving *s = CONTAINER_OF(w, struct saving, work);
    spool_close(s->file);
}

static void closed(uv_work_t *w, int status)
{
    struct saving *s = CONTAINER_OF(w, struct saving, work);
    (void)status;
    http_stream_end(s->g->r);
}

/* Also called when the client is gone. */
static void send_more(struct http_req *r)
{
    struct saving *s = http_data(r);
    if (s->is_closing) {
        return;
    }
    while (s->left.len > 0 && !http_is_gone(r)) {
        size_t n = s->left.len < PIECE ? s->left.len : PIECE;
        struct slice piece = slice_of(s->left.p, n);
        s->left = slice_of(s->left.p + n, s->left.len - n);
        if (!http_stream_write(r, piece)) {
            return;
        }
    }
    s->is_closing = 1;
    give_turn(s->g->c); /* who has read it all may ask for the next one */
    int rc = uv_queue_work(worker_loop(http_worker(r)), &s->work, close_work, closed);
    MU_INVARIANT(rc == 0);
}

static void saved(uv_work_t *w, int status)
{
    struct saving *s = CONTAINER_OF(w, struct saving, work);
    struct http_req *r = s->g->r;
    (void)status;
    if (s->code != 0) {
        give_turn(s->g->c);
        log_warn("consul", "snapshot not saved", LOG_STR("why", s->err.text));
        consul_text(r, 500, "%s", s->err.text[0] != '\0' ? s->err.text : err_title(s->code));
        return;
    }
    consul_read_headers(s->g, s->index);
    http_set_data(r, s);
    http_stream_begin_sized(r, 200, "application/x-gzip", s->left.len);
    http_stream_on_drain(r, send_more);
    send_more(r);
}

static void start_save(struct saving *s)
{
    int rc = uv_queue_work(worker_loop(http_worker(s->g->r)), &s->work, save_work, saved);
    MU_INVARIANT(rc == 0);
}

static void save_gated(struct core_request *q)
{
    struct saving *s = CONTAINER_OF(q, struct saving, gate.q);
    if (q->code != 0) {
        give_turn(s->g->c);
        consul_fail(s->g->r, q->code, q->err.text);
        return;
    }
    start_save(s);
}

void consul_snapshot_get(struct consul_call *k)
{
    if (!consul_may(k, ACCESS_ACL, slice_of(NULL, 0), ACCESS_WRITE)) {
        return;
    }
    struct consul_read *g = consul_read_new(k);
    if (g == NULL || take_turn(k) != 0) {
        return;
    }
    struct saving *s = http_alloc(k->r, sizeof(*s));
    memset(s, 0, sizeof(*s));
    s->g = g;
    if (g->p.level == READ_STALE) {
        start_save(s);
        return;
    }
    g->p.level = READ_LINEAR; /* as Consul: never less */
    s->gate.q.done = save_gated;
    s->gate.q.reply = worker_mailbox(http_worker(k->r));
    core_read_gate(k->c->core, &s->gate, READ_LINEAR, CONSUL_HOLD_MS);
}

/* --- restoring --- */

struct restoring {
    struct http_req *r;
    struct consul *c;
    uv_work_t work;
    struct core_read gate;
    struct core_write cw;
    struct worker_timer timer;
    struct restore *restore;
    int64_t hold_until; /* for a leader */
    int64_t wait_until; /* what the timer is for */
    int code;           /* of the work: enum restore_step, or an error */
    struct err err;
    struct restore_count count; /* at the end */
};

static void gate(struct restoring *x);

static mu_lease_id draw_lease(void *core)
{
    return core_lease_id(core);
}

static void free_work(uv_work_t *w)
{
    restore_free(CONTAINER_OF(w, struct restoring, work)->restore);
}

static void freed(uv_work_t *w, int status)
{
    struct restoring *x = CONTAINER_OF(w, struct restoring, work);
    struct restore_count n = x->count;
    const char *why = x->err.text;
    (void)status;
    give_turn(x->c);
    log_info("consul", x->code == 0 ? "snapshot restored" : "snapshot not restored",
             LOG_U64("records", n.n_records), LOG_U64("passed_over", n.n_passed),
             LOG_U64("changes", n.n_changes), LOG_STR("why", why));
    if (x->code == 0) {
        http_add_header_u64(x->r, "Muster-Snapshot-Changes", n.n_changes);
        http_add_header_u64(x->r, "Muster-Snapshot-Passed-Over", n.n_passed);
        http_respond(x->r, 200, NULL, slice_of(NULL, 0));
    } else if (n.n_changes > 0) {
        consul_text(
            x->r, 500,
            "the restore broke off after %llu changes: %s. Restoring it again completes it.",
            (unsigned long long)n.n_changes, why);
    } else {
        consul_text(x->r, x->code == MU_E_TOO_LARGE ? 413 : 500, "%s", why);
    }
}

/* Its memory and its file go first, and not on this thread. */
static void answer(struct restoring *x, int code, const char *why)
{
    x->code = code;
    (void)err_set(&x->err, code, "%s", why);
    if (x->restore != NULL) {
        restore_count(x->restore, &x->count);
    }
    int rc = uv_queue_work(worker_loop(http_worker(x->r)), &x->work, free_work, freed);
    MU_INVARIANT(rc == 0);
}

static void fail(struct restoring *x, int code, const char *text)
{
    answer(x, code,
           code == MU_E_NO_LEADER            ? "No cluster leader"
           : text != NULL && text[0] != '\0' ? text
                                             : err_title(code));
}

static void wait(struct restoring *x, int64_t until);

static void on_timer(struct worker_timer *t)
{
    struct restoring *x = CONTAINER_OF(t, struct restoring, timer);
    struct core_glance look;
    core_glance(x->c->core, &look);
    if (look.is_draining) {
        fail(x, MU_E_DRAINING, "this node goes down");
    } else if (clock_mono_ms() < x->wait_until) {
        wait(x, x->wait_until);
    } else {
        gate(x);
    }
}

/* In steps, as this node may go down meanwhile. A client that goes away ends nothing: what is
 * restored by half is worse than an answer that nobody hears. */
static void wait(struct restoring *x, int64_t until)
{
    int64_t left = until - clock_mono_ms();
    x->wait_until = until;
    x->timer.fire = on_timer;
    worker_timer_start(http_worker(x->r), &x->timer, left < STEP_MS ? left : STEP_MS);
}

/* No leader: a while. */
static void hold(struct restoring *x, const struct core_request *q)
{
    struct core_glance look;
    core_glance(x->c->core, &look);
    if (q->code == MU_E_NO_LEADER && !look.is_draining &&
        clock_mono_ms() + STEP_MS < x->hold_until) {
        wait(x, clock_mono_ms() + STEP_MS);
    } else {
        fail(x, q->code, q->err.text);
    }
}

/* Which operation it was, for people. */
static void name_refused(struct restoring *x, int code)
{
    struct slice rest = x->cw.result.detail;
    struct txn_item item = {0};
    char name[200];
    (void)txn_item_next(&rest, &item);
    restore_name_op(x->restore, item.op, name);
    (void)err_set(&x->cw.q.err, code, "%s: %s", name, err_title(code));
}

static void proposed(struct core_request *q)
{
    struct restoring *x = CONTAINER_OF(q, struct restoring, cw.q);
    int code = q->code != 0 ? q->code : x->cw.result.code;
    if (q->code == 0 && code != 0) {
        name_refused(x, code);
    }
    mem_free(x->cw.detail);
    x->cw.detail = NULL;
    if (code == 0) {
        x->hold_until = clock_mono_ms() + CONSUL_HOLD_MS;
        restore_done(x->restore, x->cw.result.is_changed);
        gate(x);
        return;
    }
    if (restore_again(x->restore) != 0) {
        fail(x, code, q->err.text);
    } else if (q->code == 0 || q->code == MU_E_UNKNOWN_OUTCOME) {
        gate(x);
    } else {
        hold(x, q);
    }
}

static void propose(struct restoring *x)
{
    struct command *cmd = mem_zalloc(sizeof(*cmd));
    size_t n;
    const struct op *ops = restore_ops(x->restore, &n);
    memset(&x->cw, 0, sizeof(x->cw));
    x->cw.q.reply = worker_mailbox(http_worker(x->r));
    x->cw.q.done = proposed;
    cmd->type = CMD_TXN;
    cmd->u.txn = (struct cmd_txn){.n = n, .ops = ops};
    core_propose(x->c->core, &x->cw, cmd, CONSUL_WRITE_MS);
    mem_free(cmd);
}

static void plan_work(uv_work_t *w)
{
    struct restoring *x = CONTAINER_OF(w, struct restoring, work);
    x->code = restore_plan(x->restore, &x->err);
}

static void planned(uv_work_t *w, int status)
{
    struct restoring *x = CONTAINER_OF(w, struct restoring, work);
    struct core_glance look;
    (void)status;
    core_glance(x->c->core, &look);
    if (x->code < 0) {
        fail(x, x->code, x->err.text);
    } else if (x->code == RESTORE_DONE) {
        answer(x, 0, "");
    } else if (look.is_draining) {
        fail(x, MU_E_DRAINING, "this node goes down");
    } else if (x->code == RESTORE_WAIT) {
        wait(x, clock_mono_ms() + restore_wait_ms(x->restore));
    } else {
        propose(x);
    }
}

static void gated(struct core_request *q)
{
    struct restoring *x = CONTAINER_OF(q, struct restoring, gate.q);
    if (q->code != 0) {
        hold(x, q);
        return;
    }
    int rc = uv_queue_work(worker_loop(http_worker(x->r)), &x->work, plan_work, planned);
    MU_INVARIANT(rc == 0);
}

static void gate(struct restoring *x)
{
    memset(&x->gate, 0, sizeof(x->gate));
    x->gate.q.done = gated;
    x->gate.q.reply = worker_mailbox(http_worker(x->r));
    core_read_gate(x->c->core, &x->gate, READ_LEADER, CONSUL_HOLD_MS);
}

static void open_work(uv_work_t *w)
{
    struct restoring *x = CONTAINER_OF(w, struct restoring, work);
    struct restore_options o = {.store = core_store(x->c->core),
                                .dir = x->c->data_dir,
                                .self = core_node_name(x->c->core),
                                .lease_id = draw_lease,
                                .arg = x->c->core};
    x->code = restore_open(&o, http_body(x->r), &x->restore, &x->err);
}

static void opened(uv_work_t *w, int status)
{
    struct restoring *x = CONTAINER_OF(w, struct restoring, work);
    (void)status;
    if (x->code != 0) {
        fail(x, x->code, x->err.text);
        return;
    }
    http_park(x->r); /* the body is not needed any more */
    x->hold_until = clock_mono_ms() + CONSUL_HOLD_MS;
    gate(x);
}

void consul_snapshot_put(struct consul_call *k)
{
    if (!consul_may(k, ACCESS_ACL, slice_of(NULL, 0), ACCESS_WRITE) || consul_dc(k) != 0) {
        return;
    }
    if (consul_flag(k->r, "stale")) {
        consul_text(k->r, 500, "stale not allowed for restore");
        return;
    }
    if (take_turn(k) != 0) {
        return;
    }
    struct restoring *x = http_alloc(k->r, sizeof(*x));
    memset(x, 0, sizeof(*x));
    x->r = k->r;
    x->c = k->c;
    int rc = uv_queue_work(worker_loop(http_worker(k->r)), &x->work, open_work, opened);
    MU_INVARIANT(rc == 0);
}

/* --- the mount: larger bodies, and nobody sends one who may not --- */

int consul_snapshot_permit(struct http_req *r, void *arg, struct err *e)
{
    struct consul_call k = {.r = r, .c = arg};
    int rc = http_method(r) == HTTP_M_OPTIONS ? 0 : consul_who(&k);
    if (rc == 0 && http_method(r) != HTTP_M_OPTIONS &&
        !access_allows(k.who, ACCESS_ACL, slice_of(NULL, 0), ACCESS_WRITE)) {
        rc = MU_E_DENIED;
    }
    return rc != 0 ? err_set(e, rc, "Permission denied") : 0;
}

void consul_snapshot_refuse(struct http_req *r, void *arg, int code, const char *text)
{
    (void)arg;
    if (code == MU_E_DENIED || code == MU_E_UNAUTHORIZED) {
        consul_fail(r, code, text);
    } else if (code == MU_E_TOO_LARGE) {
        consul_text(r, 413, "the snapshot is too large: at most %d MiB", CONSUL_SNAPSHOT_MAX >> 20);
    } else {
        consul_text(r, err_http_status(code), "%s", text);
    }
}
