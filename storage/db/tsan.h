/* SPDX-License-Identifier: Apache-2.0 */
/* What ThreadSanitizer cannot see: LMDB orders readers and the writer by transaction numbers in its
 * lock file. A reader sees nothing newer than the commit it began after, and pages are used again
 * only when no reader that could see them is left. */
#pragma once

#if defined(__SANITIZE_THREAD__)
#define DB_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DB_TSAN 1
#endif
#endif

#ifdef DB_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
/* LMDB itself is not instrumented; only its memcpy and memcmp would be seen. */
const char *__tsan_default_suppressions(void);
__attribute__((weak, visibility("default"))) const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:liblmdb.so\n";
}
#else
static inline void __tsan_acquire(void *addr)
{
    (void)addr;
}
static inline void __tsan_release(void *addr)
{
    (void)addr;
}
#endif
