/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics in the Prometheus text format 0.0.4. Base units; no label comes from a client: routes
 * are the table's patterns. */
#include <stdio.h>
#include <unistd.h>

#include "server/admin/admin_impl.h"

#ifndef MUSTER_VERSION
#define MUSTER_VERSION "unknown"
#endif

static const int64_t bucket_us[ADMIN_BUCKETS] = {100,   250,   500,   1000,   2500,   5000,
                                                 10000, 25000, 50000, 100000, 500000, 2500000};

/* --- counting, on workers --- */

static size_t route_number(struct admin_pages *a, const struct http_route *route)
{
    for (size_t i = 0; route != NULL && i < ADMIN_ROUTES_MAX; i++) {
        const struct http_route *at = atomic_load_explicit(&a->known[i], memory_order_acquire);
        if (at == NULL && atomic_compare_exchange_strong(&a->known[i], &at, route)) {
            return i;
        }
        if (at == route) {
            return i;
        }
    }
    return ADMIN_ROUTES_MAX;
}

static void add(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

void admin_count(struct admin_pages *a, unsigned worker, const struct http_route *route, int status,
                 int64_t elapsed_us)
{
    if (worker >= a->n_workers) {
        return;
    }
    struct request_counts *c = &a->requests[worker];
    size_t n = route_number(a, route);
    int class = status / 100 - 1;
    size_t b = 0;
    while (b < ADMIN_BUCKETS && elapsed_us > bucket_us[b]) {
        b++;
    }
    add(&c->route[n].by_class[class >= 0 && class < ADMIN_CLASSES ? class : ADMIN_CLASSES - 1], 1);
    add(&c->route[n].bucket[b], 1);
    add(&c->route[n].us_total, (uint64_t)elapsed_us);
}

/* --- rendering --- */

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct buf *out, const char *name, const char *type, const char *help, double v)
{
    head(out, name, type, help);
    buf_printf(out, "%s %.15g\n", name, v);
}

static const char *method_name(unsigned m)
{
    switch (m) {
    case HTTP_M_GET:
        return "GET";
    case HTTP_M_PUT:
        return "PUT";
    case HTTP_M_POST:
        return "POST";
    case HTTP_M_DELETE:
        return "DELETE";
    case HTTP_M_PATCH:
        return "PATCH";
    default:
        return "other";
    }
}

static uint64_t sum_class(const struct admin_pages *a, size_t route, size_t class)
{
    uint64_t n = 0;
    for (unsigned w = 0; w < a->n_workers; w++) {
        n += atomic_load_explicit(&a->requests[w].route[route].by_class[class],
                                  memory_order_relaxed);
    }
    return n;
}

static void labels(const struct admin_pages *a, size_t route, struct buf *out)
{
    const struct http_route *r = route < ADMIN_ROUTES_MAX ? atomic_load(&a->known[route]) : NULL;
    buf_printf(out, "method=\"%s\",route=\"%s\"", r != NULL ? method_name(r->methods) : "other",
               r != NULL ? r->pattern : "none");
}

static int is_used(const struct admin_pages *a, size_t route)
{
    return route == ADMIN_ROUTES_MAX || atomic_load(&a->known[route]) != NULL;
}

static void put_requests(const struct admin_pages *a, struct buf *out)
{
    head(out, "muster_http_requests_total", "counter",
         "Requests answered, by route and status class.");
    for (size_t i = 0; i <= ADMIN_ROUTES_MAX; i++) {
        for (size_t c = 0; is_used(a, i) && c < ADMIN_CLASSES; c++) {
            uint64_t n = sum_class(a, i, c);
            if (n != 0) {
                buf_append_str(out, "muster_http_requests_total{");
                labels(a, i, out);
                buf_printf(out, ",code=\"%zuxx\"} %llu\n", c + 1, (unsigned long long)n);
            }
        }
    }
}

static void put_histogram(const struct admin_pages *a, size_t route, struct buf *out)
{
    uint64_t n = 0, us = 0;
    for (size_t b = 0; b <= ADMIN_BUCKETS; b++) {
        for (unsigned w = 0; w < a->n_workers; w++) {
            n += atomic_load_explicit(&a->requests[w].route[route].bucket[b], memory_order_relaxed);
        }
        buf_append_str(out, "muster_http_request_duration_seconds_bucket{");
        labels(a, route, out);
        if (b < ADMIN_BUCKETS) {
            buf_printf(out, ",le=\"%g\"} %llu\n", (double)bucket_us[b] / 1e6,
                       (unsigned long long)n);
        } else {
            buf_printf(out, ",le=\"+Inf\"} %llu\n", (unsigned long long)n);
        }
    }
    for (unsigned w = 0; w < a->n_workers; w++) {
        us += atomic_load_explicit(&a->requests[w].route[route].us_total, memory_order_relaxed);
    }
    buf_append_str(out, "muster_http_request_duration_seconds_sum{");
    labels(a, route, out);
    buf_printf(out, "} %.15g\nmuster_http_request_duration_seconds_count{", (double)us / 1e6);
    labels(a, route, out);
    buf_printf(out, "} %llu\n", (unsigned long long)n);
}

static void put_durations(const struct admin_pages *a, struct buf *out)
{
    head(out, "muster_http_request_duration_seconds", "histogram",
         "Time from the end of the request head to the answer, long-polls included.");
    for (size_t i = 0; i <= ADMIN_ROUTES_MAX; i++) {
        if (is_used(a, i)) {
            put_histogram(a, i, out);
        }
    }
}

