/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/import.h"

#include <string.h>

#include <jansson.h>

#include "base/json_read.h"
#include "base/json_write.h"
#include "base/wire.h"
#include "server/consul/acl.h"
#include "server/consul/autopilot.h"
#include "server/consul/define.h"
#include "server/consul/import_acl.h"
#include "server/consul/list.h"
#include "server/consul/prepared.h"
#include "server/consul/text.h"
#include "server/query/query.h"

enum { COORDINATE_MAX = 4096, COORDINATES_MAX = 8, TTL_MAX_MS = 24 * 3600 * 1000 };

#define CONFIG_ENTRIES SLICE_LIT("config-entry")

static int bad(struct err *e, const char *text)
{
    return err_set(e, MU_E_BAD_REQUEST, "%s", text);
}

struct slice import_keep(const struct import *m, struct slice s)
{
    uint8_t *p = m->alloc(m->arg, s.len + 1);
    if (s.len > 0) {
        memcpy(p, s.p, s.len);
    }
    p[s.len] = '\0';
    return slice_of(p, s.len);
}

static struct slice keep_buf(const struct import *m, struct buf *b)
{
    struct slice s = import_keep(m, buf_slice(b));
    buf_fini(b);
    return s;
}

static int is_plain(struct slice s, size_t max)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < ' ' || s.p[i] == 0x7f) {
            return 0;
        }
    }
    return s.len <= max;
}

/* --- JSON from records --- */

static int doc_of(struct slice value, json_t **out, struct err *e)
{
    struct buf text;
    buf_init(&text);
    mp_json(value, &text);
    int rc = jr_parse(buf_slice(&text), out, e);
    buf_fini(&text);
    return rc;
}

static int on_text(const char *p, size_t n, void *arg)
{
    buf_append(arg, p, n);
    return 0;
}

static struct slice dump(const struct import *m, const json_t *doc)
{
    struct buf b;
    buf_init(&b);
    (void)json_dump_callback(doc, on_text, &b, JSON_COMPACT | JSON_ENCODE_ANY);
    return keep_buf(m, &b);
}

int import_body(const struct import *m, struct slice value, const struct body_table *table,
                void *out, struct err *e)
{
    struct body b = {.alloc = m->alloc, .arg = m->arg, .ignores_unknown = 1};
    struct buf text;
    buf_init(&text);
    mp_json(value, &text);
    int rc = body_read(&b, buf_slice(&text), table, out);
    buf_fini(&text);
    return rc != 0 ? bad(e, b.error) : 0;
}

static int is_zero(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_NULL:
    case JSON_FALSE:
        return 1;
    case JSON_STRING:
        return json_string_length(v) == 0;
    case JSON_INTEGER:
        return json_integer_value(v) == 0;
    case JSON_OBJECT:
        return json_object_size(v) == 0;
    case JSON_ARRAY:
        return json_array_size(v) == 0;
    default:
        return 0;
    }
}

/* Consul's records name all members; what it tells leaves out those that say nothing. Durations,
 * which are numbers in records, become text. What programs wrote stays as it is. */
static void tidy(json_t *doc)
{
    static const char *const durations[] = {
        "Interval",       "Timeout",        "DeregisterCriticalServiceAfter",
        "ConnectTimeout", "RequestTimeout", "IdleTimeout"};
    const char *key;
    void *next;
    json_t *v;
    json_object_foreach_safe (doc, next, key, v) {
        int is_free = strcmp(key, "Config") == 0 || strcmp(key, "Meta") == 0;
        size_t i;
        json_t *item;
        if (json_is_object(v) && !is_free) {
            tidy(v);
        }
        json_array_foreach (v, i, item) {
            tidy(item);
        }
        for (i = 0; i < N_ELEMENTS(durations) && json_integer_value(v) > 0; i++) {
            if (strcmp(key, durations[i]) == 0) {
                struct buf b;
                buf_init(&b);
                consul_text_put_duration(&b, (uint64_t)json_integer_value(v));
                (void)json_object_set_new(doc, key, json_stringn((const char *)b.p, b.len));
                v = json_object_get(doc, key);
                buf_fini(&b);
            }
        }
        if (is_zero(v)) {
            (void)json_object_del(doc, key);
        }
    }
}

