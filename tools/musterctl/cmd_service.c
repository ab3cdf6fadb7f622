/* SPDX-License-Identifier: Apache-2.0 */
/* service: list, get, register, patch, deregister, keepalive. */
#include <jansson.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"
#include "tools/musterctl/cmd.h"

enum { KEEP_TTL_MS = 15000 };

/* --- list, get --- */

static void print_doc(struct ctl *c, const char *member, json_t *items)
{
    json_t *doc = json_pack("{s:O}", member, items);
    json_dumpf(doc, c->out.f, JSON_COMPACT);
    fputc('\n', c->out.f);
    json_decref(doc);
}

static enum ctl_colour health_colour(uint64_t healthy, uint64_t all)
{
    return healthy == all ? CTL_GREEN : healthy == 0 ? CTL_RED : CTL_YELLOW;
}

int ctl_service_list(struct ctl *c)
{
    static const char *const heads[] = {"GROUP", "SERVICE", "INSTANCES>", "HEALTHY>"};
    struct buf path;
    struct ctl_grid g;
    json_t *items;
    buf_init(&path);
    buf_append_str(&path, "/services");
    if (ctl_opt(&c->p, "group") != NULL) {
        ctl_path_param(&path, "group", ctl_opt(&c->p, "group"));
    }
    if (c->p.n_args > 0) {
        ctl_path_param(&path, "prefix", c->p.args[0]);
    }
    int rc = ctl_get_pages(c, &path, "services", &items, NULL);
    buf_fini(&path);
    if (rc != CTL_OK) {
        return rc;
    }
    if (c->out.format == CTL_JSON) {
        print_doc(c, "services", items);
    } else {
        ctl_grid_init(&g, heads, N_ELEMENTS(heads));
        for (size_t i = 0; i < json_array_size(items); i++) {
            const json_t *o = json_array_get(items, i);
            char healthy[24];
            uint64_t n = ctl_u64(o, "healthy");
            snprintf(healthy, sizeof(healthy), "%llu", (unsigned long long)n);
            ctl_grid_text(&g, ctl_str(o, "group"));
            ctl_grid_text(&g, ctl_str(o, "name"));
            ctl_grid_u64(&g, ctl_u64(o, "instances"));
            ctl_grid_colour(&g, health_colour(n, ctl_u64(o, "instances")), healthy);
        }
        ctl_grid_print(&g, &c->out);
        ctl_grid_fini(&g);
    }
    json_decref(items);
    return CTL_OK;
}

/* What decides its health: "ttl 15s", "http http://...", "lease ...", "" for a persistent one. */
static void judge(const json_t *o, char out[160])
{
    const json_t *check = json_object_get(o, "check");
    const char *ttl = ctl_str(o, "ttl"), *lease = ctl_str(o, "lease");
    if (check != NULL) {
        const char *target = ctl_str(check, "url");
        snprintf(out, 160, "%s %s every %s", ctl_str(check, "type"),
                 target[0] != '\0' ? target : ctl_str(check, "address"),
                 ctl_str(check, "interval"));
    } else if (ttl[0] != '\0') {
        snprintf(out, 160, "ttl %s", ttl);
    } else if (lease[0] != '\0') {
        snprintf(out, 160, "lease %s", lease);
    } else {
        out[0] = '\0';
    }
}

