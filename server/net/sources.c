/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/net_impl.h"

#include "base/clock.h"
#include "base/hash.h"

void sources_init(struct sources *s, uint32_t max_loopback, uint32_t max_other)
{
    memset(s, 0, sizeof(*s));
    s->seed = rnd_u64();
    s->max_loopback = max_loopback;
    s->max_other = max_other;
}

/* IPv4 by address, IPv6 by /64 (what one customer gets); a mapped IPv4 address is IPv4. Returns the
 * length of the key. */
static size_t source_key(const struct sockaddr_storage *a, uint8_t key[8], int *out_is_loopback)
{
    if (a->ss_family == AF_UNIX) {
        *out_is_loopback = 1;
        return 4;
    }
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)a;
        if (!IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            *out_is_loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
            memcpy(key, in6->sin6_addr.s6_addr, 8);
            return 8;
        }
        memcpy(key, in6->sin6_addr.s6_addr + 12, 4);
    } else {
        memcpy(key, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
    }
    *out_is_loopback = key[0] == 127;
    return 4;
}

int sources_enter(struct sources *s, const struct sockaddr_storage *a, uint32_t *out_slot)
{
    uint8_t key[8] = {0};
    int is_loopback = 0;
    size_t len = source_key(a, key, &is_loopback);
    if (is_loopback) {
        memset(key, 0, sizeof(key)); /* all of 127.0.0.0/8 is one source, and unix sockets */
    }
    uint32_t slot = (uint32_t)(hash_xxh3(key, len, s->seed) % NET_SOURCE_SLOTS);
    uint32_t max = is_loopback ? s->max_loopback : s->max_other;
    if (atomic_fetch_add_explicit(&s->n[slot], 1, memory_order_relaxed) >= max) {
        atomic_fetch_sub_explicit(&s->n[slot], 1, memory_order_relaxed);
        return MU_E_TOO_MANY;
    }
    *out_slot = slot;
    return 0;
}

void sources_leave(struct sources *s, uint32_t slot)
{
    atomic_fetch_sub_explicit(&s->n[slot], 1, memory_order_relaxed);
}
