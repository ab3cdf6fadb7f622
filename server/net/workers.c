/* SPDX-License-Identifier: Apache-2.0 */
/* All workers: sockets are bound first, then threads start; orders reach the threads as mail. */
#include "server/net/net_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { WORKERS_MAX = 8, FILES_RESERVED = 128, CONNECTIONS_MIN = 64 };

static unsigned default_workers(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores <= 2 ? 1 : cores - 1 > WORKERS_MAX ? WORKERS_MAX : (unsigned)(cores - 1);
}

/* Raise the soft limit of open files to the hard one; what it allows, less what the rest of the
 * process needs. */
static uint32_t files_for_connections(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0) {
        return 1024 - FILES_RESERVED;
    }
    if (r.rlim_cur < r.rlim_max) {
        struct rlimit raised = {.rlim_cur = r.rlim_max, .rlim_max = r.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
            r = raised;
        }
    }
    uint64_t n = r.rlim_cur > 1u << 24 ? 1u << 24 : r.rlim_cur;
    uint64_t reserved = n / 10 > FILES_RESERVED ? n / 10 : FILES_RESERVED;
    return n > reserved + CONNECTIONS_MIN ? (uint32_t)(n - reserved) : CONNECTIONS_MIN;
}

static void set_limits(struct workers *ws, const struct net_limits *asked)
{
    static const struct net_limits dflt = {
        .head_bytes = 16 * 1024,
        .body_bytes = 10 * 1024 * 1024,
        .held_body_bytes = 256 * 1024 * 1024,
        .held_output_bytes = 64 * 1024 * 1024,
        .head_timeout_ms = 10 * 1000,
        .body_timeout_ms = 30 * 1000,
        .idle_timeout_ms = 5 * 60 * 1000,
        .tls_timeout_ms = 5 * 1000,
    };
    struct net_limits *l = &ws->limits;
    uint32_t files = files_for_connections();
    *l = *asked;
    l->connections =
        asked->connections != 0 && asked->connections < files ? asked->connections : files;
    l->head_bytes = asked->head_bytes != 0 ? asked->head_bytes : dflt.head_bytes;
    l->body_bytes = asked->body_bytes != 0 ? asked->body_bytes : dflt.body_bytes;
    l->held_body_bytes =
        asked->held_body_bytes != 0 ? asked->held_body_bytes : dflt.held_body_bytes;
    l->held_output_bytes =
        asked->held_output_bytes != 0 ? asked->held_output_bytes : dflt.held_output_bytes;
    l->head_timeout_ms = asked->head_timeout_ms > 0 ? asked->head_timeout_ms : dflt.head_timeout_ms;
    l->body_timeout_ms = asked->body_timeout_ms > 0 ? asked->body_timeout_ms : dflt.body_timeout_ms;
    l->idle_timeout_ms = asked->idle_timeout_ms > 0 ? asked->idle_timeout_ms : dflt.idle_timeout_ms;
    l->tls_timeout_ms = asked->tls_timeout_ms > 0 ? asked->tls_timeout_ms : dflt.tls_timeout_ms;
    uint32_t per_source = asked->connections_per_source;
    sources_init(&ws->sources, per_source != 0 ? per_source : l->connections / 5 * 4,
                 per_source != 0 ? per_source : 200);
}

/* A file has one socket: the workers share it, and whoever is first takes the connection. */
static int bind_local(struct workers *ws, size_t i, const struct sockaddr_storage *a, struct err *e)
{
    int fd = -1;
    int code = local_bind(a, ws->listeners[i].mode, &ws->files[i], &fd, e);
    for (unsigned n = 0; n < ws->n_workers && code == 0; n++) {
        int own = n == 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0);
        ws->workers[n].listeners[i].fd = own;
        if (own < 0) {
            code =
                err_set(e, MU_E_IO, "listener %s: %s", ws->listeners[i].address, strerror(errno));
        }
    }
    listen_format(a, ws->addresses[i]);
    return code;
}

/* Each worker gets its own socket on one address. A socket that shares its port with nobody goes
 * first: it finds out whether another process has the port, which sockets with SO_REUSEPORT of one
 * user would not. */
