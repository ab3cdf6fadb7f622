/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster in its own catalog: every member is a node with the check serfHealth and the service
 * consul, as programs written for Consul expect. The leader looks once a second at what the rows
 * say and at how the members are, and proposes the difference.
 *
 *   lives --not heard of for DEAD_AFTER_MS--> what its agent had goes to a member that lives, some
 *     ^                                        rows at a time, until nothing goes any more
 *     |                                          |
 *     +--heard of-- serfHealth is critical <-----+
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/core/core_impl.h"
#include "storage/view_catalog.h"

enum {
    TURN_MS = 1000,
    DEAD_AFTER_MS = 3000,
    SETTLE_MS = 5000, /* a new leader has not heard of everybody yet */
    OPS_MAX = 64,
    TEXT_MAX = 320,
};

#define SERF_HEALTH SLICE_LIT("serfHealth")
#define SERVICE     SLICE_LIT("consul")

struct catalog {
    struct core *core;
    int64_t next_at, lead_at;
    int is_proposing;
    struct {
        mu_node_id id;
        int is_empty; /* nothing is left on it that can go elsewhere */
    } dead[REPLICA_MEMBERS_MAX];
    size_t n_dead;
    mu_node_id moving; /* the move under way empties this one */
};

/* One turn: what is to be proposed. */
struct turn {
    struct catalog *k;
    struct view *v;
    struct replica_status status;
    struct op ops[OPS_MAX];
    size_t n;
    struct member_text {
        char host[TEXT_MAX], id[40], instance[TEXT_MAX];
        uint16_t port;
    } text[REPLICA_MEMBERS_MAX];
};

struct catalog *catalog_new(struct core *c)
{
    struct catalog *k = mem_zalloc(sizeof(*k));
    k->core = c;
    return k;
}

void catalog_free(struct catalog *k)
{
    mem_free(k);
}

void catalog_lead(struct catalog *k)
{
    k->lead_at = clock_mono_ms();
    k->next_at = 0;
    k->n_dead = 0;
}

/* --- how the members are --- */

static int is_alive(const struct turn *t, const struct replica_member_status *m)
{
    int is_heard = m->last_heard_ms >= 0 && m->last_heard_ms < DEAD_AFTER_MS;
    return m->is_self || is_heard || clock_mono_ms() - t->k->lead_at < SETTLE_MS;
}

/* Surely: it was heard of just now. */
static int is_lively(const struct replica_member_status *m)
{
    return m->is_self || (m->last_heard_ms >= 0 && m->last_heard_ms < DEAD_AFTER_MS);
}

static size_t dead_at(struct catalog *k, mu_node_id id)
{
    size_t i = 0;
    while (i < k->n_dead && k->dead[i].id != id) {
        i++;
    }
    return i;
}

static void host_of(const struct replica_member *m, struct member_text *out)
{
    const char *colon = strrchr(m->address, ':');
    size_t n = colon != NULL ? (size_t)(colon - m->address) : 0;
    int is_v6 = n >= 2 && m->address[0] == '[' && m->address[n - 1] == ']';
    snprintf(out->host, sizeof(out->host), "%.*s", (int)(is_v6 ? n - 2 : n), m->address + is_v6);
    out->port = 0;
    if (colon != NULL) {
        int port = 0;
        (void)sscanf(colon + 1, "%5d", &port);
        out->port = (uint16_t)port;
    }
    if (n == 0) {
        snprintf(out->host, sizeof(out->host), "127.0.0.1");
    }
}

/* A UUID that follows from the name (RFC 9562, version 8). */
static void uuid_of(const struct replica_member *m, char out[40])
{
    uint8_t b[16];
    hash_xxh3_128(m->name, strlen(m->name), b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x80);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, 40, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
}

/* --- what the rows lack --- */

static struct op *add(struct turn *t, enum op_type type)
{
    struct op *o = &t->ops[t->n++];
    *o = (struct op){.type = type};
    return o;
}

static void want_node(struct turn *t, const struct replica_member *m, const struct member_text *x)
{
    struct node_row row;
    int rc = view_node(t->v, slice_str(m->name), &row);
    if (rc == 0 && row.is_member && slice_eq(row.address, slice_str(x->host)) && row.id.len != 0) {
        return;
    }
    struct op *o = add(t, OP_NODE_SET);
    o->u.node.name = slice_str(m->name);
    o->u.node.row = rc == 0 ? row : (struct node_row){0}; /* what others say of it stays */
    o->u.node.row.id = rc == 0 && row.id.len != 0 ? row.id : slice_str(x->id);
    o->u.node.row.address = slice_str(x->host);
    o->u.node.row.is_member = 1;
}

static void want_service(struct turn *t, const struct replica_member *m,
                         const struct member_text *x)
{
    struct place_row place;
    if (view_place(t->v, slice_str(m->name), SERVICE, &place) == 0) {
        return;
    }
    struct op *o = add(t, OP_SERVICE_SET);
    o->u.service.node = slice_str(m->name);
    o->u.service.name =
        (struct instance_name){SLICE_LIT("public"), SLICE_LIT("DEFAULT_GROUP"), SERVICE,
                               SLICE_LIT("DEFAULT"), slice_str(x->instance)};
    o->u.service.row = (struct instance_row){.service_id = SERVICE,
                                             .port = x->port,
                                             .weight = 1,
                                             .is_enabled = 1,
                                             .remove_after_ms = REMOVE_NEVER};
}

