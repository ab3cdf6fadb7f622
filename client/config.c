/* SPDX-License-Identifier: Apache-2.0 */
#include "client/config.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "client/client_impl.h"
#include "client/json.h"
#include "client/mem.h"
#include "client/snapfile.h"

enum { GROUP_MAX = 512, KEY_MAX = 4096, PATH_ROOM = 16384, READ_CONNECTS = 3 };

/* --- the value --- */

void muster_config_free(struct muster_config *c)
{
    if (c != NULL) {
        cmem_free(c->group);
        cmem_free(c->key);
        cmem_free(c->content);
        cmem_free(c->content_type);
        cmem_free(c);
    }
}

struct muster_config *config_new(const char *group, const char *key, const char *content_type,
                                 char *content, size_t size)
{
    struct muster_config *c = cmem_zalloc(sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    c->group = cmem_strdup(group);
    c->key = cmem_strdup(key);
    c->content_type = cmem_strdup(content_type != NULL ? content_type : "text/plain");
    if (c->group == NULL || c->key == NULL || c->content_type == NULL) {
        muster_config_free(c);
        return NULL;
    }
    c->content = content;
    c->size = size;
    return c;
}

struct muster_config *config_from_call(const char *group, const char *key, struct http_in *in)
{
    uint64_t revision = 0;
    size_t size = in->body.len;
    if (in->etag == NULL || text_u64(slice_str(in->etag), UINT64_MAX - 1, &revision) != 0) {
        revision = in->revision;
    }
    char *content = cbuf_take(&in->body);
    struct muster_config *c =
        content != NULL ? config_new(group, key, in->content_type, content, size) : NULL;
    if (c == NULL) {
        cmem_free(content);
        return NULL;
    }
    c->revision = revision;
    c->version = in->version;
    return c;
}

void config_path(struct cbuf *b, const char *group, const char *key)
{
    cbuf_str(b, "/configs/");
    cbuf_percent(b, group);
    cbuf_str(b, "/");
    cbuf_percent(b, key);
}

muster_status config_check_names(const char *group, const char *key, struct muster_error *e)
{
    if (group == NULL || !text_is_name(slice_str(group), GROUP_MAX)) {
        return status_set(e, MUSTER_INVALID,
                          "a group is 1 to %d bytes of UTF-8 without control characters",
                          GROUP_MAX);
    }
    if (key == NULL || !text_is_name(slice_str(key), KEY_MAX)) {
        return status_set(e, MUSTER_INVALID,
                          "a key is 1 to %d bytes of UTF-8 without control characters", KEY_MAX);
    }
    return MUSTER_OK;
}

/* --- disk: "revision version length-of-type length\n" type content --- */

static struct snapname name_of(const struct muster *m, const char *group, const char *key)
{
    return (struct snapname){"config", m->namespace_, group, key};
}

void config_save(const struct muster *m, const struct muster_config *c)
{
    struct cbuf b;
    if (m->snapshot_dir == NULL || c->content == NULL) {
        return;
    }
    struct snapname n = name_of(m, c->group, c->key);
    cbuf_init(&b, 2 * (size_t)HTTP_BODY_MAX);
    cbuf_printf(&b, "%llu %llu %zu %zu\n", (unsigned long long)c->revision,
                (unsigned long long)c->version, strlen(c->content_type), c->size);
    cbuf_str(&b, c->content_type);
    cbuf_append(&b, c->content, c->size);
    muster_status rc =
        cbuf_failed(&b) ? MUSTER_NO_MEMORY : snapfile_save(m->snapshot_dir, &n, b.p, b.len);
    if (rc != MUSTER_OK) {
        client_say(m, "warn", "the snapshot of config %.100s/%.100s could not be written", c->group,
                   c->key);
    }
    cbuf_fini(&b);
}

void config_forget(const struct muster *m, const char *group, const char *key)
{
    if (m->snapshot_dir != NULL) {
        struct snapname n = name_of(m, group, key);
        snapfile_remove(m->snapshot_dir, &n);
    }
}

static struct muster_config *parse_file(const char *group, const char *key, const char *p,
                                        size_t len)
{
    unsigned long long revision = 0, version = 0;
    size_t type_len = 0, size = 0;
    const char *nl = memchr(p, '\n', len);
    if (nl == NULL || sscanf(p, "%llu %llu %zu %zu", &revision, &version, &type_len, &size) != 4) {
        return NULL;
    }
    size_t left = len - (size_t)(nl + 1 - p);
    if (type_len > left || size != left - type_len) {
        return NULL;
    }
    char *type = cmem_strndup(nl + 1, type_len);
    char *content = cmem_strndup(nl + 1 + type_len, size);
    struct muster_config *c = NULL;
    if (type != NULL && content != NULL) {
        c = config_new(group, key, type, content, size);
    }
    cmem_free(type);
    if (c == NULL) {
        cmem_free(content);
        return NULL;
    }
    c->revision = revision;
    c->version = version;
    c->from_disk = true;
    return c;
}

struct muster_config *config_load(const struct muster *m, const char *group, const char *key)
{
    char *data = NULL;
    size_t len = 0;
    struct snapname n = name_of(m, group, key);
    if (m->snapshot_dir == NULL || snapfile_load(m->snapshot_dir, &n, &data, &len) != MUSTER_OK) {
        return NULL;
    }
    struct muster_config *c = parse_file(group, key, data, len);
    cmem_free(data);
    return c;
}

/* --- get --- */

/* Write only what the disk does not have. */
static void keep_on_disk(const struct muster *m, const struct muster_config *c)
{
    struct muster_config *old = m->snapshot_dir != NULL ? config_load(m, c->group, c->key) : NULL;
    if (old == NULL || old->revision < c->revision) {
        config_save(m, c);
    }
    muster_config_free(old);
}

static muster_status perform(struct muster *m, const struct muster_request *q, struct call *c,
                             struct muster_error *e)
{
    if (q->path == NULL) {
        return status_no_memory(e);
    }
    muster_status rc = call_init(c, m, q, e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    rc = call_perform(c, e);
    if (rc != MUSTER_OK) {
        call_fini(c);
    }
    return rc;
}

static char *path_of(const char *group, const char *key)
{
    struct cbuf b;
    cbuf_init(&b, PATH_ROOM);
    config_path(&b, group, key);
    return cbuf_take(&b);
}

muster_status muster_config_get(struct muster *m, const char *group, const char *key,
                                struct muster_config **out, struct muster_error *e)
{
    struct call c;
    struct muster_config *got = NULL;
    muster_status rc = config_check_names(group, key, e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    char *path = path_of(group, key);
    struct muster_config *known = config_load(m, group, key);
    /* With something to fall back on there is no point in waiting for long. */
    int64_t soon = READ_CONNECTS * m->connect_ms;
    struct muster_request q = {.method = "GET",
                               .path = path,
                               .timeout_ms = known != NULL && soon < m->request_ms ? soon : 0};
    rc = perform(m, &q, &c, e);
    if (rc == MUSTER_OK) {
        got = config_from_call(group, key, &c.in);
        rc = got != NULL ? MUSTER_OK : status_no_memory(e);
        call_fini(&c);
    } else if (rc == MUSTER_UNREACHABLE && known != NULL) {
        got = known;
        known = NULL;
        rc = MUSTER_OK;
    } else if (rc == MUSTER_NOT_FOUND) {
        config_forget(m, group, key);
    }
    if (rc == MUSTER_OK && !got->from_disk) {
        keep_on_disk(m, got);
    }
    muster_config_free(known);
    cmem_free(path);
    if (rc == MUSTER_OK) {
        *out = got;
    }
    return rc;
}

/* --- publish, delete --- */

static char *publish_path(const char *group, const char *key, const struct muster_publish *how)
{
    struct cbuf b;
    cbuf_init(&b, PATH_ROOM);
    config_path(&b, group, key);
    if (how->comment != NULL) {
        cbuf_str(&b, "?comment=");
        cbuf_percent(&b, how->comment);
    }
    if (how->author != NULL) {
        cbuf_str(&b, how->comment != NULL ? "&author=" : "?author=");
        cbuf_percent(&b, how->author);
    }
    return cbuf_take(&b);
}

static muster_status revision_of(const struct call *c, uint64_t *out, struct muster_error *e)
{
    struct cjson_doc *doc = NULL;
    (void)cjson_parse(c->in.body.p, c->in.body.len, &doc);
    int64_t revision = cjson_int(cjson_get(cjson_root(doc), "revision"));
    cjson_free(doc);
    if (revision <= 0) {
        /* The write is done, as its status says; the header knows its revision as well. */
        revision = (int64_t)c->in.revision;
    }
    if (revision <= 0) {
        return status_set(e, MUSTER_REFUSED, "published, but the answer names no revision");
    }
    *out = (uint64_t)revision;
    return MUSTER_OK;
}

muster_status muster_config_publish(struct muster *m, const char *group, const char *key,
                                    const void *content, size_t size,
                                    const struct muster_publish *how, uint64_t *out_revision,
                                    struct muster_error *e)
{
    static const struct muster_publish plain = {0};
    struct call c;
    char rev[24];
    muster_status rc = config_check_names(group, key, e);
    how = how != NULL ? how : &plain;
    if (rc == MUSTER_OK && how->if_revision != 0 && how->create_only) {
        rc = status_set(e, MUSTER_INVALID, "if_revision and create_only exclude each other");
    }
    if (rc == MUSTER_OK && content == NULL && size != 0) {
        rc = status_set(e, MUSTER_INVALID, "a size without content");
    }
    if (rc != MUSTER_OK) {
        return rc;
    }
    char *path = publish_path(group, key, how);
    (void)snprintf(rev, sizeof(rev), "%llu", (unsigned long long)how->if_revision);
    struct muster_request q = {.method = "PUT",
                               .path = path,
                               .body = content != NULL ? content : "",
                               .body_len = size,
                               .content_type =
                                   how->content_type != NULL ? how->content_type : "text/plain",
                               .if_match = how->if_revision != 0 ? rev : NULL,
                               .if_none_match = how->create_only ? "*" : NULL};
    rc = perform(m, &q, &c, e);
    if (rc == MUSTER_OK) {
        rc = out_revision != NULL ? revision_of(&c, out_revision, e) : MUSTER_OK;
        call_fini(&c);
    }
    cmem_free(path);
    return rc;
}

muster_status muster_config_delete(struct muster *m, const char *group, const char *key,
                                   uint64_t if_revision, struct muster_error *e)
{
    struct call c;
    char rev[24];
    muster_status rc = config_check_names(group, key, e);
    if (rc != MUSTER_OK) {
        return rc;
    }
    char *path = path_of(group, key);
    (void)snprintf(rev, sizeof(rev), "%llu", (unsigned long long)if_revision);
    struct muster_request q = {
        .method = "DELETE", .path = path, .if_match = if_revision != 0 ? rev : NULL};
    rc = perform(m, &q, &c, e);
    if (rc == MUSTER_OK) {
        call_fini(&c);
    }
    cmem_free(path);
    return rc;
}
