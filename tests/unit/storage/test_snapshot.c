/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors storage/snapshot/. */
#include "kit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/wire.h"
#include "storage/event.h"
#include "storage/snapshot/format.h"
#include "storage/store_impl.h"

static struct command one; /* large */

static void fill(struct kit *k, uint64_t seed, size_t n)
{
    static struct kit_text text;
    struct change_set changes;
    for (size_t i = 0; i < n; i++) {
        kit_random_command(&seed, &text, &one);
        k->now = one.wall_ms;
        (void)kit_apply(k, &one);
    }
    struct store_entry conf = {++k->index, 1, STORE_CHANGE, SLICE_LIT("three members")};
    store_apply(k->store, &conf, 1, NULL, NULL, &changes);
    (void)kit_put(k, "end", "x");
}

static void path_in(const struct kit *k, const char *name, char out[300])
{
    snprintf(out, 300, "%s/%s", k->dir, name);
}

static struct snapshot_info write_ok(struct kit *k, const char *path)
{
    struct snapshot_info info;
    struct err e = {0};
    int rc = snapshot_write(k->store, path, NULL, &info, &e);
    if (rc != 0) {
        fail_msg("snapshot_write: %s", e.text);
    }
    return info;
}

static void load_ok(struct kit *k, const char *path)
{
    struct store_state st;
    struct err e = {0};
    int rc = snapshot_load(k->store, path, &e);
    if (rc != 0) {
        fail_msg("snapshot_load: %s", e.text);
    }
    store_state(k->store, &st);
    k->index = st.applied;
}

static void test_a_copy_is_equal_and_goes_on_equally(void **state)
{
    struct kit x, y;
    struct store_state sx, sy;
    struct snapshot_info info;
    char path[300];
    struct err e = {0};
    (void)state;
    kit_init(&x);
    kit_init(&y);
    fill(&x, 11, 3000);
    fill(&y, 12, 500); /* to be replaced */
    path_in(&x, "snap", path);
    struct snapshot_info written = write_ok(&x, path);
    assert_int_equal(0, snapshot_check(path, &info, &e));
    store_state(x.store, &sx);
    assert_true(info.index == sx.applied && info.term == sx.applied_term &&
                info.revision == sx.revision && info.hash == sx.hash);
    assert_true(info.conf_index == sx.conf_index &&
                slice_eq(slice_of(info.conf, info.conf_len), LIT("three members")));
    assert_true(info.n_rows == written.n_rows && info.size_bytes == written.size_bytes &&
                info.n_rows > 100);
    load_ok(&y, path);
    store_state(y.store, &sy);
    assert_true(sx.applied == sy.applied && sx.revision == sy.revision && sx.hash == sy.hash &&
                slice_eq(sx.conf, sy.conf));
    kit_check(&y);
    kit_expect_equal(x.store, y.store);
    /* request ids, the place of a compaction under way, leases: what comes after comes out the same
     */
    fill(&x, 13, 1500);
    fill(&y, 13, 1500);
    kit_expect_equal(x.store, y.store);
    store_state(x.store, &sx);
    store_state(y.store, &sy);
    assert_true(sx.hash == sy.hash && sx.revision == sy.revision);
    kit_fini(&x);
    kit_fini(&y);
}

static void test_of_an_empty_store(void **state)
{
    struct kit k;
    char path[300];
    (void)state;
    kit_init(&k);
    path_in(&k, "snap", path);
    struct snapshot_info info = write_ok(&k, path);
    assert_true(info.index == 0 && info.n_rows == 0);
    kit_put(&k, "a", "1");
    load_ok(&k, path);
    assert_int_equal(MU_E_NOT_FOUND, kit_read(&k, "a", 0, NULL));
    assert_int_equal(0, kit_put(&k, "a", "2").code);
    kit_fini(&k);
}

