/* SPDX-License-Identifier: Apache-2.0 */
/* TLS between peers: who gets in, who does not, and new certificates while running. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/mem.h"
#include "raft/transport_frame.h"
#include "raft/transport_tls.h"
#include "tests/unit/raft/certs_kit.h"
#include "tests/unit/raft/transport_kit.h"

static struct certs_ca ca, other_ca;
static struct certs_node cert_a, cert_b, cert_c;

static int make_certs(void **state)
{
    (void)state;
    certs_init();
    certs_ca_init(&ca, "ours");
    certs_ca_init(&other_ca, "theirs");
    certs_issue(&ca, "a", "a.muster-peer", CERTS_FINE, &cert_a);
    certs_issue(&ca, "b", "b.muster-peer", CERTS_FINE, &cert_b);
    certs_issue(&ca, "c", "c.muster-peer", CERTS_FINE, &cert_c);
    return 0;
}

static int delete_certs(void **state)
{
    (void)state;
    certs_ca_fini(&ca);
    certs_ca_fini(&other_ca);
    certs_fini();
    return 0;
}

static void open_pair(struct kit_node *a, struct kit_node *b)
{
    kit_open(a, 1, "a", &cert_a.tls);
    kit_open(b, 2, "b", &cert_b.tls);
    kit_peers(a, b, NULL);
    kit_peers(b, a, NULL);
    kit_until(3000, a->is_up[2] && b->is_up[1]);
}

static void close_pair(struct kit_node *a, struct kit_node *b)
{
    kit_close(a);
    kit_close(b);
    kit_fini();
}

static void test_exchange(void **state)
{
    enum { FRAMES = 20000, BURST = 100 };
    struct kit_node a, b;
    (void)state;
    open_pair(&a, &b);
    for (uint64_t i = 1; i <= FRAMES; i++) {
        assert_int_equal(kit_send(&a, 2, i, i % 1000 == 0 ? 100000 : 8 + i % 500), 0);
        if (i % BURST == 0) {
            kit_turn();
        }
    }
    kit_until(10000, b.n_received == FRAMES);
    assert_int_equal(b.n_out_of_order, 0);
    assert_int_equal(kit_send(&b, 1, 1, 8), 0);
    kit_until(1000, a.n_received == 1);
    close_pair(&a, &b);
}

static void test_largest(void **state)
{
    struct kit_node a, b;
    (void)state;
    open_pair(&a, &b);
    assert_int_equal(kit_send(&a, 2, 1, TRANSPORT_FRAME_MAX), 0);
    assert_int_equal(kit_send(&a, 2, 2, TRANSPORT_FRAME_MAX), 0);
    assert_int_equal(kit_send(&a, 2, 3, 8), 0);
    assert_int_equal(kit_send(&a, 2, 4, TRANSPORT_FRAME_MAX), MU_E_OVERLOADED);
    kit_until(5000, a.n_ups == 2);
    b.n_received = b.last_received = 0;
    assert_int_equal(kit_send(&a, 2, 1, TRANSPORT_FRAME_MAX), 0);
    assert_int_equal(kit_send(&a, 2, 2, TRANSPORT_FRAME_MAX), 0);
    kit_until(10000, b.n_received == 2);
    assert_int_equal(transport_queued(a.t, 2), 0);
    close_pair(&a, &b);
}

static void test_restart(void **state)
{
    struct kit_node a, b;
    (void)state;
    open_pair(&a, &b);
    kit_close(&b);
    kit_until(1000, !a.is_up[2]);
    kit_reopen(&b, &cert_b.tls);
    kit_peers(&b, &a, NULL);
    kit_until(2000, a.is_up[2] && b.is_up[1]);
    close_pair(&a, &b);
}

/* --- refused --- */

/* b, with this certificate, dials a and is dialled by it; neither gets anywhere. */
static void expect_strangers(const struct tls_config *tls, const char *name, const char *why_a,
                             const char *why_b)
{
    struct kit_node a, b;
    kit_open(&a, 1, "a", &cert_a.tls);
    kit_open(&b, 2, name, tls);
    kit_peers(&b, &a, NULL);
    kit_until(2000, strstr(transport_why_down(b.t, 1), why_b) != NULL);
    kit_peers(&a, &b, NULL);
    kit_until(2000, strstr(transport_why_down(a.t, 2), why_a) != NULL);
    kit_run(300);
    assert_int_equal(a.n_ups + b.n_ups, 0);
    close_pair(&a, &b);
}

