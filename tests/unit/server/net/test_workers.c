/* SPDX-License-Identifier: Apache-2.0 */
/* Workers with real sockets on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client.h"
#include "server/http/http.h"
#include "server/net/worker.h"

/* --- the server under test --- */

enum {
    HUGE_BYTES = 14000000, /* more than the kernel takes of an answer that nobody reads */
    MIDDLING_BYTES = 60000,
};

struct world {
    struct http_server *http;
    struct workers *workers;
    int is_stopped;
    _Atomic int n_parked, n_aborts;
    struct mailbox core; /* a thread that answers late */
    pthread_t core_thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int has_mail, is_core_stopping;
    _Atomic int core_delay_ms;
};

static void hello(struct http_req *r, void *arg)
{
    (void)arg;
    http_respond(r, 200, "text/plain", SLICE_LIT("hello"));
}

static void answer_bytes(struct http_req *r, size_t n)
{
    struct buf *b = http_scratch(r);
    memset(buf_reserve(b, n), 'b', n);
    b->len = n;
    http_respond(r, 200, "application/octet-stream", buf_slice(b));
}

static void big(struct http_req *r, void *arg)
{
    (void)arg;
    answer_bytes(r, 3000000);
}

static void huge(struct http_req *r, void *arg)
{
    (void)arg;
    answer_bytes(r, HUGE_BYTES);
}

static void middling(struct http_req *r, void *arg)
{
    (void)arg;
    answer_bytes(r, MIDDLING_BYTES);
}

static void echo(struct http_req *r, void *arg)
{
    (void)arg;
    http_respond(r, 200, "text/plain", http_body(r));
}

static void on_abort(struct http_req *r)
{
    struct world *w = http_data(r);
    atomic_fetch_add(&w->n_aborts, 1);
    http_respond_error(r, MU_E_DRAINING, NULL);
}

static void park(struct http_req *r, void *arg)
{
    struct world *w = arg;
    atomic_fetch_add(&w->n_parked, 1);
    http_set_data(r, w);
    http_on_abort(r, on_abort);
    http_park(r);
}

/* A trip to another thread and back, as requests to the core make it. */
struct trip {
    struct mail_job job;
    struct http_req *r;
    struct mailbox *reply;
    int n;
};

static void trip_back(struct mail_job *j)
{
    struct trip *t = CONTAINER_OF(j, struct trip, job);
    char text[16];
    int len = snprintf(text, sizeof(text), "%d", t->n);
    http_respond(t->r, 200, "text/plain", slice_of(text, (size_t)len));
}

static void trip_there(struct mail_job *j)
{
    struct trip *t = CONTAINER_OF(j, struct trip, job);
    t->n++;
    t->job.run = trip_back;
    mailbox_send(t->reply, &t->job.mail);
}

static void trip(struct http_req *r, void *arg)
{
    struct world *w = arg;
    struct trip *t = http_alloc(r, sizeof(*t));
    *t = (struct trip){
        .job.run = trip_there, .r = r, .reply = worker_mailbox(http_worker(r)), .n = 41};
    mailbox_send(&w->core, &t->job.mail);
}

static void stream_more(struct http_req *r)
{
    static const char block[32 * 1024];
    uint64_t *left = http_data(r);
    while (*left > 0) {
        *left -= 1;
        if (!http_stream_write(r, slice_of(block, sizeof(block)))) {
            return;
        }
    }
    http_stream_end(r);
}

static void stream(struct http_req *r, void *arg)
{
    (void)arg;
    uint64_t *left = http_alloc(r, sizeof(*left));
    *left = 320; /* 10 MiB: far more than the sockets hold */
    http_set_data(r, left);
    http_stream_begin(r, 200, "application/octet-stream");
    http_stream_on_drain(r, stream_more);
    stream_more(r);
}

