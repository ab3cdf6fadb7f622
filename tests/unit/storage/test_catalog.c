/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, services and checks of the catalog, and what they do to instances and sessions. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/wire.h"
#include "storage/store_impl.h"
#include "storage/view_catalog.h"
#include "storage/view_kv.h"
#include "tests/unit/storage/kit.h"

static const char *const sessions[] = {"11111111-2222-3333-4444-555555555555",
                                       "11111111-2222-3333-4444-555555555556",
                                       "11111111-2222-3333-4444-555555555557"};

static struct command_result run(struct kit *k, const struct op *ops, size_t n)
{
    struct command *c = mem_zalloc(sizeof(*c));
    c->type = CMD_TXN;
    c->u.txn = (struct cmd_txn){.n = n, .wants_rows = 1, .ops = ops};
    struct command_result r = kit_apply(k, c);
    mem_free(c);
    return r;
}

static struct command_result run_one(struct kit *k, struct op o)
{
    return run(k, &o, 1);
}

static struct op node_op(enum op_type type, const char *name, const char *address)
{
    return (struct op){.type = type,
                       .u.node = {.name = slice_str(name), .row.address = slice_str(address)}};
}

static struct op move_op(const char *from, const char *to)
{
    struct op o = node_op(OP_NODE_MOVE, from, "");
    o.u.node.to = slice_str(to);
    return o;
}

static struct op service_op(enum op_type type, const char *node, const char *service,
                            const char *id)
{
    struct op o = {.type = type};
    o.u.service.node = slice_str(node);
    o.u.service.name = kit_instance_name(service, id);
    o.u.service.row = (struct instance_row){
        .service_id = slice_str(id), .port = 80, .weight = 1, .is_enabled = 1};
    o.u.service.row.remove_after_ms = REMOVE_NEVER;
    return o;
}

static struct op agent_op(enum op_type type, const char *node, const char *service, const char *id)
{
    struct op o = service_op(type, node, service, id);
    o.u.service.is_agent = 1;
    return o;
}

static struct op check_op(enum op_type type, const char *node, const char *service_id,
                          const char *id, enum check_status status)
{
    struct op o = {.type = type};
    o.u.check.name = (struct check_name){slice_str(node), slice_str(service_id), slice_str(id)};
    o.u.check.row.status = status;
    o.u.check.row.remove_after_ms = REMOVE_NEVER;
    return o;
}

