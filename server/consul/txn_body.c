/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of a transaction, as they come. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/consul/define.h"
#include "server/consul/list.h"
#include "server/consul/txn.h"

enum { OPS_MAX = BODY_ITEMS_MAX, UUID_SIZE = 36 };

static const struct txn_verb verbs[] = {
    {TXN_KV, "set", OP_KEY_SET, 1},
    {TXN_KV, "cas", OP_KEY_CAS, 1},
    {TXN_KV, "lock", OP_KEY_LOCK, 1},
    {TXN_KV, "unlock", OP_KEY_UNLOCK, 1},
    {TXN_KV, "get", OP_KEY_GET, 1},
    {TXN_KV, "get-or-empty", OP_KEY_GET_OR_EMPTY, 1},
    {TXN_KV, "get-tree", OP_KEY_GET_TREE, 1},
    {TXN_KV, "check-index", OP_KEY_CHECK_INDEX, 0},
    {TXN_KV, "check-session", OP_KEY_CHECK_SESSION, 0},
    {TXN_KV, "check-not-exists", OP_KEY_CHECK_ABSENT, 0},
    {TXN_KV, "delete", OP_KEY_DELETE, 0},
    {TXN_KV, "delete-tree", OP_KEY_DELETE_TREE, 0},
    {TXN_KV, "delete-cas", OP_KEY_DELETE_CAS, 0},
    {TXN_NODE, "get", OP_NODE_GET, 1},
    {TXN_NODE, "set", OP_NODE_SET, 1},
    {TXN_NODE, "cas", OP_NODE_CAS, 1},
    {TXN_NODE, "delete", OP_NODE_DELETE, 0},
    {TXN_NODE, "delete-cas", OP_NODE_DELETE_CAS, 0},
    {TXN_SERVICE, "get", OP_SERVICE_GET, 1},
    {TXN_SERVICE, "set", OP_SERVICE_SET, 1},
    {TXN_SERVICE, "cas", OP_SERVICE_CAS, 1},
    {TXN_SERVICE, "delete", OP_SERVICE_DELETE, 0},
    {TXN_SERVICE, "delete-cas", OP_SERVICE_DELETE_CAS, 0},
    {TXN_CHECK, "get", OP_CHECK_GET, 1},
    {TXN_CHECK, "set", OP_CHECK_SET, 1},
    {TXN_CHECK, "cas", OP_CHECK_CAS, 1},
    {TXN_CHECK, "delete", OP_CHECK_DELETE, 0},
    {TXN_CHECK, "delete-cas", OP_CHECK_DELETE_CAS, 0},
};
static const char *const spaces[] = {"KV", "Node", "Service", "Check"};

/* --- what is given --- */

#define AT(s, m) offsetof(struct s, m)

struct given_kv {
    struct slice verb, key, value, session;
    uint64_t flags, index;
};
static const struct body_field kv_fields[] = {
    {"Verb", BODY_STR, AT(given_kv, verb), NULL},
    {"Key", BODY_STR, AT(given_kv, key), NULL},
    {"Value", BODY_STR, AT(given_kv, value), NULL},
    {"Session", BODY_STR, AT(given_kv, session), NULL},
    {"Flags", BODY_U64, AT(given_kv, flags), NULL},
    {"Index", BODY_U64, AT(given_kv, index), NULL},
    {"Namespace", BODY_SKIPPED, 0, NULL},
    {"Partition", BODY_SKIPPED, 0, NULL},
};
static const struct body_table kv_table = {"api.KVTxnOp", sizeof(struct given_kv), kv_fields,
                                           N_ELEMENTS(kv_fields)};

