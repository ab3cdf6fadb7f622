/* SPDX-License-Identifier: Apache-2.0 */
/* Configs: put, get, delete, history, diff, rollback, list. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"
#include "server/api/api_impl.h"
#include "server/api/diff.h"

/* What a config route is about. In the request's arena. */
struct config_req {
    struct config_name name;
    mu_rev rev, from, to, before;
    uint64_t limit;
    struct buf key; /* logical key; in the arena */
};

static int config_name(struct http_req *r, struct config_name *out)
{
    out->group = http_param(r, "group");
    out->key = http_param(r, "key");
    if (api_namespace(r, &out->ns) != 0 || api_name(r, out->group, "group", KEY_NAME_MAX) != 0) {
        return -1;
    }
    return api_name(r, out->key, "config key", KEY_CONFIG_MAX);
}

static struct slice config_what(struct http_req *r, const struct config_name *n)
{
    return api_text(r, "config %.*s/%.*s", SLICE_FMT(n->group),
                    (int)(n->key.len < 120 ? n->key.len : 120), (const char *)n->key.p);
}

/* Query parameter as a revision; 0 when absent. */
static int query_rev(struct http_req *r, const char *name, mu_rev *out)
{
    struct slice s;
    *out = 0;
    if (http_query(r, name, &s) && (text_u64(s, UINT64_MAX, out) != 0 || *out == 0)) {
        http_respond_error(r, MU_E_BAD_REQUEST, "%s must be a revision, a number from 1", name);
        return -1;
    }
    return 0;
}

static int config_error(struct api_get *g, const struct config_name *n, int rc, mu_rev rev,
                        struct err *e)
{
    struct slice what = config_what(g->r, n);
    switch (rc) {
    case MU_E_NOT_FOUND:
        return err_set(e, rc, "%.*s does not exist%s", SLICE_FMT(what),
                       rev != 0 ? " at that revision" : "");
    case MU_E_COMPACTED:
        return err_set(e, rc, "revision %llu of %.*s is no longer kept", (unsigned long long)rev,
                       SLICE_FMT(what));
    case MU_E_FUTURE_REVISION:
        return err_set(e, rc, "revision %llu is not written yet", (unsigned long long)rev);
    default:
        return rc;
    }
}

/* --- rendering --- */

static void digest_json(struct jw *w, const uint8_t digest[32])
{
    char hex[65];
    hash_hex(digest, 32, hex);
    jw_key(w, "digest");
    jw_str(w, hex);
}

static void time_json(struct jw *w, int64_t ms)
{
    char t[32];
    text_format_time(ms, t);
    jw_key(w, "time");
    jw_str(w, t);
}

static void tags_json(struct jw *w, struct slice tags)
{
    jw_key(w, "tags");
    jw_arr(w);
    while (tags.len > 0) {
        const uint8_t *comma = memchr(tags.p, ',', tags.len);
        size_t n = comma != NULL ? (size_t)(comma - tags.p) : tags.len;
        if (n > 0) {
            jw_slice(w, slice_of(tags.p, n));
        }
        n += comma != NULL;
        tags = slice_of(tags.p + n, tags.len - n);
    }
    jw_end(w);
}

static void member_slice(struct jw *w, const char *key, struct slice v)
{
    jw_key(w, key);
    jw_slice(w, v);
}

static void member_u64(struct jw *w, const char *key, uint64_t v)
{
    jw_key(w, key);
    jw_u64(w, v);
}

void api_config_json(struct jw *w, const struct config_name *n, const struct config_row *row,
                     int with_ns)
{
    if (with_ns) {
        member_slice(w, "namespace", n->ns);
    }
    member_slice(w, "group", n->group);
    member_slice(w, "key", n->key);
    member_u64(w, "revision", row->meta.mod_rev);
    member_u64(w, "version", row->meta.version);
    member_slice(w, "content_type", row->content_type);
    member_u64(w, "size", row->content.len);
    digest_json(w, row->digest);
    member_slice(w, "description", row->description);
    tags_json(w, row->tags);
    member_slice(w, "author", row->author);
    time_json(w, row->meta.time_ms);
}

/* --- get --- */

