/* SPDX-License-Identifier: Apache-2.0 */
/* resolve -> connect -> (HTTP) write request -> read status line -> done. Each step may fail or
 * time out: then done with the reason. probe_finish closes the handles; the last close frees. */
#include "server/core/probe.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <uv.h>

#include "base/mem.h"
#include "base/text.h"

enum { PROBE_READ_MAX = 4096 };

struct probe {
    union {
        uv_handle_t handle;
        uv_tcp_t tcp;
        uv_udp_t udp;
    };
    uv_timer_t timer;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    uv_write_t write;
    struct probe_target target;
    struct buf request;
    int wants_body;
    char answer[PROBE_READ_MAX];
    size_t answer_len;
    int n_open; /* handles and requests that still refer to us */
    int is_finished;
    probe_done_cb done;
    void *arg;
};

/* --- targets --- */

static int parse_port(struct slice s, uint16_t *out, struct err *e)
{
    uint64_t v;
    if (text_u64(s, 65535, &v) != 0 || v == 0) {
        return err_set(e, MU_E_BAD_REQUEST, "port \"%.*s\" is not a number from 1 to 65535",
                       SLICE_FMT(s));
    }
    *out = (uint16_t)v;
    return 0;
}

/* host, host:port, [v6], [v6]:port. Without a port *out_port stays. */
static int parse_authority(struct slice s, struct probe_target *out, int *has_port, struct err *e)
{
    struct slice host = s, port = {0};
    const uint8_t *colon = NULL;
    if (s.len > 0 && s.p[0] == '[') {
        const uint8_t *close = memchr(s.p, ']', s.len);
        if (close == NULL) {
            return err_set(e, MU_E_BAD_REQUEST, "\"%.*s\" has no closing ]", SLICE_FMT(s));
        }
        host = slice_of(s.p + 1, (size_t)(close - s.p) - 1);
        colon = close + 1 < s.p + s.len ? close + 1 : NULL;
        if (colon != NULL && *colon != ':') {
            return err_set(e, MU_E_BAD_REQUEST, "\"%.*s\": after ] only :port may follow",
                           SLICE_FMT(s));
        }
    } else if ((colon = memchr(s.p, ':', s.len)) != NULL) {
        host = slice_of(s.p, (size_t)(colon - s.p));
    }
    if (host.len == 0 || host.len > PROBE_HOST_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "\"%.*s\" has no host, or one longer than %d bytes",
                       SLICE_FMT(s), PROBE_HOST_MAX);
    }
    for (size_t i = 0; i < host.len; i++) {
        if (host.p[i] <= ' ' || host.p[i] >= 0x7f || strchr("/@?#\\\"", host.p[i]) != NULL) {
            return err_set(e, MU_E_BAD_REQUEST,
                           "host \"%.*s\" has a character that no host name has", SLICE_FMT(host));
        }
    }
    memcpy(out->host, host.p, host.len);
    out->host[host.len] = '\0';
    *has_port = colon != NULL;
    if (colon == NULL) {
        return 0;
    }
    port = slice_of(colon + 1, (size_t)(s.p + s.len - colon) - 1);
    return parse_port(port, &out->port, e);
}

static int parse_path(struct slice s, struct probe_target *out, struct err *e)
{
    if (s.len > PROBE_PATH_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "check URL path is longer than %d bytes",
                       PROBE_PATH_MAX);
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '#') {
            return err_set(e, MU_E_BAD_REQUEST,
                           "check URL has a character that must be percent-encoded");
        }
    }
    if (s.len == 0 || s.p[0] != '/') {
        out->path[0] = '/';
        memcpy(out->path + 1, s.p, s.len);
        out->path[s.len + 1] = '\0';
        return 0;
    }
    memcpy(out->path, s.p, s.len);
    out->path[s.len] = '\0';
    return 0;
}

