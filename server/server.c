/* SPDX-License-Identifier: Apache-2.0 */
/* Order of building: data directory, core (log, store, replica), http, faces, workers. Teardown is
 * the reverse. */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "raft/transport.h"
#include "server/access/access.h"
#include "server/admin/admin.h"
#include "server/api/api.h"
#include "server/consul/consul.h"
#include "server/core/core.h"
#include "server/datadir.h"
#include "server/dns/dns.h"
#include "server/net/worker.h"

/* What handlers get: the api's part first, then the pages'. */
struct context {
    struct api *api;
    struct admin_pages *pages;
    struct core *core;
};

enum { TOKEN_FILE_MAX = 256, PATH_TOLD_MAX = 300 };

struct server {
    struct conf_parsed *settings;
    struct datadir dir;
    struct tls_config peer_tls;
    struct conf_member members[CONF_MEMBERS_MAX];
    struct replica_member initial[CONF_MEMBERS_MAX];
    size_t n_members;
    struct context context;
    struct access *access;
    struct http_server *http;
    struct consul *consul;
    struct workers *workers;
    struct dns *dns;
};

static _Noreturn void on_fatal(int exit_code, const char *why)
{
    log_error("server", "stopping at once", LOG_STR("why", why), LOG_I64("exit_status", exit_code));
    _exit(exit_code);
}

/* --- http hooks --- */

static void before_answer(struct http_req *r, void *arg)
{
    struct context *c = arg;
    http_add_header(r, "Muster-Node", core_node_name(c->core));
}

/* What is behind the name of a thing of access control may be a secret: of clients that are older
 * than accessor ids. The query may have one, and is not told at all. */
static void put_path(struct slice path, char out[PATH_TOLD_MAX + 1])
{
    static const char acl[] = "/v1/acl/";
    const uint8_t *end = NULL;
    size_t n = sizeof(acl) - 1;
    if (path.len > n && memcmp(path.p, acl, n) == 0) {
        end = memchr(path.p + n, '/', path.len - n);
    }
    snprintf(out, PATH_TOLD_MAX + 1, "%.*s%s",
             (int)(end != NULL ? (size_t)(end + 1 - path.p) : path.len), (const char *)path.p,
             end != NULL ? "<hidden>" : "");
}

static void after_answer(void *arg, unsigned worker, const struct http_req *r, int status,
                         int64_t elapsed_us)
{
    struct context *c = arg;
    admin_count(c->pages, worker, r != NULL ? http_route_of(r) : NULL, status, elapsed_us);
    if (r != NULL && log_is_on(LOG_DEBUG)) {
        char path[PATH_TOLD_MAX + 1];
        put_path(http_path(r), path);
        log_debug("http", "request answered", LOG_STR("method", http_method_name(http_method(r))),
                  LOG_STR("path", path), LOG_STR("from", http_peer(r)), LOG_I64("status", status),
                  LOG_I64("us", elapsed_us));
    }
}

static int permit(struct http_req *r, const struct http_route *route, void *arg, struct err *e)
{
    struct context *c = arg;
    return api_permit(c->api, r, route, e);
}

/* --- building --- */

static int fill_members(struct server *s, struct err *e)
{
    const struct conf *c = &s->settings->conf;
    int rc = conf_members(c, s->members, &s->n_members, e);
    if (rc != 0) {
        return rc;
    }
    if (s->n_members == 0 && !c->is_join) {
        snprintf(s->members[0].name, sizeof(s->members[0].name), "%s", c->name);
        snprintf(s->members[0].address, sizeof(s->members[0].address), "%.255s",
                 c->peer[0] != '\0' ? c->peer : "127.0.0.1:8300");
        s->n_members = 1;
    }
    for (size_t i = 0; i < s->n_members; i++) {
        struct replica_member *m = &s->initial[i];
        m->id = replica_id_of(s->members[i].name);
        memcpy(m->name, s->members[i].name, sizeof(m->name));
        memcpy(m->address, s->members[i].address, sizeof(m->address));
        m->is_voter = 1;
    }
    return 0;
}

static void fill_core(struct server *s, struct core_options *o)
{
    const struct conf *c = &s->settings->conf;
    *o = (struct core_options){
        .data_dir = s->dir.path,
        .store_max_bytes = c->store_max_bytes,
        .config_keep_ms = c->config_keep_ms,
        .config_keep_versions = (uint32_t)c->config_keep_versions,
        .disk_reserve_bytes = c->disk_reserve_bytes,
        .fatal = on_fatal,
    };
    o->replica = (struct replica_options){
        .name = c->name,
        .peer_listen = c->peer[0] != '\0' ? c->peer : NULL,
        .initial = s->initial,
        .n_initial = s->n_members,
        .is_join = c->is_join,
        .election_ms = c->election_ms,
        .heartbeat_ms = c->heartbeat_ms,
        .segment_bytes = c->segment_bytes,
        .snapshot_log_bytes = c->snapshot_log_bytes,
        .allow_plaintext = c->is_peer_plaintext_allowed,
    };
    if (c->peer_tls_cert[0] != '\0') {
        s->peer_tls = (struct tls_config){c->peer_tls_cert, c->peer_tls_key, c->peer_tls_ca};
        o->replica.tls = &s->peer_tls;
    }
}

