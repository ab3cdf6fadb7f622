/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 server: requests in, answers out. Parsing is llhttp behind our own head guard; no socket
 * is seen here.
 *
 * A handler runs on the worker that owns the connection. It answers at once or later, from a
 * callback on the same worker; it must answer each request exactly once (http_respond,
 * http_respond_error or http_stream_begin ... http_stream_end), also when the client is gone. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/json_write.h"

struct worker;
struct http_req;
struct http_server;

enum http_method {
    HTTP_M_GET = 1,
    HTTP_M_PUT = 2,
    HTTP_M_POST = 4,
    HTTP_M_DELETE = 8,
    HTTP_M_PATCH = 16,
    HTTP_M_HEAD = 32,
    HTTP_M_OPTIONS = 64
};

/* Who may call: http_server_options.permit asks before the body is read. A route without a
 * permission does not compile. */
enum permission {
    PERM_NONE_REQUIRED = 1,
    PERM_SERVICE_READ,
    PERM_SERVICE_WRITE,
    PERM_CONFIG_READ,
    PERM_CONFIG_WRITE,
    PERM_LEASE_WRITE,
    PERM_CLUSTER_READ,
    PERM_CLUSTER_WRITE,
    PERM_EVERYTHING, /* who gets all the data, or may replace it */
    PERM_BY_HANDLER, /* it asks itself: what for stands in the query or the body */
};

typedef void (*http_handler_fn)(struct http_req *r, void *arg);

/* One row of the route table. Pattern: literal segments and {name} for one segment:
 * "/api/v1/configs/{group}/{key}/history". */
struct http_route {
    unsigned methods; /* one enum http_method (HEAD is answered by GET's row) */
    const char *pattern;
    http_handler_fn handler;
    enum permission permission;
    uint32_t body_max;    /* bytes; 0 = no body allowed */
    int is_body_streamed; /* reserved, 0 */
};
#define HTTP_ROUTE(m, p, h, perm, body)                                                  \
    {                                                                                    \
        .methods = (m), .pattern = (p), .handler = (h),                                  \
        .permission = (perm) + 0 * sizeof(char[(perm) > 0 ? 1 : -1]), .body_max = (body) \
    }

struct http_server_options {
    void *arg; /* given to handlers */
    /* Added to every answer (e.g. Muster-Node). May be NULL. */
    void (*before_answer)(struct http_req *r, void *arg);
    /* Whether the caller may; not asked for PERM_NONE_REQUIRED and PERM_BY_HANDLER. 0, or
     * UNAUTHORIZED, DENIED with a sentence. NULL: everybody may everything. */
    int (*permit)(struct http_req *r, const struct http_route *route, void *arg, struct err *e);
    /* After each answer, for metrics and access logs. r may be NULL (no request could be read), so
     * may its route (unknown path). */
    void (*after_answer)(void *arg, unsigned worker, const struct http_req *r, int status,
                         int64_t elapsed_us);
};
/* Routes are added before the workers start; the tables must live as long as the server. */
struct http_server *http_server_new(const struct http_server_options *o);
int http_server_add(struct http_server *s, const struct http_route *routes, size_t n,
                    struct err *e); /* refuses ambiguous patterns */
void http_server_free(struct http_server *s);
/* A face with rules of its own for paths, methods and errors: it is given every request below a
 * prefix, the path as it came. What cannot be handled at all - limits, a malformed query or body -
 * it answers in its own words. */
struct http_mount {
    struct http_route row; /* pattern: the prefix, as "/v1/"; handler, permission, body_max */
    void *arg;             /* given to the handler, to permit and to refuse */
    struct slice headers;  /* lines of all its answers, each with its CRLF; may be empty */
    /* Whether the caller may, before the body is read: as http_server_options.permit. NULL: the
     * handler asks. */
    int (*permit)(struct http_req *r, void *arg, struct err *e);
    void (*refuse)(struct http_req *r, void *arg, int code, const char *text);
};
/* Must live as long as the server. EXISTS when a prefix is there already. */
int http_server_mount(struct http_server *s, const struct http_mount *m, struct err *e);
/* Every route, for tests and the OpenAPI check. */
size_t http_server_routes(const struct http_server *s, const struct http_route **out, size_t max);

/* --- the request; slices live until it is answered --- */
struct worker *http_worker(struct http_req *r);
enum http_method http_method(const struct http_req *r);
const char *http_method_name(enum http_method m);                 /* "GET" */
struct slice http_path(const struct http_req *r);                 /* raw path without query */
const struct http_route *http_route_of(const struct http_req *r); /* NULL: an unknown path */
struct slice http_param(const struct http_req *r,
                        const char *name); /* path parameter, decoded once */
int http_query(const struct http_req *r, const char *name,
               struct slice *out); /* 1 when given; decoded; first of several */
/* All values of a repeated parameter; returns how many (at most max filled). */
size_t http_query_all(const struct http_req *r, const char *name, struct slice *out, size_t max);
/* Name of a query parameter that is in none of `known` (ends with NULL); 1 and the name when there
 * is one. */
int http_query_unknown(const struct http_req *r, const char *const *known, struct slice *out_name);
/* The query as it came, without its question mark. */
struct slice http_query_raw(const struct http_req *r);
int http_header(const struct http_req *r, const char *lower_name,
                struct slice *out); /* 1 when there */
