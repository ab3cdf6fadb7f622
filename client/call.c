/* SPDX-License-Identifier: Apache-2.0 */
#include "client/call.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "client/client_impl.h"
#include "client/line.h"
#include "client/mem.h"

enum {
    BACKOFF_FIRST_MS = 50,
    BACKOFF_MAX_MS = 1000,
    ATTEMPT_MIN_MS = 1000,
    TARGET_MAX = 16384,
    VALUE_MAX = 512,
};

/* --- what is asked --- */

static bool is_visible(const char *s, size_t max, bool with_space)
{
    size_t n = strlen(s);
    if (n == 0 || n > max) {
        return false;
    }
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c >= 0x7f || c < ' ' || (c == ' ' && !with_space)) {
            return false;
        }
    }
    return true;
}

static bool is_method(const char *s)
{
    size_t n = 0;
    for (; s[n] >= 'A' && s[n] <= 'Z'; n++) {
    }
    return n > 0 && n <= 16 && s[n] == '\0';
}

static bool has_suffix(const char *s, size_t len, const char *suffix)
{
    size_t n = strlen(suffix);
    return len >= n && memcmp(s + len - n, suffix, n) == 0;
}

/* Repeating these changes nothing, with or without an id. */
static bool is_write(const struct muster_request *q)
{
    size_t len = strcspn(q->path, "?");
    return strcmp(q->method, "GET") != 0 && strcmp(q->method, "HEAD") != 0 &&
           !has_suffix(q->path, len, "keepalive") && !has_suffix(q->path, len, ":listen");
}

static bool has_param(const char *path, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = strchr(path, '?'); p != NULL; p = strchr(p + 1, '&')) {
        if (strncmp(p + 1, name, n) == 0 && p[n + 1] == '=') {
            return true;
        }
    }
    return false;
}

static bool has_namespace(const char *path)
{
    static const char *const those[] = {"/services", "/configs", "/watch"};
    for (size_t i = 0; i < N_ELEMENTS(those); i++) {
        if (strncmp(path, those[i], strlen(those[i])) == 0) {
            return true;
        }
    }
    return false;
}

static char *target_of(const struct muster *m, const char *path)
{
    struct cbuf b;
    bool is_api = path[1] != '/';
    cbuf_init(&b, TARGET_MAX);
    cbuf_str(&b, is_api ? "/api/v1" : "");
    cbuf_str(&b, is_api ? path : path + 1);
    if (is_api && !m->is_public && has_namespace(path) && !has_param(path, "namespace")) {
        cbuf_str(&b, strchr(path, '?') != NULL ? "&namespace=" : "?namespace=");
        cbuf_percent(&b, m->namespace_);
    }
    return cbuf_take(&b);
}

static muster_status check(const struct muster_request *q, struct muster_error *e)
{
    if (q == NULL || q->method == NULL || !is_method(q->method)) {
        return status_set(e, MUSTER_INVALID, "a request needs a method, as in \"GET\"");
    }
    if (q->path == NULL || q->path[0] != '/' || !is_visible(q->path, TARGET_MAX / 2, false)) {
        return status_set(e, MUSTER_INVALID,
                          "path must start with / and be percent-encoded, at most %d bytes",
                          TARGET_MAX / 2);
    }
    if ((q->content_type != NULL && !is_visible(q->content_type, VALUE_MAX, true)) ||
        (q->if_match != NULL && !is_visible(q->if_match, VALUE_MAX, false)) ||
        (q->if_none_match != NULL && !is_visible(q->if_none_match, VALUE_MAX, false))) {
        return status_set(e, MUSTER_INVALID,
                          "a content type or ETag must be visible ASCII of at most %d bytes",
                          VALUE_MAX);
    }
    if (q->timeout_ms < 0 || (q->body == NULL && q->body_len != 0)) {
        return status_set(e, MUSTER_INVALID, "timeout below 0, or a length without a body");
    }
    return MUSTER_OK;
}

