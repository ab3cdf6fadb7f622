# SPDX-License-Identifier: Apache-2.0
"""The Consul face: services and checks by way of the agent and of the catalog, and how they are told."""
import concurrent.futures
import http.server
import threading
import time

import pytest
from harness import SLOW, Cluster, wait_for

NATIVE = "/api/v1/services"


def index(r):
    return int(r.headers["X-Consul-Index"])


def text(r):
    return r.body.decode()


def parked(node):
    return next(int(x.split()[1]) for x in text(node.get("/metrics")).splitlines() if x.startswith("muster_watches "))


def register(node, name, query="", **more):
    r = node.put(f"/v1/agent/service/register{query}", {"Name": name, **more})
    assert r.status == 200 and r.body == b"", r


def health(node, name, query="?consistent"):
    r = node.get(f"/v1/health/service/{name}{query}")
    assert r.status == 200, r
    return r.json


def statuses(entry):
    return {c["CheckID"]: c["Status"] for c in entry["Checks"]}


def test_members_are_nodes(shared):
    a, b, _ = shared.nodes
    nodes = a.get("/v1/catalog/nodes?consistent").json
    assert [n["Node"] for n in nodes] == ["n1", "n2", "n3"]
    assert set(nodes[0]) == {"ID", "Node", "Address", "Datacenter", "TaggedAddresses", "Meta", "CreateIndex", "ModifyIndex"}
    assert nodes[0]["Address"] == "127.0.0.1" == nodes[0]["TaggedAddresses"]["lan_ipv4"] and nodes[0]["Datacenter"] == "dc1"
    checks = b.get("/v1/health/node/n1").json
    assert [(c["CheckID"], c["Name"], c["Status"], c["Output"]) for c in checks if c["ServiceID"] == ""] == [
        ("serfHealth", "Serf Health Status", "passing", "Agent alive and reachable")]
    assert "consul" in a.get("/v1/catalog/node/n2").json["Services"]
    assert [e["Node"]["Node"] for e in health(a, "consul", "?passing")] == ["n1", "n2", "n3"]
    assert a.get("/v1/catalog/node/none").json is None and a.get("/v1/health/node/none").json == []
    assert a.get("/v1/catalog/datacenters").json == ["dc1"]
    assert {m["Name"]: m["Status"] for m in a.get("/v1/agent/members").json} == {"n1": 1, "n2": 1, "n3": 1}
    me = a.get("/v1/agent/self").json
    assert me["Config"]["NodeName"] == "n1" == me["Member"]["Name"] and me["Config"]["Server"] is True
    assert len(a.get("/v1/operator/raft/configuration").json["Servers"]) == 3


def test_registered_with_one_node_seen_on_all(shared):
    a, b, c = shared.nodes
    register(a, "one", ID="one-1", Tags=["x", "y"], Address="10.0.0.9", Port=80, Meta={"v": "1"}, Weights={"Passing": 5, "Warning": 2},
             Checks=[{"TTL": "20s"}, {"CheckID": "mine", "Name": "my check", "TTL": "30s", "Status": "passing", "Notes": "n"}])
    for n in shared.nodes:
        e, = health(n, "one")
        assert e["Node"]["Node"] == "n1" and statuses(e) == {"serfHealth": "passing", "service:one-1:1": "critical", "mine": "passing"}
        s = e["Service"]
        assert (s["ID"], s["Service"], s["Tags"], s["Address"], s["Port"], s["Meta"]) == ("one-1", "one", ["x", "y"], "10.0.0.9", 80, {"v": "1"})
        assert s["Weights"] == {"Passing": 5, "Warning": 2} and s["TaggedAddresses"]["lan_ipv4"] == {"Address": "10.0.0.9", "Port": 80}
    flat, = b.get("/v1/catalog/service/one").json
    assert (flat["ServiceID"], flat["ServiceName"], flat["ServiceAddress"], flat["ServicePort"], flat["Node"]) == ("one-1", "one", "10.0.0.9", 80, "n1")
    assert b.get("/v1/catalog/services").json["one"] == ["x", "y"]
    assert set(c.get("/v1/agent/services").json) >= {"one-1"} and set(c.get("/v1/agent/checks").json) >= {"mine", "service:one-1:1"}
    mine = c.get("/v1/agent/service/one-1")
    assert mine.json["Service"] == "one" and mine.json["ContentHash"] == mine.headers["X-Consul-ContentHash"]
    # the same again changes nothing, not even what its checks say
    at = index(b.get("/v1/health/service/one?consistent"))
    register(c, "one", ID="one-1", Tags=["x", "y"], Address="10.0.0.9", Port=80, Meta={"v": "1"}, Weights={"Passing": 5, "Warning": 2})
    assert index(b.get("/v1/health/service/one?consistent")) == at
    assert health(b, "one")[0]["Node"]["Node"] == "n1"
    # checks stay, unless told otherwise
    register(c, "one", "?replace-existing-checks", ID="one-1", Port=81)
    assert statuses(health(a, "one")[0]) == {"serfHealth": "passing"} and health(a, "one")[0]["Service"]["Port"] == 81
    assert b.put("/v1/agent/service/deregister/one-1").status == 200
    assert health(c, "one") == [] and "one" not in c.get("/v1/catalog/services?consistent").json
    assert b.put("/v1/agent/service/deregister/one-1").status == 200  # gone is what is wanted


