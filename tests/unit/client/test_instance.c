/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/instance.h"
#include "client/json.h"
#include "client/mem.h"

static const char list_text[] =
    "{\"instances\":["
    "{\"service\":\"web\",\"group\":\"g\",\"cluster\":\"B\",\"id\":\"1\",\"address\":\"10.0.0.1\","
    "\"port\":80,\"weight\":0.25,\"enabled\":true,\"healthy\":true,\"revision\":7,\"ttl\":\"15s\","
    "\"tags\":[\"x\",\"y\"],\"metadata\":{\"k\":\"v\",\"n\":\"\"}},"
    "{\"id\":\"2\",\"address\":\"h\",\"cluster\":\"A\",\"weight\":3,\"enabled\":false},"
    "{\"id\":\"1\",\"address\":\"h\",\"cluster\":\"A\"}]}";

static struct inst_list *parse(const char *text)
{
    struct inst_list *l = NULL;
    assert_int_equal(inst_list_parse(text, strlen(text), &l), MUSTER_OK);
    return l;
}

static void names_are(const struct inst_list *l, const char *want)
{
    char got[512] = "";
    for (size_t k = 0; k < l->n; k++) {
        size_t at = strlen(got);
        snprintf(got + at, sizeof(got) - at, "%s/%s@%s ", l->v[k]->i.cluster, l->v[k]->i.id,
                 l->v[k]->i.address);
    }
    assert_string_equal(got, want);
}

static void a_list(void **state)
{
    (void)state;
    struct inst_list *l = parse(list_text);
    names_are(l, "A/1@h A/2@h B/1@10.0.0.1 ");
    const struct muster_instance *i = &l->v[2]->i;
    assert_true(i->port == 80 && i->weight == 1 && i->enabled && i->healthy && i->revision == 7);
    assert_int_equal(i->ttl_ms, 15000);
    assert_int_equal(i->n_tags, 2);
    assert_string_equal(i->tags[1], "y");
    assert_int_equal(i->n_metadata, 2);
    assert_string_equal(i->metadata[0].name, "k");
    assert_string_equal(i->metadata[0].value, "v");
    assert_true(!l->v[1]->i.enabled && l->v[1]->i.weight == 3 && !l->v[1]->i.healthy);
    /* Written and read again it is the same. */
    struct cbuf b;
    cbuf_init(&b, 10000);
    inst_list_json(&b, l);
    struct inst_list *again = parse(b.p);
    names_are(again, "A/1@h A/2@h B/1@10.0.0.1 ");
    assert_string_equal(again->v[2]->i.metadata[0].value, "v");
    assert_int_equal(again->v[2]->i.revision, 7);
    assert_true(again->v[2]->hash == l->v[2]->hash && l->v[2]->hash != l->v[0]->hash);
    cbuf_fini(&b);
    inst_list_unref(again);
    inst_list_unref(l);
}

static void changes_make_new_lists(void **state)
{
    (void)state;
    struct inst_list *l = parse(list_text);
    static const char text[] = "{\"id\":\"1\",\"address\":\"new\",\"cluster\":\"A\"}";
    struct cjson_doc *doc = NULL;
    struct inst *i = NULL;
    assert_int_equal(cjson_parse(text, sizeof(text) - 1, &doc), MUSTER_OK);
    assert_int_equal(inst_parse(cjson_root(doc), &i), MUSTER_OK);
    struct inst_list *with = inst_list_with(l, i);
    names_are(with, "A/1@new A/2@h B/1@10.0.0.1 ");
    struct inst_list *without = inst_list_without(with, "A", "2");
    names_are(without, "A/1@new B/1@10.0.0.1 ");
    struct inst_list *same = inst_list_without(without, "A", "none");
    names_are(same, "A/1@new B/1@10.0.0.1 ");
    names_are(l, "A/1@h A/2@h B/1@10.0.0.1 ");
    inst_list_unref(l);
    inst_list_unref(with);
    inst_unref(i);
    inst_list_unref(without);
    names_are(same, "A/1@new B/1@10.0.0.1 ");
    inst_list_unref(same);
    cjson_free(doc);
}

