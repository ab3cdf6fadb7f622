# SPDX-License-Identifier: Apache-2.0
"""The Consul face: events, config entries, coordinates, autopilot, and what is asked of the agent as a process."""
import base64
import concurrent.futures

import uuid

import pytest
from harness import Cluster, wait_for


def index_of(event_id):
    """As Consul's clients make it."""
    digits = event_id.replace("-", "")
    return int(digits[:16], 16) ^ int(digits[16:], 16)


def names(r):
    return [x["Name"] for x in r.json]


def test_events_are_told_in_order_on_every_node(shared):
    a, b, c = shared.nodes
    fired = [x.put(f"/v1/event/fire/ev-{i}", b"payload %d" % i).json for i, x in enumerate((a, b, c))]
    assert [x["Name"] for x in fired] == ["ev-0", "ev-1", "ev-2"] and base64.b64decode(fired[1]["Payload"]) == b"payload 1"
    assert {k: fired[0][k] for k in ("NodeFilter", "ServiceFilter", "TagFilter", "Version", "LTime")} == {"NodeFilter": "", "ServiceFilter": "", "TagFilter": "", "Version": 1, "LTime": 0}
    for x in shared.nodes:
        r = x.get("/v1/event/list?consistent")
        assert names(r)[-3:] == ["ev-0", "ev-1", "ev-2"] and int(r.headers["X-Consul-Index"]) == index_of(fired[2]["ID"])
        times = [e["LTime"] for e in r.json]
        assert times == sorted(times) and 0 not in times
    r = b.get("/v1/event/list?name=ev-1&consistent")
    assert [e["ID"] for e in r.json] == [fired[1]["ID"]] and int(r.headers["X-Consul-Index"]) == index_of(fired[1]["ID"])
    r = a.put("/v1/event/fire/ev-f?node=^n1&service=web&tag=v1", b"")
    assert r.json["Payload"] is None and (r.json["NodeFilter"], r.json["ServiceFilter"], r.json["TagFilter"]) == ("^n1", "web", "v1")
    assert names(c.get("/v1/event/list?service=web&consistent")) == ["ev-f"]


def test_a_blocking_list_wakes_for_an_event_of_any_index(shared):
    """The index is made of the id, so it is larger or smaller than the one before: what counts is that it is another."""
    a, b, _ = shared.nodes
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for i in range(6):
            at = b.get("/v1/event/list?name=evb&consistent").headers["X-Consul-Index"]
            waiting = pool.submit(b.get, f"/v1/event/list?name=evb&index={at}&wait=60s", timeout=90)
            sent = a.put("/v1/event/fire/evb", b"%d" % i).json
            r = waiting.result()
            assert r.json[-1]["ID"] == sent["ID"] and r.headers["X-Consul-Index"] == str(index_of(sent["ID"]))


def test_the_last_256_events_are_kept(shared):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        fired = list(pool.map(lambda i: shared.nodes[i % 3].put(f"/v1/event/fire/many-{i}"), range(800)))
    assert all(r.status == 200 for r in fired)
    sent = shared.nodes[0].put("/v1/event/fire/last").json
    for x in shared.nodes:
        got = x.get("/v1/event/list?consistent").json
        assert len(got) == 256 and got[-1]["ID"] == sent["ID"] and len({e["ID"] for e in got}) == 256
        assert {e["ID"] for e in got[:-1]} <= {r.json["ID"] for r in fired}


@pytest.mark.parametrize("path,body,status,words", [
    ("/v1/event/fire/", b"", 400, "Missing name"), ("/v1/event/fire/big", b"x" * 600, 500, "user event exceeds configured limit of 512 bytes before encoding"),
    ("/v1/event/fire/f?node=(", b"", 500, "Invalid node filter"), ("/v1/event/fire/f?tag=v1", b"", 500, "Cannot provide tag filter without service filter"),
    ("/v1/event/fire/" + "n" * 300, b"", 400, "at most 256"), ("/v1/event/fire/f?dc=else", b"", 500, "No path to datacenter"),
    ("/v1/config", b"{", 400, "Request decoding failed"), ("/v1/config", b"[]", 400, "an object"), ("/v1/config", b'{"Kind":"odd","Name":"x"}', 400, "invalid config entry kind: odd"),
    ("/v1/config", b'{"Kind":"service-defaults"}', 400, "Name is required"), ("/v1/config", b'{"Kind":"proxy-defaults","Name":"x"}', 400, 'only "global" is supported'),
    ("/v1/coordinate/update", b'{"Node":"n1"}', 400, "Coord are required"), ("/v1/coordinate/update", b'{"Node":"n1","Coord":[1]}', 400, "Coord are required"),
    ("/v1/operator/autopilot/configuration", b'{"LastContactThreshold":"soon"}', 400, "Error parsing autopilot config"), ("/v1/agent/token/odd", b'{"Token":"x"}', 401, "ACL support disabled"),
    ("/v1/agent/join/127.0.0.1:1", b"", 500, "musterctl member add"), ("/v1/agent/force-leave/nobody", b"", 500, "no member"),
])
def test_wrong_requests(shared, path, body, status, words):
    r = shared.nodes[1].request("PUT", path, body)
    assert r.status == status and words in r.body.decode(), r


