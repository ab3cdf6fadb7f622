/* SPDX-License-Identifier: Apache-2.0 */
/* register ENDPOINTS SERVICE ADDRESS PORT [TTL_MS]: be an instance of a service until stopped. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <muster.h>

static void on_log(void *user, const char *level, const char *text)
{
    (void)user;
    (void)printf("%s: %s\n", level, text);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    struct muster_options o;
    struct muster_instance i;
    struct muster *m = NULL;
    struct muster_error e;
    sigset_t stop;
    int got = 0;

    if (argc < 5) {
        (void)fprintf(stderr, "usage: register ENDPOINTS SERVICE ADDRESS PORT [TTL_MS]\n");
        return 2;
    }
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &stop, NULL);

    muster_options_init(&o);
    o.endpoints = argv[1];
    o.log = on_log;
    muster_instance_init(&i);
    i.service = argv[2];
    i.address = argv[3];
    i.port = (uint16_t)strtoul(argv[4], NULL, 10);
    i.ttl_ms = argc > 5 ? strtol(argv[5], NULL, 10) : i.ttl_ms;
    if (muster_open(&o, &m, &e) != MUSTER_OK || muster_register(m, &i, &e) != MUSTER_OK) {
        (void)fprintf(stderr, "register: %s\n", e.text);
        muster_close(m);
        return 1;
    }
    (void)printf("registered %s:%u in %s\n", i.address, i.port, i.service);
    (void)fflush(stdout);
    (void)sigwait(&stop, &got);
    muster_close(m); /* deregisters */
    return 0;
}
