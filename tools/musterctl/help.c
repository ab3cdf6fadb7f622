/* SPDX-License-Identifier: Apache-2.0 */
/* --help of each level and the manual page, from the table. */
#include <ctype.h>

#include "tools/musterctl/cmd.h"

enum { HELP_WIDTH = 92 };

static int is_of(const struct ctl_command *c, const char *noun)
{
    size_t n = strlen(noun);
    return c->summary != NULL && strncmp(c->name, noun, n) == 0 && c->name[n] == ' ';
}

/* Words broken into lines of HELP_WIDTH, each with `indent` spaces. */
static void print_wrapped(FILE *f, const char *text, int indent)
{
    int column = 0;
    while (*text != '\0') {
        int n = (int)strcspn(text, " ");
        if (column != 0 && column + 1 + n > HELP_WIDTH) {
            fputc('\n', f);
            column = 0;
        }
        if (column == 0) {
            fprintf(f, "%*s", indent, "");
            column = indent;
        } else {
            fputc(' ', f);
            column++;
        }
        fwrite(text, 1, (size_t)n, f);
        column += n;
        text += n + (text[n] == ' ');
    }
    fputc('\n', f);
}

static void print_option(FILE *f, const struct ctl_option *o)
{
    fprintf(f, o->letter != 0 ? "  -%c, " : "      ", o->letter);
    fprintf(f, "--%s%s%s\n", o->name, o->argument != NULL ? " " : "",
            o->argument != NULL ? o->argument : "");
    char text[600];
    snprintf(text, sizeof(text), "%s%s%s%s%s%s%s", o->help, o->dflt != NULL ? " (default " : "",
             o->dflt != NULL ? o->dflt : "", o->dflt != NULL ? ")" : "", o->env != NULL ? " [" : "",
             o->env != NULL ? o->env : "", o->env != NULL ? "]" : "");
    print_wrapped(f, text, 10);
}

static void print_options(FILE *f, const char *title, const struct ctl_option *o)
{
    if (o == NULL || o->name == NULL) {
        return;
    }
    fprintf(f, "\n%s:\n", title);
    for (; o->name != NULL; o++) {
        print_option(f, o);
    }
}

static void print_commands(FILE *f, const char *noun)
{
    for (size_t i = 0; i < ctl_commands_n; i++) {
        const struct ctl_command *c = &ctl_commands[i];
        if (c->summary == NULL || (noun != NULL ? !is_of(c, noun) : strchr(c->name, ' ') != NULL)) {
            continue;
        }
        fprintf(f, "  %-20s %s\n", c->name, c->summary);
    }
}

static void help_all(FILE *f)
{
    fprintf(f, "usage: musterctl COMMAND [ARGUMENTS] [OPTIONS]\n\n"
               "The command line of muster: services, configuration and the cluster itself.\n\n");
    print_commands(f, NULL);
    for (size_t i = 0; i < ctl_nouns_n; i++) {
        fprintf(f, "\n%s: %s\n", ctl_nouns[i].name, ctl_nouns[i].summary);
        print_commands(f, ctl_nouns[i].name);
    }
    print_options(f, "options (the environment variable in brackets)", ctl_globals);
    fprintf(f, "\nexit status:\n");
    for (size_t i = 0; i < ctl_exits_n; i++) {
        fprintf(f, "  %3d  %s\n", ctl_exits[i].status, ctl_exits[i].meaning);
    }
    fprintf(f, "\nmusterctl COMMAND --help tells more of each command.\n");
}

static void help_noun(FILE *f, const char *noun)
{
    fprintf(f, "usage: musterctl %s VERB [ARGUMENTS] [OPTIONS]\n\n", noun);
    print_commands(f, noun);
    fprintf(f, "\nmusterctl %s VERB --help tells more; musterctl --help has the common options.\n",
            noun);
}

static void help_command(FILE *f, const struct ctl_command *c)
{
    fprintf(f, "usage: musterctl %s%s%s [OPTIONS]\n\n", c->name, c->arguments[0] != '\0' ? " " : "",
            c->arguments);
    fprintf(f, "%c%s.\n", toupper((unsigned char)c->summary[0]), c->summary + 1);
    if (c->about != NULL) {
        fputc('\n', f);
        print_wrapped(f, c->about, 0);
    }
    print_options(f, "options", c->options);
    fprintf(f, "\nCommon options: musterctl --help\n");
}

void ctl_print_help(const struct ctl_parsed *p, FILE *f)
{
    if (p->command != NULL && p->command->summary != NULL) {
        help_command(f, p->command);
    } else if (p->noun != NULL) {
        help_noun(f, p->noun);
    } else {
        help_all(f);
    }
}

/* --- scdoc --- */

/* Marks of scdoc in a text are meant literally. */
static void man_text(FILE *f, const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("_*\\", *text) != NULL) {
            fputc('\\', f);
        }
        fputc(*text, f);
    }
}

static void man_option(FILE *f, const struct ctl_option *o)
{
    if (o->letter != 0) {
        fprintf(f, "*-%c*, ", o->letter);
    }
    fprintf(f, "*--%s*", o->name);
    if (o->argument != NULL) {
        fputs(" _", f);
        man_text(f, o->argument);
        fputs("_", f);
    }
    fputs("\n\t", f);
    man_text(f, o->help);
    if (o->dflt != NULL) {
        fputs(" (default ", f);
        man_text(f, o->dflt);
        fputs(")", f);
    }
    if (o->env != NULL) {
        fputs("; ", f);
        man_text(f, o->env);
    }
    fputs("\n\n", f);
}

static void man_command(FILE *f, const struct ctl_command *c)
{
    fprintf(f, "## %s ", c->name);
    man_text(f, c->arguments);
    fprintf(f, "\n\n%c", toupper((unsigned char)c->summary[0]));
    man_text(f, c->summary + 1);
    fputs(".\n\n", f);
    if (c->about != NULL) {
        man_text(f, c->about);
        fputs("\n\n", f);
    }
    for (const struct ctl_option *o = c->options; o != NULL && o->name != NULL; o++) {
        man_option(f, o);
    }
}

void ctl_print_man(FILE *f)
{
    fputs(
        "musterctl(1)\n\n# NAME\n\nmusterctl - command line of muster\n\n"
        "# SYNOPSIS\n\n*musterctl* _COMMAND_ [_ARGUMENTS_] [_OPTIONS_]\n\n"
        "# DESCRIPTION\n\nmusterctl reads and changes services, configuration, leases and members of a muster cluster through its HTTP API. "
        "Options may stand anywhere behind the words of the command; *--* ends them.\n\n"
        "# OPTIONS\n\n",
        f);
    for (const struct ctl_option *o = ctl_globals; o->name != NULL; o++) {
        man_option(f, o);
    }
    fputs("# COMMANDS\n\n", f);
    for (size_t i = 0; i < ctl_commands_n; i++) {
        if (ctl_commands[i].summary != NULL) {
            man_command(f, &ctl_commands[i]);
        }
    }
    fputs("# EXIT STATUS\n\n", f);
    for (size_t i = 0; i < ctl_exits_n; i++) {
        fprintf(f, "*%d*\n\t", ctl_exits[i].status);
        man_text(f, ctl_exits[i].meaning);
        fputs("\n\n", f);
    }
    fputs("# SEE ALSO\n\n*musterd*(8)\n", f);
}
