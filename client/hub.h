/* SPDX-License-Identifier: Apache-2.0 */
/* What is watched: targets (a subscribed config, a discovered service) that share one stream.
 *
 *   READ --state read at revision R--> LIVE from R+1 --content left out--> FETCH --> LIVE
 *    ^------------ compacted ------------+
 *
 * Each target has its own `rev_next`, the first revision it has not seen. The stream starts at the
 * smallest of them and every target drops what lies below its own, so the hand-over from reading to
 * watching, a new target and a broken connection are all the same case: nothing is missed or told
 * twice. */
#pragma once

#include "client/event.h"
#include "client/loop.h"

enum target_state { TARGET_READ, TARGET_LIVE, TARGET_FETCH };

struct target;

/* What a kind of target does. All on the background thread. */
struct target_ops {
    bool is_config;
    /* The request that reads it: path after /api/v1; `revision` 0: as it is now. */
    void (*path)(const struct target *t, uint64_t revision, struct cbuf *out);
    /* The read has ended well (2xx or 404). False: it made no sense, read again later. */
    bool (*on_read)(struct target *t, const struct call *c);
    void (*on_unreachable)(struct target *t); /* a read failed */
    /* False: content must be fetched (a config), the state be read again (a service). */
    bool (*on_event)(struct target *t, const struct event *ev);
    void (*on_revision)(struct target *t,
                        uint64_t revision); /* all events of a message were given */
    void (*on_step)(struct target *t);      /* something may be due */
    void (*save)(struct target *t);         /* write to disk */
    void (*free)(struct target *t);
};

struct target {
    struct target *next;
    struct hub *hub;
    const struct target_ops *ops;
    char *group;
    char *name;   /* key or service */
    bool is_gone; /* under the lock */
    /* owner's */
    enum target_state state;
    bool is_in_stream;
    uint64_t rev_next;
    uint64_t fetch_revision; /* FETCH: of the content that was left out */
    struct task task;
    char *path;
    int64_t retry_at;
    unsigned n_failed;
    int64_t save_at; /* 0: the disk has it */
};

struct hub *hub_new(struct loop *l);
void hub_free(struct hub *h);
void hub_stop(struct hub *h);
struct muster *hub_client(const struct hub *h);
void hub_wake(struct hub *h); /* any thread: look at all targets soon */

/* Any thread. The hub owns the target from here on. */
void hub_add(struct hub *h, struct target *t);
/* Any thread: no callback of t begins any more; waits for one that runs, unless this is it. */
void hub_remove(struct target *t);
/* Any thread: wait until no callback of t runs, unless this is it. Under the lock. */
void hub_wait_callback(struct target *t);
/* The stream could not be resumed at once: what is cached may be old. */
bool hub_is_lost(struct hub *h);

/* Owner's. */
/* Around a callback: false when the target is gone, then it must not be called. */
bool hub_callback_begin(struct target *t);
void hub_callback_end(struct target *t);
void hub_save_soon(struct target *t);
int64_t hub_step(struct hub *h, int64_t now);
void hub_stream_ended(struct hub *h, struct stream *s);
