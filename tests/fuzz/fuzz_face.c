/* SPDX-License-Identifier: Apache-2.0 */
/* The Consul face, whole: some requests one after the other, to any endpoint with any query, header
 * and body, over a connection without a socket. Behind it a core that answers at once; what is
 * proposed is applied to a real store, which has to hold it. Each request is answered once, JSON is
 * JSON.
 *
 * First byte: how the core answers (bit 7: access control, with a management token that every other
 * request shows). Then requests, parted by a zero: method and path with query, a header, body. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"
#include "server/consul/consul.h"
#include "tests/fuzz/fake_core.h"

#define TOKEN "f0e1d2c3-0000-4000-8000-00000000c0de"

enum { REQUESTS_MAX = 12 };

/* agent/reload and agent/leave tell the process: not this one. */
int kill(pid_t pid, int number)
{
    (void)pid;
    (void)number;
    return 0;
}

static struct slice take(struct slice *rest, char end)
{
    const uint8_t *p = rest->len != 0 ? memchr(rest->p, end, rest->len) : NULL;
    struct slice s = {rest->p, p != NULL ? (size_t)(p - rest->p) : rest->len};
    size_t skip = s.len + (p != NULL);
    *rest = slice_of(rest->p + skip, rest->len - skip);
    return s;
}

static void put_request(struct buf *b, struct slice rest, int has_token)
{
    struct slice line = take(&rest, '\n'), header = take(&rest, '\n');
    struct slice method = take(&line, ' ');
    buf_append_slice(b, method);
    buf_append_str(b, " /v1/");
    buf_append_slice(b, line);
    buf_append_str(b, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    if (has_token) {
        buf_append_str(b, "X-Consul-Token: " TOKEN "\r\n");
    }
    if (header.len != 0) {
        buf_append_slice(b, header);
        buf_append_str(b, "\r\n");
    }
    buf_printf(b, "Content-Length: %zu\r\n\r\n", rest.len);
    buf_append_slice(b, rest);
}

static void check_answer(const char *text)
{
    const char *body = strstr(text, "\r\n\r\n"), *json = strstr(text, "json\r\n");
    struct json_t *doc = NULL;
    struct err e = {0};
    if (text[0] == '\0') {
        return; /* its head is no end of one: fuzz_http.c */
    }
    MU_INVARIANT(strncmp(text, "HTTP/1.1 ", 9) == 0 && body != NULL);
    int status = atoi(text + 9);
    MU_INVARIANT(status >= 200 && status < 600);
    /* A number, a word or null is a document as well: in a list it is one for the reader, too. */
    if (json != NULL && json < body && strchr("[{", body[4]) != NULL && body[4] != '\0' &&
        jr_parse(slice_str(body + 4), &doc, &e) != 0) {
        (void)fprintf(stderr, "%s\n%s\n", e.text, text);
        abort();
    }
    jr_free(doc);
}

static void ask(const struct http_server_options *o, struct consul *c, struct slice request,
                int has_token)
{
    struct err e = {0};
    struct sans_io s;
    struct buf b;
    sans_io_init(&s, o, NULL, 0);
    int rc = consul_mount(c, s.server, &e);
    MU_INVARIANT(rc == 0);
    buf_init(&b);
    put_request(&b, request, has_token);
    sans_io_input(&s, buf_slice(&b));
    fake_core_settle(&s);
    check_answer(sans_io_take(&s));
    sans_io_gone(&s);
    fake_core_settle(&s);
    MU_INVARIANT(http_local_owed(s.local) == 0);
    sans_io_fini(&s);
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice rest = slice_of(data + 1, len - (len > 0));
    const struct http_server_options o = {0};
    if (len < 2) {
        return 0;
    }
    fake_core_open();
    fake_core.how = data[0] & 0x7f;
    fake_core.applies = 1;
    struct access *access = access_new(&(struct access_options){.store = fake_core.store,
                                                                .n_workers = 1,
                                                                .is_enabled = data[0] >> 7,
                                                                .is_default_deny = 1,
                                                                .datacenter = "dc1",
                                                                .initial_token = TOKEN});
    struct consul *c =
        consul_new(&(struct consul_options){.core = (struct core *)&fake_core, .access = access});
    for (unsigned n = 0; n < REQUESTS_MAX && rest.len > 0; n++) {
        ask(&o, c, take(&rest, '\0'), n % 2 == 0);
    }
    consul_free(c);
    access_free(access);
    fake_core_renew();
    return 0;
}
