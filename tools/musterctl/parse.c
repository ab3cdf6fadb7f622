/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/musterctl/parse.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"

enum { NAMES_MAX = 128 };

/* --- the table --- */

const struct ctl_command *ctl_find_command(const char *name)
{
    for (size_t i = 0; i < ctl_commands_n; i++) {
        if (strcmp(ctl_commands[i].name, name) == 0) {
            return &ctl_commands[i];
        }
    }
    return NULL;
}

int ctl_is_noun(const char *word)
{
    for (size_t i = 0; i < ctl_nouns_n; i++) {
        if (strcmp(ctl_nouns[i].name, word) == 0) {
            return 1;
        }
    }
    return 0;
}

static const struct ctl_option *in_list(const struct ctl_option *o, struct slice name, char letter)
{
    for (; o != NULL && o->name != NULL; o++) {
        if (letter != 0 ? o->letter == letter : slice_eq(slice_str(o->name), name)) {
            return o;
        }
    }
    return NULL;
}

const struct ctl_option *ctl_find_option(const struct ctl_command *command, struct slice name)
{
    const struct ctl_option *o = in_list(ctl_globals, name, 0);
    return o != NULL || command == NULL ? o : in_list(command->options, name, 0);
}

const struct ctl_option *ctl_find_letter(const struct ctl_command *command, char letter)
{
    const struct ctl_option *o = in_list(ctl_globals, (struct slice){0}, letter);
    return o != NULL || command == NULL ? o : in_list(command->options, (struct slice){0}, letter);
}

int ctl_is_choice(const char *choices, struct slice word)
{
    while (*choices != '\0') {
        size_t n = strcspn(choices, " ");
        if (slice_eq(slice_of(choices, n), word)) {
            return 1;
        }
        choices += n + (choices[n] == ' ');
    }
    return 0;
}

/* --- errors --- */

/* What was probably meant: near, and not just as short. */
static const char *meant(const char *word, const char *const *names, size_t n)
{
    const char *near = text_nearest(word, names, n);
    return near != NULL && (near[0] == word[0] || strlen(word) > 4) ? near : NULL;
}

static int unknown_command(const char *noun, const char *word, struct err *e)
{
    const char *names[NAMES_MAX];
    size_t n = 0, skip = noun != NULL ? strlen(noun) + 1 : 0;
    for (size_t i = 0; i < ctl_commands_n && n < NAMES_MAX; i++) {
        const char *name = ctl_commands[i].name;
        int is_ours = noun != NULL ? strncmp(name, noun, skip - 1) == 0 && name[skip - 1] == ' '
                                   : strchr(name, ' ') == NULL && ctl_commands[i].summary != NULL;
        if (is_ours) {
            names[n++] = name + skip;
        }
    }
    for (size_t i = 0; noun == NULL && i < ctl_nouns_n; i++) {
        names[n++] = ctl_nouns[i].name;
    }
    const char *near = meant(word, names, n);
    return err_set(e, MU_E_BAD_REQUEST,
                   "unknown command \"%s%s%.60s\"%s%s%s; see musterctl %s%s--help",
                   noun != NULL ? noun : "", noun != NULL ? " " : "", word,
                   near != NULL ? ", did you mean \"" : "", near != NULL ? near : "",
                   near != NULL ? "\"?" : "", noun != NULL ? noun : "", noun != NULL ? " " : "");
}

