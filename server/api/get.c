/* SPDX-License-Identifier: Apache-2.0 */
/* The read flow with long-polls.
 *
 *   GATE --granted--> render --differs--> answer
 *     |                 |  same, wait left
 *     | refused         v
 *     +--> error      PARKED --fired--> render again
 *                       |  time-out, client gone, drain
 *                       v
 *                     ENDING (the hub gives the subscription back) --> 304
 *
 * The request's memory holds the subscription, so nothing is answered before the hub has given it
 * back. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"
#include "server/api/api_impl.h"

static int parse_consistency(struct http_req *r, enum consistency *out)
{
    struct slice s;
    *out = READ_LINEAR;
    if (!http_query(r, "consistency", &s) || slice_eq(s, SLICE_LIT("linearizable"))) {
        return 0;
    }
    if (slice_eq(s, SLICE_LIT("stale"))) {
        *out = READ_STALE;
        return 0;
    }
    if (slice_eq(s, SLICE_LIT("leader"))) {
        *out = READ_LEADER;
        return 0;
    }
    http_respond_error(r, MU_E_BAD_REQUEST, "consistency must be linearizable, leader or stale");
    return -1;
}

static int parse_wait(struct http_req *r, int64_t *out)
{
    struct slice s;
    *out = 0;
    if (http_query(r, "wait", &s) && text_duration_ms(s, API_WAIT_MAX_MS, out) != 0) {
        http_respond_error(r, MU_E_BAD_REQUEST,
                           "wait must be a duration of at most 10m, as in wait=30s");
        return -1;
    }
    return 0;
}

static int check_query(struct http_req *r, const char *const *known)
{
    const char *all[24] = {"namespace", "consistency", "wait"};
    size_t n = 3;
    for (; known != NULL && *known != NULL; known++) {
        MU_INVARIANT(n + 1 < N_ELEMENTS(all));
        all[n++] = *known;
    }
    return api_known_query(r, all);
}

struct api_get *api_get_new(struct http_req *r, struct api *a, const char *const *known)
{
    enum consistency level;
    int64_t wait_ms;
    if (check_query(r, known) != 0 || parse_consistency(r, &level) != 0 ||
        parse_wait(r, &wait_ms) != 0) {
        return NULL;
    }
    struct api_get *g = http_alloc(r, sizeof(*g));
    memset(g, 0, sizeof(*g));
    g->r = r;
    g->api = a;
    g->consistency = level;
    g->wait_ms = wait_ms;
    g->content_type = "application/json";
    g->has_if_none_match = http_header(r, "if-none-match", &g->if_none_match);
    return g;
}

/* Any of the listed tags; W/ prefixes are ignored, as RFC 9110 section 13.1.2 compares weakly. */
static int etag_matches(struct slice list, const char *etag)
{
    struct slice tag = slice_str(etag);
    if (slice_eq(list, SLICE_LIT("*"))) {
        return 1;
    }
    for (size_t i = 0; i + tag.len <= list.len; i++) {
        if (memcmp(list.p + i, tag.p, tag.len) == 0) {
            return 1; /* both quotes are part of the tag, so no longer tag can match */
        }
    }
    return 0;
}

static void answer_unchanged(struct api_get *g)
{
    if (g->no_answer != NULL) {
        g->no_answer(g);
        return;
    }
    http_add_header(g->r, "ETag", g->etag);
    http_respond(g->r, 304, NULL, (struct slice){0});
}

static void get_step(struct api_get *g);

static void get_end(struct api_get *g)
{
    if (g->state != GET_PARKED) {
        return;
    }
    g->state = GET_ENDING;
    worker_timer_stop(http_worker(g->r), &g->timer);
    hub_cancel(core_hub(g->api->core), &g->sub);
}

static void on_timer(struct worker_timer *t)
{
    struct api_get *g = CONTAINER_OF(t, struct api_get, timer);
    get_end(g);
}

static void on_abort(struct http_req *r)
{
    struct api_get *g = http_data(r);
    get_end(g);
}

