/* SPDX-License-Identifier: Apache-2.0 */
/* Rows: the first byte chooses the kind. What is accepted encodes to the same bytes again; its
 * lists can be walked to the end. */
#include "base/err.h"
#include "storage/event.h"
#include "storage/keys.h"

static void check_config(struct slice s, struct buf *again)
{
    struct config_row r;
    if (config_row_decode(s, &r) == 0) {
        config_row_encode(again, &r);
        MU_INVARIANT(slice_eq(s, buf_slice(again)));
    }
}

static void check_service(struct slice s, struct buf *again)
{
    struct service_row r;
    if (service_row_decode(s, &r) == 0) {
        service_row_encode(again, &r);
        MU_INVARIANT(slice_eq(s, buf_slice(again)));
    }
}

static void walk(const struct instance_row *r)
{
    struct pair_iter it;
    struct slice k, v;
    tags_begin(&it, r->tags);
    unsigned n = it.left;
    while (tags_next(&it, &k)) {
        n--;
    }
    MU_INVARIANT(n == 0 && it.rest.len == 0);
    metadata_begin(&it, r->metadata);
    n = it.left;
    while (metadata_next(&it, &k, &v)) {
        n--;
    }
    MU_INVARIANT(n == 0 && it.rest.len == 0);
}

static void check_instance(struct slice s, struct buf *again)
{
    struct instance_row r;
    if (instance_row_decode(s, &r) == 0) {
        walk(&r);
        instance_row_encode(again, &r);
        MU_INVARIANT(slice_eq(s, buf_slice(again)));
    }
}

static void check_lease(struct slice s, struct buf *again)
{
    struct lease_row r;
    if (lease_row_decode(s, &r) == 0) {
        lease_row_encode(again, &r);
        MU_INVARIANT(slice_eq(s, buf_slice(again)));
    }
}

static void check_node(struct slice s, struct buf *again)
{
    struct node_row r;
    if (node_row_decode(s, &r) == 0) {
        node_row_encode(again, &r);
        MU_INVARIANT(slice_eq(s, buf_slice(again)));
    }
}

static void check_place(struct slice s, struct buf *again)
{
    struct place_row r;
    if (place_row_decode(s, &r) == 0) {
        place_row_encode(again, &r);
        MU_INVARIANT(slice_eq(s, buf_slice(again)));
    }
}

static void check_check(struct slice s, struct buf *again)
{
    struct check_row r;
    if (check_row_decode(s, &r) == 0) {
        check_row_encode(again, &r);
        MU_INVARIANT(slice_eq(s, buf_slice(again)));
    }
}

static void check_user(struct slice s, struct buf *again)
{
    struct user_row r;
    if (user_row_decode(s, &r) == 0) {
        user_row_encode(again, &r);
        MU_INVARIANT(slice_eq(s, buf_slice(again)));
    }
}

static void check_session(struct slice s, struct buf *again)
{
    struct session_row r;
    if (session_row_decode(s, &r) == 0) {
        session_row_encode(again, &r);
        MU_INVARIANT(slice_eq(s, buf_slice(again)));
    }
}

static void check_record(struct slice s, struct buf *again)
{
    struct record_row r;
    if (record_row_decode(s, &r) == 0) {
        record_row_encode(again, &r);
        MU_INVARIANT(slice_eq(s, buf_slice(again)));
    }
}

static void check_event(struct slice s, struct buf *again)
{
    static const uint8_t at[EVENT_KEY_SIZE];
    struct event ev;
    struct slice key, node, service_id, kind, name;
    struct check_name check;
    struct config_name config;
    struct service_name service;
    struct instance_name instance;
    (void)again;
    if (event_parse(slice_of(at, sizeof(at)), s, &ev) == 0) {
        key = ev.key;
        MU_INVARIANT(key.len + ev.head.len + (ev.is_cut ? 8 : 4) == s.len);
        size_t n = event_n_pieces(&ev), len = ev.head.len;
        for (uint32_t i = 0; i < n; i++) {
            len += event_piece_len(&ev, i);
        }
        MU_INVARIANT(len == ev.row_len && event_piece_len(&ev, (uint32_t)n) == 0);
        (void)key_parse_config(key, &config);
        (void)key_parse_service(key, &service);
        (void)key_parse_instance(key, &instance);
        (void)key_parse_node(key, &node);
        (void)key_parse_place(key, &node, &service_id);
        (void)key_parse_check(key, &check);
        (void)key_parse_record(key, &kind, &name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static void (*const checks[])(struct slice, struct buf *) = {
        check_config, check_service, check_instance, check_lease,   check_event, check_node,
        check_place,  check_check,   check_user,     check_session, check_record};
    struct buf again;
    if (len == 0) {
        return 0;
    }
    buf_init(&again);
    checks[data[0] % N_ELEMENTS(checks)](slice_of(data + 1, len - 1), &again);
    buf_fini(&again);
    return 0;
}
