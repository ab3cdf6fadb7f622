/* SPDX-License-Identifier: Apache-2.0 */
/* One watch stream that goes on by itself at another endpoint, from the first revision not seen.
 * A state machine like call.h: whoever drives it runs the transfers.
 *
 * `next` says where the stream is: each message that was told raises it, each connection asks from
 * it, and a message below it is dropped. So nothing is missed or told twice. */
#pragma once

#include "client/call.h"
#include "client/sse.h"

typedef int (*stream_fn)(void *user, const struct sse_message *m); /* anything but 0 ends it */

struct stream {
    struct muster *m;
    stream_fn fn;
    void *user;
    char *target; /* path and query, without `from` */
    char *url;
    struct curl_slist *headers;
    void *easy;
    struct http_in in;
    struct sse sse;

    uint64_t next; /* the first revision wanted; 0: the next one written */
    int endpoint;  /* -1: none */
    uint64_t tried;
    unsigned n_failed; /* connections in a row that told nothing */
    int64_t silence_ms;
    int64_t heard_at; /* last byte, or the start of the connection */
    int64_t retry_at;
    int sse_code;
    bool is_stopped; /* fn said so */
    bool is_compacted;
    bool is_alive; /* this connection has told something */

    muster_status status; /* after CALL_END */
    struct muster_error error;
};

/* `query` follows "/watch?". */
muster_status stream_init(struct stream *s, struct muster *m, const char *query, uint64_t next,
                          struct muster_error *e);
void stream_fini(struct stream *s);
enum call_step stream_next(struct stream *s, int64_t now);
enum call_step stream_done(struct stream *s, int code, int64_t now);
/* No mark for three periods: the connection is dead. */
bool stream_is_silent(const struct stream *s, int64_t now);
void stream_abandon(struct stream *s); /* the transfer was taken away by its driver */
