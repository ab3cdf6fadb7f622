/* SPDX-License-Identifier: Apache-2.0 */
/* Answers from the store: a look is a view, and the newest data this node has is what is told. */
#include "base/mem.h"
#include "base/text.h"
#include "server/access/access.h"
#include "server/core/core.h"
#include "server/dns/dns_impl.h"
#include "server/dns/register.h"
#include "server/query/query.h"
#include "storage/view_catalog.h"

struct store_source {
    struct dns_source source;
    struct core *core;
    struct access *access;
    unsigned worker;
    const struct identity *who; /* DNS shows no token: the anonymous one, of this look */
    int64_t max_stale_ms;
    struct dns_register *spelled;   /* services and nodes with capitals in their names */
    struct dns_register *addresses; /* whose address is which */
};

static const struct service_name anchor = {.ns = {(const uint8_t *)"public", 6},
                                           .group = {(const uint8_t *)"DEFAULT_GROUP", 13}};

static struct store_source *of(struct dns_source *s)
{
    return CONTAINER_OF(s, struct store_source, source);
}

/* --- looks --- */

static void *look_open(struct dns_source *s)
{
    struct store_source *m = of(s);
    struct core_glance g;
    core_glance(m->core, &g);
    /* A node that has never heard of the cluster knows nothing: no answer is better than "there is
     * no such name". */
    if (g.leader_age_ms > m->max_stale_ms || (g.revision == 0 && !g.is_ready)) {
        return NULL;
    }
    struct view *v = view_open(core_store(m->core));
    if (access_identify(m->access, m->worker, v, (struct slice){0}, &m->who) != 0) {
        view_close(v);
        return NULL;
    }
    return v;
}

static int may(const struct store_source *m, enum access_kind kind, struct slice name)
{
    return access_allows(m->who, kind, name, ACCESS_READ);
}

static void look_close(struct dns_source *s, void *look)
{
    (void)s;
    view_close(look);
}

/* --- services --- */

struct gathering {
    const struct store_source *m;
    const struct dns_service_ask *ask;
    dns_instance_fn fn;
    void *arg;
    struct view *view;
    size_t n_seen;
};

static int has_tag(const struct instance_row *row, struct slice tag)
{
    struct pair_iter it;
    struct slice t;
    tags_begin(&it, row->tags);
    while (tags_next(&it, &t)) {
        if (dns_text_is(t, tag)) {
            return 1;
        }
    }
    return 0;
}

static uint16_t weight_of(const struct instance_row *row)
{
    double w = row->weight;
    return w >= 65535 ? 65535 : w > 0 && w < 1 ? 1 : w > 0 ? (uint16_t)(w + 0.5) : 0;
}

static void tell_node(struct slice name, const struct node_row *row, struct dns_node *out)
{
    *out = (struct dns_node){.name = name, .address = row->address, .metadata = row->metadata};
}

static int tell_instance(struct gathering *g, const struct instance_row *row)
{
    struct node_row node;
    struct dns_instance i = {.address = row->address, .port = row->port, .weight = weight_of(row)};
    if (row->node.len != 0 && view_node(g->view, row->node, &node) == 0) {
        tell_node(row->node, &node, &i.node);
        i.address = row->is_node_address ? (struct slice){0} : row->address;
    }
    return g->fn(g->arg, &i);
}

static int sees(const struct gathering *g, const struct instance_name *n,
                const struct instance_row *row)
{
    return may(g->m, ACCESS_SERVICE, n->service) &&
           (row->node.len == 0 || may(g->m, ACCESS_NODE, row->node));
}

static int take_instance(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct gathering *g = arg;
    if (!sees(g, n, row)) {
        return 0;
    }
    g->n_seen++;
    if (!row->is_enabled || !row->is_healthy || (g->ask->is_only_passing && row->n_warning > 0) ||
        (g->ask->tag.len != 0 && !has_tag(row, g->ask->tag))) {
        return 0;
    }
    return tell_instance(g, row);
}

/* What a query found: it looked at health and tags already. */
static int take_found(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct gathering *g = arg;
    return sees(g, n, row) ? tell_instance(g, row) : 0;
}

static int gather(struct view *v, struct slice name, struct gathering *g)
{
    struct service_name n = anchor;
    n.service = name;
    return view_instances(v, &n, take_instance, g);
}

/* What is not there as it is spelled is looked for in lower case, then among the names that have
 * capitals. */
struct spelling {
    struct store_source *m;
    struct view *view;
    enum dns_register_kind kind;
    struct slice asked;
    unsigned turn;
    uint8_t lower[DNS_NAME_MAX];
};

/* 1 and the next one to try, or 0. */
static int next_spelling(struct spelling *s, struct slice *out)
{
    struct slice lower = slice_of(s->lower, s->asked.len);
    if (s->turn++ == 0) {
        for (size_t i = 0; i < s->asked.len; i++) {
            s->lower[i] = dns_lower(s->asked.p[i]);
        }
        *out = lower;
        return 1;
    }
    return s->turn == 2 && dns_register_find(s->m->spelled, s->view, s->kind, lower, out) == 0;
}

