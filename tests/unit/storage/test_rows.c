/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include "base/wire.h"

static const struct row_meta some_meta = {
    .create_rev = 0x0102030405060708,
    .create_sub = 9,
    .mod_rev = 0x1112131415161718,
    .mod_sub = 7,
    .version = 42,
    .lease = 0xfedcba9876543210,
    .prev_rev = 0x0a0b0c0d0e0f0001,
    .prev_sub = 3,
    .time_ms = 1700000000123,
    .is_deleted = 0,
};

static struct config_row some_config(void)
{
    struct config_row r = {
        .meta = some_meta,
        .content = LIT("level: debug\n"),
        .content_type = LIT("application/yaml"),
        .description = LIT("log levels"),
        .tags = LIT("a,b"),
        .author = LIT("ann"),
        .comment = LIT("more noise"),
    };
    for (size_t i = 0; i < sizeof(r.digest); i++) {
        r.digest[i] = (uint8_t)(0xa0 + i);
    }
    return r;
}

static void put_list(struct buf *b, unsigned n, const char *const *words, size_t n_words)
{
    wire_put_u16(b, (uint16_t)n);
    for (size_t i = 0; i < n_words; i++) {
        wire_put_bytes(b, slice_str(words[i]));
    }
}

static struct instance_row some_instance(struct buf *tags, struct buf *metadata)
{
    put_list(tags, 2, (const char *const[]){"blue", "v2"}, 2);
    put_list(metadata, 2, (const char *const[]){"zone", "eu-1", "empty", ""}, 4);
    return (struct instance_row){
        .meta = some_meta,
        .address = LIT("10.1.2.3"),
        .port = 65535,
        .weight = 0.1,
        .is_enabled = 1,
        .is_healthy = 0,
        .owns_lease = 1,
        .ttl_ms = 15000,
        .remove_after_ms = REMOVE_NEVER,
        .unhealthy_at = 1700000000001,
        .tags = buf_slice(tags),
        .metadata = buf_slice(metadata),
        .check = {CHECK_HTTP, LIT("http://10.1.2.3/health"), LIT("GET"), 5000, 2000, 2, 1},
        .output = LIT("HTTP 500"),
        .node = LIT("n1"),
        .service_id = LIT("web-1"),
        .extra = LIT("{\"a\":1}"),
        .def_rev = 0x2122232425262728,
        .n_checks = 4,
        .n_warning = 1,
        .n_critical = 2,
        .n_node_critical = 3,
    };
}

/* ---- golden ---- */

static void test_golden(void **state)
{
    struct buf b, tags, metadata;
    (void)state;
    buf_init(&b);
    buf_init(&tags);
    buf_init(&metadata);
    struct config_row c = some_config();
    config_row_encode(&b, &c);
    kit_golden("row_config_v2", buf_slice(&b));
    buf_clear(&b);
    service_row_encode(&b, &(struct service_row){some_meta, 70000, 3, 77});
    kit_golden("row_service_v2", buf_slice(&b));
    buf_clear(&b);
    struct instance_row i = some_instance(&tags, &metadata);
    instance_row_encode(&b, &i);
    kit_golden("row_instance_v2", buf_slice(&b));
    buf_clear(&b);
    lease_row_encode(&b, &(struct lease_row){0x1234, 15000, 77, 9000, 1, REMOVE_NEVER, 1});
    kit_golden("row_lease_v2", buf_slice(&b));
    buf_fini(&b);
    buf_fini(&tags);
    buf_fini(&metadata);
}

/* ---- there and back ---- */

static void expect_meta(const struct row_meta *x, const struct row_meta *y)
{
    assert_true(x->create_rev == y->create_rev && x->create_sub == y->create_sub &&
                x->mod_rev == y->mod_rev && x->mod_sub == y->mod_sub && x->version == y->version &&
                x->lease == y->lease && x->prev_rev == y->prev_rev && x->prev_sub == y->prev_sub &&
                x->time_ms == y->time_ms && x->is_deleted == y->is_deleted);
}

