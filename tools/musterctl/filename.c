/* SPDX-License-Identifier: Apache-2.0 */
/* Names of groups and keys as file names, and back. */
#include "base/hash.h"
#include "base/text.h"
#include "tools/musterctl/config.h"

enum { CUT_LEN = 150, DIGEST_LEN = 32 };

/* What some file system, a shell's glob or our own coding takes for something else. */
static int is_kept(unsigned char c, int is_first)
{
    return c >= 0x20 && c != 0x7f && strchr("/\\:*?\"<>|%~", c) == NULL && !(is_first && c == '.');
}

void ctl_filename_encode(struct buf *out, const char *name)
{
    size_t start = out->len;
    for (size_t i = 0; name[i] != '\0'; i++) {
        unsigned char c = (unsigned char)name[i];
        if (is_kept(c, i == 0)) {
            buf_append_byte(out, c);
        } else {
            buf_printf(out, "%%%02X", c);
        }
    }
    if (out->len - start <= CTL_FILENAME_MAX) {
        return;
    }
    uint8_t digest[32];
    char hex[65];
    hash_sha256(name, strlen(name), digest);
    hash_hex(digest, sizeof(digest), hex);
    out->len = start + CUT_LEN;
    /* Not within a character or an escape. */
    while (out->len > start + CUT_LEN - 4 && (out->p[out->len] & 0xc0) == 0x80) {
        out->len--;
    }
    for (size_t i = 1; i <= 2; i++) {
        if (out->p[out->len - i] == '%') {
            out->len -= i;
            break;
        }
    }
    buf_printf(out, "~%.*s", DIGEST_LEN, hex);
}

int ctl_filename_decode(struct buf *out, const char *filename)
{
    char text[CTL_FILENAME_MAX + 1];
    size_t len;
    struct buf again;
    if (strchr(filename, '~') != NULL ||
        text_percent_decode(slice_str(filename), text, sizeof(text) - 1, &len) != 0) {
        return -1;
    }
    text[len] = '\0';
    /* One name, one file: what would be written otherwise is none of ours. */
    buf_init(&again);
    ctl_filename_encode(&again, text);
    int is_same = slice_eq(buf_slice(&again), slice_str(filename)) && len != 0;
    buf_fini(&again);
    if (!is_same) {
        return -1;
    }
    buf_append(out, text, len);
    return 0;
}