static const struct http_route routes[] = {
    HTTP_ROUTE(HTTP_M_GET, "/hello", hello, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/big", big, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/huge", huge, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/middling", middling, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_PUT, "/echo", echo, PERM_NONE_REQUIRED, 1000000),
    HTTP_ROUTE(HTTP_M_GET, "/park", park, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/trip", trip, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/stream", stream, PERM_NONE_REQUIRED, 0),
};

static void core_wake(void *arg)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    w->has_mail = 1;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static void *core_main(void *arg)
{
    struct world *w = arg;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (!w->has_mail && !w->is_core_stopping) {
            pthread_cond_wait(&w->cond, &w->lock);
        }
        int is_over = w->is_core_stopping;
        w->has_mail = 0;
        pthread_mutex_unlock(&w->lock);
        usleep(1000u * (unsigned)atomic_load(&w->core_delay_ms));
        (void)mailbox_run(&w->core);
        if (is_over) {
            return NULL;
        }
    }
}

static struct world *start_with(unsigned n_workers, struct net_limits limits)
{
    struct world *w = mem_zalloc(sizeof(*w));
    struct err e = {0};
    struct listener_options listener = {.address = "127.0.0.1:0"};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
    mailbox_init(&w->core, core_wake, w);
    assert_int_equal(pthread_create(&w->core_thread, NULL, core_main, w), 0);
    w->http = http_server_new(&(struct http_server_options){.arg = w});
    assert_int_equal(http_server_add(w->http, routes, N_ELEMENTS(routes), &e), 0);
    struct workers_options o = {.n_workers = n_workers,
                                .listeners = &listener,
                                .n_listeners = 1,
                                .limits = limits,
                                .http = w->http};
    if (workers_start(&o, &w->workers, &e) != 0) {
        fail_msg("%s", e.text);
    }
    return w;
}

static struct world *start(unsigned n_workers)
{
    return start_with(n_workers, (struct net_limits){0});
}

static void stop(struct world *w)
{
    if (!w->is_stopped) {
        workers_drain(w->workers);
        workers_stop(w->workers, 2000);
    }
    core_wake(w);
    pthread_mutex_lock(&w->lock);
    w->is_core_stopping = 1;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->core_thread, NULL);
    mailbox_fini(&w->core);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->cond);
    http_server_free(w->http);
    mem_free(w);
}

/* --- a client --- */

static int dial(struct world *w)
{
    return client_dial(workers_address(w->workers, 0));
}

static void wait_for(_Atomic int *n, int want)
{
    int64_t end = clock_mono_ms() + 10000;
    while (atomic_load(n) < want) {
        assert_true(clock_mono_ms() < end);
        usleep(1000);
    }
}

/* --- tests --- */

static void many_connections_on_two_workers(void **state)
{
    (void)state;
    struct world *w = start(2);
    int fds[50];
    for (int i = 0; i < 50; i++) {
        fds[i] = dial(w);
        client_send(fds[i], GET("/hello"));
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50; i++) {
            client_expect_answer(fds[i], "HTTP/1.1 200 OK", "hello");
            client_send(fds[i], GET("/hello"));
        }
    }
    struct net_stats s;
    workers_stats(w->workers, &s);
    assert_int_equal(s.connections, 50);
    assert_int_equal(s.accepted, 50);
    assert_true(s.bytes_in > 0 && s.bytes_out > 0);
    for (int i = 0; i < 50; i++) {
        close(fds[i]);
    }
    stop(w);
}

static void answers_come_back_from_another_thread(void **state)
{
    (void)state;
    struct world *w = start(2);
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = dial(w);
        client_send(fds[i], GET("/trip") GET("/hello") GET_CLOSE("/trip"));
    }
    for (int i = 0; i < 20; i++) {
        struct buf b = client_receive(fds[i], SIZE_MAX);
        const char *first = strstr((const char *)b.p, "\r\n\r\n42HTTP/1.1");
        assert_non_null(first);
        assert_non_null(strstr(first, "\r\n\r\nhelloHTTP/1.1"));
        assert_string_equal((const char *)b.p + b.len - 6, "\r\n\r\n42");
        buf_fini(&b);
        close(fds[i]);
    }
    stop(w);
}

