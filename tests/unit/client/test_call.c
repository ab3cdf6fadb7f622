/* SPDX-License-Identifier: Apache-2.0 */
/* Requests against small servers that misbehave in one way each. */
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "client/call.h"
#include "client/mem.h"
#include "tests/unit/client/stub.h"

static const char problem[] = "{\"code\":\"%s\",\"detail\":\"because\"}";

/* What a stub saw, and how it answers. */
struct seen {
    const char *code; /* of a 503; NULL: 200 */
    int close_first;  /* so many requests are read and not answered */
    pthread_mutex_t lock;
    int n;
    char ids[64][72];
    char target[256];
    char head[4096];
    char body[256];
};

static void serve(void *user, const struct stub_req *r)
{
    struct seen *s = user;
    char text[256];
    pthread_mutex_lock(&s->lock);
    if (s->n < 64 && !stub_header(r, "Muster-Request-Id", s->ids[s->n], sizeof(s->ids[0]))) {
        s->ids[s->n][0] = '\0';
    }
    s->n++;
    snprintf(s->target, sizeof(s->target), "%s %.200s", r->method, r->target);
    snprintf(s->head, sizeof(s->head), "%.4000s", r->head);
    snprintf(s->body, sizeof(s->body), "%.*s", (int)r->body_len, r->body);
    pthread_mutex_unlock(&s->lock);
    if (r->n < s->close_first) {
        return;
    }
    if (s->code != NULL) {
        snprintf(text, sizeof(text), problem, s->code);
        stub_answer(r, 503, "", text);
        return;
    }
    stub_answer(r, 200,
                "Muster-Revision: 42\r\nMuster-Stale: true\r\nETag: \"7\"\r\n"
                "Content-Type: application/json\r\n",
                "{}");
}

static struct seen *seen_new(const char *code, int close_first)
{
    struct seen *s = calloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->code = code;
    s->close_first = close_first;
    return s;
}

static struct muster *open_at(const char *endpoints, int64_t timeout_ms)
{
    struct muster_options o;
    struct muster *m = NULL;
    struct muster_error e;
    muster_options_init(&o);
    o.endpoints = endpoints;
    o.request_timeout_ms = timeout_ms;
    o.connect_timeout_ms = 500;
    assert_int_equal(muster_open(&o, &m, &e), MUSTER_OK);
    return m;
}

static muster_status ask(struct muster *m, const char *method, const char *path,
                         struct muster_error *e)
{
    struct muster_answer *a = NULL;
    struct muster_request q = {.method = method, .path = path};
    if (strcmp(method, "PUT") == 0) {
        q.body = "body";
        q.body_len = 4;
    }
    muster_status rc = muster_call(m, &q, &a, e);
    assert_true((rc == MUSTER_OK) == (a != NULL));
    muster_answer_free(a);
    return rc;
}

/* --- answers --- */

static void an_answer(void **state)
{
    (void)state;
    struct seen *seen = seen_new(NULL, 0);
    struct stub *s = stub_start(serve, seen);
    struct muster *m = open_at(stub_url(s), 5000);
    struct muster_answer *a = NULL;
    struct muster_error e;
    struct muster_request q = {.method = "PUT",
                               .path = "/configs/a/b",
                               .body = "hello",
                               .body_len = 5,
                               .content_type = "text/x",
                               .if_match = "7"};
    assert_int_equal(muster_call(m, &q, &a, &e), MUSTER_OK);
    assert_true(a->http_status == 200 && a->revision == 42 && a->stale && a->body_len == 2);
    assert_string_equal(a->etag, "7");
    assert_string_equal(a->content_type, "application/json");
    assert_string_equal(a->body, "{}");
    muster_answer_free(a);
    assert_string_equal(seen->target, "PUT /api/v1/configs/a/b");
    assert_string_equal(seen->body, "hello");
    assert_non_null(strstr(seen->head, "Content-Type: text/x\r\n"));
    assert_non_null(strstr(seen->head, "If-Match: \"7\"\r\n"));
    assert_null(strstr(seen->head, "Expect:"));
    assert_int_equal(strlen(seen->ids[0]), 32);
    /* Reads and keep-alives carry no id. */
    assert_int_equal(ask(m, "GET", "//readyz", &e), MUSTER_OK);
    assert_string_equal(seen->target, "GET /readyz");
    assert_string_equal(seen->ids[1], "");
    assert_int_equal(ask(m, "POST", "/leases:keepalive", &e), MUSTER_OK);
    assert_string_equal(seen->ids[2], "");
    assert_int_equal(ask(m, "POST", "/leases", &e), MUSTER_OK);
    assert_string_not_equal(seen->ids[3], seen->ids[0]);
    muster_close(m);
    stub_stop(s);
    free(seen);
}

