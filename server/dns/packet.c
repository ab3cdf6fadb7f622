/* SPDX-License-Identifier: Apache-2.0 */
#include "server/dns/packet.h"

#include "base/err.h"

enum { OPT_HEAD = 11, OPTION_HEAD = 4, OPTION_SUBNET = 8, POINTER = 0xc000 };

/* --- reading --- */

struct cursor {
    const uint8_t *p;
    size_t len, at;
    int failed;
};

static uint16_t get_u16(struct cursor *c)
{
    if (c->failed || c->len - c->at < 2) {
        c->failed = 1;
        return 0;
    }
    uint16_t v = (uint16_t)(c->p[c->at] << 8 | c->p[c->at + 1]);
    c->at += 2;
    return v;
}

static void skip(struct cursor *c, size_t n)
{
    if (c->failed || c->len - c->at < n) {
        c->failed = 1;
        return;
    }
    c->at += n;
}

/* A question's name has nothing before it to point at: labels only. */
static void get_name(struct cursor *c, struct dns_name *out)
{
    size_t from = c->at;
    for (;;) {
        uint8_t n = c->at < c->len ? c->p[c->at] : DNS_LABEL_MAX + 1;
        if (n > DNS_LABEL_MAX || c->at + 1 + n - from > DNS_NAME_MAX) {
            c->failed = 1;
            return;
        }
        skip(c, 1u + n);
        if (c->failed) {
            return;
        }
        if (n == 0) {
            break;
        }
    }
    out->len = (uint8_t)(c->at - from);
    memcpy(out->p, c->p + from, out->len);
}

/* Over the name of a record, which may end with a pointer; returns 1 when it is the root. */
static int skip_name(struct cursor *c)
{
    size_t from = c->at;
    while (!c->failed && c->at < c->len) {
        uint8_t n = c->p[c->at];
        if (n == 0) {
            c->at++;
            return c->at - from == 1;
        }
        if (n >= 0xc0) {
            skip(c, 2);
            return 0;
        }
        if (n > DNS_LABEL_MAX || c->at + 1 + n - from > DNS_NAME_MAX) {
            break;
        }
        skip(c, 1u + n);
    }
    c->failed = 1;
    return 0;
}

static void read_options(struct cursor *c, size_t end, struct dns_query *out)
{
    while (!c->failed && c->at < end) {
        uint16_t code = get_u16(c), len = get_u16(c);
        size_t at = c->at;
        skip(c, len);
        if (c->failed || c->at > end) {
            c->failed = 1;
            return;
        }
        if (code == OPTION_SUBNET && len >= 4) {
            if (len > DNS_SUBNET_MAX) {
                c->failed = 1;
                return;
            }
            out->subnet = slice_of(c->p + at, len);
        }
    }
}

/* One record; of all there are only OPT is looked at. Returns a code of dns_rcode. */
static int read_record(struct cursor *c, int is_additional, struct dns_query *out)
{
    int is_root = skip_name(c);
    uint16_t type = get_u16(c);
    size_t size_at = c->at;
    uint16_t size = get_u16(c), high = get_u16(c), low = get_u16(c);
    uint16_t len = get_u16(c);
    size_t data_at = c->at;
    skip(c, len);
    if (c->failed) {
        return DNS_FORMERR;
    }
    if (type != DNS_TYPE_OPT) {
        return 0;
    }
    if (!is_additional || !is_root || out->has_edns) {
        return DNS_FORMERR;
    }
    out->has_edns = 1;
    out->udp_size = size < DNS_UDP_PLAIN_MAX ? DNS_UDP_PLAIN_MAX : size;
    out->size_at = (uint16_t)size_at;
    out->is_dnssec_ok = (low & 0x8000) != 0;
    if ((high & 0xff) != 0) {
        return DNS_BADVERS;
    }
    struct cursor options = {c->p, c->at, data_at, 0};
    read_options(&options, c->at, out);
    return options.failed ? DNS_FORMERR : 0;
}

