/* SPDX-License-Identifier: Apache-2.0 */
/* config import: what an export holds, or a directory of GROUP/KEY files that somebody made or
 * changed. A file that muster-export.json does not name is taken with the default type. */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/mem.h"
#include "tools/musterctl/cmd.h"
#include "tools/musterctl/config.h"

struct importing {
    struct ctl *c;
    const char *dir; /* NULL: rows hold their contents */
    json_t *rows;    /* of the export */
    json_t *there;   /* "GROUP\nKEY" -> the row of GET /configs */
    size_t n_created, n_changed, n_equal, n_left, n_conflicts;
};

/* --- reading --- */

static int read_document(const char *path, json_t **out)
{
    struct buf text;
    json_error_t e;
    buf_init(&text);
    int rc = ctl_read_file(path, &text);
    if (rc == CTL_OK) {
        *out = json_loadb((const char *)text.p, text.len, JSON_REJECT_DUPLICATES, &e);
        if (*out == NULL) {
            rc = ctl_say(CTL_FAILED, "%s is no JSON: line %d: %s", path, e.line, e.text);
        }
    }
    buf_fini(&text);
    if (rc == CTL_OK &&
        (strcmp(ctl_str(*out, "format"), "muster-export") != 0 || ctl_u64(*out, "version") != 1 ||
         !json_is_array(json_object_get(*out, "configs")))) {
        json_decref(*out);
        rc = ctl_say(CTL_FAILED, "%s is no export of configs, or of another version", path);
    }
    return rc;
}

/* Files of one group that no row names yet. */
static int add_files(struct importing *m, const char *group_dir, const json_t *known)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", m->dir, group_dir);
    DIR *d = opendir(path);
    struct dirent *f;
    struct buf group, key, file;
    if (d == NULL) {
        return ctl_say(CTL_FAILED, "reading %s: %s", path, strerror(errno));
    }
    buf_init(&group);
    buf_init(&key);
    buf_init(&file);
    int is_group = ctl_filename_decode(&group, group_dir) == 0, rc = CTL_OK;
    while (rc == CTL_OK && (f = readdir(d)) != NULL) {
        struct stat st;
        buf_clear(&file);
        buf_printf(&file, "%s/%s", group_dir, f->d_name);
        buf_append_byte(&file, '\0');
        if (f->d_name[0] == '.' || json_object_get(known, (const char *)file.p) != NULL ||
            fstatat(dirfd(d), f->d_name, &st, 0) != 0 || !S_ISREG(st.st_mode)) {
            continue;
        }
        buf_clear(&key);
        if (!is_group || ctl_filename_decode(&key, f->d_name) != 0) {
            rc = ctl_say(CTL_FAILED,
                         "%s/%s: the name does not stand for a group and a key as export writes "
                         "them (unsafe characters are %%XX)",
                         m->dir, (const char *)file.p);
            continue;
        }
        const char *type = ctl_content_type_of(f->d_name);
        json_t *row = json_object();
        json_object_set_new(row, "group", json_stringn((const char *)group.p, group.len));
        json_object_set_new(row, "key", json_stringn((const char *)key.p, key.len));
        json_object_set_new(row, "content_type", json_string(type != NULL ? type : "text/plain"));
        json_object_set_new(row, "file", json_string((const char *)file.p));
        json_array_append_new(m->rows, row);
    }
    closedir(d);
    buf_fini(&group);
    buf_fini(&key);
    buf_fini(&file);
    return rc;
}

static int read_dir(struct importing *m)
{
    char path[4096];
    struct dirent *g;
    json_t *doc = NULL, *known = json_object();
    snprintf(path, sizeof(path), "%s/muster-export.json", m->dir);
    struct stat st;
    int rc = stat(path, &st) == 0 ? read_document(path, &doc) : CTL_OK;
    if (rc == CTL_OK && doc != NULL) {
        json_array_extend(m->rows, json_object_get(doc, "configs"));
        for (size_t i = 0; i < json_array_size(m->rows); i++) {
            json_object_set_new(known, ctl_str(json_array_get(m->rows, i), "file"), json_true());
        }
        json_decref(doc);
    }
    DIR *d = rc == CTL_OK ? opendir(m->dir) : NULL;
    if (rc == CTL_OK && d == NULL) {
        rc = ctl_say(CTL_FAILED, "reading %s: %s", m->dir, strerror(errno));
    }
    while (rc == CTL_OK && (g = readdir(d)) != NULL) {
        if (g->d_name[0] != '.' && fstatat(dirfd(d), g->d_name, &st, 0) == 0 &&
            S_ISDIR(st.st_mode)) {
            rc = add_files(m, g->d_name, known);
        }
    }
    if (d != NULL) {
        closedir(d);
    }
    json_decref(known);
    return rc;
}

