/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of a worker: bytes between the socket, TLS and server/http.
 *
 *   OPEN --close asked--> CLOSING --all written: FIN--> LINGER --peer's FIN, or 2 s--> gone any
 * --error, cut--> gone
 *
 * Output is collected in `out` during a turn and written once: right after the input that caused
 * it, else at the end of the turn. What the kernel does not take goes to uv_write in pieces, each
 * freed when it is out; more output collects meanwhile. What all connections of the worker hold
 * like this is counted (account): http refuses large answers by it, and above twice its limit a
 * connection that adds to it is cut. http_conn_* is never entered from inside one of its own calls:
 * failures noticed there are remembered (is_broken) and dealt with by net_conn_settle. */
#include "server/net/net_impl.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

enum net_phase { NET_OPEN, NET_CLOSING, NET_LINGER, NET_GONE };

struct net_write {
    uv_write_t req;
    struct net_conn *c;
    size_t len;
    uint8_t bytes[];
};

struct net_conn {
    union {
        uv_tcp_t tcp;
        uv_pipe_t local; /* of a unix socket */
    };
    struct worker *w;
    struct net_conn *next, **prev;             /* of all connections of the worker */
    struct net_conn *dirty_next, **dirty_prev; /* in worker.dirty when dirty_prev is set */
    struct http_conn *http; /* NULL before the TLS handshake is done and after the end */
    struct tls *tls;
    struct worker_timer timer;
    struct buf out;
    uint64_t given;      /* to the kernel or to uv_write */
    uint64_t last_taken; /* when the timer was started */
    size_t held;         /* its part of the worker's bytes_held */
    uint32_t source;
    uint32_t lingered;  /* bytes read and thrown away at the end */
    uint32_t n_writing; /* pieces that uv_write has */
    uint8_t phase;      /* enum net_phase */
    uint8_t is_broken, is_eof, is_reading, is_in_handshake, is_tls_unread;
    char peer[46];
};

static const struct http_conn_ops conn_ops;

struct net_conn *net_conn_next(const struct net_conn *c)
{
    return c->next;
}

static void mark_dirty(struct net_conn *c)
{
    if (c->dirty_prev == NULL) {
        struct net_conn **head = &c->w->dirty;
        c->dirty_next = *head;
        c->dirty_prev = head;
        if (*head != NULL) {
            (*head)->dirty_prev = &c->dirty_next;
        }
        *head = c;
    }
}

static void unmark_dirty(struct net_conn *c)
{
    if (c->dirty_prev != NULL) {
        *c->dirty_prev = c->dirty_next;
        if (c->dirty_next != NULL) {
            c->dirty_next->dirty_prev = c->dirty_prev;
        }
        c->dirty_prev = NULL;
    }
}

/* --- the end --- */

static void end_handshake(struct net_conn *c)
{
    if (c->is_in_handshake) {
        c->is_in_handshake = 0;
        c->w->n_handshakes--;
    }
}

static void on_closed(uv_handle_t *h)
{
    struct net_conn *c = h->data;
    c->w->n_closing--;
    mem_free(c);
}

static void destroy(struct net_conn *c)
{
    struct worker *w = c->w;
    if (c->phase == NET_GONE) {
        return;
    }
    c->phase = NET_GONE;
    unmark_dirty(c);
    worker_timer_stop(w, &c->timer);
    end_handshake(c);
    *c->prev = c->next;
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    w->n_conns--;
    w->n_closing++;
    sources_leave(&w->all->sources, c->source);
    atomic_fetch_sub_explicit(&w->all->n_connections, 1, memory_order_relaxed);
    net_count(&w->n.connections, (uint64_t)-1);
    net_count(&w->n.bytes_held, 0 - (uint64_t)c->held);
    if (c->http != NULL) {
        struct http_conn *http = c->http;
        c->http = NULL;
        http_conn_gone(http);
    }
    tls_free(c->tls);
    buf_fini(&c->out);
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_linger_end(struct worker_timer *t)
{
    destroy(CONTAINER_OF(t, struct net_conn, timer));
}

static void start_reading(struct net_conn *c);

/* Everything is written: say so, and read on for a moment so that unread input does not turn our
 * last bytes into a reset. */
static void linger(struct net_conn *c)
{
    int fd = -1;
    c->phase = NET_LINGER;
    if (c->is_eof || uv_fileno((const uv_handle_t *)&c->tcp, &fd) != 0 ||
        shutdown(fd, SHUT_WR) != 0) {
        destroy(c);
        return;
    }
    c->timer.fire = on_linger_end;
    worker_timer_start(c->w, &c->timer, NET_LINGER_MS);
    start_reading(c);
}

/* --- output --- */

static size_t queued_pieces(const struct net_conn *c)
{
    return c->n_writing > 0 ? uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) : 0;
}