static bool add_etag(struct curl_slist **list, const char *name, const char *etag)
{
    char text[VALUE_MAX + 8];
    (void)snprintf(text, sizeof(text), strcmp(etag, "*") == 0 ? "%s" : "\"%s\"", etag);
    return http_header_add(list, name, text);
}

static void random_id(char out[33])
{
    uint8_t raw[16];
    /* From the system each time: base/clock.h keeps a pool, which a forked child would share. */
    while (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw)) {
    }
    for (size_t i = 0; i < sizeof(raw); i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", raw[i]);
    }
}

static bool add_headers(struct call *c)
{
    const struct muster_request *q = &c->q;
    struct curl_slist **list = &c->headers;
    const char *type = q->content_type != NULL ? q->content_type : "application/json";
    char id[33];
    /* No waiting for "100 Continue". */
    bool ok = http_header_add(list, "Expect:", "") &&
              http_header_add(list, q->body != NULL ? "Content-Type: " : "Content-Type:",
                              q->body != NULL ? type : "");
    if (ok && q->if_match != NULL) {
        ok = add_etag(list, "If-Match: ", q->if_match);
    }
    if (ok && q->if_none_match != NULL) {
        ok = add_etag(list, "If-None-Match: ", q->if_none_match);
    }
    if (ok && c->is_write) {
        random_id(id);
        ok = http_header_add(list, "Muster-Request-Id: ", id);
    }
    return ok;
}

muster_status call_init(struct call *c, struct muster *m, const struct muster_request *q,
                        struct muster_error *e)
{
    muster_status rc = check(q, e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    int64_t timeout_ms = q->timeout_ms != 0 ? q->timeout_ms : m->request_ms;
    *c = (struct call){.m = m, .q = *q, .endpoint = -1, .is_write = is_write(q)};
    http_in_init(&c->in);
    c->in.on_data = q->on_data;
    c->in.user = q->user;
    c->is_api = q->path[1] != '/';
    c->deadline_at = clock_mono_ms() + timeout_ms;
    /* One endpoint that hangs may not take all the time, unless the request is meant to wait. */
    bool waits = has_param(q->path, "wait") || strstr(q->path, ":listen") != NULL;
    c->attempt_ms = timeout_ms / 3 > ATTEMPT_MIN_MS ? timeout_ms / 3 : ATTEMPT_MIN_MS;
    c->attempt_ms = waits || q->on_data != NULL ? timeout_ms : c->attempt_ms;
    c->target = target_of(m, q->path);
    c->easy = curl_easy_init();
    if (c->target == NULL || c->easy == NULL || !add_headers(c)) {
        call_fini(c);
        return status_no_memory(e);
    }
    return MUSTER_OK;
}

void call_fini(struct call *c)
{
    call_abandon(c);
    http_in_fini(&c->in);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    cmem_free(c->target);
    cmem_free(c->url);
    *c = (struct call){.endpoint = -1};
}

/* --- attempts --- */

int64_t call_backoff_ms(unsigned n)
{
    int64_t span = BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < n && span < BACKOFF_MAX_MS; i++) {
        span *= 2;
    }
    span = span < BACKOFF_MAX_MS ? span : BACKOFF_MAX_MS;
    return 1 + (int64_t)rnd_below((uint64_t)span);
}

static enum call_step end(struct call *c, muster_status status)
{
    c->status = status;
    return CALL_END;
}

/* Without memory nobody knows how a write ended that was on its way. */
static muster_status no_memory(const struct call *c, struct muster_error *e)
{
    return c->may_be_done
               ? status_set(e, MUSTER_UNKNOWN, "out of memory after the request was sent")
               : status_no_memory(e);
}

static enum call_step end_no_memory(struct call *c)
{
    return end(c, no_memory(c, &c->error));
}

static enum call_step give_up(struct call *c)
{
    struct muster_error *e = &c->error;
    if (e->text[0] == '\0') {
        (void)status_set(e, MUSTER_UNREACHABLE, "no endpoint may be asked: all failed lately");
    }
    e->status = c->may_be_done ? MUSTER_UNKNOWN : MUSTER_UNREACHABLE;
    return end(c, e->status);
}

