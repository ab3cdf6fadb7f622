/* SPDX-License-Identifier: Apache-2.0 */
/* Workers: threads that own connections. Each runs one uv loop, accepts on its own SO_REUSEPORT
 * sockets, and a connection never moves.
 *
 * A worker gives its connections: a mailbox for answers from the core, cheap timers, and TLS. Bytes
 * go up to server/http. */
#pragma once

#include "base/err.h"
#include "base/mailbox.h"

struct uv_loop_s; /* uv_loop_t */

struct worker;
struct workers;

struct listener_options {
    const char *address;   /* "127.0.0.1:8500", "[::1]:8500", "localhost:0", "unix:///path" */
    unsigned mode;         /* of the file of a unix socket */
    const char *cert_file; /* NULL = plain */
    const char *key_file;
    const char *client_ca_file; /* NULL = no client certificates asked for */
};

/* 0 means the default, which is named. */
struct net_limits {
    uint32_t connections;            /* in all; 0 = from RLIMIT_NOFILE */
    uint32_t connections_per_source; /* per IP address; 0 = 0.8 of connections on loopback sources,
                                        200 on others */
    uint32_t head_bytes;             /* 16 KiB */
    uint32_t body_bytes;             /* largest of any route; 10 MiB */
    uint64_t held_body_bytes;        /* bodies that one worker holds at once, 503 beyond; 256 MiB */
    uint64_t held_output_bytes;      /* answers that one worker holds because their clients do not
                                        read: large ones are 503 from here on, connections that do
                                        not read are cut from twice as much on; 64 MiB */
    int64_t head_timeout_ms;         /* 10 s from the first byte of a head to its end */
    int64_t body_timeout_ms;         /* 30 s without progress of at least 1 KiB/s; also of what the
                                        client reads */
    int64_t idle_timeout_ms;         /* 5 min between requests */
    int64_t tls_timeout_ms;          /* 5 s */
};

struct http_server; /* server/http/http.h */

/* Who lives on the workers' loops beside their connections. Both are called on the worker's own
 * thread: start before its loop runs; stop when it drains, when a guest closes what it opened there
 * (the loop runs on until that is done). */
struct worker_guest {
    void *arg;
    void (*start)(void *arg, struct worker *w);
    void (*stop)(void *arg, struct worker *w);
};

struct workers_options {
    unsigned n_workers; /* 0 = one per core beyond the first, at least one, at most eight */
    const struct listener_options *listeners;
    size_t n_listeners;
    struct net_limits limits;
    struct http_server *http;
    const struct worker_guest *guest; /* NULL = none; borrowed until workers_stop */
};

int workers_start(const struct workers_options *o, struct workers **out,
                  struct err *e); /* binds, then starts threads */
/* The address really bound (port 0 resolved), for listener i. */
const char *workers_address(const struct workers *w, size_t listener);
/* Stop accepting; answer what is running with "Connection: close"; call http's drain hook so that
 * parked requests are answered. */
void workers_drain(struct workers *w);
/* After drain: wait at most timeout_ms for connections to end, then close them, join the threads,
 * free. Any thread but a worker. Answers that are still owed are waited for a second more (their
 * makers hold the worker's mailbox); if they do not come the memory stays. */
void workers_stop(struct workers *w, int64_t timeout_ms);
/* Load certificates anew for all listeners; on an error the old ones stay. */
int workers_reload_tls(struct workers *w, struct err *e);

struct net_stats {
    uint64_t connections, accepted, refused, tls_handshakes, tls_failures, bytes_in, bytes_out;
    uint64_t bytes_held;   /* output that clients have not read yet */
    int64_t tls_not_after; /* Unix time of the first certificate to expire; 0 = none */
};
void workers_stats(const struct workers *w,
                   struct net_stats *out); /* sums of per-worker counters, any thread */

/* For code running on a worker. */
struct uv_loop_s *worker_loop(struct worker *w);
unsigned worker_number(const struct worker *w);
/* Every mail in it is a struct mail_job (base/mailbox.h), run on the worker's thread. */
struct mailbox *worker_mailbox(struct worker *w);

/* A cheap one-shot timer on the worker's wheel (resolution 10 ms, never early). */
struct worker_timer {
    struct worker_timer *next, **prev; /* private */
    int64_t at;
    void (*fire)(struct worker_timer *t);
};
void worker_timer_start(struct worker *w, struct worker_timer *t,
                        int64_t delay_ms);                        /* restarts when running */
void worker_timer_stop(struct worker *w, struct worker_timer *t); /* idempotent */