static size_t queued(const struct net_conn *c)
{
    return c->out.len + queued_pieces(c);
}

/* How much the peer has taken so far: what the kernel still holds is not counted, as its buffers
 * move in steps that a slow line needs minutes for. */
static uint64_t taken(const struct net_conn *c)
{
    int fd = -1;
    int unsent = 0;
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) != 0 || ioctl(fd, SIOCOUTQ, &unsent) != 0) {
        unsent = 0;
    }
    return c->given - queued_pieces(c) - (uint64_t)unsent;
}

/* Memory for those who do not read has an end. Whoever takes what it is given is never cut here: it
 * leaves nothing behind. */
static void account(struct net_conn *c)
{
    struct worker *w = c->w;
    size_t n = queued(c);
    uint64_t all = atomic_load_explicit(&w->n.bytes_held, memory_order_relaxed);
    if (n > c->held && c->n_writing > 0 && all - c->held >= 2 * w->all->limits.held_output_bytes) {
        c->is_broken = 1;
    }
    net_count(&w->n.bytes_held, (uint64_t)n - c->held);
    c->held = n;
}

/* A connection's output buffer goes back to the worker when it is empty; an idle connection holds
 * none. */
static void give_back_out(struct net_conn *c)
{
    if (c->w->spare.cap == 0 && c->out.cap <= NET_SPARE_BYTES) {
        c->w->spare = c->out;
        buf_clear(&c->w->spare);
    } else {
        buf_fini(&c->out);
    }
    buf_init(&c->out);
}

static void borrow_out(struct net_conn *c)
{
    if (c->out.cap == 0) {
        c->out = c->w->spare;
        buf_init(&c->w->spare);
    }
}

static void on_written(uv_write_t *req, int status);

/* What the kernel did not take waits for room. */
static void write_later(struct net_conn *c, const uint8_t *p, size_t len)
{
    while (len > 0) {
        size_t n = len < NET_PIECE_BYTES ? len : NET_PIECE_BYTES;
        struct net_write *wr = mem_alloc(sizeof(*wr) + n);
        wr->c = c;
        wr->req.data = wr;
        wr->len = n;
        memcpy(wr->bytes, p, n);
        uv_buf_t b = uv_buf_init((char *)wr->bytes, (unsigned)n);
        if (uv_write(&wr->req, (uv_stream_t *)&c->tcp, &b, 1, on_written) != 0) {
            c->is_broken = 1;
            mem_free(wr);
            return;
        }
        c->n_writing++;
        c->given += n;
        p += n;
        len -= n;
    }
}

static int try_write(struct net_conn *c, const uv_buf_t *bufs, unsigned n)
{
    int sent = uv_try_write((uv_stream_t *)&c->tcp, bufs, n);
    if (sent == UV_EAGAIN) {
        return 0;
    }
    if (sent < 0) {
        c->is_broken = 1;
        return 0;
    }
    net_count(&c->w->n.bytes_out, (uint64_t)sent);
    c->given += (uint64_t)sent;
    return sent;
}

static void flush(struct net_conn *c)
{
    if (c->n_writing > 0 || c->out.len == 0 || c->is_broken) {
        return;
    }
    uv_buf_t b = uv_buf_init((char *)c->out.p, (unsigned)c->out.len);
    size_t sent = (size_t)try_write(c, &b, 1);
    if (!c->is_broken) {
        write_later(c, c->out.p + sent, c->out.len - sent);
        give_back_out(c);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct net_write *wr = req->data;
    struct net_conn *c = wr->c;
    size_t len = wr->len;
    mem_free(wr);
    if (c->phase == NET_GONE) {
        return;
    }
    c->n_writing--;
    if (status != 0) {
        c->is_broken = 1;
    } else {
        net_count(&c->w->n.bytes_out, len);
        flush(c);
        account(c);
        if (c->n_writing == 0 && c->out.len == 0 && c->http != NULL && !c->is_broken) {
            http_conn_drained(c->http);
        }
    }
    mark_dirty(c);
}

/* Big and nothing before it: straight from the caller's memory. Only what the kernel leaves is
 * copied. */
static void write_direct(struct net_conn *c, const struct slice *parts, size_t n)
{
    uv_buf_t bufs[4];
    for (size_t i = 0; i < n; i++) {
        bufs[i] = uv_buf_init((char *)(uintptr_t)parts[i].p, (unsigned)parts[i].len);
    }
    size_t sent = (size_t)try_write(c, bufs, (unsigned)n);
    for (size_t i = 0; i < n && !c->is_broken; i++) {
        size_t skip = sent < parts[i].len ? sent : parts[i].len;
        sent -= skip;
        write_later(c, parts[i].p + skip, parts[i].len - skip);
    }
}

static void write_parts(struct net_conn *c, const struct slice *parts, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += parts[i].len;
    }
    if (c->tls == NULL && total >= NET_DIRECT_BYTES && n <= 4) {
        flush(c);
        if (queued(c) == 0 && !c->is_broken) {
            write_direct(c, parts, n);
            return;
        }
    }
    borrow_out(c);
    for (size_t i = 0; i < n; i++) {
        if (c->tls != NULL) {
            tls_write(c->tls, parts[i]);
        } else {
            buf_append_slice(&c->out, parts[i]);
        }
    }
    if (c->out.len >= NET_FLUSH_BYTES) {
        flush(c);
    }
}

