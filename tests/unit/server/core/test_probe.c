/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include <uv.h>

#include "server/core/probe.h"

static void good_targets(void **state)
{
    struct probe_target t;
    struct err e = {0};
    (void)state;
    assert_int_equal(probe_target_parse(CHECK_HTTP, SLICE_LIT("http://h"), &t, &e), 0);
    assert_string_equal(t.host, "h");
    assert_int_equal(t.port, 80);
    assert_string_equal(t.path, "/");
    assert_int_equal(probe_target_parse(CHECK_HTTP, SLICE_LIT("http://[::1]:8080/a?b=c"), &t, &e),
                     0);
    assert_string_equal(t.host, "::1");
    assert_int_equal(t.port, 8080);
    assert_string_equal(t.path, "/a?b=c");
    assert_int_equal(probe_target_parse(CHECK_HTTP, SLICE_LIT("http://h:1?x"), &t, &e), 0);
    assert_string_equal(t.path, "/?x");
    assert_int_equal(probe_target_parse(CHECK_TCP, SLICE_LIT("10.0.0.1:99"), &t, &e), 0);
    assert_int_equal(t.port, 99);
}

static void bad_targets_say_why(void **state)
{
    static const char *const http[] = {"https://h/",
                                       "ftp://h/",
                                       "http://",
                                       "http://h:0/",
                                       "http://h:70000/",
                                       "http://h:x/",
                                       "http://h/a b",
                                       "http://u@h/",
                                       "http://[::1/",
                                       "http://[::1]x/",
                                       "http://h/#frag",
                                       "http://h\r\nX: y/",
                                       "",
                                       "h:80"};
    static const char *const tcp[] = {"h", "h:", ":80", "h:0", "h:99999", "h h:1", ""};
    struct probe_target t;
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(http); i++) {
        struct err e = {0};
        assert_int_equal(probe_target_parse(CHECK_HTTP, slice_str(http[i]), &t, &e),
                         MU_E_BAD_REQUEST);
        assert_true(e.text[0] != '\0');
    }
    for (size_t i = 0; i < N_ELEMENTS(tcp); i++) {
        struct err e = {0};
        assert_int_equal(probe_target_parse(CHECK_TCP, slice_str(tcp[i]), &t, &e),
                         MU_E_BAD_REQUEST);
        assert_true(e.text[0] != '\0');
    }
}

/* --- a server that answers every connection with a fixed text --- */

struct peer {
    uv_loop_t loop;
    uv_tcp_t server;
    int port;
    const char *answer;
    uv_tcp_t conns[8];
    int n_conns;
};

static void on_closed_write(uv_write_t *w, int status)
{
    (void)status;
    uv_close((uv_handle_t *)w->handle, NULL);
    free(w);
}

static void on_connection(uv_stream_t *s, int status)
{
    struct peer *p = s->data;
    assert_int_equal(status, 0);
    uv_tcp_t *c = &p->conns[p->n_conns++];
    uv_tcp_init(&p->loop, c);
    assert_int_equal(uv_accept(s, (uv_stream_t *)c), 0);
    if (p->answer == NULL) {
        return; /* says nothing */
    }
    uv_write_t *w = calloc(1, sizeof(*w));
    uv_buf_t b = uv_buf_init((char *)(uintptr_t)p->answer, (unsigned)strlen(p->answer));
    uv_write(w, (uv_stream_t *)c, &b, 1, on_closed_write);
}

static void peer_open(struct peer *p, const char *answer)
{
    struct sockaddr_in a;
    int len = sizeof(a);
    memset(p, 0, sizeof(*p));
    p->answer = answer;
    uv_loop_init(&p->loop);
    uv_tcp_init(&p->loop, &p->server);
    p->server.data = p;
    uv_ip4_addr("127.0.0.1", 0, &a);
    assert_int_equal(uv_tcp_bind(&p->server, (struct sockaddr *)&a, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&p->server, 8, on_connection), 0);
    uv_tcp_getsockname(&p->server, (struct sockaddr *)&a, &len);
    p->port = ntohs(a.sin_port);
}

static void close_any(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h)) {
        uv_close(h, NULL);
    }
}

static void peer_close(struct peer *p)
{
    uv_walk(&p->loop, close_any, NULL);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&p->loop), 0);
}

struct outcome {
    int n, is_ok, status;
    char output[200], reason[64], body[64];
    uv_loop_t *loop;
};

static void on_probed(void *arg, const struct probe_result *r)
{
    struct outcome *o = arg;
    o->n++;
    o->is_ok = r->is_ok;
    o->status = r->status;
    snprintf(o->output, sizeof(o->output), "%s", r->output);
    snprintf(o->reason, sizeof(o->reason), "%.*s", SLICE_FMT(r->reason));
    snprintf(o->body, sizeof(o->body), "%.*s", SLICE_FMT(r->body));
    uv_stop(o->loop);
}

