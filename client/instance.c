/* SPDX-License-Identifier: Apache-2.0 */
#include "client/instance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "client/json.h"
#include "client/mem.h"
#include "client/status.h"

enum {
    NAME_MAX_BYTES = 512,
    MEMBERS_MAX = 1024, /* tags, or metadata, of one instance */
    TEXT_MAX = 1024 * 1024,
    WEIGHT_MAX = 10000,
    TTL_MIN_MS = 1000,
    TTL_MAX_MS = 24 * 3600 * 1000,
};

static const char group_default[] = "DEFAULT_GROUP";
static const char cluster_default[] = "DEFAULT";

void muster_instance_init(struct muster_instance *i)
{
    *i = (struct muster_instance){.weight = 1, .enabled = true, .ttl_ms = 15000};
}

/* --- reading one --- */

/* Where strings and arrays of an instance go; with p NULL only the room is counted. */
struct room {
    char *p;
    size_t used;
};

static const char *put_text(struct room *r, const char *s)
{
    size_t len = strlen(s) + 1;
    char *at = r->p != NULL ? r->p + r->used : NULL;
    if (at != NULL) {
        memcpy(at, s, len);
    }
    r->used += len;
    return at;
}

static void *put_array(struct room *r, size_t n, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    r->used = (r->used + align - 1) / align * align;
    void *at = r->p != NULL ? r->p + r->used : NULL;
    r->used += n * size;
    return at;
}

static const char *text_of(const struct cjson *o, const char *name, const char *dflt)
{
    const char *s = cjson_text(cjson_get(o, name));
    return s != NULL ? s : dflt;
}

static bool put_tags(struct room *r, const struct cjson *doc, struct muster_instance *i)
{
    const struct cjson *tags = cjson_get(doc, "tags");
    size_t n = cjson_is_array(tags) ? cjson_count(tags) : 0, k = 0;
    const char **v = put_array(r, n, sizeof(*v));
    for (tags = n > 0 ? cjson_first(tags) : NULL; tags != NULL; tags = cjson_next(tags)) {
        const char *s = cjson_text(tags);
        if (s == NULL || n > MEMBERS_MAX) {
            return false;
        }
        s = put_text(r, s);
        if (v != NULL) {
            v[k++] = s;
        }
    }
    i->tags = v;
    i->n_tags = n;
    return true;
}

static bool put_metadata(struct room *r, const struct cjson *doc, struct muster_instance *i)
{
    const struct cjson *metadata = cjson_get(doc, "metadata");
    size_t n = cjson_is_array(metadata) ? 0 : cjson_count(metadata), k = 0;
    struct muster_pair *v = put_array(r, n, sizeof(*v));
    if (n > MEMBERS_MAX) {
        return false;
    }
    for (metadata = n > 0 ? cjson_first(metadata) : NULL; metadata != NULL;
         metadata = cjson_next(metadata)) {
        const char *s = cjson_text(metadata);
        if (s == NULL) {
            return false;
        }
        struct muster_pair p = {.name = put_text(r, cjson_name(metadata))};
        p.value = put_text(r, s);
        if (v != NULL) {
            v[k++] = p;
        }
    }
    i->metadata = v;
    i->n_metadata = n;
    return true;
}

static uint32_t weight_of(const struct cjson *doc)
{
    double v = 1;
    (void)cjson_number(cjson_get(doc, "weight"), &v);
    if (!(v > 0)) {
        return 0;
    }
    return v < 1 ? 1 : v > WEIGHT_MAX ? WEIGHT_MAX : (uint32_t)lround(v);
}

static bool fill(struct room *r, const struct cjson *doc, struct muster_instance *i)
{
    const char *id = text_of(doc, "id", NULL), *address = text_of(doc, "address", NULL);
    if (id == NULL || address == NULL) {
        return false;
    }
    int64_t port = cjson_int(cjson_get(doc, "port"));
    int64_t revision = cjson_int(cjson_get(doc, "revision"));
    *i = (struct muster_instance){.port = port >= 0 && port <= 65535 ? (uint16_t)port : 0,
                                  .weight = weight_of(doc),
                                  .enabled = !cjson_is_false(cjson_get(doc, "enabled")),
                                  .healthy = cjson_is_true(cjson_get(doc, "healthy")),
                                  .revision = revision > 0 ? (uint64_t)revision : 0};
    const char *ttl = text_of(doc, "ttl", "");
    (void)text_duration_ms(slice_str(ttl), TTL_MAX_MS, &i->ttl_ms);
    /* Arrays first: they want to be aligned. */
    if (!put_tags(r, doc, i) || !put_metadata(r, doc, i)) {
        return false;
    }
    i->service = put_text(r, text_of(doc, "service", ""));
    i->group = put_text(r, text_of(doc, "group", group_default));
    i->cluster = put_text(r, text_of(doc, "cluster", cluster_default));
    i->id = put_text(r, id);
    i->address = put_text(r, address);
    return r->used <= TEXT_MAX;
}

