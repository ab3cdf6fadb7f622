/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/sse.h"

struct got {
    char text[4096]; /* type#id=data| of each message */
    int n;
    int stop_at;
};

static int take(void *user, const struct sse_message *m)
{
    struct got *g = user;
    size_t at = strlen(g->text);
    assert_int_equal(strlen(m->data), m->len);
    snprintf(g->text + at, sizeof(g->text) - at, "%s#%llu=%s|", m->type, (unsigned long long)m->id,
             m->data);
    return ++g->n == g->stop_at;
}

static const struct {
    const char *in;
    const char *out;
} rows[] = {
    {"id: 42\nevent: change\ndata: {\"a\":1}\n\n", "change#42={\"a\":1}|"},
    {"id: 1\r\nevent: x\r\ndata: d\r\n\r\n", "x#1=d|"},
    {"id:1\revent:x\rdata:d\r\r", "x#1=d|"},
    {"data: a\ndata: b\ndata\n\n", "message#0=a\nb\n|"},
    {": comment\n\ndata:  two\n\n", "message#0= two|"},
    {"event: lonely\n\ndata: d\n\n", "message#0=d|"}, /* no data: no message, and forgotten */
    {"id: 7\ndata: x\n\ndata: y\n\n", "message#7=x|message#0=y|"},
    {"retry: 10\nother: 3\ndata: d\n\n", "message#0=d|"},
    {"data:\n\n", "message#0=|"},
    {"data: cut", ""},
    {"data: cut\n", ""},
    {"\n\n\n", ""},
    {"event: 0123456789012345678901234567890123456789\ndata: d\n\n", "message#0=d|"},
};

/* Fed in two pieces cut at every place, and byte by byte: always the same. */
static void cut_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        size_t len = strlen(rows[i].in);
        for (size_t cut = 0; cut <= len; cut++) {
            struct got g = {0};
            struct sse s;
            sse_init(&s, take, &g);
            assert_int_equal(sse_feed(&s, rows[i].in, cut), SSE_OK);
            assert_int_equal(sse_feed(&s, rows[i].in + cut, len - cut), SSE_OK);
            assert_string_equal(g.text, rows[i].out);
            sse_fini(&s);
        }
        struct got g = {0};
        struct sse s;
        sse_init(&s, take, &g);
        for (size_t k = 0; k < len; k++) {
            assert_int_equal(sse_feed(&s, rows[i].in + k, 1), SSE_OK);
        }
        assert_string_equal(g.text, rows[i].out);
        sse_fini(&s);
    }
}

static void ids_are_revisions(void **state)
{
    (void)state;
    static const char *const bad[] = {"id: x\n", "id: -1\n", "id: 18446744073709551615\n", "id:\n",
                                      "id: 1 \n"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct got g = {0};
        struct sse s;
        sse_init(&s, take, &g);
        assert_int_equal(sse_feed(&s, bad[i], strlen(bad[i])), SSE_BAD_ID);
        sse_fini(&s);
    }
}

static void it_stops_when_told(void **state)
{
    (void)state;
    static const char in[] = "data: 1\n\ndata: 2\n\ndata: 3\n\n";
    struct got g = {.stop_at = 2};
    struct sse s;
    sse_init(&s, take, &g);
    assert_int_equal(sse_feed(&s, in, sizeof(in) - 1), SSE_STOPPED);
    assert_int_equal(g.n, 2);
    sse_fini(&s);
}

static void a_new_connection_forgets_half_a_message(void **state)
{
    (void)state;
    struct got g = {0};
    struct sse s;
    sse_init(&s, take, &g);
    assert_int_equal(sse_feed(&s, "id: 5\ndata: half\ndat", 20), SSE_OK);
    sse_reset(&s);
    assert_int_equal(sse_feed(&s, "\ndata: whole\n\n", 14), SSE_OK);
    assert_string_equal(g.text, "message#0=whole|");
    sse_fini(&s);
}

static int count_bytes(void *user, const struct sse_message *m)
{
    *(size_t *)user += m->len;
    return 0;
}

static void a_message_is_bounded(void **state)
{
    (void)state;
    enum { PIECE = 1 << 20 };
    char *piece = malloc(PIECE);
    size_t total = 0;
    struct sse s;
    int rc = SSE_OK;
    memset(piece, 'x', PIECE);
    sse_init(&s, count_bytes, &total);
    /* Large is fine, and its memory is given back. */
    assert_int_equal(sse_feed(&s, "data: ", 6), SSE_OK);
    assert_int_equal(sse_feed(&s, piece, PIECE), SSE_OK);
    assert_int_equal(sse_feed(&s, "\n\n", 2), SSE_OK);
    assert_int_equal(total, PIECE);
    assert_true(s.line.cap + s.data.cap < PIECE);
    /* Without end is not. */
    for (int i = 0; i <= SSE_MESSAGE_MAX / PIECE && rc == SSE_OK; i++) {
        rc = sse_feed(&s, piece, PIECE);
    }
    assert_int_equal(rc, SSE_TOO_LARGE);
    sse_fini(&s);
    free(piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(ids_are_revisions),
        cmocka_unit_test(it_stops_when_told),
        cmocka_unit_test(a_new_connection_forgets_half_a_message),
        cmocka_unit_test(a_message_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
