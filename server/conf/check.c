/* SPDX-License-Identifier: Apache-2.0 */
/* What is true of a configuration as a whole. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/text.h"
#include "server/conf/table.h"

enum { UNIX_PATH_LONGEST = 107 };

static int is_node_name(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n <= 63 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

/* host:port or [v6]:port. */
static int check_address(const char *what, const char *s, int is_zero_ok, struct err *e)
{
    const char *colon = strrchr(s, ':');
    uint64_t port;
    int is_bracketed = s[0] == '[' && colon != NULL && colon > s && colon[-1] == ']';
    if (colon == NULL || colon == s || (!is_bracketed && strchr(s, ':') != colon) ||
        text_u64(slice_str(colon + 1), 65535, &port) != 0 || (port == 0 && !is_zero_ok)) {
        return err_set(e, MU_E_BAD_REQUEST, "%s: \"%.80s\" is not host:port (or [v6]:port)", what,
                       s);
    }
    return 0;
}

/* By what it says, not by how it begins: "127.0.0.1.example.org" is anybody's. */
int conf_is_loopback(const char *address)
{
    char host[256];
    struct in_addr v4;
    struct in6_addr v6;
    const char *colon = strrchr(address, ':');
    size_t n = colon != NULL ? (size_t)(colon - address) : strlen(address);
    int is_bracketed = n > 2 && address[0] == '[' && address[n - 1] == ']';
    if (n >= sizeof(host)) {
        return 0;
    }
    memcpy(host, address + is_bracketed, n - 2 * (size_t)is_bracketed);
    host[n - 2 * (size_t)is_bracketed] = '\0';
    if (is_bracketed) {
        return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return inet_pton(AF_INET, host, &v4) == 1 ? ntohl(v4.s_addr) >> 24 == 127
                                              : strcasecmp(host, "localhost") == 0;
}

/* The next item of a comma-separated list into out; 0 at the end, -1 when too long. */
static int next_item(const char **at, char *out, size_t cap)
{
    while (**at == ',' || **at == ' ') {
        (*at)++;
    }
    size_t n = strcspn(*at, ",");
    if (n == 0) {
        return 0;
    }
    if (n >= cap) {
        return -1;
    }
    memcpy(out, *at, n);
    out[n] = '\0';
    *at += n;
    return 1;
}

/* unix:///path: absolute, and what the kernel has room for. */
static int check_path(const char *item, struct err *e)
{
    const char *path = item + strlen("unix://");
    size_t n = strlen(path);
    if (path[0] != '/' || n > UNIX_PATH_LONGEST || path[n - 1] == '/') {
        return err_set(e, MU_E_BAD_REQUEST,
                       "listen: \"%.80s\" is not unix:///PATH of at most %d bytes", item,
                       UNIX_PATH_LONGEST);
    }
    return 0;
}

static int take_listener(const char *item, struct conf_listener *out, struct err *e)
{
    memset(out, 0, sizeof(*out));
    out->is_plain = strncmp(item, "http://", 7) == 0;
    item += out->is_plain ? 7 : 0;
    (void)snprintf(out->address, sizeof(out->address), "%s", item);
    if (!out->is_plain && strncmp(item, "unix://", 7) == 0) {
        out->is_plain = out->is_local = 1;
        return check_path(item, e);
    }
    out->is_local = conf_is_loopback(item);
    if (check_address("listen", item, 1, e) != 0) {
        return err_set(
            e, MU_E_BAD_REQUEST,
            "listen: \"%.80s\" is not host:port, [v6]:port, http://host:port or unix:///path",
            item);
    }
    return 0;
}

int conf_listeners(const struct conf *c, struct conf_listener *out, size_t *out_n, struct err *e)
{
    const char *at = c->listen;
    size_t n = 0;
    char item[256];
    int rc;
    while ((rc = next_item(&at, item, sizeof(item))) > 0) {
        if (n == CONF_LISTENERS_MAX) {
            return err_set(e, MU_E_BAD_REQUEST, "listen: at most %d addresses", CONF_LISTENERS_MAX);
        }
        if (take_listener(item, &out[n++], e) != 0) {
            return e->code;
        }
    }
    if (rc < 0 || n == 0) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "listen: at least one host:port of at most 255 bytes is needed");
    }
    *out_n = n;
    return 0;
}

