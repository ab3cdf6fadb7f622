/* SPDX-License-Identifier: Apache-2.0 */
#include "server/access/document.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/json_write.h"
#include "base/text.h"
#include "server/access/rules.h"

static const char read_only[] =
    "{\"ID\":\"00000000-0000-0000-0000-000000000002\",\"Name\":\"builtin/global-read-only\","
    "\"Description\":\"builtin policy that grants unlimited read access\",\"Rules\":\""
    "acl = \\\"read\\\"\\nagent_prefix \\\"\\\" { policy = \\\"read\\\" }\\n"
    "config_prefix \\\"\\\" { policy = \\\"read\\\" }\\nevent_prefix \\\"\\\" { policy = "
    "\\\"read\\\" }\\nidentity_prefix \\\"\\\" { policy = \\\"read\\\" }\\nkey_prefix \\\"\\\" { "
    "policy = \\\"read\\\" }\\nkeyring = \\\"read\\\"\\nmesh = \\\"read\\\"\\nnode_prefix "
    "\\\"\\\" { policy = \\\"read\\\" }\\noperator = \\\"read\\\"\\npeering = "
    "\\\"read\\\"\\nquery_prefix \\\"\\\" { policy = \\\"read\\\" }\\nservice_prefix \\\"\\\" { "
    "policy = \\\"read\\\" intentions = \\\"read\\\" }\\nsession_prefix \\\"\\\" { policy = "
    "\\\"read\\\" }\\n\",\"Datacenters\":null}";

static const char management[] =
    "{\"ID\":\"00000000-0000-0000-0000-000000000001\",\"Name\":\"global-management\","
    "\"Description\":\"builtin policy that grants unlimited access\",\"Rules\":\"acl = "
    "\\\"write\\\"\\nagent_prefix \\\"\\\" { policy = \\\"write\\\" }\\nconfig_prefix \\\"\\\" { "
    "policy = \\\"write\\\" }\\nevent_prefix \\\"\\\" { policy = \\\"write\\\" }\\nidentity_prefix "
    "\\\"\\\" { policy = \\\"write\\\" }\\nkey_prefix \\\"\\\" { policy = \\\"write\\\" "
    "}\\nkeyring = \\\"write\\\"\\nmesh = \\\"write\\\"\\nnode_prefix \\\"\\\" { policy = "
    "\\\"write\\\" }\\noperator = \\\"write\\\"\\npeering = \\\"write\\\"\\nquery_prefix "
    "\\\"\\\" { policy = \\\"write\\\" }\\nservice_prefix \\\"\\\" { policy = \\\"write\\\" "
    "intentions = \\\"write\\\" }\\nsession_prefix \\\"\\\" { policy = \\\"write\\\" "
    "}\\n\",\"Datacenters\":null}";

static const struct {
    const char *id, *name, *document;
} builtin[] = {
    {"00000000-0000-0000-0000-000000000001", "global-management", management},
    {"00000000-0000-0000-0000-000000000002", "builtin/global-read-only", read_only},
};

struct slice access_builtin_policy(struct slice id)
{
    for (size_t i = 0; i < N_ELEMENTS(builtin); i++) {
        if (slice_eq(id, slice_str(builtin[i].id))) {
            return slice_str(builtin[i].document);
        }
    }
    return slice_of(NULL, 0);
}

static int id_of(struct view *v, struct slice kind, struct slice name, char out[ACCESS_ID_SIZE + 1])
{
    struct record_row row;
    if (name.len == 0 || name.len > KEY_NAME_MAX) {
        return MU_E_NOT_FOUND;
    }
    int rc = view_record(v, kind, name, &row);
    if (rc == 0 && row.body.len != ACCESS_ID_SIZE) {
        return MU_E_CORRUPT;
    }
    if (rc == 0) {
        (void)snprintf(out, ACCESS_ID_SIZE + 1, "%.*s", SLICE_FMT(row.body));
    }
    return rc;
}

int access_policy_id(struct view *v, struct slice name, char out[ACCESS_ID_SIZE + 1])
{
    for (size_t i = 0; i < N_ELEMENTS(builtin); i++) {
        if (slice_eq(name, slice_str(builtin[i].name))) {
            (void)snprintf(out, ACCESS_ID_SIZE + 1, "%s", builtin[i].id);
            return 0;
        }
    }
    return id_of(v, ACCESS_POLICY_NAMES, name, out);
}

int access_role_id(struct view *v, struct slice name, char out[ACCESS_ID_SIZE + 1])
{
    return id_of(v, ACCESS_ROLE_NAMES, name, out);
}

int access_is_id(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        int is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        int is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (is_dash ? c != '-' : !is_hex) {
            return 0;
        }
    }
    return s.len == ACCESS_ID_SIZE;
}

void access_hash(struct slice secret, char out[ACCESS_HASH_SIZE])
{
    uint8_t digest[32];
    hash_sha256(secret.p, secret.len, digest);
    hash_hex(digest, sizeof(digest), out);
}

/* --- documents --- */

