/* SPDX-License-Identifier: Apache-2.0 */
#include "server/access/rules.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tests/unit/unit.h"

static void read_ok(struct rules *s, const char *text)
{
    struct err e = {0};
    rules_init(s);
    assert_int_equal(rules_read(s, slice_str(text), &e), 0);
    rules_order(s);
}

static enum access_right of(const struct rules *s, enum access_kind kind, const char *name)
{
    return rules_find(s, kind, slice_str(name));
}

static void longest_prefix_wins_and_exact_beats_it(void **state)
{
    struct rules s;
    (void)state;
    read_ok(&s, "key_prefix \"\" { policy = \"read\" }\n"
                "key_prefix \"a/\" { policy = \"write\" }\n"
                "key_prefix \"a/b\" { policy = \"deny\" }\n"
                "key_prefix \"a/bc/\" { policy = \"list\" }\n"
                "key \"a/b\" { policy = \"read\" }\n"
                "service \"web\" { policy = \"write\" intentions = \"read\" }\n"
                "operator = \"read\"\n");
    assert_int_equal(of(&s, ACCESS_KEY, "x"), ACCESS_READ);
    assert_int_equal(of(&s, ACCESS_KEY, ""), ACCESS_READ);
    assert_int_equal(of(&s, ACCESS_KEY, "a/"), ACCESS_WRITE);
    assert_int_equal(of(&s, ACCESS_KEY, "a/a"), ACCESS_WRITE);
    assert_int_equal(of(&s, ACCESS_KEY, "a/b"), ACCESS_READ);
    assert_int_equal(of(&s, ACCESS_KEY, "a/bb"), ACCESS_DENY);
    assert_int_equal(of(&s, ACCESS_KEY, "a/bc"), ACCESS_DENY);
    assert_int_equal(of(&s, ACCESS_KEY, "a/bc/d"), ACCESS_LIST);
    assert_int_equal(of(&s, ACCESS_KEY, "a/bd"), ACCESS_DENY);
    assert_int_equal(of(&s, ACCESS_KEY, "a/c"), ACCESS_WRITE);
    assert_int_equal(of(&s, ACCESS_SERVICE, "web"), ACCESS_WRITE);
    assert_int_equal(of(&s, ACCESS_SERVICE, "web2"), 0);
    assert_int_equal(of(&s, ACCESS_NODE, "web"), 0);
    assert_int_equal(of(&s, ACCESS_OPERATOR, ""), ACCESS_READ);
    assert_int_equal(of(&s, ACCESS_KEYRING, ""), 0);
    assert_true(rules_allow_below(&s, ACCESS_KEY, slice_str("a/c"), ACCESS_WRITE));
    assert_false(rules_allow_below(&s, ACCESS_KEY, slice_str("a/"), ACCESS_WRITE));
    assert_false(rules_allow_below(&s, ACCESS_KEY, slice_str("a/b"), ACCESS_READ));
    assert_true(rules_allow_below(&s, ACCESS_KEY, slice_str("a/bc/"), ACCESS_READ));
    rules_fini(&s);
}

static void of_doubles_the_strictest_counts(void **state)
{
    static const char *const words[] = {"read", "list", "write", "deny"};
    (void)state;
    for (int a = 0; a < 4; a++) {
        for (int b = 0; b < 4; b++) {
            struct rules s;
            char text[200];
            (void)snprintf(text, sizeof(text),
                           "key \"k\" { policy = \"%s\" }\nkey \"k\" { policy = \"%s\" }", words[a],
                           words[b]);
            read_ok(&s, text);
            assert_int_equal(of(&s, ACCESS_KEY, "k"), 1 + (a > b ? a : b));
            assert_int_equal(s.n, 1);
            rules_fini(&s);
        }
    }
    for (int a = 0; a < 4; a++) { /* those without names, too */
        struct rules s;
        char text[100];
        (void)snprintf(text, sizeof(text), "operator = \"%s\"\noperator = \"%s\"",
                       a / 2 != 0 ? "deny" : "read", a % 2 != 0 ? "deny" : "write");
        read_ok(&s, text);
        assert_int_equal(of(&s, ACCESS_OPERATOR, ""), a == 0 ? ACCESS_WRITE : ACCESS_DENY);
        rules_fini(&s);
    }
}

static void json_says_the_same(void **state)
{
    struct rules s;
    (void)state;
    read_ok(&s, "{\"key_prefix\": {\"a\": {\"policy\": \"read\"}, \"b\": {\"policy\": \"write\"}},"
                "\"service\": [{\"web\": {\"policy\": \"write\"}}, {\"db\": [{\"policy\": "
                "\"read\"}]}], \"acl\": \"write\"}");
    assert_int_equal(of(&s, ACCESS_KEY, "aa"), ACCESS_READ);
    assert_int_equal(of(&s, ACCESS_KEY, "bb"), ACCESS_WRITE);
    assert_int_equal(of(&s, ACCESS_SERVICE, "web"), ACCESS_WRITE);
    assert_int_equal(of(&s, ACCESS_SERVICE, "db"), ACCESS_READ);
    assert_int_equal(of(&s, ACCESS_ACL, ""), ACCESS_WRITE);
    rules_fini(&s);
}