/* A row's file is named by a document: it may not lead out of the directory. */
static int is_inside(const char *file)
{
    const char *slash = strchr(file, '/');
    return slash != NULL && slash != file && file[0] != '.' && slash[1] != '.' &&
           slash[1] != '\0' && strchr(slash + 1, '/') == NULL;
}

/* 1: there is a content, 0: its file was removed. */
static int row_content(struct importing *m, const json_t *row, struct buf *out, int *out_rc)
{
    const char *file = ctl_str(row, "file");
    char path[4096];
    struct stat st;
    *out_rc = CTL_OK;
    if (m->dir == NULL) {
        if (ctl_json_get_content(row, out) != 0) {
            *out_rc = ctl_say(CTL_FAILED, "%s/%s has no content that can be read",
                              ctl_str(row, "group"), ctl_str(row, "key"));
        }
        return 1;
    }
    if (!is_inside(file)) {
        *out_rc = ctl_say(CTL_FAILED,
                          "muster-export.json names the file \"%.200s\", which is not "
                          "in a folder of the export",
                          file);
        return 0;
    }
    snprintf(path, sizeof(path), "%s/%s", m->dir, file);
    if (stat(path, &st) != 0 && errno == ENOENT) {
        return 0;
    }
    *out_rc = ctl_read_file(path, out);
    return 1;
}

/* --- comparing and publishing --- */

static void there_name(struct buf *out, const json_t *row)
{
    buf_printf(out, "%s\n%s", ctl_str(row, "group"), ctl_str(row, "key"));
    buf_append_byte(out, '\0');
}

static int read_there(struct importing *m)
{
    struct buf path, name;
    json_t *list;
    buf_init(&path);
    buf_init(&name);
    buf_append_str(&path, "/configs");
    int rc = ctl_get_pages(m->c, &path, "configs", &list, NULL);
    for (size_t i = 0; rc == CTL_OK && i < json_array_size(list); i++) {
        buf_clear(&name);
        there_name(&name, json_array_get(list, i));
        json_object_set(m->there, (const char *)name.p, json_array_get(list, i));
    }
    if (rc == CTL_OK) {
        json_decref(list);
    }
    buf_fini(&path);
    buf_fini(&name);
    return rc;
}

static int is_equal(const json_t *row, const json_t *there, struct slice content)
{
    static const json_t *nothing; /* an absent member counts as an empty one */
    uint8_t digest[32];
    char hex[65];
    const json_t *tags = json_object_get(row, "tags");
    hash_sha256(content.p, content.len, digest);
    hash_hex(digest, sizeof(digest), hex);
    return strcmp(hex, ctl_str(there, "digest")) == 0 &&
           strcmp(ctl_str(row, "content_type"), ctl_str(there, "content_type")) == 0 &&
           strcmp(ctl_str(row, "description"), ctl_str(there, "description")) == 0 &&
           (tags == nothing || json_equal(tags, json_object_get(there, "tags")));
}

static int publish(struct importing *m, const json_t *row, const json_t *there,
                   struct slice content)
{
    struct buf tags;
    struct muster_answer *a;
    const json_t *list = json_object_get(row, "tags");
    struct ctl_publish p = {.group = ctl_str(row, "group"),
                            .key = ctl_str(row, "key"),
                            .content = content,
                            .content_type = ctl_str(row, "content_type"),
                            .description = ctl_str(row, "description"),
                            .if_revision = ctl_u64(there, "revision"),
                            .is_create_only = there == NULL};
    ctl_publish_words(m->c, &p);
    if (p.comment == NULL) {
        p.comment = "import";
    }
    buf_init(&tags);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *tag = json_string_value(json_array_get(list, i));
        buf_append_str(&tags, i != 0 ? "," : "");
        buf_append_str(&tags, tag != NULL ? tag : "");
    }
    buf_append_byte(&tags, '\0');
    p.tags = (const char *)tags.p;
    int rc = ctl_publish(m->c, &p, &a);
    if (rc == CTL_OK) {
        muster_answer_free(a);
    }
    buf_fini(&tags);
    return rc;
}

