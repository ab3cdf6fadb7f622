# SPDX-License-Identifier: Apache-2.0
"""Clients that ask for large answers and do not read them: what they hold of the server's memory has an end, and others do not wait for them."""
import base64
import http.client
import re
import socket
import time

from harness import SLOW, Cluster, wait_for

MIB = 1 << 20
VALUES = {f"large/{i:02}": bytes([65 + i % 26]) * (512 * 1024) for i in range(40)}  # 27 MB as JSON
TREE = "/v1/kv/large?recurse&stale"
HELD = 64 * MIB + 28 * MIB  # what is documented, and the one answer that goes over it
# Scratch memory of one answer; the quarantine of freed memory that a sanitizer keeps.
SLACK = 48 * MIB + (256 * MIB if SLOW > 1 else 0)


def ask(node, path=TREE, headers=""):
    """A socket that has asked, and whose answer has begun; nothing of it is read."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    s.settimeout(30 * SLOW)
    s.connect(("127.0.0.1", node.http_port))
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
    assert s.recv(1, socket.MSG_PEEK)
    return s


def answer(s):
    with s:
        r = http.client.HTTPResponse(s)
        r.begin()
        return r, r.read()


def unread(node):
    return int(re.search(rb"^muster_unread_bytes (\d+)", node.get("/metrics").body, re.M)[1])


def test_readers_that_do_not_read():
    one = Cluster(1, extra=["--workers", "1"])
    try:
        a = one.start().settled().nodes[0]
        for k, v in VALUES.items():
            assert a.put(f"/v1/kv/{k}", v).json is True
        whole = a.get(TREE).body
        got = {e["Key"]: base64.b64decode(e["Value"]) for e in a.get(TREE).json}
        assert got == VALUES
        before = a.rss_kib() * 1024
        readers = [ask(a) for _ in range(40)]
        assert 64 * MIB <= unread(a) <= HELD and a.rss_kib() * 1024 < before + HELD + SLACK, (before, a.rss_kib() * 1024, unread(a))
        for path in ("/v1/kv/large/00?raw&stale", "/v1/kv/large?keys", "/v1/health/service/consul", "/v1/status/leader"):
            start = time.monotonic()
            r = a.get(path)
            if path.startswith("/v1/kv/large/00"):
                assert r.status == 503  # half a MiB is large
            else:
                assert r.status == 200 and time.monotonic() - start < 1 * SLOW, path
        r = a.put("/v1/txn", [{"KV": {"Verb": "get", "Key": k}} for k in list(VALUES)[:2]])
        assert r.status == 200 and len(r.json["Results"]) == 2  # who may have changed something hears what
        full = [answer(s) for s in readers]
        ok = [body for r, body in full if r.status == 200]
        assert 3 <= len(ok) <= 4 and all(body == whole for body in ok)
        for r, body in full:
            if r.status != 200:
                assert (r.status, r.headers["Retry-After"], r.headers["X-Consul-Index"]) == (503, "1", None) and r.headers["X-Consul-Default-ACL-Policy"] == "allow", r.headers
                assert body.startswith(b"too many large answers") and r.headers["Content-Type"].startswith("text/plain")
        wait_for(lambda: unread(a) == 0, 10, "nothing to be held")
        assert a.get(TREE).body == whole

        many = ask(a, headers="\r\n" + "".join(f"GET {TREE} HTTP/1.1\r\nHost: a\r\n\r\n" for _ in range(20)).rstrip("\r\n") + "\r\n")
        assert unread(a) <= 28 * MIB  # of one connection's requests one is answered at a time
        many.close()
        half = ask(a)
        half.shutdown(socket.SHUT_WR)
        assert answer(half)[1] == whole
        zipped = [ask(a, headers="Accept-Encoding: gzip\r\n") for _ in range(10)]
        assert a.rss_kib() * 1024 < before + HELD + SLACK
        assert all(r.headers["Content-Encoding"] == "gzip" for r, _ in map(answer, zipped))
        wait_for(lambda: unread(a) == 0, 10, "nothing to be held")
    finally:
        one.close()
