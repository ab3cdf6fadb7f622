/* SPDX-License-Identifier: Apache-2.0 */
/* The read flow with blocking queries
 * (https://developer.hashicorp.com/consul/api-docs/features/blocking).
 *
 *   GATE --granted--> render --index passed--> answer
 *    |  ^               |  not passed, wait left
 *    |  | HOLD          v
 *    |  +-- no leader  PARKED --fired--> render again
 *    +--> error         |  time-out, client gone, drain
 *                       v
 *                     ENDING (the hub gives the subscription back) --> answer what there is
 *
 * The hub wakes for what the answer is made of alone, so an unrelated write wakes nobody. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "server/consul/consul_impl.h"
#include "server/consul/filter.h"

enum { HOLD_STEP_MS = 100 };

static void step(struct consul_read *g, int may_park);
static void gate(struct consul_read *g);

struct consul_read *consul_read_new(struct consul_call *k)
{
    struct consul_params p;
    if (consul_params(k, &p) != 0) {
        return NULL;
    }
    struct consul_read *g = http_alloc(k->r, sizeof(*g));
    memset(g, 0, sizeof(*g));
    g->r = k->r;
    g->c = k->c;
    g->p = p;
    return g;
}

const char *consul_read_level(const struct consul_read *g)
{
    return g->p.level == READ_STALE ? "stale" : g->p.level == READ_LINEAR ? "consistent" : "leader";
}

void consul_read_headers(struct consul_read *g, uint64_t index)
{
    struct core_glance look;
    if (g->is_filtered) {
        http_add_header(g->r, "X-Consul-Results-Filtered-By-Acls", "true");
    }
    if (g->is_hash && index != 0) {
        char hash[24];
        (void)snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)index);
        http_add_header(g->r, "X-Consul-Contenthash", hash);
    }
    if (g->is_raw) {
        http_add_header(g->r, "Content-Security-Policy", "sandbox");
    }
    if (g->is_plain) {
        return;
    }
    core_glance(g->c->core, &look);
    int64_t age = g->p.level != READ_STALE || look.is_leader ? 0 : look.leader_age_ms;
    if (g->p.is_cached) {
        http_add_header(g->r, "X-Cache", "HIT");
        http_add_header_u64(g->r, "Age", age > 0 ? (uint64_t)age / 1000 : 0);
    }
    http_add_header_u64(g->r, "X-Consul-Index", index != 0 ? index : 1);
    http_add_header(g->r, "X-Consul-Knownleader", look.has_leader ? "true" : "false");
    http_add_header_u64(g->r, "X-Consul-Lastcontact", age > 0 ? (uint64_t)age : 0);
    http_add_header(g->r, "X-Consul-Query-Backend", "blocking-query");
    http_add_header(g->r, "X-Consul-Effective-Consistency", consul_read_level(g));
}

static void end_wait(struct consul_read *g)
{
    if (g->state == CREAD_PARKED) {
        g->state = CREAD_ENDING;
        worker_timer_stop(http_worker(g->r), &g->timer);
        hub_cancel(core_hub(g->c->core), &g->sub);
    } else if (g->state == CREAD_HOLD) {
        worker_timer_stop(http_worker(g->r), &g->timer);
        consul_read_headers(g, 1);
        consul_fail(g->r, MU_E_NO_LEADER, NULL);
    }
}

static void on_abort(struct http_req *r)
{
    end_wait(http_data(r));
}

static void on_late(struct worker_timer *t)
{
    end_wait(CONTAINER_OF(t, struct consul_read, timer));
}

static void on_fired(struct sub *s)
{
    struct consul_read *g = CONTAINER_OF(s, struct consul_read, sub);
    int is_over = g->state == CREAD_ENDING;
    worker_timer_stop(http_worker(g->r), &g->timer);
    g->state = CREAD_GATE;
    step(g, !is_over);
}

static void wait_with(struct consul_read *g, int64_t ms, void (*fire)(struct worker_timer *t))
{
    http_set_data(g->r, g);
    http_on_abort(g->r, on_abort);
    g->timer.fire = fire;
    worker_timer_start(http_worker(g->r), &g->timer, ms);
}

static void park(struct consul_read *g, mu_rev rev, int64_t left)
{
    g->state = CREAD_PARKED;
    g->sub = (struct sub){.reply = worker_mailbox(http_worker(g->r)),
                          .fired = on_fired,
                          .next_rev = rev + 1,
                          .ranges = g->ranges,
                          .n_ranges = g->n_ranges};
    wait_with(g, left, on_late);
    hub_arm(core_hub(g->c->core), &g->sub);
    http_park(g->r);
}

/* Render, then answer or park. The view is closed before anything leaves. */
static void step(struct consul_read *g, int may_park)
{
    struct buf *out = http_scratch(g->r);
    struct view *v = view_open(core_store(g->c->core));
    struct core_glance look;
    mu_rev rev = view_revision(v);
    g->status = 200;
    g->content_type = NULL;
    g->is_filtered = g->is_raw = 0;
    int rc = access_identify(g->c->access, worker_number(http_worker(g->r)), v, consul_token(g->r),
                             &g->who);
    if (g->filter != NULL) {
        filter_begin(g->filter);
    }
    rc = rc != 0 ? rc : g->render(g, v, out);
    view_close(v);
    if (rc == 0 && g->filter != NULL && filter_is_spent(g->filter)) {
        consul_read_headers(g, 1);
        consul_text(g->r, 500,
                    "The filter costs too much: its regular expressions took more than "
                    "%d steps",
                    FILTER_STEPS_MAX);
        return;
    }
    if (rc != 0) {
        consul_read_headers(g, 1);
        consul_fail(g->r, rc, err_title(rc));
        return;
    }
    int64_t left = g->deadline_at - clock_mono_ms();
    core_glance(g->c->core, &look);
    int is_old = g->is_exact ? g->index == g->p.index : g->index <= g->p.index;
    if (may_park && g->p.index > 0 && is_old && left > 0 && g->n_ranges > 0 && !look.is_draining &&
        !http_is_gone(g->r)) {
        park(g, rev, left);
        return;
    }
    consul_read_headers(g, g->index);
    if (g->content_type == NULL && out->len > 0) {
        consul_json(g->r, g->status, buf_slice(out));
    } else {
        http_respond(g->r, g->status, g->content_type, buf_slice(out));
    }
}

