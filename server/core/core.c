/* SPDX-License-Identifier: Apache-2.0 */
/* The core thread: opens what is on disk, runs one loop, and answers requests that arrive by mail.
 *
 * Happy path of a write: core_propose encodes on the worker's thread and posts; run_propose hands
 * the bytes to the replica; after the commit on_apply (machine.c) has run, proposal_done decodes
 * the result and posts the request back to the worker. Failure: refused here (draining, disk full,
 * overloaded) or by the replica with the code it gives; unknown stays unknown. */
#include "server/core/core_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    TICK_MS = 100,
    DISK_CHECK_MS = 500,
    COMPACTION_MS = 60 * 1000,
    STAMP_ROOM = 4096, /* an encoded command beside its content */
};

static const int64_t CONFIG_KEEP_MS = 30LL * 24 * 3600 * 1000;
static const uint64_t DISK_RESERVE_MAX = 64ULL << 20;

/* --- requests --- */

void core_post(struct core *c, struct core_request *q, void (*run)(struct mail_job *))
{
    q->core = c;
    q->code = 0;
    q->err = (struct err){0};
    q->job.run = run;
    mailbox_send(&c->box, &q->job.mail);
}

static void run_done(struct mail_job *j)
{
    struct core_request *q = CONTAINER_OF(j, struct core_request, job);
    q->done(q);
}

void core_reply(struct core_request *q)
{
    q->job.run = run_done;
    mailbox_send(q->reply, &q->job.mail);
}

static void refuse(struct core_request *q, int code, const char *text)
{
    q->code = err_set(&q->err, code, "%s", text);
    core_reply(q);
}

/* The sentence that goes with a code of the replica. */
static const char *why_text(int code)
{
    switch (code) {
    case MU_E_NO_LEADER:
        return "the cluster has no leader now; nothing was written";
    case MU_E_NOT_LEADER:
        return "leadership changed before the write was accepted; nothing was written";
    case MU_E_OVERLOADED:
        return "too many writes are waiting; nothing was written; try again later";
    case MU_E_DISK_FULL:
        return "the disk is nearly full: writes are refused until there is space, reads go on";
    case MU_E_UNKNOWN_OUTCOME:
        return "the write may or may not have been applied; repeat it with the same Muster-Request-Id or read before you repeat it";
    case MU_E_TIMEOUT:
        return "the cluster did not answer in time";
    default:
        return err_title(code);
    }
}

static void fail(struct core_request *q, int code)
{
    /* Leadership that moved before acceptance is, for a client, simply no leader now. */
    q->code =
        err_set(&q->err, code == MU_E_NOT_LEADER ? MU_E_NO_LEADER : code, "%s", why_text(code));
}

/* The fixed part, then the detail, which is borrowed. */
static int result_take(struct slice s, struct command_result *out)
{
    if (s.len < COMMAND_RESULT_SIZE) {
        return MU_E_FORMAT;
    }
    int rc = command_result_decode(slice_of(s.p, COMMAND_RESULT_SIZE), out);
    out->detail = slice_of(s.p + COMMAND_RESULT_SIZE, s.len - COMMAND_RESULT_SIZE);
    return rc;
}

static void proposal_done(struct replica_proposal *p, int code, struct slice result)
{
    struct core_write *w = CONTAINER_OF(p, struct core_write, proposal);
    if (code == 0) {
        code = result_take(result, &w->result);
    }
    if (code == 0 && w->result.detail.len != 0) {
        w->detail = mem_dup(w->result.detail.p, w->result.detail.len);
        w->result.detail.p = w->detail;
    }
    if (code != 0) {
        w->q.core->count.proposals_failed++;
        fail(&w->q, code);
    }
    core_reply(&w->q);
}

static void run_propose(struct mail_job *j)
{
    struct core_write *w = CONTAINER_OF(j, struct core_write, q.job);
    struct core *c = w->q.core;
    c->count.proposals++;
    if (c->glance.is_draining || c->glance.is_disk_full) {
        int code = c->glance.is_draining ? MU_E_DRAINING : MU_E_DISK_FULL;
        mem_free(w->proposal.data);
        refuse(&w->q, code,
               code == MU_E_DRAINING ? "this node is stopping; use another one" : why_text(code));
        return;
    }
    replica_propose(c->replica, &w->proposal);
}

