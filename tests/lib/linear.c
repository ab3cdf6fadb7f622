/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and returns of one key stand in one list in order of time. The search walks it: a call that
 * fits the state is taken (lifted out with its return), and the walk begins anew at the front; a
 * return of an operation not taken means that the last choice was wrong. The set of taken
 * operations is remembered as the exclusive-or of 128 random bits per operation. */
#include "tests/lib/linear.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const uint64_t STEPS_DEFAULT = 10 * 1000 * 1000;

struct mark128 {
    uint64_t a, b;
    size_t n_unseen; /* of what is remembered: least of those that it took to get there */
};

struct node {
    const struct linear_op *op;
    struct node *prev, *next;
    struct node *ret; /* of a call; NULL: unknown */
    int is_return;
    size_t unseen; /* > 0: the n-th unknown write whose value nobody saw */
    struct mark128 bits;
};

struct taken {
    struct node *call;
    uint64_t state; /* before */
};

struct search {
    struct node head;
    struct node *nodes;
    size_t n_nodes, n_known;
    struct taken *stack;
    size_t depth, best;
    size_t n_unseen; /* of those taken */
    struct mark128 set;
    uint64_t state;
    struct mark128 *seen; /* open addressing; {0, 0} is free */
    size_t n_seen, cap_seen;
    uint64_t n_steps;
    const struct linear_op *stuck;
    uint64_t stuck_state;
};

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* --- the register --- */

static int is_there(uint64_t state, uint64_t expected)
{
    return expected == LINEAR_ANY ? state != LINEAR_ABSENT : state == expected;
}

/* 1: the operation may stand here; state is what it leaves. */
static int fits(const struct linear_op *op, uint64_t *state)
{
    if (op->kind == LINEAR_READ) {
        return *state == op->result;
    }
    if (op->kind == LINEAR_WRITE) {
        *state = op->value;
        return 1;
    }
    if (op->outcome == LINEAR_FAIL) {
        return !is_there(*state, op->expected) &&
               (op->result == LINEAR_ANY || op->result == *state);
    }
    if (!is_there(*state, op->expected)) {
        return 0; /* an unknown one that would have been refused changes nothing: it needs no place
                   */
    }
    *state = op->kind == LINEAR_CAS ? op->value : LINEAR_ABSENT;
    return 1;
}

/* Unknown writes whose values nobody saw are all alike: each puts the same other value there. So
 * they are taken in order of their calls only, and never two in a row. */
static const uint64_t OTHER = UINT64_MAX - 1;

static int may_take(const struct search *s, const struct node *n, uint64_t *state)
{
    if (n->unseen == 0) {
        return fits(n->op, state);
    }
    if (n->unseen != s->n_unseen + 1 || *state == OTHER) {
        return 0;
    }
    *state = OTHER;
    return 1;
}

/* --- what was seen before --- */

static void seen_put(struct mark128 *v, size_t cap, struct mark128 m)
{
    size_t i = m.a & (cap - 1);
    while (v[i].a != 0 || v[i].b != 0) {
        i = (i + 1) & (cap - 1);
    }
    v[i] = m;
}

static void seen_grow(struct search *s)
{
    size_t cap = s->cap_seen * 2;
    struct mark128 *v = mem_zalloc(cap * sizeof(*v));
    for (size_t i = 0; i < s->cap_seen; i++) {
        if (s->seen[i].a != 0 || s->seen[i].b != 0) {
            seen_put(v, cap, s->seen[i]);
        }
    }
    mem_free(s->seen);
    s->seen = v;
    s->cap_seen = cap;
}

/* 1 when this set in this state is new, or was reached with more unseen writes only. */
static int is_new(struct search *s, struct mark128 set, uint64_t state)
{
    struct mark128 m = {set.a ^ mix(state), set.b ^ mix(~state), s->n_unseen + (set.n_unseen > 0)};
    for (size_t i = m.a & (s->cap_seen - 1); s->seen[i].a != 0 || s->seen[i].b != 0;
         i = (i + 1) & (s->cap_seen - 1)) {
        if (s->seen[i].a == m.a && s->seen[i].b == m.b) {
            int is_better = m.n_unseen < s->seen[i].n_unseen; /* more are left for later */
            s->seen[i].n_unseen = is_better ? m.n_unseen : s->seen[i].n_unseen;
            return is_better;
        }
    }
    if (++s->n_seen * 2 > s->cap_seen) {
        seen_grow(s);
    }
    seen_put(s->seen, s->cap_seen, m);
    return 1;
}

