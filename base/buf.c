/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"

void buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

void buf_fini(struct buf *b)
{
    mem_free(b->p);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    b->len = 0;
}

uint8_t *buf_grow(struct buf *b, size_t n)
{
    MU_INVARIANT(n <= SIZE_MAX / 2 - b->len);
    size_t cap = b->cap != 0 ? b->cap : 64;
    while (cap < b->len + n) {
        cap *= 2;
    }
    b->p = mem_realloc(b->p, cap);
    b->cap = cap;
    return b->p + b->len;
}

void buf_append_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list a;
    size_t room = 128;
    for (;;) {
        char *at = (char *)buf_reserve(b, room);
        va_start(a, fmt);
        int n = vsnprintf(at, room, fmt, a);
        va_end(a);
        MU_INVARIANT(n >= 0);
        if ((size_t)n < room) {
            b->len += (size_t)n;
            return;
        }
        room = (size_t)n + 1;
    }
}

void buf_append_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t n = sizeof(digits);
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    buf_append(b, digits + n, sizeof(digits) - n);
}

void buf_consume(struct buf *b, size_t n)
{
    MU_INVARIANT(n <= b->len);
    if (n == 0) {
        return;
    }
    memmove(b->p, b->p + n, b->len - n);
    b->len -= n;
}

uint8_t *buf_take(struct buf *b, size_t *out_len)
{
    uint8_t *p = b->p != NULL ? b->p : mem_alloc(1);
    *out_len = b->len;
    *b = (struct buf){0};
    return p;
}
