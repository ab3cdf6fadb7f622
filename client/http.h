/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP exchange with libcurl: what is sent, what comes back, both bounded. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/cbuf.h"
#include "client/include/muster.h"

enum {
    HTTP_BODY_MAX = 64 * 1024 * 1024,
    HTTP_HEAD_MAX = 64 * 1024, /* all header lines of an answer */
};

struct muster;
struct curl_slist;

struct http_out {
    const char *method;
    const char *url;
    const void *body; /* NULL: none */
    size_t body_len;
    int64_t timeout_ms; /* 0: none (streams) */
};

enum http_fault { HTTP_FINE, HTTP_NO_MEMORY, HTTP_TOO_LARGE, HTTP_STOPPED };

/* An answer being received. */
struct http_in {
    /* Set before: who gets a body with status 200 in pieces; NULL: it is collected. */
    int (*on_data)(void *user, const void *data, size_t len, int64_t total);
    void *user;

    void *easy; /* CURL */
    int status; /* 0: no answer came */
    uint64_t revision;
    uint64_t version;
    bool stale;
    char *etag; /* without quotes */
    char *content_type;
    struct cbuf body;
    size_t head_len;
    bool is_given; /* on_data was called */
    enum http_fault fault;
};

void http_in_init(struct http_in *in);
void http_in_clear(struct http_in *in); /* for another attempt */
void http_in_fini(struct http_in *in);

/* Libcurl's global part, once. */
muster_status http_global(struct muster_error *e);
/* Add a header line; false when there is no memory (the list stays as it was). */
bool http_header_add(struct curl_slist **list, const char *fmt, const char *value);
/* Make `easy` ready for one exchange. Everything is borrowed until it has ended; errbuf holds
 * CURL_ERROR_SIZE bytes. */
muster_status http_prepare(void *easy, const struct muster *m, const struct http_out *out,
                           struct curl_slist *headers, struct http_in *in);
/* Was anything of the request sent? */
bool http_was_sent(void *easy);
