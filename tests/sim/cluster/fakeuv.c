/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of libuv that the core and the replica use, and base/wake.h, over virtual time.
 *
 * One iteration, as libuv's: what is ready (descriptors, finished work, frames; in an order drawn
 * by chance), check, closing, timers, idle, prepare. The loop sleeps until a timer or a wake. */
#include <uv.h>

#include "base/mem.h"
#include "base/wake.h"
#include "tests/sim/cluster/world.h"

enum { HANDLES_MAX = 16, ITERATIONS_MAX = 64, ACTIVE = 1, CLOSING = 2, WAKES_MAX = 4096 };

struct work {
    struct work *next;
    uv_work_t *w;
    int is_done;
};

struct fake_loop {
    struct sim_node *node;
    uv_handle_t *handles[HANDLES_MAX];
    size_t n;
    struct work *works;
};

static struct {
    struct sim_node *node;
    unsigned life;
    int is_set;
} wakes[WAKES_MAX];
static int n_wakes;

/* --- base/wake.h --- */

void wake_init(struct wake *w)
{
    MU_INVARIANT(n_wakes < WAKES_MAX);
    w->fd = n_wakes++;
    wakes[w->fd].node = world->cur;
    wakes[w->fd].life = world->cur->life;
    wakes[w->fd].is_set = 0;
}

void wake_fini(struct wake *w)
{
    wakes[w->fd].node = NULL;
}

void wake_send(const struct wake *w)
{
    struct sim_node *n = wakes[w->fd].node;
    wakes[w->fd].is_set = 1;
    if (n != NULL && n->life == wakes[w->fd].life) {
        loop_wake(n, (int64_t)sim_below(100));
    }
}

void wake_clear(const struct wake *w)
{
    wakes[w->fd].is_set = 0;
}

/* --- handles --- */

int uv_loop_init(uv_loop_t *loop)
{
    struct fake_loop *l = mem_zalloc(sizeof(*l));
    l->node = world->cur;
    loop->data = l;
    world->cur->loop = l;
    return 0;
}

int uv_loop_close(uv_loop_t *loop)
{
    (void)loop;
    return 0;
}

int uv_run(uv_loop_t *loop, uv_run_mode mode)
{
    (void)loop, (void)mode;
    sim_bad("uv_run is not for here");
}

void uv_update_time(uv_loop_t *loop)
{
    (void)loop;
}

static void add(uv_loop_t *loop, uv_handle_t *h, uv_handle_type type)
{
    struct fake_loop *l = loop->data;
    MU_INVARIANT(l->n < HANDLES_MAX);
    h->loop = loop;
    h->type = type;
    h->flags = 0;
    l->handles[l->n++] = h;
}

#define ADD(kind, type)                                        \
    int uv_##kind##_init(uv_loop_t *loop, uv_##kind##_t *h)    \
    {                                                          \
        add(loop, (uv_handle_t *)h, type);                     \
        return 0;                                              \
    }                                                          \
    int uv_##kind##_start(uv_##kind##_t *h, uv_##kind##_cb cb) \
    {                                                          \
        h->kind##_cb = cb;                                     \
        h->flags |= ACTIVE;                                    \
        return 0;                                              \
    }
ADD(prepare, UV_PREPARE)
ADD(check, UV_CHECK)
ADD(idle, UV_IDLE)

int uv_idle_stop(uv_idle_t *h)
{
    h->flags &= ~(unsigned)ACTIVE;
    return 0;
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *h)
{
    add(loop, (uv_handle_t *)h, UV_TIMER);
    return 0;
}

int uv_timer_start(uv_timer_t *h, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    h->timer_cb = cb;
    h->timeout = (uint64_t)clock_mono_ms() + timeout;
    h->repeat = repeat;
    h->flags |= ACTIVE;
    return 0;
}

int uv_poll_init(uv_loop_t *loop, uv_poll_t *h, int fd)
{
    add(loop, (uv_handle_t *)h, UV_POLL);
    h->io_watcher.fd = fd;
    return 0;
}

int uv_poll_start(uv_poll_t *h, int events, uv_poll_cb cb)
{
    (void)events;
    h->poll_cb = cb;
    h->flags |= ACTIVE;
    return 0;
}

void uv_close(uv_handle_t *h, uv_close_cb cb)
{
    h->flags = CLOSING;
    h->close_cb = cb;
}

/* --- work on other threads: at a moment of its own, in one piece --- */

static void as_node_work(void *arg, uint64_t n)
{
    struct work *w = arg;
    (void)n;
    w->w->work_cb(w->w);
    w->is_done = 1;
    loop_wake(world->cur, (int64_t)sim_below(2000));
}

static void do_work(void *arg, uint64_t n)
{
    struct work *w = arg;
    struct sim_node *node = &world->nodes[n & 0xff];
    if (node->is_up && node->life == n >> 8 && !w->is_done) {
        node_run(node, as_node_work, w, 0);
    }
}

int uv_queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb, uv_after_work_cb after)
{
    struct fake_loop *l = loop->data;
    struct work *w = mem_zalloc(sizeof(*w));
    req->work_cb = work_cb;
    req->after_work_cb = after;
    req->loop = loop;
    w->w = req;
    w->next = l->works;
    l->works = w;
    sim_at(world->now + sim_between(100, 20000), do_work, w,
           (uint64_t)l->node->nr | (uint64_t)l->node->life << 8);
    return 0;
}

static int after_work(struct fake_loop *l)
{
    for (struct work **at = &l->works; *at != NULL; at = &(*at)->next) {
        struct work *w = *at;
        if (w->is_done) {
            *at = w->next;
            w->w->after_work_cb(w->w, 0);
            mem_free(w);
            return 1;
        }
    }
    return 0;
}

