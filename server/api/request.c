/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters, headers and the write flow. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "server/api/api_impl.h"

struct slice api_text(struct http_req *r, const char *fmt, ...)
{
    va_list a;
    va_start(a, fmt);
    int n = vsnprintf(NULL, 0, fmt, a);
    va_end(a);
    char *p = http_alloc(r, (size_t)n + 1);
    va_start(a, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, a);
    va_end(a);
    return slice_of(p, (size_t)n);
}

struct slice api_keep(struct http_req *r, struct slice s)
{
    char *p = http_alloc(r, s.len + 1);
    memcpy(p, s.p, s.len);
    p[s.len] = '\0';
    return slice_of(p, s.len);
}

void api_fail(struct http_req *r, int code, const struct err *e)
{
    if (err_http_status(code) >= 500) {
        /* What a client may come and ask about: its trace id leads here. */
        log_warn("api", "request failed", LOG_STR("trace_id", http_trace_id(r)),
                 LOG_STR("code", err_name(code)), LOG_STR("route", http_route_of(r)->pattern));
    }
    http_respond_error(r, code, "%s", e->text[0] != '\0' ? e->text : err_title(code));
}

/* --- parameters --- */

int api_known_query(struct http_req *r, const char *const *known)
{
    static const char *const none[] = {NULL};
    struct slice name;
    if (http_query_unknown(r, known != NULL ? known : none, &name)) {
        http_respond_error(r, MU_E_BAD_REQUEST, "unknown query parameter \"%.*s\"",
                           (int)(name.len < 64 ? name.len : 64), (const char *)name.p);
        return -1;
    }
    return 0;
}

struct slice api_query_or(struct http_req *r, const char *name, const char *dflt)
{
    struct slice s;
    return http_query(r, name, &s) ? s : slice_str(dflt);
}

int api_name(struct http_req *r, struct slice s, const char *what, size_t max)
{
    if (text_is_name(s, max)) {
        return 0;
    }
    http_respond_error(r, MU_E_BAD_REQUEST,
                       "%s must be 1 to %zu bytes of UTF-8 without control characters", what, max);
    return -1;
}

int api_namespace(struct http_req *r, struct slice *out)
{
    *out = api_query_or(r, "namespace", "public");
    return api_name(r, *out, "namespace", KEY_NAME_MAX);
}

int api_page(struct http_req *r, struct api_page *out)
{
    struct slice s;
    *out = (struct api_page){.limit = API_LIST_DEFAULT, .page = 1};
    if (http_query(r, "limit", &s) &&
        (text_u64(s, API_LIST_MAX, &out->limit) != 0 || out->limit == 0)) {
        http_respond_error(r, MU_E_BAD_REQUEST, "limit must be a number from 1 to %d",
                           API_LIST_MAX);
        return -1;
    }
    if (http_query(r, "page", &s) && (text_u64(s, 1000000000, &out->page) != 0 || out->page == 0)) {
        http_respond_error(r, MU_E_BAD_REQUEST, "page must be a number from 1 to 1000000000");
        return -1;
    }
    out->skip = (out->page - 1) * out->limit;
    return 0;
}

int api_page_take(struct api_page *p)
{
    uint64_t at = p->seen++;
    if (at < p->skip) {
        return 0;
    }
    if (at >= p->skip + p->limit) {
        p->has_more = 1;
        return -1;
    }
    return 1;
}

/* RFC 8259, and RFC 7396 section 4 for patches. */
static int is_json_type(struct slice type)
{
    static const char *const known[] = {"application/json", "application/merge-patch+json", NULL};
    for (const char *const *k = known; *k != NULL; k++) {
        size_t n = strlen(*k);
        if (type.len >= n && strncasecmp((const char *)type.p, *k, n) == 0) {
            return 1;
        }
    }
    return 0;
}

int api_json_type(struct http_req *r)
{
    struct slice type;
    if (!http_header(r, "content-type", &type) || is_json_type(type)) {
        return 0;
    }
    http_respond_error(r, MU_E_UNSUPPORTED_TYPE, "the body must be application/json, not %.*s",
                       (int)(type.len < 64 ? type.len : 64), (const char *)type.p);
    return -1;
}

int api_json_body(struct http_req *r, struct json_t **out)
{
    struct err e = {0};
    if (api_json_type(r) != 0) {
        return -1;
    }
    int rc = jr_parse(http_body(r), out, &e);
    if (rc != 0) {
        api_fail(r, rc, &e);
    }
    return rc;
}

/* "7" with its quotes, W/ refused: revisions are exact. */
static int parse_etag_rev(struct slice s, mu_rev *out)
{
    if (s.len < 3 || s.p[0] != '"' || s.p[s.len - 1] != '"') {
        return -1;
    }
    return text_u64(slice_of(s.p + 1, s.len - 2), UINT64_MAX, out);
}

