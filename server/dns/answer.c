/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a question: parse, see what it asks for, gather, write. Everything that is ours is
 * answered with authority; what is not goes back to the caller. */
#include "server/dns/answer.h"

#include <ctype.h>
#include <stdio.h>

#include "base/hash.h"
#include "server/dns/answer_impl.h"
#include "storage/rows.h"

enum { SERVERS_MAX = 3, TXT_PIECE_MAX = 255, TXT_MAX = 4096 };

/* --- names --- */

void answer_name(const struct answer *a, struct slice first, const char *where,
                 struct dns_name *out)
{
    dns_name_begin(out);
    dns_name_text(out, first);
    dns_name_label(out, slice_str(where));
    dns_name_label(out, slice_str(a->ask->zone->datacenter));
    dns_name_append(out, a->question.domain);
}

void answer_address_name(const struct answer *a, const uint8_t address[16], int is_v4,
                         struct dns_name *out)
{
    char hex[33];
    hash_hex(is_v4 ? address + 12 : address, is_v4 ? 4 : 16, hex);
    answer_name(a, slice_str(hex), "addr", out);
}

/* --- records --- */

int answer_put_address(struct answer *a, enum dns_section s, const struct dns_name *owner,
                       const uint8_t address[16], uint32_t ttl)
{
    static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    int is_v4 = memcmp(address, v4_mapped, sizeof(v4_mapped)) == 0;
    dns_record_begin(&a->w, s, owner, is_v4 ? DNS_TYPE_A : DNS_TYPE_AAAA, ttl);
    dns_put_bytes(&a->w, is_v4 ? address + 12 : address, is_v4 ? 4 : 16);
    return dns_record_end(&a->w);
}

struct txt {
    size_t len;
    uint8_t p[TXT_MAX];
};

static void txt_put(struct txt *t, struct slice s, const char *quoted)
{
    for (size_t i = 0; i < s.len && t->len + 2 <= TXT_MAX; i++) {
        if (strchr(quoted, s.p[i]) != NULL && s.p[i] != '\0') {
            t->p[t->len++] = '`';
        }
        t->p[t->len++] = s.p[i];
    }
}

/* RFC 1464: a quote before what would end the name, and before blanks at its ends. */
static void txt_pair(struct txt *t, struct slice key, struct slice value)
{
    size_t head = 0, tail = key.len;
    while (head < key.len && key.p[head] == ' ') {
        head++;
    }
    while (tail > head && key.p[tail - 1] == ' ') {
        tail--;
    }
    txt_put(t, slice_of(key.p, head), " ");
    txt_put(t, slice_of(key.p + head, tail - head), "`=");
    txt_put(t, slice_of(key.p + tail, key.len - tail), " ");
    txt_put(t, SLICE_LIT("="), "");
    txt_put(t, value, "`");
}

void answer_put_meta(struct answer *a, enum dns_section s, const struct dns_name *owner,
                     struct slice metadata, uint32_t ttl)
{
    static const char raw[] = "rfc1035-";
    struct pair_iter it;
    struct slice key, value;
    metadata_begin(&it, metadata);
    while (metadata_next(&it, &key, &value)) {
        struct txt t = {.len = 0};
        size_t n = sizeof(raw) - 1;
        if (key.len >= n && dns_text_is(slice_of(key.p, n), slice_str(raw))) {
            txt_put(&t, value, "");
        } else {
            txt_pair(&t, key, value);
        }
        dns_record_begin(&a->w, s, owner, DNS_TYPE_TXT, ttl);
        size_t at = 0;
        do {
            size_t len = t.len - at < TXT_PIECE_MAX ? t.len - at : TXT_PIECE_MAX;
            dns_put_u8(&a->w, (uint8_t)len);
            dns_put_bytes(&a->w, t.p + at, len);
            at += len;
        } while (at < t.len);
        if (dns_record_end(&a->w) != 0) {
            a->is_trimmed |= s == DNS_ANSWER;
            return;
        }
    }
}

