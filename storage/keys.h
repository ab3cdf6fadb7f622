/* SPDX-License-Identifier: Apache-2.0 */
/* Logical keys: the first byte is the space, the fields follow, separated by one zero byte.
 *
 * Names hold no control characters, so the encoding is unambiguous and sorts like the tuple of its
 * fields. A logical key may be longer than LMDB's 511 bytes; storage/db maps it. Format:
 * docs/formats.md#keys. */
#pragma once

#include "base/buf.h"

enum key_space {
    SPACE_USER = 'K',     /* reserved for raw user keys (etcd and Consul KV faces) */
    SPACE_CONFIG = 'C',   /* namespace, group, key */
    SPACE_SERVICE = 'S',  /* namespace, group, service */
    SPACE_INSTANCE = 'I', /* namespace, group, service, cluster, id */
};

enum { KEY_NAME_MAX = 512, KEY_CONFIG_MAX = 4096, KEY_MAX = 6144 };

struct config_name {
    struct slice ns, group, key;
};

struct service_name {
    struct slice ns, group, service;
};

struct instance_name {
    struct slice ns, group, service, cluster, id;
};

/* A set of logical keys: exactly `key`, or every key that starts with it. */
struct key_range {
    struct slice key;
    int is_prefix;
};

/* Append the logical key to `out`. */
void key_config(struct buf *out, const struct config_name *n);
void key_service(struct buf *out, const struct service_name *n);
void key_instance(struct buf *out, const struct instance_name *n);
/* Prefixes. An empty last field stops before it: every group of a namespace, every key of a group,
 * ... */
void key_config_prefix(struct buf *out, struct slice ns, struct slice group,
                       struct slice key_prefix);
void key_service_prefix(struct buf *out, struct slice ns, struct slice group,
                        struct slice name_prefix);
void key_instance_prefix(struct buf *out,
                         const struct service_name *n); /* all instances of one service */
/* Split a logical key into borrowed fields; MU_E_FORMAT when it is not of that space. */
int key_parse_config(struct slice key, struct config_name *out);
int key_parse_service(struct slice key, struct service_name *out);
int key_parse_instance(struct slice key, struct instance_name *out);
