/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/wire.h"

/* --- data --- */

static struct fake *of(struct dns_source *s)
{
    return CONTAINER_OF(s, struct fake, source);
}

static void *look_open(struct dns_source *s)
{
    return s;
}

static void look_close(struct dns_source *s, void *look)
{
    (void)s, (void)look;
}

static struct slice text(const char *s)
{
    return s != NULL ? slice_str(s) : (struct slice){0};
}

static void fill(struct fake *f, const struct fake_node *n, struct dns_node *out)
{
    *out = (struct dns_node){.name = text(n->name), .address = text(n->address)};
    if (n->key != NULL) {
        buf_clear(&f->metadata);
        wire_put_u16(&f->metadata, 1);
        wire_put_bytes(&f->metadata, slice_str(n->key));
        wire_put_bytes(&f->metadata, slice_str(n->value));
        out->metadata = buf_slice(&f->metadata);
    }
}

static const struct fake_node *find_node(const struct fake *f, struct slice name)
{
    for (size_t i = 0; i < f->n_nodes; i++) {
        if (dns_text_is(name, slice_str(f->nodes[i].name))) {
            return &f->nodes[i];
        }
    }
    return NULL;
}

static int look_service(struct dns_source *s, void *look, const struct dns_service_ask *ask,
                        dns_instance_fn fn, void *arg)
{
    struct fake *f = of(s);
    int rc = f->code;
    (void)look;
    for (size_t i = 0; rc == 0 && i < f->n_instances; i++) {
        const struct fake_instance *x = &f->instances[i];
        const struct fake_node *n = x->node != NULL ? find_node(f, slice_str(x->node)) : NULL;
        struct dns_instance out = {
            .address = text(x->address), .port = x->port, .weight = x->weight};
        if (!dns_text_is(ask->name, slice_str(x->service)) ||
            (ask->tag.len != 0 && !dns_text_is(ask->tag, text(x->tag))) ||
            (x->is_warning && ask->is_only_passing)) {
            continue;
        }
        if (n != NULL) {
            fill(f, n, &out.node);
        }
        rc = fn(arg, &out);
    }
    return rc;
}

static int look_node(struct dns_source *s, void *look, struct slice name, struct dns_node *out)
{
    struct fake *f = of(s);
    const struct fake_node *n = find_node(f, name);
    (void)look;
    if (f->code != 0 || n == NULL) {
        return f->code != 0 ? f->code : MU_E_NOT_FOUND;
    }
    fill(f, n, out);
    return 0;
}

static int look_members(struct dns_source *s, void *look, dns_node_fn fn, void *arg)
{
    struct fake *f = of(s);
    (void)look;
    for (size_t i = 0; i < f->n_nodes; i++) {
        struct dns_node n;
        fill(f, &f->nodes[i], &n);
        if (f->nodes[i].is_member && fn(arg, &n) != 0) {
            break;
        }
    }
    return 0;
}

static int look_reverse(struct dns_source *s, void *look, const uint8_t address[16],
                        struct slice *out_name, int *out_is_node)
{
    struct fake *f = of(s);
    uint8_t a[16];
    int is_v4 = 0;
    (void)look;
    for (size_t i = 0; i < f->n_nodes; i++) {
        if (dns_address_read(text(f->nodes[i].address), a, &is_v4) == 0 &&
            memcmp(a, address, 16) == 0) {
            *out_name = text(f->nodes[i].name);
            *out_is_node = 1;
            return 0;
        }
    }
    for (size_t i = 0; i < f->n_instances; i++) {
        if (dns_address_read(text(f->instances[i].address), a, &is_v4) == 0 &&
            memcmp(a, address, 16) == 0) {
            *out_name = text(f->instances[i].service);
            *out_is_node = 0;
            return 0;
        }
    }
    return MU_E_NOT_FOUND;
}

