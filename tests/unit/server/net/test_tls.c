/* SPDX-License-Identifier: Apache-2.0 */
/* TLS listeners, with certificates made on the spot and OpenSSL as the client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/http/http.h"
#include "server/net/worker.h"

/* --- certificates --- */

static char folder[64];

static const char *in_folder(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *p = paths[next++ % 8];
    (void)snprintf(p, 128, "%s/%s", folder, name);
    return p;
}

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

/* A certificate for `name`, signed by `ca` (NULL: by itself), good until `days` from now. */
static struct identity identity_new(const char *name, const struct identity *ca, int days)
{
    struct identity id = {EVP_EC_gen("P-256"), X509_new()};
    static long serial = 1;
    (void)X509_set_version(id.cert, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(id.cert), serial++);
    (void)X509_gmtime_adj(X509_getm_notBefore(id.cert), -86400L * 10);
    (void)X509_gmtime_adj(X509_getm_notAfter(id.cert), 86400L * days);
    (void)X509_set_pubkey(id.cert, id.key);
    X509_NAME *n = X509_get_subject_name(id.cert);
    (void)X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    (void)X509_set_issuer_name(id.cert, ca != NULL ? X509_get_subject_name(ca->cert) : n);
    if (ca == NULL) {
        X509_EXTENSION *x =
            X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        (void)X509_add_ext(id.cert, x, -1);
        X509_EXTENSION_free(x);
    }
    assert_true(X509_sign(id.cert, ca != NULL ? ca->key : id.key, EVP_sha256()) > 0);
    return id;
}

static void identity_free(struct identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
}

static void identity_write(const struct identity *id, const char *cert, const char *key)
{
    FILE *f = fopen(in_folder(cert), "we");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, id->cert), 1);
    (void)fclose(f);
    if (key != NULL) {
        (void)unlink(in_folder(key));
        mode_t old = umask(077);
        f = fopen(in_folder(key), "we");
        (void)umask(old);
        assert_int_equal(PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL), 1);
        (void)fclose(f);
    }
}

static struct identity ca, server_id, client_id, other_ca, other_client;

static int make_files(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)snprintf(folder, sizeof(folder), "/tmp/muster-tls-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    ca = identity_new("ca", NULL, 100);
    other_ca = identity_new("other ca", NULL, 100);
    server_id = identity_new("first", &ca, 50);
    client_id = identity_new("client", &ca, 50);
    other_client = identity_new("stranger", &other_ca, 50);
    identity_write(&ca, "ca.pem", NULL);
    return 0;
}

static int drop_files(void **state)
{
    (void)state;
    static const char *const names[] = {"ca.pem", "cert.pem", "key.pem"};
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        (void)unlink(in_folder(names[i]));
    }
    (void)rmdir(folder);
    identity_free(&ca);
    identity_free(&other_ca);
    identity_free(&server_id);
    identity_free(&client_id);
    identity_free(&other_client);
    return 0;
}

/* --- the server --- */

struct world {
    struct http_server *http;
    struct workers *workers;
};

static void hello(struct http_req *r, void *arg)
{
    (void)arg;
    http_respond(r, 200, "text/plain", SLICE_LIT("hello"));
}

static void echo(struct http_req *r, void *arg)
{
    (void)arg;
    http_respond(r, 200, "text/plain", http_body(r));
}

static const struct http_route routes[] = {
    HTTP_ROUTE(HTTP_M_GET, "/hello", hello, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_PUT, "/echo", echo, PERM_NONE_REQUIRED, 4000000),
};

static int try_start(struct world *w, int has_client_ca, struct net_limits limits, struct err *e)
{
    struct listener_options l = {
        .address = "127.0.0.1:0",
        .cert_file = in_folder("cert.pem"),
        .key_file = in_folder("key.pem"),
        .client_ca_file = has_client_ca ? in_folder("ca.pem") : NULL,
    };
    w->http = http_server_new(&(struct http_server_options){0});
    assert_int_equal(http_server_add(w->http, routes, N_ELEMENTS(routes), e), 0);
    struct workers_options o = {
        .n_workers = 2, .listeners = &l, .n_listeners = 1, .limits = limits, .http = w->http};
    int code = workers_start(&o, &w->workers, e);
    if (code != 0) {
        http_server_free(w->http);
    }
    return code;
}

