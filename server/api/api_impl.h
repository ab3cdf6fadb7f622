/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside server/api: the two flows every route is made of (read, write), and rendering.
 *
 * A read:  api_get_begin -> gate -> render(view) -> answer, or park on the hub and render again
 * when it fires. A write: fill a command -> api_write -> answer from the result. */
#pragma once

#include "base/json_read.h"
#include "base/json_write.h"
#include "server/access/access.h"
#include "server/api/api.h"
#include "server/net/worker.h"
#include "server/watch/hub.h"

enum {
    API_ROUTES_MAX = 40,
    API_LIST_MAX = 1000,
    API_LIST_DEFAULT = 100,
    API_LISTEN_MAX = 1000,
    API_KEEPALIVE_MAX = 10000,
    API_JSON_BODY_MAX = 256 * 1024,
    API_WAIT_MAX_MS = 10 * 60 * 1000,
    API_INLINE_CONTENT_MAX = 64 * 1024,
    API_TTL_MIN_MS = 1000,
    API_TTL_MAX_MS = 24 * 3600 * 1000,
};

struct api {
    struct core *core;
    struct access *access;
    uint32_t value_max;
    int64_t timeout_ms;
    struct http_route routes[API_ROUTES_MAX]; /* the table with the limits of this server */
};

static inline struct api *api_of(void *arg)
{
    return ((struct api_context *)arg)->api;
}

/* --- reading --- */

struct api_ask;
struct api_get;
/* Render from the view into out (empty). Sets content_type / etag when they differ from JSON and
 * its digest. 0, or an error with text in e. */
typedef int (*api_render_fn)(struct api_get *g, struct view *v, struct buf *out, struct err *e);

struct api_get {
    struct http_req *r;
    struct api *api;
    api_render_fn render;
    void *data;               /* the route's own, in the request's arena */
    const char *content_type; /* default application/json */
    char etag[40];            /* with quotes; made from the body when render left it empty */
    struct key_range *ranges; /* what to watch while parked */
    size_t n_ranges;
    /* private */
    enum { GET_GATE, GET_PARKED, GET_ENDING } state;
    enum consistency consistency;
    int is_timed_out;
    int64_t wait_ms, deadline_at;
    struct slice if_none_match;
    int has_if_none_match;
    struct core_read gate;
    struct sub sub;
    struct worker_timer timer;
    void (*no_answer)(struct api_get *g); /* instead of 304, when set */
    const struct api_ask *asks;           /* for PERM_BY_HANDLER: asked again with each look */
    size_t n_asks;
};

/* Check the query parameters (namespace, consistency, wait and `known`, NULL-terminated, may be
 * NULL) and start. An error is answered here; then NULL is returned. */
struct api_get *api_get_new(struct http_req *r, struct api *a, const char *const *known);
void api_get_start(struct api_get *g, api_render_fn render);

/* --- writing --- */

struct api_write;
typedef void (*api_written_fn)(
    struct api_write *w); /* only called when the command was applied with code 0 */

struct api_write {
    struct core_write cw;
    struct http_req *r;
    struct api *api;
    api_written_fn written;
    /* 1 when it took the matter over (a retry); else the error is answered. May be NULL. */
    int (*refused)(struct api_write *w, int code);
    void *data;
    struct slice what; /* for error texts: "config app/db" */
};

/* Take the request id header into the command. 0, or the error was answered. */
int api_request_id(struct http_req *r, struct command *cmd);
/* The id for another try: under the former one its refusal is remembered. */
void api_next_request_id(struct command *cmd);
void api_write(struct http_req *r, struct api *a, struct command *cmd, api_written_fn written,
               void *data, struct slice what);
/* Same, with a struct made by the caller (r, api, written, data, what set). */
void api_write_start(struct api_write *w, struct command *cmd);
/* If-Match / If-None-Match: * into cas and expect. 0, or the error was answered. */
int api_cas(struct http_req *r, enum cas_mode *cas, mu_rev *expect);

/* --- permission (permit.c) --- */

/* For PERM_BY_HANDLER: 0, or 401 or 403 was answered. Services go by their name, configs by
 * NAMESPACE/GROUP/KEY; is_prefix: all whose name begins so. */
