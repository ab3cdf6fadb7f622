/* SPDX-License-Identifier: Apache-2.0 */
/* Damage at rest: whatever single bit flips, wherever a file is cut, whichever file is lost, the
 * log that opens is the whole log, or it says that it is damaged. Never a shorter log. (Several
 * bits of the last group at once cannot be told from a torn write.) */
#include "tests/unit/raft/wal_kit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "raft/wal_impl.h"

enum { FILES_MAX = 8, SEG = 8192, LAST_GROUP = 3 };

struct image {
    struct kit k;
    unsigned n;
    char paths[FILES_MAX][64];
    uint8_t *bytes[FILES_MAX];
    mu_index first, last;
    uint64_t digest;
    size_t in_last; /* entries in the last segment, and where */
    uint32_t offs[64];
};

static void digest_entry(uint64_t *h, const struct wal_entry *v)
{
    *h = hash_xxh3(v->data.p, v->data.len, *h ^ v->term ^ ((uint64_t)v->kind << 60));
}

/* Of all entries; 0 when one cannot be read. */
static uint64_t digest(struct wal *w)
{
    uint64_t h = 1;
    for (mu_index i = wal_first(w); i <= wal_last(w);) {
        struct wal_entry v[16];
        struct err e = {0};
        size_t n = wal_read(w, i, 16, 1 << 20, v, &e);
        if (n == 0) {
            return 0;
        }
        for (size_t j = 0; j < n; j++) {
            digest_entry(&h, &v[j]);
        }
        i += n;
    }
    return h;
}

/* A small life: several groups and segments, a reused one, a truncation, and a last group of
 * several records. */
static void image_make(struct image *im)
{
    struct kit *k = &im->k;
    kit_init(k, SEG, 0);
    for (unsigned i = 0; i < 30; i++) {
        kit_append(k, 1 + i * 2, 2, 1, i * 2, 60 + i);
        kit_flush(k);
    }
    wal_drop_prefix(k->w, 50);
    kit_flush(k);
    kit_append(k, 58, 1, 2, 800, 70);
    kit_flush(k);
    for (unsigned i = 0; i < 15; i++) {
        kit_append(k, 59 + i, 1, 3, 900 + i, 250);
        kit_flush(k);
    }
    kit_append(k, 70, 3, 4, 1000, 150);
    kit_flush(k);
    for (unsigned i = 0; i < 6; i++) { /* groups of two, then the last of three */
        kit_append(k, 73 + i * 2, 2 + i / 5, 4, 1003 + i * 2, 20 + i);
        kit_flush(k);
    }
    im->in_last = k->w->segs[k->w->n_segs - 1].n;
    assert_in_range(im->in_last, 8, 40);
    for (size_t i = 0; i < im->in_last; i++) {
        im->offs[i] = k->w->segs[k->w->n_segs - 1].offs[i] & ~7U;
    }
    int more = 0;
    assert_int_equal(wal_prepare(k->w, &more, NULL), 0);
    im->first = wal_first(k->w);
    im->last = wal_last(k->w);
    im->digest = digest(k->w);
    kit_close(k);
    const char *name;
    for (unsigned i = 0; (name = memdisk_name(k->m, "log", i)) != NULL; i++) {
        uint64_t len;
        if (strstr(name, ".seg") != NULL) {
            assert_true(im->n < FILES_MAX);
            snprintf(im->paths[im->n], sizeof(im->paths[0]), "log/%s", name);
            im->bytes[im->n] = mem_dup(memdisk_content(k->m, im->paths[im->n], &len), SEG);
            assert_int_equal(len, SEG);
            im->n++;
        }
    }
    assert_in_range(im->n, 2, FILES_MAX);
}

/* Put back every file as it was. */
static void image_restore(struct image *im)
{
    for (unsigned i = 0; i < im->n; i++) {
        uint64_t len;
        struct disk_file *f = NULL;
        struct disk *d = memdisk_disk(im->k.m);
        assert_int_equal(d->ops->open(d, im->paths[i], DISK_WRITE | DISK_CREATE, &f, NULL), 0);
        assert_int_equal(d->ops->pwrite(f, im->bytes[i], SEG, 0, NULL), 0);
        d->ops->close(f);
        assert_non_null(memdisk_content(im->k.m, im->paths[i], &len));
    }
}

