/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/api/diff.h"

static void expect_diff(const char *a, const char *b, const char *want)
{
    struct buf out;
    buf_init(&out);
    diff_unified(slice_str(a), slice_str(b), "A", "B", &out);
    buf_append_byte(&out, 0);
    assert_string_equal((char *)out.p, want);
    buf_fini(&out);
}

static void small_cases(void **state)
{
    (void)state;
    expect_diff("", "", "");
    expect_diff("a\n", "a\n", "");
    expect_diff("a\nb\nc\n", "a\nB\nc\n", "--- A\n+++ B\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
    expect_diff("", "x\n", "--- A\n+++ B\n@@ -0,0 +1,1 @@\n+x\n");
    expect_diff("x\n", "", "--- A\n+++ B\n@@ -1,1 +0,0 @@\n-x\n");
    expect_diff("x", "x\n",
                "--- A\n+++ B\n@@ -1,1 +1,1 @@\n-x\n\\ No newline at end of file\n+x\n");
}

static void write_file(const char *path, struct slice s)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    if (s.len > 0) {
        assert_int_equal(fwrite(s.p, 1, s.len, f), s.len);
    }
    fclose(f);
}

/* patch(1)'s reading of a unified diff, enough to check ours: apply it to a and expect b. */
static void apply_and_compare(struct slice a, struct slice b, struct slice diff)
{
    char cmd[400], dir[] = "/tmp/muster-diff-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char pa[64], pb[64], pd[64];
    snprintf(pa, sizeof(pa), "%s/a", dir);
    snprintf(pb, sizeof(pb), "%s/b", dir);
    snprintf(pd, sizeof(pd), "%s/d", dir);
    write_file(pa, a);
    write_file(pb, b);
    write_file(pd, diff);
    snprintf(cmd, sizeof(cmd), "cd %s && { [ ! -s d ] || patch -s a d >/dev/null; } && cmp -s a b",
             dir);
    int rc = system(cmd);
    snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
    int rm = system(cmd);
    assert_int_equal(rm, 0);
    assert_int_equal(rc, 0);
}

/* Random edits of random texts: patch turns the one into the other. */
static void random_texts_patch_back(void **state)
{
    unsigned seed = 7;
    (void)state;
    if (system("command -v patch >/dev/null 2>&1") != 0) {
        skip();
    }
    for (int round = 0; round < 60; round++) {
        struct buf a, b, d;
        buf_init(&a);
        buf_init(&b);
        buf_init(&d);
        int n = rand_r(&seed) % 60;
        for (int i = 0; i < n; i++) {
            int line = rand_r(&seed) % 8;
            buf_printf(&a, "line %d\n", line);
            int what = rand_r(&seed) % 10;
            if (what > 1) {
                buf_printf(&b, "line %d\n", what == 2 ? 99 : line);
            }
            if (what == 3) {
                buf_printf(&b, "new %d\n", i);
            }
        }
        diff_unified(buf_slice(&a), buf_slice(&b), "a", "b", &d);
        apply_and_compare(buf_slice(&a), buf_slice(&b), buf_slice(&d));
        buf_fini(&a);
        buf_fini(&b);
        buf_fini(&d);
    }
}

/* Two texts with nothing in common and more lines than the search may take: bounded, and still a
 * valid diff. */
static void hopeless_texts_are_replaced_whole(void **state)
{
    struct buf a, b, d;
    (void)state;
    buf_init(&a);
    buf_init(&b);
    buf_init(&d);
    for (int i = 0; i < 5000; i++) {
        buf_printf(&a, "a%d\n", i);
        buf_printf(&b, "b%d\n", i);
    }
    diff_unified(buf_slice(&a), buf_slice(&b), "a", "b", &d);
    const char *head = "--- a\n+++ b\n@@ -1,5000 +1,5000 @@\n-a0\n";
    assert_memory_equal(d.p, head, strlen(head));
    buf_fini(&a);
    buf_fini(&b);
    buf_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_cases),
        cmocka_unit_test(random_texts_patch_back),
        cmocka_unit_test(hopeless_texts_are_replaced_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