int probe_target_parse(enum check_type type, struct slice text, struct probe_target *out,
                       struct err *e)
{
    const struct slice scheme = SLICE_LIT("http://");
    int has_port = 0;
    memset(out, 0, sizeof(*out));
    out->type = type;
    if (type == CHECK_TCP) {
        int rc = parse_authority(text, out, &has_port, e);
        return rc != 0 ? rc
               : has_port
                   ? 0
                   : err_set(e, MU_E_BAD_REQUEST, "a tcp check needs \"host:port\", not \"%.*s\"",
                             SLICE_FMT(text));
    }
    if (!slice_has_prefix(text, scheme)) {
        return err_set(e, MU_E_BAD_REQUEST, "a check URL starts with http://, not \"%.*s\"",
                       SLICE_FMT(text));
    }
    struct slice rest = slice_of(text.p + scheme.len, text.len - scheme.len);
    size_t n = 0;
    while (n < rest.len && rest.p[n] != '/' && rest.p[n] != '?') {
        n++;
    }
    out->port = 80;
    int rc = parse_authority(slice_of(rest.p, n), out, &has_port, e);
    return rc != 0 ? rc : parse_path(slice_of(rest.p + n, rest.len - n), out, e);
}

/* --- running --- */

static void release(struct probe *p)
{
    if (--p->n_open == 0) {
        buf_fini(&p->request);
        mem_free(p);
    }
}

static void on_close(uv_handle_t *h)
{
    release(h->data);
}

static void finish(struct probe *p, const struct probe_result *r)
{
    if (p->is_finished) {
        return;
    }
    p->is_finished = 1;
    uv_cancel((uv_req_t *)&p->resolve);
    uv_close(&p->handle, on_close);
    uv_close((uv_handle_t *)&p->timer, on_close);
    if (p->done != NULL) {
        p->done(p->arg, r);
    }
}

static void probe_finish(struct probe *p, int is_ok, const char *output)
{
    finish(p, &(struct probe_result){.is_ok = is_ok, .output = output});
}

/* "HTTP/1.1 200 ..." -> 200; 0 while incomplete, -1 when it is no HTTP answer. */
static int status_of(const char *s, size_t len)
{
    if (len < 13) {
        return memcmp(s, "HTTP/1.", len < 7 ? len : 7) == 0 ? 0 : -1;
    }
    if (memcmp(s, "HTTP/1.", 7) != 0 || s[8] != ' ') {
        return -1;
    }
    int v = 0;
    for (int i = 9; i < 12; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return -1;
        }
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

/* What the answer says behind its status line's code, and behind its head. */
static void split_answer(const struct probe *p, struct probe_result *r)
{
    const char *end = memchr(p->answer, '\r', p->answer_len);
    const char *head = memmem(p->answer, p->answer_len, "\r\n\r\n", 4);
    if (end != NULL && end > p->answer + 13) {
        r->reason = slice_of(p->answer + 13, (size_t)(end - p->answer) - 13);
    }
    if (head != NULL) {
        size_t at = (size_t)(head - p->answer) + 4;
        r->body = slice_of(p->answer + at, p->answer_len - at);
    }
}

/* is_over: no more of the answer will be looked at. */
static void judge(struct probe *p, int is_over)
{
    char text[PROBE_OUTPUT_MAX];
    int status = status_of(p->answer, p->answer_len);
    if (status == 0 || (status > 0 && p->wants_body && !is_over)) {
        return;
    }
    if (status < 0) {
        probe_finish(p, 0, "the answer is not HTTP/1.x");
        return;
    }
    if (status >= 100 && status < 200) {
        probe_finish(p, 0, "an interim HTTP answer only");
        return;
    }
    struct probe_result r = {.is_ok = status >= 200 && status < 300, .status = status};
    snprintf(text, sizeof(text), "HTTP %d", status);
    r.output = text;
    split_answer(p, &r);
    finish(p, &r);
}

static void on_timeout(uv_timer_t *t)
{
    struct probe *p = t->data;
    if (p->target.is_udp) {
        probe_finish(p, 1, "nobody objects");
        return;
    }
    judge(p, 1); /* the rest of a body is not what is asked for */
    probe_finish(p, 0, "timed out");
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct probe *p = h->data;
    (void)suggested;
    *out = uv_buf_init(p->answer + p->answer_len, (unsigned)(PROBE_READ_MAX - p->answer_len));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct probe *p = s->data;
    (void)buf;
    if (n < 0) {
        judge(p, 1);
        probe_finish(p, 0, n == UV_EOF ? "closed without an HTTP answer" : uv_strerror((int)n));
        return;
    }
    p->answer_len += (size_t)n;
    judge(p, p->answer_len == PROBE_READ_MAX);
    if (!p->is_finished && p->answer_len == PROBE_READ_MAX) {
        probe_finish(p, 0, "no status line in the first 4 KiB");
    }
}

static void on_written(uv_write_t *w, int status)
{
    struct probe *p = w->data;
    if (status != 0) {
        probe_finish(p, 0, uv_strerror(status));
    }
    release(p);
}

static void send_request(struct probe *p)
{
    uv_buf_t b = uv_buf_init((char *)p->request.p, (unsigned)p->request.len);
    p->write.data = p;
    p->n_open++;
    int rc = uv_write(&p->write, (uv_stream_t *)&p->tcp, &b, 1, on_written);
    if (rc == 0) {
        rc = uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read);
    } else {
        p->n_open--;
    }
    if (rc != 0) {
        probe_finish(p, 0, uv_strerror(rc));
    }
}

