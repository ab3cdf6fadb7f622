/* SPDX-License-Identifier: Apache-2.0 */
/* Watchers: armed at one node, woken, reading what they missed, going on at another node. What they
 * are told is compared with the changes there were: each once, in order, none left out. */
#include <string.h>

#include "base/mem.h"
#include "storage/view.h"
#include "tests/sim/cluster/world.h"

enum { WATCHERS_N = 4, SLICE = 7, MOVE_US = 4000 * 1000 };

struct watcher;

/* One arming; the hub owns it until it fires. */
struct arming {
    struct sub sub;
    struct watcher *w;
    struct sim_node *node;
    unsigned life;
    uint64_t seq;
};

struct watcher {
    int nr, key; /* key < 0: all */
    uint64_t seq;
    struct arming *armed;
    mu_rev next;
    size_t cursor; /* in the changes there were */
    struct buf prefix;
    struct key_range range;
};

static struct watcher watchers[WATCHERS_N];

static void arm(struct watcher *w);

/* --- judging --- */

/* The next change there was that this watcher wants, from `next` on. */
static int expected(struct watcher *w, struct told *out)
{
    while (oracle_change(w->cursor, out)) {
        if (out->rev >= w->next && (w->key < 0 || w->key == out->key)) {
            return 1;
        }
        w->cursor++;
    }
    return 0;
}

struct reading {
    struct watcher *w;
    struct sim_node *node;
};

static int on_change(void *arg, mu_rev rev, uint32_t sub, struct slice key, struct slice row,
                     int is_delete)
{
    struct reading *r = arg;
    struct watcher *w = r->w;
    struct told t;
    int reg = register_of(key);
    (void)row;
    if (reg < 0 || (w->key >= 0 && w->key != reg)) {
        return 0;
    }
    if (!expected(w, &t) || t.rev != rev || t.sub != sub || t.key != reg ||
        t.is_delete != is_delete) {
        sim_bad("watcher %d is told of revision %llu by node %d, due is %llu", w->nr,
                (unsigned long long)rev, r->node->nr,
                (unsigned long long)(expected(w, &t) ? t.rev : 0));
    }
    w->cursor++;
    world->out->watched++;
    return 0;
}

static void read_on(struct watcher *w, struct sim_node *n)
{
    struct reading r = {w, n};
    struct view *v = view_open(n->store);
    mu_rev next = w->next, head = view_revision(v);
    int rc = 0;
    while (rc == 0 && w->next <= head) {
        struct told t;
        rc = view_changes(v, "C", w->next, SLICE, on_change, &r, &next);
        if (rc == 0 && expected(w, &t) && t.rev < next) {
            sim_bad("watcher %d misses revision %llu at node %d", w->nr, (unsigned long long)t.rev,
                    n->nr);
        }
        w->next = rc == 0 ? next : w->next;
    }
    if (rc == MU_E_COMPACTED) {
        if (w->next > oracle_compacted()) {
            sim_bad("watcher %d is told that revision %llu is compacted, it is not", w->nr,
                    (unsigned long long)w->next);
        }
        w->next = head + 1; /* as a client does: read anew, watch from there */
    } else if (rc != 0) {
        sim_bad("watcher %d cannot read: %s", w->nr, err_name(rc));
    }
    view_close(v);
}

/* --- arming --- */

static void on_fired(struct sub *s)
{
    struct arming *a = CONTAINER_OF(s, struct arming, sub);
    struct watcher *w = a->w;
    int is_there = a->node->is_up && a->node->life == a->life && a->node->store != NULL;
    if (a->seq == w->seq) {
        w->armed = NULL;
        if (is_there && !s->is_cancelled) {
            read_on(w, a->node);
        }
        arm(w);
    }
    mem_free(a);
}

/* Goes elsewhere: because its node is gone, or just so. */
static void on_move(void *arg, uint64_t seq)
{
    struct watcher *w = arg;
    if (w->seq != seq) {
        return;
    }
    struct arming *a = w->armed;
    if (a != NULL && a->node->is_up && a->node->life == a->life && !a->sub.is_cancelled &&
        sim_chance(50)) {
        world->cur = a->node;
        hub_cancel(a->node->core->hub, &a->sub);
        world->cur = NULL;
        sim_at(world->now + MOVE_US, on_move, w, seq);
        return; /* comes back by on_fired, unless the node dies */
    }
    arm(w); /* what was armed is left behind */
}

static void arm(struct watcher *w)
{
    struct sim_node *n = any_node();
    w->seq++;
    w->armed = NULL;
    sim_at(world->now + sim_between(MOVE_US / 8, MOVE_US), on_move, w, w->seq);
    if (n == NULL) {
        return;
    }
    struct arming *a = mem_zalloc(sizeof(*a));
    a->w = w;
    a->node = n;
    a->life = n->life;
    a->seq = w->seq;
    a->sub = (struct sub){.reply = clients_box(),
                          .fired = on_fired,
                          .next_rev = w->next,
                          .ranges = &w->range,
                          .n_ranges = 1};
    w->armed = a;
    world->cur = n;
    hub_arm(n->core->hub, &a->sub);
    world->cur = NULL;
}

static void on_start(void *arg, uint64_t n)
{
    (void)n;
    arm(arg);
}

void watchers_start(void)
{
    for (int i = 0; i < WATCHERS_N; i++) {
        struct watcher *w = &watchers[i];
        char key[8];
        struct config_name name;
        w->nr = i;
        w->key = i % 2 == 0 ? -1 : (int)sim_below(KEYS_N);
        w->next = 1;
        buf_init(&w->prefix);
        register_name(w->key, key, &name);
        if (w->key < 0) {
            key_config_prefix(&w->prefix, name.ns, name.group, slice_str(""));
        } else {
            key_config(&w->prefix, &name);
        }
        w->range = (struct key_range){.key = buf_slice(&w->prefix), .is_prefix = w->key < 0};
        sim_at(world->now + sim_between(400000, 3000000), on_start, w, 0);
    }
}

/* All was told. */
void watchers_check(void)
{
    for (int i = 0; i < WATCHERS_N; i++) {
        struct told t;
        if (expected(&watchers[i], &t)) {
            sim_bad("watcher %d was never told of revision %llu", i, (unsigned long long)t.rev);
        }
    }
}
