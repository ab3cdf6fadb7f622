/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster: status, members, leadership, compaction, snapshot download. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"
#include "server/api/api_impl.h"

struct admin {
    struct core_admin a;
    struct http_req *r;
    struct api *api;
    struct replica_status status;
    const char *operation;
    int fd; /* of a snapshot */
};

static struct admin *admin_new(struct http_req *r, void *arg, void (*done)(struct core_request *q))
{
    struct admin *m = http_alloc(r, sizeof(*m));
    memset(m, 0, sizeof(*m));
    m->r = r;
    m->api = api_of(arg);
    m->fd = -1;
    m->a.q.done = done;
    m->a.q.reply = worker_mailbox(http_worker(r));
    m->a.out_status = &m->status;
    return m;
}

static struct admin *admin_of(struct core_request *q)
{
    return CONTAINER_OF(q, struct admin, a.q);
}

static void admin_send(struct admin *m, enum core_admin_op op)
{
    m->a.op = op;
    core_admin(m->api->core, &m->a, m->api->timeout_ms);
}

static void now_headers(struct admin *m)
{
    struct core_glance g;
    core_glance(m->api->core, &g);
    api_headers(m->r, m->api, g.revision, READ_STALE);
}

/* --- GET /cluster --- */

static const char *name_of(const struct replica_status *s, mu_node_id id)
{
    for (size_t i = 0; i < s->n_members; i++) {
        if (s->members[i].m.id == id) {
            return s->members[i].m.name;
        }
    }
    return NULL;
}

static void member_json(struct jw *w, const struct replica_status *s,
                        const struct replica_member_status *m)
{
    char id[17];
    snprintf(id, sizeof(id), "%016llx", (unsigned long long)m->m.id);
    jw_obj(w);
    jw_key(w, "id");
    jw_str(w, id);
    jw_key(w, "name");
    jw_str(w, m->m.name);
    jw_key(w, "peer");
    jw_str(w, m->m.address);
    jw_key(w, "role");
    jw_str(w, m->m.is_voter ? "voter" : "learner");
    jw_key(w, "leader");
    jw_bool(w, m->m.id == s->leader);
    jw_key(w, "reachable");
    jw_bool(w, m->is_self || m->is_reachable);
    jw_key(w, "match_index");
    jw_u64(w, m->match);
    jw_end(w);
}

static void optional_str(struct jw *w, const char *key, const char *v)
{
    jw_key(w, key);
    if (v != NULL && v[0] != '\0') {
        jw_str(w, v);
    } else {
        jw_null(w);
    }
}

static void cluster_json(struct admin *m, struct jw *w)
{
    const struct replica_status *s = &m->status;
    static const char *const roles[] = {"follower", "candidate", "leader", "damaged"};
    struct core_glance g;
    char hex[33];
    core_glance(m->api->core, &g);
    hash_hex(m->a.cluster_id, 16, hex);
    jw_obj(w);
    jw_key(w, "cluster_id");
    jw_str(w, hex);
    jw_key(w, "node");
    jw_str(w, core_node_name(m->api->core));
    jw_key(w, "role");
    jw_str(w, roles[s->role]);
    optional_str(w, "leader", name_of(s, s->leader));
    jw_key(w, "term");
    jw_u64(w, s->term);
    jw_key(w, "revision");
    jw_u64(w, g.revision);
    jw_key(w, "commit_index");
    jw_u64(w, s->commit);
    jw_key(w, "applied_index");
    jw_u64(w, s->applied);
    jw_key(w, "members");
    jw_arr(w);
    for (size_t i = 0; i < s->n_members; i++) {
        member_json(w, s, &s->members[i]);
    }
    jw_end(w);
    optional_str(w, "operation", s->operation);
    jw_end(w);
}

static void cluster_got(struct core_request *q)
{
    struct admin *m = admin_of(q);
    struct buf *out = http_scratch(m->r);
    struct jw w;
    jw_init(&w, out);
    cluster_json(m, &w);
    now_headers(m);
    http_respond(m->r, 200, "application/json", buf_slice(out));
}

