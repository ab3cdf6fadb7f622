/* SPDX-License-Identifier: Apache-2.0 */
#include "client/pick.h"

#include <math.h>

__extension__ typedef unsigned __int128 wide;

/* The finalizer of MurmurHash3: every bit of the input moves every bit of the output. */
static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

uint64_t pick_hash(const char *s, uint64_t seed)
{
    uint64_t h = mix(seed ^ UINT64_C(0xcbf29ce484222325));
    for (; *s != '\0'; s++) {
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    }
    return mix(h);
}

size_t pick_weighted(const struct pick_item *v, size_t n, uint64_t random)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += v[i].weight;
    }
    /* The upper half of random * sum: without the bias of a remainder. */
    uint64_t at = (uint64_t)((wide)random * sum >> 64);
    for (size_t i = 0; i < n; i++) {
        if (at < v[i].weight) {
            return i;
        }
        at -= v[i].weight;
    }
    return n - 1;
}

/* -weight / ln(u) with u drawn from (0, 1) by both hashes: the largest is ahead with a chance in
 * proportion to its weight. */
static double score(const struct pick_item *i, uint64_t key_hash)
{
    uint64_t h = mix(i->hash ^ mix(key_hash));
    double u = ((double)(h >> 11) + 0.5) * 0x1p-53;
    return -(double)i->weight / log(u);
}

size_t pick_rendezvous(const struct pick_item *v, size_t n, uint64_t key_hash)
{
    size_t best = 0;
    double best_score = -1;
    for (size_t i = 0; i < n; i++) {
        double s = score(&v[i], key_hash);
        if (s > best_score || (!(s < best_score) && v[i].hash < v[best].hash)) {
            best_score = s;
            best = i;
        }
    }
    return best;
}
