/* SPDX-License-Identifier: Apache-2.0 */
/* config: history, diff, compact. */
#include <jansson.h>

#include "base/mem.h"
#include "base/text.h"
#include "tools/musterctl/cmd.h"
#include "tools/musterctl/config.h"

static void history_table(struct ctl *c, const json_t *versions)
{
    static const char *const heads[] = {"REVISION>", "VERSION>", "SIZE>",
                                        "TIME",      "AUTHOR",   "COMMENT"};
    struct ctl_grid g;
    ctl_grid_init(&g, heads, N_ELEMENTS(heads));
    for (size_t i = 0; i < json_array_size(versions); i++) {
        const json_t *o = json_array_get(versions, i);
        int is_deleted = ctl_true(o, "deleted");
        ctl_grid_u64(&g, ctl_u64(o, "revision"));
        ctl_grid_u64(&g, ctl_u64(o, "version"));
        if (is_deleted) {
            ctl_grid_colour(&g, CTL_RED, "deleted");
        } else {
            ctl_grid_u64(&g, ctl_u64(o, "size"));
        }
        ctl_grid_time(&g, &c->out, ctl_str(o, "time"));
        ctl_grid_text(&g, ctl_str(o, "author"));
        ctl_grid_text(&g, ctl_str(o, "comment"));
    }
    ctl_grid_print(&g, &c->out);
    ctl_grid_fini(&g);
}

static int history_get(struct ctl *c, uint64_t limit, uint64_t before, struct muster_answer **out)
{
    struct buf path;
    buf_init(&path);
    int rc = ctl_config_path(c, c->p.args[0], &path);
    if (rc == CTL_OK) {
        buf_append_str(&path, "/history");
        ctl_path_param_u64(&path, "limit", limit);
        if (before != 0) {
            ctl_path_param_u64(&path, "before", before);
        }
        rc = ctl_get(c, &path, "", out);
    }
    buf_fini(&path);
    return rc;
}

int ctl_config_history(struct ctl *c)
{
    struct muster_answer *a;
    int rc = history_get(c, ctl_opt_u64(&c->p, "limit"), ctl_opt_u64(&c->p, "before"), &a);
    if (rc != CTL_OK) {
        return rc;
    }
    if (c->out.format == CTL_JSON) {
        ctl_print_json(&c->out, slice_of(a->body, a->body_len));
    } else {
        json_t *doc = ctl_json(a);
        rc = doc != NULL ? CTL_OK : CTL_FAILED;
        history_table(c, json_object_get(doc, "versions"));
        if (rc == CTL_OK && c->out.format == CTL_TABLE && ctl_u64(doc, "next") != 0) {
            ctl_note(&c->out, "(older ones: --before %llu)",
                     (unsigned long long)ctl_u64(doc, "next"));
        }
        json_decref(doc);
    }
    muster_answer_free(a);
    return rc;
}

/* --- diff --- */

static int previous_revision(struct ctl *c, uint64_t *out)
{
    struct muster_answer *a;
    int rc = history_get(c, 2, 0, &a);
    if (rc != CTL_OK) {
        return rc;
    }
    json_t *doc = ctl_json(a);
    *out = ctl_u64(json_array_get(json_object_get(doc, "versions"), 1), "revision");
    json_decref(doc);
    muster_answer_free(a);
    return *out != 0
               ? CTL_OK
               : ctl_say(CTL_NOT_FOUND, "%s has no version before the current one", c->p.args[0]);
}

static int argument_revision(struct ctl *c, size_t i, uint64_t *out)
{
    if (i < c->p.n_args && (text_u64(slice_str(c->p.args[i]), UINT64_MAX, out) != 0 || *out == 0)) {
        return ctl_say(CTL_USAGE, "a revision must be a number from 1, not \"%.40s\"",
                       c->p.args[i]);
    }
    return CTL_OK;
}