static void test_large_rows_and_long_keys(void **state)
{
    struct kit x, y;
    char path[300];
    static char key[KEY_CONFIG_MAX + 1];
    (void)state;
    kit_init(&x);
    kit_init(&y);
    char *text = mem_zalloc(5000001);
    memset(text, 'x', 5000000);
    kit_put(&x, "large", text);
    text[SNAPSHOT_BLOCK_MAX] = 0;
    kit_put(&x, "block", text);
    text[1000] = 0;
    for (size_t len = 400; len < KEY_CONFIG_MAX; len += 97) {
        memset(key, 'k', len);
        key[len] = 0;
        kit_put(&x, key, text);
        key[len - 1] = 'l';
        kit_put(&x, key, "short");
    }
    path_in(&x, "snap", path);
    write_ok(&x, path);
    load_ok(&y, path);
    kit_check(&y);
    kit_expect_equal(x.store, y.store);
    mem_free(text);
    kit_fini(&x);
    kit_fini(&y);
}

/* ---- damage ---- */

static uint8_t *read_all(const char *path, size_t *out_len)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *p = mem_alloc((size_t)st.st_size + 1);
    assert_int_equal(st.st_size, read(fd, p, (size_t)st.st_size));
    close(fd);
    *out_len = (size_t)st.st_size;
    return p;
}

static void write_file(const char *path, const uint8_t *p, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(len, write(fd, p, len));
    close(fd);
}

static void expect_bad(const char *path, const uint8_t *p, size_t len)
{
    struct snapshot_info info;
    struct err e = {0};
    write_file(path, p, len);
    int rc = snapshot_check(path, &info, &e);
    assert_true(rc == MU_E_CORRUPT || rc == MU_E_FORMAT);
    assert_true(e.text[0] != 0);
}

static void test_every_byte_counts(void **state)
{
    struct kit k;
    char path[300], bad[300];
    size_t len;
    (void)state;
    kit_init(&k);
    fill(&k, 5, 60);
    path_in(&k, "snap", path);
    path_in(&k, "bad", bad);
    write_ok(&k, path);
    uint8_t *p = read_all(path, &len);
    assert_true(len > 2000);
    for (size_t i = 0; i < len; i++) {
        p[i] ^= 0x10;
        expect_bad(bad, p, len);
        p[i] ^= 0x10;
    }
    for (size_t n = 0; n < len; n += 1 + n / 50) {
        expect_bad(bad, p, n);
    }
    expect_bad(bad, p, len - 1);
    p[len] = 0;
    expect_bad(bad, p, len + 1);
    mem_free(p);
    kit_fini(&k);
}

/* A file that cannot be loaded leaves everything as it was. */
static void test_a_bad_file_changes_nothing(void **state)
{
    struct kit k;
    char path[300], left[300];
    size_t len;
    struct err e = {0};
    (void)state;
    kit_init(&k);
    fill(&k, 5, 500);
    path_in(&k, "snap", path);
    path_in(&k, "store.new", left);
    write_ok(&k, path);
    kit_put(&k, "later", "1");
    uint8_t *p = read_all(path, &len);
    p[len - 100] ^= 1;
    write_file(path, p, len);
    assert_int_equal(MU_E_CORRUPT, snapshot_load(k.store, path, &e));
    assert_int_equal(0, kit_read(&k, "later", 0, "1"));
    assert_false(files_exists(left));
    assert_int_equal(MU_E_NOT_FOUND, snapshot_load(k.store, "/nonexistent/snap", &e));
    assert_int_equal(0, kit_put(&k, "later", "2").code);
    kit_check(&k);
    mem_free(p);
    kit_fini(&k);
}

/* ---- files that are checksummed and still wrong ---- */

struct forged {
    enum db_table table;
    const char *key;
    size_t key_len;
    const char *value;
    size_t value_len;
};

