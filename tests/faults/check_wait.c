/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for a change is woken by it; keys that go together are told together. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/faults/check.h"

/* --- waits --- */

struct write_at {
    uint32_t key;
    const struct hist_op *op;
};

static int by_key_and_call(const void *a, const void *b)
{
    const struct write_at *x = a, *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return (x->op->call_ns > y->op->call_ns) - (x->op->call_ns < y->op->call_ns);
}

/* The first write of the key that began behind `at`. */
static size_t first_behind(const struct write_at *w, size_t n, uint32_t key, int64_t at)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (w[mid].key < key || (w[mid].key == key && w[mid].op->call_ns <= at)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* A write that began behind the wait and was acknowledged ends it, soon after unless something
 * disturbs the cluster. */
static void one_wait(struct check *k, const struct hist_op *o, const struct hist_op *w,
                     const struct check_calm *calm)
{
    int64_t late_ns = k->wake_ms * INT64_C(1000000);
    int64_t calm_since = check_calm_since(calm, o->return_ns);
    int64_t from = w->return_ns > calm_since ? w->return_ns : calm_since;
    if (o->return_ns > from + late_ns) {
        check_found(k, "slept", "a wait for %s on %s ended %.1f ms after revision %" PRIu64, o->key,
                    o->on, (double)(o->return_ns - w->return_ns) / 1e6, w->rev);
    }
}

void check_waits(struct check *k)
{
    struct write_at *writes = mem_zalloc((k->h->n + 1) * sizeof(*writes));
    struct check_calm calm;
    size_t n = 0, n_waits = 0;
    check_calm_init(&calm, k);
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (check_is_write(o) && o->out == HIST_OK) {
            writes[n++] = (struct write_at){k->keys[i], o};
        }
    }
    qsort(writes, n, sizeof(*writes), by_key_and_call);
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (o->kind != HIST_WAIT || o->out == HIST_NONE) {
            continue;
        }
        size_t w = first_behind(writes, n, k->keys[i], o->call_ns);
        n_waits++;
        if (w < n && writes[w].key == k->keys[i]) {
            one_wait(k, o, writes[w].op, &calm);
        }
    }
    check_count(k, "waits", n_waits);
    check_calm_fini(&calm);
    mem_free(writes);
}

/* --- groups: keys G/x that are removed at once --- */

static size_t group_len(const struct hist_op *o)
{
    return strcspn(o->key, "/");
}

static int by_group(const void *a, const void *b)
{
    const struct hist_op *const *x = a, *const *y = b;
    size_t n = group_len(*x), m = group_len(*y);
    int c = strncmp((*x)->key, (*y)->key, n < m ? n : m);
    return c != 0 ? c : (n > m) - (n < m);
}

/* Events that say that a member went tell one revision. */
static void removals(struct check *k)
{
    const struct hist_op **ends = mem_zalloc((k->h->n + 1) * sizeof(const struct hist_op *));
    size_t n = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (o->kind == HIST_EVENT && o->value == 0 && o->key[0] == 'm') {
            ends[n++] = o;
        }
    }
    qsort(ends, n, sizeof(const struct hist_op *), by_group);
    for (size_t i = 1; i < n; i++) {
        if (by_group(&ends[i - 1], &ends[i]) == 0 && ends[i]->rev != ends[i - 1]->rev) {
            check_found(k, "torn", "%s went at revision %" PRIu64 ", %s at %" PRIu64, ends[i]->key,
                        ends[i]->rev, ends[i - 1]->key, ends[i - 1]->rev);
        }
    }
    mem_free(ends);
}

void check_groups(struct check *k)
{
    size_t n = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (o->kind != HIST_GROUP || o->out != HIST_OK) {
            continue;
        }
        n++;
        if (o->value != 0 && o->value != o->want) {
            check_found(k, "torn", "%s: %" PRIu64 " of %" PRIu64 " are there", o->key, o->value,
                        o->want);
        }
    }
    removals(k);
    check_count(k, "groups", n);
}