static int import_one(struct importing *m, const json_t *row)
{
    struct buf content, name;
    int rc = CTL_OK;
    buf_init(&content);
    buf_init(&name);
    int has_content = row_content(m, row, &content, &rc);
    there_name(&name, row);
    const json_t *there = json_object_get(m->there, (const char *)name.p);
    if (rc != CTL_OK || !has_content) {
        /* said already, or its file was removed: then it is not part of the import */
    } else if (there != NULL && is_equal(row, there, buf_slice(&content))) {
        m->n_equal++;
    } else if (there != NULL && ctl_opt_has(&m->c->p, "create-only")) {
        m->n_left++;
    } else {
        int is_dry = ctl_opt_has(&m->c->p, "dry-run");
        rc = is_dry ? CTL_OK : publish(m, row, there, buf_slice(&content));
        m->n_created += rc == CTL_OK && there == NULL;
        m->n_changed += rc == CTL_OK && there != NULL;
        m->n_conflicts += rc == CTL_CONFLICT;
        if (rc == CTL_OK) {
            ctl_progress_end(&m->c->out);
            ctl_note(&m->c->out, "%s %s/%s", there == NULL ? "create" : "change",
                     ctl_str(row, "group"), ctl_str(row, "key"));
        }
        rc = rc == CTL_CONFLICT ? CTL_OK : rc;
    }
    buf_fini(&content);
    buf_fini(&name);
    return rc;
}

static void summary(struct importing *m)
{
    int is_dry = ctl_opt_has(&m->c->p, "dry-run");
    if (m->c->out.format == CTL_JSON) {
        fprintf(m->c->out.f,
                "{\"dry_run\":%s,\"created\":%zu,\"changed\":%zu,\"equal\":%zu,\"left\":%zu,"
                "\"conflicts\":%zu}\n",
                is_dry ? "true" : "false", m->n_created, m->n_changed, m->n_equal, m->n_left,
                m->n_conflicts);
        return;
    }
    ctl_note(&m->c->out, "%s%zu created, %zu changed, %zu equal, %zu left alone, %zu in conflict",
             is_dry ? "dry run: " : "", m->n_created, m->n_changed, m->n_equal, m->n_left,
             m->n_conflicts);
}

static int import_all(struct importing *m)
{
    int rc = read_there(m);
    size_t n = json_array_size(m->rows);
    for (size_t i = 0; rc == CTL_OK && i < n; i++) {
        rc = ctl_is_interrupted() ? CTL_INTERRUPTED : import_one(m, json_array_get(m->rows, i));
        ctl_progress(&m->c->out, "importing %zu of %zu", i + 1, n);
    }
    ctl_progress_end(&m->c->out);
    summary(m);
    return rc == CTL_OK && m->n_conflicts != 0 ? CTL_CONFLICT : rc;
}

int ctl_config_import(struct ctl *c)
{
    struct importing m = {.c = c, .rows = json_array(), .there = json_object()};
    const char *from = c->p.args[0];
    struct stat st;
    json_t *doc;
    int rc;
    if (strcmp(from, "-") != 0 && stat(from, &st) == 0 && S_ISDIR(st.st_mode)) {
        m.dir = from;
        rc = read_dir(&m);
    } else if ((rc = read_document(from, &doc)) == CTL_OK) {
        json_array_extend(m.rows, json_object_get(doc, "configs"));
        json_decref(doc);
    }
    ctl_catch_signals(0);
    if (rc == CTL_OK) {
        rc = import_all(&m);
    }
    json_decref(m.rows);
    json_decref(m.there);
    return rc;
}