static int render_config(struct api_get *g, struct view *v, struct buf *out, struct err *e)
{
    struct config_req *q = g->data;
    struct config_row row;
    char hex[65], modified[40];
    int rc = view_config(v, &q->name, q->rev, &row);
    if (rc != 0) {
        return config_error(g, &q->name, rc, q->rev, e);
    }
    snprintf(g->etag, sizeof(g->etag), "\"%llu\"", (unsigned long long)row.meta.mod_rev);
    /* A match is answered or parked by the caller: then nothing more is said. */
    if (g->has_if_none_match && q->rev == 0 && slice_eq(g->if_none_match, slice_str(g->etag))) {
        return 0;
    }
    hash_hex(row.digest, 32, hex);
    http_add_header_u64(g->r, "Muster-Version", row.meta.version);
    http_add_header(g->r, "Muster-Digest", hex);
    time_t t = (time_t)(row.meta.time_ms / 1000);
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(modified, sizeof(modified), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    http_add_header(g->r, "Last-Modified", modified);
    g->content_type = (const char *)api_keep(g->r, row.content_type).p;
    buf_append_slice(out, row.content);
    return 0;
}

static void watch_config(struct api_get *g, struct config_req *q)
{
    struct key_range *range = http_alloc(g->r, sizeof(*range));
    struct buf key;
    buf_init(&key);
    key_config(&key, &q->name);
    *range = (struct key_range){.key = api_keep(g->r, buf_slice(&key))};
    buf_fini(&key);
    g->ranges = range;
    g->n_ranges = 1;
}

void api_config_get(struct http_req *r, void *arg)
{
    static const char *const known[] = {"revision", NULL};
    struct config_req *q = http_alloc(r, sizeof(*q));
    struct api_get *g;
    memset(q, 0, sizeof(*q));
    if (config_name(r, &q->name) != 0 || query_rev(r, "revision", &q->rev) != 0 ||
        (g = api_get_new(r, api_of(arg), known)) == NULL) {
        return;
    }
    g->data = q;
    if (q->rev == 0 && g->wait_ms > 0) {
        watch_config(g, q);
    }
    api_get_start(g, render_config);
}

/* --- put --- */

static void put_written(struct api_write *w)
{
    const struct command_result *res = &w->cw.result;
    const struct cmd_config_put *p = w->data;
    struct buf *out = http_scratch(w->r);
    struct jw j;
    char etag[32];
    jw_init(&j, out);
    jw_obj(&j);
    member_slice(&j, "namespace", p->name.ns);
    member_slice(&j, "group", p->name.group);
    member_slice(&j, "key", p->name.key);
    member_u64(&j, "revision", res->mod_rev);
    member_u64(&j, "version", res->version);
    member_u64(&j, "create_revision", res->create_rev);
    digest_json(&j, p->digest);
    member_slice(&j, "content_type", p->content_type);
    member_u64(&j, "size", p->content.len);
    jw_end(&j);
    snprintf(etag, sizeof(etag), "\"%llu\"", (unsigned long long)res->mod_rev);
    http_add_header(w->r, "ETag", etag);
    http_respond(w->r, res->is_created ? 201 : 200, "application/json", buf_slice(out));
}

static int put_text(struct http_req *r, const char *name, size_t max, struct slice *out)
{
    *out = api_query_or(r, name, "");
    if (out->len > max || !text_is_utf8(*out)) {
        http_respond_error(r, MU_E_BAD_REQUEST, "%s must be UTF-8 of at most %zu bytes", name, max);
        return -1;
    }
    return 0;
}

static int put_content_type(struct http_req *r, struct slice *out)
{
    if (!http_header(r, "content-type", out) || out->len == 0) {
        *out = SLICE_LIT("text/plain");
    }
    if (out->len > 256) {
        http_respond_error(r, MU_E_BAD_REQUEST, "Content-Type must be at most 256 bytes");
        return -1;
    }
    return 0;
}

static int put_fill(struct http_req *r, struct cmd_config_put *p)
{
    p->content = http_body(r);
    if (config_name(r, &p->name) != 0 || put_content_type(r, &p->content_type) != 0 ||
        put_text(r, "comment", 1024, &p->comment) != 0 ||
        put_text(r, "author", 256, &p->author) != 0 ||
        put_text(r, "description", 1024, &p->description) != 0 ||
        put_text(r, "tags", 1024, &p->tags) != 0 || api_cas(r, &p->cas, &p->expect) != 0) {
        return -1;
    }
    hash_sha256(p->content.p, p->content.len, p->digest);
    return 0;
}

void api_config_put(struct http_req *r, void *arg)
{
    static const char *const known[] = {"namespace",   "comment", "author",
                                        "description", "tags",    NULL};
    struct command cmd;
    struct cmd_config_put *p = http_alloc(r, sizeof(*p));
    if (api_known_query(r, known) != 0 || put_fill(r, p) != 0 || api_request_id(r, &cmd) != 0) {
        return;
    }
    cmd.type = CMD_CONFIG_PUT;
    cmd.wall_ms = 0;
    cmd.u.config_put = *p;
    api_write(r, api_of(arg), &cmd, put_written, p, config_what(r, &p->name));
}

/* --- delete --- */

static void deleted(struct api_write *w)
{
    http_respond(w->r, 204, NULL, (struct slice){0});
}

void api_config_delete(struct http_req *r, void *arg)
{
    static const char *const known[] = {"namespace", NULL};
    struct command cmd;
    struct cmd_config_delete d = {0};
    if (api_known_query(r, known) != 0 || config_name(r, &d.name) != 0 ||
        api_cas(r, &d.cas, &d.expect) != 0 || api_request_id(r, &cmd) != 0) {
        return;
    }
    cmd.type = CMD_CONFIG_DELETE;
    cmd.wall_ms = 0;
    cmd.u.config_delete = d;
    api_write(r, api_of(arg), &cmd, deleted, NULL, config_what(r, &d.name));
}

/* --- history --- */

struct history {
    struct jw *w;
    uint64_t left;
    mu_rev last;
    int has_more;
};

static int history_row(void *arg, const struct config_name *n, const struct config_row *row)
{
    struct history *h = arg;
    (void)n;
    if (h->left == 0) {
        h->has_more = 1;
        return 1;
    }
    h->left--;
    h->last = row->meta.mod_rev;
    jw_obj(h->w);
    member_u64(h->w, "revision", row->meta.mod_rev);
    member_u64(h->w, "version", row->meta.version);
    jw_key(h->w, "deleted");
    jw_bool(h->w, row->meta.is_deleted);
    digest_json(h->w, row->digest);
    member_slice(h->w, "content_type", row->content_type);
    member_u64(h->w, "size", row->content.len);
    member_slice(h->w, "author", row->author);
    member_slice(h->w, "comment", row->comment);
    time_json(h->w, row->meta.time_ms);
    jw_end(h->w);
    return 0;
}

static int render_history(struct api_get *g, struct view *v, struct buf *out, struct err *e)
{
    struct config_req *q = g->data;
    struct jw w;
    struct history h = {.w = &w, .left = q->limit};
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "versions");
    jw_arr(&w);
    int rc = view_config_history(v, &q->name, q->before, history_row, &h);
    if (rc < 0) {
        return config_error(g, &q->name, rc, q->before, e);
    }
    if (h.left == q->limit && q->before == 0) {
        return config_error(g, &q->name, MU_E_NOT_FOUND, 0, e);
    }
    jw_end(&w);
    jw_key(&w, "next");
    if (h.has_more) {
        jw_u64(&w, h.last);
    } else {
        jw_null(&w);
    }
    jw_end(&w);
    return 0;
}

