# SPDX-License-Identifier: Apache-2.0
"""The Consul face: ?filter=. What is expected here was answered by Consul 1.8.7."""
import os
import pathlib
import urllib.parse

import pytest

SAID = "Failed to create boolean expression evaluator: "
NODE = {"Node": "nf", "Address": "10.0.0.1", "NodeMeta": {"rack": "r1", "a-b": "x"},
        "Service": {"ID": "w1", "Service": "fweb", "Tags": ["v1", "blue"], "Port": 80, "Meta": {"env": "prod", "a-b": "7"},
                    "TaggedAddresses": {"lan": {"Address": "1.2.3.4", "Port": 9}}},
        "Checks": [{"Name": "c1", "CheckID": "c1", "Status": "passing", "ServiceID": "w1"}, {"Name": "c2", "CheckID": "c2", "Status": "warning", "ServiceID": "w1"}]}
OTHER = {"Node": "nf2", "Address": "10.0.0.2", "Service": {"ID": "w2", "Service": "fweb", "Port": 81, "Tags": ["v2"]}, "Check": {"Name": "c3", "CheckID": "c3", "Status": "critical", "ServiceID": "w2"}}


@pytest.fixture(scope="module")
def catalog(shared):
    for body in (NODE, OTHER):
        assert shared.nodes[0].put("/v1/catalog/register", body).status == 200
    yield shared
    for body in (NODE, OTHER):
        shared.nodes[0].put("/v1/catalog/deregister", {"Node": body["Node"]})


def ask(node, path, text, more=""):
    return node.get(path + "?consistent&filter=" + urllib.parse.quote(text) + more)


def cpu_s(node):
    used = pathlib.Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


SERVICE, HEALTH = "/v1/catalog/service/fweb", "/v1/health/service/fweb"
HOLDS = {
    SERVICE: [  # of w1, of w2
        ("ServicePort == 80", 1, 0), ('ServicePort == "0x50"', 1, 0), ("ServicePort != 80", 0, 1), ("ServiceID == w1", 1, 0), ("ServiceID == `w2`", 0, 1), ("w in ServiceID", 1, 1),
        ('ServiceName contains "web"', 1, 1), ("ServiceID not contains 1", 0, 1), ('ServiceID matches "^w[2-9]$"', 0, 1), ('ServiceID not matches "1"', 0, 1),
        ("v1 in ServiceTags", 1, 0), ("v not in ServiceTags", 1, 1), ("ServiceTags contains v2", 0, 1), ("ServiceTags is empty", 0, 0), ("ServiceTags is not empty", 1, 1),
        ("ServiceMeta.env == prod", 1, 0), ("ServiceMeta.env != prod", 0, 1), ('"x" in ServiceMeta.none', 0, 0), ('"x" not in ServiceMeta.none', 1, 1),
        ('ServiceMeta["a-b"] == 7', 1, 0), ("env in ServiceMeta", 1, 0), ("ServiceMeta is empty", 0, 1), ("ServiceEnableTagOverride == F", 1, 1),
        ("ServiceTaggedAddresses.lan.Port == 9", 1, 0), ("ServiceTaggedAddresses.none.Port != 9", 1, 1), ("lan in ServiceTaggedAddresses", 1, 0), ("ServiceWeights.Passing == 1", 1, 1),
        ("TaggedAddresses is empty", 1, 1), ("not Node == nf", 0, 1), ("not not Node == nf", 1, 0), ("((Node == nf))", 1, 0), ("Node==nf", 1, 0), (" Node \n==  nf ", 1, 0),
        ("Node == nf and ServicePort == 81 or Node == nf2", 0, 1), ("Node == nf and (ServicePort == 81 or Node == nf)", 1, 0), ("NodeMeta.rack == r1", 1, 0), ("ServiceConnect.Native == false", 1, 1),
        ("not Node == nf or Node == nf", 1, 1), ("", 1, 1)],
    HEALTH: [
        ("Service.Port == 80", 1, 0), ("Checks.Status == passing", 1, 0), ("Checks.Status != passing", 1, 1), ("not Checks.Status == passing", 0, 1), ("Checks is not empty", 1, 1),
        ("c1 in Checks.Name", 1, 0), ("Checks.ServiceTags contains v1", 1, 0), ("Node.Meta.rack == r1", 1, 0), ("Service.Connect.Native != true", 1, 1), ("Service.Tags contains blue", 1, 0)],
}


@pytest.mark.parametrize("path", [SERVICE, HEALTH])
def test_what_holds(catalog, path):
    for i, (text, one, two) in enumerate(HOLDS[path]):
        r = ask(catalog.nodes[i % 3], path, text)
        got = [x["ServiceID"] if path is SERVICE else x["Service"]["ID"] for x in r.json] if r.status == 200 else r
        assert got == ["w1"] * one + ["w2"] * two, text


def test_every_list(catalog):
    a = catalog.nodes[0]
    assert [x["Node"] for x in ask(a, "/v1/catalog/nodes", "Meta.rack == r1").json] == ["nf"]
    assert list(ask(a, "/v1/catalog/node/nf", "Port == 80").json["Services"]) == ["w1"] and ask(a, "/v1/catalog/node/nf", "Port == 81").json["Services"] == {}
    assert [x["ID"] for x in ask(a, "/v1/catalog/node-services/nf", "Service == fweb").json["Services"]] == ["w1"]
    assert ask(a, "/v1/catalog/services", "ServicePort == 81").json == {"fweb": ["v2"]}
    assert [x["CheckID"] for x in ask(a, "/v1/health/checks/fweb", "Status == warning").json] == ["c2"]
    assert [x["CheckID"] for x in ask(a, "/v1/health/node/nf", "Name != c1").json] == ["c2"]
    assert [x["CheckID"] for x in ask(a, "/v1/health/state/any", 'Node matches "^nf" and Status == critical').json] == ["c3"]
    for n in ("1", "2"):
        assert a.put("/v1/agent/service/register", {"Name": "fa", "ID": "fa" + n, "Port": int(n), "Check": {"TTL": "60s", "CheckID": "fc" + n}}).status == 200
    assert list(ask(catalog.nodes[1], "/v1/agent/services", "ID == fa2").json) == ["fa2"] and list(ask(a, "/v1/agent/checks", "ServiceID == fa1").json) == ["fc1"]
    for n in ("1", "2"):
        a.put("/v1/agent/service/deregister/fa" + n)


