/* SPDX-License-Identifier: Apache-2.0 */
#include "server/dns/entries.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

enum { TEXTS_KEPT = 64 * 1024, META_MAX = 16 * 1024, TEXTS_MAX = 8 * 1024 * 1024 };

void dns_room_init(struct dns_room *m)
{
    memset(m, 0, sizeof(*m));
    m->entries = mem_zalloc(DNS_ENTRIES_MAX * sizeof(*m->entries));
    m->slots = mem_zalloc(DNS_ENTRY_SLOTS * sizeof(*m->slots));
    m->random = rnd_u64() | 1;
    buf_init(&m->texts);
}

void dns_room_fini(struct dns_room *m)
{
    mem_free(m->entries);
    mem_free(m->slots);
    buf_fini(&m->texts);
}

/* xorshift64*: for the order of answers, not for secrets. */
static uint64_t draw(struct dns_room *m)
{
    m->random ^= m->random >> 12;
    m->random ^= m->random << 25;
    m->random ^= m->random >> 27;
    return m->random * 0x2545f4914f6cdd1dull;
}

void dns_entries_begin(struct dns_room *m)
{
    m->n_entries = 0;
    m->n_seen = 0;
    if (m->texts.cap > TEXTS_KEPT) {
        buf_fini(&m->texts);
        buf_init(&m->texts);
    }
    buf_clear(&m->texts);
}

static uint32_t keep(struct dns_room *m, struct slice s)
{
    uint32_t at = (uint32_t)m->texts.len;
    buf_append_slice(&m->texts, s);
    return at;
}

static void set_address(struct dns_room *m, struct dns_entry *e, struct slice text)
{
    int is_v4 = 0;
    if (text.len == 0) {
        e->kind = DNS_ADDRESS_NONE;
    } else if (dns_address_read(text, e->address, &is_v4) == 0) {
        e->kind = is_v4 ? DNS_ADDRESS_V4 : DNS_ADDRESS_V6;
    } else if (text.len <= DNS_NAME_MAX) {
        e->kind = DNS_ADDRESS_NAME;
        e->host_len = (uint16_t)text.len;
        e->host_at = keep(m, text);
    }
}

int dns_entries_take(void *room, const struct dns_instance *i)
{
    struct dns_room *m = room;
    struct dns_entry *e;
    m->n_seen++;
    if (m->n_entries < DNS_ENTRIES_MAX) {
        e = &m->entries[m->n_entries++];
    } else {
        /* Each of all stays with the same chance. */
        uint64_t k = draw(m) % m->n_seen;
        if (k >= DNS_ENTRIES_MAX || m->texts.len > TEXTS_MAX) {
            return 0;
        }
        e = &m->entries[k];
    }
    memset(e, 0, sizeof(*e));
    e->port = i->port;
    e->weight = i->weight;
    e->is_nodes = i->address.len == 0;
    set_address(m, e, e->is_nodes ? i->node.address : i->address);
    if (i->node.name.len <= DNS_NAME_MAX) {
        e->node_len = (uint16_t)i->node.name.len;
        e->node_at = keep(m, i->node.name);
    }
    if (i->node.metadata.len <= META_MAX && m->texts.len < TEXTS_MAX) {
        e->meta_len = (uint32_t)i->node.metadata.len;
        e->meta_at = keep(m, i->node.metadata);
    }
    return 0;
}

/* --- telling apart --- */

static int is_alike(const struct dns_room *m, const struct dns_entry *a, const struct dns_entry *b,
                    enum dns_likeness likeness)
{
    int is_same_node = slice_eq(dns_entry_node(m, a), dns_entry_node(m, b));
    if (likeness == DNS_LIKE_NODE) {
        return is_same_node;
    }
    if (a->kind != b->kind || memcmp(a->address, b->address, sizeof(a->address)) != 0 ||
        !slice_eq(dns_entry_host(m, a), dns_entry_host(m, b))) {
        return 0;
    }
    if (likeness == DNS_LIKE_ADDRESS) {
        return 1;
    }
    int is_same_target = a->is_nodes == b->is_nodes && (!a->is_nodes || is_same_node);
    return is_same_target && (likeness == DNS_LIKE_TARGET || (a->port == b->port && is_same_node));
}

