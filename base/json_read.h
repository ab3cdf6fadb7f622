/* SPDX-License-Identifier: Apache-2.0 */
/* Strict reading of JSON bodies with jansson: depth and size bounded, duplicates refused, every
 * member named.
 *
 * A reader takes members one by one; jr_end() refuses those that nobody asked for, with a
 * suggestion. The first error sticks in `err`; later calls return 0 / empty. Results borrow from
 * the parsed document. */
#pragma once

#include "base/err.h"

struct json_t;

struct jr {
    struct json_t *obj;
    struct err *err;
    const char *names[32]; /* members that were asked for */
    unsigned n_names;
    int is_missing; /* the error is a missing member: an unknown one tells more */
};

/* Parse `body` (object or array). Gives a document to free with jr_free. MU_E_BAD_REQUEST with line
 * and column. */
int jr_parse(struct slice body, struct json_t **out, struct err *e);
void jr_free(struct json_t *doc);
/* Start reading object `obj`; an array or scalar sets the error. e collects the first error. */
void jr_begin(struct jr *r, struct json_t *obj, struct err *e);
int jr_has(struct jr *r, const char *key);                        /* present and not null */
struct slice jr_str(struct jr *r, const char *key, int required); /* "" when absent */
int64_t jr_int(struct jr *r, const char *key, int64_t dflt, int64_t min, int64_t max);
double jr_num(struct jr *r, const char *key, double dflt, double min, double max);
int jr_bool(struct jr *r, const char *key, int dflt);
int64_t jr_duration(struct jr *r, const char *key, int64_t dflt_ms, int64_t min_ms, int64_t max_ms);
struct json_t *jr_arr(struct jr *r, const char *key, size_t max_items); /* NULL when absent */
struct json_t *jr_obj(struct jr *r, const char *key);                   /* NULL when absent */
/* Present and null: in a merge patch, "take it away" (RFC 7396). */
int jr_is_null(struct jr *r, const char *key);
/* 0, or the first error; unknown members are an error here. */
int jr_end(struct jr *r);

/* Walk helpers so that rooms need not include jansson. */
size_t jr_arr_len(const struct json_t *arr);
struct json_t *jr_arr_at(const struct json_t *arr, size_t i);
int jr_obj_has(const struct json_t *obj, struct slice key); /* a member of that name, or null */
int jr_is_str(const struct json_t *v, struct slice *out);   /* 1 and the text when v is a string */
/* Members of a string-to-string object, in order; fn returns 0 to go on. A value that is no string
 * sets the error, but null is given to fn as a slice without bytes (p is NULL). */
int jr_each_str(struct json_t *obj, int (*fn)(void *arg, struct slice key, struct slice value),
                void *arg, struct err *e);
