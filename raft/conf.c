/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/conf.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/wire.h"

enum { CONF_VERSION = 1, ROLE_LEARNER = 0, ROLE_VOTER = 1 };

mu_node_id replica_id_of(const char *name)
{
    mu_node_id id = hash_xxh3(name, strlen(name), 0);
    return id != 0 ? id : 1;
}

void conf_address(const struct replica_member *m, char *out)
{
    snprintf(out, CONF_ADDRESS_MAX, "%s@%s", m->name, m->address);
}

/* "name@host:port": an address holds no '@', a name may. */
static int read_address(struct wire_reader *r, struct replica_member *out)
{
    const uint8_t *end = r->left > 0 ? memchr(r->p, 0, r->left) : NULL;
    if (end == NULL) {
        return MU_E_FORMAT;
    }
    const char *text = (const char *)r->p;
    size_t len = (size_t)(end - r->p);
    const char *at = memrchr(text, '@', len);
    if (at == NULL) {
        return MU_E_FORMAT;
    }
    size_t name_len = (size_t)(at - text), address_len = len - name_len - 1;
    if (name_len == 0 || name_len > REPLICA_NAME_MAX || address_len > REPLICA_ADDRESS_MAX) {
        return MU_E_FORMAT;
    }
    memcpy(out->name, text, name_len);
    memcpy(out->address, at + 1, address_len);
    wire_raw(r, len + 1);
    return 0;
}

static int read_member(struct wire_reader *r, struct conf *c)
{
    struct replica_member m = {.id = wire_u64(r)};
    if (r->failed || m.id == 0 || read_address(r, &m) != 0) {
        return MU_E_FORMAT;
    }
    uint8_t role = wire_u8(r);
    if (r->failed || role > ROLE_VOTER || conf_find(c, m.id) >= 0) {
        return MU_E_FORMAT;
    }
    for (size_t i = 0; i < c->n; i++) {
        if (strcmp(c->members[i].name, m.name) == 0) {
            return MU_E_FORMAT;
        }
    }
    m.is_voter = role == ROLE_VOTER;
    c->members[c->n++] = m;
    return 0;
}

int conf_decode(struct slice s, struct conf *out)
{
    struct wire_reader r;
    struct conf c = {0};
    wire_read_init(&r, s);
    uint8_t version = wire_u8(&r);
    uint64_t n = wire_u64(&r);
    if (r.failed || version != CONF_VERSION || n == 0 || n > REPLICA_MEMBERS_MAX ||
        s.len > CONF_MAX) {
        return MU_E_FORMAT;
    }
    for (uint64_t i = 0; i < n; i++) {
        if (read_member(&r, &c) != 0) {
            return MU_E_FORMAT;
        }
    }
    if (r.left >= 8 || s.len % 8 != 0) {
        return MU_E_FORMAT;
    }
    while (r.left > 0) {
        if (wire_u8(&r) != 0) {
            return MU_E_FORMAT;
        }
    }
    *out = c;
    return 0;
}

void conf_encode(struct buf *b, const struct conf *c)
{
    size_t start = b->len;
    wire_put_u8(b, CONF_VERSION);
    wire_put_u64(b, c->n);
    for (size_t i = 0; i < c->n; i++) {
        char address[CONF_ADDRESS_MAX];
        conf_address(&c->members[i], address);
        wire_put_u64(b, c->members[i].id);
        buf_append(b, address, strlen(address) + 1);
        wire_put_u8(b, c->members[i].is_voter ? ROLE_VOTER : ROLE_LEARNER);
    }
    while ((b->len - start) % 8 != 0) {
        wire_put_u8(b, 0);
    }
}

int conf_find(const struct conf *c, mu_node_id id)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->members[i].id == id) {
            return (int)i;
        }
    }
    return -1;
}

size_t conf_voters(const struct conf *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        n += c->members[i].is_voter != 0;
    }
    return n;
}

int conf_is_sole_voter(const struct conf *c, mu_node_id id)
{
    int i = conf_find(c, id);
    return i >= 0 && c->members[i].is_voter && conf_voters(c) == 1;
}