static int start_core(struct server *s, struct err *e)
{
    struct core_options o;
    int rc = fill_members(s, e);
    if (rc != 0) {
        return rc;
    }
    fill_core(s, &o);
    const char *restore = s->settings->conf.restore;
    if (restore[0] != '\0' && !s->dir.is_fresh) {
        log_info("server", "the data directory is in use already: nothing is restored");
        restore = "";
    }
    if (restore[0] != '\0') {
        /* The mark comes last: a directory that was filled half is not taken for a whole one. */
        o.restore = restore;
        rc = core_start(&o, &s->context.core, e);
        return rc != 0 ? rc : datadir_mark(&s->dir, s->settings->conf.name, e);
    }
    if (s->dir.is_fresh && (rc = datadir_mark(&s->dir, s->settings->conf.name, e)) != 0) {
        return rc;
    }
    return core_start(&o, &s->context.core, e);
}

static unsigned count_workers(const struct conf *c)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (c->workers != 0) {
        return (unsigned)c->workers;
    }
    return cores <= 2 ? 1 : cores > 9 ? 8 : (unsigned)cores - 1;
}

/* A secret of 1 to 128 bytes on one line, that nobody else can read. */
static int read_token(const char *path, char out[TOKEN_FILE_MAX], struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        return err_set(e, MU_E_BAD_REQUEST, "acl.initial_token_file %.150s: %s", path,
                       strerror(errno));
    }
    ssize_t n = read(fd, out, TOKEN_FILE_MAX - 1);
    close(fd);
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r')) {
        n--;
    }
    if ((st.st_mode & 077) != 0) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "acl.initial_token_file %.150s can be read by others: chmod 600 it", path);
    }
    if (n < 1 || n > ACCESS_SECRET_MAX || memchr(out, '\n', (size_t)n) != NULL) {
        return err_set(e, MU_E_BAD_REQUEST,
                       "acl.initial_token_file %.150s must hold one line of 1 to %d bytes", path,
                       ACCESS_SECRET_MAX);
    }
    out[n] = '\0';
    return 0;
}

static int start_access(struct server *s, struct err *e)
{
    const struct conf *c = &s->settings->conf;
    char token[TOKEN_FILE_MAX] = "", reset[CONF_TEXT_MAX + 32];
    snprintf(reset, sizeof(reset), "%s/acl-bootstrap-reset", s->dir.path);
    struct access_options o = {.store = core_store(s->context.core),
                               .n_workers = count_workers(c),
                               .is_enabled = c->is_acl,
                               .is_default_deny = strcmp(c->acl_default_policy, "deny") == 0,
                               .has_key_list = c->has_acl_key_list,
                               .initial_token = token,
                               .datacenter = c->datacenter,
                               .reset_file = reset};
    int rc =
        c->acl_initial_token_file[0] != '\0' ? read_token(c->acl_initial_token_file, token, e) : 0;
    s->access = rc == 0 ? access_new(&o) : NULL;
    explicit_bzero(token, sizeof(token));
    return rc;
}

static int start_faces(struct server *s, struct err *e)
{
    const struct conf *c = &s->settings->conf;
    struct http_server_options ho = {.arg = &s->context,
                                     .before_answer = before_answer,
                                     .permit = c->is_acl ? permit : NULL,
                                     .after_answer = after_answer};
    struct api_options ao = {.core = s->context.core,
                             .access = s->access,
                             .value_max = (uint32_t)c->value_max_bytes,
                             .timeout_ms = c->request_timeout_ms};
    struct admin_options po = {.core = s->context.core, .n_workers = count_workers(c)};
    s->http = http_server_new(&ho);
    s->context.api = api_new(&ao);
    s->context.pages = admin_new(&po);
    s->consul = consul_new(&(struct consul_options){.core = s->context.core,
                                                    .access = s->access,
                                                    .datacenter = c->datacenter,
                                                    .data_dir = s->dir.path});
    int rc = api_add_routes(s->context.api, s->http, e);
    rc = rc != 0 ? rc : consul_mount(s->consul, s->http, e);
    return rc != 0 ? rc : admin_add_routes(s->context.pages, s->http, e);
}

