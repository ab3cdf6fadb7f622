/* SPDX-License-Identifier: Apache-2.0 */
/* Small types shared by every room. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Store revision: counts applied commands that changed something. 0 = none. */
typedef uint64_t mu_rev;
/* Lease id; never 0 for a lease that exists. Written as 16 hex digits. */
typedef uint64_t mu_lease_id;
/* Position in the replicated log; 1 is the first entry, 0 = none. */
typedef uint64_t mu_index;
/* Raft term; 0 = none. */
typedef uint64_t mu_term;
/* Stable 64-bit id of a node, derived from its name. 0 = none. */
typedef uint64_t mu_node_id;

/* Borrowed bytes. `p` may be NULL when len is 0; never NUL-terminated by promise. */
struct slice {
    const uint8_t *p;
    size_t len;
};

#define SLICE_LIT(s)                    ((struct slice){(const uint8_t *)(s), sizeof(s) - 1})
#define SLICE_FMT(s)                    (int)(s).len, (const char *)(s).p
#define N_ELEMENTS(a)                   (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline struct slice slice_of(const void *p, size_t len)
{
    return (struct slice){(const uint8_t *)p, len};
}

static inline struct slice slice_str(const char *s)
{
    return (struct slice){(const uint8_t *)s, s != NULL ? strlen(s) : 0};
}

static inline int slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* Bytewise order; a proper prefix sorts first. */
static inline int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n != 0 ? memcmp(a.p, b.p, n) : 0;
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static inline int slice_has_prefix(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}
