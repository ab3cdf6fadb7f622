/* SPDX-License-Identifier: Apache-2.0 */
/* What the snapshot does not have goes: last, so that nothing is missing while it is brought back.
 */
#include "server/access/document.h"
#include "server/consul/autopilot.h"
#include "server/consul/near.h"
#include "server/consul/restore_impl.h"
#include "server/query/query.h"

#define CONFIG_ENTRIES SLICE_LIT("config-entry")

enum { FULL = 1 }; /* what a scan is stopped with */

/* What a client makes meanwhile stays, as if it came after: else one that makes things as fast as
 * they go would hold up the end. */
static int is_old(const struct restore *r, const struct row_meta *m)
{
    return !m->is_deleted && m->create_rev <= r->revision;
}

static int on_key(void *arg, struct slice key, const struct user_row *row)
{
    struct restore *r = arg;
    if (restore_is_full(r)) {
        buf_clear(&r->resume);
        buf_append_slice(&r->resume, key);
        return FULL;
    }
    if (is_old(r, &row->meta) && !restore_has(r, ID_KEY, key, slice_of(NULL, 0))) {
        restore_op(r, OP_KEY_DELETE)->u.key.key = restore_keep(r, key);
    }
    return 0;
}

static int on_session(void *arg, struct slice id, const struct session_row *row)
{
    struct restore *r = arg;
    if (is_old(r, &row->meta) && !restore_has(r, ID_SESSION, id, slice_of(NULL, 0))) {
        restore_op(r, OP_SESSION_DESTROY)->u.session.id = restore_keep(r, id);
    }
    return restore_is_full(r) ? FULL : 0;
}

static int on_check(void *arg, const struct check_name *n, const struct check_row *row)
{
    struct restore *r = arg;
    int is_own = slice_eq(n->id, SLICE_LIT("serfHealth")) && restore_is_member(r, n->node);
    if (!is_old(r, &row->meta) || is_own || restore_has(r, ID_CHECK, n->node, n->id) ||
        (row->is_agent && restore_has(r, ID_AGENT_CHECK, n->id, slice_of(NULL, 0)))) {
        return 0;
    }
    struct op *o = restore_op(r, OP_CHECK_DELETE);
    o->u.check.is_agent = row->is_agent;
    o->u.check.row.remove_after_ms = REMOVE_NEVER;
    o->u.check.name = (struct check_name){restore_keep(r, n->node), restore_keep(r, n->service_id),
                                          restore_keep(r, n->id)};
    return restore_is_full(r) ? FULL : 0;
}

static int on_place(void *arg, struct slice node, struct slice service_id,
                    const struct place_row *row)
{
    struct restore *r = arg;
    int is_own = slice_eq(service_id, SLICE_LIT("consul")) && restore_is_member(r, node);
    if (!is_old(r, &row->meta) || is_own || restore_has(r, ID_SERVICE, node, service_id) ||
        (row->is_agent && restore_has(r, ID_AGENT_SERVICE, service_id, slice_of(NULL, 0)))) {
        return 0;
    }
    struct op *o = restore_op(r, OP_SERVICE_DELETE);
    o->u.service.is_agent = row->is_agent;
    o->u.service.node = restore_keep(r, node);
    o->u.service.row.service_id = restore_keep(r, service_id);
    return restore_is_full(r) ? FULL : 0;
}

static int on_node(void *arg, struct slice name, const struct node_row *row)
{
    struct restore *r = arg;
    if (is_old(r, &row->meta) && !row->is_member &&
        !restore_has(r, ID_NODE, name, slice_of(NULL, 0))) {
        restore_op(r, OP_NODE_DELETE)->u.node.name = restore_keep(r, name);
    }
    return restore_is_full(r) ? FULL : 0;
}

/* --- records --- */

struct dropping {
    struct restore *r;
    struct slice kind;
};

static int on_record(void *arg, struct slice name, const struct record_row *row)
{
    const struct dropping *d = arg;
    struct restore *r = d->r;
    struct slice claim_kind, claim;
    if (!is_old(r, &row->meta) || restore_has(r, ID_RECORD, d->kind, name)) {
        return 0;
    }
    restore_claim_of(r, d->kind, row->body, &claim_kind, &claim);
    restore_unset(r, d->kind, restore_keep(r, name));
    restore_unclaim(r, claim_kind, claim, name);
    return restore_is_full(r) ? FULL : 0;
}

static int drop_kind(struct restore *r, struct slice kind)
{
    struct dropping d = {r, kind};
    return view_records(r->v, kind, on_record, &d);
}

static int drop_others(struct restore *r)
{
    const struct slice kinds[] = {QUERIES, CONFIG_ENTRIES, NEAR_COORDINATES};
    struct record_row row;
    int rc = 0;
    for (size_t i = 0; i < N_ELEMENTS(kinds) && rc == 0; i++) {
        rc = drop_kind(r, kinds[i]);
    }
    if (rc == 0 && view_record(r->v, AUTOPILOT_KIND, AUTOPILOT_NAME, &row) == 0 &&
        !restore_has(r, ID_RECORD, AUTOPILOT_KIND, AUTOPILOT_NAME)) {
        restore_unset(r, AUTOPILOT_KIND, AUTOPILOT_NAME);
    }
    return rc;
}

int restore_drop(struct restore *r)
{
    const struct slice all = {0};
    switch (r->now.phase) {
    case PHASE_DROP_KEYS:
        return view_users_from(r->v, all, buf_slice(&r->resume), on_key, r);
    case PHASE_DROP_SESSIONS:
        return view_sessions(r->v, on_session, r);
    case PHASE_DROP_RECORDS:
        return drop_others(r);
    case PHASE_DROP_TOKENS:
        return drop_kind(r, ACCESS_TOKENS);
    case PHASE_DROP_ROLES:
        return drop_kind(r, ACCESS_ROLES);
    case PHASE_DROP_POLICIES:
        return drop_kind(r, ACCESS_POLICIES);
    case PHASE_DROP_CHECKS:
        return view_checks(r->v, all, on_check, r);
    case PHASE_DROP_SERVICES:
        return view_places(r->v, all, on_place, r);
    default:
        return view_nodes(r->v, on_node, r);
    }
}
