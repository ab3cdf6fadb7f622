/* SPDX-License-Identifier: Apache-2.0 */
/* The query of the shared stream: as few and as narrow patterns as its length allows. */
#pragma once

#include "client/cbuf.h"

struct pattern {
    bool is_config;
    const char *group; /* borrowed */
    const char *name;  /* borrowed */
};

struct pattern_set {
    struct pattern *v;
    size_t n;
    size_t cap;
    bool no_memory;
};

void pattern_init(struct pattern_set *s);
void pattern_fini(struct pattern_set *s);
void pattern_add(struct pattern_set *s, bool is_config, const char *group, const char *name);
/* "services=..&configs=..": gives it; NULL when there is no memory. What it matches contains all
 * that was added, and may contain more: a name that a pattern cannot say exactly becomes a prefix,
 * and groups become whole when the list would be too long for a request line. */
char *pattern_query(struct pattern_set *s);
/* Can a pattern speak of this group at all? */
bool pattern_can_group(const char *group);
