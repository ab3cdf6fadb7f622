/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions of operations on user keys and records. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/wire.h"
#include "storage/view_kv.h"
#include "tests/unit/storage/kit.h"

static struct op key_op(enum op_type type, const char *key, const char *value)
{
    return (struct op){.type = type, .u.key = {.key = slice_str(key), .value = slice_str(value)}};
}

static struct command_result run_with(struct kit *k, const struct op *ops, size_t n, int wants_rows)
{
    struct command c = {.type = CMD_TXN};
    c.u.txn = (struct cmd_txn){.n = n, .wants_rows = wants_rows, .ops = ops};
    return kit_apply(k, &c);
}

static struct command_result run(struct kit *k, const struct op *ops, size_t n)
{
    return run_with(k, ops, n, 1);
}

static struct command_result run_key(struct kit *k, enum op_type type, const char *key,
                                     const char *value, mu_rev expect)
{
    struct op o = key_op(type, key, value);
    o.expect = expect;
    return run(k, &o, 1);
}

/* 0 and the row (borrowed until the view's close, which is at once: flat fields only). */
static int look(struct kit *k, const char *key, const char *value, struct user_row *out)
{
    struct view *v = view_open(k->store);
    int rc = view_user(v, slice_str(key), 0, out);
    if (rc == 0 && value != NULL) {
        assert_true(slice_eq(out->value, slice_str(value)));
    }
    view_close(v);
    return rc;
}

static int setup(void **state)
{
    struct kit *k = mem_zalloc(sizeof(*k));
    kit_init(k);
    *state = k;
    return 0;
}

static int teardown(void **state)
{
    kit_fini(*state);
    mem_free(*state);
    return 0;
}

static void test_set_and_equal_set(void **state)
{
    struct kit *k = *state;
    struct user_row row;
    struct command_result a = run_key(k, OP_KEY_SET, "a", "1", 0);
    assert_true(a.code == 0 && a.is_changed && a.mod_rev == a.revision);
    struct command_result b = run_key(k, OP_KEY_SET, "a", "1", 0);
    assert_true(b.code == 0 && !b.is_changed && b.mod_rev == a.mod_rev && b.revision == a.revision);
    struct command_result c = run_key(k, OP_KEY_SET, "a", "2", 0);
    assert_true(c.mod_rev == a.mod_rev + 1);
    assert_int_equal(0, look(k, "a", "2", &row));
    assert_true(row.meta.create_rev == a.mod_rev && row.meta.version == 2);
    assert_int_equal(MU_E_NOT_FOUND, look(k, "b", NULL, &row));
    kit_check(k);
}

static void test_compare_and_set(void **state)
{
    struct kit *k = *state;
    assert_int_equal(MU_E_REVISION_MISMATCH, run_key(k, OP_KEY_CAS, "a", "1", 7).code);
    struct command_result a = run_key(k, OP_KEY_CAS, "a", "1", 0);
    assert_int_equal(0, a.code);
    assert_int_equal(MU_E_EXISTS, run_key(k, OP_KEY_CAS, "a", "2", 0).code);
    assert_int_equal(MU_E_REVISION_MISMATCH, run_key(k, OP_KEY_CAS, "a", "2", a.mod_rev + 1).code);
    assert_int_equal(0, run_key(k, OP_KEY_CAS, "a", "2", a.mod_rev).code);
    assert_int_equal(MU_E_REVISION_MISMATCH,
                     run_key(k, OP_KEY_DELETE_CAS, "a", "", a.mod_rev).code);
    assert_int_equal(0, run_key(k, OP_KEY_DELETE_CAS, "a", "", a.mod_rev + 1).code);
    assert_int_equal(0, run_key(k, OP_KEY_DELETE_CAS, "a", "", 99).code); /* gone already */
    struct command_result again = run_key(k, OP_KEY_CAS, "a", "3", 0);
    assert_true(again.code == 0 && again.mod_rev > a.mod_rev);
}

static void test_lock_needs_a_session(void **state)
{
    struct kit *k = *state;
    struct op o = key_op(OP_KEY_LOCK, "a", "1");
    o.u.key.session = LIT("0b6f2ff5-4ac3-4c1b-8f6f-5a3b6d1f0001");
    assert_int_equal(MU_E_NO_SESSION, run(k, &o, 1).code);
    o.type = OP_KEY_UNLOCK;
    assert_int_equal(MU_E_REVISION_MISMATCH, run(k, &o, 1).code);
    struct user_row row;
    assert_int_equal(MU_E_NOT_FOUND, look(k, "a", NULL, &row));
}

/* The items of the last answer. */
static size_t items(struct command_result *r, struct txn_item *out, size_t max)
{
    struct slice rest = r->detail;
    size_t n = 0;
    while (n < max && txn_item_next(&rest, &out[n])) {
        n++;
    }
    assert_int_equal(0, rest.len);
    return n;
}

