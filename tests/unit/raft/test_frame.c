/* SPDX-License-Identifier: Apache-2.0 */
/* Frames and the two hand-shake messages, without sockets. */
#include "base/hash.h"
#include "base/mem.h"
#include "base/wire.h"
#include "raft/transport_addr.h"
#include "raft/transport_frame.h"
#include "raft/transport_hello.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <sys/socket.h>

enum { MAX = 1000000 };

/* Gives `in` to the reader in pieces of at most `step` bytes; appends "type:body;" of each frame to
 * out. Returns the last code of next(). */
static int feed(struct peer_frame_reader *r, struct slice in, size_t step, struct buf *out)
{
    int rc = 0;
    while (in.len > 0 && rc == 0) {
        size_t cap = 0;
        uint8_t *to = peer_frame_reader_room(r, &cap);
        size_t n = in.len < step ? in.len : step;
        n = n < cap ? n : cap;
        assert_true(n > 0);
        memcpy(to, in.p, n);
        peer_frame_reader_add(r, n);
        in = slice_of(in.p + n, in.len - n);
        uint8_t type;
        struct slice body;
        while ((rc = peer_frame_reader_next(r, &type, &body)) == 1) {
            buf_printf(out, "%u:", type);
            buf_append_slice(out, body);
            buf_append_byte(out, ';');
        }
    }
    return rc;
}

static struct buf three_frames(void)
{
    struct buf b;
    const struct slice parts[] = {SLICE_LIT("ab"), {0}, SLICE_LIT("c")};
    buf_init(&b);
    peer_frame_put(&b, 1, parts, 3);
    peer_frame_put(&b, 2, NULL, 0);
    peer_frame_put(&b, 253, parts, 1);
    return b;
}

/* The bytes on the wire are these, for ever. */
static void test_bytes(void **state)
{
    struct buf b = three_frames();
    (void)state;
    static const uint8_t head[] = {3, 0, 0, 0, 1};
    uint32_t crc = hash_crc32c(hash_crc32c(0, head, sizeof(head)), "abc", 3);
    assert_memory_equal(b.p, head, sizeof(head));
    assert_int_equal(wire_get_u32(b.p + 5), crc);
    assert_memory_equal(b.p + 9, "abc", 3);
    assert_int_equal(b.len, 3 * PEER_FRAME_HEAD + 5);
    /* crc32c of 00 00 00 00 02, from an independent implementation */
    assert_int_equal(wire_get_u32(b.p + 12 + 5), 0xa44906c2);
    buf_fini(&b);
}

/* However the bytes are cut, the same frames come out. */
static void test_every_cut(void **state)
{
    struct buf b = three_frames(), out;
    (void)state;
    buf_init(&out);
    for (size_t cut = 0; cut <= b.len; cut++) {
        struct peer_frame_reader r;
        peer_frame_reader_init(&r, MAX);
        buf_clear(&out);
        assert_int_equal(feed(&r, slice_of(b.p, cut), MAX, &out), 0);
        assert_int_equal(feed(&r, slice_of(b.p + cut, b.len - cut), MAX, &out), 0);
        unit_slice_is(buf_slice(&out), "1:abc;2:;253:ab;");
        peer_frame_reader_fini(&r);
    }
    for (size_t step = 1; step <= b.len; step++) {
        struct peer_frame_reader r;
        peer_frame_reader_init(&r, MAX);
        buf_clear(&out);
        assert_int_equal(feed(&r, buf_slice(&b), step, &out), 0);
        unit_slice_is(buf_slice(&out), "1:abc;2:;253:ab;");
        peer_frame_reader_fini(&r);
    }
    buf_fini(&b);
    buf_fini(&out);
}

/* Every flipped bit is noticed: no frame comes out that was not put in. */
static void test_every_flip(void **state)
{
    struct buf b = three_frames(), out;
    (void)state;
    buf_init(&out);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        struct peer_frame_reader r;
        peer_frame_reader_init(&r, MAX);
        buf_clear(&out);
        b.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)feed(&r, buf_slice(&b), MAX, &out);
        b.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        size_t whole = bit < 12 * 8 ? 0 : bit < 21 * 8 ? 1 : 2;
        static const char *const before[] = {"", "1:abc;", "1:abc;2:;"};
        unit_slice_is(buf_slice(&out), before[whole]);
        peer_frame_reader_fini(&r);
    }
    buf_fini(&b);
    buf_fini(&out);
}

/* The bound holds before memory is taken. */
static void test_bound(void **state)
{
    struct peer_frame_reader r;
    struct buf b, out;
    uint8_t body[200] = {0};
    const struct slice part = slice_of(body, sizeof(body));
    (void)state;
    buf_init(&b);
    buf_init(&out);
    peer_frame_put(&b, 1, &part, 1);
    peer_frame_reader_init(&r, sizeof(body) - 1);
    assert_int_equal(feed(&r, slice_of(b.p, 4), 1, &out),
                     MU_E_TOO_LARGE); /* the length is enough */
    assert_true(r.b.cap <= 512);
    peer_frame_reader_fini(&r);
    peer_frame_reader_init(&r, sizeof(body));
    assert_int_equal(feed(&r, buf_slice(&b), 50, &out), 0);
    assert_int_equal(out.len, sizeof(body) + 3);
    peer_frame_reader_limit(&r, 10);
    assert_int_equal(feed(&r, buf_slice(&b), 50, &out), MU_E_TOO_LARGE);
    peer_frame_reader_fini(&r);
    buf_fini(&b);
    buf_fini(&out);
}

