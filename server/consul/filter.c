/* SPDX-License-Identifier: Apache-2.0 */
/* The expression: reading it by recursive descent, and asking it of items. The grammar is that of
 * go-bexpr (https://github.com/hashicorp/go-bexpr). */
#include "server/consul/filter.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/consul/filter_fields.h"
#include "server/consul/text.h"
#include "server/query/regex.h"

enum { PATH_MAX_PARTS = 4, NUMBER_MAX = 64 };

enum node_type { NODE_TERM, NODE_NOT, NODE_AND, NODE_OR };

struct path {
    struct slice text;
    struct slice parts[PATH_MAX_PARTS];
    size_t n;
    size_t key_at; /* the part that is a key of a map; 0: none is */
};

struct expr {
    enum node_type type;
    struct expr *left, *right;
    /* of a term */
    struct path path;
    enum match_op op;
    struct slice value;
    int64_t number;
    int truth;
    enum field_type field;
    struct regex *regex;
};

struct filter {
    struct expr *root;
    struct regex_budget budget;
};

struct reader {
    struct regex_memory m;
    struct filter *f;
    const struct field_table *table;
    struct slice text;
    size_t at;
    unsigned depth, n_terms, n_regex;
    struct err *e;
};

#define FAILED "Failed to create boolean expression evaluator: "

static int fail(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct reader *r, const char *fmt, ...)
{
    char what[sizeof(r->e->text)];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    return err_set(r->e, MU_E_BAD_REQUEST, FAILED "%s", what);
}

/* As go-bexpr tells places: line, column and offset. */
static int fail_at(struct reader *r, size_t at, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        column = r->text.p[i] == '\n' ? 1 : column + 1;
        line += r->text.p[i] == '\n';
    }
    return fail(r, "%zu:%zu (%zu): %s", line, column, at, what);
}

/* --- words --- */

static int peek(const struct reader *r)
{
    return r->at < r->text.len ? r->text.p[r->at] : -1;
}

static int is_space(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int skip_space(struct reader *r)
{
    size_t from = r->at;
    while (is_space(peek(r))) {
        r->at++;
    }
    return r->at > from;
}

static int is_name_char(int c)
{
    return c == '_' || (c > 0 && c < 128 && isalnum(c));
}

/* That word, and behind it what cannot belong to it. */
static int take_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);
    if (r->text.len - r->at < n || memcmp(r->text.p + r->at, word, n) != 0 ||
        (r->text.len - r->at > n && is_name_char(r->text.p[r->at + n]))) {
        return 0;
    }
    r->at += n;
    return 1;
}

/* Space, the word and space; nothing is taken when they are not there. */
static int take_spaced(struct reader *r, const char *word)
{
    size_t from = r->at;
    if (skip_space(r) && take_word(r, word) && skip_space(r)) {
        return 1;
    }
    r->at = from;
    return 0;
}

static struct slice keep(struct reader *r, struct slice s)
{
    uint8_t *p = r->m.alloc(r->m.arg, s.len + 1);
    if (s.len > 0) {
        memcpy(p, s.p, s.len);
    }
    p[s.len] = '\0';
    return slice_of(p, s.len);
}

static struct slice take_name(struct reader *r)
{
    size_t from = r->at;
    if (peek(r) > 0 && peek(r) < 128 && isalpha(peek(r))) {
        while (is_name_char(peek(r))) {
            r->at++;
        }
    }
    return slice_of(r->text.p + from, r->at - from);
}

static unsigned escape(int c)
{
    static const char from[] = "abfnrtv\\\"", to[] = "\a\b\f\n\r\t\v\\\"";
    const char *p = c > 0 ? strchr(from, c) : NULL;
    return p != NULL ? (unsigned char)to[p - from] : 0;
}

