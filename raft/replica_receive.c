/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot on its way to us.
 *
 * Happy path: BEGIN -> chunks into `snapshots/incoming.part` -> synced and checked on a pool thread
 * -> named `<term>-<index>.in` -> the engine agrees and the log is reset behind it -> the reset is
 * durable -> the machine loads the file -> the engine hears that it is in place -> named `.snap`.
 * A crash before the reset is durable leaves the old log and state; after it, the log begins behind
 * the machine, and the next start loads the file. One at a time: a second BEGIN while one is
 * checked or installed is ignored; the sender asks again.
 *
 * Rejoin after damage. This node's log was damaged, so entries it had acknowledged may be missing,
 * and others may count on them. Until it has them again it must not help to elect a leader without
 * them: it does not start its engine, so it neither votes nor answers. It asks every member
 * (REJOIN, with the term it last saved); the leader of that term or a later one sends a snapshot
 * that reaches the leader's last entry at the time of the question. That covers all this node ever
 * acknowledged:
 *   - to this leader: it had those entries before the question;
 *   - to earlier leaders: what was committed with our word rests on a majority; this leader was
 * elected by a majority without us, or before our loss. The two majorities share a member other
 * than us, or us with our log still whole: so the leader has it. The saved term holds through all
 * this: a leader of an older term cannot help (we may have acknowledged to a later one, unknown to
 * it); it learns our term by the question and steps down. When the vote record itself is unreadable
 * nobody knows what we promised: then the node stays out until it is replaced. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "raft/replica_impl.h"

enum { SILENCE_MS = 10000, REJOIN_MS = 500 };

static const char PART[] = "snapshots/incoming.part";

static void ack(struct replica *r, int code)
{
    struct receiving *v = &r->receiving;
    struct message m = {.type = MESSAGE_SNAPSHOT_ACK, .term = v->term};
    m.snapshot_ack.id = v->id;
    m.snapshot_ack.offset = v->offset;
    m.snapshot_ack.code = code;
    peers_send(r, v->from, &m, (struct slice){0});
}

static void close_file(struct replica *r)
{
    if (r->receiving.file != NULL) {
        r->o.disk->ops->close(r->receiving.file);
        r->receiving.file = NULL;
    }
}

static void give_up(struct replica *r, int code)
{
    if (code != 0) {
        ack(r, code);
    }
    close_file(r);
    r->receiving.state = RECEIVING_NONE;
}

/* --- chunks --- */

static int is_welcome(const struct replica *r, const struct message *m)
{
    if (r->is_damaged) {
        return m->snapshot_begin.is_rejoin && !r->is_vote_lost && m->term >= r->vote.term;
    }
    return !m->snapshot_begin.is_rejoin && m->term >= node_term(r->node) &&
           !node_is_installing(r->node) && m->snapshot_begin.index > node_commit(r->node);
}

static void on_begin(struct replica *r, mu_node_id from, const struct message *m)
{
    struct receiving *v = &r->receiving;
    struct disk *d = r->o.disk;
    if (v->state == RECEIVING_CHECK || v->state == RECEIVING_RESET) {
        return;
    }
    close_file(r);
    v->state = RECEIVING_NONE;
    v->from = from;
    v->id = m->snapshot_begin.id;
    v->offset = 0;
    if (!is_welcome(r, m)) {
        ack(r, MU_E_CONFLICT);
        return;
    }
    v->term = m->term;
    v->size = m->snapshot_begin.size;
    v->is_rejoin = m->snapshot_begin.is_rejoin;
    v->heard_at = clock_mono_ms();
    v->pos = (struct replica_position){.index = m->snapshot_begin.index,
                                       .term = m->snapshot_begin.index_term};
    if (d->ops->open(d, PART, DISK_READ | DISK_WRITE | DISK_CREATE | DISK_TRUNC, &v->file, NULL) !=
        0) {
        v->file = NULL;
        ack(r, MU_E_IO);
        return;
    }
    v->state = RECEIVING_CHUNKS;
    log_info("raft", "receiving a snapshot", LOG_U64("index", v->pos.index),
             LOG_U64("bytes", v->size));
    ack(r, 0);
}

/* --- sync, check and name: on a pool thread --- */

