/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between peers, as bytes in frames of the transport. Layout:
 * docs/formats.md#peer-messages.
 *
 * A decoded message borrows from the frame. Everything is bounded and checked here: what passes
 * message_decode may go into the engine. */
#pragma once

#include "base/buf.h"
#include "raft/wal.h"

enum message_type {
    MESSAGE_APPEND = 1,
    MESSAGE_APPEND_RESULT = 2,
    MESSAGE_VOTE = 3,
    MESSAGE_VOTE_RESULT = 4,
    MESSAGE_TIMEOUT_NOW = 5,
    MESSAGE_COMMIT = 6,  /* how far the leader has committed, when nothing else carries it */
    MESSAGE_CONFIRM = 7, /* are you still with me in this term? */
    MESSAGE_CONFIRM_ACK = 8,
    MESSAGE_READ_INDEX = 9, /* follower to leader: an index for a linearizable read */
    MESSAGE_READ_INDEX_RESULT = 10,
    MESSAGE_FORWARD = 11, /* follower to leader: proposals */
    MESSAGE_FORWARD_RESULT = 12,
    MESSAGE_MEMBERS = 13, /* leader to a node that has no configuration yet */
    MESSAGE_SNAPSHOT_BEGIN = 14,
    MESSAGE_SNAPSHOT_CHUNK = 15,
    MESSAGE_SNAPSHOT_ACK = 16,
    MESSAGE_REJOIN = 17, /* a node with a damaged log asks for a snapshot */
    MESSAGE_SERVER = 32, /* the server's own: one byte of type, then its bytes */
};

enum {
    MESSAGE_HEAD_MAX = 64,           /* longest fixed part */
    MESSAGE_ENTRY_HEAD = 13,         /* term, kind, length */
    MESSAGE_ENTRIES_MAX = 16 * 1024, /* in one APPEND */
    MESSAGE_ENTRY_MAX = 8 * 1024 * 1024,
    MESSAGE_ITEMS_MAX = 64 * 1024, /* in one FORWARD or FORWARD_RESULT */
    MESSAGE_CHUNK_MAX = 256 * 1024,
    MESSAGE_RESULT_MAX = 9 * 1024 * 1024,
};

struct message {
    enum message_type type;
    mu_term term; /* of the sender, where the message has one */
    union {
        struct {
            mu_index prev;
            mu_term prev_term;
            mu_index commit;
            size_t n;
            const struct wal_entry
                *entries; /* decoded: borrowed; to be sent: NULL, they are the log's */
        } append;
        struct {
            mu_index rejected; /* 0 = accepted */
            mu_index last;
        } append_result;
        struct {
            mu_index last;
            mu_term last_term;
            int is_disrupt, is_pre;
        } vote;
        struct {
            int is_granted, is_pre;
        } vote_result;
        struct {
            mu_index last;
            mu_term last_term;
        } timeout_now;
        struct {
            mu_index index;
        } commit;
        struct {
            uint64_t round;
        } confirm; /* and its ack */
        struct {
            uint64_t seq;
            int is_leader_only;
        } read_index;
        struct {
            uint64_t seq;
            mu_index index;
            int code;
        } read_index_result;
        struct {
            uint64_t run; /* of the follower's process; comes back in the result */
            size_t n;
            struct slice items;
        } forward; /* and its result */
        struct {
            struct slice conf;
        } members;
        struct {
            uint64_t id; /* of the transfer */
            mu_index index;
            mu_term index_term;
            uint64_t size;
            int is_rejoin;
        } snapshot_begin;
        struct {
            uint64_t id, offset;
            uint32_t crc;
            struct slice data;
        } snapshot_chunk;
        struct {
            uint64_t id, offset; /* received up to here */
            int code;            /* 0 go on; else the transfer is over */
        } snapshot_ack;
    };
};

/* Place for decoded entries, kept between calls. */
struct message_scratch {
    struct wal_entry *entries;
    size_t cap;
};
void message_scratch_fini(struct message_scratch *s);

/* 0 or MU_E_FORMAT. MESSAGE_SERVER and unknown types are MU_E_FORMAT too. */
int message_decode(uint8_t type, struct slice body, struct message_scratch *s, struct message *out);
/* The fixed part; out holds MESSAGE_HEAD_MAX bytes. What follows in the frame is the caller's: for
 * APPEND the heads of all entries, then all their data; for FORWARD and results the items; for
 * MEMBERS the configuration; for CHUNK the data. Returns the length. */
size_t message_encode(const struct message *m, uint8_t *out);
void message_put_entry_head(uint8_t *out, const struct wal_entry *e);

/* Items of FORWARD: appended one by one, read one by one. next returns 1 and an item, or 0 at the
 * end (message_decode has checked them all). */
struct message_forward_item {
    uint64_t seq;
    uint32_t wait_ms;
    struct slice data;
};
void message_put_forward(struct buf *b, const struct message_forward_item *i);
int message_next_forward(struct slice *items, struct message_forward_item *out);

struct message_result_item {
    uint64_t seq;
    int code;
    struct slice data; /* at most MESSAGE_RESULT_MAX */
};
void message_put_result(struct buf *b, const struct message_result_item *i);
int message_next_result(struct slice *items, struct message_result_item *out);
