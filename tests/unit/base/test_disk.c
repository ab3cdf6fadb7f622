/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/disk.h"

struct fixture {
    char root[64];
    struct disk *d;
};

static int setup(void **state)
{
    static struct fixture f;
    struct err e = {0};
    snprintf(f.root, sizeof(f.root), "/tmp/muster-disk-XXXXXX");
    assert_non_null(mkdtemp(f.root));
    assert_int_equal(disk_open_real(f.root, &f.d, &e), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    disk_close_real(f->d);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->root);
    return system(command); /* NOLINT(cert-env33-c) */
}

static struct disk_file *make(struct disk *d, const char *path, const char *text)
{
    struct disk_file *file = NULL;
    struct err e = {0};
    assert_int_equal(d->ops->open(d, path, DISK_WRITE | DISK_CREATE, &file, &e), 0);
    assert_int_equal(d->ops->pwrite(file, text, strlen(text), 0, &e), 0);
    return file;
}

static void test_write_and_read_back(void **state)
{
    struct fixture *f = *state;
    const struct disk_ops *ops = f->d->ops;
    struct err e = {0};
    char out[16];
    size_t n = 99;
    uint64_t size = 0;
    struct disk_file *file = make(f->d, "a", "hello");
    assert_ptr_equal(file->disk, f->d);
    assert_int_equal(ops->pwrite(file, "world", 5, 8, &e), 0);
    assert_int_equal(ops->sync(file, &e), 0);
    assert_int_equal(ops->pread(file, out, sizeof(out), 0, &n, &e), 0);
    assert_int_equal(n, 13);
    assert_memory_equal(out, "hello\0\0\0world", 13);
    assert_int_equal(ops->pread(file, out, sizeof(out), 100, &n, &e), 0);
    assert_int_equal(n, 0);
    assert_int_equal(ops->size(file, &size, &e), 0);
    assert_true(size == 13);
    ops->close(file);
}