/* --- the list --- */

static void unlink_node(struct node *n)
{
    n->prev->next = n->next;
    if (n->next != NULL) {
        n->next->prev = n->prev;
    }
}

static void relink_node(struct node *n)
{
    n->prev->next = n;
    if (n->next != NULL) {
        n->next->prev = n;
    }
}

static void lift(struct search *s, struct node *call, uint64_t state)
{
    s->stack[s->depth++] = (struct taken){call, s->state};
    s->state = state;
    s->n_unseen += call->unseen > 0;
    s->set.a ^= call->bits.a;
    s->set.b ^= call->bits.b;
    unlink_node(call);
    if (call->ret != NULL) {
        unlink_node(call->ret);
        s->n_known--;
    }
}

static struct node *put_back(struct search *s)
{
    struct taken *t = &s->stack[--s->depth];
    struct node *call = t->call;
    if (call->ret != NULL) {
        relink_node(call->ret);
        s->n_known++;
    }
    relink_node(call);
    s->n_unseen -= call->unseen > 0;
    s->set.a ^= call->bits.a;
    s->set.b ^= call->bits.b;
    s->state = t->state;
    return call;
}

static enum linear_answer walk(struct search *s, uint64_t max_steps)
{
    struct node *at = s->head.next;
    while (s->n_known > 0) {
        if (++s->n_steps > max_steps) {
            return LINEAR_GAVE_UP;
        }
        if (at != NULL && !at->is_return) {
            uint64_t state = s->state;
            struct mark128 set = {s->set.a ^ at->bits.a, s->set.b ^ at->bits.b, at->unseen};
            if (may_take(s, at, &state) && is_new(s, set, state)) {
                lift(s, at, state);
                at = s->head.next;
            } else {
                at = at->next;
            }
            continue;
        }
        if (at != NULL && s->depth >= s->best) {
            s->best = s->depth;
            s->stuck = at->op;
            s->stuck_state = s->state;
        }
        if (s->depth == 0) {
            return LINEAR_NO;
        }
        at = put_back(s)->next;
    }
    return LINEAR_YES;
}

/* --- one key --- */

struct moment {
    int64_t at;
    int is_return;
    size_t i; /* operation */
};

static int by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    if (x->at != y->at) {
        return x->at < y->at ? -1 : 1;
    }
    if (x->is_return != y->is_return) {
        return x->is_return - y->is_return; /* what touches may overlap */
    }
    return (x->i > y->i) - (x->i < y->i);
}

static int is_observed(const struct linear_op *ops, size_t n, uint64_t value)
{
    for (size_t i = 0; i < n; i++) {
        const struct linear_op *o = &ops[i];
        if (o->kind == LINEAR_READ
                ? o->result == value
                : o->kind != LINEAR_WRITE && (o->expected == value || o->result == value)) {
            return 1;
        }
    }
    return 0;
}

/* Could an unseen value explain anything, by not being what was expected or by being something? */
static int has_judge(const struct linear_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ops[i].kind != LINEAR_READ && ops[i].outcome == LINEAR_FAIL) {
            return 1;
        }
        if (ops[i].kind == LINEAR_DELETE && ops[i].expected == LINEAR_ANY) {
            return 1;
        }
    }
    return 0;
}

static int is_counted(const struct linear_op *ops, size_t n, const struct linear_op *o, int judge)
{
    if (o->outcome == LINEAR_FAIL) {
        return o->kind == LINEAR_CAS || o->kind == LINEAR_DELETE;
    }
    if (o->outcome == LINEAR_OK) {
        return 1;
    }
    /* Unknown: what nobody saw and nothing can depend on only makes the search longer. */
    return o->kind != LINEAR_READ &&
           (o->kind == LINEAR_DELETE || judge || is_observed(ops, n, o->value));
}

static int is_unseen(const struct linear_op *ops, size_t n, const struct linear_op *o)
{
    return o->outcome == LINEAR_UNKNOWN && o->kind == LINEAR_WRITE &&
           !is_observed(ops, n, o->value);
}

