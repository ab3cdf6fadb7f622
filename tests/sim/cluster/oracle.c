/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold after every event, whatever happened.
 *
 * The truth is what was applied first, by any node: entry, revision and hash at each index. The
 * functions of the real code that the checks hang on are reached through the linker's --wrap. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "raft/replica_impl.h"
#include "storage/view.h"
#include "tests/sim/cluster/world.h"

struct truth {
    mu_term term;
    mu_term in;     /* term of who applied it first: it was committed in this one or before */
    uint64_t entry; /* hash of kind and data */
    uint64_t state; /* the store's hash when a batch ended here; 0: none did */
    mu_rev revision;
};

struct version { /* an entry that was in some log */
    struct version *next;
    mu_term term, prev_term;
    uint64_t entry;
};

struct reign {
    mu_term term;
    int nr;
};

static struct truth *truth;
static struct version **versions;
static mu_index applied;
static mu_rev revision, acked, compacted;
static struct told *changes;
static size_t n_changes, cap_changes;
static struct reign *reigns;
static size_t n_reigns, cap_reigns;

void oracle_init(void)
{
    truth = mem_zalloc(LOG_MAX * sizeof(*truth));
    versions = mem_zalloc(LOG_MAX * sizeof(struct version *));
}

mu_index oracle_applied(void)
{
    return applied;
}

mu_rev oracle_revision(void)
{
    return revision;
}

mu_rev oracle_compacted(void)
{
    return compacted;
}

int oracle_change(size_t k, struct told *out)
{
    if (k >= n_changes) {
        return 0;
    }
    *out = changes[k];
    return 1;
}

static uint64_t entry_hash(unsigned kind, struct slice data)
{
    return hash_xxh3(data.p, data.len, kind);
}

/* --- logs: each entry ever written anywhere --- */

static void note_version(struct sim_node *n, mu_index i, const struct wal_entry *e, mu_term prev)
{
    uint64_t h = entry_hash(e->kind, e->data);
    for (struct version *v = versions[i]; v != NULL; v = v->next) {
        if (v->term == e->term) {
            if (v->entry != h || (prev != 0 && v->prev_term != 0 && v->prev_term != prev)) {
                sim_bad("log matching: node %d has another entry %llu of term %llu", n->nr,
                        (unsigned long long)i, (unsigned long long)e->term);
            }
            return;
        }
    }
    struct version *v = mem_alloc(sizeof(*v));
    *v = (struct version){versions[i], e->term, prev, h};
    versions[i] = v;
}

void __real_wal_append(struct wal *w, mu_index first, const struct wal_entry *entries, size_t n);
void __wrap_wal_append(struct wal *w, mu_index first, const struct wal_entry *entries, size_t n);
void __wrap_wal_append(struct wal *w, mu_index first, const struct wal_entry *entries, size_t n)
{
    struct sim_node *node = world->cur;
    mu_term prev = first > 1 ? wal_term(w, first - 1) : 0;
    MU_INVARIANT(first + n < LOG_MAX);
    if (first <= node->log.last && first <= applied && n > 0 &&
        truth[first].term == node->log.terms[first] && entries[0].term != truth[first].term) {
        sim_bad("node %d truncates entry %llu, which is committed", node->nr,
                (unsigned long long)first);
    }
    for (size_t i = 0; i < n; i++) {
        note_version(node, first + i, &entries[i], prev);
        prev = entries[i].term;
        node->log.terms[first + i] = prev;
    }
    node->log.last = first + n - 1;
    __real_wal_append(w, first, entries, n);
}

void oracle_synced(struct sim_node *n, mu_index last)
{
    n->synced = last;
}

static void mirror_read(struct sim_node *n)
{
    struct wal *w = node_replica(n)->wal;
    n->log.last = wal_last(w);
    for (mu_index i = wal_first(w) > 1 ? wal_first(w) - 1 : 1; i <= n->log.last; i++) {
        n->log.terms[i] = wal_term(w, i);
    }
    n->synced = n->log.last;
}

/* --- after a start: what was promised is there --- */

