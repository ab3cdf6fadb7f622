/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a node and its step.
 *
 * Order inside one step, which safety rests on: (1) term and vote are saved, durably; (2) entries
 * go to the wal's owner side, truncating there first when they start at or below its end; (3)
 * messages leave. An acknowledgement of entries is made by the engine only after node_persisted, so
 * messages may leave before the write. (4) A new leader appends its own entry in the same call
 * (G7). */
#include "raft/node_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

_Static_assert((int)RAFT_COMMAND == (int)WAL_COMMAND && (int)RAFT_BARRIER == (int)WAL_BARRIER &&
                   (int)RAFT_CHANGE == (int)WAL_CHANGE,
               "kinds of entries are passed through");

enum {
    CATCH_UP_ROUND_MS = 5000,
    SNAPSHOT_RETRY_MS = 1000,
    TIMEOUT_STEP_MS = 3,
    SOLE_RETRY_MS = 20
};

void node_fatal(struct node *n, const char *what, int rv)
{
    char why[320];
    snprintf(why, sizeof(why), "raft: %s: %s (%s)", what, raft_strerror(rv), n->raft.errmsg);
    n->o.ops->fatal(n->o.arg, why);
    err_invariant_failed(why, __FILE__, __LINE__);
}

struct raft_entry *node_entries(struct node *n, size_t count)
{
    if (count > n->entries_cap) {
        n->entries = mem_realloc(n->entries, count * sizeof(*n->entries));
        n->entries_cap = count;
    }
    return n->entries;
}

/* The engine takes what it is given: bytes were checked by conf_decode when they came in. */
void node_decode(struct node *n, struct slice s, struct raft_configuration *out)
{
    struct conf check;
    struct raft_buffer b = {.base = (void *)(uintptr_t)s.p, .len = s.len};
    if (conf_decode(s, &check) != 0) {
        node_fatal(n, "configuration", RAFT_MALFORMED);
    }
    raft_configuration_init(out);
    int rv = raft_configuration_decode(&b, out);
    if (rv != 0) {
        node_fatal(n, "configuration", rv);
    }
}

static int sets_sole_voter(const struct node *n)
{
    return conf_is_sole_voter(&n->conf, n->o.id);
}

/* --- what a step brings --- */

static void save_vote(struct node *n)
{
    struct raft *r = &n->raft;
    MU_INVARIANT(raft_current_term(r) >= n->term);
    MU_INVARIANT(raft_current_term(r) > n->term || n->vote == 0 || n->vote == raft_voted_for(r));
    if (raft_current_term(r) != n->term || raft_voted_for(r) != n->vote) {
        n->term = raft_current_term(r);
        n->vote = raft_voted_for(r);
        n->o.ops->save_vote(n->o.arg, n->term, n->vote);
    }
}

static void append(struct node *n, const struct raft_update *u)
{
    mu_index first = u->entries.index, last = wal_last(n->o.wal);
    MU_INVARIANT(u->entries.n > 0 && first >= 1 && first <= last + 1);
    MU_INVARIANT(first > n->commit); /* what is committed is never cut */
    if (u->entries.n > n->appended_cap) {
        n->appended = mem_realloc(n->appended, u->entries.n * sizeof(*n->appended));
        n->appended_cap = u->entries.n;
    }
    for (unsigned i = 0; i < u->entries.n; i++) {
        const struct raft_entry *e = &u->entries.batch[i];
        MU_INVARIANT(e->term > 0 && e->term <= raft_current_term(&n->raft));
        n->appended[i] = (struct wal_entry){.term = e->term,
                                            .kind = (enum wal_kind)e->type,
                                            .data = slice_of(e->buf.base, e->buf.len)};
    }
    wal_append(n->o.wal, first, n->appended, u->entries.n);
    MU_INVARIANT(wal_last(n->o.wal) == first + u->entries.n - 1);
}

/* Memory behind the entries of an update: SUBMIT's is the caller's; what came by APPEND, and the
 * engine's own barrier, is ours to free. */
static void free_batch(const struct raft_event *e, const struct raft_update *u)
{
    if (e->type != RAFT_SUBMIT) {
        raft_free(u->entries.batch[0].batch);
    }
}

