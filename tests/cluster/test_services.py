# SPDX-License-Identifier: Apache-2.0
"""Registering, finding, expiring and removing instances."""
import concurrent.futures
import http.server
import threading
import time

from harness import SLOW, free_ports, quote, wait_for

BASE = "/api/v1/services"


def names(answer):
    return sorted(i["id"] for i in answer.json["instances"])


def test_register_find_deregister_on_every_node(shared):
    """An instance registered on one node is found on all, and gone everywhere after deregistration."""
    a, b, c = shared.nodes
    r = a.put(f"{BASE}/web/instances/w1", {"address": "10.0.0.1", "port": 80, "tags": ["x"], "metadata": {"zone": "a"}, "weight": 2.5})
    assert r.status == 201, r
    doc = r.json
    assert doc["healthy"] and doc["enabled"] and doc["weight"] == 2.5 and doc["metadata"] == {"zone": "a"} and doc["tags"] == ["x"]
    for n in (a, b, c):
        assert names(n.get(f"{BASE}/web")) == ["w1"]
        assert n.get(f"{BASE}/web/instances/w1").json["revision"] == doc["revision"]
    assert b.delete(f"{BASE}/web/instances/w1").status == 204
    for n in (a, b, c):
        assert names(n.get(f"{BASE}/web")) == []
        assert n.get(f"{BASE}/web/instances/w1").status == 404
    assert c.delete(f"{BASE}/web/instances/w1").status == 404


def test_repeated_registration_changes_nothing(shared):
    """The same registration twice is one revision; a different one is another."""
    n = shared.nodes[0]
    body = {"address": "10.0.0.2", "port": 81}
    first = n.put(f"{BASE}/same/instances/a", body)
    again = n.put(f"{BASE}/same/instances/a", body)
    assert (first.status, again.status) == (201, 200)
    assert first.etag == again.etag
    other = n.put(f"{BASE}/same/instances/a", {"address": "10.0.0.2", "port": 82})
    assert other.status == 200 and other.etag != first.etag
    assert other.json["create_revision"] == first.json["create_revision"]


def test_filters_and_list(shared):
    """healthy, tag and cluster narrow the instances; the list counts and pages."""
    n = shared.nodes[1]
    n.put(f"{BASE}/flt/instances/a", {"address": "h1", "port": 1, "tags": ["red", "big"]})
    n.put(f"{BASE}/flt/instances/b", {"address": "h2", "port": 1, "tags": ["red"], "enabled": False})
    n.put(f"{BASE}/flt/instances/c", {"address": "h3", "port": 1, "cluster": "east"})
    assert names(n.get(f"{BASE}/flt")) == ["a", "b", "c"]
    assert names(n.get(f"{BASE}/flt?healthy=true")) == ["a", "c"]
    assert names(n.get(f"{BASE}/flt?tag=red")) == ["a", "b"]
    assert names(n.get(f"{BASE}/flt?tag=red&tag=big")) == ["a"]
    assert names(n.get(f"{BASE}/flt?cluster=east")) == ["c"]
    assert n.get(f"{BASE}/flt/instances/c?cluster=east").status == 200
    assert n.get(f"{BASE}/flt/instances/c").status == 404
    row = next(s for s in n.get(f"{BASE}?prefix=flt").json["services"] if s["name"] == "flt")
    assert row == {"group": "DEFAULT_GROUP", "name": "flt", "instances": 3, "healthy": 2}
    for i in range(5):
        n.put(f"{BASE}/page{i}/instances/a", {"address": "h", "port": 1})
    one = n.get(f"{BASE}?prefix=page&limit=2").json
    assert [s["name"] for s in one["services"]] == ["page0", "page1"] and one["more"] is True
    last = n.get(f"{BASE}?prefix=page&limit=2&page=3").json
    assert [s["name"] for s in last["services"]] == ["page4"] and last["more"] is False


def test_patch(shared):
    """PATCH changes what it names and nothing else; two at once both take effect."""
    n = shared.nodes[0]
    n.put(f"{BASE}/pat/instances/a", {"address": "h", "port": 1, "weight": 1, "tags": ["t"]})
    r = n.request("PATCH", f"{BASE}/pat/instances/a", {"enabled": False})
    assert r.status == 200 and r.json["enabled"] is False and r.json["tags"] == ["t"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(n.request, "PATCH", f"{BASE}/pat/instances/a", {"weight": i} if i % 2 else {"port": i}) for i in range(1, 9)]
        assert all(j.result().status == 200 for j in jobs)
    doc = n.get(f"{BASE}/pat/instances/a").json
    assert doc["enabled"] is False and doc["weight"] % 2 == 1 and doc["port"] % 2 == 0
    assert n.request("PATCH", f"{BASE}/pat/instances/none", {"weight": 1}).status == 404


