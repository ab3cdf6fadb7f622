/* SPDX-License-Identifier: Apache-2.0 */
/* The typed rows of the key space and their codec. All slices borrow from the bytes they were
 * decoded from. Stored format: docs/formats.md#rows. Encoders write a version byte first; decoders
 * refuse newer versions. */
#pragma once

#include "base/buf.h"

/* What every row carries. */
struct row_meta {
    mu_rev create_rev;
    uint32_t create_sub; /* place among the changes of that revision */
    mu_rev mod_rev;
    uint32_t mod_sub;  /* place among the changes of that revision */
    uint64_t version;  /* 1 for the first since creation */
    mu_lease_id lease; /* 0 = none */
    mu_rev prev_rev;   /* the version before this one, 0 = none kept */
    uint32_t prev_sub;
    int64_t time_ms; /* wall clock of the proposing leader */
    int is_deleted;  /* tombstone */
};

struct config_row {
    struct row_meta meta;
    struct slice content;
    struct slice content_type;
    struct slice description;
    struct slice tags; /* comma-separated */
    struct slice author;
    struct slice comment;
    uint8_t digest[32]; /* sha256 of content */
};

struct service_row {
    struct row_meta meta;
    uint32_t n_instances;
    uint32_t n_healthy; /* healthy and enabled */
    mu_rev def_rev;     /* last change of which instances there are, or of how one is described:
                           not of their health */
};

enum check_type { CHECK_NONE, CHECK_HTTP, CHECK_TCP, CHECK_TYPE_N };

struct check_spec {
    enum check_type type;
    struct slice target; /* URL, or host:port */
    struct slice method; /* HTTP only */
    int64_t interval_ms;
    int64_t timeout_ms;
    uint32_t failures;  /* consecutive, to become unhealthy */
    uint32_t successes; /* consecutive, to become healthy */
};

enum { REMOVE_NEVER = -1 };
enum { INSTANCE_LIST_MAX = 256 * 1024, INSTANCE_OUTPUT_MAX = 512, ROW_META_SIZE = 62 };

struct instance_row {
    struct row_meta meta;
    struct slice address;
    uint16_t port;
    double weight;
    int is_enabled;
    int is_healthy;
    int owns_lease;          /* the lease was made for this instance (ttl) and ends with it */
    int64_t ttl_ms;          /* of the owned lease; 0 = none */
    int64_t remove_after_ms; /* after becoming unhealthy; REMOVE_NEVER */
    int64_t unhealthy_at;    /* wall clock when it became unhealthy; 0 while healthy */
    struct slice tags;       /* count u16, then wire_bytes each: tags_begin; may be empty */
    struct slice
        metadata; /* count u16, then key and value wire_bytes each: metadata_begin; may be empty */
    struct check_spec check;
    struct slice output; /* of the last change of the check, at most 512 bytes */

    /* What the catalog adds; all empty for an instance that was registered without a node. */
    int is_node_address;     /* `address` is that of its node, and changes with it */
    struct slice node;       /* the node of the catalog it stands on */
    struct slice service_id; /* its id there */
    struct slice extra;      /* JSON object of a face: what only that face says (tagged addresses,
                                weights, maintenance reason, ...); opaque here */
    mu_rev def_rev;          /* last change of how it is described. The row is also written anew
                                when one of its checks or its node changes, so meta.mod_rev moves with
                                everything that a reader of its health sees */
    uint32_t n_checks, n_warning, n_critical; /* rows of its own checks, by status */
    uint32_t n_node_critical;                 /* critical checks of its node */
};

/* A user key. The etcd face sees value, lease and revisions; the Consul face the rest, too. */
struct user_row {
    struct row_meta meta;
    struct slice value;
    struct slice session; /* id of the session that holds it, or empty */
    uint64_t flags, lock_index;
    int64_t delay_until_ms; /* wall time before which no other session gets the lock; 0 = none. Also
                               in a tombstone */
};

enum session_behavior { SESSION_RELEASE, SESSION_DELETE };

/* A session owns a lease (meta.lease), which ends with it and on which the keys hang that it holds;
 * without a ttl that lease never runs out. */
struct session_row {
    struct row_meta meta;
    struct slice name, node;
    enum session_behavior behavior;
    uint64_t lock_delay_ns;
    int64_t ttl_ms;              /* as asked; the lease runs for twice as long. 0 = none */
    struct slice ttl_text;       /* as it was written */
    struct slice node_checks;    /* list of check ids (tags_begin) */
    struct slice service_checks; /* list of check ids (tags_begin) */
};

struct node_row {
    struct row_meta meta;
    struct slice id; /* UUID text or empty */
    struct slice address;
    struct slice tagged;   /* pairs (metadata_begin) */
    struct slice metadata; /* pairs */
    int is_member;         /* a node of this cluster */
};

/* Where an instance stands: names its row. Written anew whenever the instance's description
 * changes. */
struct place_row {
    struct row_meta meta;
    struct slice ns, group, service, cluster, id;
    int is_agent; /* registered with the cluster's own agent: moves when its node dies */
};

