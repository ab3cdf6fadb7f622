/* SPDX-License-Identifier: Apache-2.0 */
/* Who is in the cluster: handing leadership over, adding, replacing and removing members.
 *
 * One operation at a time, on the leader, one CHANGE at a time. What keeps it safe (G8): a new
 * CHANGE only when the one before is committed and every voter that stays has it; a learner votes
 * only after it has caught up; never fewer than two voters; the leader never removes itself;
 * nothing before an entry of the leader's own term is committed. An operation that loses its leader
 * stops where it is: issued again, it goes on from there, as each step looks at what the
 * configuration already says.
 *
 *      replica_member_add                                     replica_member_remove
 *             |                                                        |
 *         OP_LEARNER --- is a member already ---+                      |
 *             | CHANGE: +learner                |                      |
 *             v                                 v                      v
 *         OP_CATCH_UP -- its log is ours --> OP_PROMOTE --------> OP_REMOVE (only with someone to
 * remove) | CHANGE: voter        | CHANGE: -member v                      v OP_SETTLE
 * <---------------+      all have it: done */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "raft/replica_impl.h"

enum { ANSWERS_MAX = 16, CATCH_UP_LAG = 1000, STALLED_MS = 60000 };

enum op_state { OP_NONE, OP_LEARNER, OP_CATCH_UP, OP_PROMOTE, OP_REMOVE, OP_SETTLE };

struct answer {
    replica_done_cb cb;
    void *arg;
    int code;
    const char *why;
};

struct members_op {
    enum op_state state;
    mu_term term;
    struct replica_member newcomer; /* id 0: none */
    mu_node_id remove;              /* 0: none */
    char remove_name[REPLICA_NAME_MAX + 1];
    mu_index seen_match; /* of the newcomer, and when it last grew */
    int64_t grew_at;
    char text[160];
    struct answer answers[ANSWERS_MAX];
    size_t n_answers;
};

static struct members_op *op_of(struct replica *r)
{
    if (r->members == NULL) {
        r->members = mem_zalloc(sizeof(*r->members));
    }
    return r->members;
}

/* Given in the turn, never inside the call. */
static void answer(struct replica *r, replica_done_cb cb, void *arg, int code, const char *why)
{
    struct members_op *o = op_of(r);
    replica_touch(r);
    if (cb == NULL) {
        return;
    }
    if (o->n_answers == ANSWERS_MAX) {
        cb(arg, MU_E_OVERLOADED, "too many operations at once");
        return;
    }
    o->answers[o->n_answers++] = (struct answer){cb, arg, code, why};
}

static void give_answers(struct members_op *o)
{
    struct answer a[ANSWERS_MAX];
    size_t n = o->n_answers;
    memcpy(a, o->answers, n * sizeof(a[0]));
    o->n_answers = 0;
    for (size_t i = 0; i < n; i++) {
        a[i].cb(a[i].arg, a[i].code, a[i].why);
    }
}

/* --- leadership --- */

/* The engine would take any voter; a dead one makes for a second without writes. */
static mu_node_id best_heir(const struct replica *r)
{
    const struct peer *best = NULL;
    for (size_t i = 0; i < r->n_peers; i++) {
        const struct peer *p = &r->peers[i];
        if (p->m.is_voter && p->is_up &&
            (best == NULL || node_match(r->node, p->m.id) > node_match(r->node, best->m.id))) {
            best = p;
        }
    }
    return best != NULL ? best->m.id : 0;
}

