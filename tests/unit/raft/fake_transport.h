/* SPDX-License-Identifier: Apache-2.0 */
/* raft/transport.h without sockets: frames between replicas of one process and loop, whose links a
 * test can cut. */
#pragma once

#include "raft/transport.h"

/* Cut or mend the link from a to b, one way. A cut link is silent: its session stays up, as with a
 * firewall that drops. */
void fake_cut(mu_node_id a, mu_node_id b, int is_cut);
/* All links of one node, both ways. */
void fake_isolate(mu_node_id a, int is_cut);
void fake_mend(void);
/* Of what this node and the others send each other, only frames of these two types pass (0: all).
 */
void fake_only(mu_node_id a, uint8_t type1, uint8_t type2);
/* Drop the sessions between a and b, which come up again. */
void fake_reset(mu_node_id a, mu_node_id b);
