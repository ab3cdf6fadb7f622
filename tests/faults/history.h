/* SPDX-License-Identifier: Apache-2.0 */
/* What was done to a cluster and what it answered: one JSON object a line.
 * docs/testing.md#histories says what each member means. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum hist_kind {
    HIST_READ,
    HIST_WRITE,
    HIST_CAS, /* want: the value that must be there, 0: none */
    HIST_DELETE,
    HIST_LIST,   /* values: of an append list */
    HIST_APPEND, /* value: put behind the list */
    HIST_STALE,  /* a read that asked for consistency=stale */
    HIST_REPEAT, /* a write whose request id was sent again; again: the second answer's revision */
    HIST_STREAM, /* begins after rev */
    HIST_EVENT,  /* value 0: deleted */
    HIST_MARK,   /* nothing at or below rev follows */
    HIST_VERSIONS, /* values: revisions of all versions of key, oldest first */
    HIST_GRANT,    /* key begins to live for ttl */
    HIST_KEEP,     /* and goes on */
    HIST_SEEN,     /* OK: it is there; FAIL: it is gone */
    HIST_WAIT,     /* want: what was held. OK: value came instead; FAIL: the wait passed; UNKNOWN:
                      something came */
    HIST_GROUP,    /* of the want keys below key, which go together, value were there */
    HIST_FAULT,    /* key: which */
    HIST_KIND_N
};

/* FAIL is an answer of the store, NONE one that promises that nothing was done. */
enum hist_out { HIST_OK, HIST_FAIL, HIST_NONE, HIST_UNKNOWN, HIST_OUT_N };

struct hist_op {
    enum hist_kind kind;
    enum hist_out out;
    uint32_t process, stream;
    int64_t call_ns, return_ns, ttl_ms;
    char on[16], key[64];
    uint64_t value, want, rev, again, version;
    uint64_t *values; /* owned by a history, borrowed by hist_print */
    size_t n_values;
};

struct history {
    struct hist_op *ops;
    size_t n, cap;
};

extern const char *const hist_kind_names[HIST_KIND_N];

void hist_print(FILE *f, const struct hist_op *o);
/* Adds the file's operations to h. 0, or -1 with the line told on stderr; a torn last line is left
 * out. */
int hist_read(struct history *h, const char *path);
void hist_fini(struct history *h);
