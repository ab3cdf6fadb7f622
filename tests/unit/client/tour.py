# SPDX-License-Identifier: Apache-2.0
"""Every piece of C in docs/client.md stands, word for word, in client/examples/tour.c, which is compiled.

tour.py DOC SOURCE
"""
import re
import sys


def main():
    doc, source = (open(p, encoding="utf-8").read() for p in sys.argv[1:])
    pieces = re.findall(r"```c\n(.*?)```", doc, re.S)
    missing = [p.splitlines()[0] for p in pieces if p not in source]
    print("\n".join(f"not in the source as it is: {m}" for m in missing) or f"{len(pieces)} pieces")
    sys.exit(bool(missing) or not pieces)


main()
