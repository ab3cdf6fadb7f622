/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/replica_impl.h"

void receiving_message(struct replica *r, mu_node_id from, const struct message *m)
{
    (void)r;
    (void)from;
    (void)m;
}

void receiving_turn(struct replica *r, int64_t now)
{
    (void)r;
    (void)now;
}

void receiving_reset(struct replica *r)
{
    (void)r;
}

void receiving_close(struct replica *r)
{
    (void)r;
}
