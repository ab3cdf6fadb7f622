/* SPDX-License-Identifier: Apache-2.0 */
/* A token's rules are read once and kept by each worker, until the record "changed" moves. */
#include "server/access/access.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json_read.h"
#include "base/mem.h"
#include "base/text.h"
#include "server/access/document.h"
#include "server/access/rules.h"

enum { SLOTS = 256, RESET_TEXT_MAX = 32 };

struct identity {
    char id[ACCESS_ID_SIZE + 1];
    char hash[ACCESS_HASH_SIZE];
    mu_rev changed; /* of the record "changed" when it was read */
    int64_t expires_ms;
    int is_management, is_anonymous, is_default_deny;
    struct rules rules;
};

struct access {
    struct store *store;
    unsigned n_workers;
    int is_enabled, is_default_deny, has_key_list;
    char datacenter[64];
    char reset_file[1024];
    char initial_hash[ACCESS_HASH_SIZE]; /* "" = none */
    struct identity initial;
    struct identity *(*slots)[SLOTS]; /* by worker and the hash of the secret */
};

/* --- life --- */

/* The accessor id of the token of the settings: the same on every node that has it. */
static void name_initial(struct access *a)
{
    uint8_t d[32];
    char hex[65];
    char *out = a->initial.id;
    hash_sha256(a->initial_hash, sizeof(a->initial_hash) - 1, d);
    hash_hex(d, sizeof(d), hex);
    (void)snprintf(out, sizeof(a->initial.id), "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
                   hex + 16, hex + 20);
}

struct access *access_new(const struct access_options *o)
{
    struct access *a = mem_zalloc(sizeof(*a));
    a->store = o->store;
    a->n_workers = o->n_workers;
    a->is_enabled = o->is_enabled;
    a->is_default_deny = o->is_default_deny;
    a->has_key_list = o->has_key_list;
    (void)snprintf(a->reset_file, sizeof(a->reset_file), "%s",
                   o->reset_file != NULL ? o->reset_file : "");
    (void)snprintf(a->datacenter, sizeof(a->datacenter), "%s",
                   o->datacenter != NULL ? o->datacenter : "");
    a->initial.is_management = 1;
    if (o->initial_token != NULL && o->initial_token[0] != '\0') {
        access_hash(slice_str(o->initial_token), a->initial_hash);
        name_initial(a);
    }
    a->slots = mem_zalloc(o->n_workers * sizeof(*a->slots));
    return a;
}

static void identity_free(struct identity *i)
{
    if (i != NULL) {
        rules_fini(&i->rules);
        mem_free(i);
    }
}

void access_free(struct access *a)
{
    if (a == NULL) {
        return;
    }
    for (unsigned w = 0; w < a->n_workers; w++) {
        for (size_t i = 0; i < SLOTS; i++) {
            identity_free(a->slots[w][i]);
        }
    }
    mem_free(a->slots);
    mem_free(a);
}

int access_is_enabled(const struct access *a)
{
    return a != NULL && a->is_enabled;
}

int access_is_default_deny(const struct access *a)
{
    return a->is_default_deny;
}

int access_has_key_list(const struct access *a)
{
    return a->has_key_list;
}

const char *access_initial_id(const struct access *a)
{
    return a->initial.id;
}

int access_is_initial(const struct access *a, struct slice accessor)
{
    return accessor.len != 0 && slice_eq(accessor, slice_str(a->initial.id));
}

uint64_t access_reset_index(const struct access *a)
{
    char text[RESET_TEXT_MAX + 1];
    uint64_t v = 0;
    FILE *f = a->reset_file[0] != '\0' ? fopen(a->reset_file, "re") : NULL;
    if (f == NULL) {
        return 0;
    }
    size_t n = fread(text, 1, RESET_TEXT_MAX, f);
    (void)fclose(f);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ')) {
        n--;
    }
    return text_u64(slice_of(text, n), UINT64_MAX, &v) == 0 ? v : 0;
}

