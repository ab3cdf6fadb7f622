/* SPDX-License-Identifier: Apache-2.0 */
#include "client/mem.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Counts down to the allocation that fails and past it, below fail_to: then none does. The one
 * mutable state of the library, touched by tests alone. */
static atomic_long fail_in = LONG_MIN;
static atomic_long fail_to;

static int must_fail(void)
{
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) <= atomic_load(&fail_to)) {
        return 0;
    }
    long left = atomic_fetch_sub(&fail_in, 1);
    return left <= 1 && left > atomic_load(&fail_to);
}

void cmem_fail_from(long n, long many)
{
    atomic_store(&fail_in, LONG_MIN); /* none fails between the two */
    atomic_store(&fail_to, 1 - many);
    atomic_store(&fail_in, n);
}

void cmem_fail_at(long n)
{
    cmem_fail_from(n > 0 ? n : LONG_MIN, 1);
}

int cmem_fail_pending(void)
{
    return atomic_load(&fail_in) > 0;
}

void *cmem_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(size != 0 ? size : 1);
}

void *cmem_zalloc(size_t size)
{
    return must_fail() ? NULL : calloc(1, size != 0 ? size : 1);
}

void *cmem_realloc(void *p, size_t size)
{
    return must_fail() ? NULL : realloc(p, size != 0 ? size : 1);
}

char *cmem_strndup(const char *s, size_t len)
{
    char *p = cmem_alloc(len + 1);
    if (p != NULL) {
        if (len != 0) {
            memcpy(p, s, len);
        }
        p[len] = '\0';
    }
    return p;
}

char *cmem_strdup(const char *s)
{
    return cmem_strndup(s, strlen(s));
}

void cmem_free(void *p)
{
    free(p);
}
