/* SPDX-License-Identifier: Apache-2.0 */
/* What the Consul face reads of a path and of a query. */
#include <stdlib.h>

#include "base/err.h"
#include "base/json_read.h"
#include "base/mem.h"
#include "server/consul/define.h"
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

/* --- bodies: what is registered --- */

struct memory {
    struct memory *next;
};

static void *alloc(void *arg, size_t size)
{
    struct memory **list = arg, *m = mem_alloc(sizeof(*m) + size);
    m->next = *list;
    *list = m;
    return m + 1;
}

static void check_row(const struct define_check *d)
{
    struct check_row row;
    struct define_fault f;
    struct buf b;
    if (define_check_row(d, &row, &f) != 0) {
        MU_INVARIANT(f.status == 400 && f.text[0] != '\0');
        return;
    }
    buf_init(&b);
    check_body_encode(&b, &row);
    MU_INVARIANT(row.output.len <= CHECK_OUTPUT_MAX && row.ttl_ms >= 0);
    buf_fini(&b);
}

static void check_bodies(struct slice s)
{
    struct memory *list = NULL;
    struct body b = {.alloc = alloc, .arg = &list};
    struct define_service d = {0};
    struct define_fault f;
    struct instance_row row;
    struct buf extra;
    buf_init(&extra);
    if (body_read(&b, s, &define_service_table, &d) == 0) {
        const struct define_check *all = (const struct define_check *)(const void *)d.checks.p;
        if (define_service_row(&d, &extra, &row, &f) == 0) {
            struct json_t *doc = NULL;
            MU_INVARIANT(row.service_id.len != 0 && row.address.len <= 255);
            MU_INVARIANT(row.extra.len == 0 || jr_parse(row.extra, &doc, NULL) == 0);
            jr_free(doc);
        }
        check_row(&d.check);
        for (size_t i = 0; i < d.checks.n; i++) {
            check_row(&all[i]);
        }
    } else {
        MU_INVARIANT(b.error[0] != '\0');
    }
    buf_fini(&extra);
    while (list != NULL) {
        struct memory *m = list;
        list = m->next;
        mem_free(m);
    }
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
    check_bodies(s);
    struct buf b;
    buf_init(&b);
    consul_text_indent(&b, slice_of(data, len < 256 ? len : 256));
    buf_fini(&b);
    mem_free(mem);
    return 0;
}
