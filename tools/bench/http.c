/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 clients for muster and Consul. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tools/bench/load.h"

enum { REQUEST_MAX = 128 * 1024, ANSWER_MAX = 256 * 1024, ANSWER_START = 2048 };

struct conn {
    int fd, number;
    uint64_t started_at;
    char *answer;
    size_t answer_len, answer_cap;
    char (*leases)[17]; /* of this client, for keep-alives */
};

static char request[REQUEST_MAX], value[65536];

/* --- requests --- */

static int head(char *out, const char *method, const char *path, const char *type, size_t body_len)
{
    return snprintf(
        out, REQUEST_MAX,
        "%s %s HTTP/1.1\r\nHost: bench\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", method,
        path, type, body_len);
}

static size_t with_body(const char *method, const char *path, const char *type, const char *body,
                        size_t len)
{
    int n = head(request, method, path, type, len);
    memcpy(request + n, body, len);
    return (size_t)n + len;
}

static size_t make_get(const char *path)
{
    return (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n",
                            path);
}

/* Another value each time: an equal one would be no change, and cost nothing. */
static void stamp_value(struct load *l)
{
    uint64_t number = l->serial++;
    for (int i = 0; i < 16; i++, number >>= 4) {
        value[i] = "0123456789abcdef"[number & 15];
    }
}

static size_t make_muster(struct load *l, struct conn *c)
{
    char path[160], body[LOAD_BATCH * 20 + 64];
    unsigned long long key = load_random(l) % LOAD_KEYS;
    int n = 0;
    switch (l->op) {
    case LOAD_PUT:
        snprintf(path, sizeof(path), "/api/v1/configs/bench/key%08llu", key);
        stamp_value(l);
        return with_body("PUT", path, "text/plain", value, l->value_bytes);
    case LOAD_GET:
        snprintf(path, sizeof(path), "/api/v1/configs/bench/key%08llu", key);
        return make_get(path);
    case LOAD_REGISTER:
        snprintf(path, sizeof(path), "/api/v1/services/bench%llu/instances/i%llu", key % 100,
                 (unsigned long long)l->serial++);
        n = snprintf(body, sizeof(body), "{\"address\":\"10.0.0.1\",\"port\":80,\"ttl\":\"10m\"}");
        return with_body("PUT", path, "application/json", body, (size_t)n);
    case LOAD_KEEPALIVE:
        n = snprintf(body, sizeof(body), "{\"leases\":[");
        for (int i = 0; i < LOAD_BATCH; i++) {
            n += snprintf(body + n, sizeof(body) - (size_t)n, "%s\"%s\"", i != 0 ? "," : "",
                          c->leases[i]);
        }
        n += snprintf(body + n, sizeof(body) - (size_t)n, "]}");
        return with_body("POST", "/api/v1/leases:keepalive", "application/json", body, (size_t)n);
    default:
        load_die("the API of muster has no such operation");
    }
}

static size_t make_consul(struct load *l)
{
    char path[160], body[512];
    unsigned long long key = load_random(l) % LOAD_KEYS;
    switch (l->op) {
    case LOAD_PUT:
        snprintf(path, sizeof(path), "/v1/kv/bench/key%08llu", key);
        stamp_value(l);
        return with_body("PUT", path, "text/plain", value, l->value_bytes);
    case LOAD_GET:
    case LOAD_GET_DEFAULT:
    case LOAD_GET_STALE:
        snprintf(path, sizeof(path), "/v1/kv/bench/key%08llu%s", key,
                 l->op == LOAD_GET         ? "?consistent"
                 : l->op == LOAD_GET_STALE ? "?stale"
                                           : "");
        return make_get(path);
    case LOAD_AGENT: {
        unsigned long long id = l->serial++ % LOAD_AGENT_IDS;
        int n =
            snprintf(body, sizeof(body), "{\"ID\":\"a%llu\",\"Name\":\"agent%llu\",\"Port\":%llu}",
                     id, id % 10, (unsigned long long)(1 + load_random(l) % 60000));
        return with_body("PUT", "/v1/agent/service/register", "application/json", body, (size_t)n);
    }
    case LOAD_REGISTER:
    case LOAD_REGISTER_CHECK: {
        char check[160] = "";
        unsigned long long id = l->serial++;
        if (l->op == LOAD_REGISTER_CHECK) {
            snprintf(
                check, sizeof(check),
                ",\"Check\":{\"CheckID\":\"service:i%llu\",\"Name\":\"up\",\"Status\":\"passing\",\"ServiceID\":\"i%llu\"}",
                id, id);
        }
        int n = snprintf(
            body, sizeof(body),
            "{\"Node\":\"bench%llu\",\"Address\":\"10.0.0.1\",\"Service\":{\"ID\":\"i%llu\",\"Service\":\"bench%llu\",\"Port\":80}%s}",
            key % 100, id, key % 100, check);
        return with_body("PUT", "/v1/catalog/register", "application/json", body, (size_t)n);
    }
    default:
        load_die("Consul has no such operation here");
    }
}

