/* SPDX-License-Identifier: Apache-2.0 */
/* Waking a loop from another thread: an event counter (eventfd(2)) whose descriptor the loop polls.
 *
 * libuv has uv_async_t for this, but its receiver spins while a sender stands between two
 * instructions, which on few processors is often: the write to the descriptor is what makes the
 * kernel run the receiver in the sender's place. */
#pragma once

struct wake {
    int fd; /* readable after wake_send() until wake_clear() */
};

void wake_init(struct wake *w); /* aborts when the process has no descriptor left */
void wake_fini(struct wake *w);
void wake_send(const struct wake *w); /* any thread */
/* By the receiver, before it looks at what it was woken for. */
void wake_clear(const struct wake *w);
