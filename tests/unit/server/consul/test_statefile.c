/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "server/consul/statefile.h"

static void records(void **state)
{
    struct buf b = {0};
    struct statefile s;
    struct state_record r;
    struct err e = {0};
    uint64_t last = 0;
    (void)state;
    statefile_put_header(&b, 4711);
    buf_append(&b, "\x02\x80\x10\x90\x0c\xc0", 6);
    assert_int_equal(statefile_begin(&s, buf_slice(&b), &last, &e), 0);
    assert_true(last == 4711);
    assert_int_equal(statefile_next(&s, &r, &e), 1);
    assert_int_equal(r.type, STATE_KEY);
    assert_int_equal(statefile_next(&s, &r, &e), 1);
    assert_int_equal(r.type, STATE_INDEX);
    assert_int_equal(mp_type_of(r.value), MP_ARRAY);
    assert_int_equal(statefile_next(&s, &r, &e), 1);
    assert_string_equal(state_name(r.type), "intention");
    assert_int_equal(statefile_next(&s, &r, &e), 0);
    assert_int_equal(s.n, 3);
    buf_fini(&b);
}

static int outcome(const char *tail, size_t n, struct err *e)
{
    struct buf b = {0};
    struct statefile s;
    struct state_record r;
    uint64_t last;
    statefile_put_header(&b, 1);
    buf_append(&b, tail, n);
    assert_int_equal(statefile_begin(&s, buf_slice(&b), &last, e), 0);
    int rc = statefile_next(&s, &r, e);
    buf_fini(&b);
    return rc;
}

static void bad(void **state)
{
    struct statefile s;
    struct err e = {0};
    uint64_t last;
    (void)state;
    assert_int_equal(statefile_begin(&s, slice_of(NULL, 0), &last, &e), MU_E_FORMAT);
    assert_int_equal(statefile_begin(&s, SLICE_LIT("\x90"), &last, &e), MU_E_FORMAT);
    assert_int_equal(outcome("\x63\x80", 2, &e), MU_E_FORMAT);
    assert_string_equal(e.text, "Unrecognized msg type 99");
    assert_int_equal(outcome("\x01\x80", 2, &e), MU_E_FORMAT); /* never in a snapshot */
    assert_int_equal(outcome("\x02", 1, &e), MU_E_FORMAT);
    assert_string_equal(e.text, "record 1 (key) is cut off or malformed");
}

static void what_becomes_of_them(void **state)
{
    (void)state;
    assert_int_equal(state_use(STATE_REGISTER), STATE_TAKEN);
    assert_int_equal(state_use(5), STATE_OWN);
    assert_int_equal(state_use(12), STATE_PASSED);
    assert_int_equal(state_use(8), STATE_UNKNOWN);
    assert_int_equal(state_use(255), STATE_UNKNOWN);
    assert_string_equal(state_name(255), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records),
        cmocka_unit_test(bad),
        cmocka_unit_test(what_becomes_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
