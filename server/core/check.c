/* SPDX-License-Identifier: Apache-2.0 */
/* Health checks belong to the cluster: each instance's check is run by one live node, chosen by
 * rendezvous hashing of the instance over the live nodes. The leader tells every second which nodes
 * live; when one dies its share moves. Only changes of state become commands. */
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "server/core/core_impl.h"
#include "server/core/probe.h"

#define HASH_FUNCTION(keyptr, keylen, hashv) \
    ((hashv) = (unsigned)hash_xxh3((keyptr), (keylen), 0x63686b))
#include <uthash.h>

enum {
    TURN_MS = 50,
    SHARES_EVERY_MS = 1000,
    PROBES_MAX = 512,     /* at once, on one node */
    DEAD_AFTER_MS = 2000, /* a member not heard of for so long runs no checks */
};

struct checked {
    UT_hash_handle hh;
    struct checks *checks;
    uint8_t *key; /* logical key of the instance */
    size_t key_len;
    mu_rev create_rev, mod_rev;
    struct probe_target target;
    char method[17];
    int64_t interval_ms, timeout_ms, remove_after_ms;
    uint32_t failures, successes, n_fail, n_pass;
    int is_healthy; /* as the store says */
    int is_mine;
    int is_proposing;
    int64_t next_at;
    int64_t unhealthy_at; /* since when this node has seen it unhealthy; 0 */
    struct probe *probe;
};

struct checks {
    struct core *core;
    struct checked *table;
    uv_timer_t timer;
    mu_node_id live[REPLICA_MEMBERS_MAX];
    size_t n_live, n_probes;
    int64_t next_shares;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* --- whose share --- */

static mu_node_id owner_of(const struct checks *k, const struct checked *c)
{
    mu_node_id best = 0;
    uint64_t best_score = 0;
    for (size_t i = 0; i < k->n_live; i++) {
        uint64_t score = hash_xxh3(c->key, c->key_len, k->live[i]);
        if (best == 0 || score > best_score) {
            best = k->live[i];
            best_score = score;
        }
    }
    return best;
}

static void checked_assign(struct checks *k, struct checked *c)
{
    int is_mine = owner_of(k, c) == core_node_id(k->core);
    if (is_mine == c->is_mine) {
        return;
    }
    c->is_mine = is_mine;
    c->n_fail = c->n_pass = 0;
    c->unhealthy_at = 0;
    /* Spread the first runs over the interval, but look at an instance that is not healthy yet at
     * once. */
    c->next_at =
        clock_mono_ms() + (c->is_healthy ? (int64_t)rnd_below((uint64_t)c->interval_ms) : 0);
    if (!is_mine && c->probe != NULL) {
        probe_cancel(c->probe);
        c->probe = NULL;
        k->n_probes--;
    }
}

static void assign_all(struct checks *k)
{
    struct checked *c, *tmp;
    HASH_ITER(hh, k->table, c, tmp)
    {
        checked_assign(k, c);
    }
}

static void live_set(struct checks *k, const mu_node_id *ids, size_t n)
{
    if (n == k->n_live && memcmp(ids, k->live, n * sizeof(*ids)) == 0) {
        return;
    }
    memcpy(k->live, ids, n * sizeof(*ids));
    k->n_live = n;
    log_info("check", "shares of health checks moved", LOG_U64("live_nodes", n));
    assign_all(k);
}

static void tell_shares(struct checks *k)
{
    struct replica_status *s = mem_alloc(sizeof(*s));
    mu_node_id ids[REPLICA_MEMBERS_MAX];
    size_t n = 0;
    replica_status(k->core->replica, s);
    for (size_t i = 0; i < s->n_members; i++) {
        const struct replica_member_status *m = &s->members[i];
        if (m->is_self ||
            (m->is_reachable && m->last_heard_ms >= 0 && m->last_heard_ms < DEAD_AFTER_MS)) {
            ids[n++] = m->m.id;
        }
    }
    struct buf b;
    buf_init(&b);
    wire_put_u32(&b, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        wire_put_u64(&b, ids[i]);
    }
    for (size_t i = 0; i < s->n_members; i++) {
        if (!s->members[i].is_self) {
            replica_send(k->core->replica, s->members[i].m.id, CORE_MSG_SHARES, buf_slice(&b));
        }
    }
    buf_fini(&b);
    live_set(k, ids, n);
    mem_free(s);
}

void checks_message(struct checks *k, mu_node_id from, struct slice body)
{
    struct wire_reader r;
    mu_node_id ids[REPLICA_MEMBERS_MAX];
    wire_read_init(&r, body);
    uint32_t n = wire_u32(&r);
    if (from != k->core->leader || r.failed || n > REPLICA_MEMBERS_MAX ||
        r.left != n * sizeof(uint64_t)) {
        return; /* of a leader that is none any more, or malformed */
    }
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = wire_u64(&r);
    }
    live_set(k, ids, n);
}

