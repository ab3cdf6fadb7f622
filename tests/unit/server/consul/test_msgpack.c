/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/err.h"
#include "server/consul/msgpack.h"

static struct slice whole(const char *bytes, size_t n)
{
    struct slice rest = slice_of(bytes, n), v;
    assert_int_equal(mp_take(&rest, &v), 0);
    assert_int_equal(rest.len, 0);
    return v;
}
#define WHOLE(text) whole(text, sizeof(text) - 1)

static void numbers(void **state)
{
    (void)state;
    assert_true(mp_u64(WHOLE("\x7f")) == 127);
    assert_true(mp_i64(WHOLE("\xff")) == -1);
    assert_true(mp_i64(WHOLE("\xe0")) == -32);
    assert_true(mp_u64(WHOLE("\xcc\xff")) == 255);
    assert_true(mp_u64(WHOLE("\xcd\x01\x00")) == 256);
    assert_true(mp_u64(WHOLE("\xcf\xff\xff\xff\xff\xff\xff\xff\xff")) == UINT64_MAX);
    assert_true(mp_i64(WHOLE("\xcf\xff\xff\xff\xff\xff\xff\xff\xff")) == 0); /* does not fit */
    assert_true(mp_i64(WHOLE("\xd0\x80")) == -128);
    assert_true(mp_i64(WHOLE("\xd2\xff\xff\xff\xfe")) == -2);
    assert_true(mp_u64(WHOLE("\xd2\xff\xff\xff\xfe")) == 0);
    assert_true(mp_i64(WHOLE("\xd3\x80\0\0\0\0\0\0\0")) == INT64_MIN);
    assert_true(mp_bool(WHOLE("\xc3")) && !mp_bool(WHOLE("\xc2")) && !mp_bool(WHOLE("\x01")));
}

static void json_is(struct slice v, const char *want)
{
    struct buf b = {0};
    mp_json(v, &b);
    buf_append_byte(&b, 0);
    assert_string_equal((char *)b.p, want);
    buf_fini(&b);
}

static void json(void **state)
{
    (void)state;
    json_is(WHOLE("\x83\xa1"
                  "a\x92\x01\xc0\xa1"
                  "b\xcb\x3f\xf8\0\0\0\0\0\0\xa1"
                  "c\x81\xa1"
                  "d\xc3"),
            "{\"a\":[1,null],\"b\":1.5,\"c\":{\"d\":true}}");
    json_is(WHOLE("\xda\x00\x02hi"), "\"hi\"");
    json_is(WHOLE("\xc4\x02hi"), "\"hi\"");
    json_is(WHOLE("\xa2\xffi"), "\"\xef\xbf\xbdi\"");
    json_is(WHOLE("\xa2\x00i"), "null");
    json_is(WHOLE("\xca\x3f\xc0\0\0"), "1.5");
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *p;
        size_t n;
    } bad[] = {
        {"", 0},
        {"\xc1", 1},                     /* no value */
        {"\xd4\x01\x01", 3},             /* an extension */
        {"\xa2h", 2},                    /* cut off */
        {"\xdb\xff\xff\xff\xffx", 6},    /* longer than there is */
        {"\xdd\xff\xff\xff\xff\x01", 6}, /* more items than bytes */
        {"\xdf\x10\0\0\0\xa1", 6},
        {"\x81\x01\x01", 3}, /* a key that is no text */
        {"\x81\xa1k", 3},    /* no value for it */
        {"\xcf\x01", 2},
    };
    uint8_t deep[200];
    struct slice v;
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct slice rest = slice_of(bad[i].p, bad[i].n);
        assert_int_equal(mp_take(&rest, &v), MU_E_FORMAT);
        assert_int_equal(rest.len, bad[i].n);
    }
    memset(deep, 0x91, sizeof(deep));
    struct slice rest = slice_of(deep, sizeof(deep));
    assert_int_equal(mp_take(&rest, &v), MU_E_FORMAT);
}

static void members(void **state)
{
    struct buf b = {0};
    struct mp_open m, a;
    struct mp_walk w;
    struct slice item;
    (void)state;
    mp_open_map(&m, &b);
    mp_key_str(&m, "Key", SLICE_LIT("v"));
    mp_key_i64(&m, "Minus", -70000);
    mp_key_bool(&m, "Yes", 1);
    mp_key(&m, "List");
    mp_open_array(&a, &b);
    for (int i = 0; i < 300; i++) {
        mp_item(&a);
        mp_put_u64(&b, (uint64_t)i << 30);
    }
    mp_close(&a);
    mp_close(&m);
    struct slice v = whole((const char *)b.p, b.len);
    assert_true(slice_eq(mp_text(v, "Key"), SLICE_LIT("v")));
    assert_true(mp_i64(mp_member(v, "Minus")) == -70000 && mp_bool(mp_member(v, "Yes")));
    assert_int_equal(mp_member(v, "None").len, 0);
    mp_items(mp_member(v, "List"), &w);
    for (uint64_t i = 0; i < 300; i++) {
        assert_true(mp_next(&w, &item) && mp_u64(item) == i << 30);
    }
    assert_false(mp_next(&w, &item));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(json),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
