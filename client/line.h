/* SPDX-License-Identifier: Apache-2.0 */
/* A line: libcurl's multi handle of one thread that waits, with the connections it keeps open. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/include/muster.h"

struct line;

/* Gives a line, an idle one if there is one. MUSTER_NO_MEMORY. */
muster_status line_open(struct muster *m, struct line **out, struct muster_error *e);
void line_close(struct muster *m, struct line *l);
/* Run one transfer to its end; *out_code is libcurl's. check() is asked now and then: anything but
 * 0 abandons the transfer. Returns what check() said, or 0. */
int line_transfer(struct line *l, void *easy, int (*check)(void *arg), void *arg, int *out_code);
/* Wait until that moment, or until somebody wakes the line. */
void line_sleep(struct line *l, int64_t until);
/* Wake every waiting thread, then wait until all have given their lines back. */
void line_wake_all(struct muster *m);
void line_free_all(struct muster *m);
