/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions and services over one stream that is cut, compacted and refused: each revision
 * once, in order; lists that end equal to what is there. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "client/include/muster.h"
#include "client/mem.h"
#include "tests/unit/client/fakestore.h"

enum { SEEN_MAX = 4096, WAIT_MS = 20000 };

struct seen {
    pthread_mutex_t lock;
    int n;
    uint64_t revisions[SEEN_MAX];
    char last[64];
    bool is_deleted, from_disk;
    struct muster_subscription *ends; /* unsubscribe this one from within */
};

static void on_config(void *user, const struct muster_config *c)
{
    struct seen *s = user;
    pthread_mutex_lock(&s->lock);
    s->revisions[s->n++ % SEEN_MAX] = c->revision;
    s->is_deleted = c->deleted;
    s->from_disk = c->from_disk;
    snprintf(s->last, sizeof(s->last), "%s", c->content != NULL ? c->content : "-");
    pthread_mutex_unlock(&s->lock);
}

static struct seen *seen_new(void)
{
    struct seen *s = calloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

/* Wait until the last thing told is of that revision; fails after a long time. */
static void wait_for(struct seen *s, uint64_t revision)
{
    uint64_t at = 0;
    for (int64_t end = clock_mono_ms() + WAIT_MS; clock_mono_ms() < end;) {
        pthread_mutex_lock(&s->lock);
        at = s->n > 0 ? s->revisions[(s->n - 1) % SEEN_MAX] : 0;
        bool is = s->n > 0 && at == revision;
        pthread_mutex_unlock(&s->lock);
        if (is) {
            return;
        }
        usleep(2000);
    }
    assert_int_equal(at, revision);
}

static int count(struct seen *s)
{
    pthread_mutex_lock(&s->lock);
    int n = s->n;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static struct muster *open_at(const char *url, const char *dir)
{
    struct muster_options o;
    struct muster *m = NULL;
    struct muster_error e;
    muster_options_init(&o);
    o.endpoints = url;
    o.snapshot_dir = dir;
    o.request_timeout_ms = 1000;
    o.connect_timeout_ms = 300;
    o.breaker_min_requests = 100000;
    assert_int_equal(muster_open(&o, &m, &e), MUSTER_OK);
    return m;
}

static struct muster_subscription *subscribe(struct muster *m, const char *key, struct seen *s)
{
    struct muster_subscription *sub = NULL;
    struct muster_error e;
    assert_int_equal(muster_config_subscribe(m, "app", key, on_config, s, &sub, &e), MUSTER_OK);
    return sub;
}

static void rising(const struct seen *s)
{
    for (int i = 1; i < s->n; i++) {
        assert_true(s->revisions[i] > s->revisions[i - 1]);
    }
}

/* Every revision of the key from the first one told on. */
static void each_once(const struct seen *s, const uint64_t *made, int n)
{
    int at = 0;
    while (at < n && made[at] != s->revisions[0]) {
        at++;
    }
    assert_int_equal(s->n, n - at);
    for (int i = 0; i < s->n; i++) {
        assert_int_equal(s->revisions[i], made[at + i]);
    }
}

static void each_revision_once(void **state)
{
    (void)state;
    enum { CHANGES = 150 };
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f), NULL);
    struct seen *a = seen_new(), *b = seen_new();
    uint64_t made_a[CHANGES + 1], made_b[CHANGES + 1];
    char text[32];
    made_a[0] = fake_put(f, "app", "a", "first");
    made_b[0] = fake_put(f, "app", "b", "first");
    subscribe(m, "a", a);
    wait_for(a, made_a[0]);
    fake_break_after(f, 3);
    for (int i = 1; i <= CHANGES; i++) {
        snprintf(text, sizeof(text), "v%d", i);
        made_a[i] = fake_put(f, "app", "a", text);
        fake_put(f, "app", "nobody's", text);
        made_b[i] = fake_put(f, "app", "b", text);
        if (i == 40) {
            subscribe(m, "b", b); /* in the middle of it all */
        }
        fake_omit(f, i % 7 == 0);
        usleep(i % 5 == 0 ? 3000 : 0);
    }
    wait_for(a, made_a[CHANGES]);
    wait_for(b, made_b[CHANGES]);
    assert_string_equal(a->last, "v150");
    assert_true(fake_streams(f) > 20);
    muster_close(m);
    each_once(a, made_a, CHANGES + 1);
    each_once(b, made_b, CHANGES + 1);
    assert_int_equal(a->revisions[0], made_a[0]);
    fake_stop(f);
    free(a);
    free(b);
}

