/* SPDX-License-Identifier: Apache-2.0 */
/* Services and their instances. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/wire.h"
#include "server/api/api_impl.h"
#include "server/core/probe.h"

enum {
    TAGS_MAX = 128,
    METADATA_MAX = 128,
    TAG_LEN_MAX = 256,
    METADATA_VALUE_MAX = 4096,
    INTERVAL_MIN_MS = 100,
    INTERVAL_MAX_MS = 3600 * 1000,
    TIMEOUT_MAX_MS = 60 * 1000,
    FAILURES_MAX = 1000,
    PATCH_TRIES = 100,
};

/* --- rendering --- */

static void member_slice(struct jw *w, const char *key, struct slice v)
{
    jw_key(w, key);
    jw_slice(w, v);
}

static void member_u64(struct jw *w, const char *key, uint64_t v)
{
    jw_key(w, key);
    jw_u64(w, v);
}

static void member_bool(struct jw *w, const char *key, int v)
{
    jw_key(w, key);
    jw_bool(w, v);
}

static void member_duration(struct jw *w, const char *key, int64_t ms)
{
    char t[24];
    if (ms == REMOVE_NEVER) {
        snprintf(t, sizeof(t), "never");
    } else {
        text_format_duration(ms, t);
    }
    jw_key(w, key);
    jw_str(w, t);
}

void api_instance_name_json(struct jw *w, const struct instance_name *n)
{
    member_slice(w, "namespace", n->ns);
    member_slice(w, "group", n->group);
    member_slice(w, "service", n->service);
    member_slice(w, "cluster", n->cluster);
    member_slice(w, "id", n->id);
}

static void lists_json(struct jw *w, const struct instance_row *row)
{
    struct pair_iter it;
    struct slice k, v;
    jw_key(w, "tags");
    jw_arr(w);
    tags_begin(&it, row->tags);
    while (tags_next(&it, &v)) {
        jw_slice(w, v);
    }
    jw_end(w);
    jw_key(w, "metadata");
    jw_obj(w);
    metadata_begin(&it, row->metadata);
    while (metadata_next(&it, &k, &v)) {
        jw_key_slice(w, k);
        jw_slice(w, v);
    }
    jw_end(w);
}

static void check_json(struct jw *w, const struct instance_row *row)
{
    const struct check_spec *c = &row->check;
    jw_key(w, "check");
    jw_obj(w);
    if (c->type == CHECK_HTTP) {
        jw_key(w, "type");
        jw_str(w, "http");
        member_slice(w, "url", c->target);
        member_slice(w, "method", c->method);
    } else {
        jw_key(w, "type");
        jw_str(w, "tcp");
        member_slice(w, "address", c->target);
    }
    member_duration(w, "interval", c->interval_ms);
    member_duration(w, "timeout", c->timeout_ms);
    member_u64(w, "failures", c->failures);
    member_u64(w, "successes", c->successes);
    member_duration(w, "remove_after", row->remove_after_ms);
    jw_end(w);
}

static void binding_json(struct jw *w, const struct instance_row *row)
{
    char hex[17];
    if (row->ttl_ms > 0) {
        member_duration(w, "ttl", row->ttl_ms);
        member_duration(w, "remove_after", row->remove_after_ms);
    }
    if (row->meta.lease != 0) {
        api_lease_hex(row->meta.lease, hex);
        jw_key(w, "lease");
        jw_str(w, hex);
    }
    if (row->check.type != CHECK_NONE) {
        check_json(w, row);
    }
}

void api_instance_json(struct jw *w, const struct instance_name *n, const struct instance_row *row)
{
    jw_obj(w);
    api_instance_name_json(w, n);
    member_slice(w, "address", row->address);
    member_u64(w, "port", row->port);
    jw_key(w, "weight");
    jw_f64(w, row->weight);
    member_bool(w, "enabled", row->is_enabled);
    lists_json(w, row);
    binding_json(w, row);
    member_bool(w, "healthy", row->is_healthy);
    member_slice(w, "output", row->output);
    member_u64(w, "create_revision", row->meta.create_rev);
    member_u64(w, "revision", row->meta.mod_rev);
    member_u64(w, "version", row->meta.version);
    jw_end(w);
}

