# SPDX-License-Identifier: Apache-2.0
"""The Consul face: the key-value store as programs written for Consul use it."""
import base64
import concurrent.futures
import json
import threading
import time

import pytest
from harness import SLOW, wait_for

KV = "/v1/kv"


def index(r):
    return int(r.headers["X-Consul-Index"])


def text(r):
    return r.body.decode()


def parked(node):
    return next(int(x.split()[1]) for x in text(node.get("/metrics")).splitlines() if x.startswith("muster_watches "))


def test_put_get_delete_on_every_node(shared):
    """What one node takes all give, with Consul's members in Consul's order; identical writes move no index."""
    a, b, c = shared.nodes
    r = a.put(f"{KV}/one/a?flags=18446744073709551615", b"hello")
    assert r.status == 200 and r.body == b"true" and r.headers["Content-Type"] == "application/json"
    for x in shared.nodes:
        r = x.get(f"{KV}/one/a?consistent")
        assert list(r.json[0]) == ["LockIndex", "Key", "Flags", "Value", "CreateIndex", "ModifyIndex"]
        assert r.json[0]["Key"] == "one/a" and r.json[0]["Flags"] == 2 ** 64 - 1
        assert base64.b64decode(r.json[0]["Value"]) == b"hello" and index(r) == r.json[0]["ModifyIndex"] > 0
        assert r.headers["X-Consul-Knownleader"] == "true" and r.headers["X-Consul-Effective-Consistency"] == "consistent"
    first = a.get(f"{KV}/one/a").json[0]
    a.put(f"{KV}/one/a?flags=18446744073709551615", b"hello")
    assert a.get(f"{KV}/one/a").json[0] == first
    b.put(f"{KV}/one/a", b"hello")
    assert c.get(f"{KV}/one/a?consistent").json[0]["Flags"] == 0  # a write without flags resets them
    raw = c.get(f"{KV}/one/a?raw")
    assert raw.body == b"hello" and raw.headers["Content-Type"] == "text/plain" and raw.headers["Content-Security-Policy"] == "sandbox"
    b.put(f"{KV}/one/empty", b"")
    assert b.get(f"{KV}/one/empty").json[0]["Value"] is None
    assert c.delete(f"{KV}/one/a").body == b"true" and c.delete(f"{KV}/one/a").body == b"true"
    gone = a.get(f"{KV}/one/a?consistent")
    assert gone.status == 404 and gone.body == b"" and index(gone) > first["ModifyIndex"]


def test_trees(shared):
    a, b, _ = shared.nodes
    for k in ("b/1", "b/c/2", "b/c/3", "b/d", "bb"):
        a.put(f"{KV}/two/{k}", k.encode())
    assert [x["Key"] for x in b.get(f"{KV}/two/b/?recurse&consistent").json] == ["two/b/1", "two/b/c/2", "two/b/c/3", "two/b/d"]
    assert b.get(f"{KV}/two/b/?keys").json == ["two/b/1", "two/b/c/2", "two/b/c/3", "two/b/d"]
    assert b.get(f"{KV}/two/b/?keys&separator=/").json == ["two/b/1", "two/b/c/", "two/b/d"]
    assert b.get(f"{KV}/two/b?keys&seperator=/").json == ["two/b/", "two/bb"]
    assert b.get(f"{KV}/nothing/?keys").status == 404 and b.get(f"{KV}/nothing/?recurse").status == 404
    assert "two/bb" in b.get(f"{KV}/?keys").json
    before = index(b.get(f"{KV}/two/b/?recurse"))
    assert b.delete(f"{KV}/two/b/c?recurse").body == b"true"
    r = a.get(f"{KV}/two/b/?keys&consistent")
    assert r.json == ["two/b/1", "two/b/d"] and index(r) > before  # deletions count


def test_any_bytes_in_a_key(shared):
    a, b, _ = shared.nodes
    for k in ("%20x", "a%00b", "%ff%fe", "q%3Fx%23", "d%2Fe", "%C3%A4"):
        assert a.put(f"{KV}/three/{k}", k.encode()).body == b"true"
        assert b.get(f"{KV}/three/{k}?raw&consistent").body == k.encode()
    assert a.get(f"{KV}/three/d/e?raw&consistent").body == b"d%2Fe"
    assert len(a.get(f"{KV}/three/?keys&consistent").json) == 6


