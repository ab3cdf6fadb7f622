/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "tests/unit/tools/musterctl/fake_muster.h"

static int parse(struct ctl_parsed *p, struct err *e, const char *const *words)
{
    int argc = 0;
    while (words[argc] != NULL) {
        argc++;
    }
    e->text[0] = '\0';
    return ctl_parse(argc, (char **)(uintptr_t)words, p, e);
}

#define PARSE(p, e, ...) parse(p, e, (const char *const[]){"musterctl", __VA_ARGS__, NULL})

static void test_options_stand_anywhere(void **state)
{
    (void)state;
    struct ctl_parsed p;
    struct err e;
    assert_int_equal(PARSE(&p, &e, "-o", "json", "config", "--quiet", "put", "--if-revision=7",
                           "app/db", "--comment", "x", "text", "-qojson"),
                     0);
    assert_string_equal(p.command->name, "config put");
    assert_int_equal(p.n_args, 2);
    assert_string_equal(p.args[0], "app/db");
    assert_string_equal(p.args[1], "text");
    assert_int_equal(ctl_opt_u64(&p, "if-revision"), 7);
    assert_string_equal(ctl_opt(&p, "comment"), "x");
    assert_string_equal(ctl_opt(&p, "output"), "json");
    assert_true(ctl_opt_has(&p, "quiet"));
    assert_false(ctl_opt_has(&p, "create-only"));
    assert_null(ctl_opt(&p, "author"));
    assert_int_equal(ctl_opt_ms(&p, "timeout"), 5000);
    ctl_parsed_fini(&p);
}

static void test_two_dashes_end_options(void **state)
{
    (void)state;
    struct ctl_parsed p;
    struct err e;
    assert_int_equal(PARSE(&p, &e, "config", "put", "--", "--key", "-v"), 0);
    assert_int_equal(p.n_args, 2);
    assert_string_equal(p.args[0], "--key");
    assert_string_equal(p.args[1], "-v");
    ctl_parsed_fini(&p);
    assert_int_equal(PARSE(&p, &e, "config", "put", "k", "-"), 0);
    assert_string_equal(p.args[1], "-");
    ctl_parsed_fini(&p);
}

static void test_options_that_may_be_given_often(void **state)
{
    (void)state;
    struct ctl_parsed p;
    struct err e;
    size_t at = 0;
    assert_int_equal(
        PARSE(&p, &e, "service", "get", "web", "--tag", "a", "-N", "ns", "--tag=b", "--tag="), 0);
    assert_string_equal(ctl_opt_next(&p, "tag", &at), "a");
    assert_string_equal(ctl_opt_next(&p, "tag", &at), "b");
    assert_string_equal(ctl_opt_next(&p, "tag", &at), "");
    assert_null(ctl_opt_next(&p, "tag", &at));
    ctl_parsed_fini(&p);
}

static void test_environment_counts_when_nothing_is_given(void **state)
{
    (void)state;
    struct ctl_parsed p;
    struct err e;
    setenv("MUSTER_NAMESPACE", "env", 1);
    setenv("MUSTER_OUTPUT", "plain", 1);
    assert_int_equal(PARSE(&p, &e, "status"), 0);
    assert_string_equal(ctl_opt(&p, "namespace"), "env");
    assert_string_equal(ctl_opt(&p, "output"), "plain");
    ctl_parsed_fini(&p);
    assert_int_equal(PARSE(&p, &e, "status", "-N", "flag"), 0);
    assert_string_equal(ctl_opt(&p, "namespace"), "flag");
    ctl_parsed_fini(&p);
    setenv("MUSTER_OUTPUT", "yaml", 1);
    assert_int_not_equal(PARSE(&p, &e, "status"), 0);
    assert_non_null(strstr(e.text, "MUSTER_OUTPUT must be one of"));
    ctl_parsed_fini(&p);
    /* Help is there even then. */
    assert_int_equal(PARSE(&p, &e, "status", "--help"), 0);
    ctl_parsed_fini(&p);
    unsetenv("MUSTER_NAMESPACE");
    unsetenv("MUSTER_OUTPUT");
}

