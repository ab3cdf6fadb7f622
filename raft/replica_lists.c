/* SPDX-License-Identifier: Apache-2.0 */
/* Lists and the table that hold waiting proposals and reads. */
#include "raft/replica_lists.h"

#include "base/mem.h"

void proposals_init(struct proposals *l)
{
    l->head = NULL;
    l->tail = &l->head;
    l->n = 0;
}

void proposals_push(struct proposals *l, struct replica_proposal *p)
{
    p->next = NULL;
    *l->tail = p;
    l->tail = &p->next;
    l->n++;
}

struct replica_proposal *proposals_pop(struct proposals *l)
{
    struct replica_proposal *p = l->head;
    if (p != NULL) {
        l->head = p->next;
        l->n--;
        if (l->head == NULL) {
            l->tail = &l->head;
        }
        p->next = NULL;
    }
    return p;
}

enum { TABLE_SLOTS = 1024 };

static uint64_t table_key(const struct table *t, const struct replica_proposal *p)
{
    return t->is_by_seq ? p->seq : p->index;
}

void table_init(struct table *t, int is_by_seq)
{
    *t = (struct table){.slots = mem_zalloc(TABLE_SLOTS * sizeof(*t->slots)),
                        .mask = TABLE_SLOTS - 1,
                        .is_by_seq = is_by_seq};
}

void table_fini(struct table *t)
{
    mem_free(t->slots);
    *t = (struct table){0};
}

/* Keys count up, so the low bits spread them perfectly. */
static void table_grow(struct table *t)
{
    size_t n = (t->mask + 1) * 2;
    struct replica_proposal **slots = mem_zalloc(n * sizeof(*slots));
    for (size_t i = 0; i <= t->mask; i++) {
        for (struct replica_proposal *p = t->slots[i], *next; p != NULL; p = next) {
            next = p->hash_next;
            size_t at = table_key(t, p) & (n - 1);
            p->hash_next = slots[at];
            slots[at] = p;
        }
    }
    mem_free(t->slots);
    t->slots = slots;
    t->mask = n - 1;
}

void table_put(struct table *t, struct replica_proposal *p)
{
    if (t->n > t->mask) {
        table_grow(t);
    }
    size_t at = table_key(t, p) & t->mask;
    p->hash_next = t->slots[at];
    t->slots[at] = p;
    t->n++;
}

struct replica_proposal *table_take(struct table *t, uint64_t key)
{
    struct replica_proposal *out = NULL;
    struct replica_proposal **at = &t->slots[key & t->mask];
    while (*at != NULL) {
        struct replica_proposal *p = *at;
        if (table_key(t, p) == key) {
            *at = p->hash_next;
            p->hash_next = out;
            out = p;
            t->n--;
        } else {
            at = &p->hash_next;
        }
    }
    return out;
}

struct replica_proposal *table_expire(struct table *t, int64_t now)
{
    struct replica_proposal *out = NULL;
    for (size_t i = 0; i <= t->mask && t->n > 0; i++) {
        struct replica_proposal **at = &t->slots[i];
        while (*at != NULL) {
            struct replica_proposal *p = *at;
            if (p->deadline_at <= now) {
                *at = p->hash_next;
                p->hash_next = out;
                out = p;
                t->n--;
            } else {
                at = &p->hash_next;
            }
        }
    }
    return out;
}

void reads_init(struct reads *l)
{
    l->head = NULL;
    l->tail = &l->head;
}

void reads_push(struct reads *l, struct replica_read *rd)
{
    rd->next = NULL;
    *l->tail = rd;
    l->tail = &rd->next;
}

void reads_move(struct reads *to, struct reads *from)
{
    if (from->head != NULL) {
        *to->tail = from->head;
        to->tail = from->tail;
        reads_init(from);
    }
}
