/* SPDX-License-Identifier: Apache-2.0 */
/* A circuit breaker: stops asking what does not answer. Pure; the time is passed in.
 *
 *   CLOSED --enough of the last requests failed--> OPEN --open_ms passed--> HALF --probe ok-->
 * CLOSED
 *                                                   ^-------- probe failed ---+
 *
 * breaker_may() is asked before each request; whoever got a yes says how it went with
 * breaker_report(), or breaker_give_up() when it cannot tell. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF };
enum { BREAKER_SLOTS = 10 };

struct breaker_conf {
    int64_t window_ms; /* what counts as "the last requests" */
    int64_t open_ms;
    int min_requests; /* fewer never open it */
    int failure_percent;
};

struct breaker {
    enum breaker_state state;
    bool has_probe; /* HALF: the one request is under way */
    int64_t opened_at;
    /* The window in slices; a slice is forgotten when the window has moved past it. */
    struct breaker_slot {
        int64_t n;
        uint32_t ok, failed;
    } slots[BREAKER_SLOTS];
};

void breaker_init(struct breaker *b);
/* May a request be made now? In HALF the first yes is the probe; then no until it is reported. */
bool breaker_may(struct breaker *b, const struct breaker_conf *c, int64_t now);
void breaker_report(struct breaker *b, const struct breaker_conf *c, int64_t now, bool is_ok);
void breaker_give_up(struct breaker *b); /* a probe without an outcome: the next may probe */
/* When a no may become a yes by time alone. */
int64_t breaker_retry_at(const struct breaker *b, const struct breaker_conf *c, int64_t now);
