/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include <stdio.h>

#include "base/wire.h"

/* ---- one command of each type ---- */

#define CONST_SLICE(s)                      \
    {                                       \
        (const uint8_t *)(s), sizeof(s) - 1 \
    }
static const struct config_name config = {CONST_SLICE("public"), CONST_SLICE("app"),
                                          CONST_SLICE("db/url")};
static const struct instance_name instance = {CONST_SLICE("public"), CONST_SLICE("DEFAULT_GROUP"),
                                              CONST_SLICE("web"), CONST_SLICE("DEFAULT"),
                                              CONST_SLICE("web-1")};
enum { N_TYPES = CMD_CLUSTER_RESTORE };

static void fill_instance_put(struct cmd_instance_put *m)
{
    static const uint8_t tags[] = {1, 0, 1, 0, 0, 0, 'a'};
    static const uint8_t metadata[] = {1, 0, 1, 0, 0, 0, 'k', 1, 0, 0, 0, 'v'};
    *m = (struct cmd_instance_put){
        .name = instance, .lease_id = 0x99, .cas = CAS_REVISION, .expect = 12, .set_health = 1};
    m->row = (struct instance_row){
        .address = LIT("10.0.0.7"),
        .port = 8080,
        .weight = 2.5,
        .is_enabled = 1,
        .is_healthy = 1,
        .ttl_ms = 15000,
        .remove_after_ms = 30000,
        .tags = {tags, sizeof(tags)},
        .metadata = {metadata, sizeof(metadata)},
        .check = {CHECK_TCP, LIT("10.0.0.7:8080"), LIT(""), 5000, 2000, 3, 2},
    };
    m->row.meta.lease = 0x4d2;
}

static void fill_steps(struct cmd_lease_steps *m)
{
    static const struct lease_step steps[] = {{0x4d2, 3, 0}, {0xffffffffffffffff, 1, 4500}};
    m->n = N_ELEMENTS(steps);
    m->items = steps;
}

static void fill(struct command *c, enum command_type type)
{
    memset(c, 0, sizeof(*c));
    c->type = type;
    c->wall_ms = 1700000000123;
    switch (type) {
    case CMD_CONFIG_PUT:
        c->u.config_put = (struct cmd_config_put){
            config,     LIT("postgres://"), LIT("text/plain"), LIT("where"), LIT("x,y"),
            LIT("ann"), LIT("first"),       {1, 2, 3},         CAS_ABSENT,   0};
        break;
    case CMD_CONFIG_DELETE:
        c->u.config_delete = (struct cmd_config_delete){config, CAS_REVISION, 77};
        break;
    case CMD_INSTANCE_PUT:
        fill_instance_put(&c->u.instance_put);
        break;
    case CMD_INSTANCE_DELETE:
        c->u.instance_delete = (struct cmd_instance_delete){instance, 10};
        break;
    case CMD_INSTANCE_HEALTH:
        c->u.instance_health = (struct cmd_instance_health){instance, 10, 1, LIT("HTTP 200")};
        break;
    case CMD_LEASE_GRANT:
        c->u.lease_grant = (struct cmd_lease_grant){0x4d2, 15000};
        break;
    case CMD_LEASE_REVOKE:
        c->u.lease_revoke.id = 0x4d2;
        break;
    case CMD_LEASE_OVERDUE:
    case CMD_LEASE_END:
    case CMD_LEASE_REVIVE:
    case CMD_LEASE_CHECKPOINT:
        fill_steps(&c->u.lease_steps);
        break;
    case CMD_COMPACT:
        c->u.compact = (struct cmd_compact){SPACE_CONFIG, 1690000000000, 100};
        break;
    case CMD_CLUSTER_RESTORE:
    case CMD_CLUSTER_INIT:
        memset(c->u.cluster_init.cluster_id, 0xc1, 16);
        break;
    case CMD_TXN: /* tested in test_txn.c */
        break;
    }
    if (type == CMD_CONFIG_PUT || type == CMD_LEASE_GRANT) {
        c->has_request_id = 1;
        memset(c->request_id, 0x5a, sizeof(c->request_id));
    }
}

static const char *const names[] = {
    [CMD_CONFIG_PUT] = "config_put",
    [CMD_CONFIG_DELETE] = "config_delete",
    [CMD_INSTANCE_PUT] = "instance_put",
    [CMD_INSTANCE_DELETE] = "instance_delete",
    [CMD_INSTANCE_HEALTH] = "instance_health",
    [CMD_LEASE_GRANT] = "lease_grant",
    [CMD_LEASE_REVOKE] = "lease_revoke",
    [CMD_LEASE_OVERDUE] = "lease_overdue",
    [CMD_LEASE_END] = "lease_end",
    [CMD_LEASE_REVIVE] = "lease_revive",
    [CMD_LEASE_CHECKPOINT] = "lease_checkpoint",
    [CMD_COMPACT] = "compact",
    [CMD_CLUSTER_INIT] = "cluster_init",
    [CMD_CLUSTER_RESTORE] = "cluster_restore",
};