void api_config_history(struct http_req *r, void *arg)
{
    static const char *const known[] = {"limit", "before", NULL};
    struct config_req *q = http_alloc(r, sizeof(*q));
    struct api_page page;
    struct api_get *g;
    memset(q, 0, sizeof(*q));
    if (config_name(r, &q->name) != 0 || query_rev(r, "before", &q->before) != 0 ||
        api_page(r, &page) != 0 || (g = api_get_new(r, api_of(arg), known)) == NULL) {
        return;
    }
    q->limit = page.limit;
    g->data = q;
    watch_config(g, q);
    api_get_start(g, render_history);
}

/* --- diff --- */

static int render_diff(struct api_get *g, struct view *v, struct buf *out, struct err *e)
{
    struct config_req *q = g->data;
    struct config_row from, to;
    char label_from[64], label_to[64];
    int rc = view_config(v, &q->name, q->from, &from);
    if (rc != 0) {
        return config_error(g, &q->name, rc, q->from, e);
    }
    if ((rc = view_config(v, &q->name, q->to, &to)) != 0) {
        return config_error(g, &q->name, rc, q->to, e);
    }
    snprintf(label_from, sizeof(label_from), "revision %llu",
             (unsigned long long)from.meta.mod_rev);
    snprintf(label_to, sizeof(label_to), "revision %llu", (unsigned long long)to.meta.mod_rev);
    g->content_type = "text/x-diff; charset=utf-8";
    diff_unified(from.content, to.content, label_from, label_to, out);
    return 0;
}