static void instance_row(struct ctl_grid *g, const json_t *o)
{
    char address[320], by[160];
    struct buf words;
    const json_t *list = json_object_get(o, "tags"), *v;
    const char *key;
    snprintf(address, sizeof(address), "%s:%llu", ctl_str(o, "address"),
             (unsigned long long)ctl_u64(o, "port"));
    judge(o, by);
    buf_init(&words);
    for (size_t i = 0; i < json_array_size(list); i++) {
        buf_append_str(&words, words.len != 0 ? " " : "");
        buf_append_str(&words, json_string_value(json_array_get(list, i)));
    }
    json_object_foreach (json_object_get(o, "metadata"), key, v) {
        const char *value = json_string_value(v);
        buf_append_str(&words, words.len != 0 ? " " : "");
        buf_append_str(&words, key);
        buf_append_byte(&words, '=');
        buf_append_str(&words, value != NULL ? value : "");
    }
    buf_append_byte(&words, '\0');
    int is_enabled = ctl_true(o, "enabled"), is_healthy = ctl_true(o, "healthy");
    ctl_grid_text(g, ctl_str(o, "cluster"));
    ctl_grid_text(g, ctl_str(o, "id"));
    ctl_grid_text(g, address);
    ctl_grid_colour(g,
                    !is_enabled  ? CTL_DIM
                    : is_healthy ? CTL_GREEN
                                 : CTL_RED,
                    !is_enabled  ? "disabled"
                    : is_healthy ? "healthy"
                                 : "unhealthy");
    char weight[32];
    snprintf(weight, sizeof(weight), "%g", json_number_value(json_object_get(o, "weight")));
    ctl_grid_text(g, weight);
    ctl_grid_text(g, by);
    ctl_grid_text(g, ctl_str(o, "output"));
    ctl_grid_text(g, (const char *)words.p);
    buf_fini(&words);
}

static void instance_table(struct ctl *c, const json_t *instances)
{
    static const char *const heads[] = {"CLUSTER", "ID",      "ADDRESS", "STATE",
                                        "WEIGHT>", "KEPT BY", "OUTPUT",  "TAGS, METADATA"};
    struct ctl_grid g;
    ctl_grid_init(&g, heads, N_ELEMENTS(heads));
    for (size_t i = 0; i < json_array_size(instances); i++) {
        instance_row(&g, json_array_get(instances, i));
    }
    ctl_grid_print(&g, &c->out);
    ctl_grid_fini(&g);
}

int ctl_service_get(struct ctl *c)
{
    struct buf path;
    struct muster_answer *a;
    const char *tag;
    size_t at = 0;
    buf_init(&path);
    int rc = ctl_service_path(c, c->p.args[0], NULL, &path);
    while ((tag = ctl_opt_next(&c->p, "tag", &at)) != NULL) {
        ctl_path_param(&path, "tag", tag);
    }
    if (ctl_opt_has(&c->p, "healthy")) {
        ctl_path_param(&path, "healthy", "true");
    }
    if (rc == CTL_OK) {
        rc = ctl_get(c, &path, "", &a);
    }
    buf_fini(&path);
    if (rc != CTL_OK) {
        return rc;
    }
    json_t *doc = ctl_json(a);
    const json_t *instances = json_object_get(doc, "instances");
    rc = doc == NULL ? CTL_FAILED : json_array_size(instances) != 0 ? CTL_OK : CTL_NOT_FOUND;
    if (c->out.format == CTL_JSON) {
        ctl_print_json(&c->out, slice_of(a->body, a->body_len));
    } else if (rc == CTL_OK) {
        instance_table(c, instances);
    }
    if (rc == CTL_NOT_FOUND) {
        ctl_say(rc, "service %s has no %sinstance", c->p.args[0],
                ctl_opt_has(&c->p, "tag") || ctl_opt_has(&c->p, "healthy") ? "such " : "");
    }
    json_decref(doc);
    muster_answer_free(a);
    return rc;
}

/* --- register, patch --- */

static void set_text(json_t *o, const char *member, const char *value)
{
    if (value != NULL) {
        json_object_set_new(o, member, json_string(value));
    }
}

static void set_number(struct ctl *c, json_t *o, const char *member, const char *option)
{
    if (ctl_opt(&c->p, option) != NULL) {
        json_object_set_new(o, member, json_integer((json_int_t)ctl_opt_u64(&c->p, option)));
    }
}