int dns_query_parse(struct slice packet, struct dns_query *out)
{
    struct cursor *c = &(struct cursor){packet.p, packet.len, 0, 0};
    *out = (struct dns_query){.udp_size = DNS_UDP_PLAIN_MAX};
    if (packet.len < DNS_HEAD_SIZE) {
        return -1;
    }
    out->id = get_u16(c);
    out->flags = get_u16(c);
    if ((out->flags & DNS_FLAG_QR) != 0) {
        return -1; /* answering answers would go round for ever */
    }
    uint16_t n_questions = get_u16(c);
    unsigned n_before = get_u16(c);
    n_before += get_u16(c);
    uint16_t n_additional = get_u16(c);
    if ((out->flags & 0x7800) != 0) {
        return DNS_NOTIMP;
    }
    if (n_questions != 1 || packet.len > DNS_QUERY_MAX) {
        return DNS_FORMERR;
    }
    get_name(c, &out->name);
    out->type = get_u16(c);
    out->qclass = get_u16(c);
    if (c->failed) {
        return DNS_FORMERR;
    }
    out->question_len = (uint16_t)(c->at - DNS_HEAD_SIZE);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < n_before; i++) {
        rc = read_record(c, 0, out);
    }
    for (unsigned i = 0; rc == 0 && i < n_additional; i++) {
        rc = read_record(c, 1, out);
    }
    return rc;
}

/* --- names in a message --- */

static uint32_t mix(uint32_t hash, const uint8_t *label)
{
    hash ^= label[0];
    hash *= 0x01000193u;
    for (unsigned i = 1; i <= label[0]; i++) {
        hash ^= dns_lower(label[i]);
        hash *= 0x01000193u;
    }
    return hash ^ hash >> 15;
}

/* 1 when the name that stands at `at` in the message is the rest of `n` from `from` on. */
static int is_same_name(const struct dns_writer *w, size_t at, const struct dns_name *n,
                        size_t from)
{
    for (;;) {
        while (at + 1 < w->len && w->p[at] >= 0xc0) {
            size_t to = (size_t)(w->p[at] & 0x3f) << 8 | w->p[at + 1];
            if (to >= at) {
                return 0;
            }
            at = to;
        }
        uint8_t len = n->p[from];
        if (at >= w->len || at + 1u + len > w->len || w->p[at] != len) {
            return 0;
        }
        if (len == 0) {
            return 1;
        }
        for (unsigned i = 1; i <= len; i++) {
            if (dns_lower(w->p[at + i]) != dns_lower(n->p[from + i])) {
                return 0;
            }
        }
        at += 1u + len;
        from += 1u + len;
    }
}

/* Where that suffix stands already; 0 = nowhere. */
static size_t find_suffix(const struct dns_writer *w, const struct dns_name *n, size_t from,
                          uint32_t hash)
{
    const struct dns_suffixes *s = w->suffixes;
    for (uint32_t i = hash;; i++) {
        unsigned k = i % DNS_SUFFIX_SLOTS;
        if (s->slots[k].turn != s->turn) {
            return 0;
        }
        if (s->slots[k].hash == hash && s->slots[k].at < w->record_at &&
            is_same_name(w, s->slots[k].at, n, from)) {
            return s->slots[k].at;
        }
    }
}

static void keep_suffix(struct dns_writer *w, size_t at, uint32_t hash)
{
    struct dns_suffixes *s = w->suffixes;
    if (at > DNS_POINTER_MAX || s->n >= DNS_SUFFIXES_MAX) {
        return;
    }
    uint32_t i = hash;
    while (s->slots[i % DNS_SUFFIX_SLOTS].turn == s->turn) {
        i++;
    }
    unsigned k = i % DNS_SUFFIX_SLOTS;
    s->slots[k].hash = hash;
    s->slots[k].turn = s->turn;
    s->slots[k].at = (uint16_t)at;
    s->n++;
}

