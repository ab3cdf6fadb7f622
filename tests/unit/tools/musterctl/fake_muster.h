/* SPDX-License-Identifier: Apache-2.0 */
/* A libmuster that answers from a table: what a command asks, and what it makes of the answers. */
#pragma once

#include <stdio.h>

#include "tools/musterctl/cmd.h"

struct fake_answer {
    const char *endpoint; /* NULL: any */
    const char *method, *path;
    muster_status status;
    const char *code; /* of an error */
    const char *body;
    uint64_t revision;
    const char *etag;
};

/* Answers are looked up in order; a request without one is MUSTER_UNREACHABLE. */
void fake_answers(const struct fake_answer *answers, size_t n);
/* "GET /x\nPUT /y body\n" since the last call; to be freed. */
char *fake_requests(void);

/* Runs a command line; stdout is given, to be freed; stderr goes nowhere. */
int fake_run(char **out, const char *const *words);
#define FAKE_RUN(out, ...) fake_run((out), (const char *const[]){"musterctl", __VA_ARGS__, NULL})
