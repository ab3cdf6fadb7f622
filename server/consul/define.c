/* SPDX-License-Identifier: Apache-2.0 */
/* Services and checks as they are registered
 * (https://developer.hashicorp.com/consul/api-docs/agent/service, .../agent/check). */
#include "server/consul/define.h"

#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/json_write.h"
#include "server/core/fetch.h"

enum {
    NS_PER_MS = 1000000,
    INTERVAL_MIN_MS = 1000,
    TIMEOUT_MS = 10000,
    REMOVE_MIN_MS = 60000,
    META_MAX = 64,
    META_KEY_MAX = 128,
    META_VALUE_MAX = 512,
    TTL_MAX_MS = 24 * 3600 * 1000,
};

#define AT(s, m) offsetof(struct s, m)

static const struct body_field check_fields[] = {
    {"ID", BODY_STR, AT(define_check, id), NULL},
    {"CheckID", BODY_STR, AT(define_check, check_id), NULL},
    {"Name", BODY_STR, AT(define_check, name), NULL},
    {"Notes", BODY_STR, AT(define_check, notes), NULL},
    {"ServiceID", BODY_STR, AT(define_check, service_id), NULL},
    {"ServiceName", BODY_SKIPPED, 0, NULL},
    {"ServiceTags", BODY_SKIPPED, 0, NULL},
    {"Node", BODY_STR, AT(define_check, node), NULL},
    {"Status", BODY_STR, AT(define_check, status), NULL},
    {"Output", BODY_STR, AT(define_check, output), NULL},
    {"Type", BODY_STR, AT(define_check, type), NULL},
    {"Interval", BODY_DURATION, AT(define_check, interval), NULL},
    {"Timeout", BODY_DURATION, AT(define_check, timeout), NULL},
    {"TTL", BODY_DURATION, AT(define_check, ttl), NULL},
    {"HTTP", BODY_STR, AT(define_check, http), NULL},
    {"Method", BODY_STR, AT(define_check, method), NULL},
    {"Header", BODY_HEADERS, AT(define_check, headers), NULL},
    {"Body", BODY_STR, AT(define_check, body), NULL},
    {"DisableRedirects", BODY_BOOL, AT(define_check, no_redirects), NULL},
    {"TLSServerName", BODY_STR, AT(define_check, server_name), NULL},
    {"TLSSkipVerify", BODY_BOOL, AT(define_check, skip_verify), NULL},
    {"TCP", BODY_STR, AT(define_check, tcp), NULL},
    {"TCPUseTLS", BODY_BOOL, AT(define_check, tcp_tls), NULL},
    {"UDP", BODY_STR, AT(define_check, udp), NULL},
    {"GRPC", BODY_STR, AT(define_check, grpc), NULL},
    {"GRPCUseTLS", BODY_BOOL, AT(define_check, grpc_tls), NULL},
    {"H2PING", BODY_STR, AT(define_check, h2ping), NULL},
    {"H2PingUseTLS", BODY_JSON, AT(define_check, h2ping_tls), NULL},
    {"Args", BODY_JSON, AT(define_check, args), NULL},
    {"ScriptArgs", BODY_JSON, AT(define_check, args), NULL},
    {"Script", BODY_STR, AT(define_check, args), NULL},
    {"DockerContainerID", BODY_STR, AT(define_check, docker), NULL},
    {"Shell", BODY_SKIPPED, 0, NULL},
    {"OSService", BODY_STR, AT(define_check, os_service), NULL},
    {"AliasNode", BODY_STR, AT(define_check, alias_node), NULL},
    {"AliasService", BODY_STR, AT(define_check, alias_service), NULL},
    {"SuccessBeforePassing", BODY_INT, AT(define_check, passes), NULL},
    {"FailuresBeforeWarning", BODY_INT, AT(define_check, failures_to_warn), NULL},
    {"FailuresBeforeCritical", BODY_INT, AT(define_check, failures_to_fail), NULL},
    {"DeregisterCriticalServiceAfter", BODY_DURATION, AT(define_check, remove_after), NULL},
    {"OutputMaxSize", BODY_INT, AT(define_check, output_max), NULL},
    {"Definition", BODY_JSON, AT(define_check, definition), NULL},
    {"ExposedPort", BODY_SKIPPED, 0, NULL},
    {"CreateIndex", BODY_SKIPPED, 0, NULL},
    {"ModifyIndex", BODY_U64, AT(define_check, index), NULL},
    {"PeerName", BODY_SKIPPED, 0, NULL},
    {"Namespace", BODY_SKIPPED, 0, NULL},
    {"Partition", BODY_SKIPPED, 0, NULL},
    {"Token", BODY_SKIPPED, 0, NULL},
};

