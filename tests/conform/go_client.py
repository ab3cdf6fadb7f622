#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the tests of Consul's own Go client against muster.

    go_client.py [--peers DIR] [--musterd FILE] [--jobs N] [--only REGEX] [--log DIR]

DIR holds Debian's package golang-github-hashicorp-consul-dev, which is unpacked, given certificates that are in their time, and not installed; what the tests need besides is looked for in
/usr/share/gocode. `bin/consul` is what the tests start as the server. Each function runs in a process of its own. Which
shall pass stands in go_client.txt, and why the others need not; the exit status is 1 when one that shall pass does not."""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGES = {"api": "github.com/hashicorp/consul/api", "watch": "github.com/hashicorp/consul/api/watch"}
LIMIT_S = 90
# What the server of TLS 1.3 says to a client without a certificate: Go's said "bad certificate" until 1.21.
EDITS = [("api/api_test.go", '"bad certificate"', '"certificate required"')]


def expectations():
    """{(package, function): the reason why it need not pass, or None}"""
    out = {}
    for line in (HERE / "go_client.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, reason = line.partition(" ")
            package, _, function = name.partition("/")
            out[package, function] = reason.strip() or None
    return out


def unpack(peers, out):
    debs = sorted(pathlib.Path(peers).glob("golang-github-hashicorp-consul-dev_*.deb"))
    if not debs:
        print(f"skipped: the package golang-github-hashicorp-consul-dev is not in {peers} (--peers, MUSTER_PEERS)")
        sys.exit(3)
    subprocess.run(["dpkg-deb", "-x", str(debs[0]), str(out / "go")], check=True)
    return out / "go" / "usr" / "share" / "gocode"


def certify(where):
    """The certificates of the tests are past their time, and have no names beside the common one, which Go does not take any more: make them anew."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=where, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "rootca.key", "-out", "rootca.crt", "-days", "7", "-subj", "/O=muster/CN=root")
    for name, subject, purpose in (("server", "/CN=consul.test", "serverAuth"), ("client", "/O=Consul Test Client", "clientAuth")):
        (where / "extensions").write_text(f"subjectAltName=DNS:consul.test\nextendedKeyUsage={purpose}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", subject)
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "rootca.crt", "-CAkey", "rootca.key", "-CAcreateserial", "-out", name + ".crt", "-days", "7", "-extfile", "extensions")
        (where / (name + ".key")).chmod(0o600)


def build(sources, out):
    consul = sources / "src" / "github.com" / "hashicorp" / "consul"
    certify(consul / "test" / "client_certs")
    for name, old, new in EDITS:
        text = (consul / name).read_text()
        assert old in text, (name, old)
        (consul / name).write_text(text.replace(old, new))
    env = {**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "GOPATH": f"{sources}:/usr/share/gocode"}
    for name, path in PACKAGES.items():
        where = sources / "src" / path
        subprocess.run(["go", "test", "-vet=off", "-c", "-o", str(out / (name + ".test")), "."], cwd=where, env=env, check=True)
        yield name, where


def run_one(binary, where, function, musterd, log):
    """True when it passed (or skipped itself: the third value says so)."""
    with tempfile.TemporaryDirectory(prefix="muster-conform-") as tmp:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("CONSUL_", "MUSTER_"))}
        env.update(PATH=f"{HERE / 'bin'}:{env['PATH']}", MUSTERD=str(musterd), TMPDIR=tmp)
        p = subprocess.Popen([binary, "-test.v", f"-test.timeout={LIMIT_S}s", f"-test.run=^{function}$"], cwd=where, env=env, start_new_session=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            text = p.communicate(timeout=LIMIT_S + 10)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            text = "timed out\n"
        try:
            os.killpg(p.pid, signal.SIGKILL)  # servers that the test left behind
        except ProcessLookupError:
            pass
        p.wait()
    if log:
        (log / (function + ".txt")).write_text(text)
    return p.returncode == 0, "--- SKIP" in text


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    a.add_argument("--peers", type=pathlib.Path, default=os.environ.get("MUSTER_PEERS") or ROOT.parent / "shared" / "peers")
    a.add_argument("--musterd", type=pathlib.Path, default=ROOT / "build" / "server" / "musterd")
    a.add_argument("--jobs", type=int, default=4)
    a.add_argument("--only", default="")
    a.add_argument("--log", type=pathlib.Path)
    o = a.parse_args()
    if not shutil.which("go"):
        sys.exit("go_client: there is no `go`: install Debian's golang-go")
    if o.log:
        o.log.mkdir(parents=True, exist_ok=True)
    want, count, wrong = expectations(), collections.Counter(), []
    with tempfile.TemporaryDirectory(prefix="muster-conform-") as tmp, concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        jobs = {}
        for package, where in build(unpack(o.peers, pathlib.Path(tmp)), pathlib.Path(tmp)):
            binary = os.path.join(tmp, package + ".test")
            names = subprocess.run([binary, "-test.list", "."], cwd=where, capture_output=True, text=True, check=True).stdout.split()
            for name in names:
                if re.search(o.only, name):
                    jobs[pool.submit(run_one, binary, where, name, o.musterd.resolve(), o.log)] = package, name
        for job in concurrent.futures.as_completed(jobs):
            key, (passed, skipped) = jobs[job], job.result()
            shall = key in want and want[key] is None
            verdict = "skip" if skipped else "pass" if passed else "FAIL" if shall else "fails"
            count[verdict] += 1
            wrong += ["/".join(key)] if shall and verdict != "pass" else []
            print(f"{verdict:5} {'/'.join(key)}" + (f"  ({want.get(key) or 'not listed'})" if verdict == "fails" else ""), flush=True)
    print(", ".join(f"{n} {verdict}" for verdict, n in sorted(count.items())))
    for name in sorted(wrong):
        print("shall pass and does not:", name)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
