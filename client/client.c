/* SPDX-License-Identifier: Apache-2.0 */
/* The handle: options, opening, closing. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "client/client_impl.h"
#include "client/http.h"
#include "client/keeper.h"
#include "client/line.h"
#include "client/mem.h"
#include "client/snapfile.h"

enum { NAME_MAX_BYTES = 512, TOKEN_MAX = 128 };

static const char endpoint_default[] = "http://127.0.0.1:8500";

const char *muster_version(void)
{
    return MUSTER_VERSION;
}

void client_say(const struct muster *m, const char *level, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    if (m->log == NULL) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    m->log(m->log_user, level, text);
}

void muster_options_init(struct muster_options *o)
{
    *o = (struct muster_options){.size = sizeof(*o)};
}

/* --- options --- */

static void set_default(int64_t *v, int64_t dflt)
{
    if (*v == 0) {
        *v = dflt;
    }
}

static muster_status check_token(const char *s, struct muster_error *e)
{
    size_t n = s != NULL ? strlen(s) : 0;
    for (size_t i = 0; i < n; i++) {
        if (n > TOKEN_MAX || s[i] <= ' ' || s[i] > '~') {
            return status_set(e, MUSTER_INVALID,
                              "a token has at most %d characters, all of them visible ASCII",
                              TOKEN_MAX);
        }
    }
    return MUSTER_OK;
}

static muster_status complete(struct muster_options *o, struct muster_error *e)
{
    set_default(&o->request_timeout_ms, 10000);
    set_default(&o->connect_timeout_ms, 1000);
    set_default(&o->breaker_window_ms, 10000);
    set_default(&o->breaker_open_ms, 2000);
    o->breaker_min_requests = o->breaker_min_requests != 0 ? o->breaker_min_requests : 5;
    o->breaker_failure_percent = o->breaker_failure_percent != 0 ? o->breaker_failure_percent : 50;
    if (o->endpoints == NULL || o->endpoints[0] == '\0') {
        const char *env = getenv("MUSTER_ENDPOINTS");
        o->endpoints = env != NULL && env[0] != '\0' ? env : endpoint_default;
    }
    if (o->token == NULL) {
        o->token = getenv("MUSTER_TOKEN");
    }
    o->namespace_ = o->namespace_ != NULL ? o->namespace_ : "public";
    const int64_t day = INT64_C(24) * 3600 * 1000;
    if (o->request_timeout_ms < 0 || o->request_timeout_ms > day || o->connect_timeout_ms < 0 ||
        o->connect_timeout_ms > day) {
        return status_set(e, MUSTER_INVALID, "a timeout must be 1 ms to 24 h");
    }
    if (o->breaker_window_ms < 0 || o->breaker_open_ms < 0 || o->breaker_min_requests < 0 ||
        o->breaker_failure_percent < 0 || o->breaker_failure_percent > 100) {
        return status_set(e, MUSTER_INVALID, "the circuit breaker's options are out of range");
    }
    if (!text_is_name(slice_str(o->namespace_), NAME_MAX_BYTES)) {
        return status_set(e, MUSTER_INVALID, "namespace_ must be 1 to %d bytes of UTF-8",
                          NAME_MAX_BYTES);
    }
    if ((o->cert_file == NULL) != (o->key_file == NULL)) {
        return status_set(e, MUSTER_INVALID, "cert_file and key_file belong together");
    }
    return check_token(o->token, e);
}

/* A program built with a shorter struct knows fewer fields; the rest are the defaults. */
static muster_status copy_known(const struct muster_options *o, struct muster_options *out,
                                struct muster_error *e)
{
    memset(out, 0, sizeof(*out));
    if (o == NULL) {
        return MUSTER_OK;
    }
    if (o->size < sizeof(o->size) + sizeof(o->endpoints)) {
        return status_set(e, MUSTER_INVALID, "options were not filled by muster_options_init()");
    }
    memcpy(out, o, o->size < sizeof(*out) ? o->size : sizeof(*out));
    return MUSTER_OK;
}

static bool keep(char **out, const char *s)
{
    if (s == NULL) {
        return true;
    }
    *out = cmem_strdup(s);
    return *out != NULL;
}

static muster_status fill(struct muster *m, const struct muster_options *o, struct muster_error *e)
{
    if (!keep(&m->namespace_, o->namespace_) || !keep(&m->ca_file, o->ca_file) ||
        !keep(&m->cert_file, o->cert_file) || !keep(&m->key_file, o->key_file) ||
        !keep(&m->snapshot_dir, o->snapshot_dir) ||
        !keep(&m->token, o->token != NULL && o->token[0] != '\0' ? o->token : NULL)) {
        return status_no_memory(e);
    }
    m->is_public = strcmp(m->namespace_, "public") == 0;
    m->request_ms = o->request_timeout_ms;
    m->connect_ms = o->connect_timeout_ms;
    m->log = o->log;
    m->log_user = o->log_user;
    m->endpoints.conf = (struct breaker_conf){.window_ms = o->breaker_window_ms,
                                              .open_ms = o->breaker_open_ms,
                                              .min_requests = o->breaker_min_requests,
                                              .failure_percent = o->breaker_failure_percent};
    muster_status rc = endpoints_parse(&m->endpoints, o->endpoints, e);
    if (rc == MUSTER_OK) {
        /* Many clients with one list do not all begin at its head. */
        m->endpoints.current = (size_t)rnd_below(m->endpoints.n);
    }
    return rc;
}

/* --- opening and closing --- */

static void free_client(struct muster *m)
{
    line_free_all(m);
    endpoints_fini(&m->endpoints);
    (void)pthread_cond_destroy(&m->changed);
    (void)pthread_mutex_destroy(&m->lock);
    cmem_free(m->namespace_);
    cmem_free(m->ca_file);
    cmem_free(m->cert_file);
    cmem_free(m->key_file);
    cmem_free(m->snapshot_dir);
    if (m->token != NULL) {
        explicit_bzero(m->token, strlen(m->token));
        cmem_free(m->token);
    }
    cmem_free(m);
}

muster_status muster_open(const struct muster_options *o, struct muster **out,
                          struct muster_error *e)
{
    struct muster_options all;
    muster_status rc = copy_known(o, &all, e);
    rc = rc != MUSTER_OK ? rc : complete(&all, e);
    rc = rc != MUSTER_OK ? rc : http_global(e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    struct muster *m = cmem_zalloc(sizeof(*m));
    if (m == NULL) {
        return status_no_memory(e);
    }
    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_cond_init(&m->changed, NULL);
    rc = fill(m, &all, e);
    if (rc == MUSTER_OK && m->snapshot_dir != NULL) {
        rc = snapfile_dir(m->snapshot_dir, e);
    }
    if (rc != MUSTER_OK) {
        free_client(m);
        return rc;
    }
    *out = m;
    return MUSTER_OK;
}

void muster_close(struct muster *m)
{
    if (m == NULL) {
        return;
    }
    atomic_store(&m->is_closing, true);
    line_wake_all(m); /* from here on nobody else is inside */
    loop_stop(m);
    if (m->loop != NULL) {
        keeper_deregister_all(m->loop->keeper, clock_mono_ms() + m->request_ms);
    }
    loop_free(m);
    free_client(m);
}
