# SPDX-License-Identifier: Apache-2.0
"""The Consul face: what holds for all endpoints, and the small print of some: headers, parameters, sentences."""
import time

import pytest
from harness import Cluster

POLICY, BACKEND = "X-Consul-Default-ACL-Policy", "X-Consul-Query-Backend"


def test_every_answer_names_the_default_policy(shared):
    a = shared.nodes[0]
    for method, path in (("GET", "/v1/agent/services"), ("PUT", "/v1/kv/manners"), ("GET", "/v1/nothing"), ("POST", "/v1/agent/services"), ("OPTIONS", "/v1/kv/a"), ("GET", "/v1/kv/a?index=x"), ("GET", "/v1/status/leader")):
        r = a.request(method, path)
        assert r.headers.get_all(POLICY) == ["allow"], (path, r.headers)
    r = a.get("/v1/health/service/none")
    assert r.headers.get_all(POLICY) == ["allow"] and r.headers[BACKEND] == "blocking-query"
    assert BACKEND not in a.get("/v1/agent/services").headers
    r = a.put("/v1/txn", b"[" + b" " * (512 * 1024 + 1) + b"]")
    assert r.status == 413 and r.body.endswith(b"#txn_max_req_len.") and r.headers[POLICY] == "allow"
    assert a.put("/v1/kv/manners", b"x" * (512 * 1024 + 1)).body.endswith(b"#kv_max_value_size.")


def test_the_default_policy_is_the_one_that_is_set():
    one = Cluster(1, extra=["--acl-enabled"])
    try:
        r = one.nodes[0].start().get("/v1/agent/services")
        assert r.headers[POLICY] == "deny"
    finally:
        one.close()


@pytest.mark.parametrize("query,headers,text", [
    ("?ns=team", {}, 'Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature'),
    ("?partition=p", {}, 'Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature'),
    ("?sg=s", {}, 'Invalid query parameter: "sg" - Sameness groups are a Consul Enterprise feature'),
    ("?peer=other", {}, 'Invalid query parameter: "peer" - there are no other clusters here'),
    ("", {"X-Consul-Namespace": "team"}, 'Invalid header: "X-Consul-Namespace" - Namespaces are a Consul Enterprise feature'),
    ("", {"X-Consul-Partition": "p"}, 'Invalid header: "X-Consul-Partition" - Partitions are a Consul Enterprise feature'),
])
def test_what_stands_elsewhere_is_not_what_stands_here(shared, query, headers, text):
    a = shared.nodes[0]
    for path in ("/v1/health/service/consul", "/v1/kv/x", "/v1/agent/services"):
        r = a.get(path + query, headers=headers)
        assert (r.status, r.body.decode()) == (400, text)
    assert a.get("/v1/agent/self" + query, headers=headers).status == 200  # as with Consul
    assert a.get("/v1/health/service/consul?ns=&merge-central-config").status == 200


def test_durations_and_sessions_that_are_none(shared):
    a = shared.nodes[0]
    a.put("/v1/kv/manners/d", b"1")
    assert a.get("/v1/kv/manners/d?index=1&wait=-1s").status == 200
    assert a.get("/v1/kv/manners/d?index=1&wait=--1s").body == b"Invalid wait time"
    r = a.put("/v1/kv/manners/d?release=x", b"2")
    assert (r.status, r.json) == (200, False) and a.get("/v1/kv/manners/d?raw&consistent").body == b"1"
    assert a.put("/v1/kv/manners/d?acquire=x", b"2").status == 500
    r = a.put("/v1/txn", [])
    assert r.json == {"Results": [], "Errors": None, "Index": 0, "LastContact": 0, "KnownLeader": True, "ConsistencyLevel": ""}
    assert a.get("/v1/catalog/node-services/nobody").json == {"Node": None, "Services": None}


