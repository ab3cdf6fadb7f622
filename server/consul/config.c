/* SPDX-License-Identifier: Apache-2.0 */
/* Config entries (https://developer.hashicorp.com/consul/api-docs/config): kept and told again.
 * They steer Consul's service mesh, which is not here. */
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "base/json_read.h"
#include "server/consul/change.h"
#include "server/consul/list.h"

#define ENTRIES SLICE_LIT("config-entry")

/* A record is called KIND/NAME. */
static const char *const kinds[] = {
    "service-defaults",    "proxy-defaults",     "service-router",
    "service-splitter",    "service-resolver",   "ingress-gateway",
    "terminating-gateway", "service-intentions", "mesh",
    "exported-services",   "sameness-group",     "api-gateway",
    "bound-api-gateway",   "inline-certificate", "http-route",
    "tcp-route",           "jwt-provider",       "control-plane-request-limit"};

int consul_config_is_kind(struct slice s)
{
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        if (slice_eq(s, slice_str(kinds[i]))) {
            return 1;
        }
    }
    return 0;
}

/* What speaks of the service that it is called after is read by who may read that. */
static int is_of_service(struct slice kind)
{
    const struct slice gateway = SLICE_LIT("-gateway");
    return slice_has_prefix(kind, SLICE_LIT("service-")) ||
           (kind.len > gateway.len &&
            memcmp(kind.p + kind.len - gateway.len, gateway.p, gateway.len) == 0);
}

/* How a service is called and reached is its own affair; the rest is the operator's. */
static int is_written_by_service(struct slice kind)
{
    static const char *const all[] = {"service-defaults", "service-router", "service-splitter",
                                      "service-resolver"};
    for (size_t i = 0; i < N_ELEMENTS(all); i++) {
        if (slice_eq(kind, slice_str(all[i]))) {
            return 1;
        }
    }
    return 0;
}

struct entry {
    struct slice kind, name; /* name empty: all of the kind */
    struct slice key, body;
    uint64_t expect;
    int has_cas;
};

static int may(struct consul_call *k, const struct entry *e, enum access_right right)
{
    if (right == ACCESS_READ) { /* of all of a kind, what he may not see is left out */
        return e->name.len == 0 || !is_of_service(e->kind) ||
               consul_may(k, ACCESS_SERVICE, e->name, right);
    }
    return is_written_by_service(e->kind)
               ? consul_may(k, ACCESS_SERVICE, e->name, right)
               : consul_may(k, ACCESS_OPERATOR, slice_of(NULL, 0), right);
}

static int check(struct consul_call *k, struct entry *e, enum access_right right)
{
    struct buf b;
    if (!consul_config_is_kind(e->kind)) {
        consul_text(k->r, right == ACCESS_READ ? 500 : 400, "%sinvalid config entry kind: %.*s",
                    right == ACCESS_READ ? "" : "Request decoding failed: ",
                    (int)(e->kind.len < 100 ? e->kind.len : 100), (const char *)e->kind.p);
        return -1;
    }
    if (e->name.len > KEY_NAME_MAX / 2) {
        consul_text(k->r, 400, "The name of a config entry has at most %d bytes", KEY_NAME_MAX / 2);
        return -1;
    }
    buf_init(&b);
    buf_append_slice(&b, e->kind);
    buf_append_byte(&b, '/');
    buf_append_slice(&b, e->name);
    e->key = consul_keep(k->r, buf_slice(&b));
    buf_fini(&b);
    return may(k, e, right) ? 0 : -1;
}

/* --- writing --- */

static struct slice take_text(struct consul_call *k, json_t *doc, const char *name)
{
    const char *key;
    json_t *v;
    json_object_foreach (doc, key, v) {
        if (strcasecmp(key, name) == 0 && json_is_string(v)) {
            return consul_keep(k->r, slice_of(json_string_value(v), json_string_length(v)));
        }
    }
    return slice_of(NULL, 0);
}

