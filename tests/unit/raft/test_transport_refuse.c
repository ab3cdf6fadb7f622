/* SPDX-License-Identifier: Apache-2.0 */
/* Who is refused, and what strangers can do to a node. Plaintext on loopback. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/wire.h"
#include "raft/transport_frame.h"
#include "tests/unit/raft/transport_kit.h"

static struct kit_node node;

static int open_node(void **state)
{
    kit_start(state);
    kit_open(&node, 1, "a", NULL);
    return 0;
}

/* It still serves decent peers, whatever happened to it. */
static int close_node(void **state)
{
    struct kit_node b;
    (void)state;
    node.is_strict = 0;
    kit_open(&b, 2, "b", NULL);
    memcpy(b.cluster, node.cluster, sizeof(b.cluster));
    kit_peers(&b, &node, NULL);
    kit_until(2000, b.is_up[1]);
    uint64_t before = node.n_received;
    assert_int_equal(kit_send(&b, 1, 1, 100), 0);
    kit_until(1000, node.n_received == before + 1);
    kit_close(&b);
    kit_close(&node);
    kit_fini();
    return 0;
}

/* What the node answers to a hello; the connection must end when it is a refusal. */
static struct peer_ack answer_to(const struct peer_hello *h)
{
    struct peer_frame_reader r;
    struct buf out, got;
    struct peer_ack ack = {.refusal = UINT16_MAX};
    struct slice body;
    uint8_t type = 0;
    buf_init(&out);
    buf_init(&got);
    int fd = kit_raw(&node);
    peer_hello_put(&out, h);
    kit_raw_send(fd, out.p, out.len);
    int is_ended = kit_raw_ended(fd, 200, &got);
    peer_frame_reader_init(&r, PEER_HELLO_MAX);
    size_t cap;
    uint8_t *to = peer_frame_reader_room(&r, &cap);
    assert_true(got.len > 0 && got.len <= cap);
    memcpy(to, got.p, got.len);
    peer_frame_reader_add(&r, got.len);
    assert_int_equal(peer_frame_reader_next(&r, &type, &body), 1);
    assert_int_equal(type, PEER_FRAME_TYPE_ACK);
    assert_int_equal(peer_ack_read(body, &ack), 0);
    assert_int_equal(is_ended, ack.refusal != PEER_WELCOME);
    assert_int_equal(ack.from, node.id);
    peer_frame_reader_fini(&r);
    buf_fini(&out);
    buf_fini(&got);
    close(fd);
    return ack;
}

static void test_hello_accepted(void **state)
{
    (void)state;
    struct peer_hello h = kit_hello(5, "e", &node);
    struct peer_ack ack = answer_to(&h);
    assert_int_equal(ack.refusal, PEER_WELCOME);
    assert_int_equal(ack.version, 1);
    h.version_max = 7; /* a newer node that can speak ours */
    assert_int_equal(answer_to(&h).version, 1);
}

static void test_version(void **state)
{
    (void)state;
    struct peer_hello h = kit_hello(5, "e", &node);
    h.version_min = 2;
    h.version_max = 9;
    assert_int_equal(answer_to(&h).refusal, PEER_REFUSED_VERSION);
    h.version_min = h.version_max = 0;
    assert_int_equal(answer_to(&h).refusal, PEER_REFUSED_VERSION);
}

/* Only two known and different ids part two nodes. */
static void test_cluster(void **state)
{
    (void)state;
    struct peer_hello h = kit_hello(5, "e", &node);
    h.cluster_id[3] = 1;
    assert_int_equal(answer_to(&h).refusal, PEER_WELCOME);
    node.cluster[3] = 2;
    assert_int_equal(answer_to(&h).refusal, PEER_REFUSED_CLUSTER);
    h.cluster_id[3] = 0;
    assert_int_equal(answer_to(&h).refusal, PEER_WELCOME);
    h.cluster_id[3] = 2;
    assert_int_equal(answer_to(&h).refusal, PEER_WELCOME);
}

static void test_target(void **state)
{
    (void)state;
    struct peer_hello h = kit_hello(5, "e", &node);
    h.to = 9;
    assert_int_equal(answer_to(&h).refusal, PEER_REFUSED_TARGET);
    h = kit_hello(1, "a", &node); /* ourselves */
    assert_int_equal(answer_to(&h).refusal, PEER_REFUSED_TARGET);
}

