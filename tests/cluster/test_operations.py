# SPDX-License-Identifier: Apache-2.0
"""What operators do: replace a dead member, grow one node to three, snapshot and restore, run out of disk, reload."""
import concurrent.futures
import http.client
import os
import shutil
import signal
import socket
import stat
import subprocess
import time

import pytest

from harness import BUILD, SLOW, Cluster, clean_env, wait_for

CONF = "/api/v1/configs"


def test_leadership_transfer(cluster):
    lead = cluster.leader()
    to = cluster.follower()
    r = lead.post("/api/v1/cluster:transfer", {"to": to.name})
    assert r.status == 200 and r.json["leader"] == to.name, r
    assert cluster.leader() is to
    assert cluster.write(f"{CONF}/tr/k", b"1").status in (200, 201)


def test_dead_member_is_replaced_without_losing_a_write(cluster):
    """One of three dies for good; a new node takes its place in one guided operation while writes go on."""
    acked = {}
    for i in range(200):
        acked[i] = cluster.write(f"{CONF}/rep/k{i}", str(i).encode()).json["revision"]
    dead = cluster.follower()
    dead.kill()
    shutil.rmtree(dead.dir)
    lead = cluster.leader()
    fresh = cluster.add_node("n4")
    cluster.initial, initial = "", cluster.initial
    fresh.start()
    cluster.initial = initial
    r = lead.post("/api/v1/cluster/members", {"name": "n4", "peer": fresh.peer, "replace": dead.name})
    assert r.status == 202, r
    cluster.nodes.remove(dead)
    for i in range(200, 260):
        acked[i] = cluster.write(f"{CONF}/rep/k{i}", str(i).encode()).json["revision"]

    def done():
        s = cluster.leader().status()
        members = {m["name"]: m["role"] for m in s["members"]}
        return (s["operation"] or "").startswith("done") and members.get("n4") == "voter" and dead.name not in members

    wait_for(done, 30, "the replacement to finish")
    for i in (0, 150, 259):
        assert fresh.get(f"{CONF}/rep/k{i}").body == str(i).encode()
    other = next(x for x in cluster.running() if x not in (fresh, cluster.leader()))
    other.kill()
    assert cluster.write(f"{CONF}/rep/after", b"x", timeout=30), "the new member counts for the quorum"


def test_never_below_two_voters(cluster):
    lead = cluster.leader()
    assert lead.delete(f"/api/v1/cluster/members/{lead.name}").status == 409
    assert lead.delete("/api/v1/cluster/members/unknown").status == 404


def test_single_node_grows_to_three_by_its_snapshot(tmp_path):
    """Stop the node, export, restore into three new ones: every acknowledged write is there."""
    c = Cluster(1)
    three = None
    try:
        n = c.start().nodes[0]
        revs = {i: n.put(f"{CONF}/grow/k{i}", str(i).encode()).json["revision"] for i in range(150)}
        assert n.stop() == 0
        snap = tmp_path / "one.snap"
        p = subprocess.run([str(BUILD / "server" / "musterd"), "export-snapshot", str(snap), "--name", n.name, "--data-dir", str(n.dir)],
                           capture_output=True, text=True, env=clean_env(), check=False)
        assert p.returncode == 0, p.stderr
        three = Cluster(3, extra=["--restore", str(snap)])
        three.start()
        for x in three.nodes:
            for i in revs:
                assert x.get(f"{CONF}/grow/k{i}").body == str(i).encode()
                assert x.get(f"{CONF}/grow/k{i}").json is not None
        r = three.write(f"{CONF}/grow/new", b"1")
        assert r.json["revision"] > max(revs.values())
        three.leader().kill()
        three.write(f"{CONF}/grow/new2", b"1")
    finally:
        c.close()
        if three:
            three.close()


