/* SPDX-License-Identifier: Apache-2.0 */
/* When nothing disturbed the cluster: only then is somebody late. */
#include <stdlib.h>

#include "base/mem.h"
#include "tests/faults/check.h"

struct check_span {
    int64_t from, to;
};

static int span_order(const void *a, const void *b)
{
    const struct check_span *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

void check_calm_init(struct check_calm *c, const struct check *k)
{
    *c = (struct check_calm){.faults = mem_zalloc((k->h->n + 1) * sizeof(*c->faults))};
    for (size_t i = 0; i < k->h->n; i++) {
        const struct hist_op *o = &k->h->ops[i];
        if (o->kind == HIST_FAULT) {
            c->faults[c->n++] = (struct check_span){o->call_ns, o->return_ns};
        }
    }
    qsort(c->faults, c->n, sizeof(*c->faults), span_order);
}

void check_calm_fini(struct check_calm *c)
{
    mem_free(c->faults);
}

int64_t check_calm_since(const struct check_calm *c, int64_t at)
{
    int64_t last = 0;
    for (size_t i = 0; i < c->n && c->faults[i].from <= at; i++) {
        int64_t to = c->faults[i].to < at ? c->faults[i].to : at;
        last = to > last ? to : last;
    }
    return last;
}
