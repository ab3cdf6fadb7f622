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

/* 100,000 frames of all sizes arrive once each and in the order they were sent. */
static void test_order(void **state)
{
    enum { FRAMES = 100000, SMALL_MAX = 300, LARGE_EVERY = 5000, LARGE = 200000, BURST = 50 };
    struct kit_node a, b;
    uint64_t sent = 0;
    (void)state;
    open_pair(&a, &b);
    while (sent < FRAMES) {
        for (int i = 0; i < BURST; i++) {
            sent++;
            size_t len = sent % LARGE_EVERY == 0 ? LARGE : 8 + sent % SMALL_MAX;
            assert_int_equal(kit_send(&a, 2, sent, len), 0);
        }
        kit_turn();
    }
    kit_until(10000, b.n_received == FRAMES);
    assert_int_equal(b.last_received, FRAMES);
    assert_int_equal(b.n_out_of_order, 0);
    assert_int_equal(a.n_downs, 0);
    close_pair(&a, &b);
}

/* The largest frame passes. */
static void test_largest(void **state)
{
    struct kit_node a, b;
    (void)state;
    open_pair(&a, &b);
    assert_int_equal(kit_send(&a, 2, 1, TRANSPORT_FRAME_MAX), 0);
    assert_true(transport_queued(a.t, 2) > TRANSPORT_FRAME_MAX);
    kit_until(5000, b.n_received == 1);
    assert_int_equal(b.last_len, TRANSPORT_FRAME_MAX);
    assert_int_equal(transport_queued(a.t, 2), 0);
    assert_int_equal(kit_send(&a, 2, 2, TRANSPORT_FRAME_MAX + 1), MU_E_TOO_LARGE);
    assert_int_equal(kit_send(&a, 2, 2, 8), 0);
    kit_until(1000, b.n_received == 2);
    assert_int_equal(b.n_out_of_order, 0);
    close_pair(&a, &b);
}

/* All frames of a turn are one write: the receiver sees them in one read. */
static void test_one_write(void **state)
{
    enum { FRAMES = 100 };
    struct kit_node a, b;
    (void)state;
    open_pair(&a, &b);
    for (uint64_t i = 1; i <= FRAMES; i++) {
        assert_int_equal(kit_send(&a, 2, i, 64), 0);
    }
    transport_flush(a.t);
    assert_int_equal(transport_queued(a.t, 2), 0); /* the kernel has them */
    while (b.n_received == 0) {
        kit_turn();
    }
    assert_int_equal(b.n_received, FRAMES);
    close_pair(&a, &b);
}

static void answer(struct kit_node *n, mu_node_id from, uint8_t type, struct slice body)
{
    assert_int_equal(transport_send(n->t, from, type, &body, 1), 0);
}

/* Answers may be sent from inside the receive callback. */
static void test_answer(void **state)
{
    enum { FRAMES = 1000 };
    struct kit_node a, b;
    (void)state;
    open_pair(&a, &b);
    b.hook = answer;
    for (uint64_t i = 1; i <= FRAMES; i++) {
        assert_int_equal(kit_send(&a, 2, i, 100), 0);
    }
    kit_until(2000, a.n_received == FRAMES);
    assert_int_equal(a.n_out_of_order, 0);
    close_pair(&a, &b);
}

static void send_in_prepare(uv_prepare_t *p)
{
    struct kit_node *n = p->data;
    if (n->is_up[2] && n->hook_arg != NULL) {
        assert_int_equal(kit_send(n, 2, ++*(uint64_t *)n->hook_arg, 8), 0);
        n->hook_arg = NULL;
    }
}

static void on_far(uv_timer_t *timer)
{
    (void)timer;
}

/* What a prepare callback sends that runs after the transport's own does not wait for other events.
 */
static void test_sent_late(void **state)
{
    enum { FAR_MS = 3000, OLD_TIMERS_US = 20000 };
    struct kit_node a, b;
    uint64_t counter = 0;
    uv_prepare_t prepare;
    uv_timer_t far;
    (void)state;
    uv_prepare_init(kit_loop(), &prepare); /* started first: libuv runs it last */
    uv_prepare_start(&prepare, send_in_prepare);
    prepare.data = &a;
    a.hook_arg = NULL;
    open_pair(&a, &b);
    (void)usleep(OLD_TIMERS_US);
    uv_run(kit_loop(), UV_RUN_NOWAIT);
    uv_run(kit_loop(), UV_RUN_NOWAIT);
    uv_timer_init(kit_loop(), &far);
    uv_timer_start(&far, on_far, FAR_MS, 0); /* the only thing that would wake the loop */
    a.hook_arg = &counter;
    int64_t start = kit_now();
    while (b.n_received == 0) {
        uv_run(kit_loop(), UV_RUN_ONCE);
    }
    assert_true(kit_now() - start < FAR_MS / 2);
    uv_close((uv_handle_t *)&prepare, NULL);
    uv_close((uv_handle_t *)&far, NULL);
    close_pair(&a, &b);
}

