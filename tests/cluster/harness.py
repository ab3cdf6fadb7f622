# SPDX-License-Identifier: Apache-2.0
"""Real musterd processes for tests: start, kill, stop, ask.

Binaries come from MUSTER_BUILD (default: build/ in the tree). Every process is ended by its own id.
"""
import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MUSTER_BUILD", ROOT / "build"))
# Sanitizer builds are several times slower; waits are scaled, never the expected order of things.
SLOW = float(os.environ.get("MUSTER_TEST_SLOW", "1"))


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    try:
        for s in socks:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in socks]
    finally:
        for s in socks:
            s.close()


def wait_for(check, timeout=10.0, what="condition", pause=0.02):
    """Poll check() until it is truthy; its value is returned."""
    end = time.monotonic() + timeout * SLOW
    last = None
    while time.monotonic() < end:
        try:
            value = check()
            if value:
                return value
        except (OSError, http.client.HTTPException, AssertionError) as e:
            last = e
        time.sleep(pause)
    raise AssertionError(f"timed out waiting for {what} (last: {last})")


def clean_env():
    """The environment without our own variables: musterd refuses those it does not know."""
    return {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def revision(self):
        return int(self.headers["Muster-Revision"])

    @property
    def etag(self):
        return self.headers["ETag"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Node:
    def __init__(self, cluster, name, directory, http_port, peer_port, extra=()):
        self.cluster, self.name, self.dir = cluster, name, pathlib.Path(directory)
        self.http_port, self.peer_port, self.extra = http_port, peer_port, list(extra)
        self.process = None
        self.log_path = self.dir.parent / f"{name}.log"

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.http_port}"

    @property
    def peer(self):
        return f"127.0.0.1:{self.peer_port}"

    def command(self):
        cmd = [str(BUILD / "server" / "musterd"), "--name", self.name, "--data-dir", str(self.dir), "--listen", self.endpoint]
        if SLOW > 1:
            # A sanitizer's stalls are no failures of a leader.
            cmd += ["--election-timeout", f"{int(400 * SLOW)}ms", "--heartbeat", f"{int(50 * SLOW)}ms", "--request-timeout", f"{int(5 * SLOW)}s"]
        if self.cluster.initial:
            cmd += ["--peer", self.peer]
            if "--join" not in self.extra:
                cmd += ["--initial-cluster", self.cluster.initial]
        elif "--join" in self.extra:
            cmd += ["--peer", self.peer]
        return cmd + self.extra

    def start(self, wait=True):
        assert self.process is None
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=clean_env())
        if wait:
            wait_for(lambda: self.alive_or_fail() and self.get("/livez").status == 200, 15, f"{self.name} to listen")
        return self

    def alive_or_fail(self):
        code = self.process.poll()
        if code is not None:
            raise RuntimeError(f"{self.name} ended with {code}:\n{self.log()[-3000:]}")
        return True

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, timeout=30):
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        code = self.process.wait(timeout * SLOW)
        self.process = None
        return code

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def connect(self, timeout=15):
        return http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout * SLOW)

    def request(self, method, path, body=None, headers=None, timeout=15):
        headers = dict(headers or {})
        if self.cluster.token and "X-Consul-Token" not in headers:
            headers["X-Consul-Token"] = self.cluster.token
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        c = self.connect(timeout)
        try:
            c.request(method, path, body, headers)
            r = c.getresponse()
            return Answer(r.status, r.headers, r.read())
        finally:
            c.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def put(self, path, body=b"", **kw):
        return self.request("PUT", path, body, **kw)

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body, **kw)

    def delete(self, path, **kw):
        return self.request("DELETE", path, **kw)

    def status(self):
        return self.get("/api/v1/cluster").json

    def rss_kib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0


