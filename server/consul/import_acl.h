/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens, policies and roles of a snapshot; part of import.h. Links to what is not there are left
 * out, as Consul does when it follows them. Secrets become their hashes. */
#pragma once

#include "server/consul/body.h"
#include "server/consul/import.h"

/* A copy that lives as long as what is imported, and a NUL behind it. */
struct slice import_keep(const struct import *m, struct slice s);
/* A map, as JSON, by a table. */
int import_body(const struct import *m, struct slice value, const struct body_table *table,
                void *out, struct err *e);

int import_token(const struct import *m, struct slice value, struct import_doc *out, struct err *e);
int import_policy(const struct import *m, struct slice value, struct import_doc *out,
                  struct err *e);
int import_role(const struct import *m, struct slice value, struct import_doc *out, struct err *e);
/* The index that says that a first token was made; *out_n is 0 for all others. */
int import_bootstrap(struct slice value, struct import_doc *out, size_t *out_n);
