/* SPDX-License-Identifier: Apache-2.0 */
/* What a record of a snapshot is here: operations, checked as if a client had asked for them. Reads
 * what Consul writes and what export.h adds. */
#pragma once

#include "base/err.h"
#include "server/consul/statefile.h"
#include "storage/command/command.h"
#include "storage/view.h"

/* A record of the store that a record of the snapshot becomes. `claim` (kind and name; empty when
 * there is none) is the record by which it is found by its name or secret: its body is `name`. */
struct import_doc {
    struct slice kind, name, body, claim_kind, claim;
};

struct imported {
    /* STATE_REGISTER */
    struct op_node node;
    int is_member, has_service, has_check; /* is_member: of the cluster it was saved from */
    struct op_service service;
    struct op_check check;
    struct op_session session; /* STATE_SESSION */
    struct op_key key;         /* STATE_KEY; session: who holds it */
    struct import_doc *docs;   /* all others */
    size_t n_docs;
};

struct import {
    void *(*alloc)(void *arg, size_t size); /* what is given lives as long as that */
    void *arg;
    struct view *v; /* NULL: tokens and roles are read without their links */
};

enum { IMPORT_PASSED = 1, IMPORT_RECORD_MAX = 1024 * 1024 };

/* 0; IMPORT_PASSED: muster has nothing of the kind; an error with a sentence. Slices may borrow
 * from the record. */
int import_record(const struct import *m, const struct state_record *r, struct imported *out,
                  struct err *e);
