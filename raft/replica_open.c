/* SPDX-License-Identifier: Apache-2.0 */
/* What is on disk, and whether it fits together: vote, log, the machine's position, snapshot files.
 *
 * First start: all initial members write the same CHANGE at index 1, term 1. A crash in between
 * leaves term 1, no vote, no log: it is a first start again, as nobody can have acknowledged or
 * voted in term 1. The log may begin behind the machine (its store was rebuilt empty, or a snapshot
 * was being installed): the newest snapshot file that reaches the log's begin is loaded. Anything
 * else that does not fit is damage: this node must not vote, as it may have lost what it
 * acknowledged. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "raft/replica_impl.h"

void replica_damage(struct replica *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->damage, sizeof(r->damage), fmt, ap);
    va_end(ap);
    r->is_damaged = 1;
    log_error("raft",
              "the log is damaged: this node does not vote and waits for a snapshot of the others",
              LOG_STR("why", r->damage));
}

static int by_id(const void *a, const void *b)
{
    const struct replica_member *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int take_initial(struct replica *r, struct err *e)
{
    const struct replica_options *o = &r->o;
    if (o->n_initial > REPLICA_MEMBERS_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "%zu members, at most %d are possible", o->n_initial,
                       (int)REPLICA_MEMBERS_MAX);
    }
    for (size_t i = 0; i < o->n_initial; i++) {
        struct replica_member m = o->initial[i];
        m.id = replica_id_of(m.name);
        m.is_voter = 1;
        for (size_t k = 0; k < r->initial.n; k++) {
            if (r->initial.members[k].id == m.id ||
                strcmp(r->initial.members[k].address, m.address) == 0) {
                return err_set(e, MU_E_BAD_REQUEST,
                               "member %s is listed twice, or shares its address", m.name);
            }
        }
        r->initial.members[r->initial.n++] = m;
    }
    qsort(r->initial.members, r->initial.n, sizeof(r->initial.members[0]), by_id);
    if (!o->is_join && conf_find(&r->initial, r->self) < 0) {
        return err_set(e, MU_E_BAD_REQUEST, "this node, %s, is not among the initial members",
                       r->name);
    }
    return 0;
}

/* Before the writer's thread runs: all queued operations, here. */
static int write_now(struct replica *r, struct err *e)
{
    struct wal_op *op;
    while ((op = wal_take(r->wal)) != NULL) {
        int rc = wal_execute(op, e);
        if (rc != 0) {
            return rc;
        }
        wal_done(r->wal, op);
    }
    return 0;
}

static int bootstrap(struct replica *r, struct err *e)
{
    struct buf b;
    r->vote = (struct vote){.term = 1};
    int rc = vote_save(r->vote_file, &r->vote, e);
    if (rc != 0) {
        return rc;
    }
    buf_init(&b);
    conf_encode(&b, &r->initial);
    wal_append(r->wal, 1, &(struct wal_entry){.term = 1, .kind = WAL_CHANGE, .data = buf_slice(&b)},
               1);
    buf_fini(&b);
    return write_now(r, e);
}

static int open_files(struct replica *r, struct wal_info *info, struct err *e)
{
    struct disk *d = r->o.disk;
    struct wal_options w = {
        .disk = d, .dir = "log", .segment_bytes = r->o.segment_bytes, .cache_bytes = 4 << 20};
    w.segment_bytes = w.segment_bytes != 0 ? w.segment_bytes : 16 << 20;
    int rc = d->ops->mkdir(d, "log", e);
    if (rc == 0) {
        rc = d->ops->mkdir(d, "snapshots", e);
    }
    if (rc == 0) {
        rc = vote_open(d, "vote", &r->vote_file, &r->vote, e);
    }
    if (rc == MU_E_CORRUPT) {
        r->is_vote_lost = 1;
        replica_damage(r, "term and vote are unreadable: this node must be replaced");
        r->vote = (struct vote){0};
        rc = 0;
    }
    return rc != 0 ? rc : wal_open(&w, &r->wal, info, e);
}

