/* SPDX-License-Identifier: Apache-2.0 */
/* load --nodes n1=127.0.0.1:8500,... --out FILE [--seed N] [--clients N] [--pace MS]
 *
 * Runs until a line comes on stdin, or its end. After the line "stop" all nodes are expected to be
 * up: everything is read once more, the watchers reach the end, and the exit status is 0. */
#include "tests/faults/load.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

enum { CLIENTS_MAX = 400, REPEATS_MAX = 4, EPOCH_S = 15 };

struct job {
    const char *name;
    void (*run)(struct client *c);
    int n; /* with --clients 1 */
};

static const struct job jobs[] = {
    {"register", load_register, 4}, {"append", load_append, 2}, {"lock", load_lock, 3},
    {"registry", load_registry, 2}, {"lease", load_lease, 12},  {"group", load_group, 1},
    {"wait", load_wait, 3},         {"watch", load_watch, 3},
};

struct start {
    struct client client;
    const struct job *job;
};

static int64_t began_ns;

uint64_t load_epoch(const struct load *l)
{
    (void)l;
    return (uint64_t)(caller_now_ns() - began_ns) / (EPOCH_S * UINT64_C(1000000000));
}

uint64_t load_random(struct client *c, uint64_t n)
{
    uint64_t x = c->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (x ^ (x >> 31)) % n;
}

void load_pause(struct client *c, int ms)
{
    (void)c;
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

uint64_t load_unique(struct client *c)
{
    return ((uint64_t)c->process + 1) << 24 | ++c->serial;
}

void load_switch(struct client *c)
{
    c->node = (int)load_random(c, (uint64_t)c->load->n_nodes);
    caller_aim(c->caller, &c->load->nodes[c->node]);
}

void load_record(struct client *c, struct hist_op *o)
{
    if (o->return_ns == 0) {
        o->return_ns = caller_now_ns();
    }
    atomic_fetch_add(&c->load->n_ops, 1);
    pthread_mutex_lock(&c->load->lock);
    hist_print(c->load->out, o);
    pthread_mutex_unlock(&c->load->lock);
}

struct hist_op load_begin(struct client *c, enum hist_kind kind, const char *key)
{
    struct hist_op o = {.kind = kind, .process = c->process, .out = HIST_UNKNOWN};
    if (load_random(c, 20) == 0) {
        load_switch(c);
    }
    snprintf(o.key, sizeof(o.key), "%s", key);
    snprintf(o.on, sizeof(o.on), "%s", c->load->nodes[c->node].name);
    o.call_ns = caller_now_ns();
    return o;
}

struct reply load_get(struct client *c, const char *path, struct hist_op *o)
{
    struct reply r = caller_call(c->caller, "GET", path, "", NULL, LOAD_TIMEOUT_MS);
    o->return_ns = caller_now_ns();
    o->rev = r.rev;
    o->out = r.status == 200 ? HIST_OK : r.status == 404 ? HIST_FAIL : HIST_NONE;
    if (o->out == HIST_NONE) {
        load_switch(c);
        load_pause(c, 20);
    }
    return r;
}

/* UNKNOWN_OUTCOME is one; so is what was sent and not answered, and an error that nobody foresaw.
 */
static enum hist_out outcome(const struct reply *r)
{
    if (r->status == 0) {
        return r->was_sent ? HIST_UNKNOWN : HIST_NONE;
    }
    if (r->status < 300) {
        return HIST_OK;
    }
    if (r->status == 412 || r->status == 404) {
        return HIST_FAIL;
    }
    int is_told = r->status == 429 || r->status == 507 ||
                  (r->status == 503 && strcmp(r->code, "UNKNOWN_OUTCOME") != 0);
    return is_told ? HIST_NONE : HIST_UNKNOWN;
}

/* Now and then what was done is asked for once more, elsewhere: it must answer the same. */
static void repeat(struct client *c, const struct write *w, const char *headers,
                   const struct hist_op *o)
{
    load_switch(c);
    struct hist_op again = load_begin(c, HIST_REPEAT, o->key);
    struct reply r = caller_call(c->caller, w->method, w->path, headers, w->body, LOAD_TIMEOUT_MS);
    again.out = outcome(&r);
    again.value = o->value;
    again.rev = o->rev;
    again.again = r.rev;
    load_record(c, &again);
}

struct reply load_write(struct client *c, const struct write *w, struct hist_op *o)
{
    char headers[256] = "";
    int is_unknown = 0;
    struct reply r = {0};
    snprintf(headers, sizeof(headers), "%s", w->headers);
    if (w->is_safe) {
        size_t n = strlen(headers);
        snprintf(headers + n, sizeof(headers) - n,
                 "Muster-Request-Id: %" PRIu64 "-%" PRIu32 "-%" PRIu64 "\r\n", c->load->seed,
                 c->process, ++c->serial);
    }
    for (int i = 0; i < (w->is_safe ? REPEATS_MAX : 1); i++) {
        r = caller_call(c->caller, w->method, w->path, headers, w->body, LOAD_TIMEOUT_MS);
        o->out = outcome(&r);
        if (o->out == HIST_OK || o->out == HIST_FAIL) {
            break;
        }
        is_unknown |= o->out == HIST_UNKNOWN;
        load_switch(c);
        load_pause(c, 10 << i);
    }
    o->return_ns = caller_now_ns();
    o->rev = o->out == HIST_OK ? r.rev : 0;
    if (o->out == HIST_NONE && is_unknown) {
        o->out = HIST_UNKNOWN;
    }
    if (o->out == HIST_OK && w->is_safe && load_random(c, 10) == 0) {
        struct reply kept = r;
        kept.body = "";
        repeat(c, w, headers, o);
        return kept;
    }
    return r;
}

/* --- from here on: arguments and threads --- */

static void usage(void)
{
    fputs(
        "usage: load --nodes NAME=HOST:PORT,... --out FILE [--seed N] [--clients N] [--pace MS]\n",
        stderr);
    exit(2);
}

static void take_nodes(struct load *l, char *text)
{
    char *save = NULL;
    for (char *p = strtok_r(text, ",", &save); p != NULL; p = strtok_r(NULL, ",", &save)) {
        struct place *x = &l->nodes[l->n_nodes];
        if (l->n_nodes == LOAD_NODES_MAX ||
            sscanf(p, "%15[^=]=%47[^:]:%d", x->name, x->host, &x->port) != 3) {
            usage();
        }
        l->n_nodes++;
    }
}

static void *run(void *arg)
{
    struct start *s = arg;
    load_switch(&s->client);
    s->job->run(&s->client);
    return NULL;
}

static void client_init(struct client *c, struct load *l, int role)
{
    c->load = l;
    c->caller = caller_new();
    c->process = atomic_fetch_add(&l->n_clients, 1) + 1;
    c->role = role;
    c->random = l->seed * 1000003 + c->process;
}

static size_t start_all(struct load *l, struct start *starts, int times)
{
    pthread_attr_t a;
    size_t n = 0;
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 512 * 1024);
    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        for (int k = 0; k < jobs[i].n * times && n < CLIENTS_MAX; k++) {
            struct start *s = &starts[n++];
            s->job = &jobs[i];
            client_init(&s->client, l, k);
            if (pthread_create(&s->client.thread, &a, run, s) != 0) {
                fputs("load: no thread\n", stderr);
                exit(1);
            }
        }
    }
    pthread_attr_destroy(&a);
    return n;
}

