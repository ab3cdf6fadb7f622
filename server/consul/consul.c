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

#define NAME(text) text, sizeof(text) - 1

/* A name that ends with a slash takes all paths below it; the longest name wins. */
static const struct endpoint {
    const char *name;
    size_t len;
    enum http_method method;
    consul_fn fn;
} endpoints[] = {
    {NAME("acl/auth-method"), HTTP_M_PUT, consul_acl_login},
    {NAME("acl/auth-method/"), HTTP_M_GET, consul_acl_login},
    {NAME("acl/auth-method/"), HTTP_M_PUT, consul_acl_login},
    {NAME("acl/auth-method/"), HTTP_M_DELETE, consul_acl_login},
    {NAME("acl/auth-methods"), HTTP_M_GET, consul_acl_nothing},
    {NAME("acl/binding-rule"), HTTP_M_PUT, consul_acl_login},
    {NAME("acl/binding-rule/"), HTTP_M_GET, consul_acl_login},
    {NAME("acl/binding-rule/"), HTTP_M_PUT, consul_acl_login},
    {NAME("acl/binding-rule/"), HTTP_M_DELETE, consul_acl_login},
    {NAME("acl/binding-rules"), HTTP_M_GET, consul_acl_nothing},
    {NAME("acl/bootstrap"), HTTP_M_PUT, consul_acl_bootstrap},
    {NAME("acl/login"), HTTP_M_POST, consul_acl_login},
    {NAME("acl/logout"), HTTP_M_POST, consul_acl_login},
    {NAME("acl/policies"), HTTP_M_GET, consul_acl_policies},
    {NAME("acl/policy"), HTTP_M_PUT, consul_acl_policy_create},
    {NAME("acl/policy/"), HTTP_M_GET, consul_acl_policy_get},
    {NAME("acl/policy/"), HTTP_M_PUT, consul_acl_policy_put},
    {NAME("acl/policy/"), HTTP_M_DELETE, consul_acl_policy_delete},
    {NAME("acl/policy/name/"), HTTP_M_GET, consul_acl_policy_by_name},
    {NAME("acl/replication"), HTTP_M_GET, consul_acl_replication},
    {NAME("acl/role"), HTTP_M_PUT, consul_acl_role_create},
    {NAME("acl/role/"), HTTP_M_GET, consul_acl_role_get},
    {NAME("acl/role/"), HTTP_M_PUT, consul_acl_role_put},
    {NAME("acl/role/"), HTTP_M_DELETE, consul_acl_role_delete},
    {NAME("acl/role/name/"), HTTP_M_GET, consul_acl_role_by_name},
    {NAME("acl/roles"), HTTP_M_GET, consul_acl_roles},
    {NAME("acl/token"), HTTP_M_PUT, consul_acl_token_create},
    {NAME("acl/token/"), HTTP_M_GET, consul_acl_token_get},
    {NAME("acl/token/"), HTTP_M_PUT, consul_acl_token_put},
    {NAME("acl/token/"), HTTP_M_DELETE, consul_acl_token_delete},
    {NAME("acl/token/self"), HTTP_M_GET, consul_acl_token_self},
    {NAME("acl/tokens"), HTTP_M_GET, consul_acl_tokens},
    {NAME("agent/check/deregister/"), HTTP_M_PUT, consul_agent_check_deregister},
    {NAME("agent/check/fail/"), HTTP_M_PUT, consul_agent_check_fail},
    {NAME("agent/check/pass/"), HTTP_M_PUT, consul_agent_check_pass},
    {NAME("agent/check/register"), HTTP_M_PUT, consul_agent_check_register},
    {NAME("agent/check/update/"), HTTP_M_PUT, consul_agent_check_update},
    {NAME("agent/check/warn/"), HTTP_M_PUT, consul_agent_check_warn},
    {NAME("agent/checks"), HTTP_M_GET, consul_agent_checks},
    {NAME("agent/connect/"), HTTP_M_GET, consul_no_mesh},
    {NAME("agent/connect/"), HTTP_M_POST, consul_no_mesh},
    {NAME("agent/force-leave/"), HTTP_M_PUT, consul_agent_force_leave},
    {NAME("agent/health/service/id/"), HTTP_M_GET, consul_agent_health_id},
    {NAME("agent/health/service/name/"), HTTP_M_GET, consul_agent_health_name},
    {NAME("agent/host"), HTTP_M_GET, consul_agent_host},
    {NAME("agent/join/"), HTTP_M_PUT, consul_agent_join},
    {NAME("agent/leave"), HTTP_M_PUT, consul_agent_leave},
    {NAME("agent/maintenance"), HTTP_M_PUT, consul_agent_maintenance},
    {NAME("agent/members"), HTTP_M_GET, consul_agent_members},
    {NAME("agent/metrics"), HTTP_M_GET, consul_agent_metrics},
    {NAME("agent/monitor"), HTTP_M_GET, consul_agent_monitor},
    {NAME("agent/reload"), HTTP_M_PUT, consul_agent_reload},
    {NAME("agent/self"), HTTP_M_GET, consul_agent_self},
    {NAME("agent/service/"), HTTP_M_GET, consul_agent_service},
    {NAME("agent/service/deregister/"), HTTP_M_PUT, consul_agent_deregister},
    {NAME("agent/service/maintenance/"), HTTP_M_PUT, consul_agent_service_maintenance},
    {NAME("agent/service/register"), HTTP_M_PUT, consul_agent_register},
    {NAME("agent/services"), HTTP_M_GET, consul_agent_services},
    {NAME("agent/token/"), HTTP_M_PUT, consul_agent_token},
    {NAME("agent/version"), HTTP_M_GET, consul_agent_version},
    {NAME("catalog/connect/"), HTTP_M_GET, consul_empty},
    {NAME("catalog/datacenters"), HTTP_M_GET, consul_catalog_datacenters},
    {NAME("catalog/deregister"), HTTP_M_PUT, consul_catalog_deregister},
    {NAME("catalog/gateway-services/"), HTTP_M_GET, consul_empty},
    {NAME("catalog/node-services/"), HTTP_M_GET, consul_catalog_node_services},
    {NAME("catalog/node/"), HTTP_M_GET, consul_catalog_node},
    {NAME("catalog/nodes"), HTTP_M_GET, consul_catalog_nodes},
    {NAME("catalog/register"), HTTP_M_PUT, consul_catalog_register},
    {NAME("catalog/service/"), HTTP_M_GET, consul_catalog_service},
    {NAME("catalog/services"), HTTP_M_GET, consul_catalog_services},
    {NAME("config"), HTTP_M_PUT, consul_config_put},
    {NAME("config/"), HTTP_M_GET, consul_config_get},
    {NAME("config/"), HTTP_M_DELETE, consul_config_delete},
    {NAME("connect/"), HTTP_M_GET, consul_no_mesh},
    {NAME("connect/"), HTTP_M_PUT, consul_no_mesh},
    {NAME("connect/"), HTTP_M_POST, consul_no_mesh},
    {NAME("connect/"), HTTP_M_DELETE, consul_no_mesh},
    {NAME("coordinate/datacenters"), HTTP_M_GET, consul_coordinate_datacenters},
    {NAME("coordinate/node/"), HTTP_M_GET, consul_coordinate_node},
    {NAME("coordinate/nodes"), HTTP_M_GET, consul_coordinate_nodes},
    {NAME("coordinate/update"), HTTP_M_PUT, consul_coordinate_update},
    {NAME("discovery-chain/"), HTTP_M_GET, consul_no_mesh},
    {NAME("discovery-chain/"), HTTP_M_POST, consul_no_mesh},
    {NAME("event/fire/"), HTTP_M_PUT, consul_event_fire},
    {NAME("event/list"), HTTP_M_GET, consul_event_list},
    {NAME("health/checks/"), HTTP_M_GET, consul_health_checks},
    {NAME("health/connect/"), HTTP_M_GET, consul_empty},
    {NAME("health/ingress/"), HTTP_M_GET, consul_empty},
    {NAME("health/node/"), HTTP_M_GET, consul_health_node},
    {NAME("health/service/"), HTTP_M_GET, consul_health_service},
    {NAME("health/state/"), HTTP_M_GET, consul_health_state},
    {NAME("internal/acl/authorize"), HTTP_M_POST, consul_acl_authorize},
    {NAME("internal/ui/node/"), HTTP_M_GET, consul_ui_node},
    {NAME("internal/ui/nodes"), HTTP_M_GET, consul_ui_nodes},
    {NAME("internal/ui/services"), HTTP_M_GET, consul_ui_services},
    {NAME("kv/"), HTTP_M_GET, consul_kv_get},
    {NAME("kv/"), HTTP_M_PUT, consul_kv_put},
    {NAME("kv/"), HTTP_M_DELETE, consul_kv_delete},
    {NAME("operator/autopilot/configuration"), HTTP_M_GET, consul_operator_autopilot},
    {NAME("operator/autopilot/configuration"), HTTP_M_PUT, consul_operator_autopilot_put},
    {NAME("operator/autopilot/health"), HTTP_M_GET, consul_operator_health},
    {NAME("operator/autopilot/state"), HTTP_M_GET, consul_operator_state},
    {NAME("operator/keyring"), HTTP_M_GET, consul_operator_keyring},
    {NAME("operator/keyring"), HTTP_M_POST, consul_operator_keyring},
    {NAME("operator/keyring"), HTTP_M_PUT, consul_operator_keyring},
    {NAME("operator/keyring"), HTTP_M_DELETE, consul_operator_keyring},
    {NAME("operator/raft/configuration"), HTTP_M_GET, consul_operator_raft},
    {NAME("operator/raft/peer"), HTTP_M_DELETE, consul_operator_peer_delete},
    {NAME("operator/raft/transfer-leader"), HTTP_M_POST, consul_operator_transfer},
    {NAME("query"), HTTP_M_GET, consul_query_list},
    {NAME("query"), HTTP_M_POST, consul_query_create},
    {NAME("query/"), HTTP_M_GET, consul_query_get},
    {NAME("query/"), HTTP_M_PUT, consul_query_put},
    {NAME("query/"), HTTP_M_DELETE, consul_query_delete},
    {NAME("session/create"), HTTP_M_PUT, consul_session_create},
    {NAME("session/destroy/"), HTTP_M_PUT, consul_session_destroy},
    {NAME("session/info/"), HTTP_M_GET, consul_session_info},
    {NAME("session/list"), HTTP_M_GET, consul_session_list},
    {NAME("session/node/"), HTTP_M_GET, consul_session_node},
    {NAME("session/renew/"), HTTP_M_PUT, consul_session_renew},
    {NAME("snapshot"), HTTP_M_GET, consul_snapshot_get},
    {NAME("snapshot"), HTTP_M_PUT, consul_snapshot_put},
    {NAME("status/leader"), HTTP_M_GET, consul_status_leader},
    {NAME("status/peers"), HTTP_M_GET, consul_status_peers},
    {NAME("txn"), HTTP_M_PUT, consul_txn},
};

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
    case MU_E_UNAUTHORIZED:
        consul_text(r, 403, "ACL not found");
        break;
    default:
        consul_text(r, 500, "%s", text != NULL && text[0] != '\0' ? text : err_title(code));
    }
}

