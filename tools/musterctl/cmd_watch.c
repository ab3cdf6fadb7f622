/* SPDX-License-Identifier: Apache-2.0 */
/* watch, service watch, config watch: one line per event, flushed at once. */
#include <jansson.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "tools/musterctl/cmd.h"
#include "tools/musterctl/config.h"

enum { SHOWN_MAX = 200 }; /* bytes of a content in a line */

struct watch {
    struct ctl *c;
    uint64_t left; /* events; UINT64_MAX = no limit */
    int status;
};

/* --- what is watched --- */

static void add_pattern(struct buf *list, const char *pattern)
{
    buf_append_str(list, list->len != 0 ? "," : "");
    buf_append_str(list, pattern);
}

/* "services=web,pay%2A" behind what is there. */
static void add_list(struct buf *query, const char *name, struct buf *list)
{
    struct buf b;
    if (list->len != 0) {
        buf_init(&b);
        buf_append_byte(list, '\0');
        ctl_path_param(&b, name, (const char *)list->p);
        /* Without its question mark: the library puts one. */
        buf_append_str(query, query->len != 0 ? "&" : "");
        buf_append(query, b.p + 1, b.len - 1);
        buf_fini(&b);
    }
    buf_fini(list);
}

static void query_of(struct ctl *c, char kind, struct buf *query)
{
    struct buf services, configs;
    const char *pattern;
    size_t at = 0;
    buf_init(&services);
    buf_init(&configs);
    for (size_t i = 0; i < c->p.n_args; i++) {
        add_pattern(kind == 's' ? &services : &configs, c->p.args[i]);
    }
    while ((pattern = ctl_opt_next(&c->p, "service", &at)) != NULL) {
        add_pattern(&services, pattern);
    }
    at = 0;
    while ((pattern = ctl_opt_next(&c->p, "config", &at)) != NULL) {
        add_pattern(&configs, pattern);
    }
    if (services.len == 0 && configs.len == 0) {
        if (kind != 'c') {
            add_pattern(&services, "*");
        }
        if (kind != 's') {
            add_pattern(&configs, "*");
        }
    }
    add_list(query, "services", &services);
    add_list(query, "configs", &configs);
    buf_append_byte(query, '\0');
}

/* --- lines --- */

/* The first line of a content, in quotes. */
static void shown_content(struct buf *out, const json_t *event)
{
    struct buf content;
    if (ctl_true(event, "content_omitted")) {
        buf_append_str(out, " (content left out: too long)");
        return;
    }
    buf_init(&content);
    if (ctl_json_get_content(event, &content) == 0) {
        size_t n = content.len < SHOWN_MAX ? content.len : SHOWN_MAX;
        buf_append_str(out, " \"");
        ctl_escape(out, slice_of(content.p, n), 0);
        buf_append_str(out, n < content.len ? "\"…" : "\"");
    }
    buf_fini(&content);
}

static void config_words(struct buf *b, const json_t *e, int is_delete)
{
    buf_append_str(b, "config    ");
    ctl_escape(b, slice_str(ctl_str(e, "group")), 0);
    buf_append_byte(b, '/');
    ctl_escape(b, slice_str(ctl_str(e, "key")), 0);
    if (!is_delete) {
        buf_printf(b, " version %llu", (unsigned long long)ctl_u64(e, "version"));
        shown_content(b, e);
    }
}

/* The event's own members, or those of the instance document in it. */
static void instance_words(struct buf *b, const json_t *e, int is_delete)
{
    const json_t *nested = json_object_get(e, "instance");
    const json_t *o = nested != NULL ? nested : e;
    buf_append_str(b, "instance  ");
    ctl_escape(b, slice_str(ctl_str(o, "group")), 0);
    buf_append_byte(b, '/');
    ctl_escape(b, slice_str(ctl_str(o, "service")), 0);
    buf_append_byte(b, ' ');
    ctl_escape(b, slice_str(ctl_str(o, "id")), 0);
    if (!is_delete) {
        buf_append_byte(b, ' ');
        ctl_escape(b, slice_str(ctl_str(o, "address")), 0);
        buf_printf(b, ":%llu %s%s", (unsigned long long)ctl_u64(o, "port"),
                   ctl_true(o, "healthy") ? "healthy" : "unhealthy",
                   ctl_true(o, "enabled") ? "" : " disabled");
    }
}

