/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include "base/wire.h"

static const struct row_meta some_meta = {
    .create_rev = 11,
    .create_sub = 1,
    .mod_rev = 22,
    .mod_sub = 2,
    .version = 3,
    .lease = 0x44,
    .time_ms = 1700000000123,
};

static void put_pair(struct buf *b, const char *key, const char *value)
{
    wire_put_u16(b, 1);
    wire_put_bytes(b, slice_str(key));
    wire_put_bytes(b, slice_str(value));
}

static struct node_row some_node(struct buf *pairs)
{
    put_pair(pairs, "lan", "10.0.0.5");
    return (struct node_row){
        .meta = some_meta,
        .id = LIT("11111111-2222-3333-4444-555555555555"),
        .address = LIT("10.0.0.5"),
        .tagged = buf_slice(pairs),
        .metadata = buf_slice(pairs),
        .is_member = 1,
    };
}

static struct place_row some_place(void)
{
    return (struct place_row){
        .meta = some_meta,
        .ns = LIT("public"),
        .group = LIT("DEFAULT_GROUP"),
        .service = LIT("web"),
        .cluster = LIT("DEFAULT"),
        .id = LIT("web-1"),
        .is_agent = 1,
    };
}

static struct check_row some_check(struct buf *pairs)
{
    put_pair(pairs, "X-Probe", "1");
    return (struct check_row){
        .meta = some_meta,
        .name = LIT("web answers"),
        .notes = LIT("a note"),
        .output = LIT("HTTP GET http://10.0.0.5/: 200 OK Output: fine"),
        .service_name = LIT("web"),
        .type_name = LIT("http"),
        .definition = LIT("{}"),
        .status = CHECK_WARNING,
        .run = {.kind = CHECK_KIND_HTTP,
                .target = LIT("https://10.0.0.5/"),
                .alias_service = LIT("other"),
                .method = LIT("GET"),
                .body = LIT("ping"),
                .server_name = LIT("web.example"),
                .headers = buf_slice(pairs),
                .interval_ms = 10000,
                .timeout_ms = 2000,
                .passes_needed = 1,
                .failures_to_warn = 2,
                .failures_to_fail = 3,
                .output_max = 100,
                .use_tls = 1,
                .skip_verify = 0,
                .no_redirects = 1},
        .ttl_ms = 30000,
        .remove_after_ms = 60000,
        .critical_at = 1700000000001,
        .is_agent = 1,
    };
}

static void test_golden(void **state)
{
    struct buf b, pairs, headers;
    (void)state;
    buf_init(&b);
    buf_init(&pairs);
    buf_init(&headers);
    struct node_row n = some_node(&pairs);
    node_row_encode(&b, &n);
    kit_golden("row_node_v2", buf_slice(&b));
    buf_clear(&b);
    struct place_row p = some_place();
    place_row_encode(&b, &p);
    kit_golden("row_place_v2", buf_slice(&b));
    buf_clear(&b);
    struct check_row c = some_check(&headers);
    check_row_encode(&b, &c);
    kit_golden("row_check_v2", buf_slice(&b));
    buf_fini(&b);
    buf_fini(&pairs);
    buf_fini(&headers);
}

/* Decoding and encoding again gives the same bytes; whatever is cut off, added or newer is refused.
 */
typedef int (*again_fn)(struct slice s, struct buf *out);

static int node_again(struct slice s, struct buf *out)
{
    struct node_row r;
    int rc = node_row_decode(s, &r);
    if (rc == 0) {
        node_row_encode(out, &r);
    }
    return rc;
}

static int place_again(struct slice s, struct buf *out)
{
    struct place_row r;
    int rc = place_row_decode(s, &r);
    if (rc == 0) {
        place_row_encode(out, &r);
    }
    return rc;
}

static int check_again(struct slice s, struct buf *out)
{
    struct check_row r;
    int rc = check_row_decode(s, &r);
    if (rc == 0) {
        check_row_encode(out, &r);
    }
    return rc;
}

