/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/prepared.h"

#include <jansson.h>

#include "base/json_write.h"
#include "base/text.h"
#include "server/consul/show.h"
#include "server/consul/text.h"
#include "server/query/query.h"

#define AT(s, m) offsetof(struct s, m)
static const struct body_field service_fields[] = {
    {"Service", BODY_STR, AT(prepared_service, service), NULL},
    {"Near", BODY_STR, AT(prepared_service, near), NULL},
    {"Tags", BODY_STRS, AT(prepared_service, tags), NULL},
    {"NodeMeta", BODY_PAIRS, AT(prepared_service, node_meta), NULL},
    {"ServiceMeta", BODY_PAIRS, AT(prepared_service, service_meta), NULL},
    {"IgnoreCheckIDs", BODY_STRS, AT(prepared_service, ignored), NULL},
    {"Failover", BODY_JSON, AT(prepared_service, failover), NULL},
    {"OnlyPassing", BODY_BOOL, AT(prepared_service, only_passing), NULL},
    {"Connect", BODY_BOOL, AT(prepared_service, connect), NULL},
    {"SamenessGroup", BODY_SKIPPED, 0, NULL},
    {"Peer", BODY_SKIPPED, 0, NULL},
    {"Namespace", BODY_SKIPPED, 0, NULL},
    {"Partition", BODY_SKIPPED, 0, NULL},
};
static const struct body_table service_table = {"structs.ServiceQuery",
                                                sizeof(struct prepared_service), service_fields,
                                                N_ELEMENTS(service_fields)};
static const struct body_field template_fields[] = {
    {"Type", BODY_STR, AT(prepared_template, type), NULL},
    {"Regexp", BODY_STR, AT(prepared_template, regexp), NULL},
    {"RemoveEmptyTags", BODY_BOOL, AT(prepared_template, drops_empty), NULL},
};
static const struct body_table template_table = {"structs.QueryTemplateOptions",
                                                 sizeof(struct prepared_template), template_fields,
                                                 N_ELEMENTS(template_fields)};
static const struct body_field dns_fields[] = {{"TTL", BODY_STR, AT(prepared_dns, ttl), NULL}};
static const struct body_table dns_table = {"structs.QueryDNSOptions", sizeof(struct prepared_dns),
                                            dns_fields, N_ELEMENTS(dns_fields)};
static const struct body_field fields[] = {
    {"ID", BODY_STR, AT(prepared, id), NULL},
    {"Name", BODY_STR, AT(prepared, name), NULL},
    {"Session", BODY_STR, AT(prepared, session), NULL},
    {"Token", BODY_STR, AT(prepared, token), NULL},
    {"Service", BODY_OBJECT, AT(prepared, service), &service_table},
    {"Template", BODY_OBJECT, AT(prepared, template), &template_table},
    {"DNS", BODY_OBJECT, AT(prepared, dns), &dns_table},
    {"CreateIndex", BODY_SKIPPED, 0, NULL},
    {"ModifyIndex", BODY_SKIPPED, 0, NULL},
};
const struct body_table prepared_table = {"structs.PreparedQuery", sizeof(struct prepared), fields,
                                          N_ELEMENTS(fields)};
#undef AT

/* Every text of the service may be a template's. */
static int check_texts(const struct prepared_service *s, struct err *e)
{
    struct pair_iter it;
    struct slice a, b;
    int rc = query_check_text(s->service, e);
    rc = rc != 0 ? rc : query_check_text(s->near, e);
    tags_begin(&it, s->tags);
    while (rc == 0 && tags_next(&it, &a)) {
        rc = query_check_text(a, e);
    }
    metadata_begin(&it, s->service_meta);
    while (rc == 0 && metadata_next(&it, &a, &b)) {
        rc = query_check_text(b, e);
    }
    metadata_begin(&it, s->node_meta);
    while (rc == 0 && metadata_next(&it, &a, &b)) {
        rc = query_check_text(b, e);
    }
    return rc;
}

/* Each is compared with all that an instance has, whenever somebody asks. */
static int has_few(const struct prepared_service *s)
{
    struct pair_iter it;
    const struct slice lists[] = {s->tags, s->ignored, s->node_meta, s->service_meta};
    int are_few = 1;
    for (size_t i = 0; i < N_ELEMENTS(lists); i++) {
        tags_begin(&it, lists[i]);
        are_few &= it.left <= QUERY_LIST_MAX;
    }
    return are_few;
}

static int check_template(const struct prepared_template *t, struct err *e)
{
    if (t->type.len != 0 && !slice_eq(t->type, SLICE_LIT("name_prefix_match"))) {
        return err_set(e, MU_E_BAD_REQUEST, "Bad Template.Type '%.*s'",
                       (int)(t->type.len < 100 ? t->type.len : 100), (const char *)t->type.p);
    }
    return query_check_regex(t->regexp, e);
}

