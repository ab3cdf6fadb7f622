/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL behind transport_tls.h. The BIO reads from the slice that was fed and appends to the
 * connection's buffer, so ciphertext is copied once. No resumption: every session proves its
 * certificate anew, so a new CA file counts from the next dial on. */
#include "raft/transport_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "raft/transport.h"

struct peer_tls_ctx {
    SSL_CTX *ssl;
    BIO_METHOD *bio;
    unsigned n_refs;
};

struct peer_tls {
    SSL *ssl;
    struct peer_tls_ctx *ctx;
    struct slice in;
    struct buf *out;
    enum peer_tls_state state;
    char why[160];
};

static const char suffix[] = ".muster-peer";

/* --- the BIO --- */

static int bio_read(BIO *b, char *to, int len)
{
    struct peer_tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (t->in.len == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    size_t n = t->in.len < (size_t)len ? t->in.len : (size_t)len;
    memcpy(to, t->in.p, n);
    t->in = slice_of(t->in.p + n, t->in.len - n);
    return (int)n;
}

static int bio_write(BIO *b, const char *from, int len)
{
    struct peer_tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    buf_append(t->out, from, (size_t)len);
    return len;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "muster peer");
    MU_INVARIANT(m != NULL);
    (void)BIO_meth_set_read(m, bio_read);
    (void)BIO_meth_set_write(m, bio_write);
    (void)BIO_meth_set_ctrl(m, bio_ctrl);
    return m;
}

/* --- names --- */

static int is_dns_name(const GENERAL_NAME *g, const char *name)
{
    if (g->type != GEN_DNS) {
        return 0;
    }
    const ASN1_IA5STRING *s = g->d.dNSName;
    size_t len = (size_t)ASN1_STRING_length(s), n = strlen(name);
    const unsigned char *p = ASN1_STRING_get0_data(s);
    return len == n + sizeof(suffix) - 1 && memcmp(p, name, n) == 0 &&
           memcmp(p + n, suffix, sizeof(suffix) - 1) == 0;
}

/* Compared byte for byte: no wildcards, no case folding, a name in the subject says nothing. */
static int is_named(const X509 *x, const char *name)
{
    int is_found = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; names != NULL && !is_found && i < sk_GENERAL_NAME_num(names); i++) {
        is_found = is_dns_name(sk_GENERAL_NAME_value(names, i), name);
    }
    GENERAL_NAMES_free(names);
    return is_found;
}

/* --- loading --- */

static void last_error(char *out, size_t cap)
{
    unsigned long n = ERR_peek_error();
    const char *reason = n != 0 ? ERR_reason_error_string(n) : NULL;
    (void)snprintf(out, cap, "%s", reason != NULL ? reason : "no reason given");
    ERR_clear_error();
}

static int file_error(struct err *e, const char *what, const char *path)
{
    char text[160];
    last_error(text, sizeof(text));
    return err_set(e, MU_E_BAD_REQUEST, "%s %s: %s", what, path, text);
}

/* Never asks a terminal. */
static int no_passphrase(char *to, int size, int rw, void *arg)
{
    (void)to;
    (void)size;
    (void)rw;
    (void)arg;
    return 0;
}

/* Opened once, so that what is checked is what is read. */
static int open_key(const char *path, int *out_fd, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = 0;
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = err_set(e, MU_E_IO, "key file %s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        rc = err_set(e, MU_E_BAD_REQUEST,
                     "key file %s may be used by group or others: set its mode to 0600", path);
    }
    if (rc != 0 && fd >= 0) {
        close(fd);
    }
    *out_fd = fd;
    return rc;
}

static int load_key(SSL_CTX *ctx, const char *path, struct err *e)
{
    int fd;
    int rc = open_key(path, &fd, e);
    if (rc != 0) {
        return rc;
    }
    BIO *b = BIO_new_fd(fd, BIO_CLOSE);
    MU_INVARIANT(b != NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL);
    int is_used = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    BIO_free(b);
    return is_used && SSL_CTX_check_private_key(ctx) == 1 ? 0 : file_error(e, "key file", path);
}

