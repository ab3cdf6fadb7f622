/* SPDX-License-Identifier: Apache-2.0 */
/* The session to one peer, dialled by us; frames go only this way. The states are drawn in
 * transport_impl.h. Whatever fails goes through failed(): the connection closes, the user is told
 * when the session had been up, and after a random moment it is dialled again.
 *
 * The peer is who we think when its certificate names it (with TLS) and its ack carries its id. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "raft/transport_addr.h"
#include "raft/transport_impl.h"

static const struct peer_conn_ops out_ops;

struct peer_out *peer_out_find(const struct transport *t, mu_node_id id)
{
    struct peer_out *o;
    LIST_FOREACH (o, &t->outs, entry) {
        if (o->id == id) {
            return o;
        }
    }
    return NULL;
}

/* --- failure --- */

/* Once per reason, and again after a while: it may stay so for days. */
static void log_down(struct peer_out *o, const char *why)
{
    int64_t now = clock_mono_ms();
    int is_same = strcmp(o->why, why) == 0;
    int64_t every = o->was_up ? PEER_LOG_UP_MS : PEER_LOG_EVERY_MS;
    (void)snprintf(o->why, sizeof(o->why), "%s", why);
    if (is_same && o->logged_at != 0 && now - o->logged_at < every) {
        return;
    }
    o->logged_at = now;
    o->was_up = 0;
    o->is_down_logged = 1;
    log_warn("transport", "peer unreachable", LOG_STR("peer", o->name),
             LOG_STR("address", o->address), LOG_STR("why", why));
}

static void on_retry(uv_timer_t *timer);

static void retry_later(struct peer_out *o, int is_refused)
{
    uint64_t ms = PEER_RETRY_MIN_MS + rnd_below(PEER_RETRY_MAX_MS - PEER_RETRY_MIN_MS + 1);
    o->state = PEER_WAIT;
    uv_timer_start(&o->timer, on_retry, is_refused ? ms * PEER_RETRY_REFUSED : ms, 0);
}

/* Out of UP or any step on the way there. The caller tells the user. */
static void fall(struct peer_out *o, int is_refused, const char *why)
{
    if (o->conn != NULL) {
        peer_conn_close(o->conn);
        o->conn = NULL;
    }
    log_down(o, why);
    retry_later(o, is_refused);
}

static void failed(struct peer_out *o, int is_refused, const char *why)
{
    int was_up = o->state == PEER_UP;
    fall(o, is_refused, why);
    if (was_up) {
        o->is_down_due = 1;
        peer_out_tell(o);
    }
}

void peer_out_tell(struct peer_out *o)
{
    struct transport *t = o->t;
    if (o->is_down_due) {
        o->is_down_due = 0;
        if (!t->is_closing) {
            t->o.session(t->o.arg, o->id, 0);
        }
    }
}

static void on_lost(struct peer_conn *c, int is_refused, const char *why)
{
    struct peer_out *o = c->owner;
    o->conn = NULL;
    failed(o, is_refused, why);
}

/* --- dialling --- */

static void dial_to(struct peer_out *o, const struct sockaddr *sa)
{
    char text[PEER_ADDR_TEXT], why[PEER_WHY_MAX];
    peer_addr_format(sa, text);
    if (!transport_is_plain_ok(o->t, sa)) {
        (void)snprintf(why, sizeof(why),
                       "%s is not a loopback address: refused without TLS between peers", text);
        failed(o, 1, why);
        return;
    }
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd < 0 ? uv_translate_sys_error(errno) : peer_socket_options(fd);
    if (rc < 0) {
        if (fd >= 0) {
            close(fd);
        }
        failed(o, 0, uv_strerror(rc));
        return;
    }
    o->state = PEER_CONNECT;
    o->conn = peer_conn_new(o->t, fd, &out_ops, o);
    rc = peer_conn_dial(o->conn, sa);
    if (rc != 0) {
        failed(o, 0, uv_strerror(rc));
    }
}

static void free_when_unused(struct peer_out *o)
{
    if (o->is_dropped && o->is_timer_closed && !o->is_resolving) {
        struct transport *t = o->t;
        mem_free(o->name);
        mem_free(o->address);
        mem_free(o);
        transport_one_closed(t);
    }
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct peer_out *o = req->data;
    o->is_resolving = 0;
    if (o->is_dropped) {
        free_when_unused(o);
    } else if (o->state != PEER_RESOLVE) {
        /* The address changed meanwhile; on_retry comes back to it. */
    } else if (status != 0) {
        failed(o, 0, uv_strerror(status));
    } else {
        unsigned n = 0;
        for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
            n++;
        }
        const struct addrinfo *a = list;
        for (unsigned i = o->n_dials % n; i > 0; i--) {
            a = a->ai_next;
        }
        dial_to(o, a->ai_addr); /* each dial tries the next one */
    }
    uv_freeaddrinfo(list);
}

static void on_retry(uv_timer_t *timer)
{
    struct peer_out *o = timer->data;
    struct peer_addr a;
    struct sockaddr_storage sa;
    struct err e = {0};
    if (o->is_resolving) {
        retry_later(o, 0);
        return;
    }
    o->n_dials++;
    if (peer_addr_parse(o->address, &a, &e) != 0) {
        failed(o, 1, e.text);
        return;
    }
    if (peer_addr_literal(&a, &sa) == 0) {
        dial_to(o, (const struct sockaddr *)&sa);
        return;
    }
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int rc = uv_getaddrinfo(o->t->o.loop, &o->resolve, on_resolved, a.host, a.port, &hints);
    if (rc != 0) {
        failed(o, 0, uv_strerror(rc));
        return;
    }
    o->state = PEER_RESOLVE;
    o->is_resolving = 1;
}

