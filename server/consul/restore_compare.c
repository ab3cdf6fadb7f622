/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/restore_compare.h"

#include <jansson.h>

#include "base/json_read.h"

static size_t count(struct slice pairs)
{
    struct pair_iter it;
    struct slice k, v;
    size_t n = 0;
    metadata_begin(&it, pairs);
    while (metadata_next(&it, &k, &v)) {
        n++;
    }
    return n;
}

static int has(struct slice pairs, struct slice key, struct slice value)
{
    struct pair_iter it;
    struct slice k, v;
    metadata_begin(&it, pairs);
    while (metadata_next(&it, &k, &v)) {
        if (slice_eq(k, key) && slice_eq(v, value)) {
            return 1;
        }
    }
    return 0;
}

static int same_pairs(struct slice a, struct slice b)
{
    struct pair_iter it;
    struct slice k, v;
    if (slice_eq(a, b)) {
        return 1;
    }
    int is_same = count(a) == count(b);
    metadata_begin(&it, a);
    while (is_same && metadata_next(&it, &k, &v)) {
        is_same = has(b, k, v);
    }
    return is_same;
}

static int same_list(struct slice a, struct slice b)
{
    return slice_eq(a, b) || (a.len <= 2 && b.len <= 2); /* a count of none */
}

int compare_bodies(struct slice cur, struct slice body)
{
    struct err e = {0};
    json_t *a = NULL, *b = NULL;
    if (slice_eq(cur, body)) {
        return 1;
    }
    int is_same = cur.len != 0 && body.len != 0 && jr_parse(cur, &a, &e) == 0 &&
                  jr_parse(body, &b, &e) == 0 && json_equal(a, b);
    jr_free(a);
    jr_free(b);
    return is_same;
}

int compare_nodes(const struct node_row *cur, const struct node_row *row)
{
    return slice_eq(cur->id, row->id) && slice_eq(cur->address, row->address) &&
           same_pairs(cur->tagged, row->tagged) && same_pairs(cur->metadata, row->metadata);
}

int compare_services(const struct instance_row *cur, const struct instance_row *row)
{
    struct slice address = cur->is_node_address ? slice_of(NULL, 0) : cur->address;
    return slice_eq(address, row->address) && cur->port == row->port &&
           (int64_t)cur->weight == (int64_t)row->weight && same_list(cur->tags, row->tags) &&
           same_pairs(cur->metadata, row->metadata) && compare_bodies(cur->extra, row->extra);
}

static int same_run(const struct check_run *a, const struct check_run *b)
{
    return a->kind == b->kind && slice_eq(a->target, b->target) &&
           slice_eq(a->alias_service, b->alias_service) && slice_eq(a->method, b->method) &&
           slice_eq(a->body, b->body) && slice_eq(a->server_name, b->server_name) &&
           same_pairs(a->headers, b->headers) && a->interval_ms == b->interval_ms &&
           a->timeout_ms == b->timeout_ms && a->passes_needed == b->passes_needed &&
           a->failures_to_warn == b->failures_to_warn &&
           a->failures_to_fail == b->failures_to_fail && a->output_max == b->output_max &&
           a->use_tls == b->use_tls && a->skip_verify == b->skip_verify &&
           a->no_redirects == b->no_redirects;
}

int compare_checks(const struct check_row *cur, const struct check_row *row, int is_run)
{
    if (!slice_eq(cur->name, row->name) || !slice_eq(cur->notes, row->notes) ||
        !slice_eq(cur->type_name, row->type_name) ||
        !compare_bodies(cur->definition, row->definition)) {
        return 0;
    }
    return is_run ? same_run(&cur->run, &row->run) && cur->ttl_ms == row->ttl_ms &&
                        cur->remove_after_ms == row->remove_after_ms
                  : cur->status == row->status && slice_eq(cur->output, row->output);
}
