/* SPDX-License-Identifier: Apache-2.0 */
#include "server/access/rules.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/json_read.h"
#include "base/mem.h"
#include "server/access/hcl.h"

#define NO_PARENT UINT32_MAX

static const struct {
    const char *name;
    int is_named; /* rules of it have names; else it is one right */
} kinds[ACCESS_KINDS] = {
    [ACCESS_ACL] = {"acl", 0},           [ACCESS_AGENT] = {"agent", 1},
    [ACCESS_CONFIG] = {"config", 1},     [ACCESS_EVENT] = {"event", 1},
    [ACCESS_IDENTITY] = {"identity", 1}, [ACCESS_KEY] = {"key", 1},
    [ACCESS_KEYRING] = {"keyring", 0},   [ACCESS_MESH] = {"mesh", 0},
    [ACCESS_NODE] = {"node", 1},         [ACCESS_OPERATOR] = {"operator", 0},
    [ACCESS_PEERING] = {"peering", 0},   [ACCESS_QUERY] = {"query", 1},
    [ACCESS_SERVICE] = {"service", 1},   [ACCESS_SESSION] = {"session", 1},
};

static const char *const rights[] = {[ACCESS_READ] = "read",
                                     [ACCESS_LIST] = "list",
                                     [ACCESS_WRITE] = "write",
                                     [ACCESS_DENY] = "deny"};

const char *access_kind_name(enum access_kind kind)
{
    return kinds[kind].name;
}

const char *access_right_name(enum access_right right)
{
    return rights[right];
}

int access_kind_has_names(enum access_kind kind)
{
    return kinds[kind].is_named;
}

void rules_init(struct rules *s)
{
    memset(s, 0, sizeof(*s));
}

void rules_fini(struct rules *s)
{
    mem_free(s->items);
    buf_fini(&s->names);
}

int rules_add(struct rules *s, enum access_kind kind, int is_prefix, struct slice name,
              enum access_right right)
{
    if (s->n == RULES_MAX) {
        return MU_E_TOO_LARGE;
    }
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? 16 : s->cap * 2;
        s->items = mem_realloc(s->items, s->cap * sizeof(*s->items));
    }
    s->items[s->n++] = (struct rule){.kind = (uint8_t)kind,
                                     .is_prefix = is_prefix != 0,
                                     .right = (uint8_t)right,
                                     .at = (uint32_t)s->names.len,
                                     .len = (uint32_t)name.len,
                                     .parent = NO_PARENT};
    buf_append_slice(&s->names, name);
    return 0;
}

/* --- reading --- */

struct reading {
    struct rules *rules;
    struct err *err;
    enum access_kind kind;
    int is_prefix;
};

static int right_of(const json_t *v, int may_list, enum access_right *out)
{
    const char *text = json_string_value(v);
    for (unsigned i = ACCESS_READ; text != NULL && i <= ACCESS_DENY; i++) {
        if (strcmp(text, rights[i]) == 0 && (i != ACCESS_LIST || may_list)) {
            *out = (enum access_right)i;
            return 0;
        }
    }
    return -1;
}

static int bad_policy(struct reading *g, const json_t *v)
{
    const char *text = json_string_value(v);
    return err_set(g->err, MU_E_BAD_REQUEST, "Invalid %s policy: \"%.60s\" is none of %s",
                   kinds[g->kind].name, text != NULL ? text : "",
                   g->kind == ACCESS_KEY ? "read, list, write, deny" : "read, write, deny");
}

static int add_rule(struct reading *g, struct slice name, enum access_right right)
{
    if (name.len > KEY_USER_MAX) {
        return err_set(g->err, MU_E_BAD_REQUEST, "Failed to parse ACL rules: a name of %zu bytes",
                       name.len);
    }
    int rc = rules_add(g->rules, g->kind, g->is_prefix, name, right);
    return rc != 0 ? err_set(g->err, rc, "Failed to parse ACL rules: more than %d rules", RULES_MAX)
                   : 0;
}

