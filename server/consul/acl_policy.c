/* SPDX-License-Identifier: Apache-2.0 */
/* Policies and roles (https://developer.hashicorp.com/consul/api-docs/acl/policies, .../roles):
 * both are found by an id and by a name that no other one has. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/json_read.h"
#include "server/consul/acl.h"

static struct slice kind_of(int is_policy)
{
    return is_policy ? ACCESS_POLICIES : ACCESS_ROLES;
}

static struct slice names_of(int is_policy)
{
    return is_policy ? ACCESS_POLICY_NAMES : ACCESS_ROLE_NAMES;
}

static const char *word(int is_policy)
{
    return is_policy ? "policy" : "role";
}

/* 0 or NOT_FOUND. */
static int find(struct view *v, int is_policy, struct slice id, struct record_row *out)
{
    memset(out, 0, sizeof(*out));
    if (is_policy && access_builtin_policy(id).len != 0) {
        out->body = access_builtin_policy(id);
        return 0;
    }
    return id.len != ACCESS_ID_SIZE ? MU_E_NOT_FOUND : view_record(v, kind_of(is_policy), id, out);
}

/* --- changing --- */

static int document(struct acl_change *h, struct view *v, int is_policy, struct buf *out)
{
    struct access_given g;
    acl_given(&h->b, &g);
    g.id = slice_str(h->new_id);
    int rc = is_policy ? access_policy_document(&g, out, &h->err)
                       : access_role_document(v, &g, out, &h->err);
    if (rc != 0) {
        consul_text(h->k.r, 500, "%s", h->err.text);
    }
    return rc;
}

static const char *title(int is_policy)
{
    return is_policy ? "Policy" : "Role";
}

/* Nobody else may have the name. */
static int claim_name(struct acl_change *h, struct view *v, int is_policy)
{
    char id[ACCESS_ID_SIZE + 1];
    int is_new = h->id.len == 0;
    int rc = is_policy ? access_policy_id(v, h->b.name, id) : access_role_id(v, h->b.name, id);
    (void)err_set(&h->err, MU_E_EXISTS, "Invalid %s: A %s with %s \"%.128s\" already exists",
                  title(is_policy), is_new ? title(is_policy) : word(is_policy),
                  is_new ? "Name" : "name", (const char *)consul_keep(h->k.r, h->b.name).p);
    if (rc == 0) {
        consul_text(h->k.r, 500, "%s", h->err.text);
        return -1;
    }
    acl_put(h, names_of(is_policy), h->b.name, 0, slice_str(h->new_id));
    return 0;
}

static int create(struct acl_change *h, struct view *v, int is_policy)
{
    struct buf doc;
    acl_uuid(h->new_id);
    buf_init(&doc);
    int rc = h->b.name.len != 0 ? claim_name(h, v, is_policy) : 0;
    rc = rc != 0 ? rc : document(h, v, is_policy, &doc);
    if (rc == 0) {
        acl_put(h, kind_of(is_policy), slice_str(h->new_id), 0, buf_slice(&doc));
    }
    buf_fini(&doc);
    return rc;
}

static struct slice name_in(struct acl_change *h, struct slice body)
{
    json_t *doc;
    struct err e = {0};
    struct slice s = {0};
    if (jr_parse(body, &doc, &e) == 0) {
        const json_t *v = json_object_get(doc, "Name");
        s = consul_keep(h->k.r, slice_of(json_string_value(v), json_string_length(v)));
        jr_free(doc);
    }
    return s;
}

static int find_for_change(struct acl_change *h, struct view *v, int is_policy,
                           struct record_row *row)
{
    int rc = find(v, is_policy, h->id, row);
    if (rc == MU_E_NOT_FOUND) {
        consul_text(h->k.r, 500, "cannot find %s %.*s", word(is_policy), SLICE_FMT(h->id));
    } else if (rc != 0) {
        consul_fail(h->k.r, rc, NULL);
    } else if (row->meta.mod_rev == 0) {
        consul_text(h->k.r, 500,
                    "Changing the builtin policies is not permitted: make one of your own");
        rc = MU_E_CONFLICT;
    }
    return rc;
}

/* Takes the old name back, when there is another one now. */
static int rename_it(struct acl_change *h, struct view *v, int is_policy, struct slice old)
{
    struct record_row row;
    if (slice_eq(old, h->b.name)) {
        return 0;
    }
    if (claim_name(h, v, is_policy) != 0) {
        return -1;
    }
    if (view_record(v, names_of(is_policy), old, &row) == 0) {
        acl_delete(h, names_of(is_policy), old, row.meta.mod_rev);
    }
    return 0;
}

