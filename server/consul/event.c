/* SPDX-License-Identifier: Apache-2.0 */
/* User events (https://developer.hashicorp.com/consul/api-docs/event): a record each, the last 256
 * of them. Their order is that of their revisions. They stand in 512 slots that are written over:
 * the oldest half is told no more, and takes the new ones, so that two at once rarely meet. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "server/consul/change.h"
#include "server/consul/list.h"
#include "server/query/regex.h"

#define EVENTS SLICE_LIT("event")

enum { EVENTS_MAX = 256, SLOTS = 512, TRIES = 32, NAME_MAX_BYTES = 256, EVENT_MAX = 512 };

/* --- firing --- */

struct fired {
    char id[UUID_SIZE + 1];
    struct slice text; /* as it is told, without LTime and the bracket */
    unsigned n_tries;
};

static void *alloc(void *arg, size_t size)
{
    return http_alloc(arg, size);
}

/* A filter is an expression; they are told again, and nobody here is left out by them. */
static int check_filter(struct consul_call *k, const char *name, struct slice *out)
{
    struct regex_memory m = {alloc, k->r};
    struct regex_budget budget = {1};
    char why[128];
    *out = slice_of(NULL, 0);
    if (!http_query(k->r, name, out) || out->len == 0 ||
        regex_new(&m, &budget, *out, why, sizeof(why)) != NULL) {
        return 0;
    }
    consul_text(k->r, 500, "Invalid %s filter: error parsing regexp: %s", name, why);
    return -1;
}

static void put(struct jw *w, const char *name, struct slice s)
{
    jw_key(w, name);
    jw_slice(w, s);
}

static int describe(struct consul_call *k, struct fired *f)
{
    struct slice node, service, tag, payload = http_body(k->r);
    struct jw w;
    struct buf b;
    if (check_filter(k, "node", &node) != 0 || check_filter(k, "service", &service) != 0 ||
        check_filter(k, "tag", &tag) != 0) {
        return -1;
    }
    if (tag.len != 0 && service.len == 0) {
        consul_text(k->r, 500, "Cannot provide tag filter without service filter");
        return -1;
    }
    buf_init(&b);
    jw_init(&w, &b);
    jw_obj(&w);
    put(&w, "ID", slice_str(f->id));
    put(&w, "Name", k->rest);
    jw_key(&w, "Payload");
    if (payload.len == 0) {
        jw_null(&w);
    } else {
        jw_base64(&w, payload);
    }
    put(&w, "NodeFilter", node);
    put(&w, "ServiceFilter", service);
    put(&w, "TagFilter", tag);
    jw_key(&w, "Version");
    jw_u64(&w, 1);
    jw_end(&w);
    f->text = consul_keep(k->r, buf_slice(&b));
    buf_fini(&b);
    return 0;
}

struct seen {
    struct seen_event {
        mu_rev rev;
        uint32_t sub;
        struct slice name, body;
    } * items;
    size_t n, cap;
    mu_rev last; /* of tombstones, too */
};

static int on_event(void *arg, struct slice name, const struct record_row *row)
{
    struct seen *s = arg;
    s->last = row->meta.mod_rev > s->last ? row->meta.mod_rev : s->last;
    if (row->meta.is_deleted) {
        return 0;
    }
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? EVENTS_MAX : s->cap * 2;
        s->items = mem_realloc(s->items, s->cap * sizeof(*s->items));
    }
    s->items[s->n++] = (struct seen_event){row->meta.mod_rev, row->meta.mod_sub, name, row->body};
    return 0;
}

static int by_age(const void *a, const void *b)
{
    const struct seen_event *x = a, *y = b;
    return x->rev != y->rev ? (x->rev < y->rev ? -1 : 1) : (x->sub < y->sub ? -1 : x->sub > y->sub);
}

/* In order of age; freed by the caller. */
static int see_all(struct view *v, struct seen *out)
{
    *out = (struct seen){0};
    int rc = view_records(v, EVENTS, on_event, out);
    if (out->n > 1) {
        qsort(out->items, out->n, sizeof(*out->items), by_age);
    }
    return rc;
}

/* One that nobody uses, else one of those that are told no more. */
static int choose_slot(const struct seen *s, char out[8], mu_rev *expect)
{
    uint8_t is_used[SLOTS] = {0};
    unsigned free_slots[SLOTS], n = 0;
    *expect = 0;
    for (size_t i = 0; i < s->n; i++) {
        uint64_t slot = SLOTS;
        if (text_u64(s->items[i].name, SLOTS - 1, &slot) == 0) {
            is_used[slot] = 1;
        }
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!is_used[i]) {
            free_slots[n++] = i;
        }
    }
    if (n > 0) {
        return snprintf(out, 8, "%u", free_slots[rnd_below(n)]);
    }
    const struct seen_event *old = &s->items[rnd_below(SLOTS - EVENTS_MAX)];
    *expect = old->rev;
    return snprintf(out, 8, "%.*s", (int)(old->name.len < 7 ? old->name.len : 7),
                    (const char *)old->name.p);
}

