/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/replica_impl.h"

void sending_want(struct replica *r, mu_node_id to, mu_index index)
{
    struct peer *p = peers_find(r, to);
    if (p != NULL) {
        p->wants_snapshot = index;
    }
}

void sending_rejoin(struct replica *r, mu_node_id from, const struct message *m)
{
    (void)r;
    (void)from;
    (void)m;
}

void sending_turn(struct replica *r)
{
    (void)r;
}

void sending_ack(struct replica *r, mu_node_id from, const struct message *m)
{
    (void)r;
    (void)from;
    (void)m;
}

void sending_stop(struct replica *r, struct peer *p)
{
    (void)r;
    (void)p;
}

void sending_stop_all(struct replica *r)
{
    (void)r;
}
