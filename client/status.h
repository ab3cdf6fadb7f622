/* SPDX-License-Identifier: Apache-2.0 */
/* How errors are said: filling struct muster_error, reading the server's problem documents. */
#pragma once

#include <stddef.h>

#include "client/include/muster.h"

/* Fill e (may be NULL) and return status, so `return status_set(...)`. */
muster_status status_set(struct muster_error *e, muster_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
muster_status status_no_memory(struct muster_error *e);
/* What an answer with this HTTP status (not 2xx, not 304) and body means. */
muster_status status_from_answer(struct muster_error *e, int http_status, const char *body,
                                 size_t len);