void checks_role(struct checks *k)
{
    k->next_shares = 0;
}

/* --- results --- */

static void removal_done(struct core *core, void *arg, int code, const struct command_result *r)
{
    (void)core;
    (void)arg;
    (void)r;
    if (code != 0) {
        log_debug("check", "removal not applied", LOG_STR("why", err_name(code)));
    }
}

static void remove_instance(struct checked *c)
{
    struct command *cmd = mem_zalloc(sizeof(*cmd));
    cmd->type = CMD_INSTANCE_DELETE;
    cmd->u.instance_delete.create_rev = c->create_rev;
    if (key_parse_instance(slice_of(c->key, c->key_len), &cmd->u.instance_delete.name) == 0) {
        core_propose_own(c->checks->core, cmd, 0, removal_done, NULL);
    }
    mem_free(cmd);
}

struct change_note {
    struct checks *checks;
    uint8_t *key;
    size_t key_len;
};

static void change_done(struct core *core, void *arg, int code, const struct command_result *r)
{
    struct change_note *n = arg;
    (void)core;
    (void)code; /* when it was lost, the next probe says it again */
    (void)r;
    if (!n->checks->core->is_stopping) {
        struct checked *c = NULL;
        HASH_FIND(hh, n->checks->table, n->key, n->key_len, c);
        if (c != NULL) {
            c->is_proposing = 0;
        }
    }
    mem_free(n->key);
    mem_free(n);
}

static void propose_health(struct checked *c, int is_healthy, const char *output)
{
    struct command *cmd = mem_zalloc(sizeof(*cmd));
    struct change_note *n = mem_zalloc(sizeof(*n));
    *n = (struct change_note){
        .checks = c->checks, .key = mem_dup(c->key, c->key_len), .key_len = c->key_len};
    cmd->type = CMD_INSTANCE_HEALTH;
    cmd->u.instance_health.create_rev = c->create_rev;
    cmd->u.instance_health.is_healthy = is_healthy;
    cmd->u.instance_health.output = slice_str(output);
    int rc = key_parse_instance(slice_of(c->key, c->key_len), &cmd->u.instance_health.name);
    MU_INVARIANT(rc == 0);
    c->is_proposing = 1;
    core_propose_own(c->checks->core, cmd, 0, change_done, n);
    mem_free(cmd);
}

static void on_probe(void *arg, int is_ok, const char *output)
{
    struct checked *c = arg;
    c->probe = NULL;
    c->checks->n_probes--;
    c->checks->core->count.checks_run++;
    c->next_at = clock_mono_ms() + c->interval_ms;
    c->n_pass = is_ok ? c->n_pass + 1 : 0;
    c->n_fail = is_ok ? 0 : c->n_fail + 1;
    if (c->is_proposing) {
        return;
    }
    if (!c->is_healthy && c->n_pass >= c->successes) {
        propose_health(c, 1, output);
    } else if (c->is_healthy && c->n_fail >= c->failures) {
        propose_health(c, 0, output);
    }
}

/* --- turns --- */

static void checked_turn(struct checks *k, struct checked *c, int64_t now)
{
    if (!c->is_mine) {
        return;
    }
    if (c->is_healthy) {
        c->unhealthy_at = 0;
    } else if (c->unhealthy_at == 0) {
        c->unhealthy_at = now;
    } else if (c->remove_after_ms != REMOVE_NEVER && now - c->unhealthy_at >= c->remove_after_ms &&
               c->n_fail > 0) {
        c->unhealthy_at = now; /* tried again after another span if this one is lost */
        remove_instance(c);
        return;
    }
    if (c->probe == NULL && now >= c->next_at && k->n_probes < PROBES_MAX) {
        k->n_probes++;
        c->probe = probe_start(&k->core->loop, &c->target, slice_str(c->method), c->timeout_ms,
                               on_probe, c);
    }
}

static void on_turn(uv_timer_t *t)
{
    struct checks *k = t->data;
    struct checked *c, *tmp;
    int64_t now = clock_mono_ms();
    uint64_t n_mine = 0;
    if (k->core->role == REPLICA_LEADER && k->core->is_ready && now >= k->next_shares) {
        k->next_shares = now + SHARES_EVERY_MS;
        tell_shares(k);
    }
    HASH_ITER(hh, k->table, c, tmp)
    {
        n_mine += (uint64_t)c->is_mine;
        checked_turn(k, c, now);
    }
    k->core->count.checks_mine = n_mine;
}

