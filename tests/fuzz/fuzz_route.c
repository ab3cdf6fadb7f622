/* SPDX-License-Identifier: Apache-2.0 */
/* Every route of the API with any query, name and body, through its own readers, over a connection
 * without a socket; behind it a core that answers at once. What a route accepts is a command that
 * can be decoded again; each request is answered once, never with 500, JSON is JSON.
 *
 * First byte: how the core answers. Second: the route. Then lines: query, name, a header, body. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json_read.h"
#include "base/mem.h"
#include "server/api/api.h"
#include "server/watch/hub.h"
#include "storage/files.h"
#include "tests/unit/server/http/sans_io.h"

enum { ROUTES_MAX = 64, WAITERS_MAX = 16, TURNS = 256 };

static struct fuzz_core {
    struct store *store;
    struct mailbox box;
    struct sub *armed[WAITERS_MAX];
    struct worker_timer *timers[WAITERS_MAX];
    unsigned how; /* the core answers */
    char dir[64];
} fake;

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
    return fake.how % 16 < 12 ? 0 : codes[fake.how % 4];
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
    command_encode(&two, &again);
    MU_INVARIANT(slice_eq(buf_slice(&one), buf_slice(&two)));
    buf_fini(&one);
    buf_fini(&two);
    w->result = (struct command_result){.code = codes[fake.how % N_ELEMENTS(codes)],
                                        .revision = 9,
                                        .mod_rev = 9,
                                        .create_rev = 3,
                                        .version = 2,
                                        .lease = 5,
                                        .ttl_ms = 15000,
                                        .is_created = (fake.how & 64) != 0};
    answer_with(&w->q, code_of_request());
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

struct store *core_store(struct core *c)
{
    (void)c;
    return fake.store;
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
    struct sub *s = fake.armed[i];
    fake.armed[i] = NULL;
    s->is_cancelled = is_cancelled;
    s->fire_job.run = run_fired;
    mailbox_send(s->reply, &s->fire_job.mail);
}

void hub_arm(struct hub *h, struct sub *s)
{
    (void)h;
    unsigned i = 0;
    while (fake.armed[i] != NULL) {
        i++;
        MU_INVARIANT(i < WAITERS_MAX);
    }
    s->is_cancelled = 0;
    fake.armed[i] = s;
}

void hub_cancel(struct hub *h, struct sub *s)
{
    (void)h;
    for (unsigned i = 0; i < WAITERS_MAX; i++) {
        if (fake.armed[i] == s) {
            fire(i, 1);
        }
    }
}

unsigned worker_number(const struct worker *w)
{
    (void)w;
    return 0;
}

struct mailbox *worker_mailbox(struct worker *w)
{
    (void)w;
    return &fake.box;
}

void worker_timer_stop(struct worker *w, struct worker_timer *t)
{
    (void)w;
    for (unsigned i = 0; i < WAITERS_MAX; i++) {
        fake.timers[i] = fake.timers[i] == t ? NULL : fake.timers[i];
    }
}

void worker_timer_start(struct worker *w, struct worker_timer *t, int64_t delay_ms)
{
    unsigned i = 0;
    MU_INVARIANT(delay_ms >= 0);
    worker_timer_stop(w, t);
    while (fake.timers[i] != NULL) {
        i++;
        MU_INVARIANT(i < WAITERS_MAX);
    }
    fake.timers[i] = t;
}

/* --- a store with a little in it --- */

static void close_fake(void)
{
    char path[96];
    store_close(fake.store, 0);
    snprintf(path, sizeof(path), "%s/store", fake.dir);
    (void)files_remove_dir(path, NULL);
    (void)files_remove_dir(fake.dir, NULL);
}

static void apply_one(mu_index index, const struct command *c)
{
    struct change_set changes;
    struct buf b;
    buf_init(&b);
    command_encode(&b, c);
    struct store_entry e = {index, 1, STORE_COMMAND, buf_slice(&b)};
    store_apply(fake.store, &e, 1, NULL, NULL, &changes);
    buf_fini(&b);
}

static void open_fake(void)
{
    static struct command c;
    struct err e = {0};
    int was_reset;
    if (fake.store != NULL) {
        return;
    }
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(fake.dir, sizeof(fake.dir), "%s/muster-fuzz-XXXXXX", tmp != NULL ? tmp : "/tmp");
    MU_INVARIANT(mkdtemp(fake.dir) != NULL);
    int rc = store_open(&(struct store_options){.dir = fake.dir, .map_initial = 4 << 20},
                        &fake.store, &was_reset, &e);
    MU_INVARIANT(rc == 0);
    mailbox_init(&fake.box, wake, NULL);
    (void)atexit(close_fake);
    c = (struct command){.type = CMD_CONFIG_PUT, .wall_ms = 1000};
    c.u.config_put.name = (struct config_name){SLICE_LIT("public"), SLICE_LIT("k"), SLICE_LIT("k")};
    c.u.config_put.content = SLICE_LIT("one\ntwo\n");
    apply_one(1, &c);
    c.u.config_put.content = SLICE_LIT("one\nthree\n");
    apply_one(2, &c);
    c = (struct command){.type = CMD_LEASE_GRANT, .wall_ms = 1000};
    c.u.lease_grant = (struct cmd_lease_grant){5, 15000};
    apply_one(3, &c);
    c = (struct command){.type = CMD_INSTANCE_PUT, .wall_ms = 1000};
    c.u.instance_put.name =
        (struct instance_name){SLICE_LIT("public"), SLICE_LIT("DEFAULT_GROUP"), SLICE_LIT("k"),
                               SLICE_LIT("DEFAULT"), SLICE_LIT("k")};
    c.u.instance_put.row.address = SLICE_LIT("10.0.0.1");
    c.u.instance_put.row.is_enabled = 1;
    c.u.instance_put.row.weight = 1;
    c.u.instance_put.row.meta.lease = 5;
    apply_one(4, &c);
}

