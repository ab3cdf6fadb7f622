/* SPDX-License-Identifier: Apache-2.0 */
/* Clients: each does one thing after the other to a few registers (configs), through whichever node
 * it likes, and writes down when it asked and what it was told.
 *
 * An outcome that stays unknown is repeated with the same request id, or left unknown. Beside the
 * history, which is judged at the end, revisions are compared at once: what is asked after
 * something was acknowledged must come behind it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "raft/replica_impl.h"
#include "storage/view.h"
#include "tests/sim/cluster/world.h"

enum { CLIENTS_N = 5, TRIES_MAX = 5, PATIENCE_US = 3000 * 1000, HISTORY_MAX = 1 << 15 };

struct client {
    int nr;
    uint64_t seq; /* of the attempt; answers to older ones are ignored */
    int is_busy, has_id, tries, is_in_doubt, is_final;
    struct sim_node *final;
    uint8_t request_id[16];
    struct linear_op op;
    enum cas_mode cas;
    mu_rev expect, floor;
    uint64_t known[KEYS_N];
    mu_rev known_rev[KEYS_N];
};

struct call {
    struct core_write w;
    struct core_read rd;
    struct client *c;
    uint64_t seq;
    struct sim_node *node;
    unsigned life;
};

static struct client clients[CLIENTS_N + NODES_MAX];
static struct mailbox box;
static struct linear_op *history;
static size_t n_history;
static uint64_t values;
static mu_rev acked;
static int is_stopping, n_final;

static void attempt(struct client *c);
static void begin(void *arg, uint64_t n);

struct mailbox *clients_box(void)
{
    return &box;
}

void clients_mail(void)
{
    mailbox_run(&box);
}

/* --- registers --- */

void register_name(int key, char out[8], struct config_name *name)
{
    snprintf(out, 8, "k%d", key);
    *name = (struct config_name){slice_str("sim"), slice_str("g"), slice_str(out)};
}

int register_of(struct slice logical_key)
{
    struct config_name n;
    if (key_parse_config(logical_key, &n) != 0 || n.key.len != 2 || n.key.p[0] != 'k') {
        return -1;
    }
    return n.key.p[1] - '0';
}

struct sim_node *any_node(void)
{
    int first = (int)sim_below((uint64_t)world->n_nodes);
    for (int i = 0; i < world->n_nodes; i++) {
        struct sim_node *n = &world->nodes[(first + i) % world->n_nodes];
        if (n->is_up && n->core != NULL) {
            return n;
        }
    }
    return NULL;
}

/* --- what came of it --- */

static void note(struct client *c, enum linear_outcome outcome, uint64_t result)
{
    c->op.outcome = outcome;
    c->op.return_ns = world->now;
    c->op.result = result;
    MU_INVARIANT(n_history < HISTORY_MAX);
    history[n_history++] = c->op;
    sim_trace("op", (uint64_t)c->op.kind << 8 | (uint64_t)outcome, result);
    world->out->writes_unknown += outcome == LINEAR_UNKNOWN;
    if (outcome == LINEAR_OK && c->op.kind == LINEAR_READ) {
        world->out->reads_ok++;
    } else if (outcome == LINEAR_OK) {
        world->out->writes_ok++;
    }
}

static void rest(struct client *c)
{
    c->seq++;
    c->is_busy = 0;
    if (c->is_final && !c->is_in_doubt) {
        n_final--;
        return;
    }
    if (c->is_final) {
        sim_bad("liveness: after healing, client %d gets no answer from node %d", c->nr,
                c->final->nr);
    }
    sim_at(world->now + (int64_t)sim_below((uint64_t)world->mix.think_us * 2), begin, c, 0);
}

/* May have happened. Again, when a request id makes that harmless. */
static void in_doubt(struct client *c)
{
    c->is_in_doubt = 1;
    c->seq++;
    if (c->has_id && c->tries < TRIES_MAX) {
        attempt(c);
        return;
    }
    if (c->op.kind != LINEAR_READ) {
        note(c, LINEAR_UNKNOWN, LINEAR_ANY);
    }
    rest(c);
}

/* Certainly did not happen, this time. */
static void not_done(struct client *c)
{
    if (c->is_in_doubt) {
        in_doubt(c);
    } else if (c->is_final) {
        c->is_in_doubt = 1;
        rest(c);
    } else {
        rest(c);
    }
}

static void on_late(void *arg, uint64_t seq)
{
    struct client *c = arg;
    if (c->seq == seq && c->is_busy) {
        in_doubt(c);
    }
}

static void learn(struct client *c, uint64_t value, mu_rev rev)
{
    c->known[c->op.key] = value;
    c->known_rev[c->op.key] = rev;
    acked = rev > acked ? rev : acked;
    oracle_acked(rev);
}

