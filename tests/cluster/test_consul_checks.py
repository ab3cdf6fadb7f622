# SPDX-License-Identifier: Apache-2.0
"""The Consul face: what its checks ask. Real listeners stand in this process, gRPC's own library in another one."""
import gzip
import http.server
import os
import pathlib
import socket
import ssl
import subprocess
import threading

import pytest
from harness import Cluster, wait_for

HERE = pathlib.Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's python3-grpcio is there


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    d = tmp_path_factory.mktemp("certs")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(d / "key"), "-out", str(d / "cert"), "-days", "2",
            "-subj", "/CN=inside.example", "-addext", "subjectAltName=DNS:inside.example")
    return d


@pytest.fixture(scope="module")
def cluster(certs):
    """Its nodes believe that certificate, as an operator's machine believes a house's authority."""
    os.environ["SSL_CERT_FILE"] = str(certs / "cert")
    c = Cluster(3)
    try:
        c.start().settled()
        yield c
    finally:
        c.close()
        del os.environ["SSL_CERT_FILE"]


@pytest.fixture(autouse=True)
def forget(cluster):
    """What one test checks is nothing to the next one."""
    yield
    for name in cluster.nodes[0].get("/v1/agent/checks").json:
        cluster.nodes[0].put("/v1/agent/check/deregister/" + name)


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path[3:])
        elif self.path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
        else:
            self.send_response(int(self.path[1:4]))
        self.send_header("Content-Length", "5")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"hello")

    do_POST = do_HEAD = do_GET

    def log_message(self, *args):
        pass


def serve(context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.seen = []
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def web():
    server = serve()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def secure(certs):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs / "cert", certs / "key")
    server = serve(context)
    yield server
    server.shutdown()


@pytest.fixture
def health(tmp_path):
    p = subprocess.Popen([SYSTEM_PYTHON, str(HERE / "health_server.py"), str(tmp_path)], stdout=subprocess.PIPE)
    p.files, p.port = tmp_path, int(p.stdout.readline())
    yield p
    p.kill()
    p.wait()


def check(node, name):
    return node.get("/v1/agent/checks").json.get(name, {})


def expect(cluster, name, status, words, **definition):
    """The check comes to be as expected, as any node tells."""
    r = cluster.nodes[0].put("/v1/agent/check/register", {"CheckID": name, "Name": name, "Interval": "1s", "Timeout": "5s", **definition})
    assert r.status == 200, r
    see(cluster, name, status, words)


def see(cluster, name, status, words):
    def look():
        got = check(cluster.nodes[1], name)
        return got.get("Status") == status and words in got.get("Output", "") or None
    try:
        wait_for(look, 20, f"{name} to be {status}")
    except AssertionError as e:
        raise AssertionError(f"{e}; it is {check(cluster.nodes[1], name)}") from None


def test_http_checks(cluster, web):
    url = f"http://127.0.0.1:{web.server_port}"
    expect(cluster, "h-200", "passing", f"HTTP GET {url}/200: 200 OK Output: hello", HTTP=url + "/200")
    expect(cluster, "h-429", "warning", "429 Too Many Requests", HTTP=url + "/429")
    expect(cluster, "h-500", "critical", "500 Internal Server Error", HTTP=url + "/500")
    expect(cluster, "h-302", "passing", "200 OK Output: hello", HTTP=url + "/to/200")
    expect(cluster, "h-not", "critical", "302 Found", HTTP=url + "/to/200", DisableRedirects=True)
    expect(cluster, "h-round", "critical", "edirects", HTTP=url + "/round")
    expect(cluster, "h-post", "passing", "HTTP POST", HTTP=url + "/201", Method="POST", Body="question", Header={"X-Two": ["a", "b"]})
    seen = [h for m, p, h in web.seen if (m, p) == ("POST", "/201")]
    assert seen[0]["Content-Length"] == "8" and seen[0]["X-Two"] in ("a", "b") and seen[0]["User-Agent"] == "Consul Health Check"
    expect(cluster, "h-head", "passing", "HTTP HEAD", HTTP=url + "/204", Method="HEAD")
    expect(cluster, "h-gone", "critical", "onnect", HTTP="http://127.0.0.1:1/")
    expect(cluster, "h-link", "critical", "", HTTP="http://169.254.169.254/latest", Timeout="2s")