static void on_connected(uv_connect_t *r, int status)
{
    struct probe *p = r->data;
    if (!p->is_finished) {
        if (status != 0) {
            probe_finish(p, 0, uv_strerror(status));
        } else if (p->target.type == CHECK_TCP) {
            probe_finish(p, 1, "connected");
        } else {
            send_request(p);
        }
    }
    release(p);
}

/* 169.254.0.0/16, also as IPv6 carries it: mapped, translated (RFC 6052), and 6to4. */
static int is_link_local_v4(const uint8_t v4[4])
{
    return v4[0] == 169 && v4[1] == 254;
}

int probe_may_connect(const struct sockaddr *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t translated[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t compatible[12];
    if (a->sa_family == AF_INET) {
        uint32_t v = ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr;
        return !is_link_local_v4((const uint8_t *)&v);
    }
    if (a->sa_family != AF_INET6) {
        return 1;
    }
    const uint8_t *v6 = ((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr;
    int has_v4 = memcmp(v6, mapped, sizeof(mapped)) == 0 ||
                 memcmp(v6, translated, sizeof(translated)) == 0 ||
                 memcmp(v6, compatible, sizeof(compatible)) == 0;
    int is_6to4 = v6[0] == 0x20 && v6[1] == 0x02;
    return !(v6[0] == 0xfe && (v6[1] & 0xc0) == 0x80) &&
           !(has_v4 && is_link_local_v4(v6 + sizeof(mapped))) &&
           !(is_6to4 && is_link_local_v4(v6 + 2));
}

static void on_datagram(uv_udp_t *u, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                        unsigned flags)
{
    struct probe *p = u->data;
    (void)buf;
    (void)flags;
    if (n < 0) {
        probe_finish(p, 0, uv_strerror((int)n));
    } else if (from != NULL) {
        probe_finish(p, 1, "answered");
    }
}

/* Nothing more is known of a datagram than that nobody objects to it in time. */
static void send_datagram(struct probe *p, const struct sockaddr *a)
{
    char text[] = "\n";
    uv_buf_t b = uv_buf_init(text, 1);
    int rc = uv_udp_connect(&p->udp, a);
    rc = rc != 0 ? rc : uv_udp_recv_start(&p->udp, on_alloc, on_datagram);
    rc = rc != 0 ? rc : uv_udp_try_send(&p->udp, &b, 1, NULL);
    if (rc < 0) {
        probe_finish(p, 0, uv_strerror(rc));
    }
}

static void connect_to(struct probe *p, const struct sockaddr *a)
{
    if (!probe_may_connect(a)) {
        probe_finish(p, 0, "link-local addresses are not probed");
        return;
    }
    if (p->target.is_udp) {
        send_datagram(p, a);
        return;
    }
    p->connect.data = p;
    p->n_open++;
    int rc = uv_tcp_connect(&p->connect, &p->tcp, a, on_connected);
    if (rc != 0) {
        p->n_open--;
        probe_finish(p, 0, uv_strerror(rc));
    }
}

static void on_resolved(uv_getaddrinfo_t *r, int status, struct addrinfo *res)
{
    struct probe *p = r->data;
    if (!p->is_finished) {
        if (status != 0) {
            probe_finish(p, 0, uv_strerror(status));
        } else {
            connect_to(p, res->ai_addr);
        }
    }
    uv_freeaddrinfo(res);
    release(p);
}

static void resolve(struct probe *p)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (uv_ip4_addr(p->target.host, p->target.port, &v4) == 0) {
        connect_to(p, (const struct sockaddr *)&v4);
        return;
    }
    if (uv_ip6_addr(p->target.host, p->target.port, &v6) == 0) {
        connect_to(p, (const struct sockaddr *)&v6);
        return;
    }
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    snprintf(port, sizeof(port), "%u", p->target.port);
    p->resolve.data = p;
    p->n_open++;
    int rc = uv_getaddrinfo(p->handle.loop, &p->resolve, on_resolved, p->target.host, port, &hints);
    if (rc != 0) {
        p->n_open--;
        probe_finish(p, 0, uv_strerror(rc));
    }
}

/* The first step runs from the loop, so that done never fires inside probe_start. */
static void on_begin(uv_timer_t *t)
{
    struct probe *p = t->data;
    uv_timer_start(t, on_timeout, uv_timer_get_repeat(t), 0);
    resolve(p);
}

static int has_header(struct slice headers, const char *name)
{
    struct pair_iter it;
    struct slice k, v;
    metadata_begin(&it, headers);
    while (metadata_next(&it, &k, &v)) {
        if (k.len == strlen(name) && strncasecmp((const char *)k.p, name, k.len) == 0) {
            return 1;
        }
    }
    return 0;
}

static void put_header(struct buf *b, const char *name, const char *value, struct slice given)
{
    if (!has_header(given, name)) {
        buf_printf(b, "%s: %s\r\n", name, value);
    }
}

static void put_request(struct buf *b, const struct probe_target *t, const struct probe_request *q)
{
    static const struct probe_request get;
    struct pair_iter it;
    struct slice k, v;
    int is_v6 = strchr(t->host, ':') != NULL;
    q = q != NULL ? q : &get;
    struct slice method = q->method.len != 0 ? q->method : SLICE_LIT("GET");
    buf_printf(b, "%.*s %s HTTP/1.1\r\n", (int)(method.len < 16 ? method.len : 16),
               (const char *)method.p, t->path);
    if (!has_header(q->headers, "Host")) {
        buf_printf(b, "Host: %s%s%s:%u\r\n", is_v6 ? "[" : "", t->host, is_v6 ? "]" : "", t->port);
    }
    put_header(b, "User-Agent", q->is_consul ? "Consul Health Check" : "muster-check", q->headers);
    put_header(b, "Accept", q->is_consul ? "text/plain, text/*, */*" : "*/*", q->headers);
    metadata_begin(&it, q->headers);
    while (metadata_next(&it, &k, &v)) {
        buf_printf(b, "%.*s: %.*s\r\n", SLICE_FMT(k), SLICE_FMT(v));
    }
    if (q->body.len != 0) {
        buf_printf(b, "Content-Length: %zu\r\n", q->body.len);
    }
    buf_append_str(b, "Connection: close\r\n\r\n");
    buf_append_slice(b, q->body);
}

struct probe *probe_start(uv_loop_t *loop, const struct probe_target *t,
                          const struct probe_request *q, int64_t timeout_ms, probe_done_cb done,
                          void *arg)
{
    struct probe *p = mem_zalloc(sizeof(*p));
    p->target = *t;
    p->done = done;
    p->arg = arg;
    p->wants_body = q != NULL && q->wants_body;
    put_request(&p->request, t, q);
    if (t->is_udp) {
        uv_udp_init(loop, &p->udp);
    } else {
        uv_tcp_init(loop, &p->tcp);
    }
    uv_timer_init(loop, &p->timer);
    p->handle.data = p->timer.data = p;
    p->n_open = 2;
    uv_timer_start(&p->timer, on_begin, 0, (uint64_t)timeout_ms);
    return p;
}

void probe_cancel(struct probe *p)
{
    p->done = NULL;
    probe_finish(p, 0, "");
}