/* --- names --- */

static int service_name(struct http_req *r, struct service_name *out)
{
    out->service = http_param(r, "service");
    out->group = api_query_or(r, "group", "DEFAULT_GROUP");
    if (api_namespace(r, &out->ns) != 0 || api_name(r, out->group, "group", KEY_NAME_MAX) != 0) {
        return -1;
    }
    return api_name(r, out->service, "service name", KEY_NAME_MAX);
}

static int instance_name(struct http_req *r, struct instance_name *out)
{
    struct service_name s;
    if (service_name(r, &s) != 0) {
        return -1;
    }
    *out = (struct instance_name){s.ns, s.group, s.service, api_query_or(r, "cluster", "DEFAULT"),
                                  http_param(r, "id")};
    if (api_name(r, out->cluster, "cluster", KEY_NAME_MAX) != 0) {
        return -1;
    }
    return api_name(r, out->id, "instance id", KEY_NAME_MAX);
}

static struct slice instance_what(struct http_req *r, const struct instance_name *n)
{
    return api_text(r, "instance %.*s of service %.*s", (int)(n->id.len < 80 ? n->id.len : 80),
                    (const char *)n->id.p, (int)(n->service.len < 80 ? n->service.len : 80),
                    (const char *)n->service.p);
}

/* --- reading an instance document --- */

static int address_ok(struct slice s)
{
    if (s.len == 0 || s.len > 255) {
        return 0;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("/?#@\\\"<>", s.p[i]) != NULL) {
            return 0;
        }
    }
    return 1;
}

static int read_tags(struct http_req *r, struct jr *j, struct slice *out)
{
    struct json_t *arr = jr_arr(j, "tags", TAGS_MAX);
    size_t n = arr != NULL ? jr_arr_len(arr) : 0;
    struct buf b;
    int rc = 0;
    buf_init(&b);
    wire_put_u16(&b, (uint16_t)n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct slice tag;
        if (!jr_is_str(jr_arr_at(arr, i), &tag) || !text_is_name(tag, TAG_LEN_MAX)) {
            rc = err_set(j->err, MU_E_BAD_REQUEST, "tags[%zu] must be a string of 1 to %d bytes", i,
                         TAG_LEN_MAX);
        } else {
            wire_put_bytes(&b, tag);
        }
    }
    *out = api_keep(r, buf_slice(&b));
    buf_fini(&b);
    return rc;
}

struct metadata_build {
    struct buf pairs;
    unsigned n;
    int is_patch;
    struct err *e;
};

static int metadata_pair(void *arg, struct slice key, struct slice value)
{
    struct metadata_build *m = arg;
    if (value.p == NULL && m->is_patch) {
        return 0; /* taken away: it is not among those that are kept either */
    }
    if (value.p == NULL) {
        return err_set(m->e, MU_E_BAD_REQUEST, "the value of \"%.*s\" must be a string",
                       SLICE_FMT(key));
    }
    if (++m->n > METADATA_MAX || !text_is_name(key, TAG_LEN_MAX) ||
        value.len > METADATA_VALUE_MAX) {
        return err_set(m->e, MU_E_BAD_REQUEST,
                       "metadata may have %d members with names of %d bytes and values of %d",
                       METADATA_MAX, TAG_LEN_MAX, METADATA_VALUE_MAX);
    }
    wire_put_bytes(&m->pairs, key);
    wire_put_bytes(&m->pairs, value);
    return 0;
}

