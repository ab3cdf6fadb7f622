/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot: save, inspect. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/musterctl/cmd.h"
#include "tools/musterctl/snapfile.h"

enum { PATH_LEN = 4096, SAVE_MAX_MS = 3600000, SHOW_EVERY_MS = 100 };

static int print(struct ctl *c, const char *path, const struct ctl_snap *s)
{
    char bytes[16];
    FILE *f = c->out.f;
    if (c->out.format == CTL_JSON) {
        json_t *doc = json_pack(
            "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "file", path,
            "cluster_id", s->cluster_id, "revision", (json_int_t)s->revision, "index",
            (json_int_t)s->index, "term", (json_int_t)s->term, "size", (json_int_t)s->size_bytes,
            "records", (json_int_t)s->n_records, "configs", (json_int_t)s->n_configs, "services",
            (json_int_t)s->n_services, "instances", (json_int_t)s->n_instances, "leases",
            (json_int_t)s->n_of_table[3], "members", s->members);
        json_dumpf(doc, f, JSON_COMPACT);
        fputc('\n', f);
        json_decref(doc);
        return CTL_OK;
    }
    ctl_format_bytes(s->size_bytes, bytes);
    fprintf(f, "complete and undamaged: %s, %llu records\n", bytes,
            (unsigned long long)s->n_records);
    fprintf(f, "cluster    %s\n", s->cluster_id);
    fprintf(f, "revision   %llu (log index %llu, term %llu)\n", (unsigned long long)s->revision,
            (unsigned long long)s->index, (unsigned long long)s->term);
    ctl_line(&c->out, "members    %s", s->members);
    fprintf(f, "configs    %llu (of each kind, with what was deleted and is still kept)\n",
            (unsigned long long)s->n_configs);
    fprintf(f, "services   %llu\n", (unsigned long long)s->n_services);
    fprintf(f, "instances  %llu\n", (unsigned long long)s->n_instances);
    fprintf(f, "leases     %llu\n", (unsigned long long)s->n_of_table[3]);
    return CTL_OK;
}

int ctl_snapshot_inspect(struct ctl *c)
{
    struct ctl_snap s;
    struct err e = {0};
    int rc = ctl_snap_check(c->p.args[0], &s, &e);
    if (rc != 0) {
        return ctl_say(rc == MU_E_NOT_FOUND ? CTL_NOT_FOUND : CTL_FAILED, "%s", e.text);
    }
    return print(c, c->p.args[0], &s);
}

/* --- save --- */

struct save {
    struct ctl *c;
    int fd, errnum;
    uint64_t done;
    int64_t shown_at;
    char part[PATH_LEN];
};

static void show(struct save *s, int64_t total)
{
    char done[16], all[16];
    int64_t now = clock_mono_ms();
    if (now - s->shown_at < SHOW_EVERY_MS) {
        return;
    }
    s->shown_at = now;
    ctl_format_bytes(s->done, done);
    if (total <= 0) {
        ctl_progress(&s->c->out, "saving: %s", done);
        return;
    }
    char bar[31];
    size_t n = (size_t)((double)s->done / (double)total * 30);
    memset(bar, ' ', 30);
    memset(bar, '=', n < 30 ? n : 30);
    bar[30] = '\0';
    ctl_format_bytes((uint64_t)total, all);
    ctl_progress(&s->c->out, "saving: [%s] %s of %s", bar, done, all);
}

static int on_data(void *user, const void *data, size_t len, int64_t total)
{
    struct save *s = user;
    const uint8_t *p = data;
    while (len != 0 && !ctl_is_interrupted()) {
        ssize_t n = write(s->fd, p, len);
        if (n < 0 && errno != EINTR) {
            s->errnum = errno;
            return -1;
        }
        n = n < 0 ? 0 : n;
        s->done += (uint64_t)n;
        p += n;
        len -= (size_t)n;
    }
    show(s, total);
    return ctl_is_interrupted() ? -1 : 0;
}

static int download(struct save *s)
{
    struct muster_error e = {0};
    struct muster_answer *a;
    struct muster_request q = {.method = "GET",
                               .path = "/snapshot",
                               .timeout_ms = SAVE_MAX_MS,
                               .on_data = on_data,
                               .user = s};
    /* A request this long is worth making only where somebody answers. */
    struct buf path;
    buf_init(&path);
    buf_append_str(&path, "/cluster");
    json_t *doc;
    int rc = ctl_get_json(s->c, &path, "", &doc);
    buf_fini(&path);
    if (rc != CTL_OK) {
        return rc;
    }
    json_decref(doc);
    muster_status status = muster_call(s->c->m, &q, &a, &e);
    ctl_progress_end(&s->c->out);
    if (status == MUSTER_OK) {
        muster_answer_free(a);
        return CTL_OK;
    }
    if (ctl_is_interrupted()) {
        return ctl_say(CTL_INTERRUPTED, "interrupted; nothing is kept");
    }
    if (s->errnum != 0) {
        return ctl_say(CTL_FAILED, "writing %s: %s", s->part, strerror(s->errnum));
    }
    return ctl_say(ctl_status_of(&e), "%s", e.text);
}

/* Checked and on disk before it gets its name. */
static int finish(struct save *s, const char *path, struct ctl_snap *out)
{
    struct err e = {0};
    if (fsync(s->fd) != 0) {
        return ctl_say(CTL_FAILED, "writing %s: %s", s->part, strerror(errno));
    }
    if (ctl_snap_check(s->part, out, &e) != 0) {
        return ctl_say(CTL_FAILED, "what was received is no good: %s", e.text);
    }
    if (ctl_opt_has(&s->c->p, "force") ? rename(s->part, path) != 0
                                       : link(s->part, path) != 0 || unlink(s->part) != 0) {
        return ctl_say(CTL_FAILED, "naming %s: %s", path, strerror(errno));
    }
    return CTL_OK;
}

int ctl_snapshot_save(struct ctl *c)
{
    struct save s = {.c = c};
    struct ctl_snap snap;
    const char *path = c->p.args[0];
    char bytes[16];
    int n = snprintf(s.part, sizeof(s.part), "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof(s.part)) {
        return ctl_say(CTL_USAGE, "the path is too long");
    }
    if (!ctl_opt_has(&c->p, "force") && access(path, F_OK) == 0) {
        return ctl_say(CTL_CONFLICT, "%s is there already; --force writes over it", path);
    }
    s.fd = mkostemp(s.part, O_CLOEXEC); /* mode 0600 */
    if (s.fd < 0) {
        return ctl_say(CTL_FAILED, "writing %s: %s", path, strerror(errno));
    }
    ctl_catch_signals(0);
    int rc = download(&s);
    if (rc == CTL_OK) {
        rc = finish(&s, path, &snap);
    }
    close(s.fd);
    if (rc != CTL_OK) {
        unlink(s.part);
        return rc;
    }
    if (c->out.format == CTL_JSON) {
        return print(c, path, &snap);
    }
    ctl_format_bytes(snap.size_bytes, bytes);
    ctl_note(&c->out, "saved %s: %s, revision %llu, %llu configs, %llu instances; checked", path,
             bytes, (unsigned long long)snap.revision, (unsigned long long)snap.n_configs,
             (unsigned long long)snap.n_instances);
    return CTL_OK;
}