static void test_wrong_ca(void **state)
{
    struct certs_node stranger;
    char both[128];
    certs_issue(&other_ca, "b-theirs", "b.muster-peer", CERTS_FINE, &stranger);
    certs_bundle(&ca, &other_ca, both);
    stranger.tls.ca_file = both; /* it trusts us */
    expect_strangers(&stranger.tls, "b", "certificate", "unknown ca");
    stranger.tls.ca_file = other_ca.file; /* or not even that */
    kit_start(state);
    expect_strangers(&stranger.tls, "b", "TLS", "certificate");
}

/* A certificate of another member does not make its owner this one. */
static void test_wrong_name(void **state)
{
    struct kit_node a, b;
    (void)state;
    kit_open(&a, 1, "a", &cert_a.tls);
    kit_open(&b, 2, "c", &cert_c.tls); /* it is c ... */
    (void)snprintf(b.name, sizeof(b.name), "b");
    kit_peers(&a, &b, NULL); /* ... where a expects b */
    kit_until(2000, strstr(transport_why_down(a.t, 2), "does not carry") != NULL);
    kit_run(300);
    assert_int_equal(a.n_ups, 0);
    assert_int_equal(b.n_received, 0);
    close_pair(&a, &b);
}

/* A TLS client by hand: `cert` shown, a hello of `name` said. Returns what the node answers. */
struct hand {
    struct peer_tls_ctx *ctx;
    struct peer_tls *tls;
    struct buf out;
    int fd;
    struct buf plain;
};

static void hand_pump(struct hand *h)
{
    uint8_t cipher[4096], plain[4096];
    ssize_t n = recv(h->fd, cipher, sizeof(cipher), MSG_DONTWAIT);
    peer_tls_feed(h->tls, slice_of(cipher, n > 0 ? (size_t)n : 0));
    size_t k;
    while ((k = peer_tls_read(h->tls, plain, sizeof(plain))) > 0) {
        buf_append(&h->plain, plain, k);
    }
    if (h->out.len > 0) {
        (void)send(h->fd, h->out.p, h->out.len, MSG_NOSIGNAL);
        buf_clear(&h->out);
    }
    kit_turn();
}

static void hand_open(struct hand *h, const struct kit_node *to, const struct certs_node *cert,
                      const char *cert_name)
{
    struct err e = {0};
    *h = (struct hand){.fd = kit_raw(to)};
    if (peer_tls_load(&cert->tls, cert_name, &h->ctx, &e) != 0) {
        fail_msg("%s", e.text);
    }
    buf_init(&h->out);
    buf_init(&h->plain);
    h->tls = peer_tls_new(h->ctx, 0, &h->out);
    kit_until(2000, (hand_pump(h), peer_tls_state(h->tls) != PEER_TLS_HANDSHAKE));
}

static void hand_close(struct hand *h)
{
    peer_tls_free(h->tls);
    peer_tls_ctx_unref(h->ctx);
    buf_fini(&h->out);
    buf_fini(&h->plain);
    close(h->fd);
}

static unsigned hand_hello(struct hand *h, const struct peer_hello *hello)
{
    struct buf b;
    struct peer_ack ack;
    buf_init(&b);
    peer_hello_put(&b, hello);
    peer_tls_write(h->tls, buf_slice(&b));
    buf_fini(&b);
    kit_until(2000, (hand_pump(h), h->plain.len > PEER_FRAME_HEAD));
    assert_int_equal(
        peer_ack_read(slice_of(h->plain.p + PEER_FRAME_HEAD, h->plain.len - PEER_FRAME_HEAD), &ack),
        0);
    return ack.refusal;
}

/* The name in the hello must be the one in the certificate. */
static void test_wrong_hello_name(void **state)
{
    struct kit_node a;
    struct hand h;
    (void)state;
    kit_open(&a, 1, "a", &cert_a.tls);
    hand_open(&h, &a, &cert_b, "b");
    struct peer_hello hello = kit_hello(3, "c", &a);
    assert_int_equal(hand_hello(&h, &hello), PEER_REFUSED_NAME);
    kit_until(1000, (hand_pump(&h), peer_tls_state(h.tls) == PEER_TLS_ENDED)); /* close_notify */
    hand_close(&h);
    hand_open(&h, &a, &cert_b, "b");
    hello = kit_hello(2, "b", &a);
    assert_int_equal(hand_hello(&h, &hello), PEER_WELCOME);
    hand_close(&h);
    kit_close(&a);
    kit_fini();
}