static void deleted_and_never_there(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f), NULL);
    struct seen *a = seen_new();
    fake_put(f, "app", "other", "x");
    subscribe(m, "a", a);
    wait_for(a, 0);
    assert_true(a->is_deleted);
    wait_for(a, fake_put(f, "app", "a", "here"));
    assert_string_equal(a->last, "here");
    wait_for(a, fake_put(f, "app", "a", NULL));
    assert_true(a->is_deleted);
    wait_for(a, fake_put(f, "app", "a", "again"));
    muster_close(m);
    assert_int_equal(a->n, 4);
    fake_stop(f);
    free(a);
}

/* Away while changes were compacted: the present state, then on from there. */
static void compacted_away(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f), NULL);
    struct seen *a = seen_new(), *b = seen_new();
    uint64_t last_b = fake_put(f, "app", "b", "same");
    wait_for((subscribe(m, "a", a), subscribe(m, "b", b), b), last_b);
    wait_for(a, 0);
    fake_down(f, true);
    usleep(50000);
    fake_put(f, "app", "a", "1");
    fake_put(f, "app", "a", "2");
    uint64_t kept = fake_put(f, "app", "a", "3");
    fake_compact(f, kept);
    fake_down(f, false);
    wait_for(a, kept);
    wait_for(a, fake_put(f, "app", "a", "4"));
    assert_int_equal(a->n, 3);
    assert_int_equal(b->n, 1); /* unchanged: not told again */
    muster_close(m);
    rising(a);
    fake_stop(f);
    free(a);
    free(b);
}

/* Content that was left out and is gone when it is asked for. */
static void left_out_and_gone(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f), NULL);
    struct seen *a = seen_new();
    wait_for((subscribe(m, "a", a), a), 0);
    fake_omit(f, true);
    uint64_t last = 0;
    for (int i = 0; i < 30; i++) {
        last = fake_put(f, "app", "a", "x");
        fake_compact(f, last - 1);
        usleep(1000);
    }
    wait_for(a, last);
    muster_close(m);
    rising(a);
    fake_stop(f);
    free(a);
}

/* While a slow read keeps the stream from being made anew, what the old one tells is not taken for
 * what a new target has seen. */
static void a_new_target_beside_an_old_stream(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f), NULL);
    struct seen *a = seen_new(), *b = seen_new(), *slow = seen_new();
    wait_for((subscribe(m, "a", a), a), 0);
    subscribe(m, "slow", slow);
    wait_for((subscribe(m, "b", b), b), 0);
    uint64_t first = fake_put(f, "app", "b", "1");
    wait_for(a, fake_put(f, "app", "a", "1"));
    uint64_t second = fake_put(f, "app", "b", "2");
    wait_for(b, second);
    muster_close(m);
    assert_int_equal(b->n, 3);
    assert_int_equal(b->revisions[1], first);
    fake_stop(f);
    free(a);
    free(b);
    free(slow);
}

static void is_slow(void *user, const struct muster_config *c)
{
    int *inside = user;
    (void)c;
    __atomic_store_n(inside, 1, __ATOMIC_SEQ_CST);
    usleep(20000);
    __atomic_store_n(inside, 2, __ATOMIC_SEQ_CST);
}

