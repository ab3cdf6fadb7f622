/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes: https://developer.hashicorp.com/consul/api-docs/catalog, .../health, .../agent. */
#include "server/consul/show.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/err.h"
#include "server/consul/define.h"

static void put(struct jw *w, const char *name, struct slice s)
{
    jw_key(w, name);
    jw_slice(w, s);
}

static void put_indexes(struct jw *w, const struct row_meta *m, mu_rev modify)
{
    jw_key(w, "CreateIndex");
    jw_u64(w, m->create_rev);
    jw_key(w, "ModifyIndex");
    jw_u64(w, modify);
}

void show_pairs(struct jw *w, struct slice pairs)
{
    struct pair_iter it;
    struct slice k, v;
    jw_obj(w);
    metadata_begin(&it, pairs);
    while (metadata_next(&it, &k, &v)) {
        jw_key_slice(w, k);
        jw_slice(w, v);
    }
    jw_end(w);
}

void show_list(struct jw *w, struct slice list)
{
    struct pair_iter it;
    struct slice s;
    jw_arr(w);
    tags_begin(&it, list);
    while (tags_next(&it, &s)) {
        jw_slice(w, s);
    }
    jw_end(w);
}

/* 4, 6, or 0 when it is a name. */
static int family_of(struct slice address)
{
    char text[64];
    uint8_t bin[16];
    if (address.len == 0 || address.len >= sizeof(text)) {
        return 0;
    }
    memcpy(text, address.p, address.len);
    text[address.len] = '\0';
    return inet_pton(AF_INET, text, bin) == 1 ? 4 : inet_pton(AF_INET6, text, bin) == 1 ? 6 : 0;
}

/* --- nodes --- */

static void node_tagged(struct jw *w, const struct node_row *row)
{
    struct pair_iter it;
    struct slice k, v;
    int family = family_of(row->address);
    metadata_begin(&it, row->tagged);
    if (row->tagged.len != 0 && it.left != 0) {
        jw_obj(w);
        while (metadata_next(&it, &k, &v)) {
            jw_key_slice(w, k);
            jw_slice(w, v);
        }
        jw_end(w);
        return;
    }
    if (!row->is_member) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    put(w, "lan", row->address);
    if (family != 0) {
        put(w, family == 4 ? "lan_ipv4" : "lan_ipv6", row->address);
    }
    put(w, "wan", row->address);
    if (family != 0) {
        put(w, family == 4 ? "wan_ipv4" : "wan_ipv6", row->address);
    }
    jw_end(w);
}

static void node_meta(struct jw *w, const struct node_row *row)
{
    struct pair_iter it;
    struct slice k, v;
    if (!row->is_member) {
        if (row->metadata.len != 0) {
            show_pairs(w, row->metadata);
        } else {
            jw_null(w);
        }
        return;
    }
    jw_obj(w);
    put(w, "consul-network-segment", slice_of(NULL, 0));
    metadata_begin(&it, row->metadata);
    while (metadata_next(&it, &k, &v)) {
        if (!slice_eq(k, SLICE_LIT("consul-network-segment"))) {
            jw_key_slice(w, k);
            jw_slice(w, v);
        }
    }
    jw_end(w);
}

void show_node(struct jw *w, const struct show *s, struct slice name, const struct node_row *row)
{
    put(w, "ID", row->id);
    put(w, "Node", name);
    put(w, "Address", row->address);
    put(w, "Datacenter", slice_str(s->datacenter));
    jw_key(w, "TaggedAddresses");
    node_tagged(w, row);
    jw_key(w, "Meta");
    node_meta(w, row);
    put_indexes(w, &row->meta, row->meta.mod_rev);
}

/* 0 and the row; of an instance without a node one that is made for it. */
static void node_of(struct view *v, const struct instance_row *row, struct slice *name,
                    struct node_row *out)
{
    *out = (struct node_row){.address = row->address, .meta = row->meta};
    *name = show_node_name(row);
    if (row->node.len != 0) {
        (void)view_node(v, row->node, out);
    }
}

struct slice show_node_name(const struct instance_row *row)
{
    return row->node.len != 0 ? row->node : SHOW_NATIVE_NODE;
}

void show_node_of(struct jw *w, const struct show *s, struct view *v,
                  const struct instance_row *row)
{
    struct slice name;
    struct node_row node;
    node_of(v, row, &name, &node);
    show_node(w, s, name, &node);
}

