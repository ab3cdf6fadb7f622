/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot made here by the words of docs/formats.md; each damaged byte is seen. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/wire.h"
#include "tools/musterctl/snapfile.h"

static char path[] = "/tmp/test_snapfile.XXXXXX";

static void add_record(struct buf *b, uint8_t table, const char *key, size_t value_len)
{
    wire_put_u8(b, table);
    wire_put_u32(b, (uint32_t)strlen(key));
    wire_put_u32(b, (uint32_t)value_len);
    buf_append_str(b, key);
    memset(buf_reserve(b, value_len), 'v', value_len);
    b->len += value_len;
}

static uint64_t add_header(struct buf *b)
{
    struct buf conf;
    buf_init(&conf);
    wire_put_u8(&conf, 1);
    wire_put_u64(&conf, 2);
    wire_put_u64(&conf, 11);
    buf_append(&conf, "n1@h:1", 7);
    wire_put_u8(&conf, 1);
    wire_put_u64(&conf, 12);
    buf_append(&conf, "n2@h:2", 7);
    wire_put_u8(&conf, 0);
    buf_append_str(b, "MUSTSNAP");
    wire_put_u32(b, 1);
    wire_put_u32(b, (uint32_t)conf.len);
    static const uint64_t numbers[] = {5, 2, 7, 99};
    for (size_t i = 0; i < N_ELEMENTS(numbers); i++) {
        wire_put_u64(b, numbers[i]);
    }
    buf_append(b, "0123456789abcdef", 16);
    wire_put_u64(b, 1);
    buf_append_slice(b, buf_slice(&conf));
    buf_fini(&conf);
    uint64_t chain = hash_xxh3(b->p, b->len, 0);
    wire_put_u32(b, hash_crc32c(0, b->p, b->len));
    return chain;
}

/* Blocks of `piece` bytes: records are cut anywhere. */
static void make(struct buf *out, const struct buf *records, uint64_t n_records, size_t piece)
{
    uint64_t chain = add_header(out);
    for (size_t at = 0; at < records->len; at += piece) {
        size_t n = records->len - at < piece ? records->len - at : piece;
        chain = hash_xxh3(records->p + at, n, chain);
        wire_put_u32(out, (uint32_t)n);
        wire_put_u32(out, hash_crc32c(0, records->p + at, n));
        wire_put_u64(out, chain);
        buf_append(out, records->p + at, n);
    }
    uint8_t foot[32] = {0};
    wire_set_u64(foot + 8, n_records);
    wire_set_u64(foot + 16, out->len + sizeof(foot));
    wire_set_u64(foot + 24, chain);
    wire_set_u32(foot + 4, hash_crc32c(0, foot + 8, 24));
    buf_append(out, foot, sizeof(foot));
}

static int check(const struct buf *b, size_t len, struct ctl_snap *s, struct err *e)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(b->p, 1, len, f), len);
    fclose(f);
    *e = (struct err){0};
    return ctl_snap_check(path, s, e);
}

static uint64_t fill(struct buf *records)
{
    add_record(records, 0, "state", 92);
    add_record(records, 2, "rev1", 3000);
    add_record(records, 2, "rev2", 0);
    add_record(records, 1, "Cpublic", 13);
    add_record(records, 1, "Ipublic", 13);
    add_record(records, 1, "Jpublic", 0);
    add_record(records, 1, "Spublic", 13);
    add_record(records, 3, "lease", 1);
    return 8;
}

static void test_whole_files(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 2, 9, 10, 100, 65536};
    for (size_t i = 0; i < N_ELEMENTS(pieces); i++) {
        struct buf records, b;
        struct ctl_snap s;
        struct err e;
        buf_init(&records);
        buf_init(&b);
        uint64_t n = fill(&records);
        make(&b, &records, n, pieces[i]);
        assert_int_equal(check(&b, b.len, &s, &e), 0);
        assert_int_equal(s.revision, 7);
        assert_int_equal(s.index, 5);
        assert_int_equal(s.size_bytes, b.len);
        assert_int_equal(s.n_records, n);
        assert_int_equal(s.n_configs, 1);
        assert_int_equal(s.n_instances, 1);
        assert_int_equal(s.n_services, 1);
        assert_int_equal(s.n_of_table[3], 1);
        assert_string_equal(s.members, "n1 h:1, n2 h:2 (learner)");
        assert_string_equal(s.cluster_id, "30313233343536373839616263646566");
        buf_fini(&records);
        buf_fini(&b);
    }
}

