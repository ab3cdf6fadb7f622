/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions (https://developer.hashicorp.com/consul/api-docs/txn): operations on keys, all or
 * none, in one step of the log. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "base/json_read.h"
#include "base/mem.h"
#include "server/consul/consul_impl.h"
#include "storage/command/command.h"

enum { OPS_MAX = 128, WHAT_MAX = 512 };

static const struct verb {
    const char *name;
    enum op_type type;
    int is_told; /* its row stands in the answer */
} verbs[] = {
    {"set", OP_KEY_SET, 1},
    {"cas", OP_KEY_CAS, 1},
    {"lock", OP_KEY_LOCK, 1},
    {"unlock", OP_KEY_UNLOCK, 1},
    {"get", OP_KEY_GET, 1},
    {"get-or-empty", OP_KEY_GET_OR_EMPTY, 1},
    {"get-tree", OP_KEY_GET_TREE, 1},
    {"check-index", OP_KEY_CHECK_INDEX, 0},
    {"check-session", OP_KEY_CHECK_SESSION, 0},
    {"check-not-exists", OP_KEY_CHECK_ABSENT, 0},
    {"delete", OP_KEY_DELETE, 0},
    {"delete-tree", OP_KEY_DELETE_TREE, 0},
    {"delete-cas", OP_KEY_DELETE_CAS, 0},
};

/* All in the request's memory; what the operations name is copied out of the document. */
struct txn {
    struct http_req *r;
    size_t n;
    struct op *ops;
    const struct verb **verbs;
};

/* --- the body --- */

/* 0 = go on; else the fault was answered. */
static int refuse(struct txn *t, const char *what)
{
    consul_text(t->r, 400, "Failed to parse body: %s", what);
    return -1;
}

static int bad_type(struct txn *t, json_t *v, const char *name, const char *type)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "object",  [JSON_ARRAY] = "array", [JSON_STRING] = "string",
        [JSON_INTEGER] = "number", [JSON_REAL] = "number", [JSON_TRUE] = "bool",
        [JSON_FALSE] = "bool",     [JSON_NULL] = "null"};
    consul_text(t->r, 400,
                "Failed to parse body: json: cannot unmarshal %s into Go struct field "
                "TxnKVOp.%s of type %s",
                names[json_typeof(v)], name, type);
    return -1;
}

static int take_text(struct txn *t, json_t *v, const char *name, struct slice *out)
{
    if (json_is_null(v)) {
        return 0;
    }
    if (!json_is_string(v)) {
        return bad_type(t, v, name, "string");
    }
    uint8_t *p = http_alloc(t->r, json_string_length(v) + 1);
    memcpy(p, json_string_value(v), json_string_length(v));
    *out = slice_of(p, json_string_length(v));
    return 0;
}

static int take_u64(struct txn *t, json_t *v, const char *name, uint64_t *out)
{
    if (json_is_null(v)) {
        return 0;
    }
    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return bad_type(t, v, name, "uint64");
    }
    *out = (uint64_t)json_integer_value(v);
    return 0;
}

static int take_value(struct txn *t, json_t *v, struct slice *out)
{
    struct slice s = {0};
    size_t at = 0;
    if (take_text(t, v, "Value", &s) != 0) {
        return -1;
    }
    uint8_t *mem = http_alloc(t->r, s.len + 1);
    if (consul_text_base64(s, mem, out, &at) != 0) {
        consul_text(t->r, 400, "Failed to parse body: illegal base64 data at input byte %zu", at);
        return -1;
    }
    return 0;
}

static const struct verb *find_verb(struct slice name)
{
    for (size_t i = 0; i < N_ELEMENTS(verbs); i++) {
        if (slice_eq(name, slice_str(verbs[i].name))) {
            return &verbs[i];
        }
    }
    return NULL;
}

