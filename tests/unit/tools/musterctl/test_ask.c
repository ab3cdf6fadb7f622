/* SPDX-License-Identifier: Apache-2.0 */
/* What commands ask, and what they make of the answers and errors. */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "tests/unit/tools/musterctl/fake_muster.h"

#define ANSWERS(...)                                            \
    static const struct fake_answer answers_[] = {__VA_ARGS__}; \
    fake_answers(answers_, N_ELEMENTS(answers_))

static void requests_are(const char *want)
{
    char *got = fake_requests();
    assert_string_equal(got, want);
    mem_free(got);
}

static void out_is(char *out, const char *want)
{
    assert_string_equal(out, want);
    mem_free(out);
}

static void test_statuses(void **state)
{
    (void)state;
    static const struct {
        muster_status status;
        const char *code;
        int want;
    } rows[] = {
        {MUSTER_INVALID, "BAD_REQUEST", CTL_USAGE},
        {MUSTER_NOT_FOUND, "NOT_FOUND", CTL_NOT_FOUND},
        {MUSTER_CONFLICT, "REVISION_MISMATCH", CTL_CONFLICT},
        {MUSTER_COMPACTED, "COMPACTED", CTL_FAILED},
        {MUSTER_UNREACHABLE, "", CTL_UNREACHABLE},
        {MUSTER_UNKNOWN, "UNKNOWN_OUTCOME", CTL_UNKNOWN},
        {MUSTER_REFUSED, "NO_LEADER", CTL_UNREACHABLE},
        {MUSTER_REFUSED, "NOT_LEADER", CTL_UNREACHABLE},
        {MUSTER_REFUSED, "DISK_FULL", CTL_FAILED},
        {MUSTER_NO_MEMORY, "", CTL_FAILED},
        {MUSTER_IO, "", CTL_FAILED},
        {MUSTER_OK, "", CTL_OK},
    };
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct muster_error e = {.status = rows[i].status};
        snprintf(e.code, sizeof(e.code), "%s", rows[i].code);
        assert_int_equal(ctl_status_of(&e), rows[i].want);
    }
}

static void test_names_are_coded_into_paths(void **state)
{
    (void)state;
    char *out;
    fake_answers(NULL, 0);
    assert_int_equal(FAKE_RUN(&out, "config", "get", "a b/c/d%é?", "-r", "3"), CTL_UNREACHABLE);
    out_is(out, "");
    requests_are("GET /configs/a%20b/c%2Fd%25%C3%A9%3F?revision=3\n");
    assert_int_equal(FAKE_RUN(&out, "config", "get", "-g", "g/h", "a/b", "--consistency", "stale"),
                     CTL_UNREACHABLE);
    mem_free(out);
    requests_are("GET /configs/g%2Fh/a%2Fb?consistency=stale\n");
    assert_int_equal(FAKE_RUN(&out, "service", "deregister", "web", "i/1", "--cluster", "c&d"),
                     CTL_UNREACHABLE);
    mem_free(out);
    requests_are("DELETE /services/web/instances/i%2F1?group=DEFAULT_GROUP&cluster=c%26d\n");
    assert_int_equal(FAKE_RUN(&out, "service", "keepalive", "app/web", "i"), CTL_UNREACHABLE);
    mem_free(out);
    requests_are("POST /services/web/instances/i/keepalive?group=app\n");
    static const char *const empty[] = {"", "/", "a/", "/a"};
    for (size_t i = 0; i < N_ELEMENTS(empty); i++) {
        assert_int_equal(FAKE_RUN(&out, "config", "get", empty[i]), CTL_USAGE);
        mem_free(out);
        requests_are("");
    }
    setenv("MUSTER_GROUP", "env", 1);
    assert_int_equal(FAKE_RUN(&out, "config", "delete", "k"), CTL_UNREACHABLE);
    mem_free(out);
    requests_are("DELETE /configs/env/k\n");
    unsetenv("MUSTER_GROUP");
}