static void the_namespace_is_named(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"/configs/a/b", "GET /api/v1/configs/a/b?namespace=t%20m"},
        {"/services?prefix=x", "GET /api/v1/services?prefix=x&namespace=t%20m"},
        {"/services?namespace=other", "GET /api/v1/services?namespace=other"},
        {"/cluster", "GET /api/v1/cluster"},
        {"//metrics", "GET /metrics"},
    };
    struct seen *seen = seen_new(NULL, 0);
    struct stub *s = stub_start(serve, seen);
    struct muster_options o;
    struct muster *m = NULL;
    struct muster_error e;
    muster_options_init(&o);
    o.endpoints = stub_url(s);
    o.namespace_ = "t m";
    assert_int_equal(muster_open(&o, &m, &e), MUSTER_OK);
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        assert_int_equal(ask(m, "GET", rows[i][0], &e), MUSTER_OK);
        assert_string_equal(seen->target, rows[i][1]);
    }
    muster_close(m);
    stub_stop(s);
    free(seen);
}

/* --- endpoints that fail --- */

static void a_dead_endpoint_is_passed_by(void **state)
{
    (void)state;
    char dead[64], both[160];
    struct seen *seen = seen_new(NULL, 0);
    struct stub *s = stub_start(serve, seen);
    struct muster_error e;
    stub_dead_url(dead, sizeof(dead));
    snprintf(both, sizeof(both), "%s,%s", dead, stub_url(s));
    struct muster *m = open_at(both, 5000);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(ask(m, "PUT", "/configs/a/b", &e), MUSTER_OK);
    }
    assert_int_equal(seen->n, 10);
    muster_close(m);
    stub_stop(s);
    free(seen);
}

/* The answer is lost after the request was read: the repeat has the same id, whoever gets it. */
static void a_repeat_has_the_same_id(void **state)
{
    (void)state;
    struct seen *seen = seen_new(NULL, 3);
    struct stub *s = stub_start(serve, seen);
    struct muster *m = open_at(stub_url(s), 10000);
    struct muster_error e;
    assert_int_equal(ask(m, "PUT", "/configs/a/b", &e), MUSTER_OK);
    assert_int_equal(seen->n, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(strlen(seen->ids[i]), 32);
        assert_string_equal(seen->ids[i], seen->ids[0]);
    }
    assert_int_equal(ask(m, "PUT", "/configs/a/b", &e), MUSTER_OK);
    assert_string_not_equal(seen->ids[4], seen->ids[0]);
    muster_close(m);
    stub_stop(s);
    free(seen);
}

/* Time runs out while the server keeps saying `code`. An attempt may be under way at that moment,
 * and on a busy machine its answer is then not seen: that is another case, so it gets more time. */
static muster_status status_at_the_end(const char *code, int close_first, const char *method,
                                       int64_t timeout_ms, struct muster_error *e)
{
    struct seen *seen = seen_new(code, close_first);
    struct stub *s = stub_start(serve, seen);
    struct muster *m = open_at(stub_url(s), timeout_ms);
    muster_status rc = ask(m, method, "/configs/a/b", e);
    assert_int_equal(e->status, rc);
    assert_true(stub_count(s) > 1);
    muster_close(m);
    stub_stop(s);
    free(seen);
    return rc;
}

static void outcome(const char *code, int close_first, const char *method, muster_status want)
{
    struct muster_error e = {0};
    int is_cut = 1;
    for (int64_t ms = 700; is_cut && ms <= 5600; ms *= 2) {
        memset(&e, 0, sizeof(e));
        muster_status rc = status_at_the_end(code, close_first, method, ms, &e);
        is_cut = rc != want || (code != NULL && close_first == 0 && e.http_status == 0);
    }
    assert_int_equal(e.status, want);
    if (code != NULL && close_first == 0) {
        assert_int_equal(e.http_status, 503);
        assert_string_equal(e.code, code);
        assert_string_equal(e.text, "because");
    }
}

