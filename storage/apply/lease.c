/* SPDX-License-Identifier: Apache-2.0 */
/* Leases. Nothing here knows what time it is: the leader says which lease ran out, naming the
 * generation it saw, and a lease that has moved since is left alone. */
#include "storage/apply/apply_impl.h"

#include "base/mem.h"
#include "base/wire.h"

enum { LEASE_KEY_SIZE = 20 };

static struct slice put_id(uint8_t out[8], mu_lease_id id)
{
    wire_set_u64_be(out, id);
    return slice_of(out, 8);
}

int lease_find(struct apply *a, mu_lease_id id, struct lease_row *out)
{
    uint8_t key[8];
    struct slice s;
    int rc = db_find(a->txn, DB_LEASES, put_id(key, id), &s);
    if (rc == 0) {
        rc = lease_row_decode(s, out);
        MU_INVARIANT(rc == 0);
    }
    return rc;
}

static void note(struct apply *a, mu_lease_id id)
{
    if (!a->notes_leases) {
        return;
    }
    if (a->n_leases == a->cap_leases) {
        a->cap_leases = a->cap_leases == 0 ? 64 : a->cap_leases * 2;
        a->leases = mem_realloc(a->leases, a->cap_leases * sizeof(*a->leases));
    }
    a->leases[a->n_leases++] = id;
}

void lease_write(struct apply *a, const struct lease_row *row)
{
    uint8_t key[8];
    note(a, row->id);
    buf_clear(&a->stored_lease);
    lease_row_encode(&a->stored_lease, row);
    db_put(a->txn, DB_LEASES, put_id(key, row->id), buf_slice(&a->stored_lease), 0);
}

void lease_remove(struct apply *a, mu_lease_id id)
{
    uint8_t key[8];
    note(a, id);
    db_del(a->txn, DB_LEASES, put_id(key, id));
}

/* Members of a lease are found, in order of their creation, by (lease, create_rev, create_sub). */
static struct slice member_key(uint8_t out[LEASE_KEY_SIZE], mu_lease_id id, mu_rev rev,
                               uint32_t sub)
{
    wire_set_u64_be(out, id);
    wire_set_u64_be(out + 8, rev);
    out[16] = (uint8_t)(sub >> 24);
    out[17] = (uint8_t)(sub >> 16);
    out[18] = (uint8_t)(sub >> 8);
    out[19] = (uint8_t)sub;
    return slice_of(out, LEASE_KEY_SIZE);
}

void lease_attach(struct apply *a, mu_lease_id id, const struct row_meta *m, struct slice key)
{
    uint8_t k[LEASE_KEY_SIZE];
    db_put(a->txn, DB_LEASE_KEYS, member_key(k, id, m->create_rev, m->create_sub), key, 0);
}

void lease_detach(struct apply *a, mu_lease_id id, const struct row_meta *m)
{
    uint8_t k[LEASE_KEY_SIZE];
    db_del(a->txn, DB_LEASE_KEYS, member_key(k, id, m->create_rev, m->create_sub));
}

/* The first member at or behind `at` (a member key); its logical key is copied to a->lease_key and
 * `at` moved behind it. */
static int next_member(struct apply *a, mu_lease_id id, uint8_t at[LEASE_KEY_SIZE])
{
    struct slice k, v;
    uint8_t prefix[8];
    struct db_cur *c = db_cur_open(a->txn, DB_LEASE_KEYS);
    int rc = db_cur_seek(c, slice_of(at, LEASE_KEY_SIZE), &k, &v);
    int is_member = rc == 0 && k.len == LEASE_KEY_SIZE && slice_has_prefix(k, put_id(prefix, id));
    if (is_member) {
        memcpy(at, k.p, LEASE_KEY_SIZE);
        for (size_t i = LEASE_KEY_SIZE; i-- > 8 && ++at[i] == 0;) {
        }
        buf_clear(&a->lease_key);
        buf_append_slice(&a->lease_key, v);
    }
    db_cur_close(c);
    return is_member;
}

/* What a lease's end, delay or return means for what hangs on it; a session's own row comes first,
 * before the keys it holds. */
