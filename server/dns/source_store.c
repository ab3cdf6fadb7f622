/* SPDX-License-Identifier: Apache-2.0 */
/* Answers from the store: a look is a view, and the newest data this node has is what is told. */
#include "base/mem.h"
#include "server/core/core.h"
#include "server/dns/dns_impl.h"
#include "storage/view.h"

struct store_source {
    struct dns_source source;
    struct core *core;
    int64_t max_stale_ms;
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
    return view_open(core_store(m->core));
}

static void look_close(struct dns_source *s, void *look)
{
    (void)s;
    view_close(look);
}

/* --- services --- */

struct gathering {
    const struct dns_service_ask *ask;
    dns_instance_fn fn;
    void *arg;
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

static int take_instance(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct gathering *g = arg;
    (void)n;
    g->n_seen++;
    if (!row->is_enabled || !row->is_healthy || (g->ask->is_only_passing && row->n_warning > 0) ||
        (g->ask->tag.len != 0 && !has_tag(row, g->ask->tag))) {
        return 0;
    }
    const struct dns_instance i = {
        .address = row->address, .port = row->port, .weight = weight_of(row)};
    return g->fn(g->arg, &i);
}

static int gather(struct view *v, struct slice name, struct gathering *g)
{
    struct service_name n = anchor;
    n.service = name;
    return view_instances(v, &n, take_instance, g);
}

static int look_service(struct dns_source *s, void *look, const struct dns_service_ask *ask,
                        dns_instance_fn fn, void *arg)
{
    struct gathering g = {.ask = ask, .fn = fn, .arg = arg};
    uint8_t lower[DNS_NAME_MAX];
    (void)s;
    int rc = gather(look, ask->name, &g);
    if (rc != 0 || g.n_seen != 0) {
        return rc;
    }
    for (size_t i = 0; i < ask->name.len; i++) {
        lower[i] = dns_lower(ask->name.p[i]);
    }
    return memcmp(lower, ask->name.p, ask->name.len) == 0
               ? 0
               : gather(look, slice_of(lower, ask->name.len), &g);
}

/* --- nodes --- */

static int look_node(struct dns_source *s, void *look, struct slice name, struct dns_node *out)
{
    (void)s, (void)look, (void)name, (void)out;
    return MU_E_NOT_FOUND;
}

static int look_members(struct dns_source *s, void *look, dns_node_fn fn, void *arg)
{
    (void)s, (void)look, (void)fn, (void)arg;
    return 0;
}

static int look_reverse(struct dns_source *s, void *look, const uint8_t address[16],
                        struct slice *out_name, int *out_is_node)
{
    (void)s, (void)look, (void)address, (void)out_name, (void)out_is_node;
    return MU_E_NOT_FOUND;
}

struct dns_source *dns_source_new(struct core *core, int64_t max_stale_ms)
{
    struct store_source *m = mem_zalloc(sizeof(*m));
    m->source = (struct dns_source){.open = look_open,
                                    .close = look_close,
                                    .service = look_service,
                                    .node = look_node,
                                    .members = look_members,
                                    .reverse = look_reverse};
    m->core = core;
    m->max_stale_ms = max_stale_ms;
    return &m->source;
}

void dns_source_free(struct dns_source *s)
{
    if (s != NULL) {
        mem_free(of(s));
    }
}
