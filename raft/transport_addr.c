/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/transport_addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/text.h"

int peer_addr_parse(const char *text, struct peer_addr *out, struct err *e)
{
    const char *colon = strrchr(text, ':');
    uint64_t port = 0;
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    const char *host = text;
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        len = 0; /* v6 without brackets: where the port begins is a guess */
    }
    if (colon == NULL || len == 0 || len > PEER_HOST_MAX ||
        text_u64(slice_str(colon + 1), UINT16_MAX, &port) != 0) {
        return err_set(e, MU_E_BAD_REQUEST, "\"%.80s\" is not host:port or [v6]:port", text);
    }
    memcpy(out->host, host, len);
    out->host[len] = '\0';
    (void)snprintf(out->port, sizeof(out->port), "%u", (unsigned)(uint16_t)port);
    return 0;
}

int peer_addr_literal(const struct peer_addr *a, struct sockaddr_storage *out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    uint64_t port = 0;
    (void)text_u64(slice_str(a->port), UINT16_MAX, &port);
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, a->host, &v4.sin_addr) == 1) {
        v4.sin_port = htons((uint16_t)port);
        memcpy(out, &v4, sizeof(v4));
        return 0;
    }
    if (inet_pton(AF_INET6, a->host, &v6.sin6_addr) == 1) {
        v6.sin6_port = htons((uint16_t)port);
        memcpy(out, &v6, sizeof(v6));
        return 0;
    }
    return MU_E_NOT_FOUND;
}

int peer_addr_is_loopback(const struct sockaddr *sa)
{
    enum { V4_LOOPBACK = 127 };
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, sa, sizeof(v4));
        return ntohl(v4.sin_addr.s_addr) >> 24 == V4_LOOPBACK;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, sa, sizeof(v6));
        return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) && v6.sin6_addr.s6_addr[12] == V4_LOOPBACK);
    }
    return 0;
}

uint16_t peer_addr_port(const struct sockaddr *sa)
{
    /* The port stands at the same place in both. */
    struct sockaddr_in v4;
    memcpy(&v4, sa, sizeof(v4));
    return ntohs(v4.sin_port);
}

void peer_addr_format(const struct sockaddr *sa, char out[PEER_ADDR_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, sa, sizeof(v4));
        (void)inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
        (void)snprintf(out, PEER_ADDR_TEXT, "%s:%u", host, (unsigned)ntohs(v4.sin_port));
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, sa, sizeof(v6));
        (void)inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
        (void)snprintf(out, PEER_ADDR_TEXT, "[%s]:%u", host, (unsigned)ntohs(v6.sin6_port));
    } else {
        (void)snprintf(out, PEER_ADDR_TEXT, "?");
    }
}
