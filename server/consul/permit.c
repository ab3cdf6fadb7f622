/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks, and the answer when he may not. */
#include <stdio.h>

#include "server/consul/consul_impl.h"
#include "storage/view_catalog.h"
#include "storage/view_kv.h"

struct slice consul_token(struct http_req *r)
{
    struct slice s;
    return http_query(r, "token", &s) && s.len > 0 ? s : http_token(r);
}

int consul_who(struct consul_call *k)
{
    return access_identify(k->c->access, worker_number(http_worker(k->r)), NULL, consul_token(k->r),
                           &k->who);
}

int consul_identify(struct consul_call *k)
{
    int rc = consul_who(k);
    if (rc != 0) {
        consul_fail(k->r, rc, NULL);
    }
    return rc;
}

static void deny(struct consul_call *k, enum access_kind kind, struct slice name,
                 enum access_right right)
{
    const char *what = access_kind_name(kind), *how = access_right_name(right);
    char on[300] = "";
    if (name.len > 0) {
        (void)snprintf(on, sizeof(on), " on \"%.*s\"", (int)(name.len < 256 ? name.len : 256),
                       (const char *)name.p);
    }
    if (access_is_anonymous(k->who)) {
        consul_text(k->r, 403,
                    "Permission denied: anonymous token lacks permission '%s:%s'%s. The anonymous "
                    "token is used implicitly when a request does not specify a token.",
                    what, how, on);
    } else {
        consul_text(k->r, 403,
                    "Permission denied: token with AccessorID '%s' lacks permission '%s:%s'%s",
                    access_id(k->who), what, how, on);
    }
}

int consul_may(struct consul_call *k, enum access_kind kind, struct slice name,
               enum access_right right)
{
    int may = access_allows(k->who, kind, name, right);
    if (!may) {
        deny(k, kind, name, right);
    }
    return may;
}

int consul_may_all(struct consul_call *k, enum access_kind kind, struct slice prefix,
                   enum access_right right)
{
    int may = access_allows_all(k->who, kind, prefix, right);
    if (!may) {
        deny(k, kind, prefix, right);
    }
    return may;
}

/* --- services and checks by their ids --- */

static struct slice name_of_place(struct view *v, struct slice node, struct slice service_id)
{
    struct place_row p;
    return view_place(v, node, service_id, &p) == 0 ? p.service : slice_of(NULL, 0);
}

int consul_sees_check(struct consul_read *g, const struct check_name *n,
                      const struct check_row *row)
{
    return consul_sees(g, ACCESS_NODE, n->node) &&
           (n->service_id.len == 0 || consul_sees(g, ACCESS_SERVICE, row->service_name));
}

/* What of the cluster's agent has that id: a service, or a check's service or node. 0, NOT_FOUND.
 */
static int find_owner(struct view *v, const char *what, struct slice id, enum access_kind *kind,
                      struct slice *out)
{
    struct slice node, service_id = id;
    int rc = what[0] == 's' ? view_agent_service(v, id, &node)
                            : view_agent_check(v, id, &node, &service_id);
    if (rc != 0) {
        return rc;
    }
    *kind = service_id.len != 0 ? ACCESS_SERVICE : ACCESS_NODE;
    *out = service_id.len != 0 ? name_of_place(v, node, service_id) : node;
    return 0;
}

/* An id that is not known here may be known to others already: only who may write all is let
 * through to them. */
int consul_may_id(struct consul_call *k, const char *what, struct slice id)
{
    enum access_kind kind = ACCESS_SERVICE;
    struct slice name = {0};
    if (k->who == NULL) {
        return 1;
    }
    struct view *v = view_open(core_store(k->c->core));
    int rc = find_owner(v, what, id, &kind, &name);
    name = consul_keep(k->r, name);
    view_close(v);
    if (rc == 0) {
        return consul_may(k, kind, name, ACCESS_WRITE);
    }
    int may = access_allows_all(k->who, ACCESS_SERVICE, slice_of(NULL, 0), ACCESS_WRITE) &&
              access_allows_all(k->who, ACCESS_NODE, slice_of(NULL, 0), ACCESS_WRITE);
    if (!may) {
        consul_text(k->r, 404,
                    "Unknown %s ID \"%.*s\". Ensure that the %s ID is passed, not the %s name.",
                    what, SLICE_FMT(id), what, what);
    }
    return may;
}

