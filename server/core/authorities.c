/* SPDX-License-Identifier: Apache-2.0 */
#include "server/core/authorities.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "base/err.h"
#include "base/mem.h"

struct authorities {
    X509_STORE *store;
};

struct authorities *authorities_new(void)
{
    struct authorities *a = mem_zalloc(sizeof(*a));
    a->store = X509_STORE_new();
    MU_INVARIANT(a->store != NULL);
    /* Looks at both variables itself. What cannot be read is not believed. */
    (void)X509_STORE_set_default_paths(a->store);
    /* One that is believed need not be a root: who names a server's certificate means it. */
    (void)X509_STORE_set_flags(a->store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
    return a;
}

void authorities_free(struct authorities *a)
{
    X509_STORE_free(a->store);
    mem_free(a);
}

static CURLcode on_context(CURL *easy, void *context, void *arg)
{
    struct authorities *a = arg;
    (void)easy;
    SSL_CTX_set1_cert_store(context, a->store);
    return CURLE_OK;
}

void authorities_use(struct authorities *a, void *easy)
{
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_context);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, a);
}