static void link_nodes(struct search *s, const struct linear_op *ops, size_t n_ops,
                       struct moment *m, size_t n)
{
    size_t n_unseen = 0;
    struct node *last = &s->head;
    struct node **calls = mem_zalloc((n_ops + 1) * sizeof(struct node *));
    qsort(m, n, sizeof(*m), by_time);
    for (size_t k = 0; k < n; k++) {
        struct node *x = &s->nodes[s->n_nodes++];
        *x = (struct node){.op = &ops[m[k].i], .is_return = m[k].is_return, .prev = last};

        last->next = x;
        last = x;
        if (m[k].is_return) {
            calls[m[k].i]->ret = x;
            s->n_known++;
        } else {
            calls[m[k].i] = x;
            if (is_unseen(ops, n_ops, x->op)) {
                x->unseen = ++n_unseen; /* no bits: which of them does not matter */
            } else {
                x->bits = (struct mark128){.a = mix(2 * k + 1), .b = mix(~(2 * k))};
            }
        }
    }
    mem_free(calls);
}

static void explain(const struct search *s, uint64_t key, struct linear_verdict *out)
{
    static const char *const kinds[] = {"read", "write", "cas", "delete"};
    static const char *const outcomes[] = {"ok", "fail", "unknown"};
    const struct linear_op *o = s->stuck;
    if (o == NULL) {
        snprintf(out->text, sizeof(out->text), "key %" PRIu64 ": no order", key);
        return;
    }
    snprintf(out->text, sizeof(out->text),
             "key %" PRIu64 ": process %u's %s (%s, value %" PRIu64 ", expected %" PRIu64
             ", result %" PRIu64 ") from %" PRId64 " to %" PRId64
             " ns has no place; the farthest order met it with %" PRIu64 " in the register",
             key, o->process, kinds[o->kind], outcomes[o->outcome], o->value, o->expected,
             o->result, o->call_ns, o->return_ns, s->stuck_state);
}

static enum linear_answer check_key(const struct linear_op *ops, size_t n, uint64_t max_steps,
                                    struct linear_verdict *out)
{
    struct search s = {.cap_seen = 1024};
    struct moment *m = mem_zalloc(2 * n * sizeof(*m));
    size_t n_m = 0;
    int judge = has_judge(ops, n);
    for (size_t i = 0; i < n; i++) {
        if (!is_counted(ops, n, &ops[i], judge)) {
            continue;
        }
        m[n_m++] = (struct moment){ops[i].call_ns, 0, i};
        if (ops[i].outcome != LINEAR_UNKNOWN) {
            m[n_m++] = (struct moment){ops[i].return_ns, 1, i};
        }
    }
    s.nodes = mem_zalloc((n_m + 1) * sizeof(*s.nodes));
    s.stack = mem_zalloc((n + 1) * sizeof(*s.stack));
    s.seen = mem_zalloc(s.cap_seen * sizeof(*s.seen));
    s.state = LINEAR_ABSENT;
    link_nodes(&s, ops, n, m, n_m);
    enum linear_answer a = walk(&s, max_steps);
    out->n_steps += s.n_steps;
    if (a != LINEAR_YES) {
        out->key = ops[0].key;
        explain(&s, ops[0].key, out);
    }
    mem_free(s.nodes);
    mem_free(s.stack);
    mem_free(s.seen);
    mem_free(m);
    return a;
}

static int by_key(const void *a, const void *b)
{
    const struct linear_op *x = a, *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return (x->call_ns > y->call_ns) - (x->call_ns < y->call_ns);
}

enum linear_answer linear_check(const struct linear_op *ops, size_t n, uint64_t max_steps,
                                struct linear_verdict *out)
{
    struct linear_verdict ignored, *v = out != NULL ? out : &ignored;
    struct linear_op *sorted = mem_dup(ops, n * sizeof(*ops));
    enum linear_answer all = LINEAR_YES;
    *v = (struct linear_verdict){0};
    qsort(sorted, n, sizeof(*sorted), by_key);
    for (size_t i = 0, k; i < n && all != LINEAR_NO; i = k) {
        for (k = i + 1; k < n && sorted[k].key == sorted[i].key;) {
            k++;
        }
        enum linear_answer a =
            check_key(sorted + i, k - i, max_steps != 0 ? max_steps : STEPS_DEFAULT, v);
        all = a != LINEAR_YES ? a : all;
    }
    mem_free(sorted);
    return all;
}
