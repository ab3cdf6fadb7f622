/* SPDX-License-Identifier: Apache-2.0 */
/* Access control over HTTP (https://developer.hashicorp.com/consul/api-docs/acl): how a change
 * goes, and how what is stored is shown. Tokens: acl_token.c. Policies and roles: acl_policy.c.
 *
 * A secret is shown once, when it is made. The store has its digest alone, so every other answer
 * says "<hidden>". */
#include "server/consul/acl.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json_read.h"
#include "base/mem.h"
#include "base/text.h"
#include "storage/command/command.h"

static const struct body_field link_fields[] = {
    {"ID", BODY_STR, offsetof(struct access_link, id), NULL},
    {"Name", BODY_STR, offsetof(struct access_link, name), NULL},
};
static const struct body_table links = {"structs.ACLTokenPolicyLink", sizeof(struct access_link),
                                        link_fields, N_ELEMENTS(link_fields)};
static const struct body_field service_fields[] = {
    {"ServiceName", BODY_STR, offsetof(struct access_identity, name), NULL},
    {"Datacenters", BODY_STRS, offsetof(struct access_identity, datacenters), NULL},
};
static const struct body_table services = {"structs.ACLServiceIdentity",
                                           sizeof(struct access_identity), service_fields,
                                           N_ELEMENTS(service_fields)};
static const struct body_field node_fields[] = {
    {"NodeName", BODY_STR, offsetof(struct access_identity, name), NULL},
    {"Datacenter", BODY_STR, offsetof(struct access_identity, datacenter), NULL},
};
static const struct body_table nodes = {"structs.ACLNodeIdentity", sizeof(struct access_identity),
                                        node_fields, N_ELEMENTS(node_fields)};
static const struct body_field variable_fields[] = {
    {"Name", BODY_STR, 0, NULL},
};
static const struct body_table variables = {"structs.ACLTemplatedPolicyVariables",
                                            sizeof(struct slice), variable_fields,
                                            N_ELEMENTS(variable_fields)};
static const struct body_field template_fields[] = {
    {"TemplateName", BODY_STR, offsetof(struct access_template, name), NULL},
    {"TemplateVariables", BODY_OBJECT, offsetof(struct access_template, of), &variables},
    {"TemplateID", BODY_SKIPPED, 0, NULL},
    {"Datacenters", BODY_STRS, offsetof(struct access_template, datacenters), NULL},
};
static const struct body_table templates = {"structs.ACLTemplatedPolicy",
                                            sizeof(struct access_template), template_fields,
                                            N_ELEMENTS(template_fields)};

#define AT(member) offsetof(struct acl_body, member)
static const struct body_field fields[] = {
    {"AccessorID", BODY_STR, AT(accessor), NULL},
    {"SecretID", BODY_STR, AT(secret), NULL},
    {"ID", BODY_STR, AT(id), NULL},
    {"Name", BODY_STR, AT(name), NULL},
    {"Description", BODY_STR, AT(description), NULL},
    {"Rules", BODY_STR, AT(rules), NULL},
    {"Datacenters", BODY_STRS, AT(datacenters), NULL},
    {"Policies", BODY_OBJECTS, AT(policies), &links},
    {"Roles", BODY_OBJECTS, AT(roles), &links},
    {"ServiceIdentities", BODY_OBJECTS, AT(services), &services},
    {"NodeIdentities", BODY_OBJECTS, AT(nodes), &nodes},
    {"TemplatedPolicies", BODY_OBJECTS, AT(templates), &templates},
    {"ExpirationTTL", BODY_DURATION, AT(ttl), NULL},
    {"ExpirationTime", BODY_STR, AT(expiration), NULL},
    {"Local", BODY_BOOL, AT(is_local), NULL},
    {"CreateTime", BODY_SKIPPED, 0, NULL},
    {"CreateIndex", BODY_SKIPPED, 0, NULL},
    {"ModifyIndex", BODY_SKIPPED, 0, NULL},
    {"Hash", BODY_SKIPPED, 0, NULL},
    {"AuthMethod", BODY_SKIPPED, 0, NULL},
    {"Legacy", BODY_SKIPPED, 0, NULL},
    {"Namespace", BODY_SKIPPED, 0, NULL},
    {"Partition", BODY_SKIPPED, 0, NULL},
};
const struct body_table acl_table = {"structs.ACLToken", sizeof(struct acl_body), fields,
                                     N_ELEMENTS(fields)};

#undef AT

