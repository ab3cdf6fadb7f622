/* SPDX-License-Identifier: Apache-2.0 */
/* Myers, "An O(ND) Difference Algorithm and Its Variations" (1986), greedy form, after equal lines
 * at both ends are set aside. */
#include "server/api/diff.h"

#include "base/err.h"
#include "base/mem.h"

struct lines {
    struct slice *items;
    size_t n;
};

static void lines_split(struct slice s, struct lines *out)
{
    size_t cap = 0;
    *out = (struct lines){0};
    while (s.len > 0) {
        const uint8_t *nl = memchr(s.p, '\n', s.len);
        size_t n = nl != NULL ? (size_t)(nl - s.p) + 1 : s.len;
        if (out->n == cap) {
            cap = cap != 0 ? cap * 2 : 64;
            out->items = mem_realloc(out->items, cap * sizeof(*out->items));
        }
        out->items[out->n++] = slice_of(s.p, n);
        s = slice_of(s.p + n, s.len - n);
    }
}

/* One output line: ' ' from both, '-' from a, '+' from b. */
struct edit {
    char op;
    struct slice line;
};

struct script {
    struct edit *items;
    size_t n, cap;
};

static void script_add(struct script *s, char op, struct slice line)
{
    if (s->n == s->cap) {
        s->cap = s->cap != 0 ? s->cap * 2 : 64;
        s->items = mem_realloc(s->items, s->cap * sizeof(*s->items));
    }
    s->items[s->n++] = (struct edit){op, line};
}

static void script_replace(struct script *s, const struct slice *a, long n, const struct slice *b,
                           long m)
{
    for (long i = 0; i < n; i++) {
        script_add(s, '-', a[i]);
    }
    for (long i = 0; i < m; i++) {
        script_add(s, '+', b[i]);
    }
}

/* Furthest x on diagonal k with d edits, from the row of d-1. v is indexed by k + off. */
static long step_from(const long *v, long off, long k, long d)
{
    if (k == -d || (k != d && v[off + k - 1] < v[off + k + 1])) {
        return v[off + k + 1];
    }
    return v[off + k - 1] + 1;
}

/* Rows of v for each d are kept to walk back. Returns the number of edits, or -1 beyond the limit.
 */
static long search(const struct slice *a, long n, const struct slice *b, long m, long **trace,
                   long max)
{
    long off = max + 1;
    long *v = mem_zalloc((size_t)(2 * max + 3) * sizeof(*v));
    for (long d = 0; d <= max; d++) {
        trace[d] = mem_dup(v + off - d - 1, (size_t)(2 * d + 3) * sizeof(*v));
        for (long k = -d; k <= d; k += 2) {
            long x = step_from(v, off, k, d);
            long y = x - k;
            while (x < n && y < m && slice_eq(a[x], b[y])) {
                x++;
                y++;
            }
            v[off + k] = x;
            if (x >= n && y >= m) {
                mem_free(v);
                return d;
            }
        }
    }
    mem_free(v);
    return -1;
}

/* The two middles that are compared. */
struct sides {
    const struct slice *a, *b;
    long n, m;
};

/* Walk the trace back and write the script in reverse, then turn it round. */
static void backtrack(struct script *s, const struct sides *t, long **trace, long d)
{
    size_t start = s->n;
    long x = t->n, y = t->m;
    for (; d > 0; d--) {
        long k = x - y;
        const long *v = trace[d];
        long off = d + 1;
        int is_down = k == -d || (k != d && v[off + k - 1] < v[off + k + 1]);
        long pk = is_down ? k + 1 : k - 1;
        long px = v[off + pk], py = px - pk;
        while (x > px && y > py && x > (is_down ? px : px + 1)) {
            script_add(s, ' ', t->a[--x]);
            y--;
        }
        if (is_down) {
            script_add(s, '+', t->b[--y]);
        } else {
            script_add(s, '-', t->a[--x]);
        }
        MU_INVARIANT(x == px && y == py);
    }
    while (x > 0) {
        script_add(s, ' ', t->a[--x]);
    }
    for (size_t i = start, j = s->n; i + 1 < j; i++) {
        struct edit swap = s->items[i];
        s->items[i] = s->items[--j];
        s->items[j] = swap;
    }
}

