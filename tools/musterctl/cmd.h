/* SPDX-License-Identifier: Apache-2.0 */
/* The commands, as the table names them. */
#pragma once

#include "tools/musterctl/ctl.h"

int ctl_service_list(struct ctl *c);
int ctl_service_get(struct ctl *c);
int ctl_service_register(struct ctl *c);
int ctl_service_patch(struct ctl *c);
int ctl_service_deregister(struct ctl *c);
int ctl_service_keepalive(struct ctl *c);
int ctl_service_watch(struct ctl *c);

int ctl_config_list(struct ctl *c);
int ctl_config_get(struct ctl *c);
int ctl_config_put(struct ctl *c);
int ctl_config_edit(struct ctl *c);
int ctl_config_delete(struct ctl *c);
int ctl_config_history(struct ctl *c);
int ctl_config_diff(struct ctl *c);
int ctl_config_rollback(struct ctl *c);
int ctl_config_watch(struct ctl *c);
int ctl_config_export(struct ctl *c);
int ctl_config_import(struct ctl *c);
int ctl_config_compact(struct ctl *c);

int ctl_watch(struct ctl *c);

int ctl_lease_list(struct ctl *c);
int ctl_lease_get(struct ctl *c);
int ctl_lease_grant(struct ctl *c);
int ctl_lease_keepalive(struct ctl *c);
int ctl_lease_revoke(struct ctl *c);

int ctl_member_list(struct ctl *c);
int ctl_member_add(struct ctl *c);
int ctl_member_replace(struct ctl *c);
int ctl_member_remove(struct ctl *c);
int ctl_member_transfer(struct ctl *c);

int ctl_status(struct ctl *c);

int ctl_snapshot_save(struct ctl *c);
int ctl_snapshot_inspect(struct ctl *c);

int ctl_bench_put(struct ctl *c);
int ctl_bench_get(struct ctl *c);
int ctl_bench_keepalive(struct ctl *c);

int ctl_completion(struct ctl *c); /* the script for a shell */
int ctl_complete(struct ctl *c);   /* hidden: candidates for the last of the words given */

/* help.c */
void ctl_print_help(const struct ctl_parsed *p, FILE *f);
void ctl_print_man(FILE *f);