static int start_dns(struct server *s, struct err *e)
{
    const struct conf *c = &s->settings->conf;
    struct dns_options o = {
        .core = s->context.core,
        .access = s->access,
        .n_workers = count_workers(c),
        .listen = c->dns_listen,
        .is_listen_optional = conf_origin_of(s->settings, "dns.listen") == CONF_DEFAULT,
        .domain = c->dns_domain,
        .alt_domain = c->dns_alt_domain,
        .datacenter = c->datacenter,
        .service_ttl = c->dns_service_ttl,
        .recursors = c->dns_recursors,
        .recursion_from = c->dns_recursion_from,
        .is_recursor_random = strcmp(c->dns_recursor_strategy, "random") == 0,
        .is_only_passing = c->is_dns_only_passing,
        .is_truncate_told = c->is_dns_truncate,
        .is_compressed = c->is_dns_compression,
        .has_meta_txt = c->is_dns_node_meta_txt,
        .udp_answer_limit = c->dns_udp_answer_limit,
        .a_record_limit = c->dns_a_record_limit,
        .rate_limit = c->dns_rate_limit,
        .node_ttl_ms = c->dns_node_ttl_ms,
        .soa_refresh_ms = c->dns_soa_refresh_ms,
        .soa_retry_ms = c->dns_soa_retry_ms,
        .soa_expire_ms = c->dns_soa_expire_ms,
        .soa_min_ttl_ms = c->dns_soa_min_ttl_ms,
        .recursor_timeout_ms = c->dns_recursor_timeout_ms,
        .max_stale_ms = c->dns_max_stale_ms,
    };
    int rc = dns_new(&o, &s->dns, e);
    const char *address;
    for (size_t i = 0; rc == 0 && (address = dns_address(s->dns, i)) != NULL; i++) {
        log_info("server", "answering DNS", LOG_STR("address", address),
                 LOG_STR("domain", c->dns_domain));
    }
    return rc;
}

static int start_workers(struct server *s, struct err *e)
{
    const struct conf *c = &s->settings->conf;
    struct conf_listener wanted[CONF_LISTENERS_MAX];
    struct listener_options listeners[CONF_LISTENERS_MAX];
    size_t n = 0;
    int rc = conf_listeners(c, wanted, &n, e);
    for (size_t i = 0; i < n; i++) {
        int is_tls = c->tls_cert[0] != '\0' && !wanted[i].is_plain;
        listeners[i] = (struct listener_options){
            .address = wanted[i].address,
            .mode = conf_listen_mode(c),
            .cert_file = is_tls ? c->tls_cert : NULL,
            .key_file = is_tls ? c->tls_key : NULL,
            .client_ca_file = is_tls && c->tls_client_ca[0] != '\0' ? c->tls_client_ca : NULL};
    }
    struct workers_options o = {
        .n_workers = count_workers(c),
        .listeners = listeners,
        .n_listeners = n,
        .limits = {.connections = (uint32_t)c->max_connections,
                   .connections_per_source = (uint32_t)c->max_connections_per_source,
                   .head_bytes = (uint32_t)c->max_head_bytes,
                   .body_bytes = CONSUL_SNAPSHOT_MAX,
                   .head_timeout_ms = c->head_timeout_ms,
                   .idle_timeout_ms = c->idle_timeout_ms},
        .http = s->http,
        .guest = dns_guest(s->dns),
    };
    rc = rc != 0 ? rc : workers_start(&o, &s->workers, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        log_info("server", "listening", LOG_STR("address", workers_address(s->workers, i)),
                 LOG_STR("tls", listeners[i].cert_file != NULL ? "yes" : "no"));
    }
    return rc;
}

static int start_all(struct server *s, struct err *e)
{
    int rc = datadir_open(s->settings->conf.data_dir, s->settings->conf.name, &s->dir, e);
    rc = rc != 0 ? rc : start_core(s, e);
    rc = rc != 0 ? rc : start_access(s, e);
    rc = rc != 0 ? rc : start_faces(s, e);
    rc = rc != 0 ? rc : start_dns(s, e);
    rc = rc != 0 ? rc : start_workers(s, e);
    if (rc == 0) {
        admin_set_workers(s->context.pages, s->workers);
    }
    return rc;
}

/* --- running --- */

static void tell_restart(void *arg, const char *key)
{
    (void)arg;
    log_warn("server", "this setting is taken over at the next start only", LOG_STR("key", key));
}

