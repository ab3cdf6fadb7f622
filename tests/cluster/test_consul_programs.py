# SPDX-License-Identifier: Apache-2.0
"""Programs that were written for Consul, pointed at muster unchanged: Patroni's store, VictoriaMetrics' agent, the npm client, Consul's own command line."""
import json
import os
import pathlib
import shutil
import subprocess
import threading
import urllib.request

import pytest
from harness import Cluster, Node, clean_env, free_ports, wait_for

HERE = pathlib.Path(__file__).parent
PEERS = pathlib.Path(os.environ.get("MUSTER_PEERS") or HERE.parents[1].parent / "shared" / "peers")
NPM_CONSUL = "consul@2.0.1"


def run(command, env=None, timeout=120, **kw):
    p = subprocess.run(command, env={**clean_env(), **(env or {})}, capture_output=True, timeout=timeout, check=False, **kw)
    assert p.returncode == 0, (command, p.stdout[-3000:].decode(), p.stderr[-3000:].decode())
    return p.stdout.decode()


def ports(cluster):
    return [str(x.http) for x in cluster.nodes] if hasattr(cluster.nodes[0], "http") else [x.endpoint.rpartition(":")[2] for x in cluster.nodes]


def test_patroni(shared):
    """Leader lock, members, configuration, waiting for the leader, failover: as two of its nodes, each at another node of muster."""
    p = ports(shared)
    run(["/usr/bin/python3", str(HERE / "patroni_dcs.py"), p[0], p[1]])
    assert shared.nodes[2].get("/v1/kv/service/batman/?keys&consistent").status == 404


def test_victoria_metrics_finds_its_targets(shared, tmp_path):
    a, b, _ = shared.nodes
    for node, port in (("vm-1", 9101), ("vm-2", 9102)):
        body = {"Node": node, "Address": "10.3.0." + node[-1], "Service": {"ID": "e", "Service": "vm-export", "Port": port, "Tags": ["prod"]}}
        assert a.put("/v1/catalog/register", body).status == 200
    conf = {"scrape_configs": [{"job_name": "muster", "consul_sd_configs": [{"server": f"127.0.0.1:{ports(shared)[1]}", "services": ["vm-export"], "tags": ["prod"]}]}]}
    (tmp_path / "conf.yml").write_text(json.dumps(conf))
    port = free_ports(1)[0]
    with open(tmp_path / "log", "wb") as log:
        p = subprocess.Popen(["/usr/bin/vmagent", f"-promscrape.config={tmp_path / 'conf.yml'}", f"-httpListenAddr=127.0.0.1:{port}", "-remoteWrite.url=http://127.0.0.1:1/",
                              f"-remoteWrite.tmpDataPath={tmp_path / 'data'}", "-promscrape.consulSDCheckInterval=1s"], stdout=log, stderr=log, env=clean_env())
    try:
        def targets():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/targets", timeout=5) as r:
                found = json.load(r)["data"]
            return {t["discoveredLabels"]["__address__"] for t in found["activeTargets"] + found["droppedTargets"]}
        wait_for(lambda: targets() == {"10.3.0.1:9101", "10.3.0.2:9102"}, 60, "both targets to be found")
        assert b.put("/v1/catalog/deregister", {"Node": "vm-1"}).status == 200
        wait_for(lambda: targets() == {"10.3.0.2:9102"}, 60, "one of them to go")
    finally:
        p.terminate()
        p.wait()
        a.put("/v1/catalog/deregister", {"Node": "vm-2"})


def test_npm_consul(shared, tmp_path):
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), NPM_CONSUL], timeout=300)
    p = ports(shared)
    run(["node", str(HERE / "npm_consul.js"), str(tmp_path / "node_modules"), p[0], p[1]])


# --- Consul's command line, when its package is there ---


@pytest.fixture(scope="module")
def consul(tmp_path_factory):
    deb = sorted(PEERS.glob("consul_*.deb"))
    if not deb:
        pytest.skip(f"Consul's package is not in {PEERS} (MUSTER_PEERS)")
    d = tmp_path_factory.mktemp("consul")
    run(["dpkg-deb", "-x", str(deb[0]), str(d)])
    return next(d.rglob("bin/consul"))


def cli(consul, node, *words, token=None, **kw):
    env = {"CONSUL_HTTP_ADDR": node.endpoint.rpartition("//")[2], **({"CONSUL_HTTP_TOKEN": token} if token else {})}
    return run([str(consul), *words], env=env, **kw)


