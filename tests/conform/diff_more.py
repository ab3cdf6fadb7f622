# SPDX-License-Identifier: Apache-2.0
"""More requests of consul_diff.py without access control: locks, transactions of all kinds, prepared queries, events, coordinates, config entries."""
import json

NO_SESSION = "11111111-1111-1111-1111-111111111111"


def step(method, path, body=None, keep=None):
    return method, path, json.dumps(body).encode() if isinstance(body, (dict, list)) else body, keep, None


def put(path, body=None, keep=None):
    return step("PUT", path, body, keep)


def get(*paths):
    return [step("GET", p) for p in paths]


def register(node, **more):
    return put("/v1/catalog/register", {"Node": node, "Address": "10.4.0.1", **more})


def locks():
    yield register("ln", Checks=[{"CheckID": "good", "Name": "good", "Status": "passing"}, {"CheckID": "bad", "Name": "bad", "Status": "critical"}])
    yield register("ln", Service={"ID": "ls", "Service": "ls"}, Check={"CheckID": "sc", "Name": "sc", "Status": "passing", "ServiceID": "ls"})
    for body in ({"Node": "ln"}, {"Node": "ln", "Checks": ["good"]}, {"Node": "ln", "Checks": ["bad"]}, {"Node": "ln", "Checks": ["good", "none"]}, {"Node": "ln", "NodeChecks": ["good"]}, {"Node": "ln", "NodeChecks": ["bad"]}, {"Node": "ln", "NodeChecks": ["sc"]}, {"Node": "ln", "ServiceChecks": [{"ID": "sc"}], "NodeChecks": []},
                 {"Node": "ln", "ServiceChecks": [{"ID": "none"}], "NodeChecks": []}, {"Node": "ln", "NodeChecks": [], "ServiceChecks": [{"ID": "good"}]}, {"ID": NO_SESSION, "Node": "ln", "NodeChecks": []}, {"Node": "ln", "NodeChecks": [], "Checks": []}, {"TTL": "24h1s"}, {"TTL": "9s"}, {"TTL": ""}, {"TTL": "0s"}, {"TTL": 10},
                 {"LockDelay": 15}, {"LockDelay": "-1s"}, {"LockDelay": 2000000000}, {"LockDelay": True}, {"Behavior": ""}, {"Checks": "x"}, {"Node": ""}, {"Name": "x" * 300}, {"Datacenter": "nope"}, {"name": "low", "lockdelay": "1s", "behavior": "delete", "ttl": "11s"}):
        yield put("/v1/session/create", body)
    yield put("/v1/session/create?dc=nope", {})
    yield put("/v1/session/create")
    yield put("/v1/session/create", {"Name": "first", "Node": "ln", "Checks": ["good"], "LockDelay": "0s"}, "l1")
    yield put("/v1/session/create", {"Name": "second", "Node": "ln", "NodeChecks": [], "Checks": [], "LockDelay": "0s", "Behavior": "delete"}, "l2")
    yield put("/v1/session/create", {"Name": "third", "LockDelay": "1s", "TTL": "60s"}, "l3")
    yield put("/v1/session/create", {"Name": "fourth", "LockDelay": "0s"}, "l4")
    yield from get("/v1/session/info/<l1>", "/v1/session/info/<l2>", "/v1/session/info/<l3>")
    for path, body in (("a?acquire=<l1>", b"1"), ("a?acquire=<l1>", b"2"), ("a?acquire=<l2>", b"3"), ("a?release=<l2>", b"4"), ("a?acquire=<l1>&flags=7", b"5"), ("a", b"plain"), ("a?cas=0", b"6"), ("b?acquire=<l1>", b""), ("c?acquire=<l2>", b"7"), ("c/d?acquire=<l2>", b"8"), ("e?acquire=<l3>", b"9"), ("e?release=<l3>", b"10"),
                       ("e?acquire=<l3>", b"11"), ("f?acquire=<l3>", b"12"), ("f?acquire=", b"13"), ("f?release=", b"13"), ("f?release=x", b"13"), ("f?acquire=" + NO_SESSION[:-1], b"13")):
        yield put("/v1/kv/lo/" + path, body)
        yield step("GET", "/v1/kv/lo/" + path.partition("?")[0])
    yield step("DELETE", "/v1/kv/lo/b")
    yield from get("/v1/kv/lo/?recurse", "/v1/kv/lo/b")
    yield put("/v1/kv/lo/b?acquire=<l4>", b"taken again")
    yield put("/v1/session/destroy/<l3>")
    yield from get("/v1/kv/lo/e", "/v1/kv/lo/f", "/v1/session/info/<l3>")
    yield put("/v1/kv/lo/e?acquire=<l4>", b"too early")
    yield put("/v1/kv/lo/e", b"without a lock")
    yield step("UNTIL", "/v1/kv/lo/e?acquire=<l4>", b"true")
    yield step("GET", "/v1/kv/lo/e")
    yield put("/v1/session/renew/<l3>")
    yield put("/v1/session/renew/<l1>")
    yield register("ln", Check={"CheckID": "good", "Name": "good", "Status": "warning"})
    yield from get("/v1/session/info/<l1>", "/v1/kv/lo/a")
    yield register("ln", Check={"CheckID": "good", "Name": "good", "Status": "critical"})
    yield from get("/v1/session/info/<l1>", "/v1/kv/lo/a", "/v1/session/node/ln")
    yield put("/v1/kv/lo/a?acquire=<l1>", b"gone")
    yield put("/v1/kv/lo/a?acquire=<l4>", b"others")
    yield put("/v1/session/destroy/<l2>")
    yield from get("/v1/kv/lo/c", "/v1/kv/lo/c/d", "/v1/kv/lo/?keys")
    yield put("/v1/session/create", {"Name": "fifth", "Node": "ln", "NodeChecks": [], "ServiceChecks": [{"ID": "sc"}], "LockDelay": "0s"}, "l5")
    yield put("/v1/kv/lo/g?acquire=<l5>", b"g")
    yield put("/v1/catalog/deregister", {"Node": "ln", "CheckID": "sc"})
    yield from get("/v1/session/info/<l5>", "/v1/kv/lo/g")
    yield put("/v1/session/create", {"Name": "sixth", "Node": "ln", "NodeChecks": [], "Checks": [], "LockDelay": "0s"}, "l6")
    yield put("/v1/kv/lo/h?acquire=<l6>", b"h")
    yield put("/v1/catalog/deregister", {"Node": "ln"})
    yield from get("/v1/session/info/<l6>", "/v1/kv/lo/h", "/v1/session/node/ln")
    yield put("/v1/session/destroy/")
    yield put("/v1/session/renew/")
    yield from get("/v1/session/list", "/v1/session/node/", "/v1/session/list?dc=nope")
    yield put("/v1/session/destroy/<l4>")


