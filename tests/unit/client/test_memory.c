/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out at every place where it can: the library's own allocations and libcurl's, on the
 * calling thread and behind it. Each one fails alone, then with those that follow
 * it. No crash and, seen by the leak checker, no leak; a write that was sent is never told as not
 * done; what was kept alive stays so; and the client works again as soon as there is memory. */
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>

#include "client/include/muster.h"
#include "client/mem.h"
#include "tests/unit/client/fakestore.h"

enum { MANY = 40, LIVES_MAX = 20000 };

/* --- a small store of one key, which counts --- */

struct counts {
    pthread_mutex_t lock;
    int n_writes; /* with different request ids */
    char last_id[64];
};

static void serve(void *user, const struct stub_req *r)
{
    struct counts *c = user;
    char id[64] = "";
    if (strncmp(r->target, "/api/v1/watch", 13) == 0) {
        stub_stream(r);
        stub_text(r, "id: 4\nevent: progress\ndata: {}\n\n"
                     "id: 5\nevent: change\ndata: {\"revision\":5,\"events\":[]}\n\n");
        stub_hang(r);
        return;
    }
    if (stub_header(r, "Muster-Request-Id", id, sizeof(id))) {
        pthread_mutex_lock(&c->lock);
        c->n_writes += strcmp(id, c->last_id) != 0;
        snprintf(c->last_id, sizeof(c->last_id), "%s", id);
        pthread_mutex_unlock(&c->lock);
    }
    stub_answer(r, 200, "Muster-Revision: 5\r\nETag: \"5\"\r\nContent-Type: text/plain\r\n",
                strcmp(r->method, "PUT") == 0 ? "{\"revision\":5}" : "content");
}

static int writes(struct counts *c)
{
    pthread_mutex_lock(&c->lock);
    int n = c->n_writes;
    pthread_mutex_unlock(&c->lock);
    return n;
}

/* --- one life of a client that waits for each answer --- */

struct life {
    struct muster *m;
    struct counts counts;
    char dir[64];
    int n_failed, n_unknown;
};

static void read_told(struct life *l, muster_status rc, const struct muster_error *e)
{
    assert_true(rc == MUSTER_OK || (rc == MUSTER_NO_MEMORY && e->status == rc && e->text[0]));
    l->n_failed += rc != MUSTER_OK;
}

/* `before` writes had reached the store when this one began. */
static void write_told(struct life *l, muster_status rc, const struct muster_error *e, int before)
{
    int n = writes(&l->counts) - before;
    assert_true(rc == MUSTER_OK || rc == MUSTER_NO_MEMORY || rc == MUSTER_UNKNOWN);
    assert_true(rc == MUSTER_OK || (e->status == rc && e->text[0] != '\0'));
    assert_true(n == (rc == MUSTER_OK) || (n == 1 && rc == MUSTER_UNKNOWN));
    l->n_failed += rc != MUSTER_OK;
    l->n_unknown += rc == MUSTER_UNKNOWN;
}

static int on_data(void *user, const void *data, size_t len, int64_t total)
{
    (void)data;
    (void)total;
    *(size_t *)user += len;
    return 0;
}

static int on_event(void *user, const struct muster_event *event)
{
    return event->revision == 5 && ++*(int *)user > 0;
}

static void publish(struct life *l)
{
    struct muster_error e = {0};
    struct muster_publish how = {.comment = "why", .author = "who", .if_revision = 4};
    uint64_t rev = 0;
    int before = writes(&l->counts);
    muster_status rc = muster_config_publish(l->m, "g", "k", "content", 7, &how, &rev, &e);
    write_told(l, rc, &e, before);
    assert_int_equal(rev, rc == MUSTER_OK ? 5 : 0);
}

static void ask(struct life *l)
{
    struct muster_error e = {0};
    struct muster_answer *a = NULL;
    struct muster_request q = {.method = "POST", .path = "/leases", .body = "{}", .body_len = 2};
    int before = writes(&l->counts);
    muster_status rc = muster_call(l->m, &q, &a, &e);
    write_told(l, rc, &e, before);
    assert_true((a != NULL) == (rc == MUSTER_OK));
    muster_answer_free(a);
}

static void delete (struct life *l)
{
    struct muster_error e = {0};
    int before = writes(&l->counts);
    muster_status rc = muster_config_delete(l->m, "g", "k", 0, &e);
    write_told(l, rc, &e, before);
}

static void get(struct life *l)
{
    struct muster_error e = {0};
    struct muster_config *c = NULL;
    muster_status rc = muster_config_get(l->m, "g", "k", &c, &e);
    read_told(l, rc, &e);
    assert_true((c != NULL) == (rc == MUSTER_OK));
    assert_true(c == NULL || (c->size == 7 && strcmp(c->content, "content") == 0));
    muster_config_free(c);
}

static void load(struct life *l)
{
    struct muster_error e = {0};
    size_t len = 0;
    struct muster_request q = {
        .method = "GET", .path = "/snapshot", .on_data = on_data, .user = &len};
    muster_status rc = muster_call(l->m, &q, NULL, &e);
    read_told(l, rc, &e);
    assert_true(rc != MUSTER_OK || len == 7);
}

