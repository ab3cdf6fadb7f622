/* SPDX-License-Identifier: Apache-2.0 */
/* A pretended muster on top of the stub: configs and instances with a log of changes, read, watched
 * and kept alive by the real paths; streams that break off as the test likes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/client/stub.h"

struct fakestore;

struct fakestore *fake_start(void);
void fake_stop(struct fakestore *f);
const char *fake_url(const struct fakestore *f);
/* Put a config (NULL: delete it); returns the revision. Reading the key "slow" takes a while. */
uint64_t fake_put(struct fakestore *f, const char *group, const char *key, const char *content);
/* Put an instance of DEFAULT_GROUP (port 0: delete it). */
uint64_t fake_instance(struct fakestore *f, const char *service, const char *id, int port);
/* Streams end after so many messages each; 0: never. */
void fake_break_after(struct fakestore *f, int n);
/* Contents are left out of events from now on, or not. */
void fake_omit(struct fakestore *f, bool omits);
/* Revisions up to this one are gone: streams that want them are refused, running ones told so. */
void fake_compact(struct fakestore *f, uint64_t revision);
void fake_down(struct fakestore *f, bool is_down); /* answers nothing, ends all streams */
int fake_streams(struct fakestore *f);             /* begun so far */
/* Leases: how many keep-alives came, how many leases the last one named; forget them all. */
int fake_beats(struct fakestore *f, int *out_last_n);
void fake_lose_leases(struct fakestore *f);
int fake_registrations(struct fakestore *f);
int fake_deregistrations(struct fakestore *f);
