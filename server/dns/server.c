/* SPDX-License-Identifier: Apache-2.0 */
/* The face as a whole: settings, sockets, and what each worker has of it.
 *
 * Every worker has its own sockets on each address (SO_REUSEPORT), so the kernel spreads questions
 * and an answer never changes threads. Sockets are bound before the workers start; what a worker
 * has beside them it makes and takes down on its own thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/dns/dns_impl.h"

void dns_address_of(const struct sockaddr_storage *a, uint8_t out[16])
{
    if (a->ss_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, 16);
        return;
    }
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    memcpy(out + 12, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
}

void dns_ask_begin(struct dns_local *l, struct slice packet, const uint8_t address[16],
                   struct dns_ask *out)
{
    const struct dns_zone *z = &l->d->zone;
    *out = (struct dns_ask){.zone = z,
                            .source = l->source,
                            .room = &l->room,
                            .packet = packet,
                            .can_recurse = z->has_recursors && dns_zone_recurses_for(z, address),
                            .wall_ms = clock_wall_ms()};
}

/* --- on the worker's thread --- */

static void start(void *arg, struct worker *w)
{
    struct dns *d = arg;
    struct dns_local *l = &d->locals[worker_number(w)];
    l->w = w;
    l->source = dns_source_new(d->core, d->access, worker_number(w), d->zone.max_stale_ms);
    l->message = mem_alloc(DNS_MESSAGE_MAX);
    dns_room_init(&l->room);
    dns_limit_init(&l->limit, d->rate_limit);
    if (d->zone.has_recursors) {
        dns_forward_start(l);
    }
    for (size_t i = 0; i < d->n_listeners; i++) {
        dns_udp_start(&l->udp[i]);
        dns_tcp_start(&l->tcp[i]);
    }
}

static void stop(void *arg, struct worker *w)
{
    struct dns *d = arg;
    struct dns_local *l = &d->locals[worker_number(w)];
    for (size_t i = 0; i < d->n_listeners; i++) {
        dns_port_stop(&l->udp[i]);
        dns_port_stop(&l->tcp[i]);
    }
    dns_tcp_stop(l);
    dns_forward_stop(l);
}

/* --- binding --- */

/* Sockets that share the port with nobody find out whether another process has it. The port of `a`
 * is filled in when it is 0. 0 or -errno. */
static int probe_address(struct sockaddr_storage *a)
{
    int probes[2] = {-1, -1};
    socklen_t len = sizeof(*a);
    int rc = dns_udp_bind(a, 0, &probes[0]);
    if (rc == 0 && getsockname(probes[0], (struct sockaddr *)a, &len) != 0) {
        rc = -EADDRNOTAVAIL;
    }
    rc = rc != 0 ? rc : dns_tcp_bind(a, 0, &probes[1]);
    for (unsigned k = 0; k < 2; k++) {
        if (probes[k] >= 0) {
            close(probes[k]);
        }
    }
    return rc;
}

/* One address for all workers, or -errno. */
static int bind_address(struct dns *d, size_t i, const struct sockaddr_storage *wanted)
{
    enum { TRIES = 32 }; /* port 0: one that is free for both, UDP and TCP */
    struct sockaddr_storage a;
    int rc = -EADDRINUSE;
    for (unsigned k = 0; k < TRIES && rc == -EADDRINUSE; k++) {
        a = *wanted;
        rc = probe_address(&a);
        if (rc == 0 || ((const struct sockaddr_in *)(const void *)wanted)->sin_port != 0) {
            break; /* sin6_port stands at the same place */
        }
    }
    for (unsigned n = 0; rc == 0 && n < d->n_workers; n++) {
        rc = dns_udp_bind(&a, 1, &d->locals[n].udp[i].fd);
        rc = rc != 0 ? rc : dns_tcp_bind(&a, 1, &d->locals[n].tcp[i].fd);
    }
    listen_format(&a, d->addresses[i]);
    return rc;
}

static void close_listener(struct dns *d, size_t i)
{
    for (unsigned n = 0; n < d->n_workers; n++) {
        struct dns_port *ports[] = {&d->locals[n].udp[i], &d->locals[n].tcp[i]};
        for (unsigned k = 0; k < 2; k++) {
            if (ports[k]->fd >= 0) {
                close(ports[k]->fd);
                ports[k]->fd = -1;
            }
        }
    }
}

static int add_listener(struct dns *d, const char *address, int is_optional, struct err *e)
{
    struct sockaddr_storage a;
    if (d->n_listeners == DNS_LISTENERS_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "dns.listen: at most %d addresses", DNS_LISTENERS_MAX);
    }
    int rc = listen_resolve(address, &a, e);
    if (rc != 0) {
        return err_wrap(e, "dns.listen");
    }
    rc = bind_address(d, d->n_listeners, &a);
    if (rc == 0) {
        d->n_listeners++;
        return 0;
    }
    close_listener(d, d->n_listeners);
    if (is_optional) {
        log_warn("dns",
                 "this address cannot be had: no DNS at this node; dns.listen says another, or "
                 "none by an empty value",
                 LOG_STR("address", address), LOG_STR("why", strerror(-rc)));
        return 0;
    }
    return err_set(e, MU_E_IO, "dns.listen: %s: %s", address, strerror(-rc));
}

