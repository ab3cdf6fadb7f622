/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL behind tls.h. The BIO reads from the slice that was fed and writes into the connection's
 * output buffer, so neither side is copied through memory BIOs; with SSL_MODE_RELEASE_BUFFERS an
 * idle connection keeps no record buffers. */
#include "server/net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/mem.h"
#include "server/net/worker.h"

struct tls_context {
    SSL_CTX *ctx;
    BIO_METHOD *bio;
    int64_t not_after;
    _Atomic unsigned n_refs;
};

struct tls {
    SSL *ssl;
    struct tls_context *context;
    struct slice in;
    struct buf *out;
    uint8_t state;
};

/* --- the BIO --- */

static int bio_read(BIO *b, char *to, int len)
{
    struct tls *t = BIO_get_data(b);
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
    struct tls *t = BIO_get_data(b);
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

/* --- the context --- */

static int ssl_error(struct err *e, int code, const char *what, const char *file)
{
    char text[160] = "no reason given";
    unsigned long n = ERR_get_error();
    if (n != 0) {
        ERR_error_string_n(n, text, sizeof(text));
    }
    ERR_clear_error();
    return err_set(e, code, "%s %s: %s", what, file, text);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): OpenSSL's signature */
static int no_passphrase(char *to, int size, int rw, void *arg)
{
    (void)to;
    (void)size;
    (void)rw;
    (void)arg;
    return 0;
}

/* The key file must be ours alone. Opened once, so that what is checked is what is read. */
static int load_key(SSL_CTX *ctx, const char *path, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int code = err_set(e, MU_E_IO, "key file %s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return code;
    }
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
        close(fd);
        return err_set(e, MU_E_BAD_REQUEST,
                       "key file %s may be used by group or others: set its mode to 0600", path);
    }
    BIO *b = BIO_new_fd(fd, BIO_CLOSE);
    EVP_PKEY *key = b != NULL ? PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL) : NULL;
    int is_used = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    BIO_free(b);
    if (!is_used || SSL_CTX_check_private_key(ctx) != 1) {
        return ssl_error(e, MU_E_BAD_REQUEST, "key file", path);
    }
    return 0;
}

static int64_t not_after_of(const X509 *x)
{
    struct tm tm = {0};
    return ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static int check_dates(struct tls_context *c, const char *path, struct err *e)
{
    STACK_OF(X509) *chain = NULL;
    X509 *leaf = SSL_CTX_get0_certificate(c->ctx);
    if (X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0) {
        return err_set(e, MU_E_BAD_REQUEST, "certificate file %s: the certificate has expired",
                       path);
    }
    c->not_after = not_after_of(leaf);
    SSL_CTX_get0_chain_certs(c->ctx, &chain);
    for (int i = 0; chain != NULL && i < sk_X509_num(chain); i++) {
        int64_t at = not_after_of(sk_X509_value(chain, i));
        c->not_after = at < c->not_after ? at : c->not_after;
    }
    return 0;
}

static int load_client_ca(SSL_CTX *ctx, const char *path, struct err *e)
{
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
    if (names == NULL || SSL_CTX_load_verify_locations(ctx, path, NULL) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return ssl_error(e, MU_E_BAD_REQUEST, "client CA file", path);
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return 0;
}

/* http/1.1 when the client names it; a client that names only others is refused, one that names
 * none is not. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl;
    (void)arg;
    for (unsigned at = 0; at < len; at += 1u + in[at]) {
        if (in[at] == ours[0] && at + sizeof(ours) - 1 <= len &&
            memcmp(in + at, ours, sizeof(ours) - 1) == 0) {
            *out = in + at + 1;
            *out_len = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void set_rules(SSL_CTX *ctx)
{
    static const unsigned char session_context[] = "muster";
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    (void)SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                       SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* resumption is by tickets */
    (void)SSL_CTX_set_session_id_context(ctx, session_context, sizeof(session_context) - 1);
    (void)SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
}

static BIO_METHOD *bio_method_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "muster");
    MU_INVARIANT(m != NULL);
    (void)BIO_meth_set_read(m, bio_read);
    (void)BIO_meth_set_write(m, bio_write);
    (void)BIO_meth_set_ctrl(m, bio_ctrl);
    return m;
}