static void unknown_or_surely_not_done(void **state)
{
    (void)state;
    char dead[64];
    struct muster_error e;
    outcome(NULL, 1000, "PUT", MUSTER_UNKNOWN);
    outcome(NULL, 1000, "GET", MUSTER_UNREACHABLE);
    outcome("UNKNOWN_OUTCOME", 0, "PUT", MUSTER_UNKNOWN);
    outcome("UNKNOWN_OUTCOME", 0, "DELETE", MUSTER_UNKNOWN);
    outcome("NO_LEADER", 0, "PUT", MUSTER_UNREACHABLE);
    outcome("OVERLOADED", 0, "PUT", MUSTER_UNREACHABLE);
    outcome("DRAINING", 0, "PUT", MUSTER_UNREACHABLE);
    outcome("NO_LEADER", 0, "GET", MUSTER_UNREACHABLE);
    outcome("NO_LEADER", 1, "PUT", MUSTER_UNKNOWN); /* the first attempt may have been done */
    stub_dead_url(dead, sizeof(dead));
    struct muster *m = open_at(dead, 500);
    int64_t before = clock_mono_ms();
    assert_int_equal(ask(m, "PUT", "/configs/a/b", &e), MUSTER_UNREACHABLE);
    assert_true(clock_mono_ms() - before < 1500);
    muster_close(m);
}

static void hang(void *user, const struct stub_req *r)
{
    (void)user;
    stub_hang(r);
}

static void one_that_hangs_does_not_take_all_the_time(void **state)
{
    (void)state;
    char both[160];
    struct seen *seen = seen_new(NULL, 0);
    struct stub *s = stub_start(serve, seen), *h = stub_start(hang, NULL);
    struct muster_error e;
    snprintf(both, sizeof(both), "%s,%s", stub_url(h), stub_url(s));
    for (int i = 0; i < 4; i++) { /* the first endpoint is drawn by lot */
        struct muster *m = open_at(both, 5000);
        assert_int_equal(ask(m, "PUT", "/configs/a/b", &e), MUSTER_OK);
        muster_close(m);
    }
    struct muster *m = open_at(stub_url(h), 300);
    int64_t before = clock_mono_ms();
    assert_int_equal(ask(m, "PUT", "/configs/a/b", &e), MUSTER_UNKNOWN);
    assert_true(clock_mono_ms() - before < 1500);
    muster_close(m);
    stub_stop(s);
    stub_stop(h);
    free(seen);
}

static void an_open_breaker_answers_at_once(void **state)
{
    (void)state;
    char dead[64];
    struct muster_options o;
    struct muster *m = NULL;
    struct muster_error e;
    stub_dead_url(dead, sizeof(dead));
    muster_options_init(&o);
    o.endpoints = dead;
    o.request_timeout_ms = 300;
    o.breaker_min_requests = 2;
    o.breaker_open_ms = 60000;
    assert_int_equal(muster_open(&o, &m, &e), MUSTER_OK);
    assert_int_equal(ask(m, "GET", "/cluster", &e), MUSTER_UNREACHABLE);
    assert_int_equal(ask(m, "GET", "/cluster", &e), MUSTER_UNREACHABLE);
    int64_t before = clock_mono_ms();
    assert_int_equal(ask(m, "GET", "/cluster", &e), MUSTER_UNREACHABLE);
    assert_true(clock_mono_ms() - before < 100);
    assert_non_null(strstr(e.text, "failed lately"));
    muster_close(m);
}

/* --- bounds --- */