static void io_write(void *io, const struct slice *parts, size_t n)
{
    struct net_conn *c = io;
    if (c->phase != NET_OPEN || c->is_broken) {
        return;
    }
    mark_dirty(c);
    write_parts(c, parts, n);
    if (c->n_writing > 0) {
        account(c); /* at once: the next answer of this turn is judged by it */
    }
}

/* The last answers are on their way out: the peer has to take some of them in each window. */
static void on_stuck(struct worker_timer *t)
{
    struct net_conn *c = CONTAINER_OF(t, struct net_conn, timer);
    int64_t window_ms = c->w->all->limits.body_timeout_ms;
    uint64_t now = taken(c);
    if (now - c->last_taken < http_least_bytes(window_ms)) {
        destroy(c);
        return;
    }
    c->last_taken = now;
    worker_timer_start(c->w, t, window_ms);
}

static void on_handshake_late(struct worker_timer *t)
{
    struct net_conn *c = CONTAINER_OF(t, struct net_conn, timer);
    net_count(&c->w->n.tls_failures, 1);
    destroy(c);
}

static void io_close(void *io)
{
    struct net_conn *c = io;
    if (c->phase == NET_OPEN) {
        if (c->tls != NULL) {
            borrow_out(c);
            tls_close(c->tls);
        }
        c->phase = NET_CLOSING;
        c->last_taken = taken(c);
        c->timer.fire = on_stuck;
        worker_timer_start(c->w, &c->timer, c->w->all->limits.body_timeout_ms);
        mark_dirty(c);
    }
}

static void io_abort(void *io)
{
    struct net_conn *c = io;
    c->is_broken = 1;
    mark_dirty(c);
}

static void io_pause(void *io, int is_paused)
{
    struct net_conn *c = io;
    if (c->phase != NET_OPEN) {
        return;
    }
    if (is_paused) {
        c->is_reading = 0;
        (void)uv_read_stop((uv_stream_t *)&c->tcp);
    } else {
        start_reading(c);
    }
}

static void on_http_timer(struct worker_timer *t)
{
    struct net_conn *c = CONTAINER_OF(t, struct net_conn, timer);
    if (c->http != NULL) {
        http_conn_timeout(c->http);
    }
}

static void io_timer(void *io, int64_t delay_ms)
{
    struct net_conn *c = io;
    if (c->phase == NET_OPEN) {
        c->timer.fire = on_http_timer;
        worker_timer_start(c->w, &c->timer, delay_ms);
    }
}

static size_t io_queued(void *io)
{
    return queued(io);
}

static uint64_t io_taken(void *io)
{
    return taken(io);
}

static uint64_t io_held(void *io)
{
    const struct net_conn *c = io;
    return atomic_load_explicit(&c->w->n.bytes_held, memory_order_relaxed);
}

static const struct http_conn_ops conn_ops = {
    .write = io_write,
    .close = io_close,
    .abort = io_abort,
    .pause = io_pause,
    .timer = io_timer,
    .queued = io_queued,
    .taken = io_taken,
    .held = io_held,
};

void net_conn_settle(struct net_conn *c)
{
    unmark_dirty(c);
    if (c->phase == NET_GONE) {
        return;
    }
    flush(c);
    if (c->n_writing > 0 || c->held > 0) {
        account(c);
    }
    if (c->is_broken) {
        destroy(c);
    } else if (c->phase == NET_CLOSING && queued(c) == 0) {
        linger(c);
    }
}

/* --- input --- */

static void open_http(struct net_conn *c)
{
    c->http = http_conn_new(c->w->http, &conn_ops, c, c->peer, c->tls != NULL);
    if (c->w->is_draining) {
        http_conn_drain(c->http);
    }
}

/* A plain request on a TLS port is told so in its own language. */
static void refuse_plain(struct net_conn *c)
{
    static const char text[] =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 42\r\nConnection: close\r\n\r\n"
        "This port speaks HTTPS. Use https:// here.";
    net_count(&c->w->n.tls_failures, 1);
    end_handshake(c);
    tls_free(c->tls);
    c->tls = NULL;
    buf_append(&c->out, text, sizeof(text) - 1);
    io_close(c);
}

