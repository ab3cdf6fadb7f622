/* SPDX-License-Identifier: Apache-2.0 */
/* subscribe ENDPOINTS GROUP KEY [SNAPSHOT_DIR]: print a config and each change of it, until
 * stopped. */
#include <signal.h>
#include <stdio.h>

#include <muster.h>

static void on_config(void *user, const struct muster_config *c)
{
    (void)user;
    if (c->deleted) {
        (void)printf("%s/%s deleted revision=%llu\n", c->group, c->key,
                     (unsigned long long)c->revision);
    } else {
        (void)printf("%s/%s revision=%llu size=%zu%s: %.60s\n", c->group, c->key,
                     (unsigned long long)c->revision, c->size, c->from_disk ? " (from disk)" : "",
                     c->content);
    }
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    struct muster_options o;
    struct muster *m = NULL;
    struct muster_subscription *s = NULL;
    struct muster_error e;
    sigset_t stop;
    int got = 0;

    if (argc < 4) {
        (void)fprintf(stderr, "usage: subscribe ENDPOINTS GROUP KEY [SNAPSHOT_DIR]\n");
        return 2;
    }
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &stop, NULL);

    muster_options_init(&o);
    o.endpoints = argv[1];
    o.snapshot_dir = argc > 4 ? argv[4] : NULL;
    if (muster_open(&o, &m, &e) != MUSTER_OK ||
        muster_config_subscribe(m, argv[2], argv[3], on_config, NULL, &s, &e) != MUSTER_OK) {
        (void)fprintf(stderr, "subscribe: %s\n", e.text);
        muster_close(m);
        return 1;
    }
    (void)sigwait(&stop, &got);
    muster_unsubscribe(s);
    muster_close(m);
    return 0;
}
