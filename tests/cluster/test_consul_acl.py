# SPDX-License-Identifier: Apache-2.0
"""Access control: tokens, policies and roles on three nodes, and what they let through on every face."""
import concurrent.futures
import json
import os
import socket
import struct
import subprocess
import tempfile
import uuid

import pytest
from harness import BUILD, Cluster, clean_env, wait_for

ROOT_TOKEN = "f0e1d2c3-0000-4000-8000-00000000c0de"  # must never be seen in logs
ANONYMOUS = "00000000-0000-0000-0000-000000000002"


def token_file(secret):
    fd, path = tempfile.mkstemp(prefix="muster-token-")
    os.write(fd, secret.encode() + b"\n")
    os.close(fd)
    return path


@pytest.fixture(scope="module")
def guarded():
    path = token_file(ROOT_TOKEN)
    c = Cluster(3, extra=["--acl-enabled", "--acl-initial-token-file", path, "--dns-listen", "127.0.0.1:0"])
    c.token = ROOT_TOKEN
    try:
        c.start().settled()
        yield c
        for x in c.nodes:
            assert ROOT_TOKEN not in x.log()
    finally:
        c.close()
        os.unlink(path)


def text(r):
    return r.body.decode()


def token(c, rules, node=0, **more):
    """A token with one policy of those rules; its secret, once all nodes know it."""
    name = "p-" + uuid.uuid4().hex
    r = c.nodes[node].put("/v1/acl/policy", {"Name": name, "Rules": rules})
    assert r.status == 200, text(r)
    r = c.nodes[(node + 1) % 3].put("/v1/acl/token", {"Description": name, "Policies": [{"Name": name}], **more})
    assert r.status == 200, text(r)
    secret = r.json["SecretID"]
    for x in c.nodes:
        wait_for(lambda x=x: ask(x, "GET", "/v1/acl/token/self", secret).status == 200, what="the token is known")
    return secret


def ask(node, method, path, secret, body=None, headers=None):
    return node.request(method, path, body, headers={"X-Consul-Token": secret, **(headers or {})})


def test_nobody_may_anything_without_a_token(guarded):
    """Every endpoint of the Consul face and of the native one: denied, filtered, or known to be open."""
    a = guarded.nodes[0]
    a.put("/v1/kv/secret/one", b"1")
    assert a.put("/v1/agent/service/register", {"Name": "hidden", "ID": "hidden-1", "Check": {"TTL": "60s"}}).status == 200
    a.put("/api/v1/configs/g/c", b"x", headers={"Content-Type": "text/plain"})
    denied = [
        ("GET", "/v1/kv/secret/one"), ("PUT", "/v1/kv/secret/one"), ("DELETE", "/v1/kv/secret/one"), ("DELETE", "/v1/kv/secret?recurse"),
        ("PUT", "/v1/session/create"), ("PUT", "/v1/session/destroy/" + str(uuid.uuid4())), ("PUT", "/v1/session/renew/" + str(uuid.uuid4())),
        ("GET", "/v1/agent/self"), ("PUT", "/v1/agent/maintenance?enable=true"), ("PUT", "/v1/agent/service/deregister/hidden-1"),
        ("PUT", "/v1/agent/service/maintenance/hidden-1?enable=true"), ("PUT", "/v1/agent/check/pass/service:hidden-1"),
        ("PUT", "/v1/agent/check/deregister/service:hidden-1"), ("GET", "/v1/operator/raft/configuration"),
        ("GET", "/v1/acl/tokens"), ("GET", "/v1/acl/policies"), ("GET", "/v1/acl/roles"), ("GET", "/v1/acl/token/" + ANONYMOUS),
    ]
    for method, path in denied:
        r = a.request(method, path, b"" if method == "PUT" else None, headers={"X-Consul-Token": ""})
        assert r.status == 403 and text(r).startswith("Permission denied: anonymous token lacks permission"), (method, path, r)
    for path, body in (("/v1/agent/service/register", {"Name": "web"}), ("/v1/catalog/register", {"Node": "x", "Address": "10.0.0.1"}),
                       ("/v1/catalog/deregister", {"Node": "n1"}), ("/v1/agent/check/register", {"Name": "c", "TTL": "10s"})):
        assert ask(a, "PUT", path, "", body).status == 403, path
    assert ask(a, "GET", "/v1/kv/secret?recurse", "").status == 404
    assert ask(a, "GET", "/v1/kv/?keys", "").json == []
    for path in ("catalog/nodes", "catalog/service/hidden", "health/service/hidden", "health/checks/hidden", "health/node/n1", "health/state/any",
                 "session/list", "coordinate/nodes", "agent/members"):
        r = ask(a, "GET", "/v1/" + path, "")
        assert r.status == 200 and r.json == [], (path, r)
    for path in ("catalog/services", "agent/services", "agent/checks"):
        assert ask(a, "GET", "/v1/" + path, "").json == {}, path
    assert ask(a, "GET", "/v1/catalog/node/n1", "").json is None
    assert ask(a, "GET", "/v1/catalog/nodes", "").headers["X-Consul-Results-Filtered-By-Acls"] == "true"
    assert ask(a, "GET", "/v1/agent/service/hidden-1", "").status == 403
    r = ask(a, "PUT", "/v1/txn", "", [{"KV": {"Verb": "set", "Key": "secret/one", "Value": "eA=="}}, {"KV": {"Verb": "get", "Key": "secret/one"}}])
    assert r.status == 409 and r.json["Errors"] == [{"OpIndex": 0, "What": "Permission denied"}]
    assert ask(a, "PUT", "/v1/txn", "", [{"KV": {"Verb": "get", "Key": "secret/one"}}]).json["Results"] == []
    for method, path, body in (("GET", "/api/v1/configs/g/c", None), ("PUT", "/api/v1/configs/g/c", b"y"), ("DELETE", "/api/v1/configs/g/c", None),
                               ("GET", "/api/v1/configs", None), ("GET", "/api/v1/services", None), ("GET", "/api/v1/services/hidden", None),
                               ("PUT", "/api/v1/services/web/instances/1", {"address": "1.2.3.4"}), ("POST", "/api/v1/leases", {"ttl": "10s"}),
                               ("GET", "/api/v1/cluster", None), ("POST", "/api/v1/cluster:compact", {}), ("GET", "/api/v1/snapshot", None),
                               ("GET", "/api/v1/watch?configs=g/*", None), ("GET", "/api/v1/watch?services=hidden", None),
                               ("POST", "/api/v1/configs:listen", {"configs": [{"group": "g", "key": "c", "etag": ""}]})):
        r = ask(a, method, path, "", body)
        assert r.status == 401 and r.json["code"] == "UNAUTHORIZED" and r.headers["WWW-Authenticate"] == "Bearer", (method, path, r)
    for path in ("/livez", "/readyz", "/metrics", "/v1/status/leader", "/v1/catalog/datacenters", "/v1/agent/version"):
        assert ask(a, "GET", path, "").status == 200, path
    assert a.get("/v1/kv/secret/one?raw").body == b"1"  # and nothing of it was done


