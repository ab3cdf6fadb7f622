/* SPDX-License-Identifier: Apache-2.0 */
/* Doubles are kept until the room is full; then they are sorted out, and more room is made only
 * when half of it is needed. */
#include "server/consul/tag_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void tag_set_init(struct tag_set *s)
{
    memset(s, 0, sizeof(*s));
}

void tag_set_fini(struct tag_set *s)
{
    mem_free(s->items);
    buf_fini(&s->text);
}

void tag_set_clear(struct tag_set *s)
{
    s->n = 0;
    s->n_met = 0;
    buf_clear(&s->text);
}

static struct slice text_of(const struct tag_set *s, const struct tag *t)
{
    return t->len > 0 ? slice_of(s->text.p + t->at, t->len) : slice_of(NULL, 0);
}

static int by_order(const void *a, const void *b)
{
    const struct tag *x = a, *y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int by_text(const void *a, const void *b, void *arg)
{
    int c = slice_cmp(text_of(arg, a), text_of(arg, b));
    return c != 0 ? c : by_order(a, b);
}

/* Of equal ones the first stays, and only its bytes. */
static void sort_out(struct tag_set *s)
{
    struct buf kept;
    size_t n = 0;
    if (s->n < 2) {
        return;
    }
    qsort_r(s->items, s->n, sizeof(*s->items), by_text, s);
    for (size_t i = 0; i < s->n; i++) {
        if (n == 0 || !slice_eq(text_of(s, &s->items[n - 1]), text_of(s, &s->items[i]))) {
            s->items[n++] = s->items[i];
        }
    }
    s->n = n;
    qsort(s->items, s->n, sizeof(*s->items), by_order);
    buf_init(&kept);
    for (size_t i = 0; i < s->n; i++) {
        struct slice text = text_of(s, &s->items[i]);
        s->items[i].at = kept.len;
        buf_append_slice(&kept, text);
    }
    buf_fini(&s->text);
    s->text = kept;
}

void tag_set_add(struct tag_set *s, struct slice tag)
{
    if (s->n == s->cap) {
        sort_out(s);
        if (s->n >= s->cap / 2) {
            s->cap = s->cap == 0 ? 16 : s->cap * 2;
            s->items = mem_realloc(s->items, s->cap * sizeof(*s->items));
        }
    }
    s->items[s->n++] = (struct tag){s->text.len, tag.len, s->n_met++};
    buf_append_slice(&s->text, tag);
}

void tag_set_write(struct tag_set *s, struct jw *w)
{
    sort_out(s);
    jw_arr(w);
    for (size_t i = 0; i < s->n; i++) {
        jw_slice(w, text_of(s, &s->items[i]));
    }
    jw_end(w);
}
