/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wake.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"

void wake_init(struct wake *w)
{
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    MU_INVARIANT(w->fd >= 0);
}

void wake_fini(struct wake *w)
{
    close(w->fd);
    w->fd = -1;
}

void wake_send(const struct wake *w)
{
    static const uint64_t one = 1;
    while (write(w->fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

void wake_clear(const struct wake *w)
{
    uint64_t count;
    while (read(w->fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
}
