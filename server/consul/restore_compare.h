/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what is there is what a snapshot says: 1 when nothing needs to be written. Pairs and JSON
 * are equal in any order. */
#pragma once

#include "storage/rows.h"

int compare_nodes(const struct node_row *cur, const struct node_row *row);
int compare_services(const struct instance_row *cur, const struct instance_row *row);
/* is_run: the cluster runs it, so that its status and output are its own. */
int compare_checks(const struct check_row *cur, const struct check_row *row, int is_run);
int compare_bodies(struct slice cur, struct slice body);
