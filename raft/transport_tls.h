/* SPDX-License-Identifier: Apache-2.0 */
/* TLS 1.3 between peers, without sockets: ciphertext in by slices, ciphertext out into a buffer.
 *
 * Both sides show a certificate that chains to the CA file. Whom it names is asked afterwards, by
 * peer_tls_is_named: chain alone says only "some peer". OpenSSL is seen by transport_tls.c only. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct tls_config;   /* raft/transport.h */
struct peer_tls_ctx; /* certificate, key and CA; counted */
struct peer_tls;     /* one connection */

/* Reads and checks all files; own_name must be in the certificate. MU_E_IO or MU_E_BAD_REQUEST. */
int peer_tls_load(const struct tls_config *files, const char *own_name, struct peer_tls_ctx **out,
                  struct err *e);
int64_t peer_tls_not_after(const struct peer_tls_ctx *c); /* Unix seconds: the first of the chain */
void peer_tls_ctx_unref(struct peer_tls_ctx *c); /* NULL allowed; connections keep theirs */

enum peer_tls_state { PEER_TLS_HANDSHAKE, PEER_TLS_OPEN, PEER_TLS_ENDED, PEER_TLS_FAILED };

/* out: where ciphertext is appended; borrowed for life. */
struct peer_tls *peer_tls_new(struct peer_tls_ctx *c, int is_server, struct buf *out);
void peer_tls_free(struct peer_tls *t); /* NULL allowed */
/* Offer ciphertext: the calls to read that follow take it, until one returns 0. */
void peer_tls_feed(struct peer_tls *t, struct slice in);
/* Plain bytes into `to`. 0: wants more input, or look at the state. Runs the hand-shake first. */
size_t peer_tls_read(struct peer_tls *t, uint8_t *to, size_t cap);
void peer_tls_write(struct peer_tls *t, struct slice plain);
void peer_tls_close(struct peer_tls *t); /* close_notify */
enum peer_tls_state peer_tls_state(const struct peer_tls *t);
const char *peer_tls_why(const struct peer_tls *t); /* of FAILED */
/* 1 when the other side's certificate carries the DNS name "<name>.muster-peer", exactly. */
int peer_tls_is_named(const struct peer_tls *t, const char *name);
