# SPDX-License-Identifier: Apache-2.0
"""One registry under two faces: each row of docs/model.md's table of words, from the Consul face to the native one and back."""
import concurrent.futures
import socket

from harness import SLOW, wait_for

NATIVE = "/api/v1/services"


def register(node, name, **more):
    r = node.put("/v1/agent/service/register", {"Name": name, **more})
    assert r.status == 200, r


def native(node, name, id_, cluster=None, **row):
    r = node.put(f"{NATIVE}/{name}/instances/{id_}" + (f"?cluster={cluster}" if cluster else ""), {"address": "10.0.0.1", "port": 1, **row})
    assert r.status == 201, r
    return r.json


def row(node, name, id_):
    r = node.get(f"{NATIVE}/{name}/instances/{id_}?consistency=linearizable")
    return r.json if r.status == 200 else None


def health(node, name, query=""):
    r = node.get(f"/v1/health/service/{name}?consistent{query}")
    assert r.status == 200, r
    return r.json


def check(node, name):
    """The one check of the one instance that is not of its node."""
    entry, = health(node, name)
    own, = [c for c in entry["Checks"] if c["ServiceID"]]
    return own


def parked(node):
    return next(int(x.split()[1]) for x in node.get("/metrics").body.decode().splitlines() if x.startswith("muster_watches "))


def test_indexes_are_revisions(shared):
    a, b, _ = shared.nodes
    register(a, "ix", ID="ix-1", Port=1)
    register(a, "ix", ID="ix-1", Port=2)
    here, there = health(b, "ix")[0]["Service"], row(b, "ix", "ix-1")
    assert there["create_revision"] < there["revision"]
    assert (here["CreateIndex"], here["ModifyIndex"]) == (there["create_revision"], there["revision"])
    r = b.get("/v1/health/service/ix?consistent")
    assert int(r.headers["X-Consul-Index"]) == there["revision"]
    assert a.put("/v1/kv/ix", b"1").json is True
    key, = b.get("/v1/kv/ix?consistent").json
    assert key["ModifyIndex"] == key["CreateIndex"] == b.status()["revision"] > there["revision"]
    there = native(a, "iy", "iy-1")
    here = health(b, "iy")[0]["Service"]
    assert (here["CreateIndex"], here["ModifyIndex"]) == (there["create_revision"], there["revision"])
    assert there["revision"] > key["ModifyIndex"]


def test_places(shared):
    """There is one datacenter and no namespace: public, DEFAULT_GROUP; of it all clusters, and what is registered here stands in DEFAULT."""
    a, b, _ = shared.nodes
    register(a, "pl", ID="pl-1")
    there = row(b, "pl", "pl-1")
    assert (there["namespace"], there["group"], there["cluster"]) == ("public", "DEFAULT_GROUP", "DEFAULT")
    native(a, "pl", "pl-2")
    native(a, "pl", "pl-3", cluster="OTHER")
    for query in ("?group=G", "?namespace=N"):
        assert a.put(f"{NATIVE}/pl/instances/pl-4{query}", {"address": "10.0.0.1", "port": 1}).status == 201
    assert sorted(e["Service"]["ID"] for e in health(b, "pl", "&dc=dc1")) == ["pl-1", "pl-2", "pl-3"]
    assert {e["Node"]["Datacenter"] for e in health(b, "pl")} == {"dc1"}
    assert b.get("/v1/health/service/pl?dc=OTHER").status == 500 and b.get("/v1/health/service/pl?ns=N").status == 400


def test_weights(shared):
    a, b, _ = shared.nodes
    register(a, "we", ID="we-1", Weights={"Passing": 7, "Warning": 2})
    assert row(b, "we", "we-1")["weight"] == 7
    assert b.request("PATCH", f"{NATIVE}/we/instances/we-1", {"weight": 4}).status == 200
    assert health(a, "we")[0]["Service"]["Weights"] == {"Passing": 4, "Warning": 2}
    native(a, "wf", "wf-1", weight=9)
    assert health(b, "wf")[0]["Service"]["Weights"]["Passing"] == 9


