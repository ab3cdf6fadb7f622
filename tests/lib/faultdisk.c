/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/faultdisk.h"

#include "base/mem.h"
#include "base/types.h"

struct faultdisk {
    struct disk disk;
    struct disk *under;
    unsigned left; /* calls until the failing one */
    int code;
    const char *failed;
};

struct fault_file {
    struct disk_file file;
    struct disk_file *under;
};

static struct faultdisk *fd_of(struct disk *d)
{
    return CONTAINER_OF(d, struct faultdisk, disk);
}

static struct disk_file *under_of(struct disk_file *f)
{
    return CONTAINER_OF(f, struct fault_file, file)->under;
}

/* 0, or what this call must give. */
static int turn(struct disk *d, const char *what, struct err *e)
{
    struct faultdisk *f = fd_of(d);
    if (f->left == 0 || --f->left != 0) {
        return 0;
    }
    f->failed = what;
    return err_set(e, f->code, "%s: failing on purpose", what);
}

static int fd_open(struct disk *d, const char *path, unsigned flags, struct disk_file **out,
                   struct err *e)
{
    struct disk_file *under = NULL;
    struct disk *u = fd_of(d)->under;
    int rc = turn(d, "open", e);
    rc = rc != 0 ? rc : u->ops->open(u, path, flags, &under, e);
    if (rc == 0) {
        struct fault_file *f = mem_zalloc(sizeof(*f));
        f->file.disk = d;
        f->under = under;
        *out = &f->file;
    }
    return rc;
}

static void fd_close(struct disk_file *f)
{
    struct disk_file *u = under_of(f);
    u->disk->ops->close(u);
    mem_free(CONTAINER_OF(f, struct fault_file, file));
}

static int fd_pread(struct disk_file *f, void *out, size_t len, uint64_t off, size_t *out_n,
                    struct err *e)
{
    struct disk_file *u = under_of(f);
    int rc = turn(f->disk, "read", e);
    return rc != 0 ? rc : u->disk->ops->pread(u, out, len, off, out_n, e);
}

static int fd_pwrite(struct disk_file *f, const void *p, size_t len, uint64_t off, struct err *e)
{
    struct disk_file *u = under_of(f);
    int rc = turn(f->disk, "write", e);
    if (rc != 0) {
        (void)u->disk->ops->pwrite(u, p, len / 2, off, NULL);
        return rc;
    }
    return u->disk->ops->pwrite(u, p, len, off, e);
}

static int fd_sync(struct disk_file *f, struct err *e)
{
    struct disk_file *u = under_of(f);
    int rc = turn(f->disk, "sync", e);
    return rc != 0 ? rc : u->disk->ops->sync(u, e);
}

static int fd_allocate(struct disk_file *f, uint64_t len, struct err *e)
{
    struct disk_file *u = under_of(f);
    int rc = turn(f->disk, "allocate", e);
    return rc != 0 ? rc : u->disk->ops->allocate(u, len, e);
}

static int fd_truncate(struct disk_file *f, uint64_t len, struct err *e)
{
    struct disk_file *u = under_of(f);
    int rc = turn(f->disk, "truncate", e);
    return rc != 0 ? rc : u->disk->ops->truncate(u, len, e);
}

static int fd_size(struct disk_file *f, uint64_t *out, struct err *e)
{
    struct disk_file *u = under_of(f);
    int rc = turn(f->disk, "size", e);
    return rc != 0 ? rc : u->disk->ops->size(u, out, e);
}

static int fd_rename(struct disk *d, const char *from, const char *to, struct err *e)
{
    struct disk *u = fd_of(d)->under;
    int rc = turn(d, "rename", e);
    return rc != 0 ? rc : u->ops->rename(u, from, to, e);
}

static int fd_unlink(struct disk *d, const char *path, struct err *e)
{
    struct disk *u = fd_of(d)->under;
    int rc = turn(d, "unlink", e);
    return rc != 0 ? rc : u->ops->unlink(u, path, e);
}

static int fd_mkdir(struct disk *d, const char *path, struct err *e)
{
    struct disk *u = fd_of(d)->under;
    int rc = turn(d, "mkdir", e);
    return rc != 0 ? rc : u->ops->mkdir(u, path, e);
}

static int fd_list(struct disk *d, const char *dir, disk_list_fn fn, void *arg, struct err *e)
{
    struct disk *u = fd_of(d)->under;
    int rc = turn(d, "list", e);
    return rc != 0 ? rc : u->ops->list(u, dir, fn, arg, e);
}

static int fd_sync_dir(struct disk *d, const char *dir, struct err *e)
{
    struct disk *u = fd_of(d)->under;
    int rc = turn(d, "sync_dir", e);
    return rc != 0 ? rc : u->ops->sync_dir(u, dir, e);
}

static int fd_free_bytes(struct disk *d, uint64_t *out_free, uint64_t *out_total, struct err *e)
{
    struct disk *u = fd_of(d)->under;
    return u->ops->free_bytes(u, out_free, out_total, e);
}

static const struct disk_ops fault_ops = {
    .open = fd_open,
    .close = fd_close,
    .pread = fd_pread,
    .pwrite = fd_pwrite,
    .sync = fd_sync,
    .allocate = fd_allocate,
    .truncate = fd_truncate,
    .size = fd_size,
    .rename = fd_rename,
    .unlink = fd_unlink,
    .mkdir = fd_mkdir,
    .list = fd_list,
    .sync_dir = fd_sync_dir,
    .free_bytes = fd_free_bytes,
};

struct faultdisk *faultdisk_new(struct disk *under)
{
    struct faultdisk *f = mem_zalloc(sizeof(*f));
    f->disk.ops = &fault_ops;
    f->under = under;
    return f;
}

void faultdisk_free(struct faultdisk *f)
{
    mem_free(f);
}

struct disk *faultdisk_disk(struct faultdisk *f)
{
    return &f->disk;
}

void faultdisk_fail_at(struct faultdisk *f, unsigned n, int code)
{
    f->left = n;
    f->code = code;
    f->failed = NULL;
}

const char *faultdisk_failed(const struct faultdisk *f)
{
    return f->failed;
}
