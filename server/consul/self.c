/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent tells of itself and of its cluster
 * (https://developer.hashicorp.com/consul/api-docs/agent#read-configuration). Many programs look
 * for a member or two and for the version, and choose by it what they ask for. */
#include <stdio.h>
#include <string.h>

#include "server/consul/consul_impl.h"
#include "server/consul/list.h"

/* The version whose HTTP API this face has. */

static void text(struct jw *w, const char *name, const char *value)
{
    jw_key(w, name);
    jw_str(w, value);
}

static void flag(struct jw *w, const char *name, int value)
{
    jw_key(w, name);
    jw_bool(w, value);
}

static void number(struct jw *w, const char *name, uint64_t value)
{
    jw_key(w, name);
    jw_u64(w, value);
}

/* "host:port" in two. */
static int split(const char *address, char host[256])
{
    const char *colon = strrchr(address, ':');
    int port = 0;
    size_t n = colon != NULL ? (size_t)(colon - address) : 0;
    int is_v6 = n >= 2 && address[0] == '[';
    (void)snprintf(host, 256, "%.*s", (int)(is_v6 ? n - 2 : n), address + is_v6);
    if (colon != NULL) {
        (void)sscanf(colon + 1, "%5d", &port);
    }
    if (n == 0) {
        (void)snprintf(host, 256, "127.0.0.1");
    }
    return port;
}

static void member(struct jw *w, const struct consul *c, const struct replica_member_status *m)
{
    static const char *const protocols[] = {"ProtocolMin", "ProtocolMax", "ProtocolCur",
                                            "DelegateMin", "DelegateMax", "DelegateCur"};
    char host[256], text_port[16];
    int port = split(m->m.address, host);
    int is_alive = m->is_self || m->is_reachable;
    (void)snprintf(text_port, sizeof(text_port), "%d", port);
    jw_obj(w);
    text(w, "Name", m->m.name);
    text(w, "Addr", host);
    number(w, "Port", (uint64_t)port);
    jw_key(w, "Tags");
    jw_obj(w);
    text(w, "build", CONSUL_API_VERSION ":muster");
    text(w, "dc", c->datacenter);
    text(w, "port", text_port);
    text(w, "raft_vsn", "3");
    text(w, "role", "consul");
    text(w, "vsn", "2");
    jw_end(w);
    number(w, "Status", is_alive ? 1 : 4);
    for (size_t i = 0; i < N_ELEMENTS(protocols); i++) {
        number(w, protocols[i], i < 3 ? 2 : 4);
    }
    jw_end(w);
}

static const struct replica_member_status *self_of(const struct replica_status *s)
{
    for (size_t i = 0; i < s->n_members; i++) {
        if (s->members[i].is_self) {
            return &s->members[i];
        }
    }
    return NULL;
}

static void stats(struct jw *w, const struct consul_status *s)
{
    static const char *const roles[] = {"Follower", "Candidate", "Leader", "Damaged"};
    char value[32];
    const char *leader = "";
    for (size_t i = 0; i < s->status.n_members; i++) {
        leader =
            s->status.members[i].m.id == s->status.leader ? s->status.members[i].m.address : leader;
    }
    jw_obj(w);
    jw_key(w, "consul");
    jw_obj(w);
    text(w, "acl", access_is_enabled(s->c->access) ? "enabled" : "disabled");
    text(w, "known_datacenters", "1");
    text(w, "leader", s->status.role == REPLICA_LEADER ? "true" : "false");
    text(w, "leader_addr", leader);
    text(w, "server", "true");
    jw_end(w);
    jw_key(w, "raft");
    jw_obj(w);
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"applied_index", s->status.applied},
        {"commit_index", s->status.commit},
        {"last_log_index", s->status.last},
        {"term", s->status.term},
        {"num_peers", s->status.n_members > 0 ? s->status.n_members - 1 : 0},
    };
    for (size_t i = 0; i < N_ELEMENTS(numbers); i++) {
        (void)snprintf(value, sizeof(value), "%llu", (unsigned long long)numbers[i].value);
        text(w, numbers[i].name, value);
    }
    text(w, "state", roles[s->status.role]);
    jw_end(w);
    jw_end(w);
}

static void config(struct jw *w, const struct consul_status *s)
{
    jw_obj(w);
    text(w, "Datacenter", s->c->datacenter);
    text(w, "PrimaryDatacenter", s->c->datacenter);
    text(w, "NodeName", core_node_name(s->c->core));
    text(w, "NodeID", "");
    text(w, "Revision", "muster");
    flag(w, "Server", 1);
    text(w, "Version", CONSUL_API_VERSION);
    jw_end(w);
}

