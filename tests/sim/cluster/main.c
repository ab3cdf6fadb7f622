/* SPDX-License-Identifier: Apache-2.0 */
/* sim_cluster [-s seed] [-c count] [-t fault ms] [-n voters] [-d 3,5: faults left out] [-v trace]
 *             [-r twice, compare] [-k do not shrink] [-f file of seeds] [-x a find is wanted]
 *             [-m stop after so many seconds]
 *
 * Each seed runs in a child. One that fails is printed with what failed, the faults that are needed
 * for it, and the command line that runs it again. Exit 1 when one failed; with -x when none did.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/cluster/world.h"

struct arguments {
    struct sim_options o;
    uint64_t count;
    const char *file;
    int is_twice, is_kept, is_wanted;
    int64_t max_s;
};

static struct sim_outcome *shared; /* with the child */
static struct sim_outcome total;
static uint64_t n_bad, n_run;

static int64_t real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void remove_files(const char *root)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    if (system(command) != 0) {
        fprintf(stderr, "cannot remove %s\n", root);
    }
}

static void child(const struct sim_options *o)
{
    alarm(120);
    if (!o->is_traced && freopen("/dev/null", "w", stderr) == NULL) {
        _exit(3);
    }
    world_run(o, shared);
    _exit(0);
}

static void run_seed(const struct sim_options *o, struct sim_outcome *out)
{
    struct sim_options mine = *o;
    int status = 0;
    snprintf(mine.root, sizeof(mine.root), "/dev/shm/muster-sim.XXXXXX");
    if (mkdtemp(mine.root) == NULL) {
        perror("mkdtemp");
        exit(2);
    }
    memset(shared, 0, sizeof(*shared));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        child(&mine);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    *out = *shared;
    if (!out->is_bad && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        out->is_bad = 1;
        snprintf(out->why, sizeof(out->why), "the process ended with %s %d",
                 WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    remove_files(mine.root);
}

/* --- a seed that fails --- */

static int is_dropped(const struct sim_options *o, int i)
{
    return (o->dropped[i / 64] >> (i % 64) & 1) != 0;
}

/* Leave out one fault after the other, as long as something still fails. */
static void shrink(struct sim_options *o, struct sim_outcome *bad)
{
    for (int i = 0; i < bad->n_faults; i++) {
        struct sim_options less = *o;
        struct sim_outcome x;
        less.dropped[i / 64] |= UINT64_C(1) << (i % 64);
        if (is_dropped(o, i)) {
            continue;
        }
        run_seed(&less, &x);
        if (x.is_bad) {
            *o = less;
            *bad = x;
        }
    }
}

static void print_faults(const struct sim_options *o)
{
    static struct world w;
    static struct sim_outcome unused;
    world = &w;
    w.o = *o;
    w.out = &unused;
    faults_plan();
    printf("  %d voters%s%s%s%s%s\n", w.mix.n, w.mix.has_snapshots ? ", snapshots" : "",
           w.mix.has_members ? ", members" : "", w.mix.has_damage ? ", damage" : "",
           w.mix.has_bias ? ", leaders cut off" : "", w.mix.has_clocks ? ", clocks" : "");
    for (int i = 0; i < w.n_faults; i++) {
        char text[160];
        if (!w.faults[i].is_dropped) {
            fault_text(&w.faults[i], text, sizeof(text));
            printf("  fault %d: %s\n", i, text);
        }
    }
}

static void report(const struct arguments *a, struct sim_options *o, struct sim_outcome *bad)
{
    printf("seed %llu: %s\n", (unsigned long long)o->seed, bad->why);
    if (a->is_kept) {
        return;
    }
    shrink(o, bad);
    printf("  shrunk: %s\n", bad->why);
    print_faults(o);
    printf("  again: sim_cluster -s %llu -t %lld", (unsigned long long)o->seed,
           (long long)o->fault_ms);
    if (o->n_voters != 0) {
        printf(" -n %d", o->n_voters);
    }
    const char *sep = " -d ";
    for (int i = 0; i < bad->n_faults; i++) {
        if (is_dropped(o, i)) {
            printf("%s%d", sep, i);
            sep = ",";
        }
    }
    printf(" -v\n");
}

/* --- many seeds --- */

static void add_up(const struct sim_outcome *x)
{
    total.events += x->events;
    total.turns += x->turns;
    total.writes_ok += x->writes_ok;
    total.writes_unknown += x->writes_unknown;
    total.reads_ok += x->reads_ok;
    total.applied += x->applied;
    total.elections += x->elections;
    total.crashes += x->crashes;
    total.watched += x->watched;
    total.compacted += x->compacted;
    total.leases_ended += x->leases_ended;
    total.keepalives_ok += x->keepalives_ok;
    total.snapshots += x->snapshots;
    total.installs += x->installs;
    total.changes += x->changes;
    total.rejoins += x->rejoins;
    total.virtual_us += x->virtual_us;
    total.faults += (uint64_t)x->n_faults;
}

static void one(const struct arguments *a, uint64_t seed)
{
    struct sim_options o = a->o;
    struct sim_outcome x, y;
    o.seed = seed;
    run_seed(&o, &x);
    n_run++;
    if (!x.is_bad && a->is_twice) {
        run_seed(&o, &y);
        if (x.trace != y.trace || x.events != y.events) {
            x.is_bad = 1;
            snprintf(x.why, sizeof(x.why), "two runs differ: %llx and %llx",
                     (unsigned long long)x.trace, (unsigned long long)y.trace);
        }
    }
    add_up(&x);
    if (x.is_bad) {
        n_bad++;
        report(a, &o, &x);
    }
}

static void from_file(const struct arguments *a)
{
    char line[256];
    FILE *f = fopen(a->file, "r");
    if (f == NULL) {
        perror(a->file);
        exit(2);
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        char *end;
        uint64_t seed = strtoull(line, &end, 10);
        if (end != line && line[0] != '#') {
            one(a, seed);
        }
    }
    fclose(f);
}

static void print_total(int64_t ms)
{
#define N(x) ((unsigned long long)total.x)
    printf("%llu of %llu seeds failed; %lld ms, %.0f seeds a minute\n", (unsigned long long)n_bad,
           (unsigned long long)n_run, (long long)ms,
           ms > 0 ? (double)n_run * 60000.0 / (double)ms : 0.0);
    printf(
        "events %llu turns %llu applied %llu writes %llu unknown %llu reads %llu elections %llu crashes %llu\n",
        N(events), N(turns), N(applied), N(writes_ok), N(writes_unknown), N(reads_ok), N(elections),
        N(crashes));
    printf(
        "watched %llu compactions %llu keep-alives %llu leases ended %llu snapshots %llu installs %llu rejoins %llu changes %llu faults %llu virtual %llu s\n",
        N(watched), N(compacted), N(keepalives_ok), N(leases_ended), N(snapshots), N(installs),
        N(rejoins), N(changes), N(faults), N(virtual_us) / 1000000);
#undef N
}

static void drop(struct sim_options *o, const char *list)
{
    char *end = NULL;
    for (const char *s = list; *s != '\0'; s = *end == ',' ? end + 1 : end) {
        unsigned long i = strtoul(s, &end, 10);
        if (end == s || i >= FAULTS_MAX) {
            return;
        }
        o->dropped[i / 64] |= UINT64_C(1) << (i % 64);
    }
}

static int read_arguments(int argc, char **argv, struct arguments *a)
{
    int c;
    while ((c = getopt(argc, argv, "s:c:t:n:d:f:m:vrkx")) != -1) {
        switch (c) {
        case 's':
            a->o.seed = strtoull(optarg, NULL, 10);
            break;
        case 'c':
            a->count = strtoull(optarg, NULL, 10);
            break;
        case 't':
            a->o.fault_ms = strtoll(optarg, NULL, 10);
            break;
        case 'n':
            a->o.n_voters = atoi(optarg);
            break;
        case 'd':
            drop(&a->o, optarg);
            break;
        case 'f':
            a->file = optarg;
            break;
        case 'm':
            a->max_s = strtoll(optarg, NULL, 10);
            break;
        case 'v':
            a->o.is_traced = 1;
            a->is_kept = 1;
            break;
        case 'r':
            a->is_twice = 1;
            break;
        case 'k':
            a->is_kept = 1;
            break;
        case 'x':
            a->is_wanted = a->is_kept = 1;
            break;
        default:
            return -1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct arguments a = {
        .o = {.seed = 1, .fault_ms = 45000, .heal_ms = 8000}, .count = 1, .max_s = 1 << 30};
    if (read_arguments(argc, argv, &a) != 0) {
        return 2;
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return 2;
    }
    int64_t t0 = real_ms();
    if (a.file != NULL) {
        from_file(&a);
    } else {
        for (uint64_t i = 0; i < a.count && real_ms() - t0 < a.max_s * 1000; i++) {
            one(&a, a.o.seed + i);
            if (a.is_wanted && n_bad > 0) {
                break;
            }
        }
    }
    print_total(real_ms() - t0);
    return a.is_wanted ? n_bad == 0 : n_bad != 0;
}
