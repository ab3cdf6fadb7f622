/* SPDX-License-Identifier: Apache-2.0 */
/* Every route of the API with any query, name and body, through its own readers, over a connection
 * without a socket; behind it a core that answers at once. What a route accepts is a command that
 * can be decoded again; each request is answered once, never with 500, JSON is JSON.
 *
 * First byte: how the core answers. Second: the route. Then lines: query, name, a header, body. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json_read.h"
#include "server/api/api.h"
#include "tests/fuzz/fake_core.h"

enum { ROUTES_MAX = 64 };

/* --- one request --- */

static const char *method_text(unsigned methods)
{
    return methods == HTTP_M_PUT      ? "PUT"
           : methods == HTTP_M_POST   ? "POST"
           : methods == HTTP_M_DELETE ? "DELETE"
           : methods == HTTP_M_PATCH  ? "PATCH"
                                      : "GET";
}

static struct slice take_line(struct slice *rest)
{
    const uint8_t *end = rest->len != 0 ? memchr(rest->p, '\n', rest->len) : NULL;
    struct slice line = {rest->p, end != NULL ? (size_t)(end - rest->p) : rest->len};
    size_t skip = line.len + (end != NULL);
    *rest = slice_of(rest->p + skip, rest->len - skip);
    return line;
}

/* The pattern with the name at each {place}. */
static void put_path(struct buf *b, const char *pattern, struct slice name)
{
    for (const char *p = pattern; *p != '\0'; p++) {
        if (*p != '{') {
            buf_append_byte(b, (uint8_t)*p);
            continue;
        }
        buf_append_slice(b, name);
        p = strchr(p, '}');
    }
}

static void put_request(struct buf *b, const struct http_route *route, struct slice rest)
{
    struct slice query = take_line(&rest), name = take_line(&rest), header = take_line(&rest);
    buf_printf(b, "%s ", method_text(route->methods));
    put_path(b, route->pattern, name);
    if (query.len != 0) {
        buf_append_byte(b, '?');
        buf_append_slice(b, query);
    }
    buf_append_str(b, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    if (header.len != 0) {
        buf_append_slice(b, header);
        buf_append_str(b, "\r\n");
    }
    if (route->body_max != 0) {
        buf_printf(b, "Content-Length: %zu\r\n\r\n", rest.len);
        buf_append_slice(b, rest);
    } else {
        buf_append_str(b, "\r\n");
    }
}

static void check_answer(const char *text)
{
    const char *body = strstr(text, "\r\n\r\n");
    struct json_t *doc = NULL;
    struct err e = {0};
    MU_INVARIANT(strncmp(text, "HTTP/1.1 ", 9) == 0 && body != NULL);
    int status = atoi(text + 9);
    MU_INVARIANT(status >= 200 && status < 600 && status != 500);
    const char *json = strstr(text, "json\r\n"), *chunked = strstr(text, "chunked\r\n");
    if (json != NULL && json < body && (chunked == NULL || chunked > body)) {
        if (jr_parse(slice_str(body + 4), &doc, &e) != 0) {
            (void)fprintf(stderr, "%s\n%s\n", e.text, text);
            abort();
        }
        jr_free(doc);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct http_route *routes[ROUTES_MAX];
    struct api_context context;
    struct err e = {0};
    struct sans_io s;
    struct buf b;
    if (len < 2) {
        return 0;
    }
    fake_core_open();
    fake_core.how = data[0];
    context.api = api_new(&(struct api_options){.core = (struct core *)&fake_core});
    const struct http_server_options o = {.arg = &context};
    sans_io_init(&s, &o, NULL, 0);
    int rc = api_add_routes(context.api, s.server, &e);
    MU_INVARIANT(rc == 0);
    size_t n = http_server_routes(s.server, routes, ROUTES_MAX);
    buf_init(&b);
    put_request(&b, routes[data[1] % n], slice_of(data + 2, len - 2));
    sans_io_input(&s, buf_slice(&b));
    fake_core_settle(&s);
    check_answer(sans_io_take(&s));
    sans_io_gone(&s);
    fake_core_settle(&s);
    MU_INVARIANT(http_local_owed(s.local) == 0);
    sans_io_fini(&s);
    buf_fini(&b);
    api_free(context.api);
    return 0;
}