/* The secret that says who asks: of "Authorization: Bearer" or "X-Consul-Token"; empty without
 * one. Never to be logged. */
struct slice http_token(const struct http_req *r);
struct slice http_body(const struct http_req *r);
const char *http_peer(const struct http_req *r); /* "127.0.0.1" */
/* Trace id: from traceparent, else drawn; 32 hex digits. */
const char *http_trace_id(const struct http_req *r);
/* Memory that lives as long as the request (arena). */
void *http_alloc(struct http_req *r, size_t size);
/* The handler's own state. */
void http_set_data(struct http_req *r, void *data);
void *http_data(const struct http_req *r);
/* The client went away or the server drains while the answer is pending: called once, on the
 * worker; answer soon (DRAINING or anything). */
void http_on_abort(struct http_req *r, void (*fn)(struct http_req *r));
/* 1 when the client is gone: work may be skipped, the answer is still owed. */
int http_is_gone(const struct http_req *r);
/* A long wait begins: give back buffers. The body (http_body and slices of it) is gone after this;
 * all else stays. */
void http_park(struct http_req *r);

/* --- the answer --- */
void http_add_header(struct http_req *r, const char *name,
                     const char *value); /* value without control characters */
void http_add_header_u64(struct http_req *r, const char *name, uint64_t v);
/* Scratch for building a body; belongs to the worker, empty, valid until the next answer or return
 * to the loop. */
struct buf *http_scratch(struct http_req *r);
/* Answer with a body (copied or written before return). gzip when large, textual and accepted. 204
 * and 304 take no body. */
void http_respond(struct http_req *r, int status, const char *content_type, struct slice body);
/* problem+json from an error: {"type","title","status","detail","code"}. detail NULL = title. */
void http_respond_error(struct http_req *r, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with more members: add writes them into the open object. */
void http_respond_problem(struct http_req *r, int code, const char *detail,
                          void (*add)(struct jw *w, void *arg), void *arg);

/* Streams (server-sent events): chunked. */
void http_stream_begin(struct http_req *r, int status, const char *content_type);
/* The same for a body of known length (a download): the client can tell how far it is. Written
 * must be exactly that much, or the connection is cut at the end. */
void http_stream_begin_sized(struct http_req *r, int status, const char *content_type,
                             uint64_t len);
/* Copies. Returns 1 while more may be written now, 0 when the peer is slow: wait for on_drain (at
 * most 1 MiB is held). */
int http_stream_write(struct http_req *r, struct slice data);
/* There is room again; or the client is gone, and nothing else was asked to be told of that. */
void http_stream_on_drain(struct http_req *r, void (*fn)(struct http_req *r));
void http_stream_end(struct http_req *r);
/* Cut the connection without the final chunk: the client sees an error, not a short body. */
void http_stream_abort(struct http_req *r);

/* --- the side towards server/net: one parser per connection, bytes in, bytes out --- */
struct net_limits; /* server/net/worker.h */
/* What the connections of one worker share: scratch memory, the date, the compressor. Used on that
 * worker's thread only. */
struct http_local;
struct http_local *http_local_new(struct http_server *s, struct worker *w, unsigned number,
                                  const struct net_limits *limits);
void http_local_free(struct http_local *l);
/* Call at the end of each loop turn: goes on with pipelined requests whose predecessor was answered
 * in this turn. */
void http_local_turn(struct http_local *l);
int http_local_is_ready(
    const struct http_local *l); /* 1: there is something for http_local_turn to do */
/* Requests that a handler has and has not answered yet, also of connections that are gone. */
size_t http_local_owed(const struct http_local *l);

struct http_conn;
/* None of these calls back into the connection. */
struct http_conn_ops {
    void (*write)(void *io, const struct slice *parts,
                  size_t n);                /* borrows; coalesced per loop turn */
    void (*close)(void *io);                /* after what was written is out */
    void (*abort)(void *io);                /* now, also when something is not out yet */
    void (*pause)(void *io, int is_paused); /* stop or resume reading */
    void (*timer)(void *io,
                  int64_t delay_ms); /* one timer per connection; http_conn_timeout when it fires */
    size_t (*queued)(void *io);      /* bytes written but not out yet */
    uint64_t (*taken)(void *io);     /* bytes that the peer has got, since the beginning */
    uint64_t (*held)(void *io);      /* bytes queued by all connections of this worker */
};
/* What a peer must take, or send, in a window of this length to be waited for: 1 KiB/s. */
static inline uint64_t http_least_bytes(int64_t window_ms)
{
    return (uint64_t)window_ms * 1024 / 1000;
}
struct http_conn *http_conn_new(struct http_local *l, const struct http_conn_ops *ops, void *io,
                                const char *peer, int is_tls);
/* Takes what it can; keeps a copy of an incomplete rest. */
void http_conn_input(struct http_conn *c, struct slice bytes);
/* How much to read at most for the next http_conn_input: this bounds what a connection holds. */
size_t http_conn_read_max(const struct http_conn *c);
void http_conn_eof(struct http_conn *c);     /* the peer will send no more; it may still read */
void http_conn_drained(struct http_conn *c); /* the write queue is empty */
void http_conn_timeout(struct http_conn *c);
void http_conn_drain(struct http_conn *c); /* server goes down */
void http_conn_gone(
    struct http_conn *c); /* the socket is closed; frees when the last answer is given */
