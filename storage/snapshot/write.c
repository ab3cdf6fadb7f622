/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/snapshot/format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "storage/db/longkey.h"
#include "storage/event.h"
#include "storage/store_impl.h"
#include "storage/view.h"

struct source {
    struct view *view;
    struct snapshot_writer *out;
    const volatile int *is_cancelled;
};

static int must_stop(const struct source *s)
{
    if (s->is_cancelled != NULL && *s->is_cancelled && s->out->rc == 0) {
        s->out->rc = err_set(s->out->err, MU_E_CLOSED, "writing the snapshot was cancelled");
    }
    return s->out->rc != 0;
}

static int copy_table(const struct source *s, enum db_table table)
{
    struct slice key, value;
    struct db_cur *c = db_cur_open(view_txn(s->view), table);
    int rc = db_cur_seek(c, slice_of(NULL, 0), &key, &value);
    while (rc == 0 && !must_stop(s)) {
        snapshot_put_row(s->out, table, key, value);
        rc = db_cur_next(c, &key, &value);
    }
    db_cur_close(c);
    return rc == MU_E_NOT_FOUND ? 0 : rc;
}

/* By logical key, each as a reference: the row itself is among the events. */
static int copy_rows(const struct source *s)
{
    struct slice key, value;
    struct event ev;
    struct row_meta m;
    uint8_t ref[EVENT_REF_SIZE];
    struct longkey_cur c;
    struct db_txn *t = view_txn(s->view);
    longkey_cur_open(&c, t);
    int rc = longkey_cur_seek(&c, slice_of((const uint8_t[]){0x02}, 1), &key, &value);
    while (rc == 0 && !must_stop(s)) {
        rc = event_resolve(t, value, &ev);
        rc = rc != 0 ? rc : row_meta_decode(ev.head, &m);
        if (rc == 0) {
            snapshot_put_row(s->out, DB_ROWS, key, event_ref(ref, m.mod_rev, m.mod_sub));
            rc = longkey_cur_next(&c, &key, &value);
        }
    }
    longkey_cur_close(&c);
    return rc == MU_E_NOT_FOUND ? 0 : rc;
}

static int copy_all(const struct source *s)
{
    int rc = 0;
    for (size_t i = 0; i < DB_TABLE_N && rc == 0; i++) {
        rc = snapshot_order[i] == DB_ROWS ? copy_rows(s) : copy_table(s, snapshot_order[i]);
    }
    return rc;
}

static int read_info(struct view *v, struct snapshot_info *out)
{
    struct slice conf;
    const struct meta *m = view_meta(v);
    int rc = meta_read_conf(view_txn(v), &conf);
    if (rc != 0) {
        return rc;
    }
    MU_INVARIANT(conf.len <= sizeof(out->conf));
    memset(out, 0, sizeof(*out));
    out->index = m->applied;
    out->term = m->applied_term;
    out->revision = m->revision;
    out->hash = m->hash;
    out->conf_index = m->conf_index;
    out->conf_len = conf.len;
    memcpy(out->cluster_id, m->cluster_id, sizeof(out->cluster_id));
    if (conf.len != 0) {
        memcpy(out->conf, conf.p, conf.len);
    }
    return 0;
}

static int write_file(struct view *v, int fd, const char *path, const volatile int *is_cancelled,
                      struct snapshot_info *out, struct err *e)
{
    struct snapshot_info info;
    struct snapshot_writer *w = mem_alloc(sizeof(*w));
    int rc = read_info(v, &info);
    if (rc == 0) {
        snapshot_put_header(w, fd, path, &info, e);
        rc = copy_all(&(struct source){v, w, is_cancelled});
    }
    if (rc != 0) {
        err_set(e, rc, "the store cannot be read");
    } else {
        rc = snapshot_put_end(w);
        info.n_rows = w->n_rows;
        info.size_bytes = w->size_bytes;
    }
    mem_free(w);
    rc = rc != 0 ? rc : files_sync(fd, path, e);
    if (rc == 0) {
        *out = info;
    }
    return rc;
}

int snapshot_write(struct store *s, const char *path, const volatile int *is_cancelled,
                   struct snapshot_info *out, struct err *e)
{
    char part[FILES_PATH_MAX];
    struct snapshot_info info;
    int n = snprintf(part, sizeof(part), "%s.part", path);
    if (n < 0 || n >= (int)sizeof(part)) {
        return err_set(e, MU_E_RANGE, "path too long");
    }
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return files_err(e, errno, "making", part);
    }
    struct view *v = view_open(s);
    int rc = write_file(v, fd, part, is_cancelled, &info, e);
    view_close(v);
    close(fd);
    rc = rc != 0 ? rc : files_rename(part, path, e);
    if (rc != 0) {
        (void)unlink(part);
        return rc;
    }
    *out = info;
    return 0;
}
