/* SPDX-License-Identifier: Apache-2.0 */
/* Every call to the disk fails once, one after the other, in one long life of a log and a vote:
 * whatever it was, the owner is told, nothing that was reported durable is lost, and the next
 * opening on a healthy disk finds one of the states between that and what was handed over. */
#include "tests/unit/raft/wal_kit.h"

#include <stdio.h>

#include "base/mem.h"
#include "tests/lib/faultdisk.h"

enum { SEG = 8192, STEPS = 60, LAST_MAX = 400 };

/* The model: what the log holds after each step, as the id of each entry. */
struct log_state {
    mu_index base, last;
    uint64_t ids[LAST_MAX];
};

struct life {
    struct kit k;
    struct faultdisk *faults;
    struct log_state *states; /* STEPS + 1 */
    unsigned n;               /* states handed over; the last of them maybe in part */
    unsigned n_durable;       /* states[n_durable] is durable for sure */
    uint64_t next_id;
};

static void step_append(struct life *l, struct log_state *s, mu_index first, size_t n)
{
    kit_append(&l->k, first, n, 1 + l->n, l->next_id, 40 + l->n * 23);
    s->last = first - 1;
    for (size_t i = 0; i < n; i++) {
        s->ids[s->last++] = l->next_id++;
    }
}

/* One group of changes; each step makes exactly one state. */
static void step_change(struct life *l, struct log_state *s)
{
    unsigned i = l->n;
    if (i % 19 == 18) {
        s->base = s->last + 5;
        s->last = s->base;
        wal_reset(l->k.w, s->base, 1 + l->n);
    } else if (i % 7 == 6 && s->last > s->base + 3) {
        step_append(l, s, s->last - 2, 2);
    } else {
        step_append(l, s, s->last + 1, 1 + i % 4);
    }
    if (i % 11 == 10) {
        wal_drop_prefix(l->k.w, s->last - 1);
    }
}

/* 0, or the code of the call that failed. */
static int step(struct life *l)
{
    struct err e = {0};
    int more = 1, rc = 0;
    for (unsigned i = 0; i < 2 && more && rc == 0; i++) {
        rc = wal_prepare(l->k.w, &more, &e);
        rc = rc == MU_E_DISK_FULL ? 0 : rc; /* no reason to stop */
    }
    if (rc != 0) {
        return rc;
    }
    l->states[l->n + 1] = l->states[l->n];
    step_change(l, &l->states[l->n + 1]);
    l->n++;
    struct wal_op *op = wal_take(l->k.w);
    assert_non_null(op);
    rc = wal_execute(op, &e);
    if (rc != 0) {
        assert_true(e.code == rc && e.text[0] != '\0');
        return rc;
    }
    assert_int_equal(wal_done(l->k.w, op), l->states[l->n].last);
    l->n_durable = l->n;
    return 0;
}

static int is_state(struct life *l, const struct log_state *s)
{
    if (wal_last(l->k.w) != s->last || wal_first(l->k.w) <= s->base) {
        return 0;
    }
    for (mu_index i = wal_first(l->k.w); i <= s->last; i++) {
        struct wal_entry v;
        assert_int_equal(wal_read(l->k.w, i, 1, 0, &v, NULL), 1);
        if (kit_id_of(v.data) != s->ids[i - 1]) {
            return 0;
        }
    }
    return 1;
}

/* States inside a group count as well: a torn one is cut anywhere. */
static int is_between(struct life *l)
{
    const struct log_state *from = &l->states[l->n_durable], *to = &l->states[l->n];
    if (is_state(l, from) || is_state(l, to)) {
        return 1;
    }
    struct log_state part = *to;
    mu_index low = from->last < to->last ? from->last : to->last;
    for (part.last = to->last; part.base == from->base && part.last + 3 > low;) {
        part.last--;
        if (is_state(l, &part)) {
            return 1;
        }
    }
    return 0;
}

static void life_init(struct life *l)
{
    *l = (struct life){.next_id = 1};
    l->k.m = memdisk_new();
    l->states = mem_zalloc((STEPS + 2) * sizeof(*l->states));
    l->faults = faultdisk_new(memdisk_disk(l->k.m));
    l->k.o = (struct wal_options){faultdisk_disk(l->faults), "log", SEG, 0};
}

static void life_fini(struct life *l)
{
    kit_close(&l->k);
    faultdisk_free(l->faults);
    memdisk_free(l->k.m);
    mem_free(l->states);
}

