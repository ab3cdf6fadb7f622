/* SPDX-License-Identifier: Apache-2.0 */
#include "server/http/http_impl.h"

#include "base/mem.h"

struct http_server *http_server_new(const struct http_server_options *o)
{
    struct http_server *s = mem_zalloc(sizeof(*s));
    s->o = *o;
    s->routes = route_tree_new();
    return s;
}

int http_server_add(struct http_server *s, const struct http_route *routes, size_t n, struct err *e)
{
    s->rows = mem_realloc(s->rows, (s->n_rows + n) * sizeof(struct http_route *));
    for (size_t i = 0; i < n; i++) {
        int code = route_tree_add(s->routes, &routes[i], e);
        if (code != 0) {
            return code;
        }
        s->rows[s->n_rows++] = &routes[i];
    }
    return 0;
}

int http_server_mount(struct http_server *s, const struct http_mount *m, struct err *e)
{
    MU_INVARIANT(s->n_mounts < HTTP_MOUNTS_MAX && m->refuse != NULL && m->row.handler != NULL);
    for (size_t i = 0; i < s->n_mounts; i++) {
        if (strcmp(s->mounts[i]->row.pattern, m->row.pattern) == 0) {
            return err_set(e, MU_E_EXISTS, "%s is mounted already", m->row.pattern);
        }
    }
    s->mounts[s->n_mounts++] = m;
    return 0;
}

void http_server_free(struct http_server *s)
{
    if (s != NULL) {
        route_tree_free(s->routes);
        mem_free(s->rows);
        mem_free(s);
    }
}

size_t http_server_routes(const struct http_server *s, const struct http_route **out, size_t max)
{
    for (size_t i = 0; i < s->n_rows && i < max; i++) {
        out[i] = s->rows[i];
    }
    return s->n_rows;
}

struct http_local *http_local_new(struct http_server *s, struct worker *w, unsigned number,
                                  const struct net_limits *limits)
{
    struct http_local *l = mem_zalloc(sizeof(*l));
    l->server = s;
    l->worker = w;
    l->number = number;
    l->limits = limits;
    l->date_s = -1;
    buf_init(&l->scratch);
    buf_init(&l->head);
    buf_init(&l->problem);
    buf_init(&l->zipped);
    return l;
}

void http_local_free(struct http_local *l)
{
    if (l != NULL) {
        buf_fini(&l->scratch);
        buf_fini(&l->head);
        buf_fini(&l->problem);
        buf_fini(&l->zipped);
        gzip_free(l->gzip);
        mem_free(l);
    }
}

size_t http_local_owed(const struct http_local *l)
{
    return l->n_owed;
}

int http_local_is_ready(const struct http_local *l)
{
    return l->ready != NULL;
}
