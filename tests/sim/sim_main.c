/* SPDX-License-Identifier: Apache-2.0 */
/* sim [-n voters] [-f first seed] [-c count] [-t fault ms] [-g guards off, bits of enum node_guard]
 * [-S snapshots] [-F FIFO links]
 *     [-B figure-8 bias] [-V votes are lost] [-M members come and go] [-U against the rules] [-D
 * damaged logs] [-N taken for whole] [-x fail must be found] [-m stop after so many
 * seconds] : prints a line for each violation;
 * exit 1 when one was found (with -x: none). */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/sim/sim.h"

struct outcome {
    int is_bad;
    char why[256];
    struct sim_stats stats;
};

/* A guard that is off may lead to an abort in our own invariants: that is a find, too. So each seed
 * of a control runs in a child. */
static void run_child(const struct sim_options *o, struct outcome *out)
{
    int fd[2];
    if (pipe(fd) != 0) {
        abort();
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct outcome x = {0};
        if (getenv("SIM_STDERR") == NULL && freopen("/dev/null", "w", stderr) == NULL) {
            _exit(3);
        }
        const char *v = sim_run(o, &x.stats);
        x.is_bad = v != NULL;
        snprintf(x.why, sizeof(x.why), "%s", v != NULL ? v : "");
        ssize_t w = write(fd[1], &x, sizeof(x));
        _exit(w == (ssize_t)sizeof(x) ? 0 : 3);
    }
    close(fd[1]);
    if (read(fd[0], out, sizeof(*out)) != (ssize_t)sizeof(*out)) {
        *out = (struct outcome){.is_bad = 1, .why = "stopped by an invariant"};
    }
    close(fd[0]);
    waitpid(pid, NULL, 0);
}

static void add(struct sim_stats *a, const struct sim_stats *b)
{
    a->elections += b->elections;
    a->commits += b->commits;
    a->crashes += b->crashes;
    a->messages += b->messages;
    a->steps += b->steps;
    a->installs += b->installs;
    a->snapshots += b->snapshots;
    a->changes += b->changes;
    a->damages += b->damages;
    a->virtual_ms += b->virtual_ms;
}

static void run_here(const struct sim_options *o, struct outcome *out)
{
    const char *v = sim_run(o, &out->stats);
    out->is_bad = v != NULL;
    snprintf(out->why, sizeof(out->why), "%s", v != NULL ? v : "");
}

static int read_options(int argc, char **argv, struct sim_options *o, uint64_t *count,
                        int64_t *max_ms)
{
    int c, is_control = 0;
    while ((c = getopt(argc, argv, "n:f:c:t:g:m:SFBVMUDNx")) != -1) {
        switch (c) {
        case 'n':
            o->n = atoi(optarg);
            break;
        case 'f':
            o->seed = strtoull(optarg, NULL, 0);
            break;
        case 'c':
            *count = strtoull(optarg, NULL, 0);
            break;
        case 'm':
            *max_ms = strtoll(optarg, NULL, 10) * 1000;
            break;
        case 't':
            o->fault_ms = atoi(optarg);
            break;
        case 'g':
            o->guards_off = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 'S':
            o->has_snapshots = 1;
            break;
        case 'F':
            o->is_fifo = 1;
            break;
        case 'B':
            o->has_bias = 1;
            break;
        case 'V':
            o->is_vote_lost = 1;
            break;
        case 'M':
            o->has_members = 1;
            break;
        case 'D':
            o->has_damage = 1;
            break;
        case 'N':
            o->is_naive = 1;
            break;
        case 'U':
            o->is_unruly = 1;
            break;
        case 'x':
            is_control = 1;
            break;
        default:
            return -1;
        }
    }
    return is_control;
}

int main(int argc, char **argv)
{
    struct sim_options o = {.seed = 1, .n = 3, .fault_ms = 20000};
    uint64_t count = 100, bad = 0, i = 0;
    int64_t max_ms = INT64_MAX;
    int is_control = read_options(argc, argv, &o, &count, &max_ms);
    if (is_control < 0) {
        return 2;
    }
    struct sim_stats sum = {0};
    int64_t t0 = clock_mono_ms();
    for (; i < count && clock_mono_ms() - t0 < max_ms; i++, o.seed++) {
        struct outcome x = {0};
        if (is_control) {
            run_child(&o, &x);
        } else {
            run_here(&o, &x);
        }
        add(&sum, &x.stats);
        if (x.is_bad && bad++ < 20) {
            printf("seed %llu: %s\n", (unsigned long long)o.seed, x.why);
            fflush(stdout);
        }
    }
    printf(
        "%llu of %llu seeds bad; %llu ms; elections %llu commits %llu crashes %llu messages %llu steps %llu snapshots %llu installs %llu changes %llu damages %llu virtual %llu s\n",
        (unsigned long long)bad, (unsigned long long)i, (unsigned long long)(clock_mono_ms() - t0),
        (unsigned long long)sum.elections, (unsigned long long)sum.commits,
        (unsigned long long)sum.crashes, (unsigned long long)sum.messages,
        (unsigned long long)sum.steps, (unsigned long long)sum.snapshots,
        (unsigned long long)sum.installs, (unsigned long long)sum.changes,
        (unsigned long long)sum.damages, (unsigned long long)sum.virtual_ms / 1000);
    return is_control ? bad == 0 : bad != 0;
}
