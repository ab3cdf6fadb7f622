# SPDX-License-Identifier: Apache-2.0
"""What the lints share: which files there are, how a finding is printed, how a lint ends."""
import os
import sys

SKIPPED_DIRS = {".git", ".cache", "__pycache__", "node_modules", "dist", "samples", "corpus", "golden"}


def files(root, suffixes):
    """Paths relative to root, sorted, of all files that end in one of `suffixes` (all files when empty)."""
    found = []
    for folder, dirs, names in os.walk(root):
        dirs[:] = sorted(d for d in dirs if d not in SKIPPED_DIRS and not d.startswith("build"))
        for name in names:
            if not suffixes or name.endswith(suffixes):
                found.append(os.path.relpath(os.path.join(folder, name), root))
    return sorted(found)


def lines(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="surrogateescape", newline="") as f:
        return f.read().split("\n")


def table(path):
    """Rows of a lint table: fields between '|'; '#' starts a comment."""
    rows = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            for line in f:
                line = line.split("#")[0].strip()
                if line:
                    rows.append([field.strip() for field in line.split("|")])
    return rows


class Findings:
    def __init__(self):
        self.items = []

    def add(self, path, line, rule, text):
        self.items.append((path, line, rule, text))

    def end(self, checked):
        for path, line, rule, text in sorted(self.items):
            print(f"{path}:{line}: [{rule}] {text}")
        print(f"{checked}: {len(self.items)} findings")
        sys.exit(1 if self.items else 0)


def root_from_arguments():
    if len(sys.argv) < 2:
        sys.exit(f"usage: {os.path.basename(sys.argv[0])} TREE")
    return sys.argv[1]