/* What muster wrote itself beside it; is_there says whether it did. */
static int own_text(struct slice map, const char *name, int *is_there, struct slice *out,
                    struct err *e)
{
    struct slice v = mp_member(map, name);
    json_t *doc = NULL;
    *is_there = v.len != 0;
    *out = mp_raw(v);
    if (out->len == 0) {
        return 0;
    }
    int rc = jr_parse(*out, &doc, e);
    rc = rc == 0 && !json_is_object(doc) ? bad(e, "an object is expected") : rc;
    jr_free(doc);
    return rc;
}

/* --- nodes, services, checks --- */

struct registered {
    struct slice node, address, id, tagged, meta;
};
static const struct body_field node_fields[] = {
    {"Node", BODY_STR, offsetof(struct registered, node), NULL},
    {"Address", BODY_STR, offsetof(struct registered, address), NULL},
    {"ID", BODY_STR, offsetof(struct registered, id), NULL},
    {"TaggedAddresses", BODY_PAIRS, offsetof(struct registered, tagged), NULL},
    {"NodeMeta", BODY_PAIRS, offsetof(struct registered, meta), NULL},
};
static const struct body_table node_table = {"structs.RegisterRequest", sizeof(struct registered),
                                             node_fields, N_ELEMENTS(node_fields)};

static int take_node(const struct import *m, struct slice value, struct imported *out,
                     struct err *e)
{
    struct registered d = {0};
    int rc = import_body(m, value, &node_table, &d, e);
    if (rc != 0) {
        return rc;
    }
    if (d.node.len == 0 || !is_plain(d.node, KEY_NAME_MAX / 2) || !is_plain(d.address, 255) ||
        (d.id.len != 0 && d.id.len != UUID_SIZE) || !is_plain(d.id, UUID_SIZE)) {
        return bad(e, "a node has a name of at most 256 bytes, an address of at most 255, and a "
                      "UUID or no ID");
    }
    out->node.name = d.node;
    out->node.row =
        (struct node_row){.id = d.id, .address = d.address, .tagged = d.tagged, .metadata = d.meta};
    out->is_member = mp_bool(mp_member(value, "MusterMember"));
    return 0;
}

/* What a member of `extra` holds without what says nothing; empty when that is all. */
static struct slice tidied(const struct import *m, struct slice json)
{
    struct err e = {0};
    json_t *doc = NULL;
    struct slice out = {0};
    if (json.len != 0 && jr_parse(json, &doc, &e) == 0 && json_is_object(doc)) {
        tidy(doc);
        out = json_object_size(doc) > 0 ? dump(m, doc) : out;
    }
    jr_free(doc);
    return out;
}

