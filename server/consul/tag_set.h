/* SPDX-License-Identifier: Apache-2.0 */
/* Tags of many instances, each once, in the order they were met. The cost of each is that of
 * sorting, however many there are. */
#pragma once

#include "base/json_write.h"

struct tag {
    size_t at, len, order; /* its bytes in `text` */
};

struct tag_set {
    struct tag *items;
    size_t n, cap, n_met;
    struct buf text;
};

void tag_set_init(struct tag_set *s);
void tag_set_fini(struct tag_set *s);
void tag_set_clear(struct tag_set *s); /* memory is kept */
void tag_set_add(struct tag_set *s, struct slice tag);
/* All of them, as an array. */
void tag_set_write(struct tag_set *s, struct jw *w);