def transactions():
    kv = lambda verb, key, **more: {"KV": {"Verb": verb, "Key": key, **more}}
    node = lambda verb, **more: {"Node": {"Verb": verb, "Node": {"Node": "xn", "Address": "10.4.0.2", **more}}}
    service = lambda verb, **more: {"Service": {"Verb": verb, "Node": "xn", "Service": {"ID": "xs", "Service": "xs", "Port": 1, **more}}}
    check = lambda verb, **more: {"Check": {"Verb": verb, "Check": {"Node": "xn", "CheckID": "xc", "Name": "xc", "Status": "passing", **more}}}
    yield put("/v1/session/create", {"Name": "x", "LockDelay": "0s"}, "x1")
    yield put("/v1/session/create", {"Name": "y", "LockDelay": "0s"}, "x2")
    yield put("/v1/kv/x/have", b"v")
    for ops in ([kv("set", "x/1", Value="MQ==", Flags=3)], [kv("get", "x/1")], [kv("get", "x/none")], [kv("get-or-empty", "x/none")], [kv("get-tree", "x/")], [kv("get-tree", "none/")], [kv("cas", "x/new", Value="MQ==", Index=0)], [kv("cas", "x/1", Value="MQ==", Index=0)], [kv("cas", "x/none", Index=1)],
                [kv("lock", "x/l", Value="MQ==", Session="<x1>")], [kv("lock", "x/l", Session="<x2>")], [kv("lock", "x/l", Session="<x1>")], [kv("lock", "x/l")], [kv("lock", "x/l", Session=NO_SESSION)], [kv("unlock", "x/l", Session="<x2>")], [kv("unlock", "x/l")], [kv("check-session", "x/l", Session="<x1>")],
                [kv("check-session", "x/none", Session="<x1>")], [kv("unlock", "x/l", Session="<x1>")], [kv("check-index", "x/none", Index=1)], [kv("check-not-exists", "x/none")], [kv("check-not-exists", "x/1")], [kv("delete", "x/none")], [kv("delete-cas", "x/none", Index=5)], [kv("delete-cas", "x/1", Index=1)],
                [kv("delete-cas", "x/new", Index=0)], [kv("delete-tree", "none/")], [kv("get", "")], [kv("get-tree", "")], [kv("delete-tree", "")], [kv("", "x")], [kv("SET", "x/1")], [kv("set", "x/1", Value=None)], [kv("get", "x/1")], [kv("set", "x/1", Value=5)], [kv("set", "x/1", Flags=-1)], [kv("set", "x/1", Odd=1)], [kv("set", 5)],
                [kv("set", "x/a"), kv("get", "x/none"), kv("check-not-exists", "x/1"), kv("cas", "x/1", Index=0)], [kv("get", "x/a")], [kv("set", "x/o"), kv("get", "x/o"), kv("delete", "x/o"), kv("check-not-exists", "x/o")],
                [node("get")], [node("set", Meta={"a": "b"})], [node("get")], [node("cas", ModifyIndex=1)], [node("cas", ModifyIndex=0)], [node("delete-cas", ModifyIndex=1)], [node("")], [node("set", Address="")], [{"Node": {"Verb": "set", "Node": {}}}], [{"Node": {"Verb": "delete", "Node": {"Node": "none"}}}],
                [node("set", ID="x")], [service("get")], [service("set")], [service("get")], [service("cas", ModifyIndex=1)], [service("cas", ModifyIndex=0)], [service("odd")], [service("set", Service="")], [{"Service": {"Verb": "set", "Service": {"Service": "x"}}}], [{"Service": {"Verb": "delete", "Node": "none", "Service": {"ID": "x"}}}],
                [service("set", Tags=["a"], Meta={"m": "n"}, Weights={"Passing": 3, "Warning": 2})], [check("get")], [check("set")], [check("get")], [check("set", ServiceID="none")], [check("set", CheckID="")], [check("set", Status="odd")], [check("set", Status="")], [check("cas", ModifyIndex=1)], [check("cas", ModifyIndex=0)],
                [check("delete-cas", ModifyIndex=1)], [check("odd")], [check("set", Node="none")], [check("set", CheckID="xsc", ServiceID="xs")], [check("set", Definition={"TCP": "x:1", "Interval": "5s"})], [check("delete")], [check("get")], [service("delete")], [service("get")], [node("delete")], [node("get")],
                [{"KV": None}], [{"Odd": 1}], [kv("get", "x/1"), {"Node": {"Verb": "get", "Node": {"Node": "node1"}}}], [kv("set", "x/%d" % i) for i in range(129)], [{"Intention": {}}], [kv("check-not-exists", "x/none"), kv("check-not-exists", "x/none")]):
        yield put("/v1/txn", ops)
    for query in ("?stale", "?consistent", "?dc=nope", "?stale&consistent", "?pretty"):
        yield put("/v1/txn" + query, [kv("get", "x/have")])
    yield put("/v1/txn", b"x" * (512 * 1024 + 1))
    yield put("/v1/txn", [])
    yield put("/v1/session/destroy/<x1>")
    yield put("/v1/session/destroy/<x2>")


