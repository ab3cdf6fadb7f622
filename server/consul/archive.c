/* SPDX-License-Identifier: Apache-2.0 */
/* A tar of three files needs no library: 512 bytes of head for each, of which name, size and
 * checksum count (https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html, ustar). */
#include "server/consul/archive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json_read.h"
#include "base/json_write.h"
#include "base/mem.h"

enum {
    BLOCK = 512,
    PIECE = 64 * 1024,
    SUMS_MAX = 4096,
    UNPACKED_MAX = ARCHIVE_STATE_MAX + 2 * ARCHIVE_META_MAX,
    GZIP_WINDOW = 15 + 16, /* with gzip's head and checksum */
    GZIP_LEVEL = 4,
    GZIP_MEM = 8,
    FILES = 2, /* that have a checksum */
};

static const char *const names[FILES] = {"meta.json", "state.bin"};

static int bad(struct err *e, const char *text)
{
    return err_set(e, MU_E_BAD_REQUEST, "%s", text);
}

static void *z_alloc(void *arg, unsigned n, unsigned size)
{
    (void)arg;
    return mem_alloc((size_t)n * size);
}

static void z_free(void *arg, void *p)
{
    (void)arg;
    mem_free(p);
}

/* --- unpacking --- */

struct unzip {
    z_stream z;
    uint64_t total;
    int is_over; /* gzip's end was there, with the right checksum */
};

/* As much as there is, at most n. */
static int unzip_some(struct unzip *u, uint8_t *out, size_t n, size_t *out_n, struct err *e)
{
    u->z.next_out = out;
    u->z.avail_out = (uInt)n;
    while (u->z.avail_out > 0 && !u->is_over) {
        int rc = inflate(&u->z, Z_NO_FLUSH);
        u->is_over = rc == Z_STREAM_END;
        if (rc == Z_BUF_ERROR) {
            return bad(e, "unexpected EOF");
        }
        if (rc == Z_MEM_ERROR) {
            mem_ran_out();
        }
        if (rc != Z_OK && rc != Z_STREAM_END) {
            return bad(e, u->z.msg != NULL && strstr(u->z.msg, "check") != NULL
                              ? "gzip: invalid checksum"
                              : "flate: corrupt input");
        }
    }
    *out_n = n - u->z.avail_out;
    u->total += *out_n;
    if (u->total > UNPACKED_MAX) {
        return err_set(e, MU_E_TOO_LARGE, "the snapshot has more than %d MiB when it is unpacked",
                       ARCHIVE_STATE_MAX >> 20);
    }
    return 0;
}

static int unzip_all(struct unzip *u, uint8_t *out, size_t n, struct err *e)
{
    size_t got;
    int rc = unzip_some(u, out, n, &got, e);
    return rc == 0 && got < n ? bad(e, "unexpected EOF") : rc;
}

/* --- tar --- */

struct entry {
    char name[101];
    uint64_t size;
};

static unsigned sum_of(const uint8_t h[BLOCK])
{
    unsigned sum = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        sum += i >= 148 && i < 156 ? ' ' : h[i];
    }
    return sum;
}

/* Octal digits, with spaces before and a space or zero behind. */
static int octal(const uint8_t *p, size_t n, uint64_t *out)
{
    size_t i = 0;
    *out = 0;
    while (i < n && p[i] == ' ') {
        i++;
    }
    size_t first = i;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
        *out = *out << 3 | (uint64_t)(p[i] - '0');
    }
    return i > first && (i == n || p[i] == ' ' || p[i] == 0) ? 0 : MU_E_FORMAT;
}

/* 1: an entry, 0: the end. */
static int next_entry(struct unzip *u, struct entry *out, struct err *e)
{
    static const uint8_t zeros[BLOCK];
    uint8_t h[BLOCK];
    uint64_t sum;
    size_t n;
    int rc = unzip_some(u, h, BLOCK, &n, e);
    if (rc != 0 || n == 0) {
        return rc;
    }
    if (n < BLOCK) {
        return bad(e, "unexpected EOF");
    }
    if (memcmp(h, zeros, BLOCK) == 0) {
        rc = unzip_some(u, h, BLOCK, &n, e);
        int is_end = rc == 0 && (n == 0 || memcmp(h, zeros, n) == 0);
        return rc != 0 || is_end ? rc : bad(e, "archive/tar: invalid tar header");
    }
    if (octal(h + 148, 8, &sum) != 0 || sum != sum_of(h) || octal(h + 124, 12, &out->size) != 0) {
        return bad(e, "archive/tar: invalid tar header");
    }
    memcpy(out->name, h, 100);
    out->name[100] = '\0';
    if (h[156] != '0' && h[156] != 0) { /* no file */
        out->size = UINT64_MAX;
    }
    return 1;
}

