/* SPDX-License-Identifier: Apache-2.0 */
/* Health checks belong to the cluster: each one, of an instance or of the catalog, is run by one
 * live node, chosen by rendezvous hashing of its key over the live nodes. The leader tells every
 * second which nodes live; when one dies its share moves. Only changes of state become commands,
 * and at times what a check of the catalog says. */
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "server/core/core_impl.h"
#include "server/core/fetch.h"
#include "server/core/probe.h"
#include "storage/view_catalog.h"

#define HASH_FUNCTION(keyptr, keylen, hashv) \
    ((hashv) = (unsigned)hash_xxh3((keyptr), (keylen), 0x63686b))
#include <uthash.h>

enum {
    TURN_MS = 50,
    SHARES_EVERY_MS = 1000,
    PROBES_MAX = 512,     /* at once, on one node */
    SLOW_MAX = 256,       /* of these, of checks that were not quick the last time */
    QUICK_MS = 1000,      /* what is quick */
    PROBE_MS_MAX = 60000, /* how long one may take, whatever was asked for */
    DEAD_AFTER_MS = 2000, /* a member not heard of for so long runs no checks */
    OUTPUT_EVERY_MS =
        5 * 60 * 1000, /* a new output alone is told so often (check_update_interval) */
};

struct checked {
    UT_hash_handle hh;
    struct checks *checks;
    uint8_t *key; /* logical key of the instance or of the check */
    size_t key_len;
    mu_rev create_rev, mod_rev;
    struct probe_target target;
    char method[17];
    /* of a check of the catalog */
    int is_row;
    enum check_kind kind;
    int use_tls, skip_verify, no_redirects;
    enum check_status status; /* as the store says */
    uint32_t failures_to_warn, output_max;
    struct buf text; /* target, headers, name (of the server; of an alias the service) and body, one
                        after the other */
    size_t n_target, n_headers, n_name;
    uint64_t output_hash; /* of what was told last */
    int64_t output_at;
    int64_t interval_ms, timeout_ms, remove_after_ms;
    uint32_t failures, successes, n_fail, n_pass;
    int is_healthy; /* as the store says */
    int is_mine;
    int is_proposing;
    int is_quick;   /* its last run was */
    int holds_slow; /* the run under way is one of the slow ones */
    int64_t next_at, begun_at;
    int64_t unhealthy_at; /* since when this node has seen it unhealthy; 0 */
    struct probe *probe;
    struct fetch *fetch;
};

