/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside server/consul: the endpoint table, parameters, and the two flows every endpoint is
 * made of.
 *
 * A read: consul_read_new -> gate -> render(view) -> answer, or park on the hub until the index
 * passes the one that was asked for. A write: operations -> consul_write -> answer. */
#pragma once

#include "base/json_write.h"
#include "server/consul/consul.h"
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

struct consul {
    struct core *core;
    char datacenter[64];
    struct http_mount mount;
};

/* A request on its way through the face. */
struct consul_call {
    struct http_req *r;
    struct consul *c;
    struct slice rest; /* of the path behind the endpoint's prefix, decoded: any bytes */
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

/* --- parameters (params.c); 0, or the error was answered --- */

/* ?dc=, ?index= and ?wait=, the consistency: what every read takes. */
struct consul_params {
    enum consistency level;
    uint64_t index;  /* 0: do not wait */
    int64_t wait_ms; /* with the random part */
};
int consul_params(struct consul_call *k, struct consul_params *out);
int consul_dc(struct consul_call *k);
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
    int is_plain; /* no index: the agent's answers */
    /* set by render */
    uint64_t index;
    int status;
    const char *content_type; /* NULL: JSON, or nothing when the body is empty */
    /* private */
    enum { CREAD_GATE, CREAD_HOLD, CREAD_PARKED, CREAD_ENDING } state;
    struct consul_params p;
    int64_t deadline_at, hold_until;
    struct core_read gate;
    struct sub sub;
    struct worker_timer timer;
};

/* NULL: a parameter was wrong, which is answered. */
struct consul_read *consul_read_new(struct consul_call *k);
void consul_read_start(struct consul_read *g, consul_render_fn render);

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

/* --- bodies (agent.c) --- */

struct body_table;
/* 0, or the error was answered. */
int consul_body(struct http_req *r, const struct body_table *table, void *out);
struct slice consul_keep(struct http_req *r, struct slice s); /* lives as long as the request */

/* --- how the cluster is (status.c) --- */

struct consul_status {
    struct core_admin a;
    struct http_req *r;
    struct consul *c;
    struct replica_status status;
};
/* done gets &consul_status.a.q. */
void consul_ask_status(struct consul_call *k, void (*done)(struct core_request *q));

/* --- endpoints, by file --- */

void consul_kv_get(struct consul_call *k);
void consul_kv_put(struct consul_call *k);
void consul_kv_delete(struct consul_call *k);
/* The members of a KV entry, in order, into an open object. */
void consul_kv_entry(struct jw *w, struct slice key, const struct user_row *row);
void consul_txn(struct consul_call *k);
void consul_status_leader(struct consul_call *k);
void consul_status_peers(struct consul_call *k);

void consul_agent_register(struct consul_call *k);
void consul_agent_deregister(struct consul_call *k);
void consul_agent_check_register(struct consul_call *k);
void consul_agent_check_deregister(struct consul_call *k);
void consul_agent_check_pass(struct consul_call *k);
void consul_agent_check_warn(struct consul_call *k);
void consul_agent_check_fail(struct consul_call *k);
void consul_agent_check_update(struct consul_call *k);
void consul_agent_maintenance(struct consul_call *k);
void consul_agent_service_maintenance(struct consul_call *k);
void consul_agent_services(struct consul_call *k);
void consul_agent_checks(struct consul_call *k);
void consul_agent_service(struct consul_call *k);
void consul_agent_health_name(struct consul_call *k);
void consul_agent_health_id(struct consul_call *k);

void consul_catalog_datacenters(struct consul_call *k);
void consul_catalog_nodes(struct consul_call *k);
void consul_catalog_services(struct consul_call *k);
void consul_catalog_service(struct consul_call *k);
void consul_catalog_node(struct consul_call *k);
void consul_catalog_node_services(struct consul_call *k);
void consul_catalog_register(struct consul_call *k);
void consul_catalog_deregister(struct consul_call *k);
void consul_health_service(struct consul_call *k);
void consul_health_checks(struct consul_call *k);
void consul_health_node(struct consul_call *k);
void consul_health_state(struct consul_call *k);

void consul_session_create(struct consul_call *k);
void consul_session_destroy(struct consul_call *k);
void consul_session_renew(struct consul_call *k);
void consul_session_info(struct consul_call *k);
void consul_session_node(struct consul_call *k);
void consul_session_list(struct consul_call *k);

void consul_agent_self(struct consul_call *k);
void consul_agent_members(struct consul_call *k);
void consul_agent_version(struct consul_call *k);
void consul_operator_raft(struct consul_call *k);
void consul_coordinate_nodes(struct consul_call *k);
