/* SPDX-License-Identifier: Apache-2.0 */
/* What a transaction came to. */
#include <stdio.h>

#include "base/err.h"
#include "server/consul/show.h"
#include "server/consul/txn.h"

/* --- results --- */

static int is_read(const struct op *o)
{
    return o->type == OP_KEY_GET || o->type == OP_KEY_GET_OR_EMPTY || o->type == OP_KEY_GET_TREE ||
           o->type == OP_NODE_GET || o->type == OP_SERVICE_GET || o->type == OP_CHECK_GET;
}

static struct slice key_of(const struct txn_item *item)
{
    return item->key.len > 0 ? slice_of(item->key.p + 1, item->key.len - 1) : item->key;
}

struct answer {
    const struct txn *t;
    struct jw *w;
    struct view *v; /* for the tags of checks */
    struct show s;
};

static void begin(struct answer *a, const char *what)
{
    jw_obj(a->w);
    jw_key(a->w, what);
    jw_obj(a->w);
}

static void end(struct answer *a)
{
    jw_end(a->w);
    jw_end(a->w);
}

static void key_result(struct answer *a, const struct op *o, const struct txn_item *item)
{
    struct user_row row = {0};
    int rc = item->row.len > 0 ? user_row_decode(item->row, &row) : 0;
    MU_INVARIANT(rc == 0);
    if (!is_read(o) || access_allows(a->t->k->who, ACCESS_KEY, key_of(item), ACCESS_READ)) {
        begin(a, "KV");
        consul_kv_entry(a->w, key_of(item), &row);
        end(a);
    }
}

static void node_result(struct answer *a, const struct txn_item *item)
{
    struct node_row row;
    struct slice name;
    int rc = key_parse_node(item->key, &name);
    rc = rc != 0 ? rc : node_row_decode(item->row, &row);
    MU_INVARIANT(rc == 0);
    if (access_allows(a->t->k->who, ACCESS_NODE, name, ACCESS_READ)) {
        begin(a, "Node");
        show_node(a->w, &a->s, name, &row);
        end(a);
    }
}

static void service_result(struct answer *a, const struct txn_item *item)
{
    struct instance_row row;
    struct instance_name n;
    int rc = key_parse_instance(item->key, &n);
    rc = rc != 0 ? rc : instance_row_decode(item->row, &row);
    MU_INVARIANT(rc == 0);
    if (access_allows(a->t->k->who, ACCESS_SERVICE, n.service, ACCESS_READ)) {
        begin(a, "Service");
        show_service(a->w, &a->s, &n, &row, 0);
        end(a);
    }
}

static void check_result(struct answer *a, const struct txn_item *item)
{
    struct check_row row;
    struct check_name n;
    int rc = key_parse_check(item->key, &n);
    rc = rc != 0 ? rc : check_row_decode(item->row, &row);
    MU_INVARIANT(rc == 0);
    int may = access_allows(a->t->k->who, ACCESS_NODE, n.node, ACCESS_READ) &&
              (n.service_id.len == 0 ||
               access_allows(a->t->k->who, ACCESS_SERVICE, row.service_name, ACCESS_READ));
    if (may) {
        begin(a, "Check");
        show_check(a->w, &a->s, a->v, &n, &row);
        end(a);
    }
}

static void result(struct answer *a, const struct txn_item *item)
{
    const struct txn_verb *verb = a->t->verbs[item->op];
    if (!verb->is_told) {
        return;
    }
    switch (verb->space) {
    case TXN_KV:
        key_result(a, &a->t->ops[item->op], item);
        return;
    case TXN_NODE:
        node_result(a, item);
        return;
    case TXN_SERVICE:
        service_result(a, item);
        return;
    default:
        check_result(a, item);
        return;
    }
}

/* --- errors, in Consul's words --- */

