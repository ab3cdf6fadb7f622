/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

struct spool {
    int fd;
    size_t len;
    void *map;
};

static int fail(struct err *e)
{
    int full = errno == ENOSPC || errno == EDQUOT;
    return err_set(e, full ? MU_E_DISK_FULL : MU_E_IO, "the temporary file of the snapshot: %s",
                   strerror(errno));
}

/* O_TMPFILE, where the file system has it. */
static int open_nameless(const char *dir)
{
    char path[4096];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) {
        return fd;
    }
    int n = snprintf(path, sizeof(path), "%s/spool-XXXXXX", dir);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) {
        (void)unlink(path);
    }
    return fd;
}

int spool_open(const char *dir, struct spool **out, struct err *e)
{
    int fd = open_nameless(dir);
    if (fd < 0) {
        return fail(e);
    }
    *out = mem_zalloc(sizeof(**out));
    (*out)->fd = fd;
    return 0;
}

void spool_close(struct spool *s)
{
    if (s == NULL) {
        return;
    }
    if (s->map != NULL) {
        (void)munmap(s->map, s->len);
    }
    (void)close(s->fd);
    mem_free(s);
}

int spool_put(void *arg, struct slice bytes, struct err *e)
{
    struct spool *s = arg;
    while (bytes.len > 0) {
        ssize_t n = write(s->fd, bytes.p, bytes.len);
        if (n < 0 && errno != EINTR) {
            return fail(e);
        }
        size_t done = n < 0 ? 0 : (size_t)n;
        bytes = slice_of(bytes.p + done, bytes.len - done);
        s->len += done;
    }
    return 0;
}

int spool_map(struct spool *s, struct slice *out, struct err *e)
{
    MU_INVARIANT(s->map == NULL);
    if (s->len == 0) {
        *out = slice_of(NULL, 0);
        return 0;
    }
    void *p = mmap(NULL, s->len, PROT_READ, MAP_SHARED, s->fd, 0);
    if (p == MAP_FAILED) {
        return fail(e);
    }
    s->map = p;
    *out = slice_of(p, s->len);
    return 0;
}
