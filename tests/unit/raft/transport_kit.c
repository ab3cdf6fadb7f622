/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/raft/transport_kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/wire.h"

/* On the heap: what a failed test leaves behind is left alone. */
struct kit_loop {
    uv_loop_t loop;
    uv_timer_t tick;
};
static struct kit_loop *now;

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

int kit_start(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    now = mem_zalloc(sizeof(*now));
    assert_int_equal(uv_loop_init(&now->loop), 0);
    uv_timer_init(&now->loop, &now->tick);
    return 0;
}

uv_loop_t *kit_loop(void)
{
    return &now->loop;
}

void kit_fini(void)
{
    enum { END_MS = 3000 };
    uv_close((uv_handle_t *)&now->tick, NULL);
    int64_t end = kit_now() + END_MS;
    while (uv_run(&now->loop, UV_RUN_NOWAIT) != 0 && kit_now() < end) {
        (void)usleep(1000);
    }
    assert_int_equal(uv_loop_close(&now->loop), 0);
    mem_free(now);
    now = NULL;
}

int64_t kit_now(void)
{
    return clock_mono_ms();
}

void kit_turn(void)
{
    enum { TURN_MS = 5 };
    uv_update_time(kit_loop());
    uv_timer_start(&now->tick, on_tick, TURN_MS, 0);
    uv_run(&now->loop, UV_RUN_ONCE);
}

void kit_run(int ms)
{
    int64_t end = kit_now() + ms;
    while (kit_now() < end) {
        kit_turn();
    }
}

/* --- nodes --- */

static void on_receive(void *arg, mu_node_id from, uint8_t type, struct slice body)
{
    struct kit_node *n = arg;
    n->n_received++;
    n->last_type = type;
    n->last_len = body.len;
    if (body.len >= sizeof(uint64_t)) {
        uint64_t counter = wire_get_u64(body.p);
        n->n_out_of_order += counter != n->last_received + 1;
        n->last_received = counter;
        n->sum_received += body.len;
    }
    if (n->hook != NULL) {
        n->hook(n, from, type, body);
    }
}

static void on_session(void *arg, mu_node_id peer, int is_up)
{
    struct kit_node *n = arg;
    assert_int_not_equal(n->is_up[peer], is_up);
    n->is_up[peer] = is_up;
    *(is_up ? &n->n_ups : &n->n_downs) += 1;
}

static int is_allowed(void *arg, mu_node_id peer, const char *name)
{
    struct kit_node *n = arg;
    (void)peer;
    (void)name;
    return !n->is_strict;
}

static void cluster_id(void *arg, uint8_t out[16])
{
    struct kit_node *n = arg;
    memcpy(out, n->cluster, sizeof(n->cluster));
}

static void open_at(struct kit_node *n, const char *listen, const struct tls_config *tls)
{
    struct err e = {0};
    struct transport_options o = {
        .loop = kit_loop(),
        .self = n->id,
        .self_name = n->name,
        .listen = listen,
        .tls = tls,
        .arg = n,
        .receive = on_receive,
        .session = on_session,
        .is_allowed = is_allowed,
        .cluster_id = cluster_id,
    };
    if (transport_open(&o, &n->t, &e) != 0) {
        fail_msg("%s", e.text);
    }
    (void)snprintf(n->address, sizeof(n->address), "127.0.0.1:%u", (unsigned)transport_port(n->t));
}

void kit_open(struct kit_node *n, mu_node_id id, const char *name, const struct tls_config *tls)
{
    *n = (struct kit_node){.id = id};
    (void)snprintf(n->name, sizeof(n->name), "%s", name);
    open_at(n, "127.0.0.1:0", tls);
}

void kit_reopen(struct kit_node *n, const struct tls_config *tls)
{
    struct kit_node old = *n;
    *n = (struct kit_node){.id = old.id};
    memcpy(n->name, old.name, sizeof(n->name));
    open_at(n, old.address, tls);
}

void kit_closed(void *arg)
{
    struct kit_node *n = arg;
    n->is_closed = 1;
}

void kit_close(struct kit_node *n)
{
    transport_close(n->t, kit_closed, n);
    assert_false(n->is_closed); /* never from inside the call */
    kit_until(2000, n->is_closed);
    n->t = NULL;
}

void kit_peers(struct kit_node *n, ...)
{
    struct transport_peer list[8];
    size_t len = 0;
    va_list a;
    va_start(a, n);
    for (const struct kit_node *p = va_arg(a, const struct kit_node *); p != NULL;
         p = va_arg(a, const struct kit_node *)) {
        list[len++] = (struct transport_peer){.id = p->id, .name = p->name, .address = p->address};
    }
    va_end(a);
    transport_set_peers(n->t, list, len);
}

int kit_send(struct kit_node *from, mu_node_id to, uint64_t counter, size_t len)
{
    static const uint8_t filler[64 * 1024];
    uint8_t head[sizeof(uint64_t)];
    struct slice parts[256] = {slice_of(head, sizeof(head))};
    size_t n = 1;
    wire_set_u64(head, counter);
    len -= sizeof(head);
    while (len > 0) {
        size_t k = len < sizeof(filler) ? len : sizeof(filler);
        assert_true(n < N_ELEMENTS(parts));
        parts[n++] = slice_of(filler, k);
        len -= k;
    }
    return transport_send(from->t, to, (uint8_t)(counter % 200), parts, n);
}

/* --- strangers --- */

int kit_raw(const struct kit_node *to)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(transport_port(to->t))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

void kit_raw_send(int fd, const void *p, size_t len)
{
    assert_int_equal(send(fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

int kit_raw_ended(int fd, int ms, struct buf *got)
{
    uint8_t block[4096];
    int64_t end = kit_now() + ms;
    for (;;) {
        ssize_t n = recv(fd, block, sizeof(block), MSG_DONTWAIT);
        if (n > 0 && got != NULL) {
            buf_append(got, block, (size_t)n);
        }
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return 1;
        }
        if (kit_now() > end) {
            return 0;
        }
        kit_turn();
    }
}

int kit_raw_listen(char *out_address, size_t cap)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof(a);
    const int small = 4096;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    (void)snprintf(out_address, cap, "127.0.0.1:%u", (unsigned)ntohs(a.sin_port));
    return fd;
}

int kit_raw_answer_bytes(int listener, struct slice bytes)
{
    uint8_t block[1024];
    int fd = -1;
    kit_until(2000, (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    kit_until(2000, recv(fd, block, sizeof(block), 0) > 0);
    kit_raw_send(fd, bytes.p, bytes.len);
    return fd;
}

int kit_raw_answer(int listener, const struct peer_ack *a)
{
    struct buf b;
    buf_init(&b);
    peer_ack_put(&b, a);
    int fd = kit_raw_answer_bytes(listener, buf_slice(&b));
    buf_fini(&b);
    return fd;
}

int kit_raw_welcome(int listener, mu_node_id id)
{
    return kit_raw_answer(listener, &(struct peer_ack){.version = PEER_VERSION_MAX, .from = id});
}

struct peer_hello kit_hello(mu_node_id from, const char *name, const struct kit_node *to)
{
    struct peer_hello h = {
        .version_min = PEER_VERSION_MIN,
        .version_max = PEER_VERSION_MAX,
        .from = from,
        .to = to->id,
        .run = 1,
        .session = 1,
    };
    (void)snprintf(h.name, sizeof(h.name), "%s", name);
    return h;
}