def test_a_ttl_keeps_both_alive(shared):
    a, b, _ = shared.nodes
    register(a, "tt", ID="tt-1", Check={"TTL": "1s", "Status": "passing"})
    assert row(b, "tt", "tt-1")["healthy"] is True
    wait_for(lambda: row(b, "tt", "tt-1")["healthy"] is False, 20 * SLOW, "the check to be critical")
    wait_for(lambda: a.put("/v1/agent/check/pass/service:tt-1").status == 200 and row(b, "tt", "tt-1")["healthy"], 20 * SLOW, "it to be healthy again")
    native(a, "tu", "tu-1", ttl="1s", remove_after="60s")
    assert check(b, "tu")["Type"] == "ttl"
    wait_for(lambda: check(b, "tu")["Status"] == "critical" and health(b, "tu", "&passing") == [], 20 * SLOW, "the lease to pass")
    wait_for(lambda: a.post(f"{NATIVE}/tu/instances/tu-1/keepalive").status == 200 and check(b, "tu")["Status"] == "passing", 20 * SLOW, "it to pass again")


def test_what_is_not_kept_alive_is_removed(shared):
    a, b, _ = shared.nodes
    native(a, "ra", "ra-1", ttl="1s", remove_after="1s")
    assert len(health(b, "ra")) == 1
    wait_for(lambda: health(b, "ra") == [], 30 * SLOW, "it to be removed")
    assert "ra" not in b.get("/v1/catalog/services?consistent").json


def test_checks_that_the_cluster_runs(shared):
    a, b, _ = shared.nodes
    alive = f"http://{a.endpoint}/livez"
    with socket.create_server(("127.0.0.1", 0)) as door:
        behind = f"127.0.0.1:{door.getsockname()[1]}"
        register(a, "ch", ID="ch-1", Check={"HTTP": alive, "Interval": "1s"})
        register(a, "ci", ID="ci-1", Check={"TCP": behind, "Interval": "1s"})
        native(a, "cj", "cj-1", check={"type": "http", "url": alive, "interval": "1s"})
        native(a, "ck", "ck-1", check={"type": "tcp", "address": behind, "interval": "1s"})
        wait_for(lambda: row(b, "ch", "ch-1")["healthy"] and row(b, "ci", "ci-1")["healthy"], 30 * SLOW, "the native face to see them pass")
        wait_for(lambda: check(b, "cj")["Status"] == check(b, "ck")["Status"] == "passing", 30 * SLOW, "this face to see them pass")
    wait_for(lambda: not row(b, "ci", "ci-1")["healthy"], 30 * SLOW, "the native face to see it fail")
    wait_for(lambda: check(b, "ck")["Status"] == "critical", 30 * SLOW, "this face to see it fail")
    assert check(b, "cj")["Status"] == "passing" and row(b, "ch", "ch-1")["healthy"] is True
    assert (check(b, "cj")["Type"], check(b, "ck")["Type"], check(b, "ck")["Output"] != "") == ("http", "tcp", True)


def test_maintenance_is_not_being_asked(shared):
    a, b, _ = shared.nodes
    register(a, "ma", ID="ma-1")
    assert a.put("/v1/agent/service/maintenance/ma-1?enable=true").status == 200
    assert row(b, "ma", "ma-1")["healthy"] is False and b.get(f"{NATIVE}/ma?healthy=true").json["instances"] == []
    assert a.put("/v1/agent/service/maintenance/ma-1?enable=false").status == 200
    assert row(b, "ma", "ma-1")["healthy"] is True and row(b, "ma", "ma-1")["enabled"] is True
    native(a, "mb", "mb-1", enabled=False)
    checks = {c["CheckID"]: c["Status"] for c in health(b, "mb")[0]["Checks"]}
    assert checks["_service_maintenance:mb-1"] == "critical" and health(b, "mb", "&passing") == []
    assert a.request("PATCH", f"{NATIVE}/mb/instances/mb-1", {"enabled": True}).status == 200
    assert len(health(b, "mb", "&passing")) == 1


