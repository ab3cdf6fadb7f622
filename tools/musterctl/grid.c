/* SPDX-License-Identifier: Apache-2.0 */
/* Tables. A head that ends with '>' makes its column right-aligned. */
#include "base/mem.h"
#include "tools/musterctl/out.h"

/* The last column holds free text most of the time: it gives way first. */
enum { GAP = 2, NARROWEST = 8, LAST_FIRST_TO = 16 };

void ctl_grid_init(struct ctl_grid *g, const char *const *heads, size_t n_columns)
{
    *g = (struct ctl_grid){.heads = heads, .n_columns = n_columns};
}

void ctl_grid_fini(struct ctl_grid *g)
{
    for (size_t i = 0; i < g->n_cells; i++) {
        mem_free(g->cells[i].text);
    }
    mem_free(g->cells);
    *g = (struct ctl_grid){0};
}

void ctl_grid_colour(struct ctl_grid *g, enum ctl_colour colour, const char *text)
{
    struct buf b;
    if (g->n_cells == g->cap) {
        g->cap = g->cap == 0 ? 64 : g->cap * 2;
        g->cells = mem_realloc(g->cells, g->cap * sizeof(*g->cells));
    }
    buf_init(&b);
    ctl_escape(&b, slice_str(text != NULL ? text : ""), 0);
    g->cells[g->n_cells++] = (struct ctl_cell){mem_slice_str(buf_slice(&b)), colour};
    buf_fini(&b);
}

void ctl_grid_text(struct ctl_grid *g, const char *text)
{
    ctl_grid_colour(g, CTL_NO_COLOUR, text);
}

void ctl_grid_u64(struct ctl_grid *g, uint64_t v)
{
    char s[24];
    snprintf(s, sizeof(s), "%llu", (unsigned long long)v);
    ctl_grid_text(g, s);
}

void ctl_grid_time(struct ctl_grid *g, const struct ctl_out *o, const char *time)
{
    char s[32];
    const char *dot = strchr(time, '.');
    if (o->format != CTL_TABLE || dot == NULL || dot - time > 20) {
        ctl_grid_text(g, time);
        return;
    }
    snprintf(s, sizeof(s), "%.*sZ", (int)(dot - time), time);
    ctl_grid_text(g, s);
}

static void print_plain(const struct ctl_grid *g, FILE *f)
{
    for (size_t i = 0; i < g->n_cells; i++) {
        fputs(g->cells[i].text, f);
        fputc((i + 1) % g->n_columns == 0 ? '\n' : '\t', f);
    }
}

static struct slice head_of(const struct ctl_grid *g, size_t column, int *out_is_right)
{
    struct slice s = slice_str(g->heads[column]);
    *out_is_right = s.len != 0 && s.p[s.len - 1] == '>';
    s.len -= (size_t)*out_is_right;
    return s;
}

/* Natural widths (0: a column without a word in it, which is left out), then the widest columns
 * give way until the line fits. */
static void measure(const struct ctl_grid *g, unsigned limit, size_t widths[CTL_COLUMNS_MAX])
{
    size_t total = 0;
    int ignored;
    for (size_t c = 0; c < g->n_columns; c++) {
        size_t head = ctl_width(head_of(g, c, &ignored));
        widths[c] = g->n_cells == 0 ? head : 0;
        for (size_t i = c; i < g->n_cells; i += g->n_columns) {
            size_t w = ctl_width(slice_str(g->cells[i].text));
            widths[c] = w > widths[c] ? w : widths[c];
        }
        widths[c] = widths[c] != 0 && widths[c] < head ? head : widths[c];
        total += widths[c] != 0 ? widths[c] + (total != 0 ? GAP : 0) : 0;
    }
    size_t last = g->n_columns - 1;
    while (limit != 0 && total > limit && widths[last] > LAST_FIRST_TO) {
        widths[last]--;
        total--;
    }
    while (limit != 0 && total > limit) {
        size_t widest = 0;
        for (size_t c = 1; c < g->n_columns; c++) {
            widest = widths[c] > widths[widest] ? c : widest;
        }
        if (widths[widest] <= NARROWEST) {
            return;
        }
        widths[widest]--;
        total--;
    }
}

/* As much of text as fits, with an ellipsis when something is left out. */
static struct slice fit(struct slice text, size_t width, int *out_is_cut)
{
    *out_is_cut = ctl_width(text) > width;
    while (*out_is_cut && text.len != 0 && ctl_width(text) + 1 > width) {
        text.len--;
        while (text.len != 0 && (text.p[text.len] & 0xc0) == 0x80) {
            text.len--;
        }
    }
    return text;
}

static void pad(FILE *f, size_t n)
{
    while (n-- > 0) {
        fputc(' ', f);
    }
}

/* Blanks wait until something follows them, so that no line ends with any. */
static void print_cell(struct ctl_out *o, const struct ctl_cell *cell, size_t width, int is_right,
                       size_t *blanks)
{
    int is_cut;
    struct slice shown = fit(slice_str(cell->text), width, &is_cut);
    size_t used = ctl_width(shown) + (size_t)is_cut;
    size_t space = used < width ? width - used : 0;
    *blanks += is_right ? space : 0;
    if (shown.len != 0) {
        int has_colour = cell->colour != CTL_NO_COLOUR;
        pad(o->f, *blanks);
        *blanks = 0;
        fprintf(o->f, "%s%.*s%s%s", has_colour ? ctl_colour(o, cell->colour) : "", SLICE_FMT(shown),
                is_cut ? "…" : "", has_colour ? ctl_colour_end(o) : "");
    } else {
        *blanks += used;
    }
    *blanks += GAP + (is_right ? 0 : space);
}

void ctl_grid_print(const struct ctl_grid *g, struct ctl_out *o)
{
    size_t widths[CTL_COLUMNS_MAX], blanks = 0;
    if (o->format == CTL_PLAIN) {
        print_plain(g, o->f);
        return;
    }
    measure(g, o->width, widths);
    for (size_t i = 0; i < g->n_columns + g->n_cells; i++) {
        size_t c = i % g->n_columns;
        int is_right;
        char head_text[64];
        struct slice head = head_of(g, c, &is_right);
        struct ctl_cell cell = {.text = head_text, .colour = CTL_BOLD};
        snprintf(head_text, sizeof(head_text), "%.*s", SLICE_FMT(head));
        if (i >= g->n_columns) {
            cell = g->cells[i - g->n_columns];
        }
        if (widths[c] != 0) {
            print_cell(o, &cell, widths[c], is_right, &blanks);
        }
        if (c + 1 == g->n_columns) {
            fputc('\n', o->f);
            blanks = 0;
        }
    }
}
