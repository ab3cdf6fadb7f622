/* SPDX-License-Identifier: Apache-2.0 */
/* curl tells which sockets and which time it waits for; uv waits. A request that is over is taken
 * out of the multi handle from the loop, never from inside curl. */
#include "server/core/fetch.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "base/mem.h"
#include "server/core/authorities.h"

enum { ANSWER_MAX = 4096, URL_MAX = 4096, REDIRECTS_MAX = 10, SERVICE_MAX = 512, FRAME_HEAD = 5 };

struct fetcher {
    CURLM *multi;
    uv_timer_t timer;
    struct authorities *authorities;
    int n_running;
};

struct fetch {
    struct fetcher *f;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    enum fetch_kind kind;
    struct buf body, answer, reason;
    char url[URL_MAX];
    char error[CURL_ERROR_SIZE];
    int grpc_status; /* -1: none was told */
    probe_done_cb done;
    void *arg;
};

/* A socket that curl waits for. */
struct watched {
    uv_poll_t poll;
    struct fetcher *f;
    curl_socket_t fd;
};

/* --- targets --- */

static int is_url(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '\\') {
            return 0;
        }
    }
    return s.len < URL_MAX - 64;
}

/* host:port, and behind a slash the service. */
static void split_service(struct slice target, struct slice *host, struct slice *service)
{
    const uint8_t *slash = target.len != 0 ? memchr(target.p, '/', target.len) : NULL;
    size_t n = slash != NULL ? (size_t)(slash - target.p) : target.len;
    *host = slice_of(target.p, n);
    *service = slash != NULL ? slice_of(slash + 1, target.len - n - 1) : slice_of(NULL, 0);
}

int fetch_check(const struct fetch_request *q, struct err *e)
{
    struct probe_target t;
    struct slice host = q->target, service = {0};
    struct slice http = SLICE_LIT("http://"), https = SLICE_LIT("https://");
    if (!is_url(q->target)) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "a target has at most %d characters, all of them visible ASCII",
                       URL_MAX - 64);
    }
    if (q->kind != FETCH_HTTP) {
        split_service(q->target, &host, &service);
        if (service.len > SERVICE_MAX || (q->kind != FETCH_GRPC && service.len != 0)) {
            return err_set(e, MU_E_BAD_REQUEST, "\"%.*s\" is no host:port", (int)host.len,
                           (const char *)host.p);
        }
        return probe_target_parse(CHECK_TCP, host, &t, e);
    }
    if (slice_has_prefix(q->target, https)) { /* the same but for one letter */
        char text[URL_MAX];
        int n = snprintf(text, sizeof(text), "http%.*s", (int)(q->target.len - 5),
                         (const char *)q->target.p + 5);
        return probe_target_parse(CHECK_HTTP, slice_of(text, (size_t)n), &t, e);
    }
    return slice_has_prefix(q->target, http)
               ? probe_target_parse(CHECK_HTTP, q->target, &t, e)
               : err_set(e, MU_E_BAD_REQUEST, "a check URL starts with http:// or https://");
}

/* --- one request --- */

static void fetch_free(struct fetch *x)
{
    if (x->easy != NULL) {
        (void)curl_multi_remove_handle(x->f->multi, x->easy);
        curl_easy_cleanup(x->easy);
    }
    curl_slist_free_all(x->headers);
    curl_slist_free_all(x->connect_to);
    buf_fini(&x->body);
    buf_fini(&x->answer);
    buf_fini(&x->reason);
    mem_free(x);
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct fetch *x = arg;
    size_t room = ANSWER_MAX - x->answer.len, take = size * n < room ? size * n : room;
    buf_append(&x->answer, p, take);
    return x->answer.len < ANSWER_MAX ? size * n : 0; /* more is not looked at */
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    static const char status[] = "grpc-status:";
    struct fetch *x = arg;
    size_t len = size * n;
    if (len > 5 && memcmp(p, "HTTP/", 5) == 0) { /* of a redirect, too: the last one counts */
        const char *code = memchr(p, ' ', len);
        const char *end = p + len;
        while (end > p && (end[-1] == '\r' || end[-1] == '\n')) {
            end--;
        }
        buf_clear(&x->answer);
        buf_clear(&x->reason);
        if (code != NULL && end > code + 5) {
            buf_append(&x->reason, code + 5, (size_t)(end - code - 5));
        }
    } else if (len > sizeof(status) && strncasecmp(p, status, sizeof(status) - 1) == 0) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%.*s", (int)(len - sizeof(status) + 1),
                       p + sizeof(status) - 1);
        if (sscanf(text, "%5d", &x->grpc_status) != 1) {
            x->grpc_status = -1;
        }
    }
    return len;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    (void)arg;
    (void)purpose;
    return probe_may_connect(&a->addr) ? socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol)
                                       : CURL_SOCKET_BAD;
}

