/* SPDX-License-Identifier: Apache-2.0 */
/* Error codes, one list: name, number, code word of the native API, HTTP status, title.
 *
 * Functions that can fail return 0 or one of these (negative). Numbers are frozen: never
 * reused or changed. `struct err` travels as last parameter and holds a sentence for people. */
#pragma once

#include "base/types.h"

/* clang-format off */
#define MU_ERR_LIST(X)                                                              \
    X(BAD_REQUEST, -1, 400, "bad request")                                          \
    X(NOT_FOUND, -2, 404, "not found")                                              \
    X(METHOD_NOT_ALLOWED, -3, 405, "method not allowed")                            \
    X(NOT_ACCEPTABLE, -4, 406, "not acceptable")                                    \
    X(TIMEOUT, -5, 408, "request timed out")                                        \
    X(CONFLICT, -6, 409, "conflict")                                                \
    X(COMPACTED, -7, 410, "revision compacted")                                     \
    X(LENGTH_REQUIRED, -8, 411, "length required")                                  \
    X(REVISION_MISMATCH, -9, 412, "revision mismatch")                              \
    X(EXISTS, -10, 412, "already exists")                                           \
    X(TOO_LARGE, -11, 413, "content too large")                                     \
    X(URI_TOO_LONG, -12, 414, "URI too long")                                       \
    X(UNSUPPORTED_TYPE, -13, 415, "unsupported media type")                         \
    X(EXPECTATION_FAILED, -14, 417, "expectation failed")                           \
    X(TOO_MANY, -15, 429, "too many requests")                                      \
    X(HEADERS_TOO_LARGE, -16, 431, "header section too large")                      \
    X(INTERNAL, -17, 500, "internal error")                                         \
    X(NOT_IMPLEMENTED, -18, 501, "not implemented")                                 \
    X(NO_LEADER, -19, 503, "no leader")                                             \
    X(OVERLOADED, -20, 503, "overloaded")                                           \
    X(UNKNOWN_OUTCOME, -21, 503, "outcome unknown")                                 \
    X(DRAINING, -22, 503, "node is draining")                                       \
    X(VERSION_NOT_SUPPORTED, -23, 505, "HTTP version not supported")                \
    X(DISK_FULL, -24, 507, "disk nearly full")                                      \
    X(FUTURE_REVISION, -25, 400, "revision in the future")                          \
    X(IO, -40, 500, "input/output error")                                           \
    X(CORRUPT, -41, 500, "stored data is damaged")                                  \
    X(FORMAT, -42, 500, "unknown format or version")                                \
    X(NOT_LEADER, -43, 503, "not the leader")                                       \
    X(RANGE, -44, 400, "value out of range")                                        \
    X(NO_LEASE, -45, 404, "no such lease")                                          \
    X(CLOSED, -46, 503, "closed")                                                   \
    X(NO_SESSION, -47, 404, "no such session")                                      \
    X(DENIED, -48, 403, "permission denied")                                        \
    X(UNAUTHORIZED, -49, 401, "who is asking is not known")
/* clang-format on */

enum mu_err {
    MU_OK = 0,
#define X(name, number, status, title) MU_E_##name = (number),
    MU_ERR_LIST(X)
#undef X
};

struct err {
    int code; /* enum mu_err */
    char text[256];
};

/* Record code and a printf-style sentence; returns code, so `return err_set(...)`. e may be NULL,
 * and an argument may be e->text. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Put "context: " before the text that is there; returns e->code. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "NOT_FOUND"; "UNKNOWN" for a number that is none of ours. */
const char *err_name(int code);
/* "not found" */
const char *err_title(int code);
/* 404; 500 for a number that is none of ours. */
int err_http_status(int code);

/* A check of our own logic, on in every build: prints the place and aborts. Never for input. */
#define MU_INVARIANT(cond)                                   \
    do {                                                     \
        if (__builtin_expect(!(cond), 0)) {                  \
            err_invariant_failed(#cond, __FILE__, __LINE__); \
        }                                                    \
    } while (0)
_Noreturn void err_invariant_failed(const char *what, const char *file, int line);
