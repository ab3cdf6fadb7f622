/* SPDX-License-Identifier: Apache-2.0 */
/* libmuster: the C client of muster.
 *
 *     struct muster_options o;
 *     muster_options_init(&o);
 *     o.endpoints = "http://127.0.0.1:8500,http://127.0.0.1:8510";
 *     struct muster *m;
 *     struct muster_error e;
 *     if (muster_open(&o, &m, &e) != MUSTER_OK) { puts(e.text); ... }
 *
 * A client has one background thread, which keeps watches, leases and caches alive. All functions
 * may be called from any thread; those that wait say so. Callbacks run on the background thread,
 * one at a time, must return soon, and may call any function that does not wait.
 *
 * Strings are UTF-8 and NUL-terminated. Arguments are borrowed until the call returns. What a
 * function gives is freed with the `_free` function named there. Times are milliseconds.
 *
 * A function that can fail returns a muster_status; on anything but MUSTER_OK it leaves its outputs
 * alone and fills `e` (which may be NULL). Running out of memory is MUSTER_NO_MEMORY, never an
 * abort; when a write was on its way by then, MUSTER_UNKNOWN. The protocol is docs/faces/native.md.
 */
#ifndef MUSTER_H
#define MUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MUSTER_API __attribute__((visibility("default")))
#else
#define MUSTER_API
#endif

/* --- errors ------------------------------------------------------------------------------------
 */

/* Numbers are frozen. */
typedef enum muster_status {
    MUSTER_OK = 0,
    MUSTER_INVALID = 1,   /* an argument is wrong, or the server refused the request as malformed */
    MUSTER_NOT_FOUND = 2, /* no such config, instance, service, lease or member */
    MUSTER_CONFLICT = 3,  /* a compare failed: another revision, or it exists already */
    MUSTER_COMPACTED = 4, /* the revision asked for is no longer kept */
    MUSTER_UNREACHABLE = 5, /* no endpoint answered, or none has a leader: nothing was done */
    MUSTER_UNKNOWN = 6,     /* a write may or may not have been done; look before doing it again */
    MUSTER_REFUSED = 7,     /* the server answered with another error: see http_status and code */
    MUSTER_NO_MEMORY = 8,
    MUSTER_CLOSED = 9, /* the client is being closed */
    MUSTER_IO = 10     /* a local file could not be read or written */
} muster_status;

struct muster_error {
    muster_status status;
    int http_status; /* 0 when no answer came */
    char code[32];   /* the server's code word, e.g. "REVISION_MISMATCH"; "" when no answer came */
    char text[256];  /* one sentence for people */
};

/* "not found", ...; never NULL. */
MUSTER_API const char *muster_status_text(muster_status status);

/* --- the client --------------------------------------------------------------------------------
 */

struct muster; /* opaque */

/* 0 and NULL mean the default. Fill with muster_options_init() first: fields are only ever added.
 */
struct muster_options {
    size_t size;            /* set by muster_options_init() */
    const char *endpoints;  /* "http://host:port,https://host:port", 1 to 64; default: the
                               environment's  MUSTER_ENDPOINTS, else http://127.0.0.1:8500 */
    const char *namespace_; /* default "public" */
    const char *ca_file;    /* PEM; verifies https endpoints (default: the system's) */
    const char *cert_file;  /* PEM; client certificate, with key_file */
    const char *key_file;
    const char
        *snapshot_dir; /* where the last known configs and services are kept for a start without
                          cluster; made if missing, mode 0700; default: no snapshots */
    int64_t request_timeout_ms; /* a whole call, with all its repeats: default 10,000 */
    int64_t connect_timeout_ms; /* one connection: default 1,000 */
    /* Circuit breaker, one per endpoint: it opens when of at least `breaker_min_requests` requests
     * in the last `breaker_window_ms` at least `breaker_failure_percent` failed; after
     * `breaker_open_ms` one probe decides. */
    int64_t breaker_window_ms;   /* default 10,000 */
    int64_t breaker_open_ms;     /* default 2,000 */
    int breaker_min_requests;    /* default 5 */
    int breaker_failure_percent; /* default 50 */
    /* Told about what a program cannot see otherwise: a fail-over, a kept-alive lease that was
     * lost. Level is "info", "warn" or "error". Default: silence. */
    void (*log)(void *user, const char *level, const char *text);
    void *log_user;
    const char *token; /* where the cluster has access control: the secret of 1 to 128 visible ASCII
                          characters that is shown with every request; default: the environment's
                          MUSTER_TOKEN, else none. Copied, and wiped when the client is closed */
};

MUSTER_API void muster_options_init(struct muster_options *o);

