/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "base/clock.h"
#include "server/consul/tag_set.h"

static void expect(struct tag_set *s, const char *want)
{
    struct jw w;
    struct buf b;
    buf_init(&b);
    jw_init(&w, &b);
    tag_set_write(s, &w);
    buf_append_byte(&b, 0);
    assert_string_equal((const char *)b.p, want);
    buf_fini(&b);
}

static void each_once_in_the_order_they_came(void **state)
{
    static const char *const tags[] = {"b", "a", "b", "", "c", "a", "", "b"};
    struct tag_set s;
    (void)state;
    tag_set_init(&s);
    expect(&s, "[]");
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < N_ELEMENTS(tags); i++) {
            tag_set_add(&s, slice_str(tags[i]));
        }
        expect(&s, "[\"b\",\"a\",\"\",\"c\"]");
    }
    tag_set_clear(&s);
    expect(&s, "[]");
    tag_set_add(&s, slice_str("z"));
    expect(&s, "[\"z\"]");
    tag_set_fini(&s);
}

/* Many of many instances: they are kept once, and what is asked of each does not grow with their
 * number. Compared one by one it would be 20,000 million. */
static void many(void **state)
{
    struct tag_set s;
    char text[16];
    int64_t from = clock_mono_ms();
    (void)state;
    tag_set_init(&s);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 100000; i++) {
            (void)snprintf(text, sizeof(text), "%u", i);
            tag_set_add(&s, slice_str(text));
        }
    }
    assert_true(s.cap < 1000000);
    struct buf b;
    struct jw w;
    buf_init(&b);
    jw_init(&w, &b);
    tag_set_write(&s, &w);
    assert_int_equal(s.n, 100000);
    buf_fini(&b);
    tag_set_fini(&s);
    assert_true(clock_mono_ms() - from < 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_once_in_the_order_they_came),
        cmocka_unit_test(many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