int consul_may_register(struct consul_call *k, struct slice name, struct slice id)
{
    enum access_kind kind;
    struct slice old = {0};
    if (k->who == NULL) {
        return 1;
    }
    struct view *v = view_open(core_store(k->c->core));
    if (find_owner(v, "service", id, &kind, &old) != 0) { /* then it would stand on this node */
        old = name_of_place(v, slice_str(core_node_name(k->c->core)), id);
    }
    old = consul_keep(k->r, old);
    view_close(v);
    return consul_may(k, ACCESS_SERVICE, name, ACCESS_WRITE) &&
           (old.len == 0 || consul_may(k, ACCESS_SERVICE, old, ACCESS_WRITE));
}

struct slice consul_service_at(struct consul_call *k, struct slice node, struct slice service_id)
{
    struct view *v = view_open(core_store(k->c->core));
    struct slice name = consul_keep(k->r, name_of_place(v, node, service_id));
    view_close(v);
    return name;
}

int consul_may_place(struct consul_call *k, struct slice node, struct slice service_id,
                     int may_be_new)
{
    if (service_id.len == 0) {
        return consul_may(k, ACCESS_NODE, node, ACCESS_WRITE);
    }
    struct slice name = consul_service_at(k, node, service_id);
    return (name.len == 0 && may_be_new) || consul_may(k, ACCESS_SERVICE, name, ACCESS_WRITE);
}

int consul_may_end(struct consul_call *k, struct slice node, struct slice service_id)
{
    return access_allows(k->who, ACCESS_NODE, node, ACCESS_WRITE) ||
           consul_may_place(k, node, service_id, 0);
}

/* Whose the check is that stands there: out is its service id, empty for the node's. 0, NOT_FOUND.
 */
static int owner_of_check(struct consul_call *k, struct slice node, struct slice id,
                          struct slice *out)
{
    struct check_row row;
    struct slice service = {0};
    struct view *v = view_open(core_store(k->c->core));
    int rc = view_check(v, node, id, &service, &row);
    *out = consul_keep(k->r, service);
    view_close(v);
    return rc;
}

int consul_may_check_at(struct consul_call *k, struct slice node, struct slice id)
{
    struct slice service;
    if (k->who == NULL || owner_of_check(k, node, id, &service) != 0) {
        return 1;
    }
    return consul_may_place(k, node, service, 0);
}

int consul_may_end_check(struct consul_call *k, struct slice node, struct slice id)
{
    struct slice service = {0};
    if (k->who == NULL) {
        return 1;
    }
    (void)owner_of_check(k, node, id, &service);
    return consul_may_end(k, node, service);
}

int consul_may_check(struct consul_call *k, struct slice service_id, struct slice id)
{
    enum access_kind kind;
    struct slice name = {0}, node = slice_str(core_node_name(k->c->core)), at;
    if (k->who == NULL) {
        return 1;
    }
    struct view *v = view_open(core_store(k->c->core));
    int is_known = find_owner(v, "check", id, &kind, &name) == 0;
    if (service_id.len != 0 && view_agent_service(v, service_id, &at) == 0) {
        node = at;
    }
    name = consul_keep(k->r, name);
    node = consul_keep(k->r, node);
    view_close(v);
    return (!is_known || consul_may(k, kind, name, ACCESS_WRITE)) &&
           consul_may_check_at(k, node, id);
}

/* A service that is not there may come: then only who may read all may ask. */
int consul_may_alias(struct consul_call *k, struct slice node, struct slice service_id)
{
    struct slice at = node.len != 0 ? node : slice_str(core_node_name(k->c->core)), agents;
    if (k->who == NULL) {
        return 1;
    }
    struct view *v = view_open(core_store(k->c->core));
    if (node.len == 0 && service_id.len != 0 && view_agent_service(v, service_id, &agents) == 0) {
        at = agents;
    }
    struct slice name = consul_keep(k->r, name_of_place(v, at, service_id));
    at = consul_keep(k->r, at);
    view_close(v);
    if (!consul_may(k, ACCESS_NODE, at, ACCESS_READ)) {
        return 0;
    }
    return service_id.len == 0 ? 1
           : name.len != 0     ? consul_may(k, ACCESS_SERVICE, name, ACCESS_READ)
                               : consul_may_all(k, ACCESS_SERVICE, name, ACCESS_READ);
}

int consul_may_session(struct consul_call *k, struct slice id)
{
    struct session_row row;
    if (k->who == NULL) {
        return 1;
    }
    struct view *v = view_open(core_store(k->c->core));
    int rc = view_session(v, id, &row);
    struct slice node = consul_keep(k->r, rc == 0 ? row.node : slice_of(NULL, 0));
    view_close(v);
    return rc == 0 ? consul_may(k, ACCESS_SESSION, node, ACCESS_WRITE)
                   : consul_may_all(k, ACCESS_SESSION, slice_of(NULL, 0), ACCESS_WRITE);
}
