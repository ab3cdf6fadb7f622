/* SPDX-License-Identifier: Apache-2.0 */
/* One health probe: connect (TCP), or one HTTP/1.1 request of which only the status counts. Runs on
 * a uv loop.
 *
 * No redirects, no proxies, one resolution, at most 4 KiB of answer looked at. Link-local addresses
 * (cloud metadata services live there) are refused. */
#pragma once

#include "base/err.h"
#include "storage/rows.h"

struct uv_loop_s; /* uv_loop_t */
struct sockaddr;

enum { PROBE_HOST_MAX = 255, PROBE_PATH_MAX = 2048, PROBE_OUTPUT_MAX = 200 };

struct probe_target {
    enum check_type type;
    char host[PROBE_HOST_MAX + 1];
    uint16_t port;
    char path[PROBE_PATH_MAX + 1]; /* HTTP only, with query */
    int is_udp; /* of CHECK_TCP: a datagram instead; well unless the host says that nobody is there
                 */
};

/* "http://host[:port]/path" for CHECK_HTTP, "host:port" for CHECK_TCP; [v6] hosts. BAD_REQUEST with
 * what would be right. */
int probe_target_parse(enum check_type type, struct slice text, struct probe_target *out,
                       struct err *e);

/* What an HTTP probe asks. Borrows nothing after probe_start. */
struct probe_request {
    struct slice method;  /* upper-case token of at most 16 bytes; empty: GET */
    struct slice headers; /* pairs (metadata_begin), sent as they are */
    struct slice body;
    int wants_body; /* up to 4 KiB of the answer are waited for */
    int is_consul;  /* names itself as Consul's agent does */
};

struct probe_result {
    int is_ok;
    int status;                /* of the HTTP answer; 0 without one */
    const char *output;        /* a short sentence, e.g. "HTTP 200" or "connection refused" */
    struct slice reason, body; /* of an HTTP answer; borrowed until done returns */
};

/* 0 for link-local addresses. */
int probe_may_connect(const struct sockaddr *a);

struct probe;
/* Fires once, later, unless the probe was cancelled. */
typedef void (*probe_done_cb)(void *arg, const struct probe_result *r);
/* `q` may be NULL: GET. */
struct probe *probe_start(struct uv_loop_s *loop, const struct probe_target *t,
                          const struct probe_request *q, int64_t timeout_ms, probe_done_cb done,
                          void *arg);
/* The callback will not fire any more; memory goes when its handles are closed. */
void probe_cancel(struct probe *p);
