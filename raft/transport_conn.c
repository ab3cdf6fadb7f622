/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: bytes between the socket, TLS and the frame reader.
 *
 *   new --dial: TCP--> [TLS] --opened--> frames --lost, or the owner closes--> closed
 *                                          |
 *                                          +--end: last bytes, FIN--> draining --EOF, 500 ms-->
 * closed
 *
 * What is queued in a turn of the loop leaves as one write at its end: first as much as the socket
 * takes at once, the rest through libuv, while more collects in `out`. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "raft/transport_addr.h"
#include "raft/transport_impl.h"

/* --- life --- */

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

int peer_socket_options(int fd)
{
    enum { KEEPALIVE_S = 1, KEEPALIVE_PROBES = 3 };
    if (set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) != 0 ||
        set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, PEER_DEAD_MS) != 0 ||
        set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1) != 0 ||
        set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S) != 0 ||
        set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_S) != 0 ||
        set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES) != 0) {
        return -errno;
    }
    return 0;
}

struct peer_conn *peer_conn_new(struct transport *t, int fd, const struct peer_conn_ops *ops,
                                void *owner)
{
    struct peer_conn *c = mem_zalloc(sizeof(*c));
    c->t = t;
    c->ops = ops;
    c->owner = owner;
    int rc = uv_tcp_init(t->o.loop, &c->tcp);
    MU_INVARIANT(rc == 0);
    rc = uv_tcp_open(&c->tcp, fd);
    MU_INVARIANT(rc == 0); /* it can only say that fd is no socket */
    uv_timer_init(t->o.loop, &c->timer);
    c->tcp.data = c->timer.data = c->connect.data = c->write.data = c;
    c->n_handles = 2;
    t->n_handles++; /* for both */
    peer_frame_reader_init(&c->in, PEER_HELLO_MAX);
    buf_init(&c->out);
    buf_init(&c->cipher);
    buf_init(&c->wire);
    LIST_INSERT_HEAD(&t->conns, c, entry);
    return c;
}

static void on_closed(uv_handle_t *h)
{
    struct peer_conn *c = h->data;
    if (--c->n_handles > 0) {
        return;
    }
    struct transport *t = c->t;
    peer_frame_reader_fini(&c->in);
    buf_fini(&c->wire);
    mem_free(c);
    transport_one_closed(t);
}

void peer_conn_close(struct peer_conn *c)
{
    if (c->is_closed) {
        return;
    }
    c->is_closed = 1;
    c->t->n_draining -= c->is_draining;
    if (c->is_dirty) {
        LIST_REMOVE(c, dirty);
        c->is_dirty = 0;
    }
    LIST_REMOVE(c, entry);
    peer_tls_free(c->tls);
    c->tls = NULL;
    buf_fini(&c->out);
    buf_fini(&c->cipher);
    uv_close((uv_handle_t *)&c->timer, on_closed);
    uv_close((uv_handle_t *)&c->tcp, on_closed); /* the reader's buffer may be in use until then */
}

void peer_conn_lost(struct peer_conn *c, int is_refused, const char *why)
{
    if (c->is_closed) {
        return;
    }
    int is_owned = !c->is_silent;
    peer_conn_close(c);
    if (is_owned) {
        c->ops->lost(c, is_refused, why);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct peer_conn *c = timer->data;
    char why[PEER_WHY_MAX];
    (void)snprintf(why, sizeof(why), "%s took more than %d ms", c->phase, c->phase_ms);
    peer_conn_lost(c, 0, why);
}

void peer_conn_limit(struct peer_conn *c, int ms, const char *phase)
{
    c->phase = phase;
    c->phase_ms = ms;
    if (ms > 0) {
        uv_timer_start(&c->timer, on_timer, (uint64_t)ms, 0);
    } else {
        uv_timer_stop(&c->timer);
    }
}

/* --- output --- */

void peer_conn_touch(struct peer_conn *c)
{
    if (!c->is_dirty && !c->is_closed) {
        c->is_dirty = 1;
        LIST_INSERT_HEAD(&c->t->dirty, c, dirty);
        transport_wake(c->t);
    }
}

size_t peer_conn_queued(const struct peer_conn *c)
{
    size_t n = c->out.len - c->out_at + c->cipher.len;
    return n + (c->is_writing ? uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) : 0);
}