static void endless(void *user, const struct stub_req *r)
{
    char *piece = calloc(1, 1 << 20);
    memset(piece, 'x', 1 << 20);
    if (*(const char *)user == 'h') { /* header lines */
        stub_text(r, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 200 && stub_text(r, "X-Long: "); i++) {
            stub_send(r, piece, 1000);
            stub_text(r, "\r\n");
        }
        stub_text(r, "\r\n");
    } else {
        stub_text(r, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while (stub_send(r, piece, 1 << 20)) {
        }
    }
    free(piece);
}

static void answers_are_bounded(void **state)
{
    (void)state;
    char what[2] = "h";
    struct muster_error e;
    for (int i = 0; i < 2; i++) {
        struct stub *s = stub_start(endless, what);
        struct muster *m = open_at(stub_url(s), 20000);
        assert_int_equal(ask(m, "GET", "/cluster", &e), MUSTER_REFUSED);
        assert_int_equal(stub_count(s), 1);
        muster_close(m);
        stub_stop(s);
        what[0] = 'b';
    }
}

/* --- in pieces --- */

struct pieces {
    size_t len;
    int64_t total;
    int stop;
};

static int take_piece(void *user, const void *data, size_t len, int64_t total)
{
    struct pieces *p = user;
    (void)data;
    p->len += len;
    p->total = total;
    return p->stop;
}

static void break_off(void *user, const struct stub_req *r)
{
    (void)user;
    stub_text(r, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
}

static void a_body_in_pieces(void **state)
{
    (void)state;
    struct seen *seen = seen_new(NULL, 0);
    struct stub *s = stub_start(serve, seen);
    struct muster *m = open_at(stub_url(s), 3000);
    struct pieces p = {0};
    struct muster_error e;
    struct muster_request q = {
        .method = "GET", .path = "/snapshot", .on_data = take_piece, .user = &p};
    assert_int_equal(muster_call(m, &q, NULL, &e), MUSTER_OK);
    assert_true(p.len == 2 && p.total == 2);
    p.stop = 1;
    assert_int_equal(muster_call(m, &q, NULL, &e), MUSTER_CLOSED);
    muster_close(m);
    stub_stop(s);
    free(seen);
    /* One that broke off is not begun again. */
    s = stub_start(break_off, NULL);
    m = open_at(stub_url(s), 3000);
    p = (struct pieces){0};
    assert_int_equal(muster_call(m, &q, NULL, &e), MUSTER_UNREACHABLE);
    assert_int_equal(p.len, 9);
    assert_int_equal(stub_count(s), 1);
    muster_close(m);
    stub_stop(s);
}

/* --- what the program gives --- */

static void arguments(void **state)
{
    (void)state;
    static const struct muster_request bad[] = {
        {.path = "/x"},
        {.method = "GET"},
        {.method = "get", .path = "/x"},
        {.method = "GET", .path = "x"},
        {.method = "GET", .path = "/a b"},
        {.method = "GET", .path = "/a\r\nX: y"},
        {.method = "GET", .path = "/\xc3\xa9"},
        {.method = "GET", .path = "/x", .if_match = "a\r\nb"},
        {.method = "GET", .path = "/x", .if_none_match = ""},
        {.method = "PUT", .path = "/x", .body = "", .content_type = "a\nb"},
        {.method = "PUT", .path = "/x", .body_len = 1},
        {.method = "GET", .path = "/x", .timeout_ms = -1},
    };
    struct muster *m = open_at("http://127.0.0.1:1", 1000);
    struct muster_error e;
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(muster_call(m, &bad[i], NULL, &e), MUSTER_INVALID);
        assert_true(e.text[0] != '\0');
    }
    assert_int_equal(muster_call(m, NULL, NULL, NULL), MUSTER_INVALID);
    muster_close(m);
}

static void options(void **state)
{
    (void)state;
    struct muster_options good, o;
    struct muster *m = NULL;
    struct muster_error e;
    muster_options_init(&good);
    assert_int_equal(muster_open(NULL, &m, &e), MUSTER_OK);
    muster_close(m);
    muster_close(NULL);
    const struct {
        size_t size;
        const char *endpoints, *ns, *cert;
        int64_t request_ms;
        int percent;
    } rows[] = {{0, NULL, NULL, NULL, 0, 0},        {1, "nonsense://", NULL, NULL, 0, 0},
                {1, NULL, "", NULL, 0, 0},          {1, NULL, "a\nb", NULL, 0, 0},
                {1, NULL, NULL, "only.pem", 0, 0},  {1, NULL, NULL, NULL, -1, 0},
                {1, NULL, NULL, NULL, 86400001, 0}, {1, NULL, NULL, NULL, 0, 101}};
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        o = good;
        o.size = rows[i].size != 0 ? sizeof(o) : 0;
        o.endpoints = rows[i].endpoints;
        o.namespace_ = rows[i].ns;
        o.cert_file = rows[i].cert;
        o.request_timeout_ms = rows[i].request_ms;
        o.breaker_failure_percent = rows[i].percent;
        assert_int_equal(muster_open(&o, &m, &e), MUSTER_INVALID);
        assert_true(e.text[0] != '\0');
    }
    /* A shorter struct of an older header, and a longer one of a newer. */
    o = good;
    o.size = offsetof(struct muster_options, request_timeout_ms);
    o.request_timeout_ms = -5; /* not looked at */
    assert_int_equal(muster_open(&o, &m, &e), MUSTER_OK);
    muster_close(m);
    o = good;
    o.size = sizeof(o) + 100;
    assert_int_equal(muster_open(&o, &m, &e), MUSTER_OK);
    muster_close(m);
    assert_string_equal(muster_version(), MUSTER_VERSION);
}