def test_a_token_that_does_not_exist(guarded):
    for x in guarded.nodes:
        r = ask(x, "GET", "/v1/kv/a", str(uuid.uuid4()))
        assert r.status == 403 and text(r) == "ACL not found"
        assert ask(x, "GET", "/v1/kv/a", "x" * 4000).status == 403
        assert ask(x, "GET", "/api/v1/cluster", str(uuid.uuid4())).status == 401


def test_a_token_counts_at_once_on_every_node(guarded):
    """Who was given a token by one node may go to another one with it, however far behind that is."""
    lead = guarded.leader()
    others = [n for n in guarded.nodes if n is not lead]
    for i in range(30):
        secret = lead.put("/v1/acl/token", {"Description": "at once"}).json["SecretID"]
        r = others[i % 2].get("/v1/acl/token/self", headers={"X-Consul-Token": secret})
        assert r.status == 200, text(r)


def test_three_ways_to_show_a_token(guarded):
    a = guarded.nodes[0]
    none = {"X-Consul-Token": ""}
    assert a.get(f"/v1/agent/self?token={ROOT_TOKEN}", headers=none).status == 200
    assert a.get("/v1/agent/self", headers={"Authorization": f"Bearer {ROOT_TOKEN}", **none}).status == 200
    assert a.get("/api/v1/cluster", headers={"Authorization": f"bearer {ROOT_TOKEN}", **none}).status == 200
    assert a.get("/v1/agent/self", headers={"X-Consul-Token": ROOT_TOKEN}).status == 200
    assert a.get(f"/api/v1/cluster?token={ROOT_TOKEN}", headers=none).status in (400, 401)
    # the parameter counts before the header of its own, that before the one that proxies write, too
    assert a.get(f"/v1/agent/self?token={ROOT_TOKEN}", headers={"X-Consul-Token": "no"}).status == 200
    assert a.get("/v1/agent/self", headers={"X-Consul-Token": ROOT_TOKEN, "Authorization": "Bearer no"}).status == 200


def test_rules_of_keys(guarded):
    a, b, c = guarded.nodes
    for k in ("app/one", "app/two", "app/deep/three", "other"):
        a.put("/v1/kv/" + k, k.encode())
    t = token(guarded, 'key_prefix "app/" { policy = "read" }\nkey "app/two" { policy = "write" }\nkey_prefix "app/deep/" { policy = "deny" }')
    wait_for(lambda: ask(b, "GET", "/v1/kv/app/one", t).status == 200)
    assert ask(b, "GET", "/v1/kv/app/one?raw", t).body == b"app/one"
    assert ask(b, "PUT", "/v1/kv/app/one", t, b"x").status == 403 and ask(b, "PUT", "/v1/kv/app/two", t, b"x").body == b"true"
    assert ask(b, "GET", "/v1/kv/app/deep/three", t).status == 403 and ask(b, "GET", "/v1/kv/other", t).status == 403
    assert [x["Key"] for x in ask(b, "GET", "/v1/kv/app?recurse", t).json] == ["app/one", "app/two"]
    assert ask(b, "GET", "/v1/kv/?keys", t).json == ["app/one", "app/two"]
    assert ask(b, "DELETE", "/v1/kv/app/?recurse", t).status == 403  # all below must be his
    r = ask(b, "PUT", "/v1/kv/other", t, b"x")
    accessor = ask(b, "GET", "/v1/acl/token/self", t).json["AccessorID"]
    assert text(r) == f"Permission denied: token with AccessorID '{accessor}' lacks permission 'key:write' on \"other\""
    ok = [{"KV": {"Verb": "set", "Key": "app/two", "Value": "eA=="}}, {"KV": {"Verb": "get-tree", "Key": "app"}}]
    r = ask(c, "PUT", "/v1/txn", t, ok)
    assert r.status == 200 and [x["KV"]["Key"] for x in r.json["Results"]] == ["app/two", "app/one", "app/two"]
    assert ask(c, "PUT", "/v1/txn", t, ok + [{"KV": {"Verb": "delete", "Key": "app/one"}}]).json["Errors"] == [{"OpIndex": 2, "What": "Permission denied"}]
    whole = token(guarded, 'key_prefix "tree/" { policy = "write" }')
    a.put("/v1/kv/tree/1", b"")
    assert ask(b, "DELETE", "/v1/kv/tree/?recurse", whole).body == b"true" and ask(b, "DELETE", "/v1/kv/tre?recurse", whole).status == 403


