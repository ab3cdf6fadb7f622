/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/export.h"

#include <string.h>

#include <jansson.h>

#include "base/json_read.h"
#include "server/access/document.h"
#include "server/consul/autopilot.h"
#include "server/consul/change.h"
#include "server/consul/define.h"
#include "server/consul/near.h"
#include "server/consul/show.h"
#include "server/consul/statefile.h"
#include "server/consul/text.h"
#include "server/query/query.h"

enum { PIECE = 256 * 1024, NS_PER_MS = 1000000 };

#define CONFIG_ENTRIES SLICE_LIT("config-entry")
/* Seconds from year 1 to 1970, as Go counts. */
#define GO_EPOCH_S INT64_C(62135596800)

struct exporting {
    struct view *v;
    const char *datacenter;
    export_put_fn put;
    void *arg;
    struct err *e;
    struct buf out; /* records that were not given on yet */
    struct slice node;
    const struct node_row *row;
};

static int flush(struct exporting *x)
{
    int rc = x->put(x->arg, buf_slice(&x->out), x->e);
    buf_clear(&x->out);
    return rc;
}

static struct mp_open begin(struct exporting *x, enum state_type type)
{
    struct mp_open m;
    buf_append_byte(&x->out, (uint8_t)type);
    mp_open_map(&m, &x->out);
    return m;
}

static int end(struct exporting *x, struct mp_open *m)
{
    mp_close(m);
    return x->out.len < PIECE ? 0 : flush(x);
}

static void put_indexes(struct mp_open *m, const struct row_meta *meta)
{
    mp_key(m, "CreateIndex");
    mp_put_u64(m->out, meta->create_rev);
    mp_key(m, "ModifyIndex");
    mp_put_u64(m->out, meta->mod_rev);
}

static void put_list(struct mp_open *m, const char *name, struct slice list)
{
    struct pair_iter it;
    struct slice s;
    struct mp_open a;
    mp_key(m, name);
    mp_open_array(&a, m->out);
    tags_begin(&it, list);
    while (tags_next(&it, &s)) {
        mp_item(&a);
        mp_put_raw(m->out, s);
    }
    mp_close(&a);
}

static void put_pairs(struct mp_open *m, const char *name, struct slice pairs)
{
    struct pair_iter it;
    struct slice k, s;
    struct mp_open o;
    mp_key(m, name);
    mp_open_map(&o, m->out);
    metadata_begin(&it, pairs);
    while (metadata_next(&it, &k, &s)) {
        o.n++;
        mp_put_raw(m->out, k);
        mp_put_raw(m->out, s);
    }
    mp_close(&o);
}

static json_t *doc_of(struct slice text)
{
    struct err e = {0};
    json_t *doc = NULL;
    return text.len != 0 && jr_parse(text, &doc, &e) == 0 ? doc : NULL;
}

static struct slice text_in(const json_t *doc, const char *name)
{
    const json_t *v = json_object_get(doc, name);
    return slice_of(json_string_value(v), json_string_length(v));
}

/* --- nodes with what stands on them --- */

static struct mp_open begin_node(struct exporting *x)
{
    struct mp_open m = begin(x, STATE_REGISTER);
    mp_key_str(&m, "Datacenter", slice_str(x->datacenter));
    mp_key_str(&m, "ID", x->row->id);
    mp_key_str(&m, "Node", x->node);
    mp_key_str(&m, "Address", x->row->address);
    if (x->row->tagged.len != 0) {
        put_pairs(&m, "TaggedAddresses", x->row->tagged);
    }
    if (x->row->metadata.len != 0) {
        put_pairs(&m, "NodeMeta", x->row->metadata);
    }
    if (x->row->is_member) {
        mp_key_bool(&m, "MusterMember", 1);
    }
    put_indexes(&m, &x->row->meta);
    return m;
}

static void put_weights(struct mp_open *m, const struct instance_row *row, const json_t *extra)
{
    int64_t passing, warning;
    struct mp_open w;
    show_weights(extra, row, &passing, &warning);
    mp_key(m, "Weights");
    mp_open_map(&w, m->out);
    mp_key_i64(&w, "Passing", passing);
    mp_key_i64(&w, "Warning", warning);
    mp_close(&w);
}