static int parse_member(const char *item, struct conf_member *out, struct err *e)
{
    const char *eq = strchr(item, '=');
    if (eq == NULL || eq == item || (size_t)(eq - item) >= sizeof(out->name)) {
        return err_set(e, MU_E_BAD_REQUEST, "initial_cluster: \"%.80s\" is not NAME=HOST:PORT",
                       item);
    }
    memset(out, 0, sizeof(*out));
    memcpy(out->name, item, (size_t)(eq - item));
    snprintf(out->address, sizeof(out->address), "%s", eq + 1);
    if (!is_node_name(out->name)) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "initial_cluster: \"%.63s\" is not a node name (letters, digits, - _ .)",
                       out->name);
    }
    return check_address("initial_cluster", out->address, 0, e);
}

int conf_members(const struct conf *c, struct conf_member *out, size_t *out_n, struct err *e)
{
    const char *at = c->initial_cluster;
    char item[320];
    size_t n = 0;
    int rc;
    while ((rc = next_item(&at, item, sizeof(item))) > 0) {
        if (n == CONF_MEMBERS_MAX) {
            return err_set(e, MU_E_BAD_REQUEST, "initial_cluster: at most %d members",
                           CONF_MEMBERS_MAX);
        }
        if (parse_member(item, &out[n], e) != 0) {
            return e->code;
        }
        for (size_t i = 0; i < n; i++) {
            if (strcmp(out[i].name, out[n].name) == 0 ||
                strcmp(out[i].address, out[n].address) == 0) {
                return err_set(e, MU_E_BAD_REQUEST,
                               "initial_cluster: %s is listed twice, by name or address",
                               out[n].name);
            }
        }
        n++;
    }
    if (rc < 0) {
        return err_set(e, MU_E_BAD_REQUEST, "initial_cluster: a member has at most 319 bytes");
    }
    *out_n = n;
    return 0;
}

static int check_cluster(const struct conf *c, struct err *e)
{
    struct conf_member m[CONF_MEMBERS_MAX];
    size_t n = 0, self = 0;
    int rc = conf_members(c, m, &n, e);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        self += strcmp(m[i].name, c->name) == 0;
    }
    if (n > 0 && self == 0 && !c->is_join) {
        return err_set(e, MU_E_BAD_REQUEST, "initial_cluster does not name this node (%s)",
                       c->name);
    }
    if (n == 2) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "initial_cluster: two nodes survive less than one; use one, three or five");
    }
    if ((n > 1 || c->is_join) && c->peer[0] == '\0') {
        return err_set(e, MU_E_BAD_REQUEST,
                       "a node of a cluster needs --peer, the address for the other nodes");
    }
    return c->peer[0] != '\0' ? check_address("peer", c->peer, 0, e) : 0;
}

static int check_together(const char *a, const char *b, const char *names, struct err *e)
{
    if ((a[0] != '\0') != (b[0] != '\0')) {
        return err_set(e, MU_E_BAD_REQUEST, "%s go together: give both or none", names);
    }
    return 0;
}

static int check_tls(const struct conf *c, struct err *e)
{
    if (check_together(c->tls_cert, c->tls_key, "tls.cert and tls.key", e) != 0 ||
        check_together(c->peer_tls_cert, c->peer_tls_key, "peer_tls.cert and peer_tls.key", e) !=
            0 ||
        check_together(c->peer_tls_cert, c->peer_tls_ca, "peer_tls.cert and peer_tls.ca", e) != 0) {
        return e->code;
    }
    if (c->tls_client_ca[0] != '\0' && c->tls_cert[0] == '\0') {
        return err_set(e, MU_E_BAD_REQUEST, "tls.client_ca needs tls.cert and tls.key");
    }
    return 0;
}

static int check_acl(const struct conf *c, struct err *e)
{
    if (strcmp(c->acl_default_policy, "deny") != 0 && strcmp(c->acl_default_policy, "allow") != 0) {
        return err_set(e, MU_E_BAD_REQUEST, "acl.default_policy must be deny or allow, not \"%s\"",
                       c->acl_default_policy);
    }
    if (c->acl_initial_token_file[0] != '\0' && !c->is_acl) {
        return err_set(e, MU_E_BAD_REQUEST, "acl.initial_token_file needs acl.enabled");
    }
    return 0;
}

