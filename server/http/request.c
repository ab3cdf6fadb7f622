/* SPDX-License-Identifier: Apache-2.0 */
/* A request and what handlers may ask of it. One piece of memory holds the struct, the copied head,
 * the header table and some room for the handler; slices given out stay put until the answer. */
#include "server/http/http_impl.h"

#include <strings.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

enum { REQ_ROOM = 192, CHUNK_MIN = 1024 };

static size_t align_up(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

/* Copy of the head with header names in lower case. */
static void copy_head(uint8_t *to, struct slice head, const struct head_parse *p)
{
    memcpy(to, head.p, head.len);
    for (unsigned i = 0; i < p->n_fields; i++) {
        uint8_t *name = to + p->fields[i].name;
        for (unsigned k = 0; k < p->fields[i].name_len; k++) {
            if (name[k] >= 'A' && name[k] <= 'Z') {
                name[k] |= 0x20;
            }
        }
    }
}

struct http_req *req_new(struct http_conn *c, struct slice head, const struct head_parse *p)
{
    size_t fields_at = align_up(sizeof(struct http_req));
    size_t head_at = fields_at + p->n_fields * sizeof(struct head_field);
    size_t room_at = align_up(head_at + head.len);
    uint8_t *mem = mem_alloc(room_at + REQ_ROOM);
    struct http_req *r = (struct http_req *)(void *)mem;
    memset(r, 0, sizeof(*r));
    r->conn = c;
    r->fields = (struct head_field *)(void *)(mem + fields_at);
    r->n_fields = (uint16_t)p->n_fields;
    memcpy(r->fields, p->fields, p->n_fields * sizeof(struct head_field));
    r->head = mem + head_at;
    copy_head(r->head, head, p);
    r->arena = mem + room_at;
    r->arena_end = r->arena + REQ_ROOM;
    r->extra_tail = &r->extra;
    target_split(slice_of(r->head + c->guard.target - c->guard.start, c->guard.target_len),
                 &r->path, &r->query);
    buf_init(&r->body);
    return r;
}

static void free_body(struct http_req *r)
{
    r->conn->l->n_body_bytes -= r->body.len;
    buf_fini(&r->body);
    buf_init(&r->body);
}

void req_free(struct http_req *r)
{
    while (r->chunks != NULL) {
        struct arena_chunk *next = r->chunks->next;
        mem_free(r->chunks);
        r->chunks = next;
    }
    free_body(r);
    mem_free(r);
}

void *http_alloc(struct http_req *r, size_t size)
{
    size = align_up(size);
    if ((size_t)(r->arena_end - r->arena) < size) {
        size_t room = size > CHUNK_MIN ? size : CHUNK_MIN;
        size_t at = align_up(sizeof(struct arena_chunk));
        struct arena_chunk *chunk = mem_alloc(at + room);
        chunk->next = r->chunks;
        r->chunks = chunk;
        if (size > CHUNK_MIN) {
            return (uint8_t *)chunk +
                   at; /* a big piece has its own chunk; the room of the current one stays in use */
        }
        r->arena = (uint8_t *)chunk + at;
        r->arena_end = r->arena + room;
    }
    void *p = r->arena;
    r->arena += size;
    return p;
}

void req_body_append(struct http_req *r, const uint8_t *p, size_t len)
{
    MU_INVARIANT(len <=
                 r->body_max - r->body_got); /* lengths are checked where they are announced */
    r->body_got += len;
    r->conn->window_bytes += len;
    if (!r->is_discarding) {
        buf_append(&r->body, p, len);
        r->conn->l->n_body_bytes += len;
    }
}

struct worker *http_worker(struct http_req *r)
{
    return r->conn->l->worker;
}

enum http_method http_method(const struct http_req *r)
{
    return (enum http_method)r->method;
}

const char *http_method_name(enum http_method m)
{
    switch (m) {
    case HTTP_M_GET:
        return "GET";
    case HTTP_M_PUT:
        return "PUT";
    case HTTP_M_POST:
        return "POST";
    case HTTP_M_DELETE:
        return "DELETE";
    case HTTP_M_PATCH:
        return "PATCH";
    case HTTP_M_HEAD:
        return "HEAD";
    case HTTP_M_OPTIONS:
        return "OPTIONS";
    }
    return "";
}

struct slice http_path(const struct http_req *r)
{
    return r->path;
}

struct slice http_query_raw(const struct http_req *r)
{
    return r->query;
}

const struct http_route *http_route_of(const struct http_req *r)
{
    return r->route;
}

struct slice http_token(const struct http_req *r)
{
    static const char scheme[] = "bearer ";
    struct slice s;
    if (http_header(r, "x-consul-token", &s) && s.len > 0) {
        return s; /* before a header that a proxy may have put there */
    }
    if (!http_header(r, "authorization", &s) || s.len < sizeof(scheme) - 1 ||
        strncasecmp((const char *)s.p, scheme, sizeof(scheme) - 1) != 0) {
        return slice_of(NULL, 0);
    }
    size_t i = sizeof(scheme) - 1;
    while (i < s.len && s.p[i] == ' ') {
        i++;
    }
    return slice_of(s.p + i, s.len - i);
}

struct slice http_param(const struct http_req *r, const char *name)
{
    int i = r->route != NULL ? route_param_index(r->route, name) : -1;
    MU_INVARIANT(i >= 0); /* a handler asks only for names of its own pattern */
    return r->params[i];
}

size_t http_query_all(const struct http_req *r, const char *name, struct slice *out, size_t max)
{
    struct slice want = slice_str(name);
    size_t n = 0;
    for (unsigned i = 0; i < r->n_pairs; i++) {
        if (slice_eq(r->pairs[i].name, want)) {
            if (n < max) {
                out[n] = r->pairs[i].value;
            }
            n++;
        }
    }
    return n;
}

int http_query(const struct http_req *r, const char *name, struct slice *out)
{
    return http_query_all(r, name, out, 1) > 0;
}

int http_query_unknown(const struct http_req *r, const char *const *known, struct slice *out_name)
{
    for (unsigned i = 0; i < r->n_pairs; i++) {
        const char *const *k = known;
        while (*k != NULL && !slice_eq(r->pairs[i].name, slice_str(*k))) {
            k++;
        }
        if (*k == NULL) {
            *out_name = r->pairs[i].name;
            return 1;
        }
    }
    return 0;
}

int http_header(const struct http_req *r, const char *lower_name, struct slice *out)
{
    size_t len = strlen(lower_name);
    for (unsigned i = 0; i < r->n_fields; i++) {
        const struct head_field *f = &r->fields[i];
        if (f->name_len == len && memcmp(r->head + f->name, lower_name, len) == 0) {
            *out = slice_of(r->head + f->value, f->value_len);
            return 1;
        }
    }
    return 0;
}

struct slice http_body(const struct http_req *r)
{
    return buf_slice(&r->body);
}

const char *http_peer(const struct http_req *r)
{
    return r->conn->peer;
}

/* "00-<32 hex>-<16 hex>-<2 hex>" (W3C Trace Context), the id not all zeros. */
static int trace_from(struct slice v, char *out)
{
    if (v.len < 55 || v.p[2] != '-' || v.p[35] != '-' || v.p[52] != '-' ||
        (v.p[0] == 'f' && v.p[1] == 'f')) {
        return 0;
    }
    unsigned any = 0;
    for (size_t i = 0; i < 32; i++) {
        uint8_t c = v.p[3 + i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return 0;
        }
        any |= (unsigned)(c != '0');
    }
    memcpy(out, v.p + 3, 32);
    out[32] = '\0';
    return any != 0;
}

const char *http_trace_id(const struct http_req *r)
{
    struct http_req *w = (struct http_req *)(uintptr_t)r; /* drawn at the first call */
    struct slice v;
    if (w->trace[0] == '\0' && !(http_header(r, "traceparent", &v) && trace_from(v, w->trace))) {
        uint8_t id[16];
        rnd_bytes(id, sizeof(id));
        hash_hex(id, sizeof(id), w->trace);
    }
    return w->trace;
}

void http_set_data(struct http_req *r, void *data)
{
    r->data = data;
}

void *http_data(const struct http_req *r)
{
    return r->data;
}

void http_on_abort(struct http_req *r, void (*fn)(struct http_req *r))
{
    r->abort_fn = fn;
    if (conn_is_unwanted(r->conn)) {
        conn_later(r->conn); /* told at the end of this turn */
    }
}

int http_is_gone(const struct http_req *r)
{
    return r->conn->is_gone;
}

void http_park(struct http_req *r)
{
    free_body(r);
}
