/* SPDX-License-Identifier: Apache-2.0 */
/* The native face: /api/v1. It translates HTTP to commands and views, and decides nothing. The text
 * it follows: docs/faces/native.md. */
#pragma once

#include "server/access/access.h"
#include "server/core/core.h"
#include "server/http/http.h"

struct api;

struct api_options {
    struct core *core;
    struct access *access;
    uint32_t value_max; /* largest config content; 0 = 1 MiB */
    int64_t timeout_ms; /* how long a write or a gate may take; 0 = 5 s */
};

struct api *api_new(const struct api_options *o);
void api_free(struct api *a);
/* Add the routes. Handlers' argument is the server's; it must be what api_of(arg) can turn into the
 * api. */
int api_add_routes(struct api *a, struct http_server *s, struct err *e);
/* For http_server_options.permit. */
int api_permit(struct api *a, struct http_req *r, const struct http_route *route, struct err *e);
/* The server's handler argument holds the api first. */
struct api_context {
    struct api *api;
};
