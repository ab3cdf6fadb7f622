/* SPDX-License-Identifier: Apache-2.0 */
/* Command line, environment and help. Order of strength: default < file < environment < flag. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "server/conf/table.h"

static void name_from_key(const char *key, char out[64], char sep, int is_upper)
{
    size_t n = 0;
    for (; key[n] != '\0' && n < 62; n++) {
        char c = key[n] == '_' || key[n] == '.' ? sep : key[n];
        out[n] = is_upper ? (char)toupper((unsigned char)c) : c;
    }
    out[n] = '\0';
}

void conf_flag_name(const struct conf_row *r, char out[64])
{
    name_from_key(r->key, out, '-', 0);
}

void conf_env_name(const struct conf_row *r, char out[64])
{
    char upper[64];
    name_from_key(r->key, upper, '_', 1);
    snprintf(out, 64, "MUSTER_%.56s", upper);
}

/* --- environment --- */

static int env_row(struct slice name, size_t *out_row)
{
    for (size_t i = 0; i < conf_table_n; i++) {
        char want[64];
        conf_env_name(&conf_table[i], want);
        if (slice_eq(name, slice_str(want))) {
            *out_row = i;
            return 0;
        }
    }
    return MU_E_NOT_FOUND;
}

/* Variables of other programs of the family, and of the build. */
static int env_is_foreign(struct slice name)
{
    static const char *const known[] = {"MUSTER_ENDPOINTS", "MUSTER_NAMESPACE", "MUSTER_GROUP",
                                        "MUSTER_TOKEN",     "MUSTER_CONFIG",    "MUSTER_CACHE",
                                        "MUSTER_OUTPUT",    "MUSTER_TIMEOUT",   "MUSTER_CACERT",
                                        "MUSTER_CERT",      "MUSTER_KEY"};
    for (size_t i = 0; i < N_ELEMENTS(known); i++) {
        if (slice_eq(name, slice_str(known[i]))) {
            return 1;
        }
    }
    return 0;
}

static int take_env(char **envp, struct conf_parsed *out, struct err *e)
{
    for (; *envp != NULL; envp++) {
        const char *eq = strchr(*envp, '=');
        size_t row;
        if (strncmp(*envp, "MUSTER_", 7) != 0 || eq == NULL) {
            continue;
        }
        struct slice name = slice_of(*envp, (size_t)(eq - *envp));
        if (env_is_foreign(name)) {
            continue;
        }
        if (env_row(name, &row) != 0) {
            return err_set(
                e, MU_E_BAD_REQUEST,
                "environment: unknown variable %.*s; `musterd --help` lists those that count",
                SLICE_FMT(name));
        }
        int rc = conf_set(out, row, slice_str(eq + 1), CONF_ENV, e);
        if (rc != 0) {
            return err_wrap(e, "environment %.*s", SLICE_FMT(name));
        }
    }
    return 0;
}

/* --- flags --- */

static int flag_row(struct slice name, int is_short, size_t *out_row)
{
    for (size_t i = 0; i < conf_table_n; i++) {
        char want[64];
        conf_flag_name(&conf_table[i], want);
        if (is_short ? name.len == 1 && conf_table[i].short_flag == name.p[0]
                     : slice_eq(name, slice_str(want))) {
            *out_row = i;
            return 0;
        }
    }
    return MU_E_NOT_FOUND;
}

static int unknown_flag(const char *arg, struct err *e)
{
    char names[CONF_ROWS_MAX][64];
    const char *list[CONF_ROWS_MAX];
    for (size_t i = 0; i < conf_table_n; i++) {
        conf_flag_name(&conf_table[i], names[i]);
        list[i] = names[i];
    }
    char word[64];
    snprintf(word, sizeof(word), "%.60s", arg + strspn(arg, "-"));
    word[strcspn(word, "=")] = '\0';
    const char *near = text_nearest(word, list, conf_table_n);
    return err_set(e, MU_E_BAD_REQUEST, "unknown flag %.60s%s%s%s; see musterd --help", arg,
                   near != NULL ? "; did you mean --" : "", near != NULL ? near : "",
                   near != NULL ? "?" : "");
}

