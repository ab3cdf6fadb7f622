/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for the server and tools: never returns NULL, aborts with a message when there is none.
 * Sizes that come from outside are bounded before these are called. (The client library does not
 * use this.) */
#pragma once

#include "base/types.h"

void *mem_alloc(size_t size);  /* contents undefined; size 0 gives a valid pointer */
void *mem_zalloc(size_t size); /* zeroed */
void *mem_realloc(void *p, size_t size);
void *mem_dup(const void *p, size_t len);
char *mem_strdup(const char *s);
char *mem_slice_str(struct slice s); /* NUL-terminated copy */
void mem_free(void *p);              /* NULL allowed */

/* For what a library could not allocate: the same end. */
_Noreturn void mem_ran_out(void);
