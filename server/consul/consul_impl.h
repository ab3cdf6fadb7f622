/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside server/consul: the endpoint table, parameters, and the two flows every endpoint is
 * made of.
 *
 * A read: consul_read_new -> gate -> render(view) -> answer, or park on the hub until the index
 * passes the one that was asked for. A write: operations -> consul_write -> answer. */
#pragma once

#include <stdatomic.h>

#include "base/json_write.h"
#include "server/consul/consul.h"
#include "server/consul/endpoints.h"
#include "server/consul/text.h"
#include "server/net/worker.h"
#include "server/watch/hub.h"

enum {
    CONSUL_BODY_MAX = 512 * 1024, /* of Consul: kv_max_value_size, txn_max_req_len */
    CONSUL_HOLD_MS = 7000,        /* rpc_hold_timeout: how long a request waits for a leader */
    CONSUL_WRITE_MS = 10 * 1000,
    CONSUL_WAIT_MS = 5 * 60 * 1000,
    CONSUL_WAIT_MAX_MS = 10 * 60 * 1000,
};

/* What programs take decisions by: the version of the API that is spoken here. */
#define CONSUL_API_VERSION "1.20.0"

struct consul {
    struct core *core;
    struct access *access;
    char datacenter[64];
    char *data_dir;
    atomic_int is_snapshotting;
    struct http_mount mount, snapshot_mount;
};

/* A request on its way through the face. */
struct consul_call {
    struct http_req *r;
    struct consul *c;
    struct slice rest;          /* of the path behind the endpoint's prefix, decoded: any bytes */
    const struct identity *who; /* while the handler runs */
};

typedef void (*consul_fn)(struct consul_call *k);

/* --- answers (consul.c) --- */

