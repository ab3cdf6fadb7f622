/* SPDX-License-Identifier: Apache-2.0 */
/* One seed, from the first start to the last check. */
#include <stdio.h>

#include "base/log.h"
#include "tests/sim/cluster/world.h"

struct world *world;

static void run_until(int64_t at)
{
    while (world->now < at && sim_step()) {
    }
}

static void first_start(void)
{
    for (int i = 0; i < world->mix.n; i++) {
        node_make(i, 0);
        world->initial[i] = (struct replica_member){.is_voter = 1};
        snprintf(world->initial[i].name, sizeof(world->initial[i].name), "n%d", i);
        snprintf(world->initial[i].address, sizeof(world->initial[i].address), "n%d:1", i);
    }
    for (int i = 0; i < world->mix.n; i++) {
        node_boot(&world->nodes[i]);
    }
}

/* All is well again: everything must come to its end in bounded time. */
static void settle(void)
{
    int64_t limit = world->now + 90 * 1000000LL;
    faults_heal();
    run_until(world->now + world->o.heal_ms * 1000);
    while (world->now < limit && faults_members_left() > 0) {
        run_until(world->now + 1000000);
    }
    if (faults_members_left() > 0) {
        sim_bad("liveness: a change of members does not end");
    }
    clients_stop();
    keepers_stop();
    while (world->now < limit && (!clients_are_idle() || keepers_left() > 0)) {
        run_until(world->now + 500000);
    }
    if (!clients_are_idle() || keepers_left() > 0) {
        sim_bad("liveness: %s", clients_are_idle() ? "a lease that nobody keeps does not end"
                                                   : "a client waits for ever");
    }
    clients_final();
    run_until(world->now + 6000000);
    if (clients_final_left() > 0) {
        sim_bad("liveness: after healing, not every node answers");
    }
}

void world_run(const struct sim_options *o, struct sim_outcome *out)
{
    static struct world w;
    world = &w;
    w.o = *o;
    w.out = out;
    w.rng = o->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    *out = (struct sim_outcome){0};
    log_set_level(o->is_traced ? LOG_INFO : LOG_LEVEL_N);
    faults_plan();
    oracle_init();
    first_start();
    clients_start();
    watchers_start();
    keepers_start();
    faults_start();
    run_until(o->fault_ms * 1000 + 1500000);
    settle();
    oracle_end();
    watchers_check();
    clients_check();
    out->trace = w.trace;
    out->virtual_us = (uint64_t)w.now;
}