/* { policy = "read", intentions = "write" } */
static int read_body(struct reading *g, struct slice name, json_t *body)
{
    enum access_right right;
    const char *member;
    json_t *v;
    if (!json_is_object(body)) {
        return err_set(g->err, MU_E_BAD_REQUEST,
                       "Failed to parse ACL rules: %s \"%.*s\" is no block", kinds[g->kind].name,
                       (int)(name.len < 60 ? name.len : 60), (const char *)name.p);
    }
    json_object_foreach (body, member, v) {
        int is_intentions = g->kind == ACCESS_SERVICE && strcmp(member, "intentions") == 0;
        if (is_intentions && right_of(v, 0, &right) != 0) {
            return err_set(g->err, MU_E_BAD_REQUEST, "Invalid service intentions policy");
        }
        if (!is_intentions && strcmp(member, "policy") != 0 && strcmp(member, "sentinel") != 0) {
            return err_set(g->err, MU_E_BAD_REQUEST,
                           "Failed to parse ACL rules: \"%.60s\" is nothing that a rule has",
                           member);
        }
    }
    v = json_object_get(body, "policy");
    if (right_of(v, g->kind == ACCESS_KEY, &right) != 0) {
        return bad_policy(g, v);
    }
    return add_rule(g, name, right);
}

/* An array stands for each of its items. */
static json_t *item_of(json_t *v, size_t i)
{
    if (!json_is_array(v)) {
        return i == 0 ? v : NULL;
    }
    return json_array_get(v, i);
}

static int read_named(struct reading *g, json_t *v)
{
    json_t *item, *body;
    const char *name;
    for (size_t i = 0; (item = item_of(v, i)) != NULL; i++) {
        if (!json_is_object(item)) {
            return err_set(g->err, MU_E_BAD_REQUEST,
                           "Failed to parse ACL rules: %s wants a name and a block",
                           kinds[g->kind].name);
        }
        for (void *it = json_object_iter(item); it != NULL; it = json_object_iter_next(item, it)) {
            name = json_object_iter_key(it);
            struct slice s = slice_of(name, json_object_iter_key_len(it));
            for (size_t j = 0; (body = item_of(json_object_iter_value(it), j)) != NULL; j++) {
                if (read_body(g, s, body) != 0) {
                    return -1;
                }
            }
        }
    }
    return 0;
}

static int read_right(struct reading *g, json_t *v)
{
    enum access_right right;
    json_t *item;
    size_t i = 0;
    /* Said twice, the stricter counts, as for names. */
    for (; (item = item_of(v, i)) != NULL; i++) {
        if (right_of(item, 0, &right) != 0) {
            return bad_policy(g, item);
        }
        if (add_rule(g, slice_of(NULL, 0), right) != 0) {
            return -1;
        }
    }
    return i > 0 ? 0 : bad_policy(g, NULL);
}

static int read_kind(struct reading *g, const char *name, json_t *v)
{
    static const char suffix[] = "_prefix";
    for (unsigned i = 0; i < ACCESS_KINDS; i++) {
        size_t n = strlen(kinds[i].name);
        if (strncmp(name, kinds[i].name, n) != 0) {
            continue;
        }
        g->kind = (enum access_kind)i;
        g->is_prefix = strcmp(name + n, suffix) == 0;
        if (kinds[i].is_named && (g->is_prefix || name[n] == '\0')) {
            return read_named(g, v);
        }
        if (!kinds[i].is_named && name[n] == '\0') {
            g->is_prefix = 0;
            return read_right(g, v);
        }
    }
    return err_set(g->err, MU_E_BAD_REQUEST,
                   "Failed to parse ACL rules: \"%.60s\" is no kind of rule", name);
}

int rules_read(struct rules *s, struct slice text, struct err *e)
{
    struct reading g = {.rules = s, .err = e};
    json_t *doc = NULL, *v;
    const char *name;
    int rc = 0;
    if (text.len > RULES_TEXT_MAX) {
        return err_set(e, MU_E_TOO_LARGE, "Failed to parse ACL rules: at most %d bytes",
                       RULES_TEXT_MAX);
    }
    if (hcl_parse(text, &doc, e) != 0) {
        return err_wrap(e, "Failed to parse ACL rules");
    }
    json_object_foreach (doc, name, v) {
        rc = rc != 0 ? rc : read_kind(&g, name, v);
    }
    jr_free(doc);
    return rc != 0 ? e->code : 0;
}