static void empty(struct buf *b)
{
    if (b->cap > PEER_BUF_KEEP) {
        buf_fini(b);
    } else {
        buf_clear(b);
    }
}

static void swap(struct buf *a, struct buf *b)
{
    struct buf c = *a;
    *a = *b;
    *b = c;
}

/* Fill c->wire, which is empty, with what may leave next. */
static void fill_wire(struct peer_conn *c)
{
    if (c->tls == NULL) {
        if (c->is_open) {
            swap(&c->out, &c->wire);
        }
        return;
    }
    if (c->is_open) {
        size_t n = c->out.len - c->out_at;
        n = n < PEER_CRYPT_BYTES ? n : PEER_CRYPT_BYTES;
        peer_tls_write(c->tls, slice_of(c->out.p + c->out_at, n));
        c->out_at += n;
        if (c->out_at == c->out.len) {
            empty(&c->out);
            c->out_at = 0;
        }
    }
    swap(&c->cipher, &c->wire);
}

static void on_written(uv_write_t *req, int status)
{
    struct peer_conn *c = req->data;
    c->is_writing = 0;
    if (c->is_closed) {
        return; /* its memory goes with the handle */
    }
    if (status < 0) {
        peer_conn_lost(c, 0, uv_strerror(status));
        return;
    }
    empty(&c->wire);
    peer_conn_flush(c);
}

/* 1 when all of c->wire is with the kernel, else it is on its way, or c is lost. */
static int write_wire(struct peer_conn *c)
{
    uv_buf_t b = {.base = (char *)c->wire.p, .len = c->wire.len};
    int n = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
    if (n == UV_EAGAIN) {
        n = 0;
    }
    if (n >= 0 && (size_t)n == c->wire.len) {
        empty(&c->wire);
        return 1;
    }
    if (n >= 0) {
        b.base += n;
        b.len -= (size_t)n;
        n = uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, on_written);
        c->is_writing = n == 0;
    }
    if (n < 0) {
        peer_conn_lost(c, 0, uv_strerror(n));
    }
    return 0;
}

void peer_conn_flush(struct peer_conn *c)
{
    if (c->is_dirty) {
        LIST_REMOVE(c, dirty);
        c->is_dirty = 0;
    }
    while (!c->is_closed && !c->is_writing) {
        fill_wire(c);
        if (c->wire.len == 0 || !write_wire(c)) {
            return;
        }
    }
}

/* Our FIN after the last byte; then read on for a moment, so that unread input does not turn what
 * we said last into a reset. */
static int start_draining(struct peer_conn *c)
{
    int fd = -1;
    if (c->is_writing || c->t->n_draining >= PEER_STRANGERS_MAX ||
        uv_fileno((const uv_handle_t *)&c->tcp, &fd) != 0 || shutdown(fd, SHUT_WR) != 0) {
        return 0;
    }
    c->is_draining = 1;
    c->t->n_draining++;
    peer_conn_limit(c, PEER_DRAIN_MS, "the end");
    return 1;
}

void peer_conn_end(struct peer_conn *c)
{
    if (c->is_closed || c->is_silent) {
        return;
    }
    c->is_silent = 1;
    peer_conn_flush(c);
    if (!c->is_closed && c->tls != NULL) {
        peer_tls_close(c->tls);
        peer_conn_flush(c);
    }
    if (!c->is_closed && !start_draining(c)) {
        peer_conn_close(c);
    }
}

/* --- input --- */

static void give_frames(struct peer_conn *c)
{
    uint8_t type = 0;
    struct slice body;
    int rc = 0;
    while (!c->is_closed && !c->is_silent &&
           (rc = peer_frame_reader_next(&c->in, &type, &body)) == 1) {
        c->t->stats.frames_in++;
        c->ops->frame(c, type, body);
    }
    if (rc < 0) {
        peer_conn_lost(c, 0,
                       rc == MU_E_TOO_LARGE ? "a frame is longer than allowed"
                                            : "the checksum of a frame is wrong");
    }
}

