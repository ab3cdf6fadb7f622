/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mailbox.h"

#include "base/err.h"

void mailbox_init(struct mailbox *m, mailbox_wake_fn wake, void *arg)
{
    pthread_mutex_init(&m->lock, NULL);
    m->head = NULL;
    m->tail = &m->head;
    m->wake = wake;
    m->arg = arg;
}

void mailbox_fini(struct mailbox *m)
{
    MU_INVARIANT(m->head == NULL);
    pthread_mutex_destroy(&m->lock);
}

void mailbox_send(struct mailbox *m, struct mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&m->lock);
    int was_empty = m->head == NULL;
    *m->tail = mail;
    m->tail = &mail->next;
    pthread_mutex_unlock(&m->lock);
    if (was_empty) {
        m->wake(m->arg);
    }
}

struct mail *mailbox_take(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    struct mail *all = m->head;
    m->head = NULL;
    m->tail = &m->head;
    pthread_mutex_unlock(&m->lock);
    return all;
}

unsigned mailbox_run(struct mailbox *m)
{
    unsigned n = 0;
    struct mail *next = mailbox_take(m);
    while (next != NULL) {
        struct mail_job *j = (struct mail_job *)(void *)next; /* its first member */
        next = next->next;
        j->run(j);
        n++;
    }
    return n;
}
