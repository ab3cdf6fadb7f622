/* SPDX-License-Identifier: Apache-2.0 */
/* Leader's reads without a way through the core thread.
 *
 * While somebody asks for them the leader lets itself be confirmed by a majority at each tick, by
 * the round that linearizable reads have (raft/replica_gate.c). Who was confirmed is still the
 * leader for as long as the others wait before they elect another one; half of that is made use of,
 * counted from before the round was asked for. So a leader that was stopped or cut off answers
 * nothing of its own after that time, as Consul's leader does not after its lease. What the leader
 * acknowledged, itself or through another node, is in its store. */
#include "base/clock.h"
#include "server/core/core_impl.h"

enum { WANTED_MS = 1000, ROUND_MS = 1000, WAY_MS = 10 * 1000 };

static int64_t election_ms(const struct core *c)
{
    return c->options.replica.election_ms > 0 ? c->options.replica.election_ms : LEADS_ELECTION_MS;
}

static int may_confirm(const struct core *c, int64_t now)
{
    int64_t since = now - c->leads.gave_way_at;
    int has_way = c->leads.gave_way_at != 0 && since < WAY_MS; /* an attempt takes less */
    return c->role == REPLICA_LEADER && c->is_ready && !has_way;
}

static void confirmed(struct replica_read *rd, int code)
{
    struct core *c = CONTAINER_OF(rd, struct core, leads.rd);
    c->leads.is_asked = 0;
    if (code == 0 && may_confirm(c, clock_mono_ms())) {
        atomic_store(&c->leads.until, c->leads.asked_at + election_ms(c) / 2);
    }
}

void leads_tick(struct core *c, int64_t now)
{
    struct leads *l = &c->leads;
    int64_t wanted_at = atomic_load(&l->wanted_at);
    if (l->is_asked || wanted_at == 0 || now - wanted_at > WANTED_MS || !may_confirm(c, now)) {
        return;
    }
    l->is_asked = 1;
    l->asked_at = now;
    l->rd = (struct replica_read){.done = confirmed, .deadline_at = now + ROUND_MS};
    replica_read(c->replica, &l->rd);
}

void leads_lost(struct core *c)
{
    atomic_store(&c->leads.until, 0);
}

void leads_give_way(struct core *c)
{
    c->leads.gave_way_at = clock_mono_ms();
    leads_lost(c);
}

int core_reads_now(struct core *c, enum consistency level)
{
    struct leads *l = &c->leads;
    if (level != READ_LEADER) {
        return level == READ_STALE;
    }
    int64_t now = clock_mono_ms();
    if (now - atomic_load(&l->wanted_at) > WANTED_MS / 4) { /* one line for all workers to write */
        atomic_store(&l->wanted_at, now);
    }
    return now < atomic_load(&l->until);
}
