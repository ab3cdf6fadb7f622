/* SPDX-License-Identifier: Apache-2.0 */
/* Files, behind a table of functions: real files in production, an imagined disk in the simulator.
 *
 * Paths are relative to the disk's root directory, which is "." itself. Every call returns 0 or a
 * negative MU_E_* (IO, NOT_FOUND, DISK_FULL) and, where given, fills `e`. Calls block. Any thread
 * may use a file as long as one thread at a time does. */
#pragma once

#include "base/err.h"

struct disk;
struct disk_file;

enum disk_open { DISK_READ = 1, DISK_WRITE = 2, DISK_CREATE = 4, DISK_TRUNC = 8 };

typedef int (*disk_list_fn)(void *arg, const char *name);

struct disk_ops {
    int (*open)(struct disk *d, const char *path, unsigned flags, struct disk_file **out,
                struct err *e);
    void (*close)(struct disk_file *f);
    /* Short only at the end of the file. */
    int (*pread)(struct disk_file *f, void *out, size_t len, uint64_t off, size_t *out_n,
                 struct err *e);
    /* All of it, or an error. */
    int (*pwrite)(struct disk_file *f, const void *p, size_t len, uint64_t off, struct err *e);
    /* fdatasync; an error is final: the caller stops the process. */
    int (*sync)(struct disk_file *f, struct err *e);
    /* Reserve space; the size becomes at least len. */
    int (*allocate)(struct disk_file *f, uint64_t len, struct err *e);
    int (*truncate)(struct disk_file *f, uint64_t len, struct err *e);
    int (*size)(struct disk_file *f, uint64_t *out, struct err *e);
    int (*rename)(struct disk *d, const char *from, const char *to, struct err *e);
    int (*unlink)(struct disk *d, const char *path, struct err *e);
    /* Mode 0700; one that exists is fine. */
    int (*mkdir)(struct disk *d, const char *path, struct err *e);
    /* Names in byte order, without "." and ".."; fn returns 0 to go on. */
    int (*list)(struct disk *d, const char *dir, disk_list_fn fn, void *arg, struct err *e);
    int (*sync_dir)(struct disk *d, const char *dir, struct err *e);
    int (*free_bytes)(struct disk *d, uint64_t *out_free, uint64_t *out_total, struct err *e);
};

struct disk {
    const struct disk_ops *ops;
};

struct disk_file {
    struct disk *disk;
};

/* A disk on the real file system rooted at `root` (must exist). */
int disk_open_real(const char *root, struct disk **out, struct err *e);
void disk_close_real(struct disk *d);
const char *disk_real_root(const struct disk *d);