static void test_operations_see_each_other(void **state)
{
    struct kit *k = *state;
    struct txn_item it[8];
    struct user_row row;
    struct op ops[] = {key_op(OP_KEY_SET, "a", "1"),        key_op(OP_KEY_GET, "a", ""),
                       key_op(OP_KEY_SET, "a", "2"),        key_op(OP_KEY_GET, "a", ""),
                       key_op(OP_KEY_DELETE, "a", ""),      key_op(OP_KEY_GET_OR_EMPTY, "a", ""),
                       key_op(OP_KEY_CHECK_ABSENT, "a", "")};
    struct command_result r = run(k, ops, N_ELEMENTS(ops));
    assert_true(r.code == 0 && r.is_changed && r.revision == 1);
    assert_int_equal(5, items(&r, it, 8));
    assert_true(it[1].op == 1 && it[3].op == 3 && it[4].op == 5);
    assert_int_equal(0, user_row_decode(it[0].row, &row));
    assert_int_equal(0, row.value.len); /* written rows come without their value */
    assert_int_equal(0, user_row_decode(it[1].row, &row));
    assert_true(slice_eq(row.value, LIT("1")));
    assert_int_equal(0, user_row_decode(it[3].row, &row));
    assert_true(slice_eq(row.value, LIT("2")));
    assert_int_equal(0, it[4].row.len);
    assert_int_equal(MU_E_NOT_FOUND, look(k, "a", NULL, &row));
    kit_check(k);
}

static void test_all_failures_are_told(void **state)
{
    struct kit *k = *state;
    struct txn_item it[8];
    mu_rev rev = run_key(k, OP_KEY_SET, "a", "1", 0).mod_rev;
    struct op ops[] = {key_op(OP_KEY_SET, "new", "1"), key_op(OP_KEY_CHECK_INDEX, "a", ""),
                       key_op(OP_KEY_GET, "none", ""), key_op(OP_KEY_CHECK_ABSENT, "new", ""),
                       key_op(OP_KEY_CAS, "a", "2")};
    ops[1].expect = rev + 5;
    ops[4].expect = rev;
    struct command_result r = run(k, ops, N_ELEMENTS(ops));
    assert_true(r.code == MU_E_REVISION_MISMATCH && r.revision == rev && !r.is_changed);
    assert_int_equal(3, items(&r, it, 8));
    assert_true(it[0].op == 1 && it[0].code == MU_E_REVISION_MISMATCH && it[0].mod_rev == rev);
    assert_true(it[1].op == 2 && it[1].code == MU_E_NOT_FOUND);
    assert_true(it[2].op == 3 && it[2].code == MU_E_EXISTS);
    assert_int_equal(0, k->changes.n);
    struct user_row row;
    assert_int_equal(MU_E_NOT_FOUND, look(k, "new", NULL, &row));
    assert_int_equal(0, look(k, "a", "1", &row));
}

static char long_key[2000], big_value[20000];

/* What a refused transaction did is gone without a trace, whatever it touched. */
static void test_refused_leaves_no_trace(void **state)
{
    struct kit *k = *state, other;
    uint64_t seed = 4711;
    memset(long_key, 'k', sizeof(long_key) - 1);
    memset(big_value, 'v', sizeof(big_value) - 1);
    const char *const names[] = {"a", "a/b", "a/c", "d", long_key};
    const char *const values[] = {"", "x", big_value};
    kit_init(&other);
    for (int round = 0; round < 300; round++) {
        struct op ops[8];
        size_t n = 2 + kit_below(&seed, 6);
        for (size_t i = 0; i < n; i++) {
            const char *key = names[kit_below(&seed, N_ELEMENTS(names))];
            const char *value = values[kit_below(&seed, N_ELEMENTS(values))];
            static const enum op_type types[] = {OP_KEY_SET, OP_KEY_DELETE, OP_KEY_DELETE_TREE,
                                                 OP_RECORD_SET, OP_RECORD_DELETE};
            ops[i] = key_op(types[kit_below(&seed, N_ELEMENTS(types))], key, value);
            if (ops[i].type >= OP_RECORD_SET) {
                ops[i].u.record = (struct op_record){LIT("kind"), LIT("name"), slice_str(value)};
            }
        }
        int is_refused = kit_below(&seed, 2) != 0, wants_rows = kit_below(&seed, 2) != 0;
        size_t at = kit_below(&seed, 3) == 0 ? kit_below(&seed, n) : n - 1;
        ops[at] = is_refused ? key_op(OP_KEY_GET, "never", "") : ops[at];
        struct command_result r = run_with(k, ops, n, wants_rows);
        assert_int_equal(is_refused ? MU_E_NOT_FOUND : 0, r.code);
        /* The other store sees a command that does nothing in its place. */
        r = is_refused ? run(&other, &ops[at], 1) : run_with(&other, ops, n, wants_rows);
        assert_int_equal(is_refused ? MU_E_NOT_FOUND : 0, r.code);
    }
    struct view *v = view_open(k->store), *w = view_open(other.store);
    assert_int_equal(view_revision(v), view_revision(w));
    view_close(w);
    view_close(v);
    kit_expect_equal_rows(k->store, other.store);
    kit_check(k);
    kit_fini(&other);
}

