/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/keys.h"

#include "base/err.h"
#include "base/hash.h"

static void put_field(struct buf *out, struct slice s)
{
    buf_append_byte(out, 0);
    buf_append_slice(out, s);
}

/* space, first, then 0 + field for each further one, in one reservation: keys are built for every
 * command and every read. */
static void put_key(struct buf *out, enum key_space space, const struct slice *fields, size_t n)
{
    size_t len = 1 + (n - 1);
    for (size_t i = 0; i < n; i++) {
        len += fields[i].len;
    }
    uint8_t *p = buf_reserve(out, len);
    *p++ = (uint8_t)space;
    for (size_t i = 0; i < n; i++) {
        if (i != 0) {
            *p++ = 0;
        }
        if (fields[i].len != 0) {
            memcpy(p, fields[i].p, fields[i].len);
        }
        p += fields[i].len;
    }
    out->len += len;
}

void key_config(struct buf *out, const struct config_name *n)
{
    put_key(out, SPACE_CONFIG, (const struct slice[]){n->ns, n->group, n->key}, 3);
}

void key_service(struct buf *out, const struct service_name *n)
{
    put_key(out, SPACE_SERVICE, (const struct slice[]){n->ns, n->group, n->service}, 3);
}

void key_instance(struct buf *out, const struct instance_name *n)
{
    put_key(out, SPACE_INSTANCE,
            (const struct slice[]){n->ns, n->group, n->service, n->cluster, n->id}, 5);
}

static void put_prefix(struct buf *out, enum key_space space, struct slice ns, struct slice group,
                       struct slice prefix)
{
    buf_append_byte(out, (uint8_t)space);
    if (ns.len == 0) {
        return;
    }
    buf_append_slice(out, ns);
    if (group.len == 0) {
        buf_append_byte(out, 0);
        return;
    }
    put_field(out, group);
    put_field(out, prefix);
}

void key_config_prefix(struct buf *out, struct slice ns, struct slice group,
                       struct slice key_prefix)
{
    put_prefix(out, SPACE_CONFIG, ns, group, key_prefix);
}

void key_service_prefix(struct buf *out, struct slice ns, struct slice group,
                        struct slice name_prefix)
{
    put_prefix(out, SPACE_SERVICE, ns, group, name_prefix);
}

void key_instance_prefix(struct buf *out, const struct service_name *n)
{
    put_prefix(out, SPACE_INSTANCE, n->ns, n->group, n->service);
    buf_append_byte(out, 0);
}

/* Exactly n fields after the space byte; `empty` may be empty (a bit for each). */
static int split_with(struct slice key, enum key_space space, struct slice *out, size_t n,
                      unsigned empty)
{
    if (key.len < 1 || key.p[0] != (uint8_t)space) {
        return MU_E_FORMAT;
    }
    const uint8_t *p = key.p + 1;
    size_t left = key.len - 1;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *end = left != 0 ? memchr(p, 0, left) : NULL;
        int is_last = i + 1 == n;
        if ((end == NULL) != is_last) {
            return MU_E_FORMAT;
        }
        size_t len = is_last ? left : (size_t)(end - p);
        if (len == 0 && (empty >> i & 1) == 0) {
            return MU_E_FORMAT;
        }
        out[i] = slice_of(p, len);
        if (!is_last) {
            p += len + 1;
            left -= len + 1;
        }
    }
    return 0;
}

static int split(struct slice key, enum key_space space, struct slice *out, size_t n)
{
    return split_with(key, space, out, n, 0);
}

int key_parse_config(struct slice key, struct config_name *out)
{
    struct slice f[3];
    int rc = split(key, SPACE_CONFIG, f, N_ELEMENTS(f));
    if (rc == 0) {
        *out = (struct config_name){f[0], f[1], f[2]};
    }
    return rc;
}

int key_parse_service(struct slice key, struct service_name *out)
{
    struct slice f[3];
    int rc = split(key, SPACE_SERVICE, f, N_ELEMENTS(f));
    if (rc == 0) {
        *out = (struct service_name){f[0], f[1], f[2]};
    }
    return rc;
}