/* "...", as Go writes strings but for its numeric escapes, or `...`. */
static int take_string(struct reader *r, struct slice *out)
{
    size_t from = r->at, n = 0, end = from + 1;
    int quote = peek(r);
    while (end < r->text.len && r->text.p[end] != quote) {
        end += quote == '"' && r->text.p[end] == '\\' ? 2 : 1;
    }
    uint8_t *mem = r->m.alloc(r->m.arg, end - from + 1); /* no more than it needs: they are many */
    r->at++;
    while (peek(r) != -1 && peek(r) != quote) {
        int c = peek(r);
        r->at++;
        if (quote == '"' && c == '\n') {
            return fail_at(r, from, "rule \"string\": invalid syntax");
        }
        if (quote == '"' && c == '\\') {
            c = (int)escape(peek(r));
            r->at++;
            if (c == 0) {
                return fail_at(r, from, "rule \"string\": invalid syntax");
            }
        }
        mem[n++] = (uint8_t)c;
    }
    if (peek(r) != quote) {
        return fail_at(r, from, "rule \"string\": Unterminated string literal");
    }
    r->at++;
    mem[n] = '\0';
    *out = slice_of(mem, n);
    return 0;
}

static int take_number(struct reader *r, struct slice *out)
{
    size_t from = r->at;
    r->at += peek(r) == '-';
    size_t digits = r->at;
    while (isdigit(peek(r))) {
        r->at++;
    }
    int is_bad = r->at == digits || (r->text.p[digits] == '0' && r->at > digits + 1);
    if (!is_bad && peek(r) == '.') {
        size_t point = ++r->at;
        while (isdigit(peek(r))) {
            r->at++;
        }
        is_bad = r->at == point;
    }
    if (is_bad || (peek(r) != -1 && peek(r) != ')' && !is_space(peek(r)))) {
        return fail_at(r, r->at, "rule \"number\": Invalid number literal");
    }
    *out = keep(r, slice_of(r->text.p + from, r->at - from));
    return 0;
}

/* name(.name|["text"])* */
static int take_path(struct reader *r, struct path *out)
{
    size_t from = r->at;
    *out = (struct path){.n = 1};
    out->parts[0] = keep(r, take_name(r));
    while (peek(r) == '.' || peek(r) == '[') {
        struct slice part = {0};
        int is_index = peek(r) == '[';
        r->at++;
        if (is_index) {
            (void)skip_space(r);
            if (peek(r) != '"' && peek(r) != '`') {
                return fail_at(r, r->at, "rule \"index\": Invalid index");
            }
            if (take_string(r, &part) != 0) {
                return MU_E_BAD_REQUEST;
            }
            (void)skip_space(r);
            if (peek(r) != ']') {
                return fail_at(r, r->at, "rule \"index\": Unclosed index expression");
            }
            r->at++;
        } else {
            part = keep(r, take_name(r));
        }
        if (!is_index && part.len == 0) {
            return fail_at(r, r->at, "no match found, expected: [a-zA-Z]");
        }
        if (out->n < PATH_MAX_PARTS) {
            out->parts[out->n] = part;
        }
        out->n++;
    }
    out->text = keep(r, slice_of(r->text.p + from, r->at - from));
    return 0;
}

/* --- terms --- */

/* The member the path leads to: its type, or why there is none. */
static int resolve(struct reader *r, struct path *p, enum field_type *out)
{
    const struct field_table *t = r->table;
    size_t i = 0;
    while (i < p->n && p->n <= PATH_MAX_PARTS) {
        const struct field *f = filter_field(t, p->parts[i++]);
        if (f == NULL) {
            break;
        }
        if (i == p->n) {
            *out = f->type;
            return 0;
        }
        if (f->type == FIELD_MAP && i + 1 == p->n) {
            p->key_at = i;
            *out = FIELD_STR;
            return 0;
        }
        if (f->type == FIELD_STRUCT_MAP) {
            p->key_at = i++;
        }
        t = f->of;
        if (t == NULL) {
            break;
        }
    }
    return fail(r, "Selector \"%.*s\" is not valid", (int)(p->text.len < 100 ? p->text.len : 100),
                (const char *)p->text.p);
}

static int coerce_int(struct reader *r, struct expr *t)
{
    char *end;
    const char *text = (const char *)t->value.p;
    errno = 0;
    t->number = t->value.len < NUMBER_MAX && !is_space(text[0]) ? strtoll(text, &end, 0) : 0;
    if (t->value.len == 0 || t->value.len >= NUMBER_MAX || is_space(text[0]) || *end != '\0' ||
        errno == ERANGE) {
        return fail(r,
                    "Failed to coerce value \"%.64s\" for selector \"%.*s\": strconv.ParseInt: "
                    "parsing \"%.64s\": %s",
                    text, SLICE_FMT(t->path.text), text,
                    errno == ERANGE ? "value out of range" : "invalid syntax");
    }
    return 0;
}