static void test_lists_take_all_pages(void **state)
{
    (void)state;
    char *out;
    ANSWERS(
        {NULL, "GET", "/services?group=g&limit=1000&page=1", MUSTER_OK, NULL,
         "{\"services\":[{\"group\":\"g\",\"name\":\"a\",\"instances\":2,\"healthy\":1}],\"more\":true}",
         0, NULL},
        {NULL, "GET", "/services?group=g&limit=1000&page=2", MUSTER_OK, NULL,
         "{\"services\":[{\"group\":\"g\",\"name\":\"b\\u001b\",\"instances\":0,\"healthy\":0}],\"more\":false}",
         0, NULL});
    assert_int_equal(FAKE_RUN(&out, "service", "list", "-g", "g", "-o", "plain"), CTL_OK);
    out_is(out, "g\ta\t2\t1\ng\tb\\x1b\t0\t0\n");
}

/* The leader is looked for among the endpoints, and asked itself. */
static void test_members_are_changed_at_the_leader(void **state)
{
    (void)state;
    char *out;
    ANSWERS({"http://a:1", "GET", "/cluster", MUSTER_OK, NULL,
             "{\"role\":\"follower\",\"leader\":\"n2\"}", 0, NULL},
            {"https://b:2", "GET", "/cluster", MUSTER_OK, NULL,
             "{\"role\":\"leader\",\"leader\":\"n2\",\"operation\":null}", 0, NULL},
            {"https://b:2", "POST", "/cluster:transfer", MUSTER_OK, NULL, "{\"leader\":\"n3\"}", 0,
             NULL},
            {"https://b:2", "DELETE", "/cluster/members/n9", MUSTER_OK, NULL,
             "{\"operation\":\"removing n9\"}", 0, NULL});
    assert_int_equal(
        FAKE_RUN(&out, "member", "transfer", "n3", "-e", "a:1, https://b:2", "-o", "plain"),
        CTL_OK);
    out_is(out, "n3\n");
    requests_are("GET /cluster\nGET /cluster\nPOST /cluster:transfer {\"to\":\"n3\"}\n");
    /* Only a follower is known: its word is passed on, nothing is asked of it. */
    assert_int_equal(FAKE_RUN(&out, "member", "transfer", "-e", "a:1"), CTL_UNREACHABLE);
    mem_free(out);
    requests_are("GET /cluster\n");
    /* The leader knows of no operation: it cannot be told how it ended. */
    assert_int_equal(FAKE_RUN(&out, "member", "remove", "n9", "-e", "https://b:2"), CTL_UNKNOWN);
    mem_free(out);
}

static void test_how_operations_end(void **state)
{
    (void)state;
    static const struct {
        const char *cluster;
        int want;
    } rows[] = {
        {"{\"role\":\"leader\",\"leader\":\"n1\",\"operation\":\"done: n4\"}", CTL_OK},
        {"{\"role\":\"leader\",\"leader\":\"n1\",\"operation\":\"given up, it stays a learner; "
         "start it and add it again: n4\"}",
         CTL_FAILED},
        {"{\"role\":\"leader\",\"leader\":\"n1\",\"operation\":\"fewer than two voters would stay "
         "n4\"}",
         CTL_FAILED},
        {"{\"role\":\"leader\",\"leader\":\"n1\",\"operation\":\"waiting for n4 to catch up: 1 of "
         "9\"}",
         CTL_UNKNOWN},
    };
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        char *out;
        const struct fake_answer answers[] = {
            {NULL, "GET", "/cluster", MUSTER_OK, NULL, rows[i].cluster, 0, NULL},
            {NULL, "POST", "/cluster/members", MUSTER_OK, NULL, "{}", 0, NULL}};
        fake_answers(answers, N_ELEMENTS(answers));
        assert_int_equal(FAKE_RUN(&out, "member", "add", "n4", "h:1", "--wait", "1ms"),
                         rows[i].want);
        mem_free(out);
    }
}

