/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/body.h"

#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json_read.h"
#include "base/json_write.h"
#include "base/wire.h"
#include "server/consul/text.h"

/* --- errors --- */

static int fail(struct body *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct body *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(b->error, sizeof(b->error), fmt, ap);
    va_end(ap);
    return MU_E_BAD_REQUEST;
}

static int bad_type(struct body *b, const json_t *v, const struct body_field *f, const char *type)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "object",  [JSON_ARRAY] = "array", [JSON_STRING] = "string",
        [JSON_INTEGER] = "number", [JSON_REAL] = "number", [JSON_TRUE] = "bool",
        [JSON_FALSE] = "bool",     [JSON_NULL] = "null"};
    return fail(b, "json: cannot unmarshal %s into Go struct field .%s of type %s",
                names[json_typeof(v)], f->name, type);
}

/* --- values --- */

static struct slice keep(struct body *b, struct slice s)
{
    uint8_t *p = b->alloc(b->arg, s.len + 1);
    if (s.len > 0) {
        memcpy(p, s.p, s.len);
    }
    p[s.len] = '\0';
    return slice_of(p, s.len);
}

static struct slice keep_buf(struct body *b, struct buf *x)
{
    struct slice s = keep(b, buf_slice(x));
    buf_fini(x);
    return s;
}

static struct slice text_of(const json_t *v)
{
    return slice_of(json_string_value(v), json_string_length(v));
}

static int take_str(struct body *b, const json_t *v, const struct body_field *f, struct slice *out)
{
    if (!json_is_string(v)) {
        return bad_type(b, v, f, "string");
    }
    *out = keep(b, text_of(v));
    return 0;
}

static int take_int(struct body *b, const json_t *v, const struct body_field *f, int64_t *out)
{
    if (!json_is_integer(v)) {
        return bad_type(b, v, f, "int");
    }
    *out = json_integer_value(v);
    return 0;
}

static int take_u64(struct body *b, const json_t *v, const struct body_field *f, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return bad_type(b, v, f, "uint64");
    }
    *out = (uint64_t)json_integer_value(v);
    return 0;
}

static int take_duration(struct body *b, const json_t *v, const struct body_field *f, int64_t *out)
{
    uint64_t ns = 0;
    if (json_is_number(v)) {
        double d = json_number_value(v);
        *out = d < 0 ? 0 : d > 9e18 ? INT64_MAX : (int64_t)d;
        return 0;
    }
    if (!json_is_string(v)) {
        return bad_type(b, v, f, "string");
    }
    if (json_string_length(v) == 0) {
        *out = 0;
        return 0;
    }
    struct slice text = text_of(v);
    int is_negative = text.len > 1 && text.p[0] == '-';
    if (is_negative) {
        text = slice_of(text.p + 1, text.len - 1);
    }
    if (consul_text_duration(text, &ns) != 0) {
        return fail(b, "time: invalid duration \"%.100s\"", json_string_value(v));
    }
    *out = is_negative ? -(int64_t)ns : (int64_t)ns;
    return 0;
}

/* --- lists --- */

static int take_strs(struct body *b, const json_t *v, const struct body_field *f, struct slice *out)
{
    struct buf x;
    size_t i;
    json_t *item;
    if (!json_is_array(v)) {
        return bad_type(b, v, f, "[]string");
    }
    if (json_array_size(v) > UINT16_MAX) {
        return fail(b, "too many items in %s: %zu, at most %d", f->name, json_array_size(v),
                    UINT16_MAX);
    }
    json_array_foreach (v, i, item) {
        if (!json_is_string(item)) {
            return bad_type(b, item, f, "string");
        }
    }
    buf_init(&x);
    wire_put_u16(&x, (uint16_t)json_array_size(v));
    json_array_foreach (v, i, item) {
        wire_put_bytes(&x, text_of(item));
    }
    if (json_array_size(v) == 0) {
        buf_clear(&x);
    }
    *out = keep_buf(b, &x); /* empty and given: p is not NULL */
    return 0;
}