def test_the_command_line(shared, consul, tmp_path):
    a, b, c = shared.nodes
    assert "Success" in cli(consul, a, "kv", "put", "cli/a", "one") and cli(consul, b, "kv", "get", "cli/a") == "one\n"
    assert "Success" in cli(consul, a, "kv", "put", "-flags=7", "cli/b", "two") and cli(consul, c, "kv", "get", "-keys", "cli/").split() == ["cli/a", "cli/b"]
    exported = cli(consul, b, "kv", "export", "cli/")
    assert [x["key"] for x in json.loads(exported)] == ["cli/a", "cli/b"]
    assert "Success" in cli(consul, a, "kv", "delete", "-recurse", "cli/") and "Imported: cli/b" in cli(consul, b, "kv", "import", exported)
    assert "n1" in cli(consul, a, "catalog", "nodes") and "dc1" in cli(consul, a, "catalog", "datacenters") and "consul" in cli(consul, b, "catalog", "services")
    out = cli(consul, a, "members")
    assert all(x in out for x in ("n1", "n2", "n3", "alive", "server"))
    assert cli(consul, b, "operator", "raft", "list-peers").count("follower") == 2 and "CleanupDeadServers" in cli(consul, c, "operator", "autopilot", "get-config")
    assert "Configuration updated" in cli(consul, a, "operator", "autopilot", "set-config", "-cleanup-dead-servers=false")
    (tmp_path / "web.json").write_text(json.dumps({"service": {"name": "cli-web", "id": "cli-1", "port": 80}}))
    assert "Registered service: cli-web" in cli(consul, a, "services", "register", str(tmp_path / "web.json"))
    assert "cli-web" in b.get("/v1/agent/services").body.decode()
    cli(consul, b, "maint", "-enable", "-service=cli-1", "-reason=because")
    assert "because" in cli(consul, c, "maint")
    cli(consul, a, "maint", "-disable", "-service=cli-1")
    assert "Deregistered service: cli-1" in cli(consul, c, "services", "deregister", "-id=cli-1")
    assert "Event ID" in cli(consul, a, "event", "-name=cli-event", "payload")
    assert cli(consul, b, "lock", "cli/lock", "echo held").strip() == "held"


def test_a_watch_of_the_command_line(shared, consul):
    a, b, _ = shared.nodes
    a.put("/v1/kv/cliw/key", b"before")
    p = subprocess.Popen([str(consul), "watch", "-type=key", "-key=cliw/key", "cat; echo"], env={**clean_env(), "CONSUL_HTTP_ADDR": b.endpoint.rpartition("//")[2]}, stdout=subprocess.PIPE)
    try:
        assert b"YmVmb3Jl" in p.stdout.readline()
        a.put("/v1/kv/cliw/key", b"after")
        assert b"YWZ0ZXI=" in p.stdout.readline() + p.stdout.readline()  # what is shown ends with an empty line
    finally:
        p.terminate()
        p.wait()


def test_a_log_with_the_command_line(shared, consul):
    a = shared.nodes[0]
    p = subprocess.Popen([str(consul), "monitor", "-log-level=debug"], env={**clean_env(), "CONSUL_HTTP_ADDR": a.endpoint}, stdout=subprocess.PIPE)
    ended = threading.Event()

    def write():
        while not ended.wait(0.1):
            a.put("/v1/kv/climon/key", b"x")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        line = p.stdout.readline()  # its first one may be of a write before
        assert b"[DEBUG] http: request answered: method=PUT path=/v1/kv/climon/key" in line + p.stdout.readline()
    finally:
        ended.set()
        writer.join()
        p.terminate()
        p.wait()


def test_access_control_with_the_command_line(consul, tmp_path):
    one = Cluster(1, extra=["--acl-enabled"])
    try:
        node = one.nodes[0].start()
        wait_for(lambda: node.get("/v1/status/leader").json, what="a leader")
        out = cli(consul, node, "acl", "bootstrap")
        root = next(x.split()[1] for x in out.splitlines() if x.startswith("SecretID"))
        (tmp_path / "rules.hcl").write_text('key_prefix "app/" { policy = "write" }\nservice_prefix "" { policy = "read" }\n')
        assert "readers" in cli(consul, node, "acl", "policy", "create", "-name=readers", f"-rules=@{tmp_path / 'rules.hcl'}", token=root)
        out = cli(consul, node, "acl", "token", "create", "-description=app", "-policy-name=readers", token=root)
        app = next(x.split()[1] for x in out.splitlines() if x.startswith("SecretID"))
        assert "Success" in cli(consul, node, "kv", "put", "app/a", "x", token=app)
        p = subprocess.run([str(consul), "kv", "put", "other/a", "x"], env={**clean_env(), "CONSUL_HTTP_ADDR": node.endpoint.rpartition("//")[2], "CONSUL_HTTP_TOKEN": app},
                           capture_output=True, timeout=60, check=False)
        assert p.returncode != 0 and b"Permission denied" in p.stderr
        assert "global-management" in cli(consul, node, "acl", "policy", "list", token=root) and "app" in cli(consul, node, "acl", "token", "list", token=root)
        assert "crew" in cli(consul, node, "acl", "role", "create", "-name=crew", "-policy-name=readers", token=root)
        assert "readers" in cli(consul, node, "acl", "policy", "read", "-name=readers", token=root)
    finally:
        one.close()


