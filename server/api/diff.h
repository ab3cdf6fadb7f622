/* SPDX-License-Identifier: Apache-2.0 */
/* Unified diff of two texts, line by line, in bounded time. */
#pragma once

#include "base/buf.h"

enum {
    DIFF_CONTEXT = 3,
    DIFF_EDITS_MAX =
        1000, /* beyond so many changed lines the differing middle is shown as replaced whole */
};

/* Appends nothing when the texts are equal. Labels go into the --- and +++ lines. */
void diff_unified(struct slice a, struct slice b, const char *label_a, const char *label_b,
                  struct buf *out);
