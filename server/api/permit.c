/* SPDX-License-Identifier: Apache-2.0 */
/* What a route needs, in the words of access rules. */
#include <string.h>

#include "server/api/api_impl.h"

static const struct {
    enum access_kind kind;
    enum access_right right;
} needs[] = {
    [PERM_SERVICE_READ] = {ACCESS_SERVICE, ACCESS_READ},
    [PERM_SERVICE_WRITE] = {ACCESS_SERVICE, ACCESS_WRITE},
    [PERM_CONFIG_READ] = {ACCESS_CONFIG, ACCESS_READ},
    [PERM_CONFIG_WRITE] = {ACCESS_CONFIG, ACCESS_WRITE},
    [PERM_LEASE_WRITE] = {ACCESS_SESSION, ACCESS_WRITE},
    [PERM_CLUSTER_READ] = {ACCESS_OPERATOR, ACCESS_READ},
    [PERM_CLUSTER_WRITE] = {ACCESS_OPERATOR, ACCESS_WRITE},
    [PERM_EVERYTHING] = {ACCESS_ACL, ACCESS_WRITE},
};

struct slice api_config_rule_name(struct http_req *r, const struct config_name *n)
{
    return api_text(r, "%.*s/%.*s/%.*s", SLICE_FMT(n->ns), SLICE_FMT(n->group), SLICE_FMT(n->key));
}

static int refuse(struct http_req *r, const struct identity *who, const struct api_ask *ask,
                  struct err *e)
{
    size_t n = ask->name.len < 100 ? ask->name.len : 100;
    if (access_is_anonymous(who)) {
        http_add_header(r, "WWW-Authenticate", "Bearer");
    }
    int rc = access_is_anonymous(who) ? MU_E_UNAUTHORIZED : MU_E_DENIED;
    const char *whose =
        access_is_anonymous(who) ? "the anonymous token (none was sent)" : "the token";
    const char *kind = access_kind_name(ask->kind), *right = access_right_name(ask->right);
    if (!access_kind_has_names(ask->kind)) {
        return err_set(e, rc, "%s lacks %s:%s", whose, kind, right);
    }
    return err_set(e, rc, "%s lacks %s:%s on %s\"%.*s\"", whose, kind, right,
                   ask->is_prefix ? "all names that begin with " : "", (int)n,
                   (const char *)ask->name.p);
}

int api_allowed(struct http_req *r, struct api *a, struct view *v, const struct api_ask *asks,
                size_t n, struct err *e)
{
    const struct identity *who;
    unsigned worker = worker_number(http_worker(r));
    if (!access_is_enabled(a->access)) {
        return 0;
    }
    int rc = access_identify(a->access, worker, v, http_token(r), &who);
    if (rc != 0) {
        return err_set(e, rc, "%s",
                       rc == MU_E_UNAUTHORIZED ? "there is no such token" : err_title(rc));
    }
    for (size_t i = 0; i < n; i++) {
        const struct api_ask *ask = &asks[i];
        int may = ask->is_prefix ? access_allows_all(who, ask->kind, ask->name, ask->right)
                                 : access_allows(who, ask->kind, ask->name, ask->right);
        if (!may) {
            return refuse(r, who, ask, e);
        }
    }
    return 0;
}

int api_may(struct http_req *r, struct api *a, const struct api_ask *asks, size_t n)
{
    struct err e = {0};
    int rc = api_allowed(r, a, NULL, asks, n, &e);
    if (rc != 0) {
        http_respond_error(r, rc, "%s", e.text);
    }
    return rc;
}

static int has_param(const struct http_route *route, const char *name)
{
    return strstr(route->pattern, name) != NULL;
}

int api_permit_in(struct api *a, struct http_req *r, struct view *v, const struct http_route *route,
                  struct err *e)
{
    int is_open = route->permission == PERM_NONE_REQUIRED || route->permission == PERM_BY_HANDLER;
    if (is_open || !access_is_enabled(a->access)) {
        return 0;
    }
    MU_INVARIANT(route->permission < N_ELEMENTS(needs) && needs[route->permission].right != 0);
    struct api_ask ask = {.kind = needs[route->permission].kind,
                          .right = needs[route->permission].right};
    if (ask.kind == ACCESS_SERVICE && has_param(route, "{service}")) {
        ask.name = http_param(r, "service");
    } else if (ask.kind == ACCESS_CONFIG && has_param(route, "{key}")) {
        struct config_name n = {api_query_or(r, "namespace", "public"), http_param(r, "group"),
                                http_param(r, "key")};
        ask.name = api_config_rule_name(r, &n);
    } else {
        ask.is_prefix = 1; /* it speaks of all there are */
    }
    return api_allowed(r, a, v, &ask, 1, e);
}

int api_permit(struct api *a, struct http_req *r, const struct http_route *route, struct err *e)
{
    return api_permit_in(a, r, NULL, route, e);
}
