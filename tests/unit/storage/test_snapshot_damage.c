/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot file at rest: whichever single bit flips, wherever it is cut, whatever follows it,
 * whichever blocks change places or are missing, the check says so and a load leaves the store as
 * it was. */
#include "kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/wire.h"
#include "storage/files.h"
#include "storage/snapshot/format.h"

struct image {
    struct kit k;
    char path[300];
    uint8_t *p;
    size_t len;
    int fd; /* of the file that is damaged again and again */
};

static void image_make(struct image *im, int has_large)
{
    struct snapshot_info info;
    struct stat st;
    kit_init(&im->k);
    (void)kit_put(&im->k, "a", "1");
    (void)kit_put(&im->k, "a", "2");
    (void)kit_register_ttl(&im->k, "web", "1", 15000, REMOVE_NEVER);
    if (has_large) {
        char *text = mem_zalloc(5 * SNAPSHOT_BLOCK_MAX + 1);
        memset(text, 'x', 5 * (size_t)SNAPSHOT_BLOCK_MAX);
        (void)kit_put(&im->k, "large", text);
        mem_free(text);
    }
    snprintf(im->path, sizeof(im->path), "%s/snap", im->k.dir);
    assert_int_equal(0, snapshot_write(im->k.store, im->path, NULL, &info, NULL));
    (void)kit_put(&im->k, "later", "1");
    im->fd = open(im->path, O_RDWR | O_CLOEXEC);
    assert_true(im->fd >= 0 && fstat(im->fd, &st) == 0);
    im->len = (size_t)st.st_size;
    im->p = mem_alloc(im->len);
    assert_int_equal(im->len, pread(im->fd, im->p, im->len, 0));
}

static void image_free(struct image *im)
{
    close(im->fd);
    mem_free(im->p);
    kit_fini(&im->k);
}

static void put(struct image *im, const uint8_t *p, size_t len, size_t off)
{
    assert_int_equal(len, pwrite(im->fd, p, len, (off_t)off));
}

static void expect_refused(struct image *im, const char *what, size_t where)
{
    struct snapshot_info info;
    struct err e = {0};
    int rc = snapshot_check(im->path, &info, &e);
    if ((rc != MU_E_CORRUPT && rc != MU_E_FORMAT) || e.text[0] == '\0') {
        fail_msg("%s %zu: %d %s", what, where, rc, e.text);
    }
}

static void expect_not_loaded(struct image *im)
{
    struct err e = {0};
    char left[300];
    int rc = snapshot_load(im->k.store, im->path, &e);
    assert_true(rc == MU_E_CORRUPT || rc == MU_E_FORMAT);
    assert_int_equal(0, kit_read(&im->k, "later", 0, "1"));
    snprintf(left, sizeof(left), "%s/store.new", im->k.dir);
    assert_false(files_exists(left));
}

static void test_every_flipped_bit(void **state)
{
    struct image im;
    (void)state;
    image_make(&im, 0);
    for (size_t bit = 0; bit < im.len * 8; bit++) {
        uint8_t bad = im.p[bit / 8] ^ (uint8_t)(1U << (bit % 8));
        put(&im, &bad, 1, bit / 8);
        expect_refused(&im, "bit", bit);
        if (bit % 97 == 0) {
            expect_not_loaded(&im);
        }
        put(&im, im.p + bit / 8, 1, bit / 8);
    }
    print_message("# flips: %zu\n", im.len * 8);
    assert_int_equal(0, snapshot_load(im.k.store, im.path, NULL));
    image_free(&im);
}

static void test_every_length(void **state)
{
    struct image im;
    (void)state;
    image_make(&im, 0);
    for (size_t len = im.len; len-- > 0;) {
        assert_int_equal(0, ftruncate(im.fd, (off_t)len));
        expect_refused(&im, "length", len);
        if (len % 13 == 0) {
            expect_not_loaded(&im);
        }
    }
    /* and zeros where the rest was, as a file system leaves them */
    for (size_t len = 0; len < im.len; len += 3) {
        put(&im, im.p, len, 0);
        assert_int_equal(0, ftruncate(im.fd, (off_t)len));
        assert_int_equal(0, ftruncate(im.fd, (off_t)im.len));
        expect_refused(&im, "zeros from", len);
    }
    for (unsigned c = 0; c < 256; c++) {
        uint8_t one = (uint8_t)c;
        put(&im, im.p, im.len, 0);
        put(&im, &one, 1, im.len);
        expect_refused(&im, "one more byte", c);
    }
    print_message("# cuts: %zu\n", im.len + (im.len + 2) / 3);
    image_free(&im);
}

/* Blocks are whole and right in themselves, but in other places than they were. */
static void test_blocks_that_moved(void **state)
{
    enum { BLOCKS_MAX = 16 };
    struct image im;
    size_t at[BLOCKS_MAX], n = 0, end = SNAPSHOT_HEADER_FIXED + 4;
    (void)state;
    image_make(&im, 1);
    while (end + SNAPSHOT_FOOTER_SIZE < im.len) {
        assert_true(n < BLOCKS_MAX);
        at[n++] = end;
        end += SNAPSHOT_BLOCK_HEAD + wire_get_u32(im.p + end);
    }
    assert_int_equal(end + SNAPSHOT_FOOTER_SIZE, im.len);
    assert_true(n >= 5);
    for (size_t i = 0; i + 2 < n; i++) { /* the last one is shorter */
        size_t len = at[i + 1] - at[i];
        assert_int_equal(len, at[1] - at[0]);
        for (size_t j = 0; j + 1 < n; j++) {
            if (i == j) {
                continue;
            }
            put(&im, im.p + at[i], len, at[j]);
            expect_refused(&im, "a block twice, over", j);
            put(&im, im.p + at[j], len, at[i]);
            expect_refused(&im, "blocks exchanged with", j);
            put(&im, im.p, im.len, 0);
        }
        put(&im, im.p + at[i + 1], im.len - at[i + 1], at[i]);
        assert_int_equal(0, ftruncate(im.fd, (off_t)(im.len - len)));
        expect_refused(&im, "without block", i);
        expect_not_loaded(&im);
        put(&im, im.p, im.len, 0);
    }
    assert_int_equal(0, snapshot_load(im.k.store, im.path, NULL));
    image_free(&im);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_blocks_that_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
