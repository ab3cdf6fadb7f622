/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/raft/replica_kit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"

/* --- the machine --- */

static size_t state_size(const struct kit *k)
{
    return sizeof(struct kit_state) + k->state_bytes;
}

static void write_file(const char *path, const void *p, size_t len)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, len, f), len);
    fclose(f);
}

static int read_file(const char *path, void *p, size_t len)
{
    FILE *f = fopen(path, "r");
    size_t n = f != NULL ? fread(p, 1, len, f) : 0;
    if (f != NULL) {
        fclose(f);
    }
    return n == len;
}

static void state_path(struct kit_node *n, char *out, size_t cap)
{
    snprintf(out, cap, "%s/state", n->dir);
}

static void on_position(void *arg, struct replica_position *out)
{
    struct kit_node *n = arg;
    *out = (struct replica_position){.index = n->state->index,
                                     .term = n->state->term,
                                     .conf_index = n->state->conf_index,
                                     .conf = slice_of(n->state->conf, n->state->conf_len)};
}

static int on_apply(void *arg, const struct replica_entry *e, size_t count)
{
    struct kit_node *n = arg;
    if (n->is_disk_full) {
        return MU_E_DISK_FULL;
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(e[i].index, n->state->index + 1);
        n->state->index = e[i].index;
        n->state->term = e[i].term;
        if (e[i].kind == REPLICA_CHANGE) {
            n->state->conf_index = e[i].index;
            n->state->conf_len = (uint32_t)e[i].data.len;
            memcpy(n->state->conf, e[i].data.p, e[i].data.len);
        }
        if (e[i].kind == REPLICA_COMMAND) {
            n->state->hash = hash_xxh3(e[i].data.p, e[i].data.len, n->state->hash);
            n->state->n_commands++;
        }
        n->result_of[e[i].index & 8191] = n->state->n_commands;
    }
    return 0;
}

static void on_stamp(void *arg, uint8_t *data, size_t len)
{
    (void)arg;
    data[len - 1] = 'S';
}

static void on_result(void *arg, mu_index index, struct buf *out)
{
    struct kit_node *n = arg;
    wire_put_u64(out, n->result_of[index & 8191]);
}

static void take_work(uv_work_t *w)
{
    struct kit_node *n = w->data;
    write_file(n->taking.path, n->taking.state, state_size(n->kit));
}

static void take_after(uv_work_t *w, int status)
{
    struct kit_node *n = w->data;
    struct kit_state *s = n->taking.state;
    (void)status;
    if (n->is_up) {
        n->n_snapshots++;
        replica_snapshot_done(n->replica, n->taking.path, 0, s->index, s->term, s->conf_index,
                              slice_of(s->conf, s->conf_len));
    }
    mem_free(s);
    n->taking.state = NULL;
}

static void on_snapshot_begin(void *arg, const char *path)
{
    struct kit_node *n = arg;
    snprintf(n->taking.path, sizeof(n->taking.path), "%s", path);
    n->taking.state = mem_dup(n->state, state_size(n->kit));
    n->taking.work.data = n;
    uv_queue_work(&n->kit->loop, &n->taking.work, take_work, take_after);
}

static int on_snapshot_check(void *arg, const char *path, mu_index *out_index, mu_term *out_term,
                             mu_index *out_conf_index, uint8_t *out_conf, size_t *inout_conf_len,
                             struct err *e)
{
    struct kit_node *n = arg;
    struct kit_state *s = mem_alloc(state_size(n->kit));
    int rc = read_file(path, s, state_size(n->kit)) ? 0 : err_set(e, MU_E_CORRUPT, "short file");
    if (rc == 0) {
        *out_index = s->index;
        *out_term = s->term;
        *out_conf_index = s->conf_index;
        *inout_conf_len = s->conf_len;
        memcpy(out_conf, s->conf, s->conf_len);
    }
    mem_free(s);
    return rc;
}

static void on_snapshot_load(void *arg, const char *path)
{
    struct kit_node *n = arg;
    assert_true(read_file(path, n->state, state_size(n->kit)));
    n->n_loads++;
    n->loaded = n->state->index;
}

static void on_role(void *arg, enum replica_role role, mu_term term, mu_node_id leader)
{
    struct kit_node *n = arg;
    (void)term;
    n->role = role;
    n->leader = leader;
}

static void on_ready(void *arg, mu_term term)
{
    struct kit_node *n = arg;
    n->ready_term = term;
}

static void on_message(void *arg, mu_node_id from, uint8_t type, struct slice data)
{
    struct kit_node *n = arg;
    (void)from;
    n->n_messages++;
    snprintf(n->last_message, sizeof(n->last_message), "%u:%.*s", type, SLICE_FMT(data));
}

