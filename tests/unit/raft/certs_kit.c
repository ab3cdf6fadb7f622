/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/raft/certs_kit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "tests/unit/unit.h"

static char folder[64];

void certs_init(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/muster-certs-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

void certs_fini(void)
{
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        char path[400];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        (void)unlink(path);
    }
    (void)closedir(d);
    (void)rmdir(folder);
}

static FILE *create(char path[128], const char *name, const char *suffix)
{
    (void)snprintf(path, 128, "%s/%s.%s", folder, name, suffix);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    assert_non_null(f);
    return f;
}

static void add_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static X509 *new_cert(const char *name, EVP_PKEY *key, long from_s, long to_s)
{
    X509 *x = X509_new();
    assert_non_null(x);
    X509_set_version(x, 2);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), rnd_u64() >> 1);
    X509_gmtime_adj(X509_getm_notBefore(x), from_s);
    X509_gmtime_adj(X509_getm_notAfter(x), to_s);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               (const unsigned char *)name, -1, -1, 0);
    assert_int_equal(X509_set_pubkey(x, key), 1);
    return x;
}

void certs_ca_init(struct certs_ca *ca, const char *name)
{
    ca->key = EVP_EC_gen("P-256");
    assert_non_null(ca->key);
    ca->cert = new_cert(name, ca->key, -3600, 3600);
    X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert));
    add_extension(ca->cert, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(ca->cert, NID_key_usage, "critical,keyCertSign");
    assert_true(X509_sign(ca->cert, ca->key, EVP_sha256()) > 0);
    FILE *f = create(ca->file, name, "ca");
    assert_int_equal(PEM_write_X509(f, ca->cert), 1);
    (void)fclose(f);
}

void certs_ca_fini(struct certs_ca *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

void certs_issue(const struct certs_ca *ca, const char *file, const char *san, enum certs_flaw flaw,
                 struct certs_node *out)
{
    char text[128];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(key);
    static time_t now; /* the same for all, so that their ends can be compared */
    now = now != 0 ? now : time(NULL);
    X509 *x = new_cert(file, key, -3600, flaw == CERTS_EXPIRED ? -60 : 3600);
    if (flaw != CERTS_EXPIRED) {
        ASN1_TIME_set(X509_getm_notAfter(x), now + (flaw == CERTS_LONGER ? 4600 : 3600));
    }
    X509_set_issuer_name(x, X509_get_subject_name(ca->cert));
    (void)snprintf(text, sizeof(text), "%s%s", strchr(san, ':') == NULL ? "DNS:" : "", san);
    if (flaw != CERTS_NO_SAN) {
        add_extension(x, NID_subject_alt_name, text);
    }
    if (flaw == CERTS_SERVER_ONLY) {
        add_extension(x, NID_ext_key_usage, "serverAuth");
    }
    assert_true(X509_sign(x, ca->key, EVP_sha256()) > 0);
    FILE *f = create(out->cert, file, "cert");
    assert_int_equal(PEM_write_X509(f, x), 1);
    (void)fclose(f);
    f = create(out->key, file, "key");
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
    out->tls = (struct tls_config){out->cert, out->key, ca->file};
}

void certs_rsa_key(char out_file[128])
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    assert_non_null(key);
    FILE *f = create(out_file, "rsa", "key");
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(f);
    EVP_PKEY_free(key);
}

void certs_bundle(const struct certs_ca *a, const struct certs_ca *b, char out_file[128])
{
    FILE *f = create(out_file, "bundle", "ca");
    assert_int_equal(PEM_write_X509(f, a->cert), 1);
    assert_int_equal(PEM_write_X509(f, b->cert), 1);
    (void)fclose(f);
}