def queries():
    yield register("qn1", Service={"ID": "qs1", "Service": "qs-a", "Tags": ["v1", "master"], "Port": 1, "Meta": {"m": "1"}}, Check={"CheckID": "q1", "Name": "q", "Status": "passing", "ServiceID": "qs1"})
    yield register("qn1", Service={"ID": "qs2", "Service": "qs-a", "Tags": ["v2"], "Port": 2}, Check={"CheckID": "q2", "Name": "q", "Status": "warning", "ServiceID": "qs2"})
    yield register("qn2", Service={"ID": "qs3", "Service": "qs-b", "Port": 3}, Check={"CheckID": "q3", "Name": "q", "Status": "critical", "ServiceID": "qs3"})
    base = {"Service": "qs-a"}
    for keep, body in (("q_all", {"Name": "q-all", "Service": base}), ("q_pass", {"Name": "q-pass", "Service": {**base, "OnlyPassing": True}, "DNS": {"TTL": "7s"}}), ("q_tag", {"Name": "q-tag", "Service": {**base, "Tags": ["v1"]}}), ("q_not", {"Name": "q-not", "Service": {**base, "Tags": ["!v1"]}}),
                       ("q_meta", {"Name": "q-meta", "Service": {**base, "ServiceMeta": {"m": "1"}}}), ("q_ignore", {"Name": "q-ignore", "Service": {"Service": "qs-b", "IgnoreCheckIDs": ["q3"]}}), ("q_anon", {"Service": base}), ("q_none", {"Name": "q-none", "Service": {"Service": "none"}}), ("q_fail", {"Name": "q-fail", "Service": {"Service": "qs-b", "Failover": {"NearestN": 2, "Datacenters": ["dc2"]}}}),
                       (None, {"Name": "q-all", "Service": base}), (None, {}), (None, {"Name": "q-bad"}), (None, {"Name": "q-bad", "Service": {}}), (None, {"Name": "q-bad", "Service": {**base, "Failover": {"NearestN": -1}}}), (None, {"Name": "q-bad", "Service": base, "DNS": {"TTL": "x"}}), (None, {"Name": "q-bad", "Service": base, "DNS": {"TTL": "-1s"}}),
                       (None, {"Name": "q-bad", "Session": NO_SESSION, "Service": base}), (None, {"Name": "q-bad", "Session": "x", "Service": base}), (None, {"ID": NO_SESSION, "Name": "q-bad", "Service": base}), (None, {"Name": NO_SESSION, "Service": base}), (None, {"Name": "q-bad", "Odd": 1, "Service": base}), (None, {"Name": 5}),
                       ("q_t", {"Name": "t-", "Template": {"Type": "name_prefix_match", "Regexp": "^t-(.+)-([^-]+)$"}, "Service": {"Service": "${match(1)}-${match(2)}", "Tags": ["${name.suffix}", "v1"]}}), (None, {"Name": "t-", "Template": {"Type": "name_prefix_match"}, "Service": base}),
                       ("q_t2", {"Name": "t-long-", "Template": {"Type": "name_prefix_match"}, "Service": {"Service": "${name.suffix}", "NodeMeta": {"${name.prefix}": "${name.full}"}}}), (None, {"Name": "u", "Template": {"Type": "odd"}, "Service": base}), (None, {"Name": "u", "Template": {"Type": "name_prefix_match", "Regexp": "("}, "Service": base}),
                       (None, {"Name": "u", "Template": {"Type": "name_prefix_match"}, "Service": {"Service": "${bad"}}), (None, {"Name": "u", "Template": {"Type": "name_prefix_match"}, "Service": {"Service": "${odd.name}"}}), ("q_r", {"Name": "", "Template": {"Type": "name_prefix_match", "RemoveEmptyTags": True}, "Service": {"Service": "${name.full}", "Tags": ["${match(3)}"]}})):
        yield step("POST", "/v1/query", body, keep)
    for name in ("q-all", "q-pass", "q-tag", "q-not", "q-meta", "q-ignore", "q-none", "q-fail", "<q_all>", "<q_anon>", "t-qs-a", "t-long-qs-a", "t-x", "qs-a", "qs-none", NO_SESSION, "<q_t>"):
        yield from get(f"/v1/query/{name}/execute", f"/v1/query/{name}/explain")
    yield from get("/v1/query/q-all/execute?limit=1", "/v1/query/q-all/execute?limit=x", "/v1/query/q-all/execute?limit=-1", "/v1/query/q-all/execute?near=qn1", "/v1/query/q-all/execute?connect=true", "/v1/query/q-all/execute?connect=x", "/v1/query/q-all/execute?dc=nope", "/v1/query/q-all/execute?stale",
                   "/v1/query/<q_all>", "/v1/query/q-all", "/v1/query/x", "/v1/query/" + NO_SESSION, "/v1/query/", "/v1/query/<q_t>", "/v1/query/<q_fail>", "/v1/query/<q_pass>", "/v1/query/q-all/odd")
    yield put("/v1/query/<q_all>", {"Name": "q-all2", "Service": {**base, "OnlyPassing": True}})
    yield put("/v1/query/<q_all>", {"Name": "q-pass", "Service": base})
    yield put("/v1/query/<q_all>", {"ID": "<q_tag>", "Name": "q-all", "Service": base})
    yield put("/v1/query/" + NO_SESSION, {"Name": "q-new", "Service": base})
    yield put("/v1/query/x", {"Name": "q-new", "Service": base})
    yield put("/v1/query/<q_all>", b"{")
    yield from get("/v1/query/<q_all>", "/v1/query/q-all2/execute", "/v1/query/q-all/execute")
    for name in ("q_all", "q_pass", "q_tag", "q_not", "q_meta", "q_ignore", "q_anon", "q_none", "q_fail", "q_t", "q_t2", "q_r"):
        yield step("DELETE", f"/v1/query/<{name}>")
    yield step("DELETE", "/v1/query/" + NO_SESSION)
    yield step("DELETE", "/v1/query/x")
    yield put("/v1/session/create", {"Name": "q", "LockDelay": "0s"}, "qses")
    yield step("POST", "/v1/query", {"Name": "q-ses", "Session": "<qses>", "Service": base}, "q_ses")
    yield step("GET", "/v1/query/<q_ses>")
    yield put("/v1/session/destroy/<qses>")
    yield from get("/v1/query/<q_ses>", "/v1/query")


