# SPDX-License-Identifier: Apache-2.0
"""Publishing, compare-and-set, history, rollback, long-polls."""
import concurrent.futures
import hashlib
import json
import time
import uuid

from harness import SLOW, quote

BASE = "/api/v1/configs"


def test_put_get_delete(shared):
    """Content and type come back as they were put; the ETag is the revision; a deleted config is gone."""
    a, b, c = shared.nodes
    body = bytes(range(256)) * 3
    r = a.put(f"{BASE}/app/bin", body, headers={"Content-Type": "application/x-thing"})
    assert r.status == 201 and r.json["version"] == 1 and r.json["digest"] == hashlib.sha256(body).hexdigest()
    g = b.get(f"{BASE}/app/bin")
    assert g.body == body and g.headers["Content-Type"] == "application/x-thing" and g.etag == r.etag == f'"{r.json["revision"]}"'
    assert g.headers["Muster-Stale"] == "false" and g.revision >= r.json["revision"]
    assert a.put(f"{BASE}/app/bin", b"two").status == 200
    assert c.get(f"{BASE}/app/bin").headers["Muster-Version"] == "2"
    assert c.delete(f"{BASE}/app/bin").status == 204
    assert a.get(f"{BASE}/app/bin").status == 404
    assert a.delete(f"{BASE}/app/bin").status == 404
    assert a.put(f"{BASE}/app/empty", b"").status == 201
    assert a.get(f"{BASE}/app/empty").body == b""


def test_exactly_one_winner_of_a_hundred(shared):
    """A hundred compare-and-sets of one revision from three nodes: one wins, 99 get 412."""
    r = shared.nodes[0].put(f"{BASE}/race/cas", b"0")
    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        jobs = [pool.submit(shared.nodes[i % 3].put, f"{BASE}/race/cas", str(i).encode(), headers={"If-Match": r.etag}) for i in range(100)]
        answers = [j.result() for j in jobs]
    won = [i for i, x in enumerate(answers) if x.status == 200]
    assert len(won) == 1 and sorted({x.status for x in answers}) == [200, 412]
    assert shared.nodes[1].get(f"{BASE}/race/cas").body == str(won[0]).encode()
    lost = next(x for x in answers if x.status == 412)
    assert lost.json["code"] == "REVISION_MISMATCH" and lost.headers["Content-Type"] == "application/problem+json"


def test_create_only_has_one_winner(shared):
    """If-None-Match: * creates once."""
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        jobs = [pool.submit(shared.nodes[i % 3].put, f"{BASE}/race/create", str(i).encode(), headers={"If-None-Match": "*"}) for i in range(40)]
        answers = [j.result() for j in jobs]
    assert sum(x.status == 201 for x in answers) == 1 and all(x.status in (201, 412) for x in answers)
    assert next(x for x in answers if x.status == 412).json["code"] == "EXISTS"


def test_request_id_makes_a_repeat_harmless(shared):
    """The same id on another node answers what the first did and changes nothing."""
    a, b, _ = shared.nodes
    headers = {"Muster-Request-Id": uuid.uuid4().hex}
    first = a.put(f"{BASE}/once/x", b"1", headers=headers)
    a.put(f"{BASE}/once/x", b"2")
    again = b.put(f"{BASE}/once/x", b"1", headers=headers)
    assert first.status == 201 and again.status in (200, 201)
    assert again.json["revision"] == first.json["revision"]
    assert a.get(f"{BASE}/once/x").body == b"2"


