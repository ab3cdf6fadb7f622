/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/raft/wal_kit.h"

#include "base/mem.h"

static void test_new_log_is_empty(void **state)
{
    (void)state;
    struct kit k;
    kit_init(&k, 8192, 0);
    assert_int_equal(wal_first(k.w), 1);
    assert_int_equal(wal_last(k.w), 0);
    assert_int_equal(wal_durable(k.w), 0);
    assert_null(wal_take(k.w));
    kit_reopen(&k, WAL_OK);
    assert_int_equal(k.info.first, 1);
    assert_int_equal(k.info.last, 0);
    kit_fini(&k);
}

/* Entries are there before and after they are written, from memory and from the file, and after
 * opening again. */
static void test_append_and_read(void **state)
{
    (void)state;
    for (uint64_t cache = 0; cache <= 1 << 20; cache += 1 << 20) {
        struct kit k;
        kit_init(&k, 16384, cache);
        kit_append(&k, 1, 10, 1, 100, 50);
        kit_expect(&k, 1, 10, 100);
        assert_int_equal(wal_durable(k.w), 0);
        assert_int_equal(kit_flush(&k), 10);
        for (unsigned i = 0; i < 60; i++) {
            kit_append(&k, 11 + i * 3, 3, 2 + i / 20, 110 + i * 3, 20 + i * 10);
            kit_flush(&k);
        }
        kit_append(&k, 191, 2, 9, 290, 1000);
        kit_expect(&k, 1, 192, 100);
        kit_reopen(&k, WAL_OK);
        assert_int_equal(wal_last(k.w), 190);
        kit_expect(&k, 1, 190, 100);
        assert_int_equal(wal_term(k.w, 10), 1);
        assert_int_equal(wal_term(k.w, 11), 2);
        assert_int_equal(wal_term(k.w, 191), 0);
        assert_int_equal(wal_term_start(k.w, 69), 11);
        assert_int_equal(wal_term_start(k.w, 71), 71);
        kit_fini(&k);
    }
}

/* Everything queued goes out in one write and one sync. */
static void test_one_sync_per_group(void **state)
{
    (void)state;
    struct kit k;
    struct memdisk_stats a, b;
    kit_init(&k, 1 << 20, 0);
    memdisk_stats(k.m, &a);
    for (unsigned i = 0; i < 50; i++) {
        kit_append(&k, i + 1, 1, 1, i, 100);
    }
    assert_int_equal(kit_flush(&k), 50);
    memdisk_stats(k.m, &b);
    assert_int_equal(b.n_writes - a.n_writes, 1);
    assert_int_equal(b.n_syncs - a.n_syncs, 1);
    kit_fini(&k);
}

static void test_read_limits(void **state)
{
    (void)state;
    for (uint64_t cache = 0; cache <= 1 << 20; cache += 1 << 20) {
        struct kit k;
        struct wal_entry v[8];
        struct err e = {0};
        kit_init(&k, 65536, cache);
        kit_append(&k, 1, 20, 1, 0, 1000);
        kit_flush(&k);
        assert_int_equal(wal_read(k.w, 1, 8, 1, v, &e), 1);
        assert_in_range(wal_read(k.w, 1, 8, 3300, v, &e), 3, 3);
        assert_int_equal(wal_read(k.w, 19, 8, 1 << 20, v, &e), 2);
        assert_int_equal(wal_read(k.w, 21, 8, 1 << 20, v, &e), 0);
        assert_int_equal(e.code, MU_E_NOT_FOUND);
        kit_fini(&k);
    }
}