static void feed_small(struct peer_frame_reader *r, unsigned n)
{
    struct buf b = three_frames(), out;
    buf_init(&out);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(feed(r, buf_slice(&b), MAX, &out), 0);
    }
    buf_fini(&b);
    buf_fini(&out);
}

/* The buffer grows for a large frame: at once down again from a very large one, else after a while.
 */
static void test_growth(void **state)
{
    static const size_t sizes[] = {PEER_FRAME_ROOM * 4, PEER_FRAME_KEEP * 2};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        struct peer_frame_reader r;
        struct buf b, out;
        uint8_t *body = mem_zalloc(sizes[i]);
        const struct slice part = slice_of(body, sizes[i]);
        buf_init(&b);
        buf_init(&out);
        peer_frame_put(&b, 1, &part, 1);
        peer_frame_reader_init(&r, PEER_FRAME_KEEP * 4);
        feed_small(&r, 3);
        assert_int_equal(r.b.cap, PEER_FRAME_ROOM);
        assert_int_equal(feed(&r, buf_slice(&b), MAX, &out), 0);
        assert_int_equal(out.len, sizes[i] + 3);
        assert_true(r.b.cap > sizes[i]);
        feed_small(&r, 1);
        assert_int_equal(r.b.cap > PEER_FRAME_ROOM, sizes[i] < PEER_FRAME_KEEP);
        feed_small(&r, PEER_FRAME_SMALL_READS);
        assert_int_equal(r.b.cap, PEER_FRAME_ROOM);
        peer_frame_reader_fini(&r);
        buf_fini(&b);
        buf_fini(&out);
        mem_free(body);
    }
}

/* --- hello --- */

static const struct peer_hello hello = {.version_min = 1,
                                        .version_max = 0x0203,
                                        .cluster_id = "0123456789abcde",
                                        .from = 0x1122334455667788,
                                        .to = 2,
                                        .run = 3,
                                        .session = 4,
                                        .name = "node-1"};

static struct slice body_of(const struct buf *b)
{
    return slice_of(b->p + PEER_FRAME_HEAD, b->len - PEER_FRAME_HEAD);
}

static void test_hello(void **state)
{
    static const uint8_t bytes[] = {
        'm',  'u',  's',  't',  'e',  'r',  'P',  'R',  1,   0,   3,   2,   '0', '1',
        '2',  '3',  '4',  '5',  '6',  '7',  '8',  '9',  'a', 'b', 'c', 'd', 'e', 0,
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 2,   0,   0,   0,   0,   0,
        0,    0,    3,    0,    0,    0,    0,    0,    0,   0,   4,   0,   0,   0,
        0,    0,    0,    0,    6,    0,    0,    0,    'n', 'o', 'd', 'e', '-', '1'};
    struct peer_hello got;
    struct buf b;
    (void)state;
    buf_init(&b);
    peer_hello_put(&b, &hello);
    assert_int_equal(b.p[4], PEER_FRAME_TYPE_HELLO);
    assert_int_equal(body_of(&b).len, sizeof(bytes));
    assert_memory_equal(body_of(&b).p, bytes, sizeof(bytes));
    assert_int_equal(peer_hello_read(body_of(&b), &got), 0);
    assert_memory_equal(&got, &hello, sizeof(hello));
    for (size_t len = 0; len < sizeof(bytes); len++) {
        assert_int_equal(peer_hello_read(slice_of(bytes, len), &got), MU_E_FORMAT);
    }
    uint8_t longer[sizeof(bytes) + 5] = {0}; /* a newer version's */
    memcpy(longer, bytes, sizeof(bytes));
    assert_int_equal(peer_hello_read(slice_of(longer, sizeof(longer)), &got), 0);
    longer[0] = 'M';
    assert_int_equal(peer_hello_read(slice_of(longer, sizeof(longer)), &got), MU_E_FORMAT);
    buf_fini(&b);
}

static int read_back(const struct peer_hello *h)
{
    struct peer_hello got;
    struct buf b;
    buf_init(&b);
    peer_hello_put(&b, h);
    int rc = peer_hello_read(body_of(&b), &got);
    buf_fini(&b);
    return rc;
}

