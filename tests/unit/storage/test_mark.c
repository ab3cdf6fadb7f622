/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/mark.h"

static void test_there_and_back(void **state)
{
    char dir[256], path[300];
    struct mark m = {"11111111-2222-3333-4444-555555555555", 0x123456789, 1}, out;
    (void)state;
    kit_make_dir(dir);
    snprintf(path, sizeof(path), "%s/mark", dir);
    assert_int_equal(MU_E_NOT_FOUND, mark_read(path, &out));
    assert_int_equal(0, mark_write(path, &m, NULL));
    assert_int_equal(0, mark_read(path, &out));
    assert_true(strcmp(m.boot_id, out.boot_id) == 0 && out.mount_id == m.mount_id && out.is_clean);
    m.is_clean = 0;
    m.boot_id[0] = 0;
    assert_int_equal(0, mark_write(path, &m, NULL));
    assert_int_equal(0, mark_read(path, &out));
    assert_true(!out.is_clean && out.boot_id[0] == 0);
    kit_remove_dir(dir);
}

static void expect_corrupt(const char *path, const uint8_t *p, size_t len)
{
    struct mark out;
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(len, fwrite(p, 1, len, f));
    fclose(f);
    assert_int_equal(MU_E_CORRUPT, mark_read(path, &out));
}

/* Every bit is covered, and the length: a damaged mark never vouches for a store. */
static void test_any_damage_is_noticed(void **state)
{
    enum { SIZE = 68 };
    char dir[256], path[300];
    uint8_t b[SIZE + 2] = {0};
    struct mark m = {"11111111-2222-3333-4444-555555555555", 7, 0}, out;
    (void)state;
    kit_make_dir(dir);
    snprintf(path, sizeof(path), "%s/mark", dir);
    assert_int_equal(0, mark_write(path, &m, NULL));
    FILE *f = fopen(path, "re");
    assert_int_equal(SIZE, fread(b, 1, sizeof(b), f));
    fclose(f);
    for (size_t bit = 0; bit < SIZE * 8UL; bit++) {
        b[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        expect_corrupt(path, b, SIZE);
        b[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    for (size_t len = 0; len < SIZE; len++) {
        expect_corrupt(path, b, len);
    }
    expect_corrupt(path, b, SIZE + 1);
    print_message("# flips: %d\n# cuts: %d\n", SIZE * 8, SIZE);
    assert_int_equal(0, mark_write(path, &m, NULL));
    assert_int_equal(0, mark_read(path, &out));
    kit_remove_dir(dir);
}

static void test_this_machine(void **state)
{
    char dir[256];
    struct mark x, y;
    (void)state;
    kit_make_dir(dir);
    mark_now(dir, &x);
    mark_now(dir, &y);
    assert_true(strcmp(x.boot_id, y.boot_id) == 0 && x.mount_id == y.mount_id && !x.is_clean);
    mark_now("/proc", &y);
    assert_true(x.mount_id == 0 || x.mount_id != y.mount_id);
    kit_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_any_damage_is_noticed),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
