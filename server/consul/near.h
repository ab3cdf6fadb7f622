/* SPDX-License-Identifier: Apache-2.0 */
/* How far nodes are from one another, by the coordinates that were told of them
 * (https://developer.hashicorp.com/consul/docs/architecture/coordinates). */
#pragma once

#include "storage/view.h"

#define NEAR_COORDINATES SLICE_LIT("coordinate") /* records by node */

enum { NEAR_DIMENSIONS = 8 };

struct near_place {
    double vec[NEAR_DIMENSIONS], height, adjustment; /* s */
    int is_known;
};

void near_find(struct view *v, struct slice node, struct near_place *out);
/* Seconds of a round trip; INFINITY when one of them is not known. */
double near_distance(const struct near_place *a, const struct near_place *b);