static void event_line(struct ctl_out *o, const json_t *e)
{
    struct buf b;
    const char *type = ctl_str(e, "type");
    int is_delete = strcmp(type, "delete") == 0;
    char revision[24];
    snprintf(revision, sizeof(revision), "%llu", (unsigned long long)ctl_u64(e, "revision"));
    buf_init(&b);
    if (strcmp(ctl_str(e, "kind"), "config") == 0) {
        config_words(&b, e, is_delete);
    } else {
        instance_words(&b, e, is_delete);
    }
    fprintf(o->f, "%s%8s%s  %s%-6s%s  %.*s\n", ctl_colour(o, CTL_DIM), revision,
            o->is_colour ? ctl_colour_end(o) : "", ctl_colour(o, is_delete ? CTL_RED : CTL_GREEN),
            is_delete ? "delete" : "put", ctl_colour_end(o), SLICE_FMT(buf_slice(&b)));
    buf_fini(&b);
}

static void event_plain(struct ctl_out *o, const json_t *e)
{
    struct ctl_grid g;
    const json_t *nested = json_object_get(e, "instance");
    const json_t *n = nested != NULL ? nested : e;
    int is_config = strcmp(ctl_str(e, "kind"), "config") == 0;
    ctl_grid_init(&g, NULL, 6);
    ctl_grid_u64(&g, ctl_u64(e, "revision"));
    ctl_grid_text(&g, ctl_str(e, "type"));
    ctl_grid_text(&g, ctl_str(e, "kind"));
    ctl_grid_text(&g, ctl_str(n, "group"));
    ctl_grid_text(&g, ctl_str(n, is_config ? "key" : "service"));
    ctl_grid_text(&g, ctl_str(n, "id"));
    ctl_grid_print(&g, o);
    ctl_grid_fini(&g);
}

static void print_event(struct ctl_out *o, json_t *e, uint64_t revision)
{
    if (json_object_get(e, "revision") == NULL) {
        json_object_set_new(e, "revision", json_integer((json_int_t)revision));
    }
    if (o->format == CTL_JSON) {
        json_dumpf(e, o->f, JSON_COMPACT);
        fputc('\n', o->f);
    } else if (o->format == CTL_PLAIN) {
        event_plain(o, e);
    } else {
        event_line(o, e);
    }
}

static int on_event(void *user, const struct muster_event *event)
{
    struct watch *w = user;
    struct ctl_out *o = &w->c->out;
    if (strcmp(event->type, "change") != 0) {
        return 0;
    }
    json_t *doc = json_loadb(event->data, event->len, 0, NULL);
    const json_t *events = json_object_get(doc, "events");
    if (events == NULL) {
        json_decref(doc);
        w->status = ctl_say(CTL_FAILED, "a message of the stream cannot be read");
        return -1;
    }
    for (size_t i = 0; i < json_array_size(events) && w->left != 0; i++) {
        print_event(o, json_array_get(events, i), event->revision);
        w->left -= w->left != UINT64_MAX;
    }
    json_decref(doc);
    if (ctl_out_flush(o) != 0) {
        w->status = CTL_FAILED;
        return -1;
    }
    return w->left == 0;
}

static int follow(struct ctl *c, char kind)
{
    struct watch w = {.c = c, .left = UINT64_MAX};
    struct muster_error e = {0};
    struct buf query;
    json_t *cluster;
    /* A stream waits for the cluster as long as it takes; somebody at a terminal wants to know at
     * once that there is none. */
    buf_init(&query);
    buf_append_str(&query, "/cluster");
    int rc = ctl_get_json(c, &query, "", &cluster);
    buf_fini(&query);
    if (rc != CTL_OK) {
        return rc;
    }
    json_decref(cluster);
    c->is_talkative = !c->out.is_quiet;
    if (ctl_opt_has(&c->p, "count")) {
        w.left = ctl_opt_u64(&c->p, "count");
    }
    buf_init(&query);
    query_of(c, kind, &query);
    ctl_catch_signals(1);
    muster_status s =
        muster_watch(c->m, (const char *)query.p, ctl_opt_u64(&c->p, "from"), on_event, &w, &e);
    buf_fini(&query);
    if (s == MUSTER_OK) {
        return w.status;
    }
    return ctl_say(ctl_status_of(&e), "%s%s", e.text,
                   s == MUSTER_COMPACTED && strcmp(e.code, "FUTURE_REVISION") != 0
                       ? "; begin anew without --from, after reading what is there"
                       : "");
}

int ctl_service_watch(struct ctl *c)
{
    return follow(c, 's');
}

int ctl_config_watch(struct ctl *c)
{
    return follow(c, 'c');
}

int ctl_watch(struct ctl *c)
{
    return follow(c, 'b');
}