const struct body_table define_check_table = {
    "structs.CheckDefinition", sizeof(struct define_check), check_fields, N_ELEMENTS(check_fields)};

static const struct body_field weight_fields[] = {
    {"Passing", BODY_INT, AT(define_weights, passing), NULL},
    {"Warning", BODY_INT, AT(define_weights, warning), NULL},
};
static const struct body_table weights_table = {"structs.Weights", sizeof(struct define_weights),
                                                weight_fields, N_ELEMENTS(weight_fields)};

static const struct body_field service_fields[] = {
    {"ID", BODY_STR, AT(define_service, id), NULL},
    {"Name", BODY_STR, AT(define_service, name), NULL},
    {"Service", BODY_STR, AT(define_service, service), NULL},
    {"Tags", BODY_STRS, AT(define_service, tags), NULL},
    {"Address", BODY_STR, AT(define_service, address), NULL},
    {"Port", BODY_INT, AT(define_service, port), NULL},
    {"TaggedAddresses", BODY_PLACES, AT(define_service, tagged), NULL},
    {"Meta", BODY_PAIRS, AT(define_service, meta), NULL},
    {"Kind", BODY_STR, AT(define_service, kind), NULL},
    {"Weights", BODY_POINTER, AT(define_service, weights), &weights_table},
    {"EnableTagOverride", BODY_BOOL, AT(define_service, overrides_tags), NULL},
    {"Check", BODY_OBJECT, AT(define_service, check), &define_check_table},
    {"Checks", BODY_OBJECTS, AT(define_service, checks), &define_check_table},
    {"Proxy", BODY_JSON, AT(define_service, proxy), NULL},
    {"Connect", BODY_JSON, AT(define_service, connect), NULL},
    {"Locality", BODY_JSON, AT(define_service, locality), NULL},
    {"SocketPath", BODY_SKIPPED, 0, NULL},
    {"Token", BODY_SKIPPED, 0, NULL},
    {"Namespace", BODY_SKIPPED, 0, NULL},
    {"Partition", BODY_SKIPPED, 0, NULL},
    {"PeerName", BODY_SKIPPED, 0, NULL},
    {"Datacenter", BODY_SKIPPED, 0, NULL},
    {"CreateIndex", BODY_SKIPPED, 0, NULL},
    {"ModifyIndex", BODY_U64, AT(define_service, index), NULL},
    {"ContentHash", BODY_SKIPPED, 0, NULL},
};

const struct body_table define_service_table = {"structs.ServiceDefinition",
                                                sizeof(struct define_service), service_fields,
                                                N_ELEMENTS(service_fields)};

static int fault(struct define_fault *f, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int fault(struct define_fault *f, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(f->text, sizeof(f->text), fmt, ap);
    va_end(ap);
    f->status = status;
    return MU_E_BAD_REQUEST;
}

/* --- status --- */

static const char *const status_names[] = {"passing", "warning", "critical"};

const char *define_status_name(enum check_status s)
{
    return status_names[s];
}

int define_status(struct slice s, enum check_status *out)
{
    for (size_t i = 0; i < N_ELEMENTS(status_names); i++) {
        if (slice_eq(s, slice_str(status_names[i]))) {
            *out = (enum check_status)i;
            return 0;
        }
    }
    return MU_E_BAD_REQUEST;
}

static int is_plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < ' ' || s.p[i] == 0x7f) {
            return 0;
        }
    }
    return 1;
}

/* --- checks --- */

static int64_t ms_of(int64_t ns)
{
    return ns <= 0 ? 0 : ns < NS_PER_MS ? 1 : ns / NS_PER_MS;
}

struct kind {
    struct slice target;
    enum check_kind kind;
    const char *name;
};

