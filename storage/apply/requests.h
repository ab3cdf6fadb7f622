/* SPDX-License-Identifier: Apache-2.0 */
/* The request ids of the last commands, so that a repeated write changes nothing and answers what
 * the first one did.
 *
 * The rows (log index -> id, result) are appended to DB_REQUESTS and the oldest taken away; the way
 * from an id to its row is a hash table in memory, built at open: random ids in a tree would touch
 * a page each. */
#pragma once

#include "storage/meta.h"

enum { REQUEST_ID_SIZE = 16 };

struct requests {
    struct request_slot {
        uint8_t id[REQUEST_ID_SIZE];
        mu_index index; /* 0 = free */
    } * slots;
    size_t cap; /* power of two, or 0 */
    size_t n;
    uint64_t limit;
};

void requests_init(struct requests *q, uint64_t limit);
void requests_fini(struct requests *q);
int requests_load(struct requests *q, struct db_txn *t); /* CORRUPT, IO */
/* NOT_FOUND, or 0 and the result of the first command with that id. */
int requests_find(struct requests *q, struct db_txn *t, const uint8_t id[REQUEST_ID_SIZE],
                  struct command_result *out);
void requests_add(struct requests *q, struct db_txn *t, struct meta *m,
                  const uint8_t id[REQUEST_ID_SIZE], mu_index index,
                  const struct command_result *r);