static void put_service(struct mp_open *of, const struct place_row *p,
                        const struct instance_row *row)
{
    static const char *const members[] = {"TaggedAddresses", "Proxy", "Connect",
                                          "Locality",        "Kind",  "EnableTagOverride"};
    json_t *extra = doc_of(row->extra);
    struct mp_open m;
    mp_key(of, "Service");
    mp_open_map(&m, of->out);
    mp_key_str(&m, "ID", row->service_id);
    mp_key_str(&m, "Service", p->service);
    if (row->tags.len != 0) {
        put_list(&m, "Tags", row->tags);
    }
    mp_key_str(&m, "Address", row->is_node_address ? slice_of(NULL, 0) : row->address);
    if (row->metadata.len != 0) {
        put_pairs(&m, "Meta", row->metadata);
    }
    mp_key_i64(&m, "Port", row->port);
    put_weights(&m, row, extra);
    for (size_t i = 0; i < N_ELEMENTS(members); i++) {
        const json_t *v = json_object_get(extra, members[i]);
        if (v != NULL) {
            mp_key_json(&m, members[i], v);
        }
    }
    if (p->is_agent) {
        mp_key_bool(&m, "MusterAgent", 1);
    }
    mp_key_str(&m, "MusterExtra", row->extra);
    put_indexes(&m, &row->meta);
    mp_close(&m);
    json_decref(extra);
}

static int on_place(void *arg, struct slice node, struct slice service_id,
                    const struct place_row *p)
{
    struct exporting *x = arg;
    struct instance_name n = {p->ns, p->group, p->service, p->cluster, p->id};
    struct instance_row row;
    (void)node;
    int is_own = x->row->is_member && slice_eq(service_id, SLICE_LIT("consul"));
    if (p->meta.is_deleted || is_own || view_instance(x->v, &n, &row) != 0) {
        return 0;
    }
    struct mp_open m = begin_node(x);
    put_service(&m, p, &row);
    return end(x, &m);
}

/* Of a definition that the catalog was given: what Consul has and of the type that it has. */
static void put_known(struct mp_open *m, const json_t *doc)
{
    static const struct {
        const char *name;
        char type; /* text, boolean, headers, duration, number */
    } known[] = {
        {"HTTP", 't'},      {"TLSSkipVerify", 'b'}, {"Header", 'h'},
        {"Method", 't'},    {"Body", 't'},          {"TCP", 't'},
        {"Interval", 'd'},  {"Timeout", 'd'},       {"DeregisterCriticalServiceAfter", 'd'},
        {"TTL", 'd'},       {"OutputMaxSize", 'n'}, {"GRPC", 't'},
        {"AliasNode", 't'}, {"GRPCUseTLS", 'b'},    {"AliasService", 't'},
    };
    for (size_t i = 0; i < N_ELEMENTS(known); i++) {
        const json_t *v = json_object_get(doc, known[i].name);
        char t = known[i].type;
        uint64_t ns;
        if ((t == 't' && json_is_string(v)) || (t == 'b' && json_is_boolean(v)) ||
            (t == 'h' && json_is_object(v)) ||
            ((t == 'n' || t == 'd') && json_is_integer(v) && json_integer_value(v) >= 0)) {
            mp_key_json(m, known[i].name, v);
        } else if (t == 'd' && json_is_string(v) &&
                   consul_text_duration(text_in(doc, known[i].name), &ns) == 0 && ns <= INT64_MAX) {
            mp_key_i64(m, known[i].name, (int64_t)ns);
        }
    }
}

static void put_headers(struct mp_open *m, struct slice headers)
{
    struct pair_iter it;
    struct slice k, s;
    json_t *all = json_object();
    metadata_begin(&it, headers);
    while (metadata_next(&it, &k, &s)) { /* a name may come several times */
        json_t *list = json_object_getn(all, (const char *)k.p, k.len);
        if (list == NULL) {
            list = json_array();
            (void)json_object_setn_new(all, (const char *)k.p, k.len, list);
        }
        (void)json_array_append_new(list, json_stringn((const char *)s.p, s.len));
    }
    mp_key_json(m, "Header", all);
    json_decref(all);
}

static void put_ms(struct mp_open *m, const char *name, int64_t ms)
{
    if (ms > 0) {
        mp_key_i64(m, name, ms > INT64_MAX / NS_PER_MS ? INT64_MAX : ms * NS_PER_MS);
    }
}

static void put_texts(struct mp_open *m, const struct check_run *r)
{
    const struct {
        const char *name;
        struct slice s;
    } texts[] = {
        {"Method", r->method},
        {"Body", r->body},
        {"TLSServerName", r->server_name},
        {"AliasService", r->alias_service},
    };
    for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
        if (texts[i].s.len != 0) {
            mp_key_str(m, texts[i].name, texts[i].s);
        }
    }
}

