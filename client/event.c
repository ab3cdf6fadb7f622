/* SPDX-License-Identifier: Apache-2.0 */
#include "client/event.h"

#include <string.h>

#include <jansson.h>

#include "client/mem.h"

struct event_doc {
    json_t *root;
    json_t *events;
};

muster_status event_parse(const char *data, size_t len, struct event_doc **out)
{
    struct event_doc *d = cmem_zalloc(sizeof(*d));
    if (d == NULL) {
        return MUSTER_NO_MEMORY;
    }
    d->root = json_loadb(data, len, JSON_ALLOW_NUL, NULL);
    d->events = json_object_get(d->root, "events");
    if (!json_is_array(d->events)) {
        event_free(d);
        return MUSTER_INVALID;
    }
    *out = d;
    return MUSTER_OK;
}

void event_free(struct event_doc *doc)
{
    if (doc != NULL) {
        json_decref(doc->root);
        cmem_free(doc);
    }
}

size_t event_count(const struct event_doc *doc)
{
    return json_array_size(doc->events);
}

static const char *text_of(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

static uint64_t number_of(const json_t *o, const char *name)
{
    json_int_t v = json_integer_value(json_object_get(o, name));
    return v > 0 ? (uint64_t)v : 0;
}

static bool config_at(const json_t *o, struct event *out)
{
    const json_t *content = json_object_get(o, "content");
    out->group = text_of(o, "group");
    out->name = text_of(o, "key");
    out->version = number_of(o, "version");
    out->content_type = text_of(o, "content_type");
    if (!json_is_string(content)) {
        content = json_object_get(o, "content_base64");
        out->is_base64 = json_is_string(content);
    }
    out->content = json_string_value(content);
    out->content_len = json_string_length(content);
    return out->group != NULL && out->name != NULL;
}

static bool instance_at(const json_t *o, struct event *out)
{
    const json_t *names = o;
    if (!out->is_delete) {
        out->instance = json_object_get(o, "instance");
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
    const json_t *o = json_array_get(doc->events, i);
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
