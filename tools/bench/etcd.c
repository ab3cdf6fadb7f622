/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC clients for etcd over nghttp2, protobuf by hand: Put, linearizable Range, LeaseGrant,
 * LeaseKeepAlive streams. At most 16 connections with many streams each, which serves etcd best. */
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tools/bench/load.h"

enum { CONNS_MAX = 16, MESSAGE_MAX = 70000 };

struct stream {
    struct conn *c;
    int32_t id;
    uint64_t started_at;
    uint8_t *msg;
    size_t len, at;
    int status;       /* grpc-status; -1 unknown */
    int is_keepalive; /* long-lived: answers are DATA, not ends */
    uint64_t lease;
    uint8_t answer[64];
    size_t answer_len;
};

struct conn {
    struct load *l;
    int fd;
    nghttp2_session *session;
    struct stream *streams;
    int n;
    char *out;
    size_t out_len, out_cap;
};

static uint8_t value[65536];

static size_t put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    while (v >= 128) {
        p[n++] = (uint8_t)(v | 128);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

static size_t put_bytes(uint8_t *p, int field, const void *s, size_t len)
{
    size_t n = put_varint(p, (uint64_t)field << 3 | 2);
    n += put_varint(p + n, len);
    memcpy(p + n, s, len);
    return n + len;
}

static const char *make_message(struct load *l, struct stream *t)
{
    char key[32];
    uint8_t *p = t->msg + 5;
    size_t n = 0;
    const char *path = NULL;
    int key_len = snprintf(key, sizeof(key), "/cfg/key%08llu",
                           (unsigned long long)(load_random(l) % LOAD_KEYS));
    switch (l->op) {
    case LOAD_PUT:
        path = "/etcdserverpb.KV/Put";
        n += put_bytes(p, 1, key, (size_t)key_len);
        n += put_bytes(p + n, 2, value, l->value_bytes);
        break;
    case LOAD_GET:
        path = "/etcdserverpb.KV/Range";
        n += put_bytes(p, 1, key, (size_t)key_len);
        break;
    case LOAD_REGISTER:
        path = "/etcdserverpb.Lease/LeaseGrant";
        p[n++] = 8; /* TTL */
        n += put_varint(p + n, 600);
        break;
    case LOAD_KEEPALIVE:
        path =
            t->lease != 0 ? "/etcdserverpb.Lease/LeaseKeepAlive" : "/etcdserverpb.Lease/LeaseGrant";
        p[n++] = 8;
        n += put_varint(p + n, t->lease != 0 ? t->lease : 600);
        break;
    default:
        load_die("etcd has no such operation");
    }
    t->msg[0] = 0;
    for (int i = 0; i < 4; i++) {
        t->msg[1 + i] = (uint8_t)(n >> (24 - 8 * i));
    }
    t->len = n + 5;
    t->at = 0;
    return path;
}

static ssize_t on_source(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
                         nghttp2_data_source *src, void *user)
{
    struct stream *t = src->ptr;
    (void)s;
    (void)id;
    (void)user;
    if (t->at == t->len && t->is_keepalive) {
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t n = t->len - t->at < len ? t->len - t->at : len;
    memcpy(buf, t->msg + t->at, n);
    t->at += n;
    if (t->at == t->len && !t->is_keepalive) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)n;
}

#define NV(name, value)                                                                           \
    {                                                                                             \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name), strlen(value), \
            NGHTTP2_NV_FLAG_NONE                                                                  \
    }

static void stream_send(struct stream *t)
{
    const char *path = make_message(t->c->l, t);
    nghttp2_nv nv[] = {NV(":method", "POST"),
                       NV(":scheme", "http"),
                       NV(":path", path),
                       NV(":authority", "bench"),
                       NV("content-type", "application/grpc"),
                       NV("te", "trailers")};
    nghttp2_data_provider d = {.source.ptr = t, .read_callback = on_source};
    t->status = -1;
    t->answer_len = 0;
    t->is_keepalive = t->c->l->op == LOAD_KEEPALIVE && t->lease != 0;
    t->started_at = load_now();
    t->id = nghttp2_submit_request(t->c->session, NULL, nv, 6, &d, t);
    if (t->id < 0) {
        load_die("submitting a request");
    }
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name,
                     size_t name_len, const uint8_t *v, size_t v_len, uint8_t flags, void *user)
{
    struct stream *t = nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
    (void)flags;
    (void)user;
    if (t != NULL && v_len > 0 && name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
        t->status = v[0] - '0';
    }
    return 0;
}

