/* SPDX-License-Identifier: Apache-2.0 */
/* Connections (RFC 7766): messages with a length before each, several on one connection, answers as
 * they are ready.
 *
 * A connection ends when the client closes it and nothing is owed, when it is idle for too long, or
 * when it says what cannot be read. Messages that still wait for a recursor then are answered to
 * nobody. */
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/dns/dns_impl.h"

enum { BACKLOG = 256, ACCEPT_BATCH = 32, LENGTH_SIZE = 2 };

struct dns_conn {
    uv_poll_t poll;
    int fd;
    struct dns_local *l;
    struct dns_conn *next, **prev;
    struct dns_client *forwards[DNS_CONN_FORWARDS_MAX];
    struct worker_timer idle;
    struct buf in, out;
    uint8_t address[16];
    size_t n_forwards;
    int events; /* polled for */
    int is_eof, is_closing;
};

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value));
}

int dns_tcp_bind(const struct sockaddr_storage *a, int is_shared, int *out_fd)
{
    int fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    socklen_t len =
        a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int bad = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    bad |= is_shared ? set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) : 0;
    bad |= a->ss_family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) : 0;
    bad |= set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (bad != 0 || bind(fd, (const struct sockaddr *)a, len) != 0 || listen(fd, BACKLOG) != 0) {
        int code = -errno;
        close(fd);
        return code;
    }
    *out_fd = fd;
    return 0;
}

/* --- one connection --- */

static void on_conn_closed(uv_handle_t *h)
{
    struct dns_conn *c = h->data;
    close(c->fd);
    buf_fini(&c->in);
    buf_fini(&c->out);
    mem_free(c);
}

static void conn_close(struct dns_conn *c)
{
    if (c->is_closing) {
        return;
    }
    c->is_closing = 1;
    for (size_t i = 0; i < c->n_forwards; i++) {
        c->forwards[i]->conn = NULL;
    }
    *c->prev = c->next;
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    c->l->n_conns--;
    worker_timer_stop(c->l->w, &c->idle);
    uv_close((uv_handle_t *)&c->poll, on_conn_closed);
}

static void on_idle(struct worker_timer *t)
{
    conn_close(CONTAINER_OF(t, struct dns_conn, idle));
}

static void on_events(uv_poll_t *poll, int status, int events);

static void poll_for(struct dns_conn *c)
{
    int events = c->out.len != 0 ? UV_WRITABLE : 0;
    if (!c->is_eof && c->out.len < DNS_CONN_QUEUED_MAX && c->n_forwards < DNS_CONN_FORWARDS_MAX) {
        events |= UV_READABLE;
    }
    if (events == 0 && c->n_forwards == 0) {
        conn_close(c);
        return;
    }
    if (events != c->events) {
        c->events = events;
        if (events == 0) {
            (void)uv_poll_stop(&c->poll);
        } else {
            (void)uv_poll_start(&c->poll, events, on_events);
        }
    }
}

/* 0, or -1 when the peer is gone. */
static int flush(struct dns_conn *c)
{
    while (c->out.len != 0) {
        ssize_t n = send(c->fd, c->out.p, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN ? 0 : -1;
        }
        buf_consume(&c->out, (size_t)n);
        worker_timer_start(c->l->w, &c->idle, DNS_CONN_IDLE_MS);
    }
    return 0;
}

static void queue(struct dns_conn *c, struct slice message)
{
    uint8_t len[LENGTH_SIZE] = {(uint8_t)(message.len >> 8), (uint8_t)message.len};
    buf_append(&c->out, len, sizeof(len));
    buf_append_slice(&c->out, message);
    dns_count(&c->l->n.answers, 1);
}

static void answer_one(struct dns_conn *c, void *look, struct slice message)
{
    struct dns_local *l = c->l;
    struct dns_reply r = {.out = l->message};
    struct dns_ask ask;
    struct dns_client client = {.l = l, .conn = c};
    dns_count(&l->n.tcp_queries, 1);
    dns_ask_begin(l, message, c->address, &ask);
    ask.look = look;
    ask.is_tcp = 1;
    enum dns_outcome outcome = dns_answer(&ask, &r);
    switch (outcome) {
    case DNS_SEND:
        queue(c, slice_of(r.out, r.out_len));
        return;
    case DNS_DROP:
        dns_count(&l->n.dropped, 1);
        return;
    default:
        memcpy(client.address, c->address, sizeof(client.address));
        if (dns_forward(&client, &ask, &r, outcome)) {
            queue(c, slice_of(r.out, r.out_len));
        }
        return;
    }
}

/* Everything that is whole; -1 when what comes is no message of ours. */
static int answer_whole(struct dns_conn *c)
{
    struct dns_local *l = c->l;
    size_t at = 0;
    int rc = 0;
    void *look = l->source->open(l->source);
    while (c->in.len - at >= LENGTH_SIZE && c->n_forwards < DNS_CONN_FORWARDS_MAX &&
           c->out.len < DNS_CONN_QUEUED_MAX) {
        const uint8_t *p = c->in.p + at;
        size_t len = (size_t)p[0] << 8 | p[1];
        if (len < DNS_HEAD_SIZE || len > DNS_QUERY_MAX) {
            rc = -1;
            break;
        }
        if (c->in.len - at - LENGTH_SIZE < len) {
            break;
        }
        answer_one(c, look, slice_of(p + LENGTH_SIZE, len));
        at += LENGTH_SIZE + len;
    }
    if (look != NULL) {
        l->source->close(l->source, look);
    }
    buf_consume(&c->in, at);
    return rc;
}

