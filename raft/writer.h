/* SPDX-License-Identifier: Apache-2.0 */
/* The log writer: one thread that makes wal operations durable, so that the owner never waits for
 * the disk.
 *
 * One operation is in flight at a time; what the owner appends meanwhile becomes the next one, so
 * groups grow by themselves with the load. Owner: append, writer_kick; in the wake-up: writer_poll
 * (until 0). After an error nothing more is written: stop the process. */
#pragma once

#include "raft/wal.h"

struct writer;

struct writer_options {
    struct wal *wal;
    void (*wake)(void *arg); /* on the writer's thread, after an operation: typically wake_send */
    void *arg;
};

struct writer_stats {
    uint64_t n_ops; /* operations done, each with one sync */
    uint64_t us_total, us_max;
};

int writer_start(const struct writer_options *o, struct writer **out, struct err *e);
/* Hand over what was appended, unless an operation is in flight. Cheap to call often: at the end of
 * each loop turn. */
void writer_kick(struct writer *w);
/* 1: an operation is done, out_durable is what wal_durable says now, and the next one is under way.
 * 0: nothing is done. Negative: the write or sync failed; e says how. The log's contents on disk
 * are unknown from here on. */
int writer_poll(struct writer *w, mu_index *out_durable, struct err *e);
/* 1 when nothing is in flight and nothing waits. */
int writer_is_idle(const struct writer *w);
void writer_stats(const struct writer *w, struct writer_stats *out);
/* Write what was appended, then end the thread. Blocks for at most the operations under way. 0 or
 * the error. */
int writer_stop(struct writer *w, struct err *e);