static int load_ca(SSL_CTX *ctx, const char *path, struct err *e)
{
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
    if (names == NULL || SSL_CTX_load_verify_locations(ctx, path, NULL) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return file_error(e, "CA file", path);
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    return 0;
}

/* Better to hear it now than from the peers: is this a certificate they will take? */
static int check_own(SSL_CTX *ctx, const char *path, const char *own_name, struct err *e)
{
    STACK_OF(X509) *chain = NULL;
    X509 *leaf = SSL_CTX_get0_certificate(ctx);
    SSL_CTX_get0_chain_certs(ctx, &chain);
    X509_STORE_CTX *v = X509_STORE_CTX_new();
    MU_INVARIANT(v != NULL && leaf != NULL);
    int rc = 0;
    if (X509_STORE_CTX_init(v, SSL_CTX_get_cert_store(ctx), leaf, chain) != 1 ||
        X509_verify_cert(v) != 1) {
        rc = err_set(e, MU_E_BAD_REQUEST, "certificate file %s: %s", path,
                     X509_verify_cert_error_string(X509_STORE_CTX_get_error(v)));
    } else if (!is_named(leaf, own_name)) {
        rc = err_set(e, MU_E_BAD_REQUEST,
                     "certificate file %s: no subject alternative name DNS:%s%s", path, own_name,
                     suffix);
    }
    X509_STORE_CTX_free(v);
    ERR_clear_error();
    return rc;
}

static void set_rules(SSL_CTX *ctx)
{
    int is_set = SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
                 SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                               "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
                 SSL_CTX_set_num_tickets(ctx, 0) == 1;
    MU_INVARIANT(is_set);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

int peer_tls_load(const struct tls_config *files, const char *own_name, struct peer_tls_ctx **out,
                  struct err *e)
{
    if (files->cert_file == NULL || files->key_file == NULL || files->ca_file == NULL) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "TLS between peers needs a certificate, a key and a CA file");
    }
    struct peer_tls_ctx *c = mem_zalloc(sizeof(*c));
    c->n_refs = 1;
    c->ssl = SSL_CTX_new(TLS_method());
    MU_INVARIANT(c->ssl != NULL);
    c->bio = bio_method_new();
    ERR_clear_error();
    set_rules(c->ssl);
    int rc = 0;
    if (SSL_CTX_use_certificate_chain_file(c->ssl, files->cert_file) != 1) {
        rc = file_error(e, "certificate file", files->cert_file);
    }
    rc = rc == 0 ? load_key(c->ssl, files->key_file, e) : rc;
    rc = rc == 0 ? load_ca(c->ssl, files->ca_file, e) : rc;
    rc = rc == 0 ? check_own(c->ssl, files->cert_file, own_name, e) : rc;
    if (rc != 0) {
        peer_tls_ctx_unref(c);
        return rc;
    }
    *out = c;
    return 0;
}

static int64_t expiry_of(const X509 *x)
{
    struct tm tm = {0};
    return ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

int64_t peer_tls_not_after(const struct peer_tls_ctx *c)
{
    STACK_OF(X509) *chain = NULL;
    int64_t first = expiry_of(SSL_CTX_get0_certificate(c->ssl));
    SSL_CTX_get0_chain_certs(c->ssl, &chain);
    for (int i = 0; chain != NULL && i < sk_X509_num(chain); i++) {
        int64_t at = expiry_of(sk_X509_value(chain, i));
        first = at < first ? at : first;
    }
    return first;
}

void peer_tls_ctx_unref(struct peer_tls_ctx *c)
{
    if (c != NULL && --c->n_refs == 0) {
        SSL_CTX_free(c->ssl);
        BIO_meth_free(c->bio);
        mem_free(c);
    }
}

/* --- one connection --- */

struct peer_tls *peer_tls_new(struct peer_tls_ctx *c, int is_server, struct buf *out)
{
    struct peer_tls *t = mem_zalloc(sizeof(*t));
    t->ctx = c;
    c->n_refs++;
    t->out = out;
    t->ssl = SSL_new(c->ssl);
    BIO *b = BIO_new(c->bio);
    MU_INVARIANT(t->ssl != NULL && b != NULL);
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    if (is_server) {
        SSL_set_accept_state(t->ssl);
    } else {
        SSL_set_connect_state(t->ssl);
    }
    return t;
}

void peer_tls_free(struct peer_tls *t)
{
    if (t != NULL) {
        SSL_free(t->ssl);
        peer_tls_ctx_unref(t->ctx); /* after the SSL: its BIO uses the context's method */
        mem_free(t);
    }
}

void peer_tls_feed(struct peer_tls *t, struct slice in)
{
    t->in = in;
}

static void fail(struct peer_tls *t)
{
    long verify = SSL_get_verify_result(t->ssl);
    t->state = PEER_TLS_FAILED;
    if (verify != X509_V_OK) {
        (void)snprintf(t->why, sizeof(t->why), "its certificate: %s",
                       X509_verify_cert_error_string(verify));
        ERR_clear_error();
    } else {
        last_error(t->why, sizeof(t->why));
    }
}

size_t peer_tls_read(struct peer_tls *t, uint8_t *to, size_t cap)
{
    size_t n = 0;
    if (t->state == PEER_TLS_ENDED || t->state == PEER_TLS_FAILED) {
        return 0;
    }
    ERR_clear_error();
    int rc = SSL_read_ex(t->ssl, to, cap, &n);
    if (t->state == PEER_TLS_HANDSHAKE && SSL_is_init_finished(t->ssl)) {
        t->state = PEER_TLS_OPEN;
    }
    if (rc == 1) {
        return n;
    }
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        break;
    case SSL_ERROR_ZERO_RETURN:
        t->state = PEER_TLS_ENDED;
        break;
    default:
        fail(t);
        break;
    }
    return 0;
}

void peer_tls_write(struct peer_tls *t, struct slice plain)
{
    size_t n = 0;
    if (t->state != PEER_TLS_OPEN || plain.len == 0) {
        return;
    }
    ERR_clear_error();
    if (SSL_write_ex(t->ssl, plain.p, plain.len, &n) != 1 || n != plain.len) {
        fail(t); /* our BIO takes everything: this is a fault of the session */
    }
}

void peer_tls_close(struct peer_tls *t)
{
    if (t->state == PEER_TLS_OPEN || t->state == PEER_TLS_ENDED) {
        ERR_clear_error();
        (void)SSL_shutdown(t->ssl);
        ERR_clear_error();
    }
}

enum peer_tls_state peer_tls_state(const struct peer_tls *t)
{
    return t->state;
}

const char *peer_tls_why(const struct peer_tls *t)
{
    return t->why;
}

int peer_tls_is_named(const struct peer_tls *t, const char *name)
{
    const X509 *x = SSL_get0_peer_certificate(t->ssl);
    return x != NULL && is_named(x, name);
}