/* `old`: NULL, or what is patched (RFC 7396): a name that the body does not have stays. */
static int read_metadata(struct http_req *r, struct jr *j, const struct slice *old,
                         struct slice *out)
{
    struct json_t *obj = jr_obj(j, "metadata");
    struct metadata_build m = {.e = j->err, .is_patch = old != NULL};
    struct pair_iter it;
    struct slice k, v;
    struct buf b;
    int rc = 0;
    buf_init(&m.pairs);
    metadata_begin(&it, old != NULL && obj != NULL ? *old : (struct slice){0});
    while (rc == 0 && metadata_next(&it, &k, &v)) {
        rc = jr_obj_has(obj, k) ? 0 : metadata_pair(&m, k, v);
    }
    if (rc == 0 && obj != NULL) {
        rc = jr_each_str(obj, metadata_pair, &m, j->err);
    }
    buf_init(&b);
    wire_put_u16(&b, (uint16_t)m.n);
    buf_append_slice(&b, buf_slice(&m.pairs));
    *out = api_keep(r, buf_slice(&b));
    buf_fini(&b);
    buf_fini(&m.pairs);
    return rc;
}

/* A duration or "never". */
static int64_t read_remove_after(struct jr *j, int64_t dflt)
{
    struct jr probe = *j;
    struct err ignored = {0};
    probe.err = &ignored;
    if (slice_eq(jr_str(&probe, "remove_after", 0), SLICE_LIT("never"))) {
        jr_str(j, "remove_after", 0);
        return REMOVE_NEVER;
    }
    return jr_duration(j, "remove_after", dflt, 0, INT64_C(365) * 24 * 3600 * 1000);
}

static int read_check_target(struct http_req *r, struct jr *j, struct check_spec *c)
{
    struct probe_target t;
    struct slice type = jr_str(j, "type", 1);
    if (slice_eq(type, SLICE_LIT("http"))) {
        c->type = CHECK_HTTP;
        c->target = api_keep(r, jr_str(j, "url", 1));
        c->method = jr_has(j, "method") ? api_keep(r, jr_str(j, "method", 0)) : SLICE_LIT("GET");
    } else if (slice_eq(type, SLICE_LIT("tcp"))) {
        c->type = CHECK_TCP;
        c->target = api_keep(r, jr_str(j, "address", 1));
    } else {
        return err_set(
            j->err, MU_E_BAD_REQUEST,
            "check type must be \"http\" or \"tcp\"; programs are never run by the server");
    }
    if (c->type == CHECK_HTTP && !slice_eq(c->method, SLICE_LIT("GET")) &&
        !slice_eq(c->method, SLICE_LIT("HEAD")) && !slice_eq(c->method, SLICE_LIT("OPTIONS"))) {
        return err_set(j->err, MU_E_BAD_REQUEST, "check method must be GET, HEAD or OPTIONS");
    }
    return j->err->code != 0 ? j->err->code : probe_target_parse(c->type, c->target, &t, j->err);
}

static int read_check(struct http_req *r, struct json_t *obj, struct instance_row *row,
                      struct err *e)
{
    struct jr j;
    struct check_spec *c = &row->check;
    jr_begin(&j, obj, e);
    int rc = read_check_target(r, &j, c);
    if (rc != 0) {
        return rc;
    }
    c->interval_ms = jr_duration(&j, "interval", 10000, INTERVAL_MIN_MS, INTERVAL_MAX_MS);
    c->timeout_ms = jr_duration(&j, "timeout", 2000, 10, TIMEOUT_MAX_MS);
    c->failures = (uint32_t)jr_int(&j, "failures", 1, 1, FAILURES_MAX);
    c->successes = (uint32_t)jr_int(&j, "successes", 1, 1, FAILURES_MAX);
    row->remove_after_ms = read_remove_after(&j, REMOVE_NEVER);
    return jr_end(&j);
}

/* ttl, lease or check: at most one. */
static int read_binding(struct http_req *r, struct jr *j, struct cmd_instance_put *p)
{
    struct instance_row *row = &p->row;
    struct json_t *check = jr_obj(j, "check");
    int has_ttl = jr_has(j, "ttl"), has_lease = jr_has(j, "lease");
    row->remove_after_ms = REMOVE_NEVER;
    if (has_ttl + has_lease + (check != NULL) > 1) {
        return err_set(j->err, MU_E_BAD_REQUEST,
                       "an instance has at most one of ttl, lease and check");
    }
    if (has_ttl) {
        row->ttl_ms = jr_duration(j, "ttl", 0, API_TTL_MIN_MS, API_TTL_MAX_MS);
        row->remove_after_ms = read_remove_after(j, row->ttl_ms);
    }
    if (has_lease && api_lease_parse(jr_str(j, "lease", 0), &row->meta.lease) != 0) {
        return err_set(j->err, MU_E_BAD_REQUEST, "lease must be 1 to 16 hex digits, not zero");
    }
    return check != NULL ? read_check(r, check, row, j->err) : 0;
}

