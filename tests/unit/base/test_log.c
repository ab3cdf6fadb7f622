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

/* --- reading along --- */

struct reader {
    struct log_tap tap;
    int n_wakes;
};

static void render(struct buf *out, const struct log_line *line)
{
    struct jw w;
    buf_printf(out, "%s %s %s", log_level_name(line->level), line->logger, line->msg);
    for (size_t i = 0; i < line->n; i++) {
        buf_printf(out, " %s=", line->fields[i].name);
        jw_init(&w, out);
        log_field_value(&w, &line->fields[i]);
    }
    buf_append_byte(out, '\n');
}

static void wake(struct log_tap *t)
{
    CONTAINER_OF(t, struct reader, tap)->n_wakes++;
}

static void open_reader(struct reader *r, enum log_level level)
{
    *r = (struct reader){.tap = {.level = level, .render = render, .wake = wake}};
    assert_int_equal(log_tap_add(&r->tap), 0);
}

static void test_a_tap_has_its_own_level(void **state)
{
    (void)state;
    char line[1000];
    struct reader low, high;
    struct buf out;
    buf_init(&out);
    open_reader(&low, LOG_DEBUG);
    open_reader(&high, LOG_WARN);
    assert_int_equal(captured(whisper, line, sizeof(line)), 0); /* not to stderr */
    whisper();
    captured(say_nothing_more, line, sizeof(line));
    assert_int_equal(low.n_wakes, 1); /* once, until it is emptied */
    assert_int_equal(log_tap_take(&low.tap, &out), 0);
    unit_slice_is(buf_slice(&out), "debug raft not shown term=7\ndebug raft not shown term=7\n"
                                   "warn conf plain\n");
    buf_clear(&out);
    assert_int_equal(log_tap_take(&high.tap, &out), 0);
    unit_slice_is(buf_slice(&out), "warn conf plain\n");
    buf_clear(&out);
    whisper();
    assert_int_equal(low.n_wakes, 2);
    log_tap_remove(&low.tap);
    assert_false(log_is_on(LOG_DEBUG)); /* nobody wants it any more */
    whisper();
    assert_int_equal(log_tap_take(&high.tap, &out), 0);
    assert_int_equal(out.len, 0);
    log_set_level(LOG_ERROR);
    assert_true(log_is_on(LOG_WARN)); /* for the tap */
    log_tap_remove(&high.tap);
    assert_false(log_is_on(LOG_WARN));
    log_set_level(LOG_INFO);
    buf_fini(&out);
}

static void test_a_slow_tap_loses_lines_and_is_told(void **state)
{
    (void)state;
    struct reader r;
    struct buf out;
    buf_init(&out);
    open_reader(&r, LOG_DEBUG);
    static const char line[] = "debug raft not shown term=7\n";
    size_t fit = LOG_TAP_BYTES / (sizeof(line) - 1);
    for (size_t i = 0; i < fit + 100; i++) {
        whisper();
    }
    assert_int_equal(r.n_wakes, 1);
    assert_true(r.tap.lines.len <= LOG_TAP_BYTES);
    assert_int_equal(log_tap_take(&r.tap, &out), 100);
    assert_int_equal(out.len, fit * (sizeof(line) - 1)); /* the oldest, each whole */
    buf_clear(&out);
    whisper();
    assert_int_equal(log_tap_take(&r.tap, &out), 0);
    unit_slice_is(buf_slice(&out), line);
    log_tap_remove(&r.tap);
    buf_fini(&out);
}

static void test_taps_are_bounded(void **state)
{
    (void)state;
    static struct reader readers[LOG_TAPS_MAX];
    struct reader one_more = {.tap = {.level = LOG_DEBUG, .render = render, .wake = wake}};
    for (size_t i = 0; i < LOG_TAPS_MAX; i++) {
        open_reader(&readers[i], LOG_ERROR);
    }
    assert_int_equal(log_tap_add(&one_more.tap), MU_E_TOO_MANY);
    for (size_t i = 0; i < LOG_TAPS_MAX; i++) {
        log_tap_remove(&readers[(i * 7) % LOG_TAPS_MAX].tap);
    }
    assert_int_equal(log_tap_add(&one_more.tap), 0);
    log_tap_remove(&one_more.tap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_json_object_a_line),
        cmocka_unit_test(test_fields_are_optional),
        cmocka_unit_test(test_level_decides),
        cmocka_unit_test(test_level_names),
        cmocka_unit_test(test_a_tap_has_its_own_level),
        cmocka_unit_test(test_a_slow_tap_loses_lines_and_is_told),
        cmocka_unit_test(test_taps_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
