/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/wire.h"

enum { ELECTION_MS = 100, HEARTBEAT_MS = 20, HEALED_MS = 8000 };

struct sim *sim_now;
static jmp_buf stop;

uint32_t sim_rnd(uint32_t n)
{
    uint64_t z = (sim_now->rnd += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return n != 0 ? (uint32_t)((z ^ (z >> 31)) % n) : 0;
}

int sim_chance(uint32_t per_mille)
{
    return sim_rnd(1000) < per_mille;
}

void sim_violated(struct sim *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->violation, sizeof(s->violation), fmt, ap);
    va_end(ap);
    longjmp(stop, 1);
}

struct sim_node *sim_by_id(struct sim *s, mu_node_id id)
{
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        if (s->nodes[i].id == id) {
            return &s->nodes[i];
        }
    }
    return NULL;
}

/* --- the queue of events --- */

static int is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_push(struct sim *s, struct sim_event e)
{
    if (s->n_heap == s->heap_cap) {
        s->heap_cap = s->heap_cap != 0 ? s->heap_cap * 2 : 256;
        s->heap = mem_realloc(s->heap, s->heap_cap * sizeof(*s->heap));
    }
    e.order = s->order++;
    size_t i = s->n_heap++;
    while (i > 0 && is_before(&e, &s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = e;
}

struct sim_event sim_pop(struct sim *s)
{
    struct sim_event top = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;
    for (size_t c = 1; c < s->n_heap; c = 2 * i + 1) {
        if (c + 1 < s->n_heap && is_before(&s->heap[c + 1], &s->heap[c])) {
            c++;
        }
        if (!is_before(&s->heap[c], &last)) {
            break;
        }
        s->heap[i] = s->heap[c];
        i = c;
    }
    s->heap[i] = last;
    return top;
}

/* --- a node: disk and machine --- */

static void feed_disk(struct sim_node *n)
{
    struct sim *s = n->sim;
    if (n->running != NULL || (n->running = wal_take(n->wal)) == NULL) {
        return;
    }
    n->ops_taken++;
    if (n->is_installing && n->install_op == 0) {
        n->install_op = n->ops_taken;
    }
    int64_t ms = 1 + sim_rnd(s->disk_ms);
    if (s->is_faulty && sim_chance(20)) {
        ms += sim_rnd(300);
    }
    sim_push(s, (struct sim_event){
                    .at = s->now + ms, .kind = SIM_EVENT_DISK, .node = n->i, .epoch = n->epoch});
    if ((s->o.guards_off & NODE_DURABLE) != 0) {
        node_persisted(n->node, wal_last(n->wal), s->now + n->skew);
    }
}

static void finish_install(struct sim_node *n)
{
    struct node_base b = {
        .index = n->incoming.index, .term = n->incoming.term, .conf_index = n->incoming.conf_index};
    n->is_installing = 0;
    n->state = n->saved = n->incoming;
    if (n->stored.index < n->incoming.index) {
        n->stored = n->incoming;
    }
    b.conf = slice_of(n->incoming.conf, n->incoming.conf_len);
    node_installed(n->node, &b, n->sim->now + n->skew);
}

static void disk_done(struct sim_node *n)
{
    wal_execute(n->running, NULL);
    mu_index durable = wal_done(n->wal, n->running);
    n->running = NULL;
    n->ops_done++;
    node_persisted(n->node, durable, n->sim->now + n->skew);
    if (n->is_installing && n->install_op != 0 && n->ops_done >= n->install_op) {
        finish_install(n);
    }
    sim_settle(n);
}

static void apply_one(struct sim_node *n, mu_index i)
{
    struct wal_entry e;
    if (wal_read(n->wal, i, 1, 1 << 20, &e, NULL) != 1) {
        sim_violated(n->sim, "node %d applies %llu, which it has not", n->i, (unsigned long long)i);
    }
    n->state.index = i;
    n->state.term = e.term;
    n->state.hash = hash_xxh3(e.data.p, e.data.len, n->state.hash + e.term * 31 + (uint64_t)e.kind);
    if (e.kind == WAL_CHANGE) {
        n->state.conf_index = i;
        n->state.conf_len = e.data.len;
        memcpy(n->state.conf, e.data.p, e.data.len);
        e.data.p = n->state.conf;
        node_applied(n->node, i, &e, n->sim->now + n->skew);
    }
    check_applied(n->sim, n);
}

static void check_new_entries(struct sim_node *n)
{
    mu_index last = wal_last(n->wal), from = last > 40 ? last - 40 : 1;
    for (mu_index i = from > wal_first(n->wal) ? from : wal_first(n->wal); i <= last; i++) {
        check_appended(n->sim, n, i);
    }
}

void sim_settle(struct sim_node *n)
{
    struct sim *s = n->sim;
    s->stats->steps++;
    check_new_entries(n);
    if (node_state(n->node) == NODE_LEADER && n->led_term != node_term(n->node)) {
        n->led_term = node_term(n->node);
        s->stats->elections++;
        check_leader(s, n);
        if (s->o.has_bias && s->is_faulty) {
            s->isolate = n->i;
            s->isolate_at = s->now + (sim_rnd(3) == 0 ? 0 : sim_rnd(80));
        }
    }
    check_commit(s, n);
    while (!n->is_installing && n->state.index < node_can_apply(n->node)) {
        apply_one(n, n->state.index + 1);
    }
    feed_disk(n);
}

/* What the store holds, or a snapshot file where the store was lost or is older than the log. */
static void choose_state(struct sim_node *n)
{
    const struct sim_snapshot *all[3] = {&n->saved, &n->stored, &n->received};
    size_t k = sim_rnd(2);
    for (size_t i = 0; i < 3; i++) {
        const struct sim_snapshot *x = all[(i + k) % 3];
        if (x->index + 1 >= wal_first(n->wal) && x->index <= wal_last(n->wal)) {
            n->state = *x;
            return;
        }
    }
}

void sim_boot(struct sim_node *n)
{
    struct sim *s = n->sim;
    struct node_options o = {.id = n->id,
                             .name = n->name,
                             .ops = &sim_ops,
                             .arg = n,
                             .election_ms = ELECTION_MS,
                             .heartbeat_ms = HEARTBEAT_MS};
    n->is_up = 1;
    n->exists = 1;
    n->epoch++;
    n->restart_at = 0;
    n->led_term = 0;
    n->ops_taken = n->ops_done = 0;
    n->is_installing = 0;
    n->wal = memwal_open(&n->disk);
    choose_state(n);
    MU_INVARIANT(n->state.index + 1 >= wal_first(n->wal) && n->state.index <= wal_last(n->wal));
    o.wal = n->wal;
    o.max_inflight =
        s->o.has_members || sim_rnd(2) != 0 ? 32 : 16; /* few, but enough to catch up in time */
    o.seed = sim_rnd(UINT32_MAX);
    o.guards_off = s->o.guards_off;
    n->node = node_new(&o);
    struct node_base b = {
        .index = n->state.index, .term = n->state.term, .conf_index = n->state.conf_index};
    b.conf = slice_of(n->state.conf, n->state.conf_len);
    node_start(n->node, n->term, n->vote, b.index > 0 ? &b : NULL, s->now + n->skew);
    sim_settle(n);
}

static void down(struct sim_node *n)
{
    memwal_crash(n->wal, n->running, sim_rnd);
    n->running = NULL;
    node_free(n->node);
    n->is_up = 0;
    n->epoch++;
}

static void crash(struct sim_node *n, int64_t pause)
{
    if (n->is_up) {
        n->sim->stats->crashes++;
        if (sim_rnd(2) != 0 && !n->is_installing) {
            n->saved = n->state; /* the store may have synced by itself */
        }
        down(n);
        n->restart_at = n->sim->now + pause;
    }
}

/* --- what happens to them --- */

static void cut_node(struct sim *s, int i, int how)
{
    for (int j = 0; j < SIM_NODES_MAX; j++) {
        if (j != i) {
            s->cut[i][j] |= how != 1;
            s->cut[j][i] |= how != 2;
        }
    }
}

static void fault(struct sim *s)
{
    uint32_t mask = sim_rnd(1U << SIM_NODES_MAX);
    switch (sim_rnd(8)) {
    case 0:
        cut_node(s, (int)sim_rnd((uint32_t)s->o.n), (int)sim_rnd(3));
        return;
    case 1:
        for (int i = 0; i < SIM_NODES_MAX; i++) {
            for (int j = 0; j < SIM_NODES_MAX; j++) {
                s->cut[i][j] = ((mask >> i) & 1) != ((mask >> j) & 1);
            }
        }
        return;
    case 2:
        s->cut[sim_rnd((uint32_t)s->o.n)][sim_rnd((uint32_t)s->o.n)] = 1;
        return;
    case 3:
        s->drop = sim_rnd(sim_rnd(3) != 0 ? 50 : 400);
        s->dup = sim_rnd(100);
        s->delay = 1 + sim_rnd(sim_rnd(3) != 0 ? 20 : 80);
        return;
    case 4:
        s->disk_ms = 1 + sim_rnd(sim_rnd(3) != 0 ? 15 : 60);
        return;
    default:
        memset(s->cut, 0, sizeof(s->cut));
    }
}

static struct sim_node *leader(struct sim *s)
{
    struct sim_node *best = NULL;
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        struct sim_node *n = &s->nodes[i];
        if (n->is_up && node_state(n->node) == NODE_LEADER &&
            (best == NULL || node_term(n->node) > node_term(best->node))) {
            best = n;
        }
    }
    return best;
}

static void propose(struct sim *s)
{
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        struct sim_node *n = &s->nodes[i];
        uint8_t data[12][8];
        struct wal_entry e[12];
        mu_index first;
        size_t k = 1 + sim_rnd(sim_rnd(4) != 0 ? 2 : 12);
        if (!n->is_up || !node_can_submit(n->node) ||
            node_last(n->node) - node_commit(n->node) > 100 ||
            node_last(n->node) > SIM_INDEX_MAX - 2000) {
            continue;
        }
        for (size_t j = 0; j < k; j++) {
            wire_set_u64(data[j], ++s->value);
            e[j] = (struct wal_entry){.kind = WAL_COMMAND, .data = slice_of(data[j], 8)};
        }
        node_submit(n->node, e, k, &first, s->now + n->skew);
        sim_settle(n);
    }
}