static int read_common(struct http_req *r, struct jr *j, struct instance_row *row)
{
    struct slice address = jr_str(j, "address", 1);
    if (j->err->code == 0 && !address_ok(address)) {
        return err_set(j->err, MU_E_BAD_REQUEST,
                       "address must be an IP address or host name of 1 to 255 characters");
    }
    row->address = api_keep(r, address);
    row->port = (uint16_t)jr_int(j, "port", 0, 0, 65535);
    row->weight = jr_num(j, "weight", 1, 0, 10000);
    row->is_enabled = jr_bool(j, "enabled", 1);
    int rc = read_tags(r, j, &row->tags);
    return rc != 0 ? rc : read_metadata(r, j, NULL, &row->metadata);
}

static int read_instance(struct http_req *r, struct json_t *doc, struct cmd_instance_put *p,
                         struct err *e)
{
    struct jr j;
    jr_begin(&j, doc, e);
    int rc = read_common(r, &j, &p->row);
    if (rc == 0 && jr_has(&j, "cluster")) {
        p->name.cluster = api_keep(r, jr_str(&j, "cluster", 0));
        if (!text_is_name(p->name.cluster, KEY_NAME_MAX)) {
            rc = err_set(e, MU_E_BAD_REQUEST,
                         "cluster must be 1 to %d bytes of UTF-8 without control characters",
                         KEY_NAME_MAX);
        }
    }
    if (rc == 0) {
        rc = read_binding(r, &j, p);
    }
    int end = jr_end(&j);
    return rc != 0 ? rc : end;
}

/* --- put --- */

void api_instance_put(struct http_req *r, void *arg)
{
    static const char *const known[] = {"namespace", "group", "cluster", NULL};
    struct cmd_instance_put *p = http_alloc(r, sizeof(*p));
    struct command cmd;
    struct json_t *doc;
    struct err e = {0};
    memset(p, 0, sizeof(*p));
    if (api_known_query(r, known) != 0 || instance_name(r, &p->name) != 0 ||
        api_request_id(r, &cmd) != 0 || api_cas(r, &p->cas, &p->expect) != 0 ||
        api_json_body(r, &doc) != 0) {
        return;
    }
    int rc = read_instance(r, doc, p, &e);
    jr_free(doc);
    if (rc != 0) {
        api_fail(r, rc, &e);
        return;
    }
    if (p->row.ttl_ms != 0) {
        p->lease_id = core_lease_id(api_of(arg)->core);
    }
    cmd.type = CMD_INSTANCE_PUT;
    cmd.wall_ms = 0;
    cmd.u.instance_put = *p;
    api_write(r, api_of(arg), &cmd, api_instance_written, p, instance_what(r, &p->name));
}

/* --- get --- */

struct instance_req {
    struct instance_name name;
};

static int render_instance(struct api_get *g, struct view *v, struct buf *out, struct err *e)
{
    struct instance_req *q = g->data;
    struct instance_row row;
    struct jw w;
    int rc = view_instance(v, &q->name, &row);
    if (rc != 0) {
        return err_set(e, rc, "%.*s does not exist", SLICE_FMT(instance_what(g->r, &q->name)));
    }
    snprintf(g->etag, sizeof(g->etag), "\"%llu\"", (unsigned long long)row.meta.mod_rev);
    jw_init(&w, out);
    api_instance_json(&w, &q->name, &row);
    return 0;
}

static void watch_key(struct api_get *g, const struct buf *key, int is_prefix)
{
    g->ranges = http_alloc(g->r, sizeof(*g->ranges));
    g->ranges[0] =
        (struct key_range){.key = api_keep(g->r, buf_slice(key)), .is_prefix = is_prefix};
    g->n_ranges = 1;
}

