/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "server/http/target.h"

static int split(const char *raw, struct path *out)
{
    static uint8_t mem[1024];
    assert_true(strlen(raw) <= sizeof(mem));
    return path_split(slice_str(raw), mem, out, NULL);
}

static void expect_segment(const struct path *p, unsigned i, const char *want)
{
    assert_true(i < p->n);
    if (!slice_eq(p->seg[i], slice_str(want))) {
        fail_msg("segment %u is \"%.*s\", not \"%s\"", i, SLICE_FMT(p->seg[i]), want);
    }
}

static void segments(void **state)
{
    (void)state;
    struct path p;
    assert_int_equal(split("/", &p), 0);
    assert_int_equal(p.n, 0);
    assert_int_equal(split("/a/b%2Fc/%C3%A9+/...", &p), 0);
    assert_int_equal(p.n, 4);
    expect_segment(&p, 0, "a");
    expect_segment(&p, 1, "b/c");
    expect_segment(&p, 2, "\xc3\xa9+"); /* a plus is a plus in a path */
    expect_segment(&p, 3, "...");
    assert_int_equal(split("/%252e", &p), 0);
    expect_segment(&p, 0, "%2e"); /* once */
}

static void bad_paths(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",        "a",    "//",        "/a//b", "/a/",     "/.",         "/..",
        "/a/../b", "/%2e", "/%2E%2e/a", "/.%2e", "/%",      "/%2",        "/%zz",
        "/%2z",    "/%z2", "/a%00",     "/%ff",  "/%c0%af", "/%ed%a0%80", "/%f4%90%80%80"};
    struct path p;
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        if (split(bad[i], &p) != MU_E_BAD_REQUEST) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }
}

static void deep_paths_are_checked_to_the_end(void **state)
{
    (void)state;
    char raw[256] = "";
    struct path p;
    for (int i = 0; i < 40; i++) {
        strcat(raw, "/a");
    }
    assert_int_equal(split(raw, &p), 0);
    assert_int_equal(p.n, PATH_SEGMENTS_MAX + 1);
    strcat(raw, "/..");
    assert_int_equal(split(raw, &p), MU_E_BAD_REQUEST);
}

static void queries(void **state)
{
    (void)state;
    uint8_t mem[64];
    struct query_pair q[4];
    size_t n = 0;
    assert_int_equal(query_split(SLICE_LIT("a=1&&b&=x&c=%3D+%26=y"), mem, q, 4, &n, NULL), 0);
    assert_int_equal(n, 4);
    assert_true(slice_eq(q[0].name, SLICE_LIT("a")) && slice_eq(q[0].value, SLICE_LIT("1")));
    assert_true(slice_eq(q[1].name, SLICE_LIT("b")) && q[1].value.len == 0);
    assert_true(q[2].name.len == 0 && slice_eq(q[2].value, SLICE_LIT("x")));
    assert_true(slice_eq(q[3].name, SLICE_LIT("c")) && slice_eq(q[3].value, SLICE_LIT("= &=y")));
    assert_int_equal(query_split(SLICE_LIT("a&b&c&d&e"), mem, q, 4, &n, NULL), MU_E_BAD_REQUEST);
    assert_int_equal(query_split(SLICE_LIT("a=%f"), mem, q, 4, &n, NULL), MU_E_BAD_REQUEST);
    assert_int_equal(query_split(SLICE_LIT("%00=a"), mem, q, 4, &n, NULL), MU_E_BAD_REQUEST);
    assert_int_equal(query_split(SLICE_LIT(""), mem, q, 4, &n, NULL), 0);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments),
        cmocka_unit_test(bad_paths),
        cmocka_unit_test(deep_paths_are_checked_to_the_end),
        cmocka_unit_test(queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
