/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/event.h"

#include "base/wire.h"
#include "storage/keys.h"

enum { REF_MARK = 0 }; /* no row version is 0 */

struct slice event_key(uint8_t out[EVENT_KEY_SIZE], mu_rev rev, uint32_t sub)
{
    wire_set_u64_be(out, rev);
    out[8] = (uint8_t)(sub >> 24);
    out[9] = (uint8_t)(sub >> 16);
    out[10] = (uint8_t)(sub >> 8);
    out[11] = (uint8_t)sub;
    return slice_of(out, EVENT_KEY_SIZE);
}

int event_key_parse(struct slice key, mu_rev *out_rev, uint32_t *out_sub)
{
    if (key.len != EVENT_KEY_SIZE) {
        return MU_E_CORRUPT;
    }
    *out_rev = wire_get_u64_be(key.p);
    *out_sub =
        (uint32_t)key.p[8] << 24 | (uint32_t)key.p[9] << 16 | (uint32_t)key.p[10] << 8 | key.p[11];
    return 0;
}

struct slice event_ref(uint8_t out[EVENT_REF_SIZE], mu_rev rev, uint32_t sub)
{
    out[0] = REF_MARK;
    (void)event_key(out + 1, rev, sub);
    return slice_of(out, EVENT_REF_SIZE);
}

int event_is_ref(struct slice stored)
{
    return stored.len == EVENT_REF_SIZE && stored.p[0] == REF_MARK;
}

int event_ref_parse(struct slice stored, mu_rev *out_rev, uint32_t *out_sub)
{
    if (!event_is_ref(stored)) {
        return MU_E_CORRUPT;
    }
    return event_key_parse(slice_of(stored.p + 1, EVENT_KEY_SIZE), out_rev, out_sub);
}

void event_append(struct db_txn *t, mu_rev rev, uint32_t sub, struct slice key, struct slice row)
{
    uint8_t k[EVENT_KEY_SIZE];
    uint8_t *p = db_append(t, DB_EVENTS, event_key(k, rev, sub), 4 + key.len + row.len);
    wire_set_u32(p, (uint32_t)key.len);
    memcpy(p + 4, key.p, key.len);
    memcpy(p + 4 + key.len, row.p, row.len);
}

int event_parse(struct slice value, struct slice *out_key, struct slice *out_row)
{
    struct wire_reader r;
    wire_read_init(&r, value);
    struct slice key = wire_bytes(&r, KEY_MAX);
    if (r.failed || key.len == 0) {
        return MU_E_CORRUPT;
    }
    *out_key = key;
    *out_row = slice_of(r.p, r.left);
    return 0;
}

int event_get(struct db_txn *t, mu_rev rev, uint32_t sub, struct slice *out_key,
              struct slice *out_row)
{
    uint8_t k[EVENT_KEY_SIZE];
    struct slice value, key;
    int rc = db_get(t, DB_EVENTS, event_key(k, rev, sub), &value);
    rc = rc != 0 ? rc : event_parse(value, &key, out_row);
    if (rc == 0 && out_key != NULL) {
        *out_key = key;
    }
    return rc;
}

int event_resolve(struct db_txn *t, struct slice stored, struct slice *out_row)
{
    mu_rev rev;
    uint32_t sub;
    if (!event_is_ref(stored)) {
        *out_row = stored;
        return 0;
    }
    int rc = event_ref_parse(stored, &rev, &sub);
    rc = rc != 0 ? rc : event_get(t, rev, sub, NULL, out_row);
    return rc == MU_E_NOT_FOUND ? MU_E_CORRUPT : rc;
}
