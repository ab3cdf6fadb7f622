/* SPDX-License-Identifier: Apache-2.0 */
#include "server/dns/zone.h"

#include <arpa/inet.h>
#include <limits.h>

#include "base/text.h"

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

int dns_address_read(struct slice text, uint8_t out[16], int *out_is_v4)
{
    char s[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof(s)) {
        return MU_E_BAD_REQUEST;
    }
    memcpy(s, text.p, text.len);
    s[text.len] = '\0';
    if (inet_pton(AF_INET, s, out + 12) == 1) {
        memcpy(out, v4_mapped, sizeof(v4_mapped));
        *out_is_v4 = 1;
        return 0;
    }
    if (inet_pton(AF_INET6, s, out) == 1) {
        *out_is_v4 = memcmp(out, v4_mapped, sizeof(v4_mapped)) == 0;
        return 0;
    }
    return MU_E_BAD_REQUEST;
}

/* --- settings --- */

/* The next item of a list with commas; 0 at the end. */
static int next_item(struct slice *list, struct slice *out)
{
    while (list->len != 0 && (list->p[0] == ',' || list->p[0] == ' ')) {
        *list = slice_of(list->p + 1, list->len - 1);
    }
    if (list->len == 0) {
        return 0;
    }
    const uint8_t *comma = memchr(list->p, ',', list->len);
    size_t n = comma != NULL ? (size_t)(comma - list->p) : list->len;
    *out = slice_of(list->p, n);
    *list = slice_of(list->p + n, list->len - n);
    while (out->len != 0 && out->p[out->len - 1] == ' ') {
        out->len--;
    }
    return 1;
}

static int read_domain(const char *what, const char *text, struct dns_name *out, struct err *e)
{
    dns_name_begin(out);
    dns_name_text(out, slice_str(text));
    dns_name_lower(out);
    if (!dns_name_is_good(out) || out->len == 1 || out->len > DNS_NAME_MAX / 2) {
        return err_set(e, MU_E_BAD_REQUEST, "%s: \"%.80s\" is not a domain name", what, text);
    }
    return 0;
}

static int read_rule(struct slice item, struct dns_ttl_rule *out, struct err *e)
{
    const uint8_t *eq = memchr(item.p, '=', item.len);
    size_t n = eq != NULL ? (size_t)(eq - item.p) : 0;
    int64_t ms = 0;
    if (n == 0 || n >= sizeof(out->text) ||
        text_duration_ms(slice_of(eq + 1, item.len - n - 1), (int64_t)INT32_MAX * 1000, &ms) != 0) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "dns.service_ttl: \"%.*s\" is not NAME=DURATION (or PREFIX*=DURATION)",
                       (int)(item.len < 80 ? item.len : 80), (const char *)item.p);
    }
    for (size_t i = 0; i < n; i++) {
        out->text[i] = (char)dns_lower(item.p[i]);
    }
    out->is_prefix = out->text[n - 1] == '*';
    out->len = n - (size_t)out->is_prefix;
    out->ttl = (uint32_t)(ms / 1000);
    return 0;
}

static int read_net(struct slice item, struct dns_net *out, struct err *e)
{
    const uint8_t *slash = memchr(item.p, '/', item.len);
    size_t n = slash != NULL ? (size_t)(slash - item.p) : item.len;
    int is_v4 = 0;
    uint64_t bits = 128;
    int rc = dns_address_read(slice_of(item.p, n), out->address, &is_v4);
    unsigned max = is_v4 ? 32 : 128;
    if (rc == 0 && slash != NULL) {
        rc = text_u64(slice_of(slash + 1, item.len - n - 1), max, &bits);
        bits += 128 - max;
    }
    if (rc != 0) {
        return err_set(e, MU_E_BAD_REQUEST, "dns.recursion_from: \"%.*s\" is not ADDRESS/BITS",
                       (int)(item.len < 80 ? item.len : 80), (const char *)item.p);
    }
    out->bits = (uint8_t)bits;
    return 0;
}

static int read_lists(struct dns_zone *z, const struct dns_zone_text *t, struct err *e)
{
    struct slice list = slice_str(t->service_ttl), item;
    int rc = 0;
    while (rc == 0 && next_item(&list, &item)) {
        if (z->n_rules == DNS_RULES_MAX) {
            return err_set(e, MU_E_BAD_REQUEST, "dns.service_ttl: at most %d rules", DNS_RULES_MAX);
        }
        rc = read_rule(item, &z->rules[z->n_rules++], e);
    }
    list = slice_str(t->recursion_from);
    while (rc == 0 && next_item(&list, &item)) {
        if (z->n_recursion_from == DNS_NETS_MAX) {
            return err_set(e, MU_E_BAD_REQUEST, "dns.recursion_from: at most %d nets",
                           DNS_NETS_MAX);
        }
        rc = read_net(item, &z->recursion_from[z->n_recursion_from++], e);
    }
    return rc;
}

