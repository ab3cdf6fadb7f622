/* SPDX-License-Identifier: Apache-2.0 */
/* A connection without a socket: input by calls, output into a buffer. */
#pragma once

#include "base/buf.h"
#include "server/http/http.h"
#include "server/net/worker.h"

struct sans_io {
    struct http_server *server;
    struct http_local *local;
    struct http_conn *conn; /* NULL after sans_io_gone */
    struct net_limits limits;
    struct buf out;
    size_t queued; /* what ops.queued answers */
    uint64_t taken, held;
    int n_closed, n_aborted, n_timer;
    int is_paused;
    int64_t timer_ms; /* last delay asked for; 0 = none */
};

struct net_limits sans_io_limits(void);
/* Starts server, worker part and one connection. */
void sans_io_init(struct sans_io *s, const struct http_server_options *o,
                  const struct http_route *routes, size_t n);
void sans_io_connect(struct sans_io *s); /* one more connection, after the first is gone */
void sans_io_input(struct sans_io *s, struct slice in); /* one read and the end of its turn */
void sans_io_text(struct sans_io *s, const char *text);
void sans_io_turn(struct sans_io *s);
void sans_io_gone(struct sans_io *s);
void sans_io_fini(struct sans_io *s);
/* What came out since the last call, as a string, the Date header left out. Valid until the next
 * call of any. */
const char *sans_io_take(struct sans_io *s);
