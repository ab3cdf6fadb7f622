/* SPDX-License-Identifier: Apache-2.0 */
/* What is there at the end, as each node tells it, and the whole history of each key. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"
#include "base/mem.h"
#include "tests/faults/load.h"

enum { HEAL_S = 60, VERSIONS_MAX = 4000, PAGE = 100, LOCKS_EPOCH = 2 };

/* A key of its own: watchers are done when they have seen it. */
static int write_end(struct client *c)
{
    int64_t until = caller_now_ns() + HEAL_S * INT64_C(1000000000);
    do {
        struct write w = {.method = "PUT", .path = "/api/v1/configs/f/end", .is_safe = 1};
        char body[32];
        struct hist_op o = load_begin(c, HIST_WRITE, "end");
        o.value = load_unique(c);
        snprintf(body, sizeof(body), "%" PRIu64 " ", o.value);
        w.body = body;
        load_write(c, &w, &o);
        load_record(c, &o);
        if (o.out == HIST_OK) {
            atomic_store(&c->load->end_rev, o.rev);
            return 0;
        }
    } while (caller_now_ns() < until);
    fputs("load: no write succeeds at the end\n", stderr);
    return -1;
}

static void aim(struct client *c, int node)
{
    c->node = node;
    caller_aim(c->caller, &c->load->nodes[node]);
}

/* 0 when the node answered. */
static int read_on(struct client *c, int node, const char *key)
{
    char path[128];
    snprintf(path, sizeof(path), "/api/v1/configs/f/%s", key);
    for (int i = 0; i < 100; i++) {
        struct hist_op o = load_begin(c, HIST_READ, key);
        aim(c, node);
        snprintf(o.on, sizeof(o.on), "%s", c->load->nodes[node].name);
        struct reply r = load_get(c, path, &o);
        o.value = o.out == HIST_OK ? strtoull(r.body, NULL, 10) : 0;
        load_record(c, &o);
        if (o.out <= HIST_FAIL) {
            return 0;
        }
        load_pause(c, 100);
    }
    fprintf(stderr, "load: %s does not answer reads at the end\n", c->load->nodes[node].name);
    return -1;
}

/* One page of a key's history, newest first, behind n that are there. */
static int add_page(const char *body, uint64_t *out, size_t *n, uint64_t *next)
{
    struct err e = {0};
    struct json_t *doc;
    struct jr j;
    if (jr_parse(slice_str(body), &doc, &e) != 0) {
        return -1;
    }
    jr_begin(&j, doc, &e);
    struct json_t *versions = jr_arr(&j, "versions", PAGE);
    for (size_t i = 0; i < jr_arr_len(versions) && *n < VERSIONS_MAX; i++) {
        struct jr v;
        jr_begin(&v, jr_arr_at(versions, i), &e);
        out[(*n)++] = (uint64_t)jr_int(&v, "revision", 0, 0, INT64_MAX);
    }
    *next = (uint64_t)jr_int(&j, "next", 0, 0, INT64_MAX);
    jr_free(doc);
    return 0;
}

static int read_versions(struct client *c, const char *key)
{
    uint64_t revs[VERSIONS_MAX], next = 0;
    struct hist_op o = load_begin(c, HIST_VERSIONS, key);
    do {
        char path[160];
        snprintf(path, sizeof(path), "/api/v1/configs/f/%s/history?limit=%d", key, PAGE);
        if (next != 0) {
            size_t len = strlen(path);
            snprintf(path + len, sizeof(path) - len, "&before=%" PRIu64, next);
        }
        struct reply r = load_get(c, path, &o);
        if (o.out == HIST_FAIL) {
            return 0;
        }
        if (o.out != HIST_OK || add_page(r.body, revs, &o.n_values, &next) != 0) {
            return -1;
        }
    } while (next != 0 && o.n_values < VERSIONS_MAX);
    for (size_t i = 0; i < o.n_values / 2; i++) {
        uint64_t x = revs[i];
        revs[i] = revs[o.n_values - 1 - i];
        revs[o.n_values - 1 - i] = x;
    }
    o.values = revs;
    load_record(c, &o);
    return 0;
}

static int read_key(struct client *c, const char *key)
{
    for (int node = 0; node < c->load->n_nodes; node++) {
        if (read_on(c, node, key) != 0) {
            return -1;
        }
    }
    for (int i = 0; i < 20; i++) {
        if (read_versions(c, key) == 0) {
            return 0;
        }
        load_pause(c, 200);
    }
    return -1;
}

int load_read_all(struct client *c)
{
    uint64_t n_epochs = load_epoch(c->load) + 1;
    int rc = write_end(c);
    for (uint64_t e = 0; e < n_epochs && rc == 0; e++) {
        for (uint64_t k = 0; k < LOAD_KEYS && rc == 0; k++) {
            char key[32];
            snprintf(key, sizeof(key), "r%" PRIu64 "-%" PRIu64, e, k);
            rc = read_key(c, key);
        }
        for (uint64_t k = 0; k < LOAD_LOCKS && rc == 0 && e % LOCKS_EPOCH == 0; k++) {
            char key[32];
            snprintf(key, sizeof(key), "g%" PRIu64 "-%" PRIu64, k, e / LOCKS_EPOCH);
            rc = read_key(c, key);
        }
    }
    for (size_t which = 0; which < LOAD_LISTS && rc == 0; which++) {
        enum hist_out out = HIST_OK;
        for (uint64_t number = 0; out == HIST_OK; number++) {
            out = load_last_list(c, which, number);
        }
        rc = out == HIST_FAIL ? 0 : -1;
    }
    return rc;
}
