/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the client share: the handle and its parts. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/types.h"
#include "client/endpoints.h"
#include "client/include/muster.h"
#include "client/status.h"

#ifndef MUSTER_VERSION
#define MUSTER_VERSION "0.0.0"
#endif

struct loop;

struct muster {
    /* Never changed after muster_open(). */
    char *namespace_;
    bool is_public; /* the default namespace: it need not be named */
    char *ca_file;
    char *cert_file;
    char *key_file;
    char *token;
    char *snapshot_dir; /* NULL: none */
    int64_t request_ms;
    int64_t connect_ms;
    void (*log)(void *user, const char *level, const char *text);
    void *log_user;

    atomic_bool is_closing;

    pthread_mutex_t lock;   /* for everything below */
    pthread_cond_t changed; /* a line or the loop's work was given back */
    struct endpoints endpoints;
    struct line *idle; /* lines nobody uses, with their connections */
    struct line *busy;
    unsigned n_idle;
    struct loop *loop; /* the background thread's; NULL until something needs it */
};

/* Tell the program's log function, if there is one. */
void client_say(const struct muster *m, const char *level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), visibility("hidden")));
