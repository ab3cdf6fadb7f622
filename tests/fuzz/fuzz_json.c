/* SPDX-License-Identifier: Apache-2.0 */
/* JSON bodies: whatever is accepted is written again and read back equal; typed reads never crash.
 */
#include <jansson.h>

#include "base/buf.h"
#include "base/json_read.h"
#include "base/json_write.h"
#include "base/text.h"

static void rewrite(struct jw *w, json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        jw_obj(w);
        json_object_foreach (v, key, item) {
            jw_key(w, key);
            rewrite(w, item);
        }
        jw_end(w);
        break;
    case JSON_ARRAY:
        jw_arr(w);
        json_array_foreach (v, i, item) {
            rewrite(w, item);
        }
        jw_end(w);
        break;
    case JSON_STRING:
        jw_slice(w, slice_of(json_string_value(v), json_string_length(v)));
        break;
    case JSON_INTEGER:
        jw_i64(w, json_integer_value(v));
        break;
    case JSON_REAL:
        jw_f64(w, json_real_value(v));
        break;
    case JSON_NULL:
        jw_null(w);
        break;
    default:
        jw_bool(w, json_is_true(v));
        break;
    }
}

/* Equal up to 1.0 and 1, which the writer makes the same. */
static int same(json_t *a, json_t *b)
{
    const char *key;
    json_t *item;
    size_t i;
    if (json_is_number(a) || json_is_number(b)) {
        return json_is_number(a) && json_is_number(b) &&
               json_number_value(a) == json_number_value(b);
    }
    if (json_is_array(a) && json_array_size(a) == json_array_size(b)) {
        json_array_foreach (a, i, item) {
            if (!same(item, json_array_get(b, i))) {
                return 0;
            }
        }
        return 1;
    }
    if (json_is_object(a) && json_object_size(a) == json_object_size(b)) {
        json_object_foreach (a, key, item) {
            if (!same(item, json_object_get(b, key))) {
                return 0;
            }
        }
        return 1;
    }
    return json_equal(a, b);
}

static int check_pair(void *arg, struct slice key, struct slice value)
{
    (void)arg;
    MU_INVARIANT(text_is_utf8(key) && text_is_utf8(value));
    return 0;
}

static void read_typed(json_t *doc)
{
    struct err e = {0};
    struct jr r;
    jr_begin(&r, doc, &e);
    struct slice s = jr_str(&r, "s", 0);
    MU_INVARIANT(text_is_utf8(s));
    int64_t n = jr_int(&r, "i", 1, 0, 10);
    MU_INVARIANT(n >= 0 && n <= 10);
    double d = jr_num(&r, "n", 1, 0, 10);
    MU_INVARIANT(d >= 0 && d <= 10);
    int64_t ms = jr_duration(&r, "d", 1000, 1000, 60000);
    MU_INVARIANT(ms >= 1000 && ms <= 60000);
    jr_bool(&r, "b", 0);
    struct json_t *arr = jr_arr(&r, "a", 4);
    MU_INVARIANT(arr == NULL || jr_arr_len(arr) <= 4);
    struct json_t *obj = jr_obj(&r, "o");
    if (obj != NULL) {
        jr_each_str(obj, check_pair, NULL, &e);
    }
    int rc = jr_end(&r);
    MU_INVARIANT((rc == 0) == (e.code == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct json_t *doc = NULL;
    struct json_t *again = NULL;
    struct err e = {0};
    struct buf b;
    struct jw w;
    if (jr_parse(slice_of(data, len), &doc, &e) != 0) {
        MU_INVARIANT(e.code == MU_E_BAD_REQUEST && e.text[0] != '\0');
        return 0;
    }
    buf_init(&b);
    jw_init(&w, &b);
    rewrite(&w, doc);
    MU_INVARIANT(w.depth == 0);
    int rc = jr_parse(buf_slice(&b), &again, &e);
    MU_INVARIANT(rc == 0 && same(doc, again));
    read_typed(doc);
    buf_fini(&b);
    jr_free(again);
    jr_free(doc);
    return 0;
}
