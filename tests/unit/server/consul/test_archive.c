/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <string.h>

#include "base/buf.h"
#include "server/consul/archive.h"

static const struct archive_meta meta = {.id = "2-7-1", .version = 1, .index = 7, .term = 2};

static int put(void *arg, struct slice bytes, struct err *e)
{
    (void)e;
    buf_append_slice(arg, bytes);
    return 0;
}

static int put_full(void *arg, struct slice bytes, struct err *e)
{
    (void)bytes;
    return --*(int *)arg < 0 ? err_set(e, MU_E_DISK_FULL, "full") : 0;
}

static void fill(struct buf *out, size_t n)
{
    uint32_t x = 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525 + 1013904223;
        buf_append_byte(out, (uint8_t)(x >> 24));
    }
}

static void write_and_read(void **state)
{
    static const size_t sizes[] = {0, 1, 511, 512, 513, 65536, 200001};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        struct buf in = {0}, file = {0}, out = {0};
        struct archive_meta got;
        struct err e = {0};
        fill(&in, sizes[i]);
        assert_int_equal(archive_write(&meta, buf_slice(&in), put, &file, &e), 0);
        assert_int_equal(archive_read(buf_slice(&file), put, &out, &got, &e), 0);
        assert_true(slice_eq(buf_slice(&in), buf_slice(&out)));
        assert_string_equal(got.id, "2-7-1");
        assert_true(got.version == 1 && got.index == 7 && got.term == 2);
        buf_fini(&in);
        buf_fini(&file);
        buf_fini(&out);
    }
}

/* Each flipped bit and each cut is seen, but for those that say nothing: gzip's time and system,
 * codes that no byte uses. Then what is read is what was written. */
static void damage(void **state)
{
    struct buf in = {0}, file = {0};
    struct err e = {0};
    struct archive_meta got;
    size_t n_seen = 0;
    (void)state;
    fill(&in, 300);
    assert_int_equal(archive_write(&meta, buf_slice(&in), put, &file, &e), 0);
    for (size_t i = 0; i < file.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct buf out = {0};
            file.p[i] ^= (uint8_t)(1U << bit);
            int rc = archive_read(buf_slice(&file), put, &out, &got, &e);
            file.p[i] ^= (uint8_t)(1U << bit);
            assert_true(rc != 0 || (slice_eq(buf_slice(&in), buf_slice(&out)) && got.index == 7 &&
                                    strcmp(got.id, "2-7-1") == 0));
            n_seen += rc != 0;
            buf_fini(&out);
        }
    }
    assert_true(n_seen > file.len * 7);
    for (size_t n = 0; n < file.len; n++) {
        struct buf out = {0};
        assert_int_not_equal(archive_read(slice_of(file.p, n), put, &out, &got, &e), 0);
        buf_fini(&out);
    }
    buf_fini(&in);
    buf_fini(&file);
}

static void errors_of_the_sink_are_told(void **state)
{
    struct buf in = {0}, file = {0};
    struct err e = {0};
    struct archive_meta got;
    (void)state;
    fill(&in, 300000);
    for (int n = 0; n < 3; n++) {
        int left = n;
        assert_int_equal(archive_write(&meta, buf_slice(&in), put_full, &left, &e), MU_E_DISK_FULL);
    }
    assert_int_equal(archive_write(&meta, buf_slice(&in), put, &file, &e), 0);
    for (int n = 0; n < 3; n++) {
        int left = n;
        assert_int_equal(archive_read(buf_slice(&file), put_full, &left, &got, &e), MU_E_DISK_FULL);
        assert_string_equal(e.text, "failed to read snapshot file: full");
    }
    buf_fini(&in);
    buf_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_and_read),
        cmocka_unit_test(damage),
        cmocka_unit_test(errors_of_the_sink_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