void oracle_booted(struct sim_node *n)
{
    struct replica *r = node_replica(n);
    if (r->is_damaged) {
        if (!n->is_flipped) {
            sim_bad("node %d takes its log for damaged, but nobody touched it: %s", n->nr,
                    r->damage);
        }
        sim_trace("damaged", (uint64_t)n->nr, 0);
        world->out->rejoins++;
        n->synced = 0;
        return;
    }
    if (wal_last(r->wal) < n->durable_down) {
        sim_bad("node %d had entry %llu durable; after the start its log ends at %llu", n->nr,
                (unsigned long long)n->durable_down, (unsigned long long)wal_last(r->wal));
    }
    if (node_term(r->node) < n->seen_term) {
        sim_bad("node %d was in term %llu, after the start in %llu", n->nr,
                (unsigned long long)n->seen_term, (unsigned long long)node_term(r->node));
    }
    mirror_read(n);
}

/* --- votes and acknowledgements, as they leave --- */

static void check_vote(struct sim_node *n, mu_node_id to, const struct message *m)
{
    if (!m->vote_result.is_granted || m->vote_result.is_pre) {
        return;
    }
    if (m->term < n->voted_term[0] || (m->term == n->voted_term[0] && n->voted_for != to)) {
        sim_bad("node %d votes twice in term %llu, or in a term that is over", n->nr,
                (unsigned long long)m->term);
    }
    n->voted_term[0] = m->term;
    n->voted_for = to;
}

void oracle_sent(struct sim_node *from, mu_node_id to, uint8_t type, struct slice body)
{
    struct message_scratch s = {0};
    struct message m;
    if (type != MESSAGE_VOTE_RESULT && type != MESSAGE_APPEND_RESULT) {
        return;
    }
    if (message_decode(type, body, &s, &m) != 0) {
        sim_bad("node %d sends what cannot be read", from->nr);
    }
    if (type == MESSAGE_VOTE_RESULT) {
        check_vote(from, to, &m);
    } else if (m.append_result.rejected == 0 && m.append_result.last > from->synced) {
        sim_bad("node %d acknowledges entry %llu, durable are those up to %llu", from->nr,
                (unsigned long long)m.append_result.last, (unsigned long long)from->synced);
    }
    message_scratch_fini(&s);
}

void oracle_acked(mu_rev rev)
{
    acked = rev > acked ? rev : acked;
}

/* --- leaders --- */

static mu_term term_at(struct sim_node *n, mu_index i)
{
    struct wal *w = node_replica(n)->wal;
    return i + 1 < wal_first(w) ? truth[i].term : wal_term(w, i);
}

/* The last entry that was committed in a term before this one. A leader that won late, of a term
 * that others have left behind, need not have what they committed since. */
static mu_index committed_before(mu_term term)
{
    mu_index i = applied;
    while (i > 0 && truth[i].in >= term) {
        i--;
    }
    return i;
}

static void check_complete(struct sim_node *n, mu_index i)
{
    struct wal *w = node_replica(n)->wal;
    if (i > 0 && (wal_last(w) < i || (term_at(n, i) != truth[i].term && term_at(n, i) != 0))) {
        sim_bad("leader completeness: node %d leads term %llu without the committed entry %llu",
                n->nr, (unsigned long long)node_term(node_replica(n)->node), (unsigned long long)i);
    }
}

static void new_leader(struct sim_node *n, mu_term term)
{
    for (size_t i = 0; i < n_reigns; i++) {
        if (reigns[i].term == term && reigns[i].nr != n->nr) {
            sim_bad("election safety: nodes %d and %d lead in term %llu", reigns[i].nr, n->nr,
                    (unsigned long long)term);
        }
    }
    if (n_reigns == cap_reigns) {
        cap_reigns = cap_reigns != 0 ? 2 * cap_reigns : 64;
        reigns = mem_realloc(reigns, cap_reigns * sizeof(*reigns));
    }
    reigns[n_reigns++] = (struct reign){term, n->nr};
    world->out->elections++;
    sim_trace("leads", (uint64_t)n->nr, term);
    check_complete(n, committed_before(term));
    faults_leader_seen(n);
}

