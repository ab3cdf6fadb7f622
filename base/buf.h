/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer, owned by the caller's struct. Not thread-safe. */
#pragma once

#include "base/types.h"

struct buf {
    uint8_t *p;
    size_t len;
    size_t cap;
};

void buf_init(struct buf *b);  /* empty, no memory taken */
void buf_fini(struct buf *b);  /* frees; usable again after buf_init */
void buf_clear(struct buf *b); /* len 0, memory kept */
/* Make room for `n` more bytes and return where they go; len is not changed. */
static inline uint8_t *buf_reserve(struct buf *b, size_t n);
static inline void buf_append(struct buf *b, const void *p, size_t n);
static inline void buf_append_slice(struct buf *b, struct slice s);
void buf_append_str(struct buf *b, const char *s);
static inline void buf_append_byte(struct buf *b, uint8_t c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_append_u64(struct buf *b, uint64_t v); /* decimal digits */
void buf_consume(struct buf *b, size_t n);      /* drop n bytes at the front */
/* Gives the memory to the caller (mem_free) and empties b. */
uint8_t *buf_take(struct buf *b, size_t *out_len);

/* The slow half of buf_reserve: there is no room. */
uint8_t *buf_grow(struct buf *b, size_t n);

/* Every row, command and answer is put together byte by byte with these: they are worth no call. */
static inline uint8_t *buf_reserve(struct buf *b, size_t n)
{
    return b->cap - b->len < n ? buf_grow(b, n) : b->p + b->len;
}

static inline void buf_append(struct buf *b, const void *p, size_t n)
{
    if (n != 0) {
        memcpy(buf_reserve(b, n), p, n);
        b->len += n;
    }
}

static inline void buf_append_slice(struct buf *b, struct slice s)
{
    buf_append(b, s.p, s.len);
}

static inline void buf_append_byte(struct buf *b, uint8_t c)
{
    *buf_reserve(b, 1) = c;
    b->len++;
}

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->p, b->len};
}