/* --- one request --- */

static const char *method_text(unsigned methods)
{
    return methods == HTTP_M_PUT      ? "PUT"
           : methods == HTTP_M_POST   ? "POST"
           : methods == HTTP_M_DELETE ? "DELETE"
           : methods == HTTP_M_PATCH  ? "PATCH"
                                      : "GET";
}

static struct slice take_line(struct slice *rest)
{
    const uint8_t *end = rest->len != 0 ? memchr(rest->p, '\n', rest->len) : NULL;
    struct slice line = {rest->p, end != NULL ? (size_t)(end - rest->p) : rest->len};
    size_t skip = line.len + (end != NULL);
    *rest = slice_of(rest->p + skip, rest->len - skip);
    return line;
}

/* The pattern with the name at each {place}. */
static void put_path(struct buf *b, const char *pattern, struct slice name)
{
    for (const char *p = pattern; *p != '\0'; p++) {
        if (*p != '{') {
            buf_append_byte(b, (uint8_t)*p);
            continue;
        }
        buf_append_slice(b, name);
        p = strchr(p, '}');
    }
}

static void put_request(struct buf *b, const struct http_route *route, struct slice rest)
{
    struct slice query = take_line(&rest), name = take_line(&rest), header = take_line(&rest);
    buf_printf(b, "%s ", method_text(route->methods));
    put_path(b, route->pattern, name);
    if (query.len != 0) {
        buf_append_byte(b, '?');
        buf_append_slice(b, query);
    }
    buf_append_str(b, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    if (header.len != 0) {
        buf_append_slice(b, header);
        buf_append_str(b, "\r\n");
    }
    if (route->body_max != 0) {
        buf_printf(b, "Content-Length: %zu\r\n\r\n", rest.len);
        buf_append_slice(b, rest);
    } else {
        buf_append_str(b, "\r\n");
    }
}

/* Until nobody waits: mails, then a change for those that watch or the end of their time. */
static void settle(struct sans_io *s)
{
    unsigned n_busy = 1;
    for (unsigned turn = 0; turn < TURNS && (turn < 3 || n_busy != 0); turn++) {
        n_busy = mailbox_run(&fake.box);
        sans_io_turn(s);
        for (unsigned i = 0; i < WAITERS_MAX; i++) {
            struct worker_timer *t = fake.timers[i];
            if (fake.armed[i] != NULL && (fake.how & 32) != 0 && turn == 1) {
                fire(i, 0);
            } else if (t != NULL && turn > 1) {
                fake.timers[i] = NULL;
                n_busy++;
                t->fire(t);
            }
        }
    }
}

static void check_answer(const char *text)
{
    const char *body = strstr(text, "\r\n\r\n");
    struct json_t *doc = NULL;
    struct err e = {0};
    MU_INVARIANT(strncmp(text, "HTTP/1.1 ", 9) == 0 && body != NULL);
    int status = atoi(text + 9);
    MU_INVARIANT(status >= 200 && status < 600 && status != 500);
    const char *json = strstr(text, "json\r\n"), *chunked = strstr(text, "chunked\r\n");
    if (json != NULL && json < body && (chunked == NULL || chunked > body)) {
        if (jr_parse(slice_str(body + 4), &doc, &e) != 0) {
            (void)fprintf(stderr, "%s\n%s\n", e.text, text);
            abort();
        }
        jr_free(doc);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct http_route *routes[ROUTES_MAX];
    struct api_context context;
    struct err e = {0};
    struct sans_io s;
    struct buf b;
    if (len < 2) {
        return 0;
    }
    open_fake();
    fake.how = data[0];
    context.api = api_new(&(struct api_options){.core = (struct core *)&fake});
    const struct http_server_options o = {.arg = &context};
    sans_io_init(&s, &o, NULL, 0);
    int rc = api_add_routes(context.api, s.server, &e);
    MU_INVARIANT(rc == 0);
    size_t n = http_server_routes(s.server, routes, ROUTES_MAX);
    buf_init(&b);
    put_request(&b, routes[data[1] % n], slice_of(data + 2, len - 2));
    sans_io_input(&s, buf_slice(&b));
    settle(&s);
    check_answer(sans_io_take(&s));
    sans_io_gone(&s);
    settle(&s);
    MU_INVARIANT(http_local_owed(s.local) == 0);
    sans_io_fini(&s);
    buf_fini(&b);
    api_free(context.api);
    return 0;
}