void core_propose(struct core *c, struct core_write *w, const struct command *cmd,
                  int64_t timeout_ms)
{
    struct buf b;
    buf_init(&b);
    command_encode(&b, cmd);
    w->result = (struct command_result){0};
    w->detail = NULL;
    w->proposal = (struct replica_proposal){.done = proposal_done,
                                            .deadline_at = clock_mono_ms() + timeout_ms};
    w->proposal.data = buf_take(&b, &w->proposal.len);
    core_post(c, &w->q, run_propose);
}

/* --- the core's own commands --- */

struct own_write {
    struct core *core;
    struct replica_proposal proposal;
    core_own_done done;
    void *arg;
};

static void own_done(struct replica_proposal *p, int code, struct slice result)
{
    struct own_write *w = CONTAINER_OF(p, struct own_write, proposal);
    struct command_result r = {0};
    if (code == 0) {
        code = result_take(result, &r);
    }
    if (w->done != NULL) {
        w->done(w->core, w->arg, code, &r);
    }
    mem_free(w);
}

void core_propose_own(struct core *c, const struct command *cmd, int is_local_only,
                      core_own_done done, void *arg)
{
    struct own_write *w = mem_zalloc(sizeof(*w));
    struct buf b;
    buf_init(&b);
    command_encode(&b, cmd);
    w->core = c;
    w->done = done;
    w->arg = arg;
    w->proposal.done = own_done;
    w->proposal.deadline_at = clock_mono_ms() + 5000;
    w->proposal.is_local_only = is_local_only;
    w->proposal.data = buf_take(&b, &w->proposal.len);
    replica_propose(c->replica, &w->proposal);
}

void core_init_cluster(struct core *c)
{
    static const uint8_t zero[16];
    struct store_state s;
    store_state(c->store, &s);
    if (memcmp(s.cluster_id, zero, sizeof(zero)) == 0) {
        struct command cmd = {.type = CMD_CLUSTER_INIT};
        rnd_bytes(cmd.u.cluster_init.cluster_id, sizeof(cmd.u.cluster_init.cluster_id));
        core_propose_own(c, &cmd, 1, NULL, NULL);
    }
}

/* --- reads --- */

static void read_done(struct replica_read *rd, int code)
{
    struct core_read *r = CONTAINER_OF(rd, struct core_read, rd);
    if (code != 0) {
        fail(&r->q, code);
        if (code == MU_E_NO_LEADER || code == MU_E_NOT_LEADER) {
            r->q.code =
                err_set(&r->q.err, MU_E_NO_LEADER,
                        "the cluster has no leader now; ?consistency=stale reads from this node");
        }
    }
    core_reply(&r->q);
}

static void run_read(struct mail_job *j)
{
    struct core_read *r = CONTAINER_OF(j, struct core_read, q.job);
    r->q.core->count.reads_gated++;
    replica_read(r->q.core->replica, &r->rd);
}

void core_read_gate(struct core *c, struct core_read *r, enum consistency level, int64_t timeout_ms)
{
    r->rd = (struct replica_read){.done = read_done,
                                  .is_leader_only = level == READ_LEADER,
                                  .deadline_at = clock_mono_ms() + timeout_ms};
    core_post(c, &r->q, run_read);
}

static void run_keepalive(struct mail_job *j)
{
    struct core_keepalive *k = CONTAINER_OF(j, struct core_keepalive, q.job);
    struct core *c = k->q.core;
    c->count.keepalives += k->n;
    leases_keepalive(c->leases, k, k->deadline_at);
}

void core_keepalive(struct core *c, struct core_keepalive *k, int64_t timeout_ms)
{
    MU_INVARIANT(k->n <= COMMAND_LEASES_MAX);
    k->deadline_at = clock_mono_ms() + timeout_ms;
    core_post(c, &k->q, run_keepalive);
}