static struct outcome ask(const char *answer, enum check_type type, const struct probe_request *q,
                          int64_t timeout_ms)
{
    struct peer p;
    struct probe_target t = {.type = type, .host = "127.0.0.1", .path = "/"};
    peer_open(&p, answer);
    struct outcome o = {.loop = &p.loop};
    t.port = (uint16_t)p.port;
    struct probe *pr = probe_start(&p.loop, &t, q, timeout_ms, on_probed, &o);
    assert_non_null(pr);
    assert_int_equal(o.n, 0); /* never from inside */
    uv_run(&p.loop, UV_RUN_DEFAULT);
    peer_close(&p);
    assert_int_equal(o.n, 1);
    return o;
}

static struct outcome probe_it(const char *answer, enum check_type type, int64_t timeout_ms)
{
    return ask(answer, type, NULL, timeout_ms);
}

static void what_the_answer_says(void **state)
{
    const struct probe_request q = {.wants_body = 1, .is_consul = 1};
    (void)state;
    struct outcome o = ask("HTTP/1.1 429 Too Many\r\nA: b\r\n\r\nslow down", CHECK_HTTP, &q, 500);
    assert_true(!o.is_ok && o.status == 429);
    assert_string_equal(o.reason, "Too Many");
    assert_string_equal(o.body, "slow down");
    o = ask("HTTP/1.1 200 OK\r\nContent-Le", CHECK_HTTP, &q, 500);
    assert_true(o.is_ok && o.body[0] == '\0');
}

static void outcomes(void **state)
{
    (void)state;
    struct outcome o = probe_it("HTTP/1.1 204 No Content\r\n\r\n", CHECK_HTTP, 2000);
    assert_true(o.is_ok);
    assert_string_equal(o.output, "HTTP 204");
    assert_false(
        probe_it("HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", CHECK_HTTP, 2000).is_ok);
    assert_false(probe_it("HTTP/1.1 503 x\r\n\r\n", CHECK_HTTP, 2000).is_ok);
    assert_false(probe_it("SSH-2.0-OpenSSH\r\nxxxxxxxx", CHECK_HTTP, 2000).is_ok);
    assert_false(probe_it("HTTP/1.1 2", CHECK_HTTP, 2000).is_ok);
    assert_true(probe_it("", CHECK_TCP, 2000).is_ok);
    o = probe_it(NULL, CHECK_HTTP, 100);
    assert_false(o.is_ok);
    assert_string_equal(o.output, "timed out");
}

static void link_local_is_refused(void **state)
{
    uv_loop_t loop;
    struct probe_target t = {.type = CHECK_TCP, .host = "169.254.169.254", .port = 80};
    (void)state;
    uv_loop_init(&loop);
    struct outcome o = {.loop = &loop};
    assert_non_null(probe_start(&loop, &t, NULL, 1000, on_probed, &o));
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(o.n, 1);
    assert_false(o.is_ok);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* The same addresses as IPv6 carries them lead to the same place. */
static void link_local_in_disguise(void **state)
{
    static const char *const refused[] = {"fe80::1",
                                          "febf::1",
                                          "::ffff:169.254.169.254",
                                          "::169.254.169.254",
                                          "64:ff9b::169.254.169.254",
                                          "2002:a9fe:a9fe::1"};
    static const char *const taken[] = {"::1", "fd00::1", "::ffff:10.0.0.1", "2001:db8::a9fe:a9fe"};
    struct sockaddr_in6 a;
    struct sockaddr_in v4;
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(refused); i++) {
        assert_int_equal(uv_ip6_addr(refused[i], 80, &a), 0);
        assert_false(probe_may_connect((const struct sockaddr *)&a));
    }
    for (size_t i = 0; i < N_ELEMENTS(taken); i++) {
        assert_int_equal(uv_ip6_addr(taken[i], 80, &a), 0);
        assert_true(probe_may_connect((const struct sockaddr *)&a));
    }
    assert_int_equal(uv_ip4_addr("169.253.1.1", 80, &v4), 0);
    assert_true(probe_may_connect((const struct sockaddr *)&v4));
}

static void cancelled_probe_is_silent(void **state)
{
    struct peer p;
    struct probe_target t = {.type = CHECK_TCP, .host = "127.0.0.1"};
    (void)state;
    peer_open(&p, "");
    t.port = (uint16_t)p.port;
    struct outcome o = {.loop = &p.loop};
    struct probe *pr = probe_start(&p.loop, &t, NULL, 1000, on_probed, &o);
    probe_cancel(pr);
    peer_close(&p);
    assert_int_equal(o.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_targets),
        cmocka_unit_test(bad_targets_say_why),
        cmocka_unit_test(outcomes),
        cmocka_unit_test(what_the_answer_says),
        cmocka_unit_test(link_local_is_refused),
        cmocka_unit_test(link_local_in_disguise),
        cmocka_unit_test(cancelled_probe_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
