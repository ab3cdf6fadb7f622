/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <jansson.h>
#include <stdio.h>

#include "server/api/api.h"

/* The document that every node serves names exactly the routes that the face has, each with its
 * method. */

enum { ROUTES_MAX = 128 };

static const struct {
    unsigned method;
    const char *name;
} methods[] = {{HTTP_M_GET, "get"},
               {HTTP_M_PUT, "put"},
               {HTTP_M_POST, "post"},
               {HTTP_M_DELETE, "delete"},
               {HTTP_M_PATCH, "patch"}};

extern const uint8_t api_openapi_start[], api_openapi_end[];

static json_t *document(void)
{
    json_error_t e;
    json_t *doc =
        json_loadb((const char *)api_openapi_start, (size_t)(api_openapi_end - api_openapi_start),
                   JSON_REJECT_DUPLICATES, &e);
    assert_non_null(doc);
    return doc;
}

static size_t routes(struct http_server *s, struct api *a, const struct http_route **out)
{
    struct err e = {0};
    assert_int_equal(api_add_routes(a, s, &e), 0);
    size_t n = http_server_routes(s, out, ROUTES_MAX);
    assert_true(n > 20 && n <= ROUTES_MAX);
    return n;
}

static const char *method_name(unsigned m)
{
    for (size_t i = 0; i < N_ELEMENTS(methods); i++) {
        if (methods[i].method == m) {
            return methods[i].name;
        }
    }
    return "?";
}

static void document_and_routes_agree(void **state)
{
    const struct http_route *list[ROUTES_MAX];
    struct http_server *s = http_server_new(&(struct http_server_options){0});
    struct api *a = api_new(&(struct api_options){0});
    json_t *doc = document(), *paths = json_object_get(doc, "paths"), *item, *op;
    size_t n = routes(s, a, list), n_documented = 0;
    const char *path, *method;
    (void)state;
    for (size_t i = 0; i < n; i++) {
        assert_memory_equal(list[i]->pattern, "/api/v1", 7);
        op = json_object_get(json_object_get(paths, list[i]->pattern + 7),
                             method_name(list[i]->methods));
        if (op == NULL) {
            fail_msg("%s %s is not documented", method_name(list[i]->methods), list[i]->pattern);
        }
        assert_true(json_object_size(json_object_get(op, "responses")) > 0);
    }
    json_object_foreach (paths, path, item) {
        json_object_foreach (item, method, op) {
            n_documented++;
        }
    }
    assert_int_equal(n_documented, n);
    json_decref(doc);
    api_free(a);
    http_server_free(s);
}

/* Each {name} of a path is described as a parameter in the path, and the other way round. */
static void path_parameters_are_described(void **state)
{
    json_t *doc = document(), *item, *op, *p;
    const char *path, *method;
    (void)state;
    json_object_foreach (json_object_get(doc, "paths"), path, item) {
        json_object_foreach (item, method, op) {
            size_t i, n = 0, n_braces = 0;
            json_array_foreach (json_object_get(op, "parameters"), i, p) {
                char want[64];
                if (strcmp(json_string_value(json_object_get(p, "in")), "path") == 0) {
                    snprintf(want, sizeof(want), "{%s}",
                             json_string_value(json_object_get(p, "name")));
                    assert_non_null(strstr(path, want));
                    n++;
                }
            }
            for (const char *c = path; (c = strchr(c, '{')) != NULL; c++) {
                n_braces++;
            }
            assert_int_equal(n, n_braces);
        }
    }
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(document_and_routes_agree),
        cmocka_unit_test(path_parameters_are_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