void oracle_looked(struct sim_node *n)
{
    struct replica *r = node_replica(n);
    if (r == NULL || r->is_damaged || r->node == NULL || !r->is_started) {
        return;
    }
    if (n->is_flipped && r->applied > 0 && wal_durable(r->wal) >= r->applied) {
        n->is_flipped = 0; /* healed, or the flip had hit nothing */
    }
    mu_term term = node_term(r->node);
    int leads = replica_is_leader(r);
    if (term < n->seen_term) {
        sim_bad("node %d goes back from term %llu to %llu", n->nr, (unsigned long long)n->seen_term,
                (unsigned long long)term);
    }
    if (leads && (!n->was_leader || term != n->seen_term)) {
        new_leader(n, term);
    }
    n->was_leader = leads;
    n->seen_term = term;
}

/* --- applying --- */

static int has_durable(struct sim_node *n, mu_index i, mu_term term)
{
    struct replica *r = node_replica(n);
    if (r == NULL || r->wal == NULL) {
        return n->durable_down >= i && (n->log.terms[i] == term || n->log.terms[i] == 0);
    }
    return wal_durable(r->wal) >= i && (i < wal_first(r->wal) || wal_term(r->wal, i) == term);
}

/* Without changes of members: a majority of the first ones has it on disk. */
static void check_majority(mu_index i, mu_term term)
{
    int n = 0;
    for (int k = 0; k < world->mix.n; k++) {
        n += has_durable(&world->nodes[k], i, term);
    }
    if (!world->mix.has_members && !world->mix.has_damage && n <= world->mix.n / 2) {
        sim_bad("entry %llu is applied, and durable on %d of %d nodes only", (unsigned long long)i,
                n, world->mix.n);
    }
}

static void note_entry(struct sim_node *n, const struct store_entry *e)
{
    uint64_t h = entry_hash(e->kind, e->data);
    if (e->index <= applied) {
        if (truth[e->index].entry != h || truth[e->index].term != e->term) {
            sim_bad("state machine safety: node %d applies another entry %llu", n->nr,
                    (unsigned long long)e->index);
        }
        return;
    }
    if (e->index != applied + 1) {
        sim_bad("node %d applies entry %llu, the last one was %llu", n->nr,
                (unsigned long long)e->index, (unsigned long long)applied);
    }
    applied = e->index;
    truth[applied].entry = h;
    truth[applied].term = e->term;
    truth[applied].in = n->seen_term > e->term ? n->seen_term : e->term;
    world->out->applied++;
    check_majority(e->index, e->term);
    struct sim_node *leader = node_leading();
    if (leader != NULL && node_term(node_replica(leader)->node) > truth[applied].in) {
        check_complete(leader, e->index);
    }
}

static void note_changes(struct sim_node *n, const struct change_set *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct change *x = &c->items[i];
        int key = register_of(x->key);
        if (key < 0 || x->rev <= revision) {
            continue;
        }
        if (n_changes == cap_changes) {
            cap_changes = cap_changes != 0 ? 2 * cap_changes : 256;
            changes = mem_realloc(changes, cap_changes * sizeof(*changes));
        }
        changes[n_changes++] = (struct told){x->rev, x->sub, key, x->is_delete};
    }
    (void)n;
}

static void note_state(struct sim_node *n, struct store *s)
{
    struct store_state st;
    store_state(s, &st);
    struct truth *t = &truth[st.applied];
    if (st.applied > 0 && t->state != 0 && (t->state != st.hash || t->revision != st.revision)) {
        sim_bad("node %d has another state at entry %llu, revision %llu", n->nr,
                (unsigned long long)st.applied, (unsigned long long)st.revision);
    }
    t->state = st.hash;
    t->revision = st.revision;
    revision = st.revision > revision ? st.revision : revision;
    struct view *v = view_open(s);
    mu_rev c = view_compacted(v, SPACE_CONFIG);
    compacted = c > compacted ? c : compacted;
    view_close(v);
}

