/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/filter_fields.h"

#define TABLE(fields)              \
    {                              \
        fields, N_ELEMENTS(fields) \
    }

static const struct field address_fields[] = {
    {"Address", FIELD_STR, NULL},
    {"Port", FIELD_INT, NULL},
};
static const struct field_table address = TABLE(address_fields);

static const struct field weight_fields[] = {
    {"Passing", FIELD_INT, NULL},
    {"Warning", FIELD_INT, NULL},
};
static const struct field_table weights = TABLE(weight_fields);

static const struct field connect_fields[] = {
    {"Native", FIELD_BOOL, NULL},
};
static const struct field_table connect = TABLE(connect_fields);

static const struct field proxy_fields[] = {
    {"DestinationServiceName", FIELD_STR, NULL}, {"DestinationServiceID", FIELD_STR, NULL},
    {"LocalServiceAddress", FIELD_STR, NULL},    {"LocalServicePort", FIELD_INT, NULL},
    {"LocalServiceSocketPath", FIELD_STR, NULL}, {"Mode", FIELD_STR, NULL},
};
static const struct field_table proxy = TABLE(proxy_fields);

static const struct field node_fields[] = {
    {"ID", FIELD_STR, NULL},       {"Node", FIELD_STR, NULL},
    {"Address", FIELD_STR, NULL},  {"Datacenter", FIELD_STR, NULL},
    {"PeerName", FIELD_STR, NULL}, {"TaggedAddresses", FIELD_MAP, NULL},
    {"Meta", FIELD_MAP, NULL},     {"Partition", FIELD_STR, NULL},
};
static const struct field_table node = TABLE(node_fields);

static const struct field service_fields[] = {
    {"Kind", FIELD_STR, NULL},
    {"ID", FIELD_STR, NULL},
    {"Service", FIELD_STR, NULL},
    {"Tags", FIELD_STRS, NULL},
    {"Address", FIELD_STR, NULL},
    {"SocketPath", FIELD_STR, NULL},
    {"TaggedAddresses", FIELD_STRUCT_MAP, &address},
    {"Meta", FIELD_MAP, NULL},
    {"Port", FIELD_INT, NULL},
    {"Weights", FIELD_STRUCT, &weights},
    {"EnableTagOverride", FIELD_BOOL, NULL},
    {"Proxy", FIELD_STRUCT, &proxy},
    {"Connect", FIELD_STRUCT, &connect},
    {"PeerName", FIELD_STR, NULL},
    {"Namespace", FIELD_STR, NULL},
    {"Partition", FIELD_STR, NULL},
    {"Datacenter", FIELD_STR, NULL},
};
static const struct field_table service = TABLE(service_fields);

static const struct field service_node_fields[] = {
    {"ID", FIELD_STR, NULL},
    {"Node", FIELD_STR, NULL},
    {"Address", FIELD_STR, NULL},
    {"Datacenter", FIELD_STR, NULL},
    {"TaggedAddresses", FIELD_MAP, NULL},
    {"NodeMeta", FIELD_MAP, NULL},
    {"ServiceKind", FIELD_STR, NULL},
    {"ServiceID", FIELD_STR, NULL},
    {"ServiceName", FIELD_STR, NULL},
    {"ServiceTags", FIELD_STRS, NULL},
    {"ServiceAddress", FIELD_STR, NULL},
    {"ServiceTaggedAddresses", FIELD_STRUCT_MAP, &address},
    {"ServiceWeights", FIELD_STRUCT, &weights},
    {"ServiceMeta", FIELD_MAP, NULL},
    {"ServicePort", FIELD_INT, NULL},
    {"ServiceSocketPath", FIELD_STR, NULL},
    {"ServiceEnableTagOverride", FIELD_BOOL, NULL},
    {"ServiceProxy", FIELD_STRUCT, &proxy},
    {"ServiceConnect", FIELD_STRUCT, &connect},
    {"PeerName", FIELD_STR, NULL},
};
static const struct field_table service_node = TABLE(service_node_fields);

static const struct field check_fields[] = {
    {"Node", FIELD_STR, NULL},         {"CheckID", FIELD_STR, NULL},
    {"Name", FIELD_STR, NULL},         {"Status", FIELD_STR, NULL},
    {"Notes", FIELD_STR, NULL},        {"Output", FIELD_STR, NULL},
    {"ServiceID", FIELD_STR, NULL},    {"ServiceName", FIELD_STR, NULL},
    {"ServiceTags", FIELD_STRS, NULL}, {"Type", FIELD_STR, NULL},
    {"ExposedPort", FIELD_INT, NULL},  {"Interval", FIELD_STR, NULL},
    {"Timeout", FIELD_STR, NULL},      {"PeerName", FIELD_STR, NULL},
};
static const struct field_table check = TABLE(check_fields);

static const struct field health_fields[] = {
    {"Node", FIELD_STRUCT, &node},
    {"Service", FIELD_STRUCT, &service},
    {"Checks", FIELD_STRUCTS, &check},
};
static const struct field_table health = TABLE(health_fields);

const struct field_table *filter_table(enum filter_kind kind)
{
    static const struct field_table *const tables[] = {
        [FILTER_NODE] = &node,       [FILTER_SERVICE_NODE] = &service_node,
        [FILTER_SERVICE] = &service, [FILTER_HEALTH] = &health,
        [FILTER_CHECK] = &check,
    };
    return tables[kind];
}

const struct field *filter_field(const struct field_table *t, struct slice name)
{
    for (size_t i = 0; t != NULL && i < t->n; i++) {
        if (slice_eq(name, slice_str(t->fields[i].name))) {
            return &t->fields[i];
        }
    }
    return NULL;
}

#define BIT(op) (1U << (op))

int filter_field_takes(enum field_type type, enum match_op op)
{
    static const unsigned equal = BIT(MATCH_EQUAL) | BIT(MATCH_NOT_EQUAL);
    static const unsigned in = BIT(MATCH_IN) | BIT(MATCH_NOT_IN);
    static const unsigned empty = BIT(MATCH_EMPTY) | BIT(MATCH_NOT_EMPTY);
    static const unsigned regex = BIT(MATCH_REGEX) | BIT(MATCH_NOT_REGEX);
    const unsigned takes[] = {
        [FIELD_STR] = equal | in | regex,
        [FIELD_BOOL] = equal,
        [FIELD_INT] = equal,
        [FIELD_STRS] = in | empty,
        [FIELD_MAP] = in | empty,
        [FIELD_STRUCT] = 0,
        [FIELD_STRUCTS] = empty,
        [FIELD_STRUCT_MAP] = in | empty,
    };
    return (takes[type] & BIT(op)) != 0;
}

const char *filter_op_name(enum match_op op)
{
    static const char *const names[] = {"Equal",    "Not Equal",    "In",      "Not In",
                                        "Is Empty", "Is Not Empty", "Matches", "Not Matches"};
    return names[op];
}
