/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings and everything that follows from it. */
#include "server/conf/conf.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "server/conf/table.h"

#define AT(member) offsetof(struct conf, member), sizeof(((struct conf *)0)->member)
#define DAY_MS     "2592000000"

enum { DNS_TTL_MAX = 2147483000 };

const struct conf_row conf_table[] = {
    {"name", 'n', CONF_TEXT, AT(name), "n1", 0, 0, "NAME",
     "this node's name; letters, digits, - _ .", 0},
    {"data_dir", 'd', CONF_TEXT, AT(data_dir), "", 0, 0, "DIR",
     "directory for the log, the store and snapshots (made with mode 0700)", 0},
    {"listen", 'l', CONF_TEXT, AT(listen), "127.0.0.1:8500", 0, 0, "HOST:PORT,...",
     "addresses for clients (HTTP): HOST:PORT, http://HOST:PORT for one without TLS where others have it, unix:///PATH for a socket file",
     0},
    {"listen_mode", 0, CONF_TEXT, AT(listen_mode), "0600", 0, 0, "MODE",
     "who may use the socket files of unix:///PATH", 0},
    {"peer", 'p', CONF_TEXT, AT(peer), "", 0, 0, "HOST:PORT", "address for the other nodes", 0},
    {"initial_cluster", 'c', CONF_TEXT, AT(initial_cluster), "", 0, 0, "NAME=HOST:PORT,...",
     "all first members of a new cluster, the same on each; without it a node is a cluster of one",
     0},
    {"join", 0, CONF_BOOL, AT(is_join), "false", 0, 0, NULL,
     "start empty and wait to be added to a running cluster", 0},
    {"restore", 0, CONF_TEXT, AT(restore), "", 0, 0, "FILE",
     "fill an empty data directory from this snapshot before the first start", 0},
    {"tls.cert", 0, CONF_TEXT, AT(tls_cert), "", 0, 0, "FILE",
     "PEM certificate chain for clients; with it all client listeners on HOST:PORT speak TLS", 0},
    {"tls.key", 0, CONF_TEXT, AT(tls_key), "", 0, 0, "FILE",
     "its private key, readable by the owner only", 0},
    {"tls.client_ca", 0, CONF_TEXT, AT(tls_client_ca), "", 0, 0, "FILE",
     "ask clients for a certificate of this authority", 0},
    {"peer_tls.cert", 0, CONF_TEXT, AT(peer_tls_cert), "", 0, 0, "FILE",
     "PEM certificate chain for peers; its name is NAME.muster-peer", 0},
    {"peer_tls.key", 0, CONF_TEXT, AT(peer_tls_key), "", 0, 0, "FILE",
     "its private key, readable by the owner only", 0},
    {"peer_tls.ca", 0, CONF_TEXT, AT(peer_tls_ca), "", 0, 0, "FILE",
     "the authority that signed all peers' certificates", 0},
    {"peer_plaintext", 0, CONF_BOOL, AT(is_peer_plaintext_allowed), "false", 0, 0, NULL,
     "let peers talk without TLS beyond loopback addresses", 0},
    {"insecure", 0, CONF_BOOL, AT(is_insecure), "false", 0, 0, NULL,
     "listen beyond loopback addresses although everybody may do everything", 0},
    {"workers", 0, CONF_U64, AT(workers), "0", 0, 64, "N",
     "threads that serve connections; 0 = one per core beyond the first, 1 to 8", 0},
    {"log_level", 0, CONF_TEXT, AT(log_level), "info", 0, 0, "LEVEL", "debug, info, warn or error",
     1},
    {"election_timeout", 0, CONF_MS, AT(election_ms), "400", 100, 60000, "DURATION",
     "a follower waits one to two of these for a leader", 0},
    {"heartbeat", 0, CONF_MS, AT(heartbeat_ms), "50", 10, 10000, "DURATION",
     "a leader shows itself so often", 0},
    {"value_max", 0, CONF_BYTES, AT(value_max_bytes), "1048576", 1024, 10485760, "BYTES",
     "largest config", 0},
    {"store_max", 0, CONF_BYTES, AT(store_max_bytes), "68719476736", 16777216, 1099511627776,
     "BYTES", "largest size of the store", 0},
    {"disk_reserve", 0, CONF_BYTES, AT(disk_reserve_bytes), "0", 0, 1099511627776, "BYTES",
     "refuse writes when less disk space is free; 0 = chosen from the disk's size", 0},
    {"snapshot_log", 0, CONF_BYTES, AT(snapshot_log_bytes), "67108864", 1048576, 1099511627776,
     "BYTES", "take a snapshot after so much log", 0},
    {"segment", 0, CONF_BYTES, AT(segment_bytes), "0", 0, 1073741824, "BYTES",
     "size of a log segment; 0 = chosen from the disk's size", 0},
    {"config_keep", 0, CONF_MS, AT(config_keep_ms), DAY_MS, 0, 3153600000000, "DURATION",
     "config history is kept at least so long", 0},
    {"config_keep_versions", 0, CONF_U64, AT(config_keep_versions), "100", 1, 1000000, "N",
     "and at least so many versions of each", 0},
    {"max_connections", 0, CONF_U64, AT(max_connections), "0", 0, 1000000, "N",
     "client connections; 0 = from the limit of open files", 0},
    {"max_connections_per_source", 0, CONF_U64, AT(max_connections_per_source), "0", 0, 1000000,
     "N", "of one address; 0 = 200, most of all on loopback", 0},
    {"max_head", 0, CONF_BYTES, AT(max_head_bytes), "16384", 1024, 1048576, "BYTES",
     "largest head of a request", 0},
    {"head_timeout", 0, CONF_MS, AT(head_timeout_ms), "10000", 100, 600000, "DURATION",
     "for the head of a request to arrive", 0},
    {"idle_timeout", 0, CONF_MS, AT(idle_timeout_ms), "300000", 1000, 86400000, "DURATION",
     "between two requests of a connection", 0},
    {"request_timeout", 0, CONF_MS, AT(request_timeout_ms), "5000", 100, 600000, "DURATION",
     "for a write or a read to be confirmed", 0},
    {"drain_timeout", 0, CONF_MS, AT(drain_timeout_ms), "10000", 0, 600000, "DURATION",
     "for running requests to end after SIGTERM", 0},
    {"acl.enabled", 0, CONF_BOOL, AT(is_acl), "false", 0, 0, NULL,
     "access control: who asks shows a token, and does what its rules allow", 0},
    {"acl.default_policy", 0, CONF_TEXT, AT(acl_default_policy), "deny", 0, 0, "POLICY",
     "deny or allow: what holds where no rule of a token speaks", 0},
    {"acl.initial_token_file", 0, CONF_TEXT, AT(acl_initial_token_file), "", 0, 0, "FILE",
     "holds a secret that may do everything, for the first steps; readable by the owner only", 0},
    {"acl.key_list_policy", 0, CONF_BOOL, AT(has_acl_key_list), "false", 0, 0, NULL,
     "listing keys needs the right list, not only read", 0},
    {"datacenter", 0, CONF_TEXT, AT(datacenter), "dc1", 0, 0, "NAME",
     "what clients of Consul's interfaces are told this cluster is called", 0},
    {"dns.listen", 0, CONF_TEXT, AT(dns_listen), "127.0.0.1:8600", 0, 0, "HOST:PORT,...",
     "addresses for DNS, UDP and TCP; empty = none. The default is left out where it is taken", 0},
    {"dns.domain", 0, CONF_TEXT, AT(dns_domain), "consul", 0, 0, "NAME",
     "the domain that is answered for", 0},
    {"dns.alt_domain", 0, CONF_TEXT, AT(dns_alt_domain), "", 0, 0, "NAME", "one more such domain",
     0},
    {"dns.node_ttl", 0, CONF_MS, AT(dns_node_ttl_ms), "0", 0, DNS_TTL_MAX, "DURATION",
     "how long others may keep the answers for nodes", 0},
    {"dns.service_ttl", 0, CONF_TEXT, AT(dns_service_ttl), "", 0, 0, "NAME=DURATION,...",
     "and those for services; PREFIX*=DURATION speaks of several, *=DURATION of all", 0},
    {"dns.only_passing", 0, CONF_BOOL, AT(is_dns_only_passing), "false", 0, 0, NULL,
     "leave out instances with a warning, too", 0},
    {"dns.udp_answer_limit", 0, CONF_U64, AT(dns_udp_answer_limit), "3", 1, 8, "N",
     "records for clients that can take 512 bytes only", 0},
    {"dns.a_record_limit", 0, CONF_U64, AT(dns_a_record_limit), "0", 0, 4096, "N",
     "addresses in any answer; 0 = no limit", 0},
    {"dns.truncate", 0, CONF_BOOL, AT(is_dns_truncate), "false", 0, 0, NULL,
     "say so when there is more than an answer has room for, so that clients ask by TCP", 0},
    {"dns.compression", 0, CONF_BOOL, AT(is_dns_compression), "true", 0, 0, NULL,
     "write a name that stands in an answer already as a pointer to it", 0},
    {"dns.node_meta_txt", 0, CONF_BOOL, AT(is_dns_node_meta_txt), "true", 0, 0, NULL,
     "add the metadata of nodes to answers, as TXT records", 0},
    {"dns.soa_refresh", 0, CONF_MS, AT(dns_soa_refresh_ms), "3600000", 0, DNS_TTL_MAX, "DURATION",
     "of the SOA record", 0},
    {"dns.soa_retry", 0, CONF_MS, AT(dns_soa_retry_ms), "600000", 0, DNS_TTL_MAX, "DURATION",
     "of the SOA record", 0},
    {"dns.soa_expire", 0, CONF_MS, AT(dns_soa_expire_ms), "86400000", 0, DNS_TTL_MAX, "DURATION",
     "of the SOA record", 0},
    {"dns.soa_min_ttl", 0, CONF_MS, AT(dns_soa_min_ttl_ms), "0", 0, DNS_TTL_MAX, "DURATION",
     "of the SOA record: how long others may keep that a name does not exist", 0},
    {"dns.max_stale", 0, CONF_MS, AT(dns_max_stale_ms), "315360000000", 0, 3153600000000,
     "DURATION", "no answers when the leader was not heard for so long", 0},
    {"dns.recursors", 0, CONF_TEXT, AT(dns_recursors), "", 0, 0, "ADDRESS[:PORT],...",
     "servers that are asked for other names; without them such questions are refused", 0},
    {"dns.recursor_timeout", 0, CONF_MS, AT(dns_recursor_timeout_ms), "2000", 100, 60000,
     "DURATION", "for one of them to answer", 0},
    {"dns.recursor_strategy", 0, CONF_TEXT, AT(dns_recursor_strategy), "sequential", 0, 0,
     "STRATEGY", "sequential: in their order; random: in turns", 0},
    {"dns.recursion_from", 0, CONF_TEXT, AT(dns_recursion_from), "127.0.0.0/8,::1", 0, 0, "NET,...",
     "whose questions for other names are passed on", 0},
    {"dns.rate_limit", 0, CONF_U64, AT(dns_rate_limit), "5000", 0, 10000000, "N",
     "answers by UDP that one source gets in a second from one thread (loopback: as many as it asks for); 0 = no limit",
     0},
};
const size_t conf_table_n = N_ELEMENTS(conf_table);

