/* SPDX-License-Identifier: Apache-2.0 */
/* Which members the items have that a filter may speak of, and what can be asked of them. */
#pragma once

#include "server/consul/filter.h"

enum field_type {
    FIELD_STR,
    FIELD_BOOL,
    FIELD_INT,
    FIELD_STRS,
    FIELD_MAP,     /* string -> string */
    FIELD_STRUCT,  /* of */
    FIELD_STRUCTS, /* a list of them */
    FIELD_STRUCT_MAP,
};

struct field {
    const char *name;
    enum field_type type;
    const struct field_table *of;
};
struct field_table {
    const struct field *fields;
    size_t n;
};

enum match_op {
    MATCH_EQUAL,
    MATCH_NOT_EQUAL,
    MATCH_IN,
    MATCH_NOT_IN,
    MATCH_EMPTY,
    MATCH_NOT_EMPTY,
    MATCH_REGEX,
    MATCH_NOT_REGEX,
};

const struct field_table *filter_table(enum filter_kind kind);
const struct field *filter_field(const struct field_table *t, struct slice name); /* or NULL */
int filter_field_takes(enum field_type type, enum match_op op);
const char *filter_op_name(enum match_op op); /* in messages */