static void test_config_round_trip(void **state)
{
    struct buf b;
    struct config_row in = some_config(), out;
    (void)state;
    buf_init(&b);
    in.meta.is_deleted = 1;
    config_row_encode(&b, &in);
    assert_int_equal(0, config_row_decode(buf_slice(&b), &out));
    expect_meta(&in.meta, &out.meta);
    assert_true(slice_eq(in.content, out.content) && slice_eq(in.content_type, out.content_type));
    assert_true(slice_eq(in.description, out.description) && slice_eq(in.tags, out.tags));
    assert_true(slice_eq(in.author, out.author) && slice_eq(in.comment, out.comment));
    assert_memory_equal(in.digest, out.digest, sizeof(in.digest));
    buf_fini(&b);
}

static void test_head_of_a_config(void **state)
{
    struct buf b;
    struct config_row in = some_config(), out;
    (void)state;
    buf_init(&b);
    config_row_encode(&b, &in);
    size_t before_content = b.len - in.content.len;
    for (size_t len = 0; len < before_content; len++) {
        assert_int_equal(MU_E_FORMAT, config_row_decode_head(slice_of(b.p, len), b.len, &out));
    }
    for (size_t len = before_content; len < b.len; len++) {
        assert_int_equal(0, config_row_decode_head(slice_of(b.p, len), b.len, &out));
        assert_true(out.content.p == NULL && out.content.len == in.content.len);
        assert_true(slice_eq(in.comment, out.comment));
        assert_int_equal(MU_E_FORMAT, config_row_decode_head(slice_of(b.p, len), b.len + 1, &out));
    }
    assert_int_equal(0, config_row_decode_head(buf_slice(&b), b.len, &out));
    assert_true(slice_eq(in.content, out.content));
    buf_fini(&b);
}

static void test_instance_round_trip(void **state)
{
    struct buf b, tags, metadata;
    struct instance_row out;
    (void)state;
    buf_init(&b);
    buf_init(&tags);
    buf_init(&metadata);
    struct instance_row in = some_instance(&tags, &metadata);
    instance_row_encode(&b, &in);
    assert_int_equal(0, instance_row_decode(buf_slice(&b), &out));
    expect_meta(&in.meta, &out.meta);
    assert_true(slice_eq(in.address, out.address) && in.port == out.port &&
                in.weight == out.weight);
    assert_true(in.is_enabled == out.is_enabled && in.is_healthy == out.is_healthy &&
                in.owns_lease == out.owns_lease);
    assert_true(in.ttl_ms == out.ttl_ms && in.remove_after_ms == out.remove_after_ms &&
                in.unhealthy_at == out.unhealthy_at);
    assert_true(slice_eq(in.tags, out.tags) && slice_eq(in.metadata, out.metadata) &&
                slice_eq(in.output, out.output));
    assert_true(in.check.type == out.check.type && slice_eq(in.check.target, out.check.target));
    assert_true(slice_eq(in.check.method, out.check.method) &&
                in.check.interval_ms == out.check.interval_ms);
    assert_true(in.check.timeout_ms == out.check.timeout_ms &&
                in.check.failures == out.check.failures);
    assert_int_equal(in.check.successes, out.check.successes);
    assert_true(slice_eq(in.node, out.node) && slice_eq(in.service_id, out.service_id) &&
                slice_eq(in.extra, out.extra));
    assert_true(in.def_rev == out.def_rev && in.n_checks == out.n_checks &&
                in.n_warning == out.n_warning && in.n_critical == out.n_critical &&
                in.n_node_critical == out.n_node_critical);
    buf_fini(&b);
    buf_fini(&tags);
    buf_fini(&metadata);
}

static void test_lease_round_trip(void **state)
{
    struct buf b;
    struct lease_row out, in = {.id = 1,
                                .ttl_ms = 2,
                                .generation = 3,
                                .remaining_ms = 4,
                                .is_overdue = 1,
                                .remove_after_ms = -1};
    (void)state;
    buf_init(&b);
    lease_row_encode(&b, &in);
    assert_int_equal(0, lease_row_decode(buf_slice(&b), &out));
    assert_true(out.id == 1 && out.ttl_ms == 2 && out.generation == 3 && out.remaining_ms == 4 &&
                out.is_overdue == 1);
    assert_true(out.remove_after_ms == REMOVE_NEVER && out.is_owned == 0);
    buf_fini(&b);
}

