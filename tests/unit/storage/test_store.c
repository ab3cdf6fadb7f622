/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors storage/store.c, storage/meta.c and storage/apply/apply.c. */
#include "kit.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "storage/store_impl.h"

/* ---- applying ---- */

static struct command one; /* large */

struct encoded {
    struct store_entry entries[300];
    struct buf bytes[300];
};

/* Entry `index` is the same in every run. */
static void make_entry(struct encoded *en, size_t at, mu_index index)
{
    static struct kit_text text;
    uint64_t seed = index * 0x9e3779b97f4a7c15 + 1;
    buf_clear(&en->bytes[at]);
    kit_random_command(&seed, &text, &one);
    command_encode(&en->bytes[at], &one);
    en->entries[at] =
        (struct store_entry){index, 1 + index / 1000, STORE_COMMAND, buf_slice(&en->bytes[at])};
    if (index % 50 == 7) {
        en->entries[at].kind = STORE_BARRIER;
        en->entries[at].data = slice_of(NULL, 0);
    } else if (index % 50 == 8) {
        en->entries[at].kind = STORE_CHANGE;
    }
}

static void apply_range(struct store *s, struct encoded *en, mu_index from, mu_index to,
                        size_t batch)
{
    struct change_set changes;
    while (from <= to) {
        size_t n = 0;
        while (n < batch && from + n <= to) {
            make_entry(en, n, from + n);
            n++;
        }
        assert_int_equal(0, store_has_room(s, n * 1000, NULL));
        store_apply(s, en->entries, n, NULL, NULL, &changes);
        from += n;
    }
}

static void free_encoded(struct encoded *en)
{
    for (size_t i = 0; i < N_ELEMENTS(en->bytes); i++) {
        buf_fini(&en->bytes[i]);
    }
    mem_free(en);
}

static void test_empty(void **state)
{
    struct kit k;
    struct store_state st;
    (void)state;
    kit_init(&k);
    assert_false(k.was_reset);
    store_state(k.store, &st);
    assert_true(st.applied == 0 && st.applied_term == 0 && st.revision == 0 && st.hash == 0 &&
                st.conf.len == 0);
    struct view *v = view_open(k.store);
    assert_true(view_revision(v) == 0 && view_applied(v) == 0 &&
                view_compacted(v, SPACE_CONFIG) == 0);
    view_close(v);
    kit_fini(&k);
}

static void count_result(void *arg, const struct store_entry *entry, const struct command_result *r)
{
    mu_index *last = arg;
    (void)r;
    assert_true(entry->index > *last);
    assert_int_equal(STORE_COMMAND, entry->kind);
    *last = entry->index;
}

static void test_entries_applied_before_are_skipped(void **state)
{
    struct kit k;
    struct store_state st, again;
    struct change_set changes;
    struct encoded *en = mem_zalloc(sizeof(*en));
    (void)state;
    kit_init(&k);
    apply_range(k.store, en, 1, 100, 10);
    store_state(k.store, &st);
    uint64_t hash = st.hash;
    for (size_t i = 0; i < 50; i++) {
        make_entry(en, i, 51 + i);
    }
    mu_index last = 0;
    store_apply(k.store, en->entries, 50, count_result, &last, &changes);
    store_state(k.store, &again);
    assert_true(again.applied == 100 && again.hash == hash && changes.n == 0 && last == 0);
    for (size_t i = 0; i < 50; i++) {
        make_entry(en, i, 81 + i);
    }
    store_apply(k.store, en->entries, 50, count_result, &last, &changes);
    store_state(k.store, &again);
    assert_true(again.applied == 130 && last == 130 && again.hash != hash);
    free_encoded(en);
    kit_fini(&k);
}

/* However the entries are cut into batches, and whether or not the process was stopped in between:
 * one state. */
