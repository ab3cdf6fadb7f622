/* SPDX-License-Identifier: Apache-2.0 */
/* The real disk: files below one directory, which is held open so that it cannot be swapped for
 * another. */
#include "base/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"

struct real_disk {
    struct disk disk;
    int dir_fd;
    char *root;
};

struct real_file {
    struct disk_file file;
    int fd;
    char *path;
};

static struct real_disk *disk_of(struct disk *d)
{
    return CONTAINER_OF(d, struct real_disk, disk);
}

static struct real_file *file_of(struct disk_file *f)
{
    return CONTAINER_OF(f, struct real_file, file);
}

static int fail(struct err *e, int err_no, const char *what, const char *path)
{
    char why[64];
    int code = MU_E_IO;
    if (err_no == ENOENT) {
        code = MU_E_NOT_FOUND;
    } else if (err_no == ENOSPC || err_no == EDQUOT || err_no == EFBIG) {
        code = MU_E_DISK_FULL;
    }
    return err_set(e, code, "%s %s: %s", what, path, strerror_r(err_no, why, sizeof(why)));
}

static int real_open(struct disk *d, const char *path, unsigned flags, struct disk_file **out,
                     struct err *e)
{
    int how = O_CLOEXEC | O_NOFOLLOW;
    how |= (flags & DISK_WRITE) != 0 ? O_RDWR : O_RDONLY;
    how |= (flags & DISK_CREATE) != 0 ? O_CREAT : 0;
    how |= (flags & DISK_TRUNC) != 0 ? O_TRUNC : 0;
    int fd;
    do {
        fd = openat(disk_of(d)->dir_fd, path, how, 0600);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return fail(e, errno, "opening", path);
    }
    struct real_file *f = mem_zalloc(sizeof(*f));
    f->file.disk = d;
    f->fd = fd;
    f->path = mem_strdup(path);
    *out = &f->file;
    return 0;
}

static void real_close(struct disk_file *file)
{
    struct real_file *f = file_of(file);
    close(f->fd);
    mem_free(f->path);
    mem_free(f);
}

static int real_pread(struct disk_file *file, void *out, size_t len, uint64_t off, size_t *out_n,
                      struct err *e)
{
    struct real_file *f = file_of(file);
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(f->fd, (char *)out + done, len - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return fail(e, errno, "reading", f->path);
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    *out_n = done;
    return 0;
}

static int real_pwrite(struct disk_file *file, const void *p, size_t len, uint64_t off,
                       struct err *e)
{
    struct real_file *f = file_of(file);
    size_t done = 0;
    while (done < len) {
        ssize_t n = pwrite(f->fd, (const char *)p + done, len - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return fail(e, errno, "writing", f->path);
        }
        done += (size_t)n;
    }
    return 0;
}

static int real_sync(struct disk_file *file, struct err *e)
{
    struct real_file *f = file_of(file);
    return fdatasync(f->fd) == 0 ? 0 : fail(e, errno, "syncing", f->path);
}

static int real_allocate(struct disk_file *file, uint64_t len, struct err *e)
{
    struct real_file *f = file_of(file);
    int rc = 0;
    if (len == 0) {
        return 0; /* an error for posix_fallocate */
    }
    do {
        rc = posix_fallocate(f->fd, 0, (off_t)len);
    } while (rc == EINTR);
    return rc == 0 ? 0 : fail(e, rc, "reserving space for", f->path);
}

static int real_truncate(struct disk_file *file, uint64_t len, struct err *e)
{
    struct real_file *f = file_of(file);
    int rc;
    do {
        rc = ftruncate(f->fd, (off_t)len);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : fail(e, errno, "truncating", f->path);
}

static int real_size(struct disk_file *file, uint64_t *out, struct err *e)
{
    struct real_file *f = file_of(file);
    struct stat st;
    if (fstat(f->fd, &st) != 0) {
        return fail(e, errno, "looking at", f->path);
    }
    *out = (uint64_t)st.st_size;
    return 0;
}

static int real_rename(struct disk *d, const char *from, const char *to, struct err *e)
{
    int fd = disk_of(d)->dir_fd;
    return renameat(fd, from, fd, to) == 0 ? 0 : fail(e, errno, "renaming", from);
}

static int real_unlink(struct disk *d, const char *path, struct err *e)
{
    return unlinkat(disk_of(d)->dir_fd, path, 0) == 0 ? 0 : fail(e, errno, "removing", path);
}

static int real_mkdir(struct disk *d, const char *path, struct err *e)
{
    if (mkdirat(disk_of(d)->dir_fd, path, 0700) == 0 || errno == EEXIST) {
        return 0;
    }
    return fail(e, errno, "making directory", path);
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
    char **items;
    size_t n;
    size_t cap;
};

static void names_add(struct names *v, const char *name)
{
    if (v->n == v->cap) {
        v->cap = v->cap != 0 ? v->cap * 2 : 32;
        v->items = mem_realloc(v->items, v->cap * sizeof(*v->items));
    }
    v->items[v->n++] = mem_strdup(name);
}

static int names_read(int fd, const char *path, struct names *v, struct err *e)
{
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int rc = fail(e, errno, "listing", path);
        close(fd);
        return rc;
    }
    struct dirent *d;
    errno = 0;
    while ((d = readdir(dir)) != NULL) {
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0) {
            names_add(v, d->d_name);
        }
        errno = 0;
    }
    int rc = errno != 0 ? fail(e, errno, "listing", path) : 0;
    closedir(dir);
    return rc;
}

