/* SPDX-License-Identifier: Apache-2.0 */
#include "stub.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 4096 };

struct stub {
    stub_fn fn;
    void *user;
    int listener;
    int stop[2]; /* readable once it is over */
    char url[64];
    pthread_t acceptor;
    pthread_mutex_t lock;
    int n_requests;
    int n_threads;
    pthread_t threads[CONNECTIONS_MAX];
};

struct connection {
    struct stub *s;
    int fd;
};

static int listen_any(int *out_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
        abort();
    }
    *out_port = ntohs(a.sin_port);
    return fd;
}

void stub_dead_url(char *out, size_t cap)
{
    int port = 0;
    close(listen_any(&port));
    snprintf(out, cap, "http://127.0.0.1:%d", port);
}

/* 1 when fd is readable, 0 when the stub is stopped. */
static int wait_readable(struct stub *s, int fd)
{
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = s->stop[0], .events = POLLIN}};
    while (poll(p, 2, -1) < 0) {
    }
    return p[1].revents == 0;
}

static bool read_some(struct connection *c, char *buf, size_t cap, size_t *len)
{
    if (*len >= cap || !wait_readable(c->s, c->fd)) {
        return false;
    }
    ssize_t n = recv(c->fd, buf + *len, cap - *len, 0);
    if (n <= 0) {
        return false;
    }
    *len += (size_t)n;
    return true;
}

static bool read_request(struct connection *c, struct stub_req *r)
{
    static const size_t cap = sizeof(r->head) + sizeof(r->body);
    char *buf = calloc(1, cap + 1);
    size_t len = 0, want = 0;
    char *end = NULL, length[32];
    bool ok = true;
    while (ok && (end = strstr(buf, "\r\n\r\n")) == NULL) {
        ok = read_some(c, buf, cap, &len);
    }
    if (ok) {
        size_t head = (size_t)(end + 4 - buf);
        memcpy(r->head, buf, head < sizeof(r->head) ? head : sizeof(r->head) - 1);
        sscanf(r->head, "%15s %8999s", r->method, r->target);
        if (stub_header(r, "Content-Length", length, sizeof(length))) {
            want = strtoul(length, NULL, 10);
        }
        while (ok && len < head + want) {
            ok = read_some(c, buf, cap, &len);
        }
        r->body_len = ok ? want : 0;
        memcpy(r->body, buf + head, r->body_len < sizeof(r->body) ? r->body_len : 0);
    }
    free(buf);
    return ok;
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    struct stub_req *r = calloc(1, sizeof(*r));
    r->stub = c->s;
    r->fd = c->fd;
    if (read_request(c, r)) {
        pthread_mutex_lock(&c->s->lock);
        r->n = c->s->n_requests++;
        pthread_mutex_unlock(&c->s->lock);
        c->s->fn(c->s->user, r);
    }
    shutdown(c->fd, SHUT_RDWR);
    close(c->fd);
    free(r);
    free(c);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct stub *s = arg;
    while (wait_readable(s, s->listener)) {
        struct connection *c = calloc(1, sizeof(*c));
        c->s = s;
        c->fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (c->fd < 0 || s->n_threads == CONNECTIONS_MAX) {
            abort();
        }
        pthread_create(&s->threads[s->n_threads++], NULL, serve, c);
    }
    return NULL;
}

struct stub *stub_start(stub_fn fn, void *user)
{
    struct stub *s = calloc(1, sizeof(*s));
    int port = 0;
    s->fn = fn;
    s->user = user;
    s->listener = listen_any(&port);
    snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", port);
    pthread_mutex_init(&s->lock, NULL);
    if (pipe(s->stop) != 0 || pthread_create(&s->acceptor, NULL, accept_all, s) != 0) {
        abort();
    }
    return s;
}

void stub_stop(struct stub *s)
{
    if (write(s->stop[1], "x", 1) != 1) {
        abort();
    }
    pthread_join(s->acceptor, NULL);
    for (int i = 0; i < s->n_threads; i++) {
        pthread_join(s->threads[i], NULL);
    }
    close(s->listener);
    close(s->stop[0]);
    close(s->stop[1]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

const char *stub_url(const struct stub *s)
{
    return s->url;
}

int stub_count(struct stub *s)
{
    pthread_mutex_lock(&s->lock);
    int n = s->n_requests;
    pthread_mutex_unlock(&s->lock);
    return n;
}

bool stub_send(const struct stub_req *r, const void *p, size_t len)
{
    const char *at = p;
    while (len > 0) {
        ssize_t n = send(r->fd, at, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

bool stub_text(const struct stub_req *r, const char *text)
{
    return stub_send(r, text, strlen(text));
}

void stub_answer(const struct stub_req *r, int status, const char *extra, const char *body)
{
    char head[1024];
    snprintf(head, sizeof(head),
             "HTTP/1.1 %d Some\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n", status,
             extra, strlen(body));
    if (stub_text(r, head)) {
        stub_text(r, body);
    }
}

bool stub_stream(const struct stub_req *r)
{
    return stub_text(r, "HTTP/1.1 200 OK\r\nConnection: close\r\n"
                        "Content-Type: text/event-stream\r\n\r\n");
}

void stub_hang(const struct stub_req *r)
{
    char c;
    while (wait_readable(r->stub, r->fd) && recv(r->fd, &c, 1, 0) > 0) {
    }
}

bool stub_header(const struct stub_req *r, const char *name, char *out, size_t cap)
{
    size_t n = strlen(name);
    for (const char *p = strstr(r->head, "\r\n"); p != NULL; p = strstr(p + 2, "\r\n")) {
        if (strncasecmp(p + 2, name, n) == 0 && p[2 + n] == ':') {
            const char *v = p + 3 + n + strspn(p + 3 + n, " ");
            snprintf(out, cap, "%.*s", (int)strcspn(v, "\r\n"), v);
            return true;
        }
    }
    return false;
}
