/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot file, checked whole: docs/formats.md, Snapshot. Reads it once, one block in memory. */
#pragma once

#include "base/err.h"

enum { CTL_SNAP_TABLES = 8, CTL_SNAP_CONF_MAX = 4096 };

struct ctl_snap {
    uint64_t index, term, revision;
    char cluster_id[33];
    uint64_t size_bytes, n_records;
    uint64_t n_of_table[CTL_SNAP_TABLES];
    uint64_t n_configs, n_services, n_instances; /* rows there are now, deleted ones too */
    char members[1024];                          /* "n1 127.0.0.1:8300, ..." */
};

/* 0, MU_E_FORMAT (no snapshot, or of another version), MU_E_CORRUPT, MU_E_IO, MU_E_NOT_FOUND; the
 * sentence names the place. */
int ctl_snap_check(const char *path, struct ctl_snap *out, struct err *e);