static void tls_ended(struct peer_conn *c)
{
    char why[PEER_WHY_MAX];
    if (peer_tls_state(c->tls) == PEER_TLS_ENDED) {
        peer_conn_lost(c, 0, "closed by the other side");
        return;
    }
    (void)snprintf(why, sizeof(why), "TLS: %s", peer_tls_why(c->tls));
    const struct peer_conn_ops *ops = c->ops;
    peer_conn_end(c); /* with the alert that says why */
    ops->lost(c, 1, why);
}

static void opened(struct peer_conn *c)
{
    c->is_open = 1;
    c->ops->opened(c);
}

/* Everything OpenSSL makes of what it was fed. */
static void pump_tls(struct peer_conn *c)
{
    size_t n = 1;
    while (n > 0 && !c->is_closed && !c->is_silent) {
        size_t cap = 0;
        uint8_t *to = peer_frame_reader_room(&c->in, &cap);
        n = peer_tls_read(c->tls, to, cap);
        if (!c->is_open && peer_tls_state(c->tls) == PEER_TLS_OPEN) {
            opened(c);
        }
        if (n > 0 && !c->is_closed && !c->is_silent) {
            peer_frame_reader_add(&c->in, n);
            give_frames(c);
        }
    }
    if (c->is_closed || c->is_silent) {
        return;
    }
    if (peer_tls_state(c->tls) >= PEER_TLS_ENDED) {
        tls_ended(c);
    } else if (c->cipher.len > 0) {
        peer_conn_touch(c);
    }
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct peer_conn *c = h->data;
    (void)suggested;
    if (c->tls != NULL || c->is_silent) {
        out->base = (char *)c->t->scratch;
        out->len = PEER_SCRATCH;
    } else {
        size_t cap = 0;
        out->base = (char *)peer_frame_reader_room(&c->in, &cap);
        out->len = cap;
    }
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct peer_conn *c = s->data;
    if (n < 0) {
        peer_conn_lost(c, 0, n == UV_EOF ? "closed by the other side" : uv_strerror((int)n));
        return;
    }
    if (n == 0 || c->is_silent) {
        return;
    }
    c->t->stats.bytes_in += (uint64_t)n;
    if (c->tls != NULL) {
        peer_tls_feed(c->tls, slice_of(b->base, (size_t)n));
        pump_tls(c);
    } else {
        peer_frame_reader_add(&c->in, (size_t)n);
        give_frames(c);
    }
}

/* TCP is there. */
static void start(struct peer_conn *c)
{
    int rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    if (rc != 0) {
        peer_conn_lost(c, 0, uv_strerror(rc));
        return;
    }
    peer_conn_limit(c, PEER_HANDSHAKE_MS, "the hand-shake");
    if (c->t->tls == NULL) {
        opened(c);
        return;
    }
    c->tls = peer_tls_new(c->t->tls, !c->is_dialled, &c->cipher);
    if (c->is_dialled) {
        pump_tls(c); /* the dialler speaks first */
    }
}

static void on_connected(uv_connect_t *req, int status)
{
    struct peer_conn *c = req->data;
    if (status < 0) {
        peer_conn_lost(c, 0, uv_strerror(status));
    } else if (!c->is_closed) {
        start(c);
    }
}

int peer_conn_dial(struct peer_conn *c, const struct sockaddr *to)
{
    c->is_dialled = 1;
    peer_addr_format(to, c->address);
    peer_conn_limit(c, PEER_CONNECT_MS, "connecting");
    return uv_tcp_connect(&c->connect, &c->tcp, to, on_connected);
}

void peer_conn_accept(struct peer_conn *c)
{
    struct sockaddr_storage sa = {0};
    int len = sizeof(sa);
    (void)uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&sa, &len);
    peer_addr_format((const struct sockaddr *)&sa, c->address);
    start(c);
}