static void hints(struct sim *s)
{
    struct sim_node *n = leader(s);
    if (n == NULL) {
        return;
    }
    struct message m = {.type = MESSAGE_COMMIT,
                        .term = node_term(n->node),
                        .commit = {.index = node_commit(n->node)}};
    for (size_t i = 0; i < node_conf(n->node)->n; i++) {
        mu_node_id id = node_conf(n->node)->members[i].id;
        if (id != n->id) {
            sim_ops.send(n, id, &m);
        }
    }
}

static void take_snapshot(struct sim_node *n)
{
    if (!n->is_up || n->is_installing || n->state.index < n->stored.index + 30) {
        return;
    }
    n->stored = n->state;
    struct node_base b = {
        .index = n->stored.index, .term = n->stored.term, .conf_index = n->stored.conf_index};
    b.conf = slice_of(n->stored.conf, n->stored.conf_len);
    mu_index drop = node_snapshotted(n->node, &b, 34 + sim_rnd(60), n->sim->now + n->skew);
    if (drop > 0) {
        wal_drop_prefix(n->wal, drop);
    }
    n->sim->stats->snapshots++;
    sim_settle(n);
}

static void crashes(struct sim *s)
{
    struct sim_node *l = sim_rnd(4) == 0 ? leader(s) : NULL;
    crash(l != NULL ? l : &s->nodes[sim_rnd(SIM_NODES_MAX)],
          1 + sim_rnd(sim_rnd(2) != 0 ? 50 : 1500));
    if (sim_rnd(12) == 0) {
        for (int i = 0; i < SIM_NODES_MAX; i++) {
            crash(&s->nodes[i], 1 + sim_rnd(300));
        }
    }
}

