/* SPDX-License-Identifier: Apache-2.0 */
/* One blocking HTTP/1.1 connection of a test client: every wait has an end, nothing is repeated
 * behind the caller's back, and it is told whether a request may have been seen by the server. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct place { /* of a node */
    char name[16], host[48];
    int port;
};

struct reply {
    int status;       /* 0: none came */
    int was_sent;     /* something of the request may have reached the server */
    char code[32];    /* of a problem document */
    uint64_t rev;     /* Muster-Revision */
    uint64_t etag;    /* of a config: its revision; else 0 */
    int is_stale;     /* Muster-Stale: true */
    const char *body; /* NUL-terminated, borrowed until the next call */
    size_t len;
};

struct caller;

int64_t caller_now_ns(void); /* CLOCK_MONOTONIC: the same for all processes of a machine */
struct caller *caller_new(void);
void caller_free(struct caller *c);
/* Connect elsewhere, or anew; lazily, at the next call. */
void caller_aim(struct caller *c, const struct place *where);
/* headers: whole lines ending in CRLF, or "". Ends within timeout_ms. */
struct reply caller_call(struct caller *c, const char *method, const char *path,
                         const char *headers, const char *body, int timeout_ms);
/* Opens a stream: the reply has no body; lines are read by caller_line until it gives NULL (end,
 * error, or nothing for timeout_ms). A line is borrowed until the next one. */
struct reply caller_stream(struct caller *c, const char *path, const char *headers, int timeout_ms);
const char *caller_line(struct caller *c, int timeout_ms);