WRONG = [
    ("ServicePort == x", 'Failed to coerce value "x" for selector "ServicePort": strconv.ParseInt: parsing "x": invalid syntax'),
    ("ServicePort == 99999999999999999999", 'Failed to coerce value "99999999999999999999" for selector "ServicePort": strconv.ParseInt: parsing "99999999999999999999": value out of range'),
    ("ServiceEnableTagOverride == x", 'Failed to coerce value "x" for selector "ServiceEnableTagOverride": strconv.ParseBool: parsing "x": invalid syntax'),
    ("ServicePort == 0x50", '1:17 (16): rule "number": Invalid number literal'), ("ServicePort in 80", '1:16 (15): rule "match": Invalid selector'),
    ("ServicePort is empty", 'Invalid match operator "Is Empty" for selector "ServicePort"'), ("ServiceTags == v1", 'Invalid match operator "Equal" for selector "ServiceTags"'),
    ("ServiceMeta.none is empty", 'Invalid match operator "Is Empty" for selector "ServiceMeta.none"'), ("ServiceWeights is empty", 'Invalid match operator "Is Empty" for selector "ServiceWeights"'),
    ("Bogus == 1", 'Selector "Bogus" is not valid'), ("Node.x == nf", 'Selector "Node.x" is not valid'), ("node == nf", 'Selector "node" is not valid'), ("CreateIndex == 1", 'Selector "CreateIndex" is not valid'),
    ("not == nf", 'Selector "not" is not valid'), ("a.b.c.d.e.f == 1", 'Selector "a.b.c.d.e.f" is not valid'),
    ("Node ==", '1:8 (7): no match found, expected: "-", "0", "\\"", "`", [ \\t\\r\\n], [1-9] or [a-zA-Z]'), ("(Node == nf", '1:12 (11): rule "grouping": Unmatched parentheses'),
    ("Node == nf nf", '1:12 (11): no match found, expected: "and", "or", [ \\t\\r\\n] or EOF'),
    ("Node NOT IN x", '1:6 (5): no match found, expected: "!=", "==", "contains", "in", "is", "matches", "not" or [ \\t\\r\\n]'),
    ('Node matches "("', None), ('Node matches "a{1001}{1001}{1001}"', None), ("Node == 'nf'", None), ('Node == "nf', None), ("Node[ == 1", None), ('NodeMeta["x" == 1', None), ("Node. == 1", None), ("Node", None),
    ("== 1", None), ("Node == \xff", None), ("(" * 2000, None), ("not " * 1200 + "Node == nf", None), (" and ".join(["Node == nf"] * 200), None), ("Node == " + "x" * 9000, None),
    (" or ".join(['Node matches "x"'] * 9), None), ('Node matches "' + "(" * 60 + "a" + ")" * 60 + '"', None),
]


def test_what_is_wrong_is_told_in_consuls_words(catalog):
    for text, words in WRONG:
        r = ask(catalog.nodes[2], SERVICE, text)
        assert r.status == 500 or (r.status in (414, 431) and len(text) > 8000), (text[:50], r)
        said = r.body.decode()
        assert r.status != 500 or (said == SAID + words if words else said.startswith(SAID)), (text[:50], said)


def test_regular_expressions_cannot_burn_time(catalog):
    """Nested repetition over a long text is stopped after a number of steps, whatever the items; the node serves on."""
    a = catalog.nodes[0]
    assert a.put("/v1/catalog/register", {"Node": "nr", "Address": "10.0.0.3", "Service": {"Service": "fslow", "Meta": {"k": "a" * 500}}}).status == 200
    for i in range(20):
        assert a.put("/v1/catalog/register", {"Node": "nr", "Address": "10.0.0.3", "Service": {"ID": f"s{i}", "Service": "fslow", "Meta": {"k": "a" * 500}}}).status == 200
    began = cpu_s(a)
    r = ask(a, "/v1/catalog/service/fslow", 'ServiceMeta.k matches "^(a+)+[bc]$"')
    assert r.status == 500 and "The filter costs too much" in r.body.decode(), r
    assert cpu_s(a) - began < 20
    assert len(ask(a, "/v1/catalog/service/fslow", 'ServiceMeta.k matches "^a+$"').json) == 21
    assert a.put("/v1/catalog/deregister", {"Node": "nr"}).status == 200


def test_a_blocking_read_is_filtered_anew(catalog):
    a, b, _ = catalog.nodes
    r = ask(a, SERVICE, "ServicePort == 99")
    assert r.json == []
    at = r.headers["X-Consul-Index"]
    assert a.put("/v1/catalog/register", {"Node": "nf2", "SkipNodeUpdate": True, "Service": {"ID": "w2", "Service": "fweb", "Port": 99}}).status == 200
    assert [x["ServiceID"] for x in ask(b, SERVICE, "ServicePort == 99", f"&index={at}&wait=30s").json] == ["w2"]