void answer_put_soa(struct answer *a, enum dns_section s)
{
    const struct dns_zone *z = a->ask->zone;
    struct dns_name ns, mail;
    dns_name_begin(&ns);
    dns_name_label(&ns, SLICE_LIT("ns"));
    dns_name_append(&ns, a->question.domain);
    dns_name_begin(&mail);
    dns_name_label(&mail, SLICE_LIT("hostmaster"));
    dns_name_append(&mail, a->question.domain);
    dns_record_begin(&a->w, s, a->question.domain, DNS_TYPE_SOA, z->soa_min_ttl);
    dns_put_name(&a->w, &ns, 1);
    dns_put_name(&a->w, &mail, 1);
    dns_put_u32(&a->w, (uint32_t)(a->ask->wall_ms / 1000));
    dns_put_u32(&a->w, z->soa_refresh);
    dns_put_u32(&a->w, z->soa_retry);
    dns_put_u32(&a->w, z->soa_expire);
    dns_put_u32(&a->w, z->soa_min_ttl);
    (void)dns_record_end(&a->w);
}

static void put_found(struct answer *a, const struct dns_name *owner)
{
    for (size_t i = 0; i < a->ask->n_found; i++) {
        const struct dns_found *f = &a->ask->found[i];
        if (answer_takes(a->q->type, f->is_v4) &&
            answer_put_address(a, DNS_ANSWER, owner, f->address, f->ttl) != 0) {
            a->is_trimmed = 1;
            return;
        }
    }
}

static void answer_node(struct answer *a, const struct dns_question *qn,
                        const struct dns_name *owner);

void answer_put_alias(struct answer *a, const struct dns_name *owner, struct slice host,
                      uint32_t ttl)
{
    struct dns_query q = {.type = a->q->type};
    struct dns_question next;
    dns_name_begin(&q.name);
    dns_name_text(&q.name, host);
    if (!dns_name_is_good(&q.name)) {
        return;
    }
    dns_record_begin(&a->w, DNS_ANSWER, owner, DNS_TYPE_CNAME, ttl);
    dns_put_name(&a->w, &q.name, 1);
    if (dns_record_end(&a->w) != 0) {
        a->is_trimmed = 1;
        return;
    }
    dns_question_read(a->ask->zone, &q, &next);
    if (next.kind == DNS_ASK_FOREIGN) {
        int is_address =
            a->q->type == DNS_TYPE_A || a->q->type == DNS_TYPE_AAAA || a->q->type == DNS_TYPE_ANY;
        if (a->ask->found != NULL) {
            put_found(a, &q.name);
        } else if (a->ask->can_recurse && is_address) {
            a->is_wanting = 1;
            a->r->wanted = q.name;
        }
    } else if (a->depth < DNS_DEPTH_MAX) {
        a->depth++;
        if (next.kind == DNS_ASK_SERVICE || next.kind == DNS_ASK_QUERY) {
            answer_service(a, &next, &q.name);
        } else if (next.kind == DNS_ASK_NODE) {
            answer_node(a, &next, &q.name);
        } else if (next.kind == DNS_ASK_ADDRESS && answer_takes(a->q->type, next.is_v4)) {
            (void)answer_put_address(a, DNS_ANSWER, &q.name, next.address, a->ask->zone->node_ttl);
        }
    }
}

/* --- each kind --- */

static void answer_node(struct answer *a, const struct dns_question *qn,
                        const struct dns_name *owner)
{
    struct dns_source *s = a->ask->source;
    uint32_t ttl = a->ask->zone->node_ttl;
    uint16_t type = a->q->type;
    struct dns_node n = {0};
    uint8_t address[16];
    int is_v4 = 0;
    int rc = s->node(s, a->ask->look, slice_of(qn->target, qn->target_len), &n);
    if (rc != 0) {
        a->rcode = rc != MU_E_NOT_FOUND ? DNS_SERVFAIL : a->depth == 0 ? DNS_NXDOMAIN : a->rcode;
        return;
    }
    if (dns_address_read(n.address, address, &is_v4) != 0) {
        if (type != DNS_TYPE_TXT && n.address.len != 0) {
            answer_put_alias(a, owner, n.address, ttl);
        }
    } else if (answer_takes(type, is_v4)) {
        (void)answer_put_address(a, DNS_ANSWER, owner, address, ttl);
    }
    if (type == DNS_TYPE_TXT || type == DNS_TYPE_ANY) {
        answer_put_meta(a, DNS_ANSWER, owner, n.metadata, ttl);
    } else if (a->ask->zone->has_meta_txt && a->depth == 0 && a->w.counts[DNS_ANSWER] > 0 &&
               (type == DNS_TYPE_A || type == DNS_TYPE_AAAA)) {
        answer_put_meta(a, DNS_ADDITIONAL, owner, n.metadata, ttl);
    }
}