struct check_job {
    uv_work_t work;
    struct replica *r;
    struct disk_file *file;
    struct replica_position pos; /* as announced, then as found */
    size_t conf_len;
    uint8_t conf[CONF_MAX];
    char name[64];
    int code;
    struct err err;
};

static int check_content(struct check_job *j)
{
    char path[4096];
    struct replica_position found = {0};
    j->conf_len = sizeof(j->conf);
    snapshot_path(j->r, "incoming.part", path, sizeof(path));
    int rc = j->r->m.snapshot_check(j->r->m.arg, path, &found.index, &found.term, &found.conf_index,
                                    j->conf, &j->conf_len, &j->err);
    struct conf c;
    if (rc == 0 && (found.index != j->pos.index || found.term != j->pos.term ||
                    conf_decode(slice_of(j->conf, j->conf_len), &c) != 0)) {
        rc = err_set(&j->err, MU_E_CORRUPT, "the file is not what was announced");
    }
    j->pos = found;
    return rc;
}

static void check_work(uv_work_t *w)
{
    struct check_job *j = CONTAINER_OF(w, struct check_job, work);
    struct disk *d = j->r->o.disk;
    char path[96];
    j->code = d->ops->sync(j->file, &j->err);
    d->ops->close(j->file);
    if (j->code == 0) {
        j->code = check_content(j);
    }
    if (j->code == 0) {
        snprintf(j->name, sizeof(j->name), "%016llx-%016llx.in", (unsigned long long)j->pos.term,
                 (unsigned long long)j->pos.index);
        snprintf(path, sizeof(path), "snapshots/%s", j->name);
        j->code = d->ops->rename(d, PART, path, &j->err);
    }
    if (j->code == 0) {
        j->code = d->ops->sync_dir(d, "snapshots", &j->err);
    }
}

/* The log of a damaged node is empty; there is no engine to ask. */
/* The leader's term, durable before the log that ends in it: a log ahead of the saved term is taken
 * for one whose vote was lost. */
static void save_term(struct replica *r)
{
    struct err e = {0};
    if (r->receiving.term > r->vote.term) {
        r->vote = (struct vote){.term = r->receiving.term};
        if (vote_save(r->vote_file, &r->vote, &e) != 0) {
            replica_fatal(r, REPLICA_EXIT_SYNC, e.text);
        }
    }
}

static void install(struct replica *r)
{
    struct receiving *v = &r->receiving;
    struct node_base base = replica_base(&v->pos);
    v->state = RECEIVING_CHECK;
    if (r->is_damaged) {
        save_term(r);
        wal_reset(r->wal, v->pos.index, v->pos.term);
        v->state = RECEIVING_RESET;
    } else if (node_is_installing(r->node) ||
               !node_install(r->node, v->from, v->term, &base, clock_mono_ms())) {
        char path[96];
        snprintf(path, sizeof(path), "snapshots/%s", v->name);
        r->o.disk->ops->unlink(r->o.disk, path, NULL);
        v->state = RECEIVING_NONE;
    }
    replica_touch(r);
}

void receiving_reset(struct replica *r)
{
    MU_INVARIANT(r->receiving.state == RECEIVING_CHECK);
    r->receiving.state = RECEIVING_RESET;
}

static void check_after(uv_work_t *w, int status)
{
    struct check_job *j = CONTAINER_OF(w, struct check_job, work);
    struct replica *r = j->r;
    struct receiving *v = &r->receiving;
    (void)status;
    if (r->is_closing) {
        mem_free(j);
        replica_handle_closed(r);
        return;
    }
    r->n_handles--;
    if (j->code != 0) {
        log_warn("raft", "a received snapshot is refused", LOG_STR("why", j->err.text));
        give_up(r, j->code);
    } else {
        v->pos = j->pos;
        memcpy(v->conf, j->conf, j->conf_len);
        v->pos.conf = slice_of(v->conf, j->conf_len);
        memcpy(v->name, j->name, sizeof(v->name));
        ack(r, 0);
        install(r);
    }
    mem_free(j);
}

