# SPDX-License-Identifier: Apache-2.0
"""Snapshots in Consul's format: saved at one node, restored at another one; what differs is written, and nothing else."""
import gzip
import hashlib
import io
import json
import os
import resource
import socket
import tarfile
import tempfile
import uuid

import pytest
from harness import Cluster, wait_for

ROOT_TOKEN = "f0e1d2c3-0000-4000-8000-00000000c0de"


@pytest.fixture(scope="module")
def guarded():
    fd, path = tempfile.mkstemp(prefix="muster-token-")
    os.write(fd, ROOT_TOKEN.encode() + b"\n")
    os.close(fd)
    c = Cluster(3, extra=["--acl-enabled", "--acl-initial-token-file", path, "--acl-default-policy", "deny"])
    c.token = ROOT_TOKEN
    try:
        yield c.start().settled()
    finally:
        c.close()
        os.unlink(path)


def ok(r):
    assert r.status in (200, 201), r.body
    return r


def save(node, query=""):
    r = ok(node.get("/v1/snapshot" + query))
    assert r.headers["content-type"] == "application/x-gzip" and int(r.headers["x-consul-index"]) > 1
    return r.body


def restore(node, snapshot):
    r = ok(node.put("/v1/snapshot", snapshot, timeout=60))
    assert r.body == b""
    return int(r.headers["muster-snapshot-changes"]), int(r.headers["muster-snapshot-passed-over"])


def revision(node):
    """Of the store: it moves with every change. What runs by itself has run, and a node that lags catches up first."""
    wait_for(lambda: all(c["Output"] for c in ok(node.get("/v1/agent/checks?consistent")).json.values() if c["Type"] == "tcp"), 15, "the first run of each check")
    return node.get("/api/v1/cluster").json["revision"]


def state(node):
    """All that a snapshot is about, without indexes."""
    def strip(v):
        if isinstance(v, dict):
            return {k: strip(x) for k, x in v.items() if k not in ("CreateIndex", "ModifyIndex", "LockIndex", "Output")}
        return [strip(x) for x in v] if isinstance(v, list) else v
    paths = ["kv/?recurse", "catalog/nodes", "health/state/any", "session/list", "query", "config/service-defaults", "operator/autopilot/configuration", "coordinate/nodes", "acl/tokens", "acl/policies",
             "acl/roles", "agent/services", "agent/checks"]
    out = {p: node.get("/v1/" + p) for p in paths}
    out = {p: strip(r.json) if r.status == 200 else r.status for p, r in out.items()}
    for name in ok(node.get("/v1/catalog/services")).json:
        out[name] = strip(node.get("/v1/health/service/" + name).json)
    return out