/* --- administration --- */

static void admin_done(void *arg, int code, const char *why)
{
    struct core_admin *a = arg;
    if (code != 0) {
        a->q.code = err_set(&a->q.err, code, "%s", why != NULL ? why : why_text(code));
    }
    core_reply(&a->q);
}

static void run_status(struct core *c, struct core_admin *a)
{
    struct store_state s;
    store_state(c->store, &s);
    memcpy(a->cluster_id, s.cluster_id, sizeof(a->cluster_id));
    replica_status(c->replica, a->out_status);
    core_reply(&a->q);
}

static void run_admin(struct mail_job *j)
{
    struct core_admin *a = CONTAINER_OF(j, struct core_admin, q.job);
    struct core *c = a->q.core;
    switch (a->op) {
    case CORE_STATUS:
        run_status(c, a);
        return;
    case CORE_TRANSFER:
        leads_give_way(c);
        replica_transfer(c->replica, a->node, admin_done, a);
        return;
    case CORE_MEMBER_ADD:
        replica_member_add(c->replica, &a->member, a->node, admin_done, a);
        return;
    case CORE_MEMBER_REMOVE:
        replica_member_remove(c->replica, a->node, admin_done, a);
        return;
    case CORE_SNAPSHOT:
        snprintf(a->path, sizeof(a->path), "%s/export-%016llx.snap", c->data_dir,
                 (unsigned long long)rnd_u64());
        core_snapshot(c, a->path, a);
        return;
    }
    refuse(&a->q, MU_E_INTERNAL, "unknown operation");
}

void core_admin(struct core *c, struct core_admin *a, int64_t timeout_ms)
{
    (void)timeout_ms; /* every operation ends by itself: the replica bounds transfers and membership
                       */
    core_post(c, &a->q, run_admin);
}

/* --- once every tick --- */

static void check_disk(struct core *c, int64_t now)
{
    uint64_t free_bytes = 0, total = 0;
    if (now < c->next_disk_check ||
        c->disk->ops->free_bytes(c->disk, &free_bytes, &total, NULL) != 0) {
        return;
    }
    c->next_disk_check = now + DISK_CHECK_MS;
    int is_full = free_bytes < c->disk_reserve;
    if (is_full != atomic_exchange(&c->glance.is_disk_full, is_full)) {
        if (is_full) {
            log_error("core", "disk nearly full: writes are refused", LOG_U64("free", free_bytes),
                      LOG_U64("reserve", c->disk_reserve));
        } else {
            log_info("core", "disk has space again: writes are accepted",
                     LOG_U64("free", free_bytes));
        }
    }
}

static void compact_done(struct core *c, void *arg, int code, const struct command_result *r)
{
    (void)arg;
    if (code == 0 && r->is_changed && c->is_ready) {
        c->next_compaction = clock_mono_ms(); /* more of the same space remains */
    }
}

static void compact(struct core *c, int64_t now)
{
    if (!c->is_ready || now < c->next_compaction || c->glance.is_disk_full) {
        return;
    }
    c->next_compaction = now + COMPACTION_MS;
    int64_t keep_ms = c->options.config_keep_ms > 0 ? c->options.config_keep_ms : CONFIG_KEEP_MS;
    uint32_t versions = c->options.config_keep_versions > 0 ? c->options.config_keep_versions : 100;
    struct command cmd = {.type = CMD_COMPACT};
    cmd.u.compact = (struct cmd_compact){
        .space = SPACE_CONFIG, .before_ms = clock_wall_ms() - keep_ms, .keep_versions = versions};
    core_propose_own(c, &cmd, 1, compact_done, NULL);
    /* The others keep no history beyond what a watcher may want to resume from: one hour. */
    const uint8_t spaces[] = {SPACE_INSTANCE, SPACE_USER};
    for (size_t i = 0; i < N_ELEMENTS(spaces); i++) {
        cmd.u.compact = (struct cmd_compact){
            .space = spaces[i], .before_ms = clock_wall_ms() - 3600 * 1000, .keep_versions = 1};
        core_propose_own(c, &cmd, 1, compact_done, NULL);
    }
}