static void want_health(struct turn *t, const struct replica_member *m, int lives)
{
    struct check_row row;
    struct slice service;
    enum check_status status = lives ? CHECK_PASSING : CHECK_CRITICAL;
    if (view_check(t->v, slice_str(m->name), SERF_HEALTH, &service, &row) == 0 &&
        row.status == status) {
        return;
    }
    struct op *o = add(t, OP_CHECK_SET);
    o->u.check.name = (struct check_name){slice_str(m->name), slice_of(NULL, 0), SERF_HEALTH};
    o->u.check.row = (struct check_row){
        .name = SLICE_LIT("Serf Health Status"),
        .status = status,
        .output = lives ? SLICE_LIT("Agent alive and reachable")
                        : SLICE_LIT("Agent not live or unreachable"),
        .remove_after_ms = REMOVE_NEVER,
    };
}

/* --- leaving --- */

static const char *new_home(const struct turn *t)
{
    const struct replica_status *s = &t->status;
    for (size_t i = 0; i < s->n_members; i++) {
        if (s->members[i].is_self) {
            return s->members[i].m.name;
        }
    }
    return NULL;
}

/* 1 when a move is to be proposed, alone. */
static int empty_node(struct turn *t, struct slice name, mu_node_id id)
{
    struct catalog *k = t->k;
    const char *to = new_home(t);
    struct node_row row;
    size_t at = dead_at(k, id);
    if (to == NULL || view_node(t->v, name, &row) != 0 || at == REPLICA_MEMBERS_MAX) {
        return 0;
    }
    if (at == k->n_dead) {
        k->dead[k->n_dead++].id = id;
        k->dead[at].is_empty = 0;
    }
    if (k->dead[at].is_empty) {
        return 0;
    }
    t->n = 0;
    struct op *o = add(t, OP_NODE_MOVE);
    o->u.node.name = name;
    o->u.node.to = slice_str(to);
    k->moving = id;
    return 1;
}

static void lives_again(struct catalog *k, mu_node_id id)
{
    size_t at = dead_at(k, id);
    if (at < k->n_dead) {
        k->dead[at] = k->dead[--k->n_dead];
    }
}

static int is_member(const struct turn *t, struct slice name)
{
    for (size_t i = 0; i < t->status.n_members; i++) {
        if (slice_eq(slice_str(t->status.members[i].m.name), name)) {
            return 1;
        }
    }
    return 0;
}

static int on_node(void *arg, struct slice name, const struct node_row *row)
{
    struct turn *t = arg;
    if (row->meta.is_deleted || !row->is_member || is_member(t, name)) {
        return 0;
    }
    mu_node_id id = hash_xxh3(name.p, name.len, 0);
    if (empty_node(t, name, id)) {
        return 1;
    }
    if (t->n < OPS_MAX) {
        add(t, OP_NODE_DELETE)->u.node.name = name;
        lives_again(t->k, id);
    }
    return 0;
}

/* --- turns --- */

static void look(struct turn *t)
{
    for (size_t i = 0; i < t->status.n_members; i++) {
        const struct replica_member_status *m = &t->status.members[i];
        struct member_text *x = &t->text[i];
        int lives = is_alive(t, m);
        host_of(&m->m, x);
        uuid_of(&m->m, x->id);
        snprintf(x->instance, sizeof(x->instance), "%s/consul", m->m.name);
        if (lives && !is_lively(m)) {
            continue; /* a new leader does not know yet */
        }
        if (lives) {
            lives_again(t->k, m->m.id);
        } else if (empty_node(t, slice_str(m->m.name), m->m.id)) {
            return;
        }
        want_node(t, &m->m, x);
        want_service(t, &m->m, x);
        want_health(t, &m->m, lives);
    }
    (void)view_nodes(t->v, on_node, t);
}

static void on_done(struct core *c, void *arg, int code, const struct command_result *r)
{
    struct catalog *k = arg;
    (void)c;
    size_t at = dead_at(k, k->moving);
    k->is_proposing = 0;
    if (code == 0 && k->moving != 0) {
        k->next_at = 0;
        if (!r->is_changed && at < k->n_dead) {
            k->dead[at].is_empty = 1;
        }
    } else if (code != 0) {
        log_debug("catalog", "members' rows not written", LOG_STR("why", err_name(code)));
    }
    k->moving = 0;
}

void catalog_tick(struct catalog *k, int64_t now)
{
    struct core *c = k->core;
    if (c->role != REPLICA_LEADER || !c->is_ready || k->is_proposing || now < k->next_at ||
        atomic_load(&c->glance.is_disk_full)) {
        return;
    }
    k->next_at = now + TURN_MS;
    struct turn *t = mem_zalloc(sizeof(*t));
    struct command *cmd = mem_zalloc(sizeof(*cmd));
    t->k = k;
    k->moving = 0;
    replica_status(c->replica, &t->status);
    t->v = view_open(c->store);
    look(t);
    if (t->n > 0) {
        cmd->type = CMD_TXN;
        cmd->u.txn = (struct cmd_txn){.n = t->n, .ops = t->ops};
        k->is_proposing = 1;
        core_propose_own(c, cmd, 1, on_done, k);
    }
    view_close(t->v);
    mem_free(cmd);
    mem_free(t);
}
