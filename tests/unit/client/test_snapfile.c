/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "client/mem.h"
#include "client/snapfile.h"

static char dir[64];
static const struct snapname name = {"config", "public", "app", "../../etc/passwd"};

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/muster-snap-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

/* The files in dir; the path of the last one in out. */
static int files(char *out, size_t cap)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] != '.') {
            snprintf(out, cap, "%s/%s", dir, e->d_name);
            n++;
        }
    }
    closedir(d);
    return n;
}

static int teardown(void **state)
{
    char path[512];
    (void)state;
    while (files(path, sizeof(path)) > 0) {
        unlink(path);
    }
    return rmdir(dir);
}

static void comes_back(const struct snapname *n, const char *want)
{
    char *data = NULL;
    size_t len = 0;
    muster_status rc = snapfile_load(dir, n, &data, &len);
    assert_int_equal(rc, want != NULL ? MUSTER_OK : MUSTER_NOT_FOUND);
    if (want != NULL) {
        assert_int_equal(len, strlen(want));
        assert_memory_equal(data, want, len);
        cmem_free(data);
    }
}

static void save_load_remove(void **state)
{
    (void)state;
    char path[512];
    struct stat st;
    comes_back(&name, NULL);
    assert_int_equal(snapfile_save(dir, &name, "one", 3), MUSTER_OK);
    assert_int_equal(snapfile_save(dir, &name, "second", 6), MUSTER_OK);
    comes_back(&name, "second");
    assert_int_equal(files(path, sizeof(path)), 1); /* no temporary file, and none elsewhere */
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct snapname other = name;
    other.namespace_ = "team";
    comes_back(&other, NULL);
    assert_int_equal(snapfile_save(dir, &other, "", 0), MUSTER_OK);
    comes_back(&other, "");
    comes_back(&name, "second");
    snapfile_remove(dir, &name);
    comes_back(&name, NULL);
}

static size_t read_all(const char *path, char *buf, size_t cap)
{
    FILE *f = fopen(path, "rbe");
    size_t n = fread(buf, 1, cap, f);
    fclose(f);
    return n;
}

static void write_all(const char *path, const char *buf, size_t len)
{
    FILE *f = fopen(path, "wbe");
    assert_int_equal(fwrite(buf, 1, len, f), len);
    fclose(f);
}

/* Any one bit turned, and any end cut off: as if there were no file. */
static void damage_is_seen(void **state)
{
    (void)state;
    char path[512], buf[512];
    assert_int_equal(snapfile_save(dir, &name, "content", 7), MUSTER_OK);
    assert_int_equal(files(path, sizeof(path)), 1);
    size_t len = read_all(path, buf, sizeof(buf));
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            buf[i] = (char)(buf[i] ^ 1 << bit);
            write_all(path, buf, len);
            comes_back(&name, NULL);
            buf[i] = (char)(buf[i] ^ 1 << bit);
        }
        write_all(path, buf, i);
        comes_back(&name, NULL);
    }
    buf[len] = 'x';
    write_all(path, buf, len + 1);
    comes_back(&name, NULL);
    write_all(path, buf, len);
    comes_back(&name, "content");
}

/* A sound file of something else under our name, as with two names of one digest. */
static void of_something_else(void **state)
{
    (void)state;
    char path[512], other_path[512], buf[512];
    struct snapname other = name;
    other.name = "../../etc/passwX"; /* as long as ours */
    assert_int_equal(snapfile_save(dir, &other, "theirs", 6), MUSTER_OK);
    files(other_path, sizeof(other_path));
    size_t len = read_all(other_path, buf, sizeof(buf));
    unlink(other_path);
    assert_int_equal(snapfile_save(dir, &name, "ours", 4), MUSTER_OK);
    files(path, sizeof(path));
    write_all(path, buf, len);
    comes_back(&name, NULL);
}

static void directory(void **state)
{
    (void)state;
    char sub[128], file[128];
    struct stat st;
    struct muster_error e;
    snprintf(sub, sizeof(sub), "%s/sub", dir);
    assert_int_equal(snapfile_dir(sub, &e), MUSTER_OK);
    assert_int_equal(stat(sub, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(snapfile_dir(sub, &e), MUSTER_OK);
    rmdir(sub);
    snprintf(file, sizeof(file), "%s/file", dir);
    write_all(file, "", 0);
    assert_int_equal(snapfile_dir(file, &e), MUSTER_IO);
    snprintf(sub, sizeof(sub), "%s/no/such", dir);
    assert_int_equal(snapfile_dir(sub, &e), MUSTER_IO);
    assert_int_equal(snapfile_save(sub, &name, "x", 1), MUSTER_IO);
}

static void no_memory(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        char *data = NULL;
        size_t len = 0;
        cmem_fail_at(n);
        muster_status saved = snapfile_save(dir, &name, "abc", 3);
        muster_status loaded = snapfile_load(dir, &name, &data, &len);
        int was_pending = cmem_fail_pending();
        cmem_fail_at(0);
        assert_true(saved == MUSTER_OK || saved == MUSTER_NO_MEMORY);
        assert_true(loaded == MUSTER_OK || loaded == MUSTER_NO_MEMORY ||
                    (saved != MUSTER_OK && loaded == MUSTER_NOT_FOUND));
        cmem_free(data);
        if (was_pending) {
            assert_int_equal(saved, MUSTER_OK);
            assert_int_equal(loaded, MUSTER_OK);
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(save_load_remove, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(of_something_else, setup, teardown),
        cmocka_unit_test_setup_teardown(directory, setup, teardown),
        cmocka_unit_test_setup_teardown(no_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
