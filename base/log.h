/* SPDX-License-Identifier: Apache-2.0 */
/* Logs: one JSON object a line on stderr. Thread-safe; one write(2) per line.
 *
 *   log_info("raft", "became leader", LOG_U64("term", term), LOG_STR("node", name));
 *
 * Members: ts, level, service, logger, msg, then the fields. Control characters are escaped; values
 * of configs and secrets are never logged. Low rooms (base, storage, raft) log at debug only; the
 * room that decides what to do logs once.
 *
 * Others may read along: a tap keeps lines until its owner takes them, so many and no more. Without
 * taps a line takes no lock. */
#pragma once

#include "base/json_write.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_N };
enum log_kind { LOG_K_STR, LOG_K_U64, LOG_K_I64 };

struct log_field {
    const char *name;
    enum log_kind kind;
    const char *s;
    uint64_t u;
};

#define LOG_STR(n, v) ((struct log_field){(n), LOG_K_STR, (v), 0})
#define LOG_U64(n, v) ((struct log_field){(n), LOG_K_U64, NULL, (uint64_t)(v)})
#define LOG_I64(n, v) ((struct log_field){(n), LOG_K_I64, NULL, (uint64_t)(int64_t)(v)})

void log_set_level(enum log_level level); /* may be called at any time */
int log_level_from(const char *name, enum log_level *out);
int log_is_on(enum log_level level);
void log_write(enum log_level level, const char *logger, const char *msg,
               const struct log_field *fields, size_t n);

/* --- reading along --- */

enum {
    LOG_TAPS_MAX = 32,
    LOG_TAP_BYTES = 256 * 1024, /* what one tap keeps; further lines are lost and counted */
};

struct log_line {
    const char *time; /* RFC 3339, milliseconds */
    enum log_level level;
    const char *logger, *msg;
    const struct log_field *fields;
    size_t n;
};

struct log_tap {
    enum log_level level; /* this and above, whatever goes to stderr */
    /* Appends the line as the owner wants it. Any thread, as wake. Neither may log. */
    void (*render)(struct buf *out, const struct log_line *line);
    /* There are lines to take: once, until they are taken. */
    void (*wake)(struct log_tap *t);
    /* private */
    struct log_tap *next, **prev;
    struct buf lines;
    uint64_t n_lost;
    int is_woken;
};
/* 0, or TOO_MANY. The tap is the caller's and stays where it is until it is removed. */
int log_tap_add(struct log_tap *t);
/* After this neither render nor wake runs any more. */
void log_tap_remove(struct log_tap *t);
/* The lines since the last time, into `out`; returns how many were lost after them. */
uint64_t log_tap_take(struct log_tap *t, struct buf *out);
/* "info" */
const char *log_level_name(enum log_level level);
/* The field's value, as JSON. */
void log_field_value(struct jw *w, const struct log_field *f);

#define LOG_AT(level, logger, msg, ...)                                                    \
    do {                                                                                   \
        if (log_is_on(level)) {                                                            \
            const struct log_field log_f_[] = {{NULL, LOG_K_STR, NULL, 0}, ##__VA_ARGS__}; \
            log_write(level, logger, msg, log_f_ + 1, N_ELEMENTS(log_f_) - 1);             \
        }                                                                                  \
    } while (0)
#define log_debug(logger, msg, ...) LOG_AT(LOG_DEBUG, logger, msg, ##__VA_ARGS__)
#define log_info(logger, msg, ...)  LOG_AT(LOG_INFO, logger, msg, ##__VA_ARGS__)
#define log_warn(logger, msg, ...)  LOG_AT(LOG_WARN, logger, msg, ##__VA_ARGS__)
#define log_error(logger, msg, ...) LOG_AT(LOG_ERROR, logger, msg, ##__VA_ARGS__)