static void a_big_answer_to_a_slow_reader(void **state)
{
    (void)state;
    struct world *w = start(1);
    int fd = dial(w);
    client_send(fd, GET("/big") GET_CLOSE("/hello"));
    usleep(50000); /* the socket fills up; the rest waits in the server */
    struct buf b = client_receive(fd, SIZE_MAX);
    assert_true(b.len > 3000000);
    assert_string_equal((const char *)b.p + b.len - 9, "\r\n\r\nhello");
    buf_fini(&b);
    close(fd);
    stop(w);
}

/* A connection that asks and does not read; its answer has begun to come. */
static int dial_idle_reader(struct world *w, const char *request)
{
    char c;
    int fd = dial(w);
    client_send(fd, request);
    assert_int_equal(recv(fd, &c, 1, MSG_PEEK), 1);
    return fd;
}

static uint64_t bytes_held(struct world *w)
{
    struct net_stats s;
    workers_stats(w->workers, &s);
    return s.bytes_held;
}

static void wait_until_held(struct world *w, uint64_t least, uint64_t most)
{
    int64_t end = clock_mono_ms() + 10000;
    while (bytes_held(w) < least || bytes_held(w) > most) {
        assert_true(clock_mono_ms() < end);
        usleep(1000);
    }
}

static void wait_until_nothing_is_held(struct world *w)
{
    wait_until_held(w, 0, 0);
}

/* What came is a whole answer, or a refusal; returns 1 when it is whole. */
static int is_whole(int fd)
{
    struct buf b = client_receive(fd, SIZE_MAX);
    const char *text = (const char *)b.p;
    int is_ok = strncmp(text, "HTTP/1.1 200", 12) == 0;
    size_t head = (size_t)(strstr(text, "\r\n\r\n") + 4 - text);
    if (is_ok) {
        assert_int_equal(b.len - head, HUGE_BYTES);
        assert_int_equal(strspn(text + head, "b"), HUGE_BYTES);
    } else {
        assert_non_null(strstr(text, "HTTP/1.1 503 Service Unavailable"));
        assert_non_null(strstr(text, "Retry-After: 1\r\n"));
    }
    buf_fini(&b);
    close(fd);
    return is_ok;
}

static void answers_that_nobody_reads_have_a_bound(void **state)
{
    (void)state;
    enum { READERS = 12, LIMIT = 20000000 };
    struct world *w = start_with(1, (struct net_limits){.held_output_bytes = LIMIT});
    int fds[READERS];
    int n_whole = 0;
    for (int i = 0; i < READERS; i++) {
        fds[i] = dial_idle_reader(w, GET_CLOSE("/huge"));
    }
    assert_in_range(bytes_held(w), LIMIT, LIMIT + HUGE_BYTES);
    int small = dial(w);
    client_send(small, GET("/hello"));
    client_expect_answer(small, "200 OK", "hello");
    for (int i = 0; i < READERS; i++) {
        n_whole += is_whole(fds[i]);
    }
    assert_in_range(n_whole, 2, READERS - 1);
    wait_until_nothing_is_held(w);
    assert_true(is_whole(dial_idle_reader(w, GET_CLOSE("/huge"))));
    int gone = dial_idle_reader(w, GET("/huge"));
    wait_until_held(w, 1, HUGE_BYTES);
    close(gone);
    wait_until_nothing_is_held(w);
    close(small);
    stop(w);
}

static void who_takes_nothing_is_cut(void **state)
{
    (void)state;
    static const char *const asks[] = {GET("/huge"), GET_CLOSE("/huge")};
    struct world *w = start_with(1, (struct net_limits){.body_timeout_ms = 300});
    for (size_t i = 0; i < N_ELEMENTS(asks); i++) {
        int fd = dial_idle_reader(w, asks[i]);
        wait_until_held(w, 1, HUGE_BYTES);
        wait_until_nothing_is_held(w);
        close(fd);
    }
    stop(w);
}

