/* SPDX-License-Identifier: Apache-2.0 */
/* The key-value store: user keys (https://developer.hashicorp.com/consul/api-docs/kv).
 *
 * Indexes are finer than Consul's. The index of a key that is not there is that of its deletion, of
 * an empty prefix that of the last deletion below it; what is forgotten of deletions is the least
 * it can be. So a creation always gives a larger one, and a write elsewhere wakes nobody. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/consul/consul_impl.h"
#include "storage/command/command.h"
#include "storage/view_kv.h"

struct kv_get {
    struct slice key, separator;
    struct key_range range;
    int is_tree, is_keys, is_raw;
    /* while rendering */
    struct jw w;
    struct buf last; /* of the keys that were folded */
    uint64_t index;
    size_t n;
    struct consul_read *g;
};

/* --- rendering --- */

void consul_kv_entry(struct jw *w, struct slice key, const struct user_row *row)
{
    jw_key(w, "LockIndex");
    jw_u64(w, row->lock_index);
    jw_key(w, "Key");
    jw_slice(w, key);
    jw_key(w, "Flags");
    jw_u64(w, row->flags);
    jw_key(w, "Value");
    if (row->value.len > 0) {
        jw_base64(w, row->value);
    } else {
        jw_null(w);
    }
    if (row->session.len != 0) {
        jw_key(w, "Session");
        jw_slice(w, row->session);
    }
    jw_key(w, "CreateIndex");
    jw_u64(w, row->meta.create_rev);
    jw_key(w, "ModifyIndex");
    jw_u64(w, row->meta.mod_rev);
}

/* The key up to the first separator behind the prefix, once. */
static void put_name(struct kv_get *q, struct slice key)
{
    struct slice rest = slice_of(key.p + q->key.len, key.len - q->key.len);
    const void *at =
        q->separator.len == 0 ? NULL : memmem(rest.p, rest.len, q->separator.p, q->separator.len);
    if (at != NULL) {
        size_t n = (size_t)((const uint8_t *)at - rest.p) + q->separator.len;
        key = slice_of(key.p, q->key.len + n);
        if (q->n > 0 && slice_eq(buf_slice(&q->last), key)) {
            return;
        }
    }
    buf_clear(&q->last);
    buf_append_slice(&q->last, key);
    q->n++;
    jw_slice(&q->w, key);
}

static int sees(struct kv_get *q, struct slice key)
{
    int needs_list = q->is_keys && access_has_key_list(q->g->c->access);
    int may = access_allows(q->g->who, ACCESS_KEY, key, needs_list ? ACCESS_LIST : ACCESS_READ);
    q->g->is_filtered |= !may;
    return may;
}

static int on_key(void *arg, struct slice key, const struct user_row *row)
{
    struct kv_get *q = arg;
    if (!q->is_tree && !slice_eq(key, q->key)) {
        return 1;
    }
    q->index = row->meta.mod_rev > q->index ? row->meta.mod_rev : q->index;
    if (row->meta.is_deleted || !sees(q, key)) {
        return !q->is_tree;
    }
    if (q->is_keys) {
        put_name(q, key);
        return 0;
    }
    q->n++;
    if (q->is_raw) {
        buf_append_slice(q->w.out, row->value);
    } else {
        jw_obj(&q->w);
        consul_kv_entry(&q->w, key, row);
        jw_end(&q->w);
    }
    return !q->is_tree;
}

static int render(struct consul_read *g, struct view *v, struct buf *out)
{
    struct kv_get *q = g->data;
    q->n = 0;
    q->g = g;
    q->index = view_compacted(v, SPACE_USER);
    buf_init(&q->last);
    jw_init(&q->w, out);
    if (!q->is_raw) {
        jw_arr(&q->w);
    }
    int rc = view_users(v, q->key, on_key, q);
    if (!q->is_raw) {
        jw_end(&q->w);
    }
    buf_fini(&q->last);
    g->index = q->index;
    if (q->n == 0 && !(q->is_keys && q->key.len == 0)) {
        buf_clear(out);
        g->status = 404;
    } else if (q->is_raw) {
        g->content_type = "text/plain";
        g->is_raw = 1;
    }
    return rc < 0 ? rc : 0;
}

