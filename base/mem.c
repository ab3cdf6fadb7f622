/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

_Noreturn void mem_ran_out(void)
{
    static const char text[] = "muster: out of memory\n";
    ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)n;
    abort();
}

void *mem_alloc(size_t size)
{
    void *p = malloc(size != 0 ? size : 1);
    if (p == NULL) {
        mem_ran_out();
    }
    return p;
}

void *mem_zalloc(size_t size)
{
    void *p = calloc(1, size != 0 ? size : 1);
    if (p == NULL) {
        mem_ran_out();
    }
    return p;
}

void *mem_realloc(void *p, size_t size)
{
    void *q = realloc(p, size != 0 ? size : 1);
    if (q == NULL) {
        mem_ran_out();
    }
    return q;
}

void *mem_dup(const void *p, size_t len)
{
    void *q = mem_alloc(len);
    if (len != 0) {
        memcpy(q, p, len);
    }
    return q;
}

char *mem_strdup(const char *s)
{
    return mem_dup(s, strlen(s) + 1);
}

char *mem_slice_str(struct slice s)
{
    char *p = mem_alloc(s.len + 1);
    if (s.len != 0) {
        memcpy(p, s.p, s.len);
    }
    p[s.len] = '\0';
    return p;
}

void mem_free(void *p)
{
    free(p);
}
