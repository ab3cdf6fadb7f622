/* SPDX-License-Identifier: Apache-2.0 */
/* Health checks have no part in this: no socket is opened here. */
#include "base/mem.h"
#include "server/core/core_impl.h"

struct checks {
    struct core *core;
};

struct checks *checks_new(struct core *c)
{
    struct checks *k = mem_zalloc(sizeof(*k));
    k->core = c;
    return k;
}

void checks_free(struct checks *k, void (*closed)(void *arg), void *arg)
{
    mem_free(k);
    closed(arg);
}

void checks_start(struct checks *k)
{
    (void)k;
}

void checks_changed(struct checks *k, const struct change_set *c)
{
    (void)k, (void)c;
}

void checks_reset(struct checks *k)
{
    (void)k;
}

void checks_message(struct checks *k, mu_node_id from, struct slice body)
{
    (void)k, (void)from, (void)body;
}

void checks_role(struct checks *k)
{
    (void)k;
}