def test_rules_of_services(guarded):
    a, b, _ = guarded.nodes
    t = token(guarded, '{"service_prefix": {"web": {"policy": "write"}}, "service": {"db": {"policy": "read"}}, "node_prefix": {"": {"policy": "read"}},'
                       ' "session_prefix": {"": {"policy": "write"}}}')
    assert ask(a, "PUT", "/v1/agent/service/register", t, {"Name": "web", "ID": "web-1", "Check": {"TTL": "60s", "Status": "passing"}}).status == 200
    assert ask(a, "PUT", "/v1/agent/service/register", t, {"Name": "db", "ID": "db-1"}).status == 403
    assert a.put("/v1/agent/service/register", {"Name": "db", "ID": "db-1", "Check": {"CheckID": "db-check", "TTL": "60s"}}).status == 200
    # neither the id nor the check of another service can be taken over
    assert ask(a, "PUT", "/v1/agent/service/register", t, {"Name": "web", "ID": "db-1"}).status == 403
    assert ask(a, "PUT", "/v1/agent/service/register", t, {"Name": "web", "ID": "web-2", "Check": {"CheckID": "db-check", "TTL": "60s"}}).status == 403
    assert ask(a, "PUT", "/v1/agent/check/register", t, {"Name": "x", "ID": "db-check", "ServiceID": "web-1", "TTL": "60s"}).status == 403
    assert ask(a, "PUT", "/v1/agent/check/pass/db-check", t).status == 403 and ask(a, "PUT", "/v1/agent/service/deregister/db-1", t).status == 403
    assert set(ask(a, "GET", "/v1/catalog/services", t).json) >= {"web", "db"} and "hidden" not in ask(a, "GET", "/v1/catalog/services", t).json
    assert [x["Service"]["ID"] for x in ask(b, "GET", "/v1/health/service/web?consistent", t).json] == ["web-1"]
    assert ask(b, "PUT", "/v1/agent/check/pass/service:web-1", t).status == 200 and set(ask(b, "GET", "/v1/agent/services", t).json) == {"web-1", "db-1"}
    assert {x["ServiceName"] for x in ask(b, "GET", "/v1/health/state/any?consistent", t).json} == {"", "web", "db"}
    # the native face, the same rules
    assert ask(b, "GET", "/api/v1/services/web", t).status == 200 and ask(b, "GET", "/api/v1/services/hidden", t).status == 403
    assert ask(b, "PUT", "/api/v1/services/webx/instances/1", t, {"address": "10.0.0.1", "port": 1}).status in (200, 201)
    assert ask(b, "PUT", "/api/v1/services/db/instances/2", t, {"address": "10.0.0.1", "port": 1}).status == 403
    s = ask(a, "PUT", "/v1/session/create", t, {"Name": "s"})
    assert s.status == 200 and ask(a, "PUT", "/v1/session/destroy/" + s.json["ID"], t).body == b"true"
    assert ask(a, "PUT", "/v1/agent/service/deregister/web-1", t).status == 200
    # the catalog: a new service on a node that is there needs the service alone
    assert ask(a, "PUT", "/v1/catalog/register", t, {"Node": "ext", "Address": "10.0.0.9", "Service": {"Service": "web"}}).status == 403
    assert a.put("/v1/catalog/register", {"Node": "ext", "Address": "10.0.0.9"}).body == b"true"
    assert ask(a, "PUT", "/v1/catalog/register", t, {"Node": "ext", "SkipNodeUpdate": True, "Service": {"Service": "web"}}).body == b"true"
    address = a.get("/v1/catalog/node/ext?consistent").json["Node"]["Address"]
    again = {"Node": "ext", "Address": address, "Service": {"Service": "web"}}  # the node told as it is
    assert ask(a, "PUT", "/v1/catalog/register", t, again).body == b"true"
    for more in ({"Address": "10.9.9.9"}, {"NodeMeta": {"k": "v"}}, {"Node": "ext-new"}, {"TaggedAddresses": {"lan": address}}):
        assert ask(a, "PUT", "/v1/catalog/register", t, {**again, **more}).status == 403, more
    assert a.get("/v1/catalog/node/ext?consistent").json["Node"]["Address"] == address
    assert ask(a, "PUT", "/v1/catalog/deregister", t, {"Node": "ext"}).status == 403
    # who may write the node may end what is on it, and say nothing of how a service is
    n = token(guarded, 'node "ext" { policy = "write" }\nservice "mine" { policy = "write" }')
    check = {"Node": "ext", "Name": "c", "CheckID": "c-web", "Status": "critical", "ServiceID": "web"}
    assert ask(a, "PUT", "/v1/catalog/register", n, {"Node": "ext", "SkipNodeUpdate": True, "Check": check}).status == 403
    assert ask(a, "PUT", "/v1/catalog/register", n, {"Node": "ext", "SkipNodeUpdate": True, "Service": {"ID": "web", "Service": "mine"}}).status == 403
    assert ask(a, "PUT", "/v1/txn", n, [{"Check": {"Verb": "set", "Check": check}}]).status == 409
    assert ask(a, "PUT", "/v1/txn", t, [{"Check": {"Verb": "set", "Check": check}}]).status == 200
    assert ask(a, "PUT", "/v1/txn", n, [{"Check": {"Verb": "delete", "Check": {"Node": "ext", "CheckID": "c-web"}}}]).status == 200
    assert ask(a, "PUT", "/v1/catalog/deregister", n, {"Node": "ext", "ServiceID": "none"}).body == b"true"
    assert ask(a, "PUT", "/v1/catalog/deregister", t, {"Node": "ext", "ServiceID": "web"}).body == b"true"


def test_rules_of_config_entries(guarded):
    """What speaks of a service is that service's, the rest the operator's."""
    a = guarded.nodes[0]
    s, o = token(guarded, 'service "web" { policy = "write" }'), token(guarded, 'operator = "write"')
    for kind, name, writer in (("service-defaults", "web", s), ("service-router", "web", s), ("proxy-defaults", "global", o), ("ingress-gateway", "web", o)):
        for who in (s, o):
            assert ask(a, "PUT", "/v1/config", who, {"Kind": kind, "Name": name}).status == (200 if who == writer else 403), (kind, name)
    for kind, name, hidden in (("service-defaults", "web", 1), ("ingress-gateway", "web", 1), ("proxy-defaults", "global", 0)):
        assert ask(a, "GET", f"/v1/config/{kind}/{name}?consistent", s).status == 200
        assert ask(a, "GET", f"/v1/config/{kind}/{name}?consistent", o).status == (403 if hidden else 200), kind
        assert len(ask(a, "GET", f"/v1/config/{kind}?consistent", o).json) == (0 if hidden else 1), kind


def test_configs_of_the_native_face(guarded):
    a, b, _ = guarded.nodes
    t = token(guarded, 'config_prefix "public/team/" { policy = "write" }\nconfig "public/ops/db" { policy = "read" }')
    a.put("/api/v1/configs/ops/db", b"1", headers={"Content-Type": "text/plain"})
    assert ask(b, "PUT", "/api/v1/configs/team/a", t, b"1", {"Content-Type": "text/plain"}).status in (200, 201)
    assert ask(b, "GET", "/api/v1/configs/ops/db", t).body == b"1" and ask(b, "PUT", "/api/v1/configs/ops/db", t, b"2").status == 403
    assert ask(b, "GET", "/api/v1/configs/ops/db/history", t).status == 200 and ask(b, "GET", "/api/v1/configs/ops/other", t).status == 403
    assert ask(b, "GET", "/api/v1/configs/team/a?namespace=other", t).status == 403 and ask(b, "GET", "/api/v1/configs", t).status == 403
    listen = {"configs": [{"group": "team", "key": "a", "etag": ""}]}
    assert ask(b, "POST", "/api/v1/configs:listen", t, listen).json["changed"]
    listen["configs"].append({"group": "ops", "key": "secret", "etag": ""})
    assert ask(b, "POST", "/api/v1/configs:listen", t, listen).status == 403
    assert ask(b, "GET", "/v1/kv/public/team/a", t).status == 403  # configs are no keys


