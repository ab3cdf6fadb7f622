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

static const struct unit units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

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
    size_t n = 0;
    size_t m;
    uint64_t whole;
    uint64_t thousandths = 0;
    int64_t unit;
    MU_INVARIANT(max_ms >= 0);
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
    if (part > max_ms || whole > (uint64_t)((max_ms - part) / unit)) {
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

/* Bytes of the character at p, 0 when it is malformed (RFC 3629: no overlong forms, no surrogates,
 * at most U+10FFFF). */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    uint8_t c = p[0];
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (n == 0 || n > left) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    int overlong = (c == 0xe0 && p[1] < 0xa0) || (c == 0xf0 && p[1] < 0x90);
    int surrogate = c == 0xed && p[1] >= 0xa0;
    int too_big = c == 0xf4 && p[1] >= 0x90;
    return overlong || surrogate || too_big ? 0 : n;
}

int text_is_utf8(struct slice s)
{
    size_t i = 0;
    while (i < s.len) {
        if (s.len - i >= 8) {
            uint64_t eight;
            memcpy(&eight, s.p + i, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += 8; /* the common case: plain ASCII */
                continue;
            }
        }
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

/* 0000-01-01 and 9999-12-31, the ends of what RFC 3339 can say. */
static const int64_t TIME_MIN_MS = INT64_C(-62167219200000);
static const int64_t TIME_MAX_MS = INT64_C(253402300799999);

void text_format_time(int64_t wall_ms, char *out)
{
    int64_t ms = wall_ms < TIME_MIN_MS   ? TIME_MIN_MS
                 : wall_ms > TIME_MAX_MS ? TIME_MAX_MS
                                         : wall_ms;
    int part = (int)(ms % 1000);
    part = part < 0 ? part + 1000 : part;
    time_t t = (time_t)((ms - part) / 1000);
    struct tm tm;
    const struct tm *ok = gmtime_r(&t, &tm);
    MU_INVARIANT(ok != NULL);
    snprintf(out, 32, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)(tm.tm_year + 1900) % 10000,
             (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100,
             (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100,
             (unsigned)part % 1000);
}

/* `n` digits at *at, then `after` (0: nothing); moves *at behind them. */
static int take_digits(struct slice s, size_t *at, size_t n, char after, int *out)
{
    uint64_t v = 0;
    if (s.len - *at < n || text_u64(slice_of(s.p + *at, n), 9999, &v) != 0) {
        return MU_E_BAD_REQUEST;
    }
    *at += n;
    *out = (int)v;
    if (after != 0) {
        if (*at == s.len || s.p[*at] != (uint8_t)after) {
            return MU_E_BAD_REQUEST;
        }
        (*at)++;
    }
    return 0;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && is_leap ? 29 : days[month - 1];
}

/* ".5", ".123" or ".123456789"; what is finer than a millisecond is cut off. */
static int take_fraction(struct slice s, size_t *at, int *out_ms)
{
    size_t n = 0;
    int v = 0;
    (*at)++; /* the point */
    for (; *at < s.len && s.p[*at] >= '0' && s.p[*at] <= '9'; (*at)++, n++) {
        v = n < 3 ? v * 10 + (s.p[*at] - '0') : v;
    }
    for (size_t i = n; i < 3; i++) {
        v *= 10;
    }
    *out_ms = v;
    return n >= 1 && n <= 9 ? 0 : MU_E_BAD_REQUEST;
}

int text_parse_time(struct slice s, int64_t *out_wall_ms)
{
    int year;
    int month;
    int day;
    int hour;
    int minute;
    int second;
    int ms = 0;
    size_t at = 0;
    if (take_digits(s, &at, 4, '-', &year) != 0 || take_digits(s, &at, 2, '-', &month) != 0 ||
        take_digits(s, &at, 2, 'T', &day) != 0 || take_digits(s, &at, 2, ':', &hour) != 0 ||
        take_digits(s, &at, 2, ':', &minute) != 0 || take_digits(s, &at, 2, 0, &second) != 0) {
        return MU_E_BAD_REQUEST;
    }
    if (at < s.len && s.p[at] == '.' && take_fraction(s, &at, &ms) != 0) {
        return MU_E_BAD_REQUEST;
    }
    if (s.len - at != 1 || s.p[at] != 'Z') {
        return MU_E_BAD_REQUEST;
    }
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 59) {
        return MU_E_RANGE;
    }
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    *out_wall_ms = (int64_t)timegm(&tm) * 1000 + ms;
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
    size_t n = strlen(a);
    size_t m = strlen(b);
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
