/* SPDX-License-Identifier: Apache-2.0 */
/* A file is an inode with the content that programs see, the content that is on the platter, and
 * the writes between. A name is an entry of one flat table; there are two tables, and the changes
 * between. */
#include "tests/lib/memdisk.h"

#include <stdio.h>

#include "base/mem.h"

enum { SECTOR = 512 };

struct pending {
    uint64_t off, len;
    uint8_t *p;
};

struct inode {
    int refs;
    uint8_t *cur, *dur;
    uint64_t len, cap, dur_len;
    struct pending *w;
    size_t n_w, cap_w;
};

struct name {
    char *path;
    struct inode *node;
};

struct table {
    struct name *v;
    size_t n;
};

struct change {
    char *from, *to; /* from NULL: made; to NULL: removed */
    struct inode *node;
};

struct memdisk {
    struct disk disk;
    struct table cur, dur;
    struct change *changes;
    size_t n_changes;
    int is_off;
    unsigned off_at, fail_write, fail_sync, sector;
    int write_code, sync_code;
    uint64_t capacity;
    struct memdisk_stats stats;
};

struct handle {
    struct disk_file file;
    struct inode *node;
};

static struct memdisk *md_of(struct disk *d)
{
    return CONTAINER_OF(d, struct memdisk, disk);
}

static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* --- inodes
 * --------------------------------------------------------------------------------------- */

static void pending_clear(struct inode *i)
{
    for (size_t k = 0; k < i->n_w; k++) {
        mem_free(i->w[k].p);
    }
    i->n_w = 0;
}

static void inode_unref(struct inode *i)
{
    if (--i->refs == 0) {
        pending_clear(i);
        mem_free(i->w);
        mem_free(i->cur);
        mem_free(i->dur);
        mem_free(i);
    }
}

static void inode_grow(struct inode *i, uint64_t len)
{
    if (len > i->cap) {
        uint64_t cap = len > i->cap * 2 ? len : i->cap * 2;
        i->cur = mem_realloc(i->cur, cap);
        i->dur = mem_realloc(i->dur, cap);
        memset(i->cur + i->cap, 0, cap - i->cap);
        memset(i->dur + i->cap, 0, cap - i->cap);
        i->cap = cap;
    }
    i->len = len > i->len ? len : i->len;
}

static void inode_cut(struct inode *i, uint64_t len)
{
    inode_grow(i, len);
    if (i->cap != 0) {
        memset(i->cur + len, 0, i->cap - len);
        memset(i->dur + len, 0, i->cap - len);
    }
    pending_clear(i);
    i->len = len;
    i->dur_len = i->dur_len < len ? i->dur_len : len;
}

static void inode_sync(struct inode *i)
{
    for (size_t k = 0; k < i->n_w; k++) {
        memcpy(i->dur + i->w[k].off, i->w[k].p, i->w[k].len);
    }
    pending_clear(i);
    i->dur_len = i->len;
}

static void inode_write(struct inode *i, const void *p, size_t len, uint64_t off)
{
    inode_grow(i, off + len);
    memcpy(i->cur + off, p, len);
    if (i->n_w == i->cap_w) {
        i->cap_w = i->cap_w != 0 ? i->cap_w * 2 : 8;
        i->w = mem_realloc(i->w, i->cap_w * sizeof(*i->w));
    }
    i->w[i->n_w++] = (struct pending){off, len, mem_dup(p, len)};
}

/* How many of the pending writes, in order, reached this sector. */
static size_t sector_cut(uint64_t mode, uint64_t salt, uint64_t sector, size_t n)
{
    uint64_t s = salt ^ (sector * UINT64_C(0x2545f4914f6cdd1d));
    switch (mode % 4) {
    case 0:
        return 0;
    case 1:
        return n;
    case 2:
        return (size_t)(salt % (n + 1));
    default:
        return draw(&s) % 2 != 0 ? (draw(&s) % 2 != 0 ? n : 0) : (size_t)(draw(&s) % (n + 1));
    }
}

