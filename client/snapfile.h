/* SPDX-License-Identifier: Apache-2.0 */
/* What was last known, on disk: one small file a config or service, replaced as a whole, with a
 * checksum. A file that is damaged or speaks of something else is as good as none.
 *
 *   "muster snapshot 1 <crc32 of the rest, 8 hex digits>\n"
 *   kind NUL namespace NUL group NUL name NUL, then the data
 *
 * The file's name is a digest of those names, so no name leads out of the directory. */
#pragma once

#include <stddef.h>

#include "client/include/muster.h"

struct snapname {
    const char *kind;
    const char *namespace_;
    const char *group;
    const char *name;
};

/* Make the directory if it is missing (mode 0700). MUSTER_IO. */
muster_status snapfile_dir(const char *dir, struct muster_error *e);
/* MUSTER_IO, MUSTER_NO_MEMORY; then the old file is still there. */
muster_status snapfile_save(const char *dir, const struct snapname *n, const void *data,
                            size_t len);
/* Gives the data with a NUL behind it. MUSTER_NOT_FOUND when there is no sound file. */
muster_status snapfile_load(const char *dir, const struct snapname *n, char **out, size_t *out_len);
void snapfile_remove(const char *dir, const struct snapname *n);
