/* SPDX-License-Identifier: Apache-2.0 */
/* state.bin of a snapshot: a header {LastIndex}, then records of one byte that says what it is and
 * a MessagePack value. Numbers: Consul's structs.MessageType, which are never used again. */
#pragma once

#include "base/err.h"
#include "server/consul/msgpack.h"

enum state_type {
    STATE_REGISTER = 0, /* a node, with a service or a check of it */
    STATE_KEY = 2,
    STATE_SESSION = 3,
    STATE_COORDINATES = 6,
    STATE_QUERY = 7,
    STATE_AUTOPILOT = 9,
    STATE_INDEX = 16,
    STATE_TOKEN = 17,
    STATE_POLICY = 19,
    STATE_CONFIG = 22,
    STATE_ROLE = 23,
};

/* What becomes of records of a type when they are read. */
enum state_use {
    STATE_UNKNOWN,
    STATE_TAKEN,
    STATE_OWN,    /* indexes, tombstones, ...: everybody counts his own */
    STATE_PASSED, /* what is not here: intentions, authorities, ... */
};
enum state_use state_use(uint8_t type);
const char *state_name(uint8_t type); /* "register"; "" for one that is not known */

struct state_record {
    uint8_t type;
    struct slice value; /* whole */
};

struct statefile {
    struct slice rest;
    size_t n; /* records so far */
};

/* Reads the header. 0, or FORMAT with a sentence. */
int statefile_begin(struct statefile *s, struct slice bytes, uint64_t *out_last_index,
                    struct err *e);
/* 1 and the next record, 0 at the end; FORMAT with a sentence. */
int statefile_next(struct statefile *s, struct state_record *out, struct err *e);

void statefile_put_header(struct buf *out, uint64_t last_index);
