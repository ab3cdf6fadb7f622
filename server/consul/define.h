/* SPDX-License-Identifier: Apache-2.0 */
/* What is registered: services and checks, as agents and the catalog take them. The registered
 * structs are read with body_read; the rest is what Consul requires of them and makes of them. */
#pragma once

#include "server/consul/body.h"
#include "storage/keys.h"
#include "storage/rows.h"

struct define_check {
    struct slice id, check_id, name, notes, service_id, node, status, output, type;
    struct slice http, method, body, tcp, udp, grpc, h2ping, server_name;
    struct slice alias_node, alias_service, args, docker, os_service;
    struct slice headers;
    int64_t interval, timeout, ttl, remove_after; /* ns */
    int64_t passes, failures_to_warn, failures_to_fail, output_max;
    int skip_verify, no_redirects, grpc_tls, tcp_tls;
    struct slice h2ping_tls; /* JSON: true unless it is false */
    struct slice definition; /* of the catalog: JSON */
    uint64_t index;          /* ModifyIndex */
};

struct define_weights {
    int64_t passing, warning;
};

struct define_service {
    struct slice id, name, service, address, tags, meta, kind, tagged, proxy, connect, locality;
    int64_t port;
    struct define_weights *weights; /* NULL: not given */
    int is_strict;                  /* of the agent: what is given must be right */
    int overrides_tags;
    struct define_check check;
    int has_check;
    struct body_items checks; /* struct define_check */
    uint64_t index;           /* ModifyIndex */
};

extern const struct body_table define_check_table;   /* /agent/check/register */
extern const struct body_table define_service_table; /* /agent/service/register */

/* 0, or the status of an answer and its text. */
struct define_fault {
    int status;
    char text[256];
};

/* Fills the row; what it borrows is the definition's, and `mem`'s. */
int define_check_row(const struct define_check *d, struct check_row *out, struct define_fault *f);
/* The row of the instance; `extra` takes what only this face tells. */
int define_service_row(const struct define_service *d, struct buf *extra, struct instance_row *out,
                       struct define_fault *f);
int define_status(struct slice s, enum check_status *out);
const char *define_status_name(enum check_status s);