int dns_zone_read(struct dns_zone *z, const struct dns_zone_text *t, struct err *e)
{
    int rc = read_domain("dns.domain", t->domain, &z->domains[0], e);
    z->n_domains = 1;
    z->n_rules = z->n_recursion_from = 0;
    if (rc == 0 && t->alt_domain[0] != '\0') {
        rc = read_domain("dns.alt_domain", t->alt_domain, &z->domains[1], e);
        z->n_domains = 2;
    }
    size_t n = strlen(t->datacenter);
    if (rc == 0 && (n == 0 || n >= sizeof(z->datacenter) || strchr(t->datacenter, '.') != NULL)) {
        rc = err_set(e, MU_E_BAD_REQUEST, "\"%.80s\" is not a name of a datacenter (one label)",
                     t->datacenter);
    }
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i <= n; i++) {
        z->datacenter[i] = (char)dns_lower((uint8_t)t->datacenter[i]);
    }
    return read_lists(z, t, e);
}

uint32_t dns_zone_ttl(const struct dns_zone *z, struct slice service)
{
    const struct dns_ttl_rule *best = NULL;
    for (size_t i = 0; i < z->n_rules; i++) {
        const struct dns_ttl_rule *r = &z->rules[i];
        if (service.len < r->len || (!r->is_prefix && service.len != r->len) ||
            !dns_text_is(slice_of(service.p, r->len), slice_of(r->text, r->len))) {
            continue;
        }
        if (!r->is_prefix) {
            return r->ttl;
        }
        if (best == NULL || r->len > best->len) {
            best = r;
        }
    }
    return best != NULL ? best->ttl : 0;
}

int dns_zone_recurses_for(const struct dns_zone *z, const uint8_t address[16])
{
    for (size_t i = 0; i < z->n_recursion_from; i++) {
        const struct dns_net *n = &z->recursion_from[i];
        unsigned whole = n->bits / 8, rest = n->bits % 8;
        uint8_t mask = (uint8_t)(0xff00u >> rest);
        if (memcmp(address, n->address, whole) == 0 &&
            (rest == 0 || ((address[whole] ^ n->address[whole]) & mask) == 0)) {
            return 1;
        }
    }
    return 0;
}

/* --- what a name asks for --- */