/* Which it is: exactly one, or a TTL, or none at all (somebody else says how it is). */
static int choose_kind(const struct define_check *d, struct kind *out, struct define_fault *f)
{
    const struct kind kinds[] = {
        {d->http, CHECK_KIND_HTTP, "http"},
        {d->tcp, d->tcp_tls ? CHECK_KIND_TLS : CHECK_KIND_TCP, "tcp"},
        {d->udp, CHECK_KIND_UDP, "udp"},
        {d->grpc, CHECK_KIND_GRPC, "grpc"},
        {d->h2ping, CHECK_KIND_H2PING, "h2ping"},
    };
    *out = (struct kind){.name = ""};
    if (d->args.len != 0 || d->docker.len != 0 || d->os_service.len != 0) {
        return fault(f, 400,
                     "Scripts are disabled on this agent; use an HTTP, TCP, UDP, gRPC, H2PING, "
                     "TTL or alias check");
    }
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        if (kinds[i].target.len != 0) {
            *out = kinds[i];
            break;
        }
    }
    if (out->kind == CHECK_KIND_NONE && (d->alias_node.len != 0 || d->alias_service.len != 0)) {
        *out = (struct kind){d->alias_node, CHECK_KIND_ALIAS, "alias"};
    }
    if (out->kind == CHECK_KIND_NONE && d->ttl > 0) {
        *out = (struct kind){.kind = CHECK_KIND_TTL, .name = "ttl"};
    }
    return 0;
}

static int check_times(const struct define_check *d, enum check_kind kind, struct define_fault *f)
{
    int is_alias = kind == CHECK_KIND_ALIAS;
    if (is_alias && d->interval > 0) {
        return fault(f, 400, "Invalid check: Interval cannot be set for Alias checks");
    }
    if (is_alias && d->ttl > 0) {
        return fault(f, 400, "Invalid check: TTL must be not be set for Alias checks");
    }
    if (d->interval > 0 && d->ttl > 0) {
        return fault(f, 400, "Invalid check: Interval and TTL cannot both be specified");
    }
    int is_run = kind != CHECK_KIND_NONE && kind != CHECK_KIND_TTL && !is_alias;
    if (is_run && d->interval <= 0) {
        return fault(f, 400,
                     "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or "
                     "OSService checks");
    }
    if (d->ttl < 0) {
        return fault(f, 400, "Invalid check: TTL must be > 0 for TTL checks");
    }
    if (kind == CHECK_KIND_NONE && d->interval > 0) {
        return fault(f, 400, "Invalid check: TTL must be > 0 for TTL checks");
    }
    return 0;
}

static int is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!isalnum(s.p[i]) && memchr("!#$%&'*+-.^_`|~", s.p[i], 15) == NULL) {
            return 0;
        }
    }
    return s.len > 0;
}

/* What is sent must be one request and no more. */
static int check_headers(const struct define_check *d, struct define_fault *f)
{
    static const char *const own[] = {"content-length", "transfer-encoding", "connection"};
    struct pair_iter it;
    struct slice k, v;
    int is_bad = 0;
    metadata_begin(&it, d->headers);
    while (!is_bad && metadata_next(&it, &k, &v)) {
        is_bad = !is_token(k) || !is_plain(v);
        for (size_t i = 0; i < N_ELEMENTS(own); i++) {
            is_bad |= k.len == strlen(own[i]) && strncasecmp((const char *)k.p, own[i], k.len) == 0;
        }
    }
    if (is_bad) {
        return fault(f, 400, "Invalid check: the header \"%.*s\" cannot be sent",
                     (int)(k.len < 64 ? k.len : 64), (const char *)k.p);
    }
    if (d->method.len > 16 || (d->method.len != 0 && !is_token(d->method))) {
        return fault(f, 400, "Invalid check: Method must be a token of at most 16 characters");
    }
    return 0;
}

static int check_target(const struct define_check *d, const struct kind *k, struct define_fault *f)
{
    struct probe_target t;
    struct fetch_request q = {.kind = k->kind == CHECK_KIND_GRPC     ? FETCH_GRPC
                                      : k->kind == CHECK_KIND_H2PING ? FETCH_H2PING
                                      : k->kind == CHECK_KIND_TLS    ? FETCH_TLS
                                                                     : FETCH_HTTP,
                              .target = k->target};
    struct err e = {0};
    int rc = 0;
    if (k->kind == CHECK_KIND_TCP || k->kind == CHECK_KIND_UDP) {
        rc = probe_target_parse(CHECK_TCP, k->target, &t, &e);
    } else if (k->kind == CHECK_KIND_HTTP || k->kind == CHECK_KIND_GRPC ||
               k->kind == CHECK_KIND_H2PING || k->kind == CHECK_KIND_TLS) {
        rc = fetch_check(&q, &e);
    }
    if (rc == 0 && (d->server_name.len > 255 || !is_plain(d->server_name))) {
        rc = err_set(&e, MU_E_BAD_REQUEST, "TLSServerName is no name of a host");
    }
    return rc != 0 ? fault(f, 400, "Invalid check: %.200s", e.text) : check_headers(d, f);
}

