/* SPDX-License-Identifier: Apache-2.0 */
/* Private door of server/dns: the sockets of one worker. */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>
#include <uv.h>

#include "server/dns/answer.h"
#include "server/dns/dns.h"
#include "server/dns/limit.h"
#include "server/net/address.h"

enum {
    DNS_LISTENERS_MAX = 16,
    DNS_UDP_BATCH = 32,      /* datagrams of one system call */
    DNS_UDP_BATCHES = 4,     /* before others on this worker have their turn */
    DNS_UDP_READ_MAX = 2048, /* a longer datagram is no query of ours */
    DNS_CONTROL_MAX = 64,    /* which of our addresses a datagram was sent to */
    DNS_CONNS_MAX = 512,     /* TCP connections of one worker */
    DNS_CONNS_OF_SOURCE_MAX = 64,
    DNS_CONN_IDLE_MS = 10 * 1000,
    DNS_CONN_QUEUED_MAX = 256 * 1024, /* nothing more is read while so much waits to be sent */
    DNS_CONN_FORWARDS_MAX = 64,
    DNS_FORWARDS_MAX = 1024, /* of one worker, waiting for a recursor */
    DNS_REST_MS = 100,       /* after no descriptor was left for a connection */
};

struct dns_local;

struct dns_port {
    struct dns_local *l;
    uv_poll_t poll;
    int fd; /* -1 = none */
    int is_open;
    struct worker_timer rest;
};

struct dns_counters {
    _Atomic uint64_t udp_queries, tcp_queries, answers, limited, dropped, forwarded,
        forward_failures, tcp_connections;
};

struct dns_udp_batch; /* udp.c */
struct dns_conn;      /* tcp.c */
struct dns_forwarder; /* forward.c */

/* What one worker has. Its own thread only, but for the counters. */
struct dns_local {
    struct dns *d;
    struct worker *w;
    struct dns_port udp[DNS_LISTENERS_MAX], tcp[DNS_LISTENERS_MAX];
    struct dns_source *source;
    struct dns_room room;
    struct dns_limit limit;
    struct dns_udp_batch *batch;
    struct dns_conn *conns;
    size_t n_conns;
    struct dns_forwarder *forwarder; /* NULL = no recursors */
    uint8_t *message;                /* DNS_MESSAGE_MAX */
    struct dns_counters n;
};

struct dns {
    struct dns_zone zone;
    struct core *core;
    struct access *access;
    struct worker_guest guest;
    unsigned n_workers;
    struct dns_local *locals;
    size_t n_listeners;
    char addresses[DNS_LISTENERS_MAX][NET_ADDRESS_MAX];
    uint32_t rate_limit;
    char recursors[1024];
    int is_recursor_random;
    int64_t recursor_timeout_ms;
};

/* Who asked, and how an answer gets there. */
struct dns_client {
    struct dns_local *l;
    uint8_t address[16];   /* IPv4 mapped */
    struct dns_conn *conn; /* TCP; NULL once it is gone */
    struct dns_port *port; /* UDP */
    struct sockaddr_storage peer;
    socklen_t peer_len;
    size_t control_len;
    uint8_t control[DNS_CONTROL_MAX];
};

void dns_address_of(const struct sockaddr_storage *a, uint8_t out[16]);
static inline void dns_count(_Atomic uint64_t *n, uint64_t add)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + add,
                          memory_order_relaxed);
}

/* udp.c */
int dns_udp_bind(const struct sockaddr_storage *a, int is_shared, int *out_fd);
void dns_udp_start(struct dns_port *p);
void dns_udp_send(const struct dns_client *c, struct slice message);
void dns_udp_fini(struct dns_local *l);
/* tcp.c */
int dns_tcp_bind(const struct sockaddr_storage *a, int is_shared, int *out_fd);
void dns_tcp_start(struct dns_port *p);
void dns_tcp_send(struct dns_conn *c, struct slice message);
/* A message of this connection waits for a recursor; it does no longer. `forward` learns when the
 * connection goes first (conn is NULL then). */
void dns_tcp_owe(struct dns_conn *c, struct dns_client *forward);
void dns_tcp_paid(struct dns_conn *c, const struct dns_client *forward);
void dns_tcp_stop(struct dns_local *l); /* all connections of the worker */
void dns_port_stop(struct dns_port *p);
/* forward.c */
/* Ask a recursor, after that outcome (FORWARD or RESOLVE). 1: there is an answer in r already, to
 * be sent by the caller; 0: it is sent later, never before this returns. */
int dns_forward(const struct dns_client *c, const struct dns_ask *a, struct dns_reply *r,
                enum dns_outcome outcome);
int dns_forward_check(const struct dns_options *o, struct err *e);
void dns_forward_start(struct dns_local *l);
void dns_forward_stop(struct dns_local *l);
/* server.c: fills what every question of this worker has in common. */
void dns_ask_begin(struct dns_local *l, struct slice packet, const uint8_t address[16],
                   struct dns_ask *out);
/* source_store.c */
struct dns_source *dns_source_new(struct core *core, struct access *access, unsigned worker,
                                  int64_t max_stale_ms);
void dns_source_free(struct dns_source *s);