_Static_assert(N_ELEMENTS(conf_table) <= CONF_ROWS_MAX, "one origin per row");

/* --- values --- */

static int parse_bytes(struct slice s, uint64_t *out)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {{"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", 1099511627776}};
    uint64_t factor = 1;
    for (size_t i = 0; i < N_ELEMENTS(units); i++) {
        size_t n = strlen(units[i].name);
        if (s.len > n && memcmp(s.p + s.len - n, units[i].name, n) == 0) {
            factor = units[i].factor;
            s.len -= n;
            break;
        }
    }
    uint64_t v;
    if (text_u64(s, UINT64_MAX / factor, &v) != 0) {
        return MU_E_RANGE;
    }
    *out = v * factor;
    return 0;
}

static int set_text(const struct conf_row *r, void *at, struct slice v, struct err *e)
{
    if (v.len >= r->size) {
        return err_set(e, MU_E_BAD_REQUEST, "%s may have at most %zu bytes", r->key, r->size - 1);
    }
    if (memchr(v.p, '\0', v.len) != NULL) {
        return err_set(e, MU_E_BAD_REQUEST, "%s holds a zero byte", r->key);
    }
    memcpy(at, v.p, v.len);
    ((char *)at)[v.len] = '\0';
    return 0;
}

static int range_error(const struct conf_row *r, struct slice v, struct err *e)
{
    char lo[24], hi[24];
    if (r->type == CONF_MS) {
        text_format_duration((int64_t)r->min, lo);
        text_format_duration((int64_t)r->max, hi);
        return err_set(e, MU_E_BAD_REQUEST, "%s must be a duration from %s to %s, not \"%.*s\"",
                       r->key, lo, hi, (int)(v.len < 40 ? v.len : 40), (const char *)v.p);
    }
    return err_set(e, MU_E_BAD_REQUEST, "%s must be %s from %llu to %llu, not \"%.*s\"", r->key,
                   r->type == CONF_BYTES ? "a size (as in 64MiB)" : "a number",
                   (unsigned long long)r->min, (unsigned long long)r->max,
                   (int)(v.len < 40 ? v.len : 40), (const char *)v.p);
}