static enum ctl_colour line_colour(struct slice line)
{
    int is_file =
        slice_has_prefix(line, SLICE_LIT("+++")) || slice_has_prefix(line, SLICE_LIT("---"));
    uint8_t first = line.len != 0 ? line.p[0] : ' ';
    return is_file        ? CTL_BOLD
           : first == '+' ? CTL_GREEN
           : first == '-' ? CTL_RED
           : first == '@' ? CTL_BLUE
                          : CTL_NO_COLOUR;
}

static void print_diff(struct ctl *c, struct slice text)
{
    struct buf b;
    if (!c->out.is_tty) {
        ctl_print_value(&c->out, text);
        return;
    }
    buf_init(&b);
    while (text.len != 0) {
        const uint8_t *nl = memchr(text.p, '\n', text.len);
        size_t n = nl != NULL ? (size_t)(nl - text.p) : text.len;
        struct slice line = slice_of(text.p, n);
        enum ctl_colour colour = line_colour(line);
        buf_clear(&b);
        ctl_escape(&b, line, 1);
        fprintf(c->out.f, "%s%.*s%s\n", colour != CTL_NO_COLOUR ? ctl_colour(&c->out, colour) : "",
                SLICE_FMT(buf_slice(&b)), colour != CTL_NO_COLOUR ? ctl_colour_end(&c->out) : "");
        n += nl != NULL;
        text = slice_of(text.p + n, text.len - n);
    }
    buf_fini(&b);
}

int ctl_config_diff(struct ctl *c)
{
    struct buf path;
    struct muster_answer *a;
    uint64_t from = 0, to = 0;
    int rc = argument_revision(c, 1, &from);
    if (rc == CTL_OK && (rc = argument_revision(c, 2, &to)) == CTL_OK && from == 0) {
        rc = previous_revision(c, &from);
    }
    if (rc != CTL_OK) {
        return rc;
    }
    buf_init(&path);
    rc = ctl_config_path(c, c->p.args[0], &path);
    if (rc == CTL_OK) {
        buf_append_str(&path, "/diff");
        ctl_path_param_u64(&path, "from", from);
        if (to != 0) {
            ctl_path_param_u64(&path, "to", to);
        }
        rc = ctl_get(c, &path, "", &a);
    }
    if (rc == CTL_OK) {
        if (c->out.format == CTL_JSON) {
            json_t *doc = json_pack("{s:I, s:o}", "from", (json_int_t)from, "to",
                                    to != 0 ? json_integer((json_int_t)to) : json_null());
            json_object_set_new(doc, "diff", json_stringn(a->body, a->body_len));
            json_dumpf(doc, c->out.f, JSON_COMPACT);
            fputc('\n', c->out.f);
            json_decref(doc);
        } else {
            print_diff(c, slice_of(a->body, a->body_len));
        }
        muster_answer_free(a);
    }
    buf_fini(&path);
    return rc;
}

/* --- compact --- */

int ctl_config_compact(struct ctl *c)
{
    struct buf path;
    int rc, has_more;
    uint64_t n = 0;
    buf_init(&path);
    buf_append_str(&path, "/cluster:compact");
    ctl_catch_signals(0);
    /* A bounded number of rows per request. */
    do {
        struct muster_answer *a;
        json_t *body = json_pack("{s:s, s:I}", "keep", ctl_opt(&c->p, "keep"), "versions",
                                 (json_int_t)ctl_opt_u64(&c->p, "versions"));
        rc = ctl_send(c, "POST", &path, body, &a);
        if (rc != CTL_OK) {
            break;
        }
        json_t *doc = ctl_json(a);
        has_more = ctl_true(doc, "more");
        json_decref(doc);
        muster_answer_free(a);
        ctl_progress(&c->out, "compacting, step %llu", (unsigned long long)++n);
    } while (has_more && !ctl_is_interrupted());
    ctl_progress_end(&c->out);
    buf_fini(&path);
    if (rc == CTL_OK && ctl_is_interrupted()) {
        return CTL_INTERRUPTED;
    }
    if (rc == CTL_OK) {
        ctl_note(&c->out, "compacted");
        if (c->out.format == CTL_JSON) {
            fprintf(c->out.f, "{\"more\":false}\n");
        }
    }
    return rc;
}
