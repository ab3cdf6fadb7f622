/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the peer transport: a connection (transport_conn.c), the sessions we dial
 * (transport_out.c) and those we accept (transport_in.c).
 *
 * A connection knows bytes, frames and TLS; its owner, an outgoing or incoming session, knows who
 * the other side is. Whatever fails ends in ops->lost, once. */
#pragma once

#include <uv.h>

#include <bsd/sys/queue.h>

#include "base/buf.h"
#include "raft/transport.h"
#include "raft/transport_frame.h"
#include "raft/transport_hello.h"
#include "raft/transport_tls.h"

enum {
    PEER_CONNECT_MS = 2000,   /* TCP; then it is dialled again */
    PEER_HANDSHAKE_MS = 5000, /* TLS and hello, either side */
    PEER_RETRY_MIN_MS = 50,   /* between two dials: a random moment in here */
    PEER_RETRY_MAX_MS = 200,
    PEER_RETRY_REFUSED = 4,     /* times that, after a refusal: it will hardly change soon */
    PEER_DEAD_MS = 3000,        /* unacknowledged bytes or keepalives for so long end a session */
    PEER_DRAIN_MS = 500,        /* reading on after our last word, so that it arrives */
    PEER_STRANGERS_MAX = 64,    /* accepted connections before their hello; the oldest gives way */
    PEER_ACCEPTS_AT_ONCE = 16,  /* per loop turn */
    PEER_ACCEPT_PAUSE_MS = 100, /* after EMFILE and the like */
    PEER_LOG_EVERY_MS = 60000,  /* the same reason is logged again after this */
    PEER_LOG_REASONS = 16,
    PEER_LOG_UP_MS = 5000,          /* the same when it was up in between */
    PEER_BUF_KEEP = 256 * 1024,     /* output buffers above this are given back when empty */
    PEER_CRYPT_BYTES = 1024 * 1024, /* encrypted ahead of the socket */
    PEER_SCRATCH = 64 * 1024,
    PEER_WHY_MAX = 256,
};

struct peer_conn;

struct peer_conn_ops {
    void (*opened)(struct peer_conn *c); /* connected, TLS is up */
    void (*frame)(struct peer_conn *c, uint8_t type, struct slice body);
    /* It is over and closes itself. Not called after peer_conn_close or peer_conn_end. */
    void (*lost)(struct peer_conn *c, int is_refused, const char *why);
};

struct peer_conn {
    uv_tcp_t tcp;
    uv_timer_t timer; /* limit of the current phase */
    uv_connect_t connect;
    uv_write_t write;
    struct transport *t;
    const struct peer_conn_ops *ops;
    void *owner;
    LIST_ENTRY(peer_conn) entry; /* of t->conns */
    LIST_ENTRY(peer_conn) dirty; /* of t->dirty when is_dirty */
    struct peer_frame_reader in;
    struct peer_tls *tls;
    struct buf out;    /* frames that wait */
    size_t out_at;     /* of them, encrypted already */
    struct buf cipher; /* written by OpenSSL */
    struct buf wire;   /* with libuv while is_writing */
    const char *phase; /* what the timer limits */
    int phase_ms;
    uint8_t n_handles;
    uint8_t is_dirty, is_writing, is_open, is_dialled, is_draining, is_closed;
    uint8_t is_silent; /* the owner hears nothing more */
    char address[64];  /* of the other side, for the log */
};

/* Takes fd. Never calls back before it has returned. */
struct peer_conn *peer_conn_new(struct transport *t, int fd, const struct peer_conn_ops *ops,
                                void *owner);
int peer_conn_dial(struct peer_conn *c, const struct sockaddr *to); /* 0 or a uv error */
void peer_conn_accept(struct peer_conn *c);
/* After `ms` in this phase it is lost; 0 = no limit. */
void peer_conn_limit(struct peer_conn *c, int ms, const char *phase);
void peer_conn_touch(struct peer_conn *c); /* something was put into out: send it this turn */
void peer_conn_flush(struct peer_conn *c);
size_t peer_conn_queued(const struct peer_conn *c);
void peer_conn_lost(struct peer_conn *c, int is_refused, const char *why);
void peer_conn_end(struct peer_conn *c); /* after what is queued: say goodbye, then close */
void peer_conn_close(struct peer_conn *c);
int peer_socket_options(int fd); /* of every connection; 0 or -errno */