static void why_key(const struct op *o, const struct txn_item *item, char out[TXN_WHAT_MAX])
{
    struct slice key = o->u.key.key, session = o->u.key.session;
    int code = item->code;
    if (code == MU_E_NO_SESSION && session.len != SESSION_ID_SIZE) {
        (void)snprintf(out, TXN_WHAT_MAX, "%s",
                       session.len == 0
                           ? "missing session"
                           : "failed session lookup: index error: UUID must be 36 characters");
    } else if (code == MU_E_NO_SESSION) {
        (void)snprintf(out, TXN_WHAT_MAX, "invalid session \"%.*s\"", SLICE_FMT(session));
    } else if (code == MU_E_NOT_FOUND) {
        (void)snprintf(out, TXN_WHAT_MAX, "key \"%.*s\" doesn't exist", SLICE_FMT(key));
    } else if (o->type == OP_KEY_CHECK_ABSENT) {
        (void)snprintf(out, TXN_WHAT_MAX, "key \"%.*s\" exists", SLICE_FMT(key));
    } else if (o->type == OP_KEY_CAS) {
        (void)snprintf(out, TXN_WHAT_MAX, "failed to set key \"%.*s\", index is stale",
                       SLICE_FMT(key));
    } else if (o->type == OP_KEY_DELETE_CAS) {
        (void)snprintf(out, TXN_WHAT_MAX, "failed to delete key \"%.*s\", index is stale",
                       SLICE_FMT(key));
    } else if (o->type == OP_KEY_CHECK_INDEX) {
        (void)snprintf(out, TXN_WHAT_MAX,
                       "failed index check for key \"%.*s\", current modify index %llu != %llu",
                       SLICE_FMT(key), (unsigned long long)item->mod_rev,
                       (unsigned long long)o->expect);
    } else if (o->type == OP_KEY_CHECK_SESSION) {
        (void)snprintf(out, TXN_WHAT_MAX,
                       "failed session check for key \"%.*s\", it is not \"%.*s\"", SLICE_FMT(key),
                       SLICE_FMT(session));
    } else if (o->type == OP_KEY_LOCK) {
        (void)snprintf(out, TXN_WHAT_MAX, "failed to lock key \"%.*s\", lock is already held",
                       SLICE_FMT(key));
    } else if (o->type == OP_KEY_UNLOCK) {
        (void)snprintf(
            out, TXN_WHAT_MAX,
            "failed to unlock key \"%.*s\", lock isn't held, or is held by another session",
            SLICE_FMT(key));
    } else {
        (void)snprintf(out, TXN_WHAT_MAX, "%s", err_title(code));
    }
}

/* `what` is "service" or "check", or "node" with an empty node. */
static void why_entry(const struct txn_verb *verb, const char *what, const struct check_name *n,
                      int code, char out[TXN_WHAT_MAX])
{
    char on[TXN_WHAT_MAX / 2] = "";
    int is_delete = verb->name[0] == 'd';
    if (n->node.len != 0) {
        (void)snprintf(on, sizeof(on), " on node \"%.*s\"", SLICE_FMT(n->node));
    }
    if (code == MU_E_REVISION_MISMATCH || code == MU_E_EXISTS) {
        (void)snprintf(out, TXN_WHAT_MAX, "failed to %s %s \"%.*s\"%s, index is stale",
                       is_delete ? "delete" : "set", what, SLICE_FMT(n->id), on);
    } else if (code == MU_E_NOT_FOUND && verb->name[0] == 'g') {
        (void)snprintf(out, TXN_WHAT_MAX, "%s \"%.*s\"%s doesn't exist", what, SLICE_FMT(n->id),
                       on);
    } else if (code == MU_E_NOT_FOUND) {
        (void)snprintf(out, TXN_WHAT_MAX, "Missing %s registration",
                       n->service_id.len != 0 ? "service" : "node");
    } else if (code == MU_E_CONFLICT) {
        (void)snprintf(out, TXN_WHAT_MAX,
                       "%s \"%.*s\" is registered otherwise already, on another node or without "
                       "one",
                       what, SLICE_FMT(n->id));
    } else {
        (void)snprintf(out, TXN_WHAT_MAX, "%s", err_title(code));
    }
}

