# SPDX-License-Identifier: Apache-2.0
"""Patroni's own Consul store, run against muster as two of its nodes would: Debian's package, no PostgreSQL. Ends with 0 when everything came as Patroni expects."""
import sys
import threading
import time

from patroni.dcs.consul import Consul

LSN = "{0:X}/{1:X}"


def store(port, name):
    return Consul({"host": f"127.0.0.1:{port}", "scope": "batman", "name": name, "ttl": 30, "loop_wait": 10, "retry_timeout": 10, "namespace": "/service", "register_service": True})


def acquire(dcs):
    try:
        return dcs.attempt_to_acquire_leader()
    except TypeError:  # newer versions have the caller renew the session first
        return dcs.attempt_to_acquire_leader(None)


def update(dcs, cluster):
    return dcs.update_leader(1000) if dcs.update_leader.__code__.co_argcount < 4 else dcs.update_leader(cluster, 1000)


def main():
    one, two = store(sys.argv[1], "pg1"), store(sys.argv[2], "pg2")
    assert one.initialize(create_new=True, sysid="1234") and not two.initialize(create_new=True, sysid="5678")
    for dcs, role in ((one, "master"), (two, "replica")):
        assert dcs.touch_member({"conn_url": f"postgres://127.0.0.1/{role}", "api_url": "http://127.0.0.1:8008/patroni", "state": "running", "role": role, "version": "3.0.2"})
    assert acquire(one) and not acquire(two)
    cluster = two.get_cluster()
    assert cluster.leader.name == "pg1" and {m.name for m in cluster.members} == {"pg1", "pg2"} and cluster.initialize == "1234"
    assert one.set_config_value('{"ttl":30}') and one.set_history_value("[]")
    assert update(one, one.get_cluster())
    assert two.get_cluster().config.data == {"ttl": 30}

    # A wait for the leader's key ends when it goes, long before its time.
    cluster = two.get_cluster()
    timer = threading.Timer(1.0, lambda: one.delete_leader() if one.delete_leader.__code__.co_argcount < 3 else one.delete_leader(one.get_cluster().leader))
    timer.start()
    began = time.monotonic()
    two.watch(cluster.leader.modify_index if hasattr(cluster.leader, "modify_index") else cluster.leader.index, 60)
    timer.join()
    assert time.monotonic() - began < 40
    cluster = two.get_cluster()
    assert cluster.leader is None or not cluster.leader.name
    assert acquire(two) and two.get_cluster().leader.name == "pg2"
    assert one.set_failover_value('{"leader":"pg2","member":"pg1"}') and two.get_cluster().failover.candidate == "pg1"
    assert one.delete_cluster()


main()
