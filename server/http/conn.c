/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: bytes in, requests out, one at a time and in order.
 *
 *   HEAD --guard, parser--> BODY --> (TRAILER) --> ANSWER --answered--> HEAD ...        any
 * --error, "close"--> CLOSING
 *
 * Happy path: a read holds one complete request; it is parsed in place, handled and answered within
 * http_conn_input, and nothing is kept. A head in pieces is collected in `rest`; input behind a
 * request in progress waits there too (and reading pauses above HTTP_REST_MAX). An answer from a
 * later callback puts the connection on the worker's ready list; http_local_turn takes up what
 * waits. Who frees: http_conn_gone, or the last answer when one is owed by then. */
#include "server/http/http_impl.h"

#include "base/clock.h"
#include "base/mem.h"

struct http_conn *http_conn_new(struct http_local *l, const struct http_conn_ops *ops, void *io,
                                const char *peer, int is_tls)
{
    struct http_conn *c = mem_zalloc(sizeof(*c));
    c->l = l;
    c->ops = ops;
    c->io = io;
    c->is_tls = (uint8_t)(is_tls != 0);
    buf_init(&c->rest);
    size_t n = strlen(peer);
    memcpy(c->peer, peer, n < sizeof(c->peer) ? n : sizeof(c->peer) - 1);
    conn_set_deadline(c, l->limits->idle_timeout_ms);
    return c;
}

void conn_write(struct http_conn *c, const struct slice *parts, size_t n)
{
    if (!c->is_gone) {
        c->ops->write(c->io, parts, n);
    }
}

/* The timer is left alone while it fires soon enough: it looks at the deadline then and goes on. */
void conn_set_deadline(struct http_conn *c, int64_t delay_ms)
{
    c->is_watching_output = 0;
    if (delay_ms <= 0 || c->is_gone) {
        c->deadline = 0;
        return;
    }
    c->deadline = clock_mono_ms() + delay_ms;
    if (c->timer_at == 0 || c->timer_at > c->deadline) {
        c->timer_at = c->deadline;
        c->ops->timer(c->io, delay_ms);
    }
}

/* Output waits in the queue: look every window whether the peer takes enough of it. */
static void watch_output(struct http_conn *c)
{
    conn_set_deadline(c, c->l->limits->body_timeout_ms);
    c->is_watching_output = 1;
    c->window_bytes = c->ops->taken(c->io);
}

void conn_watch_output(struct http_conn *c)
{
    if (!c->is_watching_output && !c->is_gone) {
        watch_output(c);
    }
}

/* The window is over. A peer that took next to nothing in it is cut. */
static void check_output(struct http_conn *c)
{
    uint64_t got = c->ops->taken(c->io) - c->window_bytes;
    if (c->ops->queued(c->io) > 0 && got < http_least_bytes(c->l->limits->body_timeout_ms)) {
        c->ops->abort(c->io);
    } else if (c->ops->queued(c->io) > 0) {
        watch_output(c);
    } else {
        conn_set_deadline(c, c->state == CONN_HEAD ? c->l->limits->idle_timeout_ms : 0);
    }
}

static void conn_close(struct http_conn *c)
{
    if (c->state != CONN_CLOSING && !c->is_gone) {
        c->state = CONN_CLOSING;
        c->deadline = 0;
        buf_fini(&c->rest);
        buf_init(&c->rest);
        c->ops->close(c->io);
    }
}

int conn_is_unwanted(const struct http_conn *c)
{
    return c->is_gone || c->is_eof || c->is_draining;
}

void conn_later(struct http_conn *c)
{
    if (c->ready_prev != NULL) {
        return;
    }
    struct http_conn **head = &c->l->ready;
    c->ready_next = *head;
    c->ready_prev = head;
    if (*head != NULL) {
        (*head)->ready_prev = &c->ready_next;
    }
    *head = c;
}

static void not_later(struct http_conn *c)
{
    if (c->ready_prev != NULL) {
        *c->ready_prev = c->ready_next;
        if (c->ready_next != NULL) {
            c->ready_next->ready_prev = c->ready_prev;
        }
        c->ready_prev = NULL;
    }
}

static void conn_free(struct http_conn *c)
{
    not_later(c);
    buf_fini(&c->rest);
    mem_free(c);
}

