# SPDX-License-Identifier: Apache-2.0
"""The Consul face and the DNS: prepared queries."""
import json
import uuid

import pytest
from harness import Cluster, wait_for
from test_dns import Dig


@pytest.fixture(scope="module")
def cluster():
    c = Cluster(3, extra=["--dns-listen", "127.0.0.1:0"])
    try:
        c.start().settled()
        for i, (tags, status) in enumerate(((["v1", "main"], "passing"), (["v1"], "warning"), (["v2"], "passing"), (["v1"], "critical")), 1):
            body = {"Node": f"q{i}", "Address": f"10.5.0.{i}", "NodeMeta": {"rack": f"r{i % 2}"}, "Service": {"ID": f"r{i}", "Service": "redis", "Port": 6000 + i, "Tags": tags, "Meta": {"n": str(i)}},
                    "Check": {"CheckID": "alive", "Name": "alive", "Status": status, "ServiceID": f"r{i}"}}
            assert c.nodes[0].put("/v1/catalog/register", body).status == 200
        yield c
    finally:
        c.close()


def create(node, **q):
    r = node.request("POST", "/v1/query", json.dumps(q).encode())
    assert r.status == 200, r
    return r.json["ID"]


def found(node, what, more=""):
    r = node.get(f"/v1/query/{what}/execute?consistent{more}")
    return sorted(x["Service"]["ID"] for x in r.json["Nodes"]) if r.status == 200 else (r.status, r.body.decode())


def test_a_query_lives(cluster):
    a, b, c = cluster.nodes
    qid = create(a, Name="life", Service={"Service": "redis", "Tags": ["v1"]}, DNS={"TTL": "7s"})
    r = b.get(f"/v1/query/{qid}?consistent")
    assert len(r.json) == 1 and r.json[0]["Name"] == "life" and r.json[0]["Service"]["Tags"] == ["v1"] and r.json[0]["Service"]["NodeMeta"] is None
    assert int(r.headers["X-Consul-Index"]) == r.json[0]["ModifyIndex"]
    assert [x["ID"] for x in c.get("/v1/query?consistent").json] == [qid]
    assert found(c, qid) == found(b, "life") == ["r1", "r2"]  # critical ones are left out
    got = b.get("/v1/query/life/execute").json
    assert (got["Service"], got["Datacenter"], got["Failovers"], got["DNS"]) == ("redis", "dc1", 0, {"TTL": "7s"}) and set(got["Nodes"][0]) == {"Node", "Service", "Checks"}
    taken = a.request("POST", "/v1/query", json.dumps({"Name": "life", "Service": {"Service": "x"}}).encode())
    assert taken.status == 500 and taken.body.decode() == "name 'life' aliases an existing query name"
    assert b.put(f"/v1/query/{qid}", {"Name": "second", "Service": {"Service": "redis", "OnlyPassing": True}}).status == 200
    assert found(c, "life") == (404, "Query not found") and found(c, "second") == ["r1", "r3"]
    other = create(a, Name="life", Service={"Service": "redis"})
    assert b.put(f"/v1/query/{other}", {"Name": "second", "Service": {"Service": "redis"}}).status == 500
    for q in (qid, other):
        assert c.delete(f"/v1/query/{q}").status == 200
    assert c.delete(f"/v1/query/{qid}").status == 500 and a.get(f"/v1/query/{qid}?consistent").status == 404 and a.get("/v1/query?consistent").json == []
    create(a, Name="second", Service={"Service": "redis"})  # the name is free again


@pytest.mark.parametrize("service,ids", [
    ({"Tags": ["!v1"]}, ["r3"]), ({"Tags": ["V1", "!main"]}, ["r2"]), ({"NodeMeta": {"rack": "r1"}}, ["r1", "r3"]), ({"ServiceMeta": {"n": "2"}}, ["r2"]), ({"IgnoreCheckIDs": ["alive"]}, ["r1", "r2", "r3", "r4"]),
    ({"IgnoreCheckIDs": ["alive"], "OnlyPassing": True}, ["r1", "r2", "r3", "r4"]), ({"OnlyPassing": True}, ["r1", "r3"]), ({"ServiceMeta": {"n": "9"}}, []), ({"Near": "_agent", "Failover": {"Datacenters": ["dc2"]}}, ["r1", "r2", "r3"]),
])
def test_what_is_found(cluster, service, ids):
    qid = create(cluster.nodes[1], Name="w-" + uuid.uuid4().hex, Service={"Service": "redis", **service})
    assert found(cluster.nodes[2], qid) == ids
    assert len(found(cluster.nodes[0], qid, "&limit=1")) == min(1, len(ids))


