/* SPDX-License-Identifier: Apache-2.0 */
/* Reading numbers, durations, names and text from outside, strictly: the whole input or nothing. */
#pragma once

#include "base/types.h"

/* Decimal, no sign, no spaces; 0 or MU_E_RANGE / MU_E_BAD_REQUEST. */
int text_u64(struct slice s, uint64_t max, uint64_t *out);
int text_hex64(struct slice s, uint64_t *out); /* 1..16 hex digits */
/* "500ms", "15s", "2m", "1h", "7d" or bare seconds, at most three digits of fraction ("1.5s");
 * 0..max_ms. */
int text_duration_ms(struct slice s, int64_t max_ms, int64_t *out);
/* Shortest exact form: "15s", "500ms", "2m". out holds at least 24 bytes. */
void text_format_duration(int64_t ms, char *out);
int text_bool(struct slice s, int *out); /* true false 1 0 */
/* 1 when valid UTF-8 (no overlong forms, no surrogates). */
int text_is_utf8(struct slice s);
/* 1 when 1..max bytes of UTF-8 without control characters (also no U+007F). */
int text_is_name(struct slice s, size_t max);
/* RFC 3339 UTC with milliseconds; out holds at least 32 bytes. Outside the years 0..9999: the
 * nearest. */
void text_format_time(int64_t wall_ms, char *out);
/* The same form back; 0 to 9 digits of a second, cut to milliseconds; always 'Z'. MU_E_BAD_REQUEST
 * on another form, MU_E_RANGE for a day or hour that does not exist. */
int text_parse_time(struct slice s, int64_t *out_wall_ms);
/* Percent-decode `s` once into out (cap bytes; MU_E_RANGE when it is too small). MU_E_BAD_REQUEST
 * on a bad escape or NUL. '+' is kept. */
int text_percent_decode(struct slice s, char *out, size_t cap, size_t *out_len);
/* Closest of `names` (edit distance <= 3), NULL when none is near: "did you mean". */
const char *text_nearest(const char *word, const char *const *names, size_t n_names);
