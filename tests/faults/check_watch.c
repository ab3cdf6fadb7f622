/* SPDX-License-Identifier: Apache-2.0 */
/* Streams against each other, against the acknowledged writes, and against the keys' own history.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/faults/check.h"

struct change { /* what happened to a key in a revision, by whoever told it */
    uint64_t rev, value, version;
    uint32_t key, stream; /* stream 0: an acknowledged write */
};

struct range {
    uint64_t after, to;
    int is_there;
};

static int change_order(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    if (x->rev != y->rev) {
        return x->rev < y->rev ? -1 : 1;
    }
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return (x->stream > y->stream) - (x->stream < y->stream);
}

static uint32_t max_stream(const struct check *k)
{
    uint32_t max = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        max = k->h->ops[i].stream > max ? k->h->ops[i].stream : max;
    }
    return max;
}

/* An event against what its stream told before; last: the event right before it, NULL behind a
 * mark. A revision may change several keys, as the end of a lease does: then they stand together.
 */
static void one_event(struct check *k, const struct hist_op *o, const struct hist_op *last,
                      struct range *r)
{
    int is_same = last != NULL && last->rev == o->rev && strcmp(last->key, o->key) != 0;
    if (o->rev < r->to) {
        check_found(k, "event order",
                    "stream %" PRIu32 ": revision %" PRIu64 " of %s behind revision %" PRIu64,
                    o->stream, o->rev, o->key, r->to);
    } else if (o->rev == r->to && !is_same) {
        check_found(k, "event twice",
                    "stream %" PRIu32 ": revision %" PRIu64 " of %s, which was over", o->stream,
                    o->rev, o->key);
    }
    r->to = o->rev > r->to ? o->rev : r->to;
}

/* Operations of a stream stand in the file in the order in which they came. */
static void one_stream(struct check *k, uint32_t stream, struct range *r)
{
    const struct hist_op *last = NULL;
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (o->stream != stream) {
            continue;
        }
        if (o->kind == HIST_STREAM) {
            *r = (struct range){o->rev, o->rev, 1};
        } else if (o->kind == HIST_MARK) {
            if (o->rev < r->to) {
                check_found(k, "mark",
                            "stream %" PRIu32 ": mark %" PRIu64 " behind revision %" PRIu64, stream,
                            o->rev, r->to);
            }
            r->to = o->rev > r->to ? o->rev : r->to;
        } else if (o->kind == HIST_EVENT) {
            one_event(k, o, last, r);
        }
        last = o->kind == HIST_EVENT ? o : NULL;
    }
}

/* All that is told of one key in one revision must be the same, and each stream there must tell it.
 */
static void one_change(struct check *k, const struct change *c, size_t n,
                       const struct range *ranges, uint32_t n_streams)
{
    const char *key = k->names[c->key];
    int is_list = key[0] == 'a'; /* the value of an event is the whole list */
    uint32_t seen = 0;
    for (size_t i = 1; i < n; i++) {
        if (!is_list && c[i].stream != 0 && c[i].value != c[0].value) {
            check_found(k, "event differs",
                        "%s at revision %" PRIu64 ": %" PRIu64 " by stream %" PRIu32 ", %" PRIu64
                        " by %s",
                        key, c->rev, c[i].value, c[i].stream, c[0].value,
                        c[0].stream == 0 ? "its writer" : "another stream");
        }
        if (c[i].version != 0 && c[i - 1].version != 0 && c[i].version != c[i - 1].version) {
            check_found(k, "event differs",
                        "%s at revision %" PRIu64 ": version %" PRIu64 " by stream %" PRIu32
                        ", %" PRIu64 " by stream %" PRIu32,
                        key, c->rev, c[i].version, c[i].stream, c[i - 1].version, c[i - 1].stream);
        }
        if (c[i].stream != 0 && c[i].stream == c[i - 1].stream) {
            check_found(k, "event twice", "stream %" PRIu32 ": revision %" PRIu64 " of %s",
                        c[i].stream, c->rev, key);
        }
    }
    for (uint32_t s = 1; s <= n_streams; s++) {
        while (seen < n && c[seen].stream < s) {
            seen++;
        }
        int is_told = seen < n && c[seen].stream == s;
        if (ranges[s].is_there && c->rev > ranges[s].after && c->rev <= ranges[s].to && !is_told) {
            check_found(k, "event missed", "stream %" PRIu32 ": revision %" PRIu64 " of %s", s,
                        c->rev, key);
        }
    }
}

