/* SPDX-License-Identifier: Apache-2.0 */
/* config: list, get, put, delete, rollback. */
#include <jansson.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "tools/musterctl/cmd.h"
#include "tools/musterctl/config.h"

/* --- list --- */

static void join_words(const json_t *words, struct buf *out)
{
    for (size_t i = 0; i < json_array_size(words); i++) {
        buf_append_str(out, i != 0 ? "," : "");
        buf_append_str(out, json_string_value(json_array_get(words, i)));
    }
}

static void list_table(struct ctl *c, const json_t *configs)
{
    static const char *const heads[] = {"GROUP",  "KEY",  "REVISION>", "SIZE>",
                                        "AUTHOR", "TIME", "TAGS",      "DESCRIPTION"};
    struct ctl_grid g;
    ctl_grid_init(&g, heads, N_ELEMENTS(heads));
    for (size_t i = 0; i < json_array_size(configs); i++) {
        const json_t *o = json_array_get(configs, i);
        struct buf tags;
        buf_init(&tags);
        join_words(json_object_get(o, "tags"), &tags);
        buf_append_byte(&tags, '\0');
        ctl_grid_text(&g, ctl_str(o, "group"));
        ctl_grid_text(&g, ctl_str(o, "key"));
        ctl_grid_u64(&g, ctl_u64(o, "revision"));
        ctl_grid_u64(&g, ctl_u64(o, "size"));
        ctl_grid_text(&g, ctl_str(o, "author"));
        ctl_grid_time(&g, &c->out, ctl_str(o, "time"));
        ctl_grid_text(&g, (const char *)tags.p);
        ctl_grid_text(&g, ctl_str(o, "description"));
        buf_fini(&tags);
    }
    ctl_grid_print(&g, &c->out);
    ctl_grid_fini(&g);
}

int ctl_config_list(struct ctl *c)
{
    struct buf path;
    json_t *configs;
    buf_init(&path);
    buf_append_str(&path, "/configs");
    if (ctl_opt(&c->p, "group") != NULL) {
        ctl_path_param(&path, "group", ctl_opt(&c->p, "group"));
    }
    if (ctl_opt(&c->p, "search") != NULL) {
        ctl_path_param(&path, "search", ctl_opt(&c->p, "search"));
    }
    if (c->p.n_args > 0) {
        ctl_path_param(&path, "prefix", c->p.args[0]);
    }
    int rc = ctl_get_pages(c, &path, "configs", &configs, NULL);
    if (rc == CTL_OK && c->out.format == CTL_JSON) {
        json_t *doc = json_pack("{s:O}", "configs", configs);
        json_dumpf(doc, c->out.f, JSON_COMPACT);
        fputc('\n', c->out.f);
        json_decref(doc);
    } else if (rc == CTL_OK) {
        list_table(c, configs);
    }
    if (rc == CTL_OK) {
        json_decref(configs);
    }
    buf_fini(&path);
    return rc;
}

/* --- get --- */

static void get_json(struct ctl *c, const char *name, const struct muster_answer *a)
{
    char *group, *key;
    uint64_t rev = 0;
    if (ctl_split_name(c, name, &group, &key) != CTL_OK) {
        return;
    }
    text_u64(slice_str(a->etag), UINT64_MAX, &rev);
    json_t *doc =
        json_pack("{s:s, s:s, s:s, s:I, s:s, s:I}", "namespace", ctl_opt(&c->p, "namespace"),
                  "group", group, "key", key, "revision", (json_int_t)rev, "content_type",
                  a->content_type != NULL ? a->content_type : "", "size", (json_int_t)a->body_len);
    ctl_json_set_content(doc, slice_of(a->body, a->body_len));
    json_dumpf(doc, c->out.f, JSON_COMPACT);
    fputc('\n', c->out.f);
    json_decref(doc);
    mem_free(group);
    mem_free(key);
}

int ctl_config_get(struct ctl *c)
{
    struct buf path;
    struct muster_answer *a;
    buf_init(&path);
    int rc = ctl_config_path(c, c->p.args[0], &path);
    if (rc == CTL_OK && ctl_opt_has(&c->p, "revision")) {
        ctl_path_param_u64(&path, "revision", ctl_opt_u64(&c->p, "revision"));
    }
    if (rc == CTL_OK) {
        rc = ctl_get(c, &path, "", &a);
    }
    if (rc == CTL_OK) {
        if (c->out.format == CTL_JSON) {
            get_json(c, c->p.args[0], a);
        } else {
            ctl_print_value(&c->out, slice_of(a->body, a->body_len));
        }
        muster_answer_free(a);
    }
    buf_fini(&path);
    return rc;
}

/* --- put, rollback --- */

/* What PUT answers, in the form wanted. */
static int print_published(struct ctl *c, const char *verb, const struct muster_answer *a)
{
    if (c->out.format == CTL_JSON) {
        ctl_print_json(&c->out, slice_of(a->body, a->body_len));
        return CTL_OK;
    }
    json_t *doc = ctl_json(a);
    if (doc == NULL) {
        return CTL_FAILED;
    }
    if (c->out.format == CTL_PLAIN) {
        fprintf(c->out.f, "%llu\n", (unsigned long long)ctl_u64(doc, "revision"));
    } else {
        ctl_note(&c->out, "%s %s/%s: revision %llu, version %llu, %llu bytes", verb,
                 ctl_str(doc, "group"), ctl_str(doc, "key"),
                 (unsigned long long)ctl_u64(doc, "revision"),
                 (unsigned long long)ctl_u64(doc, "version"),
                 (unsigned long long)ctl_u64(doc, "size"));
    }
    json_decref(doc);
    return CTL_OK;
}

