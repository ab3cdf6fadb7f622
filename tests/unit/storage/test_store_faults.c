/* SPDX-License-Identifier: Apache-2.0 */
/* Every call to the system fails once, one after the other, while a store is opened, filled, copied
 * into a snapshot, replaced by one and closed: no crash but the announced abort, no leak, and
 * afterwards the store holds one of the states it went through, or starts empty and says so; a file
 * under a snapshot's name is a whole snapshot. The calls are replaced when the test is linked. */
#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "storage/files.h"
#include "storage/store_impl.h"

enum { EXIT_NONE_FAILED = 0, EXIT_SAID_SO = 7, ROWS = 12 };

/* ---- the calls ---- */

static unsigned calls_left; /* until the failing one; 0 = none */
static int calls_errno;
static int has_sync_failed;

static int must_fail(void)
{
    if (calls_left == 0 || --calls_left != 0) {
        return 0;
    }
    errno = calls_errno;
    return 1;
}

int __real_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode)
{
    return must_fail() ? -1 : __real_open64(path, flags, mode);
}

int __real_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode)
{
    return must_fail() ? -1 : __real_open(path, flags, mode);
}

ssize_t __real_write(int fd, const void *p, size_t len);
ssize_t __wrap_write(int fd, const void *p, size_t len);
ssize_t __wrap_write(int fd, const void *p, size_t len)
{
    if (must_fail()) {
        (void)!__real_write(fd, p, calls_errno == EINTR ? 0 : len / 2);
        errno = calls_errno;
        return -1;
    }
    return __real_write(fd, p, len);
}

ssize_t __real_read(int fd, void *p, size_t len);
ssize_t __wrap_read(int fd, void *p, size_t len);
ssize_t __wrap_read(int fd, void *p, size_t len)
{
    return must_fail() ? -1 : __real_read(fd, p, len);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    if (must_fail()) {
        has_sync_failed = 1;
        return -1;
    }
    return __real_fdatasync(fd);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    return must_fail() ? -1 : __real_fsync(fd);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    return must_fail() ? -1 : __real_rename(from, to);
}

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
    return must_fail() ? -1 : __real_mkdir(path, mode);
}

int __real_rmdir(const char *path);
int __wrap_rmdir(const char *path);
int __wrap_rmdir(const char *path)
{
    return must_fail() ? -1 : __real_rmdir(path);
}

int __real_unlinkat(int dir, const char *path, int flags);
int __wrap_unlinkat(int dir, const char *path, int flags);
int __wrap_unlinkat(int dir, const char *path, int flags)
{
    return must_fail() ? -1 : __real_unlinkat(dir, path, flags);
}

int __real_fallocate64(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len)
{
    return must_fail() ? -1 : __real_fallocate64(fd, mode, off, len);
}

/* ---- one life, in a process of its own ---- */

static void tell(const struct err *e)
{
    if (e->code >= 0 || e->text[0] == '\0') {
        (void)fprintf(stderr, "an error without a code or a text\n");
        exit(1);
    }
}

static void put_rows(struct store *s, mu_index *io_index)
{
    static const char *const contents[] = {"one", "two", "three"};
    for (unsigned i = 0; i < ROWS; i++) {
        struct command c = {.type = CMD_CONFIG_PUT, .wall_ms = 1000 + i};
        struct change_set changes;
        struct buf b;
        char key[16];
        snprintf(key, sizeof(key), "k%u", i % 5);
        c.u.config_put.name = kit_config_name(key);
        c.u.config_put.content = slice_str(contents[i % 3]);
        buf_init(&b);
        command_encode(&b, &c);
        struct store_entry en = {++*io_index, 1, STORE_COMMAND, buf_slice(&b)};
        store_apply(s, &en, 1, NULL, NULL, &changes);
        buf_fini(&b);
    }
}

/* Returns 0, or the code of what failed. Everything that was opened is closed. */
static int life_part(struct store *s, const char *snap, struct err *e)
{
    struct snapshot_info info;
    mu_index index = 0;
    int rc = store_has_room(s, 64 * 1024, e);
    if (rc != 0) {
        return rc;
    }
    put_rows(s, &index);
    rc = snapshot_write(s, snap, NULL, &info, e);
    rc = rc != 0 ? rc : store_has_room(s, 64 * 1024, e);
    if (rc != 0) {
        return rc;
    }
    put_rows(s, &index);
    rc = snapshot_check(snap, &info, e);
    rc = rc != 0 ? rc : snapshot_load(s, snap, e);
    return rc != 0 ? rc : snapshot_load(s, snap, e); /* over what the first left behind */
}

