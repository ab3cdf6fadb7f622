/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>

#include "base/err.h"
#include "fake.h"

static const struct fake_node nodes[] = {{"n1", "10.0.0.1", "rack", "a", 1},
                                         {"n2", "10.0.0.2", NULL, NULL, 1},
                                         {"far", "host.example.com", NULL, NULL, 0},
                                         {"six", "2001:db8::6", NULL, NULL, 0}};
static const struct fake_instance instances[] = {
    {"web", "n1", NULL, 80, 1, "blue", 0},
    {"web", "n2", "10.0.1.2", 81, 5, "green", 1},
    {"web", NULL, "10.0.1.2", 82, 1, "blue", 0},
    {"six", "six", NULL, 66, 1, NULL, 0},
    {"named", "n1", "db.example.com", 5432, 1, NULL, 0},
    {"looped", "n1", "looped.service.consul", 1, 1, NULL, 0},
};

static int setup(void **state)
{
    struct fake *f = test_calloc(1, sizeof(*f));
    fake_init(f);
    f->instances = instances;
    f->n_instances = sizeof(instances) / sizeof(*instances);
    f->nodes = nodes;
    f->n_nodes = sizeof(nodes) / sizeof(*nodes);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fake_fini(*state);
    test_free(*state);
    return 0;
}

/* All answers as "rcode|section owner type data|...", in the order of the message, without EDNS. */
static void ask(struct fake *f, const char *name, uint16_t type, uint16_t udp_size, int is_tcp,
                char out[4096])
{
    struct dns_reply r;
    struct fake_message m;
    assert_int_equal(fake_ask(f, fake_query(f, name, type, udp_size), is_tcp, &r), DNS_SEND);
    assert_int_equal(fake_read(r.out, r.out_len, &m), 0);
    assert_int_equal(m.id, 0x1234);
    size_t n =
        (size_t)snprintf(out, 4096, "%u%s%s", m.rcode, (m.flags & DNS_FLAG_AA) != 0 ? " aa" : "",
                         (m.flags & DNS_FLAG_TC) != 0 ? " tc" : "");
    for (size_t i = 0; i < m.n_records; i++) {
        const struct fake_record *x = &m.records[i];
        if (x->type != DNS_TYPE_OPT) {
            n += (size_t)snprintf(out + n, 4096 - n, "|%d %s %u %s", x->section, x->owner, x->type,
                                  x->data);
        }
        assert_true(n < 4096);
    }
    fake_free(&m);
}

static void is_answer(struct fake *f, const char *name, uint16_t type, const char *want)
{
    char got[4096];
    ask(f, name, type, 0, 0, got);
    assert_string_equal(got, want);
}

#define SOA "|2 consul. 6 ns.consul. hostmaster.consul. 1 3600 600 86400 0"

/* Every byte of one answer, written by hand. */
static void test_bytes(void **state)
{
    struct fake *f = *state;
    struct dns_reply r;
    static const uint8_t want[] = {
        0x12, 0x34, 0x85, 0x00, 0,   1,   0,   1,   0,   0,   0,   2,        /* qr aa rd */
        3,    's',  'i',  'x',  7,   's', 'e', 'r', 'v', 'i', 'c', 'e',      /* 12 */
        6,    'c',  'o',  'n',  's', 'u', 'l', 0,   0,   33,  0,   1,        /* 24 */
        0xc0, 12,   0,    33,   0,   1,   0,   0,   0,   0,   0,   27,       /* 36 */
        0,    1,    0,    1,    0,   66,                                     /* 48 */
        3,    's',  'i',  'x',  4,   'n', 'o', 'd', 'e', 3,   'd', 'c', '1', /* 54: in full */
        6,    'c',  'o',  'n',  's', 'u', 'l', 0,                            /* 67 */
        0xc0, 54,   0,    28,   0,   1,   0,   0,   0,   0,   0,   16,       /* a pointer at it */
        0x20, 0x01, 0x0d, 0xb8, 0,   0,   0,   0,   0,   0,   0,   0,   0,   0, 0, 6, /* AAAA */
        0,    0,    41,   0x10, 0,   0,   0,   0,   0,   0,   0,                      /* OPT */
    };
    size_t len = fake_query(f, "six.service.consul", DNS_TYPE_SRV, 1232);
    assert_int_equal(fake_ask(f, len, 0, &r), DNS_SEND);
    assert_int_equal(r.out_len, sizeof(want));
    assert_memory_equal(r.out, want, sizeof(want));
}

