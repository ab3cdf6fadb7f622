/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshot files: `snapshots/<term>-<index>.snap`, both as 16 hex digits. The newest two are kept.
 * `.in`: received, not yet in place.
 *
 * Taking one: the machine writes `snapshots/taking.part` on another thread; then it gets its name,
 * the directory is synced, and only then does the log forget what it no longer needs. It keeps
 * enough behind the snapshot that a short absence needs no transfer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "raft/replica_impl.h"

static const char TAKING[] = "taking.part";

void snapshot_name(char *out, size_t cap, mu_term term, mu_index index)
{
    snprintf(out, cap, "%016llx-%016llx.snap", (unsigned long long)term, (unsigned long long)index);
}

void snapshot_path(const struct replica *r, const char *name, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%s/snapshots/%s", r->data_dir, name);
    MU_INVARIANT(n > 0 && (size_t)n < cap);
}

/* --- the directory --- */

enum { FILES_MAX = 64 };

struct file {
    mu_term term;
    mu_index index;
    char name[64];
};

struct files {
    struct file list[FILES_MAX];
    size_t n;
    int is_incoming; /* also `.in` */
};

static int on_name(void *arg, const char *name)
{
    struct files *f = arg;
    struct file x = {.term = strtoull(name, NULL, 16)};
    const char *dash = strchr(name, '-'), *dot = strchr(name, '.');
    if (dash == NULL || dot == NULL || f->n == FILES_MAX) {
        return 0;
    }
    x.index = strtoull(dash + 1, NULL, 16);
    snapshot_name(x.name, sizeof(x.name), x.term, x.index);
    size_t stem = strlen(x.name) - strlen(".snap");
    if (strcmp(x.name, name) == 0 ||
        (f->is_incoming && (size_t)(dot - name) == stem && strncmp(x.name, name, stem) == 0 &&
         strcmp(dot, ".in") == 0)) {
        snprintf(x.name, sizeof(x.name), "%s", name);
        f->list[f->n++] = x;
    }
    return 0;
}

static int newest_first(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    return (x->index < y->index) - (x->index > y->index);
}

static void list_files(struct replica *r, struct files *out, int is_incoming)
{
    struct disk *d = r->o.disk;
    out->n = 0;
    out->is_incoming = is_incoming;
    d->ops->list(d, "snapshots", on_name, out, NULL);
    qsort(out->list, out->n, sizeof(out->list[0]), newest_first);
}

static int check_file(struct replica *r, const struct file *f, struct replica_position *out,
                      uint8_t conf[CONF_MAX])
{
    char path[4096];
    struct err e = {0};
    size_t len = CONF_MAX;
    snapshot_path(r, f->name, path, sizeof(path));
    *out = (struct replica_position){0};
    if (r->m.snapshot_check(r->m.arg, path, &out->index, &out->term, &out->conf_index, conf, &len,
                            &e) != 0) {
        log_warn("raft", "snapshot file is damaged", LOG_STR("file", f->name),
                 LOG_STR("why", e.text));
        return 0;
    }
    out->conf = slice_of(conf, len);
    return out->index == f->index && out->term == f->term;
}

/* Notes the newest file; with out, finds the newest good one from `low` to `high`. 1 when found. */
int snapshot_newest(struct replica *r, mu_index low, mu_index high, struct replica_position *out,
                    uint8_t conf[CONF_MAX], char *out_name, size_t cap)
{
    struct files f;
    list_files(r, &f, 0);
    r->snapshot_index = f.n > 0 ? f.list[0].index : 0;
    r->snapshot_term = f.n > 0 ? f.list[0].term : 0;
    list_files(r, &f, 1);
    for (size_t i = 0; out != NULL && i < f.n && f.list[i].index >= low; i++) {
        if (f.list[i].index <= high && check_file(r, &f.list[i], out, conf)) {
            snprintf(out_name, cap, "%s", f.list[i].name);
            return 1;
        }
    }
    return 0;
}

void snapshot_prune(struct replica *r)
{
    struct disk *d = r->o.disk;
    struct files f;
    list_files(r, &f, 0);
    for (size_t i = REPLICA_SNAPSHOT_KEEP; i < f.n; i++) {
        char path[96];
        snprintf(path, sizeof(path), "snapshots/%s", f.list[i].name);
        d->ops->unlink(d, path, NULL);
    }
    r->snapshot_index = f.n > 0 ? f.list[0].index : 0;
    r->snapshot_term = f.n > 0 ? f.list[0].term : 0;
}

/* --- taking one --- */

static unsigned trailing(const struct replica *r)
{
    uint64_t n = wal_last(r->wal) + 1 - wal_first(r->wal);
    uint64_t each = n > 0 ? wal_bytes(r->wal) / n + 1 : 1;
    uint64_t fit = REPLICA_TRAILING_BYTES / each;
    uint64_t most = r->o.trailing_entries != 0 ? r->o.trailing_entries : REPLICA_TRAILING;
    uint64_t t = fit < most ? fit : most;
    return t > REPLICA_INFLIGHT + 1 ? (unsigned)t : REPLICA_INFLIGHT + 2;
}

static int is_wanted(const struct replica *r)
{
    uint64_t limit = r->o.snapshot_log_bytes != 0 ? r->o.snapshot_log_bytes : 64ULL << 20;
    if (r->bytes_since_snapshot >= limit && r->applied > r->snapshot_index) {
        return 1;
    }
    for (size_t i = 0; i < r->n_peers; i++) {
        if (r->peers[i].wants_snapshot > r->snapshot_index &&
            r->applied >= r->peers[i].wants_snapshot) {
            return 1;
        }
    }
    return 0;
}

void snapshot_turn(struct replica *r)
{
    char path[4096];
    if (r->is_taking || node_is_installing(r->node) || !is_wanted(r)) {
        return;
    }
    r->is_taking = 1;
    r->bytes_since_snapshot = 0;
    snapshot_path(r, TAKING, path, sizeof(path));
    r->m.snapshot_begin(r->m.arg, path);
}

static int keep_file(struct replica *r, mu_term term, mu_index index, struct err *e)
{
    struct disk *d = r->o.disk;
    char name[64], to[96], from[96];
    snapshot_name(name, sizeof(name), term, index);
    snprintf(to, sizeof(to), "snapshots/%s", name);
    snprintf(from, sizeof(from), "snapshots/%s", TAKING);
    int rc = d->ops->rename(d, from, to, e);
    return rc != 0 ? rc : d->ops->sync_dir(d, "snapshots", e);
}

void replica_snapshot_done(struct replica *r, const char *path, int code, mu_index index,
                           mu_term term, mu_index conf_index, struct slice conf)
{
    struct err e = {0};
    (void)path;
    r->is_taking = 0;
    if (code != 0 || r->is_closing || r->is_damaged) {
        return; /* the next one is tried after as much log again */
    }
    if (keep_file(r, term, index, &e) != 0) {
        log_warn("raft", "snapshot not kept", LOG_STR("why", e.text));
        return;
    }
    struct node_base base = {.index = index, .term = term, .conf_index = conf_index, .conf = conf};
    mu_index drop = node_snapshotted(r->node, &base, trailing(r), clock_mono_ms());
    if (drop > 0) {
        wal_drop_prefix(r->wal, drop);
    }
    snapshot_prune(r);
    replica_touch(r);
}