void api_instance_get(struct http_req *r, void *arg)
{
    static const char *const known[] = {"group", "cluster", NULL};
    struct instance_req *q = http_alloc(r, sizeof(*q));
    struct api_get *g;
    if (instance_name(r, &q->name) != 0 || (g = api_get_new(r, api_of(arg), known)) == NULL) {
        return;
    }
    struct buf key;
    buf_init(&key);
    key_instance(&key, &q->name);
    watch_key(g, &key, 0);
    buf_fini(&key);
    g->data = q;
    api_get_start(g, render_instance);
}

/* --- patch: read, merge, compare-and-set, again when somebody was faster --- */

struct patch {
    struct api_write w;
    struct core_read gate;
    struct cmd_instance_put put;
    struct command head;
    struct json_t *doc; /* parsed again for each try from text */
    struct slice body;
    int tries;
};

static int patch_refused(struct api_write *w, int code)
{
    struct patch *p = CONTAINER_OF(w, struct patch, w);
    if (code != MU_E_REVISION_MISMATCH || p->put.cas != CAS_REVISION || ++p->tries >= PATCH_TRIES) {
        return 0;
    }
    api_next_request_id(&p->head);
    /* Who was faster may be known to the others only. */
    core_read_gate(w->api->core, &p->gate, READ_LINEAR, w->api->timeout_ms);
    return 1;
}

static int patch_health(struct jr *j, struct cmd_instance_put *put)
{
    if (!jr_has(j, "healthy")) {
        return 0;
    }
    put->set_health = 1;
    put->row.is_healthy = jr_bool(j, "healthy", 1);
    if (put->row.check.type != CHECK_NONE || put->row.ttl_ms > 0 || put->row.node.len != 0) {
        return err_set(j->err, MU_E_CONFLICT,
                       "the health of an instance with a check or a ttl cannot be set by hand");
    }
    return 0;
}

static int patch_merge(struct http_req *r, struct jr *j, struct cmd_instance_put *put)
{
    struct instance_row *row = &put->row;
    int rc = 0;
    if (jr_is_null(j, "address")) {
        return err_set(j->err, MU_E_BAD_REQUEST, "address cannot be taken away");
    }
    if (jr_has(j, "address")) {
        row->address = api_keep(r, jr_str(j, "address", 0));
        if (!address_ok(row->address)) {
            return err_set(j->err, MU_E_BAD_REQUEST,
                           "address must be an IP address or host name of 1 to 255 characters");
        }
    }
    row->port = (uint16_t)jr_int(j, "port", jr_is_null(j, "port") ? 0 : row->port, 0, 65535);
    row->weight = jr_num(j, "weight", jr_is_null(j, "weight") ? 1 : row->weight, 0, 10000);
    row->is_enabled = jr_bool(j, "enabled", jr_is_null(j, "enabled") || row->is_enabled);
    if (jr_has(j, "tags") || jr_is_null(j, "tags")) {
        rc = read_tags(r, j, &row->tags);
    }
    if (rc == 0 && (jr_has(j, "metadata") || jr_is_null(j, "metadata"))) {
        rc = read_metadata(r, j, &row->metadata, &row->metadata);
    }
    return rc != 0 ? rc : patch_health(j, put);
}

/* Apply the body to the row as it is now and propose it under that revision. The view stays open
 * until it is encoded. */
