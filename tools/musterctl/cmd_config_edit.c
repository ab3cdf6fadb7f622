/* SPDX-License-Identifier: Apache-2.0 */
/* config edit: fetch, let the editor change a private copy, publish over the fetched revision only.
 *
 * The copy is in a directory of its own with mode 0700, so that the file can have the key's ending
 * (editors choose their colours by it). It is removed when it was published or not changed, and
 * kept in every other case. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "base/mem.h"
#include "base/text.h"
#include "tools/musterctl/cmd.h"
#include "tools/musterctl/config.h"

enum { PATH_LEN = 4096 };

struct edit {
    char *group, *key;
    char dir[PATH_LEN], file[PATH_LEN];
    struct muster_answer *was; /* NULL: there is none yet */
    uint64_t revision;
    struct buf text;
};

static int fetch(struct ctl *c, struct edit *ed)
{
    struct muster_error e = {0};
    struct buf path;
    buf_init(&path);
    buf_append_str(&path, "/configs");
    ctl_path_segment(&path, ed->group);
    ctl_path_segment(&path, ed->key);
    buf_append_byte(&path, '\0');
    struct muster_request q = {.method = "GET", .path = (const char *)path.p};
    int rc = ctl_open(c, NULL, 0, &c->m);
    if (rc == CTL_OK && muster_call(c->m, &q, &ed->was, &e) != MUSTER_OK) {
        ed->was = NULL;
        rc = e.status == MUSTER_NOT_FOUND ? CTL_OK : ctl_say(ctl_status_of(&e), "%s", e.text);
    }
    if (ed->was != NULL && text_u64(slice_str(ed->was->etag), UINT64_MAX, &ed->revision) != 0) {
        rc = ctl_say(CTL_FAILED, "the answer has no revision");
    }
    buf_fini(&path);
    return rc;
}

static int write_copy(struct edit *ed)
{
    const char *tmp = getenv("TMPDIR");
    struct buf name;
    snprintf(ed->dir, sizeof(ed->dir), "%.2000s/musterctl.XXXXXX",
             tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
    if (mkdtemp(ed->dir) == NULL) {
        int rc = ctl_say(CTL_FAILED, "making the directory %s: %s", ed->dir, strerror(errno));
        ed->dir[0] = '\0';
        return rc;
    }
    buf_init(&name);
    ctl_filename_encode(&name, ed->key);
    snprintf(ed->file, sizeof(ed->file), "%.2100s/%.*s", ed->dir, SLICE_FMT(buf_slice(&name)));
    buf_fini(&name);
    struct slice text =
        ed->was != NULL ? slice_of(ed->was->body, ed->was->body_len) : (struct slice){0};
    return ctl_write_file(ed->file, text, 0600);
}

/* The variable may hold arguments ("emacs -nw"), so a shell takes it apart. */
static int run_editor(const char *file)
{
    const char *editor = getenv("VISUAL");
    int status = 0;
    if (editor == NULL || editor[0] == '\0') {
        editor = getenv("EDITOR");
    }
    if (editor == NULL || editor[0] == '\0') {
        editor = "vi";
    }
    char *line = mem_alloc(strlen(editor) + 8);
    memcpy(line, editor, strlen(editor));
    memcpy(line + strlen(editor), " \"$1\"", 6);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", line, "sh", file, (char *)NULL);
        _exit(127);
    }
    mem_free(line);
    if (pid < 0) {
        return ctl_say(CTL_FAILED, "starting the editor: %s", strerror(errno));
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? CTL_OK
               : ctl_say(CTL_FAILED, "the editor \"%s\" failed; nothing is published", editor);
}

static int is_unchanged(const struct edit *ed)
{
    return ed->was != NULL
               ? slice_eq(buf_slice(&ed->text), slice_of(ed->was->body, ed->was->body_len))
               : ed->text.len == 0;
}

static int publish(struct ctl *c, const struct edit *ed)
{
    struct ctl_publish p = {.group = ed->group,
                            .key = ed->key,
                            .content = buf_slice(&ed->text),
                            .content_type = ctl_opt(&c->p, "type"),
                            .if_revision = ed->revision,
                            .is_create_only = ed->was == NULL};
    struct muster_answer *a;
    if (p.content_type == NULL) {
        p.content_type = ed->was != NULL ? ed->was->content_type : ctl_content_type_of(ed->key);
    }
    ctl_publish_words(c, &p);
    int rc = ctl_publish(c, &p, &a);
    if (rc != CTL_OK) {
        return rc;
    }
    if (c->out.format == CTL_JSON) {
        ctl_print_json(&c->out, slice_of(a->body, a->body_len));
    } else if (c->out.format == CTL_PLAIN) {
        fprintf(c->out.f, "%s\n", a->etag);
    } else {
        ctl_note(&c->out, "published %s/%s: revision %s", ed->group, ed->key, a->etag);
    }
    muster_answer_free(a);
    return CTL_OK;
}

static int edit(struct ctl *c, struct edit *ed)
{
    int rc = fetch(c, ed);
    if (rc != CTL_OK || (rc = write_copy(ed)) != CTL_OK) {
        return rc;
    }
    int edited = run_editor(ed->file);
    if ((rc = ctl_read_file(ed->file, &ed->text)) != CTL_OK) {
        return rc;
    }
    if (is_unchanged(ed)) {
        unlink(ed->file);
        if (edited == CTL_OK) {
            ctl_note(&c->out, "%s/%s is unchanged; nothing is published", ed->group, ed->key);
        }
        return edited;
    }
    rc = edited == CTL_OK ? publish(c, ed) : edited;
    if (rc == CTL_OK) {
        unlink(ed->file);
    } else {
        ctl_say(rc, "your text is kept in %s", ed->file);
    }
    return rc;
}

int ctl_config_edit(struct ctl *c)
{
    struct edit ed = {0};
    int rc = ctl_split_name(c, c->p.args[0], &ed.group, &ed.key);
    if (rc != CTL_OK) {
        return rc;
    }
    buf_init(&ed.text);
    rc = edit(c, &ed);
    if (ed.dir[0] != '\0') {
        rmdir(ed.dir); /* only when nothing is kept in it */
    }
    muster_answer_free(ed.was);
    buf_fini(&ed.text);
    mem_free(ed.group);
    mem_free(ed.key);
    return rc;
}