void replica_transfer(struct replica *r, mu_node_id to, replica_done_cb cb, void *arg)
{
    if (r->is_damaged || !replica_is_leader(r)) {
        answer(r, cb, arg, MU_E_NOT_LEADER, "this node does not lead");
        return;
    }
    if (r->transfer.is_running) {
        answer(r, cb, arg, MU_E_CONFLICT, "leadership is being handed over already");
        return;
    }
    to = to != 0 ? to : best_heir(r);
    const struct peer *heir = to != 0 ? peers_find(r, to) : NULL;
    if (heir == NULL || !heir->m.is_voter) {
        answer(r, cb, arg, MU_E_CONFLICT,
               to == 0 ? "no other voter is reachable" : "that member is no voter, or is this one");
        return;
    }
    op_of(r);
    r->transfer = (struct transfer){
        .cb = cb, .arg = arg, .is_running = 1, .to = to, .term = node_term(r->node)};
    r->transfer.deadline_at = clock_mono_ms() + 4 * REPLICA_ELECTION_MS;
    replica_touch(r);
}

static void transfer_turn(struct replica *r)
{
    struct transfer *t = &r->transfer;
    if (!t->is_running) {
        return;
    }
    if (!replica_is_leader(r) || node_term(r->node) != t->term) {
        /* Handed over; who leads now is a heartbeat away. */
        if (replica_leader(r) != 0 || clock_mono_ms() >= t->deadline_at) {
            t->is_running = 0;
            answer(r, t->cb, t->arg, replica_leader(r) != 0 ? 0 : MU_E_TIMEOUT,
                   replica_leader(r) != 0 ? NULL : "no new leader in time");
        }
    } else if (t->to != 0 && clock_mono_ms() < t->deadline_at) {
        /* New proposals wait meanwhile (propose_turn), so it does catch up. */
        int rc = node_transfer(r->node, t->to, clock_mono_ms());
        t->to = rc == MU_E_TIMEOUT ? t->to : 0;
    } else if (node_transferee(r->node) == 0) {
        t->is_running = 0;
        answer(r, t->cb, t->arg, MU_E_TIMEOUT, "the other member did not take over in time");
    }
}

/* --- starting an operation --- */

static const char no_member[] = "there is no such member";

static const char *refuse_any(struct replica *r)
{
    if (r->is_damaged || !replica_is_leader(r)) {
        return "this node does not lead";
    }
    if (!replica_is_ready_leader(r)) {
        return "this node has just begun to lead; try again";
    }
    if (conf_voters(node_conf(r->node)) < 2) {
        return "a single node cannot grow or shrink while it runs";
    }
    if (r->members != NULL && r->members->state != OP_NONE) {
        return "another change of members is under way";
    }
    return NULL;
}

static const char *refuse_remove(struct replica *r, mu_node_id id, int is_replaced)
{
    const struct conf *c = node_conf(r->node);
    int i = conf_find(c, id);
    if (i < 0) {
        return no_member;
    }
    if (id == r->self) {
        return "this node leads: hand leadership over first";
    }
    if (c->members[i].is_voter && conf_voters(c) + (is_replaced ? 1 : 0) < 3) {
        return "fewer than two voters would stay";
    }
    return NULL;
}

static const char *refuse_add(struct replica *r, const struct replica_member *m, mu_node_id replace)
{
    const struct conf *c = node_conf(r->node);
    int i = conf_find(c, replica_id_of(m->name));
    if (m->name[0] == 0 || m->address[0] == 0 || strchr(m->address, '@') != NULL) {
        return "a member needs a name and an address host:port";
    }
    if (i < 0 && c->n == REPLICA_MEMBERS_MAX) {
        return "there are as many members as possible";
    }
    for (size_t k = 0; k < c->n; k++) {
        if ((int)k != i && strcmp(c->members[k].address, m->address) == 0 &&
            c->members[k].id != replace) {
            return "another member has that address";
        }
    }
    return replace != 0 && conf_find(c, replace) >= 0 ? refuse_remove(r, replace, 1) : NULL;
}

static void begin(struct replica *r, enum op_state state, mu_node_id remove)
{
    struct members_op *o = op_of(r);
    const struct conf *c = node_conf(r->node);
    int i = conf_find(c, remove);
    o->state = state;
    o->term = node_term(r->node);
    o->remove = i >= 0 ? remove : 0;
    o->seen_match = 0;
    o->grew_at = clock_mono_ms();
    snprintf(o->remove_name, sizeof(o->remove_name), "%s", i >= 0 ? c->members[i].name : "");
    replica_touch(r);
}

