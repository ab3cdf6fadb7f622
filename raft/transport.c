/* SPDX-License-Identifier: Apache-2.0 */
/* The set of peers, the listener, and the two clocks: a flush before each poll, so that all frames of one loop turn leave
 * in one write, and a tick that dials and ends hand-shakes that take too long. */
#include "raft/transport.h"

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "raft/transport_impl.h"

struct peer *transport_peer_of(const struct transport *t, mu_node_id id)
{
    for (struct peer *p = t->peers; p != NULL; p = p->next) {
        if (p->id == id) {
            return p;
        }
    }
    return NULL;
}

int transport_is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET) {
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    }
    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

/* --- clocks --- */

static void on_flush(uv_prepare_t *h)
{
    struct transport *t = h->data;
    struct session *next;
    for (struct session *s = t->sessions; s != NULL; s = next) {
        next = s->next;
        if (s->out.len > 0) {
            session_flush(s);
        }
    }
}

static void on_tick(uv_timer_t *h)
{
    struct transport *t = h->data;
    int64_t now = clock_mono_ms();
    struct session *next;
    for (struct session *s = t->sessions; s != NULL; s = next) {
        next = s->next;
        if (s->state != SESSION_UP && now >= s->deadline_at) {
            session_close(s, "the hand-shake took too long");
        }
    }
    for (struct peer *p = t->peers; p != NULL; p = p->next) {
        if (p->out == NULL && now >= p->dial_at) {
            session_dial(t, p);
        }
    }
}

static void on_connection(uv_stream_t *h, int status)
{
    struct transport *t = h->data;
    if (status == 0 && !t->is_closing) {
        session_accept(t);
    }
}

/* --- open --- */

static int resolve_listen(const char *listen, struct sockaddr_storage *out, struct err *e)
{
    char host[256];
    const char *colon = strrchr(listen, ':');
    struct addrinfo *res, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    size_t n = colon != NULL ? (size_t)(colon - listen) : 0;
    if (n == 0 || n >= sizeof(host)) {
        return err_set(e, MU_E_BAD_REQUEST, "peer address %s is not host:port", listen);
    }
    int is_v6 = listen[0] == '[';
    snprintf(host, sizeof(host), "%.*s", (int)(is_v6 ? n - 2 : n), listen + is_v6);
    int rc = getaddrinfo(host, colon + 1, &hints, &res);
    if (rc != 0) {
        return err_set(e, MU_E_BAD_REQUEST, "peer address %s: %s", listen, gai_strerror(rc));
    }
    memcpy(out, res->ai_addr, res->ai_addrlen);
    freeaddrinfo(res);
    return 0;
}

static int listen_on(struct transport *t, struct err *e)
{
    struct sockaddr_storage a;
    const struct sockaddr *sa = (const struct sockaddr *)&a;
    int rc = resolve_listen(t->o.listen, &a, e);
    if (rc != 0) {
        return rc;
    }
    if (t->tls == NULL && !t->o.allow_plaintext && !transport_is_loopback(sa)) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "peer address %s is not a loopback address: give certificates (peer_tls.*) or say --peer-plaintext", t->o.listen);
    }
    rc = uv_tcp_bind(&t->listener, sa, 0);
    if (rc == 0) {
        rc = uv_listen((uv_stream_t *)&t->listener, 64, on_connection);
    }
    return rc == 0 ? 0 : err_set(e, MU_E_IO, "listening for peers on %s: %s", t->o.listen, uv_strerror(rc));
}

static char *copy_or_null(const char *s)
{
    return s != NULL ? mem_strdup(s) : NULL;
}

static int open_tls(struct transport *t, struct err *e)
{
    if (t->o.tls == NULL) {
        return 0;
    }
    t->tls_files = (struct tls_config){copy_or_null(t->o.tls->cert_file), copy_or_null(t->o.tls->key_file), copy_or_null(t->o.tls->ca_file)};
    t->scratch = mem_alloc(READ_BLOCK);
    return tls_context_new(&t->tls_files, &t->tls, e);
}

int transport_open(const struct transport_options *o, struct transport **out, struct err *e)
{
    struct transport *t = mem_zalloc(sizeof(*t));
    t->o = *o;
    t->self_name = mem_strdup(o->self_name);
    t->next_number = (uint64_t)clock_wall_ms() << 16; /* rises across restarts */
    uv_tcp_init(o->loop, &t->listener);
    uv_prepare_init(o->loop, &t->flush);
    uv_timer_init(o->loop, &t->tick);
    t->listener.data = t->flush.data = t->tick.data = t;
    t->n_open = 3;
    int rc = open_tls(t, e);
    if (rc == 0 && o->listen != NULL) {
        rc = listen_on(t, e);
    }
    if (rc != 0) {
        return rc; /* the caller ends; its loop's handles go with the process */
    }
    uv_prepare_start(&t->flush, on_flush);
    uv_timer_start(&t->tick, on_tick, 0, TICK_MS);
    *out = t;
    return 0;
}

