/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/list.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

enum { RANGES_MAX = 4 };

struct service_name list_service(struct slice name)
{
    return (struct service_name){SLICE_LIT("public"), SLICE_LIT("DEFAULT_GROUP"), name};
}

/* --- which --- */

static void *alloc(void *arg, size_t size)
{
    return http_alloc(arg, size);
}

static int read_filter(struct consul_call *k, enum filter_kind kind, struct filter **out)
{
    struct regex_memory m = {alloc, k->r};
    struct err e = {0};
    struct slice s;
    if (kind == FILTER_NONE || !http_query(k->r, "filter", &s) || s.len == 0) {
        return 0;
    }
    *out = filter_read(&m, kind, s, &e);
    if (*out == NULL) {
        consul_text(k->r, 500, "%s", e.text);
        return -1;
    }
    return 0;
}

int list_query(struct consul_call *k, enum filter_kind kind, struct list_query *out)
{
    struct slice s;
    *out = (struct list_query){0};
    out->n_tags = http_query_all(k->r, "tag", out->tags, LIST_TAGS_MAX);
    out->n_meta = http_query_all(k->r, "node-meta", out->meta, LIST_META_MAX);
    if (out->n_tags > LIST_TAGS_MAX || out->n_meta > LIST_META_MAX) {
        consul_text(k->r, 400, "At most %d ?tag and %d ?node-meta can be given", LIST_TAGS_MAX,
                    LIST_META_MAX);
        return -1;
    }
    if (http_query(k->r, "near", &out->near) && slice_eq(out->near, SLICE_LIT("_agent"))) {
        out->near = slice_str(core_node_name(k->c->core));
    }
    if (read_filter(k, kind, &out->filter) != 0) {
        return -1;
    }
    if (http_query(k->r, "passing", &s)) {
        out->is_passing = s.len == 0 || slice_eq(s, SLICE_LIT("true")) ||
                          slice_eq(s, SLICE_LIT("1")) || slice_eq(s, SLICE_LIT("t"));
        if (!out->is_passing && !slice_eq(s, SLICE_LIT("false")) && !slice_eq(s, SLICE_LIT("0")) &&
            !slice_eq(s, SLICE_LIT("f"))) {
            consul_text(k->r, 400, "Invalid value for ?passing");
            return -1;
        }
    }
    return 0;
}

static int has_tag(const struct instance_row *row, struct slice tag)
{
    struct pair_iter it;
    struct slice s;
    tags_begin(&it, row->tags);
    while (tags_next(&it, &s)) {
        if (s.len == tag.len && strncasecmp((const char *)s.p, (const char *)tag.p, s.len) == 0) {
            return 1;
        }
    }
    return 0;
}

int list_has_tags(const struct list_query *q, const struct instance_row *row)
{
    for (size_t i = 0; i < q->n_tags; i++) {
        if (q->tags[i].len != 0 && !has_tag(row, q->tags[i])) {
            return 0;
        }
    }
    return 1;
}

static int has_pair(const struct node_row *row, struct slice wanted)
{
    struct pair_iter it;
    struct slice k, v;
    const uint8_t *colon = wanted.len != 0 ? memchr(wanted.p, ':', wanted.len) : NULL;
    size_t n = colon != NULL ? (size_t)(colon - wanted.p) : wanted.len;
    struct slice name = slice_of(wanted.p, n);
    struct slice value =
        colon != NULL ? slice_of(colon + 1, wanted.len - n - 1) : slice_of(NULL, 0);
    metadata_begin(&it, row->metadata);
    while (metadata_next(&it, &k, &v)) {
        if (slice_eq(k, name) && slice_eq(v, value)) {
            return 1;
        }
    }
    return 0;
}

int list_has_meta(const struct list_query *q, const struct node_row *row)
{
    for (size_t i = 0; i < q->n_meta; i++) {
        if (!has_pair(row, q->meta[i])) {
            return 0;
        }
    }
    return 1;
}

int list_is_on(const struct list_query *q, struct view *v, const struct instance_row *row)
{
    struct node_row node = {0};
    if (q->n_meta == 0) {
        return 1;
    }
    return row->node.len != 0 && view_node(v, row->node, &node) == 0 && list_has_meta(q, &node);
}

/* --- in order --- */

int list_takes(struct consul_read *g, struct slice json)
{
    return g->filter == NULL || filter_takes(g->filter, json);
}

void list_init(struct list *l, struct consul_read *g, struct view *v, const struct list_query *q)
{
    *l = (struct list){.g = g, .v = v};
    near_find(v, q->near, &l->from);
}

void list_fini(struct list *l)
{
    buf_fini(&l->text);
    buf_fini(&l->keys);
    mem_free(l->items);
}

void list_begin(struct list *l, struct jw *w, struct slice node, struct slice id)
{
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 16 : l->cap * 2;
        l->items = mem_realloc(l->items, l->cap * sizeof(*l->items));
    }
    struct list_item *i = &l->items[l->n++];
    *i = (struct list_item){.at = l->text.len, .key_at = l->keys.len};
    buf_append_slice(&l->keys, node);
    buf_append_byte(&l->keys, 0);
    buf_append_slice(&l->keys, id);
    i->key_len = l->keys.len - i->key_at;
    if (l->from.is_known) {
        struct near_place at;
        near_find(l->v, node, &at);
        i->distance = near_distance(&l->from, &at);
    }
    jw_init(w, &l->text);
}

void list_end(struct list *l)
{
    struct list_item *i = &l->items[l->n - 1];
    i->len = l->text.len - i->at;
    if (!list_takes(l->g, slice_of(l->text.p + i->at, i->len))) {
        l->text.len = i->at;
        l->keys.len = i->key_at;
        l->n--;
    }
}

static int by_key(const void *a, const void *b, void *arg)
{
    const struct list_item *x = a, *y = b;
    const struct list *l = arg;
    if (x->distance != y->distance) {
        return x->distance < y->distance ? -1 : 1;
    }
    return slice_cmp(slice_of(l->keys.p + x->key_at, x->key_len),
                     slice_of(l->keys.p + y->key_at, y->key_len));
}

void list_write(struct list *l, struct buf *out)
{
    if (l->n > 1) {
        qsort_r(l->items, l->n, sizeof(*l->items), by_key, l);
    }
    buf_append_byte(out, '[');
    for (size_t i = 0; i < l->n; i++) {
        buf_append(out, ",", i > 0 ? 1 : 0);
        buf_append(out, l->text.p + l->items[i].at, l->items[i].len);
    }
    buf_append_byte(out, ']');
}

/* --- index --- */

void list_watch(struct consul_read *g, const struct buf *key, int is_prefix)
{
    if (g->ranges == NULL) {
        g->ranges = http_alloc(g->r, RANGES_MAX * sizeof(*g->ranges));
    }
    MU_INVARIANT(g->n_ranges < RANGES_MAX);
    uint8_t *p = http_alloc(g->r, key->len + 1);
    memcpy(p, key->p, key->len);
    g->ranges[g->n_ranges++] =
        (struct key_range){.key = slice_of(p, key->len), .is_prefix = is_prefix};
}

void list_watch_space(struct consul_read *g, enum key_space space)
{
    struct buf b;
    buf_init(&b);
    buf_append_byte(&b, (uint8_t)space);
    list_watch(g, &b, 1);
    buf_fini(&b);
}

void list_raise(struct consul_read *g, mu_rev rev)
{
    g->index = rev > g->index ? rev : g->index;
}
