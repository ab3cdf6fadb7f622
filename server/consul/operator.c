/* SPDX-License-Identifier: Apache-2.0 */
/* What operators ask about and do to the cluster
 * (https://developer.hashicorp.com/consul/api-docs/operator). */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "server/consul/autopilot.h"
#include "server/consul/change.h"
#include "server/consul/list.h"

/* --- autopilot: its settings are kept and told; what it does is not left to settings here --- */

static const char defaults[] =
    "{\"CleanupDeadServers\":true,\"LastContactThreshold\":\"200ms\",\"MaxTrailingLogs\":250,"
    "\"MinQuorum\":0,\"ServerStabilizationTime\":\"10s\",\"RedundancyZoneTag\":\"\","
    "\"DisableUpgradeMigration\":false,\"UpgradeVersionTag\":\"\"}";

static void put_int(struct jw *w, const char *name, int64_t n)
{
    jw_key(w, name);
    jw_i64(w, n);
}

static void put_bool(struct jw *w, const char *name, int v)
{
    jw_key(w, name);
    jw_bool(w, v);
}

static void put_text(struct jw *w, const char *name, struct slice s)
{
    jw_key(w, name);
    jw_slice(w, s);
}

/* What nobody wrote yet is at index 1. */
static int render_settings(struct consul_read *g, struct view *v, struct buf *out)
{
    struct record_row row;
    struct jw w;
    int may = access_allows(g->who, ACCESS_OPERATOR, slice_of(NULL, 0), ACCESS_READ);
    int rc = may ? view_record(v, AUTOPILOT_KIND, AUTOPILOT_NAME, &row) : MU_E_DENIED;
    if (rc == MU_E_NOT_FOUND) {
        row = (struct record_row){.meta = {.create_rev = 1, .mod_rev = 1},
                                  .body = slice_str(defaults)};
        rc = 0;
    }
    if (rc == 0) {
        list_raise(g, row.meta.mod_rev);
        jw_init(&w, out);
        consul_record_show(&w, &row);
    }
    return rc;
}

void consul_operator_autopilot(struct consul_call *k)
{
    struct consul_read *g =
        consul_may(k, ACCESS_OPERATOR, slice_of(NULL, 0), ACCESS_READ) ? consul_read_new(k) : NULL;
    if (g != NULL) {
        consul_record_watch(g, AUTOPILOT_KIND);
        consul_read_start(g, render_settings);
    }
}

static int plan_settings(struct consul_change *h, struct view *v)
{
    const struct autopilot *a = h->data;
    struct record_row row;
    int is_first = view_record(v, AUTOPILOT_KIND, AUTOPILOT_NAME, &row) == MU_E_NOT_FOUND;
    if (!a->has_cas) {
        consul_change_set(h, AUTOPILOT_KIND, AUTOPILOT_NAME, a->text);
    } else {
        uint64_t expect = is_first && a->expect == 1 ? 0 : a->expect == 0 ? UINT64_MAX : a->expect;
        consul_change_cas(h, AUTOPILOT_KIND, AUTOPILOT_NAME, a->text, expect);
    }
    return 0;
}

static void settings_written(struct consul_write *w)
{
    const struct consul_change *h = w->data;
    int rc = consul_change_outcome(w);
    if (rc >= 0) {
        consul_bool(w->r, ((const struct autopilot *)h->data)->has_cas ? rc : 1);
    }
}

/* ?cas=: 0, or -1 and answered. */
static int take_cas(struct consul_call *k, struct autopilot *a)
{
    struct slice s;
    a->has_cas = http_query(k->r, "cas", &s);
    int rc = a->has_cas ? text_u64(s, UINT64_MAX, &a->expect) : 0;
    if (rc != 0) {
        consul_text(k->r, 400, "Error parsing cas value: strconv.ParseUint: parsing \"%.*s\": %s",
                    SLICE_FMT(s), rc == MU_E_RANGE ? "value out of range" : "invalid syntax");
    }
    return rc != 0 ? -1 : 0;
}

void consul_operator_autopilot_put(struct consul_call *k)
{
    struct autopilot *a = http_alloc(k->r, sizeof(*a));
    *a = (struct autopilot){0};
    if (!consul_may(k, ACCESS_OPERATOR, slice_of(NULL, 0), ACCESS_WRITE) || consul_dc(k) != 0 ||
        take_cas(k, a) != 0) {
        return;
    }
    struct body b = {.alloc = (void *(*)(void *, size_t))http_alloc, .arg = k->r};
    if (body_read(&b, http_body(k->r), &autopilot_table, a) != 0) {
        consul_text(k->r, 400, "Error parsing autopilot config: %s", b.error);
        return;
    }
    struct buf text;
    buf_init(&text);
    autopilot_text(a, &text);
    a->text = consul_keep(k->r, buf_slice(&text));
    buf_fini(&text);
    consul_change_start(consul_change_new(k, a), plan_settings, settings_written);
}

