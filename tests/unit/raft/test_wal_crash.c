/* SPDX-License-Identifier: Apache-2.0 */
/* Crashes at any place: a random life of a log on a disk that forgets, beside a model that
 * remembers every state the log went through. After each crash the log must be exactly one of the
 * states between the last one reported durable and the newest one handed over. */
#include "tests/unit/raft/wal_kit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { IDS_MAX = 4000, STATES_MAX = 600 };

struct state {
    mu_index base; /* the log begins behind this index (reset); 0 at first */
    mu_index last;
    uint64_t *ids;  /* of base + 1 .. last */
    mu_index floor; /* entries below may have been dropped */
};

struct sim {
    struct kit k;
    uint64_t rnd, next_id, seed;
    mu_term term;
    struct state states[STATES_MAX]; /* 0 is what is durable for sure */
    unsigned n;
    unsigned n_taken; /* states handed over to be executed */
    unsigned n_torn, n_crashes;
};

static uint64_t draw(struct sim *s)
{
    uint64_t z = (s->rnd += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t below(struct sim *s, uint64_t n)
{
    return draw(s) % n;
}

static struct state *newest(struct sim *s)
{
    return &s->states[s->n - 1];
}

/* A new state, equal to the newest up to entry `last`, with room for one more. */
static struct state *state_push(struct sim *s, mu_index last)
{
    assert_true(s->n < STATES_MAX);
    const struct state *from = newest(s);
    struct state *to = &s->states[s->n++];
    *to = *from;
    to->last = last;
    size_t n = (size_t)(last - from->base);
    to->ids = mem_alloc((n + 1) * sizeof(*to->ids));
    n = last > from->last ? (size_t)(from->last - from->base) : n;
    if (n != 0) {
        memcpy(to->ids, from->ids, n * sizeof(*to->ids));
    }
    return to;
}

static void states_forget(struct sim *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        mem_free(s->states[i].ids);
    }
    memmove(s->states, s->states + n, (s->n - n) * sizeof(s->states[0]));
    s->n -= n;
}

static void do_append(struct sim *s, mu_index first)
{
    size_t n = (size_t)below(s, 6), len = 8 + (size_t)below(s, below(s, 10) == 0 ? 3000 : 200);
    len = below(s, 200) == 0 ? 12000 : len;
    s->term += below(s, 8) == 0 || first <= newest(s)->last;
    if (first <= newest(s)->last) {
        state_push(s, first - 1);
    }
    kit_append(&s->k, first, n, s->term, s->next_id, len);
    for (size_t i = 0; i < n; i++) {
        struct state *st = state_push(s, newest(s)->last + 1);
        st->ids[st->last - st->base - 1] = s->next_id++;
    }
}

static void do_reset(struct sim *s)
{
    mu_index index = newest(s)->last + below(s, 30);
    wal_reset(s->k.w, index, s->term);
    struct state *st = state_push(s, newest(s)->base);
    st->base = st->last = st->floor = index;
}

static void do_drop(struct sim *s)
{
    mu_index first = wal_first(s->k.w), last = newest(s)->last;
    if (last < first) {
        return;
    }
    wal_drop_prefix(s->k.w, first + below(s, last - first + 1));
    for (unsigned i = 0; i < s->n;
         i++) { /* files go after the sync: any earlier state may already lack them */
        struct state *st = &s->states[i];
        st->floor = wal_first(s->k.w) - 1 > st->floor ? wal_first(s->k.w) - 1 : st->floor;
    }
}

/* Is the opened log this state? */
static int is_state(struct sim *s, const struct state *st)
{
    mu_index first = wal_first(s->k.w), last = wal_last(s->k.w);
    if (last != st->last || first <= st->base || (first > st->floor + 1 && first > last + 1)) {
        return 0;
    }
    if (first > st->floor + 1) {
        return 0;
    }
    for (mu_index i = first; i <= last; i++) {
        struct wal_entry v;
        struct err e = {0};
        if (wal_read(s->k.w, i, 1, 0, &v, &e) != 1) {
            print_message("# seed %llu: reading %llu: %s\n", (unsigned long long)s->seed,
                          (unsigned long long)i, e.text);
            fail();
        }
        if (kit_id_of(v.data) != st->ids[i - st->base - 1]) {
            return 0;
        }
    }
    return 1;
}

static void open_and_compare(struct sim *s)
{
    int rc = kit_open(&s->k);
    if (rc != 0 || s->k.info.health == WAL_DAMAGED) {
        print_message("# seed %llu: open %d: %s\n", (unsigned long long)s->seed, rc,
                      s->k.info.detail);
    }
    assert_int_equal(rc, 0);
    assert_int_not_equal(s->k.info.health, WAL_DAMAGED);
    s->n_torn += s->k.info.health == WAL_TORN;
    unsigned found = s->n_taken;
    for (unsigned i = 0; i < s->n_taken && found == s->n_taken; i++) {
        found = is_state(s, &s->states[i]) ? i : found;
    }
    if (found == s->n_taken) {
        print_message("# seed %llu: opened with %llu..%llu, none of %u states from %llu to %llu\n",
                      (unsigned long long)s->seed, (unsigned long long)wal_first(s->k.w),
                      (unsigned long long)wal_last(s->k.w), s->n_taken,
                      (unsigned long long)s->states[0].last,
                      (unsigned long long)s->states[s->n_taken - 1].last);
    }
    assert_true(found < s->n_taken);
    struct state st = s->states[found];
    s->states[found].ids = NULL;
    states_forget(s, s->n);
    s->states[0] = st;
    s->n = s->n_taken = 1;
}

/* Take what waits and make it durable, if power and luck allow. 0, or the process must end. */
static int do_flush(struct sim *s)
{
    struct err e = {0};
    struct wal_op *op = wal_take(s->k.w);
    if (op == NULL) {
        return 0;
    }
    s->n_taken = s->n;
    int rc = wal_execute(op, &e);
    if (rc != 0) {
        return rc;
    }
    assert_int_equal(wal_done(s->k.w, op), newest(s)->last);
    states_forget(s, s->n - 1);
    s->n_taken = 1;
    return 0;
}

static int step(struct sim *s)
{
    int more;
    switch (below(s, 20)) {
    case 0:
        do_append(s, wal_first(s->k.w) + below(s, newest(s)->last + 2 - wal_first(s->k.w)));
        return 0;
    case 1:
        if (below(s, 8) == 0) {
            do_reset(s);
        }
        return 0;
    case 2:
        do_drop(s);
        return 0;
    case 3:
        return wal_prepare(s->k.w, &more, NULL);
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
        return do_flush(s);
    default:
        do_append(s, newest(s)->last + 1);
        return 0;
    }
}

/* Run until the power goes or a write fails; then start again from what is left. */
static void live(struct sim *s)
{
    uint64_t how = below(s, 8);
    if (how == 0) {
        memdisk_fail_sync(s->k.m, 1 + (unsigned)below(s, 30), MU_E_IO);
    } else if (how == 1) {
        memdisk_fail_write(s->k.m, 1 + (unsigned)below(s, 30), MU_E_IO);
    } else {
        memdisk_off_at(s->k.m, 1 + (unsigned)below(s, 60));
    }
    int rc = 0;
    while (rc == 0 && s->n < STATES_MAX - 10 && s->next_id < 100000) {
        rc = step(s);
    }
    s->n_taken = s->n_taken > 0 ? s->n_taken : 1;
    s->n_crashes++;
    if (memdisk_is_off(s->k.m) || below(s, 2) != 0) {
        memdisk_off(s->k.m);
        kit_close(&s->k);
        memdisk_on(s->k.m, draw(s));
    } else {
        kit_close(&s->k); /* the process ended, the machine goes on */
        memdisk_on_kept(s->k.m);
    }
}

/* Opening may be cut short as well. */
static void crash_while_opening(struct sim *s)
{
    while (below(s, 3) == 0) {
        memdisk_off_at(s->k.m, 1 + (unsigned)below(s, 12));
        int rc = kit_open(&s->k);
        assert_int_not_equal(s->k.info.health, WAL_DAMAGED);
        memdisk_off(s->k.m);
        kit_close(&s->k);
        memdisk_on(s->k.m, draw(s));
        (void)rc;
    }
}

static void run_seed(uint64_t seed, unsigned *n_crashes, unsigned *n_torn)
{
    struct sim *s = mem_zalloc(sizeof(*s));
    s->seed = s->rnd = seed;
    s->term = 1;
    s->n = s->n_taken = 1;
    kit_init(&s->k, 8192, below(s, 2) != 0 ? 0 : 20000);
    memdisk_set_sector(s->k.m, 128U << (2 * below(s, 3)));
    for (unsigned i = 0; i < 8; i++) {
        live(s);
        crash_while_opening(s);
        open_and_compare(s);
    }
    *n_crashes += s->n_crashes;
    *n_torn += s->n_torn;
    states_forget(s, s->n);
    kit_fini(&s->k);
    mem_free(s);
}

static void test_random_lives(void **state)
{
    (void)state;
    const char *from = getenv("MUSTER_SEED"), *count = getenv("MUSTER_SEEDS");
    uint64_t first = from != NULL ? strtoull(from, NULL, 10) : 1,
             n = count != NULL ? strtoull(count, NULL, 10) : 1000;
    unsigned n_crashes = 0, n_torn = 0;
    for (uint64_t seed = first; seed < first + n; seed++) {
        run_seed(seed, &n_crashes, &n_torn);
    }
    print_message("# %u crashes, %u torn writes cut\n", n_crashes, n_torn);
    assert_true(n_torn > 0 || n < 100);
}

/* The very first opening may be cut short anywhere; the next one starts afresh. */
static void test_crash_while_creating(void **state)
{
    (void)state;
    for (unsigned at = 1; at < 20; at++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct kit k = {.m = memdisk_new()};
            k.o = (struct wal_options){memdisk_disk(k.m), "log", 8192, 0};
            memdisk_off_at(k.m, at);
            kit_open(&k);
            kit_close(&k);
            memdisk_off(k.m);
            memdisk_on(k.m, seed);
            kit_reopen(&k, WAL_OK);
            assert_int_equal(wal_last(k.w), 0);
            kit_fini(&k);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crash_while_creating),
                                       cmocka_unit_test(test_random_lives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
