/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/musterctl/snapfile.h"

#include <errno.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/wire.h"

enum {
    VERSION = 1,
    HEADER_FIXED = 72,
    BLOCK_MAX = 65536,
    BLOCK_HEAD = 16,
    FOOTER_SIZE = 32,
    RECORD_HEAD = 9,
    KEY_LEN_MAX = 6144,
    VALUE_LEN_MAX = 16384,
    TABLE_ROWS = 1
};

struct snap {
    FILE *f;
    const char *path;
    struct ctl_snap *out;
    struct err *e;
    uint64_t chain, offset, n_records;
    /* A record under way: head and key are collected, the value is only counted. */
    uint8_t head[RECORD_HEAD + KEY_LEN_MAX];
    size_t n_head;
    uint64_t value_left;
    int last_rank;
    size_t last_key_len;
    uint8_t last_key[KEY_LEN_MAX];
    uint8_t block[BLOCK_MAX];
};

static int corrupt(struct snap *s, const char *what)
{
    return err_set(s->e, MU_E_CORRUPT, "%s is damaged: %s near byte %llu", s->path, what,
                   (unsigned long long)s->offset);
}

static int get(struct snap *s, void *out, size_t len)
{
    size_t n = fread(out, 1, len, s->f);
    s->offset += n;
    if (ferror(s->f)) {
        return err_set(s->e, MU_E_IO, "reading %s: %s", s->path, strerror(errno));
    }
    return n == len ? 0 : corrupt(s, "cut short");
}

/* --- header --- */

/* The configuration entry names the members: id u64, "name@host:port" NUL, role u8. */
static void members(struct slice conf, struct ctl_snap *out)
{
    struct wire_reader r;
    size_t len = 0;
    wire_read_init(&r, conf);
    wire_u8(&r);
    uint64_t n = wire_u64(&r);
    for (uint64_t i = 0; i < n && !r.failed; i++) {
        wire_u64(&r);
        const char *text = (const char *)r.p;
        const uint8_t *end = r.left != 0 ? memchr(r.p, 0, r.left) : NULL;
        if (end == NULL || wire_raw(&r, (size_t)(end - r.p) + 1).p == NULL) {
            return;
        }
        int is_voter = wire_u8(&r) != 0;
        const char *at = strrchr(text, '@');
        int w = snprintf(out->members + len, sizeof(out->members) - len, "%s%.*s %s%s",
                         i != 0 ? ", " : "", (int)(at != NULL ? at - text : 0), text,
                         at != NULL ? at + 1 : text, is_voter ? "" : " (learner)");
        if (w < 0 || (size_t)w >= sizeof(out->members) - len) {
            return;
        }
        len += (size_t)w;
    }
}

static int read_header(struct snap *s)
{
    uint8_t b[HEADER_FIXED + CTL_SNAP_CONF_MAX + 4];
    size_t n = fread(b, 1, HEADER_FIXED, s->f);
    s->offset = n;
    if (n < 8 || memcmp(b, "MUSTSNAP", 8) != 0) {
        return ferror(s->f) ? err_set(s->e, MU_E_IO, "reading %s: %s", s->path, strerror(errno))
                            : err_set(s->e, MU_E_FORMAT, "%s is no snapshot of muster", s->path);
    }
    if (n < HEADER_FIXED) {
        return corrupt(s, "cut short");
    }
    if (wire_get_u32(b + 8) != VERSION) {
        return err_set(s->e, MU_E_FORMAT, "%s is a snapshot of version %u, which is not known here",
                       s->path, wire_get_u32(b + 8));
    }
    size_t conf_len = wire_get_u32(b + 12), len = HEADER_FIXED + conf_len;
    if (conf_len > CTL_SNAP_CONF_MAX) {
        return corrupt(s, "bad header");
    }
    int rc = get(s, b + HEADER_FIXED, conf_len + 4);
    if (rc != 0) {
        return rc;
    }
    if (wire_get_u32(b + len) != hash_crc32c(0, b, len)) {
        return corrupt(s, "bad header");
    }
    s->out->index = wire_get_u64(b + 16);
    s->out->term = wire_get_u64(b + 24);
    s->out->revision = wire_get_u64(b + 32);
    hash_hex(b + 48, 16, s->out->cluster_id);
    members(slice_of(b + HEADER_FIXED, conf_len), s->out);
    s->chain = hash_xxh3(b, len, 0);
    return 0;
}

/* --- records: a stream that blocks cut anywhere --- */

static int rank_of(unsigned table)
{
    static const unsigned char order[CTL_SNAP_TABLES] = {0, 2, 6, 1, 3, 4, 5, 7};
    for (int i = 0; i < CTL_SNAP_TABLES; i++) {
        if (order[i] == table) {
            return i;
        }
    }
    return -1;
}

