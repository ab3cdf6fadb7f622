/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/linear.h"
#include "tests/unit/unit.h"

struct history {
    struct linear_op ops[4096];
    size_t n;
};

static struct linear_op *add(struct history *h, enum linear_kind kind, int64_t call, int64_t ret)
{
    struct linear_op *o = &h->ops[h->n++];
    *o = (struct linear_op){.process = (uint32_t)h->n,
                            .call_ns = call,
                            .return_ns = ret,
                            .kind = kind,
                            .key = 1,
                            .result = LINEAR_ANY};
    return o;
}

static void wrote(struct history *h, uint64_t value, int64_t call, int64_t ret)
{
    add(h, LINEAR_WRITE, call, ret)->value = value;
}

static void may_have_written(struct history *h, uint64_t value, int64_t call)
{
    struct linear_op *o = add(h, LINEAR_WRITE, call, 0);
    o->value = value;
    o->outcome = LINEAR_UNKNOWN;
}

static void saw(struct history *h, uint64_t value, int64_t call, int64_t ret)
{
    add(h, LINEAR_READ, call, ret)->result = value;
}

static struct linear_op *swapped(struct history *h, uint64_t from, uint64_t to, int64_t call,
                                 int64_t ret)
{
    struct linear_op *o = add(h, LINEAR_CAS, call, ret);
    o->expected = from;
    o->value = to;
    return o;
}

static void refused(struct history *h, uint64_t from, uint64_t to, int64_t call, int64_t ret)
{
    swapped(h, from, to, call, ret)->outcome = LINEAR_FAIL;
}

static struct linear_op *deleted(struct history *h, int64_t call, int64_t ret)
{
    struct linear_op *o = add(h, LINEAR_DELETE, call, ret);
    o->expected = LINEAR_ANY;
    return o;
}

static void expect(const struct history *h, enum linear_answer wanted, int line)
{
    struct linear_verdict v;
    enum linear_answer a = linear_check(h->ops, h->n, 0, &v);
    if (a != wanted) {
        fail_msg("line %d: %d, wanted %d: %s", line, (int)a, (int)wanted, v.text);
    }
}

/* --- good ones --- */

static void one_after_the_other(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    saw(&h, 0, 0, 1);
    wrote(&h, 7, 2, 3);
    saw(&h, 7, 4, 5);
    (void)swapped(&h, 7, 8, 6, 7);
    refused(&h, 7, 9, 8, 9);
    saw(&h, 8, 10, 11);
    (void)deleted(&h, 12, 13);
    saw(&h, 0, 14, 15);
    deleted(&h, 16, 17)->outcome = LINEAR_FAIL;
    (void)swapped(&h, 0, 3, 18, 19);
    expect(&h, LINEAR_YES, __LINE__);
}

static void reads_beside_a_write_see_either(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 10);
    wrote(&h, 2, 20, 100);
    saw(&h, 1, 30, 40);
    saw(&h, 2, 45, 90);
    saw(&h, 1, 41, 60); /* begun before the one that saw 2 had ended */
    expect(&h, LINEAR_YES, __LINE__);
}

static void an_unknown_write_may_show_up_late(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 1);
    may_have_written(&h, 2, 2);
    saw(&h, 1, 10, 11);
    saw(&h, 1, 20, 21);
    saw(&h, 2, 1000, 1001);
    expect(&h, LINEAR_YES, __LINE__);
}

static void an_unknown_write_may_never_show_up(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 1);
    may_have_written(&h, 2, 2);
    refused(&h, 9, 3, 5, 6);
    saw(&h, 1, 10, 11);
    expect(&h, LINEAR_YES, __LINE__);
}

static void an_unseen_unknown_write_explains_a_refusal(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 1);
    may_have_written(&h, 2, 2);
    refused(&h, 1, 3, 5, 6);
    expect(&h, LINEAR_YES, __LINE__);
}

static void keys_are_apart(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 1);
    saw(&h, 0, 2, 3);
    h.ops[1].key = 2;
    expect(&h, LINEAR_YES, __LINE__);
}

/* --- bad ones --- */

static void a_lost_write_is_found(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 1);
    wrote(&h, 2, 2, 3);
    saw(&h, 1, 4, 5);
    expect(&h, LINEAR_NO, __LINE__);
}

static void a_stale_read_is_found(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 1);
    wrote(&h, 2, 2, 50);
    saw(&h, 2, 10, 20);
    saw(&h, 1, 21, 30); /* after one that had seen 2 */
    expect(&h, LINEAR_NO, __LINE__);
}

static void a_write_that_came_back_is_found(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 1);
    may_have_written(&h, 2, 2);
    saw(&h, 2, 4, 5);
    wrote(&h, 3, 6, 7);
    saw(&h, 2, 8, 9); /* applied twice */
    expect(&h, LINEAR_NO, __LINE__);
}

