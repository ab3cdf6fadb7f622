/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/fake_core.h"

#include <stdio.h>
#include <stdlib.h>

#include <uv.h>

#include "base/mem.h"
#include "server/net/worker.h"
#include "server/watch/hub.h"
#include "storage/command/command.h"
#include "storage/files.h"

enum { TURNS = 256 };

struct fake_core fake_core;

/* --- the core, the hub and the worker that the routes see --- */

static void wake(void *arg)
{
    (void)arg;
}

static void run_reply(struct mail_job *j)
{
    struct core_request *q = CONTAINER_OF(j, struct core_request, job);
    q->done(q);
}

static void answer_with(struct core_request *q, int code)
{
    q->code = code;
    if (code != 0) {
        err_set(&q->err, code, "the core says so");
    }
    q->job.run = run_reply;
    mailbox_send(q->reply, &q->job.mail);
}

static int code_of_request(void)
{
    static const int codes[] = {MU_E_NO_LEADER, MU_E_UNKNOWN_OUTCOME, MU_E_OVERLOADED,
                                MU_E_DISK_FULL};
    return fake_core.how % 16 < 12 ? 0 : codes[fake_core.how % 4];
}

static void on_result(void *arg, const struct store_entry *e, const struct command_result *r)
{
    struct core_write *w = arg;
    (void)e;
    if (w != NULL) {
        w->result = *r;
        w->detail = r->detail.len > 0 ? mem_dup(r->detail.p, r->detail.len) : NULL;
        w->result.detail = slice_of(w->detail, r->detail.len);
    }
}

static void apply(struct command *c, struct core_write *w)
{
    struct change_set changes;
    struct buf b;
    buf_init(&b);
    c->wall_ms = 1000000 + (int64_t)fake_core.index * 100;
    command_encode(&b, c);
    struct store_entry e = {++fake_core.index, 1, STORE_COMMAND, buf_slice(&b)};
    store_apply(fake_core.store, &e, 1, on_result, w, &changes);
    buf_fini(&b);
}

void fake_core_apply(const struct command *c)
{
    struct command copy = *c;
    apply(&copy, NULL);
}

void core_propose(struct core *c, struct core_write *w, const struct command *cmd,
                  int64_t timeout_ms)
{
    static const int codes[] = {
        0, 0, 0, 0, MU_E_REVISION_MISMATCH, MU_E_EXISTS, MU_E_NOT_FOUND, MU_E_NO_LEASE};
    static struct command again; /* large */
    struct buf one, two;
    (void)c;
    (void)timeout_ms;
    buf_init(&one);
    buf_init(&two);
    command_encode(&one, cmd);
    MU_INVARIANT(command_decode(buf_slice(&one), &again) == 0);
    if (cmd->type != CMD_TXN) { /* of those the operations stay as bytes */
        command_encode(&two, &again);
        MU_INVARIANT(slice_eq(buf_slice(&one), buf_slice(&two)));
    }
    buf_fini(&one);
    buf_fini(&two);
    if (fake_core.applies) {
        again = *cmd;
        apply(&again, w);
        answer_with(&w->q, 0);
        return;
    }
    w->result = (struct command_result){.code = codes[fake_core.how % N_ELEMENTS(codes)],
                                        .revision = 9,
                                        .mod_rev = 9,
                                        .create_rev = 3,
                                        .version = 2,
                                        .lease = 5,
                                        .ttl_ms = 15000,
                                        .is_created = (fake_core.how & 64) != 0};
    answer_with(&w->q, code_of_request());
}

int core_reads_now(struct core *c, enum consistency level)
{
    (void)c;
    return level == READ_STALE;
}

void core_read_gate(struct core *c, struct core_read *r, enum consistency level, int64_t timeout_ms)
{
    (void)c;
    (void)level;
    (void)timeout_ms;
    answer_with(&r->q, code_of_request());
}

