/* SPDX-License-Identifier: Apache-2.0 */
/* A client on a blocking socket. What goes wrong fails the test. */
#pragma once

#include "base/buf.h"

#define GET(path)       "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET_CLOSE(path) "GET " path " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

int client_dial(const char *address); /* "127.0.0.1:PORT" */
void client_send(int fd, const char *text);
/* Read until `want` bytes, or the end (want = SIZE_MAX); at most 10 s of silence. A NUL follows. */
struct buf client_receive(int fd, size_t want);
void client_expect_end(int fd, const char *want); /* closes fd */
/* One answer with a Content-Length; checks status and body. */
void client_expect_answer(int fd, const char *status, const char *body);
