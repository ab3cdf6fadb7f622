/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/writer.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/mem.h"
#include "tests/unit/raft/wal_kit.h"

struct owner {
    struct kit k;
    struct writer *w;
    int fd;
};

static void wake(void *arg)
{
    struct owner *o = arg;
    uint64_t one = 1;
    assert_int_equal(write(o->fd, &one, sizeof(one)), sizeof(one));
}

static void owner_start(struct owner *o)
{
    o->fd = eventfd(0, EFD_CLOEXEC);
    struct writer_options wo = {.wal = o->k.w, .wake = wake, .arg = o};
    assert_int_equal(writer_start(&wo, &o->w, NULL), 0);
}

static int owner_wait(struct owner *o, mu_index *out_durable, struct err *e)
{
    for (;;) {
        int rc = writer_poll(o->w, out_durable, e);
        if (rc != 0) {
            return rc;
        }
        struct pollfd p = {o->fd, POLLIN, 0};
        uint64_t n;
        assert_int_equal(poll(&p, 1, 10000), 1);
        assert_int_equal(read(o->fd, &n, sizeof(n)), sizeof(n));
    }
}

static void owner_stop(struct owner *o, int want)
{
    assert_int_equal(writer_stop(o->w, NULL), want);
    close(o->fd);
}

/* Everything appended becomes durable, in groups that grow while the disk is busy; spares are made
 * between. */
static void test_appended_becomes_durable(void **state)
{
    (void)state;
    struct owner o;
    struct err e = {0};
    mu_index durable = 0;
    kit_init(&o.k, 8192, 4096);
    owner_start(&o);
    for (unsigned i = 0; i < 500; i++) {
        kit_append(&o.k, 1 + i * 4, 4, 1, i * 4, 100);
        writer_kick(o.w);
        if (i % 50 == 49) {
            while (durable < wal_last(o.k.w)) {
                assert_int_equal(owner_wait(&o, &durable, &e), 1);
            }
            wal_drop_prefix(o.k.w, durable - 40);
        }
    }
    assert_true(writer_is_idle(o.w) || wal_has_pending(o.k.w));
    struct writer_stats s;
    writer_stats(o.w, &s);
    assert_in_range(s.n_ops, 10, 499);
    owner_stop(&o, 0);
    kit_reopen(&o.k, WAL_OK);
    kit_expect(&o.k, wal_first(o.k.w), 2000, wal_first(o.k.w) - 1);
    kit_fini(&o.k);
}

/* Stopping writes what still waits, in flight or not. */
static void test_stop_writes_the_rest(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        struct owner o;
        kit_init(&o.k, 8192, 0);
        owner_start(&o);
        kit_append(&o.k, 1, 3, 1, 0, 50);
        if (i % 2 != 0) {
            writer_kick(o.w);
        }
        kit_append(&o.k, 4, 3, 1, 3, 50);
        owner_stop(&o, 0);
        assert_int_equal(wal_durable(o.k.w), 6);
        kit_fini(&o.k);
    }
}

/* After a failed sync nothing more is written, whatever is handed over. */
static void test_failed_sync_is_final(void **state)
{
    (void)state;
    struct owner o;
    struct err e = {0};
    struct memdisk_stats a, b;
    mu_index durable = 0;
    int more = 0;
    kit_init(&o.k, 65536, 0);
    assert_int_equal(wal_prepare(o.k.w, &more, &e), 0); /* no background work during the test */
    memdisk_fail_sync(o.k.m, 1, MU_E_IO);
    owner_start(&o);
    kit_append(&o.k, 1, 1, 1, 0, 50);
    writer_kick(o.w);
    assert_int_equal(owner_wait(&o, &durable, &e), MU_E_IO);
    assert_non_null(strstr(e.text, "injected"));
    memdisk_stats(o.k.m, &a);
    kit_append(&o.k, 2, 1, 1, 0, 50);
    writer_kick(o.w);
    assert_int_equal(writer_poll(o.w, &durable, &e), MU_E_IO);
    owner_stop(&o, MU_E_IO);
    memdisk_stats(o.k.m, &b);
    assert_int_equal(a.n_writes, b.n_writes);
    assert_int_equal(durable, 0);
    assert_int_equal(wal_durable(o.k.w), 0);
    kit_fini(&o.k);
}