static int bind_listener(struct workers *ws, size_t i, struct err *e)
{
    struct sockaddr_storage a;
    int fd = -1;
    int code = listen_resolve(ws->listeners[i].address, &a, e);
    if (code != 0) {
        return code;
    }
    if (a.ss_family == AF_UNIX) {
        return bind_local(ws, i, &a, e);
    }
    code = listen_bind(&a, 0, e, &fd);
    if (code != 0) {
        return code;
    }
    socklen_t len = sizeof(a);
    int is_known = getsockname(fd, (struct sockaddr *)&a, &len) == 0;
    close(fd);
    if (!is_known) {
        return err_set(e, MU_E_IO, "listener %s has no address", ws->listeners[i].address);
    }
    for (unsigned n = 0; n < ws->n_workers && code == 0; n++) {
        code = listen_bind(&a, 1, e, &ws->workers[n].listeners[i].fd);
    }
    listen_format(&a, ws->addresses[i]);
    return code;
}

static int load_tls(const struct workers *ws, struct tls_context **out, int64_t *out_not_after,
                    struct err *e)
{
    *out_not_after = 0;
    for (size_t i = 0; i < ws->n_listeners; i++) {
        out[i] = NULL;
        if (ws->listeners[i].cert_file == NULL) {
            continue;
        }
        int code = tls_context_load(&ws->listeners[i], &out[i], e);
        if (code != 0) {
            while (i-- > 0) {
                tls_context_unref(out[i]);
            }
            return code;
        }
        int64_t at = tls_context_not_after(out[i]);
        *out_not_after = *out_not_after == 0 || at < *out_not_after ? at : *out_not_after;
    }
    return 0;
}

static char *dup_or_null(const char *s)
{
    return s != NULL ? mem_strdup(s) : NULL;
}

static struct workers *workers_new(const struct workers_options *o)
{
    struct workers *ws = mem_zalloc(sizeof(*ws));
    ws->n_workers = o->n_workers != 0 ? o->n_workers : default_workers();
    ws->n_listeners = o->n_listeners;
    ws->http = o->http;
    ws->guest = o->guest;
    set_limits(ws, &o->limits);
    ws->listeners = mem_zalloc(o->n_listeners * sizeof(*ws->listeners));
    ws->addresses = mem_zalloc(o->n_listeners * sizeof(*ws->addresses));
    ws->files = mem_zalloc(o->n_listeners * sizeof(*ws->files));
    for (size_t i = 0; i < o->n_listeners; i++) {
        ws->listeners[i].address = mem_strdup(o->listeners[i].address);
        ws->listeners[i].mode = o->listeners[i].mode;
        ws->listeners[i].cert_file = dup_or_null(o->listeners[i].cert_file);
        ws->listeners[i].key_file = dup_or_null(o->listeners[i].key_file);
        ws->listeners[i].client_ca_file = dup_or_null(o->listeners[i].client_ca_file);
    }
    ws->workers = mem_zalloc(ws->n_workers * sizeof(*ws->workers));
    for (unsigned n = 0; n < ws->n_workers; n++) {
        worker_init(&ws->workers[n], ws, n);
    }
    return ws;
}

/* While the sockets are open: their files' inodes are nobody else's until then. */
static void remove_files(struct workers *ws)
{
    for (size_t i = 0; i < ws->n_listeners; i++) {
        local_remove(&ws->files[i]);
    }
}

static void workers_free(struct workers *ws)
{
    remove_files(ws);
    for (unsigned n = 0; n < ws->n_workers; n++) {
        worker_fini(&ws->workers[n]);
    }
    for (size_t i = 0; i < ws->n_listeners; i++) {
        mem_free((void *)(uintptr_t)ws->listeners[i].address);
        mem_free((void *)(uintptr_t)ws->listeners[i].cert_file);
        mem_free((void *)(uintptr_t)ws->listeners[i].key_file);
        mem_free((void *)(uintptr_t)ws->listeners[i].client_ca_file);
    }
    mem_free(ws->workers);
    mem_free(ws->listeners);
    mem_free(ws->addresses);
    mem_free(ws->files);
    mem_free(ws);
}

/* --- certificates --- */

struct tls_job {
    struct mail_job job;
    struct worker *w;
    struct tls_context *contexts[];
};

static void run_tls(struct mail_job *j)
{
    struct tls_job *t = CONTAINER_OF(j, struct tls_job, job);
    for (size_t i = 0; i < t->w->all->n_listeners; i++) {
        tls_context_unref(t->w->listeners[i].tls);
        t->w->listeners[i].tls = t->contexts[i];
    }
    mem_free(t);
}

/* A job that gives `w` its own references. */
static struct tls_job *tls_job_new(struct worker *w, struct tls_context *const *contexts)
{
    size_t n = w->all->n_listeners;
    struct tls_job *t = mem_zalloc(sizeof(*t) + n * sizeof(struct tls_context *));
    t->job.run = run_tls;
    t->w = w;
    for (size_t i = 0; i < n; i++) {
        t->contexts[i] = tls_context_ref(contexts[i]);
    }
    return t;
}

