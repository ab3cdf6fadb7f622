/* SPDX-License-Identifier: Apache-2.0 */
/* The Consul face: /v1. Programs written for Consul's HTTP API use muster through it. It translates
 * to commands and views, and decides nothing. What it follows, and where it differs:
 * docs/faces/consul.md. */
#pragma once

#include "server/access/access.h"
#include "server/core/core.h"
#include "server/http/http.h"

struct consul;

enum { CONSUL_SNAPSHOT_MAX = 64 * 1024 * 1024 }; /* the largest body there is */

struct consul_options {
    struct core *core;
    struct access *access;
    const char *datacenter; /* NULL: "dc1". At most 63 bytes; copied */
    const char *data_dir;   /* for temporary files; copied */
};

struct consul *consul_new(const struct consul_options *o);
void consul_free(struct consul *c);
int consul_mount(struct consul *c, struct http_server *s, struct err *e);