static int set_number(const struct conf_row *r, void *at, struct slice v, struct err *e)
{
    uint64_t u = 0;
    int64_t ms = 0;
    int rc;
    if (r->type == CONF_MS) {
        rc = text_duration_ms(v, (int64_t)r->max, &ms);
        u = (uint64_t)ms;
    } else {
        rc = r->type == CONF_BYTES ? parse_bytes(v, &u) : text_u64(v, UINT64_MAX, &u);
    }
    if (rc != 0 || u < r->min || u > r->max) {
        return range_error(r, v, e);
    }
    memcpy(at, &u, sizeof(u)); /* int64_t and uint64_t members alike */
    return 0;
}

int conf_set(struct conf_parsed *p, size_t row, struct slice v, enum conf_origin origin,
             struct err *e)
{
    const struct conf_row *r = &conf_table[row];
    void *at = (char *)&p->conf + r->offset;
    int rc, b = 0;
    switch (r->type) {
    case CONF_TEXT:
        rc = set_text(r, at, v, e);
        break;
    case CONF_BOOL:
        rc = text_bool(v, &b);
        if (rc != 0) {
            return err_set(e, MU_E_BAD_REQUEST, "%s must be true or false, not \"%.*s\"", r->key,
                           (int)(v.len < 40 ? v.len : 40), (const char *)v.p);
        }
        memcpy(at, &b, sizeof(b));
        break;
    default:
        rc = set_number(r, at, v, e);
        break;
    }
    if (rc == 0) {
        p->origin[row] = (unsigned char)origin;
    }
    return rc;
}

