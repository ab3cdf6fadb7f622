# SPDX-License-Identifier: Apache-2.0
"""The DNS, asked by dig at real processes."""
import re
import shutil
import socket
import subprocess

import pytest

from harness import SLOW, Cluster, wait_for

pytestmark = pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not there (package bind9-dnsutils)")


def dns_port(node):
    """Where a node answers: it binds a port of its own choice and says which."""
    found = wait_for(lambda: re.search(r'"answering DNS","address":"127\.0\.0\.1:(\d+)"', node.log()), 15, "DNS")
    return int(found.group(1))


class Dig:
    def __init__(self, node):
        self.port = dns_port(node)

    def __call__(self, *question):
        """(status, flags, {section: [(owner, type, data)]})"""
        command = ["dig", "@127.0.0.1", "-p", str(self.port), "+tries=5", f"+time={int(2 * SLOW)}", "+norecurse", *question]
        out = subprocess.run(command, capture_output=True, text=True, timeout=60 * SLOW, check=False).stdout
        head = re.search(r"status: (\w+).*?\n;; flags: ([a-z ]*);", out, re.S)
        assert head, f"no answer:\n{out}"
        sections, current = {}, None
        for line in out.splitlines():
            if line.startswith(";; ") and line.endswith(" SECTION:"):
                current = sections.setdefault(line[3:-9], [])
            elif line and not line.startswith(";") and current is not None:
                owner, _, _, kind, data = line.split(None, 4)
                current.append((owner, kind, data))
        return head.group(1), head.group(2).split(), sections

    def answer(self, *question):
        status, _, sections = self(*question)
        return status, sorted(d for _, _, d in sections.get("ANSWER", []))


@pytest.fixture(scope="module")
def zone():
    """Three nodes with the service `web` of five instances; the one asked is a follower or not."""
    c = Cluster(3, extra=["--dns-listen", "127.0.0.1:0"])
    try:
        c.start()
        for i in range(1, 6):
            put(c.nodes[0], "web", f"w{i}", f"10.0.0.{i}", 8080 + i, tags=["blue"] if i % 2 else ["green"])
        digs = [Dig(x) for x in c.nodes]
        for d in digs:
            wait_for(lambda d=d: len(d.answer("web.service.consul")[1]) == 5, 15, "all instances")
        yield c, digs
    finally:
        c.close()


def put(node, service, name, address, port, **more):
    body = {"address": address, "port": port, **more}
    assert node.put(f"/api/v1/services/{service}/instances/{name}", body).status in (200, 201)


def test_services(zone):
    _, digs = zone
    for d in digs:
        status, flags, s = d("web.service.consul")
        assert status == "NOERROR" and "aa" in flags and "ra" not in flags
        assert {x[2] for x in s["ANSWER"]} == {f"10.0.0.{i}" for i in range(1, 6)}
        assert d.answer("blue.web.service.dc1.consul")[1] == ["10.0.0.1", "10.0.0.3", "10.0.0.5"]
        assert d.answer("web.service.consul", "AAAA") == ("NOERROR", [])
        assert d.answer("web.service.dc7.consul") == ("NXDOMAIN", [])
        assert d.answer("nope.service.consul") == ("NXDOMAIN", [])
        assert d.answer("example.com")[0] == "REFUSED"


def test_servers(zone):
    d = zone[1][0]
    for question in ("web.service.consul", "_web._tcp.service.consul", "_web._tcp.consul"):
        status, _, s = d(question, "SRV")
        assert status == "NOERROR"
        beside = {owner: data for owner, kind, data in s["ADDITIONAL"] if kind == "A"}
        found = set()
        for _, kind, data in s["ANSWER"]:
            priority, weight, port, target = data.split()
            assert (kind, priority, weight) == ("SRV", "1", "1")
            found.add((beside[target], int(port)))
            assert d.answer(target)[1] == [beside[target]]
        assert found == {(f"10.0.0.{i}", 8080 + i) for i in range(1, 6)}
    assert len(d.answer("_web._green.service.consul", "SRV")[1]) == 2


def test_sizes(zone):
    cluster, digs = zone
    for i in range(200):
        put(cluster.nodes[i % 3], "many", f"m{i}", f"10.1.0.{i}", 9000 + i)
    d = digs[1]
    wait_for(lambda: len(d.answer("many.service.consul", "+tcp")[1]) == 200, 15, "all instances")
    assert len(d.answer("many.service.consul", "+noedns", "+notcp", "+ignore")[1]) == 3
    assert len(d.answer("many.service.consul", "SRV", "+tcp")[1]) == 200
    got = d.answer("many.service.consul", "+bufsize=1232", "+ignore")[1]
    assert 60 <= len(got) < 200
    status, _, s = d("many.service.consul", "SRV", "+bufsize=1232", "+ignore")
    assert status == "NOERROR" and len(s["ADDITIONAL"]) == len(s["ANSWER"])