static void middle(struct script *s, const struct slice *a, long n, const struct slice *b, long m)
{
    long max = n + m < DIFF_EDITS_MAX ? n + m : DIFF_EDITS_MAX;
    if (n == 0 || m == 0) {
        script_replace(s, a, n, b, m);
        return;
    }
    long **trace = mem_zalloc((size_t)(max + 1) * sizeof(*trace));
    long d = search(a, n, b, m, trace, max);
    if (d < 0) {
        script_replace(s, a, n, b, m);
    } else {
        backtrack(s, &(struct sides){a, b, n, m}, trace, d);
    }
    for (long i = 0; i <= max; i++) {
        mem_free(trace[i]);
    }
    mem_free(trace);
}

static void make_script(struct script *s, const struct lines *a, const struct lines *b)
{
    size_t head = 0, tail = 0;
    while (head < a->n && head < b->n && slice_eq(a->items[head], b->items[head])) {
        script_add(s, ' ', a->items[head++]);
    }
    while (tail < a->n - head && tail < b->n - head &&
           slice_eq(a->items[a->n - 1 - tail], b->items[b->n - 1 - tail])) {
        tail++;
    }
    middle(s, a->items + head, (long)(a->n - head - tail), b->items + head,
           (long)(b->n - head - tail));
    for (size_t i = a->n - tail; i < a->n; i++) {
        script_add(s, ' ', a->items[i]);
    }
}

static void put_line(struct buf *out, const struct edit *e)
{
    buf_append_byte(out, (uint8_t)e->op);
    buf_append_slice(out, e->line);
    if (e->line.len == 0 || e->line.p[e->line.len - 1] != '\n') {
        buf_append_str(out, "\n\\ No newline at end of file\n");
    }
}

/* End of the hunk that starts at `from`: the last change that is not followed by more than twice
 * the context. */
static size_t hunk_end(const struct script *s, size_t from)
{
    size_t last = from;
    for (size_t i = from; i < s->n && i - last <= 2 * DIFF_CONTEXT; i++) {
        if (s->items[i].op != ' ') {
            last = i;
        }
    }
    return last + 1 + DIFF_CONTEXT < s->n ? last + 1 + DIFF_CONTEXT : s->n;
}

static void put_hunk(struct buf *out, const struct script *s, size_t from, size_t to, size_t line_a,
                     size_t line_b)
{
    size_t n = 0, m = 0;
    for (size_t i = from; i < to; i++) {
        n += s->items[i].op != '+';
        m += s->items[i].op != '-';
    }
    buf_printf(out, "@@ -%zu,%zu +%zu,%zu @@\n", n != 0 ? line_a + 1 : line_a, n,
               m != 0 ? line_b + 1 : line_b, m);
    for (size_t i = from; i < to; i++) {
        put_line(out, &s->items[i]);
    }
}

static void put_script(struct buf *out, const struct script *s, const char *label_a,
                       const char *label_b)
{
    size_t i = 0, line_a = 0, line_b = 0, has_head = 0;
    while (i < s->n) {
        size_t next = i;
        while (next < s->n && s->items[next].op == ' ') {
            next++;
        }
        if (next == s->n) {
            return;
        }
        if (!has_head) {
            buf_printf(out, "--- %s\n+++ %s\n", label_a, label_b);
            has_head = 1;
        }
        size_t from = next - i > DIFF_CONTEXT ? next - DIFF_CONTEXT : i;
        line_a += from - i;
        line_b += from - i;
        size_t to = hunk_end(s, next);
        put_hunk(out, s, from, to, line_a, line_b);
        for (i = from; i < to; i++) {
            line_a += s->items[i].op != '+';
            line_b += s->items[i].op != '-';
        }
    }
}

void diff_unified(struct slice a, struct slice b, const char *label_a, const char *label_b,
                  struct buf *out)
{
    struct lines la, lb;
    struct script s = {0};
    lines_split(a, &la);
    lines_split(b, &lb);
    make_script(&s, &la, &lb);
    put_script(out, &s, label_a, label_b);
    mem_free(s.items);
    mem_free(la.items);
    mem_free(lb.items);
}
