/* SPDX-License-Identifier: Apache-2.0 */
/* Completion. The scripts only carry words to `musterctl __complete WORD...` and candidates back,
 * so that what is completed always comes from the table of the program that is installed.
 *
 * The last word is the one under the cursor. Each line is a candidate, with a tab and a
 * description when there is one; ":files" and ":dirs" ask the shell to complete those itself.
 * Names are asked of the cluster for at most a second; when it is out of reach there are none. */
#include <jansson.h>

#include "base/mem.h"
#include "base/text.h"
#include "tools/musterctl/cmd.h"

enum { ASK_MS = 1000, NAMES_MAX = 200 };

struct words {
    struct ctl *c;
    const char *cur;
    const struct ctl_command *command; /* NULL: not known yet */
    const char *noun;
    const struct ctl_option *pending; /* the word is the value of this option */
    const char *args[8];
    size_t n_args;
    const char *given[3]; /* endpoints, namespace, group on the line so far */
    int is_behind;        /* behind "--" */
    int is_lost;          /* a command that there is not: nothing fits behind it */
};

static const char *const passed_on[] = {"endpoints", "namespace", "group"};

/* --- printing --- */

static void offer(const struct words *w, const char *text, const char *about)
{
    if (strncmp(text, w->cur, strlen(w->cur)) == 0) {
        fprintf(w->c->out.f, "%s%s%s\n", text, about != NULL ? "\t" : "",
                about != NULL ? about : "");
    }
}

static void offer_choices(const struct words *w, const char *choices)
{
    char one[64];
    while (choices != NULL && *choices != '\0') {
        size_t n = strcspn(choices, " ");
        snprintf(one, sizeof(one), "%.*s", (int)n, choices);
        offer(w, one, NULL);
        choices += n + (choices[n] == ' ');
    }
}

static void offer_options(const struct words *w)
{
    char name[80];
    for (int own = 0; own < 2; own++) {
        const struct ctl_option *o = own == 1             ? ctl_globals
                                     : w->command != NULL ? w->command->options
                                                          : NULL;
        for (; o != NULL && o->name != NULL; o++) {
            snprintf(name, sizeof(name), "--%.70s", o->name);
            offer(w, name, o->help);
        }
    }
}

static void offer_commands(const struct words *w, const char *noun)
{
    for (size_t i = 0; i < ctl_commands_n; i++) {
        const struct ctl_command *c = &ctl_commands[i];
        size_t n = noun != NULL ? strlen(noun) : 0;
        if (c->summary == NULL) {
            continue;
        }
        if (noun == NULL ? strchr(c->name, ' ') == NULL
                         : strncmp(c->name, noun, n) == 0 && c->name[n] == ' ') {
            offer(w, c->name + (noun != NULL ? n + 1 : 0), c->summary);
        }
    }
    for (size_t i = 0; noun == NULL && i < ctl_nouns_n; i++) {
        offer(w, ctl_nouns[i].name, ctl_nouns[i].summary);
    }
}

/* --- names from the cluster --- */

static json_t *ask(const struct words *w, const struct buf *path)
{
    struct muster_options o;
    struct muster *m;
    struct muster_answer *a;
    const char *endpoints = w->given[0] != NULL ? w->given[0] : getenv("MUSTER_ENDPOINTS");
    const char *ns = w->given[1] != NULL ? w->given[1] : getenv("MUSTER_NAMESPACE");
    json_t *doc = NULL;
    struct ctl_set sets[] = {{&ctl_globals[0], endpoints}};
    struct ctl one = {.p = {.command = w->command,
                            .sets = sets,
                            .n_sets = endpoints != NULL && endpoints[0] != '\0'}};
    char all[1024] = "", endpoint[256];
    size_t at = 0;
    while (ctl_next_endpoint(&one, &at, endpoint) && strlen(all) + 260 < sizeof(all)) {
        size_t len = strlen(all);
        snprintf(all + len, sizeof(all) - len, "%s%s", len != 0 ? "," : "", endpoint);
    }
    muster_options_init(&o);
    o.endpoints = all;
    o.namespace_ = ns != NULL && ns[0] != '\0' ? ns : NULL;
    o.ca_file = getenv("MUSTER_CACERT");
    o.cert_file = getenv("MUSTER_CERT");
    o.key_file = getenv("MUSTER_KEY");
    o.request_timeout_ms = o.connect_timeout_ms = ASK_MS;
    struct muster_request q = {.method = "GET", .path = (const char *)path->p};
    if (muster_open(&o, &m, NULL) != MUSTER_OK) {
        return NULL;
    }
    if (muster_call(m, &q, &a, NULL) == MUSTER_OK) {
        doc = json_loadb(a->body, a->body_len, 0, NULL);
        muster_answer_free(a);
    }
    muster_close(m);
    return doc;
}