static void begin_install(struct node *n, struct raft_update *u)
{
    struct raft_snapshot_metadata *m = &u->snapshot.metadata;
    MU_INVARIANT(!n->is_installing && m->index > 0 && m->term > 0);
    n->is_installing = 1;
    wal_reset(n->o.wal, m->index, m->term);
    raft_free(u->snapshot.chunk.base);
    raft_configuration_close(&m->configuration);
    n->o.ops->install(n->o.arg);
}

static int to_message(struct node *n, const struct raft_message *rm, struct message *m)
{
    *m = (struct message){0};
    switch (rm->type) {
    case RAFT_APPEND_ENTRIES:
        m->type = MESSAGE_APPEND;
        m->term = rm->append_entries.term;
        m->append.prev = rm->append_entries.prev_log_index;
        m->append.prev_term = rm->append_entries.prev_log_term;
        m->append.commit = rm->append_entries.leader_commit;
        m->append.n = rm->append_entries.n_entries;
        MU_INVARIANT(m->append.n == 0 || m->append.prev + 1 >= wal_first(n->o.wal));
        MU_INVARIANT(m->append.prev + m->append.n <= wal_last(n->o.wal) || m->append.n == 0);
        return 1;
    case RAFT_APPEND_ENTRIES_RESULT:
        m->type = MESSAGE_APPEND_RESULT;
        m->term = rm->append_entries_result.term;
        m->append_result.rejected = rm->append_entries_result.rejected;
        m->append_result.last = rm->append_entries_result.last_log_index;
        return 1;
    case RAFT_REQUEST_VOTE:
        m->type = MESSAGE_VOTE;
        m->term = rm->request_vote.term;
        m->vote.last = rm->request_vote.last_log_index;
        m->vote.last_term = rm->request_vote.last_log_term;
        m->vote.is_disrupt = rm->request_vote.disrupt_leader;
        m->vote.is_pre = rm->request_vote.pre_vote;
        return 1;
    case RAFT_REQUEST_VOTE_RESULT:
        m->type = MESSAGE_VOTE_RESULT;
        m->term = rm->request_vote_result.term;
        m->vote_result.is_granted = rm->request_vote_result.vote_granted;
        m->vote_result.is_pre = rm->request_vote_result.pre_vote;
        return 1;
    case RAFT_TIMEOUT_NOW:
        m->type = MESSAGE_TIMEOUT_NOW;
        m->term = rm->timeout_now.term;
        m->timeout_now.last = rm->timeout_now.last_log_index;
        m->timeout_now.last_term = rm->timeout_now.last_log_term;
        return 1;
    case RAFT_INSTALL_SNAPSHOT:
        n->o.ops->need_snapshot(n->o.arg, rm->server_id, rm->install_snapshot.last_index);
        return 0;
    }
    return 0;
}

static void send_messages(struct node *n, const struct raft_update *u)
{
    for (unsigned i = 0; i < u->messages.n; i++) {
        struct message m;
        if (to_message(n, &u->messages.batch[i], &m)) {
            node_guard_out(n, &m, &u->messages.batch[i]);
            n->o.ops->send(n->o.arg, u->messages.batch[i].server_id, &m);
        }
    }
}

static void copy_conf(struct node *n)
{
    const struct raft_configuration *c = &n->raft.configuration;
    struct raft_buffer b;
    n->conf = (struct conf){0};
    if (c->n > 0) {
        int rv = raft_configuration_encode(c, &b);
        MU_INVARIANT(rv == 0 && conf_decode(slice_of(b.base, b.len), &n->conf) == 0);
        raft_free(b.base);
    }
}

static void see_conf(struct node *n)
{
    const struct raft *r = &n->raft;
    if (r->configuration_committed_index == n->conf_committed_seen &&
        r->configuration_uncommitted_index == n->conf_uncommitted_seen &&
        r->configuration.servers == n->conf_seen) {
        return;
    }
    n->conf_committed_seen = r->configuration_committed_index;
    n->conf_uncommitted_seen = r->configuration_uncommitted_index;
    n->conf_seen = r->configuration.servers;
    copy_conf(n);
    n->o.ops->conf_changed(n->o.arg);
}