static void on_fatal(void *arg, int code, const char *why)
{
    struct kit_node *n = arg;
    fprintf(stderr, "%s: fatal %d: %s\n", n->name, code, why);
    abort();
}

static void fill_machine(struct kit_node *n, struct replica_machine *m)
{
    *m = (struct replica_machine){
        .arg = n,
        .position = on_position,
        .apply = on_apply,
        .stamp = on_stamp,
        .result = on_result,
        .snapshot_begin = on_snapshot_begin,
        .snapshot_check = on_snapshot_check,
        .snapshot_load = on_snapshot_load,
        .role_changed = on_role,
        .leader_ready = on_ready,
        .message = on_message,
        .fatal = on_fatal,
    };
}

/* --- nodes --- */

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0 &&
                getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    close(fd);
    return ntohs(a.sin_port);
}

void kit_open(struct kit *k, int n)
{
    memset(k, 0, sizeof(*k));
    log_set_level(getenv("KIT_LOG") != NULL ? LOG_DEBUG : LOG_ERROR);
    uv_loop_init(&k->loop);
    snprintf(k->dir, sizeof(k->dir), "/tmp/muster-replica-XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    k->n = n;
    k->options.segment_bytes = 64 * 1024;
    for (int i = 0; i < KIT_NODES; i++) {
        struct kit_node *x = &k->nodes[i];
        x->kit = k;
        x->i = i;
        snprintf(x->name, sizeof(x->name), "n%d", i + 1);
        snprintf(x->dir, sizeof(x->dir), "%s/%s", k->dir, x->name);
        snprintf(x->address, sizeof(x->address), "127.0.0.1:%d", free_port());
        k->members[i].id = replica_id_of(x->name);
        k->members[i].is_voter = 1;
        snprintf(k->members[i].name, sizeof(k->members[i].name), "%s", x->name);
        snprintf(k->members[i].address, sizeof(k->members[i].address), "%s", x->address);
    }
}

static void start(struct kit *k, int i, int is_join)
{
    struct kit_node *n = &k->nodes[i];
    struct replica_options o = k->options;
    struct replica_machine m;
    struct err e = {0};
    char path[320];
    mkdir(n->dir, 0700);
    assert_int_equal(disk_open_real(n->dir, &n->disk, &e), 0);
    n->state = mem_zalloc(state_size(k));
    state_path(n, path, sizeof(path));
    read_file(path, n->state, state_size(k));
    o.loop = &k->loop;
    o.disk = n->disk;
    o.data_dir = n->dir;
    o.name = n->name;
    o.peer_listen = k->n > 1 || is_join ? n->address : NULL;
    o.initial = k->members;
    o.n_initial = (size_t)k->n;
    o.is_join = is_join;
    fill_machine(n, &m);
    n->ready_term = 0;
    n->is_up = 1;
    n->is_closed = 0;
    if (replica_open(&o, &m, &n->replica, &e) != 0 || replica_start(n->replica, &e) != 0) {
        fail_msg("%s does not start: %s", n->name, e.text);
    }
}

void kit_start(struct kit *k, int i)
{
    start(k, i, 0);
}

void kit_join(struct kit *k, int i)
{
    start(k, i, 1);
}

static void on_closed(void *arg)
{
    struct kit_node *n = arg;
    n->is_closed = 1;
}

void kit_stop(struct kit *k, int i)
{
    struct kit_node *n = &k->nodes[i];
    char path[320];
    if (!n->is_up) {
        return;
    }
    n->is_up = 0;
    replica_close(n->replica, on_closed, n);
    while (!n->is_closed || n->taking.state != NULL) {
        uv_run(&k->loop, UV_RUN_ONCE);
    }
    state_path(n, path, sizeof(path));
    write_file(path, n->state, state_size(k));
    mem_free(n->state);
    n->state = NULL;
    n->role = REPLICA_FOLLOWER;
    n->leader = 0;
    disk_close_real(n->disk);
}

void kit_close(struct kit *k)
{
    char cmd[256];
    for (int i = 0; i < KIT_NODES; i++) {
        kit_stop(k, i);
    }
    uv_run(&k->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&k->loop), 0);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", k->dir);
    assert_int_equal(system(cmd), 0);
}

/* --- waiting --- */

static void on_beat(uv_timer_t *t)
{
    (void)t;
}

