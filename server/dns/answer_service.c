/* SPDX-License-Identifier: Apache-2.0 */
/* Answers for services and prepared queries: addresses, or servers with their addresses beside
 * them. */
#include "base/err.h"
#include "server/dns/answer_impl.h"

enum { PLAIN_ANSWERS_MAX = 8, SRV_PRIORITY = 1 };

/* How many answers there may be. A client without EDNS, which can take 512 bytes, gets few: they
 * are drawn by lot each time. */
static size_t answers_max(const struct answer *a)
{
    const struct dns_zone *z = a->ask->zone;
    if (a->ask->is_tcp || a->q->udp_size > DNS_UDP_PLAIN_MAX) {
        return SIZE_MAX;
    }
    return z->udp_answer_limit < PLAIN_ANSWERS_MAX ? z->udp_answer_limit : PLAIN_ANSWERS_MAX;
}

/* --- addresses --- */

static void put_addresses(struct answer *a, const struct dns_name *owner, uint32_t ttl)
{
    struct dns_room *m = a->ask->room;
    size_t max = answers_max(a), n = 0;
    uint32_t limit = a->ask->zone->a_record_limit;
    const struct dns_entry *alias = NULL;
    int has_address = 0;
    dns_entries_settle(m, DNS_LIKE_ADDRESS, 0);
    for (size_t i = 0; i < m->n_entries; i++) {
        const struct dns_entry *e = &m->entries[i];
        int is_v4 = e->kind == DNS_ADDRESS_V4;
        if (e->kind == DNS_ADDRESS_NAME) {
            alias = alias != NULL ? alias : e;
            continue;
        }
        has_address = 1;
        if (e->kind == DNS_ADDRESS_NONE || !answer_takes(a->q->type, is_v4)) {
            continue;
        }
        if (limit != 0 && n == limit) {
            return;
        }
        if (n == max || answer_put_address(a, DNS_ANSWER, owner, e->address, ttl) != 0) {
            a->is_trimmed = 1;
            return;
        }
        n++;
    }
    if (n == 0 && alias != NULL && (!has_address || a->q->type == DNS_TYPE_ANY)) {
        answer_put_alias(a, owner, dns_entry_host(m, alias), ttl);
    }
}

/* --- servers --- */

static int target_of(const struct answer *a, const struct dns_entry *e, struct dns_name *out)
{
    const struct dns_room *m = a->ask->room;
    dns_name_begin(out);
    if (e->kind == DNS_ADDRESS_NONE) {
        return MU_E_NOT_FOUND;
    }
    if (e->kind == DNS_ADDRESS_NAME) {
        dns_name_text(out, dns_entry_host(m, e));
    } else if (e->is_nodes) {
        answer_name(a, dns_entry_node(m, e), "node", out);
    } else {
        out->len = 0;
    }
    if (!dns_name_is_good(out) && e->kind != DNS_ADDRESS_NAME) {
        /* An address of its own, or a node whose name is none in the DNS. */
        answer_address_name(a, e->address, e->kind == DNS_ADDRESS_V4, out);
    }
    return dns_name_is_good(out) ? 0 : MU_E_NOT_FOUND;
}

static int put_server(struct answer *a, const struct dns_entry *e, const struct dns_name *target,
                      uint32_t ttl)
{
    struct dns_writer *w = &a->w;
    dns_record_begin(w, DNS_ANSWER, NULL, DNS_TYPE_SRV, ttl);
    dns_put_u16(w, SRV_PRIORITY);
    dns_put_u16(w, e->weight);
    dns_put_u16(w, e->port);
    dns_put_name(w, target, 0);
    return dns_record_end(w);
}

/* Bytes that the target's address will take. */
static size_t beside(const struct answer *a, const struct dns_entry *e,
                     const struct dns_name *target)
{
    if (!e->is_first || e->kind == DNS_ADDRESS_NAME) {
        return 0;
    }
    return dns_record_size(&a->w, a->w.len - target->len, target->len,
                           e->kind == DNS_ADDRESS_V4 ? 4 : 16);
}

static void put_beside(struct answer *a, size_t n, uint32_t ttl)
{
    struct dns_room *m = a->ask->room;
    struct dns_name target;
    for (size_t i = 0; i < n; i++) {
        const struct dns_entry *e = &m->entries[i];
        if (e->is_first && e->kind != DNS_ADDRESS_NAME && target_of(a, e, &target) == 0) {
            (void)answer_put_address(a, DNS_ADDITIONAL, &target, e->address, ttl);
        }
    }
    if (!a->ask->zone->has_meta_txt || a->is_trimmed) {
        return;
    }
    dns_entries_mark(m, DNS_LIKE_NODE);
    for (size_t i = 0; i < n && !a->w.is_full; i++) {
        const struct dns_entry *e = &m->entries[i];
        if (e->is_first && e->meta_len != 0) {
            answer_name(a, dns_entry_node(m, e), "node", &target);
            answer_put_meta(a, DNS_ADDITIONAL, &target, dns_entry_meta(m, e), ttl);
        }
    }
}

static void put_servers(struct answer *a, uint32_t ttl)
{
    struct dns_room *m = a->ask->room;
    size_t max = answers_max(a), n = 0, kept = 0;
    struct dns_name target;
    dns_entries_settle(m, DNS_LIKE_SERVER, 1);
    dns_entries_mark(m, DNS_LIKE_TARGET);
    /* Entries that were told move to the front, in their order. */
    for (size_t i = 0; i < m->n_entries && !a->is_trimmed; i++) {
        struct dns_entry *e = &m->entries[i];
        if (target_of(a, e, &target) != 0) {
            continue;
        }
        if (n == max || put_server(a, e, &target, ttl) != 0) {
            a->is_trimmed = 1;
            break;
        }
        size_t more = beside(a, e, &target);
        if (n > 0 && a->w.len + kept + more > a->w.max) {
            dns_record_undo(&a->w);
            a->is_trimmed = 1;
            break;
        }
        kept += more;
        m->entries[n++] = *e;
    }
    put_beside(a, n, ttl);
}

/* --- both --- */

/* 0 or NOT_FOUND. */
static int gather(struct answer *a, const struct dns_question *qn, uint32_t *out_ttl)
{
    struct dns_source *s = a->ask->source;
    const struct dns_service_ask ask = {.name = slice_of(qn->target, qn->target_len),
                                        .tag = slice_of(qn->tag, qn->tag_len),
                                        .is_only_passing = a->ask->zone->is_only_passing};
    dns_entries_begin(a->ask->room);
    *out_ttl = dns_zone_ttl(a->ask->zone, ask.name);
    if (qn->kind == DNS_ASK_QUERY) {
        a->is_scoped = 1;
        return s->query == NULL
                   ? MU_E_NOT_FOUND
                   : s->query(s, a->ask->look, ask.name, out_ttl, dns_entries_take, a->ask->room);
    }
    return s->service(s, a->ask->look, &ask, dns_entries_take, a->ask->room);
}

void answer_service(struct answer *a, const struct dns_question *qn, const struct dns_name *owner)
{
    uint32_t ttl = 0;
    int rc = gather(a, qn, &ttl);
    if (rc != 0 && rc != MU_E_NOT_FOUND) {
        a->rcode = DNS_SERVFAIL;
        return;
    }
    if (rc != 0 || a->ask->room->n_entries == 0) {
        a->rcode = a->depth == 0 ? DNS_NXDOMAIN : a->rcode;
        return;
    }
    if (a->q->type == DNS_TYPE_SRV) {
        put_servers(a, ttl);
    } else {
        put_addresses(a, owner, ttl);
    }
}