/* --- a run --- */

struct schedule {
    int64_t fault, propose, crash, snapshot, transfer, hint, members, damage;
    int is_healed;
};

static void heal(struct sim *s)
{
    s->is_faulty = 0;
    memset(s->cut, 0, sizeof(s->cut));
    s->delay = 8;
    s->disk_ms = 5;
    s->isolate_at = 0;
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        if (s->nodes[i].exists && !s->nodes[i].is_up && !s->nodes[i].is_damaged) {
            sim_boot(&s->nodes[i]);
        }
    }
}

static void do_faults(struct sim *s, struct schedule *x)
{
    if (s->now >= x->fault) {
        x->fault = s->now + (s->o.has_bias ? 100 + sim_rnd(400)
                                           : 20 + sim_rnd(sim_rnd(3) != 0 ? 400 : 2500));
        if (s->o.has_bias && sim_rnd(4) != 0) {
            memset(s->cut, 0, sizeof(s->cut));
        } else {
            fault(s);
        }
    }
    if (s->isolate_at != 0 && s->now >= s->isolate_at) {
        s->isolate_at = 0;
        cut_node(s, s->isolate, 0);
    }
    if (s->now >= x->crash) {
        x->crash = s->now + 50 + sim_rnd(sim_rnd(2) != 0 ? 800 : 3000);
        crashes(s);
    }
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        if (s->nodes[i].restart_at != 0 && s->now >= s->nodes[i].restart_at &&
            !sim_rejoin(s, &s->nodes[i])) {
            if (!s->nodes[i].is_up) {
                sim_boot(&s->nodes[i]);
            }
        }
    }
    if (s->o.has_damage && s->now >= x->damage) {
        x->damage = s->now + 50 + sim_rnd(1000);
        sim_damage(s);
    }
    if (s->o.has_members && s->now >= x->members) {
        x->members = s->now + 20 + sim_rnd(300);
        sim_change_members(s);
    }
    struct sim_node *l;
    if (s->now >= x->transfer) {
        x->transfer = s->now + 200 + sim_rnd(4000);
        if ((l = leader(s)) != NULL) {
            node_transfer(l->node, s->nodes[sim_rnd((uint32_t)s->o.n)].id, s->now + l->skew);
            sim_settle(l);
        }
    }
}