/* --- close --- */

void transport_release(struct transport *t)
{
    if (--t->n_open > 0) {
        return;
    }
    while (t->peers != NULL) {
        struct peer *p = t->peers;
        t->peers = p->next;
        mem_free(p);
    }
    tls_context_free(t->tls);
    mem_free((void *)(uintptr_t)t->tls_files.cert_file);
    mem_free((void *)(uintptr_t)t->tls_files.key_file);
    mem_free((void *)(uintptr_t)t->tls_files.ca_file);
    mem_free(t->scratch);
    mem_free(t->self_name);
    void (*closed)(void *) = t->closed;
    void *arg = t->closed_arg;
    mem_free(t);
    closed(arg);
}

static void on_handle_closed(uv_handle_t *h)
{
    transport_release(h->data);
}

void transport_close(struct transport *t, void (*closed)(void *arg), void *arg)
{
    t->is_closing = 1;
    t->closed = closed;
    t->closed_arg = arg;
    while (t->sessions != NULL) {
        session_flush(t->sessions);
        if (t->sessions != NULL) {
            session_close(t->sessions, "this node stops");
        }
    }
    uv_close((uv_handle_t *)&t->listener, on_handle_closed);
    uv_close((uv_handle_t *)&t->flush, on_handle_closed);
    uv_close((uv_handle_t *)&t->tick, on_handle_closed);
}

/* --- peers --- */

static void peer_set(struct transport *t, const struct transport_peer *in)
{
    struct peer *p = transport_peer_of(t, in->id);
    if (p == NULL) {
        p = mem_zalloc(sizeof(*p));
        p->id = in->id;
        p->next = t->peers;
        t->peers = p;
    }
    int has_moved = strcmp(p->address, in->address) != 0 || strcmp(p->name, in->name) != 0;
    snprintf(p->name, sizeof(p->name), "%s", in->name);
    snprintf(p->address, sizeof(p->address), "%s", in->address);
    p->is_kept = 1;
    if (has_moved && p->out != NULL) {
        session_close(p->out, "the peer's address changed");
    }
}

void transport_set_peers(struct transport *t, const struct transport_peer *peers, size_t n)
{
    for (struct peer *p = t->peers; p != NULL; p = p->next) {
        p->is_kept = 0;
    }
    for (size_t i = 0; i < n; i++) {
        peer_set(t, &peers[i]);
    }
    struct peer **at = &t->peers;
    while (*at != NULL) {
        struct peer *p = *at;
        if (p->is_kept) {
            at = &p->next;
            continue;
        }
        if (p->out != NULL) {
            session_close(p->out, "no member any more");
        }
        if (p->in != NULL) {
            session_close(p->in, "no member any more");
        }
        *at = p->next;
        mem_free(p);
    }
}

int transport_send(struct transport *t, mu_node_id to, uint8_t type, const struct slice *parts, size_t n_parts)
{
    struct peer *p = transport_peer_of(t, to);
    if (p == NULL || p->out == NULL || p->out->state != SESSION_UP || t->is_closing) {
        return MU_E_CLOSED;
    }
    struct session *s = p->out;
    MU_INVARIANT(type < FRAME_HELLO_ACK);
    frame_append(&s->out, type, parts, n_parts);
    if (s->out.len + s->wire.len > TRANSPORT_QUEUE_MAX) {
        session_close(s, "the peer does not read: its queue is full");
        return MU_E_OVERLOADED;
    }
    return 0;
}

uint64_t transport_queued(const struct transport *t, mu_node_id to)
{
    const struct peer *p = transport_peer_of(t, to);
    return p != NULL && p->out != NULL ? p->out->out.len + p->out->wire.len : 0;
}

int transport_is_up(const struct transport *t, mu_node_id to)
{
    const struct peer *p = transport_peer_of(t, to);
    return p != NULL && p->out != NULL && p->out->state == SESSION_UP;
}

int transport_reload_tls(struct transport *t, struct err *e)
{
    struct tls_context *fresh;
    if (t->tls == NULL) {
        return 0;
    }
    int rc = tls_context_new(&t->tls_files, &fresh, e);
    if (rc == 0) {
        tls_context_free(t->tls);
        t->tls = fresh;
    }
    return rc;
}
