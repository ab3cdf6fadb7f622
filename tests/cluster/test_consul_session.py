# SPDX-License-Identifier: Apache-2.0
"""The Consul face: sessions and the locks that they hold."""
import concurrent.futures
import time

import pytest
from harness import SLOW, wait_for

KV = "/v1/kv"
NOBODY = "11111111-2222-3333-4444-555555555555"


def index(r):
    return int(r.headers["X-Consul-Index"])


def text(r):
    return r.body.decode()


def create(node, **body):
    r = node.put("/v1/session/create", body)
    assert r.status == 200, r
    return r.json["ID"]


def row(node, key):
    return node.get(f"{KV}/{key}?consistent").json[0]


def test_create_info_list_destroy(shared):
    a, b, c = shared.nodes
    s = create(a, Name="mine", LockDelay="5s", Behavior="delete", TTL="30s")
    info, = b.get(f"/v1/session/info/{s}?consistent").json
    assert {k: info[k] for k in ("ID", "Name", "Node", "LockDelay", "Behavior", "TTL", "NodeChecks", "ServiceChecks")} == {
        "ID": s, "Name": "mine", "Node": "n1", "LockDelay": 5 * 10 ** 9, "Behavior": "delete", "TTL": "30s", "NodeChecks": ["serfHealth"],
        "ServiceChecks": None}
    plain = b.put("/v1/session/create").json["ID"]
    assert b.get(f"/v1/session/info/{plain}?consistent").json[0]["LockDelay"] == 15 * 10 ** 9
    assert {x["ID"] for x in c.get("/v1/session/list?consistent").json} >= {s, plain}
    assert {x["ID"] for x in c.get("/v1/session/node/n1?consistent").json} >= {s}
    assert plain not in {x["ID"] for x in c.get("/v1/session/node/n1?consistent").json}
    renewed = c.put(f"/v1/session/renew/{s}")
    assert renewed.status == 200 and renewed.json[0]["ID"] == s
    assert c.put(f"/v1/session/destroy/{s}").json is True and c.put(f"/v1/session/destroy/{s}").json is True
    gone = a.get(f"/v1/session/info/{s}?consistent")
    assert gone.status == 200 and gone.json == []
    r = a.put(f"/v1/session/renew/{s}")
    assert r.status == 404 and text(r) == f"Session id '{s}' not found"
    # lower case, small numbers are seconds, nothing is unknown, no checks at all
    low = create(a, lockdelay=7, name="low", checks=[], bogus=1)
    info, = b.get(f"/v1/session/info/{low}?consistent").json
    assert info["LockDelay"] == 7 * 10 ** 9 and info["NodeChecks"] == []


WRONG = [
    ({"TTL": "5s"}, 500, "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]"),
    ({"TTL": "25h"}, 500, "Invalid Session TTL '90000000000000', must be between [10s=24h0m0s]"),
    ({"TTL": "x"}, 500, None), ({"Behavior": "burn"}, 500, "Invalid Behavior setting 'burn'"),
    ({"Node": "none"}, 500, "Missing node registration"), ({"NodeChecks": ["none"]}, 500, "Missing check 'none' registration"),
    ({"LockDelay": "-10s"}, 400, "Request decode failed: LockDelay is negative"), ({"LockDelay": "-9000000000s"}, 400, None),
    ({"NodeChecks": "x"}, 400, None), ({"Name": 1}, 400, None), ("{", 400, None),
]


@pytest.mark.parametrize("body,status,what", WRONG, ids=[str(b)[:40] for b, _, _ in WRONG])
def test_errors(shared, body, status, what):
    r = shared.nodes[0].put("/v1/session/create", body.encode() if isinstance(body, str) else body)
    assert r.status == status and (what is None or text(r) == what), r


@pytest.mark.parametrize("path,status", [("info/", 400), ("info/short", 500), ("renew/short", 500), ("destroy/", 400), (f"info/{NOBODY}", 200)])
def test_ids(shared, path, status):
    n = shared.nodes[0]
    assert (n.get if path.startswith("info") else n.put)(f"/v1/session/{path}").status == status


def test_locks(shared):
    """One holder; released, let go with the session after the delay, or deleted with it."""
    a, b, c = shared.nodes
    one, two = create(a, LockDelay="5s"), create(b, Behavior="delete", LockDelay="0s")
    assert a.put(f"{KV}/l?acquire={one}", b"1").json is True and b.put(f"{KV}/l?acquire={two}", b"2").json is False
    held = row(c, "l")
    assert held["Session"] == one and held["LockIndex"] == 1
    assert a.put(f"{KV}/l?acquire={one}", b"3").json is True and row(c, "l")["LockIndex"] == 1
    assert b.put(f"{KV}/l?release={two}", b"x").json is False and a.put(f"{KV}/l?release={one}", b"4").json is True
    assert "Session" not in row(c, "l") and b.put(f"{KV}/l?acquire={two}", b"5").json is True and row(c, "l")["LockIndex"] == 2
    assert c.put(f"/v1/session/destroy/{two}").json is True
    assert c.get(f"{KV}/l?consistent").status == 404
    a.put(f"{KV}/m?acquire={one}", b"1")
    three = create(b)
    began = time.monotonic()
    a.put(f"/v1/session/destroy/{one}")
    assert "Session" not in row(c, "m")
    assert b.put(f"{KV}/m?acquire={three}", b"2").json is False  # the delay runs
    wait_for(lambda: b.put(f"{KV}/m?acquire={three}", b"2").json is True, 20 * SLOW, "the end of the delay")
    assert time.monotonic() - began >= 4.9


def test_mutual_exclusion(shared):
    sessions = [create(shared.nodes[i % 3]) for i in range(12)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        got = list(pool.map(lambda s: shared.nodes[sessions.index(s) % 3].put(f"{KV}/mutex?acquire={s}", s.encode()).json, sessions))
    assert got.count(True) == 1
    holder = row(shared.nodes[0], "mutex")
    assert holder["Session"] == sessions[got.index(True)]


def test_a_ttl_that_passes_lets_go(shared):
    """Twice the TTL after the last renewal; waiters are woken."""
    a, b, c = shared.nodes
    s = create(a, TTL="10s", LockDelay="0s", Behavior="delete")
    assert a.put(f"{KV}/ttl?acquire={s}", b"1").json is True
    at = index(b.get(f"{KV}/ttl?consistent"))
    began = time.monotonic()
    assert b.put(f"/v1/session/renew/{s}").status == 200
    r = c.get(f"{KV}/ttl?index={at}&wait=120s", timeout=150)
    assert r.status == 404 and time.monotonic() - began >= 19
    assert b.get(f"/v1/session/info/{s}?consistent").json == []


def test_a_check_that_fails_ends_the_session(shared):
    a, b, c = shared.nodes
    a.put("/v1/agent/service/register", {"Name": "guarded", "Check": {"TTL": "600s", "Status": "passing"}})
    node = a.get("/v1/health/service/guarded?consistent").json[0]["Node"]["Node"]
    s = create(b, Node=node, NodeChecks=["serfHealth"], ServiceChecks=[{"ID": "service:guarded"}])
    assert b.put(f"{KV}/guard?acquire={s}", b"1").json is True
    assert c.put("/v1/agent/check/fail/service:guarded").status == 200
    assert b.get(f"/v1/session/info/{s}?consistent").json == [] and "Session" not in row(c, "guard")
    r = b.put("/v1/session/create", {"Node": node, "ServiceChecks": [{"ID": "service:guarded"}]})
    assert r.status == 500 and text(r) == "Check 'service:guarded' is in critical state"
