/* SPDX-License-Identifier: Apache-2.0 */
#include "server/http/guard.h"

void head_guard_init(struct head_guard *g, int is_trailer)
{
    *g = (struct head_guard){.is_trailer = (uint8_t)(is_trailer != 0)};
}

/* Bytes that no head line may hold: controls other than HTAB, and DEL. */
static int has_control(const uint8_t *p, size_t len)
{
    unsigned bad = 0;
    for (size_t i = 0; i < len; i++) {
        bad |= (unsigned)(p[i] < 0x20 && p[i] != '\t') | (unsigned)(p[i] == 0x7f);
    }
    return bad != 0;
}

static int is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static int check_version(struct head_guard *g, struct slice v, struct err *e)
{
    if (v.len != 8 || memcmp(v.p, "HTTP/", 5) != 0 || !is_digit(v.p[5]) || v.p[6] != '.' ||
        !is_digit(v.p[7])) {
        return err_set(e, MU_E_BAD_REQUEST, "the request line does not end with an HTTP version");
    }
    if (v.p[5] != '1' || v.p[7] > '1') {
        return err_set(e, MU_E_VERSION_NOT_SUPPORTED, "this port speaks HTTP/1.0 and HTTP/1.1");
    }
    g->minor = (uint8_t)(v.p[7] - '0');
    return 0;
}

static int check_target(struct slice t, struct err *e)
{
    if (t.len == 0 || t.p[0] != '/') {
        return err_set(e, MU_E_BAD_REQUEST,
                       "the request target must be a path that starts with \"/\"");
    }
    for (size_t i = 0; i < t.len; i++) {
        if (t.p[i] <= 0x20 || t.p[i] >= 0x7f || t.p[i] == '#') {
            return err_set(e, MU_E_BAD_REQUEST,
                           "the request target holds a byte that must be percent-encoded");
        }
    }
    return 0;
}

/* METHOD SP TARGET SP VERSION, with exactly these two spaces. */
static int check_request_line(struct head_guard *g, const uint8_t *p, size_t len, struct err *e)
{
    const uint8_t *sp1 = memchr(p, ' ', len);
    const uint8_t *sp2 = sp1 != NULL ? memchr(sp1 + 1, ' ', len - (size_t)(sp1 + 1 - p)) : NULL;
    if (sp2 == NULL || memchr(sp2 + 1, ' ', len - (size_t)(sp2 + 1 - p)) != NULL ||
        memchr(p, '\t', len) != NULL) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "the request line does not have three parts with one space between them");
    }
    struct slice target = slice_of(sp1 + 1, (size_t)(sp2 - sp1 - 1));
    g->target = g->line + (uint32_t)(target.p - p);
    g->target_len = (uint32_t)target.len;
    int code = check_version(g, slice_of(sp2 + 1, len - (size_t)(sp2 + 1 - p)), e);
    return code != 0 ? code : check_target(target, e);
}

/* One complete line without its CRLF. */
static int check_line(struct head_guard *g, const uint8_t *p, size_t len, struct err *e)
{
    if (has_control(p, len)) {
        return err_set(e, MU_E_BAD_REQUEST, "control byte in the request head");
    }
    if (g->n_lines == 0 && !g->is_trailer) {
        return check_request_line(g, p, len, e);
    }
    if (p[0] == ' ' || p[0] == '\t') {
        return err_set(e, MU_E_BAD_REQUEST, "folded header line");
    }
    if (p[0] == ':') {
        return err_set(e, MU_E_BAD_REQUEST, "empty header name");
    }
    unsigned n_fields = g->is_trailer ? g->n_lines + 1u : g->n_lines;
    if (n_fields > HEAD_FIELDS_MAX) {
        return err_set(e, MU_E_HEADERS_TOO_LARGE, "more than %d header lines", HEAD_FIELDS_MAX);
    }
    return 0;
}

/* The first limit on the way, so that the answer does not depend on how the bytes were cut. */
static int check_size(const struct head_guard *g, size_t stop, size_t max, struct err *e)
{
    size_t line_end = (size_t)g->line + HEAD_LINE_MAX + 2;
    if (g->n_lines == 0 && !g->is_trailer && line_end < max) {
        return stop > line_end
                   ? err_set(e, MU_E_URI_TOO_LONG, "request line over %d bytes", HEAD_LINE_MAX)
                   : 0;
    }
    return stop > max ? err_set(e, MU_E_HEADERS_TOO_LARGE, "header section over %zu bytes", max)
                      : 0;
}

/* What cannot start a request is refused at its first byte: nobody waits for the line end of a TLS
 * or binary hello. */
static int check_first_byte(const struct head_guard *g, struct slice in, struct err *e)
{
    if (g->n_lines == 0 && !g->is_trailer && g->line < in.len) {
        uint8_t c = in.p[g->line];
        if (!(c >= 'A' && c <= 'Z') && c != '\r') {
            return err_set(e, MU_E_BAD_REQUEST,
                           c == 0x16 ? "this port speaks plain HTTP, not TLS"
                                     : "this is not an HTTP request");
        }
    }
    return 0;
}

/* A complete line of in[g->line .. stop). Returns HEAD_MORE to go on with the next, 0 at the end of
 * the head. */
static int take_line(struct head_guard *g, struct slice in, size_t stop, struct err *e)
{
    const uint8_t *p = in.p + g->line;
    size_t len = stop - g->line;
    if (len < 2 || p[len - 2] != '\r') {
        return err_set(e, MU_E_BAD_REQUEST, "line end without carriage return");
    }
    if (len == 2) {
        if (g->n_lines > 0 || g->is_trailer) {
            return 0;
        }
        if (g->start != 0) {
            return err_set(e, MU_E_BAD_REQUEST, "empty lines before the request");
        }
        g->start = (uint32_t)stop; /* RFC 9112, 2.2: one empty line before a request is forgiven */
    } else {
        int code = check_line(g, p, len - 2, e);
        if (code != 0) {
            return code;
        }
        g->n_lines++;
    }
    g->line = (uint32_t)stop;
    return HEAD_MORE;
}

int head_guard_scan(struct head_guard *g, struct slice in, size_t max, size_t *out_end,
                    struct err *e)
{
    for (;;) {
        int code = check_first_byte(g, in, e);
        if (code != 0) {
            return code;
        }
        const uint8_t *nl =
            g->scanned < in.len ? memchr(in.p + g->scanned, '\n', in.len - g->scanned) : NULL;
        size_t stop = nl != NULL ? (size_t)(nl - in.p) + 1 : in.len;
        code = check_size(g, stop, max, e);
        if (code != 0) {
            return code;
        }
        g->scanned = (uint32_t)stop;
        if (nl == NULL) {
            return HEAD_MORE;
        }
        code = take_line(g, in, stop, e);
        if (code != HEAD_MORE) {
            *out_end = stop;
            return code;
        }
    }
}