struct given_entry {
    struct slice id, node, address, tagged, meta;
    uint64_t index;
};
static const struct body_field entry_fields[] = {
    {"ID", BODY_STR, AT(given_entry, id), NULL},
    {"Node", BODY_STR, AT(given_entry, node), NULL},
    {"Address", BODY_STR, AT(given_entry, address), NULL},
    {"TaggedAddresses", BODY_PAIRS, AT(given_entry, tagged), NULL},
    {"Meta", BODY_PAIRS, AT(given_entry, meta), NULL},
    {"ModifyIndex", BODY_U64, AT(given_entry, index), NULL},
    {"CreateIndex", BODY_SKIPPED, 0, NULL},
    {"Datacenter", BODY_SKIPPED, 0, NULL},
    {"Partition", BODY_SKIPPED, 0, NULL},
    {"PeerName", BODY_SKIPPED, 0, NULL},
    {"Locality", BODY_SKIPPED, 0, NULL},
};
static const struct body_table entry_table = {"api.Node", sizeof(struct given_entry), entry_fields,
                                              N_ELEMENTS(entry_fields)};

struct given_node {
    struct slice verb;
    struct given_entry entry;
};
static const struct body_field node_fields[] = {
    {"Verb", BODY_STR, AT(given_node, verb), NULL},
    {"Node", BODY_OBJECT, AT(given_node, entry), &entry_table},
};
static const struct body_table node_table = {"api.NodeTxnOp", sizeof(struct given_node),
                                             node_fields, N_ELEMENTS(node_fields)};

struct given_service {
    struct slice verb, node;
    struct define_service entry;
};
static const struct body_field service_fields[] = {
    {"Verb", BODY_STR, AT(given_service, verb), NULL},
    {"Node", BODY_STR, AT(given_service, node), NULL},
    {"Service", BODY_OBJECT, AT(given_service, entry), &define_service_table},
};
static const struct body_table service_table = {"api.ServiceTxnOp", sizeof(struct given_service),
                                                service_fields, N_ELEMENTS(service_fields)};

struct given_check {
    struct slice verb;
    struct define_check entry;
};
static const struct body_field check_fields[] = {
    {"Verb", BODY_STR, AT(given_check, verb), NULL},
    {"Check", BODY_OBJECT, AT(given_check, entry), &define_check_table},
};
static const struct body_table check_table = {"api.CheckTxnOp", sizeof(struct given_check),
                                              check_fields, N_ELEMENTS(check_fields)};

struct given {
    void *of[4]; /* enum txn_space */
};
static const struct body_field given_fields[] = {
    {"KV", BODY_POINTER, TXN_KV * sizeof(void *), &kv_table},
    {"Node", BODY_POINTER, TXN_NODE * sizeof(void *), &node_table},
    {"Service", BODY_POINTER, TXN_SERVICE * sizeof(void *), &service_table},
    {"Check", BODY_POINTER, TXN_CHECK * sizeof(void *), &check_table},
};
static const struct body_table given_table = {"api.TxnOp", sizeof(struct given), given_fields,
                                              N_ELEMENTS(given_fields)};
static const struct body_field list_fields[] = {{"", BODY_OBJECTS, 0, &given_table}};
static const struct body_table list_table = {"api.TxnOps", sizeof(struct body_items), list_fields,
                                             1};

/* --- what it makes --- */

static const char *fault(const struct txn *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static const char *fault(const struct txn *t, const char *fmt, ...)
{
    char *text = http_alloc(t->k->r, TXN_WHAT_MAX);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, TXN_WHAT_MAX, fmt, ap);
    va_end(ap);
    return text;
}

static const struct txn_verb *find_verb(enum txn_space space, struct slice name)
{
    for (size_t i = 0; i < N_ELEMENTS(verbs); i++) {
        if (verbs[i].space == space && slice_eq(name, slice_str(verbs[i].name))) {
            return &verbs[i];
        }
    }
    return NULL;
}

static const char *refuse_name(const struct txn *t, struct slice s, size_t max, const char *what)
{
    int is_bad = s.len > max;
    for (size_t i = 0; i < s.len && !is_bad; i++) {
        is_bad = s.p[i] < ' ' || s.p[i] == 0x7f;
    }
    return is_bad ? fault(t, "%s has at most %zu bytes and no control characters", what, max)
                  : NULL;
}