static void test_lists(void **state)
{
    struct buf tags, metadata;
    struct pair_iter it;
    struct slice k, v;
    (void)state;
    buf_init(&tags);
    buf_init(&metadata);
    (void)some_instance(&tags, &metadata);
    tags_begin(&it, buf_slice(&tags));
    assert_true(tags_next(&it, &k) && slice_eq(k, LIT("blue")));
    assert_true(tags_next(&it, &k) && slice_eq(k, LIT("v2")));
    assert_false(tags_next(&it, &k));
    metadata_begin(&it, buf_slice(&metadata));
    assert_true(metadata_next(&it, &k, &v) && slice_eq(k, LIT("zone")) && slice_eq(v, LIT("eu-1")));
    assert_true(metadata_next(&it, &k, &v) && slice_eq(k, LIT("empty")) && v.len == 0);
    assert_false(metadata_next(&it, &k, &v));
    tags_begin(&it, slice_of(NULL, 0));
    assert_false(tags_next(&it, &k));
    buf_fini(&tags);
    buf_fini(&metadata);
}

/* ---- what is refused ---- */

typedef int (*decode_any)(struct slice s);
static int decode_config(struct slice s)
{
    struct config_row r;
    return config_row_decode(s, &r);
}
static int decode_service(struct slice s)
{
    struct service_row r;
    return service_row_decode(s, &r);
}
static int decode_instance(struct slice s)
{
    struct instance_row r;
    return instance_row_decode(s, &r);
}
static int decode_lease(struct slice s)
{
    struct lease_row r;
    return lease_row_decode(s, &r);
}

static void expect_strict(struct buf *b, decode_any decode)
{
    assert_int_equal(0, decode(buf_slice(b)));
    for (size_t len = 0; len < b->len; len++) {
        assert_int_equal(MU_E_FORMAT, decode(slice_of(b->p, len)));
    }
    buf_append_byte(b, 0);
    assert_int_equal(MU_E_FORMAT, decode(buf_slice(b)));
    b->len--;
    b->p[0]++; /* a newer version */
    assert_int_equal(MU_E_FORMAT, decode(buf_slice(b)));
    b->p[0]--;
    b->p[1] |= 0x80; /* a flag that nobody knows */
    assert_int_equal(MU_E_FORMAT, decode(buf_slice(b)));
    buf_clear(b);
}

static void test_refuses_cut_longer_and_newer(void **state)
{
    struct buf b, tags, metadata;
    (void)state;
    buf_init(&b);
    buf_init(&tags);
    buf_init(&metadata);
    struct config_row c = some_config();
    config_row_encode(&b, &c);
    expect_strict(&b, decode_config);
    service_row_encode(&b, &(struct service_row){some_meta, 1, 1, 0});
    expect_strict(&b, decode_service);
    struct instance_row i = some_instance(&tags, &metadata);
    instance_row_encode(&b, &i);
    expect_strict(&b, decode_instance);
    lease_row_encode(&b, &(struct lease_row){.id = 1});
    expect_strict(&b, decode_lease);
    buf_fini(&b);
    buf_fini(&tags);
    buf_fini(&metadata);
}

static void expect_bad_instance(const struct instance_row *r)
{
    struct buf b;
    buf_init(&b);
    instance_row_encode(&b, r);
    assert_int_equal(MU_E_FORMAT, decode_instance(buf_slice(&b)));
    buf_fini(&b);
}

static void test_refuses_unsound_instances(void **state)
{
    struct buf list;
    struct instance_row ok = {.address = LIT("a")};
    (void)state;
    buf_init(&list);
    struct instance_row r = ok;
    r.ttl_ms = -1;
    expect_bad_instance(&r);
    r = ok;
    r.remove_after_ms = -2;
    expect_bad_instance(&r);
    r = ok;
    r.check.type = CHECK_TYPE_N;
    expect_bad_instance(&r);
    put_list(&list, 3, (const char *const[]){"says three", "has two"}, 2);
    r = ok;
    r.tags = buf_slice(&list);
    expect_bad_instance(&r);
    r = ok;
    r.metadata = buf_slice(&list);
    expect_bad_instance(&r);
    r = ok;
    r.node = LIT("a node without a service id");
    expect_bad_instance(&r);
    r = ok;
    r.weight = __builtin_nan("");
    expect_bad_instance(&r);
    buf_fini(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_config_round_trip),
        cmocka_unit_test(test_instance_round_trip),
        cmocka_unit_test(test_lease_round_trip),
        cmocka_unit_test(test_head_of_a_config),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_refuses_cut_longer_and_newer),
        cmocka_unit_test(test_refuses_unsound_instances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