struct checks {
    struct core *core;
    struct checked *table;
    struct fetcher *fetcher;
    int are_aliases_old; /* a check changed since they were looked at */
    int64_t aliases_at;  /* not before */
    uv_timer_t timer;
    mu_node_id live[REPLICA_MEMBERS_MAX];
    size_t n_live, n_probes, n_slow;
    struct checked *first; /* of the next turn: the first that found no place; NULL: of the table */
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

/* A run begins or ends. A few that hang, or many of somebody who means no good, leave room for
 * those that are quick. */
static void count_run(struct checks *k, struct checked *c, int by)
{
    c->holds_slow = by > 0 ? !c->is_quick : c->holds_slow;
    k->n_probes += (size_t)by;
    k->n_slow += c->holds_slow ? (size_t)by : 0;
    c->begun_at = by > 0 ? clock_mono_ms() : c->begun_at;
}

static void stop_probe(struct checks *k, struct checked *c)
{
    if (c->probe != NULL || c->fetch != NULL) {
        count_run(k, c, -1);
    }
    if (c->probe != NULL) {
        probe_cancel(c->probe);
        c->probe = NULL;
    }
    if (c->fetch != NULL) {
        fetch_cancel(c->fetch);
        c->fetch = NULL;
    }
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
    if (!is_mine) {
        stop_probe(k, c);
    }
    k->are_aliases_old = 1;
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

/* The service of a check of the catalog, if the check is still what it was. */
static void remove_service(struct checked *c)
{
    struct command *cmd = mem_zalloc(sizeof(*cmd));
    struct check_name n;
    int rc = key_parse_check(slice_of(c->key, c->key_len), &n);
    MU_INVARIANT(rc == 0);
    struct op ops[3] = {{.type = OP_CHECK_GET}, /* one that is gone says nothing of its service */
                        {.type = OP_CHECK_DELETE_CAS, .expect = c->mod_rev},
                        {.type = OP_SERVICE_DELETE}};
    ops[0].u.check.name = ops[1].u.check.name = n;
    ops[0].u.check.row.remove_after_ms = ops[1].u.check.row.remove_after_ms = REMOVE_NEVER;
    ops[2].u.service.node = n.node;
    ops[2].u.service.row.service_id = n.service_id;
    cmd->type = CMD_TXN;
    cmd->u.txn = (struct cmd_txn){.n = N_ELEMENTS(ops), .ops = ops};
    core_propose_own(c->checks->core, cmd, 0, removal_done, NULL);
    mem_free(cmd);
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
    (void)r;
    if (!core->is_stopping) { /* else the checks may be gone */
        struct checked *c = NULL;
        HASH_FIND(hh, n->checks->table, n->key, n->key_len, c);
        if (c != NULL) {
            c->is_proposing = 0;
        }
        if (code != 0) { /* a probe says it again; aliases are looked at again */
            n->checks->are_aliases_old = 1;
            n->checks->aliases_at = clock_mono_ms() + SHARES_EVERY_MS;
        }
    }
    mem_free(n->key);
    mem_free(n);
}

static void propose(struct checked *c, const struct command *cmd)
{
    struct change_note *n = mem_zalloc(sizeof(*n));
    *n = (struct change_note){
        .checks = c->checks, .key = mem_dup(c->key, c->key_len), .key_len = c->key_len};
    c->is_proposing = 1;
    core_propose_own(c->checks->core, cmd, 0, change_done, n);
}

static void propose_health(struct checked *c, int is_healthy, const char *output)
{
    struct command *cmd = mem_zalloc(sizeof(*cmd));
    cmd->type = CMD_INSTANCE_HEALTH;
    cmd->u.instance_health.create_rev = c->create_rev;
    cmd->u.instance_health.is_healthy = is_healthy;
    cmd->u.instance_health.output = slice_str(output);
    int rc = key_parse_instance(slice_of(c->key, c->key_len), &cmd->u.instance_health.name);
    MU_INVARIANT(rc == 0);
    propose(c, cmd);
    mem_free(cmd);
}

/* --- checks of the catalog --- */

static struct slice target_of(const struct checked *c)
{
    return slice_of(c->text.p, c->n_target);
}

/* How a kind is called in what is said of it. */
static void describe_other(const struct checked *c, const struct probe_result *r, struct buf *out)
{
    struct slice t = target_of(c);
    switch (c->kind) {
    case CHECK_KIND_UDP:
        buf_printf(out, r->is_ok ? "UDP connect %.*s: Success" : "dial udp %.*s: %s", SLICE_FMT(t),
                   r->output);
        break;
    case CHECK_KIND_GRPC:
        buf_printf(out, "gRPC check %.*s: %s", SLICE_FMT(t), r->output);
        break;
    case CHECK_KIND_H2PING:
        if (r->is_ok) {
            buf_append_str(out, "HTTP2 ping was successful");
        } else {
            buf_printf(out, "HTTP2 ping %.*s failed: %s", SLICE_FMT(t), r->output);
        }
        break;
    case CHECK_KIND_TLS:
        buf_printf(out, r->is_ok ? "TCP connect %.*s: Success" : "TCP with TLS %.*s: %s",
                   SLICE_FMT(t), r->output);
        break;
    case CHECK_KIND_TCP:
        buf_printf(out, r->is_ok ? "TCP connect %.*s: Success" : "dial tcp %.*s: connect: %s",
                   SLICE_FMT(t), r->output);
        break;
    default:
        buf_printf(out, "%s \"%.*s\": %s", c->method, SLICE_FMT(t), r->output);
        break;
    }
}

/* As Consul words it. */
static void describe(const struct checked *c, const struct probe_result *r, struct buf *out)
{
    struct slice t = target_of(c);
    size_t max =
        c->output_max != 0 && c->output_max < CHECK_OUTPUT_MAX ? c->output_max : CHECK_OUTPUT_MAX;
    if (r->status != 0) {
        buf_printf(out, "HTTP %s %.*s: %d %.*s Output: ", c->method, SLICE_FMT(t), r->status,
                   SLICE_FMT(r->reason));
        buf_append_slice(out, r->body);
    } else {
        describe_other(c, r, out);
    }
    out->len = out->len < max ? out->len : max;
}

/* What so many results in a row come to. */
static enum check_status status_now(const struct checked *c, const struct probe_result *r)
{
    uint32_t to_fail = c->failures != 0 ? c->failures : 1;
    if (r->status == 429) {
        return CHECK_WARNING;
    }
    if (r->is_ok) {
        return c->n_pass >= c->successes ? CHECK_PASSING : c->status;
    }
    if (c->n_fail >= to_fail) {
        return CHECK_CRITICAL;
    }
    return c->failures_to_warn != 0 && c->n_fail >= c->failures_to_warn ? CHECK_WARNING : c->status;
}

static void tell_status(struct checked *c, enum check_status status, struct slice output)
{
    struct command *cmd = mem_zalloc(sizeof(*cmd));
    struct op o = {.type = OP_CHECK_STATUS};
    int rc = key_parse_check(slice_of(c->key, c->key_len), &o.u.check.name);
    MU_INVARIANT(rc == 0);
    o.u.check.row.status = status;
    o.u.check.row.output = output;
    o.u.check.row.remove_after_ms = REMOVE_NEVER;
    cmd->type = CMD_TXN;
    cmd->u.txn = (struct cmd_txn){.n = 1, .ops = &o};
    propose(c, cmd);
    mem_free(cmd);
}

static void judge_row(struct checked *c, const struct probe_result *r)
{
    struct buf output;
    int64_t now = clock_mono_ms();
    enum check_status status = status_now(c, r);
    buf_init(&output);
    describe(c, r, &output);
    uint64_t hash = hash_xxh3(output.p, output.len, 0);
    int is_news = hash != c->output_hash && now - c->output_at >= OUTPUT_EVERY_MS;
    if (status != c->status || is_news) {
        c->output_hash = hash;
        c->output_at = now;
        tell_status(c, status, buf_slice(&output));
    }
    buf_fini(&output);
}

static void on_probe(void *arg, const struct probe_result *r)
{
    struct checked *c = arg;
    int is_ok = r->is_ok || (c->is_row && r->status == 429);
    const char *output = r->output;
    int64_t now = clock_mono_ms();
    c->probe = NULL;
    c->fetch = NULL;
    count_run(c->checks, c, -1);
    c->is_quick = now - c->begun_at < QUICK_MS;
    c->checks->core->count.checks_run++;
    c->next_at = now + c->interval_ms;
    c->n_pass = is_ok ? c->n_pass + 1 : 0;
    c->n_fail = is_ok ? 0 : c->n_fail + 1;
    if (c->is_proposing) {
        return;
    }
    if (c->is_row) {
        judge_row(c, r);
    } else if (!c->is_healthy && c->n_pass >= c->successes) {
        propose_health(c, 1, output);
    } else if (c->is_healthy && c->n_fail >= c->failures) {
        propose_health(c, 0, output);
    }
}

/* --- aliases: as well as what they stand for --- */

struct alias {
    struct check_name self;
    struct slice service;
    enum check_status worst;
    size_t n;
    struct buf output;
};

static int on_aliased(void *arg, const struct check_name *n, const struct check_row *row)
{
    struct alias *a = arg;
    int is_self = slice_eq(n->id, a->self.id) && slice_eq(n->node, a->self.node);
    int is_meant = n->service_id.len == 0 || slice_eq(n->service_id, a->service);
    if (row->meta.is_deleted || is_self || !is_meant) {
        return 0;
    }
    a->n++;
    if (row->status > a->worst) {
        a->worst = row->status;
        buf_clear(&a->output);
        buf_printf(&a->output, "Aliased check \"%.*s\" failing: %.*s", SLICE_FMT(row->name),
                   SLICE_FMT(row->output));
    }
    return 0;
}

/* The node that is meant: named, or where the agent has the service, or the check's own. */
static struct slice aliased_node(struct view *v, const struct alias *a, struct slice named)
{
    struct slice node;
    if (named.len != 0) {
        return named;
    }
    return a->service.len != 0 && view_agent_service(v, a->service, &node) == 0 ? node
                                                                                : a->self.node;
}

static void look_at_alias(struct view *v, struct checked *c)
{
    struct alias a = {.service = slice_of(c->text.p + c->n_target + c->n_headers, c->n_name)};
    struct place_row place;
    int rc = key_parse_check(slice_of(c->key, c->key_len), &a.self);
    MU_INVARIANT(rc == 0);
    struct slice node = aliased_node(v, &a, target_of(c));
    buf_init(&a.output);
    if (a.service.len != 0 && view_place(v, node, a.service, &place) != 0) {
        a.worst = CHECK_CRITICAL;
        buf_printf(&a.output, "Service \"%.*s\" could not be found on node \"%.*s\"",
                   SLICE_FMT(a.service), SLICE_FMT(node));
    } else {
        (void)view_checks(v, node, on_aliased, &a);
        if (a.output.len == 0) {
            buf_append_str(&a.output, a.n == 0 ? "No checks found." : "All checks passing.");
        }
    }
    a.output.len = a.output.len < CHECK_OUTPUT_MAX ? a.output.len : CHECK_OUTPUT_MAX;
    uint64_t hash = hash_xxh3(a.output.p, a.output.len, 0);
    if (a.worst != c->status || hash != c->output_hash) {
        tell_status(c, a.worst, buf_slice(&a.output));
    }
    buf_fini(&a.output);
}

static void look_at_aliases(struct checks *k)
{
    struct checked *c, *tmp;
    struct view *v = NULL;
    k->are_aliases_old = 0;
    HASH_ITER(hh, k->table, c, tmp)
    {
        if (c->kind == CHECK_KIND_ALIAS && c->is_mine && c->is_proposing) {
            k->are_aliases_old = 1;
        } else if (c->kind == CHECK_KIND_ALIAS && c->is_mine) {
            v = v != NULL ? v : view_open(k->core->store);
            look_at_alias(v, c);
        }
    }
    if (v != NULL) {
        view_close(v);
    }
}

/* --- turns --- */

static struct slice part(const struct checked *c, size_t at, size_t n)
{
    return slice_of(c->text.len > 0 ? c->text.p + at : (const uint8_t *)"", n);
}

static int is_fetched(const struct checked *c)
{
    return c->kind == CHECK_KIND_HTTP || c->kind == CHECK_KIND_GRPC ||
           c->kind == CHECK_KIND_H2PING || c->kind == CHECK_KIND_TLS;
}

static int is_run(const struct checked *c)
{
    return c->target.type != CHECK_NONE || is_fetched(c);
}

static int64_t timeout_of(const struct checked *c)
{
    return c->timeout_ms < PROBE_MS_MAX ? c->timeout_ms : PROBE_MS_MAX;
}

static void begin_fetch(struct checks *k, struct checked *c, int64_t now)
{
    size_t name_at = c->n_target + c->n_headers, body_at = name_at + c->n_name;
    const struct fetch_request q = {
        .kind = c->kind == CHECK_KIND_HTTP   ? FETCH_HTTP
                : c->kind == CHECK_KIND_GRPC ? FETCH_GRPC
                : c->kind == CHECK_KIND_TLS  ? FETCH_TLS
                                             : FETCH_H2PING,
        .target = target_of(c),
        .method = slice_str(c->method),
        .headers = part(c, c->n_target, c->n_headers),
        .server_name = part(c, name_at, c->n_name),
        .body = part(c, body_at, c->text.len - body_at),
        .use_tls = c->use_tls,
        .skip_verify = c->skip_verify,
        .no_redirects = c->no_redirects,
        .timeout_ms = timeout_of(c),
    };
    c->fetch = fetch_start(k->fetcher, &q, on_probe, c);
    if (c->fetch != NULL) {
        count_run(k, c, 1);
    }
    c->next_at = now + c->interval_ms;
}

static void begin_probe(struct checks *k, struct checked *c, int64_t now)
{
    if (is_fetched(c)) {
        begin_fetch(k, c, now);
        return;
    }
    const struct probe_request q = {.method = slice_str(c->method)};
    count_run(k, c, 1);
    c->probe = probe_start(&k->core->loop, &c->target, &q, timeout_of(c), on_probe, c);
}

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
               (c->n_fail > 0 || c->is_row)) {
        c->unhealthy_at = now; /* tried again after another span if this one is lost */
        if (c->is_row) {
            remove_service(c);
        } else {
            remove_instance(c);
        }
        return;
    }
    if (!is_run(c) || c->probe != NULL || c->fetch != NULL || now < c->next_at) {
        return;
    }
    if (k->n_probes < PROBES_MAX && (c->is_quick || k->n_slow < SLOW_MAX)) {
        begin_probe(k, c, now);
    } else if (k->first == NULL) {
        k->first = c;
    }
}

