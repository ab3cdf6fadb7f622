/* SPDX-License-Identifier: Apache-2.0 */
/* One session. Failure at any step ends in session_close: the peer's dial time is set, the handles close, the last one frees. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "raft/transport_impl.h"

static void session_free_if_unused(struct session *s)
{
    if (--s->n_open > 0) {
        return;
    }
    struct transport *t = s->t;
    buf_fini(&s->in);
    buf_fini(&s->out);
    buf_fini(&s->wire);
    tls_pump_free(s->tls);
    mem_free(s);
    transport_release(t);
}

static void on_closed(uv_handle_t *h)
{
    session_free_if_unused(h->data);
}

static struct session *session_new(struct transport *t, struct peer *p)
{
    struct session *s = mem_zalloc(sizeof(*s));
    s->t = t;
    s->peer = p;
    s->is_dialled = p != NULL;
    s->deadline_at = clock_mono_ms() + HANDSHAKE_MS;
    uv_tcp_init(t->o.loop, &s->tcp);
    s->tcp.data = s->connect.data = s->resolve.data = s->write.data = s;
    s->n_open = 1;
    t->n_open++;
    s->next = t->sessions;
    s->prev = &t->sessions;
    if (s->next != NULL) {
        s->next->prev = &s->next;
    }
    t->sessions = s;
    if (t->tls != NULL) {
        s->tls = tls_pump_new(t->tls, p != NULL ? p->name : NULL);
    }
    return s;
}

/* Say a reason once, not at every retry. */
static void note_reason(struct peer *p, const char *why)
{
    if (strcmp(p->last_reason, why) != 0) {
        snprintf(p->last_reason, sizeof(p->last_reason), "%s", why);
        log_debug("peer", "no session", LOG_STR("peer", p->name), LOG_STR("address", p->address), LOG_STR("why", why));
    }
}

void session_close(struct session *s, const char *why)
{
    if (s->state == SESSION_CLOSED) {
        return;
    }
    int was_up = s->state == SESSION_UP;
    struct peer *p = s->peer;
    struct transport *t = s->t;
    if (!s->is_dialled && s->id == 0) {
        t->n_strangers--;
    }
    s->state = SESSION_CLOSED;
    *s->prev = s->next;
    if (s->next != NULL) {
        s->next->prev = s->prev;
    }
    if (p != NULL && s->is_dialled) {
        p->out = NULL;
        p->dial_at = clock_mono_ms() + RETRY_MIN_MS + (int64_t)rnd_below(RETRY_MAX_MS - RETRY_MIN_MS);
        note_reason(p, why != NULL ? why : "closed");
    } else if (p != NULL && p->in == s) {
        p->in = NULL;
    }
    s->peer = NULL;
    uv_close((uv_handle_t *)&s->tcp, on_closed);
    if (was_up && s->is_dialled && !t->is_closing) {
        t->o.session(t->o.arg, p->id, 0);
    }
}

/* --- writing --- */

static void on_written(uv_write_t *w, int status)
{
    struct session *s = w->data;
    s->is_writing = 0;
    buf_clear(&s->wire);
    if (s->wire.cap > KEEP_BUFFER) {
        buf_fini(&s->wire);
    }
    if (status != 0) {
        session_close(s, uv_strerror(status));
    }
    session_free_if_unused(s);
}

static int wire_fill(struct session *s)
{
    if (s->tls == NULL) {
        struct buf t = s->wire;
        s->wire = s->out;
        s->out = t;
        buf_clear(&s->out);
        return 0;
    }
    struct err e = {0};
    int rc = tls_pump_out(s->tls, buf_slice(&s->out), &e);
    buf_clear(&s->out);
    if (rc != 0) {
        session_close(s, e.text);
        return rc;
    }
    tls_pump_take(s->tls, &s->wire);
    return 0;
}

void session_flush(struct session *s)
{
    if (s->is_writing || s->state == SESSION_CLOSED || s->state == SESSION_DIALLING) {
        return;
    }
    if (wire_fill(s) != 0 || s->wire.len == 0) {
        return;
    }
    uv_buf_t b = uv_buf_init((char *)s->wire.p, (unsigned)s->wire.len);
    int n = uv_try_write((uv_stream_t *)&s->tcp, &b, 1);
    if (n == (int)s->wire.len) {
        buf_clear(&s->wire);
        return;
    }
    if (n < 0 && n != UV_EAGAIN) {
        session_close(s, uv_strerror(n));
        return;
    }
    if (n > 0) {
        b.base += n;
        b.len -= (size_t)n;
    }
    n = uv_write(&s->write, (uv_stream_t *)&s->tcp, &b, 1, on_written);
    if (n != 0) {
        session_close(s, uv_strerror(n));
        return;
    }
    s->is_writing = 1;
    s->n_open++;
}

