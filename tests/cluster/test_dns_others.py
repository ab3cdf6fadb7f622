# SPDX-License-Identifier: Apache-2.0
"""The DNS beside other programs: recursors that it passes questions to, dnsmasq and HAProxy that ask it."""
import contextlib
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

import pytest

from harness import SLOW, Cluster, clean_env, free_ports, wait_for
from test_dns import Dig, dns_port, put

pytestmark = pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not there (package bind9-dnsutils)")


def question_of(packet):
    """(name, type, end of the question)"""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode().lower())
        at += 1 + packet[at]
    return ".".join(labels), struct.unpack(">H", packet[at + 1:at + 3])[0], at + 5


class Recursor:
    """Answers every A question with 192.0.2.7, AAAA with none, PTR with a name, UDP and TCP; `is_silent`: nothing."""

    def __init__(self, is_silent=False):
        self.is_silent, self.asked, self.is_over = is_silent, [], False
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.serve_udp, self.serve_tcp)]
        for t in self.threads:
            t.start()

    def answer(self, packet, way):
        name, kind, end = question_of(packet)
        self.asked.append((name, kind, way))
        records = {1: [socket.inet_aton("192.0.2.7")] * (100 if name.startswith("big") and way == "tcp" else 1), 12: [b"\4host\7example\0"]}.get(kind, [])
        body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 33, len(r)) + r for r in records)
        return packet[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, len(records), 0, 0) + packet[12:end] + body

    def serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                packet, peer = self.udp.recvfrom(4096)
                if self.is_over:
                    return
                if self.is_silent:
                    self.asked.append(question_of(packet)[:2] + ("udp",))
                else:
                    self.udp.sendto(self.answer(packet, "udp"), peer)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.tcp.accept()
                if self.is_over:
                    return
                with s:
                    f = s.makefile("rb")
                    while not self.is_silent and (head := f.read(2)):
                        out = self.answer(f.read(struct.unpack(">H", head)[0]), "tcp")
                        s.sendall(struct.pack(">H", len(out)) + out)

    def close(self):
        self.is_over = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", ("127.0.0.1", self.port))
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        self.udp.close()
        self.tcp.close()


@contextlib.contextmanager
def node_with(recursors, *more):
    c = Cluster(1, extra=["--dns-listen", "127.0.0.1:0", "--dns-recursors", ",".join(f"127.0.0.1:{r.port}" for r in recursors),
                          "--dns-recursor-timeout", f"{int(400 * SLOW)}ms", *more])
    try:
        yield c.start().nodes[0]
    finally:
        c.close()
        for r in recursors:
            r.close()


def test_other_names_are_passed_on():
    silent, good = Recursor(is_silent=True), Recursor()
    with node_with([silent, good]) as node:
        d = Dig(node)
        put(node, "ext", "e1", "db.example.com", 5432)
        status, flags, s = d("www.example.com")
        assert status == "NOERROR" and "ra" in flags and "aa" not in flags
        assert s["ANSWER"] == [("www.example.com.", "A", "192.0.2.7")]
        assert ("www.example.com", 1, "udp") in silent.asked and ("www.example.com", 1, "udp") in good.asked
        # An alias of ours comes with the addresses; ours stay ours.
        assert d("ext.service.consul")[2]["ANSWER"] == [("ext.service.consul.", "CNAME", "db.example.com."), ("db.example.com.", "A", "192.0.2.7")]
        assert d.answer("-x", "192.0.2.9") == ("NOERROR", ["host.example."])
        assert d.answer("nope.service.consul")[0] == "NXDOMAIN"
        assert not [x for x in good.asked if x[0].endswith("consul")]


def test_tcp_is_passed_on_by_tcp():
    good = Recursor()
    with node_with([good]) as node:
        d = Dig(node)
        assert len(d.answer("big.example.com", "+tcp")[1]) == 100
        assert good.asked == [("big.example.com", 1, "tcp")]


