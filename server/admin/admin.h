/* SPDX-License-Identifier: Apache-2.0 */
/* Pages for operators: /livez, /readyz, /metrics, /version. They translate, like every face. */
#pragma once

#include "server/core/core.h"
#include "server/http/http.h"
#include "server/net/worker.h"

struct admin_pages;

struct admin_options {
    struct core *core;
    unsigned n_workers;
};

struct admin_pages *admin_new(const struct admin_options *o);
void admin_free(struct admin_pages *a);
/* For net's counters; set once the workers run. */
void admin_set_workers(struct admin_pages *a, struct workers *w);
int admin_add_routes(struct admin_pages *a, struct http_server *s, struct err *e);
/* From http_server_options.after_answer. Any worker. */
void admin_count(struct admin_pages *a, unsigned worker, const struct http_route *route, int status,
                 int64_t elapsed_us);
/* The handler argument must lead to the pages; server.c's context does. */
struct admin_pages *admin_of(void *arg);
