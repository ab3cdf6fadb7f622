# SPDX-License-Identifier: Apache-2.0
"""Programs that were written for Consul, pointed at muster unchanged: Patroni's store, VictoriaMetrics' agent, the npm client, Consul's own command line."""
import json
import os
import pathlib
import shutil
import subprocess
import urllib.request

import pytest
from harness import Cluster, clean_env, free_ports, wait_for

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