static void run_until(struct kit *k, int (*fn)(struct kit *k, void *arg), void *arg, int64_t ms,
                      const char *what)
{
    int64_t end = clock_mono_ms() + ms;
    uv_timer_t beat;
    uv_timer_init(&k->loop, &beat);
    uv_timer_start(&beat, on_beat, 1, 1);
    int is_met = 0;
    while (!(is_met = fn(k, arg)) && clock_mono_ms() < end) {
        uv_run(&k->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&beat, NULL);
    uv_run(&k->loop, UV_RUN_NOWAIT);
    if (!is_met && what != NULL) {
        fail_msg("waited %lld ms for %s", (long long)ms, what);
    }
}

static int call_plain(struct kit *k, void *arg)
{
    int (**fn)(struct kit *) = arg;
    return (*fn)(k);
}

void kit_until(struct kit *k, int (*fn)(struct kit *k), int64_t ms, const char *what)
{
    run_until(k, call_plain, &fn, ms, what);
}

static int never(struct kit *k, void *arg)
{
    (void)k;
    (void)arg;
    return 0;
}

void kit_run(struct kit *k, int64_t ms)
{
    run_until(k, never, NULL, ms, NULL);
}

struct kit_node *kit_leader(struct kit *k)
{
    for (int i = 0; i < KIT_NODES; i++) {
        struct kit_node *n = &k->nodes[i];
        struct replica_status s;
        if (n->is_up && n->role == REPLICA_LEADER) {
            replica_status(n->replica, &s);
            if (s.is_ready && s.role == REPLICA_LEADER) {
                return n;
            }
        }
    }
    return NULL;
}

static int has_leader(struct kit *k)
{
    return kit_leader(k) != NULL;
}

struct kit_node *kit_wait_leader(struct kit *k)
{
    kit_until(k, has_leader, 10000, "a leader");
    return kit_leader(k);
}

struct kit_node *kit_follower(struct kit *k)
{
    for (int i = 0; i < KIT_NODES; i++) {
        struct kit_node *n = &k->nodes[i];
        if (n->is_up && n->role == REPLICA_FOLLOWER) {
            return n;
        }
    }
    return NULL;
}

/* --- calls --- */

static void on_proposed(struct replica_proposal *p, int code, struct slice result)
{
    struct kit_call *c = CONTAINER_OF(p, struct kit_call, p);
    assert_false(c->is_done);
    c->is_done = 1;
    c->code = code;
    c->result = result.len == 8 ? wire_get_u64(result.p) : 0;
}

static void propose(struct kit_node *n, struct kit_call *c, const char *text, int64_t wait_ms,
                    int is_local_only)
{
    *c = (struct kit_call){.p = {.done = on_proposed,
                                 .deadline_at = clock_mono_ms() + wait_ms,
                                 .is_local_only = is_local_only}};
    c->p.len = strlen(text) + 1;
    c->p.data = mem_dup(text, c->p.len);
    replica_propose(n->replica, &c->p);
    assert_false(c->is_done); /* never from inside the call */
}

void kit_propose(struct kit_node *n, struct kit_call *c, const char *text, int64_t wait_ms)
{
    propose(n, c, text, wait_ms, 0);
}

void kit_propose_local(struct kit_node *n, struct kit_call *c, const char *text, int64_t wait_ms)
{
    propose(n, c, text, wait_ms, 1);
}

static void on_read(struct replica_read *rd, int code)
{
    struct kit_call *c = CONTAINER_OF(rd, struct kit_call, rd);
    assert_false(c->is_done);
    c->is_done = 1;
    c->code = code;
}

void kit_read(struct kit_node *n, struct kit_call *c, int is_leader_only, int64_t wait_ms)
{
    *c = (struct kit_call){.rd = {.done = on_read,
                                  .is_leader_only = is_leader_only,
                                  .deadline_at = clock_mono_ms() + wait_ms}};
    replica_read(n->replica, &c->rd);
    assert_false(c->is_done);
}

static int is_done(struct kit *k, void *arg)
{
    struct kit_call *c = arg;
    (void)k;
    return c->is_done;
}

int kit_await(struct kit *k, struct kit_call *c)
{
    run_until(k, is_done, c, 15000, "the end of a call");
    return c->code;
}

int kit_put(struct kit *k, struct kit_node *n, const char *text)
{
    struct kit_call c;
    kit_propose(n, &c, text, 10000);
    return kit_await(k, &c);
}

static int is_equal(struct kit *k, void *arg)
{
    const struct kit_node *first = NULL;
    mu_index high = 0;
    (void)arg;
    for (int i = 0; i < KIT_NODES; i++) {
        struct kit_node *n = &k->nodes[i];
        struct replica_status s;
        if (!n->is_up) {
            continue;
        }
        replica_status(n->replica, &s);
        high = s.commit > high ? s.commit : high;
        if (first == NULL) {
            first = n;
        }
        if (n->state->index != first->state->index) {
            return 0;
        }
        assert_true(n->state->index != first->state->index || n->state->hash == first->state->hash);
    }
    return first == NULL || first->state->index >= high;
}

void kit_wait_equal(struct kit *k)
{
    run_until(k, is_equal, NULL, 10000, "equal states");
}
