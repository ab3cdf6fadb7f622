# SPDX-License-Identifier: Apache-2.0
"""What consul_diff.py does between two looks at the indexes of blocking queries: which of ENDPOINTS move for which of EVENTS."""
import json

ENDPOINTS = [
    "/v1/kv/mv/1", "/v1/kv/mv/?recurse", "/v1/kv/mv/?keys", "/v1/kv/mw/?recurse", "/v1/kv/mv/absent", "/v1/kv/mx/?keys",
    "/v1/catalog/nodes", "/v1/catalog/services", "/v1/catalog/service/mva", "/v1/catalog/service/mvb", "/v1/catalog/service/mvnone", "/v1/catalog/node/mv1", "/v1/catalog/node/mv2", "/v1/catalog/node/mvnone", "/v1/catalog/node-services/mv1",
    "/v1/health/service/mva", "/v1/health/service/mva?passing", "/v1/health/service/mvb", "/v1/health/service/mvnone", "/v1/health/checks/mva", "/v1/health/checks/mvb", "/v1/health/node/mv1", "/v1/health/node/mv2", "/v1/health/state/any", "/v1/health/state/critical",
    "/v1/session/list", "/v1/session/node/mv1", "/v1/session/node/mv2", "/v1/session/info/<ms>", "/v1/query", "/v1/config/service-defaults", "/v1/config/service-defaults/mva", "/v1/coordinate/nodes", "/v1/coordinate/node/mv1",
    "/v1/internal/ui/nodes", "/v1/internal/ui/node/mv1", "/v1/internal/ui/services", "/v1/event/list",
]


def put(path, body=None, keep=None):
    return "PUT", path, json.dumps(body).encode() if isinstance(body, (dict, list)) else body, keep


def register(node, address, service=None, check=None, **more):
    return put("/v1/catalog/register", {"Node": node, "Address": address, **({"Service": service} if service else {}), **({"Check": check} if check else {}), **more})


def deregister(node, **more):
    return put("/v1/catalog/deregister", {"Node": node, **more})


A, B = {"ID": "mva", "Service": "mva", "Port": 1}, {"ID": "mvb", "Service": "mvb", "Port": 2}
ON_A, ON_NODE = {"CheckID": "ca", "Name": "ca", "Status": "passing", "ServiceID": "mva"}, {"CheckID": "cn", "Name": "cn", "Status": "passing"}
COORDINATE = {"Vec": [0.0] * 8, "Error": 1.5, "Adjustment": 0, "Height": 0.00001}

# (what happens, the request)
EVENTS = [
    ("a node comes", register("mv1", "10.3.0.1")), ("a node comes again", register("mv1", "10.3.0.1")), ("another node comes", register("mv2", "10.3.0.2")), ("a service comes", register("mv1", "10.3.0.1", A)), ("a service comes again", register("mv1", "10.3.0.1", A)),
    ("another service comes", register("mv1", "10.3.0.1", B)), ("a service changes its port", register("mv1", "10.3.0.1", {**A, "Port": 9})), ("a service changes its tags", register("mv1", "10.3.0.1", {**A, "Port": 9, "Tags": ["x"]})),
    ("a check of a service comes", register("mv1", "10.3.0.1", check=ON_A)), ("a check of a service comes again", register("mv1", "10.3.0.1", check=ON_A)), ("a check of a service changes its output", register("mv1", "10.3.0.1", check={**ON_A, "Output": "new"})),
    ("a check of a service fails", register("mv1", "10.3.0.1", check={**ON_A, "Status": "critical"})), ("a check of a service recovers", register("mv1", "10.3.0.1", check=ON_A)), ("a check of a node comes", register("mv1", "10.3.0.1", check=ON_NODE)),
    ("a check of a node fails", register("mv1", "10.3.0.1", check={**ON_NODE, "Status": "critical"})), ("a check of a node goes", deregister("mv1", CheckID="cn")), ("a node changes its address", register("mv1", "10.3.0.9")), ("a node changes its metadata", register("mv1", "10.3.0.9", NodeMeta={"k": "v"})),
    ("a second instance comes", register("mv2", "10.3.0.2", A)), ("a second instance goes", deregister("mv2", ServiceID="mva")), ("a session comes", put("/v1/session/create", {"Node": "mv1", "NodeChecks": [], "Checks": [], "LockDelay": "0s"}, "ms")),
    ("a session is renewed", put("/v1/session/renew/<ms>")), ("a lock is taken", put("/v1/kv/mv/1?acquire=<ms>", b"l")), ("a lock is taken again", put("/v1/kv/mv/1?acquire=<ms>", b"l")), ("a lock is released", put("/v1/kv/mv/1?release=<ms>", b"l")),
    ("a lock is taken anew", put("/v1/kv/mv/1?acquire=<ms>", b"l")), ("a session goes", put("/v1/session/destroy/<ms>")), ("what has a session is not there", put("/v1/session/destroy/<ms>")),
    ("a key comes", put("/v1/kv/mv/2", b"1")), ("a key comes again", put("/v1/kv/mv/2", b"1")), ("a key changes", put("/v1/kv/mv/1", b"2")), ("a key changes its flags", put("/v1/kv/mv/1?flags=7", b"2")), ("a key elsewhere comes", put("/v1/kv/mw/1", b"1")), ("a key goes", ("DELETE", "/v1/kv/mv/2", None, None)),
    ("a key goes that is not there", ("DELETE", "/v1/kv/mv/2", None, None)), ("a cas fails", put("/v1/kv/mv/1?cas=1", b"x")), ("a key elsewhere goes", ("DELETE", "/v1/kv/mw/1", None, None)), ("a tree goes", ("DELETE", "/v1/kv/mv/?recurse", None, None)),
    ("a transaction sets", put("/v1/txn", [{"KV": {"Verb": "set", "Key": "mv/1", "Value": "MQ=="}}])), ("a transaction fails", put("/v1/txn", [{"KV": {"Verb": "set", "Key": "mv/1", "Value": "Mg=="}}, {"KV": {"Verb": "get", "Key": "mv/none"}}])), ("a transaction reads", put("/v1/txn", [{"KV": {"Verb": "get", "Key": "mv/1"}}])),
    ("a query comes", ("POST", "/v1/query", json.dumps({"Name": "mq", "Service": {"Service": "mva"}}).encode(), "mq")), ("a query goes", ("DELETE", "/v1/query/<mq>", None, None)), ("a config entry comes", put("/v1/config", {"Kind": "service-defaults", "Name": "mva", "Protocol": "http"})),
    ("a config entry comes again", put("/v1/config", {"Kind": "service-defaults", "Name": "mva", "Protocol": "http"})), ("a config entry changes", put("/v1/config", {"Kind": "service-defaults", "Name": "mva", "Protocol": "grpc"})), ("a config entry goes", ("DELETE", "/v1/config/service-defaults/mva", None, None)),
    ("a coordinate is told", put("/v1/coordinate/update", {"Node": "mv1", "Coord": COORDINATE})), ("an event is fired", put("/v1/event/fire/mv", b"x")),
    ("a check of a service goes", deregister("mv1", CheckID="ca")), ("a service goes", deregister("mv1", ServiceID="mvb")), ("a service goes that is not there", deregister("mv1", ServiceID="mvb")), ("another node goes", deregister("mv2")), ("a node goes with its services", deregister("mv1")), ("a node goes that is not there", deregister("mv1")),
]
# What Consul does some time after it answered, and where one sees it.
LATER = {"a coordinate is told": ("/v1/coordinate/node/mv1", b"Vec"), "an event is fired": ("/v1/event/list?name=mv", b"mv")}
