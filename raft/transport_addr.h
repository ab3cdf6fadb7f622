/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of peers as text: "host:port", "[v6]:port". */
#pragma once

#include "base/err.h"

struct sockaddr;
struct sockaddr_storage;

enum { PEER_HOST_MAX = 255, PEER_ADDR_TEXT = 64 };

struct peer_addr {
    char host[PEER_HOST_MAX + 1]; /* without brackets */
    char port[6];
};

int peer_addr_parse(const char *text, struct peer_addr *out, struct err *e);
/* Without asking anybody: 0, or MU_E_NOT_FOUND when the host is a name. */
int peer_addr_literal(const struct peer_addr *a, struct sockaddr_storage *out);
int peer_addr_is_loopback(const struct sockaddr *sa);
uint16_t peer_addr_port(const struct sockaddr *sa);
void peer_addr_format(const struct sockaddr *sa, char out[PEER_ADDR_TEXT]);