/* A truncation is durable like an entry: what it took away stays away. */
static void test_truncate(void **state)
{
    (void)state;
    struct kit k;
    kit_init(&k, 8192, 0);
    kit_append(&k, 1, 100, 1, 0, 100);
    kit_flush(&k);
    kit_append(&k, 31, 5, 2, 1000, 100); /* reaches into an older segment */
    assert_int_equal(wal_durable(k.w), 30);
    assert_int_equal(wal_last(k.w), 35);
    assert_int_equal(kit_flush(&k), 35);
    kit_expect(&k, 1, 30, 0);
    kit_expect(&k, 31, 35, 1000);
    kit_reopen(&k, WAL_OK);
    assert_int_equal(wal_last(k.w), 35);
    kit_expect(&k, 1, 30, 0);
    kit_expect(&k, 31, 35, 1000);
    assert_int_equal(wal_term(k.w, 30), 1);
    assert_int_equal(wal_term(k.w, 31), 2);
    kit_append(&k, 31, 0, 2, 0, 8);
    kit_flush(&k);
    kit_reopen(&k, WAL_OK);
    assert_int_equal(wal_last(k.w), 30);
    kit_append(&k, 31, 100, 3, 2000, 100);
    kit_flush(&k);
    kit_reopen(&k, WAL_OK);
    kit_expect(&k, 1, 30, 0);
    kit_expect(&k, 31, 130, 2000);
    kit_fini(&k);
}

/* A write that completes late never reports what a later truncation, taken or waiting, covers. */
static void test_durable_is_reported_safely(void **state)
{
    (void)state;
    struct kit k;
    struct err e = {0};
    kit_init(&k, 65536, 0);
    kit_append(&k, 1, 10, 1, 0, 20);
    struct wal_op *a = wal_take(k.w);
    kit_append(&k, 8, 4, 2, 100, 20);
    assert_int_equal(wal_execute(a, &e), 0);
    assert_int_equal(wal_done(k.w, a), 7);
    struct wal_op *b = wal_take(k.w);
    kit_append(&k, 12, 4, 2, 104, 20);
    struct wal_op *c = wal_take(k.w);
    kit_append(&k, 5, 1, 3, 200, 20);
    assert_int_equal(wal_durable(k.w), 4);
    assert_int_equal(wal_execute(b, &e), 0);
    assert_int_equal(wal_done(k.w, b), 4);
    assert_int_equal(wal_execute(c, &e), 0);
    assert_int_equal(wal_done(k.w, c), 4);
    assert_int_equal(kit_flush(&k), 5);
    kit_fini(&k);
}

static void test_nothing_durable_while_a_reset_waits(void **state)
{
    (void)state;
    struct kit k;
    struct err e = {0};
    kit_init(&k, 65536, 0);
    kit_append(&k, 1, 10, 1, 0, 20);
    struct wal_op *a = wal_take(k.w);
    wal_reset(k.w, 500, 7);
    assert_int_equal(wal_execute(a, &e), 0);
    assert_int_equal(wal_done(k.w, a), 0);
    kit_append(&k, 501, 3, 7, 300, 20);
    assert_int_equal(kit_flush(&k), 503);
    kit_expect(&k, 501, 503, 300);
    kit_fini(&k);
}

static void test_reset(void **state)
{
    (void)state;
    struct kit k;
    kit_init(&k, 8192, 0);
    kit_append(&k, 1, 200, 1, 0, 100);
    kit_flush(&k);
    wal_reset(k.w, 500, 7);
    assert_int_equal(kit_flush(&k), 500);
    kit_reopen(&k, WAL_OK);
    assert_int_equal(wal_first(k.w), 501);
    assert_int_equal(wal_last(k.w), 500);
    assert_int_equal(wal_term(k.w, 500), 7);
    kit_append(&k, 501, 100, 8, 700, 100);
    kit_flush(&k);
    wal_reset(k.w, 3, 2); /* also backwards */
    kit_append(&k, 4, 2, 2, 900, 10);
    kit_flush(&k);
    kit_reopen(&k, WAL_OK);
    assert_int_equal(wal_first(k.w), 4);
    kit_expect(&k, 4, 5, 900);
    kit_fini(&k);
}

static unsigned files_ending(struct kit *k, const char *end)
{
    unsigned n = 0;
    const char *name;
    for (unsigned i = 0; (name = memdisk_name(k->m, "log", i)) != NULL; i++) {
        n += strlen(name) > strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0;
    }
    return n;
}