muster_status inst_parse(const struct cjson *doc, struct inst **out)
{
    struct room r = {0};
    struct muster_instance count;
    if (!fill(&r, doc, &count)) {
        return MUSTER_INVALID;
    }
    struct inst *n = cmem_zalloc(sizeof(*n) + r.used + _Alignof(max_align_t));
    if (n == NULL) {
        return MUSTER_NO_MEMORY;
    }
    size_t off = (size_t)((uintptr_t)n->text % _Alignof(max_align_t));
    r = (struct room){.p = n->text + (off != 0 ? _Alignof(max_align_t) - off : 0)};
    (void)fill(&r, doc, &n->i);
    atomic_init(&n->refs, 1);
    n->hash = pick_hash(n->i.id, pick_hash(n->i.cluster, 0));
    *out = n;
    return MUSTER_OK;
}

struct inst *inst_ref(struct inst *i)
{
    atomic_fetch_add(&i->refs, 1);
    return i;
}

void inst_unref(struct inst *i)
{
    if (i != NULL && atomic_fetch_sub(&i->refs, 1) == 1) {
        cmem_free(i);
    }
}

/* --- lists --- */

static struct inst_list *list_new(size_t n)
{
    struct inst_list *l = cmem_zalloc(sizeof(*l) + n * sizeof(struct inst *));
    if (l != NULL) {
        atomic_init(&l->refs, 1);
    }
    return l;
}

struct inst_list *inst_list_ref(struct inst_list *l)
{
    atomic_fetch_add(&l->refs, 1);
    return l;
}

void inst_list_unref(struct inst_list *l)
{
    if (l != NULL && atomic_fetch_sub(&l->refs, 1) == 1) {
        for (size_t k = 0; k < l->n; k++) {
            inst_unref(l->v[k]);
        }
        cmem_free(l);
    }
}

static int compare_names(const char *cluster, const char *id, const struct inst *b)
{
    int c = strcmp(cluster, b->i.cluster);
    return c != 0 ? c : strcmp(id, b->i.id);
}

static int compare(const void *a, const void *b)
{
    const struct inst *const *x = a;
    const struct inst *const *y = b;
    return compare_names((*x)->i.cluster, (*x)->i.id, *y);
}

muster_status inst_list_parse(const char *json, size_t len, struct inst_list **out)
{
    struct cjson_doc *doc = NULL;
    muster_status rc = cjson_parse(json, len, &doc);
    const struct cjson *all = cjson_get(cjson_root(doc), "instances");
    size_t n = cjson_count(all);
    if (rc == MUSTER_OK && (!cjson_is_array(all) || n > INSTANCES_MAX)) {
        rc = MUSTER_INVALID;
    }
    struct inst_list *l = rc == MUSTER_OK ? list_new(n) : NULL;
    if (rc == MUSTER_OK && l == NULL) {
        rc = MUSTER_NO_MEMORY;
    }
    for (const struct cjson *o = cjson_first(all); rc == MUSTER_OK && o != NULL;
         o = cjson_next(o)) {
        rc = inst_parse(o, &l->v[l->n]);
        l->n += rc == MUSTER_OK;
    }
    cjson_free(doc);
    if (rc != MUSTER_OK) {
        inst_list_unref(l);
        return rc;
    }
    qsort(l->v, l->n, sizeof(l->v[0]), compare);
    *out = l;
    return MUSTER_OK;
}

/* The first that is not before that name; *is_same when it is that one. */
static size_t place_of(const struct inst_list *l, const char *cluster, const char *id,
                       bool *is_same)
{
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare_names(cluster, id, l->v[mid]) > 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *is_same = low < l->n && compare_names(cluster, id, l->v[low]) == 0;
    return low;
}

/* A copy with `i` (NULL: nothing) put at `at`, instead of `skip` items there. */
static struct inst_list *list_splice(const struct inst_list *l, size_t at, size_t skip,
                                     struct inst *i)
{
    struct inst_list *n = list_new(l->n + 1);
    if (n == NULL) {
        return NULL;
    }
    n->revision = l->revision;
    for (size_t k = 0; k < at; k++) {
        n->v[n->n++] = inst_ref(l->v[k]);
    }
    if (i != NULL) {
        n->v[n->n++] = inst_ref(i);
    }
    for (size_t k = at + skip; k < l->n; k++) {
        n->v[n->n++] = inst_ref(l->v[k]);
    }
    return n;
}

