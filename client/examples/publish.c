/* SPDX-License-Identifier: Apache-2.0 */
/* publish ENDPOINTS GROUP KEY CONTENT [REVISION]: publish a config; with REVISION only over that
 * one (compare-and-set). Prints the new revision. Ends with 3 when another one was there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <muster.h>

int main(int argc, char **argv)
{
    struct muster_options o;
    struct muster_publish how = {.comment = "by the example", .author = "publish"};
    struct muster *m = NULL;
    struct muster_error e;
    uint64_t revision = 0;

    if (argc < 5) {
        (void)fprintf(stderr, "usage: publish ENDPOINTS GROUP KEY CONTENT [REVISION]\n");
        return 2;
    }
    how.if_revision = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;
    muster_options_init(&o);
    o.endpoints = argv[1];
    muster_status rc = muster_open(&o, &m, &e);
    if (rc == MUSTER_OK) {
        rc = muster_config_publish(m, argv[2], argv[3], argv[4], strlen(argv[4]), &how, &revision,
                                   &e);
    }
    if (rc == MUSTER_OK) {
        (void)printf("revision=%llu\n", (unsigned long long)revision);
    } else {
        (void)fprintf(stderr, "publish: %s: %s\n", muster_status_text(rc), e.text);
    }
    muster_close(m);
    return rc == MUSTER_OK ? 0 : rc == MUSTER_CONFLICT ? 3 : 1;
}