def fill(c):
    """Something of every kind; returns the secret of a token."""
    a, b, d = c.nodes
    ok(a.put("/v1/kv/snap/plain?flags=42", b"one"))
    ok(b.put("/v1/kv/snap/bytes", bytes(range(256))))
    ok(d.put("/v1/kv/snap/empty", b""))
    ok(a.put("/v1/kv/snap/large", os.urandom(300_000)))
    body = {"Node": "ext", "Address": "10.0.0.1", "ID": str(uuid.uuid4()), "TaggedAddresses": {"lan": "10.0.0.1", "wan": "1.2.3.4"}, "NodeMeta": {"rack": "r1", "row": "2"},
            "Service": {"ID": "db1", "Service": "db", "Tags": ["x", "y"], "Port": 5432, "Meta": {"k": "v"}, "Weights": {"Passing": 5, "Warning": 2}, "EnableTagOverride": True,
                        "TaggedAddresses": {"lan": {"Address": "10.0.0.9", "Port": 1}}},
            "Checks": [{"CheckID": "db-c", "Name": "db", "Status": "passing", "ServiceID": "db1", "Output": "fine", "Definition": {"HTTP": "http://10.0.0.1/", "Interval": "10000ms"}},
                       {"CheckID": "ext-c", "Name": "node", "Status": "warning", "Notes": "some"}]}
    ok(b.put("/v1/catalog/register", body))
    ok(a.put("/v1/agent/service/register", {"Name": "web", "ID": "web1", "Port": 80, "Tags": ["t"], "Checks": [
        {"TTL": "1h", "Status": "passing"}, {"Name": "port", "TCP": "127.0.0.1:1", "Interval": "1h", "Timeout": "1s", "FailuresBeforeCritical": 3, "DeregisterCriticalServiceAfter": "24h"}]}))
    wait_for(lambda: ok(a.get("/v1/agent/checks")).json["service:web1:2"]["Output"], 10, "the first run: what it finds is a change")
    held = ok(a.put("/v1/session/create", {"Name": "holder", "LockDelay": "1s", "TTL": "1h"})).json["ID"]
    bound = ok(b.put("/v1/session/create", {"Name": "bound", "Node": "ext", "NodeChecks": ["ext-c"], "ServiceChecks": [{"ID": "db-c"}], "Behavior": "delete", "LockDelay": "1s"})).json["ID"]
    assert ok(a.put(f"/v1/kv/snap/lock?acquire={held}", b"held")).json and ok(b.put(f"/v1/kv/snap/lock2?acquire={bound}", b"held too")).json
    ok(a.post("/v1/query", {"Name": "find-db", "Service": {"Service": "db", "Tags": ["x"], "OnlyPassing": True, "Failover": {"NearestN": 2}}, "DNS": {"TTL": "10s"}}))
    ok(a.post("/v1/query", {"Name": "geo-", "Template": {"Type": "name_prefix_match", "Regexp": "^geo-(.*)$"}, "Service": {"Service": "${match(1)}"}}))
    ok(a.put("/v1/config", {"Kind": "service-defaults", "Name": "db", "Protocol": "http"}))
    ok(a.put("/v1/config", {"Kind": "service-resolver", "Name": "db", "ConnectTimeout": "1500ms"}))
    ok(b.put("/v1/operator/autopilot/configuration", {"CleanupDeadServers": False, "LastContactThreshold": "300ms", "ServerStabilizationTime": "12s"}))
    ok(a.put("/v1/coordinate/update", {"Node": "ext", "Coord": {"Vec": [0.1, 0, 0, 0, 0, 0, 0, 0.5], "Error": 1.2, "Adjustment": 0.1, "Height": 0.00001}}))
    ok(a.put("/v1/acl/policy", {"Name": "reader", "Rules": 'key_prefix "snap/" { policy = "read" }', "Description": "d"}))
    ok(a.put("/v1/acl/role", {"Name": "readers", "Policies": [{"Name": "reader"}], "NodeIdentities": [{"NodeName": "ext", "Datacenter": "dc1"}]}))
    return ok(a.put("/v1/acl/token", {"Description": "told once", "Roles": [{"Name": "readers"}], "ServiceIdentities": [{"ServiceName": "web"}], "ExpirationTTL": "20h"})).json["SecretID"]


def files_of(snapshot):
    t = tarfile.open(fileobj=io.BytesIO(snapshot))
    return {m.name: t.extractfile(m).read() for m in t.getmembers()}