/* --- sessions that we dial --- */

/*  WAIT --timer--> RESOLVE --address--> CONNECT --TCP, TLS--> HELLO --ack--> UP
 *   ^                 |                   |                     |           |
 *   +-----------------+-------------------+----- any failure ---+-----------+   */
enum peer_out_state { PEER_WAIT, PEER_RESOLVE, PEER_CONNECT, PEER_HELLO, PEER_UP };

struct peer_out {
    struct transport *t;
    LIST_ENTRY(peer_out) entry; /* of t->outs, until dropped */
    mu_node_id id;
    char *name, *address;
    uv_timer_t timer;
    uv_getaddrinfo_t resolve;
    struct peer_conn *conn;
    uint64_t session;
    unsigned n_dials;
    uint8_t state; /* enum peer_out_state */
    uint8_t is_resolving, is_dropped, is_timer_closed;
    uint8_t is_down_due;            /* session(0) is to be told at the next flush */
    uint8_t was_up, is_down_logged; /* since the last line about it in the log */
    char why[PEER_WHY_MAX];         /* it was not up last time */
    int64_t logged_at;
};

void peer_out_add(struct transport *t, const struct transport_peer *p);
void peer_out_drop(struct peer_out *o); /* silently; frees itself later */
void peer_out_move(struct peer_out *o, const char *address);
int peer_out_send(struct peer_out *o, uint8_t type, const struct slice *parts, size_t n_parts);
void peer_out_tell(struct peer_out *o); /* what is due; o may be gone afterwards */
struct peer_out *peer_out_find(const struct transport *t, mu_node_id id);

/* --- sessions that we accept --- */

struct peer_in {
    struct transport *t;
    struct peer_conn *conn;
    TAILQ_ENTRY(peer_in) entry; /* of t->strangers before, of t->ins after the hello */
    mu_node_id from;            /* 0 before the hello */
    uint64_t run, session;
    char name[PEER_NAME_MAX + 1];
};

int peer_in_listen(struct transport *t, struct err *e); /* binds t->listen_fd */
int peer_in_start(struct transport *t);                 /* 0 or a uv error */
void peer_in_stop(struct transport *t);
void peer_in_check(struct transport *t); /* drop sessions of nodes that are no longer allowed */

/* --- the whole --- */

struct transport {
    struct transport_options o; /* its strings and tls are our copies */
    struct tls_config tls_files;
    struct peer_tls_ctx *tls;
    uint64_t run;
    LIST_HEAD(, peer_conn) conns;
    LIST_HEAD(, peer_conn) dirty;
    LIST_HEAD(, peer_out) outs;
    TAILQ_HEAD(peer_in_list, peer_in) strangers, ins;
    unsigned n_strangers, n_draining;
    int listen_fd;
    uv_poll_t listener;
    uv_timer_t accept_timer;
    uv_prepare_t prepare;
    uv_idle_t idle;     /* active while something is to be flushed: the loop does not sleep */
    unsigned n_handles; /* that must be closed before the end */
    uint8_t is_closing;
    void (*closed)(void *arg);
    void *closed_arg;
    struct {
        uint64_t key; /* hash of the reason */
        int64_t at;
    } logged[PEER_LOG_REASONS]; /* of connections that were refused, when last */
    uint64_t sessions;          /* numbers given out */
    uint8_t *scratch;           /* PEER_SCRATCH of ciphertext, while reading */
    struct transport_stats stats;
};

void transport_wake(struct transport *t); /* flush before the loop sleeps again */
void transport_one_closed(struct transport *t);
int transport_is_plain_ok(const struct transport *t, const struct sockaddr *sa);