static void test_services(void **state)
{
    struct fake *f = *state;
    char got[4096];
    is_answer(f, "green.web.service.consul", DNS_TYPE_A,
              "0 aa|1 green.web.service.consul. 1 10.0.1.2");
    is_answer(f, "GREEN.Web.SERVICE.dc1.Consul", DNS_TYPE_A,
              "0 aa|1 GREEN.Web.SERVICE.dc1.Consul. 1 10.0.1.2");
    is_answer(f, "_web._green.service.consul", DNS_TYPE_SRV,
              "0 aa|1 _web._green.service.consul. 33 1 5 81 0a000102.addr.dc1.consul."
              "|3 0a000102.addr.dc1.consul. 1 10.0.1.2");
    is_answer(f, "_six._tcp.consul", DNS_TYPE_SRV,
              "0 aa|1 _six._tcp.consul. 33 1 1 66 six.node.dc1.consul."
              "|3 six.node.dc1.consul. 28 2001:db8::6");
    is_answer(f, "web.service.dc2.consul", DNS_TYPE_A, "3 aa" SOA);
    is_answer(f, "nope.service.consul", DNS_TYPE_A, "3 aa" SOA);
    is_answer(f, "red.web.service.consul", DNS_TYPE_SRV, "3 aa" SOA);
    is_answer(f, "six.service.consul", DNS_TYPE_A, "0 aa" SOA);
    /* Two instances at one address are one address. */
    ask(f, "web.service.consul", DNS_TYPE_A, 0, 0, got);
    assert_non_null(strstr(got, "10.0.0.1"));
    assert_non_null(strstr(got, "10.0.1.2"));
    assert_int_equal(strlen(got), strlen("0 aa|1 web.service.consul. 1 10.0.0.1"
                                         "|1 web.service.consul. 1 10.0.1.2"));
    f->zone.is_only_passing = 1;
    is_answer(f, "green.web.service.consul", DNS_TYPE_A, "3 aa" SOA);
}

static void test_nodes(void **state)
{
    struct fake *f = *state;
    is_answer(f, "n1.node.consul", DNS_TYPE_A,
              "0 aa|1 n1.node.consul. 1 10.0.0.1|3 n1.node.consul. 16 rack=a;");
    is_answer(f, "N2.node.dc1.consul", DNS_TYPE_A, "0 aa|1 N2.node.dc1.consul. 1 10.0.0.2");
    is_answer(f, "n1.node.consul", DNS_TYPE_TXT, "0 aa|1 n1.node.consul. 16 rack=a;");
    is_answer(f, "n1.node.consul", DNS_TYPE_AAAA, "0 aa" SOA);
    is_answer(f, "six.node.consul", DNS_TYPE_AAAA, "0 aa|1 six.node.consul. 28 2001:db8::6");
    is_answer(f, "nobody.node.consul", DNS_TYPE_A, "3 aa" SOA);
    is_answer(f, "far.node.consul", DNS_TYPE_A, "0 aa|1 far.node.consul. 5 host.example.com.");
    f->zone.has_meta_txt = 0;
    is_answer(f, "n1.node.consul", DNS_TYPE_A, "0 aa|1 n1.node.consul. 1 10.0.0.1");
}

static void test_addresses(void **state)
{
    struct fake *f = *state;
    is_answer(f, "0a000007.addr.dc1.consul", DNS_TYPE_A,
              "0 aa|1 0a000007.addr.dc1.consul. 1 10.0.0.7");
    is_answer(f, "20010db8000000000000000000000006.addr.consul", DNS_TYPE_AAAA,
              "0 aa|1 20010db8000000000000000000000006.addr.consul. 28 2001:db8::6");
    is_answer(f, "0a00000g.addr.consul", DNS_TYPE_A, "3 aa" SOA);
    is_answer(f, "0a0007.addr.consul", DNS_TYPE_A, "3 aa" SOA);
}

