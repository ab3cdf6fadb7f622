/* SPDX-License-Identifier: Apache-2.0 */
/* Where raft and storage meet: the state machine that the replica drives is the store. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "server/core/core_impl.h"

static void on_position(void *arg, struct replica_position *out)
{
    struct core *c = arg;
    struct store_state s;
    store_state(c->store, &s);
    *out = (struct replica_position){
        .index = s.applied, .term = s.applied_term, .conf_index = s.conf_index, .conf = s.conf};
}

static void keep_result(void *arg, const struct store_entry *entry, const struct command_result *r)
{
    struct core *c = arg;
    MU_INVARIANT(entry->index >= c->batch_first && entry->index - c->batch_first < c->batch_n);
    struct applied_result *x = &c->results[entry->index - c->batch_first];
    *x = (struct applied_result){.is_set = 1, .result = *r, .detail_at = c->details.len};
    x->result.detail.p = NULL;
    buf_append_slice(&c->details, r->detail);
}

static void results_prepare(struct core *c, mu_index first, size_t n)
{
    if (n > c->results_cap) {
        c->results = mem_realloc(c->results, n * sizeof(*c->results));
        c->results_cap = n;
    }
    memset(c->results, 0, n * sizeof(*c->results));
    buf_clear(&c->details);
    c->batch_first = first;
    c->batch_n = n;
}

static void tell_leases(struct core *c, const struct store_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (c->results[i].is_set) {
            leases_applied(c->leases, &entries[i], &c->results[i].result);
        }
    }
}

static int on_apply(void *arg, const struct replica_entry *in, size_t n)
{
    struct core *c = arg;
    uint64_t bytes = 0;
    struct err e = {0};
    struct store_entry *entries = mem_alloc(n * sizeof(*entries));
    for (size_t i = 0; i < n; i++) {
        entries[i] = (struct store_entry){.index = in[i].index,
                                          .term = in[i].term,
                                          .kind = (enum store_entry_kind)in[i].kind,
                                          .data = in[i].data};
        bytes += in[i].data.len;
    }
    if (store_has_room(c->store, bytes, &e) != 0) {
        if (!atomic_exchange(&c->glance.is_disk_full, 1)) {
            log_error("core", "no room to apply committed entries; waiting for disk space",
                      LOG_STR("why", e.text));
        }
        mem_free(entries);
        return MU_E_DISK_FULL;
    }
    int64_t t0 = clock_mono_us();
    struct change_set changes = {0};
    results_prepare(c, in[0].index, n);
    store_apply(c->store, entries, n, keep_result, c, &changes);
    struct store_state s;
    store_state(c->store, &s);
    atomic_store(&c->glance.revision, s.revision);
    hub_publish(c->hub, &changes, s.revision);
    checks_changed(c->checks, &changes);
    tell_leases(c, entries, n);
    leases_changed(c->leases, &changes);
    c->count.applied_entries += n;
    c->count.apply_batches++;
    c->count.apply_us += (uint64_t)(clock_mono_us() - t0);
    mem_free(entries);
    return 0;
}

static void on_stamp(void *arg, uint8_t *data, size_t len)
{
    (void)arg;
    MU_INVARIANT(len >= COMMAND_STAMP_OFFSET + 8);
    wire_set_u64(data + COMMAND_STAMP_OFFSET, (uint64_t)clock_wall_ms());
}

static void on_result(void *arg, mu_index index, struct buf *out)
{
    struct core *c = arg;
    if (index < c->batch_first || index - c->batch_first >= c->batch_n ||
        !c->results[index - c->batch_first].is_set) {
        return;
    }
    const struct applied_result *x = &c->results[index - c->batch_first];
    command_result_encode(buf_reserve(out, COMMAND_RESULT_SIZE), &x->result);
    out->len += COMMAND_RESULT_SIZE;
    if (x->result.detail.len != 0) {
        buf_append(out, c->details.p + x->detail_at, x->result.detail.len);
    }
}

/* --- snapshots: written on a pool thread --- */

struct snapshot_job {
    uv_work_t work;
    struct core *core;
    char *path;
    struct snapshot_info info;
    struct err err;
    int code;
    struct core_admin *admin; /* NULL: the replica asked */
};

static void snapshot_work(uv_work_t *w)
{
    struct snapshot_job *j = CONTAINER_OF(w, struct snapshot_job, work);
    j->code = snapshot_write(j->core->store, j->path, NULL, &j->info, &j->err);
}

static void snapshot_after(uv_work_t *w, int status)
{
    struct snapshot_job *j = CONTAINER_OF(w, struct snapshot_job, work);
    struct core *c = j->core;
    (void)status;
    c->is_snapshotting--;
    if (j->code != 0) {
        log_warn("core", "snapshot failed", LOG_STR("why", j->err.text));
    }
    if (j->admin != NULL) {
        j->admin->q.code = j->code;
        j->admin->q.err = j->err;
        core_reply(&j->admin->q);
    } else {
        c->count.snapshots++;
        replica_snapshot_done(c->replica, j->path, j->code, j->info.index, j->info.term,
                              j->info.conf_index, slice_of(j->info.conf, j->info.conf_len));
    }
    mem_free(j->path);
    mem_free(j);
}

