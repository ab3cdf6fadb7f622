/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cbuf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "client/mem.h"

enum { FIRST_CAP = 128 };

void cbuf_init(struct cbuf *b, size_t max)
{
    *b = (struct cbuf){.max = max};
}

void cbuf_fini(struct cbuf *b)
{
    cmem_free(b->p);
    *b = (struct cbuf){.max = b->max};
}

void cbuf_clear(struct cbuf *b)
{
    b->len = 0;
    b->no_memory = false;
    b->is_over = false;
    if (b->p != NULL) {
        b->p[0] = '\0';
    }
}

bool cbuf_failed(const struct cbuf *b)
{
    return b->no_memory || b->is_over;
}

/* Room for `len` more and the NUL. */
static bool has_room(struct cbuf *b, size_t len)
{
    if (cbuf_failed(b)) {
        return false;
    }
    if (len > b->max || b->len > b->max - len) {
        b->is_over = true;
        return false;
    }
    size_t need = b->len + len + 1;
    if (need <= b->cap) {
        return true;
    }
    size_t cap = b->cap != 0 ? b->cap : FIRST_CAP;
    while (cap < need) {
        cap *= 2;
    }
    char *p = cmem_realloc(b->p, cap);
    if (p == NULL) {
        b->no_memory = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void cbuf_append(struct cbuf *b, const void *p, size_t len)
{
    if (!has_room(b, len)) {
        return;
    }
    if (len != 0) {
        memcpy(b->p + b->len, p, len);
    }
    b->len += len;
    b->p[b->len] = '\0';
}

void cbuf_str(struct cbuf *b, const char *s)
{
    cbuf_append(b, s, strlen(s));
}

void cbuf_printf(struct cbuf *b, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(text)) {
        b->is_over = true; /* only short things are printed */
        return;
    }
    cbuf_append(b, text, (size_t)n);
}

static bool is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

void cbuf_percent(struct cbuf *b, const char *s)
{
    static const char hex[] = "0123456789ABCDEF";
    /* A segment of dots would be taken for a way through folders. */
    bool is_dots = strcmp(s, ".") == 0 || strcmp(s, "..") == 0;
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (is_plain(c) && !is_dots) {
            cbuf_append(b, s, 1);
        } else {
            const char e[3] = {'%', hex[c >> 4], hex[c & 15]};
            cbuf_append(b, e, sizeof(e));
        }
    }
}

void cbuf_json(struct cbuf *b, const char *s)
{
    cbuf_append(b, "\"", 1);
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            const char e[2] = {'\\', (char)c};
            cbuf_append(b, e, sizeof(e));
        } else if (c < 0x20) {
            cbuf_printf(b, "\\u%04x", c);
        } else {
            cbuf_append(b, s, 1);
        }
    }
    cbuf_append(b, "\"", 1);
}

char *cbuf_take(struct cbuf *b)
{
    cbuf_append(b, "", 0);
    if (cbuf_failed(b)) {
        cbuf_fini(b);
        return NULL;
    }
    char *p = b->p;
    *b = (struct cbuf){.max = b->max};
    return p;
}