static void add_header(struct fetch *x, const char *text)
{
    struct curl_slist *all = curl_slist_append(x->headers, text);
    x->headers = all != NULL ? all : x->headers;
}

static void put_headers(struct fetch *x, const struct fetch_request *q)
{
    struct pair_iter it;
    struct slice k, v;
    struct buf b;
    buf_init(&b);
    metadata_begin(&it, q->headers);
    while (metadata_next(&it, &k, &v)) {
        buf_clear(&b);
        buf_printf(&b, v.len != 0 ? "%.*s: %.*s" : "%.*s;", SLICE_FMT(k), SLICE_FMT(v));
        buf_append_byte(&b, 0);
        add_header(x, (const char *)b.p);
    }
    buf_fini(&b);
    if (q->kind == FETCH_GRPC) {
        add_header(x, "Content-Type: application/grpc");
        add_header(x, "TE: trailers");
    }
    add_header(x, "Expect:");
}

/* A length-prefixed message: HealthCheckRequest{service}. */
static void put_grpc(struct buf *out, struct slice service)
{
    size_t n = service.len == 0 ? 0 : service.len + (service.len < 128 ? 2 : 3);
    const uint8_t head[FRAME_HEAD] = {0, 0, 0, (uint8_t)(n >> 8), (uint8_t)n};
    buf_append(out, head, sizeof(head));
    if (service.len != 0) {
        buf_append_byte(out, 0x0a);
        if (service.len >= 128) {
            buf_append_byte(out, (uint8_t)(service.len | 0x80));
        }
        buf_append_byte(out, (uint8_t)(service.len < 128 ? service.len : service.len >> 7));
        buf_append_slice(out, service);
    }
}

static void put_url(struct fetch *x, const struct fetch_request *q)
{
    struct slice host, service;
    if (q->kind == FETCH_HTTP) {
        (void)snprintf(x->url, sizeof(x->url), "%.*s", SLICE_FMT(q->target));
        buf_append_slice(&x->body, q->body);
        return;
    }
    split_service(q->target, &host, &service);
    (void)snprintf(x->url, sizeof(x->url), "http%s://%.*s%s",
                   q->use_tls || q->kind == FETCH_TLS ? "s" : "", SLICE_FMT(host),
                   q->kind == FETCH_GRPC ? "/grpc.health.v1.Health/Check" : "/");
    if (q->kind == FETCH_GRPC) {
        put_grpc(&x->body, service);
    }
}

/* The certificate is to name another host than the URL: that one is asked for, at this address. */
static void put_server_name(struct fetch *x, const struct fetch_request *q)
{
    CURLU *u = curl_url();
    char *host = NULL, *port = NULL, *whole = NULL;
    char name[256], text[700];
    (void)snprintf(name, sizeof(name), "%.*s", SLICE_FMT(q->server_name));
    if (u != NULL && curl_url_set(u, CURLUPART_URL, x->url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_HOST, name, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_URL, &whole, 0) == CURLUE_OK && strlen(whole) < sizeof(x->url)) {
        (void)snprintf(text, sizeof(text), "Host: %s:%s", host, port);
        add_header(x, text);
        (void)snprintf(text, sizeof(text), "::%s:%s", host, port);
        x->connect_to = curl_slist_append(NULL, text);
        (void)snprintf(x->url, sizeof(x->url), "%s", whole);
    }
    curl_free(host);
    curl_free(port);
    curl_free(whole);
    curl_url_cleanup(u);
}