static void see_commit(struct node *n)
{
    /* The engine's own may fall back (a follower's, when new entries end below it): the highest is
     * kept. */
    mu_index c = raft_commit_index(&n->raft);
    if (c > n->commit) {
        n->commit = c;
    }
}

/* G7: the first entry of our term. The engine adds one only when something is uncommitted. */
static void see_leadership(struct node *n)
{
    struct raft *r = &n->raft;
    if (raft_state(r) != RAFT_LEADER || n->noop_term == raft_current_term(r)) {
        return;
    }
    n->noop_term = raft_current_term(r);
    n->n_elections++;
    mu_index last = wal_last(n->o.wal);
    if (wal_term(n->o.wal, last) == n->noop_term) {
        n->noop = last;
        return;
    }
    n->noop = last + 1;
    if (node_has(n, NODE_G7)) {
        static const uint8_t zero[8];
        struct wal_entry e = {.kind = WAL_BARRIER, .data = slice_of(zero, sizeof(zero))};
        mu_index first;
        int rc = node_submit(n, &e, 1, &first, n->now);
        MU_INVARIANT(rc == 0 && first == n->noop);
    } else {
        n->noop = last;
    }
}

int node_step(struct node *n, struct raft_event *e)
{
    struct raft_update u;
    memset(&u, 0, sizeof(u));
    e->time = (raft_time)n->now;
    e->capacity = 0;
    node_check_event(n, e);
    int rv = raft_step(&n->raft, e, &u);
    if (rv != 0) {
        if (e->type != RAFT_SUBMIT && e->type != RAFT_TRANSFER) {
            node_fatal(n, "step", rv);
        }
        return rv;
    }
    save_vote(n);
    if (node_sees(&u, RAFT_UPDATE_SNAPSHOT)) {
        begin_install(n, &u);
    }
    if (node_sees(&u, RAFT_UPDATE_ENTRIES)) {
        append(n, &u);
    }
    if (node_sees(&u, RAFT_UPDATE_MESSAGES)) {
        send_messages(n, &u);
    }
    if (node_sees(&u, RAFT_UPDATE_ENTRIES)) {
        free_batch(e, &u);
    }
    see_commit(n);
    see_conf(n);
    see_leadership(n);
    return 0;
}

/* --- life --- */

static void core_init(struct node *n)
{
    struct raft *r = &n->raft;
    memset(r, 0, sizeof(*r));
    int rv = raft_init(r, NULL, NULL, n->o.id, n->address);
    MU_INVARIANT(rv == 0);
    r->tracer = NULL; /* otherwise every step formats text */
    raft_seed(r, n->o.seed++);
    raft_set_election_timeout(r, n->o.election_ms);
    raft_set_heartbeat_timeout(r, n->o.heartbeat_ms);
    raft_set_install_snapshot_timeout(r, SNAPSHOT_RETRY_MS);
    raft_set_pre_vote(r, true);
    raft_set_max_inflight_entries(r, n->o.max_inflight);
    raft_set_max_catch_up_round_duration(r, CATCH_UP_ROUND_MS);
}

struct node *node_new(const struct node_options *o)
{
    struct node *n = mem_zalloc(sizeof(*n));
    n->o = *o;
    snprintf(n->address, sizeof(n->address), "%s@", o->name);
    buf_init(&n->base_conf);
    core_init(n);
    return n;
}

void node_free(struct node *n)
{
    if (n == NULL) {
        return;
    }
    raft_close(&n->raft, NULL);
    buf_fini(&n->base_conf);
    mem_free(n->entries);
    mem_free(n->appended);
    mem_free(n);
}

static void set_base(struct node *n, const struct node_base *b)
{
    n->base_index = b->index;
    n->base_term = b->term;
    n->base_conf_index = b->conf_index;
    if (b->conf.p != n->base_conf.p) {
        buf_clear(&n->base_conf);
        buf_append_slice(&n->base_conf, b->conf);
    }
}

struct collect {
    struct node *n;
    struct raft_event *e;
    mu_index first;
    struct buf confs; /* data of all CHANGE entries, which the engine reads during START */
    struct conf newest;
};

