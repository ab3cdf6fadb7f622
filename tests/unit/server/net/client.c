/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

int client_dial(const char *address)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    const char *colon = strrchr(address, ':');
    a.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

void client_send(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

struct buf client_receive(int fd, size_t want)
{
    struct buf b;
    buf_init(&b);
    while (b.len < want) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 10000) != 1) {
            fail_msg("silence after %zu bytes: %.*s", b.len, (int)(b.len < 300 ? b.len : 300),
                     (const char *)b.p);
        }
        ssize_t n = recv(fd, buf_reserve(&b, 65536), 65536, 0);
        if (n <= 0) {
            break;
        }
        b.len += (size_t)n;
    }
    buf_append_byte(&b, 0);
    b.len--;
    return b;
}

void client_expect_end(int fd, const char *want)
{
    struct buf b = client_receive(fd, SIZE_MAX);
    if (strstr((const char *)b.p, want) == NULL) {
        fail_msg("no \"%s\" in \"%s\"", want, (const char *)b.p);
    }
    buf_fini(&b);
    close(fd);
}

void client_expect_answer(int fd, const char *status, const char *body)
{
    struct buf b = client_receive(fd, 1);
    while (strstr((const char *)b.p, "\r\n\r\n") == NULL ||
           strstr((const char *)b.p, body) == NULL) {
        struct buf more = client_receive(fd, 1);
        assert_true(more.len > 0);
        buf_append(&b, more.p, more.len + 1);
        b.len--;
        buf_fini(&more);
    }
    assert_non_null(strstr((const char *)b.p, status));
    buf_fini(&b);
}
