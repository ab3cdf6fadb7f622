/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: the head by plain copies into the worker's scratch, then head and body to the connection
 * in one call. */
#include "server/http/http_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < N_ELEMENTS(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

/* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", made once a second. */
static struct slice date_line(struct http_local *l)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t s = clock_wall_ms() / 1000;
    if (s != l->date_s) {
        struct tm t;
        time_t tt = (time_t)s;
        if (gmtime_r(&tt, &t) != NULL) {
            (void)snprintf(
                l->date, sizeof(l->date), "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
                days + 3 * t.tm_wday, t.tm_mday % 100, months + 3 * t.tm_mon,
                (t.tm_year + 1900) % 10000, t.tm_hour % 100, t.tm_min % 100, t.tm_sec % 100);
        }
        l->date_s = s;
    }
    return slice_str(l->date);
}

/* A cursor over reserved memory: every length was added up before. */
static uint8_t *put(uint8_t *p, const char *s, size_t len)
{
    memcpy(p, s, len);
    return p + len;
}

#define PUT_LIT(p, lit) put((p), (lit), sizeof(lit) - 1)

/* Text that came from elsewhere cannot end a header line. */
static uint8_t *put_clean(uint8_t *p, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)s[i];
        *p++ = c < 0x20 || c == 0x7f ? ' ' : c;
    }
    return p;
}

static uint8_t *put_u64(uint8_t *p, uint64_t v)
{
    char digits[20];
    size_t n = sizeof(digits);
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    return put(p, digits + n, sizeof(digits) - n);
}

static uint8_t *put_status_line(uint8_t *p, int status)
{
    const char *reason = reason_of(status);
    p = PUT_LIT(p, "HTTP/1.1 ");
    p = put_u64(p, (uint64_t)status);
    *p++ = ' ';
    p = put(p, reason, strlen(reason));
    return PUT_LIT(p, "\r\n");
}

static uint8_t *put_framing(uint8_t *p, const struct http_req *r, const struct answer_head *h)
{
    if (h->content_len >= 0) {
        p = PUT_LIT(p, "Content-Length: ");
        p = put_u64(p, (uint64_t)h->content_len);
        p = PUT_LIT(p, "\r\n");
    }
    if (h->is_chunked) {
        p = PUT_LIT(p, "Transfer-Encoding: chunked\r\n");
    }
    if (!h->is_keepalive) {
        p = PUT_LIT(p, "Connection: close\r\n");
    } else if (r != NULL && r->minor == 0) {
        p = PUT_LIT(p, "Connection: keep-alive\r\n");
    }
    return p;
}

void answer_head_write(struct http_local *l, const struct http_req *r, const struct answer_head *h)
{
    size_t type_len = h->content_type != NULL ? strlen(h->content_type) : 0;
    struct slice own = r != NULL && r->mount != NULL ? r->mount->headers : slice_of(NULL, 0);
    buf_clear(&l->head);
    uint8_t *start =
        buf_reserve(&l->head, 512 + type_len + own.len + (r != NULL ? r->extra_len : 0));
    uint8_t *p = put_status_line(start, h->status);
    struct slice date = date_line(l);
    p = put(p, (const char *)date.p, date.len);
    if (h->content_type != NULL) {
        p = PUT_LIT(p, "Content-Type: ");
        p = put_clean(p, h->content_type, type_len);
        p = PUT_LIT(p, "\r\n");
    }
    p = PUT_LIT(p, "X-Content-Type-Options: nosniff\r\n");
    if (h->is_varying) {
        p = PUT_LIT(p, "Vary: Accept-Encoding\r\n");
    }
    if (h->is_gzip) {
        p = PUT_LIT(p, "Content-Encoding: gzip\r\n");
    }
    p = put_framing(p, r, h);
    if (own.len != 0) {
        p = put(p, (const char *)own.p, own.len);
    }
    for (const struct extra_header *x = r != NULL ? r->extra : NULL; x != NULL; x = x->next) {
        p = put(p, x->text, x->len);
    }
    p = PUT_LIT(p, "\r\n");
    l->head.len = (size_t)(p - start);
}

void http_add_header(struct http_req *r, const char *name, const char *value)
{
    size_t name_len = strlen(name);
    size_t value_len = strlen(value);
    MU_INVARIANT(name_len + value_len <= INT32_MAX - r->extra_len);
    struct extra_header *x = http_alloc(r, sizeof(*x) + name_len + value_len + 4);
    x->next = NULL;
    uint8_t *p = put((uint8_t *)x->text, name, name_len);
    p = PUT_LIT(p, ": ");
    p = put_clean(p, value, value_len);
    p = PUT_LIT(p, "\r\n");
    x->len = (uint32_t)(p - (uint8_t *)x->text);
    *r->extra_tail = x;
    r->extra_tail = &x->next;
    r->extra_len += x->len;
}

void http_add_header_u64(struct http_req *r, const char *name, uint64_t v)
{
    char digits[24];
    uint8_t *end = put_u64((uint8_t *)digits, v);
    *end = '\0';
    http_add_header(r, name, digits);
}