static int unknown_option(const struct ctl_command *command, const char *arg, struct err *e)
{
    const char *names[NAMES_MAX];
    char word[64];
    size_t n = 0;
    for (const struct ctl_option *o = ctl_globals; o->name != NULL; o++) {
        names[n++] = o->name;
    }
    for (const struct ctl_option *o = command != NULL ? command->options : NULL;
         o != NULL && o->name != NULL && n < NAMES_MAX; o++) {
        names[n++] = o->name;
    }
    snprintf(word, sizeof(word), "%.60s", arg + strspn(arg, "-"));
    word[strcspn(word, "=")] = '\0';
    const char *near = meant(word, names, n);
    if (command == NULL) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "unknown option %.60s%s%s%s; options of a command come behind it", arg,
                       near != NULL ? ", did you mean --" : "", near != NULL ? near : "",
                       near != NULL ? "?" : "");
    }
    return err_set(e, MU_E_BAD_REQUEST, "unknown option %.60s%s%s%s; see musterctl %s --help", arg,
                   near != NULL ? ", did you mean --" : "", near != NULL ? near : "",
                   near != NULL ? "?" : "", command->name);
}

/* --- values --- */

static int check_duration(const struct ctl_option *o, const char *where, const char *v,
                          struct err *e)
{
    char lo[24], hi[24];
    int64_t ms;
    if (text_duration_ms(slice_str(v), (int64_t)o->max, &ms) == 0 && (uint64_t)ms >= o->min) {
        return 0;
    }
    text_format_duration((int64_t)o->min, lo);
    text_format_duration((int64_t)o->max, hi);
    return err_set(e, MU_E_BAD_REQUEST, "%s must be a duration from %s to %s, not \"%.40s\"", where,
                   lo, hi, v);
}

static int check_number(const struct ctl_option *o, const char *where, const char *v, struct err *e)
{
    uint64_t u;
    if (text_u64(slice_str(v), o->max, &u) == 0 && u >= o->min) {
        return 0;
    }
    if (o->max == UINT64_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "%s must be a number from %llu, not \"%.40s\"", where,
                       (unsigned long long)o->min, v);
    }
    return err_set(e, MU_E_BAD_REQUEST, "%s must be a number from %llu to %llu, not \"%.40s\"",
                   where, (unsigned long long)o->min, (unsigned long long)o->max, v);
}

static int check_value(const struct ctl_option *o, const char *where, const char *v, struct err *e)
{
    switch ((enum ctl_type)o->type) {
    case CTL_NUMBER:
        return check_number(o, where, v, e);
    case CTL_DURATION:
        return check_duration(o, where, v, e);
    case CTL_CHOICE:
        return ctl_is_choice(o->choices, slice_str(v))
                   ? 0
                   : err_set(e, MU_E_BAD_REQUEST, "%s must be one of %s, not \"%.40s\"", where,
                             o->choices, v);
    default:
        return 0;
    }
}

static void add_set(struct ctl_parsed *p, const struct ctl_option *o, const char *value)
{
    p->sets = mem_realloc(p->sets, (p->n_sets + 1) * sizeof(*p->sets));
    p->sets[p->n_sets++] = (struct ctl_set){o, value};
}

/* --- the command line --- */

struct line {
    int argc, at;
    char **argv;
    struct ctl_parsed *out;
    struct err *e;
    const char *noun; /* a first word that wants a second one */
    int is_raw;       /* behind "--", or words of the hidden command */
};

static int take_value(struct line *l, const struct ctl_option *o, const char *value)
{
    char where[80];
    snprintf(where, sizeof(where), "--%.70s", o->name);
    if (o->type == CTL_SWITCH) {
        if (value != NULL) {
            return err_set(l->e, MU_E_BAD_REQUEST, "%s takes no value", where);
        }
        value = "true";
    } else if (value == NULL) {
        if (l->at + 1 >= l->argc) {
            return err_set(l->e, MU_E_BAD_REQUEST, "%s needs a value: %s %s", where, where,
                           o->argument);
        }
        value = l->argv[++l->at];
    }
    add_set(l->out, o, value);
    return check_value(o, where, value, l->e);
}