/* One key is denied; of many, those are told that the caller may see. */
static int may_read(struct consul_call *k, const struct kv_get *q)
{
    if (!q->is_tree) {
        return consul_may(k, ACCESS_KEY, q->key, ACCESS_READ);
    }
    return !access_has_key_list(k->c->access) || consul_may(k, ACCESS_KEY, q->key, ACCESS_LIST);
}

void consul_kv_get(struct consul_call *k)
{
    struct kv_get *q = http_alloc(k->r, sizeof(*q));
    struct buf key;
    memset(q, 0, sizeof(*q));
    q->key = k->rest;
    q->is_keys = consul_flag(k->r, "keys");
    q->is_tree = q->is_keys || consul_flag(k->r, "recurse");
    q->is_raw = !q->is_tree && consul_flag(k->r, "raw");
    if (!http_query(k->r, "separator", &q->separator)) {
        (void)http_query(k->r, "seperator", &q->separator); /* as Consul takes it, too */
    }
    if (q->key.len == 0 && !q->is_tree) {
        consul_text(k->r, 400, "Missing key name");
        return;
    }
    if (!may_read(k, q)) {
        return;
    }
    struct consul_read *g = consul_read_new(k);
    if (g == NULL) {
        return; /* answered: the request is gone, and what it gave */
    }
    buf_init(&key);
    key_user(&key, q->key);
    uint8_t *p = http_alloc(k->r, key.len);
    memcpy(p, key.p, key.len);
    q->range = (struct key_range){.key = slice_of(p, key.len), .is_prefix = q->is_tree};
    buf_fini(&key);
    g->data = q;
    g->ranges = &q->range;
    g->n_ranges = 1;
    consul_read_start(g, render);
}

/* --- writing --- */

static void written(struct consul_write *w)
{
    int code = w->cw.result.code;
    const struct slice *session = w->data;
    if (code == MU_E_NO_SESSION && session != NULL) {
        consul_text(w->r, 500, "invalid session \"%.*s\"", SLICE_FMT(*session));
    } else if (code == 0 || code == MU_E_REVISION_MISMATCH || code == MU_E_EXISTS) {
        consul_bool(w->r, code == 0);
    } else {
        consul_fail(w->r, code, NULL);
    }
}

enum { PARAMS_MAX = 16 };

