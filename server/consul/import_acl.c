/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/import_acl.h"

#include "server/consul/acl.h"

enum { HASH_DIGITS = ACCESS_HASH_SIZE - 1 };

/* Seconds from year 1 to 1970, as Go counts. */
#define GO_EPOCH_S INT64_C(62135596800)

static int bad(struct err *e, const char *text)
{
    return err_set(e, MU_E_BAD_REQUEST, "%s", text);
}

/* time.Time.MarshalBinary: version, seconds, nanoseconds, zone. 0: none, or before 1970. */
static int64_t time_ms(struct slice b)
{
    uint64_t s = 0, ns = 0;
    if (b.len < 13 || b.p[0] < 1 || b.p[0] > 2) {
        return 0;
    }
    for (size_t i = 1; i < 9; i++) {
        s = s << 8 | b.p[i];
    }
    for (size_t i = 9; i < 13; i++) {
        ns = ns << 8 | b.p[i];
    }
    int is_sane = s > (uint64_t)GO_EPOCH_S && s < (uint64_t)GO_EPOCH_S * 5 && ns < 1000000000;
    return is_sane ? ((int64_t)s - GO_EPOCH_S) * 1000 + (int64_t)(ns / 1000000) : 0;
}

/* --- links --- */

static int is_there(const struct import *m, struct slice kind, struct slice id)
{
    struct record_row row;
    return access_is_id(id) && (access_builtin_policy(id).len != 0 ||
                                (m->v != NULL && view_record(m->v, kind, id, &row) == 0));
}

static struct access_link *links(const struct import *m, struct slice kind,
                                 const struct access_link *given, size_t *n)
{
    size_t left = 0;
    struct access_link *out = m->alloc(m->arg, (*n + 1) * sizeof(*out));
    for (size_t i = 0; i < *n; i++) {
        if (is_there(m, kind, given[i].id)) {
            out[left++] = (struct access_link){.id = given[i].id};
        }
    }
    *n = left;
    return out;
}

static int read(const struct import *m, struct slice value, struct acl_body *b,
                struct access_given *g, struct err *e)
{
    *b = (struct acl_body){0};
    int rc = import_body(m, value, &acl_table, b, e);
    if (rc != 0) {
        return rc;
    }
    acl_given(b, g);
    if (g->n_policies > ACCESS_LINKS_MAX || g->n_roles > ACCESS_LINKS_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "at most %d links of a kind", ACCESS_LINKS_MAX);
    }
    g->policies = links(m, ACCESS_POLICIES, g->policies, &g->n_policies);
    g->roles = links(m, ACCESS_ROLES, g->roles, &g->n_roles);
    return 0;
}

/* --- tokens --- */

static int is_hash(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f'))) {
            return 0;
        }
    }
    return s.len == HASH_DIGITS;
}

static int take_hash(const struct import *m, struct slice value, const struct acl_body *b,
                     struct access_given *g, struct err *e)
{
    char hash[ACCESS_HASH_SIZE];
    struct slice own = mp_member(value, "MusterSecretHash");
    if (slice_eq(b->accessor, ACCESS_ANONYMOUS)) {
        return 0;
    }
    if (own.len != 0) {
        g->secret_hash = mp_raw(own);
        return is_hash(g->secret_hash) ? 0 : bad(e, "MusterSecretHash is no hash");
    }
    if (b->secret.len == 0 || b->secret.len > ACCESS_SECRET_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "a SecretID has 1 to %d bytes", ACCESS_SECRET_MAX);
    }
    access_hash(b->secret, hash);
    g->secret_hash = import_keep(m, slice_of(hash, HASH_DIGITS));
    return 0;
}

int import_token(const struct import *m, struct slice value, struct import_doc *out, struct err *e)
{
    struct acl_body b;
    struct access_given g;
    struct buf doc;
    int rc = read(m, value, &b, &g, e);
    if (rc != 0) {
        return rc;
    }
    if (b.accessor.len == 0 || b.rules.len != 0) { /* a legacy one */
        return IMPORT_PASSED;
    }
    if (!access_is_id(b.accessor)) {
        return bad(e, "an AccessorID is a UUID");
    }
    g.id = b.accessor;
    g.name = slice_of(NULL, 0);
    g.created_ms = time_ms(mp_text(value, "CreateTime"));
    g.expires_ms = time_ms(mp_text(value, "ExpirationTime"));
    rc = take_hash(m, value, &b, &g, e);
    buf_init(&doc);
    rc = rc != 0 ? rc : access_token_document(m->v, &g, &doc, e);
    *out = (struct import_doc){.kind = ACCESS_TOKENS,
                               .name = g.id,
                               .body = import_keep(m, buf_slice(&doc)),
                               .claim_kind = ACCESS_SECRETS,
                               .claim = g.secret_hash};
    buf_fini(&doc);
    return rc;
}

/* --- policies and roles --- */

int import_policy(const struct import *m, struct slice value, struct import_doc *out, struct err *e)
{
    struct acl_body b;
    struct access_given g;
    struct buf doc;
    int rc = read(m, value, &b, &g, e);
    if (rc != 0) {
        return rc;
    }
    if (!access_is_id(b.id)) {
        return bad(e, "the ID of a policy is a UUID");
    }
    if (access_builtin_policy(b.id).len != 0) { /* it is there, as it is here */
        *out = (struct import_doc){.kind = ACCESS_POLICIES};
        return 0;
    }
    g.id = b.id;
    buf_init(&doc);
    rc = access_policy_document(&g, &doc, e);
    *out = (struct import_doc){.kind = ACCESS_POLICIES,
                               .name = g.id,
                               .body = import_keep(m, buf_slice(&doc)),
                               .claim_kind = ACCESS_POLICY_NAMES,
                               .claim = g.name};
    buf_fini(&doc);
    return rc != 0 ? err_wrap(e, "%.*s", (int)(g.name.len < 100 ? g.name.len : 100),
                              (const char *)g.name.p)
                   : 0;
}

int import_role(const struct import *m, struct slice value, struct import_doc *out, struct err *e)
{
    struct acl_body b;
    struct access_given g;
    struct buf doc;
    int rc = read(m, value, &b, &g, e);
    if (rc != 0) {
        return rc;
    }
    if (!access_is_id(b.id)) {
        return bad(e, "the ID of a role is a UUID");
    }
    g.id = b.id;
    buf_init(&doc);
    rc = access_role_document(m->v, &g, &doc, e);
    *out = (struct import_doc){.kind = ACCESS_ROLES,
                               .name = g.id,
                               .body = import_keep(m, buf_slice(&doc)),
                               .claim_kind = ACCESS_ROLE_NAMES,
                               .claim = g.name};
    buf_fini(&doc);
    return rc;
}

int import_bootstrap(struct slice value, struct import_doc *out, size_t *out_n)
{
    *out = (struct import_doc){
        .kind = ACCESS_STATE, .name = ACCESS_BOOTSTRAP, .body = SLICE_LIT("restored")};
    *out_n = slice_eq(mp_text(value, "Key"), SLICE_LIT("acl-token-bootstrap"));
    return 0;
}
