/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <pthread.h>

#include <openssl/evp.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_hardware(uint32_t crc, const uint8_t *p,
                                                               size_t len)
{
    uint64_t c = crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t v;
        memcpy(&v, p, sizeof(v));
        c = _mm_crc32_u64(c, v);
    }
    uint32_t r = (uint32_t)c;
    while (len-- > 0) {
        r = _mm_crc32_u8(r, *p++);
    }
    return r;
}
#endif

/* Castagnoli polynomial, reflected, four bits at a time: small, and only for machines without the
 * instruction. */
static uint32_t crc_table(uint32_t crc, const uint8_t *p, size_t len)
{
    static const uint32_t t[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                   0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                   0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                   0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    while (len-- > 0) {
        crc ^= *p++;
        crc = (crc >> 4) ^ t[crc & 15];
        crc = (crc >> 4) ^ t[crc & 15];
    }
    return crc;
}

uint32_t hash_crc32c(uint32_t crc, const void *p, size_t len)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        return ~crc_hardware(crc, p, len);
    }
#endif
    return ~crc_table(crc, p, len);
}

uint64_t hash_xxh3(const void *p, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, len, seed);
}

void hash_xxh3_128(const void *p, size_t len, uint8_t out[16])
{
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, XXH3_128bits(p, len));
    memcpy(out, c.digest, 16);
}

/* Looked up once: the one-shot SHA256() asks the provider anew at each call, and that is most of
 * its time. */
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;

static void sha256_fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (sha256 == NULL) {
        mem_ran_out();
    }
}

void hash_sha256(const void *p, size_t len, uint8_t out[32])
{
    (void)pthread_once(&sha256_once, sha256_fetch);
    int rc = EVP_Digest(p, len, out, NULL, sha256, NULL);
    if (rc != 1) { /* there is nothing else that could fail */
        mem_ran_out();
    }
}

struct hash_sha256_pieces {
    EVP_MD_CTX *ctx;
};

struct hash_sha256_pieces *hash_sha256_begin(void)
{
    struct hash_sha256_pieces *h = mem_alloc(sizeof(*h));
    (void)pthread_once(&sha256_once, sha256_fetch);
    h->ctx = EVP_MD_CTX_new();
    if (h->ctx == NULL || EVP_DigestInit_ex2(h->ctx, sha256, NULL) != 1) {
        mem_ran_out();
    }
    return h;
}

void hash_sha256_add(struct hash_sha256_pieces *h, const void *p, size_t len)
{
    if (EVP_DigestUpdate(h->ctx, p, len) != 1) {
        mem_ran_out();
    }
}

void hash_sha256_end(struct hash_sha256_pieces *h, uint8_t out[32])
{
    if (EVP_DigestFinal_ex(h->ctx, out, NULL) != 1) {
        mem_ran_out();
    }
    EVP_MD_CTX_free(h->ctx);
    mem_free(h);
}

void hash_hex(const uint8_t *p, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = '\0';
}
