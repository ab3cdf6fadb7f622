/* SPDX-License-Identifier: Apache-2.0 */
/* The text is read twice by the same functions: first without room, which checks it and counts its
 * values, then with as much as was counted. Values lie in the order in which they begin, so that an
 * object's or array's own come right behind it; strings, decoded, need no more than their text. */
#include "client/json.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "client/mem.h"

enum type { IS_NULL, IS_FALSE, IS_TRUE, IS_INT, IS_REAL, IS_STRING, IS_ARRAY, IS_OBJECT };

struct cjson {
    const char *name;
    union {
        const char *text;
        int64_t i;
        double real;
        const struct cjson *first;
    } u;
    uint32_t n;    /* bytes of a string, values of an array or object */
    uint32_t type; /* IS_* */
    const struct cjson *next;
};

struct cjson_doc {
    char *text; /* behind the values */
    struct cjson values[];
};

struct reader {
    const char *p;
    const char *end;
    struct cjson *values; /* NULL: only count */
    char *text;
    size_t n_values;
};

static bool read_value(struct reader *r, unsigned depth, struct cjson *out);

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r')) {
        r->p++;
    }
}

/* Take this byte, if it is the next one. */
static bool take(struct reader *r, char c)
{
    bool is_it = r->p < r->end && *r->p == c;
    r->p += is_it;
    return is_it;
}

static bool take_word(struct reader *r, const char *word)
{
    size_t len = strlen(word);
    bool is_it = (size_t)(r->end - r->p) >= len && memcmp(r->p, word, len) == 0;
    r->p += is_it ? len : 0;
    return is_it;
}

/* --- strings --- */

static void put(struct reader *r, uint32_t byte)
{
    if (r->text != NULL) {
        *r->text++ = (char)byte;
    }
}

static void put_utf8(struct reader *r, uint32_t c)
{
    if (c < 0x80) {
        put(r, c);
        return;
    }
    if (c < 0x800) {
        put(r, 0xc0 | c >> 6);
    } else if (c < 0x10000) {
        put(r, 0xe0 | c >> 12);
        put(r, 0x80 | (c >> 6 & 0x3f));
    } else {
        put(r, 0xf0 | c >> 18);
        put(r, 0x80 | (c >> 12 & 0x3f));
        put(r, 0x80 | (c >> 6 & 0x3f));
    }
    put(r, 0x80 | (c & 0x3f));
}

static bool read_hex4(struct reader *r, uint32_t *out)
{
    uint64_t v = 0;
    if (r->end - r->p < 4 || text_hex64(slice_of(r->p, 4), &v) != 0) {
        return false;
    }
    r->p += 4;
    *out = (uint32_t)v;
    return true;
}