static int load_forged(struct kit *k, const struct forged *rows, size_t n)
{
    char path[300];
    struct snapshot_info info = {.index = 0};
    struct err e = {0};
    struct snapshot_writer *w = mem_alloc(sizeof(*w));
    path_in(k, "forged", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    snapshot_put_header(w, fd, path, &info, &e);
    for (size_t i = 0; i < n; i++) {
        snapshot_put_row(w, rows[i].table, slice_of(rows[i].key, rows[i].key_len),
                         slice_of(rows[i].value, rows[i].value_len));
    }
    assert_int_equal(0, snapshot_put_end(w));
    close(fd);
    mem_free(w);
    return snapshot_load(k->store, path, &e);
}

/* A row and an event that are right but for their keys. */
static int load_with_keys(struct kit *k, struct slice event_name, struct slice row_name)
{
    struct buf value, row;
    struct config_row config = {.meta = {.create_rev = 1, .mod_rev = 1, .version = 1}};
    buf_init(&value);
    buf_init(&row);
    config_row_encode(&row, &config);
    wire_put_bytes(&value, event_name);
    buf_append_slice(&value, buf_slice(&row));
    const struct forged rows[] = {
        {DB_EVENTS, "\0\0\0\0\0\0\0\1\0\0\0\0", 12, (const char *)value.p, value.len},
        {DB_ROWS, (const char *)row_name.p, row_name.len, "\0\0\0\0\0\0\0\0\1\0\0\0\0", 13},
    };
    int rc = load_forged(k, rows, 2);
    buf_fini(&value);
    buf_fini(&row);
    return rc;
}

/* The store that a load replaced could not be removed; the next load finds it in its way. */
static void test_left_behind_by_an_earlier_load(void **state)
{
    struct kit k;
    char path[300], old[300], file[300];
    (void)state;
    kit_init(&k);
    fill(&k, 5, 50);
    path_in(&k, "snap", path);
    write_ok(&k, path);
    path_in(&k, "store.old", old);
    path_in(&k, "store.old/data.mdb", file);
    assert_int_equal(0, files_mkdir(old, NULL));
    write_file(file, (const uint8_t *)"old", 3);
    load_ok(&k, path);
    assert_false(files_exists(old));
    kit_check(&k);
    kit_fini(&k);
}

static void test_forged_keys_are_refused(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    const struct slice a = SLICE_LIT("Cn\0g\0a"), b = SLICE_LIT("Cn\0g\0b"),
                       sub = SLICE_LIT("\1\0\0\0\0\0\0\0\1x");
    assert_int_equal(0, load_with_keys(&k, a, a));
    assert_int_equal(MU_E_CORRUPT, load_with_keys(&k, a, b));
    assert_int_equal(MU_E_CORRUPT, load_with_keys(&k, sub, sub));
    kit_fini(&k);
}

#define FORGE(table, key, value)                                    \
    {                                                               \
        (table), (key), sizeof(key) - 1, (value), sizeof(value) - 1 \
    }

/* An event of a row of 10,000 bytes, and pieces as told: number and length of each. */
static int load_pieces(struct kit *k, const size_t (*pieces)[2], size_t n)
{
    static uint8_t zeros[EVENT_PAGE + 1];
    static char keys[4][EVENT_PIECE_KEY_SIZE];
    struct config_row config = {.meta = {.create_rev = 1, .mod_rev = 1, .version = 1}};
    struct buf row, value;
    struct forged rows[5];
    buf_init(&row);
    buf_init(&value);
    config.content = slice_of(zeros, EVENT_PAGE);
    config_row_encode(&row, &config);
    wire_put_u32(&value, 8 | 0x80000000U);
    buf_append(&value, "Cn\0g\0key", 8);
    wire_put_u32(&value, 10000);
    buf_append(&value, row.p, EVENT_PAGE - 16);
    rows[0] = (struct forged){DB_EVENTS, "\0\0\0\0\0\0\0\1\0\0\0\0", 12, (const char *)value.p,
                              value.len};
    for (size_t i = 0; i < n; i++) {
        (void)event_piece_key((uint8_t *)keys[i], 1, 0, (uint32_t)pieces[i][0]);
        rows[i + 1] = (struct forged){DB_PIECES, keys[i], EVENT_PIECE_KEY_SIZE, (const char *)zeros,
                                      pieces[i][1]};
    }
    int rc = load_forged(k, rows, n + 1);
    buf_fini(&row);
    buf_fini(&value);
    return rc;
}

static void test_forged_pieces_are_refused(void **state)
{
    struct kit k;
    const size_t rest = 10000 - (EVENT_PAGE - 16) - EVENT_PAGE;
    const size_t right[][2] = {{0, EVENT_PAGE}, {1, rest}};
    const size_t one_too_many[][2] = {{0, EVENT_PAGE}, {1, rest}, {2, 5}};
    const size_t too_short[][2] = {{0, EVENT_PAGE - 1}, {1, rest}};
    const size_t too_long[][2] = {{0, EVENT_PAGE + 1}, {1, rest}};
    const size_t empty[][2] = {{0, EVENT_PAGE}, {1, 0}};
    (void)state;
    kit_init(&k);
    assert_int_equal(0, load_pieces(&k, right, 2));
    assert_int_equal(MU_E_CORRUPT, load_pieces(&k, right, 1));
    assert_int_equal(MU_E_CORRUPT, load_pieces(&k, right, 0));
    assert_int_equal(MU_E_CORRUPT, load_pieces(&k, right + 1, 1));
    assert_int_equal(MU_E_CORRUPT, load_pieces(&k, one_too_many, 3));
    assert_int_equal(MU_E_CORRUPT, load_pieces(&k, too_short, 2));
    assert_int_equal(MU_E_CORRUPT, load_pieces(&k, too_long, 2));
    assert_int_equal(MU_E_CORRUPT, load_pieces(&k, empty, 2));
    kit_fini(&k);
}

static void test_forged_records_are_refused(void **state)
{
    struct kit k;
    (void)state;
    kit_init(&k);
    kit_put(&k, "a", "1");
    const struct forged unknown_table[] = {FORGE(99, "k", "v")};
    const struct forged row_without_event[] = {
        FORGE(DB_ROWS, "Ca\0b\0c", "\0\0\0\0\0\0\0\0\1\0\0\0\0")};
    const struct forged row_not_a_reference[] = {FORGE(DB_ROWS, "Ca\0b\0c", "row")};
    const struct forged row_in_a_sub_range[] = {
        FORGE(DB_ROWS, "\1\0\0\0\0\0\0\0\1x", "\0\0\0\0\0\0\0\0\1\0\0\0\0")};
    const struct forged event_of_nothing[] = {FORGE(DB_EVENTS, "\0\0\0\0\0\0\0\1\0\0\0\0", "")};
    const struct forged event_key[] = {FORGE(DB_EVENTS, "short", "")};
    const struct forged lease[] = {FORGE(DB_LEASES, "12345678", "x")};
    const struct forged request[] = {FORGE(DB_REQUESTS, "12345678", "x")};
    const struct forged twice[] = {FORGE(DB_META, "x", "1"), FORGE(DB_META, "x", "2")};
    const struct forged order[] = {FORGE(DB_META, "y", "1"), FORGE(DB_META, "x", "2")};
    const struct forged state_is_garbage[] = {FORGE(DB_META, "state", "\1\0\0\0 whatever")};
    assert_int_equal(MU_E_CORRUPT, load_forged(&k, unknown_table, 1));
    assert_int_equal(MU_E_CORRUPT, load_forged(&k, row_without_event, 1));
    assert_int_equal(MU_E_CORRUPT, load_forged(&k, row_not_a_reference, 1));
    assert_int_equal(MU_E_CORRUPT, load_forged(&k, row_in_a_sub_range, 1));
    assert_int_equal(MU_E_CORRUPT, load_forged(&k, event_of_nothing, 1));
    assert_int_equal(MU_E_CORRUPT, load_forged(&k, event_key, 1));
    assert_int_equal(MU_E_CORRUPT, load_forged(&k, lease, 1));
    assert_int_equal(MU_E_CORRUPT, load_forged(&k, request, 1));
    assert_int_equal(MU_E_CORRUPT, load_forged(&k, twice, 2));
    assert_int_equal(MU_E_CORRUPT, load_forged(&k, order, 2));
    assert_int_equal(MU_E_CORRUPT, load_forged(&k, state_is_garbage, 1));
    assert_int_equal(0, kit_read(&k, "a", 0, "1"));
    kit_fini(&k);
}

/* ---- beside other work ---- */

static void test_cancelled(void **state)
{
    struct kit k;
    char path[300], part[320];
    struct snapshot_info info;
    struct err e = {0};
    const volatile int yes = 1;
    (void)state;
    kit_init(&k);
    fill(&k, 5, 100);
    path_in(&k, "snap", path);
    snprintf(part, sizeof(part), "%s.part", path);
    assert_int_equal(MU_E_CLOSED, snapshot_write(k.store, path, &yes, &info, &e));
    assert_false(files_exists(path));
    assert_false(files_exists(part));
    kit_fini(&k);
}

struct job {
    struct kit *kit;
    atomic_int must_stop;
    char path[300];
    int rc;
    struct snapshot_info info;
};

static void *write_in_thread(void *arg)
{
    struct job *j = arg;
    j->rc = snapshot_write(j->kit->store, j->path, NULL, &j->info, NULL);
    return NULL;
}

static void *read_in_thread(void *arg)
{
    struct job *j = arg;
    while (!atomic_load(&j->must_stop)) {
        struct view *v = view_open(j->kit->store);
        struct config_name n = kit_config_name("k1");
        struct config_row row;
        int rc = view_config(v, &n, 0, &row);
        MU_INVARIANT(rc == 0 || rc == MU_E_NOT_FOUND);
        view_close(v);
    }
    return NULL;
}

/* What is written while apply goes on is one state, not a mixture. */
static void test_consistent_while_applying(void **state)
{
    struct kit k, copy;
    pthread_t thread;
    (void)state;
    kit_init(&k);
    kit_init(&copy);
    fill(&k, 5, 3000);
    for (int i = 0; i < 5; i++) {
        struct job j = {.kit = &k};
        path_in(&k, "snap", j.path);
        assert_int_equal(0, pthread_create(&thread, NULL, write_in_thread, &j));
        fill(&k, 100 + (uint64_t)i, 300);
        pthread_join(thread, NULL);
        assert_int_equal(0, j.rc);
        load_ok(&copy, j.path);
        assert_int_equal(j.info.index, copy.index);
        kit_check(&copy);
    }
    kit_fini(&k);
    kit_fini(&copy);
}

static void test_readers_survive_a_load(void **state)
{
    struct kit k;
    pthread_t threads[3];
    struct job j = {.kit = &k};
    (void)state;
    kit_init(&k);
    fill(&k, 5, 800);
    path_in(&k, "snap", j.path);
    write_ok(&k, j.path);
    for (size_t i = 0; i < N_ELEMENTS(threads); i++) {
        assert_int_equal(0, pthread_create(&threads[i], NULL, read_in_thread, &j));
    }
    for (int i = 0; i < 5; i++) {
        fill(&k, 50, 50);
        load_ok(&k, j.path);
    }
    atomic_store(&j.must_stop, 1);
    for (size_t i = 0; i < N_ELEMENTS(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    kit_check(&k);
    /* and the loaded store is the one that a restart finds */
    mu_index index = k.index;
    kit_close(&k, 1);
    kit_open(&k);
    assert_true(!k.was_reset && k.index == index);
    kit_check(&k);
    kit_fini(&k);
}

/* ---- golden ---- */

static void test_golden(void **state)
{
    struct kit k;
    char path[300];
    size_t len;
    (void)state;
    kit_init(&k);
    struct command c = {.type = CMD_CLUSTER_INIT};
    memset(c.u.cluster_init.cluster_id, 0xc1, 16);
    kit_apply(&k, &c);
    kit_put(&k, "a", "1");
    kit_put(&k, "a", "2");
    kit_register_ttl(&k, "web", "1", 15000, REMOVE_NEVER);
    c = (struct command){.type = CMD_LEASE_GRANT, .has_request_id = 1};
    c.u.lease_grant = (struct cmd_lease_grant){5, 1000};
    kit_apply(&k, &c);
    fill(&k, 1, 0);
    path_in(&k, "snap", path);
    write_ok(&k, path);
    uint8_t *p = read_all(path, &len);
    kit_golden("snapshot_v1", slice_of(p, len));
    mem_free(p);
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copy_is_equal_and_goes_on_equally),
        cmocka_unit_test(test_of_an_empty_store),
        cmocka_unit_test(test_large_rows_and_long_keys),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_a_bad_file_changes_nothing),
        cmocka_unit_test(test_left_behind_by_an_earlier_load),
        cmocka_unit_test(test_forged_keys_are_refused),
        cmocka_unit_test(test_forged_pieces_are_refused),
        cmocka_unit_test(test_forged_records_are_refused),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_consistent_while_applying),
        cmocka_unit_test(test_readers_survive_a_load),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