/* The machine is older than the log's begin: bring it there. */
static void load_snapshot(struct replica *r, struct replica_position *pos)
{
    struct replica_position found = {0};
    uint8_t conf[CONF_MAX];
    char name[64], path[4096];
    if (!snapshot_newest(r, wal_first(r->wal) - 1, wal_last(r->wal), &found, conf, name,
                         sizeof(name))) {
        replica_damage(
            r, "the log begins at %llu, the store ends at %llu, and no snapshot reaches that far",
            (unsigned long long)wal_first(r->wal), (unsigned long long)pos->index);
        return;
    }
    snapshot_path(r, name, path, sizeof(path));
    r->m.snapshot_load(r->m.arg, path);
    r->m.position(r->m.arg, pos);
}

static void check_position(struct replica *r, const struct replica_position *pos)
{
    mu_index last = wal_last(r->wal);
    mu_term term;
    if (pos->index > last) {
        replica_damage(r, "the log ends at %llu, the store has applied %llu",
                       (unsigned long long)last, (unsigned long long)pos->index);
        return;
    }
    term = pos->index > 0 ? wal_term(r->wal, pos->index) : 0;
    if (term != 0 && term != pos->term) {
        replica_damage(r, "entry %llu has term %llu in the log, %llu in the store",
                       (unsigned long long)pos->index, (unsigned long long)term,
                       (unsigned long long)pos->term);
        return;
    }
    if (last > 0 && wal_term(r->wal, last) > r->vote.term) {
        r->is_vote_lost = 1;
        replica_damage(
            r, "the log ends in term %llu, the saved term is %llu: this node must be replaced",
            (unsigned long long)wal_term(r->wal, last), (unsigned long long)r->vote.term);
        return;
    }
    if (last == 0 && r->vote.term > 1 && !r->o.is_join) {
        replica_damage(r, "the log is gone, the saved term is %llu",
                       (unsigned long long)r->vote.term);
    }
}

static int is_first_start(const struct replica *r, const struct replica_position *pos)
{
    return !r->is_damaged && !r->o.is_join && wal_first(r->wal) == 1 && wal_last(r->wal) == 0 &&
           pos->index == 0 && r->vote.term <= 1 && r->vote.vote == 0 && r->snapshot_index == 0;
}

static void make_node(struct replica *r)
{
    struct node_options n = {
        .id = r->self,
        .name = r->name,
        .wal = r->wal,
        .ops = &replica_node_ops,
        .arg = r,
        .election_ms = (unsigned)(r->o.election_ms > 0 ? r->o.election_ms : REPLICA_ELECTION_MS),
        .heartbeat_ms =
            (unsigned)(r->o.heartbeat_ms > 0 ? r->o.heartbeat_ms : REPLICA_HEARTBEAT_MS),
        .max_inflight = REPLICA_INFLIGHT,
        .seed = (uint32_t)rnd_u64(),
    };
    r->node = node_new(&n);
}

int replica_open_log(struct replica *r, struct err *e)
{
    struct wal_info info = {0};
    struct replica_position pos = {0};
    int rc = take_initial(r, e);
    if (rc == 0) {
        rc = open_files(r, &info, e);
    }
    if (rc != 0) {
        return rc;
    }
    if (info.health == WAL_DAMAGED) {
        replica_damage(r, "%s", info.detail);
    } else if (info.detail[0] != '\0') { /* a torn last write, or a bit put right */
        log_warn("raft", "the end of the log was put in order", LOG_STR("what", info.detail));
    }
    r->m.position(r->m.arg, &pos);
    snapshot_newest(r, 0, 0, NULL, NULL, NULL, 0);
    if (is_first_start(r, &pos)) {
        rc = bootstrap(r, e);
    }
    if (rc == 0 && !r->is_damaged && pos.index + 1 < wal_first(r->wal)) {
        load_snapshot(r, &pos);
    }
    if (rc == 0 && !r->is_damaged) {
        check_position(r, &pos);
    }
    if (r->is_damaged && pos.conf.len > 0) {
        (void)conf_decode(pos.conf, &r->hello); /* whom to ask */
    }
    r->bytes_since_snapshot = r->snapshot_index == 0 ? wal_bytes(r->wal) : 0;
    make_node(r);
    return rc;
}