static void every_kind_has_its_words(void **state)
{
    static const struct {
        const char *text;
        enum access_kind kind;
        const char *name;
    } all[] = {
        {"agent \"x\" { policy = \"read\" }", ACCESS_AGENT, "x"},
        {"agent_prefix \"\" { policy = \"read\" }", ACCESS_AGENT, "x"},
        {"config \"public/g/k\" { policy = \"read\" }", ACCESS_CONFIG, "public/g/k"},
        {"event_prefix \"d\" { policy = \"read\" }", ACCESS_EVENT, "deploy"},
        {"identity_prefix \"\" { policy = \"read\" }", ACCESS_IDENTITY, "x"},
        {"keyring = \"read\"", ACCESS_KEYRING, ""},
        {"mesh = \"read\"", ACCESS_MESH, ""},
        {"node_prefix \"\" { policy = \"read\" }", ACCESS_NODE, "x"},
        {"peering = \"read\"", ACCESS_PEERING, ""},
        {"query \"q\" { policy = \"read\" }", ACCESS_QUERY, "q"},
        {"session_prefix \"\" { policy = \"read\" }", ACCESS_SESSION, "x"},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(all); i++) {
        struct rules s;
        read_ok(&s, all[i].text);
        assert_int_equal(of(&s, all[i].kind, all[i].name), ACCESS_READ);
        rules_fini(&s);
    }
}

static void what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *text, *error;
    } all[] = {
        {"key \"a\" { policy = \"admin\" }", "Invalid key policy"},
        {"key \"a\" { }", "Invalid key policy"},
        {"node \"a\" { policy = \"list\" }", "Invalid node policy"},
        {"operator = \"list\"", "Invalid operator policy"},
        {"operator \"a\" { policy = \"read\" }", "Invalid operator policy"},
        {"operator_prefix \"\" { policy = \"read\" }", "no kind of rule"},
        {"servce \"a\" { policy = \"read\" }", "no kind of rule"},
        {"key \"a\" { policy = \"read\" polcy = \"write\" }", "nothing that a rule has"},
        {"service \"a\" { policy = \"read\" intentions = \"list\" }", "intentions"},
        {"key = \"read\"", "wants a name and a block"},
        {"key \"a\" = \"read\"", "is no block"},
        {"{\"key\": 3}", "wants a name and a block"},
        {"{\"key\": ", "malformed JSON"},
        {"key \"a\" {", "line 1"},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(all); i++) {
        struct rules s;
        struct err e = {0};
        rules_init(&s);
        assert_int_equal(rules_read(&s, slice_str(all[i].text), &e), MU_E_BAD_REQUEST);
        if (strstr(e.text, all[i].error) == NULL) {
            fail_msg("%s: %s", all[i].text, e.text);
        }
        rules_fini(&s);
    }
}

/* Against the plainest way to say it. */
static enum access_right slowly(const struct rules *s, struct slice name)
{
    const struct rule *best = NULL;
    for (size_t i = 0; i < s->n; i++) {
        const struct rule *r = &s->items[i];
        struct slice n = slice_of(s->names.p + r->at, r->len);
        if (!r->is_prefix && slice_eq(n, name)) {
            return (enum access_right)r->right;
        }
        if (r->is_prefix && slice_has_prefix(name, n) && (best == NULL || r->len > best->len)) {
            best = r;
        }
    }
    return best != NULL ? (enum access_right)best->right : 0;
}

static void finds_what_a_walk_finds(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 300; round++) {
        struct rules s;
        rules_init(&s);
        int n = rand() % 40;
        for (int i = 0; i < n; i++) {
            uint8_t name[6];
            size_t len = (size_t)rand() % sizeof(name);
            for (size_t k = 0; k < len; k++) {
                name[k] = (uint8_t)("ab\xff"[rand() % 3]);
            }
            assert_int_equal(rules_add(&s, ACCESS_KEY, rand() % 3 != 0, slice_of(name, len),
                                       (enum access_right)(1 + rand() % 4)),
                             0);
        }
        rules_order(&s);
        for (int i = 0; i < 60; i++) {
            uint8_t name[8];
            size_t len = (size_t)rand() % sizeof(name);
            for (size_t k = 0; k < len; k++) {
                name[k] = (uint8_t)("ab\xff"[rand() % 3]);
            }
            assert_int_equal(rules_find(&s, ACCESS_KEY, slice_of(name, len)),
                             slowly(&s, slice_of(name, len)));
        }
        rules_fini(&s);
    }
}

static void there_is_an_end_to_them(void **state)
{
    struct rules s;
    (void)state;
    rules_init(&s);
    for (int i = 0; i < RULES_MAX; i++) {
        assert_int_equal(rules_add(&s, ACCESS_KEY, 1, slice_of("x", 1), ACCESS_READ), 0);
    }
    assert_int_equal(rules_add(&s, ACCESS_KEY, 1, slice_of("x", 1), ACCESS_READ), MU_E_TOO_LARGE);
    rules_order(&s);
    assert_int_equal(s.n, 1);
    rules_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longest_prefix_wins_and_exact_beats_it),
        cmocka_unit_test(of_doubles_the_strictest_counts),
        cmocka_unit_test(json_says_the_same),
        cmocka_unit_test(every_kind_has_its_words),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(finds_what_a_walk_finds),
        cmocka_unit_test(there_is_an_end_to_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