/* Nobody asked for this answer by a readable request: a problem document, then close. */
static void refuse(struct http_conn *c, const struct err *e)
{
    struct http_local *l = c->l;
    answer_problem_body(l, e->code, e->text, NULL, NULL);
    int status = err_http_status(e->code);
    struct answer_head h = {.status = status,
                            .content_type = "application/problem+json",
                            .content_len = (int64_t)l->problem.len};
    answer_head_write(l, NULL, &h);
    conn_write(c, (struct slice[]){buf_slice(&l->head), buf_slice(&l->problem)}, 2);
    if (l->server->o.after_answer != NULL) {
        l->server->o.after_answer(l->server->o.arg, l->number, NULL, status, 0);
    }
    conn_close(c);
}

/* The body of c->req is broken or too slow. When the request is answered already there is nothing
 * more to say. */
static void refuse_body(struct http_conn *c, const struct err *e)
{
    struct http_req *r = c->req;
    r->is_keepalive = 0;
    if (!r->is_answered) {
        dispatch_refuse(r, e->code, e->text); /* closes: the body is not complete */
        return;
    }
    c->req = NULL;
    req_free(r);
    conn_close(c);
}

/* The end of an exchange: on with the next, or close. */
static void next_request(struct http_conn *c)
{
    struct http_req *r = c->req;
    int is_kept = r->is_keepalive && !c->is_draining;
    c->req = NULL;
    req_free(r);
    if (c->is_gone) {
        if (!c->is_running) {
            conn_free(c);
        }
        return;
    }
    if (!is_kept) {
        conn_close(c);
        return;
    }
    c->state = CONN_HEAD;
    head_guard_init(&c->guard, 0);
    if (c->ops->queued(c->io) > HTTP_OUT_WATCH) {
        conn_watch_output(c);
    } else {
        conn_set_deadline(c, c->l->limits->idle_timeout_ms);
    }
    if (!c->is_running && (c->rest.len > 0 || c->is_eof || c->is_paused)) {
        conn_later(c);
    }
}

void conn_answered(struct http_req *r)
{
    struct http_conn *c = r->conn;
    struct http_local *l = c->l;
    r->is_answered = 1;
    if (r->is_dispatched) {
        l->n_owed--;
    }
    if (l->server->o.after_answer != NULL) {
        l->server->o.after_answer(l->server->o.arg, l->number, r, r->status,
                                  clock_mono_us() - r->started_us);
    }
    if (c->state == CONN_ANSWER || c->is_gone || !r->is_keepalive) {
        next_request(c);
        return;
    }
    r->is_discarding = 1; /* refused before its body came: read over it */
    r->body_max = HTTP_DISCARD_MAX;
}

static void body_complete(struct http_conn *c)
{
    struct http_req *r = c->req;
    c->state = CONN_ANSWER;
    if (r->is_answered) {
        next_request(c);
        return;
    }
    conn_set_deadline(c, 0);
    dispatch_run(r);
}

/* Each step takes bytes from the front of `in` and returns how many; 0 = it needs more, or
 * something else must happen first. */
static size_t step_head(struct http_conn *c, struct slice in)
{
    if (c->ops->queued(c->io) > HTTP_QUEUE_MAX) {
        return 0; /* http_conn_drained goes on */
    }
    struct err e = {0};
    size_t end = 0;
    int is_new = c->guard.scanned == 0;
    size_t max =
        c->l->limits->head_bytes < HEAD_BYTES_MAX ? c->l->limits->head_bytes : HEAD_BYTES_MAX;
    int code = head_guard_scan(&c->guard, in, max, &end, &e);
    if (code == HEAD_MORE) {
        if (is_new) {
            conn_set_deadline(c, c->l->limits->head_timeout_ms);
        }
        return 0;
    }
    struct http_req *r = NULL;
    if (code == 0) {
        code = parse_head(c, slice_of(in.p + c->guard.start, end - c->guard.start), &r, &e);
    }
    if (code != 0) {
        refuse(c, &e);
        return in.len;
    }
    c->req = r;
    c->state = CONN_BODY;
    r->started_us = c->l->server->o.after_answer != NULL ? clock_mono_us() : 0;
    dispatch_head(r);
    if (c->state != CONN_BODY) {
        return end;
    }
    if (r->chunked == NULL && r->body_left == 0) {
        body_complete(c);
    } else {
        c->window_bytes = 0;
        conn_set_deadline(c, c->l->limits->body_timeout_ms);
    }
    return end;
}

