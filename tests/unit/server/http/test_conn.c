/* SPDX-License-Identifier: Apache-2.0 */
/* A connection over time: late answers, pipelining, pausing, timeouts, leaving clients, draining.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "sans_io.h"

/* --- a clock that stands still until told otherwise --- */

static int64_t now_ms = 1000;

int64_t clock_mono_ms(void)
{
    return now_ms;
}

int64_t clock_mono_us(void)
{
    return now_ms * 1000;
}

int64_t clock_wall_ms(void)
{
    return 784111777000; /* Sun, 06 Nov 1994 08:49:37 GMT */
}

void rnd_bytes(void *out, size_t len)
{
    memset(out, 0xab, len);
}

uint64_t rnd_u64(void)
{
    return 4;
}

uint64_t rnd_below(uint64_t n)
{
    return 4 % n;
}

/* --- handlers --- */

struct world {
    struct sans_io io;
    struct http_req *held[8];
    unsigned n_held, n_aborts, n_after, n_drained;
    int answers_on_abort;
    int last_status;
    const struct http_route *last_route;
    int64_t last_us;
};

static void now(struct http_req *r, void *arg)
{
    (void)arg;
    http_respond(r, 200, "text/plain", SLICE_LIT("now"));
}

static void hold(struct http_req *r, void *arg)
{
    struct world *w = arg;
    w->held[w->n_held++] = r;
}

static void on_abort(struct http_req *r)
{
    struct world *w = http_data(r);
    w->n_aborts++;
    if (w->answers_on_abort) {
        http_respond_error(r, MU_E_DRAINING, NULL);
    }
}

static void hold_abortable(struct http_req *r, void *arg)
{
    hold(r, arg);
    http_set_data(r, arg);
    http_on_abort(r, on_abort);
    http_park(r);
}

static void echo(struct http_req *r, void *arg)
{
    (void)arg;
    http_respond(r, 200, "text/plain", http_body(r));
}

/* 64 KiB and `more`: large from the first on. */
static void answer_large(struct http_req *r, size_t more)
{
    struct buf *b = http_scratch(r);
    memset(buf_reserve(b, 65536 + more), 'x', 65536 + more);
    b->len = 65536 + more;
    http_add_header(r, "ETag", "\"of the large one\"");
    http_respond(r, 200, "application/octet-stream", buf_slice(b));
}

static void large(struct http_req *r, void *arg)
{
    (void)arg;
    answer_large(r, 1);
}

static void nearly_large(struct http_req *r, void *arg)
{
    (void)arg;
    answer_large(r, 0);
}

static void on_drain(struct http_req *r)
{
    struct world *w = http_data(r);
    w->n_drained++;
}

static void stream(struct http_req *r, void *arg)
{
    hold(r, arg);
    http_set_data(r, arg);
    http_stream_begin(r, 200, "text/event-stream");
    http_stream_on_drain(r, on_drain);
}

static void download(struct http_req *r, void *arg)
{
    hold(r, arg);
    http_stream_begin_sized(r, 200, "application/octet-stream", 6);
}

