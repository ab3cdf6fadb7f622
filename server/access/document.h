/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens, policies and roles as they are stored: JSON documents in records
 * (docs/formats.md#access). */
#pragma once

#include "base/buf.h"
#include "server/access/access.h"
#include "storage/view_kv.h"

/* Kinds of records. A token is found by its secret through ACCESS_SECRETS (the SHA-256 in hex ->
 * the accessor id), a policy or role by its name through *_NAMES (name -> id). */
#define ACCESS_TOKENS       SLICE_LIT("acl-token")
#define ACCESS_SECRETS      SLICE_LIT("acl-secret")
#define ACCESS_POLICIES     SLICE_LIT("acl-policy")
#define ACCESS_POLICY_NAMES SLICE_LIT("acl-policy-name")
#define ACCESS_ROLES        SLICE_LIT("acl-role")
#define ACCESS_ROLE_NAMES   SLICE_LIT("acl-role-name")
/* "changed": written anew with every change of the others, so that one look tells whether something
 * changed. "bootstrap": there once a first token was made. */
#define ACCESS_STATE     SLICE_LIT("acl-state")
#define ACCESS_CHANGED   SLICE_LIT("changed")
#define ACCESS_BOOTSTRAP SLICE_LIT("bootstrap")

#define ACCESS_MANAGEMENT SLICE_LIT("00000000-0000-0000-0000-000000000001")
#define ACCESS_READ_ONLY  SLICE_LIT("00000000-0000-0000-0000-000000000002")
#define ACCESS_ANONYMOUS  SLICE_LIT("00000000-0000-0000-0000-000000000002") /* an accessor id */

enum {
    ACCESS_ID_SIZE = 36,
    ACCESS_HASH_SIZE = 65, /* hex and NUL */
    ACCESS_LINKS_MAX = 64, /* of each kind, in a token or role */
    ACCESS_TEXT_MAX = 4096,
};

struct access_link { /* to a policy or role: one of both is enough */
    struct slice id, name;
};

struct access_identity { /* a service or node; datacenters is a list (tags_begin) */
    struct slice name, datacenters, datacenter;
};

struct access_template {
    struct slice name;        /* builtin/service, builtin/node, builtin/dns */
    struct slice of;          /* the variable Name */
    struct slice datacenters; /* a list */
};

/* What a token or role was given. */
struct access_given {
    struct slice id, name, description;
    const struct access_link *policies, *roles;
    const struct access_identity *services, *nodes;
    const struct access_template *templates;
    size_t n_policies, n_roles, n_services, n_nodes, n_templates;
    /* tokens */
    int is_local;
    int64_t created_ms, expires_ms; /* 0 = never */
    struct slice secret_hash;       /* hex */
    /* policies */
    struct slice rules, datacenters;
};

/* The stored document. 0; BAD_REQUEST or NOT_FOUND with Consul's sentence. */
int access_token_document(struct view *v, const struct access_given *g, struct buf *out,
                          struct err *e);
int access_role_document(struct view *v, const struct access_given *g, struct buf *out,
                         struct err *e);
int access_policy_document(const struct access_given *g, struct buf *out, struct err *e);

/* A policy that is always there, or NULL: its document. */
struct slice access_builtin_policy(struct slice id);
/* The id of the policy or role of that name, into out; 0 or NOT_FOUND. */
int access_policy_id(struct view *v, struct slice name, char out[ACCESS_ID_SIZE + 1]);
int access_role_id(struct view *v, struct slice name, char out[ACCESS_ID_SIZE + 1]);
int access_is_id(struct slice s); /* a UUID as text */
void access_hash(struct slice secret, char out[ACCESS_HASH_SIZE]);
/* The number that somebody wrote into the reset file, 0 without one: as the bootstrap record's
 * revision, it lets a first token be made once more. */
uint64_t access_reset_index(const struct access *a);
/* Whether that is the token of the settings, which stands in no record. */
int access_is_initial(const struct access *a, struct slice accessor);
/* Its accessor id; "" when there is none. */
const char *access_initial_id(const struct access *a);