static int take_service(const struct import *m, struct slice value, struct imported *out,
                        struct err *e)
{
    struct op_service *o = &out->service;
    struct define_service d = {0};
    struct define_fault f;
    struct buf extra, id;
    struct slice own;
    int is_own;
    int rc = import_body(m, value, &define_service_table, &d, e);
    rc = rc != 0 ? rc : own_text(value, "MusterExtra", &is_own, &own, e);
    if (rc != 0) {
        return rc;
    }
    d.tagged = slice_eq(d.tagged, SLICE_LIT("{}")) || slice_eq(d.tagged, SLICE_LIT("null"))
                   ? slice_of(NULL, 0)
                   : d.tagged;
    d.proxy = tidied(m, d.proxy);
    d.connect = tidied(m, d.connect);
    d.locality = slice_eq(d.locality, SLICE_LIT("null")) ? slice_of(NULL, 0) : d.locality;
    buf_init(&extra);
    buf_init(&id);
    rc = define_service_row(&d, &extra, &o->row, &f);
    o->row.extra = is_own ? own : import_keep(m, buf_slice(&extra));
    buf_fini(&extra);
    if (rc != 0) {
        return bad(e, f.text);
    }
    struct service_name in = list_service(d.name.len != 0 ? d.name : d.service);
    o->is_agent = mp_bool(mp_member(value, "MusterAgent"));
    o->node = out->node.name;
    if (!o->is_agent) {
        buf_append_slice(&id, o->node);
        buf_append_byte(&id, '/');
    }
    buf_append_slice(&id, o->row.service_id);
    o->name =
        (struct instance_name){in.ns, in.group, in.service, SLICE_LIT("DEFAULT"), keep_buf(m, &id)};
    return o->name.id.len > KEY_NAME_MAX
               ? bad(e, "the names of a node and of a service have at most 511 bytes together")
               : 0;
}

struct told_check {
    struct slice id, name, status, notes, output, service_id, type, definition;
};
static const struct body_field check_fields[] = {
    {"CheckID", BODY_STR, offsetof(struct told_check, id), NULL},
    {"Name", BODY_STR, offsetof(struct told_check, name), NULL},
    {"Status", BODY_STR, offsetof(struct told_check, status), NULL},
    {"Notes", BODY_STR, offsetof(struct told_check, notes), NULL},
    {"Output", BODY_STR, offsetof(struct told_check, output), NULL},
    {"ServiceID", BODY_STR, offsetof(struct told_check, service_id), NULL},
    {"Type", BODY_STR, offsetof(struct told_check, type), NULL},
    {"Definition", BODY_JSON, offsetof(struct told_check, definition), NULL},
};
static const struct body_table check_table = {"structs.HealthCheck", sizeof(struct told_check),
                                              check_fields, N_ELEMENTS(check_fields)};

/* Run by the cluster: the definition is that of a registration. Else it is text for whoever runs
 * it. */
static int take_definition(const struct import *m, struct slice value, const struct told_check *t,
                           struct define_check *d, struct err *e)
{
    struct slice own;
    int is_own;
    int rc = own_text(value, "MusterDefinition", &is_own, &own, e);
    if (rc != 0) {
        return rc;
    }
    if (mp_bool(mp_member(value, "MusterAgent"))) {
        return import_body(m, mp_member(value, "Definition"), &define_check_table, d, e);
    }
    d->definition = is_own ? own : tidied(m, t->definition);
    return 0;
}

static int take_check(const struct import *m, struct slice value, struct imported *out,
                      struct err *e)
{
    struct op_check *o = &out->check;
    struct told_check t = {0};
    struct define_check d = {0};
    struct define_fault f;
    int rc = import_body(m, value, &check_table, &t, e);
    rc = rc != 0 ? rc : take_definition(m, value, &t, &d, e);
    if (rc != 0) {
        return rc;
    }
    d.name = t.name;
    d.notes = t.notes;
    d.status = t.status;
    d.output = t.output;
    d.type = t.type;
    if (define_check_row(&d, &o->row, &f) != 0) {
        return bad(e, f.text);
    }
    if (t.id.len == 0 || !is_plain(t.id, KEY_NAME_MAX) ||
        !is_plain(t.service_id, KEY_NAME_MAX / 2) || t.name.len > KEY_NAME_MAX ||
        t.notes.len > CHECK_TEXT_MAX || t.type.len > KEY_NAME_MAX) {
        return bad(e,
                   "a check has an ID and a name of at most 512 bytes and no control characters");
    }
    o->name = (struct check_name){out->node.name, t.service_id, t.id};
    o->is_agent = o->row.is_agent = mp_bool(mp_member(value, "MusterAgent"));
    if (!o->is_agent) { /* others run it, and tell */
        o->row.run = (struct check_run){0};
        o->row.ttl_ms = 0;
        o->row.remove_after_ms = REMOVE_NEVER;
    }
    return 0;
}

