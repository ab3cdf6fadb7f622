/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include "base/wire.h"
#include "storage/rows.h"

static const struct row_meta some_meta = {
    .create_rev = 11,
    .create_sub = 1,
    .mod_rev = 22,
    .mod_sub = 2,
    .version = 3,
    .lease = 0x44,
    .time_ms = 1700000000123,
};

static struct user_row some_user(void)
{
    return (struct user_row){
        .meta = some_meta,
        .value = LIT("value"),
        .session = LIT("11111111-2222-3333-4444-555555555555"),
        .flags = 0x8000000000000001,
        .lock_index = 7,
        .delay_until_ms = 1700000015123,
    };
}

static struct session_row some_session(struct buf *list)
{
    wire_put_u16(list, 2);
    wire_put_bytes(list, LIT("serfHealth"));
    wire_put_bytes(list, LIT("disk"));
    return (struct session_row){
        .meta = some_meta,
        .name = LIT("leader election"),
        .node = LIT("n1"),
        .behavior = SESSION_DELETE,
        .lock_delay_ns = 15000000000,
        .ttl_ms = 10000,
        .ttl_text = LIT("10s"),
        .node_checks = buf_slice(list),
        .service_checks = buf_slice(list),
    };
}

static struct record_row some_record(void)
{
    return (struct record_row){.meta = some_meta, .body = LIT("{\"Name\":\"q\"}")};
}

typedef int (*again_fn)(struct slice s, struct buf *out);

static int user_again(struct slice s, struct buf *out)
{
    struct user_row r;
    int rc = user_row_decode(s, &r);
    if (rc == 0) {
        user_row_encode(out, &r);
    }
    return rc;
}

static int session_again(struct slice s, struct buf *out)
{
    struct session_row r;
    int rc = session_row_decode(s, &r);
    if (rc == 0) {
        session_row_encode(out, &r);
    }
    return rc;
}

static int record_again(struct slice s, struct buf *out)
{
    struct record_row r;
    int rc = record_row_decode(s, &r);
    if (rc == 0) {
        record_row_encode(out, &r);
    }
    return rc;
}

/* The golden bytes; there and back; cut, longer or newer ones are refused. */
static void expect(struct buf *b, const char *golden, again_fn again)
{
    struct buf out;
    buf_init(&out);
    kit_golden(golden, buf_slice(b));
    assert_int_equal(0, again(buf_slice(b), &out));
    assert_true(slice_eq(buf_slice(b), buf_slice(&out)));
    for (size_t len = 0; len < b->len; len++) {
        assert_int_equal(MU_E_FORMAT, again(slice_of(b->p, len), &out));
    }
    buf_append_byte(b, 0);
    assert_int_equal(MU_E_FORMAT, again(buf_slice(b), &out));
    b->len--;
    b->p[0]++;
    assert_int_equal(MU_E_FORMAT, again(buf_slice(b), &out));
    buf_fini(&out);
    buf_clear(b);
}

static void test_rows(void **state)
{
    struct buf b, list;
    (void)state;
    buf_init(&b);
    buf_init(&list);
    struct user_row u = some_user();
    user_row_encode(&b, &u);
    expect(&b, "row_user_v2", user_again);
    struct session_row s = some_session(&list);
    session_row_encode(&b, &s);
    expect(&b, "row_session_v2", session_again);
    struct record_row r = some_record();
    record_row_encode(&b, &r);
    expect(&b, "row_record_v2", record_again);
    buf_fini(&b);
    buf_fini(&list);
}

static void test_fields_come_back(void **state)
{
    struct buf b, list;
    struct user_row u, in = some_user();
    struct session_row s;
    (void)state;
    buf_init(&b);
    buf_init(&list);
    user_row_encode(&b, &in);
    assert_int_equal(0, user_row_decode(buf_slice(&b), &u));
    assert_true(u.flags == in.flags && u.lock_index == 7 && u.delay_until_ms == in.delay_until_ms);
    assert_true(slice_eq(u.value, in.value) && slice_eq(u.session, in.session));
    struct session_row sin = some_session(&list);
    buf_clear(&b);
    session_row_encode(&b, &sin);
    assert_int_equal(0, session_row_decode(buf_slice(&b), &s));
    assert_true(s.behavior == SESSION_DELETE && s.lock_delay_ns == 15000000000 &&
                s.ttl_ms == 10000 && slice_eq(s.node, LIT("n1")) &&
                slice_eq(s.ttl_text, LIT("10s")) && slice_eq(s.name, sin.name));
    buf_fini(&b);
    buf_fini(&list);
}

/* A list is walked by apply: it must be whole before. */
static void test_broken_lists_are_refused(void **state)
{
    static const uint8_t short_list[] = {2, 0, 1, 0, 0, 0, 'a'};
    struct buf b, list;
    struct session_row out;
    (void)state;
    buf_init(&b);
    buf_init(&list);
    struct session_row s = some_session(&list);
    s.node_checks = slice_of(short_list, sizeof(short_list));
    session_row_encode(&b, &s);
    assert_int_equal(MU_E_FORMAT, session_row_decode(buf_slice(&b), &out));
    buf_clear(&b);
    s.node_checks = slice_of(NULL, 0);
    s.service_checks = slice_of(short_list, sizeof(short_list));
    session_row_encode(&b, &s);
    assert_int_equal(MU_E_FORMAT, session_row_decode(buf_slice(&b), &out));
    buf_fini(&b);
    buf_fini(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_fields_come_back),
        cmocka_unit_test(test_broken_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