static int finish(struct load *l, struct start *starts, size_t n, int is_stop)
{
    int rc = 1;
    struct client last = {0};
    atomic_store(&l->is_over, 1);
    for (size_t i = 0; i < n; i++) {
        if (starts[i].job->run != load_watch) {
            pthread_join(starts[i].client.thread, NULL);
        }
    }
    client_init(&last, l, 0);
    load_switch(&last);
    if (is_stop && load_read_all(&last) == 0) {
        rc = 0; /* end_rev is set: the watchers end by themselves, or are found to be short of it */
    } else {
        atomic_store(&l->end_rev, 1);
    }
    for (size_t i = 0; i < n; i++) {
        if (starts[i].job->run == load_watch) {
            pthread_join(starts[i].client.thread, NULL);
        }
        caller_free(starts[i].client.caller);
    }
    caller_free(last.caller);
    if (rc == 0 && atomic_load(&l->n_short) > 0) {
        fprintf(stderr, "load: %u watchers did not reach the end\n", atomic_load(&l->n_short));
        rc = 1;
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct load l = {.seed = 1, .pace_ms = 30, .lock = PTHREAD_MUTEX_INITIALIZER};
    int times = 1;
    char line[64] = "";
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--nodes") == 0) {
            take_nodes(&l, argv[i + 1]);
        } else if (strcmp(argv[i], "--out") == 0) {
            l.out = fopen(argv[i + 1], "we");
        } else if (strcmp(argv[i], "--seed") == 0) {
            l.seed = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--clients") == 0) {
            times = (int)strtol(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--pace") == 0) {
            l.pace_ms = (int)strtol(argv[i + 1], NULL, 10);
        } else {
            usage();
        }
    }
    if (l.n_nodes == 0 || l.out == NULL || argc % 2 == 0) {
        usage();
    }
    began_ns = caller_now_ns();
    struct start *starts = mem_zalloc(CLIENTS_MAX * sizeof(*starts));
    size_t n = start_all(&l, starts, times);
    int is_stop = fgets(line, sizeof(line), stdin) != NULL && strncmp(line, "stop", 4) == 0;
    int rc = finish(&l, starts, n, is_stop);
    printf("{\"ops\":%llu,\"clients\":%zu}\n", atomic_load(&l.n_ops), n);
    fclose(l.out);
    mem_free(starts);
    return rc;
}