/* Nobody but this machine reaches the server unless it asks who is there. */
static int check_exposure(const struct conf *c, struct err *e)
{
    struct conf_listener listeners[CONF_LISTENERS_MAX];
    char dns[256];
    size_t n = 0;
    int rc = conf_listeners(c, listeners, &n, e);
    /* Where no rule speaks everybody may: that is no access control yet. */
    int is_asked = c->is_acl && strcmp(c->acl_default_policy, "deny") == 0;
    if (c->is_insecure || is_asked) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        int asks = !listeners[i].is_plain && c->tls_client_ca[0] != '\0';
        if (!listeners[i].is_local && !asks) {
            return err_set(
                e, MU_E_BAD_REQUEST,
                "listen %s is reachable by others and there is no access control: turn it on (acl.enabled, acl.default_policy deny), use client certificates (tls.client_ca) or say --insecure",
                listeners[i].address);
        }
    }
    const char *at = c->dns_listen;
    while (rc == 0 && next_item(&at, dns, sizeof(dns)) > 0) {
        if (!conf_is_loopback(dns)) {
            return err_set(
                e, MU_E_BAD_REQUEST,
                "dns.listen %s is reachable by others and there is no access control: turn it on (acl.enabled, acl.default_policy deny) or say --insecure",
                dns);
        }
    }
    return rc;
}

static int check_dns(const struct conf *c, struct err *e)
{
    const char *at = c->dns_listen;
    char item[256];
    int rc;
    while ((rc = next_item(&at, item, sizeof(item))) > 0) {
        if (check_address("dns.listen", item, 1, e) != 0) {
            return e->code;
        }
    }
    if (rc < 0) {
        return err_set(e, MU_E_BAD_REQUEST, "dns.listen: an address has at most 255 bytes");
    }
    if (strcmp(c->dns_recursor_strategy, "sequential") != 0 &&
        strcmp(c->dns_recursor_strategy, "random") != 0) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "dns.recursor_strategy must be sequential or random, not \"%s\"",
                       c->dns_recursor_strategy);
    }
    return 0;
}

/* Three or four octal digits, no bits but those of reading, writing and doing. */
static int parse_mode(const char *s, unsigned *out)
{
    char *end;
    size_t n = strlen(s);
    if (n < 3 || n > 4 || strspn(s, "01234567") != n) {
        return MU_E_BAD_REQUEST;
    }
    unsigned long v = strtoul(s, &end, 8);
    *out = (unsigned)v;
    return v <= 0777 ? 0 : MU_E_BAD_REQUEST;
}

unsigned conf_listen_mode(const struct conf *c)
{
    unsigned mode = 0;
    return parse_mode(c->listen_mode, &mode) == 0 ? mode : 0600;
}

int conf_check(const struct conf *c, struct err *e)
{
    unsigned mode;
    enum log_level level;
    if (!is_node_name(c->name)) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "name: \"%.63s\" is not a node name (1 to 63 letters, digits, - _ .)",
                       c->name);
    }
    if (c->data_dir[0] == '\0') {
        return err_set(e, MU_E_BAD_REQUEST,
                       "data_dir is missing: say where the data shall live with --data-dir DIR");
    }
    if (log_level_from(c->log_level, &level) != 0) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "log_level must be debug, info, warn or error, not \"%s\"", c->log_level);
    }
    if (parse_mode(c->listen_mode, &mode) != 0) {
        return err_set(e, MU_E_BAD_REQUEST, "listen_mode must be octal, as in 0660, not \"%s\"",
                       c->listen_mode);
    }
    if (c->heartbeat_ms * 3 > c->election_ms) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "heartbeat must be at most a third of election_timeout");
    }
    int rc = check_cluster(c, e);
    rc = rc != 0 ? rc : check_tls(c, e);
    rc = rc != 0 ? rc : check_acl(c, e);
    rc = rc != 0 ? rc : check_dns(c, e);
    return rc != 0 ? rc : check_exposure(c, e);
}
