/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/err.h"

static int64_t now_us(clockid_t id)
{
    struct timespec t;
    int rc = clock_gettime(id, &t);
    MU_INVARIANT(rc == 0);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return now_us(CLOCK_BOOTTIME);
}

int64_t clock_mono_ms(void)
{
    return now_us(CLOCK_BOOTTIME) / 1000;
}

int64_t clock_wall_ms(void)
{
    return now_us(CLOCK_REALTIME) / 1000;
}

void rnd_bytes(void *out, size_t len)
{
    /* A pool per thread: one system call for many small draws. */
    static _Thread_local uint8_t pool[256];
    static _Thread_local size_t left;
    uint8_t *p = out;
    while (len > 0) {
        if (left == 0) {
            ssize_t n = getrandom(pool, sizeof(pool), 0);
            if (n < 0) {
                continue; /* EINTR only */
            }
            left = (size_t)n;
        }
        size_t n = len < left ? len : left;
        memcpy(p, pool + left - n, n);
        memset(pool + left - n, 0, n);
        left -= n;
        p += n;
        len -= n;
    }
}

uint64_t rnd_u64(void)
{
    uint64_t v;
    rnd_bytes(&v, sizeof(v));
    return v;
}

uint64_t rnd_below(uint64_t n)
{
    MU_INVARIANT(n > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t v;
    do {
        v = rnd_u64();
    } while (v >= limit);
    return v % n;
}