static uint32_t small(int64_t n)
{
    return n <= 0 ? 0 : n > 1000000 ? 1000000 : (uint32_t)n;
}

static void fill_run(const struct define_check *d, const struct kind *k, struct check_run *out)
{
    int64_t interval = ms_of(d->interval), timeout = ms_of(d->timeout);
    *out = (struct check_run){
        .kind = k->kind,
        .target = k->target,
        .alias_service = d->alias_service,
        .method = d->method,
        .body = d->body,
        .server_name = d->server_name,
        .headers = d->headers,
        .passes_needed = small(d->passes),
        .failures_to_warn = small(d->failures_to_warn),
        .failures_to_fail = small(d->failures_to_fail),
        .output_max = small(d->output_max),
        .use_tls =
            k->kind == CHECK_KIND_GRPC ? d->grpc_tls : !slice_eq(d->h2ping_tls, SLICE_LIT("false")),
        .skip_verify = d->skip_verify,
        .no_redirects = d->no_redirects,
    };
    if (k->kind != CHECK_KIND_TTL && k->kind != CHECK_KIND_NONE) {
        out->interval_ms = interval < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : interval;
        out->timeout_ms = timeout > 0 ? timeout : TIMEOUT_MS;
    }
}

/* Of the catalog, whose checks somebody else runs: what its definition says. */
static const char *type_of_definition(struct slice text)
{
    static const struct {
        const char *member, *type;
    } types[] = {{"HTTP", "http"}, {"TCP", "tcp"}, {"UDP", "udp"}, {"GRPC", "grpc"}};
    json_t *doc = json_loadb((const char *)text.p, text.len, 0, NULL);
    const char *type = "";
    for (size_t i = 0; i < N_ELEMENTS(types) && type[0] == '\0'; i++) {
        if (json_string_length(json_object_get(doc, types[i].member)) > 0) {
            type = types[i].type;
        }
    }
    json_decref(doc);
    return type;
}

int define_check_row(const struct define_check *d, struct check_row *out, struct define_fault *f)
{
    struct kind k;
    *out = (struct check_row){.status = CHECK_CRITICAL, .remove_after_ms = REMOVE_NEVER};
    int rc = choose_kind(d, &k, f);
    rc = rc != 0 ? rc : check_times(d, k.kind, f);
    rc = rc != 0 ? rc : check_target(d, &k, f);
    if (rc != 0) {
        return rc;
    }
    if (d->status.len != 0 && define_status(d->status, &out->status) != 0) {
        return fault(f, 400, "Status for checks must 'passing', 'warning', 'critical'");
    }
    out->name = d->name;
    out->notes = d->notes;
    out->output =
        slice_of(d->output.p, d->output.len < CHECK_OUTPUT_MAX ? d->output.len : CHECK_OUTPUT_MAX);
    out->type_name = d->type.len != 0 ? d->type : slice_str(k.name);
    if (out->type_name.len == 0 && d->definition.len != 0) {
        out->type_name = slice_str(type_of_definition(d->definition));
    }
    out->definition = d->definition;
    out->ttl_ms = k.kind == CHECK_KIND_TTL ? ms_of(d->ttl) : 0;
    out->ttl_ms = out->ttl_ms > TTL_MAX_MS ? TTL_MAX_MS : out->ttl_ms;
    if (d->remove_after > 0) {
        int64_t ms = ms_of(d->remove_after);
        out->remove_after_ms = ms < REMOVE_MIN_MS ? REMOVE_MIN_MS : ms;
    }
    fill_run(d, &k, &out->run);
    return 0;
}

/* --- services --- */

static int is_meta_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!isalnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_') {
            return 0;
        }
    }
    return s.len > 0;
}