static int update(struct acl_change *h, struct view *v, int is_policy)
{
    struct record_row row;
    struct buf doc;
    if (find_for_change(h, v, is_policy, &row) != 0) {
        return -1;
    }
    (void)snprintf(h->new_id, sizeof(h->new_id), "%.*s", SLICE_FMT(h->id));
    struct slice old = name_in(h, row.body);
    h->b.name = h->b.name.len != 0 ? h->b.name : old;
    buf_init(&doc);
    int rc = document(h, v, is_policy, &doc);
    rc = rc != 0 ? rc : rename_it(h, v, is_policy, old);
    if (rc == 0) {
        acl_put(h, kind_of(is_policy), h->id, row.meta.mod_rev, buf_slice(&doc));
    }
    buf_fini(&doc);
    return rc;
}

static int remove_it(struct acl_change *h, struct view *v, int is_policy)
{
    struct record_row row, name_row;
    int rc = find(v, is_policy, h->id, &row);
    if (rc == MU_E_NOT_FOUND) {
        consul_bool(h->k.r, 1);
        return -1;
    }
    if (rc == 0 && row.meta.mod_rev == 0) {
        consul_text(h->k.r, 500, "Delete operation not permitted on the builtin %s policy",
                    slice_eq(h->id, ACCESS_MANAGEMENT) ? "global-management" : "global-read-only");
        return -1;
    }
    if (rc != 0) {
        consul_fail(h->k.r, rc, NULL);
        return -1;
    }
    struct slice name = name_in(h, row.body);
    acl_delete(h, kind_of(is_policy), h->id, row.meta.mod_rev);
    if (view_record(v, names_of(is_policy), name, &name_row) == 0) {
        acl_delete(h, names_of(is_policy), name, name_row.meta.mod_rev);
    }
    return 0;
}

static int plan_policy_create(struct acl_change *h, struct view *v)
{
    return create(h, v, 1);
}

static int plan_role_create(struct acl_change *h, struct view *v)
{
    return create(h, v, 0);
}

static int plan_policy_update(struct acl_change *h, struct view *v)
{
    return update(h, v, 1);
}

static int plan_role_update(struct acl_change *h, struct view *v)
{
    return update(h, v, 0);
}

static int plan_policy_delete(struct acl_change *h, struct view *v)
{
    return remove_it(h, v, 1);
}

static int plan_role_delete(struct acl_change *h, struct view *v)
{
    return remove_it(h, v, 0);
}

static void policy_written(struct consul_write *w)
{
    acl_answer(w, ACCESS_POLICIES);
}

static void role_written(struct consul_write *w)
{
    acl_answer(w, ACCESS_ROLES);
}

static void deleted(struct consul_write *w)
{
    if (w->cw.result.code == 0) {
        consul_bool(w->r, 1);
    } else {
        acl_answer(w, ACCESS_POLICIES);
    }
}

static void change(struct consul_call *k, int is_policy, acl_plan_fn plan, consul_written_fn done)
{
    if (acl_begin(k, ACCESS_WRITE) != 0) {
        return;
    }
    struct acl_change *h = acl_change_new(k, title(is_policy), done != deleted);
    if (h == NULL) {
        return;
    }
    if (h->b.id.len != 0 && !slice_eq(h->b.id, h->id)) {
        consul_text(k->r, 400,
                    h->id.len == 0 ? "Cannot specify the ID when creating a new %s"
                                   : "%s ID in URL and payload do not match",
                    h->id.len == 0 ? word(is_policy) : title(is_policy));
        return;
    }
    h->is_guarded = 1;
    acl_change_start(h, plan, done);
}

static void change_one(struct consul_call *k, int is_policy, acl_plan_fn plan,
                       consul_written_fn done)
{
    if (acl_begin(k, ACCESS_WRITE) == 0 && acl_has_id(k, word(is_policy))) {
        change(k, is_policy, plan, done);
    }
}

void consul_acl_policy_create(struct consul_call *k)
{
    change(k, 1, plan_policy_create, policy_written);
}

void consul_acl_role_create(struct consul_call *k)
{
    change(k, 0, plan_role_create, role_written);
}

