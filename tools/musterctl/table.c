/* SPDX-License-Identifier: Apache-2.0 */
/* The rows. */
#include "tools/musterctl/table.h"

#include "tools/musterctl/cmd.h"

#define DAY_MS INT64_C(86400000)
#define SWITCH(n, l, h)                                                  \
    {                                                                    \
        n, l, CTL_SWITCH, WORDS_NONE, 0, NULL, h, NULL, NULL, NULL, 0, 0 \
    }
#define TEXT(n, a, h)                                               \
    {                                                               \
        n, 0, CTL_TEXT, WORDS_NONE, 0, a, h, NULL, NULL, NULL, 0, 0 \
    }
#define MANY(n, a, h)                                               \
    {                                                               \
        n, 0, CTL_TEXT, WORDS_NONE, 1, a, h, NULL, NULL, NULL, 0, 0 \
    }
#define PATH(n, l, w, h)                                        \
    {                                                           \
        n, l, CTL_TEXT, w, 0, "FILE", h, NULL, NULL, NULL, 0, 0 \
    }
#define NUMBER(n, l, a, h, d, lo, hi)                                \
    {                                                                \
        n, l, CTL_NUMBER, WORDS_NONE, 0, a, h, NULL, NULL, d, lo, hi \
    }
#define TIME(n, l, h, d, lo, hi)                                                \
    {                                                                           \
        n, l, CTL_DURATION, WORDS_NONE, 0, "DURATION", h, NULL, NULL, d, lo, hi \
    }
#define CHOICE(n, l, a, h, c)                                        \
    {                                                                \
        n, l, CTL_CHOICE, WORDS_CHOICE, 0, a, h, c, NULL, NULL, 0, 0 \
    }
#define END \
    {       \
        0   \
    }
/* clang-format off */
#define GROUP {"group", 'g', CTL_TEXT, WORDS_NONE, 0, "GROUP", \
    "the group; the name is then taken whole, slashes and all", NULL, NULL, NULL, 0, 0}
/* clang-format on */
#define CLUSTER TEXT("cluster", "NAME", "the instance's cluster (default DEFAULT)")
#define COMMENT TEXT("comment", "TEXT", "kept in the history")
#define AUTHOR  TEXT("author", "NAME", "kept in the history (default: $USER)")
#define IF_REVISION                                                                         \
    NUMBER("if-revision", 0, "REV", "only over this revision, else exit status 4", NULL, 1, \
           UINT64_MAX)
#define COUNT NUMBER("count", 'n', "N", "end after N events", NULL, 1, UINT64_MAX)
#define FROM                                                                              \
    NUMBER("from", 0, "REV", "begin with this revision instead of the next one", NULL, 1, \
           UINT64_MAX)

/* clang-format off */
const struct ctl_option ctl_globals[] = {
    {"endpoints", 'e', CTL_TEXT, WORDS_NONE, 0, "URL,...", "nodes to ask: http://host:port, https://..., or host:port", NULL, "MUSTER_ENDPOINTS", "http://127.0.0.1:8500", 0, 0},
    {"namespace", 'N', CTL_TEXT, WORDS_NONE, 0, "NAME", "namespace of services and configs", NULL, "MUSTER_NAMESPACE", "public", 0, 0},
    {"cacert", 0, CTL_TEXT, WORDS_FILE, 0, "FILE", "PEM authorities that https endpoints are checked by (default: the system's)", NULL, "MUSTER_CACERT", NULL, 0, 0},
    {"cert", 0, CTL_TEXT, WORDS_FILE, 0, "FILE", "PEM client certificate, with --key", NULL, "MUSTER_CERT", NULL, 0, 0},
    {"key", 0, CTL_TEXT, WORDS_FILE, 0, "FILE", "its private key", NULL, "MUSTER_KEY", NULL, 0, 0},
    {"timeout", 0, CTL_DURATION, WORDS_NONE, 0, "DURATION", "for one request with all its repeats", NULL, "MUSTER_TIMEOUT", "5s", 1, 3600000},
    {"consistency", 0, CTL_CHOICE, WORDS_CHOICE, 0, "LEVEL", "of reads: linearizable, leader or stale (this node, at once)", "linearizable leader stale", NULL, NULL, 0, 0},
    {"output", 'o', CTL_CHOICE, WORDS_CHOICE, 0, "FORMAT", "table for people, json for programs, plain: values and tabs for scripts", "table json plain", "MUSTER_OUTPUT", "table", 0, 0},
    SWITCH("no-color", 0, "no colour on a terminal (also: NO_COLOR)"),
    SWITCH("quiet", 'q', "no confirmations and no progress"),
    SWITCH("help", 'h', "this help"),
    SWITCH("version", 0, "print the version"),
    SWITCH("man", 0, "print the manual page (scdoc)"),
    END};

