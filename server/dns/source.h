/* SPDX-License-Identifier: Apache-2.0 */
/* Where answers come from: a few questions to the data, so that the answers can be tested without a
 * store. source_store.c is the real one.
 *
 * Names are asked for as they were sent; the DNS does not tell letters by their case, and a source
 * finds what is written differently. */
#pragma once

#include "server/dns/zone.h"

/* All slices are borrowed until the callback returns (or, from a call, until close). */
struct dns_node {
    struct slice name, address;
    struct slice metadata; /* pairs: metadata_begin of storage/rows.h */
};

/* An instance that may be told. */
struct dns_instance {
    struct dns_node node; /* name empty: it stands on none */
    struct slice address; /* empty: the node's */
    uint16_t port, weight;
};

struct dns_service_ask {
    struct slice name;
    struct slice tag; /* lower case; empty = any */
    int is_only_passing;
};

/* 0 to go on, anything else stops and is returned. */
typedef int (*dns_instance_fn)(void *arg, const struct dns_instance *i);
typedef int (*dns_node_fn)(void *arg, const struct dns_node *n);

struct dns_source {
    /* One consistent look, for a few questions in a row; NULL: nothing can be told now. */
    void *(*open)(struct dns_source *s);
    void (*close)(struct dns_source *s, void *look);
    /* Instances of a service but those that are critical or disabled. */
    int (*service)(struct dns_source *s, void *look, const struct dns_service_ask *ask,
                   dns_instance_fn fn, void *arg);
    /* 0 or NOT_FOUND. */
    int (*node)(struct dns_source *s, void *look, struct slice name, struct dns_node *out);
    /* The members of the cluster. */
    int (*members)(struct dns_source *s, void *look, dns_node_fn fn, void *arg);
    /* Whose address that is: a node's, or a service's. 0 or NOT_FOUND. */
    int (*reverse)(struct dns_source *s, void *look, const uint8_t address[16],
                   struct slice *out_name, int *out_is_node);
    /* The instances a prepared query finds. *out_ttl stays when the query says nothing of it. 0 or
     * NOT_FOUND (no such query). NULL: there are none. */
    int (*query)(struct dns_source *s, void *look, struct slice name, uint32_t *out_ttl,
                 dns_instance_fn fn, void *arg);
};