struct api_ask {
    enum access_kind kind;
    struct slice name;
    int is_prefix;
    enum access_right right;
};
int api_may(struct http_req *r, struct api *a, const struct api_ask *asks, size_t n);
/* The same as of that view (NULL: the newest), unanswered: who waited may have lost his token. 0,
 * or UNAUTHORIZED or DENIED. */
int api_allowed(struct http_req *r, struct api *a, struct view *v, const struct api_ask *asks,
                size_t n, struct err *e);
/* What the route asks for, as of that view. */
int api_permit_in(struct api *a, struct http_req *r, struct view *v, const struct http_route *route,
                  struct err *e);
/* NAMESPACE/GROUP/KEY, in the request's arena. */
struct slice api_config_rule_name(struct http_req *r, const struct config_name *n);

/* --- parameters; an error is answered and non-zero returned --- */

int api_known_query(struct http_req *r, const char *const *known);
int api_namespace(struct http_req *r, struct slice *out);
int api_name(struct http_req *r, struct slice s, const char *what, size_t max);
struct slice api_query_or(struct http_req *r, const char *name, const char *dflt);
struct api_page {
    uint64_t limit, page, skip, seen;
    int has_more;
};
int api_page(struct http_req *r, struct api_page *out);
/* 1: this row is on the page; 0: not yet; -1: past it (stop scanning). */
int api_page_take(struct api_page *p);
/* 0: the body is sent as JSON or without a type; -1: answered with 415. */
int api_json_type(struct http_req *r);
/* Parse the body as one JSON object. Gives doc (jr_free). */
int api_json_body(struct http_req *r, struct json_t **out);
/* printf into the request's arena. */
struct slice api_text(struct http_req *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Copy into the request's arena. */
struct slice api_keep(struct http_req *r, struct slice s);

/* --- answers --- */

/* Muster-Revision, Muster-Stale and kin. */
void api_headers(struct http_req *r, struct api *a, mu_rev rev, enum consistency level);
void api_fail(struct http_req *r, int code, const struct err *e);
void api_config_json(struct jw *w, const struct config_name *n, const struct config_row *row,
                     int with_ns);
void api_instance_json(struct jw *w, const struct instance_name *n, const struct instance_row *row);
/* The answer to a registration or a patch; w->data is the command. */
void api_instance_written(struct api_write *w);
void api_instance_name_json(struct jw *w, const struct instance_name *n);
void api_lease_hex(mu_lease_id id, char out[17]);
int api_lease_parse(struct slice s, mu_lease_id *out);

/* --- the routes, by file --- */

void api_config_put(struct http_req *r, void *arg);
void api_config_get(struct http_req *r, void *arg);
void api_config_delete(struct http_req *r, void *arg);
void api_config_history(struct http_req *r, void *arg);
void api_config_diff(struct http_req *r, void *arg);
void api_config_rollback(struct http_req *r, void *arg);
void api_config_list(struct http_req *r, void *arg);
void api_config_listen(struct http_req *r, void *arg);
void api_instance_put(struct http_req *r, void *arg);
void api_instance_get(struct http_req *r, void *arg);
void api_instance_patch(struct http_req *r, void *arg);
void api_instance_delete(struct http_req *r, void *arg);
void api_instance_keepalive(struct http_req *r, void *arg);
void api_service_list(struct http_req *r, void *arg);
void api_service_get(struct http_req *r, void *arg);
void api_watch(struct http_req *r, void *arg);
void api_lease_grant(struct http_req *r, void *arg);
void api_lease_list(struct http_req *r, void *arg);
void api_lease_get(struct http_req *r, void *arg);
void api_lease_keepalive(struct http_req *r, void *arg);
void api_leases_keepalive(struct http_req *r, void *arg);
void api_lease_revoke(struct http_req *r, void *arg);
void api_cluster_get(struct http_req *r, void *arg);
void api_member_add(struct http_req *r, void *arg);
void api_member_remove(struct http_req *r, void *arg);
void api_cluster_transfer(struct http_req *r, void *arg);
void api_cluster_compact(struct http_req *r, void *arg);
void api_snapshot_get(struct http_req *r, void *arg);
void api_openapi_get(struct http_req *r, void *arg);
