/* SPDX-License-Identifier: Apache-2.0 */
#include "sans_io.h"

static void io_write(void *io, const struct slice *parts, size_t n)
{
    struct sans_io *s = io;
    for (size_t i = 0; i < n; i++) {
        buf_append_slice(&s->out, parts[i]);
    }
}

static void io_close(void *io)
{
    ((struct sans_io *)io)->n_closed++;
}

static void io_abort(void *io)
{
    ((struct sans_io *)io)->n_aborted++;
}

static void io_pause(void *io, int is_paused)
{
    ((struct sans_io *)io)->is_paused = is_paused;
}

static void io_timer(void *io, int64_t delay_ms)
{
    struct sans_io *s = io;
    s->timer_ms = delay_ms;
    s->n_timer++;
}

static size_t io_queued(void *io)
{
    return ((struct sans_io *)io)->queued;
}

static uint64_t io_taken(void *io)
{
    return ((struct sans_io *)io)->taken;
}

static uint64_t io_held(void *io)
{
    return ((struct sans_io *)io)->held;
}

static const struct http_conn_ops ops = {io_write, io_close,  io_abort, io_pause,
                                         io_timer, io_queued, io_taken, io_held};

struct net_limits sans_io_limits(void)
{
    return (struct net_limits){
        .head_bytes = 16 * 1024,
        .body_bytes = 1024 * 1024,
        .held_body_bytes = 1000 * 1000,
        .held_output_bytes = 1000 * 1000,
        .head_timeout_ms = 10000,
        .body_timeout_ms = 30000,
        .idle_timeout_ms = 300000,
    };
}

void sans_io_init(struct sans_io *s, const struct http_server_options *o,
                  const struct http_route *routes, size_t n)
{
    struct err e = {0};
    memset(s, 0, sizeof(*s));
    s->limits = sans_io_limits();
    s->server = http_server_new(o);
    MU_INVARIANT(http_server_add(s->server, routes, n, &e) == 0);
    s->local = http_local_new(s->server, NULL, 0, &s->limits);
    buf_init(&s->out);
    sans_io_connect(s);
}

void sans_io_connect(struct sans_io *s)
{
    s->n_closed = 0;
    s->n_aborted = 0;
    s->is_paused = 0;
    buf_clear(&s->out);
    s->conn = http_conn_new(s->local, &ops, s, "192.0.2.7", 0);
}

void sans_io_turn(struct sans_io *s)
{
    http_local_turn(s->local);
}

void sans_io_input(struct sans_io *s, struct slice in)
{
    http_conn_input(s->conn, in);
    http_local_turn(s->local);
}

void sans_io_text(struct sans_io *s, const char *text)
{
    sans_io_input(s, slice_str(text));
}

void sans_io_gone(struct sans_io *s)
{
    if (s->conn != NULL) {
        http_conn_gone(s->conn);
        s->conn = NULL;
    }
}

void sans_io_fini(struct sans_io *s)
{
    sans_io_gone(s);
    http_local_free(s->local);
    http_server_free(s->server);
    buf_fini(&s->out);
}

const char *sans_io_take(struct sans_io *s)
{
    static const char date[] = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    const size_t len = sizeof(date) - 1;
    buf_append_byte(&s->out, 0);
    char *text = (char *)s->out.p;
    for (char *at = text; (at = memmem(at, s->out.len - (size_t)(at - text), date, 6)) != NULL;) {
        size_t left = s->out.len - (size_t)(at - text);
        if (left > len && memcmp(at + len - 6, " GMT\r\n", 6) == 0) {
            memmove(at, at + len, left - len);
            s->out.len -= len;
        } else {
            at++;
        }
    }
    s->out.len = 0;
    return text;
}