static int coerce_bool(struct reader *r, struct expr *t)
{
    if (consul_text_bool(t->value, &t->truth) == 0) {
        return 0;
    }
    return fail(r,
                "Failed to coerce value \"%.64s\" for selector \"%.*s\": strconv.ParseBool: "
                "parsing \"%.64s\": invalid syntax",
                (const char *)t->value.p, SLICE_FMT(t->path.text), (const char *)t->value.p);
}

static int add_regex(struct reader *r, struct expr *t)
{
    char why[128];
    if (++r->n_regex > FILTER_REGEX_MAX) {
        return fail(r, "at most %d regular expressions can be given", FILTER_REGEX_MAX);
    }
    t->regex = regex_new(&r->m, &r->f->budget, t->value, why, sizeof(why));
    return t->regex != NULL ? 0
                            : fail(r,
                                   "Failed to compile regular expression \"%.100s\": error parsing "
                                   "regexp: %s",
                                   (const char *)t->value.p, why);
}

static int check_term(struct reader *r, struct expr *t)
{
    int rc = resolve(r, &t->path, &t->field);
    if (rc != 0) {
        return rc;
    }
    if (!filter_field_takes(t->field, t->op)) {
        return fail(r, "Invalid match operator \"%s\" for selector \"%.*s\"", filter_op_name(t->op),
                    SLICE_FMT(t->path.text));
    }
    if (++r->n_terms > FILTER_TERMS_MAX) {
        return fail(r, "at most %d terms can be given", FILTER_TERMS_MAX);
    }
    if (t->op == MATCH_REGEX || t->op == MATCH_NOT_REGEX) {
        return add_regex(r, t);
    }
    return t->field == FIELD_INT    ? coerce_int(r, t)
           : t->field == FIELD_BOOL ? coerce_bool(r, t)
                                    : 0;
}

/* What stands between a member and a value. 1 when there is one. */
static int take_op(struct reader *r, enum match_op *out, int *has_value)
{
    static const struct {
        const char *words[3];
        enum match_op op;
        int has_value;
    } ops[] = {
        {{"contains", NULL, NULL}, MATCH_IN, 1},   {{"not", "contains", NULL}, MATCH_NOT_IN, 1},
        {{"matches", NULL, NULL}, MATCH_REGEX, 1}, {{"not", "matches", NULL}, MATCH_NOT_REGEX, 1},
        {{"is", "empty", NULL}, MATCH_EMPTY, 0},   {{"is", "not", "empty"}, MATCH_NOT_EMPTY, 0},
    };
    size_t from = r->at;
    (void)skip_space(r);
    int is_equal = r->text.len - r->at >= 2 && memcmp(r->text.p + r->at, "==", 2) == 0;
    int is_unequal = r->text.len - r->at >= 2 && memcmp(r->text.p + r->at, "!=", 2) == 0;
    if (is_equal || is_unequal) {
        r->at += 2;
        (void)skip_space(r);
        *out = is_equal ? MATCH_EQUAL : MATCH_NOT_EQUAL;
        *has_value = 1;
        return 1;
    }
    for (size_t i = 0; i < N_ELEMENTS(ops); i++) {
        int is_there = 1;
        r->at = from;
        for (size_t k = 0; k < 3 && ops[i].words[k] != NULL && is_there; k++) {
            is_there = skip_space(r) && take_word(r, ops[i].words[k]);
        }
        if (is_there && (!ops[i].has_value || skip_space(r))) {
            *out = ops[i].op;
            *has_value = ops[i].has_value;
            return 1;
        }
    }
    r->at = from;
    return 0;
}

static int take_value(struct reader *r, struct slice *out)
{
    struct path p;
    int c = peek(r);
    if (c == '"' || c == '`') {
        return take_string(r, out);
    }
    if (c == '-' || (c > 0 && isdigit(c))) {
        return take_number(r, out);
    }
    if (c > 0 && c < 128 && isalpha(c)) {
        int rc = take_path(r, &p);
        *out = p.text;
        return rc;
    }
    return fail_at(
        r, r->at,
        "no match found, expected: \"-\", \"0\", \"\\\"\", \"`\", [ \\t\\r\\n], [1-9] or "
        "[a-zA-Z]");
}