static void collect_entry(void *arg, mu_index i, mu_term term, enum wal_kind kind,
                          struct slice data)
{
    struct collect *c = arg;
    struct raft_entry *e = &c->n->entries[i - c->first];
    memset(e, 0, sizeof(*e));
    e->term = term;
    e->type = (enum raft_entry_type)kind;
    if (kind == WAL_CHANGE) {
        e->buf.len = data.len;
        e->buf.base = (void *)(uintptr_t)c->confs.len; /* an offset until the buffer stands still */
        buf_append_slice(&c->confs, data);
        if (conf_decode(data, &c->newest) != 0) {
            node_fatal(c->n, "configuration in the log", RAFT_MALFORMED);
        }
    }
}

static void collect_entries(struct node *n, struct collect *c, struct raft_event *e)
{
    struct err err = {0};
    size_t count = (size_t)(wal_last(n->o.wal) + 1 - wal_first(n->o.wal));
    c->first = wal_first(n->o.wal);
    node_entries(n, count + 1);
    if (wal_each(n->o.wal, collect_entry, c, &err) != 0) {
        n->o.ops->fatal(n->o.arg, err.text);
    }
    for (size_t i = 0; i < count; i++) {
        if (n->entries[i].type == RAFT_CHANGE) {
            n->entries[i].buf.base = c->confs.p + (uintptr_t)n->entries[i].buf.base;
        }
        n->entries[i].batch = n->entries;
    }
    e->start.start_index = c->first;
    e->start.entries = n->entries;
    e->start.n_entries = (unsigned)count;
}

/* The engine checks nothing of this. */
static void check_start(struct node *n, const struct raft_event *e)
{
    mu_index last = wal_last(n->o.wal);
    MU_INVARIANT(wal_durable(n->o.wal) == last);
    if (n->base_index == 0) {
        MU_INVARIANT(e->start.start_index == 1 &&
                     (e->start.n_entries == 0 || e->start.entries[0].type == RAFT_CHANGE));
    } else {
        MU_INVARIANT(e->start.start_index <= n->base_index + 1 && last >= n->base_index);
        MU_INVARIANT(wal_term(n->o.wal, n->base_index) == n->base_term || last < n->base_index + 1);
    }
    MU_INVARIANT(e->start.n_entries == 0 || wal_term(n->o.wal, last) <= n->term);
    MU_INVARIANT(n->base_term <= n->term);
}

static void start_core(struct node *n)
{
    struct raft_event e = {.type = RAFT_START};
    struct raft_snapshot_metadata meta = {0};
    struct collect c = {.n = n};
    buf_init(&c.confs);
    if (n->base_index > 0) {
        conf_decode(buf_slice(&n->base_conf), &c.newest);
        meta.index = n->base_index;
        meta.term = n->base_term;
        meta.configuration_index = n->base_conf_index;
        node_decode(n, buf_slice(&n->base_conf), &meta.configuration);
        e.start.metadata = &meta;
    }
    collect_entries(n, &c, &e);
    /* G9: the engine lets a sole voter lead again in its old term; what it sent to a learner and
     * lost in a crash would then exist twice. */
    if (node_has(n, NODE_G9) && conf_is_sole_voter(&c.newest, n->o.id)) {
        n->term++;
        n->vote = n->o.id;
        n->o.ops->save_vote(n->o.arg, n->term, n->vote);
    }
    e.start.term = n->term;
    e.start.voted_for = n->vote;
    check_start(n, &e);
    n->conf_seen = NULL;
    n->noop = 0;
    n->noop_term = 0;
    n->is_started = 1;
    node_step(n, &e);
    buf_fini(&c.confs);
    if (n->entries_cap > 65536) { /* a long log at start does not hold memory for ever */
        mem_free(n->entries);
        n->entries = NULL;
        n->entries_cap = 0;
    }
}

void node_start(struct node *n, mu_term term, mu_node_id vote, const struct node_base *base,
                int64_t now)
{
    MU_INVARIANT(!n->is_started);
    n->term = term;
    n->vote = vote;
    n->now = now;
    if (base != NULL) {
        set_base(n, base);
    }
    start_core(n);
}

/* --- inputs --- */

static void set_now(struct node *n, int64_t now)
{
    MU_INVARIANT(n->is_started);
    if (now > n->now) {
        n->now = now;
    }
}

