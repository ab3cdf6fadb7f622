/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over its corpus with each allocation failing in turn, whoever makes it: ours,
 * or a library behind us. A reader then either ends the process with the one message for that, as
 * base/mem does, or goes on: its invariants hold, and nothing is lost.
 *
 * Memory is taken away by malloc() itself, in a child for each failure. Where a corpus has more
 * than `failures` allocations, that many are spread evenly over it. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INPUTS_MAX = 1000, LOST = 4, TEXT_MAX = 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* --- malloc that fails once --- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static struct memory {
    long fail_in; /* counts down to the failure; 0: none */
    long n_calls;
    long n_live;
} memory;

static int must_fail(void)
{
    memory.n_calls++;
    if (memory.fail_in == 0 || --memory.fail_in > 0) {
        return 0;
    }
    errno = ENOMEM;
    return 1;
}

static void *counted(void *p)
{
    memory.n_live += p != NULL;
    return p;
}

/* For the libraries behind us too. */
#pragma GCC visibility push(default)

void *malloc(size_t size)
{
    return must_fail() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
    return must_fail() ? NULL : counted(__libc_calloc(n, size));
}

void *realloc(void *p, size_t size)
{
    if (p == NULL) {
        return malloc(size);
    }
    return must_fail() ? NULL : __libc_realloc(p, size);
}

void free(void *p)
{
    memory.n_live -= p != NULL;
    __libc_free(p);
}

#pragma GCC visibility pop

/* --- one input --- */

struct input {
    const char *name;
    uint8_t data[1 << 20];
    size_t len;
};

struct totals {
    long n_all, n_failing, n_ended, n_went_on, n_bad;
};

/* What a child says to its parent. */
static struct told {
    long n_calls;
    long n_lost;
    int is_reached;
} * told;

/* In a child. n: the allocation that fails; 0: none, they are counted. */
static void run(const struct input *in, long n)
{
    /* Once before: what is kept for the next time is there by then. */
    (void)LLVMFuzzerTestOneInput(in->data, in->len);
    long n_live = memory.n_live, n_calls = memory.n_calls;
    memory.fail_in = n;
    told->is_reached = 1;
    (void)LLVMFuzzerTestOneInput(in->data, in->len);
    told->is_reached = memory.fail_in == 0;
    memory.fail_in = 0;
    told->n_calls = memory.n_calls - n_calls;
    told->n_lost = memory.n_live - n_live;
}

/* What was said last. */
static void read_end(int fd, char *out, size_t cap)
{
    size_t len = 0;
    ssize_t n = 1;
    while (n > 0) {
        if (len == cap - 1) {
            len -= cap / 2;
            memmove(out, out + cap / 2, len);
        }
        n = read(fd, out + len, cap - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    out[len] = '\0';
}

static int run_in_child(const struct input *in, long n, char said[TEXT_MAX])
{
    int err[2], status = 0;
    memset(told, 0, sizeof(*told));
    if (pipe(err) != 0) {
        abort();
    }
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(err[1], STDERR_FILENO);
        run(in, n);
        _exit(0);
    }
    close(err[1]);
    read_end(err[0], said, TEXT_MAX);
    close(err[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        abort();
    }
    return status;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    return at->level > 0 ? remove(path) : 0;
}

static int ends_with(const char *s, const char *end)
{
    size_t len = strlen(s), end_len = strlen(end);
    return len >= end_len && strcmp(s + len - end_len, end) == 0;
}

/* Ours; or the store's, for memory that LMDB did not get. */
static int is_clear(const char *said)
{
    return ends_with(said, "muster: out of memory\n") ||
           (strstr(said, "the store cannot go on") != NULL &&
            ends_with(said, "\"error\":\"Cannot allocate memory\"}\n"));
}

static void starve(const struct input *in, long n, struct totals *t)
{
    char said[TEXT_MAX];
    int status = run_in_child(in, n, said);
    if (!told->is_reached) {
        return; /* the number of allocations is not always the same */
    }
    t->n_failing++;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && is_clear(said)) {
        t->n_ended++;
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && told->n_lost <= 0) {
        /* Less than before: what was kept for the next time was given up. */
        t->n_went_on++;
    } else {
        t->n_bad++;
        printf("%s, allocation %ld: status %x, %ld lost: %s\n", in->name, n, (unsigned)status,
               told->n_lost, said);
    }
}

static long calls_of(const struct input *in)
{
    char said[TEXT_MAX];
    if (run_in_child(in, 0, said) != 0) {
        printf("%s: %s\n", in->name, said);
        exit(1);
    }
    return told->n_calls;
}

/* --- a corpus --- */

static int is_input(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static void read_input(const char *dir, const char *name, struct input *in)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "rbe");
    if (f == NULL) {
        abort();
    }
    in->name = name;
    in->len = fread(in->data, 1, sizeof(in->data), f);
    fclose(f);
}

static void starve_corpus(const char *dir, const char *tmp, long failures, struct totals *t)
{
    static struct input in; /* large */
    static long calls[INPUTS_MAX];
    struct dirent **names = NULL;
    long at = 0;
    int n = scandir(dir, &names, is_input, alphasort);
    for (int i = 0; i < n && i < INPUTS_MAX; i++) {
        read_input(dir, names[i]->d_name, &in);
        calls[i] = calls_of(&in);
        t->n_all += calls[i];
    }
    long stride = 1 + t->n_all / failures;
    for (int i = 0; i < n && i < INPUTS_MAX; i++) {
        read_input(dir, names[i]->d_name, &in);
        for (long k = 1; k <= calls[i]; k++) {
            if (at++ % stride == 0) {
                starve(&in, k, t);
                nftw(tmp, remove_one, 8, FTW_DEPTH | FTW_PHYS);
            }
        }
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    struct totals t = {0};
    char tmp[] = "/tmp/muster-starve-XXXXXX";
    told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (argc != 3 || atol(argv[2]) <= 0 || told == MAP_FAILED || mkdtemp(tmp) == NULL ||
        setenv("TMPDIR", tmp, 1) != 0) {
        return 1;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    starve_corpus(argv[1], tmp, atol(argv[2]), &t);
    nftw(tmp, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    rmdir(tmp);
    printf("failing calls: %ld allocations of %ld; %ld ended the process, %ld were lived through\n",
           t.n_failing, t.n_all, t.n_ended, t.n_went_on);
    return t.n_bad != 0 || (t.n_failing == 0 && t.n_all != 0);
}