static void two_swaps_from_one_value_are_found(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 1);
    (void)swapped(&h, 1, 2, 2, 10);
    (void)swapped(&h, 1, 3, 2, 10);
    expect(&h, LINEAR_NO, __LINE__);
}

static void a_refusal_without_reason_is_found(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 1);
    refused(&h, 1, 2, 2, 3);
    expect(&h, LINEAR_NO, __LINE__);
}

static void a_refusal_that_names_the_wrong_value_is_found(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 1);
    refused(&h, 5, 2, 2, 3);
    h.ops[1].result = 4;
    expect(&h, LINEAR_NO, __LINE__);
}

static void a_value_from_nowhere_is_found(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    wrote(&h, 1, 0, 1);
    saw(&h, 9, 0, 5);
    expect(&h, LINEAR_NO, __LINE__);
}

static void a_read_before_the_write_was_called_is_found(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    saw(&h, 2, 0, 1);
    may_have_written(&h, 2, 2);
    expect(&h, LINEAR_NO, __LINE__);
}

static void a_lost_delete_is_found(void **state)
{
    struct history h = {.n = 0};
    struct linear_verdict v;
    (void)state;
    wrote(&h, 1, 0, 1);
    (void)deleted(&h, 2, 3);
    saw(&h, 1, 4, 5);
    assert_int_equal(linear_check(h.ops, h.n, 0, &v), LINEAR_NO);
    assert_int_equal(v.key, 1);
    assert_non_null(strstr(v.text, "process 3's read"));
}

/* --- many --- */

static uint64_t draw(uint64_t *s)
{
    *s = *s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *s >> 33;
}

/* What a real register gives: each operation happens at one moment between call and return. */
static void simulate(struct history *h, uint64_t seed, size_t n)
{
    uint64_t reg = 0, t = 0;
    for (size_t i = 0; i < n; i++) {
        t += 1 + draw(&seed) % 20;
        int64_t call = (int64_t)(t - draw(&seed) % 60), ret = (int64_t)(t + draw(&seed) % 60);
        uint64_t value = i + 1;
        switch (draw(&seed) % 8) {
        case 0:
        case 1:
            wrote(h, value, call, ret);
            reg = value;
            break;
        case 2:
            may_have_written(h, value, call);
            reg = draw(&seed) % 2 != 0 ? value : reg;
            break;
        case 3:
            (void)swapped(h, reg, value, call, ret);
            reg = value;
            break;
        case 4:
            refused(h, UINT64_MAX - 5, value, call, ret);
            break;
        default:
            saw(h, reg, call, ret);
        }
    }
}

static void what_a_register_does_is_accepted(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        static struct history h;
        h.n = 0;
        simulate(&h, seed, 600);
        expect(&h, LINEAR_YES, __LINE__);
    }
}

static void one_old_value_among_many_is_found(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        static struct history h;
        h.n = 0;
        simulate(&h, seed, 100);
        int64_t end = h.ops[h.n - 1].return_ns + 1000;
        wrote(&h, 5000, end, end + 1);
        wrote(&h, 5001, end + 2, end + 3);
        saw(&h, 5000, end + 4, end + 5);
        expect(&h, LINEAR_NO, __LINE__);
    }
}

static void the_search_is_bounded(void **state)
{
    struct history h = {.n = 0};
    (void)state;
    for (uint64_t i = 0; i < 40; i++) {
        wrote(&h, i + 1, 0, 1000);
    }
    saw(&h, 99, 0, 2000);
    assert_int_equal(linear_check(h.ops, h.n, 10000, NULL), LINEAR_GAVE_UP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_after_the_other),
        cmocka_unit_test(reads_beside_a_write_see_either),
        cmocka_unit_test(an_unknown_write_may_show_up_late),
        cmocka_unit_test(an_unknown_write_may_never_show_up),
        cmocka_unit_test(an_unseen_unknown_write_explains_a_refusal),
        cmocka_unit_test(keys_are_apart),
        cmocka_unit_test(a_lost_write_is_found),
        cmocka_unit_test(a_stale_read_is_found),
        cmocka_unit_test(a_write_that_came_back_is_found),
        cmocka_unit_test(two_swaps_from_one_value_are_found),
        cmocka_unit_test(a_refusal_without_reason_is_found),
        cmocka_unit_test(a_refusal_that_names_the_wrong_value_is_found),
        cmocka_unit_test(a_value_from_nowhere_is_found),
        cmocka_unit_test(a_read_before_the_write_was_called_is_found),
        cmocka_unit_test(a_lost_delete_is_found),
        cmocka_unit_test(what_a_register_does_is_accepted),
        cmocka_unit_test(one_old_value_among_many_is_found),
        cmocka_unit_test(the_search_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
