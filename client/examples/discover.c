/* SPDX-License-Identifier: Apache-2.0 */
/* discover ENDPOINTS SERVICE [SNAPSHOT_DIR]: print the instances of a service, and again after each
 * change, until stopped; and which one a weighted pick gives. */
#include <signal.h>
#include <stdio.h>

#include <muster.h>

static void on_change(void *user, struct muster_service *s)
{
    struct muster_instances *l = NULL;
    struct muster_instance *one = NULL;
    (void)user;
    if (muster_service_list(s, &l, NULL) != MUSTER_OK) {
        return;
    }
    (void)printf("instances=%zu revision=%llu%s", l->n, (unsigned long long)l->revision,
                 l->stale ? " (stale)" : "");
    for (size_t i = 0; i < l->n; i++) {
        (void)printf(" %s%s", l->items[i].id, l->items[i].healthy ? "" : "(unhealthy)");
    }
    if (muster_service_pick(s, MUSTER_PICK_WEIGHTED, NULL, &one, NULL) == MUSTER_OK) {
        (void)printf(" picked=%s:%u", one->address, one->port);
    }
    (void)printf("\n");
    (void)fflush(stdout);
    muster_instance_free(one);
    muster_instances_free(l);
}

int main(int argc, char **argv)
{
    struct muster_options o;
    struct muster *m = NULL;
    struct muster_service *s = NULL;
    struct muster_error e;
    sigset_t stop;
    int got = 0;

    if (argc < 3) {
        (void)fprintf(stderr, "usage: discover ENDPOINTS SERVICE [SNAPSHOT_DIR]\n");
        return 2;
    }
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &stop, NULL);

    muster_options_init(&o);
    o.endpoints = argv[1];
    o.snapshot_dir = argc > 3 ? argv[3] : NULL;
    if (muster_open(&o, &m, &e) != MUSTER_OK ||
        muster_discover(m, NULL, argv[2], &s, &e) != MUSTER_OK ||
        muster_service_on_change(s, on_change, NULL, &e) != MUSTER_OK) {
        (void)fprintf(stderr, "discover: %s\n", e.text);
        muster_close(m);
        return 1;
    }
    (void)sigwait(&stop, &got);
    muster_service_close(s);
    muster_close(m);
    return 0;
}