def test_config_entries(shared):
    a, b, _ = shared.nodes
    entry = {"kind": "service-defaults", "name": "web", "Protocol": "http", "CreateIndex": 9, "ModifyIndex": 9}
    assert a.put("/v1/config", entry).json is True
    r = b.get("/v1/config/service-defaults/web?consistent")
    assert {k: r.json[k] for k in ("Kind", "Name", "Protocol")} == {"Kind": "service-defaults", "Name": "web", "Protocol": "http"} and list(r.json)[:2] == ["Kind", "Name"]
    at = r.json["ModifyIndex"]
    assert r.headers["X-Consul-Index"] == str(at) and at != 9
    assert a.put(f"/v1/config?cas={at - 1}", {**entry, "Protocol": "tcp"}).json is False and a.put("/v1/config?cas=0", entry).json is False
    assert a.put(f"/v1/config?cas={at}", {**entry, "Protocol": "tcp"}).json is True
    assert [x["Protocol"] for x in b.get("/v1/config/service-defaults?consistent").json] == ["tcp"]
    assert b.get("/v1/config/proxy-defaults?consistent").json == [] and b.get("/v1/config/odd").status == 500
    assert a.delete("/v1/config/service-defaults/web?cas=1").json is False and a.delete("/v1/config/service-defaults/web").json == {}
    r = b.get("/v1/config/service-defaults/web?consistent")
    assert r.status == 404 and r.body.decode() == 'Config entry not found for "service-defaults" / "web"'
    assert a.delete("/v1/config/service-defaults").status == 404


