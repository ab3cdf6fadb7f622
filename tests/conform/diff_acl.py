# SPDX-License-Identifier: Apache-2.0
"""The requests of consul_diff.py where access control is on: the same reads and writes with each of many tokens; tokens, policies and roles themselves."""
import json

ROOT_TOKEN = "00000000-0000-4000-8000-00000000a007"
NOBODY = "no token"

# Each is a token with one policy of these rules; the secret is drawn from the name's place.
RULES = {
    "key_read": 'key_prefix "p/" { policy = "read" } key "p/secret" { policy = "deny" }',
    "key_write": 'key_prefix "p/" { policy = "write" } key_prefix "p/shut/" { policy = "read" } key "exact" { policy = "write" }',
    "key_list": 'key_prefix "p/" { policy = "list" } key "exact" { policy = "list" }',
    "key_json": '{"key_prefix": {"p/": {"policy": "read"}, "": {"policy": "deny"}}}',
    "key_longer": 'key_prefix "" { policy = "deny" } key_prefix "p/" { policy = "read" } key_prefix "p/w" { policy = "write" } key "p/w" { policy = "deny" }',
    "service_read": 'service_prefix "web" { policy = "read" } service "web-db" { policy = "deny" }',
    "service_node_read": 'service_prefix "web" { policy = "read" } node_prefix "" { policy = "read" }',
    "service_write": 'service "web-api" { policy = "write" } node "n1" { policy = "read" }',
    "service_all": 'service_prefix "" { policy = "write" }',
    "node_read": 'node_prefix "n" { policy = "read" } node "n2" { policy = "deny" }',
    "node_write": 'node "n1" { policy = "write" }',
    "node_all": 'node_prefix "" { policy = "write" }',
    "session_read": 'session_prefix "" { policy = "read" }',
    "session_write": 'session "node1" { policy = "write" } session "n1" { policy = "read" } key_prefix "lock/" { policy = "write" }',
    "event_read": 'event "deploy" { policy = "read" }',
    "event_write": 'event_prefix "dep" { policy = "write" }',
    "query_read": 'query "qa" { policy = "read" }',
    "query_write": 'query_prefix "q" { policy = "write" } service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }',
    "agent_read": 'agent_prefix "" { policy = "read" }',
    "agent_write": 'agent "node1" { policy = "write" }',
    "operator_read": 'operator = "read"',
    "operator_write": 'operator = "write"',
    "acl_read": 'acl = "read"',
    "acl_write": 'acl = "write"',
    "keyring_read": 'keyring = "read"',
    "nothing": "",
}
SECRETS = {name: "00000000-0000-4000-8000-%012x" % (i + 1) for i, name in enumerate(RULES)}
ACCESSORS = {name: "00000000-0000-4000-9000-%012x" % (i + 1) for i, name in enumerate(RULES)}
OTHERS = {"role": 0xe1, "identity": 0xe2, "node_identity": 0xe3, "mixed": 0xe4}
SECRETS.update({name: "00000000-0000-4000-8000-%012x" % n for name, n in OTHERS.items()})
TOKENS = {**SECRETS, NOBODY: None, "unknown": "00000000-0000-4000-8000-00000000dead", "no id": "x"}