static int count(void *arg, struct slice key, const struct user_row *row)
{
    size_t *n = arg;
    (void)key;
    n[row->meta.is_deleted != 0]++;
    return 0;
}

static void test_trees(void **state)
{
    struct kit *k = *state;
    size_t n[2] = {0, 0};
    char key[32];
    struct txn_item it[64];
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof(key), "%s/%d", i % 2 != 0 ? "x" : "y", i);
        assert_int_equal(0, run_key(k, OP_KEY_SET, key, "v", 0).code);
    }
    struct command_result r = run_key(k, OP_KEY_GET_TREE, "x/", "", 0);
    assert_int_equal(25, items(&r, it, 64));
    r = run_key(k, OP_KEY_DELETE_TREE, "x/", "", 0);
    assert_true(r.code == 0 && r.revision == 51 && k->changes.n == 25);
    struct view *v = view_open(k->store);
    assert_int_equal(0, view_users(v, LIT("x/"), count, n));
    assert_true(n[0] == 0 && n[1] == 25);
    n[1] = 0;
    assert_int_equal(0, view_users_from(v, LIT(""), LIT("y/2"), count, n));
    assert_true(n[0] > 0 && n[0] < 25 && n[1] == 0);
    view_close(v);
    r = run_key(k, OP_KEY_GET_TREE, "x/", "", 0);
    assert_true(r.code == 0 && items(&r, it, 64) == 0);
    r = run_key(k, OP_KEY_DELETE_TREE, "", "", 0);
    assert_true(r.code == 0 && k->changes.n == 25);
    kit_check(k);
}

/* All trees of a transaction together have at most so many keys: it holds up everybody for its
 * time. Those behind the one that went too far are refused at once. */
static void test_trees_share_their_bound(void **state)
{
    enum { KEYS = 60000, AT_ONCE = 250 };
    struct kit *k = *state;
    struct op ops[AT_ONCE];
    char key[AT_ONCE][16];
    for (int i = 0; i < KEYS; i += AT_ONCE) {
        for (int j = 0; j < AT_ONCE; j++) {
            snprintf(key[j], sizeof(key[j]), "t/%d", i + j);
            ops[j] = key_op(OP_KEY_SET, key[j], "");
        }
        assert_int_equal(0, run(k, ops, AT_ONCE).code);
    }
    assert_int_equal(0, run_key(k, OP_KEY_GET_TREE, "t/", "", 0).code);
    for (int j = 0; j < AT_ONCE; j++) {
        ops[j] = key_op(OP_KEY_GET_TREE, "t/", "");
    }
    assert_int_equal(MU_E_TOO_LARGE, run(k, ops, 2).code);
    int64_t from = clock_mono_ms();
    assert_int_equal(MU_E_TOO_LARGE, run(k, ops, AT_ONCE).code);
    assert_true(clock_mono_ms() - from < 5000); /* one after the other it is minutes */
    ops[1] = key_op(OP_KEY_DELETE_TREE, "t/", "");
    assert_int_equal(MU_E_TOO_LARGE, run(k, ops, 2).code);
    assert_int_equal(0, run(k, ops + 1, 1).code);
}

static void test_keys_are_any_bytes(void **state)
{
    struct kit *k = *state;
    struct op o = {.type = OP_KEY_SET};
    struct user_row row;
    o.u.key.key = slice_of("\0\xff/\n", 4);
    o.u.key.value = slice_of("\0", 1);
    o.u.key.flags = UINT64_MAX;
    assert_int_equal(0, run(k, &o, 1).code);
    struct view *v = view_open(k->store);
    assert_int_equal(0, view_user(v, o.u.key.key, 0, &row));
    assert_true(row.flags == UINT64_MAX && row.value.len == 1);
    view_close(v);
}