void api_cluster_get(struct http_req *r, void *arg)
{
    if (api_known_query(r, NULL) == 0) {
        admin_send(admin_new(r, arg, cluster_got), CORE_STATUS);
    }
}

/* --- members --- */

static void accepted(struct core_request *q)
{
    struct admin *m = admin_of(q);
    if (q->code != 0) {
        api_fail(m->r, q->code, &q->err);
        return;
    }
    struct buf *out = http_scratch(m->r);
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "operation");
    jw_str(&w, m->operation);
    jw_end(&w);
    http_respond(m->r, 202, "application/json", buf_slice(out));
}

static int is_node_name(struct slice s)
{
    if (s.len == 0 || s.len > REPLICA_NAME_MAX) {
        return 0;
    }
    for (size_t i = 0; i < s.len; i++) {
        int c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_' || c == '.')) {
            return 0;
        }
    }
    return 1;
}

static int node_name(struct slice s, const char *what, char *out, struct err *e)
{
    if (!is_node_name(s)) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "%s must be a node name of 1 to %d letters, digits, - _ .", what,
                       REPLICA_NAME_MAX);
    }
    memcpy(out, s.p, s.len);
    out[s.len] = '\0';
    return 0;
}

static int member_body(struct jr *j, struct core_admin *a, struct err *e)
{
    char replaced[REPLICA_NAME_MAX + 1];
    struct slice name = jr_str(j, "name", 1);
    struct slice peer = jr_str(j, "peer", 1);
    struct slice replace = jr_str(j, "replace", 0);
    int rc = jr_end(j);
    if (rc == 0) {
        rc = node_name(name, "name", a->member.name, e);
    }
    if (rc == 0 && (peer.len == 0 || peer.len > REPLICA_ADDRESS_MAX ||
                    memchr(peer.p, ':', peer.len) == NULL)) {
        rc = err_set(e, MU_E_BAD_REQUEST,
                     "peer must be the host:port of the new node's peer listener");
    }
    if (rc == 0 && replace.len > 0 && (rc = node_name(replace, "replace", replaced, e)) == 0) {
        a->node = replica_id_of(replaced);
    }
    if (rc == 0) {
        memcpy(a->member.address, peer.p, peer.len);
        a->member.address[peer.len] = '\0';
        a->member.id = replica_id_of(a->member.name);
        a->member.is_voter = 1;
    }
    return rc;
}

void api_member_add(struct http_req *r, void *arg)
{
    struct json_t *doc;
    struct err e = {0};
    struct jr j;
    if (api_known_query(r, NULL) != 0 || api_json_body(r, &doc) != 0) {
        return;
    }
    struct admin *m = admin_new(r, arg, accepted);
    jr_begin(&j, doc, &e);
    int rc = member_body(&j, &m->a, &e);
    jr_free(doc);
    if (rc != 0) {
        api_fail(r, rc, &e);
        return;
    }
    m->operation =
        (const char *)api_text(r, m->a.node != 0 ? "replacing a member by %s" : "adding %s",
                               m->a.member.name)
            .p;
    admin_send(m, CORE_MEMBER_ADD);
}

void api_member_remove(struct http_req *r, void *arg)
{
    char name[REPLICA_NAME_MAX + 1];
    struct err e = {0};
    if (api_known_query(r, NULL) != 0) {
        return;
    }
    int rc = node_name(http_param(r, "name"), "the path's last segment", name, &e);
    if (rc != 0) {
        api_fail(r, rc, &e);
        return;
    }
    struct admin *m = admin_new(r, arg, accepted);
    m->a.node = replica_id_of(name);
    m->operation = (const char *)api_text(r, "removing %s", name).p;
    admin_send(m, CORE_MEMBER_REMOVE);
}

/* --- leadership --- */

static void transfer_status(struct core_request *q)
{
    struct admin *m = admin_of(q);
    struct buf *out = http_scratch(m->r);
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    optional_str(&w, "leader", name_of(&m->status, m->status.leader));
    jw_end(&w);
    now_headers(m);
    http_respond(m->r, 200, "application/json", buf_slice(out));
}

static void transferred(struct core_request *q)
{
    struct admin *m = admin_of(q);
    if (q->code != 0) {
        api_fail(m->r, q->code, &q->err);
        return;
    }
    q->done = transfer_status;
    admin_send(m, CORE_STATUS);
}

