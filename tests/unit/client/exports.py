# SPDX-License-Identifier: Apache-2.0
"""libmuster shows exactly the functions of its header, under the version they began in, as libmuster.so.0.

exports.py NM OBJDUMP LIBRARY HEADER
"""
import re
import subprocess
import sys


def main():
    nm, objdump, library, header = sys.argv[1:]
    said = subprocess.run([nm, "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    shown = {line.split()[-1] for line in said.splitlines() if line.split()[1] != "A"}
    text = open(header, encoding="utf-8").read()
    promised = set(re.findall(r"MUSTER_API\s[^;(]*?\b(muster_\w+)\(", text))
    wrong = []
    for name in sorted(shown):
        plain, _, version = name.partition("@@")
        if not plain.startswith("muster_"):
            wrong.append(f"{name} is shown and is not ours")
        elif plain not in promised:
            wrong.append(f"{plain} is shown and not in the header")
        elif version != "MUSTER_0":
            wrong.append(f"{name} has no version")
    wrong += [f"{name} is in the header and not shown" for name in sorted(promised - {n.partition("@@")[0] for n in shown})]
    if not re.search(r"SONAME\s+libmuster\.so\.0\b", subprocess.run([objdump, "-p", library], capture_output=True, text=True, check=True).stdout):
        wrong.append("the soname is not libmuster.so.0")
    print("\n".join(wrong) or f"{len(promised)} functions")
    sys.exit(bool(wrong) or not promised)


main()