void consul_acl_policy_put(struct consul_call *k)
{
    change_one(k, 1, plan_policy_update, policy_written);
}

void consul_acl_role_put(struct consul_call *k)
{
    change_one(k, 0, plan_role_update, role_written);
}

void consul_acl_policy_delete(struct consul_call *k)
{
    change_one(k, 1, plan_policy_delete, deleted);
}

void consul_acl_role_delete(struct consul_call *k)
{
    change_one(k, 0, plan_role_delete, deleted);
}

/* --- reading --- */

static int render_one(struct consul_read *g, struct view *v, struct buf *out)
{
    struct acl_read *x = g->data;
    int is_policy = slice_eq(x->kind, ACCESS_POLICIES);
    char id[ACCESS_ID_SIZE + 1];
    struct record_row row;
    int rc = acl_sees(g);
    g->index = view_revision(v);
    if (rc == 0 && x->is_by_name) {
        rc = is_policy ? access_policy_id(v, x->id, id) : access_role_id(v, x->id, id);
    }
    rc = rc != 0 ? rc : find(v, is_policy, x->is_by_name ? slice_str(id) : x->id, &row);
    if (rc == MU_E_NOT_FOUND) {
        if (is_policy && !x->is_by_name) {
            return MU_E_UNAUTHORIZED;
        }
        /* As newer versions: their clients take 404 for "there is none" of roles and names. */
        g->status = 404;
        g->content_type = "text/plain; charset=utf-8";
        buf_append_str(out, is_policy ? "ACL not found" : "Requested role does not exist");
        return 0;
    }
    if (rc == 0) {
        jw_init(&x->w, out);
        jw_obj(&x->w);
        acl_show(&x->w, v, x->kind, &row, slice_of(NULL, 0));
        jw_end(&x->w);
    }
    return rc;
}

/* ?policy= of roles: those that lead to it. */
static void show_one(struct acl_read *x, const struct record_row *row)
{
    struct slice wanted;
    if (slice_eq(x->kind, ACCESS_POLICIES) || !http_query(x->g->r, "policy", &wanted) ||
        wanted.len == 0 || acl_has_link(row, "Policies", wanted)) {
        acl_show_listed(&x->w, x->v, x->kind, row);
    }
}

static int on_row(void *arg, struct slice name, const struct record_row *row)
{
    (void)name;
    if (!row->meta.is_deleted) {
        show_one(arg, row);
    }
    return 0;
}

static int render_list(struct consul_read *g, struct view *v, struct buf *out)
{
    struct acl_read *x = g->data;
    struct record_row row;
    x->v = v;
    g->index = view_revision(v);
    jw_init(&x->w, out);
    jw_arr(&x->w);
    if (slice_eq(x->kind, ACCESS_POLICIES)) {
        if (find(v, 1, ACCESS_MANAGEMENT, &row) == 0) {
            show_one(x, &row);
        }
    }
    int rc = acl_sees(g);
    rc = rc != 0 ? rc : view_records(v, x->kind, on_row, x);
    jw_end(&x->w);
    return rc;
}

static void read_it(struct consul_call *k, struct slice kind, int is_by_name,
                    consul_render_fn render)
{
    if (acl_begin(k, ACCESS_READ) != 0) {
        return;
    }
    struct acl_read *x = http_alloc(k->r, sizeof(*x));
    *x = (struct acl_read){.kind = kind, .id = k->rest, .is_by_name = is_by_name};
    struct consul_read *g = consul_read_new(k);
    if (g != NULL) {
        x->g = g;
        g->data = x;
        consul_read_start(g, render);
    }
}

static void read_by_id(struct consul_call *k, int is_policy)
{
    if (acl_begin(k, ACCESS_READ) == 0 && acl_has_id(k, word(is_policy))) {
        read_it(k, kind_of(is_policy), 0, render_one);
    }
}

static void read_by_name(struct consul_call *k, int is_policy)
{
    if (acl_begin(k, ACCESS_READ) != 0) {
        return;
    }
    if (k->rest.len == 0) {
        consul_text(k->r, 400, "Missing %s Name", word(is_policy));
        return;
    }
    read_it(k, kind_of(is_policy), 1, render_one);
}

void consul_acl_policy_get(struct consul_call *k)
{
    read_by_id(k, 1);
}

void consul_acl_policy_by_name(struct consul_call *k)
{
    read_by_name(k, 1);
}