static void test_reverse(void **state)
{
    struct fake *f = *state;
    is_answer(f, "1.0.0.10.in-addr.arpa", DNS_TYPE_PTR,
              "0 aa|1 1.0.0.10.in-addr.arpa. 12 n1.node.dc1.consul.");
    is_answer(f, "2.1.0.10.in-addr.arpa", DNS_TYPE_PTR,
              "0 aa|1 2.1.0.10.in-addr.arpa. 12 web.service.dc1.consul.");
    is_answer(f, "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
              DNS_TYPE_PTR,
              "0 aa|1 6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 12 "
              "six.node.dc1.consul.");
    is_answer(f, "9.9.9.9.in-addr.arpa", DNS_TYPE_PTR, "2");
    is_answer(f, "1.0.10.in-addr.arpa", DNS_TYPE_PTR, "2");
}

static void test_zone_itself(void **state)
{
    struct fake *f = *state;
    char got[4096];
    is_answer(f, "consul", DNS_TYPE_A, "3 aa" SOA);
    ask(f, "consul", DNS_TYPE_NS, 0, 0, got);
    assert_non_null(strstr(got, "|1 consul. 2 n1.node.dc1.consul."));
    assert_non_null(strstr(got, "|1 consul. 2 n2.node.dc1.consul."));
    assert_non_null(strstr(got, "|3 n2.node.dc1.consul. 1 10.0.0.2"));
    assert_null(strstr(got, "six"));
    ask(f, "consul", DNS_TYPE_SOA, 0, 0, got);
    assert_ptr_equal(strstr(got, "0 aa|1 consul. 6 ns.consul."), got);
}

static void test_aliases(void **state)
{
    struct fake *f = *state;
    struct dns_reply r;
    is_answer(f, "named.service.consul", DNS_TYPE_A,
              "0 aa|1 named.service.consul. 5 db.example.com.");
    is_answer(f, "named.service.consul", DNS_TYPE_SRV,
              "0 aa|1 named.service.consul. 33 1 1 5432 db.example.com."
              "|3 n1.node.dc1.consul. 16 rack=a;");
    /* A name that leads to itself ends. */
#define LOOP "|1 looped.service.consul. 5 looped.service.consul."
    is_answer(f, "looped.service.consul", DNS_TYPE_A, "0 aa" LOOP LOOP LOOP LOOP);
    /* Who may ask for other names gets the addresses beside it. */
    f->zone.has_recursors = 1;
    size_t len = fake_query(f, "named.service.consul", DNS_TYPE_A, 0);
    assert_int_equal(fake_ask(f, len, 0, &r), DNS_RESOLVE);
    char name[DNS_NAME_MAX * 4 + 2];
    dns_name_format(&r.wanted, name);
    assert_string_equal(name, "db.example.com.");
}

static void test_others(void **state)
{
    struct fake *f = *state;
    struct dns_reply r;
    is_answer(f, "example.com", DNS_TYPE_A, "5");
    is_answer(f, "consul.example.com", DNS_TYPE_A, "5");
    is_answer(f, "notconsul", DNS_TYPE_A, "5");
    is_answer(f, "web.service.consul", DNS_TYPE_AXFR, "4");
    f->zone.has_recursors = 1;
    assert_int_equal(fake_ask(f, fake_query(f, "example.com", DNS_TYPE_A, 0), 0, &r), DNS_FORWARD);
}

static void test_other_domain(void **state)
{
    struct fake *f = *state;
    static const struct dns_zone_text t = {.domain = "svc.example.org",
                                           .alt_domain = "consul",
                                           .datacenter = "dc1",
                                           .service_ttl = "web=5s,g*=1m,*=7s",
                                           .recursion_from = ""};
    struct err e = {0};
    assert_int_equal(dns_zone_read(&f->zone, &t, &e), 0);
    is_answer(f, "n2.node.svc.example.org", DNS_TYPE_A,
              "0 aa|1 n2.node.svc.example.org. 1 10.0.0.2");
    is_answer(f, "_six._tcp.service.consul", DNS_TYPE_SRV,
              "0 aa|1 _six._tcp.service.consul. 33 1 1 66 six.node.dc1.consul."
              "|3 six.node.dc1.consul. 28 2001:db8::6");
    assert_int_equal(dns_zone_ttl(&f->zone, slice_str("WEB")), 5);
    assert_int_equal(dns_zone_ttl(&f->zone, slice_str("green")), 60);
    assert_int_equal(dns_zone_ttl(&f->zone, slice_str("weber")), 7);
}

/* --- many --- */

enum { MANY = 600 };

struct many {
    struct fake_instance instances[MANY];
    char addresses[MANY][16];
};