def test_coordinates(shared):
    a, b, _ = shared.nodes
    assert {x["Node"] for x in a.get("/v1/coordinate/nodes?consistent").json} >= {"n1", "n2", "n3"}
    assert a.get("/v1/coordinate/datacenters").json[0]["Datacenter"] == "dc1" and a.get("/v1/coordinate/node/nobody").status == 404
    assert a.put("/v1/catalog/register", {"Node": "far", "Address": "10.0.0.9"}).status == 200
    coord = {"Vec": [0.5, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Adjustment": 0, "Height": 0.25}
    assert a.put("/v1/coordinate/update", {"Node": "far", "Coord": coord}).status == 200 and a.put("/v1/coordinate/update", {"Node": "gone", "Coord": coord}).status == 200
    assert b.get("/v1/coordinate/node/far?consistent").json == [{"Node": "far", "Segment": "", "Coord": coord}] and b.get("/v1/coordinate/node/gone").status == 404
    a.put("/v1/catalog/deregister", {"Node": "far"})
    assert b.get("/v1/coordinate/node/far?consistent").status == 404


def test_the_nearest_first(shared):
    """?near= sorts by the coordinates that were told; who has none comes last, and without any the order is that of names."""
    a, b, _ = shared.nodes
    for i, x in enumerate((0.5, 0.1, None, 0.3)):
        body = {"Node": f"nr{i}", "Address": "10.6.0.1", "Service": {"ID": f"s{i}", "Service": "nearby"}, "Check": {"Name": "c", "CheckID": "c", "Status": "passing"}}
        assert a.put("/v1/catalog/register", body).status == 200
        if x is not None:
            assert a.put("/v1/coordinate/update", {"Node": f"nr{i}", "Coord": {"Vec": [x, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Adjustment": 0, "Height": 0.001}}).status == 200
    order = lambda path, near: [x.get("Node") if isinstance(x.get("Node"), str) else x["Node"]["Node"] for x in b.get(f"{path}?consistent{near}").json if "nr" in str(x)]
    for path in ("/v1/catalog/service/nearby", "/v1/health/service/nearby", "/v1/catalog/nodes", "/v1/health/state/passing"):
        assert order(path, "") == ["nr0", "nr1", "nr2", "nr3"], path
        assert order(path, "&near=nr1") == ["nr1", "nr3", "nr0", "nr2"], path
        assert order(path, "&near=nr2") == order(path, "&near=nobody") == order(path, "&near=_agent") == ["nr0", "nr1", "nr2", "nr3"], path
    for i in range(4):
        a.put("/v1/catalog/deregister", {"Node": f"nr{i}"})


def test_autopilot(shared):
    a, b, c = shared.nodes
    path = "/v1/operator/autopilot/configuration"
    first = a.get(path).json
    assert first["CleanupDeadServers"] is True and first["LastContactThreshold"] == "200ms" and first["ServerStabilizationTime"] == "10s"
    assert b.put(path + "?cas=0", {"CleanupDeadServers": False}).json is False
    assert b.put(path + f"?cas={first['ModifyIndex']}", {"CleanupDeadServers": False, "MinQuorum": 3, "LastContactThreshold": "1.5s"}).json is True
    got = c.get(path + "?consistent").json
    assert (got["CleanupDeadServers"], got["MinQuorum"], got["LastContactThreshold"]) == (False, 3, "1500ms") and got["ModifyIndex"] > first["ModifyIndex"]
    assert b.put(path, {"CleanupDeadServers": True}).json is True
    def healthy():
        r = a.get("/v1/operator/autopilot/health")
        return r.status == 200 and r
    r = wait_for(healthy, what="all are healthy")
    assert r.json["Healthy"] and r.json["FailureTolerance"] == 1 and sorted(x["Name"] for x in r.json["Servers"]) == ["n1", "n2", "n3"] and sum(x["Leader"] for x in r.json["Servers"]) == 1
    r = a.delete("/v1/operator/raft/peer?address=nope")
    assert r.status == 500 and r.body.decode() == 'address "nope" was not found in the Raft configuration'
    assert a.delete("/v1/operator/raft/peer").status == 400 and a.delete("/v1/operator/raft/peer?id=x&address=y").status == 400
    before = a.get("/v1/status/leader").json
    assert shared.leader().request("POST", "/v1/operator/raft/transfer-leader").json == {"Success": True}
    wait_for(lambda: a.get("/v1/status/leader").json not in ("", before), what="another one leads")


def test_the_agent_as_a_process(shared):
    a = shared.nodes[0]
    assert {x["Name"] for x in a.get("/v1/agent/metrics").json["Gauges"]} >= {"consul.runtime.alloc_bytes", "consul.raft.commit_index"}
    assert a.get("/v1/agent/metrics?format=prometheus").headers["Location"] == "/metrics"
    host = a.get("/v1/agent/host").json
    assert host["CollectionTime"] > 10**18 and host["Memory"]["total"] > 0 and host["Host"]["hostname"]
    assert a.put("/v1/agent/reload").status == 200 and a.put("/v1/agent/token/default", {"Token": "x"}).status == 401 and a.put("/v1/agent/join/" + shared.nodes[1].peer).status == 200
    assert a.get("/v1/health/connect/web").json == [] and a.get("/v1/catalog/connect/web").json == []
    for method, path in (("GET", "agent/connect/ca/roots"), ("POST", "agent/connect/authorize"), ("POST", "connect/intentions"), ("PUT", "connect/ca/configuration"),
                         ("DELETE", "connect/intentions/x"), ("POST", "discovery-chain/web")):
        r = a.request(method, "/v1/" + path, {})
        assert r.status == 500 and r.body.decode() == "Connect must be enabled in order to use this endpoint", (path, r)


def test_a_node_that_leaves_stops(tmp_path):
    with_one = Cluster(1, directory=tmp_path)
    try:
        with_one.start().settled()
        node = with_one.nodes[0]
        key = uuid.uuid4().hex
        assert node.put("/v1/kv/" + key, b"kept").json is True
        assert node.put("/v1/agent/leave").status == 200
        assert node.process.wait(timeout=60) == 0
        node.process = None
        node.start()
        with_one.settled()
        assert node.get(f"/v1/kv/{key}?raw&consistent").body == b"kept"
    finally:
        with_one.close()