static void tls_progress(struct net_conn *c)
{
    if (c->http == NULL && tls_state(c->tls) == TLS_OPEN) {
        end_handshake(c);
        net_count(&c->w->n.tls_handshakes, 1);
        open_http(c);
    }
}

static void tls_input(struct net_conn *c, struct slice in)
{
    if (c->is_tls_unread) {
        c->is_tls_unread = 0;
        if (in.p[0] != 0x16) {
            refuse_plain(c);
            return;
        }
    }
    size_t n;
    tls_feed(c->tls, in);
    borrow_out(c);
    do {
        n = tls_read(c->tls, c->w->plain_bytes, NET_PLAIN_BYTES);
        tls_progress(c);
        if (n > 0 && c->http != NULL) {
            http_conn_input(c->http, slice_of(c->w->plain_bytes, n));
        }
    } while (n > 0);
    if (tls_state(c->tls) == TLS_FAILED) {
        net_count(&c->w->n.tls_failures, c->http == NULL);
        flush(c); /* the alert */
        c->is_broken = 1;
    } else if (tls_state(c->tls) == TLS_ENDED && !c->is_eof && c->http != NULL) {
        c->is_eof = 1;
        http_conn_eof(c->http);
    }
    if (c->out.len == 0 && c->out.cap != 0) {
        give_back_out(c);
    } else {
        mark_dirty(c);
    }
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct net_conn *c = h->data;
    (void)suggested;
    size_t len = c->http != NULL ? http_conn_read_max(c->http) : NET_READ_BYTES;
    *out = uv_buf_init((char *)c->w->read_bytes,
                       (unsigned)(len < NET_READ_BYTES ? len : NET_READ_BYTES));
}

static void on_end_of_input(struct net_conn *c, ssize_t why)
{
    c->is_eof = 1;
    if (why == UV_EOF && c->phase == NET_OPEN && c->http != NULL) {
        http_conn_eof(c->http);
        net_conn_settle(c);
    } else if (why != UV_EOF || c->phase != NET_CLOSING) {
        destroy(c);
    }
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct net_conn *c = s->data;
    if (n == 0 || c->phase == NET_GONE) {
        return;
    }
    if (n < 0) {
        on_end_of_input(c, n);
        return;
    }
    net_count(&c->w->n.bytes_in, (uint64_t)n);
    if (c->phase != NET_OPEN) {
        c->lingered += (uint32_t)n;
        if (c->lingered > NET_LINGER_BYTES) {
            destroy(c);
        }
        return;
    }
    struct slice in = slice_of(b->base, (size_t)n);
    if (c->tls != NULL) {
        tls_input(c, in);
    } else {
        http_conn_input(c->http, in);
    }
    if (c->dirty_prev != NULL || c->is_broken) {
        net_conn_settle(c);
    }
}

static void start_reading(struct net_conn *c)
{
    if (!c->is_reading && !c->is_eof) {
        c->is_reading = 1;
        if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
            c->is_broken = 1;
            mark_dirty(c);
        }
    }
}

/* --- the beginning, and orders from the worker --- */

void net_conn_open(struct listener *l, int fd, const struct sockaddr_storage *peer, uint32_t source)
{
    struct worker *w = l->w;
    struct net_conn *c = mem_zalloc(sizeof(*c));
    c->w = w;
    c->source = source;
    buf_init(&c->out);
    listen_peer(peer, c->peer);
    int is_local = peer->ss_family == AF_UNIX;
    (void)(is_local ? uv_pipe_init(&w->loop, &c->local, 0) : uv_tcp_init(&w->loop, &c->tcp));
    c->tcp.data = c;
    c->next = w->conns;
    c->prev = &w->conns;
    if (w->conns != NULL) {
        w->conns->prev = &c->next;
    }
    w->conns = c;
    w->n_conns++;
    net_count(&w->n.connections, 1);
    net_count(&w->n.accepted, 1);
    if ((is_local ? uv_pipe_open(&c->local, fd) : uv_tcp_open(&c->tcp, fd)) != 0) {
        close(fd);
        destroy(c);
        return;
    }
    if (l->tls == NULL) {
        open_http(c);
    } else if (w->n_handshakes >= NET_HANDSHAKES_MAX) {
        net_count(&w->n.refused, 1);
        destroy(c);
        return;
    } else {
        c->tls = tls_new(l->tls, &c->out);
        c->is_tls_unread = 1;
        c->is_in_handshake = 1;
        w->n_handshakes++;
        c->timer.fire = on_handshake_late;
        worker_timer_start(w, &c->timer, w->all->limits.tls_timeout_ms);
    }
    start_reading(c);
}

void net_conn_drain(struct net_conn *c)
{
    if (c->http != NULL) {
        http_conn_drain(c->http);
    } else if (c->is_tls_unread) {
        destroy(c); /* never said a word */
    }
}

void net_conn_cut(struct net_conn *c)
{
    destroy(c);
}
