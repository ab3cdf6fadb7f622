/* SPDX-License-Identifier: Apache-2.0 */
/* The head guard alone: it must refuse by itself what the parser behind it happens to refuse too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "server/http/guard.h"

static int scan(struct slice in, size_t max, int is_trailer, size_t *out_end)
{
    struct head_guard g;
    head_guard_init(&g, is_trailer);
    return head_guard_scan(&g, in, max, out_end, NULL);
}

static int scan_text(const char *text)
{
    size_t end = 0;
    return scan(slice_str(text), 16384, 0, &end);
}

static void what_is_refused(void **state)
{
    (void)state;
    assert_int_equal(scan_text("GET /x HTTP/1.1\r\nX: \x7f\r\n\r\n"), MU_E_BAD_REQUEST);
    assert_int_equal(scan_text("GET /x HTTP/1.1\r\nX: \x1f\r\n\r\n"), MU_E_BAD_REQUEST);
    assert_int_equal(scan_text("GET /x HTTP/1.1\nX: 1\r\n\r\n"), MU_E_BAD_REQUEST);
    assert_int_equal(scan_text("GET /x HTTP/1.1\r\nX: 1\n\r\n"), MU_E_BAD_REQUEST);
    assert_int_equal(scan_text("GET /x HTTP/1.1\r\nX: 1\r\n\n"), MU_E_BAD_REQUEST);
    assert_int_equal(scan_text("GET /x\x80 HTTP/1.1\r\n\r\n"), MU_E_BAD_REQUEST);
    assert_int_equal(scan_text("GET /x HTTP/1.1\r\n X: 1\r\n\r\n"), MU_E_BAD_REQUEST);
    assert_int_equal(scan_text("GET /x HTTP/1.1\r\n: 1\r\n\r\n"), MU_E_BAD_REQUEST);
    assert_int_equal(scan_text("GET /x HTTP/3.0\r\n\r\n"), MU_E_VERSION_NOT_SUPPORTED);
    assert_int_equal(scan_text("\x80"), MU_E_BAD_REQUEST);
}

static void where_a_head_ends(void **state)
{
    (void)state;
    size_t end = 0;
    struct slice in = SLICE_LIT("\r\nGET /x HTTP/1.0\r\nX: 1\r\n\r\nGET");
    struct head_guard g;
    head_guard_init(&g, 0);
    for (size_t n = 1; n < in.len - 3; n++) {
        assert_int_equal(head_guard_scan(&g, slice_of(in.p, n), 16384, &end, NULL), HEAD_MORE);
    }
    assert_int_equal(head_guard_scan(&g, in, 16384, &end, NULL), 0);
    assert_int_equal(end, in.len - 3);
    assert_int_equal(g.start, 2);
    assert_int_equal(g.minor, 0);
    assert_memory_equal(in.p + g.target, "/x", 2);
    assert_int_equal(g.target_len, 2);
}

static void trailers(void **state)
{
    (void)state;
    size_t end = 0;
    assert_int_equal(scan(SLICE_LIT("\r\nGET"), 100, 1, &end), 0);
    assert_int_equal(end, 2);
    assert_int_equal(scan(SLICE_LIT("X: 1\r\n\r\nGET"), 100, 1, &end), 0);
    assert_int_equal(end, 8);
    assert_int_equal(scan(SLICE_LIT(" X: 1\r\n\r\n"), 100, 1, &end), MU_E_BAD_REQUEST);
    assert_int_equal(scan(SLICE_LIT("X: 1\r\n"), 100, 1, &end), HEAD_MORE);
    assert_int_equal(scan(SLICE_LIT("X: 1\r\n\r\n"), 7, 1, &end), MU_E_HEADERS_TOO_LARGE);
}

static void the_first_limit_on_the_way_decides(void **state)
{
    (void)state;
    struct buf b;
    size_t end = 0;
    buf_init(&b);
    buf_append_str(&b, "GET /");
    while (b.len < 9000) {
        buf_append_byte(&b, 'x');
    }
    assert_int_equal(scan(buf_slice(&b), 16384, 0, &end), MU_E_URI_TOO_LONG);
    assert_int_equal(scan(buf_slice(&b), 4096, 0, &end), MU_E_HEADERS_TOO_LARGE);
    assert_int_equal(scan(slice_of(b.p, 4096), 4096, 0, &end), HEAD_MORE);
    assert_int_equal(scan(slice_of(b.p, 4097), 4096, 0, &end), MU_E_HEADERS_TOO_LARGE);
    assert_int_equal(scan(slice_of(b.p, HEAD_LINE_MAX + 2), 16384, 0, &end), HEAD_MORE);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(where_a_head_ends),
        cmocka_unit_test(trailers),
        cmocka_unit_test(the_first_limit_on_the_way_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