static void image_free(struct image *im)
{
    for (unsigned i = 0; i < im->n; i++) {
        mem_free(im->bytes[i]);
    }
    kit_fini(&im->k);
}

/* 1 = damaged and said so, 0 = whole; anything else fails. */
static int open_is_honest(struct image *im, const char *what, uint64_t where)
{
    assert_int_equal(kit_open(&im->k), 0);
    int is_damaged = im->k.info.health == WAL_DAMAGED;
    int is_whole = im->k.info.first == im->first && im->k.info.last == im->last &&
                   digest(im->k.w) == im->digest;
    if (!is_damaged && !is_whole) {
        print_message("# %s %llu: health %d, %llu..%llu, %s\n", what, (unsigned long long)where,
                      im->k.info.health, (unsigned long long)im->k.info.first,
                      (unsigned long long)im->k.info.last, im->k.info.detail);
    }
    assert_true(is_damaged || is_whole);
    kit_close(&im->k);
    return is_damaged;
}

/* Each bit of the last segment, each third of the others; MUSTER_ALL=1 takes all. */
static void test_every_flipped_bit(void **state)
{
    (void)state;
    int is_all = getenv("MUSTER_ALL") != NULL;
    struct image im = {0};
    unsigned n_damaged = 0, n = 0;
    image_make(&im);
    for (unsigned f = 0; f < im.n; f++) {
        for (unsigned bit = 0; bit < SEG * 8; bit += f + 1 == im.n || is_all ? 1 : 3) {
            if (bit / 64 == WAL_HEADER_USED / 8 + 1) {
                bit = WAL_HEADER_BYTES * 8 - 64; /* nothing is read between */
            }
            uint64_t len;
            memdisk_content(im.k.m, im.paths[f], &len)[bit / 8] ^= (uint8_t)(1U << (bit % 8));
            n++;
            n_damaged += (unsigned)open_is_honest(&im, im.paths[f], bit);
            memcpy(memdisk_content(im.k.m, im.paths[f], &len), im.bytes[f], SEG);
        }
    }
    print_message("# flips: %u, of which %u are told\n", n, n_damaged);
    assert_true(n_damaged > 20000); /* the check itself is at work */
    image_free(&im);
}

static void test_every_cut(void **state)
{
    (void)state;
    struct image im = {0};
    unsigned n = 0;
    image_make(&im);
    for (unsigned f = 0; f < im.n; f++) {
        for (uint64_t len = 0; len < SEG;
             len += len >= WAL_HEADER_USED + 8 && len < WAL_HEADER_BYTES - 8 ? 8 : 1) {
            n++;
            memdisk_cut(im.k.m, im.paths[f], len);
            assert_int_equal(open_is_honest(&im, im.paths[f], len), 1);
            image_restore(&im);
        }
    }
    print_message("# cuts: %u\n", n);
    image_free(&im);
}

/* Only the loss of the oldest segments cannot be seen here; then the log says that it begins later.
 */
static void test_every_lost_file(void **state)
{
    (void)state;
    struct image im = {0};
    struct disk *d;
    image_make(&im);
    d = memdisk_disk(im.k.m);
    for (unsigned f = 1; f < im.n; f++) {
        assert_int_equal(d->ops->unlink(d, im.paths[f], NULL), 0);
        assert_int_equal(open_is_honest(&im, im.paths[f], 0), 1);
        image_restore(&im);
    }
    assert_int_equal(d->ops->unlink(d, im.paths[0], NULL), 0);
    assert_int_equal(kit_open(&im.k), 0);
    assert_true(im.k.info.first > im.first);
    kit_close(&im.k);
    for (unsigned f = 1; f < im.n; f++) {
        d->ops->unlink(d, im.paths[f], NULL);
    }
    assert_int_equal(kit_open(&im.k), 0);
    assert_int_equal(im.k.info.health, WAL_DAMAGED); /* spares, but no segment */
    image_free(&im);
}

/* The last entry that must be there when the last segment is hurt from `off` on: all before the
 * last group, or, when the last record itself is hurt so that nothing valid follows, all that ends
 * before the hurt. */
static mu_index kept_before(const struct image *im, uint32_t off, size_t n_group)
{
    size_t n = im->in_last - n_group;
    if (off + 512 > im->offs[im->in_last - 1]) {
        for (n = 0; n + 1 < im->in_last && im->offs[n + 1] <= off; n++) {
        }
    }
    return im->last - im->in_last + n;
}