def test_history_diff_rollback(shared):
    """Every version is kept with author and comment; old content is readable; rollback publishes it anew."""
    n = shared.nodes[0]
    revs = [n.put(f"{BASE}/hist/k?author=ann&comment=v{i}", f"a\nb{i}\nc\n".encode()).json["revision"] for i in range(5)]
    h = n.get(f"{BASE}/hist/k/history").json
    assert [v["revision"] for v in h["versions"]] == revs[::-1] and h["next"] is None
    assert h["versions"][0]["comment"] == "v4" and h["versions"][0]["author"] == "ann" and h["versions"][0]["version"] == 5
    page = n.get(f"{BASE}/hist/k/history?limit=2").json
    assert [v["revision"] for v in page["versions"]] == revs[:2:-1] and page["next"] == revs[3]
    rest = n.get(f"{BASE}/hist/k/history?before={page['next']}").json
    assert [v["revision"] for v in rest["versions"]] == revs[2::-1]
    for i, rev in enumerate(revs):
        assert n.get(f"{BASE}/hist/k?revision={rev}").body == f"a\nb{i}\nc\n".encode()
    d = n.get(f"{BASE}/hist/k/diff?from={revs[0]}&to={revs[3]}")
    assert d.headers["Content-Type"].startswith("text/x-diff")
    assert d.body.decode().splitlines()[2:] == ["@@ -1,3 +1,3 @@", " a", "-b0", "+b3", " c"]
    r = n.post(f"{BASE}/hist/k/rollback", {"revision": revs[1]})
    assert r.status == 200 and n.get(f"{BASE}/hist/k").body == b"a\nb1\nc\n"
    assert n.get(f"{BASE}/hist/k/history").json["versions"][0]["comment"] == f"rollback to revision {revs[1]}"
    n.delete(f"{BASE}/hist/k")
    assert n.get(f"{BASE}/hist/k/history").json["versions"][0]["deleted"] is True
    assert n.get(f"{BASE}/hist/k?revision={revs[2]}").body == b"a\nb2\nc\n"
    assert n.get(f"{BASE}/hist/k?revision=99999999").status == 400
    assert n.post(f"{BASE}/hist/k/rollback", {"revision": revs[4]}).status == 201


def test_compaction_is_explicit(single):
    """Dropped history is 410, never a gap; the current version always stays."""
    revs = [single.put(f"{BASE}/c/k", str(i).encode()).json["revision"] for i in range(6)]
    time.sleep(0.005)  # what was followed by another in this very millisecond is no older than 0 s
    for _ in range(20):
        r = single.post("/api/v1/cluster:compact", {"keep": "0s", "versions": 2})
        assert r.status == 200
        if not r.json["more"]:
            break
    assert single.get(f"{BASE}/c/k").body == b"5"
    assert [v["revision"] for v in single.get(f"{BASE}/c/k/history").json["versions"]] == revs[:-3:-1]
    old = single.get(f"{BASE}/c/k?revision={revs[0]}")
    assert old.status == 410 and old.json["code"] == "COMPACTED"
    w = single.get(f"/api/v1/watch?configs=c/*&from={revs[0]}")
    assert w.status == 410 and w.json["compact_revision"] >= revs[0]


def test_list_and_search(shared):
    n = shared.nodes[0]
    for k in ("db.main", "db.replica", "web"):
        n.put(f"{BASE}/list/{k}?description={quote('the ' + k)}&tags=x,y", b"v")
    all_of = [c["key"] for c in n.get(f"{BASE}?group=list").json["configs"]]
    assert all_of == ["db.main", "db.replica", "web"]
    assert [c["key"] for c in n.get(f"{BASE}?group=list&prefix=db.").json["configs"]] == ["db.main", "db.replica"]
    assert [c["key"] for c in n.get(f"{BASE}?group=list&search=replica").json["configs"]] == ["db.replica"]
    assert n.get(f"{BASE}?group=list").json["configs"][0]["tags"] == ["x", "y"]