/* One member of a KV operation; names in any case, as Go's decoder takes them. */
static int take_member(struct txn *t, const char *name, json_t *v, struct op *o,
                       struct slice *io_verb)
{
    if (strcasecmp(name, "Verb") == 0) {
        return take_text(t, v, "Verb", io_verb);
    }
    if (strcasecmp(name, "Key") == 0) {
        return take_text(t, v, "Key", &o->u.key.key);
    }
    if (strcasecmp(name, "Session") == 0) {
        return take_text(t, v, "Session", &o->u.key.session);
    }
    if (strcasecmp(name, "Flags") == 0) {
        return take_u64(t, v, "Flags", &o->u.key.flags);
    }
    if (strcasecmp(name, "Index") == 0) {
        return take_u64(t, v, "Index", &o->expect);
    }
    if (strcasecmp(name, "Value") == 0) {
        return take_value(t, v, &o->u.key.value);
    }
    if (strcasecmp(name, "Namespace") == 0 || strcasecmp(name, "Partition") == 0) {
        return 0;
    }
    consul_text(t->r, 400, "Failed to parse body: json: unknown field \"%.100s\"", name);
    return -1;
}

static int check_op(struct txn *t, const struct op *o, const struct verb *v, struct slice verb)
{
    int is_tree = o->type == OP_KEY_GET_TREE || o->type == OP_KEY_DELETE_TREE;
    struct slice session = o->u.key.session;
    if (v == NULL) {
        consul_text(t->r, 400, "unknown KV verb \"%.*s\"", SLICE_FMT(verb));
        return -1;
    }
    if (o->u.key.key.len == 0 && !is_tree) {
        consul_text(t->r, 400, "Must provide key");
        return -1;
    }
    if (o->u.key.key.len > KEY_USER_MAX) {
        consul_text(t->r, 400, "Key is too long: it has %zu bytes, at most %d are stored",
                    o->u.key.key.len, KEY_USER_MAX);
        return -1;
    }
    if (o->u.key.value.len > CONSUL_BODY_MAX) {
        consul_text(t->r, 413, "Value for key \"%.*s\" is too large (%zu > %d bytes)",
                    SLICE_FMT(o->u.key.key), o->u.key.value.len, CONSUL_BODY_MAX);
        return -1;
    }
    int needs_session = o->type == OP_KEY_LOCK || o->type == OP_KEY_UNLOCK;
    if (session.len > SESSION_ID_SIZE || (needs_session && session.len != SESSION_ID_SIZE)) {
        consul_text(t->r, 500, "%s",
                    session.len == 0
                        ? "missing session"
                        : "failed session lookup: index error: UUID must be 36 characters");
        return -1;
    }
    return 0;
}

static int take_op(struct txn *t, json_t *item)
{
    struct op *o = &t->ops[t->n];
    struct slice verb = {0};
    const char *name;
    json_t *kv, *v;
    *o = (struct op){0};
    if (json_object_size(item) != 1) {
        return refuse(t, "an operation has exactly one of KV, Node, Service, Check");
    }
    json_object_foreach (item, name, kv) {
        if (strcasecmp(name, "KV") != 0 || !json_is_object(kv)) {
            return refuse(t, "only operations on keys are understood: {\"KV\": {...}}");
        }
        json_object_foreach (kv, name, v) {
            if (take_member(t, name, v, o, &verb) != 0) {
                return -1;
            }
        }
    }
    const struct verb *found = find_verb(verb);
    o->type = found != NULL ? found->type : 0;
    t->verbs[t->n++] = found;
    return check_op(t, o, found, verb);
}

static int take_document(struct txn *t, json_t *doc)
{
    size_t n = json_array_size(doc);
    if (!json_is_array(doc) || n == 0) {
        return refuse(t, "an array of operations is expected");
    }
    if (n > OPS_MAX) {
        consul_text(t->r, 413, "Transaction contains too many operations (%zu > %d)", n, OPS_MAX);
        return -1;
    }
    t->ops = http_alloc(t->r, n * sizeof(*t->ops));
    t->verbs = http_alloc(t->r, n * sizeof(*t->verbs));
    for (size_t i = 0; i < n; i++) {
        if (take_op(t, json_array_get(doc, i)) != 0) {
            return -1;
        }
    }
    return 0;
}

static int take_body(struct txn *t)
{
    struct err e = {0};
    json_t *doc = NULL;
    if (jr_parse(http_body(t->r), &doc, &e) != 0) {
        return refuse(t, e.text);
    }
    int rc = take_document(t, doc);
    jr_free(doc);
    return rc;
}

/* --- the answer --- */

static struct slice key_of(const struct txn_item *item)
{
    return item->key.len > 0 ? slice_of(item->key.p + 1, item->key.len - 1) : item->key;
}

