/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/agent/monitor: what this node logs, as it is logged, until the client goes
 * (https://developer.hashicorp.com/consul/api-docs/agent#stream-logs).
 *
 * The log keeps lines for us in a tap and wakes us by mail; here they are taken and written. While
 * the client is slow nothing is taken: then the tap is full one day, and what it lost is told where
 * it is missing. */
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "server/consul/consul_impl.h"

struct monitor {
    struct http_req *r;
    struct consul *c;
    struct log_tap tap;
    struct mailbox *reply; /* of the request's worker: all that others touch of it */
    struct mail_job job;
    _Atomic int is_posted; /* job is in the mailbox */
    int is_blocked;        /* the client is slow */
    int is_ending;
};

/* --- lines, as Consul's look --- */

/* A value that could be taken for more than one word, or end the line, is quoted. */
static void put_value(struct jw *w, const struct log_field *f)
{
    const char *s = f->kind == LOG_K_STR && f->s != NULL ? f->s : "";
    int is_plain = s[0] != '\0';
    for (const char *p = s; *p != '\0' && is_plain; p++) {
        is_plain = *p > ' ' && *p < 0x7f && *p != '"' && *p != '\\' && *p != '=';
    }
    if (f->kind == LOG_K_STR && is_plain) {
        buf_append_str(w->out, s);
    } else {
        log_field_value(w, f);
    }
}

static void render_text(struct buf *out, const struct log_line *line)
{
    static const char *const levels[LOG_LEVEL_N] = {"[DEBUG]", "[INFO] ", "[WARN] ", "[ERROR]"};
    struct jw w;
    buf_printf(out, "%s %s %s: %s", line->time, levels[line->level], line->logger, line->msg);
    for (size_t i = 0; i < line->n; i++) {
        buf_printf(out, "%s %s=", i == 0 ? ":" : "", line->fields[i].name);
        jw_init(&w, out);
        put_value(&w, &line->fields[i]);
    }
    buf_append_byte(out, '\n');
}

static void put_member(struct jw *w, const char *name, const char *text)
{
    jw_key(w, name);
    jw_str(w, text);
}

static void render_json(struct buf *out, const struct log_line *line)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    put_member(&w, "@level", log_level_name(line->level));
    put_member(&w, "@message", line->msg);
    put_member(&w, "@module", line->logger);
    put_member(&w, "@timestamp", line->time);
    for (size_t i = 0; i < line->n; i++) {
        jw_key(&w, line->fields[i].name);
        log_field_value(&w, &line->fields[i]);
    }
    jw_end(&w);
    buf_append_byte(out, '\n');
}

/* --- the stream --- */

static void put_lost(struct monitor *m, struct buf *out, uint64_t n_lost)
{
    char now[32];
    struct log_field field = LOG_U64("lines", n_lost);
    struct log_line line = {.time = now,
                            .level = LOG_WARN,
                            .logger = "monitor",
                            .msg = "lines were lost: the client is slow",
                            .fields = &field,
                            .n = 1};
    text_format_time(clock_wall_ms(), now);
    m->tap.render(out, &line);
}

/* Whether the client still may: a stream outlives many a token. */
static int is_allowed(struct monitor *m)
{
    struct consul_call k = {.r = m->r, .c = m->c};
    return consul_who(&k) == 0 &&
           access_allows(k.who, ACCESS_AGENT, slice_str(core_node_name(m->c->core)), ACCESS_READ);
}

/* The client is gone or may no more, or the server stops. */
static void end(struct http_req *r)
{
    struct monitor *m = http_data(r);
    if (m->is_ending) {
        return;
    }
    log_tap_remove(&m->tap);
    m->is_ending = 1;
    if (!atomic_load(&m->is_posted)) {
        http_stream_end(r);
    }
}

static void pump(struct monitor *m)
{
    struct buf lines;
    if (!is_allowed(m)) {
        end(m->r);
        return;
    }
    buf_init(&lines);
    uint64_t n_lost = log_tap_take(&m->tap, &lines);
    if (n_lost != 0) {
        put_lost(m, &lines, n_lost);
    }
    m->is_blocked = !http_stream_write(m->r, buf_slice(&lines));
    buf_fini(&lines);
}

static void on_mail(struct mail_job *job)
{
    struct monitor *m = CONTAINER_OF(job, struct monitor, job);
    atomic_store(&m->is_posted, 0);
    if (m->is_ending) {
        http_stream_end(m->r);
    } else if (!m->is_blocked) {
        pump(m);
    }
}

static void on_drained(struct http_req *r)
{
    struct monitor *m = http_data(r);
    if (m->is_blocked && !m->is_ending) {
        pump(m);
    }
}

static void on_line(struct log_tap *t)
{
    struct monitor *m = CONTAINER_OF(t, struct monitor, tap);
    if (!atomic_exchange(&m->is_posted, 1)) {
        mailbox_send(m->reply, &m->job.mail);
    }
}

/* --- start --- */

static int level_of(struct slice name, enum log_level *out)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {{"trace", LOG_DEBUG}, {"debug", LOG_DEBUG}, {"info", LOG_INFO},
                  {"warn", LOG_WARN},   {"err", LOG_ERROR},   {"error", LOG_ERROR}};
    for (size_t i = 0; i < N_ELEMENTS(levels); i++) {
        if (strlen(levels[i].name) == name.len &&
            strncasecmp(levels[i].name, (const char *)name.p, name.len) == 0) {
            *out = levels[i].level;
            return 0;
        }
    }
    return MU_E_BAD_REQUEST;
}

void consul_agent_monitor(struct consul_call *k)
{
    struct monitor *m = http_alloc(k->r, sizeof(*m));
    struct slice level;
    memset(m, 0, sizeof(*m));
    m->r = k->r;
    m->c = k->c;
    m->tap.level = LOG_INFO;
    m->tap.render = consul_flag(k->r, "logjson") ? render_json : render_text;
    m->tap.wake = on_line;
    m->job.run = on_mail;
    m->reply = worker_mailbox(http_worker(k->r));
    if (!consul_may(k, ACCESS_AGENT, slice_str(core_node_name(k->c->core)), ACCESS_READ)) {
        return;
    }
    if (http_query(k->r, "loglevel", &level) && level.len > 0 &&
        level_of(level, &m->tap.level) != 0) {
        consul_text(k->r, 400, "Unknown log level: %.*s", (int)(level.len < 100 ? level.len : 100),
                    (const char *)level.p);
        return;
    }
    if (log_tap_add(&m->tap) != 0) {
        consul_text(k->r, 429, "This node's log is streamed to %d clients already", LOG_TAPS_MAX);
        return;
    }
    http_set_data(k->r, m);
    http_on_abort(k->r, end);
    http_stream_begin(k->r, 200, "text/plain; charset=utf-8");
    http_stream_on_drain(k->r, on_drained);
    http_park(k->r);
}
