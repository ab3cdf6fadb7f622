/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/near.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "storage/view_kv.h"

void near_find(struct view *v, struct slice node, struct near_place *out)
{
    struct record_row row;
    size_t i;
    json_t *item;
    memset(out, 0, sizeof(*out));
    if (node.len == 0 || view_record(v, NEAR_COORDINATES, node, &row) != 0) {
        return;
    }
    json_t *doc = json_loadb((const char *)row.body.p, row.body.len, 0, NULL);
    const json_t *vec = json_object_get(doc, "Vec");
    json_array_foreach (vec, i, item) {
        if (i < NEAR_DIMENSIONS) {
            out->vec[i] = json_number_value(item);
        }
    }
    out->height = json_number_value(json_object_get(doc, "Height"));
    out->adjustment = json_number_value(json_object_get(doc, "Adjustment"));
    out->is_known = json_array_size(vec) == NEAR_DIMENSIONS;
    json_decref(doc);
}

double near_distance(const struct near_place *a, const struct near_place *b)
{
    double sum = 0;
    if (!a->is_known || !b->is_known) {
        return INFINITY;
    }
    for (size_t i = 0; i < NEAR_DIMENSIONS; i++) {
        double d = a->vec[i] - b->vec[i];
        sum += d * d;
    }
    double raw = sqrt(sum) + a->height + b->height;
    double adjusted = raw + a->adjustment + b->adjustment;
    return adjusted > 0 ? adjusted : raw;
}
