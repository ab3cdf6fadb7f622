/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the cluster through libmuster, and what their errors mean to a script. */
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tools/musterctl/ctl.h"

enum { ENDPOINTS_TEXT_MAX = 16384, ENDPOINT_MAX = 256, PAGE_SIZE = 1000 };

/* --- errors --- */

int ctl_say(int status, const char *fmt, ...)
{
    char line[1024];
    struct buf b;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    buf_init(&b);
    ctl_escape(&b, slice_str(line), 0);
    fflush(stdout);
    fprintf(stderr, "musterctl: %.*s\n", SLICE_FMT(buf_slice(&b)));
    buf_fini(&b);
    return status;
}

int ctl_status_of(const struct muster_error *e)
{
    static const char *const no_leader[] = {"NO_LEADER", "NOT_LEADER", "DRAINING", "OVERLOADED"};
    for (size_t i = 0; i < N_ELEMENTS(no_leader); i++) {
        if (strcmp(e->code, no_leader[i]) == 0) {
            return CTL_UNREACHABLE;
        }
    }
    switch (e->status) {
    case MUSTER_OK:
        return CTL_OK;
    case MUSTER_INVALID:
        return CTL_USAGE;
    case MUSTER_NOT_FOUND:
        return CTL_NOT_FOUND;
    case MUSTER_CONFLICT:
        return CTL_CONFLICT;
    case MUSTER_UNREACHABLE:
        return CTL_UNREACHABLE;
    case MUSTER_UNKNOWN:
        return CTL_UNKNOWN;
    default:
        return CTL_FAILED;
    }
}

static int failed(const char *what, const struct muster_error *e)
{
    const char *text = e->text[0] != '\0' ? e->text : muster_status_text(e->status);
    return ctl_say(ctl_status_of(e), "%s%s%s", what, what[0] != '\0' ? ": " : "", text);
}

/* --- clients --- */

/* "a:1, https://b:2" with a scheme for each. */
static int endpoints_text(const struct ctl *c, char out[ENDPOINTS_TEXT_MAX])
{
    char one[ENDPOINT_MAX];
    size_t at = 0, len = 0;
    out[0] = '\0';
    while (ctl_next_endpoint(c, &at, one)) {
        int n = snprintf(out + len, ENDPOINTS_TEXT_MAX - len, "%s%s", len != 0 ? "," : "", one);
        if (n < 0 || (size_t)n >= ENDPOINTS_TEXT_MAX - len) {
            return ctl_say(CTL_USAGE, "--endpoints is too long");
        }
        len += (size_t)n;
    }
    return len != 0 ? CTL_OK : ctl_say(CTL_USAGE, "--endpoints names no endpoint");
}

int ctl_next_endpoint(const struct ctl *c, size_t *at, char out[256])
{
    const char *all = ctl_opt(&c->p, "endpoints");
    const char *s = all + *at + strspn(all + *at, ", ");
    size_t n = strcspn(s, ", ");
    int has_tls = ctl_opt(&c->p, "cacert") != NULL || ctl_opt(&c->p, "cert") != NULL;
    int has_scheme = n > 7 && (strncmp(s, "http://", 7) == 0 || strncmp(s, "https://", 8) == 0);
    if (n == 0) {
        return 0;
    }
    snprintf(out, ENDPOINT_MAX, "%s%.*s",
             has_scheme ? ""
             : has_tls  ? "https://"
                        : "http://",
             (int)(n < 200 ? n : 200), s);
    *at = (size_t)(s - all) + n;
    return 1;
}

static void on_log(void *user, const char *level, const char *text)
{
    const struct ctl *c = user;
    if (c->is_talkative && strcmp(level, "info") != 0) {
        fprintf(stderr, "musterctl: %s: %s\n", level, text);
    }
}