static void set_tags(struct ctl *c, json_t *o)
{
    const char *tag;
    size_t at = 0;
    if (ctl_opt_has(&c->p, "tag")) {
        json_t *tags = json_array();
        while ((tag = ctl_opt_next(&c->p, "tag", &at)) != NULL) {
            json_array_append_new(tags, json_string(tag));
        }
        json_object_set_new(o, "tags", tags);
    }
}

static int set_meta(struct ctl *c, json_t *o)
{
    const char *pair;
    size_t at = 0;
    json_t *meta = json_object();
    while ((pair = ctl_opt_next(&c->p, "meta", &at)) != NULL) {
        const char *eq = strchr(pair, '=');
        if (eq == NULL || eq == pair) {
            json_decref(meta);
            return ctl_say(CTL_USAGE, "--meta must be NAME=VALUE, not \"%.60s\"", pair);
        }
        char *name = mem_slice_str(slice_of(pair, (size_t)(eq - pair)));
        json_object_set_new(meta, name, json_string(eq + 1));
        mem_free(name);
    }
    if (json_object_size(meta) != 0) {
        json_object_set(o, "metadata", meta);
    }
    json_decref(meta);
    return CTL_OK;
}

static void set_check(struct ctl *c, json_t *o)
{
    const char *http = ctl_opt(&c->p, "check-http"), *tcp = ctl_opt(&c->p, "check-tcp");
    if (http == NULL && tcp == NULL) {
        set_text(o, "remove_after", ctl_opt(&c->p, "remove-after"));
        return;
    }
    json_t *check = json_pack("{s:s}", "type", http != NULL ? "http" : "tcp");
    set_text(check, http != NULL ? "url" : "address", http != NULL ? http : tcp);
    set_text(check, "interval", ctl_opt(&c->p, "check-interval"));
    set_text(check, "timeout", ctl_opt(&c->p, "check-timeout"));
    set_number(c, check, "failures", "check-failures");
    set_number(c, check, "successes", "check-successes");
    set_text(check, "remove_after", ctl_opt(&c->p, "remove-after"));
    json_object_set_new(o, "check", check);
}

static int check_judges(const struct ctl *c)
{
    static const char *const judges[] = {"ttl", "lease", "check-http", "check-tcp"};
    const char *first = NULL;
    for (size_t i = 0; i < N_ELEMENTS(judges); i++) {
        if (!ctl_opt_has(&c->p, judges[i])) {
            continue;
        }
        if (first != NULL) {
            return ctl_say(CTL_USAGE, "--%s and --%s exclude each other", first, judges[i]);
        }
        first = judges[i];
    }
    if (ctl_opt_has(&c->p, "keep") && first != NULL && strcmp(first, "ttl") != 0) {
        return ctl_say(CTL_USAGE, "--keep goes with --ttl, not with --%s", first);
    }
    return ctl_opt_has(&c->p, "address")
               ? CTL_OK
               : ctl_say(CTL_USAGE, "--address is missing: musterctl service register "
                                    "[GROUP/]SERVICE --address HOST --port PORT");
}

static int registration(struct ctl *c, json_t **out)
{
    int rc = check_judges(c);
    if (rc != CTL_OK) {
        return rc;
    }
    json_t *o = json_object();
    const char *ttl = ctl_opt(&c->p, "ttl");
    set_text(o, "address", ctl_opt(&c->p, "address"));
    set_number(c, o, "port", "port");
    set_number(c, o, "weight", "weight");
    set_tags(c, o);
    set_text(o, "ttl", ttl != NULL ? ttl : ctl_opt_has(&c->p, "keep") ? "15s" : NULL);
    set_text(o, "lease", ctl_opt(&c->p, "lease"));
    set_check(c, o);
    if (ctl_opt_has(&c->p, "disabled")) {
        json_object_set_new(o, "enabled", json_false());
    }
    rc = set_meta(c, o);
    if (rc == CTL_OK) {
        *out = o;
    } else {
        json_decref(o);
    }
    return rc;
}