static int code_of(const struct replica *r, const char *why)
{
    return !replica_is_leader(r) ? MU_E_NOT_LEADER
           : why == no_member    ? MU_E_NOT_FOUND
                                 : MU_E_CONFLICT;
}

void replica_member_add(struct replica *r, const struct replica_member *m, mu_node_id replace,
                        replica_done_cb cb, void *arg)
{
    const char *why = refuse_any(r);
    why = why != NULL ? why : refuse_add(r, m, replace);
    if (why != NULL) {
        answer(r, cb, arg, code_of(r, why), why);
        return;
    }
    begin(r, OP_LEARNER, replace);
    r->members->newcomer = *m;
    r->members->newcomer.id = replica_id_of(m->name);
    log_info("raft", "adding a member", LOG_STR("name", m->name), LOG_STR("address", m->address),
             LOG_STR("replaces", r->members->remove_name));
    answer(r, cb, arg, 0, NULL);
}

void replica_member_remove(struct replica *r, mu_node_id id, replica_done_cb cb, void *arg)
{
    const char *why = refuse_any(r);
    why = why != NULL ? why : refuse_remove(r, id, 0);
    if (why != NULL) {
        answer(r, cb, arg, code_of(r, why), why);
        return;
    }
    begin(r, OP_REMOVE, id);
    r->members->newcomer = (struct replica_member){0};
    log_info("raft", "removing a member", LOG_STR("name", r->members->remove_name));
    answer(r, cb, arg, 0, NULL);
}

/* --- its steps --- */

static void say(struct members_op *o, const char *what, const char *whom)
{
    snprintf(o->text, sizeof(o->text), "%s %s", what, whom);
}

static void end(struct members_op *o, const char *how, const char *whom)
{
    o->state = OP_NONE;
    say(o, how, whom);
    log_info("raft", "change of members ended", LOG_STR("how", o->text));
}

/* G8: the last CHANGE is committed, and all voters that stay have it. */
static int is_settled(struct replica *r)
{
    const struct conf *c = node_conf(r->node);
    struct members_op *o = r->members;
    mu_index at = node_conf_index(r->node);
    if (!node_is_conf_committed(r->node) || !node_can_submit(r->node)) {
        return 0;
    }
    for (size_t i = 0; i < c->n; i++) {
        const struct replica_member *m = &c->members[i];
        if (m->is_voter && m->id != r->self && m->id != o->remove &&
            node_match(r->node, m->id) < at) {
            say(o, "waiting until the last change has reached", m->name);
            return 0;
        }
    }
    return 1;
}

static int submit(struct replica *r, const struct conf *c)
{
    struct wal_entry e = {.kind = WAL_CHANGE};
    struct buf b;
    mu_index first;
    MU_INVARIANT(conf_voters(c) >= 2 && conf_find(c, r->self) >= 0);
    buf_init(&b);
    conf_encode(&b, c);
    e.data = buf_slice(&b);
    int rc = node_submit(r->node, &e, 1, &first, clock_mono_ms());
    buf_fini(&b);
    replica_touch(r);
    return rc;
}

static void step_learner(struct replica *r, struct members_op *o)
{
    struct conf c = *node_conf(r->node);
    int i = conf_find(&c, o->newcomer.id);
    if (i >= 0) {
        o->state = c.members[i].is_voter ? OP_REMOVE : OP_CATCH_UP;
        replica_touch(r);
        return;
    }
    say(o, "adding", o->newcomer.name);
    if (is_settled(r)) {
        c.members[c.n] = o->newcomer;
        c.members[c.n++].is_voter = 0;
        if (submit(r, &c) == 0) {
            o->state = OP_CATCH_UP;
        }
    }
}

