/* SPDX-License-Identifier: Apache-2.0 */
#include "client/stream.h"

#include <stdio.h>
#include <string.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "base/text.h"
#include "client/client_impl.h"
#include "client/line.h"
#include "client/mem.h"

enum {
    PROGRESS_MS = 5000,
    PROGRESS_MAX_MS = 600000,
    SILENT_PERIODS = 3,
    TARGET_MAX = 16384,
};

/* --- what is asked --- */

/* The period of the marks, as the query says it; 0 when it does not. */
static int64_t progress_of(const char *query)
{
    for (const char *p = query; p != NULL; p = strchr(p, '&')) {
        p += *p == '&';
        if (strncmp(p, "progress=", 9) == 0) {
            int64_t ms = 0;
            const char *v = p + 9;
            (void)text_duration_ms(slice_of(v, strcspn(v, "&")), PROGRESS_MAX_MS, &ms);
            return ms;
        }
    }
    return 0;
}

static bool is_query(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n > TARGET_MAX / 2) {
        return false;
    }
    for (; *s != '\0'; s++) {
        if (*s <= ' ' || *s >= 0x7f || *s == '#') {
            return false;
        }
    }
    return true;
}

static char *target_of(const struct muster *m, const char *query, int64_t progress_ms)
{
    struct cbuf b;
    cbuf_init(&b, TARGET_MAX);
    cbuf_str(&b, "/api/v1/watch?");
    cbuf_str(&b, query);
    if (progress_ms == 0) {
        cbuf_printf(&b, "&progress=%dms", PROGRESS_MS);
    }
    if (!m->is_public && strstr(query, "namespace=") == NULL) {
        cbuf_str(&b, "&namespace=");
        cbuf_percent(&b, m->namespace_);
    }
    return cbuf_take(&b);
}

/* --- what comes --- */

static int on_message(void *user, const struct sse_message *msg)
{
    struct stream *s = user;
    if (strcmp(msg->type, "compacted") == 0) {
        s->is_compacted = true;
        return 1;
    }
    s->is_alive = true;
    s->n_failed = 0;
    s->tried = 0;
    bool is_change = strcmp(msg->type, "change") == 0;
    if (is_change && msg->id < s->next) {
        return 0; /* told before */
    }
    if (s->fn(s->user, msg) != 0) {
        s->is_stopped = true;
        return 1;
    }
    /* A mark at N promises that nothing at or below N follows. */
    if (msg->id != 0 || (!is_change && strcmp(msg->type, "progress") == 0)) {
        s->next = msg->id + 1 > s->next ? msg->id + 1 : s->next;
    }
    return 0;
}

static int on_data(void *user, const void *data, size_t len, int64_t total)
{
    struct stream *s = user;
    (void)total;
    s->heard_at = clock_mono_ms();
    s->sse_code = sse_feed(&s->sse, data, len);
    return s->sse_code != SSE_OK;
}

muster_status stream_init(struct stream *s, struct muster *m, const char *query, uint64_t next,
                          struct muster_error *e)
{
    if (query == NULL || !is_query(query)) {
        return status_set(e, MUSTER_INVALID,
                          "a watch needs a percent-encoded query, as in \"configs=app/*\"");
    }
    int64_t progress_ms = progress_of(query);
    *s = (struct stream){.m = m, .next = next, .endpoint = -1};
    s->silence_ms = SILENT_PERIODS * (progress_ms != 0 ? progress_ms : PROGRESS_MS);
    sse_init(&s->sse, on_message, s);
    http_in_init(&s->in);
    s->in.on_data = on_data;
    s->in.user = s;
    s->target = target_of(m, query, progress_ms);
    s->easy = curl_easy_init();
    if (s->target == NULL || s->easy == NULL) {
        stream_fini(s);
        return status_no_memory(e);
    }
    return MUSTER_OK;
}

void stream_fini(struct stream *s)
{
    stream_abandon(s);
    http_in_fini(&s->in);
    sse_fini(&s->sse);
    curl_easy_cleanup(s->easy);
    curl_slist_free_all(s->headers);
    cmem_free(s->target);
    cmem_free(s->url);
    *s = (struct stream){.endpoint = -1};
}

/* --- connections --- */

static enum call_step end(struct stream *s, muster_status status)
{
    s->status = status;
    return CALL_END;
}

static char *url_of(const struct stream *s)
{
    struct cbuf url;
    cbuf_init(&url, 2 * TARGET_MAX);
    cbuf_str(&url, s->m->endpoints.v[s->endpoint].url);
    cbuf_str(&url, s->target);
    if (s->next != 0) {
        cbuf_printf(&url, "&from=%llu", (unsigned long long)s->next);
    }
    return cbuf_take(&url);
}

static enum call_step begin(struct stream *s, int64_t now)
{
    muster_status rc = MUSTER_NO_MEMORY;
    cmem_free(s->url);
    curl_slist_free_all(s->headers);
    s->headers = NULL;
    s->url = url_of(s);
    http_in_clear(&s->in);
    sse_reset(&s->sse);
    s->is_alive = false;
    s->heard_at = now;
    struct http_out out = {.method = "GET", .url = s->url};
    if (s->url != NULL && http_header_add(&s->headers, "Accept: text/event-stream", "")) {
        rc = http_prepare(s->easy, s->m, &out, s->headers, &s->in);
    }
    if (rc != MUSTER_OK) {
        return end(s, status_set(&s->error, rc, "the watch could not be begun"));
    }
    return CALL_RUN;
}

