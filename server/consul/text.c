/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/text.h"

#include <string.h>

#include "base/err.h"

/* --- durations --- */

static const struct {
    const char *name;
    uint64_t ns;
} units[] = {
    {"ns", 1},          {"us", 1000},        {"µs", 1000},          {"ms", 1000000},
    {"s", 1000000000U}, {"m", 60000000000U}, {"h", 3600000000000U},
};

/* The unit that stands at p; 0 when there is none. */
static uint64_t take_unit(struct slice *s)
{
    size_t n = 0;
    while (n < s->len && s->p[n] != '.' && (s->p[n] < '0' || s->p[n] > '9')) {
        n++;
    }
    for (size_t i = 0; i < N_ELEMENTS(units); i++) {
        if (strlen(units[i].name) == n && memcmp(units[i].name, s->p, n) == 0) {
            *s = slice_of(s->p + n, s->len - n);
            return units[i].ns;
        }
    }
    return 0;
}

/* Digits as a number of at most 2^53, so that nothing below overflows in silence. */
static int take_digits(struct slice *s, uint64_t *out_v, uint64_t *out_scale)
{
    size_t n = 0;
    *out_v = 0;
    *out_scale = 1;
    for (; n < s->len && s->p[n] >= '0' && s->p[n] <= '9'; n++) {
        if (*out_v > (1ULL << 53) / 10 || *out_scale > (1ULL << 53) / 10) {
            return -1;
        }
        *out_v = *out_v * 10 + (uint64_t)(s->p[n] - '0');
        *out_scale *= 10;
    }
    *s = slice_of(s->p + n, s->len - n);
    return (int)n;
}

/* One "1.5h". */
static int take_part(struct slice *s, double *out_ns)
{
    uint64_t whole, part = 0, scale, n_part = 1;
    int n = take_digits(s, &whole, &scale), m = 0;
    if (n >= 0 && s->len > 0 && s->p[0] == '.') {
        *s = slice_of(s->p + 1, s->len - 1);
        m = take_digits(s, &part, &n_part);
    }
    if (n < 0 || m < 0 || n + m == 0) {
        return MU_E_BAD_REQUEST;
    }
    uint64_t unit = take_unit(s);
    *out_ns = ((double)whole + (double)part / (double)n_part) * (double)unit;
    return unit != 0 ? 0 : MU_E_BAD_REQUEST;
}

int consul_text_bool(struct slice s, int *out)
{
    static const char *const words[] = {"1", "t", "T", "true",  "TRUE",  "True",
                                        "0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < N_ELEMENTS(words); i++) {
        if (slice_eq(s, slice_str(words[i]))) {
            *out = i < N_ELEMENTS(words) / 2;
            return 0;
        }
    }
    return MU_E_BAD_REQUEST;
}

int consul_text_duration(struct slice s, uint64_t *out)
{
    double sum = 0, part = 0;
    if (slice_eq(s, SLICE_LIT("0"))) {
        *out = 0;
        return 0;
    }
    if (s.len == 0) {
        return MU_E_BAD_REQUEST;
    }
    while (s.len > 0) {
        if (take_part(&s, &part) != 0 || (sum += part) > 9.2e18) {
            return MU_E_BAD_REQUEST;
        }
    }
    *out = (uint64_t)(sum + 0.5);
    return 0;
}

/* v / 10^places without zeros at its end. */
static void put_fraction(struct buf *out, uint64_t v, int places, const char *unit)
{
    uint64_t scale = 1;
    for (int i = 0; i < places; i++) {
        scale *= 10;
    }
    buf_append_u64(out, v / scale);
    uint64_t rest = v % scale;
    if (rest != 0) {
        while (rest % 10 == 0) {
            rest /= 10;
            places--;
        }
        buf_printf(out, ".%0*llu", places, (unsigned long long)rest);
    }
    buf_append_str(out, unit);
}

void consul_text_put_duration(struct buf *out, uint64_t ns)
{
    const uint64_t second = 1000000000, minute = 60 * second, hour = 60 * minute;
    if (ns == 0) {
        buf_append_str(out, "0s");
    } else if (ns < 1000) {
        put_fraction(out, ns, 0, "ns");
    } else if (ns < 1000000) {
        put_fraction(out, ns, 3, "\xc2\xb5s");
    } else if (ns < second) {
        put_fraction(out, ns, 6, "ms");
    } else {
        if (ns >= hour) {
            buf_printf(out, "%lluh", (unsigned long long)(ns / hour));
        }
        if (ns >= minute) {
            buf_printf(out, "%llum", (unsigned long long)(ns % hour / minute));
        }
        put_fraction(out, ns % minute, 9, "s");
    }
}