static void step_catch_up(struct replica *r, struct members_op *o, int64_t now)
{
    mu_index match = node_match(r->node, o->newcomer.id), last = node_last(r->node);
    if (match > o->seen_match) {
        o->seen_match = match;
        o->grew_at = now;
    }
    snprintf(o->text, sizeof(o->text), "waiting for %s to catch up: %llu of %llu", o->newcomer.name,
             (unsigned long long)match, (unsigned long long)last);
    if (match > 0 && match >= node_conf_index(r->node) && match + CATCH_UP_LAG >= last) {
        o->state = OP_PROMOTE;
        replica_touch(r);
    } else if (now - o->grew_at > STALLED_MS) {
        end(o, "given up, it stays a learner; start it and add it again:", o->newcomer.name);
    }
}

static void step_promote(struct replica *r, struct members_op *o)
{
    struct conf c = *node_conf(r->node);
    int i = conf_find(&c, o->newcomer.id);
    if (i < 0) {
        end(o, "given up, no longer a member:", o->newcomer.name);
        return;
    }
    say(o, "promoting", o->newcomer.name);
    if (is_settled(r)) {
        c.members[i].is_voter = 1;
        if (submit(r, &c) == 0) {
            o->state = o->remove != 0 ? OP_REMOVE : OP_SETTLE;
        }
    }
}

static void step_remove(struct replica *r, struct members_op *o)
{
    struct conf c = *node_conf(r->node);
    int i = conf_find(&c, o->remove);
    if (o->remove == 0 || i < 0) {
        o->state = OP_SETTLE;
        replica_touch(r);
        return;
    }
    say(o, "removing", o->remove_name);
    if (!is_settled(r)) {
        return;
    }
    const char *why = refuse_remove(r, o->remove, 0);
    if (why != NULL) {
        end(o, why, o->remove_name);
        return;
    }
    memmove(&c.members[i], &c.members[i + 1], (c.n - (size_t)i - 1) * sizeof(c.members[0]));
    c.n--;
    if (submit(r, &c) == 0) {
        o->remove = 0;
        o->state = OP_SETTLE;
    }
}

static void step(struct replica *r, struct members_op *o)
{
    if (o->state != OP_NONE && (!replica_is_leader(r) || node_term(r->node) != o->term)) {
        end(o, "stopped, leadership was lost; issue it again", "");
        return;
    }
    switch (o->state) {
    case OP_NONE:
        return;
    case OP_LEARNER:
        step_learner(r, o);
        return;
    case OP_CATCH_UP:
        step_catch_up(r, o, clock_mono_ms());
        return;
    case OP_PROMOTE:
        step_promote(r, o);
        return;
    case OP_REMOVE:
        step_remove(r, o);
        return;
    case OP_SETTLE:
        if (is_settled(r)) {
            end(o, "done:", o->newcomer.id != 0 ? o->newcomer.name : o->remove_name);
        }
        return;
    }
}

void members_turn(struct replica *r)
{
    struct members_op *o = r->members;
    if (o == NULL) {
        return;
    }
    transfer_turn(r);
    step(r, o);
    if (o->n_answers > 0) {
        give_answers(o);
    }
}

int members_is_busy(const struct replica *r)
{
    return r->transfer.is_running ||
           (r->members != NULL && (r->members->state != OP_NONE || r->members->n_answers > 0));
}

void members_status(const struct replica *r, char *out, size_t cap)
{
    snprintf(out, cap, "%s", r->members != NULL ? r->members->text : "");
}

void members_close(struct replica *r)
{
    struct members_op *o = r->members;
    if (o == NULL) {
        return;
    }
    if (r->transfer.is_running) {
        r->transfer.is_running = 0;
        answer(r, r->transfer.cb, r->transfer.arg, MU_E_CLOSED, "this node is stopping");
    }
    give_answers(o);
    mem_free(o);
    r->members = NULL;
}
