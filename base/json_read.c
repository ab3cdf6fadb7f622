/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_read.h"

#include <jansson.h>
#include <pthread.h>

#include "base/mem.h"
#include "base/text.h"

enum { DEPTH_MAX = 32 };

/* jansson allows 2,048 levels; we allow few, so that whoever walks the document need not care. */
static int depth_ok(struct slice s)
{
    int depth = 0, in_string = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = 0;
            }
        } else if (c == '"') {
            in_string = 1;
        } else if (c == '{' || c == '[') {
            if (++depth > DEPTH_MAX) {
                return 0;
            }
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return 1;
}

/* Without memory jansson gives another document than it was given, or calls it malformed. With our
 * memory the process ends there. */
static void use_mem(void)
{
    json_set_alloc_funcs(mem_alloc, mem_free);
}

int jr_parse(struct slice body, struct json_t **out, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    json_error_t je;
    (void)pthread_once(&once, use_mem);
    if (body.len == 0) {
        return err_set(e, MU_E_BAD_REQUEST, "the body is empty; a JSON document is expected");
    }
    if (!depth_ok(body)) {
        return err_set(e, MU_E_BAD_REQUEST, "the JSON document is nested deeper than %d levels",
                       DEPTH_MAX);
    }
    json_t *doc = json_loadb((const char *)body.p, body.len, JSON_REJECT_DUPLICATES, &je);
    if (doc == NULL) {
        return err_set(e, MU_E_BAD_REQUEST, "malformed JSON at line %d, column %d: %s", je.line,
                       je.column, je.text);
    }
    *out = doc;
    return 0;
}

void jr_free(struct json_t *doc)
{
    json_decref(doc);
}

void jr_begin(struct jr *r, struct json_t *obj, struct err *e)
{
    *r = (struct jr){.obj = obj, .err = e};
    if (!json_is_object(obj)) {
        r->obj = NULL;
        if (e->code == 0) {
            err_set(e, MU_E_BAD_REQUEST, "a JSON object is expected");
        }
    }
}

static int is_known(const struct jr *r, const char *key)
{
    for (unsigned i = 0; i < r->n_names; i++) {
        if (strcmp(r->names[i], key) == 0) {
            return 1;
        }
    }
    return 0;
}

static json_t *member(struct jr *r, const char *key)
{
    if (!is_known(r, key)) {
        MU_INVARIANT(r->n_names < N_ELEMENTS(r->names));
        r->names[r->n_names++] = key;
    }
    json_t *v = r->obj != NULL ? json_object_get(r->obj, key) : NULL;
    return v != NULL && !json_is_null(v) ? v : NULL;
}

static void complain(struct jr *r, const char *key, const char *what)
{
    if (r->err->code == 0) {
        err_set(r->err, MU_E_BAD_REQUEST, "\"%s\" %s", key, what);
    }
}

int jr_has(struct jr *r, const char *key)
{
    return member(r, key) != NULL;
}

int jr_is_null(struct jr *r, const char *key)
{
    return member(r, key) == NULL && r->obj != NULL && json_object_get(r->obj, key) != NULL;
}

struct slice jr_str(struct jr *r, const char *key, int required)
{
    json_t *v = member(r, key);
    if (v == NULL) {
        if (required && r->err->code == 0) {
            complain(r, key, "is missing");
            r->is_missing = 1;
        }
        return SLICE_LIT("");
    }
    if (!json_is_string(v)) {
        complain(r, key, "must be a string");
        return SLICE_LIT("");
    }
    return slice_of(json_string_value(v), json_string_length(v));
}

int64_t jr_int(struct jr *r, const char *key, int64_t dflt, int64_t min, int64_t max)
{
    json_t *v = member(r, key);
    if (v == NULL) {
        return dflt;
    }
    int64_t n = json_is_integer(v) ? (int64_t)json_integer_value(v) : 0;
    if (!json_is_integer(v) || n < min || n > max) {
        if (r->err->code == 0) {
            err_set(r->err, MU_E_BAD_REQUEST, "\"%s\" must be a whole number from %lld to %lld",
                    key, (long long)min, (long long)max);
        }
        return dflt;
    }
    return n;
}