void api_cluster_transfer(struct http_req *r, void *arg)
{
    struct json_t *doc;
    struct err e = {0};
    struct jr j;
    char name[REPLICA_NAME_MAX + 1];
    if (api_known_query(r, NULL) != 0 || api_json_body(r, &doc) != 0) {
        return;
    }
    struct admin *m = admin_new(r, arg, transferred);
    jr_begin(&j, doc, &e);
    struct slice to = jr_str(&j, "to", 0);
    int rc = jr_end(&j);
    if (rc == 0 && to.len > 0 && (rc = node_name(to, "to", name, &e)) == 0) {
        m->a.node = replica_id_of(name);
    }
    jr_free(doc);
    if (rc != 0) {
        api_fail(r, rc, &e);
        return;
    }
    admin_send(m, CORE_TRANSFER);
}

/* --- compaction --- */

static void compacted(struct api_write *w)
{
    struct buf *out = http_scratch(w->r);
    struct jw j;
    jw_init(&j, out);
    jw_obj(&j);
    jw_key(&j, "more");
    jw_bool(&j, w->cw.result.is_changed);
    jw_end(&j);
    http_respond(w->r, 200, "application/json", buf_slice(out));
}

void api_cluster_compact(struct http_req *r, void *arg)
{
    struct json_t *doc;
    struct err e = {0};
    struct jr j;
    struct command cmd;
    if (api_known_query(r, NULL) != 0 || api_request_id(r, &cmd) != 0 ||
        api_json_body(r, &doc) != 0) {
        return;
    }
    jr_begin(&j, doc, &e);
    int64_t keep_ms =
        jr_duration(&j, "keep", INT64_C(720) * 3600 * 1000, 0, INT64_C(36500) * 24 * 3600 * 1000);
    int64_t versions = jr_int(&j, "versions", 100, 1, 1000000);
    int rc = jr_end(&j);
    jr_free(doc);
    if (rc != 0) {
        api_fail(r, rc, &e);
        return;
    }
    cmd.type = CMD_COMPACT;
    cmd.wall_ms = 0;
    cmd.u.compact = (struct cmd_compact){.space = SPACE_CONFIG,
                                         .before_ms = clock_wall_ms() - keep_ms,
                                         .keep_versions = (uint32_t)versions};
    api_write(r, api_of(arg), &cmd, compacted, NULL, SLICE_LIT("compaction"));
}

/* --- snapshot download: the file is unlinked at once and lives as long as the download --- */

/* Also called when the client is gone. */
static void snapshot_more(struct http_req *r)
{
    struct admin *m = http_data(r);
    char block[64 * 1024];
    for (;;) {
        ssize_t n = http_is_gone(r) ? 0 : read(m->fd, block, sizeof(block));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            close(m->fd);
            m->fd = -1;
            if (n < 0) {
                http_stream_abort(r);
            } else {
                http_stream_end(r);
            }
            return;
        }
        if (!http_stream_write(r, slice_of(block, (size_t)n))) {
            return;
        }
    }
}

static void snapshot_made(struct core_request *q)
{
    struct admin *m = admin_of(q);
    if (q->code != 0) {
        api_fail(m->r, q->code, &q->err);
        return;
    }
    m->fd = open(m->a.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    unlink(m->a.path);
    struct stat st;
    if (m->fd < 0 || fstat(m->fd, &st) != 0) {
        http_respond_error(m->r, MU_E_IO, "the snapshot could not be opened: %s", strerror(errno));
        return;
    }
    now_headers(m);
    http_add_header(m->r, "Content-Disposition", "attachment; filename=\"muster.snap\"");
    http_set_data(m->r, m);
    http_stream_begin_sized(m->r, 200, "application/octet-stream", (uint64_t)st.st_size);
    http_stream_on_drain(m->r, snapshot_more);
    snapshot_more(m->r);
}

void api_snapshot_get(struct http_req *r, void *arg)
{
    if (api_known_query(r, NULL) == 0) {
        admin_send(admin_new(r, arg, snapshot_made), CORE_SNAPSHOT);
    }
}
