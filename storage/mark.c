/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/wire.h"
#include "storage/files.h"

/* Bytes: docs/formats.md#store. */
enum { MARK_VERSION = 1, MARK_CLEAN = 1, MARK_SIZE = 68, MARK_CRC_AT = 64 };
static const char mark_magic[8] = "MUSTMARK";

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x00004000U /* Linux 6.8 */
#endif

static void read_boot_id(char out[MARK_BOOT_ID_LEN + 1])
{
    char text[MARK_BOOT_ID_LEN];
    size_t n = 0;
    out[0] = 0;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    int rc = files_read_full(fd, text, sizeof(text), &n, "boot_id", NULL);
    close(fd);
    if (rc == 0 && n == sizeof(text)) {
        memcpy(out, text, sizeof(text));
        out[sizeof(text)] = 0;
    }
}

void mark_now(const char *dir, struct mark *out)
{
    struct statx st;
    struct mark m = {0};
    read_boot_id(m.boot_id);
    memset(&st, 0, sizeof(st));
    if (statx(AT_FDCWD, dir, 0, STATX_MNT_ID_UNIQUE, &st) == 0 &&
        (st.stx_mask & STATX_MNT_ID_UNIQUE) != 0) {
        m.mount_id = st.stx_mnt_id;
    }
    *out = m;
}

int mark_is_trusted(const struct mark *found, const struct mark *now)
{
    if (found->is_clean) {
        return 1;
    }
    int is_same_boot = now->boot_id[0] != 0 && strcmp(found->boot_id, now->boot_id) == 0;
    int is_same_mount = now->mount_id != 0 && found->mount_id == now->mount_id;
    return is_same_boot && is_same_mount;
}

int mark_read(const char *path, struct mark *out)
{
    uint8_t b[MARK_SIZE + 1];
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? MU_E_NOT_FOUND : MU_E_IO;
    }
    int rc = files_read_full(fd, b, sizeof(b), &n, path, NULL);
    close(fd);
    if (rc != 0) {
        return rc;
    }
    if (n != MARK_SIZE || memcmp(b, mark_magic, sizeof(mark_magic)) != 0 ||
        wire_get_u32(b + 8) != MARK_VERSION ||
        wire_get_u32(b + MARK_CRC_AT) != hash_crc32c(0, b, MARK_CRC_AT)) {
        return MU_E_CORRUPT;
    }
    struct mark m = {.is_clean = (wire_get_u32(b + 12) & MARK_CLEAN) != 0,
                     .mount_id = wire_get_u64(b + 16)};
    memcpy(m.boot_id, b + 24, MARK_BOOT_ID_LEN);
    m.boot_id[MARK_BOOT_ID_LEN] = 0;
    *out = m;
    return 0;
}

int mark_write(const char *path, const struct mark *m, struct err *e)
{
    uint8_t b[MARK_SIZE] = {0};
    char part[FILES_PATH_MAX];
    int n = snprintf(part, sizeof(part), "%s.part", path);
    if (n < 0 || n >= (int)sizeof(part)) {
        return err_set(e, MU_E_RANGE, "path too long");
    }
    memcpy(b, mark_magic, sizeof(mark_magic));
    wire_set_u32(b + 8, MARK_VERSION);
    wire_set_u32(b + 12, m->is_clean ? MARK_CLEAN : 0);
    wire_set_u64(b + 16, m->mount_id);
    memcpy(b + 24, m->boot_id, strnlen(m->boot_id, MARK_BOOT_ID_LEN));
    wire_set_u32(b + MARK_CRC_AT, hash_crc32c(0, b, MARK_CRC_AT));
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return files_err(e, errno, "making", part);
    }
    int rc = files_write_all(fd, b, sizeof(b), part, e);
    rc = rc != 0 ? rc : files_sync(fd, part, e);
    close(fd);
    return rc != 0 ? rc : files_rename(part, path, e);
}