def test_names_in_any_case(shared):
    a = shared.nodes[0]
    r = a.put("/v1/agent/service/register", {"name": "two", "id": "two-1", "port": 1, "enable_tag_override": True, "tagged_addresses": {},
                                             "check": {"ttl": "10s", "deregister_critical_service_after": "1m", "status": "passing"}})
    assert r.status == 200, r
    e, = health(a, "two", "?passing&consistent")
    assert e["Service"]["EnableTagOverride"] is True and e["Service"]["Address"] == ""


def test_ttl_checks(shared):
    a, b, c = shared.nodes
    register(a, "three", Check={"TTL": "5s"})
    assert health(b, "three", "?passing&consistent") == []
    for verb, status in (("pass", "passing"), ("warn", "warning"), ("fail", "critical"), ("pass", "passing")):
        assert b.put(f"/v1/agent/check/{verb}/service:three?note={verb}ed").status == 200
        check = next(x for x in c.get("/v1/health/checks/three?consistent").json)
        assert (check["Status"], check["Output"], check["Type"]) == (status, f"{verb}ed", "ttl")
    # the same again keeps it alive, and is no change
    at = index(c.get("/v1/health/service/three?consistent"))
    for _ in range(14):
        assert c.put("/v1/agent/check/pass/service:three?note=passed").status == 200
        time.sleep(0.4)
    assert index(c.get("/v1/health/service/three?consistent")) == at
    wait_for(lambda: statuses(health(c, "three")[0])["service:three"] == "critical", 20 * SLOW, "the ttl to pass")
    assert c.get("/v1/health/checks/three").json[0]["Output"] == "TTL expired (last output before timeout follows): passed"
    r = a.put("/v1/agent/check/update/service:three", {"Status": "passing", "Output": "x" * 5000})
    assert r.status == 200 and len(c.get("/v1/health/checks/three?consistent").json[0]["Output"]) == 4096
    assert a.put("/v1/agent/check/update/service:three", {"Status": "fine"}).status == 400
    r = a.put("/v1/agent/check/pass/none")
    assert r.status == 404 and text(r).startswith('Unknown check ID "none"')


def test_checks_of_their_own(shared):
    a, b, _ = shared.nodes
    register(a, "four", ID="four-1")
    r = b.put("/v1/agent/check/register", {"ID": "c4", "Name": "C", "ServiceID": "four-1", "TTL": "10s", "Status": "warning"})
    assert r.status == 200, r
    assert statuses(health(a, "four")[0])["c4"] == "warning" and health(a, "four", "?passing&consistent") == []
    r = b.put("/v1/agent/check/register", {"Name": "C", "ServiceID": "none", "TTL": "10s"})
    assert r.status == 404 and text(r) == 'ServiceID "none" does not exist'
    assert a.get("/v1/agent/health/service/id/four-1").status == 429
    assert a.get("/v1/agent/health/service/name/four?format=text").body == b"warning"
    assert a.get("/v1/agent/health/service/name/none").status == 404
    assert b.put("/v1/agent/check/deregister/c4").status == 200 and b.put("/v1/agent/check/deregister/c4").status == 404
    assert a.get("/v1/agent/health/service/id/four-1").status == 200


