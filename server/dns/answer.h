/* SPDX-License-Identifier: Apache-2.0 */
/* From a packet to the packet that answers it. No sockets; memory only of `struct dns_room`, one
 * per thread. */
#pragma once

#include "base/buf.h"
#include "server/dns/source.h"

enum {
    DNS_ENTRIES_MAX = 4096, /* instances of one answer; of more, as many are drawn by lot */
    DNS_ENTRY_SLOTS = 2 * DNS_ENTRIES_MAX,
};

enum dns_address_kind { DNS_ADDRESS_NONE, DNS_ADDRESS_V4, DNS_ADDRESS_V6, DNS_ADDRESS_NAME };

/* An instance, copied out of the store. Texts stand in room->texts. */
struct dns_entry {
    uint8_t kind;     /* enum dns_address_kind, of `address` or the name at host_at */
    uint8_t is_nodes; /* the address is its node's */
    uint8_t is_first; /* see dns_entries_mark */
    uint16_t port, weight;
    uint8_t address[16];
    uint32_t node_at, host_at, meta_at;
    uint16_t node_len, host_len;
    uint32_t meta_len;
    double lot; /* what it is ordered by */
};

struct dns_room {
    struct dns_entry *entries;
    size_t n_entries;
    uint64_t n_seen;
    struct buf texts;
    struct dns_suffixes suffixes;
    uint64_t random;
    struct {
        uint32_t turn, entry;
    } * slots; /* of entries, to tell those that are the same */
    uint32_t turn;
};
void dns_room_init(struct dns_room *m);
void dns_room_fini(struct dns_room *m);

/* An address of a name that is not ours, found by somebody else. */
struct dns_found {
    uint8_t address[16]; /* IPv4 mapped */
    int is_v4;
    uint32_t ttl;
};

enum { DNS_FOUND_MAX = 32 };

struct dns_ask {
    const struct dns_zone *zone;
    struct dns_source *source;
    void *look; /* NULL: nothing can be told now */
    struct dns_room *room;
    struct slice packet;
    int is_tcp;
    int can_recurse;               /* this client may ask for other people's names */
    const struct dns_found *found; /* of `wanted` of the call before; NULL: not asked yet */
    size_t n_found;
    int64_t wall_ms;
};

enum dns_outcome {
    DNS_SEND,    /* out_len bytes are to be sent */
    DNS_DROP,    /* nothing is to be sent */
    DNS_FORWARD, /* as the question stands, somebody else is to be asked (can_recurse) */
    DNS_RESOLVE, /* addresses of `wanted` are needed (can_recurse): find them, and ask again */
};

struct dns_reply {
    struct dns_query query;
    uint8_t *out; /* given: room for DNS_UDP_MAX bytes, DNS_MESSAGE_MAX with is_tcp */
    size_t out_len;
    struct dns_name wanted;
};
enum dns_outcome dns_answer(const struct dns_ask *a, struct dns_reply *r);
/* An answer that says no more than a code, after DNS_FORWARD. */
void dns_refuse(const struct dns_ask *a, struct dns_reply *r, unsigned rcode);
/* An empty answer that says "truncated": ask by TCP. SEND or DROP. */
enum dns_outcome dns_truncated(const struct dns_ask *a, struct dns_reply *r);