static void unsubscribing_waits_for_a_callback(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f), NULL);
    struct muster_subscription *s = NULL;
    int inside = 0;
    assert_int_equal(muster_config_subscribe(m, "app", "a", is_slow, &inside, &s, NULL), MUSTER_OK);
    while (__atomic_load_n(&inside, __ATOMIC_SEQ_CST) == 0) {
        usleep(500);
    }
    muster_unsubscribe(s);
    assert_int_equal(__atomic_load_n(&inside, __ATOMIC_SEQ_CST), 2);
    muster_close(m);
    fake_stop(f);
}

/* After muster_unsubscribe() nothing comes any more, and its memory is not touched. */
static void unsubscribed(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f), NULL);
    for (int i = 0; i < 40; i++) {
        struct seen *a = seen_new();
        struct muster_subscription *s = subscribe(m, "a", a);
        fake_put(f, "app", "a", "x");
        usleep((unsigned)i * 200);
        muster_unsubscribe(s);
        free(a);
        fake_put(f, "app", "a", "y");
    }
    muster_unsubscribe(NULL);
    muster_close(m);
    fake_stop(f);
}

static void ends_itself(void *user, const struct muster_config *c)
{
    struct seen *s = user;
    on_config(user, c);
    if (s->ends != NULL) {
        muster_unsubscribe(s->ends);
        s->ends = NULL;
    }
}

static void unsubscribed_from_within(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f), NULL);
    struct seen *a = seen_new(), *b = seen_new();
    assert_int_equal(muster_config_subscribe(m, "app", "a", ends_itself, a, &a->ends, NULL),
                     MUSTER_OK);
    wait_for(a, 0);
    wait_for((subscribe(m, "b", b), b), 0);
    fake_put(f, "app", "a", "x");
    wait_for(b, fake_put(f, "app", "b", "x"));
    assert_int_equal(count(a), 1);
    muster_close(m);
    fake_stop(f);
    free(a);
    free(b);
}

/* --- services --- */

static void on_service(void *user, struct muster_service *s)
{
    struct muster_instances *l = NULL;
    (void)user;
    assert_int_equal(muster_service_list(s, &l, NULL), MUSTER_OK);
    muster_instances_free(l);
    __atomic_fetch_add((int *)user, 1, __ATOMIC_SEQ_CST);
}

static void list_text(struct muster_service *s, char *out, size_t cap)
{
    struct muster_instances *l = NULL;
    assert_int_equal(muster_service_list(s, &l, NULL), MUSTER_OK);
    out[0] = '\0';
    for (size_t i = 0; i < l->n; i++) {
        size_t at = strlen(out);
        snprintf(out + at, cap - at, "%s:%u%s ", l->items[i].id, l->items[i].port,
                 l->stale ? "?" : "");
    }
    muster_instances_free(l);
}

static void list_becomes(struct muster_service *s, const char *want)
{
    char got[512] = "";
    for (int64_t end = clock_mono_ms() + WAIT_MS; clock_mono_ms() < end; usleep(2000)) {
        list_text(s, got, sizeof(got));
        if (strcmp(got, want) == 0) {
            return;
        }
    }
    assert_string_equal(got, want);
}