void fake_init(struct fake *f)
{
    static const struct dns_zone_text t = {.domain = "consul",
                                           .alt_domain = "",
                                           .datacenter = "dc1",
                                           .service_ttl = "",
                                           .recursion_from = "127.0.0.0/8,::1"};
    struct err e = {0};
    memset(f, 0, sizeof(*f));
    f->source = (struct dns_source){.open = look_open,
                                    .close = look_close,
                                    .service = look_service,
                                    .node = look_node,
                                    .members = look_members,
                                    .reverse = look_reverse};
    f->zone = (struct dns_zone){.soa_refresh = 3600,
                                .soa_retry = 600,
                                .soa_expire = 86400,
                                .is_compressed = 1,
                                .has_meta_txt = 1,
                                .udp_answer_limit = 3};
    MU_INVARIANT(dns_zone_read(&f->zone, &t, &e) == 0);
    buf_init(&f->metadata);
    dns_room_init(&f->room);
}

void fake_fini(struct fake *f)
{
    buf_fini(&f->metadata);
    dns_room_fini(&f->room);
}

/* --- asking --- */

size_t fake_query(struct fake *f, const char *name, uint16_t type, uint16_t udp_size)
{
    uint8_t *p = f->packet;
    uint8_t head[12] = {0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, udp_size != 0};
    memcpy(p, head, sizeof(head));
    p += sizeof(head);
    while (*name != '\0') {
        size_t n = strcspn(name, ".");
        *p++ = (uint8_t)n;
        memcpy(p, name, n);
        p += n;
        name += n + (name[n] == '.');
    }
    const uint8_t tail[5] = {0, (uint8_t)(type >> 8), (uint8_t)type, 0, 1};
    memcpy(p, tail, sizeof(tail));
    p += sizeof(tail);
    if (udp_size != 0) {
        const uint8_t opt[11] = {0, 0, 41, (uint8_t)(udp_size >> 8), (uint8_t)udp_size};
        memcpy(p, opt, sizeof(opt));
        p += sizeof(opt);
    }
    return (size_t)(p - f->packet);
}

enum dns_outcome fake_ask(struct fake *f, size_t len, int is_tcp, struct dns_reply *r)
{
    struct dns_ask a = {.zone = &f->zone,
                        .source = &f->source,
                        .look = f,
                        .room = &f->room,
                        .packet = slice_of(f->packet, len),
                        .is_tcp = is_tcp,
                        .can_recurse = f->zone.has_recursors,
                        .wall_ms = 1000};
    *r = (struct dns_reply){.out = f->out};
    return dns_answer(&a, r);
}

/* --- reading answers --- */

struct reader {
    const uint8_t *p;
    size_t len, at;
    int failed;
};

static unsigned get(struct reader *r, unsigned n)
{
    unsigned v = 0;
    if (r->failed || r->len - r->at < n) {
        r->failed = 1;
        return 0;
    }
    for (; n > 0; n--) {
        v = v << 8 | r->p[r->at++];
    }
    return v;
}

/* Pointers go backwards only, so this ends. */
static void get_name(struct reader *r, char *out)
{
    size_t after = 0, len = 0, wire = 0;
    for (;;) {
        size_t from = r->at;
        unsigned n = get(r, 1);
        if (n >= 0xc0) {
            size_t to = (n & 0x3f) << 8 | get(r, 1);
            after = after != 0 ? after : r->at;
            r->failed |= to >= from || to < 12;
            r->at = to;
        } else if (n > 63 || r->failed || r->len - r->at < n || (wire += n + 1) > 255) {
            r->failed = 1;
        } else if (n == 0) {
            break;
        } else {
            for (unsigned i = 0; i < n; i++) {
                uint8_t c = r->p[r->at++];
                out[len++] = (char)(c > 32 && c < 127 && c != '.' ? c : '?');
            }
            out[len++] = '.';
        }
        if (r->failed) {
            break;
        }
    }
    if (len == 0) {
        out[len++] = '.';
    }
    out[len] = '\0';
    r->at = after != 0 && !r->failed ? after : r->at;
}

