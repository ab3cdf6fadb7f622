# SPDX-License-Identifier: Apache-2.0
"""Every route of openapi.json with every method and hostile parameters answers what its table says; secrets stay where they are put.

There is no access control: who may reach a listener may do everything. What tells clients apart is TLS, see the last test.
"""
import http.client
import json
import ssl
import subprocess
import time

import pytest

from harness import BUILD, ROOT, Answer, clean_env, free_ports, wait_for

BASE = "/api/v1"
DOC = json.loads((ROOT / "docs" / "openapi.json").read_text())
METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"]
ADMIN = ["/livez", "/readyz", "/version", "/metrics"]
NAMES = {"service": "s", "id": "1", "group": "g", "key": "k", "name": "nobody"}
# These would change the cluster under the other tests, or stream.
LEFT_ALONE = {("POST", "/cluster:transfer"), ("GET", "/watch"), ("GET", "/snapshot")}
CANARY = "kanarienvogel"


def operations():
    for path, item in DOC["paths"].items():
        for method, op in item.items():
            if method in ("get", "put", "post", "delete", "patch"):
                yield method.upper(), path, op


OPERATIONS = list(operations())
PATHS = sorted(DOC["paths"])


def fill(path, **names):
    for name, value in (NAMES | names).items():
        path = path.replace("{" + name + "}", value)
    return BASE + path


def is_json_route(op):
    return "requestBody" in op and "application/json" in op["requestBody"]["content"]


def problem(r):
    """A problem document, whole; its code."""
    assert r.headers["Content-Type"] == "application/problem+json", r
    doc = r.json
    assert doc["status"] == r.status and doc["detail"] and doc["code"], doc
    return doc["code"]


@pytest.fixture(scope="module")
def node(shared):
    yield shared.nodes[0]
    for n in shared.nodes:
        n.alive_or_fail()
        assert n.get("/readyz").status == 200


@pytest.mark.parametrize("path", PATHS)
def test_methods_of_every_path(node, path):
    """What the table does not have is 405 with exactly the methods it has, or 501 for a method nobody has."""
    mine = {m for m, p, _ in OPERATIONS if p == path}
    for method in METHODS:
        if method in mine or (method == "HEAD" and "GET" in mine):
            continue
        r = node.request(method, fill(path))
        assert r.status == 204 if method == "OPTIONS" else r.status in (400, 405, 501), (method, path, r)
        if r.status in (204, 405):
            allowed = {m.strip() for m in r.headers["Allow"].split(",")}
            assert allowed - {"HEAD", "OPTIONS"} == mine, (method, path, allowed)
        if method in ("PUT", "POST", "DELETE", "PATCH", "GET"):
            assert r.status == 405 and problem(r) == "METHOD_NOT_ALLOWED", (method, path, r)


@pytest.mark.parametrize("path", ADMIN)
def test_methods_of_admin_pages(node, path):
    assert node.get(path).status == 200
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        r = node.request(method, path)
        assert r.status == 405 and "GET" in r.headers["Allow"]


def test_paths_that_are_not_there(node):
    """No prefix, suffix, doubling or climbing reaches a route."""
    for path in ["/", "/api", BASE, BASE + "/", BASE + "/nothing", "/API/V1/configs", BASE + "/configs/g", BASE + "/configs/g/k/x", BASE + "/leases/1/2",
                 BASE + "/services/s/instances", BASE + "//configs", BASE + "/configs/", "/api/v2/configs", BASE + "/../v1/configs", BASE + "/configs/%2e%2e/k",
                 BASE + "/configs/./k", "/metrics/", "/livez/x", BASE + "/cluster:", BASE + "/cluster:nothing", BASE + "/configs%3Alisten"]:
        r = node.get(path)
        assert r.status in (400, 404, 405), (path, r)
        problem(r)


