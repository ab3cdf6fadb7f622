/* SPDX-License-Identifier: Apache-2.0 */
/* A prepared query as it is given: read, checked, and as it is kept. */
#pragma once

#include "base/err.h"
#include "server/consul/body.h"
#include "server/consul/change.h"

struct prepared_service {
    struct slice service, near, tags, node_meta, service_meta, ignored, failover;
    int only_passing, connect;
};
struct prepared_template {
    struct slice type, regexp;
    int drops_empty;
};
struct prepared_dns {
    struct slice ttl;
};
struct prepared {
    struct slice id, name, session, token;
    struct prepared_service service;
    struct prepared_template template;
    struct prepared_dns dns;
    struct slice text;
    char new_id[UUID_SIZE + 1];
};

extern const struct body_table prepared_table;

/* 0, or BAD_REQUEST with Consul's sentence. */
int prepared_check(const struct prepared *g, struct err *e);
/* The document that is kept, under new_id. */
void prepared_text(const struct prepared *g, struct buf *out);
/* The name of the record that a name is claimed with: "=NAME" or "~PREFIX"; empty for a query
 * without a name. */
void prepared_claim(struct slice name, int is_template, struct buf *out);
