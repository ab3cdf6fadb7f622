/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a node: its disk fails, its clock jumps, as a file says that is mapped by both
 * sides.
 *
 * MUSTER_ is a prefix that the server claims for itself, so the file's name stands in
 * FAULT_CONTROL. Without it nothing is changed. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { FAIL_SYNC = 1, FAIL_WRITE = 2, FAIL_SHORT = 4, FAIL_ALLOCATE = 8 };

struct control {              /* tests/faults/world.py writes it; 128 bytes */
    _Atomic int64_t clock_ms; /* added to the wall clock */
    _Atomic int32_t sync_ms;  /* a sync takes so much longer */
    _Atomic int32_t what;     /* FAIL_* */
    _Atomic int32_t error;    /* errno */
    _Atomic int32_t skip;     /* so many calls go well first */
    _Atomic int32_t times;    /* then so many fail; -1: all */
    _Atomic int32_t n_hit;    /* how many did */
    char part[96];            /* of the path; "" for all files */
};

_Static_assert(sizeof(struct control) == 128, "as tests/faults/world.py packs it");

static struct control *control;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fallocate)(int, int, off_t, off_t);

__attribute__((constructor)) static void shim_open(void)
{
    const char *path = getenv("FAULT_CONTROL");
    *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    *(void **)&real_fallocate = dlsym(RTLD_NEXT, "fallocate");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        control = p != MAP_FAILED ? p : NULL;
        close(fd);
    }
}

static int is_chosen(int fd)
{
    char link[64], path[512];
    if (control->part[0] == '\0') {
        return 1;
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    return strstr(path, control->part) != NULL;
}

/* 1: this call fails. */
static int is_hit(int fd, int what)
{
    if (control == NULL || (atomic_load(&control->what) & what) == 0 || !is_chosen(fd)) {
        return 0;
    }
    if (atomic_fetch_sub(&control->skip, 1) > 0) {
        return 0;
    }
    atomic_store(&control->skip, 0);
    int32_t times = atomic_load(&control->times);
    if (times == 0) {
        return 0;
    }
    if (times > 0) {
        atomic_fetch_sub(&control->times, 1);
    }
    atomic_fetch_add(&control->n_hit, 1);
    return 1;
}

static int slow_down(int fd)
{
    int32_t ms = control != NULL ? atomic_load(&control->sync_ms) : 0;
    if (ms > 0) {
        struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
        nanosleep(&t, NULL);
    }
    if (is_hit(fd, FAIL_SYNC)) {
        errno = atomic_load(&control->error);
        return -1;
    }
    return 0;
}

#define SHIM __attribute__((visibility("default")))

SHIM int fdatasync(int fd);
SHIM int fdatasync(int fd)
{
    return slow_down(fd) != 0 ? -1 : real_fdatasync(fd);
}

SHIM int fsync(int fd);
SHIM int fsync(int fd)
{
    return slow_down(fd) != 0 ? -1 : real_fsync(fd);
}

SHIM ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    if (n > 1 && is_hit(fd, FAIL_SHORT)) {
        return real_pwrite(fd, p, n / 2, at);
    }
    if (is_hit(fd, FAIL_WRITE)) {
        errno = atomic_load(&control->error);
        return -1;
    }
    return real_pwrite(fd, p, n, at);
}

SHIM int fallocate(int fd, int mode, off_t at, off_t n)
{
    if (is_hit(fd, FAIL_ALLOCATE)) {
        errno = ENOSPC;
        return -1;
    }
    return real_fallocate(fd, mode, at, n);
}

SHIM int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = real_clock_gettime(id, t);
    if (rc == 0 && control != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t ms = atomic_load(&control->clock_ms);
        int64_t ns = (int64_t)t->tv_nsec + ms % 1000 * 1000000;
        int64_t carry = ns < 0 ? -1 : ns / 1000000000;
        t->tv_sec += ms / 1000 + carry;
        t->tv_nsec = ns - carry * 1000000000;
    }
    return rc;
}
