/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "client/mem.h"
#include "client/pattern.h"

static void is(const struct pattern *v, size_t n, const char *want)
{
    struct pattern_set s;
    pattern_init(&s);
    for (size_t i = 0; i < n; i++) {
        pattern_add(&s, v[i].is_config, v[i].group, v[i].name);
    }
    char *q = pattern_query(&s);
    assert_string_equal(q, want);
    cmem_free(q);
    pattern_fini(&s);
}

static void queries(void **state)
{
    (void)state;
    is((struct pattern[]){{true, "app", "db"}}, 1, "configs=app%2Fdb");
    is((struct pattern[]){{false, "g", "web"}}, 1, "services=g%2Fweb");
    /* Both kinds, in order, each once. */
    is((struct pattern[]){{true, "b", "x"}, {false, "g", "w"}, {true, "a", "x"}, {true, "b", "x"}},
       4, "services=g%2Fw&configs=a%2Fx,b%2Fx");
    /* A slash in the name is part of it; a comma makes a prefix of what stands before it. */
    is((struct pattern[]){{true, "a", "x/y"}, {true, "a", "p,q"}}, 2, "configs=a%2Fp*,a%2Fx%2Fy");
}

static void too_many_become_whole_groups(void **state)
{
    (void)state;
    static char names[2000][16];
    struct pattern_set s;
    pattern_init(&s);
    for (int i = 0; i < 2000; i++) {
        snprintf(names[i], sizeof(names[i]), "key-%d", i);
        pattern_add(&s, true, i % 2 ? "odd" : "even", names[i]);
    }
    char *q = pattern_query(&s);
    assert_string_equal(q, "configs=even%2F*,odd%2F*");
    cmem_free(q);
    pattern_fini(&s);
}

static void groups(void **state)
{
    (void)state;
    assert_true(pattern_can_group("DEFAULT_GROUP"));
    assert_false(pattern_can_group("a/b"));
    assert_false(pattern_can_group("a,b"));
}

static void no_memory(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct pattern_set s;
        pattern_init(&s);
        cmem_fail_at(n);
        pattern_add(&s, true, "a", "b");
        pattern_add(&s, false, "a", "b,c");
        char *q = pattern_query(&s);
        int was_pending = cmem_fail_pending();
        cmem_fail_at(0);
        assert_true((q != NULL) == was_pending);
        cmem_free(q);
        pattern_fini(&s);
        if (was_pending) {
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries),
        cmocka_unit_test(too_many_become_whole_groups),
        cmocka_unit_test(groups),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
