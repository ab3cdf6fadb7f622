# SPDX-License-Identifier: Apache-2.0
"""The Consul face: transactions of operations on keys."""
import base64
import concurrent.futures
import json

import pytest

TXN = "/v1/txn"


def kv(verb, key, value=None, **more):
    op = {"Verb": verb, "Key": key, **more}
    if value is not None:
        op["Value"] = base64.b64encode(value).decode()
    return {"KV": op}


def txn(node, *ops):
    return node.request("PUT", TXN, json.dumps(ops).encode())


def test_all_or_none_in_order(shared):
    """Each operation sees those before it; what fails is listed, all of it, and nothing is done."""
    a, b, _ = shared.nodes
    r = txn(a, kv("set", "t/1", b"one", Flags=7), kv("get", "t/1"), kv("delete", "t/1"), kv("check-not-exists", "t/1"), kv("set", "t/2", b""))
    assert r.status == 200 and r.json["Errors"] is None, r
    got = [x["KV"] for x in r.json["Results"]]
    assert [x["Key"] for x in got] == ["t/1", "t/1", "t/2"]  # deletions and checks tell nothing
    assert got[0]["Value"] is None and base64.b64decode(got[1]["Value"]) == b"one" and got[0]["Flags"] == 7
    assert len({x["ModifyIndex"] for x in got}) == 1
    r = txn(b, kv("set", "t/3", b"3"), kv("get", "t/none"), kv("cas", "t/2", b"x", Index=1), kv("check-index", "t/2", Index=1), kv("delete-cas", "t/2", Index=1),
            kv("check-not-exists", "t/2"), kv("lock", "t/4", b"", Session="11111111-2222-3333-4444-555555555555"))
    at = got[2]["ModifyIndex"]
    assert r.status == 409 and r.json["Results"] is None
    assert r.json["Errors"] == [
        {"OpIndex": 1, "What": 'key "t/none" doesn\'t exist'},
        {"OpIndex": 2, "What": 'failed to set key "t/2", index is stale'},
        {"OpIndex": 3, "What": f'failed index check for key "t/2", current modify index {at} != 1'},
        {"OpIndex": 4, "What": 'failed to delete key "t/2", index is stale'},
        {"OpIndex": 5, "What": 'key "t/2" exists'},
        {"OpIndex": 6, "What": 'invalid session "11111111-2222-3333-4444-555555555555"'}]
    assert b.get("/v1/kv/t/3?consistent").status == 404 and b.get("/v1/kv/t/2?consistent").json[0]["ModifyIndex"] == at


def test_trees_and_names_in_any_case(shared):
    a, _, c = shared.nodes
    body = [{"kv": {"verb": "set", "KEY": f"u/{i}", "value": base64.b64encode(b"%d" % i).decode(), "flags": i}} for i in range(5)]
    assert a.request("PUT", TXN, json.dumps(body).encode()).status == 200
    r = txn(c, kv("get-tree", "u/"), kv("get-or-empty", "u/none"), kv("check-not-exists", "u/none"))
    got = [x["KV"] for x in r.json["Results"]]
    assert [x["Key"] for x in got] == [f"u/{i}" for i in range(5)] + ["u/none"]
    assert got[5]["ModifyIndex"] == 0 and got[5]["Value"] is None and got[3]["Flags"] == 3
    assert txn(a, kv("delete-tree", "u/")).json == {"Results": [], "Errors": None}
    assert c.get("/v1/kv/u/?keys&consistent").status == 404


def test_one_winner(shared):
    a = shared.nodes[0]
    txn(a, kv("set", "v", b"0"))
    at = a.get("/v1/kv/v").json[0]["ModifyIndex"]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        got = list(pool.map(lambda i: txn(shared.nodes[i % 3], kv("cas", "v", b"w%d" % i, Index=at), kv("set", f"w/{i}", b"")).status, range(60)))
    assert got.count(200) == 1 and got.count(409) == 59
    assert len(a.get("/v1/kv/w/?keys&consistent").json) == 1  # the losers' other writes are not there


