/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster configuration: who the members are and who votes. The bytes are the payload of a CHANGE
 * entry; the engine reads the same bytes, so the form is its: docs/formats.md#peer. Checked here
 * before the engine sees it, as the engine trusts lengths. */
#pragma once

#include "base/buf.h"
#include "raft/replica.h"

enum { CONF_MAX = 8 * 1024 };

struct conf {
    size_t n;
    struct replica_member members[REPLICA_MEMBERS_MAX];
};

/* 0 or MU_E_FORMAT; out is filled on success only. */
int conf_decode(struct slice s, struct conf *out);
/* Appends; the same members in the same order give the same bytes. */
void conf_encode(struct buf *b, const struct conf *c);
/* Index in members, or -1. */
int conf_find(const struct conf *c, mu_node_id id);
size_t conf_voters(const struct conf *c);
/* 1 when `id` votes and nobody else does. */
int conf_is_sole_voter(const struct conf *c, mu_node_id id);
/* The engine's opaque address string, "name@host:port". out holds CONF_ADDRESS_MAX bytes. */
enum { CONF_ADDRESS_MAX = REPLICA_NAME_MAX + REPLICA_ADDRESS_MAX + 2 };
void conf_address(const struct replica_member *m, char *out);