static void test_not_a_member(void **state)
{
    (void)state;
    struct peer_hello h = kit_hello(5, "e", &node);
    node.is_strict = 1;
    assert_int_equal(answer_to(&h).refusal, PEER_REFUSED_MEMBER);
}

/* The name and the id of a known peer belong together. */
static void test_name_of_known_peer(void **state)
{
    struct kit_node known = {.id = 5, .name = "e", .address = "127.0.0.1:1"};
    (void)state;
    kit_peers(&node, &known, NULL);
    struct peer_hello h = kit_hello(5, "f", &node);
    assert_int_equal(answer_to(&h).refusal, PEER_REFUSED_NAME);
    h = kit_hello(5, "e", &node);
    assert_int_equal(answer_to(&h).refusal, PEER_WELCOME);
}

static int raw_session(uint64_t run, uint64_t session)
{
    struct buf b;
    struct peer_hello h = kit_hello(5, "e", &node);
    struct transport_stats before, now;
    h.run = run;
    h.session = session;
    buf_init(&b);
    peer_hello_put(&b, &h);
    int fd = kit_raw(&node);
    transport_stats(node.t, &before);
    kit_raw_send(fd, b.p, b.len);
    buf_fini(&b);
    do {
        kit_turn();
        transport_stats(node.t, &now);
    } while (now.sessions_in + now.refused == before.sessions_in + before.refused);
    return fd;
}

/* A new session ends the one before; a delayed older one of the same run does not. */
static void test_newer_session_wins(void **state)
{
    (void)state;
    int first = raw_session(77, 3);
    assert_false(kit_raw_ended(first, 50, NULL));
    int second = raw_session(77, 4);
    assert_true(kit_raw_ended(first, 1000, NULL));
    int late = raw_session(77, 2);
    assert_true(kit_raw_ended(late, 1000, NULL));
    assert_false(kit_raw_ended(second, 50, NULL));
    int restarted = raw_session(78, 1); /* its process is another one */
    assert_true(kit_raw_ended(second, 1000, NULL));
    assert_false(kit_raw_ended(restarted, 50, NULL));
    close(first);
    close(second);
    close(late);
    close(restarted);
}

/* Who may talk is asked again when the set changes. */
static void test_expelled(void **state)
{
    struct kit_node other = {.id = 6, .name = "f", .address = "127.0.0.1:1"};
    (void)state;
    int fd = raw_session(1, 1);
    kit_peers(&node, &other, NULL);
    assert_false(kit_raw_ended(fd, 50, NULL));
    node.is_strict = 1;
    kit_peers(&node, NULL, NULL);
    assert_true(kit_raw_ended(fd, 1000, NULL));
    close(fd);
}

/* --- bytes that are no hello --- */

static void expect_end(const void *p, size_t len, int ms)
{
    struct buf got;
    buf_init(&got);
    int fd = kit_raw(&node);
    kit_raw_send(fd, p, len);
    assert_true(kit_raw_ended(fd, ms, &got));
    assert_int_equal(got.len, 0); /* nobody is told anything */
    buf_fini(&got);
    close(fd);
}

static void test_no_hello(void **state)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    struct peer_hello h = kit_hello(5, "e", &node);
    struct buf b;
    (void)state;
    expect_end(http, sizeof(http) - 1, 500);
    buf_init(&b);
    const struct slice part = SLICE_LIT("abc");
    peer_frame_put(&b, 7, &part, 1); /* a frame before the hello */
    expect_end(b.p, b.len, 500);
    buf_clear(&b);
    peer_hello_put(&b, &h);
    const struct slice body = slice_of(b.p + PEER_FRAME_HEAD, b.len - PEER_FRAME_HEAD);
    uint8_t copy[PEER_HELLO_MAX];
    memcpy(copy, body.p, body.len);
    const struct slice disguised = slice_of(copy, body.len);
    buf_clear(&b);
    peer_frame_put(&b, 7, &disguised, 1); /* a hello that does not say so */
    expect_end(b.p, b.len, 500);
    buf_clear(&b);
    peer_frame_put(&b, PEER_FRAME_TYPE_HELLO, &part, 1); /* no hello inside */
    expect_end(b.p, b.len, 500);
    buf_clear(&b);
    peer_ack_put(&b, &(struct peer_ack){.version = 1, .from = 2}); /* an answer, unasked */
    expect_end(b.p, b.len, 500);
    buf_clear(&b);
    peer_hello_put(&b, &h);
    b.p[b.len - 1] ^= 1;
    expect_end(b.p, b.len, 500); /* checksum */
    buf_fini(&b);
    assert_int_equal(node.n_received, 0);
}

