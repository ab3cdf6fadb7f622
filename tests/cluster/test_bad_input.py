# SPDX-License-Identifier: Apache-2.0
"""Bad input of every kind gets a clear 4xx, never a crash, and nothing is lost."""
import json
import os
import socket
import subprocess

import pytest

from harness import BUILD, SLOW, clean_env

CONF = "/api/v1/configs"
SERV = "/api/v1/services"


@pytest.fixture(scope="module")
def node(shared):
    shared.nodes[0].put(f"{CONF}/keep/k", b"kept")
    yield shared.nodes[0]
    for n in shared.nodes:
        n.alive_or_fail()
        assert n.get(f"{CONF}/keep/k").body == b"kept"


def raw(node, data, timeout=5):
    """Send bytes, read until the server closes or is silent."""
    s = socket.create_connection(("127.0.0.1", node.http_port), timeout=timeout * SLOW)
    try:
        s.sendall(data)
        out = b""
        try:
            while True:
                block = s.recv(65536)
                if not block:
                    break
                out += block
        except (socket.timeout, ConnectionResetError):
            pass
        return out
    finally:
        s.close()


def status(answer):
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer[9:12])


H = b"Host: x\r\n"

MALFORMED = [
    (b"GARBAGE\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32, 400),
    (b"GET /livez HTTP/9.9\r\n" + H + b"\r\n", 505),
    (b"GET /livez HTTP/1.2\r\n" + H + b"\r\n", 505),
    (b"GET /livez HTTP/1.1\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\nHost: x\n\n", 400),
    (b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", 400),
    (b"PUT /api/v1/configs/g/k HTTP/1.1\r\n" + H + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"PUT /api/v1/configs/g/k HTTP/1.1\r\n" + H + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    (b"PUT /api/v1/configs/g/k HTTP/1.1\r\n" + H + b"Content-Length: -1\r\n\r\n", 400),
    (b"PUT /api/v1/configs/g/k HTTP/1.1\r\n" + H + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    (b"PUT /api/v1/configs/g/k HTTP/1.1\r\n" + H + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (b"PUT /api/v1/configs/g/k HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
    (b"PUT /api/v1/configs/g/k HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n", 400),
    (b"PUT /api/v1/configs/g/k HTTP/1.1\r\n" + H + b"Content-Length: 2097152\r\n\r\n", 413),
    (b"PUT /api/v1/configs/g/k HTTP/1.1\r\n" + H + b"Expect: magic\r\nContent-Length: 1\r\n\r\n", 417),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + H + b"\r\n", 414),
    (b"GET /livez HTTP/1.1\r\n" + H + b"X: " + b"a" * 20000 + b"\r\n\r\n", 431),
    (b"GET /livez HTTP/1.1\r\n" + H + b"".join(b"X%d: y\r\n" % i for i in range(200)) + b"\r\n", 431),
    (b"GET /api/v1/../../etc/passwd HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET /api/v1/configs/g/%2e%2e HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET /api/v1/configs/g/a%00b HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET /api/v1/configs/g/%ff%fe HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET /api/v1/configs/g/%zz HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET /api/v1/configs/g/%c0%af HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET /api/v1/configs//k HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"GET http://evil/livez HTTP/1.1\r\n" + H + b"\r\n", 400),
    (b"CONNECT a:1 HTTP/1.1\r\n" + H + b"\r\n", None),
    (b"TRACE /livez HTTP/1.1\r\n" + H + b"\r\n", None),
]


@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_malformed_requests(node, number):
    data, want = MALFORMED[number]
    got = status(raw(node, data, timeout=2))
    assert 400 <= got < 600 and got != 500, got
    if want is not None:
        assert got == want


def test_smuggled_second_request_is_not_answered(node):
    """After an ambiguous request the connection ends: what follows is never read as a request."""
    data = (b"PUT /api/v1/configs/g/k HTTP/1.1\r\n" + H + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            b"GET /version HTTP/1.1\r\n" + H + b"\r\n")
    assert raw(node, data, timeout=2).count(b"HTTP/1.1 ") == 1


ROUTES = [
    ("GET", "/nothing", 404),
    ("GET", "/api/v1/nothing", 404),
    ("GET", "/api/v2/configs", 404),
    ("POST", f"{CONF}/g/k", 405),
    ("PUT", "/livez", 405),
    ("PATCH", CONF, 405),
    ("DELETE", SERV, 405),
]


@pytest.mark.parametrize("method,path,want", ROUTES)
def test_unknown_routes_and_methods(node, method, path, want):
    r = node.request(method, path)
    assert r.status == want and r.json["status"] == want
    if want == 405:
        assert r.headers["Allow"]


INSTANCE = f"{SERV}/s/instances/i"
GOOD = {"address": "h", "port": 1}

BODIES = [
    ("PUT", INSTANCE, b""),
    ("PUT", INSTANCE, b"{"),
    ("PUT", INSTANCE, b"[]"),
    ("PUT", INSTANCE, b"null"),
    ("PUT", INSTANCE, b'{"address":"h","address":"i"}'),
    ("PUT", INSTANCE, b"[" * 5000 + b"]" * 5000),
    ("PUT", INSTANCE, b'{"address":"\xff\xfe"}'),
    ("PUT", INSTANCE, b'{"address":"h","port":1e400}'),
    ("PUT", INSTANCE, {}),
    ("PUT", INSTANCE, {"address": 5}),
    ("PUT", INSTANCE, {"address": ""}),
    ("PUT", INSTANCE, {"address": "a b"}),
    ("PUT", INSTANCE, {"address": "x" * 300}),
    ("PUT", INSTANCE, GOOD | {"port": -1}),
    ("PUT", INSTANCE, GOOD | {"port": 65536}),
    ("PUT", INSTANCE, GOOD | {"port": "80"}),
    ("PUT", INSTANCE, GOOD | {"port": 1.5}),
    ("PUT", INSTANCE, GOOD | {"port": 10**30}),
    ("PUT", INSTANCE, GOOD | {"weight": -1}),
    ("PUT", INSTANCE, GOOD | {"weight": "heavy"}),
    ("PUT", INSTANCE, GOOD | {"enabled": "yes"}),
    ("PUT", INSTANCE, GOOD | {"tags": "x"}),
    ("PUT", INSTANCE, GOOD | {"tags": [1]}),
    ("PUT", INSTANCE, GOOD | {"tags": ["t"] * 500}),
    ("PUT", INSTANCE, GOOD | {"metadata": []}),
    ("PUT", INSTANCE, GOOD | {"metadata": {"a": 1}}),
    ("PUT", INSTANCE, GOOD | {"metadata": {f"k{i}": "v" for i in range(500)}}),
    ("PUT", INSTANCE, GOOD | {"ttl": "soon"}),
    ("PUT", INSTANCE, GOOD | {"ttl": "1ms"}),
    ("PUT", INSTANCE, GOOD | {"ttl": "99999h"}),
    ("PUT", INSTANCE, GOOD | {"ttl": "10s", "check": {"type": "tcp", "address": "h:1"}}),
    ("PUT", INSTANCE, GOOD | {"lease": "xyz"}),
    ("PUT", INSTANCE, GOOD | {"lease": "0"}),
    ("PUT", INSTANCE, GOOD | {"check": {"type": "script", "url": "rm -rf /"}}),
    ("PUT", INSTANCE, GOOD | {"check": {"type": "http", "url": "file:///etc/passwd"}}),
    ("PUT", INSTANCE, GOOD | {"check": {"type": "http", "url": "http://h/ x"}}),
    ("PUT", INSTANCE, GOOD | {"check": {"type": "tcp", "address": "h"}}),
    ("PUT", INSTANCE, GOOD | {"check": {"type": "tcp", "address": "h:1", "interval": "1ms"}}),
    ("PUT", INSTANCE, GOOD | {"check": {"type": "tcp", "address": "h:1", "failures": 0}}),
    ("PUT", INSTANCE, GOOD | {"adress": "typo"}),
    ("PATCH", INSTANCE, {"ttl": "1s"}),
    ("POST", "/api/v1/leases", {}),
    ("POST", "/api/v1/leases", {"ttl": "0s"}),
    ("POST", "/api/v1/leases", {"ttl": "5s", "id": "zz"}),
    ("POST", "/api/v1/leases:keepalive", {"leases": []}),
    ("POST", "/api/v1/leases:keepalive", {"leases": [5]}),
    ("POST", "/api/v1/leases:keepalive", {"leases": "all"}),
    ("POST", "/api/v1/configs:listen", {"configs": []}),
    ("POST", "/api/v1/configs:listen", {"configs": [{"group": "g"}]}),
    ("POST", "/api/v1/configs:listen", {"configs": [{"key": "k", "etag": "7"}]}),
    ("POST", "/api/v1/configs:listen", {"configs": [{"key": "k"}], "wait": "1d"}),
    ("POST", f"{CONF}/g/k/rollback", {}),
    ("POST", f"{CONF}/g/k/rollback", {"revision": 0}),
    ("POST", f"{CONF}/g/k/rollback", {"revision": -5}),
    ("POST", f"{CONF}/g/k/rollback", {"revision": 1, "comment": "x" * 2000}),
    ("POST", "/api/v1/cluster/members", {"name": "a b", "peer": "h:1"}),
    ("POST", "/api/v1/cluster/members", {"name": "x", "peer": "nowhere"}),
    ("POST", "/api/v1/cluster:transfer", {"to": "../.."}),
    ("POST", "/api/v1/cluster:compact", {"versions": 0}),
]


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_bad_bodies(node, number):
    method, path, body = BODIES[number]
    if isinstance(body, bytes):
        r = node.request(method, path, body, headers={"Content-Type": "application/json"})
    else:
        r = node.request(method, path, body)
    assert r.status in (400, 404, 409, 413), r
    assert r.headers["Content-Type"] == "application/problem+json"
    doc = r.json
    assert doc["status"] == r.status and len(doc["detail"]) > 8, "the answer says what was wrong"


def test_typo_gets_a_suggestion(node):
    assert 'did you mean "address"' in node.put(INSTANCE, {"adress": "h"}).json["detail"]


QUERIES = [
    f"{CONF}/g/k?revision=x",
    f"{CONF}/g/k?revision=-1",
    f"{CONF}/g/k?revision=99999999999999999999999",
    f"{CONF}/g/k?wait=forever",
    f"{CONF}/g/k?wait=11m",
    f"{CONF}/g/k?consistency=maybe",
    f"{CONF}/g/k?nonsense=1",
    f"{CONF}/g/k?namespace=",
    f"{CONF}/g/k?namespace=%0a",
    f"{CONF}/g/k/diff",
    f"{CONF}?limit=0",
    f"{CONF}?limit=1000000",
    f"{CONF}?page=0",
    f"{SERV}/s?healthy=perhaps",
    "/api/v1/watch",
    "/api/v1/watch?configs=a/b/%01",
    "/api/v1/watch?configs=a&from=x",
    "/api/v1/watch?configs=a&from=99999999",
    "/api/v1/watch?configs=a&progress=1ms",
    "/api/v1/leases/xyz",
    "/api/v1/leases/0",
]


@pytest.mark.parametrize("path", QUERIES)
def test_bad_queries(node, path):
    r = node.get(path)
    assert r.status == 400 and len(r.json["detail"]) > 8, r


HEADERS = [
    ({"If-Match": "5"}, 400),
    ({"If-Match": '"x"'}, 400),
    ({"If-None-Match": '"5"'}, 400),
    ({"If-Match": '"5"', "If-None-Match": "*"}, 400),
    ({"Muster-Request-Id": "x" * 65}, 400),
    ({"Muster-Request-Id": "a b"}, 400),
    ({"Content-Type": "x" * 300}, 400),
]


@pytest.mark.parametrize("headers,want", HEADERS)
def test_bad_headers(node, headers, want):
    assert node.put(f"{CONF}/g/k", b"v", headers=headers).status == want


def test_wrong_content_type(node):
    assert node.request("POST", "/api/v1/leases", b'{"ttl":"5s"}', headers={"Content-Type": "text/xml"}).status == 415


def test_slow_header_is_cut_off(node):
    """A client that sends its head one byte at a time does not hold a connection for ever, and others are served meanwhile."""
    s = socket.create_connection(("127.0.0.1", node.http_port), timeout=30 * SLOW)
    s.sendall(b"GET /livez HTTP/1.1\r\nHost: ")
    assert node.get("/livez").status == 200
    out = s.recv(4096)
    assert out == b"" or b" 408 " in out
    s.close()


def test_pipelined_requests_are_answered_in_order(node):
    one = b"GET /version HTTP/1.1\r\n" + H + b"\r\n"
    two = b"GET /nothing HTTP/1.1\r\n" + H + b"\r\n"
    last = b"GET /livez HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n"
    out = raw(node, one + two + one + last)
    assert [int(p[:3]) for p in out.split(b"HTTP/1.1 ")[1:]] == [200, 404, 200, 200]


def test_a_thousand_connections_that_say_nothing(node):
    socks = [socket.create_connection(("127.0.0.1", node.http_port)) for _ in range(500)]
    assert node.get("/livez").status == 200
    for s in socks:
        s.close()


def test_metrics_are_well_formed(node):
    """promtool accepts the page; without promtool the shape is looked at."""
    import shutil

    text = node.get("/metrics").body
    assert b"muster_raft_term" in text and b"muster_http_requests_total{" in text
    if shutil.which("promtool"):
        p = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        assert p.returncode == 0, p.stdout + p.stderr


def test_readyz_is_verbose_when_asked(node):
    r = node.get("/readyz?verbose")
    assert r.status == 200 and b"[+] leader-known ok" in r.body


class TestStart:
    """Mistakes at the start end with a sentence and a status, not with a running server."""

    def run(self, *args, **kw):
        return subprocess.run([str(BUILD / "server" / "musterd"), *args], capture_output=True, text=True, timeout=30 * SLOW, check=False, env=clean_env(), **kw)

    def fails_late(self, *args):
        """What a start took that fails behind its settings goes with the process, and is no leak."""
        env = clean_env() | {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
        return subprocess.run([str(BUILD / "server" / "musterd"), *args], capture_output=True, text=True, timeout=30 * SLOW, check=False, env=env)

    def test_usage(self):
        p = self.run("--data-dri", "/x")
        assert p.returncode == 2 and "did you mean --data-dir" in p.stderr
        assert self.run("--help").returncode == 0
        assert self.run("--version").stdout.startswith("musterd ")

    def test_check_config(self, tmp_path):
        f = tmp_path / "m.yaml"
        f.write_text(f"data_dir: {tmp_path}/d\nlissten: 127.0.0.1:1\n")
        p = self.run("check-config", str(f))
        assert p.returncode == 78 and 'did you mean "listen"' in p.stderr
        f.write_text(f"data_dir: {tmp_path}/d\nlisten: 127.0.0.1:1\n")
        assert self.run("check-config", str(f)).returncode == 0
        f.write_text("listen: [127.0.0.1:1]\n")
        p = self.run("--config", str(f))
        assert p.returncode == 78 and "with commas" in p.stderr
        p = self.run("check-config", str(tmp_path))
        assert p.returncode == 78 and "Is a directory" in p.stderr

    def test_recursors_are_addresses(self, tmp_path):
        p = self.fails_late("--data-dir", str(tmp_path / "d"), "--listen", "127.0.0.1:0", "--dns-listen", "127.0.0.1:0", "--dns-recursors", "dns.example")
        assert p.returncode == 78 and "ADDRESS:PORT" in p.stderr

    def test_a_mistyped_name_leaves_nothing_behind(self, tmp_path):
        there = tmp_path / "data"
        p = self.run("export-snapshot", str(tmp_path / "s.snap"), "--data-dir", str(there))
        assert p.returncode == 1 and "holds no data of a node" in p.stderr
        assert not there.exists() and not (tmp_path / "s.snap").exists()
        (tmp_path / "wrong.snap").write_text("x" * 1000)
        for name, why in (("none.snap", "No such file"), ("wrong.snap", "is not a snapshot")):
            p = self.fails_late("--data-dir", str(there), "--restore", str(tmp_path / name), "--listen", "127.0.0.1:0", "--dns-listen", "")
            assert p.returncode == 78 and why in p.stderr
            assert {x.name for x in there.iterdir()} <= {"LOCK"}

    def test_data_directory_is_guarded(self, tmp_path, node):
        p = self.run("--name", node.name, "--data-dir", str(node.dir), "--listen", "127.0.0.1:0")
        assert p.returncode == 78 and "in use by process" in p.stderr
        foreign = tmp_path / "foreign"
        foreign.mkdir(mode=0o700)
        (foreign / "file").write_text("x")
        p = self.run("--data-dir", str(foreign), "--listen", "127.0.0.1:0")
        assert p.returncode == 78 and "not a muster data directory" in p.stderr
        (foreign / "MUSTER").write_text("muster-data 99\nname n1\n")
        assert "newer version" in self.run("--data-dir", str(foreign), "--listen", "127.0.0.1:0").stderr
        (foreign / "MUSTER").write_text("muster-data 1\nname other\n")
        assert "belongs to node other" in self.run("--data-dir", str(foreign), "--listen", "127.0.0.1:0").stderr
        opened = tmp_path / "open"
        opened.mkdir(mode=0o755)
        assert "open to others" in self.run("--data-dir", str(opened), "--listen", "127.0.0.1:0").stderr
        assert "no access control" in self.run("--data-dir", str(tmp_path / "x"), "--listen", "0.0.0.0:0").stderr
