/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "client/endpoints.h"

static const struct breaker_conf conf = {
    .window_ms = 1000, .open_ms = 500, .min_requests = 2, .failure_percent = 50};

static void texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n; /* 0: refused */
        const char *first;
    } rows[] = {
        {"http://127.0.0.1:8500", 1, "http://127.0.0.1:8500"},
        {"https://a:1/", 1, "https://a:1"},
        {"a", 1, "http://a:8500"},
        {"a:1, http://b:2 ,https://c", 3, "http://a:1"},
        {"http://[::1]:8500", 1, "http://[::1]:8500"},
        {"[::1]", 1, "http://[::1]:8500"},
        {"", 0, NULL},
        {"a:1,", 0, NULL},
        {",a:1", 0, NULL},
        {"http://", 0, NULL},
        {"ftp://a:1", 0, NULL},
        {"http://a:0", 0, NULL},
        {"http://a:65536", 0, NULL},
        {"http://a:", 0, NULL},
        {"http://a:1/path", 0, NULL},
        {"http://a:1?x", 0, NULL},
        {"http://user@a:1", 0, NULL},
        {"http://a b:1", 0, NULL},
        {"http://[::1:8500", 0, NULL},
        {"http://[]:1", 0, NULL},
        {"http://a\r\nX: y", 0, NULL},
    };
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct endpoints s = {.conf = conf};
        struct muster_error e = {0};
        muster_status rc = endpoints_parse(&s, rows[i].text, &e);
        assert_int_equal(rc, rows[i].n != 0 ? MUSTER_OK : MUSTER_INVALID);
        assert_int_equal(s.n, rows[i].n);
        if (rc == MUSTER_OK) {
            assert_string_equal(s.v[0].url, rows[i].first);
        } else {
            assert_true(e.text[0] != '\0');
        }
        endpoints_fini(&s);
    }
}

static void at_most_64(void **state)
{
    (void)state;
    char text[65 * 8] = "";
    struct endpoints s = {.conf = conf};
    for (int i = 0; i < 64; i++) {
        strcat(text, i > 0 ? ",a:1" : "a:1");
    }
    assert_int_equal(endpoints_parse(&s, text, NULL), MUSTER_OK);
    assert_int_equal(s.n, 64);
    endpoints_fini(&s);
    strcat(text, ",a:1");
    assert_int_equal(endpoints_parse(&s, text, NULL), MUSTER_INVALID);
}

static void the_one_that_works_is_kept(void **state)
{
    (void)state;
    struct endpoints s = {.conf = conf};
    int64_t at = 0;
    assert_int_equal(endpoints_parse(&s, "a:1,b:1,c:1", NULL), MUSTER_OK);
    s.conf.min_requests = 9;
    assert_int_equal(endpoints_pick(&s, 0, 0, &at), 0);
    endpoints_report(&s, 0, 0, true);
    assert_int_equal(endpoints_pick(&s, 0, 1, &at), 0);
    endpoints_report(&s, 0, 1, false);
    assert_int_equal(endpoints_pick(&s, 1, 1, &at), 1);
    endpoints_move_on(&s, 1);
    assert_int_equal(endpoints_pick(&s, 0, 1, &at), 2);
    assert_int_equal(endpoints_pick(&s, 4, 1, &at), 0);
    assert_int_equal(endpoints_pick(&s, 7, 1, &at), -1);
    assert_true(at == INT64_MAX);
    endpoints_fini(&s);
}

static void an_open_breaker_is_passed_by(void **state)
{
    (void)state;
    struct endpoints s = {.conf = conf};
    int64_t at = 0;
    assert_int_equal(endpoints_parse(&s, "a:1,b:1", NULL), MUSTER_OK);
    for (int i = 0; i < 2; i++) {
        endpoints_report(&s, 0, 10, false);
    }
    s.current = 0;
    assert_int_equal(endpoints_pick(&s, 0, 11, &at), 1);
    for (int i = 0; i < 2; i++) {
        endpoints_report(&s, 1, 20, false);
    }
    assert_int_equal(endpoints_pick(&s, 0, 21, &at), -1);
    assert_int_equal(at, 510);
    s.current = 0;
    assert_int_equal(endpoints_pick(&s, 0, 510, &at), 0);
    assert_int_equal(endpoints_pick(&s, 0, 510, &at), -1); /* its probe is under way */
    endpoints_give_up(&s, 0);
    assert_int_equal(endpoints_pick(&s, 0, 511, &at), 0);
    endpoints_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(at_most_64),
        cmocka_unit_test(the_one_that_works_is_kept),
        cmocka_unit_test(an_open_breaker_is_passed_by),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