static void do_load(struct sim *s, struct schedule *x, int load)
{
    if (s->now >= x->propose) {
        int64_t step = s->o.has_bias && !x->is_healed ? 3000 + sim_rnd(4000)
                       : load == 0                    ? 2 + sim_rnd(6)
                       : load == 1                    ? 10 + sim_rnd(40)
                                                      : 100 + sim_rnd(300);
        x->propose = s->now + step;
        propose(s);
    }
    if (s->now >= x->hint) {
        x->hint = s->now + 1 + sim_rnd(30);
        hints(s);
    }
    if (s->o.has_snapshots && s->now >= x->snapshot) {
        x->snapshot = s->now + 20 + sim_rnd(200);
        take_snapshot(&s->nodes[sim_rnd(SIM_NODES_MAX)]);
    }
}

/* Everything due at this millisecond. */
static void tick(struct sim *s)
{
    while (s->n_heap > 0 && s->heap[0].at <= s->now) {
        struct sim_event e = sim_pop(s);
        struct sim_node *n = &s->nodes[e.node];
        if (e.kind == SIM_EVENT_MESSAGE) {
            sim_deliver(s, e.message);
            sim_message_unref(e.message);
        } else if (n->is_up && n->epoch == e.epoch) {
            disk_done(n);
        }
    }
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        struct sim_node *n = &s->nodes[i];
        if (n->is_up && node_deadline(n->node) <= s->now + n->skew) {
            node_tick(n->node, s->now + n->skew);
            sim_settle(n);
        }
    }
}

static void check_end(struct sim *s)
{
    struct sim_node *l = leader(s);
    if (l == NULL) {
        sim_violated(s, "liveness: no leader after all was healed");
        return;
    }
    if (s->probe == 0) {
        sim_violated(s, "liveness: nothing proposed after all was healed");
    }
    const struct conf *c = node_conf(l->node);
    sim_check_members(s, l);
    for (size_t i = 0; i < c->n; i++) {
        struct sim_node *n = sim_by_id(s, c->members[i].id);
        if (!n->is_up || n->state.index < s->probe) {
            sim_violated(
                s,
                "liveness: node %d has applied %llu, not %llu (leader %d knows %llu, its log %llu..%llu; log here %llu..%llu, commit %llu%s)",
                n->i, (unsigned long long)n->state.index, (unsigned long long)s->probe, l->i,
                (unsigned long long)node_match(l->node, n->id),
                (unsigned long long)wal_first(l->wal), (unsigned long long)wal_last(l->wal),
                (unsigned long long)wal_first(n->wal), (unsigned long long)wal_last(n->wal),
                (unsigned long long)node_commit(n->node), n->is_installing ? ", installing" : "");
        }
    }
}

