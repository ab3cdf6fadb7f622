/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the JSON of answers and events into values that do not change.
 *
 * Its own reader, as it must outlive every failing allocation: all memory of a document is taken at
 * once, after it was checked from end to end. Depth, size and number of values are bounded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/include/muster.h"

enum { CJSON_DEPTH_MAX = 64, CJSON_VALUES_MAX = 4 * 1024 * 1024 };

struct cjson;     /* a value, borrowed from its document; NULL: there is none, as all below allow */
struct cjson_doc; /* opaque */

/* Gives a document. Copies what it needs of p. MUSTER_INVALID: not JSON (RFC 8259, UTF-8), or over
 * a bound. MUSTER_NO_MEMORY. */
muster_status cjson_parse(const char *p, size_t len, struct cjson_doc **out);
void cjson_free(struct cjson_doc *d);
const struct cjson *cjson_root(const struct cjson_doc *d); /* NULL when d is */

/* The first member of that name; NULL also when o is no object. */
const struct cjson *cjson_get(const struct cjson *o, const char *name);
/* The values of an array or object, in order. */
size_t cjson_count(const struct cjson *v);
const struct cjson *cjson_first(const struct cjson *v);
const struct cjson *cjson_next(const struct cjson *item);
const char *cjson_name(const struct cjson *member); /* "" in an array */

bool cjson_is_array(const struct cjson *v);
bool cjson_is_true(const struct cjson *v);
bool cjson_is_false(const struct cjson *v);
/* The bytes of a string, with a NUL behind them; NULL when v is none. */
const char *cjson_bytes(const struct cjson *v, size_t *out_len);
/* The same for a string without NULs in it; NULL for others. */
const char *cjson_text(const struct cjson *v);
/* A number without fraction or exponent; 0 for others. */
int64_t cjson_int(const struct cjson *v);
/* Any number; false when v is none. */
bool cjson_number(const struct cjson *v, double *out);
