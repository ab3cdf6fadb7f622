/* SPDX-License-Identifier: Apache-2.0 */
/* Binary encoding with bounds: a reader and a writer with a sticky error, checked once at the end.
 *
 * Little-endian fixed-width integers; `bytes` = u32 length + bytes; `varint` is not used.
 * Big-endian helpers exist for LMDB keys, where byte order must be sort order. */
#pragma once

#include "base/buf.h"

struct wire_reader {
    const uint8_t *p;
    size_t left;
    int failed; /* 1 after any read past the end; every later read gives 0 / empty */
};

void wire_read_init(struct wire_reader *r, struct slice s);
uint8_t wire_u8(struct wire_reader *r);
uint16_t wire_u16(struct wire_reader *r);
uint32_t wire_u32(struct wire_reader *r);
uint64_t wire_u64(struct wire_reader *r);
double wire_f64(struct wire_reader *r);
uint64_t wire_u64_be(struct wire_reader *r);
uint32_t wire_u32_be(struct wire_reader *r);
/* u32 length + bytes, borrowed from the input; fails when longer than `max`. */
struct slice wire_bytes(struct wire_reader *r, size_t max);
struct slice wire_raw(struct wire_reader *r, size_t n);
/* 0 when nothing failed and everything was read; else MU_E_FORMAT. */
int wire_read_end(const struct wire_reader *r);

void wire_put_u8(struct buf *b, uint8_t v);
void wire_put_u16(struct buf *b, uint16_t v);
void wire_put_u32(struct buf *b, uint32_t v);
void wire_put_u64(struct buf *b, uint64_t v);
void wire_put_f64(struct buf *b, double v);
void wire_put_u64_be(struct buf *b, uint64_t v);
void wire_put_u32_be(struct buf *b, uint32_t v);
void wire_put_bytes(struct buf *b, struct slice s); /* u32 length + bytes */

/* Fixed-place forms. */
uint32_t wire_get_u32(const uint8_t *p);
uint64_t wire_get_u64(const uint8_t *p);
uint64_t wire_get_u64_be(const uint8_t *p);
void wire_set_u32(uint8_t *p, uint32_t v);
void wire_set_u64(uint8_t *p, uint64_t v);
void wire_set_u64_be(uint8_t *p, uint64_t v);
