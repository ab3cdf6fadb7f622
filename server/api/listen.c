/* SPDX-License-Identifier: Apache-2.0 */
/* POST /configs:listen: one long-poll over many configs, answered with those that differ from what
 * the caller has. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "server/api/api_impl.h"

struct listen_item {
    struct config_name name;
    mu_rev rev; /* what the caller has; 0 = nothing */
};

struct listen {
    size_t n;
    struct listen_item *items;
    int64_t wait_ms;
};

static int parse_etag(struct slice s, mu_rev *out)
{
    *out = 0;
    if (s.len == 0) {
        return 0;
    }
    if (s.len < 3 || s.p[0] != '"' || s.p[s.len - 1] != '"') {
        return -1;
    }
    return text_u64(slice_of(s.p + 1, s.len - 2), UINT64_MAX, out);
}

static int listen_item(struct http_req *r, struct json_t *v, struct slice ns,
                       struct listen_item *out, struct err *e)
{
    struct jr j;
    jr_begin(&j, v, e);
    struct slice group = jr_str(&j, "group", 0);
    struct slice key = jr_str(&j, "key", 1);
    struct slice etag = jr_str(&j, "etag", 0);
    int rc = jr_end(&j);
    if (rc != 0) {
        return rc;
    }
    group = group.len == 0 ? SLICE_LIT("DEFAULT_GROUP") : group;
    if (!text_is_name(group, KEY_NAME_MAX) || !text_is_name(key, KEY_CONFIG_MAX)) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "group may have 1 to %d bytes, key 1 to %d, without control characters",
                       KEY_NAME_MAX, KEY_CONFIG_MAX);
    }
    if (parse_etag(etag, &out->rev) != 0) {
        return err_set(
            e, MU_E_BAD_REQUEST,
            "etag must be a quoted revision as the server gave it, or empty for an absent config");
    }
    out->name = (struct config_name){ns, api_keep(r, group), api_keep(r, key)};
    return 0;
}

static int listen_body(struct http_req *r, struct json_t *doc, struct slice ns, struct listen *l,
                       struct err *e)
{
    struct jr j;
    jr_begin(&j, doc, e);
    struct json_t *arr = jr_arr(&j, "configs", API_LISTEN_MAX);
    l->wait_ms = jr_duration(&j, "wait", 0, 0, API_WAIT_MAX_MS);
    int rc = jr_end(&j);
    if (rc != 0) {
        return rc;
    }
    if (arr == NULL || jr_arr_len(arr) == 0) {
        return err_set(e, MU_E_BAD_REQUEST, "\"configs\" must list 1 to %d configs",
                       API_LISTEN_MAX);
    }
    l->n = jr_arr_len(arr);
    l->items = http_alloc(r, l->n * sizeof(*l->items));
    for (size_t i = 0; i < l->n; i++) {
        if ((rc = listen_item(r, jr_arr_at(arr, i), ns, &l->items[i], e)) != 0) {
            return err_wrap(e, "configs[%zu]", i);
        }
    }
    return 0;
}

static void changed_json(struct jw *w, const struct listen_item *it, mu_rev now)
{
    char etag[32] = "";
    if (now != 0) {
        snprintf(etag, sizeof(etag), "\"%llu\"", (unsigned long long)now);
    }
    jw_obj(w);
    jw_key(w, "group");
    jw_slice(w, it->name.group);
    jw_key(w, "key");
    jw_slice(w, it->name.key);
    jw_key(w, "etag");
    jw_str(w, etag);
    jw_key(w, "deleted");
    jw_bool(w, now == 0);
    jw_end(w);
}

/* The flow of api_get parks while the ETag is the one asked for: "none" stands for "nothing
 * differs". */
static int render_listen(struct api_get *g, struct view *v, struct buf *out, struct err *e)
{
    struct listen *l = g->data;
    struct jw w;
    int n_changed = 0;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "changed");
    jw_arr(&w);
    for (size_t i = 0; i < l->n; i++) {
        struct config_row row;
        int rc = view_config_head(v, &l->items[i].name, 0, &row);
        if (rc != 0 && rc != MU_E_NOT_FOUND) {
            return err_set(e, rc, "%s", err_title(rc));
        }
        mu_rev now = rc == 0 ? row.meta.mod_rev : 0;
        if (now != l->items[i].rev) {
            changed_json(&w, &l->items[i], now);
            n_changed++;
        }
    }
    jw_end(&w);
    jw_end(&w);
    if (n_changed == 0) {
        snprintf(g->etag, sizeof(g->etag), "\"none\"");
    }
    return 0;
}

static void nothing_changed(struct api_get *g)
{
    http_respond(g->r, 200, "application/json", SLICE_LIT("{\"changed\":[]}"));
}

static void listen_ranges(struct http_req *r, struct api_get *g, const struct listen *l)
{
    struct buf key;
    buf_init(&key);
    g->ranges = http_alloc(r, l->n * sizeof(*g->ranges));
    g->n_ranges = l->n;
    for (size_t i = 0; i < l->n; i++) {
        buf_clear(&key);
        key_config(&key, &l->items[i].name);
        g->ranges[i] = (struct key_range){.key = api_keep(r, buf_slice(&key))};
    }
    buf_fini(&key);
}

static void listen_asks(struct http_req *r, struct api_get *g, const struct listen *l)
{
    struct api_ask *asks = http_alloc(r, l->n * sizeof(*asks));
    for (size_t i = 0; i < l->n; i++) {
        asks[i] = (struct api_ask){.kind = ACCESS_CONFIG,
                                   .name = api_config_rule_name(r, &l->items[i].name),
                                   .right = ACCESS_READ};
    }
    g->asks = asks;
    g->n_asks = l->n;
}

void api_config_listen(struct http_req *r, void *arg)
{
    struct listen *l = http_alloc(r, sizeof(*l));
    struct json_t *doc;
    struct slice ns;
    struct err e = {0};
    memset(l, 0, sizeof(*l));
    struct api_get *g = api_get_new(r, api_of(arg), NULL);
    if (g == NULL || api_namespace(r, &ns) != 0 || api_json_body(r, &doc) != 0) {
        return;
    }
    int rc = listen_body(r, doc, ns, l, &e);
    jr_free(doc);
    if (rc != 0) {
        api_fail(r, rc, &e);
        return;
    }
    if (access_is_enabled(g->api->access)) {
        listen_asks(r, g, l);
    }
    if (api_may(r, g->api, g->asks, g->n_asks) != 0) {
        return;
    }
    listen_ranges(r, g, l);
    g->data = l;
    g->wait_ms = l->wait_ms;
    g->has_if_none_match = 1;
    g->if_none_match = SLICE_LIT("\"none\"");
    g->no_answer = nothing_changed;
    api_get_start(g, render_listen);
}
