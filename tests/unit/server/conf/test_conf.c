/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "server/conf/conf.h"

static int parse(struct conf_parsed *p, struct err *e, char **envp, int argc, ...)
{
    char *argv[16] = {(char *)(uintptr_t) "musterd"};
    static char *none[] = {NULL};
    va_list a;
    va_start(a, argc);
    for (int i = 1; i <= argc; i++) {
        argv[i] = va_arg(a, char *);
    }
    va_end(a);
    *e = (struct err){0};
    return conf_parse(argc + 1, argv, envp != NULL ? envp : none, p, e);
}

static void defaults_and_flags(void **state)
{
    struct conf_parsed p;
    struct err e;
    (void)state;
    assert_int_equal(parse(&p, &e, NULL, 2, "--data-dir", "/d"), 0);
    assert_int_equal(conf_check(&p.conf, &e), 0);
    assert_string_equal(p.conf.listen, "127.0.0.1:8500");
    assert_int_equal(p.conf.election_ms, 400);
    assert_int_equal(p.conf.value_max_bytes, 1048576);
    assert_int_equal(parse(&p, &e, NULL, 3, "--value-max=2MiB", "--election-timeout=1s", "--join"),
                     0);
    assert_int_equal(p.conf.value_max_bytes, 2097152);
    assert_int_equal(p.conf.election_ms, 1000);
    assert_true(p.conf.is_join);
}

static void flag_beats_environment_beats_file(void **state)
{
    struct conf_parsed p;
    struct err e;
    char path[] = "/tmp/muster-conf-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    char env1[] = "MUSTER_LOG_LEVEL=warn", env2[] = "MUSTER_PEER=127.0.0.1:2";
    char *envp[] = {env1, env2, NULL};
    (void)state;
    fputs("log_level: debug\npeer: 127.0.0.1:1\nname: file\n", f);
    fclose(f);
    assert_int_equal(parse(&p, &e, envp, 4, "--config", path, "--peer", "127.0.0.1:3"), 0);
    assert_string_equal(p.conf.name, "file");
    assert_string_equal(p.conf.log_level, "warn");
    assert_string_equal(p.conf.peer, "127.0.0.1:3");
    unlink(path);
}

static void expect_error(const char *part, struct err *e, int rc)
{
    assert_int_not_equal(rc, 0);
    if (strstr(e->text, part) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", part, e->text);
    }
}

static void mistakes_get_suggestions(void **state)
{
    struct conf_parsed p;
    struct err e;
    char env[] = "MUSTER_PEERS=x";
    char *envp[] = {env, NULL};
    (void)state;
    expect_error("did you mean --data-dir", &e, parse(&p, &e, NULL, 2, "--data-dri", "/d"));
    assert_true(p.is_misused);
    expect_error("configuration file /: Is a directory", &e,
                 parse(&p, &e, NULL, 2, "--config", "/"));
    assert_false(p.is_misused);
    expect_error("needs a value", &e, parse(&p, &e, NULL, 1, "--name"));
    expect_error("unexpected argument", &e, parse(&p, &e, NULL, 1, "start"));
    expect_error("duration from", &e, parse(&p, &e, NULL, 1, "--heartbeat=5ms"));
    expect_error("MUSTER_PEERS", &e, parse(&p, &e, envp, 0));
    assert_false(p.is_misused);
    char token[] = "MUSTER_TOKEN=x"; /* musterctl's: both are started from one shell */
    envp[0] = token;
    assert_int_equal(parse(&p, &e, envp, 0), 0);
}

static int file_text(struct conf_parsed *p, struct err *e, const char *text)
{
    *e = (struct err){0};
    return conf_parse_file_text("t.yaml", slice_str(text), p, e);
}

