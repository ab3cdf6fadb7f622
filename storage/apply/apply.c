/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/apply/apply_impl.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/wire.h"

/* The first row of a store names the cluster. So no other change is revision 1, and who waits from
 * 1 for what never was there sees it come. */
static void write_birth(struct apply *a)
{
    struct row_at cur;
    char hex[33];
    for (size_t i = 0; i < sizeof(a->meta->cluster_id); i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", a->meta->cluster_id[i]);
    }
    buf_clear(&a->key);
    key_record(&a->key, SLICE_LIT("cluster"), SLICE_LIT("id"));
    row_find(a, buf_slice(&a->key), &cur);
    struct record_row row = {.meta = row_next_meta(a, &cur), .body = slice_of(hex, 32)};
    buf_clear(&a->row);
    record_row_encode(&a->row, &row);
    row_write(a, &cur);
}

static void apply_cluster_init(struct apply *a, const struct command *c, struct command_result *r)
{
    static const uint8_t none[16];
    if (c->type == CMD_CLUSTER_INIT && memcmp(a->meta->cluster_id, none, sizeof(none)) != 0) {
        r->code = MU_E_EXISTS;
        return;
    }
    memcpy(a->meta->cluster_id, c->u.cluster_init.cluster_id, sizeof(a->meta->cluster_id));
    if (a->meta->revision == 0) {
        write_birth(a);
    }
    r->is_created = r->is_changed = 1;
}

static const apply_fn apply_table[] = {
    [CMD_CONFIG_PUT] = apply_config_put,
    [CMD_CONFIG_DELETE] = apply_config_delete,
    [CMD_INSTANCE_PUT] = apply_instance_put,
    [CMD_INSTANCE_DELETE] = apply_instance_delete,
    [CMD_INSTANCE_HEALTH] = apply_instance_health,
    [CMD_LEASE_GRANT] = apply_lease_grant,
    [CMD_LEASE_REVOKE] = apply_lease_revoke,
    [CMD_LEASE_OVERDUE] = apply_lease_steps,
    [CMD_LEASE_END] = apply_lease_steps,
    [CMD_LEASE_REVIVE] = apply_lease_steps,
    [CMD_LEASE_CHECKPOINT] = apply_lease_steps,
    [CMD_COMPACT] = apply_compact,
    [CMD_CLUSTER_INIT] = apply_cluster_init,
    [CMD_CLUSTER_RESTORE] = apply_cluster_init,
    [CMD_TXN] = apply_txn,
};

struct apply *apply_new(uint32_t request_limit)
{
    struct apply *a = mem_zalloc(sizeof(*a));
    requests_init(&a->requests, request_limit);
    return a;
}

void apply_free(struct apply *a)
{
    struct buf *scratch[] = {&a->key,      &a->service_key,  &a->lease_key,   &a->row,
                             &a->old_row,  &a->stored_lease, &a->compact.key, &a->change_keys,
                             &a->link_key, &a->scan,         &a->detail,      &a->failures};
    for (size_t i = 0; i < N_ELEMENTS(scratch); i++) {
        buf_fini(scratch[i]);
    }
    requests_fini(&a->requests);
    mem_free(a->changes);
    mem_free(a->leases);
    mem_free(a);
}

int apply_load(struct apply *a, struct db_txn *t)
{
    return requests_load(&a->requests, t);
}

void apply_begin(struct apply *a, struct db_txn *t, struct meta *m)
{
    a->txn = t;
    a->meta = m;
    a->n_changes = a->n_leases = 0;
    buf_clear(&a->change_keys);
}

/* Over what was applied, in order; equal on nodes that applied the same commands. */
static uint64_t roll_hash(uint64_t before, const struct store_entry *entry)
{
    uint8_t link[16];
    wire_set_u64(link, before);
    wire_set_u64(link + 8, entry->index);
    return hash_xxh3(entry->data.p, entry->data.len, hash_xxh3(link, sizeof(link), 0));
}

static void run(struct apply *a, const struct store_entry *entry, struct command_result *r)
{
    struct command *c = &a->command;
    int rc = command_decode(entry->data, c);
    if (rc != 0) {
        r->code = rc;
        r->revision = a->meta->revision;
        return;
    }
    if (c->has_request_id && requests_find(&a->requests, a->txn, c->request_id, r) == 0) {
        r->is_duplicate = 1;
        return;
    }
    a->rev = a->meta->revision + 1;
    a->n_changed = 0;
    a->notes_leases = 0;
    a->wall_ms = c->wall_ms;
    apply_table[c->type](a, c, r);
    if (a->n_changed != 0) {
        a->meta->revision = a->rev;
    }
    r->revision = a->meta->revision;
    if (c->has_request_id) {
        requests_add(&a->requests, a->txn, a->meta, c->request_id, entry->index, r);
    }
}

void apply_entry(struct apply *a, const struct store_entry *entry, store_result_fn fn, void *arg)
{
    MU_INVARIANT(entry->index == a->meta->applied + 1);
    MU_INVARIANT(entry->term >= a->meta->applied_term);
    if (entry->kind == STORE_COMMAND) {
        struct command_result r = {0};
        run(a, entry, &r);
        a->meta->hash = roll_hash(a->meta->hash, entry);
        if (fn != NULL) {
            fn(arg, entry, &r);
        }
    } else if (entry->kind == STORE_CHANGE) {
        MU_INVARIANT(entry->data.len <= META_CONF_MAX);
        meta_write_conf(a->txn, entry->data);
        a->meta->conf_index = entry->index;
    }
    a->meta->applied = entry->index;
    a->meta->applied_term = entry->term;
}

void apply_end(struct apply *a, struct change_set *out_changes)
{
    const uint8_t *p = a->change_keys.p;
    for (size_t i = 0; i < a->n_changes; i++) {
        a->changes[i].key.p = p;
        p += a->changes[i].key.len;
    }
    *out_changes = (struct change_set){a->changes, a->n_changes, a->leases, a->n_leases};
    meta_write(a->txn, a->meta);
}