static void each_member(struct apply *a, mu_lease_id id, enum instance_order order)
{
    uint8_t at[LEASE_KEY_SIZE];
    struct session_row session = {0};
    (void)member_key(at, id, 0, 0);
    while (next_member(a, id, at)) {
        struct slice key = buf_slice(&a->lease_key);
        if (key.p[0] == SPACE_INSTANCE) {
            instance_by_lease(a, key, order);
        } else if (key.p[0] == SPACE_SESSION && order == INSTANCE_REMOVE) {
            session_ended(a, key, &session);
        } else if (key.p[0] == SPACE_USER && order == INSTANCE_REMOVE) {
            user_key_freed(a, key, id, &session);
        } else if (key.p[0] == SPACE_CHECK) {
            check_by_lease(a, key, order);
        }
    }
}

void lease_end(struct apply *a, mu_lease_id id)
{
    each_member(a, id, INSTANCE_REMOVE);
    lease_remove(a, id);
}

void apply_lease_grant(struct apply *a, const struct command *c, struct command_result *r)
{
    const struct cmd_lease_grant *m = &c->u.lease_grant;
    struct lease_row row;
    r->lease = m->id;
    if (lease_find(a, m->id, &row) == 0) {
        r->code = MU_E_EXISTS;
        return;
    }
    lease_write(a,
                &(struct lease_row){
                    .id = m->id, .ttl_ms = m->ttl_ms, .generation = 1, .remaining_ms = m->ttl_ms});
    r->ttl_ms = m->ttl_ms;
    r->is_created = r->is_changed = 1;
}

void apply_lease_revoke(struct apply *a, const struct command *c, struct command_result *r)
{
    struct lease_row row;
    r->lease = c->u.lease_revoke.id;
    if (lease_find(a, r->lease, &row) != 0) {
        r->code = MU_E_NO_LEASE;
        return;
    }
    a->notes_leases = 1;
    lease_end(a, row.id);
    r->is_changed = 1;
}

static int step_overdue(struct apply *a, struct lease_row *row)
{
    if (row->is_overdue) {
        return 0;
    }
    if (row->remove_after_ms == 0) { /* so it is for every lease that no instance owns */
        lease_end(a, row->id);
        return 1;
    }
    each_member(a, row->id, INSTANCE_UNHEALTHY);
    row->is_overdue = 1;
    row->generation++;
    row->remaining_ms = 0;
    lease_write(a, row);
    return 1;
}

static int step_revive(struct apply *a, struct lease_row *row)
{
    if (!row->is_overdue) {
        return 0;
    }
    each_member(a, row->id, INSTANCE_HEALTHY);
    row->is_overdue = 0;
    row->generation++;
    row->remaining_ms = row->ttl_ms;
    lease_write(a, row);
    return 1;
}

static int step_checkpoint(struct apply *a, struct lease_row *row, int64_t remaining_ms)
{
    int64_t rest = remaining_ms < 0 ? 0 : remaining_ms > row->ttl_ms ? row->ttl_ms : remaining_ms;
    if (rest == row->remaining_ms) {
        return 0;
    }
    row->remaining_ms = rest;
    lease_write(a, row);
    return 1;
}

static int step(struct apply *a, enum command_type type, const struct lease_step *s)
{
    struct lease_row row;
    if (lease_find(a, s->id, &row) != 0 || row.generation != s->generation) {
        return 0;
    }
    switch (type) {
    case CMD_LEASE_OVERDUE:
        return step_overdue(a, &row);
    case CMD_LEASE_REVIVE:
        return step_revive(a, &row);
    case CMD_LEASE_CHECKPOINT:
        return step_checkpoint(a, &row, s->remaining_ms);
    default:
        lease_end(a, row.id);
        return 1;
    }
}

void apply_lease_steps(struct apply *a, const struct command *c, struct command_result *r)
{
    const struct cmd_lease_steps *m = &c->u.lease_steps;
    a->notes_leases = c->type != CMD_LEASE_CHECKPOINT; /* checks that fail end sessions */
    for (size_t i = 0; i < m->n; i++) {
        struct lease_step s = command_lease_step(m, i);
        r->is_changed |= step(a, c->type, &s);
    }
}