static void answer_address(struct answer *a)
{
    const struct dns_question *qn = &a->question;
    uint32_t ttl = a->ask->zone->node_ttl;
    if (answer_takes(a->q->type, qn->is_v4)) {
        (void)answer_put_address(a, DNS_ANSWER, NULL, qn->address, ttl);
        return;
    }
    answer_put_soa(a, DNS_AUTHORITY);
    (void)answer_put_address(a, DNS_ADDITIONAL, NULL, qn->address, ttl);
}

/* 0, or NOT_FOUND: nobody here has that address. */
static int answer_reverse(struct answer *a)
{
    struct dns_source *s = a->ask->source;
    struct slice name = {0};
    struct dns_name to;
    int is_node = 0;
    if (a->question.target_len == 0) {
        return MU_E_NOT_FOUND;
    }
    int rc = s->reverse(s, a->ask->look, a->question.address, &name, &is_node);
    if (rc != 0) {
        return rc;
    }
    answer_name(a, name, is_node ? "node" : "service", &to);
    if (!dns_name_is_good(&to)) {
        return MU_E_NOT_FOUND;
    }
    if (a->q->type == DNS_TYPE_PTR || a->q->type == DNS_TYPE_ANY) {
        dns_record_begin(&a->w, DNS_ANSWER, NULL, DNS_TYPE_PTR, 0);
        dns_put_name(&a->w, &to, 1);
        (void)dns_record_end(&a->w);
    }
    return 0;
}

/* --- the zone itself --- */

static int take_server(void *arg, const struct dns_node *n)
{
    const struct dns_instance i = {.node = *n};
    for (size_t k = 0; k < n->name.len; k++) {
        if (!isalnum(n->name.p[k]) && n->name.p[k] != '-') {
            return 0; /* not a host name */
        }
    }
    return dns_entries_take(arg, &i);
}

static void answer_zone(struct answer *a)
{
    struct dns_source *s = a->ask->source;
    struct dns_room *m = a->ask->room;
    enum dns_section section = DNS_ANSWER;
    uint32_t ttl = a->ask->zone->node_ttl;
    struct dns_name name;
    if (a->q->type == DNS_TYPE_SOA) {
        answer_put_soa(a, DNS_ANSWER);
        section = DNS_AUTHORITY;
    }
    dns_entries_begin(m);
    (void)s->members(s, a->ask->look, take_server, m);
    dns_entries_settle(m, DNS_LIKE_NODE, 0);
    m->n_entries = m->n_entries < SERVERS_MAX ? m->n_entries : SERVERS_MAX;
    for (size_t i = 0; i < m->n_entries; i++) {
        answer_name(a, dns_entry_node(m, &m->entries[i]), "node", &name);
        dns_record_begin(&a->w, section, a->question.domain, DNS_TYPE_NS, ttl);
        dns_put_name(&a->w, &name, 1);
        (void)dns_record_end(&a->w);
    }
    for (size_t i = 0; i < m->n_entries; i++) {
        const struct dns_entry *e = &m->entries[i];
        answer_name(a, dns_entry_node(m, e), "node", &name);
        if (e->kind == DNS_ADDRESS_V4 || e->kind == DNS_ADDRESS_V6) {
            (void)answer_put_address(a, DNS_ADDITIONAL, &name, e->address, ttl);
        }
    }
}

/* --- the way --- */

static void begin(struct answer *a)
{
    const struct dns_ask *ask = a->ask;
    size_t max = DNS_MESSAGE_MAX;
    if (!ask->is_tcp) {
        max = a->q->udp_size < DNS_UDP_MAX ? a->q->udp_size : DNS_UDP_MAX;
    }
    a->w.suffixes = &ask->room->suffixes;
    a->w.is_compressed = (uint8_t)(ask->zone->is_compressed != 0);
    dns_write_begin(&a->w, a->q, ask->packet, a->r->out, max);
    size_t opt = dns_opt_size(a->q);
    MU_INVARIANT(a->w.len + opt <= max);
    a->w.max -= opt;
}

