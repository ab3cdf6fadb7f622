/* SPDX-License-Identifier: Apache-2.0 */
/* GET /watch: changes as server-sent events.
 *
 *   GATE -> PUMP: read changes from next_rev in small slices, one message per revision
 *             |  ^ drained              \ all read
 *        full v  |                       v
 *           BLOCKED                     ARMED on the hub --fired--> PUMP
 *
 * One number, next_rev, says where the stream is: the hub fires when something at or after it
 * changed, the pump reads exactly from it. So nothing is missed or told twice, and a slow client
 * costs no memory: it is simply behind. The hub holds the subscription while ARMED; ending waits
 * until it has given it back. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"
#include "server/api/api_impl.h"

enum {
    WATCH_PATTERNS_MAX = 1000,
    SLICE_CHANGES = 16, /* read per turn: with 64 KiB of content each this stays near 1 MiB */
    PROGRESS_MS = 10000,
    PROGRESS_MIN_MS = 1000,
    PROGRESS_MAX_MS = 600000,
};

struct watch {
    struct http_req *r;
    struct api *api;
    struct core_read gate;
    struct sub sub;
    struct worker_timer progress;
    struct key_range *ranges;
    struct api_ask *asks; /* one for each range; NULL without access control */
    size_t n_ranges;
    char spaces[3];
    mu_rev next_rev;
    int64_t progress_ms;
    enum { WATCH_PUMP, WATCH_BLOCKED, WATCH_ARMED, WATCH_ENDING } state;
    int is_begun;
    /* the message being built */
    struct buf msg;
    struct jw w;
    mu_rev msg_rev;
};

/* --- patterns --- */

static int add_range(struct watch *t, struct buf *key, int is_prefix, char space,
                     const struct api_ask *ask)
{
    if (t->n_ranges == WATCH_PATTERNS_MAX) {
        http_respond_error(t->r, MU_E_BAD_REQUEST,
                           "at most %d patterns may be watched in one stream", WATCH_PATTERNS_MAX);
        return -1;
    }
    t->ranges[t->n_ranges] =
        (struct key_range){.key = api_keep(t->r, buf_slice(key)), .is_prefix = is_prefix};
    if (t->asks != NULL) {
        t->asks[t->n_ranges] = *ask;
    }
    t->n_ranges++;
    if (strchr(t->spaces, space) == NULL) {
        t->spaces[strlen(t->spaces)] = space;
    }
    return 0;
}

/* [group/]name[*] */
static int add_pattern(struct watch *t, struct slice ns, struct slice p, char space)
{
    struct slice group = SLICE_LIT("DEFAULT_GROUP");
    const uint8_t *slash = memchr(p.p, '/', p.len);
    if (slash != NULL) {
        group = slice_of(p.p, (size_t)(slash - p.p));
        p = slice_of(slash + 1, (size_t)(p.p + p.len - slash) - 1);
    }
    int is_prefix = p.len > 0 && p.p[p.len - 1] == '*';
    p.len -= (size_t)is_prefix;
    if (!text_is_name(group, KEY_NAME_MAX) || (!is_prefix && p.len == 0) ||
        (p.len > 0 && !text_is_name(p, KEY_CONFIG_MAX))) {
        http_respond_error(
            t->r, MU_E_BAD_REQUEST,
            "a pattern is [group/]name or [group/]prefix*, without control characters");
        return -1;
    }
    struct api_ask ask = {
        .kind = ACCESS_SERVICE, .name = p, .is_prefix = is_prefix, .right = ACCESS_READ};
    if (space == SPACE_CONFIG) {
        ask.kind = ACCESS_CONFIG;
        ask.name = api_config_rule_name(t->r, &(struct config_name){ns, group, p});
    }
    if (api_may(t->r, t->api, &ask, 1) != 0) {
        return -1;
    }
    struct buf key;
    buf_init(&key);
    if (space == SPACE_CONFIG && is_prefix) {
        key_config_prefix(&key, ns, group, p);
    } else if (space == SPACE_CONFIG) {
        key_config(&key, &(struct config_name){ns, group, p});
    } else {
        /* The instances of one service, or of all services whose name starts so: a prefix either
         * way. */
        key_instance_prefix(&key, &(struct service_name){ns, group, p});
        key.len -= (size_t)is_prefix; /* without the separator after the name */
    }
    int rc = add_range(t, &key, is_prefix || space == SPACE_INSTANCE, space, &ask);
    buf_fini(&key);
    return rc;
}