/* value in member */
static int take_in(struct reader *r, struct expr *t, int *is_in)
{
    size_t from = r->at;
    int is_not = take_spaced(r, "not");
    r->at -= is_not; /* the space stands before the next word, too */
    *is_in = take_spaced(r, "in");
    if (!*is_in) {
        r->at = from;
        return 0;
    }
    t->op = is_not ? MATCH_NOT_IN : MATCH_IN;
    if (!(peek(r) > 0 && peek(r) < 128 && isalpha(peek(r)))) {
        return fail_at(r, r->at, "rule \"match\": Invalid selector");
    }
    return take_path(r, &t->path);
}

static int take_term(struct reader *r, struct expr **out)
{
    struct expr *t = r->m.alloc(r->m.arg, sizeof(*t));
    size_t from = r->at;
    int c = peek(r), is_in = 0, has_value = 0;
    *t = (struct expr){.type = NODE_TERM};
    *out = t;
    int is_name = c > 0 && c < 128 && isalpha(c);
    int rc = take_value(r, &t->value);
    rc = rc != 0 ? rc : take_in(r, t, &is_in);
    if (rc != 0 || is_in) {
        return rc != 0 ? rc : check_term(r, t);
    }
    if (!is_name) {
        return fail_at(r, r->at, "no match found, expected: \"in\", \"not\" or [ \\t\\r\\n]");
    }
    r->at = from;
    rc = take_path(r, &t->path);
    if (rc == 0 && !take_op(r, &t->op, &has_value)) {
        (void)skip_space(r);
        return fail_at(r, r->at,
                       "no match found, expected: \"!=\", \"==\", \"contains\", \"in\", \"is\", "
                       "\"matches\", \"not\" or [ \\t\\r\\n]");
    }
    rc = rc != 0 || !has_value ? rc : take_value(r, &t->value);
    return rc != 0 ? rc : check_term(r, t);
}

/* --- expressions --- */

static int take_or(struct reader *r, struct expr **out);

static struct expr *join(struct reader *r, enum node_type type, struct expr *left,
                         struct expr *right)
{
    struct expr *x = r->m.alloc(r->m.arg, sizeof(*x));
    *x = (struct expr){.type = type, .left = left, .right = right};
    return x;
}

static int take_group(struct reader *r, struct expr **out)
{
    if (peek(r) != '(') {
        return take_term(r, out);
    }
    r->at++;
    (void)skip_space(r);
    int rc = take_or(r, out);
    if (rc != 0) {
        return rc;
    }
    (void)skip_space(r);
    if (peek(r) != ')') {
        return fail_at(r, r->at, "rule \"grouping\": Unmatched parentheses");
    }
    r->at++;
    return 0;
}

/* `not` before an expression; a member may be called so, too. */
static int is_not(struct reader *r)
{
    size_t from = r->at;
    if (!take_word(r, "not") || !skip_space(r)) {
        r->at = from;
        return 0;
    }
    int is_operator = peek(r) == '=' || peek(r) == '!' || peek(r) == -1;
    r->at = is_operator ? from : r->at;
    return !is_operator;
}

static int take_not(struct reader *r, struct expr **out)
{
    if (++r->depth > FILTER_DEPTH_MAX) {
        return fail(r, "the expression is nested more than %d deep", FILTER_DEPTH_MAX);
    }
    int negates = is_not(r);
    int rc = negates ? take_not(r, out) : take_group(r, out);
    if (rc == 0 && negates) {
        *out = join(r, NODE_NOT, *out, NULL);
    }
    r->depth--;
    return rc;
}

static int take_and(struct reader *r, struct expr **out)
{
    struct expr *next;
    int rc = take_not(r, out);
    while (rc == 0 && take_spaced(r, "and")) {
        rc = take_not(r, &next);
        *out = join(r, NODE_AND, *out, next);
    }
    return rc;
}

static int take_or(struct reader *r, struct expr **out)
{
    struct expr *next;
    int rc = take_and(r, out);
    while (rc == 0 && take_spaced(r, "or")) {
        rc = take_and(r, &next);
        *out = join(r, NODE_OR, *out, next);
    }
    return rc;
}

