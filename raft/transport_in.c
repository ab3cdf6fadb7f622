/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that peers dialled to us; frames come only this way.
 *
 *   accept --TLS--> stranger --hello--> session          stranger --refused: ack with the reason-->
 * gone
 *
 * At most PEER_STRANGERS_MAX strangers wait at once, each for PEER_HANDSHAKE_MS; nothing of what
 * they send but one short hello is taken. A node has one session: the newest. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "raft/transport_addr.h"
#include "raft/transport_impl.h"

static const struct peer_conn_ops in_ops;

/* --- sessions --- */

static void forget(struct peer_in *s)
{
    struct transport *t = s->t;
    if (s->from == 0) {
        TAILQ_REMOVE(&t->strangers, s, entry);
        t->n_strangers--;
    } else {
        TAILQ_REMOVE(&t->ins, s, entry);
    }
    mem_free(s);
}

static void discard(struct peer_in *s)
{
    struct peer_conn *c = s->conn;
    forget(s);
    peer_conn_close(c);
}

/* Strangers may knock as often as they like: each reason is logged once in a while. */
static int is_log_due(struct transport *t, const char *why)
{
    uint64_t key = hash_xxh3(why, strlen(why), 0) | 1; /* 0: a free place */
    int64_t now = clock_mono_ms();
    size_t oldest = 0;
    for (size_t i = 0; i < PEER_LOG_REASONS; i++) {
        if (t->logged[i].key == key && now - t->logged[i].at < PEER_LOG_EVERY_MS) {
            return 0;
        }
        if (t->logged[i].key == key) {
            oldest = i;
            break;
        }
        oldest = t->logged[i].at < t->logged[oldest].at ? i : oldest;
    }
    t->logged[oldest].key = key;
    t->logged[oldest].at = now;
    return 1;
}

static void note_refusal(struct transport *t, const char *name, const char *address,
                         const char *why)
{
    t->stats.refused++;
    if (is_log_due(t, why)) {
        log_warn("transport", "connection refused", LOG_STR("peer", name),
                 LOG_STR("address", address), LOG_STR("why", why));
    }
}

static void on_lost(struct peer_conn *c, int is_refused, const char *why)
{
    struct peer_in *s = c->owner;
    (void)is_refused;
    if (s->from == 0) {
        note_refusal(c->t, "", c->address, why);
    } else {
        log_debug("transport", "session ended", LOG_STR("peer", s->name), LOG_STR("why", why));
    }
    forget(s);
}

static void refuse(struct peer_in *s, const struct peer_hello *h, struct peer_ack *a,
                   enum peer_refusal refusal)
{
    struct peer_conn *c = s->conn;
    note_refusal(s->t, h->name, c->address, peer_refusal_text(refusal));
    a->refusal = (uint16_t)refusal;
    peer_ack_put(&c->out, a);
    forget(s);
    peer_conn_end(c);
}

static struct peer_in *find(const struct transport *t, mu_node_id from)
{
    struct peer_in *s;
    TAILQ_FOREACH (s, &t->ins, entry) {
        if (s->from == from) {
            return s;
        }
    }
    return NULL;
}

static enum peer_refusal judge(const struct peer_in *s, const struct peer_hello *h,
                               const struct peer_ack *a)
{
    const struct transport *t = s->t;
    const struct peer_out *known = peer_out_find(t, h->from);
    const struct peer_in *other = find(t, h->from);
    if (a->version == 0) {
        return PEER_REFUSED_VERSION;
    }
    if (s->conn->tls != NULL && !peer_tls_is_named(s->conn->tls, h->name)) {
        return PEER_REFUSED_NAME;
    }
    if (!peer_is_same_cluster(a->cluster_id, h->cluster_id)) {
        return PEER_REFUSED_CLUSTER;
    }
    if (h->to != t->o.self || h->from == t->o.self) {
        return PEER_REFUSED_TARGET;
    }
    if (known != NULL && strcmp(known->name, h->name) != 0) {
        return PEER_REFUSED_NAME;
    }
    if (!t->o.is_allowed(t->o.arg, h->from, h->name)) {
        return PEER_REFUSED_MEMBER;
    }
    if (other != NULL && other->run == h->run && other->session >= h->session) {
        return PEER_REFUSED_STALE;
    }
    return PEER_WELCOME;
}

static void welcome(struct peer_in *s, const struct peer_hello *h, const struct peer_ack *a)
{
    struct transport *t = s->t;
    struct peer_in *old = find(t, h->from);
    if (old != NULL) {
        discard(old);
    }
    TAILQ_REMOVE(&t->strangers, s, entry);
    t->n_strangers--;
    s->from = h->from;
    s->run = h->run;
    s->session = h->session;
    memcpy(s->name, h->name, sizeof(s->name));
    TAILQ_INSERT_TAIL(&t->ins, s, entry);
    peer_conn_limit(s->conn, 0, NULL);
    peer_frame_reader_limit(&s->conn->in, TRANSPORT_FRAME_MAX);
    peer_ack_put(&s->conn->out, a);
    peer_conn_touch(s->conn);
    t->stats.sessions_in++;
}

static void on_hello(struct peer_in *s, uint8_t type, struct slice body)
{
    struct transport *t = s->t;
    struct peer_hello h;
    if (type != PEER_FRAME_TYPE_HELLO || peer_hello_read(body, &h) != 0) {
        peer_conn_lost(s->conn, 1, "it does not speak the peer protocol");
        return;
    }
    struct peer_ack a = {.from = t->o.self, .version = peer_version_of(&h)};
    t->o.cluster_id(t->o.arg, a.cluster_id);
    enum peer_refusal refusal = judge(s, &h, &a);
    if (refusal == PEER_WELCOME) {
        welcome(s, &h, &a);
    } else {
        refuse(s, &h, &a, refusal);
    }
}

