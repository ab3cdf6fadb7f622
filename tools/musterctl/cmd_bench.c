/* SPDX-License-Identifier: Apache-2.0 */
/* bench: a closed loop. Each client is a thread that sends its next request when the last one was
 * answered, so that there are never more than --clients under way. */
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tools/musterctl/cmd.h"

enum { CLIENTS_MAX = 256, REQUESTS = 10000, UNMEASURED_CLIENTS = 16, SAMPLES_MAX = 4000000 };

static const char group_path[] = "/configs/musterctl-bench/";

struct bench;
typedef void (*bench_fill_fn)(struct bench *b, uint64_t i, char path[128],
                              struct muster_request *q);

struct bench {
    struct ctl *c;
    bench_fill_fn fill;
    const char *what;
    char *content;
    size_t size;
    uint64_t n_keys, n_wanted;
    int goes_on; /* also when interrupted: cleaning up */
    int64_t end_at_us;
    char (*leases)[17];
    _Atomic uint64_t next, n_done, n_failed;
    _Atomic int64_t last_at_us; /* when the last request was answered */
    atomic_int has_error;
    struct muster_error error; /* the first one */
    uint32_t *samples_us;      /* by number of the request */
};

static int is_stale(const struct bench *b)
{
    const char *level = ctl_opt(&b->c->p, "consistency");
    return level != NULL && strcmp(level, "stale") == 0;
}

static void fill_get(struct bench *b, uint64_t i, char path[128], struct muster_request *q)
{
    const char *level = ctl_opt(&b->c->p, "consistency");
    snprintf(path, 128, "%s%llu%s%s", group_path, (unsigned long long)(i % b->n_keys),
             level != NULL ? "?consistency=" : "", level != NULL ? level : "");
    q->method = "GET";
}

/* --- the loop --- */

static int one(struct bench *b, uint64_t i)
{
    char path[128];
    struct muster_request q = {0};
    struct muster_answer *a = NULL;
    struct muster_error e = {0};
    b->fill(b, i, path, &q);
    q.path = path;
    muster_status rc = muster_call(b->c->m, &q, &a, &e);
    if (rc == MUSTER_NOT_FOUND && b->fill == fill_get && is_stale(b)) {
        return 0; /* a node that has not heard of it yet has answered all the same */
    }
    if (rc != MUSTER_OK) {
        int expected = 0;
        if (atomic_compare_exchange_strong(&b->has_error, &expected, 1)) {
            b->error = e;
        }
        return -1;
    }
    muster_answer_free(a);
    return 0;
}

static void *client(void *arg)
{
    struct bench *b = arg;
    while (b->goes_on || !ctl_is_interrupted()) {
        uint64_t i = atomic_fetch_add(&b->next, 1);
        int64_t start = clock_mono_us();
        if (i >= b->n_wanted || start >= b->end_at_us) {
            break;
        }
        if (one(b, i) != 0) {
            atomic_fetch_add(&b->n_failed, 1);
            b->samples_us[i] = UINT32_MAX;
            continue;
        }
        int64_t now = clock_mono_us(), took = now - start, last = atomic_load(&b->last_at_us);
        while (now > last && !atomic_compare_exchange_weak(&b->last_at_us, &last, now)) {
        }
        b->samples_us[i] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX - 1;
        atomic_fetch_add(&b->n_done, 1);
    }
    return NULL;
}

static int64_t run_clients(struct bench *b, size_t n)
{
    pthread_t threads[CLIENTS_MAX];
    size_t n_started = 0;
    int64_t start = clock_mono_us();
    if (ctl_opt_has(&b->c->p, "duration")) {
        b->end_at_us = start + ctl_opt_ms(&b->c->p, "duration") * 1000;
    }
    while (n_started < n && pthread_create(&threads[n_started], NULL, client, b) == 0) {
        n_started++;
    }
    if (n_started < n) {
        ctl_say(CTL_FAILED, "only %zu of %zu clients could be started", n_started, n);
    }
    while (n_started != 0 && !ctl_is_interrupted() && clock_mono_us() < b->end_at_us &&
           atomic_load(&b->next) < b->n_wanted) {
        ctl_sleep_ms(200);
        ctl_progress(&b->c->out, "%s: %llu done, %llu failed", b->what,
                     (unsigned long long)atomic_load(&b->n_done),
                     (unsigned long long)atomic_load(&b->n_failed));
    }
    for (size_t i = 0; i < n_started; i++) {
        pthread_join(threads[i], NULL);
    }
    ctl_progress_end(&b->c->out);
    int64_t last = atomic_load(&b->last_at_us);
    return last > start ? last - start : 0;
}

