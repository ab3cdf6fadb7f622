/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a stream of server-sent events. Pure: bytes go in as they come, messages come out. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/cbuf.h"

enum {
    SSE_OK = 0,
    SSE_STOPPED = -1, /* the callback said so; the rest of the bytes is dropped */
    SSE_NO_MEMORY = -2,
    SSE_TOO_LARGE = -3, /* a message over SSE_MESSAGE_MAX */
    SSE_BAD_ID = -4,    /* an id that is no revision: not our server */
};
enum { SSE_TYPE_MAX = 32, SSE_MESSAGE_MAX = 64 * 1024 * 1024 };

struct sse_message {
    const char *type; /* "message" when the stream does not say */
    uint64_t id;      /* 0 when there is none */
    const char *data; /* NUL-terminated */
    size_t len;
};

typedef int (*sse_fn)(void *user, const struct sse_message *m); /* anything but 0 stops */

struct sse {
    sse_fn fn;
    void *user;
    struct cbuf line;
    struct cbuf data;
    char type[SSE_TYPE_MAX];
    uint64_t id;
    bool has_data;
    bool was_cr; /* the next LF belongs to the CR before it */
};

void sse_init(struct sse *s, sse_fn fn, void *user);
void sse_fini(struct sse *s);
void sse_reset(struct sse *s); /* a new connection: forget what was begun */
int sse_feed(struct sse *s, const void *p, size_t len);