static int add_patterns(struct watch *t, struct slice ns, const char *param, char space)
{
    struct slice s;
    if (!http_query(t->r, param, &s)) {
        return 0;
    }
    while (s.len > 0) {
        const uint8_t *comma = memchr(s.p, ',', s.len);
        size_t n = comma != NULL ? (size_t)(comma - s.p) : s.len;
        if (n > 0 && add_pattern(t, ns, slice_of(s.p, n), space) != 0) {
            return -1;
        }
        n += comma != NULL;
        s = slice_of(s.p + n, s.len - n);
    }
    return 0;
}

static int is_wanted(const struct watch *t, struct slice key)
{
    for (size_t i = 0; i < t->n_ranges; i++) {
        const struct key_range *g = &t->ranges[i];
        if (g->is_prefix ? slice_has_prefix(key, g->key) : slice_eq(key, g->key)) {
            return 1;
        }
    }
    return 0;
}

/* --- messages --- */

static void message_end(struct watch *t)
{
    if (t->msg_rev != 0) {
        jw_end(&t->w);
        jw_end(&t->w);
        buf_append_str(&t->msg, "\n\n");
        t->msg_rev = 0;
    }
}

static void message_begin(struct watch *t, mu_rev rev)
{
    if (t->msg_rev == rev) {
        return;
    }
    message_end(t);
    buf_printf(&t->msg, "id: %llu\nevent: change\ndata: ", (unsigned long long)rev);
    jw_init(&t->w, &t->msg);
    jw_obj(&t->w);
    jw_key(&t->w, "revision");
    jw_u64(&t->w, rev);
    jw_key(&t->w, "events");
    jw_arr(&t->w);
    t->msg_rev = rev;
}

static void content_json(struct jw *w, struct slice content)
{
    if (content.len > API_INLINE_CONTENT_MAX) {
        jw_key(w, "content_omitted");
        jw_bool(w, 1);
    } else if (text_is_utf8(content)) {
        jw_key(w, "content");
        jw_slice(w, content);
    } else {
        jw_key(w, "content_base64");
        jw_base64(w, content);
    }
}

static void event_head(struct jw *w, const char *kind, int is_delete)
{
    jw_key(w, "type");
    jw_str(w, is_delete ? "delete" : "put");
    jw_key(w, "kind");
    jw_str(w, kind);
}

static int config_event(struct watch *t, mu_rev rev, struct slice key, struct slice row,
                        int is_delete)
{
    struct config_name n;
    struct config_row c;
    if (key_parse_config(key, &n) != 0 || config_row_decode(row, &c) != 0) {
        return MU_E_CORRUPT;
    }
    message_begin(t, rev);
    jw_obj(&t->w);
    event_head(&t->w, "config", is_delete);
    if (is_delete) {
        jw_key(&t->w, "namespace");
        jw_slice(&t->w, n.ns);
        jw_key(&t->w, "group");
        jw_slice(&t->w, n.group);
        jw_key(&t->w, "key");
        jw_slice(&t->w, n.key);
        jw_key(&t->w, "revision");
        jw_u64(&t->w, rev);
    } else {
        c.meta.mod_rev = rev;
        api_config_json(&t->w, &n, &c, 1);
        content_json(&t->w, c.content);
    }
    jw_end(&t->w);
    return 0;
}

static int instance_event(struct watch *t, mu_rev rev, struct slice key, struct slice row,
                          int is_delete)
{
    struct instance_name n;
    struct instance_row i;
    if (key_parse_instance(key, &n) != 0 || (!is_delete && instance_row_decode(row, &i) != 0)) {
        return MU_E_CORRUPT;
    }
    message_begin(t, rev);
    jw_obj(&t->w);
    event_head(&t->w, "instance", is_delete);
    if (is_delete) {
        api_instance_name_json(&t->w, &n);
        jw_key(&t->w, "revision");
        jw_u64(&t->w, rev);
    } else {
        jw_key(&t->w, "instance");
        api_instance_json(&t->w, &n, &i);
    }
    jw_end(&t->w);
    return 0;
}

static int on_change(void *arg, mu_rev rev, uint32_t sub, struct slice key, struct slice row,
                     int is_delete)
{
    struct watch *t = arg;
    (void)sub;
    if (!is_wanted(t, key)) {
        return 0;
    }
    return key.p[0] == SPACE_CONFIG ? config_event(t, rev, key, row, is_delete)
                                    : instance_event(t, rev, key, row, is_delete);
}

static void put_progress(struct watch *t, mu_rev rev)
{
    buf_printf(&t->msg, "id: %llu\nevent: progress\ndata: {\"revision\":%llu}\n\n",
               (unsigned long long)rev, (unsigned long long)rev);
}

/* --- the pump --- */

