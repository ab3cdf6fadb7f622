/* SPDX-License-Identifier: Apache-2.0 */
/* Leases. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "server/api/api_impl.h"

static void lease_json(struct jw *w, mu_lease_id id, int64_t ttl_ms)
{
    char hex[17], t[24];
    api_lease_hex(id, hex);
    text_format_duration(ttl_ms, t);
    jw_key(w, "id");
    jw_str(w, hex);
    jw_key(w, "ttl");
    jw_str(w, t);
}

static int lease_param(struct http_req *r, mu_lease_id *out)
{
    if (api_lease_parse(http_param(r, "id"), out) != 0) {
        http_respond_error(r, MU_E_BAD_REQUEST, "a lease id is 1 to 16 hex digits, not zero");
        return -1;
    }
    return 0;
}

static struct slice lease_what(struct http_req *r, mu_lease_id id)
{
    return api_text(r, "lease %016llx", (unsigned long long)id);
}

/* --- grant and revoke --- */

static void granted(struct api_write *w)
{
    struct buf *out = http_scratch(w->r);
    struct jw j;
    jw_init(&j, out);
    jw_obj(&j);
    lease_json(&j, w->cw.result.lease, w->cw.result.ttl_ms);
    jw_end(&j);
    http_respond(w->r, 201, "application/json", buf_slice(out));
}

static int grant_body(struct http_req *r, struct cmd_lease_grant *g)
{
    struct json_t *doc;
    struct err e = {0};
    struct jr j;
    if (api_json_body(r, &doc) != 0) {
        return -1;
    }
    jr_begin(&j, doc, &e);
    if (!jr_has(&j, "ttl")) {
        err_set(&e, MU_E_BAD_REQUEST, "\"ttl\" is missing, as in {\"ttl\":\"15s\"}");
    }
    g->ttl_ms = jr_duration(&j, "ttl", 0, API_TTL_MIN_MS, API_TTL_MAX_MS);
    if (jr_has(&j, "id")) {
        if (api_lease_parse(jr_str(&j, "id", 0), &g->id) != 0) {
            err_set(&e, MU_E_BAD_REQUEST, "a lease id is 1 to 16 hex digits, not zero");
        }
    }
    int rc = jr_end(&j);
    jr_free(doc);
    if (rc != 0) {
        api_fail(r, rc, &e);
    }
    return rc;
}

void api_lease_grant(struct http_req *r, void *arg)
{
    struct command cmd;
    struct cmd_lease_grant g = {0};
    if (api_known_query(r, NULL) != 0 || api_request_id(r, &cmd) != 0 || grant_body(r, &g) != 0) {
        return;
    }
    if (g.id == 0) {
        g.id = core_lease_id(api_of(arg)->core);
    }
    cmd.type = CMD_LEASE_GRANT;
    cmd.wall_ms = 0;
    cmd.u.lease_grant = g;
    api_write(r, api_of(arg), &cmd, granted, NULL, lease_what(r, g.id));
}

static void revoked(struct api_write *w)
{
    http_respond(w->r, 204, NULL, (struct slice){0});
}

void api_lease_revoke(struct http_req *r, void *arg)
{
    struct command cmd;
    mu_lease_id id;
    if (api_known_query(r, NULL) != 0 || lease_param(r, &id) != 0 || api_request_id(r, &cmd) != 0) {
        return;
    }
    cmd.type = CMD_LEASE_REVOKE;
    cmd.wall_ms = 0;
    cmd.u.lease_revoke.id = id;
    api_write(r, api_of(arg), &cmd, revoked, NULL, lease_what(r, id));
}

/* --- keep-alive: one or many, in messages of at most COMMAND_LEASES_MAX --- */

struct keepalive {
    struct core_keepalive k;
    struct http_req *r;
    struct api *api;
    size_t n, at; /* leases in all; where the message under way starts */
    mu_lease_id *ids;
    int64_t *ttl_ms, *remaining_ms;
    int is_single;
};

static void keepalive_next(struct keepalive *k);

