/* SPDX-License-Identifier: Apache-2.0 */
/* Answers in pieces. Without a known end HTTP/1.1 gets chunks, HTTP/1.0 the bytes and a close. */
#include "server/http/http_impl.h"

static int is_chunked(const struct http_req *r)
{
    return r->minor > 0 && !r->is_sized;
}

static void begin(struct http_req *r, int status, const char *content_type)
{
    struct http_local *l = r->conn->l;
    answer_prepare(r, status);
    r->is_stream = 1;
    if (!is_chunked(r) && !r->is_sized) {
        r->is_keepalive = 0;
    }
    struct answer_head h = {
        .status = status,
        .content_type = content_type,
        .content_len = r->is_sized ? (int64_t)r->stream_left : -1,
        .is_chunked = is_chunked(r),
        .is_keepalive = r->is_keepalive,
    };
    answer_head_write(l, r, &h);
    conn_write(r->conn, &(struct slice){l->head.p, l->head.len}, 1);
}

void http_stream_begin(struct http_req *r, int status, const char *content_type)
{
    begin(r, status, content_type);
}

void http_stream_begin_sized(struct http_req *r, int status, const char *content_type, uint64_t len)
{
    r->is_sized = 1;
    r->stream_left = len;
    begin(r, status, content_type);
}

static size_t hex_line(char *out, size_t v)
{
    static const char digits[] = "0123456789abcdef";
    char tmp[16];
    size_t n = 0;
    do {
        tmp[n++] = digits[v & 15];
        v >>= 4;
    } while (v != 0);
    for (size_t i = 0; i < n; i++) {
        out[i] = tmp[n - 1 - i];
    }
    out[n] = '\r';
    out[n + 1] = '\n';
    return n + 2;
}

/* Room, or not: a stream that is above the low mark is watched for progress from here on. */
static int check_room(struct http_req *r)
{
    struct http_conn *c = r->conn;
    size_t queued = c->ops->queued(c->io);
    if (queued <= HTTP_STREAM_LOW) {
        return 1;
    }
    if (queued > HTTP_STREAM_MAX) {
        c->ops->abort(c->io);
    } else {
        conn_watch_output(c);
    }
    return 0;
}

int http_stream_write(struct http_req *r, struct slice data)
{
    struct http_conn *c = r->conn;
    MU_INVARIANT(r->is_stream && !r->is_answered);
    if (c->is_gone) {
        return 1;
    }
    if (r->is_sized) {
        MU_INVARIANT(data.len <= r->stream_left);
        r->stream_left -= data.len;
    }
    if (data.len > 0 && r->method != HTTP_M_HEAD) {
        char size[20];
        struct slice parts[3] = {slice_of(size, hex_line(size, data.len)), data, SLICE_LIT("\r\n")};
        if (is_chunked(r)) {
            conn_write(c, parts, 3);
        } else {
            conn_write(c, &data, 1);
        }
    }
    return check_room(r);
}

void http_stream_on_drain(struct http_req *r, void (*fn)(struct http_req *r))
{
    r->drain_fn = fn;
}

void http_stream_end(struct http_req *r)
{
    MU_INVARIANT(r->is_stream && !r->is_answered);
    if (r->is_sized && r->stream_left != 0 && r->method != HTTP_M_HEAD) {
        http_stream_abort(r);
        return;
    }
    if (is_chunked(r) && r->method != HTTP_M_HEAD) {
        conn_write(r->conn, &SLICE_LIT("0\r\n\r\n"), 1);
    }
    conn_answered(r);
}

void http_stream_abort(struct http_req *r)
{
    struct http_conn *c = r->conn;
    MU_INVARIANT(r->is_stream && !r->is_answered);
    r->is_keepalive = 0;
    if (!c->is_gone) {
        c->ops->abort(c->io);
    }
    conn_answered(r);
}