static const struct ctl_option service_list[] = {GROUP, END};
static const struct ctl_option service_get[] = {
    GROUP, CLUSTER, SWITCH("healthy", 0, "only instances that are healthy and enabled"),
    MANY("tag", "TAG", "only instances with this tag; all given must match"), END};
static const struct ctl_option service_register[] = {
    TEXT("address", "HOST", "IP address or host name (required)"),
    NUMBER("port", 0, "PORT", "port (default 0)", "0", 0, 65535),
    TEXT("id", "ID", "unique in its service and cluster (default ADDRESS:PORT)"),
    GROUP, CLUSTER,
    NUMBER("weight", 0, "N", "share of the load, 0 to 10000", NULL, 0, 10000),
    MANY("tag", "TAG", "a tag; may be given often"),
    MANY("meta", "NAME=VALUE", "metadata; may be given often"),
    SWITCH("disabled", 0, "register it disabled: kept, but not given to clients"),
    TIME("ttl", 0, "unhealthy when not kept alive for so long", NULL, 1000, DAY_MS),
    TEXT("remove-after", "DURATION", "removed when unhealthy for so long; 0s at once, never keeps it"),
    TEXT("lease", "ID", "lives and ends with this lease"),
    TEXT("check-http", "URL", "the cluster asks this URL; 2xx is healthy"),
    TEXT("check-tcp", "HOST:PORT", "the cluster connects to it"),
    TIME("check-interval", 0, "between two checks", NULL, 1, DAY_MS),
    TIME("check-timeout", 0, "for one check", NULL, 1, DAY_MS),
    NUMBER("check-failures", 0, "N", "failures in a row that make it unhealthy", NULL, 1, 1000),
    NUMBER("check-successes", 0, "N", "successes in a row that make it healthy", NULL, 1, 1000),
    SWITCH("keep", 0, "stay, keep it alive (default --ttl 15s), deregister it at the end"), END};
static const struct ctl_option service_patch[] = {
    GROUP, CLUSTER, TEXT("address", "HOST", "new address"),
    NUMBER("port", 0, "PORT", "new port", NULL, 0, 65535),
    NUMBER("weight", 0, "N", "new weight", NULL, 0, 10000),
    CHOICE("enabled", 0, "BOOL", "given to clients or not", "true false"),
    CHOICE("healthy", 0, "BOOL", "for an instance without check or ttl", "true false"),
    MANY("tag", "TAG", "new tags, instead of all there are"),
    MANY("meta", "NAME=VALUE", "set this name of the metadata; the others stay"), END};
static const struct ctl_option service_deregister[] = {GROUP, CLUSTER, END};
static const struct ctl_option service_keepalive[] = {
    GROUP, CLUSTER, SWITCH("loop", 0, "go on, three times per ttl, until interrupted"), END};
static const struct ctl_option watch_one_kind[] = {FROM, COUNT, END};
static const struct ctl_option watch_both[] = {
    MANY("service", "PATTERN", "services: [group/]name, [group/]prefix*; may be given often"),
    MANY("config", "PATTERN", "configs: likewise"), FROM, COUNT, END};

static const struct ctl_option config_list[] = {
    GROUP, TEXT("search", "TEXT", "only those with TEXT in key or description"), END};
static const struct ctl_option config_get[] = {
    GROUP, NUMBER("revision", 'r', "REV", "as it was at this revision", NULL, 1, UINT64_MAX), END};
static const struct ctl_option config_put[] = {
    GROUP, PATH("file", 'f', WORDS_FILE, "take the content from FILE (- is standard input)"),
    TEXT("type", "TYPE", "content type (default: by the ending of --file, else text/plain)"),
    IF_REVISION, SWITCH("create-only", 0, "only if there is none, else exit status 4"), COMMENT, AUTHOR,
    TEXT("description", "TEXT", "what it is for"), MANY("tag", "TAG", "a tag; may be given often"), END};
static const struct ctl_option config_edit[] = {
    GROUP, TEXT("type", "TYPE", "content type (default: as it is)"), COMMENT, AUTHOR, END};
