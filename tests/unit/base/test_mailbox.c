/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdatomic.h>

#include "base/mailbox.h"
#include "base/mem.h"

static void count(void *arg)
{
    atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

static void test_order_of_sending(void **state)
{
    (void)state;
    _Atomic unsigned n_wakes = 0;
    struct mailbox m;
    struct mail a;
    struct mail b;
    struct mail c;
    mailbox_init(&m, count, (void *)&n_wakes);
    assert_null(mailbox_take(&m));
    mailbox_send(&m, &a);
    mailbox_send(&m, &b);
    assert_int_equal(n_wakes, 1);
    struct mail *got = mailbox_take(&m);
    assert_ptr_equal(got, &a);
    assert_ptr_equal(got->next, &b);
    assert_null(got->next->next);
    mailbox_send(&m, &c);
    assert_int_equal(n_wakes, 2);
    assert_ptr_equal(mailbox_take(&m), &c);
    assert_null(mailbox_take(&m));
    mailbox_fini(&m);
}

struct step {
    struct mail_job job;
    struct mailbox *box;
    unsigned *n_run;
    int again;
};

static void step_run(struct mail_job *j)
{
    struct step *s = (struct step *)(void *)j;
    (*s->n_run)++;
    if (s->again-- > 0) {
        mailbox_send(s->box, &s->job.mail);
    } else {
        mem_free(s);
    }
}

/* A job may free itself or send itself again; what it sends runs in the next turn, not in this one.
 */
static void test_run_lets_jobs_free_and_resend(void **state)
{
    (void)state;
    _Atomic unsigned n_wakes = 0;
    unsigned n_run = 0;
    struct mailbox m;
    mailbox_init(&m, count, (void *)&n_wakes);
    assert_int_equal(mailbox_run(&m), 0);
    for (int i = 0; i < 3; i++) {
        struct step *s = mem_zalloc(sizeof(*s));
        *s = (struct step){.job.run = step_run, .box = &m, .n_run = &n_run, .again = i};
        mailbox_send(&m, &s->job.mail);
    }
    assert_int_equal(mailbox_run(&m), 3);
    assert_int_equal(mailbox_run(&m), 2);
    assert_int_equal(mailbox_run(&m), 1);
    assert_int_equal(mailbox_run(&m), 0);
    assert_int_equal(n_run, 6);
    mailbox_fini(&m);
}

enum { N_SENDERS = 4, N_EACH = 20000 };

struct note {
    struct mail mail;
    unsigned sender;
    unsigned number;
};

struct sender {
    pthread_t thread;
    struct mailbox *box;
    struct note *notes;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (unsigned i = 0; i < N_EACH; i++) {
        mailbox_send(s->box, &s->notes[i].mail);
    }
    return NULL;
}

static void test_many_senders_lose_nothing(void **state)
{
    (void)state;
    _Atomic unsigned n_wakes = 0;
    struct mailbox m;
    struct sender senders[N_SENDERS];
    unsigned next[N_SENDERS] = {0};
    unsigned n = 0;
    mailbox_init(&m, count, (void *)&n_wakes);
    for (unsigned k = 0; k < N_SENDERS; k++) {
        senders[k].box = &m;
        senders[k].notes = mem_zalloc(N_EACH * sizeof(struct note));
        for (unsigned i = 0; i < N_EACH; i++) {
            senders[k].notes[i].sender = k;
            senders[k].notes[i].number = i;
        }
        assert_int_equal(pthread_create(&senders[k].thread, NULL, send_all, &senders[k]), 0);
    }
    while (n < N_SENDERS * N_EACH) {
        for (struct mail *p = mailbox_take(&m); p != NULL; p = p->next, n++) {
            struct note *note = CONTAINER_OF(p, struct note, mail);
            assert_int_equal(note->number, next[note->sender]++);
        }
    }
    for (unsigned k = 0; k < N_SENDERS; k++) {
        pthread_join(senders[k].thread, NULL);
        mem_free(senders[k].notes);
    }
    assert_true(n_wakes >= 1 && n_wakes <= N_SENDERS * N_EACH);
    mailbox_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_sending),
        cmocka_unit_test(test_run_lets_jobs_free_and_resend),
        cmocka_unit_test(test_many_senders_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
