/* SPDX-License-Identifier: Apache-2.0 */
#include "server/access/hcl.h"

#include <jansson.h>
#include <string.h>

#include "base/json_read.h"
#include "base/mem.h"
#include "tests/unit/unit.h"

/* HCL, and the JSON it stands for. */
static void what_it_stands_for(void **state)
{
    static const struct {
        const char *hcl, *json;
    } all[] = {
        {"", "{}"},
        {"a = \"b\"", "{\"a\":\"b\"}"},
        {"a=true,b=false\nc = 12", "{\"a\":true,\"b\":false,\"c\":\"12\"}"},
        {"# x\n// y\n/* z\n*/ a = \"b\" # end", "{\"a\":\"b\"}"},
        {"key \"a\" { policy = \"read\" }", "{\"key\":{\"a\":{\"policy\":\"read\"}}}"},
        {"key a { policy = \"read\" }", "{\"key\":{\"a\":{\"policy\":\"read\"}}}"},
        {"\"key\" \"a\" {}\nkey \"b\" {}\nkey \"a\" {}",
         "{\"key\":[{\"a\":{}},{\"b\":{}},{\"a\":{}}]}"},
        {"a = [\"x\", \"y\",]", "{\"a\":[\"x\",\"y\"]}"},
        {"a = \"\\\"\\n\\t\\\\\\u00e4\\U0001f600\"", "{\"a\":\"\\\"\\n\\t\\\\\u00e4\U0001f600\"}"},
        {"a = <<E\none\ntwo\nE\nb = \"c\"", "{\"a\":\"one\\ntwo\\n\",\"b\":\"c\"}"},
        {"a = <<-E\n  one\n  E\n", "{\"a\":\"  one\\n\"}"},
        {" {\"a\": {\"b\": 1}} ", "{\"a\":{\"b\":1}}"},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(all); i++) {
        struct err e = {0};
        json_t *doc = NULL, *want = NULL;
        if (hcl_parse(slice_str(all[i].hcl), &doc, &e) != 0) {
            fail_msg("%s: %s", all[i].hcl, e.text);
        }
        assert_int_equal(jr_parse(slice_str(all[i].json), &want, &e), 0);
        if (!json_equal(doc, want)) {
            fail_msg("%s is not %s", all[i].hcl, all[i].json);
        }
        jr_free(doc);
        jr_free(want);
    }
}

static void what_is_none(void **state)
{
    static const char *const all[] = {
        "a",
        "a =",
        "a = b",
        "a = \"b",
        "a = \"b\n\"",
        "a = \"\\q\"",
        "a = \"\\ud800\"",
        "a = \"\\u0000\"",
        "a = \"\xff\"",
        "a {",
        "a { b = \"c\"",
        "a }",
        "/* x",
        "a = [",
        "a = [\"x\" \"y\"]",
        "a = <<E\nx",
        "a = <<\nx",
        "= \"b\"",
        ", a = \"b\"",
        "a \"b\" \"c\" \"d\" \"e\" \"f\" \"g\" \"h\" \"i\" \"j\" \"k\" \"l\" \"m\" \"n\" \"o\" \"p\" \"q\" \"r\" {}",
        "a = [[[[[[[[[[[[[[[[[[\"x\"]]]]]]]]]]]]]]]]]]",
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(all); i++) {
        struct err e = {0};
        json_t *doc = NULL;
        if (hcl_parse(slice_str(all[i]), &doc, &e) == 0) {
            fail_msg("taken: %s", all[i]);
        }
        assert_null(doc);
        assert_non_null(strstr(e.text, "line "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_stands_for),
        cmocka_unit_test(what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