def test_templates(cluster):
    a, b, _ = cluster.nodes
    create(a, Name="geo-", Template={"Type": "name_prefix_match", "Regexp": "^geo-(.*)-([^-]+)$", "RemoveEmptyTags": True}, Service={"Service": "${match(1)}", "Tags": ["${match(2)}", "${match(9)}"]})
    create(a, Name="geo-plain-", Template={"Type": "name_prefix_match"}, Service={"Service": "${name.suffix}", "ServiceMeta": {"n": "2"}})
    assert found(b, "geo-redis-v2") == ["r3"] and found(b, "geo-redis-v1") == ["r1", "r2"]
    assert found(b, "geo-plain-redis") == ["r2"]  # the longer prefix
    q = b.get("/v1/query/geo-redis-v2/explain").json["Query"]
    assert q["Service"]["Service"] == "redis" and q["Service"]["Tags"] == ["v2"]
    assert found(b, "other") == (404, "Query not found")


def test_dns(cluster):
    create(cluster.nodes[0], Name="by-dns", Service={"Service": "redis", "Tags": ["!main"]}, DNS={"TTL": "9s"})
    for node in cluster.nodes:
        dig = Dig(node)
        wait_for(lambda dig=dig: dig.answer("by-dns.query.consul")[1] == ["10.5.0.2", "10.5.0.3"], what="the query is answered")
        status, srv = dig.answer("by-dns.query.consul", "SRV")
        assert status == "NOERROR" and {x.split()[2] for x in srv} == {"6002", "6003"}
        assert dig.answer("geo-redis-v2.query.consul")[1] in (["10.5.0.3"], []) and dig.answer("no-such.query.consul")[0] == "NXDOMAIN"


def test_a_query_goes_with_its_session(cluster):
    a, b, _ = cluster.nodes
    session = a.put("/v1/session/create", {"TTL": "60s"}).json["ID"]
    qid = create(a, Name="bound", Session=session, Service={"Service": "redis"})
    assert found(b, "bound") == ["r1", "r2", "r3"]
    assert a.put(f"/v1/session/destroy/{session}").status == 200
    assert found(b, "bound") == (404, "Query not found") and b.get(f"/v1/query/{qid}?consistent").status == 404
    create(b, Name="bound", Service={"Service": "redis"})


@pytest.mark.parametrize("body,words", [
    (b"{", "Request decode failed"), ({"Name": "x"}, "Must provide a Service name"), ({"Service": {"Service": "x"}}, "Must be bound to a session"), ({"Name": "x", "Service": {"Service": "x", "Connect": True}}, "Connect"),
    ({"Name": "x", "ID": str(uuid.uuid4()), "Service": {"Service": "x"}}, "ID must be empty"), ({"Name": "x", "Token": "t", "Service": {"Service": "x"}}, "token is not kept"),
    ({"Name": "x", "Session": str(uuid.uuid4()), "Service": {"Service": "x"}}, "invalid session"), ({"Name": "x", "DNS": {"TTL": "soon"}, "Service": {"Service": "x"}}, "Bad DNS TTL"),
    ({"Name": "x", "Template": {"Type": "odd"}, "Service": {"Service": "x"}}, "Bad Template.Type"), ({"Name": "x", "Template": {"Type": "name_prefix_match", "Regexp": "("}, "Service": {"Service": "x"}}, "Bad Regexp"),
    ({"Name": "x", "Service": {"Service": "${nothing}"}}, "Bad format"), ({"Name": "x", "Service": {"Service": "${name.full"}}, "Bad format"), ({"Name": "x" * 300, "Service": {"Service": "x"}}, "at most 254"),
    ({"Name": "x", "Service": {"Service": "x", "Tags": ["t" * 600]}}, "at most 512"),
])
def test_wrong_queries(cluster, body, words):
    r = cluster.nodes[0].request("POST", "/v1/query", body if isinstance(body, bytes) else json.dumps(body).encode())
    assert r.status in (400, 500) and words in r.body.decode(), r
    assert cluster.nodes[0].get("/v1/query/x/execute").status == 404
