/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams: many for one system call, all of a batch answered from one look at the data. */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/dns/dns_impl.h"

struct dns_udp_batch {
    struct mmsghdr in[DNS_UDP_BATCH], out[DNS_UDP_BATCH];
    struct iovec in_bytes[DNS_UDP_BATCH], out_bytes[DNS_UDP_BATCH];
    struct sockaddr_storage peers[DNS_UDP_BATCH];
    _Alignas(struct cmsghdr) uint8_t controls[DNS_UDP_BATCH][DNS_CONTROL_MAX];
    uint8_t queries[DNS_UDP_BATCH][DNS_UDP_READ_MAX];
    uint8_t answers[DNS_UDP_BATCH][DNS_UDP_MAX];
};

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value));
}

/* On an address that means "all of mine" an answer must leave from the one that was asked. */
static int tell_destination(int fd, const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)a;
        return in->sin_addr.s_addr == htonl(INADDR_ANY) ? set_int(fd, IPPROTO_IP, IP_PKTINFO, 1)
                                                        : 0;
    }
    const struct sockaddr_in6 *in6 = (const void *)a;
    return IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) ? set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                                                    : 0;
}

int dns_udp_bind(const struct sockaddr_storage *a, int is_shared, int *out_fd)
{
    enum { BUFFER = 1024 * 1024 };
    int fd = socket(a->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    socklen_t len =
        a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int bad = is_shared ? set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) : 0;
    bad |= a->ss_family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) : 0;
    bad |= tell_destination(fd, a);
    (void)set_int(fd, SOL_SOCKET, SO_RCVBUF, BUFFER);
    (void)set_int(fd, SOL_SOCKET, SO_SNDBUF, BUFFER);
    if (bad != 0 || bind(fd, (const struct sockaddr *)a, len) != 0) {
        int code = -errno;
        close(fd);
        return code;
    }
    *out_fd = fd;
    return 0;
}

/* What came with the datagram goes back with the answer, but for the interface: the way back is the
 * kernel's business. */
static size_t turn_control(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            ((struct in_pktinfo *)(void *)CMSG_DATA(c))->ipi_ifindex = 0;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo *i = (void *)CMSG_DATA(c);
            if (!IN6_IS_ADDR_LINKLOCAL(&i->ipi6_addr)) {
                i->ipi6_ifindex = 0;
            }
        }
    }
    return m->msg_controllen;
}

static void client_of(struct dns_port *p, struct dns_udp_batch *b, unsigned i,
                      const uint8_t address[16], struct dns_client *out)
{
    *out = (struct dns_client){.l = p->l, .port = p};
    memcpy(out->address, address, 16);
    out->peer = b->peers[i];
    out->peer_len = b->in[i].msg_hdr.msg_namelen;
    out->control_len = turn_control(&b->in[i].msg_hdr);
    memcpy(out->control, b->controls[i], out->control_len);
}