/* Of a check that the cluster runs: all of it, in the words of a registration. */
static void put_run(struct mp_open *m, const struct check_row *row)
{
    static const char *const targets[] = {
        [CHECK_KIND_HTTP] = "HTTP",     [CHECK_KIND_TCP] = "TCP",
        [CHECK_KIND_UDP] = "UDP",       [CHECK_KIND_GRPC] = "GRPC",
        [CHECK_KIND_H2PING] = "H2PING", [CHECK_KIND_ALIAS] = "AliasNode",
        [CHECK_KIND_N] = NULL};
    const struct check_run *r = &row->run;
    int is_run = r->kind != CHECK_KIND_NONE && r->kind != CHECK_KIND_TTL;
    if (targets[r->kind] != NULL) {
        mp_key_str(m, targets[r->kind], r->target);
    }
    put_texts(m, r);
    if (r->headers.len > 2) {
        put_headers(m, r->headers);
    }
    put_ms(m, "TTL", row->ttl_ms);
    if (is_run && r->kind != CHECK_KIND_ALIAS) {
        put_ms(m, "Interval", r->interval_ms);
        put_ms(m, "Timeout", r->timeout_ms);
    }
    put_ms(m, "DeregisterCriticalServiceAfter",
           row->remove_after_ms == REMOVE_NEVER ? 0 : row->remove_after_ms);
    mp_key_i64(m, "OutputMaxSize", r->output_max);
    mp_key_i64(m, "SuccessBeforePassing", r->passes_needed);
    mp_key_i64(m, "FailuresBeforeWarning", r->failures_to_warn);
    mp_key_i64(m, "FailuresBeforeCritical", r->failures_to_fail);
    mp_key_bool(m, "TLSSkipVerify", r->skip_verify);
    mp_key_bool(m, "DisableRedirects", r->no_redirects);
    mp_key_bool(m, "GRPCUseTLS", r->kind == CHECK_KIND_GRPC && r->use_tls);
    mp_key_bool(m, "H2PingUseTLS", r->use_tls);
}

static void put_check(struct mp_open *of, const struct check_name *n, const struct check_row *row)
{
    struct mp_open m, d;
    json_t *given = doc_of(row->definition);
    mp_key(of, "Check");
    mp_open_map(&m, of->out);
    mp_key_str(&m, "Node", n->node);
    mp_key_str(&m, "CheckID", n->id);
    mp_key_str(&m, "Name", row->name);
    mp_key_str(&m, "Status", slice_str(define_status_name(row->status)));
    mp_key_str(&m, "Notes", row->notes);
    mp_key_str(&m, "Output", row->output);
    mp_key_str(&m, "ServiceID", n->service_id);
    mp_key_str(&m, "ServiceName", row->service_name);
    mp_key_str(&m, "Type", row->type_name);
    mp_key(&m, "Definition");
    mp_open_map(&d, of->out);
    if (row->is_agent) {
        put_run(&d, row);
    } else {
        put_known(&d, given);
    }
    mp_close(&d);
    if (row->is_agent) {
        mp_key_bool(&m, "MusterAgent", 1);
    }
    mp_key_str(&m, "MusterDefinition", row->definition);
    put_indexes(&m, &row->meta);
    mp_close(&m);
    json_decref(given);
}

static int on_check(void *arg, const struct check_name *n, const struct check_row *row)
{
    struct exporting *x = arg;
    int is_own = x->row->is_member && slice_eq(n->id, SLICE_LIT("serfHealth"));
    if (row->meta.is_deleted || is_own) {
        return 0;
    }
    struct mp_open m = begin_node(x);
    put_check(&m, n, row);
    return end(x, &m);
}

static int on_node(void *arg, struct slice name, const struct node_row *row)
{
    struct exporting *x = arg;
    if (row->meta.is_deleted) {
        return 0;
    }
    x->node = name;
    x->row = row;
    struct mp_open m = begin_node(x);
    int rc = end(x, &m);
    rc = rc != 0 ? rc : view_places(x->v, name, on_place, x);
    return rc != 0 ? rc : view_checks(x->v, name, on_check, x);
}

/* --- sessions and keys --- */

