/* SPDX-License-Identifier: Apache-2.0 */
/* member: list, add, replace, remove, transfer.
 *
 * Changes go to the leader. It does them step by step and says in GET /cluster how far it is; that
 * is followed here until it is done. When the leader changes meanwhile, the new one is asked; an
 * operation that ended with the old one is told as such. */
#include <jansson.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tools/musterctl/cmd.h"

enum { LOOK_EVERY_MS = 250, SILENT_MAX_MS = 30000 };

/* --- list --- */

static void member_row(struct ctl_grid *g, const json_t *cluster, const json_t *m)
{
    uint64_t match = ctl_u64(m, "match_index"), commit = ctl_u64(cluster, "commit_index");
    int is_leader = ctl_true(m, "leader"), is_reachable = ctl_true(m, "reachable");
    ctl_grid_text(g, ctl_str(m, "name"));
    ctl_grid_text(g, ctl_str(m, "peer"));
    ctl_grid_colour(g, is_leader ? CTL_BOLD : CTL_NO_COLOUR,
                    is_leader ? "leader" : ctl_str(m, "role"));
    ctl_grid_colour(g, is_reachable ? CTL_GREEN : CTL_RED, is_reachable ? "yes" : "no");
    ctl_grid_u64(g, is_leader || match > commit ? 0 : commit - match);
    ctl_grid_text(g, ctl_str(m, "id"));
}

int ctl_member_list(struct ctl *c)
{
    static const char *const heads[] = {"MEMBER", "PEER", "ROLE", "REACHABLE", "LAG>", "ID"};
    struct muster *m;
    struct ctl_grid g;
    json_t *cluster;
    int rc = ctl_open_leader(c, &m, &cluster);
    if (rc != CTL_OK) {
        return rc;
    }
    json_t *members = json_object_get(cluster, "members");
    ctl_sort_rows(members, "name");
    if (c->out.format == CTL_JSON) {
        json_t *doc = json_pack("{s:O}", "members", members);
        json_dumpf(doc, c->out.f, JSON_COMPACT);
        fputc('\n', c->out.f);
        json_decref(doc);
    } else {
        ctl_grid_init(&g, heads, N_ELEMENTS(heads));
        for (size_t i = 0; i < json_array_size(members); i++) {
            member_row(&g, cluster, json_array_get(members, i));
        }
        ctl_grid_print(&g, &c->out);
        ctl_grid_fini(&g);
        if (ctl_str(cluster, "operation")[0] != '\0') {
            ctl_note(&c->out, "last operation: %s", ctl_str(cluster, "operation"));
        }
    }
    json_decref(cluster);
    muster_close(m);
    return CTL_OK;
}

/* --- following an operation --- */

static json_t *look(struct muster *m)
{
    struct muster_answer *a;
    struct muster_request q = {.method = "GET", .path = "/cluster", .timeout_ms = 2000};
    if (muster_call(m, &q, &a, NULL) != MUSTER_OK) {
        return NULL;
    }
    json_t *doc = json_loadb(a->body, a->body_len, 0, NULL);
    muster_answer_free(a);
    return doc;
}

/* What the leader among the endpoints says now; NULL when there is none in sight. */
static json_t *look_at_leader(const struct ctl *c)
{
    char endpoint[256];
    size_t at = 0;
    while (ctl_next_endpoint(c, &at, endpoint)) {
        struct muster *m;
        if (ctl_open(c, endpoint, 2000, &m) != CTL_OK) {
            return NULL;
        }
        json_t *doc = look(m);
        muster_close(m);
        if (strcmp(ctl_str(doc, "role"), "leader") == 0) {
            return doc;
        }
        json_decref(doc);
    }
    return NULL;
}

/* "n1 leader, n2 voter, n4 learner" */
static void members_line(const json_t *cluster, struct buf *out)
{
    json_t *members = json_object_get(cluster, "members");
    ctl_sort_rows(members, "name");
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *m = json_array_get(members, i);
        buf_printf(out, "%s%s %s", i != 0 ? ", " : "", ctl_str(m, "name"),
                   ctl_true(m, "leader") ? "leader" : ctl_str(m, "role"));
    }
}

struct follow {
    struct ctl *c;
    struct buf last; /* line that was shown */
    int64_t end_at, seen_at;
    int status; /* -1: goes on */
};

static void show(struct follow *f, const json_t *cluster)
{
    struct buf line;
    buf_init(&line);
    buf_printf(&line, "%s (", ctl_str(cluster, "operation"));
    members_line(cluster, &line);
    buf_append_byte(&line, ')');
    if (!slice_eq(buf_slice(&line), buf_slice(&f->last))) {
        buf_clear(&f->last);
        buf_append_slice(&f->last, buf_slice(&line));
        ctl_note(&f->c->out, "%.*s", SLICE_FMT(buf_slice(&line)));
        fflush(f->c->out.f);
    }
    buf_fini(&line);
}

/* The words an operation under way begins with (docs/faces/native.md, operation); any other text is
 * how one ended. */