/* Head and key are there: tables in their order, keys rising. */
static int record(struct snap *s)
{
    unsigned table = s->head[0];
    struct slice key = slice_of(s->head + RECORD_HEAD, s->n_head - RECORD_HEAD);
    int rank = rank_of(table);
    if (rank < s->last_rank ||
        (rank == s->last_rank && slice_cmp(key, slice_of(s->last_key, s->last_key_len)) <= 0)) {
        return corrupt(s, "records out of order");
    }
    s->last_rank = rank;
    s->last_key_len = key.len;
    memcpy(s->last_key, key.p, key.len);
    s->n_records++;
    s->out->n_of_table[table]++;
    if (table == TABLE_ROWS) {
        s->out->n_configs += key.p[0] == 'C';
        s->out->n_services += key.p[0] == 'S';
        s->out->n_instances += key.p[0] == 'I';
    }
    return 0;
}

/* Takes what the record under way lacks: its head, then its key, then its value. */
static int take(struct snap *s, struct slice *block)
{
    size_t want = RECORD_HEAD;
    if (s->n_head >= RECORD_HEAD) {
        want += wire_get_u32(s->head + 1);
    }
    if (s->n_head < want) {
        size_t n = want - s->n_head < block->len ? want - s->n_head : block->len;
        memcpy(s->head + s->n_head, block->p, n);
        s->n_head += n;
        *block = slice_of(block->p + n, block->len - n);
        if (s->n_head == RECORD_HEAD) {
            size_t key_len = wire_get_u32(s->head + 1);
            s->value_left = wire_get_u32(s->head + 5);
            if (rank_of(s->head[0]) < 0 || key_len == 0 || key_len > KEY_LEN_MAX ||
                s->value_left > VALUE_LEN_MAX) {
                return corrupt(s, "bad record");
            }
            return 0;
        }
        int rc = s->n_head == want ? record(s) : 0;
        if (rc != 0) {
            return rc;
        }
        want = s->n_head == want ? 0 : want;
    } else {
        want = 0;
    }
    size_t n = s->value_left < block->len ? (size_t)s->value_left : block->len;
    if (want == 0) {
        *block = slice_of(block->p + n, block->len - n);
        s->value_left -= n;
        s->n_head = s->value_left == 0 ? 0 : s->n_head;
    }
    return 0;
}

/* --- blocks --- */

static int footer(struct snap *s, const uint8_t head[BLOCK_HEAD])
{
    uint8_t b[FOOTER_SIZE];
    memcpy(b, head, BLOCK_HEAD);
    int rc = get(s, b + BLOCK_HEAD, sizeof(b) - BLOCK_HEAD);
    if (rc != 0) {
        return rc;
    }
    s->out->n_records = wire_get_u64(b + 8);
    s->out->size_bytes = wire_get_u64(b + 16);
    if (wire_get_u32(b + 4) != hash_crc32c(0, b + 8, sizeof(b) - 8) ||
        s->out->n_records != s->n_records || s->out->size_bytes != s->offset ||
        wire_get_u64(b + 24) != s->chain || s->n_head != 0) {
        return corrupt(s, "bad footer");
    }
    return fgetc(s->f) == EOF ? 0 : corrupt(s, "bytes behind the end");
}

/* 1: there was a block; 0: that was the end. */
static int one_block(struct snap *s)
{
    uint8_t head[BLOCK_HEAD];
    int rc = get(s, head, sizeof(head));
    size_t len = wire_get_u32(head);
    if (rc != 0) {
        return rc;
    }
    if (len == 0) {
        return footer(s, head);
    }
    if (len > BLOCK_MAX) {
        return corrupt(s, "bad block");
    }
    if ((rc = get(s, s->block, len)) != 0) {
        return rc;
    }
    s->chain = hash_xxh3(s->block, len, s->chain);
    if (wire_get_u32(head + 4) != hash_crc32c(0, s->block, len) ||
        wire_get_u64(head + 8) != s->chain) {
        return corrupt(s, "bad block");
    }
    struct slice rest = slice_of(s->block, len);
    while (rc == 0 && rest.len != 0) {
        rc = take(s, &rest);
    }
    return rc != 0 ? rc : 1;
}

int ctl_snap_check(const char *path, struct ctl_snap *out, struct err *e)
{
    static struct snap s; /* large */
    FILE *f = fopen(path, "re");
    *out = (struct ctl_snap){0};
    if (f == NULL) {
        return err_set(e, errno == ENOENT ? MU_E_NOT_FOUND : MU_E_IO, "opening %s: %s", path,
                       strerror(errno));
    }
    s = (struct snap){.f = f, .path = path, .out = out, .e = e, .last_rank = -1};
    int rc = read_header(&s);
    rc = rc == 0 ? 1 : rc;
    while (rc == 1) {
        rc = one_block(&s);
    }
    fclose(f);
    return rc;
}