static void write_done(struct client *c, const struct command_result *r)
{
    if (r->code == 0) {
        if (r->mod_rev <= c->floor) {
            sim_bad("a write has revision %llu; %llu was acknowledged before it was asked for",
                    (unsigned long long)r->mod_rev, (unsigned long long)c->floor);
        }
        learn(c, c->op.kind == LINEAR_DELETE ? LINEAR_ABSENT : c->op.value, r->mod_rev);
        note(c, LINEAR_OK, LINEAR_ANY);
    } else {
        c->known_rev[c->op.key] = 0;
        note(c, LINEAR_FAIL, LINEAR_ANY);
    }
    rest(c);
}

static int is_refusal(int code)
{
    return code == MU_E_REVISION_MISMATCH || code == MU_E_EXISTS || code == MU_E_NOT_FOUND;
}

static void on_write(struct core_request *q)
{
    struct call *k = CONTAINER_OF(q, struct call, w.q);
    struct client *c = k->c;
    int code = q->code, is_mine = k->seq == c->seq && c->is_busy;
    struct command_result r = k->w.result;
    mem_free(k);
    if (!is_mine) {
        return;
    }
    if (code == 0 && (r.code == 0 || is_refusal(r.code))) {
        write_done(c, &r);
    } else if (code == 0) {
        sim_bad("a write came to %s", err_name(r.code));
    } else if (code == MU_E_UNKNOWN_OUTCOME) {
        in_doubt(c);
    } else {
        not_done(c);
    }
}

static void read_register(struct client *c, struct sim_node *n)
{
    char key[8], text[24] = {0};
    struct config_name name;
    struct config_row row;
    struct view *v = view_open(n->store);
    uint64_t value = LINEAR_ABSENT;
    mu_rev head = view_revision(v);
    register_name((int)c->op.key, key, &name);
    if (view_config(v, &name, 0, &row) == 0) {
        memcpy(text, row.content.p, row.content.len < 23 ? row.content.len : 23);
        value = strtoull(text, NULL, 10);
        learn(c, value, row.meta.mod_rev);
    } else {
        learn(c, LINEAR_ABSENT, 0);
    }
    view_close(v);
    if (head < c->floor) {
        sim_bad("a linearizable read at node %d sees revision %llu; %llu was acknowledged before",
                n->nr, (unsigned long long)head, (unsigned long long)c->floor);
    }
    note(c, LINEAR_OK, value);
    rest(c);
}

static void on_read(struct core_request *q)
{
    struct call *k = CONTAINER_OF(q, struct call, rd.q);
    struct client *c = k->c;
    int is_mine = k->seq == c->seq && c->is_busy, code = q->code;
    struct sim_node *n = k->node;
    int is_there = n->is_up && n->life == k->life && n->store != NULL;
    mem_free(k);
    if (is_mine && code == 0 && is_there) {
        read_register(c, n);
    } else if (is_mine) {
        not_done(c);
    }
}

/* --- asking --- */

static void fill(struct client *c, struct command *cmd, char key[8], char text[24])
{
    struct config_name name;
    register_name((int)c->op.key, key, &name);
    *cmd = (struct command){.has_request_id = c->has_id};
    memcpy(cmd->request_id, c->request_id, sizeof(cmd->request_id));
    if (c->op.kind == LINEAR_DELETE) {
        cmd->type = CMD_CONFIG_DELETE;
        cmd->u.config_delete.name = name;
    } else {
        snprintf(text, 24, "%llu", (unsigned long long)c->op.value);
        cmd->type = CMD_CONFIG_PUT;
        cmd->u.config_put.name = name;
        cmd->u.config_put.content = slice_str(text);
        cmd->u.config_put.cas = c->cas;
        cmd->u.config_put.expect = c->expect;
    }
}

static void attempt(struct client *c)
{
    struct sim_node *n = c->is_final ? c->final : any_node();
    char key[8], text[24];
    c->tries++;
    if (n == NULL || !n->is_up || n->core == NULL) {
        sim_at(world->now + PATIENCE_US / 4, on_late, c, c->seq);
        return;
    }
    struct call *k = mem_zalloc(sizeof(*k));
    k->c = c;
    k->seq = c->seq;
    k->node = n;
    k->life = n->life;
    sim_at(world->now + PATIENCE_US, on_late, c, c->seq);
    world->cur = n;
    if (c->op.kind == LINEAR_READ) {
        k->rd.q.reply = &box;
        k->rd.q.done = on_read;
        core_read_gate(n->core, &k->rd, READ_LINEAR, 2000);
    } else {
        struct command *cmd = mem_zalloc(sizeof(*cmd));
        fill(c, cmd, key, text);
        k->w.q.reply = &box;
        k->w.q.done = on_write;
        int64_t wait_ms = sim_between(300, 2500);
        core_propose(n->core, &k->w, cmd, c->is_final ? PATIENCE_US / 1000 : wait_ms);
        mem_free(cmd);
    }
    world->cur = NULL;
}