READS = [
    "/v1/kv/p/a", "/v1/kv/p/secret", "/v1/kv/p/none", "/v1/kv/exact", "/v1/kv/other", "/v1/kv/p/?recurse", "/v1/kv/?recurse", "/v1/kv/p/?keys", "/v1/kv/?keys", "/v1/kv/?keys&separator=/", "/v1/kv/p/a?raw", "/v1/kv/none?recurse",
    "/v1/kv/p/w",
    "/v1/catalog/nodes", "/v1/catalog/services", "/v1/catalog/service/web", "/v1/catalog/service/web-db", "/v1/catalog/service/none", "/v1/catalog/node/n1", "/v1/catalog/node/n2", "/v1/catalog/node/none",
    "/v1/catalog/node-services/n1", "/v1/catalog/datacenters",
    "/v1/health/service/web", "/v1/health/service/web?passing", "/v1/health/service/web-db", "/v1/health/checks/web", "/v1/health/checks/web-db", "/v1/health/node/n1", "/v1/health/node/n2", "/v1/health/state/any", "/v1/health/state/critical",
    "/v1/session/list", "/v1/session/node/node1", "/v1/session/node/n1", "/v1/session/info/<s_node1>", "/v1/session/info/<s_n1>", "/v1/session/info/11111111-1111-1111-1111-111111111111",
    "/v1/event/list", "/v1/event/list?name=deploy",
    "/v1/query", "/v1/query/<qa>", "/v1/query/<anonymous>", "/v1/query/qa/execute", "/v1/query/<anonymous>/execute", "/v1/query/qa/explain", "/v1/query/none/execute",
    "/v1/agent/services", "/v1/agent/checks", "/v1/agent/service/web-own", "/v1/agent/service/none", "/v1/agent/self", "/v1/agent/members", "/v1/agent/metrics", "/v1/agent/host", "/v1/agent/health/service/id/web-own", "/v1/agent/health/service/name/web-own",
    "/v1/operator/raft/configuration", "/v1/operator/autopilot/configuration", "/v1/operator/autopilot/health",
    "/v1/acl/tokens", "/v1/acl/policies", "/v1/acl/roles", "/v1/acl/token/self", "/v1/acl/token/" + ACCESSORS["key_read"], "/v1/acl/policy/name/key_read", "/v1/acl/policy/<p_key_read>", "/v1/acl/role/name/r1", "/v1/acl/replication", "/v1/acl/auth-methods", "/v1/acl/binding-rules",
    "/v1/coordinate/nodes", "/v1/coordinate/node/n1", "/v1/coordinate/datacenters",
    "/v1/config/service-defaults", "/v1/config/service-defaults/web", "/v1/config/proxy-defaults/global",
    "/v1/internal/ui/nodes", "/v1/internal/ui/node/n1", "/v1/internal/ui/services",
    "/v1/status/leader", "/v1/status/peers", "/v1/snapshot",
]


def kv(verb, key, **more):
    return {"KV": {"Verb": verb, "Key": key, **more}}


TXNS = [
    [kv("get", "p/a"), kv("get", "exact")], [kv("get-tree", "p/")], [kv("set", "p/txn", Value="MQ==")], [kv("set", "p/txn", Value="MQ=="), kv("set", "other", Value="MQ==")], [kv("delete", "exact-not")], [kv("delete-tree", "p/none/")],
    [kv("check-not-exists", "nothing")], [kv("cas", "p/txn", Value="MQ==", Index=1)], [kv("get", "p/none")], [kv("set", "p/txn", Value="MQ=="), kv("get", "other")],
    [{"Node": {"Verb": "get", "Node": {"Node": "n1"}}}], [{"Node": {"Verb": "set", "Node": {"Node": "n1", "Address": "10.2.0.1"}}}], [{"Node": {"Verb": "set", "Node": {"Node": "m1", "Address": "10.2.0.9"}}}], [{"Node": {"Verb": "delete", "Node": {"Node": "m1"}}}],
    [{"Service": {"Verb": "get", "Node": "n1", "Service": {"ID": "web"}}}], [{"Service": {"Verb": "set", "Node": "n1", "Service": {"ID": "web-api", "Service": "web-api", "Port": 7}}}], [{"Service": {"Verb": "delete", "Node": "n1", "Service": {"ID": "web-gone"}}}],
    [{"Check": {"Verb": "get", "Check": {"Node": "n1", "CheckID": "c-web"}}}], [{"Check": {"Verb": "set", "Check": {"Node": "n1", "CheckID": "c-api", "Name": "c", "Status": "passing", "ServiceID": "web-api"}}}],
    [{"Check": {"Verb": "set", "Check": {"Node": "n1", "CheckID": "c-n1", "Name": "c", "Status": "passing"}}}],
]

