/* SPDX-License-Identifier: Apache-2.0 */
/* The parser behind the head guard. A head reaches it whole, so header spans lie in one piece of
 * memory.
 *
 * llhttp decides what headers mean for the framing of the message; our own checks only ever refuse
 * more. Chunked bodies go through the same parser object; it pauses behind the last chunk so that
 * the trailer section passes the guard before the parser sees it. */
#include "server/http/http_impl.h"

#include "base/mem.h"

/* A span that goes on where the last name ended belongs to the same name: names are always followed
 * by a colon. */
static int on_field(llhttp_t *p, const char *at, size_t len)
{
    struct head_parse *h = p->data;
    uint16_t off = (uint16_t)((const uint8_t *)at - h->base);
    struct head_field *f = h->n_fields > 0 ? &h->fields[h->n_fields - 1] : NULL;
    if (f == NULL || f->name + f->name_len != off) {
        if (h->n_fields == HEAD_FIELDS_MAX) {
            return HPE_USER;
        }
        f = &h->fields[h->n_fields++];
        *f = (struct head_field){.name = off};
    }
    f->name_len = (uint16_t)(off + len - f->name);
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
    struct head_parse *h = p->data;
    if (h->n_fields == 0) {
        return HPE_USER;
    }
    uint16_t off = (uint16_t)((const uint8_t *)at - h->base);
    struct head_field *f = &h->fields[h->n_fields - 1];
    if (f->value == 0) {
        f->value = off;
    }
    f->value_len = (uint16_t)(off + len - f->value);
    return 0;
}

static int on_headers_complete(llhttp_t *p)
{
    struct head_parse *h = p->data;
    h->is_complete = 1;
    h->is_keepalive = llhttp_should_keep_alive(p) !=
                      0; /* the end of a message without body clears what this looks at */
    p->upgrade = 0;      /* an offered upgrade is not taken: the message is read as what it is */
    return 0;
}

/* The announced size is checked before any of the chunk is taken. */
static int on_chunk_header(llhttp_t *p)
{
    struct http_req *r = p->data;
    if (p->content_length == 0) {
        return HPE_PAUSED;
    }
    r->is_too_large = p->content_length > r->body_max - r->body_got;
    return r->is_too_large ? HPE_USER : 0;
}

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    req_body_append(p->data, (const uint8_t *)at, len);
    return 0;
}

static int on_message_complete(llhttp_t *p)
{
    (void)p;
    return HPE_PAUSED;
}

static const llhttp_settings_t head_settings = {
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
};

static const llhttp_settings_t body_settings = {
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

static struct slice field_name(const struct head_parse *h, const struct head_field *f)
{
    return slice_of(h->base + f->name, f->name_len);
}

static int is_name(struct slice s, const char *lower, size_t len)
{
    if (s.len != len) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t c = s.p[i];
        if ((c >= 'A' && c <= 'Z' ? c | 0x20 : c) != (uint8_t)lower[i]) {
            return 0;
        }
    }
    return 1;
}

#define IS_NAME(s, lit) is_name((s), (lit), sizeof(lit) - 1)

static int check_host(struct slice v, struct err *e)
{
    static const char ok[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]%~!$&'()*+;=";
    for (size_t i = 0; i < v.len; i++) {
        if (memchr(ok, v.p[i], sizeof(ok) - 1) == NULL) {
            return err_set(e, MU_E_BAD_REQUEST, "the Host header is not a host");
        }
    }
    return 0;
}

static int refuse_coding(struct err *e)
{
    return err_set(e, MU_E_NOT_IMPLEMENTED, "the only transfer coding understood is chunked");
}

static int has_length(const struct head_parse *h)
{
    for (unsigned i = 0; i < h->n_fields; i++) {
        if (IS_NAME(field_name(h, &h->fields[i]), "content-length")) {
            return 1;
        }
    }
    return 0;
}

/* What the parser leaves to us: which framing headers may occur, and how often. */
static int check_fields(const struct head_parse *h, int minor, struct err *e)
{
    unsigned n_host = 0;
    unsigned n_te = 0;
    unsigned n_length = 0;
    int code = 0;
    for (unsigned i = 0; i < h->n_fields && code == 0; i++) {
        struct slice name = field_name(h, &h->fields[i]);
        struct slice value = slice_of(h->base + h->fields[i].value, h->fields[i].value_len);
        if (IS_NAME(name, "host")) {
            n_host++;
            code = check_host(value, e);
        } else if (IS_NAME(name, "content-length")) {
            n_length++;
        } else if (IS_NAME(name, "transfer-encoding")) {
            if (minor == 0) {
                code = err_set(e, MU_E_BAD_REQUEST, "Transfer-Encoding in an HTTP/1.0 request");
            } else if (++n_te > 1 || !IS_NAME(value, "chunked")) {
                code = refuse_coding(e);
            }
        }
    }
    if (code == 0 && (n_host > 1 || (n_host == 0 && minor > 0))) {
        code = err_set(e, MU_E_BAD_REQUEST, "exactly one Host header is needed");
    }
    if (code == 0 && n_length + n_te > 1) {
        code = err_set(e, MU_E_BAD_REQUEST, "more than one header gives the length of the body");
    }
    return code;
}