/* No memory for the promise of a large frame, before the hello nor above the bound after it. */
static void test_oversize(void **state)
{
    uint8_t head[PEER_FRAME_HEAD] = {0};
    (void)state;
    wire_set_u32(head, PEER_HELLO_MAX + 1);
    head[4] = PEER_FRAME_TYPE_HELLO;
    expect_end(head, sizeof(head), 500);
    int fd = raw_session(1, 1);
    wire_set_u32(head, TRANSPORT_FRAME_MAX + 1);
    kit_raw_send(fd, head, sizeof(head));
    assert_true(kit_raw_ended(fd, 500, NULL));
    close(fd);
}

/* Inside a session: a wrong checksum and hand-shake frames end it, good frames before count. */
static void test_bad_frames(void **state)
{
    const struct slice part = SLICE_LIT("12345678");
    struct buf b;
    (void)state;
    buf_init(&b);
    for (size_t flip = 0; flip < PEER_FRAME_HEAD + part.len; flip++) {
        uint64_t before = node.n_received;
        int fd = raw_session(flip + 1, 1);
        buf_clear(&b);
        peer_frame_put(&b, 9, &part, 1);
        size_t first = b.len;
        peer_frame_put(&b, 9, &part, 1);
        b.p[first + flip] ^= 0x40;
        if (flip < sizeof(uint32_t)) {
            b.p[first + flip] = flip == 0 ? 7 : 0; /* shorter, not to wait for more */
            b.p[first] = 7;
        }
        kit_raw_send(fd, b.p, b.len);
        assert_true(kit_raw_ended(fd, 500, NULL));
        assert_int_equal(node.n_received, before + 1);
        close(fd);
    }
    int fd = raw_session(100, 1);
    struct peer_hello h = kit_hello(5, "e", &node);
    buf_clear(&b);
    peer_hello_put(&b, &h);
    kit_raw_send(fd, b.p, b.len);
    assert_true(kit_raw_ended(fd, 500, NULL));
    close(fd);
    buf_fini(&b);
}

static void test_garbage(void **state)
{
    enum { ROUNDS = 300, LEN_MAX = 2000 };
    uint8_t noise[LEN_MAX];
    unsigned seed = 20;
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        size_t len = 1 + (size_t)(rand_r(&seed) % LEN_MAX);
        for (size_t k = 0; k < len; k++) {
            noise[k] = (uint8_t)rand_r(&seed);
        }
        int fd = i % 2 == 0 ? kit_raw(&node) : raw_session((uint64_t)i + 1, 1);
        if (i % 3 == 0) { /* a length that passes */
            noise[2] = noise[3] = 0;
        }
        (void)send(fd, noise, len, MSG_NOSIGNAL);
        (void)kit_raw_ended(fd, 2, NULL);
        close(fd);
    }
    assert_int_equal(node.n_received, 0);
}

/* A stranger that sends its hello byte by byte has five seconds. A session lasts longer than that,
 * idle as it may be. */
static void test_slow_hello(void **state)
{
    struct kit_node peer;
    struct buf b;
    (void)state;
    kit_open(&peer, 2, "b", NULL);
    kit_peers(&peer, &node, NULL);
    kit_until(2000, peer.is_up[1]);
    buf_init(&b);
    struct peer_hello h = kit_hello(5, "e", &node);
    peer_hello_put(&b, &h);
    int silent = kit_raw(&node);
    int slow = kit_raw(&node);
    int64_t start = kit_now();
    for (size_t i = 0; i + 1 < b.len && kit_now() - start < 4000; i++) {
        kit_raw_send(slow, b.p + i, 1);
        kit_run(30);
    }
    assert_false(kit_raw_ended(silent, 1, NULL));
    assert_true(kit_raw_ended(silent, 6000, NULL));
    assert_true(kit_raw_ended(slow, 1000, NULL));
    assert_in_range(kit_now() - start, 4500, 9000);
    kit_run(500);
    assert_int_equal(peer.n_downs, 0);
    assert_int_equal(kit_send(&peer, 1, 1, 8), 0);
    kit_until(1000, node.n_received == 1);
    close(silent);
    close(slow);
    buf_fini(&b);
    kit_close(&peer);
}