/* One flag at argv[*at]; moves *at over its value. `apply`: 0 only looks for --config. */
static int take_flag(int argc, char **argv, int *at, struct conf_parsed *out, int apply,
                     struct err *e)
{
    const char *arg = argv[*at];
    int is_short = arg[1] != '-';
    struct slice name = slice_str(arg + (is_short ? 1 : 2));
    const char *eq = is_short ? NULL : strchr(arg, '=');
    const char *value = eq != NULL ? eq + 1 : NULL;
    size_t row = 0;
    if (eq != NULL) {
        name.len = (size_t)(eq - arg) - 2;
    }
    int is_config = slice_eq(name, SLICE_LIT("config")) && !is_short;
    if (!is_config && flag_row(name, is_short, &row) != 0) {
        return unknown_flag(arg, e);
    }
    if (!is_config && conf_table[row].type == CONF_BOOL && value == NULL) {
        value = "true";
    } else if (value == NULL) {
        if (++*at >= argc) {
            return err_set(e, MU_E_BAD_REQUEST, "flag %s needs a value", arg);
        }
        value = argv[*at];
    }
    if (is_config) {
        snprintf(out->file, sizeof(out->file), "%s", value);
        return 0;
    }
    return apply ? conf_set(out, row, slice_str(value), CONF_FLAG, e) : 0;
}

static int command_of(const char *word, enum conf_command *out)
{
    static const struct {
        const char *word;
        enum conf_command command;
    } words[] = {{"check-config", CONF_CHECK},
                 {"show-config", CONF_SHOW},
                 {"help", CONF_HELP},
                 {"--help", CONF_HELP},
                 {"-h", CONF_HELP},
                 {"version", CONF_VERSION},
                 {"--version", CONF_VERSION},
                 {"--man", CONF_MAN},
                 {"export-snapshot", CONF_EXPORT_SNAPSHOT}};
    for (size_t i = 0; i < N_ELEMENTS(words); i++) {
        if (strcmp(word, words[i].word) == 0) {
            *out = words[i].command;
            return 0;
        }
    }
    return MU_E_NOT_FOUND;
}

static int take_args(int argc, char **argv, struct conf_parsed *out, int apply, struct err *e)
{
    out->argument[0] = '\0';
    for (int i = 1; i < argc; i++) {
        if (command_of(argv[i], &out->command) == 0) {
            continue;
        }
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            int rc = take_flag(argc, argv, &i, out, apply, e);
            if (rc != 0) {
                return rc;
            }
        } else if (out->command == CONF_RUN || out->argument[0] != '\0') {
            return err_set(e, MU_E_BAD_REQUEST, "unexpected argument \"%.60s\"; see musterd --help",
                           argv[i]);
        } else {
            snprintf(out->argument, sizeof(out->argument), "%s", argv[i]);
        }
    }
    return 0;
}

/* --- file --- */

static int read_file(const char *path, struct buf *out, struct err *e)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return err_set(e, MU_E_BAD_REQUEST, "configuration file %s: %s", path, strerror(errno));
    }
    size_t n;
    do {
        n = fread(buf_reserve(out, 65536), 1, 65536, f);
        out->len += n;
    } while (n > 0 && out->len < (1u << 20));
    int rc = ferror(f)
                 ? err_set(e, MU_E_BAD_REQUEST, "configuration file %s: %s", path, strerror(errno))
                 : 0;
    fclose(f);
    return rc;
}

static int take_file(struct conf_parsed *out, struct err *e)
{
    struct buf text;
    if (out->file[0] == '\0') {
        return 0;
    }
    buf_init(&text);
    int rc = read_file(out->file, &text, e);
    if (rc == 0) {
        rc = conf_parse_file_text(out->file, buf_slice(&text), out, e);
    }
    buf_fini(&text);
    return rc;
}

