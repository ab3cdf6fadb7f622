# SPDX-License-Identifier: Apache-2.0
"""Run a lint over a sample tree that breaks its rules: it must report exactly what the sample's `expected` lists.

A line of `expected` is the start of a finding, as in `base/up.c:4: [layer]`.
"""
import os
import re
import subprocess
import sys


def main():
    lint, sample = sys.argv[1:3]
    ran = subprocess.run([sys.executable, lint, sample], capture_output=True, text=True)
    if ran.returncode == 77:
        sys.exit(77)
    found = re.findall(r"^\S+:\d+: \[\w+\]", ran.stdout, re.M)
    with open(os.path.join(sample, "expected"), encoding="utf-8") as f:
        wanted = f.read().split("\n")[:-1]
    if ran.returncode == 1 and sorted(found) == sorted(wanted):
        return
    print(f"exit status {ran.returncode}\n{ran.stdout}{ran.stderr}")
    print("missing:", sorted(set(wanted) - set(found)))
    print("too much:", sorted(set(found) - set(wanted)))
    sys.exit(1)


main()
