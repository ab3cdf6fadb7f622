/* SPDX-License-Identifier: Apache-2.0 */
/* raft/writer.h without a thread: an operation is executed at one moment of virtual time and
 * reported at a later one. Between the kick, the execution and the report the node may die. */
#include "raft/writer.h"

#include "base/mem.h"
#include "raft/wal_impl.h"
#include "tests/sim/cluster/world.h"

struct writer {
    struct writer_options o;
    struct sim_node *node;
    unsigned life;
    struct wal_op *flying;
    mu_index flying_last;
    int is_executed, is_reported, code, is_stopped;
    struct err err;
    struct writer_stats stats;
};

static void must_be_synced(struct sim_node *n)
{
    if (memdisk_unsynced(n->mem, "log/", ".seg") != 0) {
        sim_bad("node %d: a group counts as durable, but its bytes are not synced", n->nr);
    }
}

static void execute(struct writer *w)
{
    struct wal_op *op = w->flying;
    w->is_executed = 1;
    mu_index last = op->last;
    w->code = wal_execute(op, &w->err);
    if (memdisk_is_off(w->node->mem)) {
        return;
    }
    w->stats.n_ops++;
    if (w->code == 0) {
        must_be_synced(w->node);
        oracle_synced(w->node, last);
    }
}

static int is_mine(const struct writer *w)
{
    return w->node->is_up && w->node->life == w->life && w->node->writer == w && !w->is_stopped;
}

static void as_node_execute(void *arg, uint64_t n)
{
    (void)n;
    execute(arg);
}

static void on_report(void *arg, uint64_t n)
{
    struct writer *w = arg;
    (void)n;
    if (is_mine(w) && w->is_executed && !w->is_reported) {
        int more = 0;
        w->is_reported = 1;
        if (sim_chance(50) && w->code == 0 && wal_prepare(w->o.wal, &more, &w->err) != 0 &&
            memdisk_is_off(w->node->mem)) {
            node_fell(w->node, DEATH_POWER);
            return;
        }
        w->o.wake(w->o.arg);
    }
}

static int64_t disk_time(const struct sim_node *n)
{
    int64_t t = sim_between(50, 3000);
    if (n->disk_slow_until > world->now) {
        t += sim_between(0, 400000);
    }
    return t;
}

static void on_execute(void *arg, uint64_t n)
{
    struct writer *w = arg;
    (void)n;
    if (!is_mine(w) || w->is_executed) {
        return;
    }
    node_run(w->node, as_node_execute, w, 0);
    if (memdisk_is_off(w->node->mem)) {
        node_fell(w->node, DEATH_POWER);
        return;
    }
    sim_at(world->now + disk_time(w->node) / 2, on_report, w, 0);
}

int writer_start(const struct writer_options *o, struct writer **out, struct err *e)
{
    struct writer *w = mem_zalloc(sizeof(*w));
    (void)e;
    w->o = *o;
    w->node = world->cur;
    w->life = world->cur->life;
    world->cur->writer = w;
    *out = w;
    return 0;
}

void writer_kick(struct writer *w)
{
    if (w->flying != NULL || (w->flying = wal_take(w->o.wal)) == NULL) {
        return;
    }
    w->is_executed = w->is_reported = 0;
    sim_at(world->now + disk_time(w->node), on_execute, w, 0);
}

int writer_poll(struct writer *w, mu_index *out_durable, struct err *e)
{
    if (w->code != 0) {
        return err_set(e, w->code, "%s", w->err.text);
    }
    if (w->flying == NULL || !w->is_reported) {
        return 0;
    }
    struct wal_op *op = w->flying;
    w->flying = NULL;
    *out_durable = wal_done(w->o.wal, op);
    writer_kick(w);
    return 1;
}

int writer_is_idle(const struct writer *w)
{
    return w->flying == NULL && !wal_has_pending(w->o.wal);
}

void writer_stats(const struct writer *w, struct writer_stats *out)
{
    *out = w->stats;
}

int writer_stop(struct writer *w, struct err *e)
{
    w->is_stopped = 1;
    struct wal_op *op = w->flying != NULL ? w->flying : wal_take(w->o.wal);
    int is_done = w->flying != NULL && w->is_executed;
    int rc = w->code;
    for (; rc == 0 && op != NULL; op = wal_take(w->o.wal), is_done = 0) {
        rc = is_done ? 0 : wal_execute(op, e);
        if (rc == 0) {
            wal_done(w->o.wal, op);
        }
    }
    return rc;
}
