/* SPDX-License-Identifier: Apache-2.0 */
#include "server/query/query.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "server/query/regex.h"
#include "storage/view_catalog.h"
#include "storage/view_kv.h"

enum { STEPS_MAX = 100000, BLOCKS_MAX = 256, UUID_SIZE = 36 };

static struct slice text_of(const json_t *v)
{
    return slice_of(json_string_value(v), json_string_length(v));
}

struct slice query_text(const struct query *q, const char *object, const char *member)
{
    const json_t *from = object != NULL ? json_object_get(q->doc, object) : q->doc;
    return text_of(json_object_get(from, member));
}

void query_free(struct query *q)
{
    json_decref(q->doc);
    q->doc = NULL;
}

/* --- templates --- */

/* What the variables of a template stand for. */
struct scope {
    struct slice full, prefix;
    struct regex *regex; /* NULL: none, or it was not found */
    /* what the regular expression is made of */
    struct regex_budget budget;
    void *blocks[BLOCKS_MAX];
    size_t n_blocks;
};

static void *scope_alloc(void *arg, size_t size)
{
    struct scope *s = arg;
    MU_INVARIANT(s->n_blocks < BLOCKS_MAX);
    return s->blocks[s->n_blocks++] = mem_zalloc(size);
}

static void scope_end(struct scope *s)
{
    while (s->n_blocks > 0) {
        mem_free(s->blocks[--s->n_blocks]);
    }
}

static void scope_regex(struct scope *s, struct slice pattern)
{
    struct regex_memory m = {scope_alloc, s};
    char why[128];
    s->budget.left = STEPS_MAX;
    s->regex = pattern.len != 0 ? regex_new(&m, &s->budget, pattern, why, sizeof(why)) : NULL;
    if (s->regex != NULL && !regex_matches(s->regex, s->full)) {
        s->regex = NULL;
    }
}

/* 1 when there is such a variable; scope NULL: only looked at. */
static int variable(const struct scope *s, struct slice name, struct buf *out)
{
    char text[32];
    unsigned n = 0;
    int end = 0;
    struct slice value = {0};
    (void)snprintf(text, sizeof(text), "%.*s", (int)(name.len < 31 ? name.len : 31),
                   (const char *)name.p);
    if (strcmp(text, "name.full") == 0) {
        value = s != NULL ? s->full : value;
    } else if (strcmp(text, "name.prefix") == 0) {
        value = s != NULL ? s->prefix : value;
    } else if (strcmp(text, "name.suffix") == 0) {
        value =
            s != NULL ? slice_of(s->full.p + s->prefix.len, s->full.len - s->prefix.len) : value;
    } else if (sscanf(text, "match(%2u)%n", &n, &end) == 1 && end > 0 && text[end] == '\0') {
        value = s != NULL && s->regex != NULL ? regex_group(s->regex, s->full, n) : value;
    } else if (strcmp(text, "agent.segment") != 0) {
        return 0;
    }
    if (out != NULL && out->len + value.len <= QUERY_TEXT_MAX) {
        buf_append_slice(out, value);
    }
    return 1;
}

/* 0, or BAD_REQUEST; out NULL: only looked at. "$${" is "${" itself. */
static int expand(const struct scope *s, struct slice text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        int is_escape = text.len - i >= 3 && memcmp(text.p + i, "$${", 3) == 0;
        int is_variable = text.len - i >= 2 && memcmp(text.p + i, "${", 2) == 0;
        if (is_variable) {
            const uint8_t *end = memchr(text.p + i, '}', text.len - i);
            if (end == NULL ||
                !variable(s, slice_of(text.p + i + 2, (size_t)(end - text.p) - i - 2), out)) {
                return MU_E_BAD_REQUEST;
            }
            i = (size_t)(end - text.p);
            continue;
        }
        i += is_escape;
        if (out != NULL && out->len < QUERY_TEXT_MAX) {
            buf_append_byte(out, text.p[i]);
        }
        if (is_escape) {
            i++;
            if (out != NULL) {
                buf_append_byte(out, '{');
            }
        }
    }
    return 0;
}

int query_check_text(struct slice text, struct err *e)
{
    if (text.len > QUERY_TEXT_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "a text has %zu bytes, at most %d are kept", text.len,
                       QUERY_TEXT_MAX);
    }
    return expand(NULL, text, NULL) == 0
               ? 0
               : err_set(e, MU_E_BAD_REQUEST,
                         "Bad format '%.*s': known are ${name.full}, ${name.prefix}, "
                         "${name.suffix}, ${match(N)} and ${agent.segment}",
                         (int)(text.len < 100 ? text.len : 100), (const char *)text.p);
}