/* Which list, and which members of its rows make the word. */
struct source {
    unsigned char words;
    const char *path, *list, *group, *name;
};

static const struct source sources[] = {
    {WORDS_SERVICE, "/services", "services", "group", "name"},
    {WORDS_CONFIG, "/configs", "configs", "group", "key"},
    {WORDS_LEASE, "/leases", "leases", NULL, "id"},
    {WORDS_MEMBER, "/cluster", "members", NULL, "name"},
    {WORDS_INSTANCE, NULL, "instances", NULL, "id"},
};

/* "app/db": the group is what stands before the slash, when the option does not tell it. */
static int source_path(const struct words *w, const struct source *s, struct buf *path)
{
    const char *group = w->given[2];
    if (s->words == WORDS_INSTANCE) {
        struct ctl_set sets[] = {{ctl_find_option(w->command, SLICE_LIT("group")), group}};
        struct ctl one = {.p = {.command = w->command, .sets = sets, .n_sets = group != NULL}};
        return w->n_args > 0 ? ctl_service_path(&one, w->args[0], NULL, path) : -1;
    }
    buf_append_str(path, s->path);
    if (s->group == NULL) {
        return 0;
    }
    const char *slash = strchr(w->cur, '/');
    if (group != NULL) {
        ctl_path_param(path, "group", group);
        ctl_path_param(path, "prefix", w->cur);
    } else if (slash != NULL && slash != w->cur) {
        char *g = mem_slice_str(slice_of(w->cur, (size_t)(slash - w->cur)));
        ctl_path_param(path, "group", g);
        ctl_path_param(path, "prefix", slash + 1);
        mem_free(g);
    }
    ctl_path_param_u64(path, "limit", NAMES_MAX);
    return 0;
}

/* Names with control characters are none that a line could carry. */
static void offer_row(const struct words *w, const struct source *s, const json_t *row)
{
    struct buf b;
    const char *group = s->group != NULL && w->given[2] == NULL ? ctl_str(row, s->group) : "";
    int is_plain = strcmp(group, "DEFAULT_GROUP") == 0 && strchr(w->cur, '/') == NULL &&
                   strchr(ctl_str(row, s->name), '/') == NULL;
    if (strchr(group, '/') != NULL) {
        return;
    }
    buf_init(&b);
    if (group[0] != '\0' && !is_plain) {
        buf_printf(&b, "%s/", group);
    }
    buf_append_str(&b, ctl_str(row, s->name));
    buf_append_byte(&b, '\0');
    offer(w, (const char *)b.p, NULL);
    buf_fini(&b);
}

static void offer_names(const struct words *w, unsigned words)
{
    for (size_t i = 0; i < N_ELEMENTS(sources); i++) {
        struct buf path;
        if (sources[i].words != words) {
            continue;
        }
        buf_init(&path);
        if (source_path(w, &sources[i], &path) == 0) {
            buf_append_byte(&path, '\0');
            json_t *doc = ask(w, &path);
            const json_t *rows = json_object_get(doc, sources[i].list);
            for (size_t k = 0; k < json_array_size(rows); k++) {
                offer_row(w, &sources[i], json_array_get(rows, k));
            }
            json_decref(doc);
        }
        buf_fini(&path);
    }
}

