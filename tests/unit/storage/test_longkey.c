/* SPDX-License-Identifier: Apache-2.0 */
/* Logical keys of any length against a sorted array of them. */
#include "kit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "storage/db/longkey.h"

enum { KEYS_MAX = 600 };

/* The model: keys in order, each with the number that was written last. */
struct model {
    struct slice keys[KEYS_MAX];
    uint32_t values[KEYS_MAX];
    size_t n;
};

static size_t place(const struct model *m, struct slice key, int *out_found)
{
    size_t i = 0;
    while (i < m->n && slice_cmp(m->keys[i], key) < 0) {
        i++;
    }
    *out_found = i < m->n && slice_eq(m->keys[i], key);
    return i;
}

static void model_put(struct model *m, struct slice key, uint32_t value)
{
    int found;
    size_t i = place(m, key, &found);
    if (!found) {
        assert_true(m->n < KEYS_MAX);
        memmove(m->keys + i + 1, m->keys + i, (m->n - i) * sizeof(*m->keys));
        memmove(m->values + i + 1, m->values + i, (m->n - i) * sizeof(*m->values));
        m->keys[i] = slice_of(mem_dup(key.p, key.len), key.len);
        m->n++;
    }
    m->values[i] = value;
}

static void model_del(struct model *m, struct slice key)
{
    int found;
    size_t i = place(m, key, &found);
    if (found) {
        mem_free((void *)(uintptr_t)m->keys[i].p);
        memmove(m->keys + i, m->keys + i + 1, (m->n - i - 1) * sizeof(*m->keys));
        memmove(m->values + i, m->values + i + 1, (m->n - i - 1) * sizeof(*m->values));
        m->n--;
    }
}

/* Lengths around the chunk's borders, few letters and long shared heads: what a cutting scheme gets
 * wrong first. */
static struct slice random_key(uint64_t *seed, uint8_t *out, size_t key_max)
{
    static const uint8_t letters[] = {0x00, 0x01, 0x02, 'a', 0xff};
    static const size_t borders[] = {1,   2,   495, 496,  497,  498,  511, 512,
                                     991, 992, 993, 1488, 1489, 4960, 6144};
    size_t len = borders[kit_below(seed, N_ELEMENTS(borders))];
    if (kit_below(seed, 3) == 0) {
        len = 1 + kit_below(seed, 1500);
    }
    len = len < key_max ? len : key_max;
    memset(out, letters[3 + kit_below(seed, 2)], len);
    out[0] = kit_below(seed, 4) == 0 ? 'I' : 'C';
    size_t n_odd = kit_below(seed, 3);
    for (size_t i = 0; i < n_odd; i++) {
        size_t at = kit_below(seed, 2) ? len - 1 - kit_below(seed, len < 4 ? len : 4)
                                       : kit_below(seed, len);
        if (at != 0) {
            out[at] = letters[kit_below(seed, N_ELEMENTS(letters))];
        }
    }
    return slice_of(out, len);
}

static void expect_at(struct longkey_cur *c, const struct model *m, size_t i, int rc,
                      struct slice key, struct slice value)
{
    (void)c;
    if (i == m->n) {
        assert_int_equal(MU_E_NOT_FOUND, rc);
        return;
    }
    uint32_t got;
    assert_int_equal(0, rc);
    assert_true(slice_eq(key, m->keys[i]));
    assert_true(value.len >= sizeof(got));
    memcpy(&got, value.p, sizeof(got));
    assert_int_equal(m->values[i], got);
}

static void compare_all(struct db_txn *t, const struct model *m)
{
    struct longkey_cur c;
    struct slice key, value;
    longkey_cur_open(&c, t);
    int rc = longkey_cur_seek(&c, LIT("\x02"), &key, &value);
    for (size_t i = 0; i < m->n; i++) {
        expect_at(&c, m, i, rc, key, value);
        rc = longkey_cur_next(&c, &key, &value);
    }
    assert_int_equal(MU_E_NOT_FOUND, rc);
    longkey_cur_close(&c);
}

