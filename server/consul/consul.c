/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoint table, and answers in Consul's manner: JSON or bare text. */
#include "server/consul/consul.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/consul/consul_impl.h"

#define PREFIX "/v1/"

enum { TEXT_MAX = 1024 };

/* A name that ends with a slash takes all paths below it; the longest name wins. */
static const struct endpoint {
    const char *name;
    enum http_method method;
    consul_fn fn;
} endpoints[] = {
    {"agent/check/deregister/", HTTP_M_PUT, consul_agent_check_deregister},
    {"agent/check/fail/", HTTP_M_PUT, consul_agent_check_fail},
    {"agent/check/pass/", HTTP_M_PUT, consul_agent_check_pass},
    {"agent/check/register", HTTP_M_PUT, consul_agent_check_register},
    {"agent/check/update/", HTTP_M_PUT, consul_agent_check_update},
    {"agent/check/warn/", HTTP_M_PUT, consul_agent_check_warn},
    {"agent/checks", HTTP_M_GET, consul_agent_checks},
    {"agent/health/service/id/", HTTP_M_GET, consul_agent_health_id},
    {"agent/health/service/name/", HTTP_M_GET, consul_agent_health_name},
    {"agent/maintenance", HTTP_M_PUT, consul_agent_maintenance},
    {"agent/members", HTTP_M_GET, consul_agent_members},
    {"agent/self", HTTP_M_GET, consul_agent_self},
    {"agent/service/", HTTP_M_GET, consul_agent_service},
    {"agent/service/deregister/", HTTP_M_PUT, consul_agent_deregister},
    {"agent/service/maintenance/", HTTP_M_PUT, consul_agent_service_maintenance},
    {"agent/service/register", HTTP_M_PUT, consul_agent_register},
    {"agent/services", HTTP_M_GET, consul_agent_services},
    {"agent/version", HTTP_M_GET, consul_agent_version},
    {"catalog/datacenters", HTTP_M_GET, consul_catalog_datacenters},
    {"catalog/deregister", HTTP_M_PUT, consul_catalog_deregister},
    {"catalog/node-services/", HTTP_M_GET, consul_catalog_node_services},
    {"catalog/node/", HTTP_M_GET, consul_catalog_node},
    {"catalog/nodes", HTTP_M_GET, consul_catalog_nodes},
    {"catalog/register", HTTP_M_PUT, consul_catalog_register},
    {"catalog/service/", HTTP_M_GET, consul_catalog_service},
    {"catalog/services", HTTP_M_GET, consul_catalog_services},
    {"coordinate/nodes", HTTP_M_GET, consul_coordinate_nodes},
    {"health/checks/", HTTP_M_GET, consul_health_checks},
    {"health/node/", HTTP_M_GET, consul_health_node},
    {"health/service/", HTTP_M_GET, consul_health_service},
    {"health/state/", HTTP_M_GET, consul_health_state},
    {"kv/", HTTP_M_GET, consul_kv_get},
    {"kv/", HTTP_M_PUT, consul_kv_put},
    {"kv/", HTTP_M_DELETE, consul_kv_delete},
    {"operator/raft/configuration", HTTP_M_GET, consul_operator_raft},
    {"session/create", HTTP_M_PUT, consul_session_create},
    {"session/destroy/", HTTP_M_PUT, consul_session_destroy},
    {"session/info/", HTTP_M_GET, consul_session_info},
    {"session/list", HTTP_M_GET, consul_session_list},
    {"session/node/", HTTP_M_GET, consul_session_node},
    {"session/renew/", HTTP_M_PUT, consul_session_renew},
    {"status/leader", HTTP_M_GET, consul_status_leader},
    {"status/peers", HTTP_M_GET, consul_status_peers},
    {"txn", HTTP_M_PUT, consul_txn},
};

static const struct {
    enum http_method method;
    const char *name;
} methods[] = {
    {HTTP_M_GET, "GET"},     {HTTP_M_PUT, "PUT"},       {HTTP_M_POST, "POST"},
    {HTTP_M_PATCH, "PATCH"}, {HTTP_M_DELETE, "DELETE"}, {HTTP_M_HEAD, "HEAD"},
};

static const char *method_name(enum http_method m)
{
    for (size_t i = 0; i < N_ELEMENTS(methods); i++) {
        if (methods[i].method == m) {
            return methods[i].name;
        }
    }
    return "OPTIONS";
}

/* --- answers --- */

void consul_text(struct http_req *r, int status, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    http_respond(r, status, len > 0 ? "text/plain; charset=utf-8" : NULL, slice_of(text, len));
}

void consul_json(struct http_req *r, int status, struct slice body)
{
    struct buf b;
    if (!consul_flag(r, "pretty")) {
        http_respond(r, status, "application/json", body);
        return;
    }
    buf_init(&b);
    consul_text_indent(&b, body);
    http_respond(r, status, "application/json", buf_slice(&b));
    buf_fini(&b);
}

void consul_bool(struct http_req *r, int v)
{
    consul_json(r, 200, v ? SLICE_LIT("true") : SLICE_LIT("false"));
}