static void conn_send(struct load *l, struct conn *c)
{
    size_t len = l->server == LOAD_MUSTER ? make_muster(l, c) : make_consul(l);
    c->started_at = load_now();
    for (size_t at = 0; at < len;) {
        ssize_t n = send(c->fd, request + at, len - at, MSG_NOSIGNAL);
        if (n > 0) {
            at += (size_t)n;
        } else if (errno != EAGAIN && errno != EINTR) {
            load_die("send");
        }
    }
}

/* --- answers --- */

/* Length of a whole answer at the start of the buffer; 0 = not whole. */
static size_t answer_size(const char *p, size_t len, int *out_status)
{
    const char *end = memmem(p, len, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    size_t head_len = (size_t)(end - p) + 4;
    const char *cl = memmem(p, head_len, "ontent-Length: ", 15);
    size_t body = cl != NULL ? strtoul(cl + 15, NULL, 10) : 0;
    if (cl == NULL && memmem(p, head_len, "chunked", 7) != NULL) {
        const char *last = memmem(p + head_len, len - head_len, "0\r\n\r\n", 5);
        body = last != NULL ? (size_t)(last - p) - head_len + 5 : ANSWER_MAX;
    }
    *out_status = (int)strtol(p + 9, NULL, 10);
    return head_len + body <= len ? head_len + body : 0;
}

static void answer_grow(struct conn *c, size_t cap)
{
    c->answer = realloc(c->answer, cap);
    if (c->answer == NULL || cap > 4 * ANSWER_MAX) {
        load_die("answer too large");
    }
    memset(c->answer + c->answer_cap, 0, cap - c->answer_cap);
    c->answer_cap = cap;
}

/* 1 when a whole answer came; its status. */
static int conn_read(struct conn *c, int *out_status)
{
    for (;;) {
        if (c->answer_cap == c->answer_len) {
            answer_grow(c, c->answer_cap != 0 ? c->answer_cap * 2 : ANSWER_START);
        }
        ssize_t n = recv(c->fd, c->answer + c->answer_len, c->answer_cap - c->answer_len, 0);
        if (n == 0) {
            load_die("the server closed a connection");
        }
        if (n < 0) {
            return 0;
        }
        c->answer_len += (size_t)n;
        if (answer_size(c->answer, c->answer_len, out_status) != 0) {
            return 1;
        }
    }
}

static void on_event(struct load *l, void *p, uint32_t events)
{
    struct conn *c = p;
    int status = 0;
    (void)events;
    if (conn_read(c, &status)) {
        int is_get = l->op == LOAD_GET || l->op == LOAD_GET_DEFAULT || l->op == LOAD_GET_STALE;
        int is_ok = (status >= 200 && status < 300) || (is_get && status == 404);
        load_record(l, c->started_at, is_ok, l->op == LOAD_KEEPALIVE ? LOAD_BATCH : 1);
        c->answer_len = 0;
        conn_send(l, c);
    }
}

static void wait_answer(struct conn *c, int *out_status)
{
    while (!conn_read(c, out_status)) {
        struct timespec t = {0, 200000};
        nanosleep(&t, NULL);
    }
}

/* Leases for a client's keep-alives, granted before the clock runs. */
static void grant_leases(struct conn *c)
{
    static const char body[] = "{\"ttl\":\"10m\"}";
    c->leases = calloc(LOAD_BATCH, sizeof(*c->leases));
    for (int i = 0; i < LOAD_BATCH; i++) {
        int status = 0;
        size_t len =
            with_body("POST", "/api/v1/leases", "application/json", body, sizeof(body) - 1);
        if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len) {
            load_die("send");
        }
        wait_answer(c, &status);
        const char *id = memmem(c->answer, c->answer_len, "\"id\":\"", 6);
        if (status != 201 || id == NULL) {
            load_die("a lease was not granted");
        }
        memcpy(c->leases[i], id + 6, 16);
        c->answer_len = 0;
    }
}

static struct conn *open_conns(struct load *l, int n)
{
    struct conn *all = calloc((size_t)n, sizeof(*all));
    memset(value, 'x', sizeof(value));
    for (int i = 0; i < n; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = load_connect(l->ports[i % l->n_ports]);
        all[i].number = i;
        answer_grow(&all[i], ANSWER_START); /* here, and not while somebody is measured */
        if (l->op == LOAD_KEEPALIVE) {
            grant_leases(&all[i]);
        }
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, all[i].fd, &e);
    }
    l->serial = load_now() / 1000;
    return all;
}

