/* SPDX-License-Identifier: Apache-2.0 */
/* The loader of segments and of the vote: any bytes, records with right checksums but any fields,
 * and edits of a good log. What opens can be read, written on and opened again to the same end. */
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/wire.h"
#include "raft/wal_impl.h"
#include "tests/lib/memdisk.h"

enum { SEG = 16384 };
static const char SEG_PATH[] = "log/0000000000000001.seg";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct disk_file *file_open(struct memdisk *m, const char *path)
{
    struct disk_file *f = NULL;
    struct disk *d = memdisk_disk(m);
    MU_INVARIANT(d->ops->open(d, path, DISK_WRITE | DISK_CREATE, &f, NULL) == 0);
    return f;
}

static void file_put(struct memdisk *m, const char *path, const uint8_t *p, size_t len)
{
    struct disk_file *f = file_open(m, path);
    MU_INVARIANT(f->disk->ops->pwrite(f, p, len, 0, NULL) == 0);
    f->disk->ops->close(f);
}

static struct wal *log_open(struct memdisk *m, struct wal_info *info)
{
    struct wal *w = NULL;
    const struct wal_options o = {memdisk_disk(m), "log", SEG, 0};
    int rc = wal_open(&o, &w, info, NULL);
    MU_INVARIANT(rc == 0 || rc == MU_E_FORMAT);
    return rc == 0 ? w : NULL;
}

static void log_flush(struct wal *w)
{
    struct wal_op *op = wal_take(w);
    if (op != NULL) {
        MU_INVARIANT(wal_execute(op, NULL) == 0);
        wal_done(w, op);
    }
}

static void log_read(struct wal *w)
{
    for (mu_index i = wal_first(w); i <= wal_last(w);) {
        struct wal_entry v[8];
        size_t n = wal_read(w, i, 8, 1000, v, NULL);
        MU_INVARIANT(n > 0);
        MU_INVARIANT(v[0].term == wal_term(w, i));
        i += n;
    }
}

/* Whatever is on the disk now. */
static void log_check(struct memdisk *m)
{
    struct wal_info info, again;
    struct wal *w = log_open(m, &info);
    if (w == NULL) {
        return;
    }
    log_read(w);
    if (info.health == WAL_DAMAGED) {
        wal_reset(w, 7, 1);
    }
    mu_index last = wal_last(w);
    if (last < UINT64_MAX - 1) {
        wal_append(w, last + 1, &(struct wal_entry){UINT64_MAX, WAL_COMMAND, SLICE_LIT("x")}, 1);
    }
    log_flush(w);
    last = wal_last(w);
    wal_close(w);
    w = log_open(m, &again);
    MU_INVARIANT(w != NULL && again.health != WAL_DAMAGED && again.last == last);
    wal_close(w);
}

static void fuzz_raw(struct memdisk *m, const uint8_t *data, size_t len)
{
    file_put(m, SEG_PATH, data, len);
    log_check(m);
}

/* Nine bytes make a record: right checksums and chain, fields near what is right. */
static void fuzz_records(struct memdisk *m, const uint8_t *data, size_t len)
{
    static uint8_t img[SEG];
    struct wal_head h = {.seq = 1,
                         .salt = 3,
                         .first = 1,
                         .pos = {.chain = 5, .group = 1},
                         .size = SEG,
                         .flags = WAL_ORIGIN};
    uint32_t seed = wal_seed(3, 1);
    uint64_t chain = 5;
    size_t at = WAL_HEADER_BYTES;
    memset(img, 0, sizeof(img));
    wal_head_encode(img, &h);
    for (; len >= 9; data += 9, len -= 9) {
        size_t body = data[0];
        if (at + wal_rec_size(body) > SEG) {
            break;
        }
        struct wal_rec r = {.index = data[1],
                            .term = data[2],
                            .group = data[3],
                            .nth = data[4],
                            .prev_count = data[5]};
        r.kind = (uint8_t)(data[6] % 7);
        r.body = slice_of(img, body);
        uint64_t next = wal_rec_encode(img + at, &r, seed, chain);
        chain = (data[7] & 1) != 0 ? chain : next;
        img[at + (data[7] >> 1)] ^= (data[7] & 2) != 0 ? data[8] : 0;
        at += wal_rec_size(body);
    }
    file_put(m, SEG_PATH, img, sizeof(img));
    log_check(m);
}

/* A good log of two segments; three bytes change one of it. */
static void fuzz_edits(struct memdisk *m, const uint8_t *data, size_t len)
{
    struct wal_info info;
    struct wal *w = log_open(m, &info);
    for (mu_index i = 1; i < 40; i++) {
        static const uint8_t body[400];
        wal_append(w, i, &(struct wal_entry){i / 9 + 1, WAL_COMMAND, slice_of(body, i * 10)}, 1);
        if (i % 3 == 0) {
            log_flush(w);
        }
    }
    log_flush(w);
    wal_close(w);
    for (; len >= 3; data += 3, len -= 3) {
        uint64_t n;
        uint8_t *p =
            memdisk_content(m, (data[0] & 64) != 0 ? SEG_PATH : "log/0000000000000002.seg", &n);
        if (p != NULL) {
            p[(((size_t)(data[0] & 63) << 8) | data[1]) % n] ^= data[2];
        }
    }
    log_check(m);
}

static void fuzz_vote(struct memdisk *m, const uint8_t *data, size_t len)
{
    struct vote_file *f = NULL;
    struct vote v, again;
    file_put(m, "vote", data, len);
    if (vote_open(memdisk_disk(m), "vote", &f, &v, NULL) != 0) {
        return;
    }
    vote_close(f);
    MU_INVARIANT(vote_open(memdisk_disk(m), "vote", &f, &again, NULL) == 0);
    MU_INVARIANT(again.term == v.term && again.vote == v.vote);
    vote_close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2 || len > 4 * SEG) {
        return 0;
    }
    struct memdisk *m = memdisk_new();
    switch (data[0] & 3) {
    case 0:
        fuzz_raw(m, data + 1, len - 1);
        break;
    case 1:
        fuzz_records(m, data + 1, len - 1);
        break;
    case 2:
        fuzz_edits(m, data + 1, len - 1);
        break;
    default:
        fuzz_vote(m, data + 1, len - 1);
        break;
    }
    memdisk_free(m);
    return 0;
}