static int look_service(struct dns_source *s, void *look, const struct dns_service_ask *ask,
                        dns_instance_fn fn, void *arg)
{
    struct gathering g = {.m = of(s), .ask = ask, .fn = fn, .arg = arg, .view = look};
    struct spelling spelling = {
        .m = of(s), .view = look, .kind = DNS_REGISTER_SERVICE, .asked = ask->name};
    struct slice name = ask->name;
    int rc = gather(look, name, &g);
    while (rc == 0 && g.n_seen == 0 && next_spelling(&spelling, &name)) {
        rc = gather(look, name, &g);
    }
    return rc;
}

/* --- nodes --- */

static int look_node(struct dns_source *s, void *look, struct slice name, struct dns_node *out)
{
    struct spelling spelling = {.m = of(s), .view = look, .kind = DNS_REGISTER_NODE, .asked = name};
    struct node_row row;
    struct slice spelled = name;
    int rc = view_node(look, name, &row);
    while (rc == MU_E_NOT_FOUND && next_spelling(&spelling, &spelled)) {
        rc = view_node(look, spelled, &row);
    }
    if (rc == 0 && !may(of(s), ACCESS_NODE, spelled)) {
        return MU_E_NOT_FOUND;
    }
    if (rc == 0) {
        tell_node(name, &row, out);
    }
    return rc;
}

struct members {
    const struct store_source *m;
    struct view *view;
    dns_node_fn fn;
    void *arg;
};

static int take_member(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct members *m = arg;
    struct node_row node;
    struct dns_node out;
    (void)n;
    if (!row->is_enabled || !row->is_healthy || row->node.len == 0 ||
        !may(m->m, ACCESS_NODE, row->node) || view_node(m->view, row->node, &node) != 0 ||
        !node.is_member) {
        return 0;
    }
    tell_node(row->node, &node, &out);
    return m->fn(m->arg, &out);
}

/* Members that live have the service `consul`. */
static int look_members(struct dns_source *s, void *look, dns_node_fn fn, void *arg)
{
    struct members m = {.m = of(s), .view = look, .fn = fn, .arg = arg};
    struct service_name n = anchor;
    n.service = SLICE_LIT("consul");
    return view_instances(look, &n, take_member, &m);
}

static int look_reverse(struct dns_source *s, void *look, const uint8_t address[16],
                        struct slice *out_name, int *out_is_node)
{
    struct dns_register *r = of(s)->addresses;
    *out_is_node = 1;
    if (dns_register_find(r, look, DNS_REGISTER_NODE, slice_of(address, 16), out_name) == 0) {
        return may(of(s), ACCESS_NODE, *out_name) ? 0 : MU_E_NOT_FOUND;
    }
    *out_is_node = 0;
    int rc = dns_register_find(r, look, DNS_REGISTER_SERVICE, slice_of(address, 16), out_name);
    return rc == 0 && !may(of(s), ACCESS_SERVICE, *out_name) ? MU_E_NOT_FOUND : rc;
}

/* --- prepared queries --- */

/* 0 when the query says one. */
static int ttl_of(const struct query *q, uint32_t *out)
{
    struct slice s = query_text(q, "DNS", "TTL");
    int64_t ms = 0;
    if (s.len == 0 || text_duration_ms(s, INT64_C(365) * 24 * 3600 * 1000, &ms) != 0) {
        return MU_E_NOT_FOUND;
    }
    *out = (uint32_t)(ms / 1000);
    return 0;
}

/* What the anonymous token may not read is not there. */
static int look_query(struct dns_source *s, void *look, struct slice name, uint32_t *out_ttl,
                      dns_instance_fn fn, void *arg)
{
    static const struct dns_service_ask any;
    struct gathering g = {.m = of(s), .ask = &any, .fn = fn, .arg = arg, .view = look};
    struct query q;
    int rc = query_find(look, name, &q);
    if (rc == 0) {
        (void)ttl_of(&q, out_ttl);
        rc = query_run(look, &q, take_found, &g);
        query_free(&q);
    }
    return rc;
}

struct dns_source *dns_source_new(struct core *core, struct access *access, unsigned worker,
                                  int64_t max_stale_ms)
{
    struct store_source *m = mem_zalloc(sizeof(*m));
    m->source = (struct dns_source){.open = look_open,
                                    .close = look_close,
                                    .service = look_service,
                                    .node = look_node,
                                    .members = look_members,
                                    .reverse = look_reverse,
                                    .query = look_query};
    m->core = core;
    m->access = access;
    m->worker = worker;
    m->max_stale_ms = max_stale_ms;
    m->spelled = dns_register_new(0);
    m->addresses = dns_register_new(1);
    return &m->source;
}

void dns_source_free(struct dns_source *s)
{
    if (s != NULL) {
        dns_register_free(of(s)->spelled);
        dns_register_free(of(s)->addresses);
        mem_free(of(s));
    }
}