static void patch_try(struct patch *p)
{
    struct http_req *r = p->w.r;
    struct instance_row row;
    struct err e = {0};
    struct json_t *doc = NULL;
    struct jr j;
    struct view *v = view_open(core_store(p->w.api->core));
    int rc = view_instance(v, &p->put.name, &row);
    if (rc != 0) {
        err_set(&e, rc, "%.*s does not exist", SLICE_FMT(p->w.what));
    } else {
        p->put.row = row;
        p->put.cas = CAS_REVISION;
        p->put.expect = row.meta.mod_rev;
        p->put.set_health = 0;
        p->put.lease_id = row.owns_lease ? row.meta.lease : 0;
        p->put.row.meta.lease = row.owns_lease ? 0 : row.meta.lease;
        rc = jr_parse(http_body(r), &doc, &e);
    }
    if (rc == 0) {
        jr_begin(&j, doc, &e);
        rc = patch_merge(r, &j, &p->put);
        int end = jr_end(&j);
        rc = rc != 0 ? rc : end;
        jr_free(doc);
    }
    if (rc != 0) {
        view_close(v);
        api_fail(r, rc, &e);
        return;
    }
    struct command cmd = {.type = CMD_INSTANCE_PUT, .has_request_id = p->head.has_request_id};
    memcpy(cmd.request_id, p->head.request_id, sizeof(cmd.request_id));
    /* What the catalog adds stays as it is: it is not carried. */
    p->put.row.node = p->put.row.service_id = p->put.row.extra = slice_of(NULL, 0);
    /* What the answer shows must outlive the view. */
    p->put.row.address = api_keep(r, p->put.row.address);
    p->put.row.tags = api_keep(r, p->put.row.tags);
    p->put.row.metadata = api_keep(r, p->put.row.metadata);
    p->put.row.check.target = api_keep(r, p->put.row.check.target);
    p->put.row.check.method = api_keep(r, p->put.row.check.method);
    view_close(v);
    cmd.u.instance_put = p->put;
    api_write_start(&p->w, &cmd);
}

static void patch_gate(struct core_request *q)
{
    struct patch *p = CONTAINER_OF(q, struct patch, gate.q);
    if (q->code != 0) {
        api_fail(p->w.r, q->code, &q->err);
        return;
    }
    patch_try(p);
}

void api_instance_patch(struct http_req *r, void *arg)
{
    static const char *const known[] = {"namespace", "group", "cluster", NULL};
    struct patch *p = http_alloc(r, sizeof(*p));
    memset(p, 0, sizeof(*p));
    if (api_known_query(r, known) != 0 || instance_name(r, &p->put.name) != 0 ||
        api_request_id(r, &p->head) != 0 || api_json_type(r) != 0) {
        return;
    }
    p->w.r = r;
    p->w.api = api_of(arg);
    p->w.written = api_instance_written;
    p->w.refused = patch_refused;
    p->w.data = &p->put;
    p->w.what = instance_what(r, &p->put.name);
    p->gate.q.done = patch_gate;
    p->gate.q.reply = worker_mailbox(http_worker(r));
    core_read_gate(p->w.api->core, &p->gate, READ_LINEAR, p->w.api->timeout_ms);
}

/* --- delete --- */

static void instance_deleted(struct api_write *w)
{
    http_respond(w->r, 204, NULL, (struct slice){0});
}

void api_instance_delete(struct http_req *r, void *arg)
{
    static const char *const known[] = {"namespace", "group", "cluster", NULL};
    struct command cmd;
    struct cmd_instance_delete d = {0};
    if (api_known_query(r, known) != 0 || instance_name(r, &d.name) != 0 ||
        api_request_id(r, &cmd) != 0) {
        return;
    }
    cmd.type = CMD_INSTANCE_DELETE;
    cmd.wall_ms = 0;
    cmd.u.instance_delete = d;
    api_write(r, api_of(arg), &cmd, instance_deleted, NULL, instance_what(r, &d.name));
}

/* --- keep-alive --- */

struct keepalive {
    struct core_keepalive k;
    struct core_read gate;
    struct http_req *r;
    struct api *api;
    struct instance_name name;
    mu_lease_id id;
    int64_t ttl_ms, remaining_ms;
    int is_fresh; /* the gate was passed */
};

static void keepalive_answer(struct keepalive *k)
{
    struct buf *out = http_scratch(k->r);
    struct jw w;
    char hex[17];
    jw_init(&w, out);
    jw_obj(&w);
    api_lease_hex(k->id, hex);
    jw_key(&w, "lease");
    jw_str(&w, hex);
    member_duration(&w, "ttl", k->ttl_ms);
    jw_end(&w);
    http_respond(k->r, 200, "application/json", buf_slice(out));
}

static void keepalive_look(struct keepalive *k);

