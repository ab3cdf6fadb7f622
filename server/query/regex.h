/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions that anybody may give: PCRE2, whose syntax has that of Go's regexp in it,
 * with every step counted against a budget. */
#pragma once

#include "base/buf.h"

enum { REGEX_GROUPS_MAX = 16 };

/* Memory that lives as long as the expression, and is given back all at once. */
struct regex_memory {
    void *(*alloc)(void *arg, size_t size);
    void *arg;
};

struct regex_budget {
    unsigned left; /* steps; 0: used up, and what is found from then on is not known */
};

struct regex;
/* Finds anywhere in a text. NULL and why. */
struct regex *regex_new(const struct regex_memory *m, struct regex_budget *budget,
                        struct slice pattern, char *why, size_t why_size);
/* 1 or 0; 0 when the budget ran out. */
int regex_matches(struct regex *x, struct slice text);
/* Of the text that was found last: group n, 0 = all of it. Empty when there is none. */
struct slice regex_group(struct regex *x, struct slice text, unsigned n);