def test_compare_and_set(shared):
    a, b, _ = shared.nodes
    assert a.put(f"{KV}/four?cas=0", b"1").body == b"true"
    assert a.put(f"{KV}/four?cas=0", b"2").body == b"false"
    at = b.get(f"{KV}/four?consistent").json[0]["ModifyIndex"]
    assert b.put(f"{KV}/four?cas={at + 1}", b"2").body == b"false"
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        got = list(pool.map(lambda i: shared.nodes[i % 3].put(f"{KV}/four?cas={at}", b"w%d" % i).body, range(100)))
    assert got.count(b"true") == 1 and got.count(b"false") == 99
    assert a.delete(f"{KV}/four?cas={at}").body == b"false"
    at = b.get(f"{KV}/four?consistent").json[0]["ModifyIndex"]
    assert a.delete(f"{KV}/four?cas={at}").body == b"true" and a.delete(f"{KV}/four?cas={at}").body == b"true"


def test_blocking_queries(shared):
    """Woken by what was asked for alone; a time-out repeats the answer; an absent key can be waited for."""
    a, b, _ = shared.nodes
    a.put(f"{KV}/five/a", b"1")
    at = index(b.get(f"{KV}/five/a?consistent"))
    began = time.monotonic()
    r = b.get(f"{KV}/five/a?index={at}&wait=400ms")
    assert r.json[0]["ModifyIndex"] == at == index(r) and time.monotonic() - began >= 0.4
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        key = pool.submit(b.get, f"{KV}/five/a?index={at}&wait=60s", timeout=90)
        tree = pool.submit(b.get, f"{KV}/five/?recurse&index={at}&wait=60s", timeout=90)
        absent = pool.submit(b.get, f"{KV}/five/new?index=1&wait=60s", timeout=90)
        wait_for(lambda: parked(b) >= 3, what="three parked requests")
        a.put(f"{KV}/six/other", b"x")
        time.sleep(0.3)
        assert not key.done() and not tree.done() and not absent.done()
        a.put(f"{KV}/five/new", b"2")
        r = absent.result(30 * SLOW)
        assert r.json[0]["Key"] == "five/new" and index(r) > 1
        assert len(tree.result(30 * SLOW).json) == 2 and not key.done()
        a.put(f"{KV}/five/a", b"2")
        assert index(key.result(30 * SLOW)) > at
    # a larger index than there is waits, too, and gives the true one
    r = b.get(f"{KV}/five/a?index=99999999&wait=100ms")
    assert r.status == 200 and index(r) < 99999999


def test_no_change_is_slept_through(shared):
    """A reader that follows the index sees the last value of a key that is written all the time, and its end."""
    a, b, c = shared.nodes
    a.put(f"{KV}/seven", b"0")
    seen, done = [], threading.Event()

    def follow():
        at = 0
        while not seen or seen[-1] != 200:
            r = c.get(f"{KV}/seven?index={at}&wait=20s", timeout=60)
            assert r.status == 200 and index(r) >= at
            at = index(r)
            seen.append(int(base64.b64decode(r.json[0]["Value"])))
        done.set()

    t = threading.Thread(target=follow, daemon=True)
    t.start()
    for i in range(1, 201):
        shared.nodes[i % 2].put(f"{KV}/seven", b"%d" % i)
    assert done.wait(30 * SLOW), seen[-5:]
    assert seen == sorted(set(seen))