static const char *key_fault(const struct txn *t, const struct op *o)
{
    struct slice key = o->u.key.key, session = o->u.key.session;
    if (key.len == 0 && o->type != OP_KEY_DELETE_TREE) {
        return "Must provide key";
    }
    if (session.len == 0 && o->type == OP_KEY_UNLOCK) {
        return "missing session";
    }
    if (key.len > KEY_USER_MAX) {
        return fault(t, "Key is too long: it has %zu bytes, at most %d are stored", key.len,
                     KEY_USER_MAX);
    }
    return session.len > SESSION_ID_SIZE
               ? "failed session lookup: index error: UUID must be 36 characters"
               : NULL;
}

/* 0, or what was wrong with the whole was answered. */
static int take_kv(const struct txn *t, const struct given_kv *g, struct op *o, const char **out)
{
    uint8_t *mem = http_alloc(t->k->r, g->value.len + 1);
    struct op_key *m = &o->u.key;
    size_t at = 0;
    *m = (struct op_key){.key = g->key, .session = g->session, .flags = g->flags};
    o->expect = g->index;
    if (consul_text_base64(g->value, mem, &m->value, &at) != 0) {
        consul_text(t->k->r, 400, "Failed to parse body: illegal base64 data at input byte %zu",
                    at);
        return -1;
    }
    if (m->value.len > CONSUL_BODY_MAX) {
        consul_text(t->k->r, 413, "Value for key \"%.*s\" is too large (%zu > %d bytes)",
                    SLICE_FMT(m->key), m->value.len, CONSUL_BODY_MAX);
        return -1;
    }
    *out = key_fault(t, o);
    return 0;
}

static const char *take_node(const struct txn *t, const struct given_node *g, struct op *o)
{
    const struct given_entry *n = &g->entry;
    const char *why = refuse_name(t, n->node, KEY_NAME_MAX / 2, "Node");
    why = why != NULL ? why : refuse_name(t, n->address, 255, "Address");
    if (n->node.len == 0) {
        return "Must provide node";
    }
    if (n->id.len != 0 && n->id.len != UUID_SIZE) {
        return "Bad node ID: uuid string is wrong length";
    }
    o->expect = n->index;
    o->u.node.name = n->node;
    o->u.node.row = (struct node_row){
        .id = n->id, .address = n->address, .tagged = n->tagged, .metadata = n->meta};
    return why;
}

static int is_set(const struct op *o)
{
    return o->type == OP_SERVICE_SET || o->type == OP_SERVICE_CAS || o->type == OP_CHECK_SET ||
           o->type == OP_CHECK_CAS;
}

static const char *define_service(const struct txn *t, struct define_service *s, struct op *o)
{
    struct define_fault f;
    struct buf b;
    buf_init(&b);
    s->name = s->service.len != 0 ? s->service : s->name;
    int rc = define_service_row(s, &b, &o->u.service.row, &f);
    o->u.service.row.extra = consul_keep(t->k->r, buf_slice(&b));
    buf_clear(&b);
    if (rc == 0) {
        struct service_name in = list_service(s->name);
        buf_append_slice(&b, o->u.service.node);
        buf_append_byte(&b, '/');
        buf_append_slice(&b, o->u.service.row.service_id);
        o->u.service.name = (struct instance_name){
            in.ns, in.group, in.service, SLICE_LIT("DEFAULT"), consul_keep(t->k->r, buf_slice(&b))};
    }
    buf_fini(&b);
    return rc == 0 ? NULL : fault(t, "%s", f.text);
}

static const char *take_service(const struct txn *t, struct given_service *g, struct op *o)
{
    struct define_service *s = &g->entry;
    struct slice id = s->id.len != 0 ? s->id : s->service;
    const char *why = refuse_name(t, g->node, KEY_NAME_MAX / 2, "Node");
    why = why != NULL ? why : refuse_name(t, id, KEY_NAME_MAX / 2, "ID");
    o->expect = s->index;
    o->u.service.node = g->node;
    o->u.service.row.service_id = id;
    o->u.service.row.remove_after_ms = REMOVE_NEVER;
    if (why != NULL) {
        return why;
    }
    if (g->node.len == 0) {
        return "Must provide node";
    }
    if (is_set(o) && s->service.len == 0 && s->id.len != 0) {
        return "Must provide service name with ID";
    }
    return is_set(o) ? define_service(t, s, o) : NULL;
}

