/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "tools/musterctl/out.h"

static void escape_is(const char *text, size_t len, int keep_lines, const char *want)
{
    struct buf b;
    buf_init(&b);
    ctl_escape(&b, slice_of(text, len), keep_lines);
    unit_slice_is(buf_slice(&b), want);
    buf_fini(&b);
}

static void test_escaping(void **state)
{
    (void)state;
    escape_is("plain é 中", strlen("plain é 中"), 0, "plain é 中");
    escape_is("a\nb\tc\r", 6, 0, "a\\nb\\tc\\r");
    escape_is("a\nb\tc\r", 6, 1, "a\nb\tc\\r");
    escape_is("\x1b[2J\x07\x7f", 6, 1, "\\x1b[2J\\x07\\x7f");
    escape_is("\0", 1, 1, "\\x00");
    /* C1 controls as characters, and as bytes that are no UTF-8. */
    escape_is("\xc2\x9b"
              "31m",
              5, 1, "\\x9b31m");
    escape_is("\x9b"
              "31m\xff",
              5, 1, "\\x9b31m\\xff");
    /* Marks that turn the direction of text, and a cut character. */
    escape_is("a\xe2\x80\xae"
              "b",
              5, 1, "a\\u202eb");
    escape_is("\xe2\x80", 2, 1, "\\xe2\\x80");
    escape_is("\xed\xa0\x80", 3, 1, "\\xed\\xa0\\x80");
    escape_is("", 0, 1, "");
}

static void test_widths(void **state)
{
    (void)state;
    struct ctl_out o;
    ctl_out_init(&o, stdout, CTL_TABLE, 0);
    assert_int_equal(ctl_width(SLICE_LIT("abc")), 3);
    assert_int_equal(ctl_width(SLICE_LIT("é")), 1);
    assert_int_equal(ctl_width(SLICE_LIT("中文")), 4);
    assert_int_equal(ctl_width(SLICE_LIT("e\xcc\x81")), 1);
    assert_int_equal(ctl_width(SLICE_LIT("\xff\xfe")), 2);
}

static void grid_is(struct ctl_grid *g, enum ctl_format format, unsigned width, const char *want)
{
    struct ctl_out o;
    char got[2000];
    FILE *f = tmpfile();
    ctl_out_init(&o, f, format, 0);
    o.width = width;
    ctl_grid_print(g, &o);
    rewind(f);
    size_t n = fread(got, 1, sizeof(got) - 1, f);
    got[n] = '\0';
    assert_string_equal(got, want);
    fclose(f);
}

static const char *const heads[] = {"NAME", "N>", "EMPTY", "LAST"};

static void row(struct ctl_grid *g, const char *name, uint64_t n, const char *last)
{
    ctl_grid_text(g, name);
    ctl_grid_u64(g, n);
    ctl_grid_text(g, NULL);
    ctl_grid_colour(g, CTL_RED, last);
}

static void test_tables(void **state)
{
    (void)state;
    struct ctl_grid g;
    ctl_grid_init(&g, heads, N_ELEMENTS(heads));
    grid_is(&g, CTL_TABLE, 0, "NAME  N  EMPTY  LAST\n");
    row(&g, "中", 7, "");
    row(&g, "a\nb", 1234, "x");
    /* An empty column is left out, wide characters count double, no line ends with blanks. */
    grid_is(&g, CTL_TABLE, 0,
            "NAME     N  LAST\n"
            "中       7\n"
            "a\\nb  1234  x\n");
    grid_is(&g, CTL_PLAIN, 0, "中\t7\t\t\na\\nb\t1234\t\tx\n");
    ctl_grid_fini(&g);
}

static void test_tables_fit_the_terminal(void **state)
{
    (void)state;
    struct ctl_grid g;
    ctl_grid_init(&g, heads, N_ELEMENTS(heads));
    row(&g, "éééééééééééééééééééé", 1, "short");
    grid_is(&g, CTL_TABLE, 20,
            "NAME        N  LAST\n"
            "ééééééééé…  1  short\n");
    ctl_grid_fini(&g);
}

/* Nothing is narrower than can be read: then the line is longer than the terminal. */
static void test_tables_are_never_too_narrow(void **state)
{
    (void)state;
    struct ctl_grid g;
    ctl_grid_init(&g, heads, N_ELEMENTS(heads));
    row(&g, "abcdefghijkl", 1, "abcdefghijkl");
    grid_is(&g, CTL_TABLE, 5,
            "NAME      N  LAST\n"
            "abcdefg…  1  abcdefg…\n");
    ctl_grid_fini(&g);
}

static void test_sizes(void **state)
{
    (void)state;
    char s[16];
    ctl_format_bytes(0, s);
    assert_string_equal(s, "0 B");
    ctl_format_bytes(1023, s);
    assert_string_equal(s, "1023 B");
    ctl_format_bytes(1536, s);
    assert_string_equal(s, "1.5 KiB");
    ctl_format_bytes(UINT64_MAX, s);
    assert_non_null(strstr(s, "TiB"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_tables_fit_the_terminal),
        cmocka_unit_test(test_tables_are_never_too_narrow),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
