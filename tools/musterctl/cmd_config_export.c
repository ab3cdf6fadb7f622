/* SPDX-License-Identifier: Apache-2.0 */
/* config export: every config as it was at one revision.
 *
 * A directory: DIR/GROUP/KEY with the content, and DIR/muster-export.json, whose rows name the file
 * and hold what it cannot. One document ("-"): the same rows with "content" or "content_base64"
 * instead of "file". */
#include <errno.h>
#include <jansson.h>
#include <sys/stat.h>

#include "tools/musterctl/cmd.h"
#include "tools/musterctl/config.h"

struct exporting {
    struct ctl *c;
    const char *dir; /* NULL: one document */
    uint64_t revision;
    json_t *rows;
    size_t n_bytes, n_skipped;
};

/* The content at the export's revision. NULL: it was not there then. */
static int content_at(struct exporting *x, const json_t *listed, struct muster_answer **out)
{
    struct muster_error e = {0};
    struct buf path;
    buf_init(&path);
    buf_append_str(&path, "/configs");
    ctl_path_segment(&path, ctl_str(listed, "group"));
    ctl_path_segment(&path, ctl_str(listed, "key"));
    ctl_path_param_u64(&path, "revision", x->revision);
    buf_append_byte(&path, '\0');
    struct muster_request q = {.method = "GET", .path = (const char *)path.p};
    *out = NULL;
    muster_status s = muster_call(x->c->m, &q, out, &e);
    buf_fini(&path);
    if (s == MUSTER_OK) {
        return CTL_OK;
    }
    *out = NULL;
    return s == MUSTER_NOT_FOUND ? CTL_OK : ctl_say(ctl_status_of(&e), "%s", e.text);
}

static int make_dir(const char *path)
{
    struct stat st;
    if (mkdir(path, 0777) == 0 ||
        (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))) {
        return CTL_OK;
    }
    return ctl_say(CTL_FAILED, "making the directory %s: %s", path,
                   strerror(errno == EEXIST ? ENOTDIR : errno));
}

/* DIR/GROUP/KEY; gives "GROUP/KEY". */
static int write_content(struct exporting *x, const json_t *listed, struct slice content,
                         struct buf *out_file)
{
    struct buf path;
    buf_init(&path);
    ctl_filename_encode(out_file, ctl_str(listed, "group"));
    buf_append_str(&path, x->dir);
    buf_append_byte(&path, '/');
    buf_append_slice(&path, buf_slice(out_file));
    buf_append_byte(&path, '\0');
    int rc = make_dir((const char *)path.p);
    path.len--;
    struct buf key;
    buf_init(&key);
    ctl_filename_encode(&key, ctl_str(listed, "key"));
    buf_append_byte(&path, '/');
    buf_append_slice(&path, buf_slice(&key));
    buf_append_byte(&path, '\0');
    buf_append_byte(out_file, '/');
    buf_append_slice(out_file, buf_slice(&key));
    buf_append_byte(out_file, '\0');
    if (rc == CTL_OK) {
        rc = ctl_write_file((const char *)path.p, content, 0644);
    }
    buf_fini(&key);
    buf_fini(&path);
    return rc;
}

static int export_one(struct exporting *x, const json_t *listed)
{
    struct muster_answer *a;
    int rc = content_at(x, listed, &a);
    if (rc != CTL_OK || a == NULL) {
        x->n_skipped += rc == CTL_OK;
        return rc;
    }
    struct slice content = slice_of(a->body, a->body_len);
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:O, s:O}", "group", ctl_str(listed, "group"), "key",
                  ctl_str(listed, "key"), "content_type",
                  a->content_type != NULL ? a->content_type : "text/plain", "description",
                  json_object_get(listed, "description"), "tags", json_object_get(listed, "tags"));
    if (x->dir == NULL) {
        ctl_json_set_content(row, content);
    } else {
        struct buf file;
        buf_init(&file);
        rc = write_content(x, listed, content, &file);
        json_object_set_new(row, "file", json_string((const char *)file.p));
        buf_fini(&file);
    }
    json_array_append_new(x->rows, row);
    x->n_bytes += content.len;
    muster_answer_free(a);
    return rc;
}

static int export_all(struct exporting *x, const json_t *configs)
{
    size_t n = json_array_size(configs);
    for (size_t i = 0; i < n; i++) {
        if (ctl_is_interrupted()) {
            return CTL_INTERRUPTED;
        }
        int rc = export_one(x, json_array_get(configs, i));
        if (rc != CTL_OK) {
            return rc;
        }
        ctl_progress(&x->c->out, "exporting %zu of %zu", i + 1, n);
    }
    return CTL_OK;
}

static int finish(struct exporting *x)
{
    struct ctl *c = x->c;
    json_t *doc = json_pack("{s:s, s:i, s:s, s:I, s:O}", "format", "muster-export", "version", 1,
                            "namespace", ctl_opt(&c->p, "namespace"), "revision",
                            (json_int_t)x->revision, "configs", x->rows);
    int rc = CTL_OK;
    if (x->dir == NULL) {
        json_dumpf(doc, c->out.f, JSON_INDENT(1));
        fputc('\n', c->out.f);
    } else {
        char path[4096], bytes[16];
        char *text = json_dumps(doc, JSON_INDENT(1));
        snprintf(path, sizeof(path), "%s/muster-export.json", x->dir);
        rc = ctl_write_file(path, slice_str(text), 0644);
        free(text);
        ctl_format_bytes(x->n_bytes, bytes);
        if (rc == CTL_OK) {
            ctl_note(&c->out, "exported %zu config%s, %s, as of revision %llu, to %s",
                     json_array_size(x->rows), json_array_size(x->rows) == 1 ? "" : "s", bytes,
                     (unsigned long long)x->revision, x->dir);
        }
        if (rc == CTL_OK && c->out.format == CTL_JSON) {
            fprintf(c->out.f, "{\"exported\":%zu,\"revision\":%llu}\n", json_array_size(x->rows),
                    (unsigned long long)x->revision);
        }
    }
    json_decref(doc);
    return rc;
}

int ctl_config_export(struct ctl *c)
{
    struct exporting x = {.c = c, .dir = strcmp(c->p.args[0], "-") != 0 ? c->p.args[0] : NULL};
    struct buf path;
    json_t *configs;
    buf_init(&path);
    buf_append_str(&path, "/configs");
    if (ctl_opt(&c->p, "group") != NULL) {
        ctl_path_param(&path, "group", ctl_opt(&c->p, "group"));
    }
    if (ctl_opt(&c->p, "prefix") != NULL) {
        ctl_path_param(&path, "prefix", ctl_opt(&c->p, "prefix"));
    }
    ctl_catch_signals(0);
    int rc = ctl_get_pages(c, &path, "configs", &configs, &x.revision);
    buf_fini(&path);
    if (rc != CTL_OK) {
        return rc;
    }
    x.rows = json_array();
    rc = x.dir != NULL ? make_dir(x.dir) : CTL_OK;
    if (rc == CTL_OK) {
        rc = export_all(&x, configs);
    }
    ctl_progress_end(&c->out);
    if (rc == CTL_OK) {
        rc = finish(&x);
    }
    json_decref(x.rows);
    json_decref(configs);
    return rc;
}
