/* SPDX-License-Identifier: Apache-2.0 */
/* The mark beside the tables: may the file be trusted after the last stop? The reasoning and its
 * proof: docs/formats.md#store. */
#pragma once

#include "base/err.h"

enum { MARK_BOOT_ID_LEN = 36 };

struct mark {
    char boot_id[MARK_BOOT_ID_LEN + 1]; /* empty = not known */
    uint64_t mount_id;                  /* unique for the life of the kernel; 0 = not known */
    int is_clean;
};

/* What holds now for a file in `dir`. */
void mark_now(const char *dir, struct mark *out);
/* NOT_FOUND, CORRUPT, IO */
int mark_read(const char *path, struct mark *out);
/* Durable when it returns 0. */
int mark_write(const char *path, const struct mark *m, struct err *e);
/* 1 when a store that carries `found` holds what was written to it, given what holds `now`. */
int mark_is_trusted(const struct mark *found, const struct mark *now);
