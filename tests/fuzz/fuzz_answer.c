/* SPDX-License-Identifier: Apache-2.0 */
/* The client's own reader of JSON beside jansson: both take the same texts and see the same in
 * them. It takes a little more: numbers that jansson finds too large. */
#include <jansson.h>

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "client/json.h"

static bool same(const struct cjson *v, json_t *j);

static bool same_items(const struct cjson *v, json_t *j)
{
    size_t i;
    json_t *item;
    const struct cjson *at = cjson_first(v);
    json_array_foreach (j, i, item) {
        if (at == NULL || !same(at, item)) {
            return false;
        }
        at = cjson_next(at);
    }
    return at == NULL && cjson_count(v) == json_array_size(j);
}

static bool same_members(const struct cjson *v, json_t *j)
{
    size_t n = 0;
    for (const struct cjson *at = cjson_first(v); at != NULL; at = cjson_next(at)) {
        json_t *item = json_object_get(j, cjson_name(at));
        if (item == NULL || !same(at, item) || cjson_get(v, cjson_name(at)) != at) {
            return false;
        }
        n++;
    }
    return n == json_object_size(j) && n == cjson_count(v);
}

static bool same_number(const struct cjson *v, json_t *j)
{
    double d = 0, want = json_number_value(j);
    if (json_is_integer(j)) {
        return cjson_int(v) == json_integer_value(j);
    }
    /* Not exact to the last bit: only a weight is ever read from it. Nor near the smallest. */
    return cjson_number(v, &d) && (fabs(d - want) <= fabs(want) * 1e-9 || fabs(want) < 1e-290);
}

static bool same(const struct cjson *v, json_t *j)
{
    size_t len = 0;
    const char *p = cjson_bytes(v, &len);
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return !cjson_is_array(v) && same_members(v, j);
    case JSON_ARRAY:
        return cjson_is_array(v) && same_items(v, j);
    case JSON_STRING:
        return p != NULL && len == json_string_length(j) && p[len] == '\0' &&
               memcmp(p, json_string_value(j), len) == 0;
    case JSON_INTEGER:
    case JSON_REAL:
        return same_number(v, j);
    case JSON_TRUE:
        return cjson_is_true(v);
    case JSON_FALSE:
        return cjson_is_false(v);
    default:
        return p == NULL && cjson_count(v) == 0 && !cjson_is_true(v) && !cjson_is_false(v);
    }
}

static unsigned depth(json_t *j)
{
    unsigned max = 0, d = 0;
    size_t i;
    const char *name;
    json_t *item;
    json_array_foreach (j, i, item) {
        d = depth(item);
        max = d > max ? d : max;
    }
    json_object_foreach (j, name, item) {
        d = depth(item);
        max = d > max ? d : max;
    }
    return max + 1;
}

/* What jansson refuses and we take, by a rule of its own. */
static bool may_differ(const json_error_t *e)
{
    enum json_error_code code = json_error_code(e);
    return code == json_error_numeric_overflow || code == json_error_duplicate_key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cjson_doc *doc = NULL;
    json_error_t e;
    if (len > 65536) {
        return 0;
    }
    json_set_alloc_funcs(mem_alloc, mem_free);
    muster_status rc = cjson_parse((const char *)data, len, &doc);
    if (rc == MUSTER_NO_MEMORY) {
        return 0;
    }
    json_t *j = json_loadb((const char *)data, len,
                           JSON_ALLOW_NUL | JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &e);
    if (rc == MUSTER_OK && j != NULL) {
        MU_INVARIANT(same(cjson_root(doc), j));
    } else if (rc == MUSTER_OK) {
        MU_INVARIANT(may_differ(&e));
    } else {
        MU_INVARIANT(rc == MUSTER_INVALID && doc == NULL);
        /* jansson overlooks a NUL behind a number or a word. */
        MU_INVARIANT(j == NULL || depth(j) > CJSON_DEPTH_MAX || memchr(data, '\0', len) != NULL);
    }
    json_decref(j);
    cjson_free(doc);
    return 0;
}
