/* SPDX-License-Identifier: Apache-2.0 */
/* Who leads, and who votes: addresses of the peer listeners, as Consul tells those of its servers'
 * RPC port. */
#include <string.h>

#include "server/consul/consul_impl.h"

void consul_ask_status(struct consul_call *k, void (*done)(struct core_request *q))
{
    if (consul_dc(k) != 0) {
        return;
    }
    struct consul_status *s = http_alloc(k->r, sizeof(*s));
    memset(s, 0, sizeof(*s));
    s->r = k->r;
    s->c = k->c;
    s->a.q.done = done;
    s->a.q.reply = worker_mailbox(http_worker(k->r));
    s->a.out_status = &s->status;
    s->a.op = CORE_STATUS;
    core_admin(k->c->core, &s->a, CONSUL_HOLD_MS);
}

static void leader_done(struct core_request *q)
{
    struct consul_status *s = CONTAINER_OF(q, struct consul_status, a.q);
    struct jw w;
    if (q->code != 0) {
        consul_fail(s->r, q->code, q->err.text);
        return;
    }
    const char *address = "";
    for (size_t i = 0; i < s->status.n_members; i++) {
        if (s->status.members[i].m.id == s->status.leader) {
            address = s->status.members[i].m.address;
        }
    }
    jw_init(&w, http_scratch(s->r));
    jw_str(&w, address);
    consul_json(s->r, 200, buf_slice(w.out));
}

static void peers_done(struct core_request *q)
{
    struct consul_status *s = CONTAINER_OF(q, struct consul_status, a.q);
    struct jw w;
    if (q->code != 0) {
        consul_fail(s->r, q->code, q->err.text);
        return;
    }
    jw_init(&w, http_scratch(s->r));
    jw_arr(&w);
    for (size_t i = 0; i < s->status.n_members; i++) {
        if (s->status.members[i].m.is_voter) {
            jw_str(&w, s->status.members[i].m.address);
        }
    }
    jw_end(&w);
    consul_json(s->r, 200, buf_slice(w.out));
}

void consul_status_leader(struct consul_call *k)
{
    consul_ask_status(k, leader_done);
}

void consul_status_peers(struct consul_call *k)
{
    consul_ask_status(k, peers_done);
}

int consul_is_well(const struct replica_member_status *m)
{
    return m->is_self || m->is_reachable;
}

void consul_tally(const struct replica_status *s, struct consul_tally *out)
{
    int n_voters = 0, n_well = 0;
    out->is_all = 1;
    for (size_t i = 0; i < s->n_members; i++) {
        const struct replica_member_status *m = &s->members[i];
        n_voters += m->m.is_voter;
        n_well += m->m.is_voter && consul_is_well(m);
        out->is_all &= consul_is_well(m);
    }
    int quorum = n_voters / 2 + 1;
    out->tolerance = n_well > quorum ? n_well - quorum : 0;
}