static int method_of(const llhttp_t *p)
{
    switch (p->method) {
    case HTTP_GET:
        return HTTP_M_GET;
    case HTTP_PUT:
        return HTTP_M_PUT;
    case HTTP_POST:
        return HTTP_M_POST;
    case HTTP_DELETE:
        return HTTP_M_DELETE;
    case HTTP_PATCH:
        return HTTP_M_PATCH;
    case HTTP_HEAD:
        return HTTP_M_HEAD;
    case HTTP_OPTIONS:
        return HTTP_M_OPTIONS;
    default:
        return 0;
    }
}

/* Blanks around a value are no part of it. */
static void trim_values(struct head_parse *h)
{
    for (unsigned i = 0; i < h->n_fields; i++) {
        struct head_field *f = &h->fields[i];
        while (f->value_len > 0 && (h->base[f->value + f->value_len - 1] == ' ' ||
                                    h->base[f->value + f->value_len - 1] == '\t')) {
            f->value_len--;
        }
    }
}

static int parse_error(const llhttp_t *p, const char *what, struct err *e)
{
    const char *reason = llhttp_get_error_reason(p);
    return err_set(e, MU_E_BAD_REQUEST, "malformed %s: %s", what,
                   reason != NULL ? reason : "incomplete");
}

static struct http_req *make_request(struct http_conn *c, struct slice head,
                                     const struct head_parse *h, const llhttp_t *p)
{
    struct http_req *r = req_new(c, head, h);
    r->method = (uint8_t)method_of(p);
    r->minor = c->guard.minor;
    r->is_keepalive = h->is_keepalive;
    if ((p->flags & F_CHUNKED) != 0) {
        r->chunked = http_alloc(r, sizeof(*r->chunked));
        *r->chunked = *p;
        r->chunked->settings = (void *)(uintptr_t)&body_settings;
        r->chunked->data = r;
    } else {
        r->body_left = (p->flags & F_CONTENT_LENGTH) != 0 ? p->content_length : 0;
    }
    return r;
}

int parse_head(struct http_conn *c, struct slice head, struct http_req **out, struct err *e)
{
    struct head_parse *h = &c->l->parse;
    h->base = head.p;
    h->n_fields = 0;
    h->is_complete = 0;
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &head_settings);
    parser.data = h;
    enum llhttp_errno rc = llhttp_execute(&parser, (const char *)head.p, head.len);
    trim_values(h);
    int code = 0;
    if (h->is_complete) {
        code = check_fields(h, c->guard.minor, e); /* first: our refusals are more exact */
    } else if (rc == HPE_INVALID_TRANSFER_ENCODING && c->guard.minor > 0 && !has_length(h)) {
        code = refuse_coding(e); /* with a length beside it, it is one of two lengths: 400 in every
                                    version of the parser */
    }
    if (code == 0 && parser.method == HTTP_CONNECT) {
        code = err_set(e, MU_E_BAD_REQUEST, "this is no proxy");
    }
    if (code == 0 && (rc != HPE_OK || !h->is_complete)) {
        code = parse_error(&parser, "request head", e);
    }
    if (code == 0 && (parser.http_major != 1 || parser.http_minor != c->guard.minor)) {
        code = err_set(e, MU_E_BAD_REQUEST, "malformed request line");
    }
    if (code == 0) {
        *out = make_request(c, head, h, &parser);
    }
    return code;
}

int parse_chunks(struct http_req *r, struct slice in, size_t *out_used, struct err *e)
{
    enum llhttp_errno rc = llhttp_execute(r->chunked, (const char *)in.p, in.len);
    size_t used = rc == HPE_PAUSED
                      ? (size_t)((const uint8_t *)llhttp_get_error_pos(r->chunked) - in.p)
                      : in.len;
    r->body_fed += used;
    if (r->is_too_large) {
        return err_set(e, MU_E_TOO_LARGE, "the body is over %llu bytes",
                       (unsigned long long)r->body_max);
    }
    if (rc != HPE_OK && rc != HPE_PAUSED) {
        return parse_error(r->chunked, "chunk", e);
    }
    if (r->body_fed - r->body_got > HTTP_REST_MAX + HTTP_CHUNK_OVERHEAD * r->body_got) {
        return err_set(e, MU_E_BAD_REQUEST, "the chunks hold more framing than body");
    }
    *out_used = used;
    return rc == HPE_PAUSED ? 0 : HEAD_MORE;
}

int parse_trailer(struct http_req *r, struct slice in, struct err *e)
{
    llhttp_resume(r->chunked);
    enum llhttp_errno rc = llhttp_execute(r->chunked, (const char *)in.p, in.len);
    /* Only the end of the message pauses here, and it must be the end of the section. */
    if (rc != HPE_PAUSED || (const uint8_t *)llhttp_get_error_pos(r->chunked) != in.p + in.len) {
        return parse_error(r->chunked, "trailer", e);
    }
    return 0;
}
