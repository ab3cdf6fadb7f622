/* SPDX-License-Identifier: Apache-2.0 */
/* The command line against the table: which command, which options with checked values, which
 * arguments. Strings are borrowed from argv and the environment. */
#pragma once

#include "base/err.h"
#include "tools/musterctl/table.h"

enum ctl_what { CTL_RUN, CTL_HELP, CTL_VERSION, CTL_MAN };

struct ctl_set {
    const struct ctl_option *option;
    const char *value;
};

struct ctl_parsed {
    enum ctl_what what;
    const struct ctl_command *command; /* NULL with CTL_HELP: of all, or of `noun` */
    const char *noun;                  /* CTL_HELP of one noun's commands, else NULL */
    struct ctl_set *sets;              /* in the order given; the environment's first */
    size_t n_sets;
    const char **args;
    size_t n_args;
};

/* 0, or MU_E_BAD_REQUEST with a sentence that says what would be right. fini in any case. */
int ctl_parse(int argc, char **argv, struct ctl_parsed *out, struct err *e);
void ctl_parsed_fini(struct ctl_parsed *p);

/* The value that counts: the last one given, else the environment's, else the default, else NULL.
 * The name must be one of the table. */
const char *ctl_opt(const struct ctl_parsed *p, const char *name);
int ctl_opt_has(const struct ctl_parsed *p, const char *name); /* given, or a switch that is on */
uint64_t ctl_opt_u64(const struct ctl_parsed *p, const char *name); /* 0 when there is none */
int64_t ctl_opt_ms(const struct ctl_parsed *p, const char *name);   /* 0 when there is none */
/* The values of an option that may be given often, one by one; *at starts at 0. NULL at the end. */
const char *ctl_opt_next(const struct ctl_parsed *p, const char *name, size_t *at);

/* The command of that name, its option, or NULL. */
const struct ctl_command *ctl_find_command(const char *name);
const struct ctl_option *ctl_find_option(const struct ctl_command *command, struct slice name);
const struct ctl_option *ctl_find_letter(const struct ctl_command *command, char letter);
int ctl_is_noun(const char *word);
/* A word of a list separated by spaces. */
int ctl_is_choice(const char *choices, struct slice word);