static int by_bytes(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* What is told again may be logged by whoever reads it. */
static int is_secret(struct slice param)
{
    return slice_has_prefix(param, SLICE_LIT("token="));
}

/* As Go's url.Values.Encode: sorted, each with a =. */
static void write_sorted(struct slice query, struct buf *out)
{
    struct slice all[PARAMS_MAX];
    size_t n = 0;
    while (query.len > 0 && n < PARAMS_MAX) {
        const uint8_t *end = memchr(query.p, '&', query.len);
        size_t len = end != NULL ? (size_t)(end - query.p) : query.len;
        all[n++] = is_secret(slice_of(query.p, len)) ? SLICE_LIT("token=<hidden>")
                                                     : slice_of(query.p, len);
        query = slice_of(query.p + len, query.len - len);
        query = slice_of(query.p + (query.len > 0), query.len - (query.len > 0));
    }
    qsort(all, n, sizeof(all[0]), by_bytes);
    for (size_t i = 0; i < n; i++) {
        buf_append(out, "&", i > 0);
        buf_append_slice(out, all[i]);
        buf_append(out, "=", all[i].len == 0 || memchr(all[i].p, '=', all[i].len) == NULL);
    }
}

/* At most one of these; the text ends as Consul's does. */
static int conflict(struct consul_call *k, const char *const *names, size_t n)
{
    size_t given = 0;
    for (size_t i = 0; i < n; i++) {
        given += (size_t)consul_flag(k->r, names[i]);
    }
    if (given < 2) {
        return 0;
    }
    struct buf b;
    buf_init(&b);
    write_sorted(http_query_raw(k->r), &b);
    consul_text(k->r, 400, "Conflicting flags: %.*s\n", (int)b.len, (const char *)b.p);
    buf_fini(&b);
    return -1;
}

static int check_key(struct consul_call *k, int may_be_empty)
{
    if (k->rest.len == 0 && !may_be_empty) {
        consul_text(k->r, 400, "Missing key name");
        return -1;
    }
    if (k->rest.len > KEY_USER_MAX) {
        consul_text(k->r, 400, "Key is too long: it has %zu bytes, at most %d are stored",
                    k->rest.len, KEY_USER_MAX);
        return -1;
    }
    return 0;
}

/* acquire= and release= carry the session. */
static int take_session(struct consul_call *k, struct op *o)
{
    struct slice s;
    const char *names[] = {"acquire", "release"};
    const enum op_type types[] = {OP_KEY_LOCK, OP_KEY_UNLOCK};
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        if (!http_query(k->r, names[i], &s)) {
            continue;
        }
        o->type = types[i];
        o->u.key.session = s;
        if (s.len != SESSION_ID_SIZE && s.len != 0 && types[i] == OP_KEY_UNLOCK) {
            consul_bool(k->r, 0); /* nobody holds it with that */
            return -1;
        }
        if (s.len != SESSION_ID_SIZE) {
            consul_text(k->r, 500, "%s",
                        s.len == 0
                            ? "missing session"
                            : "failed session lookup: index error: UUID must be 36 characters");
            return -1;
        }
    }
    return 0;
}

void consul_kv_put(struct consul_call *k)
{
    static const char *const exclusive[] = {"cas", "acquire", "release"};
    struct op o = {.type = OP_KEY_SET, .u.key = {.key = k->rest, .value = http_body(k->r)}};
    uint64_t cas = 0;
    if (consul_dc(k) != 0 || check_key(k, 0) != 0 ||
        conflict(k, exclusive, N_ELEMENTS(exclusive)) != 0 ||
        consul_u64(k->r, "flags", &o.u.key.flags) != 0 || consul_u64(k->r, "cas", &cas) != 0 ||
        take_session(k, &o) != 0 || !consul_may(k, ACCESS_KEY, k->rest, ACCESS_WRITE)) {
        return;
    }
    if (consul_flag(k->r, "cas")) {
        o.type = OP_KEY_CAS;
        o.expect = cas;
    }
    struct slice *session = http_alloc(k->r, sizeof(*session));
    *session = o.u.key.session;
    consul_write(k, &o, 1, 0, written, session);
}

void consul_kv_delete(struct consul_call *k)
{
    static const char *const exclusive[] = {"recurse", "cas"};
    struct op o = {.type = OP_KEY_DELETE, .u.key = {.key = k->rest}};
    int is_tree = consul_flag(k->r, "recurse");
    if (consul_dc(k) != 0 || check_key(k, is_tree) != 0 ||
        conflict(k, exclusive, N_ELEMENTS(exclusive)) != 0 ||
        consul_u64(k->r, "cas", &o.expect) != 0) {
        return;
    }
    if (is_tree ? !consul_may_all(k, ACCESS_KEY, k->rest, ACCESS_WRITE)
                : !consul_may(k, ACCESS_KEY, k->rest, ACCESS_WRITE)) {
        return;
    }
    if (is_tree) {
        o.type = OP_KEY_DELETE_TREE;
    } else if (consul_flag(k->r, "cas")) {
        o.type = OP_KEY_DELETE_CAS;
    }
    consul_write(k, &o, 1, 0, written, NULL);
}