/* Neither after a failure of the work between operations. */
static void test_failed_preparation_is_final(void **state)
{
    (void)state;
    struct owner o;
    struct err e = {0};
    struct memdisk_stats a, b;
    mu_index durable = 0;
    kit_init(&o.k, 65536, 0);
    memdisk_fail_write(o.k.m, 1, MU_E_IO);
    owner_start(&o);
    assert_int_equal(owner_wait(&o, &durable, &e), MU_E_IO);
    memdisk_stats(o.k.m, &a);
    kit_append(&o.k, 1, 1, 1, 0, 50);
    writer_kick(o.w);
    assert_int_equal(writer_poll(o.w, &durable, &e), MU_E_IO);
    usleep(20000);
    owner_stop(&o, MU_E_IO);
    memdisk_stats(o.k.m, &b);
    assert_int_equal(a.n_writes, b.n_writes);
    kit_fini(&o.k);
}

/* A full disk is no error of the writer: it says so while there is room, and gets over it. */
static void test_full_disk_is_told_and_forgotten(void **state)
{
    (void)state;
    struct owner o;
    struct err e = {0};
    mu_index durable = 0;
    kit_init(&o.k, 8192, 0);
    memdisk_set_capacity(o.k.m, 8192 + 100);
    owner_start(&o);
    for (unsigned i = 0; i < 100 && wal_space_ok(o.k.w); i++) {
        usleep(10000);
    }
    assert_false(wal_space_ok(o.k.w));
    kit_append(&o.k, 1, 5, 1, 0, 100);
    writer_kick(o.w);
    assert_int_equal(owner_wait(&o, &durable, &e), 1);
    assert_int_equal(durable, 5);
    owner_stop(&o, 0);
    memdisk_set_capacity(o.k.m, 0);
    owner_start(&o);
    for (unsigned i = 0; i < 300 && !wal_space_ok(o.k.w); i++) {
        usleep(10000);
    }
    assert_true(wal_space_ok(o.k.w));
    owner_stop(&o, 0);
    kit_fini(&o.k);
}

static void remove_all(struct disk *d)
{
    char path[300], cmd[400];
    snprintf(path, sizeof(path), "%s", disk_real_root(d));
    disk_close_real(d);
    snprintf(cmd, sizeof(cmd), "rm -r '%s'", path);
    assert_int_equal(system(cmd), 0);
}

/* The same on a real file system. */
static void test_on_a_real_disk(void **state)
{
    (void)state;
    char root[] = "/tmp/muster-writer-XXXXXX";
    struct owner o = {0};
    struct err e = {0};
    mu_index durable = 0;
    assert_non_null(mkdtemp(root));
    assert_int_equal(disk_open_real(root, &o.k.o.disk, &e), 0);
    o.k.o.dir = "log";
    o.k.o.segment_bytes = 65536;
    assert_int_equal(kit_open(&o.k), 0);
    owner_start(&o);
    for (unsigned i = 0; i < 300; i++) {
        kit_append(&o.k, 1 + i * 3, 3, 1, i * 3, 300);
        writer_kick(o.w);
        if (i % 10 == 9) {
            assert_int_equal(owner_wait(&o, &durable, &e), 1);
            wal_drop_prefix(o.k.w, i * 3 / 2);
        }
    }
    owner_stop(&o, 0);
    kit_reopen(&o.k, WAL_OK);
    assert_int_equal(wal_last(o.k.w), 900);
    assert_true(wal_first(o.k.w) > 1);
    kit_expect(&o.k, wal_first(o.k.w), 900, wal_first(o.k.w) - 1);
    kit_close(&o.k);
    remove_all(o.k.o.disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appended_becomes_durable),
        cmocka_unit_test(test_stop_writes_the_rest),
        cmocka_unit_test(test_failed_sync_is_final),
        cmocka_unit_test(test_failed_preparation_is_final),
        cmocka_unit_test(test_full_disk_is_told_and_forgotten),
        cmocka_unit_test(test_on_a_real_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