static void inode_crash(struct inode *i, unsigned sector, uint64_t *rnd)
{
    uint64_t mode = draw(rnd), salt = draw(rnd);
    if (i->len > i->dur_len) {
        i->dur_len +=
            draw(rnd) % 2 != 0 ? i->len - i->dur_len : draw(rnd) % (i->len - i->dur_len + 1);
    }
    for (size_t k = 0; k < i->n_w; k++) {
        const struct pending *w = &i->w[k];
        for (uint64_t at = w->off; at < w->off + w->len;) {
            uint64_t end = (at / sector + 1) * sector;
            end = end < w->off + w->len ? end : w->off + w->len;
            if (k < sector_cut(mode, salt, at / sector, i->n_w)) {
                memcpy(i->dur + at, w->p + (at - w->off), end - at);
            }
            at = end;
        }
    }
    pending_clear(i);
    i->len = i->dur_len;
    if (i->cap != 0) {
        memset(i->dur + i->len, 0, i->cap - i->len);
        memcpy(i->cur, i->dur, i->cap);
    }
}

/* --- names
 * ---------------------------------------------------------------------------------------- */

static struct name *table_find(const struct table *t, const char *path)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->v[i].path, path) == 0) {
            return &t->v[i];
        }
    }
    return NULL;
}

static void table_remove(struct table *t, const char *path)
{
    struct name *n = table_find(t, path);
    if (n != NULL) {
        mem_free(n->path);
        inode_unref(n->node);
        *n = t->v[--t->n];
    }
}

static void table_put(struct table *t, const char *path, struct inode *node)
{
    node->refs++;
    table_remove(t, path);
    t->v = mem_realloc(t->v, (t->n + 1) * sizeof(*t->v));
    t->v[t->n++] = (struct name){mem_strdup(path), node};
}

static void table_clear(struct table *t)
{
    while (t->n != 0) {
        table_remove(t, t->v[0].path);
    }
}

static void change_apply(struct table *t, const struct change *c)
{
    if (c->from == NULL) {
        table_put(t, c->to, c->node);
    } else if (c->to == NULL) {
        table_remove(t, c->from);
    } else if (table_find(t, c->from) != NULL) {
        table_put(t, c->to, table_find(t, c->from)->node);
        table_remove(t, c->from);
    }
}

static void change_add(struct memdisk *m, const char *from, const char *to, struct inode *node)
{
    m->changes = mem_realloc(m->changes, (m->n_changes + 1) * sizeof(*m->changes));
    struct change *c = &m->changes[m->n_changes++];
    *c = (struct change){from != NULL ? mem_strdup(from) : NULL, to != NULL ? mem_strdup(to) : NULL,
                         node};
    if (node != NULL) {
        node->refs++;
    }
    change_apply(&m->cur, c);
}

static void changes_clear(struct memdisk *m)
{
    for (size_t i = 0; i < m->n_changes; i++) {
        mem_free(m->changes[i].from);
        mem_free(m->changes[i].to);
        if (m->changes[i].node != NULL) {
            inode_unref(m->changes[i].node);
        }
    }
    m->n_changes = 0;
}

/* --- the disk's functions
 * ------------------------------------------------------------------------- */

static int off_err(struct err *e)
{
    return err_set(e, MU_E_IO, "the power is off");
}

/* Before each change: 0 when it may happen. */
static int change_begins(struct memdisk *m, struct err *e)
{
    if (m->off_at != 0 && --m->off_at == 0) {
        m->is_off = 1;
    }
    return m->is_off ? off_err(e) : 0;
}

static uint64_t used(const struct memdisk *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->cur.n; i++) {
        sum += m->cur.v[i].node->len;
    }
    return sum;
}

static int has_space(const struct memdisk *m, const struct inode *i, uint64_t len)
{
    return m->capacity == 0 || len <= i->len || used(m) + (len - i->len) <= m->capacity;
}

