/* SPDX-License-Identifier: Apache-2.0 */
/* lease: list, get, grant, keepalive, revoke. */
#include <jansson.h>

#include "base/text.h"
#include "tools/musterctl/cmd.h"

static const char *const heads[] = {"LEASE", "TTL", "LEFT>", "STATE", "HANGING ON IT"};

static void lease_row(struct ctl_grid *g, const json_t *o)
{
    struct buf names;
    char left[24] = "";
    const json_t *ms = json_object_get(o, "remaining_ms"), *list = json_object_get(o, "instances");
    if (json_is_integer(ms)) {
        snprintf(left, sizeof(left), "%.1fs", (double)json_integer_value(ms) / 1000);
    }
    buf_init(&names);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *n = json_array_get(list, i);
        buf_printf(&names, "%s%s/%s:%s", i != 0 ? " " : "", ctl_str(n, "group"),
                   ctl_str(n, "service"), ctl_str(n, "id"));
    }
    buf_append_byte(&names, '\0');
    int is_overdue = ctl_true(o, "overdue");
    ctl_grid_text(g, ctl_str(o, "id"));
    ctl_grid_text(g, ctl_str(o, "ttl"));
    ctl_grid_text(g, left);
    ctl_grid_colour(g, is_overdue ? CTL_RED : CTL_GREEN, is_overdue ? "overdue" : "alive");
    ctl_grid_text(g, (const char *)names.p);
    buf_fini(&names);
}

int ctl_lease_list(struct ctl *c)
{
    struct buf path;
    struct ctl_grid g;
    json_t *items;
    buf_init(&path);
    buf_append_str(&path, "/leases");
    int rc = ctl_get_pages(c, &path, "leases", &items, NULL);
    buf_fini(&path);
    if (rc != CTL_OK) {
        return rc;
    }
    if (c->out.format == CTL_JSON) {
        json_t *doc = json_pack("{s:O}", "leases", items);
        json_dumpf(doc, c->out.f, JSON_COMPACT);
        fputc('\n', c->out.f);
        json_decref(doc);
    } else {
        ctl_grid_init(&g, heads, N_ELEMENTS(heads));
        for (size_t i = 0; i < json_array_size(items); i++) {
            lease_row(&g, json_array_get(items, i));
        }
        ctl_grid_print(&g, &c->out);
        ctl_grid_fini(&g);
    }
    json_decref(items);
    return CTL_OK;
}

int ctl_lease_get(struct ctl *c)
{
    struct buf path;
    struct muster_answer *a;
    buf_init(&path);
    buf_append_str(&path, "/leases");
    ctl_path_segment(&path, c->p.args[0]);
    int rc = ctl_get(c, &path, "", &a);
    buf_fini(&path);
    if (rc != CTL_OK) {
        return rc;
    }
    if (c->out.format == CTL_JSON) {
        ctl_print_json(&c->out, slice_of(a->body, a->body_len));
    } else {
        struct ctl_grid g;
        json_t *doc = ctl_json(a);
        ctl_grid_init(&g, heads, N_ELEMENTS(heads));
        lease_row(&g, doc);
        ctl_grid_print(&g, &c->out);
        ctl_grid_fini(&g);
        json_decref(doc);
    }
    muster_answer_free(a);
    return CTL_OK;
}

int ctl_lease_grant(struct ctl *c)
{
    struct buf path;
    struct muster_answer *a;
    json_t *body = json_pack("{s:s}", "ttl", c->p.args[0]);
    if (ctl_opt(&c->p, "id") != NULL) {
        json_object_set_new(body, "id", json_string(ctl_opt(&c->p, "id")));
    }
    buf_init(&path);
    buf_append_str(&path, "/leases");
    int rc = ctl_send(c, "POST", &path, body, &a);
    buf_fini(&path);
    if (rc != CTL_OK) {
        return rc;
    }
    json_t *doc = ctl_json(a);
    if (c->out.format == CTL_JSON) {
        ctl_print_json(&c->out, slice_of(a->body, a->body_len));
    } else if (c->out.format == CTL_PLAIN) {
        fprintf(c->out.f, "%s\n", ctl_str(doc, "id"));
    } else {
        ctl_note(&c->out, "granted lease %s, ttl %s", ctl_str(doc, "id"), ctl_str(doc, "ttl"));
    }
    json_decref(doc);
    muster_answer_free(a);
    return CTL_OK;
}

/* One request for all; gives the shortest ttl. */
static int keepalive_once(struct ctl *c, int64_t *out_ttl_ms)
{
    struct buf path;
    struct muster_answer *a;
    json_t *ids = json_array();
    for (size_t i = 0; i < c->p.n_args; i++) {
        json_array_append_new(ids, json_string(c->p.args[i]));
    }
    buf_init(&path);
    buf_append_str(&path, "/leases:keepalive");
    int rc = ctl_send(c, "POST", &path, json_pack("{s:o}", "leases", ids), &a);
    buf_fini(&path);
    if (rc != CTL_OK) {
        return rc;
    }
    json_t *doc = ctl_json(a);
    const json_t *list = json_object_get(doc, "leases");
    if (c->out.format == CTL_JSON) {
        ctl_print_json(&c->out, slice_of(a->body, a->body_len));
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        int64_t ttl_ms;
        if (ctl_str(o, "error")[0] != '\0') {
            rc = ctl_say(CTL_NOT_FOUND, "lease %s does not exist", ctl_str(o, "id"));
            continue;
        }
        if (text_duration_ms(slice_str(ctl_str(o, "ttl")), INT64_MAX / 4, &ttl_ms) == 0 &&
            ttl_ms < *out_ttl_ms) {
            *out_ttl_ms = ttl_ms;
        }
        ctl_note(&c->out, "lease %s kept alive for %s", ctl_str(o, "id"), ctl_str(o, "ttl"));
    }
    json_decref(doc);
    muster_answer_free(a);
    return ctl_out_flush(&c->out) == 0 ? rc : CTL_FAILED;
}

int ctl_lease_keepalive(struct ctl *c)
{
    int64_t ttl_ms = INT64_C(86400000);
    int is_loop = ctl_opt_has(&c->p, "loop");
    if (is_loop) {
        ctl_catch_signals(0);
    }
    int rc = keepalive_once(c, &ttl_ms);
    while (rc == CTL_OK && is_loop) {
        ctl_sleep_ms(ttl_ms / 3);
        if (ctl_is_interrupted()) {
            return CTL_INTERRUPTED;
        }
        /* A cluster without a leader for a moment is no reason to give up. */
        int now = keepalive_once(c, &ttl_ms);
        rc = now == CTL_UNREACHABLE || now == CTL_UNKNOWN ? CTL_OK : now;
    }
    return rc;
}

int ctl_lease_revoke(struct ctl *c)
{
    struct buf path;
    buf_init(&path);
    buf_append_str(&path, "/leases");
    ctl_path_segment(&path, c->p.args[0]);
    int rc = ctl_send(c, "DELETE", &path, NULL, NULL);
    if (rc == CTL_OK) {
        ctl_note(&c->out, "revoked lease %s", c->p.args[0]);
        if (c->out.format == CTL_JSON) {
            fprintf(c->out.f, "{\"revoked\":true}\n");
        }
    }
    buf_fini(&path);
    return rc;
}