/* Gives a client in *out. Does not wait for the cluster: what needs it says MUSTER_UNREACHABLE. */
MUSTER_API muster_status muster_open(const struct muster_options *o, struct muster **out,
                                     struct muster_error *e);

/* Deregisters what this client registered (waits at most request_timeout_ms for that), ends all
 * subscriptions and the thread, frees everything. Not from a callback. NULL is allowed. */
MUSTER_API void muster_close(struct muster *m);

/* The library's version, "0.1.0". */
MUSTER_API const char *muster_version(void);

/* --- configs -----------------------------------------------------------------------------------
 */

struct muster_config {
    char *group;
    char *key;
    char *content; /* NUL-terminated, may hold NULs: see size; NULL when deleted */
    size_t size;
    char *content_type;
    uint64_t revision; /* of this content; 0 when it never existed */
    uint64_t version;  /* 1 for the first content; 0 when not told */
    bool deleted;      /* only in callbacks: there is no such config (any more) */
    bool from_disk;    /* the cluster is out of reach: this is the last content known here */
};

/* Waits. Reads linearizably; when the cluster is out of reach and a snapshot is on disk, gives that
 * with from_disk set. */
MUSTER_API muster_status muster_config_get(struct muster *m, const char *group, const char *key,
                                           struct muster_config **out, struct muster_error *e);
MUSTER_API void muster_config_free(struct muster_config *c); /* NULL is allowed */

struct muster_publish {
    const char *content_type; /* default text/plain */
    const char *comment;
    const char *author;
    uint64_t if_revision; /* compare-and-set: publish only over this revision; 0: over any */
    bool create_only;     /* publish only if there is none */
};

/* Waits. `how` may be NULL. Gives the new revision in *out_revision (may be NULL). Repeated safely
 * by itself when the outcome was unknown: each call has a request id that the servers remember. */
MUSTER_API muster_status muster_config_publish(struct muster *m, const char *group, const char *key,
                                               const void *content, size_t size,
                                               const struct muster_publish *how,
                                               uint64_t *out_revision, struct muster_error *e);

/* Waits. if_revision 0: whatever it is. */
MUSTER_API muster_status muster_config_delete(struct muster *m, const char *group, const char *key,
                                              uint64_t if_revision, struct muster_error *e);

/* The config is borrowed until the callback returns. */
typedef void (*muster_config_fn)(void *user, const struct muster_config *config);

struct muster_subscription; /* opaque */

/* Calls fn with the config as it is now (or as the disk knows it), then with each change: every
 * revision once, in order, across reconnects. When revisions are gone because they were compacted
 * while the client was away, fn gets the present state and goes on from there. Does not wait. */
MUSTER_API muster_status muster_config_subscribe(struct muster *m, const char *group,
                                                 const char *key, muster_config_fn fn, void *user,
                                                 struct muster_subscription **out,
                                                 struct muster_error *e);

/* After it returns fn is not running and will not be called; from within a callback it only
 * promises the latter. NULL is allowed. */
MUSTER_API void muster_unsubscribe(struct muster_subscription *s);

/* --- services ----------------------------------------------------------------------------------
 */

struct muster_pair {
    const char *name;
    const char *value;
};

struct muster_instance {
    const char *service;
    const char *group;   /* default DEFAULT_GROUP */
    const char *cluster; /* default DEFAULT */
    const char *id;      /* unique in service, group and cluster; default "address:port" */
    const char *address;
    uint16_t port;
    uint32_t weight;   /* 1 to 10000; muster_instance_init() sets 1 */
    bool enabled;      /* muster_instance_init() sets true */
    bool healthy;      /* answers only */
    uint64_t revision; /* answers only */
    int64_t ttl_ms;    /* registering: 1,000 to 86,400,000; muster_instance_init() sets 15,000 */
    const char *const *tags;
    size_t n_tags;
    const struct muster_pair *metadata;
    size_t n_metadata;
};

MUSTER_API void muster_instance_init(struct muster_instance *i);

/* Waits for the registration, then keeps the instance alive in the background (one request for all
 * instances of this client) until muster_deregister() or muster_close(). If it was lost meanwhile
 * (the client was cut off longer than the TTL) it is registered again. */
MUSTER_API muster_status muster_register(struct muster *m, const struct muster_instance *i,
                                         struct muster_error *e);

/* Waits. NULL group and cluster: the defaults. */
MUSTER_API muster_status muster_deregister(struct muster *m, const char *service, const char *group,
                                           const char *cluster, const char *id,
                                           struct muster_error *e);

struct muster_service; /* opaque: a cached, fresh list of one service's instances */

