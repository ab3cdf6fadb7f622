/* SPDX-License-Identifier: Apache-2.0 */
/* Registered instances, kept alive with one request for all of them; what was lost is registered
 * again. Start reading at keeper_step(). */
#pragma once

#include "client/loop.h"

struct keeper *keeper_new(struct loop *l);
void keeper_free(struct keeper *k);
/* Owner's. */
int64_t keeper_step(struct keeper *k, int64_t now);
void keeper_stop(struct keeper *k);
/* After the thread has ended: deregister everything, until that moment. */
void keeper_deregister_all(struct keeper *k, int64_t deadline_at);
