/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/change.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "server/consul/list.h"

struct consul_change *consul_change_new(struct consul_call *k, void *data)
{
    struct consul_change *h = http_alloc(k->r, sizeof(*h));
    memset(h, 0, sizeof(*h));
    h->k = *k;
    h->data = data;
    return h;
}

static void gated(struct core_request *q)
{
    struct consul_change *h = CONTAINER_OF(q, struct consul_change, gate.q);
    if (q->code != 0) {
        consul_fail(h->k.r, q->code, q->err.text);
        return;
    }
    if (consul_identify(&h->k) != 0) {
        return;
    }
    struct view *v = view_open(core_store(h->k.c->core));
    int rc = h->plan(h, v);
    view_close(v);
    if (rc == 0) {
        consul_write(&h->k, h->ops, h->n, 1, h->done, h);
    }
}

void consul_change_start(struct consul_change *h, consul_change_plan_fn plan,
                         consul_written_fn done)
{
    h->plan = plan;
    h->done = done;
    h->gate.q.done = gated;
    h->gate.q.reply = worker_mailbox(http_worker(h->k.r));
    core_read_gate(h->k.c->core, &h->gate, READ_LEADER, CONSUL_HOLD_MS);
}

static struct op *add(struct consul_change *h, enum op_type type, struct slice kind,
                      struct slice name)
{
    MU_INVARIANT(h->n < CHANGE_OPS_MAX);
    struct op *o = &h->ops[h->n++];
    *o = (struct op){.type = type};
    o->u.record.kind = kind;
    o->u.record.name = consul_keep(h->k.r, name);
    return o;
}

void consul_change_set(struct consul_change *h, struct slice kind, struct slice name,
                       struct slice body)
{
    add(h, OP_RECORD_SET, kind, name)->u.record.body = consul_keep(h->k.r, body);
}

void consul_change_cas(struct consul_change *h, struct slice kind, struct slice name,
                       struct slice body, mu_rev expect)
{
    struct op *o = add(h, OP_RECORD_CAS, kind, name);
    o->u.record.body = consul_keep(h->k.r, body);
    o->expect = expect;
}

void consul_change_delete(struct consul_change *h, struct slice kind, struct slice name)
{
    (void)add(h, OP_RECORD_DELETE, kind, name);
}

void consul_change_delete_cas(struct consul_change *h, struct slice kind, struct slice name,
                              mu_rev expect)
{
    add(h, OP_RECORD_DELETE_CAS, kind, name)->expect = expect;
}

int consul_change_outcome(struct consul_write *w)
{
    int code = w->cw.result.code;
    if (code == 0 || code == MU_E_REVISION_MISMATCH || code == MU_E_EXISTS) {
        return code == 0;
    }
    consul_fail(w->r, code, NULL);
    return -1;
}

void consul_uuid(char out[UUID_SIZE + 1])
{
    uint8_t b[16];
    char hex[33];
    rnd_bytes(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    hash_hex(b, sizeof(b), hex);
    (void)snprintf(out, UUID_SIZE + 1, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
                   hex + 16, hex + 20);
}

int consul_is_uuid(struct slice s)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    int is_uuid = s.len == UUID_SIZE;
    for (size_t i = 0; i < UUID_SIZE && is_uuid; i++) {
        is_uuid = form[i] == '-' ? s.p[i] == '-'
                                 : (s.p[i] >= '0' && s.p[i] <= '9') ||
                                       ((s.p[i] | 32) >= 'a' && (s.p[i] | 32) <= 'f');
    }
    return is_uuid;
}

void consul_record_show(struct jw *w, const struct record_row *row)
{
    struct buf b;
    int is_empty = row->body.len <= 2;
    buf_init(&b);
    buf_append(&b, row->body.p, row->body.len - 1); /* without its bracket */
    buf_printf(&b, "%s\"CreateIndex\":%llu,\"ModifyIndex\":%llu}", is_empty ? "" : ",",
               (unsigned long long)row->meta.create_rev, (unsigned long long)row->meta.mod_rev);
    jw_json(w, buf_slice(&b));
    buf_fini(&b);
}

void consul_record_watch(struct consul_read *g, struct slice kind)
{
    struct buf b;
    buf_init(&b);
    key_record_prefix(&b, kind);
    list_watch(g, &b, 1);
    buf_fini(&b);
}
