/* SPDX-License-Identifier: Apache-2.0 */
/* /livez: the process answers. /readyz: it is useful: a leader is known, it has caught up, the disk
 * has room, it is not stopping. */
#include "server/admin/admin_impl.h"

#include "base/mem.h"

#ifndef MUSTER_VERSION
#define MUSTER_VERSION "unknown"
#endif

static void livez(struct http_req *r, void *arg)
{
    (void)arg;
    http_respond(r, 200, "text/plain", SLICE_LIT("ok\n"));
}

struct condition {
    const char *name;
    int is_ok;
};

static void readyz(struct http_req *r, void *arg)
{
    struct admin_pages *a = admin_of(arg);
    struct core_glance g;
    struct slice s;
    core_glance(a->core, &g);
    const struct condition c[] = {
        {"leader-known", g.has_leader},   {"caught-up", g.is_ready},
        {"log-intact", !g.is_damaged},    {"disk-space", !g.is_disk_full},
        {"not-draining", !g.is_draining},
    };
    int is_ready = 1;
    struct buf *out = http_scratch(r);
    int is_verbose = http_query(r, "verbose", &s);
    for (size_t i = 0; i < N_ELEMENTS(c); i++) {
        is_ready = is_ready && c[i].is_ok;
        if (is_verbose || !c[i].is_ok) {
            buf_printf(out, "[%c] %s %s\n", c[i].is_ok ? '+' : '-', c[i].name,
                       c[i].is_ok ? "ok" : "failed");
        }
    }
    buf_append_str(out, is_ready ? "ready\n" : "not ready\n");
    http_respond(r, is_ready ? 200 : 503, "text/plain", buf_slice(out));
}

static void version(struct http_req *r, void *arg)
{
    struct buf *out = http_scratch(r);
    struct jw w;
    (void)arg;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "muster");
    jw_str(&w, MUSTER_VERSION);
    jw_key(&w, "api");
    jw_str(&w, "v1");
    jw_end(&w);
    http_respond(r, 200, "application/json", buf_slice(out));
}

static const struct http_route routes[] = {
    HTTP_ROUTE(HTTP_M_GET, "/livez", livez, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/readyz", readyz, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/version", version, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/metrics", admin_metrics, PERM_NONE_REQUIRED, 0),
};

struct admin_pages *admin_of(void *arg)
{
    return ((struct admin_context *)arg)->pages;
}

struct admin_pages *admin_new(const struct admin_options *o)
{
    struct admin_pages *a = mem_zalloc(sizeof(*a));
    a->core = o->core;
    a->n_workers = o->n_workers;
    a->requests = mem_zalloc(o->n_workers * sizeof(*a->requests));
    return a;
}

void admin_free(struct admin_pages *a)
{
    if (a != NULL) {
        mem_free(a->requests);
        mem_free(a);
    }
}

void admin_set_workers(struct admin_pages *a, struct workers *w)
{
    atomic_store(&a->workers, w);
}

int admin_add_routes(struct admin_pages *a, struct http_server *s, struct err *e)
{
    int rc = http_server_add(s, routes, N_ELEMENTS(routes), e);
    a->http = s;
    return rc;
}
