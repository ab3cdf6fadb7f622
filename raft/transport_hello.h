/* SPDX-License-Identifier: Apache-2.0 */
/* The hand-shake of two peers, without sockets: who calls whom, and yes or why not.
 * Bytes: docs/formats.md#peer. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

enum {
    PEER_VERSION_MIN = 1, /* of the protocol: what this build speaks */
    PEER_VERSION_MAX = 1,
    PEER_NAME_MAX = 63,
    PEER_HELLO_MAX = 512, /* longest body of either frame, in any version to come */
};

/* Numbers go over the wire: never reused or changed. */
enum peer_refusal {
    PEER_WELCOME = 0,
    PEER_REFUSED_VERSION = 1,
    PEER_REFUSED_CLUSTER = 2, /* another cluster's */
    PEER_REFUSED_TARGET = 3,  /* somebody else was meant */
    PEER_REFUSED_MEMBER = 4,  /* not a member */
    PEER_REFUSED_NAME = 5,    /* not the name of its certificate, or of the member with this id */
    PEER_REFUSED_STALE = 6,   /* a newer session of the same run is there */
    PEER_REFUSAL_N
};

struct peer_hello {
    uint16_t version_min, version_max;
    uint8_t cluster_id[16]; /* zero = unknown */
    mu_node_id from, to;
    uint64_t run;     /* drawn when the sender's transport was opened */
    uint64_t session; /* counts its sessions to this peer, from 1 */
    char name[PEER_NAME_MAX + 1];
};

struct peer_ack {
    uint16_t refusal; /* enum peer_refusal; others may come from newer nodes */
    uint16_t version; /* that both will speak */
    uint8_t cluster_id[16];
    mu_node_id from;
};

void peer_hello_put(struct buf *b, const struct peer_hello *h); /* a whole frame */
void peer_ack_put(struct buf *b, const struct peer_ack *a);
/* From the body of a frame: 0 or MU_E_FORMAT. What a newer version appends is skipped. */
int peer_hello_read(struct slice body, struct peer_hello *out);
int peer_ack_read(struct slice body, struct peer_ack *out);

/* The version to speak with them, 0 when there is none. */
uint16_t peer_version_of(const struct peer_hello *h);
/* 1 unless both are known and differ. */
int peer_is_same_cluster(const uint8_t a[16], const uint8_t b[16]);
const char *peer_refusal_text(unsigned refusal);
