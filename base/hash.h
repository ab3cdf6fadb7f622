/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums and digests: crc32c for records on disk and frames, xxh3 for tables and ETags, sha256
 * for contents. */
#pragma once

#include "base/types.h"

/* Start with crc 0; feed pieces by passing the last result. SSE4.2 when present. */
uint32_t hash_crc32c(uint32_t crc, const void *p, size_t len);
uint64_t hash_xxh3(const void *p, size_t len, uint64_t seed);
void hash_xxh3_128(const void *p, size_t len, uint8_t out[16]);
void hash_sha256(const void *p, size_t len, uint8_t out[32]);
/* The same in pieces: end frees it. */
struct hash_sha256_pieces;
struct hash_sha256_pieces *hash_sha256_begin(void);
void hash_sha256_add(struct hash_sha256_pieces *h, const void *p, size_t len);
void hash_sha256_end(struct hash_sha256_pieces *h, uint8_t out[32]);
void hash_hex(const uint8_t *p, size_t len, char *out); /* 2*len digits + NUL */