/* Waits for the first list; when the cluster is out of reach, the disk's last list will do. From
 * then on the list follows a watch; it is kept as it is while the cluster is out of reach. */
MUSTER_API muster_status muster_discover(struct muster *m, const char *group, const char *service,
                                         struct muster_service **out, struct muster_error *e);
MUSTER_API void muster_service_close(
    struct muster_service *s); /* NULL is allowed; see muster_unsubscribe() */

struct muster_instances {
    const struct muster_instance
        *items; /* all of them, healthy or not, ordered by cluster and id */
    size_t n;
    uint64_t revision;
    bool stale; /* the cluster is out of reach, or this came from disk */
};

/* Never waits. Gives a copy. */
MUSTER_API muster_status muster_service_list(struct muster_service *s,
                                             struct muster_instances **out, struct muster_error *e);
MUSTER_API void muster_instances_free(struct muster_instances *l);

typedef enum muster_pick_by {
    MUSTER_PICK_WEIGHTED = 0,    /* at random, in proportion to the weights */
    MUSTER_PICK_ROUND_ROBIN = 1, /* one after the other */
    MUSTER_PICK_HASH = 2 /* the same `key` goes to the same instance; when one comes or goes only
                            its share of keys moves (weighted rendezvous hashing) */
} muster_pick_by;

/* Never waits. Picks among healthy and enabled instances with a weight above 0; MUSTER_NOT_FOUND
 * when there is none. `key` is for MUSTER_PICK_HASH. Gives a copy. */
MUSTER_API muster_status muster_service_pick(struct muster_service *s, muster_pick_by by,
                                             const char *key, struct muster_instance **out,
                                             struct muster_error *e);
MUSTER_API void muster_instance_free(struct muster_instance *i); /* only of those that were given */

typedef void (*muster_service_fn)(void *user, struct muster_service *s);

/* Calls fn after each change of the list, once soon after this call as well. One function per
 * handle; NULL ends it. */
MUSTER_API muster_status muster_service_on_change(struct muster_service *s, muster_service_fn fn,
                                                  void *user, struct muster_error *e);

/* --- plain requests ----------------------------------------------------------------------------
 * What has no function of its own, with the same endpoints, breakers, repeats and request ids. */

struct muster_request {
    const char *method; /* "GET", ... */
    const char
        *path; /* after /api/v1, percent-encoded, with its query: "/configs/app/db?revision=7"; a
                  path that starts with "//" is taken without /api/v1: "//readyz" */
    const void *body; /* may be NULL */
    size_t body_len;
    const char *content_type;  /* of the body; default application/json */
    const char *if_match;      /* an ETag without its quotes, may be NULL */
    const char *if_none_match; /* an ETag without its quotes, or "*", may be NULL */
    int64_t timeout_ms;        /* 0: the client's */
    /* When set, a body with status 200 is given to it in pieces instead of being collected; total
     * is -1 when unknown. Anything but 0 ends the request with MUSTER_CLOSED. Such a request is not
     * repeated once a piece was given. */
    int (*on_data)(void *user, const void *data, size_t len, int64_t total);
    void *user;
};

struct muster_answer {
    int http_status;    /* 2xx or 304 */
    uint64_t revision;  /* Muster-Revision */
    bool stale;         /* Muster-Stale */
    char *etag;         /* without quotes; NULL when there is none */
    char *content_type; /* NULL when there is none */
    char *body;         /* NUL-terminated; "" when there is none */
    size_t body_len;
};

/* Waits. 2xx and 304 are MUSTER_OK; the rest fills e. namespace_ is added to the query of services,
 * configs and watches unless path names one. What is outside of /api/v1 is not repeated once it was
 * answered. `out` may be NULL. */
MUSTER_API muster_status muster_call(struct muster *m, const struct muster_request *q,
                                     struct muster_answer **out, struct muster_error *e);
MUSTER_API void muster_answer_free(struct muster_answer *a); /* NULL is allowed */

struct muster_event {
    const char *type; /* "change" or "progress": see docs/faces/native.md, Watch */
    uint64_t revision;
    const char *data; /* the JSON of the message */
    size_t len;
};

/* Follows GET /watch?<query>: calls fn for every message on the calling thread, resumes by itself
 * at another endpoint after the last revision given, until fn returns anything but 0 (then
 * MUSTER_OK), the client is closed, or going on would miss something (MUSTER_COMPACTED). Waits as
 * long as that takes. */
MUSTER_API muster_status muster_watch(struct muster *m, const char *query, uint64_t from_revision,
                                      int (*fn)(void *user, const struct muster_event *event),
                                      void *user, struct muster_error *e);

#ifdef __cplusplus
}
#endif
#endif
