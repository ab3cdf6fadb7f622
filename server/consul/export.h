/* SPDX-License-Identifier: Apache-2.0 */
/* What the store has of Consul's, as records of a snapshot (statefile.h). Members whose names begin
 * with "Muster" are passed over by Consul; they bring back exactly what was there:
 *
 *   register   MusterMember: the node is a member of the cluster
 *   service    MusterAgent: registered with the cluster's agent; MusterExtra: as the row has it
 *   check      MusterAgent; MusterDefinition, as the row has it
 *   token      MusterSecretHash: SecretID is drawn anew for each snapshot, as no secret is stored
 *   config entry, coordinate   MusterBody: the record as it is stored */
#pragma once

#include "base/err.h"
#include "server/consul/show.h"

/* Takes the next bytes; 0, or an error, which ends the work and is returned. */
typedef int (*export_put_fn)(void *arg, struct slice bytes, struct err *e);

int export_write(struct view *v, const char *datacenter, export_put_fn put, void *arg,
                 struct err *e);