static void keepalive_gate_done(struct core_request *q)
{
    struct keepalive *k = CONTAINER_OF(q, struct keepalive, gate.q);
    if (q->code != 0) {
        api_fail(k->r, q->code, &q->err);
        return;
    }
    keepalive_look(k);
}

/* What this node has not heard of yet must not be taken for gone: a refusal is told only after a
 * look behind everything that is committed. 1: it is looked again. */
static int keepalive_look_again(struct keepalive *k)
{
    if (k->is_fresh) {
        return 0;
    }
    k->is_fresh = 1;
    k->gate.q.done = keepalive_gate_done;
    k->gate.q.reply = worker_mailbox(http_worker(k->r));
    core_read_gate(k->api->core, &k->gate, READ_LINEAR, k->api->timeout_ms);
    return 1;
}

static void keepalive_done(struct core_request *q)
{
    struct keepalive *k = CONTAINER_OF(q, struct keepalive, k.q);
    if (q->code != 0) {
        api_fail(k->r, q->code, &q->err);
        return;
    }
    if (k->ttl_ms >= 0) {
        keepalive_answer(k);
    } else if (!keepalive_look_again(k)) {
        http_respond_error(k->r, MU_E_NOT_FOUND, "the lease of %.*s has ended; register again",
                           SLICE_FMT(instance_what(k->r, &k->name)));
    }
}

static void keepalive_look(struct keepalive *k)
{
    struct instance_row row;
    struct view *v = view_open(core_store(k->api->core));
    int rc = view_instance(v, &k->name, &row);
    view_close(v);
    if (rc != 0 || row.meta.lease == 0) {
        if (keepalive_look_again(k)) {
            return;
        }
        http_respond_error(k->r, rc != 0 ? rc : MU_E_CONFLICT,
                           rc != 0 ? "%.*s does not exist; register it"
                                   : "%.*s has no lease to keep alive",
                           SLICE_FMT(instance_what(k->r, &k->name)));
        return;
    }
    k->id = row.meta.lease;
    k->k = (struct core_keepalive){.q.done = keepalive_done,
                                   .q.reply = worker_mailbox(http_worker(k->r)),
                                   .n = 1,
                                   .ids = &k->id,
                                   .out_ttl_ms = &k->ttl_ms,
                                   .out_remaining_ms = &k->remaining_ms};
    core_keepalive(k->api->core, &k->k, k->api->timeout_ms);
}

void api_instance_keepalive(struct http_req *r, void *arg)
{
    static const char *const known[] = {"namespace", "group", "cluster", NULL};
    struct keepalive *k = http_alloc(r, sizeof(*k));
    memset(k, 0, sizeof(*k));
    k->r = r;
    k->api = api_of(arg);
    if (api_known_query(r, known) == 0 && instance_name(r, &k->name) == 0) {
        keepalive_look(k);
    }
}

/* --- one service --- */

struct service_req {
    struct service_name name;
    int only_healthy, has_cluster;
    struct slice cluster;
    struct slice tags[16];
    size_t n_tags;
    struct jw *w;
};

static int has_tag(const struct instance_row *row, struct slice want)
{
    struct pair_iter it;
    struct slice tag;
    tags_begin(&it, row->tags);
    while (tags_next(&it, &tag)) {
        if (slice_eq(tag, want)) {
            return 1;
        }
    }
    return 0;
}

static int service_row(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct service_req *q = arg;
    if ((q->only_healthy && !(row->is_healthy && row->is_enabled)) ||
        (q->has_cluster && !slice_eq(n->cluster, q->cluster))) {
        return 0;
    }
    for (size_t i = 0; i < q->n_tags; i++) {
        if (!has_tag(row, q->tags[i])) {
            return 0;
        }
    }
    api_instance_json(q->w, n, row);
    return 0;
}

static int render_service(struct api_get *g, struct view *v, struct buf *out, struct err *e)
{
    struct service_req *q = g->data;
    struct jw w;
    (void)e;
    q->w = &w;
    jw_init(&w, out);
    jw_obj(&w);
    member_slice(&w, "namespace", q->name.ns);
    member_slice(&w, "group", q->name.group);
    member_slice(&w, "name", q->name.service);
    jw_key(&w, "instances");
    jw_arr(&w);
    int rc = view_instances(v, &q->name, service_row, q);
    jw_end(&w);
    jw_end(&w);
    return rc;
}