/* Dropped segments become spares, spares become segments: no more zeros are written. */
static void test_drop_prefix_reuses(void **state)
{
    (void)state;
    struct kit k;
    kit_init(&k, 8192, 0);
    kit_append(&k, 1, 150, 1, 0, 100);
    kit_flush(&k);
    unsigned before = files_ending(&k, ".seg");
    wal_drop_prefix(k.w, 100);
    kit_flush(&k);
    assert_true(wal_first(k.w) <= 101 && wal_first(k.w) > 50);
    assert_int_equal(wal_term(k.w, wal_first(k.w) - 1), 1);
    assert_int_equal(files_ending(&k, ".spare"), 2);
    assert_true(files_ending(&k, ".seg") < before);
    mu_index first = wal_first(k.w);
    kit_reopen(&k, WAL_OK);
    assert_int_equal(wal_first(k.w), first);
    assert_int_equal(wal_term(k.w, first - 1), 1);
    kit_expect(&k, first, 150, first - 1);
    for (unsigned i = 0; i < 40; i++) {
        kit_append(&k, 151 + i * 10, 10, 2, 150 + i * 10, 100);
        wal_drop_prefix(k.w, wal_last(k.w) - 60);
        kit_flush(&k);
    }
    assert_true(files_ending(&k, ".seg") + files_ending(&k, ".spare") < 7);
    kit_reopen(&k, WAL_OK);
    kit_expect(&k, wal_first(k.w), 550, wal_first(k.w) - 1);
    kit_fini(&k);
}

/* The oldest segment may begin with entries that a later one replaced. */
static void test_drop_behind_a_truncation(void **state)
{
    (void)state;
    struct kit k;
    kit_init(&k, 8192, 0);
    kit_append(&k, 1, 100, 1, 0, 100);
    kit_append(&k, 20, 60, 2, 500, 100);
    wal_drop_prefix(k.w, 19);
    kit_flush(&k);
    assert_int_equal(wal_first(k.w), 20);
    kit_reopen(&k, WAL_OK);
    assert_int_equal(wal_first(k.w), 20);
    assert_int_equal(wal_term(k.w, 19), 1);
    kit_expect(&k, 20, 79, 500);
    kit_fini(&k);
}

/* An entry longer than a segment gets one of its own. */
static void test_long_entry(void **state)
{
    (void)state;
    struct kit k;
    kit_init(&k, 8192, 0);
    kit_append(&k, 1, 3, 1, 0, 100);
    kit_append(&k, 4, 2, 1, 3, 30000);
    kit_append(&k, 6, 3, 1, 5, 100);
    kit_flush(&k);
    kit_reopen(&k, WAL_OK);
    kit_expect(&k, 1, 8, 0);
    wal_drop_prefix(k.w, 7);
    kit_flush(&k);
    kit_reopen(&k, WAL_OK);
    kit_expect(&k, wal_first(k.w), 8, wal_first(k.w) - 1);
    kit_fini(&k);
}

/* Another segment size from one start to the next: old files serve until they are dropped. */
static void test_segment_size_may_change(void **state)
{
    (void)state;
    struct kit k;
    mu_index last = 0;
    kit_init(&k, 8192, 0);
    for (unsigned i = 0; i < 6; i++) {
        kit_append(&k, last + 1, 90, 1, last, 100);
        kit_flush(&k);
        wal_drop_prefix(k.w, last);
        kit_flush(&k);
        last += 90;
        k.o.segment_bytes = i % 2 != 0 ? 8192 : 20480;
        kit_reopen(&k, WAL_OK);
        assert_int_equal(wal_last(k.w), last);
        kit_expect(&k, wal_first(k.w), last, wal_first(k.w) - 1);
    }
    kit_fini(&k);
}

struct each {
    struct kit *k;
    mu_index next;
    unsigned n_changes;
};

static void each_entry(void *arg, mu_index i, mu_term term, enum wal_kind kind, struct slice data)
{
    struct each *x = arg;
    assert_int_equal(i, x->next++);
    assert_int_equal(term, wal_term(x->k->w, i));
    if (kind == WAL_CHANGE) {
        x->n_changes++;
        assert_int_equal(kit_id_of(data), i - 1);
    } else {
        assert_int_equal(data.len, 0);
    }
}

