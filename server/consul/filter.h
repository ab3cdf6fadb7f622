/* SPDX-License-Identifier: Apache-2.0 */
/* ?filter= (https://developer.hashicorp.com/consul/api-docs/features/filtering): an expression over
 * the members of a list's items.
 *
 * It is read once, against the table of the members that there are, and then asked of each item's
 * JSON. Its size, depth and number of terms are bounded, and so is the work of all its regular
 * expressions together: they are stopped, not waited for. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "server/query/regex.h"

enum {
    FILTER_TEXT_MAX = 8 * 1024,
    FILTER_DEPTH_MAX = 64,
    FILTER_TERMS_MAX = 128,
    FILTER_REGEX_MAX = 8,
    FILTER_STEPS_MAX = 2 * 1000 * 1000, /* of all regular expressions, for one answer, */
    FILTER_STEPS_ITEM = 256,            /* and as many more for each item */
};

/* What an item is. */
enum filter_kind {
    FILTER_NONE,         /* nothing is filtered there */
    FILTER_NODE,         /* catalog/nodes */
    FILTER_SERVICE_NODE, /* catalog/service */
    FILTER_SERVICE,      /* catalog/node, agent/services */
    FILTER_HEALTH,       /* health/service */
    FILTER_CHECK,        /* health/checks, node, state; agent/checks */
};

struct filter;
/* NULL: BAD_REQUEST with Consul's sentence in e. `text` is not empty. */
struct filter *filter_read(const struct regex_memory *m, enum filter_kind kind, struct slice text,
                           struct err *e);
/* The steps are counted from here on. */
void filter_begin(struct filter *f);
/* 1 when it holds for the item, a JSON object. 0 also once the steps are used up. */
int filter_takes(struct filter *f, struct slice json);
int filter_is_spent(const struct filter *f); /* the steps are used up: the answer is not whole */
