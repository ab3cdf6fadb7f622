/* SPDX-License-Identifier: Apache-2.0 */
/* A zone and data without a store, and packets: for the tests and for the fuzzer. */
#pragma once

#include "server/dns/answer.h"

struct fake_instance {
    const char *service, *node, *address; /* node NULL: none; address NULL: the node's */
    uint16_t port, weight;
    const char *tag;
    int is_warning;
};
struct fake_node {
    const char *name, *address;
    const char *key, *value; /* of its metadata; NULL: none */
    int is_member;
};

struct fake {
    struct dns_source source;
    struct dns_zone zone;
    struct dns_room room;
    const struct fake_instance *instances;
    size_t n_instances;
    const struct fake_node *nodes;
    size_t n_nodes;
    struct buf metadata;
    int code; /* != 0: what every question is answered with */
    uint8_t packet[DNS_QUERY_MAX], out[DNS_MESSAGE_MAX];
};

/* Domain consul, datacenter dc1; settings as by default. */
void fake_init(struct fake *f);
void fake_fini(struct fake *f);

/* A query as clients send it. udp_size 0: without EDNS. Returns its length in f->packet. */
size_t fake_query(struct fake *f, const char *name, uint16_t type, uint16_t udp_size);
/* Ask what stands in f->packet. */
enum dns_outcome fake_ask(struct fake *f, size_t len, int is_tcp, struct dns_reply *r);

/* An answer, read by other code than what wrote it. */
struct fake_record {
    int section; /* enum dns_section */
    char owner[1024];
    uint16_t type, qclass;
    uint32_t ttl;
    char data[1200]; /* as dig +short shows it */
};
struct fake_message {
    uint16_t id, flags, counts[4];
    unsigned rcode; /* with the high bits of EDNS */
    struct fake_record *records;
    size_t n_records;
};
/* 0, or -1 when it is not a whole message, without a byte behind it. */
int fake_read(const uint8_t *p, size_t len, struct fake_message *out);
void fake_free(struct fake_message *m);