class Cluster:
    def __init__(self, n=3, directory=None, extra=()):
        self.token = None  # shown with every request, where access control is on
        self.base = pathlib.Path(directory or tempfile.mkdtemp(prefix="muster-test-"))
        ports = free_ports(2 * n)
        self.nodes = [Node(self, f"n{i + 1}", self.base / f"n{i + 1}", ports[2 * i], ports[2 * i + 1], extra) for i in range(n)]
        self.initial = ",".join(f"{x.name}={x.peer}" for x in self.nodes) if n > 1 else ""

    def start(self):
        for x in self.nodes:
            x.start(wait=False)
        for x in self.nodes:
            wait_for(lambda x=x: x.alive_or_fail() and x.get("/livez").status == 200, 15, f"{x.name} to listen")
        self.leader()
        return self

    def settled(self):
        """Waits until the catalog has all members: then nothing is written that a test did not ask for."""
        names = {x.name for x in self.running()}

        def look(n):
            r = n.get("/api/v1/services/consul?consistency=stale")
            return r.status == 200 and {x["id"].split("/")[0] for x in r.json["instances"] if x["healthy"]} >= names
        for x in self.running():
            wait_for(lambda x=x: look(x), 30, "the members in the catalog")
        return self

    def add_node(self, name, extra=("--join",)):
        http_port, peer_port = free_ports(2)
        x = Node(self, name, self.base / name, http_port, peer_port, extra)
        self.nodes.append(x)
        return x

    def node(self, name):
        return next(x for x in self.nodes if x.name == name)

    def running(self):
        return [x for x in self.nodes if x.process is not None]

    def leader(self, timeout=15):
        """The node that leads and is ready, agreed on by a majority of the running ones."""

        def look():
            said = {}
            for x in self.running():
                with contextlib.suppress(OSError, http.client.HTTPException, KeyError, ValueError):
                    s = x.get("/api/v1/cluster", timeout=2).json
                    if s["leader"]:
                        said[s["leader"]] = said.get(s["leader"], 0) + 1
            for name, votes in said.items():
                x = self.node(name)
                if votes * 2 > len(self.nodes_voting()) and x.process is not None and x.get("/readyz", timeout=2).status == 200:
                    return x
            return None

        return wait_for(look, timeout, "a leader", 0.05)

    def nodes_voting(self):
        return self.nodes if len(self.nodes) <= 3 else self.running()

    def follower(self):
        lead = self.leader()
        return next(x for x in self.running() if x is not lead)

    def write(self, path, body, timeout=20, **kw):
        """PUT on any node until it succeeds; repeats carry one request id, so the write happens once."""
        headers = dict(kw.pop("headers", {}))
        headers.setdefault("Muster-Request-Id", uuid.uuid4().hex)
        end = time.monotonic() + timeout * SLOW
        last = None
        while time.monotonic() < end:
            for x in random.sample(self.running(), len(self.running())):
                try:
                    last = x.put(path, body, headers=headers, timeout=6, **kw)
                    if last.status < 300:
                        return last
                except (OSError, http.client.HTTPException) as e:
                    last = e
            time.sleep(0.05)
        ended = [f"\n{x.name} ended with {x.process.poll()}:\n{x.log()[-3000:]}" for x in self.running() if x.process.poll() is not None]
        raise AssertionError(f"write did not succeed: {last}{''.join(ended)}")

    def close(self):
        for x in self.nodes:
            with contextlib.suppress(Exception):
                x.resume()
            x.kill()
        shutil.rmtree(self.base, ignore_errors=True)


class Events(threading.Thread):
    """A watch stream that reconnects by Last-Event-ID to any running node, like a careful client does."""

    def __init__(self, cluster, query, start_from=None):
        super().__init__(daemon=True)
        self.cluster, self.query, self.last = cluster, query, None
        self.start_from = start_from
        self.changes, self.progress, self.compacted = [], [], False
        self.ready = threading.Event()
        self.ended = threading.Event()
        self.connects = 0

    def run(self):
        while not self.ended.is_set():
            try:
                nodes = self.cluster.running()
                if nodes:
                    self.follow(random.choice(nodes))
            except (OSError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.05)

    def follow(self, node):
        path = "/api/v1/watch?" + self.query + "&progress=1s"
        headers = {}
        if self.last is not None:
            headers["Last-Event-ID"] = str(self.last)
        elif self.start_from is not None:
            path += f"&from={self.start_from}"
        c = node.connect(timeout=5)
        try:
            c.request("GET", path, headers=headers)
            r = c.getresponse()
            if r.status != 200:
                r.read()
                return
            self.connects += 1
            kind, data, ident = None, None, None
            while not self.ended.is_set():
                line = r.readline()
                if not line:
                    return
                line = line.decode().rstrip("\n")
                if line.startswith("id: "):
                    ident = int(line[4:])
                elif line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    data = json.loads(line[6:])
                elif line == "" and kind:
                    self.take(kind, data, ident)
                    kind, data, ident = None, None, None
        finally:
            c.close()

    def take(self, kind, data, ident):
        if kind == "compacted":
            self.compacted = True
            self.ended.set()
            return
        if kind == "change":
            self.changes.append(data)
        else:
            self.progress.append(data["revision"])
        self.last = ident
        self.ready.set()

    def stop(self):
        self.ended.set()

    def revisions(self):
        return [x["revision"] for x in self.changes]


def quote(s):
    return urllib.parse.quote(s, safe="")