def test_maintenance(shared):
    a, b, c = shared.nodes
    register(a, "five", ID="five-1")
    assert b.put("/v1/agent/service/maintenance/five-1?enable=true&reason=broken").status == 200
    check = next(x for x in c.get("/v1/health/checks/five?consistent").json)
    assert (check["CheckID"], check["Name"], check["Notes"], check["Status"]) == (
        "_service_maintenance:five-1", "Service Maintenance Mode", "broken", "critical")
    assert health(c, "five", "?passing&consistent") == []
    assert a.put("/v1/agent/service/maintenance/five-1?enable=false").status == 200
    assert len(health(c, "five", "?passing&consistent")) == 1
    r = a.put("/v1/agent/service/maintenance/none?enable=true")
    assert r.status == 404 and text(r) == 'No service registered with ID "none"'
    r = a.put("/v1/agent/service/maintenance/five-1")
    assert r.status == 400 and text(r) == "Missing value for enable"
    assert c.put("/v1/agent/maintenance?enable=true").status == 200
    assert health(a, "consul", "?passing&consistent")[-1]["Node"]["Node"] == "n2"
    assert c.put("/v1/agent/maintenance?enable=false").status == 200


def test_catalog_registration(shared):
    a, b, c = shared.nodes
    body = {"Node": "ext", "Address": "1.2.3.4", "NodeMeta": {"rack": "r1"}, "Service": {"Service": "six", "ID": "six-1", "Port": 5, "Tags": ["T"]},
            "Check": {"Name": "alive", "CheckID": "alive", "Status": "passing", "Definition": {"HTTP": "http://x"}},
            "Checks": [{"Name": "own", "CheckID": "own", "ServiceID": "six-1", "Status": "warning"}]}
    assert a.put("/v1/catalog/register", body).json is True
    e, = health(b, "six")
    assert e["Node"]["Address"] == "1.2.3.4" and e["Node"]["Meta"] == {"rack": "r1"} and statuses(e) == {"alive": "passing", "own": "warning"}
    assert len(health(b, "six", "?tag=t&node-meta=rack:r1&consistent")) == 1
    assert health(b, "six", "?tag=t&tag=u&consistent") == [] and health(b, "six", "?node-meta=rack:r2&consistent") == []
    assert [n["Node"] for n in c.get("/v1/catalog/nodes?node-meta=rack:r1&consistent").json] == ["ext"]
    assert c.get("/v1/catalog/services?node-meta=rack:r1&consistent").json == {"six": ["T"]}
    assert len(c.get("/v1/health/state/warning?node-meta=rack:r1&consistent").json) == 1
    assert [s["ID"] for s in c.get("/v1/catalog/node-services/ext?consistent").json["Services"]] == ["six-1"]
    # two nodes may have the same service id
    body["Node"], body["Address"] = "ext2", "1.2.3.5"
    assert a.put("/v1/catalog/register", body).json is True
    assert [e["Node"]["Node"] for e in health(b, "six")] == ["ext", "ext2"]
    assert a.put("/v1/catalog/register", {"Node": "ext", "SkipNodeUpdate": True, "Check": {"CheckID": "alive", "Status": "critical"}}).json is True
    assert {e["Node"]["Node"]: statuses(e)["alive"] for e in health(b, "six")} == {"ext": "critical", "ext2": "passing"}
    assert b.put("/v1/catalog/deregister", {"Node": "ext", "CheckID": "alive"}).json is True
    assert statuses(health(b, "six")[0]) == {"own": "warning"}
    assert b.put("/v1/catalog/deregister", {"Node": "ext", "ServiceID": "six-1"}).json is True
    assert [e["Node"]["Node"] for e in health(b, "six")] == ["ext2"]
    for n in ("ext", "ext2", "none"):
        assert b.put("/v1/catalog/deregister", {"Node": n}).json is True
    assert health(b, "six") == [] and c.get("/v1/catalog/node/ext?consistent").json is None


