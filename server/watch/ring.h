/* SPDX-License-Identifier: Apache-2.0 */
/* The newest changes, revision and key, in a ring of bounded bytes. The oldest give way. */
#pragma once

#include "base/types.h"

struct change_ring {
    uint8_t *p;
    size_t cap;
    size_t start, used; /* bytes; records do not wrap: a filler record closes the end */
    size_t n;
    mu_rev floor; /* every change after this revision is in the ring */
};

struct ring_iter {
    size_t at, left;
    mu_rev from;
};

/* cap: a multiple of 8. head: changes up to it are not in the ring. */
void ring_init(struct change_ring *r, size_t cap, mu_rev head);
void ring_fini(struct change_ring *r);
/* rev never falls. A key too long for the ring empties it (the floor moves up). */
void ring_push(struct change_ring *r, mu_rev rev, struct slice key);
mu_rev ring_floor(const struct change_ring *r);
size_t ring_count(const struct change_ring *r);
/* Keys of changes with revision >= from, oldest first; borrowed until the next push. */
void ring_begin(const struct change_ring *r, mu_rev from, struct ring_iter *it);
int ring_next(const struct change_ring *r, struct ring_iter *it, struct slice *out_key);