/* hashes[i] is of the name from its label i on. */
static void hash_suffixes(const struct dns_labels *l, uint32_t hashes[DNS_LABELS_MAX])
{
    uint32_t hash = 0x811c9dc5u;
    for (unsigned i = l->n; i-- > 0;) {
        hash = mix(hash, &l->name->p[l->at[i]]);
        hashes[i] = hash;
    }
}

static void keep_suffixes(struct dns_writer *w, const struct dns_labels *l, const uint32_t *hashes,
                          unsigned n, size_t at)
{
    for (unsigned i = 0; i < n; i++) {
        keep_suffix(w, at + l->at[i], hashes[i]);
    }
}

void dns_put_name(struct dns_writer *w, const struct dns_name *n, int may_shorten)
{
    struct dns_labels l;
    uint32_t hashes[DNS_LABELS_MAX];
    unsigned i = 0;
    size_t to = 0, at = w->len;
    if (!dns_name_is_good(n)) {
        w->is_over = 1;
        return;
    }
    if (!w->is_compressed) {
        dns_put_bytes(w, n->p, n->len);
        return;
    }
    dns_name_labels(n, &l);
    hash_suffixes(&l, hashes);
    if (may_shorten) {
        while (i < l.n && (to = find_suffix(w, n, l.at[i], hashes[i])) == 0) {
            i++;
        }
    } else {
        /* Those that are known already need not be kept again. */
        unsigned k = 0;
        while (k < l.n && find_suffix(w, n, l.at[k], hashes[k]) == 0) {
            k++;
        }
        dns_put_bytes(w, n->p, n->len);
        if (!w->is_over) {
            keep_suffixes(w, &l, hashes, k, at);
        }
        return;
    }
    dns_put_bytes(w, n->p, i < l.n ? l.at[i] : n->len);
    if (i < l.n) {
        dns_put_u16(w, (uint16_t)(POINTER | to));
    }
    if (!w->is_over) {
        keep_suffixes(w, &l, hashes, i, at);
    }
}

/* --- records --- */

void dns_put_bytes(struct dns_writer *w, const void *p, size_t len)
{
    if (w->is_over || w->max - w->len < len) {
        w->is_over = 1;
        return;
    }
    memcpy(w->p + w->len, p, len);
    w->len += len;
}

void dns_put_u8(struct dns_writer *w, uint8_t v)
{
    dns_put_bytes(w, &v, 1);
}

void dns_put_u16(struct dns_writer *w, uint16_t v)
{
    uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};
    dns_put_bytes(w, b, 2);
}

void dns_put_u32(struct dns_writer *w, uint32_t v)
{
    uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    dns_put_bytes(w, b, 4);
}

static void set_u16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

void dns_write_begin(struct dns_writer *w, const struct dns_query *q, struct slice packet,
                     uint8_t *p, size_t max)
{
    struct dns_labels l;
    uint32_t hashes[DNS_LABELS_MAX];
    MU_INVARIANT(max >= DNS_UDP_PLAIN_MAX && max <= DNS_MESSAGE_MAX);
    struct dns_suffixes *s = w->suffixes;
    *w = (struct dns_writer){.p = p,
                             .max = max,
                             .section = DNS_ANSWER,
                             .is_compressed = w->is_compressed,
                             .suffixes = s};
    s->n = 0;
    if (++s->turn == 0) {
        memset(s, 0, sizeof(*s));
        s->turn = 1;
    }
    memset(p, 0, DNS_HEAD_SIZE);
    w->len = DNS_HEAD_SIZE;
    if (q->question_len == 0) {
        return;
    }
    memcpy(p + w->len, packet.p + DNS_HEAD_SIZE, q->question_len);
    w->len += q->question_len;
    w->name_len = q->name.len;
    w->counts[DNS_QUESTION] = 1;
    dns_name_labels(&q->name, &l);
    hash_suffixes(&l, hashes);
    keep_suffixes(w, &l, hashes, l.n, DNS_HEAD_SIZE);
}