def events():
    for path in ("more", "more?node=x", "more?service=web", "more?tag=x", "more?service=web&tag=x", "more?node=(", "more?dc=nope"):
        yield put("/v1/event/fire/" + path, b"p")
    yield step("WAIT", "/v1/event/list?name=more", b"more")
    yield from get("/v1/event/list?name=more", "/v1/event/list?service=web", "/v1/event/list?name=more&node=x")
    yield step("GET", "/v1/event/fire/more")


def coordinates():
    zero = {"Vec": [0.0] * 8, "Error": 1.5, "Adjustment": 0, "Height": 0.00001}
    yield register("kn")
    for body in ({"Node": "kn", "Coord": zero}, {"Node": "none", "Coord": zero}, {"Node": "kn"}, {"Node": "kn", "Coord": {"Vec": [1.0]}}, {"Coord": zero}, {"Node": "kn", "Coord": zero, "Segment": "odd"}, b"{", {"Node": "kn", "Coord": {**zero, "Vec": "x"}}):
        yield put("/v1/coordinate/update", body)
    yield step("WAIT", "/v1/coordinate/node/kn", b"Vec")
    yield from get("/v1/coordinate/node/kn", "/v1/coordinate/node/", "/v1/coordinate/node/kn?dc=nope", "/v1/coordinate/node/kn?segment=odd", "/v1/coordinate/datacenters", "/v1/coordinate/nodes?dc=nope", "/v1/catalog/nodes?near=kn", "/v1/catalog/nodes?near=none", "/v1/catalog/nodes?near=_agent")