static void test_hello_refuses(void **state)
{
    struct peer_hello h = hello;
    (void)state;
    h.from = 0;
    assert_int_equal(read_back(&h), MU_E_FORMAT);
    h = hello;
    h.version_min = h.version_max + 1;
    assert_int_equal(read_back(&h), MU_E_FORMAT);
    h = hello;
    h.name[0] = '\0';
    assert_int_equal(read_back(&h), MU_E_FORMAT);
    h = hello;
    h.name[2] = '\n';
    assert_int_equal(read_back(&h), MU_E_FORMAT);
    h = hello;
    memset(h.name, 'x', PEER_NAME_MAX);
    assert_int_equal(read_back(&h), 0);
    struct buf b;
    struct peer_hello got;
    uint8_t more[PEER_NAME_MAX + 1];
    memset(more, 'x', sizeof(more));
    buf_init(&b);
    peer_hello_put(&b, &hello);
    b.len -= 4 + strlen(hello.name);
    wire_put_bytes(&b, slice_of(more, sizeof(more))); /* one byte too long */
    assert_int_equal(peer_hello_read(body_of(&b), &got), MU_E_FORMAT);
    buf_fini(&b);
}

static void test_ack(void **state)
{
    const struct peer_ack ack = {.refusal = 5, .version = 0x0102, .cluster_id = {7}, .from = 9};
    struct peer_ack got;
    struct buf b;
    (void)state;
    buf_init(&b);
    peer_ack_put(&b, &ack);
    assert_int_equal(b.p[4], PEER_FRAME_TYPE_ACK);
    assert_int_equal(body_of(&b).len, 8 + 2 + 2 + 16 + 8);
    assert_int_equal(peer_ack_read(body_of(&b), &got), 0);
    assert_memory_equal(&got, &ack, sizeof(ack));
    for (size_t len = 0; len < body_of(&b).len; len++) {
        assert_int_equal(peer_ack_read(slice_of(body_of(&b).p, len), &got), MU_E_FORMAT);
    }
    b.p[PEER_FRAME_HEAD] ^= 1;
    assert_int_equal(peer_ack_read(body_of(&b), &got), MU_E_FORMAT);
    buf_fini(&b);
}

/* The highest version that both speak. */
static void test_version(void **state)
{
    static const struct {
        uint16_t min, max, version;
    } rows[] = {{1, 1, 1}, {1, 9, 1}, {0, 1, 1}, {0, 0, 0}, {2, 9, 0}};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct peer_hello h = {.version_min = rows[i].min, .version_max = rows[i].max};
        assert_int_equal(peer_version_of(&h), rows[i].version);
    }
}

static void test_refusals_have_text(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= PEER_REFUSAL_N; i++) {
        assert_non_null(peer_refusal_text(i));
        for (unsigned k = 0; k < i; k++) {
            assert_string_not_equal(peer_refusal_text(i), peer_refusal_text(k));
        }
    }
}

/* --- addresses --- */

static void test_addresses(void **state)
{
    static const struct {
        const char *text, *host, *port, *printed; /* host NULL: refused; printed NULL: a name */
        int is_loopback;
    } rows[] = {
        {"127.0.0.1:80", "127.0.0.1", "80", "127.0.0.1:80", 1},
        {"127.9.9.9:0", "127.9.9.9", "0", "127.9.9.9:0", 1},
        {"128.0.0.1:80", "128.0.0.1", "80", "128.0.0.1:80", 0},
        {"[::1]:8300", "::1", "8300", "[::1]:8300", 1},
        {"[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", "1", "[::ffff:127.0.0.1]:1", 1},
        {"[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", "1", "[::ffff:10.0.0.1]:1", 0},
        {"[fe80::1]:65535", "fe80::1", "65535", "[fe80::1]:65535", 0},
        {"a.example:8300", "a.example", "8300", NULL, 0},
        {"::1:8300", NULL, NULL, NULL, 0},
        {"a.example", NULL, NULL, NULL, 0},
        {"a.example:", NULL, NULL, NULL, 0},
        {"a.example:65536", NULL, NULL, NULL, 0},
        {"a.example:-1", NULL, NULL, NULL, 0},
        {":80", NULL, NULL, NULL, 0},
        {"[]:80", NULL, NULL, NULL, 0},
        {"", NULL, NULL, NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        struct peer_addr a;
        struct sockaddr_storage sa;
        struct err e = {0};
        char printed[PEER_ADDR_TEXT];
        int rc = peer_addr_parse(rows[i].text, &a, &e);
        assert_int_equal(rc, rows[i].host != NULL ? 0 : MU_E_BAD_REQUEST);
        if (rc != 0) {
            continue;
        }
        assert_string_equal(a.host, rows[i].host);
        assert_string_equal(a.port, rows[i].port);
        rc = peer_addr_literal(&a, &sa);
        assert_int_equal(rc, rows[i].printed != NULL ? 0 : MU_E_NOT_FOUND);
        if (rc == 0) {
            peer_addr_format((const struct sockaddr *)&sa, printed);
            assert_string_equal(printed, rows[i].printed);
            assert_int_equal(peer_addr_is_loopback((const struct sockaddr *)&sa),
                             rows[i].is_loopback);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),         cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_flip),    cmocka_unit_test(test_bound),
        cmocka_unit_test(test_growth),        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_hello_refuses), cmocka_unit_test(test_ack),
        cmocka_unit_test(test_version),       cmocka_unit_test(test_refusals_have_text),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