WRONG = [
    ("GET", "/v1/kv/", 400, "Missing key name"), ("PUT", "/v1/kv/", 400, "Missing key name"), ("DELETE", "/v1/kv/", 400, "Missing key name"),
    ("GET", "/v1/kv/x?index=x", 400, "Invalid index"), ("GET", "/v1/kv/x?index=-1", 400, "Invalid index"),
    ("GET", "/v1/kv/x?wait=1", 400, "Invalid wait time"), ("GET", "/v1/kv/x?wait=x", 400, "Invalid wait time"),
    ("GET", "/v1/kv/x?stale&consistent", 400, "Cannot specify ?stale with ?consistent, conflicting semantics."),
    ("GET", "/v1/kv/x?dc=mars", 500, "No path to datacenter"), ("PUT", "/v1/kv/x?dc=mars", 500, "No path to datacenter"),
    ("PUT", "/v1/kv/x?cas=x", 500, 'strconv.ParseUint: parsing "x": invalid syntax'),
    ("PUT", "/v1/kv/x?flags=-1", 500, 'strconv.ParseUint: parsing "-1": invalid syntax'),
    ("PUT", "/v1/kv/x?flags=18446744073709551616", 500, 'strconv.ParseUint: parsing "18446744073709551616": value out of range'),
    ("PUT", "/v1/kv/x?acquire=a&cas=1", 400, "Conflicting flags: acquire=a&cas=1\n"),
    ("DELETE", "/v1/kv/x?recurse&cas=1", 400, "Conflicting flags: cas=1&recurse=\n"),
    ("PUT", "/v1/kv/x?cas=1&token=canary&acquire=a", 400, "Conflicting flags: acquire=a&cas=1&token=<hidden>\n"),
    ("PUT", "/v1/kv/x?acquire=", 500, "missing session"),
    ("PUT", "/v1/kv/x?acquire=abc", 500, "failed session lookup: index error: UUID must be 36 characters"),
    ("PUT", "/v1/kv/x?acquire=11111111-2222-3333-4444-555555555555", 500, 'invalid session "11111111-2222-3333-4444-555555555555"'),
    ("POST", "/v1/kv/x", 405, "method POST not allowed"), ("PATCH", "/v1/kv/x", 405, "method PATCH not allowed"),
    ("GET", "/v1/nothing", 404, "Invalid URL path: not a recognized HTTP API endpoint\n"), ("GET", "/v1/", 404, None), ("GET", "/v1/kv", 301, None), ("GET", "/v1/agent/service", 301, None),
    ("GET", "/v1/kv/%", 400, None), ("GET", "/v1/kv/%zz", 400, None), ("GET", "/v1/kv/x?%zz", 400, None), ("GET", "/v1/kv/x?a=%ff", 400, None),
    ("PUT", "/v1/kv/" + "x" * 4097, 400, None),
]


@pytest.mark.parametrize("method,path,status,body", WRONG, ids=[f"{m} {p[:60]}" for m, p, _, _ in WRONG])
def test_errors_in_consuls_words(shared, method, path, status, body):
    r = shared.nodes[0].request(method, path, b"v" if method in ("PUT", "POST") else None)
    assert r.status == status and (body is None or text(r) == body), r
    assert body is None or r.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_transport_rules(shared):
    n = shared.nodes[0]
    r = n.request("OPTIONS", "/v1/kv/x")
    assert r.status == 200 and r.headers["Allow"] == "OPTIONS,GET,PUT,DELETE" and r.body == b""
    assert n.request("HEAD", "/v1/kv/x").status == 405
    for path, clean in (("/v1/kv//a", "/v1/kv/a"), ("/v1/kv/a/../b?x=1", "/v1/kv/b?x=1"), ("/v1/./kv/a", "/v1/kv/a")):
        r = n.get(path)
        assert r.status == 301 and r.headers["Location"] == clean
    assert n.put(f"{KV}/big", b"x" * 524288).body == b"true"
    r = n.put(f"{KV}/big", b"x" * 524289)
    assert r.status == 413 and text(r).startswith("Request body(524289 bytes) too large, max size: 524288 bytes. See ")
    assert len(n.get(f"{KV}/big?raw").body) == 524288
    n.put(f"{KV}/pretty", b"1")
    r = n.get(f"{KV}/pretty?pretty")
    assert text(r) == json.dumps(r.json, indent=4) + "\n"


def test_status(shared):
    leaders = {json.loads(x.get("/v1/status/leader").body) for x in shared.nodes}
    peers = shared.nodes[1].get("/v1/status/peers").json
    assert len(leaders) == 1 and leaders.pop() in peers and len(peers) == 3


def test_a_leaderless_cluster_is_500(cluster):
    """Requests are held a while for a leader, then told in the words that clients retry on; stale reads go on."""
    a, b, c = cluster.nodes
    a.put(f"{KV}/x", b"1")
    wait_for(lambda: c.get(f"{KV}/x?stale").status == 200, what="the key on n3")
    a.kill()
    b.kill()
    wait_for(lambda: c.get(f"{KV}/x?stale").headers["X-Consul-Knownleader"] == "false", what="no leader")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(c.get, f"{KV}/x", timeout=60), pool.submit(c.put, f"{KV}/x", b"2", timeout=60)]
        for r in (x.result(60 * SLOW) for x in answers):
            assert r.status == 500 and text(r) == "No cluster leader", r
    assert c.get(f"{KV}/x?stale").json[0]["Key"] == "x"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(c.put, f"{KV}/x", b"3", timeout=60)
        a.start()
        assert held.result(60 * SLOW).body == b"true"  # a leader came in time
