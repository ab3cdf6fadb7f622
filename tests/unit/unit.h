/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test starts with: cmocka with the headers it wants before it, and few helpers. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/types.h" /* struct slice */

/* Under a sanitizer there is no running out of memory, and the address space may not be limited. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNIT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define UNIT_SANITIZED 1
#endif
#endif

/* 1 when fn(arg) ends the process by abort(), as a failed MU_INVARIANT does. Runs in a child,
 * silently. */
static inline int unit_aborts(void (*fn)(void *arg), void *arg)
{
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        fn(arg);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* Fail unless the slice holds exactly `text`. */
#define unit_slice_is(got, text)                                            \
    do {                                                                    \
        const struct slice unit_got_ = (got);                               \
        const struct slice unit_want_ = slice_str(text);                    \
        assert_int_equal(unit_got_.len, unit_want_.len);                    \
        if (unit_want_.len != 0) {                                          \
            assert_memory_equal(unit_got_.p, unit_want_.p, unit_want_.len); \
        }                                                                   \
    } while (0)