static void keepalive_answer(struct keepalive *k)
{
    struct buf *out = http_scratch(k->r);
    struct jw w;
    if (k->is_single && k->ttl_ms[0] < 0) {
        http_respond_error(k->r, MU_E_NOT_FOUND, "%.*s does not exist",
                           SLICE_FMT(lease_what(k->r, k->ids[0])));
        return;
    }
    jw_init(&w, out);
    jw_obj(&w);
    if (k->is_single) {
        lease_json(&w, k->ids[0], k->ttl_ms[0]);
        jw_end(&w);
        http_respond(k->r, 200, "application/json", buf_slice(out));
        return;
    }
    jw_key(&w, "leases");
    jw_arr(&w);
    for (size_t i = 0; i < k->n; i++) {
        char hex[17];
        jw_obj(&w);
        if (k->ttl_ms[i] >= 0) {
            lease_json(&w, k->ids[i], k->ttl_ms[i]);
        } else {
            api_lease_hex(k->ids[i], hex);
            jw_key(&w, "id");
            jw_str(&w, hex);
            jw_key(&w, "error");
            jw_str(&w, "NOT_FOUND");
        }
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    http_respond(k->r, 200, "application/json", buf_slice(out));
}

static void keepalive_done(struct core_request *q)
{
    struct keepalive *k = CONTAINER_OF(q, struct keepalive, k.q);
    if (q->code != 0) {
        api_fail(k->r, q->code, &q->err);
        return;
    }
    k->at += k->k.n;
    if (k->at < k->n) {
        keepalive_next(k);
        return;
    }
    keepalive_answer(k);
}

static void keepalive_next(struct keepalive *k)
{
    size_t left = k->n - k->at;
    k->k.n = left < COMMAND_LEASES_MAX ? left : COMMAND_LEASES_MAX;
    k->k.ids = k->ids + k->at;
    k->k.out_ttl_ms = k->ttl_ms + k->at;
    k->k.out_remaining_ms = k->remaining_ms + k->at;
    k->k.q.done = keepalive_done;
    k->k.q.reply = worker_mailbox(http_worker(k->r));
    core_keepalive(k->api->core, &k->k, k->api->timeout_ms);
}

static struct keepalive *keepalive_new(struct http_req *r, void *arg, size_t n)
{
    struct keepalive *k = http_alloc(r, sizeof(*k));
    memset(k, 0, sizeof(*k));
    k->r = r;
    k->api = api_of(arg);
    k->n = n;
    k->ids = http_alloc(r, n * sizeof(*k->ids));
    k->ttl_ms = http_alloc(r, n * sizeof(*k->ttl_ms));
    k->remaining_ms = http_alloc(r, n * sizeof(*k->remaining_ms));
    return k;
}

void api_lease_keepalive(struct http_req *r, void *arg)
{
    mu_lease_id id;
    if (api_known_query(r, NULL) != 0 || lease_param(r, &id) != 0) {
        return;
    }
    struct keepalive *k = keepalive_new(r, arg, 1);
    k->ids[0] = id;
    k->is_single = 1;
    keepalive_next(k);
}

static int keepalive_ids(struct json_t *arr, struct keepalive *k, struct err *e)
{
    for (size_t i = 0; i < k->n; i++) {
        struct slice s;
        if (!jr_is_str(jr_arr_at(arr, i), &s) || api_lease_parse(s, &k->ids[i]) != 0) {
            return err_set(e, MU_E_BAD_REQUEST,
                           "leases[%zu] must be a string of 1 to 16 hex digits, not zero", i);
        }
    }
    return 0;
}

void api_leases_keepalive(struct http_req *r, void *arg)
{
    struct json_t *doc;
    struct err e = {0};
    struct jr j;
    struct keepalive *k = NULL;
    if (api_known_query(r, NULL) != 0 || api_json_body(r, &doc) != 0) {
        return;
    }
    jr_begin(&j, doc, &e);
    struct json_t *arr = jr_arr(&j, "leases", API_KEEPALIVE_MAX);
    int rc = jr_end(&j);
    if (rc == 0 && (arr == NULL || jr_arr_len(arr) == 0)) {
        rc = err_set(&e, MU_E_BAD_REQUEST, "\"leases\" must list 1 to %d lease ids",
                     API_KEEPALIVE_MAX);
    }
    if (rc == 0) {
        k = keepalive_new(r, arg, jr_arr_len(arr));
        rc = keepalive_ids(arr, k, &e);
    }
    jr_free(doc);
    if (rc != 0) {
        api_fail(r, rc, &e);
        return;
    }
    keepalive_next(k);
}

/* --- reading: what hangs on a lease is in the store, what is left of it only the leader knows ---
 */

struct lease_get {
    struct core_keepalive k;
    struct http_req *r;
    struct api *api;
    mu_lease_id id;
    int64_t ttl_ms, remaining_ms;
    struct api_get *get;
};

static int key_json(void *arg, struct slice key)
{
    struct instance_name n;
    if (key_parse_instance(key, &n) == 0) {
        jw_obj(arg);
        api_instance_name_json(arg, &n);
        jw_end(arg);
    }
    return 0;
}

static int lease_body(struct view *v, struct jw *w, const struct lease_row *row,
                      int64_t remaining_ms)
{
    jw_obj(w);
    lease_json(w, row->id, row->ttl_ms);
    if (remaining_ms >= 0) {
        jw_key(w, "remaining_ms");
        jw_i64(w, remaining_ms);
    }
    jw_key(w, "overdue");
    jw_bool(w, row->is_overdue);
    jw_key(w, "instances");
    jw_arr(w);
    int rc = view_lease_keys(v, row->id, key_json, w);
    jw_end(w);
    jw_end(w);
    return rc;
}

static int render_lease(struct api_get *g, struct view *v, struct buf *out, struct err *e)
{
    struct lease_get *q = g->data;
    struct lease_row row;
    struct jw w;
    if (view_lease(v, q->id, &row) != 0) {
        return err_set(e, MU_E_NOT_FOUND, "%.*s does not exist",
                       SLICE_FMT(lease_what(g->r, q->id)));
    }
    jw_init(&w, out);
    return lease_body(v, &w, &row, q->ttl_ms >= 0 ? q->remaining_ms : 0);
}

static void lease_asked(struct core_request *q)
{
    struct lease_get *l = CONTAINER_OF(q, struct lease_get, k.q);
    if (q->code != 0) {
        api_fail(l->r, q->code, &q->err);
        return;
    }
    api_get_start(l->get, render_lease);
}

void api_lease_get(struct http_req *r, void *arg)
{
    struct lease_get *l = http_alloc(r, sizeof(*l));
    memset(l, 0, sizeof(*l));
    l->r = r;
    l->api = api_of(arg);
    struct api_get *g = NULL;
    if (lease_param(r, &l->id) != 0 || (g = api_get_new(r, l->api, NULL)) == NULL) {
        return; /* answered: l is gone */
    }
    l->get = g;
    g->data = l;
    l->k.q.done = lease_asked;
    l->k.q.reply = worker_mailbox(http_worker(r));
    l->k.n = 1;
    l->k.ids = &l->id;
    l->k.out_ttl_ms = &l->ttl_ms;
    l->k.out_remaining_ms = &l->remaining_ms;
    l->k.is_query = 1;
    core_keepalive(l->api->core, &l->k, l->api->timeout_ms);
}

struct lease_list {
    struct api_page page;
    struct jw *w;
    struct view *v;
};

static int list_row(void *arg, const struct lease_row *row)
{
    struct lease_list *l = arg;
    int take = api_page_take(&l->page);
    if (take == 1) {
        int rc = lease_body(l->v, l->w, row, -1);
        return rc;
    }
    return take < 0;
}

static int render_list(struct api_get *g, struct view *v, struct buf *out, struct err *e)
{
    struct lease_list *l = g->data;
    struct jw w;
    (void)e;
    l->w = &w;
    l->v = v;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "leases");
    jw_arr(&w);
    int rc = view_leases(v, list_row, l);
    if (rc < 0) {
        return rc;
    }
    jw_end(&w);
    jw_key(&w, "page");
    jw_u64(&w, l->page.page);
    jw_key(&w, "limit");
    jw_u64(&w, l->page.limit);
    jw_key(&w, "more");
    jw_bool(&w, l->page.has_more);
    jw_end(&w);
    return 0;
}

void api_lease_list(struct http_req *r, void *arg)
{
    static const char *const known[] = {"limit", "page", NULL};
    struct lease_list *l = http_alloc(r, sizeof(*l));
    struct api_get *g;
    memset(l, 0, sizeof(*l));
    if (api_page(r, &l->page) != 0 || (g = api_get_new(r, api_of(arg), known)) == NULL) {
        return;
    }
    g->data = l;
    api_get_start(g, render_list);
}