double jr_num(struct jr *r, const char *key, double dflt, double min, double max)
{
    json_t *v = member(r, key);
    if (v == NULL) {
        return dflt;
    }
    double n = json_number_value(v);
    if (!json_is_number(v) || !(n >= min && n <= max)) {
        if (r->err->code == 0) {
            err_set(r->err, MU_E_BAD_REQUEST, "\"%s\" must be a number from %g to %g", key, min,
                    max);
        }
        return dflt;
    }
    return n;
}

int jr_bool(struct jr *r, const char *key, int dflt)
{
    json_t *v = member(r, key);
    if (v == NULL) {
        return dflt;
    }
    if (!json_is_boolean(v)) {
        complain(r, key, "must be true or false");
        return dflt;
    }
    return json_is_true(v);
}

int64_t jr_duration(struct jr *r, const char *key, int64_t dflt_ms, int64_t min_ms, int64_t max_ms)
{
    json_t *v = member(r, key);
    int64_t ms = -1;
    if (v == NULL) {
        return dflt_ms;
    }
    if (json_is_string(v)) {
        if (text_duration_ms(slice_of(json_string_value(v), json_string_length(v)), max_ms, &ms) !=
            0) {
            ms = -1;
        }
    } else if (json_is_number(v)) {
        double s = json_number_value(v);
        ms = s >= 0 && s * 1000 <= (double)max_ms ? (int64_t)(s * 1000) : -1;
    }
    if (ms < min_ms || ms > max_ms) {
        if (r->err->code == 0) {
            char lo[24], hi[24];
            text_format_duration(min_ms, lo);
            text_format_duration(max_ms, hi);
            err_set(r->err, MU_E_BAD_REQUEST,
                    "\"%s\" must be a duration from %s to %s, as in \"15s\"", key, lo, hi);
        }
        return dflt_ms;
    }
    return ms;
}

struct json_t *jr_arr(struct jr *r, const char *key, size_t max_items)
{
    json_t *v = member(r, key);
    if (v == NULL) {
        return NULL;
    }
    if (!json_is_array(v)) {
        complain(r, key, "must be an array");
        return NULL;
    }
    if (json_array_size(v) > max_items) {
        if (r->err->code == 0) {
            err_set(r->err, MU_E_BAD_REQUEST, "\"%s\" may have at most %zu items", key, max_items);
        }
        return NULL;
    }
    return v;
}

struct json_t *jr_obj(struct jr *r, const char *key)
{
    json_t *v = member(r, key);
    if (v != NULL && !json_is_object(v)) {
        complain(r, key, "must be an object");
        return NULL;
    }
    return v;
}

int jr_end(struct jr *r)
{
    const char *key;
    json_t *v;
    if ((r->err->code != 0 && !r->is_missing) || r->obj == NULL) {
        return r->err->code != 0 ? r->err->code : MU_E_BAD_REQUEST;
    }
    json_object_foreach (r->obj, key, v) {
        (void)v;
        if (is_known(r, key)) {
            continue;
        }
        const char *near = text_nearest(key, r->names, r->n_names);
        if (near != NULL) {
            return err_set(r->err, MU_E_BAD_REQUEST,
                           "unknown member \"%.64s\"; did you mean \"%s\"?", key, near);
        }
        return err_set(r->err, MU_E_BAD_REQUEST, "unknown member \"%.64s\"", key);
    }
    return r->err->code;
}

size_t jr_arr_len(const struct json_t *arr)
{
    return json_array_size(arr);
}

struct json_t *jr_arr_at(const struct json_t *arr, size_t i)
{
    return json_array_get(arr, i);
}

int jr_obj_has(const struct json_t *obj, struct slice key)
{
    return json_object_getn(obj, (const char *)key.p, key.len) != NULL;
}

int jr_is_str(const struct json_t *v, struct slice *out)
{
    if (!json_is_string(v)) {
        return 0;
    }
    *out = slice_of(json_string_value(v), json_string_length(v));
    return 1;
}

int jr_each_str(struct json_t *obj, int (*fn)(void *arg, struct slice key, struct slice value),
                void *arg, struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach (obj, key, v) {
        struct slice s = {0};
        if (!json_is_null(v) && !jr_is_str(v, &s)) {
            return err_set(e, MU_E_BAD_REQUEST, "the value of \"%.64s\" must be a string", key);
        }
        int rc = fn(arg, slice_str(key), s);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}
