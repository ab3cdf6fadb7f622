/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api/api.h"

#include "base/mem.h"
#include "server/api/api_impl.h"

enum { VALUE_MAX = 1024 * 1024, VALUE_LIMIT = 10 * 1024 * 1024, TIMEOUT_MS = 5000 };

#define BASE     "/api/v1"
#define INSTANCE BASE "/services/{service}/instances/{id}"
#define CONFIG   BASE "/configs/{group}/{key}"

static const struct http_route routes[] = {
    HTTP_ROUTE(HTTP_M_PUT, INSTANCE, api_instance_put, PERM_SERVICE_WRITE, API_JSON_BODY_MAX),
    HTTP_ROUTE(HTTP_M_GET, INSTANCE, api_instance_get, PERM_SERVICE_READ, 0),
    HTTP_ROUTE(HTTP_M_PATCH, INSTANCE, api_instance_patch, PERM_SERVICE_WRITE, API_JSON_BODY_MAX),
    HTTP_ROUTE(HTTP_M_DELETE, INSTANCE, api_instance_delete, PERM_SERVICE_WRITE, 0),
    HTTP_ROUTE(HTTP_M_POST, INSTANCE "/keepalive", api_instance_keepalive, PERM_SERVICE_WRITE, 0),
    HTTP_ROUTE(HTTP_M_GET, BASE "/services", api_service_list, PERM_SERVICE_READ, 0),
    HTTP_ROUTE(HTTP_M_GET, BASE "/services/{service}", api_service_get, PERM_SERVICE_READ, 0),
    HTTP_ROUTE(HTTP_M_PUT, CONFIG, api_config_put, PERM_CONFIG_WRITE, VALUE_LIMIT),
    HTTP_ROUTE(HTTP_M_GET, CONFIG, api_config_get, PERM_CONFIG_READ, 0),
    HTTP_ROUTE(HTTP_M_DELETE, CONFIG, api_config_delete, PERM_CONFIG_WRITE, 0),
    HTTP_ROUTE(HTTP_M_GET, CONFIG "/history", api_config_history, PERM_CONFIG_READ, 0),
    HTTP_ROUTE(HTTP_M_GET, CONFIG "/diff", api_config_diff, PERM_CONFIG_READ, 0),
    HTTP_ROUTE(HTTP_M_POST, CONFIG "/rollback", api_config_rollback, PERM_CONFIG_WRITE,
               API_JSON_BODY_MAX),
    HTTP_ROUTE(HTTP_M_GET, BASE "/configs", api_config_list, PERM_CONFIG_READ, 0),
    HTTP_ROUTE(HTTP_M_POST, BASE "/configs:listen", api_config_listen, PERM_BY_HANDLER,
               API_JSON_BODY_MAX),
    HTTP_ROUTE(HTTP_M_GET, BASE "/watch", api_watch, PERM_BY_HANDLER, 0),
    HTTP_ROUTE(HTTP_M_POST, BASE "/leases", api_lease_grant, PERM_LEASE_WRITE, API_JSON_BODY_MAX),
    HTTP_ROUTE(HTTP_M_GET, BASE "/leases", api_lease_list, PERM_SERVICE_READ, 0),
    HTTP_ROUTE(HTTP_M_POST, BASE "/leases:keepalive", api_leases_keepalive, PERM_LEASE_WRITE,
               API_JSON_BODY_MAX),
    HTTP_ROUTE(HTTP_M_GET, BASE "/leases/{id}", api_lease_get, PERM_SERVICE_READ, 0),
    HTTP_ROUTE(HTTP_M_POST, BASE "/leases/{id}/keepalive", api_lease_keepalive, PERM_LEASE_WRITE,
               0),
    HTTP_ROUTE(HTTP_M_DELETE, BASE "/leases/{id}", api_lease_revoke, PERM_LEASE_WRITE, 0),
    HTTP_ROUTE(HTTP_M_GET, BASE "/cluster", api_cluster_get, PERM_CLUSTER_READ, 0),
    HTTP_ROUTE(HTTP_M_POST, BASE "/cluster/members", api_member_add, PERM_CLUSTER_WRITE,
               API_JSON_BODY_MAX),
    HTTP_ROUTE(HTTP_M_DELETE, BASE "/cluster/members/{name}", api_member_remove, PERM_CLUSTER_WRITE,
               0),
    HTTP_ROUTE(HTTP_M_POST, BASE "/cluster:transfer", api_cluster_transfer, PERM_CLUSTER_WRITE,
               API_JSON_BODY_MAX),
    HTTP_ROUTE(HTTP_M_POST, BASE "/cluster:compact", api_cluster_compact, PERM_CLUSTER_WRITE,
               API_JSON_BODY_MAX),
    HTTP_ROUTE(HTTP_M_GET, BASE "/snapshot", api_snapshot_get, PERM_EVERYTHING, 0),
    HTTP_ROUTE(HTTP_M_GET, BASE "/openapi.json", api_openapi_get, PERM_NONE_REQUIRED, 0),
};

struct api *api_new(const struct api_options *o)
{
    struct api *a = mem_zalloc(sizeof(*a));
    a->core = o->core;
    a->access = o->access;
    a->value_max = o->value_max != 0 ? o->value_max : VALUE_MAX;
    a->timeout_ms = o->timeout_ms != 0 ? o->timeout_ms : TIMEOUT_MS;
    _Static_assert(N_ELEMENTS(routes) <= API_ROUTES_MAX, "API_ROUTES_MAX is too small");
    MU_INVARIANT(a->value_max <= VALUE_LIMIT);
    return a;
}

void api_free(struct api *a)
{
    mem_free(a);
}

int api_add_routes(struct api *a, struct http_server *s, struct err *e)
{
    for (size_t i = 0; i < N_ELEMENTS(routes); i++) {
        a->routes[i] = routes[i];
        if (routes[i].handler == api_config_put) {
            a->routes[i].body_max = a->value_max;
        }
    }
    return http_server_add(s, a->routes, N_ELEMENTS(routes), e);
}

/* The document is docs/openapi.json, put into the binary by the build. */
extern const uint8_t api_openapi_start[], api_openapi_end[];

void api_openapi_get(struct http_req *r, void *arg)
{
    (void)arg;
    http_respond(r, 200, "application/json",
                 slice_of(api_openapi_start, (size_t)(api_openapi_end - api_openapi_start)));
}