static void set_http(struct fetch *x, const struct fetch_request *q)
{
    char method[17];
    struct slice asked = q->kind == FETCH_GRPC ? SLICE_LIT("POST") : q->method;
    (void)snprintf(method, sizeof(method), "%.*s", (int)(asked.len < 16 ? asked.len : 16),
                   asked.len != 0 ? (const char *)asked.p : "");
    int is_1 = q->kind == FETCH_HTTP || q->kind == FETCH_TLS;
    long version = is_1         ? CURL_HTTP_VERSION_1_1
                   : q->use_tls ? CURL_HTTP_VERSION_2TLS
                                : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
    curl_easy_setopt(x->easy, CURLOPT_HTTP_VERSION, version);
    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1L);
    } else if (x->body.len != 0 || q->kind == FETCH_GRPC) {
        curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body.len);
        curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, x->body.p);
    }
    if (method[0] != '\0' && strcmp(method, "HEAD") != 0) {
        curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, method);
    } else if (x->body.len != 0 && method[0] == '\0') {
        curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, "GET");
    }
    if (q->kind == FETCH_TLS) {
        curl_easy_setopt(x->easy, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(x->easy, CURLOPT_SSL_ENABLE_ALPN, 0L); /* it need not be HTTP */
    }
    curl_easy_setopt(x->easy, CURLOPT_FOLLOWLOCATION, (long)(!q->no_redirects));
    curl_easy_setopt(x->easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
    curl_easy_setopt(x->easy, CURLOPT_USERAGENT, "Consul Health Check");
}

static void set_rest(struct fetch *x, const struct fetch_request *q)
{
    curl_easy_setopt(x->easy, CURLOPT_URL, x->url);
    curl_easy_setopt(x->easy, CURLOPT_PRIVATE, x);
    curl_easy_setopt(x->easy, CURLOPT_ERRORBUFFER, x->error);
    curl_easy_setopt(x->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(x->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(x->easy, CURLOPT_QUICK_EXIT, 1L); /* never wait for a resolver that hangs */
    curl_easy_setopt(x->easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(x->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(x->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
    curl_easy_setopt(x->easy, CURLOPT_SSL_VERIFYPEER, (long)(!q->skip_verify));
    curl_easy_setopt(x->easy, CURLOPT_SSL_VERIFYHOST, q->skip_verify ? 0L : 2L);
    curl_easy_setopt(x->easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(x->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(x->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(x->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(x->easy, CURLOPT_HEADERDATA, x);
    authorities_use(x->f->authorities, x->easy);
    if (x->connect_to != NULL) {
        curl_easy_setopt(x->easy, CURLOPT_CONNECT_TO, x->connect_to);
    }
}

struct fetch *fetch_start(struct fetcher *f, const struct fetch_request *q, probe_done_cb done,
                          void *arg)
{
    struct fetch *x = mem_zalloc(sizeof(*x));
    x->f = f;
    x->kind = q->kind;
    x->grpc_status = -1;
    x->done = done;
    x->arg = arg;
    x->easy = curl_easy_init();
    if (x->easy == NULL) {
        fetch_free(x);
        return NULL;
    }
    put_url(x, q);
    if (q->server_name.len != 0) {
        put_server_name(x, q);
    }
    put_headers(x, q);
    set_http(x, q);
    set_rest(x, q);
    if (curl_multi_add_handle(f->multi, x->easy) != CURLM_OK) {
        fetch_free(x);
        return NULL;
    }
    return x;
}

void fetch_cancel(struct fetch *x)
{
    fetch_free(x);
}

/* --- how it ended --- */

/* SERVING: the message is 0x08 0x01. */
static void judge_grpc(const struct fetch *x, struct probe_result *r, char text[PROBE_OUTPUT_MAX])
{
    struct slice a = buf_slice(&x->answer);
    int is_whole = x->grpc_status == 0 && a.len >= FRAME_HEAD;
    int serving = is_whole && a.len == FRAME_HEAD + 2 && a.p[5] == 0x08 ? a.p[6] : 0;
    r->is_ok = serving == 1;
    if (r->is_ok) {
        (void)snprintf(text, PROBE_OUTPUT_MAX, "success");
    } else if (x->grpc_status > 0) {
        (void)snprintf(text, PROBE_OUTPUT_MAX, "rpc error: code %d", x->grpc_status);
    } else {
        (void)snprintf(text, PROBE_OUTPUT_MAX, "%s",
                       is_whole ? "the service is not serving" : "the answer is not gRPC");
    }
    r->status = 0;
}

static void end(struct fetch *x, CURLcode code)
{
    char text[PROBE_OUTPUT_MAX];
    long status = 0;
    (void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    int is_cut = code == CURLE_WRITE_ERROR && x->answer.len == ANSWER_MAX; /* enough was read */
    int is_over = code == CURLE_OK || is_cut;
    struct probe_result r = {.status = is_over ? (int)status : 0, .output = text};
    if (!is_over) {
        (void)snprintf(text, sizeof(text), "%.190s",
                       code == CURLE_OPERATION_TIMEDOUT ? "timed out"
                       : x->error[0] != '\0'            ? x->error
                                                        : curl_easy_strerror(code));
    } else if (x->kind == FETCH_TLS) {
        r.is_ok = 1;
        r.status = 0;
        (void)snprintf(text, sizeof(text), "success");
    } else if (x->kind == FETCH_GRPC) {
        judge_grpc(x, &r, text);
    } else if (x->kind == FETCH_H2PING) {
        long version = 0;
        (void)curl_easy_getinfo(x->easy, CURLINFO_HTTP_VERSION, &version);
        r.is_ok = version == CURL_HTTP_VERSION_2_0;
        r.status = 0;
        (void)snprintf(text, sizeof(text), "%s", r.is_ok ? "success" : "HTTP/2 is not spoken");
    } else {
        r.is_ok = status >= 200 && status < 300;
        r.reason = buf_slice(&x->reason);
        r.body = buf_slice(&x->answer);
        (void)snprintf(text, sizeof(text), "HTTP %ld", status);
    }
    x->done(x->arg, &r);
    fetch_free(x);
}

/* --- curl and uv --- */

static void collect(struct fetcher *f)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(f->multi, &left)) != NULL) {
        struct fetch *x = NULL;
        CURLcode code = m->data.result;
        if (m->msg == CURLMSG_DONE &&
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&x) == CURLE_OK) {
            end(x, code);
        }
    }
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct watched *s = p->data;
    struct fetcher *f = s->f;
    int flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0) | (status < 0 ? CURL_CSELECT_ERR : 0);
    (void)curl_multi_socket_action(f->multi, s->fd, flags, &f->n_running);
    collect(f);
}

static void on_time(uv_timer_t *t)
{
    struct fetcher *f = t->data;
    (void)curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &f->n_running);
    collect(f);
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
    struct fetcher *f = arg;
    (void)multi;
    if (ms < 0) {
        uv_timer_stop(&f->timer);
    } else {
        uv_timer_start(&f->timer, on_time, (uint64_t)ms, 0);
    }
    return 0;
}

static void on_watched_closed(uv_handle_t *h)
{
    mem_free(h->data);
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct fetcher *f = arg;
    struct watched *s = known;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s != NULL) {
            (void)curl_multi_assign(f->multi, fd, NULL);
            uv_close((uv_handle_t *)&s->poll, on_watched_closed);
        }
        return 0;
    }
    if (s == NULL) {
        s = mem_zalloc(sizeof(*s));
        s->f = f;
        s->fd = fd;
        if (uv_poll_init(f->timer.loop, &s->poll, fd) != 0) {
            mem_free(s);
            return 0; /* its time runs out; an error would end all requests for good */
        }
        s->poll.data = s;
        (void)curl_multi_assign(f->multi, fd, s);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    (void)uv_poll_start(&s->poll, events, on_poll); /* the same */
    return 0;
}

struct fetcher *fetcher_new(uv_loop_t *loop)
{
    struct fetcher *f = mem_zalloc(sizeof(*f));
    f->multi = curl_multi_init();
    MU_INVARIANT(f->multi != NULL);
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    f->authorities = authorities_new();
    (void)curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    (void)curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
    (void)curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    (void)curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
    return f;
}

static void on_timer_closed(uv_handle_t *h)
{
    mem_free(h->data);
}

void fetcher_free(struct fetcher *f)
{
    (void)curl_multi_cleanup(f->multi);
    authorities_free(f->authorities);
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}
