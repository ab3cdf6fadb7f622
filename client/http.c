/* SPDX-License-Identifier: Apache-2.0 */
#include "client/http.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "base/text.h"
#include "client/client_impl.h"
#include "client/mem.h"

enum { HEADER_LINE_MAX = 1024 };

/* --- libcurl as a whole --- */

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_code;

static void global_start(void)
{
    global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

muster_status http_global(struct muster_error *e)
{
    (void)pthread_once(&global_once, global_start);
    return global_code == CURLE_OK
               ? MUSTER_OK
               : status_set(e, MUSTER_NO_MEMORY, "libcurl could not be started");
}

/* --- what comes --- */

void http_in_init(struct http_in *in)
{
    *in = (struct http_in){0};
    cbuf_init(&in->body, HTTP_BODY_MAX);
}

void http_in_fini(struct http_in *in)
{
    cmem_free(in->etag);
    cmem_free(in->content_type);
    cbuf_fini(&in->body);
    in->etag = NULL;
    in->content_type = NULL;
}

void http_in_clear(struct http_in *in)
{
    struct http_in n = {.on_data = in->on_data, .user = in->user};
    http_in_fini(in);
    cbuf_init(&n.body, HTTP_BODY_MAX);
    *in = n;
}

static struct slice trimmed(struct slice s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s = slice_of(s.p + 1, s.len - 1);
    }
    while (s.len > 0 && strchr(" \t\r\n", s.p[s.len - 1]) != NULL) {
        s.len--;
    }
    return s;
}

static void keep_text(struct http_in *in, char **out, struct slice v)
{
    char *n = cmem_strndup((const char *)v.p, v.len);
    if (n == NULL) {
        in->fault = HTTP_NO_MEMORY;
        return;
    }
    cmem_free(*out);
    *out = n;
}

static struct slice unquoted(struct slice v)
{
    if (v.len >= 2 && v.p[0] == '"' && v.p[v.len - 1] == '"') {
        return slice_of(v.p + 1, v.len - 2);
    }
    return v;
}

static bool is_name(struct slice name, const char *want)
{
    return name.len == strlen(want) && strncasecmp((const char *)name.p, want, name.len) == 0;
}

static void take_header(struct http_in *in, struct slice name, struct slice v)
{
    uint64_t n = 0;
    if (v.len > HEADER_LINE_MAX) {
        return; /* none of ours is that long */
    }
    if (is_name(name, "muster-revision") && text_u64(v, UINT64_MAX - 1, &n) == 0) {
        in->revision = n;
    } else if (is_name(name, "muster-version") && text_u64(v, UINT64_MAX, &n) == 0) {
        in->version = n;
    } else if (is_name(name, "muster-stale")) {
        in->stale = slice_eq(v, SLICE_LIT("true"));
    } else if (is_name(name, "etag")) {
        keep_text(in, &in->etag, unquoted(v));
    } else if (is_name(name, "content-type")) {
        keep_text(in, &in->content_type, v);
    }
}

/* "HTTP/1.1 200 OK" begins a head; an earlier one was an interim answer. */
static void take_status(struct http_in *in, struct slice line)
{
    const uint8_t *space = memchr(line.p, ' ', line.len);
    uint64_t n = 0;
    size_t at = space != NULL ? (size_t)(space - line.p) + 1 : line.len;
    if (line.len >= at + 3 && text_u64(slice_of(line.p + at, 3), 999, &n) == 0) {
        in->status = (int)n;
    }
}