/* Of a stored document: its identities and templates, whose links are ids. */
static const struct body_field stored_fields[] = {
    {"Description", BODY_STR, offsetof(struct acl_body, description), NULL},
    {"ServiceIdentities", BODY_OBJECTS, offsetof(struct acl_body, services), &services},
    {"NodeIdentities", BODY_OBJECTS, offsetof(struct acl_body, nodes), &nodes},
    {"TemplatedPolicies", BODY_OBJECTS, offsetof(struct acl_body, templates), &templates},
};
static const struct body_table stored = {"document", sizeof(struct acl_body), stored_fields,
                                         N_ELEMENTS(stored_fields)};

/* --- changing --- */

static void *body_alloc(void *arg, size_t size)
{
    return http_alloc(arg, size);
}

int acl_body_read(struct consul_call *k, struct slice document, struct acl_body *out)
{
    struct body b = {.alloc = body_alloc, .arg = k->r, .ignores_unknown = 1};
    return body_read(&b, document, &stored, out);
}

int acl_begin(struct consul_call *k, enum access_right right)
{
    if (!access_is_enabled(k->c->access)) {
        consul_text(k->r, 401, "ACL support disabled");
        return -1;
    }
    return consul_dc(k) == 0 && consul_may(k, ACCESS_ACL, slice_of(NULL, 0), right) ? 0 : -1;
}

int acl_sees(const struct consul_read *g)
{
    return access_allows(g->who, ACCESS_ACL, slice_of(NULL, 0), ACCESS_READ) ? 0 : MU_E_DENIED;
}

int acl_has_id(struct consul_call *k, const char *what)
{
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing %s ID", what);
        return 0;
    }
    if (!access_is_id(k->rest)) {
        consul_text(k->r, 500, "failed acl %s lookup: index error: UUID must be 36 characters",
                    what);
        return 0;
    }
    return 1;
}

struct acl_change *acl_change_new(struct consul_call *k, const char *what, int has_body)
{
    struct body b = {.alloc = body_alloc, .arg = k->r};
    struct acl_change *h = http_alloc(k->r, sizeof(*h));
    memset(h, 0, sizeof(*h));
    if (has_body && body_read(&b, http_body(k->r), &acl_table, &h->b) != 0) {
        consul_text(k->r, 400, "%s decoding failed: %s", what, b.error);
        return NULL;
    }
    h->k = *k;
    h->id = k->rest;
    return h;
}

static void gated(struct core_request *q)
{
    struct acl_change *h = CONTAINER_OF(q, struct acl_change, gate.q);
    if (q->code != 0) {
        consul_fail(h->k.r, q->code, q->err.text);
        return;
    }
    if (h->is_guarded && (consul_identify(&h->k) != 0 ||
                          !consul_may(&h->k, ACCESS_ACL, slice_of(NULL, 0), ACCESS_WRITE))) {
        return;
    }
    struct view *v = view_open(core_store(h->k.c->core));
    int rc = h->plan(h, v);
    view_close(v);
    if (rc != 0) {
        return;
    }
    struct op *o = &h->ops[h->n++];
    *o = (struct op){.type = OP_RECORD_SET};
    o->u.record = (struct op_record){ACCESS_STATE, ACCESS_CHANGED, slice_str(h->new_id)};
    consul_write(&h->k, h->ops, h->n, 1, h->done, h);
}

void acl_change_start(struct acl_change *h, acl_plan_fn plan, consul_written_fn done)
{
    h->plan = plan;
    h->done = done;
    h->gate.q.done = gated;
    h->gate.q.reply = worker_mailbox(http_worker(h->k.r));
    core_read_gate(h->k.c->core, &h->gate, READ_LEADER, CONSUL_HOLD_MS);
}

void acl_put(struct acl_change *h, struct slice kind, struct slice name, mu_rev expect,
             struct slice body)
{
    MU_INVARIANT(h->n < ACL_OPS_MAX - 1);
    struct op *o = &h->ops[h->n++];
    *o = (struct op){.type = OP_RECORD_CAS, .expect = expect};
    o->u.record = (struct op_record){kind, consul_keep(h->k.r, name), consul_keep(h->k.r, body)};
}

void acl_delete(struct acl_change *h, struct slice kind, struct slice name, mu_rev expect)
{
    MU_INVARIANT(h->n < ACL_OPS_MAX - 1);
    struct op *o = &h->ops[h->n++];
    *o = (struct op){.type = OP_RECORD_DELETE_CAS, .expect = expect};
    o->u.record = (struct op_record){kind, consul_keep(h->k.r, name), slice_of(NULL, 0)};
}

