/* SPDX-License-Identifier: Apache-2.0 */
/* Registers, lists, repeats, tokens: what clients were told, against real time and each other. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/faults/check.h"
#include "tests/lib/linear.h"

static const uint64_t STEPS_MAX = 20 * 1000 * 1000;

/* --- registers --- */

/* 1: has a place in the order of its key. */
static int as_linear(const struct check *k, size_t i, struct linear_op *out)
{
    const struct hist_op *o = &k->h->ops[i];
    *out = (struct linear_op){.process = o->process,
                              .call_ns = o->call_ns,
                              .return_ns = o->return_ns,
                              .key = k->keys[i],
                              .value = o->value,
                              .expected = o->want,
                              .result = LINEAR_ANY,
                              .outcome = o->out == HIST_OK     ? LINEAR_OK
                                         : o->out == HIST_FAIL ? LINEAR_FAIL
                                                               : LINEAR_UNKNOWN};
    switch (o->kind) {
    case HIST_READ:
        out->kind = LINEAR_READ;
        out->outcome = LINEAR_OK;
        out->result = o->out == HIST_OK ? o->value : LINEAR_ABSENT;
        return o->out <= HIST_FAIL;
    case HIST_WAIT: /* a read, whether it waited or not; what came was not told when unknown */
        out->kind = LINEAR_READ;
        out->outcome = LINEAR_OK;
        out->result = o->out == HIST_OK ? o->value : o->want;
        return o->out <= HIST_FAIL;
    case HIST_WRITE:
        out->kind = LINEAR_WRITE;
        return o->out == HIST_OK || o->out == HIST_UNKNOWN;
    case HIST_CAS:
        out->kind = LINEAR_CAS;
        return o->out != HIST_NONE;
    case HIST_DELETE:
        out->kind = LINEAR_DELETE;
        out->expected = o->want != 0 ? o->want : LINEAR_ANY;
        return o->out != HIST_NONE;
    default:
        return 0;
    }
}

static int linear_by_key(const void *a, const void *b)
{
    const struct linear_op *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

void check_registers(struct check *k)
{
    struct linear_op *ops = mem_zalloc((k->h->n + 1) * sizeof(*ops));
    size_t n = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        n += (size_t)as_linear(k, i, &ops[n]);
    }
    qsort(ops, n, sizeof(*ops), linear_by_key);
    for (size_t i = 0, end; i < n; i = end) {
        struct linear_verdict v;
        for (end = i + 1; end < n && ops[end].key == ops[i].key;) {
            end++;
        }
        enum linear_answer a = linear_check(ops + i, end - i, STEPS_MAX, &v);
        if (a == LINEAR_NO) {
            check_found(k, "register", "%s: %s", k->names[ops[i].key], v.text);
        } else if (a == LINEAR_GAVE_UP) {
            k->n_gave_up++;
            printf("gave up %s: %" PRIu64 " steps\n", k->names[ops[i].key], v.n_steps);
        }
    }
    check_count(k, "registers", n);
    mem_free(ops);
}

/* --- revisions --- */

struct moment {
    int64_t at;
    int is_return;
    const struct hist_op *op;
};

static int moment_order(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    if (x->at != y->at) {
        return x->at < y->at ? -1 : 1;
    }
    return x->is_return - y->is_return; /* what touches may overlap */
}

static int is_ordered(const struct hist_op *o)
{
    if (o->rev == 0) {
        return 0;
    }
    if (o->kind == HIST_READ || o->kind == HIST_LIST || o->kind == HIST_SEEN ||
        o->kind == HIST_WAIT) {
        return o->out <= HIST_FAIL;
    }
    return check_is_write(o) && o->out == HIST_OK;
}

static void one_call(struct check *k, const struct hist_op *o, const struct hist_op *newest)
{
    int is_read = !check_is_write(o);
    if (newest != NULL && (is_read ? o->rev < newest->rev : o->rev <= newest->rev)) {
        check_found(k, "order",
                    "%s of %s at revision %" PRIu64 " on %s began %.3f ms after revision %" PRIu64
                    " of %s had been answered",
                    hist_kind_names[o->kind], o->key, o->rev, o->on,
                    (double)(o->call_ns - newest->return_ns) / 1e6, newest->rev, newest->key);
    }
}

static int moment_rev(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    return (x->op->rev > y->op->rev) - (x->op->rev < y->op->rev);
}

