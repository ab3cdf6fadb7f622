/* SPDX-License-Identifier: Apache-2.0 */
/* Lives: none ends before its TTL has passed since the last sign of life that was acknowledged, and
 * each ends soon after, once nothing disturbs the cluster.
 *
 * A sign of life was taken somewhere between its call and its return, so the earliest end is
 * counted from the call; one whose outcome is unknown may have been taken as well, so the latest
 * end is counted from the return of any. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/faults/check.h"

struct life {
    int64_t not_before; /* 0: no sign was acknowledged */
    int64_t last_sign;  /* return of the last attempt */
    int64_t ttl_ns;
    size_t n_ops;
};

static const int64_t MS = 1000000;

static void take_sign(struct life *l, const struct hist_op *o)
{
    int64_t until = o->call_ns + o->ttl_ms * MS;
    l->ttl_ns = o->ttl_ms * MS;
    if (o->out == HIST_OK && until > l->not_before) {
        l->not_before = until;
    }
    if (o->out != HIST_FAIL && o->return_ns > l->last_sign) {
        l->last_sign = o->return_ns;
    }
}

/* Gone when seen at `o`; how: for the message. The last sign acknowledged *before* counts, and one
 * acknowledged later does, too: what is gone does not come back. */
static void gone(struct check *k, const struct life *l, const struct hist_op *o, const char *how)
{
    if (l->not_before != 0 && o->return_ns < l->not_before) {
        check_found(k, "lease early", "%s: %s %.1f ms before its time", o->key, how,
                    (double)(l->not_before - o->return_ns) / 1e6);
    }
}

static void present(struct check *k, const struct life *l, const struct hist_op *o,
                    const struct check_calm *calm)
{
    int64_t calm_since = check_calm_since(calm, o->call_ns);
    int64_t from = l->last_sign > calm_since ? l->last_sign : calm_since;
    int64_t limit = from + l->ttl_ns + k->late_ms * MS;
    if (l->ttl_ns != 0 && o->call_ns > limit) {
        check_found(k, "lease late", "%s: is there %.1f ms after its time", o->key,
                    (double)(o->call_ns - from - l->ttl_ns) / 1e6);
    }
}

void check_leases(struct check *k)
{
    struct life *lives = mem_zalloc((k->n_keys + 1) * sizeof(*lives));
    struct check_calm calm;
    size_t n_lives = 0;
    check_calm_init(&calm, k);
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (o->kind == HIST_GRANT || o->kind == HIST_KEEP) {
            struct life *l = &lives[k->keys[i]];
            n_lives += l->n_ops++ == 0;
            take_sign(l, o);
        }
    }
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        const struct life *l = &lives[k->keys[i]];
        if (l->n_ops == 0) {
            continue;
        }
        if (o->kind == HIST_SEEN && o->out == HIST_FAIL) {
            gone(k, l, o, "not found");
        } else if (o->kind == HIST_KEEP && o->out == HIST_FAIL) {
            gone(k, l, o, "refused to be kept");
        } else if (o->kind == HIST_EVENT && o->value == 0) {
            gone(k, l, o, "an event says that it went");
        } else if (o->kind == HIST_SEEN && o->out == HIST_OK) {
            present(k, l, o, &calm);
        }
    }
    check_count(k, "lives", n_lives);
    mem_free(lives);
    check_calm_fini(&calm);
}