def config_entries():
    for body in ({"Kind": "service-defaults", "Name": "cd", "Protocol": "http"}, {"Kind": "service-defaults", "Name": "cd", "Protocol": "HTTP"}, {"Kind": "service-defaults", "Name": ""}, {"Kind": "proxy-defaults", "Name": "global", "Config": {"a": 1}}, {"Kind": "proxy-defaults", "Name": "other"}, {"Kind": ""}, {"Name": "x"}, {},
                 {"Kind": "service-resolver", "Name": "cr", "ConnectTimeout": "5s"}, {"Kind": "service-defaults", "Name": "ce", "Odd": 1}, {"kind": "service-defaults", "name": "low"}, {"Kind": "service-defaults", "Name": "cf", "Meta": {"a": "b"}}):
        yield put("/v1/config", body)
    yield put("/v1/config?cas=0", {"Kind": "service-defaults", "Name": "cas"})
    yield put("/v1/config?cas=0", {"Kind": "service-defaults", "Name": "cas"})
    yield put("/v1/config?cas=x", {"Kind": "service-defaults", "Name": "cas"})
    yield put("/v1/config?dc=nope", {"Kind": "service-defaults", "Name": "dc"})
    yield put("/v1/config", b"")
    yield put("/v1/config", b"[]")
    yield from get("/v1/config/service-defaults/cd", "/v1/config/service-defaults/none", "/v1/config/service-defaults/", "/v1/config/proxy-defaults/global", "/v1/config/", "/v1/config", "/v1/config/odd", "/v1/config/service-resolver", "/v1/config/service-defaults/a/b")
    for path in ("service-defaults/none", "service-defaults/cd", "service-defaults/cas", "service-defaults/low", "service-defaults/cf", "service-defaults", "odd/x", "proxy-defaults/global", "service-resolver/cr", ""):
        yield step("DELETE", "/v1/config/" + path)


