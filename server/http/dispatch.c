/* SPDX-License-Identifier: Apache-2.0 */
/* From a parsed head to a handler: path, route, expectations, body limit, query; then the call. */
#include "server/http/http_impl.h"

#include "base/mem.h"

static int has_byte(struct slice s, int c)
{
    return s.len != 0 && memchr(s.p, c, s.len) != NULL;
}

static int has_body(const struct http_req *r)
{
    return r->chunked != NULL || r->body_left > 0;
}

/* An answer before the body keeps the connection only when the body is sure to come and small
 * enough to read over. */
static int can_skip_body(const struct http_req *r)
{
    struct slice expect;
    return !has_body(r) || (r->body_left <= HTTP_DISCARD_MAX && !http_header(r, "expect", &expect));
}

static const struct {
    unsigned method;
    const char *name;
} method_names[] = {
    {HTTP_M_GET, "GET"},         {HTTP_M_HEAD, "HEAD"},   {HTTP_M_PUT, "PUT"},
    {HTTP_M_POST, "POST"},       {HTTP_M_PATCH, "PATCH"}, {HTTP_M_DELETE, "DELETE"},
    {HTTP_M_OPTIONS, "OPTIONS"},
};

static void answer_other_method(struct http_req *r, unsigned methods)
{
    char allow[64] = "";
    size_t n = 0;
    for (size_t i = 0; i < N_ELEMENTS(method_names); i++) {
        if (((methods | HTTP_M_OPTIONS) & method_names[i].method) != 0) {
            size_t len = strlen(method_names[i].name);
            memcpy(allow + n, ", ", n > 0 ? 2 : 0);
            n += n > 0 ? 2 : 0;
            memcpy(allow + n, method_names[i].name, len + 1);
            n += len;
        }
    }
    http_add_header(r, "Allow", allow);
    r->is_keepalive = r->is_keepalive && can_skip_body(r);
    if (r->method == HTTP_M_OPTIONS) {
        http_respond(r, 204, NULL, slice_of(NULL, 0));
    } else {
        http_respond_error(r, MU_E_METHOD_NOT_ALLOWED, "the methods of this path are %s", allow);
    }
}

static const struct http_mount *find_mount(const struct http_server *s, struct slice path)
{
    for (size_t i = 0; i < s->n_mounts; i++) {
        if (slice_has_prefix(path, slice_str(s->mounts[i]->row.pattern))) {
            return s->mounts[i];
        }
    }
    return NULL;
}

/* 0, or the refusal is in e (code) or answered already (1). */
static int find_route(struct http_req *r, struct err *e)
{
    r->mount = find_mount(r->conn->l->server, r->path);
    if (r->mount != NULL) {
        r->route = &r->mount->row;
        return 0;
    }
    struct path path;
    uint8_t *mem = has_byte(r->path, '%') ? http_alloc(r, r->path.len) : NULL;
    int code = path_split(r->path, mem, &path, e);
    if (code != 0) {
        return code;
    }
    struct route_match m;
    route_tree_find(r->conn->l->server->routes, &path, r->method, &m);
    if (m.methods == 0) {
        return err_set(e, MU_E_NOT_FOUND, "there is nothing at this path");
    }
    if (m.route == NULL) {
        answer_other_method(r, m.methods);
        return 1;
    }
    r->route = m.route;
    memcpy(r->params, m.params, sizeof(r->params));
    return 0;
}

static int is_continue(struct slice v)
{
    static const char want[] = "100-continue";
    if (v.len != sizeof(want) - 1) {
        return 0;
    }
    for (size_t i = 0; i < v.len; i++) {
        if ((v.p[i] >= 'A' && v.p[i] <= 'Z' ? v.p[i] | 0x20 : v.p[i]) != (uint8_t)want[i]) {
            return 0;
        }
    }
    return 1;
}

/* Body limit and expectation. Memory for the body is taken as it comes. */
static int check_body(struct http_req *r, struct err *e)
{
    struct slice expect;
    int has_expect = r->minor > 0 && http_header(r, "expect", &expect);
    if (has_expect && !is_continue(expect)) {
        return err_set(e, MU_E_EXPECTATION_FAILED,
                       "the only expectation understood is 100-continue");
    }
    uint32_t server_max = r->conn->l->limits->body_bytes;
    r->body_max = r->route->body_max < server_max ? r->route->body_max : server_max;
    if (r->body_left > r->body_max) {
        return err_set(e, MU_E_TOO_LARGE, "the body has %llu bytes, this path takes %llu",
                       (unsigned long long)r->body_left, (unsigned long long)r->body_max);
    }
    if (has_body(r) && r->body_left > 0) {
        (void)buf_reserve(&r->body,
                          r->body_left < HTTP_BODY_FIRST ? (size_t)r->body_left : HTTP_BODY_FIRST);
    }
    if (has_expect && has_body(r)) {
        conn_write(r->conn, &SLICE_LIT("HTTP/1.1 100 Continue\r\n\r\n"), 1);
    }
    return 0;
}

static int split_query(struct http_req *r, struct err *e)
{
    if (r->query.len == 0) {
        return 0;
    }
    struct http_local *l = r->conn->l;
    uint8_t *mem =
        has_byte(r->query, '%') || has_byte(r->query, '+') ? http_alloc(r, r->query.len) : NULL;
    size_t n = 0;
    int code = query_split(r->query, mem, l->pairs, QUERY_PAIRS_MAX, &n, e);
    if (code == 0 && n > 0) {
        r->pairs = http_alloc(r, n * sizeof(*r->pairs));
        memcpy(r->pairs, l->pairs, n * sizeof(*r->pairs));
        r->n_pairs = (uint16_t)n;
    }
    return code;
}

static int check_permission(struct http_req *r, struct err *e)
{
    if (r->mount != NULL && r->mount->permit != NULL) {
        return r->mount->permit(r, r->mount->arg, e);
    }
    const struct http_server_options *o = &r->conn->l->server->o;
    enum permission p = r->route->permission;
    if (o->permit == NULL || p == PERM_NONE_REQUIRED || p == PERM_BY_HANDLER) {
        return 0;
    }
    return o->permit(r, r->route, o->arg, e);
}

void dispatch_head(struct http_req *r)
{
    struct err e = {0};
    int code = find_route(r, &e);
    if (code == 0) {
        code = split_query(r, &e);
    }
    if (code == 0) {
        code = check_permission(r, &e);
    }
    if (code == 0) {
        code = check_body(r, &e);
    }
    if (code < 0) {
        r->is_keepalive = r->is_keepalive && can_skip_body(r);
        dispatch_refuse(r, code, e.text);
    }
}

void dispatch_refuse(struct http_req *r, int code, const char *text)
{
    if (r->mount != NULL) {
        r->mount->refuse(r, r->mount->arg, code, text);
    } else {
        http_respond_error(r, code, "%s", text);
    }
}

void dispatch_run(struct http_req *r)
{
    struct http_local *l = r->conn->l;
    r->is_dispatched = 1;
    l->n_owed++;
    r->route->handler(r, r->mount != NULL ? r->mount->arg : l->server->o.arg);
}