static void test_batches_do_not_matter(void **state)
{
    struct kit x, y;
    struct store_state sx, sy;
    struct encoded *en = mem_zalloc(sizeof(*en));
    (void)state;
    kit_init(&x);
    kit_init(&y);
    apply_range(x.store, en, 1, 2000, 1);
    apply_range(y.store, en, 1, 500, 7);
    kit_close(&y, 0);
    kit_open(&y);
    apply_range(y.store, en, 501, 1200, 300);
    kit_close(&y, 1);
    kit_open(&y);
    assert_false(y.was_reset);
    apply_range(y.store, en, 1201, 2000, 64);
    store_state(x.store, &sx);
    store_state(y.store, &sy);
    assert_true(sx.applied == 2000 && sy.applied == 2000 && sx.hash == sy.hash &&
                sx.revision == sy.revision);
    assert_true(sx.conf_index == sy.conf_index && slice_eq(sx.conf, sy.conf) && sx.conf.len != 0);
    kit_expect_equal(x.store, y.store);
    kit_check(&x);
    free_encoded(en);
    kit_fini(&x);
    kit_fini(&y);
}

static void test_hash_tells_content_and_order(void **state)
{
    struct kit x, y;
    struct store_state sx, sy;
    (void)state;
    kit_init(&x);
    kit_init(&y);
    kit_put(&x, "a", "1");
    kit_put(&y, "a", "2");
    store_state(x.store, &sx);
    store_state(y.store, &sy);
    assert_true(sx.hash != sy.hash);
    kit_put(&x, "b", "same");
    kit_put(&y, "b", "same");
    store_state(x.store, &sx);
    store_state(y.store, &sy);
    assert_true(sx.hash != sy.hash); /* what went wrong once stays visible */
    kit_put(&x, "a", "2");
    kit_put(&y, "a", "1");
    store_state(x.store, &sx);
    store_state(y.store, &sy);
    assert_true(sx.hash != sy.hash);
    kit_fini(&x);
    kit_fini(&y);
}

static void on_result(void *arg, const struct store_entry *entry, const struct command_result *r)
{
    (void)entry;
    *(struct command_result *)arg = *r;
}

/* Bytes that nobody understands are refused alike on every node and move nothing but the index and
 * the hash. */
static void test_senseless_command(void **state)
{
    struct kit k;
    struct store_state before, after;
    struct command_result r = {0};
    struct change_set changes;
    (void)state;
    kit_init(&k);
    kit_put(&k, "a", "1");
    store_state(k.store, &before);
    store_apply(k.store, &(struct store_entry){2, 1, STORE_COMMAND, LIT("\x09nonsense")}, 1,
                on_result, &r, &changes);
    store_state(k.store, &after);
    assert_int_equal(MU_E_FORMAT, r.code);
    assert_true(after.applied == 2 && after.revision == before.revision && r.revision == 1 &&
                after.hash != before.hash);
    kit_fini(&k);
}

static void test_cluster_id_is_set_once(void **state)
{
    struct kit k;
    struct store_state st;
    (void)state;
    kit_init(&k);
    struct command c = {.type = CMD_CLUSTER_INIT};
    memset(c.u.cluster_init.cluster_id, 7, 16);
    assert_int_equal(0, kit_apply(&k, &c).code);
    memset(c.u.cluster_init.cluster_id, 8, 16);
    assert_int_equal(MU_E_EXISTS, kit_apply(&k, &c).code);
    kit_close(&k, 1);
    kit_open(&k);
    store_state(k.store, &st);
    assert_true(st.cluster_id[0] == 7 && st.cluster_id[15] == 7 && st.revision == 1);
    kit_fini(&k);
}

/* ---- trust ---- */

static void open_with(struct kit *k, const char *boot_id, uint64_t mount_id)
{
    struct mark now = {.mount_id = mount_id};
    struct err e = {0};
    snprintf(now.boot_id, sizeof(now.boot_id), "%s", boot_id);
    int rc = store_open_at(&k->options, &now, &k->store, &k->was_reset, &e);
    if (rc != 0) {
        fail_msg("store_open_at: %s", e.text);
    }
    struct store_state st;
    store_state(k->store, &st);
    k->index = st.applied;
}

