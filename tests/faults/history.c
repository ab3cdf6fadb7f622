/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"
#include "base/mem.h"

const char *const hist_kind_names[HIST_KIND_N] = {
    "read",  "write", "cas",      "delete", "list", "append", "stale", "repeat", "stream",
    "event", "mark",  "versions", "grant",  "keep", "seen",   "wait",  "group",  "fault",
};
static const char *const out_names[HIST_OUT_N] = {"ok", "fail", "none", "unknown"};

static void member(FILE *f, const char *name, uint64_t v)
{
    if (v != 0) {
        fprintf(f, ",\"%s\":%" PRIu64, name, v);
    }
}

void hist_print(FILE *f, const struct hist_op *o)
{
    fprintf(f, "{\"p\":%" PRIu32 ",\"at\":[%" PRId64 ",%" PRId64 "],\"do\":\"%s\",\"out\":\"%s\"",
            o->process, o->call_ns, o->return_ns, hist_kind_names[o->kind], out_names[o->out]);
    if (o->on[0] != '\0') {
        fprintf(f, ",\"on\":\"%s\"", o->on);
    }
    if (o->key[0] != '\0') {
        fprintf(f, ",\"key\":\"%s\"", o->key);
    }
    member(f, "value", o->value);
    member(f, "want", o->want);
    member(f, "rev", o->rev);
    member(f, "again", o->again);
    member(f, "version", o->version);
    member(f, "stream", o->stream);
    member(f, "ttl", (uint64_t)o->ttl_ms);
    if (o->kind == HIST_LIST || o->kind == HIST_VERSIONS) {
        fprintf(f, ",\"values\":[");
        for (size_t i = 0; i < o->n_values; i++) {
            fprintf(f, "%s\"%" PRIu64 "\"", i > 0 ? "," : "", o->values[i]);
        }
        fputc(']', f);
    }
    fputs("}\n", f);
}

static int name_of(struct jr *j, const char *member_name, const char *const *names, int n)
{
    struct slice s = jr_str(j, member_name, 1);
    for (int i = 0; i < n; i++) {
        if (slice_eq(s, slice_str(names[i]))) {
            return i;
        }
    }
    return -1;
}

static void text(struct jr *j, const char *name, char *out, size_t cap)
{
    struct slice s = jr_str(j, name, 0);
    snprintf(out, cap, "%.*s", SLICE_FMT(s));
}

static uint64_t number(struct jr *j, const char *name)
{
    return (uint64_t)jr_int(j, name, 0, 0, INT64_MAX);
}

/* Numbers stand in quotes: the reader of arrays knows texts. */
static void take_values(struct jr *j, struct hist_op *o)
{
    struct json_t *arr = jr_arr(j, "values", 1000000);
    size_t n = arr != NULL ? jr_arr_len(arr) : 0;
    o->values = n > 0 ? mem_zalloc(n * sizeof(*o->values)) : NULL;
    for (size_t i = 0; i < n; i++) {
        struct slice s;
        char digits[32];
        if (jr_is_str(jr_arr_at(arr, i), &s)) {
            snprintf(digits, sizeof(digits), "%.*s", SLICE_FMT(s));
            o->values[o->n_values++] = strtoull(digits, NULL, 10);
        }
    }
}

/* "at":[call,return] is read by hand: it is first in the line, and the reader of arrays knows
 * texts. */
static int take_times(const char *line, struct hist_op *o)
{
    const char *at = strstr(line, "\"at\":[");
    return at != NULL && sscanf(at + 6, "%" SCNd64 ",%" SCNd64, &o->call_ns, &o->return_ns) == 2
               ? 0
               : -1;
}

static int read_op(const char *line, size_t len, struct hist_op *o)
{
    struct err e = {0};
    struct json_t *doc;
    struct jr j;
    if (jr_parse(slice_of(line, len), &doc, &e) != 0) {
        return -1;
    }
    jr_begin(&j, doc, &e);
    int kind = name_of(&j, "do", hist_kind_names, HIST_KIND_N);
    int out = name_of(&j, "out", out_names, HIST_OUT_N);
    o->kind = (enum hist_kind)kind;
    o->out = (enum hist_out)out;
    o->process = (uint32_t)number(&j, "p");
    o->stream = (uint32_t)number(&j, "stream");
    o->ttl_ms = (int64_t)number(&j, "ttl");
    o->value = number(&j, "value");
    o->want = number(&j, "want");
    o->rev = number(&j, "rev");
    o->again = number(&j, "again");
    o->version = number(&j, "version");
    text(&j, "on", o->on, sizeof(o->on));
    text(&j, "key", o->key, sizeof(o->key));
    jr_arr(&j, "at", 2);
    take_values(&j, o);
    int is_bad = jr_end(&j) != 0 || kind < 0 || out < 0 || take_times(line, o) != 0;
    jr_free(doc);
    return is_bad ? -1 : 0;
}

int hist_read(struct history *h, const char *path)
{
    char *line = NULL;
    size_t cap = 0, number_of_line = 0;
    ssize_t len;
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        fprintf(stderr, "%s: cannot be opened\n", path);
        return -1;
    }
    int rc = 0;
    while (rc == 0 && (len = getline(&line, &cap, f)) > 0) {
        struct hist_op o = {0};
        number_of_line++;
        if (line[0] == '#' || line[0] == '\n' || line[len - 1] != '\n') {
            continue;
        }
        if (read_op(line, (size_t)len, &o) != 0) {
            fprintf(stderr, "%s:%zu: not an operation\n", path, number_of_line);
            rc = -1;
        }
        if (h->n == h->cap) {
            h->cap = h->cap != 0 ? h->cap * 2 : 4096;
            h->ops = mem_realloc(h->ops, h->cap * sizeof(*h->ops));
        }
        h->ops[h->n++] = o;
    }
    free(line);
    fclose(f);
    return rc;
}

void hist_fini(struct history *h)
{
    for (size_t i = 0; i < h->n; i++) {
        mem_free(h->ops[i].values);
    }
    mem_free(h->ops);
}