int query_check_regex(struct slice pattern, struct err *e)
{
    struct scope s = {0};
    struct regex_memory m = {scope_alloc, &s};
    char why[128] = "";
    int is_good = pattern.len == 0 || regex_new(&m, &s.budget, pattern, why, sizeof(why)) != NULL;
    scope_end(&s);
    return is_good ? 0 : err_set(e, MU_E_BAD_REQUEST, "Bad Regexp: error parsing regexp: %s", why);
}

/* Every string below, in place. */
static void render(const struct scope *s, json_t *v)
{
    const char *key;
    size_t i;
    json_t *item;
    struct buf b;
    if (json_is_string(v)) {
        buf_init(&b);
        if (expand(s, text_of(v), &b) == 0) {
            (void)json_string_setn(v, b.len > 0 ? (const char *)b.p : "", b.len);
        }
        buf_fini(&b);
    }
    json_array_foreach (v, i, item) {
        render(s, item);
    }
    json_object_foreach (v, key, item) {
        render(s, item);
    }
}

static void drop_empty_tags(json_t *tags)
{
    for (size_t i = json_array_size(tags); i-- > 0;) {
        if (json_string_length(json_array_get(tags, i)) == 0) {
            (void)json_array_remove(tags, i);
        }
    }
}

static void render_template(struct query *q, struct slice name, struct slice prefix)
{
    const json_t *t = json_object_get(q->doc, "Template");
    json_t *service = json_object_get(q->doc, "Service");
    struct scope s = {.full = name, .prefix = prefix};
    scope_regex(&s, text_of(json_object_get(t, "Regexp")));
    render(&s, service);
    if (json_is_true(json_object_get(t, "RemoveEmptyTags"))) {
        drop_empty_tags(json_object_get(service, "Tags"));
    }
    scope_end(&s);
}

/* --- finding --- */

int query_get(struct view *v, struct slice id, struct query *out)
{
    struct record_row row;
    struct session_row session;
    *out = (struct query){0};
    int rc = id.len == UUID_SIZE ? view_record(v, QUERIES, id, &row) : MU_E_NOT_FOUND;
    if (rc != 0) {
        return rc;
    }
    out->doc = json_loadb((const char *)row.body.p, row.body.len, 0, NULL);
    out->create_rev = row.meta.create_rev;
    out->mod_rev = row.meta.mod_rev;
    if (out->doc == NULL) {
        return MU_E_CORRUPT;
    }
    struct slice owner = query_text(out, NULL, "Session");
    if (owner.len != 0 && view_session(v, owner, &session) != 0) {
        query_free(out); /* it went with its session */
        return MU_E_NOT_FOUND;
    }
    return 0;
}

static int find_by_name(struct view *v, struct slice name, struct query *out)
{
    struct record_row row;
    struct buf key;
    buf_init(&key);
    buf_append_byte(&key, '=');
    buf_append_slice(&key, name);
    int rc = view_record(v, QUERY_NAMES, buf_slice(&key), &row);
    buf_fini(&key);
    return rc == 0 ? query_get(v, row.body, out) : rc;
}

/* The template with the longest prefix that the name begins with: at most one look for each of its
 * bytes, however many queries there are. One that went with its session is passed over. */
static int find_template(struct view *v, struct slice name, struct query *out, size_t *out_len)
{
    struct record_row row;
    struct buf key;
    int rc = MU_E_NOT_FOUND;
    buf_init(&key);
    buf_append_byte(&key, '~');
    buf_append_slice(&key, name);
    for (; rc == MU_E_NOT_FOUND && key.len > 0; key.len--) {
        *out_len = key.len - 1;
        rc = view_record(v, QUERY_NAMES, buf_slice(&key), &row);
        rc = rc != 0 ? rc : query_get(v, row.body, out);
    }
    buf_fini(&key);
    return rc;
}