#define BOOT_A "11111111-2222-3333-4444-555555555555"
#define BOOT_B "aaaaaaaa-2222-3333-4444-555555555555"

static void test_what_is_trusted(void **state)
{
    static const struct {
        int is_clean, is_trusted;
        const char *boot_then, *boot_now;
        uint64_t mount_then, mount_now;
    } cases[] = {
        {1, 1, BOOT_A, BOOT_A, 5, 5}, {1, 1, BOOT_A, BOOT_B, 5, 9}, {1, 1, "", "", 0, 0},
        {0, 1, BOOT_A, BOOT_A, 5, 5}, {0, 0, BOOT_A, BOOT_B, 5, 5}, /* the machine went down */
        {0, 0, BOOT_A, BOOT_A, 5, 6},                               /* the file system was away */
        {0, 0, BOOT_A, BOOT_A, 0, 0},                               /* an old kernel cannot tell */
        {0, 0, BOOT_A, BOOT_A, 5, 0}, {0, 0, "", "", 5, 5},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct kit k = {.now = 1};
        kit_make_dir(k.dir);
        k.options.dir = k.dir;
        open_with(&k, cases[i].boot_then, cases[i].mount_then);
        assert_false(k.was_reset);
        kit_put(&k, "a", "1");
        kit_close(&k, cases[i].is_clean);
        open_with(&k, cases[i].boot_now, cases[i].mount_now);
        assert_int_equal(!cases[i].is_trusted, k.was_reset);
        assert_int_equal(cases[i].is_trusted ? 0 : MU_E_NOT_FOUND, kit_read(&k, "a", 0, "1"));
        assert_int_equal(cases[i].is_trusted ? 1 : 0, k.index);
        kit_fini(&k);
    }
}

/* The clean mark is gone before the first write: a power cut after a clean start is not mistaken
 * for a clean stop. */
static void test_opening_takes_the_clean_mark_away(void **state)
{
    struct kit k = {.now = 1};
    (void)state;
    kit_make_dir(k.dir);
    k.options.dir = k.dir;
    open_with(&k, BOOT_A, 5);
    kit_close(&k, 1);
    open_with(&k, BOOT_A, 5);
    kit_close(&k, 0); /* nothing was written, yet it is not clean */
    open_with(&k, BOOT_B, 5);
    assert_true(k.was_reset);
    kit_fini(&k);
}

static void test_a_damaged_mark_is_not_trusted(void **state)
{
    char path[600];
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct kit k = {.now = 1};
        kit_make_dir(k.dir);
        k.options.dir = k.dir;
        open_with(&k, BOOT_A, 5);
        kit_put(&k, "a", "1");
        kit_close(&k, 1);
        snprintf(path, sizeof(path), "%s/store/mark", k.dir);
        if (how == 0) {
            assert_int_equal(0, unlink(path));
        } else if (how == 1) {
            assert_int_equal(0, truncate(path, 67));
        } else {
            int fd = open(path, O_WRONLY);
            assert_int_equal(1, pwrite(fd, "\xff", 1, 30));
            close(fd);
        }
        open_with(&k, BOOT_A, 5);
        assert_true(k.was_reset);
        kit_fini(&k);
    }
}

static void test_one_process_at_a_time(void **state)
{
    struct kit k;
    struct store *second;
    struct err e = {0};
    int was_reset;
    (void)state;
    kit_init(&k);
    assert_int_equal(MU_E_IO, store_open(&k.options, &second, &was_reset, &e));
    assert_non_null(strstr(e.text, "held by another process"));
    kit_fini(&k);
}

/* What an interrupted snapshot_load leaves does not stop the next start. */
static void test_leftovers_are_cleared(void **state)
{
    struct kit k;
    char path[600];
    (void)state;
    kit_init(&k);
    kit_put(&k, "a", "1");
    kit_close(&k, 1);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", k.dir, i ? "store.old" : "store.new");
        assert_int_equal(0, mkdir(path, 0700));
        snprintf(path, sizeof(path), "%s/%s/data.mdb", k.dir, i ? "store.old" : "store.new");
        close(open(path, O_CREAT | O_WRONLY, 0600));
    }
    kit_open(&k);
    assert_int_equal(0, kit_read(&k, "a", 0, "1"));
    snprintf(path, sizeof(path), "%s/store.old", k.dir);
    assert_false(files_exists(path));
    kit_fini(&k);
}

