# SPDX-License-Identifier: Apache-2.0
"""List sources of base/, storage/ and raft/ without a unit test at the mirrored place.

`raft/wal_scan.c` is mirrored by tests/unit/raft/test_wal_scan.c or by its family's test_wal.c; a file in a folder
of its own (storage/apply/lease.c) also by tests/unit/storage/test_lease.c or, for the folder as a whole, by
tests/unit/storage/test_apply.c. Anything else is named in mirror.txt.
"""
import os

import tree

ROOMS = ("base", "storage", "raft")


def is_mirrored(path, tests):
    folder, name = os.path.split(path)
    parts = name.removesuffix(".c").split("_")
    stems = ["_".join(parts[: n + 1]) for n in range(len(parts))]
    if "/" in folder:
        stems.append(os.path.basename(folder))
    # A room's own folder, and the folders above it.
    folders = []
    while folder:
        folders.append(folder)
        folder = os.path.dirname(folder)
    return any(f"tests/unit/{f}/test_{s}.c" in tests for f in folders for s in stems)


def main():
    root = tree.root_from_arguments()
    named = {r[0]: r[1] for r in tree.table(os.path.join(root, "tools/lint/mirror.txt"))}
    tests = set(tree.files(root, (".c",)))
    findings = tree.Findings()
    checked = [p for p in tests if p.split("/")[0] in ROOMS]
    for path in checked:
        if path in named:
            if not os.path.exists(os.path.join(root, named[path])):
                findings.add(path, 1, "mirror", f"mirror.txt names {named[path]}, which is not there")
        elif not is_mirrored(path, tests):
            findings.add(path, 1, "mirror", "no unit test")
    findings.end(f"mirror, {len(checked)} files")


main()
