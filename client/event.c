/* SPDX-License-Identifier: Apache-2.0 */
#include "client/event.h"

#include <string.h>

#include "client/json.h"
#include "client/mem.h"

struct event_doc {
    struct cjson_doc *json;
    size_t n;
    const struct cjson *events[];
};

muster_status event_parse(const char *data, size_t len, struct event_doc **out)
{
    struct cjson_doc *json = NULL;
    muster_status rc = cjson_parse(data, len, &json);
    const struct cjson *events = cjson_get(cjson_root(json), "events");
    if (rc == MUSTER_OK && !cjson_is_array(events)) {
        rc = MUSTER_INVALID;
    }
    struct event_doc *d = NULL;
    if (rc == MUSTER_OK) {
        d = cmem_alloc(sizeof(*d) + cjson_count(events) * sizeof(d->events[0]));
        rc = d != NULL ? MUSTER_OK : MUSTER_NO_MEMORY;
    }
    if (rc != MUSTER_OK) {
        cjson_free(json);
        return rc;
    }
    *d = (struct event_doc){.json = json};
    for (const struct cjson *o = cjson_first(events); o != NULL; o = cjson_next(o)) {
        d->events[d->n++] = o;
    }
    *out = d;
    return MUSTER_OK;
}

void event_free(struct event_doc *doc)
{
    if (doc != NULL) {
        cjson_free(doc->json);
        cmem_free(doc);
    }
}

size_t event_count(const struct event_doc *doc)
{
    return doc->n;
}

static const char *text_of(const struct cjson *o, const char *name)
{
    return cjson_text(cjson_get(o, name));
}

static uint64_t number_of(const struct cjson *o, const char *name)
{
    int64_t v = cjson_int(cjson_get(o, name));
    return v > 0 ? (uint64_t)v : 0;
}

static bool config_at(const struct cjson *o, struct event *out)
{
    out->group = text_of(o, "group");
    out->name = text_of(o, "key");
    out->version = number_of(o, "version");
    out->content_type = text_of(o, "content_type");
    out->content = cjson_bytes(cjson_get(o, "content"), &out->content_len);
    if (out->content == NULL) {
        out->content = cjson_bytes(cjson_get(o, "content_base64"), &out->content_len);
        out->is_base64 = out->content != NULL;
    }
    return out->group != NULL && out->name != NULL;
}

static bool instance_at(const struct cjson *o, struct event *out)
{
    const struct cjson *names = o;
    if (!out->is_delete) {
        out->instance = cjson_get(o, "instance");
        names = out->instance;
    }
    out->group = text_of(names, "group");
    out->name = text_of(names, "service");
    out->cluster = text_of(names, "cluster");
    out->id = text_of(names, "id");
    return out->group != NULL && out->name != NULL && out->cluster != NULL && out->id != NULL;
}

bool event_at(const struct event_doc *doc, size_t i, struct event *out)
{
    const struct cjson *o = doc->events[i];
    const char *type = text_of(o, "type");
    const char *kind = text_of(o, "kind");
    if (type == NULL || kind == NULL) {
        return false;
    }
    *out = (struct event){.is_delete = strcmp(type, "delete") == 0};
    out->revision = number_of(o, "revision");
    out->is_config = strcmp(kind, "config") == 0;
    if (!out->is_delete && strcmp(type, "put") != 0) {
        return false;
    }
    if (out->is_config) {
        return config_at(o, out);
    }
    return strcmp(kind, "instance") == 0 && instance_at(o, out);
}

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

muster_status event_base64(const char *text, size_t len, char **out, size_t *out_len)
{
    while (len > 0 && text[len - 1] == '=') {
        len--;
    }
    if (len % 4 == 1) {
        return MUSTER_INVALID;
    }
    char *p = cmem_alloc(len / 4 * 3 + 3);
    size_t n = 0;
    uint32_t bits = 0;
    if (p == NULL) {
        return MUSTER_NO_MEMORY;
    }
    for (size_t i = 0; i < len; i++) {
        int d = digit_of(text[i]);
        if (d < 0) {
            cmem_free(p);
            return MUSTER_INVALID;
        }
        bits = bits << 6 | (uint32_t)d;
        if (i % 4 != 0) {
            unsigned shift = 6 - 2 * (unsigned)(i % 4);
            p[n++] = (char)(bits >> shift & 0xff);
        }
    }
    p[n] = '\0';
    *out = p;
    *out_len = n;
    return MUSTER_OK;
}

muster_status event_content(const struct event *ev, char **out, size_t *out_len)
{
    if (ev->content == NULL) {
        return MUSTER_INVALID;
    }
    if (ev->is_base64) {
        return event_base64(ev->content, ev->content_len, out, out_len);
    }
    char *p = cmem_strndup(ev->content, ev->content_len);
    if (p == NULL) {
        return MUSTER_NO_MEMORY;
    }
    *out = p;
    *out_len = ev->content_len;
    return MUSTER_OK;
}
