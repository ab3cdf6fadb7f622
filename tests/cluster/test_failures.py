# SPDX-License-Identifier: Apache-2.0
"""Nodes die, stop, come back: nothing acknowledged is lost, no watcher misses or repeats, no lease ends early."""
import concurrent.futures
import http.client
import threading
import time
import uuid

from harness import SLOW, Cluster, Events, wait_for

CONF = "/api/v1/configs"
SERV = "/api/v1/services"


class Writer(threading.Thread):
    """Writes numbered values until stopped and remembers what was acknowledged, with its revision."""

    def __init__(self, cluster, prefix):
        super().__init__(daemon=True)
        self.cluster, self.prefix = cluster, prefix
        self.acked, self.halt = {}, threading.Event()

    def run(self):
        i = 0
        while not self.halt.is_set():
            try:
                r = self.cluster.write(f"{CONF}/{self.prefix}/k{i % 50}", f"{i}".encode(), timeout=30)
                self.acked[i] = r.json["revision"]
            except AssertionError:
                pass
            i += 1


def test_watchers_miss_nothing_and_see_nothing_twice_while_nodes_die(cluster):
    """Writers write and nodes are killed -9 and restarted in turn; each watcher sees each revision of its keys once, in order."""
    start = cluster.nodes[0].put(f"{CONF}/w/k0", b"start").json["revision"]
    watchers = [Events(cluster, "configs=w/*", start_from=start) for _ in range(4)]
    for w in watchers:
        w.start()
    writer = Writer(cluster, "w")
    writer.start()
    for round_ in range(4):
        time.sleep(0.7)
        victim = cluster.leader() if round_ % 2 == 0 else cluster.follower()
        victim.kill()
        time.sleep(0.7)
        victim.start()
    time.sleep(0.5)
    writer.halt.set()
    writer.join(60)
    last = cluster.write(f"{CONF}/w/last", b"end").json["revision"]
    for w in watchers:
        wait_for(lambda w=w: w.revisions() and w.revisions()[-1] >= last, 20, "the watcher to reach the end")
        w.stop()
    assert len(writer.acked) > 50
    for w in watchers:
        revs = w.revisions()
        assert all(a < b for a, b in zip(revs, revs[1:])), "strictly rising: no repeat, no disorder"
        missing = set(writer.acked.values()) - set(revs)
        assert not missing, f"{len(missing)} acknowledged revisions never seen"
        for message in w.changes:
            assert all(e["revision"] == message["revision"] for e in message["events"])
    assert sum(w.connects for w in watchers) > len(watchers), "somebody's node was killed"


def test_acknowledged_writes_survive_kill_of_all(cluster):
    """kill -9 of all three at once under load, three times: every acknowledged value is there afterwards."""
    acked, lock = {}, threading.Lock()
    halt = threading.Event()

    def work(me):
        i = 0
        while not halt.is_set():
            key, value = f"{CONF}/all/{me}", f"{me}-{i}"
            try:
                n = cluster.running()[i % max(1, len(cluster.running()))]
                if n.put(key, value.encode(), headers={"Muster-Request-Id": uuid.uuid4().hex}, timeout=4).status < 300:
                    with lock:
                        acked[me] = i
            except (OSError, http.client.HTTPException, IndexError, ZeroDivisionError):
                time.sleep(0.02)
            i += 1

    workers = [threading.Thread(target=work, args=(m,), daemon=True) for m in range(8)]
    for w in workers:
        w.start()
    for _ in range(3):
        time.sleep(1)
        for x in cluster.nodes:
            x.process.kill()
        for x in cluster.nodes:
            x.process.wait()
            x.process = None
        for x in cluster.nodes:
            x.start(wait=False)
        for x in cluster.nodes:
            wait_for(lambda x=x: x.alive_or_fail() and x.get("/livez").status == 200, 20, "restart")
        cluster.leader()
    halt.set()
    for w in workers:
        w.join(20)
    assert len(acked) == 8
    for me, i in acked.items():
        got = cluster.nodes[me % 3].get(f"{CONF}/all/{me}").body.decode()
        assert int(got.split("-")[1]) >= i, f"writer {me}: {got} is older than acknowledged {i}"


def test_long_polls_survive_a_leader_change(cluster):
    """Long-polls parked on followers are answered for a write after the leader died."""
    r = cluster.nodes[0].put(f"{CONF}/lc/k", b"1")
    lead = cluster.leader()
    others = [x for x in cluster.nodes if x is not lead]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        parked = [pool.submit(others[i % 2].get, f"{CONF}/lc/k?wait=20s", headers={"If-None-Match": r.etag}, timeout=30) for i in range(20)]
        time.sleep(0.5)
        lead.kill()
        cluster.write(f"{CONF}/lc/k", b"2")
        answers = [p.result(25 * SLOW) for p in parked]
    assert all(a.status == 200 and a.body == b"2" for a in answers)


def test_writes_resume_quickly_after_the_leader_is_killed(cluster):
    """A bound far above what is measured elsewhere: fail-over is a matter of seconds at most."""
    cluster.write(f"{CONF}/fo/k", b"0")
    cluster.leader().kill()
    t = time.monotonic()
    cluster.write(f"{CONF}/fo/k", b"1")
    assert time.monotonic() - t < 8 * SLOW


def test_lease_never_early_across_leader_change(cluster):
    """The leader dies; an instance kept alive at the old leader gets its full time from the new one, and goes at last."""
    n = cluster.follower()
    n.put(f"{SERV}/lease/instances/a", {"address": "h", "port": 1, "ttl": "3s", "remove_after": "0s"})
    deadline = None
    for _ in range(4):
        assert n.post(f"{SERV}/lease/instances/a/keepalive").status == 200
        deadline = time.monotonic() + 3
        time.sleep(0.3)
    cluster.leader().kill()
    gone = None
    while time.monotonic() < deadline:
        r = n.get(f"{SERV}/lease/instances/a?consistency=stale")
        assert r.status == 200, "ended before its time"
        time.sleep(0.05)
    gone = wait_for(lambda: n.get(f"{SERV}/lease/instances/a?consistency=stale").status == 404, 15, "the lease to end")
    assert gone


