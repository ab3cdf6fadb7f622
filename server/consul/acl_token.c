/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens (https://developer.hashicorp.com/consul/api-docs/acl/tokens). */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json_read.h"
#include "base/text.h"
#include "server/consul/acl.h"

enum { TTL_MIN_MS = 60 * 1000, TTL_MAX_MS = 24 * 3600 * 1000 };

#define NS_PER_MS INT64_C(1000000)
#define RESERVED  SLICE_LIT("00000000-0000-0000-0000-0000000000") /* what is built in */

/* --- the bodies of those that are in no record --- */

static const char anonymous_body[] =
    "{\"AccessorID\":\"00000000-0000-0000-0000-000000000002\",\"Description\":\"Anonymous "
    "Token\",\"Policies\":[],\"Roles\":[],\"Local\":false,\"Created\":0,\"Expires\":0}";

static struct slice initial_body(struct consul_call *k)
{
    char text[400];
    int n = snprintf(text, sizeof(text),
                     "{\"AccessorID\":\"%s\",\"Description\":\"Initial Management Token\","
                     "\"Policies\":[\"00000000-0000-0000-0000-000000000001\"],\"Roles\":[],"
                     "\"Local\":false,\"Created\":0,\"Expires\":0}",
                     access_initial_id(k->c->access));
    return consul_keep(k->r, slice_of(text, (size_t)n));
}

/* 0 or NOT_FOUND. */
static int find(struct consul_call *k, struct view *v, struct slice id, struct record_row *out)
{
    memset(out, 0, sizeof(*out));
    if (access_is_initial(k->c->access, id)) {
        out->body = initial_body(k);
        return 0;
    }
    int rc = id.len != ACCESS_ID_SIZE ? MU_E_NOT_FOUND : view_record(v, ACCESS_TOKENS, id, out);
    if (rc == MU_E_NOT_FOUND && slice_eq(id, ACCESS_ANONYMOUS)) {
        out->body = slice_str(anonymous_body);
        return 0;
    }
    return rc;
}

/* --- making --- */

static int fail(struct acl_change *h)
{
    consul_text(h->k.r, 500, "%s", h->err.text);
    return -1;
}

static int expiration(struct acl_change *h, struct access_given *g)
{
    int64_t left = h->b.ttl / NS_PER_MS;
    const char *wrong = NULL;
    if (h->b.expiration.len != 0) {
        if (text_parse_time(h->b.expiration, &g->expires_ms) != 0) {
            consul_text(h->k.r, 400, "Token decoding failed: ExpirationTime is no time");
            return -1;
        }
        left = g->expires_ms - g->created_ms;
    } else if (left != 0) {
        g->expires_ms = g->created_ms + left;
    }
    if (h->b.ttl != 0 && h->b.expiration.len != 0) {
        wrong = "Token Expiration TTL and Expiration Time cannot both be set";
    } else if (h->b.ttl < 0) {
        wrong = "Token Expiration TTL should be > 0";
    } else if (g->expires_ms != 0 && left < 0) {
        wrong = "ExpirationTime cannot be before CreateTime";
    } else if (g->expires_ms != 0 && left < TTL_MIN_MS) {
        wrong = "ExpirationTime cannot be less than 1m0s in the future";
    } else if (left > TTL_MAX_MS) {
        wrong = "ExpirationTime cannot be more than 24h0m0s in the future";
    }
    if (wrong != NULL) {
        (void)err_set(&h->err, MU_E_BAD_REQUEST, "%s", wrong);
        return fail(h);
    }
    return 0;
}

/* The accessor and the secret: given, or drawn. */
static int draw(struct acl_change *h, struct view *v)
{
    struct record_row row;
    acl_uuid(h->new_id);
    acl_uuid(h->secret);
    if (h->b.accessor.len != 0 || h->b.secret.len != 0) {
        struct slice id = h->b.accessor.len != 0 ? h->b.accessor : slice_str(h->new_id);
        struct slice secret = h->b.secret.len != 0 ? h->b.secret : slice_str(h->secret);
        if (!access_is_id(id) || !access_is_id(secret)) {
            (void)err_set(&h->err, MU_E_BAD_REQUEST, "Invalid Token: %s is not a valid UUID",
                          access_is_id(id) ? "SecretID" : "AccessorID");
            return fail(h);
        }
        memmove(h->new_id, id.p, id.len); /* may be what it already is */
        memmove(h->secret, secret.p, secret.len);
    }
    access_hash(slice_str(h->secret), h->hash);
    if (find(&h->k, v, slice_str(h->new_id), &row) == 0) {
        (void)err_set(&h->err, MU_E_EXISTS, "Invalid Token: AccessorID is already in use");
        return fail(h);
    }
    if (view_record(v, ACCESS_SECRETS, slice_str(h->hash), &row) == 0) {
        (void)err_set(&h->err, MU_E_EXISTS, "Invalid Token: SecretID is already in use");
        return fail(h);
    }
    if (slice_has_prefix(slice_str(h->new_id), RESERVED) ||
        slice_has_prefix(slice_str(h->secret), RESERVED)) {
        (void)err_set(&h->err, MU_E_BAD_REQUEST,
                      "Invalid Token: UUIDs with the prefix \"%.*s\" are reserved",
                      SLICE_FMT(RESERVED));
        return fail(h);
    }
    return 0;
}

static int put_new(struct acl_change *h, struct view *v, struct access_given *g)
{
    struct buf doc;
    g->id = slice_str(h->new_id);
    g->secret_hash = slice_str(h->hash);
    buf_init(&doc);
    int rc = access_token_document(v, g, &doc, &h->err);
    if (rc == 0) {
        acl_put(h, ACCESS_TOKENS, g->id, 0, buf_slice(&doc));
        acl_put(h, ACCESS_SECRETS, g->secret_hash, 0, g->id);
    }
    buf_fini(&doc);
    return rc != 0 ? fail(h) : 0;
}

static int plan_create(struct acl_change *h, struct view *v)
{
    struct access_given g;
    acl_given(&h->b, &g);
    g.created_ms = clock_wall_ms();
    return expiration(h, &g) != 0 || draw(h, v) != 0 ? -1 : put_new(h, v, &g);
}

static void written(struct consul_write *w)
{
    acl_answer(w, ACCESS_TOKENS);
}

/* --- bootstrap --- */

static int plan_bootstrap(struct acl_change *h, struct view *v)
{
    const struct access_link all = {.id = ACCESS_MANAGEMENT};
    struct access_given g = {.description = SLICE_LIT("Bootstrap Token (Global Management)"),
                             .policies = &all,
                             .n_policies = 1,
                             .created_ms = clock_wall_ms()};
    struct record_row row;
    int rc = view_record(v, ACCESS_STATE, ACCESS_BOOTSTRAP, &row);
    mu_rev made = rc == 0 ? row.meta.mod_rev : 0;
    int has_initial = access_initial_id(h->k.c->access)[0] != '\0';
    if ((made != 0 && access_reset_index(h->k.c->access) != made) || (made == 0 && has_initial)) {
        consul_text(h->k.r, 403,
                    "Permission denied: ACL bootstrap no longer allowed (reset index: %llu)",
                    (unsigned long long)(made != 0 ? made : 1));
        return -1;
    }
    if (draw(h, v) != 0 || put_new(h, v, &g) != 0) {
        return -1;
    }
    acl_put(h, ACCESS_STATE, ACCESS_BOOTSTRAP, made, slice_str(h->new_id));
    (void)err_set(&h->err, MU_E_EXISTS,
                  "Permission denied: ACL bootstrap no longer allowed (reset index: 1)");
    return 0;
}

static void bootstrapped(struct consul_write *w)
{
    if (w->cw.result.code == MU_E_EXISTS || w->cw.result.code == MU_E_REVISION_MISMATCH) {
        consul_text(w->r, 403, "%s", ((struct acl_change *)w->data)->err.text);
    } else {
        written(w);
    }
}

void consul_acl_bootstrap(struct consul_call *k)
{
    if (!access_is_enabled(k->c->access)) {
        consul_text(k->r, 401, "ACL support disabled");
        return;
    }
    struct acl_change *h = acl_change_new(k, "Token", http_body(k->r).len > 0);
    if (h != NULL && consul_dc(k) == 0) {
        struct slice secret = h->b.secret; /* BootstrapSecret would come here */
        memset(&h->b, 0, sizeof(h->b));
        h->b.secret = secret;
        acl_change_start(h, plan_bootstrap, bootstrapped);
    }
}

/* --- changing one that is there --- */

/* A member of its stored document. */
static struct slice member(struct acl_change *h, struct slice body, const char *name,
                           int64_t *number)
{
    json_t *doc;
    struct err e = {0};
    struct slice s = {0};
    if (jr_parse(body, &doc, &e) == 0) {
        const json_t *v = json_object_get(doc, name);
        s = consul_keep(h->k.r, slice_of(json_string_value(v), json_string_length(v)));
        if (number != NULL) {
            *number = json_integer_value(v);
        }
        jr_free(doc);
    }
    return s;
}

static int plan_clone(struct acl_change *h, struct view *v);

static int find_known(struct acl_change *h, struct view *v, struct record_row *row)
{
    int rc = find(&h->k, v, h->id, row);
    if (rc == MU_E_NOT_FOUND) {
        if (h->plan == plan_clone) {
            consul_text(h->k.r, 403, "ACL not found");
        } else {
            consul_text(h->k.r, 500, "Cannot find token \"%.*s\"", SLICE_FMT(h->id));
        }
    } else if (rc != 0) {
        consul_fail(h->k.r, rc, NULL);
    }
    return rc;
}

static int find_for_change(struct acl_change *h, struct view *v, struct record_row *row)
{
    int rc = find_known(h, v, row);
    if (rc == 0 && access_is_initial(h->k.c->access, h->id)) {
        consul_text(h->k.r, 500,
                    "the initial management token stands in the settings of the nodes");
        rc = MU_E_CONFLICT;
    }
    return rc;
}

/* How long a token lives, and where, is settled when it is made; what programs read may come back.
 */
static int stays_bounded(struct acl_change *h, const struct record_row *row,
                         const struct access_given *g)
{
    struct err e = {0};
    json_t *doc = NULL;
    int64_t told = g->expires_ms;
    const char *wrong = NULL;
    int rc = jr_parse(row->body, &doc, &e);
    int was_local = json_is_true(json_object_get(doc, "Local"));
    jr_free(doc);
    if (rc == 0 && was_local != h->b.is_local) {
        wrong = "cannot toggle local mode of";
    } else if (h->b.ttl != 0 ||
               (h->b.expiration.len != 0 &&
                (text_parse_time(h->b.expiration, &told) != 0 || told != g->expires_ms))) {
        wrong = "Cannot change expiration time of";
    }
    if (wrong != NULL) {
        consul_text(h->k.r, 500, "%s %.*s", wrong, SLICE_FMT(h->id));
    }
    return rc != 0 || wrong != NULL ? -1 : 0;
}

static int plan_update(struct acl_change *h, struct view *v)
{
    struct access_given g;
    struct record_row row;
    struct buf doc;
    if (find_for_change(h, v, &row) != 0) {
        return -1;
    }
    acl_given(&h->b, &g);
    g.id = h->id;
    (void)member(h, row.body, "Created", &g.created_ms);
    (void)member(h, row.body, "Expires", &g.expires_ms);
    g.secret_hash = member(h, row.body, "SecretHash", NULL);
    if (stays_bounded(h, &row, &g) != 0) {
        return -1;
    }
    (void)snprintf(h->new_id, sizeof(h->new_id), "%.*s", SLICE_FMT(h->id));
    if (access_is_id(h->b.secret)) { /* "<hidden>" comes back from programs that read it */
        access_hash(h->b.secret, h->hash);
        if (!slice_eq(slice_str(h->hash), g.secret_hash)) {
            consul_text(h->k.r, 500, "Changing a tokens SecretID is not permitted");
            return -1;
        }
        (void)snprintf(h->secret, sizeof(h->secret), "%.*s", SLICE_FMT(h->b.secret));
    }
    buf_init(&doc);
    int rc = access_token_document(v, &g, &doc, &h->err);
    if (rc == 0) {
        acl_put(h, ACCESS_TOKENS, g.id, row.meta.mod_rev, buf_slice(&doc));
    }
    buf_fini(&doc);
    return rc != 0 ? fail(h) : 0;
}

static void note_links(const json_t *list, struct access_link *out, size_t *n)
{
    size_t i;
    json_t *v;
    json_array_foreach (list, i, v) {
        if (*n < ACCESS_LINKS_MAX) {
            out[(*n)++].id = slice_of(json_string_value(v), json_string_length(v));
        }
    }
}

/* The same links under a new accessor and secret; one that leads nowhere any more is refused like
 * any. Identities and templates are read like a body's. */
static int plan_clone(struct acl_change *h, struct view *v)
{
    struct access_given g = {0};
    struct record_row row;
    json_t *doc;
    if (find_known(h, v, &row) != 0 || jr_parse(row.body, &doc, &h->err) != 0) {
        return -1;
    }
    struct access_link *links = http_alloc(h->k.r, 2 * ACCESS_LINKS_MAX * sizeof(*links));
    memset(links, 0, 2 * ACCESS_LINKS_MAX * sizeof(*links));
    struct acl_body own = {0};
    int rc = acl_body_read(&h->k, row.body, &own);
    struct slice description = h->b.description.len != 0 ? h->b.description : own.description;
    h->b.services = own.services;
    h->b.nodes = own.nodes;
    h->b.templates = own.templates;
    acl_given(&h->b, &g);
    g.description = description;
    g.policies = links;
    g.roles = links + ACCESS_LINKS_MAX;
    g.n_policies = g.n_roles = 0;
    note_links(json_object_get(doc, "Policies"), links, &g.n_policies);
    note_links(json_object_get(doc, "Roles"), links + ACCESS_LINKS_MAX, &g.n_roles);
    g.created_ms = clock_wall_ms();
    (void)member(h, row.body, "Expires", &g.expires_ms);
    rc = rc != 0 || draw(h, v) != 0 ? -1 : put_new(h, v, &g);
    jr_free(doc);
    return rc;
}

static int plan_delete(struct acl_change *h, struct view *v)
{
    struct record_row row;
    if (slice_eq(h->id, ACCESS_ANONYMOUS)) {
        consul_text(h->k.r, 500, "Delete operation not permitted on the anonymous token");
        return -1;
    }
    int rc = find(&h->k, v, h->id, &row);
    if (rc == MU_E_NOT_FOUND) {
        consul_bool(h->k.r, 1);
        return -1;
    }
    if (rc != 0 || find_for_change(h, v, &row) != 0) {
        return -1;
    }
    acl_delete(h, ACCESS_TOKENS, h->id, row.meta.mod_rev);
    struct slice hash = member(h, row.body, "SecretHash", NULL);
    struct record_row secret;
    if (hash.len != 0 && view_record(v, ACCESS_SECRETS, hash, &secret) == 0) {
        acl_delete(h, ACCESS_SECRETS, hash, secret.meta.mod_rev);
    }
    return 0;
}

static void deleted(struct consul_write *w)
{
    if (w->cw.result.code == 0) {
        consul_bool(w->r, 1);
    } else {
        acl_answer(w, ACCESS_TOKENS);
    }
}

/* --- endpoints --- */

static void change(struct consul_call *k, int has_body, acl_plan_fn plan, consul_written_fn done)
{
    if (acl_begin(k, ACCESS_WRITE) != 0) {
        return;
    }
    struct acl_change *h = acl_change_new(k, "Token", has_body);
    if (h != NULL && plan == plan_update && h->b.accessor.len != 0 &&
        !slice_eq(h->b.accessor, h->id)) {
        consul_text(k->r, 400, "Token Accessor ID in URL and payload do not match");
    } else if (h != NULL) {
        h->is_guarded = 1;
        acl_change_start(h, plan, done);
    }
}

void consul_acl_token_create(struct consul_call *k)
{
    change(k, 1, plan_create, written);
}

void consul_acl_token_put(struct consul_call *k)
{
    static const char clone[] = "/clone";
    size_t n = sizeof(clone) - 1;
    if (k->rest.len > n && memcmp(k->rest.p + k->rest.len - n, clone, n) == 0) {
        k->rest.len -= n;
        change(k, http_body(k->r).len > 0, plan_clone, written);
    } else {
        change(k, 1, plan_update, written);
    }
}

void consul_acl_token_delete(struct consul_call *k)
{
    if (acl_begin(k, ACCESS_WRITE) == 0 && acl_has_id(k, "token")) {
        change(k, 0, plan_delete, deleted);
    }
}

/* --- reading --- */

static int render_token(struct consul_read *g, struct view *v, struct buf *out)
{
    struct acl_read *x = g->data;
    struct consul_call k = {.r = g->r, .c = g->c};
    struct slice secret = {0};
    struct record_row row;
    int is_self = x->id.len == 0;
    struct slice id = is_self ? slice_str(access_id(g->who)) : x->id;
    g->index = view_revision(v);
    int rc = is_self ? 0 : acl_sees(g);
    rc = rc != 0 ? rc : find(&k, v, id, &row);
    if (rc != 0) {
        return rc == MU_E_NOT_FOUND ? MU_E_UNAUTHORIZED : rc;
    }
    if (is_self) {
        secret = access_is_anonymous(g->who) ? SLICE_LIT("anonymous") : consul_token(g->r);
    }
    jw_init(&x->w, out);
    jw_obj(&x->w);
    acl_show(&x->w, v, ACCESS_TOKENS, &row, secret);
    jw_end(&x->w);
    return 0;
}

static void read_token(struct consul_call *k, struct slice id)
{
    struct acl_read *x = http_alloc(k->r, sizeof(*x));
    *x = (struct acl_read){.kind = ACCESS_TOKENS, .id = id};
    struct consul_read *g = consul_read_new(k);
    if (g != NULL) {
        x->g = g;
        g->data = x;
        consul_read_start(g, render_token);
    }
}

void consul_acl_token_self(struct consul_call *k)
{
    if (!access_is_enabled(k->c->access)) {
        consul_text(k->r, 401, "ACL support disabled");
        return;
    }
    read_token(k, slice_of(NULL, 0));
}

void consul_acl_token_get(struct consul_call *k)
{
    if (acl_begin(k, ACCESS_READ) != 0) {
        return;
    }
    if (acl_has_id(k, "token")) {
        read_token(k, k->rest);
    }
}

/* No token comes from an auth method. */
static int is_asked(struct acl_read *x, const struct record_row *row)
{
    struct http_req *r = x->g->r;
    struct slice s;
    return (!http_query(r, "policy", &s) || s.len == 0 || acl_has_link(row, "Policies", s)) &&
           (!http_query(r, "role", &s) || s.len == 0 || acl_has_link(row, "Roles", s)) &&
           (!http_query(r, "authmethod", &s) || s.len == 0);
}

static void show_one(struct acl_read *x, const struct record_row *row)
{
    if (is_asked(x, row)) {
        acl_show_listed(&x->w, x->v, ACCESS_TOKENS, row);
    }
}

static int on_token(void *arg, struct slice name, const struct record_row *row)
{
    struct acl_read *x = arg;
    (void)name;
    if (!row->meta.is_deleted) {
        show_one(x, row);
    }
    return 0;
}

static int render_tokens(struct consul_read *g, struct view *v, struct buf *out)
{
    struct acl_read *x = g->data;
    struct consul_call k = {.r = g->r, .c = g->c};
    struct record_row row;
    x->v = v;
    g->index = view_revision(v);
    jw_init(&x->w, out);
    jw_arr(&x->w);
    int rc = acl_sees(g);
    rc = rc != 0 ? rc : view_records(v, ACCESS_TOKENS, on_token, x);
    if (view_record(v, ACCESS_TOKENS, ACCESS_ANONYMOUS, &row) != 0 &&
        find(&k, v, ACCESS_ANONYMOUS, &row) == 0) {
        show_one(x, &row);
    }
    if (access_initial_id(g->c->access)[0] != '\0' &&
        find(&k, v, slice_str(access_initial_id(g->c->access)), &row) == 0) {
        show_one(x, &row);
    }
    jw_end(&x->w);
    return rc;
}

void consul_acl_tokens(struct consul_call *k)
{
    if (acl_begin(k, ACCESS_READ) != 0) {
        return;
    }
    struct acl_read *x = http_alloc(k->r, sizeof(*x));
    *x = (struct acl_read){.kind = ACCESS_TOKENS};
    struct consul_read *g = consul_read_new(k);
    if (g != NULL) {
        x->g = g;
        g->data = x;
        consul_read_start(g, render_tokens);
    }
}
