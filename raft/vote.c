/* SPDX-License-Identifier: Apache-2.0 */
/* The durable term and vote: the same few bytes twice in one file.
 *
 * A save writes the first copy, syncs, writes the second, syncs. So whenever no save is under way
 * both are equal, and one bad copy means either a torn save that never returned (the other copy is
 * the older: nothing was promised by the newer) or damage after a save (the other copy is equal):
 * the good one is right in both cases. The file gets its name when it is complete. */
#include "base/hash.h"
#include "base/mem.h"
#include "base/wire.h"
#include "raft/wal.h"

enum { V_MAGIC = 0, V_CRC = 8, V_VERSION = 12, V_SEQ = 16, V_TERM = 24, V_VOTE = 32, V_BYTES = 40 };
enum { VOTE_VERSION = 1, VOTE_COPY = 4096, VOTE_FILE_BYTES = 2 * VOTE_COPY };
static const uint8_t MAGIC[8] = {'m', 'u', 's', 't', 'e', 'r', 'v', 't'};

struct vote_file {
    struct disk_file *file;
    uint64_t seq;
};

static void encode(uint8_t *p, uint64_t seq, const struct vote *v)
{
    memcpy(p, MAGIC, sizeof(MAGIC));
    wire_set_u32(p + V_VERSION, VOTE_VERSION);
    wire_set_u64(p + V_SEQ, seq);
    wire_set_u64(p + V_TERM, v->term);
    wire_set_u64(p + V_VOTE, v->vote);
    wire_set_u32(p + V_CRC, hash_crc32c(0, p + V_VERSION, V_BYTES - V_VERSION));
}

/* 0, CORRUPT, FORMAT. */
static int decode(const uint8_t *p, size_t len, uint64_t *out_seq, struct vote *out)
{
    if (len < V_BYTES || memcmp(p, MAGIC, sizeof(MAGIC)) != 0 ||
        wire_get_u32(p + V_CRC) != hash_crc32c(0, p + V_VERSION, V_BYTES - V_VERSION)) {
        return MU_E_CORRUPT;
    }
    if (wire_get_u32(p + V_VERSION) != VOTE_VERSION) {
        return MU_E_FORMAT;
    }
    *out_seq = wire_get_u64(p + V_SEQ);
    *out = (struct vote){wire_get_u64(p + V_TERM), wire_get_u64(p + V_VOTE)};
    return 0;
}

static int write_both(struct disk_file *f, uint64_t seq, const struct vote *v, struct err *e)
{
    uint8_t b[V_BYTES];
    encode(b, seq, v);
    const struct disk_ops *ops = f->disk->ops;
    int rc = ops->pwrite(f, b, sizeof(b), 0, e);
    rc = rc != 0 ? rc : ops->sync(f, e);
    rc = rc != 0 ? rc : ops->pwrite(f, b, sizeof(b), VOTE_COPY, e);
    return rc != 0 ? rc : ops->sync(f, e);
}

/* The newer of the good copies. */
static int read_best(struct disk_file *f, const char *path, uint64_t *out_seq, struct vote *out,
                     struct err *e)
{
    int found = 0;
    for (uint64_t off = 0; off < VOTE_FILE_BYTES; off += VOTE_COPY) {
        uint8_t b[V_BYTES];
        size_t got = 0;
        uint64_t seq;
        struct vote v;
        int rc = f->disk->ops->pread(f, b, sizeof(b), off, &got, e);
        if (rc != 0) {
            return rc;
        }
        rc = decode(b, got, &seq, &v);
        if (rc == MU_E_FORMAT) {
            return err_set(e, rc, "%s has a format this version does not know", path);
        }
        if (rc == 0 && (!found || seq > *out_seq)) {
            *out_seq = seq;
            *out = v;
            found = 1;
        }
    }
    return found ? 0
                 : err_set(e, MU_E_CORRUPT, "both copies of term and vote in %s are damaged", path);
}

static int create_file(struct disk *d, const char *path, struct err *e)
{
    char tmp[300];
    struct disk_file *f = NULL;
    const struct vote none = {0, 0};
    if (strlen(path) + 5 > sizeof(tmp)) {
        return err_set(e, MU_E_RANGE, "path too long: %s", path);
    }
    memcpy(tmp, path, strlen(path));
    memcpy(tmp + strlen(path), ".tmp", 5);
    int rc = d->ops->open(d, tmp, DISK_READ | DISK_WRITE | DISK_CREATE | DISK_TRUNC, &f, e);
    if (rc != 0) {
        return rc;
    }
    static const uint8_t zeros[VOTE_FILE_BYTES];
    rc = d->ops->pwrite(f, zeros, sizeof(zeros), 0, e);
    rc = rc != 0 ? rc : write_both(f, 0, &none, e);
    d->ops->close(f);
    return rc != 0 ? rc : d->ops->rename(d, tmp, path, e);
}

static int open_or_create(struct disk *d, const char *path, struct disk_file **out, struct err *e)
{
    int rc = d->ops->open(d, path, DISK_READ | DISK_WRITE, out, e);
    if (rc != MU_E_NOT_FOUND) {
        return rc;
    }
    rc = create_file(d, path, e);
    return rc != 0 ? rc : d->ops->open(d, path, DISK_READ | DISK_WRITE, out, e);
}

int vote_open(struct disk *d, const char *path, struct vote_file **out, struct vote *out_vote,
              struct err *e)
{
    struct disk_file *f = NULL;
    struct vote v = {0, 0};
    uint64_t seq = 0;
    int rc = open_or_create(d, path, &f, e);
    if (rc != 0) {
        return rc;
    }
    rc = read_best(f, path, &seq, &v, e);
    /* Whatever an earlier run left half done: both copies equal and synced before anything rests on
     * them. */
    rc = rc != 0 ? rc : write_both(f, seq, &v, e);
    const char *slash = strrchr(path, '/');
    char dir[300] = ".";
    if (slash != NULL && (size_t)(slash - path) < sizeof(dir)) {
        memcpy(dir, path, (size_t)(slash - path));
        dir[slash - path] = '\0';
    }
    rc = rc != 0 ? rc : d->ops->sync_dir(d, dir, e);
    if (rc != 0) {
        d->ops->close(f);
        return rc;
    }
    *out = mem_alloc(sizeof(**out));
    **out = (struct vote_file){f, seq};
    *out_vote = v;
    return 0;
}

int vote_save(struct vote_file *f, const struct vote *v, struct err *e)
{
    f->seq++;
    return write_both(f->file, f->seq, v, e);
}

void vote_close(struct vote_file *f)
{
    f->file->disk->ops->close(f->file);
    mem_free(f);
}
