/* SPDX-License-Identifier: Apache-2.0 */
#include "server/dns/limit.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

void dns_limit_init(struct dns_limit *l, uint32_t per_second)
{
    l->seed = rnd_u64();
    l->per_second = per_second;
    l->slots = per_second != 0 ? mem_zalloc(DNS_LIMIT_SLOTS * sizeof(*l->slots)) : NULL;
}

void dns_limit_fini(struct dns_limit *l)
{
    mem_free(l->slots);
    l->slots = NULL;
}

enum dns_verdict dns_limit_ask(struct dns_limit *l, const uint8_t address[16], int64_t now_ms)
{
    static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const uint8_t v6_loopback[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    int is_v4 = memcmp(address, v4_mapped, sizeof(v4_mapped)) == 0;
    if (l->per_second == 0 || (is_v4 && address[12] == 127) ||
        memcmp(address, v6_loopback, sizeof(v6_loopback)) == 0) {
        return DNS_VERDICT_ANSWER;
    }
    uint64_t hash = hash_xxh3(address, is_v4 ? 16 : 8, l->seed);
    size_t slot = hash % DNS_LIMIT_SLOTS;
    int64_t passed = now_ms - l->slots[slot].at_ms;
    if (l->slots[slot].at_ms == 0 || passed >= 1000) {
        l->slots[slot].at_ms = now_ms;
        l->slots[slot].left = l->per_second;
    }
    if (l->slots[slot].left > 0) {
        l->slots[slot].left--;
        return DNS_VERDICT_ANSWER;
    }
    return l->slots[slot].slips++ % 2 == 0 ? DNS_VERDICT_SLIP : DNS_VERDICT_DROP;
}
