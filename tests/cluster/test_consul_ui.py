# SPDX-License-Identifier: Apache-2.0
"""/v1/internal/ui: the summaries that Consul's web interface, and programs that read along with it, ask for."""
import concurrent.futures
import time

from harness import Cluster, quote


def services(node, more=""):
    r = node.get("/v1/internal/ui/services?consistent" + more)
    assert r.status == 200
    return {x["Name"]: x for x in r.json}


def test_services_are_summed_up(shared):
    a, b, c = shared.nodes
    a.put("/v1/agent/service/register", {"Name": "ui-web", "ID": "ui-1", "Tags": ["b", "a"], "Meta": {"external-source": "nomad"}, "Check": {"TTL": "60s", "Status": "passing"}})
    a.put("/v1/agent/service/register", {"Name": "ui-web", "ID": "ui-2", "Tags": ["c", "a"], "Checks": [{"TTL": "60s"}, {"TTL": "60s", "Status": "warning"}]})
    b.put("/v1/catalog/register", {"Node": "ui-node", "Address": "10.9.0.1", "Service": {"Service": "ui-web"}, "Check": {"CheckID": "up", "Name": "up", "Status": "critical"}})
    # three of nodes: serfHealth twice, `up` once
    assert services(c)["ui-web"] == {"Name": "ui-web", "Tags": ["a", "b", "c"], "Nodes": ["n1", "ui-node"], "InstanceCount": 3, "ChecksPassing": 3, "ChecksWarning": 1, "ChecksCritical": 2, "ExternalSources": ["nomad"], "GatewayConfig": {}}
    got = services(b, "&filter=" + quote('"c" in Service.Tags'))
    assert list(got) == ["ui-web"] and got["ui-web"]["InstanceCount"] == 1 and got["ui-web"]["ExternalSources"] is None
    r = b.get("/v1/internal/ui/services?filter=" + quote("Name == x"))
    assert r.status == 500 and b'Selector "Name" is not valid' in r.body
    assert services(a)["consul"]["InstanceCount"] == 3 and services(a)["consul"]["Tags"] is None


def test_nodes_are_told_with_all_that_stands_on_them(shared):
    a, b, _ = shared.nodes
    a.put("/v1/catalog/register", {"Node": "ui-n", "Address": "10.9.0.2", "NodeMeta": {"rack": "1"}, "Service": {"ID": "s1", "Service": "ui-s", "Port": 80}, "Checks": [{"CheckID": "c1", "Name": "c1", "Status": "passing"}, {"CheckID": "c2", "Name": "c2", "Status": "warning", "ServiceID": "s1"}]})
    r = b.get("/v1/internal/ui/nodes?consistent&filter=" + quote("Meta.rack == 1"))
    assert [x["Node"] for x in r.json] == ["ui-n"]
    one = b.get("/v1/internal/ui/node/ui-n")
    assert one.json == r.json[0]
    assert [(x["ID"], x["Service"], x["Port"], x["Tags"]) for x in one.json["Services"]] == [("s1", "ui-s", 80, None)] and [(x["CheckID"], x["Status"]) for x in one.json["Checks"]] == [("c1", "passing"), ("c2", "warning")]
    assert {x["Node"] for x in a.get("/v1/internal/ui/nodes").json} >= {"n1", "n2", "n3", "ui-n"} and [x["Node"] for x in a.get("/v1/internal/ui/nodes?node-meta=rack:1").json] == ["ui-n"]
    r = a.get("/v1/internal/ui/node/nobody")
    assert (r.status, r.body) == (404, b"") and int(r.headers["X-Consul-Index"]) > 0
    assert a.get("/v1/internal/ui/node/").body == b"Missing node name"


def test_a_change_of_health_wakes_who_waits(shared):
    a, b, c = shared.nodes
    a.put("/v1/agent/service/register", {"Name": "ui-wake", "Check": {"CheckID": "ui-wake", "TTL": "60s", "Status": "passing"}})
    at = {p: b.get(p + "?consistent").headers["X-Consul-Index"] for p in ("/v1/internal/ui/services", "/v1/internal/ui/nodes", "/v1/internal/ui/node/n1")}
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        waiting = {p: pool.submit(b.get, f"{p}?index={i}&wait=60s", timeout=90) for p, i in at.items()}
        assert c.put("/v1/agent/check/warn/ui-wake").status == 200
        got = {p: w.result() for p, w in waiting.items()}
    assert time.monotonic() - start < 50, "all were woken, and did not wait to the end"
    assert all(int(r.headers["X-Consul-Index"]) > int(at[p]) for p, r in got.items())
    assert next(x for x in got["/v1/internal/ui/services"].json if x["Name"] == "ui-wake")["ChecksWarning"] == 1


def test_what_may_not_be_read_is_left_out(tmp_path):
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text("root-of-all\n")
    one = Cluster(1, extra=["--acl-enabled", "--acl-initial-token-file", str(path)])
    one.token = "root-of-all"
    try:
        node = one.start().nodes[0]
        node.put("/v1/agent/service/register", {"Name": "seen"})
        node.put("/v1/agent/service/register", {"Name": "hidden"})
        node.put("/v1/acl/policy", {"Name": "p", "Rules": 'service "seen" { policy = "read" }\nnode_prefix "" { policy = "read" }'})
        secret = node.put("/v1/acl/token", {"Policies": [{"Name": "p"}]}).json["SecretID"]
        r = node.get("/v1/internal/ui/services", headers={"X-Consul-Token": secret})
        assert [x["Name"] for x in r.json] == ["seen"] and r.headers["X-Consul-Results-Filtered-By-ACLs"] == "true"
        r = node.get("/v1/internal/ui/nodes", headers={"X-Consul-Token": secret})
        assert [x["Service"] for x in r.json[0]["Services"]] == ["seen"]
        r = node.get("/v1/internal/ui/services", headers={"X-Consul-Token": ""})
        assert r.json == []
    finally:
        one.close()