static size_t collect(const struct check *k, struct change *out)
{
    size_t n = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        int is_event = o->kind == HIST_EVENT;
        if (o->rev != 0 && (is_event || (check_is_write(o) && o->out == HIST_OK))) {
            out[n++] = (struct change){.rev = o->rev,
                                       .value = o->kind == HIST_DELETE ? 0 : o->value,
                                       .version = o->version,
                                       .key = k->keys[i],
                                       .stream = is_event ? o->stream : 0};
        }
    }
    qsort(out, n, sizeof(*out), change_order);
    return n;
}

static int by_value_and_rev(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    if (x->value != y->value) {
        return x->value < y->value ? -1 : 1;
    }
    return (x->rev > y->rev) - (x->rev < y->rev);
}

/* A value is written once, so it appears in one revision. */
static void applied_twice(struct check *k, struct change *c, size_t n)
{
    qsort(c, n, sizeof(*c), by_value_and_rev);
    for (size_t i = 1; i < n; i++) {
        if (c[i].value != 0 && c[i].value == c[i - 1].value && c[i].rev != c[i - 1].rev &&
            c[i].key == c[i - 1].key && k->names[c[i].key][0] != 'a') {
            check_found(k, "applied twice", "%s: %" PRIu64 " at revisions %" PRIu64 " and %" PRIu64,
                        k->names[c[i].key], c[i].value, c[i - 1].rev, c[i].rev);
        }
    }
}

void check_watches(struct check *k)
{
    uint32_t n_streams = max_stream(k);
    struct range *ranges = mem_zalloc((n_streams + 1) * sizeof(*ranges));
    struct change *changes = mem_zalloc((k->h->n + 1) * sizeof(*changes));
    size_t n = collect(k, changes), n_events = 0;
    for (uint32_t s = 1; s <= n_streams; s++) {
        one_stream(k, s, &ranges[s]);
    }
    for (size_t i = 0, end; i < n; i = end) {
        n_events += changes[i].stream != 0;
        for (end = i + 1;
             end < n && changes[end].rev == changes[i].rev && changes[end].key == changes[i].key;) {
            n_events += changes[end++].stream != 0;
        }
        one_change(k, changes + i, end - i, ranges, n_streams);
    }
    applied_twice(k, changes, n);
    check_count(k, "events", n_events);
    mem_free(changes);
    mem_free(ranges);
}

/* --- histories of keys --- */

static int has_rev(const struct hist_op *o, uint64_t rev)
{
    size_t low = 0, high = o->n_values;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (o->values[mid] < rev) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < o->n_values && o->values[low] == rev;
}

static int was_compacted(const struct check *k, const struct hist_op *o)
{
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *f = &k->h->ops[i];
        if (f->kind == HIST_FAULT && strcmp(f->key, "compact") == 0 && f->call_ns < o->return_ns) {
            return 1;
        }
    }
    return 0;
}

/* from: the first revision of which it must tell; a compaction drops what is older. */
static void one_key(struct check *k, const struct hist_op *o, uint32_t key,
                    const struct change *changes, size_t n)
{
    uint64_t from = was_compacted(k, o) && o->n_values > 0 ? o->values[0] : 0;
    uint64_t n_known = 0, last = 0;
    for (size_t i = 0; i < n; i++) {
        if (changes[i].key != key || changes[i].rev == last || changes[i].rev < from) {
            continue;
        }
        last = changes[i].rev;
        n_known++;
        if (!has_rev(o, last)) {
            check_found(k, "versions", "%s: revision %" PRIu64 " is not in its history", o->key,
                        last);
        }
    }
    if (n_known < o->n_values) {
        check_found(k, "versions",
                    "%s: has %zu versions, %" PRIu64 " of which were seen to be made", o->key,
                    o->n_values, n_known);
    }
}

void check_versions(struct check *k)
{
    struct change *changes = mem_zalloc((k->h->n + 1) * sizeof(*changes));
    size_t n = collect(k, changes), n_checked = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        if (k->h->ops[i].kind == HIST_VERSIONS && k->h->ops[i].out == HIST_OK) {
            one_key(k, &k->h->ops[i], k->keys[i], changes, n);
            n_checked += k->h->ops[i].n_values;
        }
    }
    check_count(k, "versions", n_checked);
    mem_free(changes);
}