/* --- the hand-shake --- */

static void hello_send(struct session *s)
{
    struct transport *t = s->t;
    struct hello h = {.version_min = HELLO_VERSION, .version_max = HELLO_VERSION, .from = t->o.self, .to = s->peer->id};
    h.session = s->number = ++t->next_number;
    snprintf(h.name, sizeof(h.name), "%s", t->self_name);
    t->o.cluster_id(t->o.arg, h.cluster_id);
    hello_append(&s->out, &h);
    s->state = SESSION_HELLO;
    session_flush(s);
}

static int cluster_differs(struct transport *t, const uint8_t theirs[16])
{
    static const uint8_t zero[16];
    uint8_t ours[16];
    t->o.cluster_id(t->o.arg, ours);
    return memcmp(ours, zero, 16) != 0 && memcmp(theirs, zero, 16) != 0 && memcmp(ours, theirs, 16) != 0;
}

static const char *hello_refusal(struct session *s, const struct hello *h)
{
    struct transport *t = s->t;
    if (h->version_min > HELLO_VERSION || h->version_max < HELLO_VERSION) {
        return "no protocol version in common";
    }
    if (h->to != t->o.self) {
        return "the address belongs to another node than the one dialled";
    }
    if (cluster_differs(t, h->cluster_id)) {
        return "another cluster";
    }
    if (s->tls != NULL && !tls_pump_is_node(s->tls, h->name)) {
        return "the certificate does not name this node";
    }
    if (!t->o.is_allowed(t->o.arg, h->from, h->name)) {
        return "not a member";
    }
    return NULL;
}

static void take_hello(struct session *s, struct slice body)
{
    struct hello h;
    if (hello_parse(body, &h) != 0) {
        session_close(s, "malformed hello");
        return;
    }
    const char *why = hello_refusal(s, &h);
    if (why != NULL) {
        log_debug("peer", "session refused", LOG_STR("from", h.name), LOG_STR("why", why));
        hello_ack_append(&s->out, why);
        session_flush(s);
        session_close(s, why);
        return;
    }
    s->id = h.from;
    s->number = h.session;
    s->t->n_strangers--;
    s->state = SESSION_UP;
    s->peer = transport_peer_of(s->t, h.from);
    if (s->peer != NULL) {
        if (s->peer->in != NULL) {
            session_close(s->peer->in, "replaced by a newer session");
        }
        s->peer->in = s;
    }
    hello_ack_append(&s->out, "");
    session_flush(s);
}

static void take_ack(struct session *s, struct slice body)
{
    char reason[REASON_MAX];
    if (hello_ack_parse(body, reason) != 0) {
        session_close(s, "malformed answer to the hello");
        return;
    }
    if (reason[0] != '\0') {
        session_close(s, reason);
        return;
    }
    s->state = SESSION_UP;
    s->id = s->peer->id;
    s->peer->last_reason[0] = '\0';
    s->t->o.session(s->t->o.arg, s->id, 1);
}

/* --- reading --- */

static void take_frame(struct session *s, const struct frame *f)
{
    if (s->state == SESSION_HELLO && !s->is_dialled && f->type == FRAME_HELLO) {
        take_hello(s, f->body);
    } else if (s->state == SESSION_HELLO && s->is_dialled && f->type == FRAME_HELLO_ACK) {
        take_ack(s, f->body);
    } else if (s->state == SESSION_UP && !s->is_dialled && f->type < FRAME_HELLO_ACK) {
        s->t->o.receive(s->t->o.arg, s->id, f->type, f->body);
    } else {
        session_close(s, "frame out of place");
    }
}

