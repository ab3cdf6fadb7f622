/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/http/route.h"

static void nothing(struct http_req *r, void *arg)
{
    (void)r;
    (void)arg;
}

#define GET(p) HTTP_ROUTE(HTTP_M_GET, p, nothing, PERM_NONE_REQUIRED, 0)

static const struct http_route rows[] = {
    GET("/"),
    GET("/api/v1/configs/{group}/{key}"),
    HTTP_ROUTE(HTTP_M_PUT, "/api/v1/configs/{group}/{name}", nothing, PERM_CONFIG_WRITE, 100),
    GET("/api/v1/configs/{group}/{key}/history"),
    HTTP_ROUTE(HTTP_M_POST, "/api/v1/configs:listen", nothing, PERM_CONFIG_READ, 100),
    GET("/api/v1/configs"),
    GET("/a/b/c"),
    GET("/a/{x}/d"),
    HTTP_ROUTE(HTTP_M_POST, "/a/{y}/c", nothing, PERM_CONFIG_READ, 100),
};

static struct route_match find(const char *path, unsigned method)
{
    struct route_node *root = route_tree_new();
    struct err e = {0};
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        assert_int_equal(route_tree_add(root, &rows[i], &e), 0);
    }
    struct path split;
    struct route_match m;
    assert_int_equal(path_split(slice_str(path), NULL, &split, &e), 0);
    route_tree_find(root, &split, method, &m);
    route_tree_free(root);
    return m;
}

static void rows_are_found(void **state)
{
    (void)state;
    struct route_match m = find("/api/v1/configs/app/db", HTTP_M_GET);
    assert_ptr_equal(m.route, &rows[1]);
    assert_true(slice_eq(m.params[0], SLICE_LIT("app")));
    assert_true(slice_eq(m.params[1], SLICE_LIT("db")));
    assert_int_equal(m.methods, HTTP_M_GET | HTTP_M_HEAD | HTTP_M_PUT);
    assert_ptr_equal(find("/api/v1/configs/app/db", HTTP_M_PUT).route, &rows[2]);
    assert_ptr_equal(find("/api/v1/configs/app/db/history", HTTP_M_HEAD).route, &rows[3]);
    assert_ptr_equal(find("/api/v1/configs:listen", HTTP_M_POST).route, &rows[4]);
    assert_ptr_equal(find("/", HTTP_M_GET).route, &rows[0]);
    assert_int_equal(find("/api/v1", HTTP_M_GET).methods, 0);
    assert_int_equal(find("/api/v1/configs/a/b/c", HTTP_M_GET).methods, 0);
    assert_int_equal(find("/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5", HTTP_M_GET).methods,
                     0);
}

static void literals_win_and_the_way_back_is_taken(void **state)
{
    (void)state;
    assert_ptr_equal(find("/a/b/c", HTTP_M_GET).route, &rows[6]);
    struct route_match m = find("/a/b/d", HTTP_M_GET);
    assert_ptr_equal(m.route, &rows[7]);
    assert_true(slice_eq(m.params[0], SLICE_LIT("b")));
    assert_ptr_equal(find("/a/b/c", HTTP_M_POST).route, &rows[8]);
    m = find("/a/b/c", HTTP_M_PUT);
    assert_null(m.route);
    assert_int_equal(m.methods, HTTP_M_GET | HTTP_M_HEAD | HTTP_M_POST);
}

static void names_of_parameters(void **state)
{
    (void)state;
    assert_int_equal(route_param_index(&rows[1], "group"), 0);
    assert_int_equal(route_param_index(&rows[1], "key"), 1);
    assert_int_equal(route_param_index(&rows[2], "key"), -1);
    assert_int_equal(route_param_index(&rows[1], "ke"), -1);
}

static void bad_rows_are_refused(void **state)
{
    (void)state;
    static const struct http_route bad[] = {
        GET("/a/{z}/d"),
        GET("a"),
        GET("/a//b"),
        GET("/a/"),
        GET("/a/x{y}"),
        GET("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}"),
        HTTP_ROUTE(HTTP_M_GET | HTTP_M_PUT, "/two", nothing, PERM_NONE_REQUIRED, 0),
        HTTP_ROUTE(0, "/none", nothing, PERM_NONE_REQUIRED, 0),
        {.methods = HTTP_M_GET, .pattern = "/open", .handler = nothing},
        {.methods = HTTP_M_GET, .pattern = "/empty", .permission = PERM_NONE_REQUIRED},
    };
    struct route_node *root = route_tree_new();
    struct err e = {0};
    assert_int_equal(route_tree_add(root, &rows[7], &e), 0);
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(route_tree_add(root, &bad[i], &e),
                         i == 0 ? MU_E_EXISTS : MU_E_BAD_REQUEST);
    }
    route_tree_free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_found),
        cmocka_unit_test(literals_win_and_the_way_back_is_taken),
        cmocka_unit_test(names_of_parameters),
        cmocka_unit_test(bad_rows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