static void test_each_damaged_byte_and_each_cut(void **state)
{
    (void)state;
    struct buf records, b;
    struct ctl_snap s;
    struct err e;
    buf_init(&records);
    buf_init(&b);
    make(&b, &records, fill(&records), 700);
    for (size_t i = 0; i < b.len; i++) {
        b.p[i] ^= 0x40;
        int rc = check(&b, b.len, &s, &e);
        assert_true(rc == MU_E_CORRUPT || rc == MU_E_FORMAT);
        assert_non_null(strstr(e.text, path));
        b.p[i] ^= 0x40;
        rc = check(&b, i, &s, &e);
        assert_true(rc == MU_E_CORRUPT || rc == MU_E_FORMAT);
    }
    buf_append_byte(&b, 0);
    assert_int_equal(check(&b, b.len, &s, &e), MU_E_CORRUPT);
    buf_fini(&records);
    buf_fini(&b);
}

/* Two blocks of equal length change places: each is undamaged, the chain is not. */
static void test_exchanged_blocks(void **state)
{
    (void)state;
    enum { PAYLOAD = 20, BLOCK = 16 + PAYLOAD };
    struct buf records, b;
    struct ctl_snap s;
    struct err e;
    buf_init(&records);
    buf_init(&b);
    add_record(&records, 1, "a", 10);
    add_record(&records, 1, "b", 10);
    add_record(&records, 1, "c", 10);
    make(&b, &records, 3, PAYLOAD);
    assert_int_equal(check(&b, b.len, &s, &e), 0);
    uint8_t *second = b.p + b.len - 32 - 2 * BLOCK, one[BLOCK];
    memcpy(one, second, BLOCK);
    memcpy(second, second + BLOCK, BLOCK);
    memcpy(second + BLOCK, one, BLOCK);
    assert_int_equal(check(&b, b.len, &s, &e), MU_E_CORRUPT);
    assert_non_null(strstr(e.text, "bad block"));
    buf_fini(&records);
    buf_fini(&b);
}

/* Checksums that fit, contents that do not. */
static void test_wrong_records(void **state)
{
    (void)state;
    for (int kind = 0; kind < 7; kind++) {
        struct buf records, b;
        struct ctl_snap s;
        struct err e;
        uint64_t n = 2;
        buf_init(&records);
        buf_init(&b);
        add_record(&records, 1, "b", 4);
        switch (kind) {
        case 0:
            add_record(&records, 1, "b", 4); /* not rising */
            break;
        case 1:
            add_record(&records, 2, "c", 4); /* a table too late */
            break;
        case 2:
            add_record(&records, 8, "c", 4); /* no such table */
            break;
        case 3:
            add_record(&records, 1, "", 4); /* no key */
            break;
        case 4:
            add_record(&records, 1, "c", 16385); /* too large */
            break;
        case 5:
            n = 1; /* counted wrong */
            add_record(&records, 1, "c", 4);
            break;
        default:
            add_record(&records, 1, "c", 4); /* the last one is cut */
            records.len--;
        }
        make(&b, &records, n, 65536);
        assert_int_equal(check(&b, b.len, &s, &e), MU_E_CORRUPT);
        buf_fini(&records);
        buf_fini(&b);
    }
}

static void test_what_is_no_snapshot(void **state)
{
    (void)state;
    struct ctl_snap s;
    struct err e = {0};
    assert_int_equal(ctl_snap_check("/nonexistent/x", &s, &e), MU_E_NOT_FOUND);
    assert_int_equal(ctl_snap_check("/dev/null", &s, &e), MU_E_FORMAT);
    assert_int_equal(ctl_snap_check("/tmp", &s, &e), MU_E_IO);
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_files),
        cmocka_unit_test(test_each_damaged_byte_and_each_cut),
        cmocka_unit_test(test_exchanged_blocks),
        cmocka_unit_test(test_wrong_records),
        cmocka_unit_test(test_what_is_no_snapshot),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
