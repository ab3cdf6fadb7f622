/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json_write.h"
#include "base/text.h"

static _Atomic int level_stderr = LOG_INFO;
static _Atomic int level_now = LOG_INFO; /* the lowest that anybody wants */
static _Atomic int n_taps;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the taps and of level_now */
static struct log_tap *taps;
static const char *const level_names[LOG_LEVEL_N] = {"debug", "info", "warn", "error"};

/* With the lock. */
static void find_level(void)
{
    int level = atomic_load(&level_stderr);
    for (const struct log_tap *t = taps; t != NULL; t = t->next) {
        level = (int)t->level < level ? (int)t->level : level;
    }
    atomic_store(&level_now, level);
}

void log_set_level(enum log_level level)
{
    pthread_mutex_lock(&lock);
    atomic_store(&level_stderr, (int)level);
    find_level();
    pthread_mutex_unlock(&lock);
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

int log_level_from(const char *name, enum log_level *out)
{
    for (int i = 0; i < LOG_LEVEL_N; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return MU_E_BAD_REQUEST;
}

int log_is_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_field_value(struct jw *w, const struct log_field *f)
{
    switch (f->kind) {
    case LOG_K_STR:
        jw_str(w, f->s != NULL ? f->s : "");
        return;
    case LOG_K_U64:
        jw_u64(w, f->u);
        return;
    case LOG_K_I64:
        jw_i64(w, (int64_t)f->u);
        return;
    }
}

static void put_field(struct jw *w, const struct log_field *f)
{
    jw_key(w, f->name);
    log_field_value(w, f);
}

static void put_stderr(const struct log_line *line)
{
    struct buf b;
    struct jw w;
    buf_init(&b);
    jw_init(&w, &b);
    jw_obj(&w);
    put_field(&w, &LOG_STR("ts", line->time));
    put_field(&w, &LOG_STR("level", level_names[line->level]));
    put_field(&w, &LOG_STR("service", "muster"));
    put_field(&w, &LOG_STR("logger", line->logger));
    put_field(&w, &LOG_STR("msg", line->msg));
    for (size_t i = 0; i < line->n; i++) {
        put_field(&w, &line->fields[i]);
    }
    jw_end(&w);
    buf_append_byte(&b, '\n');
    ssize_t done;
    do {
        done = write(STDERR_FILENO, b.p, b.len);
    } while (done < 0 && errno == EINTR);
    /* Any other error, or a short write: there is nowhere to report it. */
    buf_fini(&b);
}

/* --- reading along --- */

/* A tap that lost a line takes no more until it was emptied: so what is lost stands in one place.
 */
static void put_tap(struct log_tap *t, const struct log_line *line)
{
    size_t before = t->lines.len;
    if (t->n_lost == 0) {
        t->render(&t->lines, line);
    }
    if (t->n_lost != 0 || t->lines.len > LOG_TAP_BYTES) {
        t->lines.len = before;
        t->n_lost++;
    }
    if (!t->is_woken) {
        t->is_woken = 1;
        t->wake(t);
    }
}

static void put_taps(const struct log_line *line)
{
    pthread_mutex_lock(&lock);
    for (struct log_tap *t = taps; t != NULL; t = t->next) {
        if (line->level >= t->level) {
            put_tap(t, line);
        }
    }
    pthread_mutex_unlock(&lock);
}

int log_tap_add(struct log_tap *t)
{
    int rc = MU_E_TOO_MANY;
    pthread_mutex_lock(&lock);
    if (atomic_load(&n_taps) < LOG_TAPS_MAX) {
        rc = 0;
        buf_init(&t->lines);
        t->n_lost = 0;
        t->is_woken = 0;
        t->next = taps;
        t->prev = &taps;
        if (taps != NULL) {
            taps->prev = &t->next;
        }
        taps = t;
        atomic_fetch_add(&n_taps, 1);
        find_level();
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

void log_tap_remove(struct log_tap *t)
{
    pthread_mutex_lock(&lock);
    *t->prev = t->next;
    if (t->next != NULL) {
        t->next->prev = t->prev;
    }
    atomic_fetch_sub(&n_taps, 1);
    find_level();
    pthread_mutex_unlock(&lock);
    buf_fini(&t->lines);
}

uint64_t log_tap_take(struct log_tap *t, struct buf *out)
{
    pthread_mutex_lock(&lock);
    uint64_t n_lost = t->n_lost;
    struct buf lines = t->lines;
    buf_init(&t->lines);
    t->n_lost = 0;
    t->is_woken = 0;
    pthread_mutex_unlock(&lock);
    buf_append_slice(out, buf_slice(&lines));
    buf_fini(&lines);
    return n_lost;
}

void log_write(enum log_level level, const char *logger, const char *msg,
               const struct log_field *fields, size_t n)
{
    char ts[32];
    struct log_line line = {
        .time = ts, .level = level, .logger = logger, .msg = msg, .fields = fields, .n = n};
    text_format_time(clock_wall_ms(), ts);
    if ((int)level >= atomic_load_explicit(&level_stderr, memory_order_relaxed)) {
        put_stderr(&line);
    }
    if (atomic_load_explicit(&n_taps, memory_order_relaxed) != 0) {
        put_taps(&line);
    }
}
