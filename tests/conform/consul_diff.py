#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Send one script of requests to Consul 1.8.7 and to muster, and compare status, headers and bodies.

    consul_diff.py [--peers DIR] [--musterd FILE] [--verbose] [--only PASS]

Four passes: `plain` and `more` (diff_more.py) without access control, `moves` (diff_moves.py) compares which indexes move for which event, `acl` (diff_acl.py) sends
the same requests with each of many tokens (rows: GET with NAME; where a token that is not the first is let through where Consul refuses: OPENS GET with NAME; where it is told of
more than Consul tells of: MORE GET with NAME, so that no other row hides it). What differs by nature is normalised: indexes and revisions to their order, ids that were drawn, times, the names and addresses of the servers. What
differs on purpose stands in consul_diff.txt with its reason (docs/faces/consul.md has the same rows); another difference is a failure, and so is a row that
no longer differs. Exit status 3: Consul's package is not there."""
import argparse
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import diff_acl
import diff_moves
import diff_more

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
INDEX = re.compile(r"(Index|LTime)$")
DECODER = re.compile(r"^(?:Bad request: (?=Policy|Role|Token))?((?:(?:Policy|Role|Token) decoding failed|Failed to parse body|Request decode failed|Request decoding failed|Error parsing autopilot config|Request decode error): ).*", re.S)  # what the JSON reader of either says


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