# --- moving between the two ---


@pytest.fixture
def real(consul, tmp_path):
    """A server of Consul's own, with access control; what it takes is asked with its command line's words."""
    http, serf, wan, rpc = free_ports(4)
    conf = {"node_name": "c1", "server": True, "bootstrap": True, "data_dir": str(tmp_path / "real"), "bind_addr": "127.0.0.1", "ports": {"http": http, "dns": -1, "serf_lan": serf, "serf_wan": wan, "server": rpc, "grpc": -1},
            "acl": {"enabled": True, "default_policy": "deny", "tokens": {"master": REAL_TOKEN}}, "primary_datacenter": "dc1", "disable_update_check": True, "performance": {"raft_multiplier": 1}}
    (tmp_path / "real.json").write_text(json.dumps(conf))
    with open(tmp_path / "real.log", "wb") as log:
        p = subprocess.Popen([str(consul), "agent", "-config-file", str(tmp_path / "real.json")], stdout=log, stderr=log, env=clean_env())
    node = Real(http)
    try:
        wait_for(lambda: node.put("/v1/kv/ready", b"x").json is True, 30, "Consul to have a leader")
        assert node.delete("/v1/kv/ready").status == 200
        yield node
    finally:
        p.terminate()
        p.wait()


REAL_TOKEN = "5ec4e700-0000-4000-8000-00000000c0de"


class Real(Node):
    """Asked as a node of muster is."""

    def __init__(self, port):
        self.http_port = port
        self.cluster = type("Asked", (), {"token": REAL_TOKEN})


def told(node):
    """What both have, in the same words."""
    def strip(v):
        if isinstance(v, dict):
            kept = {k: strip(x) for k, x in v.items() if k not in ("CreateIndex", "ModifyIndex", "LockIndex", "Hash", "Interval", "Timeout", "ExposedPort", "Definition")}
            return {k: x for k, x in kept.items() if x not in ({}, [], None, "")}
        return sorted((strip(x) for x in v), key=lambda x: json.dumps(x, sort_keys=True)) if isinstance(v, list) else v
    out = {p: node.get("/v1/" + p).json for p in ("kv/?recurse", "health/service/moved", "health/node/moved-node", "catalog/node/moved-node", "query", "config/service-resolver/moved", "config/proxy-defaults/global",
                                                  "operator/autopilot/configuration", "coordinate/node/moved-node", "acl/policy/name/moved")}
    check = node.put("/v1/txn", [{"Check": {"Verb": "get", "Check": {"Node": "moved-node", "CheckID": "mc"}}}]).json["Results"][0]["Check"]
    out["definition"] = check["Definition"]
    out["session/list"] = [s for s in node.get("/v1/session/list").json if s["Node"] == "moved-node"]
    return strip(out)


def stock(node):
    """What moves, written into either; the secret of a token."""
    def ok(r):
        assert r.status == 200, r.body
        return r
    ok(node.put("/v1/catalog/register", {
        "Node": "moved-node", "Address": "10.0.0.1", "ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "TaggedAddresses": {"lan": "10.0.0.1"}, "NodeMeta": {"rack": "r1"},
        "Service": {"ID": "m1", "Service": "moved", "Tags": ["a"], "Port": 80, "Address": "10.0.0.9", "Meta": {"k": "v"}, "Weights": {"Passing": 5, "Warning": 2}, "TaggedAddresses": {"lan": {"Address": "10.0.0.9", "Port": 81}}},
        "Checks": [{"CheckID": "mc", "Name": "m", "Status": "passing", "Output": "ok", "ServiceID": "m1", "Definition": {"HTTP": "http://10.0.0.1/", "Interval": "10s"}}, {"CheckID": "nc", "Name": "n", "Status": "warning"}]}))
    ok(node.put("/v1/kv/moved/flags?flags=42", b"one"))
    ok(node.put("/v1/kv/moved/bytes", bytes(range(256))))
    session = ok(node.put("/v1/session/create", {"Name": "s", "Node": "moved-node", "NodeChecks": ["nc"], "TTL": "600s", "LockDelay": "5s"})).json["ID"]
    assert ok(node.put(f"/v1/kv/moved/lock?acquire={session}", b"held")).json
    ok(node.post("/v1/query", {"Name": "moved-q", "Service": {"Service": "moved", "Tags": ["a"], "Failover": {"NearestN": 2}}, "DNS": {"TTL": "10s"}}))
    ok(node.put("/v1/config", {"Kind": "service-resolver", "Name": "moved", "ConnectTimeout": "15s"}))
    ok(node.put("/v1/config", {"Kind": "proxy-defaults", "Name": "global", "Config": {"some": 1.5, "more": {"a": ["b", True]}}}))
    ok(node.put("/v1/operator/autopilot/configuration", {"CleanupDeadServers": False, "LastContactThreshold": "300ms", "MaxTrailingLogs": 300, "ServerStabilizationTime": "12s"}))
    ok(node.put("/v1/coordinate/update", {"Node": "moved-node", "Coord": {"Vec": [0.5] * 8, "Error": 1.2, "Adjustment": 0.5, "Height": 0.001}}))
    ok(node.put("/v1/acl/policy", {"Name": "moved", "Rules": 'key_prefix "moved/" { policy = "read" }', "Description": "d"}))
    ok(node.put("/v1/acl/role", {"Name": "moved", "Policies": [{"Name": "moved"}]}))
    secret = ok(node.put("/v1/acl/token", {"Description": "moved", "Roles": [{"Name": "moved"}]})).json["SecretID"]
    # Consul batches coordinates for a while.
    wait_for(lambda: b'"Error":1.2' in node.get("/v1/coordinate/node/moved-node").body, 30, "the coordinate")
    return secret


