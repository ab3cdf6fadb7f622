/* SPDX-License-Identifier: Apache-2.0 */
/* One request of a health check that needs more than a plain HTTP/1.1 answer: TLS, redirects,
 * HTTP/2, gRPC. libcurl on a uv loop.
 *
 * No proxies; at most 10 redirects, to http and https alone; at most 4 KiB of answer looked at.
 * Link-local addresses are refused, as by probe.h. */
#pragma once

#include "server/core/probe.h"

enum fetch_kind {
    FETCH_HTTP,
    FETCH_GRPC,   /* grpc.health.v1.Health/Check; target host:port or host:port/service */
    FETCH_H2PING, /* whether HTTP/2 is spoken there; target host:port */
    FETCH_TLS     /* whether a TLS handshake ends well, and no more; target host:port */
};

struct fetch_request {
    enum fetch_kind kind;
    struct slice target;                /* a URL, or what the kind says */
    struct slice method, headers, body; /* as in probe_request */
    struct slice server_name;           /* in the certificate, when it is not the host */
    int use_tls;                        /* of the kinds without a URL */
    int skip_verify, no_redirects;
    int64_t timeout_ms;
};
/* 0, or BAD_REQUEST with what would be right. */
int fetch_check(const struct fetch_request *q, struct err *e);

struct fetcher;
struct fetch;
struct fetcher *fetcher_new(struct uv_loop_s *loop);
/* All requests were cancelled before; memory goes when its handles are closed. */
void fetcher_free(struct fetcher *f);
/* Fires once, later, unless it was cancelled. NULL: it cannot be begun, out of memory. */
struct fetch *fetch_start(struct fetcher *f, const struct fetch_request *q, probe_done_cb done,
                          void *arg);
void fetch_cancel(struct fetch *x);