static void test_wrong_lines_say_what_is_right(void **state)
{
    (void)state;
    static const struct {
        const char *words[8]; /* NULL behind the last */
        const char *said;
    } wrong[] = {
        {{"musterctl"}, "a command is missing"},
        {{"musterctl", "config"}, "config needs a verb"},
        {{"musterctl", "config", "hostory"}, "did you mean \"history\"?"},
        {{"musterctl", "stats"}, "did you mean \"status\"?"},
        {{"musterctl", "config put", "a"}, "unknown command"},
        {{"musterctl", "", "x"}, "unknown command \"\""},
        {{"musterctl", "config", "foo"}, "unknown command \"config foo\"; see"},
        {{"musterctl", "config", "get", "a", "--revison", "1"}, "did you mean --revision?"},
        {{"musterctl", "--group", "x", "config", "get"}, "options of a command come behind it"},
        {{"musterctl", "config", "get", "a", "-x"}, "unknown option -x"},
        {{"musterctl", "config", "get", "a", "--"}, NULL},
        {{"musterctl", "config", "get", "a", "--revision"}, "--revision needs a value"},
        {{"musterctl", "config", "get", "a", "--revision", "-1"}, "must be a number from 1"},
        {{"musterctl", "config", "get", "a", "--revision", "0"}, "must be a number from 1"},
        {{"musterctl", "config", "get", "a", "--revision", "18446744073709551616"}, "number"},
        {{"musterctl", "config", "get", "a", "--revision="}, "must be a number"},
        {{"musterctl", "status", "--timeout", "0"}, "must be a duration from 1ms to 1h"},
        {{"musterctl", "status", "--timeout", "9999999999999999999h"}, "must be a duration"},
        {{"musterctl", "bench", "put", "-c", "257"}, "must be a number from 1 to 256"},
        {{"musterctl", "status", "--quiet=1"}, "takes no value"},
        {{"musterctl", "status", "--=1"}, "unknown option"},
        {{"musterctl", "config", "get"}, "[GROUP/]KEY is missing"},
        {{"musterctl", "lease", "keepalive"}, "is missing"},
        {{"musterctl", "status", "now"}, "unexpected argument \"now\""},
        {{"musterctl", "completion", "csh"}, "one of bash zsh fish"},
        {{"musterctl", "help", "nothing"}, "unknown command \"nothing\""},
        {{"musterctl", "help", "config", "nothing"}, "unknown command \"config nothing\""},
    };
    for (size_t i = 0; i < N_ELEMENTS(wrong); i++) {
        struct ctl_parsed p;
        struct err e;
        int rc = parse(&p, &e, wrong[i].words);
        if (wrong[i].said == NULL) {
            assert_int_equal(rc, 0);
        } else {
            assert_int_not_equal(rc, 0);
            if (strstr(e.text, wrong[i].said) == NULL) {
                fail_msg("\"%s\" does not say \"%s\"", e.text, wrong[i].said);
            }
        }
        ctl_parsed_fini(&p);
    }
}

/* Whatever the words are, the parser gives an answer and touches nothing it should not. */
static void test_hostile_words(void **state)
{
    (void)state;
    static char long_word[100000];
    memset(long_word, '-', sizeof(long_word) - 1);
    static const char *const words[] = {
        "-",      "--",  "---",  "-\xff",  "--\xff=\xff", "--o",  "-o",    "-ojson=",
        "config", "get", "help", "--help", "\x1b[31m",    "%s%n", "--tag", long_word};
    uint32_t seed = 1;
    for (int round = 0; round < 3000; round++) {
        const char *line[8] = {"musterctl"};
        for (size_t i = 1; i < 7; i++) {
            seed = seed * 1664525 + 1013904223;
            line[i] = words[(seed >> 16) % N_ELEMENTS(words)];
        }
        struct ctl_parsed p;
        struct err e;
        if (parse(&p, &e, line) != 0) {
            assert_true(e.text[0] != '\0' && strlen(e.text) < sizeof(e.text));
        }
        ctl_parsed_fini(&p);
    }
}

/* The table itself: no two options of one command answer to the same name or letter, and each
 * command can be found by its own name. */
static void test_table_is_consistent(void **state)
{
    (void)state;
    for (size_t i = 0; i < ctl_commands_n; i++) {
        const struct ctl_command *c = &ctl_commands[i];
        assert_ptr_equal(ctl_find_command(c->name), c);
        assert_true(c->min_args <= c->max_args);
        assert_true(c->run != NULL || strcmp(c->name, "help") == 0);
        const char *space = strchr(c->name, ' ');
        if (space != NULL) {
            char noun[32];
            snprintf(noun, sizeof(noun), "%.*s", (int)(space - c->name), c->name);
            assert_true(ctl_is_noun(noun));
        }
        for (const struct ctl_option *o = c->options; o != NULL && o->name != NULL; o++) {
            assert_ptr_equal(ctl_find_option(c, slice_str(o->name)), o);
            assert_true(o->letter == 0 || ctl_find_letter(c, o->letter) == o);
            assert_true((o->type == CTL_SWITCH) == (o->argument == NULL));
            assert_true((o->type == CTL_CHOICE) == (o->choices != NULL));
        }
    }
}

static void test_help_at_each_level(void **state)
{
    (void)state;
    char *out;
    assert_int_equal(FAKE_RUN(&out, "--help"), 0);
    for (size_t i = 0; i < ctl_commands_n; i++) {
        assert_true((strstr(out, ctl_commands[i].name) != NULL) ==
                    (ctl_commands[i].summary != NULL));
    }
    mem_free(out);
    assert_int_equal(FAKE_RUN(&out, "lease", "-h"), 0);
    assert_non_null(strstr(out, "lease revoke"));
    assert_null(strstr(out, "config put"));
    mem_free(out);
    assert_int_equal(FAKE_RUN(&out, "help", "config", "put"), 0);
    assert_non_null(strstr(out, "usage: musterctl config put [GROUP/]KEY [CONTENT] [OPTIONS]"));
    assert_non_null(strstr(out, "--if-revision REV"));
    mem_free(out);
    assert_int_equal(FAKE_RUN(&out, "--man"), 0);
    assert_non_null(strstr(out, "## config put [GROUP/]KEY"));
    assert_non_null(strstr(out, "MUSTER\\_ENDPOINTS"));
    mem_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_stand_anywhere),
        cmocka_unit_test(test_two_dashes_end_options),
        cmocka_unit_test(test_options_that_may_be_given_often),
        cmocka_unit_test(test_environment_counts_when_nothing_is_given),
        cmocka_unit_test(test_wrong_lines_say_what_is_right),
        cmocka_unit_test(test_hostile_words),
        cmocka_unit_test(test_table_is_consistent),
        cmocka_unit_test(test_help_at_each_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