/* --- rules of a token --- */

struct reading {
    struct view *v;
    struct identity *who;
    struct slice datacenter;
    struct err err;
    int is_role; /* roles have no roles */
};

static int add(struct reading *g, enum access_kind kind, int is_prefix, struct slice name,
               enum access_right right)
{
    return rules_add(&g->who->rules, kind, is_prefix, name, right);
}

static int add_service(struct reading *g, struct slice name)
{
    static const char suffix[] = "-sidecar-proxy";
    struct buf proxy;
    buf_init(&proxy);
    buf_append_slice(&proxy, name);
    buf_append_str(&proxy, suffix);
    int rc = add(g, ACCESS_SERVICE, 0, name, ACCESS_WRITE);
    rc = rc != 0 ? rc : add(g, ACCESS_SERVICE, 0, buf_slice(&proxy), ACCESS_WRITE);
    rc = rc != 0 ? rc : add(g, ACCESS_SERVICE, 1, slice_of(NULL, 0), ACCESS_READ);
    buf_fini(&proxy);
    return rc != 0 ? rc : add(g, ACCESS_NODE, 1, slice_of(NULL, 0), ACCESS_READ);
}

static int add_node(struct reading *g, struct slice name)
{
    int rc = add(g, ACCESS_NODE, 0, name, ACCESS_WRITE);
    return rc != 0 ? rc : add(g, ACCESS_SERVICE, 1, slice_of(NULL, 0), ACCESS_READ);
}

static int add_dns(struct reading *g)
{
    int rc = add(g, ACCESS_NODE, 1, slice_of(NULL, 0), ACCESS_READ);
    rc = rc != 0 ? rc : add(g, ACCESS_SERVICE, 1, slice_of(NULL, 0), ACCESS_READ);
    return rc != 0 ? rc : add(g, ACCESS_QUERY, 1, slice_of(NULL, 0), ACCESS_READ);
}

static struct slice text_of(const json_t *v)
{
    return slice_of(json_string_value(v), json_string_length(v));
}

/* What names datacenters is for those alone: a list, none of them for all, or one. */
static int is_for_here(const struct reading *g, const json_t *given)
{
    const json_t *all = json_object_get(given, "Datacenters"),
                 *one = json_object_get(given, "Datacenter");
    size_t i;
    json_t *v;
    int is = json_array_size(all) == 0 && (one == NULL || slice_eq(text_of(one), g->datacenter));
    json_array_foreach (all, i, v) {
        is |= slice_eq(text_of(v), g->datacenter);
    }
    return is;
}

static int add_identities(struct reading *g, json_t *list, const char *member,
                          int (*fn)(struct reading *g, struct slice name))
{
    size_t i;
    json_t *v;
    int rc = 0;
    json_array_foreach (list, i, v) {
        if (rc == 0 && is_for_here(g, v)) {
            rc = fn(g, text_of(json_object_get(v, member)));
        }
    }
    return rc;
}

static int add_template(struct reading *g, json_t *t)
{
    struct slice name = text_of(json_object_get(t, "TemplateName"));
    struct slice of = text_of(json_object_get(json_object_get(t, "TemplateVariables"), "Name"));
    if (slice_eq(name, SLICE_LIT("builtin/service"))) {
        return add_service(g, of);
    }
    return slice_eq(name, SLICE_LIT("builtin/node")) ? add_node(g, of) : add_dns(g);
}