static int put_content(struct ctl *c, struct buf *out)
{
    const char *file = ctl_opt(&c->p, "file"), *text = c->p.n_args > 1 ? c->p.args[1] : NULL;
    if (file != NULL && text != NULL) {
        return ctl_say(CTL_USAGE, "give the content as an argument or by --file, not both");
    }
    if (file == NULL && text == NULL && isatty(STDIN_FILENO)) {
        return ctl_say(CTL_USAGE, "the content is missing: give it as an argument, by --file, or "
                                  "on standard input; - reads from this terminal");
    }
    if (text != NULL && strcmp(text, "-") != 0) {
        buf_append_str(out, text);
        return CTL_OK;
    }
    return ctl_read_file(file != NULL ? file : "-", out);
}

int ctl_config_put(struct ctl *c)
{
    struct ctl_publish p = {.if_revision = ctl_opt_u64(&c->p, "if-revision"),
                            .is_create_only = ctl_opt_has(&c->p, "create-only"),
                            .content_type = ctl_opt(&c->p, "type"),
                            .description = ctl_opt(&c->p, "description")};
    const char *file = ctl_opt(&c->p, "file"), *tag;
    struct buf content, tags;
    char *group, *key;
    size_t at = 0;
    if (p.if_revision != 0 && p.is_create_only) {
        return ctl_say(CTL_USAGE, "--if-revision and --create-only exclude each other");
    }
    int rc = ctl_split_name(c, c->p.args[0], &group, &key);
    if (rc != CTL_OK) {
        return rc;
    }
    buf_init(&content);
    buf_init(&tags);
    while ((tag = ctl_opt_next(&c->p, "tag", &at)) != NULL) {
        buf_append_str(&tags, tags.len != 0 ? "," : "");
        buf_append_str(&tags, tag);
    }
    buf_append_byte(&tags, '\0');
    if (p.content_type == NULL && file != NULL) {
        p.content_type = ctl_content_type_of(file);
    }
    ctl_publish_words(c, &p);
    rc = put_content(c, &content);
    p.group = group;
    p.key = key;
    p.content = buf_slice(&content);
    p.tags = (const char *)tags.p;
    struct muster_answer *a;
    if (rc == CTL_OK && (rc = ctl_publish(c, &p, &a)) == CTL_OK) {
        rc = print_published(c, "published", a);
        muster_answer_free(a);
    }
    buf_fini(&content);
    buf_fini(&tags);
    mem_free(group);
    mem_free(key);
    return rc;
}

int ctl_config_rollback(struct ctl *c)
{
    struct ctl_publish words = {0};
    struct buf path;
    uint64_t to;
    if (text_u64(slice_str(c->p.args[1]), UINT64_MAX, &to) != 0 || to == 0) {
        return ctl_say(CTL_USAGE, "REVISION must be a number from 1, not \"%.40s\"", c->p.args[1]);
    }
    buf_init(&path);
    int rc = ctl_config_path(c, c->p.args[0], &path);
    if (rc == CTL_OK) {
        struct muster_answer *a;
        char rev[24];
        ctl_publish_words(c, &words);
        buf_append(&path, "/rollback", sizeof("/rollback"));
        snprintf(rev, sizeof(rev), "%llu", (unsigned long long)ctl_opt_u64(&c->p, "if-revision"));
        json_t *body = json_pack("{s:I, s:s, s:s}", "revision", (json_int_t)to, "comment",
                                 words.comment != NULL ? words.comment : "", "author",
                                 words.author != NULL ? words.author : "");
        char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
        struct muster_request q = {.method = "POST",
                                   .path = (const char *)path.p,
                                   .body = text,
                                   .body_len = text != NULL ? strlen(text) : 0,
                                   .if_match = ctl_opt_has(&c->p, "if-revision") ? rev : NULL};
        rc = text == NULL ? ctl_say(CTL_USAGE, "an argument is not valid UTF-8")
                          : ctl_call(c, &q, "", &a);
        if (rc == CTL_OK) {
            rc = print_published(c, "rolled back", a);
            muster_answer_free(a);
        }
        free(text);
        json_decref(body);
    }
    buf_fini(&path);
    return rc;
}

/* --- delete --- */

int ctl_config_delete(struct ctl *c)
{
    struct buf path;
    struct muster_answer *a;
    char rev[24];
    buf_init(&path);
    int rc = ctl_config_path(c, c->p.args[0], &path);
    if (rc == CTL_OK) {
        buf_append_byte(&path, '\0');
        snprintf(rev, sizeof(rev), "%llu", (unsigned long long)ctl_opt_u64(&c->p, "if-revision"));
        struct muster_request q = {.method = "DELETE",
                                   .path = (const char *)path.p,
                                   .if_match = ctl_opt_has(&c->p, "if-revision") ? rev : NULL};
        rc = ctl_call(c, &q, "", &a);
    }
    if (rc == CTL_OK) {
        if (c->out.format == CTL_JSON) {
            fprintf(c->out.f, "{\"deleted\":true,\"revision\":%llu}\n",
                    (unsigned long long)a->revision);
        } else if (c->out.format == CTL_PLAIN) {
            fprintf(c->out.f, "%llu\n", (unsigned long long)a->revision);
        } else {
            ctl_note(&c->out, "deleted %s: revision %llu", c->p.args[0],
                     (unsigned long long)a->revision);
        }
        muster_answer_free(a);
    }
    buf_fini(&path);
    return rc;
}