enum call_step stream_next(struct stream *s, int64_t now)
{
    struct muster *m = s->m;
    if (atomic_load(&m->is_closing)) {
        return end(s, status_set(&s->error, MUSTER_CLOSED, "the client is being closed"));
    }
    if (now < s->retry_at) {
        return CALL_WAIT;
    }
    int64_t at = 0;
    pthread_mutex_lock(&m->lock);
    s->endpoint = endpoints_pick(&m->endpoints, s->tried, now, &at);
    pthread_mutex_unlock(&m->lock);
    if (s->endpoint >= 0) {
        return begin(s, now);
    }
    s->retry_at = s->tried != 0 ? now + call_backoff_ms(s->n_failed) : at;
    s->tried = 0;
    return CALL_WAIT;
}

bool stream_is_silent(const struct stream *s, int64_t now)
{
    return now - s->heard_at > s->silence_ms;
}

static void report(struct stream *s, int64_t now, bool is_ok, bool moves_on)
{
    struct muster *m = s->m;
    int i = s->endpoint;
    if (i < 0) {
        return;
    }
    s->tried |= UINT64_C(1) << i;
    s->endpoint = -1;
    pthread_mutex_lock(&m->lock);
    endpoints_report(&m->endpoints, i, now, is_ok);
    if (moves_on) {
        endpoints_move_on(&m->endpoints, i);
    }
    pthread_mutex_unlock(&m->lock);
}

void stream_abandon(struct stream *s)
{
    int i = s->endpoint;
    if (i >= 0) {
        pthread_mutex_lock(&s->m->lock);
        endpoints_give_up(&s->m->endpoints, i);
        pthread_mutex_unlock(&s->m->lock);
        s->endpoint = -1;
    }
}

static enum call_step refused(struct stream *s, int64_t now)
{
    int http = s->in.status;
    muster_status rc = status_from_answer(&s->error, http, s->in.body.p, s->in.body.len);
    bool is_for_later = http >= 500 || http == 408 || http == 429;
    report(s, now, !is_for_later || http == 503, is_for_later);
    if (is_for_later) {
        s->n_failed++;
        return CALL_WAIT;
    }
    if (http == 400 && strcmp(s->error.code, "FUTURE_REVISION") == 0) {
        rc = MUSTER_COMPACTED; /* a restored cluster: what was told is no part of it */
        s->error.status = rc;
    }
    return end(s, rc);
}

enum call_step stream_done(struct stream *s, int code, int64_t now)
{
    if (s->is_compacted || s->is_stopped) {
        report(s, now, true, false);
        return s->is_stopped ? end(s, MUSTER_OK)
                             : end(s, status_set(&s->error, MUSTER_COMPACTED,
                                                 "revisions after %llu are no longer kept",
                                                 (unsigned long long)s->next));
    }
    if (s->in.fault == HTTP_NO_MEMORY || code == CURLE_OUT_OF_MEMORY ||
        s->sse_code == SSE_NO_MEMORY) {
        stream_abandon(s);
        return end(s, status_no_memory(&s->error));
    }
    if (code == CURLE_OK && s->in.status != 200) {
        return refused(s, now);
    }
    if (s->sse_code == SSE_TOO_LARGE || s->sse_code == SSE_BAD_ID) {
        report(s, now, false, true);
        return end(s, status_set(&s->error, MUSTER_REFUSED, "the stream is not one of muster's"));
    }
    client_say(s->m, "warn", "watch at %.100s ended: %.100s",
               s->endpoint >= 0 ? s->m->endpoints.v[s->endpoint].url : "?",
               s->is_alive && code == CURLE_OK ? "by the server"
                                               : curl_easy_strerror((CURLcode)code));
    report(s, now, s->is_alive && code == CURLE_OK, true);
    s->n_failed++;
    return CALL_WAIT;
}

/* --- on a thread that waits --- */

struct watch_user {
    struct stream s;
    int (*fn)(void *user, const struct muster_event *event);
    void *user;
};

static int tell(void *user, const struct sse_message *m)
{
    struct watch_user *w = user;
    struct muster_event e = {.type = m->type, .revision = m->id, .data = m->data, .len = m->len};
    return w->fn(w->user, &e);
}

static int is_dead(void *arg)
{
    struct stream *s = arg;
    return atomic_load(&s->m->is_closing) || stream_is_silent(s, clock_mono_ms());
}

static void follow(struct stream *s, struct line *l)
{
    enum call_step step = stream_next(s, clock_mono_ms());
    while (step != CALL_END) {
        int code = CURLE_OPERATION_TIMEDOUT;
        if (step == CALL_WAIT) {
            line_sleep(l, s->retry_at);
        } else {
            if (line_transfer(l, s->easy, is_dead, s, &code) != 0) {
                code = CURLE_OPERATION_TIMEDOUT;
            }
            step = stream_done(s, code, clock_mono_ms());
            if (step == CALL_END) {
                return;
            }
        }
        step = stream_next(s, clock_mono_ms());
    }
}

muster_status muster_watch(struct muster *m, const char *query, uint64_t from_revision,
                           int (*fn)(void *user, const struct muster_event *event), void *user,
                           struct muster_error *e)
{
    struct watch_user w = {.fn = fn, .user = user};
    struct line *l = NULL;
    muster_status rc = stream_init(&w.s, m, query, from_revision, e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    w.s.fn = tell;
    w.s.user = &w;
    rc = line_open(m, &l, e);
    if (rc == MUSTER_OK) {
        follow(&w.s, l);
        line_close(m, l);
        rc = w.s.status;
        if (rc != MUSTER_OK && e != NULL) {
            *e = w.s.error;
        }
    }
    stream_fini(&w.s);
    return rc;
}