WRONG = [
    ("/v1/agent/service/register", {}, 400, "Missing service name"),
    ("/v1/agent/service/register", {"Name": "x", "Port": "80"}, 400, "Request decode failed: json: cannot unmarshal string into Go struct field .Port of type int"),
    ("/v1/agent/service/register", {"Name": "x", "Bogus": 1}, 400, 'Request decode failed: json: unknown field "Bogus"'),
    ("/v1/agent/service/register", {"Name": "x", "Address": "0.0.0.0"}, 400, "Invalid service address"),
    ("/v1/agent/service/register", {"Name": "x", "Port": 70000}, 400, None),
    ("/v1/agent/service/register", {"Name": "x" * 600}, 400, None),
    ("/v1/agent/service/register", {"Name": "x", "Meta": {"a b": "c"}}, 400,
     "Invalid Service Meta: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters"),
    ("/v1/agent/service/register", {"Name": "x", "Check": {"HTTP": "http://a"}}, 400, None),
    ("/v1/agent/service/register", {"Name": "x", "Check": {"TTL": "1x"}}, 400, 'Request decode failed: time: invalid duration "1x"'),
    ("/v1/agent/service/register", {"Name": "x", "Check": {"TTL": "10s", "Interval": "1s"}}, 400,
     "Invalid check: Interval and TTL cannot both be specified"),
    ("/v1/agent/service/register", {"Name": "x", "Check": {"Args": ["sh"], "Interval": "1s"}}, 400, None),
    ("/v1/agent/service/register", {"Name": "x", "Check": {"TTL": "1s", "Status": "good"}}, 400, "Status for checks must 'passing', 'warning', 'critical'"),
    ("/v1/agent/service/register", {"Name": "x", "Checks": [{"TTL": "1s"}] * 200}, 400, None),
    ("/v1/agent/service/register", "{", 400, None),
    ("/v1/agent/service/register", "[]", 400, None),
    ("/v1/agent/check/register", {"TTL": "1s"}, 400, "Missing check name"),
    ("/v1/catalog/register", {"Address": "1.1.1.1"}, 500, "Must provide node"),
    ("/v1/catalog/register", {"Node": "x"}, 500, "Must provide address if SkipNodeUpdate is not set"),
    ("/v1/catalog/register", {"Node": "x", "Address": "1.1.1.1", "ID": "short"}, 500, "Bad node ID: uuid string is wrong length"),
    ("/v1/catalog/register", {"Node": "x", "Address": "1.1.1.1", "Service": {"ID": "i"}}, 500, "Must provide service name with ID"),
    ("/v1/catalog/register", {"Node": "x", "Address": "1.1.1.1", "Check": {"CheckID": "c", "ServiceID": "none"}}, 500,
     'failed inserting check: Missing service registration on node "x"'),
    ("/v1/catalog/deregister", {}, 500, "Must provide node"),
]


@pytest.mark.parametrize("path,body,status,what", WRONG, ids=[f"{p[4:]} {str(b)[:60]}" for p, b, _, _ in WRONG])
def test_errors_in_consuls_words(shared, path, body, status, what):
    r = shared.nodes[0].put(path, body.encode() if isinstance(body, str) else body)
    assert r.status == status and (what is None or text(r) == what), r
    assert shared.nodes[0].get("/v1/catalog/node/x?consistent").json is None


