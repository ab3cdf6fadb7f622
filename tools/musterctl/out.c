/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/musterctl/out.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/text.h"

static unsigned terminal_width(FILE *f)
{
    struct winsize w;
    const char *s = getenv("COLUMNS");
    uint64_t n;
    if (s != NULL && text_u64(slice_str(s), 10000, &n) == 0 && n >= 20) {
        return (unsigned)n;
    }
    return ioctl(fileno(f), TIOCGWINSZ, &w) == 0 && w.ws_col >= 20 ? w.ws_col : 80;
}

void ctl_out_init(struct ctl_out *o, FILE *f, enum ctl_format format, int is_colour_wanted)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    *o = (struct ctl_out){.f = f, .format = format};
    o->is_tty = isatty(fileno(f));
    o->width = o->is_tty ? terminal_width(f) : 0;
    o->is_colour = o->is_tty && is_colour_wanted && (no == NULL || no[0] == '\0') && term != NULL &&
                   strcmp(term, "dumb") != 0;
    /* Only for wcwidth(): what a terminal shows wide. */
    setlocale(LC_CTYPE, "C.UTF-8");
}

int ctl_out_flush(struct ctl_out *o)
{
    if (fflush(o->f) == 0 && !ferror(o->f)) {
        return 0;
    }
    if (errno == EPIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    fprintf(stderr, "musterctl: writing the output: %s\n", strerror(errno));
    return -1;
}

/* --- characters --- */

/* One character at s: its length and code; 0 for a byte that is not UTF-8. */
static size_t decode(struct slice s, uint32_t *out)
{
    unsigned c = s.p[0];
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (n == 0 || n > s.len || !text_is_utf8(slice_of(s.p, n))) {
        return 0;
    }
    uint32_t u = n == 1 ? c : c & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        u = u << 6 | (s.p[i] & 0x3fu);
    }
    *out = u;
    return n;
}

/* Controls, and what changes how the text around it is read. */
static int is_dangerous(uint32_t u)
{
    return u < 0x20 || (u >= 0x7f && u < 0xa0) || u == 0x61c || u == 0x200e || u == 0x200f ||
           (u >= 0x2028 && u <= 0x202e) || (u >= 0x2060 && u <= 0x206f) || u == 0xfeff ||
           (u >= 0xfff9 && u <= 0xfffb) || (u >= 0xe0000 && u <= 0xe007f);
}

size_t ctl_width(struct slice text)
{
    size_t width = 0;
    while (text.len != 0) {
        uint32_t u = 0;
        size_t n = decode(text, &u);
        int w = n == 0 ? 1 : u < 0x80 ? 1 : wcwidth((wchar_t)u);
        width += w < 0 ? 1 : (size_t)w;
        n = n == 0 ? 1 : n;
        text = slice_of(text.p + n, text.len - n);
    }
    return width;
}

void ctl_escape(struct buf *out, struct slice text, int keep_lines)
{
    while (text.len != 0) {
        uint32_t u = 0;
        size_t n = decode(text, &u);
        if (n == 0) {
            buf_printf(out, "\\x%02x", text.p[0]);
            n = 1;
        } else if (!is_dangerous(u) || (keep_lines && (u == '\n' || u == '\t'))) {
            buf_append(out, text.p, n);
        } else if (u == '\n' || u == '\t' || u == '\r') {
            buf_printf(out, "\\%c", u == '\n' ? 'n' : u == '\t' ? 't' : 'r');
        } else {
            buf_printf(out, u < 0x100 ? "\\x%02x" : "\\u%04x", u);
        }
        text = slice_of(text.p + n, text.len - n);
    }
}

/* --- values --- */

void ctl_print_value(struct ctl_out *o, struct slice value)
{
    struct buf b;
    if (!o->is_tty) {
        fwrite(value.p, 1, value.len, o->f);
        return;
    }
    buf_init(&b);
    ctl_escape(&b, value, 1);
    if (b.len != 0 && b.p[b.len - 1] != '\n') {
        buf_append_byte(&b, '\n');
    }
    fwrite(b.p, 1, b.len, o->f);
    buf_fini(&b);
}

__attribute__((format(printf, 2, 0))) static void print_line(struct ctl_out *o, const char *fmt,
                                                             va_list ap)
{
    char line[8192];
    struct buf b;
    vsnprintf(line, sizeof(line), fmt, ap);
    buf_init(&b);
    ctl_escape(&b, slice_str(line), 0);
    fprintf(o->f, "%.*s\n", SLICE_FMT(buf_slice(&b)));
    buf_fini(&b);
}

void ctl_note(struct ctl_out *o, const char *fmt, ...)
{
    va_list ap;
    if (!o->is_quiet && o->format == CTL_TABLE) {
        va_start(ap, fmt);
        print_line(o, fmt, ap);
        va_end(ap);
    }
}

void ctl_line(struct ctl_out *o, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    print_line(o, fmt, ap);
    va_end(ap);
}

void ctl_print_json(struct ctl_out *o, struct slice doc)
{
    fwrite(doc.p, 1, doc.len, o->f);
    if (doc.len == 0 || doc.p[doc.len - 1] != '\n') {
        fputc('\n', o->f);
    }
}

const char *ctl_colour(const struct ctl_out *o, enum ctl_colour colour)
{
    static const char *const codes[] = {"",           "\033[31m", "\033[32m", "\033[33m",
                                        "\033[34;1m", "\033[1m",  "\033[2m"};
    return o->is_colour ? codes[colour] : "";
}

const char *ctl_colour_end(const struct ctl_out *o)
{
    return o->is_colour ? "\033[0m" : "";
}

/* --- progress --- */

void ctl_progress(struct ctl_out *o, const char *fmt, ...)
{
    char line[200];
    va_list ap;
    if (o->is_quiet || !isatty(STDERR_FILENO)) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    fprintf(stderr, "\r\033[K%s", line);
    o->is_progress = 1;
}

void ctl_progress_end(struct ctl_out *o)
{
    if (o->is_progress) {
        fputs("\r\033[K", stderr);
        o->is_progress = 0;
    }
}

void ctl_format_bytes(uint64_t n, char out[16])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1024 && u + 1 < N_ELEMENTS(units)) {
        v /= 1024;
        u++;
    }
    snprintf(out, 16, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
}
