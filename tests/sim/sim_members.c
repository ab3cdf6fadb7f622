/* SPDX-License-Identifier: Apache-2.0 */
/* Members come and go, by the rules of raft/members.c: one CHANGE at a time, when the one before is
 * committed and every voter that stays has it (G8); learners vote once they have caught up; never
 * fewer than two voters; a leader does not remove itself. With is_unruly the rules are left out:
 * then the checks must find something. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim_impl.h"

enum { CATCH_UP_LAG = 50 };

static int is_settled(struct sim_node *l, mu_node_id leaving)
{
    const struct conf *c = node_conf(l->node);
    if (!node_can_submit(l->node) || node_commit(l->node) < node_noop(l->node) ||
        !node_is_conf_committed(l->node)) {
        return 0;
    }
    for (size_t i = 0; i < c->n && !l->sim->o.is_unruly; i++) {
        const struct replica_member *m = &c->members[i];
        if (m->is_voter && m->id != l->id && m->id != leaving &&
            node_match(l->node, m->id) < node_conf_index(l->node)) {
            return 0;
        }
    }
    return 1;
}

static void submit(struct sim_node *l, const struct conf *c)
{
    struct wal_entry e = {.kind = WAL_CHANGE};
    struct buf b;
    mu_index first;
    buf_init(&b);
    conf_encode(&b, c);
    e.data = buf_slice(&b);
    if (node_submit(l->node, &e, 1, &first, l->sim->now + l->skew) == 0) {
        l->sim->stats->changes++;
    }
    buf_fini(&b);
    sim_settle(l);
}

static void add(struct sim_node *l, struct sim_node *n)
{
    struct conf c = *node_conf(l->node);
    struct replica_member *m = &c.members[c.n];
    if (c.n >= 6 || !is_settled(l, 0)) {
        return;
    }
    *m = (struct replica_member){.id = n->id};
    snprintf(m->name, sizeof(m->name), "%s", n->name);
    snprintf(m->address, sizeof(m->address), "h%d:1", n->i + 1);
    c.n++;
    if (!n->exists) {
        sim_boot(n);
    }
    submit(l, &c);
}

static void promote(struct sim_node *l, size_t i)
{
    struct conf c = *node_conf(l->node);
    mu_index match = node_match(l->node, c.members[i].id);
    if (!l->sim->o.is_unruly &&
        (match < node_conf_index(l->node) || match + CATCH_UP_LAG < node_last(l->node))) {
        return;
    }
    if (is_settled(l, 0)) {
        c.members[i].is_voter = 1;
        submit(l, &c);
    }
}

static void take_out(struct sim_node *l, size_t i)
{
    struct conf c = *node_conf(l->node);
    mu_node_id id = c.members[i].id;
    if (id == l->id ||
        (c.members[i].is_voter && conf_voters(&c) <= (l->sim->o.is_unruly ? 1 : 2)) ||
        !is_settled(l, id)) {
        return;
    }
    memmove(&c.members[i], &c.members[i + 1], (c.n - i - 1) * sizeof(c.members[0]));
    c.n--;
    submit(l, &c);
}

void sim_change_members(struct sim *s)
{
    for (int k = 0; k < SIM_NODES_MAX; k++) {
        struct sim_node *l = &s->nodes[k];
        struct sim_node *n = &s->nodes[sim_rnd(SIM_NODES_MAX - 1)];
        if (!l->is_up || node_state(l->node) != NODE_LEADER) {
            continue;
        }
        int i = conf_find(node_conf(l->node), n->id);
        if (i < 0) {
            add(l, n);
        } else if (!node_conf(l->node)->members[i].is_voter && sim_rnd(4) != 0) {
            promote(l, (size_t)i);
        } else {
            take_out(l, (size_t)i);
        }
    }
}

/* In the end all members agree on who they are. */
void sim_check_members(struct sim *s, struct sim_node *l)
{
    const struct conf *c = node_conf(l->node);
    if (!node_is_conf_committed(l->node) && node_conf_index(l->node) <= l->state.index) {
        sim_violated(s, "leader %d: its configuration is applied, but not committed for the engine",
                     l->i);
    }
    for (size_t i = 0; i < c->n; i++) {
        struct sim_node *n = sim_by_id(s, c->members[i].id);
        if (n->is_up && n->state.index >= node_conf_index(l->node) &&
            memcmp(node_conf(n->node), c, sizeof(*c)) != 0) {
            sim_violated(s, "configuration of node %d is not the leader's", n->i);
        }
    }
}
