/* SPDX-License-Identifier: Apache-2.0 */
/* The instances of one answer: gathered, told apart, put in an order by lot. */
#pragma once

#include "server/dns/answer.h"

void dns_entries_begin(struct dns_room *m);
/* A dns_instance_fn; arg is the room. */
int dns_entries_take(void *room, const struct dns_instance *i);
/* What two entries have in common. */
enum dns_likeness {
    DNS_LIKE_ADDRESS,
    DNS_LIKE_TARGET, /* of an SRV record: an address of its own, or a node */
    DNS_LIKE_SERVER, /* target and port */
    DNS_LIKE_NODE,
};
/* Drop all but one of those that are alike, then shuffle: by weight when is_weighted. */
void dns_entries_settle(struct dns_room *m, enum dns_likeness likeness, int is_weighted);
/* is_first of each: none before it is like it. */
void dns_entries_mark(struct dns_room *m, enum dns_likeness likeness);
static inline struct slice dns_entry_host(const struct dns_room *m, const struct dns_entry *e)
{
    return slice_of(m->texts.p + e->host_at, e->host_len);
}
static inline struct slice dns_entry_node(const struct dns_room *m, const struct dns_entry *e)
{
    return slice_of(m->texts.p + e->node_at, e->node_len);
}
static inline struct slice dns_entry_meta(const struct dns_room *m, const struct dns_entry *e)
{
    return slice_of(m->texts.p + e->meta_at, e->meta_len);
}
