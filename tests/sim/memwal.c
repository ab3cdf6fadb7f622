/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/memwal.h"

#include <string.h>

#include "base/mem.h"

enum op_kind { OP_APPEND, OP_RESET, OP_DROP };

struct op {
    struct op *next;
    enum op_kind kind;
    mu_index index; /* first of APPEND */
    mu_term term;
    size_t n;
    struct memwal_entry *entries;
};

struct wal_op {
    struct memdisk *disk;
    struct op *head;
};

struct wal {
    struct memdisk *disk;
    struct memdisk mem;
    struct op *head, **tail;
    mu_index durable;
};

/* --- images --- */

void memdisk_init(struct memdisk *d)
{
    *d = (struct memdisk){.first = 1};
}

void memdisk_cut(struct memdisk *d, mu_index from)
{
    while (d->n > 0 && d->first + d->n > from) {
        mem_free(d->entries[--d->n].data);
    }
}

void memdisk_fini(struct memdisk *d)
{
    memdisk_cut(d, 0);
    mem_free(d->entries);
}

static mu_index image_last(const struct memdisk *d)
{
    return d->first + d->n - 1;
}

static void push(struct memdisk *d, const struct memwal_entry *e)
{
    if (d->n == d->cap) {
        d->cap = d->cap != 0 ? d->cap * 2 : 64;
        d->entries = mem_realloc(d->entries, d->cap * sizeof(*d->entries));
    }
    d->entries[d->n] = *e;
    d->entries[d->n++].data = mem_dup(e->data, e->len);
}

static mu_term image_term(const struct memdisk *d, mu_index i)
{
    if (i + 1 == d->first) {
        return d->base_term;
    }
    return i >= d->first && i <= image_last(d) ? d->entries[i - d->first].term : 0;
}

static void image_drop(struct memdisk *d, mu_index index)
{
    size_t k = index >= d->first ? (size_t)(index - d->first + 1) : 0;
    if (k == 0) {
        return;
    }
    MU_INVARIANT(k <= d->n);
    d->base_term = image_term(d, index);
    for (size_t i = 0; i < k; i++) {
        mem_free(d->entries[i].data);
    }
    memmove(d->entries, d->entries + k, (d->n - k) * sizeof(*d->entries));
    d->n -= k;
    d->first += k;
}

static void image_apply(struct memdisk *d, const struct op *o, size_t part)
{
    switch (o->kind) {
    case OP_APPEND:
        memdisk_cut(d, o->index);
        MU_INVARIANT(image_last(d) + 1 == o->index);
        for (size_t i = 0; i < part; i++) {
            push(d, &o->entries[i]);
        }
        return;
    case OP_RESET:
        memdisk_cut(d, 0);
        d->first = o->index + 1;
        d->base_term = o->term;
        return;
    case OP_DROP:
        image_drop(d, o->index);
        return;
    }
}

/* --- operations --- */

static struct op *queue(struct wal *w, enum op_kind kind, mu_index index)
{
    struct op *o = mem_zalloc(sizeof(*o));
    o->kind = kind;
    o->index = index;
    *w->tail = o;
    w->tail = &o->next;
    return o;
}

static void free_ops(struct op *o)
{
    for (struct op *next; o != NULL; o = next) {
        next = o->next;
        for (size_t i = 0; i < o->n; i++) {
            mem_free(o->entries[i].data);
        }
        mem_free(o->entries);
        mem_free(o);
    }
}

struct wal_op *wal_take(struct wal *w)
{
    if (w->head == NULL) {
        return NULL;
    }
    struct wal_op *t = mem_zalloc(sizeof(*t));
    t->disk = w->disk;
    t->head = w->head;
    w->head = NULL;
    w->tail = &w->head;
    return t;
}

int wal_execute(struct wal_op *t, struct err *e)
{
    (void)e;
    for (struct op *o = t->head; o != NULL; o = o->next) {
        image_apply(t->disk, o, o->n);
    }
    return 0;
}

mu_index wal_done(struct wal *w, struct wal_op *t)
{
    mu_index d = image_last(w->disk);
    for (struct op *o = w->head; o != NULL; o = o->next) {
        if (o->kind == OP_APPEND && o->index <= d) {
            d = o->index - 1;
        } else if (o->kind == OP_RESET) {
            d = 0;
        }
    }
    w->durable = d < image_last(&w->mem) ? d : image_last(&w->mem);
    free_ops(t->head);
    mem_free(t);
    return w->durable;
}