def test_tokens_policies_and_roles(guarded):
    a, b, c = guarded.nodes
    p = a.put("/v1/acl/policy", {"Name": "readers", "Description": "d", "Rules": 'key_prefix "" { policy = "read" }'}).json
    assert {"ID", "Name", "Description", "Rules", "Hash", "CreateIndex", "ModifyIndex"} <= set(p)
    assert b.get("/v1/acl/policy/" + p["ID"]).json == p and c.get("/v1/acl/policy/name/readers").json == p
    assert {"global-management", "readers"} <= {x["Name"] for x in b.get("/v1/acl/policies").json}
    assert "already exists" in text(b.put("/v1/acl/policy", {"Name": "readers"}))
    role = b.put("/v1/acl/role", {"Name": "crew", "Policies": [{"ID": p["ID"]}], "ServiceIdentities": [{"ServiceName": "web"}]}).json
    assert role["Policies"] == [{"ID": p["ID"], "Name": "readers"}] and c.get("/v1/acl/role/name/crew").json == role
    t = c.put("/v1/acl/token", {"Description": "t", "Roles": [{"Name": "crew"}], "NodeIdentities": [{"NodeName": "box", "Datacenter": "dc1"}]}).json
    assert t["Roles"] == [{"ID": role["ID"], "Name": "crew"}] and uuid.UUID(t["SecretID"]) and t["CreateTime"].endswith("Z")
    read = a.get("/v1/acl/token/" + t["AccessorID"]).json
    assert read["SecretID"] == "<hidden>" and {**read, "SecretID": t["SecretID"]} == t
    assert a.get("/v1/acl/token/self", headers={"X-Consul-Token": t["SecretID"]}).json["SecretID"] == t["SecretID"]
    wait_for(lambda: ask(a, "GET", "/v1/kv/?keys", t["SecretID"]).json)
    assert ask(a, "PUT", "/v1/agent/service/register", t["SecretID"], {"Name": "web"}).status == 200
    assert ask(a, "PUT", "/v1/catalog/register", t["SecretID"], {"Node": "box", "Address": "10.1.1.1"}).body == b"true"
    # the policy changes, and all that comes of it at once, on all nodes
    r = a.put("/v1/acl/policy/" + p["ID"], {"Name": "nobody", "Rules": 'key_prefix "" { policy = "deny" }'})
    assert r.json["Name"] == "nobody" and b.get("/v1/acl/policy/name/readers").status == 404
    for x in guarded.nodes:
        wait_for(lambda x=x: ask(x, "GET", "/v1/kv/?keys", t["SecretID"]).json == [])
    assert c.get("/v1/acl/role/" + role["ID"]).json["Policies"] == [{"ID": p["ID"], "Name": "nobody"}]
    clone = b.put(f"/v1/acl/token/{t['AccessorID']}/clone", {"Description": "copy"}).json
    assert clone["SecretID"] != t["SecretID"] and clone["Roles"] == t["Roles"] and clone["NodeIdentities"] == t["NodeIdentities"]
    assert clone["Description"] == "copy"
    r = a.put("/v1/acl/token/" + t["AccessorID"], {"Description": "less", "SecretID": "<hidden>"})
    assert r.status == 200 and "Roles" not in r.json
    assert "not permitted" in text(a.put("/v1/acl/token/" + t["AccessorID"], {"SecretID": str(uuid.uuid4())}))
    assert a.delete("/v1/acl/token/" + t["AccessorID"]).body == b"true" and a.get("/v1/acl/token/" + t["AccessorID"]).status == 403
    for x in guarded.nodes:
        wait_for(lambda x=x: ask(x, "GET", "/v1/agent/self", t["SecretID"]).status == 403 and text(ask(x, "GET", "/v1/agent/self", t["SecretID"])) == "ACL not found")
    assert a.delete("/v1/acl/role/" + role["ID"]).body == b"true" and a.get("/v1/acl/role/" + role["ID"]).status == 404
    assert not a.get("/v1/acl/token/" + clone["AccessorID"]).json.get("Roles")
    assert a.delete("/v1/acl/policy/" + p["ID"]).body == b"true" and a.get("/v1/acl/policy/" + p["ID"]).status == 403
    assert "No such ACL policy" in text(a.put("/v1/acl/token", {"Policies": [{"Name": "readers"}]}))
    assert a.delete("/v1/acl/token/" + ANONYMOUS).status == 500
    assert a.delete("/v1/acl/policy/00000000-0000-0000-0000-000000000001").status == 500