/* Each command that changes something makes a revision of its own. */
static void revisions_shared(struct check *k, struct moment *m, size_t n)
{
    const struct hist_op *last = NULL;
    qsort(m, n, sizeof(*m), moment_rev);
    for (size_t i = 0; i < n; i++) {
        if (m[i].is_return || !check_is_write(m[i].op)) {
            continue;
        }
        if (last != NULL && last->rev == m[i].op->rev) {
            check_found(k, "order", "revision %" PRIu64 " was given to writes of %s and %s",
                        last->rev, last->key, m[i].op->key);
        }
        last = m[i].op;
    }
}

void check_order(struct check *k)
{
    struct moment *m = mem_zalloc((2 * k->h->n + 1) * sizeof(*m));
    const struct hist_op *newest = NULL;
    size_t n = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (is_ordered(o)) {
            m[n++] = (struct moment){o->call_ns, 0, o};
            m[n++] = (struct moment){o->return_ns, 1, o};
        }
    }
    revisions_shared(k, m, n);
    qsort(m, n, sizeof(*m), moment_order);
    for (size_t i = 0; i < n; i++) {
        if (!m[i].is_return) {
            one_call(k, m[i].op, newest);
        } else if (newest == NULL || m[i].op->rev > newest->rev) {
            newest = m[i].op;
        }
    }
    check_count(k, "order", n / 2);
    mem_free(m);
}

/* A stale answer says that it is one, and no other does. */
void check_stale(struct check *k)
{
    size_t n = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        int is_stale = o->kind == HIST_STALE;
        if (o->out > HIST_FAIL || (!is_stale && o->kind != HIST_READ && o->kind != HIST_LIST)) {
            continue;
        }
        n++;
        if (is_stale != (o->version != 0)) {
            check_found(k, "stale",
                        "a read of %s that asked for %s stale answer says that it is %s", o->key,
                        is_stale ? "a" : "no", is_stale ? "none" : "one");
        }
    }
    check_count(k, "stale marks", n);
}

/* --- values from nowhere --- */

static int by_value(const void *a, const void *b)
{
    const struct hist_op *const *x = a, *const *y = b;
    return ((*x)->value > (*y)->value) - ((*x)->value < (*y)->value);
}

static const struct hist_op *writer_of(const struct hist_op *const *writes, size_t n,
                                       uint64_t value)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (writes[mid]->value < value) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < n && writes[low]->value == value ? writes[low] : NULL;
}

static void one_sight(struct check *k, const struct hist_op *const *writes, size_t n,
                      const struct hist_op *o, uint64_t value)
{
    const struct hist_op *w = writer_of(writes, n, value);
    if (w == NULL || !check_is_write(w) || w->call_ns > o->return_ns ||
        strcmp(w->key, o->key) != 0) {
        check_found(k, "nowhere", "%s of %s shows %" PRIu64 ", %s", hist_kind_names[o->kind],
                    o->key, value,
                    w == NULL                     ? "which nobody wrote"
                    : !check_is_write(w)          ? "which was refused"
                    : strcmp(w->key, o->key) != 0 ? "which was written elsewhere"
                                                  : "before it was written");
    }
}

void check_nowhere(struct check *k)
{
    const struct hist_op **writes = mem_zalloc((k->h->n + 1) * sizeof(const struct hist_op *));
    size_t n = 0, n_seen = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (o->value != 0 && (o->kind == HIST_WRITE || o->kind == HIST_CAS ||
                              o->kind == HIST_APPEND || o->kind == HIST_GRANT)) {
            writes[n++] = o;
        }
    }
    qsort(writes, n, sizeof(const struct hist_op *), by_value);
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        int is_sight = o->kind == HIST_READ || o->kind == HIST_STALE || o->kind == HIST_SEEN ||
                       o->kind == HIST_WAIT || (o->kind == HIST_EVENT && o->key[0] != 'a');
        if (is_sight && o->value != 0 && o->out == HIST_OK) {
            one_sight(k, writes, n, o, o->value);
            n_seen++;
        }
        for (size_t v = 0; o->kind == HIST_LIST && v < o->n_values; v++) {
            one_sight(k, writes, n, o, o->values[v]);
            n_seen++;
        }
    }
    check_count(k, "sights", n_seen);
    mem_free(writes);
}

/* --- lists --- */

static int by_key_and_length(const void *a, const void *b)
{
    const struct hist_op *const *x = a, *const *y = b;
    int c = strcmp((*x)->key, (*y)->key);
    return c != 0 ? c : ((*x)->n_values > (*y)->n_values) - ((*x)->n_values < (*y)->n_values);
}

static int holds(const struct hist_op *list, uint64_t value, size_t *times)
{
    *times = 0;
    for (size_t i = 0; i < list->n_values; i++) {
        *times += list->values[i] == value;
    }
    return *times > 0;
}