int conf_row_of(struct slice key, size_t *out_row)
{
    for (size_t i = 0; i < conf_table_n; i++) {
        if (slice_eq(key, slice_str(conf_table[i].key))) {
            *out_row = i;
            return 0;
        }
    }
    return MU_E_NOT_FOUND;
}

enum conf_origin conf_origin_of(const struct conf_parsed *p, const char *key)
{
    size_t row = 0;
    MU_INVARIANT(conf_row_of(slice_str(key), &row) == 0);
    return (enum conf_origin)p->origin[row];
}

const char *conf_nearest(const char *word)
{
    const char *names[CONF_ROWS_MAX];
    for (size_t i = 0; i < conf_table_n; i++) {
        names[i] = conf_table[i].key;
    }
    return text_nearest(word, names, conf_table_n);
}

void conf_defaults(struct conf_parsed *p)
{
    struct err e = {0};
    memset(p, 0, sizeof(*p));
    for (size_t i = 0; i < conf_table_n; i++) {
        /* The default of a duration is written in ms in the table. */
        struct slice v = slice_str(conf_table[i].dflt);
        char ms[32];
        if (conf_table[i].type == CONF_MS) {
            int n = snprintf(ms, sizeof(ms), "%sms", conf_table[i].dflt);
            v = slice_of(ms, (size_t)n);
        }
        int rc = conf_set(p, i, v, CONF_DEFAULT, &e);
        MU_INVARIANT(rc == 0);
    }
}

void conf_format(const struct conf *c, size_t row, char out[CONF_TEXT_MAX])
{
    const struct conf_row *r = &conf_table[row];
    const void *at = (const char *)c + r->offset;
    uint64_t u;
    int b;
    switch (r->type) {
    case CONF_TEXT:
        snprintf(out, CONF_TEXT_MAX, "%s", (const char *)at);
        return;
    case CONF_BOOL:
        memcpy(&b, at, sizeof(b));
        snprintf(out, CONF_TEXT_MAX, "%s", b ? "true" : "false");
        return;
    case CONF_MS:
        memcpy(&u, at, sizeof(u));
        text_format_duration((int64_t)u, out);
        return;
    default:
        memcpy(&u, at, sizeof(u));
        snprintf(out, CONF_TEXT_MAX, "%llu", (unsigned long long)u);
        return;
    }
}

int conf_reload(struct conf *running, const struct conf *fresh,
                void (*needs_restart)(void *arg, const char *key), void *arg)
{
    int n = 0;
    for (size_t i = 0; i < conf_table_n; i++) {
        const struct conf_row *r = &conf_table[i];
        char *at = (char *)running + r->offset;
        const char *from = (const char *)fresh + r->offset;
        int is_same = r->type == CONF_TEXT ? strcmp(at, from) == 0 : memcmp(at, from, r->size) == 0;
        if (is_same) {
            continue;
        }
        if (r->is_reloadable) {
            memcpy(at, from, r->size);
            n++;
        } else {
            needs_restart(arg, r->key);
        }
    }
    return n;
}