static void test_files_are_private(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    char path[128];
    mode_t was = umask(0);
    f->d->ops->close(make(f->d, "secret", "x"));
    umask(was);
    snprintf(path, sizeof(path), "%s/secret", f->root);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_open_flags(void **state)
{
    struct fixture *f = *state;
    const struct disk_ops *ops = f->d->ops;
    struct disk_file *file = NULL;
    struct err e = {0};
    uint64_t size = 7;
    assert_int_equal(ops->open(f->d, "absent", DISK_READ, &file, &e), MU_E_NOT_FOUND);
    assert_non_null(strstr(e.text, "absent"));
    assert_null(file);
    ops->close(make(f->d, "a", "hello"));
    assert_int_equal(ops->open(f->d, "a", DISK_READ, &file, &e), 0);
    assert_int_equal(ops->pwrite(file, "x", 1, 0, &e), MU_E_IO);
    ops->close(file);
    assert_int_equal(ops->open(f->d, "a", DISK_WRITE | DISK_TRUNC, &file, &e), 0);
    assert_int_equal(ops->size(file, &size, &e), 0);
    assert_true(size == 0);
    ops->close(file);
}

static void test_symbolic_links_are_not_followed(void **state)
{
    struct fixture *f = *state;
    struct disk_file *file = NULL;
    struct err e = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s/link", f->root);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(f->d->ops->open(f->d, "link", DISK_READ, &file, &e), MU_E_IO);
}

static void test_allocate_and_truncate(void **state)
{
    struct fixture *f = *state;
    const struct disk_ops *ops = f->d->ops;
    struct err e = {0};
    uint64_t size = 0;
    struct disk_file *file = make(f->d, "a", "hello");
    assert_int_equal(ops->allocate(file, 0, &e), 0);
    assert_int_equal(ops->allocate(file, 65536, &e), 0);
    assert_int_equal(ops->size(file, &size, &e), 0);
    assert_true(size == 65536);
    assert_int_equal(ops->allocate(file, 10, &e), 0);
    assert_int_equal(ops->size(file, &size, &e), 0);
    assert_true(size == 65536);
    assert_int_equal(ops->truncate(file, 3, &e), 0);
    assert_int_equal(ops->size(file, &size, &e), 0);
    assert_true(size == 3);
    ops->close(file);
}

static void test_full_is_told_apart(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct disk_file *file = make(f->d, "a", "x");
    const struct rlimit small = {8192, 8192};
    struct rlimit was;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit soft = {small.rlim_cur, was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &soft), 0);
    assert_int_equal(f->d->ops->allocate(file, 1 << 20, &e), MU_E_DISK_FULL);
    assert_int_equal(f->d->ops->pwrite(file, "x", 1, 1 << 20, &e), MU_E_DISK_FULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    f->d->ops->close(file);
}

static void test_rename_and_unlink(void **state)
{
    struct fixture *f = *state;
    const struct disk_ops *ops = f->d->ops;
    struct disk_file *file = NULL;
    struct err e = {0};
    ops->close(make(f->d, "a", "hello"));
    ops->close(make(f->d, "b", "other"));
    assert_int_equal(ops->rename(f->d, "a", "b", &e), 0);
    assert_int_equal(ops->open(f->d, "a", DISK_READ, &file, &e), MU_E_NOT_FOUND);
    assert_int_equal(ops->unlink(f->d, "b", &e), 0);
    assert_int_equal(ops->unlink(f->d, "b", &e), MU_E_NOT_FOUND);
    assert_int_equal(ops->rename(f->d, "b", "c", &e), MU_E_NOT_FOUND);
    assert_int_equal(ops->sync_dir(f->d, ".", &e), 0);
    assert_int_equal(ops->sync_dir(f->d, "absent", &e), MU_E_NOT_FOUND);
}

static int collect(void *arg, const char *name)
{
    char *out = arg;
    strcat(out, name);
    strcat(out, ";");
    return strcmp(name, "stop") == 0 ? MU_E_CLOSED : 0;
}

static void test_list_is_sorted(void **state)
{
    struct fixture *f = *state;
    const struct disk_ops *ops = f->d->ops;
    char out[1000] = "";
    struct err e = {0};
    assert_int_equal(ops->mkdir(f->d, "dir", &e), 0);
    assert_int_equal(ops->mkdir(f->d, "dir", &e), 0);
    assert_int_equal(ops->list(f->d, "dir", collect, out, &e), 0);
    assert_string_equal(out, "");
    static const char *const names[] = {"dir/b", "dir/a", "dir/10", "dir/9", "dir/Z"};
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        ops->close(make(f->d, names[i], ""));
    }
    assert_int_equal(ops->list(f->d, "dir", collect, out, &e), 0);
    assert_string_equal(out, "10;9;Z;a;b;");
    ops->close(make(f->d, "dir/stop", ""));
    ops->close(make(f->d, "dir/z", ""));
    out[0] = '\0';
    assert_int_equal(ops->list(f->d, "dir", collect, out, &e), MU_E_CLOSED);
    assert_string_equal(out, "10;9;Z;a;b;stop;");
    assert_int_equal(ops->list(f->d, "absent", collect, out, &e), MU_E_NOT_FOUND);
    assert_int_equal(ops->mkdir(f->d, "absent/x", &e), MU_E_NOT_FOUND);
}

static void test_root(void **state)
{
    struct fixture *f = *state;
    struct disk *d = NULL;
    struct err e = {0};
    uint64_t n_free = 0;
    uint64_t n_total = 0;
    assert_string_equal(disk_real_root(f->d), f->root);
    assert_int_equal(f->d->ops->free_bytes(f->d, &n_free, &n_total, &e), 0);
    assert_true(n_free <= n_total && n_total > 0);
    assert_int_equal(disk_open_real("/nonexistent-muster", &d, &e), MU_E_NOT_FOUND);
    assert_null(d);
    disk_close_real(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write_and_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_are_private, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(test_symbolic_links_are_not_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_allocate_and_truncate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_is_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rename_and_unlink, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list_is_sorted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_root, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