static int entry_body(struct unzip *u, uint64_t size, archive_put_fn put, void *arg, struct err *e)
{
    uint8_t *piece = mem_alloc(PIECE);
    uint64_t left = size, padding = (BLOCK - size % BLOCK) % BLOCK;
    int rc = 0;
    while (rc == 0 && left > 0) {
        size_t n = left < PIECE ? (size_t)left : PIECE;
        rc = unzip_all(u, piece, n, e);
        rc = rc != 0 ? rc : put(arg, slice_of(piece, n), e);
        left -= n;
    }
    rc = rc != 0 ? rc : unzip_all(u, piece, (size_t)padding, e);
    mem_free(piece);
    return rc;
}

/* --- the three files --- */

struct reading {
    struct unzip u;
    archive_put_fn put;
    void *arg;
    struct buf meta, sums;
    struct hash_sha256_pieces *hash;
    uint8_t digests[FILES][32];
    int is_there[FILES], has_sums;
};

static int put_meta(void *arg, struct slice bytes, struct err *e)
{
    struct reading *g = arg;
    (void)e;
    buf_append_slice(&g->meta, bytes);
    hash_sha256_add(g->hash, bytes.p, bytes.len);
    return 0;
}

static int put_state(void *arg, struct slice bytes, struct err *e)
{
    struct reading *g = arg;
    hash_sha256_add(g->hash, bytes.p, bytes.len);
    return g->put(g->arg, bytes, e);
}

static int put_sums(void *arg, struct slice bytes, struct err *e)
{
    struct reading *g = arg;
    (void)e;
    buf_append_slice(&g->sums, bytes);
    return 0;
}

static int hashed(struct reading *g, int i, const struct entry *t, archive_put_fn put,
                  struct err *e)
{
    g->is_there[i] = 1;
    g->hash = hash_sha256_begin();
    int rc = entry_body(&g->u, t->size, put, g, e);
    hash_sha256_end(g->hash, g->digests[i]);
    return rc;
}

static int too_large(struct err *e, const struct entry *t)
{
    return err_set(e, MU_E_TOO_LARGE, "the snapshot's %s is too large: %llu bytes", t->name,
                   (unsigned long long)t->size);
}

static int take_entry(struct reading *g, const struct entry *t, struct err *e)
{
    if (strcmp(t->name, names[0]) == 0 && !g->is_there[0] && t->size != UINT64_MAX) {
        return t->size > ARCHIVE_META_MAX ? too_large(e, t) : hashed(g, 0, t, put_meta, e);
    }
    if (strcmp(t->name, names[1]) == 0 && !g->is_there[1] && t->size != UINT64_MAX) {
        return t->size > ARCHIVE_STATE_MAX ? too_large(e, t) : hashed(g, 1, t, put_state, e);
    }
    if (strcmp(t->name, "SHA256SUMS") == 0 && !g->has_sums && t->size != UINT64_MAX) {
        g->has_sums = 1;
        return t->size > SUMS_MAX ? too_large(e, t) : entry_body(&g->u, t->size, put_sums, g, e);
    }
    return err_set(e, MU_E_BAD_REQUEST, "unexpected file \"%s\" in snapshot", t->name);
}

