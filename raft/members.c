/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/replica_impl.h"

void members_turn(struct replica *r)
{
    (void)r;
}

void members_status(const struct replica *r, char *out, size_t cap)
{
    (void)r;
    (void)cap;
    out[0] = 0;
}

void members_close(struct replica *r)
{
    (void)r;
}

void replica_transfer(struct replica *r, mu_node_id to, replica_done_cb cb, void *arg)
{
    (void)r;
    (void)to;
    cb(arg, MU_E_NOT_IMPLEMENTED, "not yet");
}

void replica_member_add(struct replica *r, const struct replica_member *m, mu_node_id replace, replica_done_cb cb, void *arg)
{
    (void)r;
    (void)m;
    (void)replace;
    cb(arg, MU_E_NOT_IMPLEMENTED, "not yet");
}

void replica_member_remove(struct replica *r, mu_node_id id, replica_done_cb cb, void *arg)
{
    (void)r;
    (void)id;
    cb(arg, MU_E_NOT_IMPLEMENTED, "not yet");
}