/* Behind "\u". Two halves make one character; a half alone is none. */
static bool read_unicode(struct reader *r)
{
    uint32_t c = 0, low = 0;
    if (!read_hex4(r, &c) || (c >= 0xdc00 && c <= 0xdfff)) {
        return false;
    }
    if (c >= 0xd800 && c <= 0xdbff) {
        if (!take_word(r, "\\u") || !read_hex4(r, &low) || low < 0xdc00 || low > 0xdfff) {
            return false;
        }
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(r, c);
    return true;
}

static bool read_escape(struct reader *r)
{
    static const char names[] = "\"\\/bfnrt";
    static const char bytes[] = "\"\\/\b\f\n\r\t";
    if (take(r, 'u')) {
        return read_unicode(r);
    }
    const char *at = r->p < r->end ? memchr(names, *r->p, sizeof(names) - 1) : NULL;
    if (at == NULL) {
        return false;
    }
    r->p++;
    put(r, (uint8_t)bytes[at - names]);
    return true;
}

static bool read_string(struct reader *r, const char **out, uint32_t *out_len)
{
    const char *begin = r->text;
    if (!take(r, '"')) {
        return false;
    }
    while (r->p < r->end && *r->p != '"') {
        char c = *r->p++;
        if ((uint8_t)c < 0x20 || (c == '\\' && !read_escape(r))) {
            return false;
        }
        if (c != '\\') {
            put(r, (uint8_t)c);
        }
    }
    *out = begin;
    *out_len = begin != NULL ? (uint32_t)(r->text - begin) : 0;
    put(r, 0);
    return take(r, '"');
}

/* --- numbers --- */

static bool is_digit(const struct reader *r)
{
    return r->p < r->end && *r->p >= '0' && *r->p <= '9';
}

/* Appends digits to *io_v as far as they matter; returns how many there were, and how many of them
 * were left out. */
static int64_t read_digits(struct reader *r, double *io_v, int64_t *out_left)
{
    int64_t n = 0, left = 0;
    for (; is_digit(r); n++, r->p++) {
        if (*io_v < 1e17) {
            *io_v = *io_v * 10 + (*r->p - '0');
        } else {
            left++;
        }
    }
    *out_left = left;
    return n;
}

static bool read_exponent(struct reader *r, int64_t *io_e)
{
    double v = 0;
    int64_t left = 0;
    bool is_less = take(r, '-');
    if (!is_less) {
        (void)take(r, '+');
    }
    if (read_digits(r, &v, &left) == 0) {
        return false;
    }
    int64_t e = v < 1e15 ? (int64_t)v : (int64_t)1e15;
    *io_e += is_less ? -e : e;
    return true;
}

static void set_int(struct reader *r, const char *begin, struct cjson *out)
{
    uint64_t v = 0;
    bool is_less = *begin == '-';
    begin += is_less;
    uint64_t max = (uint64_t)INT64_MAX + is_less;
    if (text_u64(slice_of(begin, (size_t)(r->p - begin)), max, &v) == 0) {
        out->type = IS_INT;
        out->u.i = (int64_t)(is_less ? 0 - v : v);
    }
}

static bool read_number(struct reader *r, struct cjson *out)
{
    const char *begin = r->p;
    double v = 0;
    int64_t e = 0, left = 0;
    bool is_less = take(r, '-');
    bool is_zero = r->p < r->end && *r->p == '0';
    int64_t n = read_digits(r, &v, &e);
    if (n == 0 || (is_zero && n > 1)) {
        return false;
    }
    bool is_int = true;
    if (take(r, '.')) {
        is_int = false;
        n = read_digits(r, &v, &left);
        e -= n - left;
        if (n == 0) {
            return false;
        }
    }
    if (take(r, 'e') || take(r, 'E')) {
        is_int = false;
        if (!read_exponent(r, &e)) {
            return false;
        }
    }
    v = v != 0 ? v * pow(10, (double)e) : 0;
    out->type = IS_REAL;
    out->u.real = is_less ? -v : v;
    if (is_int) {
        set_int(r, begin, out);
    }
    return true;
}

/* --- arrays and objects --- */

static bool read_name(struct reader *r, const char **out)
{
    uint32_t len = 0;
    if (!read_string(r, out, &len) || (*out != NULL && memchr(*out, '\0', len) != NULL)) {
        return false;
    }
    skip_space(r);
    return take(r, ':');
}

/* Where the next value goes; `scratch` while they are only counted. */
static struct cjson *value_new(struct reader *r, struct cjson *scratch)
{
    struct cjson *v = r->values != NULL ? &r->values[r->n_values] : scratch;
    r->n_values++;
    *v = (struct cjson){.name = ""};
    return v;
}

static bool read_items(struct reader *r, unsigned depth, struct cjson *out, char close)
{
    struct cjson scratch, *last = NULL;
    bool has_names = close == '}';
    skip_space(r);
    if (take(r, close)) {
        return true;
    }
    do {
        struct cjson *v = value_new(r, &scratch);
        skip_space(r);
        if (r->n_values > CJSON_VALUES_MAX || (has_names && !read_name(r, &v->name)) ||
            !read_value(r, depth, v)) {
            return false;
        }
        out->n++;
        if (r->values != NULL) {
            *(last != NULL ? &last->next : &out->u.first) = v;
            last = v;
        }
        skip_space(r);
    } while (take(r, ','));
    return take(r, close);
}

static bool read_value(struct reader *r, unsigned depth, struct cjson *out)
{
    skip_space(r);
    if (depth == CJSON_DEPTH_MAX || r->p == r->end) {
        return false;
    }
    switch (*r->p) {
    case '{':
        r->p++;
        out->type = IS_OBJECT;
        return read_items(r, depth + 1, out, '}');
    case '[':
        r->p++;
        out->type = IS_ARRAY;
        return read_items(r, depth + 1, out, ']');
    case '"':
        out->type = IS_STRING;
        return read_string(r, &out->u.text, &out->n);
    case 't':
        out->type = IS_TRUE;
        return take_word(r, "true");
    case 'f':
        out->type = IS_FALSE;
        return take_word(r, "false");
    case 'n':
        out->type = IS_NULL;
        return take_word(r, "null");
    default:
        return read_number(r, out);
    }
}

static bool read_all(struct reader *r)
{
    struct cjson scratch;
    bool ok = read_value(r, 0, value_new(r, &scratch));
    skip_space(r);
    return ok && r->p == r->end;
}

muster_status cjson_parse(const char *p, size_t len, struct cjson_doc **out)
{
    struct reader r = {.p = p, .end = p + len};
    if (len == 0 || len > UINT32_MAX / 2 || !text_is_utf8(slice_of(p, len)) || !read_all(&r)) {
        return MUSTER_INVALID;
    }
    size_t room = sizeof(struct cjson_doc) + r.n_values * sizeof(struct cjson);
    struct cjson_doc *d = cmem_alloc(room + len);
    if (d == NULL) {
        return MUSTER_NO_MEMORY;
    }
    d->text = (char *)d + room;
    r = (struct reader){.p = p, .end = p + len, .values = d->values, .text = d->text};
    if (!read_all(&r)) { /* a name with a NUL in it is seen only now */
        cmem_free(d);
        return MUSTER_INVALID;
    }
    *out = d;
    return MUSTER_OK;
}

void cjson_free(struct cjson_doc *d)
{
    cmem_free(d);
}

/* --- looking --- */

static bool is(const struct cjson *v, enum type type)
{
    return v != NULL && v->type == type;
}

const struct cjson *cjson_root(const struct cjson_doc *d)
{
    return d != NULL ? &d->values[0] : NULL;
}

const struct cjson *cjson_get(const struct cjson *o, const char *name)
{
    const struct cjson *v = is(o, IS_OBJECT) ? o->u.first : NULL;
    while (v != NULL && strcmp(v->name, name) != 0) {
        v = v->next;
    }
    return v;
}

size_t cjson_count(const struct cjson *v)
{
    return is(v, IS_ARRAY) || is(v, IS_OBJECT) ? v->n : 0;
}

const struct cjson *cjson_first(const struct cjson *v)
{
    return is(v, IS_ARRAY) || is(v, IS_OBJECT) ? v->u.first : NULL;
}

const struct cjson *cjson_next(const struct cjson *item)
{
    return item != NULL ? item->next : NULL;
}

const char *cjson_name(const struct cjson *member)
{
    return member != NULL ? member->name : "";
}

bool cjson_is_array(const struct cjson *v)
{
    return is(v, IS_ARRAY);
}

bool cjson_is_true(const struct cjson *v)
{
    return is(v, IS_TRUE);
}

bool cjson_is_false(const struct cjson *v)
{
    return is(v, IS_FALSE);
}

const char *cjson_bytes(const struct cjson *v, size_t *out_len)
{
    *out_len = is(v, IS_STRING) ? v->n : 0;
    return is(v, IS_STRING) ? v->u.text : NULL;
}

const char *cjson_text(const struct cjson *v)
{
    size_t len = 0;
    const char *p = cjson_bytes(v, &len);
    return p != NULL && memchr(p, '\0', len) == NULL ? p : NULL;
}

int64_t cjson_int(const struct cjson *v)
{
    return is(v, IS_INT) ? v->u.i : 0;
}

bool cjson_number(const struct cjson *v, double *out)
{
    if (is(v, IS_INT)) {
        *out = (double)v->u.i;
    } else if (is(v, IS_REAL)) {
        *out = v->u.real;
    }
    return is(v, IS_INT) || is(v, IS_REAL);
}