void api_config_diff(struct http_req *r, void *arg)
{
    static const char *const known[] = {"from", "to", NULL};
    struct config_req *q = http_alloc(r, sizeof(*q));
    struct api_get *g;
    memset(q, 0, sizeof(*q));
    if (config_name(r, &q->name) != 0 || query_rev(r, "from", &q->from) != 0 ||
        query_rev(r, "to", &q->to) != 0) {
        return;
    }
    if (q->from == 0) {
        http_respond_error(r, MU_E_BAD_REQUEST,
                           "diff needs ?from=REVISION (and ?to=REVISION, default the current one)");
        return;
    }
    if ((g = api_get_new(r, api_of(arg), known)) != NULL) {
        g->data = q;
        api_get_start(g, render_diff);
    }
}

/* --- rollback --- */

struct rollback {
    struct http_req *r;
    struct api *api;
    struct core_read gate;
    mu_rev revision;
    struct cmd_config_put put;
    struct command head; /* request id only */
};

static void rollback_read(struct core_request *q)
{
    struct rollback *b = CONTAINER_OF(q, struct rollback, gate.q);
    struct config_row row;
    struct command cmd;
    if (q->code != 0) {
        api_fail(b->r, q->code, &q->err);
        return;
    }
    struct view *v = view_open(core_store(b->api->core));
    int rc = view_config(v, &b->put.name, b->revision, &row);
    if (rc != 0) {
        view_close(v);
        http_respond_error(b->r, rc, "%.*s has no revision %llu to go back to",
                           SLICE_FMT(config_what(b->r, &b->put.name)),
                           (unsigned long long)b->revision);
        return;
    }
    b->put.content = api_keep(b->r, row.content);
    b->put.content_type = api_keep(b->r, row.content_type);
    b->put.description = api_keep(b->r, row.description);
    b->put.tags = api_keep(b->r, row.tags);
    memcpy(b->put.digest, row.digest, sizeof(row.digest));
    view_close(v);
    cmd.type = CMD_CONFIG_PUT;
    cmd.wall_ms = 0;
    cmd.has_request_id = b->head.has_request_id;
    memcpy(cmd.request_id, b->head.request_id, sizeof(cmd.request_id));
    cmd.u.config_put = b->put;
    api_write(b->r, b->api, &cmd, put_written, &b->put, config_what(b->r, &b->put.name));
}

static int rollback_body(struct http_req *r, struct rollback *b)
{
    struct json_t *doc;
    struct err e = {0};
    struct jr j;
    if (api_json_body(r, &doc) != 0) {
        return -1;
    }
    jr_begin(&j, doc, &e);
    if (!jr_has(&j, "revision")) {
        err_set(&e, MU_E_BAD_REQUEST, "\"revision\" is missing: the revision to go back to");
    }
    b->revision = (mu_rev)jr_int(&j, "revision", 0, 1, INT64_MAX);
    b->put.comment = api_keep(r, jr_str(&j, "comment", 0));
    b->put.author = api_keep(r, jr_str(&j, "author", 0));
    int rc = jr_end(&j);
    jr_free(doc);
    if (rc == 0 && (b->put.comment.len > 1024 || b->put.author.len > 256)) {
        rc = err_set(&e, MU_E_BAD_REQUEST, "comment may have 1024 bytes, author 256");
    }
    if (rc == 0 && b->put.comment.len == 0) {
        b->put.comment = api_text(r, "rollback to revision %llu", (unsigned long long)b->revision);
    }
    if (rc != 0) {
        api_fail(r, rc, &e);
    }
    return rc;
}