def test_an_unrelated_change_wakes_nobody(shared):
    """Of a service its instances and their checks; of the list of services their descriptions alone."""
    a, b, _ = shared.nodes
    register(a, "seven", ID="s7", Check={"TTL": "60s", "Status": "passing"})
    register(a, "eight", ID="s8", Check={"TTL": "60s", "Status": "passing"})
    one = index(b.get("/v1/health/service/seven?consistent"))
    all_ = index(b.get("/v1/catalog/services?consistent"))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        f = pool.submit(b.get, f"/v1/health/service/seven?index={one}&wait=60s", timeout=90)
        g = pool.submit(b.get, f"/v1/catalog/services?index={all_}&wait=60s", timeout=90)
        h = pool.submit(b.get, "/v1/health/service/nine?index=1&wait=60s", timeout=90)
        wait_for(lambda: parked(b) >= 3, what="three parked requests")
        a.put("/v1/agent/check/fail/service:s8")
        a.put("/v1/kv/other", b"x")
        wait_for(lambda: statuses(health(b, "eight")[0])["service:s8"] == "critical", what="the other check")
        time.sleep(0.3)
        assert not f.done() and not g.done() and not h.done()
        a.put("/v1/agent/check/fail/service:s7")
        r = f.result(30 * SLOW)
        assert statuses(r.json[0])["service:s7"] == "critical" and index(r) > one and not g.done()
        register(a, "nine")
        assert index(h.result(30 * SLOW)) > 1 and len(h.result().json) == 1
        assert "nine" in g.result(30 * SLOW).json
    r = b.get("/v1/health/service/never?index=1&wait=100ms")
    assert r.json == [] and index(r) >= 1


ASKED = ("health/service/ta", "health/service/tb", "health/service/tnone", "catalog/service/ta", "catalog/service/tb", "catalog/services",
         "catalog/nodes", "catalog/node/tn1", "catalog/node/te1", "health/node/te1", "health/checks/ta", "health/state/any")


def test_what_moves_which_index(shared):
    """Event by event: these indexes must move, those may not, for the others it is the same to a client. None ever goes back."""
    a, b, _ = shared.nodes

    def put(what, **body):
        r = a.put("/v1/catalog/" + what, body)
        assert r.body == b"true", r

    def node(name, address="10.0.0.1", **more):
        put("register", Node=name, Address=address, **more)
    service_a = {"Node": "te1", "SkipNodeUpdate": True, "Service": {"Service": "ta", "Port": 1}}
    service_b = {"Node": "te1", "SkipNodeUpdate": True, "Service": {"Service": "tb"}}
    a_check = {"Node": "te1", "SkipNodeUpdate": True, "Check": {"CheckID": "t-a", "Name": "c", "ServiceID": "ta", "Status": "passing"}}
    its_node = {"Node": "te1", "SkipNodeUpdate": True, "Check": {"CheckID": "t-n", "Name": "c", "Status": "passing"}}
    node("tn1")
    node("te1")
    h_a, h_b, h_none, c_a, c_b, services, nodes, n_1, e_1, h_e1, checks, state = range(len(ASKED))
    events = [
        ("register a", lambda: put("register", **service_a), {h_a, c_a, services, e_1}, {h_b, h_none, c_b, n_1, nodes}),
        ("the same again", lambda: put("register", **service_a), set(), set(range(len(ASKED)))),
        ("register b", lambda: put("register", **service_b), {h_b, c_b, services, e_1}, {h_a, c_a, n_1, nodes}),
        ("another port", lambda: put("register", **{**service_a, "Service": {"Service": "ta", "Port": 2}}), {h_a, c_a, e_1}, {h_b, c_b, n_1, nodes}),
        ("a check of a", lambda: put("register", **a_check), {h_a, h_e1, checks, state}, {h_b, c_b, services, nodes, n_1}),
        ("it turns", lambda: put("register", **{**a_check, "Check": {**a_check["Check"], "Status": "critical"}}), {h_a, h_e1, checks, state},
         {h_b, c_b, services, nodes, n_1}),
        ("a check of the node", lambda: put("register", **its_node), {h_a, h_b, h_e1, state}, {services, nodes, n_1}),
        ("it turns", lambda: put("register", **{**its_node, "Check": {**its_node["Check"], "Status": "critical"}}), {h_a, h_b, h_e1, state},
         {services, nodes, n_1}),
        ("the node's address", lambda: node("te1", "10.0.0.2"), {h_a, h_b, c_a, c_b, nodes, e_1}, {n_1}),
        ("another node", lambda: node("te2"), {nodes}, {h_a, h_b, c_a, c_b, services, n_1, e_1}),
        ("deregister the check", lambda: put("deregister", Node="te1", CheckID="t-a"), {h_a, h_e1, checks, state}, {h_b, services, nodes, n_1}),
        ("deregister b", lambda: put("deregister", Node="te1", ServiceID="tb"), {h_b, c_b, services, e_1}, {h_a, nodes, n_1}),
        ("b comes back", lambda: put("register", **service_b), {h_b, c_b, services, e_1}, {h_a, nodes, n_1}),
        ("deregister the node", lambda: put("deregister", Node="te1"), {h_a, h_b, c_a, c_b, services, nodes, e_1, h_e1, state}, {n_1}),
        ("all come back", lambda: (node("te1"), put("register", **service_a), put("register", **service_b)),
         {h_a, h_b, c_a, c_b, services, nodes, e_1}, {n_1}),
    ]

    def look():
        return [index(b.get(f"/v1/{x}?consistent")) for x in ASKED]
    before = look()
    for what, event, must, may_not in events:
        event()
        after = look()
        moved = {i for i in range(len(ASKED)) if after[i] > before[i]}
        assert all(y >= x for x, y in zip(before, after)), what
        assert must <= moved, (what, [ASKED[i] for i in must - moved])
        assert not may_not & moved, (what, [ASKED[i] for i in may_not & moved])
        before = after
    for x in ("tn1", "te1", "te2"):
        put("deregister", Node=x)