/* Whole sectors of zeros or noise: only what lies in the last group may be taken for a write that
 * was under way. */
static void test_lost_sectors(void **state)
{
    (void)state;
    struct image im = {0};
    image_make(&im);
    for (unsigned f = 0; f < im.n; f++) {
        for (unsigned sector = 0; sector < SEG / 512; sector++) {
            for (unsigned noise = 0; noise < 2; noise++) {
                uint64_t len;
                uint8_t *p = memdisk_content(im.k.m, im.paths[f], &len) + sector * 512;
                for (unsigned i = 0; i < 512; i++) {
                    p[i] = noise ? (uint8_t)(i * 37 + sector * 11 + 5) : 0;
                }
                assert_int_equal(kit_open(&im.k), 0);
                const struct wal_info *info = &im.k.info;
                int is_whole = info->last == im.last && digest(im.k.w) == im.digest;
                int is_last_group =
                    f + 1 == im.n && info->last >= kept_before(&im, sector * 512, LAST_GROUP);
                if (info->health != WAL_DAMAGED && !is_whole && !is_last_group) {
                    print_message("# %s sector %u: %d %llu %s\n", im.paths[f], sector, info->health,
                                  (unsigned long long)info->last, info->detail);
                }
                assert_true(info->health == WAL_DAMAGED || is_whole || is_last_group);
                kit_close(&im.k);
                image_restore(&im);
            }
        }
    }
    image_free(&im);
}

/* A record of the last segment is noise: the last group may go, nothing before it. */
static void test_lost_records(void **state)
{
    (void)state;
    struct image im = {0};
    image_make(&im);
    for (size_t i = 0; i < im.in_last; i++) {
        uint64_t len;
        uint8_t *p = memdisk_content(im.k.m, im.paths[im.n - 1], &len) + im.offs[i];
        for (unsigned j = 0; j < WAL_RECORD_HEADER + 8; j++) {
            p[j] = (uint8_t)(j * 73 + i * 7 + 1);
        }
        int is_last = i >= im.in_last - LAST_GROUP;
        kit_reopen(&im.k, !is_last ? WAL_DAMAGED : i + 1 < im.in_last ? WAL_TORN : WAL_OK);
        if (is_last) {
            assert_int_equal(im.k.info.last, im.last - (im.in_last - i));
        }
        kit_close(&im.k);
        image_restore(&im);
    }
    image_free(&im);
}

/* One wrong bit in each record of the last group: all are put right, on the disk as well. */
static void test_last_group_is_put_right(void **state)
{
    (void)state;
    struct image im = {0};
    image_make(&im);
    for (unsigned round = 0; round < 50; round++) {
        for (size_t i = im.in_last - LAST_GROUP; i < im.in_last; i++) {
            uint64_t len;
            uint8_t *p = memdisk_content(im.k.m, im.paths[im.n - 1], &len) + im.offs[i];
            p[(round * 37 + i * 11) % (WAL_RECORD_HEADER + 20)] ^= (uint8_t)(1U << (round % 8));
        }
        assert_int_equal(open_is_honest(&im, "round", round), 0);
        assert_string_not_equal(im.k.info.detail, "");
        kit_reopen(&im.k, WAL_OK);
        assert_string_equal(im.k.info.detail, "");
        assert_true(digest(im.k.w) == im.digest);
        kit_close(&im.k);
    }
    image_free(&im);
}

/* What followed the cut never comes back, also when a record of the same length takes the place of
 * the lost one, right before the old ones. */
static void test_cut_tail_stays_cut(void **state)
{
    (void)state;
    struct kit k;
    uint64_t len;
    kit_init(&k, SEG, 0);
    kit_append(&k, 1, 2, 1, 0, 100);
    kit_flush(&k);
    kit_append(&k, 3, 3, 1, 2, 100);
    kit_flush(&k);
    memset(memdisk_content(k.m, "log/0000000000000001.seg", &len) + WAL_HEADER_BYTES + 320, 0, 160);
    kit_reopen(&k, WAL_TORN);
    assert_int_equal(wal_last(k.w), 2);
    kit_append(&k, 3, 1, 1, 50, 100);
    kit_flush(&k);
    kit_reopen(&k, WAL_OK);
    assert_int_equal(wal_last(k.w), 3);
    kit_expect(&k, 3, 3, 50);
    memset(memdisk_content(k.m, "log/0000000000000001.seg", &len) + WAL_HEADER_BYTES + 400, 0, 60);
    kit_reopen(&k, WAL_TORN); /* its header alone tells of a write */
    assert_int_equal(wal_last(k.w), 2);
    kit_fini(&k);
}