static void files_are_strict(void **state)
{
    struct conf_parsed p;
    struct err e;
    (void)state;
    assert_int_equal(parse(&p, &e, NULL, 0), 0);
    assert_int_equal(file_text(&p, &e, "name: a\ntls:\n  cert: /c\n  key: /k\n"), 0);
    assert_string_equal(p.conf.tls_cert, "/c");
    assert_int_equal(file_text(&p, &e, ""), 0);
    assert_int_equal(file_text(&p, &e, "# nothing\n"), 0);
    assert_int_equal(file_text(&p, &e, "{\"name\": \"json\"}"), 0);
    assert_string_equal(p.conf.name, "json");
    expect_error("t.yaml:2:8: unknown key \"lisen\"; did you mean \"listen\"?", &e,
                 file_text(&p, &e, "name: a\nlisen: x\n"));
    expect_error("given twice", &e, file_text(&p, &e, "name: a\nname: b\n"));
    expect_error("anchors", &e, file_text(&p, &e, "name: &x a\npeer: *x\n"));
    expect_error("single value is expected for listen; several are written as one, with commas", &e,
                 file_text(&p, &e, "listen: [a, b]\n"));
    expect_error("one level", &e, file_text(&p, &e, "tls:\n  cert:\n    x: y\n"));
    expect_error("mapping", &e, file_text(&p, &e, "- a\n"));
    expect_error("not YAML", &e, file_text(&p, &e, "name: \"x\n"));
    expect_error("true or false", &e, file_text(&p, &e, "join: maybe\n"));
}

static void whole_is_checked(void **state)
{
    static const struct {
        const char *flags[6];
        const char *want;
    } rows[] = {
        {{"--name=n1"}, "data_dir is missing"},
        {{"--data-dir=/d", "--name=a b"}, "not a node name"},
        {{"--data-dir=/d", "--listen=nowhere"},
         "host:port, [v6]:port, http://host:port or unix:///path"},
        {{"--data-dir=/d", "--listen=0.0.0.0:8500"}, "no access control"},
        {{"--data-dir=/d", "--listen=127.0.0.1.example.org:8500"}, "no access control"},
        {{"--data-dir=/d", "--listen=127.0.0.1:8500,[::]:8500"}, "no access control"},
        {{"--data-dir=/d", "--dns-listen=127.0.0.1.example.org:8600"}, "no access control"},
        {{"--data-dir=/d", "--listen=0.0.0.0:8500", "--acl-enabled", "--acl-default-policy=allow"},
         "no access control"},
        {{"--data-dir=/d", "--listen=http://0.0.0.0:8500", "--tls-cert=/c", "--tls-key=/k",
          "--tls-client-ca=/a"},
         "no access control"},
        {{"--data-dir=/d", "--listen=unix://a/b"}, "unix:///PATH"},
        {{"--data-dir=/d", "--listen=http://unix:///a/b"}, "host:port"},
        {{"--data-dir=/d", "--listen-mode=0680"}, "octal"},
        {{"--data-dir=/d", "--listen-mode=4755"}, "octal"},
        {{"--data-dir=/d", "--name=n1", "--initial-cluster=n1=127.0.0.1:1,n2=127.0.0.1:2"},
         "two nodes"},
        {{"--data-dir=/d", "--name=n1",
          "--initial-cluster=n1=127.0.0.1:1,n2=127.0.0.1:2,n3=127.0.0.1:3"},
         "needs --peer"},
        {{"--data-dir=/d", "--name=x", "--peer=127.0.0.1:1", "--initial-cluster=n1=127.0.0.1:1"},
         "does not name this node"},
        {{"--data-dir=/d", "--name=n1", "--peer=127.0.0.1:1",
          "--initial-cluster=n1=127.0.0.1:1,n1=127.0.0.1:2"},
         "twice"},
        {{"--data-dir=/d", "--tls-cert=/c"}, "go together"},
        {{"--data-dir=/d", "--election-timeout=100ms", "--heartbeat=50ms"}, "third"},
        {{"--data-dir=/d", "--log-level=loud"}, "log_level"},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct conf_parsed p;
        struct err e;
        const char *const *f = rows[i].flags;
        int n = 0;
        while (n < 6 && f[n] != NULL) {
            n++;
        }
        assert_int_equal(parse(&p, &e, NULL, n, f[0], f[1], f[2], f[3], f[4], f[5]), 0);
        expect_error(rows[i].want, &e, conf_check(&p.conf, &e));
    }
}

static void loopback_is_no_beginning(void **state)
{
    static const char *const own[] = {"127.0.0.1:1", "127.9.9.9:0", "[::1]:1", "localhost:1",
                                      "LOCALHOST:1"};
    static const char *const others[] = {"127.0.0.1.example.org:1",
                                         "127.evil:1",
                                         "localhost.example.org:1",
                                         "0.0.0.0:1",
                                         "[::]:1",
                                         "[::1%eth0]:1",
                                         "[::ffff:10.0.0.1]:1",
                                         "[0:0:0:0:0:0:0:2]:1",
                                         "128.0.0.1:1"};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(own); i++) {
        assert_true(conf_is_loopback(own[i]));
    }
    for (size_t i = 0; i < N_ELEMENTS(others); i++) {
        assert_false(conf_is_loopback(others[i]));
    }
}

