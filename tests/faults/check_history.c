/* SPDX-License-Identifier: Apache-2.0 */
/* check_history [--late-ms N] [--expect KIND] FILE...
 *
 * Reads the files as one history and says what is wrong with it. Exit status 0: nothing; 1:
 * something; 2: wrong usage or no history; 3: a search was given up. With --expect, which may be
 * repeated, 0 when findings of just those kinds are made ("none": no finding). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/faults/check.h"

enum { TOLD_MAX = 20, EXPECTED_MAX = 4 };

static const char *expected[EXPECTED_MAX];
static size_t n_hit[EXPECTED_MAX], n_expected, n_other, n_told;

static int key_order(const void *a, const void *b)
{
    const struct hist_op *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

void check_init(struct check *k, const struct history *h)
{
    *k = (struct check){.h = h, .late_ms = 6000, .wake_ms = 3000};
    k->keys = mem_zalloc((h->n + 1) * sizeof(*k->keys));
    k->names = mem_zalloc((h->n + 1) * sizeof(const char *));
    const struct hist_op **sorted = mem_zalloc((h->n + 1) * sizeof(const struct hist_op *));
    for (size_t i = 0; i < h->n; i++) {
        sorted[i] = &h->ops[i];
    }
    qsort(sorted, h->n, sizeof(const struct hist_op *), key_order);
    for (size_t i = 0; i < h->n; i++) {
        if (i == 0 || strcmp(sorted[i]->key, sorted[i - 1]->key) != 0) {
            k->names[k->n_keys++] = sorted[i]->key;
        }
        k->keys[sorted[i] - h->ops] = k->n_keys - 1;
    }
    mem_free(sorted);
}

void check_fini(struct check *k)
{
    mem_free(k->keys);
    mem_free(k->names);
}

void check_found(struct check *k, const char *kind, const char *format, ...)
{
    va_list args;
    k->n_found++;
    size_t which = 0;
    while (which < n_expected && strcmp(kind, expected[which]) != 0) {
        which++;
    }
    *(which < n_expected ? &n_hit[which] : &n_other) += 1;
    if (n_told++ >= TOLD_MAX) {
        return;
    }
    printf("violation %s: ", kind);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void check_count(struct check *k, const char *name, size_t n)
{
    if (!k->is_quiet) {
        printf("checked %s %zu\n", name, n);
    }
}

int check_is_write(const struct hist_op *o)
{
    return (o->kind == HIST_WRITE || o->kind == HIST_CAS || o->kind == HIST_DELETE ||
            o->kind == HIST_APPEND || o->kind == HIST_GRANT) &&
           (o->out == HIST_OK || o->out == HIST_UNKNOWN);
}

static void count_outcomes(const struct history *h)
{
    size_t n[HIST_OUT_N] = {0}, n_faults = 0;
    for (size_t i = 0; i < h->n; i++) {
        const struct hist_op *o = &h->ops[i];
        int is_op = o->kind != HIST_FAULT && o->kind != HIST_EVENT && o->kind != HIST_MARK &&
                    o->kind != HIST_STREAM;
        /* An answered wait that was not told the value knows what happened all the same. */
        n[o->kind == HIST_WAIT ? HIST_OK : o->out] += (size_t)is_op;
        n_faults += o->kind == HIST_FAULT;
    }
    printf("outcomes ok %zu fail %zu none %zu unknown %zu\n", n[HIST_OK], n[HIST_FAIL],
           n[HIST_NONE], n[HIST_UNKNOWN]);
    printf("faults %zu\n", n_faults);
}

static int verdict(const struct check *k)
{
    if (n_expected > 0) {
        int is_right = n_other == 0 && k->n_gave_up == 0;
        for (size_t i = 0; i < n_expected; i++) {
            is_right &= n_hit[i] > 0 || strcmp(expected[i], "none") == 0;
        }
        printf("verdict %s\n", is_right ? "as expected" : "not as expected");
        return is_right ? 0 : 1;
    }
    printf("verdict %s\n", k->n_found > 0 ? "bad" : k->n_gave_up > 0 ? "unknown" : "good");
    return k->n_found > 0 ? 1 : k->n_gave_up > 0 ? 3 : 0;
}

int main(int argc, char **argv)
{
    struct history h = {0};
    struct check k;
    int64_t late_ms = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--late-ms") == 0 && i + 1 < argc) {
            late_ms = strtoll(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--expect") == 0 && i + 1 < argc && n_expected < EXPECTED_MAX) {
            expected[n_expected++] = argv[++i];
        } else if (argv[i][0] == '-' || hist_read(&h, argv[i]) != 0) {
            fputs("usage: check_history [--late-ms N] [--expect KIND] FILE...\n", stderr);
            return 2;
        }
    }
    if (h.n == 0) {
        fputs("check_history: no operations\n", stderr);
        return 2;
    }
    check_init(&k, &h);
    k.late_ms = late_ms > 0 ? late_ms : k.late_ms;
    k.wake_ms = late_ms > 0 ? late_ms / 2 : k.wake_ms;
    count_outcomes(&h);
    check_nowhere(&k);
    check_registers(&k);
    check_order(&k);
    check_stale(&k);
    check_lists(&k);
    check_repeats(&k);
    check_fence(&k);
    check_watches(&k);
    check_versions(&k);
    check_leases(&k);
    check_waits(&k);
    check_groups(&k);
    int rc = verdict(&k);
    check_fini(&k);
    hist_fini(&h);
    return rc;
}
