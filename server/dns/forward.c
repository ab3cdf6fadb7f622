/* SPDX-License-Identifier: Apache-2.0 */
/* Names that are not ours: the question goes to a recursor as it came, but for its id, and the
 * answer comes back as it is; or, for an alias of ours, only addresses are asked for.
 *
 * c-ares owns sockets and retries; a socket is polled on the worker's loop, time-outs come from the
 * worker's wheel. Its callback may fire from inside the call that asks: such an answer waits for
 * the next turn, so that nobody is answered in the middle of something. When the worker stops, what
 * is under way is dropped. */
#include <ares.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/dns/dns_impl.h"

struct dns_socket {
    uv_poll_t poll;
    struct dns_forwarder *f;
    ares_channel channel;
    ares_socket_t fd;
    struct dns_socket *next;
};

/* What a channel's callbacks get. */
struct dns_channel {
    struct dns_forwarder *f;
    ares_channel ares;
};

struct dns_forwarder {
    struct dns_local *l;
    struct dns_channel udp, tcp; /* to ask by; a client that came by TCP is asked for by TCP */
    struct dns_socket *sockets;
    struct forward *laters; /* answered inside the call that asked */
    struct worker_timer timer;
    size_t n_waiting;
    int is_stopping;
};

struct forward {
    struct dns_client client;
    struct dns_forwarder *f;
    enum dns_outcome kind;
    uint16_t udp_size, type;
    int is_asking; /* inside the call that asks */
    int is_ok;
    struct worker_timer later;
    struct forward *next; /* in laters */
    struct buf answer;
    size_t packet_len;
    uint8_t packet[DNS_QUERY_MAX];
};

/* --- sockets and time --- */

static void on_socket_closed(uv_handle_t *h)
{
    mem_free(h->data);
}

static void arm(struct dns_forwarder *f)
{
    enum { STEP_MS = 50 };
    if (f->n_waiting > 0 && !f->is_stopping) {
        worker_timer_start(f->l->w, &f->timer, STEP_MS);
    } else {
        worker_timer_stop(f->l->w, &f->timer);
    }
}

