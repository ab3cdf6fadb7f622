/* SPDX-License-Identifier: Apache-2.0 */
/* status: each endpoint is asked by itself; the members are those that the leader (or else the
 * first endpoint that answers) tells of. */
#include <jansson.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tools/musterctl/cmd.h"

enum { ASK_MS = 1500, ENDPOINTS_MAX = 64 };

struct node {
    char endpoint[256];
    json_t *cluster; /* NULL: did not answer, or refused to tell */
    char version[32], error[256];
    int is_ready, is_refused;
    int64_t took_ms;
};

struct cluster {
    struct node nodes[ENDPOINTS_MAX];
    size_t n;
    const json_t *view; /* borrowed: of the node that is believed */
};

/* --- asking --- */

static json_t *ask_json(struct muster *m, const char *path, struct muster_error *e)
{
    struct muster_answer *a;
    struct muster_request q = {.method = "GET", .path = path};
    if (muster_call(m, &q, &a, e) != MUSTER_OK) {
        return NULL;
    }
    json_t *doc = json_loadb(a->body, a->body_len, 0, NULL);
    muster_answer_free(a);
    return doc;
}

static void ask_ready(struct muster *m, struct node *n)
{
    struct muster_answer *a;
    struct muster_error e = {0};
    struct muster_request q = {.method = "GET", .path = "//readyz?verbose"};
    if (muster_call(m, &q, &a, &e) == MUSTER_OK) {
        n->is_ready = 1;
        muster_answer_free(a);
    }
}

static int ask(const struct ctl *c, struct node *n)
{
    struct muster_error e = {0};
    struct muster *m;
    int rc = ctl_open(c, n->endpoint, ASK_MS, &m);
    if (rc != CTL_OK) {
        return rc;
    }
    int64_t start = clock_mono_us();
    n->cluster = ask_json(m, "/cluster", &e);
    n->took_ms = (clock_mono_us() - start) / 1000;
    if (n->cluster != NULL) {
        json_t *v = ask_json(m, "//version", NULL);
        snprintf(n->version, sizeof(n->version), "%.30s", ctl_str(v, "muster"));
        json_decref(v);
        ask_ready(m, n);
    } else {
        /* "http://a:1: reason" beside its own name says it twice. */
        size_t len = strlen(n->endpoint);
        int is_named = strncmp(e.text, n->endpoint, len) == 0 && e.text[len] == ':';
        n->is_refused = e.status == MUSTER_REFUSED;
        snprintf(n->error, sizeof(n->error), "%s", is_named ? e.text + len + 2 : e.text);
    }
    muster_close(m);
    return CTL_OK;
}

static int ask_all(struct ctl *c, struct cluster *k)
{
    size_t at = 0;
    while (k->n < ENDPOINTS_MAX && ctl_next_endpoint(c, &at, k->nodes[k->n].endpoint)) {
        struct node *n = &k->nodes[k->n];
        ctl_progress(&c->out, "asking %s", n->endpoint);
        k->n++;
        int rc = ask(c, n);
        if (rc != CTL_OK) {
            return rc;
        }
        int is_leader = strcmp(ctl_str(n->cluster, "role"), "leader") == 0;
        int is_newer = ctl_u64(n->cluster, "term") >= ctl_u64(k->view, "term");
        if (n->cluster != NULL && (k->view == NULL || (is_leader && is_newer))) {
            k->view = n->cluster;
        }
    }
    ctl_progress_end(&c->out);
    return CTL_OK;
}

/* --- judging --- */

static int is_leader_view(const struct cluster *k)
{
    return strcmp(ctl_str(k->view, "role"), "leader") == 0;
}