/* Each once, beginning with who found no place the last time. */
static uint64_t turn_all(struct checks *k, int64_t now)
{
    struct checked *c = k->first != NULL ? k->first : k->table;
    uint64_t n_mine = 0;
    k->first = NULL;
    for (unsigned left = HASH_COUNT(k->table); left > 0; left--) {
        n_mine += (uint64_t)c->is_mine;
        checked_turn(k, c, now);
        c = c->hh.next != NULL ? c->hh.next : k->table;
    }
    return n_mine;
}

static void on_turn(uv_timer_t *t)
{
    struct checks *k = t->data;
    int64_t now = clock_mono_ms();
    if (k->core->role == REPLICA_LEADER && k->core->is_ready && now >= k->next_shares) {
        k->next_shares = now + SHARES_EVERY_MS;
        tell_shares(k);
    }
    k->core->count.checks_mine = turn_all(k, now);
    if (k->are_aliases_old && now >= k->aliases_at) {
        look_at_aliases(k);
    }
}

/* --- what is there to check --- */

static void checked_free(struct checks *k, struct checked *c)
{
    stop_probe(k, c);
    k->first = k->first == c ? c->hh.next : k->first;
    HASH_DEL(k->table, c);
    buf_fini(&c->text);
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

static void take_method(struct checked *c, struct slice method)
{
    method = method.len != 0 ? method : SLICE_LIT("GET");
    size_t n = method.len < sizeof(c->method) - 1 ? method.len : sizeof(c->method) - 1;
    memcpy(c->method, method.p, n);
    c->method[n] = '\0';
}

static void checked_fill(struct checks *k, struct slice key, const struct instance_row *row)
{
    struct probe_target target;
    if (probe_target_parse(row->check.type, row->check.target, &target, NULL) != 0) {
        return; /* refused at the door; a row from elsewhere is simply not run */
    }
    struct checked *c = checked_get(k, key);
    if (c->create_rev != row->meta.create_rev) {
        c->n_fail = c->n_pass = 0;
        c->unhealthy_at = 0;
        c->is_mine = 0;
    }
    c->create_rev = row->meta.create_rev;
    c->mod_rev = row->meta.mod_rev;
    c->target = target;
    take_method(c, row->check.method);
    c->interval_ms = row->check.interval_ms;
    c->timeout_ms = row->check.timeout_ms;
    c->failures = row->check.failures;
    c->successes = row->check.successes;
    c->remove_after_ms = row->remove_after_ms;
    c->is_healthy = row->is_healthy;
    checked_assign(k, c);
}

/* Run here, or only looked after: a service goes when its check is critical for long. */
static int concerns_us(const struct check_row *row)
{
    int is_told = row->run.kind == CHECK_KIND_NONE || row->run.kind == CHECK_KIND_TTL;
    return !is_told || row->remove_after_ms != REMOVE_NEVER;
}

static void checked_fill_row(struct checks *k, struct slice key, const struct check_row *row)
{
    const struct check_run *run = &row->run;
    struct probe_target target = {.type = CHECK_NONE};
    int is_probed = run->kind == CHECK_KIND_TCP || run->kind == CHECK_KIND_UDP;
    if (is_probed && probe_target_parse(CHECK_TCP, run->target, &target, NULL) != 0) {
        return; /* refused at the door; a row from elsewhere is simply not run */
    }
    target.is_udp = run->kind == CHECK_KIND_UDP;
    struct checked *c = checked_get(k, key);
    if (c->create_rev != row->meta.create_rev || c->kind != run->kind ||
        !slice_eq(target_of(c), run->target)) {
        stop_probe(k, c); /* of what it was before */
        c->n_fail = c->n_pass = 0;
        c->unhealthy_at = 0;
        c->is_mine = 0;
    }
    c->is_row = 1;
    c->create_rev = row->meta.create_rev;
    c->mod_rev = row->meta.mod_rev;
    c->target = target;
    take_method(c, run->method);
    buf_clear(&c->text);
    struct slice name = run->kind == CHECK_KIND_ALIAS ? run->alias_service : run->server_name;
    buf_append_slice(&c->text, run->target);
    buf_append_slice(&c->text, run->headers);
    buf_append_slice(&c->text, name);
    buf_append_slice(&c->text, run->body);
    c->n_target = run->target.len;
    c->n_headers = run->headers.len;
    c->n_name = name.len;
    c->kind = run->kind;
    c->use_tls = run->use_tls;
    c->skip_verify = run->skip_verify;
    c->no_redirects = run->no_redirects;
    c->interval_ms = run->interval_ms > 0 ? run->interval_ms : SHARES_EVERY_MS;
    c->timeout_ms = run->timeout_ms;
    c->failures = run->failures_to_fail;
    c->failures_to_warn = run->failures_to_warn;
    c->successes = run->passes_needed;
    c->output_max = run->output_max;
    c->remove_after_ms = row->remove_after_ms;
    c->status = row->status;
    c->is_healthy = row->status != CHECK_CRITICAL;
    c->output_hash = hash_xxh3(row->output.p, row->output.len, 0);
    checked_assign(k, c);
}

static void forget(struct checks *k, struct slice key)
{
    struct checked *c = NULL;
    HASH_FIND(hh, k->table, key.p, key.len, c);
    if (c != NULL) {
        checked_free(k, c);
    }
}

static void look_at_row(struct checks *k, struct view *v, struct slice key)
{
    struct check_name n;
    struct check_row row;
    struct slice service;
    if (key_parse_check(key, &n) == 0 && view_check(v, n.node, n.id, &service, &row) == 0 &&
        slice_eq(service, n.service_id) && concerns_us(&row)) {
        checked_fill_row(k, key, &row);
    } else {
        forget(k, key);
    }
}

static void look_at(struct checks *k, struct view *v, struct slice key)
{
    struct instance_name name;
    struct instance_row row;
    if (key_parse_instance(key, &name) != 0) {
        return;
    }
    if (view_instance(v, &name, &row) == 0 && row.check.type != CHECK_NONE) {
        checked_fill(k, key, &row);
    } else {
        forget(k, key);
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
        } else if (key.len > 0 && key.p[0] == SPACE_PLACE) {
            k->are_aliases_old = 1;
        } else if (key.len > 0 && key.p[0] == SPACE_CHECK) {
            k->are_aliases_old = 1;
            v = v != NULL ? v : view_open(k->core->store);
            look_at_row(k, v, key);
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

static int scan_row(void *arg, const struct check_name *n, const struct check_row *row)
{
    if (!row->meta.is_deleted && concerns_us(row)) {
        struct buf key;
        buf_init(&key);
        key_check(&key, n);
        checked_fill_row(arg, buf_slice(&key), row);
        buf_fini(&key);
    }
    return 0;
}

static void checks_scan(struct checks *k)
{
    struct view *v = view_open(k->core->store);
    int rc = view_all_instances(v, scan_one, k);
    rc = rc != 0 ? rc : view_checks(v, slice_of(NULL, 0), scan_row, k);
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
    k->fetcher = fetcher_new(&c->loop);
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
    fetcher_free(k->fetcher);
    k->closed = closed;
    k->closed_arg = arg;
    uv_close((uv_handle_t *)&k->timer, on_timer_closed);
}
