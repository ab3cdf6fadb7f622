/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the DNS in their wire form: labels with a length before each, a zero at the end. */
#pragma once

#include "base/types.h"

enum { DNS_NAME_MAX = 255, DNS_LABEL_MAX = 63, DNS_LABELS_MAX = 127 };

struct dns_name {
    uint8_t len; /* with the zero at the end; 0 = not a name (too long, or a bad label) */
    uint8_t p[DNS_NAME_MAX];
};

/* Where each label of a name begins. */
struct dns_labels {
    const struct dns_name *name;
    uint8_t n;
    uint8_t at[DNS_LABELS_MAX];
};

/* Building: a failed step leaves len 0, and every later one does too. Asked once, at the end. */
void dns_name_begin(struct dns_name *n); /* the root */
void dns_name_label(struct dns_name *n, struct slice label);
/* "n1.rack-2" is two labels; one dot at the end is allowed. */
void dns_name_text(struct dns_name *n, struct slice text);
void dns_name_append(struct dns_name *n, const struct dns_name *tail);
static inline int dns_name_is_good(const struct dns_name *n)
{
    return n->len != 0;
}

/* ASCII letters only, as the DNS compares (RFC 4343). */
static inline uint8_t dns_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}
void dns_name_lower(struct dns_name *n);
void dns_name_labels(const struct dns_name *n, struct dns_labels *out);
static inline struct slice dns_label(const struct dns_labels *l, unsigned i)
{
    return slice_of(&l->name->p[l->at[i] + 1], l->name->p[l->at[i]]);
}
/* How many labels stand before `tail`; -1 when the name does not end with it. Both in lower case.
 */
int dns_labels_before(const struct dns_labels *l, const struct dns_name *tail);
/* 1 when equal but for the case of letters. */
int dns_text_is(struct slice a, struct slice b);
/* With dots and a dot at the end, as people read it; a byte that is no printable ASCII as \DDD.
 * `out` holds at least DNS_NAME_MAX * 4 + 2 bytes. */
void dns_name_format(const struct dns_name *n, char *out);