/* Nothing is read from who shows no certificate. */
static void test_no_certificate(void **state)
{
    enum { ALERT_CERTIFICATE_REQUIRED = 116 };
    struct kit_node a;
    uint8_t block[4096];
    struct buf hello;
    (void)state;
    kit_open(&a, 1, "a", &cert_a.tls);
    int fd = kit_raw(&a);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    buf_init(&hello);
    struct peer_hello h = kit_hello(2, "b", &a);
    peer_hello_put(&hello, &h);
    int is_ended = 0, rc = 0;
    for (int64_t end = kit_now() + 3000; !is_ended && kit_now() < end;) {
        size_t n = 0;
        ERR_clear_error();
        if (hello.len > 0 && SSL_write_ex(ssl, hello.p, hello.len, &n) == 1) {
            buf_clear(&hello); /* with the last flight of the hand-shake */
        }
        ERR_clear_error();
        assert_int_not_equal(SSL_read_ex(ssl, block, sizeof(block), &n), 1); /* no answer */
        rc = ERR_GET_REASON(ERR_peek_error());
        int len = BIO_read(out, block, sizeof(block));
        if (len > 0) {
            (void)send(fd, block, (size_t)len, MSG_NOSIGNAL);
        }
        kit_turn();
        ssize_t k = recv(fd, block, sizeof(block), MSG_DONTWAIT);
        if (k > 0) {
            BIO_write(in, block, (int)k);
        }
        is_ended = k == 0 || rc == SSL_AD_REASON_OFFSET + ALERT_CERTIFICATE_REQUIRED;
    }
    assert_int_equal(hello.len, 0);
    assert_int_equal(rc, SSL_AD_REASON_OFFSET + ALERT_CERTIFICATE_REQUIRED);
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    buf_fini(&hello);
    close(fd);
    kit_close(&a);
    kit_fini();
}

static void test_plaintext_to_tls(void **state)
{
    struct kit_node a, b;
    struct buf hello, got;
    (void)state;
    kit_open(&a, 1, "a", &cert_a.tls);
    kit_open(&b, 2, "b", NULL);
    kit_peers(&b, &a, NULL); /* a decent node without TLS */
    kit_peers(&a, &b, NULL);
    kit_until(2000, transport_why_down(a.t, 2)[0] != '\0' && transport_why_down(b.t, 1)[0] != '\0');
    kit_run(500);
    assert_int_equal(a.n_ups + b.n_ups, 0);
    buf_init(&hello);
    buf_init(&got);
    struct peer_hello h = kit_hello(2, "b", &a);
    peer_hello_put(&hello, &h);
    int fd = kit_raw(&a);
    kit_raw_send(fd, hello.p, hello.len);
    assert_true(kit_raw_ended(fd, 1000, &got));
    assert_true(got.len < 16); /* an alert at most */
    close(fd);
    fd = kit_raw(&a); /* silence */
    assert_true(kit_raw_ended(fd, 6000, NULL));
    close(fd);
    buf_fini(&hello);
    buf_fini(&got);
    close_pair(&a, &b);
}

/* Cut, flipped or stray bytes inside TLS end the session, and a new one follows. */
static void test_damaged_record(void **state)
{
    struct kit_node a;
    struct hand h;
    (void)state;
    kit_open(&a, 1, "a", &cert_a.tls);
    hand_open(&h, &a, &cert_b, "b");
    struct peer_hello hello = kit_hello(2, "b", &a);
    assert_int_equal(hand_hello(&h, &hello), PEER_WELCOME);
    peer_tls_write(h.tls, SLICE_LIT("12345678901234567890"));
    h.out.p[h.out.len - 1] ^= 1;
    hand_pump(&h);
    assert_true(kit_raw_ended(h.fd, 1000, NULL));
    hand_close(&h);
    assert_int_equal(a.n_received, 0);
    kit_close(&a);
    kit_fini();
}

/* Nothing below TLS 1.3. */
static void test_old_tls(void **state)
{
    struct kit_node a;
    /* ClientHello of TLS 1.2 with one cipher suite and no extensions. */
    static const uint8_t hello[] = {0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3, 0, 0,    0,    0, 0, 0,
                                    0,    0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0,    0,    0, 0, 0,
                                    0,    0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 2, 0xc0, 0x2f, 1, 0};
    struct buf got;
    (void)state;
    kit_open(&a, 1, "a", &cert_a.tls);
    buf_init(&got);
    int fd = kit_raw(&a);
    kit_raw_send(fd, hello, sizeof(hello));
    assert_true(kit_raw_ended(fd, 1000, &got));
    assert_int_equal(got.len, 7);   /* one record: */
    assert_int_equal(got.p[0], 21); /* alert */
    assert_int_equal(got.p[6], 70); /* protocol version */
    close(fd);
    buf_fini(&got);
    kit_close(&a);
    kit_fini();
}

