/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

static void expect_bytes(struct buf *b, const char *bytes, size_t len)
{
    assert_int_equal(len, b->len);
    assert_memory_equal(bytes, b->p, len);
    buf_clear(b);
}
#define EXPECT(b, lit) expect_bytes((b), (lit), sizeof(lit) - 1)

static void test_layout(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    key_config(&b, &(struct config_name){LIT("ns"), LIT("g"), LIT("k/1")});
    EXPECT(&b, "Cns\0g\0k/1");
    key_service(&b, &(struct service_name){LIT("ns"), LIT("g"), LIT("web")});
    EXPECT(&b, "Sns\0g\0web");
    key_instance(&b, &(struct instance_name){LIT("ns"), LIT("g"), LIT("web"), LIT("c"), LIT("i")});
    EXPECT(&b, "Ins\0g\0web\0c\0i");
    key_node(&b, LIT("n1"));
    EXPECT(&b, "Nn1");
    key_place(&b, LIT("n1"), LIT("web-1"));
    EXPECT(&b, "Pn1\0web-1");
    key_check(&b, &(struct check_name){LIT("n1"), LIT("web-1"), LIT("c")});
    EXPECT(&b, "Hn1\0web-1\0c");
    key_check(&b, &(struct check_name){LIT("n1"), LIT(""), LIT("serfHealth")});
    EXPECT(&b, "Hn1\0\0serfHealth");
    buf_fini(&b);
}

static void test_prefixes_stop_at_the_empty_field(void **state)
{
    struct buf b;
    struct slice none = {NULL, 0};
    (void)state;
    buf_init(&b);
    key_config_prefix(&b, none, none, none);
    EXPECT(&b, "C");
    key_config_prefix(&b, LIT("ns"), none, LIT("ignored"));
    EXPECT(&b, "Cns\0");
    key_config_prefix(&b, LIT("ns"), LIT("g"), none);
    EXPECT(&b, "Cns\0g\0");
    key_config_prefix(&b, LIT("ns"), LIT("g"), LIT("ap"));
    EXPECT(&b, "Cns\0g\0ap");
    key_service_prefix(&b, LIT("ns"), LIT("g"), LIT("we"));
    EXPECT(&b, "Sns\0g\0we");
    key_instance_prefix(&b, &(struct service_name){LIT("ns"), LIT("g"), LIT("web")});
    EXPECT(&b, "Ins\0g\0web\0");
    key_place_prefix(&b, LIT("n1"));
    EXPECT(&b, "Pn1\0");
    key_place_prefix(&b, none);
    EXPECT(&b, "P");
    key_check_prefix(&b, LIT("n1"));
    EXPECT(&b, "Hn1\0");
    key_check_prefix(&b, none);
    EXPECT(&b, "H");
    key_check_prefix_of(&b, LIT("n1"), LIT("web-1"));
    EXPECT(&b, "Hn1\0web-1\0");
    key_check_prefix_of(&b, LIT("n1"), none);
    EXPECT(&b, "Hn1\0\0");
    buf_fini(&b);
}

static void test_parse_is_the_inverse(void **state)
{
    struct buf b;
    struct instance_name i;
    struct config_name c;
    struct service_name s;
    (void)state;
    buf_init(&b);
    key_instance(&b, &(struct instance_name){LIT("n"), LIT("gg"), LIT("sss"), LIT("c"), LIT("id")});
    assert_int_equal(0, key_parse_instance(buf_slice(&b), &i));
    assert_true(slice_eq(i.ns, LIT("n")) && slice_eq(i.group, LIT("gg")) &&
                slice_eq(i.service, LIT("sss")));
    assert_true(slice_eq(i.cluster, LIT("c")) && slice_eq(i.id, LIT("id")));
    assert_int_equal(MU_E_FORMAT, key_parse_config(buf_slice(&b), &c));
    assert_int_equal(MU_E_FORMAT, key_parse_service(buf_slice(&b), &s));
    buf_clear(&b);
    key_config(&b, &(struct config_name){LIT("n"), LIT("g"), LIT("k")});
    assert_int_equal(0, key_parse_config(buf_slice(&b), &c));
    assert_true(slice_eq(c.key, LIT("k")));
    buf_clear(&b);
    key_service(&b, &(struct service_name){LIT("n"), LIT("g"), LIT("s")});
    assert_int_equal(0, key_parse_service(buf_slice(&b), &s));
    assert_true(slice_eq(s.service, LIT("s")));
    buf_fini(&b);
}

