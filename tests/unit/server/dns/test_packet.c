/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "fake.h"

/* Queries with every kind of damage are told apart; a cut anywhere is no query. */
static void test_damaged(void **state)
{
    struct fake *f = test_calloc(1, sizeof(*f));
    struct dns_query q;
    (void)state;
    fake_init(f);
    size_t len = fake_query(f, "web.service.consul", DNS_TYPE_SRV, 1232);
    assert_int_equal(dns_query_parse(slice_of(f->packet, len), &q), 0);
    assert_int_equal(q.type, DNS_TYPE_SRV);
    assert_int_equal(q.udp_size, 1232);
    for (size_t cut = 0; cut < len; cut++) {
        int want = cut < DNS_HEAD_SIZE ? -1 : DNS_FORMERR;
        assert_int_equal(dns_query_parse(slice_of(f->packet, cut), &q), want);
    }
    f->packet[2] = 0x81; /* an answer */
    assert_int_equal(dns_query_parse(slice_of(f->packet, len), &q), -1);
    f->packet[2] = 0x29; /* UPDATE */
    assert_int_equal(dns_query_parse(slice_of(f->packet, len), &q), DNS_NOTIMP);
    f->packet[2] = 1;
    f->packet[5] = 2; /* questions */
    assert_int_equal(dns_query_parse(slice_of(f->packet, len), &q), DNS_FORMERR);
    f->packet[5] = 1;
    f->packet[12] = 0xc0; /* a question that points at itself */
    assert_int_equal(dns_query_parse(slice_of(f->packet, len), &q), DNS_FORMERR);
    f->packet[12] = 64; /* a label of 64 bytes */
    assert_int_equal(dns_query_parse(slice_of(f->packet, len), &q), DNS_FORMERR);
    f->packet[12] = 3;
    f->packet[len - 5] = 1; /* EDNS of version 1 */
    assert_int_equal(dns_query_parse(slice_of(f->packet, len), &q), DNS_BADVERS);
    fake_fini(f);
    test_free(f);
}

static void test_longest_name(void **state)
{
    struct fake *f = test_calloc(1, sizeof(*f));
    struct dns_query q;
    char name[260];
    (void)state;
    fake_init(f);
    memset(name, 'a', sizeof(name));
    name[63] = name[127] = name[191] = '.';
    name[253] = '\0';
    size_t len = fake_query(f, name, DNS_TYPE_A, 0);
    assert_int_equal(dns_query_parse(slice_of(f->packet, len), &q), 0);
    assert_int_equal(q.name.len, DNS_NAME_MAX);
    name[253] = 'a';
    name[254] = '\0';
    len = fake_query(f, name, DNS_TYPE_A, 0);
    assert_int_equal(dns_query_parse(slice_of(f->packet, len), &q), DNS_FORMERR);
    fake_fini(f);
    test_free(f);
}

/* The subnet that a resolver tells (RFC 7871) goes back to it. */
static void test_subnet(void **state)
{
    struct fake *f = test_calloc(1, sizeof(*f));
    struct dns_reply r;
    static const uint8_t option[] = {0, 8, 0, 7, 0, 1, 24, 9, 192, 0, 2};
    static const uint8_t want[] = {0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2};
    (void)state;
    fake_init(f);
    size_t len = fake_query(f, "consul", DNS_TYPE_SOA, 1232);
    memcpy(f->packet + len, option, sizeof(option));
    f->packet[len - 1] = sizeof(option);
    assert_int_equal(fake_ask(f, len + sizeof(option), 0, &r), DNS_SEND);
    assert_memory_equal(r.out + r.out_len - sizeof(want), want, sizeof(want));
    /* Longer than any address: not read at all. */
    f->packet[len + 3] = 200;
    assert_int_equal(fake_ask(f, len + sizeof(option), 0, &r), DNS_SEND);
    assert_int_equal(r.out[3] & 15, DNS_FORMERR);
    fake_fini(f);
    test_free(f);
}

static void test_names(void **state)
{
    struct dns_name n;
    char out[DNS_NAME_MAX * 4 + 2];
    (void)state;
    dns_name_begin(&n);
    dns_name_text(&n, slice_str("A.b-c."));
    assert_int_equal(n.len, 7);
    dns_name_format(&n, out);
    assert_string_equal(out, "A.b-c.");
    static const char *const bad[] = {"", "a..b", ".a", "a..", "."};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        dns_name_begin(&n);
        dns_name_text(&n, slice_str(bad[i]));
        assert_false(dns_name_is_good(&n));
    }
    dns_name_begin(&n);
    dns_name_label(&n, slice_of("a.b\n", 4));
    dns_name_format(&n, out);
    assert_string_equal(out, "a\\046b\\010.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_longest_name),
        cmocka_unit_test(test_subnet),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
