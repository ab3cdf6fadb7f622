/* SPDX-License-Identifier: Apache-2.0 */
/* The route table, compiled to a trie over path segments. A literal segment wins over a {name};
 * lookups take no memory. */
#pragma once

#include "server/http/http.h"
#include "server/http/target.h"

enum { ROUTE_PARAMS_MAX = 8 };

struct route_node;

struct route_match {
    const struct http_route *route; /* NULL: no row for this method */
    unsigned methods; /* all methods known at this path, HEAD with GET; 0 = unknown path */
    struct slice params[ROUTE_PARAMS_MAX]; /* in the order of the pattern; borrowed from the path */
};

struct route_node *route_tree_new(void);
void route_tree_free(struct route_node *root);
/* Refuses (MU_E_EXISTS) a second row for the same path and method, (MU_E_BAD_REQUEST) a malformed
 * row. Borrows the row. */
int route_tree_add(struct route_node *root, const struct http_route *row, struct err *e);
void route_tree_find(const struct route_node *root, const struct path *path, unsigned method,
                     struct route_match *out);
/* Which parameter `name` is in the row's pattern, -1 when it has none of that name. */
int route_param_index(const struct http_route *row, const char *name);