static int take_register(const struct import *m, struct slice value, struct imported *out,
                         struct err *e)
{
    struct slice service = mp_member(value, "Service"), check = mp_member(value, "Check");
    int rc = take_node(m, value, out, e);
    out->has_service = mp_type_of(service) == MP_MAP;
    out->has_check = mp_type_of(check) == MP_MAP;
    if (rc == 0 && out->has_service) {
        rc = take_service(m, service, out, e);
    }
    if (rc == 0 && out->has_check) {
        rc = take_check(m, check, out, e);
    }
    return rc;
}

/* --- sessions and keys --- */

static int put_names(struct slice array, const char *member, struct buf *out)
{
    struct mp_walk w;
    struct slice item;
    size_t n = 0;
    struct buf names;
    buf_init(&names);
    mp_items(array, &w);
    while (mp_next(&w, &item)) {
        struct slice s = member != NULL ? mp_text(item, member) : mp_raw(item);
        if (s.len == 0 || !is_plain(s, KEY_NAME_MAX) || ++n > BODY_ITEMS_MAX) {
            buf_fini(&names);
            return MU_E_BAD_REQUEST;
        }
        wire_put_bytes(&names, s);
    }
    if (n > 0) {
        wire_put_u16(out, (uint16_t)n);
        buf_append_slice(out, buf_slice(&names));
    }
    buf_fini(&names);
    return 0;
}

static int take_lists(const struct import *m, struct slice value, struct session_row *row)
{
    struct buf b;
    struct slice nodes = mp_member(value, "NodeChecks");
    buf_init(&b);
    int rc =
        put_names(mp_type_of(nodes) == MP_ARRAY ? nodes : mp_member(value, "Checks"), NULL, &b);
    row->node_checks = import_keep(m, buf_slice(&b));
    buf_clear(&b);
    rc = rc != 0 ? rc : put_names(mp_member(value, "ServiceChecks"), "ID", &b);
    row->service_checks = keep_buf(m, &b);
    return rc;
}

static int take_session(const struct import *m, struct slice value, struct imported *out,
                        struct err *e)
{
    struct session_row *row = &out->session.row;
    int64_t delay = mp_i64(mp_member(value, "LockDelay"));
    uint64_t ns = 0;
    out->session.id = mp_text(value, "ID");
    row->name = mp_text(value, "Name");
    row->node = mp_text(value, "Node");
    row->ttl_text = mp_text(value, "TTL");
    row->lock_delay_ns = delay > 0 ? (uint64_t)delay : 0;
    row->behavior = slice_eq(mp_text(value, "Behavior"), SLICE_LIT("delete")) ? SESSION_DELETE
                                                                              : SESSION_RELEASE;
    if (!consul_is_uuid(out->session.id) || row->node.len == 0 ||
        !is_plain(row->node, KEY_NAME_MAX / 2) || row->name.len > KEY_NAME_MAX ||
        row->ttl_text.len > 64) {
        return bad(e, "a session has a UUID, and a name and a node of at most 512 and 256 bytes");
    }
    if (row->ttl_text.len != 0 &&
        (consul_text_duration(row->ttl_text, &ns) != 0 || ns / 1000000 > TTL_MAX_MS)) {
        return bad(e, "a session's TTL is a duration of at most a day");
    }
    row->ttl_ms = (int64_t)(ns / 1000000);
    return take_lists(m, value, row) != 0 ? bad(e, "a session names at most 128 checks of a kind")
                                          : 0;
}