static void a_service_follows(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f), NULL);
    struct muster_service *s = NULL;
    struct muster_instance *one = NULL;
    struct muster_error e;
    int n_told = 0;
    fake_instance(f, "web", "b", 2);
    fake_instance(f, "other", "x", 9);
    assert_int_equal(muster_discover(m, NULL, "web", &s, &e), MUSTER_OK);
    list_becomes(s, "b:2 ");
    assert_int_equal(muster_service_on_change(s, on_service, &n_told, NULL), MUSTER_OK);
    fake_instance(f, "web", "a", 1);
    list_becomes(s, "a:1 b:2 ");
    fake_instance(f, "web", "b", 3);
    fake_instance(f, "web", "a", 0);
    list_becomes(s, "b:3 ");
    assert_int_equal(muster_service_pick(s, MUSTER_PICK_ROUND_ROBIN, NULL, &one, &e), MUSTER_OK);
    assert_string_equal(one->id, "b");
    muster_instance_free(one);
    assert_int_equal(muster_service_pick(s, MUSTER_PICK_HASH, NULL, &one, &e), MUSTER_INVALID);
    fake_down(f, true);
    list_becomes(s, "b:3? "); /* kept, and said to be old */
    fake_instance(f, "web", "c", 4);
    fake_down(f, false);
    list_becomes(s, "b:3 c:4 ");
    fake_break_after(f, 2);
    for (int i = 0; i < 60; i++) {
        fake_instance(f, "web", i % 2 ? "b" : "c", i % 3 ? i : 0);
    }
    list_becomes(s, "b:59 c:58 ");
    fake_compact(f, fake_instance(f, "web", "b", 0));
    fake_instance(f, "web", "c", 0);
    list_becomes(s, "");
    assert_int_equal(muster_service_pick(s, MUSTER_PICK_WEIGHTED, NULL, &one, &e),
                     MUSTER_NOT_FOUND);
    assert_true(__atomic_load_n(&n_told, __ATOMIC_SEQ_CST) > 3);
    muster_service_on_change(s, NULL, NULL, NULL);
    muster_service_close(s);
    muster_close(m);
    fake_stop(f);
}

static void round_robin_takes_turns(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    struct muster *m = open_at(fake_url(f), NULL);
    struct muster_service *s = NULL;
    char order[16] = "";
    fake_instance(f, "web", "a", 1);
    fake_instance(f, "web", "b", 2);
    fake_instance(f, "web", "c", 3);
    assert_int_equal(muster_discover(m, NULL, "web", &s, NULL), MUSTER_OK);
    for (int i = 0; i < 7; i++) {
        struct muster_instance *one = NULL;
        assert_int_equal(muster_service_pick(s, MUSTER_PICK_ROUND_ROBIN, NULL, &one, NULL),
                         MUSTER_OK);
        strcat(order, one->id);
        muster_instance_free(one);
    }
    assert_string_equal(order, "abcabca");
    muster_close(m); /* closes the service as well */
    fake_stop(f);
}

/* --- disk --- */

static void empty_dir(const char *dir)
{
    char path[600];
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
            unlink(path);
        }
    }
    closedir(d);
    rmdir(dir);
}

static void the_disk_serves_a_start(void **state)
{
    (void)state;
    char dir[] = "/tmp/muster-hub-XXXXXX", dead[64];
    struct fakestore *f = fake_start();
    struct seen *a = seen_new();
    struct muster_config *c = NULL;
    struct muster_service *s = NULL;
    struct muster_error e;
    assert_non_null(mkdtemp(dir));
    struct muster *m = open_at(fake_url(f), dir);
    uint64_t rev = fake_put(f, "app", "a", "known");
    fake_instance(f, "web", "b", 2);
    wait_for((subscribe(m, "a", a), a), rev);
    assert_int_equal(muster_discover(m, NULL, "web", &s, &e), MUSTER_OK);
    fake_put(f, "app", "got", "by hand");
    assert_int_equal(muster_config_get(m, "app", "got", &c, &e), MUSTER_OK);
    assert_false(c->from_disk);
    muster_config_free(c);
    muster_close(m); /* writes what is not written yet */
    free(a);

    a = seen_new();
    stub_dead_url(dead, sizeof(dead));
    m = open_at(dead, dir);
    subscribe(m, "a", a);
    wait_for(a, rev);
    assert_true(a->from_disk);
    assert_string_equal(a->last, "known");
    assert_int_equal(muster_config_get(m, "app", "got", &c, &e), MUSTER_OK);
    assert_true(c->from_disk);
    assert_string_equal(c->content, "by hand");
    muster_config_free(c);
    assert_int_equal(muster_config_get(m, "app", "never", &c, &e), MUSTER_UNREACHABLE);
    assert_int_equal(muster_discover(m, NULL, "web", &s, &e), MUSTER_OK);
    list_becomes(s, "b:2? ");
    assert_int_equal(muster_discover(m, NULL, "never", &s, &e), MUSTER_UNREACHABLE);
    muster_close(m);
    free(a);

    /* It comes back while the client runs: the same revision is not told again, the next one is. */
    a = seen_new();
    fake_down(f, true);
    m = open_at(fake_url(f), dir);
    subscribe(m, "a", a);
    wait_for(a, rev);
    fake_down(f, false);
    wait_for(a, fake_put(f, "app", "a", "new"));
    assert_false(a->from_disk);
    assert_int_equal(a->n, 2);
    muster_close(m);
    fake_stop(f);
    free(a);
    empty_dir(dir);
}