/* 1 when the n-th call came and failed; how: 0 the machine goes on, else the power goes too. */
static int live_once(unsigned n, int code, uint64_t how)
{
    struct life l;
    life_init(&l);
    faultdisk_fail_at(l.faults, n, code);
    int rc = kit_open(&l.k);
    while (rc == 0 && l.n < STEPS) {
        rc = step(&l);
        if (rc == 0 && l.n % 20 == 0) {
            kit_close(&l.k);
            rc = kit_open(&l.k);
        }
    }
    int has_failed = faultdisk_failed(l.faults) != NULL;
    assert_true(rc == 0 || has_failed);
    if (how != 0) {
        memdisk_off(l.k.m);
    }
    kit_close(&l.k);
    faultdisk_fail_at(l.faults, 0, 0);
    if (how != 0) {
        memdisk_on(l.k.m, how);
    }
    assert_int_equal(kit_open(&l.k), 0);
    if (l.k.info.health == WAL_DAMAGED || !is_between(&l)) {
        print_message("# call %u, code %d, power %llu: %llu..%llu after %llu, %s\n", n, code,
                      (unsigned long long)how, (unsigned long long)wal_first(l.k.w),
                      (unsigned long long)wal_last(l.k.w),
                      (unsigned long long)l.states[l.n_durable].last, l.k.info.detail);
        fail();
    }
    life_fini(&l);
    return has_failed;
}

static void test_every_failing_call(void **state)
{
    (void)state;
    unsigned n = 1;
    while (live_once(n, MU_E_IO, 0)) {
        (void)live_once(n, MU_E_DISK_FULL, 0);
        for (uint64_t seed = 1; seed <= 4; seed++) {
            (void)live_once(n, MU_E_IO, n * 8 + seed);
        }
        n++;
    }
    print_message("# failing calls: %u\n", (n - 1) * 6);
    assert_true(n > 300);
}

/* A read that fails is told, and is no damage: the next one succeeds. */
static void test_failing_reads(void **state)
{
    (void)state;
    struct life l;
    struct wal_entry v[8];
    life_init(&l);
    assert_int_equal(kit_open(&l.k), 0);
    kit_append(&l.k, 1, 40, 1, 0, 700);
    kit_flush(&l.k);
    for (unsigned n = 1;; n++) {
        struct err e = {0};
        kit_close(&l.k);
        assert_int_equal(kit_open(&l.k), 0);
        faultdisk_fail_at(l.faults, n, MU_E_IO);
        for (mu_index i = 1; i <= 40; i += 8) {
            size_t got = wal_read(l.k.w, i, 8, 1 << 20, v, &e);
            assert_true(got > 0 || e.code == MU_E_IO);
        }
        int has_failed = faultdisk_failed(l.faults) != NULL;
        faultdisk_fail_at(l.faults, 0, 0);
        kit_expect(&l.k, 1, 40, 0);
        if (!has_failed) {
            assert_true(n > 5);
            break;
        }
    }
    life_fini(&l);
}

/* 1 when the n-th call came and failed. */
static int vote_once(unsigned n, uint64_t how)
{
    struct memdisk *m = memdisk_new();
    struct faultdisk *faults = faultdisk_new(memdisk_disk(m));
    struct vote_file *f = NULL;
    struct vote v = {0, 0};
    uint64_t sure = 0, tried = 0;
    memdisk_set_sector(m, how % 2 != 0 ? 16 : 512); /* also a copy that tears in itself */
    faultdisk_fail_at(faults, n, n % 2 != 0 ? MU_E_IO : MU_E_DISK_FULL);
    int rc = vote_open(faultdisk_disk(faults), "vote", &f, &v, NULL);
    for (uint64_t term = 1; rc == 0 && term < 4; term++) {
        struct err e = {0};
        tried = term;
        rc = vote_save(f, &(struct vote){term, term * 10}, &e);
        assert_true(rc == 0 || e.text[0] != '\0');
        sure = rc == 0 ? term : sure;
    }
    if (f != NULL) {
        vote_close(f);
    }
    int has_failed = faultdisk_failed(faults) != NULL;
    faultdisk_fail_at(faults, 0, 0);
    if (how != 0) {
        memdisk_off(m);
        memdisk_on(m, how);
    }
    assert_int_equal(vote_open(faultdisk_disk(faults), "vote", &f, &v, NULL), 0);
    assert_true((v.term == sure || v.term == tried) && v.vote == v.term * 10);
    vote_close(f);
    faultdisk_free(faults);
    memdisk_free(m);
    return has_failed;
}

static void test_every_failing_call_of_a_vote(void **state)
{
    (void)state;
    unsigned n = 1;
    while (vote_once(n, 0)) {
        for (uint64_t seed = 1; seed < 20; seed++) {
            (void)vote_once(n, seed);
        }
        n++;
    }
    print_message("# failing calls: %u\n", (n - 1) * 20);
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_failing_call),
        cmocka_unit_test(test_failing_reads),
        cmocka_unit_test(test_every_failing_call_of_a_vote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