/* A restarted peer is reached again, by a new session, both ways; what is sent meanwhile is
 * refused. */
static void test_restart(void **state)
{
    struct kit_node a, b;
    (void)state;
    open_pair(&a, &b);
    kit_close(&b);
    kit_until(1000, !a.is_up[2]);
    assert_int_equal(kit_send(&a, 2, 1, 8), MU_E_CLOSED);
    assert_string_not_equal(transport_why_down(a.t, 2), "");
    kit_run(300);
    kit_reopen(&b, NULL);
    kit_peers(&b, &a, NULL);
    kit_until(1000, a.is_up[2] && b.is_up[1]);
    assert_int_equal(a.n_ups, 2);
    assert_int_equal(a.n_downs, 1);
    assert_string_equal(transport_why_down(a.t, 2), "");
    assert_int_equal(kit_send(&a, 2, 1, 8), 0);
    assert_int_equal(kit_send(&b, 1, 1, 8), 0);
    kit_until(1000, a.n_received == 1 && b.n_received == 1);
    close_pair(&a, &b);
}

/* A peer that stops reading costs the queue's bound and its session, and nobody else anything. */
static void test_stalled_reader(void **state)
{
    enum { LEN = 64 * 1024 };
    struct kit_node a, b, c = {.id = 3, .name = "c"};
    struct transport_stats stats;
    (void)state;
    kit_open(&a, 1, "a", NULL);
    kit_open(&b, 2, "b", NULL);
    /* A listener that answers the hello by hand and then never reads. */
    int listener = kit_raw_listen(c.address, sizeof(c.address));
    kit_peers(&a, &b, &c, NULL);
    int fd = kit_raw_welcome(listener, 3);
    kit_until(2000, a.is_up[2] && a.is_up[3]);
    uint64_t sent = 0;
    int rc = 0;
    while (rc == 0) {
        assert_true(++sent < 10 * (uint64_t)TRANSPORT_QUEUE_MAX / LEN);
        assert_true(transport_queued(a.t, 3) <= TRANSPORT_QUEUE_MAX);
        rc = kit_send(&a, 3, sent, LEN);
        assert_int_equal(kit_send(&a, 2, sent, 8), 0);
        if (sent % 16 == 0) {
            kit_turn();
        }
    }
    assert_int_equal(rc, MU_E_OVERLOADED);
    assert_true(sent * LEN > TRANSPORT_QUEUE_MAX);
    assert_true(a.is_up[3]); /* told later, not from inside transport_send */
    assert_false(transport_is_up(a.t, 3));
    assert_int_equal(transport_queued(a.t, 3), 0);
    assert_int_equal(kit_send(&a, 3, sent, LEN), MU_E_CLOSED);
    kit_until(1000, !a.is_up[3] && b.n_received == sent);
    assert_int_equal(b.n_out_of_order, 0);
    assert_true(transport_is_up(a.t, 2));
    transport_stats(a.t, &stats);
    assert_int_equal(stats.overflows, 1);
    close(fd);
    close(listener);
    close_pair(&a, &b);
}

/* A frozen peer: what is not acknowledged for three seconds ends the session. */
static void test_frozen_peer(void **state)
{
    struct kit_node a, c = {.id = 3, .name = "c"};
    (void)state;
    kit_open(&a, 1, "a", NULL);
    int listener = kit_raw_listen(c.address, sizeof(c.address));
    kit_peers(&a, &c, NULL);
    int fd = kit_raw_welcome(listener, 3);
    kit_until(2000, a.is_up[3]);
    for (uint64_t i = 1; transport_queued(a.t, 3) == 0; i++) {
        assert_int_equal(kit_send(&a, 3, i, 1024 * 1024), 0);
        transport_flush(a.t);
    }
    int64_t start = kit_now();
    kit_until(8000, !a.is_up[3]);
    assert_true(kit_now() - start > 2000);
    close(fd);
    close(listener);
    kit_close(&a);
    kit_fini();
}