int ctl_open(const struct ctl *c, const char *endpoint, int64_t timeout_ms, struct muster **out)
{
    struct muster_options o;
    struct muster_error e = {0};
    char all[ENDPOINTS_TEXT_MAX];
    if (endpoint == NULL) {
        int rc = endpoints_text(c, all);
        if (rc != CTL_OK) {
            return rc;
        }
    }
    muster_options_init(&o);
    o.endpoints = endpoint != NULL ? endpoint : all;
    o.namespace_ = ctl_opt(&c->p, "namespace");
    o.ca_file = ctl_opt(&c->p, "cacert");
    o.cert_file = ctl_opt(&c->p, "cert");
    o.key_file = ctl_opt(&c->p, "key");
    int64_t given = ctl_opt_ms(&c->p, "timeout");
    o.request_timeout_ms = timeout_ms != 0 && timeout_ms < given ? timeout_ms : given;
    o.log = on_log;
    o.log_user = (void *)c;
    if (o.request_timeout_ms < 1000) {
        o.connect_timeout_ms = o.request_timeout_ms;
    }
    return muster_open(&o, out, &e) == MUSTER_OK ? CTL_OK : failed("", &e);
}

void ctl_close(struct ctl *c)
{
    muster_close(c->m);
    c->m = NULL;
}

/* --- requests --- */

int ctl_call(struct ctl *c, const struct muster_request *q, const char *what,
             struct muster_answer **out)
{
    struct muster_error e = {0};
    if (c->m == NULL) {
        int rc = ctl_open(c, NULL, 0, &c->m);
        if (rc != CTL_OK) {
            return rc;
        }
    }
    muster_status s = muster_call(c->m, q, out, &e);
    ctl_progress_end(&c->out);
    return s == MUSTER_OK ? CTL_OK : failed(what, &e);
}

static char *path_text(const struct ctl *c, const struct buf *path, int is_read)
{
    struct buf b;
    buf_init(&b);
    buf_append_slice(&b, buf_slice(path));
    if (is_read && ctl_opt(&c->p, "consistency") != NULL) {
        ctl_path_param(&b, "consistency", ctl_opt(&c->p, "consistency"));
    }
    char *s = mem_slice_str(buf_slice(&b));
    buf_fini(&b);
    return s;
}

int ctl_get(struct ctl *c, const struct buf *path, const char *what, struct muster_answer **out)
{
    char *p = path_text(c, path, 1);
    struct muster_request q = {.method = "GET", .path = p};
    int rc = ctl_call(c, &q, what, out);
    mem_free(p);
    return rc;
}

struct json_t *ctl_json(const struct muster_answer *a)
{
    json_t *doc = json_loadb(a->body, a->body_len, 0, NULL);
    if (doc == NULL) {
        ctl_say(CTL_FAILED, "the answer is no JSON; is there a muster server at that endpoint?");
    }
    return doc;
}

int ctl_get_json(struct ctl *c, const struct buf *path, const char *what, struct json_t **out_doc)
{
    struct muster_answer *a;
    int rc = ctl_get(c, path, what, &a);
    if (rc == CTL_OK) {
        json_t *doc = ctl_json(a);
        rc = doc != NULL ? CTL_OK : CTL_FAILED;
        *out_doc = doc;
        muster_answer_free(a);
    }
    return rc;
}

int ctl_send(struct ctl *c, const char *method, const struct buf *path, struct json_t *body,
             struct muster_answer **out)
{
    struct muster_answer *a;
    char *p = path_text(c, path, 0);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    struct muster_request q = {
        .method = method, .path = p, .body = text, .body_len = text != NULL ? strlen(text) : 0};
    int rc = body != NULL && text == NULL ? ctl_say(CTL_USAGE, "an argument is not valid UTF-8")
                                          : ctl_call(c, &q, "", &a);
    json_decref(body);
    free(text);
    mem_free(p);
    if (rc == CTL_OK && out != NULL) {
        *out = a;
    } else if (rc == CTL_OK) {
        muster_answer_free(a);
    }
    return rc;
}

