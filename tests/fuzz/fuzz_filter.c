/* SPDX-License-Identifier: Apache-2.0 */
/* Filters: one is made or a sentence said why not, and asking it of any item ends within its
 * steps. The first byte chooses the kind; a zero parts the expression from the item. */
#include <string.h>

#include "base/mem.h"
#include "server/consul/filter.h"

enum { BLOCKS_MAX = 1 << 14 };

struct arena {
    void *blocks[BLOCKS_MAX];
    size_t n;
};

static void *alloc(void *arg, size_t size)
{
    struct arena *a = arg;
    MU_INVARIANT(a->n < BLOCKS_MAX);
    return a->blocks[a->n++] = mem_zalloc(size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena a;
    struct err e = {0};
    struct regex_memory m = {alloc, &a};
    if (size < 2) {
        return 0;
    }
    const uint8_t *zero = memchr(data + 1, 0, size - 1);
    size_t n = zero != NULL ? (size_t)(zero - data - 1) : size - 1;
    struct filter *f = filter_read(&m, 1 + data[0] % 5, slice_of(data + 1, n), &e);
    MU_INVARIANT(f != NULL || e.text[0] != '\0');
    if (f != NULL) {
        struct slice item = zero != NULL ? slice_of(zero + 1, size - n - 2)
                                         : SLICE_LIT("{\"Node\":\"aaaaaaaaaaaaaaaaaaaaaaaa\"}");
        filter_begin(f);
        int is_taken = filter_takes(f, item);
        MU_INVARIANT(is_taken == 0 || is_taken == 1);
        MU_INVARIANT(!filter_is_spent(f) || !is_taken);
    }
    while (a.n > 0) {
        mem_free(a.blocks[--a.n]);
    }
    return 0;
}