static void test_parse_refuses(void **state)
{
    struct config_name c;
    (void)state;
    const struct slice bad[] = {
        SLICE_LIT(""),        SLICE_LIT("C"),           SLICE_LIT("Cn"),
        SLICE_LIT("Cn\0g"),   SLICE_LIT("Cn\0g\0"),     SLICE_LIT("C\0g\0k"),
        SLICE_LIT("Cn\0\0k"), SLICE_LIT("Cn\0g\0k\0x"), SLICE_LIT("Xn\0g\0k"),
    };
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(MU_E_FORMAT, key_parse_config(bad[i], &c));
    }
}

/* A name that is a prefix of another sorts before it, whatever follows: the separator is less than
 * any byte of a name. */
static void test_order_is_that_of_the_fields(void **state)
{
    static const char *const names[] = {"a", "a!", "aa", "b", "\xc3\xa4"};
    struct buf x, y;
    (void)state;
    buf_init(&x);
    buf_init(&y);
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        for (size_t j = 0; j < N_ELEMENTS(names); j++) {
            buf_clear(&x);
            buf_clear(&y);
            key_config(&x, &(struct config_name){LIT("n"), LIT(names[i]), LIT("z")});
            key_config(&y, &(struct config_name){LIT("n"), LIT(names[j]), LIT("a")});
            int want = i < j ? -1 : i > j ? 1 : 1; /* equal groups: "z" > "a" */
            int got = slice_cmp(buf_slice(&x), buf_slice(&y));
            assert_true(want < 0 ? got < 0 : got > 0);
        }
    }
    buf_fini(&x);
    buf_fini(&y);
}

static void test_catalog_keys_parse_back(void **state)
{
    struct buf b;
    struct slice node, id;
    struct check_name c;
    (void)state;
    buf_init(&b);
    key_node(&b, LIT("n1"));
    assert_int_equal(0, key_parse_node(buf_slice(&b), &node));
    assert_true(slice_eq(node, LIT("n1")));
    assert_int_equal(MU_E_FORMAT, key_parse_place(buf_slice(&b), &node, &id));
    buf_clear(&b);
    key_place(&b, LIT("n1"), LIT("web-1"));
    assert_int_equal(0, key_parse_place(buf_slice(&b), &node, &id));
    assert_true(slice_eq(node, LIT("n1")) && slice_eq(id, LIT("web-1")));
    assert_int_equal(MU_E_FORMAT, key_parse_node(buf_slice(&b), &node));
    assert_int_equal(MU_E_FORMAT, key_parse_check(buf_slice(&b), &c));
    buf_clear(&b);
    key_check(&b, &(struct check_name){LIT("n1"), LIT("web-1"), LIT("c")});
    assert_int_equal(0, key_parse_check(buf_slice(&b), &c));
    assert_true(slice_eq(c.node, LIT("n1")) && slice_eq(c.service_id, LIT("web-1")) &&
                slice_eq(c.id, LIT("c")));
    buf_clear(&b);
    key_check(&b, &(struct check_name){LIT("n1"), LIT(""), LIT("c")});
    assert_int_equal(0, key_parse_check(buf_slice(&b), &c));
    assert_true(slice_eq(c.node, LIT("n1")) && c.service_id.len == 0 && slice_eq(c.id, LIT("c")));
    buf_clear(&b);
    key_check(&b, &(struct check_name){LIT("n1"), LIT("s"), LIT("")});
    assert_int_equal(MU_E_FORMAT, key_parse_check(buf_slice(&b), &c));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_prefixes_stop_at_the_empty_field),
        cmocka_unit_test(test_parse_is_the_inverse),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_order_is_that_of_the_fields),
        cmocka_unit_test(test_catalog_keys_parse_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