/* --- finding the endpoint --- */

static int is_name(const struct endpoint *e, const struct endpoint *other)
{
    return e->len == other->len && memcmp(e->name, other->name, e->len) == 0;
}

static int covers(const struct endpoint *e, struct slice path)
{
    int is_long_enough = e->name[e->len - 1] == '/' ? path.len >= e->len : path.len == e->len;
    return is_long_enough && e->name[0] == path.p[0] && memcmp(e->name, path.p, e->len) == 0;
}

/* The one with the longest name that covers the path, whatever its method; NULL when there is none.
 */
static const struct endpoint *find_endpoint(struct slice path)
{
    const struct endpoint *best = NULL;
    for (size_t i = 0; i < N_ELEMENTS(endpoints); i++) {
        if (covers(&endpoints[i], path) && (best == NULL || endpoints[i].len > best->len)) {
            best = &endpoints[i];
        }
    }
    return best;
}

static void answer_other_method(struct http_req *r, const struct endpoint *e)
{
    char allow[64] = "OPTIONS";
    size_t n = strlen(allow);
    for (size_t i = 0; i < N_ELEMENTS(endpoints); i++) {
        if (is_name(&endpoints[i], e)) {
            n += (size_t)snprintf(allow + n, sizeof(allow) - n, ",%s",
                                  http_method_name(endpoints[i].method));
        }
    }
    http_add_header(r, "Allow", allow);
    if (http_method(r) == HTTP_M_OPTIONS) {
        http_respond(r, 200, NULL, slice_of(NULL, 0));
    } else {
        consul_text(r, 405, "method %s not allowed", http_method_name(http_method(r)));
    }
}

