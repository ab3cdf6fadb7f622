/* SPDX-License-Identifier: Apache-2.0 */
#include "server/datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

static int fail(struct err *e, const char *what, const char *path)
{
    return err_set(e, MU_E_IO, "%s %s: %s", what, path, strerror(errno));
}

/* mkdir -p, each new level with mode 0700. */
static int make_path(const char *path, struct err *e)
{
    char part[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(part)) {
        return err_set(e, MU_E_BAD_REQUEST, "the data directory's path must have 1 to %zu bytes",
                       sizeof(part) - 1);
    }
    for (size_t i = 1; i <= n; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            memcpy(part, path, i);
            part[i] = '\0';
            if (mkdir(part, 0700) != 0 && errno != EEXIST) {
                return fail(e, "making directory", part);
            }
        }
    }
    return 0;
}

static int check_mode(const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return fail(e, "looking at", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return err_set(e, MU_E_BAD_REQUEST, "%s is not a directory", path);
    }
    if (st.st_uid != geteuid()) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "%s belongs to user %u, not to the user that runs musterd (%u)", path,
                       st.st_uid, geteuid());
    }
    if ((st.st_mode & 077) != 0) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "%s is open to others (mode %04o); it must be 0700: chmod 700 %s", path,
                       st.st_mode & 07777, path);
    }
    return 0;
}

static int take_lock(struct datadir *d, struct err *e)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s/LOCK", d->path);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock_fd < 0) {
        return fail(e, "opening", path);
    }
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        char pid[32];
        int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
        if (ftruncate(d->lock_fd, 0) != 0 || pwrite(d->lock_fd, pid, (size_t)n, 0) != n) {
            return fail(e, "writing", path);
        }
        return 0;
    }
    char other[32] = "";
    ssize_t n = pread(d->lock_fd, other, sizeof(other) - 1, 0);
    other[n > 0 ? strcspn(other, "\n") : 0] = '\0';
    close(d->lock_fd);
    d->lock_fd = -1;
    return err_set(e, MU_E_CONFLICT, "%s is in use by process %s", d->path,
                   other[0] != '\0' ? other : "(unknown)");
}

static int is_empty(const char *path)
{
    int n = 0;
    DIR *dir = opendir(path);
    struct dirent *x;
    while (dir != NULL && (x = readdir(dir)) != NULL) {
        n += strcmp(x->d_name, ".") != 0 && strcmp(x->d_name, "..") != 0 &&
             strcmp(x->d_name, "LOCK") != 0 && strcmp(x->d_name, "lost+found") != 0 &&
             strcmp(x->d_name, "MUSTER.part") != 0; /* a first start that was cut short */
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return n == 0;
}

/* "muster-data 1\nname n1\n" */
static int check_mark(struct datadir *d, const char *node_name, struct err *e)
{
    char path[4200], text[256], again[256] = "", name[80] = "";
    unsigned version = 0;
    snprintf(path, sizeof(path), "%s/MUSTER", d->path);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        d->is_fresh = is_empty(d->path);
        return d->is_fresh
                   ? 0
                   : err_set(e, MU_E_BAD_REQUEST,
                             "%s is not empty and not a muster data directory; choose another",
                             d->path);
    }
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    if (sscanf(text, "muster-data %9u name %79s", &version, name) == 2) {
        snprintf(again, sizeof(again), "muster-data %u\nname %s\n", version, name);
    }
    if (version == 0 || strcmp(text, again) != 0) {
        return err_set(e, MU_E_CORRUPT,
                       "%s is damaged: it must read \"muster-data VERSION\" and \"name NAME\"",
                       path);
    }
    if (version > DATADIR_FORMAT) {
        return err_set(e, MU_E_FORMAT,
                       "%s was written by a newer version (format %u, this one knows %d)", d->path,
                       version, DATADIR_FORMAT);
    }
    if (strcmp(name, node_name) != 0) {
        return err_set(e, MU_E_CONFLICT, "%s belongs to node %s, this is %s", d->path, name,
                       node_name);
    }
    return 0;
}

int datadir_open(const char *path, const char *node_name, struct datadir *out, struct err *e)
{
    *out = (struct datadir){.lock_fd = -1};
    int rc = make_path(path, e);
    if (rc == 0 && realpath(path, out->path) == NULL) {
        rc = fail(e, "resolving", path);
    }
    rc = rc != 0 ? rc : check_mode(out->path, e);
    rc = rc != 0 ? rc : take_lock(out, e);
    rc = rc != 0 ? rc : check_mark(out, node_name, e);
    if (rc != 0) {
        datadir_close(out);
    }
    return rc;
}

int datadir_mark(const struct datadir *d, const char *node_name, struct err *e)
{
    char path[4200], temp[4210], text[160];
    snprintf(path, sizeof(path), "%s/MUSTER", d->path);
    snprintf(temp, sizeof(temp), "%s.part", path);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int n = snprintf(text, sizeof(text), "muster-data %d\nname %s\n", DATADIR_FORMAT, node_name);
    if (fd < 0 || write(fd, text, (size_t)n) != n || fsync(fd) != 0 || rename(temp, path) != 0) {
        int rc = fail(e, "writing", path);
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    close(fd);
    int dir = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = dir < 0 || fsync(dir) != 0 ? fail(e, "syncing", d->path) : 0;
    if (dir >= 0) {
        close(dir);
    }
    return rc;
}

void datadir_close(struct datadir *d)
{
    if (d->lock_fd >= 0) {
        close(d->lock_fd);
        d->lock_fd = -1;
    }
}