static const struct http_route routes[] = {
    HTTP_ROUTE(HTTP_M_GET, "/now", now, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/hold", hold, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/park", hold_abortable, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/stream", stream, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_PUT, "/echo", echo, PERM_NONE_REQUIRED, 1000000),
    HTTP_ROUTE(HTTP_M_GET, "/download", download, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/large", large, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_POST, "/large", large, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/nearly-large", nearly_large, PERM_NONE_REQUIRED, 0),
};

static void after(void *arg, unsigned worker, const struct http_req *r, int status,
                  int64_t elapsed_us)
{
    struct world *w = arg;
    (void)worker;
    w->n_after++;
    w->last_route = r != NULL ? http_route_of(r) : NULL;
    w->last_status = status;
    w->last_us = elapsed_us;
}

static int set_up(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    struct http_server_options o = {.arg = w, .after_answer = after};
    now_ms = 1000;
    sans_io_init(&w->io, &o, routes, N_ELEMENTS(routes));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    assert_int_equal(http_local_owed(w->io.local), 0);
    sans_io_fini(&w->io);
    mem_free(w);
    return 0;
}

#define HEAD      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Content-Type-Options: nosniff\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static void expect_out(struct world *w, const char *want)
{
    assert_string_equal(sans_io_take(&w->io), want);
}

static void expect_has(struct world *w, const char *want)
{
    const char *got = sans_io_take(&w->io);
    if (strstr(got, want) == NULL) {
        fail_msg("no \"%s\" in \"%s\"", want, got);
    }
}

static void answer(struct world *w, unsigned i, const char *text)
{
    http_respond(w->held[i], 200, "text/plain", slice_str(text));
    sans_io_turn(&w->io);
}

/* --- tests --- */

static void an_answer_in_full(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/now"));
    buf_append_byte(&w->io.out, 0);
    assert_string_equal(
        (const char *)w->io.out.p,
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
        "X-Content-Type-Options: nosniff\r\nContent-Length: 3\r\n\r\nnow");
    assert_int_equal(w->n_after, 1);
    assert_ptr_equal(w->last_route, &routes[0]);
    assert_int_equal(w->last_status, 200);
}

static void answers_come_in_order(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/hold") GET("/now") GET("/hold") GET("/now"));
    assert_int_equal(w->n_held, 1);
    expect_out(w, "");
    now_ms += 7;
    answer(w, 0, "one");
    assert_int_equal(w->n_held, 2);
    expect_out(w, HEAD "Content-Length: 3\r\n\r\none" HEAD "Content-Length: 3\r\n\r\nnow");
    answer(w, 1, "two");
    expect_out(w, HEAD "Content-Length: 3\r\n\r\ntwo" HEAD "Content-Length: 3\r\n\r\nnow");
    assert_int_equal(w->n_after, 4);
}

static void elapsed_time_is_told(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/hold"));
    now_ms += 7;
    answer(w, 0, "");
    assert_int_equal(w->last_us, 7000);
}

static void input_behind_a_held_request_is_bounded(void **state)
{
    struct world *w = *state;
    static char many[40 * 1024];
    sans_io_text(&w->io, GET("/hold"));
    memset(many, 'G', sizeof(many));
    sans_io_input(&w->io, slice_of(many, 1000));
    assert_int_equal(w->io.is_paused, 0);
    sans_io_input(&w->io, slice_of(many, sizeof(many)));
    assert_int_equal(w->io.is_paused, 1);
    answer(w, 0, "x");
    expect_has(w, "414 URI Too Long"); /* what waited is looked at now */
    assert_int_equal(w->io.n_closed, 1);
}

static void reads_are_small_while_input_is_held(void **state)
{
    struct world *w = *state;
    assert_int_equal(http_conn_read_max(w->io.conn), 16 * 1024);
    sans_io_text(&w->io, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
    assert_int_equal(http_conn_read_max(w->io.conn), 64 * 1024);
    sans_io_text(&w->io, "ab" GET("/hold"));
    assert_int_equal(http_conn_read_max(w->io.conn), 4 * 1024);
    answer(w, 0, "x");
    assert_int_equal(http_conn_read_max(w->io.conn), 16 * 1024);
}

static void unread_answers_hold_the_next_request_back(void **state)
{
    struct world *w = *state;
    w->io.queued = 1000000;
    sans_io_text(&w->io, GET("/now"));
    expect_out(w, "");
    w->io.queued = 0;
    http_conn_drained(w->io.conn);
    sans_io_turn(&w->io);
    expect_has(w, "now");
}

static void fire_at(struct world *w, int64_t ms)
{
    now_ms = ms;
    http_conn_timeout(w->io.conn);
}

static void idle_connections_are_closed(void **state)
{
    struct world *w = *state;
    assert_int_equal(w->io.timer_ms, 300000);
    sans_io_text(&w->io, GET("/now"));
    (void)sans_io_take(&w->io);
    fire_at(w, 1000 + 299999);
    assert_int_equal(w->io.n_closed, 0);
    fire_at(w, 1000 + 300000);
    assert_int_equal(w->io.n_closed, 1);
    expect_out(w, "");
}

static void a_slow_head_is_408(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, "GET /now HTTP/1.1\r\n");
    assert_int_equal(w->io.timer_ms, 10000);
    now_ms += 9000;
    sans_io_text(&w->io, "X: drop by drop\r\n"); /* does not start the time anew */
    fire_at(w, 1000 + 10000);
    expect_has(w, "408 Request Timeout");
    assert_int_equal(w->io.n_closed, 1);
}

static void a_slow_body_is_408_a_steady_one_is_not(void **state)
{
    struct world *w = *state;
    static char kib[1024];
    sans_io_text(&w->io, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    assert_int_equal(w->io.timer_ms, 30000);
    for (int i = 0; i < 30; i++) {
        sans_io_input(&w->io, slice_of(kib, sizeof(kib)));
    }
    fire_at(w, 1000 + 30000);
    assert_int_equal(w->io.n_closed, 0);
    sans_io_input(&w->io, slice_of(kib, 100));
    fire_at(w, 1000 + 60000);
    expect_has(w, "408 Request Timeout");
    assert_int_equal(w->io.n_closed, 1);
}

static void a_parked_request_has_no_timeout(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/park"));
    fire_at(w, 10000000);
    assert_int_equal(w->io.n_closed, 0);
    answer(w, 0, "late");
    expect_has(w, "late");
}

static void a_client_that_is_gone_is_told_once(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/park"));
    http_conn_eof(w->io.conn);
    sans_io_turn(&w->io);
    assert_int_equal(w->n_aborts, 1);
    assert_false(http_is_gone(w->held[0])); /* it may still read */
    sans_io_gone(&w->io);
    assert_int_equal(w->n_aborts, 1);
    assert_true(http_is_gone(w->held[0]));
    assert_int_equal(http_local_owed(w->io.local), 1);
    http_respond(w->held[0], 200, "text/plain", SLICE_LIT("nobody hears"));
    assert_int_equal(w->n_after, 1);
}

static void an_abort_may_answer(void **state)
{
    struct world *w = *state;
    w->answers_on_abort = 1;
    sans_io_text(&w->io, GET("/park"));
    sans_io_gone(&w->io);
    assert_int_equal(w->n_aborts, 1);
}

static void parking_after_the_client_left_is_told_at_the_end_of_the_turn(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/hold"));
    http_conn_eof(w->io.conn);
    sans_io_turn(&w->io);
    http_set_data(w->held[0], w);
    http_on_abort(w->held[0], on_abort);
    assert_int_equal(w->n_aborts, 0);
    sans_io_turn(&w->io);
    assert_int_equal(w->n_aborts, 1);
    answer(w, 0, "x");
}

static void a_half_closed_client_gets_its_answers(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/hold") GET("/now"));
    http_conn_eof(w->io.conn);
    sans_io_turn(&w->io);
    assert_int_equal(w->io.n_closed, 0);
    answer(w, 0, "first");
    expect_out(w, HEAD "Content-Length: 5\r\n\r\nfirst" HEAD "Content-Length: 3\r\n\r\nnow");
    assert_int_equal(w->io.n_closed, 1);
}

static void a_half_closed_client_gets_what_waited(void **state)
{
    struct world *w = *state;
    w->io.queued = 1000000;
    sans_io_text(&w->io, GET("/now") GET("/now") "GET /no");
    expect_out(w, "");
    w->io.queued = 1; /* not empty yet: nobody was told */
    http_conn_eof(w->io.conn);
    const char *out = sans_io_take(&w->io);
    assert_non_null(strstr(strstr(out, "\r\n\r\nnow") + 7, "\r\n\r\nnow"));
    assert_int_equal(w->io.n_closed, 1);
}

static void a_body_cut_short_is_400(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    http_conn_eof(w->io.conn);
    expect_has(w, "400 Bad Request");
    assert_int_equal(w->io.n_closed, 1);
}

static void draining_closes_idle_connections(void **state)
{
    struct world *w = *state;
    http_conn_drain(w->io.conn);
    assert_int_equal(w->io.n_closed, 1);
}

static void draining_lets_requests_finish(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/hold") GET("/now"));
    http_conn_drain(w->io.conn);
    sans_io_turn(&w->io);
    answer(w, 0, "last");
    expect_out(w, HEAD "Content-Length: 4\r\nConnection: close\r\n\r\nlast");
    assert_int_equal(w->io.n_closed, 1);
}

static void draining_tells_parked_requests(void **state)
{
    struct world *w = *state;
    w->answers_on_abort = 1;
    sans_io_text(&w->io, GET("/park"));
    http_conn_drain(w->io.conn);
    assert_int_equal(w->n_aborts, 0); /* at the end of the turn, not from inside the call */
    sans_io_turn(&w->io);
    expect_has(w, "\"code\":\"DRAINING\"");
    assert_int_equal(w->io.n_closed, 1);
}

static void draining_lets_a_started_head_finish(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, "GET /now HTTP/1.1\r\n");
    http_conn_drain(w->io.conn);
    sans_io_turn(&w->io);
    assert_int_equal(w->io.n_closed, 0);
    sans_io_text(&w->io, "Host: a\r\n\r\n");
    expect_has(w, "Connection: close");
}

static void a_stream_is_chunked(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/stream") GET("/now"));
    assert_int_equal(http_stream_write(w->held[0], SLICE_LIT("data: 0123456789\n\n")), 1);
    assert_int_equal(http_stream_write(w->held[0], SLICE_LIT("")), 1);
    http_stream_end(w->held[0]);
    sans_io_turn(&w->io);
    expect_out(
        w,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Content-Type-Options: nosniff\r\n"
        "Transfer-Encoding: chunked\r\n\r\n12\r\ndata: 0123456789\n\n\r\n0\r\n\r\n" HEAD
        "Content-Length: 3\r\n\r\nnow");
}

static void a_stream_to_http_1_0_ends_by_close(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    (void)http_stream_write(w->held[0], SLICE_LIT("abc"));
    http_stream_end(w->held[0]);
    expect_out(
        w,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\nabc");
    assert_int_equal(w->io.n_closed, 1);
}

static void a_download_tells_its_length(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/download") GET("/now"));
    (void)http_stream_write(w->held[0], SLICE_LIT("abc"));
    (void)http_stream_write(w->held[0], SLICE_LIT("def"));
    http_stream_end(w->held[0]);
    sans_io_turn(&w->io);
    expect_out(w, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                  "X-Content-Type-Options: nosniff\r\nContent-Length: 6\r\n\r\nabcdef" HEAD
                  "Content-Length: 3\r\n\r\nnow");
}

static void a_download_cut_short_cuts_the_connection(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/download") GET("/now"));
    (void)http_stream_write(w->held[0], SLICE_LIT("abc"));
    http_stream_end(w->held[0]);
    assert_int_equal(w->io.n_aborted, 1);
}

static void a_stream_for_head_has_no_body(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    (void)http_stream_write(w->held[0], SLICE_LIT("abc"));
    http_stream_end(w->held[0]);
    expect_out(
        w,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Content-Type-Options: nosniff\r\n"
        "Transfer-Encoding: chunked\r\n\r\n");
}

static void a_stream_waits_for_its_peer(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/stream"));
    w->io.queued = 300 * 1024;
    assert_int_equal(http_stream_write(w->held[0], SLICE_LIT("x")), 0);
    w->io.queued = 0;
    http_conn_drained(w->io.conn);
    assert_int_equal(w->n_drained, 1);
    w->io.queued = 2 * 1024 * 1024;
    assert_int_equal(http_stream_write(w->held[0], SLICE_LIT("x")), 0);
    assert_int_equal(w->io.n_aborted, 1);
    sans_io_gone(&w->io);
    assert_int_equal(http_stream_write(w->held[0], SLICE_LIT("x")), 1);
    http_stream_end(w->held[0]);
}

static void a_stalled_stream_is_cut(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/stream"));
    w->io.queued = 300 * 1024;
    (void)http_stream_write(w->held[0], SLICE_LIT("x"));
    w->io.taken = 30 * 1024; /* the queue is as long as before: more was written */
    fire_at(w, now_ms + 30000);
    assert_int_equal(w->io.n_aborted, 0);
    w->io.taken += 30 * 1024 - 1;
    fire_at(w, now_ms + 30000);
    assert_int_equal(w->io.n_aborted, 1);
    sans_io_gone(&w->io);
    http_stream_end(w->held[0]);
}

static void an_answer_that_is_read_slowly_is_not_cut(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/hold"));
    w->io.queued = 100 * 1024; /* as if the answer did not go out */
    answer(w, 0, "x");
    fire_at(w, now_ms + 29999);
    assert_int_equal(w->io.n_aborted, 0);
    w->io.queued = 70 * 1024;
    w->io.taken = 30 * 1024;
    fire_at(w, now_ms + 1);
    assert_int_equal(w->io.n_aborted, 0);
    w->io.queued = 0;
    fire_at(w, now_ms + 30000); /* all taken: an idle connection like others */
    assert_int_equal(w->io.n_aborted, 0);
    fire_at(w, now_ms + 300000);
    assert_int_equal(w->io.n_closed, 1);
    assert_int_equal(w->io.n_aborted, 0);
}

static void an_answer_that_nobody_reads_at_all_is_cut(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/hold"));
    w->io.queued = 100 * 1024;
    answer(w, 0, "x");
    w->io.taken = 30 * 1024 - 1; /* next to nothing is nothing */
    fire_at(w, now_ms + 30000);
    assert_int_equal(w->io.n_aborted, 1);
}

static void large_answers_wait_until_others_are_read(void **state)
{
    struct world *w = *state;
    w->io.held = 1000 * 1000 - 1;
    sans_io_text(&w->io, GET("/large"));
    expect_has(w, "Content-Length: 65537\r\nETag: \"of the large one\"\r\n");
    w->io.held++;
    sans_io_text(&w->io, GET("/large"));
    const char *out = sans_io_take(&w->io);
    assert_non_null(strstr(out, "503 Service Unavailable"));
    assert_non_null(strstr(out, "Retry-After: 1\r\n"));
    assert_non_null(strstr(out, "\"code\":\"OVERLOADED\""));
    assert_null(strstr(out, "ETag"));
    sans_io_text(&w->io, GET("/nearly-large"));
    expect_has(w, "Content-Length: 65536\r\n");
    sans_io_text(&w->io, "HEAD /large HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_has(w, "Content-Length: 65537\r\n");
    sans_io_text(&w->io, "POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    expect_has(w, "200 OK"); /* it may have changed something: it has to hear what */
    w->io.held = 0;
    sans_io_text(&w->io, GET("/large"));
    expect_has(w, "200 OK");
    assert_int_equal(w->io.n_closed, 0);
}

static void a_stream_cut_by_its_handler_has_no_last_chunk(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/stream"));
    (void)sans_io_take(&w->io);
    (void)http_stream_write(w->held[0], SLICE_LIT("abc"));
    http_stream_abort(w->held[0]);
    expect_out(w, "3\r\nabc\r\n");
    assert_int_equal(w->io.n_aborted, 1);
}

static void a_waiting_stream_goes_on_when_the_client_is_gone(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/stream"));
    sans_io_gone(&w->io);
    assert_int_equal(w->n_drained, 1);
    http_stream_end(w->held[0]);
}

static void a_stream_that_ends_while_draining_closes(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, GET("/stream"));
    http_conn_drain(w->io.conn);
    sans_io_turn(&w->io);
    assert_int_equal(w->io.n_closed, 0);
    http_stream_end(w->held[0]);
    assert_int_equal(w->io.n_closed, 1);
}

/* Chunk extensions mean nothing and cost a reader time: there is an end to them. */
static void chunks_that_are_all_framing_are_refused(void **state)
{
    struct world *w = *state;
    sans_io_text(&w->io, "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 3000; i++) {
        sans_io_text(&w->io, "1\r\nx\r\n"); /* small chunks alone are fine */
    }
    expect_out(w, "");
    for (int i = 0; i < 3000; i++) {
        sans_io_text(&w->io, "1;extension=abcdefghijklmnopqrstuvwxyz\r\nx\r\n");
    }
    expect_has(w, "more framing than body");
    assert_int_equal(w->io.n_closed, 1);
}

static void a_large_body_in_small_reads(void **state)
{
    struct world *w = *state;
    static char block[1000];
    memset(block, 'z', sizeof(block));
    sans_io_text(&w->io, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    for (int i = 0; i < 200; i++) {
        sans_io_input(&w->io, slice_of(block, sizeof(block)));
    }
    expect_has(w, "Content-Length: 200000\r\n");
}

static void put_kib(struct world *w)
{
    static char kib[1024];
    sans_io_input(&w->io, slice_of(kib, sizeof(kib)));
}

static void bodies_have_a_bound_together(void **state)
{
    struct world *w = *state;
    static const char head[] = "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10240\r\n\r\n";
    w->io.limits.held_body_bytes = 2000;
    sans_io_text(&w->io, head);
    put_kib(w);
    put_kib(w);
    expect_out(w, "");
    put_kib(w);
    expect_has(w, "503 Service Unavailable");
    assert_int_equal(w->io.n_closed, 1);
    sans_io_gone(&w->io);
    sans_io_connect(&w->io);
    sans_io_text(&w->io, head); /* what was held is given back */
    put_kib(w);
    put_kib(w);
    expect_out(w, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_answer_in_full),
        T(answers_come_in_order),
        T(large_answers_wait_until_others_are_read),
        T(elapsed_time_is_told),
        T(input_behind_a_held_request_is_bounded),
        T(reads_are_small_while_input_is_held),
        T(unread_answers_hold_the_next_request_back),
        T(idle_connections_are_closed),
        T(a_slow_head_is_408),
        T(a_slow_body_is_408_a_steady_one_is_not),
        T(a_parked_request_has_no_timeout),
        T(a_client_that_is_gone_is_told_once),
        T(an_abort_may_answer),
        T(parking_after_the_client_left_is_told_at_the_end_of_the_turn),
        T(a_half_closed_client_gets_its_answers),
        T(a_half_closed_client_gets_what_waited),
        T(a_body_cut_short_is_400),
        T(draining_closes_idle_connections),
        T(draining_lets_requests_finish),
        T(draining_tells_parked_requests),
        T(draining_lets_a_started_head_finish),
        T(a_stream_is_chunked),
        T(a_stream_to_http_1_0_ends_by_close),
        T(a_download_tells_its_length),
        T(a_download_cut_short_cuts_the_connection),
        T(a_stream_for_head_has_no_body),
        T(a_stream_waits_for_its_peer),
        T(a_stalled_stream_is_cut),
        T(an_answer_that_is_read_slowly_is_not_cut),
        T(an_answer_that_nobody_reads_at_all_is_cut),
        T(a_stream_cut_by_its_handler_has_no_last_chunk),
        T(a_waiting_stream_goes_on_when_the_client_is_gone),
        T(a_stream_that_ends_while_draining_closes),
        T(chunks_that_are_all_framing_are_refused),
        T(bodies_have_a_bound_together),
        T(a_large_body_in_small_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
