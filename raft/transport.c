/* SPDX-License-Identifier: Apache-2.0 */
/* The whole of the peer transport: opening, the set of peers, the flush at the end of a turn,
 * closing.
 *
 * Frames that were queued are flushed by transport_flush, by our prepare handle, or - when they
 * were queued in between, in a later prepare callback - by the next turn's: the idle handle keeps
 * the loop from sleeping until then. */
#include "raft/transport.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "raft/transport_addr.h"
#include "raft/transport_impl.h"

/* --- flushing --- */

static void on_idle(uv_idle_t *i)
{
    (void)i; /* its being active keeps the loop from sleeping */
}

void transport_wake(struct transport *t)
{
    uv_idle_start(&t->idle, on_idle);
}

static struct peer_out *next_due(const struct transport *t)
{
    struct peer_out *o;
    LIST_FOREACH (o, &t->outs, entry) {
        if (o->is_down_due) {
            return o;
        }
    }
    return NULL;
}

void transport_flush(struct transport *t)
{
    struct peer_out *o;
    struct peer_conn *c;
    uv_idle_stop(&t->idle);
    while ((o = next_due(t)) != NULL) {
        peer_out_tell(o);
    }
    while ((c = LIST_FIRST(&t->dirty)) != NULL) {
        peer_conn_flush(c);
    }
}

static void on_prepare(uv_prepare_t *p)
{
    transport_flush(p->data);
}

/* --- opening --- */

int transport_is_plain_ok(const struct transport *t, const struct sockaddr *sa)
{
    return t->tls != NULL || t->o.allow_plaintext || peer_addr_is_loopback(sa);
}

static char *copy_of(const char *s)
{
    return s != NULL ? mem_strdup(s) : NULL;
}

static void transport_free(struct transport *t)
{
    peer_tls_ctx_unref(t->tls);
    mem_free((void *)t->o.self_name);
    mem_free((void *)t->o.listen);
    mem_free((void *)t->tls_files.cert_file);
    mem_free((void *)t->tls_files.key_file);
    mem_free((void *)t->tls_files.ca_file);
    mem_free(t->scratch);
    mem_free(t);
}

static struct transport *transport_new(const struct transport_options *o)
{
    struct transport *t = mem_zalloc(sizeof(*t));
    t->o = *o;
    t->o.self_name = mem_strdup(o->self_name);
    t->o.listen = copy_of(o->listen);
    if (o->tls != NULL) {
        t->tls_files.cert_file = copy_of(o->tls->cert_file);
        t->tls_files.key_file = copy_of(o->tls->key_file);
        t->tls_files.ca_file = copy_of(o->tls->ca_file);
        t->o.tls = &t->tls_files;
    }
    t->run = rnd_u64();
    t->listen_fd = -1;
    t->scratch = mem_alloc(PEER_SCRATCH);
    LIST_INIT(&t->conns);
    LIST_INIT(&t->dirty);
    LIST_INIT(&t->outs);
    TAILQ_INIT(&t->strangers);
    TAILQ_INIT(&t->ins);
    return t;
}

static void start_handles(struct transport *t)
{
    uv_prepare_init(t->o.loop, &t->prepare);
    uv_idle_init(t->o.loop, &t->idle);
    t->prepare.data = t->idle.data = t;
    t->n_handles += 2;
    uv_prepare_start(&t->prepare, on_prepare);
    uv_unref((uv_handle_t *)&t->prepare); /* what waits keeps the loop, not this */
}

int transport_open(const struct transport_options *o, struct transport **out, struct err *e)
{
    MU_INVARIANT(o->self != 0 && strlen(o->self_name) <= PEER_NAME_MAX);
    struct transport *t = transport_new(o);
    int rc = o->tls != NULL ? transport_reload_tls(t, e) : 0;
    if (rc == 0 && o->listen != NULL) {
        rc = peer_in_listen(t, e);
    }
    if (rc == 0 && t->listen_fd >= 0) {
        int uv = peer_in_start(t);
        if (uv != 0) {
            close(t->listen_fd);
            rc = err_set(e, MU_E_IO, "peer listener %s: %s", o->listen, uv_strerror(uv));
        }
    }
    if (rc != 0) {
        transport_free(t);
        return rc;
    }
    start_handles(t);
    *out = t;
    return 0;
}