static struct command one, two; /* large */

static void test_golden(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    for (int type = 1; type <= N_TYPES; type++) {
        char name[64];
        fill(&one, (enum command_type)type);
        buf_clear(&b);
        command_encode(&b, &one);
        snprintf(name, sizeof(name), "command_%02d_%s_v1", type, names[type]);
        kit_golden(name, buf_slice(&b));
    }
    buf_fini(&b);
}

/* What was decoded encodes to the same bytes: nothing is lost and nothing is read twice. */
static void test_round_trip(void **state)
{
    struct buf b, again;
    (void)state;
    buf_init(&b);
    buf_init(&again);
    for (int type = 1; type <= N_TYPES; type++) {
        fill(&one, (enum command_type)type);
        buf_clear(&b);
        buf_clear(&again);
        command_encode(&b, &one);
        assert_int_equal(0, command_decode(buf_slice(&b), &two));
        assert_int_equal(type, two.type);
        assert_int_equal(one.wall_ms, two.wall_ms);
        command_encode(&again, &two);
        assert_true(slice_eq(buf_slice(&b), buf_slice(&again)));
    }
    buf_fini(&b);
    buf_fini(&again);
}

static void test_fields(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    fill(&one, CMD_INSTANCE_PUT);
    command_encode(&b, &one);
    assert_int_equal(0, command_decode(buf_slice(&b), &two));
    const struct cmd_instance_put *m = &two.u.instance_put;
    assert_true(slice_eq(m->name.id, LIT("web-1")) && slice_eq(m->name.cluster, LIT("DEFAULT")));
    assert_true(m->row.meta.lease == 0x4d2 && m->lease_id == 0x99 && m->cas == CAS_REVISION &&
                m->expect == 12);
    assert_true(m->row.weight == 2.5 && m->row.port == 8080 && m->row.check.type == CHECK_TCP &&
                m->row.check.failures == 3);
    assert_true(m->row.is_healthy && m->set_health && m->row.remove_after_ms == 30000);
    buf_fini(&b);
}

/* The leader writes its clock over the eight bytes without decoding. */
static void test_stamp(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    fill(&one, CMD_CONFIG_PUT);
    command_encode(&b, &one);
    wire_set_u64(b.p + COMMAND_STAMP_OFFSET, 123456789);
    assert_int_equal(0, command_decode(buf_slice(&b), &two));
    assert_int_equal(123456789, two.wall_ms);
    buf_fini(&b);
}

/* ---- what is refused ---- */

static void test_refuses_cut_and_longer(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    for (int type = 1; type <= N_TYPES; type++) {
        fill(&one, (enum command_type)type);
        buf_clear(&b);
        command_encode(&b, &one);
        for (size_t len = 0; len < b.len; len++) {
            assert_int_equal(MU_E_FORMAT, command_decode(slice_of(b.p, len), &two));
        }
        buf_append_byte(&b, 0);
        assert_int_equal(MU_E_FORMAT, command_decode(buf_slice(&b), &two));
    }
    buf_fini(&b);
}

static void expect_bad_byte(struct buf *b, size_t at, uint8_t value)
{
    uint8_t was = b->p[at];
    b->p[at] = value;
    assert_int_equal(MU_E_FORMAT, command_decode(buf_slice(b), &two));
    b->p[at] = was;
    assert_int_equal(0, command_decode(buf_slice(b), &two));
}

static void test_refuses_unknown_head(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b);
    fill(&one, CMD_LEASE_REVOKE);
    command_encode(&b, &one);
    expect_bad_byte(&b, 0, 2); /* version */
    expect_bad_byte(&b, 1, 0); /* type */
    expect_bad_byte(&b, 1, N_TYPES + 1);
    expect_bad_byte(&b, 1, 255);
    expect_bad_byte(&b, 2, 2); /* flags */
    expect_bad_byte(&b, 3, 1); /* reserved */
    buf_fini(&b);
}

static void expect_bad(const struct command *c)
{
    struct buf b;
    buf_init(&b);
    command_encode(&b, c);
    assert_int_equal(MU_E_FORMAT, command_decode(buf_slice(&b), &two));
    buf_fini(&b);
}