def reads(node, secret):
    return node.get("/v1/kv/moved/flags?raw", headers={"X-Consul-Token": secret}).status


@pytest.fixture
def guarded_node(tmp_path):
    (tmp_path / "token").write_text(REAL_TOKEN)
    (tmp_path / "token").chmod(0o600)
    c = Cluster(1, extra=["--acl-enabled", "--acl-initial-token-file", str(tmp_path / "token")])
    c.token = REAL_TOKEN
    try:
        yield c.start().settled().nodes[0]
    finally:
        c.close()


def test_moving_from_consul(consul, real, guarded_node, tmp_path):
    secret = stock(real)
    saved = str(tmp_path / "consul.snap")
    cli(consul, real, "snapshot", "save", saved, token=REAL_TOKEN)
    assert "Restored snapshot" in cli(consul, guarded_node, "snapshot", "restore", saved, token=REAL_TOKEN)
    assert told(guarded_node) == told(real)
    assert reads(guarded_node, secret) == reads(real, secret) == 200, "who has a token goes on with it"
    assert guarded_node.get("/v1/kv/moved/flags", headers={"X-Consul-Token": ""}).status == 403
    again = guarded_node.put("/v1/snapshot", pathlib.Path(saved).read_bytes())
    assert again.headers["muster-snapshot-changes"] == "0"
    # The server's own service, and its federation state.
    assert again.headers["muster-snapshot-passed-over"] == "2"
    assert [x["Node"] for x in guarded_node.get("/v1/catalog/service/consul").json] == ["n1"]


def test_moving_to_consul(consul, real, guarded_node, tmp_path):
    secret = stock(guarded_node)
    assert guarded_node.put("/v1/agent/service/register", {"Name": "of-an-agent", "Port": 1, "Check": {"TTL": "1h", "Status": "passing"}}).status == 200
    saved = str(tmp_path / "muster.snap")
    assert "Saved and verified snapshot" in cli(consul, guarded_node, "snapshot", "save", saved, token=REAL_TOKEN)
    assert "Saved and verified" in cli(consul, guarded_node, "snapshot", "save", "-stale", str(tmp_path / "stale.snap"), token=REAL_TOKEN)
    assert "Version      1" in cli(consul, guarded_node, "snapshot", "inspect", saved)
    assert "Restored snapshot" in cli(consul, real, "snapshot", "restore", saved, token=REAL_TOKEN)
    wait_for(lambda: b'"Node":"n1"' in real.get("/v1/catalog/service/of-an-agent").body, 30, "Consul to have it")
    assert told(real) == told(guarded_node)
    # A secret is not stored: Consul has the token with another one, and shows it to operators.
    assert reads(real, secret) == 403
    accessor = next(t["AccessorID"] for t in real.get("/v1/acl/tokens").json if t["Description"] == "moved")
    assert reads(real, real.get("/v1/acl/token/" + accessor).json["SecretID"]) == 200
    # And back: what was made by muster keeps its secrets.
    assert guarded_node.delete("/v1/kv/moved/?recurse").status == 200
    assert "Restored snapshot" in cli(consul, guarded_node, "snapshot", "restore", saved, token=REAL_TOKEN)
    assert reads(guarded_node, secret) == 200
