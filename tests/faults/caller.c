/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/caller.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum { IN_CAP = 65536, BODY_MAX = 64 * 1024 * 1024 };

struct caller {
    struct place where;
    int fd, was_used;
    int64_t ends_at;
    char in[IN_CAP]; /* read, not yet taken */
    size_t at, n;
    int is_chunked;
    size_t length; /* of the body, as the head says */
    size_t chunk_left;
    char *out; /* body, or a line */
    size_t len, cap;
};

int64_t caller_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct caller *caller_new(void)
{
    struct caller *c = mem_zalloc(sizeof(*c));
    c->fd = -1;
    return c;
}

static void hang_up(struct caller *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    c->at = c->n = 0;
}

void caller_free(struct caller *c)
{
    hang_up(c);
    mem_free(c->out);
    mem_free(c);
}

void caller_aim(struct caller *c, const struct place *where)
{
    hang_up(c);
    c->where = *where;
}

/* 1: ready before the end. */
static int await(struct caller *c, short what)
{
    struct pollfd p = {.fd = c->fd, .events = what};
    for (;;) {
        int64_t left = (c->ends_at - caller_now_ns()) / 1000000;
        if (left <= 0) {
            return 0;
        }
        int n = poll(&p, 1, (int)left);
        if (n > 0) {
            return 1;
        }
        if (n < 0 && errno != EINTR) {
            return 0;
        }
    }
}

static int dial(struct caller *c)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->where.port)};
    int one = 1, failed = 0;
    socklen_t len = sizeof(failed);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->was_used = 0;
    if (c->fd < 0 || inet_pton(AF_INET, c->where.host, &a.sin_addr) != 1) {
        return -1;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(c->fd, (struct sockaddr *)&a, sizeof(a)) != 0 &&
        (errno != EINPROGRESS || !await(c, POLLOUT) ||
         getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0 || failed != 0)) {
        return -1;
    }
    return 0;
}

static int send_all(struct caller *c, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        } else if (errno != EINTR && (errno != EAGAIN || !await(c, POLLOUT))) {
            return -1;
        }
    }
    return 0;
}

/* Next raw byte, -1 at the end. */
static int byte(struct caller *c)
{
    while (c->at == c->n) {
        ssize_t n = recv(c->fd, c->in, sizeof(c->in), 0);
        if (n == 0 || (n < 0 && errno != EINTR && (errno != EAGAIN || !await(c, POLLIN)))) {
            return -1;
        }
        c->at = 0;
        c->n = n > 0 ? (size_t)n : 0;
    }
    return (unsigned char)c->in[c->at++];
}

static void keep(struct caller *c, char x)
{
    if (c->len + 2 > c->cap) {
        c->cap = c->cap != 0 ? c->cap * 2 : 4096;
        c->out = mem_realloc(c->out, c->cap);
    }
    c->out[c->len++] = x;
    c->out[c->len] = '\0';
}

/* A raw line into out without its end. */
static int raw_line(struct caller *c)
{
    c->len = 0;
    for (;;) {
        int x = byte(c);
        if (x < 0 || c->len > BODY_MAX) {
            return -1;
        }
        if (x == '\n') {
            keep(c, '\0');
            c->len -= c->len >= 2 && c->out[c->len - 2] == '\r' ? 2 : 1;
            c->out[c->len] = '\0';
            return 0;
        }
        keep(c, (char)x);
    }
}

static size_t next_chunk(struct caller *c)
{
    char text[24];
    size_t n = 0;
    for (int x = byte(c); x != '\n'; x = byte(c)) {
        if (x < 0 || n + 1 >= sizeof(text)) {
            return SIZE_MAX;
        }
        text[n++] = (char)x;
    }
    text[n] = '\0';
    return n <= 1 ? next_chunk(c) : strtoul(text, NULL, 16); /* the line end behind the last one */
}

/* Next byte of a chunked body; -1 at its end, -2 at an error. */
static int body_byte(struct caller *c)
{
    if (!c->is_chunked) {
        int x = byte(c);
        return x < 0 ? -2 : x;
    }
    if (c->chunk_left == 0) {
        c->chunk_left = next_chunk(c);
        if (c->chunk_left == 0) {
            byte(c);
            byte(c);
            return -1;
        }
        if (c->chunk_left == SIZE_MAX) {
            return -2;
        }
    }
    c->chunk_left--;
    int x = byte(c);
    return x < 0 ? -2 : x;
}