static void offer_words(const struct words *w, unsigned words, const char *choices)
{
    switch ((enum ctl_words)words) {
    case WORDS_NONE:
        break;
    case WORDS_FILE:
    case WORDS_DIR:
        fputs(words == WORDS_FILE ? ":files\n" : ":dirs\n", w->c->out.f);
        break;
    case WORDS_CHOICE:
        offer_choices(w, choices);
        break;
    case WORDS_COMMAND:
        offer_commands(w, w->n_args > 0 ? w->args[0] : NULL);
        break;
    default:
        offer_names(w, words);
    }
}

/* --- reading the words before the cursor, forgivingly --- */

static void note_value(struct words *w, const struct ctl_option *o, const char *value)
{
    for (size_t i = 0; i < N_ELEMENTS(passed_on); i++) {
        if (strcmp(o->name, passed_on[i]) == 0) {
            w->given[i] = value;
        }
    }
}

static void read_option(struct words *w, const char *word)
{
    const char *eq = strchr(word, '=');
    const struct ctl_option *o;
    if (word[1] == '-') {
        o = ctl_find_option(w->command, slice_of(word + 2, eq != NULL ? (size_t)(eq - word) - 2
                                                                      : strlen(word) - 2));
    } else {
        /* The last letter of a cluster is the one that may take a value. */
        o = ctl_find_letter(w->command, word[strlen(word) - 1]);
        eq = NULL;
    }
    if (o != NULL && o->type != CTL_SWITCH) {
        if (eq != NULL) {
            note_value(w, o, eq + 1);
        } else {
            w->pending = o;
        }
    }
}

static void read_word(struct words *w, const char *word)
{
    char both[64];
    if (w->pending != NULL) {
        note_value(w, w->pending, word);
        w->pending = NULL;
    } else if (!w->is_behind && strcmp(word, "--") == 0) {
        w->is_behind = 1;
    } else if (!w->is_behind && word[0] == '-' && word[1] != '\0') {
        read_option(w, word);
    } else if (w->command == NULL && w->noun == NULL && ctl_is_noun(word)) {
        w->noun = word;
    } else if (w->command == NULL) {
        snprintf(both, sizeof(both), "%s%s%.40s", w->noun != NULL ? w->noun : "",
                 w->noun != NULL ? " " : "", word);
        w->command = ctl_find_command(both);
        w->is_lost = w->command == NULL;
    } else if (w->n_args < N_ELEMENTS(w->args)) {
        w->args[w->n_args++] = word;
    }
}

static void offer_argument(const struct words *w)
{
    const struct ctl_command *c = w->command;
    if (c == NULL) {
        offer_commands(w, w->noun);
    } else if (c->max_args == CTL_ARGS_ANY || w->n_args < c->max_args) {
        offer_words(w, c->words[w->n_args > 0], c->choices);
    }
}

int ctl_complete(struct ctl *c)
{
    struct words w = {.c = c, .cur = ""};
    size_t n = c->p.n_args;
    for (size_t i = 0; i + 1 < n; i++) {
        read_word(&w, c->p.args[i]);
    }
    w.cur = n > 0 ? c->p.args[n - 1] : "";
    if (w.is_lost) {
        return CTL_OK;
    }
    const char *eq = strchr(w.cur, '=');
    if (w.pending == NULL && !w.is_behind && strncmp(w.cur, "--", 2) == 0 && eq != NULL) {
        /* --option=val: the candidates are values; the script puts the front part back. */
        w.pending = ctl_find_option(w.command, slice_of(w.cur + 2, (size_t)(eq - w.cur) - 2));
        w.cur = eq + 1;
        if (w.pending == NULL || w.pending->type == CTL_SWITCH) {
            return CTL_OK;
        }
    }
    if (w.pending != NULL) {
        offer_words(&w, w.pending->words, w.pending->choices);
    } else if (!w.is_behind && w.cur[0] == '-') {
        offer_options(&w);
    } else {
        offer_argument(&w);
    }
    return CTL_OK;
}