int conf_parse(int argc, char **argv, char **envp, struct conf_parsed *out, struct err *e)
{
    conf_defaults(out);
    const char *from_env = getenv("MUSTER_CONFIG");
    if (from_env != NULL) {
        snprintf(out->file, sizeof(out->file), "%s", from_env);
    }
    int rc = take_args(argc, argv, out, 0, e);
    out->is_misused = rc != 0;
    if (rc != 0 || out->command == CONF_HELP || out->command == CONF_VERSION ||
        out->command == CONF_MAN) {
        return rc;
    }
    if (out->command == CONF_CHECK && out->argument[0] != '\0') {
        memcpy(out->file, out->argument, sizeof(out->file));
    }
    if ((rc = take_file(out, e)) != 0 || (rc = take_env(envp, out, e)) != 0) {
        return rc;
    }
    rc = take_args(argc, argv, out, 1, e);
    out->is_misused = rc != 0;
    return rc;
}

/* --- help --- */

static void default_text(const struct conf_row *r, char out[64])
{
    if (r->type == CONF_MS) {
        text_format_duration(strtoll(r->dflt, NULL, 10), out);
    } else {
        (void)snprintf(out, 64, "%s", r->dflt);
    }
}

static void print_row(FILE *out, const struct conf_row *r)
{
    char flag[64], env[64], left[160], dflt[64] = "";
    conf_flag_name(r, flag);
    conf_env_name(r, env);
    default_text(r, dflt);
    int n = r->short_flag != 0 ? snprintf(left, sizeof(left), "-%c, --%s", r->short_flag, flag)
                               : snprintf(left, sizeof(left), "    --%s", flag);
    if (r->argument != NULL) {
        snprintf(left + n, sizeof(left) - (size_t)n, " %s", r->argument);
    }
    fprintf(out, "  %s\n        %s%s%s%s [%s]\n", left, r->help,
            dflt[0] != '\0' ? " (default " : "", dflt, dflt[0] != '\0' ? ")" : "", env);
}

void conf_print_help(FILE *out)
{
    fprintf(
        out,
        "usage: musterd [flags]                          run a node\n"
        "       musterd check-config [FILE] [flags]      check a configuration and exit\n"
        "       musterd show-config [flags]              print what is in effect and where it came from\n"
        "       musterd export-snapshot FILE [flags]     write a snapshot of a stopped node's data directory\n"
        "       musterd --help | --version\n\n"
        "A single node needs only --data-dir. One of three:\n"
        "  musterd --name n1 --data-dir DIR --listen 127.0.0.1:8500 --peer 127.0.0.1:8300 \\\n"
        "          --initial-cluster n1=127.0.0.1:8300,n2=127.0.0.1:8301,n3=127.0.0.1:8302\n\n"
        "flags (environment variable in brackets; in the file the key is the flag with _ for -, sections with .):\n"
        "    --config FILE\n        YAML file with any of these settings [MUSTER_CONFIG]\n");
    for (size_t i = 0; i < conf_table_n; i++) {
        print_row(out, &conf_table[i]);
    }
    fprintf(
        out,
        "\nexit status: 0 clean stop, 2 wrong usage, 75 a disk sync failed, 76 stored data is damaged, 77 internal error, 78 configuration error\n");
}

/* What may not stand in double quotes of YAML as it is: marks, control characters, breaks. */
static size_t escape_of(const unsigned char *s, char out[8])
{
    if (*s == '"' || *s == '\\') {
        return snprintf(out, 8, "\\%c", *s) > 0 ? 1 : 0;
    }
    if (*s < 0x20 || *s == 0x7f) {
        return snprintf(out, 8, "\\x%02X", *s) > 0 ? 1 : 0;
    }
    if (*s == 0xc2 && s[1] < 0xa0) {
        return snprintf(out, 8, "\\x%02X", s[1]) > 0 ? 2 : 0;
    }
    unsigned c = (*s & 0xf0) == 0xe0 && s[1] != 0
                     ? (*s & 0x0fU) << 12 | (s[1] & 0x3fU) << 6 | (s[2] & 0x3fU)
                     : 0;
    if (c == 0x2028 || c == 0x2029 || c == 0xfeff || c >= 0xfffe) {
        return snprintf(out, 8, "\\u%04X", c) > 0 ? 3 : 0;
    }
    return 0;
}

