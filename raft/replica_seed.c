/* SPDX-License-Identifier: Apache-2.0 */
/* What a restored snapshot needs around it before the first start: a log that begins behind it, and
 * its term as the saved one. */
#include <stdlib.h>

#include "raft/conf.h"
#include "raft/wal.h"

static int by_id(const void *a, const void *b)
{
    const struct replica_member *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

void replica_members_encode(const struct replica_member *members, size_t n, struct buf *out)
{
    struct conf c = {.n = n};
    MU_INVARIANT(n <= REPLICA_MEMBERS_MAX);
    for (size_t i = 0; i < n; i++) {
        c.members[i] = members[i];
        c.members[i].id = replica_id_of(members[i].name);
        c.members[i].is_voter = 1;
    }
    qsort(c.members, n, sizeof(c.members[0]), by_id);
    conf_encode(out, &c);
}

static int seed_vote(struct disk *d, mu_term term, struct err *e)
{
    struct vote_file *f;
    struct vote v;
    int rc = vote_open(d, "vote", &f, &v, e);
    if (rc != 0) {
        return rc;
    }
    if (v.term != 0) {
        rc = err_set(e, MU_E_CONFLICT, "this directory has taken part in a cluster already");
    } else {
        rc = vote_save(f, &(struct vote){.term = term}, e);
    }
    vote_close(f);
    return rc;
}

int replica_seed(struct disk *d, uint64_t segment_bytes, mu_index index, mu_term term,
                 struct err *e)
{
    struct wal_options o = {
        .disk = d, .dir = "log", .segment_bytes = segment_bytes, .cache_bytes = 1 << 20};
    struct wal_info info;
    struct wal *w;
    struct wal_op *op;
    int rc = d->ops->mkdir(d, "log", e);
    rc = rc != 0 ? rc : seed_vote(d, term, e);
    rc = rc != 0 ? rc : wal_open(&o, &w, &info, e);
    if (rc != 0) {
        return rc;
    }
    wal_reset(w, index, term);
    while (rc == 0 && (op = wal_take(w)) != NULL) {
        rc = wal_execute(op, e);
        wal_done(w, op);
    }
    wal_close(w);
    return rc;
}