/* "healthy", or what is wrong. */
static int judge(const struct cluster *k, char out[256])
{
    const json_t *members = json_object_get(k->view, "members");
    if (k->view == NULL) {
        size_t i = 0;
        while (i < k->n && !k->nodes[i].is_refused) {
            i++;
        }
        snprintf(out, 256, "%s",
                 i < k->n ? "refused: what answers does not tell"
                          : "unreachable: no endpoint answers");
        return i < k->n ? CTL_FAILED : CTL_UNREACHABLE;
    }
    if (ctl_str(k->view, "leader")[0] == '\0') {
        snprintf(out, 256, "no leader: nothing can be written");
        return CTL_UNREACHABLE;
    }
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *m = json_array_get(members, i);
        if (is_leader_view(k) && !ctl_true(m, "reachable")) {
            snprintf(out, 256, "degraded: the leader does not reach %.64s", ctl_str(m, "name"));
            return CTL_FAILED;
        }
    }
    for (size_t i = 0; i < k->n; i++) {
        const struct node *n = &k->nodes[i];
        if (n->cluster == NULL || !n->is_ready) {
            snprintf(out, 256, "degraded: %.180s %s", n->endpoint,
                     n->is_refused        ? "refuses to tell"
                     : n->cluster == NULL ? "does not answer"
                                          : "is not ready");
            return CTL_FAILED;
        }
        if (strcmp(ctl_str(n->cluster, "cluster_id"), ctl_str(k->view, "cluster_id")) != 0) {
            snprintf(out, 256, "mixed: %.180s belongs to another cluster", n->endpoint);
            return CTL_FAILED;
        }
    }
    snprintf(out, 256, "healthy");
    return CTL_OK;
}

/* --- printing --- */

static void print_members(struct ctl *c, const struct cluster *k)
{
    static const char *const heads[] = {"MEMBER", "PEER", "ROLE", "REACHABLE", "LAG>"};
    const json_t *members = json_object_get(k->view, "members");
    uint64_t commit = ctl_u64(k->view, "commit_index");
    int is_known = is_leader_view(k);
    struct ctl_grid g;
    ctl_grid_init(&g, heads, N_ELEMENTS(heads));
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *m = json_array_get(members, i);
        uint64_t match = ctl_u64(m, "match_index");
        int is_leader = ctl_true(m, "leader"), is_reachable = ctl_true(m, "reachable");
        ctl_grid_text(&g, ctl_str(m, "name"));
        ctl_grid_text(&g, ctl_str(m, "peer"));
        ctl_grid_colour(&g, is_leader ? CTL_BOLD : CTL_NO_COLOUR,
                        is_leader ? "leader" : ctl_str(m, "role"));
        ctl_grid_colour(&g, is_reachable ? CTL_GREEN : CTL_RED, is_reachable ? "yes" : "no");
        if (is_known) {
            ctl_grid_u64(&g, is_leader || match > commit ? 0 : commit - match);
        } else {
            ctl_grid_text(&g, "?");
        }
    }
    ctl_grid_print(&g, &c->out);
    ctl_grid_fini(&g);
}

static void print_endpoints(struct ctl *c, const struct cluster *k)
{
    static const char *const heads[] = {"ENDPOINT", "NODE", "ROLE",    "READY",  "REVISION>",
                                        "APPLIED>", "MS>",  "VERSION", "PROBLEM"};
    struct ctl_grid g;
    ctl_grid_init(&g, heads, N_ELEMENTS(heads));
    for (size_t i = 0; i < k->n; i++) {
        const struct node *n = &k->nodes[i];
        int is_up = n->cluster != NULL;
        ctl_grid_text(&g, n->endpoint);
        ctl_grid_text(&g, is_up ? ctl_str(n->cluster, "node") : "-");
        ctl_grid_text(&g, is_up ? ctl_str(n->cluster, "role") : "-");
        ctl_grid_colour(&g, n->is_ready ? CTL_GREEN : CTL_RED, n->is_ready ? "yes" : "no");
        static const char *const numbers[] = {"revision", "applied_index"};
        for (size_t v = 0; v < N_ELEMENTS(numbers); v++) {
            if (is_up) {
                ctl_grid_u64(&g, ctl_u64(n->cluster, numbers[v]));
            } else {
                ctl_grid_text(&g, "-");
            }
        }
        ctl_grid_u64(&g, (uint64_t)n->took_ms);
        ctl_grid_text(&g, is_up ? n->version : "-");
        ctl_grid_text(&g, n->error);
    }
    ctl_grid_print(&g, &c->out);
    ctl_grid_fini(&g);
}

