#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every kind of violation that the checker can tell has a history that it must be found in, and every history is run."""
import pathlib
import re
import sys

here = pathlib.Path(__file__).resolve().parent
kinds = set()
for source in here.parent.glob("check_*.c"):
    kinds |= set(re.findall(r'check_found\(\s*k,\s*"([^"]+)"', source.read_text()))
table = dict(re.findall(r"^  '([a-z-]+)': \[(.*)\],$", (here / "meson.build").read_text(), re.M))
expected = {x for row in table.values() for x in re.findall(r"'([^']+)'", row)}
bad = [f"no history for: {x}" for x in sorted(kinds - expected)]
bad += [f"no such violation: {x}" for x in sorted(expected - kinds - {"none"})]
bad += [f"not run: {x.name}" for x in sorted(here.glob("*.jsonl")) if x.stem not in table]
bad += [f"named for the other thing: {x}" for x, row in table.items() if x.startswith("good-") != ("'none'" in row)]
print("\n".join(bad) or f"{len(table)} histories, {len(kinds)} kinds of violations")
sys.exit(1 if bad or not kinds else 0)
