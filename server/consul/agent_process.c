/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the agent as a process of a host
 * (https://developer.hashicorp.com/consul/api-docs/agent): here of the node that is asked. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "server/consul/body.h"
#include "server/consul/change.h"

enum { NS_PER_MS = 1000000 };

static struct slice self(struct consul_call *k)
{
    return slice_str(core_node_name(k->c->core));
}

static void put_text(struct jw *w, const char *name, const char *text)
{
    jw_key(w, name);
    jw_str(w, text);
}

static void put_number(struct jw *w, const char *name, uint64_t n)
{
    jw_key(w, name);
    jw_u64(w, n);
}

static void nothing(struct consul_call *k)
{
    http_respond(k->r, 200, NULL, slice_of(NULL, 0));
}

/* --- metrics --- */

static uint64_t resident_bytes(void)
{
    unsigned long all = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL) {
        if (fscanf(f, "%lu %lu", &all, &resident) != 2) {
            resident = 0;
        }
        (void)fclose(f);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void gauge(struct jw *w, const char *name, uint64_t value)
{
    jw_obj(w);
    put_text(w, "Name", name);
    put_number(w, "Value", value);
    jw_key(w, "Labels");
    jw_obj(w);
    jw_end(w);
    jw_end(w);
}

/* As Go prints a time, which is how it is read: Telegraf refuses any other form. */
static void put_time(char out[40])
{
    text_format_time(clock_wall_ms(), out); /* 2026-01-02T03:04:05.678Z */
    out[10] = ' ';
    (void)snprintf(out + 19, 40 - 19, " +0000 UTC");
}

static void metrics_done(struct core_request *q)
{
    struct consul_status *s = CONTAINER_OF(q, struct consul_status, a.q);
    char now[40];
    struct consul_tally t;
    struct jw w;
    if (q->code != 0) {
        consul_fail(s->r, q->code, q->err.text);
        return;
    }
    consul_tally(&s->status, &t);
    put_time(now);
    jw_init(&w, http_scratch(s->r));
    jw_obj(&w);
    put_text(&w, "Timestamp", now);
    jw_key(&w, "Gauges");
    jw_arr(&w);
    gauge(&w, "consul.autopilot.failure_tolerance", (uint64_t)t.tolerance);
    gauge(&w, "consul.autopilot.healthy", (uint64_t)t.is_all);
    gauge(&w, "consul.members.servers", s->status.n_members);
    gauge(&w, "consul.server.isLeader",
          s->status.leader != 0 && s->status.leader == core_node_id(s->c->core));
    gauge(&w, "consul.runtime.alloc_bytes", resident_bytes());
    gauge(&w, "consul.runtime.sys_bytes", resident_bytes());
    gauge(&w, "consul.raft.applied_index", s->status.applied);
    gauge(&w, "consul.raft.commit_index", s->status.commit);
    gauge(&w, "consul.raft.last_index", s->status.last);
    gauge(&w, "consul.raft.term", s->status.term);
    gauge(&w, "consul.raft.peers", s->status.n_members);
    jw_end(&w);
    static const char *const empty[] = {"Points", "Counters", "Samples"};
    for (size_t i = 0; i < N_ELEMENTS(empty); i++) {
        jw_key(&w, empty[i]);
        jw_arr(&w);
        jw_end(&w);
    }
    jw_end(&w);
    consul_json(s->r, 200, buf_slice(w.out));
}

/* All there are stand at /metrics, for Prometheus. */
void consul_agent_metrics(struct consul_call *k)
{
    struct slice format;
    if (!consul_may(k, ACCESS_AGENT, self(k), ACCESS_READ)) {
        return;
    }
    if (http_query(k->r, "format", &format) && slice_eq(format, SLICE_LIT("prometheus"))) {
        http_add_header(k->r, "Location", "/metrics");
        http_respond(k->r, 307, NULL, slice_of(NULL, 0));
        return;
    }
    consul_ask_status(k, metrics_done);
}

/* --- the host --- */

void consul_agent_host(struct consul_call *k)
{
    struct sysinfo info;
    struct utsname name;
    struct jw w;
    if (!consul_may(k, ACCESS_OPERATOR, slice_of(NULL, 0), ACCESS_READ)) {
        return;
    }
    memset(&info, 0, sizeof(info));
    memset(&name, 0, sizeof(name));
    (void)sysinfo(&info);
    (void)uname(&name);
    jw_init(&w, http_scratch(k->r));
    jw_obj(&w);
    jw_key(&w, "Memory");
    jw_obj(&w);
    put_number(&w, "total", (uint64_t)info.totalram * info.mem_unit);
    put_number(&w, "free", (uint64_t)info.freeram * info.mem_unit);
    put_number(&w, "buffers", (uint64_t)info.bufferram * info.mem_unit);
    jw_end(&w);
    jw_key(&w, "CPU");
    jw_arr(&w);
    for (long i = 0; i < sysconf(_SC_NPROCESSORS_ONLN); i++) {
        jw_obj(&w);
        put_number(&w, "cpu", (uint64_t)i);
        jw_end(&w);
    }
    jw_end(&w);
    jw_key(&w, "Host");
    jw_obj(&w);
    put_text(&w, "hostname", name.nodename);
    put_text(&w, "os", "linux");
    put_text(&w, "kernelVersion", name.release);
    put_text(&w, "kernelArch", name.machine);
    put_number(&w, "uptime", (uint64_t)info.uptime);
    put_number(&w, "procs", info.procs);
    jw_end(&w);
    jw_key(&w, "Disk");
    jw_null(&w);
    put_number(&w, "CollectionTime", (uint64_t)clock_wall_ms() * NS_PER_MS);
    jw_key(&w, "Errors");
    jw_null(&w);
    jw_end(&w);
    consul_json(k->r, 200, buf_slice(w.out));
}

/* --- the process --- */

void consul_agent_reload(struct consul_call *k)
{
    if (consul_may(k, ACCESS_AGENT, self(k), ACCESS_WRITE)) {
        (void)kill(getpid(), SIGHUP); /* as an operator would */
        nothing(k);
    }
}

void consul_agent_leave(struct consul_call *k)
{
    if (consul_may(k, ACCESS_AGENT, self(k), ACCESS_WRITE)) {
        nothing(k);
        (void)kill(getpid(), SIGTERM);
    }
}

/* Agents of Consul gossip; members here are in the log. */
static void is_member_done(struct core_request *q)
{
    struct consul_status *s = CONTAINER_OF(q, struct consul_status, a.q);
    struct slice wanted = *(const struct slice *)http_data(s->r);
    if (q->code != 0) {
        consul_fail(s->r, q->code, q->err.text);
        return;
    }
    for (size_t i = 0; i < s->status.n_members; i++) {
        const struct replica_member *m = &s->status.members[i].m;
        if (slice_eq(wanted, slice_str(m->name)) || slice_eq(wanted, slice_str(m->address))) {
            http_respond(s->r, 200, NULL, slice_of(NULL, 0));
            return;
        }
    }
    consul_text(s->r, 500,
                "\"%.*s\" is no member: members come and go by `musterctl member add` and `member "
                "remove`",
                (int)(wanted.len < 200 ? wanted.len : 200), (const char *)wanted.p);
}

static void ask_member(struct consul_call *k)
{
    struct slice *wanted = http_alloc(k->r, sizeof(*wanted));
    *wanted = k->rest;
    http_set_data(k->r, wanted);
    consul_ask_status(k, is_member_done);
}

void consul_agent_join(struct consul_call *k)
{
    if (consul_may(k, ACCESS_AGENT, self(k), ACCESS_WRITE)) {
        ask_member(k);
    }
}

/* Whether a member lives, the cluster finds itself; who shall go is removed. */
void consul_agent_force_leave(struct consul_call *k)
{
    if (consul_may(k, ACCESS_OPERATOR, slice_of(NULL, 0), ACCESS_WRITE)) {
        ask_member(k);
    }
}

/* --- tokens of the agent --- */

struct agent_token {
    struct slice token;
};
static const struct body_field token_fields[] = {
    {"Token", BODY_STR, offsetof(struct agent_token, token), NULL},
};
static const struct body_table token_table = {"api.AgentToken", sizeof(struct agent_token),
                                              token_fields, N_ELEMENTS(token_fields)};

/* The agent asks nobody, so it needs no tokens: they are taken, and not kept. */
void consul_agent_token(struct consul_call *k)
{
    static const char *const names[] = {"default",
                                        "agent",
                                        "agent_master",
                                        "agent_recovery",
                                        "replication",
                                        "config_file_service_registration",
                                        "dns",
                                        "acl_token",
                                        "acl_agent_token",
                                        "acl_agent_master_token",
                                        "acl_replication_token"};
    struct agent_token t = {0};
    if (!access_is_enabled(k->c->access)) {
        consul_text(k->r, 401, "ACL support disabled");
        return;
    }
    if (!consul_may(k, ACCESS_AGENT, self(k), ACCESS_WRITE) ||
        consul_body(k->r, &token_table, &t) != 0) {
        return;
    }
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        if (slice_eq(k->rest, slice_str(names[i]))) {
            nothing(k);
            return;
        }
    }
    consul_text(k->r, 404, "Token \"%.*s\" is unknown",
                (int)(k->rest.len < 100 ? k->rest.len : 100), (const char *)k->rest.p);
}

/* --- the service mesh --- */

void consul_no_mesh(struct consul_call *k)
{
    consul_text(k->r, 500, "Connect must be enabled in order to use this endpoint");
}

static int render_empty(struct consul_read *g, struct view *v, struct buf *out)
{
    g->index = view_compacted(v, SPACE_INSTANCE);
    buf_append(out, "[]", 2);
    return 0;
}

/* Instances of a mesh: there are none. */
void consul_empty(struct consul_call *k)
{
    struct consul_read *g = consul_read_new(k);
    if (g != NULL) {
        consul_record_watch(g, SLICE_LIT("mesh"));
        consul_read_start(g, render_empty);
    }
}