static void compare_seek(struct db_txn *t, const struct model *m, struct slice target)
{
    struct longkey_cur c;
    struct slice key, value;
    int found;
    size_t i = place(m, target, &found);
    assert_int_equal(found ? 0 : MU_E_NOT_FOUND, longkey_get(t, target, &value));
    longkey_cur_open(&c, t);
    int rc = longkey_cur_seek(&c, target, &key, &value);
    expect_at(&c, m, i, rc, key, value);
    for (int n = 0; n < 3 && i < m->n; n++) {
        rc = longkey_cur_next(&c, &key, &value);
        expect_at(&c, m, ++i, rc, key, value);
    }
    longkey_cur_close(&c);
}

static void put_value(struct db_txn *t, struct model *m, struct slice key, uint32_t value,
                      size_t len)
{
    uint8_t bytes[2048] = {0};
    struct slice before;
    memcpy(bytes, &value, sizeof(value));
    int rc = longkey_find(t, key, &before);
    longkey_put(t, key, slice_of(bytes, len), rc == 0);
    model_put(m, key, value);
}

static struct db *open_db(const char *dir)
{
    struct db *d;
    struct err e = {0};
    assert_int_equal(0, db_open(dir, 64 << 20, &d, &e));
    return d;
}

static void run_random(uint64_t seed, size_t steps, size_t key_max)
{
    char dir[256];
    uint8_t key[8192];
    struct model *m = mem_zalloc(sizeof(*m));
    kit_make_dir(dir);
    struct db *d = open_db(dir);
    struct db_txn *t = db_write_begin(d);
    for (size_t i = 0; i < steps; i++) {
        struct slice k = random_key(&seed, key, key_max);
        if (kit_below(&seed, 3) == 0 && m->n != 0) {
            k = kit_below(&seed, 2) ? m->keys[kit_below(&seed, m->n)] : k;
            uint8_t copy[8192];
            memcpy(copy, k.p, k.len);
            longkey_del(t, slice_of(copy, k.len));
            model_del(m, slice_of(copy, k.len));
        } else {
            put_value(t, m, k, (uint32_t)kit_random(&seed), 4 + kit_below(&seed, 2000));
        }
        compare_seek(t, m, random_key(&seed, key, key_max));
        if (i % 50 == 0) {
            compare_all(t, m);
        }
        if (i % 97 == 0) {
            db_write_commit(t, NULL);
            t = db_write_begin(d);
        }
    }
    compare_all(t, m);
    while (m->n != 0) {
        size_t i = kit_below(&seed, m->n);
        longkey_del(t, m->keys[i]);
        model_del(m, m->keys[i]);
    }
    /* with the last row the last marker is gone as well */
    struct slice k, v;
    struct db_cur *c = db_cur_open(t, DB_ROWS);
    assert_int_equal(MU_E_NOT_FOUND, db_cur_seek(c, slice_of(NULL, 0), &k, &v));
    db_cur_close(c);
    db_write_commit(t, NULL);
    db_close(d);
    kit_remove_dir(dir);
    mem_free(m);
}

static void test_random_keys(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run_random(seed * 7919, 500, 6144);
    }
    run_random(424243, 1500, 1000);
}

static void test_append_in_order(void **state)
{
    (void)state;
    char dir[256];
    uint8_t key[8192];
    uint64_t seed = 99;
    struct model *m = mem_zalloc(sizeof(*m));
    kit_make_dir(dir);
    struct db *d = open_db(dir);
    for (size_t i = 0; i < 400; i++) {
        model_put(m, random_key(&seed, key, 6144), (uint32_t)i);
    }
    struct db_txn *t = db_write_begin(d);
    for (size_t i = 0; i < m->n; i++) {
        longkey_append(t, m->keys[i], slice_of(&m->values[i], sizeof(m->values[i])));
    }
    compare_all(t, m);
    db_write_commit(t, NULL);
    db_close(d);
    kit_remove_dir(dir);
    while (m->n != 0) {
        model_del(m, m->keys[0]);
    }
    mem_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_keys),
        cmocka_unit_test(test_append_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