static void put_core(const struct admin_pages *a, struct buf *out)
{
    struct core_counters c;
    struct core_glance g;
    core_counters(a->core, &c);
    core_glance(a->core, &g);
    one(out, "muster_raft_term", "gauge", "Current term.", (double)g.term);
    one(out, "muster_raft_is_leader", "gauge", "1 on the leader.", g.is_leader);
    one(out, "muster_raft_has_leader", "gauge", "1 when a leader is known.", g.has_leader);
    one(out, "muster_raft_commit_index", "gauge", "Highest committed log index known here.",
        (double)c.commit_index);
    one(out, "muster_raft_applied_index", "gauge", "Highest log index applied to the store.",
        (double)c.applied_index);
    one(out, "muster_raft_elections_total", "counter", "Elections this node started.",
        (double)c.elections);
    one(out, "muster_raft_log_bytes", "gauge", "Bytes of log on disk.", (double)c.log_bytes);
    one(out, "muster_raft_queued_bytes", "gauge", "Bytes of proposals waiting.",
        (double)c.queued_bytes);
    one(out, "muster_raft_log_syncs_total", "counter", "Syncs of the log.", (double)c.log_syncs);
    one(out, "muster_raft_log_sync_seconds_total", "counter",
        "Time spent writing and syncing the log.", (double)c.log_sync_us / 1e6);
    one(out, "muster_proposals_total", "counter", "Writes handed to the core.",
        (double)c.proposals);
    one(out, "muster_proposals_failed_total", "counter", "Writes that ended without a result.",
        (double)c.proposals_failed);
    one(out, "muster_applied_entries_total", "counter", "Log entries applied.",
        (double)c.applied_entries);
    one(out, "muster_apply_batches_total", "counter", "Store transactions.",
        (double)c.apply_batches);
    one(out, "muster_apply_seconds_total", "counter", "Time spent applying.",
        (double)c.apply_us / 1e6);
    one(out, "muster_keepalives_total", "counter", "Lease keep-alives received by this node.",
        (double)c.keepalives);
    one(out, "muster_reads_gated_total", "counter", "Reads that were confirmed by the leader.",
        (double)c.reads_gated);
    one(out, "muster_leases", "gauge", "Leases on the leader's wheel.", (double)c.leases);
    one(out, "muster_watches", "gauge", "Armed watches and parked long-polls.", (double)c.subs);
    one(out, "muster_checks_run_total", "counter", "Health probes run by this node.",
        (double)c.checks_run);
    one(out, "muster_checks_assigned", "gauge", "Health checks that are this node's share.",
        (double)c.checks_mine);
    one(out, "muster_snapshots_total", "counter", "Snapshots written.", (double)c.snapshots);
    one(out, "muster_store_revision", "gauge", "Store revision.", (double)g.revision);
    one(out, "muster_store_used_bytes", "gauge", "Bytes of pages in use by the store.",
        (double)c.store_bytes);
    one(out, "muster_disk_full", "gauge", "1 while writes are refused for lack of disk space.",
        g.is_disk_full);
}

static void put_net(const struct admin_pages *a, struct buf *out)
{
    struct workers *w = atomic_load(&a->workers);
    struct net_stats s = {0};
    if (w == NULL) {
        return;
    }
    workers_stats(w, &s);
    one(out, "muster_connections", "gauge", "Client connections open.", (double)s.connections);
    one(out, "muster_connections_accepted_total", "counter", "Client connections accepted.",
        (double)s.accepted);
    one(out, "muster_connections_refused_total", "counter",
        "Client connections refused by a limit.", (double)s.refused);
    one(out, "muster_tls_handshakes_total", "counter", "TLS hand-shakes completed.",
        (double)s.tls_handshakes);
    one(out, "muster_tls_failures_total", "counter", "TLS hand-shakes that failed.",
        (double)s.tls_failures);
    one(out, "muster_received_bytes_total", "counter", "Bytes received from clients.",
        (double)s.bytes_in);
    one(out, "muster_sent_bytes_total", "counter", "Bytes sent to clients.", (double)s.bytes_out);
    one(out, "muster_unread_bytes", "gauge",
        "Bytes of answers held because their clients do not read.", (double)s.bytes_held);
    if (s.tls_not_after != 0) {
        one(out, "muster_tls_not_after_timestamp_seconds", "gauge",
            "When the first client certificate of a listener expires.", (double)s.tls_not_after);
    }
}

static void put_process(struct buf *out)
{
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long size = 0, resident = 0;
    if (f != NULL) {
        if (fscanf(f, "%lu %lu", &size, &resident) == 2) {
            one(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
                (double)resident * (double)sysconf(_SC_PAGESIZE));
        }
        fclose(f);
    }
    head(out, "muster_build_info", "gauge", "Version of this binary.");
    buf_printf(out, "muster_build_info{version=\"%s\"} 1\n", MUSTER_VERSION);
}

void admin_metrics(struct http_req *r, void *arg)
{
    struct admin_pages *a = admin_of(arg);
    struct buf *out = http_scratch(r);
    put_process(out);
    put_core(a, out);
    put_net(a, out);
    put_requests(a, out);
    put_durations(a, out);
    http_respond(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_slice(out));
}