int64_t node_deadline(const struct node *n)
{
    if (!n->is_started) {
        return INT64_MAX;
    }
    int64_t t = (int64_t)raft_timeout(&n->raft);
    /* G5: with a server demoted the engine's answer can stay in the past. */
    if (node_has(n, NODE_G5) && n->fired_at > 0 && t < n->fired_at + TIMEOUT_STEP_MS) {
        return n->fired_at + TIMEOUT_STEP_MS;
    }
    return t;
}

/* G9, the other way in: a sole voter that does not lead starts anew, in a new term, once all it
 * wrote is durable. */
static void restart_as_sole_voter(struct node *n)
{
    if (n->is_installing || wal_durable(n->o.wal) != wal_last(n->o.wal)) {
        n->fired_at = n->now + SOLE_RETRY_MS - TIMEOUT_STEP_MS;
        return;
    }
    raft_close(&n->raft, NULL);
    core_init(n);
    start_core(n);
}

void node_restart(struct node *n)
{
    struct node_base base = {0};
    n->o.ops->base(n->o.arg, &base);
    if (base.index > 0) {
        set_base(n, &base);
    }
    raft_close(&n->raft, NULL);
    core_init(n);
    start_core(n);
}

void node_tick(struct node *n, int64_t now)
{
    set_now(n, now);
    if (n->now < node_deadline(n)) {
        return;
    }
    n->fired_at = n->now;
    if (node_has(n, NODE_G9) && sets_sole_voter(n) && raft_state(&n->raft) != RAFT_LEADER) {
        restart_as_sole_voter(n);
        return;
    }
    struct raft_event e = {.type = RAFT_TIMEOUT};
    node_step(n, &e);
}

int node_submit(struct node *n, struct wal_entry *entries, size_t count, mu_index *out_first,
                int64_t now)
{
    set_now(n, now);
    MU_INVARIANT(count > 0);
    if (!node_can_submit(n)) {
        return MU_E_NOT_LEADER;
    }
    struct raft_entry *re = node_entries(n, count);
    mu_index first = wal_last(n->o.wal) + 1;
    mu_term term = raft_current_term(&n->raft);
    for (size_t i = 0; i < count; i++) {
        /* A refused CHANGE after other entries would leave the engine's log longer than ours. */
        MU_INVARIANT(entries[i].kind != WAL_CHANGE || count == 1);
        entries[i].term = term;
        re[i] = (struct raft_entry){
            .term = term, .type = (enum raft_entry_type)entries[i].kind, .batch = re};
        re[i].buf = (struct raft_buffer){.base = (void *)(uintptr_t)entries[i].data.p,
                                         .len = entries[i].data.len};
    }
    struct raft_event e = {.type = RAFT_SUBMIT, .submit = {.entries = re, .n = (unsigned)count}};
    int rv = node_step(n, &e);
    if (rv == RAFT_CANTCHANGE) {
        return MU_E_CONFLICT;
    }
    if (rv != 0) {
        node_fatal(n, "submit", rv);
    }
    *out_first = first;
    return 0;
}

void node_persisted(struct node *n, mu_index durable, int64_t now)
{
    struct raft *r = &n->raft;
    set_now(n, now);
    /* Nothing while an install is queued: the engine's log has begun anew already. */
    if (n->is_installing || durable <= r->last_stored) {
        return;
    }
    MU_INVARIANT(durable <= wal_last(n->o.wal));
    MU_INVARIANT(raft_state(r) != RAFT_CANDIDATE);
    struct raft_event e = {.type = RAFT_PERSISTED_ENTRIES, .persisted_entries = {.index = durable}};
    node_step(n, &e);
}

void node_tell_conf(struct node *n, mu_index i, struct slice conf)
{
    struct raft_event e = {.type = RAFT_CONFIGURATION};
    e.configuration.index = i;
    node_decode(n, conf, &e.configuration.conf);
    node_step(n, &e);
}

void node_applied(struct node *n, mu_index i, const struct wal_entry *e, int64_t now)
{
    set_now(n, now);
    MU_INVARIANT(i <= n->commit);
    if (e->kind == WAL_CHANGE) {
        node_tell_conf(n, i, e->data);
    }
}

/* --- snapshots --- */

