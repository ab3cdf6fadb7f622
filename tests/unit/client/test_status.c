/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "client/status.h"

static void texts(void **state)
{
    (void)state;
    for (int i = MUSTER_OK; i <= MUSTER_IO; i++) {
        assert_string_not_equal(muster_status_text((muster_status)i), "unknown status");
    }
    assert_string_equal(muster_status_text((muster_status)99), "unknown status");
}

static void answers(void **state)
{
    (void)state;
    static const struct {
        int http;
        muster_status status;
    } rows[] = {{400, MUSTER_INVALID},   {404, MUSTER_NOT_FOUND}, {409, MUSTER_CONFLICT},
                {410, MUSTER_COMPACTED}, {412, MUSTER_CONFLICT},  {413, MUSTER_REFUSED},
                {500, MUSTER_REFUSED},   {503, MUSTER_REFUSED},   {301, MUSTER_REFUSED}};
    static const char body[] = "{\"code\":\"SOME_CODE\",\"detail\":\"what it is\"}";
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct muster_error e;
        assert_int_equal(status_from_answer(&e, rows[i].http, body, strlen(body)), rows[i].status);
        assert_true(e.status == rows[i].status && e.http_status == rows[i].http);
        assert_string_equal(e.code, "SOME_CODE");
        assert_string_equal(e.text, "what it is");
    }
}

static void bodies_that_say_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "<html>", "[]", "{\"code\":1,\"detail\":[]}"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct muster_error e;
        assert_int_equal(status_from_answer(&e, 404, bad[i], strlen(bad[i])), MUSTER_NOT_FOUND);
        assert_string_equal(e.code, "");
        assert_string_equal(e.text, "the server answered 404");
    }
    assert_int_equal(status_from_answer(NULL, 404, NULL, 0), MUSTER_NOT_FOUND);
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    char text[1000];
    struct muster_error e;
    memset(text, 'x', sizeof(text));
    text[999] = '\0';
    assert_int_equal(status_set(&e, MUSTER_IO, "%s", text), MUSTER_IO);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_int_equal(status_no_memory(NULL), MUSTER_NO_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(answers),
        cmocka_unit_test(bodies_that_say_nothing),
        cmocka_unit_test(long_texts_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
