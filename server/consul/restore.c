/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/restore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json_read.h"
#include "base/mem.h"
#include "server/access/document.h"
#include "server/consul/archive.h"
#include "server/consul/change.h"
#include "server/consul/near.h"
#include "server/consul/prepared.h"
#include "server/consul/restore_compare.h"
#include "server/consul/restore_impl.h"
#include "server/query/query.h"

/* --- memory that lives as long as a batch --- */

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
};

enum { ARENA_BLOCK = 64 * 1024, ARENA_ALIGN = 16 };

void *restore_alloc(void *arg, size_t size)
{
    struct restore *r = arg;
    struct arena_block *b = r->mem;
    const size_t head = (sizeof(*b) + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    size = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (b == NULL || b->cap - b->used < size) {
        size_t cap = size > ARENA_BLOCK ? size : ARENA_BLOCK;
        b = mem_alloc(head + cap);
        *b = (struct arena_block){.next = r->mem, .cap = cap};
        r->mem = b;
        r->n_memory += cap;
    }
    uint8_t *p = (uint8_t *)b + head + b->used;
    b->used += size;
    return p;
}

static void arena_clear(struct restore *r)
{
    while (r->mem != NULL) {
        struct arena_block *b = r->mem;
        r->mem = b->next;
        mem_free(b);
    }
    r->n_memory = 0;
}

struct slice restore_keep(struct restore *r, struct slice s)
{
    uint8_t *p = restore_alloc(r, s.len + 1);
    if (s.len > 0) {
        memcpy(p, s.p, s.len);
    }
    return slice_of(p, s.len);
}

/* --- what the snapshot has --- */

static uint64_t id_of(const struct restore *r, enum restore_id what, struct slice x, struct slice y)
{
    uint64_t h = hash_xxh3(x.p, x.len, r->seed ^ (uint64_t)what);
    return hash_xxh3(y.p, y.len, h);
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int restore_has(const struct restore *r, enum restore_id what, struct slice x, struct slice y)
{
    uint64_t id = id_of(r, what, x, y);
    return r->n_ids > 0 && bsearch(&id, r->ids, r->n_ids, sizeof(id), by_value) != NULL;
}

static void note(struct restore *r, enum restore_id what, struct slice x, struct slice y)
{
    if (r->n_ids == r->cap_ids) {
        r->cap_ids = r->cap_ids == 0 ? 1024 : 2 * r->cap_ids;
        r->ids = mem_realloc(r->ids, r->cap_ids * sizeof(*r->ids));
    }
    r->ids[r->n_ids++] = id_of(r, what, x, y);
}

/* Members of the cluster it was saved from, and not of this one, are this node. */
static struct slice placed(const struct restore *r, struct slice node)
{
    for (size_t i = 0; i < r->n_foreign; i++) {
        if (slice_eq(r->foreign[i], node)) {
            return slice_str(r->o.self);
        }
    }
    return node;
}

int restore_is_member(struct restore *r, struct slice node)
{
    struct node_row row;
    return view_node(r->v, node, &row) == 0 && row.is_member;
}

static void place(const struct restore *r, struct imported *x)
{
    x->node.name = placed(r, x->node.name);
    x->service.node = placed(r, x->service.node);
    x->check.name.node = placed(r, x->check.name.node);
    x->session.row.node = placed(r, x->session.row.node);
    for (size_t i = 0; i < x->n_docs; i++) {
        if (slice_eq(x->docs[i].kind, NEAR_COORDINATES)) {
            x->docs[i].name = placed(r, x->docs[i].name);
        }
    }
}

/* Of a server of Consul: it says how to reach what is no longer there. */
static int is_server(const struct imported *x)
{
    struct pair_iter it;
    struct slice k, v;
    int is_one = 0;
    if (!slice_eq(x->service.row.service_id, SLICE_LIT("consul")) ||
        !slice_eq(x->service.name.service, SLICE_LIT("consul"))) {
        return 0;
    }
    metadata_begin(&it, x->service.row.metadata);
    while (metadata_next(&it, &k, &v)) {
        is_one |= slice_eq(k, SLICE_LIT("raft_version"));
    }
    return is_one;
}

/* The next record, as operations. 1, 0 at the end, or an error. */
static int next(struct restore *r, struct statefile *at, struct state_record *rec,
                struct imported *out, struct err *e)
{
    struct import m = {.alloc = restore_alloc, .arg = r, .v = r->v};
    int rc = statefile_next(at, rec, e);
    if (rc != 1) {
        return rc;
    }
    rc = import_record(&m, rec, out, e);
    if (rc < 0) {
        return err_wrap(e, "record %zu", at->n);
    }
    place(r, out);
    if (rc == IMPORT_PASSED || (out->has_service && is_server(out))) {
        *out = (struct imported){0};
        return 2;
    }
    return 1;
}

/* --- reading it all before anything is changed --- */

static int note_foreign(struct restore *r, struct imported *x, struct err *e)
{
    if (!x->is_member || slice_eq(x->node.name, slice_str(r->o.self)) ||
        restore_is_member(r, x->node.name)) {
        return 0;
    }
    if (r->n_foreign == RESTORE_FOREIGN_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "more than %d members", RESTORE_FOREIGN_MAX);
    }
    r->foreign[r->n_foreign].p = mem_dup(x->node.name.p, x->node.name.len + 1);
    r->foreign[r->n_foreign++].len = x->node.name.len;
    place(r, x);
    return 0;
}

static void note_all(struct restore *r, const struct state_record *rec, const struct imported *x)
{
    const struct slice none = {0};
    const struct check_name *c = &x->check.name;
    if (rec->type == STATE_REGISTER) {
        note(r, ID_NODE, x->node.name, none);
    }
    if (x->has_service) {
        note(r, x->service.is_agent ? ID_AGENT_SERVICE : ID_SERVICE,
             x->service.is_agent ? x->service.row.service_id : x->service.node,
             x->service.is_agent ? none : x->service.row.service_id);
    }
    if (x->has_check) {
        note(r, x->check.is_agent ? ID_AGENT_CHECK : ID_CHECK, x->check.is_agent ? c->id : c->node,
             x->check.is_agent ? none : c->id);
    }
    if (rec->type == STATE_SESSION) {
        note(r, ID_SESSION, x->session.id, none);
    }
    if (rec->type == STATE_KEY) {
        note(r, ID_KEY, x->key.key, none);
    }
    for (size_t i = 0; i < x->n_docs; i++) {
        note(r, ID_RECORD, x->docs[i].kind, x->docs[i].name);
        note(r, ID_RECORD, x->docs[i].claim_kind, x->docs[i].claim);
    }
}

static int read_all(struct restore *r, struct err *e)
{
    struct statefile at = r->now.at;
    struct state_record rec;
    struct imported x;
    int rc;
    while ((rc = next(r, &at, &rec, &x, e)) > 0) {
        r->count.n_passed += rc == 2;
        rc = note_foreign(r, &x, e);
        if (rc == 0 && at.n > RESTORE_IDS_MAX) {
            rc = err_set(e, MU_E_TOO_LARGE, "more than %d records", RESTORE_IDS_MAX);
        }
        if (rc != 0) {
            return rc;
        }
        if (x.node.name.len != 0 || rec.type != STATE_REGISTER) {
            note_all(r, &rec, &x);
        }
        arena_clear(r);
    }
    r->count.n_records = at.n;
    if (r->n_ids > 0) {
        qsort(r->ids, r->n_ids, sizeof(*r->ids), by_value);
    }
    return rc;
}

static int open_all(struct restore *r, struct slice file, struct err *e)
{
    struct archive_meta meta;
    uint64_t last_index;
    int rc = spool_open(r->o.dir, &r->spool, e);
    rc = rc != 0 ? rc : archive_read(file, spool_put, r->spool, &meta, e);
    rc = rc != 0 ? rc : spool_map(r->spool, &r->state, e);
    rc = rc != 0 ? rc : statefile_begin(&r->now.at, r->state, &last_index, e);
    if (rc != 0) {
        return rc;
    }
    r->v = view_open(r->o.store);
    rc = read_all(r, e);
    view_close(r->v);
    r->v = NULL;
    arena_clear(r);
    return rc != 0 ? err_wrap(e, "failed to restore snapshot") : 0;
}

int restore_open(const struct restore_options *o, struct slice file, struct restore **out,
                 struct err *e)
{
    struct restore *r = mem_zalloc(sizeof(*r));
    r->o = *o;
    rnd_bytes(&r->seed, sizeof(r->seed));
    int rc = open_all(r, file, e);
    if (rc != 0) {
        restore_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void restore_free(struct restore *r)
{
    if (r == NULL) {
        return;
    }
    arena_clear(r);
    for (size_t i = 0; i < r->n_foreign; i++) {
        mem_free((void *)(uintptr_t)r->foreign[i].p);
    }
    spool_close(r->spool);
    buf_fini(&r->resume);
    buf_fini(&r->resume_began);
    mem_free(r->ids);
    mem_free(r);
}

/* --- batches --- */

struct op *restore_op(struct restore *r, enum op_type type)
{
    MU_INVARIANT(r->n <= RESTORE_OPS_MAX + RESTORE_OPS_MORE);
    struct op *o = &r->ops[r->n++];
    *o = (struct op){.type = type};
    o->u.check.row.remove_after_ms = type == OP_CHECK_SET ? REMOVE_NEVER : 0;
    return o;
}

int restore_is_full(const struct restore *r)
{
    return r->n >= RESTORE_OPS_MAX || r->bytes >= RESTORE_BYTES_MAX ||
           (r->n > 0 && r->n_memory >= RESTORE_MEMORY_MAX);
}

static int is_access(struct slice kind)
{
    return slice_has_prefix(kind, SLICE_LIT("acl-"));
}

void restore_set(struct restore *r, struct slice kind, struct slice name, struct slice body)
{
    struct op *o = restore_op(r, OP_RECORD_SET);
    o->u.record = (struct op_record){kind, name, body};
    r->is_acl |= is_access(kind);
}

void restore_unset(struct restore *r, struct slice kind, struct slice name)
{
    restore_op(r, OP_RECORD_DELETE)->u.record = (struct op_record){.kind = kind, .name = name};
    r->is_acl |= is_access(kind);
}

/* --- nodes, services, checks --- */

static void plan_node(struct restore *r, const struct imported *x)
{
    struct node_row cur;
    int is_again = slice_eq(r->last_node, x->node.name);
    r->last_node = x->node.name;
    int rc = view_node(r->v, x->node.name, &cur);
    if (is_again || (rc == 0 && (cur.is_member || compare_nodes(&cur, &x->node.row)))) {
        return;
    }
    restore_op(r, OP_NODE_SET)->u.node = x->node;
}

/* The service as it is now; 0 or NOT_FOUND. */
static int find_service(struct restore *r, const struct imported *x, struct place_row *at,
                        struct instance_row *row)
{
    struct slice node = x->service.node;
    int rc = x->service.is_agent ? view_agent_service(r->v, x->service.row.service_id, &node) : 0;
    rc = rc != 0 ? rc : view_place(r->v, node, x->service.row.service_id, at);
    if (rc != 0) {
        return rc;
    }
    struct instance_name n = {at->ns, at->group, at->service, at->cluster, at->id};
    return view_instance(r->v, &n, row);
}

static void plan_service(struct restore *r, const struct imported *x)
{
    struct place_row at;
    struct instance_row cur;
    if (!x->has_service || (slice_eq(x->service.row.service_id, SLICE_LIT("consul")) &&
                            restore_is_member(r, x->service.node))) {
        return;
    }
    int rc = find_service(r, x, &at, &cur);
    if (rc == 0 && slice_eq(at.service, x->service.name.service) &&
        compare_services(&cur, &x->service.row)) {
        return;
    }
    struct op *o = restore_op(r, OP_SERVICE_SET);
    o->u.service = x->service;
    if (rc == 0) {
        o->u.service.is_agent |= at.is_agent;
        o->u.service.row.is_enabled = cur.is_enabled; /* the native API's own */
    }
    if (o->u.service.is_agent && !restore_is_member(r, o->u.service.node)) {
        o->u.service.node = slice_str(r->o.self);
    }
}

static int has_service(struct restore *r, const struct op_check *c)
{
    struct place_row at;
    struct slice node = c->name.node;
    if (c->name.service_id.len == 0) {
        return 1;
    }
    return (c->is_agent && view_agent_service(r->v, c->name.service_id, &node) == 0) ||
           view_place(r->v, c->name.node, c->name.service_id, &at) == 0;
}

/* What the cluster itself finds out is not set back: status and output of a check that it runs. */
static void plan_check(struct restore *r, const struct imported *x)
{
    struct slice node = x->check.name.node, service;
    struct check_row cur;
    if (!x->has_check ||
        (slice_eq(x->check.name.id, SLICE_LIT("serfHealth")) && restore_is_member(r, node))) {
        return;
    }
    int rc = x->check.is_agent ? view_agent_check(r->v, x->check.name.id, &node, &service) : 0;
    rc = rc != 0 ? rc : view_check(r->v, node, x->check.name.id, &service, &cur);
    int is_there = rc == 0 && slice_eq(service, x->check.name.service_id);
    if (is_there && (cur.is_agent != x->check.is_agent ||
                     compare_checks(&cur, &x->check.row, x->check.is_agent))) {
        return;
    }
    if (!has_service(r, &x->check)) {
        return;
    }
    if (rc == 0 && !is_there) { /* of another service now */
        struct op *gone = restore_op(r, OP_CHECK_DELETE);
        gone->u.check.row.remove_after_ms = REMOVE_NEVER;
        gone->u.check.is_agent = cur.is_agent;
        gone->u.check.name =
            (struct check_name){restore_keep(r, node), restore_keep(r, service), x->check.name.id};
    }
    struct op *o = restore_op(r, OP_CHECK_SET);
    o->u.check = x->check;
    o->u.check.keep_status = x->check.is_agent && is_there;
    o->u.check.lease_id = x->check.row.ttl_ms != 0 ? r->o.lease_id(r->o.arg) : 0;
    if (x->check.is_agent && !restore_is_member(r, x->check.name.node)) {
        o->u.check.name.node = slice_str(r->o.self);
    }
}

/* --- sessions and keys --- */

/* 0: all are there and none is critical. serfHealth is left out where nobody measures it. */
static int check_list(struct restore *r, struct slice node, struct slice *list)
{
    struct pair_iter it;
    struct slice id, service;
    struct check_row c;
    struct buf kept;
    size_t n = 0;
    int rc = 0;
    buf_init(&kept);
    wire_put_u16(&kept, 0);
    tags_begin(&it, *list);
    while (rc == 0 && tags_next(&it, &id)) {
        rc = view_check(r->v, node, id, &service, &c);
        if (rc == MU_E_NOT_FOUND && slice_eq(id, SLICE_LIT("serfHealth"))) {
            rc = 0;
            continue;
        }
        rc = rc == 0 && c.status == CHECK_CRITICAL ? MU_E_CONFLICT : rc;
        wire_put_bytes(&kept, id);
        n++;
    }
    kept.p[0] = (uint8_t)n;
    kept.p[1] = (uint8_t)(n >> 8);
    *list = n == 0 ? slice_of(NULL, 0) : restore_keep(r, buf_slice(&kept));
    buf_fini(&kept);
    return rc;
}

static void plan_session(struct restore *r, const struct imported *x)
{
    struct session_row cur;
    struct node_row node;
    struct session_row row = x->session.row;
    if (view_session(r->v, x->session.id, &cur) == 0) {
        return;
    }
    if (view_node(r->v, row.node, &node) != 0 || check_list(r, row.node, &row.node_checks) != 0 ||
        check_list(r, row.node, &row.service_checks) != 0) {
        r->count.n_passed++;
        return;
    }
    row.meta.lease = r->o.lease_id(r->o.arg);
    restore_op(r, OP_SESSION_CREATE)->u.session = (struct op_session){x->session.id, row};
}

struct found_key {
    struct restore *r;
    struct slice key;
    struct user_row row;
    int is_found;
};

static int on_key(void *arg, struct slice key, const struct user_row *row)
{
    struct found_key *f = arg;
    f->is_found = slice_eq(key, f->key);
    f->row = *row;
    f->row.session = restore_keep(f->r, row->session);
    f->row.value = slice_of(NULL, 0);
    return 1; /* the first one is enough */
}

/* Tombstones, too: they remember for how long nobody takes the key. */
static struct user_row find_key(struct restore *r, struct slice key, int *is_live)
{
    struct found_key f = {.r = r, .key = key};
    (void)view_users_from(r->v, key, key, on_key, &f);
    f.row = f.is_found ? f.row : (struct user_row){0};
    *is_live = f.is_found && !f.row.meta.is_deleted;
    return f.row;
}

static void write_key(struct restore *r, enum op_type type, const struct op_key *key,
                      struct slice session)
{
    struct op *o = restore_op(r, type);
    o->u.key = *key;
    o->u.key.session = session;
}

static void plan_key(struct restore *r, const struct imported *x)
{
    struct session_row s;
    struct user_row full;
    int is_live;
    struct user_row cur = find_key(r, x->key.key, &is_live);
    struct slice held = is_live ? cur.session : slice_of(NULL, 0), wanted = x->key.session;
    if (wanted.len != 0 && view_session(r->v, wanted, &s) != 0) {
        wanted = slice_of(NULL, 0);
    }
    if (is_live && cur.flags == x->key.flags && slice_eq(held, wanted) &&
        view_user(r->v, x->key.key, 0, &full) == 0 && slice_eq(full.value, x->key.value)) {
        return;
    }
    if (wanted.len != 0 && held.len == 0 && cur.delay_until_ms > clock_wall_ms()) {
        if (r->waits < RESTORE_WAITS) {
            r->delayed_until =
                cur.delay_until_ms > r->delayed_until ? cur.delay_until_ms : r->delayed_until;
            return;
        }
        wanted = slice_of(NULL, 0); /* it was waited for long enough */
        r->count.n_passed++;
    }
    int is_taken = held.len != 0 && !slice_eq(held, wanted);
    if (is_taken) {
        write_key(r, OP_KEY_UNLOCK, &x->key, restore_keep(r, held));
    }
    if (wanted.len != 0) {
        write_key(r, OP_KEY_LOCK, &x->key, wanted);
    } else if (!is_taken) {
        write_key(r, OP_KEY_SET, &x->key, wanted);
    }
}

/* --- documents --- */

static struct slice text_in(struct restore *r, const json_t *doc, const char *name)
{
    const json_t *v = json_object_get(doc, name);
    return restore_keep(r, slice_of(json_string_value(v), json_string_length(v)));
}

void restore_claim_of(struct restore *r, struct slice kind, struct slice body,
                      struct slice *out_kind, struct slice *out_name)
{
    struct err e = {0};
    json_t *doc = NULL;
    struct buf b;
    (void)jr_parse(body, &doc, &e);
    *out_kind = *out_name = slice_of(NULL, 0);
    if (slice_eq(kind, ACCESS_TOKENS)) {
        *out_kind = ACCESS_SECRETS;
        *out_name = text_in(r, doc, "SecretHash");
    } else if (slice_eq(kind, ACCESS_POLICIES) || slice_eq(kind, ACCESS_ROLES)) {
        *out_kind = slice_eq(kind, ACCESS_ROLES) ? ACCESS_ROLE_NAMES : ACCESS_POLICY_NAMES;
        *out_name = text_in(r, doc, "Name");
    } else if (slice_eq(kind, QUERIES)) {
        struct slice type = text_in(r, json_object_get(doc, "Template"), "Type");
        buf_init(&b);
        prepared_claim(text_in(r, doc, "Name"), type.len != 0, &b);
        *out_kind = QUERY_NAMES;
        *out_name = restore_keep(r, buf_slice(&b));
        buf_fini(&b);
    }
    jr_free(doc);
}

void restore_unclaim(struct restore *r, struct slice kind, struct slice claim, struct slice name)
{
    struct record_row row;
    if (kind.len != 0 && claim.len != 0 && !restore_has(r, ID_RECORD, kind, claim) &&
        view_record(r->v, kind, claim, &row) == 0 && slice_eq(row.body, name)) {
        restore_unset(r, kind, claim);
    }
}

/* Consul always has one for those who show no token; here it is there when it says something. */
static int is_idle_anonymous(const struct import_doc *d)
{
    static const char *const lists[] = {"Policies", "Roles", "ServiceIdentities", "NodeIdentities",
                                        "TemplatedPolicies"};
    struct err e = {0};
    json_t *doc = NULL;
    size_t n = 0;
    if (!slice_eq(d->kind, ACCESS_TOKENS) || !slice_eq(d->name, ACCESS_ANONYMOUS) ||
        jr_parse(d->body, &doc, &e) != 0) {
        return 0;
    }
    for (size_t i = 0; i < N_ELEMENTS(lists); i++) {
        n += json_array_size(json_object_get(doc, lists[i]));
    }
    jr_free(doc);
    return n == 0;
}

static void plan_doc(struct restore *r, const struct import_doc *d)
{
    struct record_row cur, claim;
    struct node_row node;
    struct slice old_kind = {0}, old_claim = {0};
    int rc = view_record(r->v, d->kind, d->name, &cur);
    if (d->name.len == 0 || (rc != 0 && is_idle_anonymous(d)) ||
        (slice_eq(d->kind, NEAR_COORDINATES) && view_node(r->v, d->name, &node) != 0) ||
        (rc == 0 && slice_eq(d->kind, ACCESS_STATE))) {
        return;
    }
    if (d->claim.len != 0 && (view_record(r->v, d->claim_kind, d->claim, &claim) != 0 ||
                              !slice_eq(claim.body, d->name))) {
        restore_set(r, d->claim_kind, d->claim, d->name);
    }
    if (rc == 0 && compare_bodies(cur.body, d->body)) {
        return;
    }
    if (rc == 0) {
        restore_claim_of(r, d->kind, cur.body, &old_kind, &old_claim);
        if (!slice_eq(old_claim, d->claim)) {
            restore_unclaim(r, old_kind, old_claim, d->name);
        }
    }
    restore_set(r, d->kind, d->name, d->body);
}

/* --- phases --- */

static int is_of(enum restore_phase phase, uint8_t type)
{
    switch (phase) {
    case PHASE_NODES:
    case PHASE_SERVICES:
    case PHASE_CHECKS:
        return type == STATE_REGISTER;
    case PHASE_SESSIONS:
        return type == STATE_SESSION;
    case PHASE_KEYS:
        return type == STATE_KEY;
    case PHASE_POLICIES:
        return type == STATE_POLICY;
    case PHASE_ROLES:
        return type == STATE_ROLE;
    case PHASE_TOKENS:
        return type == STATE_TOKEN;
    default:
        return type == STATE_COORDINATES || type == STATE_QUERY || type == STATE_AUTOPILOT ||
               type == STATE_CONFIG || type == STATE_INDEX;
    }
}

static void plan_one(struct restore *r, const struct imported *x)
{
    switch (r->now.phase) {
    case PHASE_NODES:
        plan_node(r, x);
        break;
    case PHASE_SERVICES:
        plan_service(r, x);
        break;
    case PHASE_CHECKS:
        plan_check(r, x);
        break;
    case PHASE_SESSIONS:
        plan_session(r, x);
        break;
    case PHASE_KEYS:
        plan_key(r, x);
        break;
    default:
        for (size_t i = 0; i < x->n_docs; i++) {
            plan_doc(r, &x->docs[i]);
        }
    }
}

/* What a record comes to is about as large as the record. */
static void plan_counted(struct restore *r, const struct imported *x, const struct state_record *of)
{
    size_t before = r->n;
    plan_one(r, x);
    r->bytes += (r->n - before) * of->value.len;
}

/* 1 when the phase is over, 0 when the batch is full; an error cannot be, it was all read. */
static int plan_records(struct restore *r, struct err *e)
{
    struct state_record rec;
    struct imported x;
    int rc;
    while (!restore_is_full(r)) {
        struct statefile peek = r->now.at;
        rc = statefile_next(&peek, &rec, e);
        if (rc <= 0) {
            return rc == 0 ? 1 : rc;
        }
        if (!is_of(r->now.phase, rec.type)) {
            r->now.at = peek;
            continue;
        }
        rc = next(r, &r->now.at, &rec, &x, e);
        if (rc < 0) {
            return rc;
        }
        if (rc == 1) {
            plan_counted(r, &x, &rec);
        }
        if (r->n == 0) { /* nothing borrows from it */
            arena_clear(r);
            r->last_node = slice_of(NULL, 0);
        }
    }
    return 0;
}

static int rewind_to(struct restore *r, enum restore_phase phase, struct err *e)
{
    uint64_t last_index;
    r->now.phase = phase;
    buf_clear(&r->resume);
    r->last_node = slice_of(NULL, 0);
    return statefile_begin(&r->now.at, r->state, &last_index, e);
}

/* Until there is something to do. */
static int plan(struct restore *r, struct err *e)
{
    int rc = 0;
    while (rc >= 0 && r->n == 0 && r->now.phase < PHASE_END) {
        if (r->now.phase >= PHASE_DROP_KEYS) {
            rc = restore_drop(r);
            rc = rc < 0 ? err_set(e, rc, "%s", err_title(rc)) : rc == 0;
        } else {
            rc = plan_records(r, e);
        }
        if (rc == 1 && r->now.phase == PHASE_KEYS && r->delayed_until != 0) {
            r->wait_until = r->delayed_until; /* the keys once more, after that */
            r->delayed_until = 0;
            return rewind_to(r, PHASE_KEYS, e);
        }
        if (rc == 1) {
            rc = rewind_to(r, r->now.phase + 1, e);
        }
    }
    return rc < 0 ? rc : 0;
}

static void begin(struct restore *r)
{
    arena_clear(r);
    r->n = r->bytes = 0;
    r->is_acl = 0;
    r->wait_until = 0;
    r->last_node = slice_of(NULL, 0);
    r->began = r->now;
    buf_clear(&r->resume_began);
    buf_append_slice(&r->resume_began, buf_slice(&r->resume));
}

int restore_plan(struct restore *r, struct err *e)
{
    char mark[UUID_SIZE + 1];
    begin(r);
    r->v = view_open(r->o.store);
    r->revision = r->revision != 0 ? r->revision : view_revision(r->v);
    int rc = plan(r, e);
    view_close(r->v);
    r->v = NULL;
    if (rc != 0) {
        return rc;
    }
    if (r->n == 0 && r->wait_until != 0) {
        r->waits++;
        return RESTORE_WAIT;
    }
    if (r->is_acl) {
        consul_uuid(mark);
        restore_set(r, ACCESS_STATE, ACCESS_CHANGED, restore_keep(r, slice_str(mark)));
    }
    return r->n == 0 ? RESTORE_DONE : RESTORE_BATCH;
}

const struct op *restore_ops(const struct restore *r, size_t *out_n)
{
    *out_n = r->n;
    return r->ops;
}

int64_t restore_wait_ms(const struct restore *r)
{
    int64_t left = r->wait_until - clock_wall_ms(); /* of another clock, maybe */
    return left < 0 ? 50 : (left < RESTORE_WAIT_MAX_MS ? left : RESTORE_WAIT_MAX_MS) + 50;
}

void restore_done(struct restore *r, int is_changed)
{
    r->count.n_changes += is_changed ? r->n : 0;
    r->tries = 0;
    if (!is_changed && r->now.phase >= PHASE_DROP_KEYS && r->now.phase < PHASE_END) {
        r->now.phase++; /* what does not go would be found again and again */
        buf_clear(&r->resume);
    }
}

int restore_again(struct restore *r)
{
    r->now = r->began;
    buf_clear(&r->resume);
    buf_append_slice(&r->resume, buf_slice(&r->resume_began));
    return ++r->tries < RESTORE_TRIES ? 0 : -1;
}

void restore_name_op(const struct restore *r, size_t op, char out[200])
{
    const struct op *o = &r->ops[op < r->n ? op : 0];
    struct slice name = o->u.record.name;
    const char *what = "record";
    if (o->type < OP_SESSION_CREATE) {
        what = "key";
        name = o->u.key.key;
    } else if (o->type < OP_NODE_SET) {
        what = "session";
        name = o->u.session.id;
    } else if (o->type < OP_SERVICE_SET) {
        what = "node";
        name = o->u.node.name;
    } else if (o->type < OP_CHECK_SET) {
        what = "service";
        name = o->u.service.row.service_id;
    } else if (o->type < OP_RECORD_SET) {
        what = "check";
        name = o->u.check.name.id;
    }
    (void)snprintf(out, 200, "%s %.*s", what, (int)(name.len < 128 ? name.len : 128),
                   (const char *)name.p);
}

void restore_count(const struct restore *r, struct restore_count *out)
{
    *out = r->count;
}