void memwal_crash(struct wal *w, struct wal_op *running, uint32_t (*rnd)(uint32_t n))
{
    uint32_t k = rnd(4);
    struct op *o = running != NULL ? running->head : w->head;
    int is_running = running != NULL;
    for (;;) {
        if (o == NULL && is_running) {
            is_running = 0;
            o = w->head;
        }
        if (o == NULL) {
            break;
        }
        if (k-- == 0) {
            if (o->kind == OP_APPEND && rnd(2) != 0) {
                image_apply(w->disk, o, rnd((uint32_t)o->n + 1));
            }
            break;
        }
        image_apply(w->disk, o, o->n);
        o = o->next;
    }
    if (running != NULL) {
        free_ops(running->head);
        mem_free(running);
    }
    wal_close(w);
}

/* --- owner's side --- */

struct wal *memwal_open(struct memdisk *d)
{
    struct wal *w = mem_zalloc(sizeof(*w));
    w->disk = d;
    w->tail = &w->head;
    memdisk_init(&w->mem);
    w->mem.first = d->first;
    w->mem.base_term = d->base_term;
    for (size_t i = 0; i < d->n; i++) {
        push(&w->mem, &d->entries[i]);
    }
    w->durable = image_last(d);
    return w;
}

void wal_close(struct wal *w)
{
    free_ops(w->head);
    memdisk_fini(&w->mem);
    mem_free(w);
}

mu_index wal_first(const struct wal *w)
{
    return w->mem.first;
}

mu_index wal_last(const struct wal *w)
{
    return image_last(&w->mem);
}

mu_index wal_durable(const struct wal *w)
{
    return w->durable;
}

uint64_t wal_bytes(const struct wal *w)
{
    return w->mem.n * 64;
}

mu_term wal_term(const struct wal *w, mu_index i)
{
    return image_term(&w->mem, i);
}

mu_index wal_term_start(const struct wal *w, mu_index i)
{
    mu_term t = wal_term(w, i);
    while (i > w->mem.first && wal_term(w, i - 1) == t) {
        i--;
    }
    return i;
}

void wal_append(struct wal *w, mu_index first, const struct wal_entry *entries, size_t n)
{
    struct op *o = queue(w, OP_APPEND, first);
    o->entries = mem_zalloc(n * sizeof(*o->entries));
    o->n = n;
    memdisk_cut(&w->mem, first);
    MU_INVARIANT(image_last(&w->mem) + 1 == first);
    if (w->durable >= first) {
        w->durable = first - 1;
    }
    for (size_t i = 0; i < n; i++) {
        struct memwal_entry e = {
            .term = entries[i].term, .kind = entries[i].kind, .len = entries[i].data.len};
        e.data = mem_dup(entries[i].data.p, entries[i].data.len);
        push(&w->mem, &e);
        o->entries[i] = e;
    }
}

void wal_reset(struct wal *w, mu_index index, mu_term term)
{
    struct op *o = queue(w, OP_RESET, index);
    o->term = term;
    memdisk_cut(&w->mem, 0);
    w->mem.first = index + 1;
    w->mem.base_term = term;
    w->durable = 0;
}

void wal_drop_prefix(struct wal *w, mu_index index)
{
    queue(w, OP_DROP, index);
    image_drop(&w->mem, index);
}

size_t wal_read(struct wal *w, mu_index first, size_t n, size_t max_bytes, struct wal_entry *out,
                struct err *e)
{
    size_t bytes = 0, k = 0;
    (void)e;
    for (; k < n && first + k >= w->mem.first && first + k <= image_last(&w->mem); k++) {
        const struct memwal_entry *m = &w->mem.entries[first + k - w->mem.first];
        if (k > 0 && bytes + m->len > max_bytes) {
            break;
        }
        bytes += m->len;
        out[k] =
            (struct wal_entry){.term = m->term, .kind = m->kind, .data = slice_of(m->data, m->len)};
    }
    return k;
}

int wal_each(struct wal *w, wal_start_fn fn, void *arg, struct err *e)
{
    (void)e;
    for (size_t i = 0; i < w->mem.n; i++) {
        const struct memwal_entry *m = &w->mem.entries[i];
        fn(arg, w->mem.first + i, m->term, m->kind,
           m->kind == WAL_CHANGE ? slice_of(m->data, m->len) : (struct slice){0});
    }
    return 0;
}
