#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Use a recent Go client of Consul's (modern/: its version stands in go.mod) against three nodes of muster with access control.

    go_modern.py

The client's source comes through Go's module proxy. MUSTER_BUILD names the build directory. Exit status 3: there is no `go` that is new enough, or no proxy."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cluster"))
import harness  # noqa: E402

TOKEN = "00000000-0000-4000-8000-00000000a007"


def build(out):
    if not shutil.which("go"):
        return "there is no `go`"
    env = {**os.environ, "GO111MODULE": "on", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    try:
        got = subprocess.run(["go", "test", "-c", "-o", str(out), "."], cwd=HERE / "modern", env=env, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "the module proxy does not answer"
    if got.returncode == 0:
        return None
    if "client_test.go" in got.stderr:  # ours is wrong
        sys.exit(got.stderr)
    return got.stderr.strip().splitlines()[-1]


def main():
    with tempfile.TemporaryDirectory(prefix="muster-conform-") as d:
        base = pathlib.Path(d)
        why = build(base / "modern.test")
        if why is not None:
            print("skipped:", why)
            return 3
        (base / "token").touch(mode=0o600)
        (base / "token").write_text(TOKEN + "\n")
        cluster = harness.Cluster(3, base, ["--acl-enabled", "--acl-initial-token-file", str(base / "token"), "--dns-listen", ""])
        cluster.token = TOKEN
        try:
            cluster.start().settled()
            env = {k: v for k, v in harness.clean_env().items() if not k.startswith("CONSUL_")}
            env.update(MUSTER_NODES=",".join(n.endpoint for n in cluster.nodes), MUSTER_TOKEN=TOKEN)
            return subprocess.run([str(base / "modern.test"), "-test.v", "-test.timeout=120s"], cwd=HERE / "modern", env=env, timeout=150).returncode
        finally:
            for n in cluster.nodes:
                n.kill()


if __name__ == "__main__":
    sys.exit(main())
