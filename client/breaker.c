/* SPDX-License-Identifier: Apache-2.0 */
#include "client/breaker.h"

#include <string.h>

enum { PROBE_WAIT_MS = 50 }; /* how soon to ask again while another one's probe is under way */

void breaker_init(struct breaker *b)
{
    memset(b, 0, sizeof(*b));
    for (int i = 0; i < BREAKER_SLOTS; i++) {
        b->slots[i].n = -1;
    }
}

static int64_t slot_number(const struct breaker_conf *c, int64_t now)
{
    int64_t width = c->window_ms / BREAKER_SLOTS;
    return now / (width > 0 ? width : 1);
}

static void count(struct breaker *b, const struct breaker_conf *c, int64_t now, bool is_ok)
{
    int64_t n = slot_number(c, now);
    struct breaker_slot *s = &b->slots[n % BREAKER_SLOTS];
    if (s->n != n) {
        *s = (struct breaker_slot){.n = n};
    }
    s->ok += is_ok;
    s->failed += !is_ok;
}

static bool has_failed_too_often(const struct breaker *b, const struct breaker_conf *c, int64_t now)
{
    int64_t n = slot_number(c, now);
    uint64_t all = 0, failed = 0;
    for (int i = 0; i < BREAKER_SLOTS; i++) {
        const struct breaker_slot *s = &b->slots[i];
        if (s->n > n - BREAKER_SLOTS && s->n <= n) {
            all += (uint64_t)s->ok + s->failed;
            failed += s->failed;
        }
    }
    return all > 0 && all >= (uint64_t)c->min_requests &&
           failed * 100 >= all * (uint64_t)c->failure_percent;
}

bool breaker_may(struct breaker *b, const struct breaker_conf *c, int64_t now)
{
    if (b->state == BREAKER_OPEN && now - b->opened_at >= c->open_ms) {
        b->state = BREAKER_HALF;
        b->has_probe = false;
    }
    if (b->state == BREAKER_HALF && !b->has_probe) {
        b->has_probe = true;
        return true;
    }
    return b->state == BREAKER_CLOSED;
}

static void trip(struct breaker *b, int64_t now)
{
    b->state = BREAKER_OPEN;
    b->has_probe = false;
    b->opened_at = now;
}

void breaker_report(struct breaker *b, const struct breaker_conf *c, int64_t now, bool is_ok)
{
    switch (b->state) {
    case BREAKER_OPEN:
        break; /* began before it opened: tells nothing new */
    case BREAKER_HALF:
        if (is_ok) {
            breaker_init(b);
        } else {
            trip(b, now);
        }
        break;
    case BREAKER_CLOSED:
        count(b, c, now, is_ok);
        if (!is_ok && has_failed_too_often(b, c, now)) {
            trip(b, now);
        }
        break;
    }
}

void breaker_give_up(struct breaker *b)
{
    b->has_probe = false;
}

int64_t breaker_retry_at(const struct breaker *b, const struct breaker_conf *c, int64_t now)
{
    switch (b->state) {
    case BREAKER_OPEN:
        return b->opened_at + c->open_ms > now ? b->opened_at + c->open_ms : now;
    case BREAKER_HALF:
        return b->has_probe ? now + PROBE_WAIT_MS : now;
    default:
        return now;
    }
}
