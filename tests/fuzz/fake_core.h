/* SPDX-License-Identifier: Apache-2.0 */
/* What a face needs around it to answer requests without a server: a core that answers at once, the
 * hub and the worker, and a store with a little in it. One for the process. */
#pragma once

#include "server/core/core.h"
#include "storage/store.h"
#include "tests/unit/server/http/sans_io.h"

enum { FAKE_WAITERS_MAX = 16 };

struct fake_core {
    struct store *store;
    struct mailbox box;
    struct sub *armed[FAKE_WAITERS_MAX];
    struct worker_timer *timers[FAKE_WAITERS_MAX];
    unsigned how; /* the core answers */
    int applies;  /* what is proposed is applied to the store; else an outcome is made up */
    mu_index index;
    char dir[64];
};
extern struct fake_core fake_core;

/* Once; the store goes with the process. */
void fake_core_open(void);
/* Until nobody waits: mails, then a change for those that watch or the end of their time. */
void fake_core_settle(struct sans_io *s);
/* Applied as the next entry of the log. */
void fake_core_apply(const struct command *c);
/* The store as it was in the beginning, when something was applied since. */
void fake_core_renew(void);