int query_find(struct view *v, struct slice id_or_name, struct query *out)
{
    size_t prefix_len = 0;
    if (id_or_name.len == 0 || id_or_name.len > QUERY_NAME_MAX) {
        return MU_E_NOT_FOUND;
    }
    int rc = query_get(v, id_or_name, out);
    rc = rc == MU_E_NOT_FOUND ? find_by_name(v, id_or_name, out) : rc;
    if (rc != MU_E_NOT_FOUND) {
        return rc;
    }
    rc = find_template(v, id_or_name, out, &prefix_len);
    if (rc == 0) {
        render_template(out, id_or_name, slice_of(id_or_name.p, prefix_len));
    }
    return rc;
}

/* --- running --- */

struct run {
    const struct query *q;
    struct view *v;
    const json_t *service;
    view_instance_fn fn;
    void *arg;
};

static int has_tag(const struct instance_row *row, struct slice tag)
{
    struct pair_iter it;
    struct slice t;
    tags_begin(&it, row->tags);
    while (tags_next(&it, &t)) {
        if (t.len == tag.len && strncasecmp((const char *)t.p, (const char *)tag.p, t.len) == 0) {
            return 1;
        }
    }
    return 0;
}

/* "!tag": without it. */
static int has_tags(const struct run *x, const struct instance_row *row)
{
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(x->service, "Tags"), i, item) {
        struct slice tag = text_of(item);
        int is_not = tag.len > 0 && tag.p[0] == '!';
        tag = slice_of(tag.p + is_not, tag.len - (size_t)is_not);
        if (tag.len > 0 && has_tag(row, tag) == is_not) {
            return 0;
        }
    }
    return 1;
}

static int has_pairs(const json_t *wanted, struct slice pairs)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)wanted, name, value) {
        struct pair_iter it;
        struct slice k, v;
        int is_there = 0;
        metadata_begin(&it, pairs);
        while (!is_there && metadata_next(&it, &k, &v)) {
            is_there = slice_eq(k, slice_str(name)) && slice_eq(v, text_of(value));
        }
        if (!is_there) {
            return 0;
        }
    }
    return 1;
}

struct health {
    const json_t *ignored;
    struct slice service_id;
    enum check_status worst;
};

static int on_check(void *arg, const struct check_name *n, const struct check_row *row)
{
    struct health *h = arg;
    size_t i;
    json_t *item;
    if (row->meta.is_deleted ||
        (n->service_id.len != 0 && !slice_eq(n->service_id, h->service_id))) {
        return 0;
    }
    json_array_foreach (h->ignored, i, item) {
        if (slice_eq(text_of(item), n->id)) {
            return 0;
        }
    }
    h->worst = row->status > h->worst ? row->status : h->worst;
    return 0;
}

static int is_well(const struct run *x, const struct instance_row *row)
{
    int only_passing = json_is_true(json_object_get(x->service, "OnlyPassing"));
    struct health h = {.ignored = json_object_get(x->service, "IgnoreCheckIDs"),
                       .service_id = row->service_id};
    if (!row->is_enabled) {
        return 0;
    }
    if (row->node.len == 0 || json_array_size(h.ignored) == 0) { /* the row says it */
        return row->is_healthy && !(only_passing && row->n_warning > 0);
    }
    (void)view_checks(x->v, row->node, on_check, &h);
    return h.worst == CHECK_PASSING || (h.worst == CHECK_WARNING && !only_passing);
}

static int on_instance(void *arg, const struct instance_name *n, const struct instance_row *row)
{
    struct run *x = arg;
    const json_t *node_meta = json_object_get(x->service, "NodeMeta");
    struct node_row node = {0};
    if (!has_tags(x, row) ||
        !has_pairs(json_object_get(x->service, "ServiceMeta"), row->metadata) || !is_well(x, row)) {
        return 0;
    }
    if (json_object_size(node_meta) > 0 &&
        (row->node.len == 0 || view_node(x->v, row->node, &node) != 0 ||
         !has_pairs(node_meta, node.metadata))) {
        return 0;
    }
    return x->fn(x->arg, n, row);
}

int query_run(struct view *v, const struct query *q, view_instance_fn fn, void *arg)
{
    struct run x = {
        .q = q, .v = v, .service = json_object_get(q->doc, "Service"), .fn = fn, .arg = arg};
    struct service_name n = {SLICE_LIT("public"), SLICE_LIT("DEFAULT_GROUP"),
                             query_text(q, "Service", "Service")};
    return n.service.len == 0 || n.service.len > KEY_NAME_MAX
               ? 0
               : view_instances(v, &n, on_instance, &x);
}