WRITES = [
    ("PUT", "/v1/kv/p/a", b"1"), ("PUT", "/v1/kv/p/shut/x", b"1"), ("PUT", "/v1/kv/exact", b"1"), ("PUT", "/v1/kv/exact2", b"1"), ("PUT", "/v1/kv/p/a?cas=1", b"1"), ("PUT", "/v1/kv/p/a?acquire=11111111-1111-1111-1111-111111111111", b"1"),
    ("DELETE", "/v1/kv/p/none", None), ("DELETE", "/v1/kv/p/none?recurse", None), ("DELETE", "/v1/kv/p/?recurse&cas=1", None), ("DELETE", "/v1/kv/exact2", None),
    ("PUT", "/v1/catalog/register", {"Node": "n1", "Address": "10.2.0.1"}), ("PUT", "/v1/catalog/register", {"Node": "n1", "Address": "10.2.0.7"}), ("PUT", "/v1/catalog/register", {"Node": "n1", "Address": "10.2.0.1"}),
    ("PUT", "/v1/catalog/register", {"Node": "n1", "Address": "10.2.0.1", "Service": {"ID": "web-api", "Service": "web-api", "Port": 7}}),
    ("PUT", "/v1/catalog/register", {"Node": "n1", "Address": "10.2.0.1", "Service": {"ID": "web-api", "Service": "web-api", "Port": 8}, "Check": {"CheckID": "c-api", "Name": "c", "Status": "passing", "ServiceID": "web-api"}}),
    ("PUT", "/v1/catalog/register", {"Node": "n1", "Address": "10.2.0.1", "Service": {"ID": "web-api", "Service": "web-other", "Port": 8}}),
    ("PUT", "/v1/catalog/register", {"Node": "n1", "Address": "10.2.0.1", "Check": {"CheckID": "c-n1", "Name": "c", "Status": "passing"}}), ("PUT", "/v1/catalog/register", {"Node": "n1", "SkipNodeUpdate": True, "Service": {"ID": "web-api", "Service": "web-api", "Port": 7}}),
    ("PUT", "/v1/catalog/register", {"Node": "m2", "Address": "10.2.0.8"}),
    ("PUT", "/v1/catalog/deregister", {"Node": "n1", "ServiceID": "web-none"}), ("PUT", "/v1/catalog/deregister", {"Node": "n1", "CheckID": "c-api"}), ("PUT", "/v1/catalog/deregister", {"Node": "m2"}), ("PUT", "/v1/catalog/deregister", {"Node": "none"}),
    ("PUT", "/v1/agent/service/register", {"Name": "web-api", "ID": "a-api", "Port": 9}), ("PUT", "/v1/agent/service/register", {"Name": "zzz", "ID": "a-zzz", "Port": 9}), ("PUT", "/v1/agent/service/maintenance/web-own?enable=true", None),
    ("PUT", "/v1/agent/service/maintenance/web-own?enable=false", None), ("PUT", "/v1/agent/check/pass/service:web-own", None), ("PUT", "/v1/agent/check/update/service:web-own", {"Status": "passing"}),
    ("PUT", "/v1/agent/check/register", {"Name": "a-check", "TTL": "60s"}), ("PUT", "/v1/agent/check/register", {"Name": "a-scheck", "TTL": "60s", "ServiceID": "web-own"}), ("PUT", "/v1/agent/check/deregister/a-check", None),
    ("PUT", "/v1/agent/check/deregister/a-scheck", None), ("PUT", "/v1/agent/service/deregister/a-api", None), ("PUT", "/v1/agent/service/deregister/a-zzz", None), ("PUT", "/v1/agent/maintenance?enable=false", None), ("PUT", "/v1/agent/force-leave/nope", None),
    ("PUT", "/v1/session/create", {"Name": "s"}), ("PUT", "/v1/session/create", {"Node": "n1", "Checks": []}), ("PUT", "/v1/session/renew/<s_node1>", None), ("PUT", "/v1/session/renew/<s_n1>", None),
    ("PUT", "/v1/session/destroy/11111111-1111-1111-1111-111111111111", None),
    ("PUT", "/v1/event/fire/deploy", b"1"), ("PUT", "/v1/event/fire/other", b"1"),
    ("POST", "/v1/query", {"Name": "qa", "Service": {"Service": "web"}}), ("PUT", "/v1/query/<qa>", {"Name": "qa", "Service": {"Service": "web"}}), ("PUT", "/v1/query/<qa>", {"Name": "xx", "Service": {"Service": "web"}}), ("DELETE", "/v1/query/11111111-1111-1111-1111-111111111111", None),
    ("PUT", "/v1/query/<qa>", {"Name": "qa", "Service": {"Service": "web"}}),
    ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "web", "Protocol": "http"}), ("PUT", "/v1/config", {"Kind": "proxy-defaults", "Name": "global"}), ("DELETE", "/v1/config/service-defaults/none", None),
    ("PUT", "/v1/operator/autopilot/configuration?cas=1", {"CleanupDeadServers": True}), ("DELETE", "/v1/operator/raft/peer?address=nope", None),
    ("PUT", "/v1/coordinate/update", {"Node": "n1", "Coord": {"Vec": [0, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Adjustment": 0, "Height": 0.00001}}),
    ("PUT", "/v1/acl/bootstrap", None), ("PUT", "/v1/acl/policy", {"Name": "bad name"}), ("PUT", "/v1/acl/role", {"Name": "bad name"}), ("PUT", "/v1/acl/token", {"Policies": [{"Name": "none"}]}), ("PUT", "/v1/acl/token/" + ACCESSORS["nothing"], {"Description": "nothing"}),
    ("DELETE", "/v1/acl/policy/11111111-1111-1111-1111-111111111111", None), ("DELETE", "/v1/acl/role/11111111-1111-1111-1111-111111111111", None), ("DELETE", "/v1/acl/token/11111111-1111-1111-1111-111111111111", None),
    ("POST", "/v1/internal/acl/authorize", [{"Resource": "key", "Segment": "p/a", "Access": "read"}, {"Resource": "key", "Segment": "p/a", "Access": "write"}, {"Resource": "service", "Segment": "web", "Access": "read"}, {"Resource": "operator", "Access": "write"}]),
    *(("PUT", "/v1/txn", t) for t in TXNS),
]

MANAGE = [
    # policies
    ("PUT", "/v1/acl/policy", {"Name": "pol1", "Description": "d", "Rules": 'key "x" { policy = "read" }', "Datacenters": ["dc1"]}, "pol1"), ("PUT", "/v1/acl/policy", {"Name": "pol1"}, None), ("PUT", "/v1/acl/policy", {}, None),
    ("PUT", "/v1/acl/policy", {"Name": "x" * 129}, None), ("PUT", "/v1/acl/policy", {"Name": "pol2", "Rules": "key {"}, None), ("PUT", "/v1/acl/policy", {"Name": "pol2", "Rules": 'key "x" { policy = "odd" }'}, None), ("PUT", "/v1/acl/policy", {"Name": "pol2", "Rules": 'acl = "odd"'}, None),
    ("PUT", "/v1/acl/policy", {"Name": "pol2", "ID": "x"}, None), ("PUT", "/v1/acl/policy", b"{", None), ("PUT", "/v1/acl/policy", b"", None), ("PUT", "/v1/acl/policy", b"[]", None), ("PUT", "/v1/acl/policy", {"Name": "pol2", "Odd": 1}, None),
    ("GET", "/v1/acl/policy/<pol1>", None, None), ("GET", "/v1/acl/policy/name/pol1", None, None), ("GET", "/v1/acl/policy/name/none", None, None), ("GET", "/v1/acl/policy/x", None, None), ("GET", "/v1/acl/policy/", None, None),
    ("GET", "/v1/acl/policy/11111111-1111-1111-1111-111111111111", None, None), ("GET", "/v1/acl/policy/name/", None, None),
    ("PUT", "/v1/acl/policy/<pol1>", {"Name": "pol1", "Description": "other", "Rules": 'key "y" { policy = "write" }'}, None), ("PUT", "/v1/acl/policy/<pol1>", {"ID": "<pol1>", "Name": "pol1-b"}, None), ("PUT", "/v1/acl/policy/<pol1>", {"Name": "key_read"}, None),
    ("PUT", "/v1/acl/policy/<pol1>", {"ID": "11111111-1111-1111-1111-111111111111", "Name": "pol1"}, None), ("PUT", "/v1/acl/policy/11111111-1111-1111-1111-111111111111", {"Name": "pol9"}, None), ("PUT", "/v1/acl/policy/<pol1>", b"{", None),
    ("PUT", "/v1/acl/policy/00000000-0000-0000-0000-000000000001", {"Name": "global-management", "Rules": ""}, None), ("PUT", "/v1/acl/policy/00000000-0000-0000-0000-000000000001", {"Name": "renamed"}, None),
    ("DELETE", "/v1/acl/policy/00000000-0000-0000-0000-000000000001", None, None), ("GET", "/v1/acl/policy/00000000-0000-0000-0000-000000000001", None, None),
    # roles
    ("PUT", "/v1/acl/role", {"Name": "role1", "Description": "d", "Policies": [{"Name": "pol1-b"}, {"ID": "<pol1>"}]}, "role1"), ("PUT", "/v1/acl/role", {"Name": "role1"}, None), ("PUT", "/v1/acl/role", {}, None), ("PUT", "/v1/acl/role", {"Name": "role2"}, None),
    ("PUT", "/v1/acl/role", {"Name": "role2", "Policies": [{"Name": "none"}]}, None), ("PUT", "/v1/acl/role", {"Name": "role2", "Policies": [{"ID": "11111111-1111-1111-1111-111111111111"}]}, None),
    ("PUT", "/v1/acl/role", {"Name": "role2", "ServiceIdentities": [{"ServiceName": "web"}, {"ServiceName": "db", "Datacenters": ["dc1"]}]}, "role2"), ("PUT", "/v1/acl/role", {"Name": "role3", "ServiceIdentities": [{"ServiceName": ""}]}, None),
    ("PUT", "/v1/acl/role", {"Name": "role3", "ServiceIdentities": [{"ServiceName": "A b"}]}, None), ("PUT", "/v1/acl/role", {"Name": "role3", "NodeIdentities": [{"NodeName": "n", "Datacenter": "dc1"}]}, "role3"), ("PUT", "/v1/acl/role", {"Name": "role4", "NodeIdentities": [{"NodeName": "n"}]}, None),
    ("PUT", "/v1/acl/role", b"{", None), ("GET", "/v1/acl/role/<role1>", None, None), ("GET", "/v1/acl/role/name/role2", None, None), ("GET", "/v1/acl/role/name/none", None, None), ("GET", "/v1/acl/role/11111111-1111-1111-1111-111111111111", None, None), ("GET", "/v1/acl/role/x", None, None),
    ("PUT", "/v1/acl/role/<role1>", {"Name": "role1-b", "Policies": []}, None), ("PUT", "/v1/acl/role/<role1>", {"Name": "role1-b", "Policies": [{"Name": "key_read"}]}, None), ("PUT", "/v1/acl/role/11111111-1111-1111-1111-111111111111", {"Name": "role9"}, None),
    ("PUT", "/v1/acl/role/<role1>", {"Name": "role2", "Policies": [{"Name": "key_read"}]}, None), ("GET", "/v1/acl/roles", None, None), ("GET", "/v1/acl/roles?policy=<p_key_read>", None, None), ("GET", "/v1/acl/roles?policy=x", None, None),
    # tokens
    ("PUT", "/v1/acl/token", {"Description": "t1", "Policies": [{"Name": "pol1-b"}], "Roles": [{"Name": "role2"}]}, "t1"), ("PUT", "/v1/acl/token", {"Policies": [{"Name": "none"}]}, None), ("PUT", "/v1/acl/token", {"Roles": [{"Name": "none"}]}, None), ("PUT", "/v1/acl/token", {}, "t2"),
    ("PUT", "/v1/acl/token", {"Policies": [{"ID": "11111111-1111-1111-1111-111111111111"}]}, None), ("PUT", "/v1/acl/token", {"AccessorID": "x"}, None), ("PUT", "/v1/acl/token", {"SecretID": "x"}, None), ("PUT", "/v1/acl/token", {"AccessorID": ACCESSORS["nothing"]}, None),
    ("PUT", "/v1/acl/token", {"SecretID": SECRETS["nothing"]}, None), ("PUT", "/v1/acl/token", {"AccessorID": "00000000-0000-0000-0000-000000000002"}, None), ("PUT", "/v1/acl/token", {"AccessorID": "00000000-0000-0000-0000-000000000009"}, None),
    ("PUT", "/v1/acl/token", {"ExpirationTTL": "1s"}, None), ("PUT", "/v1/acl/token", {"ExpirationTTL": "25h"}, None), ("PUT", "/v1/acl/token", {"ExpirationTTL": "-1s"}, None), ("PUT", "/v1/acl/token", {"ExpirationTTL": "x"}, None),
    ("PUT", "/v1/acl/token", {"ExpirationTime": "2020-01-01T00:00:00Z"}, None), ("PUT", "/v1/acl/token", {"ExpirationTTL": "1h", "ExpirationTime": "2030-01-01T00:00:00Z"}, None), ("PUT", "/v1/acl/token", {"ServiceIdentities": [{"ServiceName": ""}]}, None),
    ("PUT", "/v1/acl/token", {"ServiceIdentities": [{"ServiceName": "web", "Datacenters": ["dc1"]}], "Local": True}, None), ("PUT", "/v1/acl/token", {"ServiceIdentities": [{"ServiceName": "web", "Datacenters": ["dc1"]}]}, None), ("PUT", "/v1/acl/token", {"NodeIdentities": [{"NodeName": "n"}]}, None),
    ("PUT", "/v1/acl/token", b"{", None), ("PUT", "/v1/acl/token", b"", None), ("PUT", "/v1/acl/token", {"Rules": "x", "Type": "client"}, None), ("PUT", "/v1/acl/token", {"Odd": 1}, None),
    ("GET", "/v1/acl/token/<t1>", None, None), ("GET", "/v1/acl/token/11111111-1111-1111-1111-111111111111", None, None), ("GET", "/v1/acl/token/x", None, None), ("GET", "/v1/acl/token/", None, None), ("GET", "/v1/acl/token/00000000-0000-0000-0000-000000000002", None, None),
    ("PUT", "/v1/acl/token/<t1>", {"Description": "changed", "Policies": [{"Name": "key_read"}]}, None), ("PUT", "/v1/acl/token/<t1>", {"AccessorID": "<t1>", "Local": True}, None), ("PUT", "/v1/acl/token/<t1>", {"AccessorID": "<t2>"}, None), ("PUT", "/v1/acl/token/<t1>", {"SecretID": "11111111-1111-1111-1111-111111111111"}, None),
    ("PUT", "/v1/acl/token/<t1>", {"ExpirationTTL": "1h"}, None), ("PUT", "/v1/acl/token/11111111-1111-1111-1111-111111111111", {"Description": "x"}, None), ("PUT", "/v1/acl/token/<t1>", b"{", None), ("PUT", "/v1/acl/token/00000000-0000-0000-0000-000000000002", {"Policies": [{"Name": "key_read"}]}, None),
    ("PUT", "/v1/acl/token/<t1>/clone", {"Description": "a clone"}, "clone"), ("PUT", "/v1/acl/token/<t1>/clone", b"{", None), ("PUT", "/v1/acl/token/11111111-1111-1111-1111-111111111111/clone", {}, None), ("PUT", "/v1/acl/token/00000000-0000-0000-0000-000000000002/clone", {}, None),
    ("GET", "/v1/acl/tokens", None, None), ("GET", "/v1/acl/tokens?policy=<p_key_read>", None, None), ("GET", "/v1/acl/tokens?role=<role2>", None, None), ("GET", "/v1/acl/tokens?authmethod=none", None, None), ("GET", "/v1/acl/tokens?policy=x", None, None),
    ("GET", "/v1/acl/policies", None, None), ("DELETE", "/v1/acl/policy/<pol1>", None, None), ("DELETE", "/v1/acl/policy/<pol1>", None, None), ("DELETE", "/v1/acl/role/<role1>", None, None), ("DELETE", "/v1/acl/role/<role1>", None, None), ("GET", "/v1/acl/token/<t1>", None, None),
    ("DELETE", "/v1/acl/role/<role2>", None, None), ("GET", "/v1/acl/token/<clone>", None, None), ("DELETE", "/v1/acl/token/<t1>", None, None), ("DELETE", "/v1/acl/token/<t1>", None, None), ("GET", "/v1/acl/token/<t1>", None, None),
    ("DELETE", "/v1/acl/token/00000000-0000-0000-0000-000000000002", None, None), ("DELETE", "/v1/acl/token/", None, None), ("DELETE", "/v1/acl/policy/", None, None), ("POST", "/v1/acl/token", {}, None), ("PUT", "/v1/acl/tokens", {}, None), ("PUT", "/v1/acl/token/self", {}, None),
    ("DELETE", "/v1/acl/policy/x", None, None), ("DELETE", "/v1/acl/role/x", None, None), ("DELETE", "/v1/acl/token/x", None, None),
]

PREPARE = [
    *(("PUT", "/v1/kv/" + k, b"v") for k in ("p/a", "p/secret", "p/w", "p/w/1", "p/shut/x", "exact", "other", "lock/a")),
    *(("PUT", "/v1/catalog/register", {"Node": node, "Address": address, "Service": {"ID": service, "Service": service, "Port": 80}, "Checks": [{"CheckID": "c-" + service, "Name": "c", "Status": status, "ServiceID": service}, {"CheckID": "c-node", "Name": "n", "Status": "passing"}]})
      for node, address, service, status in (("n1", "10.2.0.1", "web", "passing"), ("n1", "10.2.0.1", "web-db", "critical"), ("n2", "10.2.0.2", "web", "critical"), ("o1", "10.2.0.3", "db", "passing"))),
    ("PUT", "/v1/agent/service/register", {"Name": "web-own", "Port": 1, "Check": {"TTL": "600s", "Status": "passing"}}),
    ("PUT", "/v1/session/create", {"Name": "one", "LockDelay": "0s"}, "s_node1"), ("PUT", "/v1/session/create", {"Name": "two", "Node": "n1", "NodeChecks": [], "Checks": []}, "s_n1"),
    ("PUT", "/v1/event/fire/deploy", b"x"), ("PUT", "/v1/event/fire/other", b"x"),
    ("POST", "/v1/query", {"Name": "qa", "Service": {"Service": "web"}}, "qa"), ("POST", "/v1/query", {"Service": {"Service": "web"}}, "anonymous"), ("POST", "/v1/query", {"Name": "zz", "Service": {"Service": "db"}}, "zz"),
    ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "web", "Protocol": "http"}), ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "db", "Protocol": "tcp"}),
]