int tls_context_load(const struct listener_options *o, struct tls_context **out, struct err *e)
{
    if (o->key_file == NULL) {
        return err_set(e, MU_E_BAD_REQUEST, "listener %s has a certificate but no key", o->address);
    }
    struct tls_context *c = mem_zalloc(sizeof(*c));
    atomic_init(&c->n_refs, 1);
    c->ctx = SSL_CTX_new(TLS_server_method());
    MU_INVARIANT(c->ctx != NULL);
    c->bio = bio_method_new();
    set_rules(c->ctx);
    int code = 0;
    if (SSL_CTX_use_certificate_chain_file(c->ctx, o->cert_file) != 1) {
        code = ssl_error(e, MU_E_BAD_REQUEST, "certificate file", o->cert_file);
    }
    code = code == 0 ? load_key(c->ctx, o->key_file, e) : code;
    code = code == 0 ? check_dates(c, o->cert_file, e) : code;
    code = code == 0 && o->client_ca_file != NULL ? load_client_ca(c->ctx, o->client_ca_file, e)
                                                  : code;
    if (code != 0) {
        tls_context_unref(c);
        return code;
    }
    *out = c;
    return 0;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    if (c != NULL) {
        atomic_fetch_add_explicit(&c->n_refs, 1, memory_order_relaxed);
    }
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    if (c != NULL && atomic_fetch_sub_explicit(&c->n_refs, 1, memory_order_acq_rel) == 1) {
        SSL_CTX_free(c->ctx);
        BIO_meth_free(c->bio);
        mem_free(c);
    }
}

int64_t tls_context_not_after(const struct tls_context *c)
{
    return c->not_after;
}

/* --- one connection --- */

struct tls *tls_new(struct tls_context *c, struct buf *out)
{
    struct tls *t = mem_zalloc(sizeof(*t));
    t->context = tls_context_ref(c);
    t->out = out;
    t->ssl = SSL_new(c->ctx);
    BIO *b = BIO_new(c->bio);
    MU_INVARIANT(t->ssl != NULL && b != NULL);
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    SSL_set_accept_state(t->ssl);
    return t;
}

void tls_free(struct tls *t)
{
    if (t != NULL) {
        SSL_free(t->ssl);
        tls_context_unref(t->context); /* after the SSL: its BIO uses the context's method */
        mem_free(t);
    }
}

void tls_feed(struct tls *t, struct slice in)
{
    t->in = in;
}

size_t tls_read(struct tls *t, uint8_t *to, size_t cap)
{
    if (t->state == TLS_ENDED || t->state == TLS_FAILED) {
        return 0;
    }
    size_t n = 0;
    ERR_clear_error();
    int rc = SSL_read_ex(t->ssl, to, cap, &n);
    if (t->state == TLS_HANDSHAKE && SSL_is_init_finished(t->ssl)) {
        t->state = TLS_OPEN;
    }
    if (rc == 1) {
        return n;
    }
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        break;
    case SSL_ERROR_ZERO_RETURN:
        t->state = TLS_ENDED;
        break;
    default:
        t->state = TLS_FAILED;
        ERR_clear_error();
        break;
    }
    return 0;
}

void tls_write(struct tls *t, struct slice plain)
{
    size_t n = 0;
    if (t->state == TLS_FAILED || plain.len == 0) {
        return;
    }
    ERR_clear_error();
    if (SSL_write_ex(t->ssl, plain.p, plain.len, &n) != 1 || n != plain.len) {
        t->state = TLS_FAILED; /* our BIO takes everything: this is a fault of the session */
        ERR_clear_error();
    }
}

void tls_close(struct tls *t)
{
    if (t->state == TLS_OPEN || t->state == TLS_ENDED) {
        ERR_clear_error();
        (void)SSL_shutdown(t->ssl);
        ERR_clear_error();
    }
}

enum tls_state tls_state(const struct tls *t)
{
    return (enum tls_state)t->state;
}
