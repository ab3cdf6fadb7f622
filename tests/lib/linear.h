/* SPDX-License-Identifier: Apache-2.0 */
/* Is a history of a register linearizable? Each key is a register of one number, checked by itself.
 *
 * The search is Wing and Gong's with Lowe's memory: take the operations in any order that real time
 * allows, undo when stuck, and never look twice at the same set of operations in the same state.
 * What was left out by the caller (a write that certainly did not happen, a read that failed) needs
 * no place in the order; what is unknown may have one anywhere behind its call, or none. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum linear_kind { LINEAR_READ, LINEAR_WRITE, LINEAR_CAS, LINEAR_DELETE };
/* FAIL is a result of the register, not of the road to it: a CAS that found another value than
 * expected; a DELETE that found nothing (expected LINEAR_ANY) or another value. READ and WRITE that
 * say FAIL are passed over. */
enum linear_outcome { LINEAR_OK, LINEAR_FAIL, LINEAR_UNKNOWN };

#define LINEAR_ABSENT UINT64_C(0)
#define LINEAR_ANY    UINT64_MAX

struct linear_op {
    uint32_t process;           /* for messages only */
    int64_t call_ns, return_ns; /* of UNKNOWN the return does not count */
    enum linear_outcome outcome;
    enum linear_kind kind;
    uint64_t key;
    uint64_t value;    /* WRITE, CAS: the new value, never LINEAR_ABSENT */
    uint64_t expected; /* CAS, DELETE: what must be there; LINEAR_ABSENT: nothing; DELETE also
                          LINEAR_ANY: something */
    uint64_t result;   /* READ that is OK: what was seen; CAS, DELETE that FAIL: what was there
                          instead, LINEAR_ANY when that was not told */
};

enum linear_answer { LINEAR_YES, LINEAR_NO, LINEAR_GAVE_UP };

struct linear_verdict {
    uint64_t key;     /* where it is not, or was given up */
    uint64_t n_steps; /* of the search, over all keys */
    char text[512];   /* NO: the operation that has no place, and the state it met */
};

/* All registers begin ABSENT. Borrows ops, in any order. Ends with GAVE_UP after max_steps steps of
 * one key's search (0 = 10 million). out may be NULL. */
enum linear_answer linear_check(const struct linear_op *ops, size_t n, uint64_t max_steps,
                                struct linear_verdict *out);
