/* SPDX-License-Identifier: Apache-2.0 */
/* Names into request paths. */
#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tools/musterctl/ctl.h"

static void encode(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || c == '-' || c == '_' || c == '~' || c == '.') {
            buf_append_byte(out, c);
        } else {
            buf_printf(out, "%%%02X", c);
        }
    }
}

void ctl_path_segment(struct buf *path, const char *text)
{
    buf_append_byte(path, '/');
    encode(path, text);
}

void ctl_path_param(struct buf *path, const char *name, const char *value)
{
    int is_next = path->len != 0 && memchr(path->p, '?', path->len) != NULL;
    buf_append_byte(path, is_next ? '&' : '?');
    buf_append_str(path, name);
    buf_append_byte(path, '=');
    encode(path, value);
}

void ctl_path_param_u64(struct buf *path, const char *name, uint64_t value)
{
    char s[24];
    snprintf(s, sizeof(s), "%llu", (unsigned long long)value);
    ctl_path_param(path, name, s);
}

int ctl_split_name(const struct ctl *c, const char *text, char **out_group, char **out_name)
{
    const char *group = ctl_opt(&c->p, "group"), *slash = strchr(text, '/');
    const char *name = text;
    struct slice g = slice_str(group);
    if (group == NULL && slash != NULL) {
        g = slice_of(text, (size_t)(slash - text));
        name = slash + 1;
    } else if (group == NULL) {
        const char *env = getenv("MUSTER_GROUP");
        g = slice_str(env != NULL && env[0] != '\0' ? env : "DEFAULT_GROUP");
    }
    if (g.len == 0 || name[0] == '\0') {
        return ctl_say(CTL_USAGE, "\"%.80s\" is no [GROUP/]NAME: the %s is empty", text,
                       g.len == 0 ? "group" : "name");
    }
    *out_group = mem_slice_str(g);
    *out_name = mem_strdup(name);
    return CTL_OK;
}

int ctl_config_path(const struct ctl *c, const char *name, struct buf *out)
{
    char *group, *key;
    int rc = ctl_split_name(c, name, &group, &key);
    if (rc == CTL_OK) {
        buf_append_str(out, "/configs");
        ctl_path_segment(out, group);
        ctl_path_segment(out, key);
        mem_free(group);
        mem_free(key);
    }
    return rc;
}

int ctl_service_path(const struct ctl *c, const char *name, const char *id, struct buf *out)
{
    char *group, *service;
    int rc = ctl_split_name(c, name, &group, &service);
    if (rc != CTL_OK) {
        return rc;
    }
    buf_append_str(out, "/services");
    ctl_path_segment(out, service);
    if (id != NULL) {
        buf_append_str(out, "/instances");
        ctl_path_segment(out, id);
    }
    ctl_path_param(out, "group", group);
    if (ctl_opt(&c->p, "cluster") != NULL) {
        ctl_path_param(out, "cluster", ctl_opt(&c->p, "cluster"));
    }
    mem_free(group);
    mem_free(service);
    return CTL_OK;
}
