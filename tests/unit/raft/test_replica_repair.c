/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that fell behind, lost their store, have a damaged log, or are replaced. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/unit/raft/replica_kit.h"

enum { MANY = 9000 };

/* A machine of 700 KB, snapshots after 100 KB of log: three chunks each. */
static void start_some(struct kit *k, int n)
{
    kit_open(k, 3);
    k->state_bytes = 700 * 1000;
    k->options.snapshot_log_bytes = 100 * 1000;
    k->options.trailing_entries = 4098;
    for (int i = 0; i < n; i++) {
        kit_start(k, i);
    }
}

static void put_many(struct kit *k, struct kit_node *n, int count)
{
    struct kit_call *c = mem_zalloc((size_t)count * sizeof(*c));
    for (int i = 0; i < count; i++) {
        kit_propose(n, &c[i], "some bytes to fill the log.", 20000);
    }
    for (int i = 0; i < count; i++) {
        assert_int_equal(kit_await(k, &c[i]), 0);
    }
    mem_free(c);
}

static mu_index first_of(struct kit_node *n)
{
    struct replica_status s;
    replica_status(n->replica, &s);
    return s.first;
}

/* Writes until the log has forgotten its begin; returns how many. */
static int fill(struct kit *k, struct kit_node *l)
{
    int n = MANY;
    put_many(k, l, n);
    kit_run(k, 300);
    for (int i = 0; i < 40 && first_of(l) == 1; i++) {
        put_many(k, l, 500);
        kit_run(k, 100);
        n += 500;
    }
    assert_true(first_of(l) > 1);
    return n;
}

static void test_catches_up_by_snapshot(void **state)
{
    struct kit k;
    (void)state;
    start_some(&k, 2);
    struct kit_node *l = kit_wait_leader(&k);
    int n = fill(&k, l); /* it cannot come from the log */
    kit_start(&k, 2);
    kit_wait_equal(&k);
    assert_int_equal(k.nodes[2].n_loads, 1);
    assert_int_equal(k.nodes[2].state->n_commands, n);
    assert_int_equal(kit_put(&k, &k.nodes[2], "on."), 0);
    kit_stop(&k, 2); /* and what it got survives */
    kit_start(&k, 2);
    kit_wait_equal(&k);
    assert_int_equal(k.nodes[2].n_loads, 1);
    kit_close(&k);
}

static void test_lost_store_is_rebuilt(void **state)
{
    struct kit k;
    char path[512];
    (void)state;
    start_some(&k, 3);
    int n = fill(&k, kit_wait_leader(&k));
    kit_wait_equal(&k);
    for (int i = 0; i < 100 && first_of(&k.nodes[1]) == 1; i++) {
        kit_run(&k, 50);
    }
    assert_true(first_of(&k.nodes[1]) > 1);
    kit_stop(&k, 1);
    snprintf(path, sizeof(path), "%s/state", k.nodes[1].dir);
    assert_int_equal(unlink(path), 0);
    k.nodes[1].n_loads = 0;
    kit_start(&k, 1);
    assert_int_equal(k.nodes[1].n_loads, 1); /* from its own file, at open */
    kit_wait_equal(&k);
    assert_int_equal(k.nodes[1].state->n_commands, n);
    kit_close(&k);
}

/* --- damage --- */

static void spoil_log(struct kit_node *n, double where)
{
    char dir[300], path[700];
    snprintf(dir, sizeof(dir), "%s/log", n->dir);
    DIR *d = opendir(dir);
    struct dirent *e;
    char name[256] = "";
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) { /* the oldest segment */
        if (e->d_name[0] != '.' && strstr(e->d_name, "spare") == NULL &&
            (name[0] == 0 || strcmp(e->d_name, name) < 0)) {
            snprintf(name, sizeof(name), "%s", e->d_name);
        }
    }
    closedir(d);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long at = (long)((double)ftell(f) * where);
    fseek(f, at, SEEK_SET);
    uint8_t some[32];
    assert_int_equal(fread(some, 1, sizeof(some), f), sizeof(some));
    for (size_t i = 0; i < sizeof(some); i++) {
        some[i] = (uint8_t)~some[i];
    }
    fseek(f, at, SEEK_SET);
    assert_int_equal(fwrite(some, 1, sizeof(some), f), sizeof(some));
    fclose(f);
}

