/* SPDX-License-Identifier: Apache-2.0 */
/* The one queue between threads: many senders, one receiver, intrusive messages, a wake-up.
 *
 * mailbox_send may be called from any thread; the wake callback runs in the sender's thread, once
 * per empty-to-nonempty change (typically it calls wake_send). The receiver takes everything at
 * once. */
#pragma once

#include <pthread.h>

struct mail {
    struct mail *next;
};

/* A message that knows what to do: first member of whatever waits. Every mail in a worker's or the
 * core's mailbox is one. */
struct mail_job {
    struct mail mail;
    void (*run)(struct mail_job *j); /* on the receiver's thread; may free or reuse j */
};

typedef void (*mailbox_wake_fn)(void *arg);

struct mailbox {
    pthread_mutex_t lock;
    struct mail *head;
    struct mail **tail;
    mailbox_wake_fn wake;
    void *arg;
};

void mailbox_init(struct mailbox *m, mailbox_wake_fn wake, void *arg);
void mailbox_fini(struct mailbox *m); /* must be empty */
void mailbox_send(struct mailbox *m, struct mail *mail);
/* All messages in order of sending, or NULL. Receiver's thread only. */
struct mail *mailbox_take(struct mailbox *m);
/* Take everything and run it in order; returns how many ran. */
unsigned mailbox_run(struct mailbox *m);
