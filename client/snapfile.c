/* SPDX-License-Identifier: Apache-2.0 */
#include "client/snapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/cbuf.h"
#include "client/mem.h"
#include "client/status.h"

enum { FILE_MAX = 96 * 1024 * 1024, HEAD_LEN = 27 };

static const char head_fmt[] = "muster snapshot 1 %08x\n";

static uint32_t crc32_of(const char *p, size_t len)
{
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)p[i];
        for (int k = 0; k < 8; k++) {
            crc = crc >> 1 ^ (UINT32_C(0xEDB88320) & (UINT32_C(0) - (crc & 1)));
        }
    }
    return ~crc;
}

/* Twice 64 bits of FNV-1a with different starts: names that meet are told apart by what is inside.
 */
static uint64_t digest(const struct snapname *n, uint64_t h)
{
    const char *const parts[] = {n->kind, n->namespace_, n->group, n->name};
    for (size_t i = 0; i < 4; i++) {
        for (const char *p = parts[i];; p++) {
            h = (h ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
            if (*p == '\0') {
                break;
            }
        }
    }
    return h;
}

static bool file_name(char out[PATH_MAX], const char *dir, const struct snapname *n)
{
    int len = snprintf(out, PATH_MAX, "%s/%s-%016llx%016llx.snap", dir, n->kind,
                       (unsigned long long)digest(n, UINT64_C(0xcbf29ce484222325)),
                       (unsigned long long)digest(n, UINT64_C(0x9ae16a3b2f90404f)));
    return len > 0 && len < PATH_MAX - 32;
}

static void put_names(struct cbuf *b, const struct snapname *n)
{
    const char *const parts[] = {n->kind, n->namespace_, n->group, n->name};
    for (size_t i = 0; i < 4; i++) {
        cbuf_append(b, parts[i], strlen(parts[i]) + 1);
    }
}

muster_status snapfile_dir(const char *dir, struct muster_error *e)
{
    struct stat st;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return status_set(e, MUSTER_IO, "%.150s cannot be made: %s", dir, strerror(errno));
    }
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return status_set(e, MUSTER_IO, "%.150s is no directory", dir);
    }
    return MUSTER_OK;
}

/* --- writing --- */

static bool write_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool write_file(const char *path, const struct cbuf *b)
{
    char head[HEAD_LEN + 1];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return false;
    }
    (void)snprintf(head, sizeof(head), head_fmt, crc32_of(b->p, b->len));
    bool ok = write_all(fd, head, HEAD_LEN) && write_all(fd, b->p, b->len) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    return ok;
}

static void sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd); /* a lost rename leaves the old file: no harm */
        (void)close(fd);
    }
}

muster_status snapfile_save(const char *dir, const struct snapname *n, const void *data, size_t len)
{
    char path[PATH_MAX], temp[PATH_MAX];
    struct cbuf b;
    if (!file_name(path, dir, n)) {
        return MUSTER_IO;
    }
    (void)snprintf(temp, sizeof(temp), "%.*s.%llx", PATH_MAX - 32, path,
                   (unsigned long long)rnd_u64());
    cbuf_init(&b, FILE_MAX);
    put_names(&b, n);
    cbuf_append(&b, data, len);
    muster_status rc = b.no_memory ? MUSTER_NO_MEMORY : b.is_over ? MUSTER_IO : MUSTER_OK;
    if (rc == MUSTER_OK && (!write_file(temp, &b) || rename(temp, path) != 0)) {
        (void)unlink(temp);
        rc = MUSTER_IO;
    }
    if (rc == MUSTER_OK) {
        sync_dir(dir);
    }
    cbuf_fini(&b);
    return rc;
}

/* --- reading --- */

static muster_status read_file(const char *path, struct cbuf *b)
{
    char piece[16384];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return MUSTER_NOT_FOUND;
    }
    ssize_t n;
    while ((n = read(fd, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR)) {
        cbuf_append(b, piece, n > 0 ? (size_t)n : 0);
        if (cbuf_failed(b)) {
            break;
        }
    }
    (void)close(fd);
    return b->no_memory ? MUSTER_NO_MEMORY : n != 0 ? MUSTER_NOT_FOUND : MUSTER_OK;
}

/* Where the data begins; 0: not sound, or of something else. */
static size_t data_at(const struct cbuf *b, const struct cbuf *names)
{
    char head[HEAD_LEN + 1];
    if (b->len < HEAD_LEN + names->len) {
        return 0;
    }
    (void)snprintf(head, sizeof(head), head_fmt, crc32_of(b->p + HEAD_LEN, b->len - HEAD_LEN));
    if (memcmp(b->p, head, HEAD_LEN) != 0 || memcmp(b->p + HEAD_LEN, names->p, names->len) != 0) {
        return 0;
    }
    return HEAD_LEN + names->len;
}

muster_status snapfile_load(const char *dir, const struct snapname *n, char **out, size_t *out_len)
{
    char path[PATH_MAX];
    struct cbuf b, names;
    if (!file_name(path, dir, n)) {
        return MUSTER_NOT_FOUND;
    }
    cbuf_init(&b, FILE_MAX);
    cbuf_init(&names, FILE_MAX);
    put_names(&names, n);
    muster_status rc = read_file(path, &b);
    rc = names.no_memory ? MUSTER_NO_MEMORY : rc;
    size_t at = rc == MUSTER_OK ? data_at(&b, &names) : 0;
    rc = rc == MUSTER_OK && at == 0 ? MUSTER_NOT_FOUND : rc;
    if (rc == MUSTER_OK) {
        char *data = cmem_strndup(b.p + at, b.len - at);
        if (data != NULL) {
            *out = data;
            *out_len = b.len - at;
        } else {
            rc = MUSTER_NO_MEMORY;
        }
    }
    cbuf_fini(&b);
    cbuf_fini(&names);
    return rc;
}

void snapfile_remove(const char *dir, const struct snapname *n)
{
    char path[PATH_MAX];
    if (file_name(path, dir, n)) {
        (void)unlink(path);
    }
}
