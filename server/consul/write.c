/* SPDX-License-Identifier: Apache-2.0 */
/* The write flow: one transaction, tried again while there is no leader, as long as Consul holds
 * requests. Only what certainly was not done is tried again. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/consul/consul_impl.h"
#include "storage/command/command.h"
#include "storage/view_catalog.h"

enum { HOLD_STEP_MS = 100 };

static void propose(struct consul_write *w);

static void on_abort(struct http_req *r)
{
    struct consul_write *w = http_data(r);
    if (w->is_holding) {
        w->is_holding = 0;
        worker_timer_stop(http_worker(r), &w->timer);
        consul_fail(r, MU_E_NO_LEADER, NULL);
    }
}

static void on_hold_over(struct worker_timer *t)
{
    struct consul_write *w = CONTAINER_OF(t, struct consul_write, timer);
    w->is_holding = 0;
    propose(w);
}

/* Something is missing, and this node itself is not in the catalog yet: the leader of a cluster
 * that has just begun is about to put it there. */
static int is_too_early(const struct consul_write *w)
{
    struct node_row row;
    if (w->cw.result.code != MU_E_NOT_FOUND) {
        return 0;
    }
    struct view *v = view_open(core_store(w->c->core));
    int rc = view_node(v, slice_str(core_node_name(w->c->core)), &row);
    view_close(v);
    return rc == MU_E_NOT_FOUND;
}

static void write_done(struct core_request *q)
{
    struct consul_write *w = CONTAINER_OF(q, struct consul_write, cw.q);
    int is_held = q->code == MU_E_NO_LEADER || (q->code == 0 && is_too_early(w));
    if (is_held && clock_mono_ms() + HOLD_STEP_MS < w->hold_until && !http_is_gone(w->r)) {
        w->is_holding = 1;
        mem_free(w->cw.detail);
        w->timer.fire = on_hold_over;
        http_set_data(w->r, w);
        http_on_abort(w->r, on_abort);
        worker_timer_start(http_worker(w->r), &w->timer, HOLD_STEP_MS);
        return;
    }
    uint8_t *detail = w->cw.detail; /* w is gone with the answer */
    if (q->code != 0) {
        consul_fail(w->r, q->code, q->err.text);
    } else {
        w->written(w);
    }
    mem_free(detail);
}

static void propose(struct consul_write *w)
{
    struct command cmd = {.type = CMD_TXN};
    memset(&w->cw, 0, sizeof(w->cw));
    w->cw.q.reply = worker_mailbox(http_worker(w->r));
    w->cw.q.done = write_done;
    cmd.u.txn = (struct cmd_txn){.n = w->n, .wants_rows = w->wants_rows, .ops = w->ops};
    core_propose(w->c->core, &w->cw, &cmd, CONSUL_WRITE_MS);
}

void consul_write(struct consul_call *k, const struct op *ops, size_t n, int wants_rows,
                  consul_written_fn written, void *data)
{
    struct consul_write *w = http_alloc(k->r, sizeof(*w));
    *w = (struct consul_write){
        .r = k->r, .c = k->c, .written = written, .data = data, .n = n, .wants_rows = wants_rows};
    w->ops = http_alloc(k->r, n * sizeof(*ops));
    memcpy(w->ops, ops, n * sizeof(*ops));
    w->hold_until = clock_mono_ms() + CONSUL_HOLD_MS;
    propose(w);
}