void load_run_http(struct load *l)
{
    struct conn *all = open_conns(l, l->clients);
    for (int i = 0; i < l->clients; i++) {
        conn_send(l, &all[i]);
    }
    load_loop(l, on_event);
}

/* --- long-polls --- */

static void simple(struct conn *c, size_t len, int *out_status)
{
    c->answer_len = 0;
    if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len) {
        load_die("send");
    }
    wait_answer(c, out_status);
    c->answer[c->answer_len < c->answer_cap ? c->answer_len : c->answer_cap - 1] = '\0';
}

/* The header that says which version the waiter has. */
static void version_of(const struct load *l, const struct conn *c, char out[64])
{
    const char *name = l->server == LOAD_MUSTER ? "ETag: " : "X-Consul-Index: ";
    const char *at = strstr(c->answer, name);
    if (at == NULL) {
        load_die("no version in the answer");
    }
    snprintf(out, 64, "%.*s", (int)strcspn(at + strlen(name), "\r"), at + strlen(name));
}

static size_t make_wait(const struct load *l, const char *version)
{
    if (l->server == LOAD_MUSTER) {
        return (size_t)snprintf(
            request, sizeof(request),
            "GET /api/v1/configs/bench/watched?wait=60s HTTP/1.1\r\nHost: bench\r\nIf-None-Match: %s\r\n\r\n",
            version);
    }
    return (size_t)snprintf(
        request, sizeof(request),
        "GET /v1/kv/bench/watched?index=%s&wait=60s HTTP/1.1\r\nHost: bench\r\n\r\n", version);
}

static size_t make_write(const struct load *l, const char *key)
{
    char path[100];
    snprintf(path, sizeof(path),
             l->server == LOAD_MUSTER ? "/api/v1/configs/bench/%s" : "/v1/kv/bench/%s", key);
    return with_body("PUT", path, "text/plain", value, 64);
}

static struct conn *park_all(struct load *l, int n, struct conn *writer)
{
    char version[64];
    int status = 0;
    writer->fd = load_connect(l->ports[0]);
    memset(value, 'x', sizeof(value));
    simple(writer, make_write(l, "watched"), &status);
    simple(writer,
           make_get(l->server == LOAD_MUSTER ? "/api/v1/configs/bench/watched"
                                             : "/v1/kv/bench/watched"),
           &status);
    version_of(l, writer, version);
    struct conn *all = open_conns(l, n);
    for (int i = 0; i < n; i++) {
        size_t len = make_wait(l, version);
        if (send(all[i].fd, request, len, MSG_NOSIGNAL) != (ssize_t)len) {
            load_die("send");
        }
    }
    sleep(2);
    return all;
}

/* Waits for answers until `want` came or the time is over; returns how many. */
static int collect(struct load *l, int want, double seconds, uint64_t *out_last, uint64_t *out_half)
{
    int got = 0;
    uint64_t begun = load_now();
    struct epoll_event ev[256];
    while (got < want && (double)(load_now() - begun) < seconds * 1e9) {
        int n = epoll_wait(l->epoll, ev, 256, 20);
        for (int i = 0; i < n; i++) {
            int status = 0;
            if (conn_read(ev[i].data.ptr, &status)) {
                *out_last = load_now();
                *out_half = ++got == (want + 1) / 2 ? *out_last : *out_half;
            }
        }
    }
    return got;
}

void load_fan_out(struct load *l, int n, int port_write)
{
    struct conn writer = {0};
    uint64_t last = 0, half = 0;
    int status = 0;
    (void)port_write;
    park_all(l, n, &writer);
    simple(&writer, make_write(l, "another"), &status);
    int woken = collect(l, 1, 0.5, &last, &half);
    memset(value, 'y', sizeof(value)); /* the same value again would be no change for Consul */
    uint64_t t0 = load_now();
    last = t0;
    simple(&writer, make_write(l, "watched"), &status);
    int got = collect(l, n, 20, &last, &half);
    printf("{\"waiters\":%d,\"answered\":%d,\"woken_by_another_key\":%d,\"median_ms\":%.3f,"
           "\"last_ms\":%.3f}\n",
           n, got, woken, (double)(half - t0) / 1e6, (double)(last - t0) / 1e6);
}

void load_park(struct load *l, int n)
{
    struct conn writer = {0};
    park_all(l, n, &writer);
    printf("{\"parked\":%d}\n", n);
    fflush(stdout);
    sleep((unsigned)l->seconds);
}
