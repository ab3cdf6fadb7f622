/* SPDX-License-Identifier: Apache-2.0 */
/* What must be true of a history, check by check. Each goes over the whole history and reports what
 * it finds; none trusts another one. */
#pragma once

#include "tests/faults/history.h"

struct check {
    const struct history *h;
    uint32_t *keys; /* per operation: number of its key */
    uint32_t n_keys;
    const char **names; /* by that number */
    int64_t late_ms;    /* an end of a lease may come so much behind its TTL */
    int64_t wake_ms;    /* and an answer to who waits behind a change */
    size_t n_found, n_gave_up;
    int is_quiet;
};

void check_init(struct check *k, const struct history *h);
void check_fini(struct check *k);
void check_found(struct check *k, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void check_count(struct check *k, const char *name, size_t n); /* how much was looked at */
/* 1: changed the store, or may have. */
int check_is_write(const struct hist_op *o);

/* tests/faults/check_order.c */
void check_registers(struct check *k); /* each key is linearizable */
void check_order(struct check *k);     /* revisions rise with real time, over all keys */
void check_stale(struct check *k);     /* stale answers say so */
void check_nowhere(struct check *k);   /* what was seen had been written */
void check_lists(struct check *k);
void check_repeats(struct check *k);
void check_fence(struct check *k);
/* tests/faults/check_watch.c */
void check_watches(struct check *k);
void check_versions(struct check *k); /* a key's history against all that is known of it */
/* tests/faults/check_wait.c */
void check_waits(struct check *k);
void check_groups(struct check *k);
/* tests/faults/check_lease.c */
void check_leases(struct check *k);

/* When faults were under way: tests/faults/check_calm.c */
struct check_calm {
    struct check_span *faults;
    size_t n;
};

void check_calm_init(struct check_calm *c, const struct check *k);
void check_calm_fini(struct check_calm *c);
/* When the cluster was last disturbed before `at`; `at` itself when it is then. */
int64_t check_calm_since(const struct check_calm *c, int64_t at);