struct inst_list *inst_list_with(const struct inst_list *l, struct inst *i)
{
    bool is_same = false;
    size_t at = place_of(l, i->i.cluster, i->i.id, &is_same);
    return l->n < INSTANCES_MAX ? list_splice(l, at, is_same, i) : NULL;
}

struct inst_list *inst_list_without(const struct inst_list *l, const char *cluster, const char *id)
{
    bool is_same = false;
    size_t at = place_of(l, cluster, id, &is_same);
    return list_splice(l, at, is_same, NULL);
}

/* --- writing --- */

static void put_member(struct cbuf *b, const char *name, const char *value)
{
    cbuf_printf(b, ",\"%s\":", name);
    cbuf_json(b, value);
}

/* What every form has, without the braces. */
static void put_common(struct cbuf *b, const struct muster_instance *i)
{
    cbuf_str(b, "\"address\":");
    cbuf_json(b, i->address);
    cbuf_printf(b, ",\"port\":%u,\"weight\":%u,\"enabled\":%s", i->port, i->weight,
                i->enabled ? "true" : "false");
    cbuf_str(b, ",\"tags\":[");
    for (size_t k = 0; k < i->n_tags; k++) {
        cbuf_str(b, k > 0 ? "," : "");
        cbuf_json(b, i->tags[k]);
    }
    cbuf_str(b, "],\"metadata\":{");
    for (size_t k = 0; k < i->n_metadata; k++) {
        cbuf_str(b, k > 0 ? "," : "");
        cbuf_json(b, i->metadata[k].name);
        cbuf_str(b, ":");
        cbuf_json(b, i->metadata[k].value);
    }
    cbuf_str(b, "}");
}

void instance_json(struct cbuf *b, const struct muster_instance *i)
{
    cbuf_str(b, "{");
    put_common(b, i);
    if (i->cluster != NULL) {
        put_member(b, "cluster", i->cluster);
    }
    cbuf_printf(b, ",\"ttl\":\"%lldms\"}", (long long)i->ttl_ms);
}

void inst_list_json(struct cbuf *b, const struct inst_list *l)
{
    cbuf_str(b, "{\"instances\":[");
    for (size_t k = 0; k < l->n; k++) {
        const struct muster_instance *i = &l->v[k]->i;
        cbuf_str(b, k > 0 ? ",{" : "{");
        put_common(b, i);
        put_member(b, "service", i->service);
        put_member(b, "group", i->group);
        put_member(b, "cluster", i->cluster);
        put_member(b, "id", i->id);
        cbuf_printf(b, ",\"ttl\":\"%lldms\",\"healthy\":%s,\"revision\":%llu}",
                    (long long)i->ttl_ms, i->healthy ? "true" : "false",
                    (unsigned long long)i->revision);
    }
    cbuf_str(b, "]}");
}

/* --- checking what the program gives --- */

static bool is_utf8(const char *s)
{
    return s != NULL && text_is_utf8(slice_str(s));
}

static bool is_name_or_null(const char *s)
{
    return s == NULL || text_is_name(slice_str(s), NAME_MAX_BYTES);
}

muster_status instance_check(const struct muster_instance *i, struct muster_error *e)
{
    if (i->service == NULL || !is_name_or_null(i->service) || !is_name_or_null(i->group) ||
        !is_name_or_null(i->cluster) || !is_name_or_null(i->id)) {
        return status_set(e, MUSTER_INVALID, "a name is 1 to %d bytes of UTF-8", NAME_MAX_BYTES);
    }
    if (!is_utf8(i->address) || i->address[0] == '\0' || strlen(i->address) > 255) {
        return status_set(e, MUSTER_INVALID, "an instance needs an address of at most 255 bytes");
    }
    if (i->weight > WEIGHT_MAX || i->ttl_ms < TTL_MIN_MS || i->ttl_ms > TTL_MAX_MS) {
        return status_set(e, MUSTER_INVALID, "weight is at most %d, ttl_ms 1,000 to 86,400,000",
                          WEIGHT_MAX);
    }
    if (i->n_tags > MEMBERS_MAX || i->n_metadata > MEMBERS_MAX) {
        return status_set(e, MUSTER_INVALID, "more than %d tags or metadata", MEMBERS_MAX);
    }
    for (size_t k = 0; k < i->n_tags; k++) {
        if (!is_utf8(i->tags[k])) {
            return status_set(e, MUSTER_INVALID, "a tag is not UTF-8");
        }
    }
    for (size_t k = 0; k < i->n_metadata; k++) {
        if (!is_utf8(i->metadata[k].name) || !is_utf8(i->metadata[k].value)) {
            return status_set(e, MUSTER_INVALID, "metadata is not UTF-8");
        }
    }
    return MUSTER_OK;
}