/* A link may lead to what is gone: then it gives nothing. */
static int add_policy(struct reading *g, struct slice id)
{
    struct record_row row;
    json_t *doc;
    if (slice_eq(id, ACCESS_MANAGEMENT)) {
        g->who->is_management = 1;
        return 0;
    }
    struct slice body = access_builtin_policy(id);
    if (body.len == 0) {
        int rc = view_record(g->v, ACCESS_POLICIES, id, &row);
        if (rc != 0) {
            return rc == MU_E_NOT_FOUND ? 0 : rc;
        }
        body = row.body;
    }
    int rc = jr_parse(body, &doc, &g->err);
    if (rc != 0) {
        return MU_E_CORRUPT;
    }
    if (is_for_here(g, doc)) {
        rc = rules_read(&g->who->rules, text_of(json_object_get(doc, "Rules")), &g->err);
    }
    jr_free(doc);
    return rc;
}

static int add_document(struct reading *g, struct slice body);

static int add_role(struct reading *g, struct slice id)
{
    struct record_row row;
    int rc = view_record(g->v, ACCESS_ROLES, id, &row);
    return rc == MU_E_NOT_FOUND ? 0 : rc != 0 ? rc : add_document(g, row.body);
}

static int add_links(struct reading *g, json_t *list, int (*fn)(struct reading *g, struct slice id))
{
    size_t i;
    json_t *v;
    int rc = 0;
    json_array_foreach (list, i, v) {
        rc = rc != 0 ? rc : fn(g, text_of(v));
    }
    return rc;
}

/* What a token or role is linked to. */
static int add_document(struct reading *g, struct slice body)
{
    json_t *doc, *v;
    size_t i;
    if (jr_parse(body, &doc, &g->err) != 0) {
        return MU_E_CORRUPT;
    }
    int rc = add_links(g, json_object_get(doc, "Policies"), add_policy);
    rc = rc != 0 ? rc
                 : add_identities(g, json_object_get(doc, "ServiceIdentities"), "ServiceName",
                                  add_service);
    rc = rc != 0 ? rc
                 : add_identities(g, json_object_get(doc, "NodeIdentities"), "NodeName", add_node);
    json_array_foreach (json_object_get(doc, "TemplatedPolicies"), i, v) {
        rc = rc != 0 || !is_for_here(g, v) ? rc : add_template(g, v);
    }
    if (!g->is_role) {
        g->who->expires_ms = json_integer_value(json_object_get(doc, "Expires"));
        g->is_role = 1;
        rc = rc != 0 ? rc : add_links(g, json_object_get(doc, "Roles"), add_role);
    }
    jr_free(doc);
    return rc;
}

/* --- who asks --- */

static struct identity *identity_new(struct access *a, const char *hash, struct slice accessor,
                                     mu_rev changed)
{
    struct identity *who = mem_zalloc(sizeof(*who));
    memcpy(who->hash, hash, sizeof(who->hash));
    (void)snprintf(who->id, sizeof(who->id), "%.*s", SLICE_FMT(accessor));
    who->changed = changed;
    who->is_default_deny = a->is_default_deny;
    who->is_anonymous = slice_eq(accessor, ACCESS_ANONYMOUS);
    rules_init(&who->rules);
    return who;
}

static int read_identity(const struct access *a, struct view *v, struct identity *who)
{
    struct reading g = {.v = v, .who = who, .datacenter = slice_str(a->datacenter)};
    struct record_row row;
    int rc = view_record(v, ACCESS_TOKENS, slice_str(who->id), &row);
    if (rc == MU_E_NOT_FOUND) {
        return who->is_anonymous ? 0 : MU_E_UNAUTHORIZED;
    }
    rc = rc != 0 ? rc : add_document(&g, row.body);
    rules_order(&who->rules);
    return rc;
}

static int find_accessor(struct view *v, const char *hash, struct slice *out)
{
    struct record_row row;
    int rc = view_record(v, ACCESS_SECRETS, slice_str(hash), &row);
    if (rc == MU_E_NOT_FOUND) {
        return MU_E_UNAUTHORIZED;
    }
    if (rc == 0 && row.body.len != ACCESS_ID_SIZE) {
        return MU_E_CORRUPT;
    }
    *out = row.body;
    return rc;
}

