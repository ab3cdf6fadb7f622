/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions between nodes: exchange, order, restarts, stalls. Plaintext on loopback. */
#include <stdio.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "tests/unit/raft/transport_kit.h"

/* Two nodes that know each other, with sessions both ways. */
static void open_pair(struct kit_node *a, struct kit_node *b)
{
    kit_open(a, 1, "a", NULL);
    kit_open(b, 2, "b", NULL);
    kit_peers(a, b, NULL);
    kit_peers(b, a, NULL);
    kit_until(2000, a->is_up[2] && b->is_up[1]);
}

static void close_pair(struct kit_node *a, struct kit_node *b)
{
    kit_close(a);
    kit_close(b);
    kit_fini();
}

/* Frames go both ways, with their type and their bytes. */
static void test_exchange(void **state)
{
    struct kit_node a, b;
    (void)state;
    open_pair(&a, &b);
    const struct slice parts[] = {SLICE_LIT("hello "), {0}, SLICE_LIT("there")};
    assert_int_equal(transport_send(a.t, 2, 7, parts, 3), 0);
    kit_until(1000, b.n_received == 1);
    assert_int_equal(b.last_type, 7);
    assert_int_equal(b.last_len, 11);
    assert_int_equal(transport_send(b.t, 1, 253, NULL, 0), 0); /* an empty frame */
    kit_until(1000, a.n_received == 1);
    assert_int_equal(a.last_type, 253);
    assert_int_equal(a.last_len, 0);
    assert_int_equal(transport_queued(a.t, 2), 0);
    assert_int_equal(transport_send(a.t, 3, 7, parts, 3), MU_E_CLOSED);
    close_pair(&a, &b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