def test_what_does_not_fit(guarded):
    """Ids that are none, bodies that speak of another one, and what is settled when a token is made."""
    a = guarded.nodes[0]
    pol = a.put("/v1/acl/policy", {"Name": "fit", "Rules": 'key "a" { policy = "read" }'}).json["ID"]
    role = a.put("/v1/acl/role", {"Name": "fit", "Policies": [{"ID": pol}, {"Name": "fit"}]}).json
    local = a.put("/v1/acl/token", {"Local": True, "ExpirationTTL": "1h", "Roles": [{"Name": "fit"}]}).json
    t, none = local["AccessorID"], str(uuid.uuid4())
    assert role["Policies"] == [{"ID": pol, "Name": "fit"}]
    for what in ("policy", "role", "token"):
        for method in ("GET", "DELETE"):
            r = a.request(method, f"/v1/acl/{what}/x")
            assert r.status == 500 and text(r) == f"failed acl {what} lookup: index error: UUID must be 36 characters"
            assert a.request(method, f"/v1/acl/{what}/").status == 400
    for path, body, status, sentence in (
            ("policy", {}, 500, "Invalid Policy: no Name is set"), ("role", {}, 500, "Invalid Role: no Name is set"), ("policy", {"Name": "n", "ID": none}, 400, "Cannot specify the ID when creating a new policy"),
            ("policy/" + pol, {"ID": none, "Name": "fit"}, 400, "Policy ID in URL and payload do not match"), ("role/" + role["ID"], {"ID": none, "Name": "fit"}, 400, "Role ID in URL and payload do not match"),
            ("token/" + t, {"AccessorID": none, "Local": True}, 400, "Token Accessor ID in URL and payload do not match"), ("policy/" + none, {"Name": "n"}, 500, "cannot find policy " + none),
            ("token/" + none, {}, 500, f'Cannot find token "{none}"'), ("token/" + t, {}, 500, "cannot toggle local mode of " + t),
            ("token/" + t, {"Local": True, "ExpirationTTL": "2h"}, 500, "Cannot change expiration time of " + t), ("token/" + t, {"Local": True, "ExpirationTime": "2036-01-01T00:00:00Z"}, 500, "Cannot change expiration time of " + t),
            ("token", {"AccessorID": "00000000-0000-0000-0000-0000000000aa"}, 500, 'Invalid Token: UUIDs with the prefix "00000000-0000-0000-0000-0000000000" are reserved'),
            ("token", {"SecretID": "00000000-0000-0000-0000-0000000000aa"}, 500, 'Invalid Token: UUIDs with the prefix "00000000-0000-0000-0000-0000000000" are reserved'),
            ("token", {"ExpirationTTL": "1h", "ExpirationTime": local["ExpirationTime"]}, 500, "Token Expiration TTL and Expiration Time cannot both be set"),
            ("token", {"Odd": 1}, 400, 'Token decoding failed: json: unknown field "Odd"'), ("role", {"ServiceIdentities": [{}], "Name": "r"}, 500, "Service identity is missing the service name field on this role"),
            ("token", {"Local": True, "ServiceIdentities": [{"ServiceName": "s", "Datacenters": ["dc1"]}]}, 500, 'Service identity "s" cannot specify a list of datacenters on a local token')):
        r = a.put("/v1/acl/" + path, body)
        assert (r.status, text(r)) == (status, sentence), (path, body, r)
    # what was read may come back
    read = a.get("/v1/acl/token/" + t).json
    assert a.put("/v1/acl/token/" + t, {**read, "Description": "changed"}).json["ExpirationTime"] == local["ExpirationTime"]
    # lists: those that were asked for, and policies without their rules
    assert [x["Name"] for x in a.get("/v1/acl/roles?policy=" + pol).json] == ["fit"] and a.get("/v1/acl/roles?policy=" + none).json == []
    assert [x["AccessorID"] for x in a.get("/v1/acl/tokens?role=" + role["ID"]).json] == [t] and a.get("/v1/acl/tokens?authmethod=x").json == []
    assert not any("Rules" in x for x in a.get("/v1/acl/policies").json)


def test_what_a_token_may_not_give(guarded):
    """acl:read reads, and changes nothing; who manages access can all."""
    a = guarded.nodes[0]
    reader = token(guarded, 'acl = "read"')
    assert ask(a, "GET", "/v1/acl/tokens", reader).status == 200
    assert all(x["SecretID"] == "<hidden>" for x in ask(a, "GET", "/v1/acl/tokens", reader).json)
    for method, path, body in (("PUT", "/v1/acl/token", {}), ("PUT", "/v1/acl/policy", {"Name": "x"}), ("DELETE", "/v1/acl/token/" + ANONYMOUS, None),
                               ("PUT", "/v1/acl/role", {"Name": "x"}), ("GET", "/api/v1/snapshot", None)):
        assert ask(a, method, path, reader, body).status == 403, path
    writer = token(guarded, 'acl = "write"')
    assert ask(a, "PUT", "/v1/acl/token", writer, {"Policies": [{"Name": "global-management"}]}).status == 200
    q = [{"Resource": "key", "Access": "write", "Segment": "a"}, {"Resource": "acl", "Access": "read"}]
    assert [x["Allow"] for x in ask(a, "POST", "/v1/internal/acl/authorize", reader, q).json] == [False, True]


def test_the_anonymous_token_can_be_given_something(guarded):
    a, b, _ = guarded.nodes
    a.put("/v1/kv/open/door", b"!")
    p = a.put("/v1/acl/policy", {"Name": "open", "Rules": 'key_prefix "open/" { policy = "read" }'}).json
    assert a.put("/v1/acl/token/" + ANONYMOUS, {"Policies": [{"ID": p["ID"]}]}).status == 200
    wait_for(lambda: ask(b, "GET", "/v1/kv/open/door?raw", "").body == b"!")
    assert ask(b, "GET", "/v1/kv/secret/one", "").status == 403
    assert a.put("/v1/acl/token/" + ANONYMOUS, {"Policies": []}).status == 200
    wait_for(lambda: ask(b, "GET", "/v1/kv/open/door", "").status == 403)


def test_expiry(guarded):
    a = guarded.nodes[0]
    assert a.put("/v1/acl/token", {"ExpirationTTL": "10s"}).status == 500 and a.put("/v1/acl/token", {"ExpirationTTL": "25h"}).status == 500
    t = a.put("/v1/acl/token", {"ExpirationTTL": "1h"}).json
    assert t["ExpirationTime"] > t["CreateTime"]


def test_a_revoked_token_gets_no_news(guarded):
    """A blocking query that waits when its token goes away is told nothing of what comes after."""
    a, b, _ = guarded.nodes
    a.put("/v1/kv/news/1", b"old")
    t = token(guarded, 'key_prefix "news/" { policy = "read" }')
    first = wait_for(lambda: (r := ask(b, "GET", "/v1/kv/news/1", t)).status == 200 and r)
    accessor = ask(b, "GET", "/v1/acl/token/self", t).json["AccessorID"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, b, "GET", f"/v1/kv/news/1?wait=30s&index={first.headers['X-Consul-Index']}", t)
        a.delete("/v1/acl/token/" + accessor)
        wait_for(lambda: ask(b, "GET", "/v1/kv/news/1", t).status == 403)
        a.put("/v1/kv/news/1", b"new")
        r = waiting.result(60)
    assert r.status == 403 and text(r) == "ACL not found"


def dns(port, name, kind=33):
    q = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0" + struct.pack(">HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(q, ("127.0.0.1", port))
        a = s.recv(4096)
    return a[3] & 15, struct.unpack(">H", a[6:8])[0]


def test_dns_asks_as_the_anonymous_token(guarded):
    a = guarded.nodes[0]
    port = next(int(json.loads(x)["address"].rsplit(":", 1)[1]) for x in a.log().splitlines() if "answering DNS" in x)
    assert a.put("/v1/agent/service/register", {"Name": "dnssvc", "Port": 80}).status == 200
    assert dns(port, "dnssvc.service.consul") == (3, 0) and dns(port, "n1.node.consul", 1) == (3, 0)
    r = a.put("/v1/acl/token/" + ANONYMOUS, {"TemplatedPolicies": [{"TemplateName": "builtin/dns"}]})
    assert r.status == 200, text(r)
    wait_for(lambda: dns(port, "dnssvc.service.consul") == (0, 1))
    assert dns(port, "n1.node.consul", 1)[0] == 0
    a.put("/v1/acl/token/" + ANONYMOUS, {})
    wait_for(lambda: dns(port, "dnssvc.service.consul") == (3, 0))