/* Also of answers that are small each: who goes on asking and does not read is cut. */
static void small_answers_that_nobody_reads_have_a_bound(void **state)
{
    (void)state;
    enum { READERS = 12, ASKS = 200, LIMIT = 200000 };
    struct world *w = start_with(1, (struct net_limits){.held_output_bytes = LIMIT});
    int fds[READERS];
    int n_cut = 0;
    for (int i = 0; i < READERS; i++) {
        fds[i] = dial_idle_reader(w, GET("/middling"));
        for (int k = 1; k < ASKS; k++) {
            (void)send(fds[i], GET("/middling"), strlen(GET("/middling")), MSG_NOSIGNAL);
        }
    }
    int small = dial(w);
    client_send(small, GET("/hello"));
    client_expect_answer(small, "200 OK", "hello");
    wait_until_held(w, 2 * LIMIT, 2 * LIMIT + 2 * MIDDLING_BYTES + 65536);
    for (int i = 0; i < READERS; i++) {
        struct buf b;
        (void)shutdown(fds[i], SHUT_WR);
        b = client_receive(fds[i], SIZE_MAX);
        n_cut += b.len < (size_t)ASKS * MIDDLING_BYTES;
        buf_fini(&b);
        close(fds[i]);
    }
    assert_in_range(n_cut, 1, READERS - 1);
    wait_until_nothing_is_held(w);
    close(small);
    stop(w);
}

static void a_long_stream_to_a_slow_reader(void **state)
{
    (void)state;
    struct world *w = start(1);
    int fd = dial(w);
    client_send(fd, GET_CLOSE("/stream"));
    usleep(50000);
    struct buf b = client_receive(fd, SIZE_MAX);
    assert_int_equal(b.len -
                         (size_t)(strstr((const char *)b.p, "\r\n\r\n") + 4 - (const char *)b.p),
                     320 * (32768 + 8) + 5);
    buf_fini(&b);
    close(fd);
    stop(w);
}

static void a_reader_that_leaves_a_stream(void **state)
{
    (void)state;
    struct world *w = start(1);
    int fd = dial(w);
    client_send(fd, GET("/stream"));
    struct buf b = client_receive(fd, 100000);
    buf_fini(&b);
    close(fd);
    stop(w); /* leaves nothing behind: the sanitizers look */
}

static void a_body_in_pieces(void **state)
{
    (void)state;
    struct world *w = start(1);
    int fd = dial(w);
    client_send(fd, "PUT /echo HTTP/1.1\r\nHost: a\r\nConnec");
    usleep(5000);
    client_send(fd, "tion: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe");
    usleep(5000);
    client_send(fd, "llo\r\n0\r\n\r\n");
    client_expect_end(fd, "\r\n\r\nhello");
    stop(w);
}

