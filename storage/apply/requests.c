/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/apply/requests.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/wire.h"

enum { CAP_MIN = 64, VALUE_SIZE = REQUEST_ID_SIZE + COMMAND_RESULT_SIZE };

void requests_init(struct requests *q, uint64_t limit)
{
    *q = (struct requests){.limit = limit};
}

void requests_fini(struct requests *q)
{
    mem_free(q->slots);
    q->slots = NULL;
    q->cap = q->n = 0;
}

static size_t home(const struct requests *q, const uint8_t *id)
{
    return (size_t)hash_xxh3(id, REQUEST_ID_SIZE, 0) & (q->cap - 1);
}

/* The id's slot, or the free one where it would go. */
static struct request_slot *slot_of(const struct requests *q, const uint8_t *id)
{
    size_t i = home(q, id);
    while (q->slots[i].index != 0 && memcmp(q->slots[i].id, id, REQUEST_ID_SIZE) != 0) {
        i = (i + 1) & (q->cap - 1);
    }
    return &q->slots[i];
}

static void grow(struct requests *q)
{
    struct requests old = *q;
    q->cap = old.cap == 0 ? CAP_MIN : old.cap * 2;
    q->slots = mem_zalloc(q->cap * sizeof(*q->slots));
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].index != 0) {
            *slot_of(q, old.slots[i].id) = old.slots[i];
        }
    }
    mem_free(old.slots);
}

static void insert(struct requests *q, const uint8_t *id, mu_index index)
{
    if ((q->n + 1) * 2 > q->cap) {
        grow(q);
    }
    struct request_slot *s = slot_of(q, id);
    q->n += s->index == 0;
    memcpy(s->id, id, REQUEST_ID_SIZE);
    s->index = index;
}

/* Linear probing without graves: what follows moves up when its home allows. */
static void forget(struct requests *q, const uint8_t *id)
{
    size_t mask = q->cap - 1;
    size_t hole = (size_t)(slot_of(q, id) - q->slots);
    if (q->slots[hole].index == 0) {
        return;
    }
    q->n--;
    for (size_t i = (hole + 1) & mask; q->slots[i].index != 0; i = (i + 1) & mask) {
        size_t h = home(q, q->slots[i].id);
        if (((i - h) & mask) >= ((i - hole) & mask)) {
            q->slots[hole] = q->slots[i];
            hole = i;
        }
    }
    q->slots[hole].index = 0;
}

static struct slice put_index(uint8_t out[8], mu_index index)
{
    wire_set_u64_be(out, index);
    return slice_of(out, 8);
}

int requests_load(struct requests *q, struct db_txn *t)
{
    struct slice k, v;
    requests_fini(q);
    struct db_cur *c = db_cur_open(t, DB_REQUESTS);
    int rc = db_cur_seek(c, slice_of(NULL, 0), &k, &v);
    while (rc == 0) {
        if (k.len != 8 || v.len != VALUE_SIZE || wire_get_u64_be(k.p) == 0) {
            rc = MU_E_CORRUPT;
            break;
        }
        insert(q, v.p, wire_get_u64_be(k.p));
        rc = db_cur_next(c, &k, &v);
    }
    db_cur_close(c);
    return rc == MU_E_NOT_FOUND ? 0 : rc;
}

int requests_find(struct requests *q, struct db_txn *t, const uint8_t id[REQUEST_ID_SIZE],
                  struct command_result *out)
{
    uint8_t key[8];
    struct slice v;
    if (q->cap == 0) {
        return MU_E_NOT_FOUND;
    }
    const struct request_slot *s = slot_of(q, id);
    if (s->index == 0) {
        return MU_E_NOT_FOUND;
    }
    int rc = db_get(t, DB_REQUESTS, put_index(key, s->index), &v);
    MU_INVARIANT(rc == 0 && v.len == VALUE_SIZE);
    rc = command_result_decode(slice_of(v.p + REQUEST_ID_SIZE, COMMAND_RESULT_SIZE), out);
    MU_INVARIANT(rc == 0);
    return 0;
}

static void drop_oldest(struct requests *q, struct db_txn *t, struct meta *m)
{
    uint8_t key[8];
    struct slice k, v;
    struct db_cur *c = db_cur_open(t, DB_REQUESTS);
    int rc = db_cur_seek(c, slice_of(NULL, 0), &k, &v);
    MU_INVARIANT(rc == 0 && k.len == sizeof(key) && v.len == VALUE_SIZE);
    memcpy(key, k.p, sizeof(key));
    forget(q, v.p);
    db_cur_close(c);
    db_del(t, DB_REQUESTS, slice_of(key, sizeof(key)));
    m->n_requests--;
}

void requests_add(struct requests *q, struct db_txn *t, struct meta *m,
                  const uint8_t id[REQUEST_ID_SIZE], mu_index index, const struct command_result *r)
{
    uint8_t key[8];
    uint8_t *p = db_append(t, DB_REQUESTS, put_index(key, index), VALUE_SIZE);
    memcpy(p, id, REQUEST_ID_SIZE);
    command_result_encode(p + REQUEST_ID_SIZE, r);
    insert(q, id, index);
    m->n_requests++;
    while (m->n_requests > q->limit) {
        drop_oldest(q, t, m);
    }
}