/* The crash came while the next group began a segment; its header alone shows that the group before
 * had been synced. */
static void test_header_is_proof(void **state)
{
    (void)state;
    unsigned n_seen = 0;
    for (unsigned at = 1; at < 20; at++) {
        struct kit k;
        uint64_t len;
        kit_init(&k, SEG, 0);
        kit_append(&k, 1, 4, 1, 0, 900);
        kit_flush(&k);
        kit_append(&k, 5, 1, 1, 4, 900);
        memdisk_off_at(k.m, at);
        struct wal_op *op = wal_take(k.w);
        wal_execute(op, NULL);
        kit_close(&k);
        memdisk_off(k.m);
        memdisk_on(k.m, 1);
        if (memdisk_content(k.m, "log/0000000000000002.seg", &len) != NULL && at < 12) {
            memset(memdisk_content(k.m, "log/0000000000000001.seg", &len) + WAL_HEADER_BYTES +
                       3 * 960,
                   0x5a, 900);
            kit_reopen(&k, WAL_DAMAGED);
            n_seen++;
        }
        kit_fini(&k);
    }
    assert_true(n_seen > 0);
}

/* A damaged log is left as it is until it is reset; then it is a new one, whatever is left of the
 * old. */
static void test_reset_heals(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 3; f++) {
        struct image im = {0};
        uint64_t len;
        image_make(&im);
        memdisk_content(im.k.m, im.paths[f % im.n], &len)[f == 2 ? 20 : WAL_HEADER_BYTES + 30] ^= 1;
        kit_reopen(&im.k, WAL_DAMAGED);
        assert_int_equal(wal_last(im.k.w), 0);
        kit_reopen(&im.k, WAL_DAMAGED);
        wal_reset(im.k.w, 1000, 9);
        kit_append(&im.k, 1001, 80, 9, 5000, 100);
        assert_int_equal(kit_flush(&im.k), 1080);
        kit_reopen(&im.k, WAL_OK);
        assert_int_equal(wal_first(im.k.w), 1001);
        assert_int_equal(wal_term(im.k.w, 1000), 9);
        kit_expect(&im.k, 1001, 1080, 5000);
        image_free(&im);
    }
}

/* Damage that appears while the log is open is an error of the read, not wrong data. */
static void test_damage_seen_by_read(void **state)
{
    (void)state;
    struct kit k;
    struct wal_entry v[4];
    struct err e = {0};
    uint64_t len;
    kit_init(&k, SEG, 0);
    kit_append(&k, 1, 3, 1, 0, 100);
    kit_flush(&k);
    memdisk_content(k.m, "log/0000000000000001.seg", &len)[WAL_HEADER_BYTES + 160 + 70] ^= 4;
    assert_int_equal(wal_read(k.w, 1, 4, 1 << 20, v, &e), 1);
    assert_int_equal(wal_read(k.w, 2, 4, 1 << 20, v, &e), 0);
    assert_int_equal(e.code, MU_E_CORRUPT);
    kit_fini(&k);
}

static void test_unknown_version_is_refused(void **state)
{
    (void)state;
    struct kit k;
    uint64_t len;
    kit_init(&k, SEG, 0);
    kit_close(&k);
    uint8_t *p = memdisk_content(k.m, "log/0000000000000001.seg", &len);
    p[12] = 2;
    uint32_t crc = hash_crc32c(0, p + 12, WAL_HEADER_USED - 12);
    memcpy(p + 8, &crc, 4);
    assert_int_equal(kit_open(&k), MU_E_FORMAT);
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_lost_file),
        cmocka_unit_test(test_lost_sectors),
        cmocka_unit_test(test_lost_records),
        cmocka_unit_test(test_last_group_is_put_right),
        cmocka_unit_test(test_cut_tail_stays_cut),
        cmocka_unit_test(test_header_is_proof),
        cmocka_unit_test(test_reset_heals),
        cmocka_unit_test(test_damage_seen_by_read),
        cmocka_unit_test(test_unknown_version_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