static void why(const struct txn *t, const struct txn_item *item, char out[TXN_WHAT_MAX])
{
    const struct op *o = &t->ops[item->op];
    const struct txn_verb *verb = t->verbs[item->op];
    struct check_name n = {0};
    switch (verb->space) {
    case TXN_KV:
        why_key(o, item, out);
        return;
    case TXN_NODE:
        n.id = o->u.node.name;
        why_entry(verb, "node", &n, item->code, out);
        return;
    case TXN_SERVICE:
        n = (struct check_name){.node = o->u.service.node, .id = o->u.service.row.service_id};
        why_entry(verb, "service", &n, item->code, out);
        return;
    default:
        why_entry(verb, "check", &o->u.check.name, item->code, out);
        return;
    }
}

static void error(struct jw *w, size_t n, const char *what)
{
    jw_obj(w);
    jw_key(w, "OpIndex");
    jw_u64(w, n);
    jw_key(w, "What");
    jw_str(w, what);
    jw_end(w);
}

/* --- the answer --- */

/* Nothing but reads and checks, or what is none of the verbs of keys. */
static int is_read_only(const struct txn *t)
{
    int is_all = 1;
    for (size_t i = 0; i < t->n; i++) {
        const struct txn_verb *v = t->verbs[i];
        is_all &= v == NULL ? t->spaces[i] == TXN_KV
                            : is_read(&t->ops[i]) || v->type == OP_KEY_CHECK_INDEX ||
                                  v->type == OP_KEY_CHECK_SESSION || v->type == OP_KEY_CHECK_ABSENT;
    }
    return is_all;
}

/* Consul answers those as it answers reads. */
static void end_answer(const struct txn *t, struct http_req *r, struct jw *w, int status)
{
    if (is_read_only(t)) {
        http_add_header(r, "X-Consul-Knownleader", "true");
        http_add_header(r, "X-Consul-Lastcontact", "0");
        jw_key(w, "Index");
        jw_u64(w, 0);
        jw_key(w, "LastContact");
        jw_u64(w, 0);
        jw_key(w, "KnownLeader");
        jw_bool(w, 1);
        jw_key(w, "ConsistencyLevel");
        jw_str(w, "");
    }
    jw_end(w);
    consul_json(r, status, buf_slice(w->out));
}

void txn_answer_nothing(const struct txn *t)
{
    struct jw w;
    jw_init(&w, http_scratch(t->k->r));
    jw_obj(&w);
    jw_key(&w, "Results");
    jw_arr(&w);
    jw_end(&w);
    jw_key(&w, "Errors");
    jw_null(&w);
    end_answer(t, t->k->r, &w, 200);
}

static void items(struct answer *a, struct slice rest, int is_refused)
{
    struct txn_item item;
    char what[TXN_WHAT_MAX];
    jw_arr(a->w);
    while (txn_item_next(&rest, &item)) {
        MU_INVARIANT(item.op < a->t->n);
        if (is_refused) {
            why(a->t, &item, what);
            error(a->w, item.op, what);
        } else {
            result(a, &item);
        }
    }
    jw_end(a->w);
}

void txn_answer(const struct txn *t, struct consul_write *x)
{
    int is_refused = x->cw.result.code != 0;
    struct jw w;
    struct answer a = {.t = t,
                       .w = &w,
                       .v = view_open(core_store(x->c->core)),
                       .s = {.datacenter = x->c->datacenter, .has_definition = 1, .has_nulls = 1}};
    jw_init(&w, http_scratch(x->r));
    jw_obj(&w);
    jw_key(&w, "Results");
    if (is_refused) {
        jw_null(&w);
        jw_key(&w, "Errors");
        items(&a, x->cw.result.detail, 1);
    } else {
        items(&a, x->cw.result.detail, 0);
        jw_key(&w, "Errors");
        jw_null(&w);
    }
    view_close(a.v);
    end_answer(t, x->r, &w, is_refused ? 409 : 200);
}

int txn_answer_faults(const struct txn *t)
{
    struct jw w;
    size_t n = 0;
    jw_init(&w, http_scratch(t->k->r));
    jw_obj(&w);
    jw_key(&w, "Results");
    jw_null(&w);
    jw_key(&w, "Errors");
    jw_arr(&w);
    for (size_t i = 0; i < t->n; i++) {
        if (t->faults[i] != NULL) {
            n++;
            error(&w, i, t->faults[i]);
        }
    }
    jw_end(&w);
    if (n > 0) {
        end_answer(t, t->k->r, &w, 409);
    }
    return n > 0;
}