def test_https_checks(cluster, secure):
    url = f"https://127.0.0.1:{secure.server_port}/200"
    expect(cluster, "s-other", "critical", "", HTTP=url)  # the certificate is of another name
    expect(cluster, "s-name", "passing", "200 OK Output: hello", HTTP=url, TLSServerName="inside.example")
    expect(cluster, "s-wrong", "critical", "", HTTP=url, TLSServerName="outside.example")
    expect(cluster, "s-skip", "passing", "200 OK", HTTP=url, TLSSkipVerify=True)
    hosts = {h["Host"] for _, _, h in secure.seen}
    assert hosts == {f"127.0.0.1:{secure.server_port}"}


def test_tcp_checks_with_tls(cluster, secure, web):
    """The handshake counts, and no byte of any protocol is sent behind it."""
    target, before = f"127.0.0.1:{secure.server_port}", len(secure.seen)
    expect(cluster, "t-name", "passing", f"TCP connect {target}: Success", TCP=target, TCPUseTLS=True, TLSServerName="inside.example")
    expect(cluster, "t-wrong", "critical", f"TCP with TLS {target}: ", TCP=target, TCPUseTLS=True)  # the certificate is of another name
    expect(cluster, "t-skip", "passing", f"TCP connect {target}: Success", TCP=target, TCPUseTLS=True, TLSSkipVerify=True)
    expect(cluster, "t-none", "passing", "Success", TCP=target)
    expect(cluster, "t-plain", "critical", "", TCP=f"127.0.0.1:{web.server_port}", TCPUseTLS=True, TLSSkipVerify=True)
    expect(cluster, "t-gone", "critical", "onnect", TCP="127.0.0.1:1", TCPUseTLS=True)
    assert len(secure.seen) == before and check(cluster.nodes[0], "t-name")["Type"] == "tcp"


