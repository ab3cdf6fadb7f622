/* SPDX-License-Identifier: Apache-2.0 */
/* Private door of server/http: the structs behind the handles. */
#pragma once

#include <llhttp.h>

#include "server/http/guard.h"
#include "server/http/http.h"
#include "server/http/route.h"
#include "server/net/worker.h" /* struct net_limits */

enum {
    HTTP_ERR_TEXT_MAX = 512,
    HTTP_MOUNTS_MAX = 4,
    HTTP_REST_MAX =
        16 * 1024, /* input held behind a request in progress before reading is paused */
    HTTP_READ_HEAD = 16 * 1024,  /* one read while a head is awaited: pipelined input is held */
    HTTP_READ_BODY = 64 * 1024,  /* body bytes go where they belong at once */
    HTTP_READ_BEHIND = 4 * 1024, /* behind a request in progress all input is held */
    HTTP_DISCARD_MAX =
        64 * 1024, /* body of a refused request that is read over to keep the connection */
    HTTP_BODY_FIRST =
        64 * 1024, /* memory taken at once for a body, whatever its announced length */
    HTTP_CHUNK_OVERHEAD =
        16, /* chunk framing allowed per body byte, beyond the first HTTP_REST_MAX bytes */
    HTTP_GZIP_MIN = 4096,
    HTTP_GZIP_MAX = 1024 * 1024 * 1024,
    HTTP_STREAM_LOW = 256 * 1024,  /* http_stream_write says "wait" above this */
    HTTP_STREAM_MAX = 1024 * 1024, /* a stream whose handler does not wait is cut above this */
    HTTP_OUT_WATCH = 64 * 1024,    /* unread output above this is watched for progress */
    HTTP_QUEUE_MAX =
        64 * 1024, /* unread answers on a connection before its next request is looked at */
    HTTP_SMALL_MAX = 64 * 1024,     /* an answer up to this size is given whatever others hold */
    HTTP_SCRATCH_KEEP = 256 * 1024, /* scratch memory kept between answers */
};

struct http_server {
    struct http_server_options o;
    struct route_node *routes;
    const struct http_route **rows;
    size_t n_rows;
    const struct http_mount *mounts[HTTP_MOUNTS_MAX];
    size_t n_mounts;
};

/* One header of a request: offsets into http_req.head, the name in lower case. */
struct head_field {
    uint16_t name, name_len, value, value_len;
};

/* What the parser found in one head. */
struct head_parse {
    const uint8_t *base;
    struct head_field fields[HEAD_FIELDS_MAX];
    unsigned n_fields;
    uint8_t is_complete; /* the parser has seen the end of the headers */
    uint8_t is_keepalive;
};

struct gzip; /* gzip.c */

struct http_local {
    struct http_server *server;
    struct worker *worker;
    unsigned number;
    const struct net_limits *limits;
    size_t n_owed;
    size_t n_body_bytes;     /* held by requests */
    struct http_conn *ready; /* answered, with input waiting; served by http_local_turn */
    struct buf scratch, head, problem, zipped;
    struct gzip *gzip;
    int64_t date_s;
    char date[64];           /* "Date: ...\r\n" */
    struct head_parse parse; /* scratch of one call */
    struct query_pair pairs[QUERY_PAIRS_MAX];
};

enum conn_state {
    CONN_HEAD,    /* waiting for a head or reading it; no request */
    CONN_BODY,    /* request made, its body comes in; it may be answered already (then the body is
                     thrown away) */
    CONN_TRAILER, /* behind the last chunk */
    CONN_ANSWER,  /* request complete, the answer is owed */
    CONN_CLOSING, /* the last answer is written; input is ignored */
};

struct http_conn {
    struct http_local *l;
    const struct http_conn_ops *ops;
    void *io;
    struct http_req *req;                       /* the one in progress */
    struct http_conn *ready_next, **ready_prev; /* in http_local.ready when ready_prev is set */
    struct buf rest;                            /* input not taken yet */
    struct head_guard guard;
    int64_t deadline;      /* monotonic ms; 0 = none */
    int64_t timer_at;      /* when the connection's timer fires; 0 = not running */
    uint64_t window_bytes; /* body bytes since the deadline was set; or the output that was taken
                              by then */
    uint8_t state;         /* enum conn_state */
    uint8_t is_gone, is_eof, is_draining, is_tls, is_running, is_paused, is_watching_output;
    char peer[46];
};