static void watch_end(struct watch *t)
{
    worker_timer_stop(http_worker(t->r), &t->progress);
    buf_fini(&t->msg);
    http_stream_end(t->r);
}

static void watch_compacted(struct watch *t)
{
    buf_clear(&t->msg);
    buf_printf(&t->msg, "event: compacted\ndata: {\"code\":\"COMPACTED\"}\n\n");
    http_stream_write(t->r, buf_slice(&t->msg));
    t->state = WATCH_ENDING;
    watch_end(t);
}

static void watch_arm(struct watch *t)
{
    t->state = WATCH_ARMED;
    t->sub.next_rev = t->next_rev;
    hub_arm(core_hub(t->api->core), &t->sub);
}

/* Whether the caller still may: a stream outlives many a token. */
static int is_allowed(struct watch *t, struct view *v)
{
    struct err e = {0};
    return t->asks == NULL || api_allowed(t->r, t->api, v, t->asks, t->n_ranges, &e) == 0;
}

/* Read one slice; 1 = there is more to read. Negative: the stream is ended. */
static int pump_slice(struct watch *t)
{
    mu_rev next = t->next_rev;
    buf_clear(&t->msg);
    struct view *v = view_open(core_store(t->api->core));
    mu_rev head = view_revision(v);
    if (!is_allowed(t, v)) {
        view_close(v);
        t->state = WATCH_ENDING;
        watch_end(t);
        return -1;
    }
    int rc = view_changes(v, t->spaces, t->next_rev, SLICE_CHANGES, on_change, t, &next);
    view_close(v);
    if (rc < 0) {
        watch_compacted(t);
        return -1;
    }
    message_end(t);
    t->next_rev = next;
    return next <= head;
}

static void pump(struct watch *t)
{
    struct core_glance look;
    core_glance(t->api->core, &look);
    if (http_is_gone(t->r) || look.is_draining) {
        t->state = WATCH_ENDING;
        watch_end(t);
        return;
    }
    t->state = WATCH_PUMP;
    for (;;) {
        int more = pump_slice(t);
        if (more < 0) {
            return;
        }
        if (t->msg.len > 0) {
            worker_timer_start(http_worker(t->r), &t->progress, t->progress_ms);
            if (!http_stream_write(t->r, buf_slice(&t->msg))) {
                t->state = WATCH_BLOCKED;
                buf_fini(&t->msg); /* what was written was copied */
                buf_init(&t->msg);
                return;
            }
        }
        if (!more) {
            break;
        }
    }
    buf_fini(&t->msg); /* an idle stream holds no memory */
    buf_init(&t->msg);
    watch_arm(t);
}

static void on_drained(struct http_req *r)
{
    struct watch *t = http_data(r);
    if (t->state == WATCH_BLOCKED) {
        pump(t);
    }
}

static void on_fired(struct sub *s)
{
    struct watch *t = CONTAINER_OF(s, struct watch, sub);
    if (t->state == WATCH_ENDING) {
        watch_end(t);
        return;
    }
    pump(t);
}

static void on_abort(struct http_req *r)
{
    struct watch *t = http_data(r);
    if (t->state == WATCH_ARMED) {
        t->state = WATCH_ENDING;
        hub_cancel(core_hub(t->api->core), &t->sub);
    } else if (t->state == WATCH_BLOCKED) {
        t->state = WATCH_ENDING;
        watch_end(t);
    }
}

static void on_progress(struct worker_timer *timer)
{
    struct watch *t = CONTAINER_OF(timer, struct watch, progress);
    worker_timer_start(http_worker(t->r), &t->progress, t->progress_ms);
    if (t->state == WATCH_ARMED && !is_allowed(t, NULL)) {
        t->state = WATCH_ENDING;
        hub_cancel(core_hub(t->api->core), &t->sub);
    } else if (t->state == WATCH_ARMED) {
        /* Everything below next_rev was sent, and the hub has not fired: the mark is true. */
        put_progress(t, t->next_rev - 1);
        http_stream_write(t->r, buf_slice(&t->msg));
        buf_clear(&t->msg);
    }
}

/* --- start --- */

static void compact_member(struct jw *w, void *arg)
{
    jw_key(w, "compact_revision");
    jw_u64(w, *(mu_rev *)arg);
}

/* Is `from` still kept in every space that is watched? */
static mu_rev compacted_at(struct watch *t, struct view *v)
{
    mu_rev floor = 0;
    for (const char *s = t->spaces; *s != '\0'; s++) {
        mu_rev c = view_compacted(v, (uint8_t)*s);
        floor = c > floor ? c : floor;
    }
    return floor;
}

