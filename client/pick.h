/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing one of several. Pure: random numbers and counters are passed in. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct pick_item {
    uint32_t weight; /* above 0 */
    uint64_t hash;   /* pick_hash() of what it is, the same in every client */
};

uint64_t pick_hash(const char *s, uint64_t seed);
/* In proportion to the weights; `random` is uniform over 64 bits. n > 0. */
size_t pick_weighted(const struct pick_item *v, size_t n, uint64_t random);
/* Weighted rendezvous hashing: a key's place depends on the items alone, not on their order; when
 * one comes or goes only its share of keys moves. n > 0. */
size_t pick_rendezvous(const struct pick_item *v, size_t n, uint64_t key_hash);