static int take_key(struct slice value, struct imported *out, struct err *e)
{
    out->key = (struct op_key){.key = mp_text(value, "Key"),
                               .value = mp_text(value, "Value"),
                               .session = mp_text(value, "Session"),
                               .flags = mp_u64(mp_member(value, "Flags"))};
    if (out->key.key.len == 0 || out->key.key.len > KEY_USER_MAX ||
        out->key.value.len > USER_VALUE_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "a key has 1 to %d bytes, its value at most %d",
                       KEY_USER_MAX, USER_VALUE_MAX);
    }
    if (out->key.session.len != 0 && !consul_is_uuid(out->key.session)) {
        return bad(e, "a key is held by a session's UUID");
    }
    return 0;
}

/* --- documents --- */

static struct import_doc *one_doc(const struct import *m, struct imported *out)
{
    out->docs = m->alloc(m->arg, sizeof(*out->docs));
    out->docs[0] = (struct import_doc){0};
    out->n_docs = 1;
    return out->docs;
}

static int take_coordinate(const struct import *m, struct slice item, struct import_doc *d,
                           struct err *e)
{
    struct slice own, coord = mp_member(item, "Coord");
    int is_own;
    struct buf b;
    int rc = own_text(item, "MusterBody", &is_own, &own, e);
    if (rc != 0) {
        return rc;
    }
    buf_init(&b);
    if (mp_type_of(coord) == MP_MAP) {
        mp_json(coord, &b);
    }
    struct slice told = keep_buf(m, &b);
    *d = (struct import_doc){.kind = NEAR_COORDINATES,
                             .name = mp_text(item, "Node"),
                             .body = is_own && own.len != 0 ? own : told};
    if (d->name.len == 0 || !is_plain(d->name, KEY_NAME_MAX / 2) || d->body.len == 0 ||
        d->body.len > COORDINATE_MAX) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "Node and Coord are required: an object of at most %d bytes",
                       COORDINATE_MAX);
    }
    return 0;
}

static int take_coordinates(const struct import *m, struct slice value, struct imported *out,
                            struct err *e)
{
    struct mp_walk w;
    struct slice item;
    int rc = 0;
    mp_items(value, &w);
    if (w.left > COORDINATES_MAX) {
        return bad(e, "too many coordinates in one record");
    }
    out->docs = m->alloc(m->arg, (w.left + 1) * sizeof(*out->docs));
    while (rc == 0 && mp_next(&w, &item)) {
        if (mp_text(item, "Segment").len == 0) {
            rc = take_coordinate(m, item, &out->docs[out->n_docs++], e);
        }
    }
    return rc;
}

/* Who runs a query shows a token: the one it was made with is not kept. */
static int take_query(const struct import *m, struct slice value, struct imported *out,
                      struct err *e)
{
    struct prepared *g = m->alloc(m->arg, sizeof(*g));
    struct import_doc *d = one_doc(m, out);
    struct buf b;
    memset(g, 0, sizeof(*g));
    int rc = import_body(m, value, &prepared_table, g, e);
    if (rc == 0 && g->service.connect) {
        return IMPORT_PASSED;
    }
    g->token = slice_of(NULL, 0);
    rc = rc != 0 ? rc : prepared_check(g, e);
    if (rc == 0 && !consul_is_uuid(g->id)) {
        rc = bad(e, "the ID of a query is a UUID");
    }
    if (rc != 0) {
        return rc;
    }
    memcpy(g->new_id, g->id.p, UUID_SIZE);
    buf_init(&b);
    prepared_text(g, &b);
    *d = (struct import_doc){
        .kind = QUERIES, .name = g->id, .body = keep_buf(m, &b), .claim_kind = QUERY_NAMES};
    prepared_claim(g->name, g->template.type.len != 0, &b);
    d->claim = keep_buf(m, &b);
    return 0;
}

static int take_autopilot(const struct import *m, struct slice value, struct imported *out,
                          struct err *e)
{
    struct autopilot a = {0};
    struct import_doc *d = one_doc(m, out);
    struct buf b;
    int rc = import_body(m, value, &autopilot_table, &a, e);
    if (rc == 0) {
        buf_init(&b);
        autopilot_text(&a, &b);
        *d = (struct import_doc){
            .kind = AUTOPILOT_KIND, .name = AUTOPILOT_NAME, .body = keep_buf(m, &b)};
    }
    return rc;
}

