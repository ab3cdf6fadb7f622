/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/raft/wal_kit.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/wire.h"

void kit_init(struct kit *k, uint64_t segment_bytes, uint64_t cache_bytes)
{
    *k = (struct kit){.m = memdisk_new()};
    k->o = (struct wal_options){memdisk_disk(k->m), "log", segment_bytes, cache_bytes};
    assert_int_equal(kit_open(k), 0);
    assert_int_equal(k->info.health, WAL_OK);
}

void kit_fini(struct kit *k)
{
    kit_close(k);
    memdisk_free(k->m);
}

int kit_open(struct kit *k)
{
    struct err e = {0};
    int rc = wal_open(&k->o, &k->w, &k->info, &e);
    k->w = rc != 0 ? NULL : k->w;
    return rc;
}

void kit_close(struct kit *k)
{
    if (k->w != NULL) {
        wal_close(k->w);
        k->w = NULL;
    }
}

void kit_reopen(struct kit *k, enum wal_health want)
{
    kit_close(k);
    assert_int_equal(kit_open(k), 0);
    if (k->info.health != want) {
        print_message("# %s\n", k->info.detail);
    }
    assert_int_equal(k->info.health, want);
}

static void content(uint8_t *p, uint64_t id, size_t len)
{
    for (size_t i = 8; i < len; i++) {
        p[i] = (uint8_t)(id * 31 + i * 7);
    }
    wire_set_u64(p, id);
}

void kit_append(struct kit *k, mu_index first, size_t n, mu_term term, uint64_t id, size_t len)
{
    struct wal_entry *v = mem_zalloc((n + 1) * sizeof(*v));
    for (size_t i = 0; i < n; i++) {
        uint8_t *p = mem_alloc(len);
        content(p, id + i, len);
        enum wal_kind kind = (id + i) % 7 == 0    ? WAL_CHANGE
                             : (id + i) % 11 == 0 ? WAL_BARRIER
                                                  : WAL_COMMAND;
        v[i] = (struct wal_entry){term, kind, slice_of(p, len)};
    }
    wal_append(k->w, first, v, n);
    for (size_t i = 0; i < n; i++) {
        mem_free((void *)v[i].data.p);
    }
    mem_free(v);
}

mu_index kit_flush(struct kit *k)
{
    struct wal_op *op = wal_take(k->w);
    struct err e = {0};
    if (op == NULL) {
        return wal_durable(k->w);
    }
    int rc = wal_execute(op, &e);
    if (rc != 0) {
        print_message("# %s\n", e.text);
    }
    assert_int_equal(rc, 0);
    return wal_done(k->w, op);
}

uint64_t kit_id_of(struct slice data)
{
    assert_true(data.len >= 8);
    uint64_t id = wire_get_u64(data.p);
    uint8_t *p = mem_alloc(data.len);
    content(p, id, data.len);
    assert_memory_equal(p, data.p, data.len);
    mem_free(p);
    return id;
}

void kit_expect(struct kit *k, mu_index first, mu_index last, uint64_t id)
{
    struct wal_entry v[16];
    struct err e = {0};
    for (mu_index i = first; i <= last;) {
        size_t n = wal_read(k->w, i, last - i + 1 < 16 ? (size_t)(last - i + 1) : 16, 1000, v, &e);
        if (n == 0) {
            print_message("# reading %llu: %s\n", (unsigned long long)i, e.text);
        }
        assert_true(n > 0);
        for (size_t j = 0; j < n; j++, i++) {
            assert_true(kit_id_of(v[j].data) == id + (i - first));
            assert_true(v[j].term == wal_term(k->w, i));
        }
    }
}
