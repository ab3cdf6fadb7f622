# SPDX-License-Identifier: Apache-2.0
"""libmuster's examples against three real nodes that are killed, paused and restarted."""
import contextlib
import random
import re
import signal
import subprocess
import threading
import time

import pytest
from harness import BUILD, SLOW, clean_env, quote, wait_for

EXAMPLES = BUILD / "client" / "examples"


class Program:
    """One of the examples, with what it has printed."""

    def __init__(self, name, cluster, *args, env=None):
        self.name, self.lines = name, []
        endpoints = ",".join(x.endpoint for x in cluster.nodes)
        self.process = subprocess.Popen([str(EXAMPLES / name), endpoints, *map(str, args)], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, env={**clean_env(), **(env or {})})
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_line(self, pattern, timeout=20, after=0):
        return wait_for(lambda: next((x for x in self.lines[after:] if re.search(pattern, x)), None), timeout,
                        f"{pattern!r} from {self.name}: {self.lines[-3:]}")

    def revisions(self):
        return [int(m.group(1)) for x in list(self.lines) if (m := re.search(r"revision=(\d+)", x))]

    def send(self, what):
        self.process.send_signal(what)

    def stop(self):
        """SIGTERM; the exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGCONT)
        self.process.terminate()
        code = self.process.wait(30 * SLOW)
        self.reader.join(5)
        return code


@pytest.fixture
def run(request):
    started = []

    def start(name, cluster, *args, **kw):
        started.append(Program(name, cluster, *args, **kw))
        return started[-1]

    yield start
    for p in started:
        if p.process.poll() is None:
            p.process.kill()
            p.process.wait()


def publish(cluster, *args):
    endpoints = ",".join(x.endpoint for x in cluster.nodes)
    r = subprocess.run([str(EXAMPLES / "publish"), endpoints, *map(str, args)], capture_output=True, text=True, env=clean_env(),
                       timeout=60 * SLOW, check=False)
    m = re.search(r"revision=(\d+)", r.stdout)
    return r.returncode, int(m.group(1)) if m else None


def instances(node, service, query=""):
    return {i["id"]: i for i in node.get(f"/api/v1/services/{quote(service)}{query}").json["instances"]}


def test_every_revision_once_while_nodes_are_killed(cluster, run):
    """Leader and followers die and come back while a config is written: its subscribers see each revision once, in order."""
    made = [cluster.write("/api/v1/configs/app/s", b"0").revision]
    subscribers = [run("subscribe", cluster, "app", "s") for _ in range(2)]
    for s in subscribers:
        s.wait_line("revision=")
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            body = b"x" * 70000 if n % 10 == 0 else b"%d" % n
            r = cluster.write("/api/v1/configs/app/s", body, timeout=60)
            made.append(int(r.json["revision"]))
            if n == 20:
                subscribers.append(run("subscribe", cluster, "app", "s"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(4):
            time.sleep(1)
            victim = cluster.leader() if turn % 2 == 0 else cluster.follower()
            victim.kill()
            time.sleep(random.uniform(0.5, 1.5))
            victim.start()
            cluster.leader(30)
    finally:
        stop.set()
        writer.join()
    last = made[-1]
    for s in subscribers:
        wait_for(lambda s=s: s.revisions() and s.revisions()[-1] == last, 30, f"revision {last}, at {s.revisions()[-1:]}")
        got = s.revisions()
        assert got == made[made.index(got[0]):]
        assert s.stop() == 0
    assert len(made) > 30 and subscribers[0].revisions()[0] == made[0]


def test_publish_compares(shared):
    """A compare-and-set over the current revision succeeds, one over an older one says so."""
    code, first = publish(shared, "app", "cas", "one")
    assert code == 0
    code, second = publish(shared, "app", "cas", "two", first)
    assert code == 0 and second > first
    assert publish(shared, "app", "cas", "three", first) == (3, None)
    assert shared.nodes[0].get("/api/v1/configs/app/cas").body == b"two"


def test_publish_survives_a_killed_leader(cluster):
    """A publish that begins as the leader dies ends well, once."""
    for n in range(2):
        lead = cluster.leader()
        _, before = publish(cluster, "app", "once", f"before {n}")
        killer = threading.Timer(0.01, lead.kill)
        killer.start()
        code, rev = publish(cluster, "app", "once", f"after {n}")
        killer.join()
        assert code == 0 and rev > before
        lead.start()
        cluster.leader(30)
    versions = cluster.leader().get("/api/v1/configs/app/once/history").json["versions"]
    assert len(versions) == 4


def test_registered_and_kept_alive(cluster, run):
    """An instance outlives a killed leader without a moment of ill health, and is gone when its program ends."""
    ttl = int(3000 * SLOW)
    p = run("register", cluster, "web", "10.0.0.1", 80, ttl)
    p.wait_line("^registered")
    d = run("discover", cluster, "web")
    d.wait_line(r"instances=1 .*10\.0\.0\.1:80 picked")
    lead = cluster.leader()
    lead.kill()
    end = time.monotonic() + 2.5 * ttl / 1000
    other = cluster.running()[0]
    while time.monotonic() < end:
        with contextlib.suppress(OSError, KeyError):
            assert instances(other, "web", "?consistency=stale")["10.0.0.1:80"]["healthy"]
        time.sleep(0.1)
    lead.start()
    cluster.leader(30)
    seen = len(d.lines)
    assert not any("unhealthy" in x for x in d.lines)
    assert p.stop() == 0
    d.wait_line("instances=0", after=seen)
    assert instances(cluster.leader(), "web") == {}
    assert d.stop() == 0


def test_registered_again_after_a_long_pause(shared, run):
    """A program that slept through its time to live is registered again when it wakes."""
    p = run("register", shared, "sleeper", "10.0.0.2", 80, 1000)
    p.wait_line("^registered")
    d = run("discover", shared, "sleeper")
    d.wait_line("instances=1")
    p.send(signal.SIGSTOP)
    seen = len(d.lines)
    d.wait_line("instances=0", after=seen)
    seen = len(d.lines)
    p.send(signal.SIGCONT)
    p.wait_line("^info: registered again")
    d.wait_line(r"instances=1 .*10\.0\.0\.2:80 picked", after=seen)
    assert p.stop() == 0
    d.wait_line("instances=0", after=seen)


def test_many_instances_of_one_service(shared, run):
    """A discovered list follows whoever comes and goes, with its health."""
    d = run("discover", shared, "many")
    d.wait_line("instances=0")
    n = shared.nodes[1]
    for i in range(20):
        n.put(f"/api/v1/services/many/instances/i{i:02}", {"address": "10.0.0.3", "port": i})
    d.wait_line("instances=20")
    n.request("PATCH", "/api/v1/services/many/instances/i03", {"healthy": False})
    d.wait_line(r"i03\(unhealthy\)")
    for i in range(20):
        n.delete(f"/api/v1/services/many/instances/i{i:02}")
    seen = len(d.lines)
    d.wait_line("instances=0", after=max(0, seen - 5))


def test_the_disk_serves_while_the_cluster_is_down(cluster, run, tmp_path):
    """What was known is there at a start without cluster, said to be old; the rest follows once it is back."""
    rev = cluster.write("/api/v1/configs/app/s", b"known").revision
    cluster.leader().put("/api/v1/services/web/instances/a", {"address": "10.0.0.4", "port": 4})
    first = [run("subscribe", cluster, "app", "s", tmp_path), run("discover", cluster, "web", tmp_path)]
    first[0].wait_line(f"revision={rev} ")
    first[1].wait_line("instances=1")
    assert [p.stop() for p in first] == [0, 0]
    for x in cluster.nodes:
        x.kill()
    s, d = run("subscribe", cluster, "app", "s", tmp_path), run("discover", cluster, "web", tmp_path)
    assert "(from disk): known" in s.wait_line(f"revision={rev} ", 30)
    d.wait_line(r"instances=1 .*\(stale\) a", 30)
    for x in cluster.nodes:
        x.start(wait=False)
    cluster.leader(30)
    later = cluster.write("/api/v1/configs/app/s", b"later").revision
    assert "(from disk)" not in s.wait_line(f"revision={later} ", 30)
    cluster.leader().put("/api/v1/services/web/instances/b", {"address": "10.0.0.5", "port": 5})
    d.wait_line(r"instances=2 revision=\d+ a b", 30)
    assert s.revisions() == [rev, later]
    assert [s.stop(), d.stop()] == [0, 0]


def test_a_paused_node_is_left(cluster, run):
    """A node that is stopped, not dead, holds nobody up for long: its streams are given up, writes go elsewhere."""
    s = run("subscribe", cluster, "app", "p")
    s.wait_line("revision=0")
    for x in cluster.nodes:
        x.pause()
        try:
            code, rev = publish(cluster, "app", "p", f"while {x.name} sleeps")
            assert code == 0
        finally:
            x.resume()
        s.wait_line(f"revision={rev} ", 40)
    revisions = s.revisions()
    assert revisions == sorted(set(revisions)) and len(revisions) == 4


def test_the_tour_of_the_manual(shared):
    """The program whose pieces docs/client.md shows does what they say."""
    env = {**clean_env(), "MUSTER_ENDPOINTS": ",".join(x.endpoint for x in shared.nodes)}
    for n in (1, 2):
        r = subprocess.run([str(EXAMPLES / "tour")], capture_output=True, text=True, env=env, timeout=60 * SLOW, check=True)
        assert "asking 127.0.0.1:8080 for customer 7" in r.stdout
        assert shared.nodes[0].get("/api/v1/configs/app/lines").body == b"hello\n" * n
    assert instances(shared.nodes[0], "web") == {}, "deregistered at the end"


def test_unreachable_without_disk(cluster):
    """With nothing to fall back on, a program is told so in time."""
    for x in cluster.nodes:
        x.kill()
    begin = time.monotonic()
    assert publish(cluster, "app", "x", "y")[0] == 1
    assert time.monotonic() - begin < 15 * SLOW
