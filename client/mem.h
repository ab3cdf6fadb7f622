/* SPDX-License-Identifier: Apache-2.0 */
/* The client library's one door to memory: NULL when there is none, never an abort.
 *
 * Sizes that come from the network are bounded before these are called. */
#pragma once

#include <stddef.h>

void *cmem_alloc(size_t size);  /* contents undefined; size 0 gives a valid pointer */
void *cmem_zalloc(size_t size); /* zeroed */
void *cmem_realloc(void *p, size_t size);
char *cmem_strdup(const char *s);
char *cmem_strndup(const char *s, size_t len); /* exactly len bytes and a NUL */
void cmem_free(void *p);                       /* NULL allowed */

/* For tests: the nth allocation from now on fails, once; 0: none. Any thread's counts. */
void cmem_fail_at(long n);
/* For tests: from the nth on, so many fail in a row. */
void cmem_fail_from(long n, long many);
/* For tests: 1 when a failure that was asked for is still to come. */
int cmem_fail_pending(void);