static void test_each(void **state)
{
    (void)state;
    struct kit k;
    struct err e = {0};
    kit_init(&k, 8192, 0);
    kit_append(&k, 1, 70, 1, 0, 100);
    kit_flush(&k);
    kit_reopen(&k, WAL_OK);
    struct each x = {&k, 1, 0};
    assert_int_equal(wal_each(k.w, each_entry, &x, &e), 0);
    assert_int_equal(x.next, 71);
    assert_int_equal(x.n_changes, 10);
    kit_fini(&k);
}

/* A full disk is noticed while the current segment still has room, and is over when a segment is
 * freed. */
static void test_full_disk_is_noticed_early(void **state)
{
    (void)state;
    struct kit k;
    struct err e = {0};
    int more = 0;
    kit_init(&k, 8192, 0);
    memdisk_set_capacity(k.m, 2 * 8192);
    assert_int_equal(wal_prepare(k.w, &more, &e), 0);
    assert_true(wal_space_ok(k.w));
    kit_append(&k, 1, 50, 1, 0, 100); /* takes the spare */
    kit_flush(&k);
    assert_int_equal(wal_prepare(k.w, &more, &e), MU_E_DISK_FULL);
    assert_false(wal_space_ok(k.w));
    kit_append(&k, 51, (size_t)(wal_room(k.w) / 160), 1, 50, 100);
    kit_flush(&k);
    assert_false(wal_room(k.w) >= 160);
    kit_append(&k, wal_last(k.w) + 1, 1, 1, 0, 100);
    struct wal_op *op = wal_take(k.w);
    assert_int_equal(wal_execute(op, &e), MU_E_DISK_FULL);
    kit_reopen(&k, WAL_OK);
    wal_drop_prefix(k.w, wal_last(k.w));
    kit_flush(&k);
    assert_true(wal_space_ok(k.w));
    kit_append(&k, wal_last(k.w) + 1, 20, 1, wal_last(k.w), 100);
    kit_flush(&k);
    kit_expect(&k, wal_first(k.w), wal_last(k.w), wal_first(k.w) - 1);
    kit_fini(&k);
}

/* Preparing goes in bounded steps and ends with one spare of real zeros. */
static void test_prepare_in_steps(void **state)
{
    (void)state;
    struct kit k;
    struct err e = {0};
    int more = 1;
    unsigned n = 0;
    kit_init(&k, 1 << 20, 0);
    for (; more; n++) {
        assert_int_equal(wal_prepare(k.w, &more, &e), 0);
    }
    assert_int_equal(n, 4);
    assert_int_equal(files_ending(&k, ".spare"), 1);
    assert_int_equal(wal_prepare(k.w, &more, &e), 0);
    assert_int_equal(more, 0);
    kit_fini(&k);
}

static void append_gap(void *arg)
{
    kit_append(arg, 12, 1, 1, 0, 8);
}

static void append_old_term(void *arg)
{
    kit_append(arg, 11, 1, 1, 0, 8);
}

static void test_misuse_aborts(void **state)
{
    (void)state;
    struct kit k;
    kit_init(&k, 8192, 0);
    kit_append(&k, 1, 10, 5, 0, 8);
    assert_true(unit_aborts(append_gap, &k));
    assert_true(unit_aborts(append_old_term, &k));
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_log_is_empty),
        cmocka_unit_test(test_append_and_read),
        cmocka_unit_test(test_one_sync_per_group),
        cmocka_unit_test(test_read_limits),
        cmocka_unit_test(test_truncate),
        cmocka_unit_test(test_durable_is_reported_safely),
        cmocka_unit_test(test_nothing_durable_while_a_reset_waits),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_drop_prefix_reuses),
        cmocka_unit_test(test_drop_behind_a_truncation),
        cmocka_unit_test(test_long_entry),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_segment_size_may_change),
        cmocka_unit_test(test_full_disk_is_noticed_early),
        cmocka_unit_test(test_prepare_in_steps),
        cmocka_unit_test(test_misuse_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