static int plan_fire(struct consul_change *h, struct view *v)
{
    const struct fired *f = h->data;
    struct seen s;
    char slot[8];
    mu_rev expect;
    int rc = see_all(v, &s);
    if (rc == 0) {
        (void)choose_slot(&s, slot, &expect);
        h->n = 0;
        consul_change_cas(h, EVENTS, slice_str(slot), f->text, expect);
    } else {
        consul_fail(h->k.r, rc, NULL);
    }
    mem_free(s.items);
    return rc;
}

static void tell(struct jw *w, struct slice text, uint64_t ltime)
{
    struct buf b;
    buf_init(&b);
    buf_append(&b, text.p, text.len - 1);
    buf_printf(&b, ",\"LTime\":%llu}", (unsigned long long)ltime);
    jw_json(w, buf_slice(&b));
    buf_fini(&b);
}

static void fired(struct consul_write *w)
{
    struct consul_change *h = w->data;
    struct fired *f = h->data;
    struct jw j;
    int rc = consul_change_outcome(w);
    if (rc == 0 && ++f->n_tries < TRIES) { /* another one was quicker: the next slot */
        consul_change_start(h, plan_fire, fired);
    } else if (rc == 0) {
        consul_fail(w->r, MU_E_OVERLOADED, NULL);
    } else if (rc == 1) {
        jw_init(&j, http_scratch(w->r));
        tell(&j, f->text, 0);
        consul_json(w->r, 200, buf_slice(j.out));
    }
}

void consul_event_fire(struct consul_call *k)
{
    struct fired *f = http_alloc(k->r, sizeof(*f));
    size_t size = k->rest.len + http_body(k->r).len;
    *f = (struct fired){0};
    consul_uuid(f->id);
    if (k->rest.len == 0 || k->rest.len > NAME_MAX_BYTES || !text_is_utf8(k->rest)) {
        consul_text(k->r, 400,
                    k->rest.len == 0 ? "Missing name" : "The name is UTF-8 of at most 256 bytes");
        return;
    }
    if (consul_dc(k) != 0 || !consul_may(k, ACCESS_EVENT, k->rest, ACCESS_WRITE)) {
        return;
    }
    if (size > EVENT_MAX) {
        consul_text(k->r, 500,
                    "1 error occurred:\n\t* error broadcasting event to segment \"\": user event "
                    "exceeds configured limit of %d bytes before encoding\n\n",
                    EVENT_MAX);
        return;
    }
    if (describe(k, f) == 0) {
        consul_change_start(consul_change_new(k, f), plan_fire, fired);
    }
}

/* --- listing --- */

/* As Consul's clients make it from the id of the last event. */
static uint64_t index_of(struct slice id)
{
    uint64_t half[2] = {0, 0};
    unsigned n = 0;
    for (size_t i = 0; i < id.len && n < 32; i++) {
        int c = id.p[i] | 32;
        if (id.p[i] == '-') {
            continue;
        }
        half[n / 16] = half[n / 16] << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        n++;
    }
    return half[0] ^ half[1];
}

/* A member of the stored text. */
static struct slice member(const json_t *doc, const char *name)
{
    const json_t *v = json_object_get(doc, name);
    return slice_of(json_string_value(v), json_string_length(v));
}

struct wanted {
    struct slice name, node, service, tag;
};

static int is_wanted(struct consul_read *g, const struct seen_event *e, uint64_t *out_index)
{
    const struct wanted *q = g->data;
    json_t *doc = json_loadb((const char *)e->body.p, e->body.len, 0, NULL);
    struct slice name = member(doc, "Name");
    int is = (q->name.len == 0 || slice_eq(q->name, name)) &&
             (q->node.len == 0 || slice_eq(q->node, member(doc, "NodeFilter"))) &&
             (q->service.len == 0 || slice_eq(q->service, member(doc, "ServiceFilter"))) &&
             (q->tag.len == 0 || slice_eq(q->tag, member(doc, "TagFilter"))) &&
             consul_sees(g, ACCESS_EVENT, name);
    *out_index = index_of(member(doc, "ID"));
    json_decref(doc);
    return is;
}

static int render_events(struct consul_read *g, struct view *v, struct buf *out)
{
    struct seen s;
    struct jw w;
    int rc = see_all(v, &s);
    g->index = 1;
    jw_init(&w, out);
    jw_arr(&w);
    for (size_t i = s.n > EVENTS_MAX ? s.n - EVENTS_MAX : 0; rc == 0 && i < s.n; i++) {
        uint64_t index;
        if (is_wanted(g, &s.items[i], &index)) {
            tell(&w, s.items[i].body, s.items[i].rev);
            g->index = index;
        }
    }
    jw_end(&w);
    mem_free(s.items);
    return rc;
}

void consul_event_list(struct consul_call *k)
{
    struct wanted *q = http_alloc(k->r, sizeof(*q));
    *q = (struct wanted){0};
    (void)http_query(k->r, "name", &q->name);
    (void)http_query(k->r, "node", &q->node);
    (void)http_query(k->r, "service", &q->service);
    (void)http_query(k->r, "tag", &q->tag);
    struct consul_read *g = consul_read_new(k);
    if (g != NULL) {
        g->data = q;
        g->is_exact = 1;
        consul_record_watch(g, EVENTS);
        consul_read_start(g, render_events);
    }
}
