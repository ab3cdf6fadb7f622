/* SPDX-License-Identifier: Apache-2.0 */
/* muster_watch() against a small server: where it resumes, what ends it. */
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "client/include/muster.h"
#include "tests/unit/client/stub.h"

struct script {
    pthread_mutex_t lock;
    char targets[32][200]; /* of each connection */
    int n;
    const char *says[32]; /* what each connection gets after the head; "410" and so on: a status */
    bool hangs;           /* after the last one: stay silent instead of closing */
};

static void serve(void *user, const struct stub_req *r)
{
    struct script *s = user;
    pthread_mutex_lock(&s->lock);
    snprintf(s->targets[r->n % 32], sizeof(s->targets[0]), "%.190s", r->target);
    s->n = r->n + 1;
    const char *says = r->n < 32 ? s->says[r->n] : NULL;
    pthread_mutex_unlock(&s->lock);
    if (says == NULL) {
        stub_hang(r);
    } else if (says[0] >= '1' && says[0] <= '9') {
        stub_answer(r, (int)strtol(says, NULL, 10), "", strchr(says, ' ') + 1);
    } else {
        stub_stream(r);
        stub_text(r, says);
        if (s->hangs) {
            stub_hang(r);
        }
    }
}

struct got {
    char text[2048];
    uint64_t stop_at; /* revision */
};

static int take(void *user, const struct muster_event *e)
{
    struct got *g = user;
    size_t at = strlen(g->text);
    assert_int_equal(strlen(e->data), e->len);
    snprintf(g->text + at, sizeof(g->text) - at, "%c%llu ", e->type[0],
             (unsigned long long)e->revision);
    return e->revision >= g->stop_at;
}

static struct script *script_new(void)
{
    struct script *s = calloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

static struct muster *open_at(const struct stub *s)
{
    struct muster_options o;
    struct muster *m = NULL;
    muster_options_init(&o);
    o.endpoints = stub_url(s);
    o.breaker_min_requests = 1000;
    assert_int_equal(muster_open(&o, &m, NULL), MUSTER_OK);
    return m;
}

#define CHANGE(n) "id: " #n "\nevent: change\ndata: {}\n\n"
#define MARK(n)   "id: " #n "\nevent: progress\ndata: {}\n\n"

/* Cut in the middle of a message, repeated by a server that does not know better, a refusal in
 * between: each revision comes once, and each connection asks from the first one not seen. */
static void it_resumes(void **state)
{
    (void)state;
    struct script *c = script_new();
    struct stub *s = stub_start(serve, c);
    struct muster *m = open_at(s);
    struct got g = {.stop_at = 30};
    struct muster_error e;
    c->says[0] = MARK(9) CHANGE(10) CHANGE(12) "id: 13\nevent: change\ndata: {";
    c->says[1] = "503 {\"code\":\"NO_LEADER\"}";
    c->says[2] = MARK(12) CHANGE(12) CHANGE(13) MARK(20);
    c->says[3] = MARK(20) CHANGE(21) CHANGE(30) CHANGE(31);
    assert_int_equal(muster_watch(m, "configs=a/b", 10, take, &g, &e), MUSTER_OK);
    assert_string_equal(g.text, "p9 c10 c12 p12 c13 p20 p20 c21 c30 ");
    assert_non_null(strstr(c->targets[0], "configs=a/b&"));
    assert_non_null(strstr(c->targets[0], "&from=10"));
    assert_non_null(strstr(c->targets[1], "&from=13"));
    assert_non_null(strstr(c->targets[2], "&from=13"));
    assert_non_null(strstr(c->targets[3], "&from=21"));
    muster_close(m);
    stub_stop(s);
    free(c);
}

static void it_begins_where_the_server_is(void **state)
{
    (void)state;
    struct script *c = script_new();
    struct stub *s = stub_start(serve, c);
    struct muster *m = open_at(s);
    struct got g = {.stop_at = 8};
    c->says[0] = MARK(7);
    c->says[1] = MARK(7) CHANGE(8);
    assert_int_equal(muster_watch(m, "configs=a/b", 0, take, &g, NULL), MUSTER_OK);
    assert_string_equal(g.text, "p7 p7 c8 ");
    assert_null(strstr(c->targets[0], "from="));
    assert_non_null(strstr(c->targets[1], "&from=8"));
    muster_close(m);
    stub_stop(s);
    free(c);
}

static void ends(const char *says, muster_status want)
{
    struct script *c = script_new();
    struct stub *s = stub_start(serve, c);
    struct muster *m = open_at(s);
    struct got g = {.stop_at = UINT64_MAX};
    struct muster_error e = {0};
    c->says[0] = says;
    assert_int_equal(muster_watch(m, "configs=a/b", 3, take, &g, &e), want);
    assert_int_equal(e.status, want);
    assert_true(e.text[0] != '\0');
    muster_close(m);
    stub_stop(s);
    free(c);
}

static void what_ends_it(void **state)
{
    (void)state;
    ends("410 {\"code\":\"COMPACTED\"}", MUSTER_COMPACTED);
    ends(MARK(2) "event: compacted\ndata: {}\n\n", MUSTER_COMPACTED);
    ends("400 {\"code\":\"FUTURE_REVISION\"}", MUSTER_COMPACTED);
    ends("400 {\"code\":\"BAD_REQUEST\"}", MUSTER_INVALID);
    ends("404 {}", MUSTER_NOT_FOUND);
    ends("id: nonsense\n", MUSTER_REFUSED);
}

/* Marks every second are wanted; one that says nothing for three is left. */
static void silence_is_death(void **state)
{
    (void)state;
    struct script *c = script_new();
    struct stub *s = stub_start(serve, c);
    struct muster *m = open_at(s);
    struct got g = {.stop_at = 5};
    c->hangs = true;
    c->says[0] = MARK(3);
    c->says[1] = MARK(3) CHANGE(5);
    int64_t before = clock_mono_ms();
    assert_int_equal(muster_watch(m, "progress=1s&configs=a/b", 4, take, &g, NULL), MUSTER_OK);
    int64_t took = clock_mono_ms() - before;
    assert_true(took >= 3000 && took < 8000);
    assert_string_equal(g.text, "p3 p3 c5 ");
    muster_close(m);
    stub_stop(s);
    free(c);
}

static void *close_soon(void *arg)
{
    usleep(200 * 1000);
    muster_close(arg);
    return NULL;
}

static void closing_ends_it(void **state)
{
    (void)state;
    struct script *c = script_new();
    struct stub *s = stub_start(serve, c);
    struct muster *m = open_at(s);
    struct got g = {.stop_at = UINT64_MAX};
    struct muster_error e;
    pthread_t t;
    c->hangs = true;
    c->says[0] = MARK(3);
    pthread_create(&t, NULL, close_soon, m);
    assert_int_equal(muster_watch(m, "configs=a/b", 4, take, &g, &e), MUSTER_CLOSED);
    pthread_join(t, NULL);
    stub_stop(s);
    free(c);
}

static void arguments(void **state)
{
    (void)state;
    static const char *const bad[] = {NULL, "", "a b", "a\r\nb", "a#b", "\xff"};
    struct muster *m = NULL;
    assert_int_equal(muster_open(NULL, &m, NULL), MUSTER_OK);
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(muster_watch(m, bad[i], 0, take, NULL, NULL), MUSTER_INVALID);
    }
    muster_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_resumes),      cmocka_unit_test(it_begins_where_the_server_is),
        cmocka_unit_test(what_ends_it),    cmocka_unit_test(silence_is_death),
        cmocka_unit_test(closing_ends_it), cmocka_unit_test(arguments),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