static void backoff_grows_and_is_bounded(void **state)
{
    (void)state;
    int64_t most = 0;
    for (int i = 0; i < 2000; i++) {
        assert_in_range(call_backoff_ms(1), 1, 50);
        int64_t ms = call_backoff_ms(100);
        assert_in_range(ms, 1, 1000);
        most = ms > most ? ms : most;
    }
    assert_true(most > 800);
}

/* --- closing --- */

static void *close_soon(void *arg)
{
    usleep(100 * 1000);
    muster_close(arg);
    return NULL;
}

static void closing_ends_what_waits(void **state)
{
    (void)state;
    struct stub *h = stub_start(hang, NULL);
    struct muster *m = open_at(h != NULL ? stub_url(h) : "", 30000);
    struct muster_error e;
    pthread_t t;
    pthread_create(&t, NULL, close_soon, m);
    int64_t before = clock_mono_ms();
    assert_int_equal(ask(m, "GET", "/cluster", &e), MUSTER_CLOSED);
    assert_true(clock_mono_ms() - before < 3000);
    pthread_join(t, NULL);
    stub_stop(h);
}

static void *ask_many(void *arg)
{
    struct muster_error e;
    for (int i = 0; i < 25; i++) {
        assert_int_equal(ask(arg, "PUT", "/configs/a/b", &e), MUSTER_OK);
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    struct seen *seen = seen_new(NULL, 0);
    struct stub *s = stub_start(serve, seen);
    struct muster *m = open_at(stub_url(s), 20000);
    pthread_t t[12];
    for (size_t i = 0; i < N_ELEMENTS(t); i++) {
        pthread_create(&t[i], NULL, ask_many, m);
    }
    for (size_t i = 0; i < N_ELEMENTS(t); i++) {
        pthread_join(t[i], NULL);
    }
    assert_int_equal(seen->n, 300);
    muster_close(m);
    stub_stop(s);
    free(seen);
}

/* --- memory --- */

/* Each of our allocations fails in turn: from opening to closing. */
static void no_memory(void **state)
{
    (void)state;
    struct seen *seen = seen_new(NULL, 0);
    struct stub *s = stub_start(serve, seen);
    struct muster_options o;
    muster_options_init(&o);
    o.endpoints = stub_url(s);
    o.namespace_ = "team";
    for (long n = 1;; n++) {
        struct muster *m = NULL;
        struct muster_answer *a = NULL;
        struct muster_error e = {0};
        struct muster_request q = {
            .method = "PUT", .path = "/configs/a/b", .body = "x", .body_len = 1, .if_match = "7"};
        cmem_fail_at(n);
        muster_status rc = muster_open(&o, &m, &e);
        rc = rc == MUSTER_OK ? muster_call(m, &q, &a, &e) : rc;
        int was_pending = cmem_fail_pending();
        cmem_fail_at(0);
        bool is_told = rc == MUSTER_NO_MEMORY || rc == MUSTER_UNKNOWN; /* unsent or sent */
        assert_true(rc == MUSTER_OK || (is_told && e.status == rc));
        muster_answer_free(a);
        muster_close(m);
        if (was_pending) {
            assert_int_equal(rc, MUSTER_OK);
            assert_true(n > 15);
            break;
        }
    }
    stub_stop(s);
    free(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer),
        cmocka_unit_test(the_namespace_is_named),
        cmocka_unit_test(a_dead_endpoint_is_passed_by),
        cmocka_unit_test(a_repeat_has_the_same_id),
        cmocka_unit_test(unknown_or_surely_not_done),
        cmocka_unit_test(one_that_hangs_does_not_take_all_the_time),
        cmocka_unit_test(an_open_breaker_answers_at_once),
        cmocka_unit_test(answers_are_bounded),
        cmocka_unit_test(a_body_in_pieces),
        cmocka_unit_test(arguments),
        cmocka_unit_test(options),
        cmocka_unit_test(backoff_grows_and_is_bounded),
        cmocka_unit_test(closing_ends_what_waits),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(no_memory),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
