/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "server/server.h"

#ifndef MUSTER_VERSION
#define MUSTER_VERSION "unknown"
#endif

static int check(const struct conf_parsed *p)
{
    struct err e = {0};
    if (conf_check(&p->conf, &e) != 0) {
        fprintf(stderr, "musterd: %s\n", e.text);
        return EXIT_CONFIG;
    }
    return 0;
}

int main(int argc, char **argv, char **envp)
{
    static struct conf_parsed p; /* large; lives as long as the process */
    struct err e = {0};
    if (conf_parse(argc, argv, envp, &p, &e) != 0) {
        fprintf(stderr, "musterd: %s\n", e.text);
        return p.is_misused ? EXIT_USAGE : EXIT_CONFIG;
    }
    switch (p.command) {
    case CONF_HELP:
        conf_print_help(stdout);
        return 0;
    case CONF_VERSION:
        printf("musterd %s\n", MUSTER_VERSION);
        return 0;
    case CONF_MAN:
        conf_print_man(stdout);
        return 0;
    case CONF_SHOW:
        conf_print(&p, stdout);
        return 0;
    case CONF_CHECK: {
        int rc = check(&p);
        if (rc == 0) {
            printf("configuration is valid\n");
        }
        return rc;
    }
    case CONF_EXPORT_SNAPSHOT:
        return server_export(&p.conf, p.argument);
    case CONF_RUN:
        break;
    }
    int rc = check(&p);
    return rc != 0 ? rc : server_run(&p, argc, argv, envp);
}