void consul_acl_role_get(struct consul_call *k)
{
    read_by_id(k, 0);
}

void consul_acl_role_by_name(struct consul_call *k)
{
    read_by_name(k, 0);
}

void consul_acl_policies(struct consul_call *k)
{
    read_it(k, ACCESS_POLICIES, 0, render_list);
}

void consul_acl_roles(struct consul_call *k)
{
    read_it(k, ACCESS_ROLES, 0, render_list);
}

/* --- what is little --- */

void consul_acl_replication(struct consul_call *k)
{
    if (!access_is_enabled(k->c->access)) {
        consul_text(k->r, 401, "ACL support disabled");
        return;
    }
    consul_json(k->r, 200,
                SLICE_LIT("{\"Enabled\":false,\"Running\":false,\"SourceDatacenter\":\"\","
                          "\"ReplicationType\":\"\",\"ReplicatedIndex\":0,\"ReplicatedRoleIndex\":"
                          "0,\"ReplicatedTokenIndex\":0,\"LastSuccess\":\"0001-01-01T00:00:00Z\","
                          "\"LastError\":\"0001-01-01T00:00:00Z\",\"LastErrorMessage\":\"\"}"));
}

/* Auth methods and their binding rules: none can be made. */
void consul_acl_nothing(struct consul_call *k)
{
    if (acl_begin(k, ACCESS_READ) == 0) {
        consul_json(k->r, 200, SLICE_LIT("[]"));
    }
}

void consul_acl_login(struct consul_call *k)
{
    if (!access_is_enabled(k->c->access)) {
        consul_text(k->r, 401, "ACL support disabled");
        return;
    }
    consul_text(k->r, 403, "Permission denied: there are no auth methods here; make a token");
}

/* --- internal/acl/authorize: many questions at once --- */

struct question {
    struct slice resource, access, segment;
};

static const struct body_field question_fields[] = {
    {"Resource", BODY_STR, offsetof(struct question, resource), NULL},
    {"Access", BODY_STR, offsetof(struct question, access), NULL},
    {"Segment", BODY_STR, offsetof(struct question, segment), NULL},
};
static const struct body_table question_table = {"structs.ACLAuthorizationRequest",
                                                 sizeof(struct question), question_fields,
                                                 N_ELEMENTS(question_fields)};
struct questions {
    struct body_items all;
};
static const struct body_field questions_fields[] = {
    {"All", BODY_OBJECTS, offsetof(struct questions, all), &question_table},
};
static const struct body_table questions_table = {"[]structs.ACLAuthorizationRequest",
                                                  sizeof(struct questions), questions_fields,
                                                  N_ELEMENTS(questions_fields)};

static int is_allowed(const struct consul_call *k, const struct question *q)
{
    for (unsigned kind = 0; kind < ACCESS_KINDS; kind++) {
        for (unsigned right = ACCESS_READ; right <= ACCESS_WRITE; right++) {
            if (slice_eq(q->resource, slice_str(access_kind_name((enum access_kind)kind))) &&
                slice_eq(q->access, slice_str(access_right_name((enum access_right)right)))) {
                return access_allows(k->who, (enum access_kind)kind, q->segment,
                                     (enum access_right)right);
            }
        }
    }
    return 0;
}

static void put(struct jw *w, const char *name, struct slice s)
{
    jw_key(w, name);
    jw_slice(w, s);
}

void consul_acl_authorize(struct consul_call *k)
{
    struct questions *all = http_alloc(k->r, sizeof(*all));
    struct jw w;
    memset(all, 0, sizeof(*all));
    if (!access_is_enabled(k->c->access)) {
        consul_text(k->r, 401, "ACL support disabled");
        return;
    }
    if (consul_body_list(k->r, &questions_table, all) != 0) {
        return;
    }
    const struct question *q = (const struct question *)(const void *)all->all.p;
    jw_init(&w, http_scratch(k->r));
    jw_arr(&w);
    for (size_t i = 0; i < all->all.n; i++) {
        jw_obj(&w);
        put(&w, "Resource", q[i].resource);
        if (q[i].segment.len != 0) {
            put(&w, "Segment", q[i].segment);
        }
        put(&w, "Access", q[i].access);
        jw_key(&w, "Allow");
        jw_bool(&w, is_allowed(k, &q[i]));
        jw_end(&w);
    }
    jw_end(&w);
    consul_json(k->r, 200, buf_slice(w.out));
}