/* Dropped from the set: the session ends silently; back in the set: a new one. */
static void test_set_changes(void **state)
{
    struct kit_node a, b, c;
    (void)state;
    open_pair(&a, &b);
    kit_open(&c, 3, "c", NULL);
    kit_peers(&a, NULL, NULL);
    assert_int_equal(kit_send(&a, 2, 1, 8), MU_E_CLOSED);
    assert_int_equal(a.n_downs, 0);
    a.is_up[2] = 0; /* not told of those that were dropped */
    kit_run(50);
    kit_peers(&a, &c, &b, NULL);
    kit_until(1000, a.is_up[2] && a.is_up[3]);
    kit_peers(&a, &b, &c, NULL); /* the same again changes nothing */
    kit_run(50);
    assert_int_equal(a.n_ups, 3);
    assert_int_equal(a.n_downs, 0);
    kit_close(&c);
    close_pair(&a, &b);
}

/* A peer that moved is dialled at its new address; the old session ends and that is told. */
static void test_moved_peer(void **state)
{
    struct kit_node a, b, old;
    (void)state;
    open_pair(&a, &b);
    old = b;
    kit_open(&b, 2, "b", NULL);
    kit_peers(&a, &b, NULL);
    assert_false(transport_is_up(a.t, 2));
    assert_true(a.is_up[2]); /* never from inside transport_set_peers */
    kit_until(1000, a.n_downs == 1 && a.is_up[2]);
    assert_int_equal(kit_send(&a, 2, 1, 8), 0);
    kit_until(1000, b.n_received == 1);
    old.is_closed = 0;
    transport_close(old.t, kit_closed, &old);
    kit_until(1000, old.is_closed);
    close_pair(&a, &b);
}

/* Host names are asked for at each dial. */
static void test_host_name(void **state)
{
    struct kit_node a, b;
    (void)state;
    kit_open(&a, 1, "a", NULL);
    kit_open(&b, 2, "b", NULL);
    (void)snprintf(b.address, sizeof(b.address), "localhost:%u", (unsigned)transport_port(b.t));
    kit_peers(&a, &b, NULL);
    kit_until(5000, a.is_up[2]);
    (void)snprintf(b.address, sizeof(b.address), "nowhere.invalid:1");
    kit_peers(&a, &b, NULL);
    kit_until(5000, !a.is_up[2]);
    for (int i = 0; i < 20; i++) { /* dropped while it is being asked for */
        kit_peers(&a, NULL, NULL);
        kit_peers(&a, &b, NULL);
        uv_run(kit_loop(), UV_RUN_NOWAIT);
    }
    close_pair(&a, &b);
}

static void close_itself(struct kit_node *n, mu_node_id from, uint8_t type, struct slice body)
{
    (void)from;
    (void)type;
    (void)body;
    transport_close(n->t, kit_closed, n);
}

/* Closing from inside the receive callback: nothing is called afterwards. */
static void test_close_in_callback(void **state)
{
    struct kit_node a, b;
    (void)state;
    open_pair(&a, &b);
    b.hook = close_itself;
    for (uint64_t i = 1; i <= 10; i++) {
        assert_int_equal(kit_send(&a, 2, i, 8), 0);
    }
    kit_until(1000, b.is_closed);
    assert_int_equal(b.n_received, 1);
    assert_int_equal(b.n_downs, 0);
    kit_close(&a);
    kit_fini();
}

/* Closing at every turn of getting to know each other leaves nothing behind. */
static void test_close_early(void **state)
{
    enum { TURNS = 12 };
    for (int turns = 0; turns < TURNS; turns++) {
        struct kit_node a, b;
        if (turns > 0) {
            kit_start(state);
        }
        kit_open(&a, 1, "a", NULL);
        kit_open(&b, 2, "b", NULL);
        kit_peers(&a, &b, NULL);
        for (int i = 0; i < turns; i++) {
            uv_run(kit_loop(), UV_RUN_NOWAIT);
        }
        close_pair(&a, &b);
    }
}

/* Frames sent right before closing still leave. */
static void test_last_words(void **state)
{
    struct kit_node a, b;
    (void)state;
    open_pair(&a, &b);
    assert_int_equal(kit_send(&a, 2, 1, 1000), 0);
    kit_close(&a);
    kit_until(1000, b.n_received == 1);
    kit_close(&b);
    kit_fini();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(test_exchange),    kit_test(test_order),
        kit_test(test_largest),     kit_test(test_one_write),
        kit_test(test_answer),      kit_test(test_sent_late),
        kit_test(test_restart),     kit_test(test_stalled_reader),
        kit_test(test_frozen_peer), kit_test(test_set_changes),
        kit_test(test_moved_peer),  kit_test(test_host_name),
        kit_test(test_close_early), kit_test(test_close_in_callback),
        kit_test(test_last_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
