/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of commands, options and arguments. From it follow parsing (parse.h), --help and
 * the manual page (help.c), and what a shell completes (complete.c).
 *
 * To add a command: a row in table.c, and the function that it names. */
#pragma once

#include "base/types.h"

struct ctl;

enum ctl_type { CTL_SWITCH, CTL_TEXT, CTL_NUMBER, CTL_DURATION, CTL_CHOICE };

/* What may stand in a place, for completion. */
enum ctl_words {
    WORDS_NONE,
    WORDS_FILE,
    WORDS_DIR,
    WORDS_CHOICE, /* of an option: its choices; of an argument: the command's */
    WORDS_COMMAND,
    WORDS_SERVICE,
    WORDS_INSTANCE, /* of the service named before */
    WORDS_CONFIG,
    WORDS_MEMBER,
    WORDS_LEASE
};

struct ctl_option {
    const char *name; /* without the dashes; NULL ends a list */
    char letter;      /* 0 = none */
    unsigned char type, words, is_many;
    const char *argument; /* in help; NULL for a switch */
    const char *help;
    const char *choices; /* separated by spaces */
    const char *env;     /* variable that counts when the option is not given */
    const char *dflt;    /* NULL = none */
    uint64_t min, max;   /* numbers; milliseconds of durations */
};

enum { CTL_ARGS_ANY = 255 };

struct ctl_command {
    const char *name;      /* one or two words: "status", "config put" */
    const char *arguments; /* in help: "[GROUP/]KEY [CONTENT]" */
    unsigned char min_args, max_args;
    unsigned char words[2];           /* first argument, the others */
    const char *summary;              /* one line, no full stop; NULL hides the command */
    const char *about;                /* paragraphs for --help and the manual; may be NULL */
    const char *choices;              /* of an argument, separated by spaces; NULL = free */
    const struct ctl_option *options; /* NULL = none of its own */
    int (*run)(struct ctl *c);        /* gives the exit status */
};

extern const struct ctl_command ctl_commands[];
extern const size_t ctl_commands_n;
extern const struct ctl_option ctl_globals[]; /* ends with a NULL name */

/* What stands before and behind the verbs of a noun: "config", "publish, read and ...". */
struct ctl_noun {
    const char *name, *summary;
};
extern const struct ctl_noun ctl_nouns[];
extern const size_t ctl_nouns_n;

/* Exit statuses, with the sentence that help and manual say. */
struct ctl_exit {
    int status;
    const char *meaning;
};
extern const struct ctl_exit ctl_exits[];
extern const size_t ctl_exits_n;