def test_what_dies_is_not_told(zone):
    cluster, digs = zone
    put(cluster.nodes[0], "mortal", "a", "10.2.0.1", 1)
    put(cluster.nodes[0], "mortal", "b", "10.2.0.2", 1, ttl="1s", remove_after="1h")
    for d in digs:
        wait_for(lambda d=d: d.answer("mortal.service.consul")[1] == ["10.2.0.1"], 30, "the lease to end")
    put(cluster.nodes[1], "mortal", "a", "10.2.0.1", 1, enabled=False)
    for d in digs:
        wait_for(lambda d=d: d.answer("mortal.service.consul") == ("NXDOMAIN", []), 15, "nobody to be left")


def test_zone_itself(zone):
    d = zone[1][2]
    status, data = d.answer("consul", "SOA")
    assert status == "NOERROR" and re.fullmatch(r"ns\.consul\. hostmaster\.consul\. \d+ 3600 600 86400 0", data[0])
    transfer = subprocess.run(["dig", "@127.0.0.1", "-p", str(d.port), "consul", "AXFR"], capture_output=True, text=True, timeout=60 * SLOW, check=False)
    assert "Transfer failed" in transfer.stdout


def test_members_are_nodes(zone):
    """Known at every node, by name and by address, and the name servers of the zone."""
    cluster, digs = zone
    names = [f"{x.name}.node.dc1.consul." for x in cluster.nodes]
    for d in digs:
        wait_for(lambda d=d: d.answer("consul", "NS")[1] == names, 30, "the members in the catalog")
        assert d.answer("N2.node.consul") == ("NOERROR", ["127.0.0.1"])
        assert d.answer("n9.node.consul") == ("NXDOMAIN", [])
        assert len(d("consul", "NS")[2]["ADDITIONAL"]) == 3
        servers = [x.split() for x in d.answer("consul.service.dc1.consul", "SRV")[1]]
        assert sorted((int(x[2]), x[3]) for x in servers) == sorted((x.peer_port, n) for x, n in zip(cluster.nodes, names))
        assert d.answer("-x", "127.0.0.1")[1][0] in names


def test_who_has_an_address(zone):
    cluster, digs = zone
    put(cluster.nodes[0], "Capital", "a", "2001:db8::77", 1)
    for d in digs:
        wait_for(lambda d=d: d.answer("-x", "2001:db8::77")[1] == ["Capital.service.dc1.consul."], 15, "the address")
        assert d.answer("-x", "10.99.0.1")[0] == "SERVFAIL"
        # As others spell it.
        for name in ("Capital", "capital", "cAPITAL"):
            wait_for(lambda d=d, n=name: d.answer(f"{n}.service.consul", "AAAA")[1] == ["2001:db8::77"], 15, name)


def test_garbage_is_outlived(zone):
    d = zone[1][0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for packet in (b"", b"x", b"\0" * 11, b"\xff" * 600, b"\x12\x34\x01\0\0\x01" + b"\0" * 6 + b"\xc0\x0c\0\x01\0\x01", b"\0" * 4000):
            s.sendto(packet, ("127.0.0.1", d.port))
    for sent in (b"\0\0", b"\0\x05hello", b"\xff\xff" + b"a" * 100):
        with socket.create_connection(("127.0.0.1", d.port), timeout=20 * SLOW) as s:
            s.sendall(sent)
            assert s.recv(100) == b""  # closed, not answered
    assert len(d.answer("web.service.consul", "+tcp")[1]) == 5
    assert len(d.answer("web.service.consul")[1]) == 5


def test_default_port_that_is_taken_is_left_out():
    """A second node of the same machine starts; one that was told the port does not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.bind(("127.0.0.1", 8600))
        except OSError:
            pass  # somebody else has it: as good
        c = Cluster(1)
        try:
            c.start()
            assert "no DNS at this node" in c.nodes[0].log()
        finally:
            c.close()
        c = Cluster(1, extra=["--dns-listen", "127.0.0.1:8600"])
        try:
            node = c.nodes[0].start(wait=False)
            assert node.process.wait(30 * SLOW) != 0
            assert "dns.listen: 127.0.0.1:8600" in node.log()
        finally:
            c.close()
