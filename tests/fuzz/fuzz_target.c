/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and queries: decoded once, text only, never longer than what was read, never a way out of
 * the tree. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"
#include "server/http/target.h"

static void check_text(struct slice s)
{
    MU_INVARIANT(text_is_utf8(s) && (s.len == 0 || memchr(s.p, 0, s.len) == NULL));
}

static void check_path(struct slice raw, uint8_t *mem)
{
    struct path path;
    if (path_split(raw, mem, &path, NULL) != 0) {
        return;
    }
    size_t total = 0;
    unsigned n = path.n < PATH_SEGMENTS_MAX ? path.n : PATH_SEGMENTS_MAX;
    for (unsigned i = 0; i < n; i++) {
        struct slice s = path.seg[i];
        check_text(s);
        MU_INVARIANT(s.len > 0 && !slice_eq(s, SLICE_LIT(".")) && !slice_eq(s, SLICE_LIT("..")));
        total += s.len + 1;
    }
    MU_INVARIANT(total <= raw.len);
}

static void check_query(struct slice raw, uint8_t *mem)
{
    static struct query_pair pairs[QUERY_PAIRS_MAX];
    size_t n = 0;
    if (query_split(raw, mem, pairs, QUERY_PAIRS_MAX, &n, NULL) != 0) {
        return;
    }
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        check_text(pairs[i].name);
        check_text(pairs[i].value);
        total += pairs[i].name.len + pairs[i].value.len;
    }
    MU_INVARIANT(n <= QUERY_PAIRS_MAX && total <= raw.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice path;
    struct slice query;
    target_split(slice_of(data, len), &path, &query);
    uint8_t *mem = mem_alloc(
        len); /* exactly as much as promised: a byte more is an error the sanitizer sees */
    check_path(path, mem);
    check_query(query, mem);
    mem_free(mem);
    return 0;
}