static void on_frame(struct peer_conn *c, uint8_t type, struct slice body)
{
    struct peer_in *s = c->owner;
    struct transport *t = s->t;
    if (s->from == 0) {
        on_hello(s, type, body);
    } else if (type > PEER_FRAME_TYPE_MAX) {
        peer_conn_lost(c, 1, "a frame of the hand-shake inside a session");
    } else {
        t->o.receive(t->o.arg, s->from, type, body);
    }
}

static void on_opened(struct peer_conn *c)
{
    (void)c; /* the dialler speaks first */
}

static const struct peer_conn_ops in_ops = {
    .opened = on_opened,
    .frame = on_frame,
    .lost = on_lost,
};

void peer_in_check(struct transport *t)
{
    struct peer_in *s = TAILQ_FIRST(&t->ins);
    while (s != NULL) {
        struct peer_in *next = TAILQ_NEXT(s, entry);
        if (!t->o.is_allowed(t->o.arg, s->from, s->name)) {
            discard(s);
        }
        s = next;
    }
}

/* --- the listener --- */

static void add_stranger(struct transport *t, int fd)
{
    if (t->n_strangers >= PEER_STRANGERS_MAX) {
        struct peer_in *oldest = TAILQ_FIRST(&t->strangers);
        note_refusal(t, "", oldest->conn->address,
                     "too many connections without a hello: the oldest goes");
        discard(oldest);
    }
    struct peer_in *s = mem_zalloc(sizeof(*s));
    s->t = t;
    s->conn = peer_conn_new(t, fd, &in_ops, s);
    TAILQ_INSERT_TAIL(&t->strangers, s, entry);
    t->n_strangers++;
    t->stats.accepted++;
    peer_conn_accept(s->conn);
}

static void on_incoming(uv_poll_t *p, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    struct transport *t = timer->data;
    (void)uv_poll_start(&t->listener, UV_READABLE, on_incoming);
}

/* 0: taken, or gone before we looked; else -errno. */
static int accept_one(struct transport *t)
{
    int fd = accept4(t->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return errno == ECONNABORTED || errno == EINTR ? 0 : -errno;
    }
    if (peer_socket_options(fd) != 0) {
        close(fd); /* reset already */
    } else {
        add_stranger(t, fd);
    }
    return 0;
}

static void on_incoming(uv_poll_t *p, int status, int events)
{
    struct transport *t = p->data;
    int rc = status;
    (void)events;
    for (int i = 0; i < PEER_ACCEPTS_AT_ONCE && rc == 0; i++) {
        rc = accept_one(t);
    }
    if (rc != 0 && rc != -EAGAIN) {
        /* No descriptors or no memory: the next try would fail as well, and at once. */
        note_refusal(t, "", "", uv_strerror(rc));
        (void)uv_poll_stop(&t->listener);
        uv_timer_start(&t->accept_timer, on_pause_over, PEER_ACCEPT_PAUSE_MS, 0);
    }
}

static int bind_to(struct transport *t, const struct sockaddr *sa, socklen_t len, struct err *e)
{
    const int on = 1;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_set(e, MU_E_IO, "peer listener %s: %s", t->o.listen, strerror(errno));
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, sa, len) != 0 || listen(fd, PEER_STRANGERS_MAX) != 0) {
        int rc = err_set(e, MU_E_IO, "peer listener %s: %s", t->o.listen, strerror(errno));
        close(fd);
        return rc;
    }
    t->listen_fd = fd;
    return 0;
}

int peer_in_listen(struct transport *t, struct err *e)
{
    struct peer_addr a;
    struct addrinfo *list = NULL;
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int rc = peer_addr_parse(t->o.listen, &a, e);
    if (rc != 0) {
        return err_wrap(e, "peer listener");
    }
    rc = getaddrinfo(a.host, a.port, &hints, &list);
    if (rc != 0) {
        return err_set(e, MU_E_IO, "peer listener %s: %s", t->o.listen, gai_strerror(rc));
    }
    if (!transport_is_plain_ok(t, list->ai_addr)) {
        rc = err_set(e, MU_E_BAD_REQUEST,
                     "peer listener %s: not a loopback address, and no TLS between peers is "
                     "configured (nor plaintext allowed)",
                     t->o.listen);
    } else {
        rc = bind_to(t, list->ai_addr, list->ai_addrlen, e);
    }
    freeaddrinfo(list);
    return rc;
}

int peer_in_start(struct transport *t)
{
    int rc = uv_poll_init(t->o.loop, &t->listener, t->listen_fd);
    if (rc != 0) {
        return rc;
    }
    uv_timer_init(t->o.loop, &t->accept_timer);
    t->listener.data = t->accept_timer.data = t;
    t->n_handles += 2;
    return uv_poll_start(&t->listener, UV_READABLE, on_incoming);
}

static void on_handle_closed(uv_handle_t *h)
{
    transport_one_closed(h->data);
}

static void on_listener_closed(uv_handle_t *h)
{
    struct transport *t = h->data;
    close(t->listen_fd);
    transport_one_closed(t);
}

void peer_in_stop(struct transport *t)
{
    while (!TAILQ_EMPTY(&t->strangers)) {
        discard(TAILQ_FIRST(&t->strangers));
    }
    while (!TAILQ_EMPTY(&t->ins)) {
        discard(TAILQ_FIRST(&t->ins));
    }
    if (t->listen_fd >= 0) {
        uv_close((uv_handle_t *)&t->listener, on_listener_closed);
        uv_close((uv_handle_t *)&t->accept_timer, on_handle_closed);
    }
}