def packed(files):
    """An archive of those files, with the sums that they have unless SHA256SUMS is among them."""
    files = dict(files)
    files.setdefault("SHA256SUMS", "".join(f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n" for n in ("meta.json", "state.bin") if n in files).encode())
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as t:
        for name, body in files.items():
            m = tarfile.TarInfo(name)
            m.size = len(body)
            t.addfile(m, io.BytesIO(body))
    tar = out.getvalue()
    return gzip.compress(tar[: len(tar) - len(tar) % 512].rstrip(b"\0") + b"\0" * (512 - len(tar.rstrip(b"\0")) % 512 + 1024))


def test_round_trip(guarded):
    a, b, d = guarded.nodes
    secret = fill(guarded)
    ok(a.put("/api/v1/configs/app/untouched", b"native"))
    ok(a.put("/api/v1/services/native/instances/i1", {"address": "10.9.9.9", "port": 1}))
    # The first run of a check is a write of its own.
    wait_for(lambda: any("refused" in c["Output"] for c in ok(a.get("/v1/health/checks/web?consistent")).json), what="the check of the port to have been run")
    before, snapshot = state(a), save(b)
    assert sorted(files_of(snapshot)) == ["SHA256SUMS", "meta.json", "state.bin"]
    assert secret.encode() not in files_of(snapshot)["state.bin"], "secrets are not known, so they cannot be in it"

    # Nothing differs: nothing is written.
    at = revision(a)
    assert restore(d, snapshot) == (0, 0) and revision(a) == at

    # Changed, deleted and added, of every kind.
    held = before["session/list"]
    for s in held:
        ok(a.put("/v1/session/destroy/" + s["ID"]))
    ok(b.put("/v1/kv/snap/plain", b"other"))
    ok(b.delete("/v1/kv/snap/bytes"))
    other = ok(a.put("/v1/session/create", {"Name": "intruder", "LockDelay": "60s"})).json["ID"]
    ok(b.put("/v1/kv/new/key", b"new"))
    assert wait_for(lambda: ok(a.put(f"/v1/kv/snap/lock?acquire={other}", b"stolen")).json, 10, "the lock to be free")
    ok(a.put("/v1/agent/service/deregister/web1"))
    ok(a.put("/v1/agent/service/register", {"Name": "late", "Port": 1, "Check": {"TTL": "1h"}}))
    ok(b.put("/v1/catalog/register", {"Node": "ext", "Address": "10.0.0.2", "Service": {"ID": "db1", "Service": "db", "Port": 1}}))
    ok(b.put("/v1/catalog/register", {"Node": "late", "Address": "10.0.0.3", "Service": {"Service": "db"}, "Check": {"Name": "late", "Status": "critical"}}))
    ok(b.put("/v1/catalog/deregister", {"Node": "ext", "CheckID": "ext-c"}))
    for q in ok(a.get("/v1/query")).json:
        ok(a.delete("/v1/query/" + q["ID"]))
    ok(a.post("/v1/query", {"Name": "find-db", "Service": {"Service": "late"}}))
    ok(a.put("/v1/config", {"Kind": "service-defaults", "Name": "late", "Protocol": "tcp"}))
    ok(a.delete("/v1/config/service-defaults/db"))
    ok(a.put("/v1/operator/autopilot/configuration", {"CleanupDeadServers": True}))
    ok(a.put("/v1/coordinate/update", {"Node": "ext", "Coord": {"Vec": [0] * 8, "Error": 1, "Adjustment": 0, "Height": 0}}))
    policy = ok(a.get("/v1/acl/policy/name/reader")).json["ID"]
    ok(a.delete("/v1/acl/policy/" + policy))
    ok(a.put("/v1/acl/policy", {"Name": "reader", "Rules": 'key_prefix "" { policy = "deny" }'}))
    token = [t for t in before["acl/tokens"] if t["Description"] == "told once"][0]["AccessorID"]
    ok(b.delete("/v1/acl/token/" + token))
    late = ok(a.put("/v1/acl/token", {"Description": "late", "Policies": [{"Name": "reader"}]})).json["SecretID"]

    # A watcher of what is restored is woken, and its index goes forward.
    index = int(ok(b.get("/v1/kv/snap/plain")).headers["x-consul-index"])
    changes, passed = restore(d, snapshot)
    assert changes > 20 and passed == 0
    r = ok(b.get(f"/v1/kv/snap/plain?index={index}&wait=10s"))
    assert int(r.headers["x-consul-index"]) > index and r.json[0]["Value"] == "b25l"
    wait_for(lambda: state(b) == before, 10, "the follower to have all of it")
    assert state(a) == before
    assert {e["Key"]: e.get("Session") for e in ok(a.get("/v1/kv/snap/lock?recurse")).json} == {
        "snap/lock": next(s["ID"] for s in held if s["Name"] == "holder"), "snap/lock2": next(s["ID"] for s in held if s["Name"] == "bound")}
    assert ok(a.get("/v1/kv/snap/plain", headers={"X-Consul-Token": secret})).json[0]["Flags"] == 42, "the token works again"
    assert a.get("/v1/kv/snap/plain", headers={"X-Consul-Token": late}).status == 403
    assert ok(a.get("/api/v1/configs/app/untouched")).body == b"native"
    assert ok(a.get("/api/v1/services/native")).status == 200
    assert ok(a.get("/v1/health/node/n1")).json[0]["CheckID"] == "serfHealth"
    assert restore(a, snapshot) == (0, 0)
    # It still runs: the check of its own, the session's lease.
    assert ok(b.put("/v1/agent/check/pass/service:web1:1")).status == 200
    assert ok(b.put("/v1/session/renew/" + next(s["ID"] for s in held if s["Name"] == "holder"))).status == 200


def test_names_were_swapped(guarded):
    """What is found by its name is found by the one that it had."""
    a = guarded.nodes[0]

    def names(of):
        for i, name in zip(ids, of):
            ok(a.put("/v1/query/" + i, {"Name": name, "Service": {"Service": "s" + i}}))
        for i, name in zip(policies, of):
            ok(a.put("/v1/acl/policy/" + i, {"ID": i, "Name": name, "Description": i, "Rules": ""}))
    ids = [ok(a.post("/v1/query", {"Name": n, "Service": {"Service": "x"}})).json["ID"] for n in ("swap1", "swap2")]
    policies = [ok(a.put("/v1/acl/policy", {"Name": n, "Rules": ""})).json["ID"] for n in ("swap1", "swap2")]
    names(["swap1", "swap2"])
    snapshot = save(a)
    names(["swap3", "swap2"])
    names(["swap3", "swap1"])
    names(["swap2", "swap1"])
    restore(a, snapshot)
    for i, p, name in zip(ids, policies, ("swap1", "swap2")):
        assert ok(a.get(f"/v1/query/{name}/execute")).json["Service"] == "s" + i
        assert ok(a.get("/v1/acl/policy/name/" + name)).json["ID"] == p
    assert a.get("/v1/query/swap3/execute").status == 404
    assert restore(a, snapshot) == (0, 0)


def test_lock_delay_is_waited_for(guarded):
    a, b, _ = guarded.nodes
    s = ok(a.put("/v1/session/create", {"LockDelay": "1s"})).json["ID"]
    assert ok(a.put(f"/v1/kv/delay?acquire={s}", b"x")).json
    snapshot = save(a)
    ok(a.put("/v1/session/destroy/" + s))
    assert not ok(a.put("/v1/kv/delay?acquire=" + ok(a.put("/v1/session/create", {})).json["ID"])).json, "nobody gets it now"
    assert restore(b, snapshot)[0] > 0
    assert ok(b.get("/v1/kv/delay?consistent")).json[0]["Session"] == s


def test_into_another_cluster(guarded, single):
    """What stood on members that the other cluster does not have stands on the node that restores; nothing else differs."""
    a = guarded.nodes[0]
    before, snapshot = state(a), save(a)
    ok(single.put("/v1/kv/gone", b"x"))
    changes, passed = restore(single, snapshot)
    assert changes > 20 and passed == 0
    after = state(single)
    assert after["kv/?recurse"] == before["kv/?recurse"] and after["query"] == before["query"]
    assert {s["ID"] for s in after["session/list"]} == {s["ID"] for s in before["session/list"]}
    assert after["agent/services"]["web1"] == before["agent/services"]["web1"]
    assert {n["Node"] for n in after["catalog/nodes"]} == {single.name, "ext"}
    assert restore(single, snapshot) == (0, 0)


def test_many_keys(single):
    """More than a batch holds, both ways."""
    snapshot = save(single)
    for i in range(10):
        ok(single.put("/v1/txn", [{"KV": {"Verb": "set", "Key": f"many/{i}/{j}", "Value": "eA=="}} for j in range(100)]))
    full = save(single)
    assert restore(single, snapshot)[0] == 1000
    assert single.get("/v1/kv/many/?keys").status == 404
    assert restore(single, full)[0] == 1000
    assert len(ok(single.get("/v1/kv/many/?keys")).json) == 1000


def test_bad_archives_change_nothing(single):
    ok(single.put("/v1/kv/a", b"1"))
    good = save(single)
    files = files_of(good)
    ok(single.put("/v1/kv/a", b"2"))
    at = revision(single)
    read = "failed to read snapshot file: "
    sums = files["SHA256SUMS"].decode().splitlines()
    flipped = bytearray(files["state.bin"])
    flipped[-1] ^= 1
    known = {k: files[k] for k in ("meta.json", "state.bin")}
    bad = [
        (b"", "failed to decompress snapshot: EOF"),
        (b"no archive at all", "failed to decompress snapshot: gzip: invalid header"),
        (good[: len(good) // 2], read + "unexpected EOF"),
        (good[:-8] + b"\0" * 4 + good[-4:], read + "gzip: invalid checksum"),
        (good + b"more", read + "there are bytes behind its end"),
        (gzip.compress(b"x" * 512), read + "archive/tar: invalid tar header"),
        (packed({**known, "other": b""}), read + 'unexpected file "other" in snapshot'),
        (packed({**files, "state.bin": bytes(flipped)}), read + 'failed checking integrity of snapshot: hash check failed for "state.bin"'),
        (packed({"meta.json": files["meta.json"]}), read + 'failed checking integrity of snapshot: file missing for "state.bin"'),
        (packed({**known, "SHA256SUMS": (sums[0] + "\n").encode()}), read + 'failed checking integrity of snapshot: file missing for "state.bin"'),
        (packed({**known, "SHA256SUMS": b"%s  elsewhere\n" % sums[0].split()[0].encode()}), read + 'failed checking integrity of snapshot: list missing hash for "elsewhere"'),
        (packed({**known, "meta.json": b"{"}), read + "failed to decode snapshot metadata"),
        (packed({**known, "state.bin": b""}), "state.bin does not begin with a header"),
        (packed({**known, "state.bin": files["state.bin"] + b"\x63\x80"}), "failed to restore snapshot: Unrecognized msg type 99"),
        (packed({**known, "state.bin": files["state.bin"] + b"\x02\x81\xa3Key"}), "is cut off or malformed"),
        (packed({**known, "state.bin": files["state.bin"] + b"\x02\x80"}), "key: a key has 1 to 4096 bytes"),
        (packed({**known, "state.bin": files["state.bin"] + b"\x02\xdd\xff\xff\xff\xff"}), "is cut off or malformed"),
    ]
    assert packed(files) and restore(single, packed(files))[0] == 1, "the packer makes good ones"
    ok(single.put("/v1/kv/a", b"2"))
    at = revision(single)
    for body, text in bad:
        r = single.put("/v1/snapshot", body)
        assert r.status == 500 and text in r.body.decode(), (text, r.status, r.body)
    # What is small and unpacks to more than is allowed.
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb", compresslevel=9) as z:
        head = tarfile.TarInfo("state.bin")
        head.size = 511 * 1024 * 1024
        z.write(head.tobuf(tarfile.USTAR_FORMAT))
        head.size = 513 * 1024 * 1024
    r = single.put("/v1/snapshot", gzip.compress(head.tobuf(tarfile.USTAR_FORMAT)))
    assert r.status == 413 and b"too large" in r.body
    assert b"unexpected EOF" in single.put("/v1/snapshot", bomb.getvalue()).body
    r = single.request("PUT", "/v1/snapshot", b"", headers={"Content-Length": str(65 * 1024 * 1024), "Expect": "100-continue"})
    assert r.status == 413 and r.body == b"the snapshot is too large: at most 64 MiB"
    assert revision(single) == at and ok(single.get("/v1/kv/a?raw")).body == b"2"


def test_who_may(guarded):
    a = guarded.nodes[0]
    ok(a.put("/v1/acl/policy", {"Name": "nearly", "Rules": 'acl = "read" operator = "write" key_prefix "" { policy = "write" }'}))
    nearly = ok(a.put("/v1/acl/token", {"Policies": [{"Name": "nearly"}]})).json["SecretID"]
    snapshot = save(a, "?stale")
    at = revision(a)
    for token, text in ((nearly, b"Permission denied"), ("", b"Permission denied"), (str(uuid.uuid4()), b"ACL not found")):
        for r in (a.get("/v1/snapshot", headers={"X-Consul-Token": token}), a.put("/v1/snapshot", snapshot, headers={"X-Consul-Token": token})):
            assert r.status == 403 and r.body == text
    assert a.put("/v1/snapshot", snapshot, headers={"X-Consul-Token": ""}, timeout=60).status == 403
    assert ok(a.put(f"/v1/snapshot?token={ROOT_TOKEN}", snapshot, headers={"X-Consul-Token": nearly}, timeout=60)).body == b""
    assert revision(a) == at
    assert a.get("/v1/snapshot?dc=nope").body == a.put("/v1/snapshot?dc=nope", snapshot).body == b"No path to datacenter"
    assert a.put("/v1/snapshot?stale", snapshot).body == b"stale not allowed for restore"
    r = a.delete("/v1/snapshot")
    assert r.status == 405 and r.headers["allow"] == "OPTIONS,GET,PUT"
    assert json.loads(files_of(snapshot)["meta.json"])["Version"] == 1


@pytest.mark.parametrize("path", ["/v1/snapshot", "/api/v1/snapshot"])
def test_client_vanishes_in_a_download(single, path):
    """Half-closed first, as a client does that has no more to ask, then cut: the download ends, and another one may begin."""
    for i in range(28):
        ok(single.put(f"/v1/kv/large/{i}", os.urandom(512 * 1024)))
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("127.0.0.1", single.http_port))
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert s.recv(1000).startswith(b"HTTP/1.1 200")
    s.shutdown(socket.SHUT_WR)
    ok(single.get("/v1/status/leader"))  # whichever worker: the end was seen soon after
    assert single.put("/v1/snapshot", b"").status == 500
    s.close()
    wait_for(lambda: single.get("/v1/snapshot").status == 200, 5, "another one")
    assert single.stop(10) == 0
    single.start()


class Halfway:
    """A restore that waits half-way, as one lock is delayed: what the snapshot has is there, what it does not have is not gone."""

    def __init__(self, node, delay="2s"):
        self.node = node
        self.session = ok(node.put("/v1/session/create", {"LockDelay": delay})).json["ID"]
        assert ok(node.put(f"/v1/kv/half/lock?acquire={self.session}", b"x")).json
        ok(node.put("/v1/kv/half/there", b"x"))
        self.snapshot = save(node)
        ok(node.delete("/v1/kv/half/there"))
        ok(node.put("/v1/kv/half/late", b"x"))
        ok(node.put("/v1/session/destroy/" + self.session))

    def begin(self, node=None):
        node = node or self.node
        self.connection = node.connect(60)
        headers = {"X-Consul-Token": node.cluster.token} if node.cluster.token else {}
        self.connection.request("PUT", "/v1/snapshot", self.snapshot, headers)
        wait_for(lambda: node.get("/v1/kv/half/there?stale").status == 200, 10, "the first half")
        assert node.get("/v1/kv/half/late?stale").status == 200
        return self

    def answer(self):
        r = self.connection.getresponse()
        return r.status, r.read().decode()

    def is_whole(self, node):
        return (ok(node.get("/v1/kv/half/lock?consistent")).json[0].get("Session") == self.session and node.get("/v1/kv/half/late?consistent").status == 404
                and node.get("/v1/kv/half/there?consistent").status == 200)


def test_one_at_a_time_and_the_client_goes(single):
    half = Halfway(single).begin()
    busy = b"this node saves or restores another snapshot; try again when it is done"
    for r in (single.put("/v1/snapshot", half.snapshot), single.get("/v1/snapshot")):
        assert r.status == 500 and r.body == busy
    half.connection.close()
    made = {"kv/half/meanwhile": b"x", "agent/service/register": {"Name": "meanwhile", "Check": {"TTL": "1h"}}, "catalog/register": {"Node": "meanwhile", "Address": "10.0.0.1"}, "session/create": {"Name": "meanwhile"},
            "config": {"Kind": "service-defaults", "Name": "meanwhile", "Protocol": "http"}}
    for path, body in made.items():
        ok(single.put("/v1/" + path, body))
    wait_for(lambda: half.is_whole(single), 10, "the second half, which nobody asks about")
    wait_for(lambda: single.get("/v1/snapshot").status == 200, 5, "the turn to be given back")
    # What was made meanwhile stays: one that makes things all the time could not hold up the end.
    for path in ("kv/half/meanwhile", "catalog/service/meanwhile", "health/checks/meanwhile", "catalog/node/meanwhile", "session/list", "config/service-defaults/meanwhile"):
        assert len(single.get("/v1/" + path).json or "") > 0, path


def test_node_goes_down_in_a_restore(single):
    half = Halfway(single, "60s").begin()
    single.process.terminate()
    status, text = half.answer()
    assert status == 500 and text.startswith("the restore broke off after ") and text.endswith(" changes: this node goes down. Restoring it again completes it.")
    assert single.stop(5) == 0
    single.start()
    wait_for(lambda: single.get("/v1/kv/half/there").status == 200, 10, "what was done to be there")
    assert single.get("/v1/kv/half/late").status == 200 and not half.is_whole(single)


def test_leader_dies_in_a_restore(cluster):
    """The node that restores waits for the next leader and goes on; so does another restore of the same on another node."""
    leader = cluster.leader()
    others = [x for x in cluster.nodes if x is not leader]
    first = Halfway(others[0]).begin()
    leader.kill()
    wait_for(lambda: restore(others[1], first.snapshot), 20, "the second one")
    assert first.answer() == (200, "") and first.is_whole(others[1])


def test_no_room(single):
    """Files may not grow: neither saves nor restores, says why, and goes on."""
    for i in range(4):
        ok(single.put(f"/v1/kv/large/{i}", os.urandom(500_000)))
    snapshot = save(single)
    ok(single.put("/v1/kv/large/0", b"changed"))
    at = revision(single)
    resource.prlimit(single.process.pid, resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
    for r in (single.get("/v1/snapshot"), single.put("/v1/snapshot", snapshot)):
        assert r.status == 500 and r.body.endswith(b"the temporary file of the snapshot: File too large")
    resource.prlimit(single.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert revision(single) == at and restore(single, snapshot)[0] == 1