int node_install(struct node *n, mu_node_id from, mu_term from_term, const struct node_base *s,
                 int64_t now)
{
    set_now(n, now);
    MU_INVARIANT(!n->is_installing);
    if (s->index <= n->commit || from_term < raft_current_term(&n->raft)) {
        return 0; /* (the engine's answer to an old term would hold a number it never set) */
    }
    struct raft_message m = {
        .type = RAFT_INSTALL_SNAPSHOT, .server_id = from, .server_address = "peer"};
    m.install_snapshot.term = from_term;
    m.install_snapshot.last_index = s->index;
    m.install_snapshot.last_term = s->term;
    m.install_snapshot.conf_index = s->conf_index;
    node_decode(n, s->conf, &m.install_snapshot.conf);
    m.install_snapshot.data = (struct raft_buffer){.base = raft_malloc(1), .len = 1};
    struct raft_event e = {.type = RAFT_RECEIVE, .receive = {.message = &m}};
    node_step(n, &e);
    if (from_term == raft_current_term(&n->raft)) {
        n->leader_term = from_term;
    }
    return n->is_installing;
}

void node_installed(struct node *n, const struct node_base *s, int64_t now)
{
    set_now(n, now);
    MU_INVARIANT(n->is_installing && wal_last(n->o.wal) == s->index &&
                 wal_durable(n->o.wal) >= s->index);
    MU_INVARIANT(raft_state(&n->raft) == RAFT_FOLLOWER);
    set_base(n, s);
    struct raft_event e = {.type = RAFT_PERSISTED_SNAPSHOT};
    e.persisted_snapshot.metadata.index = s->index;
    e.persisted_snapshot.metadata.term = s->term;
    e.persisted_snapshot.metadata.configuration_index = s->conf_index;
    e.persisted_snapshot.last = true;
    node_decode(n, s->conf, &e.persisted_snapshot.metadata.configuration);
    n->is_installing = 0;
    node_step(n, &e);
}

mu_index node_snapshotted(struct node *n, const struct node_base *s, unsigned trailing, int64_t now)
{
    set_now(n, now);
    mu_index first = wal_first(n->o.wal);
    MU_INVARIANT(trailing > n->o.max_inflight + 1);
    if (n->is_installing || s->index <= n->base_index || s->index > n->commit ||
        wal_term(n->o.wal, s->index) != s->term) {
        return 0; /* overtaken by an installed one, or nothing new */
    }
    set_base(n, s);
    struct raft_event e = {.type = RAFT_SNAPSHOT};
    e.snapshot.metadata.index = s->index;
    e.snapshot.metadata.term = s->term;
    e.snapshot.metadata.configuration_index = s->conf_index;
    e.snapshot.trailing = trailing;
    node_decode(n, s->conf, &e.snapshot.metadata.configuration);
    node_step(n, &e);
    mu_index drop = s->index > trailing ? s->index - trailing : 0;
    return drop >= first ? drop : 0;
}

/* --- leadership --- */

/* The engine waits for a heir that is behind, but takes its next acknowledgement, whatever it says,
 * for having caught up: the heir then ignores the word, and the transfer ends with nothing. So the
 * heir must have all before the engine hears of it. */
int node_transfer(struct node *n, mu_node_id to, int64_t now)
{
    set_now(n, now);
    if (raft_state(&n->raft) == RAFT_LEADER && node_match(n, to) != node_last(n)) {
        return MU_E_TIMEOUT;
    }
    struct raft_event e = {.type = RAFT_TRANSFER, .transfer = {.server_id = to}};
    switch (node_step(n, &e)) {
    case 0:
        return 0;
    case RAFT_NOTLEADER:
        return raft_state(&n->raft) == RAFT_LEADER ? MU_E_CONFLICT : MU_E_NOT_LEADER;
    default:
        return MU_E_BAD_REQUEST;
    }
}

void node_saw_term(struct node *n, mu_node_id from, mu_term term, int64_t now)
{
    set_now(n, now);
    if (term > raft_current_term(&n->raft) && raft_state(&n->raft) == RAFT_LEADER) {
        struct raft_message m = {
            .type = RAFT_APPEND_ENTRIES_RESULT, .server_id = from, .server_address = "peer"};
        m.append_entries_result.term = term;
        struct raft_event e = {.type = RAFT_RECEIVE, .receive = {.message = &m}};
        node_step(n, &e);
    }
}
