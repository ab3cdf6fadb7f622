/* SPDX-License-Identifier: Apache-2.0 */
/* What is answered for, and how: the settings in the form the answers need, and what a name asks
 * for. */
#pragma once

#include "base/err.h"
#include "server/dns/packet.h"

enum { DNS_RULES_MAX = 64, DNS_NETS_MAX = 16, DNS_RULE_TEXT_MAX = 128 };

/* "web" or "db*"; the longest that fits decides, an exact one before all. */
struct dns_ttl_rule {
    char text[DNS_RULE_TEXT_MAX];
    size_t len; /* without the star */
    int is_prefix;
    uint32_t ttl;
};

struct dns_net {
    uint8_t address[16]; /* IPv4 mapped */
    uint8_t bits;
};

struct dns_zone {
    struct dns_name domains[2]; /* the domain, the other one; lower case */
    size_t n_domains;
    char datacenter[64];
    uint32_t node_ttl;
    struct dns_ttl_rule rules[DNS_RULES_MAX];
    size_t n_rules;
    uint32_t soa_refresh, soa_retry, soa_expire, soa_min_ttl;
    int is_only_passing, is_truncate_told, is_compressed, has_meta_txt;
    uint32_t udp_answer_limit; /* of an answer of at most 512 bytes */
    uint32_t a_record_limit;   /* 0 = none */
    int64_t max_stale_ms;
    int has_recursors;
    struct dns_net recursion_from[DNS_NETS_MAX];
    size_t n_recursion_from;
};

/* As in the settings. */
struct dns_zone_text {
    const char *domain, *alt_domain, *datacenter, *service_ttl, *recursion_from;
};
/* Fills the fields that come from text. */
int dns_zone_read(struct dns_zone *z, const struct dns_zone_text *t, struct err *e);
uint32_t dns_zone_ttl(const struct dns_zone *z, struct slice service);
/* address: 16 bytes, IPv4 mapped. */
int dns_zone_recurses_for(const struct dns_zone *z, const uint8_t address[16]);

enum dns_kind {
    DNS_ASK_FOREIGN, /* not our domain */
    DNS_ASK_NOTHING, /* ours, but no such form of a name: NXDOMAIN */
    DNS_ASK_SERVICE,
    DNS_ASK_NODE,
    DNS_ASK_ADDRESS,
    DNS_ASK_QUERY,
    DNS_ASK_REVERSE,
};

struct dns_question {
    enum dns_kind kind;
    const struct dns_name *domain; /* the one that was asked under */
    struct dns_name name;          /* lower case */
    uint8_t target[DNS_NAME_MAX];  /* service, node or query; as it was sent */
    size_t target_len;
    uint8_t tag[DNS_NAME_MAX]; /* of a service; lower case */
    size_t tag_len;
    uint8_t address[16]; /* of ADDRESS and REVERSE; IPv4 mapped */
    int is_v4;
};
void dns_question_read(const struct dns_zone *z, const struct dns_query *q,
                       struct dns_question *out);
/* 16 bytes, IPv4 mapped; 0 when it is an address, as text. */
int dns_address_read(struct slice text, uint8_t out[16], int *out_is_v4);