def test_described_through_the_other_face(shared):
    """Who waits for a node's services is told when the native interface describes one anew."""
    a, b, _ = shared.nodes
    register(a, "twoface", ID="twoface-1", Port=1)
    path = "/v1/catalog/node/n1?"
    one = index(wait_for(lambda: (r := b.get(path + "consistent")) and "twoface-1" in r.json["Services"] and r))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        f = pool.submit(b.get, path + f"index={one}&wait=20s", timeout=90)
        wait_for(lambda: parked(b) >= 1, what="a parked request")
        r = a.put("/api/v1/services/twoface/instances/twoface-1", {"address": "10.0.0.1", "port": 2})
        assert r.status in (200, 201), r
        r = f.result(60)
    assert r.json["Services"]["twoface-1"]["Port"] == 2 and index(r) > one
    assert a.put("/v1/agent/service/deregister/twoface-1").status == 200


def test_one_registry(shared):
    """What is registered here is an instance of the native interface, and the other way round."""
    a, b, _ = shared.nodes
    register(a, "ten", ID="t1", Address="10.0.0.1", Port=10, Tags=["t"], Meta={"k": "v"}, Weights={"Passing": 3, "Warning": 1},
             Check={"TTL": "60s", "Status": "passing"})
    path = f"{NATIVE}/ten/instances/t1"
    row = b.get(path + "?consistency=linearizable").json
    assert (row["address"], row["port"], row["weight"], row["tags"], row["metadata"], row["healthy"]) == ("10.0.0.1", 10, 3, ["t"], {"k": "v"}, True)
    a.put("/v1/agent/check/fail/service:t1")
    assert b.get(path + "?consistency=linearizable").json["healthy"] is False
    a.put("/v1/agent/check/pass/service:t1")
    # disabled there, in maintenance here
    assert b.request("PATCH", path, {"enabled": False}).status == 200
    e, = health(a, "ten")
    assert statuses(e)["_service_maintenance:t1"] == "critical" and health(a, "ten", "?passing&consistent") == []
    assert b.request("PATCH", path, {"enabled": True}).status == 200
    assert len(health(a, "ten", "?passing&consistent")) == 1
    r = b.request("PATCH", path, {"healthy": False})
    assert r.status == 409, r
    assert b.delete(path).status == 204 and health(a, "ten") == [] and "t1" not in a.get("/v1/agent/services?consistent").json
    # registered there
    b.put(f"{NATIVE}/eleven/instances/i1", {"address": "10.0.0.2", "port": 11, "tags": ["n"], "metadata": {"a": "b"}, "weight": 2})
    e, = health(a, "eleven", "?passing&consistent")
    assert e["Node"]["Node"] == "muster" and e["Node"]["Address"] == "10.0.0.2" and e["Service"]["ID"] == "i1"
    assert (e["Service"]["Address"], e["Service"]["Port"], e["Service"]["Tags"], e["Service"]["Weights"]["Passing"]) == ("10.0.0.2", 11, ["n"], 2)
    assert a.get("/v1/catalog/services").json["eleven"] == ["n"]
    b.request("PATCH", f"{NATIVE}/eleven/instances/i1", {"healthy": False})
    assert health(a, "eleven", "?passing&consistent") == []
    r = a.put("/v1/agent/service/register", {"Name": "eleven", "ID": "i1"})
    assert r.status == 500 and "registered otherwise" in text(r)
    assert b.get("/api/v1/services/consul").json["instances"][0]["address"] == "127.0.0.1"


