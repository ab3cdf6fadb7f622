/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/datadir.h"

static const char MARK[] = "muster-data 1\nname n1\n";

struct place {
    char dir[64], mark[96];
};

static void place_make(struct place *p)
{
    snprintf(p->dir, sizeof(p->dir), "/tmp/muster-datadir-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->mark, sizeof(p->mark), "%s/MUSTER", p->dir);
}

static void place_remove(const struct place *p)
{
    char lock[96];
    snprintf(lock, sizeof(lock), "%s/LOCK", p->dir);
    unlink(lock);
    unlink(p->mark);
    assert_int_equal(0, rmdir(p->dir));
}

static void put_mark(const struct place *p, const char *text, size_t len)
{
    FILE *f = fopen(p->mark, "we");
    assert_non_null(f);
    assert_int_equal(len, fwrite(text, 1, len, f));
    fclose(f);
}

static int open_as(const struct place *p, const char *name, struct datadir *out, struct err *e)
{
    int rc = datadir_open(p->dir, name, out, e);
    if (rc != 0) {
        assert_true(e->text[0] != '\0');
        assert_int_equal(-1, out->lock_fd);
    }
    return rc;
}

/* Opens, looks, closes. */
static int try_as(const struct place *p, const char *name)
{
    struct datadir d;
    struct err e = {0};
    int rc = open_as(p, name, &d, &e);
    assert_false(rc == 0 && d.is_fresh && access(p->mark, F_OK) == 0);
    datadir_close(&d);
    return rc;
}

static void test_marked_once_for_one_node(void **state)
{
    struct place p;
    struct datadir d, second;
    struct err e = {0};
    char text[64] = "";
    (void)state;
    place_make(&p);
    assert_int_equal(0, open_as(&p, "n1", &d, &e));
    assert_true(d.is_fresh);
    assert_int_equal(MU_E_CONFLICT, open_as(&p, "n1", &second, &e)); /* in use */
    assert_int_equal(0, datadir_mark(&d, "n1", &e));
    datadir_close(&d);
    FILE *f = fopen(p.mark, "re");
    assert_int_equal(sizeof(MARK) - 1, fread(text, 1, sizeof(text), f));
    fclose(f);
    assert_string_equal(MARK, text);
    assert_int_equal(0, open_as(&p, "n1", &d, &e));
    assert_false(d.is_fresh);
    datadir_close(&d);
    assert_int_equal(MU_E_CONFLICT, try_as(&p, "n2"));
    place_remove(&p);
}

static void test_refused(void **state)
{
    struct place p;
    static const char newer[] = "muster-data 2\nname n1\n";
    (void)state;
    place_make(&p);
    put_mark(&p, newer, sizeof(newer) - 1);
    assert_int_equal(MU_E_FORMAT, try_as(&p, "n1"));
    unlink(p.mark);
    assert_int_equal(0, chmod(p.dir, 0750));
    assert_int_equal(MU_E_BAD_REQUEST, try_as(&p, "n1"));
    assert_int_equal(0, chmod(p.dir, 0700));
    char other[96];
    snprintf(other, sizeof(other), "%s/other", p.dir);
    assert_int_equal(0, mkdir(other, 0700));
    assert_int_equal(MU_E_BAD_REQUEST, try_as(&p, "n1")); /* somebody else's */
    assert_int_equal(0, rmdir(other));
    place_remove(&p);
}

/* A first start that was cut short while it marked the directory did not make it unusable. */
static void test_half_made_mark_is_no_content(void **state)
{
    struct place p;
    char part[96];
    (void)state;
    place_make(&p);
    snprintf(part, sizeof(part), "%s/MUSTER.part", p.dir);
    FILE *f = fopen(part, "we");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(0, try_as(&p, "n1"));
    unlink(part);
    place_remove(&p);
}

/* No single bit and no length makes another version, or another node's directory, out of it. */
static void test_any_damage_of_the_mark_is_noticed(void **state)
{
    struct place p;
    (void)state;
    place_make(&p);
    for (size_t bit = 0; bit < (sizeof(MARK) - 1) * 8; bit++) {
        char bad[sizeof(MARK)];
        memcpy(bad, MARK, sizeof(MARK));
        bad[bit / 8] ^= (char)(1 << (bit % 8));
        put_mark(&p, bad, sizeof(MARK) - 1);
        int rc = try_as(&p, "n1");
        if (rc != MU_E_CORRUPT && rc != MU_E_FORMAT && rc != MU_E_CONFLICT) {
            fail_msg("bit %zu: %d", bit, rc);
        }
    }
    for (size_t len = 0; len < sizeof(MARK) - 1; len++) {
        put_mark(&p, MARK, len);
        assert_int_equal(MU_E_CORRUPT, try_as(&p, "n1"));
        assert_int_equal(MU_E_CORRUPT, try_as(&p, "n"));
    }
    print_message("# flips: %zu, cuts: %zu\n", (sizeof(MARK) - 1) * 8, sizeof(MARK) - 1);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marked_once_for_one_node),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_half_made_mark_is_no_content),
        cmocka_unit_test(test_any_damage_of_the_mark_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
