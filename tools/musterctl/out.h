/* SPDX-License-Identifier: Apache-2.0 */
/* What musterctl prints: tables for people, JSON for programs, values for pipes.
 *
 * Everything that comes from the cluster may be hostile: control characters, bytes that are not
 * UTF-8 and marks that turn the direction of text are escaped wherever a person or a table reads
 * them. */
#pragma once

#include <stdio.h>

#include "base/buf.h"

enum ctl_format { CTL_TABLE, CTL_JSON, CTL_PLAIN };
enum ctl_colour { CTL_NO_COLOUR, CTL_RED, CTL_GREEN, CTL_YELLOW, CTL_BLUE, CTL_BOLD, CTL_DIM };

struct ctl_out {
    FILE *f;
    enum ctl_format format;
    int is_tty;
    int is_colour;
    int is_quiet;
    unsigned width;  /* columns of the terminal; 0 = no limit */
    int is_progress; /* a progress line stands on stderr's terminal */
};

/* is_colour_wanted 0: never. Looks at f, NO_COLOR, TERM, COLUMNS. */
void ctl_out_init(struct ctl_out *o, FILE *f, enum ctl_format format, int is_colour_wanted);
/* 0, or the sentence has been said: writing failed. A closed pipe ends the process as SIGPIPE does.
 */
int ctl_out_flush(struct ctl_out *o);

/* Columns that text takes on a terminal. */
size_t ctl_width(struct slice text);
/* Text with everything dangerous as \n, \x1b, \u202e; `keep_lines`: \n and \t stay. */
void ctl_escape(struct buf *out, struct slice text, int keep_lines);
/* A value as it is; on a terminal escaped, with a newline at the end. */
void ctl_print_value(struct ctl_out *o, struct slice value);
/* A confirmation: for people only, so not with --quiet, JSON or plain. */
void ctl_note(struct ctl_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line in any case, escaped. */
void ctl_line(struct ctl_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A JSON document as it came, with a newline. */
void ctl_print_json(struct ctl_out *o, struct slice doc);
/* "" when there is no colour. */
const char *ctl_colour(const struct ctl_out *o, enum ctl_colour colour);
const char *ctl_colour_end(const struct ctl_out *o);

/* A line on stderr that is written over, only on a terminal; done: cleared. */
void ctl_progress(struct ctl_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ctl_progress_end(struct ctl_out *o);
/* "12.3 MiB" */
void ctl_format_bytes(uint64_t n, char out[16]);

/* --- grid.c --- */

enum { CTL_COLUMNS_MAX = 16 };

struct ctl_cell {
    char *text; /* escaped */
    enum ctl_colour colour;
};

struct ctl_grid {
    size_t n_columns, n_cells, cap;
    const char *const *heads; /* "" ends with '>' (as in "PORT>"): right-aligned */
    struct ctl_cell *cells;
};

void ctl_grid_init(struct ctl_grid *g, const char *const *heads, size_t n_columns);
void ctl_grid_fini(struct ctl_grid *g);
void ctl_grid_text(struct ctl_grid *g, const char *text);
void ctl_grid_colour(struct ctl_grid *g, enum ctl_colour colour, const char *text);
void ctl_grid_u64(struct ctl_grid *g, uint64_t v);
/* A time of the API; people are spared its milliseconds. */
void ctl_grid_time(struct ctl_grid *g, const struct ctl_out *o, const char *time);
/* Columns of equal width with heads, fitted to the terminal; plain: tabs and no heads. */
void ctl_grid_print(const struct ctl_grid *g, struct ctl_out *o);