void dns_record_begin(struct dns_writer *w, enum dns_section section, const struct dns_name *owner,
                      uint16_t type, uint32_t ttl)
{
    MU_INVARIANT(section >= w->section);
    w->section = (uint8_t)section;
    w->record_at = w->len;
    w->is_over = 0;
    if (owner != NULL) {
        dns_put_name(w, owner, 1);
    } else if (w->is_compressed) {
        dns_put_u16(w, POINTER | DNS_HEAD_SIZE);
    } else {
        dns_put_bytes(w, w->p + DNS_HEAD_SIZE, w->name_len);
    }
    dns_put_u16(w, type);
    dns_put_u16(w, DNS_CLASS_IN);
    dns_put_u32(w, ttl);
    dns_put_u16(w, 0);
    w->data_at = w->len;
}

int dns_record_end(struct dns_writer *w)
{
    if (w->is_over) {
        w->len = w->record_at;
        w->is_full = 1;
        return MU_E_TOO_LARGE;
    }
    set_u16(w->p + w->data_at - 2, w->len - w->data_at);
    w->counts[w->section]++;
    return 0;
}

void dns_record_undo(struct dns_writer *w)
{
    w->len = w->record_at;
    w->counts[w->section]--;
    w->is_full = 1;
}

size_t dns_record_size(const struct dns_writer *w, size_t owner_at, size_t owner_len, size_t data)
{
    size_t owner = w->is_compressed && owner_at <= DNS_POINTER_MAX ? 2 : owner_len;
    return owner + 10 + data;
}

/* --- the end of a message --- */

size_t dns_opt_size(const struct dns_query *q)
{
    size_t options = q->subnet.len != 0 ? OPTION_HEAD + q->subnet.len : 0;
    return q->has_edns ? OPT_HEAD + options : 0;
}

static void put_opt(struct dns_writer *w, const struct dns_query *q, unsigned rcode,
                    int is_subnet_scoped)
{
    size_t options = q->subnet.len != 0 ? OPTION_HEAD + q->subnet.len : 0;
    w->is_over = 0;
    w->max += dns_opt_size(q);
    dns_put_u8(w, 0);
    dns_put_u16(w, DNS_TYPE_OPT);
    dns_put_u16(w, DNS_UDP_MAX);
    dns_put_u8(w, (uint8_t)(rcode >> 4));
    dns_put_u8(w, 0);
    dns_put_u16(w, q->is_dnssec_ok ? 0x8000 : 0);
    dns_put_u16(w, (uint16_t)options);
    if (options != 0) {
        dns_put_u16(w, OPTION_SUBNET);
        dns_put_u16(w, (uint16_t)q->subnet.len);
        dns_put_bytes(w, q->subnet.p, q->subnet.len);
        if (!w->is_over) {
            /* How far the answer is true for others: for all, or for that subnet. */
            w->p[w->len - q->subnet.len + 3] = is_subnet_scoped ? q->subnet.p[2] : 0;
        }
    }
    MU_INVARIANT(!w->is_over);
    w->counts[DNS_ADDITIONAL]++;
}

size_t dns_write_end(struct dns_writer *w, const struct dns_query *q, unsigned flags,
                     unsigned rcode, int is_subnet_scoped)
{
    if (q->has_edns) {
        put_opt(w, q, rcode, is_subnet_scoped);
    }
    /* What the client said about recursion and checking goes back, and its kind of query. */
    unsigned echoed = q->flags & (0x7800u | DNS_FLAG_RD | DNS_FLAG_CD);
    set_u16(w->p, q->id);
    set_u16(w->p + 2, DNS_FLAG_QR | echoed | flags | (rcode & 0xf));
    for (unsigned i = 0; i < DNS_SECTION_N; i++) {
        set_u16(w->p + 4 + 2 * (size_t)i, w->counts[i]);
    }
    return w->len;
}
