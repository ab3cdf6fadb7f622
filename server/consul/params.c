/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "server/consul/body.h"
#include "server/consul/consul_impl.h"

int consul_flag(struct http_req *r, const char *name)
{
    struct slice s;
    return http_query(r, name, &s);
}

int consul_dc_is(struct consul_call *k, struct slice name)
{
    if (name.len != 0 && !slice_eq(name, slice_str(k->c->datacenter))) {
        consul_text(k->r, 500, "No path to datacenter");
        return -1;
    }
    return 0;
}

int consul_dc(struct consul_call *k)
{
    struct slice s;
    return http_query(k->r, "dc", &s) ? consul_dc_is(k, s) : 0;
}

int consul_u64(struct http_req *r, const char *name, uint64_t *out)
{
    struct slice s;
    if (!http_query(r, name, &s)) {
        return 0;
    }
    int rc = text_u64(s, UINT64_MAX, out);
    if (rc != 0) {
        consul_text(r, 500, "strconv.ParseUint: parsing \"%.*s\": %s", SLICE_FMT(s),
                    rc == MU_E_RANGE ? "value out of range" : "invalid syntax");
    }
    return rc;
}

/* --- what every read takes --- */

int consul_conflicts(struct consul_call *k)
{
    int does = (consul_flag(k->r, "stale") || consul_flag(k->r, "max_stale")) &&
               consul_flag(k->r, "consistent");
    if (does) {
        consul_text(k->r, 400, "Cannot specify ?stale with ?consistent, conflicting semantics.");
    }
    return does;
}

static int level(struct consul_call *k, enum consistency *out)
{
    struct slice s;
    int is_stale = consul_flag(k->r, "stale") || consul_flag(k->r, "max_stale");
    int is_consistent = consul_flag(k->r, "consistent");
    *out = is_consistent ? READ_LINEAR : is_stale ? READ_STALE : READ_LEADER;
    if (consul_conflicts(k)) {
        return -1;
    }
    if (http_query(k->r, "max_stale", &s)) {
        struct core_glance look;
        uint64_t ns;
        if (consul_text_duration(s, &ns) != 0) {
            consul_text(k->r, 400, "Invalid max_stale value \"%.*s\"", SLICE_FMT(s));
            return -1;
        }
        core_glance(k->c->core, &look);
        if (look.leader_age_ms < 0 || (uint64_t)look.leader_age_ms > ns / 1000000) {
            *out = READ_LEADER; /* too old here: the leader is asked */
        }
    }
    return 0;
}

static int wait_of(struct consul_call *k, struct consul_params *out)
{
    struct slice s;
    uint64_t ns = 0;
    out->index = 0;
    out->wait_ms = CONSUL_WAIT_MS;
    if (http_query(k->r, "index", &s) && text_u64(s, UINT64_MAX, &out->index) != 0) {
        consul_text(k->r, 400, "Invalid index");
        return -1;
    }
    if (http_query(k->r, "wait", &s)) {
        int is_negative = s.len > 1 && s.p[0] == '-'; /* a duration of Go, and no wait */
        s = is_negative ? slice_of(s.p + 1, s.len - 1) : s;
        if (consul_text_duration(s, &ns) != 0) {
            consul_text(k->r, 400, "Invalid wait time");
            return -1;
        }
        ns = is_negative ? 0 : ns;
    }
    if (ns > 0) {
        uint64_t ms = ns / 1000000;
        out->wait_ms = ms > CONSUL_WAIT_MAX_MS ? CONSUL_WAIT_MAX_MS : ms > 0 ? (int64_t)ms : 1;
    }
    out->wait_ms += (int64_t)rnd_below((uint64_t)out->wait_ms / 16 + 1);
    return 0;
}

int consul_params(struct consul_call *k, struct consul_params *out)
{
    if (consul_dc(k) != 0 || level(k, &out->level) != 0 || wait_of(k, out) != 0) {
        return -1;
    }
    out->is_cached = consul_flag(k->r, "cached") && out->level == READ_LEADER;
    out->level = out->is_cached ? READ_STALE : out->level; /* the nearest cache is the store */
    return 0;
}

/* --- bodies --- */

static void *body_alloc(void *arg, size_t size)
{
    return http_alloc(arg, size);
}

int consul_body(struct http_req *r, const struct body_table *table, void *out)
{
    struct body b = {.alloc = body_alloc, .arg = r};
    if (body_read(&b, http_body(r), table, out) != 0) {
        consul_text(r, 400, "Request decode failed: %s", b.error);
        return -1;
    }
    return 0;
}

int consul_body_list(struct http_req *r, const struct body_table *table, void *out)
{
    struct body b = {.alloc = body_alloc, .arg = r};
    if (body_read_list(&b, http_body(r), table, out) != 0) {
        consul_text(r, 400, "Request decode failed: %s", b.error);
        return -1;
    }
    return 0;
}