static size_t step_length_body(struct http_conn *c, struct slice in)
{
    struct http_req *r = c->req;
    size_t n = in.len < r->body_left ? in.len : (size_t)r->body_left;
    req_body_append(r, in.p, n);
    r->body_left -= n;
    if (r->body_left == 0) {
        body_complete(c);
    }
    return n;
}

static size_t step_body(struct http_conn *c, struct slice in)
{
    struct http_req *r = c->req;
    if (c->l->n_body_bytes > c->l->limits->held_body_bytes && !r->is_discarding) {
        struct err full = {0};
        (void)err_set(&full, MU_E_OVERLOADED, "too many request bodies at once");
        refuse_body(c, &full);
        return in.len;
    }
    if (r->chunked == NULL) {
        return step_length_body(c, in);
    }
    struct err e = {0};
    size_t used = 0;
    int code = parse_chunks(r, in, &used, &e);
    if (code == 0) {
        c->state = CONN_TRAILER;
        head_guard_init(&c->guard, 1);
    } else if (code != HEAD_MORE) {
        refuse_body(c, &e);
        return in.len;
    }
    return used;
}

/* Trailers are checked and thrown away. */
static size_t step_trailer(struct http_conn *c, struct slice in)
{
    struct err e = {0};
    size_t end = 0;
    int code = head_guard_scan(&c->guard, in, HTTP_REST_MAX, &end, &e);
    if (code == HEAD_MORE) {
        return 0;
    }
    if (code == 0) {
        code = parse_trailer(c->req, slice_of(in.p, end), &e);
    }
    if (code != 0) {
        refuse_body(c, &e);
        return in.len;
    }
    body_complete(c);
    return end;
}

static size_t step(struct http_conn *c, struct slice in)
{
    switch ((enum conn_state)c->state) {
    case CONN_HEAD:
        return step_head(c, in);
    case CONN_BODY:
        return step_body(c, in);
    case CONN_TRAILER:
        return step_trailer(c, in);
    case CONN_CLOSING:
        return in.len;
    case CONN_ANSWER:
        break;
    }
    return 0;
}

static size_t run(struct http_conn *c, struct slice in)
{
    size_t at = 0;
    size_t n;
    c->is_running = 1;
    while (at < in.len && (n = step(c, slice_of(in.p + at, in.len - at))) > 0) {
        at += n;
    }
    c->is_running = 0;
    return at;
}

/* After anything that may have moved the connection: memory, pausing, the end of a half-closed
 * connection. */
static void settle(struct http_conn *c)
{
    if (c->state == CONN_CLOSING) {
        return;
    }
    if (c->rest.len == 0 && c->rest.cap != 0) {
        buf_fini(&c->rest);
        buf_init(&c->rest);
    }
    int is_waiting = c->state == CONN_ANSWER ||
                     (c->state == CONN_HEAD && c->ops->queued(c->io) > HTTP_QUEUE_MAX);
    int is_paused = is_waiting && c->rest.len > HTTP_REST_MAX;
    if (is_paused != c->is_paused) {
        c->is_paused = (uint8_t)is_paused;
        c->ops->pause(c->io, is_paused);
    }
    if (c->is_eof && !is_waiting) {
        conn_close(c); /* what is there will never be a whole request */
    }
}

static void run_rest(struct http_conn *c)
{
    size_t n = run(c, buf_slice(&c->rest));
    if (c->state != CONN_CLOSING) {
        buf_consume(&c->rest, n);
    }
}

void http_conn_input(struct http_conn *c, struct slice bytes)
{
    if (c->state == CONN_CLOSING || c->is_eof || bytes.len == 0) {
        return;
    }
    if (c->rest.len == 0) {
        size_t n = run(c, bytes);
        if (c->state != CONN_CLOSING && n < bytes.len) {
            buf_append(&c->rest, bytes.p + n, bytes.len - n);
        }
    } else {
        buf_append(&c->rest, bytes.p, bytes.len);
        run_rest(c);
    }
    settle(c);
}