def test_snapshot_download_and_restore(cluster, tmp_path):
    """A snapshot of the running cluster fills a new one; a damaged one is refused."""
    for i in range(100):
        cluster.write(f"{CONF}/snap/k{i}", str(i).encode())
    cluster.write("/api/v1/services/s/instances/i", b'{"address":"h","port":1}', headers={"Content-Type": "application/json"})
    r = cluster.follower().get("/api/v1/snapshot")
    assert r.status == 200 and len(r.body) > 1000
    snap = tmp_path / "c.snap"
    snap.write_bytes(r.body)
    other = Cluster(3, extra=["--restore", str(snap)])
    try:
        other.start()
        assert other.nodes[1].get(f"{CONF}/snap/k99").body == b"99"
        assert len(other.nodes[2].get("/api/v1/services/s").json["instances"]) == 1
        assert other.nodes[0].status()["cluster_id"] != cluster.nodes[0].status()["cluster_id"]
    finally:
        other.close()
    bad = bytearray(r.body)
    bad[len(bad) // 2] ^= 1
    snap.write_bytes(bytes(bad))
    p = subprocess.run([str(BUILD / "server" / "musterd"), "--data-dir", str(tmp_path / "x"), "--listen", "127.0.0.1:0", "--restore", str(snap)],
                       capture_output=True, text=True, timeout=30 * SLOW, env=clean_env(), check=False)
    assert p.returncode != 0 and "snap" in p.stderr


def test_catch_up_by_snapshot():
    """A node that was away longer than the log is kept gets a snapshot and then the rest."""
    c = Cluster(3, extra=["--snapshot-log", "1MiB", "--segment", "1MiB"])
    try:
        c.start()
        away = c.follower()
        away.kill()
        lead = c.leader()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda i: lead.put(f"{CONF}/big/k{i % 500}", b"x" * 4000), range(9000)))
        wait_for(lambda: b"muster_snapshots_total 0\n" not in lead.get("/metrics").body, 10, "a snapshot on the leader")
        away.start()
        last = lead.put(f"{CONF}/big/last", b"1")
        wait_for(lambda: away.get(f"{CONF}/big/last?consistency=stale").status == 200, 40, "catch-up")
        assert away.get(f"{CONF}/big/last").etag == last.etag
        assert len(away.get(f"{CONF}?group=big&limit=1000").json["configs"]) == 501
        lead.kill()
        c.write(f"{CONF}/big/after", b"1")
    finally:
        c.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_disk_full_refuses_writes_and_recovers(tmp_path):
    """On a small disk that fills up: writes get a clear refusal, reads go on, nothing crashes, space brings writes back."""
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=0700", "tmpfs", str(mount)], check=False).returncode != 0:
        pytest.skip("cannot mount tmpfs here")
    c = None
    try:
        c = Cluster(1, directory=mount)
        n = c.start().nodes[0]
        assert n.put(f"{CONF}/d/k", b"first").status == 201
        ballast = mount / "ballast"
        free = os.statvfs(mount).f_bavail * os.statvfs(mount).f_frsize
        with open(ballast, "wb") as f:
            f.write(b"\0" * max(0, free - 1024 * 1024))
        full = wait_for(lambda: (r := n.put(f"{CONF}/d/k2", b"x" * 1000)).status == 507 and r, 10, "writes to be refused")
        assert full.json["code"] == "DISK_FULL"
        assert n.get(f"{CONF}/d/k").body == b"first"
        assert n.get("/readyz").status == 503
        ballast.unlink()
        wait_for(lambda: n.put(f"{CONF}/d/k3", b"again").status == 201, 10, "writes to resume")
        n.alive_or_fail()
        for i in range(3000):
            if n.put(f"{CONF}/d/fill{i}", b"y" * 20000).status == 507:
                break
        else:
            raise AssertionError("the disk never filled")
        n.alive_or_fail()
        assert n.get(f"{CONF}/d/k3").body == b"again"
    finally:
        if c:
            for x in c.nodes:
                x.kill()
        subprocess.run(["umount", str(mount)], check=False)


def test_damaged_log_does_not_vote_and_rejoins(cluster):
    """A flipped byte in the middle of a follower's log: it says so, does not take part, and is filled again by the others."""
    for i in range(300):
        cluster.write(f"{CONF}/dam/k{i % 30}", b"x" * 300)
    victim = cluster.follower()
    victim.kill()
    segments = sorted((victim.dir / "log").glob("*.seg"))
    data = bytearray(segments[0].read_bytes())
    at = 20000
    data[at] ^= 0x40
    segments[0].write_bytes(bytes(data))
    victim.start()
    wait_for(lambda: "damaged" in victim.log(), 5, "the damage to be said in the log")
    last = cluster.write(f"{CONF}/dam/last", b"1")
    wait_for(lambda: victim.get(f"{CONF}/dam/last?consistency=stale").status == 200, 30, "the node to be filled again")
    assert victim.get(f"{CONF}/dam/last").etag == last.etag


def test_reload_on_sighup(single):
    single.process.send_signal(signal.SIGHUP)
    wait_for(lambda: '"reloaded"' in single.log(), 5, "the reload")
    assert single.get("/livez").status == 200


def test_drain_answers_parked_requests(single):
    """SIGTERM with a parked long-poll: it is answered, the process exits with 0."""
    r = single.put(f"{CONF}/dr/k", b"1")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        parked = pool.submit(single.get, f"{CONF}/dr/k?wait=30s", headers={"If-None-Match": r.etag}, timeout=40)
        time.sleep(0.5)
        assert single.stop() == 0
        try:
            assert parked.result(10).status in (304, 503)
        except http.client.HTTPException:
            raise AssertionError("the parked request was dropped") from None


def test_logs_are_json_lines(single):
    import json

    single.put(f"{CONF}/log/k", b"canary-7f3a")
    for line in single.log().splitlines():
        entry = json.loads(line)
        assert {"ts", "level", "logger", "msg"} <= entry.keys()
    assert "canary-7f3a" not in single.log()


def test_a_socket_file_is_a_listener_and_is_cleared_up(tmp_path):
    one, path = Cluster(1), tmp_path / "m.sock"

    def ask():
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(path))
            s.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return s.makefile("rb").read()
    try:
        node = one.nodes[0]
        node.extra += ["--listen", f"{node.endpoint},unix://{path}", "--workers", "2", "--listen-mode", "0660"]
        node.start()
        assert all(ask().startswith(b"HTTP/1.1 200") for _ in range(8))  # by whichever worker
        assert stat.S_IMODE(path.lstat().st_mode) == 0o660
        node.kill()
        assert path.exists()
        node.start()
        assert ask().startswith(b"HTTP/1.1 200")
        node.stop()
        assert not path.exists()
    finally:
        one.close()