static void print_instance(struct ctl *c, const char *verb, const struct muster_answer *a)
{
    if (c->out.format == CTL_JSON) {
        ctl_print_json(&c->out, slice_of(a->body, a->body_len));
        return;
    }
    json_t *doc = ctl_json(a);
    if (c->out.format == CTL_PLAIN) {
        fprintf(c->out.f, "%s\n", ctl_str(doc, "id"));
    } else {
        const char *lease = ctl_str(doc, "lease");
        ctl_note(&c->out, "%s %s/%s instance %s: revision %llu%s%s", verb, ctl_str(doc, "group"),
                 ctl_str(doc, "service"), ctl_str(doc, "id"),
                 (unsigned long long)ctl_u64(doc, "revision"), lease[0] != '\0' ? ", lease " : "",
                 lease);
    }
    json_decref(doc);
}

static int keepalive_path(struct ctl *c, const char *service, const char *id, struct buf *out)
{
    struct buf b;
    buf_init(&b);
    int rc = ctl_service_path(c, service, id, &b);
    if (rc == CTL_OK) {
        const uint8_t *q = memchr(b.p, '?', b.len);
        buf_append(out, b.p, (size_t)(q - b.p));
        buf_append_str(out, "/keepalive");
        buf_append(out, q, b.len - (size_t)(q - b.p));
    }
    buf_fini(&b);
    return rc;
}

/* Until interrupted. A registration that ran out is made again; other failures are told and tried
 * again. */
static int keep(struct ctl *c, const struct buf *path, const char *id, json_t *body)
{
    struct buf alive;
    int64_t ttl = ctl_opt_has(&c->p, "ttl") ? ctl_opt_ms(&c->p, "ttl") : KEEP_TTL_MS;
    buf_init(&alive);
    int rc = keepalive_path(c, c->p.args[0], id, &alive);
    fflush(c->out.f);
    while (rc == CTL_OK) {
        ctl_sleep_ms(ttl / 3);
        if (ctl_is_interrupted()) {
            break;
        }
        if (ctl_send(c, "POST", &alive, NULL, NULL) == CTL_NOT_FOUND) {
            ctl_say(CTL_OK, "it was gone: registering it again");
            ctl_send(c, "PUT", path, json_incref(body), NULL);
        }
    }
    buf_fini(&alive);
    rc = ctl_send(c, "DELETE", path, NULL, NULL);
    if (rc == CTL_OK) {
        ctl_note(&c->out, "deregistered %s", id);
    }
    return rc == CTL_OK ? CTL_INTERRUPTED : rc;
}

int ctl_service_register(struct ctl *c)
{
    struct buf path;
    struct muster_answer *a;
    char id[600];
    json_t *body;
    int rc = registration(c, &body);
    if (rc != CTL_OK) {
        return rc;
    }
    if (ctl_opt(&c->p, "id") != NULL) {
        snprintf(id, sizeof(id), "%s", ctl_opt(&c->p, "id"));
    } else {
        snprintf(id, sizeof(id), "%.500s:%s", ctl_opt(&c->p, "address"), ctl_opt(&c->p, "port"));
    }
    buf_init(&path);
    rc = ctl_service_path(c, c->p.args[0], id, &path);
    if (rc == CTL_OK && ctl_opt_has(&c->p, "keep")) {
        ctl_catch_signals(0);
    }
    if (rc == CTL_OK) {
        rc = ctl_send(c, "PUT", &path, json_incref(body), &a);
    }
    if (rc == CTL_OK) {
        print_instance(c, "registered", a);
        muster_answer_free(a);
        rc = ctl_opt_has(&c->p, "keep") ? keep(c, &path, id, body) : CTL_OK;
    }
    json_decref(body);
    buf_fini(&path);
    return rc;
}

