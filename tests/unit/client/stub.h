/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP server on loopback for tests: a thread a connection, answers by a function. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct stub;

struct stub_req {
    struct stub *stub;
    int fd;
    int n; /* the how many-th request of this stub, from 0 */
    char method[16];
    char target[9000];
    char head[16384]; /* all header lines */
    char body[65536];
    size_t body_len;
};

/* Answers with stub_answer(), or not at all: then the connection is closed. */
typedef void (*stub_fn)(void *user, const struct stub_req *r);

struct stub *stub_start(stub_fn fn, void *user);
void stub_stop(struct stub *s);
const char *stub_url(const struct stub *s);
int stub_count(struct stub *s); /* requests so far */
/* extra: header lines, each with CRLF; may be "". */
void stub_answer(const struct stub_req *r, int status, const char *extra, const char *body);
/* The beginning of a stream, and more of it. False when the peer is gone. */
bool stub_stream(const struct stub_req *r);
bool stub_send(const struct stub_req *r, const void *p, size_t len);
bool stub_text(const struct stub_req *r, const char *text);
/* Wait until the peer closes or the stub is stopped. */
void stub_hang(const struct stub_req *r);
/* The value of a header into out; false when it is not there. */
bool stub_header(const struct stub_req *r, const char *name, char *out, size_t cap);
/* "http://127.0.0.1:port" where nobody listens. */
void stub_dead_url(char *out, size_t cap);