def test_hostile_policies(guarded):
    """Refused with a sentence in good time; nothing of them stays."""
    a = guarded.nodes[0]
    bad = {
        "no hcl": "key_prefix {", "deep": "a " * 3000 + "{", "brackets": "key = " + "[" * 5000, "long": "# " + "x" * 70000,
        "unknown": 'keyy "a" { policy = "read" }', "no right": 'key "a" { policy = "admin" }', "list of a node": 'node "a" { policy = "list" }',
        "no block": 'key "a" = "read"', "comment": "/* ", "string": 'key "a', "heredoc": "key = <<EOF\nx", "bytes": 'key "\\uD800" { policy = "read" }',
    }
    for what, rules in bad.items():
        r = a.put("/v1/acl/policy", {"Name": "bad", "Rules": rules})
        assert r.status == 500 and ("Failed to parse ACL rules" in text(r) or "Invalid" in text(r)), (what, r)
        assert a.get("/v1/acl/policy/name/bad").status in (403, 404)
    many = "\n".join(f'key_prefix "{"a" * (i % 500)}" {{ policy = "read" }}' for i in range(120)) + "\n" + 'key_prefix "b" { policy = "read" }\n' * 500
    t = token(guarded, many)
    assert ask(a, "GET", "/v1/kv/?keys", t).status == 200
    for body in (b"{", b"[]", b'{"Name":1}', b'{"Nme":"x"}', b"\xff" * 100, b'{"Policies":[1]}', b'{"Policies":' + b"[" * 100000):
        assert a.put("/v1/acl/token", body).status == 400, body[:40]
    assert a.put("/v1/acl/token", {"Policies": [{"Name": "global-management"}] * 100}).status == 500
    assert a.put("/v1/acl/token", {"AccessorID": "../../etc", "SecretID": "x"}).status == 500


def test_bootstrap_once():
    """Two at once: one gets a token, the other Consul's sentence; the reset file allows one more."""
    c = Cluster(3, extra=["--acl-enabled"])
    try:
        for x in c.nodes:
            x.start(wait=False)
        for x in c.nodes:
            wait_for(lambda x=x: x.get("/v1/status/leader").json, 30)
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            got = list(pool.map(lambda x: x.put("/v1/acl/bootstrap"), c.nodes))
        won = [r for r in got if r.status == 200]
        assert len(won) == 1 and all(r.status == 403 and "ACL bootstrap no longer allowed (reset index: " in text(r) for r in got if r is not won[0])
        t = won[0].json
        assert t["Description"] == "Bootstrap Token (Global Management)" and t["Policies"][0]["Name"] == "global-management"
        a = c.nodes[0]
        wait_for(lambda: ask(a, "GET", "/v1/agent/self", t["SecretID"]).status == 200)
        index = text(a.put("/v1/acl/bootstrap")).split("reset index: ")[1].rstrip(")")
        (a.dir / "acl-bootstrap-reset").write_text(index)
        assert a.put("/v1/acl/bootstrap").status == 200 and a.put("/v1/acl/bootstrap").status == 403
        assert not any(t["SecretID"].encode() in f.read_bytes() for x in c.nodes for f in x.dir.rglob("*") if f.is_file())
        for x in c.nodes:
            assert t["SecretID"] not in x.log()
    finally:
        c.close()


def test_off_is_off():
    c = Cluster(1)
    try:
        c.start()
        a = c.nodes[0]
        for method, path in (("GET", "/v1/acl/tokens"), ("PUT", "/v1/acl/bootstrap"), ("GET", "/v1/acl/token/self"), ("PUT", "/v1/acl/policy")):
            r = a.request(method, path, b"{}" if method == "PUT" else None, headers={"X-Consul-Token": str(uuid.uuid4())})
            assert r.status == 401 and text(r) == "ACL support disabled"
        assert ask(a, "PUT", "/v1/kv/a", str(uuid.uuid4()), b"1").body == b"true"
    finally:
        c.close()


@pytest.mark.parametrize("args,word", [
    (["--listen", "0.0.0.0:0"], "there is no access control"),
    (["--dns-listen", "0.0.0.0:0"], "there is no access control"),
    (["--acl-enabled", "--acl-default-policy", "maybe"], "deny or allow"),
    (["--acl-initial-token-file", "/nonexistent"], "needs acl.enabled"),
    (["--acl-enabled", "--acl-initial-token-file", "/nonexistent"], "No such file"),
])
def test_refuses_to_start(tmp_path, args, word):
    """Reachable by others without access control: only when told so."""
    cmd = [str(BUILD / "server" / "musterd"), "--data-dir", str(tmp_path / "d")]
    if "--listen" not in args:
        cmd += ["--listen", "127.0.0.1:0"]
    r = subprocess.run(cmd + args, capture_output=True, text=True, timeout=30, env=clean_env())
    assert r.returncode != 0 and word in r.stderr, r.stderr


def test_a_token_file_that_others_can_read(tmp_path):
    f = tmp_path / "token"
    f.write_text("secret-canary\n")
    f.chmod(0o644)
    r = subprocess.run([str(BUILD / "server" / "musterd"), "--data-dir", str(tmp_path / "d"), "--listen", "127.0.0.1:0", "--acl-enabled",
                        "--acl-initial-token-file", str(f)], capture_output=True, text=True, timeout=30, env=clean_env())
    assert r.returncode != 0 and "chmod 600" in r.stderr and "secret-canary" not in r.stderr


def test_the_client_library_shows_its_token(guarded):
    """musterctl stands on the client library; MUSTER_TOKEN is all it needs. A wrong token is refused before anything is sent."""
    def ctl(token, *args):
        env = {**clean_env(), "MUSTER_ENDPOINTS": ",".join(x.endpoint for x in guarded.nodes), "MUSTER_TIMEOUT": "10s"}
        if token is not None:
            env["MUSTER_TOKEN"] = token
        return subprocess.run([os.path.join(BUILD, "tools/musterctl/musterctl"), *args], input=b"v", env=env, capture_output=True, timeout=60, check=False)

    t = token(guarded, 'config_prefix "public/team/" { policy = "write" }\noperator = "read"')
    assert ctl(t, "config", "put", "team/db", "-").returncode == 0 and ctl(t, "config", "get", "team/db").stdout.startswith(b"v")
    assert ctl(t, "member", "list").returncode == 0
    for secret, args, words in ((None, ("config", "get", "team/db"), b"anonymous token"), (t, ("config", "get", "other/db"), b"lacks config:read"),
                                ("no-such-token", ("config", "get", "team/db"), b"no such token"), ("two words", ("config", "get", "team/db"), b"visible ASCII"),
                                ("x" * 129, ("member", "list"), b"at most 128")):
        p = ctl(secret, *args)
        assert p.returncode != 0 and words in p.stderr and p.stderr.count(b"\n") == 1, p
        assert secret is None or secret.encode() not in p.stderr