static void note_leases(struct store *s, const struct store_entry *e)
{
    if (e->kind != STORE_COMMAND || e->data.p[1] != CMD_LEASE_END) {
        return;
    }
    struct command *cmd = mem_alloc(sizeof(*cmd));
    struct view *v = view_open(s);
    struct lease_row row;
    if (command_decode(e->data, cmd) == 0) {
        for (size_t i = 0; i < cmd->u.lease_steps.n; i++) {
            mu_lease_id id = command_lease_step(&cmd->u.lease_steps, i).id;
            if (view_lease(v, id, &row) != 0) {
                keepers_ended(id);
            }
        }
    }
    view_close(v);
    mem_free(cmd);
}

static void check_committed(struct sim_node *n, mu_index last)
{
    struct replica *r = node_replica(n);
    if (r != NULL && (last > node_commit(r->node) || last > n->synced)) {
        sim_bad("node %d applies entry %llu; committed are %llu, durable %llu", n->nr,
                (unsigned long long)last, (unsigned long long)node_commit(r->node),
                (unsigned long long)n->synced);
    }
}

void __real_store_apply(struct store *s, const struct store_entry *entries, size_t n,
                        store_result_fn fn, void *arg, struct change_set *out);
void __wrap_store_apply(struct store *s, const struct store_entry *entries, size_t n,
                        store_result_fn fn, void *arg, struct change_set *out);
void __wrap_store_apply(struct store *s, const struct store_entry *entries, size_t n,
                        store_result_fn fn, void *arg, struct change_set *out)
{
    struct sim_node *node = world->cur;
    mu_index was = applied;
    check_committed(node, entries[n - 1].index);
    for (size_t i = 0; i < n; i++) {
        note_entry(node, &entries[i]);
    }
    __real_store_apply(s, entries, n, fn, arg, out);
    note_changes(node, out);
    note_state(node, s);
    for (size_t i = 0; i < n; i++) {
        if (entries[i].index > was) {
            note_leases(s, &entries[i]);
        }
    }
    sim_trace("applied", (uint64_t)node->nr, entries[n - 1].index);
}

int __real_snapshot_load(struct store *s, const char *path, struct err *e);
int __wrap_snapshot_load(struct store *s, const char *path, struct err *e);
int __wrap_snapshot_load(struct store *s, const char *path, struct err *e)
{
    int rc = __real_snapshot_load(s, path, e);
    struct store_state st;
    store_state(s, &st);
    world->out->installs++;
    sim_trace("snapshot loaded", (uint64_t)world->cur->nr, st.applied);
    if (rc == 0 && (st.applied > applied || st.applied_term != truth[st.applied].term)) {
        sim_bad("node %d loads a snapshot of entry %llu, term %llu, that never was", world->cur->nr,
                (unsigned long long)st.applied, (unsigned long long)st.applied_term);
    }
    if (rc == 0) {
        note_state(world->cur, s);
    }
    return rc;
}

/* --- the end: all that are members stand at the same place --- */

static int is_same_conf(const struct conf *a, const struct conf *b)
{
    int is_same = a->n == b->n;
    for (size_t i = 0; is_same && i < a->n; i++) {
        int k = conf_find(b, a->members[i].id);
        is_same = k >= 0 && a->members[i].is_voter == b->members[k].is_voter;
    }
    return is_same;
}

void oracle_end(void)
{
    struct sim_node *leader = node_leading();
    if (leader == NULL) {
        sim_bad("liveness: no leader after healing");
    }
    const struct conf *c = node_conf(node_replica(leader)->node);
    for (size_t i = 0; i < c->n; i++) {
        struct sim_node *n = node_find(c->members[i].id);
        if (n->is_gone) {
            continue;
        }
        struct replica *r = node_replica(n);
        struct store_state st;
        if (r == NULL || r->is_damaged) {
            sim_bad("liveness: node %d is not back: %s", n->nr, r != NULL ? r->damage : "down");
        }
        store_state(n->store, &st);
        if (st.applied != applied || st.revision != revision) {
            sim_bad("liveness: node %d stands at entry %llu, all others at %llu", n->nr,
                    (unsigned long long)st.applied, (unsigned long long)applied);
        }
        if (!is_same_conf(node_conf(r->node), c)) {
            sim_bad("liveness: node %d has another configuration than the leader", n->nr);
        }
    }
}