static int check_pairs(struct body *b, json_t *v, const struct body_field *f, int of_lists,
                       size_t *out_n)
{
    const char *name;
    size_t i;
    json_t *value, *item;
    *out_n = 0;
    if (!json_is_object(v)) {
        return bad_type(b, v, f, of_lists ? "map[string][]string" : "map[string]string");
    }
    json_object_foreach (v, name, value) {
        if (of_lists ? !json_is_array(value) : !json_is_string(value)) {
            return bad_type(b, value, f, of_lists ? "[]string" : "string");
        }
        *out_n += of_lists ? json_array_size(value) : 1;
        json_array_foreach (value, i, item) {
            if (!json_is_string(item)) {
                return bad_type(b, item, f, "string");
            }
        }
    }
    return *out_n > UINT16_MAX ? fail(b, "too many members in %s", f->name) : 0;
}

static int take_pairs(struct body *b, json_t *v, const struct body_field *f, struct slice *out)
{
    struct buf x;
    const char *name;
    size_t i, n = 0;
    json_t *value, *item;
    int rc = check_pairs(b, v, f, f->kind == BODY_HEADERS, &n);
    if (rc != 0) {
        return rc;
    }
    buf_init(&x);
    wire_put_u16(&x, (uint16_t)n);
    json_object_foreach (v, name, value) {
        if (f->kind == BODY_PAIRS) {
            wire_put_bytes(&x, slice_str(name));
            wire_put_bytes(&x, text_of(value));
        }
        json_array_foreach (value, i, item) {
            wire_put_bytes(&x, slice_str(name));
            wire_put_bytes(&x, text_of(item));
        }
    }
    *out = n != 0 ? keep_buf(b, &x) : slice_of(NULL, 0);
    buf_fini(&x);
    return 0;
}

static int on_text(const char *p, size_t n, void *arg)
{
    buf_append(arg, p, n);
    return 0;
}

static int take_json(struct body *b, const json_t *v, struct slice *out)
{
    struct buf x;
    buf_init(&x);
    (void)json_dump_callback(v, on_text, &x, JSON_COMPACT | JSON_ENCODE_ANY);
    *out = keep_buf(b, &x);
    return 0;
}

/* --- objects --- */

static int take_object(struct body *b, json_t *v, const struct body_table *table, void *out);

