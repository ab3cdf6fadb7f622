/* SPDX-License-Identifier: Apache-2.0 */
/* Signals and waiting. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/musterctl/ctl.h"

enum { NAP_MS = 100 };

static volatile sig_atomic_t interrupted; /* set by the handler alone */

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* What was printed has been flushed line by line: nothing is lost. */
static void on_signal_end(int number)
{
    (void)number;
    _exit(CTL_INTERRUPTED);
}

void ctl_catch_signals(int at_once)
{
    struct sigaction a = {0};
    a.sa_handler = at_once ? on_signal_end : on_signal;
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

int ctl_is_interrupted(void)
{
    return interrupted != 0;
}

/* In short naps: the signal may reach another thread, which interrupts nothing here. */
void ctl_sleep_ms(int64_t ms)
{
    int64_t end = clock_mono_ms() + ms;
    while (!ctl_is_interrupted()) {
        int64_t left = end - clock_mono_ms();
        if (left <= 0) {
            return;
        }
        poll(NULL, 0, (int)(left < NAP_MS ? left : NAP_MS));
    }
}