static int is_running(const char *operation)
{
    static const char *const words[] = {"adding ", "waiting ", "promoting ", "removing "};
    for (size_t i = 0; i < N_ELEMENTS(words); i++) {
        if (strncmp(operation, words[i], strlen(words[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

static void step(struct follow *f)
{
    int64_t now = clock_mono_ms();
    json_t *cluster = look_at_leader(f->c);
    const char *operation = ctl_str(cluster, "operation");
    if (cluster != NULL) {
        f->seen_at = now;
        show(f, cluster);
    }
    if (strncmp(operation, "done", 4) == 0) {
        f->status = CTL_OK;
    } else if (operation[0] != '\0' && !is_running(operation)) {
        f->status = ctl_say(CTL_FAILED, "%s", operation);
    } else if (cluster != NULL && operation[0] == '\0') {
        f->status = ctl_say(CTL_UNKNOWN, "the leader changed and knows nothing of the operation: "
                                         "see musterctl member list, and give the command again");
    } else if (now - f->seen_at > SILENT_MAX_MS) {
        f->status = ctl_say(CTL_UNKNOWN, "no leader in sight among the endpoints: the operation "
                                         "may go on; see musterctl member list");
    } else if (now > f->end_at) {
        f->status = ctl_say(CTL_UNKNOWN, "not done after %s; it goes on, see musterctl member list",
                            ctl_opt(&f->c->p, "wait"));
    } else if (ctl_is_interrupted()) {
        f->status = ctl_say(CTL_INTERRUPTED,
                            "interrupted; the cluster goes on with it, see musterctl member list");
    }
    json_decref(cluster);
}

static int follow(struct ctl *c)
{
    struct follow f = {.c = c, .status = -1};
    f.seen_at = clock_mono_ms();
    f.end_at = f.seen_at + ctl_opt_ms(&c->p, "wait");
    buf_init(&f.last);
    ctl_catch_signals(0);
    step(&f);
    while (f.status < 0) {
        ctl_sleep_ms(LOOK_EVERY_MS);
        step(&f);
    }
    buf_fini(&f.last);
    if (f.status == CTL_OK && c->out.format == CTL_JSON) {
        json_t *cluster = look_at_leader(c);
        if (cluster != NULL) {
            json_dumpf(cluster, c->out.f, JSON_COMPACT);
            fputc('\n', c->out.f);
        }
        json_decref(cluster);
    }
    return f.status;
}

/* --- changes --- */

/* The request at the leader, followed unless --no-wait. Takes body. */
static int change(struct ctl *c, const char *method, const struct buf *path, json_t *body)
{
    struct muster_answer *a;
    int rc = ctl_open_leader(c, &c->m, NULL);
    if (rc == CTL_OK) {
        rc = ctl_send(c, method, path, json_incref(body), &a);
    }
    json_decref(body);
    if (rc != CTL_OK) {
        return rc;
    }
    int is_left = ctl_opt_has(&c->p, "no-wait");
    if (is_left && c->out.format == CTL_JSON) {
        ctl_print_json(&c->out, slice_of(a->body, a->body_len));
    } else if (is_left) {
        ctl_note(&c->out, "started; musterctl member list shows how it ends");
    }
    muster_answer_free(a);
    return is_left ? CTL_OK : follow(c);
}

static int add(struct ctl *c, json_t *body)
{
    struct buf path;
    buf_init(&path);
    buf_append_str(&path, "/cluster/members");
    int rc = change(c, "POST", &path, body);
    buf_fini(&path);
    return rc;
}

int ctl_member_add(struct ctl *c)
{
    return add(c, json_pack("{s:s, s:s}", "name", c->p.args[0], "peer", c->p.args[1]));
}

int ctl_member_replace(struct ctl *c)
{
    return add(c, json_pack("{s:s, s:s, s:s}", "name", c->p.args[1], "peer", c->p.args[2],
                            "replace", c->p.args[0]));
}

int ctl_member_remove(struct ctl *c)
{
    struct buf path;
    buf_init(&path);
    buf_append_str(&path, "/cluster/members");
    ctl_path_segment(&path, c->p.args[0]);
    int rc = change(c, "DELETE", &path, NULL);
    buf_fini(&path);
    return rc;
}

int ctl_member_transfer(struct ctl *c)
{
    struct buf path;
    struct muster_answer *a;
    json_t *body = c->p.n_args > 0 ? json_pack("{s:s}", "to", c->p.args[0]) : json_object();
    buf_init(&path);
    buf_append_str(&path, "/cluster:transfer");
    int rc = ctl_open_leader(c, &c->m, NULL);
    if (rc == CTL_OK) {
        rc = ctl_send(c, "POST", &path, json_incref(body), &a);
    }
    if (rc == CTL_OK) {
        json_t *doc = ctl_json(a);
        if (c->out.format == CTL_JSON) {
            ctl_print_json(&c->out, slice_of(a->body, a->body_len));
        } else if (c->out.format == CTL_PLAIN) {
            fprintf(c->out.f, "%s\n", ctl_str(doc, "leader"));
        } else {
            ctl_note(&c->out, "the leader is %s", ctl_str(doc, "leader"));
        }
        json_decref(doc);
        muster_answer_free(a);
    }
    json_decref(body);
    buf_fini(&path);
    return rc;
}
