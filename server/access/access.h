/* SPDX-License-Identifier: Apache-2.0 */
/* Access control, for every face: who asks (a token), what rules that gives, and the one question
 * whether something is allowed.
 *
 * Tokens, policies and roles are records of the store, so they are the same on every node and
 * survive what the data survives. A token's secret is stored as its SHA-256 alone: secrets are
 * random and have 122 bits, which need no slow hash. What is stored: docs/formats.md#access. Rules
 * and their meaning follow Consul (https://developer.hashicorp.com/consul/docs/security/acl). */
#pragma once

#include "base/err.h"
#include "storage/view.h"

struct access;
struct identity; /* who asks, and what he may */

enum access_kind {
    ACCESS_ACL,
    ACCESS_AGENT,
    ACCESS_CONFIG, /* of the native API: NAMESPACE/GROUP/KEY */
    ACCESS_EVENT,
    ACCESS_IDENTITY,
    ACCESS_KEY,
    ACCESS_KEYRING,
    ACCESS_MESH,
    ACCESS_NODE,
    ACCESS_OPERATOR,
    ACCESS_PEERING,
    ACCESS_QUERY,
    ACCESS_SERVICE,
    ACCESS_SESSION, /* by the name of the node */
    ACCESS_KINDS
};

/* In this order, so that of two rules for the same name the larger one counts. */
enum access_right { ACCESS_READ = 1, ACCESS_LIST, ACCESS_WRITE, ACCESS_DENY };

enum { ACCESS_SECRET_MAX = 128 }; /* bytes of a token's secret */

struct access_options {
    struct store *store;
    unsigned n_workers;
    int is_enabled;
    int is_default_deny;
    int has_key_list;          /* listing keys needs `list`, not only `read` */
    const char *initial_token; /* a secret that may do everything; NULL or "" = none. Not kept */
    const char *datacenter;    /* this one: what is given for others alone gives nothing. Copied */
    const char *reset_file;    /* see access_reset_index; NULL = none. Copied */
};
struct access *access_new(const struct access_options *o);
void access_free(struct access *a);
int access_is_enabled(const struct access *a); /* 0 for NULL */
int access_is_default_deny(const struct access *a);
int access_has_key_list(const struct access *a);

/* Who shows that secret (empty: nobody known, the anonymous token). *out is NULL when access
 * control is off: it may do everything. It is valid until this worker asks again or returns to its
 * loop. 0, UNAUTHORIZED (no such token, or its time is over), CORRUPT, TOO_LARGE; then *out may
 * nothing. v may be NULL:
 * then a view is opened for it when one is needed. Worker threads only. */
int access_identify(struct access *a, unsigned worker, struct view *v, struct slice secret,
                    const struct identity **out);

/* The one question. `name` is empty for kinds that have none: ACL, KEYRING, MESH, OPERATOR,
 * PEERING. */
int access_allows(const struct identity *who, enum access_kind kind, struct slice name,
                  enum access_right right);
/* The same for everything whose name begins so. */
int access_allows_all(const struct identity *who, enum access_kind kind, struct slice prefix,
                      enum access_right right);

/* "read", "key:read" ... for messages. */
const char *access_kind_name(enum access_kind kind);
const char *access_right_name(enum access_right right);
int access_kind_has_names(enum access_kind kind);
/* The accessor id of the token. "" when access control is off. */
const char *access_id(const struct identity *who);
int access_is_anonymous(const struct identity *who);
