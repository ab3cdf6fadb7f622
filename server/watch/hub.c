/* SPDX-License-Identifier: Apache-2.0 */
/* How it works: every watched key or prefix is one node in a hash table, with a list of links to
 * the subscriptions that want it. A change looks up its key among the exact nodes and each of its
 * prefixes whose length is in use. The newest changes are kept in a ring, so that a subscription
 * that arms a moment late is judged by what really changed instead of being woken for nothing.
 *
 * Cancelling: the cancel message is always sent back by the hub, and only its return ends a
 * cancelled subscription. The firing, if there was one, was sent before it, so nothing refers to
 * the sub any more. */
#include "server/watch/hub.h"

#include "base/hash.h"
#include "base/mem.h"
#include "server/watch/ring.h"

#define HASH_FUNCTION(keyptr, keylen, hashv) \
    ((hashv) = (unsigned)hash_xxh3((keyptr), (keylen), 0x6d757374))
#include <uthash.h>

enum {
    RING_BYTES = 1 << 20,
    /* Judging a late arm costs changes x ranges; beyond this it is cheaper to wake it. */
    JUDGE_MAX = 20000,
};

struct hub_link {
    struct sub *sub;
    struct watched *node;
    struct hub_link *next, **prev; /* in node->links */
};

struct watched {
    UT_hash_handle hh;
    struct hub_link *links;
    int is_pinned; /* being walked: must outlive its last link */
    size_t len;    /* of what is hashed: one byte exact/prefix, then the key */
    uint8_t bytes[];
};

struct hub {
    struct mailbox *core_box;
    struct watched *table;
    uint32_t *prefix_use; /* how many prefix nodes have this key length */
    size_t prefix_max;    /* longest in use so far */
    struct sub *live;
    size_t n_live;
    mu_rev head;
    struct change_ring ring;
    struct buf probe;
};

static struct watched *watched_find(struct hub *h, struct slice key, int is_prefix)
{
    struct watched *w = NULL;
    buf_clear(&h->probe);
    buf_append_byte(&h->probe, (uint8_t)is_prefix);
    buf_append_slice(&h->probe, key);
    HASH_FIND(hh, h->table, h->probe.p, h->probe.len, w);
    return w;
}

static struct watched *watched_get(struct hub *h, const struct key_range *r)
{
    struct watched *w = watched_find(h, r->key, r->is_prefix);
    if (w != NULL) {
        return w;
    }
    w = mem_zalloc(sizeof(*w) + h->probe.len);
    w->len = h->probe.len;
    memcpy(w->bytes, h->probe.p, h->probe.len);
    HASH_ADD_KEYPTR(hh, h->table, w->bytes, w->len, w);
    if (r->is_prefix) {
        h->prefix_use[r->key.len]++;
        if (r->key.len > h->prefix_max) {
            h->prefix_max = r->key.len;
        }
    }
    return w;
}

static void watched_drop_if_unused(struct hub *h, struct watched *w)
{
    if (w->links != NULL || w->is_pinned) {
        return;
    }
    if (w->bytes[0] == 1) {
        MU_INVARIANT(h->prefix_use[w->len - 1] > 0);
        h->prefix_use[w->len - 1]--;
    }
    HASH_DELETE(hh, h->table, w);
    mem_free(w);
}

static void sub_link(struct hub *h, struct sub *s)
{
    s->links = mem_zalloc(s->n_ranges * sizeof(*s->links));
    for (size_t i = 0; i < s->n_ranges; i++) {
        struct hub_link *l = &s->links[i];
        l->sub = s;
        l->node = watched_get(h, &s->ranges[i]);
        l->next = l->node->links;
        l->prev = &l->node->links;
        if (l->next != NULL) {
            l->next->prev = &l->next;
        }
        l->node->links = l;
    }
    s->next = h->live;
    s->prev = &h->live;
    if (s->next != NULL) {
        s->next->prev = &s->next;
    }
    h->live = s;
    h->n_live++;
}

static void sub_unlink(struct hub *h, struct sub *s)
{
    for (size_t i = 0; i < s->n_ranges; i++) {
        struct hub_link *l = &s->links[i];
        *l->prev = l->next;
        if (l->next != NULL) {
            l->next->prev = l->prev;
        }
        watched_drop_if_unused(h, l->node);
    }
    mem_free(s->links);
    s->links = NULL;
    *s->prev = s->next;
    if (s->next != NULL) {
        s->next->prev = s->prev;
    }
    MU_INVARIANT(h->n_live > 0);
    h->n_live--;
}

/* On the subscriber's thread: the hub fired. When a cancel is under way its return ends the sub,
 * not this. */
static void on_fired(struct mail_job *j)
{
    struct sub *s = CONTAINER_OF(j, struct sub, fire_job);
    if (!s->is_cancelled) {
        s->fired(s);
    }
}

static void on_cancelled(struct mail_job *j)
{
    struct sub *s = CONTAINER_OF(j, struct sub, cancel_job);
    s->fired(s);
}