static void a_refused_upload_hears_why(void **state)
{
    (void)state;
    struct world *w = start(1);
    int fd = dial(w);
    static char block[65536];
    client_send(fd, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n");
    for (int i = 0; i < 8;
         i++) { /* the server reads on for a while: a reset could eat the answer */
        assert_int_equal(send(fd, block, sizeof(block), MSG_NOSIGNAL), sizeof(block));
        usleep(3000);
    }
    char answer[1024];
    ssize_t n = recv(fd, answer, sizeof(answer) - 1, 0);
    assert_true(n > 0);
    answer[n] = '\0';
    assert_non_null(strstr(answer, "HTTP/1.1 413 Content Too Large"));
    while ((n = recv(fd, answer, sizeof(answer), 0)) > 0) {
    }
    assert_int_equal(n, 0); /* an orderly end, no reset */
    close(fd);
    stop(w);
}

static void a_client_that_leaves_a_parked_request(void **state)
{
    (void)state;
    struct world *w = start(1);
    int fd = dial(w);
    client_send(fd, GET("/park"));
    wait_for(&w->n_parked, 1);
    close(fd);
    wait_for(&w->n_aborts, 1);
    stop(w);
}

static void draining_answers_parked_requests_and_refuses_new_ones(void **state)
{
    (void)state;
    struct world *w = start(2);
    char address[64];
    (void)snprintf(address, sizeof(address), "%s", workers_address(w->workers, 0));
    int idle = dial(w);
    int parked[10];
    for (int i = 0; i < 10; i++) {
        parked[i] = dial(w);
        client_send(parked[i], GET("/park"));
    }
    wait_for(&w->n_parked, 10);
    workers_drain(w->workers);
    workers_drain(w->workers); /* twice is once */
    for (int i = 0; i < 10; i++) {
        client_expect_end(parked[i], "Connection: close");
    }
    client_expect_end(idle, "");
    int64_t start_at = clock_mono_ms();
    workers_stop(w->workers, 5000);
    assert_true(clock_mono_ms() - start_at < 4000); /* nothing left to wait for */
    w->is_stopped = 1;
    stop(w);
}

static void stopping_cuts_what_does_not_end(void **state)
{
    (void)state;
    struct world *w = start(1);
    int fd = dial(w);
    client_send(fd, GET("/stream")); /* never read on */
    int half = dial(w);
    client_send(half, "GET /hello HT");
    usleep(20000);
    int64_t start_at = clock_mono_ms();
    workers_stop(w->workers, 100);
    assert_in_range(clock_mono_ms() - start_at, 50, 3000);
    w->is_stopped = 1;
    close(fd);
    close(half);
    stop(w);
}

static void stopping_waits_for_answers_that_are_owed(void **state)
{
    (void)state;
    struct world *w = start(1);
    int fd = dial(w);
    atomic_store(&w->core_delay_ms, 300);
    client_send(fd, GET("/trip"));
    usleep(20000);
    int64_t start_at = clock_mono_ms();
    workers_stop(w->workers,
                 50); /* cuts the connection; the answer comes later, to the worker's mailbox */
    assert_in_range(clock_mono_ms() - start_at, 200, 3000);
    w->is_stopped = 1;
    close(fd);
    stop(w);
}

static void never(struct http_req *r, void *arg)
{
    (void)r;
    atomic_fetch_add((_Atomic int *)arg, 1);
}

/* In a process of its own, since the memory of what is still owed stays on purpose. */
static int stop_with_debts(void)
{
    static const struct http_route row =
        HTTP_ROUTE(HTTP_M_GET, "/never", never, PERM_NONE_REQUIRED, 0);
    _Atomic int n_held = 0;
    struct err e = {0};
    struct workers *ws = NULL;
    struct listener_options l = {.address = "127.0.0.1:0"};
    struct http_server *http = http_server_new(&(struct http_server_options){.arg = &n_held});
    struct workers_options o = {.n_workers = 2, .listeners = &l, .n_listeners = 1, .http = http};
    if (http_server_add(http, &row, 1, &e) != 0 || workers_start(&o, &ws, &e) != 0) {
        return 2;
    }
    client_send(client_dial(workers_address(ws, 0)), GET("/never"));
    wait_for(&n_held, 1);
    int64_t start_at = clock_mono_ms();
    workers_drain(ws);
    workers_stop(ws, 50);
    return clock_mono_ms() - start_at < 5000 ? 0 : 3;
}

static void stopping_does_not_wait_for_ever(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(stop_with_debts());
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* --- many at once --- */

struct crowd {
    struct world *w;
    unsigned seed;
    int n_answers;
};

static unsigned draw(struct crowd *c, unsigned n)
{
    c->seed = c->seed * 1103515245u + 12345u;
    return (c->seed >> 16) % n;
}

/* One visit: some request, perhaps cut short, perhaps left without waiting for the answer. */
static void visit(struct crowd *c)
{
    static const char *const requests[] = {
        GET("/hello"),
        GET("/trip") GET("/hello") GET_CLOSE("/trip"),
        GET("/park"),
        GET("/stream"),
        GET_CLOSE("/big"),
        "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n",
        "nonsense\r\n\r\n",
    };
    const char *text = requests[draw(c, N_ELEMENTS(requests))];
    size_t len = draw(c, 4) == 0 ? draw(c, (unsigned)strlen(text)) : strlen(text);
    int fd = dial(c->w);
    size_t first = draw(c, 2) == 0 ? len : len / 2;
    (void)send(fd, text, first, MSG_NOSIGNAL);
    (void)send(fd, text + first, len - first, MSG_NOSIGNAL);
    char bytes[4096];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (unsigned reads = draw(c, 20); reads > 0 && poll(&p, 1, 10) == 1; reads--) {
        if (recv(fd, bytes, sizeof(bytes), 0) <= 0) {
            break;
        }
        c->n_answers++;
    }
    if (draw(c, 3) == 0) {
        struct linger reset = {.l_onoff = 1};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    close(fd);
}

enum { VISITS = 80 };

static void *crowd_main(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < VISITS; i++) {
        visit(c);
    }
    return NULL;
}

static void a_crowd_comes_and_goes(void **state)
{
    (void)state;
    enum { CROWD = 6 };
    struct world *w = start(2);
    struct crowd crowd[CROWD];
    pthread_t threads[CROWD];
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i] = (struct crowd){.w = w, .seed = i};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &crowd[i]), 0);
    }
    int n_answers = 0;
    for (int i = 0; i < CROWD; i++) {
        pthread_join(threads[i], NULL);
        n_answers += crowd[i].n_answers;
    }
    assert_true(n_answers > 0);
    struct net_stats s = {.connections = 1};
    for (int64_t end = clock_mono_ms() + 10000; s.connections > 0; usleep(1000)) {
        assert_true(clock_mono_ms() < end); /* nobody stays behind */
        workers_stats(w->workers, &s);
    }
    assert_int_equal(s.accepted, CROWD * VISITS);
    int fd = dial(w);
    client_send(fd, GET_CLOSE("/hello"));
    client_expect_end(fd, "hello");
    stop(w);
}

