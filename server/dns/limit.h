/* SPDX-License-Identifier: Apache-2.0 */
/* How many answers a source gets in a second by UDP, where an address is easily forged: so that
 * nobody is flooded by our answers to somebody else's questions. */
#pragma once

#include "base/types.h"

enum { DNS_LIMIT_SLOTS = 4096 };

struct dns_limit {
    uint64_t seed;
    uint32_t per_second; /* 0 = no limit */
    struct {
        int64_t at_ms;
        uint32_t left, slips;
    } * slots; /* sources that fall together share one */
};

enum dns_verdict {
    DNS_VERDICT_ANSWER,
    DNS_VERDICT_SLIP, /* answer "truncated" only: who is not forged comes back by TCP */
    DNS_VERDICT_DROP,
};

void dns_limit_init(struct dns_limit *l, uint32_t per_second);
void dns_limit_fini(struct dns_limit *l);
/* address: 16 bytes, IPv4 mapped; IPv6 counts by its /64. Loopback is never limited. */
enum dns_verdict dns_limit_ask(struct dns_limit *l, const uint8_t address[16], int64_t now_ms);