def test_a_registration_outlives_its_node(cluster):
    """The agent is the cluster's: what was registered with a node that dies stays passing, on another one."""
    a, b, c = cluster.nodes
    victim = cluster.follower()
    others = [n for n in cluster.nodes if n is not victim]
    register(victim, "web", ID="w1", Address="10.0.0.1", Port=80, Check={"TTL": "120s", "Status": "passing"})
    sid = victim.put("/v1/session/create", {"TTL": "600s"}).json["ID"]
    assert victim.put(f"/v1/kv/lock?acquire={sid}", b"me").json is True
    assert health(others[0], "web")[0]["Node"]["Node"] == victim.name
    victim.kill()

    def critical():
        r = others[0].get(f"/v1/health/node/{victim.name}")
        return r.status == 200 and any(x["CheckID"] == "serfHealth" and x["Status"] == "critical" for x in r.json)
    wait_for(critical, 40 * SLOW, "serfHealth to be critical")
    e, = health(others[1], "web", "?passing&consistent")
    assert e["Node"]["Node"] in {n.name for n in others} and statuses(e)["service:w1"] == "passing"
    assert others[1].get("/v1/kv/lock?consistent").json[0]["Session"] == sid
    info, = others[0].get(f"/v1/session/info/{sid}?consistent").json
    assert info["Node"] in {n.name for n in others}
    assert others[0].put("/v1/agent/check/fail/service:w1").status == 200
    assert health(others[1], "web", "?passing&consistent") == []
    victim.start()
    wait_for(lambda: not critical(), 40 * SLOW, "the node to be well again")
    assert victim.put("/v1/agent/service/deregister/w1").status == 200


class Answers(http.server.BaseHTTPRequestHandler):
    """Says what the test wants it to say, and keeps what it was asked."""
    say, asked = 200, []

    def do_POST(self):
        Answers.asked.append((self.command, self.path, self.headers.get("X-Probe"), self.headers.get("User-Agent"),
                              self.rfile.read(int(self.headers.get("Content-Length", 0)))))
        self.send_response(Answers.say)
        self.end_headers()
        self.wfile.write(b"said %d" % Answers.say)

    def log_message(self, *args):
        pass


def test_checks_are_run_by_the_cluster(shared):
    a, b, c = shared.nodes
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    url = f"http://127.0.0.1:{port}/healthz?x=1"
    try:
        register(a, "run", ID="r1", Checks=[
            {"CheckID": "by-http", "HTTP": url, "Method": "POST", "Header": {"X-Probe": ["yes"]}, "Body": "ping", "Interval": "1s", "Timeout": "2s"},
            {"CheckID": "by-tcp", "TCP": f"127.0.0.1:{port}", "Interval": "1s"}])

        def check(id_):
            return next(x for x in b.get("/v1/health/checks/run").json if x["CheckID"] == id_)
        for say, status in ((200, "passing"), (429, "warning"), (500, "critical"), (204, "passing")):
            Answers.say = say
            wait_for(lambda s=status: check("by-http")["Status"] == s, 30 * SLOW, f"{status} after {say}")
            if say != 204:
                assert check("by-http")["Output"].startswith(f"HTTP POST {url}: {say} ")
                assert check("by-http")["Output"].endswith(f"Output: said {say}")
        assert Answers.asked[-1] == ("POST", "/healthz?x=1", "yes", "Consul Health Check", b"ping")
        wait_for(lambda: check("by-tcp")["Status"] == "passing", 30 * SLOW, "the port to be open")
        assert check("by-tcp")["Output"] == f"TCP connect 127.0.0.1:{port}: Success" and check("by-tcp")["Type"] == "tcp"
        wait_for(lambda: len(health(c, "run", "?passing")) == 1, 30 * SLOW, "the service to be passing")
    finally:
        server.shutdown()
        server.server_close()
    wait_for(lambda: check("by-tcp")["Status"] == "critical", 30 * SLOW, "the port to be closed")
    assert "connection refused" in check("by-tcp")["Output"]
    assert a.put("/v1/agent/service/deregister/r1").status == 200