/* --- services --- */

struct slice show_service_id(const struct instance_name *n, const struct instance_row *row)
{
    return row->service_id.len != 0 ? row->service_id : n->id;
}

static int on_text(const char *p, size_t n, void *arg)
{
    buf_append(arg, p, n);
    return 0;
}

/* A member of `extra`, or what `dflt` says (NULL: nothing at all). */
static void put_extra(struct jw *w, const char *name, const json_t *extra, const char *member,
                      const char *dflt)
{
    json_t *v = json_object_get(extra, member);
    struct buf text;
    if (v == NULL && dflt == NULL) {
        return;
    }
    jw_key(w, name);
    if (v == NULL) {
        jw_json(w, slice_str(dflt));
        return;
    }
    buf_init(&text);
    (void)json_dump_callback(v, on_text, &text, JSON_COMPACT | JSON_ENCODE_ANY);
    jw_json(w, buf_slice(&text));
    buf_fini(&text);
}

/* What was given, or what follows from the address. */
static void put_tagged(struct jw *w, const char *name, const json_t *extra,
                       const struct instance_row *row)
{
    int family = row->is_node_address ? 0 : family_of(row->address);
    if (json_object_get(extra, "TaggedAddresses") != NULL || family == 0) {
        put_extra(w, name, extra, "TaggedAddresses", NULL);
        return;
    }
    jw_key(w, name);
    jw_obj(w);
    for (int i = 0; i < 2; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%s_ipv%d", i == 0 ? "lan" : "wan", family);
        jw_key(w, key);
        jw_obj(w);
        put(w, "Address", row->address);
        jw_key(w, "Port");
        jw_u64(w, row->port);
        jw_end(w);
    }
    jw_end(w);
}

static json_t *extra_of(const struct instance_row *row)
{
    return row->extra.len == 0 ? NULL
                               : json_loadb((const char *)row->extra.p, row->extra.len, 0, NULL);
}

static struct slice shown_address(const struct instance_row *row)
{
    return row->is_node_address ? slice_of(NULL, 0) : row->address;
}

void show_weights(const json_t *extra, const struct instance_row *row, int64_t *out_passing,
                  int64_t *out_warning)
{
    const json_t *warning = json_object_get(json_object_get(extra, "Weights"), "Warning");
    *out_passing = row->weight < 1 ? 1 : (int64_t)row->weight;
    *out_warning = json_is_integer(warning) ? json_integer_value(warning) : 1;
}

static void put_weights(struct jw *w, const char *name, const json_t *extra,
                        const struct instance_row *row)
{
    int64_t passing, warning;
    show_weights(extra, row, &passing, &warning);
    jw_key(w, name);
    jw_obj(w);
    jw_key(w, "Passing");
    jw_i64(w, passing);
    jw_key(w, "Warning");
    jw_i64(w, warning);
    jw_end(w);
}

void show_service(struct jw *w, const struct show *s, const struct instance_name *n,
                  const struct instance_row *row, int is_agent)
{
    json_t *extra = extra_of(row);
    put_extra(w, "Kind", extra, "Kind", NULL);
    put(w, "ID", show_service_id(n, row));
    put(w, "Service", n->service);
    jw_key(w, "Tags");
    if (row->tags.len == 0 && s->has_nulls) {
        jw_null(w);
    } else {
        show_list(w, row->tags);
    }
    put(w, "Address", shown_address(row));
    put_tagged(w, "TaggedAddresses", extra, row);
    jw_key(w, "Meta");
    if (row->metadata.len == 0 && s->has_nulls) {
        jw_null(w);
    } else {
        show_pairs(w, row->metadata);
    }
    jw_key(w, "Port");
    jw_u64(w, row->port);
    put_weights(w, "Weights", extra, row);
    put_extra(w, "EnableTagOverride", extra, "EnableTagOverride", "false");
    if (is_agent) {
        put_extra(w, "Proxy", extra, "Proxy", NULL);
        put_extra(w, "Connect", extra, "Connect", NULL);
        put(w, "Datacenter", slice_str(s->datacenter));
    } else {
        put_extra(w, "Proxy", extra, "Proxy", "{\"MeshGateway\":{},\"Expose\":{}}");
        put_extra(w, "Connect", extra, "Connect", "{}");
        put_extra(w, "Locality", extra, "Locality", NULL);
        put_indexes(w, &row->meta, row->def_rev);
    }
    json_decref(extra);
}