static int has_name(struct slice s, size_t max, int may_slash)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        int is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '-' && c != '_' &&
            !(may_slash && c == '/')) {
            return 0;
        }
    }
    return s.len > 0 && s.len <= max;
}

static int check_name(const struct access_given *g, size_t max, const char *what, struct err *e)
{
    if (g->name.len == 0) {
        return err_set(e, MU_E_BAD_REQUEST, "Invalid %s: no Name is set", what);
    }
    return has_name(g->name, max, 0)
               ? 0
               : err_set(e, MU_E_BAD_REQUEST,
                         "Invalid %s: invalid Name. Only alphanumeric characters, '-' and '_' are "
                         "allowed",
                         what);
}

struct linking {
    struct view *v;
    const char *what; /* policy, role */
    int (*find)(struct view *v, struct slice name, char out[ACCESS_ID_SIZE + 1]);
    struct slice kind;
};

/* The id that it leads to. */
static int resolve(const struct linking *k, const struct access_link *l,
                   char id[ACCESS_ID_SIZE + 1], struct err *e)
{
    struct record_row row;
    int rc;
    if (l->id.len != 0) {
        (void)snprintf(id, ACCESS_ID_SIZE + 1, "%.*s",
                       (int)(l->id.len <= ACCESS_ID_SIZE ? l->id.len : ACCESS_ID_SIZE),
                       (const char *)l->id.p);
        rc = !access_is_id(l->id) ? MU_E_NOT_FOUND : 0;
        if (rc == 0 && access_builtin_policy(l->id).len == 0) {
            rc = view_record(k->v, k->kind, l->id, &row);
        }
    } else {
        rc = k->find(k->v, l->name, id);
    }
    if (rc == MU_E_NOT_FOUND) {
        struct slice s = l->id.len != 0 ? l->id : l->name;
        return err_set(e, MU_E_BAD_REQUEST, "No such ACL %s with %s \"%.*s\"", k->what,
                       l->id.len != 0 ? "ID" : "name", (int)(s.len < 100 ? s.len : 100),
                       (const char *)s.p);
    }
    return rc != 0 ? err_set(e, rc, "%s", err_title(rc)) : 0;
}

static int put_links(struct jw *w, const struct linking *k, const struct access_link *l, size_t n,
                     struct err *e)
{
    char ids[ACCESS_LINKS_MAX][ACCESS_ID_SIZE + 1];
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        size_t first = 0;
        if (resolve(k, &l[i], ids[i], e) != 0) {
            return e->code;
        }
        while (strcmp(ids[first], ids[i]) != 0) {
            first++;
        }
        if (first == i) { /* the same by its id and by its name is one */
            jw_str(w, ids[i]);
        }
    }
    jw_end(w);
    return 0;
}

static void put_list(struct jw *w, struct slice list)
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

/* `what`: "token" or "role". */
static int check_service(const struct access_given *g, const struct access_identity *s,
                         const char *what, struct err *e)
{
    int n = (int)(s->name.len < 100 ? s->name.len : 100);
    const char *name = (const char *)s->name.p;
    if (s->name.len == 0) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "Service identity is missing the service name field on this %s", what);
    }
    if (!has_name(s->name, 256, 0)) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "Service identity \"%.*s\" has an invalid name. Only alphanumeric "
                       "characters, '-' and '_' are allowed",
                       n, name);
    }
    if (g->is_local && s->datacenters.len > 2) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "Service identity \"%.*s\" cannot specify a list of datacenters on a "
                       "local token",
                       n, name);
    }
    return 0;
}

static int put_services(struct jw *w, const struct access_given *g, const char *what, struct err *e)
{
    jw_key(w, "ServiceIdentities");
    jw_arr(w);
    for (size_t i = 0; i < g->n_services; i++) {
        if (check_service(g, &g->services[i], what, e) != 0) {
            return e->code;
        }
        jw_obj(w);
        jw_key(w, "ServiceName");
        jw_slice(w, g->services[i].name);
        if (g->services[i].datacenters.len > 2) {
            jw_key(w, "Datacenters");
            put_list(w, g->services[i].datacenters);
        }
        jw_end(w);
    }
    jw_end(w);
    return 0;
}

static int put_nodes(struct jw *w, const struct access_given *g, const char *what, struct err *e)
{
    jw_key(w, "NodeIdentities");
    jw_arr(w);
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (!has_name(g->nodes[i].name, 256, 0) || g->nodes[i].datacenter.len == 0) {
            return err_set(e, MU_E_BAD_REQUEST,
                           g->nodes[i].datacenter.len == 0
                               ? "Node identity is missing the datacenter field on this %s"
                               : "Node identity of this %s has an invalid name. Only alphanumeric "
                                 "characters, '-' and '_' are allowed",
                           what);
        }
        jw_obj(w);
        jw_key(w, "NodeName");
        jw_slice(w, g->nodes[i].name);
        jw_key(w, "Datacenter");
        jw_slice(w, g->nodes[i].datacenter);
        jw_end(w);
    }
    jw_end(w);
    return 0;
}

