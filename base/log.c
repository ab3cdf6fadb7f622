/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json_write.h"
#include "base/text.h"

static _Atomic int level_now = LOG_INFO;
static const char *const level_names[LOG_LEVEL_N] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
    atomic_store(&level_now, (int)level);
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

static void put_field(struct jw *w, const struct log_field *f)
{
    jw_key(w, f->name);
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

void log_write(enum log_level level, const char *logger, const char *msg,
               const struct log_field *fields, size_t n)
{
    struct buf b;
    struct jw w;
    char ts[32];
    buf_init(&b);
    text_format_time(clock_wall_ms(), ts);
    jw_init(&w, &b);
    jw_obj(&w);
    put_field(&w, &LOG_STR("ts", ts));
    put_field(&w, &LOG_STR("level", level_names[level]));
    put_field(&w, &LOG_STR("service", "muster"));
    put_field(&w, &LOG_STR("logger", logger));
    put_field(&w, &LOG_STR("msg", msg));
    for (size_t i = 0; i < n; i++) {
        put_field(&w, &fields[i]);
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