void api_service_get(struct http_req *r, void *arg)
{
    static const char *const known[] = {"group", "healthy", "tag", "cluster", NULL};
    struct service_req *q = http_alloc(r, sizeof(*q));
    struct slice s;
    struct api_get *g;
    memset(q, 0, sizeof(*q));
    if (service_name(r, &q->name) != 0) {
        return;
    }
    if (http_query(r, "healthy", &s) && text_bool(s, &q->only_healthy) != 0) {
        http_respond_error(r, MU_E_BAD_REQUEST, "healthy must be true or false");
        return;
    }
    q->has_cluster = http_query(r, "cluster", &q->cluster);
    q->n_tags = http_query_all(r, "tag", q->tags, N_ELEMENTS(q->tags));
    if (q->n_tags > N_ELEMENTS(q->tags)) {
        http_respond_error(r, MU_E_BAD_REQUEST, "at most %zu tags may be asked for",
                           N_ELEMENTS(q->tags));
        return;
    }
    if ((g = api_get_new(r, api_of(arg), known)) == NULL) {
        return;
    }
    struct buf key;
    buf_init(&key);
    key_instance_prefix(&key, &q->name);
    watch_key(g, &key, 1);
    buf_fini(&key);
    g->data = q;
    api_get_start(g, render_service);
}

/* --- list --- */

struct service_list {
    struct slice ns, group, prefix;
    struct api_page page;
    struct jw *w;
};

static int list_row(void *arg, const struct service_name *n, const struct service_row *row)
{
    struct service_list *l = arg;
    if (!slice_has_prefix(n->service, l->prefix)) {
        return 0;
    }
    int take = api_page_take(&l->page);
    if (take == 1) {
        jw_obj(l->w);
        member_slice(l->w, "group", n->group);
        member_slice(l->w, "name", n->service);
        member_u64(l->w, "instances", row->n_instances);
        member_u64(l->w, "healthy", row->n_healthy);
        jw_end(l->w);
    }
    return take < 0;
}

static int render_list(struct api_get *g, struct view *v, struct buf *out, struct err *e)
{
    struct service_list *l = g->data;
    struct jw w;
    (void)e;
    l->w = &w;
    l->page.seen = 0;
    l->page.has_more = 0;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "services");
    jw_arr(&w);
    int rc = view_services(v, l->ns, l->group, l->group.len != 0 ? l->prefix : (struct slice){0},
                           list_row, l);
    if (rc < 0) {
        return rc;
    }
    jw_end(&w);
    member_u64(&w, "page", l->page.page);
    member_u64(&w, "limit", l->page.limit);
    member_bool(&w, "more", l->page.has_more);
    jw_end(&w);
    return 0;
}

void api_service_list(struct http_req *r, void *arg)
{
    static const char *const known[] = {"group", "prefix", "limit", "page", NULL};
    struct service_list *l = http_alloc(r, sizeof(*l));
    struct api_get *g;
    memset(l, 0, sizeof(*l));
    l->group = api_query_or(r, "group", "");
    l->prefix = api_query_or(r, "prefix", "");
    if (api_namespace(r, &l->ns) != 0 || api_page(r, &l->page) != 0) {
        return;
    }
    if (l->group.len > KEY_NAME_MAX || l->prefix.len > KEY_NAME_MAX) {
        http_respond_error(r, MU_E_BAD_REQUEST, "group and prefix may have %d bytes", KEY_NAME_MAX);
        return;
    }
    if ((g = api_get_new(r, api_of(arg), known)) == NULL) {
        return;
    }
    struct buf key;
    buf_init(&key);
    key_service_prefix(&key, l->ns, l->group, l->group.len != 0 ? l->prefix : (struct slice){0});
    watch_key(g, &key, 1);
    buf_fini(&key);
    g->data = l;
    api_get_start(g, render_list);
}
