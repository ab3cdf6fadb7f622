/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/json_read.h"
#include "base/log.h"
#include "base/text.h"

/* Everything written to stderr while `fn` runs. */
static size_t captured(void (*fn)(void), char *out, size_t cap)
{
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    int was = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
    fn();
    dup2(was, STDERR_FILENO);
    close(was);
    close(pipe_fds[1]);
    ssize_t n = read(pipe_fds[0], out, cap - 1);
    close(pipe_fds[0]);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static void say_something(void)
{
    log_info("raft", "became \"leader\"\n", LOG_U64("term", 7), LOG_I64("diff", -3),
             LOG_STR("node", "n\x01"), LOG_STR("none", NULL));
}

static void say_nothing_more(void)
{
    log_warn("conf", "plain");
}

static void whisper(void)
{
    log_debug("raft", "not shown", LOG_U64("term", 7));
}

static void test_one_json_object_a_line(void **state)
{
    (void)state;
    char line[1000];
    size_t n = captured(say_something, line, sizeof(line));
    assert_true(n > 2 && line[n - 1] == '\n' && strchr(line, '\n') == line + n - 1);
    struct json_t *doc = NULL;
    struct err e = {0};
    struct jr r;
    assert_int_equal(jr_parse(slice_of(line, n), &doc, &e), 0);
    jr_begin(&r, doc, &e);
    int64_t ms;
    assert_int_equal(text_parse_time(jr_str(&r, "ts", 1), &ms), 0);
    unit_slice_is(jr_str(&r, "level", 1), "info");
    unit_slice_is(jr_str(&r, "service", 1), "muster");
    unit_slice_is(jr_str(&r, "logger", 1), "raft");
    unit_slice_is(jr_str(&r, "msg", 1), "became \"leader\"\n");
    assert_true(jr_int(&r, "term", 0, 0, 100) == 7);
    assert_true(jr_int(&r, "diff", 0, -100, 100) == -3);
    unit_slice_is(jr_str(&r, "node", 1), "n\x01");
    unit_slice_is(jr_str(&r, "none", 1), "");
    assert_int_equal(jr_end(&r), 0);
    jr_free(doc);
}

static void test_fields_are_optional(void **state)
{
    (void)state;
    char line[1000];
    captured(say_nothing_more, line, sizeof(line));
    assert_non_null(strstr(
        line,
        "\"level\":\"warn\",\"service\":\"muster\",\"logger\":\"conf\",\"msg\":\"plain\"}\n"));
}

static void test_level_decides(void **state)
{
    (void)state;
    char line[1000];
    assert_int_equal(captured(whisper, line, sizeof(line)), 0);
    log_set_level(LOG_DEBUG);
    assert_true(captured(whisper, line, sizeof(line)) > 0);
    log_set_level(LOG_ERROR);
    assert_int_equal(captured(say_nothing_more, line, sizeof(line)), 0);
    assert_true(log_is_on(LOG_ERROR));
    assert_false(log_is_on(LOG_WARN));
    log_set_level(LOG_INFO);
}

static void test_level_names(void **state)
{
    (void)state;
    enum log_level level = LOG_DEBUG;
    assert_int_equal(log_level_from("error", &level), 0);
    assert_int_equal(level, LOG_ERROR);
    assert_int_equal(log_level_from("debug", &level), 0);
    assert_int_equal(level, LOG_DEBUG);
    assert_int_equal(log_level_from("loud", &level), MU_E_BAD_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_json_object_a_line),
        cmocka_unit_test(test_fields_are_optional),
        cmocka_unit_test(test_level_decides),
        cmocka_unit_test(test_level_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
