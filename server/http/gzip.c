/* SPDX-License-Identifier: Apache-2.0 */
/* gzip for textual bodies. One compressor per worker, made at its first use (about 260 KiB). */
#include "server/http/http_impl.h"

#include <zlib.h>

#include "base/mem.h"
#include "base/text.h"

enum { GZIP_LEVEL = 4, GZIP_WINDOW = 15 + 16, GZIP_MEM = 8 };

struct gzip {
    z_stream z;
};

static int ends_with(const char *s, size_t len, const char *tail)
{
    size_t n = strlen(tail);
    return len >= n && memcmp(s + len - n, tail, n) == 0;
}

int gzip_is_textual(const char *type)
{
    static const char *const exact[] = {"application/json", "application/javascript",
                                        "application/xml", "application/yaml", "image/svg+xml"};
    if (type == NULL) {
        return 0;
    }
    size_t len = strcspn(type, "; ");
    if (strncmp(type, "text/", 5) == 0) {
        return !(len == 17 && memcmp(type, "text/event-stream", 17) == 0);
    }
    for (size_t i = 0; i < N_ELEMENTS(exact); i++) {
        if (strlen(exact[i]) == len && memcmp(exact[i], type, len) == 0) {
            return 1;
        }
    }
    return ends_with(type, len, "+json") || ends_with(type, len, "+xml");
}

static struct slice strip(struct slice s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s = slice_of(s.p + 1, s.len - 1);
    }
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

static int is_word(struct slice s, const char *lower)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        if (lower[i] == '\0' || (c >= 'A' && c <= 'Z' ? c | 0x20 : c) != (uint8_t)lower[i]) {
            return 0;
        }
    }
    return lower[s.len] == '\0';
}

/* "q=0", "q=0.0", "q=0.000" say no; everything else says yes. */
static int is_zero_weight(struct slice param)
{
    struct slice s = strip(param);
    if (s.len < 3 || (s.p[0] | 0x20) != 'q' || s.p[1] != '=') {
        return 0;
    }
    for (size_t i = 2; i < s.len; i++) {
        if (s.p[i] != '0' && !(s.p[i] == '.' && i == 3)) {
            return 0;
        }
    }
    return 1;
}

/* The word before, and the rest behind, the next `sep`. */
static struct slice cut(struct slice *rest, int sep)
{
    const uint8_t *at = rest->len != 0 ? memchr(rest->p, sep, rest->len) : NULL;
    size_t n = at != NULL ? (size_t)(at - rest->p) : rest->len;
    struct slice word = slice_of(rest->p, n);
    *rest = at != NULL ? slice_of(at + 1, rest->len - n - 1) : slice_of(NULL, 0);
    return word;
}

int gzip_is_accepted(const struct http_req *r)
{
    struct slice list;
    if (!http_header(r, "accept-encoding", &list)) {
        return 0;
    }
    int any = 0;
    while (list.len > 0) {
        struct slice item = cut(&list, ',');
        struct slice coding = strip(cut(&item, ';'));
        int is_yes = item.len == 0 || !is_zero_weight(item);
        if (is_word(coding, "gzip") || is_word(coding, "x-gzip")) {
            return is_yes;
        }
        if (is_word(coding, "*")) {
            any = is_yes;
        }
    }
    return any;
}

static voidpf z_alloc(voidpf arg, uInt n, uInt size)
{
    (void)arg;
    return mem_alloc((size_t)n * size);
}

static void z_free(voidpf arg, voidpf p)
{
    (void)arg;
    mem_free(p);
}

static struct gzip *gzip_new(void)
{
    struct gzip *g = mem_zalloc(sizeof(*g));
    g->z.zalloc = z_alloc;
    g->z.zfree = z_free;
    int rc = deflateInit2(&g->z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEM, Z_DEFAULT_STRATEGY);
    MU_INVARIANT(rc == Z_OK);
    return g;
}

void gzip_free(struct gzip *g)
{
    if (g != NULL) {
        (void)deflateEnd(&g->z);
        mem_free(g);
    }
}

void gzip_pack(struct http_local *l, struct slice in)
{
    if (l->gzip == NULL) {
        l->gzip = gzip_new();
    }
    z_stream *z = &l->gzip->z;
    (void)deflateReset(z);
    buf_clear(&l->zipped);
    size_t bound = deflateBound(z, (uLong)in.len);
    MU_INVARIANT(in.len <= UINT32_MAX && bound <= UINT32_MAX);
    z->next_in = (Bytef *)(uintptr_t)in.p;
    z->avail_in = (uInt)in.len;
    z->next_out = buf_reserve(&l->zipped, bound);
    z->avail_out = (uInt)bound;
    int rc = deflate(z, Z_FINISH);
    MU_INVARIANT(rc == Z_STREAM_END);
    l->zipped.len = bound - z->avail_out;
}
