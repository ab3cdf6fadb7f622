/* SPDX-License-Identifier: Apache-2.0 */
/* One config as a value: made from an answer, an event, or a file. */
#pragma once

#include "client/call.h"
#include "client/include/muster.h"

/* Gives a config with copies of the names and of content_type (NULL: text/plain); takes `content`
 * on success. NULL when there is no memory. */
struct muster_config *config_new(const char *group, const char *key, const char *content_type,
                                 char *content, size_t size);
/* From a successful answer of GET /configs/{group}/{key}. */
struct muster_config *config_from_call(const char *group, const char *key, struct http_in *in);
/* To and from disk. */
void config_save(const struct muster *m, const struct muster_config *c);
void config_forget(const struct muster *m, const char *group, const char *key);
struct muster_config *config_load(const struct muster *m, const char *group, const char *key);
/* "/configs/{group}/{key}" */
void config_path(struct cbuf *b, const char *group, const char *key);
muster_status config_check_names(const char *group, const char *key, struct muster_error *e);