static void stream_begin(struct watch *t)
{
    struct http_req *r = t->r;
    http_add_header(r, "Cache-Control", "no-cache");
    http_add_header(r, "X-Accel-Buffering", "no");
    http_set_data(r, t);
    http_on_abort(r, on_abort);
    http_stream_begin(r, 200, "text/event-stream");
    http_stream_on_drain(r, on_drained);
    t->is_begun = 1;
    t->progress.fire = on_progress;
    worker_timer_start(http_worker(r), &t->progress, t->progress_ms);
    put_progress(t, t->next_rev - 1);
    http_stream_write(r, buf_slice(&t->msg));
    http_park(r);
    pump(t);
}

static void gate_done(struct core_request *q)
{
    struct watch *t = CONTAINER_OF(q, struct watch, gate.q);
    if (q->code != 0) {
        api_fail(t->r, q->code, &q->err);
        return;
    }
    struct view *v = view_open(core_store(t->api->core));
    mu_rev head = view_revision(v);
    mu_rev floor = compacted_at(t, v);
    view_close(v);
    if (t->next_rev == 0) {
        t->next_rev = head + 1;
    }
    if (t->next_rev > head + 1) {
        http_respond_error(t->r, MU_E_FUTURE_REVISION,
                           "revision %llu is not written yet; the newest is %llu",
                           (unsigned long long)t->next_rev, (unsigned long long)head);
        return;
    }
    if (t->next_rev <= floor) {
        http_respond_problem(
            t->r, MU_E_COMPACTED,
            "the revision to resume from is no longer kept; read the current state and watch from there",
            compact_member, &floor);
        return;
    }
    api_headers(t->r, t->api, head, READ_LINEAR);
    stream_begin(t);
}

static int parse_from(struct watch *t)
{
    struct slice s;
    mu_rev rev;
    if (http_header(t->r, "last-event-id", &s) && s.len > 0) {
        if (text_u64(s, UINT64_MAX - 1, &rev) != 0) {
            http_respond_error(
                t->r, MU_E_BAD_REQUEST,
                "Last-Event-ID must be the id of a message of this stream: a revision");
            return -1;
        }
        t->next_rev = rev + 1;
        return 0;
    }
    if (http_query(t->r, "from", &s)) {
        if (text_u64(s, UINT64_MAX - 1, &rev) != 0 || rev == 0) {
            http_respond_error(t->r, MU_E_BAD_REQUEST, "from must be a revision, a number from 1");
            return -1;
        }
        t->next_rev = rev;
    }
    return 0;
}

static int parse_progress(struct watch *t)
{
    struct slice s;
    t->progress_ms = PROGRESS_MS;
    if (http_query(t->r, "progress", &s) &&
        (text_duration_ms(s, PROGRESS_MAX_MS, &t->progress_ms) != 0 ||
         t->progress_ms < PROGRESS_MIN_MS)) {
        http_respond_error(t->r, MU_E_BAD_REQUEST, "progress must be a duration from 1s to 10m");
        return -1;
    }
    return 0;
}

void api_watch(struct http_req *r, void *arg)
{
    static const char *const known[] = {"namespace", "services", "configs",
                                        "from",      "progress", NULL};
    struct watch *t = http_alloc(r, sizeof(*t));
    struct slice ns;
    memset(t, 0, sizeof(*t));
    t->r = r;
    t->api = api_of(arg);
    buf_init(&t->msg);
    if (api_known_query(r, known) != 0 || api_namespace(r, &ns) != 0 || parse_from(t) != 0 ||
        parse_progress(t) != 0) {
        return;
    }
    t->ranges = http_alloc(r, WATCH_PATTERNS_MAX * sizeof(*t->ranges));
    if (access_is_enabled(t->api->access)) {
        t->asks = http_alloc(r, WATCH_PATTERNS_MAX * sizeof(*t->asks));
    }
    if (add_patterns(t, ns, "services", SPACE_INSTANCE) != 0 ||
        add_patterns(t, ns, "configs", SPACE_CONFIG) != 0) {
        return;
    }
    if (t->n_ranges == 0) {
        http_respond_error(r, MU_E_BAD_REQUEST,
                           "watch needs ?services= or ?configs= with at least one pattern");
        return;
    }
    t->sub = (struct sub){.reply = worker_mailbox(http_worker(r)),
                          .fired = on_fired,
                          .ranges = t->ranges,
                          .n_ranges = t->n_ranges};
    t->gate.q.done = gate_done;
    t->gate.q.reply = worker_mailbox(http_worker(r));
    core_read_gate(t->api->core, &t->gate, READ_LINEAR, t->api->timeout_ms);
}