static void refresh_counters(struct core *c)
{
    struct replica_status s;
    replica_status(c->replica, &s);
    c->count.log_bytes = s.log_bytes;
    c->count.queued_bytes = s.queued_bytes;
    c->count.log_syncs = s.n_syncs;
    c->count.log_sync_us = s.sync_us_total;
    c->count.elections = s.n_elections;
    c->count.commit_index = s.commit;
    c->count.applied_index = s.applied;
    c->count.store_bytes = store_used_bytes(c->store);
    c->count.leases = leases_count(c->leases);
    c->count.subs = hub_count(c->hub);
    int64_t now = clock_mono_ms();
    atomic_store(&c->glance.leader_heard_at, s.leader_age_ms < 0 ? -1 : now - s.leader_age_ms);
    atomic_store(&c->glance.has_leader, s.leader != 0);
    atomic_store(&c->glance.leader, s.leader);
}

static void on_tick(uv_timer_t *t)
{
    struct core *c = t->data;
    int64_t now = clock_mono_ms();
    check_disk(c, now);
    compact(c, now);
    catalog_tick(c->catalog, now);
    leads_tick(c, now);
    refresh_counters(c);
}

/* --- life --- */

static void on_wake(uv_poll_t *p, int status, int events)
{
    struct core *c = p->data;
    (void)status, (void)events;
    wake_clear(&c->wake);
    mailbox_run(&c->box);
}

static void wake(void *arg)
{
    struct core *c = arg;
    wake_send(&c->wake);
}

static void choose_disk_sizes(struct core *c)
{
    uint64_t free_bytes = 0, total = 0;
    uint64_t *segment = &c->options.replica.segment_bytes;
    if (c->disk->ops->free_bytes(c->disk, &free_bytes, &total, NULL) != 0) {
        total = 0;
    }
    if (*segment == 0) {
        *segment = 16ULL << 20;
        while (*segment > (1ULL << 20) && total != 0 && *segment > total / 64) {
            *segment /= 2;
        }
    }
    c->disk_reserve = c->options.disk_reserve_bytes;
    if (c->disk_reserve == 0) {
        c->disk_reserve =
            2 * *segment + (total / 20 < DISK_RESERVE_MAX ? total / 20 : DISK_RESERVE_MAX);
    }
}

static int open_store(struct core *c, struct err *e)
{
    struct store_options so = {.dir = c->data_dir, .map_max = c->options.store_max_bytes};
    int was_reset = 0;
    int rc = store_open(&so, &c->store, &was_reset, e);
    if (rc != 0) {
        return err_wrap(e, "opening the store in %s", c->data_dir);
    }
    if (was_reset) {
        log_warn(
            "core",
            "store is rebuilt from snapshot and log: the last stop was not clean and the machine or mount was restarted since");
    }
    struct store_state s;
    store_state(c->store, &s);
    atomic_store(&c->glance.revision, s.revision);
    return 0;
}

static int open_all(struct core *c, struct err *e)
{
    int rc = disk_open_real(c->data_dir, &c->disk, e);
    if (rc != 0) {
        return rc;
    }
    choose_disk_sizes(c);
    struct snapshot_info from;
    const char *restore = c->options.restore;
    /* Before there is a store: a wrong file leaves the directory as it was. */
    if (restore != NULL && (rc = snapshot_check(restore, &from, e)) != 0) {
        return err_wrap(e, "restoring %s", restore);
    }
    if ((rc = open_store(c, e)) != 0) {
        return rc;
    }
    if (restore != NULL && (rc = core_restore(c, &from, e)) != 0) {
        return err_wrap(e, "restoring %s", c->options.restore);
    }
    struct replica_machine m;
    core_machine(c, &m);
    c->options.replica.loop = &c->loop;
    c->options.replica.disk = c->disk;
    c->options.replica.data_dir = c->data_dir;
    if ((rc = replica_open(&c->options.replica, &m, &c->replica, e)) != 0) {
        return err_wrap(e, "opening the log in %s", c->data_dir);
    }
    struct store_state s;
    store_state(c->store, &s);
    c->hub = hub_new(&c->box, s.revision);
    c->leases = leases_new(c);
    c->checks = checks_new(c);
    c->catalog = catalog_new(c);
    return 0;
}