/* --- what is there to check --- */

static void checked_free(struct checks *k, struct checked *c)
{
    if (c->probe != NULL) {
        probe_cancel(c->probe);
        k->n_probes--;
    }
    HASH_DEL(k->table, c);
    mem_free(c->key);
    mem_free(c);
}

static struct checked *checked_get(struct checks *k, struct slice key)
{
    struct checked *c = NULL;
    HASH_FIND(hh, k->table, key.p, key.len, c);
    if (c == NULL) {
        c = mem_zalloc(sizeof(*c));
        c->checks = k;
        c->key = mem_dup(key.p, key.len);
        c->key_len = key.len;
        HASH_ADD_KEYPTR(hh, k->table, c->key, c->key_len, c);
    }
    return c;
}

static void checked_fill(struct checks *k, struct slice key, const struct instance_row *row)
{
    struct probe_target target;
    if (probe_target_parse(row->check.type, row->check.target, &target, NULL) != 0) {
        return; /* refused at the door; a row from elsewhere is simply not run */
    }
    struct checked *c = checked_get(k, key);
    size_t n = row->check.method.len < sizeof(c->method) - 1 ? row->check.method.len
                                                             : sizeof(c->method) - 1;
    if (c->create_rev != row->meta.create_rev) {
        c->n_fail = c->n_pass = 0;
        c->unhealthy_at = 0;
        c->is_mine = 0;
    }
    c->create_rev = row->meta.create_rev;
    c->mod_rev = row->meta.mod_rev;
    c->target = target;
    memcpy(c->method, row->check.method.p, n);
    c->method[n] = '\0';
    c->interval_ms = row->check.interval_ms;
    c->timeout_ms = row->check.timeout_ms;
    c->failures = row->check.failures;
    c->successes = row->check.successes;
    c->remove_after_ms = row->remove_after_ms;
    c->is_healthy = row->is_healthy;
    checked_assign(k, c);
}

static void look_at(struct checks *k, struct view *v, struct slice key)
{
    struct instance_name name;
    struct instance_row row;
    struct checked *c = NULL;
    if (key_parse_instance(key, &name) != 0) {
        return;
    }
    if (view_instance(v, &name, &row) == 0 && row.check.type != CHECK_NONE) {
        checked_fill(k, key, &row);
        return;
    }
    HASH_FIND(hh, k->table, key.p, key.len, c);
    if (c != NULL) {
        checked_free(k, c);
    }
}

void checks_changed(struct checks *k, const struct change_set *set)
{
    struct view *v = NULL;
    for (size_t i = 0; i < set->n; i++) {
        struct slice key = set->items[i].key;
        if (key.len > 0 && key.p[0] == SPACE_INSTANCE) {
            v = v != NULL ? v : view_open(k->core->store);
            look_at(k, v, key);
        }
    }
    if (v != NULL) {
        view_close(v);
    }
}

static int scan_one(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct checks *k = arg;
    if (row->check.type != CHECK_NONE) {
        struct buf key;
        buf_init(&key);
        key_instance(&key, n);
        checked_fill(k, buf_slice(&key), row);
        buf_fini(&key);
    }
    return 0;
}

static void checks_scan(struct checks *k)
{
    struct view *v = view_open(k->core->store);
    int rc = view_all_instances(v, scan_one, k);
    MU_INVARIANT(rc == 0);
    view_close(v);
}

static void checks_clear(struct checks *k)
{
    struct checked *c, *tmp;
    HASH_ITER(hh, k->table, c, tmp)
    {
        checked_free(k, c);
    }
}

void checks_reset(struct checks *k)
{
    checks_clear(k);
    checks_scan(k);
}

void checks_start(struct checks *k)
{
    checks_scan(k);
    uv_timer_start(&k->timer, on_turn, TURN_MS, TURN_MS);
}

struct checks *checks_new(struct core *c)
{
    struct checks *k = mem_zalloc(sizeof(*k));
    k->core = c;
    uv_timer_init(&c->loop, &k->timer);
    k->timer.data = k;
    return k;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct checks *k = h->data;
    k->closed(k->closed_arg);
    mem_free(k);
}

void checks_free(struct checks *k, void (*closed)(void *arg), void *arg)
{
    checks_clear(k);
    k->closed = closed;
    k->closed_arg = arg;
    uv_close((uv_handle_t *)&k->timer, on_timer_closed);
}