static int load(struct access *a, struct view *v, const char *hash, mu_rev changed,
                struct identity **slot)
{
    struct slice accessor = ACCESS_ANONYMOUS;
    int rc = hash[0] == '\0' ? 0 : find_accessor(v, hash, &accessor);
    if (rc != 0) {
        return rc;
    }
    struct identity *who = identity_new(a, hash, accessor, changed);
    rc = read_identity(a, v, who);
    if (rc != 0) {
        identity_free(who);
        return rc;
    }
    identity_free(*slot);
    *slot = who;
    return 0;
}

static int identify(struct access *a, unsigned worker, struct view *v, const char *hash,
                    const struct identity **out)
{
    struct record_row row;
    uint64_t number = 0;
    (void)text_hex64(slice_of(hash, hash[0] != '\0' ? 2 : 0), &number);
    struct identity **slot = &a->slots[worker][number % SLOTS];
    int rc = view_record(v, ACCESS_STATE, ACCESS_CHANGED, &row);
    mu_rev changed = rc == 0 ? row.meta.mod_rev : 0;
    if (rc != 0 && rc != MU_E_NOT_FOUND) {
        return rc;
    }
    if (*slot == NULL || (*slot)->changed != changed || strcmp((*slot)->hash, hash) != 0) {
        rc = load(a, v, hash, changed, slot);
        if (rc != 0) {
            return rc;
        }
    }
    if ((*slot)->expires_ms != 0 && clock_wall_ms() >= (*slot)->expires_ms) {
        return MU_E_UNAUTHORIZED;
    }
    *out = *slot;
    return 0;
}

int access_identify(struct access *a, unsigned worker, struct view *v, struct slice secret,
                    const struct identity **out)
{
    static const struct identity nobody = {.is_default_deny = 1};
    char hash[ACCESS_HASH_SIZE] = "";
    *out = NULL;
    if (!access_is_enabled(a)) {
        return 0;
    }
    *out = &nobody; /* whoever goes on after an error may do nothing */
    if (secret.len > ACCESS_SECRET_MAX) {
        return MU_E_UNAUTHORIZED;
    }
    if (secret.len > 0 && !slice_eq(secret, SLICE_LIT("anonymous"))) {
        access_hash(secret, hash);
    }
    /* Comparing digests tells nothing of the secret, whatever time it takes. */
    if (hash[0] != '\0' && strcmp(hash, a->initial_hash) == 0) {
        *out = &a->initial;
        return 0;
    }
    struct view *own = v == NULL ? view_open(a->store) : NULL;
    int rc = identify(a, worker, v != NULL ? v : own, hash, out);
    if (own != NULL) {
        view_close(own);
    }
    return rc;
}

const char *access_id(const struct identity *who)
{
    return who != NULL ? who->id : "";
}

int access_is_anonymous(const struct identity *who)
{
    return who != NULL && who->is_anonymous;
}

/* --- the question --- */

/* What is allowed where no rule speaks. */
static int by_default(const struct identity *who, enum access_kind kind)
{
    return !who->is_default_deny && kind != ACCESS_ACL;
}

int access_allows(const struct identity *who, enum access_kind kind, struct slice name,
                  enum access_right right)
{
    if (who == NULL || who->is_management) {
        return 1;
    }
    enum access_right given = rules_find(&who->rules, kind, name);
    return given == 0 ? by_default(who, kind) : given != ACCESS_DENY && given >= right;
}

int access_allows_all(const struct identity *who, enum access_kind kind, struct slice prefix,
                      enum access_right right)
{
    if (who == NULL || who->is_management) {
        return 1;
    }
    if (!access_kind_has_names(kind)) {
        return access_allows(who, kind, prefix, right);
    }
    enum access_right given = rules_cover(&who->rules, kind, prefix);
    int is_covered = given == 0 ? by_default(who, kind) : given != ACCESS_DENY && given >= right;
    return is_covered && rules_allow_below(&who->rules, kind, prefix, right);
}