def owner(c, service):
    """A token that may write that service and see everything."""
    return token(c, f'service "{service}" {{ policy = "write" }}\nservice_prefix "" {{ policy = "read" }}\nnode_prefix "" {{ policy = "read" }}')


def test_a_check_belongs_to_who_it_speaks_of(guarded):
    """A check id is one of its node: who names it together with a service of his own does not get at the check of another."""
    a = guarded.nodes[0]
    t = owner(guarded, "mine")
    assert a.put("/v1/catalog/register", {"Node": "shop", "Address": "10.0.0.7", "Checks": [
        {"CheckID": "disk", "Name": "disk", "Status": "passing"}]}).body == b"true"
    assert a.put("/v1/catalog/register", {"Node": "shop", "Address": "10.0.0.7", "Service": {"Service": "till"}, "Check": {
        "CheckID": "till-up", "Name": "up", "ServiceID": "till", "Status": "passing"}}).body == b"true"
    mine = {"Node": "shop", "SkipNodeUpdate": True, "Service": {"Service": "mine"}}
    assert ask(a, "PUT", "/v1/catalog/register", t, mine).body == b"true"
    assert ask(a, "PUT", "/v1/agent/service/register", t, {"Name": "mine", "ID": "mine-1"}).status == 200
    session = a.put("/v1/session/create", {"Node": "n1"}).json["ID"]

    for check in ("disk", "till-up"):
        told = {"Node": "shop", "ServiceID": "mine", "CheckID": check, "Name": "x", "Status": "critical"}
        for verb in ("set", "delete", "cas", "delete-cas"):
            r = ask(a, "PUT", "/v1/txn", t, [{"Check": {"Verb": verb, "Check": told}}])
            assert r.status in (403, 409) and r.json["Errors"][0]["What"] == "Permission denied", (check, verb, r)
        for body in ({**mine, "Check": told}, {"Node": "shop", "SkipNodeUpdate": True, "Check": told}):
            assert ask(a, "PUT", "/v1/catalog/register", t, body).status == 403, (check, body)
    # the agent's: its node has the check that keeps sessions
    stolen = {"ID": "serfHealth", "Name": "x", "TTL": "60s"}
    assert ask(a, "PUT", "/v1/agent/check/register", t, {**stolen, "ServiceID": "mine-1"}).status == 403
    assert ask(a, "PUT", "/v1/agent/service/register", t, {"Name": "mine", "ID": "mine-2", "Check": {**stolen, "CheckID": "serfHealth"}}).status == 403
    assert ask(a, "PUT", "/v1/agent/service/register", t, {"Name": "mine", "ID": "mine-1", "Check": {**stolen, "CheckID": "serfHealth"}}).status == 403

    assert {x["CheckID"]: (x["Status"], x["ServiceID"]) for x in a.get("/v1/health/node/shop?consistent").json} == {
        "disk": ("passing", ""), "till-up": ("passing", "till")}
    assert a.get(f"/v1/session/info/{session}?consistent").json and "serfHealth" in [x["CheckID"] for x in a.get("/v1/health/node/n1?consistent").json]
    # his own he may: also when it goes from one of his services to the other
    own = {"Node": "shop", "ServiceID": "mine", "CheckID": "mine-up", "Name": "x", "Status": "passing"}
    assert ask(a, "PUT", "/v1/txn", t, [{"Check": {"Verb": "set", "Check": own}}]).status == 200
    assert ask(a, "PUT", "/v1/catalog/deregister", t, {"Node": "shop", "CheckID": "disk"}).status == 403
    assert ask(a, "PUT", "/v1/catalog/deregister", t, {"Node": "shop", "CheckID": "mine-up"}).body == b"true"


def test_the_agent_takes_over_nothing(guarded):
    """The id of a service that was registered with the catalog on the node that is asked."""
    a = guarded.nodes[0]
    t = owner(guarded, "mine")
    assert a.put("/v1/catalog/register", {"Node": "n1", "SkipNodeUpdate": True, "Service": {"Service": "bank", "ID": "bank-1", "Port": 1}}).body == b"true"
    assert ask(a, "PUT", "/v1/agent/service/register", t, {"Name": "mine", "ID": "bank-1", "Port": 666}).status == 403
    assert [x["ServicePort"] for x in a.get("/v1/catalog/service/bank?consistent").json] == [1]
    assert a.get("/v1/catalog/service/mine?consistent").json == [] or all(x["ServicePort"] != 666 for x in a.get("/v1/catalog/service/mine?consistent").json)
    a.put("/v1/catalog/deregister", {"Node": "n1", "ServiceID": "bank-1"})


def test_an_alias_tells_what_its_owner_may_read(guarded):
    a = guarded.nodes[0]
    t = token(guarded, 'service_prefix "front" { policy = "write" }\nnode "n1" { policy = "read" }')
    assert a.put("/v1/agent/service/register", {"Name": "vault", "ID": "vault-1", "Check": {
        "CheckID": "vault-up", "TTL": "60s", "Status": "critical"}}).status == 200
    assert a.put("/v1/agent/check/fail/vault-up?note=canary-of-the-vault").status == 200
    assert ask(a, "PUT", "/v1/agent/service/register", t, {"Name": "front", "ID": "front-1"}).status == 200
    for alias in ({"AliasService": "vault-1"}, {"AliasNode": "n2"}, {"AliasNode": "n1", "AliasService": "vault-1"}, {"AliasService": "not-there-yet"}):
        assert ask(a, "PUT", "/v1/agent/check/register", t, {"ID": "al", "Name": "al", "ServiceID": "front-1", **alias}).status == 403, alias
        r = ask(a, "PUT", "/v1/agent/service/register", t, {"Name": "front", "ID": "front-1", "Check": alias})
        assert r.status == 403, (alias, r)
    assert ask(a, "PUT", "/v1/agent/service/register", t, {"Name": "front2", "ID": "front-2"}).status == 200
    r = ask(a, "PUT", "/v1/agent/check/register", t, {"ID": "al", "Name": "al", "ServiceID": "front-1", "AliasService": "front-2"})
    assert r.status == 200, text(r)
    for x in ("vault-1", "front-1", "front-2"):
        a.put("/v1/agent/service/deregister/" + x)