static int reload(struct workers *ws, int is_running, struct err *e)
{
    struct tls_context **contexts = mem_zalloc(ws->n_listeners * sizeof(struct tls_context *));
    int64_t not_after = 0;
    int code = load_tls(ws, contexts, &not_after, e);
    for (unsigned n = 0; n < ws->n_workers && code == 0; n++) {
        struct tls_job *t = tls_job_new(&ws->workers[n], contexts);
        if (is_running) {
            mailbox_send(&ws->workers[n].mailbox, &t->job.mail);
        } else {
            run_tls(&t->job);
        }
    }
    if (code == 0) {
        atomic_store_explicit(&ws->tls_not_after, not_after, memory_order_relaxed);
        for (size_t i = 0; i < ws->n_listeners; i++) {
            tls_context_unref(contexts[i]);
        }
    }
    mem_free(contexts);
    return code;
}

int workers_reload_tls(struct workers *w, struct err *e)
{
    return reload(w, 1, e);
}

/* --- start, drain, stop --- */

static void *thread_main(void *arg)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(
        &set,
        SIGPIPE); /* libuv writes with write(2): a peer that left is an error code, not a signal */
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    worker_main(arg);
    return NULL;
}

static void stop_threads(struct workers *ws, unsigned n_started, int64_t timeout_ms)
{
    int64_t at = clock_mono_ms() + (timeout_ms > 0 ? timeout_ms : 0);
    for (unsigned n = 0; n < n_started; n++) {
        ws->workers[n].stop_at = at; /* read by the thread after it takes the mail */
        mailbox_send(&ws->workers[n].mailbox, &ws->workers[n].stop_job.mail);
    }
    for (unsigned n = 0; n < n_started; n++) {
        (void)pthread_join(ws->workers[n].thread, NULL);
    }
}

int workers_start(const struct workers_options *o, struct workers **out, struct err *e)
{
    struct workers *ws = workers_new(o);
    int code = reload(ws, 0, e);
    for (size_t i = 0; i < ws->n_listeners && code == 0; i++) {
        code = bind_listener(ws, i, e);
    }
    unsigned n_started = 0;
    while (code == 0 && n_started < ws->n_workers) {
        struct worker *w = &ws->workers[n_started];
        int rc = pthread_create(&w->thread, NULL, thread_main, w);
        if (rc != 0) {
            code = err_set(e, MU_E_INTERNAL, "starting a worker thread: %s", strerror(rc));
        } else {
            n_started++;
        }
    }
    if (code != 0) {
        stop_threads(ws, n_started, 0);
        workers_free(ws);
        return code;
    }
    *out = ws;
    return 0;
}

const char *workers_address(const struct workers *w, size_t listener)
{
    return w->addresses[listener];
}

void workers_drain(struct workers *w)
{
    if (atomic_exchange(&w->is_draining, 1) == 0) {
        remove_files(w);
        for (unsigned n = 0; n < w->n_workers; n++) {
            mailbox_send(&w->workers[n].mailbox, &w->workers[n].drain_job.mail);
        }
    }
}

void workers_stop(struct workers *w, int64_t timeout_ms)
{
    stop_threads(w, w->n_workers, timeout_ms);
    int is_abandoned = 0;
    for (unsigned n = 0; n < w->n_workers; n++) {
        is_abandoned |= w->workers[n].is_abandoned;
    }
    if (!is_abandoned) {
        workers_free(w);
    }
}

void workers_stats(const struct workers *w, struct net_stats *out)
{
    struct net_stats s = {.tls_not_after =
                              atomic_load_explicit(&w->tls_not_after, memory_order_relaxed)};
    for (unsigned n = 0; n < w->n_workers; n++) {
        const struct net_counters *c = &w->workers[n].n;
        s.connections += atomic_load_explicit(&c->connections, memory_order_relaxed);
        s.accepted += atomic_load_explicit(&c->accepted, memory_order_relaxed);
        s.refused += atomic_load_explicit(&c->refused, memory_order_relaxed);
        s.tls_handshakes += atomic_load_explicit(&c->tls_handshakes, memory_order_relaxed);
        s.tls_failures += atomic_load_explicit(&c->tls_failures, memory_order_relaxed);
        s.bytes_in += atomic_load_explicit(&c->bytes_in, memory_order_relaxed);
        s.bytes_out += atomic_load_explicit(&c->bytes_out, memory_order_relaxed);
        s.bytes_held += atomic_load_explicit(&c->bytes_held, memory_order_relaxed);
    }
    *out = s;
}