static void expect_strict(struct buf *b, again_fn again)
{
    struct buf out;
    buf_init(&out);
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
    b->p[0]--;
    b->p[ROW_META_SIZE] |= 0x80; /* a flag that nobody knows */
    assert_int_equal(MU_E_FORMAT, again(buf_slice(b), &out));
    buf_fini(&out);
    buf_clear(b);
}

static void test_there_and_back_and_nothing_else(void **state)
{
    struct buf b, pairs, headers;
    (void)state;
    buf_init(&b);
    buf_init(&pairs);
    buf_init(&headers);
    struct node_row n = some_node(&pairs);
    node_row_encode(&b, &n);
    expect_strict(&b, node_again);
    struct place_row p = some_place();
    place_row_encode(&b, &p);
    expect_strict(&b, place_again);
    struct check_row c = some_check(&headers);
    check_row_encode(&b, &c);
    expect_strict(&b, check_again);
    buf_fini(&b);
    buf_fini(&pairs);
    buf_fini(&headers);
}

static void test_every_field_of_a_check_comes_back(void **state)
{
    struct buf b, pairs;
    struct check_row out;
    (void)state;
    buf_init(&b);
    buf_init(&pairs);
    struct check_row in = some_check(&pairs);
    check_row_encode(&b, &in);
    assert_int_equal(0, check_row_decode(buf_slice(&b), &out));
    assert_true(slice_eq(in.name, out.name) && slice_eq(in.notes, out.notes) &&
                slice_eq(in.output, out.output));
    assert_true(slice_eq(in.service_name, out.service_name) &&
                slice_eq(in.type_name, out.type_name) && slice_eq(in.definition, out.definition));
    assert_true(slice_eq(in.run.target, out.run.target) &&
                slice_eq(in.run.alias_service, out.run.alias_service) &&
                slice_eq(in.run.method, out.run.method));
    assert_true(slice_eq(in.run.body, out.run.body) &&
                slice_eq(in.run.server_name, out.run.server_name) &&
                slice_eq(in.run.headers, out.run.headers));
    assert_true(out.status == CHECK_WARNING && out.run.kind == CHECK_KIND_HTTP && out.is_agent);
    assert_true(out.run.interval_ms == 10000 && out.run.timeout_ms == 2000 &&
                out.run.passes_needed == 1 && out.run.failures_to_warn == 2);
    assert_true(out.run.failures_to_fail == 3 && out.run.output_max == 100 && out.run.use_tls &&
                !out.run.skip_verify && out.run.no_redirects);
    assert_true(out.ttl_ms == 30000 && out.remove_after_ms == 60000 &&
                out.critical_at == 1700000000001);
    buf_fini(&b);
    buf_fini(&pairs);
}

static void expect_bad_check(const struct check_row *r)
{
    struct buf b, out;
    buf_init(&b);
    buf_init(&out);
    check_row_encode(&b, r);
    assert_int_equal(MU_E_FORMAT, check_again(buf_slice(&b), &out));
    buf_fini(&b);
    buf_fini(&out);
}

static void test_refuses_unsound_checks(void **state)
{
    const struct check_row ok = {.remove_after_ms = REMOVE_NEVER};
    struct check_row r = ok;
    (void)state;
    r.status = (enum check_status)3;
    expect_bad_check(&r);
    r = ok;
    r.run.kind = CHECK_KIND_N;
    expect_bad_check(&r);
    r = ok;
    r.ttl_ms = -1;
    expect_bad_check(&r);
    r = ok;
    r.run.interval_ms = -1;
    expect_bad_check(&r);
    r = ok;
    r.remove_after_ms = -2;
    expect_bad_check(&r);
    r = ok;
    r.run.headers = LIT("\x02");
    expect_bad_check(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_there_and_back_and_nothing_else),
        cmocka_unit_test(test_every_field_of_a_check_comes_back),
        cmocka_unit_test(test_refuses_unsound_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
