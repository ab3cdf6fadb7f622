/* SPDX-License-Identifier: Apache-2.0 */
#include "server/http/route.h"

#include "base/mem.h"

struct route_node {
    struct slice literal;     /* borrowed from the pattern */
    struct route_node **kids; /* sorted by kid_cmp */
    size_t n_kids;
    struct route_node *param; /* {name} */
    const struct http_route **rows;
    size_t n_rows;
    unsigned methods;
};

struct route_node *route_tree_new(void)
{
    return mem_zalloc(sizeof(struct route_node));
}

void route_tree_free(struct route_node *n)
{
    if (n == NULL) {
        return;
    }
    for (size_t i = 0; i < n->n_kids; i++) {
        route_tree_free(n->kids[i]);
    }
    route_tree_free(n->param);
    mem_free(n->kids);
    mem_free(n->rows);
    mem_free(n);
}

/* Length first: most segments differ there. */
static int kid_cmp(struct slice a, struct slice b)
{
    if (a.len != b.len) {
        return a.len < b.len ? -1 : 1;
    }
    return memcmp(a.p, b.p, a.len);
}

/* Where `seg` is or belongs among the kids; 1 when it is there. */
static int kid_find(const struct route_node *n, struct slice seg, size_t *out_at)
{
    size_t lo = 0;
    size_t hi = n->n_kids;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = kid_cmp(n->kids[mid]->literal, seg);
        if (c == 0) {
            *out_at = mid;
            return 1;
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    *out_at = lo;
    return 0;
}

static struct route_node *kid_get(struct route_node *n, struct slice seg)
{
    size_t at;
    if (kid_find(n, seg, &at)) {
        return n->kids[at];
    }
    struct route_node *kid = route_tree_new();
    kid->literal = seg;
    n->kids = mem_realloc(n->kids, (n->n_kids + 1) * sizeof(*n->kids));
    memmove(n->kids + at + 1, n->kids + at, (n->n_kids - at) * sizeof(*n->kids));
    n->kids[at] = kid;
    n->n_kids++;
    return kid;
}

static int is_param(struct slice seg)
{
    return seg.len > 2 && seg.p[0] == '{' && seg.p[seg.len - 1] == '}';
}

/* The next segment of a pattern at *at (behind its slash); 0 at the end. */
static int next_segment(const char *pattern, size_t *at, struct slice *out)
{
    if (pattern[*at] == '\0') {
        return 0;
    }
    const char *from = pattern + *at + 1;
    const char *slash = strchr(from, '/');
    size_t len = slash != NULL ? (size_t)(slash - from) : strlen(from);
    *out = slice_of(from, len);
    *at += len + 1;
    return 1;
}

static int check_row(const struct http_route *row, struct err *e)
{
    unsigned m = row->methods;
    if (m == 0 || (m & (m - 1)) != 0) {
        return err_set(e, MU_E_BAD_REQUEST, "route %s: exactly one method per row", row->pattern);
    }
    if (row->permission == 0 || row->handler == NULL) {
        return err_set(e, MU_E_BAD_REQUEST, "route %s has no permission or no handler",
                       row->pattern);
    }
    return row->pattern[0] == '/'
               ? 0
               : err_set(e, MU_E_BAD_REQUEST, "route %s does not start with \"/\"", row->pattern);
}

static int add_row(struct route_node *n, const struct http_route *row, struct err *e)
{
    if ((n->methods & row->methods) != 0) {
        return err_set(e, MU_E_EXISTS, "route %s is there already for this method", row->pattern);
    }
    n->rows = mem_realloc(n->rows, (n->n_rows + 1) * sizeof(struct http_route *));
    n->rows[n->n_rows++] = row;
    n->methods |= row->methods;
    return 0;
}

int route_tree_add(struct route_node *root, const struct http_route *row, struct err *e)
{
    int code = check_row(row, e);
    if (code != 0) {
        return code;
    }
    struct route_node *n = root;
    unsigned n_segments = 0;
    unsigned n_params = 0;
    size_t at = 0;
    struct slice seg;
    while (strcmp(row->pattern, "/") != 0 && next_segment(row->pattern, &at, &seg)) {
        if (seg.len == 0 || ++n_segments > PATH_SEGMENTS_MAX) {
            return err_set(e, MU_E_BAD_REQUEST, "route %s: empty segment or too many",
                           row->pattern);
        }
        if (!is_param(seg)) {
            if (memchr(seg.p, '{', seg.len) != NULL || memchr(seg.p, '}', seg.len) != NULL) {
                return err_set(e, MU_E_BAD_REQUEST, "route %s: a parameter must be a whole segment",
                               row->pattern);
            }
            n = kid_get(n, seg);
            continue;
        }
        if (++n_params > ROUTE_PARAMS_MAX) {
            return err_set(e, MU_E_BAD_REQUEST, "route %s: more than %d parameters", row->pattern,
                           ROUTE_PARAMS_MAX);
        }
        if (n->param == NULL) {
            n->param = route_tree_new();
        }
        n = n->param;
    }
    return add_row(n, row, e);
}

static const struct http_route *row_for(const struct route_node *n, unsigned method)
{
    for (size_t i = 0; i < n->n_rows; i++) {
        if (n->rows[i]->methods == method) {
            return n->rows[i];
        }
    }
    return method == HTTP_M_HEAD ? row_for(n, HTTP_M_GET) : NULL;
}

/* Depth-first, literals before parameters; stops at the first row for the method. Depth is bounded
 * by the segments of a path. */
static void find(const struct route_node *n, const struct path *path, unsigned seg, unsigned param,
                 unsigned method, struct route_match *out)
{
    if (seg == path->n) {
        out->methods |= n->methods;
        out->route = row_for(n, method);
        return;
    }
    size_t at;
    if (kid_find(n, path->seg[seg], &at)) {
        find(n->kids[at], path, seg + 1, param, method, out);
    }
    if (out->route == NULL && n->param != NULL) {
        out->params[param] = path->seg[seg];
        find(n->param, path, seg + 1, param + 1, method, out);
    }
}

void route_tree_find(const struct route_node *root, const struct path *path, unsigned method,
                     struct route_match *out)
{
    out->route = NULL;
    out->methods = 0;
    if (path->n <= PATH_SEGMENTS_MAX) {
        find(root, path, 0, 0, method, out);
    }
    if ((out->methods & HTTP_M_GET) != 0) {
        out->methods |= HTTP_M_HEAD;
    }
}

int route_param_index(const struct http_route *row, const char *name)
{
    size_t at = 0;
    int i = 0;
    struct slice seg;
    while (next_segment(row->pattern, &at, &seg)) {
        if (!is_param(seg)) {
            continue;
        }
        if (seg.len - 2 == strlen(name) && memcmp(seg.p + 1, name, seg.len - 2) == 0) {
            return i;
        }
        i++;
    }
    return -1;
}
