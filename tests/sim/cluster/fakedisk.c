/* SPDX-License-Identifier: Apache-2.0 */
/* A node's disk: the log and the vote on a memdisk, `snapshots/` in a real directory (the store
 * writes and reads those files itself). When the power fails, snapshot files that were written
 * through here and not synced end short or garbled. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/sim/cluster/world.h"

struct real_file {
    struct disk_file file;
    struct sim_node *node;
    struct disk_file *real;
    char path[64];
};

int __real_disk_open_real(const char *root, struct disk **out, struct err *e);

static struct sim_node *node_of(struct disk *d)
{
    return CONTAINER_OF(d, struct sim_node, disk);
}

static int is_real(const char *path)
{
    return strncmp(path, "snapshots", 9) == 0;
}

static struct disk *mem_of(struct disk *d)
{
    return memdisk_disk(node_of(d)->mem);
}

static int no_power(const struct sim_node *n, struct err *e)
{
    return memdisk_is_off(n->mem) ? err_set(e, MU_E_IO, "the power is off") : 0;
}

static void set_dirty(struct sim_node *n, const char *path, int is_dirty)
{
    int free_at = -1;
    for (int i = 0; i < 4; i++) {
        if (strcmp(n->dirty[i], path) == 0) {
            n->dirty[i][0] = '\0';
        }
        free_at = n->dirty[i][0] == '\0' ? i : free_at;
    }
    if (is_dirty && free_at >= 0) {
        snprintf(n->dirty[free_at], sizeof(n->dirty[0]), "%s", path);
    }
}

/* --- files in the directory --- */

static void rf_close(struct disk_file *f)
{
    struct real_file *r = CONTAINER_OF(f, struct real_file, file);
    r->real->disk->ops->close(r->real);
    mem_free(r);
}

static int rf_pread(struct disk_file *f, void *out, size_t len, uint64_t off, size_t *out_n,
                    struct err *e)
{
    struct real_file *r = CONTAINER_OF(f, struct real_file, file);
    int rc = no_power(r->node, e);
    return rc != 0 ? rc : r->real->disk->ops->pread(r->real, out, len, off, out_n, e);
}

static int rf_pwrite(struct disk_file *f, const void *p, size_t len, uint64_t off, struct err *e)
{
    struct real_file *r = CONTAINER_OF(f, struct real_file, file);
    int rc = no_power(r->node, e);
    set_dirty(r->node, r->path, 1);
    return rc != 0 ? rc : r->real->disk->ops->pwrite(r->real, p, len, off, e);
}

static int rf_sync(struct disk_file *f, struct err *e)
{
    struct real_file *r = CONTAINER_OF(f, struct real_file, file);
    set_dirty(r->node, r->path, 0);
    return no_power(r->node, e);
}

static int rf_size(struct disk_file *f, uint64_t *out, struct err *e)
{
    struct real_file *r = CONTAINER_OF(f, struct real_file, file);
    int rc = no_power(r->node, e);
    return rc != 0 ? rc : r->real->disk->ops->size(r->real, out, e);
}

static int rf_allocate(struct disk_file *f, uint64_t len, struct err *e)
{
    (void)len;
    return no_power(CONTAINER_OF(f, struct real_file, file)->node, e);
}

static int rf_truncate(struct disk_file *f, uint64_t len, struct err *e)
{
    struct real_file *r = CONTAINER_OF(f, struct real_file, file);
    return r->real->disk->ops->truncate(r->real, len, e);
}

static const struct disk_ops real_ops = {
    .close = rf_close,
    .pread = rf_pread,
    .pwrite = rf_pwrite,
    .sync = rf_sync,
    .allocate = rf_allocate,
    .truncate = rf_truncate,
    .size = rf_size,
};
static struct disk real_disk = {.ops = &real_ops};

/* --- the disk --- */

static int sd_open(struct disk *d, const char *path, unsigned flags, struct disk_file **out,
                   struct err *e)
{
    struct sim_node *n = node_of(d);
    if (!is_real(path)) {
        return mem_of(d)->ops->open(mem_of(d), path, flags, out, e);
    }
    struct real_file *r = mem_zalloc(sizeof(*r));
    int rc = no_power(n, e);
    rc = rc != 0 ? rc : n->real->ops->open(n->real, path, flags, &r->real, e);
    if (rc != 0) {
        mem_free(r);
        return rc;
    }
    r->file.disk = &real_disk;
    r->node = n;
    snprintf(r->path, sizeof(r->path), "%s", path);
    *out = &r->file;
    return 0;
}

static int sd_rename(struct disk *d, const char *from, const char *to, struct err *e)
{
    struct sim_node *n = node_of(d);
    if (!is_real(from)) {
        return mem_of(d)->ops->rename(mem_of(d), from, to, e);
    }
    int rc = no_power(n, e);
    for (int i = 0; i < 4; i++) {
        if (strcmp(n->dirty[i], from) == 0) {
            snprintf(n->dirty[i], sizeof(n->dirty[i]), "%s", to);
        }
    }
    return rc != 0 ? rc : n->real->ops->rename(n->real, from, to, e);
}

static int sd_unlink(struct disk *d, const char *path, struct err *e)
{
    struct sim_node *n = node_of(d);
    if (!is_real(path)) {
        return mem_of(d)->ops->unlink(mem_of(d), path, e);
    }
    int rc = no_power(n, e);
    set_dirty(n, path, 0);
    return rc != 0 ? rc : n->real->ops->unlink(n->real, path, e);
}

