/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the codecs of rows. */
#pragma once

#include "base/err.h"
#include "base/wire.h"
#include "storage/rows.h"

enum { ROW_TEXT_MAX = 64 * 1024 };

/* The meta, and a reader of what follows it. */
int row_begin_decode(struct slice s, struct row_meta *out, struct wire_reader *r);
/* u16 count, then count * per strings, and nothing else. An empty list may be no bytes at all. */
int row_list_is_sound(struct slice s, unsigned per);