def test_deregistration(shared):
    a, b, _ = shared.nodes
    register(a, "de", ID="de-1")
    assert a.put("/v1/catalog/register", {"Node": "de-node", "Address": "10.0.0.9", "Service": {"Service": "de", "ID": "de-2"}}).json is True
    assert {i["id"] for i in b.get(f"{NATIVE}/de?consistency=linearizable").json["instances"]} == {"de-1", "de-node/de-2"}
    assert b.put("/v1/agent/service/deregister/de-1").status == 200 and row(a, "de", "de-1") is None
    assert b.put("/v1/catalog/deregister", {"Node": "de-node", "ServiceID": "de-2"}).json is True
    assert a.get(f"{NATIVE}/de?consistency=linearizable").json["instances"] == []
    register(a, "df", ID="df-1")
    assert b.delete(f"{NATIVE}/df/instances/df-1").status == 204 and health(a, "df") == [] and "df-1" not in a.get("/v1/agent/services?consistent").json
    # what the native face registered is deregistered there
    native(a, "dg", "dg-1")
    assert b.put("/v1/agent/service/deregister/dg-1").status == 200 and len(health(a, "dg")) == 1
    assert b.delete(f"{NATIVE}/dg/instances/dg-1").status == 204 and health(a, "dg") == []


def test_each_wakes_the_other(shared):
    """A blocking query by what the native face does, a long-poll of the native face by what happens here."""
    a, b, _ = shared.nodes
    register(a, "wa", ID="wa-1")
    at = b.get("/v1/health/service/wa?consistent").headers["X-Consul-Index"]
    tag = b.get(f"{NATIVE}/wa?consistency=linearizable").etag
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        before = parked(b)
        here = pool.submit(b.get, f"/v1/health/service/wa?index={at}&wait=60s", timeout=90)
        there = pool.submit(b.get, f"{NATIVE}/wa?wait=60s", headers={"If-None-Match": tag}, timeout=90)
        wait_for(lambda: parked(b) >= before + 2, what="both to be parked")
        native(a, "wa", "wa-2")
        assert len(here.result(30 * SLOW).json) == 2 and len(there.result(30 * SLOW).json["instances"]) == 2
        at, tag = here.result().headers["X-Consul-Index"], there.result().etag
        here = pool.submit(b.get, f"/v1/health/service/wa?index={at}&wait=60s", timeout=90)
        there = pool.submit(b.get, f"{NATIVE}/wa?wait=60s", headers={"If-None-Match": tag}, timeout=90)
        wait_for(lambda: parked(b) >= before + 2, what="both to be parked")
        register(a, "wa", ID="wa-3")
        assert len(here.result(30 * SLOW).json) == 3 and len(there.result(30 * SLOW).json["instances"]) == 3


def test_each_reads_what_the_other_wrote(shared):
    """A write through one face is there for a consistent read through the other one, at any node; a stale read says what it is."""
    a, b, c = shared.nodes
    for n in range(5):
        register(a, "re", ID="re-1", Port=100 + n)
        assert row(b, "re", "re-1")["port"] == 100 + n
        assert c.request("PATCH", f"{NATIVE}/re/instances/re-1", {"port": 200 + n}).status == 200
        assert health(b, "re")[0]["Service"]["Port"] == 200 + n
    r = b.get("/v1/health/service/re?stale")
    assert r.status == 200 and r.headers["X-Consul-Effective-Consistency"] == "stale" and "X-Consul-Lastcontact" in r.headers
    assert b.get(f"{NATIVE}/re?consistency=stale").headers["Muster-Stale"] == "true"
    assert b.get(f"{NATIVE}/re?consistency=linearizable").headers["Muster-Stale"] == "false"


def test_keys_and_configs_are_apart(shared):
    """A key is no config of that name; both count the same revisions."""
    a, b, _ = shared.nodes
    assert a.put("/v1/kv/app/ke", b"key").json is True
    assert b.get("/api/v1/configs/app/ke").status == 404
    r = a.put("/api/v1/configs/app/ke", b"config")
    key, = b.get("/v1/kv/app/ke?consistent").json
    assert r.json["revision"] > key["ModifyIndex"] and b.get("/v1/kv/app/ke?raw").body == b"key"
    assert a.delete("/v1/kv/app/ke").json is True and b.get("/api/v1/configs/app/ke?consistency=linearizable").body == b"config"
