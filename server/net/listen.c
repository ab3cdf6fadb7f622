/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets: addresses, binding, accepting. What a connection needs (TCP_NODELAY,
 * keep-alive) is set here once: accepted sockets inherit it from the listening one. */
#include "server/net/net_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

enum {
    BACKLOG = 4096,
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_STEP_S = 15,
    KEEPALIVE_COUNT = 4,
    UNACKED_MS = 60000
};

/* "host:port" or "[v6]:port" into its parts. */
static int split_address(const char *address, char *host, size_t cap, uint64_t *out_port,
                         struct err *e)
{
    const char *colon = strrchr(address, ':');
    const char *from = address;
    size_t len = colon != NULL ? (size_t)(colon - address) : 0;
    if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
        from++;
        len -= 2;
    } else if (len > 0 && memchr(from, ':', len) != NULL) {
        len = 0; /* an IPv6 address needs its brackets */
    }
    if (len == 0 || len >= cap || text_u64(slice_str(colon + 1), 65535, out_port) != 0) {
        return err_set(e, MU_E_BAD_REQUEST, "listener \"%s\" is not host:port", address);
    }
    memcpy(host, from, len);
    host[len] = '\0';
    return 0;
}

int listen_resolve(const char *address, struct sockaddr_storage *out, struct err *e)
{
    char host[256];
    uint64_t port = 0;
    if (local_is(address)) {
        return local_resolve(address, out, e);
    }
    int code = split_address(address, host, sizeof(host), &port, e);
    if (code != 0) {
        return code;
    }
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &list);
    if (rc != 0 || list == NULL) {
        return err_set(e, MU_E_BAD_REQUEST, "listener \"%s\": %s", address, gai_strerror(rc));
    }
    const struct addrinfo *best = list;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            best = a; /* "localhost" means 127.0.0.1 to most clients */
            break;
        }
    }
    memset(out, 0, sizeof(*out));
    memcpy(out, best->ai_addr, best->ai_addrlen);
    freeaddrinfo(list);
    if (out->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)(void *)out)->sin6_port = htons((uint16_t)port);
    } else {
        ((struct sockaddr_in *)(void *)out)->sin_port = htons((uint16_t)port);
    }
    return 0;
}

static uint16_t port_of(const struct sockaddr_storage *a)
{
    return ntohs(a->ss_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)(const void *)a)->sin6_port
                     : ((const struct sockaddr_in *)(const void *)a)->sin_port);
}

void listen_peer(const struct sockaddr_storage *a, char *out)
{
    out[0] = '\0';
    if (a->ss_family == AF_UNIX) {
        memcpy(out, "unix", sizeof("unix"));
    } else if (a->ss_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(in6)) {
            (void)inet_ntop(AF_INET, in6->s6_addr + 12, out, INET6_ADDRSTRLEN);
        } else {
            (void)inet_ntop(AF_INET6, in6, out, INET6_ADDRSTRLEN);
        }
    } else {
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, out,
                        INET6_ADDRSTRLEN);
    }
}

void listen_format(const struct sockaddr_storage *a, char *out)
{
    char host[INET6_ADDRSTRLEN];
    if (a->ss_family == AF_UNIX) {
        local_format(a, out);
        return;
    }
    listen_peer(a, host);
    int is_v6 = strchr(host, ':') != NULL;
    (void)snprintf(out, NET_ADDRESS_MAX, is_v6 ? "[%s]:%u" : "%s:%u", host, port_of(a));
}

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value));
}

static int set_options(int fd, int is_shared, const struct sockaddr_storage *a)
{
    int bad = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    bad |= is_shared ? set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) : 0;
    bad |= a->ss_family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) : 0;
    bad |= set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    bad |= set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    bad |= set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    bad |= set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_STEP_S);
    bad |= set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    bad |= set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS);
    return bad;
}

int listen_bind(const struct sockaddr_storage *a, int is_shared, struct err *e, int *out_fd)
{
    char text[NET_ADDRESS_MAX];
    listen_format(a, text);
    socklen_t len =
        a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_set(e, MU_E_IO, "socket for %s: %s", text, strerror(errno));
    }
    if (set_options(fd, is_shared, a) != 0 || bind(fd, (const struct sockaddr *)a, len) != 0 ||
        listen(fd, BACKLOG) != 0) {
        int code = err_set(e, MU_E_IO, "listening on %s: %s", text, strerror(errno));
        close(fd);
        return code;
    }
    *out_fd = fd;
    return 0;
}

/* The first connection of the queue finds no free descriptor and stays there; so as not to spin,
 * the listener rests for a moment. */
static int is_out_of_files(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void refuse(struct worker *w, int fd)
{
    net_count(&w->n.refused, 1);
    close(fd);
}

static void take(struct listener *l, int fd, const struct sockaddr_storage *peer)
{
    struct workers *all = l->w->all;
    uint32_t source = 0;
    if (atomic_fetch_add_explicit(&all->n_connections, 1, memory_order_relaxed) >=
        all->limits.connections) {
        atomic_fetch_sub_explicit(&all->n_connections, 1, memory_order_relaxed);
        refuse(l->w, fd);
        return;
    }
    if (sources_enter(&all->sources, peer, &source) != 0) {
        atomic_fetch_sub_explicit(&all->n_connections, 1, memory_order_relaxed);
        refuse(l->w, fd);
        return;
    }
    net_conn_open(l, fd, peer, source);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void on_rested(struct worker_timer *t)
{
    struct listener *l = CONTAINER_OF(t, struct listener, rest);
    if (l->is_open) {
        (void)uv_poll_start(&l->poll, UV_READABLE, on_poll);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < NET_ACCEPT_BATCH; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof(peer);
        int fd = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            l->is_rest_told = 0;
            take(l, fd, &peer);
        } else if (is_out_of_files(errno)) {
            if (!l->is_rest_told) {
                log_warn("net", "no descriptors left for new connections");
            }
            l->is_rest_told = 1;
            (void)uv_poll_stop(&l->poll);
            l->rest.fire = on_rested;
            worker_timer_start(l->w, &l->rest, NET_REST_MS);
            return;
        } else if (errno == EAGAIN) {
            return;
        } /* else the peer went away in the queue: the next one */
    }
}

int listener_start(struct listener *l)
{
    l->poll.data = l;
    if (uv_poll_init(&l->w->loop, &l->poll, l->fd) != 0) {
        return MU_E_IO;
    }
    l->is_open = 1;
    return uv_poll_start(&l->poll, UV_READABLE, on_poll) == 0 ? 0 : MU_E_IO;
}

static void on_closed(uv_handle_t *h)
{
    struct listener *l = h->data;
    close(l->fd);
    l->fd = -1;
}

void listener_stop(struct listener *l)
{
    if (l->is_open) {
        on_poll(&l->poll, 0,
                UV_READABLE); /* who is in the queue already is not turned away with a reset */
        l->is_open = 0;
        worker_timer_stop(l->w, &l->rest);
        uv_close((uv_handle_t *)&l->poll, on_closed);
    }
}