static void a_source_has_its_limit(void **state)
{
    (void)state;
    struct world *w = start_with(2, (struct net_limits){.connections_per_source = 5});
    int fds[5];
    for (int i = 0; i < 5; i++) {
        fds[i] = dial(w);
        client_send(fds[i], GET("/hello"));
        client_expect_answer(fds[i], "200 OK", "hello");
    }
    int one_more = dial(w);
    client_expect_end(one_more, "");
    close(fds[0]);
    int64_t end = clock_mono_ms() + 10000;
    for (int is_let_in = 0; !is_let_in;) { /* the place of the one that left is free again */
        assert_true(clock_mono_ms() < end);
        int fd = dial(w);
        (void)send(fd, GET_CLOSE("/hello"), sizeof(GET_CLOSE("/hello")) - 1, MSG_NOSIGNAL);
        struct buf b = client_receive(fd, SIZE_MAX);
        is_let_in = strstr((const char *)b.p, "hello") != NULL;
        buf_fini(&b);
        close(fd);
    }
    struct net_stats s;
    workers_stats(w->workers, &s);
    assert_true(s.refused >= 1);
    for (int i = 1; i < 5; i++) {
        close(fds[i]);
    }
    stop(w);
}

static void there_is_a_cap_on_all_connections(void **state)
{
    (void)state;
    struct world *w =
        start_with(2, (struct net_limits){.connections = 3, .connections_per_source = 100});
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(w);
        client_send(fds[i], GET("/hello"));
        client_expect_answer(fds[i], "200 OK", "hello");
    }
    client_expect_end(dial(w), "");
    struct net_stats s;
    workers_stats(w->workers, &s);
    assert_int_equal(s.connections, 3);
    assert_int_equal(s.refused, 1);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    stop(w);
}

/* Clients wait in the queue of the socket while no descriptor is free, and are served afterwards;
 * the worker does not spin meanwhile. */