void core_keepalive(struct core *c, struct core_keepalive *k, int64_t timeout_ms)
{
    (void)c;
    (void)timeout_ms;
    for (size_t i = 0; i < k->n; i++) {
        k->out_ttl_ms[i] = k->ids[i] % 2 != 0 ? 15000 : -1;
        if (k->out_remaining_ms != NULL) {
            k->out_remaining_ms[i] = 700;
        }
    }
    answer_with(&k->q, code_of_request());
}

void core_admin(struct core *c, struct core_admin *a, int64_t timeout_ms)
{
    (void)c;
    (void)timeout_ms;
    if (a->op == CORE_STATUS) {
        *a->out_status = (struct replica_status){.n_members = 1};
        snprintf(a->out_status->members[0].m.name, sizeof(a->out_status->members[0].m.name), "n1");
    }
    answer_with(&a->q, a->op == CORE_SNAPSHOT ? MU_E_DISK_FULL : code_of_request());
}

mu_lease_id core_lease_id(struct core *c)
{
    (void)c;
    return 7;
}

void core_glance(const struct core *c, struct core_glance *out)
{
    (void)c;
    *out = (struct core_glance){.has_leader = 1, .is_leader = 1, .is_ready = 1, .revision = 9};
}

const char *core_node_name(const struct core *c)
{
    (void)c;
    return "n1";
}

mu_node_id core_node_id(const struct core *c)
{
    (void)c;
    return 1;
}

struct store *core_store(struct core *c)
{
    (void)c;
    return fake_core.store;
}

struct hub *core_hub(struct core *c)
{
    (void)c;
    return NULL;
}

static void run_fired(struct mail_job *j)
{
    struct sub *s = CONTAINER_OF(j, struct sub, fire_job);
    s->fired(s);
}

static void fire(unsigned i, int is_cancelled)
{
    struct sub *s = fake_core.armed[i];
    fake_core.armed[i] = NULL;
    s->is_cancelled = is_cancelled;
    s->fire_job.run = run_fired;
    mailbox_send(s->reply, &s->fire_job.mail);
}

void hub_arm(struct hub *h, struct sub *s)
{
    (void)h;
    unsigned i = 0;
    while (fake_core.armed[i] != NULL) {
        i++;
        MU_INVARIANT(i < FAKE_WAITERS_MAX);
    }
    s->is_cancelled = 0;
    fake_core.armed[i] = s;
}

void hub_cancel(struct hub *h, struct sub *s)
{
    (void)h;
    for (unsigned i = 0; i < FAKE_WAITERS_MAX; i++) {
        if (fake_core.armed[i] == s) {
            fire(i, 1);
        }
    }
}

/* For work on the pool. */
struct uv_loop_s *worker_loop(struct worker *w)
{
    (void)w;
    return uv_default_loop();
}

unsigned worker_number(const struct worker *w)
{
    (void)w;
    return 0;
}

struct mailbox *worker_mailbox(struct worker *w)
{
    (void)w;
    return &fake_core.box;
}

void worker_timer_stop(struct worker *w, struct worker_timer *t)
{
    (void)w;
    for (unsigned i = 0; i < FAKE_WAITERS_MAX; i++) {
        fake_core.timers[i] = fake_core.timers[i] == t ? NULL : fake_core.timers[i];
    }
}

void worker_timer_start(struct worker *w, struct worker_timer *t, int64_t delay_ms)
{
    unsigned i = 0;
    MU_INVARIANT(delay_ms >= 0);
    worker_timer_stop(w, t);
    while (fake_core.timers[i] != NULL) {
        i++;
        MU_INVARIANT(i < FAKE_WAITERS_MAX);
    }
    fake_core.timers[i] = t;
}

/* --- a store with a little in it --- */

static void close_store(void)
{
    char path[96];
    store_close(fake_core.store, 0);
    fake_core.store = NULL;
    (void)snprintf(path, sizeof(path), "%s/store", fake_core.dir);
    (void)files_remove_dir(path, NULL);
}

static void close_core(void)
{
    close_store();
    (void)files_remove_dir(fake_core.dir, NULL);
}

