/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets: a file that can be connected to. What an earlier process left behind is told from
 * what listens and from what is no socket at all; only the first is removed. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/net/net_impl.h"

#define SCHEME "unix://"

enum { BACKLOG = 4096 };

int local_is(const char *address)
{
    return strncmp(address, SCHEME, sizeof(SCHEME) - 1) == 0;
}

int local_resolve(const char *address, struct sockaddr_storage *out, struct err *e)
{
    struct sockaddr_un *un = (void *)out;
    const char *path = address + sizeof(SCHEME) - 1;
    size_t n = strlen(path);
    if (path[0] != '/' || path[n - 1] == '/' || n >= sizeof(un->sun_path)) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "listener \"%.120s\" is not unix:///PATH of at most %zu bytes", address,
                       sizeof(un->sun_path) - 1);
    }
    memset(out, 0, sizeof(*out));
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, n + 1);
    return 0;
}

void local_format(const struct sockaddr_storage *a, char *out)
{
    const struct sockaddr_un *un = (const void *)a;
    (void)snprintf(out, NET_ADDRESS_MAX, SCHEME "%s", un->sun_path);
}

static int socket_new(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* The file that stands there is a socket that nobody has any more: then it goes. */
static int clear_stale(const struct sockaddr_un *un, struct err *e)
{
    struct stat st;
    if (lstat(un->sun_path, &st) != 0) {
        return errno == ENOENT ? 0 : err_set(e, MU_E_IO, "%s: %s", un->sun_path, strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_set(e, MU_E_IO, "%s is there already and is no socket", un->sun_path);
    }
    int fd = socket_new();
    int rc = fd < 0                                                       ? errno
             : connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 ? 0
                                                                          : errno;
    if (fd >= 0) {
        close(fd);
    }
    if (rc == 0 || rc == EAGAIN) {
        return err_set(e, MU_E_IO, "listening on %s: another process does already", un->sun_path);
    }
    if (rc != ECONNREFUSED || unlink(un->sun_path) != 0) {
        return err_set(e, MU_E_IO, "%s is there already: %s", un->sun_path,
                       strerror(rc != ECONNREFUSED ? rc : errno));
    }
    return 0;
}

/* Nobody can connect before listen(), so nobody gets in before the mode is right. */
static int open_file(int fd, const struct sockaddr_un *un, unsigned mode, struct local_file *out)
{
    struct stat st;
    if (bind(fd, (const struct sockaddr *)un, sizeof(*un)) != 0) {
        return -1;
    }
    if (fchmodat(AT_FDCWD, un->sun_path, (mode_t)mode, AT_SYMLINK_NOFOLLOW) != 0 ||
        lstat(un->sun_path, &st) != 0 || listen(fd, BACKLOG) != 0) {
        int why = errno;
        (void)unlink(un->sun_path);
        errno = why;
        return -1;
    }
    out->device = st.st_dev;
    out->inode = st.st_ino;
    (void)snprintf(out->path, sizeof(out->path), "%s", un->sun_path);
    return 0;
}

int local_bind(const struct sockaddr_storage *a, unsigned mode, struct local_file *out, int *out_fd,
               struct err *e)
{
    const struct sockaddr_un *un = (const void *)a;
    int rc = clear_stale(un, e);
    if (rc != 0) {
        return rc;
    }
    int fd = socket_new();
    if (fd < 0 || open_file(fd, un, mode, out) != 0) {
        rc = err_set(e, MU_E_IO, "listening on %s: %s", un->sun_path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    *out_fd = fd;
    return 0;
}

void local_remove(struct local_file *f)
{
    struct stat st;
    if (f->path[0] != '\0' && lstat(f->path, &st) == 0 && st.st_dev == f->device &&
        st.st_ino == f->inode) {
        (void)unlink(f->path); /* the one that we made, not one of who came after */
    }
    f->path[0] = '\0';
}