static struct inode *node_of(struct disk_file *f)
{
    return CONTAINER_OF(f, struct handle, file)->node;
}

static int md_open(struct disk *d, const char *path, unsigned flags, struct disk_file **out,
                   struct err *e)
{
    struct memdisk *m = md_of(d);
    if (m->is_off) {
        return off_err(e);
    }
    struct name *n = table_find(&m->cur, path);
    if (n == NULL && (flags & DISK_CREATE) == 0) {
        return err_set(e, MU_E_NOT_FOUND, "opening %s: not there", path);
    }
    if (n == NULL) {
        struct inode *i = mem_zalloc(sizeof(*i));
        change_add(m, NULL, path, i);
        n = table_find(&m->cur, path);
    } else if ((flags & DISK_TRUNC) != 0) {
        inode_cut(n->node, 0);
    }
    struct handle *h = mem_zalloc(sizeof(*h));
    h->file.disk = d;
    h->node = n->node;
    h->node->refs++;
    *out = &h->file;
    return 0;
}

static void md_close(struct disk_file *f)
{
    struct handle *h = CONTAINER_OF(f, struct handle, file);
    inode_unref(h->node);
    mem_free(h);
}

static int md_pread(struct disk_file *f, void *out, size_t len, uint64_t off, size_t *out_n,
                    struct err *e)
{
    const struct inode *i = node_of(f);
    if (md_of(f->disk)->is_off) {
        return off_err(e);
    }
    uint64_t n = off >= i->len ? 0 : i->len - off;
    n = n < len ? n : len;
    if (n != 0) {
        memcpy(out, i->cur + off, n);
    }
    *out_n = n;
    return 0;
}

static int md_pwrite(struct disk_file *f, const void *p, size_t len, uint64_t off, struct err *e)
{
    struct memdisk *m = md_of(f->disk);
    int rc = change_begins(m, e);
    if (rc != 0) {
        return rc;
    }
    if (m->fail_write != 0 && --m->fail_write == 0) {
        return err_set(e, m->write_code, "injected failure of a write");
    }
    if (!has_space(m, node_of(f), off + len)) {
        return err_set(e, MU_E_DISK_FULL, "no space");
    }
    m->stats.n_writes++;
    m->stats.bytes_written += len;
    inode_write(node_of(f), p, len, off);
    return 0;
}

static int md_sync(struct disk_file *f, struct err *e)
{
    struct memdisk *m = md_of(f->disk);
    int rc = change_begins(m, e);
    if (rc != 0) {
        return rc;
    }
    if (m->fail_sync != 0 && --m->fail_sync == 0) {
        struct inode *i = node_of(f);
        pending_clear(i);
        i->dur_len = i->len;
        return err_set(e, m->sync_code, "injected failure of a sync");
    }
    m->stats.n_syncs++;
    inode_sync(node_of(f));
    return 0;
}

static int md_allocate(struct disk_file *f, uint64_t len, struct err *e)
{
    struct memdisk *m = md_of(f->disk);
    int rc = change_begins(m, e);
    if (rc == 0 && !has_space(m, node_of(f), len)) {
        rc = err_set(e, MU_E_DISK_FULL, "no space");
    }
    if (rc == 0) {
        inode_grow(node_of(f), len);
    }
    return rc;
}

static int md_truncate(struct disk_file *f, uint64_t len, struct err *e)
{
    int rc = change_begins(md_of(f->disk), e);
    if (rc == 0) {
        inode_cut(node_of(f), len);
    }
    return rc;
}

static int md_size(struct disk_file *f, uint64_t *out, struct err *e)
{
    *out = node_of(f)->len;
    return md_of(f->disk)->is_off ? off_err(e) : 0;
}

static int md_rename(struct disk *d, const char *from, const char *to, struct err *e)
{
    struct memdisk *m = md_of(d);
    int rc = change_begins(m, e);
    if (rc == 0 && table_find(&m->cur, from) == NULL) {
        rc = err_set(e, MU_E_NOT_FOUND, "renaming %s: not there", from);
    }
    if (rc == 0) {
        change_add(m, from, to, NULL);
    }
    return rc;
}

