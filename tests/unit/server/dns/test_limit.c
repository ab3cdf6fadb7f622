/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "server/dns/limit.h"

static unsigned ask_often(struct dns_limit *l, const uint8_t address[16], int64_t now_ms,
                          unsigned times, enum dns_verdict verdict)
{
    unsigned n = 0;
    for (unsigned i = 0; i < times; i++) {
        n += dns_limit_ask(l, address, now_ms) == verdict;
    }
    return n;
}

/* So many in a second; of the rest every second one is told to come by TCP; then it begins anew. */
static void test_second(void **state)
{
    struct dns_limit l;
    uint8_t a[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1};
    (void)state;
    dns_limit_init(&l, 10);
    assert_int_equal(ask_often(&l, a, 5000, 10, DNS_VERDICT_ANSWER), 10);
    assert_int_equal(ask_often(&l, a, 5500, 10, DNS_VERDICT_SLIP), 5);
    assert_int_equal(ask_often(&l, a, 5999, 10, DNS_VERDICT_DROP), 5);
    assert_int_equal(ask_often(&l, a, 6000, 20, DNS_VERDICT_ANSWER), 10);
    a[12] = 127; /* loopback */
    assert_int_equal(ask_often(&l, a, 6000, 50, DNS_VERDICT_ANSWER), 50);
    dns_limit_fini(&l);
}

/* A network of IPv6 is one source. */
static void test_v6(void **state)
{
    struct dns_limit l;
    uint8_t a[16] = {0x20, 1, 0xd, 0xb8}, b[16] = {0x20, 1, 0xd, 0xb8};
    (void)state;
    b[15] = 9;
    dns_limit_init(&l, 3);
    assert_int_equal(ask_often(&l, a, 5000, 3, DNS_VERDICT_ANSWER), 3);
    assert_int_equal(ask_often(&l, b, 5000, 3, DNS_VERDICT_ANSWER), 0);
    dns_limit_fini(&l);
    dns_limit_init(&l, 0);
    assert_int_equal(ask_often(&l, a, 5000, 100, DNS_VERDICT_ANSWER), 100);
    dns_limit_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second),
        cmocka_unit_test(test_v6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