static int on_session(void *arg, struct slice id, const struct session_row *row)
{
    struct exporting *x = arg;
    struct pair_iter it;
    struct slice s;
    struct mp_open list, one;
    if (row->meta.is_deleted) {
        return 0;
    }
    struct mp_open m = begin(x, STATE_SESSION);
    mp_key_str(&m, "ID", id);
    mp_key_str(&m, "Name", row->name);
    mp_key_str(&m, "Node", row->node);
    mp_key_i64(&m, "LockDelay",
               row->lock_delay_ns > INT64_MAX ? INT64_MAX : (int64_t)row->lock_delay_ns);
    mp_key_str(&m, "Behavior",
               row->behavior == SESSION_DELETE ? SLICE_LIT("delete") : SLICE_LIT("release"));
    mp_key_str(&m, "TTL", row->ttl_text);
    put_list(&m, "NodeChecks", row->node_checks);
    mp_key(&m, "ServiceChecks");
    mp_open_array(&list, &x->out);
    tags_begin(&it, row->service_checks);
    while (tags_next(&it, &s)) {
        mp_item(&list);
        mp_open_map(&one, &x->out);
        mp_key_str(&one, "ID", s);
        mp_key_str(&one, "Namespace", slice_of(NULL, 0));
        mp_close(&one);
    }
    mp_close(&list);
    put_indexes(&m, &row->meta);
    return end(x, &m);
}

static int on_key(void *arg, struct slice key, const struct user_row *row)
{
    struct exporting *x = arg;
    if (row->meta.is_deleted) {
        return 0;
    }
    struct mp_open m = begin(x, STATE_KEY);
    mp_key(&m, "LockIndex");
    mp_put_u64(&x->out, row->lock_index);
    mp_key_str(&m, "Key", key);
    mp_key(&m, "Flags");
    mp_put_u64(&x->out, row->flags);
    mp_key_str(&m, "Value", row->value);
    mp_key_str(&m, "Session", row->session);
    put_indexes(&m, &row->meta);
    return end(x, &m);
}

/* --- records --- */

/* A document whose members of these names are durations, as text or as they are. */
static void put_timed(struct buf *out, const json_t *v)
{
    static const char *const durations[] = {"ConnectTimeout", "RequestTimeout", "IdleTimeout",
                                            "LastContactThreshold", "ServerStabilizationTime"};
    struct mp_open m;
    const char *key;
    const json_t *item;
    size_t i;
    uint64_t ns;
    if (json_is_array(v)) {
        mp_put_array(out, json_array_size(v));
        json_array_foreach (v, i, item) {
            put_timed(out, item);
        }
        return;
    }
    if (!json_is_object(v)) {
        mp_put_json(out, v);
        return;
    }
    mp_open_map(&m, out);
    json_object_foreach ((json_t *)(uintptr_t)v, key, item) {
        int is_time = 0;
        for (i = 0; i < N_ELEMENTS(durations); i++) {
            is_time |= strcmp(key, durations[i]) == 0;
        }
        if (is_time && json_is_string(item) && consul_text_duration(text_in(v, key), &ns) == 0) {
            mp_key_i64(&m, key, ns > INT64_MAX ? INT64_MAX : (int64_t)ns);
        } else {
            mp_key(&m, key);
            put_timed(out, item);
        }
    }
    mp_close(&m);
}

/* The members of a document into an open map. */
static void put_members(struct mp_open *m, const json_t *doc)
{
    struct buf b;
    struct slice k, v;
    struct mp_walk w;
    buf_init(&b);
    put_timed(&b, doc);
    mp_members(buf_slice(&b), &w);
    while (mp_next(&w, &k) && mp_next(&w, &v)) {
        m->n++;
        buf_append_slice(m->out, k);
        buf_append_slice(m->out, v);
    }
    buf_fini(&b);
}

static int put_plain(struct exporting *x, enum state_type type, const struct record_row *row)
{
    json_t *doc = doc_of(row->body);
    if (row->meta.is_deleted || !json_is_object(doc)) {
        json_decref(doc);
        return 0;
    }
    struct mp_open m = begin(x, type);
    put_members(&m, doc);
    put_indexes(&m, &row->meta);
    json_decref(doc);
    return end(x, &m);
}

static int on_query(void *arg, struct slice id, const struct record_row *row)
{
    struct exporting *x = arg;
    struct query q;
    if (row->meta.is_deleted || query_get(x->v, id, &q) != 0) {
        return 0; /* it went with its session */
    }
    query_free(&q);
    return put_plain(x, STATE_QUERY, row);
}

