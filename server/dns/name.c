/* SPDX-License-Identifier: Apache-2.0 */
#include "server/dns/name.h"

void dns_name_begin(struct dns_name *n)
{
    n->len = 1;
    n->p[0] = 0;
}

void dns_name_label(struct dns_name *n, struct slice label)
{
    if (n->len == 0 || label.len == 0 || label.len > DNS_LABEL_MAX ||
        n->len + 1 + label.len > DNS_NAME_MAX) {
        n->len = 0;
        return;
    }
    uint8_t *to = &n->p[n->len - 1]; /* over the zero */
    to[0] = (uint8_t)label.len;
    memcpy(to + 1, label.p, label.len);
    to[1 + label.len] = 0;
    n->len = (uint8_t)(n->len + 1 + label.len);
}

void dns_name_text(struct dns_name *n, struct slice text)
{
    if (text.len > 1 && text.p[text.len - 1] == '.') {
        text.len--;
    }
    while (n->len != 0) {
        const uint8_t *dot = text.len != 0 ? memchr(text.p, '.', text.len) : NULL;
        size_t len = dot != NULL ? (size_t)(dot - text.p) : text.len;
        dns_name_label(n, slice_of(text.p, len));
        if (dot == NULL) {
            return;
        }
        text = slice_of(dot + 1, text.len - len - 1);
    }
}

void dns_name_append(struct dns_name *n, const struct dns_name *tail)
{
    if (n->len == 0 || tail->len == 0 || n->len - 1 + tail->len > DNS_NAME_MAX) {
        n->len = 0;
        return;
    }
    memcpy(&n->p[n->len - 1], tail->p, tail->len);
    n->len = (uint8_t)(n->len - 1 + tail->len);
}

void dns_name_lower(struct dns_name *n)
{
    /* A length byte is at most 63: no letter. */
    for (unsigned i = 0; i < n->len; i++) {
        n->p[i] = dns_lower(n->p[i]);
    }
}

void dns_name_labels(const struct dns_name *n, struct dns_labels *out)
{
    out->name = n;
    out->n = 0;
    for (unsigned at = 0; at < n->len && n->p[at] != 0; at += 1u + n->p[at]) {
        out->at[out->n++] = (uint8_t)at;
    }
}

int dns_labels_before(const struct dns_labels *l, const struct dns_name *tail)
{
    const struct dns_name *n = l->name;
    if (tail->len == 0 || n->len < tail->len) {
        return -1;
    }
    unsigned at = (unsigned)(n->len - tail->len);
    if (memcmp(&n->p[at], tail->p, tail->len) != 0) {
        return -1;
    }
    if (at == n->len - 1u) {
        return l->n;
    }
    for (int i = 0; i < l->n; i++) {
        if (l->at[i] == at) {
            return i;
        }
    }
    return -1; /* the same bytes, but not from the beginning of a label */
}

int dns_text_is(struct slice a, struct slice b)
{
    if (a.len != b.len) {
        return 0;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (dns_lower(a.p[i]) != dns_lower(b.p[i])) {
            return 0;
        }
    }
    return 1;
}

void dns_name_format(const struct dns_name *n, char *out)
{
    struct dns_labels l;
    size_t at = 0;
    dns_name_labels(n, &l);
    for (unsigned i = 0; i < l.n; i++) {
        struct slice s = dns_label(&l, i);
        for (size_t k = 0; k < s.len; k++) {
            uint8_t c = s.p[k];
            if (c > 0x20 && c < 0x7f && c != '.' && c != '\\') {
                out[at++] = (char)c;
            } else {
                out[at++] = '\\';
                out[at++] = (char)('0' + c / 100);
                out[at++] = (char)('0' + c / 10 % 10);
                out[at++] = (char)('0' + c % 10);
            }
        }
        out[at++] = '.';
    }
    if (l.n == 0) {
        out[at++] = '.';
    }
    out[at] = '\0';
}
