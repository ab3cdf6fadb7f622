/* SPDX-License-Identifier: Apache-2.0 */
/* Peer messages and configurations as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/wire.h"
#include "raft/conf.h"
#include "raft/message.h"

static struct conf three(void)
{
    struct conf c = {.n = 3};
    for (int i = 0; i < 3; i++) {
        snprintf(c.members[i].name, sizeof(c.members[i].name), "n@%d",
                 i + 1); /* a name may hold an '@' */
        snprintf(c.members[i].address, sizeof(c.members[i].address), "[::1]:%d", 8300 + i);
        c.members[i].id = replica_id_of(c.members[i].name);
        c.members[i].is_voter = i < 2;
    }
    return c;
}

/* Encode, decode, encode: the same bytes. Returns the frame's body, for more. */
static struct slice round_trip(const struct message *m, struct slice tail, struct message *out)
{
    static struct buf body, again;
    static struct message_scratch scratch;
    uint8_t head[MESSAGE_HEAD_MAX];
    buf_clear(&body);
    buf_append(&body, head, message_encode(m, head));
    buf_append_slice(&body, tail);
    assert_int_equal(message_decode((uint8_t)m->type, buf_slice(&body), &scratch, out), 0);
    buf_clear(&again);
    buf_append(&again, head, message_encode(out, head));
    buf_append_slice(&again, tail);
    assert_true(slice_eq(buf_slice(&body), buf_slice(&again)));
    return buf_slice(&body);
}

static void test_round_trips(void **state)
{
    struct message o;
    (void)state;
    struct message vote = {
        .type = MESSAGE_VOTE, .term = 7, .vote = {.last = 12, .last_term = 6, .is_pre = 1}};
    round_trip(&vote, (struct slice){0}, &o);
    assert_int_equal(o.vote.last, 12);
    assert_true(o.vote.is_pre && !o.vote.is_disrupt);
    struct message result = {
        .type = MESSAGE_VOTE_RESULT, .term = 7, .vote_result = {.is_granted = 1}};
    round_trip(&result, (struct slice){0}, &o);
    assert_true(o.vote_result.is_granted && !o.vote_result.is_pre);
    struct message ack = {
        .type = MESSAGE_APPEND_RESULT, .term = 3, .append_result = {.rejected = 9, .last = 4}};
    round_trip(&ack, (struct slice){0}, &o);
    assert_int_equal(o.append_result.rejected, 9);
    struct message rd = {.type = MESSAGE_READ_INDEX_RESULT,
                         .term = 3,
                         .read_index_result = {.seq = 1, .index = 2, .code = MU_E_NOT_LEADER}};
    round_trip(&rd, (struct slice){0}, &o);
    assert_int_equal(o.read_index_result.code, MU_E_NOT_LEADER);
    struct message begin = {
        .type = MESSAGE_SNAPSHOT_BEGIN,
        .term = 5,
        .snapshot_begin = {
            .id = 77, .index = 1000, .index_term = 4, .size = 1 << 30, .is_rejoin = 1}};
    round_trip(&begin, (struct slice){0}, &o);
    assert_int_equal(o.snapshot_begin.size, 1 << 30);
    struct message chunk = {.type = MESSAGE_SNAPSHOT_CHUNK,
                            .term = 5,
                            .snapshot_chunk = {.id = 77, .offset = 9, .crc = 5}};
    round_trip(&chunk, SLICE_LIT("data"), &o);
    assert_true(slice_eq(o.snapshot_chunk.data, SLICE_LIT("data")));
}

static void put_entries(struct buf *b, const struct wal_entry *e, size_t n)
{
    uint8_t head[MESSAGE_ENTRY_HEAD];
    for (size_t i = 0; i < n; i++) {
        message_put_entry_head(head, &e[i]);
        buf_append(b, head, sizeof(head));
    }
    for (size_t i = 0; i < n; i++) {
        buf_append_slice(b, e[i].data);
    }
}

static void test_append(void **state)
{
    struct conf c = three();
    struct buf conf, tail;
    struct message o;
    (void)state;
    buf_init(&conf);
    buf_init(&tail);
    conf_encode(&conf, &c);
    struct wal_entry e[3] = {{2, WAL_COMMAND, SLICE_LIT("one")},
                             {2, WAL_CHANGE, buf_slice(&conf)},
                             {3, WAL_BARRIER, {0}}};
    put_entries(&tail, e, 3);
    struct message m = {.type = MESSAGE_APPEND,
                        .term = 3,
                        .append = {.prev = 10, .prev_term = 2, .commit = 8, .n = 3}};
    round_trip(&m, buf_slice(&tail), &o);
    assert_int_equal(o.append.n, 3);
    assert_true(slice_eq(o.append.entries[1].data, buf_slice(&conf)));
    assert_int_equal(o.append.entries[2].term, 3);
    buf_fini(&conf);
    buf_fini(&tail);
}

static int decodes(uint8_t type, struct slice s)
{
    struct message_scratch scratch = {0};
    struct message o;
    int rc = message_decode(type, s, &scratch, &o);
    message_scratch_fini(&scratch);
    return rc == 0;
}