/* -qo json, -ojson */
static int take_letters(struct line *l, const char *arg)
{
    for (const char *s = arg + 1; *s != '\0'; s++) {
        const struct ctl_option *o = ctl_find_letter(l->out->command, *s);
        if (o == NULL) {
            return unknown_option(l->out->command, arg, l->e);
        }
        if (o->type != CTL_SWITCH) {
            return take_value(l, o, s[1] != '\0' ? s + 1 : NULL);
        }
        int rc = take_value(l, o, NULL);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int take_option(struct line *l, const char *arg)
{
    if (arg[1] != '-') {
        return take_letters(l, arg);
    }
    const char *eq = strchr(arg, '=');
    struct slice name = slice_of(arg + 2, eq != NULL ? (size_t)(eq - arg) - 2 : strlen(arg + 2));
    const struct ctl_option *o = ctl_find_option(l->out->command, name);
    if (o == NULL) {
        return unknown_option(l->out->command, arg, l->e);
    }
    return take_value(l, o, eq != NULL ? eq + 1 : NULL);
}

static int take_word(struct line *l, const char *arg)
{
    struct ctl_parsed *p = l->out;
    char both[64];
    if (p->command == NULL && l->noun == NULL && ctl_is_noun(arg)) {
        l->noun = arg;
        return 0;
    }
    if (p->command == NULL) {
        snprintf(both, sizeof(both), "%s%s%.40s", l->noun != NULL ? l->noun : "",
                 l->noun != NULL ? " " : "", arg);
        p->command = ctl_find_command(both);
        if (p->command == NULL || strchr(arg, ' ') != NULL) {
            return unknown_command(l->noun, arg, l->e);
        }
        l->is_raw = p->command->summary == NULL;
        return 0;
    }
    p->args = mem_realloc(p->args, (p->n_args + 1) * sizeof(*p->args));
    p->args[p->n_args++] = arg;
    return 0;
}

static int take_env(struct ctl_parsed *p, struct err *e)
{
    for (int own = 0; own < 2; own++) {
        const struct ctl_option *o = own == 0             ? ctl_globals
                                     : p->command != NULL ? p->command->options
                                                          : NULL;
        for (; o != NULL && o->name != NULL; o++) {
            const char *v = o->env != NULL ? getenv(o->env) : NULL;
            int is_given = 0;
            for (size_t i = 0; i < p->n_sets; i++) {
                is_given = is_given || p->sets[i].option == o;
            }
            if (is_given || v == NULL || v[0] == '\0') {
                continue;
            }
            add_set(p, o, v);
            int rc = check_value(o, o->env, v, e);
            if (rc != 0) {
                return rc;
            }
        }
    }
    return 0;
}

/* musterctl help config put */
static int take_help(struct ctl_parsed *p, struct err *e)
{
    char both[64];
    p->what = CTL_HELP;
    p->command = NULL;
    if (p->n_args == 0) {
        return 0;
    }
    snprintf(both, sizeof(both), "%.30s%s%.30s", p->args[0], p->n_args > 1 ? " " : "",
             p->n_args > 1 ? p->args[1] : "");
    p->command = ctl_find_command(both);
    if (p->command != NULL) {
        return 0;
    }
    if (!ctl_is_noun(p->args[0])) {
        return unknown_command(NULL, p->args[0], e);
    }
    p->noun = p->args[0];
    return p->n_args > 1 ? unknown_command(p->args[0], p->args[1], e) : 0;
}

static int check_count(const struct ctl_parsed *p, struct err *e)
{
    const struct ctl_command *c = p->command;
    if (p->n_args < c->min_args) {
        return err_set(e, MU_E_BAD_REQUEST, "%s is missing: musterctl %s %s",
                       c->max_args == 1 ? c->arguments : "an argument", c->name, c->arguments);
    }
    if (c->max_args != CTL_ARGS_ANY && p->n_args > c->max_args) {
        return err_set(e, MU_E_BAD_REQUEST, "unexpected argument \"%.60s\": musterctl %s %s",
                       p->args[c->max_args], c->name, c->arguments);
    }
    for (size_t i = 0; c->choices != NULL && i < p->n_args; i++) {
        if (!ctl_is_choice(c->choices, slice_str(p->args[i]))) {
            return err_set(e, MU_E_BAD_REQUEST, "%s must be one of %s, not \"%.40s\"", c->arguments,
                           c->choices, p->args[i]);
        }
    }
    return 0;
}

static int finish(struct line *l)
{
    struct ctl_parsed *p = l->out;
    if (ctl_opt_has(p, "version") || ctl_opt_has(p, "man")) {
        p->what = ctl_opt_has(p, "version") ? CTL_VERSION : CTL_MAN;
        return 0;
    }
    if (p->command != NULL && p->command->run == NULL) {
        return take_help(p, l->e);
    }
    if (ctl_opt_has(p, "help")) {
        p->what = CTL_HELP;
        p->noun = p->command == NULL ? l->noun : NULL;
        return 0;
    }
    if (p->command == NULL) {
        return l->noun != NULL
                   ? err_set(l->e, MU_E_BAD_REQUEST, "%s needs a verb; see musterctl %s --help",
                             l->noun, l->noun)
                   : err_set(l->e, MU_E_BAD_REQUEST, "a command is missing; see musterctl --help");
    }
    int rc = check_count(p, l->e);
    return rc != 0 ? rc : take_env(p, l->e);
}

int ctl_parse(int argc, char **argv, struct ctl_parsed *out, struct err *e)
{
    struct line l = {.argc = argc, .argv = argv, .out = out, .e = e};
    *out = (struct ctl_parsed){0};
    for (l.at = 1; l.at < argc; l.at++) {
        const char *arg = argv[l.at];
        int rc;
        if (!l.is_raw && strcmp(arg, "--") == 0) {
            l.is_raw = 1;
            continue;
        }
        if (!l.is_raw && arg[0] == '-' && arg[1] != '\0') {
            rc = take_option(&l, arg);
        } else {
            rc = take_word(&l, arg);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return finish(&l);
}

void ctl_parsed_fini(struct ctl_parsed *p)
{
    mem_free(p->sets);
    mem_free(p->args);
    *p = (struct ctl_parsed){0};
}

/* --- values for commands --- */

static const struct ctl_option *option_of(const struct ctl_parsed *p, const char *name)
{
    return ctl_find_option(p->command, slice_str(name));
}

const char *ctl_opt(const struct ctl_parsed *p, const char *name)
{
    const struct ctl_option *o = option_of(p, name);
    const char *v = o != NULL ? o->dflt : NULL;
    for (size_t i = 0; o != NULL && i < p->n_sets; i++) {
        if (p->sets[i].option == o) {
            v = p->sets[i].value;
        }
    }
    return v;
}

int ctl_opt_has(const struct ctl_parsed *p, const char *name)
{
    const struct ctl_option *o = option_of(p, name);
    for (size_t i = 0; o != NULL && i < p->n_sets; i++) {
        if (p->sets[i].option == o) {
            return 1;
        }
    }
    return 0;
}

uint64_t ctl_opt_u64(const struct ctl_parsed *p, const char *name)
{
    const char *v = ctl_opt(p, name);
    uint64_t u = 0;
    return v != NULL && text_u64(slice_str(v), UINT64_MAX, &u) == 0 ? u : 0;
}

int64_t ctl_opt_ms(const struct ctl_parsed *p, const char *name)
{
    const char *v = ctl_opt(p, name);
    int64_t ms = 0;
    return v != NULL && text_duration_ms(slice_str(v), INT64_MAX / 4, &ms) == 0 ? ms : 0;
}

const char *ctl_opt_next(const struct ctl_parsed *p, const char *name, size_t *at)
{
    const struct ctl_option *o = option_of(p, name);
    for (; o != NULL && *at < p->n_sets; ++*at) {
        if (p->sets[*at].option == o) {
            return p->sets[(*at)++].value;
        }
    }
    return NULL;
}