/* However many strangers knock, 64 stay, and a peer gets in. */
static void test_many_strangers(void **state)
{
    enum { STRANGERS = 150, STAY = 64 };
    int fds[STRANGERS], n_open = 0;
    (void)state;
    for (int i = 0; i < STRANGERS; i++) {
        fds[i] = kit_raw(&node);
        kit_turn();
    }
    kit_run(50);
    for (int i = 0; i < STRANGERS; i++) {
        n_open += !kit_raw_ended(fds[i], 0, NULL);
    }
    assert_int_equal(n_open, STAY);
    assert_int_equal(answer_to(&(struct peer_hello[]){kit_hello(5, "e", &node)}[0]).refusal,
                     PEER_WELCOME);
    for (int i = 0; i < STRANGERS; i++) {
        close(fds[i]);
    }
}

/* Out of descriptors: the node waits without spinning, and accepts when there are some again. */
static void test_no_descriptors(void **state)
{
    struct rlimit old, few;
    struct rusage before, after;
    (void)state;
    int fd = kit_raw(&node); /* waits in the backlog */
    int probe = dup(fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = (rlim_t)probe; /* the next descriptor would be at least this one */
    close(probe);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    kit_run(500);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    struct transport_stats s;
    transport_stats(node.t, &s);
    assert_int_equal(s.accepted, 0);
    assert_true(s.refused > 0);
    long ms = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
               before.ru_stime.tv_sec) *
                  1000 +
              (after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
               before.ru_stime.tv_usec) /
                  1000;
    assert_in_range(ms, 0, 200);
    kit_run(250);
    transport_stats(node.t, &s);
    assert_int_equal(s.accepted, 1);
    close(fd);
}

/* --- from the dialler's side --- */

/* Who answers as somebody else, or nonsense, is not taken for the peer. */
static void test_wrong_answers(void **state)
{
    struct kit_node c = {.id = 3, .name = "c"};
    (void)state;
    int listener = kit_raw_listen(c.address, sizeof(c.address));
    kit_peers(&node, &c, NULL);
    int fd = kit_raw_welcome(listener, 4); /* not 3 */
    kit_until(1000, strcmp(transport_why_down(node.t, 3), "another node answered") == 0);
    close(fd);
    node.cluster[0] = 1;
    struct peer_ack other = {.version = 1, .from = 3, .cluster_id = {9}};
    fd = kit_raw_answer(listener, &other);
    kit_until(1000, strstr(transport_why_down(node.t, 3), "another cluster") != NULL);
    close(fd);
    node.cluster[0] = 0;
    fd = kit_raw_answer(listener, &(struct peer_ack){.version = 9, .from = 3});
    kit_until(1000, strstr(transport_why_down(node.t, 3), "no common version") != NULL);
    close(fd);
    fd = kit_raw_answer(listener, &(struct peer_ack){.refusal = PEER_REFUSED_MEMBER, .from = 3});
    kit_until(1000, strstr(transport_why_down(node.t, 3), "refused us: not a member") != NULL);
    close(fd);
    fd = kit_raw_answer(listener, &(struct peer_ack){.refusal = 999, .from = 3});
    kit_until(1000, strstr(transport_why_down(node.t, 3), "unknown to this version") != NULL);
    close(fd);
    close(listener);
}

/* An answer is an answer frame, and the only one that may come. */
static void test_frames_to_dialler(void **state)
{
    struct kit_node c = {.id = 3, .name = "c"};
    const struct peer_ack ack = {.version = 1, .from = 3};
    struct buf b, other;
    (void)state;
    buf_init(&b);
    buf_init(&other);
    peer_ack_put(&b, &ack);
    const struct slice body = slice_of(b.p + PEER_FRAME_HEAD, b.len - PEER_FRAME_HEAD);
    peer_frame_put(&other, 7, &body, 1); /* the same under another type */
    int listener = kit_raw_listen(c.address, sizeof(c.address));
    kit_peers(&node, &c, NULL);
    int fd = kit_raw_answer_bytes(listener, buf_slice(&other));
    kit_until(1000, strstr(transport_why_down(node.t, 3), "does not speak") != NULL);
    assert_int_equal(node.n_ups, 0);
    close(fd);
    fd = kit_raw_welcome(listener, 3);
    kit_until(1000, node.is_up[3]);
    kit_raw_send(fd, b.p, b.len);
    kit_until(1000, !node.is_up[3]);
    close(fd);
    close(listener);
    buf_fini(&b);
    buf_fini(&other);
}