static void test_records(void **state)
{
    struct kit *k = *state;
    struct op o = {.type = OP_RECORD_CAS, .u.record = {LIT("query"), LIT("q1"), LIT("{\"a\":1}")}};
    struct command_result a = run(k, &o, 1);
    assert_int_equal(0, a.code);
    assert_int_equal(MU_E_EXISTS, run(k, &o, 1).code);
    o.expect = a.mod_rev;
    assert_int_equal(0, run(k, &o, 1).code);
    assert_int_equal(MU_E_REVISION_MISMATCH, run(k, &o, 1).code);
    o.type = OP_RECORD_DELETE_CAS;
    assert_int_equal(MU_E_REVISION_MISMATCH, run(k, &o, 1).code);
    o.type = OP_RECORD_DELETE;
    assert_int_equal(0, run(k, &o, 1).code);
    struct view *v = view_open(k->store);
    struct record_row row;
    assert_int_equal(MU_E_NOT_FOUND, view_record(v, LIT("query"), LIT("q1"), &row));
    view_close(v);
    kit_check(k);
}

/* One of each family, with all that it can carry: the bytes in the log. */
static void test_golden(void **state)
{
    static const uint8_t keep[] = {1, 0, 2, 0, 0, 0, 'c', '1'};
    struct buf b;
    struct op ops[7] = {
        {.type = OP_KEY_LOCK,
         .u.key = {LIT("dir/key"), LIT("value"), LIT("11111111-2222-3333-4444-555555555555"), 42}},
        {.type = OP_SESSION_CREATE,
         .u.session = {LIT("11111111-2222-3333-4444-555555555555"),
                       {.meta.lease = 0x99, .node = LIT("n1"), .ttl_ms = 10000}}},
        {.type = OP_NODE_MOVE, .u.node = {LIT("n1"), LIT("n2"), {.address = LIT("10.0.0.1")}}},
        {.type = OP_SERVICE_CAS, .expect = 12},
        {.type = OP_CHECK_SET},
        {.type = OP_CHECK_KEEP},
        {.type = OP_RECORD_CAS, .expect = 3, .u.record = {LIT("query"), LIT("q1"), LIT("{}")}},
    };
    (void)state;
    ops[3].u.service = (struct op_service){
        .node = LIT("n1"),
        .name = {LIT("public"), LIT("DEFAULT_GROUP"), LIT("web"), LIT("DEFAULT"), LIT("web-1")},
        .row = {.address = LIT("10.0.0.7"), .port = 80, .weight = 1, .is_enabled = 1},
        .is_agent = 1};
    ops[3].u.service.row.service_id = LIT("web-1");
    ops[3].u.service.row.node = LIT("n1");
    ops[4].u.check = (struct op_check){.name = {LIT("n1"), LIT("web-1"), LIT("c1")},
                                       .row = {.name = LIT("c"), .ttl_ms = 30000},
                                       .lease_id = 0x77,
                                       .keep_status = 1};
    ops[5].u.check =
        (struct op_check){.name = {LIT("n1"), LIT("web-1"), LIT("")}, .keep = {keep, sizeof(keep)}};
    struct command *c = mem_zalloc(sizeof(*c));
    struct command *again = mem_zalloc(sizeof(*again));
    c->type = CMD_TXN;
    c->wall_ms = 1700000000123;
    c->u.txn = (struct cmd_txn){.n = N_ELEMENTS(ops), .wants_rows = 1, .ops = ops};
    buf_init(&b);
    command_encode(&b, c);
    kit_golden("command_15_txn_v1", buf_slice(&b));
    assert_int_equal(0, command_decode(buf_slice(&b), again));
    assert_true(again->u.txn.n == N_ELEMENTS(ops) && again->u.txn.wants_rows);
    mem_free(c);
    mem_free(again);
    buf_fini(&b);
}

static void test_codec_refuses(void **state)
{
    struct buf b;
    struct op o = key_op(OP_KEY_SET, "key", "value"), out;
    struct wire_reader r;
    (void)state;
    buf_init(&b);
    op_encode(&b, &o);
    wire_read_init(&r, buf_slice(&b));
    op_decode(&r, &out);
    assert_true(wire_read_end(&r) == 0 && out.type == OP_KEY_SET);
    assert_true(slice_eq(out.u.key.value, o.u.key.value));
    for (size_t cut = 0; cut < b.len; cut++) {
        wire_read_init(&r, slice_of(b.p, cut));
        op_decode(&r, &out);
        assert_true(r.failed);
    }
    for (unsigned type = 0; type < 256; type++) {
        b.p[0] = (uint8_t)type;
        wire_read_init(&r, buf_slice(&b));
        op_decode(&r, &out); /* nothing breaks, whatever it is taken for */
        assert_true(type != 0 || r.failed);
    }
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_set_and_equal_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compare_and_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock_needs_a_session, setup, teardown),
        cmocka_unit_test_setup_teardown(test_operations_see_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_failures_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_leaves_no_trace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trees, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trees_share_their_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_are_any_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records, setup, teardown),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_codec_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