def test_udp_checks(cluster):
    """Well unless the host says that nobody is there."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
    expect(cluster, "u", "passing", f"UDP connect 127.0.0.1:{port}: Success", UDP=f"127.0.0.1:{port}", Timeout="1s")
    s.close()
    see(cluster, "u", "critical", "refused")


def test_grpc_checks(cluster, health):
    target = f"127.0.0.1:{health.port}"
    expect(cluster, "g", "passing", f"gRPC check {target}: success", GRPC=target)
    expect(cluster, "g-one", "critical", "not serving", GRPC=target + "/one")
    (health.files / "one").touch()
    see(cluster, "g-one", "passing", f"gRPC check {target}/one: success")
    expect(cluster, "g-none", "critical", "rpc error: code 5", GRPC=target + "/unknown")
    expect(cluster, "g-tls", "critical", "", GRPC=target, GRPCUseTLS=True)
    expect(cluster, "p", "passing", "HTTP2 ping was successful", H2PING=target, H2PingUseTLS=False)
    expect(cluster, "p-tls", "critical", "HTTP2 ping", H2PING=target)
    health.kill()
    see(cluster, "g", "critical", "onnect")
    see(cluster, "p", "critical", "HTTP2 ping")


def test_http_that_is_not_2(cluster, web):
    expect(cluster, "p-1", "critical", "", H2PING=f"127.0.0.1:{web.server_port}", H2PingUseTLS=False)
    expect(cluster, "g-1", "critical", "", GRPC=f"127.0.0.1:{web.server_port}")


def test_aliases_follow(cluster):
    a, b, _ = cluster.nodes
    for name in ("al-one", "al-two"):
        assert a.put("/v1/agent/service/register", {"Name": name, "Checks": [{"CheckID": name + "-ttl", "TTL": "10m", "Status": "passing"}]}).status == 200
    assert b.put("/v1/agent/check/register", {"CheckID": "alias", "Name": "alias", "ServiceID": "al-two", "AliasService": "al-one"}).status == 200
    see(cluster, "alias", "passing", "All checks passing.")
    for status, action in (("warning", "warn"), ("critical", "fail")):
        assert a.put(f"/v1/agent/check/{action}/al-one-ttl?note=because").status == 200
        see(cluster, "alias", status, "failing: because")
    assert a.put("/v1/agent/check/pass/al-one-ttl").status == 200
    see(cluster, "alias", "passing", "All checks passing.")
    assert a.put("/v1/agent/service/deregister/al-one").status == 200
    see(cluster, "alias", "critical", 'Service "al-one" could not be found on node')
    assert a.put("/v1/catalog/register", {"Node": "outside", "Address": "10.1.1.1", "Check": {"CheckID": "up", "Name": "up", "Status": "critical", "Output": "down"}}).status == 200
    assert b.put("/v1/agent/check/register", {"CheckID": "alias-node", "Name": "an", "AliasNode": "outside"}).status == 200
    see(cluster, "alias-node", "critical", 'Aliased check "up" failing: down')
    a.put("/v1/catalog/deregister", {"Node": "outside"})


@pytest.mark.parametrize("definition,words", [
    ({"HTTP": "ftp://x/", "Interval": "1s"}, "http:// or https://"), ({"HTTP": "https://", "Interval": "1s"}, "host"), ({"HTTP": "http://a b/", "Interval": "1s"}, "visible ASCII"),
    ({"HTTP": "https://h:99999/", "Interval": "1s"}, "65535"), ({"UDP": "nowhere", "Interval": "1s"}, "host:port"), ({"GRPC": "nowhere", "Interval": "1s"}, "host:port"),
    ({"GRPC": "h:1/" + "s" * 600, "Interval": "1s"}, "host:port"), ({"H2PING": "h:1/x", "Interval": "1s"}, "host:port"), ({"HTTP": "http://h/" + "p" * 5000, "Interval": "1s"}, "at most"),
    ({"TCP": "h:1/x", "TCPUseTLS": True, "Interval": "1s"}, "host:port"), ({"TCP": "h:1", "TCPUseTLS": True}, "Interval must be > 0"), ({"HTTP": "https://h/", "TLSServerName": "a\nb", "Interval": "1s"}, "TLSServerName"), ({"GRPC": "h:1"}, "Interval must be > 0"),
    ({"AliasService": "x", "Interval": "1s"}, "Interval cannot be set for Alias checks"), ({"Args": ["true"], "Interval": "1s"}, "Scripts are disabled"),
    ({"HTTP": "http://h/", "Header": {"Host\r\nX": ["a"]}, "Interval": "1s"}, "cannot be sent"),
])
def test_definitions_that_are_wrong(cluster, definition, words):
    r = cluster.nodes[2].put("/v1/agent/check/register", {"Name": "wrong", "CheckID": "wrong", **definition})
    assert r.status == 400 and words in r.body.decode(), r


class Hostile:
    """A server that gives each connection the bytes of its path's function, then nothing more."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.sent, self.asked = {}, []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(s,), daemon=True).start()

    def answer(self, s):
        with s:
            try:
                path = s.recv(65536).split(b" ")[1].decode().lstrip("/")
                self.asked.append(path)
                for part in getattr(self, path)():
                    s.sendall(part)
                    self.sent[path] = self.sent.get(path, 0) + len(part)
                s.recv(1)
            except OSError:
                pass

    def endless(self):
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        for _ in range(10000):
            yield b"x" * 65536

    def drip(self):
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        while True:
            yield b"x"
            threading.Event().wait(0.05)

    def headers(self):
        yield b"HTTP/1.1 200 OK\r\n"
        for i in range(5000):
            yield b"X-%d: " % i + b"y" * 1000 + b"\r\n"
        yield b"Content-Length: 0\r\n\r\n"

    def header(self):
        yield b"HTTP/1.1 200 " + b"r" * 300000 + b"\r\n\r\n"

    def interim(self):
        for _ in range(200000):
            yield b"HTTP/1.1 100 Continue\r\n\r\n"

    def bomb(self):
        yield b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4000\r\n\r\n" + gzip.compress(b"\0" * 8000000)[:4000]

    def bytes(self):
        yield b"HTTP/1.1 200 \x01\x80OK\r\nContent-Length: 9\r\n\r\n\0\x1b[2J\xff\"\\\n"

    def local(self):
        yield b"HTTP/1.1 302 Found\r\nLocation: http://[::ffff:169.254.169.254]/latest\r\nContent-Length: 0\r\n\r\n"

    def file(self):
        yield b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"

    def silent(self):
        return iter(())