/* --- how healthy the servers are --- */

/* As Go writes a duration. */
static struct slice contact_of(const struct replica_member_status *m, char text[32])
{
    long long ms = m->is_self || m->last_heard_ms < 0 ? 0 : (long long)m->last_heard_ms;
    (void)snprintf(text, 32, "%lld%s", ms, ms == 0 ? "s" : "ms");
    return slice_str(text);
}

static void server_health(struct jw *w, const struct replica_status *s,
                          const struct replica_member_status *m)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)m->m.id);
    jw_obj(w);
    put_text(w, "ID", slice_str(text));
    put_text(w, "Name", slice_str(m->m.name));
    put_text(w, "Address", slice_str(m->m.address));
    put_text(w, "SerfStatus", consul_is_well(m) ? SLICE_LIT("alive") : SLICE_LIT("failed"));
    put_text(w, "Version", SLICE_LIT(CONSUL_API_VERSION));
    put_bool(w, "Leader", m->m.id == s->leader);
    put_text(w, "LastContact", contact_of(m, text));
    put_int(w, "LastTerm", (int64_t)s->term);
    put_int(w, "LastIndex", (int64_t)(m->is_self ? s->last : m->match));
    put_bool(w, "Healthy", consul_is_well(m));
    put_bool(w, "Voter", m->m.is_voter);
    put_text(w, "StableSince", SLICE_LIT("1970-01-01T00:00:00Z"));
    jw_end(w);
}

static void health_done(struct core_request *q)
{
    struct consul_status *s = CONTAINER_OF(q, struct consul_status, a.q);
    struct consul_tally t;
    struct jw w;
    if (q->code != 0) {
        consul_fail(s->r, q->code, q->err.text);
        return;
    }
    consul_tally(&s->status, &t);
    jw_init(&w, http_scratch(s->r));
    jw_obj(&w);
    put_bool(&w, "Healthy", t.is_all);
    put_int(&w, "FailureTolerance", t.tolerance);
    jw_key(&w, "Servers");
    jw_arr(&w);
    for (size_t i = 0; i < s->status.n_members; i++) {
        server_health(&w, &s->status, &s->status.members[i]);
    }
    jw_end(&w);
    jw_end(&w);
    consul_json(s->r, t.is_all ? 200 : 429, buf_slice(w.out));
}

static void put_id(struct jw *w, uint64_t id)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)id);
    jw_str(w, text);
}

/* The same, in the shape of Consul's autopilot since 1.9. */
static void server_state(struct jw *w, const struct replica_status *s,
                         const struct replica_member_status *m)
{
    char text[32];
    int is_leader = m->m.id == s->leader;
    (void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)m->m.id);
    jw_key(w, text);
    jw_obj(w);
    put_text(w, "ID", slice_str(text));
    put_text(w, "Name", slice_str(m->m.name));
    put_text(w, "Address", slice_str(m->m.address));
    put_text(w, "NodeStatus", consul_is_well(m) ? SLICE_LIT("alive") : SLICE_LIT("failed"));
    put_text(w, "Version", SLICE_LIT(CONSUL_API_VERSION));
    put_text(w, "LastContact", contact_of(m, text));
    put_int(w, "LastTerm", (int64_t)s->term);
    put_int(w, "LastIndex", (int64_t)(m->is_self ? s->last : m->match));
    put_bool(w, "Healthy", consul_is_well(m));
    put_text(w, "StableSince", SLICE_LIT("1970-01-01T00:00:00Z"));
    put_text(w, "Status",
             is_leader       ? SLICE_LIT("leader")
             : m->m.is_voter ? SLICE_LIT("voter")
                             : SLICE_LIT("non-voter"));
    jw_key(w, "Meta");
    jw_obj(w);
    jw_end(w);
    put_text(w, "NodeType", SLICE_LIT("voter"));
    jw_end(w);
}

static void state_done(struct core_request *q)
{
    struct consul_status *s = CONTAINER_OF(q, struct consul_status, a.q);
    struct consul_tally t;
    struct jw w;
    if (q->code != 0) {
        consul_fail(s->r, q->code, q->err.text);
        return;
    }
    consul_tally(&s->status, &t);
    jw_init(&w, http_scratch(s->r));
    jw_obj(&w);
    put_bool(&w, "Healthy", t.is_all);
    put_int(&w, "FailureTolerance", t.tolerance);
    put_int(&w, "OptimisticFailureTolerance", t.tolerance);
    jw_key(&w, "Servers");
    jw_obj(&w);
    for (size_t i = 0; i < s->status.n_members; i++) {
        server_state(&w, &s->status, &s->status.members[i]);
    }
    jw_end(&w);
    jw_key(&w, "Leader");
    if (s->status.leader != 0) {
        put_id(&w, s->status.leader);
    } else {
        jw_str(&w, "");
    }
    jw_key(&w, "Voters");
    jw_arr(&w);
    for (size_t i = 0; i < s->status.n_members; i++) {
        if (s->status.members[i].m.is_voter) {
            put_id(&w, s->status.members[i].m.id);
        }
    }
    jw_end(&w);
    jw_end(&w);
    consul_json(s->r, 200, buf_slice(w.out));
}

