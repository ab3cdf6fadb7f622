/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/unit/raft/replica_kit.h"

/* A single node leads at once, in a term of its own, and keeps what it acknowledged. */
static void test_single(void **state)
{
    struct kit k;
    struct kit_call c;
    (void)state;
    kit_open(&k, 1);
    kit_start(&k, 0);
    struct kit_node *n = kit_wait_leader(&k);
    for (int i = 0; i < 20; i++) {
        kit_propose(n, &c, "value.", 1000);
        assert_int_equal(kit_await(&k, &c), 0);
        assert_int_equal(c.result, i + 1);
    }
    kit_read(n, &c, 0, 1000);
    assert_int_equal(kit_await(&k, &c), 0);
    mu_term term = n->ready_term;
    uint64_t hash = n->state->hash;
    kit_stop(&k, 0);
    kit_start(&k, 0);
    kit_wait_leader(&k);
    assert_true(n->ready_term > term); /* G9 */
    assert_int_equal(n->state->hash, hash);
    assert_int_equal(kit_put(&k, n, "after."), 0);
    assert_int_equal(n->state->n_commands, 21);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