size_t http_conn_read_max(const struct http_conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_BODY:
    case CONN_CLOSING:
        return HTTP_READ_BODY;
    case CONN_ANSWER:
        return HTTP_READ_BEHIND;
    case CONN_HEAD:
    case CONN_TRAILER:
        break;
    }
    return HTTP_READ_HEAD;
}

/* Tell the handler that the answer is no longer wanted, once. */
static void tell_abort(struct http_conn *c)
{
    struct http_req *r = c->req;
    if (conn_is_unwanted(c) && r != NULL && r->is_dispatched && !r->is_answered &&
        r->abort_fn != NULL && !r->is_aborted) {
        r->is_aborted = 1;
        r->abort_fn(r);
    }
}

void http_conn_eof(struct http_conn *c)
{
    c->is_eof = 1;
    if (c->state == CONN_BODY || c->state == CONN_TRAILER) {
        struct http_req *r = c->req; /* the rest of the body will not come */
        r->is_keepalive = 0;
        if (!r->is_answered) {
            dispatch_refuse(r, MU_E_BAD_REQUEST, "the body ends early");
        } else {
            c->req = NULL;
            req_free(r);
            conn_close(c);
        }
        return;
    }
    if (c->state == CONN_HEAD && c->rest.len > 0) {
        run_rest(c); /* whole requests may wait there for answers to be read */
    }
    settle(c);
    if (c->state == CONN_ANSWER) {
        conn_later(c);
    }
}

void http_conn_drained(struct http_conn *c)
{
    struct http_req *r = c->req;
    if (r != NULL && r->is_stream && !r->is_answered && r->drain_fn != NULL) {
        void (*fn)(struct http_req * r) = r->drain_fn;
        fn(r);
    } else if (c->state == CONN_HEAD && c->rest.len > 0) {
        conn_later(c);
    }
}

void http_conn_timeout(struct http_conn *c)
{
    c->timer_at = 0;
    int64_t left = c->deadline - clock_mono_ms();
    if (c->deadline == 0 || c->state == CONN_CLOSING) {
        return;
    }
    if (left > 0) {
        c->timer_at = c->deadline;
        c->ops->timer(c->io, left);
        return;
    }
    if (c->is_watching_output) {
        check_output(c);
        return;
    }
    struct err e = {0};
    int64_t window_ms = c->l->limits->body_timeout_ms;
    switch ((enum conn_state)c->state) {
    case CONN_HEAD:
        if (c->guard.scanned == 0) {
            conn_close(c);
        } else {
            (void)err_set(&e, MU_E_TIMEOUT, "the request head did not come in time");
            refuse(c, &e);
        }
        break;
    case CONN_BODY:
    case CONN_TRAILER:
        if (c->window_bytes >= http_least_bytes(window_ms)) {
            c->window_bytes = 0;
            conn_set_deadline(c, window_ms);
        } else {
            (void)err_set(&e, MU_E_TIMEOUT, "the request body comes too slowly");
            refuse_body(c, &e);
        }
        break;
    case CONN_ANSWER:
    case CONN_CLOSING:
        break;
    }
}

void http_conn_drain(struct http_conn *c)
{
    c->is_draining = 1;
    if (c->state == CONN_HEAD && c->guard.scanned == 0 && c->rest.len == 0) {
        conn_close(c);
    } else {
        conn_later(c);
    }
}

void http_conn_gone(struct http_conn *c)
{
    c->is_gone = 1;
    not_later(c);
    struct http_req *r = c->req;
    if (r != NULL && r->is_dispatched && !r->is_answered) {
        if (r->abort_fn == NULL && r->drain_fn != NULL) {
            r->drain_fn(r); /* it waits for room that will not come: writing on is harmless now */
            return;
        }
        tell_abort(c); /* may answer, which frees both */
        return;
    }
    if (r != NULL) {
        req_free(r);
    }
    conn_free(c);
}

/* Connections that join the list while it is worked on (by a handler that answers another) are
 * taken in the same turn. */
void http_local_turn(struct http_local *l)
{
    while (l->ready != NULL) {
        struct http_conn *c = l->ready;
        not_later(c);
        int is_gone = c->is_gone;
        tell_abort(c); /* frees c when it is gone and answered */
        if (!is_gone && c->state != CONN_CLOSING) {
            run_rest(c);
            settle(c);
        }
    }
}