static int real_list(struct disk *d, const char *path, disk_list_fn fn, void *arg, struct err *e)
{
    struct names v = {0};
    int fd = openat(disk_of(d)->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return fail(e, errno, "listing", path);
    }
    int rc = names_read(fd, path, &v, e);
    if (v.n > 1) {
        qsort(v.items, v.n, sizeof(*v.items), name_order);
    }
    for (size_t i = 0; i < v.n; i++) {
        if (rc == 0) {
            rc = fn(arg, v.items[i]);
        }
        mem_free(v.items[i]);
    }
    mem_free(v.items);
    return rc;
}

static int real_sync_dir(struct disk *d, const char *path, struct err *e)
{
    int fd = openat(disk_of(d)->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return fail(e, errno, "opening directory", path);
    }
    int rc = fsync(fd) == 0 ? 0 : fail(e, errno, "syncing directory", path);
    close(fd);
    return rc;
}

static int real_free_bytes(struct disk *d, uint64_t *out_free, uint64_t *out_total, struct err *e)
{
    struct statvfs s;
    if (fstatvfs(disk_of(d)->dir_fd, &s) != 0) {
        return fail(e, errno, "asking for free space in", disk_of(d)->root);
    }
    *out_free = (uint64_t)s.f_bavail * s.f_frsize;
    *out_total = (uint64_t)s.f_blocks * s.f_frsize;
    return 0;
}

static const struct disk_ops real_ops = {
    .open = real_open,
    .close = real_close,
    .pread = real_pread,
    .pwrite = real_pwrite,
    .sync = real_sync,
    .allocate = real_allocate,
    .truncate = real_truncate,
    .size = real_size,
    .rename = real_rename,
    .unlink = real_unlink,
    .mkdir = real_mkdir,
    .list = real_list,
    .sync_dir = real_sync_dir,
    .free_bytes = real_free_bytes,
};

int disk_open_real(const char *root, struct disk **out, struct err *e)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail(e, errno, "opening directory", root);
    }
    struct real_disk *d = mem_zalloc(sizeof(*d));
    d->disk.ops = &real_ops;
    d->dir_fd = fd;
    d->root = mem_strdup(root);
    *out = &d->disk;
    return 0;
}

void disk_close_real(struct disk *disk)
{
    if (disk != NULL) {
        struct real_disk *d = disk_of(disk);
        close(d->dir_fd);
        mem_free(d->root);
        mem_free(d);
    }
}

const char *disk_real_root(const struct disk *disk)
{
    return CONTAINER_OF(disk, const struct real_disk, disk)->root;
}
