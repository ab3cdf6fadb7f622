/* SPDX-License-Identifier: Apache-2.0 */
/* The data directory: made with mode 0700, locked by one process, marked with format version and
 * node name. */
#pragma once

#include "base/err.h"

struct datadir {
    char path[4096]; /* absolute */
    int lock_fd;
    int is_fresh; /* nothing was in it */
};

enum { DATADIR_FORMAT = 1 };

/* Refuses: a directory others may write or read, one in use, one that is not ours, one of a newer
 * format, one of another node. */
int datadir_open(const char *path, const char *node_name, struct datadir *out, struct err *e);
/* Write the mark; from now on the directory is this node's. */
int datadir_mark(const struct datadir *d, const char *node_name, struct err *e);
void datadir_close(struct datadir *d);
