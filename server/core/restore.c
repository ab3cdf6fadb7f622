/* SPDX-License-Identifier: Apache-2.0 */
/* A new cluster from a snapshot. Each first member loads the same file and then applies the same
 * two entries behind it: the configuration of the new cluster, and a new cluster id made from the
 * old one and the new members, so that old members cannot come back into it. What results is the
 * same everywhere; it is written as the snapshot that the log, empty, begins behind. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "server/core/core_impl.h"

static void no_result(void *arg, const struct store_entry *entry,
                      const struct command_result *result)
{
    (void)arg;
    (void)entry;
    MU_INVARIANT(result->code == 0);
}

static void new_cluster_id(const struct snapshot_info *info, const struct buf *members,
                           uint8_t out[16])
{
    struct buf b;
    buf_init(&b);
    buf_append(&b, info->cluster_id, sizeof(info->cluster_id));
    buf_append(&b, &info->hash, sizeof(info->hash));
    buf_append_slice(&b, buf_slice(members));
    hash_xxh3_128(b.p, b.len, out);
    buf_fini(&b);
}

static void apply_two(struct core *c, const struct snapshot_info *info, const struct buf *members)
{
    struct command cmd = {.type = CMD_CLUSTER_RESTORE};
    struct change_set changes;
    struct buf b;
    buf_init(&b);
    new_cluster_id(info, members, cmd.u.cluster_init.cluster_id);
    command_encode(&b, &cmd);
    const struct store_entry entries[] = {
        {.index = info->index + 1,
         .term = info->term,
         .kind = STORE_CHANGE,
         .data = buf_slice(members)},
        {.index = info->index + 2,
         .term = info->term,
         .kind = STORE_COMMAND,
         .data = buf_slice(&b)},
    };
    store_apply(c->store, entries, N_ELEMENTS(entries), no_result, NULL, &changes);
    buf_fini(&b);
}

int core_restore(struct core *c, const struct snapshot_info *info, struct err *e)
{
    struct snapshot_info written;
    struct store_state s;
    struct buf members;
    char path[512];
    store_state(c->store, &s);
    if (s.applied != 0) {
        return err_set(e, MU_E_CONFLICT, "the store is not empty");
    }
    int rc = snapshot_load(c->store, c->options.restore, e);
    rc = rc != 0 ? rc : store_has_room(c->store, 64 * 1024, e);
    rc = rc != 0 ? rc : c->disk->ops->mkdir(c->disk, "snapshots", e);
    if (rc != 0) {
        return rc;
    }
    buf_init(&members);
    replica_members_encode(c->options.replica.initial, c->options.replica.n_initial, &members);
    apply_two(c, info, &members);
    buf_fini(&members);
    snprintf(path, sizeof(path), "%s/snapshots/%016llx-%016llx.snap", c->data_dir,
             (unsigned long long)info->term, (unsigned long long)info->index + 2);
    rc = snapshot_write(c->store, path, NULL, &written, e);
    rc = rc != 0 ? rc
                 : replica_seed(c->disk, c->options.replica.segment_bytes, info->index + 2,
                                info->term, e);
    if (rc == 0) {
        log_info("core", "restored from a snapshot", LOG_U64("revision", info->revision),
                 LOG_U64("rows", info->n_rows));
    }
    return rc;
}