@pytest.mark.parametrize("method,path,op", OPERATIONS, ids=[f"{m} {p}" for m, p, _ in OPERATIONS])
def test_hostile_parameters(node, method, path, op):
    """An unknown parameter is named, a bad value refused, a wrong type of body is 415; never 5xx, never success."""
    body = b"{}" if "requestBody" in op else None
    known = {x.get("name") for x in op.get("parameters", [])}
    r = node.request(method, fill(path) + "?unknown=1", body)
    if path not in ("/openapi.json",):
        assert r.status == 400 and problem(r) == "BAD_REQUEST" and ("unknown" in r.json["detail"] or "needs" in r.json["detail"]), r
    bad = {"limit": ["0", "-1", "x", "99999999999999999999"], "page": ["0", "x"], "consistency": ["x", ""], "wait": ["x", "-1s", "99h"],
           "namespace": ["", "a%01b", "x" * 513], "revision": ["x", "-1"], "from": ["x"], "to": ["x"], "before": ["x"], "group": ["%7f", "x" * 513],
           "cluster": ["", "%0a"], "progress": ["x", "1ms"], "tags": ["%ff"], "comment": ["%ff"]}
    for name in sorted(known & set(bad)):
        for value in bad[name]:
            is_filter = name in ("group", "cluster") and path in ("/services", "/configs", "/services/{service}")
            is_filter = is_filter or (name == "namespace" and path.startswith("/leases"))
            if "{" + name + "}" in path or is_filter:  # a filter may be any text: it fits nothing; leases have no namespace
                continue
            r = node.request(method, fill(path) + f"?{name}={value}", body)
            assert r.status in (400, 404, 409, 414), (name, value, r)
    for query in ["%", "%zz", "a=%00", "=", "&&&", "a" * 9000]:
        r = node.request(method, fill(path) + "?" + query, body)
        assert r.status < 500 or (r.status == 503 and r.json["code"] == "NOT_LEADER"), (query, r)
        if query not in ("&&&",) and path != "/openapi.json":
            assert r.status >= 400, (query, r)
    for hole in [x for x in NAMES if "{" + x + "}" in path]:
        for value in ["%00", "%ff", "%", "..", "%2e%2e", "x" * 600, "%0d%0aX:y", " "]:
            if hole == "key" and value == "x" * 600:
                continue
            r = node.request(method, fill(path, **{hole: value.replace(" ", "%0a")}), body)
            assert 400 <= r.status < 500, (hole, value, r)
            problem(r)


@pytest.mark.parametrize("method,path,op", [x for x in OPERATIONS if is_json_route(x[2])], ids=[f"{m} {p}" for m, p, o in OPERATIONS if is_json_route(o)])
def test_hostile_bodies(node, method, path, op):
    """JSON that is none, of another shape, doubled, deep, huge or unknown is refused with a sentence."""
    bodies = [b"", b"{", b"[]", b"null", b"1", b'"x"', b"{} {}", b'{"a":1,"a":2}', b'{"unknown_member":1}', b"[" * 5000, b"\xff\xfe", b'{"\x00":1}',
              b'{"ttl":1e999}', b'{"x":"' + b"y" * 100 + b'"']
    assert node.put(fill("/services/{service}/instances/{id}"), {"address": "h"}).status in (200, 201)  # for PATCH
    for body in bodies:
        r = node.request(method, fill(path), body, {"Content-Type": "application/json"})
        assert 400 <= r.status < 500, (body[:40], r)
        problem(r)
    r = node.request(method, fill(path), b"{}", {"Content-Type": "text/xml"})
    assert r.status == 415 and problem(r) == "UNSUPPORTED_TYPE", r
    r = node.request(method, fill(path), b"[" + b" " * (300 * 1024) + b"]", {"Content-Type": "application/json"})
    assert r.status == 413 and problem(r) == "TOO_LARGE", r


@pytest.mark.parametrize("method,path,op", [x for x in OPERATIONS if "requestBody" not in x[2]],
                         ids=[f"{m} {p}" for m, p, o in OPERATIONS if "requestBody" not in o])
def test_bodies_where_none_belongs(node, method, path, op):
    if (method, path) in LEFT_ALONE:
        pytest.skip("changes the cluster or streams")
    r = node.request(method, fill(path), b"x" * 2000)
    assert r.status in (400, 413), r


def test_every_documented_status_is_known(node):
    """Without parameters each route answers one of the statuses its document names."""
    for method, path, op in OPERATIONS:
        if (method, path) in LEFT_ALONE:
            continue
        body = b"{}" if "requestBody" in op else None
        r = node.request(method, fill(path), body, {"Content-Type": "application/json"} if body else {})
        assert str(r.status) in op["responses"], (method, path, r)


# --- secrets ---


def logs(shared):
    return "".join(n.log() for n in shared.nodes)