static int read_more(struct dns_conn *c)
{
    enum { READ = LENGTH_SIZE + DNS_QUERY_MAX };
    if (c->in.len < READ) {
        size_t room = READ - c->in.len;
        ssize_t n = recv(c->fd, buf_reserve(&c->in, room), room, MSG_DONTWAIT);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        }
        c->is_eof |= n == 0;
        c->in.len += (size_t)n;
    }
    return answer_whole(c);
}

static void on_events(uv_poll_t *poll, int status, int events)
{
    struct dns_conn *c = poll->data;
    int is_bad = status < 0;
    /* What was left when the queue was full goes on when it is sent. */
    if (!is_bad && (events & UV_WRITABLE) != 0) {
        is_bad = flush(c) != 0 || answer_whole(c) != 0;
    }
    if (!is_bad && (events & UV_READABLE) != 0) {
        is_bad = read_more(c) != 0;
    }
    if (is_bad || flush(c) != 0) {
        conn_close(c);
        return;
    }
    poll_for(c);
}

void dns_tcp_send(struct dns_conn *c, struct slice message)
{
    queue(c, message);
    if (flush(c) != 0 || answer_whole(c) != 0 || flush(c) != 0) {
        conn_close(c);
        return;
    }
    poll_for(c);
}

void dns_tcp_owe(struct dns_conn *c, struct dns_client *forward)
{
    MU_INVARIANT(c->n_forwards < DNS_CONN_FORWARDS_MAX);
    c->forwards[c->n_forwards++] = forward;
}

void dns_tcp_paid(struct dns_conn *c, const struct dns_client *forward)
{
    for (size_t i = 0; i < c->n_forwards; i++) {
        if (c->forwards[i] == forward) {
            c->forwards[i] = c->forwards[--c->n_forwards];
            return;
        }
    }
}

/* --- accepting --- */

static int is_welcome(const struct dns_local *l, const uint8_t address[16])
{
    size_t n = 0;
    for (const struct dns_conn *c = l->conns; c != NULL; c = c->next) {
        n += memcmp(c->address, address, 16) == 0;
    }
    return l->n_conns < DNS_CONNS_MAX && n < DNS_CONNS_OF_SOURCE_MAX;
}

static void take(struct dns_port *p, int fd, const struct sockaddr_storage *peer)
{
    struct dns_local *l = p->l;
    uint8_t address[16];
    dns_address_of(peer, address);
    if (!is_welcome(l, address)) {
        close(fd);
        dns_count(&l->n.dropped, 1);
        return;
    }
    struct dns_conn *c = mem_zalloc(sizeof(*c));
    c->fd = fd;
    c->l = l;
    memcpy(c->address, address, sizeof(address));
    c->poll.data = c;
    c->idle.fire = on_idle;
    MU_INVARIANT(uv_poll_init(worker_loop(l->w), &c->poll, fd) == 0);
    c->next = l->conns;
    c->prev = &l->conns;
    if (c->next != NULL) {
        c->next->prev = &c->next;
    }
    l->conns = c;
    l->n_conns++;
    dns_count(&l->n.tcp_connections, 1);
    worker_timer_start(l->w, &c->idle, DNS_CONN_IDLE_MS);
    poll_for(c);
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_rested(struct worker_timer *t)
{
    struct dns_port *p = CONTAINER_OF(t, struct dns_port, rest);
    if (p->is_open) {
        (void)uv_poll_start(&p->poll, UV_READABLE, on_acceptable);
    }
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct dns_port *p = poll->data;
    (void)status, (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof(peer);
        int fd = accept4(p->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take(p, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            (void)uv_poll_stop(&p->poll);
            p->rest.fire = on_rested;
            worker_timer_start(p->l->w, &p->rest, DNS_REST_MS);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

void dns_tcp_start(struct dns_port *p)
{
    p->poll.data = p;
    MU_INVARIANT(uv_poll_init(worker_loop(p->l->w), &p->poll, p->fd) == 0);
    p->is_open = 1;
    MU_INVARIANT(uv_poll_start(&p->poll, UV_READABLE, on_acceptable) == 0);
}

void dns_tcp_stop(struct dns_local *l)
{
    while (l->conns != NULL) {
        conn_close(l->conns);
    }
}

/* --- ports of both kinds --- */

static void on_port_closed(uv_handle_t *h)
{
    struct dns_port *p = h->data;
    close(p->fd);
    p->fd = -1;
}

void dns_port_stop(struct dns_port *p)
{
    if (p->is_open) {
        p->is_open = 0;
        worker_timer_stop(p->l->w, &p->rest);
        uv_close((uv_handle_t *)&p->poll, on_port_closed);
    }
}