static void test_status_judges(void **state)
{
    (void)state;
#define MEMBERS(reachable)                                                                    \
    "{\"cluster_id\":\"c\",\"node\":\"n1\",\"role\":\"leader\",\"leader\":\"n1\",\"term\":2," \
    "\"members\":[{\"name\":\"n1\",\"leader\":true,\"reachable\":true},{\"name\":\"n2\","     \
    "\"reachable\":" reachable "}]}"
    static const struct {
        const char *cluster;
        int is_ready, want;
        const char *said;
    } rows[] = {
        {MEMBERS("true"), 1, CTL_OK, "healthy\n"},
        {MEMBERS("false"), 1, CTL_FAILED, "degraded: the leader does not reach n2"},
        {MEMBERS("true"), 0, CTL_FAILED, "degraded: http://a:1 is not ready"},
        {"{\"role\":\"candidate\",\"leader\":null,\"members\":[]}", 0, CTL_UNREACHABLE,
         "no leader"},
        {NULL, 0, CTL_UNREACHABLE, "unreachable"},
        {"the anonymous token lacks operator:read", 0, CTL_FAILED, "refused"},
    };
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        char *out;
        const struct fake_answer answers[] = {
            {NULL, "GET", rows[i].cluster != NULL ? "/cluster" : "-",
             strcmp(rows[i].said, "refused") == 0 ? MUSTER_REFUSED : MUSTER_OK, NULL,
             rows[i].cluster, 0, NULL},
            {NULL, "GET", rows[i].is_ready ? "//readyz?verbose" : "-", MUSTER_OK, NULL, "", 0,
             NULL}};
        fake_answers(answers, N_ELEMENTS(answers));
        assert_int_equal(FAKE_RUN(&out, "status", "-e", "a:1"), rows[i].want);
        assert_ptr_equal(strstr(out, rows[i].said), out);
        mem_free(out);
        assert_int_equal(FAKE_RUN(&out, "status", "-e", "a:1", "-o", "json"), rows[i].want);
        assert_non_null(
            strstr(out, rows[i].want == CTL_OK ? "\"healthy\":true" : "\"healthy\":false"));
        mem_free(out);
    }
}

static void test_watch_lines(void **state)
{
    (void)state;
    char *out;
    ANSWERS(
        {NULL, "GET", "/cluster", MUSTER_OK, NULL, "{}", 0, NULL},
        {NULL, "WATCH", "watch", MUSTER_OK, NULL,
         "{\"revision\":7,\"events\":[{\"type\":\"put\",\"kind\":\"config\",\"group\":\"g\\u202e\",\"key\":"
         "\"k\",\"revision\":7,\"version\":2,\"content\":\"a\\nb\"},{\"type\":\"delete\","
         "\"kind\":\"instance\",\"group\":\"g\",\"service\":\"s\",\"id\":\"i\",\"revision\":7}]}",
         7, NULL});
    assert_int_equal(FAKE_RUN(&out, "watch", "--config", "g/*", "--service", "g/s", "--from", "7"),
                     CTL_OK);
    out_is(out, "       7  put     config    g\\u202e/k version 2 \"a\\nb\"\n"
                "       7  delete  instance  g/s i\n");
    requests_are("GET /cluster\nWATCH services=g%2Fs&configs=g%2F%2A from 7\n");
    assert_int_equal(FAKE_RUN(&out, "config", "watch", "-n", "1", "-o", "plain"), CTL_OK);
    out_is(out, "7\tput\tconfig\tg\\u202e\tk\t\n");
    requests_are("GET /cluster\nWATCH configs=%2A from 0\n");
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

static void test_answers_that_are_no_json(void **state)
{
    (void)state;
    char *out;
    ANSWERS({NULL, "GET", "/configs?limit=1000&page=1", MUSTER_OK, NULL, "<html>", 0, NULL},
            {NULL, "GET", "/services?limit=1000&page=1", MUSTER_OK, NULL, "[]", 0, NULL});
    assert_int_equal(FAKE_RUN(&out, "config", "list"), CTL_FAILED);
    out_is(out, "");
    assert_int_equal(FAKE_RUN(&out, "service", "list", "-o", "json"), CTL_OK);
    out_is(out, "{\"services\":[]}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_names_are_coded_into_paths),
        cmocka_unit_test(test_lists_take_all_pages),
        cmocka_unit_test(test_members_are_changed_at_the_leader),
        cmocka_unit_test(test_how_operations_end),
        cmocka_unit_test(test_status_judges),
        cmocka_unit_test(test_watch_lines),
        cmocka_unit_test(test_answers_that_are_no_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
