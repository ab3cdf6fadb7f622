/* SPDX-License-Identifier: Apache-2.0 */
#include "server/access/hcl.h"

#include <jansson.h>

#include "base/buf.h"
#include "base/json_read.h"

enum { DEPTH_MAX = 16 };

struct parser {
    struct slice text;
    size_t at;
    int line, depth;
    struct buf word; /* the string or identifier read last */
    struct err *err;
};

static int fail(struct parser *p, const char *what)
{
    return p->err->code != 0 ? p->err->code
                             : err_set(p->err, MU_E_BAD_REQUEST, "line %d: %s", p->line, what);
}

/* --- characters --- */

static int peek(const struct parser *p)
{
    return p->at < p->text.len ? p->text.p[p->at] : -1;
}

static int peek_2(const struct parser *p)
{
    return p->at + 1 < p->text.len ? p->text.p[p->at + 1] : -1;
}

static int next(struct parser *p)
{
    int c = peek(p);
    p->line += c == '\n';
    p->at += c >= 0;
    return c;
}

static void skip_line(struct parser *p)
{
    while (peek(p) >= 0 && peek(p) != '\n') {
        (void)next(p);
    }
}

static int skip_block_comment(struct parser *p)
{
    p->at += 2;
    while (peek(p) >= 0) {
        if (peek(p) == '*' && peek_2(p) == '/') {
            p->at += 2;
            return 0;
        }
        (void)next(p);
    }
    return fail(p, "a comment does not end");
}

/* Spaces and comments. */
static int skip(struct parser *p)
{
    for (;;) {
        int c = peek(p);
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            (void)next(p);
        } else if (c == '#' || (c == '/' && peek_2(p) == '/')) {
            skip_line(p);
        } else if (c == '/' && peek_2(p) == '*') {
            if (skip_block_comment(p) != 0) {
                return -1;
            }
        } else {
            return 0;
        }
    }
}

/* --- words --- */

static int is_ident(int c, int is_first)
{
    int is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
    int is_digit = c >= '0' && c <= '9';
    return is_letter || (!is_first && (is_digit || c == '-' || c == '.'));
}

static void read_ident(struct parser *p)
{
    buf_clear(&p->word);
    while (is_ident(peek(p), p->word.len == 0)) {
        buf_append_byte(&p->word, (uint8_t)next(p));
    }
}

