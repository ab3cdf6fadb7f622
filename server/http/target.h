/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets: a path into decoded segments, a query into decoded pairs. Everything is decoded
 * exactly once, here. */
#pragma once

#include "base/err.h"

enum { PATH_SEGMENTS_MAX = 24, QUERY_PAIRS_MAX = 256 };

struct path {
    unsigned n; /* PATH_SEGMENTS_MAX + 1: more than any route has */
    struct slice seg[PATH_SEGMENTS_MAX];
};

struct query_pair {
    struct slice name, value;
};

/* The part of a target before and after the first '?'. */
void target_split(struct slice target, struct slice *out_path, struct slice *out_query);

/* Segments of an absolute path. Those without escapes borrow from `raw`, the others from `mem`
 * (raw.len bytes, unused when raw has no '%'). Refuses, also for the segments beyond the table:
 * empty segments, "." and "..", bad escapes, NUL, text that is not UTF-8. "/" has none. */
int path_split(struct slice raw, uint8_t *mem, struct path *out, struct err *e);

/* Pairs of a query, '+' is a space; `mem` as above, needed when raw has a '%' or '+'. More than
 * `max` pairs are refused. */
int query_split(struct slice raw, uint8_t *mem, struct query_pair *out, size_t max, size_t *out_n,
                struct err *e);
