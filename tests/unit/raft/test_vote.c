/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"
#include "raft/wal.h"
#include "tests/lib/memdisk.h"

static struct vote_file *open_ok(struct memdisk *m, struct vote *out)
{
    struct vote_file *f = NULL;
    struct err e = {0};
    int rc = vote_open(memdisk_disk(m), "vote", &f, out, &e);
    if (rc != 0) {
        print_message("# %s\n", e.text);
    }
    assert_int_equal(rc, 0);
    return f;
}

static void save_ok(struct vote_file *f, mu_term term, mu_node_id vote)
{
    assert_int_equal(vote_save(f, &(struct vote){term, vote}, NULL), 0);
}

static void test_none_is_zeros(void **state)
{
    (void)state;
    struct memdisk *m = memdisk_new();
    struct vote v = {9, 9};
    vote_close(open_ok(m, &v));
    assert_int_equal(v.term, 0);
    assert_int_equal(v.vote, 0);
    memdisk_free(m);
}

static void test_saved_is_there(void **state)
{
    (void)state;
    struct memdisk *m = memdisk_new();
    struct vote v;
    struct vote_file *f = open_ok(m, &v);
    for (uint64_t i = 1; i < 20; i++) {
        save_ok(f, i, i * 1000);
        vote_close(f);
        memdisk_off(m);
        memdisk_on(m, i);
        f = open_ok(m, &v);
        assert_int_equal(v.term, i);
        assert_int_equal(v.vote, i * 1000);
    }
    vote_close(f);
    memdisk_free(m);
}

static struct memdisk *disk_with(mu_term term)
{
    struct memdisk *m = memdisk_new();
    struct vote v;
    struct vote_file *f = open_ok(m, &v);
    save_ok(f, term - 1, 70);
    save_ok(f, term, 71);
    vote_close(f);
    return m;
}

/* No single bit brings an older term or vote back. */
static void test_every_flipped_bit(void **state)
{
    (void)state;
    struct memdisk *m = disk_with(8);
    uint64_t len;
    uint8_t *good = mem_dup(memdisk_content(m, "vote", &len), 8192);
    assert_int_equal(len, 8192);
    for (unsigned bit = 0; bit < 8192 * 8; bit++) {
        struct vote v;
        uint8_t *p = memdisk_content(m, "vote", &len);
        memcpy(p, good, 8192);
        p[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        vote_close(open_ok(m, &v));
        assert_int_equal(v.term, 8);
        assert_int_equal(v.vote, 71);
    }
    print_message("# flips: %d\n", 8192 * 8);
    mem_free(good);
    memdisk_free(m);
}

/* Cut anywhere: the right answer or CORRUPT, never zeros. */
static void test_every_cut(void **state)
{
    (void)state;
    struct memdisk *m = disk_with(8);
    uint64_t len;
    uint8_t *good = mem_dup(memdisk_content(m, "vote", &len), 8192);
    for (unsigned cut = 0; cut < 8192; cut++) {
        struct vote v;
        struct vote_file *f = NULL;
        struct disk_file *file = NULL;
        struct disk *d = memdisk_disk(m);
        assert_int_equal(d->ops->open(d, "vote", DISK_WRITE, &file, NULL), 0);
        assert_int_equal(d->ops->pwrite(file, good, 8192, 0, NULL), 0);
        d->ops->close(file);
        memdisk_cut(m, "vote", cut);
        int rc = vote_open(d, "vote", &f, &v, NULL);
        if (cut < 40) {
            assert_int_equal(rc, MU_E_CORRUPT);
        } else {
            assert_int_equal(rc, 0);
            assert_int_equal(v.term, 8);
            assert_int_equal(v.vote, 71);
            vote_close(f);
        }
    }
    print_message("# cuts: %d\n", 8192);
    mem_free(good);
    memdisk_free(m);
}

static void test_both_bad_is_corrupt(void **state)
{
    (void)state;
    struct memdisk *m = disk_with(8);
    struct vote v;
    struct vote_file *f = NULL;
    struct err e = {0};
    uint64_t len;
    memdisk_content(m, "vote", &len)[25] ^= 1;
    memdisk_content(m, "vote", &len)[4096 + 33] ^= 1;
    assert_int_equal(vote_open(memdisk_disk(m), "vote", &f, &v, &e), MU_E_CORRUPT);
    memdisk_free(m);
}

static void test_unknown_version_is_refused(void **state)
{
    (void)state;
    struct memdisk *m = disk_with(8);
    struct vote v;
    struct vote_file *f = NULL;
    uint64_t len;
    uint8_t *p = memdisk_content(m, "vote", &len) + 4096;
    p[12] = 2;
    uint32_t crc = hash_crc32c(0, p + 12, 28);
    memcpy(p + 8, &crc, 4);
    assert_int_equal(vote_open(memdisk_disk(m), "vote", &f, &v, NULL), MU_E_FORMAT);
    memdisk_free(m);
}

/* Power goes at any step of a save, or a sync fails: afterwards the vote is the saved one or the
 * one under way, and what was read once is never older the next time, also when a copy is then
 * damaged. */
static void crash_once(struct memdisk *m, uint64_t seed, mu_term *io_term)
{
    struct vote v, again;
    struct vote_file *f = open_ok(m, &v);
    assert_true(v.term == *io_term || v.term == *io_term + 1);
    mu_term sure = v.term;
    if (seed % 5 == 0) {
        memdisk_fail_sync(m, 1 + (unsigned)(seed / 5 % 2), MU_E_IO);
    } else {
        memdisk_off_at(m, 1 + (unsigned)(seed % 6));
    }
    if (vote_save(f, &(struct vote){sure + 1, seed}, NULL) == 0) {
        sure++;
    }
    vote_close(f);
    if (seed % 5 == 0 && !memdisk_is_off(m)) {
        memdisk_on_kept(m); /* only the process ended */
    } else {
        memdisk_off(m);
        memdisk_on(m, seed);
    }
    vote_close(open_ok(m, &v));
    assert_true(v.term == sure || v.term == sure + 1);
    memdisk_off(m);
    memdisk_on(m, seed + 1);
    uint64_t len;
    memdisk_content(m, "vote", &len)[(seed % 2) * 4096 + 30] ^= 16;
    f = open_ok(m, &again);
    assert_int_equal(again.term, v.term);
    assert_int_equal(again.vote, v.vote);
    vote_close(f);
    *io_term = v.term;
}

static void test_crashes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 3000; seed++) {
        struct memdisk *m = memdisk_new();
        memdisk_set_sector(m, seed % 2 != 0 ? 512 : 16); /* also a copy that tears in itself */
        mu_term term = 0;
        struct vote v;
        vote_close(open_ok(m, &v));
        for (uint64_t i = 0; i < 5; i++) {
            crash_once(m, seed * 31 + i * 7, &term);
        }
        memdisk_free(m);
    }
}

static void test_crash_while_creating(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct memdisk *m = memdisk_new();
        struct vote v = {0, 0};
        struct vote_file *f = NULL;
        memdisk_off_at(m, 1 + (unsigned)(seed % 20));
        if (vote_open(memdisk_disk(m), "vote", &f, &v, NULL) == 0) {
            vote_close(f);
        }
        memdisk_off(m);
        memdisk_on(m, seed);
        vote_close(open_ok(m, &v));
        assert_int_equal(v.term, 0);
        memdisk_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_is_zeros),
        cmocka_unit_test(test_saved_is_there),
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_both_bad_is_corrupt),
        cmocka_unit_test(test_unknown_version_is_refused),
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_crash_while_creating),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