/* --- the hand-shake --- */

static void on_opened(struct peer_conn *c)
{
    struct peer_out *o = c->owner;
    struct transport *t = o->t;
    if (c->tls != NULL && !peer_tls_is_named(c->tls, o->name)) {
        failed(o, 1, "its certificate does not carry this peer's name");
        return;
    }
    o->session = ++t->sessions;
    struct peer_hello h = {
        .version_min = PEER_VERSION_MIN,
        .version_max = PEER_VERSION_MAX,
        .from = t->o.self,
        .to = o->id,
        .run = t->run,
        .session = o->session,
    };
    (void)snprintf(h.name, sizeof(h.name), "%s", t->o.self_name);
    t->o.cluster_id(t->o.arg, h.cluster_id);
    peer_hello_put(&c->out, &h);
    peer_conn_touch(c);
    o->state = PEER_HELLO;
}

static void take_ack(struct peer_out *o, const struct peer_ack *a)
{
    struct transport *t = o->t;
    uint8_t own[sizeof(a->cluster_id)];
    t->o.cluster_id(t->o.arg, own);
    if (a->refusal != PEER_WELCOME) {
        char why[PEER_WHY_MAX];
        (void)snprintf(why, sizeof(why), "it refused us: %s", peer_refusal_text(a->refusal));
        failed(o, 1, why);
    } else if (a->from != o->id) {
        failed(o, 1, "another node answered");
    } else if (!peer_is_same_cluster(own, a->cluster_id)) {
        failed(o, 1, "it belongs to another cluster");
    } else if (a->version < PEER_VERSION_MIN || a->version > PEER_VERSION_MAX) {
        failed(o, 1, peer_refusal_text(PEER_REFUSED_VERSION));
    } else {
        peer_conn_limit(o->conn, 0, NULL);
        o->state = PEER_UP;
        o->was_up = 1;
        t->stats.sessions_out++;
        if (o->is_down_logged || o->logged_at == 0) {
            o->is_down_logged = 0;
            log_info("transport", "peer reached", LOG_STR("peer", o->name),
                     LOG_STR("address", o->conn->address));
        }
        t->o.session(t->o.arg, o->id, 1);
    }
}

static void on_frame(struct peer_conn *c, uint8_t type, struct slice body)
{
    struct peer_out *o = c->owner;
    struct peer_ack a;
    if (o->state != PEER_HELLO || type != PEER_FRAME_TYPE_ACK || peer_ack_read(body, &a) != 0) {
        failed(o, 1, "it does not speak the peer protocol");
        return;
    }
    take_ack(o, &a);
}

static const struct peer_conn_ops out_ops = {
    .opened = on_opened,
    .frame = on_frame,
    .lost = on_lost,
};

/* --- for transport.c --- */

void peer_out_add(struct transport *t, const struct transport_peer *p)
{
    struct peer_out *o = mem_zalloc(sizeof(*o));
    o->t = t;
    o->id = p->id;
    o->name = mem_strdup(p->name);
    o->address = mem_strdup(p->address);
    uv_timer_init(t->o.loop, &o->timer);
    o->timer.data = o->resolve.data = o;
    t->n_handles++;
    LIST_INSERT_HEAD(&t->outs, o, entry);
    uv_timer_start(&o->timer, on_retry, 0, 0);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct peer_out *o = h->data;
    o->is_timer_closed = 1;
    free_when_unused(o);
}

void peer_out_drop(struct peer_out *o)
{
    o->is_dropped = 1;
    LIST_REMOVE(o, entry);
    if (o->conn != NULL) {
        peer_conn_close(o->conn);
        o->conn = NULL;
    }
    if (o->is_resolving) {
        (void)uv_cancel((uv_req_t *)&o->resolve); /* or it comes to its end */
    }
    uv_close((uv_handle_t *)&o->timer, on_timer_closed);
}

void peer_out_move(struct peer_out *o, const char *address)
{
    mem_free(o->address);
    o->address = mem_strdup(address);
    o->is_down_due |= o->state == PEER_UP;
    fall(o, 0, "its address changed");
    uv_timer_start(&o->timer, on_retry, 0, 0);
    transport_wake(o->t);
}

int peer_out_send(struct peer_out *o, uint8_t type, const struct slice *parts, size_t n_parts)
{
    if (o->state != PEER_UP) {
        return MU_E_CLOSED;
    }
    size_t len = PEER_FRAME_HEAD + peer_frame_len(parts, n_parts);
    if (peer_conn_queued(o->conn) + len > TRANSPORT_QUEUE_MAX) {
        o->t->stats.overflows++;
        o->is_down_due = 1;
        fall(o, 0, "it does not take what we send: the queue is full");
        transport_wake(o->t);
        return MU_E_OVERLOADED;
    }
    peer_frame_put(&o->conn->out, type, parts, n_parts);
    peer_conn_touch(o->conn);
    o->t->stats.frames_out++;
    o->t->stats.bytes_out += len;
    return 0;
}