@pytest.mark.parametrize("check", [{"HTTP": "ftp://x", "Interval": "1s"}, {"TCP": "noport", "Interval": "1s"},
                                   {"HTTP": "http://x", "Interval": "1s", "Header": {"A\r\nB": ["c"]}},
                                   {"HTTP": "http://x", "Interval": "1s", "Header": {"A": ["c\r\nX: y"]}},
                                   {"HTTP": "http://x", "Interval": "1s", "Method": "GET /"}])
def test_checks_that_cannot_be_run(shared, check):
    r = shared.nodes[0].put("/v1/agent/service/register", {"Name": "bad", "Check": check})
    assert r.status == 400 and text(r).startswith("Invalid check: "), r


def test_a_registration_waits_for_a_cluster_that_has_just_begun():
    """As soon as a node answers, it takes registrations: what the cluster needs to know of itself first is waited for."""
    for _ in range(3):
        one = Cluster(1)
        try:
            one.nodes[0].start()
            r = one.nodes[0].put("/v1/agent/service/register", {"Name": "early", "ID": "early"})
            assert r.status == 200, r
            assert "early" in one.nodes[0].get("/v1/agent/services").json
        finally:
            one.close()


def test_a_hash_waits_for_another_definition(shared):
    """GET /v1/agent/service/:id?hash=: every node has the same digest, and it moves with the definition alone."""
    a, b, c = shared.nodes
    body = {"ID": "hash-1", "Name": "hash", "Port": 80, "Check": {"CheckID": "hash-c", "TTL": "60s"}}
    assert a.put("/v1/agent/service/register", body).status == 200
    first = b.get("/v1/agent/service/hash-1?consistent")
    digest = first.headers["X-Consul-ContentHash"]
    assert first.json["ContentHash"] == digest == c.get("/v1/agent/service/hash-1?consistent").headers["X-Consul-ContentHash"] and "X-Consul-Index" not in first.headers
    at = time.monotonic()
    r = b.get(f"/v1/agent/service/hash-1?hash={digest}&wait=200ms")
    assert r.json == first.json and time.monotonic() - at >= 0.2
    for other in ("0000000000000000", "x", "", digest.upper() + "0"):
        at = time.monotonic()
        assert b.get(f"/v1/agent/service/hash-1?hash={other}&wait=60s").status == 200 and time.monotonic() - at < 20
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        at = time.monotonic()
        waiting = pool.submit(c.get, f"/v1/agent/service/hash-1?hash={digest}&wait=60s", timeout=90)
        assert a.put("/v1/agent/check/pass/hash-c").status == 200  # health is no definition
        assert b.get(f"/v1/agent/service/hash-1?consistent&hash={digest}&wait=1ms").headers["X-Consul-ContentHash"] == digest and not waiting.done()
        assert a.put("/v1/agent/service/register", {**body, "Port": 81}).status == 200
        r = waiting.result()
        assert r.json["Port"] == 81 and r.headers["X-Consul-ContentHash"] == r.json["ContentHash"] != digest
        waiting = pool.submit(c.get, f"/v1/agent/service/hash-1?hash={r.json['ContentHash']}&wait=60s", timeout=90)
        assert b.put("/v1/agent/service/deregister/hash-1").status == 200
        r = waiting.result()
        assert time.monotonic() - at < 50, "it was woken, and did not wait to the end"
        assert r.status == 404 and r.body == b"unknown service ID: hash-1" and "X-Consul-ContentHash" not in r.headers
