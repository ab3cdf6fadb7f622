/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers can ask and say: parameters, queries, headers, trace ids, problems, compression. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/mem.h"
#include "sans_io.h"

/* The test of the moment looks at the request. */
struct look {
    void (*fn)(struct http_req *r);
};

static void call(struct http_req *r, void *arg)
{
    struct look *l = arg;
    l->fn(r);
}

static const struct http_route routes[] = {
    HTTP_ROUTE(HTTP_M_GET, "/a/{one}/b/{two}", call, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/q", call, PERM_NONE_REQUIRED, 0),
};

static void before(struct http_req *r, void *arg)
{
    (void)arg;
    http_add_header_u64(r, "Muster-Revision", 18446744073709551615ull);
}

/* One request through `fn`; the answer is the caller's to free. */
static char *ask(void (*fn)(struct http_req *r), const char *request, struct buf *raw)
{
    struct look look = {fn};
    struct http_server_options o = {.arg = &look, .before_answer = before};
    struct sans_io s;
    sans_io_init(&s, &o, routes, N_ELEMENTS(routes));
    sans_io_text(&s, request);
    if (raw != NULL) {
        buf_init(raw);
        buf_append_slice(raw, buf_slice(&s.out));
    }
    char *out = mem_strdup(sans_io_take(&s));
    sans_io_fini(&s);
    return out;
}

static void expect(void (*fn)(struct http_req *r), const char *request, const char *want)
{
    char *out = ask(fn, request, NULL);
    if (strstr(out, want) == NULL) {
        fail_msg("no \"%s\" in \"%s\"", want, out);
    }
    mem_free(out);
}

static void assert_slice(struct slice got, const char *want)
{
    if (!slice_eq(got, slice_str(want))) {
        fail_msg("\"%.*s\" is not \"%s\"", SLICE_FMT(got), want);
    }
}

static void done(struct http_req *r)
{
    http_respond(r, 204, NULL, slice_of(NULL, 0));
}

#define REQ(target, headers) "GET " target " HTTP/1.1\r\nHost: a\r\n" headers "\r\n"

static void look_params(struct http_req *r)
{
    assert_slice(http_param(r, "one"), "x y/z");
    assert_slice(http_param(r, "two"), "\xc3\xa9");
    assert_slice(http_path(r), "/a/x%20y%2Fz/b/%C3%A9");
    done(r);
}

static void look_query(struct http_req *r)
{
    static const char *const known[] = {"k", "flag", "e", NULL};
    struct slice v[3];
    struct slice name;
    assert_int_equal(http_query(r, "k", &v[0]), 1);
    assert_slice(v[0], "1 2");
    assert_int_equal(http_query(r, "nope", &v[0]), 0);
    assert_int_equal(http_query(r, "flag", &v[0]), 1);
    assert_slice(v[0], "");
    assert_int_equal(http_query_all(r, "k", v, 3), 3);
    assert_slice(v[1], "&=");
    assert_slice(v[2], "last");
    assert_int_equal(http_query_all(r, "k", v, 1), 3);
    assert_int_equal(http_query_unknown(r, known, &name), 1);
    assert_slice(name, "odd");
    done(r);
}

static void look_trace_given(struct http_req *r)
{
    assert_string_equal(http_trace_id(r), "0af7651916cd43dd8448eb211c80319c");
    done(r);
}

static void look_trace_drawn(struct http_req *r)
{
    assert_int_equal(strlen(http_trace_id(r)), 32);
    assert_ptr_equal(http_trace_id(r), http_trace_id(r));
    assert_string_not_equal(http_trace_id(r), "00000000000000000000000000000000");
    assert_string_equal(http_peer(r), "192.0.2.7");
    done(r);
}

static void what_a_request_holds(void **state)
{
    (void)state;
    expect(look_params, REQ("/a/x%20y%2Fz/b/%C3%A9", ""), "204 No Content");
    expect(look_query, REQ("/q?k=1+2&flag&&k=%26%3D&odd=&k=last&e=", ""), "204 No Content");
    expect(look_trace_given,
           REQ("/q", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"),
           "204");
    expect(look_trace_drawn, REQ("/q", ""), "204");
    expect(look_trace_drawn,
           REQ("/q", "Traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01\r\n"),
           "204");
    expect(look_trace_drawn,
           REQ("/q", "Traceparent: 00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"),
           "204");
}

static void look_memory(struct http_req *r)
{
    uint8_t *small = http_alloc(r, 1);
    *small = 7;
    for (size_t size = 1; size < 5000; size += 313) {
        uint8_t *p = http_alloc(r, size);
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0xff, size);
    }
    assert_int_equal(*small, 7);
    done(r);
}

static void request_memory_is_aligned_and_stays(void **state)
{
    (void)state;
    expect(look_memory, REQ("/q", ""), "204");
}

static void say_204(struct http_req *r)
{
    http_respond(r, 204, "text/plain", SLICE_LIT("never sent"));
}

static void say_304(struct http_req *r)
{
    http_add_header(r, "ETag", "\"42\"");
    http_respond(r, 304, "text/plain", SLICE_LIT("never sent"));
}

static void say_split(struct http_req *r)
{
    http_add_header(r, "X-Thing", "a\r\nX-Evil: 1\x7f");
    http_respond(r, 200, "text/plain\r\nX-Worse: 1", SLICE_LIT("x"));
}

static void say_hello(struct http_req *r)
{
    http_respond(r, 200, "text/plain", SLICE_LIT("hello"));
}

static void heads_of_answers(void **state)
{
    (void)state;
    expect(say_hello, "HEAD /q HTTP/1.1\r\nHost: a\r\n\r\n", "Content-Length: 5\r\n");
    char *head = ask(say_hello, "HEAD /q HTTP/1.1\r\nHost: a\r\n\r\n", NULL);
    assert_null(strstr(head, "hello"));
    mem_free(head);
    char *out = ask(say_204, REQ("/q", ""), NULL);
    assert_string_equal(
        out,
        "HTTP/1.1 204 No Content\r\nX-Content-Type-Options: nosniff\r\nMuster-Revision: 18446744073709551615\r\n\r\n");
    mem_free(out);
    out = ask(say_304, REQ("/q", ""), NULL);
    assert_string_equal(
        out, "HTTP/1.1 304 Not Modified\r\nX-Content-Type-Options: nosniff\r\nETag: \"42\"\r\n"
             "Muster-Revision: 18446744073709551615\r\n\r\n");
    mem_free(out);
    out = ask(say_split, REQ("/q", ""), NULL);
    assert_null(strstr(out, "\nX-Evil"));
    assert_null(strstr(out, "\nX-Worse"));
    assert_non_null(strstr(out, "X-Thing: a  X-Evil: 1 \r\n"));
    mem_free(out);
}

static void add_more(struct jw *w, void *arg)
{
    jw_key(w, "compact_revision");
    jw_u64(w, *(uint64_t *)arg);
}

static void say_problem(struct http_req *r)
{
    uint64_t rev = 7;
    http_respond_problem(r, MU_E_REVISION_MISMATCH, "config \"x\" is at 7", add_more, &rev);
}

static void say_error(struct http_req *r)
{
    http_respond_error(r, MU_E_COMPACTED, "revision %d is gone", 3);
}

static void say_error_bare(struct http_req *r)
{
    http_respond_error(r, MU_E_NO_LEADER, NULL);
}

static void problems(void **state)
{
    (void)state;
    expect(
        say_problem, REQ("/q", ""),
        "{\"type\":\"urn:muster:error:revision-mismatch\",\"title\":\"revision mismatch\",\"status\":412,"
        "\"detail\":\"config \\\"x\\\" is at 7\",\"code\":\"REVISION_MISMATCH\",\"compact_revision\":7}");
    expect(say_problem, REQ("/q", ""),
           "HTTP/1.1 412 Precondition Failed\r\nContent-Type: application/problem+json\r\n");
    expect(say_error, REQ("/q", ""), "\"status\":410,\"detail\":\"revision 3 is gone\"");
    expect(say_error_bare, REQ("/q", ""), "\"detail\":\"no leader\",\"code\":\"NO_LEADER\"}");
}

static void say_large(struct http_req *r, const char *type, size_t len)
{
    struct buf *b = http_scratch(r);
    while (b->len < len) {
        buf_append_str(b, "0123456789abcdef");
    }
    http_respond(r, 200, type, buf_slice(b));
}

static void say_large_json(struct http_req *r)
{
    say_large(r, "application/json", 8192);
}

static void say_large_text(struct http_req *r)
{
    say_large(r, "text/plain; charset=utf-8", 8192);
}

static void say_large_binary(struct http_req *r)
{
    say_large(r, "application/octet-stream", 8192);
}

static void say_small_json(struct http_req *r)
{
    say_large(r, "application/json", 4080);
}

static void say_packed_already(struct http_req *r)
{
    http_add_header(r, "Content-Encoding", "br");
    say_large(r, "application/json", 8192);
}

static int is_packed(void (*fn)(struct http_req *r), const char *request)
{
    char *out = ask(fn, request, NULL);
    int yes = strstr(out, "Content-Encoding: gzip\r\n") != NULL;
    mem_free(out);
    return yes;
}

static void when_gzip_is_used(void **state)
{
    (void)state;
    assert_true(is_packed(say_large_json, REQ("/q", "Accept-Encoding: gzip\r\n")));
    assert_true(
        is_packed(say_large_text, REQ("/q", "Accept-Encoding: deflate, GZIP;q=0.5, br\r\n")));
    assert_true(is_packed(say_large_json, REQ("/q", "Accept-Encoding: *\r\n")));
    assert_true(is_packed(say_large_json, REQ("/q", "Accept-Encoding: x-gzip ; q=1\r\n")));
    assert_false(is_packed(say_large_json, REQ("/q", "")));
    assert_false(is_packed(say_large_json, REQ("/q", "Accept-Encoding: gzip;q=0\r\n")));
    assert_false(is_packed(say_large_json, REQ("/q", "Accept-Encoding: gzip; q=0.000, *\r\n")));
    assert_false(is_packed(say_large_json, REQ("/q", "Accept-Encoding: *;q=0\r\n")));
    assert_false(is_packed(say_large_json, REQ("/q", "Accept-Encoding: gzipped, identity\r\n")));
    assert_false(is_packed(say_large_binary, REQ("/q", "Accept-Encoding: gzip\r\n")));
    assert_false(is_packed(say_small_json, REQ("/q", "Accept-Encoding: gzip\r\n")));
    assert_false(is_packed(say_packed_already, REQ("/q", "Accept-Encoding: gzip\r\n")));
    expect(say_large_json, REQ("/q", ""), "Vary: Accept-Encoding\r\n");
}

static void gzip_unpacks_to_the_same(void **state)
{
    (void)state;
    struct buf raw;
    mem_free(ask(say_large_json, REQ("/q", "Accept-Encoding: gzip\r\n"), &raw));
    buf_append_byte(&raw, 0);
    const uint8_t *body = (const uint8_t *)strstr((const char *)raw.p, "\r\n\r\n") + 4;
    static uint8_t plain[10000];
    z_stream z = {.next_in = (Bytef *)(uintptr_t)body,
                  .avail_in = (uInt)(raw.p + raw.len - 1 - body),
                  .next_out = plain,
                  .avail_out = sizeof(plain)};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, 8192);
    assert_int_equal(z.avail_in, 0); /* Content-Length and the stream agree */
    assert_memory_equal(plain + 8176, "0123456789abcdef", 16);
    (void)inflateEnd(&z);
    buf_fini(&raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_request_holds),
        cmocka_unit_test(request_memory_is_aligned_and_stays),
        cmocka_unit_test(heads_of_answers),
        cmocka_unit_test(problems),
        cmocka_unit_test(when_gzip_is_used),
        cmocka_unit_test(gzip_unpacks_to_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
