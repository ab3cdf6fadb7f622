/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of what stands in the catalog: which of it is asked for, and in what order it is told. */
#pragma once

#include "server/consul/consul_impl.h"
#include "server/consul/filter.h"
#include "server/consul/near.h"
#include "server/consul/show.h"

enum { LIST_TAGS_MAX = 16, LIST_META_MAX = 16 };

/* ?tag=, ?node-meta=, ?passing: all of them must hold. */
struct list_query {
    struct slice tags[LIST_TAGS_MAX];
    size_t n_tags;
    struct slice meta[LIST_META_MAX]; /* key:value */
    size_t n_meta;
    int is_passing;
    struct filter *filter; /* NULL: none */
    struct slice near;     /* ?near=, a node; empty: none */
};
/* ?filter= is about items of that kind. 0, or the error was answered. */
int list_query(struct consul_call *k, enum filter_kind kind, struct list_query *out);
int list_has_tags(const struct list_query *q, const struct instance_row *row);
int list_has_meta(const struct list_query *q, const struct node_row *row);
/* The same, of the node an instance stands on. */
int list_is_on(const struct list_query *q, struct view *v, const struct instance_row *row);

/* Array items, told in the order of their keys; where a node is named, the nearest first. */
struct list {
    struct buf text, keys;
    struct list_item {
        size_t at, len, key_at, key_len;
        double distance;
    } * items;
    size_t n, cap;
    struct consul_read *g;
    struct view *v;
    struct near_place from;
};
void list_init(struct list *l, struct consul_read *g, struct view *v, const struct list_query *q);
void list_fini(struct list *l);
/* Opens an item for a writer; list_end when it is written: it goes again unless the filter takes
 * it.
 */
void list_begin(struct list *l, struct jw *w, struct slice node, struct slice id);
void list_end(struct list *l);
void list_write(struct list *l, struct buf *out); /* [a,b] */

/* Whether the read's filter takes an item: its JSON. 1 without a filter. */
int list_takes(struct consul_read *g, struct slice json);

/* What an answer is made of, for the hub. At most 4. */
void list_watch(struct consul_read *g, const struct buf *key, int is_prefix);
void list_watch_space(struct consul_read *g, enum key_space space); /* all of it */
/* Raises the index of the answer. */
void list_raise(struct consul_read *g, mu_rev rev);
struct service_name list_service(struct slice name); /* where this face's services are */