static void choose(struct client *c)
{
    uint64_t what = sim_below(100);
    struct linear_op *op = &c->op;
    *op = (struct linear_op){.process = (uint32_t)c->nr, .key = sim_below(KEYS_N)};
    op->value = ++values;
    op->expected = LINEAR_ANY;
    c->cas = CAS_NONE;
    if (what < 40) {
        op->kind = LINEAR_READ;
    } else if (what < 65) {
        op->kind = LINEAR_WRITE;
    } else if (what < 92) {
        int is_there = c->known_rev[op->key] != 0 && c->known[op->key] != LINEAR_ABSENT;
        op->kind = LINEAR_CAS;
        op->expected = is_there ? c->known[op->key] : LINEAR_ABSENT;
        c->cas = is_there ? CAS_REVISION : CAS_ABSENT;
        c->expect = c->known_rev[op->key];
    } else {
        op->kind = LINEAR_DELETE;
    }
    c->has_id = sim_chance(50);
    rnd_bytes(c->request_id, sizeof(c->request_id));
}

static void begin(void *arg, uint64_t n)
{
    struct client *c = arg;
    (void)n;
    if (is_stopping && !c->is_final) {
        return;
    }
    choose(c);
    c->is_busy = 1;
    c->tries = c->is_in_doubt = 0;
    c->floor = acked;
    c->op.call_ns = world->now;
    attempt(c);
}

/* --- history that is thrown away behind the watchers' backs --- */

static void on_compacted(struct core_request *q)
{
    struct call *k = CONTAINER_OF(q, struct call, w.q);
    world->out->compacted += q->code == 0;
    mem_free(k);
}

static void compact(void *arg, uint64_t n)
{
    struct sim_node *node = any_node();
    (void)arg, (void)n;
    if (is_stopping) {
        return;
    }
    sim_at(world->now + sim_between(500000, 6000000), compact, NULL, 0);
    if (node == NULL) {
        return;
    }
    struct call *k = mem_zalloc(sizeof(*k));
    struct command *cmd = mem_zalloc(sizeof(*cmd));
    cmd->type = CMD_COMPACT;
    world->cur = node;
    cmd->u.compact = (struct cmd_compact){
        .space = SPACE_CONFIG, .before_ms = clock_wall_ms() - 500, .keep_versions = 2};
    k->w.q.reply = &box;
    k->w.q.done = on_compacted;
    core_propose(node->core, &k->w, cmd, 1000);
    world->cur = NULL;
    mem_free(cmd);
}

/* --- life --- */

static void no_wake(void *arg)
{
    (void)arg; /* the box is looked into after every turn */
}

void clients_start(void)
{
    mailbox_init(&box, no_wake, NULL);
    history = mem_alloc(HISTORY_MAX * sizeof(*history));
    for (int i = 0; i < CLIENTS_N; i++) {
        clients[i].nr = i;
        sim_at(world->now + sim_between(300000, 1500000), begin, &clients[i], 0);
    }
    sim_at(world->now + 2000000, compact, NULL, 0);
}

void clients_stop(void)
{
    is_stopping = 1;
}

int clients_are_idle(void)
{
    for (int i = 0; i < CLIENTS_N; i++) {
        if (clients[i].is_busy) {
            return 0;
        }
    }
    return 1;
}

/* Who is a member, and up, answers now. */
void clients_final(void)
{
    struct sim_node *leader = node_leading();
    for (int i = 0; i < world->n_nodes && leader != NULL; i++) {
        struct sim_node *n = &world->nodes[i];
        if (!n->is_up || conf_find(node_conf(node_replica(leader)->node), n->id) < 0) {
            continue;
        }
        struct client *c = &clients[CLIENTS_N + i];
        *c = (struct client){.nr = CLIENTS_N + i, .is_final = 1, .final = n};
        n_final++;
        begin(c, 0);
    }
}

int clients_final_left(void)
{
    return n_final;
}

void clients_check(void)
{
    struct linear_verdict v;
    enum linear_answer a = linear_check(history, n_history, 2000000, &v);
    if (a == LINEAR_NO) {
        sim_bad("not linearizable: %s", v.text);
    }
    sim_trace(a == LINEAR_YES ? "linearizable" : "not decided", n_history, v.n_steps);
}