static const struct ctl_option config_delete[] = {GROUP, IF_REVISION, END};
static const struct ctl_option config_history[] = {
    GROUP, NUMBER("limit", 'n', "N", "at most so many, newest first", "20", 1, 1000),
    NUMBER("before", 0, "REV", "only versions before this revision", NULL, 1, UINT64_MAX), END};
static const struct ctl_option config_diff[] = {GROUP, END};
static const struct ctl_option config_rollback[] = {GROUP, IF_REVISION, COMMENT, AUTHOR, END};
static const struct ctl_option config_export[] = {
    {"group", 'g', CTL_TEXT, WORDS_NONE, 0, "GROUP", "only this group (default: all)", NULL, NULL, NULL, 0, 0},
    TEXT("prefix", "TEXT", "only keys that begin so"), END};
static const struct ctl_option config_import[] = {
    SWITCH("dry-run", 'n', "say what would be done, change nothing"),
    SWITCH("create-only", 0, "leave alone what is there already"), COMMENT, AUTHOR, END};
static const struct ctl_option config_compact[] = {
    TIME("keep", 0, "keep history of so long", "720h", 0, INT64_C(36500) * DAY_MS),
    NUMBER("versions", 0, "N", "and at least so many versions of each", "100", 1, 1000000), END};

static const struct ctl_option lease_grant[] = {TEXT("id", "ID", "1 to 16 hex digits (default: drawn)"), END};
static const struct ctl_option lease_keepalive[] = {
    SWITCH("loop", 0, "go on, three times per ttl, until interrupted"), END};

#define NO_WAIT SWITCH("no-wait", 0, "only start it")
#define WAIT    TIME("wait", 0, "watch it for at most so long", "10m", 1, DAY_MS)
static const struct ctl_option member_change[] = {NO_WAIT, WAIT, END};

static const struct ctl_option snapshot_save[] = {
    SWITCH("force", 0, "write over a file that is there"), END};

#define BENCH                                                                                    \
    NUMBER("clients", 'c', "N", "so many at once, each waits for its answer", "8", 1, 256),       \
    NUMBER("requests", 'n', "N", "so many in all (default 10000, or until --duration)", NULL, 1, 100000000), \
    TIME("duration", 'd', "end after so long", NULL, 1, 3600000),                                 \
    NUMBER("keys", 0, "N", "different keys or leases", "1000", 1, 100000)
#define SIZE NUMBER("size", 's', "BYTES", "of a content", "128", 0, 1048576)
static const struct ctl_option bench_config[] = {BENCH, SIZE, END};
static const struct ctl_option bench_lease[] = {BENCH, END};

#define NAMES "A name is [GROUP/]NAME; without a group $MUSTER_GROUP or else DEFAULT_GROUP is meant. The first slash divides, so NAME may hold more of them; " \
    "a group that holds a slash is given by --group, and NAME is then taken whole."
#define PATTERNS "A pattern is [GROUP/]NAME, or [GROUP/]PREFIX* for all names that begin so. Without a pattern: *, which is all of DEFAULT_GROUP. " \
    "Each change is one line; nothing is skipped, also when a node fails. Ends with 130 when interrupted."