static enum call_step wait_until(struct call *c, int64_t at)
{
    if (at >= c->deadline_at) {
        return give_up(c);
    }
    c->retry_at = at;
    return CALL_WAIT;
}

/* Reports how the endpoint did; the endpoint is not ours any more. */
static void report(struct call *c, int64_t now, bool is_ok)
{
    struct muster *m = c->m;
    pthread_mutex_lock(&m->lock);
    endpoints_report(&m->endpoints, c->endpoint, now, is_ok);
    pthread_mutex_unlock(&m->lock);
    c->tried |= UINT64_C(1) << c->endpoint;
    c->endpoint = -1;
}

void call_abandon(struct call *c)
{
    if (c->endpoint >= 0) {
        pthread_mutex_lock(&c->m->lock);
        endpoints_give_up(&c->m->endpoints, c->endpoint);
        pthread_mutex_unlock(&c->m->lock);
        c->endpoint = -1;
    }
}

static enum call_step begin(struct call *c, int64_t now)
{
    struct cbuf url;
    cbuf_init(&url, 2 * TARGET_MAX);
    cbuf_str(&url, c->m->endpoints.v[c->endpoint].url); /* never changes */
    cbuf_str(&url, c->target);
    cmem_free(c->url);
    c->url = cbuf_take(&url);
    if (c->url == NULL) {
        return end_no_memory(c);
    }
    int64_t left = c->deadline_at - now;
    struct http_out out = {.method = c->q.method,
                           .url = c->url,
                           .body = c->q.body,
                           .body_len = c->q.body_len,
                           .timeout_ms = left < c->attempt_ms ? left : c->attempt_ms};
    http_in_clear(&c->in);
    muster_status rc = http_prepare(c->easy, c->m, &out, c->headers, &c->in);
    if (rc != MUSTER_OK) {
        return end(c, status_set(&c->error, rc, "the request could not be made"));
    }
    return CALL_RUN;
}

enum call_step call_next(struct call *c, int64_t now)
{
    struct muster *m = c->m;
    if (atomic_load(&m->is_closing) && !c->ignores_close) {
        return end(c, status_set(&c->error, MUSTER_CLOSED, "the client is being closed"));
    }
    if (now >= c->deadline_at) {
        return give_up(c);
    }
    if (now < c->retry_at) {
        return CALL_WAIT;
    }
    int64_t at = 0;
    pthread_mutex_lock(&m->lock);
    c->endpoint = endpoints_pick(&m->endpoints, c->tried, now, &at);
    pthread_mutex_unlock(&m->lock);
    if (c->endpoint >= 0) {
        return begin(c, now);
    }
    if (c->tried == 0) {
        return wait_until(c, at);
    }
    c->tried = 0;
    return wait_until(c, now + call_backoff_ms(++c->n_rounds));
}

static enum call_step failed(struct call *c, int code, int64_t now)
{
    if (c->in.fault == HTTP_STOPPED) {
        call_abandon(c);
        return end(c, status_set(&c->error, MUSTER_CLOSED, "ended by on_data"));
    }
    if (c->in.fault == HTTP_NO_MEMORY || code == CURLE_OUT_OF_MEMORY) {
        c->may_be_done |= c->is_write && http_was_sent(c->easy);
        call_abandon(c);
        return end_no_memory(c);
    }
    if (c->in.fault == HTTP_TOO_LARGE) {
        call_abandon(c);
        return end(c, status_set(&c->error, MUSTER_REFUSED, "the answer is over %d MiB",
                                 HTTP_BODY_MAX >> 20));
    }
    c->may_be_done |= c->is_write && http_was_sent(c->easy);
    const char *url = c->m->endpoints.v[c->endpoint].url;
    (void)status_set(&c->error, MUSTER_UNREACHABLE, "%.100s: %.120s", url,
                     curl_easy_strerror((CURLcode)code));
    client_say(c->m, "warn", "%s", c->error.text);
    report(c, now, false);
    if (c->in.is_given) {
        return give_up(c);
    }
    return CALL_WAIT;
}