int api_cas(struct http_req *r, enum cas_mode *cas, mu_rev *expect)
{
    struct slice s;
    *cas = CAS_NONE;
    *expect = 0;
    if (http_header(r, "if-match", &s) && !slice_eq(s, SLICE_LIT("*"))) {
        if (parse_etag_rev(s, expect) != 0) {
            http_respond_error(r, MU_E_BAD_REQUEST,
                               "If-Match must be one quoted revision, as in If-Match: \"42\"");
            return -1;
        }
        *cas = CAS_REVISION;
    }
    if (http_header(r, "if-none-match", &s)) {
        if (!slice_eq(s, SLICE_LIT("*")) || *cas != CAS_NONE) {
            http_respond_error(r, MU_E_BAD_REQUEST,
                               "on a write If-None-Match can only be *, without If-Match");
            return -1;
        }
        *cas = CAS_ABSENT;
    }
    return 0;
}

int api_request_id(struct http_req *r, struct command *cmd)
{
    struct slice s;
    cmd->has_request_id = 0;
    if (!http_header(r, "muster-request-id", &s)) {
        return 0;
    }
    int is_ok = s.len >= 1 && s.len <= 64;
    for (size_t i = 0; is_ok && i < s.len; i++) {
        is_ok = s.p[i] > ' ' && s.p[i] < 0x7f;
    }
    if (!is_ok) {
        http_respond_error(r, MU_E_BAD_REQUEST,
                           "Muster-Request-Id must be 1 to 64 visible ASCII characters");
        return -1;
    }
    cmd->has_request_id = 1;
    hash_xxh3_128(s.p, s.len, cmd->request_id);
    return 0;
}

void api_next_request_id(struct command *cmd)
{
    uint8_t id[sizeof(cmd->request_id)];
    hash_xxh3_128(cmd->request_id, sizeof(id), id);
    memcpy(cmd->request_id, id, sizeof(id));
}

/* --- answers --- */

void api_headers(struct http_req *r, struct api *a, mu_rev rev, enum consistency level)
{
    http_add_header_u64(r, "Muster-Revision", rev);
    http_add_header(r, "Muster-Stale", level == READ_STALE ? "true" : "false");
    if (level == READ_STALE) {
        struct core_glance g;
        core_glance(a->core, &g);
        http_add_header(r, "Muster-Known-Leader", g.has_leader ? "true" : "false");
        if (g.leader_age_ms >= 0) {
            http_add_header_u64(r, "Muster-Age-Ms", (uint64_t)g.leader_age_ms);
        }
    }
}

void api_lease_hex(mu_lease_id id, char out[17])
{
    snprintf(out, 17, "%016llx", (unsigned long long)id);
}

int api_lease_parse(struct slice s, mu_lease_id *out)
{
    return text_hex64(s, out) == 0 && *out != 0 ? 0 : MU_E_BAD_REQUEST;
}

/* --- the write flow --- */

static void refused_text(struct api_write *w, int code, struct err *e)
{
    const struct command_result *res = &w->cw.result;
    unsigned long long now = res->mod_rev;
    switch (code) {
    case MU_E_REVISION_MISMATCH:
        if (now == 0) {
            err_set(e, code, "%.*s does not exist", SLICE_FMT(w->what));
        } else {
            err_set(e, code, "%.*s is at revision %llu, not the one expected", SLICE_FMT(w->what),
                    now);
        }
        return;
    case MU_E_EXISTS:
        err_set(e, code, "%.*s exists already at revision %llu", SLICE_FMT(w->what), now);
        return;
    case MU_E_NOT_FOUND:
        err_set(e, code, "%.*s does not exist", SLICE_FMT(w->what));
        return;
    case MU_E_NO_LEASE:
        err_set(e, code, "the lease named by %.*s does not exist", SLICE_FMT(w->what));
        return;
    default:
        err_set(e, code, "%.*s: %s", SLICE_FMT(w->what), err_title(code));
        return;
    }
}

static void write_done(struct core_request *q)
{
    struct api_write *w = CONTAINER_OF(q, struct api_write, cw.q);
    if (q->code != 0) {
        if (q->code == MU_E_OVERLOADED || q->code == MU_E_NO_LEADER) {
            http_add_header(w->r, "Retry-After", "1");
        }
        api_fail(w->r, q->code, &q->err);
        return;
    }
    int code = w->cw.result.code;
    if (code != 0) {
        struct err e = {0};
        if (w->refused != NULL && w->refused(w, code)) {
            return;
        }
        refused_text(w, code, &e);
        api_headers(w->r, w->api, w->cw.result.revision, READ_LINEAR);
        api_fail(w->r, code, &e);
        return;
    }
    api_headers(w->r, w->api, w->cw.result.revision, READ_LINEAR);
    w->written(w);
}

void api_write_start(struct api_write *w, struct command *cmd)
{
    w->cw.q.done = write_done;
    w->cw.q.reply = worker_mailbox(http_worker(w->r));
    core_propose(w->api->core, &w->cw, cmd, w->api->timeout_ms);
}

void api_write(struct http_req *r, struct api *a, struct command *cmd, api_written_fn written,
               void *data, struct slice what)
{
    struct api_write *w = http_alloc(r, sizeof(*w));
    w->r = r;
    w->api = a;
    w->written = written;
    w->refused = NULL;
    w->data = data;
    w->what = what;
    api_write_start(w, cmd);
}
