/* SPDX-License-Identifier: Apache-2.0 */
/* Streaming JSON writer: appends to a buf, keeps commas and nesting right, escapes strings.
 *
 *   jw_obj(&w); jw_key(&w, "id"); jw_str(&w, id); jw_key(&w, "n"); jw_u64(&w, 3); jw_end(&w);
 */
#pragma once

#include "base/buf.h"

struct jw {
    struct buf *out;
    uint64_t is_obj;  /* one bit per level */
    uint64_t has_any; /* one bit per level */
    int depth;        /* at most 63 */
    int after_key;
};

void jw_init(struct jw *w, struct buf *out);
void jw_obj(struct jw *w);
void jw_arr(struct jw *w);
void jw_end(struct jw *w); /* closes the innermost object or array */
void jw_key(struct jw *w, const char *key);
void jw_key_slice(struct jw *w, struct slice key);
void jw_str(struct jw *w, const char *s);
void jw_slice(struct jw *w, struct slice s); /* bytes that are not UTF-8 become U+FFFD */
void jw_u64(struct jw *w, uint64_t v);
void jw_i64(struct jw *w, int64_t v);
/* Shortest form that reads back equal; whole numbers without ".0"; null when not finite. */
void jw_f64(struct jw *w, double v);
void jw_bool(struct jw *w, int v);
void jw_null(struct jw *w);
void jw_base64(struct jw *w, struct slice s);
void jw_json(struct jw *w, struct slice json); /* a value that is JSON already */
