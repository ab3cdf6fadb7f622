/* SPDX-License-Identifier: Apache-2.0 */
/* Consul's snapshots: an archive is read or a sentence says why not, and so is each record of what
 * is in it. The first byte: 0: the rest is an archive; else the rest is its state.bin. */
#include <string.h>

#include "base/mem.h"
#include "server/consul/archive.h"
#include "server/consul/import.h"

enum { BLOCKS_MAX = 1 << 12, STATE_MAX = 1 << 20 };

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

static int put(void *arg, struct slice bytes, struct err *e)
{
    struct buf *b = arg;
    if (b->len > STATE_MAX) {
        return err_set(e, MU_E_TOO_LARGE, "enough");
    }
    buf_append_slice(b, bytes);
    return 0;
}

static void read_state(struct slice bytes)
{
    static struct arena a;
    struct import m = {.alloc = alloc, .arg = &a};
    struct statefile s;
    struct state_record r;
    struct imported x;
    struct err e = {0};
    uint64_t last;
    int rc = statefile_begin(&s, bytes, &last, &e);
    while (rc == 0 && (rc = statefile_next(&s, &r, &e)) == 1) {
        struct err why = {0};
        rc = import_record(&m, &r, &x, &why);
        MU_INVARIANT(rc >= 0 || why.text[0] != '\0');
        MU_INVARIANT(x.n_docs <= 8);
        while (a.n > 0) {
            mem_free(a.blocks[--a.n]);
        }
        rc = 0;
    }
    MU_INVARIANT(rc >= 0 || e.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct archive_meta meta;
    struct buf state = {0};
    struct err e = {0};
    if (size < 1) {
        return 0;
    }
    struct slice rest = slice_of(data + 1, size - 1);
    if (data[0] != 0) {
        read_state(rest);
        return 0;
    }
    int rc = archive_read(rest, put, &state, &meta, &e);
    MU_INVARIANT(rc == 0 || e.text[0] != '\0');
    read_state(buf_slice(&state));
    buf_fini(&state);
    return 0;
}