void acl_given(const struct acl_body *b, struct access_given *out)
{
    *out = (struct access_given){
        .name = b->name,
        .description = b->description,
        .policies = (const struct access_link *)(const void *)b->policies.p,
        .roles = (const struct access_link *)(const void *)b->roles.p,
        .services = (const struct access_identity *)(const void *)b->services.p,
        .nodes = (const struct access_identity *)(const void *)b->nodes.p,
        .templates = (const struct access_template *)(const void *)b->templates.p,
        .n_policies = b->policies.n,
        .n_roles = b->roles.n,
        .n_services = b->services.n,
        .n_nodes = b->nodes.n,
        .n_templates = b->templates.n,
        .is_local = b->is_local,
        .rules = b->rules,
        .datacenters = b->datacenters,
    };
}

void acl_uuid(char out[ACCESS_ID_SIZE + 1])
{
    uint8_t b[16];
    char hex[33];
    rnd_bytes(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    hash_hex(b, sizeof(b), hex);
    (void)snprintf(out, ACCESS_ID_SIZE + 1, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
                   hex + 16, hex + 20);
}

/* --- showing --- */

static struct slice text_of(const json_t *v)
{
    return slice_of(json_string_value(v), json_string_length(v));
}

static void put(struct jw *w, const char *name, struct slice s)
{
    jw_key(w, name);
    jw_slice(w, s);
}

/* The name a policy or role has now; 0 when it is gone. */
static int put_link(struct jw *w, struct view *v, struct slice kind, struct slice id)
{
    struct record_row row;
    json_t *doc;
    struct err e = {0};
    struct slice body =
        slice_eq(kind, ACCESS_POLICIES) ? access_builtin_policy(id) : slice_of(NULL, 0);
    if (body.len == 0 && view_record(v, kind, id, &row) == 0) {
        body = row.body;
    }
    if (body.len == 0 || jr_parse(body, &doc, &e) != 0) {
        return 0;
    }
    jw_obj(w);
    put(w, "ID", id);
    put(w, "Name", text_of(json_object_get(doc, "Name")));
    jw_end(w);
    jr_free(doc);
    return 1;
}

static void put_links(struct jw *w, struct view *v, struct slice kind, const json_t *list)
{
    size_t i;
    json_t *item;
    jw_arr(w);
    json_array_foreach (list, i, item) {
        (void)put_link(w, v, kind, text_of(item));
    }
    jw_end(w);
}

static int on_text(const char *p, size_t n, void *arg)
{
    buf_append(arg, p, n);
    return 0;
}

static void put_raw(struct jw *w, const char *name, const json_t *v)
{
    struct buf text;
    buf_init(&text);
    (void)json_dump_callback(v, on_text, &text, JSON_COMPACT | JSON_ENCODE_ANY);
    jw_key(w, name);
    jw_json(w, buf_slice(&text));
    buf_fini(&text);
}

static void put_time(struct jw *w, const char *name, const json_t *v)
{
    char text[40];
    if (json_integer_value(v) != 0) {
        text_format_time(json_integer_value(v), text);
        put(w, name, slice_str(text));
    }
}

static void put_token(struct jw *w, const json_t *doc, struct slice secret)
{
    put(w, "AccessorID", text_of(json_object_get(doc, "AccessorID")));
    put(w, "SecretID", secret.len != 0 ? secret : SLICE_LIT("<hidden>"));
    jw_key(w, "Local");
    jw_bool(w, json_is_true(json_object_get(doc, "Local")));
    put_time(w, "CreateTime", json_object_get(doc, "Created"));
    put_time(w, "ExpirationTime", json_object_get(doc, "Expires"));
}

static void put_identities(struct jw *w, struct view *v, const json_t *doc)
{
    static const char *const lists[] = {"ServiceIdentities", "NodeIdentities", "TemplatedPolicies"};
    const json_t *policies = json_object_get(doc, "Policies"),
                 *roles = json_object_get(doc, "Roles");
    if (json_array_size(policies) > 0) {
        jw_key(w, "Policies");
        put_links(w, v, ACCESS_POLICIES, policies);
    }
    if (json_array_size(roles) > 0) {
        jw_key(w, "Roles");
        put_links(w, v, ACCESS_ROLES, roles);
    }
    for (size_t i = 0; i < N_ELEMENTS(lists); i++) {
        const json_t *list = json_object_get(doc, lists[i]);
        if (json_array_size(list) > 0) {
            put_raw(w, lists[i], list);
        }
    }
}

/* Its rules are told of one, and not in lists. */
static void put_policy(struct jw *w, const json_t *doc, int is_listed)
{
    const json_t *datacenters = json_object_get(doc, "Datacenters");
    put(w, "ID", text_of(json_object_get(doc, "ID")));
    put(w, "Name", text_of(json_object_get(doc, "Name")));
    put(w, "Description", text_of(json_object_get(doc, "Description")));
    if (!is_listed) {
        put(w, "Rules", text_of(json_object_get(doc, "Rules")));
    }
    if (json_is_array(datacenters)) {
        put_raw(w, "Datacenters", datacenters);
    } else if (is_listed) {
        jw_key(w, "Datacenters");
        jw_null(w);
    }
}

static void show(struct jw *w, struct view *v, struct slice kind, const struct record_row *row,
                 struct slice secret, int is_listed)
{
    uint8_t digest[32];
    struct err e = {0};
    json_t *doc = NULL;
    (void)jr_parse(row->body, &doc, &e); /* nothing but our own comes here */
    if (slice_eq(kind, ACCESS_POLICIES)) {
        put_policy(w, doc, is_listed);
    } else {
        if (slice_eq(kind, ACCESS_TOKENS)) {
            put_token(w, doc, secret);
        } else {
            put(w, "ID", text_of(json_object_get(doc, "ID")));
            put(w, "Name", text_of(json_object_get(doc, "Name")));
        }
        put(w, "Description", text_of(json_object_get(doc, "Description")));
        put_identities(w, v, doc);
    }
    jr_free(doc);
    hash_sha256(row->body.p, row->body.len, digest);
    jw_key(w, "Hash");
    jw_base64(w, slice_of(digest, sizeof(digest)));
    jw_key(w, "CreateIndex");
    jw_u64(w, row->meta.create_rev);
    jw_key(w, "ModifyIndex");
    jw_u64(w, row->meta.mod_rev);
}

void acl_show(struct jw *w, struct view *v, struct slice kind, const struct record_row *row,
              struct slice secret)
{
    show(w, v, kind, row, secret, 0);
}

void acl_show_listed(struct jw *w, struct view *v, struct slice kind, const struct record_row *row)
{
    jw_obj(w);
    show(w, v, kind, row, slice_of(NULL, 0), 1);
    jw_end(w);
}

int acl_has_link(const struct record_row *row, const char *list, struct slice id)
{
    struct err e = {0};
    int has = 0;
    size_t i;
    json_t *doc, *v;
    if (jr_parse(row->body, &doc, &e) != 0) {
        return 0;
    }
    json_array_foreach (json_object_get(doc, list), i, v) {
        has |= slice_eq(id, text_of(v));
    }
    jr_free(doc);
    return has;
}

/* What was written of that kind; 0, or NOT_FOUND. */
static int written_row(const struct consul_write *w, struct slice kind, struct record_row *out)
{
    struct slice rest = w->cw.result.detail, k, name;
    struct txn_item item;
    while (txn_item_next(&rest, &item)) {
        if (item.row.len > 0 && key_parse_record(item.key, &k, &name) == 0 && slice_eq(k, kind)) {
            return record_row_decode(item.row, out);
        }
    }
    return MU_E_NOT_FOUND;
}

void acl_answer(struct consul_write *w, struct slice kind)
{
    const struct acl_change *h = w->data;
    struct record_row row;
    struct jw j;
    if (w->cw.result.code == MU_E_REVISION_MISMATCH || w->cw.result.code == MU_E_EXISTS) {
        consul_text(w->r, 500, "%s",
                    h->err.text[0] != '\0' ? h->err.text
                                           : "it was changed by somebody else at the same time");
        return;
    }
    if (w->cw.result.code != 0) {
        consul_fail(w->r, w->cw.result.code, NULL);
        return;
    }
    struct view *v = view_open(core_store(w->c->core));
    int rc = written_row(w, kind, &row);
    jw_init(&j, http_scratch(w->r));
    if (rc == 0) {
        jw_obj(&j);
        acl_show(&j, v, kind, &row, slice_str(h->secret));
        jw_end(&j);
    }
    view_close(v);
    if (rc == 0) {
        consul_json(w->r, 200, buf_slice(j.out));
    } else {
        consul_fail(w->r, rc, NULL);
    }
}
