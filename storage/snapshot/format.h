/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot file as a stream: header, checked blocks, footer. Bytes: docs/formats.md#snapshot.
 *
 * The writer and the reader hold one block and (reader) one record in memory, whatever the size of
 * the store. */
#pragma once

#include "storage/db/db.h"
#include "storage/store.h"

enum {
    SNAPSHOT_BLOCK_MAX = 64 * 1024,
    SNAPSHOT_CONF_MAX = 4096,
    SNAPSHOT_HEADER_FIXED = 72,
    SNAPSHOT_BLOCK_HEAD = 16,
    SNAPSHOT_FOOTER_SIZE = 32,
    SNAPSHOT_RECORD_HEAD = 9,
    SNAPSHOT_VALUE_MAX = 16 * 1024, /* nothing larger is stored in one value */
};

struct snapshot_writer {
    int fd;
    const char *path;
    struct err *err;
    int rc; /* sticky */
    uint64_t chain;
    uint64_t n_rows;
    uint64_t size_bytes;
    size_t len; /* of the block under way */
    uint8_t block[SNAPSHOT_BLOCK_HEAD + SNAPSHOT_BLOCK_MAX];
};

/* fd and path are borrowed. Errors stick; snapshot_put_end returns the first. */
void snapshot_put_header(struct snapshot_writer *w, int fd, const char *path,
                         const struct snapshot_info *info, struct err *e);
void snapshot_put_row(struct snapshot_writer *w, enum db_table table, struct slice key,
                      struct slice value);
int snapshot_put_end(struct snapshot_writer *w);

struct snapshot_record {
    enum db_table table;
    struct slice key, value; /* borrowed until the next record */
};

struct snapshot_reader {
    int fd;
    const char *path;
    struct err *err;
    struct snapshot_info info;
    uint64_t chain;
    uint64_t n_rows;
    uint64_t offset; /* bytes of the file that were read */
    int is_at_end;   /* the footer was read and is right */
    size_t at, len;  /* in block */
    struct buf record;
    struct buf last_key;
    int last_rank;
    uint8_t block[SNAPSHOT_BLOCK_MAX];
};

/* Reads and checks the header. CORRUPT, FORMAT, IO. fini in any case. */
int snapshot_get_header(struct snapshot_reader *r, int fd, const char *path, struct err *e);
/* 1 and a record, 0 at the checked end of the file, or CORRUPT, IO. Tables come in the order of the
 * format, keys rising in each. */
int snapshot_get_row(struct snapshot_reader *r, struct snapshot_record *out);
void snapshot_reader_fini(struct snapshot_reader *r);
/* Place of a table in the file, -1 when it has none. */
int snapshot_rank(unsigned table);
extern const enum db_table snapshot_order[DB_TABLE_N];