/* Something stands below it. */
static int has_below(struct slice path)
{
    for (size_t i = 0; i < N_ELEMENTS(endpoints); i++) {
        const struct endpoint *e = &endpoints[i];
        if (path.len > 0 && e->len == path.len + 1 && e->name[path.len] == '/' &&
            memcmp(e->name, path.p, path.len) == 0) {
            return 1;
        }
    }
    return 0;
}

static void redirect(struct http_req *r, const struct buf *to)
{
    struct slice query = http_query_raw(r);
    struct buf b;
    buf_init(&b);
    buf_append_slice(&b, buf_slice(to));
    buf_append(&b, "?", query.len != 0 ? 1 : 0);
    buf_append_slice(&b, query);
    buf_append_byte(&b, 0);
    http_add_header(r, "Location", (const char *)b.p);
    http_respond(r, 301, NULL, slice_of(NULL, 0));
    buf_fini(&b);
}

/* As Go's router: a path with empty or dotted segments is told where it should have gone. */
static int redirects(struct http_req *r, struct slice path)
{
    struct buf to;
    buf_init(&to);
    int is_clean = consul_text_clean(path, &to);
    if (!is_clean) {
        redirect(r, &to);
    }
    buf_fini(&to);
    return !is_clean;
}

/* Nothing is there; what stands below may be meant. */
static void answer_nothing(struct http_req *r, struct slice path)
{
    struct buf to;
    if (!has_below(path)) {
        consul_text(r, 404, "Invalid URL path: not a recognized HTTP API endpoint\n");
        return;
    }
    buf_init(&to);
    buf_append_slice(&to, http_path(r));
    buf_append_byte(&to, '/');
    redirect(r, &to);
    buf_fini(&to);
}

