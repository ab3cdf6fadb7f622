/* SPDX-License-Identifier: Apache-2.0 */
/* Rules: read from the text of policies, and put in order so that the one that counts is found
 * quickly however many there are. */
#pragma once

#include "base/buf.h"
#include "server/access/access.h"

enum {
    RULES_TEXT_MAX = 64 * 1024, /* of one policy */
    RULES_MAX = 32 * 1024,      /* of one identity */
};

struct rule {
    uint8_t kind, is_prefix, right;
    uint32_t at, len; /* of its name in `names` */
    uint32_t parent;  /* of a prefix: the longest other one that it begins with; NO_PARENT */
};

struct rules {
    struct rule *items;
    size_t n, cap;
    struct buf names;
    size_t begins[ACCESS_KINDS][2]; /* by kind and is_prefix; set by rules_order */
    size_t ends[ACCESS_KINDS][2];
};

void rules_init(struct rules *s);
void rules_fini(struct rules *s);
/* TOO_LARGE when there are too many. */
int rules_add(struct rules *s, enum access_kind kind, int is_prefix, struct slice name,
              enum access_right right);
/* The rules of a policy's text, HCL or JSON. 0, BAD_REQUEST with Consul's sentence, TOO_LARGE. */
int rules_read(struct rules *s, struct slice text, struct err *e);
/* Once, after the last was added: doubles are joined, the stricter counts. */
void rules_order(struct rules *s);
/* The right that the most exact rule gives; 0 when none speaks of it. */
enum access_right rules_find(const struct rules *s, enum access_kind kind, struct slice name);
/* The same of rules for prefixes alone. */
enum access_right rules_cover(const struct rules *s, enum access_kind kind, struct slice name);
/* 1 when no rule at or below the prefix gives less than `right`. */
int rules_allow_below(const struct rules *s, enum access_kind kind, struct slice prefix,
                      enum access_right right);