void consul_operator_state(struct consul_call *k)
{
    if (consul_may(k, ACCESS_OPERATOR, slice_of(NULL, 0), ACCESS_READ)) {
        consul_ask_status(k, state_done);
    }
}

void consul_operator_health(struct consul_call *k)
{
    if (consul_may(k, ACCESS_OPERATOR, slice_of(NULL, 0), ACCESS_READ)) {
        consul_ask_status(k, health_done);
    }
}

/* --- members --- */

struct order {
    struct consul_status s;
    struct slice id, address;
};

static void ordered(struct core_request *q)
{
    struct consul_status *s = CONTAINER_OF(q, struct consul_status, a.q);
    if (q->code == MU_E_NOT_LEADER) {
        consul_text(s->r, 500, "node is not the leader: ask the one that /v1/status/leader names");
    } else if (q->code != 0) {
        consul_fail(s->r, q->code, q->err.text);
    } else if (s->a.op == CORE_TRANSFER) {
        consul_json(s->r, 200, SLICE_LIT("{\"Success\":true}"));
    } else {
        http_respond(s->r, 200, NULL, slice_of(NULL, 0));
    }
}

static void send(struct order *o, enum core_admin_op op, mu_node_id node)
{
    o->s.a.op = op;
    o->s.a.node = node;
    o->s.a.q.done = ordered;
    core_admin(o->s.c->core, &o->s.a, CONSUL_WRITE_MS);
}

static void find_peer(struct core_request *q)
{
    struct order *o = CONTAINER_OF(q, struct order, s.a.q);
    const struct replica_status *s = &o->s.status;
    char id[24];
    if (q->code != 0) {
        consul_fail(o->s.r, q->code, q->err.text);
        return;
    }
    for (size_t i = 0; i < s->n_members; i++) {
        const struct replica_member *m = &s->members[i].m;
        (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)m->id);
        if (o->id.len != 0 ? slice_eq(o->id, slice_str(id))
                           : slice_eq(o->address, slice_str(m->address))) {
            send(o, CORE_MEMBER_REMOVE, m->id);
            return;
        }
    }
    consul_text(o->s.r, 500, "%s \"%.*s\" was not found in the Raft configuration",
                o->id.len != 0 ? "id" : "address",
                SLICE_FMT((o->id.len != 0 ? o->id : o->address)));
}

static struct order *order_new(struct consul_call *k)
{
    struct order *o = http_alloc(k->r, sizeof(*o));
    memset(o, 0, sizeof(*o));
    o->s.r = k->r;
    o->s.c = k->c;
    o->s.a.q.reply = worker_mailbox(http_worker(k->r));
    return o;
}

void consul_operator_peer_delete(struct consul_call *k)
{
    struct order *o = order_new(k);
    (void)http_query(k->r, "id", &o->id);
    (void)http_query(k->r, "address", &o->address);
    if (!consul_may(k, ACCESS_OPERATOR, slice_of(NULL, 0), ACCESS_WRITE) || consul_dc(k) != 0) {
        return;
    }
    if ((o->id.len == 0) == (o->address.len == 0)) {
        consul_text(k->r, 400, "%s",
                    o->id.len == 0 ? "Must specify either ?id with the server's ID or ?address "
                                     "with IP:port of peer to remove"
                                   : "Must specify only one of ?id or ?address");
        return;
    }
    o->s.a.op = CORE_STATUS;
    o->s.a.out_status = &o->s.status;
    o->s.a.q.done = find_peer;
    core_admin(k->c->core, &o->s.a, CONSUL_HOLD_MS);
}

void consul_operator_transfer(struct consul_call *k)
{
    if (consul_may(k, ACCESS_OPERATOR, slice_of(NULL, 0), ACCESS_WRITE) && consul_dc(k) == 0) {
        send(order_new(k), CORE_TRANSFER, 0);
    }
}

void consul_operator_keyring(struct consul_call *k)
{
    if (consul_may(k, ACCESS_KEYRING, slice_of(NULL, 0), ACCESS_READ)) {
        consul_text(k->r, 500,
                    "There is no keyring: members talk TLS with certificates (peer_tls.*)");
    }
}