static struct many *fill_many(struct fake *f)
{
    struct many *m = test_calloc(1, sizeof(*m));
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(m->addresses[i], 16, "10.1.%u.%u", i / 250, i % 250);
        m->instances[i] =
            (struct fake_instance){"many", NULL, m->addresses[i], (uint16_t)i, 1, NULL, 0};
    }
    f->instances = m->instances;
    f->n_instances = MANY;
    return m;
}

static struct fake_message get(struct fake *f, uint16_t type, uint16_t udp_size, int is_tcp,
                               size_t *out_len)
{
    struct dns_reply r;
    struct fake_message m;
    size_t len = fake_query(f, "many.service.consul", type, udp_size);
    assert_int_equal(fake_ask(f, len, is_tcp, &r), DNS_SEND);
    assert_int_equal(fake_read(r.out, r.out_len, &m), 0);
    fake_free(&m);
    *out_len = r.out_len;
    return m;
}

/* What fits is told, whole records only; never more bytes than the client takes. */
static void test_room(void **state)
{
    struct fake *f = *state;
    struct many *data = fill_many(f);
    size_t len = 0;
    struct fake_message m = get(f, DNS_TYPE_A, 0, 0, &len);
    assert_int_equal(m.counts[1], 3);
    assert_int_equal(m.flags & DNS_FLAG_TC, 0);
    f->zone.is_truncate_told = 1;
    m = get(f, DNS_TYPE_A, 0, 0, &len);
    assert_int_equal(m.flags & DNS_FLAG_TC, DNS_FLAG_TC);
    for (uint16_t size = 513; size < 6000; size = (uint16_t)(size * 2)) {
        m = get(f, DNS_TYPE_A, size, 0, &len);
        size_t room = size < DNS_UDP_MAX ? size : DNS_UDP_MAX;
        assert_in_range(len, room - 15, room);
        assert_int_equal(m.flags & DNS_FLAG_TC, DNS_FLAG_TC);
        m = get(f, DNS_TYPE_SRV, size, 0, &len);
        assert_true(len <= room && m.counts[1] > 0);
        /* Each target has its address beside it, and there is the OPT record. */
        assert_int_equal(m.counts[3], m.counts[1] + 1);
    }
    m = get(f, DNS_TYPE_A, 0, 1, &len);
    assert_int_equal(m.counts[1], MANY);
    m = get(f, DNS_TYPE_SRV, 0, 1, &len);
    assert_int_equal(m.counts[1], MANY);
    assert_int_equal(m.counts[3], MANY);
    f->zone.a_record_limit = 10;
    m = get(f, DNS_TYPE_A, 0, 1, &len);
    assert_int_equal(m.counts[1], 10);
    f->zone.a_record_limit = 0;
    f->zone.is_compressed = 0;
    m = get(f, DNS_TYPE_SRV, 4096, 0, &len);
    assert_true(len <= 4096 && m.counts[1] > 0);
    test_free(data);
}

/* The first of three changes: each is first some time, and a heavier one is more often. */
static void test_order(void **state)
{
    struct fake *f = *state;
    static const struct fake_instance three[] = {{"many", NULL, "10.0.0.1", 1, 1, NULL, 0},
                                                 {"many", NULL, "10.0.0.2", 2, 1, NULL, 0},
                                                 {"many", NULL, "10.0.0.3", 3, 8, NULL, 0}};
    unsigned first[2][4] = {{0}};
    f->instances = three;
    f->n_instances = 3;
    f->room.random = 12345;
    for (unsigned i = 0; i < 2000; i++) {
        struct dns_reply r;
        struct fake_message m;
        uint16_t type = i % 2 != 0 ? DNS_TYPE_SRV : DNS_TYPE_A;
        size_t len = fake_query(f, "many.service.consul", type, 4096);
        assert_int_equal(fake_ask(f, len, 0, &r), DNS_SEND);
        assert_int_equal(fake_read(r.out, r.out_len, &m), 0);
        const char *data = m.records[0].data;
        first[i % 2][i % 2 != 0 ? data[4] - '0' : data[7] - '0']++;
        fake_free(&m);
    }
    for (unsigned k = 1; k < 4; k++) {
        assert_in_range(first[0][k], 250, 420); /* a third of 1,000 */
    }
    assert_in_range(first[1][1], 50, 160); /* a tenth */
    assert_in_range(first[1][3], 740, 860);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_services, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reverse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_zone_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_aliases, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_domain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