/* --- figures --- */

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double at_share(const struct bench *b, uint64_t n, double share)
{
    uint64_t i = (uint64_t)((double)n * share);
    return n == 0 ? 0 : (double)b->samples_us[i < n ? i : n - 1] / 1000;
}

static int report(struct bench *b, int64_t took_us)
{
    uint64_t n = atomic_load(&b->n_done), n_failed = atomic_load(&b->n_failed);
    uint64_t n_tried = n + n_failed;
    double per_s = took_us > 0 ? (double)n * 1e6 / (double)took_us : 0;
    /* Numbers were given out in order: the first n_tried places are filled. Failures sort last. */
    qsort(b->samples_us, n_tried, sizeof(*b->samples_us), by_size);
    double p50 = at_share(b, n, 0.5), p99 = at_share(b, n, 0.99), max = at_share(b, n, 1);
    FILE *f = b->c->out.f;
    if (b->c->out.format == CTL_JSON) {
        fprintf(f,
                "{\"bench\":\"%s\",\"clients\":%llu,\"requests\":%llu,\"failed\":%llu,"
                "\"seconds\":%.3f,\"per_second\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
                "\"max_ms\":%.3f}\n",
                b->what, (unsigned long long)ctl_opt_u64(&b->c->p, "clients"),
                (unsigned long long)n, (unsigned long long)n_failed, (double)took_us / 1e6, per_s,
                p50, p99, max);
    } else if (b->c->out.format == CTL_PLAIN) {
        fprintf(f, "%s\t%llu\t%llu\t%.1f\t%.3f\t%.3f\t%.3f\n", b->what, (unsigned long long)n,
                (unsigned long long)n_failed, per_s, p50, p99, max);
    } else {
        fprintf(f, "%s: %llu requests by %llu clients in %.2f s, %llu failed\n", b->what,
                (unsigned long long)n, (unsigned long long)ctl_opt_u64(&b->c->p, "clients"),
                (double)took_us / 1e6, (unsigned long long)n_failed);
        fprintf(f, "throughput  %.0f per second\n", per_s);
        fprintf(f, "latency     p50 %.2f ms, p99 %.2f ms, max %.2f ms\n", p50, p99, max);
    }
    if (n_failed != 0) {
        return ctl_say(ctl_status_of(&b->error), "%llu requests failed, the first one: %s",
                       (unsigned long long)n_failed, b->error.text);
    }
    return ctl_is_interrupted() ? CTL_INTERRUPTED : CTL_OK;
}

/* --- requests --- */

static void fill_put(struct bench *b, uint64_t i, char path[128], struct muster_request *q)
{
    snprintf(path, 128, "%s%llu?author=musterctl-bench", group_path,
             (unsigned long long)(i % b->n_keys));
    q->method = "PUT";
    q->body = b->content;
    q->body_len = b->size;
    q->content_type = "text/plain";
}

static void fill_delete(struct bench *b, uint64_t i, char path[128], struct muster_request *q)
{
    snprintf(path, 128, "%s%llu", group_path, (unsigned long long)(i % b->n_keys));
    q->method = "DELETE";
}

static void fill_keepalive(struct bench *b, uint64_t i, char path[128], struct muster_request *q)
{
    snprintf(path, 128, "/leases/%s/keepalive", b->leases[i % b->n_keys]);
    q->method = "POST";
}

static void fill_revoke(struct bench *b, uint64_t i, char path[128], struct muster_request *q)
{
    snprintf(path, 128, "/leases/%s", b->leases[i % b->n_keys]);
    q->method = "DELETE";
}

/* --- before and after: the same loop, not measured --- */

static void phase(struct bench *b, bench_fill_fn fill, const char *what, uint64_t n)
{
    b->fill = fill;
    b->what = what;
    b->n_wanted = n;
    b->end_at_us = INT64_MAX;
    atomic_store(&b->next, 0);
    atomic_store(&b->n_done, 0);
    atomic_store(&b->n_failed, 0);
    atomic_store(&b->has_error, 0);
}