static int on_coordinate(void *arg, struct slice node, const struct record_row *row)
{
    struct exporting *x = arg;
    struct node_row n;
    struct mp_open list, m;
    json_t *doc = doc_of(row->body);
    if (row->meta.is_deleted || !json_is_object(doc) || view_node(x->v, node, &n) != 0) {
        json_decref(doc);
        return 0;
    }
    buf_append_byte(&x->out, STATE_COORDINATES);
    mp_open_array(&list, &x->out);
    mp_item(&list);
    mp_open_map(&m, &x->out);
    mp_key_str(&m, "Node", node);
    mp_key_str(&m, "Segment", slice_of(NULL, 0));
    mp_key_json(&m, "Coord", doc);
    mp_key_str(&m, "MusterBody", row->body);
    mp_close(&m);
    json_decref(doc);
    return end(x, &list);
}

/* Consul writes an entry as bytes that hold its kind and then itself; those of one kind hold the
 * entry as bytes again. */
static int on_config(void *arg, struct slice name, const struct record_row *row)
{
    struct exporting *x = arg;
    json_t *doc = doc_of(row->body);
    struct buf entry, whole;
    struct mp_open m;
    (void)name;
    if (row->meta.is_deleted || !json_is_object(doc)) {
        json_decref(doc);
        return 0;
    }
    buf_init(&entry);
    buf_init(&whole);
    mp_open_map(&m, &entry);
    put_members(&m, doc);
    put_indexes(&m, &row->meta);
    mp_close(&m);
    struct slice kind = text_in(doc, "Kind");
    mp_put_raw(&whole, kind);
    mp_open_map(&m, &whole);
    mp_key_str(&m, "Datacenter", slice_str(x->datacenter));
    mp_key(&m, "Entry");
    if (slice_eq(kind, SLICE_LIT("proxy-defaults"))) {
        mp_put_raw(&whole, buf_slice(&entry));
    } else {
        buf_append_slice(&whole, buf_slice(&entry));
    }
    mp_key_str(&m, "MusterBody", row->body);
    mp_close(&m);
    buf_append_byte(&x->out, STATE_CONFIG);
    mp_put_raw(&x->out, buf_slice(&whole));
    buf_fini(&entry);
    buf_fini(&whole);
    json_decref(doc);
    return x->out.len < PIECE ? 0 : flush(x);
}

/* --- access control --- */

static void put_time(struct mp_open *m, const char *name, int64_t ms)
{
    uint8_t b[15] = {1};
    uint64_t s = (uint64_t)(ms / 1000 + GO_EPOCH_S);
    uint32_t ns = (uint32_t)(ms % 1000) * NS_PER_MS;
    if (ms <= 0) {
        return;
    }
    for (int i = 0; i < 8; i++) {
        b[1 + i] = (uint8_t)(s >> (56 - 8 * i));
    }
    for (int i = 0; i < 4; i++) {
        b[9 + i] = (uint8_t)(ns >> (24 - 8 * i));
    }
    b[13] = b[14] = 0xff; /* UTC */
    mp_key_str(m, name, slice_of(b, sizeof(b)));
}

static struct slice name_of(struct exporting *x, struct slice kind, struct slice id, json_t **doc)
{
    struct record_row row;
    struct slice body =
        slice_eq(kind, ACCESS_POLICIES) ? access_builtin_policy(id) : slice_of(NULL, 0);
    if (body.len == 0 && view_record(x->v, kind, id, &row) == 0) {
        body = row.body;
    }
    *doc = doc_of(body);
    return text_in(*doc, "Name");
}

static void put_links(struct exporting *x, struct mp_open *m, const char *name, struct slice kind,
                      const json_t *list)
{
    struct mp_open a, one;
    const json_t *item;
    json_t *of;
    size_t i;
    mp_key(m, name);
    mp_open_array(&a, m->out);
    json_array_foreach (list, i, item) {
        struct slice id = slice_of(json_string_value(item), json_string_length(item));
        struct slice called = name_of(x, kind, id, &of);
        mp_item(&a);
        mp_open_map(&one, m->out);
        mp_key_str(&one, "ID", id);
        mp_key_str(&one, "Name", called);
        mp_close(&one);
        json_decref(of);
    }
    mp_close(&a);
}

static void put_identities(struct exporting *x, struct mp_open *m, const json_t *doc)
{
    static const char *const lists[] = {"ServiceIdentities", "NodeIdentities", "TemplatedPolicies"};
    mp_key_str(m, "Description", text_in(doc, "Description"));
    put_links(x, m, "Policies", ACCESS_POLICIES, json_object_get(doc, "Policies"));
    put_links(x, m, "Roles", ACCESS_ROLES, json_object_get(doc, "Roles"));
    for (size_t i = 0; i < N_ELEMENTS(lists); i++) {
        if (json_array_size(json_object_get(doc, lists[i])) > 0) {
            mp_key_json(m, lists[i], json_object_get(doc, lists[i]));
        }
    }
}