static struct kit_node *watched;

static int is_healed(struct kit *k)
{
    (void)k;
    return watched->role == REPLICA_FOLLOWER && watched->leader != 0;
}

static int is_damaged(struct kit *k)
{
    (void)k;
    return watched->role == REPLICA_DAMAGED;
}

static void test_damaged_log_rejoins(void **state)
{
    struct kit k;
    (void)state;
    start_some(&k, 3);
    struct kit_node *l = kit_wait_leader(&k);
    put_many(&k, l, 2500);
    kit_wait_equal(&k);
    watched = kit_follower(&k);
    mu_index had = watched->state->index;
    kit_stop(&k, watched->i);
    spoil_log(watched, 0.5);
    kit_start(&k, watched->i);
    kit_until(&k, is_damaged, 2000, "the damage to be seen");
    kit_until(&k, is_healed, 10000, "the rejoin");
    assert_int_equal(watched->n_loads, 1);
    assert_true(watched->loaded >= had); /* all it may have acknowledged, before it votes */
    kit_wait_equal(&k);
    assert_int_equal(watched->state->n_commands, 2500);
    /* it counts again: with one of the others gone there is a majority */
    for (int i = 0; i < 3; i++) {
        if (k.nodes[i].is_up && &k.nodes[i] != watched && k.nodes[i].role != REPLICA_LEADER) {
            kit_stop(&k, i);
        }
    }
    assert_int_equal(kit_put(&k, kit_wait_leader(&k), "counts."), 0);
    kit_close(&k);
}

/* A node with a damaged log does not help to elect anyone. */
static void test_damaged_log_does_not_vote(void **state)
{
    struct kit k;
    struct kit_call c;
    (void)state;
    start_some(&k, 3);
    struct kit_node *l = kit_wait_leader(&k);
    put_many(&k, l, 2500);
    kit_wait_equal(&k);
    for (int i = 0; i < 3; i++) {
        kit_stop(&k, i);
    }
    spoil_log(&k.nodes[0], 0.5);
    kit_start(&k, 0);
    kit_start(&k, 1);
    watched = &k.nodes[0];
    kit_until(&k, is_damaged, 2000, "the damage to be seen");
    kit_run(&k, 2000);
    assert_null(kit_leader(&k));
    kit_propose(&k.nodes[1], &c, "no.", 100);
    assert_int_equal(kit_await(&k, &c), MU_E_NO_LEADER);
    kit_start(&k, 2);
    kit_wait_leader(&k);
    kit_until(&k, is_healed, 10000, "the rejoin");
    kit_wait_equal(&k);
    kit_close(&k);
}

static void test_lost_vote_stays_out(void **state)
{
    struct kit k;
    char path[512];
    (void)state;
    start_some(&k, 3);
    put_many(&k, kit_wait_leader(&k), 10);
    kit_wait_equal(&k);
    kit_stop(&k, 0);
    snprintf(path, sizeof(path), "%s/vote", k.nodes[0].dir);
    assert_int_equal(unlink(path), 0);
    kit_start(&k, 0);
    watched = &k.nodes[0];
    kit_until(&k, is_damaged, 2000, "the damage to be seen");
    put_many(&k, kit_wait_leader(&k), 10);
    kit_run(&k, 1500);
    assert_int_equal(k.nodes[0].role, REPLICA_DAMAGED);
    kit_close(&k);
}

/* --- members --- */

static int answered, answer_code;
static char answer_why[160];

static void on_answer(void *arg, int code, const char *why)
{
    (void)arg;
    answered = 1;
    answer_code = code;
    snprintf(answer_why, sizeof(answer_why), "%s", why != NULL ? why : "");
}