/* Once for each key. */
static int for_all(struct bench *b, bench_fill_fn fill, const char *what)
{
    pthread_t threads[UNMEASURED_CLIENTS];
    size_t n = 0;
    phase(b, fill, what, b->n_keys);
    ctl_progress(&b->c->out, "%s", what);
    while (n < N_ELEMENTS(threads) && pthread_create(&threads[n], NULL, client, b) == 0) {
        n++;
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
    ctl_progress_end(&b->c->out);
    if (atomic_load(&b->n_failed) != 0) {
        return ctl_say(ctl_status_of(&b->error), "%s: %s", what, b->error.text);
    }
    return ctl_is_interrupted() && !b->goes_on ? CTL_INTERRUPTED : CTL_OK;
}

static int grant_all(struct bench *b)
{
    struct buf path;
    int rc = CTL_OK;
    buf_init(&path);
    buf_append_str(&path, "/leases");
    b->leases = mem_zalloc(b->n_keys * sizeof(*b->leases));
    for (uint64_t i = 0; i < b->n_keys && rc == CTL_OK; i++) {
        struct muster_answer *a;
        rc = ctl_is_interrupted()
                 ? CTL_INTERRUPTED
                 : ctl_send(b->c, "POST", &path, json_pack("{s:s}", "ttl", "10m"), &a);
        if (rc == CTL_OK) {
            json_t *doc = ctl_json(a);
            snprintf(b->leases[i], sizeof(b->leases[i]), "%s", ctl_str(doc, "id"));
            json_decref(doc);
            muster_answer_free(a);
        } else {
            b->n_keys = i; /* so many are to be revoked */
        }
        ctl_progress(&b->c->out, "granting leases: %llu", (unsigned long long)i + 1);
    }
    ctl_progress_end(&b->c->out);
    buf_fini(&path);
    return rc;
}

static int measure(struct bench *b, bench_fill_fn fill, const char *what)
{
    uint64_t n = ctl_opt_has(&b->c->p, "requests")   ? ctl_opt_u64(&b->c->p, "requests")
                 : ctl_opt_has(&b->c->p, "duration") ? SAMPLES_MAX
                                                     : REQUESTS;
    phase(b, fill, what, n < SAMPLES_MAX ? n : SAMPLES_MAX);
    return report(b, run_clients(b, ctl_opt_u64(&b->c->p, "clients")));
}

static int start(struct bench *b, struct ctl *c)
{
    *b = (struct bench){.c = c, .n_keys = ctl_opt_u64(&c->p, "keys")};
    b->samples_us = mem_alloc(SAMPLES_MAX * sizeof(*b->samples_us));
    ctl_catch_signals(0);
    return ctl_open(c, NULL, 0, &c->m);
}

/* Takes away what was made; gives the status of the whole. */
static int finish(struct bench *b, bench_fill_fn fill, int rc)
{
    if (b->n_keys != 0 && rc != CTL_UNREACHABLE) {
        b->goes_on = 1;
        int cleaned = for_all(b, fill, "cleaning up");
        rc = rc == CTL_OK ? cleaned : rc;
    }
    mem_free(b->samples_us);
    mem_free(b->content);
    mem_free(b->leases);
    return rc;
}

static int bench_configs(struct ctl *c, bench_fill_fn fill, const char *what)
{
    struct bench b;
    int rc = start(&b, c);
    b.size = (size_t)ctl_opt_u64(&c->p, "size");
    b.content = mem_alloc(b.size + 1);
    memset(b.content, 'x', b.size);
    if (rc == CTL_OK) {
        rc = for_all(&b, fill_put, "preparing");
    }
    if (rc == CTL_OK) {
        rc = measure(&b, fill, what);
    }
    return finish(&b, fill_delete, rc);
}

int ctl_bench_put(struct ctl *c)
{
    return bench_configs(c, fill_put, "put");
}

int ctl_bench_get(struct ctl *c)
{
    return bench_configs(c, fill_get, "get");
}

int ctl_bench_keepalive(struct ctl *c)
{
    struct bench b;
    int rc = start(&b, c);
    if (rc == CTL_OK) {
        rc = grant_all(&b);
    }
    if (rc == CTL_OK) {
        rc = measure(&b, fill_keepalive, "keepalive");
    }
    return finish(&b, fill_revoke, rc);
}