/* Who asks for what stands elsewhere is not told what stands here. Paths that are about the server
 * itself do not look at it, as Consul's. */
static int is_elsewhere(struct http_req *r, struct slice path)
{
    static const struct {
        const char *query, *header, *what;
    } places[] = {{"ns", "x-consul-namespace", "Namespaces are a Consul Enterprise feature"},
                  {"partition", "x-consul-partition", "Partitions are a Consul Enterprise feature"},
                  {"sg", NULL, "Sameness groups are a Consul Enterprise feature"},
                  {"peer", NULL, "there are no other clusters here"}};
    static const char *const own[] = {"agent/self", "agent/members", "status/", "operator/",
                                      "event/"};
    struct slice s;
    for (size_t i = 0; i < N_ELEMENTS(own); i++) {
        if (slice_has_prefix(path, slice_str(own[i]))) {
            return 0;
        }
    }
    for (size_t i = 0; i < N_ELEMENTS(places); i++) {
        if (http_query(r, places[i].query, &s) && s.len != 0) {
            consul_text(r, 400, "Invalid query parameter: \"%s\" - %s", places[i].query,
                        places[i].what);
            return 1;
        }
        if (places[i].header != NULL && http_header(r, places[i].header, &s) && s.len != 0) {
            consul_text(r, 400, "Invalid header: \"%s\" - %s",
                        i == 0 ? "X-Consul-Namespace" : "X-Consul-Partition", places[i].what);
            return 1;
        }
    }
    return 0;
}

/* Of all answers. */
static struct slice policy_header(const struct access *a)
{
    return access_is_enabled(a) && access_is_default_deny(a)
               ? SLICE_LIT("X-Consul-Default-Acl-Policy: deny\r\n")
               : SLICE_LIT("X-Consul-Default-Acl-Policy: allow\r\n");
}

/* --- who asks --- */

struct second_look {
    struct consul_call k;
    consul_fn fn;
    struct core_read gate;
};

static void looked_again(struct core_request *q)
{
    struct second_look *s = CONTAINER_OF(q, struct second_look, gate.q);
    if (q->code != 0) {
        consul_fail(s->k.r, q->code, q->err.text);
    } else if (consul_identify(&s->k) == 0) {
        s->fn(&s->k);
    }
}

