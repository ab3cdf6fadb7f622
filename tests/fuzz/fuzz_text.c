/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, durations, times and escapes: what is accepted prints and reads back; any bytes make a
 * JSON string. */
#include "base/buf.h"
#include "base/err.h"
#include "base/json_read.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "base/text.h"

static void check_numbers(struct slice s)
{
    struct buf b;
    uint64_t v;
    if (text_u64(s, UINT64_MAX - 1, &v) == 0) {
        uint64_t again;
        buf_init(&b);
        buf_append_u64(&b, v);
        MU_INVARIANT(v < UINT64_MAX && b.len <= s.len);
        MU_INVARIANT(text_u64(buf_slice(&b), UINT64_MAX, &again) == 0 && again == v);
        buf_fini(&b);
    }
    MU_INVARIANT(text_hex64(s, &v) != 0 || s.len <= 16);
}

static void check_durations(struct slice s)
{
    static const int64_t limits[] = {0, 999, 600000, INT64_MAX};
    for (size_t i = 0; i < N_ELEMENTS(limits); i++) {
        int64_t ms;
        int64_t again;
        char text[24];
        if (text_duration_ms(s, limits[i], &ms) != 0) {
            continue;
        }
        MU_INVARIANT(ms >= 0 && ms <= limits[i]);
        text_format_duration(ms, text);
        MU_INVARIANT(text_duration_ms(slice_str(text), INT64_MAX, &again) == 0 && again == ms);
    }
}

static void check_times(struct slice s)
{
    int64_t ms;
    int64_t again;
    char text[32];
    if (text_parse_time(s, &ms) == 0) {
        text_format_time(ms, text);
        MU_INVARIANT(text_parse_time(slice_str(text), &again) == 0 && again == ms);
    }
    if (s.len >= sizeof(ms)) {
        memcpy(&ms, s.p, sizeof(ms));
        text_format_time(ms, text);
        MU_INVARIANT(text_parse_time(slice_str(text), &again) == 0);
    }
}

static void check_escapes(struct slice s)
{
    char *out = mem_alloc(s.len);
    size_t n;
    if (text_percent_decode(s, out, s.len, &n) == 0) {
        MU_INVARIANT(n <= s.len && (n == 0 || memchr(out, 0, n) == NULL));
    }
    mem_free(out);
}

/* Any bytes become a string that a strict reader takes, and valid text comes back as it was. */
static void check_string(struct slice s)
{
    struct json_t *doc = NULL;
    struct err e = {0};
    struct buf b;
    struct jw w;
    struct slice back;
    if (s.len != 0 && memchr(s.p, 0, s.len) != NULL) {
        return; /* the reader refuses NUL */
    }
    buf_init(&b);
    jw_init(&w, &b);
    jw_arr(&w);
    jw_slice(&w, s);
    jw_end(&w);
    MU_INVARIANT(text_is_utf8(buf_slice(&b)));
    int rc = jr_parse(buf_slice(&b), &doc, &e);
    MU_INVARIANT(rc == 0 && jr_is_str(jr_arr_at(doc, 0), &back));
    MU_INVARIANT(slice_eq(back, s) == text_is_utf8(s));
    jr_free(doc);
    buf_fini(&b);
}

static void check_names(struct slice s)
{
    static const char *const names[] = {"address", "port", "weight", "ttl", ""};
    char *word = mem_slice_str(s);
    text_nearest(word, names, N_ELEMENTS(names));
    mem_free(word);
    MU_INVARIANT(!text_is_name(s, 512) || (text_is_utf8(s) && s.len >= 1 && s.len <= 512));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice s = slice_of(data, len);
    check_numbers(s);
    check_durations(s);
    check_times(s);
    check_escapes(s);
    check_string(s);
    check_names(s);
    return 0;
}