static void life(const char *dir, unsigned n, int errnum)
{
    struct store_options o = {.dir = dir, .map_initial = 1 << 20};
    struct mark now = {"11111111-2222-3333-4444-555555555555", 7, 0};
    struct store *s = NULL;
    struct err e = {0};
    char snap[300];
    int was_reset;
    snprintf(snap, sizeof(snap), "%s/snap", dir);
    calls_errno = errnum;
    calls_left = n;
    int rc = store_open_at(&o, &now, &s, &was_reset, &e);
    if (rc == 0) {
        rc = life_part(s, snap, &e);
        if (rc == 0 && has_sync_failed) {
            (void)fprintf(stderr, "a failed sync was not told\n");
            exit(1);
        }
        store_close(s, 1);
    }
    if (rc != 0) {
        tell(&e);
    }
    int came = calls_left == 0;
    calls_left = 0;
    exit(came ? EXIT_SAID_SO : EXIT_NONE_FAILED);
}

/* ---- afterwards ---- */

static void expect_whole(const char *dir, unsigned n)
{
    struct kit k = {0};
    struct store_state st;
    struct snapshot_info info;
    struct mark now = {"11111111-2222-3333-4444-555555555555", 7, 0};
    struct err e = {0};
    char snap[300];
    snprintf(k.dir, sizeof(k.dir), "%s", dir);
    snprintf(snap, sizeof(snap), "%s/snap", dir);
    k.options = (struct store_options){.dir = k.dir, .map_initial = 1 << 20};
    int rc = store_open_at(&k.options, &now, &k.store, &k.was_reset, &e);
    if (rc != 0) {
        fail_msg("call %u: the next opening: %s", n, e.text);
    }
    store_state(k.store, &st);
    if (st.applied != 0 && st.applied != ROWS && st.applied != 2 * (mu_index)ROWS) {
        fail_msg("call %u: applied %llu", n, (unsigned long long)st.applied);
    }
    assert_int_equal(st.revision, st.applied); /* each command made one */
    kit_check(&k);
    if (files_exists(snap)) {
        assert_int_equal(0, snapshot_check(snap, &info, &e));
        assert_int_equal(info.index, ROWS);
    }
    store_close(k.store, 0);
}

/* 1 when the n-th call came. */
static int live_once(unsigned n, int errnum)
{
    char dir[256];
    int status = 0;
    kit_make_dir(dir);
    pid_t pid = fork();
    if (pid == 0) {
        int quiet = __real_open64("/dev/null", O_WRONLY | O_CLOEXEC, 0);
        (void)dup2(quiet, STDOUT_FILENO);
        life(dir, n, errnum);
    }
    assert_true(pid > 0);
    assert_int_equal(pid, waitpid(pid, &status, 0));
    int is_told = WIFEXITED(status) &&
                  (WEXITSTATUS(status) == EXIT_SAID_SO || WEXITSTATUS(status) == EXIT_NONE_FAILED);
    int is_abort = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT; /* db_fatal */
    if (!is_told && !is_abort) {
        fail_msg("call %u: status %x", n, (unsigned)status);
    }
    expect_whole(dir, n);
    kit_remove_dir(dir);
    return is_abort || WEXITSTATUS(status) == EXIT_SAID_SO;
}

static void every_call(int errnum, unsigned at_least)
{
    unsigned n = 1;
    while (live_once(n, errnum)) {
        n++;
    }
    print_message("# failing calls: %u\n", n - 1);
    assert_true(n > at_least);
}

static void test_every_call_fails(void **state)
{
    (void)state;
    every_call(EIO, 60);
}

static void test_the_disk_is_full_at_every_call(void **state)
{
    (void)state;
    every_call(ENOSPC, 60);
}

/* A call that was interrupted is made again. */
static void test_every_call_is_interrupted(void **state)
{
    (void)state;
    every_call(EINTR, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_the_disk_is_full_at_every_call),
        cmocka_unit_test(test_every_call_is_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