int key_parse_instance(struct slice key, struct instance_name *out)
{
    struct slice f[5];
    int rc = split(key, SPACE_INSTANCE, f, N_ELEMENTS(f));
    if (rc == 0) {
        *out = (struct instance_name){f[0], f[1], f[2], f[3], f[4]};
    }
    return rc;
}

/* ---- user keys, sessions, the catalog, records ---- */

void key_user(struct buf *out, struct slice key)
{
    put_key(out, SPACE_USER, &key, 1);
}

void key_session(struct buf *out, struct slice id)
{
    put_key(out, SPACE_SESSION, &id, 1);
}

void key_node(struct buf *out, struct slice node)
{
    put_key(out, SPACE_NODE, &node, 1);
}

void key_place(struct buf *out, struct slice node, struct slice service_id)
{
    put_key(out, SPACE_PLACE, (const struct slice[]){node, service_id}, 2);
}

void key_check(struct buf *out, const struct check_name *n)
{
    put_key(out, SPACE_CHECK, (const struct slice[]){n->node, n->service_id, n->id}, 3);
}

void key_record(struct buf *out, struct slice kind, struct slice name)
{
    put_key(out, SPACE_RECORD, (const struct slice[]){kind, name}, 2);
}

/* The fields, each ended by the separator; no field at all: the whole space. */
static void put_fields_prefix(struct buf *out, enum key_space space, const struct slice *fields,
                              size_t n)
{
    buf_append_byte(out, (uint8_t)space);
    for (size_t i = 0; i < n; i++) {
        buf_append_slice(out, fields[i]);
        buf_append_byte(out, 0);
    }
}

void key_place_prefix(struct buf *out, struct slice node)
{
    put_fields_prefix(out, SPACE_PLACE, &node, node.len != 0);
}

void key_check_prefix(struct buf *out, struct slice node)
{
    put_fields_prefix(out, SPACE_CHECK, &node, node.len != 0);
}

void key_check_prefix_of(struct buf *out, struct slice node, struct slice service_id)
{
    put_fields_prefix(out, SPACE_CHECK, (const struct slice[]){node, service_id}, 2);
}

void key_record_prefix(struct buf *out, struct slice kind)
{
    put_fields_prefix(out, SPACE_RECORD, &kind, 1);
}

int key_parse_node(struct slice key, struct slice *out_node)
{
    return split(key, SPACE_NODE, out_node, 1);
}

int key_parse_place(struct slice key, struct slice *out_node, struct slice *out_service_id)
{
    struct slice f[2];
    int rc = split(key, SPACE_PLACE, f, 2);
    if (rc == 0) {
        *out_node = f[0];
        *out_service_id = f[1];
    }
    return rc;
}

int key_parse_check(struct slice key, struct check_name *out)
{
    struct slice f[3];
    int rc = split_with(key, SPACE_CHECK, f, 3, 2);
    if (rc == 0) {
        *out = (struct check_name){f[0], f[1], f[2]};
    }
    return rc;
}

int key_parse_record(struct slice key, struct slice *out_kind, struct slice *out_name)
{
    struct slice f[2];
    int rc = split(key, SPACE_RECORD, f, 2);
    if (rc == 0) {
        *out_kind = f[0];
        *out_name = f[1];
    }
    return rc;
}

/* The keys of DB_LINKS end where LMDB's do. A longer field gives its beginning and its hash, and is
 * longer than any field that stands as it is. */
enum { LINK_FIELD_MAX = 220, LINK_FIELD_HEAD = 156 };

static void put_link_field(struct buf *out, struct slice s)
{
    uint8_t digest[32];
    if (s.len <= LINK_FIELD_MAX) {
        buf_append_slice(out, s);
        return;
    }
    hash_sha256(s.p, s.len, digest);
    buf_append(out, s.p, LINK_FIELD_HEAD);
    buf_append_byte(out, '#');
    for (size_t i = 0; i < sizeof(digest); i++) {
        buf_append_byte(out, (uint8_t) "0123456789abcdef"[digest[i] >> 4]);
        buf_append_byte(out, (uint8_t) "0123456789abcdef"[digest[i] & 15]);
    }
}

void link_key_put(struct buf *out, enum link_kind kind, struct slice x, struct slice y)
{
    buf_append_byte(out, (uint8_t)kind);
    put_link_field(out, x);
    buf_append_byte(out, 0);
    put_link_field(out, y);
}
