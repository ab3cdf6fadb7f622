/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary file without a name: written in pieces, then read as memory, gone when it is closed
 * or the process ends. */
#pragma once

#include "base/err.h"

struct spool;

int spool_open(const char *dir, struct spool **out, struct err *e);
void spool_close(struct spool *s); /* NULL is fine */
/* arg is the spool: an archive_put_fn, an export_put_fn. DISK_FULL, IO. */
int spool_put(void *arg, struct slice bytes, struct err *e);
/* All that was put, until spool_close; nothing may be put any more. */
int spool_map(struct spool *s, struct slice *out, struct err *e);
