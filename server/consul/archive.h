/* SPDX-License-Identifier: Apache-2.0 */
/* The container of Consul's snapshots: gzip of a tar with meta.json, state.bin and SHA256SUMS
 * (Consul's snapshot/archive.go). Read from memory, with bounds for all that is unpacked; state.bin
 * goes piece by piece where the caller says. */
#pragma once

#include "base/err.h"

enum {
    ARCHIVE_ID_MAX = 128,
    ARCHIVE_META_MAX = 1024 * 1024,
    ARCHIVE_STATE_MAX = 512 * 1024 * 1024, /* unpacked, when it is read */
};

struct archive_meta {
    char id[ARCHIVE_ID_MAX + 1];
    uint64_t version, index, term;
};

/* Takes the next bytes; 0, or an error, which ends the work and is returned. */
typedef int (*archive_put_fn)(void *arg, struct slice bytes, struct err *e);

/* 0; BAD_REQUEST with Consul's sentence, TOO_LARGE, or what `put` says. */
int archive_read(struct slice file, archive_put_fn put, void *arg, struct archive_meta *out,
                 struct err *e);

/* The whole archive, in pieces. 0, or what `put` says. */
int archive_write(const struct archive_meta *meta, struct slice state, archive_put_fn put,
                  void *arg, struct err *e);
