/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of sockets, from text and back. */
#pragma once

#include "base/err.h"

struct sockaddr_storage;

enum { NET_ADDRESS_MAX = 128 };

/* "host:port" or "[v6]:port"; for clients "unix:///path", too. May ask the resolver: only while
 * starting. */
int listen_resolve(const char *address, struct sockaddr_storage *out, struct err *e);
/* "127.0.0.1:8500", NET_ADDRESS_MAX bytes. */
void listen_format(const struct sockaddr_storage *a, char *out);
void listen_peer(const struct sockaddr_storage *a, char *out); /* "127.0.0.1", "unix" */
