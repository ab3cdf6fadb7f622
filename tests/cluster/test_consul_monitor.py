# SPDX-License-Identifier: Apache-2.0
"""GET /v1/agent/monitor: the log of the node that is asked, as it is written."""
import contextlib
import json
import pathlib
import socket
import tempfile

from harness import SLOW, Cluster, wait_for


@contextlib.contextmanager
def monitor(node, query="", token=None):
    c = node.connect(timeout=15 * SLOW)
    try:
        c.request("GET", "/v1/agent/monitor" + query, headers={"X-Consul-Token": token} if token else {})
        yield c.getresponse()
    finally:
        c.close()


def line_with(r, word):
    """The next line with that word in it, within the connection's time."""
    while True:
        line = r.readline().decode()
        assert line, f"the stream ended before {word}"
        if word in line:
            return line


def test_lines_come_as_they_are_written(shared):
    a, b, _ = shared.nodes
    with monitor(a, "?loglevel=debug") as text, monitor(a, "?loglevel=DEBUG&logjson") as lines, monitor(b, "?loglevel=trace") as other:
        assert text.status == 200 and text.headers["Transfer-Encoding"] == "chunked"
        a.put("/v1/kv/monitor/one?token=sesame", b"the-value")
        line = line_with(text, "monitor/one")
        assert " [DEBUG] http: request answered: method=PUT path=/v1/kv/monitor/one from=127.0.0.1 status=200 us=" in line and line.endswith("\n")
        got = json.loads(line_with(lines, "monitor/one"))
        assert (got["@level"], got["@module"], got["@message"], got["status"]) == ("debug", "http", "request answered", 200) and got["@timestamp"].endswith("Z")
        a.get("/v1/acl/info/a-secret")
        assert "path=/v1/acl/info/<hidden> " in line_with(text, "/acl/")
        b.get("/v1/kv/monitor/two%20a%0ab?keys")
        line = line_with(other, "two")
        assert "monitor/one" not in line and "path=/v1/kv/monitor/two%20a%0ab " in line  # what another node does is not told here
    assert "request answered" not in a.log()  # what goes to stderr is as it was


def test_a_level_shows_what_is_above_it(shared):
    a = shared.nodes[0]
    with monitor(a) as info, monitor(a, "?loglevel=err") as errors:
        a.get("/v1/kv/monitor/quiet")
        a.put("/v1/agent/reload")
        assert "[INFO]  server: reloaded" in line_with(info, "server")
        errors.fp.raw._sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            assert not errors.readline()
    r = a.get("/v1/agent/monitor?loglevel=loud")
    assert (r.status, r.body) == (400, b"Unknown log level: loud")


def test_who_reads_slowly_is_told_what_was_lost():
    """One that does not read at all costs a bound of memory, and nobody else time."""
    one = Cluster(1)
    try:
        node = one.start().nodes[0]
        s = socket.create_connection(("127.0.0.1", node.http_port), timeout=30 * SLOW)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.sendall(b"GET /v1/agent/monitor?loglevel=debug HTTP/1.1\r\nHost: x\r\n\r\n")
        lines = s.makefile("rb")
        assert b"200" in lines.readline()
        c = socket.create_connection(("127.0.0.1", node.http_port), timeout=30 * SLOW)
        answers = c.makefile("rb")
        many = b"".join(b"GET /nothing/%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 280) for _ in range(200))
        for _ in range(80):  # some 7 MB of lines
            c.sendall(many)
            got = 0
            while got < 200:
                got += b"HTTP/1.1 404" in answers.readline()
        seen = b""
        while b"lines were lost" not in seen:
            seen = lines.readline()
            assert seen
        assert b"[WARN]  monitor: lines were lost: the client is slow: lines=" in seen and int(seen.split(b"lines=")[1]) > 0
        node.get("/v1/kv/after")
        while b"/v1/kv/after" not in seen:
            seen = lines.readline()
            assert seen
        s.close()
        c.close()
    finally:
        one.close()


def test_only_who_may_read_the_agent():
    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d, "token")
        path.touch(mode=0o600)
        path.write_text("the-first-token\n")
        one = Cluster(1, extra=["--acl-enabled", "--acl-initial-token-file", str(path)])
        try:
            node = one.nodes[0].start()
            wait_for(lambda: node.get("/v1/status/leader").json, what="a leader")
            r = node.get("/v1/agent/monitor")
            assert r.status == 403 and b"lacks permission 'agent:read' on \"n1\"" in r.body
            first = {"X-Consul-Token": "the-first-token"}
            node.put("/v1/acl/policy", {"Name": "reads", "Rules": 'agent_prefix "" { policy = "read" }'}, headers=first)
            other = node.put("/v1/acl/token", {"Policies": [{"Name": "reads"}]}, headers=first).json
            with monitor(node, "?loglevel=debug", other["SecretID"]) as r:
                node.put("/v1/kv/before", b"v", headers=first)
                line_with(r, "/v1/kv/before")
                node.delete("/v1/acl/token/" + other["AccessorID"], headers=first)
                node.put("/v1/kv/behind", b"v", headers=first)
                assert b"behind" not in r.read()  # ends: the token is gone
            with monitor(node, "?loglevel=debug", "the-first-token") as r:
                node.put("/v1/kv/x?token=the-first-token", b"v")
                assert "the-first-token" not in line_with(r, "/v1/kv/x")
                node.stop()
                while r.readline():
                    pass  # a server that stops ends the stream
        finally:
            one.close()


def test_clients_that_read_along_are_bounded(shared):
    node = shared.nodes[2]
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            assert stack.enter_context(monitor(node)).status == 200
        assert node.get("/v1/agent/monitor").status == 429
    wait_for(lambda: one_more(node), what="room for one more")


def one_more(node):
    with monitor(node) as r:
        return r.status == 200