static struct world start(int has_client_ca)
{
    struct world w;
    struct err e = {0};
    identity_write(&server_id, "cert.pem", "key.pem");
    if (try_start(&w, has_client_ca, (struct net_limits){.tls_timeout_ms = 200}, &e) != 0) {
        fail_msg("%s", e.text);
    }
    return w;
}

static void stop(struct world *w)
{
    workers_drain(w->workers);
    workers_stop(w->workers, 2000);
    http_server_free(w->http);
}

/* --- the client --- */

struct client {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static int dial(const struct world *w)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port =
        htons((uint16_t)strtoul(strrchr(workers_address(w->workers, 0), ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval tv = {.tv_sec = 10};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static struct client client_new(const struct world *w)
{
    struct client c = {.ctx = SSL_CTX_new(TLS_client_method())};
    assert_int_equal(SSL_CTX_load_verify_locations(c.ctx, in_folder("ca.pem"), NULL), 1);
    SSL_CTX_set_verify(c.ctx, SSL_VERIFY_PEER, NULL);
    c.ssl = SSL_new(c.ctx);
    c.fd = dial(w);
    (void)SSL_set_fd(c.ssl, c.fd);
    return c;
}

static void client_free(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    close(c->fd);
    ERR_clear_error();
}

/* GET /hello; 1 when the answer came. In TLS 1.3 a refused client certificate shows only here. */
static int get_hello(struct client *c)
{
    static const char request[] = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    char answer[1024];
    size_t n = 0;
    if (SSL_write(c->ssl, request, sizeof(request) - 1) <= 0) {
        return 0;
    }
    while (n < 5 || memcmp(answer + n - 5, "hello", 5) != 0) {
        int got = SSL_read(c->ssl, answer + n, (int)(sizeof(answer) - n));
        if (got <= 0) {
            return 0;
        }
        n += (size_t)got;
    }
    return 1;
}

static void peer_name(const struct client *c, char *out, size_t cap)
{
    X509 *x = SSL_get1_peer_certificate(c->ssl);
    assert_non_null(x);
    (void)X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, out, (int)cap);
    X509_free(x);
}

/* --- tests --- */

static void requests_over_tls(void **state)
{
    (void)state;
    struct world w = start(0);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct client c = client_new(&w);
        (void)SSL_set_min_proto_version(c.ssl, version);
        (void)SSL_set_max_proto_version(c.ssl, version);
        assert_int_equal(SSL_connect(c.ssl), 1);
        for (int i = 0; i < 3; i++) {
            assert_true(get_hello(&c));
        }
        client_free(&c);
    }
    struct net_stats s;
    workers_stats(w.workers, &s);
    assert_int_equal(s.tls_handshakes, 2);
    assert_in_range(s.tls_not_after, time(NULL) + 49 * 86400, time(NULL) + 51 * 86400);
    stop(&w);
}

static void old_versions_are_refused(void **state)
{
    (void)state;
    struct world w = start(0);
    struct client c = client_new(&w);
    SSL_set_security_level(c.ssl, 0);
    (void)SSL_set_min_proto_version(c.ssl, TLS1_VERSION);
    (void)SSL_set_max_proto_version(c.ssl, TLS1_1_VERSION);
    assert_int_not_equal(SSL_connect(c.ssl), 1);
    client_free(&c);
    stop(&w);
}

static void alpn(void **state)
{
    (void)state;
    struct world w = start(0);
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    static const unsigned char h2[] = "\x02h2";
    struct client c = client_new(&w);
    assert_int_equal(SSL_set_alpn_protos(c.ssl, both, sizeof(both) - 1), 0);
    assert_int_equal(SSL_connect(c.ssl), 1);
    const unsigned char *got = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(c.ssl, &got, &len);
    assert_int_equal(len, 8);
    assert_memory_equal(got, "http/1.1", 8);
    client_free(&c);
    c = client_new(&w);
    assert_int_equal(SSL_set_alpn_protos(c.ssl, h2, sizeof(h2) - 1), 0);
    assert_int_not_equal(SSL_connect(c.ssl), 1);
    client_free(&c);
    stop(&w);
}

static void plain_http_is_told_so(void **state)
{
    (void)state;
    struct world w = start(0);
    int fd = dial(&w);
    static const char request[] = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    char answer[512] = "";
    assert_int_equal(send(fd, request, sizeof(request) - 1, 0), (ssize_t)sizeof(request) - 1);
    size_t n = 0;
    for (ssize_t got = 1; got > 0; n += got > 0 ? (size_t)got : 0) {
        got = recv(fd, answer + n, sizeof(answer) - 1 - n, 0);
    }
    assert_non_null(strstr(answer, "HTTP/1.1 400 Bad Request\r\n"));
    const char *body = strstr(answer, "\r\n\r\n");
    assert_int_equal(strlen(body + 4), 42); /* as the Content-Length says */
    assert_non_null(strstr(answer, "Content-Length: 42\r\n"));
    close(fd);
    stop(&w);
}

static void silence_is_not_waited_for(void **state)
{
    (void)state;
    struct world w = start(0);
    int fd = dial(&w);
    char c;
    int64_t from = clock_mono_ms();
    assert_int_equal(recv(fd, &c, 1, 0), 0);
    assert_in_range(clock_mono_ms() - from, 200, 5000);
    close(fd);
    stop(&w);
}

static void unfinished_handshakes_are_capped(void **state)
{
    (void)state;
    enum { MAX = 2 * 256 }; /* two workers */
    struct world w;
    struct err e = {0};
    static int fds[MAX + 1];
    char byte;
    identity_write(&server_id, "cert.pem", "key.pem");
    assert_int_equal(try_start(&w, 0, (struct net_limits){.tls_timeout_ms = 60000}, &e), 0);
    for (int i = 0; i <= MAX; i++) {
        fds[i] = dial(&w);
    }
    struct net_stats s = {0};
    for (int64_t end = clock_mono_ms() + 10000; s.accepted <= MAX; usleep(1000)) {
        assert_true(clock_mono_ms() < end);
        workers_stats(w.workers, &s);
    }
    assert_in_range(s.refused, 1, MAX / 2); /* the kernel deals connections out unevenly */
    assert_true(s.connections <= MAX);
    for (int i = 0; i <= MAX; i++) {
        (void)shutdown(fds[i], SHUT_WR);
    }
    assert_int_equal(recv(fds[0], &byte, 1, 0), 0); /* who leaves makes room */
    stop(&w);
    for (int i = 0; i <= MAX; i++) {
        close(fds[i]);
    }
}

static void big_bodies_both_ways(void **state)
{
    (void)state;
    struct world w = start(0);
    struct client c = client_new(&w);
    assert_int_equal(SSL_connect(c.ssl), 1);
    enum { LEN = 3000000 };
    static const char head[] = "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n";
    uint8_t *body = mem_alloc(LEN);
    for (size_t i = 0; i < LEN; i++) {
        body[i] = (uint8_t)(i * 31 + i / 1000);
    }
    assert_int_equal(SSL_write(c.ssl, head, sizeof(head) - 1), sizeof(head) - 1);
    assert_int_equal(SSL_write(c.ssl, body, LEN), LEN);
    uint8_t *got = mem_alloc(LEN + 4096);
    size_t n = 0;
    size_t at = 0;
    while (at == 0 || n < at + LEN) {
        int more = SSL_read(c.ssl, got + n, (int)(LEN + 4096 - n));
        assert_true(more > 0);
        n += (size_t)more;
        if (at == 0) {
            const uint8_t *end = memmem(got, n, "\r\n\r\n", 4);
            at = end != NULL ? (size_t)(end - got) + 4 : 0;
        }
    }
    assert_memory_equal(got + at, body, LEN);
    mem_free(body);
    mem_free(got);
    assert_true(get_hello(&c)); /* and the connection goes on */
    client_free(&c);
    stop(&w);
}

static int try_identity(const struct world *w, const struct identity *id)
{
    struct client c = client_new(w);
    if (id != NULL) {
        assert_int_equal(SSL_use_certificate(c.ssl, id->cert), 1);
        assert_int_equal(SSL_use_PrivateKey(c.ssl, id->key), 1);
    }
    int is_let_in = SSL_connect(c.ssl) == 1 && get_hello(&c);
    client_free(&c);
    return is_let_in;
}

static void client_certificates(void **state)
{
    (void)state;
    struct world w = start(1);
    assert_true(try_identity(&w, &client_id));
    assert_false(try_identity(&w, NULL));
    assert_false(try_identity(&w, &other_client));
    stop(&w);
}

static SSL_SESSION *ticket;

static int keep_ticket(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    SSL_SESSION_free(ticket);
    ticket = s;
    return 1;
}

static void sessions_resume(void **state)
{
    (void)state;
    struct world w = start(1);
    for (int round = 0; round < 2; round++) {
        struct client c = client_new(&w);
        assert_int_equal(SSL_use_certificate(c.ssl, client_id.cert), 1);
        assert_int_equal(SSL_use_PrivateKey(c.ssl, client_id.key), 1);
        (void)SSL_CTX_set_session_cache_mode(c.ctx, SSL_SESS_CACHE_CLIENT |
                                                        SSL_SESS_CACHE_NO_INTERNAL_STORE);
        SSL_CTX_sess_set_new_cb(c.ctx, keep_ticket);
        if (ticket != NULL) {
            assert_int_equal(SSL_set_session(c.ssl, ticket), 1);
        }
        assert_int_equal(SSL_connect(c.ssl), 1);
        assert_true(get_hello(&c));
        assert_int_equal(SSL_session_reused(c.ssl), round);
        (void)SSL_shutdown(c.ssl);
        client_free(&c);
    }
    SSL_SESSION_free(ticket);
    ticket = NULL;
    stop(&w);
}

static void expect_peer(const struct world *w, const char *want)
{
    int64_t end = clock_mono_ms() + 5000;
    char name[64] = "";
    while (strcmp(name, want) != 0) { /* each worker takes the new files when it gets to it */
        assert_true(clock_mono_ms() < end);
        struct client c = client_new(w);
        assert_int_equal(SSL_connect(c.ssl), 1);
        peer_name(&c, name, sizeof(name));
        client_free(&c);
    }
}

static void certificates_are_loaded_anew(void **state)
{
    (void)state;
    struct world w = start(0);
    struct err e = {0};
    struct client old = client_new(&w);
    assert_int_equal(SSL_connect(old.ssl), 1);
    struct identity second = identity_new("second", &ca, 5);
    identity_write(&second, "cert.pem", "key.pem");
    assert_int_equal(workers_reload_tls(w.workers, &e), 0);
    expect_peer(&w, "second");
    assert_true(get_hello(&old));
    struct net_stats s;
    workers_stats(w.workers, &s);
    assert_true(s.tls_not_after < time(NULL) + 6 * 86400);
    identity_write(&server_id, "cert.pem", NULL); /* does not match the key */
    assert_int_equal(workers_reload_tls(w.workers, &e), MU_E_BAD_REQUEST);
    expect_peer(&w, "second");
    client_free(&old);
    identity_free(&second);
    stop(&w);
}

static void expect_refused(const char *what)
{
    struct world w;
    struct err e = {0};
    assert_int_not_equal(try_start(&w, 0, (struct net_limits){0}, &e), 0);
    if (strstr(e.text, what) == NULL) {
        fail_msg("no \"%s\" in \"%s\"", what, e.text);
    }
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    identity_write(&server_id, "cert.pem", "key.pem");
    assert_int_equal(chmod(in_folder("key.pem"), 0640), 0);
    expect_refused("0600");
    identity_write(&client_id, "cert.pem", NULL);
    assert_int_equal(chmod(in_folder("key.pem"), 0600), 0);
    expect_refused("key.pem");
    struct identity expired = identity_new("expired", &ca, -1);
    identity_write(&expired, "cert.pem", "key.pem");
    expect_refused("expired");
    identity_free(&expired);
    assert_int_equal(unlink(in_folder("key.pem")), 0);
    expect_refused("No such file");
    assert_int_equal(truncate(in_folder("cert.pem"), 100), 0);
    expect_refused("cert.pem");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_over_tls),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(alpn),
        cmocka_unit_test(plain_http_is_told_so),
        cmocka_unit_test(silence_is_not_waited_for),
        cmocka_unit_test(unfinished_handshakes_are_capped),
        cmocka_unit_test(big_bodies_both_ways),
        cmocka_unit_test(client_certificates),
        cmocka_unit_test(sessions_resume),
        cmocka_unit_test(certificates_are_loaded_anew),
        cmocka_unit_test(bad_files_are_refused),
    };
    return cmocka_run_group_tests(tests, make_files, drop_files);
}