enum check_status { CHECK_PASSING, CHECK_WARNING, CHECK_CRITICAL };
enum check_kind {
    CHECK_KIND_NONE, /* somebody else says what its status is */
    CHECK_KIND_TTL,
    CHECK_KIND_HTTP,
    CHECK_KIND_TCP,
    CHECK_KIND_UDP,
    CHECK_KIND_GRPC,
    CHECK_KIND_H2PING,
    CHECK_KIND_ALIAS,
    CHECK_KIND_TLS, /* TCP, and a handshake */
    CHECK_KIND_N
};

/* How a node runs it. */
struct check_run {
    enum check_kind kind;
    struct slice target; /* URL, host:port, or host:port/service; alias: node */
    struct slice alias_service;
    struct slice method, body, server_name;
    struct slice headers; /* pairs; a name may come several times */
    int64_t interval_ms, timeout_ms;
    uint32_t passes_needed, failures_to_warn, failures_to_fail; /* in a row; 0 counts as 1 */
    uint32_t output_max;                                        /* 0 = 4,096 */
    int use_tls, skip_verify, no_redirects;
};

/* meta.lease: of a TTL check, made for it. */
struct check_row {
    struct row_meta meta;
    struct slice name, notes, output, service_name;
    struct slice type_name;  /* "ttl", "http", ... as it is shown */
    struct slice definition; /* JSON of the face, shown again; opaque here */
    enum check_status status;
    struct check_run run;
    int64_t ttl_ms;
    int64_t remove_after_ms; /* critical for so long: its service goes; REMOVE_NEVER */
    int64_t critical_at;     /* wall clock since when it is critical; 0 */
    int is_agent;            /* run by the cluster */
};

/* A document of a face. */
struct record_row {
    struct row_meta meta;
    struct slice body;
};

enum {
    CHECK_OUTPUT_MAX = 4096,
    CHECK_TEXT_MAX = 64 * 1024,
    USER_VALUE_MAX = 8 * 1024 * 1024,
    RECORD_MAX = 1024 * 1024,
    SESSION_ID_SIZE = 36,
};

void row_meta_encode(struct buf *out, const struct row_meta *m);
/* The meta of any row, without looking at the rest. */
int row_meta_decode(struct slice s, struct row_meta *out);
void config_row_encode(struct buf *out, const struct config_row *r);
int config_row_decode(struct slice s, struct config_row *out);
/* From the first bytes of a row of row_len bytes: all but the content, of which only the length is
 * told (p is NULL) unless all bytes are there. FORMAT also when the head is too short. */
int config_row_decode_head(struct slice head, size_t row_len, struct config_row *out);
void service_row_encode(struct buf *out, const struct service_row *r);
int service_row_decode(struct slice s, struct service_row *out);
void instance_row_encode(struct buf *out, const struct instance_row *r);
int instance_row_decode(struct slice s, struct instance_row *out);
void user_row_encode(struct buf *out, const struct user_row *r);
int user_row_decode(struct slice s, struct user_row *out);
void session_row_encode(struct buf *out, const struct session_row *r);
int session_row_decode(struct slice s, struct session_row *out);
void node_row_encode(struct buf *out, const struct node_row *r);
int node_row_decode(struct slice s, struct node_row *out);
void place_row_encode(struct buf *out, const struct place_row *r);
int place_row_decode(struct slice s, struct place_row *out);
void check_row_encode(struct buf *out, const struct check_row *r);
int check_row_decode(struct slice s, struct check_row *out);
void record_row_encode(struct buf *out, const struct record_row *r);
int record_row_decode(struct slice s, struct record_row *out);
/* A session, an instance, a node, a check without what apply counts, as commands carry it. Decoding
 * reports by r->failed. */
struct wire_reader;
void session_body_encode(struct buf *out, const struct session_row *r);
void session_body_decode(struct wire_reader *r, struct session_row *out);
void instance_body_encode(struct buf *out, const struct instance_row *r);
void instance_body_decode(struct wire_reader *r, struct instance_row *out);
void node_body_encode(struct buf *out, const struct node_row *r);
void node_body_decode(struct wire_reader *r, struct node_row *out);
void check_body_encode(struct buf *out, const struct check_row *r);
void check_body_decode(struct wire_reader *r, struct check_row *out);

/* Lists inside rows: build with wire_put_u16(count), then wire_put_bytes for each string; read with
 * an iterator. */
struct pair_iter {
    struct slice rest;
    unsigned left;
};
void tags_begin(struct pair_iter *it, struct slice tags);
int tags_next(struct pair_iter *it, struct slice *out_tag); /* 1 while there is one */
int tags_has(struct slice tags, struct slice tag);
void metadata_begin(struct pair_iter *it, struct slice metadata);
int metadata_next(struct pair_iter *it, struct slice *out_key, struct slice *out_value);

struct lease_row {
    mu_lease_id id;
    int64_t ttl_ms;
    uint64_t generation;     /* moves whenever the lease is made, revived or goes overdue */
    int64_t remaining_ms;    /* checkpointed rest; ttl_ms when none was written */
    int is_overdue;          /* ttl passed; its instances are unhealthy; waits for removal */
    int64_t remove_after_ms; /* after overdue: 0 = ends at the ttl; REMOVE_NEVER */
    int is_owned;            /* belongs to one instance and goes with it */
};

void lease_row_encode(struct buf *out, const struct lease_row *r);
int lease_row_decode(struct slice s, struct lease_row *out);
