/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int files_err(struct err *e, int errnum, const char *what, const char *path)
{
    int code = errnum == ENOENT                       ? MU_E_NOT_FOUND
               : errnum == ENOSPC || errnum == EDQUOT ? MU_E_DISK_FULL
                                                      : MU_E_IO;
    return err_set(e, code, "%s %s: %s", what, path, strerror(errnum));
}

int files_write_all(int fd, const void *p, size_t len, const char *path, struct err *e)
{
    const uint8_t *at = p;
    while (len != 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return files_err(e, n < 0 ? errno : EIO, "writing", path);
        }
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int files_read_full(int fd, void *out, size_t len, size_t *out_n, const char *path, struct err *e)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = read(fd, (uint8_t *)out + done, len - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return files_err(e, errno, "reading", path);
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    *out_n = done;
    return 0;
}

int files_sync(int fd, const char *path, struct err *e)
{
    return fdatasync(fd) == 0 ? 0 : files_err(e, errno, "syncing", path);
}

int files_sync_dir(const char *dir, struct err *e)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return files_err(e, errno, "opening", dir);
    }
    int rc = fsync(fd) == 0 ? 0 : files_err(e, errno, "syncing", dir);
    close(fd);
    return rc;
}

int files_sync_parent(const char *path, struct err *e)
{
    char dir[FILES_PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return files_sync_dir(".", e);
    }
    size_t len = slash == path ? 1 : (size_t)(slash - path);
    if (len >= sizeof(dir)) {
        return err_set(e, MU_E_RANGE, "path too long");
    }
    memcpy(dir, path, len);
    dir[len] = 0;
    return files_sync_dir(dir, e);
}

int files_rename(const char *from, const char *to, struct err *e)
{
    if (rename(from, to) != 0) {
        return files_err(e, errno, "renaming", from);
    }
    return files_sync_parent(to, e);
}

int files_mkdir(const char *path, struct err *e)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return files_err(e, errno, "making directory", path);
    }
    return files_sync_parent(path, e);
}

int files_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static int remove_entries(DIR *dir, const char *path, struct err *e)
{
    struct dirent *d;
    while ((d = readdir(dir)) != NULL) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0) {
            continue;
        }
        if (unlinkat(dirfd(dir), d->d_name, 0) != 0 && errno != ENOENT) {
            return files_err(e, errno, "emptying", path);
        }
    }
    return 0;
}

int files_remove_dir(const char *path, struct err *e)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return errno == ENOENT ? 0 : files_err(e, errno, "opening", path);
    }
    int rc = remove_entries(dir, path, e);
    closedir(dir);
    if (rc == 0 && rmdir(path) != 0 && errno != ENOENT) {
        rc = files_err(e, errno, "removing", path);
    }
    return rc != 0 ? rc : files_sync_parent(path, e);
}

int files_join(char out[FILES_PATH_MAX], const char *dir, const char *name, struct err *e)
{
    int n = snprintf(out, FILES_PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < FILES_PATH_MAX ? 0 : err_set(e, MU_E_RANGE, "path too long: %s", name);
}
