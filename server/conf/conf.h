/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of musterd: one table describes each (YAML path, flag, environment variable, type,
 * default, range, help), and from it follow parsing, --help, check-config, the printed effective
 * configuration and the manual page.
 *
 * Precedence: default < file < environment (MUSTER_...) < flag. Unknown keys are errors with a
 * suggestion. */
#pragma once

#include <stdio.h>

#include "base/err.h"

enum { CONF_MEMBERS_MAX = 9, CONF_LISTENERS_MAX = 16, CONF_TEXT_MAX = 1024, CONF_ROWS_MAX = 128 };

struct conf {
    char name[64];
    char data_dir[CONF_TEXT_MAX];
    char listen[CONF_TEXT_MAX]; /* comma-separated: conf_listeners */
    char listen_mode[8];
    char peer[CONF_TEXT_MAX];            /* host:port; empty = none (single node) */
    char initial_cluster[CONF_TEXT_MAX]; /* n1=host:port,n2=... ; empty = a single node */
    int is_join;
    char restore[CONF_TEXT_MAX]; /* snapshot file to start an empty data directory from */
    char tls_cert[CONF_TEXT_MAX], tls_key[CONF_TEXT_MAX], tls_client_ca[CONF_TEXT_MAX];
    char peer_tls_cert[CONF_TEXT_MAX], peer_tls_key[CONF_TEXT_MAX], peer_tls_ca[CONF_TEXT_MAX];
    int is_peer_plaintext_allowed;
    int is_insecure; /* listen beyond loopback without access control */
    uint64_t workers;
    char log_level[16];
    int64_t election_ms, heartbeat_ms;
    uint64_t value_max_bytes, store_max_bytes, disk_reserve_bytes, snapshot_log_bytes,
        segment_bytes;
    int64_t config_keep_ms;
    uint64_t config_keep_versions;
    uint64_t max_connections, max_connections_per_source, max_head_bytes;
    int64_t head_timeout_ms, idle_timeout_ms, request_timeout_ms, drain_timeout_ms;
    int is_acl, has_acl_key_list;
    char acl_default_policy[16];
    char acl_initial_token_file[CONF_TEXT_MAX];
    char datacenter[64];
    char dns_listen[CONF_TEXT_MAX];
    char dns_domain[128], dns_alt_domain[128];
    char dns_service_ttl[CONF_TEXT_MAX];
    char dns_recursors[CONF_TEXT_MAX], dns_recursor_strategy[16], dns_recursion_from[CONF_TEXT_MAX];
    int is_dns_only_passing, is_dns_truncate, is_dns_compression, is_dns_node_meta_txt;
    uint64_t dns_udp_answer_limit, dns_a_record_limit, dns_rate_limit;
    int64_t dns_node_ttl_ms, dns_soa_refresh_ms, dns_soa_retry_ms, dns_soa_expire_ms,
        dns_soa_min_ttl_ms, dns_recursor_timeout_ms, dns_max_stale_ms;
};

enum conf_origin { CONF_DEFAULT, CONF_FILE, CONF_ENV, CONF_FLAG };

/* Which command line it was. */
enum conf_command {
    CONF_RUN,
    CONF_CHECK,
    CONF_SHOW,
    CONF_HELP,
    CONF_VERSION,
    CONF_MAN,
    CONF_EXPORT_SNAPSHOT
};

struct conf_parsed {
    struct conf conf;
    enum conf_command command;
    char file[CONF_TEXT_MAX];            /* configuration file in use; empty = none */
    char argument[CONF_TEXT_MAX];        /* of check-config (a file) and export-snapshot (a file) */
    unsigned char origin[CONF_ROWS_MAX]; /* by row of the table */
    int is_misused;                      /* the error is one of the command line itself */
};

/* Read the command line, the environment and the file. Errors name the place and what would be
 * right. */
int conf_parse(int argc, char **argv, char **envp, struct conf_parsed *out, struct err *e);
/* Parse only a file's text, for check-config and fuzzing. */
int conf_parse_file_text(const char *name, struct slice text, struct conf_parsed *io,
                         struct err *e);
/* What is true of the whole: names, addresses, files that belong together. */
int conf_check(const struct conf *c, struct err *e);
/* Settings that a running server takes over from `fresh`; the names of changed ones that need a
 * restart go to the log by the caller. */
int conf_reload(struct conf *running, const struct conf *fresh,
                void (*needs_restart)(void *arg, const char *key), void *arg);
void conf_print_help(FILE *out);
void conf_print(const struct conf_parsed *p,
                FILE *out);     /* effective values and where they came from, as YAML */
void conf_print_man(FILE *out); /* scdoc source of musterd(8) */

/* One member of initial_cluster. */
struct conf_member {
    char name[64];
    char address[256];
};
int conf_members(const struct conf *c, struct conf_member *out, size_t *out_n, struct err *e);
/* One address of the comma-separated list `listen`. */
struct conf_listener {
    char address[256]; /* host:port, or unix:///path */
    int is_plain;      /* no TLS, whatever tls.cert says: asked for by http://, and unix sockets */
    int is_local;      /* nobody but this machine reaches it */
};
/* At most CONF_LISTENERS_MAX. */
int conf_listeners(const struct conf *c, struct conf_listener *out, size_t *out_n, struct err *e);
/* The file mode of unix sockets. */
unsigned conf_listen_mode(const struct conf *c);
/* Where a setting came from. */
enum conf_origin conf_origin_of(const struct conf_parsed *p, const char *key);
int conf_is_loopback(const char *address); /* 127.0.0.0/8, ::1, localhost */
