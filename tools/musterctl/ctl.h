/* SPDX-License-Identifier: Apache-2.0 */
/* What every command of musterctl gets, and how it asks the cluster.
 *
 * A command returns an exit status. Functions here that can fail have said why on stderr when they
 * return anything but CTL_OK, so that commands only pass the status on. */
#pragma once

#include <stdio.h>

#include "base/buf.h"
#include "client/include/muster.h"
#include "tools/musterctl/out.h"
#include "tools/musterctl/parse.h"

struct json_t;

/* Frozen: scripts lean on them. The sentences are in table.c. */
enum {
    CTL_OK = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_NOT_FOUND = 3,
    CTL_CONFLICT = 4,
    CTL_UNREACHABLE = 5,
    CTL_UNKNOWN = 6,
    CTL_INTERRUPTED = 130
};

struct ctl {
    struct ctl_parsed p;
    struct ctl_out out;
    struct muster *m; /* opened by the first request */
    int is_talkative; /* the library's warnings go to stderr */
};

/* --- ask.c: requests --- */

/* "musterctl: ..." on stderr; returns status. */
int ctl_say(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The exit status that an error of the library stands for. */
int ctl_status_of(const struct muster_error *e);
/* A client with the options of the command line; `endpoint` NULL: all of them. timeout_ms 0: as
 * given. */
int ctl_open(const struct ctl *c, const char *endpoint, int64_t timeout_ms, struct muster **out);
void ctl_close(struct ctl *c);
/* The request at any endpoint. `what` begins the sentence of an error. Free with
 * muster_answer_free. */
int ctl_call(struct ctl *c, const struct muster_request *q, const char *what,
             struct muster_answer **out);
/* GET of `path`, with --consistency; ctl_get_json gives the parsed body (json_decref) and, when
 * `out` is not NULL, the answer as well. */
int ctl_get(struct ctl *c, const struct buf *path, const char *what, struct muster_answer **out);
int ctl_get_json(struct ctl *c, const struct buf *path, const char *what, struct json_t **out_doc);
/* Method with a JSON body (taken; NULL = none). *out may be NULL: the answer is then not wanted. */
int ctl_send(struct ctl *c, const char *method, const struct buf *path, struct json_t *body,
             struct muster_answer **out);
/* The array `member` of all pages of a list, as one array (json_decref); *out_revision may be NULL.
 */
int ctl_get_pages(struct ctl *c, const struct buf *path, const char *member,
                  struct json_t **out_items, uint64_t *out_revision);
/* The endpoints one by one, each with a scheme; *at starts at 0. 0 at the end. */
int ctl_next_endpoint(const struct ctl *c, size_t *at, char out[256]);
/* A client of the leader alone, and what it says of the cluster (json_decref; may be NULL). */
int ctl_open_leader(struct ctl *c, struct muster **out, struct json_t **out_cluster);
/* A parsed JSON answer, or NULL and a sentence. */
struct json_t *ctl_json(const struct muster_answer *a);

/* --- name.c: names into paths --- */

/* One segment, percent-encoded, with a "/" before it. */
void ctl_path_segment(struct buf *path, const char *text);
/* "?name=value" or "&name=value". */
void ctl_path_param(struct buf *path, const char *name, const char *value);
void ctl_path_param_u64(struct buf *path, const char *name, uint64_t value);
/* "[GROUP/]NAME" as --group or its first slash divides it. Both to be freed with mem_free. */
int ctl_split_name(const struct ctl *c, const char *text, char **out_group, char **out_name);
/* "/configs/GROUP/KEY" of the first argument. */
int ctl_config_path(const struct ctl *c, const char *name, struct buf *out);
/* "/services/NAME", and "/services/NAME/instances/ID"; the group (and --cluster) as a parameter. */
int ctl_service_path(const struct ctl *c, const char *name, const char *id, struct buf *out);

/* --- wait.c: signals and time --- */

/* SIGINT and SIGTERM only set a flag; with `at_once` they end the process with 130. */
void ctl_catch_signals(int at_once);
int ctl_is_interrupted(void);
void ctl_sleep_ms(int64_t ms); /* ends early when interrupted */

/* --- members of JSON documents, never failing: "" and 0 for what is not there --- */

const char *ctl_str(const struct json_t *obj, const char *key);
uint64_t ctl_u64(const struct json_t *obj, const char *key);
int ctl_true(const struct json_t *obj, const char *key);
/* The rows of an array in the order of their member `key`; few of them. */
void ctl_sort_rows(struct json_t *rows, const char *key);