static int on_text(const char *p, size_t n, void *arg)
{
    buf_append(arg, p, n);
    return 0;
}

static void drop(json_t *doc, const char *name)
{
    const char *key;
    void *next;
    json_t *v;
    json_object_foreach_safe (doc, next, key, v) {
        if (strcasecmp(key, name) == 0) {
            (void)json_object_del(doc, key);
        }
    }
}

/* Kind and Name first, as Consul writes them; indexes are those of the record. */
static void normalize(struct consul_call *k, json_t *doc, struct entry *e)
{
    static const char *const own[] = {"Kind", "Name", "CreateIndex", "ModifyIndex"};
    struct jw w;
    struct buf b, rest;
    buf_init(&b);
    buf_init(&rest);
    for (size_t i = 0; i < N_ELEMENTS(own); i++) {
        drop(doc, own[i]);
    }
    jw_init(&w, &b);
    jw_obj(&w);
    jw_key(&w, "Kind");
    jw_slice(&w, e->kind);
    jw_key(&w, "Name");
    jw_slice(&w, e->name);
    jw_end(&w);
    (void)json_dump_callback(doc, on_text, &rest, JSON_COMPACT);
    if (rest.len > 2) {
        b.p[b.len - 1] = ',';
        buf_append(&b, rest.p + 1, rest.len - 1);
    }
    e->body = consul_keep(k->r, buf_slice(&b));
    buf_fini(&b);
    buf_fini(&rest);
}

static int read_entry(struct consul_call *k, struct entry *e)
{
    struct err err = {0};
    json_t *doc = NULL;
    if (jr_parse(http_body(k->r), &doc, &err) != 0 || !json_is_object(doc)) {
        jr_free(doc);
        consul_text(k->r, 400, "Request decoding failed: %s",
                    err.text[0] != '\0' ? err.text : "an object is expected");
        return -1;
    }
    e->kind = take_text(k, doc, "Kind");
    e->name = take_text(k, doc, "Name");
    normalize(k, doc, e);
    jr_free(doc);
    if (e->name.len == 0 && !slice_eq(e->kind, SLICE_LIT("mesh"))) {
        consul_text(k->r, 400, "Request decoding failed: Name is required");
        return -1;
    }
    if (slice_eq(e->kind, SLICE_LIT("proxy-defaults")) && !slice_eq(e->name, SLICE_LIT("global"))) {
        consul_text(k->r, 400, "invalid name (\"%.*s\"), only \"global\" is supported",
                    (int)(e->name.len < 100 ? e->name.len : 100), (const char *)e->name.p);
        return -1;
    }
    return 0;
}

static void written(struct consul_write *w)
{
    int rc = consul_change_outcome(w);
    if (rc >= 0) {
        consul_bool(w->r, rc);
    }
}

static void deleted(struct consul_write *w)
{
    const struct consul_change *h = w->data;
    int rc = consul_change_outcome(w);
    if (rc >= 0 && ((const struct entry *)h->data)->has_cas) {
        consul_bool(w->r, rc);
    } else if (rc >= 0) {
        consul_json(w->r, 200, SLICE_LIT("{}"));
    }
}

static int plan_put(struct consul_change *h, struct view *v)
{
    const struct entry *e = h->data;
    (void)v;
    if (e->has_cas) {
        consul_change_cas(h, ENTRIES, e->key, e->body, e->expect);
    } else {
        consul_change_set(h, ENTRIES, e->key, e->body);
    }
    return 0;
}

static int plan_delete(struct consul_change *h, struct view *v)
{
    const struct entry *e = h->data;
    (void)v;
    if (e->has_cas) {
        consul_change_delete_cas(h, ENTRIES, e->key, e->expect);
    } else {
        consul_change_delete(h, ENTRIES, e->key);
    }
    return 0;
}