static struct op session_op(const char *id, const char *node, const char *check, struct buf *list)
{
    struct op o = {.type = OP_SESSION_CREATE};
    o.u.session.id = slice_str(id);
    o.u.session.row.node = slice_str(node);
    o.u.session.row.meta.lease = 7000 + (mu_lease_id)id[35];
    buf_clear(list);
    wire_put_u16(list, check[0] != '\0');
    if (check[0] != '\0') {
        wire_put_bytes(list, slice_str(check));
    }
    o.u.session.row.node_checks = buf_slice(list);
    return o;
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

/* --- the catalog is consistent in itself --- */

struct sum {
    struct view *v;
    uint32_t all, warning, critical;
};

static int add_check(void *arg, const struct check_name *n, const struct check_row *row)
{
    struct sum *s = arg;
    (void)n;
    if (!row->meta.is_deleted) {
        s->all++;
        s->warning += row->status == CHECK_WARNING;
        s->critical += row->status == CHECK_CRITICAL;
    }
    return 0;
}

static int see_instance(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct view *v = arg;
    struct sum own = {.v = v}, node = {.v = v};
    struct place_row place;
    struct node_row node_row;
    if (row->node.len == 0) {
        return 0;
    }
    assert_int_equal(0, view_node(v, row->node, &node_row));
    assert_true(!row->is_node_address || slice_eq(node_row.address, row->address));
    assert_int_equal(0, view_place(v, row->node, row->service_id, &place));
    assert_true(slice_eq(place.service, n->service) && slice_eq(place.id, n->id));
    assert_int_equal(0, view_checks_of(v, row->node, row->service_id, add_check, &own));
    assert_int_equal(0, view_checks_of(v, row->node, LIT(""), add_check, &node));
    assert_int_equal(own.all, row->n_checks);
    assert_int_equal(own.warning, row->n_warning);
    assert_int_equal(own.critical, row->n_critical);
    assert_int_equal(node.critical, row->n_node_critical);
    assert_int_equal(row->is_healthy, own.critical == 0 && node.critical == 0);
    return 0;
}

static int see_place(void *arg, struct slice node, struct slice id, const struct place_row *row)
{
    struct view *v = arg;
    struct instance_row i;
    struct slice where;
    if (row->meta.is_deleted) {
        return 0;
    }
    struct instance_name n = {row->ns, row->group, row->service, row->cluster, row->id};
    assert_int_equal(0, view_instance(v, &n, &i));
    assert_true(slice_eq(i.node, node) && slice_eq(i.service_id, id));
    if (row->is_agent) {
        assert_int_equal(0, view_agent_service(v, id, &where));
        assert_true(slice_eq(where, node));
    }
    return 0;
}

static int see_check(void *arg, const struct check_name *n, const struct check_row *row)
{
    struct view *v = arg;
    struct slice service, where;
    struct check_row again;
    struct place_row place;
    struct lease_row lease;
    if (row->meta.is_deleted) {
        return 0;
    }
    assert_int_equal(0, view_check(v, n->node, n->id, &service, &again));
    assert_true(slice_eq(service, n->service_id) && again.meta.mod_rev == row->meta.mod_rev);
    if (n->service_id.len != 0) {
        assert_int_equal(0, view_place(v, n->node, n->service_id, &place));
        assert_true(slice_eq(place.service, row->service_name));
    }
    if (row->is_agent) {
        assert_int_equal(0, view_agent_check(v, n->id, &where, &service));
        assert_true(slice_eq(where, n->node) && slice_eq(service, n->service_id));
    }
    assert_int_equal(row->ttl_ms != 0, row->meta.lease != 0);
    assert_true(row->meta.lease == 0 || view_lease(v, row->meta.lease, &lease) == 0);
    assert_int_equal(row->critical_at != 0, row->status == CHECK_CRITICAL);
    return 0;
}

static int see_session(void *arg, struct slice id, const struct session_row *row)
{
    struct view *v = arg;
    struct pair_iter it;
    struct slice check, service;
    struct check_row c;
    struct node_row n;
    (void)id;
    if (row->meta.is_deleted) {
        return 0;
    }
    assert_int_equal(0, view_node(v, row->node, &n));
    tags_begin(&it, row->node_checks);
    while (tags_next(&it, &check)) {
        assert_int_equal(0, view_check(v, row->node, check, &service, &c));
        assert_true(c.status != CHECK_CRITICAL);
    }
    return 0;
}

static int count_key(void *arg, struct slice key, struct slice value)
{
    size_t *n = arg;
    (void)value;
    n[0] += key.p[0] == LINK_CHECK;
    n[1] += key.p[0] == LINK_AGENT_CHECK;
    n[2] += key.p[0] == LINK_AGENT_SERVICE;
    return 0;
}

static int count_check(void *arg, const struct check_name *n, const struct check_row *row)
{
    size_t *sum = arg;
    (void)n;
    sum[0] += !row->meta.is_deleted;
    sum[1] += !row->meta.is_deleted && row->is_agent;
    return 0;
}

static int count_place(void *arg, struct slice node, struct slice id, const struct place_row *row)
{
    size_t *sum = arg;
    (void)node;
    (void)id;
    sum[2] += !row->meta.is_deleted && row->is_agent;
    return 0;
}

static void see_all(struct kit *k)
{
    struct view *v = view_open(k->store);
    struct slice key, value;
    size_t rows[3] = {0}, links[3] = {0};
    assert_int_equal(0, view_all_instances(v, see_instance, v));
    assert_int_equal(0, view_places(v, LIT(""), see_place, v));
    assert_int_equal(0, view_checks(v, LIT(""), see_check, v));
    assert_int_equal(0, view_sessions(v, see_session, v));
    assert_int_equal(0, view_checks(v, LIT(""), count_check, rows));
    assert_int_equal(0, view_places(v, LIT(""), count_place, rows));
    struct db_cur *c = db_cur_open(view_txn(v), DB_LINKS);
    int rc = db_cur_seek(c, LIT("\x01"), &key, &value);
    while (rc == 0) {
        count_key(links, key, value);
        rc = db_cur_next(c, &key, &value);
    }
    db_cur_close(c);
    assert_memory_equal(rows, links, sizeof(rows)); /* no link leads nowhere */
    view_close(v);
    kit_check(k);
}

/* --- one after the other --- */

static struct instance_row instance(struct kit *k, const char *service, const char *id)
{
    struct instance_row row = {0};
    (void)kit_find_instance(k, service, id, &row);
    return row;
}

static void test_nodes(void **state)
{
    struct kit *k = *state;
    struct command_result a = run_one(k, node_op(OP_NODE_SET, "n1", "10.0.0.1"));
    assert_true(a.code == 0 && a.is_changed && a.mod_rev == 1);
    struct command_result b = run_one(k, node_op(OP_NODE_SET, "n1", "10.0.0.1"));
    assert_true(b.code == 0 && !b.is_changed && b.mod_rev == 1);
    assert_int_equal(MU_E_NOT_FOUND, run_one(k, node_op(OP_NODE_GET, "n2", "")).code);
    assert_int_equal(0, run_one(k, node_op(OP_NODE_GET, "n1", "")).code);
    struct command_result kept = run_one(k, node_op(OP_NODE_ENSURE, "n1", "10.0.0.9"));
    assert_true(kept.code == 0 && !kept.is_changed);
    struct op cas = node_op(OP_NODE_CAS, "n1", "10.0.0.2");
    assert_int_equal(MU_E_EXISTS, run_one(k, cas).code);
    cas.expect = 2;
    assert_int_equal(MU_E_REVISION_MISMATCH, run_one(k, cas).code);
    cas.expect = 1;
    assert_int_equal(0, run_one(k, cas).code);
    cas.type = OP_NODE_DELETE_CAS;
    assert_int_equal(MU_E_REVISION_MISMATCH, run_one(k, cas).code);
    assert_int_equal(0, run_one(k, node_op(OP_NODE_DELETE, "n1", "")).code);
    assert_int_equal(0, run_one(k, node_op(OP_NODE_DELETE, "n1", "")).code);
    assert_true(run_one(k, node_op(OP_NODE_ENSURE, "n1", "10.0.0.9")).is_changed);
    see_all(k);
}

/* What is registered with the catalog is an instance, and its description and its health move
 * revisions of their own. */
static void test_service_is_an_instance(void **state)
{
    struct kit *k = *state;
    struct service_row s;
    assert_int_equal(MU_E_NOT_FOUND,
                     run_one(k, service_op(OP_SERVICE_SET, "n1", "web", "w1")).code);
    run_one(k, node_op(OP_NODE_SET, "n1", "10.0.0.1"));
    struct command_result r = run_one(k, service_op(OP_SERVICE_SET, "n1", "web", "w1"));
    struct instance_row row = instance(k, "web", "w1");
    assert_true(r.code == 0 && r.mod_rev == row.def_rev && row.is_healthy);
    assert_false(run_one(k, service_op(OP_SERVICE_SET, "n1", "web", "w1")).is_changed);
    assert_int_equal(1, kit_find_service(k, "web", &s));
    assert_true(s.n_instances == 1 && s.n_healthy == 1 && s.def_rev == r.mod_rev);

    run_one(k, check_op(OP_CHECK_SET, "n1", "w1", "c1", CHECK_CRITICAL));
    struct instance_row sick = instance(k, "web", "w1");
    assert_true(!sick.is_healthy && sick.def_rev == row.def_rev &&
                sick.meta.mod_rev > row.meta.mod_rev);
    (void)kit_find_service(k, "web", &s);
    assert_true(s.n_healthy == 0 && s.def_rev == row.def_rev);
    see_all(k);

    struct op again = service_op(OP_SERVICE_SET, "n1", "web", "w1");
    again.u.service.row.port = 81;
    run_one(k, again);
    struct instance_row anew = instance(k, "web", "w1");
    (void)kit_find_service(k, "web", &s);
    assert_true(anew.def_rev == anew.meta.mod_rev && s.def_rev == anew.def_rev && !anew.is_healthy);

    run_one(k, check_op(OP_CHECK_SET, "n1", "", "node", CHECK_CRITICAL));
    run_one(k, check_op(OP_CHECK_DELETE, "n1", "", "c1", CHECK_PASSING));
    assert_false(instance(k, "web", "w1").is_healthy);
    run_one(k, check_op(OP_CHECK_STATUS, "n1", "", "node", CHECK_WARNING));
    assert_true(instance(k, "web", "w1").is_healthy);
    see_all(k);
    run_one(k, node_op(OP_NODE_DELETE, "n1", ""));
    assert_int_equal(0, kit_find_instance(k, "web", "w1", &row));
    assert_int_equal(0, kit_find_service(k, "web", &s));
    see_all(k);
}

static void test_service_changes_its_name(void **state)
{
    struct kit *k = *state;
    struct instance_row row;
    run_one(k, node_op(OP_NODE_SET, "n1", "10.0.0.1"));
    run_one(k, service_op(OP_SERVICE_SET, "n1", "web", "w1"));
    run_one(k, check_op(OP_CHECK_SET, "n1", "w1", "c1", CHECK_CRITICAL));
    assert_int_equal(0, run_one(k, service_op(OP_SERVICE_SET, "n1", "api", "w1")).code);
    assert_int_equal(0, kit_find_instance(k, "web", "w1", &row));
    assert_int_equal(1, kit_find_instance(k, "api", "w1", &row));
    assert_true(!row.is_healthy && row.n_critical == 1);
    see_all(k);
}

/* Two of different nodes cannot be one instance, nor can one that was registered without a node. */
static void test_key_of_another_is_a_conflict(void **state)
{
    struct kit *k = *state;
    run_one(k, node_op(OP_NODE_SET, "n1", "10.0.0.1"));
    run_one(k, node_op(OP_NODE_SET, "n2", "10.0.0.2"));
    run_one(k, service_op(OP_SERVICE_SET, "n1", "web", "w1"));
    struct command_result r = run_one(k, service_op(OP_SERVICE_SET, "n2", "web", "w1"));
    assert_int_equal(MU_E_CONFLICT, r.code);
    kit_register(k, "web", "w2");
    r = run_one(k, service_op(OP_SERVICE_SET, "n1", "web", "w2"));
    assert_int_equal(MU_E_CONFLICT, r.code);
    see_all(k);
}

/* The native interface sees it, may describe it, and takes all of it away. */
static void test_native_and_catalog(void **state)
{
    struct kit *k = *state;
    run_one(k, node_op(OP_NODE_SET, "n1", "10.0.0.1"));
    run_one(k, service_op(OP_SERVICE_SET, "n1", "web", "w1"));
    run_one(k, check_op(OP_CHECK_SET, "n1", "w1", "c1", CHECK_CRITICAL));
    assert_int_equal(MU_E_CONFLICT, kit_register_ttl(k, "web", "w1", 1000, 0).code);
    assert_int_equal(MU_E_CONFLICT, kit_health(k, "web", "w1", 0, 1, "").code);
    assert_int_equal(0, kit_register(k, "web", "w1").code);
    struct instance_row row = instance(k, "web", "w1");
    assert_true(!row.is_healthy && row.n_critical == 1 && row.node.len == 2);
    see_all(k);
    struct command_result r = kit_deregister(k, "web", "w1");
    assert_true(r.code == 0 && r.is_changed);
    struct view *v = view_open(k->store);
    struct place_row place;
    assert_int_equal(MU_E_NOT_FOUND, view_place(v, LIT("n1"), LIT("w1"), &place));
    view_close(v);
    see_all(k);
}

static struct check_row check_at(struct kit *k, const char *node, const char *id, char output[512])
{
    struct view *v = view_open(k->store);
    struct check_row row;
    struct slice service;
    assert_int_equal(0, view_check(v, slice_str(node), slice_str(id), &service, &row));
    snprintf(output, 512, "%.*s", SLICE_FMT(row.output));
    view_close(v);
    return row;
}

static void test_ttl_check(void **state)
{
    struct kit *k = *state;
    char output[512];
    struct lease_row l;
    run_one(k, node_op(OP_NODE_SET, "n1", "10.0.0.1"));
    run_one(k, service_op(OP_SERVICE_SET, "n1", "web", "w1"));
    struct op o = check_op(OP_CHECK_SET, "n1", "w1", "c1", CHECK_PASSING);
    o.u.check.row.ttl_ms = 5000;
    o.u.check.lease_id = 77;
    o.u.check.row.output = LIT("fine");
    assert_int_equal(0, run_one(k, o).code);
    assert_int_equal(1, kit_find_lease(k, 77, &l));
    assert_true(l.is_owned && l.ttl_ms == 5000 && l.remove_after_ms == REMOVE_NEVER);
    kit_step(k, CMD_LEASE_OVERDUE, 77, l.generation, 0);
    struct check_row row = check_at(k, "n1", "c1", output);
    assert_int_equal(CHECK_CRITICAL, row.status);
    assert_string_equal("TTL expired (last output before timeout follows): fine", output);
    assert_false(instance(k, "web", "w1").is_healthy);
    see_all(k);
    /* a keep-alive that was under way */
    (void)kit_find_lease(k, 77, &l);
    assert_true(l.is_overdue);
    kit_step(k, CMD_LEASE_REVIVE, 77, l.generation, 0);
    row = check_at(k, "n1", "c1", output);
    assert_true(row.status == CHECK_PASSING && strcmp(output, "fine") == 0);
    /* a status sets its time anew */
    (void)kit_find_lease(k, 77, &l);
    run_one(k, check_op(OP_CHECK_STATUS, "n1", "", "c1", CHECK_PASSING));
    kit_step(k, CMD_LEASE_OVERDUE, 77, l.generation, 0);
    assert_int_equal(CHECK_PASSING, check_at(k, "n1", "c1", output).status);
    (void)kit_find_lease(k, 77, &l);
    kit_step(k, CMD_LEASE_OVERDUE, 77, l.generation, 0);
    (void)check_at(k, "n1", "c1", output);
    assert_string_equal("TTL expired", output);
    run_one(k, check_op(OP_CHECK_STATUS, "n1", "", "c1", CHECK_PASSING));
    (void)kit_find_lease(k, 77, &l);
    assert_false(l.is_overdue);
    /* no ttl any more, no lease */
    run_one(k, check_op(OP_CHECK_SET, "n1", "w1", "c1", CHECK_PASSING));
    assert_int_equal(0, kit_find_lease(k, 77, &l));
    see_all(k);
}

static void test_checks_that_are_kept(void **state)
{
    struct kit *k = *state;
    struct buf list;
    buf_init(&list);
    run_one(k, node_op(OP_NODE_SET, "n1", "10.0.0.1"));
    run_one(k, service_op(OP_SERVICE_SET, "n1", "web", "w1"));
    run_one(k, check_op(OP_CHECK_SET, "n1", "w1", "c1", CHECK_CRITICAL));
    run_one(k, check_op(OP_CHECK_SET, "n1", "w1", "c2", CHECK_WARNING));
    struct op o = check_op(OP_CHECK_KEEP, "n1", "w1", "", CHECK_PASSING);
    wire_put_u16(&list, 1);
    wire_put_bytes(&list, LIT("c2"));
    o.u.check.keep = buf_slice(&list);
    assert_int_equal(0, run_one(k, o).code);
    struct instance_row row = instance(k, "web", "w1");
    assert_true(row.n_checks == 1 && row.n_warning == 1 && row.n_critical == 0 && row.is_healthy);
    o = check_op(OP_CHECK_SET, "n1", "w1", "c2", CHECK_CRITICAL);
    o.u.check.keep_status = 1;
    run_one(k, o);
    assert_int_equal(1, instance(k, "web", "w1").n_warning);
    see_all(k);
    buf_fini(&list);
}

/* The agent's ids are the cluster's: found wherever they are, moved when their node dies. */
static void test_agent_moves(void **state)
{
    struct kit *k = *state;
    struct buf list;
    char output[512];
    buf_init(&list);
    for (int i = 1; i <= 2; i++) {
        const char *n = i == 1 ? "n1" : "n2";
        run_one(k, node_op(OP_NODE_SET, n, "10.0.0.1"));
        run_one(k, check_op(OP_CHECK_SET, n, "", "serfHealth", CHECK_PASSING));
    }
    run_one(k, agent_op(OP_SERVICE_SET, "n1", "web", "w1"));
    run_one(k, agent_op(OP_SERVICE_SET, "n2", "web", "w1")); /* stays where it is */
    assert_true(slice_eq(LIT("n1"), instance(k, "web", "w1").node));
    run_one(k, service_op(OP_SERVICE_SET, "n1", "db", "d1")); /* not the agent's */
    struct op o = check_op(OP_CHECK_SET, "n2", "w1", "c1", CHECK_PASSING);
    o.u.check.is_agent = 1;
    o.u.check.row.ttl_ms = 5000;
    o.u.check.lease_id = 77;
    assert_int_equal(0, run_one(k, o).code);
    assert_int_equal(0, run_one(k, session_op(sessions[0], "n1", "serfHealth", &list)).code);
    see_all(k);
    struct command_result r = run_one(k, move_op("n1", "n2"));
    assert_true(r.code == 0 && r.detail.len == 0);
    see_all(k);
    run_one(k, check_op(OP_CHECK_STATUS, "n1", "", "serfHealth", CHECK_CRITICAL));
    struct instance_row row = instance(k, "web", "w1");
    assert_true(slice_eq(LIT("n2"), row.node) && row.is_healthy && row.n_checks == 1);
    assert_false(instance(k, "db", "d1").is_healthy);
    assert_int_equal(CHECK_PASSING, check_at(k, "n2", "c1", output).status);
    struct view *v = view_open(k->store);
    struct session_row s;
    assert_int_equal(0, view_session(v, slice_str(sessions[0]), &s));
    assert_true(slice_eq(LIT("n2"), s.node));
    view_close(v);
    run_one(k, check_op(OP_CHECK_STATUS, "n2", "", "serfHealth", CHECK_CRITICAL));
    v = view_open(k->store);
    assert_int_equal(MU_E_NOT_FOUND, view_session(v, slice_str(sessions[0]), &s));
    view_close(v);
    run_one(k, check_op(OP_CHECK_STATUS, "n2", "", "serfHealth", CHECK_PASSING));
    o.type = OP_CHECK_STATUS;
    o.u.check.name.node = LIT("n1");
    o.u.check.row.status = CHECK_CRITICAL;
    assert_int_equal(0, run_one(k, o).code);
    assert_false(instance(k, "web", "w1").is_healthy);
    run_one(k, agent_op(OP_SERVICE_DELETE, "n1", "", "w1"));
    assert_int_equal(0, kit_find_instance(k, "web", "w1", &row));
    see_all(k);
    buf_fini(&list);
}

static void test_sessions_end_with_their_checks(void **state)
{
    struct kit *k = *state;
    struct buf list;
    struct view *v;
    struct session_row s;
    struct user_row key;
    buf_init(&list);
    run_one(k, node_op(OP_NODE_SET, "n1", "10.0.0.1"));
    assert_int_equal(MU_E_NOT_FOUND, run_one(k, session_op(sessions[0], "n1", "c", &list)).code);
    run_one(k, check_op(OP_CHECK_SET, "n1", "", "c", CHECK_CRITICAL));
    assert_int_equal(MU_E_CONFLICT, run_one(k, session_op(sessions[0], "n1", "c", &list)).code);
    run_one(k, check_op(OP_CHECK_STATUS, "n1", "", "c", CHECK_PASSING));
    struct op create = session_op(sessions[0], "n1", "c", &list);
    create.u.session.row.lock_delay_ns = 15000000000;
    assert_int_equal(0, run_one(k, create).code);
    struct op lock = {.type = OP_KEY_LOCK,
                      .u.key = {.key = LIT("a"), .session = slice_str(sessions[0])}};
    assert_int_equal(0, run_one(k, lock).code);
    see_all(k);
    run_one(k, check_op(OP_CHECK_STATUS, "n1", "", "c", CHECK_CRITICAL));
    v = view_open(k->store);
    assert_int_equal(MU_E_NOT_FOUND, view_session(v, slice_str(sessions[0]), &s));
    assert_int_equal(0, view_user(v, LIT("a"), 0, &key));
    assert_true(key.session.len == 0 && key.delay_until_ms == k->now + 15000);
    view_close(v);
    see_all(k);
    run_one(k, check_op(OP_CHECK_STATUS, "n1", "", "c", CHECK_PASSING));
    assert_int_equal(0, run_one(k, session_op(sessions[1], "n1", "c", &list)).code);
    run_one(k, node_op(OP_NODE_DELETE, "n1", ""));
    v = view_open(k->store);
    assert_int_equal(MU_E_NOT_FOUND, view_session(v, slice_str(sessions[1]), &s));
    view_close(v);
    see_all(k);
    buf_fini(&list);
}

/* --- anything --- */

static const char *const nodes[] = {"n1", "n2", "n3"};
static const char *const services[] = {"web", "db"};
static const char *const ids[] = {"s1", "s2", "s3", "s4"};
static const char *const check_ids[] = {"c1", "c2", "c3"};

static const char *one_of(uint64_t *seed, const char *const *names, size_t n)
{
    return names[kit_below(seed, n)];
}

static struct op random_check(uint64_t *seed, mu_lease_id *lease)
{
    static const enum op_type types[] = {OP_CHECK_SET,    OP_CHECK_SET,    OP_CHECK_SET,
                                         OP_CHECK_CAS,    OP_CHECK_GET,    OP_CHECK_DELETE,
                                         OP_CHECK_STATUS, OP_CHECK_STATUS, OP_CHECK_KEEP};
    enum op_type type = types[kit_below(seed, N_ELEMENTS(types))];
    const char *service = kit_below(seed, 3) != 0 ? one_of(seed, ids, 4) : "";
    struct op o = check_op(type, one_of(seed, nodes, 3), service, one_of(seed, check_ids, 3),
                           (enum check_status)kit_below(seed, 3));
    o.u.check.is_agent = kit_below(seed, 2) != 0;
    o.u.check.keep_status = kit_below(seed, 4) == 0;
    o.u.check.row.output = kit_below(seed, 2) != 0 ? LIT("out") : LIT("");
    if (kit_below(seed, 3) == 0 && (type == OP_CHECK_SET || type == OP_CHECK_CAS)) {
        o.u.check.row.ttl_ms = 1000;
        o.u.check.lease_id = ++*lease;
    }
    return o;
}

static struct op random_op(uint64_t *seed, mu_lease_id *lease, struct buf *list)
{
    static const enum op_type on_node[] = {OP_NODE_SET,    OP_NODE_SET,  OP_NODE_SET,
                                           OP_NODE_DELETE, OP_NODE_MOVE, OP_NODE_ENSURE};
    static const enum op_type on_service[] = {OP_SERVICE_SET, OP_SERVICE_SET, OP_SERVICE_SET,
                                              OP_SERVICE_GET, OP_SERVICE_DELETE};
    struct op o;
    switch (kit_below(seed, 8)) {
    case 0:
        o = node_op(on_node[kit_below(seed, N_ELEMENTS(on_node))], one_of(seed, nodes, 3),
                    kit_below(seed, 2) != 0 ? "10.0.0.1" : "10.0.0.2");
        o.u.node.to = slice_str(one_of(seed, nodes, 3));
        return o;
    case 1:
    case 2:
    case 3:
        o = service_op(on_service[kit_below(seed, N_ELEMENTS(on_service))], one_of(seed, nodes, 3),
                       one_of(seed, services, 2), one_of(seed, ids, 4));
        o.u.service.is_agent = kit_below(seed, 2) != 0;
        o.u.service.row.port = (uint16_t)kit_below(seed, 2);
        o.u.service.row.address = kit_below(seed, 2) != 0 ? LIT("10.1.1.1") : LIT("");
        return o;
    case 4:
        o = session_op(one_of(seed, sessions, 3), one_of(seed, nodes, 3),
                       kit_below(seed, 2) != 0 ? one_of(seed, check_ids, 3) : "", list);
        o.type = kit_below(seed, 4) == 0 ? OP_SESSION_DESTROY : OP_SESSION_CREATE;
        o.u.session.row.meta.lease = ++*lease;
        return o;
    case 5:
        o = (struct op){.type = OP_KEY_LOCK};
        o.u.key.key = slice_str(one_of(seed, ids, 4));
        o.u.key.session = slice_str(one_of(seed, sessions, 3));
        return o;
    default:
        return random_check(seed, lease);
    }
}

static void step_some_lease(struct kit *k, uint64_t *seed, mu_lease_id last)
{
    struct lease_row l;
    static const enum command_type types[] = {CMD_LEASE_OVERDUE, CMD_LEASE_REVIVE, CMD_LEASE_END};
    mu_lease_id id = last < 40 ? last : last - kit_below(seed, 40);
    if (kit_find_lease(k, id, &l)) {
        enum command_type type = types[kit_below(seed, N_ELEMENTS(types))];
        kit_step(k, type, id, l.generation, 0);
    }
}

static void test_anything(void **state)
{
    struct kit *k = *state;
    mu_lease_id lease = 0;
    for (uint64_t round = 1; round <= 1500; round++) {
        uint64_t seed = round * 7919;
        struct op ops[5];
        struct buf lists[5];
        size_t n = 1 + kit_below(&seed, 5);
        for (size_t i = 0; i < n; i++) {
            buf_init(&lists[i]);
            ops[i] = random_op(&seed, &lease, &lists[i]);
        }
        (void)run(k, ops, n);
        for (size_t i = 0; i < n; i++) {
            buf_fini(&lists[i]);
        }
        if (kit_below(&seed, 4) == 0) {
            step_some_lease(k, &seed, lease);
        }
        if (kit_below(&seed, 10) == 0) {
            (void)kit_deregister(k, one_of(&seed, services, 2), one_of(&seed, ids, 4));
        }
        if (round % 25 == 0) {
            see_all(k);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_service_is_an_instance, setup, teardown),
        cmocka_unit_test_setup_teardown(test_service_changes_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key_of_another_is_a_conflict, setup, teardown),
        cmocka_unit_test_setup_teardown(test_native_and_catalog, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ttl_check, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checks_that_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_agent_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sessions_end_with_their_checks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_anything, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