static int check_ttl(struct slice ttl, struct err *e)
{
    uint64_t ns;
    if (ttl.len == 0 || consul_text_duration(ttl, &ns) == 0) {
        return 0;
    }
    int n = (int)(ttl.len < 64 ? ttl.len : 64);
    if (ttl.p[0] == '-' && consul_text_duration(slice_of(ttl.p + 1, ttl.len - 1), &ns) == 0) {
        return err_set(e, MU_E_BAD_REQUEST, "Invalid prepared query: DNS TTL '-%llu', must be >=0",
                       (unsigned long long)ns);
    }
    return err_set(e, MU_E_BAD_REQUEST,
                   "Invalid prepared query: Bad DNS TTL '%.*s': time: invalid duration \"%.*s\"", n,
                   (const char *)ttl.p, n, (const char *)ttl.p);
}

static int check_failover(struct slice text, struct err *e)
{
    json_t *v =
        text.len != 0 ? json_loadb((const char *)text.p, text.len, JSON_DECODE_ANY, NULL) : NULL;
    json_int_t n = json_integer_value(json_object_get(v, "NearestN"));
    json_decref(v);
    return n < 0
               ? err_set(e, MU_E_BAD_REQUEST,
                         "Invalid prepared query: Bad NearestN '%lld', must be >= 0", (long long)n)
               : 0;
}

int prepared_check(const struct prepared *g, struct err *e)
{
    struct err inner = {0};
    const char *why = NULL;
    int is_template = g->template.type.len != 0;
    if (g->name.len > QUERY_NAME_MAX - 2 || !text_is_utf8(g->name)) {
        why = "Name is UTF-8 of at most 254 bytes";
    } else if (g->name.len == 0 && g->session.len == 0 && !is_template) {
        why = "Must be bound to a session";
    } else if (g->service.service.len == 0) {
        why = "Must provide a Service name to query";
    } else if (!has_few(&g->service)) {
        why = "Tags, IgnoreCheckIDs, NodeMeta and ServiceMeta have at most 64 entries each";
    } else if (g->service.connect) {
        why = "Connect must be enabled in order to use this query";
    } else if (g->token.len != 0) {
        why = "a token is not kept with a query: who runs it shows one";
    }
    if (why != NULL) {
        return err_set(e, MU_E_BAD_REQUEST, "Invalid prepared query: %s", why);
    }
    int rc = check_ttl(g->dns.ttl, e);
    rc = rc != 0 ? rc : check_failover(g->service.failover, e);
    if (rc != 0) {
        return rc;
    }
    rc = check_template(&g->template, &inner);
    rc = rc != 0 ? rc : check_texts(&g->service, &inner);
    return rc != 0 ? err_set(e, rc, "failed compiling template: %s", inner.text) : 0;
}

/* --- as it is kept --- */

static void put(struct jw *w, const char *name, struct slice s)
{
    jw_key(w, name);
    jw_slice(w, s);
}

static void put_flag(struct jw *w, const char *name, int v)
{
    jw_key(w, name);
    jw_bool(w, v);
}

static void put_list(struct jw *w, const char *name, struct slice list)
{
    jw_key(w, name);
    if (list.len == 0) {
        jw_null(w);
    } else {
        show_list(w, list);
    }
}

static void put_pairs(struct jw *w, const char *name, struct slice pairs)
{
    jw_key(w, name);
    if (pairs.len == 0) {
        jw_null(w);
    } else {
        show_pairs(w, pairs);
    }
}

static void put_service(struct jw *w, const struct prepared_service *s)
{
    jw_key(w, "Service");
    jw_obj(w);
    put(w, "Service", s->service);
    jw_key(w, "Failover");
    jw_json(w, s->failover.len != 0 ? s->failover
                                    : SLICE_LIT("{\"NearestN\":0,\"Datacenters\":null}"));
    put_flag(w, "OnlyPassing", s->only_passing);
    put_list(w, "IgnoreCheckIDs", s->ignored);
    put(w, "Near", s->near);
    put_list(w, "Tags", s->tags);
    put_pairs(w, "NodeMeta", s->node_meta);
    put_pairs(w, "ServiceMeta", s->service_meta);
    put_flag(w, "Connect", 0);
    jw_end(w);
}

void prepared_text(const struct prepared *g, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    put(&w, "ID", slice_str(g->new_id));
    put(&w, "Name", g->name);
    put(&w, "Session", g->session);
    put(&w, "Token", slice_of(NULL, 0));
    jw_key(&w, "Template");
    jw_obj(&w);
    put(&w, "Type", g->template.type);
    put(&w, "Regexp", g->template.regexp);
    put_flag(&w, "RemoveEmptyTags", g->template.drops_empty);
    jw_end(&w);
    put_service(&w, &g->service);
    jw_key(&w, "DNS");
    jw_obj(&w);
    put(&w, "TTL", g->dns.ttl);
    jw_end(&w);
    jw_end(&w);
}

void prepared_claim(struct slice name, int is_template, struct buf *out)
{
    if (name.len != 0 || is_template) {
        buf_append_byte(out, is_template ? '~' : '=');
        buf_append_slice(out, name);
    }
}