int ctl_get_pages(struct ctl *c, const struct buf *path, const char *member,
                  struct json_t **out_items, uint64_t *out_revision)
{
    json_t *items = json_array();
    struct buf b;
    int rc = CTL_OK, has_more = 1;
    buf_init(&b);
    for (uint64_t page = 1; rc == CTL_OK && has_more; page++) {
        struct muster_answer *a;
        buf_clear(&b);
        buf_append_slice(&b, buf_slice(path));
        ctl_path_param_u64(&b, "limit", PAGE_SIZE);
        ctl_path_param_u64(&b, "page", page);
        if ((rc = ctl_get(c, &b, "", &a)) != CTL_OK) {
            break;
        }
        if (page == 1 && out_revision != NULL) {
            *out_revision = a->revision;
        }
        json_t *doc = ctl_json(a);
        muster_answer_free(a);
        rc = doc != NULL ? CTL_OK : CTL_FAILED;
        json_array_extend(items, json_object_get(doc, member));
        has_more = ctl_true(doc, "more");
        json_decref(doc);
    }
    buf_fini(&b);
    if (rc == CTL_OK) {
        *out_items = items;
    } else {
        json_decref(items);
    }
    return rc;
}

/* --- the leader --- */

/* 1 when the client's node leads. */
static int leads(struct muster *m, json_t **out_doc, struct muster_error *e)
{
    struct muster_answer *a;
    struct muster_request q = {.method = "GET", .path = "/cluster"};
    if (muster_call(m, &q, &a, e) != MUSTER_OK) {
        return 0;
    }
    *out_doc = json_loadb(a->body, a->body_len, 0, NULL);
    muster_answer_free(a);
    return strcmp(ctl_str(*out_doc, "role"), "leader") == 0;
}

int ctl_open_leader(struct ctl *c, struct muster **out, struct json_t **out_cluster)
{
    char endpoint[ENDPOINT_MAX], name[80] = "";
    struct muster_error e = {0};
    size_t at = 0, n_answers = 0;
    while (ctl_next_endpoint(c, &at, endpoint)) {
        struct muster *m;
        json_t *doc = NULL;
        int rc = ctl_open(c, endpoint, 0, &m);
        if (rc != CTL_OK) {
            return rc;
        }
        if (leads(m, &doc, &e)) {
            *out = m;
            if (out_cluster != NULL) {
                *out_cluster = doc;
            } else {
                json_decref(doc);
            }
            return CTL_OK;
        }
        if (doc != NULL) {
            n_answers++;
            const char *said = ctl_str(doc, "leader");
            snprintf(name, sizeof(name), "%s%.64s", "", said[0] != '\0' ? said : name);
        }
        json_decref(doc);
        muster_close(m);
    }
    if (n_answers == 0) {
        return failed("", &e);
    }
    return name[0] != '\0' ? ctl_say(CTL_UNREACHABLE,
                                     "the leader is %s, and no endpoint given is its: "
                                     "name its address in --endpoints",
                                     name)
                           : ctl_say(CTL_UNREACHABLE, "the cluster has no leader now");
}

/* --- documents --- */

const char *ctl_str(const struct json_t *obj, const char *key)
{
    const char *s = json_string_value(json_object_get(obj, key));
    return s != NULL ? s : "";
}

uint64_t ctl_u64(const struct json_t *obj, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(obj, key));
}

int ctl_true(const struct json_t *obj, const char *key)
{
    return json_is_true(json_object_get(obj, key));
}

void ctl_sort_rows(struct json_t *rows, const char *key)
{
    for (size_t i = 1; i < json_array_size(rows); i++) {
        json_t *row = json_incref(json_array_get(rows, i));
        size_t at = i;
        while (at > 0 &&
               strcmp(ctl_str(json_array_get(rows, at - 1), key), ctl_str(row, key)) > 0) {
            at--;
        }
        json_array_remove(rows, i);
        json_array_insert_new(rows, at, row);
    }
}