/* Kind and Name first, as entries are kept. */
static struct slice entry_text(const struct import *m, json_t *doc, struct slice kind,
                               struct slice name)
{
    static const char *const own[] = {"Kind", "Name", "CreateIndex", "ModifyIndex"};
    json_t *whole = json_object();
    tidy(doc);
    for (size_t i = 0; i < N_ELEMENTS(own); i++) {
        (void)json_object_del(doc, own[i]);
    }
    (void)json_object_set_new(whole, "Kind", json_stringn((const char *)kind.p, kind.len));
    (void)json_object_set_new(whole, "Name", json_stringn((const char *)name.p, name.len));
    (void)json_object_update(whole, doc);
    struct slice text = dump(m, whole);
    json_decref(whole);
    return text;
}

static int entry_body(const struct import *m, struct slice map, struct slice entry,
                      struct import_doc *d, struct err *e)
{
    struct slice kind = mp_text(entry, "Kind"), name = mp_text(entry, "Name");
    json_t *doc = NULL;
    int is_own;
    int rc = own_text(map, "MusterBody", &is_own, &d->body, e);
    if (rc == 0 && !is_own) {
        rc = doc_of(entry, &doc, e);
        d->body = rc == 0 ? entry_text(m, doc, kind, name) : d->body;
        jr_free(doc);
    } else if (rc == 0) {
        rc = jr_parse(d->body, &doc, e);
        const char *k = json_string_value(json_object_get(doc, "Kind"));
        const char *n = json_string_value(json_object_get(doc, "Name"));
        if (rc == 0 && (k == NULL || n == NULL || !slice_eq(slice_str(k), kind) ||
                        !slice_eq(slice_str(n), name))) {
            rc = bad(e, "a config entry is called otherwise in its body");
        }
        jr_free(doc);
    }
    return rc;
}

static int take_config(const struct import *m, struct slice value, struct imported *out,
                       struct err *e)
{
    struct slice inside = mp_raw(value), kind, map, entry;
    struct import_doc *d = one_doc(m, out);
    struct buf b;
    if (mp_take(&inside, &kind) != 0 || mp_take(&inside, &map) != 0 || inside.len != 0) {
        return bad(e, "a config entry is its kind and a map");
    }
    entry = mp_member(map, "Entry");
    if (mp_type_of(entry) == MP_RAW) {
        inside = mp_raw(entry);
        if (mp_take(&inside, &entry) != 0 || inside.len != 0) {
            return bad(e, "a config entry is a map");
        }
    }
    kind = mp_raw(kind);
    struct slice name = mp_text(entry, "Name");
    if (!consul_config_is_kind(kind)) {
        return IMPORT_PASSED;
    }
    if (!slice_eq(mp_text(entry, "Kind"), kind) || !is_plain(name, KEY_NAME_MAX / 2)) {
        return bad(e, "a config entry has its kind, and a name of at most 256 bytes");
    }
    int rc = entry_body(m, map, entry, d, e);
    buf_init(&b);
    buf_append_slice(&b, kind);
    buf_append_byte(&b, '/');
    buf_append_slice(&b, name);
    d->kind = CONFIG_ENTRIES;
    d->name = keep_buf(m, &b);
    return rc == 0 && d->body.len > RECORD_MAX ? bad(e, "a config entry is too large") : rc;
}

/* --- all of them --- */

/* What the store would refuse is told before anything is changed. */
static int check_op(const struct op *o, struct err *e)
{
    struct command cmd = {.type = CMD_TXN, .u.txn = {.n = 1, .ops = o}};
    struct command back;
    struct buf b;
    buf_init(&b);
    command_encode(&b, &cmd);
    int rc = command_decode(buf_slice(&b), &back);
    buf_fini(&b);
    return rc == 0 ? 0 : bad(e, "a text or a list of it is longer than what can be stored");
}