/* The lease's id: field 2 of LeaseGrantResponse, after the header (field 1). */
static uint64_t lease_of(const struct stream *t)
{
    size_t at = 5;
    if (t->answer_len < 8 || t->answer[at] != 0x0a) {
        return 0;
    }
    at += 2 + t->answer[at + 1];
    if (at >= t->answer_len || t->answer[at] != 0x10) {
        return 0;
    }
    uint64_t v = 0;
    int shift = 0;
    for (at++; at < t->answer_len && shift < 64; at++, shift += 7) {
        v |= (uint64_t)(t->answer[at] & 127) << shift;
        if (t->answer[at] < 128) {
            return v;
        }
    }
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *user)
{
    struct stream *t = nghttp2_session_get_stream_user_data(s, id);
    (void)flags;
    (void)user;
    if (t == NULL) {
        return 0;
    }
    size_t n = sizeof(t->answer) - t->answer_len < len ? sizeof(t->answer) - t->answer_len : len;
    memcpy(t->answer + t->answer_len, data, n);
    t->answer_len += n;
    if (t->is_keepalive) {
        load_record(t->c->l, t->started_at, 1, 1);
        t->answer_len = 0;
        t->at = 0;
        t->started_at = load_now();
        nghttp2_session_resume_data(s, id);
    }
    return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
    struct stream *t = nghttp2_session_get_stream_user_data(s, id);
    (void)user;
    if (t == NULL) {
        return 0;
    }
    if (t->c->l->op == LOAD_KEEPALIVE && t->lease == 0) {
        t->lease = lease_of(t);
        if (t->lease == 0) {
            load_die("a lease was not granted");
        }
    } else {
        load_record(t->c->l, t->started_at, code == 0 && t->status == 0, 1);
    }
    stream_send(t);
    return 0;
}

static void conn_flush(struct conn *c)
{
    const uint8_t *p;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(c->session, &p)) > 0) {
        if (c->out_len + (size_t)n > c->out_cap) {
            c->out_cap = (c->out_len + (size_t)n) * 2;
            c->out = realloc(c->out, c->out_cap);
        }
        memcpy(c->out + c->out_len, p, (size_t)n);
        c->out_len += (size_t)n;
    }
    size_t at = 0;
    while (at < c->out_len) {
        ssize_t sent = send(c->fd, c->out + at, c->out_len - at, MSG_NOSIGNAL);
        if (sent > 0) {
            at += (size_t)sent;
        } else if (errno != EAGAIN && errno != EINTR) {
            load_die("send");
        }
    }
    c->out_len = 0;
}

static void on_event(struct load *l, void *p, uint32_t events)
{
    static uint8_t block[256 * 1024];
    struct conn *c = p;
    (void)l;
    (void)events;
    for (;;) {
        ssize_t n = recv(c->fd, block, sizeof(block), 0);
        if (n == 0) {
            load_die("the server closed a connection");
        }
        if (n < 0) {
            break;
        }
        if (nghttp2_session_mem_recv(c->session, block, (size_t)n) < 0) {
            load_die("HTTP/2");
        }
    }
    conn_flush(c);
}

static void conn_open(struct load *l, struct conn *c, int number, int n,
                      nghttp2_session_callbacks *cb)
{
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                         {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 24}};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    c->l = l;
    c->fd = load_connect(l->ports[number % l->n_ports]);
    c->n = n;
    c->streams = calloc((size_t)n, sizeof(*c->streams));
    nghttp2_session_client_new(&c->session, cb, c);
    nghttp2_submit_settings(c->session, 0, settings, 2);
    nghttp2_submit_window_update(c->session, 0, 0, 1 << 28);
    for (int i = 0; i < n; i++) {
        c->streams[i].c = c;
        c->streams[i].msg = malloc(MESSAGE_MAX);
        stream_send(&c->streams[i]);
    }
    epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e);
    conn_flush(c);
}

void load_run_etcd(struct load *l)
{
    nghttp2_session_callbacks *cb;
    int n = l->clients < CONNS_MAX ? l->clients : CONNS_MAX;
    struct conn *all = calloc((size_t)n, sizeof(*all));
    memset(value, 'x', sizeof(value));
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    for (int i = 0; i < n; i++) {
        conn_open(l, &all[i], i, l->clients / n + (i < l->clients % n), cb);
    }
    load_loop(l, on_event);
    nghttp2_session_callbacks_del(cb);
}