/* Consul's errors are the bare text. */
void consul_text(struct http_req *r, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* JSON, indented when ?pretty is there. */
void consul_json(struct http_req *r, int status, struct slice body);
void consul_bool(struct http_req *r, int v);
/* An error of the core, in Consul's words. */
void consul_fail(struct http_req *r, int code, const char *text);

/* --- who asks (permit.c) --- */

/* The secret the request shows: ?token=, X-Consul-Token or Authorization: Bearer. */
struct slice consul_token(struct http_req *r);
/* Who asks, into k->who: again, when a handler went on later. 0, or the error of
 * access_identify. */
int consul_who(struct consul_call *k);
/* The same; the error was answered. */
int consul_identify(struct consul_call *k);
/* 1 when he may; else that was answered. */
int consul_may(struct consul_call *k, enum access_kind kind, struct slice name,
               enum access_right right);
/* The same for all names that begin so. */
int consul_may_all(struct consul_call *k, enum access_kind kind, struct slice prefix,
                   enum access_right right);
/* Write what the agent has under that id; `what` is "service" or "check". */
int consul_may_id(struct consul_call *k, const char *what, struct slice id);
/* Register that service, which may be there under another name. */
int consul_may_register(struct consul_call *k, struct slice name, struct slice id);
/* Write what stands in the catalog there; service_id empty: the node. A service, with its checks,
 * is written by who may write the service: to write its node is not enough. may_be_new: what is not
 * there is nobody's. */
int consul_may_place(struct consul_call *k, struct slice node, struct slice service_id,
                     int may_be_new);
/* End it: who may write the node, which takes all of it along when it goes, may end a service. */
int consul_may_end(struct consul_call *k, struct slice node, struct slice service_id);
/* The name of the service that stands there, empty when none does. */
struct slice consul_service_at(struct consul_call *k, struct slice node, struct slice service_id);
/* Take that check id of the agent, for one of its services or (empty) its node: it may be
 * another's. */
int consul_may_check(struct consul_call *k, struct slice service_id, struct slice id);
/* Write over the check that stands there, whatever it speaks of; 1 when none does. */
int consul_may_check_at(struct consul_call *k, struct slice node, struct slice id);
/* End it: one that is not there is the node's. */
int consul_may_end_check(struct consul_call *k, struct slice node, struct slice id);
/* Have a check say how they are, with their checks' output: read the node (empty: where the agent
 * has the service) and the service (empty: none). */
int consul_may_alias(struct consul_call *k, struct slice node, struct slice service_id);
int consul_may_session(struct consul_call *k, struct slice id);

/* --- parameters (params.c); 0, or the error was answered --- */

/* ?dc=, ?index= and ?wait=, the consistency: what every read takes. */
struct consul_params {
    enum consistency level;
    int is_cached;   /* ?cached: an answer from nearby is as good, and says how old it is */
    uint64_t index;  /* 0: do not wait */
    int64_t wait_ms; /* with the random part */
};
int consul_params(struct consul_call *k, struct consul_params *out);
int consul_dc(struct consul_call *k);
/* Stale and consistent at once: 1, answered; else 0. */
int consul_conflicts(struct consul_call *k);
int consul_dc_is(struct consul_call *k, struct slice name); /* of a body; empty: this one */
/* 1 when the parameter is there, whatever its value. */
int consul_flag(struct http_req *r, const char *name);
/* As Go's strconv.ParseUint: its text, 500. *out stays when the parameter is not there. */
int consul_u64(struct http_req *r, const char *name, uint64_t *out);

/* --- reading (read.c) --- */

struct consul_read;
/* Fills out (empty) and sets index, status and, when it is not JSON, content_type. 0, or an error
 * of the view. */
typedef int (*consul_render_fn)(struct consul_read *g, struct view *v, struct buf *out);

struct consul_read {
    struct http_req *r;
    struct consul *c;
    consul_render_fn render;
    void *data; /* the endpoint's own, in the request's memory */
    struct key_range *ranges;
    size_t n_ranges;
    int is_plain;               /* no index: the agent's answers */
    int is_exact;               /* the index is no order: wait while it is the one asked for */
    int is_hash;                /* of a plain one: its index is a digest, told as such */
    const struct identity *who; /* while render runs */
    int is_filtered;            /* render left out what the caller may not see */
    struct filter *filter;      /* ?filter=; NULL: none */
    /* set by render */
    uint64_t index;
    int status;
    int is_raw;               /* bytes of a client as they are: no page may act on them */
    const char *content_type; /* NULL: JSON, or nothing when the body is empty */
    /* private */
    enum { CREAD_GATE, CREAD_HOLD, CREAD_PARKED, CREAD_ENDING } state;
    struct consul_params p;
    int64_t deadline_at, hold_until;
    struct core_read gate;
    struct sub sub;
    struct worker_timer timer;
};

/* Whether the caller may read that; what he may not is left out. */
int consul_sees(struct consul_read *g, enum access_kind kind, struct slice name);
int consul_sees_check(struct consul_read *g, const struct check_name *n,
                      const struct check_row *row);
/* NULL: a parameter was wrong, which is answered. */
struct consul_read *consul_read_new(struct consul_call *k);
void consul_read_start(struct consul_read *g, consul_render_fn render);
/* What the client asked for, as Consul calls it. */
const char *consul_read_level(const struct consul_read *g);
/* The headers of an answer at that index; whoever renders by consul_read_start need not care. */
void consul_read_headers(struct consul_read *g, uint64_t index);

/* --- writing (write.c) --- */

struct consul_write;
typedef void (*consul_written_fn)(struct consul_write *w); /* w->cw.result and detail are there */

struct consul_write {
    struct core_write cw;
    struct http_req *r;
    struct consul *c;
    consul_written_fn written;
    void *data;
    /* private */
    struct op *ops;
    size_t n;
    int wants_rows, is_holding;
    int64_t hold_until;
    struct worker_timer timer;
};

/* One transaction of n operations, whose slices live as long as the request. What it came to,
 * refusals too, is told to `written`; what kept it from being done is answered. wants_rows: the
 * detail has the rows that were written, too. */
void consul_write(struct consul_call *k, const struct op *ops, size_t n, int wants_rows,
                  consul_written_fn written, void *data);

/* --- bodies (params.c) --- */

struct body_table;
/* 0, or the error was answered. */
int consul_body(struct http_req *r, const struct body_table *table, void *out);
/* The same of an array: the table has one member that takes it, BODY_OBJECTS. */
int consul_body_list(struct http_req *r, const struct body_table *table, void *out);
/* A copy that lives as long as the request, and a NUL behind it. */
struct slice consul_keep(struct http_req *r, struct slice s);

/* --- snapshots (snapshot.c): their mount --- */

int consul_snapshot_permit(struct http_req *r, void *arg, struct err *e);
void consul_snapshot_refuse(struct http_req *r, void *arg, int code, const char *text);

/* Whether config entries of that kind are kept (config.c). */
int consul_config_is_kind(struct slice kind);

/* --- how the cluster is (status.c) --- */

struct consul_status {
    struct core_admin a;
    struct http_req *r;
    struct consul *c;
    struct replica_status status;
};
/* done gets &consul_status.a.q. */
void consul_ask_status(struct consul_call *k, void (*done)(struct core_request *q));

int consul_is_well(const struct replica_member_status *m);
struct consul_tally {
    int is_all;    /* members are well */
    int tolerance; /* so many voters may still go */
};
void consul_tally(const struct replica_status *s, struct consul_tally *out);

/* The members of a KV entry, in order, into an open object. */
void consul_kv_entry(struct jw *w, struct slice key, const struct user_row *row);