void api_config_rollback(struct http_req *r, void *arg)
{
    static const char *const known[] = {"namespace", NULL};
    struct rollback *b = http_alloc(r, sizeof(*b));
    memset(b, 0, sizeof(*b));
    b->r = r;
    b->api = api_of(arg);
    if (api_known_query(r, known) != 0 || config_name(r, &b->put.name) != 0 ||
        api_cas(r, &b->put.cas, &b->put.expect) != 0 || api_request_id(r, &b->head) != 0 ||
        rollback_body(r, b) != 0) {
        return;
    }
    b->gate.q.done = rollback_read;
    b->gate.q.reply = worker_mailbox(http_worker(r));
    core_read_gate(b->api->core, &b->gate, READ_LINEAR, b->api->timeout_ms);
}

/* --- list --- */

struct config_list {
    struct slice ns, group, prefix, search;
    struct api_page page;
    struct jw *w;
};

static int contains(struct slice s, struct slice what)
{
    return what.len == 0 || (s.len > 0 && memmem(s.p, s.len, what.p, what.len) != NULL);
}

static int list_row(void *arg, const struct config_name *n, const struct config_row *row)
{
    struct config_list *l = arg;
    /* Without a group the scan runs over all groups, and the key prefix is looked at here. */
    if (!slice_has_prefix(n->key, l->prefix) ||
        (!contains(n->key, l->search) && !contains(row->description, l->search))) {
        return 0;
    }
    int take = api_page_take(&l->page);
    if (take == 1) {
        jw_obj(l->w);
        api_config_json(l->w, n, row, 0);
        jw_end(l->w);
    }
    return take < 0;
}

static int render_list(struct api_get *g, struct view *v, struct buf *out, struct err *e)
{
    struct config_list *l = g->data;
    struct jw w;
    struct slice scan_prefix = l->group.len != 0 ? l->prefix : (struct slice){0};
    (void)e;
    l->w = &w;
    l->page.seen = 0;
    l->page.has_more = 0;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "configs");
    jw_arr(&w);
    int rc = view_configs(v, l->ns, l->group, scan_prefix, list_row, l);
    if (rc < 0) {
        return rc;
    }
    jw_end(&w);
    member_u64(&w, "page", l->page.page);
    member_u64(&w, "limit", l->page.limit);
    jw_key(&w, "more");
    jw_bool(&w, l->page.has_more);
    jw_end(&w);
    return 0;
}

void api_config_list(struct http_req *r, void *arg)
{
    static const char *const known[] = {"group", "prefix", "search", "limit", "page", NULL};
    struct config_list *l = http_alloc(r, sizeof(*l));
    struct api_get *g;
    memset(l, 0, sizeof(*l));
    l->group = api_query_or(r, "group", "");
    l->prefix = api_query_or(r, "prefix", "");
    l->search = api_query_or(r, "search", "");
    if (api_namespace(r, &l->ns) != 0 || api_page(r, &l->page) != 0) {
        return;
    }
    if (l->group.len > KEY_NAME_MAX || l->prefix.len > KEY_CONFIG_MAX ||
        l->search.len > KEY_CONFIG_MAX) {
        http_respond_error(r, MU_E_BAD_REQUEST, "group may have %d bytes, prefix and search %d",
                           KEY_NAME_MAX, KEY_CONFIG_MAX);
        return;
    }
    if ((g = api_get_new(r, api_of(arg), known)) == NULL) {
        return;
    }
    struct key_range *range = http_alloc(r, sizeof(*range));
    struct buf key;
    buf_init(&key);
    key_config_prefix(&key, l->ns, l->group, l->group.len != 0 ? l->prefix : (struct slice){0});
    *range = (struct key_range){.key = api_keep(r, buf_slice(&key)), .is_prefix = 1};
    buf_fini(&key);
    g->ranges = range;
    g->n_ranges = 1;
    g->data = l;
    api_get_start(g, render_list);
}