/* Answers that another attempt may change. 503: the node says whether the write may be done. */
static bool is_for_later(struct call *c)
{
    int s = c->in.status;
    if (!c->is_api) {
        return false;
    }
    if (s == 502 || s == 504 || s == 408 ||
        (s == 503 && strcmp(c->error.code, "UNKNOWN_OUTCOME") == 0)) {
        c->may_be_done |= c->is_write;
    }
    /* A 503 that is not of our making may come from anything in between. */
    if (s == 503 && c->error.code[0] == '\0') {
        c->may_be_done |= c->is_write;
    }
    return s == 502 || s == 503 || s == 504 || s == 408 || s == 429;
}

static enum call_step answered(struct call *c, int64_t now)
{
    int s = c->in.status;
    if ((s >= 200 && s <= 299) || s == 304) {
        report(c, now, true);
        return end(c, MUSTER_OK);
    }
    muster_status rc = status_from_answer(&c->error, s, c->in.body.p, c->in.body.len);
    if (!is_for_later(c)) {
        report(c, now, true);
        return end(c, rc);
    }
    int i = c->endpoint;
    report(c, now, s != 502 && s != 504);
    pthread_mutex_lock(&c->m->lock);
    endpoints_move_on(&c->m->endpoints, i);
    pthread_mutex_unlock(&c->m->lock);
    return CALL_WAIT;
}

enum call_step call_done(struct call *c, int code, int64_t now)
{
    return code == CURLE_OK && c->in.fault == HTTP_FINE ? answered(c, now) : failed(c, code, now);
}

/* --- on a thread that waits --- */

static int is_closing(void *arg)
{
    struct call *c = arg;
    return atomic_load(&c->m->is_closing) && !c->ignores_close;
}

muster_status call_perform(struct call *c, struct muster_error *e)
{
    struct line *l = NULL;
    muster_status rc = line_open(c->m, &l, e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    enum call_step step = call_next(c, clock_mono_ms());
    while (step != CALL_END) {
        int code = 0;
        if (step == CALL_WAIT) {
            line_sleep(l, c->retry_at);
        } else if (line_transfer(l, c->easy, is_closing, c, &code) == 0) {
            step = call_done(c, code, clock_mono_ms());
            if (step == CALL_END) {
                break;
            }
        } else {
            call_abandon(c);
        }
        step = call_next(c, clock_mono_ms());
    }
    line_close(c->m, l);
    if (c->status != MUSTER_OK && e != NULL) {
        *e = c->error;
    }
    return c->status;
}

static muster_status give_answer(struct call *c, struct muster_answer **out, struct muster_error *e)
{
    struct muster_answer *a = cmem_zalloc(sizeof(*a));
    c->may_be_done = c->is_write;
    if (a == NULL) {
        return no_memory(c, e);
    }
    *a = (struct muster_answer){.http_status = c->in.status,
                                .revision = c->in.revision,
                                .stale = c->in.stale,
                                .etag = c->in.etag,
                                .content_type = c->in.content_type,
                                .body_len = c->in.body.len};
    c->in.etag = NULL;
    c->in.content_type = NULL;
    a->body = cbuf_take(&c->in.body);
    if (a->body == NULL) {
        muster_answer_free(a);
        return no_memory(c, e);
    }
    *out = a;
    return MUSTER_OK;
}

muster_status muster_call(struct muster *m, const struct muster_request *q,
                          struct muster_answer **out, struct muster_error *e)
{
    struct call c;
    muster_status rc = call_init(&c, m, q, e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    rc = call_perform(&c, e);
    if (rc == MUSTER_OK && out != NULL) {
        rc = give_answer(&c, out, e);
    }
    call_fini(&c);
    return rc;
}

void muster_answer_free(struct muster_answer *a)
{
    if (a != NULL) {
        cmem_free(a->etag);
        cmem_free(a->content_type);
        cmem_free(a->body);
        cmem_free(a);
    }
}