static void get_texts(struct reader *r, size_t end, char *out, size_t cap)
{
    size_t len = 0;
    while (!r->failed && r->at < end) {
        unsigned n = get(r, 1);
        r->failed |= end - r->at < n;
        for (unsigned i = 0; !r->failed && i < n && len + 2 < cap; i++) {
            uint8_t c = r->p[r->at + i];
            out[len++] = (char)(c >= 32 && c < 127 ? c : '?');
        }
        r->at += r->failed ? 0 : n;
        out[len++] = ';';
        len = len < cap - 2 ? len : cap - 2;
    }
    out[len] = '\0';
}

static void get_data(struct reader *r, struct fake_record *x, size_t end)
{
    char name[1024], other[1024];
    if (x->type == DNS_TYPE_A && end - r->at == 4) {
        (void)inet_ntop(AF_INET, r->p + r->at, x->data, sizeof(x->data));
        r->at += 4;
    } else if (x->type == DNS_TYPE_AAAA && end - r->at == 16) {
        (void)inet_ntop(AF_INET6, r->p + r->at, x->data, sizeof(x->data));
        r->at += 16;
    } else if (x->type == DNS_TYPE_SRV) {
        unsigned priority = get(r, 2), weight = get(r, 2), port = get(r, 2);
        get_name(r, name);
        (void)snprintf(x->data, sizeof(x->data), "%u %u %u %s", priority, weight, port, name);
    } else if (x->type == DNS_TYPE_NS || x->type == DNS_TYPE_CNAME || x->type == DNS_TYPE_PTR) {
        get_name(r, x->data);
    } else if (x->type == DNS_TYPE_SOA) {
        get_name(r, name);
        get_name(r, other);
        unsigned v[5];
        for (int i = 0; i < 5; i++) {
            v[i] = get(r, 4);
        }
        (void)snprintf(x->data, sizeof(x->data), "%.500s %.500s %u %u %u %u %u", name, other, v[0],
                       v[1], v[2], v[3], v[4]);
    } else if (x->type == DNS_TYPE_TXT) {
        get_texts(r, end, x->data, sizeof(x->data));
    } else if (x->type == DNS_TYPE_OPT) {
        r->at = end;
    }
    r->failed |= r->at != end;
}

int fake_read(const uint8_t *p, size_t len, struct fake_message *out)
{
    struct reader r = {p, len, 0, 0};
    char name[1024];
    *out = (struct fake_message){.id = (uint16_t)get(&r, 2), .flags = (uint16_t)get(&r, 2)};
    out->rcode = out->flags & 15;
    size_t n = 0;
    for (int i = 0; i < 4; i++) {
        out->counts[i] = (uint16_t)get(&r, 2);
        n += i > 0 ? out->counts[i] : 0;
    }
    for (unsigned i = 0; i < out->counts[0]; i++) {
        get_name(&r, name);
        (void)get(&r, 4);
    }
    out->records = mem_zalloc((n + 1) * sizeof(*out->records));
    int section = 1;
    for (unsigned left = out->counts[1]; !r.failed && out->n_records < n; left--) {
        struct fake_record *x = &out->records[out->n_records++];
        while (left == 0) {
            left = out->counts[++section];
        }
        x->section = section;
        get_name(&r, x->owner);
        x->type = (uint16_t)get(&r, 2);
        x->qclass = (uint16_t)get(&r, 2);
        x->ttl = get(&r, 4);
        size_t size = get(&r, 2);
        if (r.failed || r.len - r.at < size) {
            r.failed = 1;
            break;
        }
        get_data(&r, x, r.at + size);
        out->rcode |= x->type == DNS_TYPE_OPT ? x->ttl >> 24 << 4 : 0;
    }
    return r.failed || r.at != r.len ? -1 : 0;
}

void fake_free(struct fake_message *m)
{
    mem_free(m->records);
    m->records = NULL;
}