/* --- paths --- */

static int hex_digit(uint8_t c)
{
    uint8_t low = c | 0x20;
    return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

int consul_text_decode(struct slice s, uint8_t *mem, struct slice *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        mem[n] = s.p[i];
        if (s.p[i] == '%') {
            int hi = i + 2 < s.len ? hex_digit(s.p[i + 1]) : -1;
            int lo = i + 2 < s.len ? hex_digit(s.p[i + 2]) : -1;
            if (hi < 0 || lo < 0) {
                return MU_E_BAD_REQUEST;
            }
            mem[n] = (uint8_t)(hi * 16 + lo);
            i += 2;
        }
        n++;
    }
    *out = slice_of(mem, n);
    return 0;
}

/* One step up: the last segment goes with its slash. */
static void drop_segment(struct buf *path)
{
    while (path->len > 0 && path->p[--path->len] != '/') {
    }
}

int consul_text_clean(struct slice path, struct buf *out)
{
    int is_clean = 1;
    for (size_t at = 0; at < path.len;) {
        const uint8_t *slash = memchr(path.p + at + 1, '/', path.len - at - 1);
        size_t end = slash != NULL ? (size_t)(slash - path.p) : path.len;
        struct slice seg = slice_of(path.p + at, end - at); /* with the slash before it */
        int is_last = end == path.len, is_up = slice_eq(seg, SLICE_LIT("/.."));
        if (is_up || slice_eq(seg, SLICE_LIT("/."))) {
            is_clean = 0;
            if (is_up) {
                drop_segment(out);
            }
            buf_append(out, "/", is_last ? 1 : 0);
        } else if (seg.len == 1 && !is_last) {
            is_clean = 0;
        } else {
            buf_append_slice(out, seg);
        }
        at = end;
    }
    return is_clean;
}

/* --- base64 (RFC 4648 section 4) --- */

static int base64_digit(uint8_t c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != 0 ? memchr(digits, c, sizeof(digits) - 1) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

int consul_text_base64(struct slice s, uint8_t *mem, struct slice *out, size_t *out_at)
{
    size_t n = 0, pad = 0;
    uint32_t group = 0;
    for (size_t i = 0; i < s.len; i++) {
        int d = s.p[i] == '=' ? 0 : base64_digit(s.p[i]);
        int is_pad = s.p[i] == '=';
        pad += (size_t)is_pad;
        /* Padding fills the last group, of which two digits at least are there. */
        if (d < 0 || (pad > 0 && !is_pad) || (is_pad && (i % 4 < 2 || i / 4 != (s.len - 1) / 4))) {
            *out_at = i;
            return MU_E_BAD_REQUEST;
        }
        group = group << 6 | (uint32_t)d;
        if (i % 4 == 3) {
            mem[n++] = (uint8_t)(group >> 16);
            mem[n++] = (uint8_t)(group >> 8);
            mem[n++] = (uint8_t)group;
        }
    }
    *out_at = s.len;
    *out = slice_of(mem, n - (pad < n ? pad : n));
    return s.len % 4 == 0 ? 0 : MU_E_BAD_REQUEST;
}

/* --- JSON --- */

enum { INDENT = 4 };

static void new_line(struct buf *out, unsigned depth)
{
    buf_append_byte(out, '\n');
    for (unsigned i = 0; i < depth * INDENT; i++) {
        buf_append_byte(out, ' ');
    }
}

void consul_text_indent(struct buf *out, struct slice s)
{
    unsigned depth = 0;
    int in_text = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i], next = i + 1 < s.len ? s.p[i + 1] : 0;
        int is_close = !in_text && (c == '}' || c == ']');
        int is_open = !in_text && (c == '{' || c == '[');
        in_text ^= c == '"';
        depth -= is_close && depth > 0;
        if (is_close && i > 0 && s.p[i - 1] != '{' && s.p[i - 1] != '[') {
            new_line(out, depth);
        }
        buf_append_byte(out, c);
        if (in_text && c == '\\') {
            buf_append_byte(out, next);
            i++;
        }
        depth += (unsigned)is_open;
        if ((is_open && next != '}' && next != ']') || (!in_text && c == ',')) {
            new_line(out, depth);
        } else if (!in_text && c == ':') {
            buf_append_byte(out, ' ');
        }
    }
    buf_append_byte(out, '\n');
}
