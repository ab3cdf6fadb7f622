/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: a mapping of scalars, one level of sections. Anchors, aliases, tags,
 * lists and duplicate keys are refused (libyaml passes them through or overlooks them), so is
 * everything the table does not know. */
#include <errno.h>
#include <string.h>
#include <yaml.h>

#include "base/mem.h"
#include "server/conf/table.h"

enum { FILE_MAX = 256 * 1024, KEY_MAX_LEN = 512 };

struct reader {
    yaml_parser_t parser;
    const char *name;
    struct conf_parsed *out;
    struct err *e;
    unsigned char seen[CONF_ROWS_MAX];
    char section[KEY_MAX_LEN]; /* "" or "tls." */
};

static int fail_at(struct reader *r, const yaml_mark_t *m, const char *what, const char *detail)
{
    return err_set(r->e, MU_E_BAD_REQUEST, "%s:%zu:%zu: %s%s", r->name, m->line + 1, m->column + 1,
                   what, detail);
}

static int next_event(struct reader *r, yaml_event_t *ev)
{
    if (!yaml_parser_parse(&r->parser, ev)) {
        if (r->parser.error == YAML_MEMORY_ERROR || r->parser.error == YAML_NO_ERROR) {
            mem_ran_out();
        }
        return fail_at(r, &r->parser.problem_mark,
                       "not YAML: ", r->parser.problem != NULL ? r->parser.problem : "unreadable");
    }
    int has_anchor =
        (ev->type == YAML_SCALAR_EVENT && ev->data.scalar.anchor != NULL) ||
        (ev->type == YAML_MAPPING_START_EVENT && ev->data.mapping_start.anchor != NULL) ||
        ev->type == YAML_ALIAS_EVENT;
    if (has_anchor) {
        int rc = fail_at(r, &ev->start_mark, "anchors and aliases are not used here", "");
        yaml_event_delete(ev);
        return rc;
    }
    return 0;
}

static int unknown_key(struct reader *r, const yaml_mark_t *m, const char *key)
{
    char text[300];
    const char *near = conf_nearest(key);
    snprintf(text, sizeof(text), "\"%.80s\"%s%s%s", key, near != NULL ? "; did you mean \"" : "",
             near != NULL ? near : "", near != NULL ? "\"?" : "");
    return fail_at(r, m, "unknown key ", text);
}

static int take_scalar(struct reader *r, const char *key, const yaml_event_t *ev)
{
    size_t row;
    if (conf_row_of(slice_str(key), &row) != 0) {
        return unknown_key(r, &ev->start_mark, key);
    }
    if (r->seen[row]) {
        return fail_at(r, &ev->start_mark, "key given twice: ", key);
    }
    r->seen[row] = 1;
    struct err e = {0};
    int rc = conf_set(r->out, row, slice_of(ev->data.scalar.value, ev->data.scalar.length),
                      CONF_FILE, &e);
    return rc != 0 ? fail_at(r, &ev->start_mark, "", e.text) : 0;
}

static int read_mapping(struct reader *r);

static int read_section(struct reader *r, const char *key, const yaml_mark_t *m)
{
    if (r->section[0] != '\0') {
        return fail_at(r, m, "sections are one level deep, this is deeper: ", key);
    }
    snprintf(r->section, sizeof(r->section), "%.100s.", key);
    int rc = read_mapping(r);
    r->section[0] = '\0';
    return rc;
}

static int read_value(struct reader *r, const char *key)
{
    yaml_event_t ev;
    int rc = next_event(r, &ev);
    if (rc != 0) {
        return rc;
    }
    yaml_mark_t m = ev.start_mark;
    if (ev.type == YAML_SCALAR_EVENT) {
        rc = take_scalar(r, key, &ev);
    } else if (ev.type == YAML_MAPPING_START_EVENT) {
        rc = read_section(r, key, &m);
    } else {
        char text[KEY_MAX_LEN + 40];
        (void)snprintf(text, sizeof(text), "%.200s; several are written as one, with commas", key);
        rc = fail_at(r, &m, "a single value is expected for ", text);
    }
    yaml_event_delete(&ev);
    return rc;
}

/* Keys and values up to the end of the mapping whose start was read. */
static int read_mapping(struct reader *r)
{
    for (;;) {
        yaml_event_t ev;
        char key[2 * KEY_MAX_LEN];
        int rc = next_event(r, &ev);
        if (rc != 0) {
            return rc;
        }
        if (ev.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&ev);
            return 0;
        }
        if (ev.type != YAML_SCALAR_EVENT || ev.data.scalar.length >= 80 ||
            strlen((char *)ev.data.scalar.value) != ev.data.scalar.length) {
            rc = fail_at(r, &ev.start_mark, "a key is expected", "");
        } else {
            snprintf(key, sizeof(key), "%s%s", r->section, (char *)ev.data.scalar.value);
        }
        yaml_event_delete(&ev);
        if (rc == 0) {
            rc = read_value(r, key);
        }
        if (rc != 0) {
            return rc;
        }
    }
}

static int read_document(struct reader *r)
{
    for (;;) {
        yaml_event_t ev;
        int rc = next_event(r, &ev);
        if (rc != 0) {
            return rc;
        }
        int type = ev.type;
        yaml_mark_t m = ev.start_mark;
        int is_empty = type == YAML_SCALAR_EVENT && ev.data.scalar.length == 0;
        yaml_event_delete(&ev);
        if (type == YAML_STREAM_END_EVENT) {
            return 0;
        }
        if (type == YAML_MAPPING_START_EVENT) {
            rc = read_mapping(r);
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT &&
                   type != YAML_DOCUMENT_END_EVENT && !is_empty) {
            rc = fail_at(r, &m, "the file must be a mapping of keys to values", "");
        }
        if (rc != 0) {
            return rc;
        }
    }
}

int conf_parse_file_text(const char *name, struct slice text, struct conf_parsed *io, struct err *e)
{
    struct reader *r = &(struct reader){.name = name, .out = io, .e = e};
    if (text.len > FILE_MAX) {
        return err_set(e, MU_E_BAD_REQUEST, "%s has %zu bytes; a configuration has at most %d",
                       name, text.len, FILE_MAX);
    }
    if (!yaml_parser_initialize(&r->parser)) {
        mem_ran_out();
    }
    yaml_parser_set_input_string(&r->parser, text.p != NULL ? text.p : (const uint8_t *)"",
                                 text.len);
    int rc = read_document(r);
    yaml_parser_delete(&r->parser);
    return rc;
}