def test_long_poll_wakes_only_for_its_key(shared):
    """Parked on one key: a write to another wakes nobody, a write to it wakes at once, silence ends with 304."""
    a, b, _ = shared.nodes
    r = a.put(f"{BASE}/poll/k", b"1")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        parked = pool.submit(b.get, f"{BASE}/poll/k?wait=10s", headers={"If-None-Match": r.etag})
        absent = pool.submit(b.get, f"{BASE}/poll/none?wait=10s", headers={"If-None-Match": '"0"'})
        time.sleep(0.3)
        a.put(f"{BASE}/poll/other", b"x")
        time.sleep(0.3)
        assert not parked.done() and not absent.done()
        t = time.monotonic()
        a.put(f"{BASE}/poll/k", b"2")
        got = parked.result(10)
        assert got.status == 200 and got.body == b"2" and time.monotonic() - t < 2 * SLOW
        a.put(f"{BASE}/poll/none", b"born")
        assert absent.result(10).body == b"born"
    t = time.monotonic()
    assert b.get(f"{BASE}/poll/k?wait=500ms", headers={"If-None-Match": got.etag}).status == 304
    assert time.monotonic() - t >= 0.5
    assert b.get(f"{BASE}/poll/k", headers={"If-None-Match": got.etag}).status == 304


def test_listen_on_many(shared):
    """One long-poll over many configs answers those that differ."""
    a, b, _ = shared.nodes
    etags = {k: a.put(f"{BASE}/many/k{k}", b"1").etag for k in range(20)}
    want = [{"group": "many", "key": f"k{k}", "etag": e} for k, e in etags.items()] + [{"group": "many", "key": "absent", "etag": ""}]
    assert b.post("/api/v1/configs:listen", {"configs": want, "wait": "300ms"}).json == {"changed": []}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        parked = pool.submit(b.post, "/api/v1/configs:listen", {"configs": want, "wait": "10s"})
        time.sleep(0.3)
        r = a.put(f"{BASE}/many/k7", b"2")
        assert parked.result(10).json == {"changed": [{"group": "many", "key": "k7", "etag": r.etag, "deleted": False}]}
    a.delete(f"{BASE}/many/k3")
    changed = b.post("/api/v1/configs:listen", {"configs": want}).json["changed"]
    assert {(c["key"], c["deleted"]) for c in changed} == {("k7", False), ("k3", True)}


def test_stale_reads_say_so(shared):
    n = shared.follower()
    n.put(f"{BASE}/stale/k", b"1")
    r = n.get(f"{BASE}/stale/k?consistency=stale")
    assert r.headers["Muster-Stale"] == "true" and r.headers["Muster-Known-Leader"] == "true" and int(r.headers["Muster-Age-Ms"]) >= 0
    assert n.get(f"{BASE}/stale/k?consistency=leader").status in (200, 404)


def test_big_values_and_long_keys(shared):
    """Values up to the limit and keys of 4 KiB work and keep their order."""
    n = shared.nodes[0]
    big = b"x" * (1024 * 1024)
    assert n.put(f"{BASE}/big/v", big).status == 201
    assert shared.nodes[1].get(f"{BASE}/big/v").body == big
    over = n.put(f"{BASE}/big/v", big + b"y")
    assert over.status == 413 and over.json["code"] == "TOO_LARGE"
    keys = ["k" * 4096, "k" * 511, "k" * 512, "k" * 600 + "b", "k" * 600 + "a", "k"]
    for k in keys:
        assert n.put(f"{BASE}/long/{k}", k[-3:].encode()).status == 201, len(k)
    listed = [c["key"] for c in n.get(f"{BASE}?group=long").json["configs"]]
    assert listed == sorted(keys)
    assert n.put(f"{BASE}/long/{'k' * 4097}", b"").status in (400, 414)


def test_linearizable_read_sees_every_acknowledged_write(shared):
    """Write on one node, read at once on another: never the old value."""
    for i in range(60):
        w = shared.nodes[i % 3].put(f"{BASE}/lin/k", str(i).encode())
        assert w.status in (200, 201)
        assert shared.nodes[(i + 1) % 3].get(f"{BASE}/lin/k").body == str(i).encode()


def test_openapi_is_served(shared):
    doc = json.loads(shared.nodes[0].get("/api/v1/openapi.json").body)
    assert doc["openapi"].startswith("3.1") and "/configs/{group}/{key}" in doc["paths"]
