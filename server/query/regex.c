/* SPDX-License-Identifier: Apache-2.0 */
#include "server/query/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

enum {
    LENGTH_PER_STEP = 256,
    STEPS_MAX = 10 * 1000 * 1000,
    PATTERN_MAX = 1024,
    NEST_MAX = 50,
    HEAP_KIB = 128,
    DEPTH_MAX = 10000
};

struct regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    struct regex_budget *budget;
};

/* Given back with everything else. */
static void no_free(void *p, void *arg)
{
    (void)p;
    (void)arg;
}

static void *alloc(size_t size, void *arg)
{
    const struct regex_memory *m = arg;
    return m->alloc(m->arg, size);
}

/* Called for each step. */
static int count(pcre2_callout_block *block, void *arg)
{
    struct regex_budget *b = arg;
    size_t cost = 1 + block->subject_length / LENGTH_PER_STEP; /* it may look at all of it */
    b->left -= b->left < cost ? b->left : (unsigned)cost;
    return b->left > 0 ? 0 : PCRE2_ERROR_CALLOUT;
}

struct regex *regex_new(const struct regex_memory *m, struct regex_budget *budget,
                        struct slice pattern, char *why, size_t why_size)
{
    struct regex *x = m->alloc(m->arg, sizeof(*x));
    struct regex_memory *kept = m->alloc(m->arg, sizeof(*kept));
    const uint32_t options = PCRE2_AUTO_CALLOUT | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF |
                             PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C;
    int code = 0;
    size_t at = 0;
    *kept = *m;
    if (pattern.len > PATTERN_MAX) {
        (void)snprintf(why, why_size, "it has %zu bytes, at most %d are read", pattern.len,
                       PATTERN_MAX);
        return NULL;
    }
    pcre2_general_context *general = pcre2_general_context_create(alloc, no_free, kept);
    pcre2_compile_context *compile = pcre2_compile_context_create(general);
    (void)pcre2_set_parens_nest_limit(compile, NEST_MAX);
    x->code = pcre2_compile(pattern.p, pattern.len, options, &code, &at, compile);
    if (x->code == NULL) {
        PCRE2_UCHAR text[96] = "";
        (void)pcre2_get_error_message(code, text, sizeof(text));
        (void)snprintf(why, why_size, "%s at %zu", (const char *)text, at);
        return NULL;
    }
    x->budget = budget;
    x->data = pcre2_match_data_create(REGEX_GROUPS_MAX, general);
    x->context = pcre2_match_context_create(general);
    (void)pcre2_set_callout(x->context, count, budget);
    (void)pcre2_set_heap_limit(x->context, HEAP_KIB);
    (void)pcre2_set_depth_limit(x->context, DEPTH_MAX);
    (void)pcre2_set_match_limit(x->context, STEPS_MAX);
    return x;
}

int regex_matches(struct regex *x, struct slice text)
{
    static const uint8_t nothing[1];
    int n = pcre2_match(x->code, text.p != NULL ? text.p : nothing, text.len, 0, PCRE2_NO_JIT,
                        x->data, x->context);
    if (n < 0 && n != PCRE2_ERROR_NOMATCH) {
        x->budget->left = 0; /* a limit: whether it is found there is not known */
    }
    return n >= 0;
}

struct slice regex_group(struct regex *x, struct slice text, unsigned n)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(x->data);
    if (n >= REGEX_GROUPS_MAX || n >= pcre2_get_ovector_count(x->data) || at[2 * n] > text.len ||
        at[2 * n + 1] > text.len || at[2 * n] > at[2 * n + 1]) {
        return slice_of(NULL, 0);
    }
    return slice_of(text.p + at[2 * n], at[2 * n + 1] - at[2 * n]);
}
