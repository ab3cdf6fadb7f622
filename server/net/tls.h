/* SPDX-License-Identifier: Apache-2.0 */
/* TLS for one connection, without sockets: ciphertext in by slices, ciphertext out into a buffer.
 * OpenSSL is seen by tls.c only. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct listener_options; /* server/net/worker.h */
struct tls_context; /* certificate, key and client CA of a listener; shared by threads, counted */
struct tls;         /* one connection */

/* Load and check the files (key matches certificate, not expired, key file closed to group and
 * others). */
int tls_context_load(const struct listener_options *o, struct tls_context **out, struct err *e);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(
    struct tls_context *c); /* NULL allowed; live connections keep what they need */
int64_t tls_context_not_after(
    const struct tls_context *c); /* Unix seconds: the first certificate of the chain to expire */

enum tls_state { TLS_HANDSHAKE, TLS_OPEN, TLS_ENDED, TLS_FAILED };

struct tls *tls_new(struct tls_context *c,
                    struct buf *out); /* out: where ciphertext is appended; borrowed for life */
void tls_free(struct tls *t);
/* Offer ciphertext: all of it is taken by the calls to tls_read that follow, until one returns 0.
 */
void tls_feed(struct tls *t, struct slice in);
/* Plain bytes into `to`; 0 = wants more input, or look at the state. Runs the handshake first. */
size_t tls_read(struct tls *t, uint8_t *to, size_t cap);
void tls_write(struct tls *t, struct slice plain);
void tls_close(struct tls *t); /* close_notify */
enum tls_state tls_state(const struct tls *t);