struct filter *filter_read(const struct regex_memory *m, enum filter_kind kind, struct slice text,
                           struct err *e)
{
    struct filter *f = m->alloc(m->arg, sizeof(*f));
    struct reader r = {.m = *m, .f = f, .table = filter_table(kind), .text = text, .e = e};
    *f = (struct filter){.budget = {.left = FILTER_STEPS_MAX}};
    if (text.len > FILTER_TEXT_MAX) {
        (void)fail(&r, "the expression has %zu bytes, at most %d are read", text.len,
                   FILTER_TEXT_MAX);
        return NULL;
    }
    (void)skip_space(&r);
    if (take_or(&r, &f->root) != 0) {
        return NULL;
    }
    (void)skip_space(&r);
    if (r.at < text.len) {
        (void)fail_at(&r, r.at, "no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF");
        return NULL;
    }
    return f;
}

/* --- asking --- */

static int holds_in(const struct expr *t, const json_t *v)
{
    size_t i;
    json_t *item;
    if (json_is_string(v)) {
        return memmem(json_string_value(v), json_string_length(v), t->value.p, t->value.len) !=
               NULL;
    }
    if (json_is_object(v)) {
        return json_object_getn(v, (const char *)t->value.p, t->value.len) != NULL;
    }
    json_array_foreach (v, i, item) {
        if (json_is_string(item) &&
            slice_eq(t->value, slice_of(json_string_value(item), json_string_length(item)))) {
            return 1;
        }
    }
    return 0;
}

static int is_equal(const struct expr *t, const json_t *v)
{
    if (t->field == FIELD_INT) {
        return json_integer_value(v) == t->number;
    }
    if (t->field == FIELD_BOOL) {
        return json_is_true(v) == t->truth;
    }
    return slice_eq(t->value, slice_of(json_string_value(v), json_string_length(v)));
}

/* Of the member, NULL when it is not told: as if it were empty. */
static int holds(const struct expr *t, const json_t *v)
{
    switch (t->op) {
    case MATCH_EQUAL:
        return is_equal(t, v);
    case MATCH_NOT_EQUAL:
        return !is_equal(t, v);
    case MATCH_IN:
        return holds_in(t, v);
    case MATCH_NOT_IN:
        return !holds_in(t, v);
    case MATCH_EMPTY:
        return json_array_size(v) == 0 && json_object_size(v) == 0;
    case MATCH_NOT_EMPTY:
        return json_array_size(v) != 0 || json_object_size(v) != 0;
    default: {
        struct slice s = slice_of(json_string_value(v), json_string_length(v));
        return regex_matches(t->regex, s) == (t->op == MATCH_REGEX);
    }
    }
}

/* Along the path; of a list any item counts. A key that a map does not have fails what is asked of
 * it, and what is denied of it holds. */
static int reach(const struct expr *t, size_t i, const json_t *v, int of_map)
{
    size_t n;
    json_t *item;
    if (i == t->path.n) {
        int is_denied = t->op == MATCH_NOT_EQUAL || t->op == MATCH_NOT_IN ||
                        t->op == MATCH_NOT_REGEX || t->op == MATCH_EMPTY;
        return v == NULL && of_map ? is_denied : holds(t, v);
    }
    if (json_is_array(v)) {
        json_array_foreach (v, n, item) {
            if (reach(t, i, item, of_map)) {
                return 1;
            }
        }
        return 0;
    }
    struct slice part = t->path.parts[i];
    const json_t *next = json_object_getn(v, (const char *)part.p, part.len);
    return reach(t, i + 1, next, of_map || (next == NULL && i > 0 && i == t->path.key_at));
}

static int ask(const struct expr *x, const json_t *item)
{
    switch (x->type) {
    case NODE_NOT:
        return !ask(x->left, item);
    case NODE_AND:
        return ask(x->left, item) && ask(x->right, item);
    case NODE_OR:
        return ask(x->left, item) || ask(x->right, item);
    default:
        return reach(x, 0, item, 0);
    }
}

void filter_begin(struct filter *f)
{
    f->budget = (struct regex_budget){.left = FILTER_STEPS_MAX};
}

int filter_takes(struct filter *f, struct slice json)
{
    f->budget.left += filter_is_spent(f) ? 0 : FILTER_STEPS_ITEM;
    json_t *item = filter_is_spent(f) ? NULL : json_loadb((const char *)json.p, json.len, 0, NULL);
    int is_taken = item != NULL && ask(f->root, item);
    json_decref(item);
    return is_taken && !filter_is_spent(f);
}

int filter_is_spent(const struct filter *f)
{
    return f->budget.left == 0;
}