def test_lease_never_early_across_sigstop_of_the_leader(cluster):
    """A leader that was stopped and wakes up believing much time passed must not end what its successor keeps alive."""
    lead = cluster.leader()
    others = [x for x in cluster.nodes if x is not lead]
    others[0].put(f"{SERV}/stop/instances/a", {"address": "h", "port": 1, "ttl": "2s", "remove_after": "0s"})
    lead.pause()
    end = time.monotonic() + 6
    kept = 0
    resumed = False
    while time.monotonic() < end:
        for x in others:
            try:
                if x.post(f"{SERV}/stop/instances/a/keepalive", timeout=2).status == 200:
                    kept += 1
                    break
            except (OSError, http.client.HTTPException):
                pass
        if not resumed and time.monotonic() > end - 2:
            lead.resume()
            resumed = True
        time.sleep(0.2)
    assert kept > 5
    assert others[1].get(f"{SERV}/stop/instances/a").status == 200


def test_a_leader_that_was_stopped_reads_nothing_old(cluster):
    """A leader's read needs no round trip while the leader was confirmed just now; one that was stopped meanwhile is not."""
    for i in range(3):
        lead = cluster.leader()
        assert lead.put("/v1/kv/stopped", f"old {i}".encode()).body == b"true"
        client = http.client.HTTPConnection("127.0.0.1", lead.http_port, timeout=30)
        for _ in range(30):  # so that it is asked for, and confirmed
            client.request("GET", "/v1/kv/stopped?raw")
            assert client.getresponse().read() == f"old {i}".encode()
            time.sleep(0.01)
        other = next(n for n in cluster.nodes if n is not lead)
        lead.pause()
        wait_for(lambda: other.put("/v1/kv/stopped", f"new {i}".encode(), timeout=15).body == b"true", 20, "a write without it")
        client.request("GET", "/v1/kv/stopped?raw")
        lead.resume()
        assert client.getresponse().read() == f"new {i}".encode()


def test_followers_forward(cluster):
    """Writes of all kinds sent to followers are done by the leader and answered by the follower."""
    f = cluster.follower()
    for i in range(30):
        assert f.put(f"{CONF}/fwd/k{i}", b"v").status == 201
    assert f.put(f"{CONF}/fwd/k0", b"w", headers={"If-Match": '"999"'}).status == 412
    assert len(f.get(f"{CONF}?group=fwd").json["configs"]) == 30


def test_minority_refuses_writes_and_serves_marked_stale_reads(cluster):
    """Two of three gone: writes and linearizable reads are refused in bounded time, stale reads are answered and marked."""
    cluster.write(f"{CONF}/min/k", b"1")
    lead = cluster.leader()
    for x in cluster.nodes:
        if x is not lead:
            x.kill()
    time.sleep(1.5)
    t = time.monotonic()
    w = lead.put(f"{CONF}/min/k", b"2", timeout=20)
    assert w.status == 503 and w.json["code"] in ("NO_LEADER", "UNKNOWN_OUTCOME")
    g = lead.get(f"{CONF}/min/k", timeout=20)
    assert g.status == 503 and time.monotonic() - t < 15 * SLOW
    s = lead.get(f"{CONF}/min/k?consistency=stale")
    assert s.status == 200 and s.body == b"1" and s.headers["Muster-Stale"] == "true" and s.headers["Muster-Known-Leader"] == "false"
    assert lead.get("/readyz").status == 503


def test_node_that_was_away_catches_up(cluster):
    """A node that missed thousands of writes has them all after its return."""
    away = cluster.follower()
    away.kill()
    lead = cluster.leader()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda i: lead.put(f"{CONF}/away/k{i}", b"x" * 500), range(2000)))
    away.start()
    want = lead.get(f"{CONF}/away/k1999").etag
    wait_for(lambda: away.get(f"{CONF}/away/k1999?consistency=stale").status == 200, 20, "catch-up")
    assert away.get(f"{CONF}/away/k1999").etag == want
    wait_for(lambda: away.status()["applied_index"] == lead.status()["applied_index"], 10, "equal applied index")


def test_graceful_stop_hands_over(cluster):
    """SIGTERM of the leader: it exits with 0, leadership moves, a write right after works."""
    cluster.write(f"{CONF}/term/k", b"1")
    lead = cluster.leader()
    assert lead.stop() == 0
    t = time.monotonic()
    cluster.write(f"{CONF}/term/k", b"2")
    assert time.monotonic() - t < 4 * SLOW
    lead.start()
    wait_for(lambda: lead.get(f"{CONF}/term/k?consistency=stale").body == b"2", 10, "the returned node to follow")


def test_single_node_survives_kill():
    """One node without configuration keeps what it acknowledged across kill -9."""
    c = Cluster(1)
    try:
        n = c.start().nodes[0]
        for i in range(200):
            assert n.put(f"{CONF}/one/k{i}", str(i).encode()).status == 201
        for _ in range(3):
            n.kill()
            n.start()
            c.leader()
            for i in (0, 99, 199):
                assert n.get(f"{CONF}/one/k{i}").body == str(i).encode()
        assert n.put(f"{CONF}/one/k0", b"again").status == 200
        assert n.stop() == 0
        n.start()
        c.leader()
        assert n.get(f"{CONF}/one/k0").body == b"again"
    finally:
        c.close()
