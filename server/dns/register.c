/* SPDX-License-Identifier: Apache-2.0 */
#include "server/dns/register.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "storage/view_catalog.h"

enum { PAUSE_MS = 1000, PAUSE_FACTOR = 50, CAP_FIRST = 64 };

struct entry {
    uint64_t hash;
    uint32_t at; /* of the name in texts; the order of the store */
    uint16_t len;
};

struct dns_register {
    int is_of_addresses;
    struct entry *entries;
    size_t n, cap;
    struct buf texts;
    uint64_t seed;
    mu_rev rev; /* made from the data as of that; 0 = never */
    int64_t next_at;
};

struct dns_register *dns_register_new(int is_of_addresses)
{
    struct dns_register *r = mem_zalloc(sizeof(*r));
    r->is_of_addresses = is_of_addresses;
    r->seed = rnd_u64();
    buf_init(&r->texts);
    return r;
}

void dns_register_free(struct dns_register *r)
{
    if (r != NULL) {
        mem_free(r->entries);
        buf_fini(&r->texts);
        mem_free(r);
    }
}

/* --- making --- */

static uint64_t hash_of(const struct dns_register *r, enum dns_register_kind kind, struct slice key)
{
    return hash_xxh3(key.p, key.len, r->seed + (uint64_t)kind);
}

static void add(struct dns_register *r, enum dns_register_kind kind, struct slice key,
                struct slice name)
{
    if (r->n == DNS_REGISTER_MAX || name.len > DNS_NAME_MAX) {
        return;
    }
    if (r->n == r->cap) {
        r->cap = r->cap == 0 ? CAP_FIRST : 2 * r->cap;
        r->entries = mem_realloc(r->entries, r->cap * sizeof(*r->entries));
    }
    r->entries[r->n++] = (struct entry){
        .hash = hash_of(r, kind, key), .at = (uint32_t)r->texts.len, .len = (uint16_t)name.len};
    buf_append_slice(&r->texts, name);
}

static void add_address(struct dns_register *r, enum dns_register_kind kind, struct slice text,
                        struct slice name)
{
    uint8_t address[16];
    int is_v4 = 0;
    if (dns_address_read(text, address, &is_v4) == 0) {
        add(r, kind, slice_of(address, sizeof(address)), name);
    }
}

static void add_spelling(struct dns_register *r, enum dns_register_kind kind, struct slice name)
{
    uint8_t lower[DNS_NAME_MAX];
    if (name.len > sizeof(lower)) {
        return;
    }
    for (size_t i = 0; i < name.len; i++) {
        lower[i] = dns_lower(name.p[i]);
    }
    if (memcmp(lower, name.p, name.len) != 0) {
        add(r, kind, slice_of(lower, name.len), name);
    }
}

static int take_node(void *arg, struct slice name, const struct node_row *row)
{
    struct dns_register *r = arg;
    if (row->meta.is_deleted) {
        return 0;
    }
    if (r->is_of_addresses) {
        add_address(r, DNS_REGISTER_NODE, row->address, name);
    } else {
        add_spelling(r, DNS_REGISTER_NODE, name);
    }
    return 0;
}

static int is_ours(struct slice ns, struct slice group)
{
    return slice_eq(ns, SLICE_LIT("public")) && slice_eq(group, SLICE_LIT("DEFAULT_GROUP"));
}

static int take_instance(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    if (!row->meta.is_deleted && !row->is_node_address && is_ours(n->ns, n->group)) {
        add_address(arg, DNS_REGISTER_SERVICE, row->address, n->service);
    }
    return 0;
}

static int take_service(void *arg, const struct service_name *n, const struct service_row *row)
{
    if (!row->meta.is_deleted) {
        add_spelling(arg, DNS_REGISTER_SERVICE, n->service);
    }
    return 0;
}

static int by_hash(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int d = (x->hash > y->hash) - (x->hash < y->hash);
    return d != 0 ? d : (x->at > y->at) - (x->at < y->at);
}

static void make(struct dns_register *r, struct view *v)
{
    int64_t begun = clock_mono_ms();
    r->n = 0;
    buf_clear(&r->texts);
    (void)view_nodes(v, take_node, r);
    if (r->is_of_addresses) {
        (void)view_all_instances(v, take_instance, r);
    } else {
        (void)view_services_all(v, SLICE_LIT("public"), SLICE_LIT("DEFAULT_GROUP"), take_service,
                                r);
    }
    if (r->n > 1) {
        qsort(r->entries, r->n, sizeof(*r->entries), by_hash);
    }
    r->rev = view_revision(v);
    int64_t now = clock_mono_ms();
    r->next_at = now + PAUSE_MS + PAUSE_FACTOR * (now - begun);
}

/* --- asking --- */

int dns_register_find(struct dns_register *r, struct view *v, enum dns_register_kind kind,
                      struct slice key, struct slice *out_name)
{
    if (view_revision(v) != r->rev && clock_mono_ms() >= r->next_at) {
        make(r, v);
    }
    uint64_t hash = hash_of(r, kind, key);
    size_t low = 0, high = r->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (r->entries[mid].hash < hash) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low == r->n || r->entries[low].hash != hash) {
        return MU_E_NOT_FOUND;
    }
    *out_name = slice_of(r->texts.p + r->entries[low].at, r->entries[low].len);
    return 0;
}