/* --- files --- */

static int load(const struct tls_config *files, const char *name, struct err *e)
{
    struct peer_tls_ctx *ctx = NULL;
    int rc = peer_tls_load(files, name, &ctx, e);
    peer_tls_ctx_unref(ctx);
    return rc;
}

static void expect_not_loaded(const struct tls_config *files, const char *name, int code,
                              const char *why)
{
    struct err e = {0};
    assert_int_equal(load(files, name, &e), code);
    if (strstr(e.text, why) == NULL) {
        fail_msg("\"%s\" is not in: %s", why, e.text);
    }
}

static void test_files(void **state)
{
    struct certs_node n;
    struct err e = {0};
    char rsa[128];
    (void)state;
    assert_int_equal(load(&cert_a.tls, "a", &e), 0);
    expect_not_loaded(&cert_a.tls, "b", MU_E_BAD_REQUEST, "DNS:b.muster-peer");
    expect_not_loaded(&cert_a.tls, "A", MU_E_BAD_REQUEST, "DNS:A.muster-peer");
    expect_not_loaded(&cert_a.tls, "", MU_E_BAD_REQUEST, "no subject alternative");
    struct tls_config t = cert_a.tls;
    t.key_file = cert_b.key;
    expect_not_loaded(&t, "a", MU_E_BAD_REQUEST, "mismatch");
    certs_rsa_key(rsa);
    t.key_file = rsa;
    expect_not_loaded(&t, "a", MU_E_BAD_REQUEST, "key file");
    t.key_file = "/nonexistent";
    expect_not_loaded(&t, "a", MU_E_IO, "No such file");
    t.key_file = cert_a.cert; /* no key in it, and the mode is right */
    expect_not_loaded(&t, "a", MU_E_BAD_REQUEST, "key file");
    t.key_file = NULL;
    expect_not_loaded(&t, "a", MU_E_BAD_REQUEST, "needs");
    t = cert_a.tls;
    t.ca_file = other_ca.file;
    expect_not_loaded(&t, "a", MU_E_BAD_REQUEST, "certificate file");
    t.ca_file = cert_a.key;
    expect_not_loaded(&t, "a", MU_E_BAD_REQUEST, "CA file");
    t = cert_a.tls;
    t.cert_file = "/nonexistent";
    expect_not_loaded(&t, "a", MU_E_BAD_REQUEST, "certificate file /nonexistent");
    certs_issue(&ca, "old", "old.muster-peer", CERTS_EXPIRED, &n);
    expect_not_loaded(&n.tls, "old", MU_E_BAD_REQUEST, "expired");
    certs_issue(&ca, "bare", "x", CERTS_NO_SAN, &n);
    expect_not_loaded(&n.tls, "bare", MU_E_BAD_REQUEST, "DNS:bare.muster-peer");
    certs_issue(&ca, "wild", "*.muster-peer", CERTS_FINE, &n);
    expect_not_loaded(&n.tls, "wild", MU_E_BAD_REQUEST, "DNS:wild.muster-peer");
}

/* Only the exact name counts. */
static void test_names(void **state)
{
    static const char *const wrong[] = {
        "x.m.muster-peer",   "m.muster-peer.example", "m.muster-pee",  "m",
        "*.muster-peer",     "M.muster-peer",         "m.MUSTER-PEER", "m..muster-peer",
        "URI:m.muster-peer", "email:m.muster-peer",   ".muster-peer",  "DNS:x.m,URI:m.muster-peer"};
    struct certs_node n;
    struct err e = {0};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(wrong); i++) {
        certs_issue(&ca, "m.muster-peer", wrong[i], CERTS_FINE, &n); /* nor the subject's */
        expect_not_loaded(&n.tls, "m", MU_E_BAD_REQUEST, "DNS:m.muster-peer");
    }
    certs_issue(&ca, "m", "DNS:other,DNS:m.muster-peer", CERTS_FINE, &n); /* one of several */
    assert_int_equal(load(&n.tls, "m", &e), 0);
}

static void test_key_mode(void **state)
{
    static const mode_t open_modes[] = {0640, 0604, 0620, 0610, 0660};
    struct err e = {0};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(open_modes); i++) {
        assert_int_equal(chmod(cert_a.key, open_modes[i]), 0);
        expect_not_loaded(&cert_a.tls, "a", MU_E_BAD_REQUEST, "0600");
    }
    assert_int_equal(chmod(cert_a.key, 0400), 0);
    assert_int_equal(load(&cert_a.tls, "a", &e), 0);
    assert_int_equal(chmod(cert_a.key, 0600), 0);
}