/* What the engine must never see. */
static void test_append_refused(void **state)
{
    static const struct {
        mu_term term, prev_term, entry_term;
        mu_index prev;
        uint8_t kind;
    } bad[] = {
        {3, 2, 4, 10, WAL_COMMAND}, /* an entry of a term after the sender's */
        {3, 2, 1, 10, WAL_COMMAND}, /* terms fall */
        {3, 0, 0, 0, WAL_COMMAND},  /* no term */
        {3, 2, 2, 10, 4},           /* no such kind */
        {3, 2, 2, 10, WAL_CHANGE},  /* not a configuration */
        {3, 0, 2, 10, WAL_COMMAND}, /* something before, of no term */
        {3, 4, 4, 10, WAL_COMMAND}, /* from the future */
        {0, 0, 0, 0, WAL_COMMAND},
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct wal_entry e = {bad[i].entry_term, (enum wal_kind)bad[i].kind, SLICE_LIT("12345678")};
        struct message m = {.type = MESSAGE_APPEND,
                            .term = bad[i].term,
                            .append = {.prev = bad[i].prev, .prev_term = bad[i].prev_term, .n = 1}};
        uint8_t head[MESSAGE_HEAD_MAX];
        struct buf b;
        buf_init(&b);
        buf_append(&b, head, message_encode(&m, head));
        put_entries(&b, &e, 1);
        if (decodes(MESSAGE_APPEND, buf_slice(&b))) {
            fail_msg("bad APPEND %zu was accepted", i);
        }
        buf_fini(&b);
    }
}

/* Any cut and any length out of proportion is refused, without reading or taking memory beyond the
 * frame. */
static void test_cut_anywhere(void **state)
{
    struct wal_entry e[2] = {{2, WAL_COMMAND, SLICE_LIT("one")},
                             {2, WAL_COMMAND, SLICE_LIT("second")}};
    struct message m = {
        .type = MESSAGE_APPEND, .term = 3, .append = {.prev = 10, .prev_term = 2, .n = 2}};
    uint8_t head[MESSAGE_HEAD_MAX];
    struct buf b;
    (void)state;
    buf_init(&b);
    buf_append(&b, head, message_encode(&m, head));
    put_entries(&b, e, 2);
    assert_true(decodes(MESSAGE_APPEND, buf_slice(&b)));
    for (size_t i = 0; i < b.len; i++) {
        uint8_t *exact = mem_dup(b.p, i);
        assert_false(decodes(MESSAGE_APPEND, slice_of(exact, i)));
        mem_free(exact);
    }
    buf_append_byte(&b, 0);
    assert_false(decodes(MESSAGE_APPEND, buf_slice(&b)));
    b.len--;
    wire_set_u32(b.p + 32, 0x7fffffff); /* the number of entries */
    assert_false(decodes(MESSAGE_APPEND, buf_slice(&b)));
    buf_fini(&b);
    for (int type = 0; type < 256; type++) {
        assert_false(decodes((uint8_t)type, (struct slice){0}));
    }
}

static void test_items(void **state)
{
    struct message_forward_item f = {.seq = 5, .wait_ms = 1000, .data = SLICE_LIT("command")}, f2;
    struct message_result_item r = {.seq = 6, .code = MU_E_OVERLOADED, .data = SLICE_LIT("res")},
                               r2;
    struct message o;
    struct buf b;
    (void)state;
    buf_init(&b);
    message_put_forward(&b, &f);
    message_put_forward(&b, &f);
    struct message m = {.type = MESSAGE_FORWARD, .term = 1, .forward = {.run = 9, .n = 2}};
    round_trip(&m, buf_slice(&b), &o);
    struct slice items = o.forward.items;
    assert_true(message_next_forward(&items, &f2) && message_next_forward(&items, &f2) &&
                !message_next_forward(&items, &f2));
    assert_true(slice_eq(f2.data, f.data));
    buf_clear(&b);
    message_put_result(&b, &r);
    struct message a = {.type = MESSAGE_FORWARD_RESULT, .term = 1, .forward = {.run = 9, .n = 1}};
    round_trip(&a, buf_slice(&b), &o);
    items = o.forward.items;
    assert_true(message_next_result(&items, &r2));
    assert_int_equal(r2.code, MU_E_OVERLOADED);
    a.forward.n = 2; /* says more than there is */
    uint8_t head[MESSAGE_HEAD_MAX];
    struct buf body;
    buf_init(&body);
    buf_append(&body, head, message_encode(&a, head));
    buf_append_slice(&body, buf_slice(&b));
    assert_false(decodes(MESSAGE_FORWARD_RESULT, buf_slice(&body)));
    buf_fini(&body);
    buf_fini(&b);
}

static void test_conf(void **state)
{
    struct conf c = three(), back;
    struct buf b;
    (void)state;
    buf_init(&b);
    conf_encode(&b, &c);
    assert_int_equal(b.len % 8, 0);
    assert_int_equal(conf_decode(buf_slice(&b), &back), 0);
    assert_int_equal(back.n, 3);
    assert_string_equal(back.members[1].name, "n@2");
    assert_string_equal(back.members[1].address, "[::1]:8301");
    assert_int_equal(conf_voters(&back), 2);
    for (size_t i = 0; i < b.len;
         i++) { /* cut, and each byte changed: refused or different, never a crash */
        uint8_t *exact = mem_dup(b.p, i);
        assert_int_not_equal(conf_decode(slice_of(exact, i), &back), 0);
        mem_free(exact);
        b.p[i] ^= 0x40;
        (void)conf_decode(buf_slice(&b), &back);
        b.p[i] ^= 0x40;
    }
    c.members[2].id = c.members[0].id; /* twice the same */
    buf_clear(&b);
    conf_encode(&b, &c);
    assert_int_not_equal(conf_decode(buf_slice(&b), &back), 0);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),    cmocka_unit_test(test_append),
        cmocka_unit_test(test_append_refused), cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_items),          cmocka_unit_test(test_conf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
