/* SPDX-License-Identifier: Apache-2.0 */
/* Autopilot's settings as they are given and kept: a record. */
#pragma once

#include "server/consul/body.h"

#define AUTOPILOT_KIND SLICE_LIT("operator")
#define AUTOPILOT_NAME SLICE_LIT("autopilot")

struct autopilot {
    int64_t contact, stable; /* ns */
    int64_t trailing, quorum;
    struct slice zone, version;
    int cleans, no_upgrade;
    struct slice text;
    uint64_t expect;
    int has_cas;
};

extern const struct body_table autopilot_table;
/* The document that is kept. */
void autopilot_text(const struct autopilot *a, struct buf *out);
