/* SPDX-License-Identifier: Apache-2.0 */
/* Request bodies as Go's decoder takes them: names in any case, with or without underscores
 * (https://pkg.go.dev/encoding/json#Unmarshal; Consul's own aliases, and more of the same kind).
 *
 * A table says which members there are, of what kind they are and where in a struct they go. null
 * leaves a member as it is. Everything is copied into the memory that `alloc` gives. */
#pragma once

#include "base/buf.h"

struct json_t;

enum body_kind {
    BODY_STR,      /* struct slice */
    BODY_BOOL,     /* int */
    BODY_INT,      /* int64_t */
    BODY_U64,      /* uint64_t */
    BODY_DURATION, /* int64_t, ns: a Go duration, or a number of ns */
    BODY_STRS,     /* struct slice: a list as rows hold it (tags_begin) */
    BODY_PAIRS,    /* struct slice: string -> string, as rows hold it (metadata_begin) */
    BODY_HEADERS,  /* the same of string -> [string]; a name may come several times */
    BODY_PLACES,   /* struct slice: string -> {Address, Port}, as JSON in Consul's spelling */
    BODY_JSON,     /* struct slice: whatever it is, compact */
    BODY_OBJECT,   /* a struct in place */
    BODY_POINTER,  /* void *: a struct of its own; NULL when it was not given */
    BODY_OBJECTS,  /* struct body_items */
    BODY_SKIPPED,  /* taken and forgotten */
};

struct body_items {
    uint8_t *p; /* n structs of the table's size */
    size_t n;
};

struct body_field {
    const char *name; /* as Consul writes it */
    enum body_kind kind;
    size_t at;
    const struct body_table *table; /* BODY_OBJECT, BODY_POINTER, BODY_OBJECTS */
};

struct body_table {
    const char *type; /* for messages */
    size_t size;
    const struct body_field *fields;
    size_t n;
};

struct body {
    void *(*alloc)(void *arg, size_t size);
    void *arg;
    int ignores_unknown;
    size_t n_list;   /* set by body_read_list: the items there are, too many or not */
    char error[256]; /* in Go's words; empty: none */
};

enum { BODY_ITEMS_MAX = 128 };

/* `out` (table->size bytes) holds the defaults. 0 or BAD_REQUEST with the error. */
int body_read(struct body *b, struct slice text, const struct body_table *table, void *out);
/* The document is an array: what the table's first member takes. */
int body_read_list(struct body *b, struct slice text, const struct body_table *table, void *out);