static void what_is_no_list(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"instances\":{}}",
        "{\"instances\":[1]}",
        "{\"instances\":[{\"id\":\"1\"}]}",
        "{\"instances\":[{\"id\":\"1\",\"address\":\"h\",\"tags\":[1]}]}",
        "{\"instances\":[{\"id\":\"1\",\"address\":\"h\","
        "\"metadata\":{\"a\":1}}]}"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct inst_list *l = NULL;
        assert_int_equal(inst_list_parse(bad[i], strlen(bad[i]), &l), MUSTER_INVALID);
    }
}

static void too_many(void **state)
{
    (void)state;
    struct cbuf b;
    struct inst_list *l = NULL;
    cbuf_init(&b, 64 << 20);
    cbuf_str(&b, "{\"instances\":[0");
    for (int i = 0; i < INSTANCES_MAX; i++) {
        cbuf_str(&b, ",0");
    }
    cbuf_str(&b, "]}");
    assert_int_equal(inst_list_parse(b.p, b.len, &l), MUSTER_INVALID);
    cbuf_fini(&b);
}

static void checks(void **state)
{
    (void)state;
    struct muster_instance i;
    muster_instance_init(&i);
    assert_int_equal(instance_check(&i, NULL), MUSTER_INVALID);
    i.service = "web";
    assert_int_equal(instance_check(&i, NULL), MUSTER_INVALID);
    i.address = "h";
    assert_int_equal(instance_check(&i, NULL), MUSTER_OK);
    struct muster_instance bad = i;
    bad.ttl_ms = 999;
    assert_int_equal(instance_check(&bad, NULL), MUSTER_INVALID);
    bad = i;
    bad.service = "a\nb";
    assert_int_equal(instance_check(&bad, NULL), MUSTER_INVALID);
    bad = i;
    bad.tags = (const char *const[]){"\xff"};
    bad.n_tags = 1;
    assert_int_equal(instance_check(&bad, NULL), MUSTER_INVALID);
}

static void a_registration(void **state)
{
    (void)state;
    struct muster_instance i;
    struct cbuf b;
    muster_instance_init(&i);
    i.service = "web";
    i.address = "h\"";
    i.port = 80;
    i.cluster = "C";
    i.tags = (const char *const[]){"a", "b"};
    i.n_tags = 2;
    i.metadata = (const struct muster_pair[]){{"k", "v"}};
    i.n_metadata = 1;
    cbuf_init(&b, 1000);
    instance_json(&b, &i);
    assert_string_equal(b.p, "{\"address\":\"h\\\"\",\"port\":80,\"weight\":1,\"enabled\":true,"
                             "\"tags\":[\"a\",\"b\"],\"metadata\":{\"k\":\"v\"},\"cluster\":\"C\","
                             "\"ttl\":\"15000ms\"}");
    cbuf_fini(&b);
}

/* Each allocation fails in turn. */
static void no_memory(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct inst_list *l = NULL, *less = NULL;
        cmem_fail_at(n);
        muster_status rc = inst_list_parse(list_text, sizeof(list_text) - 1, &l);
        if (rc == MUSTER_OK) {
            less = inst_list_without(l, "A", "1");
        }
        int was_pending = cmem_fail_pending();
        cmem_fail_at(0);
        assert_true(rc == MUSTER_OK || rc == MUSTER_NO_MEMORY);
        inst_list_unref(l);
        inst_list_unref(less);
        if (was_pending) {
            assert_true(less != NULL);
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list),          cmocka_unit_test(changes_make_new_lists),
        cmocka_unit_test(what_is_no_list), cmocka_unit_test(too_many),
        cmocka_unit_test(checks),          cmocka_unit_test(a_registration),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