void consul_fail(struct http_req *r, int code, const char *text)
{
    switch (code) {
    case MU_E_NO_LEADER:
        consul_text(r, 500, "No cluster leader");
        break;
    case MU_E_UNKNOWN_OUTCOME:
        consul_text(r, 500, "leadership lost while committing log");
        break;
    case MU_E_DENIED:
        consul_text(r, 403, "Permission denied");
        break;
    default:
        consul_text(r, 500, "%s", text != NULL && text[0] != '\0' ? text : err_title(code));
    }
}

/* --- finding the endpoint --- */

static int covers(const struct endpoint *e, struct slice path)
{
    size_t n = strlen(e->name);
    int is_below = e->name[n - 1] == '/';
    return is_below ? slice_has_prefix(path, slice_str(e->name))
                    : slice_eq(path, slice_str(e->name));
}

/* The longest name that covers the path; 0 when there is none. */
static const char *find_name(struct slice path)
{
    const char *best = NULL;
    for (size_t i = 0; i < N_ELEMENTS(endpoints); i++) {
        const char *name = endpoints[i].name;
        if (covers(&endpoints[i], path) && (best == NULL || strlen(name) > strlen(best))) {
            best = name;
        }
    }
    return best;
}

static void answer_other_method(struct http_req *r, const char *name)
{
    char allow[64] = "OPTIONS";
    size_t n = strlen(allow);
    for (size_t i = 0; i < N_ELEMENTS(endpoints); i++) {
        if (strcmp(endpoints[i].name, name) == 0) {
            n += (size_t)snprintf(allow + n, sizeof(allow) - n, ",%s",
                                  method_name(endpoints[i].method));
        }
    }
    http_add_header(r, "Allow", allow);
    if (http_method(r) == HTTP_M_OPTIONS) {
        http_respond(r, 200, NULL, slice_of(NULL, 0));
    } else {
        consul_text(r, 405, "method %s not allowed", method_name(http_method(r)));
    }
}

/* As Go's router: a path with empty or dotted segments is told where it should have gone. */
static int redirects(struct http_req *r, struct slice path)
{
    struct buf to;
    buf_init(&to);
    int is_clean = consul_text_clean(path, &to);
    if (!is_clean) {
        struct slice query = http_query_raw(r);
        buf_append(&to, "?", query.len != 0 ? 1 : 0);
        buf_append_slice(&to, query);
        buf_append_byte(&to, 0);
        http_add_header(r, "Location", (const char *)to.p);
        http_respond(r, 301, NULL, slice_of(NULL, 0));
    }
    buf_fini(&to);
    return !is_clean;
}

static void handle(struct http_req *r, void *arg)
{
    struct consul *c = arg;
    struct slice path = http_path(r);
    if (redirects(r, path)) {
        return;
    }
    path = slice_of(path.p + strlen(PREFIX), path.len - strlen(PREFIX));
    const char *name = find_name(path);
    if (name == NULL) {
        consul_text(r, 404, "Invalid URL path: not a recognized HTTP API endpoint\n");
        return;
    }
    struct consul_call k = {.r = r, .c = c};
    size_t n = strlen(name);
    uint8_t *mem = http_alloc(r, path.len + 1);
    if (consul_text_decode(slice_of(path.p + n, path.len - n), mem, &k.rest) != 0) {
        consul_text(r, 400, "Bad Request");
        return;
    }
    for (size_t i = 0; i < N_ELEMENTS(endpoints); i++) {
        if (strcmp(endpoints[i].name, name) == 0 && endpoints[i].method == http_method(r)) {
            endpoints[i].fn(&k);
            return;
        }
    }
    answer_other_method(r, name);
}

static void refuse(struct http_req *r, void *arg, int code, const char *text)
{
    struct slice length = SLICE_LIT("?");
    (void)arg;
    if (code == MU_E_TOO_LARGE) {
        (void)http_header(r, "content-length", &length);
        consul_text(
            r, 413, "Request body(%.*s bytes) too large, max size: %d bytes. See %s.",
            SLICE_FMT(length), CONSUL_BODY_MAX,
            "https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size");
    } else {
        consul_text(r, err_http_status(code), "%s", text);
    }
}

/* --- life --- */

struct consul *consul_new(const struct consul_options *o)
{
    struct consul *c = mem_zalloc(sizeof(*c));
    c->core = o->core;
    (void)snprintf(c->datacenter, sizeof(c->datacenter), "%s",
                   o->datacenter != NULL ? o->datacenter : "dc1");
    c->mount = (struct http_mount){
        .row = {.pattern = PREFIX,
                .handler = handle,
                .permission = PERM_NONE_REQUIRED,
                .body_max = CONSUL_BODY_MAX},
        .arg = c,
        .refuse = refuse,
    };
    return c;
}

void consul_free(struct consul *c)
{
    mem_free(c);
}

int consul_mount(struct consul *c, struct http_server *s, struct err *e)
{
    return http_server_mount(s, &c->mount, e);
}
