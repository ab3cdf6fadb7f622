/* SPDX-License-Identifier: Apache-2.0 */
/* The whole server, built in one visible order and taken down in reverse. */
#pragma once

#include "server/conf/conf.h"

/* Runs until SIGTERM or SIGINT; returns the process's exit status. argc, argv, envp: to read the
 * settings again on SIGHUP. */
int server_run(struct conf_parsed *p, int argc, char **argv, char **envp);
/* musterd export-snapshot FILE: of a stopped node's data directory. */
int server_export(const struct conf *c, const char *file);

enum { EXIT_USAGE = 2, EXIT_CONFIG = 78 };
