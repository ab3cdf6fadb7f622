/* SPDX-License-Identifier: Apache-2.0 */
/* Prepared queries, for every face: found by id, name or template, and run. They are records of
 * JSON (docs/formats.md#documents). */
#pragma once

#include "base/err.h"
#include "storage/view.h"

/* A query's record is called by its id. Names are claimed by records of their own, whose body is
 * the id: "=NAME" of a query, "~PREFIX" of a template. */
#define QUERIES     SLICE_LIT("query")
#define QUERY_NAMES SLICE_LIT("query-name")

enum { QUERY_NAME_MAX = 256, QUERY_TEXT_MAX = 512, QUERY_LIST_MAX = 64 };

struct json_t;

struct query {
    struct json_t *doc; /* as stored; rendered, when it was found by a template */
    mu_rev create_rev, mod_rev;
};

/* The query of that id. 0, NOT_FOUND; then there is nothing to free. A query ends with its
 * session. */
int query_get(struct view *v, struct slice id, struct query *out);
/* By id, else by name, else by the template with the longest prefix, rendered for that name. */
int query_find(struct view *v, struct slice id_or_name, struct query *out);
void query_free(struct query *q);
struct slice query_text(const struct query *q, const char *object, const char *member);

/* The instances it finds, in no order: of the service it names, with the tags and metadata that it
 * wants, none of them critical. fn as in view_instances. */
int query_run(struct view *v, const struct query *q, view_instance_fn fn, void *arg);

/* A text with ${name.full}, ${name.prefix}, ${name.suffix}, ${match(N)}, ${agent.segment}. 0, or
 * BAD_REQUEST with what is wrong. */
int query_check_text(struct slice text, struct err *e);
/* The same of a template's regular expression; empty: none. */
int query_check_regex(struct slice pattern, struct err *e);