def test_patch_with_a_request_id_is_tried_again(shared):
    """A try that somebody else was faster than is not what the id stands for."""
    n = shared.nodes[0]
    path = f"{BASE}/patid/instances/a"
    n.put(path, {"address": "10.0.0.1"})
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(shared.nodes[i % 3].request, "PATCH", path, {"metadata": {f"k{i}": "x"}}, {"Muster-Request-Id": f"id-{i}"})
                for i in range(64)]
        assert {j.result().status for j in jobs} == {200}
    doc = n.get(path).json
    assert len(doc["metadata"]) == 64
    r = n.request("PATCH", path, {"metadata": {"k0": "x"}}, {"Muster-Request-Id": "id-0"})
    assert r.status == 200 and n.get(path).json["revision"] == doc["revision"]


def test_patch_merges_metadata_and_null_takes_away(shared):
    """RFC 7396: names that the patch does not have stay, null removes."""
    n = shared.nodes[0]
    path = f"{BASE}/merge/instances/a"
    n.put(path, {"address": "h", "port": 1, "weight": 3, "tags": ["t"], "metadata": {"a": "1", "b": "2"}})
    patch = lambda doc: n.request("PATCH", path, doc)
    assert patch({"metadata": {"b": "3", "c": "4"}}).json["metadata"] == {"a": "1", "b": "3", "c": "4"}
    assert patch({"metadata": {"a": None, "none": None}}).json["metadata"] == {"b": "3", "c": "4"}
    assert patch({"metadata": {"b": 1}}).status == 400
    doc = patch({"metadata": None, "tags": None, "weight": None}).json
    assert doc["metadata"] == {} and doc["tags"] == [] and doc["weight"] == 1 and doc["port"] == 1
    r = patch({"address": None})
    assert r.status == 400 and "address cannot be taken away" in r.json["detail"]
    assert n.put(path, {"address": "h", "metadata": {"a": None}}).status == 400
    assert n.get(path).json["address"] == "h"


def test_ttl_expires_in_two_steps_and_keepalive_revives(shared):
    """Without keep-alive an instance becomes unhealthy at its ttl and goes at ttl + remove_after; a keep-alive in between heals it."""
    n = shared.nodes[0]
    t0 = time.monotonic()
    r = n.put(f"{BASE}/ttl/instances/a", {"address": "h", "port": 1, "ttl": "1s", "remove_after": "4s"})
    assert r.status == 201 and r.json["lease"]
    get = lambda: n.get(f"{BASE}/ttl/instances/a")
    wait_for(lambda: get().json["healthy"] is False, 5, "the instance to become unhealthy")
    assert time.monotonic() - t0 >= 1.0, "never before its ttl"
    assert n.post(f"{BASE}/ttl/instances/a/keepalive").status == 200
    assert get().json["healthy"] is True
    t1 = time.monotonic()
    wait_for(lambda: get().status == 404, 12, "the instance to go")
    assert time.monotonic() - t1 >= 4.9, "never before ttl + remove_after"
    assert n.post(f"{BASE}/ttl/instances/a/keepalive").status == 404


def test_keepalives_hold_an_instance_without_log_writes(shared):
    """Kept alive on a follower for three ttls, the instance stays healthy, and the store's revision does not move."""
    f = shared.follower()
    assert f.put(f"{BASE}/keep/instances/a", {"address": "h", "port": 1, "ttl": "1s", "remove_after": "0s"}).status == 201
    time.sleep(0.2)
    before = f.status()["commit_index"]
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert f.post(f"{BASE}/keep/instances/a/keepalive").status == 200
        time.sleep(0.2)
    assert f.get(f"{BASE}/keep/instances/a").json["healthy"] is True
    assert f.status()["commit_index"] == before
    wait_for(lambda: f.get(f"{BASE}/keep/instances/a").status == 404, 6, "the instance to go at once after its ttl")


def test_lease_shared_by_instances(shared):
    """Instances bound to one lease go together when it ends or is revoked."""
    n = shared.nodes[2]
    lease = n.post("/api/v1/leases", {"ttl": "30s"})
    assert lease.status == 201
    lid = lease.json["id"]
    for i in "abc":
        assert n.put(f"{BASE}/bound/instances/{i}", {"address": "h", "port": 1, "lease": lid}).status == 201
    doc = n.get(f"/api/v1/leases/{lid}").json
    assert sorted(i["id"] for i in doc["instances"]) == ["a", "b", "c"] and 0 < doc["remaining_ms"] <= 30000
    batch = n.post("/api/v1/leases:keepalive", {"leases": [lid, "00000000000000ff"]}).json["leases"]
    assert batch[0]["ttl"] == "30s" and batch[1]["error"] == "NOT_FOUND"
    assert n.delete(f"/api/v1/leases/{lid}").status == 204
    assert names(n.get(f"{BASE}/bound")) == []
    assert n.put(f"{BASE}/bound/instances/x", {"address": "h", "port": 1, "lease": lid}).status == 404