/* A certificate that may not be a client's is refused where it acts as one. */
static void test_key_usage(void **state)
{
    struct certs_node n;
    struct kit_node a, b;
    (void)state;
    certs_issue(&ca, "b-server", "b.muster-peer", CERTS_SERVER_ONLY, &n);
    kit_open(&a, 1, "a", &cert_a.tls);
    kit_open(&b, 2, "b", &n.tls);
    kit_peers(&b, &a, NULL);
    kit_until(2000, strstr(transport_why_down(b.t, 1), "TLS") != NULL);
    kit_run(200);
    assert_int_equal(b.n_ups, 0);
    close_pair(&a, &b);
}

/* --- new certificates --- */

static void copy_file(const char *from, const char *to)
{
    char block[8192];
    FILE *f = fopen(from, "re");
    assert_non_null(f);
    size_t n = fread(block, 1, sizeof(block), f);
    (void)fclose(f);
    f = fopen(to, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(block, 1, n, f), n);
    (void)fclose(f);
}

/* A failed reload changes nothing; a good one counts from the next session on. */
static void test_reload(void **state)
{
    struct certs_node live, fresh;
    struct kit_node a, b;
    struct err e = {0};
    char both[128];
    (void)state;
    certs_issue(&ca, "a-live", "a.muster-peer", CERTS_FINE, &live);
    certs_issue(&other_ca, "a-fresh", "a.muster-peer", CERTS_LONGER, &fresh);
    certs_bundle(&ca, &other_ca, both);
    live.tls.ca_file = both;
    kit_open(&a, 1, "a", &live.tls);
    kit_open(&b, 2, "b", &cert_b.tls); /* trusts ours alone */
    kit_peers(&b, &a, NULL);
    kit_until(2000, b.is_up[1]);
    copy_file(fresh.cert, live.cert); /* half of the change: the key does not fit */
    assert_int_equal(transport_reload_tls(a.t, &e), MU_E_BAD_REQUEST);
    assert_non_null(strstr(e.text, "TLS between peers: key file"));
    kit_peers(&b, NULL, NULL);
    b.is_up[1] = 0;
    kit_peers(&b, &a, NULL);
    kit_until(2000, b.is_up[1]); /* still with the old one */
    copy_file(fresh.key, live.key);
    int64_t not_after = transport_tls_not_after(a.t);
    assert_int_equal(transport_reload_tls(a.t, &e), 0);
    assert_int_equal(transport_tls_not_after(a.t) - not_after, 1000);
    assert_int_equal(kit_send(&b, 1, 1, 8), 0); /* the session lives on */
    kit_until(1000, a.n_received == 1);
    kit_peers(&b, NULL, NULL);
    b.is_up[1] = 0;
    kit_peers(&b, &a, NULL);
    kit_until(2000, strstr(transport_why_down(b.t, 1), "certificate") != NULL);
    assert_false(b.is_up[1]);
    close_pair(&a, &b);
}

static void test_reload_without_tls(void **state)
{
    struct kit_node a;
    struct err e = {0};
    (void)state;
    kit_open(&a, 1, "a", NULL);
    assert_int_equal(transport_tls_not_after(a.t), 0);
    assert_int_equal(transport_reload_tls(a.t, &e), 0);
    kit_close(&a);
    kit_fini();
}

static void test_close_early(void **state)
{
    enum { TURNS = 16 };
    for (int turns = 0; turns < TURNS; turns++) {
        struct kit_node a, b;
        if (turns > 0) {
            kit_start(state);
        }
        kit_open(&a, 1, "a", &cert_a.tls);
        kit_open(&b, 2, "b", &cert_b.tls);
        kit_peers(&a, &b, NULL);
        for (int i = 0; i < turns; i++) {
            uv_run(kit_loop(), UV_RUN_NOWAIT);
        }
        close_pair(&a, &b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(test_exchange),         kit_test(test_largest),
        kit_test(test_restart),          kit_test(test_wrong_ca),
        kit_test(test_wrong_name),       kit_test(test_wrong_hello_name),
        kit_test(test_no_certificate),   kit_test(test_plaintext_to_tls),
        kit_test(test_damaged_record),   kit_test(test_old_tls),
        cmocka_unit_test(test_files),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_key_mode), kit_test(test_key_usage),
        kit_test(test_reload),           kit_test(test_reload_without_tls),
        kit_test(test_close_early),
    };
    return cmocka_run_group_tests(tests, make_certs, delete_certs);
}