static int check_meta(struct slice meta, struct define_fault *f)
{
    struct pair_iter it;
    struct slice k, v;
    size_t n = 0;
    const char *why = NULL;
    metadata_begin(&it, meta);
    while (why == NULL && metadata_next(&it, &k, &v)) {
        why = !is_meta_name(k)         ? "Key contains invalid characters"
              : k.len > META_KEY_MAX   ? "Key is too long (limit: 128 characters)"
              : v.len > META_VALUE_MAX ? "Value is too long (limit: 512 characters)"
              : slice_has_prefix(k, SLICE_LIT("consul-"))
                  ? "Key prefix 'consul-' is reserved for internal use"
                  : NULL;
        n++;
    }
    if (n > META_MAX) {
        return fault(f, 400,
                     "Invalid Service Meta: Node metadata cannot contain more than 64 key/value "
                     "pairs");
    }
    if (why != NULL) {
        return fault(f, 400,
                     "Invalid Service Meta: Couldn't load metadata pair ('%.*s', '%.*s'): %s",
                     (int)(k.len < 40 ? k.len : 40), (const char *)k.p,
                     (int)(v.len < 40 ? v.len : 40), (const char *)v.p, why);
    }
    return 0;
}

/* The catalog takes 0 for what was not given: Go's client tells all members. */
static int check_weights(const struct define_weights *w, int is_strict, struct define_fault *f)
{
    const char *why = NULL;
    if (w != NULL && (w->passing < 0 || (is_strict && w->passing == 0))) {
        why = "Passing must be greater than 0";
    } else if (w != NULL && w->warning < 0) {
        why = "Warning must be greater or equal than 0";
    } else if (w != NULL && (w->passing > 65535 || w->warning > 65535)) {
        why = "DNS Weight must be between 0 and 65535";
    }
    return why != NULL ? fault(f, 400, "Invalid Weights: %s", why) : 0;
}

static void put_json(struct jw *w, const char *name, struct slice json)
{
    if (json.len != 0) {
        jw_key(w, name);
        jw_json(w, json);
    }
}

/* What only this face tells, when there is something; else nothing. */
static void put_extra(const struct define_service *d, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    put_json(&w, "TaggedAddresses", d->tagged);
    put_json(&w, "Proxy", d->proxy);
    put_json(&w, "Connect", d->connect);
    put_json(&w, "Locality", d->locality);
    if (d->kind.len != 0) {
        jw_key(&w, "Kind");
        jw_slice(&w, d->kind);
    }
    if (d->weights != NULL && d->weights->passing > 0 &&
        (d->weights->passing != 1 || d->weights->warning != 1)) {
        jw_key(&w, "Weights");
        jw_obj(&w);
        jw_key(&w, "Passing");
        jw_i64(&w, d->weights->passing);
        jw_key(&w, "Warning");
        jw_i64(&w, d->weights->warning);
        jw_end(&w);
    }
    if (d->overrides_tags) {
        jw_key(&w, "EnableTagOverride");
        jw_bool(&w, 1);
    }
    jw_end(&w);
    if (out->len == 2) {
        buf_clear(out);
    }
}

int define_service_row(const struct define_service *d, struct buf *extra, struct instance_row *out,
                       struct define_fault *f)
{
    struct slice name = d->name.len != 0 ? d->name : d->service;
    struct slice id = d->id.len != 0 ? d->id : name;
    if (name.len == 0) {
        return fault(f, 400, "Missing service name");
    }
    if (name.len > KEY_NAME_MAX || id.len > KEY_NAME_MAX / 2 || !is_plain(name) || !is_plain(id)) {
        return fault(f, 400,
                     "Service name and ID have at most %d and %d bytes, no control characters",
                     KEY_NAME_MAX, KEY_NAME_MAX / 2);
    }
    if (slice_eq(d->address, SLICE_LIT("0.0.0.0")) || slice_eq(d->address, SLICE_LIT("::")) ||
        slice_eq(d->address, SLICE_LIT("[::]"))) {
        return fault(f, 400, "Invalid service address");
    }
    if (d->address.len > 255 || !is_plain(d->address)) {
        return fault(f, 400, "Invalid service address: at most 255 bytes, no control characters");
    }
    if (d->port < 0 || d->port > 65535) {
        return fault(f, 400, "Invalid service port: %lld is not between 0 and 65535",
                     (long long)d->port);
    }
    if (check_weights(d->weights, d->is_strict, f) != 0) {
        return MU_E_BAD_REQUEST;
    }
    if (check_meta(d->meta, f) != 0) {
        return MU_E_BAD_REQUEST;
    }
    put_extra(d, extra);
    *out = (struct instance_row){
        .service_id = id,
        .address = d->address,
        .port = (uint16_t)d->port,
        .weight = d->weights != NULL && d->weights->passing > 0 ? (double)d->weights->passing : 1,
        .is_enabled = 1,
        .remove_after_ms = REMOVE_NEVER,
        .tags = d->tags,
        .metadata = d->meta,
        .extra = buf_slice(extra),
    };
    return 0;
}