static uint64_t hash_entry(const struct dns_room *m, const struct dns_entry *e,
                           enum dns_likeness likeness)
{
    struct slice text = likeness == DNS_LIKE_NODE ? dns_entry_node(m, e) : dns_entry_host(m, e);
    uint64_t h = 0;
    if (likeness != DNS_LIKE_NODE) {
        h = hash_xxh3(e->address, sizeof(e->address), likeness == DNS_LIKE_SERVER ? e->port : 0);
    }
    return text.len == 0 ? h : hash_xxh3(text.p, text.len, h);
}

/* 1 when one like it was asked for before, since `begin_telling`. */
static int is_known(struct dns_room *m, uint32_t entry, enum dns_likeness likeness)
{
    const struct dns_entry *e = &m->entries[entry];
    for (uint64_t h = hash_entry(m, e, likeness);; h++) {
        unsigned k = (unsigned)(h % DNS_ENTRY_SLOTS);
        if (m->slots[k].turn != m->turn) {
            m->slots[k].turn = m->turn;
            m->slots[k].entry = entry;
            return 0;
        }
        if (is_alike(m, &m->entries[m->slots[k].entry], e, likeness)) {
            return 1;
        }
    }
}

static void begin_telling(struct dns_room *m)
{
    if (++m->turn == 0) {
        memset(m->slots, 0, DNS_ENTRY_SLOTS * sizeof(*m->slots));
        m->turn = 1;
    }
}

static void drop_alike(struct dns_room *m, enum dns_likeness likeness)
{
    size_t n = 0;
    begin_telling(m);
    for (size_t i = 0; i < m->n_entries; i++) {
        m->entries[n] = m->entries[i];
        n += !is_known(m, (uint32_t)n, likeness);
    }
    m->n_entries = n;
}

void dns_entries_mark(struct dns_room *m, enum dns_likeness likeness)
{
    begin_telling(m);
    for (size_t i = 0; i < m->n_entries; i++) {
        m->entries[i].is_first = !is_known(m, (uint32_t)i, likeness);
    }
}

/* --- order --- */

static int by_lot(const void *a, const void *b)
{
    const struct dns_entry *x = a, *y = b;
    return (x->lot > y->lot) - (x->lot < y->lot);
}

/* Efraimidis and Spirakis: the first is drawn by weight, then the next of the rest, and so on. */
static void shuffle_by_weight(struct dns_room *m)
{
    for (size_t i = 0; i < m->n_entries; i++) {
        struct dns_entry *e = &m->entries[i];
        double u = ((double)(draw(m) >> 11) + 1) / 9007199254740993.0;
        e->lot = -log(u) / (e->weight != 0 ? e->weight : 0.001);
    }
    qsort(m->entries, m->n_entries, sizeof(*m->entries), by_lot);
}

static void shuffle(struct dns_room *m)
{
    for (size_t i = m->n_entries; i > 1; i--) {
        size_t k = draw(m) % i;
        struct dns_entry t = m->entries[i - 1];
        m->entries[i - 1] = m->entries[k];
        m->entries[k] = t;
    }
}

void dns_entries_settle(struct dns_room *m, enum dns_likeness likeness, int is_weighted)
{
    int is_uneven = 0;
    drop_alike(m, likeness);
    for (size_t i = 1; i < m->n_entries; i++) {
        is_uneven |= m->entries[i].weight != m->entries[0].weight;
    }
    if (is_weighted && is_uneven) {
        shuffle_by_weight(m);
    } else {
        shuffle(m);
    }
}