static void on_fired(struct sub *s)
{
    struct api_get *g = CONTAINER_OF(s, struct api_get, sub);
    if (g->state == GET_ENDING) {
        struct core_glance look;
        core_glance(g->api->core, &look);
        api_headers(g->r, g->api, look.revision, READ_STALE);
        answer_unchanged(g);
        return;
    }
    worker_timer_stop(http_worker(g->r), &g->timer);
    g->state = GET_GATE;
    get_step(g);
}

static void park(struct api_get *g, mu_rev rev)
{
    int64_t left = g->deadline_at - clock_mono_ms();
    struct core_glance look;
    core_glance(g->api->core, &look);
    if (left <= 0 || look.is_draining || http_is_gone(g->r)) {
        api_headers(g->r, g->api, rev, g->consistency);
        answer_unchanged(g);
        return;
    }
    g->state = GET_PARKED;
    g->sub = (struct sub){.reply = worker_mailbox(http_worker(g->r)),
                          .fired = on_fired,
                          .next_rev = rev + 1,
                          .ranges = g->ranges,
                          .n_ranges = g->n_ranges};
    http_set_data(g->r, g);
    http_on_abort(g->r, on_abort);
    g->timer.fire = on_timer;
    worker_timer_start(http_worker(g->r), &g->timer, left);
    hub_arm(core_hub(g->api->core), &g->sub);
    http_park(g->r);
}

static void make_etag(struct api_get *g, struct slice body)
{
    if (g->etag[0] == '\0') {
        snprintf(g->etag, sizeof(g->etag), "\"x%016llx\"",
                 (unsigned long long)hash_xxh3(body.p, body.len, 0));
    }
}

/* Asked with each look: what was allowed when the request came may not be any more. */
static int get_permit(struct api_get *g, struct view *v, struct err *e)
{
    int rc = api_permit_in(g->api, g->r, v, http_route_of(g->r), e);
    return rc != 0 || g->n_asks == 0 ? rc : api_allowed(g->r, g->api, v, g->asks, g->n_asks, e);
}

/* Render and answer, or park. The view is closed before anything leaves. */
static void get_step(struct api_get *g)
{
    struct err e = {0};
    struct buf *out = http_scratch(g->r);
    struct view *v = view_open(core_store(g->api->core));
    mu_rev rev = view_revision(v);
    g->etag[0] = '\0';
    int may = get_permit(g, v, &e);
    int rc = may != 0 ? may : g->render(g, v, out, &e);
    view_close(v);
    if (rc == MU_E_NOT_FOUND) {
        snprintf(g->etag, sizeof(g->etag), "\"0\""); /* what is not there can be waited for */
    } else if (rc == 0) {
        make_etag(g, buf_slice(out));
    }
    if ((rc == 0 || rc == MU_E_NOT_FOUND) && g->has_if_none_match &&
        etag_matches(g->if_none_match, g->etag)) {
        if (g->n_ranges > 0 && g->wait_ms > 0) {
            park(g, rev);
            return;
        }
        if (rc == 0) {
            api_headers(g->r, g->api, rev, g->consistency);
            answer_unchanged(g);
            return;
        }
    }
    api_headers(g->r, g->api, rev, g->consistency);
    if (rc != 0) {
        api_fail(g->r, rc, &e);
        return;
    }
    http_add_header(g->r, "ETag", g->etag);
    http_respond(g->r, 200, g->content_type, buf_slice(out));
}

static void gate_done(struct core_request *q)
{
    struct api_get *g = CONTAINER_OF(q, struct api_get, gate.q);
    if (q->code != 0) {
        if (q->code == MU_E_NO_LEADER) {
            http_add_header(g->r, "Retry-After", "1");
        }
        api_fail(g->r, q->code, &q->err);
        return;
    }
    get_step(g);
}

void api_get_start(struct api_get *g, api_render_fn render)
{
    g->render = render;
    g->deadline_at = clock_mono_ms() + g->wait_ms;
    if (core_reads_now(g->api->core, g->consistency)) {
        get_step(g);
        return;
    }
    g->gate.q.done = gate_done;
    g->gate.q.reply = worker_mailbox(http_worker(g->r));
    core_read_gate(g->api->core, &g->gate, g->consistency, g->api->timeout_ms);
}
