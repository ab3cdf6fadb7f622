/* SPDX-License-Identifier: Apache-2.0 */
#include "client/endpoints.h"

#include <string.h>

#include "base/text.h"
#include "client/cbuf.h"
#include "client/mem.h"
#include "client/status.h"

enum { URL_MAX = 512 };

void endpoints_fini(struct endpoints *s)
{
    for (size_t i = 0; i < s->n; i++) {
        cmem_free(s->v[i].url);
    }
    cmem_free(s->v);
    s->v = NULL;
    s->n = 0;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

/* "host", "host:port", "[v6]:port"; *out_has_port says whether a port was there. */
static bool is_authority(struct slice s, bool *out_has_port)
{
    size_t i = 0;
    uint64_t port = 0;
    if (s.len > 0 && s.p[0] == '[') {
        for (i = 1; i < s.len && strchr("0123456789abcdefABCDEF:.", (char)s.p[i]) != NULL; i++) {
        }
        if (i < 3 || i == s.len || s.p[i] != ']') {
            return false;
        }
        i++;
    } else {
        while (i < s.len && is_host_char((char)s.p[i])) {
            i++;
        }
        if (i == 0) {
            return false;
        }
    }
    *out_has_port = i < s.len;
    if (i == s.len) {
        return true;
    }
    return s.p[i] == ':' && text_u64(slice_of(s.p + i + 1, s.len - i - 1), 65535, &port) == 0 &&
           port > 0;
}

static muster_status add_one(struct endpoints *s, struct slice text, struct muster_error *e)
{
    const struct slice http = SLICE_LIT("http://"), https = SLICE_LIT("https://");
    struct slice scheme = http, rest = text;
    bool has_port = false;
    if (slice_has_prefix(text, http) || slice_has_prefix(text, https)) {
        scheme = slice_has_prefix(text, https) ? https : http;
        rest = slice_of(text.p + scheme.len, text.len - scheme.len);
    }
    if (rest.len > 0 && rest.p[rest.len - 1] == '/') {
        rest.len--;
    }
    if (rest.len > URL_MAX || !is_authority(rest, &has_port)) {
        return status_set(e, MUSTER_INVALID,
                          "\"%.*s\" is no endpoint: http://host:port or https://host:port",
                          (int)(text.len < 100 ? text.len : 100), (const char *)text.p);
    }
    if (s->n == ENDPOINTS_MAX) {
        return status_set(e, MUSTER_INVALID, "more than %d endpoints", ENDPOINTS_MAX);
    }
    struct cbuf url;
    cbuf_init(&url, URL_MAX + 32);
    cbuf_append(&url, scheme.p, scheme.len);
    cbuf_append(&url, rest.p, rest.len);
    cbuf_str(&url, has_port ? "" : ":8500");
    char *given = cbuf_take(&url);
    if (given == NULL) {
        return status_no_memory(e);
    }
    s->v[s->n].url = given;
    breaker_init(&s->v[s->n].breaker);
    s->n++;
    return MUSTER_OK;
}

static struct slice trimmed(struct slice s)
{
    while (s.len > 0 && s.p[0] == ' ') {
        s = slice_of(s.p + 1, s.len - 1);
    }
    while (s.len > 0 && s.p[s.len - 1] == ' ') {
        s.len--;
    }
    return s;
}

muster_status endpoints_parse(struct endpoints *out, const char *text, struct muster_error *e)
{
    struct endpoints s = {.v = cmem_zalloc(ENDPOINTS_MAX * sizeof(*s.v)), .conf = out->conf};
    muster_status rc = MUSTER_OK;
    if (s.v == NULL) {
        return status_no_memory(e);
    }
    for (const char *p = text; rc == MUSTER_OK && p != NULL;) {
        const char *comma = strchr(p, ',');
        rc = add_one(&s, trimmed(slice_of(p, comma != NULL ? (size_t)(comma - p) : strlen(p))), e);
        p = comma != NULL ? comma + 1 : NULL;
    }
    if (rc != MUSTER_OK) {
        endpoints_fini(&s);
        return rc;
    }
    *out = s;
    return MUSTER_OK;
}

int endpoints_pick(struct endpoints *s, uint64_t tried, int64_t now, int64_t *out_retry_at)
{
    int64_t at = INT64_MAX;
    for (size_t k = 0; k < s->n; k++) {
        size_t i = (s->current + k) % s->n;
        if ((tried >> i & 1) != 0) {
            continue;
        }
        if (breaker_may(&s->v[i].breaker, &s->conf, now)) {
            return (int)i;
        }
        int64_t t = breaker_retry_at(&s->v[i].breaker, &s->conf, now);
        at = t < at ? t : at;
    }
    *out_retry_at = at;
    return -1;
}

void endpoints_move_on(struct endpoints *s, int i)
{
    if (s->current == (size_t)i) {
        s->current = (s->current + 1) % s->n;
    }
}

void endpoints_report(struct endpoints *s, int i, int64_t now, bool is_ok)
{
    breaker_report(&s->v[i].breaker, &s->conf, now, is_ok);
    if (!is_ok) {
        endpoints_move_on(s, i);
    }
}

void endpoints_give_up(struct endpoints *s, int i)
{
    breaker_give_up(&s->v[i].breaker);
}
