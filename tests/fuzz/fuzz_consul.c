/* SPDX-License-Identifier: Apache-2.0 */
/* What the Consul face reads of a path and of a query. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "server/consul/text.h"

static void check_clean(struct slice s)
{
    struct buf once, twice;
    buf_init(&once);
    buf_init(&twice);
    int is_clean = consul_text_clean(s, &once);
    MU_INVARIANT(once.len <= s.len && (!is_clean || slice_eq(buf_slice(&once), s)));
    /* What was cleaned is clean: nobody is sent in circles. */
    if (once.len > 0) {
        MU_INVARIANT(consul_text_clean(buf_slice(&once), &twice));
    }
    buf_fini(&once);
    buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice s = slice_of(data, len), out;
    uint64_t ns = 0;
    uint8_t *mem = mem_alloc(len + 1);
    if (consul_text_decode(s, mem, &out) == 0) {
        MU_INVARIANT(out.len <= len);
    }
    size_t at = 0;
    if (consul_text_base64(s, mem, &out, &at) == 0) {
        MU_INVARIANT(out.len <= len / 4 * 3);
    }
    MU_INVARIANT(at <= len);
    if (consul_text_duration(s, &ns) == 0) {
        MU_INVARIANT(ns <= INT64_MAX);
    }
    if (len > 0 && data[0] == '/') {
        check_clean(s);
    }
    struct buf b;
    buf_init(&b);
    consul_text_indent(&b, slice_of(data, len < 256 ? len : 256));
    buf_fini(&b);
    mem_free(mem);
    return 0;
}