static void listeners_are_of_three_kinds(void **state)
{
    struct conf_parsed p;
    struct conf_listener l[CONF_LISTENERS_MAX];
    struct err e = {0};
    size_t n = 0;
    (void)state;
    assert_int_equal(parse(&p, &e, NULL, 6, "--data-dir=/d",
                           "--listen=0.0.0.0:1,http://127.0.0.1:2,unix:///run/m.sock",
                           "--tls-cert=/c", "--tls-key=/k", "--tls-client-ca=/a",
                           "--listen-mode=0660"),
                     0);
    assert_int_equal(conf_check(&p.conf, &e), 0);
    assert_int_equal(conf_listeners(&p.conf, l, &n, &e), 0);
    assert_int_equal(n, 3);
    assert_string_equal(l[0].address, "0.0.0.0:1");
    assert_true(!l[0].is_plain && !l[0].is_local);
    assert_string_equal(l[1].address, "127.0.0.1:2");
    assert_true(l[1].is_plain && l[1].is_local);
    assert_string_equal(l[2].address, "unix:///run/m.sock");
    assert_true(l[2].is_plain && l[2].is_local);
    assert_int_equal(conf_listen_mode(&p.conf), 0660);
}

/* parse -> print -> parse gives the same. */
static void printed_settings_read_back(void **state)
{
    struct conf_parsed a, b;
    struct err e;
    char *text = NULL;
    size_t n = 0;
    (void)state;
    assert_int_equal(parse(&a, &e, NULL, 4, "--data-dir=/data", "--value-max=3MiB",
                           "--head-timeout=1500ms", "--peer-tls-ca=/ca"),
                     0);
    FILE *f = open_memstream(&text, &n);
    conf_print(&a, f);
    fclose(f);
    assert_int_equal(parse(&b, &e, NULL, 0), 0);
    int rc = conf_parse_file_text("printed", slice_of(text, n), &b, &e);
    if (rc != 0) {
        fail_msg("%s\n%s", e.text, text);
    }
    assert_memory_equal(&a.conf, &b.conf, sizeof(a.conf));
    free(text);
}

/* Quotes, backslashes and control characters did not. */
static void printed_marks_read_back(void **state)
{
    static const char hard[] = "--data-dir=/d \"x\" \\ \t\x01\x7f \xc2\x85 \xe2\x80\xa8 \xc3\xa4";
    struct conf_parsed a, b;
    struct err e;
    char *text = NULL;
    size_t n = 0;
    (void)state;
    assert_int_equal(parse(&a, &e, NULL, 1, hard), 0);
    FILE *f = open_memstream(&text, &n);
    conf_print(&a, f);
    fclose(f);
    assert_int_equal(parse(&b, &e, NULL, 0), 0);
    if (conf_parse_file_text("printed", slice_of(text, n), &b, &e) != 0) {
        fail_msg("%s\n%s", e.text, text);
    }
    assert_string_equal(a.conf.data_dir, b.conf.data_dir);
    free(text);
}

static void note_key(void *arg, const char *key)
{
    snprintf(arg, 64, "%s", key);
}

static void reload_takes_what_it_may(void **state)
{
    struct conf_parsed a, b;
    struct err e;
    char key[64] = "";
    (void)state;
    assert_int_equal(parse(&a, &e, NULL, 1, "--data-dir=/d"), 0);
    assert_int_equal(parse(&b, &e, NULL, 3, "--data-dir=/d", "--log-level=debug", "--workers=4"),
                     0);
    assert_int_equal(conf_reload(&a.conf, &b.conf, note_key, key), 1);
    assert_string_equal(a.conf.log_level, "debug");
    assert_int_equal(a.conf.workers, 0);
    assert_string_equal(key, "workers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_and_flags),
        cmocka_unit_test(flag_beats_environment_beats_file),
        cmocka_unit_test(mistakes_get_suggestions),
        cmocka_unit_test(files_are_strict),
        cmocka_unit_test(whole_is_checked),
        cmocka_unit_test(loopback_is_no_beginning),
        cmocka_unit_test(listeners_are_of_three_kinds),
        cmocka_unit_test(printed_settings_read_back),
        cmocka_unit_test(printed_marks_read_back),
        cmocka_unit_test(reload_takes_what_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
