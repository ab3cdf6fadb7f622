/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdio.h>
#include <time.h>

#include "base/err.h"

int text_u64(struct slice s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (s.len == 0) {
        return MU_E_BAD_REQUEST;
    }
    for (size_t i = 0; i < s.len; i++) {
        unsigned d = (unsigned)s.p[i] - '0';
        if (d > 9) {
            return MU_E_BAD_REQUEST;
        }
        if (v > (UINT64_MAX - d) / 10) {
            return MU_E_RANGE;
        }
        v = v * 10 + d;
    }
    if (v > max) {
        return MU_E_RANGE;
    }
    *out = v;
    return 0;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int text_hex64(struct slice s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.len == 0 || s.len > 16) {
        return MU_E_BAD_REQUEST;
    }
    for (size_t i = 0; i < s.len; i++) {
        int d = hex_digit(s.p[i]);
        if (d < 0) {
            return MU_E_BAD_REQUEST;
        }
        v = v << 4 | (unsigned)d;
    }
    *out = v;
    return 0;
}

struct unit {
    const char *name;
    int64_t ms;
};

static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

static int unit_of(struct slice s, int64_t *out)
{
    if (s.len == 0) {
        *out = 1000;
        return 0;
    }
    for (size_t i = 0; i < N_ELEMENTS(units); i++) {
        if (slice_eq(s, slice_str(units[i].name))) {
            *out = units[i].ms;
            return 0;
        }
    }
    return MU_E_BAD_REQUEST;
}

/* Up to three digits after the point, in thousandths. */
static int parse_fraction(struct slice s, uint64_t *out)
{
    uint64_t v;
    if (s.len == 0 || s.len > 3 || text_u64(s, 999, &v) != 0) {
        return MU_E_BAD_REQUEST;
    }
    *out = s.len == 1 ? v * 100 : s.len == 2 ? v * 10 : v;
    return 0;
}

int text_duration_ms(struct slice s, int64_t max_ms, int64_t *out)
{
    size_t n = 0, m;
    uint64_t whole, thousandths = 0;
    int64_t unit;
    while (n < s.len && s.p[n] >= '0' && s.p[n] <= '9') {
        n++;
    }
    m = n;
    if (m < s.len && s.p[m] == '.') {
        size_t from = ++m;
        while (m < s.len && s.p[m] >= '0' && s.p[m] <= '9') {
            m++;
        }
        if (parse_fraction(slice_of(s.p + from, m - from), &thousandths) != 0) {
            return MU_E_BAD_REQUEST;
        }
    }
    int rc = text_u64(slice_of(s.p, n), (uint64_t)max_ms, &whole);
    if (rc != 0 || unit_of(slice_of(s.p + m, s.len - m), &unit) != 0) {
        return rc != 0 ? rc : MU_E_BAD_REQUEST;
    }
    int64_t part = (int64_t)thousandths * unit / 1000;
    if (whole > (uint64_t)((max_ms - part) / unit) || part > max_ms) {
        return MU_E_RANGE;
    }
    *out = (int64_t)whole * unit + part;
    return 0;
}

void text_format_duration(int64_t ms, char *out)
{
    for (size_t i = N_ELEMENTS(units) - 1; i > 0; i--) {
        if (ms != 0 && ms % units[i].ms == 0) {
            snprintf(out, 24, "%lld%s", (long long)(ms / units[i].ms), units[i].name);
            return;
        }
    }
    snprintf(out, 24, ms == 0 ? "0s" : "%lldms", (long long)ms);
}

int text_bool(struct slice s, int *out)
{
    if (slice_eq(s, SLICE_LIT("true")) || slice_eq(s, SLICE_LIT("1"))) {
        *out = 1;
        return 0;
    }
    if (slice_eq(s, SLICE_LIT("false")) || slice_eq(s, SLICE_LIT("0"))) {
        *out = 0;
        return 0;
    }
    return MU_E_BAD_REQUEST;
}

/* Bytes of the character at p, 0 when it is malformed (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    uint8_t c = p[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    if (n == 0 || n > left) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] >= 0xa0) || (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] >= 0x90)) {
        return 0;
    }
    return n;
}

int text_is_utf8(struct slice s)
{
    size_t i = 0;
    while (i < s.len) {
        size_t n = utf8_len(s.p + i, s.len - i);
        if (n == 0) {
            return 0;
        }
        i += n;
    }
    return 1;
}

int text_is_name(struct slice s, size_t max)
{
    if (s.len == 0 || s.len > max) {
        return 0;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < 0x20 || s.p[i] == 0x7f) {
            return 0;
        }
    }
    return text_is_utf8(s);
}

void text_format_time(int64_t wall_ms, char *out)
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;
    char date[24];
    gmtime_r(&t, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, 32, "%s.%03dZ", date, (int)(wall_ms % 1000));
}

int text_parse_time(struct slice s, int64_t *out_wall_ms)
{
    char text[32];
    struct tm tm = {0};
    if (s.len < 20 || s.len >= sizeof(text)) {
        return MU_E_BAD_REQUEST;
    }
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    uint64_t ms = 0;
    if (rest == NULL) {
        return MU_E_BAD_REQUEST;
    }
    if (*rest == '.') {
        const char *z = strchr(rest, 'Z');
        if (z == NULL || parse_fraction(slice_of(rest + 1, (size_t)(z - rest) - 1), &ms) != 0) {
            return MU_E_BAD_REQUEST;
        }
        rest = z;
    }
    if (strcmp(rest, "Z") != 0) {
        return MU_E_BAD_REQUEST;
    }
    *out_wall_ms = (int64_t)timegm(&tm) * 1000 + (int64_t)ms;
    return 0;
}

int text_percent_decode(struct slice s, char *out, size_t cap, size_t *out_len)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        int c = s.p[i];
        if (c == '%') {
            if (s.len - i < 3 || hex_digit(s.p[i + 1]) < 0 || hex_digit(s.p[i + 2]) < 0) {
                return MU_E_BAD_REQUEST;
            }
            c = hex_digit(s.p[i + 1]) << 4 | hex_digit(s.p[i + 2]);
            i += 2;
        }
        if (c == 0 || n == cap) {
            return c == 0 ? MU_E_BAD_REQUEST : MU_E_RANGE;
        }
        out[n++] = (char)c;
    }
    *out_len = n;
    return 0;
}

enum { NEAR_LEN_MAX = 63, NEAR_DISTANCE_MAX = 3 };

/* Levenshtein distance of two short words. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[NEAR_LEN_MAX + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > NEAR_LEN_MAX || m > NEAR_LEN_MAX) {
        return NEAR_LEN_MAX;
    }
    for (size_t j = 0; j <= m; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= n; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
        }
    }
    return row[m];
}

const char *text_nearest(const char *word, const char *const *names, size_t n_names)
{
    const char *best = NULL;
    unsigned best_distance = NEAR_DISTANCE_MAX + 1;
    for (size_t i = 0; i < n_names; i++) {
        unsigned d = distance(word, names[i]);
        /* A word that shares nothing with the name is no slip of the finger. */
        if (d < best_distance && d < strlen(names[i])) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}