static enum dns_outcome finish(struct answer *a)
{
    if (a->ask->can_recurse) {
        a->flags |= DNS_FLAG_RA;
    }
    a->r->out_len = dns_write_end(&a->w, a->q, a->flags, a->rcode, a->is_scoped);
    return DNS_SEND;
}

void dns_refuse(const struct dns_ask *ask, struct dns_reply *r, unsigned rcode)
{
    struct answer a = {.ask = ask, .r = r, .q = &r->query, .rcode = rcode};
    begin(&a);
    (void)finish(&a);
}

static enum dns_outcome refuse(struct answer *a, unsigned rcode)
{
    dns_refuse(a->ask, a->r, rcode);
    return DNS_SEND;
}

enum dns_outcome dns_truncated(const struct dns_ask *ask, struct dns_reply *r)
{
    struct answer a = {.ask = ask, .r = r, .q = &r->query, .flags = DNS_FLAG_TC};
    if (dns_query_parse(ask->packet, &r->query) != 0) {
        return DNS_DROP;
    }
    begin(&a);
    return finish(&a);
}

/* Not ours, or not known to us. */
static enum dns_outcome pass_on(struct answer *a, unsigned rcode)
{
    return a->ask->can_recurse ? DNS_FORWARD : refuse(a, rcode);
}

static void answer_ours(struct answer *a)
{
    switch (a->question.kind) {
    case DNS_ASK_SERVICE:
    case DNS_ASK_QUERY:
        answer_service(a, &a->question, NULL);
        break;
    case DNS_ASK_NODE:
        answer_node(a, &a->question, NULL);
        break;
    case DNS_ASK_ADDRESS:
        answer_address(a);
        break;
    default:
        a->rcode = DNS_NXDOMAIN;
        break;
    }
    if (a->w.counts[DNS_ANSWER] == 0 && a->w.is_full) {
        a->flags |= DNS_FLAG_TC; /* not even one: by TCP it fits */
    } else if (a->is_trimmed && a->ask->zone->is_truncate_told) {
        a->flags |= DNS_FLAG_TC;
    }
    int is_nothing = a->w.counts[DNS_ANSWER] == 0 && (a->flags & DNS_FLAG_TC) == 0;
    if (is_nothing && a->rcode != DNS_SERVFAIL && a->w.section < DNS_AUTHORITY) {
        answer_put_soa(a, DNS_AUTHORITY);
    }
}

static enum dns_outcome answer_parsed(struct answer *a)
{
    uint16_t type = a->q->type;
    if (a->q->qclass != DNS_CLASS_IN && a->q->qclass != DNS_CLASS_ANY) {
        return refuse(a, DNS_REFUSED);
    }
    dns_question_read(a->ask->zone, a->q, &a->question);
    if (a->question.kind == DNS_ASK_FOREIGN) {
        return pass_on(a, DNS_REFUSED);
    }
    if (type == DNS_TYPE_AXFR || type == DNS_TYPE_IXFR) {
        return refuse(a, DNS_NOTIMP);
    }
    if (a->ask->look == NULL) {
        return refuse(a, DNS_SERVFAIL);
    }
    begin(a);
    a->flags = DNS_FLAG_AA;
    if (a->question.kind == DNS_ASK_REVERSE) {
        if (answer_reverse(a) != 0) {
            return pass_on(a, DNS_SERVFAIL);
        }
    } else if (type == DNS_TYPE_SOA || type == DNS_TYPE_NS) {
        answer_zone(a);
    } else {
        answer_ours(a);
    }
    return a->is_wanting ? DNS_RESOLVE : finish(a);
}

enum dns_outcome dns_answer(const struct dns_ask *ask, struct dns_reply *r)
{
    struct answer a = {.ask = ask, .r = r, .q = &r->query};
    int rc = dns_query_parse(ask->packet, &r->query);
    if (rc < 0) {
        return DNS_DROP;
    }
    return rc > 0 ? refuse(&a, (unsigned)rc) : answer_parsed(&a);
}