def agents():
    for body in ({"Name": "m", "ID": "m1", "Port": 1, "Address": "10.4.0.9", "TaggedAddresses": {"wan": {"Address": "1.2.3.4", "Port": 9}}, "Meta": {"a": "b"}, "Check": {"TTL": "600s", "Notes": "n", "Name": "named", "CheckID": "mine"}}, {"Name": "m", "ID": "m2", "Check": {"CheckID": "mtcp", "TCP": "127.0.0.1:1", "Interval": "600s", "Timeout": "1s"}},
                 {"Name": "m", "ID": "m3", "Checks": [{"TTL": "600s"}, {"AliasNode": "node1"}]}, {"Name": "m", "ID": "m4", "Weights": {"Passing": 0, "Warning": 1}}, {"Name": "m", "ID": "m4", "Weights": {"Passing": -1}}, {"Name": "m", "ID": "m4", "Meta": {str(i): "x" for i in range(65)}}, {"Name": "m", "ID": "m4", "Meta": {"a": "x" * 513}},
                 {"Name": "m", "ID": "m4", "Check": {"TCP": "x"}}, {"Name": "m", "ID": "m4", "Check": {"Interval": "1s"}}, {"Name": "m", "ID": "m4", "Check": {"TTL": "1s", "TCP": "x", "Interval": "1s"}}, {"Name": "m", "ID": "m4", "Check": {}}, {"Name": "m", "ID": "m4", "Check": {"TTL": "x"}}, {"Name": "m", "ID": "m4", "Odd": 1},
                 {"Name": "m", "ID": "m4", "Kind": "odd"}, {"Name": "m", "ID": "m4", "Port": -1}, {"Name": "m", "ID": "m4", "Check": {"TTL": "10s", "SuccessBeforePassing": 2, "FailuresBeforeCritical": 3}}, {"Name": "m.dots", "ID": "m5"}):
        yield put("/v1/agent/service/register", body)
    yield put("/v1/agent/service/register?replace-existing-checks=true", {"Name": "m", "ID": "m3", "Check": {"TTL": "600s", "CheckID": "only"}})
    yield from get("/v1/agent/checks?filter=ServiceID%20==%20m3", "/v1/agent/checks?filter=ServiceID%20==%20m1", "/v1/agent/checks?filter=Odd%20==%201", "/v1/agent/services?filter=Odd%20==%201")
    for path in ("pass/mine?note=a", "warn/mine?note=b", "fail/mine?note=c", "pass/mtcp", "pass/", "fail/none", "warn/none"):
        yield put("/v1/agent/check/" + path)
    for body in ({"Status": "warning", "Output": "o"}, {"Status": ""}, {}, {"Output": "x" * 5000, "Status": "passing"}, {"Status": "passing", "Odd": 1}):
        yield put("/v1/agent/check/update/mine", body)
    yield put("/v1/agent/check/update/none", {"Status": "passing"})
    for query in ("?enable=true&reason=first", "?enable=true&reason=second", "?enable=false", "?enable=false", "?enable=true"):
        yield put("/v1/agent/service/maintenance/m1" + query)
        yield step("GET", "/v1/agent/checks?filter=CheckID%20matches%20maintenance")
    for query in ("?enable=true", "?enable=true&reason=x", "?enable=x", "?enable=false"):
        yield put("/v1/agent/maintenance" + query)
        yield step("GET", "/v1/agent/checks?filter=CheckID%20matches%20maintenance")
    yield from (put("/v1/agent/service/deregister/" + i) for i in ("m1", "m2", "m3", "m4", "m5"))
    yield from get("/v1/agent/services", "/v1/agent/checks", "/v1/agent/self?dc=nope", "/v1/agent/members?wan=1", "/v1/agent/members?segment=odd", "/v1/agent/monitor?loglevel=odd", "/v1/agent/metrics?format=odd", "/v1/internal/ui/nodes?dc=nope", "/v1/internal/ui/node/none", "/v1/internal/ui/node/", "/v1/internal/ui/nodes?filter=Odd%20==%201",
                   "/v1/internal/ui/nodes", "/v1/internal/ui/node/node1", "/v1/internal/ui/services", "/v1/internal/ui/services?filter=Name%20==%20consul", "/v1/operator/autopilot/configuration", "/v1/operator/raft/configuration?dc=nope", "/v1/operator/autopilot/health?dc=nope", "/v1/operator/keyring?relay-factor=9")
    for path in ("odd", "acl_token", "default", "agent", "agent_master", "replication"):
        yield put("/v1/agent/token/" + path, {"Token": "x"})
    yield put("/v1/agent/token/default", b"{")
    yield put("/v1/agent/join/x")
    yield put("/v1/agent/join/")
    yield put("/v1/agent/force-leave/none")
    yield put("/v1/agent/force-leave/")
    for body in ({"CleanupDeadServers": False, "LastContactThreshold": "1s"}, {"LastContactThreshold": "x"}, {"MaxTrailingLogs": -1}, {"Odd": 1}, {}, b""):
        yield put("/v1/operator/autopilot/configuration", body)
    yield put("/v1/operator/autopilot/configuration?cas=1", {"CleanupDeadServers": True})
    yield put("/v1/operator/autopilot/configuration?cas=x", {"CleanupDeadServers": True})
    yield step("GET", "/v1/operator/autopilot/configuration")