class Server:
    def __init__(self, port, command, token=None):
        self.port, self.names, self.token = port, {}, token
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                                        env={k: v for k, v in os.environ.items() if not k.startswith(("MUSTER_", "CONSUL_"))})
        self.wait()

    def wait(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                # Consul's agent tells the addresses of its node some time after the server told its health.
                if b"serfHealth" in self.ask("GET", "/v1/health/node/node1", token=self.token)[2] and b"lan_ipv4" in self.ask("GET", "/v1/catalog/node/node1", token=self.token)[2]:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise RuntimeError("the server did not start")

    def ask(self, method, path, body=None, token=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            c.request(method, path, body, {"X-Consul-Token": token} if token else {})
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        except http.client.RemoteDisconnected:  # Consul does so where it panics
            return 0, {}, b""
        finally:
            c.close()

    def name(self, text):
        """With what was kept under the names in it."""
        return re.sub(r"<(\w+)>", lambda m: self.names[m.group(1)], text)

    def step(self, method, path, body, keep, token):
        path, body = self.name(path), body and b"<" in body and self.name(body.decode()).encode() or body
        if method in ("WAIT", "UNTIL"):  # until the answer has this in it
            return self.wait_for({"WAIT": "GET", "UNTIL": "PUT"}[method], path, body, token)
        answer = self.ask(method, path, body, token)
        if keep:
            try:
                found = json.loads(answer[2])
                self.names[keep] = found.get("ID") or found.get("AccessorID") or "0"
            except (ValueError, AttributeError):
                self.names[keep] = "0"
        return answer

    def wait_for(self, method, path, text, token):
        end = time.monotonic() + 10
        while text not in (answer := self.ask(method, path, None, token))[2] and time.monotonic() < end:
            time.sleep(0.02)
        return 200 if text in answer[2] else 0, {}, b""

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


# --- the script: (method, path, body, name under which the answer's ID is kept, name and secret of the token or None) ---

def script():
    s = []

    def add(method, path, body=None, keep=None):
        s.append((method, path, json.dumps(body).encode() if isinstance(body, (dict, list)) else body, keep, None))

    def get(*paths):
        for p in paths:
            add("GET", p)

    # keys
    for k, v in (("a", b"1"), ("a/b", b"22"), ("a/c", b""), ("a/b/c", b"\x00\xff"), ("z z", b"sp"), ("ü", b"u"), ("q%3Fx", b"q")):
        add("PUT", "/v1/kv/" + (k if k != "z z" else "z%20z").replace("ü", "%C3%BC"), v)
    add("PUT", "/v1/kv/f?flags=42", b"flags")
    add("PUT", "/v1/kv/f?flags=x", b"flags")
    add("PUT", "/v1/kv/f?flags=-1", b"flags")
    add("PUT", "/v1/kv/f?cas=0", b"no")
    add("PUT", "/v1/kv/g?cas=0", b"yes")
    add("PUT", "/v1/kv/g?cas=1", b"no")
    add("PUT", "/v1/kv/g?cas=x", b"no")
    add("PUT", "/v1/kv/g?cas=", b"no")
    add("PUT", "/v1/kv/", b"x")
    add("PUT", "/v1/kv/h?acquire=" + "0" * 8, b"x")
    add("PUT", "/v1/kv/h?acquire=11111111-1111-1111-1111-111111111111", b"x")
    add("PUT", "/v1/kv/h?release=11111111-1111-1111-1111-111111111111", b"x")
    add("PUT", "/v1/kv/h?acquire=11111111-1111-1111-1111-111111111111&release=11111111-1111-1111-1111-111111111111", b"x")
    add("PUT", "/v1/kv/h?cas=1&acquire=11111111-1111-1111-1111-111111111111", b"x")
    add("PUT", "/v1/kv/big", b"x" * (512 * 1024 + 1))
    get("/v1/kv/a", "/v1/kv/a?raw", "/v1/kv/a/c?raw", "/v1/kv/a?recurse", "/v1/kv/?recurse", "/v1/kv/?keys", "/v1/kv/?keys&separator=/", "/v1/kv/a?keys&separator=/", "/v1/kv/a/?keys&separator=/",
        "/v1/kv/none", "/v1/kv/none?recurse", "/v1/kv/none?keys", "/v1/kv/none?raw", "/v1/kv/a?stale", "/v1/kv/a?consistent", "/v1/kv/a?stale&consistent", "/v1/kv/a?dc=dc1", "/v1/kv/a?dc=nope",
        "/v1/kv/a?index=x", "/v1/kv/a?index=-1", "/v1/kv/a?index=1&wait=x", "/v1/kv/a?wait=10x", "/v1/kv/a?index=1&wait=1s", "/v1/kv/f", "/v1/kv/z%20z", "/v1/kv/%C3%BC", "/v1/kv/q%3Fx", "/v1/kv",
        "/v1/kv/a?pretty", "/v1/kv/a?max_stale=x", "/v1/kv/a?recurse&raw", "/v1/kv/f?flags=1")
    add("DELETE", "/v1/kv/a/c")
    add("DELETE", "/v1/kv/none")
    add("DELETE", "/v1/kv/g?cas=1")
    add("DELETE", "/v1/kv/g?cas=0")
    add("DELETE", "/v1/kv/g?cas=x")
    add("DELETE", "/v1/kv/a?recurse&cas=1")
    add("DELETE", "/v1/kv/a?recurse")
    add("DELETE", "/v1/kv/")
    add("POST", "/v1/kv/a", b"x")
    add("PATCH", "/v1/kv/a", b"x")
    get("/v1/kv/?keys")
    # transactions
    kv = lambda verb, key, **more: {"KV": {"Verb": verb, "Key": key, **more}}
    for ops in ([kv("set", "t/1", Value="MQ=="), kv("get", "t/1"), kv("get-tree", "t/")], [kv("cas", "t/1", Value="Mg==", Index=1)], [kv("check-not-exists", "t/1"), kv("get", "t/9"), kv("lock", "t/2", Value="eA==")],
                [kv("fly", "t/1")], [kv("set", "")], [kv("check-index", "t/1", Index=1)], [kv("check-session", "t/1", Session="x")], [kv("unlock", "t/1", Session="11111111-1111-1111-1111-111111111111")],
                [kv("delete", "t/none"), kv("delete-tree", "t/"), kv("delete-cas", "t/none", Index=1)], [kv("set", "t/1", Value="%")], [{}],
                [{"Node": {"Verb": "get", "Node": {"Node": "none"}}}], [{"Node": {"Verb": "set", "Node": {"Node": "tn", "Address": "10.0.0.7"}}}], [{"Node": {"Verb": "fly", "Node": {"Node": "tn"}}}],
                [{"Service": {"Verb": "set", "Node": "tn", "Service": {"ID": "s1", "Service": "ts", "Port": 7}}}, {"Service": {"Verb": "get", "Node": "tn", "Service": {"ID": "s1"}}}],
                [{"Service": {"Verb": "get", "Node": "tn", "Service": {"ID": "none"}}}], [{"Service": {"Verb": "set", "Node": "nowhere", "Service": {"Service": "x"}}}],
                [{"Check": {"Verb": "set", "Check": {"Node": "tn", "CheckID": "c1", "Name": "c", "Status": "passing", "ServiceID": "s1"}}}], [{"Check": {"Verb": "get", "Check": {"Node": "tn", "CheckID": "none"}}}],
                [{"Check": {"Verb": "cas", "Check": {"Node": "tn", "CheckID": "c1", "Name": "c", "Status": "critical", "ModifyIndex": 1}}}], [{"Service": {"Verb": "delete-cas", "Node": "tn", "Service": {"ID": "s1", "ModifyIndex": 1}}}],
                [{"Node": {"Verb": "delete", "Node": {"Node": "tn"}}}]):
        add("PUT", "/v1/txn", ops)
    for body in (b"", b"{", b"{}", b"[1]", b"null"):
        add("PUT", "/v1/txn", body)
    # sessions
    for body in ({}, {"Name": "s", "TTL": "10s", "LockDelay": "1s"}, {"Behavior": "delete", "TTL": "20s"}, {"TTL": "1s"}, {"TTL": "x"}, {"Behavior": "odd"}, {"LockDelay": "x"}, {"Node": "none"}, {"Checks": ["none"]}, {"LockDelay": "2m"},
                 {"Unknown": 1}):
        add("PUT", "/v1/session/create", body, "s%d" % len(s))
    for body in (b"{", b"[]"):
        add("PUT", "/v1/session/create", body)
    add("PUT", "/v1/session/create", {"Name": "lock", "TTL": "60s", "LockDelay": "0s"}, "lock")
    add("PUT", "/v1/kv/lk?acquire=<lock>", b"held")
    add("PUT", "/v1/kv/lk?acquire=<lock>", b"held again")
    get("/v1/kv/lk", "/v1/session/info/<lock>", "/v1/session/info/11111111-1111-1111-1111-111111111111", "/v1/session/info/x", "/v1/session/info/", "/v1/session/node/none")
    add("PUT", "/v1/session/renew/<lock>")
    add("PUT", "/v1/session/renew/11111111-1111-1111-1111-111111111111")
    add("PUT", "/v1/session/renew/x")
    add("PUT", "/v1/kv/lk?release=<lock>", b"free")
    add("PUT", "/v1/session/destroy/<lock>")
    add("PUT", "/v1/session/destroy/11111111-1111-1111-1111-111111111111")
    add("PUT", "/v1/session/destroy/x")
    add("GET", "/v1/session/create")
    get("/v1/kv/lk")
    # catalog
    reg = {"Node": "c1", "Address": "10.1.0.1", "NodeMeta": {"k": "v"}, "Service": {"ID": "w1", "Service": "cweb", "Tags": ["a", "B"], "Port": 80, "Meta": {"m": "1"}, "Weights": {"Passing": 5, "Warning": 1}},
           "Checks": [{"Name": "up", "CheckID": "up", "Status": "passing", "ServiceID": "w1", "Output": "o", "Notes": "n"}, {"Name": "node up", "CheckID": "nup", "Status": "warning"}]}
    for body in (reg, {**reg, "Node": "c2", "Address": "10.1.0.2", "Service": {"ID": "w2", "Service": "cweb", "Port": 81, "Address": "1.2.3.4"}, "Checks": [{"Name": "up", "CheckID": "up", "Status": "critical", "ServiceID": "w2"}]},
                 {"Node": "c3", "Address": "10.1.0.3"}, {"Address": "10.1.0.3"}, {"Node": "c3"}, {"Node": "c3", "SkipNodeUpdate": True, "Service": {"Service": "skip"}}, {"Node": "c3", "Address": "x", "Service": {"ID": "only"}},
                 {"Node": "c3", "Address": "10.1.0.3", "Check": {"Name": "c", "ServiceID": "none"}}, {"Node": "c3", "Address": "10.1.0.3", "ID": "x"}, {"Datacenter": "nope", "Node": "c3", "Address": "y"}):
        add("PUT", "/v1/catalog/register", body)
    for body in (b"{", b"[]", b""):
        add("PUT", "/v1/catalog/register", body)
        add("PUT", "/v1/catalog/deregister", body)
    get("/v1/catalog/services", "/v1/catalog/service/cweb", "/v1/catalog/service/cweb?tag=a", "/v1/catalog/service/cweb?tag=A", "/v1/catalog/service/cweb?tag=none", "/v1/catalog/service/cweb?node-meta=k:v", "/v1/catalog/service/none",
        "/v1/catalog/service/", "/v1/catalog/node/c1", "/v1/catalog/node/none", "/v1/catalog/node/", "/v1/catalog/node-services/c1", "/v1/catalog/datacenters", "/v1/catalog/nodes?node-meta=k:v",
        "/v1/health/service/cweb", "/v1/health/service/cweb?passing", "/v1/health/service/cweb?passing=false", "/v1/health/service/cweb?passing=x", "/v1/health/service/cweb?tag=a&tag=b", "/v1/health/service/none",
        "/v1/health/service/", "/v1/health/node/c1", "/v1/health/node/none", "/v1/health/node/", "/v1/health/checks/cweb", "/v1/health/checks/none", "/v1/health/checks/", "/v1/health/state/warning", "/v1/health/state/odd", "/v1/health/state/",
        "/v1/catalog/services?node-meta=k:v", "/v1/catalog/service/cweb?filter=ServicePort%20==%2080", "/v1/catalog/service/cweb?filter=Bogus%20==%201", "/v1/health/service/cweb?filter=Checks.Status%20==%20critical",
        "/v1/catalog/nodes?filter=Meta.k%20==%20v", "/v1/health/node/c1?filter=Name%20==%20up", "/v1/catalog/node/c1?filter=Port%20==%201", "/v1/health/state/any?filter=Node%20==%20c2", "/v1/catalog/service/cweb?dc=nope")
    for body in ({"Node": "c1", "CheckID": "nup"}, {"Node": "c1", "ServiceID": "w1"}, {"Node": "c2"}, {"Node": "none"}, {}, {"Node": "c3", "Datacenter": "nope"}, {"Node": "c3"}):
        add("PUT", "/v1/catalog/deregister", body)
    get("/v1/catalog/node/c1", "/v1/catalog/service/cweb", "/v1/health/node/c1")
    # agent
    for body in ({"Name": "aw", "ID": "aw1", "Port": 80, "Tags": ["x"], "Check": {"TTL": "60s"}}, {"Name": "aw", "ID": "aw2", "Port": 81, "Checks": [{"TTL": "60s", "CheckID": "one", "Name": "n1"}, {"TTL": "60s", "Status": "passing"}]},
                 {"Name": ""}, {"Name": "x", "Check": {"TTL": "-1s"}}, {"Name": "x", "Check": {"HTTP": "http://127.0.0.1:1"}}, {"Name": "x", "Address": "0.0.0.0"}, {"Name": "x", "Meta": {"a b": "c"}}, {"Name": "x", "Check": {"Status": "odd", "TTL": "5s"}},
                 {"ID": "noname"}, {"name": "lower", "id": "lower", "enable_tag_override": True}, {"Name": "x", "Port": "80"}, {"Name": "x", "Tags": "a"}, {"Name": "wt", "Weights": {"Passing": 3, "Warning": 2}}):
        add("PUT", "/v1/agent/service/register", body)
    for body in (b"{", b"[]", b""):
        add("PUT", "/v1/agent/service/register", body)
        add("PUT", "/v1/agent/check/register", body)
    for body in ({"Name": "ac", "TTL": "60s"}, {"Name": "ac2", "TTL": "60s", "ServiceID": "aw1", "Notes": "note"}, {"Name": "bad", "TTL": "60s", "ServiceID": "none"}, {"TTL": "60s"}, {"Name": "no kind"}, {"Name": "both", "TTL": "5s", "Interval": "5s", "HTTP": "http://127.0.0.1:1"}):
        add("PUT", "/v1/agent/check/register", body)
    add("PUT", "/v1/agent/check/pass/ac?note=fine")
    add("PUT", "/v1/agent/check/warn/ac2?note=hm")
    add("PUT", "/v1/agent/check/fail/service:aw1")
    add("PUT", "/v1/agent/check/update/one", {"Status": "passing", "Output": "up"})
    add("PUT", "/v1/agent/check/update/one", {"Status": "odd"})
    add("PUT", "/v1/agent/check/update/one", b"{")
    add("PUT", "/v1/agent/check/pass/none")
    get("/v1/agent/services", "/v1/agent/service/aw1", "/v1/agent/service/none", "/v1/agent/checks", "/v1/agent/health/service/id/aw1", "/v1/agent/health/service/id/aw2", "/v1/agent/health/service/id/none", "/v1/agent/health/service/name/aw",
        "/v1/agent/health/service/name/none", "/v1/agent/health/service/name/aw?format=text", "/v1/agent/services?filter=Port%20==%2080", "/v1/agent/checks?filter=Name%20==%20ac", "/v1/agent/service/", "/v1/catalog/service/aw", "/v1/health/service/aw?passing", "/v1/health/checks/aw")
    add("PUT", "/v1/agent/service/maintenance/aw1?enable=true&reason=why")
    add("PUT", "/v1/agent/service/maintenance/aw1?enable=x")
    add("PUT", "/v1/agent/service/maintenance/aw1")
    add("PUT", "/v1/agent/service/maintenance/none?enable=true")
    get("/v1/agent/health/service/id/aw1")
    add("PUT", "/v1/agent/service/maintenance/aw1?enable=false")
    add("PUT", "/v1/agent/maintenance?enable=true&reason=node")
    get("/v1/agent/checks")
    add("PUT", "/v1/agent/maintenance?enable=false")
    add("PUT", "/v1/agent/maintenance")
    add("PUT", "/v1/agent/check/deregister/ac")
    add("PUT", "/v1/agent/check/deregister/none")
    for i in ("aw1", "aw2", "lower", "wt", "none", ""):
        add("PUT", "/v1/agent/service/deregister/" + i)
    add("GET", "/v1/agent/service/deregister/aw1")
    get("/v1/agent/services", "/v1/agent/checks")
    # the rest
    get("/v1/event/list", "/v1/event/list?name=none", "/v1/status/leader?dc=nope", "/v1/nonsense", "/v1", "/v1/", "/v1/coordinate/node/none", "/v1/config/proxy-defaults/global", "/v1/config/service-defaults", "/v1/config/odd/x",
        "/v1/acl/tokens", "/v1/acl/policies", "/v1/query/none", "/v1/operator/raft/peer", "/v1/health/connect/none", "/v1/catalog/connect/none")
    add("PUT", "/v1/event/fire/")
    add("PUT", "/v1/event/fire/ev", b"payload", "ev")
    add("PUT", "/v1/event/fire/ev", b"x" * 600)
    add("PUT", "/v1/acl/bootstrap")
    add("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "web", "Protocol": "http"})
    add("PUT", "/v1/config", {"Kind": "odd", "Name": "web"})
    add("PUT", "/v1/config", b"{")
    add("GET", "/v1/config/service-defaults/web")
    add("DELETE", "/v1/config/service-defaults/web")
    add("DELETE", "/v1/operator/raft/peer")
    add("DELETE", "/v1/operator/raft/peer?address=nope")
    add("PUT", "/v1/operator/autopilot/configuration", b"{")
    add("POST", "/v1/catalog/register", {})
    add("OPTIONS", "/v1/kv/a")
    return s


# --- what may differ ---

HEADERS = {"content-type", "x-consul-index", "x-consul-knownleader", "x-consul-lastcontact", "allow", "location", "content-security-policy", "x-cache"}
LISTS = {"/v1/acl/tokens": "AccessorID", "/v1/acl/policies": "Name", "/v1/acl/roles": "Name", "/v1/query": "Name", "/v1/session/list": "Name", "/v1/session/node/": "Name"}  # in the order of drawn ids
NEWER = {"ExposedPort", "Interval", "Timeout", "Locality", "Namespace", "Partition", "PeerName"}  # members that later versions of Consul tell, too


def normal_text(text, server):
    text = text.replace(str(server.port), "PORT")
    text = re.sub(r"^(rpc error making call: )?Permission denied.*", "Permission denied", text, flags=re.S)  # newer versions: to whom, and what was wanted
    kept = {v: k for k, v in server.names.items()}
    return UUID.sub(lambda m: m.group() if m.group().startswith(("00000000-", "11111111-")) else f"<{kept.get(m.group(), 'ID')}>", text)


def normal_json(v):
    if isinstance(v, dict):
        return {k: ("N" if v[k] else 0) if INDEX.search(k) and isinstance(v[k], int) else "TIME" if k in ("CreateTime", "ExpirationTime") else "HASH" if k == "Hash" else normal_json(v[k]) for k in v if k not in NEWER}
    return [normal_json(x) for x in v] if isinstance(v, list) else v


def sort(path, body):
    """Bodies whose order says nothing; the management token, which is not stored, and secrets, which are told once, are left out of lists."""
    key = next((LISTS[p] for p in LISTS if path.partition("?")[0].startswith(p)), None)
    try:
        v = json.loads(body)
    except ValueError:
        return body
    if path.startswith("/v1/catalog/services") and isinstance(v, dict):
        v = {k: sorted(v[k]) for k in v}
    if key and isinstance(v, list):
        v = sorted((x for x in v if x.get("Description") not in ("Master Token", "Initial Management Token")), key=lambda x: (x.get(key) or "", json.dumps({k: v for k, v in x.items() if k not in ("ID", "CreateIndex", "ModifyIndex")}, sort_keys=True)))
    if "/execute" in path and isinstance(v, dict):
        v["Nodes"].sort(key=lambda x: (x["Node"]["Node"], x["Service"]["ID"]))
    if path.startswith("/v1/acl/token"):
        for x in filter(lambda x: isinstance(x, dict), v if isinstance(v, list) else [v]):
            x.pop("SecretID", None)
    return json.dumps(v).encode()


def normal(server, answer, path):
    status, headers, body = answer
    text = normal_text((sort(path, body) if status == 200 else body).decode("utf-8", "replace"), server)
    try:
        text = json.dumps(normal_json(json.loads(text)), sort_keys=True)
    except ValueError:
        text = DECODER.sub(r"\1", text.strip())
    kept = {k: v for k, v in headers.items() if k in HEADERS}
    if path == "/v1/snapshot" and status == 200:
        text = ""
    if status >= 400 and status != 404:  # whether an error carries the headers of reads
        for k in ("x-consul-index", "x-consul-knownleader", "x-consul-lastcontact"):
            kept.pop(k, None)
    if "x-consul-index" in kept:
        kept["x-consul-index"] = "N"
    if "content-type" in kept and not text:
        del kept["content-type"]
    return status, kept, text


class Table:
    """consul_diff.txt, and which of its rows were seen."""
    def __init__(self):
        lines = (HERE / "consul_diff.txt").read_text().splitlines()
        self.rows = [[x.strip() for x in line.split(" | ")] for line in lines if line and not line.startswith("#")]
        self.used = set()

    def knows(self, method, path, text):
        for i, (m, p, b, _) in enumerate(self.rows):
            if re.fullmatch(m, method) and re.fullmatch(p, path) and re.match(b, text):
                self.used.add(i)
                return True
        return False


# --- the passes ---

ROOT_SECRET = diff_acl.ROOT_TOKEN


def start(args, tmp, acl):
    p = free_ports(6)
    tmp.mkdir()
    conf = {"node_name": "node1", "data_dir": str(tmp / "c"), "server": True, "bootstrap": True, "bind_addr": "127.0.0.1", "log_level": "ERR", "disable_update_check": True,
            "ports": {"http": p[0], "server": p[1], "serf_lan": p[2], "serf_wan": p[3], "dns": -1, "grpc": -1, "https": -1}}
    more = []
    if acl:
        conf.update(primary_datacenter="dc1", acl={"enabled": True, "default_policy": "deny", "tokens": {"master": ROOT_SECRET, "agent": ROOT_SECRET}})
        (tmp / "token").touch(mode=0o600)
        (tmp / "token").write_text(ROOT_SECRET + "\n")
        more = ["--acl-enabled", "--acl-default-policy", "deny", "--acl-initial-token-file", str(tmp / "token")]
    (tmp / "c.json").write_text(json.dumps(conf))
    token = ROOT_SECRET if acl else None
    consul = Server(p[0], [str(args.consul), "agent", "-config-file", str(tmp / "c.json")], token)
    return consul, Server(p[4], [str(args.musterd.resolve()), "--name", "node1", "--data-dir", str(tmp / "m"), "--listen", f"127.0.0.1:{p[4]}", "--peer", f"127.0.0.1:{p[5]}", "--dns-listen", "", "--log-level", "warn", *more], token)


NAMES = {"ID", "Node", "Service", "ServiceID", "ServiceName", "CheckID", "Key", "Name", "AccessorID"}


def told(v):
    """The names of things in a body."""
    if isinstance(v, dict):
        return {x for k, x in v.items() if k in NAMES and isinstance(x, str)}.union(*map(told, v.values()))
    return set().union(*map(told, v), (x for x in v if isinstance(x, str))) if isinstance(v, list) else set()


def shows_more(consul, muster):
    try:
        return bool(told(json.loads(muster[2])) - told(json.loads(consul[2])))
    except ValueError:
        return False


def word(token, consul, muster):
    """Whether a token is given more than Consul gives it."""
    if token is None or token[1] == ROOT_SECRET or muster[0] != 200:
        return ""
    return "OPENS " if consul[0] != 200 else "MORE " if shows_more(consul, muster) else ""


def compare(servers, steps, found):
    """Counts the requests; found takes (method, path, body, the two answers) and the tokens for which they are so."""
    n = 0
    for method, path, body, keep, token in steps:
        got = [normal(s, s.step(method, path, body, keep, token and token[1]), path) for s in servers]
        n += 1
        if got[0] != got[1]:
            text = (body or b"").decode("utf-8", "replace")
            found.setdefault((word(token, *got) + method, path, text, *map(repr, got)), []).append(token and token[0])
    return n


def look(server):
    """{endpoint: (index, answer)}"""
    out = {}
    for path in diff_moves.ENDPOINTS:
        _, headers, body = server.ask("GET", server.name(path) if "<" not in path or "ms" in server.names else path.replace("<ms>", diff_more.NO_SESSION))
        out[path] = int(headers.get("x-consul-index", 0)), body
    return out


def moves(servers, found):
    n, before = 0, [look(s) for s in servers]
    for event, (method, path, body, keep) in diff_moves.EVENTS:
        for s in servers:
            s.step(method, path, body, keep, None)
            if event in diff_moves.LATER:
                s.wait_for("GET", *diff_moves.LATER[event], None)
        after = [look(s) for s in servers]
        for p in diff_moves.ENDPOINTS:
            moved = [after[i][p][0] != before[i][p][0] for i in (0, 1)]
            n += 1
            if not moved[1] and before[1][p][1] != after[1][p][1]:
                found[("LOST", p, event, moved[0], "the answer is another one, the index is not")] = [None]
            elif moved[0] != moved[1]:
                found[("MOVES" if moved[1] else "STAYS", p, event, *moved)] = [None]
        before = after
    return n


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    a.add_argument("--peers", default=os.environ.get("MUSTER_PEERS") or ROOT.parent / "shared" / "peers")
    a.add_argument("--musterd", type=pathlib.Path, default=ROOT / "build" / "server" / "musterd")
    a.add_argument("--verbose", action="store_true")
    a.add_argument("--only", choices=("plain", "more", "moves", "acl"))
    args = a.parse_args()
    debs = sorted(pathlib.Path(args.peers).glob("consul_*.deb"))
    if not debs:
        print(f"skipped: Consul's package is not in {args.peers} (--peers, MUSTER_PEERS)")
        sys.exit(3)
    wrong, known, table = 0, Table(), []
    passes = {"plain": (False, lambda s, f: compare(s, script(), f)), "more": (False, lambda s, f: compare(s, diff_more.script(), f)), "moves": (False, moves), "acl": (True, lambda s, f: compare(s, diff_acl.script(), f))}
    with tempfile.TemporaryDirectory(prefix="muster-conform-") as d:
        tmp = pathlib.Path(d)
        subprocess.run(["dpkg-deb", "-x", str(debs[0]), str(tmp / "consul")], check=True)
        args.consul = next((tmp / "consul").rglob("bin/consul"))
        for name, (acl, run) in passes.items():
            if args.only not in (None, name):
                continue
            found = {}
            servers = start(args, tmp / name, acl)
            try:
                table.append(f"{name}: {run(servers, found)} requests")
            finally:
                for s in servers:
                    s.stop()
            for (method, path, text, *got), tokens in found.items():
                unknown = [t for t in tokens if not known.knows(f"{method} with {t}" if t else method, path, text)]
                wrong += bool(unknown)
                if unknown or args.verbose:
                    print(f"{'differs' if unknown else 'known  '} {name} {method} {path} {text[:160]!r} {', '.join(t for t in unknown or tokens if t)}\n  consul {got[0]}\n  muster {got[1]}")
    stale = [r for i, r in enumerate(known.rows) if i not in known.used] if not args.only else []
    for row in stale:
        print("no longer differs:", " | ".join(row))
    print(f"{', '.join(table)}; {wrong} differences that are not known, {len(known.used)} known kinds")
    return 1 if wrong or stale else 0


if __name__ == "__main__":
    sys.exit(main())
