/* SPDX-License-Identifier: Apache-2.0 */
/* The face of the DNS: services, nodes and addresses by name, over UDP and TCP. Reads views on the
 * worker threads, decides nothing. */
#pragma once

#include "base/err.h"
#include "server/net/worker.h"

struct access;
struct core;
struct dns;

struct dns_options {
    struct core *core;
    struct access *access; /* the anonymous token asks */
    unsigned n_workers;
    const char *listen;     /* host:port, several with commas; empty = none */
    int is_listen_optional; /* an address that somebody else has is left out, with a warning */
    const char *domain, *alt_domain, *datacenter;
    const char *service_ttl; /* "web=5s,db*=1m,*=1s" */
    const char *recursors;   /* host:port, several with commas; empty = other names are refused */
    const char *recursion_from; /* nets whose clients may ask for other names */
    int is_recursor_random;     /* else in their order */
    int is_only_passing, is_truncate_told, is_compressed, has_meta_txt;
    uint64_t udp_answer_limit, a_record_limit, rate_limit;
    int64_t node_ttl_ms, soa_refresh_ms, soa_retry_ms, soa_expire_ms, soa_min_ttl_ms;
    int64_t recursor_timeout_ms, max_stale_ms;
};

/* Read the settings and bind the sockets. */
int dns_new(const struct dns_options *o, struct dns **out, struct err *e);
/* What runs it; valid as long as the dns. */
const struct worker_guest *dns_guest(const struct dns *d);
/* The address really bound, for listener i; NULL beyond the last. */
const char *dns_address(const struct dns *d, size_t i);
void dns_free(struct dns *d); /* the workers have stopped, or never started; NULL allowed */

struct dns_stats {
    uint64_t udp_queries, tcp_queries, answers, limited, dropped, forwarded, forward_failures,
        tcp_connections;
};
void dns_stats(const struct dns *d, struct dns_stats *out); /* any thread */