/* ---- kill -9 ---- */

static _Noreturn void apply_until_killed(struct kit *k)
{
    struct encoded *en = mem_zalloc(sizeof(*en));
    kit_open(k);
    uint64_t seed = k->index + 3;
    for (;;) {
        size_t n = 1 + kit_below(&seed, 200);
        apply_range(k->store, en, k->index + 1, k->index + n, n);
        k->index += n;
    }
}

/* Killed at any moment, the store is a prefix of the log: exactly what its applied index says, in
 * every table. */
static void test_kill_9(void **state)
{
    struct kit k, replay;
    struct encoded *en = mem_zalloc(sizeof(*en));
    struct mark now;
    (void)state;
    kit_init(&k);
    kit_init(&replay);
    mark_now(k.dir, &now);
    for (int round = 0; round < 12; round++) {
        mu_index before = k.index;
        kit_close(&k, 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            apply_until_killed(&k);
        }
        usleep(20000 + 7919u * (unsigned)round % 40000);
        kill(pid, SIGKILL);
        assert_int_equal(pid, waitpid(pid, NULL, 0));
        kit_open(&k);
        if (now.mount_id == 0 || now.boot_id[0] == 0) {
            assert_true(k.was_reset); /* this kernel cannot prove that the pages are still there */
            break;
        }
        assert_false(k.was_reset);
        assert_true(k.index >= before);
        apply_range(replay.store, en, before + 1, k.index, 100);
        kit_check(&k);
        kit_expect_equal(k.store, replay.store);
    }
    assert_true(k.index > 0 || now.mount_id == 0);
    free_encoded(en);
    kit_fini(&k);
    kit_fini(&replay);
}

/* ---- room ---- */

struct reader {
    struct kit *kit;
    atomic_int must_stop;
    atomic_ulong n_reads;
};

static void *read_all_the_time(void *arg)
{
    struct reader *r = arg;
    while (!atomic_load(&r->must_stop)) {
        struct config_row row;
        struct config_name n = kit_config_name("a");
        struct view *v = view_open(r->kit->store);
        struct view *nested =
            view_open(r->kit->store); /* must not wait for a gate that waits for us */
        if (view_config(v, &n, 0, &row) == 0) {
            MU_INVARIANT(row.content.len == 2999 && row.content.p[0] == row.content.p[2998]);
        }
        view_close(nested);
        view_close(v);
        atomic_fetch_add(&r->n_reads, 1);
    }
    return NULL;
}