static void start_check(struct replica *r)
{
    struct receiving *v = &r->receiving;
    struct check_job *j = mem_zalloc(sizeof(*j));
    j->r = r;
    j->file = v->file;
    j->pos = v->pos;
    v->file = NULL;
    v->state = RECEIVING_CHECK;
    r->n_handles++;
    int rc = uv_queue_work(r->o.loop, &j->work, check_work, check_after);
    MU_INVARIANT(rc == 0);
}

static void on_chunk(struct replica *r, mu_node_id from, const struct message *m)
{
    struct receiving *v = &r->receiving;
    struct slice data = m->snapshot_chunk.data;
    if (v->state != RECEIVING_CHUNKS || from != v->from || m->snapshot_chunk.id != v->id ||
        m->snapshot_chunk.offset != v->offset) {
        return;
    }
    v->heard_at = clock_mono_ms();
    if (data.len > v->size - v->offset ||
        hash_crc32c(0, data.p, data.len) != m->snapshot_chunk.crc) {
        give_up(r, MU_E_FORMAT);
        return;
    }
    int rc = r->o.disk->ops->pwrite(v->file, data.p, data.len, v->offset, NULL);
    if (rc != 0) {
        give_up(r, rc);
        return;
    }
    v->offset += data.len;
    if (v->offset == v->size) {
        start_check(r); /* the last acknowledgement waits for it */
    } else {
        ack(r, 0);
    }
}

void receiving_message(struct replica *r, mu_node_id from, const struct message *m)
{
    if (m->type == MESSAGE_SNAPSHOT_BEGIN) {
        on_begin(r, from, m);
    } else {
        on_chunk(r, from, m);
    }
}

/* --- in place --- */

static void keep_file(struct replica *r)
{
    char from[96], to[96], name[64];
    struct disk *d = r->o.disk;
    snapshot_name(name, sizeof(name), r->receiving.pos.term, r->receiving.pos.index);
    snprintf(from, sizeof(from), "snapshots/%s", r->receiving.name);
    snprintf(to, sizeof(to), "snapshots/%s", name);
    if (d->ops->rename(d, from, to, NULL) == 0) {
        d->ops->sync_dir(d, "snapshots", NULL);
    }
    snapshot_prune(r);
}

/* Healed: all we may have promised is here again. The leader's term is at least ours. */
static void rejoin(struct replica *r)
{
    r->is_damaged = 0;
    replica_start_node(r);
    peers_refresh(r);
    log_info("raft", "the damaged log was replaced by a snapshot", LOG_U64("index", r->applied));
}

static void finish(struct replica *r)
{
    struct receiving *v = &r->receiving;
    struct node_base base = replica_base(&v->pos);
    char path[4096];
    snapshot_path(r, v->name, path, sizeof(path));
    r->m.snapshot_load(r->m.arg, path);
    keep_file(r);
    r->bytes_since_snapshot = 0;
    v->state = RECEIVING_NONE;
    if (r->is_damaged) {
        rejoin(r);
    } else {
        r->applied = v->pos.index;
        r->applied_term = v->pos.term;
        node_installed(r->node, &base, clock_mono_ms());
    }
    replica_touch(r);
}

static void ask_to_rejoin(struct replica *r, int64_t now)
{
    struct message m = {.type = MESSAGE_REJOIN, .term = r->vote.term};
    if (r->is_vote_lost || r->receiving.state != RECEIVING_NONE || now < r->rejoin_at) {
        return;
    }
    r->rejoin_at = now + REJOIN_MS;
    for (size_t i = 0; i < r->n_peers; i++) {
        peers_send(r, r->peers[i].m.id, &m, (struct slice){0});
    }
}

void receiving_step(struct replica *r)
{
    struct receiving *v = &r->receiving;
    if (v->state == RECEIVING_RESET && wal_durable(r->wal) >= v->pos.index) {
        finish(r);
    }
}

void receiving_turn(struct replica *r, int64_t now)
{
    if (r->receiving.state == RECEIVING_CHUNKS && now - r->receiving.heard_at > SILENCE_MS) {
        give_up(r, 0);
    }
    if (r->is_damaged) {
        ask_to_rejoin(r, now);
    }
}

void receiving_close(struct replica *r)
{
    if (r->receiving.state == RECEIVING_CHUNKS) {
        give_up(r, 0);
    }
}