static int add_listeners(struct dns *d, const struct dns_options *o, struct err *e)
{
    const char *at = o->listen;
    int rc = 0;
    while (rc == 0) {
        char item[256];
        at += strspn(at, ", ");
        size_t n = strcspn(at, ", ");
        if (n == 0) {
            return 0;
        }
        if (n >= sizeof(item)) {
            return err_set(e, MU_E_BAD_REQUEST, "dns.listen: an address is too long");
        }
        memcpy(item, at, n);
        item[n] = '\0';
        at += n;
        rc = add_listener(d, item, o->is_listen_optional, e);
    }
    return rc;
}

/* --- life --- */

static uint32_t seconds(int64_t ms)
{
    return (uint32_t)(ms / 1000);
}

static int fill_zone(struct dns_zone *z, const struct dns_options *o, struct err *e)
{
    const struct dns_zone_text t = {.domain = o->domain,
                                    .alt_domain = o->alt_domain,
                                    .datacenter = o->datacenter,
                                    .service_ttl = o->service_ttl,
                                    .recursion_from = o->recursion_from};
    *z = (struct dns_zone){.node_ttl = seconds(o->node_ttl_ms),
                           .soa_refresh = seconds(o->soa_refresh_ms),
                           .soa_retry = seconds(o->soa_retry_ms),
                           .soa_expire = seconds(o->soa_expire_ms),
                           .soa_min_ttl = seconds(o->soa_min_ttl_ms),
                           .is_only_passing = o->is_only_passing,
                           .is_truncate_told = o->is_truncate_told,
                           .is_compressed = o->is_compressed,
                           .has_meta_txt = o->has_meta_txt,
                           .udp_answer_limit = (uint32_t)o->udp_answer_limit,
                           .a_record_limit = (uint32_t)o->a_record_limit,
                           .max_stale_ms = o->max_stale_ms,
                           .has_recursors = o->recursors[0] != '\0'};
    return dns_zone_read(z, &t, e);
}

static struct dns *new_dns(const struct dns_options *o)
{
    struct dns *d = mem_zalloc(sizeof(*d));
    d->core = o->core;
    d->access = o->access;
    d->n_workers = o->n_workers;
    d->rate_limit = (uint32_t)o->rate_limit;
    d->is_recursor_random = o->is_recursor_random;
    d->recursor_timeout_ms = o->recursor_timeout_ms;
    (void)snprintf(d->recursors, sizeof(d->recursors), "%s", o->recursors);
    d->guest = (struct worker_guest){.arg = d, .start = start, .stop = stop};
    d->locals = mem_zalloc(o->n_workers * sizeof(*d->locals));
    for (unsigned n = 0; n < o->n_workers; n++) {
        struct dns_local *l = &d->locals[n];
        l->d = d;
        for (size_t i = 0; i < DNS_LISTENERS_MAX; i++) {
            l->udp[i] = l->tcp[i] = (struct dns_port){.l = l, .fd = -1};
        }
    }
    return d;
}

int dns_new(const struct dns_options *o, struct dns **out, struct err *e)
{
    struct dns *d = new_dns(o);
    int rc = fill_zone(&d->zone, o, e);
    if (rc == 0 && d->zone.has_recursors) {
        rc = dns_forward_check(o, e);
    }
    rc = rc != 0 ? rc : add_listeners(d, o, e);
    if (rc != 0) {
        dns_free(d);
        return rc;
    }
    *out = d;
    return 0;
}

const struct worker_guest *dns_guest(const struct dns *d)
{
    return &d->guest;
}

const char *dns_address(const struct dns *d, size_t i)
{
    return i < d->n_listeners ? d->addresses[i] : NULL;
}

void dns_free(struct dns *d)
{
    if (d == NULL) {
        return;
    }
    for (size_t i = 0; i < d->n_listeners; i++) {
        close_listener(d, i);
    }
    for (unsigned n = 0; n < d->n_workers; n++) {
        struct dns_local *l = &d->locals[n];
        if (l->w != NULL) {
            dns_room_fini(&l->room);
            dns_limit_fini(&l->limit);
            dns_udp_fini(l);
            dns_source_free(l->source);
            mem_free(l->message);
        }
    }
    mem_free(d->locals);
    mem_free(d);
}

void dns_stats(const struct dns *d, struct dns_stats *out)
{
    struct dns_stats s = {0};
    for (unsigned n = 0; n < d->n_workers; n++) {
        const struct dns_counters *c = &d->locals[n].n;
        s.udp_queries += atomic_load_explicit(&c->udp_queries, memory_order_relaxed);
        s.tcp_queries += atomic_load_explicit(&c->tcp_queries, memory_order_relaxed);
        s.answers += atomic_load_explicit(&c->answers, memory_order_relaxed);
        s.limited += atomic_load_explicit(&c->limited, memory_order_relaxed);
        s.dropped += atomic_load_explicit(&c->dropped, memory_order_relaxed);
        s.forwarded += atomic_load_explicit(&c->forwarded, memory_order_relaxed);
        s.forward_failures += atomic_load_explicit(&c->forward_failures, memory_order_relaxed);
        s.tcp_connections += atomic_load_explicit(&c->tcp_connections, memory_order_relaxed);
    }
    *out = s;
}