static void result_json(struct jw *w, const struct txn_item *item)
{
    struct user_row row = {0};
    if (item->row.len > 0) {
        int rc = user_row_decode(item->row, &row);
        MU_INVARIANT(rc == 0);
    }
    jw_obj(w);
    jw_key(w, "KV");
    jw_obj(w);
    consul_kv_entry(w, key_of(item), &row);
    jw_end(w);
    jw_end(w);
}

/* Why an operation failed, in Consul's words. */
static void why(const struct op *o, const struct txn_item *item, char out[WHAT_MAX])
{
    struct slice key = o->u.key.key, session = o->u.key.session;
    int code = item->code;
    if (code == MU_E_NO_SESSION) {
        (void)snprintf(out, WHAT_MAX, "invalid session \"%.*s\"", SLICE_FMT(session));
    } else if (code == MU_E_NOT_FOUND) {
        (void)snprintf(out, WHAT_MAX, "key \"%.*s\" doesn't exist", SLICE_FMT(key));
    } else if (o->type == OP_KEY_CHECK_ABSENT) {
        (void)snprintf(out, WHAT_MAX, "key \"%.*s\" exists", SLICE_FMT(key));
    } else if (o->type == OP_KEY_CAS) {
        (void)snprintf(out, WHAT_MAX, "failed to set key \"%.*s\", index is stale", SLICE_FMT(key));
    } else if (o->type == OP_KEY_DELETE_CAS) {
        (void)snprintf(out, WHAT_MAX, "failed to delete key \"%.*s\", index is stale",
                       SLICE_FMT(key));
    } else if (o->type == OP_KEY_CHECK_INDEX) {
        (void)snprintf(
            out, WHAT_MAX, "failed index check for key \"%.*s\", current modify index %llu != %llu",
            SLICE_FMT(key), (unsigned long long)item->mod_rev, (unsigned long long)o->expect);
    } else if (o->type == OP_KEY_CHECK_SESSION) {
        (void)snprintf(out, WHAT_MAX, "failed session check for key \"%.*s\", it is not \"%.*s\"",
                       SLICE_FMT(key), SLICE_FMT(session));
    } else if (o->type == OP_KEY_LOCK) {
        (void)snprintf(out, WHAT_MAX, "failed to lock key \"%.*s\", lock is already held",
                       SLICE_FMT(key));
    } else if (o->type == OP_KEY_UNLOCK) {
        (void)snprintf(
            out, WHAT_MAX,
            "failed to unlock key \"%.*s\", lock isn't held, or is held by another session",
            SLICE_FMT(key));
    } else {
        (void)snprintf(out, WHAT_MAX, "%s", err_title(code));
    }
}

static void error_json(struct jw *w, const struct op *o, const struct txn_item *item)
{
    char what[WHAT_MAX];
    why(o, item, what);
    jw_obj(w);
    jw_key(w, "OpIndex");
    jw_u64(w, item->op);
    jw_key(w, "What");
    jw_str(w, what);
    jw_end(w);
}

static void items_json(struct jw *w, const struct consul_write *x, int is_refused)
{
    const struct txn *t = x->data;
    struct slice rest = x->cw.result.detail;
    struct txn_item item;
    jw_arr(w);
    while (txn_item_next(&rest, &item)) {
        MU_INVARIANT(item.op < t->n);
        if (is_refused) {
            error_json(w, &t->ops[item.op], &item);
        } else if (t->verbs[item.op]->is_told) {
            result_json(w, &item);
        }
    }
    jw_end(w);
}

static void written(struct consul_write *x)
{
    int is_refused = x->cw.result.code != 0;
    struct buf out;
    struct jw w;
    buf_init(&out);
    jw_init(&w, &out);
    jw_obj(&w);
    jw_key(&w, "Results");
    if (is_refused) {
        jw_null(&w);
        jw_key(&w, "Errors");
        items_json(&w, x, 1);
    } else {
        items_json(&w, x, 0);
        jw_key(&w, "Errors");
        jw_null(&w);
    }
    jw_end(&w);
    consul_json(x->r, is_refused ? 409 : 200, buf_slice(&out));
    buf_fini(&out);
}

void consul_txn(struct consul_call *k)
{
    struct txn *t = http_alloc(k->r, sizeof(*t));
    *t = (struct txn){.r = k->r};
    if (consul_dc(k) == 0 && take_body(t) == 0) {
        consul_write(k, t->ops, t->n, 1, written, t);
    }
}