static int md_unlink(struct disk *d, const char *path, struct err *e)
{
    struct memdisk *m = md_of(d);
    int rc = change_begins(m, e);
    if (rc == 0 && table_find(&m->cur, path) == NULL) {
        rc = err_set(e, MU_E_NOT_FOUND, "removing %s: not there", path);
    }
    if (rc == 0) {
        change_add(m, path, NULL, NULL);
    }
    return rc;
}

static int md_mkdir(struct disk *d, const char *path, struct err *e)
{
    (void)path; /* directories are nothing but a part of names, and always durable */
    return md_of(d)->is_off ? off_err(e) : 0;
}

const char *memdisk_name(struct memdisk *m, const char *dir, unsigned k)
{
    const char *best = NULL, *above = "";
    size_t len = strcmp(dir, ".") == 0 ? 0 : strlen(dir) + 1;
    for (unsigned round = 0; round <= k; round++, above = best) {
        best = NULL;
        for (size_t i = 0; i < m->cur.n; i++) {
            const char *path = m->cur.v[i].path;
            if (strlen(path) <= len ||
                (len != 0 && (strncmp(path, dir, len - 1) != 0 || path[len - 1] != '/')) ||
                strchr(path + len, '/') != NULL) {
                continue;
            }
            if (strcmp(path + len, above) > 0 && (best == NULL || strcmp(path + len, best) < 0)) {
                best = path + len;
            }
        }
        if (best == NULL) {
            return NULL;
        }
    }
    return best;
}

static int md_list(struct disk *d, const char *dir, disk_list_fn fn, void *arg, struct err *e)
{
    struct memdisk *m = md_of(d);
    if (m->is_off) {
        return off_err(e);
    }
    const char *name;
    int rc = 0;
    for (unsigned k = 0; rc == 0 && (name = memdisk_name(m, dir, k)) != NULL; k++) {
        rc = fn(arg, name);
    }
    return rc;
}

static int md_sync_dir(struct disk *d, const char *dir, struct err *e)
{
    (void)dir; /* one journal for all directories */
    struct memdisk *m = md_of(d);
    int rc = change_begins(m, e);
    if (rc != 0) {
        return rc;
    }
    m->stats.n_dir_syncs++;
    for (size_t i = 0; i < m->n_changes; i++) {
        change_apply(&m->dur, &m->changes[i]);
    }
    changes_clear(m);
    return 0;
}

static int md_free_bytes(struct disk *d, uint64_t *out_free, uint64_t *out_total, struct err *e)
{
    struct memdisk *m = md_of(d);
    *out_total = m->capacity != 0 ? m->capacity : UINT64_C(1) << 40;
    *out_free = *out_total - used(m);
    return m->is_off ? off_err(e) : 0;
}

static const struct disk_ops ops = {
    .open = md_open,
    .close = md_close,
    .pread = md_pread,
    .pwrite = md_pwrite,
    .sync = md_sync,
    .allocate = md_allocate,
    .truncate = md_truncate,
    .size = md_size,
    .rename = md_rename,
    .unlink = md_unlink,
    .mkdir = md_mkdir,
    .list = md_list,
    .sync_dir = md_sync_dir,
    .free_bytes = md_free_bytes,
};

/* --- the test's side
 * ------------------------------------------------------------------------------ */

struct memdisk *memdisk_new(void)
{
    struct memdisk *m = mem_zalloc(sizeof(*m));
    m->disk.ops = &ops;
    m->sector = SECTOR;
    return m;
}

void memdisk_free(struct memdisk *m)
{
    changes_clear(m);
    table_clear(&m->cur);
    table_clear(&m->dur);
    mem_free(m->changes);
    mem_free(m->cur.v);
    mem_free(m->dur.v);
    mem_free(m);
}

