/* SPDX-License-Identifier: Apache-2.0 */
/* Settings. First byte 0: a file's text; what is accepted prints as YAML that is accepted again and
 * means the same. Else: the words of a command line, one a line; those that begin with MUSTER_ are
 * its environment. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "server/conf/conf.h"

enum { WORDS_MAX = 40 };

static void check_whole(const struct conf *c)
{
    struct err e = {0};
    struct conf_listener listeners[CONF_LISTENERS_MAX];
    struct conf_member members[CONF_MEMBERS_MAX];
    size_t n = 0;
    int rc = conf_check(c, &e);
    MU_INVARIANT((rc == 0) == (e.text[0] == '\0'));
    if (rc == 0) {
        MU_INVARIANT(conf_listeners(c, listeners, &n, &e) == 0 && n >= 1);
        MU_INVARIANT(conf_members(c, members, &n, &e) == 0 && n <= CONF_MEMBERS_MAX);
    }
}

static void try_file(struct slice text)
{
    static struct conf_parsed first, second; /* large */
    struct err e = {0};
    char *printed = NULL;
    size_t len = 0;
    memset(&first, 0, sizeof(first));
    memset(&second, 0, sizeof(second));
    char *no_arguments[] = {"musterd", NULL}, *no_environment[] = {NULL};
    MU_INVARIANT(conf_parse(1, no_arguments, no_environment, &first, &e) == 0);
    second = first;
    if (conf_parse_file_text("file", text, &first, &e) != 0) {
        MU_INVARIANT(e.code != 0 && strncmp(e.text, "file", 4) == 0);
        return;
    }
    check_whole(&first.conf);
    FILE *f = open_memstream(&printed, &len);
    if (f == NULL) {
        mem_ran_out();
    }
    conf_print(&first, f);
    if (fclose(f) != 0 || printed == NULL) {
        mem_ran_out();
    }
    int rc = conf_parse_file_text("printed", slice_of(printed, len), &second, &e);
    if (rc != 0 || memcmp(&first.conf, &second.conf, sizeof(first.conf)) != 0) {
        (void)fprintf(stderr, "%s\n%.*s\n", e.text, (int)len, printed);
        abort();
    }
    free(printed);
}

static void try_words(struct slice text)
{
    static struct conf_parsed parsed; /* large */
    char *words = mem_slice_str(text), *argv[WORDS_MAX + 2] = {"musterd"}, *envp[WORDS_MAX + 1];
    struct err e = {0};
    int argc = 1, n_env = 0;
    char *rest = NULL;
    for (char *w = strtok_r(words, "\n", &rest); w != NULL; w = strtok_r(NULL, "\n", &rest)) {
        if (strchr(w, '/') != NULL || strcmp(w, "-") == 0) {
            continue; /* no file is opened here */
        }
        if (strncmp(w, "MUSTER_", 7) == 0 && n_env < WORDS_MAX) {
            envp[n_env++] = w;
        } else if (argc < WORDS_MAX) {
            argv[argc++] = w;
        }
    }
    argv[argc] = NULL;
    envp[n_env] = NULL;
    memset(&parsed, 0, sizeof(parsed));
    int rc = conf_parse(argc, argv, envp, &parsed, &e);
    MU_INVARIANT((rc == 0) == (e.text[0] == '\0'));
    if (rc == 0) {
        check_whole(&parsed.conf);
    }
    mem_free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    struct slice rest = slice_of(data + 1, len - 1);
    if (data[0] == 0) {
        try_file(rest);
    } else {
        try_words(rest);
    }
    return 0;
}