/* Each appended value against the longest list, and against the first list read behind it. */
static void one_append(struct check *k, const struct hist_op *const *lists, size_t n,
                       const struct hist_op *o)
{
    size_t times;
    holds(lists[n - 1], o->value, &times);
    if (times > 1) {
        check_found(k, "list", "%s: %" PRIu64 " is there %zu times", o->key, o->value, times);
    }
    for (size_t i = 0; i < n && o->out == HIST_OK; i++) {
        if (lists[i]->call_ns > o->return_ns && !holds(lists[i], o->value, &times)) {
            check_found(k, "list", "%s: %" PRIu64 " was appended and is missing %.3f ms later",
                        o->key, o->value, (double)(lists[i]->call_ns - o->return_ns) / 1e6);
            return;
        }
    }
}

static void one_list(struct check *k, const struct hist_op *const *lists, size_t n)
{
    int64_t latest_call = lists[0]->call_ns; /* of the shorter ones */
    const struct hist_op *end = lists[n - 1];
    for (size_t i = 0; i < n; i++) {
        const struct hist_op *o = lists[i];
        if (o->n_values > 0 &&
            memcmp(o->values, end->values, o->n_values * sizeof(*o->values)) != 0) {
            check_found(k, "list", "%s: what was read at %" PRId64 " is no beginning of the list",
                        o->key, o->call_ns);
        }
        if (i > 0 && o->n_values > lists[i - 1]->n_values && o->return_ns < latest_call) {
            check_found(k, "list", "%s: was longer before it was shorter, at %" PRId64, o->key,
                        o->call_ns);
        }
        latest_call = o->call_ns > latest_call ? o->call_ns : latest_call;
    }
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (o->kind == HIST_APPEND && strcmp(o->key, end->key) == 0) {
            one_append(k, lists, n, o);
        }
    }
}

void check_lists(struct check *k)
{
    const struct hist_op **lists = mem_zalloc((k->h->n + 1) * sizeof(const struct hist_op *));
    size_t n = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (o->kind == HIST_LIST && o->out <= HIST_FAIL) {
            lists[n++] = o;
        }
    }
    qsort(lists, n, sizeof(const struct hist_op *), by_key_and_length);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && strcmp(lists[end]->key, lists[i]->key) == 0;) {
            end++;
        }
        one_list(k, lists + i, end - i);
    }
    check_count(k, "lists", n);
    mem_free(lists);
}

/* --- repeats and tokens --- */

void check_repeats(struct check *k)
{
    size_t n = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (o->kind != HIST_REPEAT || o->out > HIST_FAIL) {
            continue;
        }
        n++;
        if (o->out == HIST_FAIL || o->again != o->rev) {
            check_found(
                k, "repeat",
                "%s: revision %" PRIu64 " was asked for again and answered with %s %" PRIu64,
                o->key, o->rev, o->out == HIST_FAIL ? "a refusal at" : "revision", o->again);
        }
    }
    check_count(k, "repeats", n);
}

static int by_token(const void *a, const void *b)
{
    const struct hist_op *const *x = a, *const *y = b;
    return ((*x)->again > (*y)->again) - ((*x)->again < (*y)->again);
}

static int by_key_and_rev(const void *a, const void *b)
{
    const struct hist_op *const *x = a, *const *y = b;
    int c = strcmp((*x)->key, (*y)->key);
    return c != 0 ? c : ((*x)->rev > (*y)->rev) - ((*x)->rev < (*y)->rev);
}

void check_fence(struct check *k)
{
    const struct hist_op **writes = mem_zalloc((k->h->n + 1) * sizeof(const struct hist_op *));
    size_t n = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (o->kind == HIST_CAS && o->out == HIST_OK && o->again != 0) {
            writes[n++] = o;
        }
    }
    qsort(writes, n, sizeof(const struct hist_op *), by_token);
    for (size_t i = 1; i < n; i++) {
        if (writes[i]->again == writes[i - 1]->again &&
            writes[i]->process != writes[i - 1]->process) {
            check_found(k, "token", "%" PRIu64 " was given to clients %" PRIu32 " and %" PRIu32,
                        writes[i]->again, writes[i - 1]->process, writes[i]->process);
        }
    }
    qsort(writes, n, sizeof(const struct hist_op *), by_key_and_rev);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(writes[i]->key, writes[i - 1]->key) == 0 &&
            writes[i]->again < writes[i - 1]->again) {
            check_found(k, "fence",
                        "%s: token %" PRIu64 " wrote at revision %" PRIu64 " behind token %" PRIu64,
                        writes[i]->key, writes[i]->again, writes[i]->rev, writes[i - 1]->again);
        }
    }
    check_count(k, "fenced", n);
    mem_free(writes);
}
