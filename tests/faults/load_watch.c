/* SPDX-License-Identifier: Apache-2.0 */
/* A client that watches everything the others write, and resumes behind the last thing it saw. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"
#include "tests/faults/load.h"

enum { SILENCE_MS = 4000, STREAM_MS_MAX = 6000 };

struct watcher {
    struct client *c;
    uint64_t last;
    uint32_t stream;
    int has_last; /* 0: begins anew, as another stream */
    char event[16];
};

static uint64_t event_value(struct jr *j, int is_config)
{
    char text[64];
    struct slice s = jr_str(j, "content", 0);
    if (!is_config) {
        struct json_t *metadata = jr_obj(j, "metadata");
        struct jr m;
        if (metadata == NULL) {
            return 0;
        }
        jr_begin(&m, metadata, j->err);
        s = jr_str(&m, "v", 0);
    }
    snprintf(text, sizeof(text), "%.*s", s.len < 60 ? (int)s.len : 60, (const char *)s.p);
    return strtoull(text, NULL, 10);
}

static void one_event(struct watcher *w, struct json_t *item, uint64_t rev, struct err *e)
{
    struct jr j;
    struct hist_op o = {.kind = HIST_EVENT, .process = w->c->process};
    jr_begin(&j, item, e);
    int is_config = slice_eq(jr_str(&j, "kind", 1), SLICE_LIT("config"));
    int is_delete = slice_eq(jr_str(&j, "type", 1), SLICE_LIT("delete"));
    if (is_config) {
        struct slice key = jr_str(&j, "key", 1);
        snprintf(o.key, sizeof(o.key), "%.*s", SLICE_FMT(key));
    } else {
        struct json_t *instance = jr_obj(&j, "instance"); /* a put holds the document */
        if (instance != NULL) {
            jr_begin(&j, instance, e);
        }
        struct slice service = jr_str(&j, "service", 1), id = jr_str(&j, "id", 1);
        snprintf(o.key, sizeof(o.key), "%.*s/%.*s", SLICE_FMT(service), SLICE_FMT(id));
    }
    o.value = is_delete ? 0 : event_value(&j, is_config);
    o.version = (uint64_t)jr_int(&j, "version", 0, 0, INT64_MAX);
    o.rev = rev;
    o.stream = w->stream;
    o.call_ns = caller_now_ns();
    load_record(w->c, &o);
}

static void simple(struct watcher *w, enum hist_kind kind, uint64_t rev)
{
    struct hist_op o = {.kind = kind, .process = w->c->process, .stream = w->stream, .rev = rev};
    snprintf(o.on, sizeof(o.on), "%s", w->c->load->nodes[w->c->node].name);
    o.call_ns = caller_now_ns();
    load_record(w->c, &o);
}

static void message(struct watcher *w, const char *data)
{
    struct err e = {0};
    struct json_t *doc;
    struct jr j;
    if (jr_parse(slice_str(data), &doc, &e) != 0) {
        return; /* cut off in the middle */
    }
    jr_begin(&j, doc, &e);
    uint64_t rev = (uint64_t)jr_int(&j, "revision", 0, 0, INT64_MAX);
    if (strcmp(w->event, "compacted") == 0) {
        w->has_last = 0;
        jr_free(doc);
        return;
    }
    if (strcmp(w->event, "progress") == 0) {
        if (!w->has_last) {
            w->stream = atomic_fetch_add(&w->c->load->n_streams, 1) + 1;
        }
        simple(w, w->has_last ? HIST_MARK : HIST_STREAM, rev);
    } else if (strcmp(w->event, "change") == 0) {
        struct json_t *events = jr_arr(&j, "events", 100000);
        for (size_t i = 0; i < jr_arr_len(events); i++) {
            one_event(w, jr_arr_at(events, i), rev, &e);
        }
    }
    w->last = rev;
    w->has_last = 1;
    jr_free(doc);
}

static int is_done(struct watcher *w)
{
    uint64_t end = atomic_load(&w->c->load->end_rev);
    return end != 0 && w->has_last && w->last >= end;
}

static void follow(struct watcher *w)
{
    char headers[64] = "";
    if (w->has_last) {
        snprintf(headers, sizeof(headers), "Last-Event-ID: %" PRIu64 "\r\n", w->last);
    }
    int64_t until = caller_now_ns() + (1000 + (int64_t)load_random(w->c, STREAM_MS_MAX)) * 1000000;
    struct reply r =
        caller_stream(w->c->caller, "/api/v1/watch?configs=f/*&services=s*,t*,m*&progress=1s",
                      headers, LOAD_TIMEOUT_MS);
    if (r.status != 200) {
        w->has_last &= r.status != 410; /* what it would resume from is no longer kept */
        return;
    }
    const char *line;
    while (!is_done(w) && (line = caller_line(w->c->caller, SILENCE_MS)) != NULL) {
        if (strncmp(line, "event: ", 7) == 0) {
            snprintf(w->event, sizeof(w->event), "%s", line + 7);
        } else if (strncmp(line, "data: ", 6) == 0) {
            message(w, line + 6);
            if (caller_now_ns() > until) {
                return; /* now and then elsewhere, without need */
            }
        }
    }
}

void load_watch(struct client *c)
{
    struct watcher w = {.c = c};
    int64_t give_up_at = INT64_MAX;
    while (!is_done(&w) && caller_now_ns() < give_up_at) {
        follow(&w);
        if (atomic_load(&c->load->end_rev) != 0 && give_up_at == INT64_MAX) {
            give_up_at = caller_now_ns() + INT64_C(20000000000);
        }
        load_switch(c);
        load_pause(c, 30);
    }
    atomic_fetch_add(&c->load->n_short, (unsigned)!is_done(&w));
}