/* --- order --- */

static struct slice name_of(const struct rules *s, const struct rule *r)
{
    return r->len > 0 ? slice_of(s->names.p + r->at, r->len) : slice_of(NULL, 0);
}

static int by_name(const void *a, const void *b, void *arg)
{
    const struct rule *x = a, *y = b;
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    if (x->is_prefix != y->is_prefix) {
        return x->is_prefix < y->is_prefix ? -1 : 1;
    }
    return slice_cmp(name_of(arg, x), name_of(arg, y));
}

static void join_doubles(struct rules *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct rule *last = n > 0 ? &s->items[n - 1] : NULL;
        if (last == NULL || by_name(last, &s->items[i], s) != 0) {
            s->items[n++] = s->items[i];
        } else if (s->items[i].right > last->right) {
            last->right = s->items[i].right;
        }
    }
    s->n = n;
}

/* A prefix sorts right before what begins with it: the one before, or one of its parents. */
static void link_parents(struct rules *s, size_t begin, size_t end)
{
    for (size_t i = begin + 1; i < end; i++) {
        size_t p = i - 1;
        while (p != NO_PARENT &&
               !slice_has_prefix(name_of(s, &s->items[i]), name_of(s, &s->items[p]))) {
            p = s->items[p].parent;
        }
        s->items[i].parent = (uint32_t)p;
    }
}

void rules_order(struct rules *s)
{
    if (s->n > 1) {
        qsort_r(s->items, s->n, sizeof(*s->items), by_name, s);
    }
    join_doubles(s);
    size_t i = 0;
    for (unsigned kind = 0; kind < ACCESS_KINDS; kind++) {
        for (unsigned is_prefix = 0; is_prefix < 2; is_prefix++) {
            s->begins[kind][is_prefix] = i;
            while (i < s->n && s->items[i].kind == kind && s->items[i].is_prefix == is_prefix) {
                i++;
            }
            s->ends[kind][is_prefix] = i;
        }
        link_parents(s, s->begins[kind][1], s->ends[kind][1]);
    }
}

/* --- finding --- */

/* The first of them that is larger than the name. */
static size_t upper(const struct rules *s, enum access_kind kind, int is_prefix, struct slice name)
{
    size_t lo = s->begins[kind][is_prefix], hi = s->ends[kind][is_prefix];
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (slice_cmp(name_of(s, &s->items[mid]), name) > 0) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

enum access_right rules_find(const struct rules *s, enum access_kind kind, struct slice name)
{
    size_t i = upper(s, kind, 0, name);
    if (i > s->begins[kind][0] && slice_eq(name_of(s, &s->items[i - 1]), name)) {
        return (enum access_right)s->items[i - 1].right;
    }
    return rules_cover(s, kind, name);
}

enum access_right rules_cover(const struct rules *s, enum access_kind kind, struct slice name)
{
    size_t i = upper(s, kind, 1, name);
    size_t p = i > s->begins[kind][1] ? i - 1 : NO_PARENT;
    while (p != NO_PARENT && !slice_has_prefix(name, name_of(s, &s->items[p]))) {
        p = s->items[p].parent;
    }
    return p != NO_PARENT ? (enum access_right)s->items[p].right : 0;
}

static int is_enough(const struct rule *r, enum access_right right)
{
    return r->right != ACCESS_DENY && r->right >= right;
}

int rules_allow_below(const struct rules *s, enum access_kind kind, struct slice prefix,
                      enum access_right right)
{
    for (int is_prefix = 0; is_prefix < 2; is_prefix++) {
        size_t i = upper(s, kind, is_prefix, prefix);
        if (i > s->begins[kind][is_prefix] && slice_eq(name_of(s, &s->items[i - 1]), prefix)) {
            i--;
        }
        for (; i < s->ends[kind][is_prefix] && slice_has_prefix(name_of(s, &s->items[i]), prefix);
             i++) {
            if (!is_enough(&s->items[i], right)) {
                return 0;
            }
        }
    }
    return 1;
}
