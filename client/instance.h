/* SPDX-License-Identifier: Apache-2.0 */
/* Instances as values: read from and written as JSON, and lists of them that never change, so that
 * many may look at one. */
#pragma once

#include <stdatomic.h>

#include "client/cbuf.h"
#include "client/include/muster.h"
#include "client/pick.h"

struct cjson;

enum { INSTANCES_MAX = 100000 }; /* of one service */

/* One instance and everything it points to, counted. */
struct inst {
    atomic_uint refs;
    uint64_t hash; /* of cluster and id */
    struct muster_instance i;
    char text[];
};

/* Ordered by cluster and id. */
struct inst_list {
    atomic_uint refs;
    uint64_t revision;
    bool from_disk;
    size_t n;
    struct inst *v[];
};

/* Gives an instance made of the server's document. MUSTER_INVALID, MUSTER_NO_MEMORY. */
muster_status inst_parse(const struct cjson *doc, struct inst **out);
struct inst *inst_ref(struct inst *i);
void inst_unref(struct inst *i); /* NULL allowed */

/* Gives the list of {"instances":[...]}. MUSTER_INVALID, MUSTER_NO_MEMORY. */
muster_status inst_list_parse(const char *json, size_t len, struct inst_list **out);
struct inst_list *inst_list_ref(struct inst_list *l);
void inst_list_unref(struct inst_list *l); /* NULL allowed */
/* A new list with `i` (borrowed) in it, or instead of the one of its name; NULL: no memory, or too
 * many. */
struct inst_list *inst_list_with(const struct inst_list *l, struct inst *i);
/* A new list without the one of that name. */
struct inst_list *inst_list_without(const struct inst_list *l, const char *cluster, const char *id);

/* {"instances":[...]} as inst_list_parse reads it. */
void inst_list_json(struct cbuf *b, const struct inst_list *l);
/* The body of a registration. */
void instance_json(struct cbuf *b, const struct muster_instance *i);
muster_status instance_check(const struct muster_instance *i, struct muster_error *e);