/* A header of the answer, in request memory. */
struct extra_header {
    struct extra_header *next;
    uint32_t len;
    char text[]; /* "Name: value\r\n" */
};

struct arena_chunk {
    struct arena_chunk *next;
};

struct http_req {
    struct http_conn *conn;
    const struct http_route *route;
    const struct http_mount *mount; /* NULL: a route of the table */
    void *data;
    void (*abort_fn)(struct http_req *r);
    void (*drain_fn)(struct http_req *r);
    uint8_t *arena, *arena_end;
    struct arena_chunk *chunks;
    uint8_t *head; /* copy of the head, header names in lower case */
    struct head_field *fields;
    struct query_pair *pairs;
    struct slice path, query;
    struct slice params[ROUTE_PARAMS_MAX];
    struct extra_header *extra, **extra_tail;
    struct buf body;
    llhttp_t *chunked;  /* decoder of a chunked body */
    uint64_t body_left; /* of a body with Content-Length */
    uint64_t body_max;
    uint64_t body_got; /* bytes of body seen, also when thrown away */
    uint64_t body_fed; /* bytes given to the chunk decoder */
    int64_t started_us;
    uint32_t extra_len;
    uint16_t n_fields, n_pairs;
    int16_t status;
    uint8_t method;       /* enum http_method */
    uint8_t minor;        /* HTTP/1.minor */
    uint64_t stream_left; /* of a stream with is_sized: bytes still owed */
    uint8_t is_keepalive, is_dispatched, is_answered, is_stream, is_sized, is_aborted,
        is_discarding, is_too_large;
    char trace[33];
};

/* parse.c: the only file that calls llhttp. */
/* Make a request of the complete head in[0..len). Fills err on refusal. */
int parse_head(struct http_conn *c, struct slice head, struct http_req **out, struct err *e);
/* Body bytes by chunk decoder. *out_used: bytes taken. HEAD_MORE: go on; 0: the last chunk is in,
 * the trailer follows. */
int parse_chunks(struct http_req *r, struct slice in, size_t *out_used, struct err *e);
/* The whole trailer section. */
int parse_trailer(struct http_req *r, struct slice in, struct err *e);

/* request.c */
struct http_req *req_new(struct http_conn *c, struct slice head, const struct head_parse *p);
void req_free(struct http_req *r);
void req_body_append(struct http_req *r, const uint8_t *p, size_t len);

/* answer.c */
/* Status line and headers; content_len < 0 = none (chunked or until close). */
struct answer_head {
    int status;
    const char *content_type;
    int64_t content_len;
    int is_chunked, is_keepalive, is_varying, is_gzip;
};
void answer_head_write(struct http_local *l, const struct http_req *r,
                       const struct answer_head *h); /* into l->head; r may be NULL */
void answer_problem_body(struct http_local *l, int code, const char *detail,
                         void (*add)(struct jw *w, void *arg), void *arg); /* into l->problem */
void answer_prepare(struct http_req *r, int status); /* once per answer, before its head */

/* conn.c */
void conn_write(struct http_conn *c, const struct slice *parts, size_t n);
void conn_answered(struct http_req *r); /* the answer of r is complete; r may be freed */
int conn_is_unwanted(
    const struct http_conn *c);       /* the peer is gone or leaves, or the server does */
void conn_later(struct http_conn *c); /* look at the connection at the end of this turn */
void conn_set_deadline(struct http_conn *c, int64_t delay_ms); /* 0 = none */
void conn_watch_output(
    struct http_conn *c); /* from now on the peer must take some of what is queued in each window */

/* dispatch.c */
/* The head of c->req is complete: find its route, refuse what can be refused before the body. */
void dispatch_head(struct http_req *r);
/* Answer a request that its handler does not get: a problem document, or the mount's own words. */
void dispatch_refuse(struct http_req *r, int code, const char *text);
/* The request is complete. */
void dispatch_run(struct http_req *r);

/* gzip.c */
int gzip_is_accepted(const struct http_req *r);
int gzip_is_textual(const char *content_type);
void gzip_pack(struct http_local *l, struct slice in); /* into l->zipped */
void gzip_free(struct gzip *z);
