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
/* An instance without its meta, as commands carry it. Decoding reports by r->failed. */
struct wire_reader;
void instance_body_encode(struct buf *out, const struct instance_row *r);
void instance_body_decode(struct wire_reader *r, struct instance_row *out);

/* Lists inside rows: build with wire_put_u16(count), then wire_put_bytes for each string; read with
 * an iterator. */
struct pair_iter {
    struct slice rest;
    unsigned left;
};
void tags_begin(struct pair_iter *it, struct slice tags);
int tags_next(struct pair_iter *it, struct slice *out_tag); /* 1 while there is one */
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
