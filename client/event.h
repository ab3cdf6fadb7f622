/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON of a change message: which configs and instances changed, and how. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/include/muster.h"

struct cjson;
struct event_doc;

/* Borrows from its document. */
struct event {
    bool is_config;
    bool is_delete;
    const char *group;
    const char *name; /* config key, or service */
    uint64_t revision;
    /* put of a config */
    uint64_t version;
    const char *content_type;
    const char *content; /* NULL when left out */
    size_t content_len;
    bool is_base64;
    /* instance */
    const char *cluster;
    const char *id;
    const struct cjson *instance; /* put: the whole document */
};

/* MUSTER_INVALID: not such a message. */
muster_status event_parse(const char *data, size_t len, struct event_doc **out);
void event_free(struct event_doc *doc);
size_t event_count(const struct event_doc *doc);
/* False for a kind that is not known here. */
bool event_at(const struct event_doc *doc, size_t i, struct event *out);
/* Gives the bytes, with a NUL behind them. MUSTER_INVALID, MUSTER_NO_MEMORY. */
muster_status event_base64(const char *text, size_t len, char **out, size_t *out_len);
/* Gives the content of a config event that has one. */
muster_status event_content(const struct event *ev, char **out, size_t *out_len);