static int is_answered(struct kit *k)
{
    (void)k;
    return answered;
}

static int has_ended(struct kit *k)
{
    struct replica_status s;
    struct kit_node *l = kit_leader(k);
    if (l == NULL) {
        return 0;
    }
    replica_status(l->replica, &s);
    return strncmp(s.operation, "done:", 5) == 0;
}

static int add(struct kit *k, struct kit_node *l, int newcomer, mu_node_id replace)
{
    answered = 0;
    replica_member_add(l->replica, &k->members[newcomer], replace, on_answer, NULL);
    assert_false(answered);
    kit_until(k, is_answered, 2000, "an answer");
    return answer_code;
}

static int remove_member(struct kit *k, struct kit_node *l, mu_node_id id)
{
    answered = 0;
    replica_member_remove(l->replica, id, on_answer, NULL);
    kit_until(k, is_answered, 2000, "an answer");
    return answer_code;
}

/* One of three dies for good; a fourth takes its place, and then counts. */
static void test_replace_dead_member(void **state)
{
    struct kit k;
    struct replica_status s;
    (void)state;
    start_some(&k, 3);
    struct kit_node *l = kit_wait_leader(&k);
    int n = fill(&k, l);
    struct kit_node *dead = kit_follower(&k);
    kit_stop(&k, dead->i);
    kit_join(&k, 3);
    assert_int_equal(add(&k, l, 3, replica_id_of(dead->name)), 0);
    kit_until(&k, has_ended, 20000, "the end of the replacement");
    kit_wait_equal(&k);
    l = kit_wait_leader(&k);
    replica_status(l->replica, &s);
    assert_int_equal(s.n_members, 3);
    for (size_t i = 0; i < s.n_members; i++) {
        assert_true(s.members[i].m.is_voter);
        assert_string_not_equal(s.members[i].m.name, dead->name);
    }
    assert_int_equal(k.nodes[3].state->n_commands, n);
    for (int i = 0; i < 3; i++) { /* only with the newcomer's vote is there a majority now */
        if (k.nodes[i].is_up && &k.nodes[i] != l) {
            kit_stop(&k, i);
        }
    }
    assert_int_equal(kit_put(&k, kit_wait_leader(&k), "counts."), 0);
    kit_stop(&k, 3); /* and it knows all that after a restart */
    kit_join(&k, 3);
    assert_int_equal(kit_put(&k, kit_wait_leader(&k), "still."), 0);
    kit_close(&k);
}

static void test_members_refused(void **state)
{
    struct kit k;
    (void)state;
    start_some(&k, 3);
    struct kit_node *l = kit_wait_leader(&k);
    mu_node_id self = replica_id_of(l->name);
    assert_int_equal(remove_member(&k, l, self), MU_E_CONFLICT);
    assert_int_equal(remove_member(&k, l, 12345), MU_E_NOT_FOUND);
    assert_int_equal(remove_member(&k, kit_follower(&k), self), MU_E_NOT_LEADER);
    struct kit_node *f = kit_follower(&k);
    assert_int_equal(remove_member(&k, l, replica_id_of(f->name)), 0); /* three to two */
    kit_until(&k, has_ended, 5000, "the removal");
    kit_stop(&k, f->i);
    f = kit_follower(&k);
    assert_int_equal(remove_member(&k, l, replica_id_of(f->name)),
                     MU_E_CONFLICT); /* two to one: never */
    assert_int_equal(kit_put(&k, l, "two."), 0);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catches_up_by_snapshot),
        cmocka_unit_test(test_lost_store_is_rebuilt),
        cmocka_unit_test(test_damaged_log_rejoins),
        cmocka_unit_test(test_damaged_log_does_not_vote),
        cmocka_unit_test(test_lost_vote_stays_out),
        cmocka_unit_test(test_replace_dead_member),
        cmocka_unit_test(test_members_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
