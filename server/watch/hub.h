/* SPDX-License-Identifier: Apache-2.0 */
/* The watch hub: one door for long-polls, streams and internal watchers.
 *
 * A subscription is a set of key ranges and the next revision wanted. It fires once (one-shot):
 * when a change at or after `next_rev` touches one of its ranges, already or later. The subscriber
 * then reads what it missed from a view (view_changes, or simply reads anew) and arms again with
 * the next revision. So nothing is missed and nothing is told twice, a slow subscriber costs no
 * memory, and no change is copied. Arm and disarm from the subscriber's thread; the firing is
 * delivered to its mailbox. */
#pragma once

#include "base/mailbox.h"
#include "storage/keys.h"
#include "storage/store.h"

struct hub;

struct sub {
    struct mailbox *reply;        /* the subscriber's mailbox (of mail_jobs) */
    void (*fired)(struct sub *s); /* on the subscriber's thread; the sub is idle again and may be
                                     armed anew, or freed */
    mu_rev next_rev;
    const struct key_range *ranges; /* subscriber's memory, unchanged while armed */
    size_t n_ranges;
    int is_cancelled; /* hub_cancel was called since it was armed */
    /* private */
    struct mail_job arm_job, cancel_job, fire_job;
    struct hub *hub;
    struct hub_link *links; /* hub's; NULL while not in the tables */
    struct sub *next, **prev;
};

enum { HUB_RANGES_MAX = 1000 };

void hub_arm(struct hub *h, struct sub *s);
/* Ask for the sub back. fired() comes exactly once for each hub_arm, cancelled or not; until then
 * the sub must stay. */
void hub_cancel(struct hub *h, struct sub *s);

/* Core thread only. */
struct hub *hub_new(struct mailbox *core_box, mu_rev head);
void hub_free(struct hub *h);
void hub_publish(struct hub *h, const struct change_set *c, mu_rev head);
void hub_fire_all(struct hub *h); /* drain or snapshot load: everybody looks anew */
/* The store was replaced: everybody looks anew, what was remembered is forgotten. */
void hub_reset(struct hub *h, mu_rev head);
size_t hub_count(const struct hub *h);