static void reload(struct server *s, int argc, char **argv, char **envp)
{
    struct err e = {0};
    enum log_level level;
    struct conf_parsed *fresh = mem_zalloc(sizeof(*fresh));
    if (conf_parse(argc, argv, envp, fresh, &e) != 0 || conf_check(&fresh->conf, &e) != 0) {
        log_error("server", "reload refused, the running settings stay", LOG_STR("why", e.text));
    } else {
        conf_reload(&s->settings->conf, &fresh->conf, tell_restart, NULL);
        if (log_level_from(s->settings->conf.log_level, &level) == 0) {
            log_set_level(level);
        }
    }
    if (workers_reload_tls(s->workers, &e) != 0) {
        log_error("server", "certificates not reloaded, the old ones stay", LOG_STR("why", e.text));
    }
    if (core_reload_tls(s->context.core, &e) != 0) {
        log_error("server", "peer certificates not reloaded, the old ones stay",
                  LOG_STR("why", e.text));
    }
    log_info("server", "reloaded");
    mem_free(fresh);
}

static void stop_now(int sig)
{
    (void)sig;
    _exit(0);
}

/* From here on a second signal ends the process at once; the log is what counts, and it is on disk.
 */
static void second_signal_ends(const sigset_t *set)
{
    struct sigaction sa = {.sa_handler = stop_now};
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    pthread_sigmask(SIG_UNBLOCK, set, NULL);
}

static void stop_all(struct server *s)
{
    core_drain(s->context.core, s->settings->conf.drain_timeout_ms);
    workers_drain(s->workers);
    workers_stop(s->workers, s->settings->conf.drain_timeout_ms);
    dns_free(s->dns);
    core_stop(s->context.core);
    http_server_free(s->http);
    api_free(s->context.api);
    consul_free(s->consul);
    admin_free(s->context.pages);
    access_free(s->access);
    datadir_close(&s->dir);
}

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error code, too */
}

int server_run(struct conf_parsed *p, int argc, char **argv, char **envp)
{
    struct server *s = mem_zalloc(sizeof(*s));
    struct err e = {0};
    enum log_level level;
    sigset_t set;
    int sig = 0;
    umask(077);
    if (log_level_from(p->conf.log_level, &level) == 0) {
        log_set_level(level);
    }
    block_signals(&set); /* before threads are made, so that they inherit it */
    s->settings = p;
    int rc = start_all(s, &e);
    if (rc != 0) {
        log_error("server", "cannot start", LOG_STR("why", e.text));
        mem_free(s);
        return rc == MU_E_CORRUPT ? REPLICA_EXIT_CORRUPT : EXIT_CONFIG;
    }
    log_info("server", "started", LOG_STR("name", p->conf.name), LOG_STR("data_dir", s->dir.path));
    while (sigwait(&set, &sig) == 0 && sig == SIGHUP) {
        reload(s, argc, argv, envp);
    }
    log_info("server", "stopping", LOG_STR("signal", sig == SIGTERM ? "SIGTERM" : "SIGINT"));
    second_signal_ends(&set);
    stop_all(s);
    log_info("server", "stopped");
    mem_free(s);
    return 0;
}

/* Where there is none, opening would make a new, empty directory. */
static int server_has_data(const char *dir, struct err *e)
{
    char mark[CONF_TEXT_MAX + 16];
    (void)snprintf(mark, sizeof(mark), "%s/MUSTER", dir);
    if (access(mark, F_OK) != 0) {
        return err_set(e, MU_E_NOT_FOUND, "%s holds no data of a node: %s: %s", dir, mark,
                       strerror(errno));
    }
    return 0;
}

int server_export(const struct conf *c, const char *file)
{
    struct datadir dir;
    struct err e = {0};
    struct store *store;
    struct snapshot_info info;
    int was_reset = 0;
    if (file[0] == '\0' || c->data_dir[0] == '\0') {
        fprintf(stderr, "musterd: export-snapshot needs FILE and --data-dir\n");
        return EXIT_USAGE;
    }
    int rc = server_has_data(c->data_dir, &e);
    rc = rc != 0 ? rc : datadir_open(c->data_dir, c->name, &dir, &e);
    if (rc == 0) {
        struct store_options so = {.dir = dir.path, .map_max = c->store_max_bytes};
        rc = store_open(&so, &store, &was_reset, &e);
    }
    if (rc == 0 && was_reset) {
        rc = err_set(
            &e, MU_E_CONFLICT,
            "the last stop was not clean; start the node once and stop it with SIGTERM, then export");
    }
    if (rc == 0) {
        rc = snapshot_write(store, file, NULL, &info, &e);
        store_close(store, 1);
    }
    if (rc != 0) {
        fprintf(stderr, "musterd: %s\n", e.text);
        return 1;
    }
    printf("revision %llu, %llu rows, %llu bytes\n", (unsigned long long)info.revision,
           (unsigned long long)info.n_rows, (unsigned long long)info.size_bytes);
    datadir_close(&dir);
    return 0;
}