static void take_header(struct caller *c, struct reply *r)
{
    char *value = strchr(c->out, ':');
    if (value == NULL) {
        return;
    }
    *value++ = '\0';
    value += strspn(value, " ");
    if (strcasecmp(c->out, "Content-Length") == 0) {
        c->length = strtoul(value, NULL, 10);
    } else if (strcasecmp(c->out, "Transfer-Encoding") == 0) {
        c->is_chunked = strcasecmp(value, "chunked") == 0;
    } else if (strcasecmp(c->out, "Muster-Revision") == 0) {
        r->rev = strtoull(value, NULL, 10);
    } else if (strcasecmp(c->out, "Muster-Stale") == 0) {
        r->is_stale = strcmp(value, "true") == 0;
    } else if (strcasecmp(c->out, "ETag") == 0 && value[0] == '"') {
        r->etag = strtoull(value + 1, NULL, 10);
    } else if (strcasecmp(c->out, "Connection") == 0 && strcasecmp(value, "close") == 0) {
        c->was_used = -1;
    }
}

static int read_head(struct caller *c, struct reply *r)
{
    c->length = 0;
    c->is_chunked = 0;
    c->chunk_left = 0;
    if (raw_line(c) != 0 || strncmp(c->out, "HTTP/1.1 ", 9) != 0) {
        return -1;
    }
    int status = (int)strtol(c->out + 9, NULL, 10);
    for (;;) {
        if (raw_line(c) != 0) {
            return -1;
        }
        if (c->len == 0) {
            r->status = status;
            return 0;
        }
        take_header(c, r);
    }
}

static int read_body(struct caller *c, size_t length)
{
    c->len = 0;
    keep(c, '\0');
    c->len = 0;
    if (c->is_chunked) {
        int x;
        while ((x = body_byte(c)) >= 0) {
            keep(c, (char)x);
        }
        return x == -1 ? 0 : -1;
    }
    for (; length > 0; length--) {
        int x = byte(c);
        if (x < 0) {
            return -1;
        }
        keep(c, (char)x);
    }
    return 0;
}

static void take_code(struct reply *r)
{
    static const char mark[] = "\"code\":\"";
    const char *at = r->status >= 400 ? strstr(r->body, mark) : NULL;
    if (at != NULL) {
        at += sizeof(mark) - 1;
        snprintf(r->code, sizeof(r->code), "%.*s", (int)strcspn(at, "\""), at);
    }
}

/* 0: a request is on its way and the head of its answer was read. */
static int ask(struct caller *c, const char *method, const char *path, const char *headers,
               const char *body, struct reply *r)
{
    char head[2048];
    size_t body_len = body != NULL ? strlen(body) : 0;
    int n = snprintf(head, sizeof(head),
                     "%s %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: %zu\r\n%s\r\n", method, path,
                     c->where.host, c->where.port, body_len, headers);
    /* A connection that the server gave up while it was idle is seen before something is sent. */
    if (c->fd >= 0 && recv(c->fd, c->in, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) {
        hang_up(c);
    }
    if (c->fd < 0 && dial(c) != 0) {
        return -1;
    }
    r->was_sent = 1;
    if (send_all(c, head, (size_t)n) != 0 || send_all(c, body, body_len) != 0) {
        return -1;
    }
    return read_head(c, r);
}

struct reply caller_call(struct caller *c, const char *method, const char *path,
                         const char *headers, const char *body, int timeout_ms)
{
    struct reply r = {.body = ""};
    c->ends_at = caller_now_ns() + (int64_t)timeout_ms * 1000000;
    if (ask(c, method, path, headers, body, &r) != 0 ||
        (r.status != 204 && r.status != 304 && read_body(c, c->length) != 0)) {
        hang_up(c);
        r.status = 0;
        return r;
    }
    if (r.status == 204 || r.status == 304) {
        c->len = 0;
        keep(c, '\0');
        c->len = 0;
    }
    r.body = c->out;
    r.len = c->len;
    take_code(&r);
    if (c->was_used < 0) {
        hang_up(c);
    }
    return r;
}

struct reply caller_stream(struct caller *c, const char *path, const char *headers, int timeout_ms)
{
    struct reply r = {.body = ""};
    hang_up(c);
    c->ends_at = caller_now_ns() + (int64_t)timeout_ms * 1000000;
    if (ask(c, "GET", path, headers, NULL, &r) != 0) {
        r.status = 0;
    }
    if (r.status != 200) {
        hang_up(c);
    }
    return r;
}

const char *caller_line(struct caller *c, int timeout_ms)
{
    c->ends_at = caller_now_ns() + (int64_t)timeout_ms * 1000000;
    c->len = 0;
    for (;;) {
        int x = c->fd >= 0 ? body_byte(c) : -2;
        if (x < 0) {
            hang_up(c);
            return NULL;
        }
        keep(c, (char)x);
        if (x == '\n') {
            c->out[--c->len] = '\0';
            return c->out;
        }
    }
}
