/* SPDX-License-Identifier: Apache-2.0 */
#include "client/pattern.h"

#include <stdlib.h>
#include <string.h>

#include "client/mem.h"

enum {
    PATTERNS_MAX = 1000, /* the server's bound */
    QUERY_MAX = 7000,    /* the server's request line is at most 8192 */
    FIRST_CAP = 16,
};

void pattern_init(struct pattern_set *s)
{
    *s = (struct pattern_set){0};
}

void pattern_fini(struct pattern_set *s)
{
    cmem_free(s->v);
    *s = (struct pattern_set){0};
}

void pattern_add(struct pattern_set *s, bool is_config, const char *group, const char *name)
{
    if (s->n == s->cap) {
        size_t cap = s->cap != 0 ? s->cap * 2 : FIRST_CAP;
        struct pattern *v = cmem_realloc(s->v, cap * sizeof(*v));
        if (v == NULL) {
            s->no_memory = true;
            return;
        }
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = (struct pattern){is_config, group, name};
}

bool pattern_can_group(const char *group)
{
    return strpbrk(group, "/,") == NULL;
}

static int compare(const void *a, const void *b)
{
    const struct pattern *x = a, *y = b;
    int c = (int)x->is_config - (int)y->is_config;
    c = c != 0 ? c : strcmp(x->group, y->group);
    return c != 0 ? c : strcmp(x->name, y->name);
}

/* A comma would end the pattern: the part before it, as a prefix. A final * is one anyway. */
static void put_name(struct cbuf *b, const char *name)
{
    size_t n = strcspn(name, ",");
    char *head = cmem_strndup(name, n);
    if (head == NULL) {
        b->no_memory = true;
        return;
    }
    cbuf_percent(b, head);
    cbuf_str(b, name[n] != '\0' ? "*" : "");
    cmem_free(head);
}

/* One pattern a name, or one a group when `whole`. Returns how many. */
static size_t put_kind(const struct pattern_set *s, struct cbuf *b, bool is_config, bool whole)
{
    const struct pattern *last = NULL;
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct pattern *p = &s->v[i];
        if (p->is_config != is_config || (last != NULL && strcmp(last->group, p->group) == 0 &&
                                          (whole || strcmp(last->name, p->name) == 0))) {
            continue;
        }
        cbuf_str(b, n > 0 ? "," : is_config ? "&configs=" : "&services=");
        cbuf_percent(b, p->group);
        cbuf_str(b, "%2F");
        if (whole) {
            cbuf_str(b, "*");
        } else {
            put_name(b, p->name);
        }
        last = p;
        n++;
    }
    return n;
}

char *pattern_query(struct pattern_set *s)
{
    struct cbuf b;
    if (s->no_memory) {
        return NULL;
    }
    qsort(s->v, s->n, sizeof(*s->v), compare);
    for (int whole = 0; whole < 2; whole++) {
        cbuf_init(&b, QUERY_MAX);
        size_t n = put_kind(s, &b, false, whole != 0);
        n += put_kind(s, &b, true, whole != 0);
        if (b.no_memory) {
            break;
        }
        if (!b.is_over && n <= PATTERNS_MAX) {
            char *all = cbuf_take(&b);
            /* Without the first "&". */
            memmove(all, all + 1, strlen(all));
            return all;
        }
        cbuf_fini(&b);
    }
    cbuf_fini(&b);
    return NULL;
}