int transport_reload_tls(struct transport *t, struct err *e)
{
    struct peer_tls_ctx *fresh = NULL;
    if (t->o.tls == NULL) {
        return 0; /* nothing to load */
    }
    int rc = peer_tls_load(t->o.tls, t->o.self_name, &fresh, e);
    if (rc != 0) {
        return err_wrap(e, "TLS between peers");
    }
    peer_tls_ctx_unref(t->tls);
    t->tls = fresh;
    return 0;
}

/* --- the set of peers --- */

static const struct transport_peer *find(const struct transport_peer *peers, size_t n,
                                         mu_node_id id)
{
    for (size_t i = 0; i < n; i++) {
        if (peers[i].id == id) {
            return &peers[i];
        }
    }
    return NULL;
}

void transport_set_peers(struct transport *t, const struct transport_peer *peers, size_t n)
{
    struct peer_out *o = LIST_FIRST(&t->outs);
    if (t->is_closing) {
        return;
    }
    while (o != NULL) {
        struct peer_out *next = LIST_NEXT(o, entry);
        const struct transport_peer *p = find(peers, n, o->id);
        if (p == NULL || strcmp(p->name, o->name) != 0) {
            peer_out_drop(o);
        } else if (strcmp(p->address, o->address) != 0) {
            peer_out_move(o, p->address);
        }
        o = next;
    }
    for (size_t i = 0; i < n; i++) {
        MU_INVARIANT(peers[i].id != 0 && peers[i].id != t->o.self);
        if (peer_out_find(t, peers[i].id) == NULL) {
            peer_out_add(t, &peers[i]);
        }
    }
    peer_in_check(t);
}

int transport_send(struct transport *t, mu_node_id to, uint8_t type, const struct slice *parts,
                   size_t n_parts)
{
    struct peer_out *o = t->is_closing ? NULL : peer_out_find(t, to);
    MU_INVARIANT(type <= PEER_FRAME_TYPE_MAX);
    if (peer_frame_len(parts, n_parts) > TRANSPORT_FRAME_MAX) {
        return MU_E_TOO_LARGE;
    }
    return o != NULL ? peer_out_send(o, type, parts, n_parts) : MU_E_CLOSED;
}

/* --- questions --- */

uint64_t transport_queued(const struct transport *t, mu_node_id to)
{
    const struct peer_out *o = peer_out_find(t, to);
    return o != NULL && o->conn != NULL ? peer_conn_queued(o->conn) : 0;
}

int transport_is_up(const struct transport *t, mu_node_id to)
{
    const struct peer_out *o = peer_out_find(t, to);
    return o != NULL && o->state == PEER_UP;
}

const char *transport_why_down(const struct transport *t, mu_node_id to)
{
    const struct peer_out *o = peer_out_find(t, to);
    if (o == NULL) {
        return "not a peer";
    }
    return o->state == PEER_UP ? "" : o->why;
}

uint16_t transport_port(const struct transport *t)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof(sa);
    if (t->listen_fd < 0 || getsockname(t->listen_fd, (struct sockaddr *)&sa, &len) != 0) {
        return 0;
    }
    return peer_addr_port((const struct sockaddr *)&sa);
}

void transport_stats(const struct transport *t, struct transport_stats *out)
{
    *out = t->stats;
}

int64_t transport_tls_not_after(const struct transport *t)
{
    return t->tls != NULL ? peer_tls_not_after(t->tls) : 0;
}

/* --- closing --- */

void transport_one_closed(struct transport *t)
{
    MU_INVARIANT(t->n_handles > 0);
    if (--t->n_handles == 0 && t->is_closing) {
        void (*closed)(void *arg) = t->closed;
        void *arg = t->closed_arg;
        transport_free(t);
        closed(arg);
    }
}

static void on_handle_closed(uv_handle_t *h)
{
    transport_one_closed(h->data);
}

void transport_close(struct transport *t, void (*closed)(void *arg), void *arg)
{
    MU_INVARIANT(!t->is_closing);
    t->is_closing = 1;
    t->closed = closed;
    t->closed_arg = arg;
    transport_flush(t); /* what was sent before should leave */
    while (!LIST_EMPTY(&t->outs)) {
        peer_out_drop(LIST_FIRST(&t->outs));
    }
    peer_in_stop(t);
    while (!LIST_EMPTY(&t->conns)) {
        peer_conn_close(LIST_FIRST(&t->conns)); /* those that were draining */
    }
    uv_close((uv_handle_t *)&t->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&t->idle, on_handle_closed);
}