/* A token that was made at another node just now may not be here yet: before one is refused, this
 * node catches up with the leader. */
static void serve(struct consul_call *k, consul_fn fn)
{
    struct core_glance look;
    int rc = consul_who(k);
    if (rc == 0) {
        fn(k);
        return;
    }
    core_glance(k->c->core, &look);
    if (rc != MU_E_UNAUTHORIZED || look.is_leader || !look.has_leader) {
        consul_fail(k->r, rc, NULL);
        return;
    }
    struct second_look *s = http_alloc(k->r, sizeof(*s));
    *s = (struct second_look){.k = *k, .fn = fn};
    s->gate.q.done = looked_again;
    s->gate.q.reply = worker_mailbox(http_worker(k->r));
    core_read_gate(k->c->core, &s->gate, READ_LINEAR, CONSUL_HOLD_MS);
}

static void handle(struct http_req *r, void *arg)
{
    struct consul *c = arg;
    struct slice path = http_path(r);
    if (redirects(r, path)) {
        return;
    }
    path = slice_of(path.p + strlen(PREFIX), path.len - strlen(PREFIX));
    const struct endpoint *e = find_endpoint(path);
    if (e == NULL) {
        answer_nothing(r, path);
        return;
    }
    struct consul_call k = {.r = r, .c = c};
    uint8_t *mem = http_alloc(r, path.len + 1);
    if (consul_text_decode(slice_of(path.p + e->len, path.len - e->len), mem, &k.rest) != 0) {
        consul_text(r, 400, "Bad Request");
        return;
    }
    for (size_t i = 0; i < N_ELEMENTS(endpoints); i++) {
        if (endpoints[i].method == http_method(r) && is_name(&endpoints[i], e)) {
            if (!is_elsewhere(r, path)) {
                serve(&k, endpoints[i].fn);
            }
            return;
        }
    }
    answer_other_method(r, e);
}

static void refuse(struct http_req *r, void *arg, int code, const char *text)
{
    struct slice length = SLICE_LIT("?");
    (void)arg;
    if (code == MU_E_TOO_LARGE) {
        (void)http_header(r, "content-length", &length);
        int is_txn = slice_eq(http_path(r), SLICE_LIT(PREFIX "txn"));
        consul_text(r, 413, "Request body(%.*s bytes) too large, max size: %d bytes. See %s%s.",
                    SLICE_FMT(length), CONSUL_BODY_MAX,
                    "https://developer.hashicorp.com/docs/agent/config/config-files#",
                    is_txn ? "txn_max_req_len" : "kv_max_value_size");
    } else {
        if (code == MU_E_OVERLOADED) {
        }
        consul_text(r, err_http_status(code), "%s", text);
    }
}

/* --- life --- */

struct consul *consul_new(const struct consul_options *o)
{
    struct consul *c = mem_zalloc(sizeof(*c));
    c->core = o->core;
    c->access = o->access;
    (void)snprintf(c->datacenter, sizeof(c->datacenter), "%s",
                   o->datacenter != NULL ? o->datacenter : "dc1");
    c->mount = (struct http_mount){
        .row = {.pattern = PREFIX,
                .handler = handle,
                .permission = PERM_NONE_REQUIRED,
                .body_max = CONSUL_BODY_MAX},
        .arg = c,
        .headers = policy_header(c->access),
        .refuse = refuse,
    };
    c->data_dir = mem_strdup(o->data_dir != NULL ? o->data_dir : ".");
    c->snapshot_mount = (struct http_mount){
        .row = {.pattern = PREFIX "snapshot",
                .handler = handle,
                .permission = PERM_BY_HANDLER,
                .body_max = CONSUL_SNAPSHOT_MAX},
        .arg = c,
        .headers = policy_header(c->access),
        .permit = consul_snapshot_permit,
        .refuse = consul_snapshot_refuse,
    };
    return c;
}

void consul_free(struct consul *c)
{
    mem_free(c->data_dir);
    mem_free(c);
}

int consul_mount(struct consul *c, struct http_server *s, struct err *e)
{
    int rc = http_server_mount(s, &c->snapshot_mount, e); /* the first that fits counts */
    return rc != 0 ? rc : http_server_mount(s, &c->mount, e);
}
