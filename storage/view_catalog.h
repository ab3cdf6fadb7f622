/* SPDX-License-Identifier: Apache-2.0 */
/* Reading nodes, places and checks; rules as in storage/view.h. Instances and services are read as
 * everywhere (view_service, view_instances). Scans give tombstones too (meta.is_deleted): their
 * mod_rev counts for the index of the list. */
#pragma once

#include "storage/view.h"

typedef int (*view_node_fn)(void *arg, struct slice name, const struct node_row *row);
typedef int (*view_place_fn)(void *arg, struct slice node, struct slice service_id,
                             const struct place_row *row);
typedef int (*view_check_fn)(void *arg, const struct check_name *n, const struct check_row *row);

int view_node(struct view *v, struct slice name, struct node_row *out);
int view_nodes(struct view *v, view_node_fn fn, void *arg);
int view_place(struct view *v, struct slice node, struct slice service_id, struct place_row *out);
/* Of one node; node empty: of all. */
int view_places(struct view *v, struct slice node, view_place_fn fn, void *arg);
/* By node and check id; *out_service_id tells whose it is (empty: the node's). */
int view_check(struct view *v, struct slice node, struct slice id, struct slice *out_service_id,
               struct check_row *out);
/* Of one node, its services' too; node empty: of all. */
int view_checks(struct view *v, struct slice node, view_check_fn fn, void *arg);
/* Of one service id, or of the node alone (service_id empty). */
int view_checks_of(struct view *v, struct slice node, struct slice service_id, view_check_fn fn,
                   void *arg);
/* Which member's node the cluster's agent keeps this service or check on. NOT_FOUND. */
int view_agent_service(struct view *v, struct slice service_id, struct slice *out_node);
int view_agent_check(struct view *v, struct slice check_id, struct slice *out_node,
                     struct slice *out_service_id);
/* The services of a namespace and group, tombstones too (what an index over all services needs). */
int view_services_all(struct view *v, struct slice ns, struct slice group, view_service_fn fn,
                      void *arg);
/* A service as it is or, deleted, as it was last (meta.is_deleted). NOT_FOUND: nothing is kept of
 * it. */
int view_service_last(struct view *v, const struct service_name *n, struct service_row *out);