def test_tagged_addresses_are_told_in_one_spelling(shared):
    a = shared.nodes[0]
    body = {"Name": "manners-t", "tagged_addresses": {"lan": {"address": "10.1.1.1", "PORT": 5}, "v": {}}}
    assert a.put("/v1/agent/service/register", body).status == 200
    want = {"lan": {"Address": "10.1.1.1", "Port": 5}, "v": {"Address": "", "Port": 0}}
    assert a.get("/v1/agent/service/manners-t").json["TaggedAddresses"] == want
    assert a.get("/v1/health/service/manners-t").json[0]["Service"]["TaggedAddresses"] == want
    for bad, word in (({"lan": {"Address": 5}}, "number into Go struct field .Address of type string"), ({"lan": 5}, "structs.ServiceAddress"), ([], "array"), ({"lan": {"Host": "x"}}, 'unknown field "Host"')):
        r = a.put("/v1/agent/service/register", {"Name": "manners-t", "TaggedAddresses": bad})
        assert r.status == 400 and word in r.body.decode()
    for bad, word in (({"Passing": 0}, "Passing must be greater than 0"), ({"Passing": 1, "Warning": -1}, "Warning must be greater or equal"), ({"Passing": 65536}, "between 0 and 65535")):
        r = a.put("/v1/agent/service/register", {"Name": "manners-t", "Weights": bad})
        assert r.status == 400 and word in r.body.decode()
    assert a.put("/v1/catalog/register", {"Node": "manners", "Address": "1.1.1.1", "Service": {"Service": "manners-w", "Weights": {"Passing": 0, "Warning": 0}}}).status == 200  # as Go's client tells what was not given
    assert a.put("/v1/agent/service/deregister/manners-t").status == 200 and a.put("/v1/catalog/deregister", {"Node": "manners"}).status == 200


def test_the_health_of_the_agent_in_one_word(shared):
    a, b, _ = shared.nodes
    body = {"Name": "manners-h", "ID": "mh", "Check": {"CheckID": "mh-c", "TTL": "60s", "Status": "passing"}}
    assert a.put("/v1/agent/service/register", body).status == 200

    def word(status, text):
        for path in ("id/mh", "name/manners-h"):
            r = b.get(f"/v1/agent/health/service/{path}?format=text&consistent")
            assert (r.status, r.body.decode(), r.headers["X-Consul-Reason"]) == (status, text, text)
            r = b.get(f"/v1/agent/health/service/{path}", headers={"Accept": "text/plain"})
            assert r.body.decode() == text
            r = b.get(f"/v1/agent/health/service/{path}").json
            assert (r[0] if path[0] == "n" else r)["AggregatedStatus"] == text
    word(200, "passing")
    a.put("/v1/agent/check/warn/mh-c")
    word(429, "warning")
    a.put("/v1/agent/check/fail/mh-c")
    word(503, "critical")
    a.put("/v1/agent/service/maintenance/mh?enable=true")
    word(503, "maintenance")
    a.put("/v1/agent/service/maintenance/mh?enable=false")
    a.put("/v1/agent/check/pass/mh-c")
    word(200, "passing")
    a.put("/v1/agent/service/deregister/mh")
    r = a.get("/v1/agent/health/service/id/a%0d%0ab?format=text")
    assert (r.status, r.body, r.headers["X-Consul-Reason"]) == (404, b"ServiceId a??b not found", "ServiceId a??b not found")
    assert a.get("/v1/agent/health/service/name/mh?format=text").body == b"ServiceName mh Not Found"
    assert a.put("/v1/agent/check/register", {"Name": "c", "TTL": "10s", "Status": "odd"}).body == b"Bad check status"


def test_autopilot_and_metrics_say_how_the_servers_are(shared):
    a, b, _ = shared.nodes
    lead = shared.leader()
    r = b.get("/v1/operator/autopilot/state")
    got = r.json
    assert (r.status, got["Healthy"], got["FailureTolerance"], len(got["Servers"]), sorted(got["Voters"])) == (200, True, 1, 3, sorted(got["Servers"]))
    s = got["Servers"][got["Leader"]]
    assert (s["Name"], s["Status"], s["NodeStatus"], s["ID"]) == (lead.name, "leader", "alive", got["Leader"]) and sorted(x["Status"] for x in got["Servers"].values()) == ["leader", "voter", "voter"]
    for x in (a, b):
        got = x.get("/v1/agent/metrics").json
        time.strptime(got["Timestamp"], "%Y-%m-%d %H:%M:%S +0000 UTC")  # the one form that Telegraf reads
        gauges = {g["Name"]: g["Value"] for g in got["Gauges"]}
        assert (gauges["consul.autopilot.healthy"], gauges["consul.autopilot.failure_tolerance"], gauges["consul.members.servers"]) == (1, 1, 3)
        assert gauges["consul.server.isLeader"] == (x is lead) and gauges["consul.raft.applied_index"] > 0