PATHS = ["kv/a", "txn", "session/create", "session/destroy/x", "session/renew/x", "session/info/x", "session/node/x", "session/list", "agent/self", "agent/maintenance", "agent/reload", "agent/monitor", "agent/metrics", "agent/services", "agent/service/x", "agent/checks", "agent/members", "agent/join/x", "agent/leave",
         "agent/force-leave/x", "agent/health/service/id/x", "agent/health/service/name/x", "agent/check/register", "agent/check/deregister/x", "agent/check/pass/x", "agent/check/update/x", "agent/service/register", "agent/service/deregister/x", "agent/service/maintenance/x", "agent/token/x", "agent/host",
         "catalog/register", "catalog/deregister", "catalog/datacenters", "catalog/nodes", "catalog/services", "catalog/service/x", "catalog/node/x", "catalog/node-services/x", "catalog/connect/x", "health/node/x", "health/checks/x", "health/state/any", "health/service/x", "health/connect/x",
         "status/leader", "status/peers", "event/fire/x", "event/list", "query", "query/x", "coordinate/datacenters", "coordinate/nodes", "coordinate/node/x", "coordinate/update", "config", "config/x", "snapshot", "operator/raft/configuration", "operator/raft/peer", "operator/autopilot/configuration",
         "operator/autopilot/health", "operator/keyring", "acl/bootstrap", "acl/policies", "acl/policy", "acl/policy/x", "acl/policy/name/x", "acl/roles", "acl/role", "acl/role/x", "acl/role/name/x", "acl/tokens", "acl/token", "acl/token/x", "acl/token/self", "acl/replication", "acl/login", "acl/logout",
         "acl/auth-methods", "acl/auth-method", "acl/auth-method/x", "acl/binding-rules", "acl/binding-rule", "acl/binding-rule/x", "internal/ui/nodes", "internal/ui/node/x", "internal/ui/services", "internal/acl/authorize"]


def methods():
    for p in PATHS:
        yield step("OPTIONS", "/v1/" + p)
        yield step("PATCH", "/v1/" + p)
        if p.startswith("acl/"):
            yield step("GET", "/v1/" + p)
            yield put("/v1/" + p, {})


def script():
    for part in (locks, transactions, queries, events, coordinates, config_entries, agents, methods):
        yield from part()