const struct ctl_command ctl_commands[] = {
    {"status", "", 0, 0, {0, 0}, "the cluster's members and the health of each endpoint",
     "Exit status 0: every endpoint is ready and the leader reaches every member. 1: it works, but something is down. 5: no endpoint answers, or there is no leader.",
     NULL, NULL, ctl_status},

    {"service list", "[PREFIX]", 0, 1, {WORDS_SERVICE, 0}, "services with their counts of instances", NULL, NULL, service_list, ctl_service_list},
    {"service get", "[GROUP/]SERVICE", 1, 1, {WORDS_SERVICE, 0}, "instances of a service", "Exit status 3 when no instance matches. " NAMES, NULL, service_get, ctl_service_get},
    {"service register", "[GROUP/]SERVICE", 1, 1, {WORDS_SERVICE, 0}, "register an instance, or change its registration",
     "At most one of --ttl, --lease, --check-http and --check-tcp; with none the instance is persistent.", NULL, service_register, ctl_service_register},
    {"service patch", "[GROUP/]SERVICE ID", 2, 2, {WORDS_SERVICE, WORDS_INSTANCE}, "change members of an instance", NULL, NULL, service_patch, ctl_service_patch},
    {"service deregister", "[GROUP/]SERVICE ID", 2, 2, {WORDS_SERVICE, WORDS_INSTANCE}, "remove an instance", NULL, NULL, service_deregister, ctl_service_deregister},
    {"service keepalive", "[GROUP/]SERVICE ID", 2, 2, {WORDS_SERVICE, WORDS_INSTANCE}, "keep an instance with a ttl alive", NULL, NULL, service_keepalive, ctl_service_keepalive},
    {"service watch", "[PATTERN...]", 0, CTL_ARGS_ANY, {WORDS_SERVICE, WORDS_SERVICE}, "follow changes of instances", PATTERNS, NULL, watch_one_kind, ctl_service_watch},

    {"config list", "[PREFIX]", 0, 1, {WORDS_CONFIG, 0}, "configs, without their contents", NULL, NULL, config_list, ctl_config_list},
    {"config get", "[GROUP/]KEY", 1, 1, {WORDS_CONFIG, 0}, "print a content",
     "The bytes as they are when piped; on a terminal control characters are escaped. " NAMES, NULL, config_get, ctl_config_get},
    {"config put", "[GROUP/]KEY [CONTENT]", 1, 2, {WORDS_CONFIG, WORDS_NONE}, "publish a content",
     "The content is the argument, the file of --file, or standard input (CONTENT is -, or is missing and standard input is no terminal). "
     "-o plain prints the new revision alone.", NULL, config_put, ctl_config_put},
    {"config edit", "[GROUP/]KEY", 1, 1, {WORDS_CONFIG, 0}, "change a content in $VISUAL or $EDITOR",
     "Publishes only over the revision that was opened. When somebody else was faster, or publishing fails, your text stays in a file whose name is printed.",
     NULL, config_edit, ctl_config_edit},
    {"config delete", "[GROUP/]KEY", 1, 1, {WORDS_CONFIG, 0}, "delete a config; its history is kept", NULL, NULL, config_delete, ctl_config_delete},
    {"config history", "[GROUP/]KEY", 1, 1, {WORDS_CONFIG, 0}, "versions of a config, newest first", NULL, NULL, config_history, ctl_config_history},
    {"config diff", "[GROUP/]KEY [FROM [TO]]", 1, 3, {WORDS_CONFIG, 0}, "unified diff of two revisions",
     "TO defaults to the current one, FROM to the version before it.", NULL, config_diff, ctl_config_diff},
    {"config rollback", "[GROUP/]KEY REVISION", 2, 2, {WORDS_CONFIG, 0}, "publish the content of an earlier revision anew", NULL, NULL, config_rollback, ctl_config_rollback},
    {"config watch", "[PATTERN...]", 0, CTL_ARGS_ANY, {WORDS_CONFIG, WORDS_CONFIG}, "follow changes of configs", PATTERNS, NULL, watch_one_kind, ctl_config_watch},
    {"config export", "DIR|-", 1, 1, {WORDS_DIR, 0}, "copy configs into a directory, or as one JSON document",
     "A directory gets one file per config, GROUP/KEY with unsafe characters as %XX, and muster-export.json with what a file cannot hold (content types, descriptions, tags). "
     "All contents are those of one revision.", NULL, config_export, ctl_config_export},
    {"config import", "DIR|FILE|-", 1, 1, {WORDS_FILE, 0}, "publish what an export holds",
     "Configs that are equal already are not published. Each is published only over the content that was compared. Exit status 4 when some were changed meanwhile.",
     NULL, config_import, ctl_config_import},
    {"config compact", "", 0, 0, {0, 0}, "drop history that is older and more than wanted", NULL, NULL, config_compact, ctl_config_compact},

    {"watch", "", 0, 0, {0, 0}, "follow changes of services and configs", PATTERNS, NULL, watch_both, ctl_watch},

    {"lease list", "", 0, 0, {0, 0}, "leases and what hangs on them", NULL, NULL, NULL, ctl_lease_list},
    {"lease get", "ID", 1, 1, {WORDS_LEASE, 0}, "one lease, with the time that is left", NULL, NULL, NULL, ctl_lease_get},
    {"lease grant", "TTL", 1, 1, {0, 0}, "make a lease", "TTL is a duration from 1s to 24h. -o plain prints the id alone.", NULL, lease_grant, ctl_lease_grant},
    {"lease keepalive", "ID...", 1, CTL_ARGS_ANY, {WORDS_LEASE, WORDS_LEASE}, "keep leases alive", "Exit status 3 when one is gone; the others are kept alive.", NULL, lease_keepalive, ctl_lease_keepalive},
    {"lease revoke", "ID", 1, 1, {WORDS_LEASE, 0}, "end a lease and remove what hangs on it", NULL, NULL, NULL, ctl_lease_revoke},

    {"member list", "", 0, 0, {0, 0}, "members of the cluster, as the leader sees them", NULL, NULL, NULL, ctl_member_list},
    {"member add", "NAME PEER", 2, 2, {0, 0}, "add a node that was started with --join",
     "PEER is the host:port of its peer listener. It learns everything first and votes then.", NULL, member_change, ctl_member_add},
    {"member replace", "OLD NEW PEER", 3, 3, {WORDS_MEMBER, 0}, "put a new node in the place of a dead one",
     "Start the new node with --join first; PEER is the host:port of its peer listener. It learns, becomes a voter, and OLD is removed; this is shown until it is done. "
     "When the leader fails meanwhile, give the same command again.", NULL, member_change, ctl_member_replace},
    {"member remove", "NAME", 1, 1, {WORDS_MEMBER, 0}, "remove a member", "Never the leader (see member transfer), never below two voters.", NULL, member_change, ctl_member_remove},
    {"member transfer", "[NAME]", 0, 1, {WORDS_MEMBER, 0}, "hand leadership over", NULL, NULL, NULL, ctl_member_transfer},

    {"snapshot save", "FILE", 1, 1, {WORDS_FILE, 0}, "save a consistent copy of the whole store",
     "The file gets mode 0600 and its name only when it is complete and checked. To restore it, start each node of a new cluster on an empty directory with musterd --restore FILE.",
     NULL, snapshot_save, ctl_snapshot_save},
    {"snapshot inspect", "FILE", 1, 1, {WORDS_FILE, 0}, "check a snapshot file and tell what it holds", NULL, NULL, NULL, ctl_snapshot_inspect},

    {"bench put", "", 0, 0, {0, 0}, "measure publishing configs",
     "A closed loop: each client sends its next request when the last one is answered. Keys are bench/0, bench/1, ... in the group musterctl-bench and are deleted at the end.", NULL, bench_config, ctl_bench_put},
    {"bench get", "", 0, 0, {0, 0}, "measure reading configs", "Likewise; --consistency counts.", NULL, bench_config, ctl_bench_get},
    {"bench keepalive", "", 0, 0, {0, 0}, "measure keeping leases alive", "Likewise, on leases that are revoked at the end.", NULL, bench_lease, ctl_bench_keepalive},

    {"completion", "SHELL", 1, 1, {WORDS_CHOICE, 0}, "print the completion script of a shell",
     "As in: source <(musterctl completion bash)", "bash zsh fish", NULL, ctl_completion},
    {"help", "[COMMAND...]", 0, 2, {WORDS_COMMAND, WORDS_COMMAND}, "help on a command", NULL, NULL, NULL, NULL},
    {"__complete", "[WORD...]", 0, CTL_ARGS_ANY, {0, 0}, NULL, NULL, NULL, NULL, ctl_complete},
};
/* clang-format on */
const size_t ctl_commands_n = N_ELEMENTS(ctl_commands);

const struct ctl_noun ctl_nouns[] = {
    {"service", "find, register and watch instances"},
    {"config", "read, publish, compare and copy configuration"},
    {"lease", "lifetimes that instances hang on"},
    {"member", "who belongs to the cluster"},
    {"snapshot", "backups of the store"},
    {"bench", "measure the cluster"},
};
const size_t ctl_nouns_n = N_ELEMENTS(ctl_nouns);

const struct ctl_exit ctl_exits[] = {
    {CTL_OK, "done"},
    {CTL_FAILED, "another failure"},
    {CTL_USAGE, "wrong usage, or an argument that the server refuses as malformed"},
    {CTL_NOT_FOUND, "not found"},
    {CTL_CONFLICT, "conflict: a compare failed, nothing was changed"},
    {CTL_UNREACHABLE, "no endpoint answers, or none has a leader; nothing was changed"},
    {CTL_UNKNOWN, "outcome unknown: a write may or may not have been done"},
    {CTL_INTERRUPTED, "interrupted by SIGINT or SIGTERM"},
};
const size_t ctl_exits_n = N_ELEMENTS(ctl_exits);
