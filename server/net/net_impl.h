/* SPDX-License-Identifier: Apache-2.0 */
/* Private door of server/net. */
#pragma once

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/buf.h"
#include "base/wake.h"
#include "server/http/http.h"
#include "server/net/address.h"
#include "server/net/tls.h"
#include "server/net/wheel.h"
#include "server/net/worker.h"

enum {
    NET_READ_BYTES = 64 * 1024, /* one read, and the memory all connections of a worker read into */
    NET_PLAIN_BYTES = 16 * 1024,  /* one TLS record */
    NET_DIRECT_BYTES = 16 * 1024, /* an answer this big goes to the kernel without a copy when
                                     nothing is queued before it */
    NET_FLUSH_BYTES =
        64 * 1024, /* collected output is sent before the end of the turn above this */
    NET_SPARE_BYTES = 64 * 1024,  /* largest output buffer kept for the next connection */
    NET_PIECE_BYTES = 256 * 1024, /* what the kernel does not take is given back in such pieces */
    NET_LINGER_MS =
        2000, /* reading on after our last byte, so that a reset does not eat the answer */
    NET_LINGER_BYTES = 1024 * 1024,
    NET_ACCEPT_BATCH = 64,
    NET_REST_MS = 100,        /* a listener that found no free descriptor tries again after this */
    NET_HANDSHAKES_MAX = 256, /* unfinished TLS handshakes of one worker */
    NET_SOURCE_SLOTS = 16384,
    NET_OWED_GRACE_MS =
        1000, /* how long a stopping worker waits for answers after its connections are closed */
};

/* Connections per source address, shared by all workers: counters in a keyed hash table, relaxed
 * atomics, no memory per source. */
struct sources {
    uint64_t seed;
    uint32_t max_loopback, max_other;
    _Atomic uint32_t n[NET_SOURCE_SLOTS];
};
void sources_init(struct sources *s, uint32_t max_loopback, uint32_t max_other);
/* 0 when one more is welcome; *out_slot is for sources_leave. */
int sources_enter(struct sources *s, const struct sockaddr_storage *a, uint32_t *out_slot);
void sources_leave(struct sources *s, uint32_t slot);

/* One bound socket of one worker. */
struct listener {
    struct worker *w;
    uv_poll_t poll;
    int fd;
    int is_open;             /* poll is initialised */
    struct tls_context *tls; /* NULL = plain */
    struct worker_timer rest;
    int is_rest_told; /* logged once, not at each try */
};
/* Gives an fd that listens. Sockets that are not shared find out whether somebody else has the
 * port. */
int listen_bind(const struct sockaddr_storage *a, int is_shared, struct err *e, int *out_fd);
/* local.c: the same for a unix socket, whose file goes when we do. */
struct local_file {
    char path[NET_ADDRESS_MAX]; /* empty: none */
    uint64_t device, inode;
};
int local_is(const char *address); /* "unix://..." */
int local_resolve(const char *address, struct sockaddr_storage *out, struct err *e);
void local_format(const struct sockaddr_storage *a, char *out);
int local_bind(const struct sockaddr_storage *a, unsigned mode, struct local_file *out, int *out_fd,
               struct err *e);
void local_remove(struct local_file *f);
int listener_start(struct listener *l);
void listener_stop(struct listener *l);

struct net_counters {
    _Atomic uint64_t connections, accepted, refused, tls_handshakes, tls_failures, bytes_in,
        bytes_out;
    _Atomic uint64_t bytes_held; /* of all connections, as of the last look at each */
};

struct net_conn;

struct worker {
    struct workers *all;
    unsigned number;
    pthread_t thread;
    uv_loop_t loop;
    struct wake wake;
    uv_poll_t wake_poll;
    uv_prepare_t turn;
    uv_timer_t tick;
    int64_t tick_at; /* when `tick` fires; 0 = not running */
    struct wheel wheel;
    struct mailbox mailbox;
    struct http_local *http;
    struct listener *listeners;
    struct net_conn *conns; /* open ones */
    struct net_conn *dirty; /* with output or a decision pending for the end of the turn */
    size_t n_conns, n_closing, n_handshakes;
    uint8_t *read_bytes, *plain_bytes;
    struct buf spare; /* an output buffer for whoever writes next */
    int is_draining, is_stopping, is_abandoned;
    int64_t stop_at;
    struct worker_timer stop_timer;
    struct mail_job drain_job, stop_job;
    struct net_counters n;
};

struct workers {
    unsigned n_workers;
    struct worker *workers;
    size_t n_listeners;
    struct listener_options *listeners;
    char (*addresses)[NET_ADDRESS_MAX];
    struct local_file *files; /* of unix sockets, by listener */
    struct net_limits limits;
    struct http_server *http;
    const struct worker_guest *guest;
    struct sources sources;
    _Atomic uint32_t n_connections;
    _Atomic int64_t tls_not_after;
    _Atomic int is_draining;
};

/* worker.c */
void worker_init(struct worker *w, struct workers *all, unsigned number);
void worker_fini(struct worker *w);
void worker_main(void *worker);

/* conn.c */
void net_conn_open(struct listener *l, int fd, const struct sockaddr_storage *peer,
                   uint32_t source);
void net_conn_settle(struct net_conn *c); /* end of turn: write, close */
void net_conn_drain(struct net_conn *c);
void net_conn_cut(struct net_conn *c);
struct net_conn *net_conn_next(const struct net_conn *c);

static inline void net_count(_Atomic uint64_t *n, uint64_t add)
{
    /* one writer: a plain add that other threads may read */
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + add,
                          memory_order_relaxed);
}