def test_secrets_stay_where_they_are_put(shared):
    """What a client sends appears in no log, no metric and no answer to others."""
    n = shared.nodes[0]
    secret = CANARY + "-header"
    headers = {"Authorization": "Bearer " + secret, "Cookie": secret, "X-Token": secret, "Muster-Request-Id": secret, "traceparent": secret}
    in_query, in_body, in_name = CANARY + "-query", CANARY + "-body", CANARY + "-content"
    n.put(f"{BASE}/configs/secret/k", in_name, headers=headers)
    n.get(f"{BASE}/configs/secret/k?token={in_query}", headers=headers)
    n.get(f"{BASE}/nothing?password={in_query}", headers=headers)
    n.put(f"{BASE}/configs/secret/k?comment=c", in_body, headers={**headers, "If-Match": '"1"'})
    for method, path, op in OPERATIONS:
        if (method, path) in LEFT_ALONE:
            continue
        body = json.dumps({"password": in_body, "address": in_body + "/", "ttl": in_body}) if "requestBody" in op and is_json_route(op) else None
        n.request(method, fill(path) + f"?consistency={in_query}", body, {**headers, "Content-Type": "application/json"})
    assert n.put(f"{BASE}/configs/secret/k", b"\0" * (1100 * 1024), headers=headers).status == 413
    time.sleep(0.2)
    told = logs(shared)
    for x in shared.nodes:
        told += x.get("/metrics").body.decode() + x.get("/readyz?verbose").body.decode() + x.get(f"{BASE}/cluster").body.decode()
        told += x.get(f"{BASE}/configs/secret/none").body.decode() + x.put(f"{BASE}/leases", b"{").body.decode()
        told += x.get(f"{BASE}/configs/secret/k?revision=99999999").body.decode() + x.get(f"{BASE}/configs?group=secret").body.decode()
    assert CANARY not in told, told[max(0, told.index(CANARY) - 200):told.index(CANARY) + 100]


# --- TLS: with a certificate, without, and plain ---


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


def make_certificates(d):
    def key(name):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(d / f"{name}.key"))

    for ca in ("ca", "other-ca"):
        key(ca)
        openssl("req", "-x509", "-new", "-key", str(d / f"{ca}.key"), "-subj", f"/CN={ca}", "-days", "2", "-out", str(d / f"{ca}.pem"))
    (d / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, ca in ((CANARY, "ca"), ("client", "ca"), ("stranger", "other-ca")):
        key(name)
        openssl("req", "-new", "-key", str(d / f"{name}.key"), "-subj", f"/CN={name}", "-out", str(d / f"{name}.csr"))
        openssl("x509", "-req", "-in", str(d / f"{name}.csr"), "-CA", str(d / f"{ca}.pem"), "-CAkey", str(d / f"{ca}.key"), "-CAcreateserial",
                "-days", "2", "-extfile", str(d / "san"), "-out", str(d / f"{name}.pem"))


def ask_tls(port, d, who):
    """None when the connection is refused before an answer."""
    context = ssl.create_default_context(cafile=str(d / "ca.pem"))
    if who is not None:
        context.load_cert_chain(str(d / f"{who}.pem"), str(d / f"{who}.key"))
    c = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    try:
        c.request("GET", f"{BASE}/configs/a/b")
        r = c.getresponse()
        return Answer(r.status, r.headers, r.read())
    except (ssl.SSLError, OSError, http.client.HTTPException):
        return None
    finally:
        c.close()


def test_identities_on_a_listener_with_client_certificates(tmp_path):
    """Only a certificate of the named authority is answered; no key byte, path of a key or name in it reaches logs or metrics."""
    make_certificates(tmp_path)
    (port,) = free_ports(1)
    log_path = tmp_path / "log"
    with open(log_path, "wb") as log:
        p = subprocess.Popen([str(BUILD / "server" / "musterd"), "--name", "n1", "--data-dir", str(tmp_path / "data"), "--listen", f"127.0.0.1:{port}",
                              "--tls-cert", str(tmp_path / f"{CANARY}.pem"), "--tls-key", str(tmp_path / f"{CANARY}.key"),
                              "--tls-client-ca", str(tmp_path / "ca.pem"), "--log-level", "debug"], stdout=log, stderr=log, env=clean_env())
    try:
        wait_for(lambda: (ask_tls(port, tmp_path, "client") or Answer(0, {}, b"")).status == 404, 15, "the listener")
        assert ask_tls(port, tmp_path, None) is None
        assert ask_tls(port, tmp_path, "stranger") is None
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        plain.request("GET", f"{BASE}/configs/a/b")
        assert plain.getresponse().status == 400  # a sentence for people who forgot the s
        plain.close()
        assert ask_tls(port, tmp_path, "client").status == 404
    finally:
        p.terminate()
        assert p.wait(20) == 0
    told = log_path.read_text()
    key = (tmp_path / f"{CANARY}.key").read_text().splitlines()[1:-1]
    assert key and CANARY not in told and not any(line in told for line in key), told[-2000:]