static int put_templates(struct jw *w, const struct access_given *g, struct err *e)
{
    jw_key(w, "TemplatedPolicies");
    jw_arr(w);
    for (size_t i = 0; i < g->n_templates; i++) {
        const struct access_template *t = &g->templates[i];
        int is_dns = slice_eq(t->name, SLICE_LIT("builtin/dns"));
        int is_known = is_dns || slice_eq(t->name, SLICE_LIT("builtin/service")) ||
                       slice_eq(t->name, SLICE_LIT("builtin/node"));
        if (!is_known || (!is_dns && !has_name(t->of, 256, 0))) {
            return err_set(e, MU_E_BAD_REQUEST,
                           is_known ? "templated policy \"%.*s\" needs a variable Name"
                                    : "no such ACL templated policy with Name \"%.*s\"",
                           (int)(t->name.len < 60 ? t->name.len : 60), (const char *)t->name.p);
        }
        jw_obj(w);
        jw_key(w, "TemplateName");
        jw_slice(w, t->name);
        if (!is_dns) {
            jw_key(w, "TemplateVariables");
            jw_obj(w);
            jw_key(w, "Name");
            jw_slice(w, t->of);
            jw_end(w);
        }
        if (t->datacenters.len > 2) {
            jw_key(w, "Datacenters");
            put_list(w, t->datacenters);
        }
        jw_end(w);
    }
    jw_end(w);
    return 0;
}

static int put_given(struct jw *w, struct view *v, const struct access_given *g, const char *what,
                     struct err *e)
{
    const struct linking policies = {v, "policy", access_policy_id, ACCESS_POLICIES};
    const struct linking roles = {v, "role", access_role_id, ACCESS_ROLES};
    size_t most = g->n_policies > g->n_roles ? g->n_policies : g->n_roles;
    most = most > g->n_services ? most : g->n_services;
    most = most > g->n_nodes ? most : g->n_nodes;
    most = most > g->n_templates ? most : g->n_templates;
    if (most > ACCESS_LINKS_MAX || g->description.len > ACCESS_TEXT_MAX) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "A token or role has at most %d links of a kind and %d bytes of description",
                       ACCESS_LINKS_MAX, ACCESS_TEXT_MAX);
    }
    jw_key(w, "Description");
    jw_slice(w, g->description);
    jw_key(w, "Policies");
    if (put_links(w, &policies, g->policies, g->n_policies, e) != 0) {
        return e->code;
    }
    jw_key(w, "Roles");
    if (put_links(w, &roles, g->roles, g->n_roles, e) != 0 || put_services(w, g, what, e) != 0 ||
        put_nodes(w, g, what, e) != 0) {
        return e->code;
    }
    return put_templates(w, g, e);
}

int access_token_document(struct view *v, const struct access_given *g, struct buf *out,
                          struct err *e)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "AccessorID");
    jw_slice(&w, g->id);
    if (put_given(&w, v, g, "token", e) != 0) {
        return e->code;
    }
    jw_key(&w, "Local");
    jw_bool(&w, g->is_local);
    jw_key(&w, "Created");
    jw_i64(&w, g->created_ms);
    jw_key(&w, "Expires");
    jw_i64(&w, g->expires_ms);
    jw_key(&w, "SecretHash");
    jw_slice(&w, g->secret_hash);
    jw_end(&w);
    return 0;
}

int access_role_document(struct view *v, const struct access_given *g, struct buf *out,
                         struct err *e)
{
    struct jw w;
    if (check_name(g, 256, "Role", e) != 0) {
        return e->code;
    }
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "ID");
    jw_slice(&w, g->id);
    jw_key(&w, "Name");
    jw_slice(&w, g->name);
    if (put_given(&w, v, g, "role", e) != 0) {
        return e->code;
    }
    jw_end(&w);
    return 0;
}

int access_policy_document(const struct access_given *g, struct buf *out, struct err *e)
{
    struct rules rules;
    struct jw w;
    if (check_name(g, 128, "Policy", e) != 0) {
        return e->code;
    }
    if (g->description.len > ACCESS_TEXT_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "Invalid Policy: at most %d bytes of description",
                       ACCESS_TEXT_MAX);
    }
    if (!text_is_utf8(g->rules)) {
        return err_set(e, MU_E_BAD_REQUEST, "Failed to parse ACL rules: not UTF-8");
    }
    rules_init(&rules);
    int rc = rules_read(&rules, g->rules, e);
    rules_fini(&rules);
    if (rc != 0) {
        return rc;
    }
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "ID");
    jw_slice(&w, g->id);
    jw_key(&w, "Name");
    jw_slice(&w, g->name);
    jw_key(&w, "Description");
    jw_slice(&w, g->description);
    jw_key(&w, "Rules");
    jw_slice(&w, g->rules);
    jw_key(&w, "Datacenters");
    if (g->datacenters.len > 2) {
        put_list(&w, g->datacenters);
    } else {
        jw_null(&w);
    }
    jw_end(&w);
    return 0;
}
