/* SPDX-License-Identifier: Apache-2.0 */
/* Logical keys: the first byte is the space, the fields follow, separated by one zero byte.
 *
 * Names hold no control characters, so the encoding is unambiguous and sorts like the tuple of its
 * fields. A logical key may be longer than LMDB's 511 bytes; storage/db maps it. Format:
 * docs/formats.md#keys. */
#pragma once

#include "base/buf.h"

enum key_space {
    SPACE_CONFIG = 'C',   /* namespace, group, key */
    SPACE_SESSION = 'E',  /* session id: what may hold user keys locked */
    SPACE_CHECK = 'H',    /* node, service id (empty: of the node itself), check id */
    SPACE_INSTANCE = 'I', /* namespace, group, service, cluster, id */
    SPACE_USER = 'K',     /* raw user keys: any bytes, shared by the etcd and the Consul face */
    SPACE_NODE = 'N',     /* node of the catalog */
    SPACE_PLACE = 'P',    /* node, service id: where in the catalog an instance stands */
    SPACE_RECORD = 'R',   /* kind, name: documents of a face (policies, queries, events, ...) */
    SPACE_SERVICE = 'S',  /* namespace, group, service */
    SPACE_FIRST = SPACE_CONFIG,
    SPACE_LAST = SPACE_SERVICE,
};

enum { KEY_NAME_MAX = 512, KEY_CONFIG_MAX = 4096, KEY_USER_MAX = 4096, KEY_MAX = 6144 };

struct config_name {
    struct slice ns, group, key;
};

struct service_name {
    struct slice ns, group, service;
};

struct instance_name {
    struct slice ns, group, service, cluster, id;
};

/* A check belongs to a node, and to one of its services unless service_id is empty. */
struct check_name {
    struct slice node, service_id, id;
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

/* User keys are raw bytes: what follows the space byte, as it is. */
void key_user(struct buf *out, struct slice key);
void key_session(struct buf *out, struct slice id);
void key_node(struct buf *out, struct slice node);
void key_place(struct buf *out, struct slice node, struct slice service_id);
void key_check(struct buf *out, const struct check_name *n);
void key_record(struct buf *out, struct slice kind, struct slice name);
/* All places of a node; all checks of a node (its own and those of its services; node empty: of all
 * nodes); those of one service id, or of the node alone (service_id empty); all records of a kind.
 */
void key_place_prefix(struct buf *out, struct slice node);
void key_check_prefix(struct buf *out, struct slice node);
void key_check_prefix_of(struct buf *out, struct slice node, struct slice service_id);
void key_record_prefix(struct buf *out, struct slice kind);
int key_parse_node(struct slice key, struct slice *out_node);
int key_parse_place(struct slice key, struct slice *out_node, struct slice *out_service_id);
int key_parse_check(struct slice key, struct check_name *out);
int key_parse_record(struct slice key, struct slice *out_kind, struct slice *out_name);

/* Links: how rows are found by something else than their keys (DB_LINKS). */
enum link_kind {
    LINK_SESSION_NODE = 's',  /* node, session id -> nothing */
    LINK_SESSION_CHECK = 'h', /* node 0 check id, session id -> nothing */
    LINK_CHECK = 'c',         /* node, check id -> service id */
    LINK_AGENT_SERVICE = 'a', /* service id -> node: the cluster's agent */
    LINK_AGENT_CHECK = 'b',   /* check id -> node 0 service id */
};
/* kind, x, 0, y. With y empty also the beginning of all links from x. */
void link_key_put(struct buf *out, enum link_kind kind, struct slice x, struct slice y);
