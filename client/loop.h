/* SPDX-License-Identifier: Apache-2.0 */
/* The background thread: one multi handle, on which requests (tasks) and the shared stream run side
 * by side, so that a slow one holds up none of the others. Started by the first thing that needs
 * it.
 *
 * What is below "owner's" is touched by that thread alone; the rest under the client's lock. */
#pragma once

#include <pthread.h>

#include "client/call.h"

struct hub;
struct keeper;
struct stream;
struct loop;

/* A request run in the background. Embedded in what waits for it; `done` only records what came in
 * t->call, it neither starts the task again nor frees it. */
struct task {
    struct call call;
    struct loop *loop;
    struct task *next;
    void (*done)(struct task *t);
    bool is_active;  /* between start and done */
    bool is_running; /* a transfer is under way */
};

struct loop {
    struct muster *m;
    pthread_t thread;
    void *multi; /* CURLM */
    bool is_stopping;
    struct hub *hub;
    struct keeper *keeper;
    /* owner's */
    struct task *tasks;
    struct stream *stream; /* NULL: none; belongs to the hub */
    bool stream_is_running;
};

/* The client's loop, started if it was not. */
muster_status loop_need(struct muster *m, struct loop **out, struct muster_error *e);
/* End the thread. What it watched over is still there: loop_free() comes later. */
void loop_stop(struct muster *m);
void loop_free(struct muster *m);
void loop_wake(struct loop *l);
bool loop_is_here(const struct loop *l); /* is this the background thread? */

/* --- owner's --- */

/* Strings of q are borrowed until done. */
muster_status task_start(struct task *t, struct loop *l, const struct muster_request *q,
                         void (*done)(struct task *t));
void task_cancel(struct task *t); /* done is not called */
/* Run this stream, instead of none. When it ends hub_stream_ended() is called. */
void loop_stream_start(struct loop *l, struct stream *s);
void loop_stream_stop(struct loop *l);