void core_snapshot(struct core *c, const char *path, struct core_admin *admin)
{
    struct snapshot_job *j = mem_zalloc(sizeof(*j));
    j->core = c;
    j->path = mem_strdup(path);
    j->admin = admin;
    c->is_snapshotting++;
    int rc = uv_queue_work(&c->loop, &j->work, snapshot_work, snapshot_after);
    MU_INVARIANT(rc == 0);
}

static void on_snapshot_begin(void *arg, const char *path)
{
    core_snapshot(arg, path, NULL);
}

static int on_snapshot_check(void *arg, const char *path, mu_index *out_index, mu_term *out_term,
                             mu_index *out_conf_index, uint8_t *out_conf, size_t *inout_conf_len,
                             struct err *e)
{
    struct snapshot_info info;
    (void)arg;
    int rc = snapshot_check(path, &info, e);
    if (rc != 0) {
        return rc;
    }
    if (info.conf_len > *inout_conf_len) {
        return err_set(e, MU_E_FORMAT,
                       "snapshot %s holds a configuration of %zu bytes, at most %zu fit", path,
                       info.conf_len, *inout_conf_len);
    }
    *out_index = info.index;
    *out_term = info.term;
    *out_conf_index = info.conf_index;
    *inout_conf_len = info.conf_len;
    memcpy(out_conf, info.conf, info.conf_len);
    return 0;
}

static void on_snapshot_load(void *arg, const char *path)
{
    struct core *c = arg;
    struct err e = {0};
    if (snapshot_load(c->store, path, &e) != 0) {
        log_error("core", "cannot load snapshot", LOG_STR("path", path), LOG_STR("why", e.text));
        c->options.fatal(REPLICA_EXIT_CORRUPT, e.text);
    }
    struct store_state s;
    store_state(c->store, &s);
    atomic_store(&c->glance.revision, s.revision);
    log_info("core", "snapshot loaded", LOG_U64("index", s.applied),
             LOG_U64("revision", s.revision));
    if (c->hub != NULL) {
        hub_reset(c->hub, s.revision);
        checks_reset(c->checks);
    }
}

/* --- roles and messages --- */

static void on_role(void *arg, enum replica_role role, mu_term term, mu_node_id leader)
{
    struct core *c = arg;
    int was_leader = c->role == REPLICA_LEADER;
    leads_lost(c);
    c->role = role;
    c->term = term;
    c->leader = leader;
    if (was_leader && (role != REPLICA_LEADER || c->is_ready)) {
        c->is_ready = 0;
        leases_follow(c->leases);
    }
    atomic_store(&c->glance.is_leader, role == REPLICA_LEADER);
    atomic_store(&c->glance.has_leader, leader != 0);
    atomic_store(&c->glance.is_damaged, role == REPLICA_DAMAGED);
    atomic_store(&c->glance.is_ready, role != REPLICA_LEADER && leader != 0);
    atomic_store(&c->glance.term, term);
    atomic_store(&c->glance.leader, leader);
    static const char *const names[] = {"follower", "candidate", "leader", "damaged"};
    log_info("core", "role changed", LOG_STR("role", names[role]), LOG_U64("term", term),
             LOG_U64("leader", leader));
    checks_role(c->checks);
}

static void on_leader_ready(void *arg, mu_term term)
{
    struct core *c = arg;
    c->is_ready = 1;
    atomic_store(&c->glance.is_ready, 1);
    log_info("core", "leader is ready", LOG_U64("term", term));
    leases_lead(c->leases);
    core_init_cluster(c);
    catalog_lead(c->catalog);
    checks_role(c->checks);
}

static void on_message(void *arg, mu_node_id from, uint8_t type, struct slice data)
{
    struct core *c = arg;
    switch (type) {
    case CORE_MSG_KEEPALIVE:
    case CORE_MSG_KEEPALIVE_REPLY:
        leases_message(c->leases, from, type, data);
        return;
    case CORE_MSG_SHARES:
        checks_message(c->checks, from, data);
        return;
    default:
        log_debug("core", "unknown message", LOG_U64("type", type));
        return;
    }
}

static void on_fatal(void *arg, int exit_code, const char *why)
{
    struct core *c = arg;
    c->options.fatal(exit_code, why);
    _exit(exit_code);
}

void core_machine(struct core *c, struct replica_machine *out)
{
    *out = (struct replica_machine){
        .arg = c,
        .position = on_position,
        .apply = on_apply,
        .stamp = on_stamp,
        .result = on_result,
        .snapshot_begin = on_snapshot_begin,
        .snapshot_check = on_snapshot_check,
        .snapshot_load = on_snapshot_load,
        .role_changed = on_role,
        .leader_ready = on_leader_ready,
        .message = on_message,
        .fatal = on_fatal,
    };
}