/* A refused dialler says why, does not give up, and gets in when it may. */
static void test_refused_until_allowed(void **state)
{
    struct kit_node b;
    (void)state;
    node.is_strict = 1;
    kit_open(&b, 2, "b", NULL);
    kit_peers(&b, &node, NULL);
    kit_until(1000, strstr(transport_why_down(b.t, 1), "not a member") != NULL);
    kit_run(500);
    assert_int_equal(b.n_ups, 0);
    node.is_strict = 0;
    kit_until(2000, b.is_up[1]);
    kit_close(&b);
}

/* --- plaintext stays on loopback --- */

static void on_receive(void *arg, mu_node_id from, uint8_t type, struct slice body)
{
    (void)arg;
    (void)from;
    (void)type;
    (void)body;
}

static void on_session(void *arg, mu_node_id peer, int is_up)
{
    (void)arg;
    (void)peer;
    (void)is_up;
}

static void cluster_id(void *arg, uint8_t out[16])
{
    (void)arg;
    memset(out, 0, 16);
}

static int open_on(const char *listen, int allow, struct transport **out, struct err *e)
{
    const struct transport_options o = {
        .loop = kit_loop(),
        .self = 8,
        .self_name = "h",
        .listen = listen,
        .allow_plaintext = allow,
        .receive = on_receive,
        .session = on_session,
        .cluster_id = cluster_id,
    };
    return transport_open(&o, out, e);
}

static void test_plaintext_on_loopback_only(void **state)
{
    static const char *const refused[] = {"0.0.0.0:0", "[::]:0", "192.0.2.1:0"};
    static const char *const wrong[] = {"127.0.0.1", "127.0.0.1:99999", "::1:8300", ":1", "[]:1"};
    struct transport *t = NULL;
    struct err e = {0};
    struct kit_node closing = {0};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(refused); i++) {
        assert_int_equal(open_on(refused[i], 0, &t, &e), MU_E_BAD_REQUEST);
        assert_non_null(strstr(e.text, "loopback"));
    }
    for (size_t i = 0; i < N_ELEMENTS(wrong); i++) {
        assert_int_equal(open_on(wrong[i], 1, &t, &e), MU_E_BAD_REQUEST);
        assert_non_null(strstr(e.text, "host:port"));
    }
    assert_int_equal(open_on(node.address, 0, &t, &e), MU_E_IO); /* taken */
    assert_non_null(strstr(e.text, "in use"));
    assert_int_equal(open_on("0.0.0.0:0", 1, &t, &e), 0);
    transport_close(t, kit_closed, &closing);
    kit_until(1000, closing.is_closed);
}

static void test_no_plaintext_dial(void **state)
{
    struct kit_node far = {.id = 3, .name = "c", .address = "192.0.2.1:8300"};
    struct kit_node bad = {.id = 4, .name = "d", .address = "nonsense"};
    (void)state;
    kit_peers(&node, &far, &bad, NULL);
    kit_until(1000, strstr(transport_why_down(node.t, 3), "not a loopback address") != NULL);
    kit_until(1000, strstr(transport_why_down(node.t, 4), "host:port") != NULL);
}

#define on_node(test) cmocka_unit_test_setup_teardown(test, open_node, close_node)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_node(test_hello_accepted),
        on_node(test_version),
        on_node(test_cluster),
        on_node(test_target),
        on_node(test_not_a_member),
        on_node(test_name_of_known_peer),
        on_node(test_newer_session_wins),
        on_node(test_expelled),
        on_node(test_no_hello),
        on_node(test_oversize),
        on_node(test_bad_frames),
        on_node(test_garbage),
        on_node(test_slow_hello),
        on_node(test_many_strangers),
        on_node(test_no_descriptors),
        on_node(test_wrong_answers),
        on_node(test_frames_to_dialler),
        on_node(test_refused_until_allowed),
        on_node(test_plaintext_on_loopback_only),
        on_node(test_no_plaintext_dial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
