/* SPDX-License-Identifier: Apache-2.0 */
/* The servers a client may ask, and which one is next. No locks, no sockets; the time is passed in.
 */
#pragma once

#include <stddef.h>

#include "client/breaker.h"
#include "client/include/muster.h"

enum { ENDPOINTS_MAX = 64 };

struct endpoint {
    char *url; /* "http://host:port" */
    struct breaker breaker;
};

struct endpoints {
    struct endpoint *v;
    size_t n;
    size_t current; /* asked first: the last one that worked */
    struct breaker_conf conf;
};

/* "http://a:8500,https://b:8500": a scheme may be missing (http), a port too (8500). MUSTER_INVALID
 * says what is wrong. */
muster_status endpoints_parse(struct endpoints *out, const char *text, struct muster_error *e);
void endpoints_fini(struct endpoints *s);
/* An endpoint whose bit is not in `tried` and whose breaker agrees; -1 when there is none, with the
 * time of the next chance in *out_retry_at (INT64_MAX when all were tried). */
int endpoints_pick(struct endpoints *s, uint64_t tried, int64_t now, int64_t *out_retry_at);
/* How it went with the one that was picked. After a failure another one is asked first. */
void endpoints_report(struct endpoints *s, int i, int64_t now, bool is_ok);
/* It answered, but cannot serve now (no leader, draining): ask another one first. */
void endpoints_move_on(struct endpoints *s, int i);
void endpoints_give_up(struct endpoints *s, int i);