static void on_timer(struct worker_timer *t)
{
    struct dns_forwarder *f = CONTAINER_OF(t, struct dns_forwarder, timer);
    ares_process_fd(f->udp.ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    ares_process_fd(f->tcp.ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(f);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct dns_socket *s = poll->data;
    struct dns_forwarder *f = s->f;
    int is_readable = status < 0 || (events & UV_READABLE) != 0;
    int is_writable = status < 0 || (events & UV_WRITABLE) != 0;
    ares_process_fd(s->channel, is_readable ? s->fd : ARES_SOCKET_BAD,
                    is_writable ? s->fd : ARES_SOCKET_BAD);
    arm(f); /* s may be gone */
}

static void on_socket_state(void *arg, ares_socket_t fd, int is_read, int is_written)
{
    struct dns_channel *c = arg;
    struct dns_forwarder *f = c->f;
    struct dns_socket **at = &f->sockets;
    while (*at != NULL && (*at)->fd != fd) {
        at = &(*at)->next;
    }
    struct dns_socket *s = *at;
    if (!is_read && !is_written) {
        if (s != NULL) {
            *at = s->next;
            uv_close((uv_handle_t *)&s->poll, on_socket_closed);
        }
        return;
    }
    if (s == NULL) {
        s = mem_zalloc(sizeof(*s));
        s->f = f;
        s->channel = c->ares;
        s->fd = fd;
        s->poll.data = s;
        if (uv_poll_init(worker_loop(f->l->w), &s->poll, fd) != 0) {
            mem_free(s); /* its time-out will tell */
            return;
        }
        s->next = f->sockets;
        f->sockets = s;
    }
    (void)uv_poll_start(&s->poll, (is_read ? UV_READABLE : 0) | (is_written ? UV_WRITABLE : 0),
                        on_socket);
}

/* --- answers --- */

/* With `found`, the question is answered anew. */
static void answer_alias(struct forward *w, struct dns_reply *r)
{
    struct dns_local *l = w->f->l;
    struct dns_found found[DNS_FOUND_MAX];
    size_t n_found = 0;
    struct dns_ask ask;
    int n = DNS_FOUND_MAX;
    struct ares_addrttl v4[DNS_FOUND_MAX];
    struct ares_addr6ttl v6[DNS_FOUND_MAX];
    memset(found, 0, sizeof(found));
    if (w->is_ok && w->type == DNS_TYPE_AAAA &&
        ares_parse_aaaa_reply(w->answer.p, (int)w->answer.len, NULL, v6, &n) == ARES_SUCCESS) {
        for (; n_found < (size_t)n; n_found++) {
            memcpy(found[n_found].address, &v6[n_found].ip6addr, 16);
            found[n_found].ttl = (uint32_t)v6[n_found].ttl;
        }
    } else if (w->is_ok && w->type == DNS_TYPE_A &&
               ares_parse_a_reply(w->answer.p, (int)w->answer.len, NULL, v4, &n) == ARES_SUCCESS) {
        for (; n_found < (size_t)n; n_found++) {
            memset(found[n_found].address + 10, 0xff, 2);
            memcpy(found[n_found].address + 12, &v4[n_found].ipaddr, 4);
            found[n_found].is_v4 = 1;
            found[n_found].ttl = (uint32_t)v4[n_found].ttl;
        }
    }
    dns_ask_begin(l, slice_of(w->packet, w->packet_len), w->client.address, &ask);
    ask.is_tcp = w->client.conn != NULL;
    ask.found = found;
    ask.n_found = n_found;
    ask.look = l->source->open(l->source);
    if (dns_answer(&ask, r) != DNS_SEND) {
        dns_refuse(&ask, r, DNS_SERVFAIL);
    }
    if (ask.look != NULL) {
        l->source->close(l->source, ask.look);
    }
}

static void answer_passed(struct forward *w, struct dns_reply *r)
{
    struct dns_ask ask;
    dns_ask_begin(w->f->l, slice_of(w->packet, w->packet_len), w->client.address, &ask);
    ask.is_tcp = w->client.conn != NULL;
    if (!w->is_ok) {
        MU_INVARIANT(dns_query_parse(ask.packet, &r->query) == 0);
        dns_refuse(&ask, r, DNS_SERVFAIL);
        return;
    }
    if (!ask.is_tcp && w->answer.len > w->udp_size) {
        MU_INVARIANT(dns_truncated(&ask, r) == DNS_SEND);
        return;
    }
    r->out = w->answer.p;
    r->out_len = w->answer.len;
    memcpy(r->out, w->packet, 2); /* the client's id */
}

static void finish(struct forward *w)
{
    struct dns_forwarder *f = w->f;
    struct dns_conn *conn = w->client.conn;
    struct dns_reply r = {.out = f->l->message};
    int is_gone = w->client.port == NULL && conn == NULL;
    if (!w->is_ok) {
        dns_count(&f->l->n.forward_failures, 1);
    }
    if (conn != NULL) {
        dns_tcp_paid(conn, &w->client);
    }
    if (!is_gone && !f->is_stopping) {
        if (w->kind == DNS_RESOLVE) {
            answer_alias(w, &r);
        } else {
            answer_passed(w, &r);
        }
        if (conn != NULL) {
            dns_tcp_send(conn, slice_of(r.out, r.out_len));
        } else {
            dns_udp_send(&w->client, slice_of(r.out, r.out_len));
        }
    }
    f->n_waiting--;
    buf_fini(&w->answer);
    mem_free(w);
}

static void finish_later(struct forward *w)
{
    struct forward **at = &w->f->laters;
    while (*at != w) {
        at = &(*at)->next;
    }
    *at = w->next;
    worker_timer_stop(w->f->l->w, &w->later);
    finish(w);
}

static void on_later(struct worker_timer *t)
{
    finish_later(CONTAINER_OF(t, struct forward, later));
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *p, int len)
{
    struct forward *w = arg;
    (void)timeouts;
    w->is_ok = status == ARES_SUCCESS && len >= DNS_HEAD_SIZE && len <= DNS_MESSAGE_MAX;
    if (w->is_ok) {
        buf_append(&w->answer, p, (size_t)len);
    }
    if (w->is_asking) {
        w->is_asking = 0;
        w->later.fire = on_later;
        w->next = w->f->laters;
        w->f->laters = w;
        worker_timer_start(w->f->l->w, &w->later, 0);
    } else {
        finish(w);
    }
}

/* --- questions --- */

static void pass(struct forward *w, ares_channel channel, const struct dns_query *q)
{
    uint8_t packet[DNS_QUERY_MAX];
    uint64_t id = rnd_u64();
    memcpy(packet, w->packet, w->packet_len);
    memcpy(packet, &id, 2);
    if (q->has_edns && q->udp_size > DNS_UDP_MAX) {
        packet[q->size_at] = DNS_UDP_MAX >> 8;
        packet[q->size_at + 1] = DNS_UDP_MAX & 0xff;
    }
    ares_send(channel, packet, (int)w->packet_len, on_answer, w);
}

static void resolve(struct forward *w, ares_channel channel, const struct dns_name *wanted)
{
    char name[DNS_NAME_MAX * 4 + 2];
    dns_name_format(wanted, name);
    ares_query(channel, name, DNS_CLASS_IN, w->type, on_answer, w);
}

int dns_forward(const struct dns_client *c, const struct dns_ask *a, struct dns_reply *r,
                enum dns_outcome outcome)
{
    struct dns_forwarder *f = c->l->forwarder;
    if (f == NULL || f->is_stopping || f->n_waiting >= DNS_FORWARDS_MAX) {
        dns_refuse(a, r, DNS_SERVFAIL);
        return 1;
    }
    dns_count(&c->l->n.forwarded, 1);
    struct forward *w = mem_zalloc(sizeof(*w));
    w->client = *c;
    w->f = f;
    w->kind = outcome;
    w->udp_size = r->query.udp_size < DNS_UDP_MAX ? r->query.udp_size : DNS_UDP_MAX;
    w->type = r->query.type == DNS_TYPE_AAAA ? DNS_TYPE_AAAA : DNS_TYPE_A;
    w->packet_len = a->packet.len;
    memcpy(w->packet, a->packet.p, a->packet.len);
    f->n_waiting++;
    if (c->conn != NULL) {
        dns_tcp_owe(c->conn, &w->client);
    }
    ares_channel channel = a->is_tcp ? f->tcp.ares : f->udp.ares;
    w->is_asking = 1;
    if (outcome == DNS_RESOLVE) {
        resolve(w, channel, &r->wanted);
    } else {
        pass(w, channel, &r->query);
    }
    /* If it was answered inside, the flag is gone, but w lives until the next turn. */
    w->is_asking = 0;
    arm(f);
    return 0;
}

/* --- life --- */

static int open_channel(const struct dns_options *o, int flags, void *arg, ares_channel *out)
{
    struct ares_options ao = {.flags = flags,
                              .timeout = (int)o->recursor_timeout_ms,
                              .tries = 1,
                              .sock_state_cb = on_socket_state,
                              .sock_state_cb_data = arg};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    mask |= o->is_recursor_random ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE;
    int rc = ares_init_options(out, &ao, mask);
    if (rc != ARES_SUCCESS) {
        return rc;
    }
    rc = ares_set_servers_ports_csv(*out, o->recursors);
    if (rc != ARES_SUCCESS) {
        ares_destroy(*out);
    }
    return rc;
}

int dns_forward_check(const struct dns_options *o, struct err *e)
{
    ares_channel channel;
    int rc = ares_library_init(ARES_LIB_INIT_ALL);
    rc = rc == ARES_SUCCESS ? open_channel(o, 0, NULL, &channel) : rc;
    if (rc != ARES_SUCCESS) {
        return rc == ARES_EBADSTR
                   ? err_set(e, MU_E_BAD_REQUEST,
                             "dns.recursors: \"%.120s\" is not ADDRESS, ADDRESS:PORT or several "
                             "of them with commas",
                             o->recursors)
                   : err_set(e, MU_E_BAD_REQUEST, "dns.recursors \"%.120s\": %s", o->recursors,
                             ares_strerror(rc));
    }
    ares_destroy(channel);
    return 0;
}

void dns_forward_start(struct dns_local *l)
{
    const struct dns *d = l->d;
    const struct dns_options o = {.recursors = d->recursors,
                                  .is_recursor_random = d->is_recursor_random,
                                  .recursor_timeout_ms = d->recursor_timeout_ms};
    struct dns_forwarder *f = mem_zalloc(sizeof(*f));
    f->l = l;
    f->udp.f = f->tcp.f = f;
    f->timer.fire = on_timer;
    int rc = open_channel(&o, ARES_FLAG_IGNTC, &f->udp, &f->udp.ares);
    rc = rc == ARES_SUCCESS ? open_channel(&o, ARES_FLAG_USEVC, &f->tcp, &f->tcp.ares) : rc;
    MU_INVARIANT(rc == ARES_SUCCESS); /* it was tried by dns_forward_check */
    l->forwarder = f;
}

void dns_forward_stop(struct dns_local *l)
{
    struct dns_forwarder *f = l->forwarder;
    if (f == NULL) {
        return;
    }
    f->is_stopping = 1;
    l->forwarder = NULL;
    ares_destroy(f->udp.ares);
    ares_destroy(f->tcp.ares);
    while (f->laters != NULL) {
        finish_later(f->laters);
    }
    while (f->sockets != NULL) {
        on_socket_state(&f->udp, f->sockets->fd, 0, 0);
    }
    worker_timer_stop(l->w, &f->timer);
    mem_free(f);
}