static void found(struct sim *s)
{
    struct conf c = {.n = (size_t)s->o.n};
    struct buf b;
    buf_init(&b);
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        struct sim_node *n = &s->nodes[i];
        n->sim = s;
        n->i = i;
        n->id = (mu_node_id)i + 1;
        n->skew = i * 1000;
        snprintf(n->name, sizeof(n->name), "n%d", i + 1);
        memdisk_init(&n->disk);
        if (i < s->o.n) {
            struct replica_member *m = &c.members[i];
            m->id = n->id;
            m->is_voter = 1;
            snprintf(m->name, sizeof(m->name), "%s", n->name);
            snprintf(m->address, sizeof(m->address), "h%d:1", i + 1);
        }
    }
    conf_encode(&b, &c);
    for (int i = 0; i < s->o.n; i++) {
        struct wal *w = memwal_open(&s->nodes[i].disk);
        wal_append(w, 1, &(struct wal_entry){.term = 1, .kind = WAL_CHANGE, .data = buf_slice(&b)},
                   1);
        struct wal_op *op = wal_take(w);
        wal_execute(op, NULL);
        wal_done(w, op);
        wal_close(w);
        s->nodes[i].term = 1;
    }
    buf_fini(&b);
    for (int i = 0; i < s->o.n; i++) {
        sim_boot(&s->nodes[i]);
    }
}

static void run(struct sim *s)
{
    struct schedule x = {.fault = 200, .crash = 300, .snapshot = 100, .transfer = 1000};
    int load = (int)sim_rnd(3);
    s->is_faulty = 1;
    s->drop = sim_rnd(60);
    s->dup = sim_rnd(60);
    s->delay = 1 + sim_rnd(20);
    s->disk_ms = 1 + sim_rnd(15);
    found(s);
    for (s->now = 1; s->now < s->o.fault_ms + HEALED_MS; s->now++) {
        if (s->now == s->o.fault_ms) {
            heal(s);
            x.is_healed = 1;
            load = 1;
            x.propose = s->now;
        }
        if (!x.is_healed) {
            do_faults(s, &x);
        }
        for (int i = 0; x.is_healed && i < SIM_NODES_MAX; i++) {
            sim_rejoin(s, &s->nodes[i]);
        }
        do_load(s, &x, load);
        tick(s);
        if (x.is_healed && s->probe == 0 && s->now > s->o.fault_ms + HEALED_MS / 2 &&
            leader(s) != NULL) {
            s->probe = node_last(leader(s)->node);
        }
    }
    s->stats->virtual_ms += (uint64_t)s->now;
    check_end(s);
}

static void end(struct sim *s)
{
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        struct sim_node *n = &s->nodes[i];
        if (n->is_up) {
            down(n);
        }
        memdisk_fini(&n->disk);
        message_scratch_fini(&n->scratch);
    }
    while (s->n_heap > 0) {
        struct sim_event e = sim_pop(s);
        if (e.message != NULL) {
            sim_message_unref(e.message);
        }
    }
    mem_free(s->heap);
}

const char *sim_run(const struct sim_options *o, struct sim_stats *stats)
{
    static char violation[256];
    struct sim *s = mem_zalloc(sizeof(*s));
    sim_now = s;
    s->o = *o;
    s->stats = stats;
    s->rnd = o->seed * 0x9E3779B97F4A7C15ULL + 77;
    s->now = 1;
    check_reset();
    if (setjmp(stop) == 0) {
        run(s);
        end(s);
    } /* a stopped run leaves its memory behind: the engine may be in the middle of a step */
    memcpy(violation, s->violation, sizeof(violation));
    mem_free(s);
    return violation[0] != 0 ? violation : NULL;
}