static void sub_fire(struct sub *s)
{
    s->fire_job.run = on_fired;
    mailbox_send(s->reply, &s->fire_job.mail);
}

static int ranges_match(const struct key_range *r, size_t n, struct slice key)
{
    for (size_t i = 0; i < n; i++) {
        if (r[i].is_prefix ? slice_has_prefix(key, r[i].key) : slice_eq(key, r[i].key)) {
            return 1;
        }
    }
    return 0;
}

/* Did anything that the sub wants change at or after its next revision? 1 also when that is not
 * known. */
static int sub_is_late(struct hub *h, const struct sub *s)
{
    if (h->head < s->next_rev) {
        return 0;
    }
    if (ring_floor(&h->ring) >= s->next_rev || ring_count(&h->ring) * s->n_ranges > JUDGE_MAX) {
        return 1;
    }
    struct ring_iter it;
    struct slice key;
    ring_begin(&h->ring, s->next_rev, &it);
    while (ring_next(&h->ring, &it, &key)) {
        if (ranges_match(s->ranges, s->n_ranges, key)) {
            return 1;
        }
    }
    return 0;
}

/* --- messages, on the core thread --- */

static void run_arm(struct mail_job *j)
{
    struct sub *s = CONTAINER_OF(j, struct sub, arm_job);
    if (sub_is_late(s->hub, s)) {
        sub_fire(s);
    } else {
        sub_link(s->hub, s);
    }
}

static void run_cancel(struct mail_job *j)
{
    struct sub *s = CONTAINER_OF(j, struct sub, cancel_job);
    if (s->links != NULL) {
        sub_unlink(s->hub, s);
    }
    s->cancel_job.run = on_cancelled;
    mailbox_send(s->reply, &s->cancel_job.mail);
}

/* --- the subscriber's side --- */

void hub_arm(struct hub *h, struct sub *s)
{
    MU_INVARIANT(s->n_ranges > 0 && s->n_ranges <= HUB_RANGES_MAX);
    s->hub = h;
    s->links = NULL;
    s->is_cancelled = 0;
    s->arm_job.run = run_arm;
    mailbox_send(h->core_box, &s->arm_job.mail);
}

void hub_cancel(struct hub *h, struct sub *s)
{
    if (s->is_cancelled) {
        return;
    }
    s->is_cancelled = 1;
    s->cancel_job.run = run_cancel;
    mailbox_send(h->core_box, &s->cancel_job.mail);
}

/* --- the core's side --- */

struct hub *hub_new(struct mailbox *core_box, mu_rev head)
{
    struct hub *h = mem_zalloc(sizeof(*h));
    h->core_box = core_box;
    h->head = head;
    h->prefix_use = mem_zalloc((KEY_MAX + 1) * sizeof(*h->prefix_use));
    ring_init(&h->ring, RING_BYTES, head);
    buf_init(&h->probe);
    return h;
}

void hub_free(struct hub *h)
{
    if (h == NULL) {
        return;
    }
    while (h->live != NULL) {
        sub_unlink(h, h->live);
    }
    ring_fini(&h->ring);
    buf_fini(&h->probe);
    mem_free(h->prefix_use);
    mem_free(h);
}

static void node_fire(struct hub *h, struct watched *w)
{
    if (w == NULL) {
        return;
    }
    w->is_pinned = 1;
    while (w->links != NULL) {
        struct sub *s = w->links->sub;
        sub_unlink(h, s);
        sub_fire(s);
    }
    w->is_pinned = 0;
    watched_drop_if_unused(h, w);
}

static void change_fire(struct hub *h, struct slice key)
{
    node_fire(h, watched_find(h, key, 0));
    size_t max = key.len < h->prefix_max ? key.len : h->prefix_max;
    for (size_t len = 0; len <= max; len++) {
        if (h->prefix_use[len] != 0) {
            node_fire(h, watched_find(h, slice_of(key.p, len), 1));
        }
    }
}

void hub_publish(struct hub *h, const struct change_set *c, mu_rev head)
{
    MU_INVARIANT(head >= h->head);
    for (size_t i = 0; i < c->n; i++) {
        ring_push(&h->ring, c->items[i].rev, c->items[i].key);
    }
    h->head = head;
    if (h->n_live == 0) {
        return;
    }
    for (size_t i = 0; i < c->n; i++) {
        change_fire(h, c->items[i].key);
    }
}

void hub_fire_all(struct hub *h)
{
    while (h->live != NULL) {
        struct sub *s = h->live;
        sub_unlink(h, s);
        sub_fire(s);
    }
}

void hub_reset(struct hub *h, mu_rev head)
{
    hub_fire_all(h);
    ring_fini(&h->ring);
    ring_init(&h->ring, RING_BYTES, head);
    h->head = head;
}

size_t hub_count(const struct hub *h)
{
    return h->n_live;
}