static void no_free_descriptor(void **state)
{
    (void)state;
    struct world *w = start(1);
    struct rlimit before;
    int fd = dial(w);
    client_send(fd, GET("/hello"));
    client_expect_answer(fd, "200 OK", "hello");
    int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    assert_int_equal(getpeername(fd, (struct sockaddr *)&a, &len), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(connect(second, (struct sockaddr *)&a, len), 0);
    client_send(second, GET_CLOSE("/hello"));
    clock_t cpu = clock();
    usleep(250000);
    cpu = clock() - cpu;
    client_send(fd, GET("/hello")); /* others go on */
    client_expect_answer(fd, "200 OK", "hello");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    client_expect_end(second, "hello");
    assert_true(cpu < CLOCKS_PER_SEC / 10);
    close(fd);
    stop(w);
}

static void timeouts_reach_the_socket(void **state)
{
    (void)state;
    struct world *w =
        start_with(1, (struct net_limits){.head_timeout_ms = 60, .idle_timeout_ms = 120});
    int slow = dial(w);
    int idle = dial(w);
    int64_t from = clock_mono_ms();
    client_send(slow, "GET /he");
    client_expect_end(slow, "408 Request Timeout");
    assert_in_range(clock_mono_ms() - from, 60, 5000);
    client_expect_end(idle, "");
    assert_in_range(clock_mono_ms() - from, 120, 5000);
    stop(w);
}

static void a_port_in_use_is_an_error(void **state)
{
    (void)state;
    struct world *w = start(1);
    struct err e = {0};
    struct workers *second = NULL;
    struct listener_options l = {.address = workers_address(w->workers, 0)};
    struct workers_options o = {.n_workers = 2, .listeners = &l, .n_listeners = 1, .http = w->http};
    assert_int_equal(workers_start(&o, &second, &e), MU_E_IO);
    assert_non_null(strstr(e.text, "in use"));
    static const char *const bad[] = {"127.0.0.1", "127.0.0.1:70000", "::1:80", ":80", "[::1]",
                                      "",          "127.0.0.1:8x"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        l.address = bad[i];
        assert_int_equal(workers_start(&o, &second, &e), MU_E_BAD_REQUEST);
    }
    stop(w);
}

static void accepted_sockets_do_not_delay(void **state)
{
    (void)state;
    /* TCP_NODELAY is set on the listening socket; this is the kernel's promise that accepted ones
     * inherit it. */
    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    assert_int_equal(setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&a, len), 0);
    int fd = accept(listener, NULL, NULL);
    int value = 0;
    socklen_t value_len = sizeof(value);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &value_len), 0);
    assert_int_not_equal(value, 0);
    close(fd);
    close(client);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_connections_on_two_workers),
        cmocka_unit_test(answers_come_back_from_another_thread),
        cmocka_unit_test(a_big_answer_to_a_slow_reader),
        cmocka_unit_test(answers_that_nobody_reads_have_a_bound),
        cmocka_unit_test(who_takes_nothing_is_cut),
        cmocka_unit_test(small_answers_that_nobody_reads_have_a_bound),
        cmocka_unit_test(a_long_stream_to_a_slow_reader),
        cmocka_unit_test(a_reader_that_leaves_a_stream),
        cmocka_unit_test(a_body_in_pieces),
        cmocka_unit_test(a_refused_upload_hears_why),
        cmocka_unit_test(a_client_that_leaves_a_parked_request),
        cmocka_unit_test(draining_answers_parked_requests_and_refuses_new_ones),
        cmocka_unit_test(stopping_cuts_what_does_not_end),
        cmocka_unit_test(stopping_waits_for_answers_that_are_owed),
        cmocka_unit_test(stopping_does_not_wait_for_ever),
        cmocka_unit_test(a_crowd_comes_and_goes),
        cmocka_unit_test(a_source_has_its_limit),
        cmocka_unit_test(there_is_a_cap_on_all_connections),
        cmocka_unit_test(no_free_descriptor),
        cmocka_unit_test(timeouts_reach_the_socket),
        cmocka_unit_test(a_port_in_use_is_an_error),
        cmocka_unit_test(accepted_sockets_do_not_delay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
