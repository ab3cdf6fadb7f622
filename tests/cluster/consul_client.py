# SPDX-License-Identifier: Apache-2.0
"""What a program does with python-consul; run by test_consul_client.py under the system's Python, where Debian's package is."""
import sys
import threading

import consul
import consul.base

NOTE = "all well"
LOCK = f"lock-{sys.argv[1]}"


def put(c, path, **params):
    """Where this version asks by GET, which Consul has refused since 1.0."""
    return c.http.put(consul.base.CB.bool(), path, params=params)


def keys(c):
    assert c.kv.put("py/a", "1", flags=7) and c.kv.put("py/b/c", "2")
    at, row = c.kv.get("py/a", consistency="consistent")
    assert row["Value"] == b"1" and row["Flags"] == 7 and row["ModifyIndex"] == int(at)
    assert [x["Key"] for x in c.kv.get("py/", recurse=True)[1]] == ["py/a", "py/b/c"]
    assert c.kv.get("py/", keys=True, separator="/")[1] == ["py/a", "py/b/"]
    assert c.kv.put("py/a", "3", cas=0) is False and c.kv.put("py/a", "3", cas=row["ModifyIndex"]) is True
    assert c.kv.get("py/none")[1] is None
    threading.Timer(0.5, lambda: c.kv.put("py/a", "4")).start()
    at = c.kv.get("py/a")[0]
    assert c.kv.get("py/a", index=at, wait="60s")[1]["Value"] == b"4"
    assert c.kv.delete("py/", recurse=True) is True and c.kv.get("py/", recurse=True)[1] is None


def locks(c):
    one = c.session.create(name="one", lock_delay=60, ttl=10, behavior="delete")
    two = c.session.create(name="two", lock_delay=1, checks=[])
    assert c.kv.put(LOCK, "a", acquire=one) is True and c.kv.put(LOCK, "b", acquire=two) is False
    assert c.kv.get(LOCK, consistency="consistent")[1]["Session"] == one
    assert c.session.renew(one)["ID"] == one and {s["ID"] for s in c.session.list()[1]} >= {one, two}
    assert c.session.info(two)[1]["Name"] == "two" and c.session.destroy(one) is True
    assert c.kv.get(LOCK, consistency="consistent")[1] is None
    assert c.kv.put(LOCK, "b", acquire=two) is False  # the delay of the lock runs
    assert c.kv.put("other", "b", acquire=two) is True and c.kv.put("other", "b", release=two) is True and c.session.destroy(two) is True
    try:
        c.session.renew(one)
        raise AssertionError("renewed what is gone")
    except consul.NotFound:
        pass


def services(c):
    assert c.agent.service.register("py", service_id="py1", address="10.0.0.7", port=77, tags=["x"], check=consul.Check.ttl("60s"))
    assert "py1" in c.agent.services() and "service:py1" in c.agent.checks()
    assert c.health.service("py", passing=True)[1] == []
    assert put(c, "/v1/agent/check/pass/service:py1", note=NOTE)
    entry, = c.health.service("py", passing=True, tag="x")[1]
    assert entry["Service"]["Port"] == 77 and entry["Checks"][-1]["Output"] == NOTE
    assert c.catalog.services()[1]["py"] == ["x"] and c.catalog.service("py")[1][0]["ServiceAddress"] == "10.0.0.7"
    assert c.agent.service.maintenance("py1", "true", "py") and c.health.service("py", passing=True)[1] == []
    assert c.agent.service.maintenance("py1", "false")
    assert c.catalog.register("ext", "1.2.3.4", service={"Service": "pyx", "Port": 1}) is True
    assert {n["Node"] for n in c.catalog.nodes()[1]} >= {"n1", "ext"} and c.catalog.node("ext")[1]["Services"]["pyx"]["Port"] == 1
    assert c.catalog.deregister("ext") is True and put(c, "/v1/agent/service/deregister/py1")
    assert c.status.leader() in c.status.peers() and c.agent.self()["Config"]["Datacenter"] == c.catalog.datacenters()[0]


def main():
    c = consul.Consul(host="127.0.0.1", port=int(sys.argv[1]))
    for part in (keys, locks, services):
        part(c)
        print(part.__name__, "fine")


main()