void show_entry(struct jw *w, const struct show *s, struct view *v, const struct instance_name *n,
                const struct instance_row *row)
{
    struct slice name;
    struct node_row node;
    json_t *extra = extra_of(row);
    node_of(v, row, &name, &node);
    put(w, "ID", node.id);
    put(w, "Node", name);
    put(w, "Address", node.address);
    put(w, "Datacenter", slice_str(s->datacenter));
    jw_key(w, "TaggedAddresses");
    node_tagged(w, &node);
    jw_key(w, "NodeMeta");
    node_meta(w, &node);
    put_extra(w, "ServiceKind", extra, "Kind", "\"\"");
    put(w, "ServiceID", show_service_id(n, row));
    put(w, "ServiceName", n->service);
    jw_key(w, "ServiceTags");
    show_list(w, row->tags);
    put(w, "ServiceAddress", shown_address(row));
    put_tagged(w, "ServiceTaggedAddresses", extra, row);
    put_weights(w, "ServiceWeights", extra, row);
    jw_key(w, "ServiceMeta");
    show_pairs(w, row->metadata);
    jw_key(w, "ServicePort");
    jw_u64(w, row->port);
    put_extra(w, "ServiceEnableTagOverride", extra, "EnableTagOverride", "false");
    put_extra(w, "ServiceProxy", extra, "Proxy", "{\"MeshGateway\":{},\"Expose\":{}}");
    put_extra(w, "ServiceConnect", extra, "Connect", "{}");
    put_indexes(w, &row->meta, row->def_rev);
    json_decref(extra);
}

/* --- checks --- */

/* The tags of the service that a check speaks of. */
static void service_tags(struct jw *w, const struct show *s, struct view *v,
                         const struct check_name *n)
{
    struct place_row p;
    struct instance_row row = {0};
    if (n->service_id.len != 0 && view_place(v, n->node, n->service_id, &p) == 0) {
        struct instance_name i = {p.ns, p.group, p.service, p.cluster, p.id};
        if (view_instance(v, &i, &row) != 0) {
            row.tags = slice_of(NULL, 0);
        }
    }
    if (row.tags.len == 0 && s->has_nulls) {
        jw_null(w);
    } else {
        show_list(w, row.tags);
    }
}

static void put_duration(struct jw *w, const char *name, int64_t ms)
{
    char text[32] = "";
    if (ms > 0 && ms % 1000 == 0) {
        (void)snprintf(text, sizeof(text), "%llds", (long long)(ms / 1000));
    } else if (ms > 0) {
        (void)snprintf(text, sizeof(text), "%lldms", (long long)ms);
    }
    put(w, name, slice_str(text));
}

void show_check(struct jw *w, const struct show *s, struct view *v, const struct check_name *n,
                const struct check_row *row)
{
    static const struct row_meta none;
    put(w, "Node", n->node);
    put(w, "CheckID", n->id);
    put(w, "Name", row->name);
    put(w, "Status", slice_str(define_status_name(row->status)));
    put(w, "Notes", row->notes);
    put(w, "Output", row->output);
    put(w, "ServiceID", n->service_id);
    put(w, "ServiceName", row->service_name);
    jw_key(w, "ServiceTags");
    service_tags(w, s, v, n);
    put(w, "Type", row->type_name);
    put_duration(w, "Interval", row->run.interval_ms);
    put_duration(w, "Timeout", row->run.interval_ms != 0 ? row->run.timeout_ms : 0);
    jw_key(w, "ExposedPort");
    jw_u64(w, 0);
    jw_key(w, "Definition");
    jw_json(w, row->definition.len != 0 && s->has_definition ? row->definition : SLICE_LIT("{}"));
    put_indexes(w, s->is_agent ? &none : &row->meta, s->is_agent ? 0 : row->meta.mod_rev);
}

