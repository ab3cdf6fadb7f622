/* SPDX-License-Identifier: Apache-2.0 */
/* A packet for the DNS: whatever comes is answered by a whole message that the client can take, or
 * not at all. The first byte chooses settings, the rest is the packet. */
#include "base/err.h"
#include "base/mem.h"
#include "tests/unit/server/dns/fake.h"

static const struct fake_node nodes[] = {{"n1", "10.0.0.1", "rack", "a", 1},
                                         {"far", "n1.node.consul", NULL, NULL, 1},
                                         {"\n.", "::1", "", "", 1}};
static const struct fake_instance instances[] = {{"web", "n1", NULL, 80, 1, "blue", 0},
                                                 {"web", NULL, "10.0.1.2", 81, 5, "green", 1},
                                                 {"web", "far", NULL, 82, 0, "a.b", 0},
                                                 {"web", "n1", "db.example.com", 1, 1, NULL, 0},
                                                 {"web", "n1", "web.service.consul", 1, 1, NULL, 0},
                                                 {"web", "n1", "..", 1, 1, NULL, 0}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0 || len - 1 > DNS_QUERY_MAX) {
        return 0;
    }
    struct fake *f = mem_alloc(sizeof(*f));
    struct dns_reply r;
    struct fake_message m;
    int is_tcp = data[0] & 1;
    fake_init(f);
    f->instances = instances;
    f->n_instances = sizeof(instances) / sizeof(*instances);
    f->nodes = nodes;
    f->n_nodes = sizeof(nodes) / sizeof(*nodes);
    f->zone.is_compressed = (data[0] & 2) == 0;
    f->zone.has_recursors = (data[0] & 4) != 0;
    f->zone.is_truncate_told = (data[0] & 8) != 0;
    f->room.random = 1;
    memcpy(f->packet, data + 1, len - 1);
    if (fake_ask(f, len - 1, is_tcp, &r) == DNS_SEND) {
        size_t max = r.query.udp_size < DNS_UDP_MAX ? r.query.udp_size : DNS_UDP_MAX;
        MU_INVARIANT(r.out_len >= DNS_HEAD_SIZE && r.out_len <= (is_tcp ? DNS_MESSAGE_MAX : max));
        MU_INVARIANT(fake_read(r.out, r.out_len, &m) == 0);
        MU_INVARIANT((m.flags & DNS_FLAG_QR) != 0 && m.id == (data[1] << 8 | data[2]));
        fake_free(&m);
    }
    fake_fini(f);
    mem_free(f);
    return 0;
}