static void *core_main(void *arg)
{
    struct core *c = arg;
    uv_run(&c->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void init_loop(struct core *c)
{
    int rc = uv_loop_init(&c->loop);
    MU_INVARIANT(rc == 0);
    wake_init(&c->wake);
    uv_poll_init(&c->loop, &c->wake_poll, c->wake.fd);
    uv_poll_start(&c->wake_poll, UV_READABLE, on_wake);
    c->wake_poll.data = c;
    uv_timer_init(&c->loop, &c->tick);
    c->tick.data = c;
    mailbox_init(&c->box, wake, c);
}

int core_start(const struct core_options *o, struct core **out, struct err *e)
{
    struct core *c = mem_zalloc(sizeof(*c));
    c->options = *o;
    c->data_dir = mem_strdup(o->data_dir);
    c->name = mem_strdup(o->replica.name);
    atomic_store(&c->glance.leader_heard_at, -1);
    atomic_store(&c->lease_id, rnd_u64());
    init_loop(c);
    int rc = open_all(c, e);
    if (rc == 0) {
        rc = replica_start(c->replica, e);
    }
    if (rc != 0) {
        return rc; /* the process ends with the message; what is open closes with it */
    }
    checks_start(c->checks);
    uv_timer_start(&c->tick, on_tick, TICK_MS, TICK_MS);
    rc = pthread_create(&c->thread, NULL, core_main, c);
    MU_INVARIANT(rc == 0);
    pthread_setname_np(c->thread, "core");
    *out = c;
    return 0;
}

/* --- stopping --- */

struct drain_job {
    struct mail_job job;
    struct core *core;
    uv_sem_t sem;
};

static void drain_done(void *arg, int code, const char *why)
{
    struct drain_job *d = arg;
    log_info("core", code == 0 ? "leadership handed over" : "leadership not handed over",
             LOG_STR("why", why != NULL ? why : ""));
    uv_sem_post(&d->sem);
}

static int has_other_voter(struct core *c)
{
    struct replica_status s;
    replica_status(c->replica, &s);
    for (size_t i = 0; i < s.n_members; i++) {
        if (!s.members[i].is_self && s.members[i].m.is_voter && s.members[i].is_reachable) {
            return 1;
        }
    }
    return 0;
}

static void run_drain(struct mail_job *j)
{
    struct drain_job *d = CONTAINER_OF(j, struct drain_job, job);
    struct core *c = d->core;
    atomic_store(&c->glance.is_draining, 1);
    hub_fire_all(c->hub);
    if (c->role == REPLICA_LEADER && has_other_voter(c)) {
        leads_give_way(c);
        replica_transfer(c->replica, 0, drain_done, d);
    } else {
        uv_sem_post(&d->sem);
    }
}

void core_drain(struct core *c, int64_t timeout_ms)
{
    (void)timeout_ms; /* a transfer gives up after one election time-out by itself */
    struct drain_job d = {.job.run = run_drain, .core = c};
    uv_sem_init(&d.sem, 0);
    mailbox_send(&c->box, &d.job.mail);
    uv_sem_wait(&d.sem);
    uv_sem_destroy(&d.sem);
}

struct reload_job {
    struct mail_job job;
    struct core *core;
    uv_sem_t sem;
    int code;
    struct err *err;
};

static void run_reload(struct mail_job *j)
{
    struct reload_job *r = CONTAINER_OF(j, struct reload_job, job);
    r->code = replica_reload_tls(r->core->replica, r->err);
    uv_sem_post(&r->sem);
}

int core_reload_tls(struct core *c, struct err *e)
{
    struct reload_job r = {.job.run = run_reload, .core = c, .err = e};
    uv_sem_init(&r.sem, 0);
    mailbox_send(&c->box, &r.job.mail);
    uv_sem_wait(&r.sem);
    uv_sem_destroy(&r.sem);
    return r.code;
}

static void replica_closed(void *arg)
{
    struct core *c = arg;
    uv_close((uv_handle_t *)&c->wake_poll, NULL);
    uv_close((uv_handle_t *)&c->tick, NULL);
}

static void checks_closed(void *arg)
{
    struct core *c = arg;
    uv_timer_stop(&c->tick); /* it looks at what the replica gives back now */
    replica_close(c->replica, replica_closed, c);
}

static void run_stop(struct mail_job *j)
{
    struct drain_job *d = CONTAINER_OF(j, struct drain_job, job);
    d->core->is_stopping = 1;
    leases_stop(d->core->leases);
    checks_free(d->core->checks, checks_closed, d->core);
    mem_free(d);
}

void core_stop(struct core *c)
{
    struct drain_job *d = mem_zalloc(sizeof(*d));
    d->job.run = run_stop;
    d->core = c;
    mailbox_send(&c->box, &d->job.mail);
    pthread_join(c->thread, NULL);
    leases_free(c->leases);
    catalog_free(c->catalog);
    hub_free(c->hub);
    store_close(c->store, 1);
    disk_close_real(c->disk);
    uv_loop_close(&c->loop);
    wake_fini(&c->wake);
    mailbox_fini(&c->box);
    mem_free(c->results);
    buf_fini(&c->details);
    mem_free(c->data_dir);
    mem_free(c->name);
    mem_free(c);
}

/* --- looks from other threads --- */

mu_lease_id core_lease_id(struct core *c)
{
    mu_lease_id id;
    do {
        id = atomic_fetch_add(&c->lease_id, 1);
    } while (id == 0);
    return id;
}

void core_glance(const struct core *c, struct core_glance *out)
{
    int64_t heard = atomic_load(&c->glance.leader_heard_at);
    *out = (struct core_glance){
        .has_leader = atomic_load(&c->glance.has_leader),
        .is_leader = atomic_load(&c->glance.is_leader),
        .is_draining = atomic_load(&c->glance.is_draining),
        .is_disk_full = atomic_load(&c->glance.is_disk_full),
        .is_damaged = atomic_load(&c->glance.is_damaged),
        .is_ready = atomic_load(&c->glance.is_ready),
        .leader_age_ms = heard < 0 ? -1 : clock_mono_ms() - heard,
        .term = atomic_load(&c->glance.term),
        .revision = atomic_load(&c->glance.revision),
        .leader = atomic_load(&c->glance.leader),
    };
}

void core_counters(const struct core *c, struct core_counters *out)
{
    *out = (struct core_counters){
        .proposals = c->count.proposals,
        .proposals_failed = c->count.proposals_failed,
        .applied_entries = c->count.applied_entries,
        .apply_batches = c->count.apply_batches,
        .apply_us = c->count.apply_us,
        .keepalives = c->count.keepalives,
        .reads_gated = c->count.reads_gated,
        .leases = c->count.leases,
        .subs = c->count.subs,
        .checks_run = c->count.checks_run,
        .checks_mine = c->count.checks_mine,
        .store_bytes = c->count.store_bytes,
        .log_bytes = c->count.log_bytes,
        .queued_bytes = c->count.queued_bytes,
        .log_syncs = c->count.log_syncs,
        .log_sync_us = c->count.log_sync_us,
        .elections = c->count.elections,
        .snapshots = c->count.snapshots,
        .commit_index = c->count.commit_index,
        .applied_index = c->count.applied_index,
    };
}

const char *core_node_name(const struct core *c)
{
    return c->name;
}

mu_node_id core_node_id(const struct core *c)
{
    return replica_id_of(c->name);
}

struct store *core_store(struct core *c)
{
    return c->store;
}

struct hub *core_hub(struct core *c)
{
    return c->hub;
}