int ctl_service_patch(struct ctl *c)
{
    struct buf path;
    struct muster_answer *a;
    const char *enabled = ctl_opt(&c->p, "enabled"), *healthy = ctl_opt(&c->p, "healthy");
    json_t *o = json_object();
    set_text(o, "address", ctl_opt(&c->p, "address"));
    set_number(c, o, "port", "port");
    set_number(c, o, "weight", "weight");
    set_tags(c, o);
    if (enabled != NULL) {
        json_object_set_new(o, "enabled", json_boolean(strcmp(enabled, "true") == 0));
    }
    if (healthy != NULL) {
        json_object_set_new(o, "healthy", json_boolean(strcmp(healthy, "true") == 0));
    }
    int rc = set_meta(c, o);
    if (rc == CTL_OK && json_object_size(o) == 0) {
        rc = ctl_say(CTL_USAGE, "nothing to change; see musterctl service patch --help");
    }
    buf_init(&path);
    if (rc == CTL_OK) {
        rc = ctl_service_path(c, c->p.args[0], c->p.args[1], &path);
    }
    if (rc == CTL_OK) {
        rc = ctl_send(c, "PATCH", &path, json_incref(o), &a);
    }
    if (rc == CTL_OK) {
        print_instance(c, "changed", a);
        muster_answer_free(a);
    }
    json_decref(o);
    buf_fini(&path);
    return rc;
}

/* --- deregister, keepalive --- */

int ctl_service_deregister(struct ctl *c)
{
    struct buf path;
    buf_init(&path);
    int rc = ctl_service_path(c, c->p.args[0], c->p.args[1], &path);
    if (rc == CTL_OK) {
        rc = ctl_send(c, "DELETE", &path, NULL, NULL);
    }
    if (rc == CTL_OK) {
        ctl_note(&c->out, "deregistered %s of %s", c->p.args[1], c->p.args[0]);
        if (c->out.format == CTL_JSON) {
            fprintf(c->out.f, "{\"deregistered\":true}\n");
        }
    }
    buf_fini(&path);
    return rc;
}

/* One keep-alive; gives the ttl. */
static int keepalive_once(struct ctl *c, const struct buf *path, int64_t *out_ttl_ms)
{
    struct muster_answer *a;
    int rc = ctl_send(c, "POST", path, NULL, &a);
    if (rc != CTL_OK) {
        return rc;
    }
    json_t *doc = ctl_json(a);
    const char *ttl = ctl_str(doc, "ttl");
    text_duration_ms(slice_str(ttl), INT64_MAX / 4, out_ttl_ms);
    if (c->out.format == CTL_JSON) {
        ctl_print_json(&c->out, slice_of(a->body, a->body_len));
    } else if (c->out.format == CTL_TABLE) {
        ctl_note(&c->out, "kept alive for %s", ttl);
    }
    json_decref(doc);
    muster_answer_free(a);
    return ctl_out_flush(&c->out) == 0 ? CTL_OK : CTL_FAILED;
}

int ctl_service_keepalive(struct ctl *c)
{
    struct buf path;
    int64_t ttl_ms = KEEP_TTL_MS;
    buf_init(&path);
    int rc = keepalive_path(c, c->p.args[0], c->p.args[1], &path);
    if (rc == CTL_OK && ctl_opt_has(&c->p, "loop")) {
        ctl_catch_signals(0);
    }
    if (rc == CTL_OK) {
        rc = keepalive_once(c, &path, &ttl_ms);
    }
    while (rc == CTL_OK && ctl_opt_has(&c->p, "loop")) {
        ctl_sleep_ms(ttl_ms / 3);
        if (ctl_is_interrupted()) {
            rc = CTL_INTERRUPTED;
            break;
        }
        /* A cluster without a leader for a moment is no reason to give up. */
        int now = keepalive_once(c, &path, &ttl_ms);
        rc = now == CTL_UNREACHABLE || now == CTL_UNKNOWN ? CTL_OK : now;
    }
    buf_fini(&path);
    return rc;
}