def entry(space, verb, what, **more):
    return {space: {"Verb": verb, space: what, **more}}


def test_nodes_services_and_checks(shared):
    """The catalog is written as keys are: with conditions, all or none, and the rows are told."""
    a, b, c = shared.nodes
    node = {"Node": "tx-1", "Address": "10.7.0.1", "Meta": {"rack": "r1"}}
    service = {"ID": "web-1", "Service": "tx-web", "Port": 80, "Tags": ["v1"], "Weights": {"Passing": 2, "Warning": 1}}
    check = {"Node": "tx-1", "CheckID": "alive", "Name": "alive", "Status": "passing", "ServiceID": "web-1", "Definition": {"HTTP": "http://x", "Interval": "5s"}}
    r = txn(a, entry("Node", "set", node), entry("Service", "set", service, Node="tx-1"), entry("Check", "set", check), kv("set", "tx/1", b""),
            entry("Node", "get", {"Node": "tx-1"}), entry("Service", "get", {"ID": "web-1"}, Node="tx-1"), entry("Check", "get", {"Node": "tx-1", "CheckID": "alive"}))
    assert r.status == 200, r
    got = [next(iter(x.items())) for x in r.json["Results"]]
    assert [k for k, _ in got] == ["Node", "Service", "Check", "KV", "Node", "Service", "Check"]
    assert got[0][1] == got[4][1] and got[1][1]["Service"] == "tx-web" and got[1][1]["Weights"] == {"Passing": 2, "Warning": 1}
    assert got[2][1]["ServiceName"] == "tx-web" and got[2][1]["Status"] == "passing" and got[2][1]["Definition"]["HTTP"] == "http://x"
    seen = b.get("/v1/health/service/tx-web?consistent").json
    assert len(seen) == 1 and seen[0]["Node"]["Address"] == "10.7.0.1" and [x["CheckID"] for x in seen[0]["Checks"]] == ["alive"]
    assert seen[0]["Service"]["ModifyIndex"] == got[5][1]["ModifyIndex"]

    at = {space: got[i][1]["ModifyIndex"] for space, i in (("Node", 4), ("Service", 5), ("Check", 6))}
    r = txn(b, entry("Node", "cas", {**node, "ModifyIndex": 1}), entry("Service", "delete-cas", {"ID": "web-1", "ModifyIndex": 1}, Node="tx-1"),
            entry("Check", "cas", {**check, "ModifyIndex": 1}), entry("Service", "get", {"ID": "none"}, Node="tx-1"), entry("Node", "get", {"Node": "none"}),
            entry("Check", "get", {"Node": "tx-1", "CheckID": "none"}), entry("Service", "set", {"Service": "x"}, Node="none"), entry("Check", "set", {**check, "Node": "tx-1", "ServiceID": "none"}))
    assert r.status == 409 and [x["What"] for x in r.json["Errors"]] == [
        'failed to set node "tx-1", index is stale', 'failed to delete service "web-1" on node "tx-1", index is stale',
        'failed to set check "alive" on node "tx-1", index is stale', 'service "none" on node "tx-1" doesn\'t exist', 'node "none" doesn\'t exist',
        'check "none" on node "tx-1" doesn\'t exist', "Missing node registration", "Missing service registration"]
    r = txn(c, entry("Service", "cas", {**service, "Port": 81, "ModifyIndex": at["Service"]}, Node="tx-1"),
            entry("Check", "cas", {**check, "Status": "critical", "ModifyIndex": at["Check"]}), entry("Check", "delete-cas", {"Node": "tx-1", "CheckID": "alive", "ModifyIndex": 1}))
    assert r.status == 409 and [x["OpIndex"] for x in r.json["Errors"]] == [2]
    assert txn(c, entry("Service", "cas", {**service, "Port": 81, "ModifyIndex": at["Service"]}, Node="tx-1")).json["Results"][0]["Service"]["Port"] == 81
    r = txn(a, entry("Check", "delete", {"Node": "tx-1", "CheckID": "alive"}), entry("Service", "delete", {"ID": "web-1"}, Node="tx-1"),
            entry("Node", "delete-cas", {"Node": "tx-1", "ModifyIndex": at["Node"]}))
    assert r.status == 200 and r.json == {"Results": [], "Errors": None}, r
    assert c.get("/v1/catalog/node/tx-1?consistent").body in (b"null", b"null\n") and c.get("/v1/health/service/tx-web?consistent").json == []


