/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate authorities and certificates for tests, as PEM files in a folder of their own. */
#pragma once

#include <openssl/x509.h>

#include "raft/transport.h"

struct certs_ca {
    X509 *cert;
    EVP_PKEY *key;
    char file[128];
};

struct certs_node {
    char cert[128], key[128];
    struct tls_config tls; /* with the CA file of its issuer */
};

void certs_init(void); /* makes the folder */
void certs_fini(void); /* and deletes it with all files */
void certs_ca_init(struct certs_ca *ca, const char *name);
void certs_ca_fini(struct certs_ca *ca);

/* LONGER: not a flaw, it lasts 1000 s longer than the others. */
enum certs_flaw { CERTS_FINE, CERTS_LONGER, CERTS_EXPIRED, CERTS_NO_SAN, CERTS_SERVER_ONLY };
/* SAN: DNS:<san>, or just <san> when it names another type; the subject's name is `file`. */
void certs_issue(const struct certs_ca *ca, const char *file, const char *san, enum certs_flaw flaw,
                 struct certs_node *out);
void certs_rsa_key(char out_file[128]); /* a key of another kind than all the others */
/* A CA file with both. */
void certs_bundle(const struct certs_ca *a, const struct certs_ca *b, char out_file[128]);