@pytest.fixture
def hostile():
    h = Hostile()
    yield h
    h.listener.close()


def test_hostile_servers(cluster, hostile):
    """What a checked service answers costs little, and is told as text."""
    rss = [x.rss_kib() for x in cluster.nodes]
    for path, status, words in (("endless", "passing", "200 OK Output: xxx"), ("header", "", ""), ("headers", "", ""), ("interim", "critical", ""),
                                ("bomb", "passing", "200 OK"), ("bytes", "passing", "200"), ("local", "critical", ""), ("file", "critical", ""),
                                ("drip", "critical", ""), ("silent", "critical", "timed out")):
        r = cluster.nodes[0].put("/v1/agent/check/register", {"CheckID": "hostile-" + path, "Name": path, "Interval": "1s", "Timeout": "2s",
                                                              "Status": "warning", "HTTP": f"{hostile.url}/{path}"})
        assert r.status == 200, r
        if status:
            see(cluster, "hostile-" + path, status, words)
        got = check(cluster.nodes[1], "hostile-" + path)  # JSON, whatever it was
        assert len(got["Output"].encode()) < 20000 and "root:" not in got["Output"]
    assert hostile.sent["endless"] < 50 << 20
    for x, before in zip(cluster.nodes, rss):
        assert x.rss_kib() < before + 60000, x.name
        assert x.status()["leader"]


def test_a_new_definition_is_run_at_once(cluster, hostile, web):
    """Whatever the one before still waits for."""
    a = cluster.nodes[0]
    definition = {"CheckID": "again", "Name": "again", "Interval": "1s", "Timeout": "50s", "HTTP": hostile.url + "/silent"}
    assert a.put("/v1/agent/check/register", definition).status == 200
    wait_for(lambda: "silent" in hostile.asked, what="the first definition to be run")
    expect(cluster, "again", "passing", "200 OK", HTTP=f"http://127.0.0.1:{web.server_port}/200")


def test_many_that_hang_leave_room():
    """More checks than run at once, none of which is answered: what is quick is run in time, and what is new has its turn."""
    c = Cluster(1)
    hang = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener = serve()
    try:
        a = c.start().nodes[0]
        url, good = "http://127.0.0.1:%d/" % hang.getsockname()[1], f"http://127.0.0.1:{listener.server_port}/"

        def see_one(name, status):
            wait_for(lambda: check(a, name).get("Status") == status, 20, f"{name} to be {status}")
        assert a.put("/v1/agent/check/register", {"CheckID": "old", "Name": "old", "Interval": "1s", "HTTP": good + "200"}).status == 200
        see_one("old", "passing")
        for i in range(9):
            checks = [{"CheckID": f"hang-{i}-{j}", "Name": "h", "Interval": "1s", "Timeout": "2s", "HTTP": url} for j in range(120)]
            assert a.put("/v1/agent/service/register", {"Name": f"hang-{i}", "Checks": checks}).status == 200
        assert a.put("/v1/agent/check/register", {"CheckID": "new", "Name": "new", "Interval": "1s", "HTTP": good + "200"}).status == 200
        see_one("new", "passing")
        for x in ("old", "new"):
            assert a.put("/v1/agent/check/register", {"CheckID": x, "Name": x, "Interval": "1s", "HTTP": good + "500"}).status == 200
            see_one(x, "critical")
    finally:
        hang.close()
        listener.shutdown()
        c.close()
