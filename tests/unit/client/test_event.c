/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "client/event.h"
#include "client/mem.h"

static struct event_doc *parse(const char *text)
{
    struct event_doc *d = NULL;
    assert_int_equal(event_parse(text, strlen(text), &d), MUSTER_OK);
    return d;
}

static void a_config_put(void **state)
{
    (void)state;
    struct event_doc *d = parse(
        "{\"revision\":42,\"events\":[{\"type\":\"put\",\"kind\":\"config\",\"namespace\":\"public\","
        "\"group\":\"app\",\"key\":\"db\",\"revision\":42,\"version\":3,\"content_type\":\"a/b\","
        "\"content\":\"x\\u0000y\"}]}");
    struct event ev;
    char *content = NULL;
    size_t len = 0;
    assert_int_equal(event_count(d), 1);
    assert_true(event_at(d, 0, &ev));
    assert_true(ev.is_config && !ev.is_delete && ev.revision == 42 && ev.version == 3);
    assert_string_equal(ev.group, "app");
    assert_string_equal(ev.name, "db");
    assert_string_equal(ev.content_type, "a/b");
    assert_int_equal(event_content(&ev, &content, &len), MUSTER_OK);
    assert_int_equal(len, 3);
    assert_memory_equal(content, "x\0y", 4);
    cmem_free(content);
    event_free(d);
}

static void left_out_base64_and_deleted(void **state)
{
    (void)state;
    struct event_doc *d = parse(
        "{\"events\":[{\"type\":\"put\",\"kind\":\"config\",\"group\":\"a\",\"key\":\"b\","
        "\"content_omitted\":true},{\"type\":\"put\",\"kind\":\"config\",\"group\":\"a\",\"key\":\"b\","
        "\"content_base64\":\"/wA=\"},{\"type\":\"delete\",\"kind\":\"config\",\"group\":\"a\","
        "\"key\":\"b\",\"revision\":9}]}");
    struct event ev;
    char *content = NULL;
    size_t len = 0;
    assert_true(event_at(d, 0, &ev));
    assert_int_equal(event_content(&ev, &content, &len), MUSTER_INVALID);
    assert_true(event_at(d, 1, &ev));
    assert_int_equal(event_content(&ev, &content, &len), MUSTER_OK);
    assert_int_equal(len, 2);
    assert_memory_equal(content, "\xff\0", 3);
    cmem_free(content);
    assert_true(event_at(d, 2, &ev));
    assert_true(ev.is_delete && ev.revision == 9);
    event_free(d);
}

static void instances(void **state)
{
    (void)state;
    struct event_doc *d = parse(
        "{\"events\":[{\"type\":\"put\",\"kind\":\"instance\",\"instance\":{\"group\":\"g\","
        "\"service\":\"s\",\"cluster\":\"c\",\"id\":\"i\"}},{\"type\":\"delete\",\"kind\":\"instance\","
        "\"group\":\"g\",\"service\":\"s\",\"cluster\":\"c\",\"id\":\"j\",\"revision\":1}]}");
    struct event ev;
    assert_true(event_at(d, 0, &ev));
    assert_non_null(ev.instance);
    assert_string_equal(ev.id, "i");
    assert_true(event_at(d, 1, &ev));
    assert_string_equal(ev.id, "j");
    assert_null(ev.instance);
    event_free(d);
}

static void what_is_not_ours(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "x", "[]", "{}", "{\"events\":1}", "{\"events\":[}"};
    struct event_doc *d = NULL;
    struct event ev;
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(event_parse(bad[i], strlen(bad[i]), &d), MUSTER_INVALID);
    }
    d = parse("{\"events\":[1,{},{\"type\":\"put\",\"kind\":\"moon\"},{\"type\":\"put\",\"kind\":"
              "\"config\"},{\"type\":\"spin\",\"kind\":\"config\",\"group\":\"a\",\"key\":\"b\"},"
              "{\"type\":\"put\",\"kind\":\"instance\",\"instance\":7}]}");
    for (size_t i = 0; i < event_count(d); i++) {
        assert_false(event_at(d, i, &ev));
    }
    event_free(d);
}

static void base64(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {{"", ""},        {"Zg==", "f"},      {"Zm8=", "fo"},
                {"Zm9v", "foo"}, {"Zm9vYg", "foob"}, {"Zm9vYmFy", "foobar"},
                {"Z", NULL},     {"Zm9v!", NULL},    {"Zm\n9v", NULL}};
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        char *out = NULL;
        size_t len = 0;
        muster_status rc = event_base64(rows[i].in, strlen(rows[i].in), &out, &len);
        assert_int_equal(rc, rows[i].out != NULL ? MUSTER_OK : MUSTER_INVALID);
        if (rc == MUSTER_OK) {
            assert_string_equal(out, rows[i].out);
            assert_int_equal(len, strlen(rows[i].out));
            cmem_free(out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_config_put), cmocka_unit_test(left_out_base64_and_deleted),
        cmocka_unit_test(instances),    cmocka_unit_test(what_is_not_ours),
        cmocka_unit_test(base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