static void watch(struct life *l)
{
    struct muster_error e = {0};
    int n = 0;
    muster_status rc = muster_watch(l->m, "configs=g/k", 5, on_event, &n, &e);
    read_told(l, rc, &e);
    assert_int_equal(n, rc == MUSTER_OK); /* told once or not at all */
}

static void (*const steps[])(struct life *l) = {publish, ask, get, load, watch, delete};

/* Returns whether memory did not run out in it. */
static bool live(struct life *l, long n, long many)
{
    struct stub *s = stub_start(serve, &l->counts);
    struct muster_options o;
    struct muster_error e = {0};
    muster_options_init(&o);
    o.endpoints = stub_url(s);
    o.namespace_ = "team";
    o.snapshot_dir = l->dir;
    o.breaker_failure_percent = 100; /* what fails for want of memory closes no endpoint */
    o.breaker_min_requests = 1000;
    cmem_fail_from(n, many);
    muster_status rc = muster_open(&o, &l->m, &e);
    read_told(l, rc, &e);
    if (rc == MUSTER_OK) {
        for (size_t i = 0; i < N_ELEMENTS(steps); i++) {
            steps[i](l);
        }
    }
    bool is_over = cmem_fail_pending();
    cmem_fail_at(0);
    int n_failed = l->n_failed;
    assert_true(!is_over || n_failed == 0);
    if (rc == MUSTER_OK) {
        steps[n % (long)N_ELEMENTS(steps)](l);
    }
    assert_int_equal(l->n_failed, n_failed); /* with memory all is well again */
    muster_close(l->m);
    stub_stop(s);
    return is_over;
}

static void remove_all(const char *dir)
{
    char cmd[128];
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    assert_int_equal(system(cmd), 0);
}

static void lives(long many, long stride)
{
    struct life l = {.counts.lock = PTHREAD_MUTEX_INITIALIZER, .dir = "/tmp/muster-memory-XXXXXX"};
    assert_non_null(mkdtemp(l.dir));
    long n = 1;
    int n_unknown = 0, n_failed = 0;
    for (bool is_over = false; !is_over; n += stride) {
        assert_true(n < LIVES_MAX);
        l.m = NULL;
        l.n_failed = l.n_unknown = 0;
        is_over = live(&l, n, many);
        n_failed += l.n_failed > 0;
        n_unknown += l.n_unknown > 0;
    }
    print_message("# failing calls: %ld allocations, told %d, of them writes on their way %d\n",
                  (n - 1) / stride - 1, n_failed, n_unknown);
    assert_true(n > 200 && n_failed > 60 && n_unknown > 0); /* the test itself is at work */
    remove_all(l.dir);
}

static void each_allocation_fails(void **state)
{
    (void)state;
    lives(1, 1);
}

static void memory_is_gone_for_a_while(void **state)
{
    (void)state;
    lives(MANY, 3);
}

/* --- what is kept alive --- */

static muster_status enrol(struct muster *m, struct muster_error *e)
{
    struct muster_instance i;
    muster_instance_init(&i);
    i.service = "web";
    i.id = "a";
    i.address = "127.0.0.1";
    i.port = 80;
    i.ttl_ms = 1000;
    return muster_register(m, &i, e);
}

/* Registering again what is kept alive, without memory: it is kept alive all the same. */
static void a_kept_registration_outlives_a_failed_one(void **state)
{
    (void)state;
    bool is_over = false;
    for (long n = 1; !is_over; n += 5) {
        struct fakestore *f = fake_start();
        struct muster_options o;
        struct muster *m = NULL;
        muster_options_init(&o);
        o.endpoints = fake_url(f);
        assert_int_equal(muster_open(&o, &m, NULL), MUSTER_OK);
        assert_int_equal(enrol(m, NULL), MUSTER_OK);
        cmem_fail_from(n, MANY);
        struct muster_error e = {0};
        muster_status rc = enrol(m, &e);
        is_over = cmem_fail_pending();
        cmem_fail_at(0);
        assert_true(rc == MUSTER_OK || rc == MUSTER_NO_MEMORY || rc == MUSTER_UNKNOWN);
        int before = fake_beats(f, NULL), n_leases = 0;
        for (int i = 0; i < 3000 && (fake_beats(f, &n_leases) == before || n_leases == 0); i++) {
            usleep(10 * 1000);
        }
        assert_true(fake_beats(f, &n_leases) > before);
        assert_int_equal(n_leases, 1);
        muster_close(m);
        assert_int_equal(fake_deregistrations(f), 1);
        fake_stop(f);
    }
}

static void *c_calloc(size_t n, size_t size)
{
    return n == 0 || size <= SIZE_MAX / n ? cmem_zalloc(n * size) : NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_fails),
        cmocka_unit_test(memory_is_gone_for_a_while),
        cmocka_unit_test(a_kept_registration_outlives_a_failed_one),
    };
    signal(SIGPIPE, SIG_IGN);
    /* Before the library starts it: from then on only a count. */
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, cmem_alloc, cmem_free, cmem_realloc, cmem_strdup,
                             c_calloc) != CURLE_OK) {
        return 1;
    }
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return rc;
}