def step(method, path, body=None, keep=None, token=("root", ROOT_TOKEN)):
    return method, path, json.dumps(body).encode() if isinstance(body, (dict, list)) else body, keep, token


def script():
    for name, rules in RULES.items():
        yield step("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules}, "p_" + name)
        yield step("PUT", "/v1/acl/token", {"AccessorID": ACCESSORS[name], "SecretID": SECRETS[name], "Policies": [{"Name": name}]})
    yield step("PUT", "/v1/acl/role", {"Name": "r1", "Policies": [{"Name": "key_read"}, {"Name": "session_read"}]})
    yield step("PUT", "/v1/acl/token", {"SecretID": SECRETS["role"], "Roles": [{"Name": "r1"}]})
    yield step("PUT", "/v1/acl/token", {"SecretID": SECRETS["identity"], "ServiceIdentities": [{"ServiceName": "web"}]})
    yield step("PUT", "/v1/acl/token", {"SecretID": SECRETS["node_identity"], "NodeIdentities": [{"NodeName": "n1", "Datacenter": "dc1"}]})
    yield step("PUT", "/v1/acl/token", {"SecretID": SECRETS["mixed"], "Policies": [{"Name": "key_read"}, {"Name": "key_write"}, {"Name": "key_longer"}]})
    for p in PREPARE:
        yield step(*p)
    yield step("WAIT", "/v1/catalog/service/web-own", b"web-own")
    yield step("WAIT", "/v1/event/list?name=deploy", b"deploy")
    yield step("WAIT", "/v1/operator/autopilot/health", b'{"Healthy":true')  # Consul looks some time after the start
    for path in READS:
        for who in (("root", ROOT_TOKEN), *TOKENS.items()):
            yield step("GET", path, token=who)
    for method, path, body in WRITES:
        for who in (*TOKENS.items(), ("root", ROOT_TOKEN)):
            yield step(method, path, body, token=who)
    for method, path, body, keep in MANAGE:
        yield step(method, path, body, keep)
