/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the answers: one that is being made. */
#pragma once

#include "server/dns/answer.h"
#include "server/dns/entries.h"

enum { DNS_DEPTH_MAX = 3 }; /* names of ours that lead to names of ours */

struct answer {
    const struct dns_ask *ask;
    struct dns_reply *r;
    const struct dns_query *q;
    struct dns_question question;
    struct dns_writer w;
    unsigned rcode, flags;
    int is_scoped;  /* true for the client's subnet only */
    int is_trimmed; /* there was more to tell */
    int is_wanting; /* r->wanted */
    unsigned depth;
};

/* 1 when a question of that type wants addresses of that kind. */
static inline int answer_takes(uint16_t type, int is_v4)
{
    return type == DNS_TYPE_ANY || type == (is_v4 ? DNS_TYPE_A : DNS_TYPE_AAAA);
}
/* ".node.dc1.consul" and the like. NULL where: "dc1.consul". */
void answer_name(const struct answer *a, struct slice first, const char *where,
                 struct dns_name *out);
/* 0a000005.addr.dc1.consul */
void answer_address_name(const struct answer *a, const uint8_t address[16], int is_v4,
                         struct dns_name *out);
int answer_put_address(struct answer *a, enum dns_section s, const struct dns_name *owner,
                       const uint8_t address[16], uint32_t ttl);
/* One TXT record for each; what does not fit is left out. */
void answer_put_meta(struct answer *a, enum dns_section s, const struct dns_name *owner,
                     struct slice metadata, uint32_t ttl);
/* owner is another name for `host`: CNAME, and what is known of that name. */
void answer_put_alias(struct answer *a, const struct dns_name *owner, struct slice host,
                      uint32_t ttl);
/* Without an answer it is NODATA; with rcode NXDOMAIN, that. */
void answer_put_soa(struct answer *a, enum dns_section s);

/* answer_service.c */
void answer_service(struct answer *a, const struct dns_question *qn, const struct dns_name *owner);