static struct entry *entry_new(struct consul_call *k)
{
    struct entry *e = http_alloc(k->r, sizeof(*e));
    *e = (struct entry){.has_cas = consul_flag(k->r, "cas")};
    return consul_dc(k) == 0 && consul_u64(k->r, "cas", &e->expect) == 0 ? e : NULL;
}

void consul_config_put(struct consul_call *k)
{
    struct entry *e = entry_new(k);
    if (e != NULL && read_entry(k, e) == 0 && check(k, e, ACCESS_WRITE) == 0) {
        consul_change_start(consul_change_new(k, e), plan_put, written);
    }
}

/* KIND or KIND/NAME */
static void split(struct slice path, struct entry *e)
{
    const uint8_t *slash = path.len != 0 ? memchr(path.p, '/', path.len) : NULL;
    size_t n = slash != NULL ? (size_t)(slash - path.p) : path.len;
    e->kind = slice_of(path.p, n);
    e->name = slash != NULL ? slice_of(slash + 1, path.len - n - 1) : slice_of(NULL, 0);
}

void consul_config_delete(struct consul_call *k)
{
    struct entry *e = entry_new(k);
    if (e == NULL) {
        return;
    }
    split(k->rest, e);
    if (e->name.len == 0) {
        consul_text(k->r, 404, "Must provide both a kind and name to delete");
    } else if (check(k, e, ACCESS_WRITE) == 0) {
        consul_change_start(consul_change_new(k, e), plan_delete, deleted);
    }
}

/* --- reading --- */

struct entries {
    struct consul_read *g;
    const struct entry *e;
    struct jw w;
};

static int sees(struct consul_read *g, struct slice kind, struct slice name)
{
    return !is_of_service(kind) || consul_sees(g, ACCESS_SERVICE, name);
}

static int on_entry(void *arg, struct slice key, const struct record_row *row)
{
    struct entries *x = arg;
    size_t n = x->e->key.len;
    if (!slice_has_prefix(key, x->e->key)) {
        return 0;
    }
    list_raise(x->g, row->meta.mod_rev);
    if (!row->meta.is_deleted && sees(x->g, x->e->kind, slice_of(key.p + n, key.len - n))) {
        consul_record_show(&x->w, row);
    }
    return 0;
}

static int render_list(struct consul_read *g, struct view *v, struct buf *out)
{
    struct entries x = {.g = g, .e = g->data};
    g->index = view_compacted(v, SPACE_RECORD);
    jw_init(&x.w, out);
    jw_arr(&x.w);
    int rc = view_records(v, ENTRIES, on_entry, &x);
    jw_end(&x.w);
    return rc;
}

static int render_one(struct consul_read *g, struct view *v, struct buf *out)
{
    const struct entry *e = g->data;
    struct record_row row;
    struct jw w;
    int rc = sees(g, e->kind, e->name) ? view_record(v, ENTRIES, e->key, &row) : MU_E_DENIED;
    g->index = view_compacted(v, SPACE_RECORD);
    if (rc == MU_E_NOT_FOUND) {
        g->status = 404;
        g->content_type = "text/plain; charset=utf-8";
        g->index = view_revision(v);
        buf_printf(out, "Config entry not found for \"%.*s\" / \"%.*s\"", SLICE_FMT(e->kind),
                   SLICE_FMT(e->name));
        return 0;
    }
    if (rc == 0) {
        list_raise(g, row.meta.mod_rev);
        jw_init(&w, out);
        consul_record_show(&w, &row);
    }
    return rc;
}

void consul_config_get(struct consul_call *k)
{
    struct entry *e = http_alloc(k->r, sizeof(*e));
    *e = (struct entry){0};
    split(k->rest, e);
    if (check(k, e, ACCESS_READ) != 0) {
        return;
    }
    struct consul_read *g = consul_read_new(k);
    if (g != NULL) {
        g->data = e;
        consul_record_watch(g, ENTRIES);
        consul_read_start(g, e->name.len == 0 ? render_list : render_one);
    }
}