/* A config with two versions, a lease, an instance. */
static void fill_native(void)
{
    static struct command c;
    c = (struct command){.type = CMD_CONFIG_PUT, .wall_ms = 1000};
    c.u.config_put.name = (struct config_name){SLICE_LIT("public"), SLICE_LIT("k"), SLICE_LIT("k")};
    c.u.config_put.content = SLICE_LIT("one\ntwo\n");
    fake_core_apply(&c);
    c.u.config_put.content = SLICE_LIT("one\nthree\n");
    fake_core_apply(&c);
    c = (struct command){.type = CMD_LEASE_GRANT, .wall_ms = 1000};
    c.u.lease_grant = (struct cmd_lease_grant){5, 15000};
    fake_core_apply(&c);
    c = (struct command){.type = CMD_INSTANCE_PUT, .wall_ms = 1000};
    c.u.instance_put.name =
        (struct instance_name){SLICE_LIT("public"), SLICE_LIT("DEFAULT_GROUP"), SLICE_LIT("k"),
                               SLICE_LIT("DEFAULT"), SLICE_LIT("k")};
    c.u.instance_put.row.address = SLICE_LIT("10.0.0.1");
    c.u.instance_put.row.is_enabled = 1;
    c.u.instance_put.row.weight = 1;
    c.u.instance_put.row.meta.lease = 5;
    fake_core_apply(&c);
}

/* The node that answers, with its check. */
static void fill_catalog(void)
{
    static struct command c;
    struct op ops[2] = {{.type = OP_NODE_SET}, {.type = OP_CHECK_SET}};
    ops[0].u.node.name = SLICE_LIT("n1");
    ops[0].u.node.row.address = SLICE_LIT("127.0.0.1");
    ops[1].u.check.name =
        (struct check_name){SLICE_LIT("n1"), slice_of(NULL, 0), SLICE_LIT("serfHealth")};
    ops[1].u.check.row = (struct check_row){.name = SLICE_LIT("Serf Health Status"),
                                            .remove_after_ms = REMOVE_NEVER};
    c = (struct command){.type = CMD_TXN};
    c.u.txn = (struct cmd_txn){.n = 2, .ops = ops};
    fake_core_apply(&c);
}

static void open_store(void)
{
    struct err e = {0};
    int was_reset;
    int rc = store_open(&(struct store_options){.dir = fake_core.dir, .map_initial = 4 << 20},
                        &fake_core.store, &was_reset, &e);
    MU_INVARIANT(rc == 0);
    fake_core.index = 0;
    fill_native();
    fill_catalog();
}

void fake_core_open(void)
{
    const char *tmp = getenv("TMPDIR");
    if (fake_core.store != NULL) {
        return;
    }
    (void)snprintf(fake_core.dir, sizeof(fake_core.dir), "%s/muster-fuzz-XXXXXX",
                   tmp != NULL ? tmp : "/tmp");
    MU_INVARIANT(mkdtemp(fake_core.dir) != NULL);
    mailbox_init(&fake_core.box, wake, NULL);
    (void)atexit(close_core);
    open_store();
}

void fake_core_renew(void)
{
    enum { FILLED = 5 };
    if (fake_core.index != FILLED) {
        close_store();
        open_store();
    }
}

/* --- its turns --- */

void fake_core_settle(struct sans_io *s)
{
    unsigned n_busy = 1;
    for (unsigned turn = 0; turn < TURNS && (turn < 3 || n_busy != 0); turn++) {
        (void)uv_run(uv_default_loop(), UV_RUN_DEFAULT);
        n_busy = mailbox_run(&fake_core.box);
        sans_io_turn(s);
        for (unsigned i = 0; i < FAKE_WAITERS_MAX; i++) {
            struct worker_timer *t = fake_core.timers[i];
            if (fake_core.armed[i] != NULL && (fake_core.how & 32) != 0 && turn == 1) {
                fire(i, 0);
            } else if (t != NULL && turn > 1) {
                fake_core.timers[i] = NULL;
                n_busy++;
                t->fire(t);
            }
        }
    }
}