static int sd_mkdir(struct disk *d, const char *path, struct err *e)
{
    struct sim_node *n = node_of(d);
    int rc = no_power(n, e);
    return rc != 0 || !is_real(path) ? rc : n->real->ops->mkdir(n->real, path, e);
}

static int sd_list(struct disk *d, const char *dir, disk_list_fn fn, void *arg, struct err *e)
{
    struct sim_node *n = node_of(d);
    if (!is_real(dir)) {
        return mem_of(d)->ops->list(mem_of(d), dir, fn, arg, e);
    }
    int rc = no_power(n, e);
    return rc != 0 ? rc : n->real->ops->list(n->real, dir, fn, arg, e);
}

static int sd_sync_dir(struct disk *d, const char *dir, struct err *e)
{
    return is_real(dir) ? no_power(node_of(d), e) : mem_of(d)->ops->sync_dir(mem_of(d), dir, e);
}

static int sd_free_bytes(struct disk *d, uint64_t *out_free, uint64_t *out_total, struct err *e)
{
    return mem_of(d)->ops->free_bytes(mem_of(d), out_free, out_total, e);
}

/* A file knows which of the two disks it is on. */
static void sd_close(struct disk_file *f)
{
    f->disk->ops->close(f);
}

static int sd_pread(struct disk_file *f, void *out, size_t len, uint64_t off, size_t *out_n,
                    struct err *e)
{
    return f->disk->ops->pread(f, out, len, off, out_n, e);
}

static int sd_pwrite(struct disk_file *f, const void *p, size_t len, uint64_t off, struct err *e)
{
    return f->disk->ops->pwrite(f, p, len, off, e);
}

static int sd_sync(struct disk_file *f, struct err *e)
{
    return f->disk->ops->sync(f, e);
}

static int sd_allocate(struct disk_file *f, uint64_t len, struct err *e)
{
    return f->disk->ops->allocate(f, len, e);
}

static int sd_truncate(struct disk_file *f, uint64_t len, struct err *e)
{
    return f->disk->ops->truncate(f, len, e);
}

static int sd_size(struct disk_file *f, uint64_t *out, struct err *e)
{
    return f->disk->ops->size(f, out, e);
}

static const struct disk_ops node_ops = {
    .close = sd_close,
    .pread = sd_pread,
    .pwrite = sd_pwrite,
    .sync = sd_sync,
    .allocate = sd_allocate,
    .truncate = sd_truncate,
    .size = sd_size,
    .open = sd_open,
    .rename = sd_rename,
    .unlink = sd_unlink,
    .mkdir = sd_mkdir,
    .list = sd_list,
    .sync_dir = sd_sync_dir,
    .free_bytes = sd_free_bytes,
};

void disk_make(struct sim_node *n)
{
    struct err e = {0};
    n->mem = memdisk_new();
    n->disk.ops = &node_ops;
    if (__real_disk_open_real(n->dir, &n->real, &e) != 0) {
        sim_bad("%s", e.text);
    }
}

/* The core opens its disk by this name. */
int __wrap_disk_open_real(const char *root, struct disk **out, struct err *e);
int __wrap_disk_open_real(const char *root, struct disk **out, struct err *e)
{
    (void)root, (void)e;
    *out = &world->cur->disk;
    return 0;
}

void __wrap_disk_close_real(struct disk *d);
void __wrap_disk_close_real(struct disk *d)
{
    (void)d;
}

/* --- damage --- */

static void garble(const struct sim_node *n, const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", n->dir, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    off_t len = lseek(fd, 0, SEEK_END);
    if (sim_chance(50) || len < 2) {
        (void)!ftruncate(fd, (off_t)sim_below((uint64_t)len + 1));
    } else {
        uint8_t zeros[512] = {0};
        (void)!pwrite(fd, zeros, sizeof(zeros), (off_t)sim_below((uint64_t)len));
        (void)!ftruncate(fd, len);
    }
    close(fd);
}

void disk_power_lost(struct sim_node *n)
{
    char command[160];
    memdisk_off(n->mem);
    memdisk_on(n->mem, sim_draw(&world->rng));
    for (int i = 0; i < 4; i++) {
        if (n->dirty[i][0] != '\0') {
            garble(n, n->dirty[i]);
            n->dirty[i][0] = '\0';
        }
    }
    static const char *const files[] = {"store/data.mdb", "store/lock.mdb", "store/mark"};
    for (size_t i = 0; i < N_ELEMENTS(files); i++) {
        snprintf(command, sizeof(command), "%s/%s", n->dir, files[i]);
        unlink(command);
    }
}

/* One to three bits of one segment, while the node is down. */
void disk_flip(struct sim_node *n, uint64_t salt)
{
    const char *name;
    char path[96];
    unsigned k = 0, pick;
    while (memdisk_name(n->mem, "log", k) != NULL) {
        k++;
    }
    if (k == 0) {
        return;
    }
    pick = (unsigned)(sim_draw(&salt) % k);
    name = memdisk_name(n->mem, "log", pick);
    snprintf(path, sizeof(path), "log/%s", name);
    uint64_t len = 0;
    uint8_t *p = memdisk_content(n->mem, path, &len);
    for (uint64_t i = 0, bits = 1 + sim_draw(&salt) % 3; p != NULL && len > 0 && i < bits; i++) {
        uint64_t at = sim_draw(&salt) % (len * 8);
        p[at / 8] ^= (uint8_t)(1U << at % 8);
    }
}