static size_t on_header(char *p, size_t size, size_t n, void *user)
{
    struct http_in *in = user;
    struct slice line = slice_of(p, size * n);
    in->head_len += line.len;
    if (in->head_len > HTTP_HEAD_MAX) {
        in->fault = HTTP_TOO_LARGE;
        return 0;
    }
    const uint8_t *colon = memchr(line.p, ':', line.len);
    if (slice_has_prefix(line, SLICE_LIT("HTTP/"))) {
        take_status(in, line);
    } else if (colon != NULL) {
        size_t at = (size_t)(colon - line.p);
        take_header(in, slice_of(line.p, at),
                    trimmed(slice_of(line.p + at + 1, line.len - at - 1)));
    }
    return in->fault == HTTP_FINE ? line.len : 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
    struct http_in *in = user;
    size_t len = size * n;
    if (in->on_data != NULL && in->status == 200) {
        curl_off_t total = -1;
        (void)curl_easy_getinfo(in->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &total);
        in->is_given = true;
        if (in->on_data(in->user, p, len, total) != 0) {
            in->fault = HTTP_STOPPED;
            return 0;
        }
        return len;
    }
    cbuf_append(&in->body, p, len);
    if (cbuf_failed(&in->body)) {
        in->fault = in->body.no_memory ? HTTP_NO_MEMORY : HTTP_TOO_LARGE;
        return 0;
    }
    return len;
}

/* --- what goes --- */

bool http_header_add(struct curl_slist **list, const char *name, const char *value)
{
    struct cbuf b;
    cbuf_init(&b, 2 * HEADER_LINE_MAX);
    cbuf_str(&b, name);
    cbuf_str(&b, value);
    struct curl_slist *n = cbuf_failed(&b) ? NULL : curl_slist_append(*list, b.p);
    cbuf_fini(&b);
    if (n != NULL) {
        *list = n;
    }
    return n != NULL;
}

static CURLcode set_tls(CURL *easy, const struct muster *m)
{
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (rc == CURLE_OK && m->ca_file != NULL) {
        rc = curl_easy_setopt(easy, CURLOPT_CAINFO, m->ca_file);
    }
    if (rc == CURLE_OK && m->cert_file != NULL) {
        rc = curl_easy_setopt(easy, CURLOPT_SSLCERT, m->cert_file);
        rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_SSLKEY, m->key_file);
    }
    return rc;
}

/* "Authorization: Bearer"; curl shows it to the endpoint alone, whatever redirects say. */
static CURLcode set_token(CURL *easy, const struct muster *m)
{
    if (m->token == NULL) {
        return CURLE_OK;
    }
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
    return rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, m->token);
}

static CURLcode set_method(CURL *easy, const struct http_out *out)
{
    if (strcmp(out->method, "GET") == 0 && out->body == NULL) {
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    if (strcmp(out->method, "HEAD") == 0) {
        return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    }
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, out->method);
    bool has_body = out->body != NULL ||
                    (strcmp(out->method, "DELETE") != 0 && strcmp(out->method, "OPTIONS") != 0);
    if (rc != CURLE_OK || !has_body) {
        return rc;
    }
    rc = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                          (curl_off_t)(out->body != NULL ? out->body_len : 0));
    return rc != CURLE_OK
               ? rc
               : curl_easy_setopt(easy, CURLOPT_POSTFIELDS, out->body != NULL ? out->body : "");
}

static CURLcode set_ways(CURL *easy)
{
    /* A registry is asked directly: a proxy of the environment is for the web. */
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_PROXY, "");
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    rc = rc != CURLE_OK ? rc
                        : curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    return rc != CURLE_OK ? rc
                          : curl_easy_setopt(easy, CURLOPT_USERAGENT, "libmuster/" MUSTER_VERSION);
}

muster_status http_prepare(void *handle, const struct muster *m, const struct http_out *out,
                           struct curl_slist *headers, struct http_in *in)
{
    CURL *easy = handle;
    curl_easy_reset(easy);
    in->easy = easy;
    CURLcode rc = set_ways(easy);
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_URL, out->url);
    rc = rc != CURLE_OK ? rc : set_tls(easy, m);
    rc = rc != CURLE_OK ? rc : set_token(easy, m);
    rc = rc != CURLE_OK ? rc : set_method(easy, out);
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    rc = rc != CURLE_OK ? rc
                        : curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)m->connect_ms);
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)out->timeout_ms);
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_HEADERDATA, in);
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_WRITEDATA, in);
    return rc == CURLE_OK              ? MUSTER_OK
           : rc == CURLE_OUT_OF_MEMORY ? MUSTER_NO_MEMORY
                                       : MUSTER_INVALID;
}

bool http_was_sent(void *easy)
{
    long n = 0;
    return curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &n) == CURLE_OK && n > 0;
}
