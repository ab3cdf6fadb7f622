/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

/* The file itself: the checksum without hardware is static and would never run on this machine. */
#include "base/hash.c" /* NOLINT(bugprone-suspicious-include) */

/* RFC 3720 appendix B.4, and the check value of the catalogue of CRC algorithms. */
static void test_crc32c_known_values(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0};
    uint8_t ones[32];
    uint8_t up[32];
    uint8_t down[32];
    memset(ones, 0xff, sizeof(ones));
    for (size_t i = 0; i < 32; i++) {
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(hash_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(hash_crc32c(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(hash_crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(hash_crc32c(0, up, 32), 0x46dd794e);
    assert_int_equal(hash_crc32c(0, down, 32), 0x113fdb5c);
    assert_int_equal(hash_crc32c(0, NULL, 0), 0);
    assert_int_equal(~crc_table(~0u, (const uint8_t *)"123456789", 9), 0xe3069283);
    assert_int_equal(~crc_table(~0u, up, 32), 0x46dd794e);
}

static void test_crc32c_both_ways_agree(void **state)
{
    (void)state;
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 37 + 11);
    }
    for (size_t from = 0; from < 9; from++) {
        for (size_t len = 0; len + from <= sizeof(bytes); len++) {
            assert_int_equal(hash_crc32c(0, bytes + from, len), ~crc_table(~0u, bytes + from, len));
        }
    }
}

static void test_crc32c_in_pieces(void **state)
{
    (void)state;
    const char *text = "the quick brown fox jumps over the lazy dog";
    size_t n = strlen(text);
    uint32_t whole = hash_crc32c(0, text, n);
    for (size_t cut = 0; cut <= n; cut++) {
        uint32_t crc = hash_crc32c(0, text, cut);
        assert_int_equal(hash_crc32c(crc, text + cut, n - cut), whole);
    }
}

static void test_sha256_known_values(void **state)
{
    (void)state;
    uint8_t out[32];
    char hex[65];
    hash_sha256("abc", 3, out);
    hash_hex(out, sizeof(out), hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hash_sha256("", 0, out);
    hash_hex(out, sizeof(out), hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_sha256_in_pieces(void **state)
{
    (void)state;
    const char *text = "the quick brown fox jumps over the lazy dog";
    size_t n = strlen(text);
    uint8_t whole[32], out[32];
    hash_sha256(text, n, whole);
    for (size_t cut = 0; cut <= n; cut++) {
        struct hash_sha256_pieces *h = hash_sha256_begin();
        hash_sha256_add(h, text, cut);
        hash_sha256_add(h, text + cut, n - cut);
        hash_sha256_end(h, out);
        assert_memory_equal(out, whole, sizeof(out));
    }
}

/* These are written to disk and sent to clients, so they may never change. */
static void test_xxh3_known_values(void **state)
{
    (void)state;
    uint8_t out[16];
    char hex[33];
    assert_true(hash_xxh3("", 0, 0) == UINT64_C(0x2d06800538d394c2));
    hash_xxh3_128("", 0, out);
    hash_hex(out, sizeof(out), hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
    assert_true(hash_xxh3("a", 1, 0) != hash_xxh3("a", 1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_known_values), cmocka_unit_test(test_crc32c_both_ways_agree),
        cmocka_unit_test(test_crc32c_in_pieces),    cmocka_unit_test(test_sha256_known_values),
        cmocka_unit_test(test_sha256_in_pieces),    cmocka_unit_test(test_xxh3_known_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