struct buf *http_scratch(struct http_req *r)
{
    struct buf *b = &r->conn->l->scratch;
    buf_clear(b);
    return b;
}

static int has_extra(const struct http_req *r, struct slice prefix)
{
    for (const struct extra_header *x = r->extra; x != NULL; x = x->next) {
        if (slice_has_prefix(slice_of(x->text, x->len), prefix)) {
            return 1;
        }
    }
    return 0;
}

static void trim(struct buf *b)
{
    if (b->cap > HTTP_SCRATCH_KEEP) {
        buf_fini(b);
        buf_init(b);
    }
}

void answer_prepare(struct http_req *r, int status)
{
    struct http_server *s = r->conn->l->server;
    MU_INVARIANT(!r->is_answered && !r->is_stream); /* each request is answered once */
    r->status = (int16_t)status;
    if (s->o.before_answer != NULL) {
        s->o.before_answer(r, s->o.arg);
    }
    if (r->conn->is_draining) {
        r->is_keepalive = 0;
    }
}

/* Others hold all the memory there is for answers that nobody reads. What a request that changes
 * something did is told in any case: net cuts the connection when it must. */
static int is_too_much(const struct http_req *r, struct slice body)
{
    const struct http_conn *c = r->conn;
    return body.len > HTTP_SMALL_MAX && r->method == HTTP_M_GET && !c->is_gone &&
           c->ops->held(c->io) >= c->l->limits->held_output_bytes;
}

static void respond_too_much(struct http_req *r)
{
    r->extra = NULL; /* headers of the answer that is not given */
    r->extra_tail = &r->extra;
    r->extra_len = 0;
    http_add_header(r, "Retry-After", "1");
    dispatch_refuse(r, MU_E_OVERLOADED,
                    "too many large answers wait for their clients to read them, try again later "
                    "or against a different server");
}

void http_respond(struct http_req *r, int status, const char *content_type, struct slice body)
{
    struct http_local *l = r->conn->l;
    if (is_too_much(r, body)) {
        respond_too_much(r);
        trim(&l->scratch);
        return;
    }
    answer_prepare(r, status);
    int is_bodyless = status == 204 || status == 304;
    struct answer_head h = {
        .status = status,
        .content_type = is_bodyless ? NULL : content_type,
        .content_len = is_bodyless ? -1 : (int64_t)body.len,
        .is_keepalive = r->is_keepalive,
    };
    if (!is_bodyless && body.len >= HTTP_GZIP_MIN && body.len <= HTTP_GZIP_MAX &&
        gzip_is_textual(content_type) && !has_extra(r, SLICE_LIT("Content-Encoding:"))) {
        h.is_varying = 1;
        h.is_gzip = gzip_is_accepted(r);
    }
    if (h.is_gzip) {
        gzip_pack(l, body);
        body = buf_slice(&l->zipped);
        h.content_len = (int64_t)body.len;
    }
    answer_head_write(l, r, &h);
    int has_body = !is_bodyless && r->method != HTTP_M_HEAD && body.len > 0;
    conn_write(r->conn, (struct slice[]){buf_slice(&l->head), body}, has_body ? 2 : 1);
    conn_answered(r);
    trim(&l->scratch);
    trim(&l->zipped);
    trim(&l->problem);
}

/* RFC 9457. The type is "urn:muster:error:" and the code word in lower case with hyphens. */
void answer_problem_body(struct http_local *l, int code, const char *detail,
                         void (*add)(struct jw *w, void *arg), void *arg)
{
    char type[80] = "urn:muster:error:";
    const char *name = err_name(code);
    size_t n = strlen(type);
    for (size_t i = 0; name[i] != '\0' && n < sizeof(type) - 1; i++) {
        type[n++] = (char)(name[i] == '_' ? '-' : name[i] | 0x20);
    }
    type[n] = '\0';
    buf_clear(&l->problem);
    struct jw w;
    jw_init(&w, &l->problem);
    jw_obj(&w);
    jw_key(&w, "type");
    jw_str(&w, type);
    jw_key(&w, "title");
    jw_str(&w, err_title(code));
    jw_key(&w, "status");
    jw_i64(&w, err_http_status(code));
    jw_key(&w, "detail");
    jw_str(&w, detail != NULL && detail[0] != '\0' ? detail : err_title(code));
    jw_key(&w, "code");
    jw_str(&w, name);
    if (add != NULL) {
        add(&w, arg);
    }
    jw_end(&w);
}

void http_respond_problem(struct http_req *r, int code, const char *detail,
                          void (*add)(struct jw *w, void *arg), void *arg)
{
    struct http_local *l = r->conn->l;
    answer_problem_body(l, code, detail, add, arg);
    http_respond(r, err_http_status(code), "application/problem+json", buf_slice(&l->problem));
}

void http_respond_error(struct http_req *r, int code, const char *fmt, ...)
{
    char text[HTTP_ERR_TEXT_MAX] = "";
    if (fmt != NULL) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
    }
    http_respond_problem(r, code, text, NULL, NULL);
}