/* Each allocation of either thread fails in turn, once: the program is told so, or is told all the
 * same a little later. */
static void no_memory(void **state)
{
    (void)state;
    struct fakestore *f = fake_start();
    uint64_t last = fake_put(f, "app", "a", "x");
    fake_instance(f, "web", "i", 1);
    bool was_pending = false;
    for (long n = 1; !was_pending; n++) {
        struct muster *m = open_at(fake_url(f), NULL);
        struct seen *a = seen_new();
        struct muster_subscription *sub = NULL;
        struct muster_service *s = NULL;
        struct muster_instances *l = NULL;
        struct muster_instance *one = NULL;
        cmem_fail_at(n);
        muster_status rc = muster_config_subscribe(m, "app", "a", on_config, a, &sub, NULL);
        assert_true(rc == MUSTER_OK || rc == MUSTER_NO_MEMORY);
        if (rc == MUSTER_OK) {
            wait_for(a, last);
            last = fake_put(f, "app", "a", "y");
            wait_for(a, last);
            rc = muster_discover(m, NULL, "web", &s, NULL);
            assert_true(rc != MUSTER_OK || s != NULL);
        }
        if (rc == MUSTER_OK && muster_service_list(s, &l, NULL) == MUSTER_OK) {
            assert_int_equal(l->n, 1);
            muster_instances_free(l);
        }
        if (rc == MUSTER_OK &&
            muster_service_pick(s, MUSTER_PICK_WEIGHTED, NULL, &one, NULL) == MUSTER_OK) {
            muster_instance_free(one);
        }
        was_pending = cmem_fail_pending();
        cmem_fail_at(0);
        muster_close(m);
        rising(a);
        free(a);
    }
    fake_stop(f);
}

static void arguments(void **state)
{
    (void)state;
    struct muster *m = open_at("http://127.0.0.1:1", NULL);
    struct muster_subscription *s = NULL;
    struct muster_service *v = NULL;
    assert_int_equal(muster_config_subscribe(m, "", "k", on_config, NULL, &s, NULL),
                     MUSTER_INVALID);
    assert_int_equal(muster_config_subscribe(m, "a/b", "k", on_config, NULL, &s, NULL),
                     MUSTER_INVALID);
    assert_int_equal(muster_config_subscribe(m, "a", "k", NULL, NULL, &s, NULL), MUSTER_INVALID);
    assert_int_equal(muster_discover(m, "a,b", "s", &v, NULL), MUSTER_INVALID);
    assert_int_equal(muster_discover(m, NULL, NULL, &v, NULL), MUSTER_INVALID);
    muster_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_revision_once),
        cmocka_unit_test(deleted_and_never_there),
        cmocka_unit_test(compacted_away),
        cmocka_unit_test(left_out_and_gone),
        cmocka_unit_test(a_new_target_beside_an_old_stream),
        cmocka_unit_test(unsubscribing_waits_for_a_callback),
        cmocka_unit_test(unsubscribed),
        cmocka_unit_test(unsubscribed_from_within),
        cmocka_unit_test(a_service_follows),
        cmocka_unit_test(round_robin_takes_turns),
        cmocka_unit_test(the_disk_serves_a_start),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(arguments),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