static int hex_digit(int c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static void put_utf8(struct buf *b, uint32_t c)
{
    if (c < 0x80) {
        buf_append_byte(b, (uint8_t)c);
        return;
    }
    if (c >= 0x10000) {
        buf_append_byte(b, (uint8_t)(0xf0 | c >> 18));
        buf_append_byte(b, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
    } else if (c >= 0x800) {
        buf_append_byte(b, (uint8_t)(0xe0 | c >> 12));
    }
    buf_append_byte(b, (uint8_t)(c >= 0x800 ? 0x80 | (c >> 6 & 0x3f) : 0xc0 | c >> 6));
    buf_append_byte(b, (uint8_t)(0x80 | (c & 0x3f)));
}

/* \uXXXX and \UXXXXXXXX */
static int read_code(struct parser *p, int n)
{
    uint32_t v = 0;
    for (int i = 0; i < n; i++) {
        int d = hex_digit(next(p));
        if (d < 0 || v > 0x10ffff) {
            return fail(p, "an escape needs hexadecimal digits");
        }
        v = v << 4 | (uint32_t)d;
    }
    if (v == 0 || v > 0x10ffff || (v >= 0xd800 && v < 0xe000)) {
        return fail(p, "an escape names no character");
    }
    put_utf8(&p->word, v);
    return 0;
}

static int read_escape(struct parser *p)
{
    static const char from[] = "ntr\"\\abfv", to[] = "\n\t\r\"\\\a\b\f\v";
    int c = next(p);
    if (c == 'u' || c == 'U') {
        return read_code(p, c == 'u' ? 4 : 8);
    }
    const char *at = c > 0 ? strchr(from, c) : NULL;
    if (at == NULL) {
        return fail(p, "an unknown escape; \\\\ is a backslash");
    }
    buf_append_byte(&p->word, (uint8_t)to[at - from]);
    return 0;
}

static int read_string(struct parser *p)
{
    buf_clear(&p->word);
    (void)next(p);
    for (;;) {
        int c = next(p);
        if (c == '"') {
            return 0;
        }
        if (c < 0 || c == '\n') {
            return fail(p, "a string does not end on its line");
        }
        if (c != '\\') {
            buf_append_byte(&p->word, (uint8_t)c);
        } else if (read_escape(p) != 0) {
            return -1;
        }
    }
}

/* The line at `at` without its indentation, and 1 when it is the mark alone. */
static int is_mark(const struct parser *p, struct slice mark, int is_indented)
{
    size_t i = p->at;
    while (is_indented && i < p->text.len && (p->text.p[i] == ' ' || p->text.p[i] == '\t')) {
        i++;
    }
    struct slice rest = slice_of(p->text.p + i, p->text.len - i);
    return slice_has_prefix(rest, mark) &&
           (rest.len == mark.len || rest.p[mark.len] == '\n' || rest.p[mark.len] == '\r');
}

/* <<MARK or <<-MARK, then lines, then the mark on a line of its own. */
static int read_heredoc(struct parser *p)
{
    p->at += 2;
    int is_indented = peek(p) == '-';
    p->at += (size_t)is_indented;
    size_t from = p->at;
    while (is_ident(peek(p), 0)) {
        (void)next(p);
    }
    struct slice mark = slice_of(p->text.p + from, p->at - from);
    if (peek(p) == '\r') {
        (void)next(p);
    }
    if (mark.len == 0 || next(p) != '\n') {
        return fail(p, "<< wants a word and the end of the line");
    }
    buf_clear(&p->word);
    while (!is_mark(p, mark, is_indented)) {
        int c;
        do {
            if ((c = next(p)) < 0) {
                return fail(p, "a heredoc does not end");
            }
            buf_append_byte(&p->word, (uint8_t)c);
        } while (c != '\n');
    }
    while (peek(p) == ' ' || peek(p) == '\t') {
        (void)next(p);
    }
    p->at += mark.len;
    return 0;
}

/* --- values --- */

static json_t *read_value(struct parser *p);

static json_t *word_text(struct parser *p)
{
    json_t *v = json_stringn((const char *)p->word.p, p->word.len);
    if (v == NULL) {
        (void)fail(p, "a string is not UTF-8");
    }
    return v;
}

static json_t *read_number(struct parser *p)
{
    buf_clear(&p->word);
    while (is_ident(peek(p), 0) || peek(p) == '+' || peek(p) == '-') {
        buf_append_byte(&p->word, (uint8_t)next(p));
    }
    return word_text(p);
}

static json_t *read_list(struct parser *p)
{
    json_t *list = json_array();
    (void)next(p);
    for (;;) {
        if (skip(p) != 0) {
            break;
        }
        if (peek(p) == ']') {
            (void)next(p);
            return list;
        }
        json_t *v = read_value(p);
        if (v == NULL) {
            break;
        }
        json_array_append_new(list, v);
        if (skip(p) != 0) {
            break;
        }
        if (peek(p) == ',') {
            (void)next(p);
        } else if (peek(p) != ']') {
            (void)fail(p, "a list goes on with a comma or ends with ]");
            break;
        }
    }
    json_decref(list);
    return NULL;
}

/* What came under that name before, and this. Takes v. */
static void add(json_t *obj, const char *name, size_t len, json_t *v)
{
    json_t *old = json_object_getn(obj, name, len);
    if (old == NULL) {
        json_object_setn_new(obj, name, len, v);
    } else if (json_is_array(old)) {
        json_array_append_new(old, v);
    } else {
        json_t *both = json_array();
        json_array_append(both, old);
        json_array_append_new(both, v);
        json_object_setn_new(obj, name, len, both);
    }
}

static int read_members(struct parser *p, json_t *obj, int end);

/* What stands behind a name: = value, { block }, or a label and then a block. */
static json_t *read_rest(struct parser *p)
{
    if (skip(p) != 0) {
        return NULL;
    }
    if (peek(p) == '=') {
        (void)next(p);
        return skip(p) != 0 ? NULL : read_value(p);
    }
    if (peek(p) == '{') {
        return read_value(p);
    }
    if (peek(p) != '"' && !is_ident(peek(p), 1)) {
        (void)fail(p, "a name is followed by =, { or a label");
        return NULL;
    }
    if (++p->depth > DEPTH_MAX) {
        (void)fail(p, "nested too deep");
        return NULL;
    }
    json_t *inner = json_object();
    int rc = 0;
    if (peek(p) == '"') {
        rc = read_string(p);
    } else {
        read_ident(p);
    }
    json_t *label = rc == 0 ? word_text(p) : NULL;
    json_t *v = label != NULL ? read_rest(p) : NULL;
    p->depth--;
    if (v == NULL) {
        json_decref(label);
        json_decref(inner);
        return NULL;
    }
    add(inner, json_string_value(label), json_string_length(label), v);
    json_decref(label);
    return inner;
}

static int read_members(struct parser *p, json_t *obj, int end)
{
    for (;;) {
        if (skip(p) != 0) {
            return -1;
        }
        int c = peek(p);
        if (c == end) {
            (void)next(p);
            return 0;
        }
        if (c == ',' && json_object_size(obj) > 0) {
            (void)next(p);
            continue;
        }
        if (c == '"') {
            if (read_string(p) != 0) {
                return -1;
            }
        } else if (is_ident(c, 1)) {
            read_ident(p);
        } else {
            return fail(p, c < 0 ? "a block does not end" : "a name is expected");
        }
        json_t *name = word_text(p);
        json_t *v = name != NULL ? read_rest(p) : NULL;
        if (v != NULL) {
            add(obj, json_string_value(name), json_string_length(name), v);
        }
        json_decref(name);
        if (v == NULL) {
            return -1;
        }
    }
}

static json_t *read_block(struct parser *p)
{
    json_t *obj = json_object();
    (void)next(p);
    if (read_members(p, obj, '}') != 0) {
        json_decref(obj);
        return NULL;
    }
    return obj;
}

static json_t *read_plain(struct parser *p)
{
    int c = peek(p);
    if (c == '"') {
        return read_string(p) == 0 ? word_text(p) : NULL;
    }
    if (c == '<' && peek_2(p) == '<') {
        return read_heredoc(p) == 0 ? word_text(p) : NULL;
    }
    if ((c >= '0' && c <= '9') || c == '-') {
        return read_number(p);
    }
    if (is_ident(c, 1)) {
        read_ident(p);
        if (slice_eq(buf_slice(&p->word), SLICE_LIT("true"))) {
            return json_true();
        }
        if (slice_eq(buf_slice(&p->word), SLICE_LIT("false"))) {
            return json_false();
        }
    }
    (void)fail(p, "a value is expected: a string in quotes, a block, a list");
    return NULL;
}

static json_t *read_value(struct parser *p)
{
    int c = peek(p);
    if (c != '{' && c != '[') {
        return read_plain(p);
    }
    if (++p->depth > DEPTH_MAX) {
        (void)fail(p, "nested too deep");
        return NULL;
    }
    json_t *v = c == '{' ? read_block(p) : read_list(p);
    p->depth--;
    return v;
}

static int is_json(struct slice text)
{
    size_t i = 0;
    while (i < text.len && strchr(" \t\r\n", text.p[i]) != NULL && text.p[i] != 0) {
        i++;
    }
    return i < text.len && text.p[i] == '{';
}

int hcl_parse(struct slice text, struct json_t **out, struct err *e)
{
    struct parser p = {.text = text, .line = 1, .err = e};
    e->code = 0;
    /* Also sees to where jansson's memory comes from. */
    int rc = jr_parse(is_json(text) ? text : SLICE_LIT("{}"), out, e);
    if (rc != 0 || is_json(text)) {
        return rc;
    }
    buf_init(&p.word);
    rc = read_members(&p, *out, -1);
    buf_fini(&p.word);
    if (rc != 0) {
        jr_free(*out);
        *out = NULL;
        return e->code;
    }
    return 0;
}