static int sum_index(const char *name)
{
    for (int i = 0; i < FILES; i++) {
        if (strcmp(name, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static int check_sums(struct reading *g, struct err *e)
{
    int is_seen[FILES] = {0};
    char hex[65], want[65], name[101];
    char *save = NULL;
    buf_append_byte(&g->sums, 0);
    for (char *line = strtok_r((char *)g->sums.p, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        if (sscanf(line, "%64[0-9a-f]  %100s", want, name) != 2) {
            return bad(e, "failed checking integrity of snapshot: expected integer");
        }
        int i = sum_index(name);
        if (i < 0) {
            return err_set(e, MU_E_BAD_REQUEST,
                           "failed checking integrity of snapshot: list missing hash for \"%s\"",
                           name);
        }
        hash_hex(g->digests[i], 32, hex);
        if (!g->is_there[i] || strcmp(hex, want) != 0) {
            return err_set(e, MU_E_BAD_REQUEST,
                           "failed checking integrity of snapshot: hash check failed for \"%s\"",
                           name);
        }
        is_seen[i] = 1;
    }
    for (int i = 0; i < FILES; i++) {
        if (!is_seen[i]) {
            return err_set(e, MU_E_BAD_REQUEST,
                           "failed checking integrity of snapshot: file missing for \"%s\"",
                           names[i]);
        }
    }
    return 0;
}

static int read_meta(const struct buf *text, struct archive_meta *out, struct err *e)
{
    struct err why = {0};
    json_t *doc = NULL;
    if (jr_parse(buf_slice(text), &doc, &why) != 0 || !json_is_object(doc)) {
        jr_free(doc);
        return err_set(e, MU_E_BAD_REQUEST, "failed to decode snapshot metadata: %.150s", why.text);
    }
    const char *id = json_string_value(json_object_get(doc, "ID"));
    (void)snprintf(out->id, sizeof(out->id), "%s", id != NULL ? id : "");
    out->version = (uint64_t)json_integer_value(json_object_get(doc, "Version"));
    out->index = (uint64_t)json_integer_value(json_object_get(doc, "Index"));
    out->term = (uint64_t)json_integer_value(json_object_get(doc, "Term"));
    jr_free(doc);
    return 0;
}

static int read_all(struct reading *g, struct archive_meta *out, struct err *e)
{
    struct entry t;
    uint8_t rest[BLOCK];
    size_t n = 0;
    int rc;
    while ((rc = next_entry(&g->u, &t, e)) == 1) {
        rc = take_entry(g, &t, e);
        if (rc != 0) {
            break;
        }
    }
    if (rc != 0) {
        return rc;
    }
    rc = check_sums(g, e);
    rc = rc != 0 ? rc : read_meta(&g->meta, out, e);
    rc = rc != 0 ? rc : unzip_some(&g->u, rest, sizeof(rest), &n, e);
    if (rc == 0 && (n != 0 || g->u.z.avail_in != 0)) {
        rc = bad(e, "there are bytes behind its end");
    }
    return rc;
}

int archive_read(struct slice file, archive_put_fn put, void *arg, struct archive_meta *out,
                 struct err *e)
{
    static const uint8_t magic[] = {0x1f, 0x8b, 8};
    struct reading g = {.put = put, .arg = arg};
    *out = (struct archive_meta){0};
    if (file.len < sizeof(magic) || memcmp(file.p, magic, sizeof(magic)) != 0) {
        return err_set(e, MU_E_BAD_REQUEST, "failed to decompress snapshot: %s",
                       file.len == 0              ? "EOF"
                       : file.len < sizeof(magic) ? "unexpected EOF"
                                                  : "gzip: invalid header");
    }
    if (file.len > UINT32_MAX) {
        return err_set(e, MU_E_TOO_LARGE, "the snapshot is too large");
    }
    g.u.z = (z_stream){.zalloc = z_alloc,
                       .zfree = z_free,
                       .next_in = (uint8_t *)(uintptr_t)file.p,
                       .avail_in = (uInt)file.len};
    MU_INVARIANT(inflateInit2(&g.u.z, GZIP_WINDOW) == Z_OK);
    int rc = read_all(&g, out, e);
    (void)inflateEnd(&g.u.z);
    buf_fini(&g.meta);
    buf_fini(&g.sums);
    return rc != 0 ? err_wrap(e, "failed to read snapshot file") : 0;
}

/* --- packing --- */

struct writing {
    z_stream z;
    archive_put_fn put;
    void *arg;
    uint8_t *piece;
    int64_t now_s;
    struct err *e;
    int rc;
};

static void zip(struct writing *w, struct slice bytes, int flush)
{
    int is_more = 1;
    w->z.next_in = (uint8_t *)(uintptr_t)bytes.p;
    w->z.avail_in = (uInt)bytes.len;
    while (w->rc == 0 && is_more) {
        w->z.next_out = w->piece;
        w->z.avail_out = PIECE;
        int rc = deflate(&w->z, flush);
        MU_INVARIANT(rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR);
        size_t n = PIECE - w->z.avail_out;
        if (n > 0) {
            w->rc = w->put(w->arg, slice_of(w->piece, n), w->e);
        }
        is_more = flush == Z_FINISH ? rc != Z_STREAM_END : w->z.avail_out == 0;
    }
}

static void zip_all(struct writing *w, struct slice bytes)
{
    while (w->rc == 0 && bytes.len > 0) {
        size_t n = bytes.len < (1U << 30) ? bytes.len : 1U << 30;
        zip(w, slice_of(bytes.p, n), Z_NO_FLUSH);
        bytes = slice_of(bytes.p + n, bytes.len - n);
    }
}

/* Digits and a zero behind them. */
static void put_octal(uint8_t *p, int digits, uint64_t v)
{
    for (int i = digits - 1; i >= 0; i--) {
        p[i] = (uint8_t)('0' + (v & 7));
        v >>= 3;
    }
    p[digits] = 0;
}

/* Sizes beyond what eleven octal digits say: in binary, as GNU tar and Go write them. */
static void put_size(uint8_t h[BLOCK], uint64_t size)
{
    if (size < UINT64_C(1) << 33) {
        put_octal(h + 124, 11, size);
        return;
    }
    memset(h + 124, 0, 12);
    h[124] = 0x80;
    for (int i = 0; i < 8; i++) {
        h[135 - i] = (uint8_t)(size >> (8 * i));
    }
}

static void put_file(struct writing *w, const char *name, struct slice body)
{
    static const uint8_t zeros[BLOCK];
    uint8_t h[BLOCK] = {0};
    (void)snprintf((char *)h, 100, "%s", name);
    put_octal(h + 100, 7, 0600);
    put_octal(h + 108, 7, 0);
    put_octal(h + 116, 7, 0);
    put_size(h, body.len);
    put_octal(h + 136, 11, (uint64_t)w->now_s);
    h[156] = '0';
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    put_octal(h + 148, 6, sum_of(h));
    h[155] = ' ';
    zip_all(w, slice_of(h, BLOCK));
    zip_all(w, body);
    zip_all(w, slice_of(zeros, (BLOCK - body.len % BLOCK) % BLOCK));
}

static void meta_json(const struct archive_meta *m, size_t state_len, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "Version");
    jw_u64(&w, m->version);
    jw_key(&w, "ID");
    jw_str(&w, m->id);
    jw_key(&w, "Index");
    jw_u64(&w, m->index);
    jw_key(&w, "Term");
    jw_u64(&w, m->term);
    jw_key(&w, "Peers");
    jw_base64(&w, SLICE_LIT("\x90")); /* nobody: who restores has members of his own */
    jw_key(&w, "Configuration");
    jw_json(&w, SLICE_LIT("{\"Servers\":[]}"));
    jw_key(&w, "ConfigurationIndex");
    jw_u64(&w, 1);
    jw_key(&w, "Size");
    jw_u64(&w, state_len);
    jw_end(&w);
    buf_append_byte(out, '\n');
}

static void put_sum(struct buf *out, const char *name, struct slice body)
{
    uint8_t digest[32];
    char hex[65];
    hash_sha256(body.p, body.len, digest);
    hash_hex(digest, sizeof(digest), hex);
    buf_printf(out, "%s  %s\n", hex, name);
}

int archive_write(const struct archive_meta *meta, struct slice state, archive_put_fn put,
                  void *arg, struct err *e)
{
    static const uint8_t end[2 * BLOCK];
    struct writing w = {
        .put = put, .arg = arg, .e = e, .now_s = clock_wall_ms() / 1000, .piece = mem_alloc(PIECE)};
    struct buf text, sums;
    buf_init(&text);
    buf_init(&sums);
    w.z = (z_stream){.zalloc = z_alloc, .zfree = z_free};
    MU_INVARIANT(deflateInit2(&w.z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEM,
                              Z_DEFAULT_STRATEGY) == Z_OK);
    meta_json(meta, state.len, &text);
    put_sum(&sums, names[0], buf_slice(&text));
    put_sum(&sums, names[1], state);
    put_file(&w, names[0], buf_slice(&text));
    put_file(&w, names[1], state);
    put_file(&w, "SHA256SUMS", buf_slice(&sums));
    zip_all(&w, slice_of(end, sizeof(end)));
    zip(&w, slice_of(NULL, 0), Z_FINISH);
    (void)deflateEnd(&w.z);
    buf_fini(&text);
    buf_fini(&sums);
    mem_free(w.piece);
    return w.rc;
}