static void parse_frames(struct session *s)
{
    size_t at = 0;
    /* Before the hello nobody gets much memory. */
    while (s->state != SESSION_CLOSED) {
        struct frame f;
        size_t max = s->state == SESSION_UP ? TRANSPORT_FRAME_MAX : 512;
        int rc = frame_parse(slice_of(s->in.p + at, s->in.len - at), max, &f);
        if (rc == 0) {
            break;
        }
        if (rc < 0) {
            session_close(s, rc == MU_E_TOO_LARGE ? "frame too large" : "frame damaged");
            return;
        }
        at += f.size;
        take_frame(s, &f);
    }
    buf_consume(&s->in, at);
    if (s->in.len == 0 && s->in.cap > KEEP_BUFFER) {
        buf_fini(&s->in);
    }
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct session *s = h->data;
    (void)suggested;
    uint8_t *at = s->tls != NULL ? s->t->scratch : buf_reserve(&s->in, READ_BLOCK);
    *out = uv_buf_init((char *)at, READ_BLOCK);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct session *s = stream->data;
    if (n < 0) {
        session_close(s, n == UV_EOF ? "closed by the peer" : uv_strerror((int)n));
        return;
    }
    if (s->tls != NULL) {
        struct err e = {0};
        int rc = tls_pump_in(s->tls, slice_of(b->base, (size_t)n), &s->in, &e);
        session_flush(s); /* hand-shake records, alerts */
        if (rc != 0) {
            session_close(s, e.text);
            return;
        }
    } else {
        s->in.len += (size_t)n;
    }
    parse_frames(s);
}

static void tune(struct session *s)
{
    uv_os_fd_t fd;
    unsigned ms = USER_TIMEOUT_MS;
    uv_tcp_nodelay(&s->tcp, 1);
    uv_tcp_keepalive(&s->tcp, 1, 10);
    if (uv_fileno((uv_handle_t *)&s->tcp, &fd) == 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
    }
}

static int start_reading(struct session *s)
{
    tune(s);
    int rc = uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
    if (rc != 0) {
        session_close(s, uv_strerror(rc));
    }
    return rc;
}

struct session *session_accept(struct transport *t)
{
    struct session *s = session_new(t, NULL);
    t->n_strangers++;
    s->state = SESSION_HELLO;
    int rc = uv_accept((uv_stream_t *)&t->listener, (uv_stream_t *)&s->tcp);
    if (rc != 0 || t->n_strangers > STRANGERS_MAX) {
        session_close(s, rc != 0 ? uv_strerror(rc) : "too many unknown sessions");
        return NULL;
    }
    return start_reading(s) == 0 ? s : NULL;
}

/* --- dialling --- */

static void on_connected(uv_connect_t *c, int status)
{
    struct session *s = c->data;
    if (s->state == SESSION_DIALLING) {
        if (status != 0) {
            session_close(s, uv_strerror(status));
        } else if (start_reading(s) == 0) {
            hello_send(s);
        }
    }
    session_free_if_unused(s);
}

static void connect_to(struct session *s, const struct sockaddr *a)
{
    if (s->t->tls == NULL && !s->t->o.allow_plaintext && !transport_is_loopback(a)) {
        session_close(s, "plaintext is for loopback addresses only");
        return;
    }
    int rc = uv_tcp_connect(&s->connect, &s->tcp, a, on_connected);
    if (rc != 0) {
        session_close(s, uv_strerror(rc));
        return;
    }
    s->n_open++;
}

static void on_resolved(uv_getaddrinfo_t *r, int status, struct addrinfo *res)
{
    struct session *s = r->data;
    if (s->state == SESSION_DIALLING) {
        if (status != 0) {
            session_close(s, uv_strerror(status));
        } else {
            connect_to(s, res->ai_addr);
        }
    }
    uv_freeaddrinfo(res);
    session_free_if_unused(s);
}

/* host:port or [v6]:port into its parts. */
static int split_address(const char *address, char host[256], char port[8])
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || strlen(colon + 1) >= 8 || colon == address) {
        return -1;
    }
    size_t n = (size_t)(colon - address);
    if (address[0] == '[' && colon[-1] == ']') {
        address++;
        n -= 2;
    }
    if (n == 0 || n >= 256) {
        return -1;
    }
    memcpy(host, address, n);
    host[n] = '\0';
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return 0;
}

void session_dial(struct transport *t, struct peer *p)
{
    char host[256], port[8];
    uint64_t number = 0;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct session *s = session_new(t, p);
    p->out = s;
    s->state = SESSION_DIALLING;
    if (split_address(p->address, host, port) != 0 || text_u64(slice_str(port), 65535, &number) != 0) {
        session_close(s, "the address is not host:port");
        return;
    }
    if (uv_ip4_addr(host, (int)number, &v4) == 0) {
        connect_to(s, (const struct sockaddr *)&v4);
        return;
    }
    if (uv_ip6_addr(host, (int)number, &v6) == 0) {
        connect_to(s, (const struct sockaddr *)&v6);
        return;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int rc = uv_getaddrinfo(t->o.loop, &s->resolve, on_resolved, host, port, &hints);
    if (rc != 0) {
        session_close(s, uv_strerror(rc));
        return;
    }
    s->n_open++;
}