/* One datagram; the length of what is to be sent at once, or 0. */
static size_t answer_one(struct dns_port *p, void *look, unsigned i, int64_t now)
{
    struct dns_local *l = p->l;
    struct dns_udp_batch *b = l->batch;
    struct dns_reply r = {.out = b->answers[i]};
    struct dns_ask ask;
    struct dns_client client;
    uint8_t address[16];
    if ((b->in[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) {
        dns_count(&l->n.dropped, 1);
        return 0;
    }
    dns_address_of(&b->peers[i], address);
    dns_ask_begin(l, slice_of(b->queries[i], b->in[i].msg_len), address, &ask);
    ask.look = look;
    enum dns_verdict verdict = dns_limit_ask(&l->limit, address, now);
    if (verdict != DNS_VERDICT_ANSWER) {
        dns_count(&l->n.limited, 1);
        return verdict == DNS_VERDICT_SLIP && dns_truncated(&ask, &r) == DNS_SEND ? r.out_len : 0;
    }
    enum dns_outcome outcome = dns_answer(&ask, &r);
    switch (outcome) {
    case DNS_SEND:
        return r.out_len;
    case DNS_DROP:
        dns_count(&l->n.dropped, 1);
        return 0;
    default:
        client_of(p, b, i, address, &client);
        return dns_forward(&client, &ask, &r, outcome) ? r.out_len : 0;
    }
}

static void send_all(struct dns_port *p, unsigned n)
{
    struct dns_udp_batch *b = p->l->batch;
    for (unsigned at = 0; at < n;) {
        int sent = sendmmsg(p->fd, b->out + at, n - at, MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0 && (errno == EAGAIN || errno == ENOBUFS)) {
            dns_count(&p->l->n.dropped, n - at); /* clients ask again */
            return;
        }
        at += sent > 0 ? (unsigned)sent : 1; /* that one cannot be sent to */
    }
    dns_count(&p->l->n.answers, n);
}

static void answer_batch(struct dns_port *p, unsigned n)
{
    struct dns_local *l = p->l;
    struct dns_udp_batch *b = l->batch;
    int64_t now = clock_mono_ms();
    void *look = l->source->open(l->source);
    unsigned n_out = 0;
    dns_count(&l->n.udp_queries, n);
    for (unsigned i = 0; i < n; i++) {
        size_t len = answer_one(p, look, i, now);
        if (len == 0) {
            continue;
        }
        b->out_bytes[n_out] = (struct iovec){b->answers[i], len};
        b->out[n_out].msg_hdr = (struct msghdr){.msg_name = &b->peers[i],
                                                .msg_namelen = b->in[i].msg_hdr.msg_namelen,
                                                .msg_iov = &b->out_bytes[n_out],
                                                .msg_iovlen = 1};
        size_t control = turn_control(&b->in[i].msg_hdr);
        if (control != 0) {
            b->out[n_out].msg_hdr.msg_control = b->controls[i];
            b->out[n_out].msg_hdr.msg_controllen = control;
        }
        n_out++;
    }
    if (look != NULL) {
        l->source->close(l->source, look);
    }
    send_all(p, n_out);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct dns_port *p = poll->data;
    struct dns_udp_batch *b = p->l->batch;
    (void)status, (void)events;
    for (unsigned k = 0; k < DNS_UDP_BATCHES; k++) {
        for (unsigned i = 0; i < DNS_UDP_BATCH; i++) {
            b->in_bytes[i] = (struct iovec){b->queries[i], DNS_UDP_READ_MAX};
            b->in[i].msg_hdr = (struct msghdr){.msg_name = &b->peers[i],
                                               .msg_namelen = sizeof(b->peers[i]),
                                               .msg_iov = &b->in_bytes[i],
                                               .msg_iovlen = 1,
                                               .msg_control = b->controls[i],
                                               .msg_controllen = DNS_CONTROL_MAX};
        }
        int n = recvmmsg(p->fd, b->in, DNS_UDP_BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0) {
            return; /* nothing more, or an error that somebody's host reported */
        }
        answer_batch(p, (unsigned)n);
        if (n < DNS_UDP_BATCH) {
            return;
        }
    }
}

void dns_udp_start(struct dns_port *p)
{
    if (p->l->batch == NULL) {
        p->l->batch = mem_zalloc(sizeof(*p->l->batch));
    }
    p->poll.data = p;
    MU_INVARIANT(uv_poll_init(worker_loop(p->l->w), &p->poll, p->fd) == 0);
    p->is_open = 1;
    MU_INVARIANT(uv_poll_start(&p->poll, UV_READABLE, on_readable) == 0);
}

void dns_udp_send(const struct dns_client *c, struct slice message)
{
    struct iovec bytes = {(void *)(uintptr_t)message.p, message.len};
    struct msghdr m = {.msg_name = (void *)(uintptr_t)&c->peer,
                       .msg_namelen = c->peer_len,
                       .msg_iov = &bytes,
                       .msg_iovlen = 1};
    if (c->control_len != 0) {
        m.msg_control = (void *)(uintptr_t)c->control;
        m.msg_controllen = c->control_len;
    }
    if (c->port->is_open && sendmsg(c->port->fd, &m, MSG_DONTWAIT) >= 0) {
        dns_count(&c->l->n.answers, 1);
    } else {
        dns_count(&c->l->n.dropped, 1);
    }
}

void dns_udp_fini(struct dns_local *l)
{
    mem_free(l->batch);
    l->batch = NULL;
}