static int is_word(struct slice label, const char *word)
{
    return slice_eq(label, slice_str(word));
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* n pairs of hex digits into bytes; 0 when they are. */
static int read_hex(struct slice s, uint8_t *out)
{
    for (size_t i = 0; i < s.len; i += 2) {
        int high = hex_digit(s.p[i]), low = hex_digit(s.p[i + 1]);
        if (high < 0 || low < 0) {
            return MU_E_BAD_REQUEST;
        }
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

/* Labels [from, to) of the name as it was sent, with dots between. */
static size_t join(const struct dns_labels *l, unsigned from, unsigned to, uint8_t *out)
{
    size_t len = 0;
    for (unsigned i = from; i < to; i++) {
        struct slice s = dns_label(l, i);
        if (i > from) {
            out[len++] = '.';
        }
        memcpy(out + len, s.p, s.len);
        len += s.len;
    }
    return len;
}

/* What stands between the kind and the domain: nothing, the datacenter, or pairs as in "dc1.dc". */
static int is_our_place(const struct dns_zone *z, const struct dns_labels *l, unsigned from,
                        unsigned to)
{
    struct slice dc = slice_str(z->datacenter);
    if (to - from <= 1) {
        return to == from || slice_eq(dns_label(l, from), dc);
    }
    for (; from + 1 < to; from += 2) {
        struct slice value = dns_label(l, from), what = dns_label(l, from + 1);
        int is_ours = is_word(what, "dc")   ? slice_eq(value, dc)
                      : is_word(what, "ns") ? is_word(value, "default")
                      : is_word(what, "ap") ? is_word(value, "default")
                                            : 0;
        if (!is_ours) {
            return 0;
        }
    }
    return from == to;
}

static int is_underscored(struct slice s)
{
    return s.len > 1 && s.p[0] == '_';
}

/* `l` in lower case, `raw` as it was sent; n labels name the service. */
static void read_service(const struct dns_labels *l, const struct dns_labels *raw, unsigned n,
                         struct dns_question *out)
{
    if (n == 0) {
        return;
    }
    out->kind = DNS_ASK_SERVICE;
    if (n == 2 && is_underscored(dns_label(l, 0)) && is_underscored(dns_label(l, 1))) {
        /* RFC 2782: _name._tag; _tcp stands for any. */
        struct slice name = dns_label(raw, 0), tag = dns_label(l, 1);
        out->target_len = name.len - 1;
        memcpy(out->target, name.p + 1, name.len - 1);
        if (!is_word(tag, "_tcp")) {
            out->tag_len = tag.len - 1;
            memcpy(out->tag, tag.p + 1, tag.len - 1);
        }
        return;
    }
    out->target_len = join(raw, n - 1, n, out->target);
    out->tag_len = join(l, 0, n - 1, out->tag);
}

static void read_address(const struct dns_labels *l, unsigned n, struct dns_question *out)
{
    struct slice s = n == 1 ? dns_label(l, 0) : (struct slice){0};
    if (s.len != 8 && s.len != 32) {
        return;
    }
    out->is_v4 = s.len == 8;
    memcpy(out->address, v4_mapped, sizeof(v4_mapped));
    if (read_hex(s, out->is_v4 ? out->address + 12 : out->address) == 0) {
        out->kind = DNS_ASK_ADDRESS;
    }
}

/* _name._tcp.query asks for the query as name.query does. */
static void read_query(const struct dns_labels *raw, unsigned n, struct dns_question *out)
{
    out->kind = DNS_ASK_QUERY;
    out->target_len = join(raw, 0, n, out->target);
    if (n == 2 && is_underscored(dns_label(raw, 0)) &&
        dns_text_is(dns_label(raw, 1), SLICE_LIT("_tcp"))) {
        out->target_len = dns_label(raw, 0).len - 1;
        memcpy(out->target, dns_label(raw, 0).p + 1, out->target_len);
    }
}

static void read_ours(const struct dns_zone *z, const struct dns_labels *l,
                      const struct dns_labels *raw, unsigned n, struct dns_question *out)
{
    static const char *const words[] = {"service", "node", "query", "addr"};
    int is_srv = out->kind == DNS_ASK_SERVICE; /* said by the caller: SRV needs no "service" */
    out->kind = DNS_ASK_NOTHING;
    for (unsigned i = n; i-- > 0;) {
        struct slice label = dns_label(l, i);
        unsigned word = 0;
        while (word < N_ELEMENTS(words) && !is_word(label, words[word])) {
            word++;
        }
        int is_implied = word == N_ELEMENTS(words) && is_srv && label.p[0] == '_';
        if (word == N_ELEMENTS(words) && !is_implied) {
            continue;
        }
        if (!is_our_place(z, l, i + 1, n)) {
            return;
        }
        if (word == 0 || is_implied) {
            read_service(l, raw, is_implied ? i + 1 : i, out);
        } else if (word == 3) {
            read_address(l, i, out);
        } else if (i > 0 && word == 1) {
            out->kind = DNS_ASK_NODE;
            out->target_len = join(raw, 0, i, out->target);
        } else if (i > 0) {
            read_query(raw, i, out);
        }
        return;
    }
}

/* "7.0.0.10.in-addr.arpa" and the 32 hex digits of ip6.arpa. */
static void read_reverse(const struct dns_labels *l, struct dns_question *out)
{
    struct slice last = dns_label(l, l->n - 2u);
    out->kind = DNS_ASK_REVERSE;
    out->is_v4 = 0;
    if (is_word(last, "in-addr") && l->n == 6) {
        memcpy(out->address, v4_mapped, sizeof(v4_mapped));
        for (unsigned i = 0; i < 4; i++) {
            uint64_t v = 0;
            if (text_u64(dns_label(l, 3 - i), 255, &v) != 0) {
                return;
            }
            out->address[12 + i] = (uint8_t)v;
        }
        out->target_len = 1; /* an address was read */
        out->is_v4 = 1;
    } else if (is_word(last, "ip6") && l->n == 34) {
        for (unsigned i = 0; i < 32; i++) {
            struct slice s = dns_label(l, 31 - i);
            int v = s.len == 1 ? hex_digit(s.p[0]) : -1;
            if (v < 0) {
                return;
            }
            out->address[i / 2] = (uint8_t)(i % 2 == 0 ? v << 4 : out->address[i / 2] | v);
        }
        out->target_len = 1;
    }
}

void dns_question_read(const struct dns_zone *z, const struct dns_query *q,
                       struct dns_question *out)
{
    struct dns_labels l, raw;
    int n = -1;
    out->target_len = out->tag_len = 0;
    out->domain = &z->domains[0];
    out->name = q->name;
    dns_name_lower(&out->name);
    dns_name_labels(&out->name, &l);
    dns_name_labels(&q->name, &raw);
    for (size_t i = 0; i < z->n_domains; i++) {
        int before = dns_labels_before(&l, &z->domains[i]);
        if (before >= 0 && (n < 0 || before < n)) {
            n = before; /* the longer domain */
            out->domain = &z->domains[i];
        }
    }
    if (n >= 0) {
        out->kind = q->type == DNS_TYPE_SRV ? DNS_ASK_SERVICE : DNS_ASK_NOTHING;
        read_ours(z, &l, &raw, (unsigned)n, out);
    } else if (l.n >= 2 && is_word(dns_label(&l, l.n - 1u), "arpa")) {
        read_reverse(&l, out);
    } else {
        out->kind = DNS_ASK_FOREIGN;
    }
}