/* --- an iteration --- */

static void run_polls(struct fake_loop *l)
{
    for (size_t i = 0; i < l->n; i++) {
        uv_poll_t *p = (uv_poll_t *)l->handles[i];
        if (p->type == UV_POLL && (p->flags & ACTIVE) != 0 && wakes[p->io_watcher.fd].is_set) {
            p->poll_cb(p, 0, UV_READABLE);
        }
    }
}

static void run_ready(struct fake_loop *l)
{
    int is_net_first = (int)sim_below(2);
    if (is_net_first) {
        net_deliver(l->node);
    }
    run_polls(l);
    while (after_work(l)) {
    }
    if (!is_net_first) {
        net_deliver(l->node);
    }
}

static int run_closing(struct fake_loop *l)
{
    int n = 0;
    for (size_t i = 0; i < l->n;) {
        uv_handle_t *h = l->handles[i];
        if ((h->flags & CLOSING) == 0) {
            i++;
            continue;
        }
        l->handles[i] = l->handles[--l->n];
        n++;
        if (h->close_cb != NULL) {
            h->close_cb(h);
        }
    }
    return n;
}

static void run_timers(struct fake_loop *l)
{
    uint64_t now = (uint64_t)clock_mono_ms();
    for (size_t i = 0; i < l->n; i++) {
        uv_timer_t *t = (uv_timer_t *)l->handles[i];
        if (t->type == UV_TIMER && (t->flags & ACTIVE) != 0 && t->timeout <= now) {
            t->flags &= ~(unsigned)ACTIVE;
            if (t->repeat != 0) {
                t->flags |= ACTIVE;
                t->timeout = now + t->repeat;
            }
            t->timer_cb(t);
        }
    }
}

static int run_kind(struct fake_loop *l, uv_handle_type type)
{
    int n = 0;
    for (size_t i = 0; i < l->n; i++) {
        uv_handle_t *h = l->handles[i];
        if (h->type != type || (h->flags & ACTIVE) == 0) {
            continue;
        }
        n++;
        if (type == UV_PREPARE) {
            ((uv_prepare_t *)h)->prepare_cb((uv_prepare_t *)h);
        } else if (type == UV_CHECK) {
            ((uv_check_t *)h)->check_cb((uv_check_t *)h);
        } else {
            ((uv_idle_t *)h)->idle_cb((uv_idle_t *)h);
        }
    }
    return n;
}

static int has_active_idle(const struct fake_loop *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->handles[i]->type == UV_IDLE && (l->handles[i]->flags & ACTIVE) != 0) {
            return 1;
        }
    }
    return 0;
}

static void iterate(struct fake_loop *l)
{
    run_ready(l);
    run_kind(l, UV_CHECK);
    run_closing(l);
    run_timers(l);
    run_kind(l, UV_IDLE);
    run_kind(l, UV_PREPARE);
}

static void run_turn(void *arg, uint64_t n)
{
    struct fake_loop *l = arg;
    (void)n;
    int i = 0;
    do {
        iterate(l);
    } while (has_active_idle(l) && ++i < ITERATIONS_MAX);
    if (i == ITERATIONS_MAX) {
        sim_bad("node %d: its loop spins", l->node->nr);
    }
    int64_t next = INT64_MAX;
    for (size_t k = 0; k < l->n; k++) {
        uv_timer_t *t = (uv_timer_t *)l->handles[k];
        if (t->type == UV_TIMER && (t->flags & ACTIVE) != 0 && (int64_t)t->timeout < next) {
            next = (int64_t)t->timeout;
        }
    }
    if (next != INT64_MAX) {
        loop_wake(l->node, sim_when_mono(l->node, next) - world->now);
    }
}

void loop_turn(struct sim_node *n)
{
    world->out->turns++;
    node_run(n, run_turn, n->loop, 0);
}

static void on_turn(void *arg, uint64_t life)
{
    struct sim_node *n = arg;
    if (!n->is_up || n->life != life || n->turn_at > world->now) {
        return;
    }
    n->turn_at = INT64_MAX;
    if (n->paused_until > world->now) {
        loop_wake(n, 0);
        return;
    }
    loop_turn(n);
    if (n->is_up && n->life == life) {
        oracle_looked(n);
    }
    clients_mail();
}

void loop_wake(struct sim_node *n, int64_t delay_us)
{
    int64_t at = world->now + (delay_us > 0 ? delay_us : 1);
    at = at < n->paused_until ? n->paused_until : at;
    if (at < n->turn_at) {
        n->turn_at = at;
        sim_at(at, on_turn, n, n->life);
    }
}

void loop_drain(struct sim_node *n)
{
    struct fake_loop *l = n->loop;
    for (int i = 0; (l->n > 0 || l->works != NULL) && i < 1000; i++) {
        for (struct work *w = l->works; w != NULL; w = w->next) {
            if (!w->is_done) {
                w->w->work_cb(w->w);
                w->is_done = 1;
            }
        }
        iterate(l);
    }
    if (l->n > 0) {
        sim_bad("node %d does not end", n->nr);
    }
}

/* core_drain and core_reload_tls are not used here: they would wait for another thread. */
int uv_sem_init(uv_sem_t *sem, unsigned value)
{
    (void)sem, (void)value;
    return 0;
}

void uv_sem_destroy(uv_sem_t *sem)
{
    (void)sem;
}

void uv_sem_post(uv_sem_t *sem)
{
    (void)sem;
}

void uv_sem_wait(uv_sem_t *sem)
{
    (void)sem;
    sim_bad("nobody waits here");
}
