# SPDX-License-Identifier: Apache-2.0
"""Random requests to random nodes of three, beside a model of what the cluster holds.

Each answer is compared: status, content, revision, version, ETag, history. The run follows from a seed, which is printed when it
fails; MUSTER_MODEL_SEED plays it again, MUSTER_MODEL_STEPS makes it longer.
"""
import json
import os
import random

from harness import SLOW, quote

CONF = "/api/v1/configs"
SERV = "/api/v1/services"
SEED = int(os.environ.get("MUSTER_MODEL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
STEPS = int(os.environ.get("MUSTER_MODEL_STEPS", "0")) or int(8000 / SLOW)
GROUPS = ["g", "g/1", "grün"]
KEYS = ["a", "ab", "b c", "x/y", "k" * 600]
SERVICES = ["web", "pay/ment"]
IDS = ["1", "2", "3✓"]


class Config:
    """One key: its versions since it was made, newest last, tombstones too."""

    def __init__(self):
        self.versions = []

    @property
    def now(self):
        return self.versions[-1] if self.versions and not self.versions[-1]["deleted"] else None

    @property
    def revision(self):
        return self.now["revision"] if self.now else 0


class Model:
    def __init__(self, seed, nodes):
        self.random = random.Random(seed)
        self.nodes = nodes
        self.revision = 0
        self.configs = {(g, k): Config() for g in GROUPS for k in KEYS}
        self.instances = {}
        self.leases = {}
        self.done = []

    # --- asking ---

    def ask(self, method, path, body=None, **headers):
        node = self.random.choice(self.nodes)
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        r = node.request(method, path, body, headers)
        self.done.append(f"{node.name} {method} {path} {headers} -> {r.status} {r.headers.get('Muster-Revision')}")
        assert r.status < 500, r
        if r.headers.get("Muster-Revision") is not None:
            assert r.revision >= self.revision, f"revision went back from {self.revision} to {r.revision}"
        return r

    def changed(self, r):
        """This write made exactly one revision, the next one."""
        assert r.revision == self.revision + 1, (r.revision, self.revision)
        self.revision = r.revision

    def unchanged(self, r):
        assert r.revision == self.revision, (r.revision, self.revision)

    def a_config(self):
        name = self.random.choice(list(self.configs))
        return name, self.configs[name], f"{CONF}/{quote(name[0])}/{quote(name[1])}"

    def a_service(self):
        s, i = self.random.choice(SERVICES), self.random.choice(IDS)
        return (s, i), f"{SERV}/{quote(s)}/instances/{quote(i)}"

    # --- configs ---

    def wrote(self, c, r, content, content_type):
        was = c.now
        assert r.status == (200 if was else 201), r
        self.changed(r)
        made = {"revision": r.revision, "version": was["version"] + 1 if was else 1, "deleted": False, "content": content, "type": content_type,
                "create": was["create"] if was else r.revision}
        doc = r.json
        assert (doc["revision"], doc["version"], doc["create_revision"], doc["size"]) == (r.revision, made["version"], made["create"], len(content))
        assert r.etag == f'"{r.revision}"'
        c.versions.append(made)

    def config_put(self):
        _, c, path = self.a_config()
        content = self.random.randbytes(self.random.choice([0, 1, 40, 300, 9000]))
        kind = self.random.choice(["text/plain", "application/json"])
        how = self.random.randrange(5)
        expect = c.revision if self.random.random() < 0.6 else self.random.randrange(1, self.revision + 2)
        if how == 0:
            r = self.ask("PUT", path, content, Content_Type=kind, If_Match=f'"{expect}"')
            ok, code = c.revision == expect, "REVISION_MISMATCH"  # "0": it is not there
        elif how == 1:
            r = self.ask("PUT", path, content, Content_Type=kind, If_None_Match="*")
            ok, code = not c.now, "EXISTS"
        else:
            r = self.ask("PUT", path, content, Content_Type=kind)
            ok, code = True, None
        if ok:
            self.wrote(c, r, content, kind)
        else:
            assert r.status == 412 and r.json["code"] == code, r
            self.unchanged(r)

    def config_get(self):
        _, c, path = self.a_config()
        r = self.ask("GET", path)
        self.unchanged(r)
        if not c.now:
            assert r.status == 404, r
            return
        assert r.status == 200 and r.body == c.now["content"]
        assert r.etag == f'"{c.revision}"' and int(r.headers["Muster-Version"]) == c.now["version"]
        assert r.headers["Content-Type"] == c.now["type"]
        same = self.ask("GET", path, If_None_Match=r.etag)
        assert same.status == 304

    def config_at(self):
        _, c, path = self.a_config()
        rev = self.random.randrange(1, self.revision + 1) if self.revision else 1
        r = self.ask("GET", f"{path}?revision={rev}")
        if rev > self.revision:
            assert r.status == 400, r
            return
        then = [v for v in c.versions if v["revision"] <= rev]
        if not then or then[-1]["deleted"]:
            assert r.status == 404, r
        else:
            assert r.status == 200 and r.body == then[-1]["content"], (r, then[-1])

    def config_delete(self):
        _, c, path = self.a_config()
        use_cas = self.random.random() < 0.4
        expect = c.revision if self.random.random() < 0.5 else self.revision + 7
        r = self.ask("DELETE", path, **({"If_Match": f'"{expect}"'} if use_cas else {}))
        if use_cas and (not c.now or expect != c.revision):
            assert r.status in (404, 412), r
            assert r.status == 412 or not c.now
            self.unchanged(r)
        elif not c.now:
            assert r.status == 404, r
            self.unchanged(r)
        else:
            assert r.status == 204, r
            self.changed(r)
            c.versions.append({"revision": r.revision, "version": c.now["version"] + 1, "deleted": True, "content": b"", "create": c.now["create"]})

    def config_rollback(self):
        _, c, path = self.a_config()
        rev = self.random.choice(c.versions)["revision"] if c.versions and self.random.random() < 0.9 else self.revision + 5
        then = [v for v in c.versions if v["revision"] == rev]
        r = self.ask("POST", path + "/rollback", {"revision": rev})
        if then and not then[0]["deleted"]:
            self.wrote(c, r, then[0]["content"], then[0]["type"])
        else:
            assert r.status in (400, 404), r

    def config_history(self):
        _, c, path = self.a_config()
        limit = self.random.choice([1, 3, 1000])
        r = self.ask("GET", f"{path}/history?limit={limit}")
        if not c.versions:
            assert r.status == 404, r
            return
        want = [(v["revision"], v["version"], v["deleted"], len(v["content"])) for v in reversed(c.versions)]
        got = [(v["revision"], v["version"], v["deleted"], v["size"]) for v in r.json["versions"]]
        assert got == want[:limit], (got, want)
        assert r.json["next"] == (got[-1][0] if len(want) > limit else None)

    def config_list(self):
        group, word = self.random.choice(GROUPS), self.random.choice(["", "a", "b", "/", "nothing"])
        how = self.random.choice(["prefix", "search"])
        r = self.ask("GET", f"{CONF}?group={quote(group)}&{how}={quote(word)}")
        fits = (lambda k: k.startswith(word)) if how == "prefix" else (lambda k: word in k)
        want = sorted((k.encode(), c.revision, c.now["version"]) for (g, k), c in self.configs.items() if g == group and c.now and fits(k))
        assert [(x["key"].encode(), x["revision"], x["version"]) for x in r.json["configs"]] == want

    # --- services ---

    def shown(self, doc, want):
        for k, v in want.items():
            assert doc[k] == v, (k, doc, want)

    def instance_put(self):
        name, path = self.a_service()
        body = {"address": self.random.choice(["10.0.0.1", "h"]), "port": self.random.choice([1, 2]), "tags": self.random.choice([[], ["t"]]),
                "metadata": self.random.choice([{}, {"k": "v"}])}
        lease = self.random.choice(sorted(self.leases)) if self.leases and self.random.random() < 0.4 else None
        sent = dict(body, **({"lease": lease} if lease else {}))
        r = self.ask("PUT", path, sent)
        was = self.instances.get(name)
        now = dict(body, weight=1, enabled=True, healthy=was["healthy"] if was and (was["lease"] is None) == (lease is None) else True, lease=lease)
        if was and {k: was[k] for k in now} == now:
            assert r.status == 200, r
            self.unchanged(r)
            return
        assert r.status == (200 if was else 201), r
        self.changed(r)
        now["healthy"] = r.json["healthy"]
        self.instances[name] = dict(now, revision=r.revision, create_revision=was["create_revision"] if was else r.revision)
        self.instance_now(name, r.json)

    def instance_now(self, name, doc):
        want = dict(self.instances[name])
        lease = want.pop("lease")
        assert doc.get("lease") == lease
        self.shown(doc, want)

    def instance_get(self):
        name, path = self.a_service()
        r = self.ask("GET", path)
        assert r.status == (200 if name in self.instances else 404), r
        if r.status == 200:
            self.instance_now(name, r.json)

    def instance_patch(self):
        name, path = self.a_service()
        change = self.random.choice([{"weight": 2.5}, {"enabled": False}, {"enabled": True}, {"tags": ["p"]}, {"healthy": False}, {"healthy": True}])
        r = self.ask("PATCH", path, change)
        if name not in self.instances:
            assert r.status == 404, r
            return
        was = self.instances[name]
        assert r.status == 200, r
        if all(was[k] == v for k, v in change.items()):
            self.unchanged(r)
            return
        self.changed(r)
        was.update(change, revision=r.revision)
        self.instance_now(name, r.json)

    def instance_delete(self):
        name, path = self.a_service()
        r = self.ask("DELETE", path)
        assert r.status == (204 if name in self.instances else 404), r
        if self.instances.pop(name, None):
            self.changed(r)

    def service_get(self):
        service = self.random.choice(SERVICES)
        r = self.ask("GET", f"{SERV}/{quote(service)}")
        assert sorted(i["id"] for i in r.json["instances"]) == sorted(i for s, i in self.instances if s == service)
        for doc in r.json["instances"]:
            self.instance_now((service, doc["id"]), doc)
        listed = {s["name"]: (s["instances"], s["healthy"]) for s in self.ask("GET", SERV).json["services"]}
        mine = [x for (s, _), x in self.instances.items() if s == service]
        assert listed.get(service) == ((len(mine), sum(x["healthy"] and x["enabled"] for x in mine)) if mine else None)

    # --- leases ---

    def lease_grant(self):
        if len(self.leases) < 4:
            r = self.ask("POST", "/api/v1/leases", {"ttl": "1h"})
            assert r.status == 201, r
            self.unchanged(r)  # nothing hangs on it
            self.leases[r.json["id"]] = True

    def lease_revoke(self):
        lease = self.random.choice(sorted(self.leases) + ["00000000000000ff"])
        r = self.ask("DELETE", f"/api/v1/leases/{lease}")
        assert r.status == (204 if lease in self.leases else 404), r
        gone = [n for n, x in self.instances.items() if x["lease"] == lease]
        if lease in self.leases and gone:
            self.changed(r)
        for n in gone:
            del self.instances[n]
        self.leases.pop(lease, None)

    def lease_get(self):
        lease = self.random.choice(sorted(self.leases) + ["00000000000000ff"])
        r = self.ask("GET", f"/api/v1/leases/{lease}")
        assert r.status == (200 if lease in self.leases else 404), r
        if r.status == 200:
            got = sorted((i["service"], i["id"]) for i in r.json["instances"])
            assert got == sorted(n for n, x in self.instances.items() if x["lease"] == lease)

    def step(self):
        kinds = [(self.config_put, 8), (self.config_get, 6), (self.config_at, 4), (self.config_delete, 2), (self.config_rollback, 2),
                 (self.config_history, 2), (self.config_list, 2), (self.instance_put, 6), (self.instance_get, 3), (self.instance_patch, 3),
                 (self.instance_delete, 2), (self.service_get, 2), (self.lease_grant, 1), (self.lease_revoke, 1), (self.lease_get, 1)]
        self.random.choices([k for k, _ in kinds], [w for _, w in kinds])[0]()


def test_random_requests_answer_like_the_model(cluster):
    """Every node answers what a simple model answers, however the requests fall; the seed plays it again."""
    m = Model(SEED, cluster.nodes)
    m.revision = int(cluster.nodes[0].get(CONF).headers["Muster-Revision"])
    for _ in range(STEPS):
        try:
            m.step()
        except (AssertionError, KeyError, json.JSONDecodeError) as e:
            raise AssertionError("\n".join([f"MUSTER_MODEL_SEED={SEED}, step {len(m.done)}: {e!r}", *m.done[-12:]])) from e
    for (_, _), c in m.configs.items():
        assert all(x["revision"] < y["revision"] for x, y in zip(c.versions, c.versions[1:]))
    print(f"MUSTER_MODEL_SEED={SEED}: {len(m.done)} requests, revision {m.revision}")
