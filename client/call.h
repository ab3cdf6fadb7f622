/* SPDX-License-Identifier: Apache-2.0 */
/* One request with all its attempts, as a state machine: who drives it (a waiting thread, or the
 * background thread) runs the transfers.
 *
 *   call_next --> CALL_RUN: run c->easy, then call_done(code) --+
 *      ^    \---> CALL_WAIT: until c->retry_at, then call_next  |
 *      |     \--> CALL_END: c->status, c->error, c->in          |
 *      +--------------------------------------------------------+
 *
 * A write carries one request id through all attempts, so the servers do it once. */
#pragma once

#include "client/http.h"

enum call_step { CALL_RUN, CALL_WAIT, CALL_END };

struct call {
    struct muster *m;
    struct muster_request q; /* its strings are borrowed */
    char *target;            /* path and query as they go into the request line */
    struct curl_slist *headers;
    char *url; /* of this attempt */
    void *easy;
    struct http_in in;

    bool is_write;
    bool is_api;        /* under /api/v1: a 503 there is repeated */
    bool ignores_close; /* goes on while the client is being closed */
    bool may_be_done;   /* an attempt's outcome is unknown */
    int endpoint;       /* of this attempt; -1: none under way */
    uint64_t tried;     /* endpoints of this round */
    unsigned n_rounds;
    int64_t attempt_ms;
    int64_t deadline_at;
    int64_t retry_at;

    muster_status status;
    struct muster_error error;
};

/* Checks q and makes everything that all attempts share. On failure there is nothing to fini. */
muster_status call_init(struct call *c, struct muster *m, const struct muster_request *q,
                        struct muster_error *e);
void call_fini(struct call *c);
enum call_step call_next(struct call *c, int64_t now);
enum call_step call_done(struct call *c, int code, int64_t now);
void call_abandon(struct call *c); /* the attempt under way will have no outcome */
/* Run it to its end on this thread. */
muster_status call_perform(struct call *c, struct muster_error *e);
/* How long to wait before round n (from 1): full jitter over a growing, bounded span. */
int64_t call_backoff_ms(unsigned n);