/* An instance that was registered without a node is as healthy as it is said to be. */
static void native_check(struct jw *w, const struct show *s, struct view *v,
                         const struct instance_name *n, const struct instance_row *row)
{
    char id[600];
    struct slice service_id = show_service_id(n, row);
    struct check_row c = {.meta = row->meta,
                          .status = row->is_healthy ? CHECK_PASSING : CHECK_CRITICAL,
                          .name = SLICE_LIT("Health of the instance"),
                          .output = row->output,
                          .service_name = n->service,
                          .type_name = row->check.type == CHECK_HTTP  ? SLICE_LIT("http")
                                       : row->check.type == CHECK_TCP ? SLICE_LIT("tcp")
                                       : row->ttl_ms != 0             ? SLICE_LIT("ttl")
                                                                      : SLICE_LIT("")};
    (void)snprintf(id, sizeof(id), "service:%.*s", SLICE_FMT(service_id));
    jw_obj(w);
    show_check(w, s, v, &(struct check_name){SHOW_NATIVE_NODE, service_id, slice_str(id)}, &c);
    jw_end(w);
}

/* enabled: false of the native interface. */
static void disabled_check(struct jw *w, const struct show *s, struct view *v,
                           const struct instance_name *n, const struct instance_row *row)
{
    char id[600];
    struct slice service_id = show_service_id(n, row);
    struct check_row c = {.meta = row->meta,
                          .status = CHECK_CRITICAL,
                          .name = SLICE_LIT("Service Maintenance Mode"),
                          .notes = SLICE_LIT("The instance is not enabled."),
                          .service_name = n->service,
                          .type_name = SLICE_LIT("maintenance")};
    (void)snprintf(id, sizeof(id), "_service_maintenance:%.*s", SLICE_FMT(service_id));
    jw_obj(w);
    show_check(w, s, v, &(struct check_name){show_node_name(row), service_id, slice_str(id)}, &c);
    jw_end(w);
}

struct checks_walk {
    struct jw *w; /* NULL: only to look */
    const struct show *s;
    struct view *v;
    enum check_status worst;
    struct show_tally tally;
};

static int on_check(void *arg, const struct check_name *n, const struct check_row *row)
{
    struct checks_walk *x = arg;
    if (row->meta.is_deleted) {
        return 0;
    }
    x->worst = row->status > x->worst ? row->status : x->worst;
    x->tally.n[row->status]++;
    if (x->w != NULL) {
        jw_obj(x->w);
        show_check(x->w, x->s, x->v, n, row);
        jw_end(x->w);
    }
    return 0;
}

static enum check_status walk(struct checks_walk *x, const struct instance_name *n,
                              const struct instance_row *row)
{
    if (row->node.len != 0) {
        (void)view_checks_of(x->v, row->node, slice_of(NULL, 0), on_check, x);
        (void)view_checks_of(x->v, row->node, row->service_id, on_check, x);
    } else {
        x->worst = row->is_healthy ? CHECK_PASSING : CHECK_CRITICAL;
        x->tally.n[x->worst]++;
        if (x->w != NULL) {
            native_check(x->w, x->s, x->v, n, row);
        }
    }
    if (!row->is_enabled) {
        x->worst = CHECK_CRITICAL;
        x->tally.n[CHECK_CRITICAL]++;
        if (x->w != NULL) {
            disabled_check(x->w, x->s, x->v, n, row);
        }
    }
    return x->worst;
}

enum check_status show_checks_of(struct jw *w, const struct show *s, struct view *v,
                                 const struct instance_name *n, const struct instance_row *row)
{
    struct checks_walk x = {.w = w, .s = s, .v = v};
    return walk(&x, n, row);
}

enum check_status show_worst(struct view *v, const struct instance_row *row)
{
    struct checks_walk x = {.v = v};
    return walk(&x, NULL, row);
}

void show_count(struct view *v, const struct instance_row *row, struct show_tally *io)
{
    struct checks_walk x = {.v = v, .tally = *io};
    (void)walk(&x, NULL, row);
    *io = x.tally;
}

void show_health(struct jw *w, const struct show *s, struct view *v, const struct instance_name *n,
                 const struct instance_row *row)
{
    jw_key(w, "Node");
    jw_obj(w);
    show_node_of(w, s, v, row);
    jw_end(w);
    jw_key(w, "Service");
    jw_obj(w);
    show_service(w, s, n, row, 0);
    jw_end(w);
    jw_key(w, "Checks");
    jw_arr(w);
    (void)show_checks_of(w, s, v, n, row);
    jw_end(w);
}
