/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots on their way to peers: read from the file in chunks, at most a window of them
 * unacknowledged.
 *
 * Who wants one: a peer that lacks entries our log has dropped (the engine says so again and again
 * while it does), or one that asks to rejoin after its log was damaged. When no file reaches far
 * enough, one is taken first. Lost session, silence or refusal: the transfer ends, and begins anew
 * when it is wanted again.
 *
 * Rejoin, the leader's part: the file must reach our last entry at the time of the question. All
 * the asker may ever have acknowledged to us is below that; what it acknowledged to earlier leaders
 * is in our log or was never committed. So when it has the file it lacks nothing that rests on its
 * word, and it may vote again. A question from a term above ours ends our leadership first: see
 * replica_receive.c. */
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "raft/replica_impl.h"

enum { WINDOW = 4 * MESSAGE_CHUNK_MAX, SILENCE_MS = 10000 };

struct sending {
    uint64_t id, size, sent, acked;
    mu_index index;
    mu_term index_term;
    int is_rejoin;
    int64_t heard_at;
    struct disk_file *file;
    uint8_t chunk[MESSAGE_CHUNK_MAX];
};

void sending_stop(struct replica *r, struct peer *p)
{
    if (p->sending != NULL) {
        r->o.disk->ops->close(p->sending->file);
        mem_free(p->sending);
        p->sending = NULL;
    }
}

void sending_stop_all(struct replica *r)
{
    for (size_t i = 0; i < r->n_peers; i++) {
        sending_stop(r, &r->peers[i]);
        r->peers[i].wants_snapshot = 0;
        r->peers[i].wants_rejoin = 0;
    }
}

void sending_want(struct replica *r, mu_node_id to, mu_index index)
{
    struct peer *p = peers_find(r, to);
    if (p != NULL && p->sending == NULL && p->wants_snapshot < index) {
        p->wants_snapshot = index;
        replica_touch(r);
    }
}

void sending_rejoin(struct replica *r, mu_node_id from, const struct message *m)
{
    struct peer *p = peers_find(r, from);
    if (p == NULL || !replica_is_leader(r)) {
        return;
    }
    if (m->term > node_term(r->node)) {
        node_saw_term(r->node, from, m->term, clock_mono_ms());
        return;
    }
    if (replica_is_ready_leader(r) && !p->wants_rejoin &&
        (p->sending == NULL || !p->sending->is_rejoin)) {
        sending_stop(r, p);
        p->wants_rejoin = 1;
        p->wants_snapshot = node_last(r->node);
        log_info("raft", "a member with a damaged log rejoins", LOG_STR("member", p->m.name),
                 LOG_U64("up_to", p->wants_snapshot));
    }
}

/* --- one transfer --- */

static int open_file(struct replica *r, struct sending *s)
{
    struct disk *d = r->o.disk;
    char name[64], path[96];
    snapshot_name(name, sizeof(name), s->index_term, s->index);
    snprintf(path, sizeof(path), "snapshots/%s", name);
    if (d->ops->open(d, path, DISK_READ, &s->file, NULL) != 0) {
        return MU_E_IO;
    }
    if (d->ops->size(s->file, &s->size, NULL) != 0 || s->size == 0) {
        d->ops->close(s->file);
        return MU_E_IO;
    }
    return 0;
}

static void begin(struct replica *r, struct peer *p)
{
    struct sending *s = mem_zalloc(sizeof(*s));
    s->id = ++r->transfer_id;
    s->index = r->snapshot_index;
    s->index_term = r->snapshot_term;
    s->is_rejoin = p->wants_rejoin;
    s->heard_at = clock_mono_ms();
    p->wants_snapshot = 0;
    p->wants_rejoin = 0;
    if (open_file(r, s) != 0) {
        mem_free(s);
        return;
    }
    struct message m = {.type = MESSAGE_SNAPSHOT_BEGIN, .term = node_term(r->node)};
    m.snapshot_begin.id = s->id;
    m.snapshot_begin.index = s->index;
    m.snapshot_begin.index_term = s->index_term;
    m.snapshot_begin.size = s->size;
    m.snapshot_begin.is_rejoin = s->is_rejoin;
    p->sending = s;
    if (peers_send(r, p->m.id, &m, (struct slice){0}) != 0) {
        sending_stop(r, p);
    }
}

static int send_chunk(struct replica *r, struct peer *p)
{
    struct sending *s = p->sending;
    struct message m = {.type = MESSAGE_SNAPSHOT_CHUNK, .term = node_term(r->node)};
    uint64_t left = s->size - s->sent;
    size_t n = left < MESSAGE_CHUNK_MAX ? (size_t)left : MESSAGE_CHUNK_MAX, got = 0;
    if (r->o.disk->ops->pread(s->file, s->chunk, n, s->sent, &got, NULL) != 0 || got != n) {
        return MU_E_IO;
    }
    m.snapshot_chunk.id = s->id;
    m.snapshot_chunk.offset = s->sent;
    m.snapshot_chunk.crc = hash_crc32c(0, s->chunk, n);
    s->sent += n;
    return peers_send(r, p->m.id, &m, slice_of(s->chunk, n));
}

static void push(struct replica *r, struct peer *p, int64_t now)
{
    struct sending *s = p->sending;
    if (now - s->heard_at > SILENCE_MS) {
        sending_stop(r, p);
        return;
    }
    while (s->sent < s->size && s->sent - s->acked < WINDOW &&
           transport_queued(r->transport, p->m.id) < REPLICA_PEER_QUEUE / 2) {
        if (send_chunk(r, p) != 0) {
            sending_stop(r, p);
            return;
        }
    }
}

void sending_turn(struct replica *r)
{
    int64_t now = 0;
    for (size_t i = 0; i < r->n_peers; i++) {
        struct peer *p = &r->peers[i];
        if (p->sending == NULL && p->wants_snapshot != 0 && p->is_up &&
            r->snapshot_index >= p->wants_snapshot) {
            begin(r, p);
        }
        if (p->sending != NULL) {
            now = now != 0 ? now : clock_mono_ms();
            push(r, p, now);
        }
    }
}

/* A file that the other side finds bad is bad: the next transfer takes another. */
static void drop_file(struct replica *r, const struct sending *s)
{
    char name[64], path[96];
    snapshot_name(name, sizeof(name), s->index_term, s->index);
    snprintf(path, sizeof(path), "snapshots/%s", name);
    log_warn("raft", "a snapshot was refused as damaged", LOG_STR("file", name));
    r->o.disk->ops->unlink(r->o.disk, path, NULL);
    snapshot_prune(r);
}

void sending_ack(struct replica *r, mu_node_id from, const struct message *m)
{
    struct peer *p = peers_find(r, from);
    if (p == NULL || p->sending == NULL || p->sending->id != m->snapshot_ack.id) {
        return;
    }
    struct sending *s = p->sending;
    s->heard_at = clock_mono_ms();
    if (m->snapshot_ack.offset > s->acked && m->snapshot_ack.offset <= s->sent) {
        s->acked = m->snapshot_ack.offset;
    }
    if (m->snapshot_ack.code == MU_E_CORRUPT) {
        drop_file(r, s);
    }
    if (m->snapshot_ack.code != 0 || s->acked == s->size) {
        sending_stop(r, p);
    }
}