static int on_token(void *arg, struct slice id, const struct record_row *row)
{
    struct exporting *x = arg;
    char secret[UUID_SIZE + 1];
    json_t *doc = doc_of(row->body);
    if (row->meta.is_deleted || !json_is_object(doc)) {
        json_decref(doc);
        return 0;
    }
    int is_anonymous = slice_eq(id, ACCESS_ANONYMOUS);
    struct mp_open m = begin(x, STATE_TOKEN);
    consul_uuid(secret);
    mp_key_str(&m, "AccessorID", id);
    mp_key_str(&m, "SecretID", is_anonymous ? SLICE_LIT("anonymous") : slice_str(secret));
    put_identities(x, &m, doc);
    mp_key_bool(&m, "Local", json_is_true(json_object_get(doc, "Local")));
    put_time(&m, "CreateTime", json_integer_value(json_object_get(doc, "Created")));
    put_time(&m, "ExpirationTime", json_integer_value(json_object_get(doc, "Expires")));
    mp_key_str(&m, "MusterSecretHash", text_in(doc, "SecretHash"));
    put_indexes(&m, &row->meta);
    json_decref(doc);
    return end(x, &m);
}

static int on_policy(void *arg, struct slice id, const struct record_row *row)
{
    (void)id;
    return put_plain(arg, STATE_POLICY, row);
}

static int on_role(void *arg, struct slice id, const struct record_row *row)
{
    struct exporting *x = arg;
    json_t *doc = doc_of(row->body);
    if (row->meta.is_deleted || !json_is_object(doc)) {
        json_decref(doc);
        return 0;
    }
    struct mp_open m = begin(x, STATE_ROLE);
    mp_key_str(&m, "ID", id);
    mp_key_str(&m, "Name", text_in(doc, "Name"));
    put_identities(x, &m, doc);
    put_indexes(&m, &row->meta);
    json_decref(doc);
    return end(x, &m);
}

/* Whether a first token was made: Consul keeps that among its indexes. */
static int put_bootstrap(struct exporting *x)
{
    struct record_row row;
    if (view_record(x->v, ACCESS_STATE, ACCESS_BOOTSTRAP, &row) != 0) {
        return 0;
    }
    struct mp_open m = begin(x, STATE_INDEX);
    mp_key_str(&m, "Key", SLICE_LIT("acl-token-bootstrap"));
    mp_key(&m, "Value");
    mp_put_u64(&x->out, row.meta.mod_rev);
    return end(x, &m);
}

static int put_records(struct exporting *x)
{
    struct record_row row;
    int rc = view_records(x->v, NEAR_COORDINATES, on_coordinate, x);
    rc = rc != 0 ? rc : view_records(x->v, QUERIES, on_query, x);
    if (rc == 0 && view_record(x->v, AUTOPILOT_KIND, AUTOPILOT_NAME, &row) == 0) {
        rc = put_plain(x, STATE_AUTOPILOT, &row);
    }
    return rc != 0 ? rc : view_records(x->v, CONFIG_ENTRIES, on_config, x);
}

static int put_access(struct exporting *x)
{
    int rc = view_records(x->v, ACCESS_TOKENS, on_token, x);
    rc = rc != 0 ? rc : view_records(x->v, ACCESS_POLICIES, on_policy, x);
    rc = rc != 0 ? rc : view_records(x->v, ACCESS_ROLES, on_role, x);
    return rc != 0 ? rc : put_bootstrap(x);
}

int export_write(struct view *v, const char *datacenter, export_put_fn put, void *arg,
                 struct err *e)
{
    struct exporting x = {.v = v, .datacenter = datacenter, .put = put, .arg = arg, .e = e};
    statefile_put_header(&x.out, view_revision(v));
    int rc = view_nodes(v, on_node, &x);
    rc = rc != 0 ? rc : view_sessions(v, on_session, &x);
    rc = rc != 0 ? rc : put_access(&x);
    rc = rc != 0 ? rc : view_users(v, slice_of(NULL, 0), on_key, &x);
    rc = rc != 0 ? rc : put_records(&x);
    rc = rc != 0 ? rc : flush(&x);
    buf_fini(&x.out);
    return rc;
}