static void put_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
        char code[8];
        size_t n = escape_of(s, code);
        if (n != 0) {
            fputs(code, out);
        } else {
            fputc(*s, out);
        }
        s += n != 0 ? n : 1;
    }
    fputc('"', out);
}

void conf_print(const struct conf_parsed *p, FILE *out)
{
    static const char *const origins[] = {"default", "file", "environment", "flag"};
    for (size_t i = 0; i < conf_table_n; i++) {
        char v[CONF_TEXT_MAX];
        conf_format(&p->conf, i, v);
        const char *key = conf_table[i].key, *dot = strchr(key, '.');
        if (dot != NULL &&
            (i == 0 || strncmp(conf_table[i - 1].key, key, (size_t)(dot - key) + 1) != 0)) {
            fprintf(out, "%.*s:\n", (int)(dot - key), key);
        }
        fprintf(out, "%s%s: ", dot != NULL ? "  " : "", dot != NULL ? dot + 1 : key);
        if (conf_table[i].type == CONF_TEXT) {
            put_quoted(out, v);
        } else {
            fputs(v, out);
        }
        fprintf(out, "  # %s\n", origins[p->origin[i]]);
    }
}

/* Marks of scdoc in a text are meant literally. */
static void man_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("_*\\", *text) != NULL) {
            fputc('\\', out);
        }
        fputc(*text, out);
    }
}

static void print_man_row(FILE *out, const struct conf_row *r)
{
    char flag[64], env[64], dflt[64] = "";
    conf_flag_name(r, flag);
    conf_env_name(r, env);
    default_text(r, dflt);
    if (r->short_flag != 0) {
        fprintf(out, "*-%c*, ", r->short_flag);
    }
    fprintf(out, "*--%s*", flag);
    fputs(r->argument != NULL ? " _" : "[=_", out);
    man_text(out, r->argument != NULL ? r->argument : "true|false");
    fputs(r->argument != NULL ? "_\n\t" : "_]\n\t", out);
    man_text(out, r->help);
    fputs(dflt[0] != '\0' ? " (default " : " (", out);
    man_text(out, dflt);
    fputs(dflt[0] != '\0' ? "; " : "", out);
    man_text(out, env);
    fprintf(out, ")%s\n\n", r->is_reloadable ? "; taken over by SIGHUP" : "");
}

void conf_print_man(FILE *out)
{
    fprintf(
        out,
        "musterd(8)\n\n# NAME\n\nmusterd - configuration and service registry server\n\n# SYNOPSIS\n\n"
        "*musterd* [flags]\n\n*musterd* check-config [FILE] [flags]\n\n*musterd* show-config [flags]\n\n"
        "*musterd* export-snapshot FILE [flags]\n\n# DESCRIPTION\n\n"
        "musterd keeps service instances and versioned configuration in a replicated store and pushes changes to clients. "
        "A setting comes from its default, the file given by *--config*, the environment or a flag; the later one wins.\n\n"
        "SIGTERM and SIGINT drain and stop; a second one stops at once. SIGHUP loads certificates and reloadable settings anew.\n\n"
        "# FLAGS\n\n*--config* _FILE_\n\tYAML file with any of these settings (MUSTER_CONFIG)\n\n");
    for (size_t i = 0; i < conf_table_n; i++) {
        print_man_row(out, &conf_table[i]);
    }
    fprintf(
        out,
        "# EXIT STATUS\n\n0 clean stop, 2 wrong usage, 75 a disk sync failed, 76 stored data is damaged, 77 internal error, "
        "78 configuration error.\n\n# SEE ALSO\n\n*musterctl*(1)\n");
}