struct disk *memdisk_disk(struct memdisk *m)
{
    return &m->disk;
}

void memdisk_off(struct memdisk *m)
{
    m->is_off = 1;
}

void memdisk_off_at(struct memdisk *m, unsigned n)
{
    m->off_at = n;
}

int memdisk_is_off(const struct memdisk *m)
{
    return m->is_off;
}

/* A journal keeps the order; a careless file system keeps any subset. Both happen here. */
static void names_crash(struct memdisk *m, uint64_t *rnd)
{
    uint64_t mode = draw(rnd) % 4;
    size_t keep = (size_t)(draw(rnd) % (m->n_changes + 1));
    for (size_t i = 0; i < m->n_changes; i++) {
        int is_kept = mode == 0 ? 0 : mode == 1 ? 1 : mode == 2 ? i < keep : draw(rnd) % 2 != 0;
        if (is_kept) {
            change_apply(&m->dur, &m->changes[i]);
        }
    }
}

static void is_on_again(struct memdisk *m)
{
    changes_clear(m);
    m->is_off = 0;
    m->off_at = m->fail_write = m->fail_sync = 0;
}

void memdisk_on(struct memdisk *m, uint64_t seed)
{
    uint64_t rnd = seed;
    names_crash(m, &rnd);
    table_clear(&m->cur);
    for (size_t i = 0; i < m->dur.n; i++) {
        inode_crash(m->dur.v[i].node, m->sector, &rnd);
        table_put(&m->cur, m->dur.v[i].path, m->dur.v[i].node);
    }
    is_on_again(m);
}

void memdisk_on_kept(struct memdisk *m)
{
    m->is_off = 0;
    m->off_at = m->fail_write = m->fail_sync = 0;
}

void memdisk_set_sector(struct memdisk *m, unsigned bytes)
{
    m->sector = bytes;
}

void memdisk_fail_write(struct memdisk *m, unsigned n, int code)
{
    m->fail_write = n;
    m->write_code = code;
}

void memdisk_fail_sync(struct memdisk *m, unsigned n, int code)
{
    m->fail_sync = n;
    m->sync_code = code;
}

void memdisk_set_capacity(struct memdisk *m, uint64_t bytes)
{
    m->capacity = bytes;
}

uint8_t *memdisk_content(struct memdisk *m, const char *path, uint64_t *out_len)
{
    struct name *n = table_find(&m->cur, path);
    if (n == NULL) {
        return NULL;
    }
    inode_sync(n->node);
    *out_len = n->node->len;
    return n->node->cur;
}

void memdisk_cut(struct memdisk *m, const char *path, uint64_t len)
{
    inode_cut(table_find(&m->cur, path)->node, len);
}

uint64_t memdisk_unsynced(const struct memdisk *m, const char *prefix, const char *suffix)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->cur.n; i++) {
        const char *path = m->cur.v[i].path;
        size_t len = strlen(path), end = strlen(suffix);
        if (strncmp(path, prefix, strlen(prefix)) == 0 && len >= end &&
            strcmp(path + len - end, suffix) == 0) {
            sum += m->cur.v[i].node->n_w;
        }
    }
    return sum;
}

struct memdisk *memdisk_copy(const struct memdisk *m)
{
    struct memdisk *c = memdisk_new();
    c->capacity = m->capacity;
    c->sector = m->sector;
    for (size_t i = 0; i < m->cur.n; i++) {
        const struct inode *from = m->cur.v[i].node;
        struct inode *to = mem_zalloc(sizeof(*to));
        inode_grow(to, from->len);
        if (from->len != 0) {
            memcpy(to->cur, from->cur, from->len);
            memcpy(to->dur, from->cur, from->len);
        }
        to->dur_len = from->len;
        table_put(&c->cur, m->cur.v[i].path, to);
        table_put(&c->dur, m->cur.v[i].path, to);
    }
    return c;
}

void memdisk_stats(const struct memdisk *m, struct memdisk_stats *out)
{
    *out = m->stats;
}