class Health(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(type(self).status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


def serve():
    class Handler(Health):
        pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, Handler


def test_http_and_tcp_checks(shared):
    """A check decides the health: a failing answer makes unhealthy, a good one healthy, a dead server is removed."""
    n = shared.nodes[0]
    server, handler = serve()
    port = server.server_address[1]
    check = {"type": "http", "url": f"http://127.0.0.1:{port}/h", "interval": "100ms", "timeout": "500ms", "remove_after": "1s"}
    r = n.put(f"{BASE}/chk/instances/h", {"address": "127.0.0.1", "port": port, "check": check})
    assert r.status == 201 and r.json["healthy"] is False
    tcp = {"type": "tcp", "address": f"127.0.0.1:{port}", "interval": "100ms", "timeout": "500ms"}
    n.put(f"{BASE}/chk/instances/t", {"address": "127.0.0.1", "port": port, "check": tcp})
    healthy = lambda: names(n.get(f"{BASE}/chk?healthy=true"))
    wait_for(lambda: healthy() == ["h", "t"], 8, "both checks to pass")
    handler.status = 500
    wait_for(lambda: healthy() == ["t"], 8, "the http check to fail")
    assert n.get(f"{BASE}/chk/instances/h").json["output"] == "HTTP 500"
    handler.status = 200
    wait_for(lambda: healthy() == ["h", "t"], 8, "the http check to pass again")
    server.shutdown()
    server.server_close()
    wait_for(lambda: names(n.get(f"{BASE}/chk")) == ["t"], 8, "the dead http instance to be removed")
    assert n.get(f"{BASE}/chk/instances/t").json["healthy"] is False


def test_checks_move_when_a_node_dies(cluster):
    """Whoever runs a check may die: the others take it over and still notice."""
    server, handler = serve()
    port = server.server_address[1]
    n = cluster.nodes[0]
    for i in range(12):
        check = {"type": "http", "url": f"http://127.0.0.1:{port}/", "interval": "200ms", "timeout": "1s"}
        assert n.put(f"{BASE}/move/instances/i{i}", {"address": "127.0.0.1", "port": port, "check": check}).status == 201
    wait_for(lambda: len(n.get(f"{BASE}/move?healthy=true").json["instances"]) == 12, 10, "all checks to pass")
    victim = cluster.follower()
    victim.kill()
    handler.status = 503
    rest = cluster.running()[0]
    wait_for(lambda: len(rest.get(f"{BASE}/move?healthy=true").json["instances"]) == 0, 15, "all checks to fail on the two that live")
    server.shutdown()
    server.server_close()


def test_names_with_odd_characters(shared):
    """Names are any UTF-8 without control characters, also with slashes and spaces."""
    n = shared.nodes[0]
    service, ident = "päy/ment s", "a/b c✓"
    assert n.put(f"{BASE}/{quote(service)}/instances/{quote(ident)}?namespace={quote('ns/1')}", {"address": "h", "port": 1}).status == 201
    doc = n.get(f"{BASE}/{quote(service)}?namespace={quote('ns/1')}").json
    assert doc["name"] == service and doc["instances"][0]["id"] == ident
    assert n.get(f"{BASE}/{quote(service)}").json["instances"] == []


def test_long_poll_on_a_service(shared):
    """A parked GET wakes for this service, not for another."""
    a, b, _ = shared.nodes
    a.put(f"{BASE}/lp/instances/a", {"address": "h", "port": 1})
    first = b.get(f"{BASE}/lp")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        parked = pool.submit(b.get, f"{BASE}/lp?wait=10s", headers={"If-None-Match": first.etag})
        time.sleep(0.3)
        a.put(f"{BASE}/other/instances/a", {"address": "h", "port": 1})
        time.sleep(0.3)
        assert not parked.done(), "a change of another service must not wake it"
        t = time.monotonic()
        a.put(f"{BASE}/lp/instances/b", {"address": "h", "port": 1})
        r = parked.result(10)
        assert time.monotonic() - t < 2 * SLOW
    assert r.status == 200 and names(r) == ["a", "b"]
    r = b.get(f"{BASE}/lp?wait=300ms", headers={"If-None-Match": r.etag})
    assert r.status == 304


def test_keepalive_where_the_registration_is_not_known_yet(shared):
    """A node that is a moment behind does not say that an instance is gone that was registered elsewhere."""
    lead = shared.leader()
    others = [x for x in shared.running() if x is not lead]
    for i in range(150):
        path = f"{BASE}/behind/instances/i{i}"
        assert lead.put(path, {"address": "10.0.0.1", "ttl": "30s"}).status == 201
        r = others[i % 2].post(path + "/keepalive")
        assert r.status == 200, (i, r)