WRONG = [
    (b"", 400, None), (b"{", 400, None), (b"{}", 400, None), (b"[1]", 400, None), (b'[{"KV":{}}]', 409, 'unknown KV verb ""'),
    (b'[{"KV":{"Verb":"fly","Key":"a"}}]', 409, 'unknown KV verb "fly"'), (b'[{"KV":{"Verb":"set"}}]', 409, "Must provide key"),
    (b'[{"KV":{"Verb":"set","Key":"a","Colour":1}}]', 400, 'Failed to parse body: json: unknown field "Colour"'),
    (b'[{"KV":{"Verb":"set","Key":1}}]', 400, "Failed to parse body: json: cannot unmarshal number into Go struct field .Key of type string"),
    (b'[{"KV":{"Verb":"set","Key":"a","Flags":"1"}}]', 400, "Failed to parse body: json: cannot unmarshal string into Go struct field .Flags of type uint64"),
    (b'[{"KV":{"Verb":"set","Key":"a","Flags":-1}}]', 400, None), (b'[{"KV":{"Verb":"set","Key":"a","Index":1.5}}]', 400, None),
    (b'[{"KV":{"Verb":"set","Key":"a","Value":"%"}}]', 400, "Failed to parse body: illegal base64 data at input byte 0"),
    (b'[{"KV":{"Verb":"lock","Key":"a"}}]', 409, "missing session"),
    (b'[{"KV":{"Verb":"lock","Key":"a","Session":"x"}}]', 409, "failed session lookup: index error: UUID must be 36 characters"),
    (b'[{"KV":{"Verb":"get","Key":"a"},"Node":{}}]', 400, None), (b'[{}]', 400, None), (b'[{"Node":{"Verb":"get"}}]', 409, "Must provide node"),
    (b'[{"Node":{"Verb":"fly","Node":{"Node":"x"}}}]', 409, 'unknown Node verb "fly"'), (b'[{"Service":{"Verb":"set","Service":{"Service":"x"}}}]', 409, "Must provide node"),
    (b'[{"Service":{"Verb":"set","Node":"x","Service":{"ID":"x"}}}]', 409, "Must provide service name with ID"),
    (b'[{"Check":{"Verb":"set","Check":{"Node":"x","Name":"c","Status":"odd"}}}]', 409, "Status for checks must 'passing', 'warning', 'critical'"),
    (b'[{"Check":{"Verb":"set","Check":{"Node":"x"}}}]', 409, "Must provide check ID or name"), (b'[{"Check":[]}]', 400, None),
    (b'[{"Node":{"Verb":"set","Node":{"Node":"x\\u0001"}}}]', 409, None), (b'[{"Node":{"Verb":"set","Node":{"Node":"x","ID":"1"}}}]', 409, None), (b"[" * 40 + b"]" * 40, 400, None),
    (b'[{"KV":{"Verb":"set","Key":"' + b"k" * 4097 + b'"}}]', 409, None),
    (b"[" + b",".join([b'{"KV":{"Verb":"get","Key":"a"}}'] * 129) + b"]", 413, "Transaction contains too many operations (129 > 128)"),
]


@pytest.mark.parametrize("body,status,text", WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_errors(shared, body, status, text):
    r = shared.nodes[1].request("PUT", TXN, body)
    got = r.json["Errors"][0]["What"] if status == 409 else r.body.decode()
    assert r.status == status and (text is None or got == text), r
    assert shared.nodes[1].get("/livez").status == 200
