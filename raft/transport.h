/* SPDX-License-Identifier: Apache-2.0 */
/* The peer transport: one listening port, one outgoing FIFO session per peer, length-bounded
 * checked frames, TLS or loopback plaintext.
 *
 * Each node dials each peer and sends only on the connection it dialled; what it receives comes
 * over connections the peer dialled. A new session from a peer discards the old one. Runs on one uv
 * loop. Frame and hand-shake bytes: docs/formats.md#peer. */
#pragma once

#include "base/err.h"

struct transport;
struct uv_loop_s; /* uv_loop_t */

/* Certificates from files; mutual, TLS 1.3. The certificate's SAN must hold DNS name "<node
 * name>.muster-peer" (see docs/formats.md#peer). */
struct tls_config {
    const char *cert_file; /* PEM chain */
    const char *key_file;
    const char *ca_file;
};

enum { TRANSPORT_FRAME_MAX = 12 * 1024 * 1024, TRANSPORT_QUEUE_MAX = 32 * 1024 * 1024 };

struct transport_options {
    struct uv_loop_s *loop;
    mu_node_id self;
    const char *self_name;
    const char *listen;           /* host:port; NULL = no listener */
    const struct tls_config *tls; /* NULL = plaintext */
    int allow_plaintext;          /* plaintext on other than loopback addresses */
    void *arg;
    /* A whole, checked frame. Borrowed. Never from inside transport_send. */
    void (*receive)(void *arg, mu_node_id from, uint8_t type, struct slice body);
    /* Outgoing session to a peer came up (1) or went down (0). Never from inside transport_send or
     * transport_set_peers; not told of peers that were dropped from the set. */
    void (*session)(void *arg, mu_node_id peer, int is_up);
    /* Is this node allowed to talk to us (a member, or joining)? */
    int (*is_allowed)(void *arg, mu_node_id peer, const char *name);
    /* The cluster's id, 16 bytes, zero while unknown; a peer with another non-zero id is refused.
     */
    void (*cluster_id)(void *arg, uint8_t out[16]);
};

int transport_open(const struct transport_options *o, struct transport **out,
                   struct err *e); /* binds */
void transport_close(struct transport *t, void (*closed)(void *arg), void *arg);
/* The set of peers to dial; addresses may change; absent ones are dropped. Incoming sessions of
 * nodes that is_allowed now refuses end here too. */
struct transport_peer {
    mu_node_id id;
    const char *name;
    const char *address;
};
void transport_set_peers(struct transport *t, const struct transport_peer *peers, size_t n);
/* Queue one frame: parts are copied. 0, or CLOSED when there is no session, OVERLOADED when the
 * queue is full (then the session is dropped), TOO_LARGE above TRANSPORT_FRAME_MAX. */
int transport_send(struct transport *t, mu_node_id to, uint8_t type, const struct slice *parts,
                   size_t n_parts);
uint64_t transport_queued(const struct transport *t, mu_node_id to);
int transport_is_up(const struct transport *t, mu_node_id to);
/* Load new certificates for new sessions; on an error the old ones stay. 0 also without TLS. */
int transport_reload_tls(struct transport *t, struct err *e);
/* When the first of this node's certificates expires, Unix seconds; 0 without TLS. */
int64_t transport_tls_not_after(const struct transport *t);
/* Write out what was queued in this turn of the loop. It happens by itself once a turn; a call at
 * the end of the last prepare callback saves a turn. May call back `session`; never `receive`. */
void transport_flush(struct transport *t);
/* The reason for people; "" when it is up. Borrowed until the loop runs on. */
const char *transport_why_down(const struct transport *t, mu_node_id to);
uint16_t transport_port(const struct transport *t); /* that is listened on; 0 = no listener */

struct transport_stats {
    uint64_t accepted, refused;         /* connections */
    uint64_t sessions_in, sessions_out; /* that came up */
    uint64_t overflows;                 /* sessions dropped for a full queue */
    uint64_t frames_in, bytes_in, frames_out, bytes_out;
};
void transport_stats(const struct transport *t, struct transport_stats *out);