def test_nobody_answers():
    """SERVFAIL; clients that go away meanwhile, and a stop in the middle, harm nothing."""
    silent = Recursor(is_silent=True)
    with node_with([silent]) as node:
        d = Dig(node)
        assert d.answer("www.example.com") == ("SERVFAIL", [])
        query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\3www\7example\3org\0\0\1\0\1"
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", d.port)) as s:
                s.sendall((struct.pack(">H", len(query)) + query) * 3)
        assert d.answer("consul", "SOA")[0] == "NOERROR"
        n = len(silent.asked)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(query, ("127.0.0.1", d.port))
            wait_for(lambda: len(silent.asked) > n, 15, "the question to be under way")
            assert node.stop() == 0


def test_only_for_those_who_may():
    good = Recursor()
    with node_with([good], "--dns-recursion-from", "192.0.2.0/24,2001:db8::/32") as node:
        d = Dig(node)
        status, flags, _ = d("www.example.com")
        assert status == "REFUSED" and "ra" not in flags
        assert d.answer("-x", "192.0.2.9")[0] == "SERVFAIL"
        assert good.asked == []


@pytest.fixture
def web():
    """One node with the service `web` at a real port that says its name."""
    c = Cluster(1, extra=["--dns-listen", "127.0.0.1:0"])
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                s, _ = server.accept()
                with s:
                    s.recv(4096)
                    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthere")

    threading.Thread(target=serve, daemon=True).start()
    try:
        node = c.start().nodes[0]
        put(node, "web", "w1", "127.0.0.1", server.getsockname()[1])
        yield node
    finally:
        c.close()
        with contextlib.suppress(OSError):
            socket.create_connection(server.getsockname()).close()
        server.close()


@contextlib.contextmanager
def running(command):
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_env())
    try:
        yield p
    finally:
        p.terminate()
        p.wait(20 * SLOW)


@pytest.mark.skipif(shutil.which("dnsmasq", path=os.environ["PATH"] + ":/usr/sbin") is None, reason="dnsmasq is not there (package dnsmasq-base)")
def test_dnsmasq_forwards_the_domain(web):
    port = free_ports(1)[0]
    program = shutil.which("dnsmasq", path=os.environ["PATH"] + ":/usr/sbin")
    with running([program, "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", f"--port={port}", "--listen-address=127.0.0.1",
                  "--bind-interfaces", "--pid-file=", "--user=", "--no-daemon", f"--server=/consul/127.0.0.1#{dns_port(web)}"]):
        d = Dig.__new__(Dig)
        d.port = port
        got = wait_for(lambda: d.answer("+recurse", "web.service.consul")[1], 20, "dnsmasq")
        assert got == ["127.0.0.1"]
        assert d.answer("+recurse", "nope.service.consul")[0] == "NXDOMAIN"
        assert d.answer("+recurse", "web.service.consul", "SRV")[1][0].startswith("1 1 ")


@pytest.mark.skipif(shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin") is None, reason="haproxy is not there (package haproxy)")
def test_haproxy_finds_servers(web):
    """A server template that is filled from SRV records, with the address beside them."""
    port = free_ports(1)[0]
    with tempfile.TemporaryDirectory() as t:
        conf = pathlib.Path(t) / "haproxy.cfg"
        conf.write_text(f"""
global
    log stdout local0
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
resolvers muster
    nameserver one 127.0.0.1:{dns_port(web)}
    accepted_payload_size 8192
    hold valid 200ms
    hold nx 200ms
    hold obsolete 200ms
    timeout resolve 200ms
frontend in
    bind 127.0.0.1:{port}
    default_backend out
backend out
    server-template web 3 _web._tcp.service.consul resolvers muster resolve-prefer ipv4 check inter 200ms
""")
        with running([shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin"), "-db", "-f", str(conf)]):

            def page():
                with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
                    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    data = b""
                    while part := s.recv(4096):
                        data += part
                    return data.startswith(b"HTTP/1.1 200") and data.endswith(b"there")

            wait_for(page, 30, "HAProxy to find the server")
            # It goes when the instance does.
            assert web.delete("/api/v1/services/web/instances/w1").status in (200, 204)
            wait_for(lambda: not page(), 30, "HAProxy to lose the server")
