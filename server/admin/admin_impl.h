/* SPDX-License-Identifier: Apache-2.0 */
/* Inside server/admin. */
#pragma once

#include <stdatomic.h>

#include "server/admin/admin.h"

enum { ADMIN_ROUTES_MAX = 64, ADMIN_BUCKETS = 12, ADMIN_CLASSES = 5 };

/* Counters of one worker: written by it alone, read by whoever renders. */
struct request_counts {
    struct {
        _Atomic uint64_t by_class[ADMIN_CLASSES]; /* 1xx .. 5xx */
        _Atomic uint64_t bucket[ADMIN_BUCKETS + 1];
        _Atomic uint64_t us_total;
    } route[ADMIN_ROUTES_MAX + 1]; /* the last one: no route */
};

struct admin_pages {
    struct core *core;
    struct workers *_Atomic workers;
    struct http_server *http;
    unsigned n_workers;
    struct request_counts *requests;
    const struct http_route *_Atomic known[ADMIN_ROUTES_MAX];
};

/* What server.c passes to handlers: the api's part first, then ours. */
struct admin_context {
    void *api;
    struct admin_pages *pages;
};

void admin_metrics(struct http_req *r, void *arg);
