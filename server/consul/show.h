/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, services, checks and sessions as Consul writes them: members into an open object. */
#pragma once

#include "base/json_write.h"
#include "storage/view_catalog.h"

/* What an answer is about that is told in it. */
struct json_t;

struct show {
    const char *datacenter;
    int has_definition; /* checks with what the catalog was given; else {} */
    int has_nulls;      /* for tags and metadata that were not given; else [] and {} */
    int is_agent;       /* checks without indexes */
};

/* An instance that was registered without a node stands on this one. */
#define SHOW_NATIVE_NODE SLICE_LIT("muster")

void show_node(struct jw *w, const struct show *s, struct slice name, const struct node_row *row);
/* The node of an instance: of the catalog, or the one of those without. */
void show_node_of(struct jw *w, const struct show *s, struct view *v,
                  const struct instance_row *row);
/* In health and catalog/node answers; `is_agent`: in those of the agent. */
void show_service(struct jw *w, const struct show *s, const struct instance_name *n,
                  const struct instance_row *row, int is_agent);
/* A flat item of catalog/service. */
void show_entry(struct jw *w, const struct show *s, struct view *v, const struct instance_name *n,
                const struct instance_row *row);
void show_check(struct jw *w, const struct show *s, struct view *v, const struct check_name *n,
                const struct check_row *row);
/* Array items: the checks of an instance and of its node. Returns the worst status. */
enum check_status show_checks_of(struct jw *w, const struct show *s, struct view *v,
                                 const struct instance_name *n, const struct instance_row *row);
/* The same without writing; any that is not passing counts. */
enum check_status show_worst(struct view *v, const struct instance_row *row);
/* How many of them are in each status; adds. */
struct show_tally {
    uint64_t n[3]; /* by enum check_status */
};
void show_count(struct view *v, const struct instance_row *row, struct show_tally *io);
/* Members of an item of health/service. */
void show_health(struct jw *w, const struct show *s, struct view *v, const struct instance_name *n,
                 const struct instance_row *row);
/* A weight is the row's, which the other face may change; that of a warning is known here alone. */
void show_weights(const struct json_t *extra, const struct instance_row *row, int64_t *out_passing,
                  int64_t *out_warning);
/* As the service id of this face. */
struct slice show_service_id(const struct instance_name *n, const struct instance_row *row);
struct slice show_node_name(const struct instance_row *row);
void show_pairs(struct jw *w, struct slice pairs); /* an object */
void show_list(struct jw *w, struct slice list);   /* an array of strings */
