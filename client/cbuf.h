/* SPDX-License-Identifier: Apache-2.0 */
/* A growing piece of text with a bound and a sticky failure, checked once at the end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct cbuf {
    char *p; /* NUL-terminated once anything was appended */
    size_t len;
    size_t cap;
    size_t max; /* more is refused */
    bool no_memory;
    bool is_over; /* more than max was asked for */
};

void cbuf_init(struct cbuf *b, size_t max);
void cbuf_fini(struct cbuf *b);
void cbuf_clear(struct cbuf *b); /* keeps the memory, forgets the failures */
bool cbuf_failed(const struct cbuf *b);
void cbuf_append(struct cbuf *b, const void *p, size_t len);
void cbuf_str(struct cbuf *b, const char *s);
void cbuf_printf(struct cbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Percent-encoded as one path segment or query value; "." and ".." too. */
void cbuf_percent(struct cbuf *b, const char *s);
/* A JSON string with its quotes. `s` must be UTF-8. */
void cbuf_json(struct cbuf *b, const char *s);
/* Gives the text (never NULL unless it failed) and leaves an empty buffer. */
char *cbuf_take(struct cbuf *b);