static int take_objects(struct body *b, json_t *v, const struct body_field *f,
                        struct body_items *out)
{
    size_t n = json_array_size(v), i;
    json_t *item;
    if (!json_is_array(v)) {
        return bad_type(b, v, f, f->table->type);
    }
    if (n > BODY_ITEMS_MAX) {
        return fail(b, "too many items in %s: %zu, at most %d", f->name, n, BODY_ITEMS_MAX);
    }
    out->n = n;
    out->p = b->alloc(b->arg, n * f->table->size + 1);
    memset(out->p, 0, n * f->table->size + 1);
    json_array_foreach (v, i, item) {
        int rc = take_object(b, item, f->table, out->p + i * f->table->size);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int take_pointer(struct body *b, json_t *v, const struct body_field *f, void **out)
{
    if (!json_is_object(v)) {
        return bad_type(b, v, f, f->table->type);
    }
    *out = b->alloc(b->arg, f->table->size);
    memset(*out, 0, f->table->size);
    return take_object(b, v, f->table, *out);
}

struct place {
    struct slice address;
    int64_t port;
};
static const struct body_field place_fields[] = {
    {"Address", BODY_STR, offsetof(struct place, address), NULL},
    {"Port", BODY_INT, offsetof(struct place, port), NULL},
};
static const struct body_table place_table = {"structs.ServiceAddress", sizeof(struct place),
                                              place_fields, N_ELEMENTS(place_fields)};

static int take_places(struct body *b, json_t *v, const struct body_field *f, struct slice *out)
{
    struct buf x;
    struct jw w;
    const char *name;
    json_t *value;
    int rc = json_is_object(v) ? 0 : bad_type(b, v, f, "map[string]structs.ServiceAddress");
    if (rc != 0 || json_object_size(v) == 0) {
        return rc;
    }
    buf_init(&x);
    jw_init(&w, &x);
    jw_obj(&w);
    json_object_foreach (v, name, value) {
        struct place p = {0};
        rc = rc != 0 ? rc : take_object(b, value, &place_table, &p);
        jw_key(&w, name);
        jw_obj(&w);
        jw_key(&w, "Address");
        jw_slice(&w, p.address);
        jw_key(&w, "Port");
        jw_i64(&w, p.port);
        jw_end(&w);
    }
    jw_end(&w);
    if (rc == 0) {
        *out = keep_buf(b, &x);
    }
    buf_fini(&x);
    return rc;
}

static int take(struct body *b, json_t *v, const struct body_field *f, void *at)
{
    switch (f->kind) {
    case BODY_PLACES:
        return take_places(b, v, f, at);
    case BODY_STR:
        return take_str(b, v, f, at);
    case BODY_BOOL:
        if (!json_is_boolean(v)) {
            return bad_type(b, v, f, "bool");
        }
        *(int *)at = json_is_true(v);
        return 0;
    case BODY_INT:
        return take_int(b, v, f, at);
    case BODY_U64:
        return take_u64(b, v, f, at);
    case BODY_DURATION:
        return take_duration(b, v, f, at);
    case BODY_STRS:
        return take_strs(b, v, f, at);
    case BODY_PAIRS:
    case BODY_HEADERS:
        return take_pairs(b, v, f, at);
    case BODY_JSON:
        return take_json(b, v, at);
    case BODY_OBJECT:
        return json_is_object(v) ? take_object(b, v, f->table, at)
                                 : bad_type(b, v, f, f->table->type);
    case BODY_POINTER:
        return take_pointer(b, v, f, at);
    case BODY_OBJECTS:
        return take_objects(b, v, f, at);
    default:
        return 0;
    }
}

/* Equal, whatever the case, underscores in `given` aside. */
static int is_name(const char *given, const char *name)
{
    while (*given != '\0' && *name != '\0') {
        if (*given == '_') {
            given++;
            continue;
        }
        if (tolower((unsigned char)*given) != tolower((unsigned char)*name)) {
            return 0;
        }
        given++;
        name++;
    }
    return *given == '\0' && *name == '\0';
}

static const struct body_field *find(const struct body_table *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++) {
        if (is_name(name, t->fields[i].name)) {
            return &t->fields[i];
        }
    }
    return NULL;
}

static int take_object(struct body *b, json_t *v, const struct body_table *table, void *out)
{
    const char *name;
    json_t *value;
    if (!json_is_object(v)) {
        return fail(b, "json: cannot unmarshal into Go value of type %s", table->type);
    }
    json_object_foreach (v, name, value) {
        const struct body_field *f = find(table, name);
        if (f == NULL && !b->ignores_unknown) {
            return fail(b, "json: unknown field \"%.100s\"", name);
        }
        int rc = f == NULL || json_is_null(value) ? 0 : take(b, value, f, (char *)out + f->at);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int body_read_list(struct body *b, struct slice text, const struct body_table *table, void *out)
{
    struct err e = {0};
    json_t *doc = NULL;
    b->error[0] = '\0';
    if (jr_parse(text, &doc, &e) != 0) {
        return fail(b, "%s", e.text);
    }
    b->n_list = json_array_size(doc);
    int rc = take(b, doc, &table->fields[0], (char *)out + table->fields[0].at);
    jr_free(doc);
    return rc;
}

int body_read(struct body *b, struct slice text, const struct body_table *table, void *out)
{
    struct err e = {0};
    json_t *doc = NULL;
    b->error[0] = '\0';
    if (jr_parse(text, &doc, &e) != 0) {
        return fail(b, "%s", e.text);
    }
    int rc = take_object(b, doc, table, out);
    jr_free(doc);
    return rc;
}