static int check_ops(const struct state_record *r, const struct imported *x, struct err *e)
{
    struct op node = {.type = OP_NODE_SET, .u.node = x->node};
    struct op service = {.type = OP_SERVICE_SET, .u.service = x->service};
    struct op check = {.type = OP_CHECK_SET, .u.check = x->check};
    struct op session = {.type = OP_SESSION_CREATE, .u.session = x->session};
    struct op key = {.type = OP_KEY_SET, .u.key = x->key};
    int rc = r->type == STATE_REGISTER ? check_op(&node, e) : 0;
    check.u.check.lease_id = session.u.session.row.meta.lease = 1; /* drawn when it is written */
    rc = rc == 0 && x->has_service ? check_op(&service, e) : rc;
    rc = rc == 0 && x->has_check ? check_op(&check, e) : rc;
    rc = rc == 0 && r->type == STATE_SESSION ? check_op(&session, e) : rc;
    rc = rc == 0 && r->type == STATE_KEY ? check_op(&key, e) : rc;
    for (size_t i = 0; rc == 0 && i < x->n_docs && x->docs[i].name.len != 0; i++) {
        const struct import_doc *d = &x->docs[i];
        struct op body = {.type = OP_RECORD_SET, .u.record = {d->kind, d->name, d->body}};
        struct op claim = {.type = OP_RECORD_SET, .u.record = {d->claim_kind, d->claim, d->name}};
        rc = check_op(&body, e);
        rc = rc == 0 && d->claim.len != 0 ? check_op(&claim, e) : rc;
    }
    return rc;
}

static int take(const struct import *m, const struct state_record *r, struct imported *out,
                struct err *e)
{
    switch (r->type) {
    case STATE_REGISTER:
        return take_register(m, r->value, out, e);
    case STATE_KEY:
        return take_key(r->value, out, e);
    case STATE_SESSION:
        return take_session(m, r->value, out, e);
    case STATE_COORDINATES:
        return take_coordinates(m, r->value, out, e);
    case STATE_QUERY:
        return take_query(m, r->value, out, e);
    case STATE_AUTOPILOT:
        return take_autopilot(m, r->value, out, e);
    case STATE_CONFIG:
        return take_config(m, r->value, out, e);
    case STATE_INDEX:
        return import_bootstrap(r->value, one_doc(m, out), &out->n_docs);
    case STATE_TOKEN:
        return import_token(m, r->value, one_doc(m, out), e);
    case STATE_POLICY:
        return import_policy(m, r->value, one_doc(m, out), e);
    case STATE_ROLE:
        return import_role(m, r->value, one_doc(m, out), e);
    default:
        return state_use(r->type) == STATE_PASSED ? IMPORT_PASSED : 0;
    }
}

int import_record(const struct import *m, const struct state_record *r, struct imported *out,
                  struct err *e)
{
    *out = (struct imported){0};
    int is_wrong = state_use(r->type) == STATE_TAKEN && mp_type_of(r->value) != MP_MAP &&
                   r->type != STATE_COORDINATES && r->type != STATE_CONFIG;
    if (is_wrong) {
        return err_set(e, MU_E_BAD_REQUEST, "%s: a map is expected", state_name(r->type));
    }
    if (r->type != STATE_KEY && state_use(r->type) == STATE_TAKEN &&
        r->value.len > IMPORT_RECORD_MAX) {
        return err_set(e, MU_E_TOO_LARGE, "%s: larger than %d bytes", state_name(r->type),
                       IMPORT_RECORD_MAX);
    }
    int rc = take(m, r, out, e);
    rc = rc == 0 ? check_ops(r, out, e) : rc;
    return rc < 0 ? err_wrap(e, "%s", state_name(r->type)) : rc;
}