static void on_hold_over(struct worker_timer *t)
{
    gate(CONTAINER_OF(t, struct consul_read, timer));
}

static void gate_done(struct core_request *q)
{
    struct consul_read *g = CONTAINER_OF(q, struct consul_read, gate.q);
    if (q->code == 0) {
        step(g, 1);
    } else if (q->code == MU_E_NO_LEADER && clock_mono_ms() + HOLD_STEP_MS < g->hold_until &&
               !http_is_gone(g->r)) {
        g->state = CREAD_HOLD;
        wait_with(g, HOLD_STEP_MS, on_hold_over);
    } else {
        consul_read_headers(g, 1);
        consul_fail(g->r, q->code, q->err.text);
    }
}

static void gate(struct consul_read *g)
{
    int64_t left = g->hold_until - clock_mono_ms();
    g->state = CREAD_GATE;
    g->gate.q.done = gate_done;
    g->gate.q.reply = worker_mailbox(http_worker(g->r));
    core_read_gate(g->c->core, &g->gate, g->p.level, left > 1 ? left : 1);
}

int consul_sees(struct consul_read *g, enum access_kind kind, struct slice name)
{
    int may = access_allows(g->who, kind, name, ACCESS_READ);
    g->is_filtered |= !may;
    return may;
}

void consul_read_start(struct consul_read *g, consul_render_fn render)
{
    int64_t now = clock_mono_ms();
    g->render = render;
    g->deadline_at = now + g->p.wait_ms;
    g->hold_until = now + CONSUL_HOLD_MS;
    if (core_reads_now(g->c->core, g->p.level)) {
        step(g, 1);
    } else {
        gate(g);
    }
}
