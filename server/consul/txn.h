/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of transactions: what was asked for. */
#pragma once

#include "server/consul/consul_impl.h"
#include "storage/command/command.h"

enum { TXN_WHAT_MAX = 512 };

enum txn_space { TXN_KV, TXN_NODE, TXN_SERVICE, TXN_CHECK };

struct txn_verb {
    enum txn_space space;
    const char *name;
    enum op_type type;
    int is_told; /* its row stands in the answer */
};

/* All in the request's memory. */
struct txn {
    struct consul_call *k;
    size_t n;
    struct op *ops;
    const struct txn_verb **verbs; /* NULL: of an operation with a fault */
    enum txn_space *spaces;
    const char **faults; /* why an operation cannot be tried; NULL: nothing is wrong */
};

/* (txn_body.c) 0, or what was wrong with the whole was answered. */
int txn_read(struct txn *t);

/* (txn_answer.c) `Results` and `Errors`. */
void txn_answer(const struct txn *t, struct consul_write *x);
/* The answer to no operation at all. */
void txn_answer_nothing(const struct txn *t);
/* The answer when there is a fault: 1, or 0 and nothing was answered. */
int txn_answer_faults(const struct txn *t);