def test_hidden_nodes_stay_hidden(guarded):
    """Neither checks of a service nor a filter tell of the nodes that one may not read."""
    a = guarded.nodes[0]
    t = token(guarded, 'service_prefix "" { policy = "read" }\nnode "open" { policy = "read" }')
    for node in ("open", "closed"):
        assert a.put("/v1/catalog/register", {
            "Node": node, "Address": "10.0.0.8", "NodeMeta": {"rack": node}, "Service": {"Service": "both", "ID": "on-" + node},
            "Check": {"CheckID": "up-" + node, "Name": "up", "ServiceID": "on-" + node, "Status": "warning"}}).body == b"true"
    assert a.put("/v1/catalog/register", {"Node": "closed", "SkipNodeUpdate": True, "Service": {"Service": "only"}}).body == b"true"
    for path in ("/v1/health/checks/both", "/v1/health/state/warning", "/v1/health/service/both", "/v1/catalog/service/both"):
        r = ask(a, "GET", path + "?consistent", t)
        assert {x.get("Node") if isinstance(x.get("Node"), str) else x["Node"]["Node"] for x in r.json} == {"open"}, (path, r)
        assert r.headers["X-Consul-Results-Filtered-By-Acls"] == "true"
    assert ask(a, "GET", "/v1/health/node/closed?consistent", t).json == []
    r = ask(a, "PUT", "/v1/txn", t, [{"Check": {"Verb": "get", "Check": {"Node": "closed", "CheckID": "up-closed"}}}])
    assert r.json["Results"] == [] or r.status != 200
    assert set(ask(a, "GET", "/v1/catalog/services?consistent", t).json) >= {"both", "only"}
    for asks in ("filter=Node%20%3D%3D%20%22closed%22", "node-meta=rack:closed", "filter=Address%20%3D%3D%20%2210.0.0.8%22%20and%20ServiceName%20%3D%3D%20only"):
        assert ask(a, "GET", "/v1/catalog/services?consistent&" + asks, t).json == {}, asks
    assert set(ask(a, "GET", "/v1/catalog/services?consistent&node-meta=rack:open", t).json) == {"both"}
    for node in ("open", "closed"):
        a.put("/v1/catalog/deregister", {"Node": node})


def test_what_is_given_for_another_datacenter_gives_nothing_here(guarded):
    a = guarded.nodes[0]
    rules = 'key_prefix "" { policy = "read" }'
    for here, status in (("dc1", 200), ("elsewhere", 403)):
        p = a.put("/v1/acl/policy", {"Name": "dc-" + here, "Rules": rules, "Datacenters": [here]}).json
        given = [
            ("GET", "/v1/kv/?keys", {"Policies": [{"ID": p["ID"]}]}, None),
            ("PUT", "/v1/agent/service/register", {"ServiceIdentities": [{"ServiceName": "dcs", "Datacenters": [here]}]}, {"Name": "dcs"}),
            ("PUT", "/v1/coordinate/update", {"NodeIdentities": [{"NodeName": "dcn", "Datacenter": here}]}, {"Node": "dcn", "Coord": {"Vec": [0] * 8}}),
            ("PUT", "/v1/agent/service/register", {"TemplatedPolicies": [
                {"TemplateName": "builtin/service", "TemplateVariables": {"Name": "dcs"}, "Datacenters": [here]}]}, {"Name": "dcs"}),
        ]
        for method, path, links, body in given:
            r = a.put("/v1/acl/token", links)
            assert r.status == 200, r
            t = r.json["SecretID"]
            r = ask(a, method, path, t, body)
            assert r.status == status or (status == 403 and r.json == []), (here, links, r)
            shown = ask(a, "GET", "/v1/acl/token/self", t).json
            assert all(shown[k][0].get("Datacenters", [here]) == [here] for k in links if k != "Policies")


def events(node, path, secret):
    c = node.connect(60)
    c.request("GET", path, headers={"X-Consul-Token": secret})
    return c.getresponse()


def test_a_revoked_token_ends_streams_and_polls(guarded):
    """The native face: what waits when the token, or what it gave, goes away is told nothing of what comes after."""
    a, b, _ = guarded.nodes
    head = {"Content-Type": "text/plain"}
    a.put("/api/v1/configs/g/news", b"old", headers=head)
    a.put("/api/v1/services/newsd/instances/1", {"address": "10.0.0.1", "port": 1})
    for how in ("token", "policy"):
        t = token(guarded, 'config_prefix "public/g/" { policy = "read" }\nservice "newsd" { policy = "read" }')
        whole = ask(b, "GET", "/v1/acl/token/self", t).json
        streams = [events(b, "/api/v1/watch?" + q, t) for q in ("configs=g/*", "services=newsd")]
        for s in streams:
            assert s.status == 200 and b"progress" in s.read1(4096)
        etag = ask(b, "GET", "/api/v1/configs/g/news", t).etag
        with concurrent.futures.ThreadPoolExecutor() as pool:
            polls = [pool.submit(ask, b, "GET", "/api/v1/configs/g/news?wait=30s", t, None, {"If-None-Match": etag}),
                     pool.submit(ask, b, "POST", "/api/v1/configs:listen", t, {"configs": [{"group": "g", "key": "news", "etag": etag}], "wait": "30s"})]
            wait_for(lambda: sum(x.running() for x in polls) == 2)
            if how == "token":
                a.delete("/v1/acl/token/" + whole["AccessorID"])
            else:
                a.put("/v1/acl/policy/" + whole["Policies"][0]["ID"], {"Rules": ""})
            wait_for(lambda: ask(b, "GET", "/api/v1/configs/g/news", t).status in (401, 403))
            a.put("/api/v1/configs/g/news", b"canary-" + how.encode(), headers=head)
            a.put("/api/v1/services/newsd/instances/1", {"address": "10.0.0.99", "port": 1})
            for x in polls:
                r = x.result(60)
                assert r.status in (401, 403) and b"canary" not in r.body, r
        for s in streams:
            rest = s.read()  # the stream ends
            assert b"canary" not in rest and b"10.0.0.99" not in rest and b'"content' not in rest, rest