static void print_table(struct ctl *c, const struct cluster *k, int status, const char *verdict)
{
    FILE *f = c->out.f;
    if (c->out.format == CTL_TABLE) {
        enum ctl_colour colour = status == CTL_OK       ? CTL_GREEN
                                 : status == CTL_FAILED ? CTL_YELLOW
                                                        : CTL_RED;
        fprintf(f, "%s%s%s\n", ctl_colour(&c->out, colour), verdict, ctl_colour_end(&c->out));
        if (k->view != NULL) {
            const char *leader = ctl_str(k->view, "leader");
            ctl_line(&c->out, "cluster %s, leader %s, term %llu, revision %llu",
                     ctl_str(k->view, "cluster_id"), leader[0] != '\0' ? leader : "unknown",
                     (unsigned long long)ctl_u64(k->view, "term"),
                     (unsigned long long)ctl_u64(k->view, "revision"));
            if (ctl_str(k->view, "operation")[0] != '\0') {
                ctl_note(&c->out, "last operation: %s", ctl_str(k->view, "operation"));
            }
        }
        fputc('\n', f);
    }
    if (k->view != NULL && c->out.format == CTL_TABLE) {
        print_members(c, k);
        fputc('\n', f);
    }
    print_endpoints(c, k);
}

static void print_json(struct ctl *c, const struct cluster *k, int status, const char *verdict)
{
    json_t *list = json_array();
    for (size_t i = 0; i < k->n; i++) {
        const struct node *n = &k->nodes[i];
        json_t *o = json_pack("{s:s, s:b, s:b, s:I, s:s}", "endpoint", n->endpoint, "reachable",
                              n->cluster != NULL, "ready", n->is_ready, "took_ms",
                              (json_int_t)n->took_ms, "version", n->version);
        json_object_set_new(o, "cluster",
                            n->cluster != NULL ? json_incref(n->cluster) : json_null());
        if (n->error[0] != '\0') {
            json_object_set_new(o, "error", json_string(n->error));
        }
        json_array_append_new(list, o);
    }
    json_t *doc = json_pack("{s:b, s:s, s:o}", "healthy", status == CTL_OK, "summary", verdict,
                            "endpoints", list);
    json_object_set_new(doc, "leader",
                        k->view != NULL ? json_incref(json_object_get(k->view, "leader"))
                                        : json_null());
    json_object_set_new(doc, "members",
                        k->view != NULL ? json_incref(json_object_get(k->view, "members"))
                                        : json_array());
    json_dumpf(doc, c->out.f, JSON_COMPACT);
    fputc('\n', c->out.f);
    json_decref(doc);
}

int ctl_status(struct ctl *c)
{
    struct cluster *k = mem_zalloc(sizeof(*k));
    char verdict[256];
    int rc = ask_all(c, k);
    if (rc == CTL_OK && k->n == 0) {
        rc = ctl_say(CTL_USAGE, "--endpoints names no endpoint");
    }
    if (rc == CTL_OK) {
        ctl_sort_rows(json_object_get(k->view, "members"), "name");
        rc = judge(k, verdict);
        if (c->out.format == CTL_JSON) {
            print_json(c, k, rc, verdict);
        } else {
            print_table(c, k, rc, verdict);
        }
    }
    for (size_t i = 0; i < k->n; i++) {
        json_decref(k->nodes[i].cluster);
    }
    mem_free(k);
    return rc;
}
