/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of /v1/acl: the body of a change, and how documents are told. */
#pragma once

#include "server/access/document.h"
#include "server/consul/body.h"
#include "server/consul/consul_impl.h"

struct json_t;

enum { ACL_OPS_MAX = 5, ACL_HIDDEN_MAX = 130 };

/* Tokens, policies and roles: what any of them has. */
struct acl_body {
    struct slice accessor, secret, id, name, description, rules, datacenters, expiration;
    struct body_items policies, roles, services, nodes, templates;
    int64_t ttl; /* ns */
    int is_local;
};

extern const struct body_table acl_table; /* struct acl_body */

/* A change: the caller may, the store here is as new as the leader's, then `plan` makes the
 * operations (0, or the error was answered), then `done`. */
struct acl_change;
typedef int (*acl_plan_fn)(struct acl_change *h, struct view *v);

struct acl_change {
    struct consul_call k;
    struct acl_body b;
    struct slice id; /* of what is changed: of the path; empty = new */
    acl_plan_fn plan;
    consul_written_fn done;
    struct op ops[ACL_OPS_MAX];
    size_t n;
    int is_guarded; /* acl:write is asked for again before `plan`; else it sees to that itself */
    struct err err;
    char new_id[ACCESS_ID_SIZE + 1], secret[ACL_HIDDEN_MAX], hash[ACCESS_HASH_SIZE];
    struct core_read gate;
};
/* Whether the path has an id in it; else that was answered. `what` is "token", "policy", "role". */
int acl_has_id(struct consul_call *k, const char *what);
/* has_body: one is read, and may not be missing. `what` is "Token", "Policy", "Role". NULL: it was
 * answered. */
struct acl_change *acl_change_new(struct consul_call *k, const char *what, int has_body);
void acl_change_start(struct acl_change *h, acl_plan_fn plan, consul_written_fn done);
/* Adds OP_RECORD_CAS: `expect` 0 = not there yet. Copies the body. */
void acl_put(struct acl_change *h, struct slice kind, struct slice name, mu_rev expect,
             struct slice body);
void acl_delete(struct acl_change *h, struct slice kind, struct slice name, mu_rev expect);
/* What a stored document has of it, but its links, which are ids there. */
int acl_body_read(struct consul_call *k, struct slice document, struct acl_body *out);
/* The body as documents are made of. */
void acl_given(const struct acl_body *b, struct access_given *out);
void acl_uuid(char out[ACCESS_ID_SIZE + 1]);
/* Answers what a written record shows: 500 when it was refused. */
void acl_answer(struct consul_write *w, struct slice kind);

/* A list, or one: render for consul_read_start. */
struct acl_read {
    struct consul_read *g;
    struct slice kind, id;
    int is_by_name; /* id is a name */
    struct view *v;
    struct jw w;
};
/* 0, or the error was answered: access control is off, or he may not. */
int acl_begin(struct consul_call *k, enum access_right right);
/* Whether the caller still may read that: 0 or DENIED. */
int acl_sees(const struct consul_read *g);
/* The members of a stored document with its indexes. */
void acl_show(struct jw *w, struct view *v, struct slice kind, const struct record_row *row,
              struct slice secret);
/* An item of a list. */
void acl_show_listed(struct jw *w, struct view *v, struct slice kind, const struct record_row *row);
/* Whether that list of a document has the id in it: "Policies" or "Roles". */
int acl_has_link(const struct record_row *row, const char *list, struct slice id);