static void debug_config(struct jw *w, const struct consul_status *s)
{
    jw_obj(w);
    text(w, "Datacenter", s->c->datacenter);
    text(w, "NodeName", core_node_name(s->c->core));
    flag(w, "ServerMode", 1);
    flag(w, "ACLsEnabled", access_is_enabled(s->c->access));
    flag(w, "ConnectEnabled", 0);
    number(w, "GRPCPort", 0);
    number(w, "GRPCTLSPort", 0);
    text(w, "SessionTTLMin", "10s");
    jw_end(w);
}

static void self_done(struct core_request *q)
{
    struct consul_status *s = CONTAINER_OF(q, struct consul_status, a.q);
    const struct replica_member_status *m;
    struct jw w;
    if (q->code != 0) {
        consul_fail(s->r, q->code, q->err.text);
        return;
    }
    jw_init(&w, http_scratch(s->r));
    jw_obj(&w);
    jw_key(&w, "Config");
    config(&w, s);
    jw_key(&w, "DebugConfig");
    debug_config(&w, s);
    jw_key(&w, "Coord");
    jw_json(&w, SLICE_LIT("{\"Vec\":[0,0,0,0,0,0,0,0],\"Error\":1.5,\"Adjustment\":0,"
                          "\"Height\":0.00001}"));
    jw_key(&w, "Member");
    m = self_of(&s->status);
    if (m != NULL) {
        member(&w, s->c, m);
    } else {
        jw_null(&w);
    }
    jw_key(&w, "Stats");
    stats(&w, s);
    jw_key(&w, "Meta");
    jw_json(&w, SLICE_LIT("{\"consul-network-segment\":\"\"}"));
    jw_end(&w);
    consul_json(s->r, 200, buf_slice(w.out));
}

void consul_agent_self(struct consul_call *k)
{
    if (consul_may(k, ACCESS_AGENT, slice_str(core_node_name(k->c->core)), ACCESS_READ)) {
        consul_ask_status(k, self_done);
    }
}

static void members_done(struct core_request *q)
{
    struct consul_status *s = CONTAINER_OF(q, struct consul_status, a.q);
    struct jw w;
    if (q->code != 0) {
        consul_fail(s->r, q->code, q->err.text);
        return;
    }
    jw_init(&w, http_scratch(s->r));
    jw_arr(&w);
    struct consul_call k = {.r = s->r, .c = s->c};
    int rc = consul_who(&k);
    for (size_t i = 0; rc == 0 && i < s->status.n_members; i++) {
        if (access_allows(k.who, ACCESS_NODE, slice_str(s->status.members[i].m.name),
                          ACCESS_READ)) {
            member(&w, s->c, &s->status.members[i]);
        }
    }
    jw_end(&w);
    consul_json(s->r, 200, buf_slice(w.out));
}

void consul_agent_members(struct consul_call *k)
{
    struct slice segment;
    if (http_query(k->r, "segment", &segment) && segment.len != 0 &&
        !slice_eq(segment, SLICE_LIT("_all"))) {
        consul_text(k->r, 500, "Network segments are not supported in this version of Consul");
        return;
    }
    consul_ask_status(k, members_done);
}

void consul_agent_version(struct consul_call *k)
{
    consul_json(k->r, 200,
                SLICE_LIT("{\"SHA\":\"\",\"BuildDate\":\"1970-01-01T00:00:00Z\",\"HumanVersion\":"
                          "\"" CONSUL_API_VERSION "\",\"FIPS\":\"\"}"));
}

static void raft_done(struct core_request *q)
{
    struct consul_status *s = CONTAINER_OF(q, struct consul_status, a.q);
    char id[24];
    struct jw w;
    if (q->code != 0) {
        consul_fail(s->r, q->code, q->err.text);
        return;
    }
    jw_init(&w, http_scratch(s->r));
    jw_obj(&w);
    jw_key(&w, "Servers");
    jw_arr(&w);
    for (size_t i = 0; i < s->status.n_members; i++) {
        const struct replica_member_status *m = &s->status.members[i];
        (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)m->m.id);
        jw_obj(&w);
        text(&w, "ID", id);
        text(&w, "Node", m->m.name);
        text(&w, "Address", m->m.address);
        flag(&w, "Leader", m->m.id == s->status.leader);
        text(&w, "ProtocolVersion", "3");
        flag(&w, "Voter", m->m.is_voter);
        number(&w, "LastIndex", m->is_self ? s->status.last : m->match);
        jw_end(&w);
    }
    jw_end(&w);
    number(&w, "Index", s->status.commit);
    jw_end(&w);
    consul_json(s->r, 200, buf_slice(w.out));
}

void consul_operator_raft(struct consul_call *k)
{
    if (consul_may(k, ACCESS_OPERATOR, slice_of(NULL, 0), ACCESS_READ)) {
        consul_ask_status(k, raft_done);
    }
}