static const char *take_check(const struct txn *t, struct given_check *g, struct op *o)
{
    struct define_check *c = &g->entry;
    struct define_fault f;
    struct slice id = c->check_id.len != 0 ? c->check_id : c->name;
    const char *why = refuse_name(t, c->node, KEY_NAME_MAX / 2, "Node");
    why = why != NULL ? why : refuse_name(t, id, KEY_NAME_MAX, "CheckID");
    why = why != NULL ? why : refuse_name(t, c->service_id, KEY_NAME_MAX / 2, "ServiceID");
    if (why != NULL) {
        return why;
    }
    if (c->node.len == 0) {
        return "Must provide node";
    }
    if (id.len == 0) {
        return "Must provide check ID or name";
    }
    if (is_set(o) && define_check_row(c, &o->u.check.row, &f) != 0) {
        return fault(t, "%s", f.text);
    }
    o->expect = c->index;
    o->u.check.name = (struct check_name){c->node, c->service_id, id};
    o->u.check.row.run = (struct check_run){0}; /* others run it, and tell */
    o->u.check.row.ttl_ms = 0;
    o->u.check.row.remove_after_ms = REMOVE_NEVER;
    return NULL;
}

/* --- the body --- */

static void *alloc(void *arg, size_t size)
{
    return http_alloc(arg, size);
}

static int take_op(struct txn *t, const struct given *g)
{
    struct op *o = &t->ops[t->n];
    const char **why = &t->faults[t->n];
    enum txn_space space = TXN_KV;
    int n = 0;
    for (int i = 0; i < 4; i++) {
        space = g->of[i] != NULL ? (enum txn_space)i : space;
        n += g->of[i] != NULL;
    }
    if (n != 1) {
        consul_text(t->k->r, 400,
                    "Failed to parse body: an operation is one of KV, Node, Service and Check, "
                    "number %zu is %d of them",
                    t->n, n);
        return -1;
    }
    const struct slice *verb = g->of[space]; /* the first member of each */
    const struct txn_verb *found = find_verb(space, *verb);
    t->spaces[t->n] = space;
    t->verbs[t->n++] = found;
    *o = (struct op){.type = found != NULL ? found->type : OP_KEY_GET};
    *why = found != NULL ? NULL
                         : fault(t, "unknown %s verb \"%.*s\"", spaces[space],
                                 (int)(verb->len < 100 ? verb->len : 100), (const char *)verb->p);
    if (*why != NULL) {
        return 0;
    }
    if (space == TXN_KV) {
        return take_kv(t, g->of[space], o, why);
    }
    *why = space == TXN_NODE      ? take_node(t, g->of[space], o)
           : space == TXN_SERVICE ? take_service(t, g->of[space], o)
                                  : take_check(t, g->of[space], o);
    return 0;
}

int txn_read(struct txn *t)
{
    struct body b = {.alloc = alloc, .arg = t->k->r};
    struct body_items all = {0};
    int rc = body_read_list(&b, http_body(t->k->r), &list_table, &all);
    if (b.n_list > OPS_MAX) {
        consul_text(t->k->r, 413, "Transaction contains too many operations (%zu > %d)", b.n_list,
                    OPS_MAX);
        return -1;
    }
    if (rc != 0) {
        consul_text(t->k->r, 400, "Failed to parse body: %s", b.error);
        return -1;
    }
    if (all.n == 0) {
        txn_answer_nothing(t);
        return -1;
    }
    t->ops = http_alloc(t->k->r, all.n * sizeof(*t->ops));
    t->verbs = http_alloc(t->k->r, all.n * sizeof(const struct txn_verb *));
    t->spaces = http_alloc(t->k->r, all.n * sizeof(*t->spaces));
    t->faults = http_alloc(t->k->r, all.n * sizeof(char *));
    for (size_t i = 0; i < all.n; i++) {
        if (take_op(t, (const struct given *)(const void *)all.p + i) != 0) {
            return -1;
        }
    }
    return 0;
}