static void test_the_map_grows_under_readers(void **state)
{
    struct kit k = {.now = 1};
    pthread_t threads[3];
    static char text[3000];
    (void)state;
    kit_make_dir(k.dir);
    k.options.map_initial = 1 << 20;
    kit_open(&k);
    uint64_t before = db_map_bytes(k.store->db);
    struct reader r = {.kit = &k};
    for (size_t i = 0; i < N_ELEMENTS(threads); i++) {
        assert_int_equal(0, pthread_create(&threads[i], NULL, read_all_the_time, &r));
    }
    for (int i = 0; i < 20000 && (db_map_bytes(k.store->db) < 8 * before || i < 8000); i++) {
        memset(text, 'a' + i % 26, sizeof(text) - 1);
        kit_put(&k, "a", text);
    }
    atomic_store(&r.must_stop, 1);
    for (size_t i = 0; i < N_ELEMENTS(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(db_map_bytes(k.store->db) >= 8 * before);
    assert_true(atomic_load(&r.n_reads) > 0);
    assert_int_equal(0, kit_read(&k, "a", 0, text));
    kit_fini(&k);
}

static void test_the_largest_size_is_an_error_not_a_crash(void **state)
{
    struct kit k = {.now = 1};
    struct err e = {0};
    static char text[100000];
    int rc = 0;
    (void)state;
    kit_make_dir(k.dir);
    k.options.map_initial = 1 << 20;
    k.options.map_max = 32 << 20;
    kit_open(&k);
    memset(text, 'x', sizeof(text) - 1);
    for (int i = 0; i < 1000 && rc == 0; i++) {
        rc = store_has_room(k.store, sizeof(text), &e);
        if (rc == 0) {
            kit_put(&k, "a", text);
        }
    }
    assert_int_equal(MU_E_DISK_FULL, rc);
    assert_true(k.index > 50);
    kit_fini(&k);
}

/* A small file system of our own, in a child with its own namespaces. */
static int mount_small(const char *dir)
{
    uid_t uid = getuid();
    if (unshare(CLONE_NEWNS | (uid == 0 ? 0 : CLONE_NEWUSER)) != 0) {
        return 0;
    }
    (void)mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    return mount("muster-test", dir, "tmpfs", 0, "size=24m") == 0;
}

enum { CHILD_OK = 0, CHILD_SKIP = 77, CHILD_BAD = 1 };

/* Fill the disk: store_has_room says no before any page store would fail (that would be SIGBUS),
 * what was applied stays readable, and when there is space again writing goes on. */
static _Noreturn void fill_the_disk(struct kit *k)
{
    static char text[20000];
    struct err e = {0};
    int rc = 0;
    char path[600];
    if (!mount_small(k->dir)) {
        _exit(CHILD_SKIP);
    }
    snprintf(path, sizeof(path), "%s/other", k->dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    if (fd < 0 || posix_fallocate(fd, 0, 8 << 20) != 0) {
        _exit(CHILD_SKIP);
    }
    kit_open(k);
    memset(text, 'x', sizeof(text) - 1);
    for (int i = 0; i < 5000 && rc == 0; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        rc = store_has_room(k->store, 2 * sizeof(text), &e);
        if (rc == 0) {
            kit_put(k, key, text);
        }
    }
    mu_index full_at = k->index;
    int is_readable = kit_read(k, "k0", 0, text) == 0;
    close(fd);
    unlink(path);
    int is_open_again = store_has_room(k->store, 2 * sizeof(text), &e) == 0;
    if (is_open_again) {
        kit_put(k, "more", text);
    }
    kit_check(k);
    int is_right = rc == MU_E_DISK_FULL && full_at > 100 && is_readable && is_open_again;
    _exit(is_right ? CHILD_OK : CHILD_BAD);
}

static void test_disk_full(void **state)
{
    struct kit k = {.now = 1};
    int status = 0;
    (void)state;
    kit_make_dir(k.dir);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fill_the_disk(&k);
    }
    assert_int_equal(pid, waitpid(pid, &status, 0));
    kit_remove_dir(k.dir);
    assert_false(WIFSIGNALED(status));
    if (WEXITSTATUS(status) == CHILD_SKIP) {
        skip();
    }
    assert_int_equal(CHILD_OK, WEXITSTATUS(status));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_entries_applied_before_are_skipped),
        cmocka_unit_test(test_batches_do_not_matter),
        cmocka_unit_test(test_hash_tells_content_and_order),
        cmocka_unit_test(test_senseless_command),
        cmocka_unit_test(test_cluster_id_is_set_once),
        cmocka_unit_test(test_what_is_trusted),
        cmocka_unit_test(test_opening_takes_the_clean_mark_away),
        cmocka_unit_test(test_a_damaged_mark_is_not_trusted),
        cmocka_unit_test(test_one_process_at_a_time),
        cmocka_unit_test(test_leftovers_are_cleared),
        cmocka_unit_test(test_kill_9),
        cmocka_unit_test(test_the_map_grows_under_readers),
        cmocka_unit_test(test_the_largest_size_is_an_error_not_a_crash),
        cmocka_unit_test(test_disk_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