static void test_refuses_names_that_would_break_a_key(void **state)
{
    static uint8_t long_name[KEY_CONFIG_MAX + 1];
    (void)state;
    memset(long_name, 'n', sizeof(long_name));
    fill(&one, CMD_CONFIG_PUT);
    one.u.config_put.name.key = slice_of("a\0b", 3);
    expect_bad(&one);
    fill(&one, CMD_CONFIG_PUT);
    one.u.config_put.name.group = slice_of(NULL, 0);
    expect_bad(&one);
    fill(&one, CMD_CONFIG_PUT);
    one.u.config_put.name.ns = slice_of(long_name, KEY_NAME_MAX + 1);
    expect_bad(&one);
    fill(&one, CMD_CONFIG_DELETE);
    one.u.config_delete.name.key = slice_of(long_name, KEY_CONFIG_MAX + 1);
    expect_bad(&one);
    fill(&one, CMD_INSTANCE_HEALTH);
    one.u.instance_health.name.id = slice_of(NULL, 0);
    expect_bad(&one);
}

static void test_refuses_senseless_values(void **state)
{
    (void)state;
    fill(&one, CMD_LEASE_GRANT);
    one.u.lease_grant.id = 0;
    expect_bad(&one);
    fill(&one, CMD_LEASE_GRANT);
    one.u.lease_grant.ttl_ms = 0;
    expect_bad(&one);
    fill(&one, CMD_INSTANCE_PUT);
    one.u.instance_put.lease_id = 0; /* with a ttl */
    expect_bad(&one);
    fill(&one, CMD_COMPACT);
    one.u.compact.space = SPACE_SERVICE;
    expect_bad(&one);
    fill(&one, CMD_CONFIG_DELETE);
    one.u.config_delete.cas = (enum cas_mode)3;
    expect_bad(&one);
    struct buf b;
    buf_init(&b);
    fill(&one, CMD_LEASE_END);
    command_encode(&b, &one);
    wire_set_u32(b.p + 12, COMMAND_LEASES_MAX + 1);
    assert_int_equal(MU_E_FORMAT, command_decode(buf_slice(&b), &two));
    wire_set_u32(b.p + 12, 0xffffffff);
    assert_int_equal(MU_E_FORMAT, command_decode(buf_slice(&b), &two));
    buf_fini(&b);
}

/* ---- results ---- */

static void test_result(void **state)
{
    uint8_t b[COMMAND_RESULT_SIZE];
    const struct command_result in = {MU_E_EXISTS, 100, 90, 80, 7, 0x4d2, 15000, 1, 0, 1, {0}};
    struct command_result out;
    (void)state;
    command_result_encode(b, &in);
    kit_golden("result_v1", slice_of(b, sizeof(b)));
    assert_int_equal(0, command_result_decode(slice_of(b, sizeof(b)), &out));
    assert_true(out.code == in.code && out.revision == 100 && out.mod_rev == 90 &&
                out.create_rev == 80 && out.version == 7);
    assert_true(out.lease == 0x4d2 && out.ttl_ms == 15000 && out.is_created && !out.is_changed &&
                out.is_duplicate);
    assert_int_equal(MU_E_FORMAT, command_result_decode(slice_of(b, sizeof(b) - 1), &out));
    b[0] = 2;
    assert_int_equal(MU_E_FORMAT, command_result_decode(slice_of(b, sizeof(b)), &out));
}

/* Numbers that are on disks and in logs. */
static void test_numbers_are_frozen(void **state)
{
    (void)state;
    assert_int_equal(1, CMD_CONFIG_PUT);
    assert_int_equal(2, CMD_CONFIG_DELETE);
    assert_int_equal(3, CMD_INSTANCE_PUT);
    assert_int_equal(4, CMD_INSTANCE_DELETE);
    assert_int_equal(5, CMD_INSTANCE_HEALTH);
    assert_int_equal(6, CMD_LEASE_GRANT);
    assert_int_equal(7, CMD_LEASE_REVOKE);
    assert_int_equal(8, CMD_LEASE_OVERDUE);
    assert_int_equal(9, CMD_LEASE_END);
    assert_int_equal(10, CMD_LEASE_REVIVE);
    assert_int_equal(11, CMD_LEASE_CHECKPOINT);
    assert_int_equal(12, CMD_COMPACT);
    assert_int_equal(13, CMD_CLUSTER_INIT);
    assert_int_equal(14, CMD_CLUSTER_RESTORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_stamp),
        cmocka_unit_test(test_refuses_cut_and_longer),
        cmocka_unit_test(test_refuses_unknown_head),
        cmocka_unit_test(test_refuses_names_that_would_break_a_key),
        cmocka_unit_test(test_refuses_senseless_values),
        cmocka_unit_test(test_result),
        cmocka_unit_test(test_numbers_are_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
